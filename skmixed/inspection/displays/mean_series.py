"""What displays of marginal means share: tables of means, and series that a legend names."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

if TYPE_CHECKING:
    from skmixed.inspection.mean_estimates import MarginalMeans


class MeansDisplay(ABC):
    """Marginal means with intervals, along the first of some columns.

    Parameters
    ----------
    means : DataFrame
        Columns of `columns`, and estimate, lower and upper.
    columns : sequence of column
        The first is along the axis; combinations of the others are series.
    label : str, default="marginal mean"
        Label of the axis.
    """

    def __init__(
        self, means: pd.DataFrame, columns: Sequence[Any], *, label: str = "marginal mean"
    ) -> None:
        self.means = means
        self.columns = tuple(columns)
        self.label = label

    @classmethod
    def from_means(cls, means: MarginalMeans, *, ax: Any = None, **styles: Any) -> Self:
        """Plot marginal means.

        Parameters
        ----------
        means : MarginalMeans
            From `skmixed.marginal_means`.
        ax, **styles
            As for :meth:`plot`.

        Returns
        -------
        display : MarginalMeansDisplay or EffectCurvesDisplay
            With the plot.
        """
        return cls(means.table, (*means.terms, *means.by), label=means.label).plot(ax, **styles)

    @abstractmethod
    def plot(self, ax: Any = None) -> Self:
        """Draw the means on axes, or in a figure of their own."""


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


def add_legend(ax: Any, columns: Sequence[Any], *, own_figure: bool) -> None:
    """Name the series by the columns that they differ in.

    The legend is beside the axes where a figure of our own or a layout engine makes room for it,
    and else inside.
    """
    if columns:
        beside = own_figure or ax.figure.get_layout_engine() is not None
        place = {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0)} if beside else {}
        ax.legend(title=", ".join(map(str, columns)), frameon=False, **place)
