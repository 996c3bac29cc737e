"""Quantiles of the distance of a normal variable from a point."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

_BISECTIONS = 60


def distance_quantiles(share: float, shift: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Quantile of |N(shift, sd^2)|, (n,).

    Parameters
    ----------
    share : float
        Probability to be at or below the quantile, strictly between 0 and 1.
    shift : ndarray (n,)
        Mean less the point.
    sd : ndarray (n,)
        Standard deviations; may be 0.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.families.folded import distance_quantiles
    >>> distance_quantiles(0.95, np.array([0.0, 3.0]), np.array([1.0, 0.0])).round(2).tolist()
    [1.96, 3.0]
    """
    shift = np.abs(shift)
    # P(|x| <= d) is at most P(x <= d), and at least P(x <= d) less P(x > d)
    low = np.maximum(shift + sd * ndtri(share), 0.0)
    high = shift + sd * ndtri(0.5 * (1.0 + share))
    scale = np.where(sd > 0.0, sd, 1.0)
    for _ in range(_BISECTIONS):
        centre = 0.5 * (low + high)
        enough = ndtr((centre - shift) / scale) - ndtr((-centre - shift) / scale) >= share
        high = np.where(enough, centre, high)
        low = np.where(enough, low, centre)
    return np.where(sd > 0.0, high, shift)
