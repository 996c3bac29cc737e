"""What the engine and the tables ask of a response distribution, with defaults."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from skmixed.families.density import RowDensity
from skmixed.families.links import LINKS
from skmixed.families.row_terms import (
    by_count,
    by_parts,
    higher_by_differences,
    log_factorial,
    log_normal_moments,
)

RowFunction = Callable[..., tuple[np.ndarray, ...]]
"""A function of (y, mean, variance), (n,) each, that returns arrays (n,); rows are independent."""


@dataclass(frozen=True)
class ResponseRows:
    """The rows of data as a family sees them; a family that needs more of a row adds a field.

    Attributes
    ----------
    y : ndarray (n,)
        Responses.
    weights : ndarray (n,) or float
        Case weights.
    n_threads : int
        Threads that passes over the rows may use; results do not depend on it.
    """

    y: np.ndarray
    weights: np.ndarray | float = 1.0
    n_threads: int = 1

    @cached_property
    def log_factorials(self) -> np.ndarray:
        """log y! of responses that are counts, (n,)."""
        return by_count(log_factorial, self.y)


@dataclass(frozen=True)
class RowTerms:
    """Expectations of the log density of every row under eta ~ N(mean, variance).

    Attributes
    ----------
    value : ndarray (n,)
        E[log p(y | eta)], all constants included.
    gradient : ndarray (n,)
        E[d log p / d eta], the derivative of `value` by the mean.
    precision : ndarray (n,)
        -E[d^2 log p / d eta^2], the negated second derivative of `value` by the mean.

    Notes
    -----
    Where a density is not log-concave in eta, a precision may be negative, and the family
    returns it as it is. The objective deals with it (`VariationalObjective.working_model`):
    it holds the weights of a working model at `LEAST_PRECISION`, so that every system is
    positive definite. The ELBO of the posterior so found is still computed exactly and still
    is a lower bound; the posterior is the best one only where no weight is held.
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


