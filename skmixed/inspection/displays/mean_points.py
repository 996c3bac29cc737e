"""Marginal means at levels, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from skmixed.inspection.displays.common import level_labels
from skmixed.inspection.displays.drawing import axes_and_figure, styled
from skmixed.inspection.displays.mean_series import MeansDisplay, add_legend, split_series

_SPREAD = 0.5
"""Distance between the first and the last series at one level."""


class MarginalMeansDisplay(MeansDisplay):
    """Marginal means with intervals, by the levels of a column.

    Use :meth:`from_means`, or ``marginal_means(...).plot()``.

    Parameters
    ----------
    means : DataFrame
        Columns of `columns`, and estimate, lower and upper.
    columns : sequence of column
        The first is along the axis; combinations of the others have different colours.
    label : str, default="marginal mean"
        Label of the axis.

    Attributes
    ----------
    means, columns, label
        As given.
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    EffectCurvesDisplay : Means along a numeric column.
    ContrastsDisplay : Their differences.

    Notes
    -----
    Intervals of two means may overlap although the means differ, because the means are estimated
    from the same rows and blocks. The contrast decides.

    Examples
    --------
    >>> from skmixed import marginal_means, mixed
    >>> from skmixed.datasets import load_cbpp
    >>> from skmixed.inspection import MarginalMeansDisplay
    >>> frame = load_cbpp().frame
    >>> frame["rate"] = frame["incidence"] / frame["size"]
    >>> model = mixed("rate ~ period + (1 | herd)", frame)
    >>> display = MarginalMeansDisplay.from_means(marginal_means(model, "period"))
    >>> display.label
    'mean of rate'
    """

    def plot(
        self,
        ax: Any = None,
        *,
        point_kwargs: Mapping[str, Any] | None = None,
        interval_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw a point and an interval per mean.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        point_kwargs : dict, default=None
            Keywords of `Axes.plot` for the means.
        interval_kwargs : dict, default=None
            Keywords of `Axes.vlines` for the intervals.

        Returns
        -------
        self : MarginalMeansDisplay
            With `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_, self.figure_ = axes_and_figure(ax)
        first = self.columns[0]
        levels = list(dict.fromkeys(self.means[first]))
        place = {level: k for k, level in enumerate(levels)}
        series = split_series(self.means, self.columns[1:])
        shifts = np.linspace(-0.5, 0.5, len(series)) * _SPREAD if len(series) > 1 else np.zeros(1)
        for k, ((name, rows), shift) in enumerate(zip(series, shifts, strict=True)):
            places = np.array([place[level] for level in rows[first]]) + shift
            colour = f"C{k}"
            self.ax_.vlines(
                places, rows["lower"], rows["upper"],
                **styled(interval_kwargs, color=colour, linewidth=1.5),
            )  # fmt: skip
            points = styled(
                point_kwargs, color=colour, marker="o", markersize=6, linestyle="none", label=name
            )
            self.ax_.plot(places, rows["estimate"], **points)
        self.ax_.set_xticks(range(len(levels)), level_labels(levels))
        self.ax_.set_xlim(-0.6, len(levels) - 0.4)
        self.ax_.set(xlabel=str(first), ylabel=self.label)
        add_legend(self.ax_, self.columns[1:], own_figure=ax is None)
        return self
