"""Coordinates in which a factorised matrix is the identity, and its dense part as well.

With K = T'RT + I the system of the large factors before the dense part is taken off, M the
factorised matrix, equal or close to K, and S_0 S_0' = M^-1, the system H = K - F F' becomes
S_0'HS_0, about I - F~F~' with F~ = S_0'F. On the span of F~ a change of low rank makes it the
identity there too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from skmixed.covariances import Scale
from skmixed.solvers.low_rank import LowRankChange
from skmixed.sums.cross_products import FactorLayout


def multiply_by_factor(
    factors: Sequence[FactorLayout], matrices: Sequence[np.ndarray], vectors: np.ndarray
) -> np.ndarray:
    """Effects (N, m) of large factors, those of every level times the matrix of its factor."""
    out = np.empty(vectors.shape)
    for factor, matrix in zip(factors, matrices, strict=True):
        part = vectors[factor.columns].reshape(factor.n_levels, factor.n_effects, -1)
        moved = matrix[0, 0] * part if len(matrix) == 1 else np.matmul(matrix, part)
        out[factor.columns] = moved.reshape(factor.size, -1)
    return out


class Root(Protocol):
    """A root S_0 of the inverse of a sparse matrix, S_0 S_0' = M^-1."""

    log_det: float
    """log |M|."""

    n_entries: int
    """Numbers that a product with S_0 takes."""

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """S_0 v."""
        ...

    def apply_transposed(self, vectors: np.ndarray) -> np.ndarray:
        """S_0' r."""
        ...

    def apply_inverse(self, vectors: np.ndarray) -> np.ndarray:
        """S_0^-1 h."""
        ...

    def apply_transposed_inverse(self, vectors: np.ndarray) -> np.ndarray:
        """S_0'^-1 v."""
        ...


class FactoredCoordinates:
    """The map S between the coordinates of the solver and the scaled effects.

    The methods are those of `Coordinates`.

    Parameters
    ----------
    root : Root
    factors : sequence of FactorLayout
        The large factors.
    scales : list of Scale
        Of every factor in design order.
    half : ndarray (N, P)
        Reduced cross-products with the dense part, times its root.
    products : callable
        (R - half half') times effects (N, m).

    Attributes
    ----------
    factor : Root
        S_0.
    log_det : float
        -2 log |S|.
    explained : ndarray (N, P)
        F~.
    """

    def __init__(
        self,
        root: Root,
        factors: Sequence[FactorLayout],
        scales: list[Scale],
        half: np.ndarray,
        products: Callable[[np.ndarray], np.ndarray],
    ) -> None:
        self.factor, self._factors = root, factors
        self._matrices = [scales[factor.position].matrix for factor in factors]
        self.explained = root.apply_transposed(self.scale_transposed(half))
        projected = self.explained.T @ self._multiply(self.explained, products)
        self._change = LowRankChange(self.explained, 0.5 * (projected + projected.T))
        self.log_det = root.log_det + self._change.log_det

    def _multiply(
        self, vectors: np.ndarray, products: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        scaled = self.factor.apply(vectors)
        scaled += self.scale_transposed(products(self.scale(scaled)))
        return self.factor.apply_transposed(scaled)

    def multiply(
        self, vectors: np.ndarray, products: Callable[[np.ndarray], np.ndarray]
    ) -> np.ndarray:
        """S' (T' R T + I) S v, where ``products(effects)`` is R times effects."""
        return self._change.apply(self._multiply(self._change.apply(vectors), products))

    def scale(self, vectors: np.ndarray) -> np.ndarray:
        """T h."""
        return multiply_by_factor(self._factors, self._matrices, vectors)

    def scale_transposed(self, vectors: np.ndarray) -> np.ndarray:
        """T' r."""
        transposed = [matrix.T for matrix in self._matrices]
        return multiply_by_factor(self._factors, transposed, vectors)

    def to_scaled(self, vectors: np.ndarray) -> np.ndarray:
        """S v."""
        return self.factor.apply(self._change.apply(vectors))

    def to_effects(self, vectors: np.ndarray) -> np.ndarray:
        """T S v."""
        return self.scale(self.to_scaled(vectors))

    def from_products(self, vectors: np.ndarray) -> np.ndarray:
        """(T S)' r: products with the effects as the solver sees them."""
        moved = self.factor.apply_transposed(self.scale_transposed(vectors))
        return self._change.apply(moved)

    def transposed_inverse(self, vectors: np.ndarray) -> np.ndarray:
        """S'^-1 v."""
        return self.factor.apply_transposed_inverse(self._change.apply_inverse(vectors))

    def apply_root(self, vectors: np.ndarray) -> np.ndarray:
        """S_0 v, without the dense part's change."""
        return self.factor.apply(vectors)

    def solve_sparse(self, vectors: np.ndarray) -> np.ndarray:
        """M^-1 r, without the dense part."""
        return self.factor.apply(self.factor.apply_transposed(vectors))
