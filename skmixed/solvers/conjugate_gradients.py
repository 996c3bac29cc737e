"""Conjugate gradients for many right-hand sides, and what their coefficients tell.

The coefficients of a solve that starts from zero are those of a Lanczos
tridiagonalisation (Golub and Van Loan 2013, Matrix Computations, section 11.3.4;
Ubaru, Chen and Saad 2017, SIAM J. Matrix Anal. Appl. 38, section 3), so that one
run gives H^-1 z, the quadrature z' log(H) z and products H^(-1/2) z.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skmixed.solvers.base import SingularSystemError


class NotConvergedError(SingularSystemError):
    """The iterations did not reach their tolerance."""


@dataclass(frozen=True)
class LanczosRun:
    """Coefficients of one column's solve.

    Attributes
    ----------
    size : float
        Norm of the right-hand side.
    diagonal, off_diagonal : ndarray (k,), (k - 1,)
        Of the tridiagonal matrix.
    """

    size: float
    diagonal: np.ndarray
    off_diagonal: np.ndarray

    def weights(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Coordinates (k,) of f(H) z in the Lanczos basis."""
        if not len(self.diagonal):
            return np.zeros(0)
        values, vectors = self._eigen
        return self.size * (vectors @ (function(values) * vectors[0]))

    def spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        """Ritz values and their shares of z'z, (k,) each."""
        if not len(self.diagonal):
            return np.zeros(0), np.zeros(0)
        values, vectors = self._eigen
        return values, vectors[0] ** 2

    @cached_property
    def _eigen(self) -> tuple[np.ndarray, np.ndarray]:
        matrix = np.diag(self.diagonal)
        k = np.arange(len(self.off_diagonal))
        matrix[k, k + 1] = matrix[k + 1, k] = self.off_diagonal
        values, vectors = np.linalg.eigh(matrix)
        return values, vectors

    def quadratic_form(self, function: Callable[[np.ndarray], np.ndarray]) -> float:
        """The Gauss quadrature of z' f(H) z."""
        weights = self.weights(function)
        return float(self.size * weights[0]) if len(weights) else 0.0


@dataclass(frozen=True)
class Solution:
    """Solutions of H x = b for the columns of b.

    Attributes
    ----------
    x : ndarray (n, m)
    residual : ndarray (n, m)
        b - H x.
    n_products : int
        Products with H, all columns at once.
    runs : list of LanczosRun
        By column.
    basis : list of ndarray (n, m)
        Unnormalised Lanczos vectors by step, if they were to be kept.
    norms : list of ndarray (m,)
        Their norms.
    """

    x: np.ndarray
    residual: np.ndarray
    n_products: int
    runs: list[LanczosRun]
    basis: list[np.ndarray]
    norms: list[np.ndarray]

    def columns(self, begin: int) -> Solution:
        """The solutions of the columns from `begin` on."""
        return Solution(
            self.x[:, begin:],
            self.residual[:, begin:],
            self.n_products,
            self.runs[begin:],
            [vectors[:, begin:] for vectors in self.basis],
            [norms[begin:] for norms in self.norms],
        )

    def product(self) -> np.ndarray:
        """H b for every column, which the first step has made, (n, m)."""
        if not self.basis:
            return np.zeros_like(self.x)
        pivots = np.array([run.diagonal[0] if len(run.diagonal) else 0.0 for run in self.runs])
        # the residual after the first step is b - H b / pivot
        left = self.basis[1] if len(self.basis) > 1 else 0.0
        return (self.basis[0] - left) * pivots

    def apply(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """f(H) b for every column, from the kept basis, (n, m)."""
        out = np.zeros_like(self.x)
        coordinates = [run.weights(function) for run in self.runs]
        for k, (vectors, norms) in enumerate(zip(self.basis, self.norms, strict=True)):
            scale = np.array([c[k] if k < len(c) else 0.0 for c in coordinates])
            # residuals alternate in sign against the Lanczos vectors
            scale *= (-1.0) ** k / np.where(norms > 0.0, norms, 1.0)
            out += vectors * scale
        return out


def solve(
    multiply: Callable[[np.ndarray, np.ndarray], np.ndarray],
    right: np.ndarray,
    tolerance: np.ndarray,
    max_iter: int,
    keep_basis: bool = False,
    early: tuple[np.ndarray, int] | None = None,
) -> Solution:
    """Solve H x = b for every column of `right`, from zero.

    A column that has converged leaves the batch, and the products get cheaper.

    Parameters
    ----------
    multiply : callable
        Maps columns (n, k) and their numbers in `right` (k,) to H times them.
    right : ndarray (n, m)
    tolerance : ndarray (m,)
        Bound on the norm of the residual relative to that of the column.
    max_iter : int
    keep_basis : bool, default=False
    early : (ndarray (m,), int), optional
        Bounds that suffice as long as no more products than these were taken.

    Raises
    ------
    NotConvergedError
        When a column has not converged after `max_iter` products.
    SingularSystemError
        When H turns out not to be positive definite, or not to be finite.
    """
    n, m = right.shape
    squares = np.einsum("ij,ij->j", right, right)
    size = np.sqrt(squares)
    solution, residual = np.zeros((n, m)), right.copy()
    n_products = 0
    bound = (tolerance * size) ** 2
    early_bound, last_early = bound, 0
    if early is not None:
        early_bound, last_early = (early[0] * size) ** 2, early[1]
    alphas: list[list[float]] = [[] for _ in range(m)]
    betas: list[list[float]] = [[] for _ in range(m)]
    basis: list[np.ndarray] = []
    norms: list[np.ndarray] = []
    active = np.flatnonzero((squares > bound) & (squares > 0.0))
    x, r, old = solution[:, active], residual[:, active], squares[active]
    direction = r.copy()
    while len(active):
        if n_products >= max_iter:
            worst = float(np.sqrt((old / size[active] ** 2).max()))
            raise NotConvergedError(
                f"conjugate gradients stopped after {max_iter} products at a relative "
                f"residual of {worst:.1e}"
            )
        if keep_basis:
            step, length = np.zeros((n, m)), np.zeros(m)
            step[:, active], length[active] = r, np.sqrt(old)
            basis.append(step)
            norms.append(length)
        product = multiply(direction, active)
        n_products += 1
        curvature = np.einsum("ij,ij->j", direction, product)
        if not (curvature > 0.0).all():
            raise SingularSystemError("the system is not positive definite at working precision")
        alpha = old / curvature
        x += alpha * direction
        r -= alpha * product
        new = np.einsum("ij,ij->j", r, r)
        beta = new / old
        for k, column in enumerate(active):
            alphas[column].append(float(alpha[k]))
            betas[column].append(float(beta[k]))
        going = new > (early_bound if n_products <= last_early else bound)[active]
        if going.all():
            direction *= beta
            direction += r
            old = new
            continue
        solution[:, active] = x
        residual[:, active] = r
        active = active[going]
        x, r, old = x[:, going], r[:, going], new[going]
        direction = r + beta[going] * direction[:, going]
    runs = [_run(float(size[j]), alphas[j], betas[j]) for j in range(m)]
    return Solution(solution, residual, n_products, runs, basis, norms)


def _run(size: float, alphas: list[float], betas: list[float]) -> LanczosRun:
    alpha, beta = np.array(alphas), np.array(betas[:-1])
    diagonal = 1.0 / alpha if len(alpha) else np.zeros(0)
    diagonal[1:] += beta / alpha[:-1]
    return LanczosRun(size, diagonal, np.sqrt(beta) / alpha[:-1])
