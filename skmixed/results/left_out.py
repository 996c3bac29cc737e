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
"""Part of a row, or of a column, that others leave, below which it is left to a fit of the rows."""


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
        covariances = [factor.covariance for factor in result.factors]
        start = Start(covariances, result.noise_variance, result.parameters)
        return cls(fit, sums, grouped, options, start)

    def held(self) -> list[WithoutGroup | None]:
        """Estimates at the variances of all rows; None for groups that coefficients depend on.

        Leaving rows out is adding an effect for each of them. With P = V^-1 - V^-1 X C X'V^-1 and
        E the columns of the identity of the rows, these effects are (E'PE)^-1 E'P y, and move the
        coefficients by -C X'V^-1 E times that (Cook and Weisberg 1982, "Residuals and Influence
        in Regression", section 2.2).
        """
        system = self.fit.point.system
        exact = system.exact
        if exact is None and self.rows.cross.size <= _LARGEST_TAIL:
            # one dense factor saves a solution per group
            exact = DirectSolver(self.rows.cross, self.options.n_threads).system(system.scales)
        by_rows = None if exact is None else exact.row_covariances(self.rows)
        if by_rows is None:
            return [self._held_by_sums(group) for group in range(self.rows.n_groups)]
        beta, plain, found = system.fixed_effects, system.fixed_covariance(), []
        rest, roots = self._residuals(system), np.sqrt(self.rows.weights)
        for group in range(self.rows.n_groups):
            here = self.rows.rows_of(group)
            if here.stop - here.start > _MOST_ROWS:
                found.append(self._held_by_sums(group))
                continue
            among, with_fixed = by_rows.of(group)
            root = roots[here]
            left = np.eye(len(root)) - root[:, None] * among * root
            half = _half_solved(left, root[:, None] * np.column_stack([with_fixed, rest[here]]))
            if half is None:
                found.append(None)
                continue
            of_fixed, of_rest = half[:, :-1], half[:, -1]
            covariance = plain + of_fixed.T @ of_fixed
            found.append(WithoutGroup(beta - of_fixed.T @ of_rest, covariance, self.fit.noise))
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
        """Estimates with variances of their own; None where only a fit of the rows can tell."""
        return [self._estimated(group) for group in range(self.rows.n_groups)]

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


def _half_solved(left: np.ndarray, right: np.ndarray) -> np.ndarray | None:
    """L^-1 times columns (m, k), with L L' = left (m, m); None where that is near singular."""
    try:
        root = np.linalg.cholesky(left)
    except np.linalg.LinAlgError:
        return None
    if (np.diagonal(root) ** 2).min() < _DEPENDENT:
        return None
    found: np.ndarray = solve_triangular(root, right, lower=True, check_finite=False)
    return found
