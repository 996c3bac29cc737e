"""Fit a Gaussian mixed model: rows become sums, and sums an exact objective."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skmixed.design import Design
from skmixed.fit.gaussian_objective import GaussianObjective
from skmixed.fit.identification import spanned_by_fixed
from skmixed.fit.objective import Point
from skmixed.fit.outer import FitOptions, iterate
from skmixed.fit.publish import publish_interpolation
from skmixed.fit.result import FitResult
from skmixed.fit.starting import moment_estimates
from skmixed.fit.uncertainty import Uncertainty, of_held_variances
from skmixed.noise import NOISES
from skmixed.solvers.choice import make_solver
from skmixed.sums.cross_products import CrossProducts
from skmixed.sums.row_sums import RowSums, sum_rows

_LOST_NOISE = 1e-10
"""Noise variance, over that of the response, which a fit that cannot end has lost."""

_HELD_NOISE = 1e-6
"""The same, at which variances are those of no noise to six digits, and rounding is no obstacle."""


def fit_gaussian(
    design: Design, response: np.ndarray, case_weights: np.ndarray, options: FitOptions
) -> tuple[FitResult, RowSums]:
    """Maximise the ELBO of a Gaussian mixed model; return the fit and the sums it was made of.

    Parameters
    ----------
    design : Design
    response : ndarray (n,)
    case_weights : ndarray (n,)
        Weight 2 counts as the row twice; positive.
    options : FitOptions
    """
    # 1. Bring everything to unit scale and let the rows vanish into sums.
    rows = sums_of(design, response, case_weights, options)
    return fit_sums(rows, tuple(factor.n_levels for factor in design.factors), options), rows


def sums_of(
    design: Design, response: np.ndarray, case_weights: np.ndarray, options: FitOptions
) -> RowSums:
    """The sums over rows that a fit with these options needs; arguments as `fit_gaussian`."""
    return sum_rows(
        design, response, case_weights,
        integrate_fixed=options.integrate_fixed,
        basis_may=options.basis_may(design.factors),
        noise_variance=options.noise_variance,
        n_threads=options.n_threads,
    )  # fmt: skip


def fit_sums(rows: RowSums, n_levels: tuple[int, ...], options: FitOptions) -> FitResult:
    """Maximise the ELBO given the sums over rows.

    Parameters
    ----------
    rows : RowSums
    n_levels : tuple of int
        Levels of every factor.
    options : FitOptions
    """
    units = rows.units
    if rows.sums is None:
        return publish_interpolation(n_levels, units)

    # 2. Arrange the sums around the factor to eliminate.
    objective, absent = gaussian_objective(rows, options)

    return maximise(objective, absent, rows, options)


def maximise(
    objective: GaussianObjective,
    absent: frozenset[int],
    rows: RowSums,
    options: FitOptions,
    theta: np.ndarray | None = None,
) -> FitResult:
    """Maximise an ELBO; arguments as `gaussian_objective` takes and returns them.

    The parameters of the prior start at `theta` where it is given.
    """
    units = rows.units
    # 3. Start from moments, or from where an earlier fit stopped.
    if theta is None:
        theta = moment_estimates(
            objective.cross, objective.prior, objective.noise_variance, objective.n_observations
        )
        if options.start is not None:
            theta = options.start.theta_to_leave(objective.prior, units, theta)
    theta = np.concatenate([theta, objective.noise.start()])

    # 4. Iterate; means and noise follow exactly.
    result = iterate(objective, theta, units, options, absent, rows.dependent, judge_held)
    spread = objective.noise.mean_variance(result.parameters)
    result = replace(result, residual_variance=result.residual_variance * spread)
    size = objective.cross.response_squares / units.n_observations
    lost = objective.noise_variance is None and not result.converged
    if lost and result.noise_variance < _LOST_NOISE * size * units.noise:
        return _without_noise(objective, _HELD_NOISE * size, rows, options, absent)
    return result


def _without_noise(
    objective: GaussianObjective,
    noise: float,
    rows: RowSums,
    options: FitOptions,
    absent: frozenset[int],
) -> FitResult:
    """The fit of a response that random effects reproduce: the limit as the noise goes to 0.

    The likelihood has no maximum: it grows without bound as the noise vanishes, whatever the
    variances. Along its profile they stay in proportion to the noise, and so too small by the
    ratio of rows to levels. Given a noise next to 0 they have a maximum of their own, which
    hardly depends on that noise.

    Parameters
    ----------
    objective : GaussianObjective
        Whose noise is estimated.
    noise : float
        Where to hold it, in standard units.
    rows, options, absent
        As for the fit.
    """
    held = replace(objective, noise_variance=noise)
    theta = moment_estimates(held.cross, held.prior, noise, held.n_observations)
    theta = np.concatenate([theta, held.noise.start()])
    result = iterate(held, theta, rows.units, options, absent, rows.dependent, judge_held)
    return replace(
        result,
        noise_variance=0.0,
        residual_variance=0.0,
        elbo=np.inf,
        elbo_std=0.0,
        elbo_path=np.full(len(result.elbo_path), np.inf),
        interpolates=True,
    )


def judge_held(
    objective: GaussianObjective, point: Point, posterior_fixed: np.ndarray
) -> Uncertainty:
    """The uncertainty of the coefficients at the variances found."""
    return of_held_variances(point.system, posterior_fixed, objective.integrate_fixed)


def gaussian_objective(
    rows: RowSums, options: FitOptions
) -> tuple[GaussianObjective, frozenset[int]]:
    """-2 ELBO given the sums over rows, and the factors without a variance of their own.

    Parameters
    ----------
    rows : RowSums
        That have sums: the fixed effects do not reproduce the response.
    options : FitOptions
    """
    if rows.sums is None:
        raise ValueError("The fixed effects reproduce the response: there is no objective.")
    cross, units = CrossProducts.of(rows.sums, options.related), rows.units
    absent = spanned_by_fixed(cross)
    if options.noise_variance is None:
        absent |= {position for position, alone in enumerate(rows.rows_alone) if alone}
        absent -= options.related
    prior = options.prior(cross, absent)
    held = None if options.noise_variance is None else options.noise_variance / units.noise
    solver = make_solver(cross, options.solver_options)
    noise = NOISES[options.noise].of(
        cross, tuple(map(cross.refilled, rows.strata.sums)), rows.strata.n_rows
    )
    return GaussianObjective(
        solver, noise, prior, options.posterior,
        options.integrate_fixed, units.n_observations, held,
        options.penalty(prior, units, rows.scales),
    ), absent  # fmt: skip
