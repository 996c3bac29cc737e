"""Normal responses with an identity link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from scipy.special import ndtr

from skmixed.families.base import (
    ParameterDerivatives,
    ResponseLikelihood,
    ResponseRows,
    RowFunction,
)
from skmixed.families.row_terms import weighted_moments


@dataclass(frozen=True)
class Gaussian(ResponseLikelihood):
    """y = linear predictor + noise; the parameter is the noise variance, (1,) or (n,) by row.

    The exact fit from sums over rows estimates the noise variance itself; what asks row by row
    is given it.
    """

    name: ClassVar[str] = "gaussian"
    aliases: ClassVar[tuple[str, ...]] = ("normal", "norm")
    links: ClassVar[tuple[str, ...]] = ("identity",)
    link: ClassVar[str] = "identity"  # type: ignore[misc]
    is_quadratic: ClassVar[bool] = True
    has_noise: ClassVar[bool] = True
    default_method: ClassVar[str] = "reml"
    raw_label: ClassVar[str | None] = "raw mean of a level"

    def start_parameters(self, rows: ResponseRows) -> np.ndarray:
        """The variance of all responses."""
        return np.array([weighted_moments(rows.y, rows.weights)[1]])

    def start(self, rows: ResponseRows, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The response itself, and the precision of the noise."""
        return rows.y, np.ones(len(rows.y)) / parameters

    def row_function(self, parameters: np.ndarray) -> RowFunction:
        """Expectations of a quadratic log density, for one noise variance."""
        noise = parameters[0]

        def terms(
            y: np.ndarray, mean: np.ndarray, variance: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            residual = y - mean
            value = -0.5 * (np.log(2.0 * np.pi * noise) + (residual**2 + variance) / noise)
            return value, residual / noise, np.full(len(y), 1.0 / noise)

        return terms

    def parameter_derivatives(
        self, rows: ResponseRows, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> ParameterDerivatives:
        """Derivatives by the noise variance, at fixed mean and variance of eta."""
        noise, weights = parameters[0], np.broadcast_to(rows.weights, rows.y.shape)
        total = weights.sum()
        ratio = weights @ ((rows.y - mean) ** 2 + variance) / noise
        gradient, hessian = 0.5 * (ratio - total) / noise, (0.5 * total - ratio) / noise**2
        return ParameterDerivatives(np.array([gradient]), np.array([[hessian]]))

    def mean_moments(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and SD of the linear predictor, which is the mean of a response."""
        return mean, np.sqrt(variance)

    def predictive_moments(
        self, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and SD of a new response, given mean and variance of the linear predictor."""
        return mean, np.sqrt(variance + parameters)

    def cdf(self, y: np.ndarray, predictor: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """P(response <= y) at given linear predictors; arrays broadcast."""
        return ndtr((y - predictor) / np.sqrt(parameters))

    def residual_variance(self, log_mean: float, parameters: np.ndarray) -> float:
        """The noise variance."""
        return float(parameters[0])

    def published(self, parameters: np.ndarray, intercept: float) -> dict[str, Any]:
        """The noise variance."""
        return {"noise_variance": float(parameters[0])}

    def raw_effects(
        self,
        y: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
        sums: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """Mean of y less the linear predictor: least squares for the level alone."""
        return sums(y - mean) / sums(np.ones(len(y)))

    def sample(
        self, predictor: np.ndarray, parameters: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """New responses at given linear predictors."""
        return predictor + np.sqrt(parameters) * rng.standard_normal(predictor.shape)
