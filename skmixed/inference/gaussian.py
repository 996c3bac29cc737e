"""Fit a Gaussian mixed model: the outer loop in numbered steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skmixed.design import Design
from skmixed.inference.identification import (
    confounded,
    noise_in_disguise,
    remove_unidentified,
    settle_boundary,
    spanned_by_fixed,
)
from skmixed.inference.newton import NewtonState, minimise
from skmixed.inference.objective import Objective
from skmixed.inference.publish import Units, publish, publish_interpolation
from skmixed.inference.result import Doubts, FitResult
from skmixed.inference.standardise import learn_fixed_transform, transform_basis
from skmixed.inference.starting import moment_estimates
from skmixed.linalg.covariance import CovarianceParameters
from skmixed.linalg.cellsums import FactorShape, accumulate
from skmixed.linalg.crossproducts import CrossProducts
from skmixed.linalg.solvers import make_solver
from skmixed.posteriors import Posterior

_SMALLEST = 1e-140
"""Spread of y whose square, or the square of whose inverse, is still a number."""

_PERFECT = 1e-12
"""Relative size of the least-squares residuals at which nothing is left to model."""


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
    # 1. Bring response, fixed effects and bases to unit scale.
    units, columns, standard_response, weights, transforms = _standardise(
        design, response, case_weights, options
    )
    if standard_response is None:
        return publish_interpolation(design, units)

    # 2. Let the rows vanish into cross-products.
    cross = CrossProducts.of(
        accumulate(
            tuple(factor.codes for factor in design.factors),
            tuple(FactorShape(f.n_levels, len(f.term_names), f.blocks) for f in design.factors),
            tuple(transform.basis for transform in transforms),
            lambda rows: np.column_stack([columns[rows], standard_response[rows]]),
            weights,
            options.n_threads,
        )
    )

    # 3. Start from moments, or from where an earlier fit stopped.
    absent = noise_in_disguise(design, options.noise_variance) | spanned_by_fixed(cross)
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
        tuple(transform.dependent for transform in transforms),
    )

    # 6. Back to the units of the data.
    return publish(objective, state, units, doubts)


def _standardise(design, response, case_weights, options):
    precision = design.precision_weights
    weight_scale = 1.0 if precision is None else float(np.average(precision, weights=case_weights))
    relative = np.ones_like(case_weights) if precision is None else precision / weight_scale
    weights = case_weights * relative
    n_observations = float(case_weights.sum())

    fixed = learn_fixed_transform(design.fixed, design.has_intercept, weights)
    columns = fixed.apply(design.fixed)
    if design.offset is not None:
        response = response - design.offset
    center = float(np.average(response, weights=weights)) if design.has_intercept else 0.0
    rest = response - center
    spread = float(np.abs(rest).max(initial=0.0))
    if not (spread == 0.0 or _SMALLEST < spread < 1.0 / _SMALLEST):
        raise ValueError(
            f"y varies by {spread:.3g}, of which a variance cannot be computed in floating "
            "point; change the unit of y."
        )
    least_squares = np.zeros(columns.shape[1])
    for _ in range(2):
        # the second round takes off what rounding left of the first
        part = _least_squares(columns, rest, weights)
        least_squares += part
        rest = rest - columns @ part
    scale = float(np.sqrt(weights @ rest**2 / weights.sum()))
    df = n_observations - (fixed.rank if options.integrate_fixed else 0)
    size = float(np.abs(response).max(initial=0.0))
    if n_observations <= fixed.rank < len(response):
        raise ValueError(
            f"The case weights sum to {n_observations:g}, no more than there are fixed effects "
            f"({fixed.rank}); sample_weight counts rows: weight 2 is the row twice."
        )
    perfect = (
        n_observations - fixed.rank <= 0 or scale <= _PERFECT * spread or scale <= 1e-15 * size
    )
    standard_response = None
    if not perfect:
        standard_response = rest / scale
    elif options.noise_variance is not None and n_observations > fixed.rank:
        scale = float(np.sqrt(options.noise_variance))
        standard_response = rest / scale
    transforms = [
        transform_basis(factor.basis, factor.blocks, weights, options.posterior.rotates_bases)
        for factor in design.factors
    ]
    units = Units(
        fixed,
        tuple(transform.matrix for transform in transforms),
        least_squares,
        center,
        scale if standard_response is not None else 1.0,
        weight_scale,
        float(case_weights @ np.log(relative)) if precision is not None else 0.0,
        n_observations,
        df,
        options.integrate_fixed,
    )
    return units, columns, standard_response, weights, transforms


def _least_squares(columns, response, weights):
    if not columns.shape[1]:
        return np.zeros(0)
    gram = columns.T @ (columns * weights[:, None])
    return np.linalg.solve(gram, columns.T @ (weights * response))


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
