"""Covariance of the coefficients, with all that was estimated beside them.

The parameters phi (entries of T, and the likelihood's own: thresholds, a dispersion) maximise
the ELBO, and coefficients move with them. By the law of total variance

    Cov(beta) = Cov(beta | phi) + J Cov(phi) J',    J = d beta / d phi,

with Cov(phi) the inverse curvature of the maximised bound P(phi) = max over q of the ELBO.
Where beta is a point, Cov(beta | phi) is the inverse curvature of the bound by beta at given
phi, so that the sum is the block of beta in the inverse curvature by (beta, phi): the usual
standard errors. Where beta is integrated out, Cov(beta | phi) is its posterior covariance.

P is differentiated implicitly. Let U hold the answers of means and variances of the rows
(`skmixed.inference.response`) to phi, and to a linear tilt lambda' beta of the ELBO, while the
weights of the rows stay as they are; L the second derivatives of E log p(y | eta) by mean and
variance of a row, but for the one by the mean twice, which the weights stand for; and R the
answer of a posterior to rows. What is missing then is

    E = U' L (I - R L)^-1 U,

as weights follow means and variances, and these the weights. It is found in the span of the
first powers of R L (a Galerkin method: errors are squared, as the bound is stationary).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from skmixed.inference.response import (
    Answer,
    LevelResponse,
    PosteriorResponse,
    effects_by_factor,
    is_level_by_level,
    means_of,
)
from skmixed.inference.sites import VariationalPoint
from skmixed.inference.uncertainty import (
    Uncertainty,
    follow_fixed,
    inverse_of_rising,
    of_held_variances,
    root_of,
)
from skmixed.linalg.direct import DirectSystem
from skmixed.linalg.system import SingularSystemError

if TYPE_CHECKING:
    from skmixed.inference.variational import VariationalObjective

_MEAN_STEP = 1e-5
"""Change of a row's mean, or of an own parameter, that tells a derivative."""

_VARIANCE_STEP = 1e-4
"""Relative change of a row's variance that tells one."""

_TOLERANCE = 1e-5
"""Change of E, over the curvature that it belongs to, that is small enough."""

_MOST_POWERS = 6
"""Powers of R L."""

_DEPENDENT = 1e-9
"""Eigenvalue of a scaled basis below which a direction adds nothing."""

_MOST_NUMBERS = 20_000_000
"""Rows times parameters from which on row variances are held: memory, and time."""

_MOST_SECONDS = 0.15
"""Estimated time of solutions by differences from which on row variances are held."""


def uncertainty_at(
    objective: VariationalObjective, point: VariationalPoint, posterior_fixed: np.ndarray
) -> Uncertainty:
    """The uncertainty of a fit whose response is not normal.

    Row variances are held, E = 0, where solving for their answer would take long: in models
    of several large factors, whose rows have small variances.

    Parameters
    ----------
    objective : VariationalObjective
    point : VariationalPoint
        The optimum.
    posterior_fixed : ndarray (p, p)
        Covariance of the fixed effects, as the posterior has it.
    """
    with np.errstate(all="ignore"):
        try:
            curvatures = _Implicit(objective, point).curvatures()
        except SingularSystemError:
            curvatures = None
    if curvatures is None or not curvatures.is_finite:
        return of_held_variances(point.system, posterior_fixed, objective.integrate_fixed)
    of_parameters = inverse_of_rising(curvatures.parameters)
    moved = curvatures.moves @ root_of(of_parameters)
    given, further = posterior_fixed, [moved]
    if not objective.integrate_fixed:
        given = curvatures.given
        further = [follow_fixed(curvatures.with_effects, given), moved]
    p = len(given)
    return Uncertainty(given + moved[:p] @ moved[:p].T, np.hstack(further))


