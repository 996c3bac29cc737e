"""Satterthwaite's degrees of freedom of the fixed effects, from the training data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from skmixed.fit.gaussian_objective import GaussianObjective
from skmixed.fit.uncertainty import inverse_of_rising
from skmixed.results.coefficient_tests import JointTest, independent_parts
from skmixed.results.reopened import ReopenedFit, exact_traces, precision_slope
from skmixed.solvers.base import SingularSystemError

_STEP = 1e-4
"""Relative step of the differences: their error is its square, rounding is divided by it."""

_LEAST_STEP = 1e-5
"""Absolute step, for parameters near zero."""

_SAME_DF = 1e-8
"""Difference of degrees of freedom that counts as none."""


@dataclass(frozen=True)
class VarianceUncertainty:
    """Derivatives of the covariance of the fixed effects by the variance parameters.

    Attributes
    ----------
    covariance : ndarray (p, p)
        Of the coefficients at the estimates, C.
    derivatives : ndarray (m, p, p)
        Of C by every variance parameter.
    parameter_covariance : ndarray (m, m)
        Asymptotic covariance of the variance parameters: 2 over the Hessian of the deviance.
    log_sds : ndarray (c,)
        Logarithms of the standard deviations of all effects, factor by factor, and last that
        of the noise where it is estimated; minus infinity for a variance of 0.
    log_sd_errors : ndarray (c,)
        Their standard errors, by the delta method; NaN for a variance of 0.
    trace_error : float
        0: no traces are estimated for it.
    """

    covariance: np.ndarray
    derivatives: np.ndarray
    parameter_covariance: np.ndarray
    log_sds: np.ndarray
    log_sd_errors: np.ndarray
    trace_error: float = 0.0

    def degrees_of_freedom(self, contrasts: np.ndarray) -> np.ndarray:
        """Satterthwaite's approximation for linear functions of the coefficients.

        The estimated variance q = l' C l of a contrast is taken for a multiple of a
        chi-square variable: 2 q^2 / var(q) are its degrees of freedom, and var(q) follows
        from the delta method (Satterthwaite 1946, Biometrics Bulletin 2; for mixed models
        Fai and Cornelius 1996, Journal of Statistical Computation and Simulation 54;
        Kuznetsova, Brockhoff and Christensen 2017, Journal of Statistical Software 82(13)).

        Parameters
        ----------
        contrasts : ndarray (k, p)

        Returns
        -------
        ndarray (k,)
            Infinite where the variance is known, NaN for a contrast without variance.
        """
        variances = np.einsum("kp,pq,kq->k", contrasts, self.covariance, contrasts)
        gradients = np.einsum("kp,mpq,kq->km", contrasts, self.derivatives, contrasts)
        spread = np.einsum("km,mn,kn->k", gradients, self.parameter_covariance, gradients)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(variances > 0.0, 2.0 * variances**2 / spread, np.nan)

    def joint_test(self, contrasts: np.ndarray, values: np.ndarray) -> JointTest:
        """F test that linear functions of the coefficients are all zero.

        Independent contrasts, from the eigenvectors of their covariance, have a t statistic
        each; the F statistic is the mean of their squares, and its degrees of freedom are
        those of an F variable with the same expectation (Fai and Cornelius 1996; Kuznetsova,
        Brockhoff and Christensen 2017, section 3).

        Parameters
        ----------
        contrasts : ndarray (k, p)
        values : ndarray (k,)
            Their estimates.
        """
        variances, vectors = independent_parts(contrasts @ self.covariance @ contrasts.T)
        df = self.degrees_of_freedom(vectors.T @ contrasts)
        squares = (vectors.T @ values) ** 2 / variances
        return JointTest(float(squares.mean()), len(squares), _common_df(df))


def variance_uncertainty(fit: ReopenedFit) -> VarianceUncertainty:
    """Differentiate the deviance twice, and the covariance once, at the estimates of a fit.

    Notes
    -----
    The parameters are the entries of all T and the logarithm of the noise variance, where
    it is estimated. Under restricted likelihood second derivatives are exact where a dense tail
    allows. Elsewhere they are central differences of gradients, which are exact (with the
    iterative solver: of the sampled objective), with a relative error of about 1e-8.
    """
    place = np.append(fit.theta, np.log(fit.noise)) if fit.noise_is_free else fit.theta
    hessian, changes = _exactly(fit) or _by_differences(fit, place)
    if len(changes) < len(place):
        hessian = np.pad(hessian, (0, 1))
        hessian[-1] = hessian[:, -1] = fit.objective.bends_by_log_noise(fit.point)
        changes = [*changes, fit.noise * fit.point.system.fixed_covariance()]
    p = len(fit.to_centred)
    parameter_covariance = 2.0 * inverse_of_rising(0.5 * (hessian + hessian.T))
    sds, errors = _with_errors(lambda at: _log_sds(fit, at), place, parameter_covariance)
    derivatives = [fit.to_centred @ change @ fit.to_centred.T for change in changes]
    return VarianceUncertainty(
        fit.result.coefficient_covariance,
        np.reshape(derivatives, (len(place), p, p)),
        parameter_covariance,
        sds,
        errors,
    )


def _exactly(fit: ReopenedFit) -> tuple[np.ndarray, list[np.ndarray]] | None:
    """Hessian by the entries of all T, and derivatives of the covariance; None where too costly.

    The Hessian of average information, with the traces that it stands for.
    """
    objective, at = fit.objective, fit.point.solved
    is_plain = objective.noise_enters_plainly and objective.posterior.needs_determinant
    if not is_plain or not objective.integrate_fixed:
        return None
    traces = exact_traces(fit, at.tangents)
    if traces is None:
        return None
    found = objective.derivatives(fit.point)
    by_effects, plain = at.system.fixed_products(), at.system.fixed_covariance()
    changes = [
        -fit.noise * (plain @ precision_slope(by_effects[factor.position], tangent) @ plain)
        for factor, tangent in at.tangents
    ]
    return found.hessian + found.average_information - traces, changes


def _by_differences(fit: ReopenedFit, place: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The same by the parameters at `place`, but for a noise variance that enters plainly."""
    objective, n_theta = fit.objective, len(fit.theta)
    n = n_theta if objective.noise_enters_plainly else len(place)
    hessian, changes = np.empty((n, n)), []
    for j in range(n):
        step = np.zeros(len(place))
        step[j] = max(_STEP * abs(place[j]), _LEAST_STEP)
        above, below = (_slope(objective, place + sign * step, n_theta) for sign in (1.0, -1.0))
        width = 2.0 * step[j]
        hessian[j] = (above.gradient - below.gradient)[:n] / width
        changes.append((above.covariance - below.covariance) / width)
    return hessian, changes


