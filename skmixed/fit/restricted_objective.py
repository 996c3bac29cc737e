"""The likelihood integrated over random effects by quadrature, and over coefficients by Laplace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skmixed.fit.corrected_objective import (
    LARGEST_ROOT,
    CorrectedObjective,
    CorrectedPoint,
    coefficient_moves,
    largest_root,
)
from skmixed.fit.marginal_likelihood import Evaluation
from skmixed.fit.objective import Derivatives, Point

_STEP = 1e-3
"""Of differences of the log determinant: its square is lost, rounding over it is 1e-10."""

_MOST_STEPS = 50
_SETTLED = 1e-20
"""Squared Newton decrement at which coefficients are at their maximum."""


@dataclass(frozen=True)
class RestrictedObjective(CorrectedObjective):
    """-2 log of the likelihood integrated over beta, by (theta, own).

    With L the log likelihood, beta its maximum at given (theta, own), and J = -d2L/dbeta2 there,
    Laplace's method gives L - log|J| / 2 + p log(2 pi) / 2. Derivatives of L at its maximum are
    exact, those of log|J| are differences along (theta, own) and the beta that follows.

    Attributes
    ----------
    first : ndarray
        (theta, own, beta) from which beta is looked for first.
    """

    first: np.ndarray

    def canonical(self, parameters: np.ndarray) -> np.ndarray:
        """The equivalent (theta, own)."""
        n_fixed = self.marginal.fixed.shape[1]
        everything = super().canonical(np.concatenate([parameters, np.zeros(n_fixed)]))
        return everything[: len(parameters)]

    def at(
        self, parameters: np.ndarray, near: Point | None = None, coarse: bool = False
    ) -> CorrectedPoint | None:
        """The objective at (theta, own); None where it cannot be computed."""
        if largest_root(self.prior, parameters) > LARGEST_ROOT:
            return None
        k = len(parameters)
        beta = self.first[k:]
        if isinstance(near, CorrectedPoint):
            beta = near.parameters[k:]
            beta = beta + coefficient_moves(near.evaluation, k) @ (parameters - near.theta)
        found = self._maximise(np.concatenate([parameters, beta]))
        if found is None:
            return None
        everything, evaluation = found
        deviance = -2.0 * evaluation.value + _log_det(evaluation, k)
        deviance -= (len(everything) - k) * np.log(2.0 * np.pi)
        if not np.isfinite(deviance):
            return None
        return CorrectedPoint(
            parameters, float(deviance), 1.0, self.solved,
            parameters=everything, evaluation=evaluation,
        )  # fmt: skip

    def _maximise(self, everything: np.ndarray) -> tuple[np.ndarray, Evaluation] | None:
        """The best beta at (theta, own), by Newton's method, halved where the likelihood falls."""
        k = len(self.first) - self.marginal.fixed.shape[1]
        found = self.marginal.at(everything)
        for _ in range(_MOST_STEPS):
            if not np.isfinite(found.value):
                return None
            gradient, hessian = found.gradient[k:], found.hessian[k:, k:]
            step = np.linalg.lstsq(-hessian, gradient, rcond=None)[0]
            decrement = float(gradient @ step)
            if not decrement > _SETTLED * max(abs(found.value), 1.0):
                break
            length = 1.0
            while True:
                trial = everything.copy()
                trial[k:] += length * step
                following = self.marginal.at(trial)
                if following.value >= found.value - 1e-12 * abs(found.value):
                    break
                length *= 0.5
                if length < 1e-6:
                    return everything, found
            everything, found = trial, following
        return everything, found

    def derivatives(
        self, point: CorrectedPoint, coarse: bool = False, information: np.ndarray | None = None
    ) -> Derivatives:
        """Gradient and Hessian by (theta, own)."""
        k = len(point.theta)
        slopes, bends = self._log_det_derivatives(point)
        gradient = -2.0 * point.evaluation.gradient[:k] + slopes
        hessian = super().profile_hessian(point) + bends
        return Derivatives(gradient, hessian, hessian)

    def profile_hessian(self, point: CorrectedPoint) -> np.ndarray:
        """Second derivatives by (theta, own)."""
        return self.derivatives(point).hessian

    def _log_det_derivatives(self, point: CorrectedPoint) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives (k,) and (k, k) of log|J|, by differences."""
        k = len(point.theta)
        directions = np.vstack([np.eye(k), coefficient_moves(point.evaluation, k)])
        here = _log_det(point.evaluation, k)

        def at(step: np.ndarray) -> float:
            return _log_det(self.marginal.at(point.parameters + directions @ step), k)

        steps = _STEP * np.eye(k)
        ahead = np.array([at(step) for step in steps])
        behind = np.array([at(-step) for step in steps])
        bends = np.diag(ahead + behind - 2.0 * here)
        for i in range(k):
            for j in range(i):
                both = at(steps[i] + steps[j]) + at(-steps[i] - steps[j])
                across = both - ahead[i] - behind[i] - ahead[j] - behind[j] + 2.0 * here
                bends[i, j] = bends[j, i] = 0.5 * across
        return (ahead - behind) / (2.0 * _STEP), bends / _STEP**2


def _log_det(evaluation: Evaluation, k: int) -> float:
    """log|J| of the coefficients."""
    sign, value = np.linalg.slogdet(-evaluation.hessian[k:, k:])
    return float(value) if sign > 0.0 else np.nan
