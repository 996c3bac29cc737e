"""Dense codes for integers: a table indexed by the value itself.

Ids are mostly integers from a narrow range, where a table beats hashing by
an order of magnitude. All passes go through the rows in pieces that stay in
the cache, so that no array of the size of the data is made but the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from skmixed.design.hashing import factorize
from skmixed.threads import share_rows

CodeArray = npt.NDArray[np.int32]

_PIECE = 16384
_SMALLEST = int(np.iinfo(np.int64).min)
_LARGEST = int(np.iinfo(np.int64).max)


def is_narrow(lowest: int, highest: int, n_values: int) -> bool:
    """Whether a table over a range of integers is worth its memory.

    Parameters
    ----------
    lowest, highest : int
        The range.
    n_values : int
        Number of values the table is for.

    Returns
    -------
    bool
        True where the range is at most a few times the number of values.
    """
    inside = lowest > _SMALLEST and highest < _LARGEST
    return inside and highest - lowest <= 4 * n_values + 1_000_000


def learn_integers(values: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], CodeArray]:
    """Distinct integers in ascending order, and the rank of every value.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
        Integers or booleans of any width, or floats that are whole numbers.

    Returns
    -------
    levels : ndarray of shape (n_levels,)
        The distinct values; int64, or uint64 where int64 cannot hold them.
    codes : ndarray of shape (n_rows,) and dtype int32
        Position of each value in `levels`. Not to be written to: where the values are such
        positions, they are the values themselves.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.design.integers import learn_integers
    >>> levels, codes = learn_integers(np.array([7, 3, 7]))
    >>> levels.tolist(), codes.tolist()
    ([3, 7], [1, 0, 1])
    """
    if values.size == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int32)
    lowest, highest = int(values.min()), int(values.max())
    if not is_narrow(lowest, highest, values.size):
        codes, found = factorize(values)
        order = np.argsort(found, kind="stable")
        rank = np.empty(order.size, dtype=np.int32)
        rank[order] = np.arange(order.size, dtype=np.int32)
        levels = np.asarray(found)[order]
        return levels.astype(np.int64 if highest <= _LARGEST else np.uint64), rank[codes]
    present = np.zeros(highest - lowest + 3, dtype=np.bool_)

    def mark(first: int, end: int) -> None:
        for _, _, shifted in _pieces(values[first:end], lowest - 1):
            present[shifted] = True

    share_rows(mark, values.size)
    offsets = np.flatnonzero(present)
    if values.dtype == np.int32 and lowest == 0 and offsets.size == highest + 1:
        return offsets - 1, _writeable(values)
    lookup = _lookup(lowest, offsets, present.size)
    return offsets + (lowest - 1), lookup.codes(values)


@dataclass(frozen=True, eq=False)
class IntegerLookup:
    """A table from integers to codes.

    Attributes
    ----------
    base : int
        The integer the first entry stands for.
    table : ndarray of dtype int32
        Code of ``base + position``, -1 where there is none. The first and the
        last entry are -1, so that values beyond either end clip to them.
    """

    base: int
    table: CodeArray

    @classmethod
    def of(cls, levels: npt.NDArray[Any]) -> IntegerLookup | None:
        """Build the table of ascending integers, or None where they are too far apart.

        Parameters
        ----------
        levels : ndarray of shape (n_levels,)
            Integers in ascending order.

        Returns
        -------
        IntegerLookup or None
            The table.
        """
        if levels.size == 0 or not is_narrow(int(levels[0]), int(levels[-1]), levels.size):
            return None
        lowest = int(levels[0])
        offsets = levels.astype(np.int64) - (lowest - 1)
        return _lookup(lowest, offsets, int(offsets[-1]) + 2)

    def codes(self, values: npt.NDArray[Any]) -> CodeArray:
        """Code of every value.

        Parameters
        ----------
        values : ndarray of shape (n_rows,)
            Integers or booleans of any width, or floats.

        Returns
        -------
        ndarray of shape (n_rows,) and dtype int32
            The codes; -1 for values that are not in the table.
        """
        codes = np.empty(values.size, dtype=np.int32)
        share_rows(lambda first, end: self._fill(values[first:end], codes[first:end]), values.size)
        return codes

    def _fill(self, values: npt.NDArray[Any], codes: CodeArray) -> None:
        for start, piece, shifted in _pieces(values, self.base):
            part = codes[start : start + piece.size]
            np.take(self.table, shifted, out=part, mode="clip")
            if piece.dtype.kind == "f":
                part[shifted + self.base != piece] = -1
            elif piece.dtype == np.uint64:
                # Beyond int64 the shifted value wrapped around to some other integer.
                part[piece > np.uint64(_LARGEST)] = -1


def _writeable(values: npt.NDArray[np.int32]) -> CodeArray:
    """The values in memory that may be written to: they themselves, or a copy.

    Data frames give out arrays that may not, for which kernels would be compiled once more.
    """
    view = values.view()
    if view.flags.c_contiguous and view.flags.aligned:
        with suppress(ValueError):
            view.flags.writeable = True
            return view
    return values.copy()


def _lookup(lowest: int, offsets: npt.NDArray[np.int64], size: int) -> IntegerLookup:
    table = np.full(size, -1, dtype=np.int32)
    table[offsets] = np.arange(offsets.size, dtype=np.int32)
    return IntegerLookup(lowest - 1, table)


def _pieces(
    values: npt.NDArray[Any], base: int
) -> Iterator[tuple[int, npt.NDArray[Any], npt.NDArray[np.int64]]]:
    """Go through `values` minus `base` in int64, piece by piece in one buffer.

    Differences beyond int64 wrap around; modulo 2**64 no two of them meet, so
    a wrapped one never falls onto another value's entry.
    """
    buffer = np.empty(min(_PIECE, values.size), dtype=np.int64)
    for start in range(0, values.size, _PIECE):
        piece = values[start : start + _PIECE]
        shifted = buffer[: piece.size]
        with np.errstate(invalid="ignore"):
            # NaN and huge floats become some integer here; they are compared afterwards.
            np.copyto(shifted, piece, casting="unsafe")
        shifted -= base
        yield start, piece, shifted
