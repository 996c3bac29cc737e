"""Safeguarded Newton iterations on the variance parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from skmixed.fit.objective import Derivatives, Point
from skmixed.fit.quadratic_model import QuadraticModel, quadratic_model
from skmixed.fit.steps import NEAR, ROUNDING, Steps
from skmixed.posteriors import EffectsPrior, PosteriorCovariance
from skmixed.sums.standard_units import Units

_COARSE = 1e-3
"""Standard errors from the optimum within which the next step needs all digits."""

_ARRIVED_ESTIMATE = 1e-3
"""Standard errors from its optimum at which an estimated objective has arrived, at most.

Random vectors move that optimum by some hundredths of a standard error.
"""

_ARRIVED_ERROR = 0.01
"""Standard errors from its optimum, per standard error of the log determinant, that suffice."""


class Minimised(Protocol):
    """An objective as a function of theta, as Newton's iterations use it."""

    @property
    def prior(self) -> EffectsPrior:
        """The covariance of the random effects as a function of theta."""
        ...

    def canonical(self, theta: np.ndarray) -> np.ndarray:
        """The equivalent theta with nonnegative diagonals, inside its bounds."""
        ...

    def split(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The parameters of the prior, and all others: of the noise or the likelihood."""
        ...

    def at(
        self, theta: np.ndarray, near: Point | None = None, coarse: bool = False
    ) -> Point | None:
        """The objective at `theta`, started from a near point; None where it is not finite."""
        ...

    def derivatives(
        self, point: Any, coarse: bool = False, information: np.ndarray | None = None
    ) -> Derivatives:
        """Gradient and Hessian at a point."""
        ...

    def steps(self, point: Point) -> Steps:
        """Steps that lead from a first point to the optimum."""
        ...


class OuterObjective(Minimised, Protocol):
    """-2 ELBO as a function of theta, as the outer loop uses it."""

    @property
    def posterior(self) -> Any:
        """The family of the posterior."""
        ...

    @property
    def likelihood(self) -> Any:
        """The response distribution."""
        ...

    def posterior_covariance(self, point: Any, joint_limit: int) -> PosteriorCovariance:
        """The covariance of the posterior at a point."""
        ...

    def deviance_error(self, point: Any) -> float:
        """Root mean square error of the objective at a point; 0 where it is exact."""
        ...

    def separated(self, point: Any, units: Units) -> tuple[int, ...]:
        """Fixed-effect columns that predict a part of the responses without error."""
        ...


@dataclass(frozen=True)
class NewtonState:
    """State of the iterations.

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
class Lead:
    """Steps that led from a start to next to the optimum, before the iterations.

    Attributes
    ----------
    points : tuple of callable
        Each makes a point on the way, from the start on; None where it cannot be computed.
    deviances, gradients : tuple of float
        Of these points.
    last : Point
        Where the iterations go on.
    """

    points: tuple[Callable[[], Point | None], ...]
    deviances: tuple[float, ...]
    gradients: tuple[float, ...]
    last: Point

    def followed_by(self, other: Lead) -> Lead:
        """These steps and those that went on from their last point."""
        return Lead(
            self.points + other.points,
            self.deviances + other.deviances,
            self.gradients + other.gradients,
            other.last,
        )

    def state(self, objective: Minimised, n_iter: int) -> NewtonState:
        """The state of the iterations after some of these steps."""
        point = self.points[n_iter]() or self.last
        before = slice(0, n_iter + 1)
        return NewtonState(
            point, objective.derivatives(point), self.gradients[n_iter], n_iter,
            self.deviances[before], self.gradients[before], False,
        )  # fmt: skip


def minimise(
    objective: Minimised,
    theta: np.ndarray,
    *,
    tol: float,
    max_iter: int,
    report: Callable[[NewtonState], bool] | None = None,
    lead: Lead | None = None,
    is_far: bool = False,
) -> NewtonState:
    """Minimise the objective from `theta`.

    Every step solves with the Hessian whose negative eigenvalues are turned positive. Far
    from the optimum the Hessian is that of average information, which takes good long steps;
    near it a better one, which makes the last steps quadratic. The objective says how its
    steps are judged (`skmixed.fit.steps`). A stationary point with a direction of negative
    curvature (a variance that is zero but wants to grow, a saddle) is left along it.

    Parameters
    ----------
    objective : Minimised
    theta : ndarray (m,)
        Where to start.
    tol : float
        Bound on the scaled gradient. An estimated objective may stop earlier, at 1e-3 or less.
    max_iter : int
        Bound on the number of steps.
    report : callable, optional
        Called with the state before every step and at the end; a true answer
        stops the iterations.
    lead : Lead, optional
        Steps from `theta` that were taken already.
    is_far : bool, default=False
        Whether the optimum is not expected at `theta`, so that few digits suffice there.
    """
    point = _start(objective, theta, is_far and max_iter > 0) if lead is None else lead.last
    steps = objective.steps(point)
    deviances = [point.deviance] if lead is None else [*lead.deviances, point.deviance]
    gradients = [] if lead is None else list(lead.gradients)
    derivatives: Derivatives | None = None
    n_iter = len(gradients)
    while True:
        coarse = not gradients or gradients[-1] > _COARSE
        kept = steps.kept_information(point, derivatives, gradients)
        within = max(tol, min(_ARRIVED_ESTIMATE, _ARRIVED_ERROR * point.log_det_error))
        derivatives, model = _derive(objective, steps, point, within, coarse, kept)
        gradients.append(float(np.hypot(model.scaled_gradient, point.distance)))
        idle = _is_idle(point, deviances, gradients)
        arrived = _has_arrived(deviances, gradients, within, idle) and not point.is_coarse
        state = NewtonState(
            point, derivatives, gradients[-1], n_iter,
            tuple(deviances), tuple(gradients), arrived and not len(model.descents),
        )  # fmt: skip
        stop = report(state) if report is not None else False
        if state.converged or stop or n_iter >= max_iter or (idle and not arrived):
            return state
        if steps.is_hopeless(point):
            return replace(state, converged=False)
        if arrived:
            following = steps.leave_saddle(point, model)
            if following is None:
                return replace(state, converged=True)
        else:
            following = steps.next(point, model, derivatives, gradients, coarse)
        if following is None:
            # no step can show a gain that rounding hides
            hidden = gradients[-1] ** 2 < _rounding(deviances) and not point.is_coarse
            return replace(state, converged=hidden and not len(model.descents))
        point = following
        n_iter += 1
        deviances.append(point.deviance)


def _start(objective: Minimised, theta: np.ndarray, coarse: bool) -> Point:
    for _ in range(20):
        point = objective.at(theta, coarse=coarse)
        if point is not None:
            return point
        # hardly any noise is left there: less variance of the effects leaves more
        theta = 0.1 * theta
    raise ValueError(
        "The ELBO is not finite at any starting value: y, the offset or columns of X differ by "
        "too many orders of magnitude; change their units."
    )


def _derive(
    objective: Minimised,
    steps: Steps,
    point: Point,
    tol: float,
    coarse: bool,
    information: np.ndarray | None,
) -> tuple[Derivatives, QuadraticModel]:
    """Derivatives at a point, exact and refined near the optimum, and what they say."""
    derivatives = objective.derivatives(point, coarse, information)
    model = quadratic_model(derivatives.gradient, derivatives.hessian)
    if coarse and point.system.rounds and model.scaled_gradient < 10.0 * tol:
        derivatives = objective.derivatives(point)
        model = quadratic_model(derivatives.gradient, derivatives.hessian)
    if tol < model.scaled_gradient < NEAR:
        refined = steps.refine(point, derivatives)
        if refined is not derivatives:
            derivatives = refined
            model = quadratic_model(derivatives.gradient, derivatives.hessian)
    return derivatives, model


def _has_arrived(deviances: list[float], gradients: list[float], tol: float, idle: bool) -> bool:
    """Whether the gradient is zero, or rounding is what is left of it."""
    lost_in_rounding = idle and gradients[-1] ** 2 < _rounding(deviances)
    return gradients[-1] <= tol or lost_in_rounding or _stagnates(gradients)


def _is_idle(point: Point, deviances: list[float], gradients: list[float]) -> bool:
    """Whether steps have long brought nothing, far from a stationary point."""
    if len(deviances) < 6 or gradients[-1] < 1e-4 or point.is_estimated:
        return False
    return deviances[-6] - deviances[-1] < _rounding(deviances)


def _rounding(deviances: list[float]) -> float:
    """Below it a gain says nothing, neither one made nor one that the gradient promises."""
    return 10 * ROUNDING * max(abs(deviances[-1]), 1.0)


def _stagnates(gradients: list[float]) -> bool:
    """Whether rounding, not distance, is what is left of the gradient."""
    return len(gradients) > 3 and gradients[-1] < 1e-4 and gradients[-1] > 0.5 * gradients[-4]
