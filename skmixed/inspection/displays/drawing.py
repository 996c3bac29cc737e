"""What the displays draw with: matplotlib when it is needed, axes, colours and styles."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

MANY_POINTS = 2_000
"""Points from which single ones are no longer told apart."""

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
        When matplotlib is not installed.
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
