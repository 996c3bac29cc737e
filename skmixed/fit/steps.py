"""Three strategies to find and judge a step of the Newton iterations.

An exact objective judges every step by its value. An estimated one cannot near its optimum,
where it is stationary elsewhere than its estimated gradient. One whose posterior takes steps of
its own converges linearly, and the last steps are extrapolated.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from skmixed.fit.objective import Derivatives, Point
from skmixed.fit.quadratic_model import QuadraticModel
from skmixed.posteriors import EffectsPrior

NEAR = 0.5
"""Standard errors from the optimum within which steps follow the exact Hessian."""

ROUNDING = 1e-12
"""Relative rounding error of the objective: smaller differences say nothing."""

_SAME_INFORMATION = 0.1
"""Standard errors from the optimum within which an iterative solver keeps its information."""

_SAME_SIZE = 0.1
"""Relative change of standard deviations up to which information by these is moved."""

_DOUBT = 3.0
"""Accept a step if the estimated objective rises by less than this many standard errors."""

_FEW_HALVINGS = 12
"""Halvings of a step where every trial costs steps on the posterior."""


class Evaluated(Protocol):
    """An objective that can be evaluated."""

    @property
    def prior(self) -> EffectsPrior:
        """The covariance of the random effects as a function of theta."""
        ...

    def canonical(self, theta: np.ndarray) -> np.ndarray:
        """The equivalent theta with nonnegative diagonals, inside its bounds."""
        ...

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The parameters of the prior, and all others."""
        ...

    def at(self, theta: np.ndarray, near: Any = None, coarse: bool = False) -> Point | None:
        """The objective at theta; None where it cannot be computed."""
        ...


class Refinable(Evaluated, Protocol):
    """An objective that knows a better Hessian than that of average information."""

    def with_better_hessian(self, point: Point, derivatives: Derivatives) -> Derivatives:
        """Derivatives whose Hessian is nearer to the exact one."""
        ...


class Alternating(Evaluated, Protocol):
    """An objective whose posterior takes steps of its own."""

    @property
    def n_remembered(self) -> int:
        """Points to extrapolate from."""
        ...

    def accelerated(
        self, trail: list[tuple[Any, np.ndarray]], metric: np.ndarray, coarse: bool, judge: bool
    ) -> Point | None:
        """One step on everything, extrapolated from the last ones; None where it is no good."""
        ...

    def runs_away(self, point: Point) -> bool:
        """Whether coefficients grow without bound."""
        ...


class Steps:
    """Steps that an objective judges: halved until it falls.

    Parameters
    ----------
    objective : Evaluated
    """

    most_halvings = 40

    def __init__(self, objective: Evaluated) -> None:
        self._objective = objective

    def kept_information(
        self, point: Point, before: Derivatives | None, gradients: list[float]
    ) -> np.ndarray | None:
        """Average information of the point before, where it will do for an estimated one here."""
        if before is not None and point.is_estimated and gradients[-1] < _SAME_INFORMATION:
            return before.average_information
        return None

    def refine(self, point: Point, derivatives: Derivatives) -> Derivatives:
        """Derivatives with a better Hessian near the optimum; these ones where none is known."""
        return derivatives

    def next(
        self,
        point: Point,
        model: QuadraticModel,
        derivatives: Derivatives,
        gradients: list[float],
        coarse: bool,
    ) -> Point | None:
        """The point that a step leads to; None where none is better."""
        return self.search(point, model, coarse)

    def is_hopeless(self, point: Point) -> bool:
        """Whether there is no optimum to go to."""
        return False

    def search(self, point: Point, model: QuadraticModel, coarse: bool) -> Point | None:
        """Halve (or, downhill on a hump, double) the Newton step."""
        expected = model.scaled_gradient**2
        slack = ROUNDING * max(abs(point.deviance), 1.0) + point.rounding
        length = 1.0
        for _ in range(self.most_halvings):
            following = self.move(point, length * model.step, coarse)
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
                further = self.move(point, length * model.step, coarse)
                if further is None or further.deviance >= following.deviance:
                    break
                following = further
        return following

    def leave_saddle(self, point: Point, model: QuadraticModel) -> Point | None:
        """The best step along the first direction of negative curvature that leads down."""
        slack = 10 * ROUNDING * max(abs(point.deviance), 1.0)
        for direction in model.descents:
            best = None
            for length in 0.03 * 4.0 ** np.arange(8):
                for sign in (1.0, -1.0):
                    following = self.move(point, sign * length * direction)
                    if following is None or following.deviance >= point.deviance - slack:
                        continue
                    if best is None or following.deviance < best.deviance:
                        best = following
            if best is not None:
                return best
        return None

    def move(self, point: Point, step: np.ndarray, coarse: bool = False) -> Point | None:
        """The objective a step away; a step across zero stops next to it."""
        objective = self._objective
        theta = point.theta + step
        # beyond zero the objective repeats itself
        variances, before = objective.split(theta)[0], objective.split(point.theta)[0]
        across = objective.prior.reflects & (variances < 0.0) & (before > 0.0)
        variances[across] = np.minimum(-variances[across], 0.05 * before[across])
        following = objective.at(objective.canonical(theta), point, coarse)
        if following is None or not np.isfinite(following.deviance):
            return None
        return following


