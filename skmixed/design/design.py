"""The design of a model: every array a fit or a prediction needs from X."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from skmixed.design.basis import Basis
from skmixed.design.checks import require_finite
from skmixed.design.factors import Factor, FactorEncoder
from skmixed.design.table import Table
from skmixed.spec import ColumnKey, ModelSpec, RandomTerm

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Design:
    """The right-hand side of a model in arrays.

    Attributes
    ----------
    fixed : ndarray of shape (n_rows, p)
        Fixed effects, the column of ones first when there is one. Not to be
        written to: it may share memory with X.
    fixed_names : tuple of str
        Name of each column.
    has_intercept : bool
        Whether the first column is the intercept.
    factors : tuple of Factor
        Grouping factors in order of first appearance.
    offset : ndarray of shape (n_rows,) or None
        Added to the linear predictor.
    precision_weights : ndarray of shape (n_rows,) or None
        The noise variance of a row is divided by this.
    """

    fixed: FloatArray
    fixed_names: tuple[str, ...]
    has_intercept: bool
    factors: tuple[Factor, ...]
    offset: FloatArray | None = None
    precision_weights: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class DesignEncoder:
    """What was learnt from the training columns; small, and safe to pickle.

    Attributes
    ----------
    fixed : Basis
        Fixed effects.
    factors : tuple of FactorEncoder
        Grouping factors in order of first appearance.
    offset, precision_weights : str, int or None
        The columns.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmixed.design.design import DesignEncoder
    >>> from skmixed.design.table import Table
    >>> from skmixed.spec import ModelSpec, RandomTerm, TermList, Variable
    >>> table = Table.from_input(pd.DataFrame({"x": [1.0, 2.0, 3.0], "g": ["a", "b", "a"]}))
    >>> spec = ModelSpec(
    ...     TermList(True, ((Variable("x"),),)), (RandomTerm(TermList(True), ("g",)),)
    ... )
    >>> encoder, design = DesignEncoder.learn(spec, table)
    >>> design.fixed_names, design.factors[0].codes.tolist()
    (('Intercept', 'x'), [0, 1, 0])
    """

    fixed: Basis
    factors: tuple[FactorEncoder, ...]
    offset: ColumnKey | None
    precision_weights: ColumnKey | None

    @classmethod
    def learn(
        cls,
        spec: ModelSpec,
        table: Table,
        *,
        offset: ColumnKey | None = None,
        precision_weights: ColumnKey | None = None,
    ) -> tuple[DesignEncoder, Design]:
        """Learn levels, means and scales, and build the training design.

        Parameters
        ----------
        spec : ModelSpec
            What the model is asked to be.
        table : Table
            Training data.
        offset : str, int or None, default=None
            Column added to the linear predictor.
        precision_weights : str, int or None, default=None
            Column of positive weights.

        Returns
        -------
        encoder : DesignEncoder
            Encodes any data the same way.
        design : Design
            The training data.

        Raises
        ------
        ValueError
            When a column is unknown or unusable, or a term is written twice.
        """
        fixed = Basis.learn(spec.fixed, table)
        encoders: list[FactorEncoder] = []
        factors: list[Factor] = []
        for terms in _by_factor(spec.random, table):
            encoder, factor = FactorEncoder.learn(terms, table)
            encoders.append(encoder)
            factors.append(factor)
        _refuse_same_factor_names([encoder.name for encoder in encoders])
        learnt = cls(
            fixed,
            tuple(encoders),
            None if offset is None else table.label(offset),
            None if precision_weights is None else table.label(precision_weights),
        )
        return learnt, learnt._design(table, tuple(factors), with_weights=True)

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Name of each grouping factor."""
        return tuple(factor.name for factor in self.factors)

    def transform(
        self,
        table: Table,
        *,
        factors: str | Collection[str] | None = None,
        with_weights: bool = False,
    ) -> Design:
        """Build the design of new data.

        Parameters
        ----------
        table : Table
            The data.
        factors : str, collection of str or None, default=None
            Names of the grouping factors to encode; None encodes all. The
            columns of the others are not looked at.
        with_weights : bool, default=False
            Whether to read the column of precision weights.

        Returns
        -------
        Design
            The arrays, with the factors in the order of the fit.

        Raises
        ------
        ValueError
            When a factor or column is unknown, or a used value is unusable.
        """
        chosen = self.factor_names if factors is None else factors
        chosen = (chosen,) if isinstance(chosen, str) else tuple(chosen)
        for name in chosen:
            if name not in self.factor_names:
                known = ", ".join(repr(known) for known in self.factor_names) or "none"
                raise ValueError(
                    f"Group {name!r} is not in the model; its grouping factors are: {known}."
                )
        encoded = tuple(factor.transform(table) for factor in self.factors if factor.name in chosen)
        return self._design(table, encoded, with_weights=with_weights)

    def _design(self, table: Table, factors: tuple[Factor, ...], *, with_weights: bool) -> Design:
        weights = None
        if with_weights and self.precision_weights is not None:
            weights = _positive(table, self.precision_weights)
        return Design(
            fixed=self.fixed.matrix(table),
            fixed_names=self.fixed.names,
            has_intercept=self.fixed.intercept,
            factors=factors,
            offset=None if self.offset is None else _finite(table, self.offset),
            precision_weights=weights,
        )


