"""Quantiles of a response whose linear predictor is uncertain."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from skmixed.families.base import ResponseLikelihood
from skmixed.families.row_terms import bounded_exp

_REACH = 6.0
"""Standard deviations of the predictor that are integrated over, to either side."""

_FEW_NODES, _MANY_NODES = 25, 241
_WIDE, _NARROW = 0.4, 0.04
"""Widths of the distribution given the predictor, relative to that of the predictor,
down to which few and many nodes see no steps in it."""

_MODERATE = 300.0
"""Largest predictor whose exponential can be squared, and smallest."""

_CHUNK = 8_192
"""Rows worked on at a time: a row takes as many numbers as there are nodes."""


def predictive_quantiles(
    likelihood: ResponseLikelihood,
    shares: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    parameters: np.ndarray,
) -> np.ndarray:
    """Quantiles of new responses under eta ~ N(mean, variance), (n, k) for shares (k,)."""
    if likelihood.is_quadratic:
        # the predictive distribution is normal
        _, std = likelihood.predictive_moments(mean, variance, parameters)
        return mean[:, None] + std[:, None] * ndtri(shares)
    found = (
        mixture_quantiles(likelihood, share, mean, variance, parameters)
        for share in shares.tolist()
    )
    return np.column_stack(list(found))


def mixture_quantiles(
    likelihood: ResponseLikelihood,
    share: float,
    mean: np.ndarray,
    variance: np.ndarray,
    parameters: np.ndarray,
) -> np.ndarray:
    """Smallest response whose probability to be at or below it is at least `share`, (n,).

    The distribution is averaged over eta ~ N(mean, variance) by the trapezoidal
    rule and inverted by bisection. Where a response hardly varies given eta, its
    logarithm is normal with the variances of both added.
    """
    sd = np.sqrt(variance)
    there = mean + ndtri(share) * sd
    # relative to its mean a response beyond these bounds varies as it does at them
    there = np.clip(there, -_MODERATE, _MODERATE)
    expected, noise = likelihood.predictive_moments(there, np.zeros_like(there), parameters)
    with np.errstate(all="ignore"):
        # relative deviations are deviations of the logarithm
        spread = noise / expected
        width = np.where(sd > 0.0, spread / sd, np.inf)
    out = bounded_exp(mean + ndtri(share) * np.hypot(sd, np.minimum(spread, 1.0)))
    if likelihood.is_discrete:
        out = np.ceil(out)
    for n_nodes, wide in (
        (_FEW_NODES, width >= _WIDE),
        (_MANY_NODES, (width < _WIDE) & (width >= _NARROW)),
    ):
        rows = np.flatnonzero(wide)
        for begin in range(0, len(rows), _CHUNK):
            part = rows[begin : begin + _CHUNK]
            out[part] = _quantiles(likelihood, share, mean[part], sd[part], parameters, n_nodes)
    return out


def _quantiles(likelihood, share, mean, sd, parameters, n_nodes):
    nodes = np.linspace(-_REACH, _REACH, n_nodes)
    weights = np.exp(-0.5 * nodes**2)
    weights /= weights.sum()
    predictors = mean[:, None] + sd[:, None] * nodes

    def probability(y: np.ndarray) -> np.ndarray:
        return likelihood.cdf(y[:, None], predictors, parameters) @ weights

    # the logarithm of the response is searched, of counts that of the response plus one
    shift = 1.0 if likelihood.is_discrete else 0.0
    low = np.zeros(len(mean)) if likelihood.is_discrete else mean - 8.0 * sd - 740.0
    high = np.maximum(mean + 8.0 * sd, 0.0) + 40.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        y = bounded_exp(middle) - shift
        if likelihood.is_discrete:
            y = np.floor(y)
        enough = probability(y) >= share
        high = np.where(enough, middle, high)
        low = np.where(enough, low, middle)
    y = bounded_exp(high) - shift
    return np.floor(y + 1e-9 * np.maximum(y, 1.0)) if likelihood.is_discrete else y
