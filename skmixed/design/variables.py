"""Variables of a linear part: what each learnt, and the columns it gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pandas as pd

from skmixed.design.checks import plain, require_finite, shortened
from skmixed.design.computation import ComputedVariable
from skmixed.design.functions import FittedFunction, learn_function
from skmixed.design.labels import ColumnLabels, learn_labels
from skmixed.design.same_value import number_with_typos, refuse_rounded
from skmixed.design.table import Table
from skmixed.formula.errors import quoted
from skmixed.spec import ColumnKey, Variable

FloatArray = npt.NDArray[np.float64]

_LEVELS_SHOWN = 20


class UnknownLabel(ValueError):
    """A label among the fixed effects that was not in the training data.

    Parameters
    ----------
    place : str
        Names the column, the value and the row.
    known : str
        The known levels.
    """

    def __init__(self, place: str, known: str) -> None:
        super().__init__(
            f"{place}, which was not in the training data; known levels are {known}. Drop these "
            "rows, or let the column group the rows as a random effect, where new levels are "
            "predicted at the population level."
        )
        self.place = place
        self.known = known

    def __reduce__(self) -> tuple[Any, ...]:
        # Processes that share a fit pass their errors on as pickles.
        return type(self), (self.place, self.known)


class LearntVariable(Protocol):
    """What a basis asks of a variable."""

    categorical: bool

    @property
    def variable(self) -> Variable:
        """As it was asked for."""

    @property
    def column(self) -> ColumnKey:
        """The column the variable is computed from."""

    @property
    def is_plain(self) -> bool:
        """Whether the variable is a column of numbers as it stands."""

    @property
    def state(self) -> tuple[Any, ...]:
        """What was asked for and what was learnt, to be compared."""

    def names(self, full: bool) -> list[str]:
        """Name of each column, with indicators of all levels if `full`."""

    def columns(self, table: Table, full: bool) -> list[npt.NDArray[Any]]:
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

    @property
    def state(self) -> tuple[Any, ...]:
        """The variable and its functions with their means and scales."""
        return (self.variable, self.functions)

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

    def columns(self, table: Table, full: bool) -> list[npt.NDArray[Any]]:
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
            If a value is missing, infinite, no number or outside a function's domain.
        """
        values = _finite(table, self.column)
        for function in self.functions:
            values = function.apply(values, self.column)
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

    @property
    def state(self) -> tuple[Any, ...]:
        """The variable and its levels."""
        return (self.variable, tuple(self.labels.index))

    @property
    def reference(self) -> int:
        """Position of the level that others are compared with: named, or the first."""
        contrast = self.variable.contrast
        position = level_position(self.labels.index, contrast.reference if contrast else None)
        assert position is not None
        return position

    @property
    def _base(self) -> int:
        """Position of the level without a contrast of its own."""
        contrast = self.variable.contrast
        is_sum = contrast is not None and contrast.kind == "sum"
        return len(self.labels) - 1 if is_sum else self.reference

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
        contrast, stem, base = self.variable.contrast, self.variable.stem, self._base
        is_sum = not full and contrast is not None and contrast.kind == "sum"
        return [
            f"{stem}[{'S.' if is_sum else ''}{level}]"
            for position, level in enumerate(self.labels.index)
            if full or position != base
        ]

    def columns(self, table: Table, full: bool) -> list[npt.NDArray[Any]]:
        """Indicators of the levels; of sum contrasts less that of the last level.

        Parameters
        ----------
        table : Table
            The data.
        full : bool
            Whether the reference level has an indicator too.

        Returns
        -------
        list of ndarray of shape (n_rows,)
            One array per level, of bool or, for sum contrasts, of int8.

        Raises
        ------
        UnknownLabel
            When a label was not in the training data.
        ValueError
            If a label is missing.
        """
        values = table.ids(self.column)
        refuse_rounded(values, self.column)
        codes = self.labels.codes(values)
        if codes.min() < 0:
            row = int(np.argmin(codes))
            _refuse_missing(self.column, values)
            shown = ", ".join(repr(level) for level in self.labels.index[:_LEVELS_SHOWN].tolist())
            more = len(self.labels) - _LEVELS_SHOWN
            shown += f" and {more} more" if more > 0 else ""
            place = f"Categorical column {self.column!r} holds {plain(values[row])!r} in row {row}"
            raise UnknownLabel(place, shown)
        base, contrast = self._base, self.variable.contrast
        found = [codes == level for level in range(len(self.labels)) if full or level != base]
        if full or contrast is None or contrast.kind != "sum":
            return found
        last = (codes == base).astype(np.int8)
        return [indicator.astype(np.int8) - last for indicator in found]


