"""How far the estimates of a variational fit are from the maximum of the likelihood itself.

The fit maximised the ELBO. At its estimates the log likelihood has a gradient g, that of the gap
between the two, and its maximum is near one Newton step away, C g with C the inverse of minus the
second derivatives. One factor and nested factors are integrated by quadrature, with exact
derivatives; of crossed factors the largest is, and draws of all others are weighed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from skmixed.design import Design
from skmixed.fit.collapsed_estimate import WeighedTail, tail_moments
from skmixed.fit.collapsed_likelihood import CollapsedLikelihood
from skmixed.fit.collapsed_objective import (
    gradients_of,
    parameters_of,
    shares_of,
    weigh,
    weigh_ahead,
)
from skmixed.fit.corrected_fit import corrected_objective, corrected_way
from skmixed.fit.corrected_objective import coefficient_moves
from skmixed.fit.generalized_fit import predictor_scales
from skmixed.fit.implicit import uncertainty_at
from skmixed.fit.outer import FitOptions
from skmixed.fit.quadratic_model import quadratic_model
from skmixed.fit.quadrature_plan import NotIntegrableError, QuadraturePlan, plan_of
from skmixed.fit.result import FitResult
from skmixed.fit.sites import VariationalPoint
from skmixed.fit.tail_draws import CIRCLE, TailDraws, WorkingTail, circles
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.sums.standard_units import Units
from skmixed.sums.working_rows import WorkingRows

_ROWS, _CIRCLES, _FEWEST = 5_000_000, 32, 2
"""Rows times draws, and most and fewest circles of draws, that tell a gradient."""

Tell = Callable[[str], None]
"""Takes what is done next, in words."""


def say_nothing(text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class LikelihoodStep:
    """Estimates one Newton step on the likelihood from those of a fit.

    Attributes
    ----------
    result : FitResult
        With the covariances, own parameters and coefficients that the step leads to.
    without : tuple of FitResult
        The same without one of several sets of draws each, for the Monte Carlo error of the
        step; empty where it has none.
    log_likelihood, std : float
        At the estimates, of the standardised problem, and its Monte Carlo standard error.
    log_weights : ndarray (S,)
        Of draws; empty where there are none.
    """

    result: FitResult
    without: tuple[FitResult, ...]
    log_likelihood: float
    std: float
    log_weights: np.ndarray


@dataclass(frozen=True)
class Reopened:
    """A variational fit made again at its estimates.

    Attributes
    ----------
    objective : VariationalObjective
    point : VariationalPoint
        The best posterior at the estimates.
    units : Units
    design : Design
    result : FitResult
        Of the fit.
    options : FitOptions
        Of the fit.
    """

    objective: VariationalObjective
    point: VariationalPoint
    units: Units
    design: Design
    result: FitResult
    options: FitOptions

    def moved(self, step: np.ndarray) -> FitResult:
        """The result a step (P,) of (theta, own, beta) on."""
        prior, k = self.objective.prior, len(self.point.theta)
        theta, own = self.objective.split(self.point.theta + step[:k])
        factors = []
        for old, scale, basis in zip(
            self.result.factors, prior.scales(theta), self.units.bases, strict=True
        ):
            root = basis @ scale.matrix
            factors.append(replace(old, covariance=root @ root.T))
        beta = self.point.system.fixed_effects + step[k:]
        return replace(
            self.result,
            coefficients=self.units.response_scale * (self.units.fixed.to_centred() @ beta),
            factors=tuple(factors),
            parameters=own,
        )


def has_step(rows: WorkingRows, names: tuple[str, ...], options: FitOptions) -> bool:
    """Whether `likelihood_step` has a way: by quadrature alone, or with draws."""
    # the solver of the fit does not matter to either
    try:
        corrected_way(rows, names, replace(options, solver="auto"))
    except ValueError:
        return False
    return True


def likelihood_step(fit: Reopened, seed: int, tell: Tell = say_nothing) -> LikelihoodStep | None:
    """The estimates one Newton step on the likelihood away; None where there is no way to tell.

    Parameters
    ----------
    fit : Reopened
        Of a response that is not normal, with random effects and a posterior that keeps their
        correlations.
    seed : int
        Of draws.
    tell : callable, optional
    """
    rows = fit.objective.responses.rows
    names = tuple(factor.name for factor in fit.design.factors)
    if not has_step(rows, names, fit.options):
        return None
    with np.errstate(all="ignore"):
        try:
            plan = plan_of(rows, names)
        except NotIntegrableError:
            return _by_draws(fit, seed, tell)
        tell("gradient of the likelihood by quadrature")
        return _by_quadrature(fit, plan)


def _by_quadrature(fit: Reopened, plan: QuadraturePlan) -> LikelihoodStep | None:
    """The step by the likelihood's own gradient and Hessian."""
    objective, point, options = fit.objective, fit.point, fit.options
    penalty = options.penalty(objective.prior, fit.units, predictor_scales(fit.design))
    corrected, start = corrected_objective(
        replace(objective, penalty=penalty), point, plan, objective.n_threads
    )
    k = len(point.theta)
    found = corrected.at(start)
    if found is None:
        return None
    derivatives = corrected.derivatives(found)
    gradient, hessian = derivatives.gradient.copy(), derivatives.hessian
    # the likelihood is symmetric about a standard deviation of 0
    moving = objective.prior.moves(objective.split(point.theta)[0])
    gradient[: len(moving)][~moving] = 0.0
    if not np.isfinite(gradient.sum() + hessian.sum()):
        return None
    step = quadratic_model(gradient, hessian).step
    if options.integrate_fixed:
        beta = found.parameters[k:] + coefficient_moves(found.evaluation, k) @ step
        step = np.concatenate([step, beta - point.system.fixed_effects])
    if not np.isfinite(step).all():
        return None
    value = -0.5 * (found.deviance - corrected.marginal.penalty_at(found.parameters))
    return LikelihoodStep(fit.moved(step), (), value, 0.0, np.empty(0))


