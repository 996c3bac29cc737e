"""The variational objective of a likelihood with several own parameters, such as thresholds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from skmixed.fit.implicit import held_curvature
from skmixed.fit.objective import Derivatives, Point
from skmixed.fit.quadratic_model import QuadraticModel, quadratic_model
from skmixed.fit.sites import Sites, VariationalPoint
from skmixed.fit.steps import AlternatingSteps
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.solvers.base import SingularSystemError

_MOST_STEPS = 5
"""Steps on the posterior at parameters whose curvature is to be that of the maximised ELBO."""

_CLOSE = 1e-3
"""Distance from the best posterior, in standard deviations, that is close enough."""

_SAME = 0.05
"""Change of any parameter within which the curvature of a point before will do."""


class JointObjective(VariationalObjective):
    """-2 ELBO whose steps on own parameters take the posterior along.

    Thresholds, standard deviations and effects grow together where effects are large, so that
    steps on each of them in turn are short. Here the working model is that of the own parameters
    that a step leads to, and near the optimum the Hessian is that of the maximised ELBO.
    """

    def following(self, point: VariationalPoint, theta: np.ndarray) -> Sites:
        """The working model at the posterior of a point and the own parameters of theta."""
        return self.sites_at(point, self.split(theta)[1])

    def at(
        self, theta: np.ndarray, near: Point | None = None, coarse: bool = False
    ) -> VariationalPoint | None:
        """The objective at `theta`, with a posterior that is close to the best one there.

        A coarse start has all digits of its posterior settled: steps begin at that.
        """
        return self._settled(super().at(theta, near, coarse), coarse and near is not None)

    def accelerated(
        self,
        trail: list[tuple[VariationalPoint, np.ndarray]],
        metric: np.ndarray,
        coarse: bool,
        judge: bool,
    ) -> VariationalPoint | None:
        """An extrapolated step, with a posterior that is close to the best one there."""
        return self._settled(super().accelerated(trail, metric, coarse, judge), coarse)

    def _settled(self, point: VariationalPoint | None, coarse: bool) -> VariationalPoint | None:
        """A few steps on the posterior at the same parameters, as far as they gain."""
        for _ in range(_MOST_STEPS):
            if point is None or point.distance < _CLOSE:
                break
            following = self._step(point.theta, point, coarse)
            if following is None or following.deviance >= point.deviance:
                break
            point = following
        return point

    def steps(self, point: Point) -> AlternatingSteps:
        """Steps on all parameters together."""
        return _JointSteps(self)


class _JointSteps(AlternatingSteps):
    """Alternating steps with the curvature of the ELBO maximised over the posterior."""

    def __init__(self, objective: JointObjective) -> None:
        super().__init__(objective)
        self._joint = objective
        self._last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def refine(self, point: Any, derivatives: Derivatives) -> Derivatives:
        """Derivatives with a Hessian for a posterior that follows (`skmixed.fit.implicit`)."""
        if point.system.n_products or point.is_estimated:
            return derivatives
        if self._last is None or np.abs(point.theta - self._last[0]).max() > _SAME:
            try:
                self._last = point.theta, *held_curvature(self._joint, point)
            except (SingularSystemError, np.linalg.LinAlgError):
                return derivatives
        _, places, curvature = self._last
        if not np.isfinite(curvature).all():
            return derivatives
        hessian = derivatives.hessian.copy()
        hessian[np.ix_(places, places)] = 2.0 * curvature
        return replace(derivatives, hessian=hessian)

    def next(
        self,
        point: Any,
        model: QuadraticModel,
        derivatives: Derivatives,
        gradients: list[float],
        coarse: bool,
    ) -> Point | None:
        """As before; where no step is better, one with the curvature at the point itself."""
        found = super().next(point, model, derivatives, gradients, coarse)
        if found is not None or self._last is None or self._last[0] is point.theta:
            return found
        self._last = None
        derivatives = self.refine(point, derivatives)
        model = quadratic_model(derivatives.gradient, derivatives.hessian)
        return super().next(point, model, derivatives, gradients, coarse)
