"""Marginal means along a column of numbers, with bands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from skmixed.inspection.displays.common import with_transformed_data
from skmixed.inspection.displays.drawing import axes_and_figure, styled
from skmixed.inspection.displays.mean_series import MeansDisplay, add_legend, split_series


class EffectCurvesDisplay(MeansDisplay):
    """Marginal means along a numeric column: curves with bands.

    Use :meth:`from_estimator`, or ``marginal_means(model, "x", at={"x": values}).plot()``.

    Parameters
    ----------
    means : DataFrame
        Columns of `columns`, and estimate, lower and upper.
    columns : sequence of column
        The first is numeric; each combination of the others has a curve.
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
    MarginalMeansDisplay : Means at levels.

    Notes
    -----
    A band is a pointwise interval of the mean. It is not a simultaneous band for the whole curve,
    and not a prediction interval.

    Examples
    --------
    >>> from skmixed import mixed
    >>> from skmixed.datasets import load_sleepstudy
    >>> from skmixed.inspection import EffectCurvesDisplay
    >>> model = mixed("Reaction ~ Days + (Days | Subject)", load_sleepstudy().frame)
    >>> display = EffectCurvesDisplay.from_estimator(model, "Days")
    >>> display.means["Days"].agg(["min", "max"]).tolist()
    [0.0, 9.0]
    """

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        column: Any,
        X: Any = None,
        y: Any = None,
        *,
        by: Any = None,
        n_points: int = 50,
        ax: Any = None,
        line_kwargs: Mapping[str, Any] | None = None,
        band_kwargs: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Self:
        """Estimate means between the smallest and the largest value of a column, and plot them.

        Parameters
        ----------
        estimator : estimator
            Fitted mixed model, or a pipeline that ends in one.
        column : column
            A numeric column of the fixed effects.
        X, y : array-like, default=None
            The data of the fit, if the model did not keep them.
        by : column or list of columns, default=None
            Columns with one curve per level; numeric columns need ``at=``.
        n_points : int, default=50
            Number of points per curve.
        ax, line_kwargs, band_kwargs
            As for :meth:`plot`.
        **options
            Of `skmixed.marginal_means`: ``at``, ``weights``, ``ddf``, ``level``, ``scale``,
            ``random_effects``.

        Returns
        -------
        display : EffectCurvesDisplay
            With the plot.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the column is not a numeric column of the fixed effects, or data are missing.
        """
        from skmixed.inspection.mean_estimates import marginal_means  # which plots with this

        model, X, data = with_transformed_data(estimator, X, y)
        model.encoder.fixed.refuse_other_column(column)
        numbers = model.table_of_fit(data)[0].numeric(column)
        grid = np.linspace(numbers.min(), numbers.max(), n_points)
        at = {**(options.pop("at", None) or {}), column: grid}
        means = marginal_means(model, column, X, y, by=by, at=at, **options)
        return cls.from_means(means, ax=ax, line_kwargs=line_kwargs, band_kwargs=band_kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        line_kwargs: Mapping[str, Any] | None = None,
        band_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw one curve with a band per series.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        line_kwargs : dict, default=None
            Keywords of `Axes.plot` for the curves.
        band_kwargs : dict, default=None
            Keywords of `Axes.fill_between` for the bands.

        Returns
        -------
        self : EffectCurvesDisplay
            With `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_, self.figure_ = axes_and_figure(ax)
        first = self.columns[0]
        for k, (name, rows) in enumerate(split_series(self.means, self.columns[1:])):
            rows = rows.sort_values(first)
            colour = f"C{k}"
            band = styled(band_kwargs, color=colour, alpha=0.2, linewidth=0)
            self.ax_.fill_between(rows[first], rows["lower"], rows["upper"], **band)
            self.ax_.plot(
                rows[first], rows["estimate"],
                **styled(line_kwargs, color=colour, linewidth=2.0, label=name),
            )  # fmt: skip
        self.ax_.set(xlabel=str(first), ylabel=self.label)
        self.ax_.margins(x=0.02)
        add_legend(self.ax_, self.columns[1:], own_figure=ax is None)
        return self
