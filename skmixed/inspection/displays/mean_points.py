"""Marginal means at levels, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from skmixed.inspection.displays.common import level_labels
from skmixed.inspection.displays.drawing import axes_and_figure, styled

if TYPE_CHECKING:
    from skmixed.inspection.mean_estimates import MarginalMeans

_SPREAD = 0.5
"""Distance between the first and the last series at one level."""


class MarginalMeansDisplay:
    """Marginal means with intervals, by the levels of a column.

    Use :meth:`from_means`, or ``marginal_means(...).plot()``.

    Parameters
    ----------
    means : DataFrame
        Columns of `columns`, and estimate, lower and upper.
    columns : sequence of column
        The first is along the axis; combinations of the others are told apart by colour.
    label : str, default="marginal mean"
        What an estimate is, for the axis.

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
    EffectCurvesDisplay : Means along a column of numbers.
    ContrastsDisplay : Their differences.

    Notes
    -----
    Overlapping intervals of two means do not say that the means are alike: they are estimated
    from the same rows and blocks. Look at the contrast.

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

    def __init__(
        self, means: pd.DataFrame, columns: Sequence[Any], *, label: str = "marginal mean"
    ) -> None:
        self.means = means
        self.columns = tuple(columns)
        self.label = label

    @classmethod
    def from_means(
        cls,
        means: MarginalMeans,
        *,
        ax: Any = None,
        point_kwargs: Mapping[str, Any] | None = None,
        interval_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Take marginal means and plot them.

        Parameters
        ----------
        means : MarginalMeans
            From `skmixed.marginal_means`.
        ax, point_kwargs, interval_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : MarginalMeansDisplay
            With the plot.
        """
        display = cls(means.table, (*means.terms, *means.by), label=means.label)
        return display.plot(ax, point_kwargs=point_kwargs, interval_kwargs=interval_kwargs)

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
            When matplotlib is not installed.
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
        add_legend(self.ax_, self.columns[1:], beside=ax is None)
        return self


def split_series(table: pd.DataFrame, columns: Sequence[Any]) -> list[tuple[str, pd.DataFrame]]:
    """Rows of a table by the values of some columns, in order, with a name for a legend."""
    if not columns:
        return [("", table)]
    return [
        (", ".join(_text(value) for value in values), rows)
        for values, rows in table.groupby(list(columns), sort=False)
    ]


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def add_legend(ax: Any, columns: Sequence[Any], *, beside: bool) -> None:
    """Name the series by the columns that they differ in, beside the axes or inside."""
    if columns:
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {}
        ax.legend(title=", ".join(map(str, columns)), frameon=False, **place)
