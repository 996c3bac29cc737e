"""The effects of one model against those of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd

from skmixed.inspection.displays.common import (
    choose_term,
    effect_name,
    effects_of_group,
    level_labels,
    split_pipeline,
)
from skmixed.inspection.displays.drawing import (
    axes_and_figure,
    ink,
    point_style,
    reference_style,
    styled,
)


class EffectsComparisonDisplay:
    """Effects of a group from two models, or from a model and other software.

    Use :meth:`from_estimators` or :meth:`from_frames` to make one.

    Parameters
    ----------
    effects : DataFrame of shape (n_levels, 3)
        By level: `first`, `second`, and `difference`, the second minus the first.
    group : str
        Name of the group.
    term : str, default="Intercept"
        Name of the effect.
    names : sequence of two str, default=("first model", "second model")
        What the two are called on the axes.
    n_unmatched : int, default=0
        Number of levels that only one of the two has, which are not shown.

    Attributes
    ----------
    effects, group, term, names, n_unmatched
        As given.
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor
    >>> from skmixed.datasets import make_mixed_regression
    >>> from skmixed.inspection import EffectsComparisonDisplay
    >>> X, y, _ = make_mixed_regression(n_samples=500, groups=(20, 10), random_state=0)
    >>> full = MixedEffectsVIRegressor(random_effects=["g0", "g1"]).fit(X, y)
    >>> alone = MixedEffectsVIRegressor(random_effects=["g0"]).fit(X[["x0", "g0"]], y)
    >>> display = EffectsComparisonDisplay.from_estimators(
    ...     full, alone, "g0", names=("with g1", "without g1"))
    >>> display.effects.shape
    (20, 3)
    """

    def __init__(
        self,
        effects: pd.DataFrame,
        *,
        group: Any,
        term: Any = "Intercept",
        names: Sequence[str] = ("first model", "second model"),
        n_unmatched: int = 0,
    ) -> None:
        self.effects = effects
        self.group = group
        self.term = term
        self.names = names
        self.n_unmatched = n_unmatched

    @classmethod
    def from_estimators(
        cls,
        estimator: Any,
        other: Any,
        group: Any,
        *,
        term: Any = None,
        names: Sequence[str] = ("first model", "second model"),
        ax: Any = None,
        scatter_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
        text_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Compare a fitted model with another model, or with effects in a table.

        Parameters
        ----------
        estimator : estimator
            Fitted mixed model, or a pipeline that ends in one.
        other : estimator, Series or DataFrame
            Another fitted model, or effects as for :meth:`from_frames`.
        group : str
            A key of `random_effects_`.
        term : str, default=None
            A column of ``random_effects_[group]``; None: the first one.
        names : sequence of two str, default=("first model", "second model")
            What the two are called on the axes.
        ax, scatter_kwargs, line_kwargs, text_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : EffectsComparisonDisplay
            With the plot.

        Raises
        ------
        NotFittedError
            If an estimator is not fitted.
        ValueError
            If a model has no such group or effect, or they have no level in common.
        """
        return cls.from_frames(
            _effects_of(estimator, group),
            _effects_of(other, group),
            group=group,
            term=term,
            names=names,
            ax=ax,
            scatter_kwargs=scatter_kwargs,
            line_kwargs=line_kwargs,
            text_kwargs=text_kwargs,
        )

    @classmethod
    def from_frames(
        cls,
        first: pd.DataFrame | pd.Series,
        second: pd.DataFrame | pd.Series,
        *,
        group: Any,
        term: Any = None,
        names: Sequence[str] = ("first model", "second model"),
        ax: Any = None,
        scatter_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
        text_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Compare effects in tables.

        Parameters
        ----------
        first, second : DataFrame or Series
            Effects with levels as index. From a DataFrame the column `term` is used.
        group : str
            Name of the group, for the labels.
        term : str, default=None
            A column of both; None: the first column of either.
        names : sequence of two str, default=("first model", "second model")
            What the two are called on the axes.
        ax, scatter_kwargs, line_kwargs, text_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : EffectsComparisonDisplay
            With the plot.

        Raises
        ------
        ValueError
            If a table has no such column or has a level twice, or if the two have no level in
            common.
        """
        columns = [_column(table, group, term) for table in (first, second)]
        for name, column in zip(names, columns, strict=True):
            if not column.index.is_unique:
                twice = column.index[column.index.duplicated()].tolist()[0]
                raise ValueError(
                    f"{name}: level {twice!r} of group {group!r} occurs twice; "
                    "keep one row per level."
                )
        left, right = columns
        effects = pd.concat({"first": left, "second": right}, axis=1, join="inner")
        if effects.empty:
            raise ValueError(
                f"The two have no level of group {group!r} in common: {names[0]} has "
                f"{left.index[:3].tolist()}, {names[1]} has {right.index[:3].tolist()}, ...; give "
                "both the same labels, for instance with table.index = table.index.astype(str)."
            )
        effects["difference"] = effects["second"] - effects["first"]
        shown = term if term is not None else left.name
        return cls(
            effects,
            group=group,
            term="Intercept" if shown is None else shown,
            names=names,
            n_unmatched=len(left) + len(right) - 2 * len(effects),
        ).plot(ax, scatter_kwargs=scatter_kwargs, line_kwargs=line_kwargs, text_kwargs=text_kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        scatter_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
        text_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw one point per level and the line of agreement, and label the largest difference.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        scatter_kwargs : dict, default=None
            Keywords of `Axes.scatter`.
        line_kwargs : dict, default=None
            Keywords of `Axes.axline`.
        text_kwargs : dict, default=None
            Keywords of `Axes.annotate` for the largest difference.

        Returns
        -------
        self : EffectsComparisonDisplay
            With `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_, self.figure_ = axes_and_figure(ax)
        ax, effects = self.ax_, self.effects
        ax.axline((0.0, 0.0), slope=1.0, **reference_style(line_kwargs, zorder=1))
        ax.scatter(effects["first"], effects["second"], **point_style(len(effects), scatter_kwargs))
        name = effect_name(self.group, self.term)
        limits = _limits(effects[["first", "second"]].to_numpy())
        ax.set(xlim=limits, ylim=limits)
        ax.set(xlabel=f"{name}, {self.names[0]}", ylabel=f"{name}, {self.names[1]}")
        title = f"{len(effects):,} levels"
        if self.n_unmatched:
            title += f"; {self.n_unmatched:,} levels of only one of the two are not shown"
        ax.set_title(title, fontsize="medium")
        self._mark_largest(text_kwargs)
        return self

    def _mark_largest(self, text_kwargs: Mapping[str, Any] | None) -> None:
        """An arrow to the level with the largest difference, from a corner without points."""
        ax, effects = self.ax_, self.effects
        row = int(np.argmax(np.abs(effects["difference"].to_numpy())))
        first, second, difference = effects.iloc[row]
        label = level_labels(effects.index[row : row + 1])[0]
        above = difference > 0
        style = styled(
            text_kwargs,
            xytext=(0.04, 0.96) if above else (0.96, 0.04),
            textcoords="axes fraction",
            ha="left" if above else "right",
            va="top" if above else "bottom",
            fontsize="small",
            arrowprops={"arrowstyle": "->", "color": ink(), "shrinkB": 4.0},
        )
        ax.scatter(first, second, s=40.0, facecolor="none", edgecolor="C3", linewidth=1.5)
        text = f"largest difference {difference:.3g}\n({self.group} = {label})"
        ax.annotate(text, (first, second), **style)


def _limits(values: np.ndarray) -> tuple[float, float]:
    """Limits for both axes, so that the line of equal effects is their diagonal."""
    lowest, highest = float(np.nanmin(values)), float(np.nanmax(values))
    margin = 0.05 * (highest - lowest) or 1.0
    return lowest - margin, highest + margin


def _effects_of(source: Any, group: Any) -> pd.DataFrame | pd.Series:
    """The effects of a group: those of a model, or the table that was given."""
    if isinstance(source, pd.DataFrame | pd.Series):
        return source
    return effects_of_group(split_pipeline(source)[0], group)


def _column(table: pd.DataFrame | pd.Series, group: Any, term: Any) -> pd.Series:
    """Effects by level; a level without a value counts as one that is not there."""
    if isinstance(table, pd.Series):
        return table.dropna()
    return table[choose_term(table, group, term)].dropna()
