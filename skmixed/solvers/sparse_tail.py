"""The tail of a large system: large factors kept by cells, the rest dense.

The tail is split. Its *large* factors (N effects) stay sparse. Its *dense part*
has P + 1 columns: the effects of small factors, the fixed effects, and last the
response. Nothing here depends on the variance parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from skmixed._kernels.arguments import FactorCells, LevelCells, TailColumns
from skmixed._kernels.cell_passes import (
    LANES,
    add_pair_product,
    gather_cells,
    gather_dense,
    multiply_levels,
    reduce_intercepts,
    reduce_tail,
    scatter_cells,
    subtract_product,
)
from skmixed.sums.cell_sums import PairCells
from skmixed.sums.cross_products import CrossProducts, FactorLayout
from skmixed.threads import enough_parts, even_bounds, run_parts

_SMALL_EFFECTS = 200
"""Effects of small factors that the dense part may hold."""

_DENSE_NUMBERS = 40_000_000
"""Numbers the dense part may have with the effects of any one factor: 320 MB."""

_PARTS = 4
"""Parts a pass over the cells is cut into, whatever the number of threads: sums over
parts are taken in their order, so that results do not depend on it."""

_WORTH_PARTS = 50_000
"""Cells from which on parts pay."""


class SparseTail:
    """Cross-products of a tail and the passes over its cells.

    Parameters
    ----------
    cross : CrossProducts
    n_threads : int

    Attributes
    ----------
    large, small : tuple of FactorLayout
        Tail factors by how they are kept; small ones come after the large ones.
    n_large : int
        N, effects of large factors; the first columns of the tail.
    n_small : int
        Effects of small factors, the first columns of the dense part.
    with_dense : ndarray (N, P + 1)
        Large factors with the dense part.
    dense : ndarray (P + 1, P + 1)
        The dense part with itself.
    eliminated_dense : ndarray (L, Q, P + 1)
        The eliminated factor with the dense part.
    start, columns, values : ndarray (L + 1,), (n_cells,), (n_cells, Q)
        Cells of the eliminated factor with the large ones; see `CrossProducts.join_cells`.
    own : list of ndarray (levels, q, q)
        The large factors with themselves.
    pairs : list of PairCells
        Every two large factors.
    tail_columns : TailColumns
        Number of every column of the large factors within its level.
    """

    def __init__(self, cross: CrossProducts, n_threads: int = 1) -> None:
        self.cross = cross
        self.n_threads = n_threads
        n_large = _number_of_large(cross)
        self.large = cross.tail_factors[:n_large]
        self.small = cross.tail_factors[n_large:]
        self.n_large = sum(factor.size for factor in self.large)
        self.n_small = sum(factor.size for factor in self.small)
        self.start, self.columns, self.values = cross.join_cells(n_large)
        self.own = [cross.sums.own[factor.position] for factor in self.large]
        self._starts = {factor.position: factor.start for factor in cross.tail_factors}
        large = {factor.position for factor in self.large}
        self.pairs = [p for p in cross.tail_pairs if p.first in large and p.second in large]
        self._fill_dense()
        n_parts = _PARTS if len(self.columns) > _WORTH_PARTS else 1
        self._bounds = even_bounds(np.diff(self.start) + 1, n_parts)
        self.tail_columns = self._siblings()

    def _fill_dense(self) -> None:
        cross, n_small = self.cross, self.n_small
        n_dense = n_small + cross.n_fixed + 1
        self.dense = np.zeros((n_dense, n_dense))
        self.dense[n_small:, n_small:] = cross.sums.dense
        self.with_dense = np.zeros((self.n_large, n_dense))
        for factor in cross.tail_factors:
            rows = cross.dense_products(factor).T
            if factor in self.large:
                self.with_dense[factor.columns, n_small:] = rows
                continue
            here = self.dense_columns(factor)
            self.dense[here, n_small:] = rows
            self.dense[n_small:, here] = rows.T
            own = cross.sums.own[factor.position]
            for l in range(factor.n_levels):
                at = slice(here.start + l * len(own[l]), here.start + (l + 1) * len(own[l]))
                self.dense[at, at] = own[l]
        small = {factor.position: factor for factor in self.small}
        for pair in cross.tail_pairs:
            if pair.second not in small:
                continue
            block = _dense_block(pair, small[pair.second])
            columns = self.dense_columns(small[pair.second])
            if pair.first in small:
                at = self.dense_columns(small[pair.first])
                self.dense[at, columns] = block
                self.dense[columns, at] = block.T
            else:
                first = self._starts[pair.first]
                self.with_dense[first : first + len(block), columns] = block
        self.eliminated_dense = np.zeros((*cross.own.shape[:2], n_dense))
        self.eliminated_dense[:, :, n_small:] = cross.with_dense
        for pair in cross.eliminated_pairs:
            if pair.second in small:
                factor = small[pair.second]
                block = _dense_block(pair, factor).reshape(*cross.own.shape[:2], factor.size)
                self.eliminated_dense[:, :, self.dense_columns(factor)] = block

    def dense_columns(self, factor: FactorLayout) -> slice:
        """Columns of a small factor's effects in the dense part."""
        return slice(factor.start - self.n_large, factor.start - self.n_large + factor.size)

    def _siblings(self) -> TailColumns:
        effect = np.zeros(self.n_large, np.int64)
        n_siblings = np.ones(self.n_large, np.int64)
        for factor in self.large:
            effect[factor.columns] = np.tile(np.arange(factor.n_effects), factor.n_levels)
            n_siblings[factor.columns] = factor.n_effects
        return TailColumns(effect, n_siblings)

    def pair_columns(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Rows and columns (n_cells, q1, q2) of the cells of every two large factors."""
        out = []
        for pair in self.pairs:
            q1, q2 = pair.values.shape[1:]
            rows = self._starts[pair.first] + q1 * pair.first_levels.astype(np.int64)
            columns = self._starts[pair.second] + q2 * pair.levels.astype(np.int64)
            shape = pair.values.shape
            first = np.broadcast_to((rows[:, None] + np.arange(q1))[:, :, None], shape)
            second = np.broadcast_to((columns[:, None] + np.arange(q2))[:, None, :], shape)
            out.append((first, second))
        return out

    # Passes ---------------------------------------------------------------------

    def multiply(self, vectors: np.ndarray, middle: np.ndarray) -> np.ndarray:
        """Reduced cross-products of the large factors times vectors (N, m).

        `middle` (L, Q, Q) is Omega (I + D Omega)^-1 of the eliminated levels.
        """
        n_columns = vectors.shape[1]
        vectors = _in_lanes(vectors)
        out = self.multiply_unreduced(vectors)

        def subtract(first: int, last: int, target: np.ndarray) -> None:
            subtract_product(
                self.start, self.columns, self.values, middle, vectors, first, last, target
            )

        self._run(subtract, out)
        return out[:, :n_columns]

    def multiply_unreduced(self, vectors: np.ndarray) -> np.ndarray:
        """Cross-products of the large factors times vectors (N, m), nothing eliminated."""
        out = np.empty(vectors.shape)
        vectors = np.ascontiguousarray(vectors)
        for factor, own in zip(self.large, self.own, strict=True):
            multiply_levels(own, vectors[factor.columns], out[factor.columns])
        for pair in self.pairs:
            n_parts = _PARTS if len(pair.levels) > _WORTH_PARTS else 1

            def add(first: int, last: int, target: np.ndarray, pair: PairCells = pair) -> None:
                cells = FactorCells(pair.start, pair.levels, pair.values)
                starts = self._starts[pair.first], self._starts[pair.second]
                add_pair_product(cells, vectors, *starts, first, last, target)

            self._run(add, out, even_bounds(np.diff(pair.start) + 1, n_parts))
        return out

    def reduce(self, middle: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Dense part and level blocks after elimination.

        Returns
        -------
        with_dense : ndarray (N, P + 1)
        dense : ndarray (P + 1, P + 1)
        blocks : list of ndarray (levels, q, q)
            Of the large factors.
        """
        n_dense = len(self.dense)
        widest = int(self.tail_columns.n_siblings.max(initial=1))
        intercepts = widest == self.values.shape[1] == 1
        width = n_dense + widest
        both = np.zeros((self.n_large, width + (-width % LANES if intercepts else 0)))
        both[:, :n_dense] = self.with_dense
        cells = LevelCells(self.start, self.columns, self.values, self.eliminated_dense)

        def subtract(first: int, last: int, target: np.ndarray) -> None:
            if intercepts:
                reduce_intercepts(cells, middle, n_dense, first, last, target)
                return
            parts = target[:, :n_dense], target[:, n_dense:]
            reduce_tail(cells, middle, self.tail_columns, first, last, *parts)

        self._run(subtract, both)
        blocks = []
        for factor, own in zip(self.large, self.own, strict=True):
            part = both[factor.columns, n_dense : n_dense + factor.n_effects]
            blocks.append(own + part.reshape(own.shape))
        mixed = np.matmul(middle, self.eliminated_dense).reshape(-1, n_dense)
        dense = self.dense - self.eliminated_dense.reshape(-1, n_dense).T @ mixed
        return np.ascontiguousarray(both[:, :n_dense]), dense, blocks

    def gather(self, vectors: np.ndarray, dense: np.ndarray) -> np.ndarray:
        """C_l times the tail vectors of every eliminated level, (L, Q, m).

        The tail vectors are `vectors` (N, m) over the large factors and `dense`
        (k, m) over the first k columns of the dense part.
        """
        n_levels, n_effects = self.cross.own.shape[:2]
        n_columns, in_order = dense.shape[1], _in_lanes if n_effects == 1 else np.ascontiguousarray
        vectors, dense = in_order(vectors), in_order(dense)
        m = dense.shape[1]
        out = np.empty((n_levels, n_effects, m))

        def fill(first: int, last: int) -> None:
            gather_dense(self.eliminated_dense, dense, first, last, out)
            gather_cells(self.start, self.columns, self.values, vectors, first, last, out)

        n_parts = enough_parts(len(self.columns) * m, self.n_threads)
        run_parts(fill, even_bounds(np.diff(self.start) + 1, n_parts), self.n_threads)
        return out if m == n_columns else np.ascontiguousarray(out[:, :, :n_columns])

    def scatter(self, amounts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """sum_l C_l' amounts[l] (Q, m): over the large factors and over the dense part."""
        out = np.zeros((self.n_large, amounts.shape[2]))
        amounts = np.ascontiguousarray(amounts)

        def add(first: int, last: int, target: np.ndarray) -> None:
            scatter_cells(self.start, self.columns, self.values, amounts, first, last, target)

        self._run(add, out)
        n_dense = len(self.dense)
        flat = self.eliminated_dense.reshape(-1, n_dense)
        return out, flat.T @ amounts.reshape(len(flat), amounts.shape[2])

    def _run(
        self,
        add: Callable[[int, int, np.ndarray], None],
        out: np.ndarray,
        bounds: list[int] | None = None,
    ) -> None:
        """Let parts add to `out`, each to an array of its own, and sum these in order."""
        bounds = sorted(set(self._bounds if bounds is None else bounds))
        if len(bounds) <= 2:
            add(bounds[0], bounds[-1], out)
            return
        targets = dict.fromkeys(bounds[:-1], out)

        def fill(first: int, last: int) -> None:
            if first > bounds[0]:
                targets[first] = np.zeros_like(out)
            add(first, last, targets[first])

        run_parts(fill, bounds, self.n_threads)
        for first in bounds[1:-1]:
            out += targets[first]

    @cached_property
    def main_levels(self) -> list[np.ndarray]:
        """For every small factor, which of its levels each large level meets most, by weight.

        Arrays (sum of levels of the large factors,), in the order of `small`.
        """
        out = []
        for factor in self.small:
            met = [np.zeros(0, int)]
            for large in self.large:
                block = self.with_dense[large.columns, self.dense_columns(factor)]
                shape = (large.n_levels, large.n_effects, factor.n_levels, factor.n_effects)
                met.append(np.abs(block.reshape(shape)[:, 0, :, 0]).argmax(axis=1))
            out.append(np.concatenate(met))
        return out


def _in_lanes(vectors: np.ndarray) -> np.ndarray:
    """Vectors (N, m) with columns of zeros beside them, so that lanes are full.

    Single columns are worked on one by one.
    """
    n_more = -vectors.shape[1] % LANES if vectors.shape[1] > 1 else 0
    return np.concatenate([vectors, np.zeros((len(vectors), n_more))], axis=1)


def _number_of_large(cross: CrossProducts) -> int:
    """Number of tail factors, from the largest, that stay out of the dense part."""
    n_large = len(cross.tail_factors)
    n_dense = cross.n_fixed + 1
    widest = cross.eliminated.size if cross.eliminated is not None else 0
    for factor in reversed(cross.tail_factors):
        n_dense += factor.size
        if n_dense - cross.n_fixed - 1 > _SMALL_EFFECTS or n_dense * widest > _DENSE_NUMBERS:
            break
        n_large -= 1
    return n_large


def _dense_block(pair: PairCells, second: FactorLayout) -> np.ndarray:
    """A pair's cells as a dense matrix (L1 * Q1, L2 * Q2)."""
    q1, q2 = pair.values.shape[1:]
    block = np.zeros((len(pair.start) - 1, q1, second.n_levels, q2))
    block[pair.first_levels, :, pair.levels, :] = pair.values
    return block.reshape(-1, second.size)
