"""How much the groups vary, beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd

from skmixed.inspection.displays.common import fitted_model
from skmixed.inspection.displays.drawing import axes_and_figure, load_pyplot, styled
from skmixed.validation import check_choice

_KINDS = ("sd", "share")


class VarianceComponentsDisplay:
    """Standard deviations of the random effects and the noise, or shares of variance.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    components : DataFrame of shape (n_components, 5)
        A row a variance: `group`, `term` (None of the noise), `variance`, `sd`, and
        `share`, the variance over the sum of all of them.

    Attributes
    ----------
    components
        As given.
    ax_ : matplotlib Axes
        The axes drawn on.
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
        ax: Any = None,
        bar_kwargs: Mapping[str, Any] | None = None,
        text_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Take the variances of a fitted model and plot them.

        Parameters
        ----------
        estimator : estimator
            Fitted mixed model, or a pipeline that ends in one.
        kind, ax, bar_kwargs, text_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : VarianceComponentsDisplay
            With the plot.

        Raises
        ------
        NotFittedError
            When the estimator is not fitted.
        ValueError
            When there is nothing to show, or no share can be told.
        """
        table = fitted_model(estimator).variance_components_
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
        return cls(components).plot(ax, kind=kind, bar_kwargs=bar_kwargs, text_kwargs=text_kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        kind: str = "sd",
        bar_kwargs: Mapping[str, Any] | None = None,
        text_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw a bar a component.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        kind : {"sd", "share"}, default="sd"
            Standard deviations, in the units of the linear predictor (of a slope: over
            those of its column), or shares of the sum of all variances. Shares are for
            models of intercepts: the variance of a slope has the units of its column.
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
            When matplotlib is not installed.
        ValueError
            When `kind` is not known, or shares are asked for where slopes vary.
        """
        check_choice("kind", kind, _KINDS)
        if kind == "share":
            _refuse_slopes(self.components)
        width, height = load_pyplot().rcParams["figure.figsize"]
        size = (width, max(height, 0.35 * len(self.components) + 1.0))
        self.ax_, self.figure_ = axes_and_figure(ax, figsize=size)
        ax = self.ax_
        values = self.components[kind]
        rows = np.arange(len(values))
        bars = ax.barh(rows, values, **styled(bar_kwargs, color="C0", height=0.6))
        text = "{:.1%}" if kind == "share" else "{:#.3g}"
        ax.bar_label(
            bars, [text.format(value) for value in values], **styled(text_kwargs, padding=4)
        )
        ax.set_yticks(rows, self._names())
        ax.set_ylim(len(values) - 0.4, -0.6)
        # room for the numbers beside the longest bar
        ax.set_xlim(0.0, 1.25 * max(float(values.max()), np.finfo(float).tiny))
        has_noise = self.components["term"].isna().any()
        of_what = "share of the variance" if has_noise else "share of the variance between levels"
        ax.set_xlabel("standard deviation" if kind == "sd" else of_what)
        return self

    def _names(self) -> list[str]:
        """A name a bar; the term is told where it is no intercept."""
        return [
            "noise" if pd.isna(term) else str(group) if term == "Intercept" else f"{group}: {term}"
            for group, term in zip(self.components["group"], self.components["term"], strict=True)
        ]


def _refuse_slopes(components: pd.DataFrame) -> None:
    slopes = components[components["term"].notna() & (components["term"] != "Intercept")]
    if len(slopes):
        group, term = slopes.iloc[0][["group", "term"]]
        raise ValueError(
            f"kind='share': the variance of {term!r} by {group!r} depends on the units of "
            f"{term!r} and cannot be added to the others; use kind='sd'."
        )
