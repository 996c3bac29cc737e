"""Weighted cross-products of a design: all that a Gaussian fit needs of the rows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skmixed._kernels.cells import (
    accumulate_factor_pair,
    accumulate_level_blocks,
    accumulate_level_cells,
    sort_cells,
    sort_rows_by_level,
)


@dataclass(frozen=True)
class FactorLayout:
    """Where the effects of one grouping factor stand in the system.

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
    """Sums over rows of weight * column * column, by cells of levels.

    One factor, the one with the most effects, is kept apart as *eliminated*:
    its own cross-products are block diagonal. The rest is the *tail*: the
    other factors' effects, then the *dense* columns, fixed effects first and
    the response last.

    Attributes
    ----------
    eliminated : FactorLayout or None
        None when the model has no random effects.
    tail_factors : tuple of FactorLayout
    n_fixed : int
        Number of fixed-effect columns.
    own : ndarray (L, Q, Q)
        The eliminated factor with itself.
    with_dense : ndarray (L, Q, n_fixed + 1)
        The eliminated factor with the dense columns.
    start, columns, values : ndarray (L + 1,), (n_cells,), (n_cells, Q)
        The eliminated factor with the tail factors, compressed by level.
    tail : ndarray (N, N)
        The tail with itself, lower triangle.
    """

    eliminated: FactorLayout | None
    tail_factors: tuple[FactorLayout, ...]
    n_fixed: int
    own: np.ndarray
    with_dense: np.ndarray
    start: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    tail: np.ndarray

    @property
    def factors(self) -> tuple[FactorLayout, ...]:
        """All factors in design order."""
        own = () if self.eliminated is None else (self.eliminated,)
        return tuple(sorted(own + self.tail_factors, key=lambda factor: factor.position))

    @property
    def n_tail(self) -> int:
        """Number of random effects in the tail."""
        return self.tail.shape[0] - self.n_fixed - 1

    def row_bounds(self, n_parts: int) -> list[int]:
        """Bounds of tail rows that share the work of the elimination evenly.

        The work of a cell is its place among the cells of its level.
        """
        return _even_bounds(self._row_work, n_parts)

    def level_bounds(self, n_parts: int) -> list[int]:
        """Bounds of eliminated levels that share the pairs of cells evenly."""
        return _even_bounds(self._level_work, n_parts)

    @cached_property
    def _row_work(self) -> np.ndarray:
        levels = np.repeat(self.start[:-1], np.diff(self.start))
        place = np.arange(len(self.columns)) - levels + 1
        work = np.bincount(self.columns, weights=place, minlength=self.tail.shape[0])
        work[self.n_tail :] += len(self.columns) + len(self.own)
        return work

    @cached_property
    def _level_work(self) -> np.ndarray:
        return (np.diff(self.start) + self.n_fixed + 1.0) ** 2

    @property
    def fixed_products(self) -> np.ndarray:
        """X' X, weighted, both triangles, (n_fixed, n_fixed)."""
        fixed = slice(self.n_tail, self.n_tail + self.n_fixed)
        lower = np.tril(self.tail[fixed, fixed])
        return lower + np.tril(lower, -1).T

    def dense_products(self, factor: FactorLayout) -> np.ndarray:
        """The dense columns with a factor's effects, (n_fixed + 1, size)."""
        if factor is self.eliminated:
            return self.with_dense.reshape(factor.size, -1).T
        return self.tail[self.n_tail :, factor.columns]

    def effect_precisions(self, factor: FactorLayout) -> np.ndarray:
        """Diagonal cross-products of a factor's effects, shape (levels, effects)."""
        if factor is self.eliminated:
            return np.ascontiguousarray(np.diagonal(self.own, axis1=1, axis2=2))
        diagonal = np.diagonal(self.tail)[factor.columns]
        return diagonal.reshape(factor.n_levels, factor.n_effects)