class ExactSteps(Steps):
    """Steps on an exact objective, with a better Hessian near the optimum.

    Parameters
    ----------
    objective : Refinable
    """

    def __init__(self, objective: Refinable) -> None:
        super().__init__(objective)
        self._refinable = objective

    def refine(self, point: Point, derivatives: Derivatives) -> Derivatives:
        """Derivatives with a better Hessian."""
        return self._refinable.with_better_hessian(point, derivatives)


class RankOneUpdates:
    """A correction of Hessians, so that they explain how gradients have changed.

    By symmetric rank-one updates (Nocedal and Wright 2006, Numerical Optimization, equation 6.24).
    """

    def __init__(self) -> None:
        self._correction: np.ndarray | float = 0.0
        self._last: tuple[np.ndarray, np.ndarray] | None = None

    def corrected(self, point: Point, derivatives: Derivatives) -> Derivatives:
        """Derivatives at the next point, with a Hessian that explains the step to it."""
        here = point.theta, derivatives.gradient
        if self._last is not None:
            step, change = here[0] - self._last[0], here[1] - self._last[1]
            miss = change - (derivatives.hessian + self._correction) @ step
            along = float(miss @ step)
            if abs(along) > 1e-8 * np.linalg.norm(miss) * np.linalg.norm(step):
                self._correction = self._correction + np.outer(miss, miss) / along
        self._last = here
        return replace(derivatives, hessian=derivatives.hessian + self._correction)


class EstimatedSteps(ExactSteps):
    """Steps on an objective that random vectors estimate: near the optimum the gradient judges.

    Where a point happens to be exact it is treated as such.

    Parameters
    ----------
    objective : Refinable
    """

    def __init__(self, objective: Refinable) -> None:
        super().__init__(objective)
        self._updates = RankOneUpdates()
        self._damping = 1.0
        self._last: np.ndarray | None = None

    def kept_information(
        self, point: Point, before: Derivatives | None, gradients: list[float]
    ) -> np.ndarray | None:
        """Average information of the point before, moved here, where that is near.

        To compute it takes a third of the time of an evaluation, and it only steers steps.
        """
        last, self._last = self._last, point.theta
        if before is None or last is None or not point.is_estimated:
            return None
        moves = _information_moves(last, point)
        if moves is None:
            return super().kept_information(point, before, gradients)
        return before.average_information * np.outer(moves, moves)

    def refine(self, point: Point, derivatives: Derivatives) -> Derivatives:
        """Derivatives with a Hessian that explains the gradient before the last step.

        The Hessian itself would cost as much as the steps it saves.
        """
        if not point.is_estimated:
            return super().refine(point, derivatives)
        return self._updates.corrected(point, derivatives)

    def next(
        self,
        point: Point,
        model: QuadraticModel,
        derivatives: Derivatives,
        gradients: list[float],
        coarse: bool,
    ) -> Point | None:
        """A damped step near the optimum, a judged one far from it."""
        if point.is_estimated and model.scaled_gradient < NEAR:
            # estimated values cannot judge a step here: the next gradient does
            worse = len(gradients) > 1 and gradients[-2] < min(gradients[-1], NEAR)
            # on the way down from a hump the gradient grows, and has to
            worse = worse and not len(model.descents)
            self._damping = 0.5 * self._damping if worse else min(1.0, 1.5 * self._damping)
            return self.move(point, self._damping * model.step, coarse)
        following = self.search(point, model, coarse)
        if following is None and point.is_estimated:
            following = self.move(point, 0.5 * model.step, coarse)
        return following


