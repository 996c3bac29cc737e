"""Coordinates in which the system of a large tail is close to the identity.

Level blocks of the matrix H become identities through their Cholesky factors.
What stays far from it are shifts that a whole set of levels shares: they cost
little where a small factor or the intercept can take the opposite shift. Those
few *coarse* directions W get an identity as well: with M = L L' the level blocks,
Q an orthonormal basis of L'W and A = Q' L^-1 H L'^-1 Q,

    S = L'^-1 (I + Q (A^(-1/2) - I) Q'),

and S'HS is what conjugate gradients see: block Jacobi with one block more than
there are levels. It is the identity where H is, so that small variances leave
little to estimate (additive corrections, Nabben and Vuik 2004, SIAM J. Numer.
Anal. 42, count W twice there).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from skmixed._kernels.cell_passes import multiply_levels
from skmixed.covariances import Scale
from skmixed.solvers.low_rank import LowRankChange
from skmixed.solvers.sparse_tail import SparseTail
from skmixed.sums.cross_products import FactorLayout

_MOST_CLUSTERS = 64
"""Levels of a small factor up to which it gives coarse directions."""


class CoarseSpace:
    """Shifts common to sets of levels, and their cross-products.

    The sets are, for every large factor, the levels that meet the same level of
    a small factor most; without small factors all levels are one set. Every
    effect has its own direction for every set.

    Attributes
    ----------
    directions : ndarray (N, k)
        Indicators.
    unreduced : ndarray (k, k)
        directions' A'A directions.
    eliminated : ndarray (L, Q, k)
        C_l times the directions.
    """

    def __init__(self, tail: SparseTail) -> None:
        self.tail = tail
        columns: list[np.ndarray] = []
        self._sets: list[tuple[FactorLayout, int]] = []
        labels = [
            main for main, factor in zip(tail.main_levels, tail.small, strict=True)
            if factor.n_levels <= _MOST_CLUSTERS
        ] or [np.zeros(sum(factor.n_levels for factor in tail.large), int)]  # fmt: skip
        for clustering in labels:
            offset = 0
            for factor in tail.large:
                here = clustering[offset : offset + factor.n_levels]
                offset += factor.n_levels
                for cluster in np.unique(here):
                    self._sets.append((factor, len(columns)))
                    rows = factor.start + factor.n_effects * np.flatnonzero(here == cluster)
                    for q in range(factor.n_effects):
                        column = np.zeros(tail.n_large)
                        column[rows + q] = 1.0
                        columns.append(column)
        self.directions = np.column_stack(columns) if columns else np.zeros((tail.n_large, 0))
        self.unreduced = self.directions.T @ tail.multiply_unreduced(self.directions)
        nothing = np.zeros((0, self.directions.shape[1]))
        self.eliminated = tail.gather(self.directions, nothing)

    def projected(self, middle: np.ndarray, half: np.ndarray, scales: list[Scale]) -> np.ndarray:
        """W'HW (k, k), H = T' (R - half half') T + I with R the reduced cross-products."""
        k = self.directions.shape[1]
        shape = (middle.shape[0] * middle.shape[1], k)
        mixed = np.matmul(middle, self.eliminated).reshape(shape)
        raw = self.unreduced - self.eliminated.reshape(shape).T @ mixed
        explained = half.T @ self.directions
        raw -= explained.T @ explained
        mix = np.zeros((k, k))
        for factor, first in self._sets:
            here = slice(first, first + factor.n_effects)
            mix[here, here] = scales[factor.position].matrix
        return mix.T @ raw @ mix + self.directions.T @ self.directions


class Coordinates:
    """The map S between the coordinates of the solver and the scaled effects.

    With T the factor of the effects' relative covariance, effects are T S v.

    Parameters
    ----------
    tail : SparseTail
    blocks : list of ndarray (levels, q, q)
        Level blocks of the reduced cross-products of the large factors.
    scales : list of Scale
        Of every factor in design order.
    coarse : CoarseSpace
    projected : ndarray (k, k)
        W'HW.

    Attributes
    ----------
    log_det : float
        -2 log |S|.
    """

    def __init__(
        self,
        tail: SparseTail,
        blocks: list[np.ndarray],
        scales: list[Scale],
        coarse: CoarseSpace,
        projected: np.ndarray,
    ) -> None:
        self._factors = tail.large
        used = [scales[factor.position].matrix for factor in tail.large]
        self.matrices = [
            scale.T @ block @ scale + np.eye(len(scale))
            for scale, block in zip(used, blocks, strict=True)
        ]
        self._scales = [
            np.tile(scale, (len(block), 1, 1)) for scale, block in zip(used, blocks, strict=True)
        ]
        self._scales_transposed = _transposed(self._scales)
        lowers = [np.linalg.cholesky(matrix) for matrix in self.matrices]
        # S_0 = L'^-1, its inverse, T S_0 and S_0'S_0, level by level
        self._root = [np.swapaxes(np.linalg.inv(lower), 1, 2) for lower in lowers]
        self._root_inverse = [np.ascontiguousarray(np.swapaxes(l, 1, 2)) for l in lowers]
        self._effects = [s @ root for s, root in zip(used, self._root, strict=True)]
        self._effects_transposed = _transposed(self._effects)
        self._squares = [np.swapaxes(root, 1, 2) @ root for root in self._root]
        self.log_det = 2.0 * sum(
            float(np.log(np.diagonal(lower, axis1=1, axis2=2)).sum()) for lower in lowers
        )
        self._directions = coarse.directions
        moved = self.by_level(self._root_inverse, coarse.directions)
        self._change = LowRankChange(moved, projected)
        self.log_det += self._change.log_det

    @property
    def directions(self) -> np.ndarray:
        """The coarse directions of the scaled effects, (N, k)."""
        return self._directions

    @property
    def change(self) -> LowRankChange:
        """What the coarse directions change, in the coordinates of the level blocks."""
        return self._change

    def system_trace(self, half: np.ndarray) -> float:
        """Trace of S'HS, with `half` the part of the dense part."""
        explained = self.by_level(self._effects_transposed, half)
        return len(half) - float((explained**2).sum()) + self._change.trace

    def squared_blocks(self, number: int) -> np.ndarray:
        """Level blocks of S S' summed over one of the large factors, (q, q)."""
        factor, root = self._factors[number], self._root[number]
        coarse = self._directions[factor.columns].reshape(*root.shape[:2], -1)
        total = np.einsum("lqk,kj,lsj->qs", coarse, self._change.added, coarse, optimize=True)
        return total + np.einsum("lqr,lsr->qs", root, root)

    def own_blocks(self, number: int, half: np.ndarray) -> np.ndarray:
        """Level blocks of H of one of the large factors, (levels, q, q)."""
        factor = self._factors[number]
        explained = self.scale_transposed(half)[factor.columns]
        explained = explained.reshape(factor.n_levels, factor.n_effects, -1)
        return self.matrices[number] - np.matmul(explained, np.swapaxes(explained, 1, 2))

    def system_blocks(self, number: int, half: np.ndarray, products: np.ndarray) -> np.ndarray:
        """Level blocks of S S' H S S' summed over one of the large factors, (q, q).

        Parameters
        ----------
        number : int
        half : ndarray (N, r)
            As in `CoarseSpace.projected`.
        products : ndarray (N, k)
            H times the coarse directions.
        """
        factor = self._factors[number]
        shape = (factor.n_levels, factor.n_effects, -1)
        own = self.own_blocks(number, half)
        inverse = np.linalg.inv(self.matrices[number])
        coarse = self._directions[factor.columns]
        added = (coarse @ self._change.added).reshape(shape)
        inner = self._change.added @ (self._directions.T @ products) @ self._change.added
        moved = inverse @ products[factor.columns].reshape(shape)
        cross = np.einsum("lqk,lsk->qs", moved, added)
        bent = (coarse @ inner).reshape(shape)
        total = (inverse @ own @ inverse).sum(axis=0) + cross + cross.T
        return total + np.einsum("lqk,lsk->qs", bent, coarse.reshape(shape))

    def multiplied_blocks(
        self, number: int, blocks: np.ndarray, scale: np.ndarray, products: np.ndarray
    ) -> np.ndarray:
        """Level blocks of R T S S' summed over one of the large factors, (q, q).

        Parameters
        ----------
        number : int
        blocks : ndarray (levels, q, q)
            Level blocks of R, a symmetric matrix.
        scale : ndarray (q, q)
            T of the factor.
        products : ndarray (levels, q, k)
            R T times the coarse directions.
        """
        inverse = np.linalg.inv(self.matrices[number])
        coarse = self._directions[self._factors[number].columns].reshape(products.shape)
        total = np.matmul(blocks @ scale, inverse).sum(axis=0)
        added = self._change.added
        return total + np.einsum("lqk,kj,lsj->qs", products, added, coarse, optimize=True)

    def by_level(self, blocks: list[np.ndarray], vectors: np.ndarray) -> np.ndarray:
        """Level blocks times vectors (N, m)."""
        out = np.empty(vectors.shape)
        vectors = np.ascontiguousarray(vectors)
        for factor, block in zip(self._factors, blocks, strict=True):
            multiply_levels(block, vectors[factor.columns], out[factor.columns])
        return out

    def scale(self, vectors: np.ndarray) -> np.ndarray:
        """T h."""
        return self.by_level(self._scales, vectors)

    def scale_transposed(self, vectors: np.ndarray) -> np.ndarray:
        """T' r."""
        return self.by_level(self._scales_transposed, vectors)

    def to_scaled(self, vectors: np.ndarray) -> np.ndarray:
        """S v."""
        return self.by_level(self._root, self._change.apply(vectors))

    def from_scaled(self, vectors: np.ndarray) -> np.ndarray:
        """S^-1 h."""
        return self._change.apply_inverse(self.by_level(self._root_inverse, vectors))

    def to_effects(self, vectors: np.ndarray) -> np.ndarray:
        """T S v."""
        return self.by_level(self._effects, self._change.apply(vectors))

    def from_products(self, vectors: np.ndarray) -> np.ndarray:
        """(T S)' r: products with the effects as the solver sees them."""
        return self._change.apply(self.by_level(self._effects_transposed, vectors))

    def multiply(
        self, vectors: np.ndarray, products: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """S' (T' R T + I) S v, where ``products(effects)`` is R times effects."""
        bent = self._change.apply(vectors)
        out = self.by_level(self._effects_transposed, products(self.by_level(self._effects, bent)))
        out += self.by_level(self._squares, bent)
        return self._change.apply(out)

    def transposed_inverse(self, vectors: np.ndarray) -> np.ndarray:
        """S'^-1 v."""
        lowers = _transposed(self._root_inverse)
        return self.by_level(lowers, self._change.apply_inverse(vectors))


def _transposed(blocks: list[np.ndarray]) -> list[np.ndarray]:
    return [np.ascontiguousarray(np.swapaxes(block, 1, 2)) for block in blocks]
