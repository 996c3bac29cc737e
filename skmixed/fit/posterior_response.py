"""Derivatives of a Gaussian posterior by the rows that it was made from.

A row acts on the posterior through a linear functional of the mean and the variance of its
predictor, e * mean + h * variance; in a working model e is the change of the gradient at fixed
weights, and h is minus half the change of the weight. The answer (changes of all means and
variances) is linear in (e, h) and symmetric: with C the inverse of the mixed-model equations
and S the posterior covariance of what is random, A and Z their columns of the design,

    d mean = A C A' e,    d variance_i = 2 sum_k (z_i' S z_k)^2 h_k.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skmixed._kernels.row_responses import add_level_forms, add_level_moments, add_level_sums
from skmixed.fit.sites import LEAST_PRECISION, VariationalPoint
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.solvers.base import System

_STEP = 1e-5
"""Relative change of weights and entries of T: its square is lost, rounding is divided by it."""

_NEGLIGIBLE = 1e-8
"""Weight of a row, over the largest, from which on relative changes count."""


@dataclass(frozen=True)
class Answer:
    """Changes of a posterior, a column a cause.

    Attributes
    ----------
    rows : ndarray (2, n, m)
        Of the mean and of the variance of every row's linear predictor.
    means : ndarray (p + n_effects, m)
        Of the posterior means: fixed effects, then all factors' effects in design order.
    """

    rows: np.ndarray
    means: np.ndarray

    @classmethod
    def join(cls, answers: list[Answer]) -> Answer:
        """The columns of several answers, side by side."""
        return cls(
            np.concatenate([answer.rows for answer in answers], axis=2),
            np.concatenate([answer.means for answer in answers], axis=1),
        )


class PosteriorResponse:
    """Answers of the posterior at a point, by differences of the engine's own results.

    Parameters
    ----------
    objective : VariationalObjective
    point : VariationalPoint
    """

    def __init__(self, objective: VariationalObjective, point: VariationalPoint) -> None:
        self.objective, self.point = objective, point
        self.weights, self.linear = objective.working_model(point.sites)
        self._means = means_of(point.system)
        self._variance = objective.posterior.row_variances(
            point.solved, objective.responses.rows, False
        )

    def to_rows(self, changes: np.ndarray) -> Answer:
        """To linear functionals (e, h) of the rows, (2, n, m)."""
        nothing = np.zeros((len(self._means), 0))
        answers = [Answer(changes[:, :, :0], nothing)]
        for by_mean, by_variance in np.moveaxis(changes, 2, 0):
            answers.append(self._to_row_change(by_mean, -2.0 * by_variance))
        return Answer.join(answers)

    def _to_row_change(self, slope: np.ndarray, weight: np.ndarray) -> Answer:
        """To one change of gradients at fixed weights, and of weights."""
        size = self.weights + _NEGLIGIBLE * self.weights.max()
        largest = max(np.abs(weight / size).max(), np.abs(slope / size).max())
        if largest == 0.0:
            return self._since(self.point.system, self.point.theta, 1.0)
        step = _STEP / largest
        linear = self.linear + step * (slope + self.point.mean * weight)
        weights = np.maximum(self.weights + step * weight, LEAST_PRECISION * self.weights)
        cross = self.objective.responses.rows.cross_products(weights, linear)
        scales = self.point.system.scales
        return self._since(self.objective.solver.system(scales, cross), self.point.theta, step)

    def to_entry(self, j: int) -> tuple[Answer, np.ndarray]:
        """To an entry of T at held sites, and the change of the gradient by all of them."""
        theta, step = self._beside(j)
        system = self._system_at(theta)
        answer = self._since(system, theta, step)
        change = self._gradient(system, theta) - self._gradient(self.point.system, self.point.theta)
        return answer, change / step

    def _beside(self, j: int) -> tuple[np.ndarray, float]:
        theta = self.point.theta.copy()
        step = _STEP * max(abs(theta[j]), 1e-2)
        theta[j] += step
        return theta, step

    def _system_at(self, theta: np.ndarray) -> System:
        scales = self.objective.prior.scales(self.objective.split(theta)[0])
        return self.objective.solver.system(scales, self.point.system.cross)

    def _gradient(self, system: System, theta: np.ndarray) -> np.ndarray:
        n = self.objective.prior.n_parameters
        # the information only enters the Hessian, which is not asked for
        solved = self.objective.solved(system, theta)
        there = replace(self.point, solved=solved, theta=theta, is_coarse=False)
        return self.objective.working_derivatives(there, np.zeros((n, n))).gradient

    def _since(self, system: System, theta: np.ndarray, step: float) -> Answer:
        """Change to another system, over the step that led to it."""
        rows = self.objective.responses.rows
        at = self.objective.solved(system, theta)
        mean = rows.predictor(system.fixed_effects, system.random_effects)
        variance = self.objective.posterior.row_variances(at, rows, False)
        changes = np.stack([mean - self.point.mean, variance - self._variance])
        means = means_of(system) - self._means
        return Answer(changes[:, :, None] / step, means[:, None] / step)


class LevelResponse(PosteriorResponse):
    """Answers in closed form, where levels are independent given fixed effects that are a point.

    For models of one grouping factor, or none; see `is_level_by_level`.
    """

    def to_rows(self, changes: np.ndarray) -> Answer:
        """To linear functionals (e, h) of the rows, (2, n, m)."""
        rows, system = self.objective.responses.rows, self.point.system
        by_mean, by_variance = changes
        right = rows.fixed.T @ by_mean
        if not rows.codes:
            beta = system.fixed_covariance() @ right
            mean = rows.fixed @ beta
            return Answer(np.stack([mean, np.zeros_like(mean)]), beta)
        cross, covariance = system.cross, system.levels.omega_shrunk
        assert cross.eliminated is not None
        with_fixed = cross.with_dense[:, :, : cross.n_fixed]
        codes, basis, m = rows.codes[0], rows.basis(0), by_mean.shape[1]
        sums = np.zeros((*covariance.shape[:2], m))
        moments = np.zeros((*covariance.shape, m))
        add_level_sums(codes, basis, by_mean, sums)
        add_level_moments(codes, basis, by_variance, moments)
        given = np.matmul(covariance, sums)
        right = right - np.einsum("lqp,lqm->pm", with_fixed, given)
        beta = system.fixed_covariance() @ right
        effects = given - np.matmul(covariance, np.matmul(with_fixed, beta))
        # 2 z' S (sum of h z z') S z
        by_cause = np.matmul(covariance[:, None], moments.transpose(0, 3, 1, 2))
        by_cause = 2.0 * np.matmul(by_cause, covariance[:, None])
        forms = np.ascontiguousarray(by_cause.transpose(0, 2, 3, 1))
        out = np.zeros(changes.shape)
        out[0] = rows.loaded(beta, [effects])
        add_level_forms(codes, basis, forms, out[1])
        return Answer(out, np.concatenate([beta, effects.reshape(cross.eliminated.size, m)]))


def is_level_by_level(objective: VariationalObjective, point: VariationalPoint) -> bool:
    """Whether `LevelResponse` knows the posterior."""
    return (
        not objective.integrate_fixed
        and objective.posterior.needs_determinant
        and not point.system.cross.tail_factors
    )


def means_of(system: System) -> np.ndarray:
    """Posterior means of fixed effects and all factors' effects, (p + n_effects,)."""
    return np.concatenate([system.fixed_effects, *(u.ravel() for u in system.random_effects)])