def accumulate(
    codes: tuple[np.ndarray, ...],
    n_levels: tuple[int, ...],
    bases: tuple[np.ndarray | None, ...],
    blocks: tuple[tuple[tuple[int, int], ...], ...],
    fixed: np.ndarray,
    response: np.ndarray,
    weights: np.ndarray,
) -> CrossProducts:
    """Sum the rows of a design into `CrossProducts`.

    Parameters
    ----------
    codes : tuple of ndarray (n,), int32
        Level of every row, one array a factor.
    n_levels : tuple of int
    bases : tuple of ndarray (n, q) or None
        What multiplies the effects of a factor; None is an intercept alone.
    blocks : tuple of tuple of (start, stop)
        Covariance blocks of each factor.
    fixed : ndarray (n, p)
    response : ndarray (n,)
    weights : ndarray (n,)
    """
    slopes, effect_maps = _stack_slopes(bases, len(response))
    dense = np.column_stack([fixed, response])
    n_dense = dense.shape[1]
    order = sorted(range(len(codes)), key=lambda f: n_levels[f] * len(effect_maps[f]), reverse=True)
    tail_factors = []
    n_tail = 0
    for f in order[1:]:
        layout = FactorLayout(f, n_levels[f], len(effect_maps[f]), blocks[f], n_tail)
        tail_factors.append(layout)
        n_tail += layout.size

    _refuse_what_does_not_fit(n_tail + n_dense)
    tail = np.zeros((n_tail + n_dense, n_tail + n_dense))
    tail[n_tail:, n_tail:] = dense.T @ (dense * weights[:, None])
    for a, factor in enumerate(tail_factors):
        f = factor.position
        for other in tail_factors[: a + 1]:
            accumulate_factor_pair(
                codes[f], effect_maps[f], factor.start,
                codes[other.position], effect_maps[other.position], other.start,
                weights, slopes, tail,
            )  # fmt: skip
        _, with_dense = accumulate_level_blocks(
            codes[f], weights, slopes, effect_maps[f], dense, factor.n_levels
        )
        tail[n_tail:, factor.columns] = with_dense.reshape(factor.size, n_dense).T

    if not order:
        nothing = np.zeros((0, 1, 1))
        return CrossProducts(
            None, (), fixed.shape[1], nothing, np.zeros((0, 1, n_dense)),
            np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros((0, 1)), tail,
        )  # fmt: skip

    first = order[0]
    eliminated = FactorLayout(first, n_levels[first], len(effect_maps[first]), blocks[first])
    own, with_dense = accumulate_level_blocks(
        codes[first], weights, slopes, effect_maps[first], dense, eliminated.n_levels
    )
    start, columns, values = _cells(
        codes, effect_maps, eliminated, tail_factors, slopes, weights, n_tail
    )
    return CrossProducts(
        eliminated, tuple(tail_factors), fixed.shape[1],
        own, with_dense, start, columns, values, tail,
    )  # fmt: skip


def _even_bounds(work: np.ndarray, n_parts: int) -> list[int]:
    """Bounds that cut `work` into parts of about the same sum."""
    done = np.cumsum(work)
    shares = done[-1] * np.arange(1, n_parts) / n_parts
    return [0, *(np.searchsorted(done, shares) + 1).tolist(), len(work)]


_MATRICES = 6
"""Matrices of the size of the tail that a fit holds at a time."""


def _refuse_what_does_not_fit(n_tail: int) -> None:
    """Raise MemoryError before the machine is asked for more than it has."""
    needed = 8 * _MATRICES * n_tail**2
    try:
        available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return
    if needed > 0.8 * available:
        raise MemoryError(
            f"The direct solver keeps every factor but the largest in dense matrices: "
            f"{n_tail:,} effects and coefficients need {needed:,} bytes, and this machine has "
            f"{available:,}. Merge levels with few rows, use fewer random slopes, or leave a "
            "factor out; one factor of any size is no problem."
        )


def _cells(codes, effect_maps, eliminated, tail_factors, slopes, weights, n_tail):
    """Cells of the eliminated factor with the tail factors, sorted by column."""
    n_effects = eliminated.n_effects
    if not tail_factors:
        start = np.zeros(eliminated.n_levels + 1, np.int64)
        return start, np.zeros(0, np.int32), np.zeros((0, n_effects))
    row_start, row_order = sort_rows_by_level(codes[eliminated.position], eliminated.n_levels)
    start, columns, values = accumulate_level_cells(
        row_start,
        row_order,
        weights,
        slopes,
        effect_maps[eliminated.position],
        np.column_stack([codes[factor.position] for factor in tail_factors]),
        np.array([factor.start for factor in tail_factors], np.int64),
        np.array([factor.n_effects for factor in tail_factors], np.int64),
        np.concatenate([effect_maps[factor.position] for factor in tail_factors]),
        n_tail,
    )
    columns, values = sort_cells(start, columns, values, n_tail)
    return start, columns, values


def _stack_slopes(bases, n_rows):
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
