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
from math import isfinite

import numpy as np

from skmixed._kernels.arguments import LevelRows, LevelTerms
from skmixed._kernels.level_derivatives import (
    fill_level_point,
    move_levels,
    solve_level_systems,
)
from skmixed._kernels.working import add_dense_products
from skmixed.fit.objective import Point
from skmixed.fit.quadratic_model import eigh
from skmixed.fit.sites import VariationalPoint
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
    """

    variances: np.ndarray
    inverse: np.ndarray
    log_det: float
    tangents: np.ndarray


@dataclass(frozen=True)
class LevelPoint:
    """The ELBO at a state.

    Attributes
    ----------
    state : LevelState
    omega : OmegaAt
    mean, variance : ndarray (n,)
        Of the linear predictor of every row, less the offset.
    gradient, precision : ndarray (n,)
        Of the rows' expected log densities by the mean: the first derivative, and minus the
        second.
    precisions : ndarray (L, q, q)
        Inverses of the covariances of the levels' effects.
    moments : ndarray (q, q)
        Sum of u u' + V over the levels.
    deviance : float
        -2 ELBO.
    """

    state: LevelState
    omega: OmegaAt
    mean: np.ndarray
    variance: np.ndarray
    gradient: np.ndarray
    precision: np.ndarray
    precisions: np.ndarray
    moments: np.ndarray
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
    solved : ndarray (L, r, 1 + p + m + k)
        Newton's step of (u, V) while beta and theta stay, V by its upper triangle; derivatives
        of (u, V) at their optimum by beta and theta.
    squared_distance : float
        Squared length of the levels' step in standard deviations.
    """

    gradient: np.ndarray
    information: np.ndarray
    solved: np.ndarray
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

    def at(self, state: LevelState) -> LevelPoint | None:
        """The ELBO at a state; None where it is not finite, or Omega has no inverse."""
        objective = self.objective
        omega = self._omega(state)
        if omega is None:
            return None
        log_dets, of_rows = self._moments(state)
        mean, variance, precisions, moments = of_rows
        terms = objective.row_terms(mean, variance, objective.split(state.theta)[1])
        n_levels, q = state.means.shape
        deviance = n_levels * (omega.log_det - q) + np.vdot(omega.inverse, moments)
        deviance -= log_dets
        deviance -= 2.0 * float(objective.responses.weights @ terms.value)
        penalty = objective.penalty
        if penalty is not None:
            deviance += penalty.value(penalty.squares(objective.prior, omega.variances))
        if not isfinite(deviance):
            return None
        return LevelPoint(
            state, omega, mean, variance, terms.gradient, terms.precision, precisions, moments,
            float(deviance),
        )  # fmt: skip

    def at_point(self, point: VariationalPoint) -> LevelPoint | None:
        """As `at` the state of a point, whose rows are known; None where Omega has no inverse."""
        state = state_of(point)
        omega = self._omega(state)
        if omega is None:
            return None
        mean, variance, precisions, moments = self._moments(state)[1]
        precision = point.following.precision
        gradient = point.following.linear - precision * point.mean
        return LevelPoint(
            state, omega, mean, variance, gradient, precision, precisions, moments, point.deviance
        )

    def _moments(self, state: LevelState) -> tuple[float, tuple[np.ndarray, ...]]:
        """The sum of log |V|, and what `fill_level_point` fills."""
        n_rows, q = self.objective.responses.rows.n_rows, state.means.shape[1]
        out = (
            np.empty(n_rows), np.empty(n_rows), np.empty_like(state.covariances), np.empty((q, q))
        )  # fmt: skip
        posteriors = state.means, state.covariances
        return fill_level_point(self._rows, state.fixed, posteriors, out), out

    def _omega(self, state: LevelState) -> OmegaAt | None:
        prior, variances = self.objective.prior, self.objective.split(state.theta)[0]
        values, vectors = eigh(prior.scales(variances)[0].omega)
        if not values[0] > _SMALLEST_SHARE * values[-1]:
            return None
        return OmegaAt(
            variances,
            (vectors / values) @ vectors.T,
            float(np.log(values).sum()),
            np.array([tangent for _, tangent in prior.tangents(variances)]),
        )

    # Derivatives -----------------------------------------------------------------------

    def higher_derivatives(self, point: LevelPoint) -> tuple[np.ndarray, np.ndarray]:
        """Third and fourth derivatives of the rows' log densities, expected and weighted, (n,)."""
        own = self.objective.split(point.state.theta)[1]
        return self.objective.higher_derivatives_at(
            point.mean, point.variance, point.precision, own
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
        objective, state, weights = self.objective, point.state, self.objective.responses.weights
        terms = LevelTerms(weights * point.gradient, weights * point.precision, *higher)
        own = objective.own_changes(point.mean, point.variance, objective.split(state.theta)[1])
        gradient, hessian = self._of_globals(point, terms, own)
        right, solved = self._of_levels(point, terms, own)
        flat = right.reshape(-1, right.shape[2])
        totals = flat.T @ solved.reshape(flat.shape)
        information = -hessian - totals[1:, 1:]
        return LevelDerivatives(
            gradient + totals[1:, 0],
            0.5 * (information + information.T),
            solved,
            float(totals[0, 0]),
        )

    def _of_globals(
        self, point: LevelPoint, terms: LevelTerms, own_changes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian by (beta, theta) at held levels."""
        objective, state, rows = self.objective, point.state, self.objective.responses.rows
        p, m = len(state.fixed), len(point.omega.variances)
        gradient = np.empty(p + len(state.theta))
        hessian = np.zeros((len(gradient), len(gradient)))
        products = np.zeros((p + 1, p + 1))
        add_dense_products(terms.precision, terms.gradient, rows.fixed, products)
        gradient[:p], hessian[:p, :p] = products[p, :p], -symmetric(products)[:p, :p]
        here = slice(p, p + m)
        gradient[here], hessian[here, here] = self._of_omega(point)
        own = objective.split(state.theta)[1]
        if len(own):
            found = objective.own_derivatives(point.mean, point.variance, own)
            gradient[p + m :], hessian[p + m :, p + m :] = found.gradient, found.hessian
            hessian[:p, p + m :] = rows.fixed.T @ own_changes[0]
            hessian[p + m :, :p] = hessian[:p, p + m :].T
        return gradient, hessian

    def _of_omega(self, point: LevelPoint) -> tuple[np.ndarray, np.ndarray]:
        """Gradient and Hessian by the entries of T at held levels."""
        omega, n_levels = point.omega, len(point.state.means)
        prior, penalty = self.objective.prior, self.objective.penalty
        around = omega.inverse @ point.moments @ omega.inverse
        by_omega = -0.5 * (n_levels * omega.inverse - around)
        flat = omega.tangents.reshape(len(omega.tangents), -1)
        left = omega.tangents @ omega.inverse
        right = omega.tangents @ (0.5 * n_levels * omega.inverse - around)
        hessian = left.reshape(flat.shape) @ right.swapaxes(1, 2).reshape(flat.shape).T
        hessian = 0.5 * (hessian + hessian.T) + prior.curvature(omega.variances, [by_omega])
        gradient = flat @ by_omega.ravel()
        if penalty is not None:
            of_prior = penalty.at(prior, omega.variances, 1.0)
            gradient = gradient - 0.5 * of_prior.gradient
            hessian = hessian - 0.5 * of_prior.hessian
        return gradient, hessian

    def _of_levels(
        self, point: LevelPoint, terms: LevelTerms, own_changes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Right-hand sides of the levels' systems, and solutions, see `level_derivatives`."""
        state, omega = point.state, point.omega
        n_levels, q = state.means.shape
        r = q + q * (q + 1) // 2
        matrices = np.empty((n_levels, r, r))
        right, solved = np.empty((2, n_levels, r, 1 + len(state.fixed) + len(state.theta)))
        around = omega.inverse @ omega.tangents @ omega.inverse
        if not solve_level_systems(
            self._rows, terms, own_changes, (state.means, point.precisions),
            (omega.inverse, around), (matrices, right, solved),
        ):  # fmt: skip
            raise np.linalg.LinAlgError("the curvature of a level's ELBO is singular")
        return right, solved

    def moved(
        self, point: LevelPoint, found: LevelDerivatives, step: np.ndarray, length: float
    ) -> LevelState:
        """The state a part of a step of (beta, theta) away; levels follow to their optimum."""
        state, p = point.state, len(point.state.fixed)
        means, covariances = np.empty_like(state.means), np.empty_like(state.covariances)
        along = np.empty(1 + len(step))
        along[0], along[1:] = length, length * step
        move_levels(
            (state.means, state.covariances), point.precisions, found.solved, along,
            (means, covariances),
        )  # fmt: skip
        return LevelState(
            state.theta + along[1 + p :], state.fixed + along[1 : 1 + p], means, covariances
        )


def state_of(point: Point) -> LevelState:
    """The state of a point of a model of one factor."""
    system = point.system
    return LevelState(
        point.theta, system.fixed_effects, system.random_effects[0], system.levels.omega_shrunk
    )
