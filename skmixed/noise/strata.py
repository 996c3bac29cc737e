"""A noise variance for every stratum of the rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skmixed.sums.cell_sums import CellSums
from skmixed.sums.cross_products import CrossProducts

_LARGEST = 30.0
"""Logarithm of the largest ratio of two standard deviations."""


@dataclass(frozen=True)
class NoiseByStratum:
    """psi has the log ratio of each stratum's standard deviation to that of the first stratum.

    Cross-products are linear in the weights exp(-2 psi): those of every stratum are summed
    once, and combined at each psi.

    Attributes
    ----------
    cross : CrossProducts
        Of all rows with equal weights.
    strata : tuple of CrossProducts
        Of the rows of each stratum, by the same cells.
    n_rows : ndarray (s,)
        Sum of the case weights of each stratum.
    """

    cross: CrossProducts
    strata: tuple[CrossProducts, ...]
    n_rows: np.ndarray

    @classmethod
    def of(
        cls, cross: CrossProducts, strata: tuple[CrossProducts, ...], n_rows: np.ndarray
    ) -> NoiseByStratum:
        """The noise of rows in strata."""
        return cls(cross, strata, n_rows)

    def with_response(self, cross: CrossProducts, strata: tuple[CellSums, ...]) -> NoiseByStratum:
        """The noise of another response."""
        parts = [old.with_response(new) for old, new in zip(self.strata, strata, strict=True)]
        return NoiseByStratum(cross, tuple(parts), self.n_rows)

    @property
    def n_parameters(self) -> int:
        """One less than there are strata."""
        return len(self.strata) - 1

    @property
    def parts(self) -> tuple[CrossProducts, ...]:
        """Cross-products of the strata whose weight psi moves."""
        return self.strata[1:]

    def weights(self, psi: np.ndarray) -> np.ndarray:
        """Weight of the rows of every stratum, (s,)."""
        return np.exp(-2.0 * np.append(0.0, psi))

    def cross_products(self, psi: np.ndarray) -> CrossProducts:
        """Those of the strata times their weights."""
        sums = [part.sums for part in self.strata]
        return self.cross.refilled(CellSums.combined(sums, self.weights(psi)))

    def log_weights(self, psi: np.ndarray) -> float:
        """Sum of the logarithms of the weights over all rows."""
        return float(-2.0 * self.n_rows[1:] @ psi)

    def gradient(self, psi: np.ndarray, by_weight: np.ndarray) -> np.ndarray:
        """-2 weight times the derivative by it, and 2 for every row, (k,)."""
        return 2.0 * self.n_rows[1:] - 2.0 * self.weights(psi)[1:] * by_weight

    def mean_variance(self, psi: np.ndarray) -> float:
        """Mean over the rows of the inverse weights."""
        return float(self.n_rows @ (1.0 / self.weights(psi)) / self.n_rows.sum())

    def start(self) -> np.ndarray:
        """From the mean squares of the responses, which are residuals of least squares, (k,)."""
        squares = np.array([part.response_squares for part in self.strata])
        logs = 0.5 * np.log(np.maximum(squares / self.n_rows, 1e-12 * squares.sum()))
        return np.clip(logs[1:] - logs[0], -3.0, 3.0)

    def canonical(self, psi: np.ndarray) -> np.ndarray:
        """psi within what numbers can hold, (k,)."""
        return np.clip(psi, -_LARGEST, _LARGEST)
