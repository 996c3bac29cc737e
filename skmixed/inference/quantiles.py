"""Quantiles of a response whose linear predictor is uncertain."""

from __future__ import annotations

import numpy as np

from skmixed.likelihoods.base import ResponseLikelihood

_NODES = np.linspace(-6.0, 6.0, 25)
_CHUNK = 65_536
"""Rows worked on at a time: a row takes as many numbers as there are nodes."""


def mixture_quantiles(
    likelihood: ResponseLikelihood,
    share: float,
    mean: np.ndarray,
    variance: np.ndarray,
    parameters: np.ndarray,
) -> np.ndarray:
    """Smallest response whose probability to be at or below it is at least `share`, (n,).

    The distribution is averaged over eta ~ N(mean, variance) by the trapezoidal
    rule and inverted by bisection.
    """
    out = np.empty(len(mean))
    for begin in range(0, len(mean), _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        out[rows] = _quantiles(likelihood, share, mean[rows], variance[rows], parameters)
    return out


def _quantiles(likelihood, share, mean, variance, parameters):
    weights = np.exp(-0.5 * _NODES**2)
    weights /= weights.sum()
    predictors = mean[:, None] + np.sqrt(variance)[:, None] * _NODES

    def probability(y: np.ndarray) -> np.ndarray:
        return likelihood.cdf(y[:, None], predictors, parameters) @ weights

    # the logarithm of the response is searched, of counts that of the response plus one
    shift = 1.0 if likelihood.is_discrete else 0.0
    spread = 8.0 * np.sqrt(variance)
    low = np.zeros(len(mean)) if likelihood.is_discrete else mean - spread - 740.0
    high = np.maximum(mean + spread, 0.0) + 40.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        y = np.exp(middle) - shift
        if likelihood.is_discrete:
            y = np.floor(y)
        enough = probability(y) >= share
        high = np.where(enough, middle, high)
        low = np.where(enough, low, middle)
    y = np.exp(high) - shift
    return np.floor(y + 1e-9 * np.maximum(y, 1.0)) if likelihood.is_discrete else y
