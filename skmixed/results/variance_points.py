"""The posterior of the variances as weighted points, and the fit at each of them.

The density is that of the restricted likelihood times a prior, in coordinates where it is
nearly normal: logarithms of standard deviations, and inverse hyperbolic tangents of partial
correlations (Lewandowski, Kurowicka and Joe 2009, J. Multivariate Analysis 100: uniform over all
correlation matrices). Points are quasi-random draws from a t distribution around the mode whose
scale differs on the two sides of every eigenvector of the Hessian, as in the skewness
correction of Rue, Martino and Chopin (2009, J. Royal Statistical Society B 71), and are weighted
by importance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import stdtrit
from scipy.stats import qmc
from scipy.stats import t as student

from skmixed.fit.gaussian_objective import GaussianObjective
from skmixed.fit.newton import NewtonState
from skmixed.fit.objective import Derivatives, Point
from skmixed.fit.outer import Start
from skmixed.fit.publish import publish
from skmixed.fit.result import FitResult
from skmixed.fit.uncertainty import Uncertainty, of_held_variances
from skmixed.posteriors.prior import Block
from skmixed.results.reopened import ReopenedFit
from skmixed.solvers.base import SingularSystemError

_DF = 5.0
"""Degrees of freedom of the proposal: heavier tails than the posterior's."""

_STEP = 1e-2
_LEAST_SHARE = 1e-5
"""Weight, over the largest, below which a point is left out."""

_FURTHEST = 12.0
"""Bound of the coordinates, beyond which variances are as good as 0 or infinite."""


