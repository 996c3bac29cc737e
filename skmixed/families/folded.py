"""Quantiles of the distance of a variable from a point."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from skmixed.families.skewed import standard_cdf, standard_quantiles

_BISECTIONS = 60


def distance_quantiles(
    share: float, shift: np.ndarray, sd: np.ndarray, skewness: np.ndarray | float = 0.0
) -> np.ndarray:
    """Quantile of the distance from 0 of variables of these moments, (n,).

    Parameters
    ----------
    share : float
        Probability to be at or below the quantile, strictly between 0 and 1.
    shift : ndarray (n,)
        Mean less the point.
    sd : ndarray (n,)
        Standard deviations; may be 0.
    skewness : ndarray (n,) or float, default=0
        0: normal variables.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.families.folded import distance_quantiles
    >>> distance_quantiles(0.95, np.array([0.0, 3.0]), np.array([1.0, 0.0])).round(2).tolist()
    [1.96, 3.0]
    """
    skewness = np.where(shift < 0.0, -1.0, 1.0) * skewness
    shift = np.abs(shift)
    # P(|x| <= d) is at most P(x <= d), and at least 1 less twice the larger tail
    low = np.maximum(shift + sd * standard_quantiles(ndtri(share), skewness), 0.0)
    tail = ndtri(0.5 * (1.0 + share))
    high = np.maximum(
        shift + sd * standard_quantiles(tail, skewness),
        -shift - sd * standard_quantiles(-tail, skewness),
    )
    scale = np.where(sd > 0.0, sd, 1.0)
    for _ in range(_BISECTIONS):
        centre = 0.5 * (low + high)
        below = standard_cdf((centre - shift) / scale, skewness)
        enough = below - standard_cdf((-centre - shift) / scale, skewness) >= share
        high = np.where(enough, centre, high)
        low = np.where(enough, low, centre)
    return np.where(sd > 0.0, high, shift)
