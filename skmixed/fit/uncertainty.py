"""Covariance of estimates: the posterior's, and what it holds fixed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skmixed.fit.quadratic_model import eigh
from skmixed.solvers.base import System

_FLAT = 1e-8
"""Eigenvalue of the scaled Hessian below which a direction says nothing."""


@dataclass(frozen=True)
class Uncertainty:
    """Covariance that estimation adds to a posterior, in the units of a fit.

    Attributes
    ----------
    fixed : ndarray (p, p)
        Covariance of the coefficients.
    further : ndarray (p + n_effects, e)
        Columns whose outer products add to the posterior covariance of all coefficients, for
        what the posterior holds fixed: phi, and beta where it is a point.
    estimates : ndarray (m + k + p, m + k + p) or None
        Covariance of (theta, own parameters, beta); 0 for parameters at the end of their range.
        None where that of the parameters was not computed.
    """

    fixed: np.ndarray
    further: np.ndarray
    estimates: np.ndarray | None = None


def of_held_variances(system: System, posterior_fixed: np.ndarray, integrated: bool) -> Uncertainty:
    """The uncertainty at variance parameters that are taken as known.

    Parameters
    ----------
    system : System
    posterior_fixed : ndarray (p, p)
        Covariance of the fixed effects, as the posterior has it.
    integrated : bool
        Whether the fixed effects have a posterior.
    """
    if integrated:
        n_effects = sum(factor.size for factor in system.cross.factors)
        return Uncertainty(posterior_fixed, np.zeros((len(posterior_fixed) + n_effects, 0)))
    return Uncertainty(posterior_fixed, follow_fixed(system.fixed_with_effects(), posterior_fixed))


def follow_fixed(with_effects: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Columns (p + n_effects, p) by which all coefficients move with beta of a covariance.

    All means move with beta by C_ub C_bb^-1, C the inverse of the mixed-model equations.
    """
    p = len(covariance)
    moves = np.linalg.lstsq(with_effects[:, :p], with_effects, rcond=None)[0].T
    moves[:p] = np.eye(p)
    return moves @ root_of(covariance)


def root_of(covariance: np.ndarray) -> np.ndarray:
    """A matrix R with R R' the covariance, a singular one included."""
    values, vectors = eigh(0.5 * (covariance + covariance.T))
    return vectors * np.sqrt(np.maximum(values, 0.0))


def inverse_of_rising(hessian: np.ndarray) -> np.ndarray:
    """Inverse in the directions in which the deviance rises; others say nothing."""
    diagonal = hessian.diagonal()
    scale = np.where(diagonal > 0.0, 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0)), 0.0)
    values, vectors = eigh(hessian * scale[:, None] * scale)
    rising = values > _FLAT
    root = scale[:, None] * vectors[:, rising] / np.sqrt(values[rising])
    return root @ root.T
