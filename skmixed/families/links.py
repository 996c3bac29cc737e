"""Distribution functions F that map a linear predictor to a probability."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from skmixed._kernels.normal_links import (
    expected_log_normal_cdf_rows,
    expected_log_normal_interval_rows,
)
from skmixed.families.row_terms import (
    higher_by_differences,
    softplus_expectations,
    softplus_higher,
)


@dataclass(frozen=True)
class IntervalExpectations:
    """E[log(F(upper) - F(lower))] and derivatives by the means of the two ends.

    The ends move together, by the linear predictor, and either may be infinite.

    Attributes
    ----------
    value, by_lower, by_upper : ndarray (n,)
    lower_lower, lower_upper, upper_upper : ndarray (n,)
    precision : ndarray (n,)
        The negated second derivative by a shift of both ends.
    """

    value: np.ndarray
    by_lower: np.ndarray
    by_upper: np.ndarray
    lower_lower: np.ndarray
    lower_upper: np.ndarray
    upper_upper: np.ndarray
    precision: np.ndarray


class Distribution(Protocol):
    """A distribution that is symmetric around zero."""

    variance: float

    pole: float
    """Distance from the real axis up to which F(x) can be continued and is of moderate size."""

    ratio: str
    """What the exponential of a coefficient is."""

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """F(x)."""
        ...

    def quantile(self, probability: np.ndarray) -> np.ndarray:
        """The inverse of F."""
        ...

    def averaged(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """E[F(eta)] under eta ~ N(mean, variance)."""
        ...

    def log_expectations(
        self, mean: np.ndarray, variance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """E[log F(eta)], its derivative by the mean and the negated second one."""
        ...

    def higher_expectations(
        self, mean: np.ndarray, variance: np.ndarray, precision: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The third and fourth derivative of E[log F(eta)]; `precision` is minus the second."""
        ...

    def interval_expectations(
        self, lower: np.ndarray, upper: np.ndarray, variance: np.ndarray
    ) -> IntervalExpectations:
        """Those of log(F(upper) - F(lower)) for ends with these means and this variance."""
        ...


class Logistic:
    """F(x) = 1 / (1 + exp(-x)), so that log F(x) = -log(1 + exp(-x))."""

    variance = math.pi**2 / 3.0
    pole = math.pi
    ratio = "odds ratio"

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """F(x)."""
        return expit(x)

    def quantile(self, probability: np.ndarray) -> np.ndarray:
        """The log odds."""
        return logit(probability)

    def averaged(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """E[F(eta)], the first derivative of the expected softplus."""
        return softplus_expectations(mean, variance)[1]

    def log_expectations(
        self, mean: np.ndarray, variance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """E[log F(eta)], its derivative by the mean and the negated second one."""
        value, first, second = softplus_expectations(-mean, variance)
        return -value, first, second

    def higher_expectations(
        self, mean: np.ndarray, variance: np.ndarray, precision: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The third and fourth derivative of E[log F(eta)]; `precision` is minus the second."""
        third, fourth = softplus_higher(-mean, variance)
        return third, -fourth

    def interval_expectations(
        self, lower: np.ndarray, upper: np.ndarray, variance: np.ndarray
    ) -> IntervalExpectations:
        """F(b) - F(a) = (1 - exp(a - b)) F(b) F(-a), which separates the two ends."""
        at_lower, lower_first, lower_second = softplus_expectations(lower, variance)
        at_upper, upper_first, upper_second = softplus_expectations(-upper, variance)
        width = upper - lower
        odds = np.exp(-width) / -np.expm1(-width)
        bend = odds * (1.0 + odds)
        return IntervalExpectations(
            value=np.log(-np.expm1(-width)) - at_lower - at_upper,
            by_lower=-lower_first - odds,
            by_upper=upper_first + odds,
            lower_lower=-lower_second - bend,
            lower_upper=bend,
            upper_upper=-upper_second - bend,
            precision=lower_second + upper_second,
        )


class Normal:
    """F = Phi, the standard normal distribution function."""

    variance = 1.0
    # the complex zeros of Phi are at a distance of 2.5 and more
    pole = 2.5
    ratio = "exp(coefficient)"

    def cdf(self, x: np.ndarray) -> np.ndarray:
        """F(x)."""
        return ndtr(x)

    def quantile(self, probability: np.ndarray) -> np.ndarray:
        """The inverse of F."""
        return ndtri(probability)

    def averaged(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """E[Phi(eta)] is the probability that eta exceeds another normal variable."""
        return ndtr(mean / np.sqrt(1.0 + variance))

    def log_expectations(
        self, mean: np.ndarray, variance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """E[log F(eta)], its derivative by the mean and the negated second one."""
        value, first, second = np.empty_like(mean), np.empty_like(mean), np.empty_like(mean)
        expected_log_normal_cdf_rows(mean, variance, value, first, second)
        return value, first, second

    def higher_expectations(
        self, mean: np.ndarray, variance: np.ndarray, precision: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The third and fourth derivative of E[log F(eta)]; `precision` is minus the second."""

        def precision_at(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
            return self.log_expectations(mean, variance)[2]

        return higher_by_differences(precision_at, mean, variance, precision)

    def interval_expectations(
        self, lower: np.ndarray, upper: np.ndarray, variance: np.ndarray
    ) -> IntervalExpectations:
        """Those of log(F(upper) - F(lower)) for ends with these means and this variance."""
        columns = np.empty((len(lower), 7))
        expected_log_normal_interval_rows(lower, upper, variance, columns)
        return IntervalExpectations(*columns.T)


LINKS: dict[str, Distribution] = {"logit": Logistic(), "probit": Normal()}
"""The values of a classifier's ``link`` parameter."""
