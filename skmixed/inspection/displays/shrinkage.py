"""Raw means of levels against their effects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd

from skmixed.families import FAMILIES
from skmixed.fitted_model import ObservedRows
from skmixed.inspection.displays.common import (
    effects_of_group,
    with_training_data,
)
from skmixed.inspection.displays.drawing import (
    axes_and_figure,
    ink,
    point_style,
    reference_style,
    styled,
)


class ShrinkageDisplay:
    r"""Estimated effects of levels against raw effects, which use the rows of each level only.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    levels : DataFrame of shape (n_levels, 3)
        By level: `raw`, the effect from its rows alone; `effect`, the estimate of the model; and
        `size`, the sum of its case weights. Both effects are on the scale of the linear predictor.
    group : str
        Name of the group.
    raw_label : str, default="raw mean of a level"
        Label of the axis of `raw`.

    Attributes
    ----------
    levels, group, raw_label
        As given.
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    RandomEffectsDisplay : Effects with intervals.

    Notes
    -----
    With :math:`\eta_i` the linear predictor of row i without the group, and sums over the
    rows of a level by their weights, the raw effect is

    * for normal responses the mean of the partial residuals :math:`y_i - \eta_i`. For a single
      factor with an intercept the effect is :math:`n / (n + \sigma^2 / \sigma_u^2)` times that, up
      to the uncertainty of the fixed effects [1]_;
    * for counts :math:`\log(\sum y_i / \sum E[\exp \eta_i])`, observed over expected: the
      maximum of the Poisson likelihood of the level, and for negative binomial counts a
      moment estimate. It is :math:`-\infty` for a level whose counts are all 0;
    * for gamma amounts :math:`\log` of the mean of :math:`y_i E[\exp(-\eta_i)]`, the
      maximum of their likelihood.

    Classes raise an error: a level with one class only has no raw effect, and for others there is
    no closed form.

    With random slopes, `effect` is the contribution of the group to the linear predictor, averaged
    over the rows of the level; with an intercept only, it is the random effect. `size` counts the
    rows that you pass, which need not be those of the fit. Unseen levels are left out.

    References
    ----------
    .. [1] Robinson (1991), "That BLUP is a good thing: the estimation of random effects",
       Statistical Science 6(1).

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor
    >>> from skmixed.datasets import make_mixed_regression
    >>> from skmixed.inspection import ShrinkageDisplay
    >>> X, y, _ = make_mixed_regression(n_samples=500, groups=(20, 10), random_state=0)
    >>> model = MixedEffectsVIRegressor(random_effects=["g0", "g1"]).fit(X, y)
    >>> display = ShrinkageDisplay.from_estimator(model, X, y, "g0")
    >>> bool(display.levels["effect"].std() < display.levels["raw"].std())
    True
    """

    def __init__(
        self, levels: pd.DataFrame, *, group: Any, raw_label: str = "raw mean of a level"
    ) -> None:
        self.levels = levels
        self.group = group
        self.raw_label = raw_label

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        group: Any = None,
        *,
        sample_weight: Any = None,
        ax: Any = None,
        scatter_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Compute raw effects from rows and plot them with the estimated effects.

        Parameters
        ----------
        estimator : estimator
            Fitted regressor, or a pipeline that ends in one.
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows, usually those of the fit. None: the rows that the model kept, with
            ``keep_data=True``.
        y : array-like of shape (n_samples,)
            Their response.
        group : str
            A key of `random_effects_`.
        sample_weight : array-like of shape (n_samples,), default=None
            Case weights.
        ax, scatter_kwargs, line_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : ShrinkageDisplay
            With the plot.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the model has no such group, its response is a class, or no row has a known level.
        """
        model, data, steps = with_training_data(estimator, X, y, sample_weight)
        labels = effects_of_group(model, group).index
        label = model.likelihood.raw_label
        if label is None:
            names = (name for name, family in FAMILIES.items() if family.raw_label is not None)
            raise ValueError(
                f"family={model.likelihood.name!r} has no raw effect per level to compare with "
                "(it is infinite for a level with one class only); families with raw effects: "
                f"{', '.join(map(repr, names))}. "
                "RandomEffectsDisplay shows the effects with their intervals."
            )
        rows = model.observe(data, steps=steps)
        position = model.encoder.factor_names.index(group)
        levels = _by_level(rows, position, labels)
        occur = np.flatnonzero(levels["n_rows"])
        if not len(occur):
            raise ValueError(
                f"No row has a level of group {group!r} seen during fit; pass the "
                "rows of the fit, or other rows with its levels."
            )
        levels = levels.drop(columns="n_rows")
        return cls(levels.iloc[occur], group=group, raw_label=label).plot(
            ax, scatter_kwargs=scatter_kwargs, line_kwargs=line_kwargs
        )

    def plot(
        self,
        ax: Any = None,
        *,
        scatter_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw one point per level, larger for levels with more rows, and the line of no shrinkage.

        Raw effects of minus infinity are drawn as triangles at the left edge.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        scatter_kwargs : dict, default=None
            Keywords of `Axes.scatter`.
        line_kwargs : dict, default=None
            Keywords of `Axes.axline` for the line of equal effects.

        Returns
        -------
        self : ShrinkageDisplay
            With `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.ax_, self.figure_ = axes_and_figure(ax)
        ax = self.ax_
        finite = np.isfinite(self.levels["raw"].to_numpy())
        shown, infinite = self.levels[finite], self.levels[~finite]
        style = point_style(len(shown), scatter_kwargs, s=self._areas(shown["size"].to_numpy()))
        line = reference_style(line_kwargs, label="no shrinkage", zorder=1)
        ax.axline((0.0, 0.0), slope=1.0, **line)
        ax.scatter(shown["raw"], shown["effect"], **style)
        if len(infinite):
            ax.scatter(
                np.full(len(infinite), 0.015),
                infinite["effect"],
                transform=ax.get_yaxis_transform(),
                **styled(None, marker="<", color="C1", s=25.0, alpha=0.6, linewidth=0),
                label=f"{len(infinite):,} levels with a sum of 0",
            )
        self._explain_areas(style)
        ax.set(xlabel=self.raw_label, ylabel=f"effect of {self.group}")
        return self

    def _areas(self, sizes: np.ndarray) -> np.ndarray:
        """Areas of points in square points, which grow with the root of the number of rows."""
        largest = float(np.clip(120_000 / len(self.levels), 12.0, 120.0))
        return largest * (0.15 + 0.85 * np.sqrt(sizes / self.levels["size"].max()))

    def _explain_areas(self, style: Mapping[str, Any]) -> None:
        ax, sizes = self.ax_, self.levels["size"].to_numpy()
        told = np.unique([sizes.min(), np.median(sizes), sizes.max()])
        if len(told) > 1 or len(sizes) == 1:
            colour = style.get("color", ink())
            for size, area in zip(told, self._areas(told), strict=True):
                ax.scatter([], [], s=area, color=colour, linewidth=0, label=_rows(size))
        ax.legend(loc="upper left", fontsize="small")


def _rows(size: float) -> str:
    """A number of rows as text."""
    return "1 row" if size == 1 else f"{size:,.4g} rows"


def _by_level(rows: ObservedRows, position: int, labels: pd.Index) -> pd.DataFrame:
    """Columns raw, effect, size and n_rows, a row per level of a factor of the fit."""
    design, others = rows.design, rows.without(position)
    codes, weights = design.factors[position].codes, rows.weights
    if design.precision_weights is not None:
        weights = weights * design.precision_weights
    known, mean, variance = codes >= 0, others.mean(), others.variance(further=False)
    effect, codes, weights = (rows.mean() - mean)[known], codes[known], weights[known]

    def sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(codes, weights=weights * values, minlength=len(labels))

    with np.errstate(divide="ignore", invalid="ignore"):
        raw = rows.result.likelihood.raw_effects(
            rows.response[known], mean[known], variance[known], sums
        )
        effects = sums(effect) / sums(np.ones(len(codes)))
    sizes = np.bincount(codes, rows.weights[known], len(labels))
    n_rows = np.bincount(codes, minlength=len(labels))
    columns = {"raw": raw, "effect": effects, "size": sizes, "n_rows": n_rows}
    return pd.DataFrame(columns, index=labels)
