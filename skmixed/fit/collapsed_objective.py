"""-2 log likelihood of a model with crossed factors, as Newton's iterations use it.

The likelihood is the integral of f(t), that of all rows at given effects t of the tail times
their prior. With draws t from a normal q near f over its integral, and log weights
w = log f(t) - log q(t),

    log L = E w + var w / 2 + further cumulants of w.

Importance weights would average exp(w) and degenerate, as the variance of w grows with the number
of effects; cumulants per effect do not, and w is nearly a sum of many small terms. Normal numbers
are held while draws follow the parameters (`tail_draws.py`), so that their mean and variance are
smooth functions of the parameters. With d/dphi the derivative by a parameter that moves the draw
along,

    dw/dphi = d log f / dphi at given t + (d log f / dt) dt/dphi + d log|L| / dphi.

What a parameter does to q and to f cancels, so that the w of all draws hardly differ in how they
move: the estimates have far less Monte Carlo error than the log likelihood itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from skmixed.families.base import Likelihood
from skmixed.fit.collapsed_likelihood import CollapsedLikelihood, GivenTail
from skmixed.fit.corrected_objective import (
    LARGEST_ROOT,
    bounded_parameters,
    is_runaway,
    largest_root,
)
from skmixed.fit.objective import Derivatives, Point
from skmixed.fit.sites import VariationalPoint
from skmixed.fit.steps import RankOneUpdates, Steps
from skmixed.fit.tail_draws import TailDraws, WorkingTail
from skmixed.posteriors import Solved
from skmixed.posteriors.prior import EffectsPrior

_STEP = 0.03
"""Of differences of the gradient, in standard errors; see `weigh_ahead`."""

_ROUNDING = 1e-7
"""Error of a quadrature, per level."""

_LARGEST_SPREAD = 4.0
"""Variance of the log weights, over one more than that before a step, of draws too far off."""

_REMADE = 2e-3
"""Difference between values at the same parameters of draws that were made at two bases."""


@dataclass(frozen=True)
class Weighing:
    """Draws weighed at parameters.

    Attributes
    ----------
    log_weights : ndarray (S,)
    gradients : ndarray (S, P)
        Their derivatives by the parameters, draws moving along.
    tails : ndarray (S, N)
        The draws.
    tail : ndarray (S, N)
        Derivatives of log f at them.
    given : GivenTail
    """

    log_weights: np.ndarray
    gradients: np.ndarray
    tails: np.ndarray
    tail: np.ndarray
    given: GivenTail

    @property
    def value(self) -> float:
        """Mean of the log weights, and half their variance."""
        return float(self.log_weights.mean() + 0.5 * self.log_weights.var())

    @cached_property
    def shares(self) -> np.ndarray:
        """See `shares_of`."""
        return shares_of(self.log_weights)

    @property
    def gradient(self) -> np.ndarray:
        """Derivatives of the value by the parameters, (P,)."""
        return self.shares @ self.gradients


def shares_of(log_weights: np.ndarray) -> np.ndarray:
    """Shares (S,) of draws in posterior means, to first order in their log weights."""
    return (1.0 + log_weights - log_weights.mean()) / len(log_weights)


def parameters_of(point: VariationalPoint, integrate_fixed: bool) -> np.ndarray:
    """(theta, own) of a posterior, and beta where it is not integrated out, (P,)."""
    held = np.empty(0) if integrate_fixed else point.system.fixed_effects
    return np.concatenate([point.theta, held])


def weigh(model: CollapsedLikelihood, draws: TailDraws, parameters: np.ndarray) -> Weighing:
    """Log weights of draws at parameters, with derivatives.

    Parameters
    ----------
    model : CollapsedLikelihood
    draws : TailDraws
    parameters : ndarray (P,)
        (theta, own), and beta where it is not integrated out.
    """
    tails = draws.at(parameters)
    given = model.at(parameters, tails)
    n = model.cross.n_tail
    density, _ = draws.log_densities(parameters)
    effects = tails[:, :n]
    log_weights = given.values - 0.5 * (effects**2).sum(axis=1) + density
    log_weights += 0.5 * (tails.shape[1] - n) * np.log(2.0 * np.pi)
    tail = given.tail.copy()
    tail[:, :n] -= effects
    found = Weighing(log_weights, given.parameters, tails, tail, given)
    return replace(found, gradients=gradients_of(draws, found, parameters))


def weigh_ahead(
    model: CollapsedLikelihood, draws: TailDraws, number: int, error: float
) -> tuple[Weighing, float]:
    """Draws weighed where one parameter of their base is a step ahead, and the step.

    Parameters
    ----------
    model : CollapsedLikelihood
    draws : TailDraws
    number : int
        Of the parameter.
    error : float
        Its standard error, roughly.
    """
    step, ahead = _STEP * error, draws.base.copy()
    ahead[number] += step
    return weigh(model, draws, ahead), step


def gradients_of(draws: TailDraws, found: Weighing, parameters: np.ndarray) -> np.ndarray:
    """Derivatives (S, P) of the log weights by the parameters, draws moving along."""
    _, by_parameters = draws.log_densities(parameters)
    moved = np.einsum("sn,jsn->sj", found.tail, draws.slopes(parameters))
    return found.given.parameters + moved + by_parameters


@dataclass(frozen=True)
class CollapsedPoint(Point):
    """The objective at parameters, with the draws weighed there.

    Attributes
    ----------
    weighing : Weighing
    draws : TailDraws
        Those that were weighed.
    """

    weighing: Weighing = field(kw_only=True)
    draws: TailDraws = field(kw_only=True)

    @property
    def is_estimated(self) -> bool:
        """Draws are held: differences of values have no Monte Carlo error that could mislead."""
        return False

    def doubt(self, other: Point) -> float:
        """By how much a difference of values may be off: nothing, of the same draws."""
        assert isinstance(other, CollapsedPoint)
        return 0.0 if other.draws is self.draws else _REMADE


@dataclass(frozen=True)
class CollapsedObjective:
    """-2 log likelihood by entries of all T, the likelihood's own parameters, and coefficients.

    Coefficients are no parameters where they are integrated out.

    Attributes
    ----------
    model : CollapsedLikelihood
    working : WorkingTail
    draws : TailDraws
        About the parameters from which the iterations start.
    solved : Solved
        The system of the variational fit, which points hold.
    hessian : ndarray (P, P)
        Second derivatives near the optimum.
    """

    model: CollapsedLikelihood
    working: WorkingTail
    draws: TailDraws
    solved: Solved
    hessian: np.ndarray

    @property
    def prior(self) -> EffectsPrior:
        """The covariance of the random effects as a function of theta."""
        return self.model.prior

    @property
    def likelihood(self) -> Likelihood:
        """The response distribution."""
        return self.model.likelihood

    @cached_property
    def at_base(self) -> Weighing:
        """The draws weighed where they are developed."""
        return weigh(self.model, self.draws, self.draws.base)

    def canonical(self, parameters: np.ndarray) -> np.ndarray:
        """The equivalent parameters with nonnegative diagonals, inside what numbers can hold."""
        n_held = 0 if self.model.integrate_fixed else self.model.n_fixed
        return bounded_parameters(self.prior, parameters, n_held)

    def split(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entries of all T, and all others."""
        m = self.prior.n_parameters
        return parameters[:m], parameters[m:]

    def at(
        self, parameters: np.ndarray, near: Point | None = None, coarse: bool = False
    ) -> CollapsedPoint | None:
        """The objective at parameters; None where it cannot be computed."""
        if largest_root(self.prior, parameters) > LARGEST_ROOT:
            return None
        draws = self.draws
        if not draws.reaches(parameters):
            draws = self.working.draws(parameters, self.model.integrate_fixed)
        if np.array_equal(parameters, self.draws.base):
            found = self.at_base
        else:
            found = weigh(self.model, draws, parameters)
        if not np.isfinite(found.value):
            return None
        if isinstance(near, CollapsedPoint):
            spread = near.weighing.log_weights.var()
            if found.log_weights.var() > _LARGEST_SPREAD * (1.0 + spread):
                return None
        return CollapsedPoint(
            parameters, -2.0 * found.value, 1.0, self.solved,
            rounding=_ROUNDING * self.model.eliminated.n_levels, weighing=found, draws=draws,
        )  # fmt: skip

    def derivatives(
        self, point: CollapsedPoint, coarse: bool = False, information: np.ndarray | None = None
    ) -> Derivatives:
        """Gradient, and the Hessian that is held."""
        gradient = -2.0 * point.weighing.gradient
        # the likelihood is symmetric about the end of a parameter's range, its draws are not quite
        moving = self.prior.moves(self.split(point.theta)[0])
        gradient[: len(moving)][~moving] = 0.0
        return Derivatives(gradient, self.hessian, self.hessian)

    def steps(self, point: Point) -> Steps:
        """Steps judged by the value."""
        return _SecantSteps(self)


