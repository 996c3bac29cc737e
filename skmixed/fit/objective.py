"""Points of -2 ELBO as a function of the variance parameters, and its derivatives there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from skmixed.posteriors import Posterior, Solved
from skmixed.solvers.base import System
from skmixed.solvers.controls import standard_error


@dataclass(frozen=True)
class Point:
    """The objective at one theta."""

    theta: np.ndarray
    deviance: float
    noise_variance: float
    solved: Solved
    distance: float = 0.0
    """Distance of the posterior from the best one at theta, in standard deviations."""
    is_coarse: bool = False
    """Whether the deviance has six digits only."""
    rounding: float = 0.0
    """Error of the deviance beyond that of its own digits."""
    penalty: float = 0.0
    """-2 log prior of the variances in the deviance."""

    @property
    def system(self) -> System:
        """The mixed-model equations at theta."""
        return self.solved.system

    @property
    def is_estimated(self) -> bool:
        """Whether random vectors had a say in the deviance."""
        return bool(self.system.log_det_samples.any())

    @property
    def log_det_error(self) -> float:
        """Standard error of the log determinant in the deviance; 0 where it is exact."""
        return self.system.log_det_error

    def without_equations(self) -> Point:
        """This point for a trail, which needs no matrices: those of its system are let go."""
        return replace(self, solved=cast(Solved, None))

    def doubt(self, other: Point) -> float:
        """Standard error of the difference of the two deviances; 0 where they are exact.

        Both come from the same random vectors, so the difference of what each of
        them says varies much less than the deviances do.
        """
        return standard_error(self.system.log_det_samples - other.system.log_det_samples)


@dataclass(frozen=True)
class Derivatives:
    """Gradient and Hessian of the objective by theta at a `Point`.

    `average_information` is f_i' P f_j / noise.
    """

    gradient: np.ndarray
    hessian: np.ndarray
    average_information: np.ndarray


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
            (factor, products[factor.position] @ tangent) for factor, tangent in at.tangents
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
