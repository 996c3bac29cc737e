"""Estimates with intervals, one row each, in panels of one unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pandas as pd

from skmixed.inspection.displays.drawing import reference_style, stacked_axes, styled


@dataclass(frozen=True, eq=False)
class Panel:
    """Estimates that can share an axis.

    Attributes
    ----------
    table : DataFrame
        Columns estimate, lower and upper, and p_value where rows show one; the index labels rows.
    xlabel : str
        Label of the axis, with the unit.
    heading : str
        Heading of the panel; may be empty.
    """

    table: pd.DataFrame
    xlabel: str
    heading: str = ""


class IntervalRowsDisplay:
    """Panels of estimates with intervals and a reference line.

    Parameters
    ----------
    panels : sequence of Panel
        From the top.
    reference : float, default=0.0
        Position of the line of no effect.
    log_scale : bool, default=False
        Whether estimates are ratios, shown on a logarithmic axis.

    Attributes
    ----------
    panels, reference, log_scale
        As given.
    ax_ : matplotlib Axes, or ndarray of them
        The axes drawn on: one per unit or family.
    figure_ : matplotlib Figure
        Their figure.
    """

    def __init__(
        self, panels: Sequence[Panel], *, reference: float = 0.0, log_scale: bool = False
    ) -> None:
        self.panels = list(panels)
        self.reference = reference
        self.log_scale = log_scale

    def plot(
        self,
        ax: Any = None,
        *,
        point_kwargs: Mapping[str, Any] | None = None,
        interval_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw a point and an interval per estimate; hollow points have intervals that contain the
        reference.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on, or to place several panels in; None makes a figure.
        point_kwargs : dict, default=None
            Keywords of `Axes.plot` for the estimates.
        interval_kwargs : dict, default=None
            Keywords of `Axes.hlines` for the intervals.
        line_kwargs : dict, default=None
            Keywords of `Axes.axvline` for the line of no effect.

        Returns
        -------
        self : IntervalRowsDisplay
            With `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        sizes = [len(panel.table) for panel in self.panels]
        one_unit = len({panel.xlabel for panel in self.panels}) == 1
        axes, self.figure_ = stacked_axes(ax, sizes, labelled=not one_unit)
        self.ax_ = axes if len(axes) > 1 else axes[0]
        intervals = styled(interval_kwargs, color="C0", linewidth=1.5)
        points = styled(point_kwargs, color="C0", marker="o", markersize=6, linestyle="none")
        ends = self._limits(self.panels) if one_unit else None
        for panel_ax, panel in zip(axes, self.panels, strict=True):
            panel_ax.axvline(self.reference, **reference_style(line_kwargs, zorder=0.5))
            _draw(panel_ax, panel, self.reference, intervals, points)
            if self.log_scale:
                panel_ax.set_xscale("log")
                _plain_ticks(panel_ax)
            else:
                inches = panel_ax.get_window_extent().width / self.figure_.dpi
                panel_ax.locator_params(axis="x", nbins=int(np.clip(1.4 * inches, 3, 9)))
            limits = ends or self._limits([panel])
            if limits is not None:
                panel_ax.set_xlim(*limits)
            if not one_unit or panel is self.panels[-1]:
                panel_ax.set_xlabel(panel.xlabel)
            else:
                panel_ax.tick_params(labelbottom=False)
        return self

    def _limits(self, panels: list[Panel]) -> tuple[float, float] | None:
        """Ends of an axis that holds all intervals and the line, with room beside them."""
        ends = np.concatenate([p.table[["lower", "upper"]].to_numpy(float).ravel() for p in panels])
        ends = np.append(ends[np.isfinite(ends)], self.reference)
        if self.log_scale:
            ends = np.log(ends[ends > 0.0])
        room = 0.06 * np.ptp(ends)
        if not room > 0.0:
            return None
        low, high = ends.min() - room, ends.max() + room
        if self.log_scale:
            low, high = np.exp([low, high])
        return float(low), float(high)


def _draw(
    ax: Any, panel: Panel, reference: float, intervals: dict[str, Any], points: dict[str, Any]
) -> None:
    """Draw the rows of a panel from the top."""
    table = panel.table
    rows = np.arange(len(table))
    lower, upper = table["lower"].to_numpy(float), table["upper"].to_numpy(float)
    ax.hlines(rows, lower, upper, **intervals)
    beyond = (lower > reference) | (upper < reference)
    hollow = styled(points, markerfacecolor=ax.get_facecolor())
    for chosen, style in ((beyond, points), (~beyond, hollow)):
        ax.plot(table["estimate"].to_numpy(float)[chosen], rows[chosen], **style)
    ax.set_yticks(rows, [str(label) for label in table.index])
    ax.set_ylim(len(rows) - 0.4, -0.6)
    if panel.heading:
        ax.set_title(panel.heading, loc="left", fontsize="medium")
    if "p_value" in table:
        for row, p_value in zip(rows, table["p_value"], strict=True):
            ax.annotate(
                p_text(p_value), (1.01, row), xycoords=("axes fraction", "data"), va="center",
                fontsize="small", annotation_clip=False,
            )  # fmt: skip


def p_text(p_value: float) -> str:
    """A p-value beside a row: nothing where there is none."""
    if not np.isfinite(p_value):
        return ""
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.3f}"


def _plain_ticks(ax: Any) -> None:
    """Ratios as plain numbers."""
    for axis_formatter in (ax.xaxis.set_major_formatter, ax.xaxis.set_minor_formatter):
        axis_formatter(_ratio)


def _ratio(value: float, position: int | None = None) -> str:
    """A ratio whose first digit is 1, 2 or 5; other ticks have no label."""
    first = f"{value:e}"[0]
    return f"{value:g}" if first in "125" else ""