class _SecantSteps(Steps):
    """Steps with a Hessian that explains all gradients so far."""

    def __init__(self, objective: CollapsedObjective) -> None:
        super().__init__(objective)
        self._updates = RankOneUpdates()

    def refine(self, point: Point, derivatives: Derivatives) -> Derivatives:
        """Derivatives with the Hessian of symmetric rank-one updates."""
        return self._updates.corrected(point, derivatives)

    def is_hopeless(self, point: Point) -> bool:
        """Whether effects grow without bound: levels of one class each have no finite variance."""
        return is_runaway(self._objective.prior, point.theta)


@dataclass(frozen=True)
class Curvature:
    """Second derivatives of -2 log likelihood, and what else differences tell.

    Attributes
    ----------
    hessian : ndarray (P, P)
    level_moves : ndarray (P, L, q)
        Derivatives of the posterior means of the whitened effects of the eliminated levels.
    """

    hessian: np.ndarray
    level_moves: np.ndarray


def curvature_at(
    model: CollapsedLikelihood, draws: TailDraws, here: Weighing, errors: np.ndarray
) -> Curvature:
    """Differences of the gradient about the base of the draws.

    Parameters
    ----------
    model : CollapsedLikelihood
    draws : TailDraws
    here : Weighing
        At the base.
    errors : ndarray (P,)
        Standard errors of the parameters, roughly.
    """
    hessian, moves = np.zeros((len(errors), len(errors))), []
    # draws of second order have other slopes at the base than those of first
    gradient = here.shares @ gradients_of(draws, here, draws.base)
    means = here.given.means.mean(axis=0)
    for j, error in enumerate(errors):
        there, step = weigh_ahead(model, draws, j, error)
        hessian[j] = -2.0 * (there.gradient - gradient) / step
        moves.append((there.given.means.mean(axis=0) - means) / step)
    return Curvature(0.5 * (hessian + hessian.T), np.array(moves))
