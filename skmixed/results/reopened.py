"""A normal fit made again at its estimates, from the training data."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skmixed.design import Design
from skmixed.fit.gaussian_fit import gaussian_objective, sums_of
from skmixed.fit.gaussian_objective import GaussianObjective
from skmixed.fit.objective import Point
from skmixed.fit.outer import FitOptions, Start
from skmixed.fit.publish import center_of, fixed_effects_in_units
from skmixed.fit.result import FitResult
from skmixed.results.same_data import refuse_other_elbo, refuse_other_rows
from skmixed.solvers.base import Direction, SingularSystemError
from skmixed.sums.row_sums import RowSums
from skmixed.sums.standard_units import Units

_MOST_OPERATIONS = 3e11
"""Operations of exact traces beyond which these are estimated: some ten seconds."""


@dataclass(frozen=True)
class ReopenedFit:
    """The objective of a fit, and its value at the estimates.

    Attributes
    ----------
    objective : GaussianObjective
        With the noise variance held at its estimate.
    units : Units
    theta : ndarray (m,)
        Parameters of the covariances, and of the noise where it has some.
    noise : float
        Noise variance in the units of the objective.
    noise_is_free : bool
        Whether it was estimated.
    point : Point
    result : FitResult
    """

    objective: GaussianObjective
    units: Units
    theta: np.ndarray
    noise: float
    noise_is_free: bool
    point: Point
    result: FitResult

    @classmethod
    def of(
        cls,
        design: Design,
        response: np.ndarray,
        case_weights: np.ndarray,
        result: FitResult,
        options: FitOptions,
    ) -> ReopenedFit:
        """Sum the rows of a fit, and solve its equations at the estimates.

        Parameters
        ----------
        design : Design
            Of the rows of the fit.
        response, case_weights : ndarray (n,)
        result : FitResult
        options : FitOptions
            Those of the fit.

        Raises
        ------
        ValueError
            If the data are not those of the fit.
        """
        refuse_other_rows(design, case_weights, result)
        fit = cls.at_variances(design, response, case_weights, result, options)
        refuse_other_elbo(float(fit.units.elbo(fit.point.deviance - fit.point.penalty)), result)
        return fit

    @classmethod
    def at_variances(
        cls,
        design: Design,
        response: np.ndarray,
        case_weights: np.ndarray,
        result: FitResult,
        options: FitOptions,
    ) -> ReopenedFit:
        """The equations of any rows at the variances of a fit; arguments as for `of`."""
        return cls.of_sums(sums_of(design, response, case_weights, options), result, options)

    @classmethod
    def of_sums(cls, rows: RowSums, result: FitResult, options: FitOptions) -> ReopenedFit:
        """The equations of summed rows at the variances of a fit."""
        objective, _ = gaussian_objective(rows, options)
        units = rows.units
        start = Start.of_result(result).theta(objective.prior, units)
        theta = np.append(start, result.parameters)
        noise = result.noise_variance / units.noise
        held = replace(objective, noise_variance=noise)
        point = held.at(theta)
        if point is None:
            raise SingularSystemError("the model is singular at its estimates")
        free = options.noise_variance is None
        return cls(held, units, theta, noise, free, point, result)

    def with_coefficients(self) -> FitResult:
        """The fit with the coefficients of these rows, and their covariance."""
        covariance = self.noise * self.point.system.fixed_covariance()
        return replace(
            self.result,
            coefficients=fixed_effects_in_units(self.point.system, self.units)[1],
            center=center_of(self.units.fixed),
            coefficient_covariance=self.to_centred @ covariance @ self.to_centred.T,
        )

    @property
    def to_centred(self) -> np.ndarray:
        """Centred coefficients of the fit from those in standard units, (p, r)."""
        return self.units.response_scale * self.units.fixed.to_centred()


def exact_traces(fit: ReopenedFit, directions: list[Direction]) -> np.ndarray | None:
    """tr(P V_i P V_j) of matrices (q, q) in the Omega of factors, (m, m); None if too costly."""
    exact, size = fit.point.system.exact, float(fit.objective.cross.size)
    if exact is None or not is_affordable(10.0 * size**3):
        return None
    return exact.trace_products(directions)


def is_affordable(n_operations: float) -> bool:
    """Whether exact traces of so many operations take some ten seconds at most."""
    return n_operations <= _MOST_OPERATIONS


def precision_slope(by_effects: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Derivative (p, p) of X' V^-1 X along a matrix (q, q) in a factor's Omega.

    Parameters
    ----------
    by_effects : ndarray (L, q, p)
        Z' V^-1 X of the factor.
    matrix : ndarray (q, q)
    """
    p = by_effects.shape[2]
    moved = np.einsum("qs,lsb->lqb", matrix, by_effects)
    slope: np.ndarray = -(by_effects.reshape(-1, p).T @ moved.reshape(-1, p))
    return slope