def _covariance(
    model: CollapsedLikelihood, draws: TailDraws, estimates: np.ndarray, k: int
) -> np.ndarray:
    """Covariance (n + p, P) of (theta, own, beta) with the P parameters of the draws.

    The curvature by the first k parameters is from differences of the gradient on one circle of
    draws, as the bound's own is too large where row variances are held; by coefficients it is the
    bound's.

    Parameters
    ----------
    model : CollapsedLikelihood
    draws : TailDraws
    estimates : ndarray (n + p, n + p)
        Covariance by the curvature of the bound.
    k : int
    """
    n = len(draws.base)
    values, moves = draws.draws.value[:CIRCLE], draws.draws.moves[:, :CIRCLE]
    part = replace(
        draws, draws=replace(draws.draws, value=values, moves=moves, bends=moves[:0, None]),
        normals=draws.normals[:CIRCLE],
    )  # fmt: skip
    errors = np.sqrt(np.diagonal(estimates))[:n]
    known = np.flatnonzero(errors > 0.0)
    inside = np.ix_(known, known)
    of_bound = np.linalg.pinv(estimates[:n, :n][inside])
    information = np.zeros((n, n))
    information[inside] = of_bound
    here = weigh(model, part, draws.base).gradient
    moved = known[known < k]
    rows = np.zeros((n, n))
    for j in moved.tolist():
        there, step = weigh_ahead(model, part, j, errors[j])
        rows[j] = (here - there.gradient) / step
    information[:, moved], information[moved] = rows[moved].T, rows[moved]
    information = 0.5 * (information + information.T)
    both = np.ix_(moved, moved)
    information[both] = 0.5 * (rows[both] + rows[both].T)
    try:
        np.linalg.cholesky(information[inside])
    except np.linalg.LinAlgError:
        return estimates[:, :n]
    covariance = np.zeros((n, n))
    covariance[inside] = np.linalg.inv(information[inside])
    following = np.zeros((len(estimates) - n, n))
    following[:, known] = estimates[n:, :n][:, known] @ of_bound
    return np.vstack([covariance, following @ covariance])


def _by_draws(fit: Reopened, seed: int, tell: Tell) -> LikelihoodStep | None:
    """The step by weighed draws of all factors but the largest."""
    objective, point = fit.objective, fit.point
    integrate_fixed = fit.options.integrate_fixed
    fixed = point.system.fixed_covariance()
    estimates = uncertainty_at(objective, point, fixed).estimates
    if estimates is None:
        return None
    model = CollapsedLikelihood(
        objective.responses, objective.likelihood, objective.prior, integrate_fixed,
        objective.n_threads,
    )  # fmt: skip
    n_rows = model.responses.rows.n_rows
    n_circles = int(np.clip(_ROWS // (CIRCLE * n_rows), _FEWEST, _CIRCLES))
    working = WorkingTail(objective, point, circles(n_circles, model.n_tail, seed))
    k = len(point.theta)
    parameters = parameters_of(point, integrate_fixed)
    tell(f"covariance of {model.n_tail:,} effects, to draw them")
    draws = working.draws(parameters, integrate_fixed)
    tell(f"{n_circles * CIRCLE} draws")
    weighing = weigh(model, draws, parameters)
    if not np.isfinite(weighing.value):
        return None
    tell("curvature of the likelihood")
    covariance = _covariance(model, draws, estimates, k)
    tail = WeighedTail.of(draws, weighing)
    gradients = gradients_of(draws, weighing, parameters)
    moving = objective.prior.moves(objective.split(point.theta)[0])
    gradients[:, : len(moving)][:, ~moving] = 0.0

    def step(kept: np.ndarray) -> np.ndarray:
        found = covariance @ (shares_of(weighing.log_weights[kept]) @ gradients[kept])
        if integrate_fixed and len(fixed):
            columns = slice(model.cross.n_tail, model.n_tail)
            moments = tail_moments(tail.only(kept), draws.centre, columns, len(fixed))
            found[k:] += moments.means[0] - point.system.fixed_effects
        return found

    everything = np.arange(n_circles * CIRCLE)
    found = step(everything)
    if not np.isfinite(found).all():
        return None
    sets = [fit.moved(step(everything[everything // CIRCLE != c])) for c in range(n_circles)]
    return LikelihoodStep(
        fit.moved(found), tuple(sets), *tail.log_likelihood(), weighing.log_weights
    )
