"""-2 ELBO of a Gaussian model as a function of its variance parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np

from skmixed.families import Gaussian
from skmixed.fit.uncertainty import Uncertainty, of_held_variances
from skmixed.noise import Noise
from skmixed.posteriors import Posterior, PosteriorCovariance, Solved
from skmixed.posteriors.prior import EffectsPrior
from skmixed.solvers.base import SingularSystemError, Solver, System
from skmixed.sums.cross_products import CrossProducts
from skmixed.sums.standard_units import Units

_STEP = 1e-5
"""Step of differences by a parameter of the noise, a logarithm."""

LEAST_NOISE = 1e-13
"""Part of the response's variance below which the noise is rounding error."""


@dataclass(frozen=True)
class Point:
    """The objective at one theta."""

    theta: np.ndarray
    deviance: float
    noise_variance: float
    system: System
    distance: float = 0.0
    """How far the posterior is from the best one at theta, in standard deviations."""
    is_coarse: bool = False
    """Whether the deviance has six digits only."""
    rounding: float = 0.0
    """Error of the deviance beyond that of its own digits."""

    @property
    def is_estimated(self) -> bool:
        """Whether random vectors had a say in the deviance."""
        return bool(self.system.log_det_samples.any())

    @property
    def log_det_error(self) -> float:
        """Standard error of the log determinant in the deviance; 0 where it is exact."""
        return _standard_error(self.system.log_det_samples)

    def doubt(self, other: Point) -> float:
        """Standard error of the difference of the two deviances; 0 where they are exact.

        Both come from the same random vectors, so the difference of what each of
        them says varies much less than the deviances do.
        """
        return _standard_error(self.system.log_det_samples - other.system.log_det_samples)


def _standard_error(samples: np.ndarray) -> float:
    """Of their mean; 0 where there are too few to tell."""
    return float(samples.std(ddof=1) / np.sqrt(len(samples))) if len(samples) > 1 else 0.0


@dataclass(frozen=True)
class Derivatives:
    """Gradient and Hessian of the objective by theta at a `Point`.

    `average_information` is f_i' P f_j / noise.
    """

    gradient: np.ndarray
    hessian: np.ndarray
    average_information: np.ndarray


class OuterObjective(Protocol):
    """What the outer loop asks of -2 ELBO as a function of theta."""

    @property
    def prior(self) -> EffectsPrior:
        """The covariance of the random effects as a function of theta."""
        ...

    @property
    def likelihood(self) -> Any:
        """The response distribution."""
        ...

    @property
    def is_exact_at_once(self) -> bool:
        """Whether a point is the best posterior at its theta, or a step towards it."""
        ...

    @property
    def n_remembered(self) -> int:
        """Points that `accelerated` extrapolates from."""
        ...

    def canonical(self, theta: np.ndarray) -> np.ndarray:
        """The equivalent theta with nonnegative diagonals, inside its bounds."""
        ...

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entries of all T, and the likelihood's own parameters."""
        ...

    def at(
        self, theta: np.ndarray, near: Point | None = None, coarse: bool = False
    ) -> Point | None:
        """The objective at `theta`, started from a near point; None where it is not finite."""
        ...

    def derivatives(
        self, point: Any, coarse: bool = False, information: np.ndarray | None = None
    ) -> Derivatives:
        """Gradient and Hessian at a point."""
        ...

    def with_better_hessian(self, point: Any, derivatives: Derivatives) -> Derivatives:
        """The same derivatives with an estimate of the exact Hessian."""
        ...

    def accelerated(
        self, trail: list[Any], metric: np.ndarray, coarse: bool, judge: bool
    ) -> Point | None:
        """A point extrapolated from the last ones, where steps converge linearly."""
        ...

    def posterior_covariance(self, point: Any, joint_limit: int) -> PosteriorCovariance:
        """The covariance of the posterior at a point."""
        ...

    def uncertainty(self, point: Any, posterior_fixed: np.ndarray) -> Uncertainty:
        """The covariance of the coefficients, and what it adds to that of all effects."""
        ...

    def deviance_error(self, point: Any) -> float:
        """Root mean square error of the objective at a point; 0 where it is exact."""
        ...

    def runs_away(self, point: Any) -> bool:
        """Whether coefficients grow without bound, so that there is no optimum."""
        ...

    def separated(self, point: Any, units: Units) -> tuple[int, ...]:
        """Fixed-effect columns that predict a part of the responses without error."""
        ...


