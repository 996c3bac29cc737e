"""What the displays draw with: matplotlib when it is needed, axes, colours and styles."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

MANY_POINTS = 2_000
"""Points from which single ones are no longer told apart."""

_LABEL_INCHES = 0.6
"""Room for the numbers and the label of an axis."""

_ALIASES = {
    "c": "color",
    "lw": "linewidth",
    "ls": "linestyle",
    "ms": "markersize",
    "linewidths": "linewidth",
    "linestyles": "linestyle",
    "colors": "color",
}


def load_pyplot() -> Any:
    """matplotlib.pyplot, loaded at the first plot.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        return import_module("matplotlib.pyplot")
    except ImportError as error:
        raise ImportError(
            "Plotting needs matplotlib, which is not installed; "
            'install it with: pip install "scikit-mixed[plot]"'
        ) from error


def axes_and_figure(ax: Any, **figure: Any) -> tuple[Any, Any]:
    """The axes given, or those of a new figure."""
    pyplot = load_pyplot()
    if ax is None:
        new, ax = pyplot.subplots(layout="constrained", **figure)
        return ax, new
    return ax, ax.figure


def stacked_axes(ax: Any, sizes: list[int], *, labelled: bool = True) -> tuple[np.ndarray, Any]:
    """Axes for so many rows each, one below the other, and their figure.

    Parameters
    ----------
    ax : matplotlib Axes or None
        Axes to draw on, or to place several in; None makes a figure.
    sizes : list of int
        Rows of every panel.
    labelled : bool, default=True
        Whether every panel has a label below it, and not the last alone.
    """
    pyplot = load_pyplot()
    width, height = pyplot.rcParams["figure.figsize"]
    size = (width, max(min(height, 1.5 + 0.5 * sum(sizes)), 0.35 * sum(sizes) + len(sizes)))
    if len(sizes) == 1:
        ax, figure = axes_and_figure(ax, figsize=size)
        return np.array([ax]), figure
    heights = np.array(sizes) + 0.2
    if ax is None:
        figure, axes = pyplot.subplots(
            len(sizes), layout="constrained", height_ratios=heights, figsize=size
        )
        return np.asarray(axes), figure
    ax.set_axis_off()
    inches = ax.get_window_extent().height / ax.figure.dpi
    gap = min((1.0 if labelled else 0.6) * _LABEL_INCHES / inches, 0.6 / (len(sizes) - 1))
    heights *= (1.0 - gap * (len(sizes) - 1)) / heights.sum()
    bottoms = 1.0 - np.cumsum(heights) - gap * np.arange(len(sizes))
    places = zip(bottoms.tolist(), heights.tolist(), strict=True)
    axes = [ax.inset_axes((0.0, bottom, 1.0, height)) for bottom, height in places]
    return np.array(axes), ax.figure


def styled(given: Mapping[str, Any] | None, **defaults: Any) -> dict[str, Any]:
    """Keywords for matplotlib: the given ones, and the defaults they leave open."""
    given = dict(given or {})
    named = {_ALIASES.get(name, name) for name in given}
    return {name: value for name, value in defaults.items() if name not in named} | given


def ink() -> str:
    """The colour of text, which is seen in light and in dark styles."""
    return load_pyplot().rcParams["text.color"]


def reference_style(given: Mapping[str, Any] | None, **defaults: Any) -> dict[str, Any]:
    """Keywords of a line to compare with."""
    style: dict[str, Any] = {"color": ink(), "linewidth": 1.0, "linestyle": "--", "alpha": 0.7}
    return styled(given, **(style | defaults))


def point_style(n_points: int, given: Mapping[str, Any] | None, **defaults: Any) -> dict[str, Any]:
    """Keywords of `Axes.scatter`: the more points, the smaller and fainter."""
    style: dict[str, Any] = {
        "color": "C0",
        "s": float(np.clip(20_000 / max(n_points, 1), 3.0, 30.0)),
        "alpha": float(np.clip(30.0 / np.sqrt(max(n_points, 1)), 0.2, 0.8)),
        "linewidth": 0,
        # a vector file of many single points is slow to open
        "rasterized": n_points > MANY_POINTS,
    }
    return styled(given, **(style | defaults))


def count_colours(ax: Any) -> Any:
    """A colour map for counts, from nearly the background to the colour of points and on."""
    colours = import_module("matplotlib.colors")
    point = np.array(colours.to_rgba("C0"))
    strongest = 0.5 * (point + np.array(colours.to_rgba(ink())))
    # mixed, not transparent: neighbouring bins would show their seams
    faint = 0.75 * np.array(colours.to_rgba(ax.get_facecolor())) + 0.25 * point
    return colours.LinearSegmentedColormap.from_list("counts", [faint, point, strongest])
