"""The ELBO of a model of one factor as a function of everything in it, with its derivatives.

Given the coefficients beta and the parameters phi (entries of T, and the likelihood's own), levels
are independent: level l has effects N(u_l, V_l). The ELBO is smooth in beta, phi and all (u, V).
Rows enter it by the mean x'beta + z'u and the variance z'V z of their linear predictor, which
are linear in beta, u and V. So the Hessian has one block per level, bordered by those of beta and
phi, and what is left of it when the levels are eliminated is the curvature of the ELBO maximised
over the posterior.

With Omega the covariance of a level's effects, E log p the rows' expected log densities, g, -w, t
and f their derivatives by the mean (first to fourth), and M the sum of u u' + V over L levels,

    ELBO = sum E log p - (L log|Omega| + tr(Omega^-1 M) - sum log|V| - L q) / 2,

and a derivative of E log p by the variance is half of the second one by the mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skmixed._kernels.arguments import LevelRows, LevelTerms
from skmixed._kernels.level_derivatives import (
    add_row_derivatives,
    fill_row_moments,
    invert_levels,
    solve_levels,
    start_derivatives,
)
from skmixed._kernels.working import add_dense_products
from skmixed.families.base import RowTerms
from skmixed.fit.objective import Point
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.sums.cross_products import symmetric

_SMALLEST_SHARE = 1e-8
"""Eigenvalue of Omega over its largest one from which on its inverse has digits."""


@dataclass(frozen=True)
class LevelState:
    """Everything that a model of one factor estimates.

    Attributes
    ----------
    theta : ndarray (m + k,)
        Entries of T and the likelihood's own parameters.
    fixed : ndarray (p,)
    means : ndarray (L, q)
        Of the posterior of every level's effects.
    covariances : ndarray (L, q, q)
        Of the same.
    """

    theta: np.ndarray
    fixed: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


@dataclass(frozen=True)
class OmegaAt:
    """The covariance of a level's effects at the parameters of a state.

    Attributes
    ----------
    variances : ndarray (m,)
        Entries of T.
    inverse : ndarray (q, q)
        Of Omega.
    log_det : float
    tangents : ndarray (m, q, q)
        Derivatives of Omega by the entries of T.
    moments : ndarray (q, q)
        Sum of u u' + V over the levels of the state.
    """

    variances: np.ndarray
    inverse: np.ndarray
    log_det: float
    tangents: np.ndarray
    moments: np.ndarray


@dataclass(frozen=True)
class LevelPoint:
    """The ELBO at a state.

    Attributes
    ----------
    state : LevelState
    omega : OmegaAt
    mean, variance : ndarray (n,)
        Of the linear predictor of every row, less the offset.
    terms : RowTerms
    precisions : ndarray (L, q, q)
        Inverses of the covariances of the levels' effects.
    deviance : float
        -2 ELBO.
    """

    state: LevelState
    omega: OmegaAt
    mean: np.ndarray
    variance: np.ndarray
    terms: RowTerms
    precisions: np.ndarray
    deviance: float


@dataclass(frozen=True)
class LevelDerivatives:
    """Derivatives of the ELBO at a point, with the levels eliminated.

    Attributes
    ----------
    gradient : ndarray (p + m + k,)
        By (beta, theta), of the ELBO maximised over the levels' posteriors, to first order.
    information : ndarray (p + m + k, p + m + k)
        Minus the second derivatives of the same.
    level_steps : ndarray (L, r)
        Newton's step of (u, V) while beta and theta stay; V by its upper triangle.
    level_moves : ndarray (L, r, p + m + k)
        Derivatives of (u, V) at their optimum by beta and theta.
    squared_distance : float
        Squared length of `level_steps` in standard deviations.
    """

    gradient: np.ndarray
    information: np.ndarray
    level_steps: np.ndarray
    level_moves: np.ndarray
    squared_distance: float


@dataclass(frozen=True)
class LevelSystem:
    """The ELBO of a model of one factor, its coefficients a point.

    Attributes
    ----------
    objective : VariationalObjective
    """

    objective: VariationalObjective

    @cached_property
    def _rows(self) -> LevelRows:
        """The rows, as kernels take them."""
        rows = self.objective.responses.rows
        return LevelRows(rows.codes[0], np.ascontiguousarray(rows.basis(0)), rows.fixed)

    @cached_property
    def triangle(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of the upper triangle of V."""
        return np.triu_indices(self.objective.responses.rows.factors[0].n_effects)

    def at(self, state: LevelState) -> LevelPoint | None:
        """The ELBO at a state; None where it is not finite, or Omega has no inverse."""
        objective, rows = self.objective, self.objective.responses.rows
        omega = self._omega(state)
        if omega is None:
            return None
        mean, variance = np.empty(rows.n_rows), np.empty(rows.n_rows)
        fill_row_moments(self._rows, state.fixed, state.means, state.covariances, mean, variance)
        terms = objective.row_terms(mean, variance, objective.split(state.theta)[1])
        n_levels, q = state.means.shape
        deviance = n_levels * (omega.log_det - q) + np.vdot(omega.inverse, omega.moments)
        precisions = np.empty_like(state.covariances)
        deviance -= invert_levels(state.covariances, precisions)
        deviance -= 2.0 * float(objective.responses.weights @ terms.value)
        penalty = objective.penalty
        if penalty is not None:
            deviance += penalty.value(penalty.squares(objective.prior, omega.variances))
        if not np.isfinite(deviance):
            return None
        return LevelPoint(state, omega, mean, variance, terms, precisions, float(deviance))

    def _omega(self, state: LevelState) -> OmegaAt | None:
        prior, variances = self.objective.prior, self.objective.split(state.theta)[0]
        values, vectors = np.linalg.eigh(prior.scales(variances)[0].omega)
        if not values[0] > _SMALLEST_SHARE * values[-1]:
            return None
        return OmegaAt(
            variances,
            (vectors / values) @ vectors.T,
            float(np.log(values).sum()),
            np.array([tangent for _, tangent in prior.tangents(variances)]),
            state.means.T @ state.means + state.covariances.sum(axis=0),
        )

    # Derivatives -----------------------------------------------------------------------

    def higher_derivatives(self, point: LevelPoint) -> tuple[np.ndarray, np.ndarray]:
        """Third and fourth derivatives of the rows' log densities, expected and weighted, (n,)."""
        own = self.objective.split(point.state.theta)[1]
        return self.objective.higher_derivatives_at(
            point.mean, point.variance, point.terms.precision, own
        )

    def derivatives(
        self, point: LevelPoint, higher: tuple[np.ndarray, np.ndarray]
    ) -> LevelDerivatives:
        """Derivatives at a point.

        Parameters
        ----------
        point : LevelPoint
        higher : tuple of ndarray (n,)
            Third and fourth derivatives of the rows, as `higher_derivatives` of the objective.
        """
        gradient, hessian, own_changes = self._of_globals(point)
        by_level = self._of_levels(point, higher, own_changes)
        r = by_level.shape[1]
        solved = by_level.copy()
        if not solve_levels(solved):
            raise np.linalg.LinAlgError("the curvature of a level's ELBO is singular")
        steps, moves = solved[:, :, r], solved[:, :, r + 1 :]
        level_gradient, border = by_level[:, :, r], by_level[:, :, r + 1 :]
        flat = border.reshape(-1, border.shape[2])
        information = -hessian - flat.T @ moves.reshape(flat.shape)
        return LevelDerivatives(
            gradient + flat.T @ steps.ravel(),
            0.5 * (information + information.T),
            steps,
            moves,
            float(np.vdot(level_gradient, steps)),
        )

    def _of_globals(self, point: LevelPoint) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gradient and Hessian by (beta, theta) at held levels, and what own parameters change."""
        objective, state = self.objective, point.state
        rows, weights = objective.responses.rows, objective.responses.weights
        own = objective.split(state.theta)[1]
        p, m = len(state.fixed), len(point.omega.variances)
        gradient = np.empty(p + len(state.theta))
        hessian = np.zeros((len(gradient), len(gradient)))
        products = np.zeros((p + 1, p + 1))
        add_dense_products(
            weights * point.terms.precision, weights * point.terms.gradient, rows.fixed, products
        )
        gradient[:p], hessian[:p, :p] = products[p, :p], -symmetric(products)[:p, :p]
        here = slice(p, p + m)
        gradient[here], hessian[here, here] = self._of_omega(point)
        changes = objective.own_changes(point.mean, point.variance, own)
        if len(own):
            found = objective.own_derivatives(point.mean, point.variance, own)
            gradient[p + m :], hessian[p + m :, p + m :] = found.gradient, found.hessian
            hessian[:p, p + m :] = rows.fixed.T @ changes[0]
            hessian[p + m :, :p] = hessian[:p, p + m :].T
        return gradient, hessian, changes

    def _of_omega(self, point: LevelPoint) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian by the entries of T at held levels."""
        omega, n_levels = point.omega, len(point.state.means)
        prior, penalty = self.objective.prior, self.objective.penalty
        around = omega.inverse @ omega.moments @ omega.inverse
        by_omega = -0.5 * (n_levels * omega.inverse - around)
        left = omega.tangents @ omega.inverse
        right = omega.tangents @ (0.5 * n_levels * omega.inverse - around)
        hessian = np.einsum("jab,kba->jk", left, right)
        hessian = 0.5 * (hessian + hessian.T) + prior.curvature(omega.variances, [by_omega])
        gradient = np.einsum("jab,ab->j", omega.tangents, by_omega)
        if penalty is not None:
            of_prior = penalty.at(prior, omega.variances, 1.0)
            gradient = gradient - 0.5 * of_prior.gradient
            hessian = hessian - 0.5 * of_prior.hessian
        return gradient, hessian

    def _of_levels(
        self,
        point: LevelPoint,
        higher: tuple[np.ndarray, np.ndarray],
        own_changes: np.ndarray,
    ) -> np.ndarray:
        """Derivatives by (u, V), see `skmixed._kernels.level_derivatives`."""
        state, omega, weights = point.state, point.omega, self.objective.responses.weights
        n_levels, p = len(state.means), len(state.fixed)
        r = state.means.shape[1] + len(self.triangle[0])
        out = np.empty((n_levels, r, r + 1 + p + len(state.theta)))
        around = omega.inverse @ omega.tangents @ omega.inverse
        start_derivatives(state.means, point.precisions, omega.inverse, around, r + 1 + p, out)
        gradient, precision = weights * point.terms.gradient, weights * point.terms.precision
        terms = LevelTerms(gradient, precision, *higher)
        add_row_derivatives(self._rows, terms, own_changes, out)
        return out

    def matrices(self, triangles: np.ndarray) -> np.ndarray:
        """Symmetric matrices (L, q, q) of upper triangles."""
        rows, columns = self.triangle
        q = columns[-1] + 1
        out = np.empty((len(triangles), q, q))
        out[:, rows, columns] = out[:, columns, rows] = triangles
        return out


def state_of(point: Point) -> LevelState:
    """The state of a point of a model of one factor."""
    system = point.system
    return LevelState(
        point.theta, system.fixed_effects, system.random_effects[0], system.levels.omega_shrunk
    )
