"""-2 ELBO of a Gaussian model as a function of its variance parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from skmixed.families import Gaussian
from skmixed.fit.objective import Derivatives, Point, derivatives_at
from skmixed.fit.steps import EstimatedSteps, ExactSteps
from skmixed.fit.variance_penalty import VariancePenalty
from skmixed.noise import Noise
from skmixed.posteriors import Posterior, PosteriorCovariance, Solved
from skmixed.posteriors.prior import EffectsPrior
from skmixed.solvers.base import SingularSystemError, Solver
from skmixed.sums.cross_products import CrossProducts
from skmixed.sums.standard_units import Units

_STEP = 1e-5
"""Step of differences by a parameter of the noise, a logarithm."""

LEAST_NOISE = 1e-13
"""Part of the response's variance below which the noise is rounding error."""


@dataclass(frozen=True)
class GaussianObjective:
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
    penalty : VariancePenalty or None
        -2 log prior of the standard deviations of effects, which is added.
    """

    solver: Solver
    noise: Noise
    prior: EffectsPrior
    posterior: Posterior
    integrate_fixed: bool
    n_observations: float
    noise_variance: float | None
    penalty: VariancePenalty | None = None

    likelihood: ClassVar[Gaussian] = Gaussian()

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

        It needs no point to start from. If `coarse` without one, this is where a fit starts.
        """
        variances, psi = self.split(theta)
        cross = self.noise.cross_products(psi)
        try:
            scales = self.prior.scales(variances)
            system = self.solver.system(scales, cross, coarse and near is None)
        except SingularSystemError:
            return None
        df, rss = self.degrees_of_freedom, system.penalised_rss
        noise, penalty = self.noise_variance, 0.0
        least = LEAST_NOISE * self.cross.response_squares / self.n_observations
        if noise is None and not rss / df > least:
            return None
        if self.penalty is None:
            noise = rss / df if noise is None else noise
        else:
            squares = self.penalty.squares(self.prior, variances)
            noise = self.penalty.best_noise(squares, rss, df) if noise is None else noise
            penalty = self.penalty.value(noise * squares)
            if not np.isfinite(penalty):
                return None
        solved = Solved(system, self.prior, variances, self.integrate_fixed)
        log_det = self.posterior.log_det(solved)
        deviance = log_det + df * np.log(2.0 * np.pi * noise) + rss / noise
        deviance -= self.noise.log_weights(psi)
        return Point(
            theta, float(deviance + penalty), noise, solved,
            is_coarse=system.is_coarse, penalty=penalty,
        )  # fmt: skip

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
        solved, noise = point.solved, point.noise_variance
        df = self.degrees_of_freedom if self.noise_variance is None else None
        if self.penalty is None:
            return derivatives_at(solved, self.posterior, noise, df, coarse, information)
        found = derivatives_at(solved, self.posterior, noise, None, coarse, information)
        terms = self.penalty.at(self.prior, solved.theta, noise)
        hessian = found.hessian + terms.hessian
        if df is not None:
            # the noise follows theta
            products = solved.system.residual_products
            quadratic = self.prior.gradient(solved.theta, [t.T @ t for t in products]) / noise
            across = quadratic + terms.across
            bend = solved.system.penalised_rss / noise + terms.bend_by_noise
            hessian -= np.outer(across, across) / bend
        return replace(found, gradient=found.gradient + terms.gradient, hessian=hessian)

    @property
    def noise_enters_plainly(self) -> bool:
        """Whether the objective is a function of rss / noise and n log(noise) but for theta."""
        return self.penalty is None and not self.noise.n_parameters

    def bends_by_log_noise(self, point: Point) -> np.ndarray:
        """Second derivatives by theta and the logarithm of the noise, and by that twice, (m + 1,).

        The noise is held, and enters plainly.
        """
        noise, products = point.noise_variance, point.system.residual_products
        across = self.prior.gradient(point.solved.theta, [t.T @ t / noise for t in products])
        return np.append(across, point.system.penalised_rss / noise)

    def by_log_noise(self, point: Point) -> float:
        """Derivative by the logarithm of a noise variance that is held."""
        slope = self.degrees_of_freedom - point.system.penalised_rss / point.noise_variance
        if self.penalty is not None:
            theta = point.solved.theta
            slope += self.penalty.at(self.prior, theta, point.noise_variance).by_noise
        return slope

    def _with_noise(self, point: Point, found: Derivatives) -> np.ndarray:
        """Gradient by all parameters (m + k,), of which the prior's are found."""
        if not self.noise.n_parameters:
            return found.gradient
        by_weight = [
            point.solved.covariance().by_weight(part, point.noise_variance)
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
        """Derivatives whose Hessian estimates the exact one."""
        correction = self.posterior.hessian_correction(
            point.solved, derivatives.average_information
        )
        n = self.prior.n_parameters
        hessian = derivatives.hessian.copy()
        hessian[:n, :n] += correction
        return replace(derivatives, hessian=hessian)

    def steps(self, point: Point) -> ExactSteps:
        """Steps that the objective judges, as far as it is exact."""
        if point.system.is_exact or not self.posterior.needs_determinant:
            return ExactSteps(self)
        return EstimatedSteps(self)

    def posterior_covariance(self, point: Point, joint_limit: int) -> PosteriorCovariance:
        """The covariance of the posterior at a point; see `Posterior.covariance`."""
        return self.posterior.covariance(point.solved, joint_limit)

    def deviance_error(self, point: Point) -> float:
        """Standard error of the log determinant; all else is exact."""
        return point.log_det_error

    def separated(self, point: Point, units: Units) -> tuple[int, ...]:
        """Columns that predict without error: noise leaves none."""
        return ()
