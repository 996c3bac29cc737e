"""Noise of one variance for all rows, known weights aside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from skmixed.sums.cell_sums import CellSums
from skmixed.sums.cross_products import CrossProducts


@dataclass(frozen=True)
class ConstantNoise:
    """No parameters beside the variance itself.

    Attributes
    ----------
    cross : CrossProducts
        Of all rows.
    """

    cross: CrossProducts

    n_parameters: ClassVar[int] = 0

    @classmethod
    def of(
        cls, cross: CrossProducts, strata: tuple[CrossProducts, ...], n_rows: np.ndarray
    ) -> ConstantNoise:
        """The noise of all rows, of which there are no strata."""
        return cls(cross)

    def with_response(self, cross: CrossProducts, strata: tuple[CellSums, ...]) -> ConstantNoise:
        """The noise of another response."""
        return ConstantNoise(cross)

    @property
    def parts(self) -> tuple[CrossProducts, ...]:
        """None that psi could move."""
        return ()

    def cross_products(self, psi: np.ndarray) -> CrossProducts:
        """Those of all rows."""
        return self.cross

    def log_weights(self, psi: np.ndarray) -> float:
        """Zero."""
        return 0.0

    def gradient(self, psi: np.ndarray, by_weight: np.ndarray) -> np.ndarray:
        """Nothing, (0,)."""
        return psi

    def mean_variance(self, psi: np.ndarray) -> float:
        """One."""
        return 1.0

    def start(self) -> np.ndarray:
        """Nothing, (0,)."""
        return np.empty(0)

    def canonical(self, psi: np.ndarray) -> np.ndarray:
        """Nothing, (0,)."""
        return psi
