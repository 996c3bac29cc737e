"""One variance for all effects of a level, which are independent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from skmixed.covariances.base import LevelCovariance


@dataclass(frozen=True)
class Isotropic(LevelCovariance):
    """Omega = s^2 I; theta is s."""

    name: ClassVar[str] = "isotropic"
    has_sds: ClassVar[bool] = False
    formula_words: ClassVar[tuple[str, ...]] = ("homdiag",)

    @property
    def n_parameters(self) -> int:
        """One standard deviation."""
        return 1

    def scale(self, theta: np.ndarray) -> np.ndarray:
        """s I, (q, q)."""
        return theta[0] * np.eye(self.n_effects)

    def tangents(self, theta: np.ndarray) -> np.ndarray:
        """2 s I, (1, q, q)."""
        return 2.0 * self.scale(theta)[None]

    def second(self, theta: np.ndarray) -> np.ndarray:
        """2 I, (1, 1, q, q)."""
        return 2.0 * np.eye(self.n_effects)[None, None]

    def linear_basis(self) -> np.ndarray:
        """I, (1, q, q)."""
        return np.eye(self.n_effects)[None]

    def nearest(self, omega: np.ndarray) -> np.ndarray:
        """The root of the mean variance, (1,)."""
        return np.sqrt(np.maximum(np.diagonal(omega).mean(keepdims=True), 0.0))
