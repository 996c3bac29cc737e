"""The scale S of a factor's effects: S S' is their covariance, S'RS + I the system to solve."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Scale:
    """S = W (x) T of the L * q effects u of one factor, relative to the noise variance.

    T (q, q) is a root of the covariance of the effects of a level, W (L, L) one of how levels
    are related. Effects in *independent levels* v, with u = (W (x) I) v, have the covariance
    T T' each; the engine works in these. Where levels are independent, W = I and v = u.

    Attributes
    ----------
    matrix : ndarray (q, q)
        T.
    across : ndarray (L, L) or None
        W; None where levels are independent.
    """

    matrix: np.ndarray
    across: np.ndarray | None = None

    @property
    def by_level(self) -> bool:
        """Whether S is block diagonal over levels, so that the factor may be eliminated."""
        return self.across is None

    @cached_property
    def omega(self) -> np.ndarray:
        """T T', the covariance of the effects of one independent level, (q, q)."""
        return self.matrix @ self.matrix.T

    @cached_property
    def inverse(self) -> np.ndarray:
        """T^-1, (q, q)."""
        return np.linalg.inv(self.matrix)

    @cached_property
    def smallest(self) -> float:
        """Smallest singular value of T."""
        return float(np.linalg.svd(self.matrix, compute_uv=False)[-1])

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """(I (x) T) times effects (L q, ...)."""
        return self._by_level(self.matrix, vectors)

    def apply_transposed(self, vectors: np.ndarray) -> np.ndarray:
        """(I (x) T') times products with effects (L q, ...)."""
        return self._by_level(self.matrix.T, vectors)

    def solve_transposed(self, vectors: np.ndarray) -> np.ndarray:
        """Products with effects (L q, ...) that `apply_transposed` makes `vectors` of."""
        return self._by_level(self.inverse.T, vectors)

    def _by_level(self, matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        q = len(matrix)
        if q == 1:
            return matrix[0, 0] * vectors
        return np.matmul(matrix, vectors.reshape(len(vectors) // q, q, -1)).reshape(vectors.shape)

    def to_effects(self, vectors: np.ndarray) -> np.ndarray:
        """(W (x) I) times effects of independent levels (L q, ...): effects u."""
        if self.across is None:
            return vectors
        return (self.across @ vectors.reshape(len(self.across), -1)).reshape(vectors.shape)

    def to_independent(self, products: np.ndarray) -> np.ndarray:
        """(W' (x) I) times products with effects u (L q, ...)."""
        if self.across is None:
            return products
        return (self.across.T @ products.reshape(len(self.across), -1)).reshape(products.shape)

    def from_independent(self, products: np.ndarray) -> np.ndarray:
        """Products with effects u that `to_independent` makes `products` (L q, ...) of."""
        if self.across is None:
            return products
        found = np.linalg.lstsq(self.across.T, products.reshape(len(self.across), -1), rcond=None)
        return found[0].reshape(products.shape)
