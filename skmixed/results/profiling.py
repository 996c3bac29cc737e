"""Profiles of the likelihood: the best deviance where one parameter is held.

A standard deviation is held as the first entry of a Cholesky factor of its block, with its
effect in the first place; a correlation by the ratio of the entries of the second row, with its
two effects first. All other entries and the logarithm of the noise standard deviation are free,
so that a variance of 0 is an ordinary point (Bates, Maechler, Bolker and Walker 2015, Journal of
Statistical Software 67(1), section 5.1, for the profile). A coefficient is held by taking its
column off the response.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from skmixed.fit.outer import Start
from skmixed.results.reopened import ReopenedFit

_GRADIENT_STEP = 1e-6
_MOST_STEPS = 60
_ROOT_TOLERANCE = 1e-6
"""Of the signed root of the deviance at an end."""


class Held(ABC):
    """A parameter, its estimate, and the deviance where it is held elsewhere."""

    name: str
    estimate: float
    lowest: float = -np.inf
    highest: float = np.inf
    unit: float
    """A first step from the estimate, about a standard error."""

    @abstractmethod
    def lowest_deviance(self) -> float:
        """-2 log likelihood at the estimates, but for a constant."""

    @abstractmethod
    def deviance(self, value: float) -> float:
        """The same at its best, with the parameter held at a value."""


@dataclass
class HeldVariance(Held):
    """A standard deviation or correlation of random effects, or the noise's.

    Attributes
    ----------
    fit : ReopenedFit
    name : str
    estimate, unit : float
    factor, block : int
        Which covariance matrix; the noise where `factor` is negative.
    first : tuple of int
        Effects of the block that come first: one of a standard deviation, two of a correlation.
    """

    fit: ReopenedFit
    name: str
    estimate: float
    unit: float
    factor: int = -1
    block: tuple[int, int] = (0, 0)
    first: tuple[int, ...] = ()
    lowest: float = 0.0
    highest: float = np.inf
    _starts: list[tuple[float, np.ndarray]] = field(default_factory=list)

    def lowest_deviance(self) -> float:
        """The deviance at the estimates, in the units of the objective."""
        return self.fit.point.deviance

    def deviance(self, value: float) -> float:
        """The best of searches from the nearest known point, and from the estimates."""
        nearest = min(self._starts, key=lambda start: abs(start[0] - value), default=None)
        places = [self._from_estimates()] + ([nearest[1]] if nearest is not None else [])
        best = np.inf
        for place in places:
            found: Any = minimize(  # type: ignore[call-overload]
                lambda x: self._with_gradient(value, x), place, jac=True, method="BFGS",
                options={"gtol": 1e-5, "maxiter": 200},
            )  # fmt: skip
            if found.fun < best:
                best, here = float(found.fun), found.x
        if np.isfinite(best):
            self._starts.append((value, here))
        return best

    def _order(self, q: int) -> list[int]:
        return [*self.first, *(e for e in range(q) if e not in self.first)]

    def _from_estimates(self) -> np.ndarray:
        """Free numbers at the estimates, those of other blocks first."""
        parts: list[np.ndarray] = []
        for f, block, sigma in _blocks(self.fit):
            if (f, block) == (self.factor, self.block):
                order = self._order(len(sigma))
                root = _root(sigma[np.ix_(order, order)])
                entries = root[np.tril_indices(len(root))].copy()
                if len(self.first) == 1:
                    entries = entries[1:]
                else:
                    # the length of the second row stands for its two entries
                    entries[1] = np.hypot(entries[1], entries[2])
                    entries = np.delete(entries, 2)
            else:
                entries = _root(sigma)[np.tril_indices(len(sigma))]
            parts.append(entries)
        if self.factor >= 0 and self.fit.noise_is_free:
            parts.append(np.array([0.5 * np.log(self.fit.result.noise_variance)]))
        return np.concatenate([np.zeros(0), *parts])

    def _covariances(self, value: float, x: np.ndarray) -> tuple[list[np.ndarray], float]:
        """Covariances of all factors and the noise variance, from the free numbers."""
        result, begin = self.fit.result, 0
        out = [np.zeros_like(factor.covariance) for factor in result.factors]
        for f, (low, stop), sigma in _blocks(self.fit):
            q = len(sigma)
            n = q * (q + 1) // 2
            root = np.zeros((q, q))
            is_held = (f, (low, stop)) == (self.factor, self.block)
            if not is_held:
                root[np.tril_indices(q)] = x[begin : begin + n]
                begin += n
                out[f][low:stop, low:stop] = root @ root.T
                continue
            entries = x[begin : begin + n - 1]
            begin += n - 1
            if len(self.first) == 1:
                entries = np.concatenate([[value], entries])
            else:
                length = entries[1]
                pair = [value * length, np.sqrt(max(1.0 - value**2, 0.0)) * length]
                entries = np.concatenate([entries[:1], pair, entries[2:]])
            root[np.tril_indices(q)] = entries
            place = low + np.array(self._order(q))
            out[f][np.ix_(place, place)] = root @ root.T
        if self.factor < 0:
            return out, value**2
        if not self.fit.noise_is_free:
            return out, result.noise_variance
        return out, float(np.exp(2.0 * x[begin]))

    def _place(self, value: float, x: np.ndarray) -> np.ndarray:
        """Parameters of the objective, and the logarithm of its noise variance."""
        covariances, noise = self._covariances(value, x)
        objective, units = self.fit.objective, self.fit.units
        theta = Start(covariances, noise).theta(objective.prior, units)
        return np.append(theta, np.log(noise / units.noise))

    def _with_gradient(self, value: float, x: np.ndarray) -> tuple[float, np.ndarray]:
        place = self._place(value, x)
        objective = replace(self.fit.objective, noise_variance=float(np.exp(place[-1])))
        point = objective.at(place[:-1])
        if point is None:
            return np.inf, np.zeros(len(x))
        by_noise = objective.degrees_of_freedom - point.system.penalised_rss / point.noise_variance
        slope = np.append(objective.gradient(point), by_noise)
        gradient = np.empty(len(x))
        for k in range(len(x)):
            step = np.zeros(len(x))
            step[k] = _GRADIENT_STEP * max(abs(x[k]), 1e-2)
            change = self._place(value, x + step) - self._place(value, x - step)
            gradient[k] = slope @ change / (2.0 * step[k])
        return point.deviance, gradient


@dataclass
class HeldCoefficient(Held):
    """A fixed effect.

    Attributes
    ----------
    name : str
    estimate, unit : float
    full : float
        -2 log likelihood at the estimates.
    without : callable
        -2 log likelihood of the model at its best, with the coefficient held at a value.
    """

    name: str
    estimate: float
    unit: float
    full: float
    without: Callable[[float], float]

    def lowest_deviance(self) -> float:
        """-2 log likelihood at the estimates."""
        return self.full

    def deviance(self, value: float) -> float:
        """-2 log likelihood at its best."""
        return self.without(value)


def _blocks(fit: ReopenedFit) -> list[tuple[int, tuple[int, int], np.ndarray]]:
    """Factor, effects and estimate of every covariance matrix."""
    return [
        (
            block.factor.position,
            (block.effects.start, block.effects.stop),
            fit.result.factors[block.factor.position].covariance[block.effects, block.effects],
        )
        for block in fit.objective.prior.blocks
    ]


def _root(sigma: np.ndarray) -> np.ndarray:
    """A lower-triangular root, singular matrices included."""
    values, vectors = np.linalg.eigh(sigma)
    upper = np.linalg.qr((vectors * np.sqrt(np.maximum(values, 0.0))).T)[1]
    signs = np.where(np.diagonal(upper) < 0.0, -1.0, 1.0)
    return (upper * signs[:, None]).T


def find_end(held: Held, target: float, sign: int, seen: dict[float, float]) -> float:
    """Where the signed root of the deviance's gain is `target`, on one side of the estimate.

    By widening steps, and then by halving and secants within.

    Parameters
    ----------
    held : Held
    target : float
        Positive.
    sign : {-1, 1}
        Side.
    seen : dict of {float: float}
        Receives values and their roots.

    Returns
    -------
    float
        The end of the parameter's range where the root stays below the target before it; NaN
        where there is no end.
    """
    edge = held.highest if sign > 0 else held.lowest

    def root(value: float) -> float:
        if value not in seen:
            seen[value] = float(np.sqrt(max(held.deviance(value) - held.lowest_deviance(), 0.0)))
        return seen[value]

    inner, inner_root, width = held.estimate, 0.0, target * held.unit
    for _ in range(_MOST_STEPS):
        outer = held.estimate + sign * width
        if (outer - edge) * sign >= 0.0:
            outer = edge
        outer_root = root(outer)
        if outer_root >= target:
            break
        if outer == edge:
            return float(edge)
        inner, inner_root = outer, outer_root
        width *= 1.5
    else:
        return np.nan
    for _ in range(_MOST_STEPS):
        share = (target - inner_root) / (outer_root - inner_root)
        middle = inner + min(max(share, 0.05), 0.95) * (outer - inner)
        middle_root = root(middle)
        if abs(middle_root - target) < _ROOT_TOLERANCE:
            return middle
        if middle_root < target:
            inner, inner_root = middle, middle_root
        else:
            outer, outer_root = middle, middle_root
    return middle
