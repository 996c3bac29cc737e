"""Arithmetic and functions of several columns: what they learnt, and their values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from skmixed.design.checks import require_finite
from skmixed.design.functions import FittedFunction, learn_function
from skmixed.design.labels import ColumnLabels, learn_labels
from skmixed.design.polynomial import Polynomial
from skmixed.design.same_value import refuse_rounded
from skmixed.design.table import Table
from skmixed.formula.errors import quoted
from skmixed.spec import ColumnKey, Step, Variable, written

FloatArray = npt.NDArray[np.float64]

_OPERATORS: dict[str, Callable[..., Any]] = {
    "+": np.add,
    "*": np.multiply,
    "/": np.divide,
    "^": np.power,
    "<": np.less,
    ">": np.greater,
    "<=": np.less_equal,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
    "pmin": lambda *values: reduce(np.minimum, values),
    "pmax": lambda *values: reduce(np.maximum, values),
}

_COLUMNS_SHOWN = 5
_WITHOUT_STATE = ("column", "number", "cbind", "I", "poly_raw", "-", *_OPERATORS)


@dataclass(frozen=True, eq=False)
class GroupMeans:
    """Means of a computation by group, over the training rows.

    Attributes
    ----------
    labels : ColumnLabels
        The groups.
    means : ndarray (n_groups,)
    overall : float
        Mean over all training rows, for groups that are not among them.
    """

    labels: ColumnLabels
    means: FloatArray
    overall: float

    @classmethod
    def learn(cls, values: FloatArray, table: Table, column: ColumnKey) -> GroupMeans:
        """Compute the means of the training rows; every row counts once, as in R."""
        ids = table.ids(column)
        refuse_rounded(ids, column)
        labels, codes = learn_labels(ids)
        if codes.min() < 0:
            raise ValueError(
                f"Input X contains NaN in column {column!r}: the first missing label is in row "
                f"{int(codes.argmin())}; drop these rows, or give them a label "
                "of their own."
            )
        sizes = np.bincount(codes, minlength=len(labels))
        sums = np.bincount(codes, values, minlength=len(labels))
        return cls(labels, sums / np.maximum(sizes, 1), float(values.mean()))

    def apply(self, table: Table, column: ColumnKey) -> FloatArray:
        """The mean of every row's group."""
        ids = table.ids(column)
        refuse_rounded(ids, column)
        codes = self.labels.codes(ids)
        return np.where(codes >= 0, self.means[codes], self.overall)


Learnt = FittedFunction | GroupMeans | Polynomial | None


@dataclass(frozen=True, eq=False)
class ComputedVariable:
    """A computation of columns.

    Attributes
    ----------
    variable : Variable
        As it was asked for.
    learnt : tuple of FittedFunction, GroupMeans, Polynomial or None
        By step; None where a step learns nothing.
    """

    variable: Variable
    learnt: tuple[Learnt, ...]
    categorical = False
    is_plain = False

    @classmethod
    def learn(cls, variable: Variable, table: Table) -> ComputedVariable:
        """Learn what the steps need from the training data.

        Parameters
        ----------
        variable : Variable
        table : Table
            Training data.

        Raises
        ------
        ValueError
            If a value is missing or cannot be computed.
        """
        learnt: list[Learnt] = []

        def learn_step(i: int, taken: list[FloatArray]) -> Learnt:
            learnt.append(_learn(variable.steps, i, taken, table))
            return learnt[-1]

        _run(variable.steps, table, learn_step)
        return cls(variable, tuple(learnt))

    @property
    def column(self) -> ColumnKey:
        """The first column that is read."""
        return self.variable.name

    @property
    def state(self) -> tuple[Any, ...]:
        """The variable, and what its steps learnt in numbers."""
        return (self.variable, *map(_numbers, self.learnt))

    def names(self, full: bool) -> list[str]:
        """Name of each column: one, of polynomials one a degree."""
        label, last = self.variable.label, self.variable.steps[-1]
        if last.name not in ("poly", "poly_raw"):
            return [label]
        return [f"{label}[{degree}]" for degree in range(1, int(last.value or 0) + 1)]

    def columns(self, table: Table, full: bool) -> list[npt.NDArray[Any]]:
        """The columns in any data, each (n_rows,); successes and failures of ``cbind``.

        Raises
        ------
        ValueError
            If a value is missing, no number, or a result is not finite.
        """
        return [np.asarray(values) for values in self.stack(table)[-1]]

    def stack(self, table: Table, stop: int | None = None) -> list[list[FloatArray]]:
        """What lies on the stack after the steps before `stop`."""
        return _run(self.variable.steps[:stop], table, lambda i, taken: self.learnt[i])


