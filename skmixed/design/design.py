"""The design of a model: every array a fit or a prediction needs from X."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from skmixed.design.basis import Basis
from skmixed.design.checks import LARGEST, plain, require_finite, require_range
from skmixed.design.factors import Factor, FactorEncoder
from skmixed.design.functions import learnt_functions
from skmixed.design.integers import CodeArray
from skmixed.design.levels import LevelEncoder
from skmixed.design.table import Table
from skmixed.design.variables import LearntVariable, UnknownLabel, learn_variable
from skmixed.spec import ColumnKey, ModelSpec, RandomTerm, Variable

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
    strata : ndarray of shape (n_rows,) and dtype int32, or None
        Stratum of every row, whose noise has a variance of its own.
    """

    fixed: FloatArray
    fixed_names: tuple[str, ...]
    has_intercept: bool
    factors: tuple[Factor, ...]
    offset: FloatArray | None = None
    precision_weights: FloatArray | None = None
    strata: CodeArray | None = None

    def take(self, rows: npt.NDArray[Any]) -> Design:
        """Copy rows by their position, in any order and any number of times.

        Parameters
        ----------
        rows : ndarray of int or bool

        Returns
        -------
        Design
            The same columns and levels.
        """
        offset, weights = self.offset, self.precision_weights
        return replace(
            self,
            fixed=self.fixed[rows],
            factors=tuple(
                replace(
                    factor,
                    codes=factor.codes[rows],
                    basis=None if factor.basis is None else factor.basis[rows],
                )
                for factor in self.factors
            ),
            offset=None if offset is None else offset[rows],
            precision_weights=None if weights is None else weights[rows],
            strata=None if self.strata is None else self.strata[rows],
        )

    def predictor_columns(self) -> list[npt.NDArray[Any]]:
        """All that the linear predictor of a row depends on, a list of arrays (n_rows,)."""
        columns: list[npt.NDArray[Any]] = [*self.fixed.T]
        if self.offset is not None:
            columns.append(self.offset)
        for factor in self.factors:
            columns.append(factor.codes)
            if factor.basis is not None:
                columns += [*factor.basis.T]
        return columns


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
    offset_terms : tuple of LearntVariable
        Added to the linear predictor beside the column.
    strata : LevelEncoder or None
        Strata of rows whose noise has a variance of its own; the first is the reference.

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
    offset_terms: tuple[LearntVariable, ...] = ()
    strata: LevelEncoder | None = field(default=None, metadata={"since": 4})

    @classmethod
    def learn(
        cls,
        spec: ModelSpec,
        table: Table,
        *,
        offset: ColumnKey | None = None,
        precision_weights: ColumnKey | None = None,
        complete: bool = True,
        levels: Mapping[ColumnKey, Sequence[Any]] | None = None,
        strata: ColumnKey | None = None,
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
        complete : bool, default=True
            Whether the table is all the data. In a part of it a grouping factor
            may have a single level, and all categories that a column of the
            fixed effects declares are levels, whether they occur or not.
        levels : mapping or None, default=None
            All levels of a grouping column, by column, where they are known beforehand.
        strata : str, int or None, default=None
            Column of labels whose rows have a noise variance each.

        Returns
        -------
        encoder : DesignEncoder
            Encodes any data the same way.
        design : Design
            The training data.

        Raises
        ------
        ValueError
            If a column is unknown or unusable, or a term is written twice.
        """
        fixed = Basis.learn(spec.fixed, table, complete=complete)
        encoders: list[FactorEncoder] = []
        factors: list[Factor] = []
        known = {table.label(column): labels for column, labels in (levels or {}).items()}
        for terms in _by_factor(spec.random, table):
            labels = known.pop(terms[0].group[0], None) if len(terms[0].group) == 1 else None
            encoder, factor = FactorEncoder.learn(terms, table, complete=complete, labels=labels)
            encoders.append(encoder)
            factors.append(factor)
        if known:
            names = ", ".join(repr(encoder.name) for encoder in encoders) or "none"
            raise ValueError(
                f"relations names {next(iter(known))!r}, which is not a grouping factor; the "
                f"groups are: {names}."
            )
        _refuse_same_factor_names([encoder.name for encoder in encoders])
        learnt = cls(
            fixed,
            tuple(encoders),
            None if offset is None else table.label(offset),
            None if precision_weights is None else table.label(precision_weights),
            tuple(_learn_offset(variable, table) for variable in spec.offsets),
            None if strata is None else LevelEncoder.learn(table, (table.label(strata),))[0],
        )
        design = learnt._design(table, tuple(factors), with_weights=True)
        if complete:
            _refuse_range(design, smallest=1.0 / LARGEST)
        return learnt, design

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Name of each grouping factor."""
        return tuple(factor.name for factor in self.factors)

    def spare_columns(
        self, factors: Collection[str], *, with_weights: bool
    ) -> frozenset[ColumnKey]:
        """Columns that a prediction with some of the grouping factors does not look at.

        Parameters
        ----------
        factors : collection of str
            Names of the factors that enter.
        with_weights : bool
            Whether the column of precision weights is read.
        """
        needed = {self.offset, self.precision_weights if with_weights else None}
        of_strata = {*self.strata.columns} if self.strata is not None else set()
        needed |= of_strata if with_weights else set()
        for learnt in (*self.fixed.variables, *self.offset_terms):
            needed |= {*learnt.variable.columns}
        others = set() if with_weights else {self.precision_weights, *of_strata}
        for factor in self.factors:
            columns = {*factor.levels.columns}
            for learnt in (v for basis in factor.bases for v in basis.variables):
                columns |= {*learnt.variable.columns}
            if factor.name in factors:
                needed |= columns
            else:
                others |= columns
        return frozenset(column for column in others - needed if column is not None)

    @property
    def sizes(self) -> list[tuple[str, int, int]]:
        """Name, number of levels and effects per level of each grouping factor."""
        return [(f.name, f.levels.n_levels, len(f.term_names)) for f in self.factors]

    @property
    def learnt_functions(self) -> tuple[str, ...]:
        """Functions that learnt from the data, as they are written: ``"scale(x)"``.

        A part of the data does not know what they would learn from all of it.
        """
        bases = (self.fixed, *(basis for factor in self.factors for basis in factor.bases))
        labels = [label for basis in bases for label in basis.learnt_functions]
        labels += [label for v in self.offset_terms for label in learnt_functions(v.variable)]
        return tuple(dict.fromkeys(labels))

    @property
    def offset_label(self) -> str | None:
        """All that is added to the linear predictor as it is; None for nothing."""
        labels = [] if self.offset is None else [str(self.offset)]
        labels += [variable.variable.label for variable in self.offset_terms]
        return " + ".join(labels) or None

    def learn_part(self, table: Table) -> tuple[DesignEncoder, Design]:
        """Learn the levels of the grouping factors in another part of the data.

        Everything else stays as it is: columns of the fixed effects, effects
        that vary, offset and weights.

        Parameters
        ----------
        table : Table
            The part.

        Returns
        -------
        encoder : DesignEncoder
            This encoder with the levels of the part alone, to be merged.
        design : Design
            The part, its levels numbered on their own.

        Raises
        ------
        ValueError
            If a column is unusable, or a column of labels among the fixed
            effects holds a label that this encoder does not know.
        """
        try:
            learnt = [factor.learn_part(table) for factor in self.factors]
            encoder = replace(self, factors=tuple(encoder for encoder, _ in learnt))
            factors = tuple(factor for _, factor in learnt)
            return encoder, encoder._design(table, factors, with_weights=True)
        except UnknownLabel as error:
            raise ValueError(
                f"{error.place}, which the first part of the data did not have; its levels are "
                f"{error.known}. Before the first part, declare the column as a pandas "
                "categorical with all its categories, or use it as a grouping factor, which may "
                "have new levels in every part."
            ) from None

    def merge(
        self, other: DesignEncoder
    ) -> tuple[DesignEncoder, tuple[tuple[CodeArray, CodeArray], ...]]:
        """The encoder of two parts of the data.

        Parameters
        ----------
        other : DesignEncoder
            Of the rows that follow, learnt by `learn_part`.

        Returns
        -------
        encoder : DesignEncoder
            With the levels of both parts, as learnt from all rows at once.
        codes : tuple of (ndarray, ndarray)
            For each factor the new code of each level of this encoder, and of
            the other.

        Raises
        ------
        ValueError
            If the encoders are not of the same model.
        """
        mine = (self.factor_names, self.offset, self.precision_weights)
        yours = (other.factor_names, other.offset, other.precision_weights)
        same_offsets = [v.state for v in self.offset_terms] == [v.state for v in other.offset_terms]
        if mine != yours or not same_offsets or not self.fixed.agrees_with(other.fixed):
            raise ValueError(
                "Two parts of the data were read as different models: fixed effects "
                f"{self.fixed.names} and {other.fixed.names}, groups {mine[0]} and {yours[0]}, "
                f"offset {self.offset_label} and {other.offset_label}, precision_weights "
                f"{mine[2]!r} and {yours[2]!r}; learn the first part with DesignEncoder.learn and "
                "the others with its learn_part."
            )
        merged = [a.merge(b) for a, b in zip(self.factors, other.factors, strict=True)]
        encoder = replace(self, factors=tuple(factor for factor, _ in merged))
        return encoder, tuple(codes for _, codes in merged)

    def refuse_single_levels(self) -> None:
        """Refuse factors that group nothing, once all parts of the data are merged.

        Raises
        ------
        ValueError
            If a factor has only one level.
        """
        for factor in self.factors:
            factor.levels.refuse_single_level()

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
            If a factor or column is unknown, or a used value is unusable.
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
        strata = None
        if with_weights and self.precision_weights is not None:
            weights = _positive(table, self.precision_weights)
        if with_weights and self.strata is not None:
            strata = _known_strata(table, self.strata)
        design = Design(
            fixed=self.fixed.matrix(table),
            fixed_names=self.fixed.names,
            has_intercept=self.fixed.intercept,
            factors=factors,
            offset=self._offset(table),
            precision_weights=weights,
            strata=strata,
        )
        _refuse_range(design)
        if design.offset is not None:
            require_range(design.offset[:, None], [str(self.offset_label)])
        return design

    def _offset(self, table: Table) -> FloatArray | None:
        """Sum of the column and the terms that are added as they are."""
        parts = [] if self.offset is None else [_finite(table, self.offset)]
        parts += [variable.columns(table, full=False)[0] for variable in self.offset_terms]
        return sum(parts[1:], parts[0]) if parts else None


def _learn_offset(variable: Variable, table: Table) -> LearntVariable:
    if not variable.steps and table.is_categorical(variable.name):
        raise ValueError(
            f"offset of labels: column {variable.name!r} holds labels, but an offset() must be "
            "a number to add to the linear predictor."
        )
    return learn_variable(variable, table)


def _refuse_range(design: Design, smallest: float = 0.0) -> None:
    """Raise where the square of a number overflows, or a whole column vanishes in squares."""
    require_range(design.fixed, design.fixed_names, smallest=smallest)
    for factor in design.factors:
        if factor.basis is not None:
            require_range(factor.basis, factor.term_names, smallest=smallest)


def _by_factor(terms: tuple[RandomTerm, ...], table: Table) -> list[list[RandomTerm]]:
    """Random terms with the same grouping columns, in order of first appearance."""
    together: dict[frozenset[int], list[RandomTerm]] = {}
    for term in terms:
        key = frozenset(table.position(column) for column in term.group)
        if len(key) < len(term.group):
            raise ValueError(
                f"Grouping factor {term.group_label!r} lists a column twice; write it once."
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
    require_finite(values, column)
    return values


def _known_strata(table: Table, strata: LevelEncoder) -> CodeArray:
    """Stratum of every row, all of which the fit has to know."""
    codes = strata.codes(table)
    if len(codes) and codes.min() < 0:
        row = int((codes < 0).argmax())
        label = np.asarray(table.ids(strata.columns[0]))[row]
        raise ValueError(
            f"dispersion: column {strata.columns[0]!r} holds {plain(label)!r} in row "
            f"{row}, for which no noise variance was estimated; the strata of "
            f"the fit are {', '.join(repr(plain(label)) for label in strata.labels[:8])}."
        )
    return codes


def _positive(table: Table, column: ColumnKey) -> FloatArray:
    values = _finite(table, column)
    if values.min() <= 0:
        row = int((values <= 0).argmax())
        raise ValueError(
            f"precision_weights: column {column!r} holds {values[row]} in row "
            f"{row}, but weights divide the noise variance and must be "
            "positive; drop these rows or correct the weights."
        )
    return values
