"""Weighted sums over the rows of a design: all that a Gaussian fit needs of them.

The sums of two sets of rows add up, so that data can come in parts: chunk after
chunk, or partition beside partition.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from skmixed._kernels.cells import (
    add_intercept_sums,
    add_level_blocks,
    combine_cells,
    count_codes,
    fill_cells,
    fill_counts,
)
from skmixed._kernels.pair_order import KEY_BITS, NUMBER_BITS, place_by_bucket, sort_buckets
from skmixed.threads import enough_parts, even_bounds, run_parts

_MOMENT = 2_000_000
"""Rows from which threads share a sort."""

_BUCKET = 65_536
"""Rows of a bucket of a sort, about: they fit into the cache."""

_CHUNK = 131_072
"""Rows that a piece of a pass looks at."""

_DENSE_CHUNK = 16_384
"""Rows whose dense columns are held at a time: few enough for the cache."""

_MOST_GROUPS = 8
"""Groups of rows that are summed on their own, so that threads can share them."""

LevelMaps = tuple[np.ndarray, ...]
"""For every factor the new code of each level."""


@dataclass(frozen=True)
class FactorShape:
    """Size of one grouping factor.

    Attributes
    ----------
    n_levels, n_effects : int
        Levels, and effects per level.
    blocks : tuple of (start, stop)
        Effects that share one covariance matrix.
    """

    n_levels: int
    n_effects: int
    blocks: tuple[tuple[int, int], ...]

    @property
    def size(self) -> int:
        """Number of effects over all levels."""
        return self.n_levels * self.n_effects


@dataclass(frozen=True)
class PairCells:
    """Cross-products of two factors, compressed by level of the first.

    Attributes
    ----------
    first, second : int
        Positions of the factors.
    start : ndarray (L1 + 1,)
    levels : ndarray (n_cells,)
        Levels of the second factor, ascending within a level of the first.
    values : ndarray (n_cells, Q1, Q2)
    """

    first: int
    second: int
    start: np.ndarray
    levels: np.ndarray
    values: np.ndarray

    @property
    def first_levels(self) -> np.ndarray:
        """Level of the first factor of every cell."""
        counts = np.diff(self.start)
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    def transposed(self, n_second: int) -> PairCells:
        """These cells compressed by level of the second factor."""
        swapped = np.ascontiguousarray(self.values.transpose(0, 2, 1))
        return _combined(
            self.second, self.first, self.levels, n_second,
            self.first_levels, len(self.start) - 1, swapped,
        )  # fmt: skip


@dataclass(frozen=True)
class CellSums:
    """Sums over rows of weight * column * column, by cells of levels.

    The *dense* columns are the fixed effects and, last, the response.

    Attributes
    ----------
    factors : tuple of FactorShape
        In design order, as all that follows.
    dense : ndarray (P, P)
        The dense columns with each other.
    own : tuple of ndarray (L, Q, Q)
        Every factor with itself, block diagonal by level.
    with_dense : tuple of ndarray (L, Q, P)
        Every factor with the dense columns.
    pairs : tuple of PairCells
        Every two factors, the larger one first.
    ranks : tuple of ndarray or None
        Where each level of the data stands here, by factor; None: in its place.
    """

    factors: tuple[FactorShape, ...]
    dense: np.ndarray
    own: tuple[np.ndarray, ...]
    with_dense: tuple[np.ndarray, ...]
    pairs: tuple[PairCells, ...]
    ranks: LevelMaps | None = None

    def ranked(self) -> CellSums:
        """These sums with the largest levels first, as `accumulate` can make them."""
        ranks = tuple(map(_rank_levels, self.own, self.with_dense))
        n_levels = tuple(factor.n_levels for factor in self.factors)
        return replace(self.relabelled(n_levels, ranks), ranks=ranks)

    def relabelled(self, n_levels: tuple[int, ...], maps: LevelMaps) -> CellSums:
        """These sums with level k of factor f at ``maps[f][k]`` of ``n_levels[f]``."""
        return _sum_parts([(self, maps)], n_levels)

    def merge(
        self,
        other: CellSums,
        n_levels: tuple[int, ...],
        maps: LevelMaps,
        other_maps: LevelMaps,
    ) -> CellSums:
        """The sums over the rows of both.

        Parameters
        ----------
        other : CellSums
            Of the same columns; levels may differ.
        n_levels : tuple of int
            Levels of every factor in the result.
        maps, other_maps : tuple of ndarray
            Codes in the result of the levels of `self` and of `other`.
        """
        return _sum_parts([(self, maps), (other, other_maps)], n_levels)

    @staticmethod
    def combined(parts: Sequence[CellSums], weights: np.ndarray) -> CellSums:
        """The sums of parts (s,) over the same cells, each times its weight."""

        def total(arrays: Sequence[np.ndarray]) -> np.ndarray:
            out = weights[0] * arrays[0]
            for weight, array in zip(weights[1:], arrays[1:], strict=True):
                out += weight * array
            return out

        like = parts[0]
        pairs = tuple(
            replace(pair, values=total([part.pairs[k].values for part in parts]))
            for k, pair in enumerate(like.pairs)
        )
        factors = range(len(like.factors))
        return replace(
            like,
            dense=total([part.dense for part in parts]),
            own=tuple(total([part.own[f] for part in parts]) for f in factors),
            with_dense=tuple(total([part.with_dense[f] for part in parts]) for f in factors),
            pairs=pairs,
        )

    def with_response(self, dense: np.ndarray, levels: Sequence[np.ndarray]) -> CellSums:
        """These sums with another response, the last of the dense columns.

        Parameters
        ----------
        dense : ndarray (P,)
            Its sums with the dense columns, itself the last.
        levels : sequence of ndarray (L, Q)
            By factor, its sums with the effects of every level of the data.
        """
        total = self.dense.copy()
        total[-1] = total[:, -1] = dense
        with_dense = []
        for f, column in enumerate(levels):
            products = self.with_dense[f].copy()
            products[slice(None) if self.ranks is None else self.ranks[f], :, -1] = column
            with_dense.append(products)
        return replace(self, dense=total, with_dense=tuple(with_dense))

    def transformed(self, dense: np.ndarray, bases: tuple[np.ndarray, ...]) -> CellSums:
        """The sums of new columns: dense @ `dense`, basis of factor f @ ``bases[f]``."""
        own = tuple(
            b.T @ sums @ b for sums, b in zip(self.own, bases, strict=True)
        )  # fmt: skip
        with_dense = tuple(
            b.T @ sums @ dense for sums, b in zip(self.with_dense, bases, strict=True)
        )
        pairs = tuple(
            pair if _is_identity(bases[pair.first]) and _is_identity(bases[pair.second])
            else PairCells(
                pair.first, pair.second, pair.start, pair.levels,
                bases[pair.first].T @ pair.values @ bases[pair.second],
            )
            for pair in self.pairs
        )  # fmt: skip
        return CellSums(self.factors, dense.T @ self.dense @ dense, own, with_dense, pairs)


def _sum_parts(parts: list[tuple[CellSums, LevelMaps]], n_levels: tuple[int, ...]) -> CellSums:
    """The sums over the rows of all parts, given the codes of their levels in the result."""
    like = parts[0][0]
    factors = tuple(
        FactorShape(levels, factor.n_effects, factor.blocks)
        for levels, factor in zip(n_levels, like.factors, strict=True)
    )
    own, with_dense = [], []
    for f, factor in enumerate(factors):
        q = factor.n_effects
        sums = np.zeros((factor.n_levels, q, q))
        dense = np.zeros((factor.n_levels, q, len(like.dense)))
        for part, codes in parts:
            # the codes of one part are distinct
            sums[codes[f]] += part.own[f]
            dense[codes[f]] += part.with_dense[f]
        own.append(sums)
        with_dense.append(dense)
    pairs = []
    for k, pair in enumerate(like.pairs):
        a, b = pair.first, pair.second
        oriented = [
            (cells if cells.first == a else cells.transposed(part.factors[a].n_levels), codes)
            for part, codes in parts
            for cells in (part.pairs[k],)
        ]
        pairs.append(
            _combined(
                a, b,
                np.concatenate([codes[a][cells.first_levels] for cells, codes in oriented]),
                factors[a].n_levels,
                np.concatenate([codes[b][cells.levels] for cells, codes in oriented]),
                factors[b].n_levels,
                np.concatenate([cells.values for cells, _ in oriented]),
            )
        )  # fmt: skip
    total = sum((part.dense for part, _ in parts), np.zeros_like(like.dense))
    return CellSums(factors, total, tuple(own), tuple(with_dense), tuple(pairs))


def accumulate(
    codes: tuple[np.ndarray, ...],
    factors: tuple[FactorShape, ...],
    bases: tuple[np.ndarray | None, ...],
    dense: Callable[[slice], np.ndarray],
    weights: np.ndarray,
    n_threads: int = 1,
    ranked: bool | LevelMaps = False,
) -> CellSums:
    """Sum the rows of a design.

    Parameters
    ----------
    codes : tuple of ndarray (n,), int32
        Level of every row, one array per factor.
    factors : tuple of FactorShape
    bases : tuple of ndarray (n, q) or None
        What multiplies the effects of a factor; None is an intercept alone.
    dense : callable
        Maps a slice of rows to its dense columns (P, m), C-contiguous. They are
        made as they are needed: all of them at once could be the largest array
        of the fit. One below the other they are multiplied fastest.
    weights : ndarray (n,)
    n_threads : int, default=1
    ranked : bool or tuple of ndarray, default=False
        Whether levels are numbered by their size, the largest first, or these numbers, where
        other sums over the same rows have them. Passes over the cells then find most of what
        they look up in the cache.
    """
    n = len(weights)
    slopes, effects = stack_slopes(bases, n)
    uniform = float(weights[0]) if n and weights.min() == weights.max() else 0.0
    rows = _Rows(codes, effects, slopes, weights, uniform)
    total, own, with_dense = _sum_levels(factors, rows, dense, n_threads)
    if not isinstance(ranked, bool):
        ranks = ranked
    elif ranked:
        ranks = tuple(map(_rank_levels, own, with_dense))
    else:
        ranks = tuple(np.arange(factor.n_levels, dtype=np.int32) for factor in factors)
    pairs = []
    for a in range(len(factors)):
        for b in range(a):
            larger = (a, b) if factors[a].size > factors[b].size else (b, a)
            pairs.append(_accumulate_pair(*larger, rows, ranks, n_threads))
    if not ranked:
        return CellSums(factors, total, own, with_dense, tuple(pairs))
    orders = [_inverse(rank) for rank in ranks]
    return CellSums(
        factors,
        total,
        tuple(sums[order] for sums, order in zip(own, orders, strict=True)),
        tuple(sums[order] for sums, order in zip(with_dense, orders, strict=True)),
        tuple(pairs),
        ranks,
    )


def _sum_levels(factors, given, dense, n_threads):
    """Sums of the dense columns (P, P), and of every factor's levels."""
    codes, effects, slopes, weights, uniform = given
    n, n_dense = len(weights), len(dense(slice(0, 1)))
    n_factors = len(factors)
    alone = [len(e) == 1 and e[0] < 0 for e in effects]

    def zeros() -> list[np.ndarray]:
        # of a factor: effects with one another, and beside them with the dense columns
        widths = [(f.n_levels, f.n_effects, f.n_effects + n_dense) for f in factors]
        return [np.zeros(shape) for shape in [(n_dense, n_dense), *widths]]

    def halves(both: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        q = both.shape[1]
        return both[:, :, :q], both[:, :, q:]

    size = n_dense**2 + sum(f.size * (f.n_effects + n_dense) for f in factors)
    # where sums are large, rows are summed one after the other, but factors at once
    at_once = size > n // _MOST_GROUPS and n > _CHUNK

    def add(rows: slice, sums: list[np.ndarray]) -> None:
        columns = dense(rows)
        if uniform > 0.0:
            sums[0] += uniform * (columns @ columns.T)
        else:
            sums[0] += columns @ (columns * weights[rows]).T

        def blocks(first: int, last: int) -> None:
            for f in range(first, last):
                if alone[f]:
                    add_intercept_sums(codes[f][rows], weights[rows], columns, sums[1 + f][:, 0])
                    continue
                add_level_blocks(
                    codes[f][rows], weights[rows], slopes[rows], effects[f],
                    columns, *halves(sums[1 + f]),
                )  # fmt: skip

        run_parts(blocks, range(n_factors + 1), n_threads if at_once else 1)

    groups, chunk = (1, _CHUNK) if at_once else (_MOST_GROUPS, _DENSE_CHUNK)
    total, *levels = sum_chunks(add, zeros, n, n_threads, groups, chunk)
    parts = [[part.copy() for part in halves(both)] for both in levels]
    return total, tuple(own for own, _ in parts), tuple(with_dense for _, with_dense in parts)


def sum_chunks(
    add: Callable[[slice, list[np.ndarray]], None],
    zeros: Callable[[], list[np.ndarray]],
    n_rows: int,
    n_threads: int,
    most_groups: int = _MOST_GROUPS,
    chunk: int = _DENSE_CHUNK,
) -> list[np.ndarray]:
    """Arrays to which `add` has added all rows, chunk after chunk, in threads.

    Parameters
    ----------
    add : callable
        Adds the rows of a slice to some arrays.
    zeros : callable
        Makes these arrays, for each of some groups of chunks. Which chunks are summed
        together does not depend on the number of threads.
    n_rows, n_threads : int
    most_groups : int
    chunk : int
        Rows that are added at a time.
    """
    chunks = list(row_chunks(n_rows, chunk))
    n_groups = min(most_groups, max(len(chunks), 1))
    bounds = np.arange(n_groups + 1) * len(chunks) // n_groups
    groups = [zeros() for _ in bounds[1:]]

    def add_group(first: int, last: int) -> None:
        for g in range(first, last):
            for rows in chunks[bounds[g] : bounds[g + 1]]:
                add(rows, groups[g])

    run_parts(add_group, range(len(groups) + 1), n_threads)
    sums, *others = groups
    for group in others:
        for array, more in zip(sums, group, strict=True):
            array += more
    return sums


def _rank_levels(own: np.ndarray, with_dense: np.ndarray) -> np.ndarray:
    """Place of every level by its sum of weights, the largest first, (L,).

    Equal levels go by their sums of the dense columns, the response first, so that
    the order depends on what levels are called only where they are alike. What
    rounding tells apart is equal.
    """
    keys = np.round(with_dense[:, 0], 9)
    size = np.round(np.trace(own, axis1=1, axis2=2), 6)
    order = np.arange(len(size))
    for key in (*keys.T, -size):
        # as np.lexsort, which keeps an interrupt waiting where there are millions of levels
        order = order[np.argsort(key[order], kind="stable")]
    return _inverse(order)


def _inverse(order: np.ndarray) -> np.ndarray:
    """The place of everything in an order."""
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank


def row_chunks(n_rows: int, size: int | None = None) -> Iterator[slice]:
    """Consecutive slices of rows, small enough for temporary arrays."""
    size = size or _CHUNK
    for begin in range(0, n_rows, size):
        yield slice(begin, min(begin + size, n_rows))


class _Rows(NamedTuple):
    """Columns and codes of rows that are summed.

    Attributes
    ----------
    codes, effects : sequence of ndarray
    slopes, weights : ndarray
    uniform : float
        The weight of all rows, or 0 where weights differ.
    """

    codes: Sequence[np.ndarray]
    effects: Sequence[np.ndarray]
    slopes: np.ndarray
    weights: np.ndarray
    uniform: float


def _accumulate_pair(
    first: int, second: int, given: _Rows, ranks: Sequence[np.ndarray], n_threads: int
) -> PairCells:
    effects = given.effects[first], given.effects[second]
    only_counts = given.uniform > 0.0 and all(len(e) == 1 and e[0] < 0 for e in effects)
    start, rows, cell_start = order_by_pairs(
        given.codes[first], ranks[first],
        given.codes[second], ranks[second], n_threads, numbered=not only_counts,
    )  # fmt: skip
    levels = np.empty(cell_start[-1], np.int32)
    values = np.empty((cell_start[-1], len(effects[0]), len(effects[1])))

    def fill(begin: int, end: int) -> None:
        part, out = (begin, end), (levels, values)
        if only_counts:
            fill_counts((start, rows), cell_start, given.uniform, part, out)
        else:
            fill_cells((start, rows), cell_start, given.weights, given.slopes, effects, part, out)

    run_parts(fill, even_bounds(np.diff(start), enough_parts(len(rows), n_threads)), n_threads)
    return PairCells(first, second, cell_start, levels, values)


def _combined(first, second, first_levels, n_first, second_levels, n_second, values):
    """Cells in any order, of which several may be of one pair of levels, as `PairCells`."""
    start, rows, cell_start = order_by_pairs(
        first_levels, np.arange(n_first, dtype=np.int32),
        second_levels, np.arange(n_second, dtype=np.int32),
    )  # fmt: skip
    levels = np.empty(cell_start[-1], np.int32)
    combined = np.empty((cell_start[-1], *values.shape[1:]))

    def combine(begin: int, end: int) -> None:
        combine_cells(start, rows, cell_start, values, begin, end, levels, combined)

    run_parts(combine, even_bounds(np.diff(start), enough_parts(len(rows))), 1)
    return PairCells(first, second, cell_start, levels, combined)


def order_by_pairs(
    first_codes, first_ranks, second_codes, second_ranks, n_threads=1, numbered=True
):
    """Rows by pairs of ranked levels: `start`, `rows` and the first cell of every level.

    `rows` are the rows' numbers beside their levels of the second factor (n, 2), or, where they
    are not to be numbered, these levels alone (n,).
    """
    n, n_levels = len(first_codes), len(first_ranks)
    n_parts = min(n_threads, _MOST_GROUPS) if n > _MOMENT else 1
    parts = np.linspace(0, n, n_parts + 1).astype(int)
    counts = np.zeros((n_parts, n_levels), np.int32)

    # a piece at a time, between which an interrupt is noticed
    def pieces(part: int) -> Iterator[slice]:
        for piece in row_chunks(parts[part + 1] - parts[part]):
            yield slice(parts[part] + piece.start, parts[part] + piece.stop)

    def count(part: int, _: int) -> None:
        for piece in pieces(part):
            count_codes(first_codes[piece], counts[part])

    run_parts(count, range(n_parts + 1))
    counts = counts[:, _inverse(first_ranks)]
    start = np.concatenate([[0], np.cumsum(counts.sum(axis=0), dtype=np.int64)])
    bits = max(len(second_ranks) - 1, 1).bit_length(), NUMBER_BITS if numbered else 0
    # a level of a bucket fits into what its level of the second factor leaves of a key
    widest = np.arange(0, n_levels + 1, 1 << (KEY_BITS - bits[0]))
    bounds = np.unique(np.append(even_bounds(np.diff(start), n // _BUCKET + 1), widest))
    bucket = np.repeat(np.arange(len(bounds) - 1, dtype=np.int32), np.diff(bounds))
    within = np.arange(n_levels, dtype=np.int32) - bounds[bucket].astype(np.int32)
    first = np.column_stack([within << bits[0], bucket])[first_ranks]
    words = np.empty(n, np.int64 if numbered else np.int32)
    # rows of a bucket, part after part
    sizes = np.add.reduceat(counts, bounds[:-1], axis=1, dtype=np.int64)
    free = start[bounds[:-1]] + np.cumsum(sizes, axis=0) - sizes

    def place(part: int, _: int) -> None:
        for piece in pieces(part):
            codes = first_codes[piece], second_codes[piece]
            place_by_bucket(
                codes, first, second_ranks, bits[1], piece.start, free[part], words
            )  # fmt: skip

    cell_start = np.zeros(n_levels + 1, np.int64)

    def sort(begin: int, end: int) -> None:
        sort_buckets(start, bounds, bits, (begin, end), words, cell_start[1:])

    run_parts(place, range(n_parts + 1))
    size = np.diff(start[bounds])
    run_parts(sort, even_bounds(size, enough_parts(n, n_threads)), n_threads)
    np.cumsum(cell_start, out=cell_start)
    return start, _halves(words) if numbered else words, cell_start


def _halves(words):
    """The lower halves of words of 64 bits beside the upper ones, (n, 2)."""
    halves = words.view(np.int32).reshape(-1, 2)
    return halves if sys.byteorder == "little" else np.ascontiguousarray(halves[:, ::-1])


def _is_identity(matrix: np.ndarray) -> bool:
    return bool((matrix == np.eye(len(matrix))).all())


def stack_slopes(bases, n_rows):
    """One matrix of all basis columns that are not constant one, and maps into it."""
    columns: list[np.ndarray] = []
    effect_maps = []
    for basis in bases:
        if basis is None:
            effect_maps.append(np.array([-1], np.int64))
            continue
        effect_map = np.empty(basis.shape[1], np.int64)
        for q in range(basis.shape[1]):
            effect_map[q] = len(columns)
            columns.append(basis[:, q])
        effect_maps.append(effect_map)
    slopes = np.column_stack(columns) if columns else np.empty((n_rows, 0))
    return np.ascontiguousarray(slopes), effect_maps
