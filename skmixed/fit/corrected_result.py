"""From the maximum of the likelihood itself back to the units of the data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skmixed.fit.corrected_objective import (
    CorrectedObjective,
    CorrectedPoint,
)
from skmixed.fit.estimate_errors import estimate_covariance
from skmixed.fit.marginal_likelihood import PartMoments, transformed_thirds
from skmixed.fit.newton import NewtonState
from skmixed.fit.publish import JOINT_LIMIT, singular_blocks
from skmixed.fit.result import Doubts, FactorResult, FitResult, WithinFactor
from skmixed.fit.uncertainty import inverse_of_rising, root_of
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.sums.standard_units import Units

_LEAST_INFORMATION = 1e-4
"""Curvature by an own parameter, a logarithm, below which it is on its way to zero or infinity."""


@dataclass(frozen=True)
class VariationalFit:
    """A variational optimum, from which the likelihood itself is maximised.

    Attributes
    ----------
    objective : VariationalObjective
    state : NewtonState
    doubts : Doubts
    result : FitResult
        Of that optimum.
    units : Units
    """

    objective: VariationalObjective
    state: NewtonState
    doubts: Doubts
    result: FitResult
    units: Units


@dataclass(frozen=True)
class Covariances:
    """Covariance of all estimates in standard units, in two parts.

    Attributes
    ----------
    given : ndarray (p, p)
        Of the coefficients at given theta and own parameters.
    parameters : ndarray (k, k)
        Of theta and own parameters; 0 for those at the end of their range.
    moves : ndarray (p, k)
        Of the coefficients with them.
    """

    given: np.ndarray
    parameters: np.ndarray
    moves: np.ndarray

    @property
    def joint(self) -> np.ndarray:
        """Of (theta, own, beta)."""
        across = self.moves @ self.parameters
        fixed = self.given + across @ self.moves.T
        return np.block([[self.parameters, across.T], [across, fixed]])


def publish_corrected(
    objective: CorrectedObjective, state: NewtonState, before: VariationalFit
) -> FitResult:
    """The estimates at a state of the iterations; their covariance is the inverse curvature.

    Parameters
    ----------
    objective : CorrectedObjective
    state : NewtonState
    before : VariationalFit
        Whose result has what does not change.
    """
    point, marginal, units = state.point, objective.marginal, before.units
    assert isinstance(point, CorrectedPoint)
    theta, own, beta = marginal.split(point.parameters)
    found = _covariances(objective, point)
    joint = found.joint
    to_centred = units.fixed.to_centred()
    fixed_mean, fixed_variance = units.fixed.mean_and_variance(beta)
    effects = _Effects(objective, point, before)
    factors, coupling, further, coupled = effects.published(found)
    k = len(theta) + len(own)
    penalty = marginal.penalty_at(point.parameters)
    path = np.array([units.elbo(deviance - penalty) for deviance in state.deviances])
    result = before.result
    return replace(
        result,
        coefficients=to_centred @ beta,
        coefficient_covariance=to_centred @ joint[k:, k:] @ to_centred.T,
        factors=factors,
        fixed_mean=fixed_mean,
        fixed_variance=fixed_variance,
        coupling=coupling,
        further=further,
        coupled=coupled,
        elbo=float(path[-1]),
        elbo_std=0.0,
        elbo_path=np.concatenate([result.elbo_path, path[1:]]),
        gradient_path=np.concatenate([result.gradient_path, state.gradients[1:]]),
        n_iter=result.n_iter + state.n_iter,
        converged=state.converged,
        parameters=own,
        doubts=replace(before.doubts, singular=effects.singular),
        approximation="corrected",
        estimate_covariance=estimate_covariance(joint, theta, objective.prior, units),
    )


def _covariances(objective: CorrectedObjective, point: CorrectedPoint) -> Covariances:
    """From the curvature in all parameters; `skmixed.fit.implicit` says why in these parts."""
    theta, own, _ = objective.marginal.split(point.parameters)
    return covariances_of(
        -point.evaluation.hessian, len(theta) + len(own), objective.prior.moves(theta),
        0.5 * objective.profile_hessian(point),
    )  # fmt: skip


def covariances_of(
    curvature: np.ndarray, k: int, moving: np.ndarray, profile: np.ndarray | None = None
) -> Covariances:
    """Covariance of the estimates from minus the second derivatives of the log likelihood.

    Parameters
    ----------
    curvature : ndarray (k + p, k + p)
        By (theta, own, beta).
    k : int
        Parameters that are no coefficients.
    moving : ndarray (m,)
        Which of theta are inside their range.
    profile : ndarray (k, k), optional
        Minus the second derivatives by (theta, own), coefficients maximised or integrated out;
        by default the former, from `curvature`.
    """
    across = curvature[k:, :k]
    moves = -np.linalg.lstsq(curvature[k:, k:], across, rcond=None)[0]
    if profile is None:
        profile = curvature[:k, :k] + across.T @ moves
    known = np.concatenate([moving, np.ones(k - len(moving), bool)])
    of_own = np.diagonal(curvature)[len(moving) : k]
    known[len(moving) :] = of_own > _LEAST_INFORMATION
    parameters = np.zeros((k, k))
    inside = np.ix_(known, known)
    parameters[inside] = inverse_of_rising(profile[inside])
    return Covariances(inverse_of_rising(curvature[k:, k:]), parameters, moves)


class _Effects:
    """Posterior of all effects in the units and the order of the data."""

    def __init__(
        self, objective: CorrectedObjective, point: CorrectedPoint, before: VariationalFit
    ) -> None:
        self.objective, self.units = objective, before.units
        marginal = objective.marginal
        self.integrated_fixed = len(point.theta) < len(point.parameters)
        template = before.objective.responses.rows.template
        ranks = template.ranks
        self.ranks: list[np.ndarray | slice] = [slice(None)] * len(template.factors)
        if ranks is not None:
            self.ranks = list(ranks)
        self.scales = objective.prior.scales(marginal.split(point.parameters)[0])
        by_position: dict[int, PartMoments] = {}
        for part, moments in zip(
            marginal.plan.parts, marginal.moments(point.parameters), strict=True
        ):
            by_position[part.position] = moments
        self.moments = [by_position[f] for f in range(len(template.factors))]
        self.old = before.result.factors

    @property
    def singular(self) -> tuple[tuple[int, ...], ...]:
        """See `Doubts.singular`."""
        return singular_blocks(self.objective.prior.factors, self.scales)

    def published(
        self, found: Covariances
    ) -> tuple[tuple[FactorResult, ...], np.ndarray, np.ndarray, tuple[bool, ...]]:
        """Factors, `coupling`, `further` and `coupled` of `FitResult`."""
        k = found.moves.shape[1]
        everything = self._moves()
        by_parameters = everything[:, :k] + everything[:, k:] @ found.moves
        with_fixed = everything[:, k:] @ root_of(found.given)
        further = [by_parameters @ root_of(found.parameters)]
        shared = [with_fixed] if self.integrated_fixed else []
        further += [] if self.integrated_fixed else [with_fixed]
        joint, coupled = self._joint(len(everything))
        coupling = np.hstack([np.zeros((len(everything), 0)), *shared, joint])
        offset = len(everything) - sum(moments.means.size for moments in self.moments)
        factors = []
        for f, moments in enumerate(self.moments):
            basis, ranks = self.units.bases[f], self.ranks[f]
            covariances = (basis @ moments.covariances @ basis.T)[ranks]
            size, shape = moments.means.size, (*moments.means.shape, -1)
            if shared:
                columns = with_fixed[offset : offset + size].reshape(shape)
                covariances = covariances + columns @ columns.swapaxes(1, 2)
            offset += size
            root = basis @ self.scales[f].matrix
            means = (moments.means @ basis.T)[ranks]
            thirds = transformed_thirds(basis, moments.thirds)[ranks]
            within = None if any(coupled) else self._within(f)
            factors.append(
                FactorResult(root @ root.T, means, covariances, self.old[f].moments, thirds, within)
            )
        return tuple(factors), coupling, np.hstack(further), coupled

    def _within(self, f: int) -> WithinFactor | None:
        """How inner effects covary with those of outer levels that are integrated one by one."""
        plan, moments = self.objective.marginal.plan, self.moments[f]
        if plan.outer is None or moments.with_outer is None or moments.outer is None:
            return None
        outer = plan.outer.position
        if self.moments[outer].joint is not None:
            return None
        inverse = np.linalg.pinv(self.moments[outer].covariances, hermitian=True)
        return WithinFactor.in_data(
            outer, moments.outer, moments.with_outer @ inverse[moments.outer],
            [self.units.bases[k] for k in (f, outer)], [self.ranks[k] for k in (f, outer)],
        )  # fmt: skip

    def _moves(self) -> np.ndarray:
        """Derivatives of all coefficients and means (p + n_effects, n) by all parameters."""
        to_centred = self.units.fixed.to_centred()
        n = self.moments[0].moves.shape[2]
        fixed = np.zeros((len(to_centred), n))
        fixed[:, n - to_centred.shape[1] :] = to_centred
        parts = [fixed]
        for moments, basis, ranks in zip(self.moments, self.units.bases, self.ranks, strict=True):
            parts.append((basis @ moments.moves)[ranks].reshape(-1, n))
        return np.concatenate(parts)

    def _joint(self, size: int) -> tuple[np.ndarray, tuple[bool, ...]]:
        """Columns of `coupling` for outer effects, and factors whose covariance they hold.

        Each outer level has as many columns as effects: the covariance with these over its root.
        """
        plan = self.objective.marginal.plan
        nothing = np.zeros((size, 0)), (False,) * len(self.moments)
        if plan.outer is None:
            return nothing
        outer = self.moments[plan.outer.position]
        inner = self.moments[plan.inner.position]
        n_columns = outer.means.size
        if size * n_columns > JOINT_LIMIT:
            return nothing
        assert inner.with_outer is not None
        assert inner.outer is not None
        blocks = outer.covariances if outer.joint is None else outer.joint[None]
        r = blocks.shape[1]
        roots = np.array([root_of(block) for block in blocks])
        parts = {}
        of_outer = np.zeros((len(blocks), r, n_columns))
        of_inner = np.zeros((*inner.means.shape, n_columns))
        for level, root in enumerate(roots):
            of_outer[level, :, level * r : (level + 1) * r] = root
            inside = inner.outer == level
            over_root = inner.with_outer[inside] @ np.linalg.pinv(root).T
            of_inner[inside, :, level * r : (level + 1) * r] = over_root
        parts[plan.outer.position] = of_outer.reshape(*outer.means.shape, n_columns)
        parts[plan.inner.position] = of_inner
        fixed = np.zeros((size - outer.means.size - inner.means.size, n_columns))
        columns = [fixed]
        for f, (basis, ranks) in enumerate(zip(self.units.bases, self.ranks, strict=True)):
            columns.append((basis @ parts[f])[ranks].reshape(-1, n_columns))
        return np.concatenate(columns), tuple(
            f == plan.outer.position for f in range(len(self.moments))
        )