def level_position(levels: pd.Index, reference: str | float | None) -> int | None:
    """Which level a contrast names: by its text, or by its value; None where there is none."""
    if reference is None:
        return 0
    for position, level in enumerate(levels.tolist()):
        if level == reference or str(level) == str(reference):
            return position
    return None


def learn_variable(variable: Variable, table: Table, *, complete: bool = True) -> LearntVariable:
    """Learn levels or means of a variable from the training data.

    Parameters
    ----------
    variable : Variable
        The variable asked for.
    table : Table
        Training data.
    complete : bool, default=True
        Whether the table is all the data. In a part of it every category that
        the column declares is a level, because other parts may hold it.

    Returns
    -------
    LearntVariable
        A `CategoricalVariable` where the column holds labels or the formula
        wrote ``C(x)``, a `ComputedVariable` of arithmetic, else a `NumericVariable`.

    Raises
    ------
    ValueError
        If a used value is missing or unusable.
    """
    if variable.categorical and variable.functions:
        raise ValueError(
            f"{variable.label!r} applies a function to labels; apply functions to numeric columns."
        )
    if variable.steps:
        return ComputedVariable.learn(variable, table)
    # asked of a marked column as well: containers are refused there
    holds_labels = not variable.functions and table.is_categorical(variable.name)
    if variable.categorical or holds_labels:
        return _learn_categorical(variable, table, complete)
    functions = []
    if variable.functions:
        values = _finite(table, variable.name)
        for name in variable.functions:
            function = learn_function(name, values, variable.name)
            functions.append(function)
            values = function.apply(values, variable.name)
    return NumericVariable(variable, tuple(functions))


def _learn_categorical(variable: Variable, table: Table, complete: bool) -> CategoricalVariable:
    values = table.ids(variable.name)
    refuse_rounded(values, variable.name)
    labels, codes = learn_labels(values, unseen=not complete)
    if codes.min() < 0:
        _refuse_missing(variable.name, values)
    if not variable.categorical and labels.declared is None:
        refuse_typos(table, variable.name, labels.values)
    if len(labels) < 2:
        so_far = "" if complete else " in the first part of the data"
        declare = (
            "" if complete else "declare it as a pandas categorical with all its categories, or "
        )
        raise ValueError(
            f"Categorical column {variable.name!r} has the single level {plain(labels.index[0])!r}"
            f"{so_far}, so it has no effect to estimate; {declare}remove it from the model."
        )
    contrast = variable.contrast
    if contrast is not None and level_position(labels.index, contrast.reference) is None:
        levels = ", ".join(map(repr, labels.index[:_LEVELS_SHOWN].tolist()))
        raise ValueError(
            f"{quoted(variable.label)}: column {variable.name!r} has no level "
            f"{shortened(contrast.reference)} to serve as reference; its levels are {levels}."
        )
    return CategoricalVariable(variable, labels)


def refuse_typos(table: Table, column: ColumnKey, labels: Any) -> None:
    """Refuse a column of numbers that a few entries made one of text.

    Parameters
    ----------
    table : Table
    column : str or int
    labels : ndarray (n_levels,)
        Distinct values of the column.

    Raises
    ------
    ValueError
        Names the first entry that is no number.
    """
    typo = number_with_typos(labels) if labels.dtype == object else None
    if typo is not None:
        rows = np.asarray(table.ids(column), dtype=object)
        row = next(row for row, value in enumerate(rows) if value is typo or value == typo)
        raise ValueError(
            f"Column {column!r} cannot be read as numbers: row {row} holds "
            f"{typo!r}, while most values are numbers. Correct it, or make the column a pandas "
            "category if these are labels."
        )


def _finite(table: Table, column: ColumnKey) -> FloatArray:
    values = table.numeric(column)
    require_finite(values, column)
    return values


def _refuse_missing(column: ColumnKey, values: Any) -> None:
    missing = np.asarray(pd.isna(values))
    if missing.any():
        raise ValueError(
            f"Input X contains NaN in column {column!r}: {int(missing.sum())} missing label(s), "
            f"the first in row {int(missing.argmax())}; drop these rows or give "
            "them a label of their own."
        )
