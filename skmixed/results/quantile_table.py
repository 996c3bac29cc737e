"""A smooth function of mean, standard deviation and skewness, interpolated for many rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import RectBivariateSpline

_FEWEST_NODES = 8
_MOST_NODES = 20_000

_WORTH_A_TABLE = 2.0
"""Rows per node of a table from which on it saves time."""

_CHECKED = 256
"""Rows at which the error of a table is found."""

_MARGIN = 4.0
"""Factor of the largest error found that counts as the error of all rows."""

_LAYERS, _FEW_LAYERS = 7, 4
"""Nodes of the skewness where rows differ in it, much or little."""

_LITTLE = 0.5
"""Difference of the skewness of rows that is little."""

_LEAST_SD = 1e-3
"""Standard deviations below it are computed, not interpolated."""


@dataclass(frozen=True)
class Table:
    """Distances of the nodes of a table, and the largest error of values of interest."""

    mean_step: float
    log_sd_step: float
    tolerance: float


@dataclass(frozen=True)
class Interpolated:
    """Values of a function at rows, and the error of those that were interpolated.

    Attributes
    ----------
    values : ndarray (n,)
    error : float
        0 where no row was interpolated.
    """

    values: np.ndarray
    error: float


def interpolated(
    function: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    mean: np.ndarray,
    sd: np.ndarray,
    skewness: np.ndarray,
    table: Table,
) -> Interpolated | None:
    """A smooth function of three moments at rows, most of them by bicubic splines.

    There is a spline for every node of the skewness, between which polynomials interpolate. None
    where that does not pay, or where the error, found at some rows, is too large.

    Parameters
    ----------
    function : callable
        Of (mean, sd, skewness), (n,) each.
    mean, sd, skewness : ndarray (n,)
    table : Table
    """
    finite = np.isfinite(mean) & np.isfinite(sd) & np.isfinite(skewness)
    usual = np.flatnonzero(finite & (sd >= _LEAST_SD))
    axes = _axes(mean[usual], np.log(sd[usual]), table) if len(usual) else None
    if axes is None:
        return None
    layers = _layers(skewness[usual])
    if len(usual) < _WORTH_A_TABLE * len(axes[0]) * len(axes[1]) * len(layers):
        return None
    grid = np.meshgrid(*axes, layers, indexing="ij")
    nodes = function(grid[0].ravel(), np.exp(grid[1].ravel()), grid[2].ravel())
    nodes = nodes.reshape(grid[0].shape)
    if not np.isfinite(nodes).all():
        return None
    splines = [RectBivariateSpline(*axes, nodes[..., k]) for k in range(len(layers))]

    def estimate(rows: np.ndarray) -> np.ndarray:
        out, log_sd = np.zeros(len(rows)), np.log(sd[rows])
        for share, spline in zip(_shares(layers, skewness[rows]), splines, strict=True):
            out += share * spline.ev(mean[rows], log_sd)
        return out

    checked = usual[np.linspace(0, len(usual) - 1, _CHECKED).astype(int)]
    exact = function(mean[checked], sd[checked], skewness[checked])
    error = _MARGIN * float(np.abs(estimate(checked) - exact).max())
    if not error <= table.tolerance:
        return None
    values = np.empty(len(mean))
    values[usual] = estimate(usual)
    others = np.setdiff1d(np.arange(len(mean)), usual, assume_unique=True)
    values[others] = function(mean[others], sd[others], skewness[others])
    return Interpolated(values, error)


def _layers(skewness: np.ndarray) -> np.ndarray:
    """Chebyshev nodes that span the skewness of rows; one where all are the same."""
    low, high = float(skewness.min()), float(skewness.max())
    if low == high:
        return np.array([low])
    n = _LAYERS if high - low > _LITTLE else _FEW_LAYERS
    angles = (np.arange(n) + 0.5) * np.pi / n
    return 0.5 * (low + high) - 0.5 * (high - low) * np.cos(angles)


def _shares(layers: np.ndarray, at: np.ndarray) -> np.ndarray:
    """What every layer adds to a polynomial through all of them, (k, n)."""
    return np.array(
        [
            np.prod([np.ones(len(at)), *((at - b) / (a - b) for b in layers if b != a)], axis=0)
            for a in layers.tolist()
        ]
    )


def _axes(
    mean: np.ndarray, log_sd: np.ndarray, table: Table
) -> tuple[np.ndarray, np.ndarray] | None:
    """Nodes that span the rows; None where they would be too many."""
    sizes = []
    for values, step in ((mean, table.mean_step), (log_sd, table.log_sd_step)):
        low, high = float(values.min()) - 1e-6, float(values.max()) + 1e-6
        n = max(int(np.ceil((high - low) / step)) + 1, _FEWEST_NODES)
        sizes.append((low, high, n))
    if sizes[0][2] * sizes[1][2] > _MOST_NODES:
        return None
    first, second = (np.linspace(*size) for size in sizes)
    return first, second