@dataclass(frozen=True)
class Objective:
    """-2 ELBO, the noise variance profiled out unless it is given.

    Attributes
    ----------
    solver : Solver
    noise : Noise
    prior : EffectsPrior
    posterior : Posterior
    integrate_fixed : bool
        True for REML: the fixed effects have a posterior under a flat prior.
    n_observations : float
        Sum of the case weights.
    noise_variance : float or None
        Held there when given.
    """

    solver: Solver
    noise: Noise
    prior: EffectsPrior
    posterior: Posterior
    integrate_fixed: bool
    n_observations: float
    noise_variance: float | None

    likelihood: ClassVar[Gaussian] = Gaussian()
    is_exact_at_once: ClassVar[bool] = True
    n_remembered: ClassVar[int] = 1

    @property
    def cross(self) -> CrossProducts:
        """The data with noise of one variance."""
        return self.solver.cross

    @property
    def degrees_of_freedom(self) -> float:
        """n, or n less the fixed effects where they are integrated out."""
        return self.n_observations - (self.cross.n_fixed if self.integrate_fixed else 0)

    def canonical(self, theta: np.ndarray) -> np.ndarray:
        """The equivalent theta with nonnegative diagonals."""
        variances, psi = self.split(theta)
        return np.concatenate([self.prior.canonical(variances), self.noise.canonical(psi)])

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The parameters of the prior, and those of the noise."""
        n = self.prior.n_parameters
        return theta[:n], theta[n:]

    def at(
        self, theta: np.ndarray, near: Point | None = None, coarse: bool = False
    ) -> Point | None:
        """The objective at `theta`; None where it cannot be computed.

        It is exact, and needs neither a point to start from nor fewer digits.
        """
        variances, psi = self.split(theta)
        cross = self.noise.cross_products(psi)
        try:
            system = self.solver.system(self.prior.scales(variances), cross)
        except SingularSystemError:
            return None
        df, rss = self.degrees_of_freedom, system.penalised_rss
        noise = self.noise_variance
        if noise is None:
            noise = rss / df
            if not noise > LEAST_NOISE * self.cross.response_squares / self.n_observations:
                return None
        log_det = self.posterior.log_det(self._solved(system, theta))
        deviance = log_det + df * np.log(2.0 * np.pi * noise) + rss / noise
        deviance -= self.noise.log_weights(psi)
        return Point(theta, float(deviance), noise, system)

    def derivatives(
        self, point: Point, coarse: bool = False, information: np.ndarray | None = None
    ) -> Derivatives:
        """Exact (or, if `coarse`, six-digit) gradient and average-information Hessian.

        `information` saves its computation where that of a near point will do.
        """
        found = self._by_prior(point, coarse, information)
        if not self.noise.n_parameters:
            return found
        gradient = self._with_noise(point, found)
        return replace(found, gradient=gradient, hessian=self._hessian(point, found, gradient))

    def gradient(self, point: Point) -> np.ndarray:
        """The exact gradient alone."""
        n = self.prior.n_parameters
        # the information only enters the Hessian
        return self._with_noise(point, self._by_prior(point, False, np.zeros((n, n))))

    def _by_prior(self, point: Point, coarse: bool, information: np.ndarray | None) -> Derivatives:
        """Derivatives by the parameters of the prior."""
        df = self.degrees_of_freedom if self.noise_variance is None else None
        at = self._solved(point.system, point.theta)
        return derivatives_at(at, self.posterior, point.noise_variance, df, coarse, information)

    def _with_noise(self, point: Point, found: Derivatives) -> np.ndarray:
        """Gradient by all parameters (m + k,), of which the prior's are found."""
        if not self.noise.n_parameters:
            return found.gradient
        by_weight = [
            point.system.by_weight(part, self.integrate_fixed, point.noise_variance)
            for part in self.noise.parts
        ]
        psi = self.split(point.theta)[1]
        return np.append(found.gradient, self.noise.gradient(psi, np.array(by_weight)))

    def _hessian(self, point: Point, found: Derivatives, gradient: np.ndarray) -> np.ndarray:
        """Hessian by all parameters; what concerns the noise's by differences of the gradient."""
        n, size = self.prior.n_parameters, len(gradient)
        hessian = np.zeros((size, size))
        hessian[:n, :n] = found.hessian
        for j in range(n, size):
            theta = point.theta.copy()
            theta[j] += _STEP
            beside = self.at(theta)
            if beside is None:
                raise SingularSystemError("the model is singular next to a point of the fit")
            hessian[j] = (self.gradient(beside) - gradient) / _STEP
            hessian[:n, j] = hessian[j, :n]
        hessian[n:, n:] = 0.5 * (hessian[n:, n:] + hessian[n:, n:].T)
        return hessian

    def with_better_hessian(self, point: Point, derivatives: Derivatives) -> Derivatives:
        """The same derivatives with an estimate of the exact Hessian."""
        correction = self.posterior.hessian_correction(
            self._solved(point.system, point.theta), derivatives.average_information
        )
        n = self.prior.n_parameters
        hessian = derivatives.hessian.copy()
        hessian[:n, :n] += correction
        return replace(derivatives, hessian=hessian)

    def accelerated(
        self, trail: list[Any], metric: np.ndarray, coarse: bool, judge: bool
    ) -> Point | None:
        """Nothing: Newton steps on an exact objective need no help."""
        return None

    def posterior_covariance(self, point: Point, joint_limit: int) -> PosteriorCovariance:
        """The covariance of the posterior at a point; see `Posterior.covariance`."""
        return self.posterior.covariance(self._solved(point.system, point.theta), joint_limit)

    def uncertainty(self, point: Point, posterior_fixed: np.ndarray) -> Uncertainty:
        """That of the coefficients at the variances found."""
        return of_held_variances(point.system, posterior_fixed, self.integrate_fixed)

    def deviance_error(self, point: Point) -> float:
        """That of the log determinant; all else is exact."""
        return point.log_det_error

    def runs_away(self, point: Point) -> bool:
        """They do not: noise keeps them."""
        return False

    def separated(self, point: Point, units: Units) -> tuple[int, ...]:
        """Columns that predict without error: noise leaves none."""
        return ()

    def _solved(self, system: System, theta: np.ndarray) -> Solved:
        return Solved(system, self.prior, self.split(theta)[0], self.integrate_fixed)


