"""The sums of a design arranged for elimination: one factor apart, the rest a tail."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csc_array, csr_array

from skmixed._kernels.arguments import LevelCells
from skmixed._kernels.cells import spread_cells
from skmixed._kernels.dense_tail import mirror_lower
from skmixed.memory import available_memory
from skmixed.sums.cell_sums import CellSums, PairCells
from skmixed.threads import even_bounds

_OF_CELLS = ("factors", "n_tail", "_cells", "_level_matrices", "_row_work")
"""Properties of `CrossProducts` that do not depend on the response, computed once."""


def symmetric(lower: np.ndarray) -> np.ndarray:
    """The symmetric matrix (n, n) of which the lower triangle is given."""
    out = lower.copy()
    mirror_lower(out)
    return out


@dataclass(frozen=True)
class FactorLayout:
    """Size of one grouping factor, and its columns in the system.

    Attributes
    ----------
    position : int
        The factor's place in the design.
    n_levels, n_effects : int
        Levels, and effects per level.
    blocks : tuple of (start, stop)
        Effects that share one covariance matrix.
    start : int
        First column in the tail; 0 for the eliminated factor, which has none.
    """

    position: int
    n_levels: int
    n_effects: int
    blocks: tuple[tuple[int, int], ...]
    start: int = 0

    @property
    def size(self) -> int:
        """Number of effects over all levels."""
        return self.n_levels * self.n_effects

    @property
    def columns(self) -> slice:
        """The factor's columns of the tail."""
        return slice(self.start, self.start + self.size)