@dataclass(frozen=True)
class Coordinates:
    """Unrestricted numbers for the covariances of all blocks and the noise.

    Attributes
    ----------
    fit : ReopenedFit
    scales : list of ndarray (q,)
        By factor, the scale of the standard deviation of each effect.
    """

    fit: ReopenedFit
    scales: list[np.ndarray]

    @property
    def size(self) -> int:
        """How many numbers there are."""
        sizes = [block.covariance.n_effects for block in self._blocks]
        return sum(q * (q + 1) // 2 for q in sizes) + int(self.fit.noise_is_free)

    @property
    def _blocks(self) -> tuple[Block, ...]:
        return self.fit.objective.prior.blocks

    def start(self) -> np.ndarray:
        """Numbers at the estimates; variances near 0 are moved away."""
        parts = []
        for block in self._blocks:
            position, effects = block.factor.position, block.effects
            sigma = self.fit.result.factors[position].covariance[effects, effects]
            sds = np.sqrt(np.maximum(np.diagonal(sigma), 0.0))
            least = 0.05 * self.scales[position][effects]
            parts.append(np.log(np.maximum(sds, least)))
            q = len(sds)
            if q > 1:
                with np.errstate(invalid="ignore", divide="ignore"):
                    R = np.nan_to_num(sigma / np.outer(sds, sds))
                np.fill_diagonal(R, 1.0)
                root = np.linalg.cholesky(0.95 * R + 0.05 * np.eye(q))
                parts.append(np.arctanh(np.clip(_partial(root), -0.95, 0.95)))
        if self.fit.noise_is_free:
            parts.append(np.array([0.5 * np.log(self.fit.result.noise_variance)]))
        return np.concatenate([np.zeros(0), *parts])

    def covariances(self, psi: np.ndarray) -> tuple[list[np.ndarray], float]:
        """Covariances of all factors, and the noise variance."""
        result, begin = self.fit.result, 0
        out = [np.zeros_like(factor.covariance) for factor in result.factors]
        for block in self._blocks:
            q = block.covariance.n_effects
            sds = np.exp(psi[begin : begin + q])
            n = q * (q - 1) // 2
            root = _from_partial(np.tanh(psi[begin + q : begin + q + n]), q)
            begin += q + n
            scaled = sds[:, None] * root
            out[block.factor.position][block.effects, block.effects] = scaled @ scaled.T
        noise = np.exp(2.0 * psi[begin]) if self.fit.noise_is_free else result.noise_variance
        return out, float(noise)

    def log_prior(self, psi: np.ndarray, density: Callable[[np.ndarray], np.ndarray]) -> float:
        """Logarithm of the prior by the coordinates: of sds, uniform correlations, noise 1/sd."""
        total, begin = 0.0, 0
        for block in self._blocks:
            q = block.covariance.n_effects
            logs = psi[begin : begin + q]
            scale = self.scales[block.factor.position][block.effects]
            # a density of the standard deviation, by its logarithm
            total += float((density(np.exp(logs) / scale) + logs).sum())
            begin += q
            for row in range(1, q):
                for column in range(row):
                    z = psi[begin]
                    begin += 1
                    # (1 - p^2) to the power (q - 2 - column) / 2 of the density, and 1 of tanh
                    power = 0.5 * (q - 2 - column) + 1.0
                    total -= 2.0 * power * float(np.logaddexp(z, -z) - np.log(2.0))
        return total

    def objective_at(self, psi: np.ndarray) -> tuple[GaussianObjective, np.ndarray]:
        """The objective with its noise held, and its parameters."""
        covariances, noise = self.covariances(psi)
        objective, units = self.fit.objective, self.fit.units
        theta = Start(covariances, noise).theta(objective.prior, units)
        return replace(objective, noise_variance=noise / units.noise), theta

    def deviance(self, psi: np.ndarray) -> float:
        """-2 restricted log likelihood; infinite where it cannot be computed."""
        if np.abs(psi - self.start()).max(initial=0.0) > _FURTHEST:
            return np.inf
        objective, theta = self.objective_at(psi)
        point = objective.at(theta)
        return np.inf if point is None else point.deviance


def _partial(root: np.ndarray) -> np.ndarray:
    """Partial correlations, row by row, from the Cholesky factor of a correlation matrix."""
    out = []
    for row in range(1, len(root)):
        left = 1.0
        for column in range(row):
            out.append(root[row, column] / np.sqrt(max(left, 1e-12)))
            left -= root[row, column] ** 2
    return np.array(out)


def _from_partial(partial: np.ndarray, q: int) -> np.ndarray:
    """The Cholesky factor (q, q) of a correlation matrix from its partial correlations."""
    root, k = np.eye(q), 0
    for row in range(1, q):
        left = 1.0
        for column in range(row):
            root[row, column] = partial[k] * np.sqrt(left)
            left *= 1.0 - partial[k] ** 2
            k += 1
        root[row, row] = np.sqrt(left)
    return root


@dataclass(frozen=True)
class WeightedFits:
    """Fits at points of the posterior of the variances.

    Attributes
    ----------
    results : list of FitResult
    weights : ndarray (k,)
        They sum to 1.
    n_effective : float
        How many equal weights would say as much.
    """

    results: list[FitResult]
    weights: np.ndarray
    n_effective: float


def posterior_points(
    coordinates: Coordinates,
    density: Callable[[np.ndarray], np.ndarray],
    n_points: int,
    seed: int,
) -> WeightedFits:
    """Weigh points of the posterior of the variances, and solve the model at each.

    Parameters
    ----------
    coordinates : Coordinates
    density : callable
        Logarithm of the prior of a standard deviation over its scale.
    n_points : int
        Rounded up to a power of 2.
    seed : int
    """

    def negative(psi: np.ndarray) -> float:
        value = 0.5 * coordinates.deviance(psi) - coordinates.log_prior(psi, density)
        return value if np.isfinite(value) else 1e300

    if not coordinates.size:
        return WeightedFits([_fit_at(coordinates, np.zeros(0))], np.ones(1), 1.0)
    mode, best, axes = _mode(negative, coordinates.start())
    lower, upper = (_reaches(negative, mode, best, axes, sign) for sign in (-1.0, 1.0))
    n_bits = int(np.ceil(np.log2(max(n_points, 2))))
    draws = qmc.Sobol(len(mode), seed=np.random.default_rng(seed)).random_base2(n_bits)
    z = stdtrit(_DF, np.clip(draws, 1e-6, 1.0 - 1e-6))
    reach = np.where(z < 0.0, lower, upper)
    points = mode + (z * reach) @ axes.T
    # the density of the proposal: halves of the same mass, each of its own width
    log_proposal = student.logpdf(z, _DF).sum(axis=1) - np.log(reach).sum(axis=1)
    logs = np.array([-negative(psi) for psi in points]) - log_proposal
    weights = np.exp(logs - logs.max())
    kept = np.flatnonzero(weights > _LEAST_SHARE)
    weights = weights[kept] / weights[kept].sum()
    results = [_fit_at(coordinates, points[k]) for k in kept]
    return WeightedFits(results, weights, float(1.0 / (weights**2).sum()))


def _mode(
    negative: Callable[[np.ndarray], float], start: np.ndarray
) -> tuple[np.ndarray, float, np.ndarray]:
    """Where the density is largest, its negative logarithm, and axes (d, d) of unit curvature."""
    found = minimize(negative, start, method="Nelder-Mead", options={"xatol": 1e-2, "fatol": 1e-3})
    found = minimize(negative, found.x, method="BFGS", options={"gtol": 1e-3})
    mode, best = found.x, float(found.fun)
    d = len(mode)
    steps = _STEP * np.eye(d)
    hessian = np.empty((d, d))
    for i in range(d):
        for j in range(i + 1):
            corners = (
                negative(mode + a * steps[i] + b * steps[j]) * a * b
                for a in (1.0, -1.0)
                for b in (1.0, -1.0)
            )
            hessian[i, j] = hessian[j, i] = sum(corners) / (4.0 * _STEP**2)
    values, vectors = np.linalg.eigh(hessian)
    return mode, best, vectors / np.sqrt(np.clip(values, 0.05, 1e8))


def _reaches(
    negative: Callable[[np.ndarray], float],
    mode: np.ndarray,
    best: float,
    axes: np.ndarray,
    sign: float,
) -> np.ndarray:
    """Along every axis how far, in units of a normal density, the density falls as one would."""
    out = np.ones(len(mode))
    for k, axis in enumerate(axes.T):
        length = np.sqrt(2.0)
        fall = negative(mode + sign * length * axis) - best
        # of a normal density it falls by half the square
        out[k] = np.clip(length / np.sqrt(2.0 * max(fall, 1e-3)), 0.5, 4.0)
    return out


def _fit_at(coordinates: Coordinates, psi: np.ndarray) -> FitResult:
    """The fit whose variances are those of a point."""
    objective, theta = coordinates.objective_at(psi)
    point = objective.at(theta)
    if point is None:
        raise SingularSystemError("the model is singular at a point of its posterior")
    # no step is taken from here
    nothing = Derivatives(np.zeros(0), np.zeros((0, 0)), np.zeros((0, 0)))
    state = NewtonState(point, nothing, 0.0, 0, (point.deviance,), (0.0,), True)
    return publish(objective, state, coordinates.fit.units, _judge)


def _judge(objective: Any, point: Point, posterior_fixed: np.ndarray) -> Uncertainty:
    """The uncertainty of the coefficients, given the variances of a point."""
    return of_held_variances(point.system, posterior_fixed, True)
