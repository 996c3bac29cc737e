"""Counts with more variance than a Poisson distribution has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import betainc, expit

from skmixed._kernels.densities import NEGATIVE_BINOMIAL
from skmixed.families.base import (
    LogLinkLikelihood,
    ParameterDerivatives,
    ResponseRows,
    RowFunction,
)
from skmixed.families.density import RowDensity
from skmixed.families.row_terms import (
    bounded_exp,
    by_count,
    by_parts,
    draw_counts,
    log_factorial,
    refuse_no_counts,
    softplus_expectations,
    start_size,
    weighted_moments,
)
from skmixed.families.stirling import digamma_excess, log_gamma_excess, trigamma_excess


@dataclass(frozen=True)
class NegativeBinomial(LogLinkLikelihood):
    """Mean mu = exp(eta), variance mu + mu^2 / size; the own parameter is log(size).

    log P(y | eta) = lgamma(y + size) - lgamma(size) - log y! + y (eta - log size)
    - (y + size) log(1 + exp(eta - log size)), so that an expected softplus is all it takes.
    """

    name: ClassVar[str] = "negative_binomial"
    aliases: ClassVar[tuple[str, ...]] = ("nb", "nb2", "negbin", "nbinom", "nbinom2")
    limits: ClassVar[tuple[str, ...]] = ("poisson",)
    is_discrete: ClassVar[bool] = True
    raw_label: ClassVar[str | None] = "log(observed / expected) of a level"

    link: str = "log"

    def refuse_targets(self, y: np.ndarray) -> None:
        """Raise ValueError unless all responses are counts."""
        refuse_no_counts(y, self.name)

    def start_parameters(self, rows: ResponseRows) -> np.ndarray:
        """The logarithm of the size that all responses together have, by moments."""
        mean, variance = weighted_moments(rows.y, rows.weights)
        return start_size(mean**2, variance - mean)

    def start(self, rows: ResponseRows, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log(y + 1/2), which half a count keeps finite, and the information there."""
        count, size = rows.y + 0.5, np.exp(parameters[0])
        return np.log(count), count * (size / (size + count))

    def row_function(self, parameters: np.ndarray) -> RowFunction:
        """Expectations under eta ~ N(mean, variance); results do not depend on threads."""
        log_size = parameters[0]
        size = np.exp(log_size)

        def terms(
            y: np.ndarray, mean: np.ndarray, variance: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            value, first, second = softplus_expectations(mean - log_size, variance)
            constant = by_count(lambda count: _log_constant(count, size), y)
            both = y + size
            return constant + y * mean - both * value, y - both * first, both * second

        return terms

    def parameter_derivatives(
        self, rows: ResponseRows, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> ParameterDerivatives:
        """By the logarithm of the size, at fixed mean and variance of eta."""
        log_size = parameters[0]
        size = np.exp(log_size)

        def derivatives(
            y: np.ndarray, mean: np.ndarray, variance: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray]:
            value, first, second = softplus_expectations(mean - log_size, variance)
            once = by_count(lambda count: _digamma_rise(count, size), y)
            twice = by_count(lambda count: _trigamma_rise(count, size), y)
            both = y + size
            gradient = once - y - size * value + both * first
            return gradient, once + twice - size * value + 2.0 * size * first - both * second

        gradient, hessian = by_parts(derivatives, (rows.y, mean, variance), 2, rows.n_threads)
        weights = rows.weights
        return ParameterDerivatives(np.array([weights @ gradient]), np.array([[weights @ hessian]]))

    def density(self, rows: ResponseRows, parameters: np.ndarray) -> RowDensity:
        """A softplus of the predictor less log(size); of a large size exp(eta), as for Poisson."""
        y, size = rows.y, np.exp(parameters[0])
        once = by_count(lambda count: _digamma_rise(count, size), y)
        twice = by_count(lambda count: _trigamma_rise(count, size), y)
        constants = by_count(lambda count: _log_constant(count, size), y), once - y, once + twice
        sums = np.array([np.sum(rows.weights * of_rows) for of_rows in constants])
        return RowDensity.with_log_size(NEGATIVE_BINOMIAL, 0.5 * np.pi, y, parameters[0], sums)

    def cdf(self, y: np.ndarray, predictor: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """P(response <= y) at given linear predictors; arrays broadcast."""
        y = np.floor(y)
        success = expit(parameters[0] - predictor)
        inside = betainc(np.exp(parameters[0]), np.maximum(y, 0.0) + 1.0, success)
        return np.where(y < 0, 0.0, inside)

    def smooth_cdf(
        self, y: np.ndarray, predictor: np.ndarray, parameters: np.ndarray
    ) -> np.ndarray:
        """The incomplete beta function, for any y above -1."""
        return betainc(np.exp(parameters[0]), y + 1.0, expit(parameters[0] - predictor))

    def residual_variance(self, log_mean: float, parameters: np.ndarray) -> float:
        """ln(1 + 1 / mean + 1 / size): counts taken for log-normal ones."""
        return float(np.logaddexp(np.log1p(self.dispersion(parameters)), -log_mean))

    def sample(
        self, predictor: np.ndarray, parameters: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """New counts at given linear predictors: Poisson ones with gamma rates."""
        size = np.exp(parameters[0])
        return draw_counts(rng.gamma(size, bounded_exp(predictor) / size), rng)


def _log_constant(y: np.ndarray, size: float) -> np.ndarray:
    """lgamma(y + size) - lgamma(size) - y log(size) - log y!."""
    rise = (y + (size - 0.5)) * np.log1p(y / size) - y
    return rise + log_gamma_excess(y + size) - log_gamma_excess(size) - log_factorial(y)


def _digamma_rise(y: np.ndarray, size: float) -> np.ndarray:
    """size (digamma(y + size) - digamma(size))."""
    return size * (np.log1p(y / size) + digamma_excess(y + size) - digamma_excess(size))


def _trigamma_rise(y: np.ndarray, size: float) -> np.ndarray:
    """size^2 (trigamma(y + size) - trigamma(size))."""
    excess = size**2 * (trigamma_excess(y + size) - trigamma_excess(size))
    return excess - y * (size / (y + size))
