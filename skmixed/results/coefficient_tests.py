"""Tests of linear functions of the coefficients: what every method of degrees of freedom has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import chdtrc, fdtrc

_DEPENDENT = 1e-10
"""Eigenvalue of a covariance, over the largest, below which its direction is none."""


@dataclass(frozen=True)
class JointTest:
    """Test that several linear functions are all zero.

    Attributes
    ----------
    F : float
        Of infinite `den_df` the chi-square statistic over `num_df`.
    num_df : int
        Functions that do not depend on the others.
    den_df : float
    """

    F: float
    num_df: int
    den_df: float

    @property
    def p_value(self) -> float:
        """Probability of a larger F."""
        if np.isinf(self.den_df):
            return float(chdtrc(self.num_df, self.F * self.num_df))
        return float(fdtrc(self.num_df, self.den_df, self.F))


class CoefficientTests(Protocol):
    """A covariance of the coefficients with degrees of freedom of what is computed from it."""

    @property
    def covariance(self) -> np.ndarray:
        """Of the coefficients of centred columns, (p, p)."""
        ...

    @property
    def trace_error(self) -> float:
        """Relative Monte Carlo error of what degrees of freedom are made of; 0 where exact."""
        ...

    def degrees_of_freedom(self, contrasts: np.ndarray) -> np.ndarray:
        """Of the t statistics of linear functions (k, p), (k,); infinite: normal."""
        ...

    def joint_test(self, contrasts: np.ndarray, values: np.ndarray) -> JointTest:
        """F test that linear functions (k, p), estimated by `values` (k,), are all zero."""
        ...


@dataclass(frozen=True)
class Asymptotic:
    """Tests that take the variances for known.

    Attributes
    ----------
    covariance : ndarray (p, p)
    trace_error : float
        0: there are no traces.
    """

    covariance: np.ndarray
    trace_error: float = 0.0

    def degrees_of_freedom(self, contrasts: np.ndarray) -> np.ndarray:
        """Infinite, (k,)."""
        return np.full(len(contrasts), np.inf)

    def joint_test(self, contrasts: np.ndarray, values: np.ndarray) -> JointTest:
        """Wald's chi-square, over its degrees of freedom."""
        variances, vectors = independent_parts(contrasts @ self.covariance @ contrasts.T)
        squares = (vectors.T @ values) ** 2 / variances
        return JointTest(float(squares.mean()), len(squares), np.inf)


def independent_parts(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Variances (r,) and directions (k, r) of the independent parts of estimates (k,).

    Raises
    ------
    ValueError
        If nothing varies.
    """
    values, vectors = np.linalg.eigh(covariance)
    used = values > max(_DEPENDENT * values[-1], 0.0)
    if not used.any():
        raise ValueError(
            "The hypothesis does not restrict the coefficients: all its rows are zero, or the "
            "coefficients in them have no standard error."
        )
    return values[used], vectors[:, used]
