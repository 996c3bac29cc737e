"""Normal responses with an identity link."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np


@dataclass(frozen=True)
class Gaussian:
    """y = linear predictor + noise.

    Its row terms are quadratic in the linear predictor, so one solve is exact
    and the inference works on cross-products instead of rows: there are none here.
    """

    name: ClassVar[str] = "gaussian"
    aliases: ClassVar[tuple[str, ...]] = ("normal", "norm")
    links: ClassVar[tuple[str, ...]] = ("identity",)
    is_classifier: ClassVar[bool] = False
    limits: ClassVar[tuple[str, ...]] = ()
    default_method: ClassVar[str] = "reml"
    is_discrete: ClassVar[bool] = False

    @staticmethod
    def refuse_targets(y: np.ndarray) -> None:
        """Any number can be normal."""

    @staticmethod
    def mean_moments(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and SD of the linear predictor, which is the mean of a response."""
        return mean, np.sqrt(variance)

    @staticmethod
    def predictive_moments(
        mean: np.ndarray, variance: np.ndarray, noise_variance: np.ndarray | float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and SD of a new response, given mean and variance of the linear predictor."""
        return mean, np.sqrt(variance + noise_variance)

    @staticmethod
    def residual_variance(log_mean: float, noise_variance: float) -> float:
        """That of the noise."""
        return noise_variance

    @staticmethod
    def sample(
        predictor: np.ndarray, noise_variance: np.ndarray | float, rng: np.random.Generator
    ) -> np.ndarray:
        """New responses at given linear predictors."""
        return predictor + np.sqrt(noise_variance) * rng.standard_normal(predictor.shape)
