"""Grouping factors: from one or several columns to int32 level codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skmixed.design.checks import plain
from skmixed.design.integers import CodeArray
from skmixed.design.labels import ColumnLabels, learn_labels
from skmixed.design.merging import merge_labels, unique_ascending
from skmixed.design.same_value import one_value_in_two_types
from skmixed.design.table import Table
from skmixed.spec import ColumnKey

_MOST_LEVELS = int(np.iinfo(np.int32).max)


@dataclass(frozen=True, eq=False)
class LevelEncoder:
    """Levels of one grouping factor, as learnt from training data.

    Attributes
    ----------
    columns : tuple of str or int
        The grouping columns; more than one is their interaction.
    parts : tuple of ColumnLabels
        Labels of each column.
    pairs : tuple of ColumnLabels
        For interactions, the combinations that occur: of the first two
        columns, of these combinations with the third column, and so on. A
        combination is the integer ``code_left * n_right + code_right``.
    all_unique : bool
        Whether every training row had a level of its own.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmixed.design.levels import LevelEncoder
    >>> from skmixed.design.table import Table
    >>> table = Table.from_input(pd.DataFrame({"g": ["b", "a", "b"]}))
    >>> encoder, codes = LevelEncoder.learn(table, ("g",))
    >>> list(encoder.labels), codes.tolist()
    (['a', 'b'], [1, 0, 1])
    """

    columns: tuple[ColumnKey, ...]
    parts: tuple[ColumnLabels, ...]
    pairs: tuple[ColumnLabels, ...]
    all_unique: bool

    @classmethod
    def learn(
        cls,
        table: Table,
        columns: tuple[ColumnKey, ...],
        *,
        complete: bool = True,
        earlier: LevelEncoder | None = None,
    ) -> tuple[LevelEncoder, CodeArray]:
        """Find the levels that occur in the training data.

        Parameters
        ----------
        table : Table
            Training data.
        columns : tuple of str or int
            The grouping columns.
        complete : bool, default=True
            Whether the table is all the data; a part of it may have a single level.
        earlier : LevelEncoder or None, default=None
            The same factor in earlier rows, whose types ids of another type take.

        Returns
        -------
        encoder : LevelEncoder
            The levels.
        codes : ndarray of shape (n_rows,) and dtype int32
            Level of each row.

        Raises
        ------
        ValueError
            If a label is missing, or when all the data have only one level.
        TypeError
            If a value cannot be a label because it cannot be hashed.
        """
        parts: list[ColumnLabels] = []
        pairs: list[ColumnLabels] = []
        codes = np.empty(0, dtype=np.int32)
        for position, column in enumerate(columns):
            known = None if earlier is None else earlier.parts[position]
            labels, right = _learn_column(table, column, known)
            if parts:
                combination, codes = learn_labels(_combine(codes, right, len(labels)))
                pairs.append(combination)
            else:
                codes = right
            parts.append(labels)
        n_levels = len((pairs or parts)[-1])
        encoder = cls(tuple(columns), tuple(parts), tuple(pairs), n_levels == table.n_rows)
        if complete:
            encoder.refuse_single_level()
        encoder._refuse_too_many()
        return encoder, codes

    @classmethod
    def learn_among(
        cls, table: Table, columns: tuple[ColumnKey, ...], labels: Sequence[Any]
    ) -> tuple[LevelEncoder, CodeArray]:
        """Take given levels, of which the rows of the training data have some.

        Parameters
        ----------
        table : Table
            Training data.
        columns : tuple of str or int
            The grouping column.
        labels : sequence
            All levels, whether they occur or not.

        Returns
        -------
        encoder : LevelEncoder
            The levels.
        codes : ndarray of shape (n_rows,) and dtype int32
            Level of each row.

        Raises
        ------
        ValueError
            If a label is missing, or is not one of the given labels.
        """
        given, _ = cls.learn(_table_of(columns, labels), columns, complete=False)
        found, codes = cls.learn(table, columns, complete=False, earlier=given)
        merged, of_given, of_found = given.merge(found)
        strange = np.flatnonzero(~np.isin(of_found, of_given))
        if len(strange):
            more = f" and {len(strange) - 1} others" if len(strange) > 1 else ""
            raise ValueError(
                f"Grouping column {columns[0]!r} holds {plain(found.labels[strange[0]])!r}{more}, "
                "which its relation does not: relations must cover all levels. Add the "
                "level to the relation, or drop its rows."
            )
        return merged, of_found[codes]

    def codes_of(self, labels: Sequence[Any]) -> CodeArray:
        """The code of each label of a factor of one column, -1 where it is not known."""
        return self.codes(_table_of(self.columns, labels))

    @property
    def name(self) -> str:
        """The factor in text: ``"a"`` or ``"a:b"``."""
        return ":".join(str(column) for column in self.columns)

    @property
    def n_levels(self) -> int:
        """Number of levels."""
        return len((self.pairs or self.parts)[-1])

    @cached_property
    def labels(self) -> pd.Index:
        """The levels in the order of their codes; a MultiIndex for interactions."""
        if not self.pairs:
            return self.parts[0].index.rename(self.columns[0])
        left = np.arange(self.n_levels)
        reversed_labels = []
        for pair, part in zip(self.pairs[::-1], self.parts[:0:-1], strict=True):
            left, right = np.divmod(pair.values[left], len(part))
            reversed_labels.append(part.index.take(right))
        reversed_labels.append(self.parts[0].index.take(left))
        return pd.MultiIndex.from_arrays(reversed_labels[::-1], names=self.columns)

    def codes(self, table: Table) -> CodeArray:
        """Level of each row, possibly of new data.

        Parameters
        ----------
        table : Table
            The data.

        Returns
        -------
        ndarray of dtype int32
            The codes; -1 where a label is missing or was not in the training data.
        """
        codes = np.empty(0, dtype=np.int32)
        for position, (column, labels) in enumerate(zip(self.columns, self.parts, strict=True)):
            right = labels.codes(table.ids(column))
            if position == 0:
                codes = right
                continue
            known = (codes >= 0) & (right >= 0)
            # Rows with an unknown part get a key below all others.
            keys = np.where(known, _combine(codes, right, len(labels)), -1)
            codes = self.pairs[position - 1].codes(keys)
        return codes

    def merge(self, other: LevelEncoder) -> tuple[LevelEncoder, CodeArray, CodeArray]:
        """The levels of two parts of the data.

        They and their order are those of `learn` on the rows of both parts.
        Parts may be merged in any tree, but in the order of their rows.

        Parameters
        ----------
        other : LevelEncoder
            The same factor in the rows that follow.

        Returns
        -------
        encoder : LevelEncoder
            The levels of both parts.
        of_self, of_other : ndarray of dtype int32
            The new code of each level of either part.

        Raises
        ------
        ValueError
            If the encoders are of different factors.
        """
        if self.columns != other.columns:
            raise ValueError(
                f"The levels of {self.name!r} cannot be merged with those of {other.name!r}; "
                "merge encoders of the same grouping columns."
            )
        parts: list[ColumnLabels] = []
        pairs: list[ColumnLabels] = []
        here = there = np.empty(0, dtype=np.int32)
        for position, (mine, yours) in enumerate(zip(self.parts, other.parts, strict=True)):
            labels, of_mine, of_yours = merge_labels(mine, yours)
            if position == 0:
                here, there = of_mine, of_yours
            else:
                ours = self.pairs[position - 1].values, other.pairs[position - 1].values
                n_here = len(ours[0])
                left = _recode(ours[0], here, of_mine, len(labels))
                right = _recode(ours[1], there, of_yours, len(labels))
                keys, codes = unique_ascending(np.concatenate([left, right]))
                pairs.append(ColumnLabels(keys))
                here, there = codes[:n_here], codes[n_here:]
            parts.append(labels)
        n_levels = len((pairs or parts)[-1])
        nothing_shared = n_levels == self.n_levels + other.n_levels
        all_unique = self.all_unique and other.all_unique and nothing_shared
        merged = LevelEncoder(self.columns, tuple(parts), tuple(pairs), all_unique)
        merged._refuse_too_many()
        return merged, here, there

    def n_shared(self, other: LevelEncoder) -> int:
        """How many levels of another encoder of the factor are levels of this one."""
        labels = other.labels
        frame = labels.to_frame(index=False) if other.pairs else pd.DataFrame({0: labels})
        frame.columns = pd.Index(self.columns, dtype=object)
        return int((self.codes(Table.from_input(frame)) >= 0).sum())

    def refuse_single_level(self) -> None:
        """Refuse a factor that groups nothing, once the levels of all the data are known.

        Raises
        ------
        ValueError
            If there is only one level.
        """
        if self.n_levels < 2:
            raise ValueError(
                f"Grouping factor {self.name!r} has a single level ({plain(self.labels[0])!r}) in "
                "all rows, but its variance needs at least two levels; remove it from "
                "random_effects or formula, or check the column."
            )

    def refuse_twins(self) -> None:
        """Refuse ids of which some are numbers and the same ones text.

        Raises
        ------
        ValueError
            Names the column and one such pair.
        """
        for column, part in zip(self.columns, self.parts, strict=True):
            pair = one_value_in_two_types(part.values) if part.values.dtype == object else None
            if pair is not None:
                raise ValueError(
                    f"Grouping column {column!r} holds {pair[0]!r} as a number and {pair[1]!r} as "
                    "text, which would be two levels. Make the column one type: "
                    f"X[{column!r}].astype(str), or dtype= where the file is read."
                )

    def _refuse_too_many(self) -> None:
        if self.n_levels > _MOST_LEVELS:
            raise ValueError(
                f"Grouping factor {self.name!r} has {self.n_levels} levels, more than the "
                f"{_MOST_LEVELS} that int32 codes can count; group the rows more coarsely."
            )

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in self.__dataclass_fields__}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def _table_of(columns: tuple[ColumnKey, ...], labels: Sequence[Any]) -> Table:
    """A table of one grouping column."""
    frame = pd.DataFrame({0: list(labels)})
    frame.columns = pd.Index(columns, dtype=object)
    return Table.from_input(frame)


def _learn_column(
    table: Table, column: ColumnKey, earlier: ColumnLabels | None = None
) -> tuple[ColumnLabels, CodeArray]:
    """Labels of one column of training data, none of which may be missing."""
    values = table.ids(column)
    try:
        values = values if earlier is None else earlier.in_my_type(values)
        labels, codes = learn_labels(values)
    except TypeError as error:
        raise TypeError(
            f"Grouping column {column!r} holds a value that cannot be a label ({error}); "
            "use text, numbers, dates or categories."
        ) from None
    if codes.min() < 0:
        missing = codes < 0
        raise ValueError(
            f"Grouping column {column!r} contains NaN or None: {int(missing.sum())} missing "
            f"label(s), the first in row {int(missing.argmax())}; drop these "
            "rows, or give them a label of their own."
        )
    return labels, codes


def _combine(left: CodeArray, right: CodeArray, n_right: int) -> npt.NDArray[np.int64]:
    """One integer per pair of codes; both are below 2**31, so the result is below 2**62."""
    combined = left.astype(np.int64)
    combined *= n_right
    combined += right
    return combined


def _recode(
    pairs: npt.NDArray[np.int64], of_left: CodeArray, of_right: CodeArray, n_right: int
) -> npt.NDArray[np.int64]:
    """Pairs of old codes as pairs of new codes."""
    left, right = np.divmod(pairs, len(of_right))
    return _combine(of_left[left], of_right[right], n_right)