@dataclass(frozen=True)
class _Curvatures:
    """Second derivatives of the maximised bound.

    Attributes
    ----------
    given : ndarray (p, p)
        Covariance of the coefficients at given phi.
    with_effects : ndarray (p, p + n_effects)
        Rows of beta of the inverse of the mixed-model equations.
    parameters : ndarray (k, k)
        By phi, negated.
    moves : ndarray (p + n_effects, k)
        Of all means by phi.
    """

    given: np.ndarray
    with_effects: np.ndarray
    parameters: np.ndarray
    moves: np.ndarray

    @property
    def is_finite(self) -> bool:
        """Whether no number is lost, and the covariance is one."""
        parts = (self.given, self.with_effects, self.parameters, self.moves)
        if not all(np.isfinite(part).all() for part in parts):
            return False
        return not len(self.given) or bool(np.linalg.eigvalsh(self.given)[0] > 0.0)


class _Implicit:
    """Implicit differentiation at one point.

    Parameters
    ----------
    objective : VariationalObjective
    point : VariationalPoint
    """

    def __init__(self, objective: VariationalObjective, point: VariationalPoint) -> None:
        self.objective, self.point = objective, point
        theta, own = objective.split(point.theta)
        self.n_own = len(own)
        # a column of T that is zero stays there: the bound is symmetric about it
        free = np.zeros(len(theta), bool)
        for entries in objective.parameters.entries_by_factor:
            used = np.unique(entries.columns[theta[entries.positions] != 0.0])
            free[entries.positions] = np.isin(entries.columns, used)
        self.entries = np.flatnonzero(free)
        self.with_effects = point.system.fixed_with_effects()
        self.p = len(self.with_effects)

    def curvatures(self) -> _Curvatures:
        """All second derivatives that the covariance needs."""
        closed = is_level_by_level(self.objective, self.point)
        n = self.objective.responses.rows.n_rows
        n_causes = len(self.entries) + self.n_own + self.p
        if n * n_causes > _MOST_NUMBERS or not (closed or self._seconds() < _MOST_SECONDS):
            return self._held()
        response = (LevelResponse if closed else PosteriorResponse)(self.objective, self.point)
        return self._followed(response)

    def _seconds(self) -> float:
        """Rough time of all solutions by differences."""
        rows, system = self.objective.responses.rows, self.point.system
        if not isinstance(system, DirectSystem):
            return np.inf
        n_causes = len(self.entries) + self.n_own
        n_solutions = 2 * n_causes + (0 if self.objective.integrate_fixed else self.p)
        tail = system.cross.n_tail + self.p
        one = 1e-7 * rows.n_rows * (1 + len(rows.codes)) + 2e-10 * tail**3
        return n_solutions * one

    # Row variances follow ----------------------------------------------------------------

    def _followed(self, response: PosteriorResponse) -> _Curvatures:
        own_changes, own_hessian = self._own()
        by_entry = [response.to_entry(j) for j in self.entries]
        nothing = response.to_rows(own_changes[:, :, :0])
        answers = Answer.join(
            [nothing, *(answer for answer, _ in by_entry), response.to_rows(own_changes)]
        )
        tilted = self._tilted()
        k, p = answers.rows.shape[2], self.p
        n_entries = len(self.entries)

        # 1. Weights held.
        hessian = np.zeros((p + k, p + k))
        hessian[:p, :p] = self.with_effects[:, :p]
        hessian[:p, p:] = answers.means[:p]
        own = _inner(answers.rows, own_changes)
        hessian[p:, p + n_entries :] = own
        hessian[p + n_entries :, p:] = own.T
        hessian[p + n_entries :, p + n_entries :] += own_hessian
        for j, (_, gradient) in enumerate(by_entry):
            hessian[p + j, p : p + n_entries] = -0.5 * gradient[self.entries]
        hessian = 0.5 * (hessian + hessian.T)
        hessian[:p, p:] = answers.means[:p]
        hessian[p:, :p] = answers.means[:p].T

        # 2. Weights follow.
        causes = answers.rows
        if not self.objective.integrate_fixed:
            causes = np.concatenate([tilted, causes], axis=2)
        rows, means = self._follow(response, causes, np.abs(np.diagonal(hessian)))
        everything = np.concatenate([tilted, answers.rows], axis=2)
        correction = _inner(everything, self._bend(rows))
        begin = p if not self.objective.integrate_fixed else 0
        hessian[:, p:] += correction[:, begin:]
        given = self.with_effects[:, :p]
        if begin:
            extra = correction[:p, :p]
            given = given + 0.5 * (extra + extra.T)
        moves = answers.means + means[:, begin:]
        moves[:p] = hessian[:p, p:]
        own_block = -hessian[p:, p:]
        return _Curvatures(given, self.with_effects, 0.5 * (own_block + own_block.T), moves)

    def _follow(
        self, response: PosteriorResponse, causes: np.ndarray, sizes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Answers to causes when weights follow, and what that adds to the means."""
        sizes = sizes[len(sizes) - causes.shape[2] :]
        first = self._bend(causes)
        basis, image = first, response.to_rows(first)
        correction = _inner(causes, first)
        for power in range(_MOST_POWERS):
            products = _inner(basis, image.rows)
            inside = products - _inner(image.rows, self._bend(image.rows))
            shares = _solve(products, inside, _inner(image.rows, first))
            rows = causes + _combine(image.rows, shares)
            before, correction = correction, _inner(first, rows)
            change = np.abs(correction - before) / np.sqrt(np.outer(sizes, sizes) + 1e-300)
            if change.max(initial=0.0) < _TOLERANCE or power == _MOST_POWERS - 1:
                break
            newest = self._bend(image.rows[:, :, -causes.shape[2] :])
            basis = np.concatenate([basis, newest], axis=2)
            image = Answer.join([image, response.to_rows(newest)])
        return rows, image.means @ shares

    def _tilted(self) -> np.ndarray:
        """Answers of rows to a tilt of beta at held weights, (2, n, p)."""
        system = self.point.system
        columns = self.with_effects.T
        levels = effects_by_factor(columns, system)
        mean = self.objective.responses.rows.loaded(columns[: self.p], levels)
        return np.stack([mean, np.zeros_like(mean)])

    def _bend(self, answers: np.ndarray) -> np.ndarray:
        """L times changes of means and variances of the rows."""
        skew, bent = self._third_and_fourth
        mean, variance = answers
        return np.stack([skew * variance, skew * mean + bent * variance])

    @cached_property
    def _third_and_fourth(self) -> tuple[np.ndarray, np.ndarray]:
        """Halves of E of the third derivative of log p, and quarters of the fourth, (n, 1)."""
        point = self.point
        known = point.following.precision
        step = _VARIANCE_STEP * point.variance
        by_mean = self._terms(point.mean + _MEAN_STEP, point.variance).precision - known
        by_variance = self._terms(point.mean, point.variance + step).precision - known
        weights = self.objective.responses.weights
        skew = -0.5 * weights * by_mean / _MEAN_STEP
        # the fourth derivative is twice that of the second by the variance
        step = np.where(step > 0.0, step, np.inf)
        return skew[:, None], (-0.5 * weights * by_variance / step)[:, None]

    def _terms(self, mean: np.ndarray, variance: np.ndarray, own: np.ndarray | None = None):
        objective = self.objective
        if own is None:
            own = objective.split(self.point.theta)[1]
        return objective.likelihood.row_terms(
            objective.responses.y, objective.responses.shifted(mean), variance, own,
            objective.solver_options.n_threads,
        )  # fmt: skip

    def _own(self) -> tuple[np.ndarray, np.ndarray]:
        """Functionals (2, n, k) that own parameters are for rows, and the Hessian by them."""
        objective, point = self.objective, self.point
        own, responses = objective.split(point.theta)[1], objective.responses
        changes = np.zeros((2, responses.rows.n_rows, len(own)))
        if not len(own):
            return changes, np.zeros((0, 0))
        here = self._terms(point.mean, point.variance)
        for j in range(len(own)):
            moved = own.copy()
            moved[j] += _MEAN_STEP
            there = self._terms(point.mean, point.variance, moved)
            changes[0, :, j] = there.gradient - here.gradient
            changes[1, :, j] = -0.5 * (there.precision - here.precision)
        changes *= responses.weights[:, None] / _MEAN_STEP
        derivatives = objective.likelihood.parameter_derivatives(
            responses.y, responses.weights, responses.shifted(point.mean), point.variance, own,
            objective.solver_options.n_threads,
        )  # fmt: skip
        return changes, derivatives.hessian

    # Row variances held ------------------------------------------------------------------

    def _held(self) -> _Curvatures:
        """Means follow all parameters, and row variances none: a solution per own parameter."""
        objective, system = self.objective, self.point.system
        n_entries, k = len(self.entries), len(self.entries) + self.n_own
        tangents = objective.parameters.tangents(objective.split(self.point.theta)[0])
        moves = np.zeros((self.with_effects.shape[1], k))
        negative = np.zeros((k, k))
        found = objective.working_derivatives(self.point)
        inside = np.ix_(self.entries, self.entries)
        negative[:n_entries, :n_entries] = 0.5 * found.hessian[inside]
        blocks = effects_by_factor(self.with_effects.T, system)
        for column, j in enumerate(self.entries):
            factor, tangent = tangents[j]
            scale = system.scale_factors[factor.position]
            products = system.residual_products[factor.position] @ tangent
            inverse = np.linalg.pinv(scale @ scale.T, hermitian=True)
            moved = products @ inverse
            moves[: self.p, column] = np.einsum("lqp,lq->p", blocks[factor.position], moved)
        changes, own_hessian = self._own()
        negative[n_entries:, n_entries:] = -own_hessian
        for j in range(self.n_own):
            slope, column = changes[0, :, j], n_entries + j
            response = self._mean_response(slope)
            moves[:, column] = response.means
            along = changes[0].T @ response.mean
            negative[n_entries:, column] -= along
            by_entry = -0.5 * response.gradient[self.entries]
            negative[:n_entries, column] -= by_entry
            negative[column, :n_entries] -= by_entry
        return _Curvatures(
            self.with_effects[:, : self.p], self.with_effects,
            0.5 * (negative + negative.T), moves,
        )  # fmt: skip

    def _mean_response(self, slope: np.ndarray) -> _MeanResponse:
        """Of means to a change of the gradients of rows; exact, as they are linear in it."""
        objective, rows, system = self.objective, self.objective.responses.rows, self.point.system
        weights, linear = objective.working_model(self.point.sites)
        scales = system.scale_factors
        moved = objective.solver(rows.cross_products(weights, linear + slope)).system(scales)
        mean = rows.predictor(moved.fixed_effects, moved.random_effects) - self.point.mean
        by_omega = []
        for before, after in zip(system.residual_products, moved.residual_products, strict=True):
            change = (after - before).T @ before
            by_omega.append(-(change + change.T))
        theta = objective.split(self.point.theta)[0]
        gradient = objective.parameters.gradient(theta, by_omega)
        return _MeanResponse(means_of(moved) - means_of(system), mean, gradient)


@dataclass(frozen=True)
class _MeanResponse:
    """Changes of posterior means, of means of rows, and of the gradient by the entries of T."""

    means: np.ndarray
    mean: np.ndarray
    gradient: np.ndarray


def _inner(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Inner products of columns over means and variances of all rows."""
    return left[0].T @ right[0] + left[1].T @ right[1]


def _combine(columns: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return np.stack([columns[0] @ shares, columns[1] @ shares])


def _solve(products: np.ndarray, inside: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solutions of inside @ shares = right, in directions that are not dependent."""
    diagonal = np.maximum(np.diagonal(products), 0.0)
    scale = np.where(diagonal > 0.0, 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0)), 0.0)
    values, vectors = np.linalg.eigh(0.5 * (inside + inside.T) * np.outer(scale, scale))
    used = values > _DEPENDENT * values.max(initial=0.0)
    basis = scale[:, None] * vectors[:, used]
    return basis @ ((basis.T @ right) / values[used][:, None])
