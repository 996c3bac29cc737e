"""Covariance of the coefficients, with all that was estimated beside them.

The parameters phi (entries of T, and the likelihood's own: thresholds, a dispersion) maximise
the ELBO, and coefficients move with them. By the law of total variance

    Cov(beta) = Cov(beta | phi) + J Cov(phi) J',    J = d beta / d phi,

with Cov(phi) the inverse curvature of the maximised bound P(phi) = max over q of the ELBO.
Where beta is a point, Cov(beta | phi) is the inverse curvature of the bound by beta at given
phi, so that the sum is the block of beta in the inverse curvature by (beta, phi): the usual
standard errors. Where beta is integrated out, Cov(beta | phi) is its posterior covariance.

P is differentiated implicitly. Let U hold the answers of means and variances of the rows
(`skmixed.fit.posterior_response`) to phi, and to a linear tilt lambda' beta of the ELBO, while the
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

import numpy as np

from skmixed.fit.galerkin import Powers, galerkin, sum_of_products
from skmixed.fit.level_system import LevelSystem
from skmixed.fit.posterior_response import (
    Answer,
    LevelResponse,
    PosteriorResponse,
    is_level_by_level,
    means_of,
)
from skmixed.fit.quadratic_model import eigh
from skmixed.fit.sites import VariationalPoint
from skmixed.fit.uncertainty import (
    Uncertainty,
    follow_fixed,
    inverse_of_rising,
    of_held_variances,
    root_of,
)
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.solvers.base import SingularSystemError

_TOLERANCE = 5e-4
"""Change of E by a further power, over the curvature that it belongs to, that is small enough."""

_MOST_POWERS = 6
"""Powers of R L."""

_LEAST_INFORMATION = 1e-4
"""Curvature by an own parameter, a logarithm, below which it is on its way to zero or infinity:
coefficients move with it as little as the bound does."""

_MOST_NUMBERS = 5_000_000
"""Rows times parameters from which on row variances are held: memory, and time."""

_MOST_SECONDS = 0.15
"""Estimated time of solutions by differences, beyond some passes over the rows, from which on
row variances are held."""

_PASSES = 3
"""Such passes, of the many that a fit takes."""


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
        implicit = _Implicit(objective, point)
        try:
            curvatures = implicit.curvatures()
        except (SingularSystemError, np.linalg.LinAlgError):
            # the system is singular, or derivatives overflow
            curvatures = None
    if curvatures is None or not curvatures.is_finite:
        return of_held_variances(point.system, posterior_fixed, objective.integrate_fixed)
    curvature = curvatures.parameters
    is_known = curvature.diagonal() > _LEAST_INFORMATION
    is_known[: len(implicit.entries)] = True
    known = np.flatnonzero(is_known)
    of_parameters = inverse_of_rising(curvature[known[:, None], known])
    moved = curvatures.moves[:, known] @ root_of(of_parameters)
    given, further = posterior_fixed, [moved]
    if not objective.integrate_fixed:
        given = curvatures.given
        further = [follow_fixed(curvatures.with_effects, given), moved]
    p = len(given)
    fixed = given + moved[:p] @ moved[:p].T
    # places of beta, and of what is estimated beside it, in (theta, own, beta)
    m, n = objective.prior.n_parameters, len(point.theta)
    of_phi = np.array([*implicit.entries, *range(m, n)], int)[known]
    of_beta = np.arange(n, n + p)
    estimates = np.zeros((n + p, n + p))
    estimates[of_phi[:, None], of_phi] = of_parameters
    estimates[of_beta[:, None], of_beta] = fixed
    across = curvatures.moves[:p, known] @ of_parameters
    estimates[of_beta[:, None], of_phi] = across
    estimates[of_phi[:, None], of_beta] = across.T
    return Uncertainty(fixed, np.hstack(further), estimates)


def held_curvature(
    objective: VariationalObjective, point: VariationalPoint
) -> tuple[np.ndarray, np.ndarray]:
    """Places in theta of the parameters inside their range, and minus the second derivatives.

    Of the ELBO maximised over the posterior where one factor is all, else over its means.
    """
    implicit = _Implicit(objective, point)
    m = objective.prior.n_parameters
    places = np.array([*implicit.entries, *range(m, len(point.theta))], int)
    alone = is_level_by_level(objective, point)
    return places, (implicit.curvatures() if alone else implicit.held()).parameters


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
        return not len(self.given) or bool(eigh(self.given)[0][0] > 0.0)


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
        # at the end of its range a parameter stays: the bound is symmetric about it
        self.entries: list[int] = np.flatnonzero(objective.prior.moves(theta)).tolist()
        self.with_effects = point.system.fixed_with_effects()
        self.p = len(self.with_effects)

    def curvatures(self) -> _Curvatures:
        """All second derivatives that the covariance needs."""
        n = self.objective.responses.rows.n_rows
        n_causes = len(self.entries) + self.n_own + self.p
        if n * n_causes > _MOST_NUMBERS:
            return self.held()
        if is_level_by_level(self.objective, self.point):
            exact = self._by_level()
            if exact is not None:
                return exact
            return self._followed(LevelResponse(self.objective, self.point), _MOST_POWERS)
        most_powers = self._powers_in_time()
        if not most_powers:
            return self.held()
        return self._followed(PosteriorResponse(self.objective, self.point), most_powers)

    def _powers_in_time(self) -> int:
        """Powers for which solutions by differences take little time, or little of the fit's."""
        rows, system = self.objective.responses.rows, self.point.system
        if system.n_products or self.point.is_estimated:
            # differences would be those of what iterations and random vectors left open
            return 0
        n_parameters = len(self.entries) + self.n_own
        n_causes = n_parameters + (0 if self.objective.integrate_fixed else self.p)
        over_rows = rows.n_rows * (4e-7 * (1 + len(rows.codes)) + 1.5e-9 * self.p**2)
        one = over_rows + 2e-10 * (system.cross.n_tail + self.p) ** 3
        n_solutions = (_MOST_SECONDS + _PASSES * over_rows) / one
        return min(int((n_solutions - n_parameters) / max(n_causes, 1)), _MOST_POWERS)

    # Levels eliminated -------------------------------------------------------------------

    def _by_level(self) -> _Curvatures | None:
        """As `curvatures`, without a series; None where effects have no proper covariance."""
        if not self.point.system.random_effects:
            return None
        system = LevelSystem(self.objective)
        point = system.at_point(self.point)
        if point is None:
            return None
        try:
            found = system.derivatives(point, self.objective.higher_derivatives(self.point))
            p, m = self.p, self.objective.prior.n_parameters
            places = p + np.array([*self.entries, *range(m, m + self.n_own)], int)
            given = np.linalg.inv(found.information[:p, :p])
        except np.linalg.LinAlgError:
            return None
        with_fixed = found.information[:p, places]
        moved = -given @ with_fixed
        q = point.state.means.shape[1]
        levels = found.solved[:, :q, 1:]
        effects = levels[:, :, :p] @ moved + levels[:, :, places]
        return _Curvatures(
            given,
            self.with_effects,
            found.information[places[:, None], places] + with_fixed.T @ moved,
            np.concatenate([moved, effects.reshape(-1, len(places))]),
        )

    # Row variances follow ----------------------------------------------------------------

    def _followed(self, response: PosteriorResponse, most_powers: int) -> _Curvatures:
        p, integrated = self.p, self.objective.integrate_fixed
        tilted = self._tilted()
        causes, held = self._weights_held(response)
        begin = 0 if integrated else p
        followed = causes.rows if integrated else np.concatenate([tilted, causes.rows], axis=2)
        sizes = np.abs(np.diagonal(held))[p - begin :]
        powers = self._powers(response, followed, sizes, most_powers)
        missing = powers.missing
        by_parameters = held[:, p:].copy()
        by_parameters[p - begin :] += missing[:, begin:]
        given = self.with_effects[:, :p]
        if integrated:
            by_parameters[:p] += self._missing(powers, self._bend(tilted), followed)
        else:
            given = given + 0.5 * (missing[:p, :p] + missing[:p, :p].T)
        moves = causes.means + powers.means[:, begin:]
        moves[:p] = by_parameters[:p]
        curvature = -0.5 * (by_parameters[p:] + by_parameters[p:].T)
        return _Curvatures(given, self.with_effects, curvature, moves)

    def _weights_held(self, response: PosteriorResponse) -> tuple[Answer, np.ndarray]:
        """Answers to phi while weights stay, and second derivatives by (lambda, phi)."""
        p, n_entries = self.p, len(self.entries)
        own_changes, own_hessian = self._own()
        by_entry = [response.to_entry(j) for j in self.entries]
        causes = Answer.join([*(answer for answer, _ in by_entry), response.to_rows(own_changes)])
        k = causes.rows.shape[2]
        by_parameters = np.zeros((k, k))
        for j, (_, gradient) in enumerate(by_entry):
            by_parameters[j, :n_entries] = -0.5 * gradient[self.entries]
        across = self._inner(causes.rows, own_changes)
        by_parameters[:, n_entries:] = across
        by_parameters[n_entries:, :n_entries] = across[:n_entries].T
        by_parameters[n_entries:, n_entries:] += own_hessian
        held = np.zeros((p + k, p + k))
        held[:p, :p] = self.with_effects[:, :p]
        held[:p, p:] = causes.means[:p]
        held[p:, :p] = causes.means[:p].T
        held[p:, p:] = 0.5 * (by_parameters + by_parameters.T)
        return causes, held

    def _powers(
        self, response: PosteriorResponse, causes: np.ndarray, sizes: np.ndarray, most: int
    ) -> Powers:
        """As many powers of R L times causes as E needs, whose curvatures are `sizes`."""
        first = newest = self._bend(causes)
        images: list[Answer] = []
        moments: list[np.ndarray] = []
        missing = start = self._inner(causes, first)
        scale = np.sqrt(np.outer(sizes, sizes)) + 1e-300
        while True:
            images.append(response.to_rows(newest))
            bent = self._bend(images[-1].rows)
            moments += [self._inner(newest, images[-1].rows), self._inner(images[-1].rows, bent)]
            shares = galerkin(moments)
            # `first` is the adjoint of what the moments begin with
            before, missing = missing, start + sum_of_products(moments, shares)
            change = float((np.abs(missing - before) / scale).max(initial=0.0))
            # NaN ends it too
            if not change > _TOLERANCE or len(images) >= most:
                return Powers(images, shares, missing)
            newest = bent

    def _missing(self, powers: Powers, left: np.ndarray, causes: np.ndarray) -> np.ndarray:
        """E for other causes on the left, of which `left` is L times, and U the `causes`."""
        out = self._inner(left, causes)
        for image, shares in zip(powers.images, powers.shares, strict=True):
            out += self._inner(left, image.rows) @ shares
        return out

    def _tilted(self) -> np.ndarray:
        """Answers of rows to a tilt of beta at held weights, (2, n, p)."""
        system = self.point.system
        columns = self.with_effects.T
        levels = system.cross.effects_by_factor(columns)
        mean = self.objective.responses.rows.loaded(columns[: self.p], levels)
        return np.stack([mean, np.zeros_like(mean)])

    def _bend(self, answers: np.ndarray) -> np.ndarray:
        """L times changes of means and variances of the rows."""
        skew, bent = self._third_and_fourth
        out = np.empty(answers.shape)

        def fill(rows: slice) -> None:
            mean, variance = answers[:, rows]
            np.multiply(skew[rows], variance, out=out[0, rows])
            np.multiply(bent[rows], variance, out=out[1, rows])
            out[1, rows] += skew[rows] * mean

        self.objective.responses.rows.for_chunks(fill)
        return out

    def _inner(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Inner products of columns over means and variances of all rows."""

        def products(rows: slice) -> np.ndarray:
            return left[0, rows].T @ right[0, rows] + left[1, rows].T @ right[1, rows]

        return np.sum(self.objective.responses.rows.by_chunks(products), axis=0)

    @cached_property
    def _third_and_fourth(self) -> tuple[np.ndarray, np.ndarray]:
        """Halves of E of the third derivative of log p, and quarters of the fourth, (n, 1)."""
        third, fourth = self.objective.higher_derivatives(self.point)
        return 0.5 * third[:, None], 0.25 * fourth[:, None]

    def _own(self) -> tuple[np.ndarray, np.ndarray]:
        """Functionals (2, n, k) that own parameters are for rows, and the Hessian by them."""
        objective, point = self.objective, self.point
        own = objective.split(point.theta)[1]
        changes = objective.own_changes(point.mean, point.variance, own)
        if not len(own):
            return changes, np.zeros((0, 0))
        return changes, objective.own_derivatives(point.mean, point.variance, own).hessian

    # Row variances held ------------------------------------------------------------------

    def held(self) -> _Curvatures:
        """Means follow all parameters, and row variances none: a solution per own parameter."""
        objective, system = self.objective, self.point.system
        n_entries, k = len(self.entries), len(self.entries) + self.n_own
        tangents = objective.prior.tangents(objective.split(self.point.theta)[0])
        moves = np.zeros((self.with_effects.shape[1], k))
        negative = np.zeros((k, k))
        found = objective.working_derivatives(self.point)
        inside = np.ix_(self.entries, self.entries)
        negative[:n_entries, :n_entries] = 0.5 * found.hessian[inside]
        blocks = system.cross.effects_by_factor(self.with_effects.T)
        for column, j in enumerate(self.entries):
            factor, tangent = tangents[j]
            scale = system.scales[factor.position]
            products = system.residual_products[factor.position] @ tangent
            moved = scale.from_independent(products @ np.linalg.pinv(scale.omega, hermitian=True))
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
        """Answer of the means to a change of the gradients of rows; exact, as it is linear."""
        objective, rows, system = self.objective, self.objective.responses.rows, self.point.system
        weights, linear = objective.working_model(self.point.sites)
        cross = rows.cross_products(weights, linear + slope)
        moved = objective.solver.system(system.scales, cross)
        mean = rows.predictor(moved.fixed_effects, moved.random_effects) - self.point.mean
        by_omega = []
        for before, after in zip(system.residual_products, moved.residual_products, strict=True):
            change = (after - before).T @ before
            by_omega.append(-(change + change.T))
        theta = objective.split(self.point.theta)[0]
        gradient = objective.prior.gradient(theta, by_omega)
        return _MeanResponse(means_of(moved) - means_of(system), mean, gradient)


@dataclass(frozen=True)
class _MeanResponse:
    """Changes of posterior means, of means of rows, and of the gradient by the entries of T."""

    means: np.ndarray
    mean: np.ndarray
    gradient: np.ndarray
