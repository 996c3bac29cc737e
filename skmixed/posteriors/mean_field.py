"""Fully factorised normals over the random effects."""

from __future__ import annotations

import numpy as np

from skmixed.linalg.crossproducts import FactorLayout
from skmixed.linalg.system import SingularSystemError
from skmixed.linalg.working import Loadings, WorkingRows
from skmixed.posteriors.base import Place, PosteriorCovariance


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
                total += _block_log_det(precisions[:, begin:stop], scale[begin:stop, begin:stop])
        if place.integrate_fixed:
            total += np.linalg.slogdet(cross.fixed_products)[1] if cross.n_fixed else 0.0
        return float(total)

    def log_det_derivatives(
        self, place: Place, average_information: np.ndarray, coarse: bool
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        """Exact gradient; the Hessian by central differences of it (blocks are small)."""
        system, parameters, theta = place.system, place.parameters, place.theta
        precisions = [system.cross.effect_precisions(f) for f in parameters.factors]

        def gradient_at(point: np.ndarray) -> np.ndarray:
            scales = parameters.to_scale_factors(point)
            slopes = [
                _log_det_slope(factor, p, scale)
                for factor, p, scale in zip(parameters.factors, precisions, scales, strict=True)
            ]
            return parameters.from_scale_factors(slopes)

        gradient = gradient_at(theta)
        hessian = np.empty((len(theta), len(theta)))
        for j in range(len(theta)):
            step = np.zeros_like(theta)
            step[j] = 1e-5 * max(abs(theta[j]), 1e-6)
            hessian[j] = (gradient_at(theta + step) - gradient_at(theta - step)) / (2 * step[j])
        derivatives = [
            _log_det_by_omega(factor, p, scale)
            for factor, p, scale in zip(
                parameters.factors, precisions, system.scale_factors, strict=True
            )
        ]
        return gradient, 0.5 * (hessian + hessian.T), derivatives

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
                inverse = _precision_diagonal(scale[begin:stop, begin:stop])
                for j in range(begin, stop):
                    with np.errstate(divide="ignore"):
                        blocks[:, j, j] = 1.0 / (precisions[:, j] + inverse[j - begin])
            levels.append(blocks)
        return tuple(levels)


def _precision_diagonal(scale: np.ndarray) -> np.ndarray:
    """Diagonal of (T T')^-1; infinite where T is zero."""
    if scale.shape[0] == 1:
        with np.errstate(divide="ignore"):
            return 1.0 / scale.ravel() ** 2
    return (np.linalg.inv(_regular(scale)) ** 2).sum(axis=0)


def _regular(scale: np.ndarray) -> np.ndarray:
    """T with a diagonal kept away from zero, where its inverse would overflow."""
    regular = scale.copy()
    diagonal = np.diagonal(scale)
    np.fill_diagonal(regular, np.where(diagonal < 0, -1.0, 1.0) * np.maximum(abs(diagonal), 1e-7))
    return regular


def _block_log_det(precisions: np.ndarray, scale: np.ndarray) -> float:
    if scale.shape[0] == 1:
        return float(np.log1p(precisions * scale[0, 0] ** 2).sum())
    regular = _regular(scale)
    log_omega = 2.0 * np.log(np.abs(np.diagonal(regular))).sum()
    inner = np.log(precisions + _precision_diagonal(regular)).sum()
    return float(len(precisions) * log_omega + inner)


def _log_det_by_omega(
    factor: FactorLayout, precisions: np.ndarray, scale: np.ndarray
) -> np.ndarray:
    """Derivative of the log determinant by Omega, (q, q)."""
    derivative = np.zeros_like(scale)
    for begin, stop in factor.blocks:
        here = slice(begin, stop)
        block = scale[here, here]
        d = precisions[:, here]
        if stop - begin == 1:
            derivative[here, here] = (d / (1.0 + d * block[0, 0] ** 2)).sum()
            continue
        inverse = np.linalg.inv(_regular(block))
        omega_inverse = inverse.T @ inverse
        variances = 1.0 / (d + np.diagonal(omega_inverse))
        derivative[here, here] = (
            len(d) * omega_inverse - (omega_inverse * variances.sum(axis=0)) @ omega_inverse
        )
    return derivative


def _log_det_slope(factor, precisions, scale):
    """Gradient of the log determinant by T, (q, q)."""
    return 2.0 * _log_det_by_omega(factor, precisions, scale) @ scale
