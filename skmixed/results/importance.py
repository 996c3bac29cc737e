"""Importance weights: are they usable, and what do they average to?

The upper tail of importance weights is close to a generalised Pareto distribution,
whose shape k says how many of their moments exist. Weights with k below 0.5 have a
variance; up to 0.7 the tail can be smoothed with success; beyond, averages are those
of a few draws (Vehtari, Simpson, Gelman, Yao and Gabry 2024, JMLR 25(72); as a
diagnostic of variational posteriors Yao, Vehtari, Simpson and Gelman 2018, ICML).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_PRIOR_SHAPE = 0.5
_PRIOR_DRAWS = 10.0
"""Shapes of short tails are drawn to 0.5 by as much as so many draws would (appendix C)."""

_LEAST_TAIL = 5
"""Draws without which nothing is said of a tail."""

_EVEN = 1e-12
"""Relative spread of the largest weights that is only rounding."""


@dataclass(frozen=True)
class SmoothedWeights:
    """Logarithms of importance weights after Pareto smoothing.

    Attributes
    ----------
    log_weights : ndarray (S,)
    shape : float
        k of the generalised Pareto tail; 0 where the weights are all equal, infinite where
        a few draws carry everything.
    """

    log_weights: np.ndarray
    shape: float

    def log_mean(self) -> float:
        """Logarithm of the average weight."""
        top = self.log_weights.max()
        return float(top + np.log(np.exp(self.log_weights - top).mean()))

    def log_mean_std(self) -> float:
        """Standard error of `log_mean` by the delta method."""
        weights = np.exp(self.log_weights - self.log_weights.max())
        return float(weights.std(ddof=1) / (weights.mean() * np.sqrt(len(weights))))

    def effective_share(self) -> float:
        """Effective draws over draws, 1 / (1 + squared coefficient of variation)."""
        weights = np.exp(self.log_weights - self.log_weights.max())
        return float(weights.mean() ** 2 / (weights**2).mean())


def tail_length(n_draws: int) -> int:
    """Number of the largest weights that are the tail: min(S / 5, 3 sqrt(S))."""
    return int(np.ceil(min(0.2 * n_draws, 3.0 * np.sqrt(n_draws))))


def smooth_weights(log_weights: np.ndarray) -> SmoothedWeights:
    """Weights with the largest ones replaced by quantiles of a fitted Pareto distribution.

    Parameters
    ----------
    log_weights : ndarray (S,)
    """
    n_tail = tail_length(len(log_weights))
    if n_tail < _LEAST_TAIL:
        return SmoothedWeights(log_weights, 0.0)
    order = np.argsort(log_weights)
    tail, top = order[-n_tail:], log_weights[order[-1]]
    cutoff = np.exp(log_weights[order[-n_tail - 1]] - top)
    excess = np.exp(log_weights[tail] - top) - cutoff
    if excess[-1] <= _EVEN:
        return SmoothedWeights(log_weights, 0.0)
    # ties at the lower end have no excess, and a Pareto tail begins above them
    if excess[_quartile(n_tail)] <= 0.0:
        return SmoothedWeights(log_weights, np.inf)
    shape, scale = fit_pareto(excess)
    levels = (np.arange(n_tail) + 0.5) / n_tail
    fitted = cutoff + pareto_quantiles(levels, shape, scale)
    smoothed = log_weights.copy()
    # no weight may exceed the largest one drawn, which is 1 here
    smoothed[tail] = top + np.log(np.minimum(fitted, 1.0))
    return SmoothedWeights(smoothed, shape)


def fit_pareto(excess: np.ndarray) -> tuple[float, float]:
    """Shape k and scale of a generalised Pareto sample.

    Zhang and Stephens (2009), Technometrics 51, equations 3 to 8: an average of
    theta = -k / scale over its profile likelihood, with few candidates and no iterations.
    The shape is drawn to 0.5 a little, as Vehtari et al. (2024) propose.

    Parameters
    ----------
    excess : ndarray (n,)
        Ascending, not negative, with a positive quartile.
    """
    n = len(excess)
    n_candidates = 30 + int(np.sqrt(n))
    j = np.arange(1, n_candidates + 1)
    spread = 1.0 - np.sqrt(n_candidates / (j - 0.5))
    candidates = 1.0 / excess[-1] + spread / (3.0 * excess[_quartile(n)])
    shapes = np.log1p(-candidates[:, None] * excess).mean(axis=1)
    profile = n * (np.log(-candidates / shapes) - shapes - 1.0)
    weights = np.exp(profile - profile.max())
    theta = float(weights @ candidates / weights.sum())
    raw = float(np.log1p(-theta * excess).mean())
    return (n * raw + _PRIOR_DRAWS * _PRIOR_SHAPE) / (n + _PRIOR_DRAWS), -raw / theta


def pareto_quantiles(levels: np.ndarray, shape: float, scale: float) -> np.ndarray:
    """Quantiles of a generalised Pareto distribution, (n,)."""
    exponent = -np.log1p(-levels)
    if abs(shape) < 1e-9:
        return scale * exponent
    return scale * np.expm1(shape * exponent) / shape


def _quartile(n: int) -> int:
    """Position of the first quartile among n values in order."""
    return int(n / 4 + 0.5) - 1