def _log_sds(fit: ReopenedFit, place: np.ndarray) -> np.ndarray:
    """Logarithms of the standard deviations of all effects and, where it is free, the noise."""
    units, prior = fit.units, fit.objective.prior
    noise = np.exp(place[-1]) if fit.noise_is_free else fit.noise
    unit = noise * units.response_scale**2
    scales = prior.scales(place[: prior.n_parameters])
    variances = unit * units.effect_variances([scale.matrix for scale in scales])
    if fit.noise_is_free:
        variances = np.append(variances, unit * units.weight_scale)
    with np.errstate(divide="ignore"):
        return 0.5 * np.log(variances)


def _common_df(df: np.ndarray) -> float:
    """Degrees of freedom of the mean of squares of independent t variables, (k,)."""
    if np.ptp(df) < _SAME_DF:
        return float(df.mean())
    if (df <= 2.0).any():
        # the expectation of such a square is infinite
        return 2.0
    expectation = float((df / (df - 2.0)).sum())
    return 2.0 * expectation / (expectation - len(df))


def _with_errors(
    function: Callable[[np.ndarray], np.ndarray], place: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values of a function of the parameters, and their standard errors by the delta method."""
    values = function(place)
    slopes = np.zeros((len(values), len(place)))
    for j, value in enumerate(place):
        step = np.zeros(len(place))
        step[j] = max(_STEP * abs(value), _LEAST_STEP)
        with np.errstate(invalid="ignore"):
            slopes[:, j] = (function(place + step) - function(place - step)) / (2.0 * step[j])
    finite = np.isfinite(values)
    errors = np.full(len(values), np.nan)
    slopes = slopes[finite]
    errors[finite] = np.sqrt(np.einsum("cm,mn,cn->c", slopes, covariance, slopes))
    return values, errors


@dataclass(frozen=True)
class _Slope:
    """Gradient of the deviance, and covariance of the fixed effects, at one place."""

    gradient: np.ndarray
    covariance: np.ndarray


def _slope(objective: GaussianObjective, place: np.ndarray, n_theta: int) -> _Slope:
    """At the entries of all T and, where it is free, the logarithm of the noise variance."""
    theta, free = place[:n_theta], len(place) > n_theta
    if free:
        objective = replace(objective, noise_variance=float(np.exp(place[-1])))
    point = objective.at(theta)
    if point is None:
        raise SingularSystemError("the model is singular next to its estimates")
    gradient = objective.gradient(point)
    if free:
        gradient = np.append(gradient, objective.by_log_noise(point))
    return _Slope(gradient, point.noise_variance * point.system.fixed_covariance())
