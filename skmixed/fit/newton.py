"""Safeguarded Newton iterations on the variance parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from skmixed.fit.gaussian_objective import Derivatives, OuterObjective, Point

_NEAR = 0.5
"""Standard errors from the optimum within which steps follow the exact Hessian."""

_SAME_INFORMATION = 0.1
"""Standard errors from the optimum within which an iterative solver keeps its information."""

_COARSE = 1e-3
"""Standard errors from the optimum within which the next step needs all digits."""

_DOUBT = 3.0
"""Standard errors by which an estimated objective may seem to rise."""

_FEW_HALVINGS = 12
"""Halvings of a step where every trial costs steps on the posterior."""

_NOISE = 1e-12
"""Relative rounding error of the objective: smaller differences say nothing."""


@dataclass(frozen=True)
class NewtonState:
    """Where the iterations stand.

    Attributes
    ----------
    point : Point
    derivatives : Derivatives
    scaled_gradient : float
        Newton decrement sqrt(g' |H|^-1 g): the distance to the optimum in
        standard errors of the variance parameters, hence free of units; lme4
        calls the same vector the scaled gradient.
    n_iter : int
        Steps taken.
    deviances : tuple of float
        The objective at the start and after every step.
    gradients : tuple of float
        The scaled gradient at the same points.
    converged : bool
    """

    point: Point
    derivatives: Derivatives
    scaled_gradient: float
    n_iter: int
    deviances: tuple[float, ...]
    gradients: tuple[float, ...]
    converged: bool


@dataclass(frozen=True)
class QuadraticModel:
    """The quadratic model at a point.

    Attributes
    ----------
    step : ndarray
        The Newton step.
    scaled_gradient : float
        See `NewtonState`.
    descents : ndarray (k, m)
        Directions of negative curvature, the steepest first.
    flattest : float
        Smallest eigenvalue of the Hessian scaled to a unit diagonal.
    flat_direction : ndarray
        Its eigenvector in scaled coordinates.
    """

    step: np.ndarray
    scaled_gradient: float
    descents: np.ndarray
    flattest: float
    flat_direction: np.ndarray


def minimise(
    objective: OuterObjective,
    theta: np.ndarray,
    *,
    tol: float,
    max_iter: int,
    report: Callable[[NewtonState], bool] | None = None,
) -> NewtonState:
    """Minimise the objective from `theta`.

    Every step solves with the Hessian whose negative eigenvalues are turned
    positive, and is halved until the objective falls. Far from the optimum the
    Hessian is that of average information, which takes good long steps; near it
    an estimate of the exact one, which makes the last steps quadratic. A
    stationary point with a direction of negative curvature (a variance that is
    zero but wants to grow, a saddle) is left along that direction.

    Parameters
    ----------
    objective : OuterObjective
    theta : ndarray
        Where to start.
    tol : float
        Bound on the scaled gradient.
    max_iter : int
        Bound on the number of steps.
    report : callable, optional
        Called with the state before every step and at the end; a true answer
        stops the iterations.
    """
    point = _start(objective, theta)
    secant = _Secant(len(theta))
    deviances = [point.deviance]
    gradients: list[float] = []
    derivatives: Derivatives | None = None
    damping = 1.0
    trail = _Trail(objective)
    n_iter = 0
    while True:
        coarse = not gradients or gradients[-1] > _COARSE
        information = None
        if derivatives is not None and point.is_estimated and gradients[-1] < _SAME_INFORMATION:
            information = derivatives.average_information
        derivatives = objective.derivatives(point, coarse, information)
        model = quadratic_model(derivatives.gradient, derivatives.hessian)
        if coarse and point.system.is_exact and model.scaled_gradient < 10.0 * tol:
            derivatives = objective.derivatives(point)
            model = quadratic_model(derivatives.gradient, derivatives.hessian)
        if tol < model.scaled_gradient < _NEAR and objective.is_exact_at_once:
            if point.is_estimated:
                derivatives = secant.corrected(point, derivatives)
            else:
                derivatives = objective.with_better_hessian(point, derivatives)
            model = quadratic_model(derivatives.gradient, derivatives.hessian)
        gradients.append(float(np.hypot(model.scaled_gradient, point.distance)))
        idle = _is_idle(point, deviances, gradients)
        lost_in_rounding = idle and gradients[-1] ** 2 < _rounding(deviances)
        arrived = gradients[-1] <= tol or lost_in_rounding or _stagnates(gradients)
        flat = arrived and not point.is_coarse
        state = NewtonState(
            point, derivatives, gradients[-1], n_iter,
            tuple(deviances), tuple(gradients), flat and not len(model.descents),
        )  # fmt: skip
        stop = report(state) if report is not None else False
        if state.converged or stop or n_iter >= max_iter or (idle and not flat):
            return state
        if objective.runs_away(point):
            return replace(state, converged=False)
        if flat:
            following = _leave_saddle(objective, point, model)
            if following is None:
                return replace(state, converged=True)
        elif not objective.is_exact_at_once:
            following = trail.step(point, model, derivatives, gradients, coarse)
            if following is None:
                following = _search(objective, point, model, coarse)
            if following is None:
                # no theta is better before the posterior is
                following = _settle(objective, point, coarse)
        elif point.is_estimated and model.scaled_gradient < _NEAR:
            # an estimated objective is stationary elsewhere than its estimated gradient,
            # so that it cannot judge a step here: the next gradient does
            worse = len(gradients) > 1 and gradients[-2] < min(gradients[-1], _NEAR)
            # on the way down from a hump the gradient grows, and has to
            worse = worse and not len(model.descents)
            damping = 0.5 * damping if worse else min(1.0, 1.5 * damping)
            following = _move(objective, point, damping * model.step, coarse)
        else:
            following = _search(objective, point, model, coarse)
            if following is None and point.is_estimated:
                following = _move(objective, point, 0.5 * model.step, coarse)
        if following is None:
            return state
        point = following
        n_iter += 1
        deviances.append(point.deviance)


def _start(objective: OuterObjective, theta: np.ndarray) -> Point:
    for _ in range(20):
        point = objective.at(theta)
        if point is not None:
            return point
        # hardly any noise is left there: less variance of the effects leaves more
        theta = 0.1 * theta
    raise ValueError(
        "The ELBO is not finite at any starting value: y, the offset or columns of X differ by "
        "too many orders for floating point; change their units."
    )


class _Secant:
    """What the last steps tell of the Hessian: symmetric rank-one updates.

    Nocedal and Wright (2006), Numerical Optimization, equation 6.24. For
    objectives whose Hessian would cost as much as the steps it saves.
    """

    def __init__(self, n_parameters: int) -> None:
        self._correction = np.zeros((n_parameters, n_parameters))
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def corrected(self, point: Point, derivatives: Derivatives) -> Derivatives:
        """The derivatives with a Hessian that explains the gradient before the last step."""
        here = point.theta, derivatives.gradient
        if self._last is not None:
            step, change = here[0] - self._last[0], here[1] - self._last[1]
            miss = change - (derivatives.hessian + self._correction) @ step
            along = float(miss @ step)
            if abs(along) > 1e-8 * np.linalg.norm(miss) * np.linalg.norm(step):
                self._correction += np.outer(miss, miss) / along
        self._last = here
        return replace(derivatives, hessian=derivatives.hessian + self._correction)


class _Trail:
    """The last points of an objective that converges step by step, to extrapolate from."""

    def __init__(self, objective: OuterObjective) -> None:
        self._objective = objective
        self._points: list[tuple[Point, np.ndarray]] = []

    def step(
        self,
        point: Point,
        model: QuadraticModel,
        derivatives: Derivatives,
        gradients: list[float],
        coarse: bool,
    ) -> Point | None:
        """The point that the trail leads to; None where that is no better.

        Near the optimum an estimated objective cannot judge a step (see `minimise`);
        there a gradient that grows ends the trail.
        """
        here = (point, point.theta + model.step)
        self._points = [*self._points, here][-self._objective.n_remembered :]
        blind = point.is_estimated and gradients[-1] < _NEAR
        if blind and len(gradients) > 1 and gradients[-1] > 2.0 * gradients[-2]:
            self._points = [here]
        following = None
        if blind or len(self._points) > 1:
            curvature = np.diagonal(derivatives.hessian)
            following = self._objective.accelerated(self._points, curvature, coarse, not blind)
        if following is None:
            self._points = [here]
        return following


def quadratic_model(gradient: np.ndarray, hessian: np.ndarray) -> QuadraticModel:
    """Judge a point by its gradient and Hessian, in coordinates of unit curvature."""
    if not (np.isfinite(gradient).all() and np.isfinite(hessian).all()):
        raise ValueError(
            "The derivatives of the ELBO are not finite: the model reproduces the response without "
            "error, or columns differ by too many orders. Use fewer effects, or rescale columns."
        )
    if not len(gradient):
        return QuadraticModel(gradient, 0.0, np.empty((0, 0)), 1.0, gradient)
    unit = 1.0 / np.sqrt(np.maximum(np.abs(np.diagonal(hessian)), 1e-300))
    # a parameter without curvature or gradient stays where it is
    unit[(np.abs(np.diagonal(hessian)) < 1e-200)] = 0.0
    values, vectors = np.linalg.eigh(hessian * unit[:, None] * unit)
    size = np.maximum(np.abs(values), 1e-9 * max(np.abs(values).max(), 1e-9))
    along = vectors.T @ (gradient * unit)
    step = -unit * (vectors @ (along / size))
    decrement = float(np.sqrt(np.sum(along**2 / size)))
    descents = (unit[:, None] * vectors[:, values < -1e-6]).T
    if len(descents):
        # an estimated Hessian can hide the one direction that counts behind others; its
        # diagonal is exact where a variance is zero
        concave = np.flatnonzero(unit * np.diagonal(hessian) * unit < -1e-6)
        descents = np.concatenate([descents, np.diag(unit)[concave]])
    flattest = float(values[0]) if unit.all() else 1.0
    return QuadraticModel(step, decrement, descents, flattest, vectors[:, 0])


def _search(
    objective: OuterObjective, point: Point, model: QuadraticModel, coarse: bool
) -> Point | None:
    """Halve (or, downhill on a hump, double) the Newton step."""
    expected = model.scaled_gradient**2
    slack = _NOISE * max(abs(point.deviance), 1.0) + point.rounding
    length = 1.0
    for _ in range(40 if objective.is_exact_at_once else _FEW_HALVINGS):
        following = _move(objective, point, length * model.step, coarse)
        if following is not None:
            allowed = slack + _DOUBT * following.doubt(point)
            demanded = min(1e-4 * length * expected, slack if expected < 10 * slack else np.inf)
            if following.deviance <= point.deviance + allowed - demanded:
                break
        length *= 0.5
    else:
        return None
    if len(model.descents) and length == 1.0:
        for _ in range(20):
            length *= 2.0
            further = _move(objective, point, length * model.step, coarse)
            if further is None or further.deviance >= following.deviance:
                break
            following = further
    return following


def _settle(objective: OuterObjective, point: Point, coarse: bool) -> Point | None:
    """A better posterior at the same theta."""
    following = objective.at(point.theta, point, coarse)
    if following is None or following.deviance > point.deviance - point.rounding:
        return None
    return following


def _leave_saddle(objective: OuterObjective, point: Point, model: QuadraticModel) -> Point | None:
    """The best of some steps along the first direction of negative curvature that leads down."""
    slack = 10 * _NOISE * max(abs(point.deviance), 1.0)
    for direction in model.descents:
        best = None
        for length in 0.03 * 4.0 ** np.arange(8):
            for sign in (1.0, -1.0):
                following = _move(objective, point, sign * length * direction)
                if following is None or following.deviance >= point.deviance - slack:
                    continue
                if best is None or following.deviance < best.deviance:
                    best = following
        if best is not None:
            return best
    return None


def _move(
    objective: OuterObjective, point: Point, step: np.ndarray, coarse: bool = False
) -> Point | None:
    theta = point.theta + step
    # beyond zero the objective repeats itself: a step across stops near zero
    variances, before = objective.split(theta)[0], objective.split(point.theta)[0]
    across = objective.prior.reflects & (variances < 0.0) & (before > 0.0)
    variances[across] = np.minimum(-variances[across], 0.05 * before[across])
    following = objective.at(objective.canonical(theta), point, coarse)
    if following is None or not np.isfinite(following.deviance):
        return None
    return following


def _is_idle(point: Point, deviances: list[float], gradients: list[float]) -> bool:
    """Whether steps have long brought nothing, far from a stationary point."""
    if len(deviances) < 6 or gradients[-1] < 1e-4 or point.is_estimated:
        return False
    return deviances[-6] - deviances[-1] < _rounding(deviances)


def _rounding(deviances: list[float]) -> float:
    """Below it a gain says nothing, neither one made nor one that the gradient promises."""
    return 10 * _NOISE * max(abs(deviances[-1]), 1.0)


def _stagnates(gradients: list[float]) -> bool:
    """Whether rounding, not distance, is what is left of the gradient."""
    return len(gradients) > 3 and gradients[-1] < 1e-4 and gradients[-1] > 0.5 * gradients[-4]
