"""Fully factorised normals over the random effects."""

from __future__ import annotations

import numpy as np

from skmixed.posteriors.base import Place, PosteriorCovariance
from skmixed.solvers.base import SingularSystemError
from skmixed.sums.working_rows import Loadings, WorkingRows

_LEAST_DIAGONAL = 1e-13
"""Size to which the diagonal of T is raised before it is inverted."""


class MeanFieldPosterior:
    """Every random effect a normal of its own, independent of all others.

    At given variance parameters its means are those of the full posterior. An
    effect's relative variance is 1 / (d + (Omega^-1)_jj) with d the diagonal
    cross-product, and in the ELBO the determinant of V gives way to

        sum_levels log |Omega| + sum_j log(d_j + (Omega^-1)_jj).

    Fixed effects that are integrated out form one block of their own, whose
    determinant log |X'X| does not depend on the variance parameters.
    """

    rotates_bases = False
    needs_determinant = False

    def log_det(self, place: Place) -> float:
        """The factorised determinant (+ log |X'X|)."""
        system, cross = place.system, place.system.cross
        total = 0.0
        for factor, scale in zip(cross.factors, system.scale_factors, strict=True):
            precisions = cross.effect_precisions(factor)
            for begin, stop in factor.blocks:
                total += _Block(precisions[:, begin:stop], scale[begin:stop, begin:stop]).log_det()
        if place.integrate_fixed:
            total += np.linalg.slogdet(cross.fixed_products)[1] if cross.n_fixed else 0.0
        return float(total)

    def log_det_derivatives(
        self, place: Place, average_information: np.ndarray, coarse: bool
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Exact gradient and Hessian, block by block."""
        system, parameters = place.system, place.parameters
        gradient, hessian = np.zeros_like(place.theta), np.zeros(2 * place.theta.shape)
        by_omega = []
        for factor, scale, entries in zip(
            parameters.factors, system.scale_factors, parameters.entries_by_factor, strict=True
        ):
            precisions = system.cross.effect_precisions(factor)
            derivative = np.zeros_like(scale)
            for begin, stop in factor.blocks:
                here = slice(begin, stop)
                block = _Block(precisions[:, here], scale[here, here])
                derivative[here, here] = block.log_det_by_omega()
                own = entries.between(begin, stop)
                slope, curvature = block.log_det_derivatives(own.rows - begin, own.columns - begin)
                gradient[own.positions] = slope
                hessian[np.ix_(own.positions, own.positions)] = curvature
            by_omega.append(derivative)
        return gradient, hessian, by_omega

    def hessian_correction(self, place: Place, average_information: np.ndarray) -> np.ndarray:
        """Nothing: the Hessian is exact."""
        return np.zeros_like(average_information)

    def row_variances(self, place: Place, rows: WorkingRows, coarse: bool) -> np.ndarray:
        """Sums of the variances of a row's effects."""
        cross = place.system.cross
        levels = self._levels(place)
        root = np.zeros((cross.n_fixed, 0))
        if place.integrate_fixed and cross.n_fixed:
            try:
                root = np.linalg.inv(np.linalg.cholesky(cross.fixed_products)).T
            except np.linalg.LinAlgError:
                raise SingularSystemError("the fixed effects are dependent") from None
        return rows.loaded_variances(Loadings(root, (None,) * len(levels), levels))

    def row_variance_errors(self, place: Place, rows: WorkingRows) -> np.ndarray:
        """Zero: nothing is estimated."""
        return np.zeros(rows.n_rows)

    def covariance(self, place: Place, joint_limit: int) -> PosteriorCovariance:
        """Diagonal level blocks; nothing across levels."""
        cross = place.system.cross
        joint = np.zeros((cross.n_fixed, cross.n_fixed + sum(f.size for f in cross.factors)))
        if not place.integrate_fixed:
            return PosteriorCovariance(
                self._levels(place), place.system.fixed_covariance(), (), joint
            )
        try:
            fixed = np.linalg.inv(cross.fixed_products)
        except np.linalg.LinAlgError:
            # working weights of very different sizes make dependent what was independent
            fixed = np.linalg.pinv(cross.fixed_products, hermitian=True)
        joint[:, : cross.n_fixed] = fixed
        return PosteriorCovariance(self._levels(place), fixed, (), joint)

    def _levels(self, place: Place) -> tuple[np.ndarray, ...]:
        """Diagonal covariance of every level's effects, (L, Q, Q) by factor."""
        system, cross = place.system, place.system.cross
        levels = []
        for factor, scale in zip(cross.factors, system.scale_factors, strict=True):
            precisions = cross.effect_precisions(factor)
            blocks = np.zeros((factor.n_levels, factor.n_effects, factor.n_effects))
            for begin, stop in factor.blocks:
                here = np.arange(begin, stop)
                variances = _Block(precisions[:, here], scale[begin:stop, begin:stop]).variances()
                blocks[:, here, here] = variances
            levels.append(blocks)
        return tuple(levels)


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
        T, with Omega = T T'.
    """

    def __init__(self, precisions: np.ndarray, scale: np.ndarray) -> None:
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
