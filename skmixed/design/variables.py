"""Variables of a linear part: what each learnt, and the columns it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from skmixed.design.checks import require_finite
from skmixed.design.functions import FittedFunction, learn_function
from skmixed.design.labels import ColumnLabels, learn_labels
from skmixed.design.table import Table
from skmixed.spec import ColumnKey, Variable

FloatArray = npt.NDArray[np.float64]

_LEVELS_SHOWN = 20


class LearntVariable(Protocol):
    """What a basis asks of a variable."""

    categorical: bool

    @property
    def column(self) -> ColumnKey:
        """The column the variable is computed from."""

    @property
    def is_plain(self) -> bool:
        """Whether the variable is a column of numbers as it stands."""

    def names(self, full: bool) -> list[str]:
        """Name of each column, with indicators of all levels if `full`."""

    def columns(self, table: Table, full: bool) -> list[FloatArray]:
        """The columns of the variable in new data."""


@dataclass(frozen=True, eq=False)
class NumericVariable:
    """A column of numbers, passed through functions of the fixed table.

    Attributes
    ----------
    variable : Variable
        As it was asked for.
    functions : tuple of FittedFunction
        Applied in this order.
    """

    variable: Variable
    functions: tuple[FittedFunction, ...]
    categorical = False

    @property
    def column(self) -> ColumnKey:
        """The column the variable is computed from."""
        return self.variable.name

    @property
    def is_plain(self) -> bool:
        """Whether no function is applied."""
        return not self.functions

    def names(self, full: bool) -> list[str]:
        """Name of the one column.

        Parameters
        ----------
        full : bool
            Of no meaning for numbers.

        Returns
        -------
        list of str
            One name.
        """
        return [self.variable.label]

    def columns(self, table: Table, full: bool) -> list[FloatArray]:
        """Values of the variable.

        Parameters
        ----------
        table : Table
            The data.
        full : bool
            Of no meaning for numbers.

        Returns
        -------
        list of ndarray of shape (n_rows,)
            One array.

        Raises
        ------
        ValueError
            When a value is missing, infinite, no number or outside a function's domain.
        """
        values = _finite(table, self.column)
        for function in self.functions:
            values = function.apply(values, self.column, first_row=table.first_row)
        return [values]


@dataclass(frozen=True, eq=False)
class CategoricalVariable:
    """A column of labels, coded by indicators.

    Attributes
    ----------
    variable : Variable
        As it was asked for.
    labels : ColumnLabels
        The levels; the first is the reference of the treatment contrasts.
    """

    variable: Variable
    labels: ColumnLabels
    categorical = True

    @property
    def column(self) -> ColumnKey:
        """The column of the labels."""
        return self.variable.name

    @property
    def is_plain(self) -> bool:
        """Labels are no numbers."""
        return False

    def names(self, full: bool) -> list[str]:
        """Name of each indicator.

        Parameters
        ----------
        full : bool
            Whether the reference level has an indicator too.

        Returns
        -------
        list of str
            Names such as ``"lagoon[2]"``.
        """
        return [
            f"{self.variable.label}[{level}]" for level in self.labels.index[0 if full else 1 :]
        ]

    def columns(self, table: Table, full: bool) -> list[FloatArray]:
        """Indicators of the levels.

        Parameters
        ----------
        table : Table
            The data.
        full : bool
            Whether the reference level has an indicator too.

        Returns
        -------
        list of ndarray of shape (n_rows,)
            One array per level.

        Raises
        ------
        ValueError
            When a label is missing or was not in the training data.
        """
        values = table.ids(self.column)
        codes = self.labels.codes(values)
        if codes.min() < 0:
            row = int(np.argmin(codes))
            _refuse_missing(table, self.column, values)
            shown = ", ".join(repr(level) for level in self.labels.index[:_LEVELS_SHOWN].tolist())
            more = len(self.labels) - _LEVELS_SHOWN
            shown += f" and {more} more" if more > 0 else ""
            raise ValueError(
                f"Categorical column {self.column!r} holds {values[row]!r} in row "
                f"{table.first_row + row}, which was not in the training data; known levels are "
                f"{shown}. Drop these rows, or let the column group the rows as a random effect, "
                "where new levels are predicted at the population level."
            )
        first = 0 if full else 1
        return [(codes == level).astype(np.float64) for level in range(first, len(self.labels))]


def learn_variable(variable: Variable, table: Table) -> LearntVariable:
    """Learn levels or means of a variable from the training data.

    Parameters
    ----------
    variable : Variable
        The variable asked for.
    table : Table
        Training data.

    Returns
    -------
    LearntVariable
        A `CategoricalVariable` where the column holds labels or the formula
        wrote ``C(x)``, else a `NumericVariable`.

    Raises
    ------
    ValueError
        When a used value is missing or unusable.
    """
    if variable.categorical and variable.functions:
        raise ValueError(
            f"{variable.label} applies a function to labels; apply functions to columns of numbers."
        )
    if variable.categorical or (not variable.functions and table.is_categorical(variable.name)):
        return _learn_categorical(variable, table)
    functions = []
    if variable.functions:
        values = _finite(table, variable.name)
        for name in variable.functions:
            function = learn_function(name, values, variable.name)
            functions.append(function)
            values = function.apply(values, variable.name, first_row=table.first_row)
    return NumericVariable(variable, tuple(functions))


def _learn_categorical(variable: Variable, table: Table) -> CategoricalVariable:
    values = table.ids(variable.name)
    labels, codes = learn_labels(values)
    if codes.min() < 0:
        _refuse_missing(table, variable.name, values)
    if len(labels) < 2:
        raise ValueError(
            f"Categorical column {variable.name!r} has the single level {labels.index[0]!r}, so "
            "it has no effect to estimate; remove it from the model."
        )
    return CategoricalVariable(variable, labels)


def _finite(table: Table, column: ColumnKey) -> FloatArray:
    values = table.numeric(column)
    require_finite(values, column, first_row=table.first_row)
    return values


def _refuse_missing(table: Table, column: ColumnKey, values: Any) -> None:
    missing = np.asarray(pd.isna(values))
    if missing.any():
        raise ValueError(
            f"Input X contains NaN in column {column!r}: {int(missing.sum())} missing label(s), "
            f"the first in row {table.first_row + int(missing.argmax())}; drop these rows or give "
            "them a label of their own."
        )