def number_unknown_levels(design: Design, table: Table, encoder: DesignEncoder) -> Design:
    """The design with a code of its own for every level that was not there during fit.

    Rows of one unknown label share a code from the number of levels on; a row
    without a label has a code to itself.

    Parameters
    ----------
    design : Design
        With all factors of the encoder.
    table : Table
        What it was made from.
    encoder : DesignEncoder
        The encoder that made it.

    Returns
    -------
    Design
        The same with other codes.
    """
    factors = []
    for factor, fitted in zip(design.factors, encoder.factors, strict=True):
        unknown = np.flatnonzero(factor.codes < 0)
        if len(unknown):
            labels = [pd.Series(table.ids(c)).iloc[unknown] for c in fitted.levels.columns]
            frame = pd.concat([part.reset_index(drop=True) for part in labels], axis=1)
            frame.columns = pd.RangeIndex(len(labels))
            number = frame.astype(object).groupby(list(frame.columns), dropna=True).ngroup()
            fresh = number.fillna(-1).to_numpy(dtype=np.int64, copy=True)
            alone = np.flatnonzero(fresh < 0)
            fresh[alone] = fresh.max() + 1 + np.arange(len(alone))
            codes = factor.codes.copy()
            codes[unknown] = factor.n_levels + fresh
            factor = replace(factor, codes=codes)
        factors.append(factor)
    return replace(design, factors=tuple(factors))


def refuse_unknown_levels(design: Design, table: Table, encoder: DesignEncoder) -> None:
    """Raise where the design has a row whose level was not there during fit.

    Parameters
    ----------
    design : Design
        With any of the encoder's factors.
    table : Table
        What it was made from.
    encoder : DesignEncoder
        The encoder that made it.

    Raises
    ------
    ValueError
        Names the group, the first such level and its row.
    """
    for factor in design.factors:
        unknown = factor.codes < 0
        if not unknown.any():
            continue
        row = int(unknown.argmax())
        position = encoder.factor_names.index(factor.name)
        columns = encoder.factors[position].levels.columns
        value = ", ".join(str(np.asarray(table.ids(column))[row]) for column in columns)
        raise ValueError(
            f"Group {factor.name!r} has the level {value!r} in row {row}, which was not there "
            f"during fit ({int(unknown.sum())} such rows); set handle_unknown='population' to "
            "predict for the population, or fit with this level."
        )


def _by_factor(terms: tuple[RandomTerm, ...], table: Table) -> list[list[RandomTerm]]:
    """Random terms with the same grouping columns, in order of first appearance."""
    together: dict[frozenset[int], list[RandomTerm]] = {}
    for term in terms:
        key = frozenset(table.position(column) for column in term.group)
        if len(key) < len(term.group):
            raise ValueError(
                f"Grouping factor {term.group_label!r} names a column twice; write it once."
            )
        together.setdefault(key, []).append(term)
    return list(together.values())


def _refuse_same_factor_names(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"Two grouping factors would both be called {name!r}; rename a column of X."
            )


def _finite(table: Table, column: ColumnKey) -> FloatArray:
    values = table.numeric(column)
    require_finite(values, column, first_row=table.first_row)
    return values


def _positive(table: Table, column: ColumnKey) -> FloatArray:
    values = _finite(table, column)
    if values.min() <= 0:
        row = int((values <= 0).argmax())
        raise ValueError(
            f"precision_weights: column {column!r} holds {values[row]} in row "
            f"{table.first_row + row}, but weights divide the noise variance and must be "
            "positive; drop these rows or correct the weights."
        )
    return values
