"""The quadratic model of an objective at a point, in coordinates of unit curvature."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np
from scipy.linalg import lapack


def eigh(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenvalues, ascending, and eigenvectors of a small symmetric matrix.

    NumPy's `eigh`, without what it adds for stacks of matrices.
    """
    if len(matrix) < 2:
        return matrix.diagonal().copy(), np.ones(matrix.shape)
    values, vectors, failed = lapack.dsyevd(matrix, lower=1)
    if failed:
        raise np.linalg.LinAlgError("eigenvalues did not converge")
    return values, vectors


@dataclass(frozen=True)
class QuadraticModel:
    """Newton step and curvature at a point.

    Attributes
    ----------
    step : ndarray
        The Newton step.
    scaled_gradient : float
        See `NewtonState`.
    descents : ndarray (k, m)
        Directions of negative curvature, the steepest first.
    flattest : float
        Smallest eigenvalue of the Hessian scaled to a unit diagonal.
    flat_direction : ndarray
        Its eigenvector in scaled coordinates.
    """

    step: np.ndarray
    scaled_gradient: float
    descents: np.ndarray
    flattest: float
    flat_direction: np.ndarray


def quadratic_model(gradient: np.ndarray, hessian: np.ndarray) -> QuadraticModel:
    """Judge a point by its gradient and Hessian, in coordinates of unit curvature."""
    if not isfinite(gradient.sum() + hessian.sum()):
        raise ValueError(
            "The derivatives of the ELBO are not finite: the model reproduces the response without "
            "error, or columns differ by too many orders of magnitude. Use fewer effects, or "
            "rescale columns."
        )
    if not len(gradient):
        return QuadraticModel(gradient, 0.0, np.empty((0, 0)), 1.0, gradient)
    curvature = np.abs(hessian.diagonal())
    unit = 1.0 / np.sqrt(np.maximum(curvature, 1e-300))
    # a parameter without curvature or gradient stays where it is
    unit[curvature < 1e-200] = 0.0
    values, vectors = eigh(hessian * unit[:, None] * unit)
    size = np.abs(values)
    np.maximum(size, 1e-9 * max(size.max(), 1e-9), out=size)
    along = vectors.T @ (gradient * unit)
    moved = along / size
    step = -unit * (vectors @ moved)
    decrement = sqrt(along @ moved)
    descents = np.empty((0, len(unit)))
    # in ascending order
    if values[0] < -1e-6:
        descents = (unit[:, None] * vectors[:, values < -1e-6]).T
        # an estimated Hessian can hide the one direction that counts behind others; its
        # diagonal is exact where a variance is zero
        concave = np.flatnonzero(unit * hessian.diagonal() * unit < -1e-6)
        descents = np.concatenate([descents, np.diag(unit)[concave]])
    flattest = float(values[0]) if unit.all() else 1.0
    return QuadraticModel(step, decrement, descents, flattest, vectors[:, 0])
