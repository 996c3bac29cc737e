"""Fit a Gaussian mixed model: the outer loop in numbered steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skmixed.design import Design
from skmixed.inference.identification import (
    confounded,
    remove_unidentified,
    settle_boundary,
    spanned_by_fixed,
)
from skmixed.inference.newton import NewtonState, minimise
from skmixed.inference.objective import Objective
from skmixed.inference.publish import publish, publish_interpolation
from skmixed.inference.result import Doubts, FitResult
from skmixed.inference.rows import RowSums, sum_rows
from skmixed.inference.starting import moment_estimates
from skmixed.linalg.covariance import CovarianceParameters
from skmixed.linalg.crossproducts import CrossProducts
from skmixed.linalg.solvers import make_solver
from skmixed.posteriors import Posterior


@dataclass(frozen=True)
class FitOptions:
    """How to fit.

    Attributes
    ----------
    posterior : Posterior
    integrate_fixed : bool
        True for REML.
    noise_variance : float or None
        None: estimated.
    max_iter : int
    tol : float
    n_threads : int
    solver : {"auto", "direct", "iterative"}
    n_probes : int or "auto"
    seed : int
        Of the random vectors of the iterative solver.
    start : tuple of (list of ndarray, float) or None
        Covariance of every factor and the noise variance to start from.
    report : callable or None
        Called with a `FitResult` maker before every step; a true answer stops.
    """

    posterior: Posterior
    integrate_fixed: bool
    noise_variance: float | None
    max_iter: int
    tol: float
    n_threads: int = 1
    solver: str = "auto"
    n_probes: int | str = "auto"
    seed: int = 0
    start: tuple[list[np.ndarray], float] | None = None
    report: Callable[[int, float, float, Callable[[], FitResult]], bool] | None = None


def fit_gaussian(
    design: Design, response: np.ndarray, case_weights: np.ndarray, options: FitOptions
) -> FitResult:
    """Maximise the ELBO of a Gaussian mixed model.

    Parameters
    ----------
    design : Design
    response : ndarray (n,)
    case_weights : ndarray (n,)
        Weight 2 counts as the row twice; positive.
    options : FitOptions
    """
    # 1. Bring everything to unit scale and let the rows vanish into sums.
    rows = sum_rows(
        design, response, case_weights,
        integrate_fixed=options.integrate_fixed,
        rotates_bases=options.posterior.rotates_bases,
        noise_variance=options.noise_variance,
        n_threads=options.n_threads,
    )  # fmt: skip
    return fit_sums(rows, tuple(factor.n_levels for factor in design.factors), options)


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
    cross = CrossProducts.of(rows.sums)

    # 3. Start from moments, or from where an earlier fit stopped.
    absent = spanned_by_fixed(cross)
    if options.noise_variance is None:
        absent |= {position for position, alone in enumerate(rows.rows_alone) if alone}
    parameters = CovarianceParameters.of(cross.factors, absent)
    noise = None if options.noise_variance is None else options.noise_variance / units.noise
    solver = make_solver(
        options.solver, cross,
        integrate_fixed=options.integrate_fixed,
        needs_determinant=options.posterior.needs_determinant,
        n_probes=options.n_probes, seed=options.seed, n_threads=options.n_threads,
    )  # fmt: skip
    objective = Objective(
        solver, parameters, options.posterior, options.integrate_fixed,
        units.n_observations, noise,
    )  # fmt: skip
    theta = _starting_values(cross, parameters, units, noise, options)

    # 4. Newton steps on the variance parameters; means and noise follow exactly.
    def report(state: NewtonState) -> bool:
        if options.report is None:
            return False
        return options.report(
            state.n_iter,
            units.elbo(state.deviances[-1]),
            state.scaled_gradient,
            lambda: publish(objective, state, units),
        )

    state = minimise(objective, theta, tol=options.tol, max_iter=options.max_iter, report=report)

    # 5. A variance that only rounding keeps from zero is zero, and so is one that
    #    the data know nothing of.
    state = settle_boundary(objective, state)
    state, unidentified = remove_unidentified(objective, state)
    doubts = Doubts(
        tuple(sorted({*unidentified, *absent})),
        confounded(objective, state),
        rows.dependent,
    )

    # 6. Back to the units of the data.
    return publish(objective, state, units, doubts)


def _starting_values(cross, parameters, units, noise, options) -> np.ndarray:
    if options.start is None:
        return moment_estimates(cross, parameters, noise)
    covariances, noise_variance = options.start
    relative = []
    for covariance, basis in zip(covariances, units.bases, strict=True):
        inverse = np.linalg.pinv(basis)
        omega = inverse @ covariance @ inverse.T * (units.weight_scale / noise_variance)
        # from zero there is no way back: lift it to where a step can judge it
        omega = omega + 1e-6 * np.diag(np.diagonal(omega) <= 0)
        relative.append(omega)
    return parameters.from_covariances(relative)
