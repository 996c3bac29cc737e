"""Rows of a working Gaussian model: weights and responses change, the design stays.

A response that is not normal enters the mixed-model equations through a weight and
a working response for every row. What depends on neither, the order of rows and the
cells of every pair of levels, is found once; after that a set of weights costs a
pass over the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from skmixed._kernels.arguments import RowPlaces
from skmixed._kernels.cell_passes import LANES
from skmixed._kernels.row_effects import (
    add_coupled,
    add_effects,
    add_intercept_effects,
    add_level_variances,
)
from skmixed._kernels.row_loadings import add_squared_loadings
from skmixed._kernels.working import (
    add_dense_products,
    add_fixed_effects,
    add_working_blocks,
    add_working_cells,
    find_cells,
    hash_rows,
    match_rows,
)
from skmixed.sums.cell_sums import (
    CellSums,
    FactorShape,
    PairCells,
    accumulate,
    order_by_pairs,
    stack_slopes,
)
from skmixed.sums.cross_products import CrossProducts, symmetric
from skmixed.threads import run_parts

_CHUNK = 16_384
"""Rows whose predictor is worked on at a time: few enough for the cache."""


Columns = tuple[np.ndarray, Sequence[np.ndarray | None]]
"""Columns of all coefficients: fixed effects (p, J), and by factor effects (L, Q, J) or zeros."""


@dataclass(frozen=True)
class Loadings:
    """A covariance of all effects: B B' plus a block for every level.

    Attributes
    ----------
    fixed : ndarray (p, J)
        Rows of B of the fixed effects.
    levels : tuple of ndarray (L, Q, J) or None
        Rows of B of every factor in design order; None is zero.
    own : tuple of ndarray (L, Q, Q)
        The blocks.
    """

    fixed: np.ndarray
    levels: tuple[np.ndarray | None, ...]
    own: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class WorkingRows:
    """Rows in the order of the levels of the factor that is eliminated.

    Attributes
    ----------
    factors : tuple of FactorShape
        In design order, as all that follows.
    codes : tuple of ndarray (n,)
        Ranked level of every row.
    bases : tuple of ndarray (n, Q) or None
        What multiplies the effects; None is an intercept alone.
    fixed : ndarray (n, p)
    order : ndarray (n,)
        Where each row stands in the arrays that the rows were made from.
    template : CellSums
        Levels and cells, with the sums for the weights that ranked the levels.
    n_threads : int
    related : frozenset of int
        Positions of factors whose levels are related, which are not eliminated.
    """

    factors: tuple[FactorShape, ...]
    codes: tuple[np.ndarray, ...]
    bases: tuple[np.ndarray | None, ...]
    fixed: np.ndarray
    order: np.ndarray
    template: CellSums
    n_threads: int
    related: frozenset[int] = frozenset()

    @classmethod
    def of(
        cls,
        codes: tuple[np.ndarray, ...],
        factors: tuple[FactorShape, ...],
        bases: tuple[np.ndarray | None, ...],
        fixed: np.ndarray,
        response: np.ndarray,
        weights: np.ndarray,
        n_threads: int,
        related: frozenset[int] = frozenset(),
    ) -> WorkingRows:
        """Rank levels by their weight, and rows by level.

        Parameters
        ----------
        codes : tuple of ndarray (n,), int32
        factors : tuple of FactorShape
        bases : tuple of ndarray (n, q) or None
        fixed : ndarray (n, p)
        response, weights : ndarray (n,)
            Levels of equal weight are ranked by their sums of the response.
        n_threads : int
        related : frozenset of int
            As the attribute.
        """
        template = accumulate(
            codes, factors, bases,
            lambda rows: np.vstack([fixed[rows].T, response[rows]]),
            weights, n_threads, ranked=True,
        )  # fmt: skip
        assert template.ranks is not None
        order = _order_of_rows(codes, template, len(weights), related)
        return cls(
            factors,
            tuple(
                np.ascontiguousarray(ranks[code[order]])
                for ranks, code in zip(template.ranks, codes, strict=True)
            ),
            tuple(None if basis is None else basis[order] for basis in bases),
            np.ascontiguousarray(fixed[order]),
            order,
            template,
            n_threads,
            related,
        )

    @property
    def n_rows(self) -> int:
        """Number of different rows."""
        return len(self.fixed)

    # Sums ---------------------------------------------------------------------------

    @cached_property
    def arrangement(self) -> CrossProducts:
        """Arrangement of factors and cells in all cross-products of these rows."""
        return CrossProducts.of(self.template, self.related)

    def cross_products(self, weights: np.ndarray, linear: np.ndarray) -> CrossProducts:
        """Cross-products at given weights and products (n,) of weights and responses."""
        return self.arrangement.refilled(self._sums(weights, linear))

    def dense_products(self, weights: np.ndarray, linear: np.ndarray) -> np.ndarray:
        """Cross-products (p + 1, p + 1) of the fixed effects and the response alone."""
        n_dense = self.fixed.shape[1] + 1
        dense = np.zeros((n_dense, n_dense))
        add_dense_products(weights, linear, self.fixed, dense)
        return symmetric(dense)

    def _sums(self, weights: np.ndarray, linear: np.ndarray) -> CellSums:
        dense: list[np.ndarray] = []
        own = [np.empty_like(sums) for sums in self.template.own]
        with_dense = [np.empty_like(sums) for sums in self.template.with_dense]
        pairs = [
            PairCells(p.first, p.second, p.start, p.levels, np.empty_like(p.values))
            for p in self.template.pairs
        ]
        slopes, effects = self._slopes

        def blocks(f: int) -> None:
            own[f][:], with_dense[f][:] = 0.0, 0.0
            add_working_blocks(
                self.codes[f], weights, linear, slopes, effects[f], self.fixed,
                own[f], with_dense[f],
            )  # fmt: skip

        def cells(k: int) -> None:
            pair = pairs[k]
            pair.values[:] = 0.0
            add_working_cells(
                self.cells[k], weights, slopes, effects[pair.first], effects[pair.second],
                pair.values,
            )  # fmt: skip

        tasks: list[Callable[[], None]] = [partial(cells, k) for k in range(len(pairs))]
        tasks += [partial(blocks, f) for f in range(len(self.factors))]
        tasks.append(lambda: dense.append(self.dense_products(weights, linear)))
        self._run_tasks(tasks)
        return CellSums(
            self.factors, dense[0], tuple(own), tuple(with_dense), tuple(pairs), self.template.ranks
        )

    def _run_tasks(self, tasks: list[Callable[[], None]]) -> None:
        """Run every task, on threads where there is much to do."""

        def run(first: int, last: int) -> None:
            for task in tasks[first:last]:
                task()

        run_parts(run, range(len(tasks) + 1), self.n_threads if self.n_rows > _CHUNK else 1)

    @cached_property
    def cells(self) -> list[np.ndarray]:
        """The cell of every row in every pair of factors, (n,) each."""
        out = []
        for pair in self.template.pairs:
            out.append(self._cells_of(pair))
        return out

    def _cells_of(self, pair: PairCells) -> np.ndarray:
        cells = np.empty(self.n_rows, np.int32)
        codes = self.codes[pair.first], self.codes[pair.second]
        find_cells(*codes, pair.start, pair.levels, cells)
        return cells

    @cached_property
    def _slopes(self) -> tuple[np.ndarray, list[np.ndarray]]:
        return stack_slopes(self.bases, self.n_rows)

    # The linear predictor -------------------------------------------------------------

    def predictor(self, fixed_effects: np.ndarray, effects: list[np.ndarray]) -> np.ndarray:
        """Fixed part plus effects (L, Q) of every factor's level, (n,)."""
        out = np.zeros(self.n_rows)

        def add(first: int, last: int) -> None:
            rows = slice(first, last)
            add_fixed_effects(self.fixed[rows], fixed_effects, out[rows])
            for codes, basis, means in zip(self.codes, self.bases, effects, strict=True):
                if basis is None:
                    add_intercept_effects(codes[rows], means, out[rows])
                else:
                    add_effects(codes[rows], basis[rows], means, out[rows])

        self._run_chunks(add)
        return out

    def loaded_variances(self, loadings: Loadings, *further: Columns) -> np.ndarray:
        """Variance of the linear predictor (n,) under a covariance in factors.

        `further` columns of B stand beside those of `loadings`.
        """
        out = np.zeros(self.n_rows)
        for f, own in enumerate(loadings.own):
            if own.any():
                out += self.level_variances(f, own)
        self._add_squares([(loadings.fixed, loadings.levels), *further], out, np.empty(0))
        return np.maximum(out, 0.0)

    def level_variances(self, f: int, own: np.ndarray) -> np.ndarray:
        """Variance (n,) of the effects of a factor whose levels have the covariances `own`."""
        out, codes, prior = np.zeros(self.n_rows), self.codes[f], np.zeros(own.shape[1:])

        def add(first: int, last: int) -> None:
            rows = slice(first, last)
            if self.bases[f] is None:
                add_intercept_effects(codes[rows], own[:, 0], out[rows])
            else:
                add_level_variances(codes[rows], self.basis(f, rows), own, prior, out[rows])

        self._run_chunks(add)
        return out

    def _add_squares(self, parts: Sequence[Columns], out: np.ndarray, fourths: np.ndarray) -> None:
        """Add sums (n,) of squared loadings, and fill those of fourth powers if asked for."""
        places, amounts = self._terms
        n_columns = sum(fixed.shape[1] for fixed, _ in parts)
        n_effects = self.fixed.shape[1] + sum(factor.size for factor in self.factors)
        columns = np.empty((n_effects, n_columns + -n_columns % LANES))
        columns[:, n_columns:] = 0.0
        left = 0
        for fixed, levels in parts:
            right, first = left + fixed.shape[1], len(fixed)
            columns[:first, left:right] = fixed
            for factor, part in zip(self.factors, levels, strict=True):
                here = columns[first : first + factor.size, left:right]
                here[:] = 0.0 if part is None else part.reshape(here.shape)
                first += factor.size
            left = right

        def add(begin: int, end: int) -> None:
            rows = slice(begin, end)
            add_squared_loadings(places[rows], amounts[rows], columns, out[rows], fourths[rows])

        self._run_chunks(add)

    @cached_property
    def _terms(self) -> tuple[np.ndarray, np.ndarray]:
        """Places of the coefficients of every row, and amounts, (n, K); see `row_loadings`."""
        p = self.fixed.shape[1]
        n_terms = p + sum(factor.n_effects for factor in self.factors)
        places, amounts = (
            np.empty((self.n_rows, n_terms), np.int32),
            np.ones((self.n_rows, n_terms)),
        )
        places[:, :p], amounts[:, :p] = np.arange(p), self.fixed
        first, term = p, p
        for f, (factor, codes) in enumerate(zip(self.factors, self.codes, strict=True)):
            for q in range(factor.n_effects):
                places[:, term] = first + factor.n_effects * codes + q
                if self.bases[f] is not None:
                    amounts[:, term] = self.basis(f)[:, q]
                term += 1
            first += factor.size
        return places, amounts

    def spreads(self, fixed: np.ndarray, levels: list[np.ndarray]) -> np.ndarray:
        """Variance (n,) between the squares of J draws of the linear predictor.

        Parameters
        ----------
        fixed : ndarray (p, J)
            Draws of the fixed effects.
        levels : list of ndarray (L, Q, J)
            Draws of the effects of every factor.
        """
        n = fixed.shape[1]
        squares, fourths = np.zeros(self.n_rows), np.empty(self.n_rows)
        self._add_squares([(fixed, levels)], squares, fourths)
        return np.asarray(np.maximum(fourths - squares**2 / n, 0.0) / (n - 1))

    def loaded(self, fixed: np.ndarray, levels: Sequence[np.ndarray]) -> np.ndarray:
        """Linear predictors (n, J) of J vectors of all coefficients.

        Parameters
        ----------
        fixed : ndarray (p, J)
        levels : sequence of ndarray (L, Q, J)
            Effects of every factor.
        """
        out = np.empty((self.n_rows, fixed.shape[1]))

        def fill(first: int, last: int) -> None:
            rows = slice(first, last)
            out[rows] = self._loaded(rows, fixed, levels)

        self._run_chunks(fill)
        return out

    def _loaded(
        self, rows: slice, fixed: np.ndarray, levels: Sequence[np.ndarray | None]
    ) -> np.ndarray:
        """Rows of the design times columns of all effects, (rows, J)."""
        out = self.fixed[rows] @ fixed
        for f, columns in enumerate(levels):
            if columns is not None:
                add_coupled(self.codes[f][rows], self.basis(f, rows), columns, out)
        return out

    def basis(self, f: int, rows: slice = slice(None)) -> np.ndarray:
        """Columns (n, Q) that multiply the effects of a factor; ones for an intercept."""
        basis = self.bases[f]
        if basis is not None:
            return basis[rows]
        size = len(self.codes[f][rows])
        return self._ones[:size] if size <= _CHUNK else np.ones((size, 1))

    @cached_property
    def _ones(self) -> np.ndarray:
        """What multiplies intercepts in a chunk of rows, which all chunks share."""
        return np.ones((_CHUNK, 1))

    def by_chunks(self, function: Callable[[slice], np.ndarray]) -> list[np.ndarray]:
        """Results of a function of consecutive rows, in their order; run on threads."""
        out: list[np.ndarray] = [np.empty(0)] * -(-self.n_rows // _CHUNK)

        def work(rows: slice) -> None:
            out[rows.start // _CHUNK] = function(rows)

        self.for_chunks(work)
        return out

    def for_chunks(self, function: Callable[[slice], None]) -> None:
        """Call a function for consecutive rows, on threads."""
        self._run_chunks(lambda first, last: function(slice(first, last)))

    def _run_chunks(self, work: Callable[[int, int], None]) -> None:
        bounds = [*range(0, self.n_rows, _CHUNK), self.n_rows]
        run_parts(work, bounds, self.n_threads)

    # Rows seen from the eliminated factor -------------------------------------------------

    @cached_property
    def by_level(self) -> RowPlaces:
        """Rows by level of the eliminated factor, with places of their tail effects."""
        cross = self.arrangement
        assert cross.eliminated is not None
        eliminated = cross.eliminated.position
        codes = self.codes[eliminated]
        counts = np.bincount(codes, minlength=cross.eliminated.n_levels)
        row_start = np.concatenate([[0], np.cumsum(counts)])
        places = np.empty((self.n_rows, len(cross.tail_factors)), np.int32)
        before = np.zeros(cross.eliminated.n_levels, np.int64)
        numbers = {(p.first, p.second): k for k, p in enumerate(self.template.pairs)}
        for k, (factor, pair) in enumerate(
            zip(cross.tail_factors, cross.eliminated_pairs, strict=True)
        ):
            number = numbers.get((pair.first, pair.second))
            # the eliminated factor comes second in pairs with larger ones whose levels are related
            cells = self._cells_of(pair) if number is None else self.cells[number]
            within = cells - pair.start[codes]
            places[:, k] = before[codes] + factor.n_effects * within
            before += factor.n_effects * np.diff(pair.start)
        slopes, effects = self._slopes
        widest = max([factor.n_effects for factor in cross.tail_factors], default=1)
        tail_effects = np.full((len(cross.tail_factors), widest), -1, np.int64)
        for k, factor in enumerate(cross.tail_factors):
            tail_effects[k, : factor.n_effects] = effects[factor.position]
        sizes = np.array([factor.n_effects for factor in cross.tail_factors], np.int64)
        return RowPlaces(row_start, places, slopes, effects[eliminated], tail_effects, sizes)


def merge_equal_rows(columns: list[np.ndarray]) -> np.ndarray:
    """Number of the group of equal rows that every row belongs to, (n,), from 0 on.

    Parameters
    ----------
    columns : list of ndarray (n,)
        All that tells rows apart; groups are numbered in order of appearance.
    """
    keys = np.column_stack([np.asarray(column, np.float64) for column in columns])
    n = len(keys)
    table = np.full(1 << (2 * max(n, 1) - 1).bit_length(), -1, np.int32)
    hashes, groups = np.empty(n, np.int64), np.empty(n, np.int32)
    hash_rows(keys.view(np.uint64), hashes)
    match_rows(keys, hashes, table, groups)
    return groups


def first_rows(groups: np.ndarray) -> np.ndarray:
    """First row of every group of `merge_equal_rows`, (n_groups,)."""
    first = np.empty(int(groups.max()) + 1, np.int64)
    # of several rows of a group the last one written stays, which is its first
    first[groups[::-1]] = np.arange(len(groups))[::-1]
    return first


def _order_of_rows(
    codes: tuple[np.ndarray, ...], template: CellSums, n_rows: int, related: frozenset[int]
) -> np.ndarray:
    """Rows by ranked level of the factor that is eliminated, then of the next one."""
    n = len(template.own)
    if n == 0:
        return np.arange(n_rows)
    largest = sorted(range(n), key=lambda f: (f in related, -template.factors[f].size))
    first, second = largest[0], largest[min(1, n - 1)]
    ranks = template.ranks
    assert ranks is not None
    if n == 1 and n_rows <= _CHUNK and len(ranks[0]) < 1 << 16:
        # NumPy sorts short integers by their digits
        return np.argsort(ranks[0][codes[0]].astype(np.uint16), kind="stable")
    _, rows, _ = order_by_pairs(codes[first], ranks[first], codes[second], ranks[second])
    return rows[:, 0].copy()
