"""From the standardised problem back to the units of the data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from skmixed.covariances import Scale
from skmixed.fit.estimate_errors import estimate_covariance
from skmixed.fit.newton import NewtonState, OuterObjective
from skmixed.fit.objective import Point
from skmixed.fit.quadratic_model import eigh
from skmixed.fit.result import Doubts, FactorResult, FitResult, WithinFactor
from skmixed.fit.uncertainty import Uncertainty
from skmixed.posteriors import PosteriorCovariance
from skmixed.solvers.base import System
from skmixed.sums.cross_products import FactorLayout
from skmixed.sums.standard_units import FixedTransform, Units

_NO_SCALE = 1e-6
"""Standard deviation, relative to the noise, of effects that are 0; `identification` sets them."""

JOINT_LIMIT = 80_000
"""Numbers kept of the covariance between levels: 640 kB at most."""


Judge = Callable[[Any, Any, np.ndarray], Uncertainty]
"""Tells the uncertainty of the coefficients at a point of an objective, given their covariance
(p, p) in the posterior."""


def fixed_effects_in_units(system: System, units: Units) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients of the standardised columns (r,), and of the centred ones of the data (p,)."""
    standard = units.least_squares + units.response_scale * system.fixed_effects
    coefficients = units.fixed.to_centred() @ standard
    if units.fixed.has_intercept:
        coefficients[0] += units.response_center
    return standard, coefficients


def publish(
    objective: OuterObjective,
    state: NewtonState,
    units: Units,
    judge: Judge,
    doubts: Doubts | None = None,
) -> FitResult:
    """The estimates at a state of the iterations, whose uncertainty `judge` tells."""
    point = state.point
    system = point.system
    noise = point.noise_variance * units.noise
    unit = point.noise_variance * units.response_scale**2
    posterior = objective.posterior_covariance(point, JOINT_LIMIT)
    uncertainty = judge(objective, point, posterior.fixed)
    to_centred = units.fixed.to_centred()
    standard, coefficients = fixed_effects_in_units(system, units)
    fixed_mean, fixed_variance = units.fixed.mean_and_variance(standard)
    factors: list[FactorResult] = []
    for scale, basis, moments, means, levels, ranks in zip(
        system.scales, units.bases, units.moments, system.random_effects,
        posterior.levels, _ranks(system), strict=True,
    ):  # fmt: skip
        mixed = basis @ scale.matrix
        factors.append(
            FactorResult(
                covariance=unit * (mixed @ mixed.T),
                means=units.response_scale * (means @ basis.T)[ranks],
                covariances=unit * (basis @ levels @ basis.T)[ranks],
                moments=moments,
            )
        )
    inner = system.cross.eliminated
    if inner is not None:
        within = _within(objective, system, posterior, units)
        factors[inner.position] = replace(factors[inner.position], within=within)
    return FitResult(
        coefficients=coefficients,
        center=center_of(units.fixed),
        coefficient_covariance=unit * (to_centred @ uncertainty.fixed @ to_centred.T),
        dropped=_dropped(units.fixed),
        factors=tuple(factors),
        noise_variance=noise,
        residual_variance=unit,
        fixed_mean=fixed_mean + units.response_center,
        fixed_variance=fixed_variance,
        fixed_covariance=units.fixed.column_covariance(),
        log_exposure=0.0,
        coupling=_coupling(system, posterior, units, to_centred, unit),
        further=_further(system, uncertainty.further, units, to_centred, unit),
        coupled=tuple(f.position in posterior.joint_factors for f in objective.prior.factors),
        elbo=units.elbo(point.deviance - point.penalty),
        elbo_std=0.5 * objective.deviance_error(point),
        solver=system.name,
        n_products=system.n_products,
        elbo_path=np.array([units.elbo(d - point.penalty) for d in state.deviances]),
        gradient_path=np.array(state.gradients),
        n_iter=state.n_iter,
        converged=state.converged,
        n_observations=units.n_observations,
        likelihood=objective.likelihood,
        parameters=objective.split(point.theta)[1],
        level_errors=posterior.level_errors,
        estimate_covariance=_estimate_covariance(objective, point, uncertainty, units),
        doubts=replace(
            doubts or Doubts(), singular=singular_blocks(system.cross.factors, system.scales)
        ),
    )


def _estimate_covariance(
    objective: OuterObjective, point: Point, uncertainty: Uncertainty, units: Units
) -> np.ndarray | None:
    if uncertainty.estimates is None:
        return None
    theta = objective.split(point.theta)[0]
    return estimate_covariance(uncertainty.estimates, theta, objective.prior, units)


def singular_blocks(
    factors: Sequence[FactorLayout], scales: Sequence[Scale]
) -> tuple[tuple[int, ...], ...]:
    """By factor, the first effects of blocks whose covariance has no full rank."""
    return tuple(
        tuple(
            begin
            for begin, stop in factor.blocks
            if _smallest(scale.matrix[begin:stop, begin:stop]) <= _NO_SCALE
        )
        for factor, scale in zip(factors, scales, strict=True)
    )


def _smallest(matrix: np.ndarray) -> float:
    return float(np.linalg.svd(matrix, compute_uv=False)[-1])


