"""How far estimates move without each level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.utils import check_scalar

from skmixed.inspection.displays.common import level_labels
from skmixed.inspection.displays.drawing import load_pyplot, reference_style, styled
from skmixed.validation import check_choice

if TYPE_CHECKING:
    from skmixed.inspection.influence_table import Influence

_KINDS = ("cooks_distance", "dfbetas")


class InfluenceDisplay:
    """The influence of levels: Cook's distances, or changes of each coefficient.

    Use :meth:`from_influence`.

    Parameters
    ----------
    cooks_distance : Series
        By level.
    dfbetas : DataFrame of shape (n_levels, n_coefficients)
        By level, the change of each coefficient in standard errors.
    group : str, default="level"
        Name of the levels that are left out.

    Attributes
    ----------
    cooks_distance, dfbetas, group
        As given.
    ax_ : matplotlib Axes, or ndarray of them
        The axes drawn on; for DFBETAS one per coefficient.
    figure_ : matplotlib Figure
        Their figure.

    Notes
    -----
    The dashed lines are customary thresholds for n levels, 4 / n for Cook's distance and 2 /
    sqrt(n) for DFBETAS [1]_. They show which levels to look at; they are not tests.

    References
    ----------
    .. [1] Belsley, Kuh and Welsch (1980), "Regression Diagnostics", Wiley.

    Examples
    --------
    >>> from skmixed import influence, mixed
    >>> from skmixed.datasets import load_sleepstudy
    >>> from skmixed.inspection import InfluenceDisplay
    >>> model = mixed("Reaction ~ Days + (Days | Subject)", load_sleepstudy().frame)
    >>> display = InfluenceDisplay.from_influence(influence(model, "Subject"), kind="dfbetas")
    >>> len(display.ax_)
    2
    """

    def __init__(
        self, cooks_distance: pd.Series, dfbetas: pd.DataFrame, *, group: str = "level"
    ) -> None:
        self.cooks_distance = cooks_distance
        self.dfbetas = dfbetas
        self.group = group

    @classmethod
    def from_influence(
        cls,
        influence: Influence,
        *,
        kind: str = "cooks_distance",
        n_levels: int = 20,
        ax: Any = None,
        point_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Plot the influence of levels.

        Parameters
        ----------
        influence : Influence
            From `skmixed.influence`.
        kind, n_levels, ax, point_kwargs, line_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : InfluenceDisplay
            With the plot.
        """
        table = influence.table
        group = str(table.index.name or "level")
        display = cls(table["cooks_distance"], influence.dfbetas, group=group)
        return display.plot(
            ax, kind=kind, n_levels=n_levels, point_kwargs=point_kwargs, line_kwargs=line_kwargs
        )

    def plot(
        self,
        ax: Any = None,
        *,
        kind: str = "cooks_distance",
        n_levels: int = 20,
        point_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw the most influential levels, the largest on top.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on, or to place several panels in; None makes a figure.
        kind : {"cooks_distance", "dfbetas"}, default="cooks_distance"
            All coefficients together, or one panel per coefficient.
        n_levels : int, default=20
            Number of levels to show.
        point_kwargs : dict, default=None
            Keywords of `Axes.plot` for the points.
        line_kwargs : dict, default=None
            Keywords of `Axes.axvline` for the thresholds.

        Returns
        -------
        self : InfluenceDisplay
            With `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `kind` is not known.
        """
        check_choice("kind", kind, _KINDS)
        check_scalar(n_levels, "n_levels", int, min_val=1)
        shown = self.cooks_distance.sort_values(ascending=False).index[:n_levels]
        n = len(self.cooks_distance)
        if kind == "cooks_distance":
            columns: dict[str, pd.Series] = {"Cook's distance": self.cooks_distance}
            thresholds: tuple[float, ...] = (4.0 / n,)
        else:
            columns = {str(name): self.dfbetas[name] for name in self.dfbetas}
            thresholds = (-2.0 / np.sqrt(n), 2.0 / np.sqrt(n))
        axes, self.figure_ = _side_by_side(ax, len(columns), len(shown))
        self.ax_ = axes if len(axes) > 1 else axes[0]
        points = styled(point_kwargs, color="C0", marker="o", markersize=5, linestyle="none")
        rows = np.arange(len(shown))
        for panel, (label, values) in zip(axes, columns.items(), strict=True):
            panel.hlines(rows, 0.0, values.loc[shown], color=points.get("color", "C0"), linewidth=1)
            panel.plot(values.loc[shown], rows, **points)
            for threshold in thresholds:
                panel.axvline(threshold, **reference_style(line_kwargs))
            panel.set_ylim(len(rows) - 0.4, -0.6)
            panel.set_yticks(rows, level_labels(shown) if panel is axes[0] else [])
            panel.set_xlabel(label if len(columns) == 1 else f"DFBETAS of {label}")
        if kind == "cooks_distance":
            axes[0].set_xlim(0.0, None)
        axes[0].set_ylabel(self.group)
        return self


def _side_by_side(ax: Any, n_panels: int, n_rows: int) -> tuple[np.ndarray, Any]:
    """Axes beside each other for so many rows, and their figure."""
    pyplot = load_pyplot()
    if ax is None:
        width = pyplot.rcParams["figure.figsize"][0]
        size = (max(width, 2.6 * n_panels), max(2.5, 1.0 + 0.22 * n_rows))
        figure, axes = pyplot.subplots(
            1, n_panels, layout="constrained", squeeze=False, figsize=size
        )
        return axes[0], figure
    if n_panels == 1:
        return np.array([ax], dtype=object), ax.figure
    ax.set_axis_off()
    width = 1.0 / n_panels
    axes = [ax.inset_axes((k * width, 0.0, 0.88 * width, 1.0)) for k in range(n_panels)]
    return np.array(axes, dtype=object), ax.figure
