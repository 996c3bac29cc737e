"""The columns of a linear part: fixed effects, or what varies between groups."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import product
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from skmixed.design.checks import require_finite, shortened
from skmixed.design.functions import learnt_functions
from skmixed.design.table import Table
from skmixed.design.variables import LearntVariable, learn_variable
from skmixed.memory import refuse_what_does_not_fit
from skmixed.spec import ColumnKey, TermList, Variable

FloatArray = npt.NDArray[np.float64]

INTERCEPT = "Intercept"
MAX_INDICATORS = 10_000


@dataclass(frozen=True)
class CodedVariable:
    """A variable inside one term.

    Attributes
    ----------
    position : int
        Which variable of the basis.
    full : bool
        Whether a categorical variable has an indicator for every level in
        this term, instead of contrasts with the first level.
    """

    position: int
    full: bool


@dataclass(frozen=True, eq=False)
class Basis:
    """A linear part as learnt from training data.

    Attributes
    ----------
    intercept : bool
        Whether the first column is constant.
    variables : tuple of LearntVariable
        The variables that occur.
    terms : tuple of tuple of CodedVariable
        The terms, in order; several variables are an interaction.
    names : tuple of str
        Name of each column, ``"Intercept"`` first when there is one.
    slices : tuple of (int, int)
        First and past-the-end column of the intercept (when there is one)
        and of each term.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmixed.design.basis import Basis
    >>> from skmixed.design.table import Table
    >>> from skmixed.spec import ColumnKey, TermList, Variable
    >>> table = Table.from_input(pd.DataFrame({"x": [1.0, 2.0], "f": ["a", "b"]}))
    >>> basis = Basis.learn(TermList(True, ((Variable("x"),), (Variable("f"),))), table)
    >>> basis.names
    ('Intercept', 'x', 'f[b]')
    >>> basis.matrix(table)
    array([[1., 1., 0.],
           [1., 2., 1.]])
    """

    intercept: bool
    variables: tuple[LearntVariable, ...]
    terms: tuple[tuple[CodedVariable, ...], ...]
    names: tuple[str, ...]
    slices: tuple[tuple[int, int], ...]

    @classmethod
    def learn(
        cls,
        terms: TermList,
        table: Table,
        *,
        complete: bool = True,
    ) -> Basis:
        """Learn levels, means and scales from the training data.

        Parameters
        ----------
        terms : TermList
            The linear part asked for.
        table : Table
            Training data; columns the terms do not name are not looked at.
        complete : bool, default=True
            Whether the table is all the data. In a part of it every category
            that a column declares is a level, because other parts may hold it.

        Returns
        -------
        Basis
            Builds the matrix of the training data and of any other data.

        Raises
        ------
        ValueError
            If a used value is missing, infinite or unusable, or when two
            columns would have the same name.
        """
        distinct: dict[Variable, int] = {}
        for variable in (v for term in terms.terms for v in term):
            distinct.setdefault(variable, len(distinct))
        variables = tuple(
            learn_variable(variable, table, complete=complete) for variable in distinct
        )
        written = [tuple(distinct[variable] for variable in term) for term in terms.terms]
        coded = _code_terms(written, terms.intercept, [v.categorical for v in variables])
        names = [INTERCEPT] if terms.intercept else []
        slices = [(0, 1)] if terms.intercept else []
        indicators = 0
        for term in coded:
            start = len(names)
            of_each = [variables[v.position].names(v.full) for v in term]
            indicators += _count_indicators(variables, term, of_each, indicators)
            # As in R the levels of the first variable of an interaction vary fastest.
            names += [":".join(parts[::-1]) for parts in product(*of_each[::-1])]
            slices.append((start, len(names)))
        _refuse_same_names(names)
        return cls(terms.intercept, variables, coded, tuple(names), tuple(slices))

    @property
    def is_intercept_only(self) -> bool:
        """Whether the constant is the only column."""
        return self.intercept and not self.terms

    def has_contrasts(self, term: tuple[CodedVariable, ...]) -> bool:
        """Whether a categorical variable of a term is coded by differences from its first level."""
        return any(self.variables[v.position].categorical and not v.full for v in term)

    @property
    def data_columns(self) -> tuple[ColumnKey, ...]:
        """The columns of the data that the variables are made of, each once."""
        found = (c for learnt in self.variables for c in learnt.variable.columns)
        return tuple(dict.fromkeys(found))

    @property
    def shown_data_columns(self) -> str:
        """The same as text, for messages."""
        return ", ".join(map(repr, self.data_columns)) or "none"

    def refuse_other_column(self, column: ColumnKey) -> None:
        """Raise ValueError where no variable is made of a column of the data."""
        if column not in self.data_columns:
            raise ValueError(
                f"{column!r} is not a column of the fixed effects, which are "
                f"{self.shown_data_columns}."
            )

    def label(self, term: tuple[CodedVariable, ...]) -> str:
        """A term as it is written: ``"a:b"``."""
        return ":".join(self.variables[coded.position].variable.label for coded in term)

    @property
    def learnt_functions(self) -> tuple[str, ...]:
        """Functions that learnt from the data, as they are written: ``"scale(x)"``."""
        terms = (self.variables[coded.position] for term in self.terms for coded in term)
        labels = (label for v in terms for label in learnt_functions(v.variable))
        return tuple(dict.fromkeys(labels))

    def agrees_with(self, other: Basis) -> bool:
        """Whether both have the same columns and learnt the same about them.

        Parameters
        ----------
        other : Basis
            A basis learnt from other data, or a copy.

        Returns
        -------
        bool
            True where both build the same matrix of any data.
        """
        return (self.intercept, self.terms, self.names) == (
            other.intercept,
            other.terms,
            other.names,
        ) and [v.state for v in self.variables] == [v.state for v in other.variables]

    def matrix(self, table: Table) -> FloatArray:
        """Columns of the linear part in any data.

        Parameters
        ----------
        table : Table
            The data.

        Returns
        -------
        ndarray of shape (n_rows, n_columns) and dtype float64, C order
            The columns. It may share memory with X and is not to be written to.

        Raises
        ------
        ValueError
            If a used value is missing, infinite or no number, or when a
            label was not in the training data.
        """
        first = int(self.intercept)
        plain = self.terms and all(len(t) == 1 and self._is_plain(t[0]) for t in self.terms)
        if plain and not first:
            return np.ascontiguousarray(self._checked(table.block(self._keys)))
        refuse_what_does_not_fit(
            f"A matrix of {table.n_rows:,} rows and {len(self.names):,} columns",
            8 * table.n_rows * len(self.names),
            "Use columns with many levels as grouping factors, or pass fewer rows at a time.",
        )
        columns = np.empty((table.n_rows, len(self.names)))
        if plain:
            self._checked(table.block(self._keys, out=columns[:, first:]))
        else:
            self._fill(columns, table)
        columns[:, :first] = 1.0
        return columns

    def _is_plain(self, coded: CodedVariable) -> bool:
        return self.variables[coded.position].is_plain

    @property
    def _keys(self) -> list[ColumnKey]:
        """The columns, when every term is a column of numbers."""
        return [self.variables[term[0].position].column for term in self.terms]

    def _checked(self, block: FloatArray) -> FloatArray:
        """The block, all of whose numbers are finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            suspicious = not np.isfinite(block.sum())
        if suspicious:
            for position, key in enumerate(self._keys):
                require_finite(block[:, position], key)
        return block

    def _fill(self, columns: FloatArray, table: Table) -> None:
        """Write the columns of all terms."""
        made: dict[CodedVariable, list[npt.NDArray[Any]]] = {}
        column = int(self.intercept)
        for term in self.terms:
            for coded in term:
                if coded not in made:
                    made[coded] = self.variables[coded.position].columns(table, coded.full)
            for parts in product(*(made[coded] for coded in term[::-1])):
                columns[:, column] = reduce(np.multiply, parts)
                column += 1


