"""Fit a Gaussian mixed model: the outer loop in numbered steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from skmixed.design.design import Design
from skmixed.inference.newton import NewtonState, minimise, quadratic_model
from skmixed.inference.objective import Objective
from skmixed.inference.result import Doubts, FactorResult, FitResult
from skmixed.inference.standardise import (
    FixedTransform,
    learn_fixed_transform,
    transform_basis,
)
from skmixed.inference.starting import moment_estimates
from skmixed.linalg.covariance import CovarianceParameters
from skmixed.linalg.crossproducts import accumulate
from skmixed.posteriors import Posterior, PosteriorCovariance

JOINT_LIMIT = 64_000
"""Numbers kept of the covariance between levels; half a megabyte."""

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
    start: tuple[list[np.ndarray], float] | None = None
    report: Callable[[int, float, float, Callable[[], FitResult]], bool] | None = None


@dataclass(frozen=True)
class _Units:
    """How the standardised problem relates to the data."""

    fixed: FixedTransform
    bases: tuple[np.ndarray, ...]
    least_squares: np.ndarray
    response_center: float
    response_scale: float
    weight_scale: float
    log_weights: float
    n_observations: float
    degrees_of_freedom: float
    integrate_fixed: bool

    @property
    def noise(self) -> float:
        """Unit of the noise variance."""
        return self.response_scale**2 * self.weight_scale

    def elbo(self, deviance: float) -> float:
        """ELBO of the data from -2 ELBO of the standardised problem."""
        deviance = deviance + 2.0 * self.degrees_of_freedom * np.log(self.response_scale)
        if self.integrate_fixed:
            deviance -= 2.0 * self.fixed.log_det
        return -0.5 * (deviance - self.log_weights)


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
    units, columns, standard_response, weights, bases = _standardise(
        design, response, case_weights, options
    )
    if standard_response is None:
        return _interpolation(design, units)

    # 2. Let the rows vanish into cross-products.
    cross = accumulate(
        tuple(factor.codes for factor in design.factors),
        tuple(factor.n_levels for factor in design.factors),
        bases,
        tuple(factor.blocks for factor in design.factors),
        columns,
        standard_response,
        weights,
    )

    # 3. Start from moments, or from where an earlier fit stopped.
    absent = _noise_in_disguise(design, options) | _spanned_by_fixed(cross)
    parameters = CovarianceParameters.of(cross.factors, absent)
    noise = None if options.noise_variance is None else options.noise_variance / units.noise
    objective = Objective(
        cross, parameters, options.posterior, options.integrate_fixed,
        units.n_observations, noise, options.n_threads,
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
            lambda: _publish(objective, state, units),
        )

    state = minimise(objective, theta, tol=options.tol, max_iter=options.max_iter, report=report)

    # 5. A variance that only rounding keeps from zero is zero, and so is one that
    #    the data know nothing of.
    state = _settle_boundary(objective, state)
    state, unidentified = _remove_unidentified(objective, state)
    doubts = Doubts(tuple(sorted({*unidentified, *absent})), _confounded(objective, state))

    # 6. Back to the units of the data.
    return _publish(objective, state, units, doubts)


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
    least_squares = np.zeros(columns.shape[1])
    for _ in range(2):
        # the second round takes off what rounding left of the first
        part = _least_squares(columns, rest, weights)
        least_squares += part
        rest = rest - columns @ part
    scale = float(np.sqrt(weights @ rest**2 / weights.sum()))
    df = n_observations - (fixed.rank if options.integrate_fixed else 0)
    size = float(np.abs(response).max(initial=0.0))
    spread = float(np.abs(response - center).max(initial=0.0))
    perfect = (
        n_observations - fixed.rank <= 0 or scale <= _PERFECT * spread or scale <= 1e-15 * size
    )
    standard_response = None
    if not perfect:
        standard_response = rest / scale
    elif options.noise_variance is not None and n_observations > fixed.rank:
        scale = float(np.sqrt(options.noise_variance))
        standard_response = rest / scale
    transformed = [
        transform_basis(factor.basis, factor.blocks, weights, options.posterior.rotates_bases)
        for factor in design.factors
    ]
    units = _Units(
        fixed,
        tuple(matrix for _, matrix in transformed),
        least_squares,
        center,
        scale if standard_response is not None else 1.0,
        weight_scale,
        float(case_weights @ np.log(relative)) if precision is not None else 0.0,
        n_observations,
        df,
        options.integrate_fixed,
    )
    return units, columns, standard_response, weights, tuple(basis for basis, _ in transformed)


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
        inverse = np.linalg.inv(basis)
        omega = inverse @ covariance @ inverse.T * (units.weight_scale / noise_variance)
        # from zero there is no way back: lift it to where a step can judge it
        omega = omega + 1e-6 * np.diag(np.diagonal(omega) <= 0)
        relative.append(omega)
    return parameters.from_covariances(relative)


def _noise_in_disguise(design: Design, options: FitOptions) -> frozenset[int]:
    """Factors whose random intercept is the noise again: every row has its own level."""
    if options.noise_variance is not None:
        return frozenset()
    weights = design.precision_weights
    if weights is not None and weights.min() < weights.max():
        return frozenset()
    return frozenset(
        position
        for position, factor in enumerate(design.factors)
        if factor.basis is None and factor.n_levels == len(design.fixed)
    )


def _spanned_by_fixed(cross: CrossProducts) -> frozenset[int]:
    """Factors whose level indicators are combinations of the fixed-effect columns."""
    n_tail, p = cross.n_tail, cross.n_fixed
    fixed = np.tril(cross.tail[n_tail : n_tail + p, n_tail : n_tail + p])
    gram = fixed + np.tril(fixed, -1).T
    positions = []
    for factor in cross.factors:
        if factor.n_effects > 1 or not p:
            continue
        if factor is cross.eliminated:
            with_fixed = cross.with_dense[:, 0, :p].T
        else:
            with_fixed = cross.tail[n_tail : n_tail + p, factor.columns]
        own = cross.effect_precisions(factor)[:, 0]
        explained = (with_fixed * np.linalg.solve(gram, with_fixed)).sum(axis=0)
        if (own - explained).sum() < 1e-10 * own.sum():
            positions.append(factor.position)
    return frozenset(positions)


def _settle_boundary(objective: Objective, state: NewtonState) -> NewtonState:
    """Set columns of T to zero whose effect on the objective is below rounding."""
    if not state.converged:
        return state
    columns = _columns(objective.parameters)
    small = [c for c in columns if 0.0 < np.abs(state.point.theta[c]).max() < 1e-4]
    # all at once, and where that is too much, one by one
    for group in ([j for column in small for j in column], *small):
        theta = state.point.theta.copy()
        theta[group] = 0.0
        state = _moved(objective, state, theta) or state
    return state


def _remove_unidentified(
    objective: Objective, state: NewtonState
) -> tuple[NewtonState, tuple[int, ...]]:
    """Set variances to zero that do not change the objective at any size."""
    positions = []
    for position, factor in enumerate(objective.parameters.factors):
        theta = state.point.theta.copy()
        own = [j for j, (f, _, _) in enumerate(objective.parameters.entries) if f == position]
        size = np.abs(theta[own])
        curvature = np.abs(np.diagonal(state.derivatives.hessian)[own])
        if not state.converged or factor.n_effects > 1 or not size.any():
            continue
        if (curvature * size**2 > 1e-6).any():
            continue
        theta[own] = 0.0
        moved = _moved(objective, state, theta)
        if moved is not None:
            state = moved
            positions.append(position)
    return state, tuple(positions)


def _confounded(objective: Objective, state: NewtonState) -> tuple[int, ...]:
    """Factors whose variances can be traded for one another at no cost."""
    if not state.converged or len(state.point.theta) < 2:
        return ()
    model = quadratic_model(state.derivatives.gradient, state.derivatives.hessian)
    if model.flattest > 1e-5:
        return ()
    entries = objective.parameters.entries
    involved = {entries[j][0] for j in np.flatnonzero(np.abs(model.flat_direction) > 0.2)}
    return tuple(sorted(involved)) if len(involved) > 1 else ()


def _moved(objective: Objective, state: NewtonState, theta: np.ndarray) -> NewtonState | None:
    """The state at `theta`, if that is as good a place."""
    if (theta == state.point.theta).all():
        return None
    point = objective.at(theta)
    if point is None or point.deviance > state.point.deviance + 1e-8:
        return None
    derivatives = objective.derivatives(point)
    gradient = quadratic_model(derivatives.gradient, derivatives.hessian).scaled_gradient
    return replace(
        state,
        point=point,
        derivatives=derivatives,
        scaled_gradient=gradient,
        deviances=(*state.deviances[:-1], min(point.deviance, state.deviances[-1])),
        gradients=(*state.gradients[:-1], gradient),
    )


def _columns(parameters: CovarianceParameters) -> list[list[int]]:
    """Parameters that make up one column of a T."""
    together: dict[tuple[int, int], list[int]] = {}
    for j, (factor, _, column) in enumerate(parameters.entries):
        together.setdefault((factor, column), []).append(j)
    return list(together.values())


def _publish(
    objective: Objective,
    state: NewtonState,
    units: _Units,
    doubts: Doubts = Doubts(),
) -> FitResult:
    point = state.point
    system = point.system
    noise = point.noise_variance * units.noise
    unit = point.noise_variance * units.response_scale**2
    posterior = objective.posterior.covariance(system, objective.integrate_fixed, JOINT_LIMIT)
    to_centred = units.fixed.to_centred()
    coefficients = to_centred @ (units.least_squares + units.response_scale * system.fixed_effects)
    if units.fixed.has_intercept:
        coefficients[0] += units.response_center
    factors = []
    for scale, basis, means, levels in zip(
        system.scale_factors, units.bases, system.random_effects, posterior.levels, strict=True
    ):
        mixed = basis @ scale
        factors.append(
            FactorResult(
                covariance=unit * (mixed @ mixed.T),
                means=units.response_scale * (means @ basis.T),
                covariances=unit * (basis @ levels @ basis.T),
            )
        )
    return FitResult(
        coefficients=coefficients,
        center=_center(units.fixed),
        coefficient_covariance=unit * (to_centred @ posterior.fixed @ to_centred.T),
        dropped=_dropped(units.fixed),
        factors=tuple(factors),
        noise_variance=noise,
        coupling=_coupling(objective, posterior, units, to_centred, unit),
        coupled=tuple(f.position in posterior.joint_factors for f in objective.parameters.factors),
        elbo=units.elbo(point.deviance),
        elbo_path=np.array([units.elbo(deviance) for deviance in state.deviances]),
        gradient_path=np.array(state.gradients),
        n_iter=state.n_iter,
        converged=state.converged,
        n_observations=units.n_observations,
        doubts=doubts,
    )


def _coupling(
    objective: Objective,
    posterior: PosteriorCovariance,
    units: _Units,
    to_centred: np.ndarray,
    unit: float,
) -> np.ndarray:
    """B of `FitResult`: the covariance with the joint effects over their square root."""
    factors = objective.parameters.factors
    joint = posterior.joint
    n_fixed = objective.cross.n_fixed
    rows = [np.arange(n_fixed)]
    offset = n_fixed
    columns = [to_centred @ joint[:, :n_fixed].T]
    for factor, basis in zip(factors, units.bases, strict=True):
        here = slice(offset, offset + factor.size)
        if factor.position in posterior.joint_factors:
            rows.append(np.arange(offset, offset + factor.size))
        part = joint[:, here].reshape(-1, factor.n_levels, factor.n_effects)
        columns.append((part @ basis.T).reshape(len(joint), factor.size).T)
        offset += factor.size
    if not len(joint):
        return np.zeros((sum(len(column) for column in columns), 0))
    own = joint[:, np.concatenate(rows)]
    values, vectors = np.linalg.eigh(0.5 * (own + own.T))
    used = values > 1e-12 * max(values.max(initial=0.0), 0.0)
    root = vectors[:, used] / np.sqrt(values[used])
    return np.sqrt(unit) * (np.concatenate(columns) @ root)


def _center(fixed: FixedTransform) -> np.ndarray:
    return np.concatenate([np.zeros(int(fixed.has_intercept)), fixed.center])


def _dropped(fixed: FixedTransform) -> np.ndarray:
    everything = np.arange(len(fixed.center))
    return np.setdiff1d(everything, fixed.kept) + int(fixed.has_intercept)


def _interpolation(design: Design, units: _Units) -> FitResult:
    """The fit of a response that the fixed effects reproduce."""
    to_centred = units.fixed.to_centred()
    coefficients = to_centred @ units.least_squares
    if units.fixed.has_intercept:
        coefficients[0] += units.response_center
    p = len(coefficients)
    factors = tuple(
        FactorResult(
            np.zeros((len(matrix), len(matrix))),
            np.zeros((factor.n_levels, len(matrix))),
            np.zeros((factor.n_levels, len(matrix), len(matrix))),
        )
        for factor, matrix in zip(design.factors, units.bases, strict=True)
    )
    size = p + sum(factor.means.size for factor in factors)
    return FitResult(
        coefficients=coefficients,
        center=_center(units.fixed),
        coefficient_covariance=np.zeros((p, p)),
        dropped=_dropped(units.fixed),
        factors=factors,
        noise_variance=0.0,
        coupling=np.zeros((size, 0)),
        coupled=(False,) * len(factors),
        elbo=np.inf,
        elbo_path=np.array([np.inf]),
        gradient_path=np.array([0.0]),
        n_iter=0,
        converged=True,
        n_observations=units.n_observations,
        interpolates=True,
    )
