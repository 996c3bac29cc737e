"""A grid of all levels with numbers at their means: where marginal means are predicted.

Searle, Speed and Milliken (1980), The American Statistician 34; as R's emmeans does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import numpy as np
import pandas as pd

from skmixed.design.basis import Basis
from skmixed.design.table import Table
from skmixed.design.variables import CategoricalVariable

_INDEPENDENT = 1e-8
"""Eigenvalue of cross-products, over the largest, that columns have which are independent: those
of dependent ones are lost in rounding, and take a look at the columns themselves."""

_MOST_CELLS = 200_000
_STEP = 1e-3
"""Step of a numeric derivative, in standard deviations of the column."""


@dataclass(frozen=True, eq=False)
class ReferenceGrid:
    """Values of the columns of the fixed effects, and the rows they make.

    Attributes
    ----------
    basis : Basis
    values : dict of {column: list}
        Levels of every categorical column; one number, or those asked for, of numeric ones.
    frequencies : DataFrame
        Of the combinations of levels in the data: the categorical columns and `weight`.
    spreads : dict of {column: float}
        Standard deviations of the numeric columns.
    dependence : ndarray (p, k)
        Combinations of the columns of the design that are zero in every row of the data.
    """

    basis: Basis
    values: dict[Any, list[Any]]
    frequencies: pd.DataFrame
    spreads: dict[Any, float]
    dependence: np.ndarray

    @classmethod
    def of(
        cls, basis: Basis, table: Table, weights: np.ndarray, at: Mapping[Any, Any] | None
    ) -> ReferenceGrid:
        """The grid of a model's fixed effects.

        Parameters
        ----------
        basis : Basis
        table : Table
            The rows of the fit.
        weights : ndarray (n,)
            Their case weights.
        at : mapping of {column: value or list of values} or None
            Instead of all levels, or of the mean of a number.
        """
        at = dict(at or {})
        levels = {v.column: v.labels for v in basis.variables if isinstance(v, CategoricalVariable)}
        columns = basis.data_columns
        unknown = [name for name in at if name not in columns]
        if unknown:
            raise ValueError(
                f"at= names {unknown[0]!r}, which is not a column of the fixed effects; they have "
                f"{basis.shown_data_columns}."
            )
        values: dict[Any, list[Any]] = {}
        spreads, codes = {}, {}
        for column in columns:
            if column in levels:
                labels = levels[column]
                codes[column] = labels.codes(table.ids(column))
                values[column] = labels.index.tolist()
            else:
                numbers = table.numeric(column)
                mean = float(np.average(numbers, weights=weights))
                values[column] = [mean]
                spreads[column] = float(np.sqrt(np.average((numbers - mean) ** 2, weights=weights)))
            if column in at:
                values[column] = _asked(column, at[column], levels.get(column))
        frame = pd.DataFrame({**codes, "weight": weights})
        if codes:
            frame = frame.groupby(list(codes))["weight"].sum().reset_index()
            for column in codes:
                frame[column] = levels[column].index.take(frame[column].to_numpy())
        return cls(basis, values, frame, spreads, _dependence(basis.matrix(table)))

    def is_categorical(self, column: Any) -> bool:
        """Whether a column has levels."""
        return column in self.frequencies.columns and column != "weight"

    def check(self, columns: Sequence[Any], argument: str) -> None:
        """Refuse columns that the fixed effects do not have.

        Raises
        ------
        ValueError
        """
        for column in columns:
            if column not in self.values:
                known = ", ".join(repr(name) for name in self.values) or "none"
                raise ValueError(
                    f"{argument} names {column!r}, which is not a column of the fixed effects; "
                    f"they have {known}."
                )

    def cells(self, columns: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Combinations of the values of some columns, the first varying fastest."""
        reversed_values = [self.values[column] for column in reversed(columns)]
        return [cell[::-1] for cell in product(*reversed_values)]

    def means(self, columns: Sequence[Any], weights: str) -> np.ndarray:
        """Coefficients' weights (k, p) of the mean of every cell of some columns.

        Parameters
        ----------
        columns : sequence
        weights : {"equal", "proportional"}
            How the levels of the other columns count: alike, or by how often their
            combinations occur.
        """
        return self._averaged(columns, weights, self.rows)

    def slopes(self, columns: Sequence[Any], weights: str, slope_of: Any) -> np.ndarray:
        """Coefficients' weights (k, p) of the slope of a numeric column in every cell."""
        if self.is_categorical(slope_of):
            raise ValueError(f"slope_of={slope_of!r} is a column of labels, which has no slope.")
        step = _STEP * (self.spreads[slope_of] or 1.0)

        def difference(frame: pd.DataFrame) -> np.ndarray:
            above, below = frame.copy(), frame.copy()
            above[slope_of] += 0.5 * step
            below[slope_of] -= 0.5 * step
            return (self.rows(above) - self.rows(below)) / step

        return self._averaged(columns, weights, difference)

    def rows(self, frame: pd.DataFrame) -> np.ndarray:
        """Rows (m, p) of the design for values of all columns."""
        if not len(self.basis.names):
            return np.zeros((len(frame), 0))
        if not len(frame.columns):
            return np.ones((len(frame), 1))
        return self.basis.matrix(Table.from_input(frame))

    def is_estimable(self, L: np.ndarray) -> np.ndarray:
        """Whether the data tell about functions of the coefficients (k, p), (k,)."""
        size = np.linalg.norm(L, axis=1)
        return np.abs(L @ self.dependence).max(axis=1, initial=0.0) <= 1e-8 * np.maximum(size, 1.0)

    def _averaged(self, columns: Sequence[Any], weights: str, rows: Any) -> np.ndarray:
        cells = self.cells(columns)
        others = [column for column in self.values if column not in columns]
        counts = [len(self.values[column]) for column in others]
        if len(cells) * prod(counts) > _MOST_CELLS:
            raise ValueError(
                f"The reference grid has {len(cells) * prod(counts):,} cells; it can have "
                f"{_MOST_CELLS:,}. Fix columns with at=, or use columns with many levels as "
                "grouping factors."
            )
        rest, shares = self._rest(others, weights)
        n = len(rest)
        frame = pd.concat([rest] * len(cells), ignore_index=True)
        for k, column in enumerate(columns):
            frame[column] = [cell[k] for cell in cells for _ in range(n)]
        every = rows(frame[list(self.values)])
        averages: np.ndarray = shares @ every.reshape(len(cells), n, every.shape[1])
        return averages

    def _rest(self, others: list[Any], weights: str) -> tuple[pd.DataFrame, np.ndarray]:
        """All combinations of the other columns, and the share of each."""
        combinations = self.cells(others)
        frame = pd.DataFrame(combinations, columns=others, index=range(len(combinations)))
        labels = [column for column in others if self.is_categorical(column)]
        if weights == "equal" or not labels:
            return frame, np.full(len(frame), 1.0 / len(frame))
        counts = self.frequencies.groupby(labels)["weight"].sum()
        keys: Iterable[Any] = frame[labels].itertuples(index=False, name=None)
        if len(labels) == 1:
            keys = (key[0] for key in keys)
        shares = np.array([float(counts.get(key, 0.0)) for key in keys])
        if not shares.sum() > 0.0:
            raise ValueError("No row has the values of at=; use weights='equal'.")
        return frame, shares / shares.sum()


