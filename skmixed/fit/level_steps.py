"""Newton steps on everything in a model of one factor, before the outer iterations judge it.

Alternating steps converge linearly, and each costs a system of equations. These converge
quadratically on arrays of the rows and the levels alone (`skmixed.fit.level_system`).
"""

from __future__ import annotations

from functools import partial
from math import hypot, isfinite, sqrt

import numpy as np

from skmixed.fit.level_system import (
    LevelDerivatives,
    LevelPoint,
    LevelSystem,
    state_of,
)
from skmixed.fit.newton import Lead, NewtonState, minimise
from skmixed.fit.objective import Point
from skmixed.fit.outer import FitOptions
from skmixed.fit.quadratic_model import QuadraticModel, quadratic_model
from skmixed.fit.sites import Sites, VariationalPoint
from skmixed.fit.variational_objective import VariationalObjective

_FAST = 0.1
"""Part of the scaled gradient that a fast step leaves at most."""

_MOST_STEPS = 30

_STALLED = 0.8
"""Part of the scaled gradient that four steps leave at least if they have stalled."""

_PATIENCE = 15
"""Steps of the outer iterations after which Newton's are tried again."""

_FEW_HALVINGS = 4

_MOST_NUMBERS = 5_000_000
"""Rows times columns of their sums from which on the memory would count."""

_LARGEST_CHANGE = 0.7
"""Of a standard deviation of effects, over itself, by one step."""


def lead_to(objective: VariationalObjective, theta: np.ndarray, options: FitOptions) -> Lead | None:
    """Newton steps from `theta` towards the optimum, or ordinary ones where Newton's fail.

    None for other models than those of `_is_plain`, and where the ELBO is not finite.

    Parameters
    ----------
    objective : VariationalObjective
    theta : ndarray (m + k,)
    options : FitOptions
    """
    if not _is_plain(objective):
        return None
    start = objective.at(theta)
    if start is None:
        return None
    lead = _newton_lead(objective, start, options, options.max_iter)
    if lead is not None:
        return lead
    began = Lead((), (), (), start)
    if options.max_iter <= _PATIENCE:
        return began
    # nearer to the optimum they may be plain
    points: list[Point] = []

    def keep(state: NewtonState) -> bool:
        points.append(state.point)
        return False

    state = minimise(objective, theta, tol=options.tol, max_iter=_PATIENCE, report=keep, lead=began)
    makers = tuple(partial(_same, point) for point in points[:-1])
    before = Lead(makers, state.deviances[:-1], state.gradients[:-1], state.point)
    if state.n_iter < _PATIENCE:
        return before
    assert isinstance(state.point, VariationalPoint)
    lead = _newton_lead(objective, state.point, options, options.max_iter - _PATIENCE)
    return before if lead is None else before.followed_by(lead)


def _same(point: Point) -> Point:
    """The point, as a maker of it."""
    return point


def _newton_lead(
    objective: VariationalObjective, start: VariationalPoint, options: FitOptions, max_iter: int
) -> Lead | None:
    """Newton steps from a point; None where they are not plain."""
    try:
        steps = _steps(LevelSystem(objective), start, options.tol, max_iter)
    except np.linalg.LinAlgError:
        return None
    if steps is None:
        return None
    points, gradients = steps
    makers = [partial(_made, objective, point) for point in points]
    last = makers.pop()()
    if last is None:
        return None
    return Lead(tuple(makers), tuple(point.deviance for point in points[:-1]), gradients, last)


def _steps(
    system: LevelSystem, start: VariationalPoint, tol: float, max_iter: int
) -> tuple[list[LevelPoint], tuple[float, ...]] | None:
    """Points from a start to next to the optimum, and the scaled gradients of all but the last."""
    # variances of six digits do not belong to the state
    point = system.at(state_of(start)) if start.is_coarse else system.at_point(start)
    points: list[LevelPoint] = []
    gradients: list[float] = []
    # the first step is far from the optimum, and holds the weights of the rows
    nothing = np.zeros(system.objective.responses.rows.n_rows)
    higher = nothing, nothing
    while point is not None and len(points) < min(max_iter, _MOST_STEPS):
        points.append(point)
        if gradients:
            higher = system.higher_derivatives(point)
        found = system.derivatives(point, higher)
        finite = isfinite(found.information.sum() + found.gradient.sum())
        if not finite or not found.squared_distance >= 0.0:
            return None
        model = quadratic_model(-2.0 * found.gradient, 2.0 * found.information)
        gradients.append(hypot(model.scaled_gradient, sqrt(2.0 * found.squared_distance)))
        if len(gradients) > 4 and gradients[-1] > _STALLED * gradients[-5]:
            return None
        point = _following(system, point, found, model)
        if point is not None and _is_next_to(gradients, tol):
            return None if len(model.descents) else ([*points, point], tuple(gradients))
    return None


def _is_next_to(gradients: list[float], tol: float) -> bool:
    """Whether the next step ends within the tolerance, as Newton's steps converge quadratically.

    Where coefficients grow without bound the gradient shrinks as well, but slowly.
    """
    if len(gradients) < 2 or gradients[-1] > _FAST * gradients[-2]:
        return False
    return gradients[-1] * (gradients[-1] / gradients[-2]) ** 2 < tol


def _made(objective: VariationalObjective, point: LevelPoint) -> VariationalPoint | None:
    """The point of the objective whose working model a level point suggests."""
    sites = Sites(point.precision, point.gradient + point.precision * point.mean)
    return objective.at_sites(point.state.theta, sites)


def _is_plain(objective: VariationalObjective) -> bool:
    """Whether the model has one factor of independent levels, and coefficients that are a point."""
    rows, prior = objective.responses.rows, objective.prior
    if len(rows.codes) != 1 or objective.integrate_fixed or prior.across[0] is not None:
        return False
    q = rows.factors[0].n_effects
    covered = sum(block.effects.stop - block.effects.start for block in prior.blocks)
    width = rows.n_rows * (2 * q * (q + 3) + 2 * rows.fixed.shape[1])
    return objective.posterior.needs_determinant and covered == q and width < _MOST_NUMBERS


def _following(
    system: LevelSystem, point: LevelPoint, found: LevelDerivatives, model: QuadraticModel
) -> LevelPoint | None:
    """The point a step leads to, halved until the ELBO rises; None where it does not."""
    slack = 1e-12 * max(abs(point.deviance), 1.0)
    length = min(1.0, _longest(system, point, model.step))
    for _ in range(_FEW_HALVINGS):
        following = system.at(system.moved(point, found, model.step, length))
        if following is not None and following.deviance <= point.deviance + slack:
            return following
        length *= 0.5
    return None


def _longest(system: LevelSystem, point: LevelPoint, step: np.ndarray) -> float:
    """Share of a step within which no standard deviation reaches zero."""
    prior, p = system.objective.prior, len(point.state.fixed)
    variances = system.objective.split(point.state.theta)[0]
    along = step[p : p + len(variances)]
    falls = prior.reflects & (along < 0.0)
    if not falls.any():
        return 1.0
    shares = _LARGEST_CHANGE * variances[falls] / -along[falls]
    return min(float(shares.min()), 1.0)
