"""A smooth function of mean and standard deviation, interpolated for many rows."""

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
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    mean: np.ndarray,
    sd: np.ndarray,
    table: Table,
) -> Interpolated | None:
    """A smooth function of mean and sd at rows, most of them by a bicubic spline.

    None where that does not pay, or where the error, found at some rows, is too large.

    Parameters
    ----------
    function : callable
        Of (mean, sd), (n,) each.
    mean, sd : ndarray (n,)
    table : Table
    """
    usual = np.flatnonzero(np.isfinite(mean) & np.isfinite(sd) & (sd >= _LEAST_SD))
    axes = _axes(mean[usual], np.log(sd[usual]), table) if len(usual) else None
    if axes is None or len(usual) < _WORTH_A_TABLE * len(axes[0]) * len(axes[1]):
        return None
    grid = np.meshgrid(*axes, indexing="ij")
    nodes = function(grid[0].ravel(), np.exp(grid[1].ravel())).reshape(grid[0].shape)
    if not np.isfinite(nodes).all():
        return None
    spline = RectBivariateSpline(*axes, nodes)
    checked = usual[np.linspace(0, len(usual) - 1, _CHECKED).astype(int)]
    exact = function(mean[checked], sd[checked])
    found = spline.ev(mean[checked], np.log(sd[checked]))
    error = _MARGIN * float(np.abs(found - exact).max())
    if not error <= table.tolerance:
        return None
    values = np.empty(len(mean))
    values[usual] = spline.ev(mean[usual], np.log(sd[usual]))
    rest = np.setdiff1d(np.arange(len(mean)), usual, assume_unique=True)
    values[rest] = function(mean[rest], sd[rest])
    return Interpolated(values, error)


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
