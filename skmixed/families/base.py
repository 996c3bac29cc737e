"""What the engine asks of a response distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np


@dataclass(frozen=True)
class RowTerms:
    """What a row says of its linear predictor eta ~ N(mean, variance).

    Attributes
    ----------
    value : ndarray (n,)
        E[log p(y | eta)], all constants included.
    gradient : ndarray (n,)
        E[d log p / d eta], the derivative of `value` by the mean.
    precision : ndarray (n,)
        -E[d^2 log p / d eta^2], the second one, negated; not negative.
    """

    value: np.ndarray
    gradient: np.ndarray
    precision: np.ndarray


@dataclass(frozen=True)
class ParameterDerivatives:
    """Derivatives of sum_i weight_i E[log p(y_i | eta_i)] by a family's own parameters.

    Attributes
    ----------
    gradient : ndarray (k,)
    hessian : ndarray (k, k)
    """

    gradient: np.ndarray
    hessian: np.ndarray


class Likelihood(Protocol):
    """A response distribution given the linear predictor eta.

    All that the engine knows of a family are expectations under a normal eta
    (Opper and Archambeau 2009, Neural Computation 21): they lead to the best
    Gaussian posterior by steps on a working Gaussian model.

    A family's own `parameters` (a dispersion, thresholds) are points, estimated
    with the variances; as the engine sees them they are unrestricted real numbers.
    """

    name: ClassVar[str]
    """The value of the estimators' ``family`` parameter."""

    aliases: ClassVar[tuple[str, ...]]
    """What the family is called elsewhere; `mixed` takes these names too."""

    links: ClassVar[tuple[str, ...]]
    """Values of ``link`` that the family knows, the default first."""

    is_classifier: ClassVar[bool]
    """Whether responses are numbers of classes, 0 to K - 1."""

    limits: ClassVar[tuple[str, ...]]
    """Families that this one becomes where its dispersion is 0, the end of its range."""

    default_method: ClassVar[str]
    """What the estimators' ``method="auto"`` is: "reml" or "ml"."""

    def refuse_targets(self, y: np.ndarray) -> None:
        """Raise ValueError for responses outside the distribution's support."""
        ...

    def start_parameters(self, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """First values of the own parameters, (k,); empty where there are none."""
        ...

    def start(self, y: np.ndarray, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear predictor and precision that each row alone suggests, (n,) each."""
        ...

    def row_terms(
        self,
        y: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
        parameters: np.ndarray,
        n_threads: int = 1,
    ) -> RowTerms:
        """Expectations under eta ~ N(mean, variance); results do not depend on threads."""
        ...

    def parameter_derivatives(
        self,
        y: np.ndarray,
        weights: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
        parameters: np.ndarray,
        n_threads: int = 1,
    ) -> ParameterDerivatives:
        """By the own parameters, at fixed mean and variance of eta."""
        ...

    def sample(
        self, predictor: np.ndarray, parameters: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """New responses at given linear predictors, (n,)."""
        ...

    def residual_variance(self, log_mean: float, parameters: np.ndarray) -> float:
        """Variance of a response, on the scale of the linear predictor, that it does not explain.

        For a share of explained variance (Nakagawa, Johnson and Schielzeth 2017, Journal
        of the Royal Society Interface 14). `log_mean` is the logarithm of the mean response;
        only families of a logarithmic link look at it.
        """
        ...


class ResponseLikelihood(Likelihood, Protocol):
    """A family of numbers: counts, positive amounts."""

    def mean_moments(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and SD of the mean response, given those of the linear predictor."""
        ...

    def predictive_moments(
        self, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and SD of a new response, given mean and variance of the linear predictor."""
        ...

    def cdf(self, y: np.ndarray, predictor: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """P(response <= y) at given linear predictors; arrays broadcast."""
        ...

    is_discrete: ClassVar[bool]
    """Whether responses are integers."""


class ClassLikelihood(Likelihood, Protocol):
    """A family of classes."""

    def probabilities(
        self, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> np.ndarray:
        """P(class) averaged over the linear predictor's distribution, (n, K)."""
        ...

    def probability_quantiles(
        self, share: float, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> np.ndarray:
        """Quantile of each P(class | eta) under eta ~ N(mean, variance), (n, K)."""
        ...
