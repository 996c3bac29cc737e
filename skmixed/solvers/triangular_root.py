"""A root of the inverse of a matrix next to one with blocks, from roots of its diagonal blocks.

Of K = [A B; B' C] with C as it is in place of C - B'A^-1 B,

    M = [A B; B' C + B'A^-1 B] = S_0'^-1 S_0^-1,    S_0 = [S_A  -A^-1 B S_C; 0  S_C].

Where S_A and S_C are roots of A^-1 and C^-1, S_0'K S_0 is the identity but for a block
I - S_C'B'A^-1 B S_C: blocks that are eliminated leave nothing to estimate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skmixed.solvers.approximate_factor import ApproximateFactor
from skmixed.solvers.reduced_matrix import multiply_by_rows


@dataclass(frozen=True)
class PartPattern:
    """Where a block of a sparse matrix has its entries.

    Attributes
    ----------
    start, columns : ndarray (n + 1,), (n_entries,)
        The block by rows.
    places : ndarray (n_entries,)
        Its entries among those of the matrix.
    """

    start: np.ndarray
    columns: np.ndarray
    places: np.ndarray

    def multiply(self, values: np.ndarray, vectors: np.ndarray, n_threads: int) -> np.ndarray:
        """The block of a matrix with these entries, times vectors."""
        return multiply_by_rows(self.start, self.columns, values[self.places], vectors, n_threads)


@dataclass(frozen=True)
class SplitPattern:
    """Blocks of a sparse matrix of several groups of rows.

    The first group is A, and all others together are C, of which only the entries within groups
    count.

    Attributes
    ----------
    first, others : ndarray
        Rows of A and of C.
    within_first, within_others : PartPattern
        A and C.
    across, back : PartPattern
        B and B'.
    """

    first: np.ndarray
    others: np.ndarray
    within_first: PartPattern
    within_others: PartPattern
    across: PartPattern
    back: PartPattern

    @classmethod
    def of(cls, start: np.ndarray, columns: np.ndarray, group: np.ndarray) -> SplitPattern:
        """The blocks of a matrix by rows; `group` numbers the rows (N,), 0 for those of A."""
        is_first = group == 0
        first, others = np.flatnonzero(is_first), np.flatnonzero(~is_first)
        place = np.empty(len(group), np.int32)
        place[first], place[others] = np.arange(len(first)), np.arange(len(others))
        row = np.repeat(np.arange(len(group)), np.diff(start))

        def part(rows: np.ndarray, used: np.ndarray) -> PartPattern:
            places = np.flatnonzero(used)
            counts = np.bincount(row[places], minlength=len(group))[rows]
            return PartPattern(np.append(0, np.cumsum(counts)), place[columns[places]], places)

        from_first, to_first, same = is_first[row], is_first[columns], group[row] == group[columns]
        return cls(
            first, others,
            part(first, from_first & to_first), part(others, ~from_first & same),
            part(first, from_first & ~to_first), part(others, ~from_first & to_first),
        )  # fmt: skip


class TriangularRoot:
    """S_0 from approximate factors of A and C; the methods are those of `Root`.

    Parameters
    ----------
    pattern : SplitPattern
    values : ndarray
        Entries of the matrix. Off the diagonal those of A and C are not positive.
    copies : int
        As of `ApproximateFactor`.
    n_threads : int

    Raises
    ------
    SingularSystemError
        Where A or C is not positive definite.
    """

    def __init__(
        self, pattern: SplitPattern, values: np.ndarray, copies: int, n_threads: int
    ) -> None:
        self._pattern, self._values, self._n_threads = pattern, values, n_threads
        self._first, self._others = (
            ApproximateFactor(part.start, part.columns, values[part.places], copies)
            for part in (pattern.within_first, pattern.within_others)
        )
        self.log_det = self._first.log_det + self._others.log_det
        self.n_entries = self._first.n_entries + self._others.n_entries
        self.n_entries += len(pattern.across.columns)

    def _split(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return vectors[self._pattern.first], vectors[self._pattern.others]

    def _join(self, first: np.ndarray, others: np.ndarray) -> np.ndarray:
        out = np.empty((len(first) + len(others), first.shape[1]))
        out[self._pattern.first], out[self._pattern.others] = first, others
        return out

    def _across(self, others: np.ndarray) -> np.ndarray:
        """B v."""
        return self._pattern.across.multiply(self._values, others, self._n_threads)

    def _back(self, first: np.ndarray) -> np.ndarray:
        """B'v."""
        return self._pattern.back.multiply(self._values, first, self._n_threads)

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """S_0 v, for vectors (N, m)."""
        first, others = self._split(vectors)
        others = self._others.apply(others)
        first = first - self._first.apply_transposed(self._across(others))
        return self._join(self._first.apply(first), others)

    def apply_transposed(self, vectors: np.ndarray) -> np.ndarray:
        """S_0' r."""
        first, others = self._split(vectors)
        first = self._first.apply_transposed(first)
        others = others - self._back(self._first.apply(first))
        return self._join(first, self._others.apply_transposed(others))

    def apply_inverse(self, vectors: np.ndarray) -> np.ndarray:
        """S_0^-1 h."""
        first, others = self._split(vectors)
        moved = self._first.apply_transposed(self._across(others))
        return self._join(
            self._first.apply_inverse(first) + moved, self._others.apply_inverse(others)
        )

    def apply_transposed_inverse(self, vectors: np.ndarray) -> np.ndarray:
        """S_0'^-1 v."""
        first, others = self._split(vectors)
        back = self._back(self._first.apply(first))
        others = self._others.apply_transposed_inverse(others) + back
        return self._join(self._first.apply_transposed_inverse(first), others)
