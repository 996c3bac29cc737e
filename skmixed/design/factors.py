"""One grouping factor with everything that varies by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from skmixed.covariances import STRUCTURES
from skmixed.design.basis import Basis
from skmixed.design.integers import CodeArray
from skmixed.design.levels import LevelEncoder
from skmixed.design.same_value import refuse_rounded
from skmixed.design.table import Table
from skmixed.formula.errors import printable
from skmixed.spec import ColumnKey, RandomTerm

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Factor:
    """A grouping factor in arrays; terms that share the factor are merged.

    Attributes
    ----------
    name : str
        ``"s"``, or ``"a:b"`` for an interaction of columns.
    codes : ndarray of shape (n_rows,) and dtype int32
        Level of each row; -1 where it is unknown or missing (prediction only).
    n_levels : int
        Number of levels.
    basis : ndarray of shape (n_rows, q) or None
        What the effects of a level are multiplied with; None stands for one
        column of ones. Not to be written to: it may share memory with X.
    term_names : tuple of str
        Name of each effect, of length q.
    blocks : tuple of (int, int)
        First and past-the-end effect of each set that shares one covariance matrix.
    block_structures : tuple of str
        What this matrix is: keys of `skmixed.covariances.STRUCTURES`, one per block.
    """

    name: str
    codes: CodeArray
    n_levels: int
    basis: FloatArray | None
    term_names: tuple[str, ...]
    blocks: tuple[tuple[int, int], ...]
    block_structures: tuple[str, ...]

    def loadings(self, rows: slice | np.ndarray = slice(None)) -> FloatArray:
        """What the effects of a row's level are multiplied with, (n_rows, q), contiguous."""
        if self.basis is None:
            return np.ones((len(self.codes[rows]), 1))
        return np.ascontiguousarray(self.basis[rows])


