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

_BLOCK = 1 << 21
"""Numbers that the profile likelihoods of several tails may take at a time."""


@dataclass(frozen=True)
class SmoothedWeights:
    """Logarithms of importance weights after Pareto smoothing.

    Attributes
    ----------
    log_weights : ndarray (S, m)
    shape : ndarray (m,)
        k of the generalised Pareto tail; 0 where the weights are all equal, infinite where
        a few draws carry everything.
    """

    log_weights: np.ndarray
    shape: np.ndarray

    def log_mean(self) -> np.ndarray:
        """Logarithm of the average weight, (m,)."""
        top = self.log_weights.max(axis=0)
        return top + np.log(np.exp(self.log_weights - top).mean(axis=0))

    def log_mean_std(self) -> np.ndarray:
        """Standard error of `log_mean` by the delta method, (m,)."""
        weights = np.exp(self.log_weights - self.log_weights.max(axis=0))
        return weights.std(axis=0, ddof=1) / (weights.mean(axis=0) * np.sqrt(len(weights)))

    def effective_share(self) -> np.ndarray:
        """Effective draws over draws, 1 / (1 + squared coefficient of variation), (m,)."""
        weights = np.exp(self.log_weights - self.log_weights.max(axis=0))
        return weights.mean(axis=0) ** 2 / (weights**2).mean(axis=0)


def smooth_weights(log_weights: np.ndarray) -> SmoothedWeights:
    """Replace the largest weights by quantiles of the Pareto distribution fitted to them.

    Parameters
    ----------
    log_weights : ndarray (S, m)
        Every column is a sample of its own.
    """
    n_draws, n_samples = log_weights.shape
    n_tail = tail_length(n_draws)
    shape = np.empty(n_samples)
    smoothed = np.array(log_weights, dtype=float)
    step = max(_BLOCK // (n_tail * _n_candidates(n_tail)), 1)
    for begin in range(0, n_samples, step):
        block = slice(begin, begin + step)
        shape[block] = _smooth_block(smoothed[:, block], n_tail)
    return SmoothedWeights(smoothed, shape)


def tail_length(n_draws: int) -> int:
    """How many of the largest weights are the tail: min(S / 5, 3 sqrt(S))."""
    return int(np.ceil(min(0.2 * n_draws, 3.0 * np.sqrt(n_draws))))


def _smooth_block(log_weights: np.ndarray, n_tail: int) -> np.ndarray:
    """Smooth the tails of some columns in place; their shapes."""
    shape = np.zeros(log_weights.shape[1])
    if n_tail < _LEAST_TAIL:
        return shape
    order = np.argsort(log_weights, axis=0)
    tail = order[-n_tail:]
    top = np.take_along_axis(log_weights, order[-1:], axis=0)
    cutoff = np.exp(np.take_along_axis(log_weights, order[-n_tail - 1 : -n_tail], axis=0) - top)
    excess = np.exp(np.take_along_axis(log_weights, tail, axis=0) - top) - cutoff
    # ties at the lower end have no excess, and a Pareto tail begins above them
    spread = excess[-1] > _EVEN
    resolved = spread & (excess[_quartile(n_tail)] > 0.0)
    shape[spread & ~resolved] = np.inf
    if not resolved.any():
        return shape
    columns = np.flatnonzero(resolved)
    shape[columns], scale = fit_pareto(excess[:, columns])
    levels = (np.arange(n_tail)[:, None] + 0.5) / n_tail
    fitted = cutoff[:, columns] + pareto_quantiles(levels, shape[columns], scale)
    # no weight may exceed the largest one drawn, which is 1 here
    smoothed = top[:, columns] + np.log(np.minimum(fitted, 1.0))
    log_weights[tail[:, columns], columns] = smoothed
    return shape


def fit_pareto(excess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shape k and scale of generalised Pareto samples.

    Zhang and Stephens (2009), Technometrics 51, equations 3 to 8: an average of
    theta = -k / scale over its profile likelihood, with few candidates and no iterations.
    The shape is drawn to 0.5 a little, as Vehtari et al. (2024) propose.

    Parameters
    ----------
    excess : ndarray (n, m)
        Every column a sample in ascending order, not negative, with a positive quartile.
    """
    n = len(excess)
    j = np.arange(1, _n_candidates(n) + 1)
    spread = 1.0 - np.sqrt(len(j) / (j - 0.5))
    candidates = 1.0 / excess[-1] + spread[:, None] / (3.0 * excess[_quartile(n)])
    shapes = np.log1p(-candidates[:, None] * excess).mean(axis=1)
    profile = n * (np.log(-candidates / shapes) - shapes - 1.0)
    weights = np.exp(profile - profile.max(axis=0))
    theta = (weights * candidates).sum(axis=0) / weights.sum(axis=0)
    raw = np.log1p(-theta * excess).mean(axis=0)
    scale = -raw / theta
    return (n * raw + _PRIOR_DRAWS * _PRIOR_SHAPE) / (n + _PRIOR_DRAWS), scale


def pareto_quantiles(levels: np.ndarray, shape: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Quantiles of generalised Pareto distributions; arrays broadcast."""
    exponent = -np.log1p(-levels)
    flat = np.abs(shape) < 1e-9
    divisor = np.where(flat, 1.0, shape)
    return scale * np.where(flat, exponent, np.expm1(divisor * exponent) / divisor)


def _quartile(n: int) -> int:
    """Place of the first quartile among n values in order."""
    return int(n / 4 + 0.5) - 1


def _n_candidates(n: int) -> int:
    return 30 + int(np.sqrt(n))
