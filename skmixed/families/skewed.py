"""Quantiles of a variable with a mean, a standard deviation and a skewness.

A shifted lognormal variable (Johnson 1949, Biometrika 36, the S_L system) has any skewness, and
its quantiles are a monotone function of those of a normal one.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr

_NEARLY_NORMAL = 1e-3
"""Skewness below which the first terms of its series have all digits that matter."""

_LARGEST = 20.0
"""Skewness that larger ones count as: hardly any mass is left on one side of the mode."""


def standard_quantiles(z: np.ndarray | float, skewness: np.ndarray | float) -> np.ndarray:
    """Quantiles of a variable of mean 0, variance 1 and a skewness; arrays broadcast.

    Parameters
    ----------
    z : ndarray or float
        Quantiles of the standard normal distribution.
    skewness : ndarray or float

    Examples
    --------
    >>> from skmixed.families.skewed import standard_quantiles
    >>> standard_quantiles(1.96, [-0.5, 0.0, 0.5]).round(2).tolist()
    [1.72, 1.96, 2.18]
    """
    z, skewness = np.asarray(z, float), np.asarray(skewness, float)
    if not skewness.any():
        return np.broadcast_to(z, np.broadcast_shapes(z.shape, skewness.shape))
    sign, sigma, width = _shape(skewness)
    curved = sign * np.expm1(sigma * sign * z - 0.5 * sigma**2) / width
    flat = z + skewness * (z**2 - 1.0) / 6.0
    return np.where(np.abs(skewness) < _NEARLY_NORMAL, flat, curved)


def standard_cdf(x: np.ndarray, skewness: np.ndarray | float) -> np.ndarray:
    """Probability to be at or below x; the inverse of `standard_quantiles`."""
    x, skewness = np.asarray(x, float), np.asarray(skewness, float)
    if not skewness.any():
        return ndtr(np.broadcast_to(x, np.broadcast_shapes(x.shape, skewness.shape)))
    sign, sigma, width = _shape(skewness)
    with np.errstate(divide="ignore", invalid="ignore"):
        inside = 1.0 + sign * width * x
        z = sign * (np.log(np.maximum(inside, 0.0)) + 0.5 * sigma**2) / sigma
    flat = x - skewness * (x**2 - 1.0) / 6.0
    return ndtr(np.where(np.abs(skewness) < _NEARLY_NORMAL, flat, z))


def _shape(skewness: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sign, standard deviation of the logarithm, and that of the variable over its scale."""
    size = np.clip(np.abs(skewness), _NEARLY_NORMAL, _LARGEST)
    # exp(sigma^2) = w solves (w + 2)^2 (w - 1) = skewness^2
    root = np.cbrt(1.0 + 0.5 * size**2 + size * np.sqrt(1.0 + 0.25 * size**2))
    width = np.sqrt(root + 1.0 / root - 2.0)
    return np.where(skewness < 0.0, -1.0, 1.0), np.sqrt(np.log1p(width**2)), width
