"""Variance parameters as numbers an optimiser can move.

Every covariance block is Omega = T T' relative to the noise variance, with T
lower triangular; the parameters theta are the entries of all T, column by
column. Unlike a logarithmic scale, theta reaches a variance of exactly zero and
a singular covariance inside its domain, and Newton steps converge to them
faster than quadratically: with G the derivative by Omega, the gradient by T is
2 G T and vanishes there while the curvature 2 G does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skmixed.sums.cross_products import FactorLayout


@dataclass(frozen=True)
class Entries:
    """Parameters of one factor: their positions in theta, rows and columns of T, (m,) each."""

    positions: np.ndarray
    rows: np.ndarray
    columns: np.ndarray

    def between(self, begin: int, stop: int) -> Entries:
        """Those of the covariance block from row `begin` to `stop`."""
        own = (self.rows >= begin) & (self.rows < stop)
        return Entries(self.positions[own], self.rows[own], self.columns[own])


@dataclass(frozen=True)
class CovarianceParameters:
    """Index of the free entries of all covariance factors.

    Attributes
    ----------
    factors : tuple of FactorLayout
        In design order.
    entries : tuple of (factor, row, column)
        What each parameter is an entry of.
    """

    factors: tuple[FactorLayout, ...]
    entries: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(
        cls, factors: tuple[FactorLayout, ...], absent: frozenset[int] = frozenset()
    ) -> CovarianceParameters:
        """All lower-triangular entries of the covariance blocks of `factors`.

        Factors at the positions `absent` have no parameters: their variance is 0.
        """
        entries = [
            (f, row, column)
            for f, factor in enumerate(factors)
            if f not in absent
            for begin, stop in factor.blocks
            for column in range(begin, stop)
            for row in range(column, stop)
        ]
        return cls(factors, tuple(entries))

    @cached_property
    def entries_by_factor(self) -> tuple[Entries, ...]:
        """The entries as arrays."""
        table = np.array(self.entries, int).reshape(-1, 3)
        found = []
        for f in range(len(self.factors)):
            positions = np.flatnonzero(table[:, 0] == f)
            found.append(Entries(positions, table[positions, 1], table[positions, 2]))
        return tuple(found)

    @cached_property
    def symmetric(self) -> np.ndarray:
        """Which parameters are alone in their column of T: their sign means nothing."""
        alone = np.zeros(len(self.entries), bool)
        for own in self.entries_by_factor:
            alone[own.positions] = np.bincount(own.columns)[own.columns] == 1
        return alone

    def to_scale_factors(self, theta: np.ndarray) -> list[np.ndarray]:
        """The matrices T, one a grouping factor."""
        scales = [np.zeros((factor.n_effects, factor.n_effects)) for factor in self.factors]
        for scale, own in zip(scales, self.entries_by_factor, strict=True):
            scale[own.rows, own.columns] = theta[own.positions]
        return scales

    def from_scale_factors(self, scales: list[np.ndarray]) -> np.ndarray:
        """Inverse of `to_scale_factors`."""
        theta = np.empty(len(self.entries))
        for scale, own in zip(scales, self.entries_by_factor, strict=True):
            theta[own.positions] = scale[own.rows, own.columns]
        return theta

    def from_covariances(self, covariances: list[np.ndarray]) -> np.ndarray:
        """theta of relative covariance matrices, singular ones included."""
        scales = []
        for factor, omega in zip(self.factors, covariances, strict=True):
            scale = np.zeros_like(omega)
            for begin, stop in factor.blocks:
                block = omega[begin:stop, begin:stop]
                values, vectors = np.linalg.eigh(block)
                root = vectors * np.sqrt(np.maximum(values, 0.0))
                # the R of a QR decomposition is the transposed Cholesky factor
                scale[begin:stop, begin:stop] = np.linalg.qr(root.T)[1].T
            scales.append(scale)
        return self.canonical(self.from_scale_factors(scales))

    def canonical(self, theta: np.ndarray) -> np.ndarray:
        """The equivalent theta whose diagonal entries are not negative."""
        sign = {(f, c): -1.0 for (f, r, c), t in zip(self.entries, theta, strict=True)
                if r == c and t < 0.0}  # fmt: skip
        return theta * np.array([sign.get((f, column), 1.0) for f, _, column in self.entries])

    def gradient(self, theta: np.ndarray, derivatives: list[np.ndarray]) -> np.ndarray:
        """Chain rule: derivative by theta from symmetric derivatives by Omega."""
        scales = self.to_scale_factors(theta)
        products = [2.0 * g @ scale for g, scale in zip(derivatives, scales, strict=True)]
        return self.from_scale_factors(products)

    def curvature(self, derivatives: list[np.ndarray]) -> np.ndarray:
        """The part of the second derivative by theta that comes from Omega = T T'."""
        out = np.zeros((len(self.entries), len(self.entries)))
        for derivative, own in zip(derivatives, self.entries_by_factor, strict=True):
            same_column = own.columns[:, None] == own.columns
            out[np.ix_(own.positions, own.positions)] = (
                2.0 * derivative[np.ix_(own.rows, own.rows)] * same_column
            )
        return out

    def tangents(self, theta: np.ndarray) -> list[tuple[FactorLayout, np.ndarray]]:
        """dOmega by each parameter, with the factor it belongs to."""
        scales = self.to_scale_factors(theta)
        tangents = []
        for f, row, column in self.entries:
            tangent = np.zeros_like(scales[f])
            tangent[row] += scales[f][:, column]
            tangent[:, row] += scales[f][:, column]
            tangents.append((self.factors[f], tangent))
        return tangents