def _asked(column: Any, value: Any, labels: Any) -> list[Any]:
    """The values that `at` asks for, which have to be levels where there are some."""
    values = list(value) if isinstance(value, list | tuple | np.ndarray | pd.Index) else [value]
    if labels is None:
        return [float(number) for number in values]
    levels = labels.index.tolist()
    for level in values:
        if level not in levels:
            known = ", ".join(map(repr, levels[:8]))
            raise ValueError(f"at= asks for {level!r} of {column!r}, whose levels are {known}.")
    return values


def _dependence(X: np.ndarray) -> np.ndarray:
    """An orthonormal basis (p, k) of the combinations of columns that are zero."""
    size = np.sqrt((X**2).sum(axis=0))
    size[size == 0.0] = 1.0
    scaled = X / size
    squares = np.linalg.eigvalsh(scaled.T @ scaled)
    if len(squares) and squares[0] > _INDEPENDENT * squares[-1]:
        return np.zeros((X.shape[1], 0))
    _, values, directions = np.linalg.svd(np.linalg.qr(scaled, mode="r"))
    lost = directions[np.count_nonzero(values > 1e-10 * values.max(initial=0.0)) :].T
    if not lost.size:
        return np.zeros((X.shape[1], 0))
    return np.linalg.qr(lost / size[:, None])[0]
