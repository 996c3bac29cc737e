"""Coefficients without the rows of each of many groups, from the equations of all rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import solve_triangular

from skmixed.design import Design
from skmixed.fit.gaussian_fit import judge_held
from skmixed.fit.gaussian_objective import GaussianObjective
from skmixed.fit.identification import spanned_by_fixed
from skmixed.fit.outer import FitOptions, Start, optimise
from skmixed.fit.result import FitResult
from skmixed.fit.starting import moment_estimates
from skmixed.results.deletion_surface import Grid, minima
from skmixed.results.reopened import ReopenedFit
from skmixed.solvers.base import SingularSystemError, System
from skmixed.solvers.direct import DirectSolver
from skmixed.sums.cross_products import CrossProducts
from skmixed.sums.grouped_rows import GroupedRows
from skmixed.sums.repeated_sums import RepeatedRows
from skmixed.sums.row_sums import RowSums

_MOST_ROWS = 1000
"""Rows of a group up to which their covariance is factorised."""

_LARGEST_TAIL = 3000
"""Effects and coefficients of a tail up to which an iterative fit gets a dense factor."""

_DEPENDENT = 1e-8
"""A row or a column of which others explain all but this share: its group is then fitted from the
rows."""


_SMALL_TAIL = 200
"""Effects of a tail up to which a fit without each group takes milliseconds."""

_GROUPS_PER_NODE = 4
"""Groups, by nodes of a grid, from which on polynomials are worth their while."""

_COARSE, _FINE = 3, 8
"""Degrees of the polynomials: of the changes by leaving out a group, and of the values of all
rows."""

_MOST_PARAMETERS = 3
"""Parameters up to which grids are small."""

_REACH = 6.0
"""Reach of the grid in standard errors, times the root of the number of groups."""

_CHECKED = 3
"""Groups that are fitted as well, to check the polynomials: those that move estimates most."""

_SAME = 5e-7
"""Distance in standard errors, and relative one of the noise variance, that counts as none."""


@dataclass(frozen=True)
class WithoutGroup:
    """Estimates without the rows of a group.

    Attributes
    ----------
    coefficients : ndarray (r,)
        Of columns in standard units.
    covariance : ndarray (r, r)
        Relative to the noise variance.
    noise : float
        Noise variance in standard units.
    """

    coefficients: np.ndarray
    covariance: np.ndarray
    noise: float

    def is_near(self, other: WithoutGroup) -> bool:
        """Whether two estimates differ by no more than `_SAME`."""
        errors = np.sqrt(other.noise * np.diagonal(other.covariance))
        moves = np.abs(self.coefficients - other.coefficients) / errors
        unit = np.sqrt(np.diagonal(other.covariance))
        bends = np.abs(self.covariance - other.covariance) / np.outer(unit, unit)
        same = bool((bends < 2.0 * _SAME).all())
        return same and bool((moves < _SAME).all()) and abs(self.noise / other.noise - 1.0) < _SAME


@dataclass(frozen=True)
class _Deletions:
    """Estimates without each of G groups, at one theta.

    Attributes
    ----------
    coefficients, covariances : ndarray (G, r), (G, r, r)
        The latter relative to the noise.
    log_dets : ndarray (G,)
        What the determinant of restricted likelihood gains.
    explained : ndarray (G,)
        What the penalised sum of squares loses.
    is_known, is_large : ndarray (G,) of bool
        Groups whose rows no coefficient depends on, and those of too many rows.
    """

    coefficients: np.ndarray
    covariances: np.ndarray
    log_dets: np.ndarray
    explained: np.ndarray
    is_known: np.ndarray
    is_large: np.ndarray

    def beyond(
        self, system: System, df: np.ndarray, fit: ReopenedFit, integrate_fixed: bool
    ) -> np.ndarray:
        """Changes of the values of all rows, (G, 2 + r + r^2), as `_Surface.own` has them."""
        plain, log_dets = system.fixed_covariance(), self.log_dets
        if not integrate_fixed:
            gain = np.linalg.slogdet(self.covariances)[1] - np.linalg.slogdet(plain)[1]
            log_dets = log_dets + gain
        of_rss = -self.explained / fit.noise
        if fit.noise_is_free:
            of_rss = np.log1p(-np.minimum(self.explained / system.penalised_rss, 1.0 - 1e-15))
        moves = self.coefficients - system.fixed_effects
        bends = (self.covariances - plain).reshape(len(df), -1)
        return np.column_stack([log_dets, of_rss, moves, bends])

    @classmethod
    def empty(cls, n_groups: int, r: int) -> _Deletions:
        """Deletions of groups that are not known yet."""
        return cls(
            np.zeros((n_groups, r)), np.tile(np.eye(r), (n_groups, 1, 1)), np.zeros(n_groups),
            np.zeros(n_groups), np.zeros(n_groups, bool), np.zeros(n_groups, bool),
        )  # fmt: skip


@dataclass(frozen=True)
class _Surface:
    """Polynomials that interpolate the estimates without each of G groups.

    Attributes
    ----------
    coarse, fine : Grid
    deviances : ndarray (k, G)
        Coefficients of the deviance without each group, on the fine grid.
    shared, own : ndarray (k, 2 + r + r^2), (k', G, 2 + r + r^2)
        Coefficients of the log determinant, the logarithm of the sum of squares (or the sum over
        the noise), coefficients and covariance of all rows; and of what groups change in them.
    df : ndarray (G,)
    is_known : ndarray (G,) of bool
    noise : float or None
        Where it is held.
    """

    coarse: Grid
    fine: Grid
    deviances: np.ndarray
    shared: np.ndarray
    own: np.ndarray
    df: np.ndarray
    is_known: np.ndarray
    noise: float | None

    @classmethod
    def of(
        cls,
        coarse: Grid,
        fine: Grid,
        shared: np.ndarray,
        own: np.ndarray,
        df: np.ndarray,
        is_known: np.ndarray,
        noise: float | None,
    ) -> _Surface:
        """The polynomials through values at the nodes, of the shapes of their coefficients."""
        shared, own = fine.coefficients(shared), coarse.coefficients(own)
        weights = df if noise is None else np.ones(len(df))
        deviances = shared[:, :1] + weights * shared[:, 1:2]
        deviances[coarse.places_in(fine)] += own[:, :, 0] + weights * own[:, :, 1]
        return cls(coarse, fine, deviances, shared, own, df, is_known, noise)

    def at(self, places: np.ndarray, used: np.ndarray) -> list[WithoutGroup | None]:
        """Estimates at a place (m,) of each group; None for those that are not `used`."""
        values = self.fine.monomials(places) @ self.shared
        values += np.einsum("gk,kgv->gv", self.coarse.monomials(places), self.own)
        r = round((values.shape[1] - 1.75) ** 0.5 - 0.5)
        out: list[WithoutGroup | None] = [None] * len(used)
        for g in np.flatnonzero(used).tolist():
            noise = float(np.exp(values[g, 1])) / self.df[g] if self.noise is None else self.noise
            covariance = values[g, 2 + r :].reshape(r, r)
            out[g] = WithoutGroup(values[g, 2 : 2 + r], covariance, float(noise))
        return out


@dataclass(frozen=True)
class RowDeletions:
    """A fit and its rows in groups that can be left out, one after the other.

    Attributes
    ----------
    fit : ReopenedFit
        Of all rows.
    sums : RowSums
    rows : GroupedRows
    options : FitOptions
    start : Start
        Estimates of all rows.
    """

    fit: ReopenedFit
    sums: RowSums
    rows: GroupedRows
    options: FitOptions
    start: Start

    @classmethod
    def of(
        cls,
        design: Design,
        response: np.ndarray,
        case_weights: np.ndarray,
        groups: np.ndarray,
        result: FitResult,
        options: FitOptions,
    ) -> RowDeletions:
        """Sum the rows of a fit, and solve its equations at the estimates.

        Parameters
        ----------
        design : Design
        response, case_weights : ndarray (n,)
        groups : ndarray (n,)
            Numbers from 0 on.
        result : FitResult
            With noise of one variance.
        options : FitOptions
        """
        rows = RepeatedRows.of(
            design, case_weights,
            integrate_fixed=options.integrate_fixed,
            basis_may=options.basis_may(design.factors),
            noise_variance=options.noise_variance,
            n_threads=options.n_threads,
        )  # fmt: skip
        sums = rows.with_response(response)
        fit = ReopenedFit.of_sums(sums, result, options)
        values = rows.standardise(response).values
        assert values is not None
        grouped = GroupedRows.of(rows, values, fit.objective.cross, groups)
        return cls(fit, sums, grouped, options, Start.of_result(result))

    def held(self) -> list[WithoutGroup | None]:
        """Estimates at the variances of all rows; None for groups that coefficients depend on.

        Leaving rows out is adding an effect for each of them. With P = V^-1 - V^-1 X C X'V^-1 and
        E the columns of the identity of the rows, these effects are (E'PE)^-1 E'P y, and move the
        coefficients by -C X'V^-1 E times that (Cook and Weisberg 1982, "Residuals and Influence
        in Regression", section 2.2).
        """
        found = self._at(self.fit.point.system)
        if found is None:
            return [self._held_by_sums(group) for group in range(self.rows.n_groups)]
        parts: list[WithoutGroup | None] = []
        for group in range(self.rows.n_groups):
            if found.is_large[group]:
                parts.append(self._held_by_sums(group))
            elif found.is_known[group]:
                coefficients, covariance = found.coefficients[group], found.covariances[group]
                parts.append(WithoutGroup(coefficients, covariance, self.fit.noise))
            else:
                parts.append(None)
        return parts

    def _at(self, system: System) -> _Deletions | None:
        """Deletions of all groups from one factorisation; None without a dense factor."""
        exact = system.exact
        if exact is None and self.rows.cross.size <= _LARGEST_TAIL:
            # one dense factor saves a solution per group
            exact = DirectSolver(self.rows.cross, self.options.n_threads).system(system.scales)
        by_rows = None if exact is None else exact.row_covariances(self.rows)
        if exact is None or by_rows is None:
            return None
        beta, plain = exact.fixed_effects, exact.fixed_covariance()
        rest, roots = self._residuals(exact), np.sqrt(self.rows.weights)
        found = _Deletions.empty(self.rows.n_groups, len(beta))
        for group in range(self.rows.n_groups):
            here = self.rows.rows_of(group)
            if here.stop - here.start > _MOST_ROWS:
                found.is_large[group] = True
                continue
            among, with_fixed = by_rows.of(group)
            root = roots[here]
            left = np.eye(len(root)) - root[:, None] * among * root
            right = root[:, None] * np.column_stack([with_fixed, rest[here]])
            solved = _half_solved(left, right)
            if solved is None:
                continue
            half, log_det = solved
            of_fixed, of_rest = half[:, :-1], half[:, -1]
            found.is_known[group] = True
            found.coefficients[group] = beta - of_fixed.T @ of_rest
            found.covariances[group] = plain + of_fixed.T @ of_fixed
            found.log_dets[group] = log_det
            found.explained[group] = of_rest @ of_rest
        return found

    def _residuals(self, system: System) -> np.ndarray:
        """The response less its posterior mean, (n,)."""
        rows = self.rows
        rest = rows.dense[:, -1] - rows.dense[:, :-1] @ system.fixed_effects
        for f, effects in enumerate(system.random_effects):
            rest -= np.einsum("nq,nq->n", rows.bases[f], effects[rows.levels[f]])
        return rest

    def _held_by_sums(self, group: int) -> WithoutGroup | None:
        cross = self.rows.without(group)
        if self._loses_rank(cross):
            return None
        objective = self._objective(cross, group, self.fit.objective)
        point = objective.at(self.fit.theta)
        if point is None:
            return None
        system = point.system
        return WithoutGroup(system.fixed_effects, system.fixed_covariance(), self.fit.noise)

    def estimated(self) -> list[WithoutGroup | None]:
        """Estimates with variances of their own; None where only a fit of the rows can tell.

        Where groups are many and a factorisation is large, the deviance without each group is
        interpolated (`skmixed.results.deletion_surface`), and the groups that move the variances
        most are fitted as well: where they differ, all are.
        """
        found = self._interpolated()
        if found is None:
            return [self._estimated(group) for group in range(self.rows.n_groups)]
        return [
            self._estimated(group) if part is None else part for group, part in enumerate(found)
        ]

    def _interpolated(self) -> list[WithoutGroup | None] | None:
        """Estimates from polynomials; None for those that these do not tell, or for all."""
        fit, m = self.fit, len(self.fit.theta)
        coarse, objective = Grid.of(m, _COARSE), fit.objective
        many = self.rows.n_groups >= _GROUPS_PER_NODE * coarse.size
        worth = 0 < m <= _MOST_PARAMETERS and many and self.rows.cross.size >= _SMALL_TAIL
        inside = objective.prior.moves(fit.theta).all()
        if not (worth and inside and objective.posterior.needs_determinant):
            return None
        free = replace(objective, noise_variance=None) if fit.noise_is_free else objective
        point = free.at(fit.theta)
        if point is None:
            return None
        values, vectors = np.linalg.eigh(free.derivatives(point).hessian)
        if not values[0] > 0.0:
            return None
        # a group moves estimates by some standard errors over the root of how many there are
        reach = _REACH / np.sqrt(self.rows.n_groups)
        surface = self._surface(coarse, reach * vectors * np.sqrt(2.0 / values))
        if surface is None:
            return None
        at, is_found = minima(surface.fine, surface.deviances)
        is_found &= surface.is_known
        parts = surface.at(at, is_found)
        far = np.argsort(-np.where(is_found, (at**2).sum(axis=1), -1.0))[:_CHECKED]
        for group in far.tolist():
            part, whole = parts[group], self._estimated(group)
            if part is not None and (whole is None or not part.is_near(whole)):
                return None
        return parts

    def _surface(self, coarse: Grid, axes: np.ndarray) -> _Surface | None:
        """The deviance without every group, and its coefficients, along axes (m, m) from theta."""
        fit, objective = self.fit, self.fit.objective
        fine = Grid.of(len(fit.theta), _FINE)
        n_rows = np.array([self.rows.n_observations(g) for g in range(self.rows.n_groups)])
        df = objective.degrees_of_freedom - n_rows
        with_groups = set(coarse.places_in(fine).tolist())
        shared, parts, known = [], {}, np.ones(len(df), bool)
        for node, theta in enumerate(fit.theta + fine.nodes @ axes.T):
            point = objective.at(theta)
            if point is None:
                return None
            system = point.system
            plain, rss = system.fixed_covariance(), system.penalised_rss
            log_det = system.log_det(objective.integrate_fixed)
            of_rss = np.log(rss) if fit.noise_is_free else rss / fit.noise
            shared.append(np.concatenate([[log_det, of_rss], system.fixed_effects, plain.ravel()]))
            if node not in with_groups:
                continue
            here = self._at(system)
            if here is None:
                return None
            known &= here.is_known
            parts[node] = here.beyond(system, df, fit, objective.integrate_fixed)
        own = np.array([parts[node] for node in coarse.places_in(fine).tolist()])
        noise = None if fit.noise_is_free else fit.noise
        return _Surface.of(coarse, fine, np.array(shared), own, df, known, noise)

    def _estimated(self, group: int) -> WithoutGroup | None:
        cross, options = self.rows.without(group), self.options
        if self._loses_rank(cross):
            return None
        free = replace(
            self.fit.objective, noise_variance=None if self.fit.noise_is_free else self.fit.noise
        )
        objective = self._objective(cross, group, free)
        n = objective.n_observations
        units = replace(
            self.fit.units, n_observations=n, degrees_of_freedom=objective.degrees_of_freedom
        )
        absent = spanned_by_fixed(cross) - options.related
        absent |= {f for f, alone in enumerate(self.sums.rows_alone) if alone} - options.related
        objective = replace(objective, prior=options.prior(cross, absent))
        prior = objective.prior
        cold = np.zeros(prior.n_parameters)
        if not self.start.is_away_from_zero(units):
            cold = moment_estimates(cross, prior, objective.noise_variance, n)
        theta = self.start.theta_to_leave(prior, units, cold)
        try:
            state, _ = optimise(
                objective, theta, units, options, absent, self.sums.dependent, judge_held
            )
        except (SingularSystemError, ValueError):
            return None
        if not state.converged:
            return None
        system = state.point.system
        return WithoutGroup(
            system.fixed_effects, system.fixed_covariance(), state.point.noise_variance
        )

    def _objective(
        self, cross: CrossProducts, group: int, like: GaussianObjective
    ) -> GaussianObjective:
        """The objective of the rows that are left."""
        return replace(
            like,
            solver=like.solver.with_sums(cross),
            noise=like.noise.with_response(cross, ()),
            n_observations=like.n_observations - self.rows.n_observations(group),
        )

    def _loses_rank(self, cross: CrossProducts) -> bool:
        """Whether columns that are independent over all rows may not be so over those left."""
        before = self.rows.cross
        pairs = [(before.fixed_products, cross.fixed_products)]
        for old, new in zip(before.sums.own, cross.sums.own, strict=True):
            if old.shape[1] > 1:
                pairs.append((old.sum(axis=0), new.sum(axis=0)))
        return any(_rank(new) < _rank(old) for old, new in pairs)


def _rank(matrix: np.ndarray) -> int:
    """Rank of cross-products (k, k) of columns of about unit scale."""
    if not len(matrix):
        return 0
    values = np.linalg.eigvalsh(matrix)
    return int((values > _DEPENDENT * max(values[-1], 0.0)).sum())


def _half_solved(left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, float] | None:
    """L^-1 times columns (m, k), with L L' = left (m, m), and its log determinant.

    None where it is near singular.
    """
    try:
        root = np.linalg.cholesky(left)
    except np.linalg.LinAlgError:
        return None
    if (np.diagonal(root) ** 2).min() < _DEPENDENT:
        return None
    found: np.ndarray = solve_triangular(root, right, lower=True, check_finite=False)
    return found, 2.0 * float(np.log(np.diagonal(root)).sum())