def learnt_kind(name: str) -> type:
    """What kind of object a step learns; the type of None where it learns nothing."""
    if name in _WITHOUT_STATE:
        return type(None)
    return {"ave": GroupMeans, "poly": Polynomial}.get(name, FittedFunction)


def _learn(steps: tuple[Step, ...], i: int, taken: list[FloatArray], table: Table) -> Learnt:
    """What a step learns from its arguments."""
    step = steps[i]
    if step.name in _WITHOUT_STATE:
        return None
    if step.name == "ave":
        assert step.column is not None
        return GroupMeans.learn(taken[0], table, step.column)
    if step.name == "poly":
        return Polynomial.learn(taken[0], int(step.value or 0), quoted(written(steps[: i + 1])))
    inside = written(steps[: i + 1]).removeprefix(f"{step.name}(").removesuffix(")")
    return learn_function(step.name, taken[0], quoted(inside)[1:-1])


def _run(
    steps: tuple[Step, ...], table: Table, learnt: Callable[[int, list[FloatArray]], Learnt]
) -> list[list[FloatArray]]:
    """Go through the steps; an entry of the stack has several columns after ``poly``."""
    stack: list[list[FloatArray]] = []
    for i, step in enumerate(steps):
        first = len(stack) - step.n_arguments
        taken = [entry[0] for entry in stack[first:]]
        del stack[first:]
        with np.errstate(all="ignore"):
            stack.append(_result(step, taken, table, learnt(i, taken)))
        for values in stack[-1]:
            _require_finite(values, steps[: i + 1], table)
    return stack


def _result(step: Step, taken: list[FloatArray], table: Table, learnt: Learnt) -> list[FloatArray]:
    """What a step lays on the stack."""
    if step.name == "column":
        values = table.numeric(step.value)
        require_finite(values, step.value)
        return [values]
    if step.name == "number":
        return [np.full(table.n_rows, float(step.value or 0.0))]
    if step.name == "cbind":
        return taken
    if step.name == "I":
        return taken
    if step.name == "-":
        return [-taken[0] if step.n_arguments == 1 else taken[0] - taken[1]]
    if step.name == "poly_raw":
        return [taken[0] ** degree for degree in range(1, int(step.value or 0) + 1)]
    if isinstance(learnt, Polynomial):
        return learnt.columns(taken[0])
    if isinstance(learnt, GroupMeans):
        assert step.column is not None
        return [learnt.apply(table, step.column)]
    if isinstance(learnt, FittedFunction):
        return [learnt(taken[0])]
    return [_OPERATORS[step.name](*taken).astype(np.float64, copy=False)]


def _require_finite(values: FloatArray, steps: tuple[Step, ...], table: Table) -> None:
    """Refuse results that are not finite, and name the values they were computed from."""
    bad = ~np.isfinite(values)
    if not bad.any():
        return
    row = int(bad.argmax())
    columns = dict.fromkeys(step.value for step in steps if step.name == "column")
    shown = [f"{column!r} is {table.numeric(column)[row]:.15g}" for column in columns]
    given = ", ".join(shown[:_COLUMNS_SHOWN]) + (", ..." if len(shown) > _COLUMNS_SHOWN else "")
    raise ValueError(
        f"{quoted(written(steps))} is {values[row]:.15g} in row {row}, where "
        f"{given}; correct or drop such rows, or compute something else."
    )


def _numbers(learnt: Learnt) -> Any:
    """What was learnt, to be compared."""
    if isinstance(learnt, GroupMeans):
        return (tuple(learnt.labels.index), tuple(learnt.means.tolist()), learnt.overall)
    if isinstance(learnt, Polynomial):
        arrays = (learnt.shifts, learnt.ratios, learnt.sizes)
        return (learnt.center, learnt.scale, *(tuple(array.tolist()) for array in arrays))
    return learnt
