"""Positive amounts with a gamma distribution."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import gammainc, polygamma

from skmixed._kernels.densities import GAMMA
from skmixed.families.base import (
    LogLinkLikelihood,
    ParameterDerivatives,
    ResponseRows,
    RowFunction,
)
from skmixed.families.density import RowDensity
from skmixed.families.row_terms import (
    bounded_exp,
    by_parts,
    refuse_rows,
    start_size,
    weighted_moments,
)
from skmixed.families.stirling import digamma_excess, log_gamma_excess, trigamma_excess


@dataclass(frozen=True)
class Gamma(LogLinkLikelihood):
    """Mean exp(eta), variance mean^2 / shape; the own parameter is log(shape).

    log p(y | eta) = shape (log shape + log y - eta - y exp(-eta)) - lgamma(shape) - log y,
    and E[exp(-eta)] = exp(-mean + variance / 2).
    """

    name: ClassVar[str] = "gamma"
    raw_label: ClassVar[str | None] = "log(mean of observed / expected) of a level"

    link: str = "log"

    def refuse_targets(self, y: np.ndarray) -> None:
        """Raise ValueError unless all responses are positive and finite."""
        refuse_rows(
            y,
            np.isfinite(y) & (y > 0),
            "family='gamma' needs positive amounts",
            "leave such rows out, or choose family='gaussian' for any number "
            "or family='poisson' for counts",
        )

    def start_parameters(self, rows: ResponseRows) -> np.ndarray:
        """The logarithm of the shape that all responses together have, by moments."""
        mean, variance = weighted_moments(rows.y, rows.weights)
        return start_size(mean**2, variance)

    def start(self, rows: ResponseRows, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log y, with the shape as precision."""
        return np.log(rows.y), np.full(len(rows.y), math.exp(parameters[0]))

    def row_function(self, parameters: np.ndarray) -> RowFunction:
        """Expectations under eta ~ N(mean, variance); a ratio that overflows has value -inf."""
        shape = np.exp(parameters[0])
        constant = 0.5 * np.log(shape / (2.0 * np.pi)) - log_gamma_excess(shape)

        def terms(
            y: np.ndarray, mean: np.ndarray, variance: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            log_y, distance, ratio = _ratio(y, mean, variance)
            value = constant - log_y + shape * (distance + (1.0 - ratio))
            return value, shape * (ratio - 1.0), shape * ratio

        return terms

    def higher_derivatives(
        self,
        rows: ResponseRows,
        mean: np.ndarray,
        variance: np.ndarray,
        precision: np.ndarray,
        parameters: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of y exp(-eta) are equal but for their signs, which alternate."""
        return precision, -precision

    def parameter_derivatives(
        self, rows: ResponseRows, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> ParameterDerivatives:
        """By the logarithm of the shape, at fixed mean and variance of eta."""

        def deviances(
            y: np.ndarray, mean: np.ndarray, variance: np.ndarray
        ) -> tuple[np.ndarray, ...]:
            _, distance, ratio = _ratio(y, mean, variance)
            return (distance + (1.0 - ratio),)

        (deviance,) = by_parts(deviances, (rows.y, mean, variance), 1, rows.n_threads)
        shape = np.exp(parameters[0])
        total = np.sum(np.broadcast_to(rows.weights, rows.y.shape))
        gradient = shape * (rows.weights @ deviance - total * digamma_excess(shape))
        hessian = gradient - total * shape**2 * trigamma_excess(shape)
        return ParameterDerivatives(np.array([gradient]), np.array([[hessian]]))

    def density(self, rows: ResponseRows, parameters: np.ndarray) -> RowDensity:
        """Of log y, whose ratio to the mean is exp(log y - eta)."""
        log_y, shape = np.log(rows.y), np.exp(parameters[0])
        weights = np.broadcast_to(rows.weights, log_y.shape)
        total = weights.sum()
        value = total * (0.5 * np.log(shape / (2.0 * np.pi)) - log_gamma_excess(shape))
        once = -total * shape * digamma_excess(shape)
        twice = once - total * shape**2 * trigamma_excess(shape)
        sums = np.array([value - weights @ log_y, once, twice])
        return RowDensity.with_log_size(GAMMA, 0.5 * np.pi, log_y, parameters[0], sums)

    def cdf(self, y: np.ndarray, predictor: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """P(response <= y) at given linear predictors; arrays broadcast."""
        shape = np.exp(parameters[0])
        return gammainc(shape, shape * np.maximum(y, 0.0) * bounded_exp(-predictor))

    def raw_effects(
        self,
        y: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
        sums: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """log of the mean of y E[exp(-eta)]: the likelihood's maximum."""
        return np.log(sums(y * np.exp(0.5 * variance - mean)) / sums(np.ones(len(y))))

    def residual_variance(self, log_mean: float, parameters: np.ndarray) -> float:
        """trigamma(shape), which is the variance of log y given eta."""
        return float(polygamma(1, np.exp(parameters[0])))

    def sample(
        self, predictor: np.ndarray, parameters: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """New responses at given linear predictors."""
        shape = np.exp(parameters[0])
        return rng.gamma(shape, bounded_exp(predictor) / shape)


def _ratio(
    y: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log y, log y - mean and E[y exp(-eta)]."""
    log_y = np.log(y)
    distance = log_y - mean
    with np.errstate(over="ignore"):
        return log_y, distance, np.exp(distance + 0.5 * variance)
