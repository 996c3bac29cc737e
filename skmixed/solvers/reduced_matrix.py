"""Reduced cross-products of the large factors of a tail as an explicit sparse matrix.

Where eliminated levels meet few others, as workers meet few firms, the matrix that their
elimination leaves is about as sparse as the cells themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.sparse import coo_array, csr_array

from skmixed._kernels.arguments import LevelCells, LevelInverses, PairCovariance, TailColumns
from skmixed._kernels.reduced_cells import (
    add_row_variances,
    find_pairs,
    find_places,
    mix_entries,
    multiply_rows,
    subtract_pairs,
    sum_row_products,
)
from skmixed.covariances import Scale
from skmixed.solvers.eliminated_levels import EliminatedLevels
from skmixed.solvers.sparse_tail import SparseTail
from skmixed.sums.working_rows import WorkingRows
from skmixed.threads import enough_parts, even_bounds, run_parts

_MOST_PAIRS = 8
"""Ordered pairs of cells of an eliminated level, over cells, up to which the matrix is sparse."""


class Reduced(Protocol):
    """A system of which the eliminated levels are reduced."""

    tail: SparseTail
    levels: EliminatedLevels
    scales: list[Scale]


@dataclass(frozen=True)
class ReducedPattern:
    """Where the reduced cross-products of the large factors may differ from zero.

    Attributes
    ----------
    start, columns : ndarray (N + 1,), (n_entries,)
        The entries by rows, both triangles, columns ascending.
    pairs : ndarray (n_pairs,)
        Place of every ordered pair of cells of an eliminated level.
    pair_start : ndarray (L + 1,)
        First pair of every eliminated level.
    diagonal : ndarray (N,)
        Place of the diagonal.
    own : tuple of ndarray (levels, q, q)
        By large factor, places of its level blocks.
    between : tuple of (ndarray, ndarray)
        By pair of large factors, places of its cells in either triangle, (n_cells, q1, q2).
    tail_columns : TailColumns
        Number of every column within its level.
    """

    start: np.ndarray
    columns: np.ndarray
    pairs: np.ndarray
    pair_start: np.ndarray
    diagonal: np.ndarray
    own: tuple[np.ndarray, ...]
    between: tuple[tuple[np.ndarray, np.ndarray], ...]
    tail_columns: TailColumns

    @classmethod
    def of(cls, tail: SparseTail) -> ReducedPattern | None:
        """The pattern of a tail; None where it is not sparse."""
        counts = np.diff(tail.start).astype(np.int64)
        n_pairs = int((counts**2).sum())
        if not tail.n_large or n_pairs > _MOST_PAIRS * (len(tail.columns) + tail.n_large):
            return None
        n = tail.n_large
        cells = csr_array(
            (np.ones(len(tail.columns), np.int32), tail.columns, tail.start),
            shape=(len(counts), n),
        )
        own = [_level_columns(factor.start, factor.n_levels, factor.n_effects)
               for factor in tail.large]  # fmt: skip
        rows = [np.repeat(columns, columns.shape[1], axis=1).ravel() for columns in own]
        across = [np.tile(columns, columns.shape[1]).ravel() for columns in own]
        between = tail.pair_columns()
        for first, second in between:
            rows += [first.ravel(), second.ravel()]
            across += [second.ravel(), first.ravel()]
        entries = np.concatenate(rows), np.concatenate(across)
        blocks = coo_array((np.ones(len(entries[0]), np.int32), entries), shape=(n, n))
        matrix = csr_array(cells.T @ cells + blocks.tocsr())
        matrix.sort_indices()
        start, columns = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)

        def places(first: np.ndarray, second: np.ndarray) -> np.ndarray:
            out = np.empty(first.size, np.int64)
            find_places(start, columns, first.ravel(), second.ravel(), out)
            return out.reshape(first.shape)

        pairs = np.empty(n_pairs, np.int32 if len(columns) < 2**31 else np.int64)
        find_pairs(tail.start, tail.columns, start, columns, pairs)
        everything = np.arange(n)
        blocks_at = [
            places(row, column).reshape(-1, factor.n_effects, factor.n_effects)
            for row, column, factor in zip(rows, across, tail.large, strict=False)
        ]
        return cls(
            start, columns, pairs, np.append(0, np.cumsum(counts**2)),
            places(everything, everything), tuple(blocks_at),
            tuple((places(a, b), places(b, a)) for a, b in between), tail.tail_columns,
        )  # fmt: skip

    @property
    def n_rows(self) -> int:
        """N."""
        return len(self.start) - 1

    def is_short(self, tail: SparseTail) -> bool:
        """Whether a product with the matrix takes less than one by cells."""
        return len(self.columns) < 2 * len(tail.columns) + len(tail.start)

    def reduce(self, tail: SparseTail, middle: np.ndarray) -> np.ndarray:
        """Entries of the reduced cross-products R; `middle` as in `SparseTail.multiply`."""
        out = np.zeros(len(self.columns))
        for places, own in zip(self.own, tail.own, strict=True):
            out[places] = own
        for (upper, lower), pair in zip(self.between, tail.pairs, strict=True):
            out[upper] = out[lower] = pair.values
        self.subtract_pairs(tail, middle, out)
        return out

    def subtract_pairs(self, tail: SparseTail, middle: np.ndarray, out: np.ndarray) -> None:
        """Subtract sum_l C_l' middle_l C_l from entries."""
        subtract_pairs(tail.start, tail.values, middle, self.pairs, out)

    def level_blocks(self, values: np.ndarray) -> list[np.ndarray]:
        """Level blocks (levels, q, q) of every large factor of a matrix with these entries."""
        return [values[places] for places in self.own]

    def mixed(
        self,
        values: np.ndarray,
        left: Sequence[np.ndarray | None],
        right: Sequence[np.ndarray | None],
    ) -> np.ndarray:
        """Entries of A' M B with A and B (q, q) of every large factor, of M with `values`.

        None is the identity.
        """
        if self.is_scalar:
            rows = np.repeat(self._sizes(left), np.diff(self.start))
            rows *= self._sizes(right)[self.columns]
            return np.asarray(values * rows)
        out = np.empty_like(values)
        mixes = self._mixing(left), self._mixing(right)
        mix_entries(self.start, self.columns, values, self.tail_columns, *mixes, out)
        return out

    @property
    def is_scalar(self) -> bool:
        """Whether every level has a single effect."""
        return all(own.shape[1] == 1 for own in self.own)

    def _sizes(self, scales: Sequence[np.ndarray | None]) -> np.ndarray:
        return np.concatenate(
            [np.full(len(own), 1.0 if scale is None else scale[0, 0])
             for own, scale in zip(self.own, scales, strict=True)]
        )  # fmt: skip

    def _mixing(self, scales: Sequence[np.ndarray | None]) -> np.ndarray:
        """What every effect of its level contributes to an effect, (N, widest)."""
        widest = max(own.shape[1] for own in self.own)
        parts = []
        for own, scale in zip(self.own, scales, strict=True):
            levels, q = own.shape[:2]
            matrix = np.zeros((q, widest))
            matrix[:, :q] = np.eye(q) if scale is None else scale.T
            parts.append(np.tile(matrix, (levels, 1)))
        return np.concatenate(parts)

    def summed_products(self, first: np.ndarray, second: np.ndarray, number: int) -> np.ndarray:
        """Level blocks (q, q) of A B' summed over a large factor, of entries of A and B."""
        q = self.own[number].shape[1]
        before = sum(own.shape[0] * own.shape[1] for own in self.own[:number])
        out = np.zeros((q, q))
        rows = before + q * np.arange(len(self.own[number]))
        sum_row_products(self.start, first, second, rows, out)
        return out

    def add_row_variances(
        self, system: Reduced, rows: WorkingRows, entries: np.ndarray, out: np.ndarray
    ) -> None:
        """Add the variance of every row (n,) under a covariance of the large factors.

        `entries` are its entries here. The eliminated effects follow, those of the dense part do
        not.
        """
        tail, levels = system.tail, system.levels
        eliminated = tail.cross.eliminated
        assert eliminated is not None
        omega = system.scales[eliminated.position].omega
        nothing = np.zeros((*tail.cross.own.shape[:2], 0))
        cells = LevelCells(tail.start, tail.columns, tail.values, nothing)
        inverses = LevelInverses(levels.shrink, omega, levels.omega_shrunk)
        covariance = PairCovariance(self.pair_start, self.pairs, entries)
        places = rows.by_level

        def add(first: int, last: int) -> None:
            add_row_variances(places, cells, inverses, covariance, first, last, out)

        parts = enough_parts(len(self.pairs) + rows.n_rows, tail.n_threads)
        work = np.diff(self.pair_start) * (1.0 + np.diff(places.row_start))
        run_parts(add, even_bounds(work, parts), tail.n_threads)

    def multiply(self, values: np.ndarray, vectors: np.ndarray, n_threads: int) -> np.ndarray:
        """A matrix with these entries times vectors (N, m)."""
        return multiply_by_rows(self.start, self.columns, values, vectors, n_threads)


def multiply_by_rows(
    start: np.ndarray, columns: np.ndarray, values: np.ndarray, vectors: np.ndarray, n_threads: int
) -> np.ndarray:
    """A sparse matrix times vectors (k, m), (n, m).

    Parameters
    ----------
    start, columns, values : ndarray (n + 1,), (n_entries,), (n_entries,)
        The matrix by rows.
    vectors : ndarray (k, m)
    n_threads : int
    """
    vectors = np.ascontiguousarray(vectors)
    out = np.empty((len(start) - 1, vectors.shape[1]))
    parts = enough_parts(len(columns) * vectors.shape[1], n_threads)
    run_parts(
        lambda first, last: multiply_rows(start, columns, values, vectors, first, last, out),
        even_bounds(np.diff(start), parts),
        n_threads,
    )
    return out


def _level_columns(start: int, n_levels: int, n_effects: int) -> np.ndarray:
    """Columns of a factor's effects, (levels, q)."""
    return start + np.arange(n_levels * n_effects).reshape(n_levels, n_effects)