class Likelihood(ABC):
    """A response distribution given the linear predictor eta.

    The engine asks for expectations under a normal eta, which lead to the best Gaussian
    posterior by steps on a working Gaussian model (Opper and Archambeau 2009, Neural
    Computation 21). A family writes `start`, `row_function`, `residual_variance` and `sample`,
    and what else differs from the defaults here.

    A family's own `parameters` (k,) (a dispersion, thresholds) are points that are estimated
    with the variances, as unrestricted real numbers.
    """

    name: ClassVar[str]
    """The value of the estimators' ``family`` parameter."""

    aliases: ClassVar[tuple[str, ...]] = ()
    """What the family is called elsewhere; `mixed` takes these names too."""

    links: ClassVar[tuple[str, ...]]
    """Values of ``link`` that the family has, the default first."""

    link: str
    """The link."""

    is_classifier: ClassVar[bool] = False
    """Whether responses are numbers of classes, 0 to K - 1."""

    is_ordered: ClassVar[bool] = False
    """Whether the classes have an order, and thresholds that take the place of an intercept."""

    takes_trials: ClassVar[bool] = False
    """Whether a response may be successes and failures, two columns."""

    is_discrete: ClassVar[bool] = False
    """Whether responses are integers."""

    is_quadratic: ClassVar[bool] = False
    """Whether log p(y | eta) is quadratic in eta.

    Then rows vanish into sums over cells, the posterior is normal, and the fit of the full
    posterior is exact. Other families are fitted row by row.
    """

    has_noise: ClassVar[bool] = False
    """Whether rows have a noise variance, which is the only parameter of the family."""

    limits: ClassVar[tuple[str, ...]] = ()
    """Families that this one becomes where its dispersion is 0, the end of its range."""

    default_method: ClassVar[str] = "ml"
    """What the estimators' ``method="auto"`` is: "reml" or "ml"."""

    ratio: str = "exp(coefficient)"
    """What the exponential of a coefficient is."""

    raw_label: ClassVar[str | None] = None
    """What `raw_effects` are called on an axis; None if the family has none."""

    def refuse_targets(self, y: np.ndarray) -> None:  # noqa: B027
        """Raise ValueError for responses outside the distribution's support."""

    def start_parameters(self, rows: ResponseRows) -> np.ndarray:
        """First values of the own parameters, (k,)."""
        return np.empty(0)

    @abstractmethod
    def start(self, rows: ResponseRows, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Linear predictor and precision that each row alone suggests, (n,) each."""

    @abstractmethod
    def row_function(self, parameters: np.ndarray) -> RowFunction:
        """The function of (y, mean, variance) that returns the three arrays of `RowTerms`."""

    def row_terms(
        self, rows: ResponseRows, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> RowTerms:
        """Expectations of every row under eta ~ N(mean, variance)."""
        function = self.row_function(parameters)
        return RowTerms(*by_parts(function, (rows.y, mean, variance), 3, rows.n_threads))

    def higher_derivatives(
        self,
        rows: ResponseRows,
        mean: np.ndarray,
        variance: np.ndarray,
        precision: np.ndarray,
        parameters: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """E[d^3 log p / d eta^3] and E[d^4 log p / d eta^4], (n,) each.

        By differences of precisions, for a family that has no better way.

        Parameters
        ----------
        rows : ResponseRows
        mean, variance : ndarray (n,)
            Of eta.
        precision : ndarray (n,)
            Of `row_terms` there.
        parameters : ndarray (k,)
        """

        def precision_at(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
            return self.row_terms(rows, mean, variance, parameters).precision

        return higher_by_differences(precision_at, mean, variance, precision)

    def parameter_derivatives(
        self, rows: ResponseRows, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> ParameterDerivatives:
        """Derivatives by the own parameters, at fixed mean and variance of eta."""
        return ParameterDerivatives(np.empty(0), np.empty((0, 0)))

    def density(self, rows: ResponseRows, parameters: np.ndarray) -> RowDensity | None:
        """The log density for integrals over random effects; None where kernels have none."""
        return None

    @abstractmethod
    def sample(
        self, predictor: np.ndarray, parameters: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """New responses at given linear predictors, (n,)."""

    @abstractmethod
    def expected_response(
        self, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> np.ndarray:
        """Mean response (n,), given mean and variance of the linear predictor.

        Of classes in order their number from 0: of two classes the probability of the second.
        """

    @abstractmethod
    def residual_variance(self, log_mean: float, parameters: np.ndarray) -> float:
        """Variance of a response, on the scale of the linear predictor, that it does not explain.

        For a share of explained variance (Nakagawa, Johnson and Schielzeth 2017, Journal
        of the Royal Society Interface 14). `log_mean` is the logarithm of the mean response;
        only families of a logarithmic link look at it.
        """

    def published(self, parameters: np.ndarray, intercept: float) -> dict[str, Any]:
        """Numbers that a fit publishes of the own parameters, by name.

        Parameters
        ----------
        parameters : ndarray (k,)
        intercept : float
            The fixed intercept, as the columns of the data have it.
        """
        return {}

    def raw_effects(
        self,
        y: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
        sums: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """Effect of every level that its rows alone suggest, (L,).

        Parameters
        ----------
        y : ndarray (n,)
        mean, variance : ndarray (n,)
            Of the linear predictor without the levels.
        sums : callable
            Weighted sums over the rows of each level, (n,) to (L,).
        """
        raise NotImplementedError

    def includes(self, other: Likelihood) -> bool:
        """Whether `other` is of this family, or of one that this one has as its limit."""
        return other.name in (self.name, *self.limits)

    def is_comparable(self, other: Likelihood) -> bool:
        """Whether log densities of both are of the same kind of response."""
        if self.name == other.name:
            return True
        numbers = not (self.is_classifier or other.is_classifier)
        return numbers and self.is_discrete == other.is_discrete


class ResponseLikelihood(Likelihood):
    """A family of numbers: any, counts, positive amounts."""

    @abstractmethod
    def mean_moments(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and SD of the mean response, given those of the linear predictor."""

    def expected_response(
        self, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> np.ndarray:
        """The mean of `mean_moments`."""
        return self.mean_moments(mean, variance)[0]

    @abstractmethod
    def predictive_moments(
        self, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and SD of a new response, given mean and variance of the linear predictor."""

    @abstractmethod
    def cdf(self, y: np.ndarray, predictor: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """P(response <= y) at given linear predictors; arrays broadcast."""

    def smooth_cdf(
        self, y: np.ndarray, predictor: np.ndarray, parameters: np.ndarray
    ) -> np.ndarray:
        """The same; for counts a smooth function of y > -1 that is equal at integers."""
        return self.cdf(y, predictor, parameters)


class LogLinkLikelihood(ResponseLikelihood):
    """A family whose mean response is exp(eta)."""

    links: ClassVar[tuple[str, ...]] = ("log",)
    ratio = "ratio of means"

    def dispersion(self, parameters: np.ndarray) -> float:
        """What multiplies the squared mean in the variance of a response; 0 without parameters."""
        return float(np.exp(-parameters[0])) if len(parameters) else 0.0

    def published(self, parameters: np.ndarray, intercept: float) -> dict[str, Any]:
        """The dispersion, where it is a parameter."""
        return {"dispersion": self.dispersion(parameters)} if len(parameters) else {}

    def mean_moments(self, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and SD of exp(eta), a log-normal variable."""
        return log_normal_moments(mean, variance)

    def predictive_moments(
        self, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and SD of a new response; counts add the variance of a Poisson distribution."""
        expected, std = log_normal_moments(mean, variance, self.dispersion(parameters))
        return expected, np.hypot(np.sqrt(expected), std) if self.is_discrete else std

    def raw_effects(
        self,
        y: np.ndarray,
        mean: np.ndarray,
        variance: np.ndarray,
        sums: Callable[[np.ndarray], np.ndarray],
    ) -> np.ndarray:
        """log(sum y / sum E[exp(eta)]): for Poisson counts the likelihood's maximum."""
        return np.log(sums(y) / sums(np.exp(mean + 0.5 * variance)))


class ClassLikelihood(Likelihood):
    """A family of classes: a latent variable with a symmetric distribution F about eta."""

    links: ClassVar[tuple[str, ...]] = tuple(LINKS)
    is_classifier: ClassVar[bool] = True

    @property
    def ratio(self) -> str:  # type: ignore[override]
        """What the exponential of a coefficient is, by the link."""
        return LINKS[self.link].ratio

    @abstractmethod
    def probabilities(
        self, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> np.ndarray:
        """P(class) averaged over the linear predictor's distribution, (n, K)."""

    @abstractmethod
    def probability_quantiles(
        self,
        share: float,
        mean: np.ndarray,
        variance: np.ndarray,
        parameters: np.ndarray,
        skewness: np.ndarray | float = 0.0,
    ) -> np.ndarray:
        """Quantile of each P(class | eta) for eta of these moments, (n, K); normal by default."""

    def expected_response(
        self, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> np.ndarray:
        """Mean number of the class, from 0."""
        shares = self.probabilities(mean, variance, parameters)
        return shares @ np.arange(shares.shape[1])

    def residual_variance(self, log_mean: float, parameters: np.ndarray) -> float:
        """Variance of the latent variable, given eta."""
        return LINKS[self.link].variance
