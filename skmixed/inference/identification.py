"""What the data leave open: zero variances, and what they do not determine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skmixed.inference.newton import NewtonState, quadratic_model
from skmixed.inference.objective import OuterObjective, Point
from skmixed.inference.standardise import Units
from skmixed.linalg.covariance import CovarianceParameters
from skmixed.linalg.crossproducts import CrossProducts


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


def settle_boundary(objective: OuterObjective, state: NewtonState) -> NewtonState:
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


def remove_unidentified(
    objective: OuterObjective, state: NewtonState
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


def confounded(objective: OuterObjective, state: NewtonState) -> tuple[int, ...]:
    """Factors whose variances can be traded for one another at no cost."""
    n = len(objective.parameters.entries)
    if not state.converged or n < 2:
        return ()
    derivatives = state.derivatives
    model = quadratic_model(derivatives.gradient[:n], derivatives.hessian[:n, :n])
    if model.flattest > 1e-5:
        return ()
    entries = objective.parameters.entries
    involved = {entries[j][0] for j in np.flatnonzero(np.abs(model.flat_direction) > 0.2)}
    return tuple(sorted(involved)) if len(involved) > 1 else ()


_LEAST_INFORMATION = 0.01
"""Information below which the coefficient of a column of unit variance is as good as
infinite: its standard error exceeds 10."""


def separated_columns(point: Point, units: Units) -> tuple[int, ...]:
    """Fixed-effect columns whose coefficients run away: they predict without error.

    Along the direction v of such coefficients the information v'X'WXv vanishes
    (Albert and Anderson 1984, Biometrika 71).

    Parameters
    ----------
    point : Point
    units : Units

    Returns
    -------
    tuple of int
        Raw columns in design order, the intercept included.
    """
    transform = units.fixed
    first = int(transform.has_intercept)
    mapping = transform.mapping[transform.kept]
    spreads = np.sqrt((np.linalg.inv(mapping) ** 2).sum(axis=0)) if len(mapping) else np.empty(0)
    columns: set[int] = set()
    values, vectors = np.linalg.eigh(point.system.cross.fixed_products)
    for value, vector in zip(values, vectors.T, strict=True):
        if value > _LEAST_INFORMATION:
            break
        changes = np.abs(mapping @ vector[first:]) * spreads
        if not changes.any():
            columns.add(0)
            continue
        columns |= set((first + transform.kept[changes > 0.3 * changes.max()]).tolist())
    return tuple(sorted(columns))


def _moved(objective: OuterObjective, state: NewtonState, theta: np.ndarray) -> NewtonState | None:
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


def _columns(parameters: CovarianceParameters) -> list[list[int]]:
    """Parameters that make up one column of a T."""
    together: dict[tuple[int, int], list[int]] = {}
    for j, (factor, _, column) in enumerate(parameters.entries):
        together.setdefault((factor, column), []).append(j)
    return list(together.values())
