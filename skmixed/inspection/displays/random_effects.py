"""The effects of a group with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import ndtri
from sklearn.utils import check_scalar

from skmixed.inspection.attributes import random_effects_std
from skmixed.inspection.displays.common import (
    choose_term,
    effect_name,
    effects_of_group,
    level_labels,
    split_pipeline,
)
from skmixed.inspection.displays.drawing import (
    axes_and_figure,
    load_pyplot,
    reference_style,
    styled,
)
from skmixed.validation import check_choice

_KINDS = ("labelled", "ranked")

_GAP = 2
"""Rows left free where levels are left out."""

_ROW_INCHES, _MARGIN_INCHES = 0.2, 0.9

_LEAST_ROW_POINTS = 7.5
"""Height of a row whose label can be read."""

_FEW_RANKS = 50
"""Levels that are marked one by one on a curve."""

_MOST_RANKS = 1_000
"""Points of a curve; more are finer than a figure can show."""


class RandomEffectsDisplay:
    """Random effects of a group in ascending order, with intervals.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    effects : DataFrame of shape (n_levels, 4)
        By level in ascending order of the effect: `effect`, `std`, `lower`, `upper`, in
        the units of the linear predictor.
    group : str
        Name of the group.
    term : str
        Name of the effect, ``"Intercept"`` or the column that it multiplies.
    level : float
        Probability of the intervals.

    Attributes
    ----------
    effects, group, term, level
        As given.
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    ShrinkageDisplay : Effects against the raw means of their levels.
    EffectsComparisonDisplay : Effects of two models.

    Notes
    -----
    Intervals are for single levels: posterior mean plus and minus a normal quantile times the
    posterior standard deviation. Variance parameters count as known.

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor
    >>> from skmixed.datasets import make_mixed_regression
    >>> from skmixed.inspection import RandomEffectsDisplay
    >>> X, y, _ = make_mixed_regression(n_samples=500, groups=(20, 10), random_state=0)
    >>> model = MixedEffectsVIRegressor(random_effects=["g0", "g1"]).fit(X, y)
    >>> display = RandomEffectsDisplay.from_estimator(model, "g0")
    >>> display.effects.columns.tolist()
    ['effect', 'std', 'lower', 'upper']
    """

    def __init__(self, effects: pd.DataFrame, *, group: Any, term: Any, level: float) -> None:
        self.effects = effects
        self.group = group
        self.term = term
        self.level = level

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        group: Any,
        *,
        term: Any = None,
        level: float = 0.95,
        kind: str = "labelled",
        n_levels: int = 30,
        ax: Any = None,
        point_kwargs: Mapping[str, Any] | None = None,
        interval_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Plot the random effects of a fitted model.

        Parameters
        ----------
        estimator : estimator
            Fitted mixed model, or a pipeline that ends in one.
        group : str
            A key of its `random_effects_`.
        term : str, default=None
            A column of ``random_effects_[group]``; None: the first one, which is the intercept if
            there is one.
        level : float, default=0.95
            Probability of the intervals, between 0 and 1.
        kind, n_levels, ax, point_kwargs, interval_kwargs, line_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : RandomEffectsDisplay
            With the plot.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the model has no such group or effect.
        """
        model, _ = split_pipeline(estimator)
        means = effects_of_group(model, group)
        check_scalar(level, "level", Real, min_val=0.0, max_val=1.0, include_boundaries="neither")
        term = choose_term(means, group, term)
        effects = pd.DataFrame(
            {"effect": means[term], "std": random_effects_std(model)[group][term]}
        ).sort_values("effect", kind="stable")
        half = ndtri(0.5 + 0.5 * level) * effects["std"]
        effects["lower"] = effects["effect"] - half
        effects["upper"] = effects["effect"] + half
        return cls(effects, group=group, term=term, level=level).plot(
            ax,
            kind=kind,
            n_levels=n_levels,
            point_kwargs=point_kwargs,
            interval_kwargs=interval_kwargs,
            line_kwargs=line_kwargs,
        )

    def plot(
        self,
        ax: Any = None,
        *,
        kind: str = "labelled",
        n_levels: int = 30,
        point_kwargs: Mapping[str, Any] | None = None,
        interval_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw the effects.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure as high as its rows need.
        kind : {"labelled", "ranked"}, default="labelled"
            "labelled": one labelled row per level; with more than `n_levels` levels only the lowest
            and the highest, with a gap between them. "ranked": all levels as a curve over their
            rank, with a band for the intervals; above 1,000 levels, neighbouring ranks are
            averaged.
        n_levels : int, default=30
            Maximum number of rows of "labelled", at least 2; fewer if the axes are too low for the
            labels.
        point_kwargs : dict, default=None
            Keywords of `Axes.plot` for the effects: points, or the curve.
        interval_kwargs : dict, default=None
            Keywords of `Axes.hlines` or, for "ranked", of `Axes.fill_between`.
        line_kwargs : dict, default=None
            Keywords of `Axes.plot` for the line at 0.

        Returns
        -------
        self : RandomEffectsDisplay
            With `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `kind` or `n_levels` is not known.
        """
        check_choice("kind", kind, _KINDS)
        check_scalar(n_levels, "n_levels", Integral, min_val=2)
        if kind == "ranked":
            self.ax_, self.figure_ = axes_and_figure(ax)
            self._draw_ranked(point_kwargs, interval_kwargs, line_kwargs)
        else:
            self._draw_labelled(ax, n_levels, point_kwargs, interval_kwargs, line_kwargs)
        return self

    def _draw_labelled(
        self,
        ax: Any,
        n_levels: int,
        point_kwargs: Mapping[str, Any] | None,
        interval_kwargs: Mapping[str, Any] | None,
        line_kwargs: Mapping[str, Any] | None,
    ) -> None:
        if ax is not None:
            n_levels = min(n_levels, _rows_that_fit(ax))
        shown, rows = _shown(self.effects, n_levels)
        width, height = load_pyplot().rcParams["figure.figsize"]
        needed = _ROW_INCHES * (rows[-1] + 2) + _MARGIN_INCHES
        self.ax_, self.figure_ = axes_and_figure(ax, figsize=(width, max(height, needed)))
        ax = self.ax_
        ax.axvline(0.0, **reference_style(line_kwargs, zorder=1))
        interval = styled(interval_kwargs, color="C0", linewidth=1.5, alpha=0.5)
        ax.hlines(rows, shown["lower"], shown["upper"], **interval)
        ax.plot(shown["effect"], rows, **styled(point_kwargs, marker="o", linestyle="", color="C0"))
        ax.set_ylim(-0.8, rows[-1] + 0.8)
        ax.set_yticks(rows, level_labels(shown.index), fontsize=_font_size(ax, rows[-1] + 1.6))
        ax.set(xlabel=self._values_label(), ylabel=str(self.group))
        left_out = len(self.effects) - len(shown)
        if left_out:
            self._mark_gap(n_levels // 2 - 1 + 0.5 * (1 + _GAP), left_out)

    def _mark_gap(self, row: float, left_out: int) -> None:
        ax = self.ax_
        background = {"facecolor": ax.get_facecolor(), "edgecolor": "none", "pad": 2.0}
        ax.text(
            0.5,
            row,
            f"…  {left_out:,} levels between  …",
            transform=ax.get_yaxis_transform(),
            ha="center",
            va="center",
            style="italic",
            fontsize="small",
            bbox=background,
        )

    def _draw_ranked(
        self,
        point_kwargs: Mapping[str, Any] | None,
        interval_kwargs: Mapping[str, Any] | None,
        line_kwargs: Mapping[str, Any] | None,
    ) -> None:
        ax, n_levels = self.ax_, len(self.effects)
        columns = self.effects[["effect", "lower", "upper"]].to_numpy()
        starts = np.unique(np.linspace(0, n_levels, _MOST_RANKS, endpoint=False).astype(int))
        lengths = np.diff(np.append(starts, n_levels))
        effect, lower, upper = (np.add.reduceat(columns, starts) / lengths[:, None]).T
        ranks = starts + 0.5 * (lengths + 1)
        ax.axhline(0.0, **reference_style(line_kwargs, zorder=1))
        band = styled(
            interval_kwargs, color="C0", alpha=0.3, linewidth=0, label=self._interval_name()
        )
        ax.fill_between(ranks, lower, upper, **band)
        marker = "o" if n_levels <= _FEW_RANKS else None
        line = styled(point_kwargs, color="C0", linewidth=1.8, marker=marker, label="effect")
        ax.plot(ranks, effect, **line)
        ax.set(
            xlabel=f"rank among {n_levels:,} levels of {self.group}",
            ylabel=effect_name(self.group, self.term),
        )
        ax.margins(x=0.01)
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(loc="upper left")

    def _interval_name(self) -> str:
        return f"{100.0 * self.level:.3g} % interval"

    def _values_label(self) -> str:
        return f"{effect_name(self.group, self.term)}, with {self._interval_name()}s"


def _shown(effects: pd.DataFrame, n_levels: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The levels that are shown, and the rows they stand in."""
    if len(effects) <= n_levels:
        return effects, np.arange(len(effects))
    lowest = n_levels // 2
    highest = n_levels - lowest
    shown = pd.concat([effects.iloc[:lowest], effects.iloc[-highest:]])
    return shown, np.arange(n_levels) + np.where(np.arange(n_levels) < lowest, 0, _GAP)


def _font_size(ax: Any, n_rows: float) -> float:
    """Size at which the labels of neighbouring rows do not touch, in points."""
    normal = load_pyplot().rcParams["font.size"]
    return float(np.clip(0.9 * _height(ax) / n_rows, 2.0, normal))


def _rows_that_fit(ax: Any) -> int:
    """Levels that axes have room for, the gap between them aside."""
    return max(int(_height(ax) / _LEAST_ROW_POINTS) - _GAP, 2)


def _height(ax: Any) -> float:
    """Height of axes in points."""
    return 72.0 * ax.get_window_extent().height / ax.figure.dpi