@dataclass(frozen=True)
class CrossProducts:
    """`CellSums` seen from the factor that is eliminated.

    One factor, the one with the most effects, is *eliminated*: its own
    cross-products are block diagonal. The rest is the *tail*: the other factors'
    effects, larger factors first, then the *dense* columns, fixed effects first
    and the response last.

    Attributes
    ----------
    sums : CellSums
    eliminated : FactorLayout or None
        None when the model has no random effects.
    tail_factors : tuple of FactorLayout
    own : ndarray (L, Q, Q)
        The eliminated factor with itself.
    with_dense : ndarray (L, Q, n_fixed + 1)
        The eliminated factor with the dense columns.
    eliminated_pairs : tuple of PairCells
        The eliminated factor with every tail factor.
    tail_pairs : tuple of PairCells
        Every two tail factors, the one that comes first in the tail first.
    """

    sums: CellSums
    eliminated: FactorLayout | None
    tail_factors: tuple[FactorLayout, ...]
    own: np.ndarray
    with_dense: np.ndarray
    eliminated_pairs: tuple[PairCells, ...]
    tail_pairs: tuple[PairCells, ...]

    @classmethod
    def of(cls, sums: CellSums, related: frozenset[int] = frozenset()) -> CrossProducts:
        """Choose the factor to eliminate and arrange the rest.

        Parameters
        ----------
        sums : CellSums
        related : frozenset of int
            Positions of factors whose levels are related: they stay in the tail.
        """
        shapes = sums.factors
        order = sorted(range(len(shapes)), key=lambda f: (f in related, -shapes[f].size))
        n_eliminated = int(bool(order) and order[0] not in related)
        layouts = []
        n_tail = 0
        for k, f in enumerate(order):
            shape = shapes[f]
            layouts.append(FactorLayout(f, shape.n_levels, shape.n_effects, shape.blocks, n_tail))
            n_tail += shape.size if k >= n_eliminated else 0
        rank = {f: k for k, f in enumerate(order)}
        pairs = {}
        for pair in sums.pairs:
            if rank[pair.first] > rank[pair.second]:
                pair = pair.transposed(shapes[pair.second].n_levels)
            pairs[rank[pair.first], rank[pair.second]] = pair
        ranked = [pairs[ranks] for ranks in sorted(pairs)]
        if not n_eliminated:
            nothing = np.zeros((0, 1, 1))
            with_nothing = np.zeros((0, 1, len(sums.dense)))
            return cls(sums, None, tuple(layouts), nothing, with_nothing, (), tuple(ranked))
        tail = tuple(layouts[1:])
        first, between = ranked[: len(tail)], ranked[len(tail) :]
        own, with_dense = sums.own[order[0]], sums.with_dense[order[0]]
        return cls(sums, layouts[0], tail, own, with_dense, tuple(first), tuple(between))

    def refilled(self, sums: CellSums) -> CrossProducts:
        """This arrangement of other sums over the same cells."""
        pairs = {(pair.first, pair.second): pair for pair in sums.pairs}

        def oriented(pair: PairCells) -> PairCells:
            same = pairs.get((pair.first, pair.second))
            if same is not None:
                return same
            other = pairs[pair.second, pair.first]
            return other.transposed(len(pair.start) - 1)

        own, with_dense = self.own, self.with_dense
        if self.eliminated is not None:
            position = self.eliminated.position
            own, with_dense = sums.own[position], sums.with_dense[position]
        return CrossProducts(
            sums, self.eliminated, self.tail_factors, own, with_dense,
            tuple(oriented(pair) for pair in self.eliminated_pairs),
            tuple(oriented(pair) for pair in self.tail_pairs),
        )  # fmt: skip

    def with_response(self, sums: CellSums) -> CrossProducts:
        """This arrangement of the same sums with another response, which cells do not hold."""
        with_dense = self.with_dense
        if self.eliminated is not None:
            with_dense = sums.with_dense[self.eliminated.position]
        other = replace(self, sums=sums, with_dense=with_dense)
        made = vars(self)
        vars(other).update({name: made[name] for name in _OF_CELLS if name in made})
        return other

    @cached_property
    def factors(self) -> tuple[FactorLayout, ...]:
        """All factors in design order."""
        own = () if self.eliminated is None else (self.eliminated,)
        return tuple(sorted(own + self.tail_factors, key=lambda factor: factor.position))

    @property
    def n_fixed(self) -> int:
        """Number of fixed-effect columns."""
        return len(self.sums.dense) - 1

    @cached_property
    def n_tail(self) -> int:
        """Number of random effects in the tail."""
        return sum(factor.size for factor in self.tail_factors)

    @property
    def response_squares(self) -> float:
        """The response with itself."""
        return float(self.sums.dense[-1, -1])

    @property
    def fixed_products(self) -> np.ndarray:
        """X' X, weighted, (n_fixed, n_fixed)."""
        return self.sums.dense[:-1, :-1]

    def join_cells(self, n_factors: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Cells of the eliminated factor with the first tail factors, one column per effect.

        Returns
        -------
        start, columns, values : ndarray (L + 1,), (n_cells,), (n_cells, Q)
            Compressed by level; columns of the tail ascend within a level.
        """
        n_levels, n_effects = self.own.shape[:2]
        pairs = self.eliminated_pairs[:n_factors]
        factors = self.tail_factors[: len(pairs)]
        if len(pairs) == 1 and factors[0].n_effects == 1:
            return pairs[0].start, pairs[0].levels, pairs[0].values.reshape(-1, n_effects)
        start = np.zeros(n_levels + 1, np.int64)
        for pair, factor in zip(pairs, factors, strict=True):
            start += factor.n_effects * pair.start
        columns = np.empty(start[-1], np.int32)
        values = np.empty((start[-1], n_effects))
        cursor = start[:-1].copy()
        for pair, factor in zip(pairs, factors, strict=True):
            spread_cells(
                pair.start, pair.levels, pair.values, factor.start, cursor, columns, values
            )
        return start, columns, values

    @cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.join_cells(len(self.tail_factors))

    @property
    def start(self) -> np.ndarray:
        """First cell of every eliminated level, see `join_cells`."""
        return self._cells[0]

    @property
    def columns(self) -> np.ndarray:
        """Tail column of every cell."""
        return self._cells[1]

    @property
    def values(self) -> np.ndarray:
        """Cross-products of every cell."""
        return self._cells[2]

    def level_cells(self, n_dense: int) -> LevelCells:
        """The cells of the eliminated levels, and the first dense columns."""
        with_dense = np.ascontiguousarray(self.with_dense[:, :, :n_dense])
        return LevelCells(*self._cells, with_dense)

    @cached_property
    def _level_matrices(self) -> list[tuple[csr_array, csc_array]]:
        """The cells of the levels' first effects, (L, T) and transposed, of second ones, ..."""
        if not self.n_tail:
            return []
        start, columns, values = self._cells
        shape = len(self.own), self.n_tail
        matrices = [csr_array((effect, columns, start), shape) for effect in values.T.copy()]
        return [(matrix, matrix.T) for matrix in matrices]

    def gather(self, vectors: np.ndarray) -> np.ndarray:
        """Cross-products of every eliminated level times tail vectors (size, m): (L, Q, m)."""
        out = np.tensordot(self.with_dense, vectors[self.n_tail :], 1)
        for q, (matrix, _) in enumerate(self._level_matrices):
            out[:, q] += matrix @ vectors[: self.n_tail]
        return out

    def scatter(self, effects: np.ndarray) -> np.ndarray:
        """Sum over levels of cross-products, transposed, times effects (L, Q, m): (size, m)."""
        out = np.zeros((self.size, effects.shape[2]))
        out[self.n_tail :] = np.tensordot(self.with_dense, effects, ([0, 1], [0, 1]))
        for q, (_, transposed) in enumerate(self._level_matrices):
            out[: self.n_tail] += transposed @ effects[:, q]
        return out

    @property
    def size(self) -> int:
        """Number of columns of the tail: effects, fixed effects and the response."""
        return self.n_tail + len(self.sums.dense)

    def dense_tail(self) -> np.ndarray:
        """The tail with itself, a new dense matrix, lower triangle; for the direct solver only."""
        n_tail = self.n_tail
        tail = np.zeros((self.size, self.size))
        tail[n_tail:, n_tail:] = self.sums.dense
        starts = {factor.position: factor.start for factor in self.tail_factors}
        for factor in self.tail_factors:
            own = self.sums.own[factor.position]
            for q in range(factor.n_effects):
                rows = np.arange(factor.start + q, factor.columns.stop, factor.n_effects)
                for s in range(q + 1):
                    tail[rows, rows - q + s] = own[:, q, s]
            tail[n_tail:, factor.columns] = self.dense_products(factor)
        for pair in self.tail_pairs:
            _put_cells(pair, starts[pair.first], starts[pair.second], tail)
        return tail

    def dense_products(self, factor: FactorLayout) -> np.ndarray:
        """The dense columns with a factor's effects, (n_fixed + 1, size)."""
        return self.sums.with_dense[factor.position].reshape(factor.size, -1).T

    def effect_precisions(self, factor: FactorLayout) -> np.ndarray:
        """Diagonal cross-products of a factor's effects, shape (levels, effects)."""
        own = self.sums.own[factor.position]
        return np.ascontiguousarray(np.diagonal(own, axis1=1, axis2=2))

    def effects_by_factor(self, vectors: np.ndarray) -> list[np.ndarray]:
        """Effects (L, Q, m) of every factor from vectors (p + n_effects, m) of all means."""
        parts, offset = [], self.n_fixed
        for factor in self.factors:
            part = vectors[offset : offset + factor.size]
            shape = (factor.n_levels, factor.n_effects, vectors.shape[1])
            parts.append(np.ascontiguousarray(part).reshape(shape))
            offset += factor.size
        return parts

    def row_bounds(self, n_parts: int) -> list[int]:
        """Bounds of tail rows that share the work of a dense elimination evenly.

        The work of a cell is its place among the cells of its level.
        """
        return [0, self.n_tail] if n_parts == 1 else even_bounds(self._row_work, n_parts)

    def level_bounds(self, n_parts: int) -> list[int]:
        """Bounds of eliminated levels that share the pairs of cells evenly."""
        if n_parts == 1:
            return [0, len(self.own)]
        return even_bounds((np.diff(self.start) + self.n_fixed + 1.0) ** 2, n_parts)

    @cached_property
    def _row_work(self) -> np.ndarray:
        levels = np.repeat(self.start[:-1], np.diff(self.start))
        place = np.arange(len(self.columns)) - levels + 1
        return np.bincount(self.columns, weights=place, minlength=self.n_tail)


def _put_cells(pair: PairCells, first_row: int, first_column: int, tail: np.ndarray) -> None:
    """Put a pair's cells into the lower triangle of a matrix.

    The first factor's rows begin at `first_row`, the second one's columns at `first_column`; where
    that is above the diagonal the cells are transposed.
    """
    n_first, n_second = pair.values.shape[1:]
    levels = np.repeat(np.arange(len(pair.start) - 1), np.diff(pair.start))[:, None, None]
    rows = first_row + n_first * levels + np.arange(n_first)[:, None]
    columns = first_column + n_second * pair.levels[:, None, None] + np.arange(n_second)
    tail[np.maximum(rows, columns), np.minimum(rows, columns)] = pair.values


_MATRICES = 6
"""Matrices of the size of the tail that a direct fit holds at a time."""


def dense_tail_bytes(n_tail: int) -> int:
    """Memory the direct solver needs for a tail of so many effects and columns."""
    return 8 * _MATRICES * n_tail**2


def refuse_what_does_not_fit(n_tail: int) -> None:
    """Raise MemoryError before the machine is asked for more than it has."""
    needed, available = dense_tail_bytes(n_tail), available_memory()
    if available is not None and needed > 0.8 * available:
        raise MemoryError(
            f"solver='direct' keeps all factors except the largest in dense matrices: "
            f"{n_tail:,} effects and coefficients need {needed:,} bytes, but only "
            f"{available:,} are available. Use solver='iterative', whose memory grows with the "
            "levels and their cells only, or solver='auto', which chooses it."
        )
