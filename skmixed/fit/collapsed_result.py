"""From the maximum of the likelihood of crossed factors back to the units of the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skmixed.fit.collapsed_estimate import (
    EffectMoments,
    WeighedTail,
    level_moments,
    tail_moments,
)
from skmixed.fit.collapsed_likelihood import CollapsedLikelihood
from skmixed.fit.collapsed_objective import CollapsedPoint, Curvature
from skmixed.fit.corrected_result import Covariances, VariationalFit, covariances_of
from skmixed.fit.newton import NewtonState
from skmixed.fit.publish import publish
from skmixed.fit.quadrature_plan import differences
from skmixed.fit.result import Doubts, FactorResult, FitResult
from skmixed.fit.sites import VariationalPoint
from skmixed.fit.tail_draws import TailDraws
from skmixed.fit.uncertainty import Uncertainty, root_of
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.solvers.base import System


@dataclass(frozen=True)
class CollapsedFit:
    """The maximum of the likelihood, and the draws that tell it.

    Attributes
    ----------
    model : CollapsedLikelihood
    state : NewtonState
    doubts : Doubts
    draws : TailDraws
        At the estimates.
    found : WeighedTail
    curvature : Curvature
        About the base of `moves`.
    moves : TailDraws
        Draws that follow the parameters.
    point : VariationalPoint
        The working model at the estimates.
    """

    model: CollapsedLikelihood
    state: NewtonState
    doubts: Doubts
    draws: TailDraws
    found: WeighedTail
    curvature: Curvature
    moves: TailDraws
    point: VariationalPoint

    @property
    def parameters(self) -> np.ndarray:
        """(theta, own), and beta where it is not integrated out."""
        return self.state.point.theta

    @property
    def theta(self) -> np.ndarray:
        """Parameters of the covariance of the effects."""
        return self.parameters[: self.model.prior.n_parameters]

    @property
    def n_theta_own(self) -> int:
        """Parameters that are no coefficients."""
        return len(self.parameters) - (0 if self.model.integrate_fixed else self.model.n_fixed)


def publish_collapsed(fit: CollapsedFit, before: VariationalFit) -> FitResult:
    """The estimates with the covariance that the curvature tells, and the posterior of effects.

    What the working model at the estimates says of covariances between levels stays, in the
    standard deviations of the posterior.

    Parameters
    ----------
    fit : CollapsedFit
    before : VariationalFit
    """
    published = _Published(fit, before)
    point, units = fit.state.point, before.units
    assert isinstance(point, CollapsedPoint)
    state = replace(fit.state, point=fit.point)

    def judge(
        objective: VariationalObjective, at: VariationalPoint, fixed: np.ndarray
    ) -> Uncertainty:
        return published.uncertainty(at.system)

    working = publish(before.objective, state, units, judge, fit.doubts)
    value, error = fit.found.log_likelihood()
    path = np.array([units.elbo(deviance) for deviance in fit.state.deviances])
    path[-1] = units.elbo(-2.0 * value)
    to_centred = units.fixed.to_centred()
    fixed_mean, fixed_variance = units.fixed.mean_and_variance(published.beta)
    factors, ratios = published.factors(working)
    p, result = len(working.coefficients), before.result
    return replace(
        working,
        coefficients=to_centred @ published.beta,
        fixed_mean=fixed_mean,
        fixed_variance=fixed_variance,
        factors=factors,
        coupling=np.concatenate([np.ones(p), ratios])[:, None] * working.coupling,
        elbo=float(path[-1]),
        elbo_std=error,
        elbo_path=np.concatenate([result.elbo_path, path[1:] if len(path) > 1 else path]),
        gradient_path=np.concatenate(
            [result.gradient_path, fit.state.gradients[1:] if len(path) > 1 else [0.0]]
        ),
        n_iter=result.n_iter + max(fit.state.n_iter, 1),
        solver=result.solver,
        n_products=result.n_products,
        approximation="corrected",
    )


class _Published:
    """Posterior of effects and coefficients, and how they move with the parameters."""

    def __init__(self, fit: CollapsedFit, before: VariationalFit) -> None:
        self.fit, self.before, self.model = fit, before, fit.model
        model, cross, n_fixed = fit.model, fit.model.cross, fit.model.n_fixed
        self.prior = model.prior
        self.moments: dict[int, EffectMoments] = {
            factor.position: tail_moments(
                fit.found, fit.draws.centre, factor.columns, factor.n_effects
            )
            for factor in cross.tail_factors
        }
        self.moments[model.eliminated.position] = level_moments(model, fit.found, fit.point.solved)
        self.fixed_change = np.zeros((n_fixed, n_fixed))
        self.beta = fit.parameters[fit.n_theta_own :]
        if model.integrate_fixed and n_fixed:
            columns = slice(cross.n_tail, cross.n_tail + n_fixed)
            of_fixed = tail_moments(fit.found, fit.draws.centre, columns, n_fixed)
            self.beta, self.fixed_change = of_fixed.means[0], of_fixed.covariance_changes[0]

    def _covariances(self) -> Covariances:
        """Of (theta, own, beta)."""
        fit, k = self.fit, self.fit.n_theta_own
        curvature = 0.5 * fit.curvature.hessian
        known = self.prior.moves(fit.theta)
        return covariances_of(curvature, k, known)

    def uncertainty(self, system: System) -> Uncertainty:
        """Covariance of the estimates, and columns of what the posterior holds fixed."""
        fit, found, p = self.fit, self._covariances(), self.model.n_fixed
        moves = self._moves()
        k = fit.n_theta_own
        of_parameters = root_of(found.parameters)
        if self.model.integrate_fixed:
            given = system.fixed_covariance() + self.fixed_change
            found = replace(found, given=given, moves=moves[:p, :k])
            further = [moves @ of_parameters]
        else:
            by_parameters = moves[:, :k] + moves[:, k:] @ found.moves
            further = [moves[:, k:] @ root_of(found.given), by_parameters @ of_parameters]
        joint = found.joint
        return Uncertainty(joint[k:, k:], np.hstack(further), joint)

    def _moves(self) -> np.ndarray:
        """Derivatives of all means (p + n_effects, P) by the parameters, in standard units."""
        fit, model, cross = self.fit, self.model, self.model.cross
        n_parameters, p = len(fit.parameters), model.n_fixed
        fixed = np.zeros((p, n_parameters))
        if model.integrate_fixed:
            fixed[:] = fit.moves.centre_moves[:, cross.n_tail :].T
        else:
            fixed[:, n_parameters - p :] = np.eye(p)
        parts = [fixed]
        m = self.prior.n_parameters
        scales = self.prior.scales(fit.theta)
        for factor in cross.factors:
            f, q = factor.position, factor.n_effects

            def entries(at: np.ndarray, f: int = f) -> np.ndarray:
                return self.prior.scales(at)[f].matrix

            if factor is cross.eliminated:
                whitened = fit.curvature.level_moves
            else:
                whitened = fit.moves.centre_moves[:, factor.columns].reshape(-1, factor.n_levels, q)
            moved = np.einsum("ab,jlb->laj", scales[f].matrix, whitened)
            of_root = differences(entries, fit.theta)
            moved[:, :, :m] += np.einsum("abj,lb->laj", of_root, self.moments[f].means)
            parts.append(moved.reshape(-1, n_parameters))
        return np.concatenate(parts)

    def factors(self, working: FitResult) -> tuple[tuple[FactorResult, ...], np.ndarray]:
        """Factors of the posterior, and its standard deviations over the working model's."""
        template = self.before.objective.responses.rows.template
        ranks = template.ranks
        scales = self.prior.scales(self.fit.theta)
        factors, ratios = [], []
        for f, old in enumerate(working.factors):
            order = slice(None) if ranks is None else ranks[f]
            root = self.before.units.bases[f] @ scales[f].matrix
            means = (self.moments[f].means @ root.T)[order]
            changes = (root @ self.moments[f].covariance_changes @ root.T)[order]
            covariances = _positive(old.covariances + changes, old.covariances)
            factors.append(replace(old, means=means, covariances=covariances))
            was, now = (np.diagonal(c, axis1=1, axis2=2) for c in (old.covariances, covariances))
            ratios.append(np.sqrt(now / np.where(was > 0.0, was, 1.0)).ravel())
        return tuple(factors), np.concatenate(ratios)


def _positive(covariances: np.ndarray, instead: np.ndarray) -> np.ndarray:
    """Covariances (L, q, q), those `instead` where Monte Carlo error left a negative direction."""
    if not len(covariances):
        return covariances
    negative = np.linalg.eigvalsh(covariances)[:, 0] < 0.0
    return np.where(negative[:, None, None], instead, covariances)
