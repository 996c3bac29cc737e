"""-2 log likelihood, random effects integrated out, as Newton's iterations use it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from skmixed.families.base import Likelihood
from skmixed.fit.marginal_likelihood import Evaluation, MarginalLikelihood
from skmixed.fit.objective import Derivatives, Point
from skmixed.fit.quadratic_model import QuadraticModel
from skmixed.fit.steps import Steps
from skmixed.posteriors import Solved
from skmixed.posteriors.prior import EffectsPrior

_LARGEST_OWN = 30.0
"""Bound of a likelihood's own parameters, which are logarithms."""


_COARSE, _COARSE_ERROR = 0.6, 1e-7
"""Digits far from the optimum, over those near it, and the error per level that they leave."""


LARGEST_ROOT, _RUNAWAY = 200.0, 60.0
"""Standard deviation of effects on the predictor that is not tried, and that ends the iterations:
quadrature takes the longer the larger it is."""

_FAR = 0.5
"""Standard errors from the optimum within which a step leads near it."""


@dataclass(frozen=True)
class CorrectedPoint(Point):
    """The objective at parameters (theta, own, beta), with its derivatives.

    Attributes
    ----------
    parameters : ndarray
        (theta, own, beta).
    evaluation : Evaluation
        At these.
    """

    parameters: np.ndarray = field(kw_only=True)
    evaluation: Evaluation = field(kw_only=True)

    @property
    def distance_left(self) -> float:
        """Newton decrement: distance from the optimum in standard errors."""
        gradient, hessian = self.evaluation.gradient, self.evaluation.hessian
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        return float(np.sqrt(abs(gradient @ step)))

    @property
    def is_estimated(self) -> bool:
        """Quadrature has no random vectors."""
        return False

    def doubt(self, other: Point) -> float:
        """Differences of quadratures are exact."""
        return 0.0


@dataclass(frozen=True)
class CorrectedObjective:
    """-2 log likelihood by entries of all T, the likelihood's own parameters, and coefficients.

    Attributes
    ----------
    marginal : MarginalLikelihood
    solved : Solved
        The system of the variational fit, which points hold.
    """

    marginal: MarginalLikelihood
    solved: Solved

    @property
    def prior(self) -> EffectsPrior:
        """The covariance of the random effects as a function of theta."""
        return self.marginal.prior

    @property
    def likelihood(self) -> Likelihood:
        """The response distribution."""
        return self.marginal.likelihood

    def canonical(self, parameters: np.ndarray) -> np.ndarray:
        """The equivalent parameters with nonnegative diagonals, inside what numbers can hold."""
        return bounded_parameters(self.prior, parameters, self.marginal.fixed.shape[1])

    def split(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Entries of all T, and all others."""
        m = self.prior.n_parameters
        return parameters[:m], parameters[m:]

    def at(
        self, parameters: np.ndarray, near: Point | None = None, coarse: bool = False
    ) -> CorrectedPoint | None:
        """The objective at parameters; None where it cannot be computed."""
        if largest_root(self.prior, parameters) > LARGEST_ROOT:
            return None
        # the first point is never the last one, nor is one that a long step leads to
        coarse = not isinstance(near, CorrectedPoint) or (coarse and near.distance_left > _FAR)
        found = self.marginal.at(parameters, _COARSE if coarse else 1.0)
        if not np.isfinite(found.value):
            return None
        rounding = _COARSE_ERROR * self.marginal.n_integrals if coarse else 0.0
        return CorrectedPoint(
            parameters, -2.0 * found.value, 1.0, self.solved, is_coarse=coarse,
            rounding=rounding, parameters=parameters, evaluation=found,
        )  # fmt: skip

    def derivatives(
        self, point: CorrectedPoint, coarse: bool = False, information: np.ndarray | None = None
    ) -> Derivatives:
        """Gradient and Hessian, which came with the value."""
        hessian = -2.0 * point.evaluation.hessian
        return Derivatives(-2.0 * point.evaluation.gradient, hessian, hessian)

    def profile_hessian(self, point: CorrectedPoint) -> np.ndarray:
        """Second derivatives of -2 log likelihood, maximised over beta, by (theta, own)."""
        hessian = -2.0 * point.evaluation.hessian
        theta, own, _ = self.marginal.split(point.parameters)
        k = len(theta) + len(own)
        moves = coefficient_moves(point.evaluation, k)
        return hessian[:k, :k] + hessian[:k, k:] @ moves

    def steps(self, point: Point) -> Steps:
        """Steps judged by the value."""
        return _CorrectedSteps(self)


class _CorrectedSteps(Steps):
    """Steps judged by the value, of which that of a coarse point is not the last word."""

    def next(
        self,
        point: Point,
        model: QuadraticModel,
        derivatives: Derivatives,
        gradients: list[float],
        coarse: bool,
    ) -> Point | None:
        """The point that a step leads to; where none is better than a coarse one, that anew."""
        following = super().next(point, model, derivatives, gradients, coarse)
        if following is None and point.is_coarse:
            return self._objective.at(point.theta, point)
        return following

    def is_hopeless(self, point: Point) -> bool:
        """Whether effects grow without bound: levels of one class each have no finite variance."""
        return is_runaway(self._objective.prior, point.theta)


def largest_root(prior: EffectsPrior, parameters: np.ndarray) -> float:
    """Largest entry of the roots of all covariances, a standard deviation of predictors or so."""
    scales = prior.scales(parameters[: prior.n_parameters])
    return max((float(np.abs(scale.matrix).max()) for scale in scales), default=0.0)


def is_runaway(prior: EffectsPrior, parameters: np.ndarray) -> bool:
    """Whether a covariance is so large that the iterations are to end."""
    return largest_root(prior, parameters) > _RUNAWAY


def bounded_parameters(prior: EffectsPrior, parameters: np.ndarray, n_fixed: int) -> np.ndarray:
    """(theta, own, beta) with nonnegative diagonals, own parameters inside what numbers can hold.

    Parameters
    ----------
    prior : EffectsPrior
    parameters : ndarray (P,)
    n_fixed : int
        Length of beta.
    """
    m, end = prior.n_parameters, len(parameters) - n_fixed
    own = np.clip(parameters[m:end], -_LARGEST_OWN, _LARGEST_OWN)
    return np.concatenate([prior.canonical(parameters[:m]), own, parameters[end:]])


def coefficient_moves(evaluation: Evaluation, k: int) -> np.ndarray:
    """Derivatives (p, k) of the best coefficients by (theta, own), k in number."""
    hessian = evaluation.hessian
    return -np.linalg.lstsq(hessian[k:, k:], hessian[k:, :k], rcond=None)[0]
