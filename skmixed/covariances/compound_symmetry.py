"""One correlation between any two effects of a level."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from skmixed.covariances.base import NEXT_TO_THE_END, BasisChange, LevelCovariance
from skmixed.covariances.unstructured import Unstructured

_RIGHT = 0.5 * np.pi


@dataclass(frozen=True)
class CompoundSymmetry(LevelCovariance):
    """Omega = D R D with R = (1 - rho) I + rho 1 1'; theta has roots of D's diagonal, and an angle.

    rho = 1 - c cos^2(angle) with c = q / (q - 1) runs through its range, from -1 / (q - 1) at an
    angle of 0 to 1 at a right one; beyond either end R repeats itself, so that these are
    ordinary points. R has the eigenvalues q sin^2 on the direction of all effects together and
    c cos^2 on the differences between them. A single effect has no angle.

    Standard deviations are squares of their parameters: with the other sign of one of them alone
    the correlations would not be equal. A standard deviation that is the only one may have
    either sign, and is its own parameter.
    """

    name: ClassVar[str] = "compound_symmetry"
    formula_words: ClassVar[tuple[str, ...]] = ("cs",)
    includes: ClassVar[tuple[str, ...]] = ("homogeneous_compound_symmetry", "isotropic")
    basis_may: ClassVar[BasisChange] = "scale"
    homogeneous: ClassVar[str | None] = "homogeneous_compound_symmetry"

    @property
    def n_sds(self) -> int:
        """Number of standard deviations."""
        return self.n_effects

    @property
    def n_parameters(self) -> int:
        """The standard deviations and the angle."""
        return self.n_sds + (self.n_effects > 1)

    def _sds(self, theta: np.ndarray) -> np.ndarray:
        """Standard deviation of every effect, (q,)."""
        if self.n_sds > 1:
            return theta[: self.n_sds] ** 2
        return np.repeat(theta[0], self.n_effects)

    def _angle(self, theta: np.ndarray) -> float:
        return float(theta[-1]) if self.n_effects > 1 else _RIGHT

    def _correlation(self, theta: np.ndarray, order: int = 0) -> np.ndarray:
        """R (q, q), or its first or second derivative by the angle."""
        q, angle = self.n_effects, self._angle(theta)
        if q == 1:
            return np.ones((1, 1))
        c = q / (q - 1.0)
        rho = (1.0 - c * np.cos(angle) ** 2, c * np.sin(2.0 * angle), 2.0 * c * np.cos(2.0 * angle))
        out = np.full((q, q), rho[order])
        np.fill_diagonal(out, 1.0 if order == 0 else 0.0)
        return out

    def scale(self, theta: np.ndarray) -> np.ndarray:
        """D times a root of R, (q, q)."""
        q, angle = self.n_effects, self._angle(theta)
        together = np.full((q, q), 1.0 / q)
        of_all = np.sqrt(q) * np.sin(angle)
        of_differences = np.sqrt(q / max(q - 1.0, 1.0)) * np.cos(angle) if q > 1 else 0.0
        root = of_all * together + of_differences * (np.eye(q) - together)
        return self._sds(theta)[:, None] * root

    def _slopes(self, theta: np.ndarray) -> np.ndarray:
        """Derivatives of the standard deviations by their parameters, (n_sds, q)."""
        return (
            2.0 * np.diag(theta[: self.n_sds]) if self.n_sds > 1 else np.ones((1, self.n_effects))
        )

    def tangents(self, theta: np.ndarray) -> np.ndarray:
        """Derivatives of Omega, (m, q, q)."""
        sds, slopes = self._sds(theta), self._slopes(theta)
        half = slopes[:, :, None] * self._correlation(theta) * sds
        out = half + half.swapaxes(1, 2)
        if self.n_effects > 1:
            bend = np.outer(sds, sds) * self._correlation(theta, 1)
            out = np.concatenate([out, bend[None]])
        return out

    def second(self, theta: np.ndarray) -> np.ndarray:
        """Second derivatives of Omega, (m, m, q, q)."""
        m, k, q = self.n_parameters, self.n_sds, self.n_effects
        sds, slopes = self._sds(theta), self._slopes(theta)
        out = np.zeros((m, m, q, q))
        correlation = self._correlation(theta)
        both = np.einsum("ia,jb,ab->ijab", slopes, slopes, correlation)
        out[:k, :k] = both + both.swapaxes(2, 3)
        for j in range(k if k > 1 else 0):
            bend = 2.0 * correlation[j] * sds
            out[j, j, j] += bend
            out[j, j, :, j] += bend
        if q > 1:
            half = slopes[:, :, None] * self._correlation(theta, 1) * sds
            out[:k, k] = out[k, :k] = half + half.swapaxes(1, 2)
            out[k, k] = np.outer(sds, sds) * self._correlation(theta, 2)
        return out

    def linear_basis(self) -> np.ndarray | None:
        """Of two effects, where every covariance is of this structure; None of more."""
        if self.n_effects > 2:
            return None
        basis: np.ndarray = Unstructured(self.n_effects).linear_basis()
        return basis

    def natural(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives of Omega by the standard deviations and the correlation."""
        m, k, q = self.n_parameters, self.n_sds, self.n_effects
        sds, R = self._sds(theta), self._correlation(theta)
        slopes = np.eye(q) if k > 1 else np.ones((1, q))
        half = slopes[:, :, None] * R * sds
        first = half + half.swapaxes(1, 2)
        both = np.einsum("ia,jb,ab->ijab", slopes, slopes, R)
        second = np.zeros((m, m, q, q))
        second[:k, :k] = both + both.swapaxes(2, 3)
        if q > 1:
            apart = 1.0 - np.eye(q)
            first = np.concatenate([first, (np.outer(sds, sds) * apart)[None]])
            half = slopes[:, :, None] * apart * sds
            second[:k, k] = second[k, :k] = half + half.swapaxes(1, 2)
        return first, second

    def nearest(self, omega: np.ndarray) -> np.ndarray:
        """Standard deviations, and the angle of the mean correlation, (m,)."""
        q = self.n_effects
        variances = np.maximum(np.diagonal(omega), 0.0)
        sds = np.sqrt(variances)
        if self.n_sds == 1:
            sds = np.repeat(np.sqrt(variances.mean()), q)
        first = np.sqrt(sds) if self.n_sds > 1 else sds[:1]
        if q == 1:
            return first
        size = float(sds.sum() ** 2 - (sds**2).sum())
        shared = float(omega.sum() - np.trace(omega))
        rho = shared / size if size > 0.0 else 0.0
        cosine = np.clip((1.0 - rho) * (q - 1.0) / q, 0.0, 1.0) ** 0.5
        return np.append(first, np.arccos(cosine))

    def canonical(self, theta: np.ndarray) -> np.ndarray:
        """Nonnegative roots of standard deviations and an angle from 0 to a right one."""
        out = np.abs(theta)
        out[self.n_sds :] = np.abs(np.remainder(theta[self.n_sds :] + _RIGHT, np.pi) - _RIGHT)
        return out

    def moves(self, theta: np.ndarray) -> np.ndarray:
        """Parameters that are neither 0 nor a right angle, (m,)."""
        return (theta != 0.0) & ~self._is_right(theta)

    def _is_right(self, theta: np.ndarray) -> np.ndarray:
        out = np.zeros(len(theta), bool)
        out[self.n_sds :] = theta[self.n_sds :] == _RIGHT
        return out

    def ends(self, theta: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
        """Parameters next to 0, and an angle next to a right one."""
        yield from super().ends(theta)
        for j in range(self.n_sds, len(theta)):
            if 0.0 < abs(theta[j] - _RIGHT) < NEXT_TO_THE_END:
                yield np.array([j]), _RIGHT


@dataclass(frozen=True)
class HomogeneousCompoundSymmetry(CompoundSymmetry):
    """The same with one standard deviation of all effects."""

    name: ClassVar[str] = "homogeneous_compound_symmetry"
    has_sds: ClassVar[bool] = False
    formula_words: ClassVar[tuple[str, ...]] = ("homcs",)
    includes: ClassVar[tuple[str, ...]] = ("isotropic",)
    basis_may: ClassVar[BasisChange] = "resize"
    homogeneous: ClassVar[str | None] = None
    is_public: ClassVar[bool] = False

    def linear_basis(self) -> np.ndarray:
        """One matrix for the variances, one for the covariances, (m, q, q)."""
        eye = np.eye(self.n_effects)
        return np.array([eye, 1.0 - eye][: self.n_parameters])

    @property
    def n_sds(self) -> int:
        """One standard deviation."""
        return 1