@dataclass(frozen=True, eq=False)
class FactorEncoder:
    """What was learnt about a grouping factor.

    Attributes
    ----------
    levels : LevelEncoder
        The levels.
    bases : tuple of Basis
        Effects of each merged term.
    term_names : tuple of str
        Name of each effect.
    blocks : tuple of (int, int)
        First and past-the-end effect of each set that shares one covariance matrix.
    structures : tuple of str
        What this matrix is: keys of `skmixed.covariances.STRUCTURES`, one per block. Empty
        in encoders that earlier versions stored: any matrix.
    """

    levels: LevelEncoder
    bases: tuple[Basis, ...]
    term_names: tuple[str, ...]
    blocks: tuple[tuple[int, int], ...]
    structures: tuple[str, ...] = field(default=(), metadata={"since": 4})

    @classmethod
    def learn(
        cls,
        terms: list[RandomTerm],
        table: Table,
        *,
        complete: bool = True,
        labels: Sequence[Any] | None = None,
    ) -> tuple[FactorEncoder, Factor]:
        """Learn levels and effects of the terms on one factor.

        Parameters
        ----------
        terms : list of RandomTerm
            Terms with the same grouping columns.
        table : Table
            Training data.
        complete : bool, default=True
            Whether the table is all the data; a part of it may have a single level.
        labels : sequence or None, default=None
            All levels, where a relation between them says which there are.

        Returns
        -------
        encoder : FactorEncoder
            Encodes the factor in any data.
        factor : Factor
            The factor in the training data.

        Raises
        ------
        ValueError
            If an effect occurs twice, a column is effect and group at once,
            or the columns are unusable.
        """
        group = terms[0].group
        _refuse_effect_of_group(terms)
        _refuse_what_is_no_label(table, group)
        if labels is None:
            levels, codes = LevelEncoder.learn(table, group, complete=complete)
        else:
            levels, codes = LevelEncoder.learn_among(table, group, labels)
        levels.refuse_twins()
        bases = tuple(Basis.learn(term.effects, table, complete=complete) for term in terms)
        names: list[str] = []
        blocks: list[tuple[int, int]] = []
        structures: list[str] = []
        for term, basis in zip(terms, bases, strict=True):
            start = len(names)
            for name in basis.names:
                if name in names:
                    shown = printable(levels.name)
                    raise ValueError(
                        f"The effect {name!r} varies by {levels.name!r} in two terms, so their "
                        "variances cannot be told apart; write it once, for instance "
                        f"(0 + x | {shown}) next to (1 | {shown})."
                    )
                names.append(name)
            width = len(basis.names) if STRUCTURES[term.structure].is_one_block else 1
            blocks += [(begin, begin + width) for begin in range(start, len(names), width)]
            structures += [term.structure] * (len(blocks) - len(structures))
        encoder = cls(levels, bases, tuple(names), tuple(blocks), tuple(structures))
        return encoder, encoder._factor(codes, table)

    @property
    def block_structures(self) -> tuple[str, ...]:
        """The structure of every block."""
        return self.structures or ("unstructured",) * len(self.blocks)

    @property
    def name(self) -> str:
        """The key of the factor: ``"s"`` or ``"a:b"``."""
        return self.levels.name

    @property
    def never_together(self) -> tuple[str, ...]:
        """Terms whose categorical column is part of the group, so that a level has one of its
        effects, and whose effects are correlated all the same."""
        alone = {begin for begin, stop in self.blocks if stop - begin == 1}
        found: list[str] = []
        start = 0
        for basis in self.bases:
            slices = basis.slices[int(basis.intercept) :]
            for term, (first, stop) in zip(basis.terms, slices, strict=True):
                variables = [basis.variables[coded.position] for coded in term]
                grouped = any(
                    v.categorical and v.variable.name in self.levels.columns for v in variables
                )
                if grouped and stop - first > 1 and start + first not in alone:
                    found.append(basis.label(term))
            start += len(basis.names)
        return tuple(found)

    @property
    def lone_contrasts(self) -> dict[str, tuple[str, ...]]:
        """Effects of contrasts that are independent of all others, by their term as written.

        A contrast is a difference from a base level. That it is independent of the rest is
        another model for every base.
        """
        alone = {begin for begin, stop in self.blocks if stop - begin == 1}
        found: dict[str, tuple[str, ...]] = {}
        start = 0
        for basis in self.bases:
            slices = basis.slices[int(basis.intercept) :]
            for term, (first, stop) in zip(basis.terms, slices, strict=True):
                if start + first in alone and basis.has_contrasts(term):
                    found[basis.label(term)] = self.term_names[start + first : start + stop]
            start += len(basis.names)
        return found

    def transform(self, table: Table) -> Factor:
        """Encode the factor in new data.

        Parameters
        ----------
        table : Table
            The data.

        Returns
        -------
        Factor
            Codes and basis; rows of unknown or missing labels have code -1.
        """
        _refuse_what_is_no_label(table, self.levels.columns)
        return self._factor(self.levels.codes(table), table)

    def learn_part(self, table: Table) -> tuple[FactorEncoder, Factor]:
        """Learn the levels of another part of the data, and keep the effects.

        Parameters
        ----------
        table : Table
            The part.

        Returns
        -------
        encoder : FactorEncoder
            The same effects with the levels of this part alone.
        factor : Factor
            The factor in this part.

        Raises
        ------
        ValueError
            If a label is missing, or a value of an effect is unusable.
        """
        _refuse_what_is_no_label(table, self.levels.columns)
        levels, codes = LevelEncoder.learn(
            table, self.levels.columns, complete=False, earlier=self.levels
        )
        encoder = replace(self, levels=levels)
        return encoder, encoder._factor(codes, table)

    def merge(self, other: FactorEncoder) -> tuple[FactorEncoder, tuple[CodeArray, CodeArray]]:
        """The factor in two parts of the data.

        Parameters
        ----------
        other : FactorEncoder
            The same factor in the rows that follow.

        Returns
        -------
        encoder : FactorEncoder
            The same effects with the levels of both parts.
        codes : tuple of two ndarray of dtype int32
            The new code of each level of this part, and of the other.

        Raises
        ------
        ValueError
            If the encoders are of different factors, or their effects differ.
        """
        levels, here, there = self.levels.merge(other.levels)
        # Equal blocks of equal names do not tell how many terms they came from.
        same = (self.blocks, len(self.bases)) == (other.blocks, len(other.bases)) and all(
            mine.agrees_with(yours) for mine, yours in zip(self.bases, other.bases, strict=True)
        )
        if not same:
            raise ValueError(
                f"The effects that vary by {self.name!r} differ between the parts; learn the "
                "first part with DesignEncoder.learn and the others with its learn_part."
            )
        return replace(self, levels=levels), (here, there)

    def _factor(self, codes: CodeArray, table: Table) -> Factor:
        basis: FloatArray | None = None
        if len(self.bases) > 1:
            basis = np.hstack([part.matrix(table) for part in self.bases])
        elif not self.bases[0].is_intercept_only:
            basis = self.bases[0].matrix(table)
        return Factor(
            self.name, codes, self.levels.n_levels, basis,
            self.term_names, self.blocks, self.block_structures,
        )  # fmt: skip


def _refuse_what_is_no_label(table: Table, columns: tuple[ColumnKey, ...]) -> None:
    """Refuse containers, and floats that have lost the last digits of an id."""
    for column in columns:
        table.is_categorical(column)
        refuse_rounded(table.ids(column), column)


def _refuse_effect_of_group(terms: list[RandomTerm]) -> None:
    """Effects of all columns that group have one level each, which tells no variance."""
    for term in terms:
        varying = {variable.name for effect in term.effects.terms for variable in effect}
        if varying.issuperset(term.group):
            raise ValueError(
                f"Column {term.group[0]!r} is both an effect and the group of the random "
                f"term on {term.group_label!r}: such an effect has a single level, so its variance "
                "cannot be estimated; remove it from the effects or choose another group."
            )