def derivatives_at(
    at: Solved,
    posterior: Posterior,
    noise_variance: float,
    degrees_of_freedom: float | None,
    coarse: bool,
    information: np.ndarray | None,
) -> Derivatives:
    """Derivatives of -2 ELBO of a Gaussian model by theta.

    With t = Z' V^-1 (y - X beta) the quadratic part of the objective has
    the derivative -t t' / noise by Omega and the second derivative
    2 f_i' P f_j / noise, f_j = Z dOmega_j t. Profiling the noise out takes
    the outer product of its gradient over the degrees of freedom off.

    Parameters
    ----------
    at : Solved
    posterior : Posterior
    noise_variance : float
    degrees_of_freedom : float or None
        None where the noise is held.
    coarse : bool
        Whether six digits suffice.
    information : ndarray or None
        f_i' P f_j / noise, where that of a near point will do.
    """
    products = at.system.residual_products
    quadratic = [-(t.T @ t) / noise_variance for t in products]
    if not at.prior.n_parameters:
        information = np.zeros((0, 0))
    elif information is None:
        directions = [
            (factor, products[factor.position] @ tangent)
            for factor, tangent in at.prior.tangents(at.theta)
        ]
        information = at.system.projected_gram(directions) / noise_variance
    gradient = at.prior.gradient(at.theta, quadratic)
    hessian = at.prior.curvature(at.theta, quadratic) + 2.0 * information
    if degrees_of_freedom is not None:
        hessian -= np.outer(gradient, gradient) / degrees_of_freedom
    log_det_gradient, log_det_hessian = posterior.log_det_derivatives(at, information, coarse)
    return Derivatives(
        gradient + log_det_gradient,
        hessian + log_det_hessian,
        information,
    )
