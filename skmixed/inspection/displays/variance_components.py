"""How much the groups vary, beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd

from skmixed.inspection.attributes import components as variance_components
from skmixed.inspection.displays.common import split_pipeline
from skmixed.inspection.displays.drawing import stacked_axes, styled
from skmixed.validation import check_choice

_KINDS = ("sd", "share")


class VarianceComponentsDisplay:
    """Standard deviations of the random effects and the noise, or shares of variance.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    components : DataFrame
        One row per variance: `group`, `term` (None for the noise), `variance`, `sd`, and `share`,
        the variance divided by the sum of all variances; with intervals also `lower` and `upper` of
        the standard deviation.

    Attributes
    ----------
    components
        As given.
    ax_ : matplotlib Axes, or ndarray of them
        The axes drawn on. With random slopes there are several: the first for intercepts and noise,
        which have the same unit, and one per slope.
    figure_ : matplotlib Figure
        Their figure.

    Notes
    -----
    The noise is a component of normal responses only. For classes, counts and amounts the
    components are those of the linear predictor, and shares are shares of the variance
    between levels.

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor
    >>> from skmixed.datasets import make_mixed_regression
    >>> from skmixed.inspection import VarianceComponentsDisplay
    >>> X, y, _ = make_mixed_regression(n_samples=500, groups=(20, 10), random_state=0)
    >>> model = MixedEffectsVIRegressor(random_effects=["g0", "g1"]).fit(X, y)
    >>> display = VarianceComponentsDisplay.from_estimator(model, kind="share")
    >>> display.components["group"].tolist()
    ['g0', 'g1', 'Residual']
    """

    def __init__(self, components: pd.DataFrame) -> None:
        self.components = components

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        kind: str = "sd",
        level: float | None = None,
        ax: Any = None,
        bar_kwargs: Mapping[str, Any] | None = None,
        text_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Plot the variances of a fitted model.

        Parameters
        ----------
        estimator : estimator
            Fitted mixed model, or a pipeline that ends in one.
        kind : {"sd", "share"}, default="sd"
            As for :meth:`plot`.
        level : float or None, default=None
            Probability of intervals of the standard deviations, from ``variance_intervals``; needs
            a normal response and ``keep_data=True``. None: no intervals.
        ax, bar_kwargs, text_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : VarianceComponentsDisplay
            With the plot.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If there is nothing to show, or shares are not defined.
        """
        model, _ = split_pipeline(estimator)
        table = variance_components(model)
        variances = table[table["term_2"].isna()]
        components = pd.DataFrame(
            {
                "group": variances["group"],
                "term": variances["term_1"],
                "variance": variances["variance"],
                "sd": np.sqrt(variances["variance"]),
            }
        ).reset_index(drop=True)
        if components.empty:
            raise ValueError("The model has no variance to show; fit it with random_effects.")
        components["share"] = components["variance"] / components["variance"].sum()
        if level is not None:
            estimator = estimator[-1] if hasattr(estimator, "named_steps") else estimator
            ends = estimator.variance_intervals(level=level)[["lower", "upper"]]
            components = components.join(ends)
        return cls(components).plot(ax, kind=kind, bar_kwargs=bar_kwargs, text_kwargs=text_kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        kind: str = "sd",
        bar_kwargs: Mapping[str, Any] | None = None,
        text_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw one bar per component.

        Components with different units have different axes: intercepts and noise share a panel, and
        each slope has its own.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on, or to place several panels in; None makes a figure.
        kind : {"sd", "share"}, default="sd"
            Standard deviations in the units of the linear predictor (for a slope, per unit of its
            column), or shares of the sum of all variances. Shares need random intercepts only,
            because the variance of a slope depends on the units of its column.
        bar_kwargs : dict, default=None
            Keywords of `Axes.barh`.
        text_kwargs : dict, default=None
            Keywords of the numbers beside the bars, as of `Axes.bar_label`.

        Returns
        -------
        self : VarianceComponentsDisplay
            With `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `kind` is not known, or shares are requested with random slopes.
        """
        check_choice("kind", kind, _KINDS)
        if kind == "share":
            _refuse_slopes(self.components)
        panels = _by_unit(self.components)
        sizes = [len(rows) for rows in panels.values()]
        axes, self.figure_ = stacked_axes(ax, sizes)
        self.ax_ = axes if len(axes) > 1 else axes[0]
        for panel, (unit, rows) in zip(axes, panels.items(), strict=True):
            self._draw(panel, rows, kind, bar_kwargs, text_kwargs)
            panel.set_xlabel(self._label(kind, unit))
        return self

    def _draw(
        self,
        ax: Any,
        components: pd.DataFrame,
        kind: str,
        bar_kwargs: Mapping[str, Any] | None,
        text_kwargs: Mapping[str, Any] | None,
    ) -> None:
        """Draw the bars of components of one unit."""
        values = components[kind]
        rows = np.arange(len(values))
        style: dict[str, Any] = {"color": "C0", "height": 0.6}
        longest = float(values.max())
        if kind == "sd" and "upper" in components:
            style |= {"xerr": [values - components["lower"], components["upper"] - values]}
            longest = max(longest, float(components["upper"].max(skipna=True)))
        bars = ax.barh(rows, values, **styled(bar_kwargs, **style))
        text = "{:.1%}" if kind == "share" else "{:#.3g}"
        ax.bar_label(
            bars, [text.format(value) for value in values], **styled(text_kwargs, padding=4)
        )
        ax.set_yticks(rows, _names(components))
        ax.set_ylim(len(values) - 0.4, -0.6)
        # room for the numbers beside the longest bar
        ax.set_xlim(0.0, 1.25 * max(longest, np.finfo(float).tiny))

    def _label(self, kind: str, unit: str) -> str:
        if kind == "sd":
            return f"standard deviation, per unit of {unit}" if unit else "standard deviation"
        has_noise = self.components["term"].isna().any()
        return "share of the variance" if has_noise else "share of the variance between levels"


def _by_unit(components: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Components that can share an axis, by the column that they are effects of.

    Intercepts and noise have the unit of the linear predictor, whose key is empty and comes first.
    """
    terms = components["term"]
    units = terms.where(terms.notna() & (terms != "Intercept"), "").astype(str)
    return {str(unit): rows for unit, rows in components.groupby(units, sort=True)}


def _names(components: pd.DataFrame) -> list[str]:
    """A name per bar; the term is told where it is no intercept."""
    return [
        "noise" if pd.isna(term) else str(group) if term == "Intercept" else f"{group}: {term}"
        for group, term in zip(components["group"], components["term"], strict=True)
    ]


def _refuse_slopes(components: pd.DataFrame) -> None:
    slopes = components[components["term"].notna() & (components["term"] != "Intercept")]
    if len(slopes):
        group, term = slopes.iloc[0][["group", "term"]]
        raise ValueError(
            f"kind='share': the variance of {term!r} by {group!r} depends on the units of "
            f"{term!r} and cannot be added to the others; use kind='sd'."
        )
