"""Distribution functions F that map a linear predictor to a probability."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.special import expit, logit

from skmixed.likelihoods.rows import softplus_expectations


class Distribution(Protocol):
    """A distribution that is symmetric around zero."""

    def quantile(self, probability: float | np.ndarray) -> float | np.ndarray:
        """The inverse of F."""
        ...

    def density(self, x: float | np.ndarray) -> float | np.ndarray:
        """The derivative of F."""
        ...

    def averaged(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """E[F(eta)] under eta ~ N(mean, variance)."""
        ...

    def log_expectations(
        self, mean: np.ndarray, variance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """E[log F(eta)], its derivative by the mean and the negated second one."""
        ...


class Logistic:
    """F(x) = 1 / (1 + exp(-x)), so that log F(x) = -log(1 + exp(-x))."""

    def quantile(self, probability: float | np.ndarray) -> float | np.ndarray:
        """The log odds."""
        return logit(probability)

    def density(self, x: float | np.ndarray) -> float | np.ndarray:
        """The derivative of F."""
        return expit(x) * expit(-np.asarray(x))

    def averaged(self, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        """E[F(eta)], the first derivative of the expected softplus."""
        return softplus_expectations(mean, variance)[1]

    def log_expectations(
        self, mean: np.ndarray, variance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """E[log F(eta)], its derivative by the mean and the negated second one."""
        value, first, second = softplus_expectations(-mean, variance)
        return -value, first, second


BINARY_LINKS: dict[str, Distribution] = {"logit": Logistic()}
"""The values of a classifier's ``link`` parameter."""