def _ranks(system: System) -> list[np.ndarray | slice]:
    """Places of the levels of the data in the arrays of the fit, by factor."""
    ranks = system.cross.sums.ranks
    return [slice(None)] * len(system.cross.factors) if ranks is None else list(ranks)


def _within(
    objective: OuterObjective, system: System, posterior: PosteriorCovariance, units: Units
) -> WithinFactor | None:
    """How eliminated effects covary with those of outer levels; None if they are not nested.

    All other factors have to be coupled. Given these and the outer effects u, the eliminated
    effects of a level have the mean -G C u. G is their covariance, and C their cross-products with
    u.
    """
    cross = system.cross
    apart = [p for p in cross.eliminated_pairs if p.second not in posterior.joint_factors]
    if not objective.posterior.needs_determinant or len(apart) != 1:
        return None
    pair, ranks = apart[0], _ranks(system)
    if pair.first in posterior.joint_factors or (np.diff(pair.start) != 1).any():
        return None
    slopes = -(system.levels.omega_shrunk @ pair.values)
    return WithinFactor.in_data(
        pair.second, pair.levels, slopes,
        [units.bases[f] for f in (pair.first, pair.second)],
        [ranks[f] for f in (pair.first, pair.second)],
    )  # fmt: skip


def _coupling(
    system: System,
    posterior: PosteriorCovariance,
    units: Units,
    to_centred: np.ndarray,
    unit: float,
) -> np.ndarray:
    """B of `FitResult`: the covariance with the joint effects over their square root."""
    factors = system.cross.factors
    joint = posterior.joint
    n_fixed = system.cross.n_fixed
    rows = [np.arange(n_fixed)]
    offset = n_fixed
    columns = [to_centred @ joint[:, :n_fixed].T]
    for factor, basis, ranks in zip(factors, units.bases, _ranks(system), strict=True):
        here = slice(offset, offset + factor.size)
        if factor.position in posterior.joint_factors:
            rows.append(np.arange(offset, offset + factor.size))
        part = joint[:, here].reshape(-1, factor.n_levels, factor.n_effects)[:, ranks]
        columns.append((part @ basis.T).reshape(len(joint), factor.size).T)
        offset += factor.size
    if not len(joint):
        return np.zeros((sum(len(column) for column in columns), 0))
    own = joint[:, np.concatenate(rows)]
    values, vectors = eigh(0.5 * (own + own.T))
    used = values > 1e-12 * max(values.max(initial=0.0), 0.0)
    root = vectors[:, used] / np.sqrt(values[used])
    return np.sqrt(unit) * (np.concatenate(columns) @ root)


def _further(
    system: System, columns: np.ndarray, units: Units, to_centred: np.ndarray, unit: float
) -> np.ndarray:
    """Columns over all coefficients in the units and the order of the data."""
    parts = [to_centred @ columns[: system.cross.n_fixed]]
    levels = system.cross.effects_by_factor(columns)
    for effects, basis, ranks in zip(levels, units.bases, _ranks(system), strict=True):
        moved = np.matmul(basis, effects)[ranks]
        parts.append(moved.reshape(moved.shape[0] * moved.shape[1], columns.shape[1]))
    return np.sqrt(unit) * np.concatenate(parts)


def center_of(fixed: FixedTransform) -> np.ndarray:
    """What is subtracted from the raw columns, 0 for the intercept, (p,)."""
    return np.concatenate([np.zeros(int(fixed.has_intercept)), fixed.center])


def _dropped(fixed: FixedTransform) -> np.ndarray:
    left_out = np.ones(len(fixed.center), bool)
    left_out[fixed.kept] = False
    return np.flatnonzero(left_out) + int(fixed.has_intercept)


def publish_interpolation(n_levels: tuple[int, ...], units: Units) -> FitResult:
    """The fit of a response that the fixed effects reproduce."""
    to_centred = units.fixed.to_centred()
    coefficients = to_centred @ units.least_squares
    fixed_mean, fixed_variance = units.fixed.mean_and_variance(units.least_squares)
    if units.fixed.has_intercept:
        coefficients[0] += units.response_center
    p = len(coefficients)
    factors = tuple(
        FactorResult(
            np.zeros((len(matrix), len(matrix))),
            np.zeros((levels, len(matrix))),
            np.zeros((levels, len(matrix), len(matrix))),
            moments,
        )
        for levels, matrix, moments in zip(n_levels, units.bases, units.moments, strict=True)
    )
    size = p + sum(factor.means.size for factor in factors)
    return FitResult(
        coefficients=coefficients,
        center=center_of(units.fixed),
        coefficient_covariance=np.zeros((p, p)),
        dropped=_dropped(units.fixed),
        factors=factors,
        noise_variance=0.0,
        residual_variance=0.0,
        fixed_mean=fixed_mean + units.response_center,
        fixed_variance=fixed_variance,
        fixed_covariance=units.fixed.column_covariance(),
        log_exposure=0.0,
        coupling=np.zeros((size, 0)),
        further=np.zeros((size, 0)),
        coupled=(False,) * len(factors),
        elbo=np.inf,
        elbo_std=0.0,
        solver="direct",
        n_products=0,
        elbo_path=np.array([np.inf]),
        gradient_path=np.array([0.0]),
        n_iter=0,
        converged=True,
        n_observations=units.n_observations,
        interpolates=True,
    )
