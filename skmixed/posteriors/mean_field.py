"""Fully factorised normals over the random effects."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skmixed.covariances import BasisChange, LevelCovariance, Scale
from skmixed.posteriors.base import PosteriorCovariance, Solved
from skmixed.solvers.base import SingularSystemError
from skmixed.sums.cross_products import FactorLayout
from skmixed.sums.working_rows import Loadings, WorkingRows

_LEAST_DIAGONAL = 1e-13
"""Size to which the diagonal of T is raised before it is inverted."""

_STEP = 1e-5
"""Step of differences, relative to a parameter or absolute."""


class MeanFieldPosterior:
    """Every random effect a normal of its own, independent of all others.

    At given variance parameters its means are those of the full posterior. An
    effect's relative variance is 1 / (d + (Omega^-1)_jj) with d the diagonal
    cross-product, and in the ELBO the determinant of V gives way to

        sum_levels log |Omega| + sum_j log(d_j + (Omega^-1)_jj).

    Fixed effects that are integrated out form one block of their own, whose
    determinant log |X'X| does not depend on the variance parameters.
    """

    basis_may: BasisChange = "scale"
    needs_determinant = False

    def log_det(self, at: Solved) -> float:
        """The factorised determinant (+ log |X'X|)."""
        system, cross = at.system, at.system.cross
        total = 0.0
        for factor, scale in zip(cross.factors, system.scales, strict=True):
            precisions = cross.effect_precisions(factor)
            total += sum(block.log_det() for _, block in _blocks(factor, precisions, scale))
        if at.integrate_fixed:
            total += np.linalg.slogdet(cross.fixed_products)[1] if cross.n_fixed else 0.0
        return float(total)

    def log_det_derivatives(
        self, at: Solved, average_information: np.ndarray, coarse: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Exact gradient and Hessian, block by block."""
        gradient, hessian = np.zeros_like(at.theta), np.zeros(2 * at.theta.shape)
        for block in at.prior.blocks:
            here, effects = block.parameters, block.effects
            precisions = at.system.cross.effect_precisions(block.factor)[:, effects]
            found = _block_derivatives(block.covariance, at.theta[here], precisions)
            gradient[here], hessian[here, here] = found
        return gradient, hessian

    def hessian_correction(self, at: Solved, average_information: np.ndarray) -> np.ndarray:
        """Nothing: the Hessian is exact."""
        return np.zeros_like(average_information)

    def row_variances(self, at: Solved, rows: WorkingRows, coarse: bool) -> np.ndarray:
        """Sums of the variances of a row's effects."""
        cross = at.system.cross
        levels = self._levels(at)
        root = np.zeros((cross.n_fixed, 0))
        if at.integrate_fixed and cross.n_fixed:
            try:
                root = np.linalg.inv(np.linalg.cholesky(cross.fixed_products)).T
            except np.linalg.LinAlgError:
                raise SingularSystemError("the fixed effects are dependent") from None
        return rows.loaded_variances(Loadings(root, (None,) * len(levels), levels))

    def row_variance_errors(self, at: Solved, rows: WorkingRows) -> np.ndarray:
        """Zero: nothing is estimated."""
        return np.zeros(rows.n_rows)

    def covariance(self, at: Solved, joint_limit: int) -> PosteriorCovariance:
        """Diagonal level blocks; nothing across levels."""
        cross = at.system.cross
        joint = np.zeros((cross.n_fixed, cross.n_fixed + sum(f.size for f in cross.factors)))
        exact = (0.0,) * len(cross.factors)
        if not at.integrate_fixed:
            return PosteriorCovariance(
                self._levels(at), at.system.fixed_covariance(), (), joint, exact
            )
        try:
            fixed = np.linalg.inv(cross.fixed_products)
        except np.linalg.LinAlgError:
            # working weights of very different sizes make dependent what was independent
            fixed = np.linalg.pinv(cross.fixed_products, hermitian=True)
        joint[:, : cross.n_fixed] = fixed
        return PosteriorCovariance(self._levels(at), fixed, (), joint, exact)

    def _levels(self, at: Solved) -> tuple[np.ndarray, ...]:
        """Diagonal covariance of every level's effects, (L, Q, Q) by factor."""
        system, cross = at.system, at.system.cross
        levels = []
        for factor, scale in zip(cross.factors, system.scales, strict=True):
            blocks = np.zeros((factor.n_levels, factor.n_effects, factor.n_effects))
            for here, block in _blocks(factor, cross.effect_precisions(factor), scale):
                blocks[:, here, here] = block.variances()
            levels.append(blocks)
        return tuple(levels)


def _blocks(
    factor: FactorLayout, precisions: np.ndarray, scale: Scale
) -> Iterator[tuple[np.ndarray, _Block]]:
    """Effects (k,) of every covariance block of a factor, and what it contributes."""
    for begin, stop in factor.blocks:
        own = scale.matrix[begin:stop, begin:stop]
        yield np.arange(begin, stop), _Block(precisions[:, begin:stop], own)


def _block_derivatives(
    covariance: LevelCovariance, theta: np.ndarray, precisions: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (m,) and Hessian (m, m) of a block's log determinant."""
    if covariance.entries is not None:
        return _Block(precisions, covariance.scale(theta)).log_det_derivatives(*covariance.entries)

    def gradient(theta: np.ndarray) -> np.ndarray:
        by_omega = _Block(precisions, covariance.scale(theta)).log_det_by_omega()
        return covariance.gradient(theta, by_omega)

    hessian = np.empty((len(theta), len(theta)))
    for j, step in enumerate(np.diag(np.maximum(_STEP * np.abs(theta), _STEP))):
        hessian[j] = (gradient(theta + step) - gradient(theta - step)) / (2.0 * step[j])
    return gradient(theta), 0.5 * (hessian + hessian.T)


class _Block:
    """The effects of one covariance block: their log determinant, and what follows from it.

    With N the inverse of T whose columns are divided by its diagonal, so that there are ones
    on the diagonal of N, (Omega^-1)_jj = s_j / T_jj^2 with s_j the sum of squares of column j
    of N, and the log determinant is

        sum_levels sum_j log(d_j T_jj^2 + s_j),

    where nothing grows as a variance goes to zero. Column j of N does not depend on T_jj, and
    its derivative by T_rc is -R_:r N_cj otherwise, with R = T^-1.

    Parameters
    ----------
    precisions : ndarray (L, q)
        Diagonal cross-products d of the levels.
    scale : ndarray (q, q)
        T, with Omega = T T'; turned to be lower triangular.
    """

    def __init__(self, precisions: np.ndarray, scale: np.ndarray) -> None:
        if np.triu(scale, 1).any():
            scale = np.linalg.qr(scale.T)[1].T
        self._diagonal = np.diagonal(scale)
        sign = np.where(self._diagonal < 0.0, -1.0, 1.0)
        self._regular = sign * np.maximum(np.abs(self._diagonal), _LEAST_DIAGONAL)
        self._inverse = np.linalg.inv(scale + np.diag(self._regular - self._diagonal))
        self._unit = self._inverse * self._regular
        self._squares = (self._unit**2).sum(axis=0)
        self._precisions = precisions
        self._terms = precisions * self._regular**2 + self._squares

    def log_det(self) -> float:
        """Sum of log |Omega| + sum_j log(d_j + (Omega^-1)_jj) over the levels."""
        return float(np.log(self._terms).sum())

    def variances(self) -> np.ndarray:
        """1 / (d + diag Omega^-1), (L, q)."""
        return self._diagonal**2 / self._terms

    def log_det_by_omega(self) -> np.ndarray:
        """Derivative of the log determinant by Omega, (q, q).

        With B = Omega^-1 and V the sum of the levels' variances it is L B - B V B. L is taken
        apart so that what is large where Omega is small cancels before it is rounded.
        """
        weights = (1.0 / self._terms).sum(axis=0)
        inner = np.diag(self._squares * weights) - (self._unit * weights) @ self._unit.T
        inner += np.diag((self._precisions / self._terms).sum(axis=0) * self._regular**2)
        return self._inverse.T @ inner @ self._inverse

    def log_det_derivatives(
        self, rows: np.ndarray, columns: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gradient (m,) and Hessian (m, m) of the log determinant by entries of T.

        With B = Omega^-1 and C = N'R the derivative of s_j by T_rc is -2 N_cj C_jr, and that
        by T_rc and T_ab is 2 (B_ra N_cj N_bj + C_ja R_br N_cj + C_jr R_ca N_bj), but zero where
        one of the two entries is T_jj.
        """
        inverse, d = self._inverse, self._precisions
        once, twice = 1.0 / self._terms, 1.0 / self._terms**2
        weights, on_diagonal = once.sum(axis=0), np.flatnonzero(rows == columns)
        own = columns[on_diagonal]

        moved = self._unit[columns]  # N_cj of every entry and j
        moved[on_diagonal, own] = 0.0
        crossed = self._unit.T @ inverse
        slopes = -2.0 * moved * crossed.T[rows]  # of s_j
        gradient = slopes @ weights
        known = (d * once).sum(axis=0)[own]
        gradient[on_diagonal] += 2.0 * known * self._diagonal[own]

        spread = (inverse.T @ inverse)[np.ix_(rows, rows)] * ((moved * weights) @ moved.T)
        bent = ((moved * weights) @ crossed)[:, rows] * inverse[np.ix_(columns, rows)].T
        mixed = np.zeros_like(spread)
        mixed[:, on_diagonal] = (slopes * (d * twice).sum(axis=0) * 2.0 * self._regular)[:, own]
        hessian = 2.0 * (spread + bent + bent.T) - mixed - mixed.T
        hessian -= (slopes * twice.sum(axis=0)) @ slopes.T
        squares = (d**2 * twice).sum(axis=0)[own] * self._regular[own] ** 2
        hessian[on_diagonal, on_diagonal] += 2.0 * known - 4.0 * squares
        return gradient, hessian
