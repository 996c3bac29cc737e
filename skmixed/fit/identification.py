"""Variances at zero, and parameters that the data do not identify."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skmixed.fit.newton import Minimised, NewtonState
from skmixed.fit.objective import Point
from skmixed.fit.quadratic_model import eigh, quadratic_model
from skmixed.sums.cross_products import CrossProducts

_FLAT = 1e-4
"""Curvature of the objective by a relative standard deviation that it does not depend on."""


def spanned_by_fixed(cross: CrossProducts) -> frozenset[int]:
    """Factors whose level indicators are combinations of the fixed-effect columns."""
    gram = cross.fixed_products
    positions = []
    for factor in cross.factors:
        if factor.n_effects > 1 or not len(gram):
            continue
        with_fixed = cross.dense_products(factor)[:-1]
        own = cross.effect_precisions(factor)[:, 0]
        explained = (with_fixed * np.linalg.solve(gram, with_fixed)).sum(axis=0)
        if (own - explained).sum() < 1e-10 * own.sum():
            positions.append(factor.position)
    return frozenset(positions)


def settle_boundary(objective: Minimised, state: NewtonState) -> NewtonState:
    """Set parameters to the end of their range from which they differ by less than rounding."""
    if not state.converged:
        return state
    ends = list(objective.prior.ends(objective.split(state.point.theta)[0]))
    # all at once, and where that is too much, one by one
    for group in (ends, *([end] for end in ends)):
        theta = state.point.theta.copy()
        for positions, end in group:
            theta[positions] = end
        state = _moved(objective, state, theta) or state
    return state


def remove_unidentified(
    objective: Minimised, state: NewtonState
) -> tuple[NewtonState, tuple[int, ...]]:
    """Set variances to zero that do not change the objective at any size."""
    positions = []
    for position, factor in enumerate(objective.prior.factors):
        theta = state.point.theta.copy()
        own = np.flatnonzero(objective.prior.factor_of == position)
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
            # a variance near zero on which the objective depends is zero, not unknown
            if (curvature <= _FLAT).all():
                positions.append(position)
    return state, tuple(positions)


def confounded(objective: Minimised, state: NewtonState) -> tuple[int, ...]:
    """Factors whose variances can be traded for one another at no cost."""
    n = objective.prior.n_parameters
    if not state.converged or n < 2:
        return ()
    derivatives = state.derivatives
    model = quadratic_model(derivatives.gradient[:n], derivatives.hessian[:n, :n])
    if model.flattest > 1e-5:
        return ()
    involved = {*objective.prior.factor_of[np.abs(model.flat_direction) > 0.2].tolist()}
    return tuple(sorted(involved)) if len(involved) > 1 else ()


_UNKNOWN = 10.0
"""Standard error, per typical step of a column, of a coefficient as good as infinite."""


_RUNAWAY = 1e3
"""Stop iterating once the standard error of a coefficient, per typical step, exceeds this."""


def separated_columns(
    information: np.ndarray, steps: np.ndarray, has_intercept: bool
) -> tuple[int, ...]:
    """Fixed-effect columns whose coefficients run away: they predict without error.

    Rows that are predicted with certainty say nothing any more, so that the
    information X'WX about such a coefficient vanishes (Albert and Anderson 1984,
    Biometrika 71). It is judged by what a typical step of the column does: a single
    row far out does not count.

    Parameters
    ----------
    information : ndarray (r, r)
        X'WX of the transformed columns at the fitted values.
    steps : ndarray (p, r)
        What typical steps of the raw columns make of the transformed coefficients.
    has_intercept : bool

    Returns
    -------
    tuple of int
        Columns in design order, the intercept included.
    """
    unknown = np.flatnonzero(_step_errors(information, steps) > _UNKNOWN)
    # the intercept at the centre of a column that runs away goes with it
    slopes = unknown[unknown >= int(has_intercept)]
    return tuple((slopes if len(slopes) else unknown).tolist())


def runs_away(point: Point, steps: np.ndarray) -> bool:
    """Whether a coefficient is so far out that the iterations are to end."""
    return bool((_step_errors(point.system.cross.fixed_products, steps) > _RUNAWAY).any())


def _step_errors(information: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Standard errors of typical steps given the random effects, (p,)."""
    values, vectors = eigh(information)
    deviations = (steps @ vectors) / np.sqrt(np.maximum(values, 1e-200))
    return np.sqrt((deviations**2).sum(axis=1))


def typical_steps(columns: np.ndarray) -> np.ndarray:
    """Median distance from the median of the values that are not it, (p,); 1 for constants."""
    steps = np.ones(columns.shape[1])
    for j, column in enumerate(columns.T):
        distances = np.abs(column - np.median(column))
        if distances.any():
            steps[j] = np.median(distances[distances > 0.0])
    return steps


def _moved(objective: Minimised, state: NewtonState, theta: np.ndarray) -> NewtonState | None:
    """The state at `theta`, if that is as good a place."""
    if (theta == state.point.theta).all():
        return None
    point = objective.at(theta, state.point)
    if point is None:
        return None
    if point.deviance > state.point.deviance + 1e-8 + point.doubt(state.point):
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