def _information_moves(theta: np.ndarray, point: Point) -> np.ndarray | None:
    """Factors (m,) by which average information by standard deviations differs from that at theta.

    As if levels were alone: with s the share of its mean that a level keeps, it is in
    proportion to s^3 / sd^4 times the square of that mean, whose expectation is sd^2 / s. None
    where parameters are no standard deviations, or have moved far.
    """
    system, here = point.system, point.theta
    factors = [factor for factor, _ in point.solved.tangents]
    alone = len(factors) == len(theta) and all(factor.n_effects == 1 for factor in factors)
    if not alone or not (theta > 0.0).all() or not (abs(here / theta - 1.0) < _SAME_SIZE).all():
        return None
    moves = []
    for factor, before, after in zip(factors, theta**2, here**2, strict=True):
        weights = system.cross.effect_precisions(factor)
        kept, keeps = (v * weights / (1.0 + v * weights) for v in (before, after))
        moves.append((keeps**3 / kept).sum() / (kept**2).sum() * (before / after) ** 2)
    return np.sqrt(moves)


class AlternatingSteps(Steps):
    """Steps on an objective whose posterior takes steps of its own.

    Parameters
    ----------
    objective : Alternating
    """

    most_halvings = _FEW_HALVINGS

    def __init__(self, objective: Alternating) -> None:
        super().__init__(objective)
        self._alternating = objective
        self._points: list[tuple[Point, np.ndarray]] = []

    def next(
        self,
        point: Point,
        model: QuadraticModel,
        derivatives: Derivatives,
        gradients: list[float],
        coarse: bool,
    ) -> Point | None:
        """An extrapolated point, or a judged step, or a better posterior at the same theta."""
        following = self._extrapolated(point, model, derivatives, gradients, coarse)
        if following is None:
            following = self.search(point, model, coarse)
        if following is None:
            # no theta is better before the posterior is
            following = self._objective.at(point.theta, point, coarse)
            if following is None or following.deviance > point.deviance - point.rounding:
                return None
        return following

    def _extrapolated(
        self,
        point: Point,
        model: QuadraticModel,
        derivatives: Derivatives,
        gradients: list[float],
        coarse: bool,
    ) -> Point | None:
        """The point that the last ones lead to; None where that is no better.

        Near the optimum an estimated objective cannot judge a step; there a gradient that grows
        ends the trail.
        """
        here = (point, point.theta + model.step)
        before = [(past.without_equations(), ahead) for past, ahead in self._points]
        self._points = [*before, here][-self._alternating.n_remembered :]
        blind = point.is_estimated and gradients[-1] < NEAR
        if blind and len(gradients) > 1 and gradients[-1] > 2.0 * gradients[-2]:
            self._points = [here]
        following = None
        if blind or len(self._points) > 1:
            curvature = np.diagonal(derivatives.hessian)
            following = self._alternating.accelerated(self._points, curvature, coarse, not blind)
        if following is None:
            self._points = [here]
        return following

    def is_hopeless(self, point: Point) -> bool:
        """Whether coefficients grow without bound, so that there is no optimum."""
        return self._alternating.runs_away(point)
