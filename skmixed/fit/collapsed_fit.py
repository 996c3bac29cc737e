"""Maximise the likelihood of crossed factors, from where a variational fit ended."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skmixed.fit.collapsed_estimate import WeighedTail
from skmixed.fit.collapsed_likelihood import CollapsedLikelihood
from skmixed.fit.collapsed_objective import (
    CollapsedObjective,
    curvature_at,
    parameters_of,
    weigh,
)
from skmixed.fit.collapsed_result import CollapsedFit, publish_collapsed
from skmixed.fit.corrected_objective import is_runaway
from skmixed.fit.corrected_result import VariationalFit
from skmixed.fit.identification import remove_unidentified, settle_boundary
from skmixed.fit.implicit import uncertainty_at
from skmixed.fit.newton import NewtonState, minimise
from skmixed.fit.outer import FitOptions
from skmixed.fit.result import FitResult
from skmixed.fit.sites import VariationalPoint
from skmixed.fit.tail_draws import CIRCLE, TailDraws, WorkingTail, circles

LARGEST_TAIL = 10_000
"""Effects of all factors but the eliminated one, whose covariance is factorised."""

_CIRCLES, _FIRST_CIRCLES, _MORE_CIRCLES = 2, 8, 4
"""Circles of draws: those that steps follow; the first, and further ones, that tell the log
likelihood."""

_MOST_CIRCLES = 16
"""Most circles of draws that steps follow; they are doubled where steps did not converge."""

_ERROR = 0.045
"""Monte Carlo error of the log likelihood at which draws suffice."""

_MOST_ROWS, _MOST_DRAWS = 15_000_000, 512
"""Rows times draws, and draws, beyond which none are added."""

_TOLERANCE = 1e-3
"""Scaled gradient that is small enough: Monte Carlo errors of estimates are larger."""

_STILL = 0.02
"""Scaled gradient at which no step is left that Monte Carlo errors would not hide."""

_SETTLED, _MOST_ROUNDS, _ROUND_STEPS = 0.1, 20, 4
"""Standard errors within which draws need not be made anew, most times that they are, and steps
after which they are in any case."""

_FURTHEST = 0.3
"""Standard errors from the base of draws within which the curvature is that at the base."""

_UNKNOWN_ERROR = 0.2
"""In place of a standard error that is not known: differences take a tenth of it."""

_MOST_STEPS, _NEAR = 8, 1e-2
"""Steps on a posterior at given parameters, and distance from the best one that is near enough."""


def fit_collapsed(before: VariationalFit, options: FitOptions) -> FitResult:
    """Maximise the likelihood from a variational optimum.

    Draws come from the variational posterior at the parameters from which a round starts; where
    the estimates have moved, a further round starts from them.

    Parameters
    ----------
    before : VariationalFit
    options : FitOptions
    """
    return _Rounds(before, options).run()


class _Rounds:
    """Rounds of a fit.

    Parameters
    ----------
    before : VariationalFit
    options : FitOptions
    """

    def __init__(self, before: VariationalFit, options: FitOptions) -> None:
        self.before, self.options = before, options
        objective = before.objective
        self.objective = objective
        self.integrate_fixed = options.integrate_fixed
        self.model = CollapsedLikelihood(
            objective.responses, objective.likelihood, objective.prior, self.integrate_fixed,
            options.n_threads,
        )  # fmt: skip
        assert isinstance(before.state.point, VariationalPoint)
        self.point: VariationalPoint = before.state.point
        self.normals = circles(_CIRCLES, self.model.n_tail, options.seed)
        self.n_iter = before.state.n_iter
        self.stopped = False

    def run(self) -> FitResult:
        """The fit."""
        parameters = parameters_of(self.point, self.integrate_fixed)
        hessian = first = self._first_hessian(parameters)
        states: list[NewtonState] = []
        for _ in range(_MOST_ROUNDS):
            working = WorkingTail(self.objective, self.point, self.normals)
            draws = working.draws(parameters, self.integrate_fixed)
            collapsed = CollapsedObjective(self.model, working, draws, self.point.solved, hessian)
            states.append(self._minimise(collapsed, parameters))
            state = states[-1]
            moved = state.point.theta - parameters
            parameters = state.point.theta
            # a step beyond the reach of the draws has made draws of its own
            near = float(0.5 * moved @ hessian @ moved) < _SETTLED**2
            if near and state.scaled_gradient < _STILL:
                states[-1] = replace(state, converged=True)
                break
            if self._ends(parameters):
                break
            self.point = self._settled(parameters)
            hessian = state.derivatives.hessian if state.converged else first
            if not state.converged:
                # more draws where few lead astray
                n_circles = min(2 * len(self.normals) // CIRCLE, _MOST_CIRCLES)
                self.normals = circles(n_circles, self.model.n_tail, self.options.seed)
        return self._finished(collapsed, states)

    def _minimise(self, collapsed: CollapsedObjective, parameters: np.ndarray) -> NewtonState:
        report = self.options.report
        before = self.n_iter

        def tell(state: NewtonState) -> bool:
            n_iter = before + state.n_iter
            # the start was reported, and callbacks expect `max_iter` steps in all
            if report is None or state.n_iter == 0 or n_iter >= self.options.max_iter:
                return False
            self.stopped = report(
                n_iter,
                self.before.units.elbo(state.deviances[-1]),
                state.scaled_gradient,
                lambda: self._finished(collapsed, [state]),
                "draws",
            )
            return self.stopped

        state = minimise(
            collapsed, parameters, tol=max(self.options.tol, _TOLERANCE),
            max_iter=_ROUND_STEPS, report=tell,
        )  # fmt: skip
        self.n_iter += state.n_iter
        return state

    def _ends(self, parameters: np.ndarray) -> bool:
        """Whether rounds end without an optimum."""
        exhausted = self.stopped or self.n_iter >= self.options.max_iter
        return exhausted or is_runaway(self.objective.prior, parameters)

    def _first_hessian(self, parameters: np.ndarray) -> np.ndarray:
        """Second derivatives of -2 ELBO by all parameters.

        Those by standard deviations of 0 are also those of the likelihood, as the bound is exact
        without effects and short of the likelihood by a higher power of their size.
        """
        fixed = self.point.system.fixed_covariance()
        estimates = uncertainty_at(self.objective, self.point, fixed).estimates
        n = len(parameters)
        k = len(self.point.theta)
        hessian = np.zeros((n, n))
        hessian[:k, :k] = np.diag(np.diagonal(self.before.state.derivatives.hessian))
        if not self.integrate_fixed:
            hessian[k:, k:] = 2.0 * np.linalg.pinv(fixed)
        if estimates is not None:
            known = np.flatnonzero(np.diagonal(estimates)[:n] > 0.0)
            inside = np.ix_(known, known)
            hessian[inside] = 2.0 * np.linalg.pinv(estimates[inside])
        return hessian

    def _settled(self, parameters: np.ndarray) -> VariationalPoint:
        """The best variational posterior at theta and own parameters."""
        theta, point = parameters[: len(self.point.theta)], self.point
        for _ in range(_MOST_STEPS):
            following = self.objective.at(theta, point)
            if following is None:
                break
            point = following
            if point.distance < _NEAR and not point.is_coarse:
                break
        return point

    # The end of a fit ------------------------------------------------------------------

    def _finished(self, collapsed: CollapsedObjective, states: list[NewtonState]) -> FitResult:
        """Published estimates at the end of the last of some rounds."""
        state = settle_boundary(collapsed, states[-1])
        state, unidentified = remove_unidentified(collapsed, state)
        state = _joined([*states[:-1], state])
        everything = tuple(sorted({*self.before.doubts.unidentified, *unidentified}))
        doubts = replace(self.before.doubts, unidentified=everything)
        parameters = state.point.theta
        errors = self._errors(state)
        if np.abs((parameters - collapsed.draws.base) / errors).max(initial=0.0) > _FURTHEST:
            draws = collapsed.working.draws(parameters, self.integrate_fixed)
            collapsed = replace(collapsed, draws=draws)
        moves = collapsed.working.bent(collapsed.draws, self.integrate_fixed)
        curvature = curvature_at(self.model, moves, collapsed.at_base, errors)
        working, draws, found = self._weighed(parameters)
        theta = parameters[: len(self.point.theta)]
        point = replace(self.point, theta=theta, solved=working.solved(parameters))
        fit = CollapsedFit(self.model, state, doubts, draws, found, curvature, moves, point)
        return publish_collapsed(fit, self.before)

    def _errors(self, state: NewtonState) -> np.ndarray:
        """Standard errors of the parameters, roughly; for differences."""
        curvature = np.diagonal(state.derivatives.hessian)
        errors = np.sqrt(2.0 / np.where(curvature > 0.0, curvature, np.inf))
        return np.where(errors > 0.0, np.minimum(errors, 1.0), _UNKNOWN_ERROR)

    def _weighed(self, parameters: np.ndarray) -> tuple[WorkingTail, TailDraws, WeighedTail]:
        """Draws at the estimates, as many as the log likelihood needs, and what makes them."""
        most = min(_MOST_DRAWS, _MOST_ROWS // self.model.responses.rows.n_rows)
        seed, n_tail = self.options.seed, self.model.n_tail
        normals = circles(_FIRST_CIRCLES, n_tail, seed + 1)
        working = WorkingTail(self.objective, self.point, normals)
        draws = working.draws(parameters, self.integrate_fixed, order=0)
        parts = [WeighedTail.of(draws, weigh(self.model, draws, parameters))]
        while True:
            found = WeighedTail.joined(parts)
            n_draws = len(found.log_weights) + _MORE_CIRCLES * CIRCLE
            if found.log_likelihood()[1] < _ERROR or n_draws > most:
                return working, draws, found
            draws = draws.anew(circles(_MORE_CIRCLES, n_tail, seed + 1 + len(parts)))
            parts.append(WeighedTail.of(draws, weigh(self.model, draws, parameters)))


def _joined(states: list[NewtonState]) -> NewtonState:
    """The last of some states, with the path of all of them."""
    last = states[-1]
    return replace(
        last,
        n_iter=sum(state.n_iter for state in states),
        deviances=sum((state.deviances for state in states), ()),
        gradients=sum((state.gradients for state in states), ()),
    )
