"""Fits of a normal model to many responses of the same rows, prepared once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from skmixed.design import Design
from skmixed.fit.gaussian_fit import gaussian_objective, maximise
from skmixed.fit.gaussian_objective import GaussianObjective
from skmixed.fit.nearer_start import nearer_start
from skmixed.fit.outer import FitOptions
from skmixed.fit.publish import publish_interpolation
from skmixed.fit.result import FitResult
from skmixed.sums.repeated_sums import RepeatedRows
from skmixed.sums.row_sums import RowSums


@dataclass(frozen=True)
class RepeatedFit:
    """A model whose design, cells and solver are prepared, and whose response is yet to come.

    Attributes
    ----------
    rows : RepeatedRows
    objective : GaussianObjective
        Of a response of zeros.
    absent : frozenset of int
        Factors without a variance of their own.
    options : FitOptions
    theta : ndarray (m,) or None
        Parameters of the prior to start from; None where the response has to tell them.
    """

    rows: RepeatedRows
    objective: GaussianObjective
    absent: frozenset[int]
    options: FitOptions
    theta: np.ndarray | None

    @classmethod
    def of(cls, design: Design, case_weights: np.ndarray, options: FitOptions) -> RepeatedFit:
        """Sum the columns of a design, and prepare their equations."""
        rows = RepeatedRows.of(
            design, case_weights,
            integrate_fixed=options.integrate_fixed,
            basis_may=options.basis_may(design.factors),
            noise_variance=options.noise_variance,
            n_threads=options.n_threads,
        )  # fmt: skip
        objective, absent = gaussian_objective(rows.blank, options)
        prior, start, units, theta = objective.prior, options.start, rows.blank.units, None
        if start is not None and start.is_away_from_zero(units):
            theta = start.theta_to_leave(prior, units, np.zeros(prior.n_parameters))
            objective.solver.keep(prior.scales(theta))
        return cls(rows, objective, absent, options, theta)

    def fit(self, response: np.ndarray, seed: Callable[[], int]) -> FitResult:
        """Fit a response (n,), as `fit_gaussian` does.

        `seed` is asked where a solver draws random vectors; their Monte Carlo error differs then.
        """
        sums = self.rows.with_response(response)
        if sums.sums is None:
            n_levels = tuple(factor.n_levels for factor in self.rows.columns.design.factors)
            return publish_interpolation(n_levels, sums.units)
        objective, theta = self._objective_of(sums, seed), self.theta
        if theta is not None:
            theta = nearer_start(objective, theta, self.options.tol)
        return maximise(objective, self.absent, sums, self.options, theta)

    def _objective_of(self, rows: RowSums, seed: Callable[[], int]) -> GaussianObjective:
        before, options = self.objective, self.options
        held = options.noise_variance
        assert rows.sums is not None
        cross = before.cross.with_response(rows.sums)
        return replace(
            before,
            solver=before.solver.with_response(cross, seed),
            noise=before.noise.with_response(cross, rows.strata.sums),
            noise_variance=None if held is None else held / rows.units.noise,
            penalty=options.penalty(before.prior, rows.units, rows.scales),
        )