def _code_terms(
    terms: list[tuple[int, ...]], intercept: bool, categorical: list[bool]
) -> tuple[tuple[CodedVariable, ...], ...]:
    """Decide between contrasts and indicators of all levels as R does.

    A variable has contrasts in a term if the term without the variable is in
    the model. The empty term counts as in the model once something spans the
    constant: the intercept, or an earlier term of indicators of all levels.
    """
    present = {frozenset(term) for term in terms}
    spans_constant = intercept
    coded = []
    for term in terms:
        variables = []
        for position in term:
            rest = frozenset(term) - {position}
            covered = rest in present if rest else spans_constant
            variables.append(CodedVariable(position, categorical[position] and not covered))
        spans_constant = spans_constant or all(variable.full for variable in variables)
        coded.append(tuple(variables))
    return tuple(coded)


def _count_indicators(
    variables: tuple[LearntVariable, ...],
    term: tuple[CodedVariable, ...],
    of_each: list[list[str]],
    before: int,
) -> int:
    """Number of indicators in a term; refuses what no memory could hold."""
    columns = prod(len(names) for names in of_each)
    if columns == 1:
        return 0
    if before + columns > MAX_INDICATORS:
        name = shortened(":".join(variables[coded.position].variable.label for coded in term))
        raise ValueError(
            f"The term {name} needs {columns} indicator columns, one per (combination of) level; "
            f"all terms together can have {MAX_INDICATORS}. Use columns with many levels as "
            "grouping factors, as in (1 | a:b), or leave the term out."
        )
    return columns


def _refuse_same_names(names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(
                f"Two columns of the model would both be called {shortened(name)}; rename a "
                "column of X, or write each term once."
            )
        seen.add(name)
