"""Coefficients, variances, effects and residuals of a fit, in one figure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from skmixed.fitted_model import FittedModel
from skmixed.inspection.attributes import coefficients_of, random_effects
from skmixed.inspection.displays.common import split_pipeline
from skmixed.inspection.displays.drawing import load_pyplot
from skmixed.inspection.displays.fixed_effect_rows import FixedEffectsDisplay
from skmixed.inspection.displays.random_effects import RandomEffectsDisplay
from skmixed.inspection.displays.residuals import ResidualsDisplay
from skmixed.inspection.displays.variance_components import VarianceComponentsDisplay

_MOST_COEFFICIENTS = 30
"""Coefficients that can be told apart in a quarter of a figure."""

_FEW_LEVELS = 20


class OverviewDisplay:
    """Overview of a model: coefficients, variances, effects of a group and residuals.

    Use ``model.plot()``, or :meth:`from_estimator`.

    Parameters
    ----------
    parts : dict of {str: callable}
        By heading, a function that draws on given axes and returns a display.

    Attributes
    ----------
    parts
        As given.
    displays_ : dict
        The displays by heading.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    FixedEffectsDisplay, VarianceComponentsDisplay, RandomEffectsDisplay, ResidualsDisplay

    Examples
    --------
    >>> from skmixed import mixed
    >>> from skmixed.datasets import load_sleepstudy
    >>> model = mixed("Reaction ~ Days + (Days | Subject)", load_sleepstudy().frame)
    >>> list(model.plot().displays_)
    ['coefficients', 'standard deviations', 'effects of Subject', 'residuals']
    """

    def __init__(self, parts: dict[str, Callable[[Any], Any]]) -> None:
        self.parts = parts

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any = None, y: Any = None, sample_weight: Any = None
    ) -> Self:
        """Choose and draw the displays of a fitted model.

        Parameters
        ----------
        estimator : estimator
            Fitted mixed model, or a pipeline that ends in one.
        X, y, sample_weight : array-like, default=None
            The data of the fit, for the residuals if the model did not keep them. Without data
            there are no residuals.

        Returns
        -------
        display : OverviewDisplay
            With the plot.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If the model has nothing to show.
        """
        model, _ = split_pipeline(estimator)
        parts = _parts_of_model(model, estimator)
        if X is not None or model.data is not None:
            parts["residuals"] = lambda ax: ResidualsDisplay.from_estimator(
                estimator, X, y, sample_weight=sample_weight, ax=ax
            )
        if not parts:
            raise ValueError(
                "The model has no coefficients and no random effects to show, and its residuals "
                "need the data: pass the X and y of fit."
            )
        return cls(parts).plot()

    def plot(self) -> Self:
        """Draw the displays, two per row.

        Returns
        -------
        self : OverviewDisplay
            With `displays_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        pyplot = load_pyplot()
        n_rows = -(-len(self.parts) // 2)
        self.figure_, axes = pyplot.subplots(
            n_rows, min(len(self.parts), 2), layout="constrained", squeeze=False,
            figsize=(5.5 * min(len(self.parts), 2), 4.0 * n_rows),
        )  # fmt: skip
        self.displays_ = {}
        for (heading, draw), ax in zip(self.parts.items(), axes.ravel(), strict=False):
            ax.set_title(heading, loc="left", fontweight="bold", fontsize="medium")
            self.displays_[heading] = draw(ax)
        for spare in axes.ravel()[len(self.parts) :]:
            self.figure_.delaxes(spare)
        return self


def _parts_of_model(model: FittedModel, estimator: Any) -> dict[str, Callable[[Any], Any]]:
    """The pictures that need no data."""
    parts: dict[str, Callable[[Any], Any]] = {}
    coefficients = coefficients_of(model)
    slopes = len(coefficients.names) - coefficients.has_intercept
    if 0 < slopes <= _MOST_COEFFICIENTS:
        parts["coefficients"] = lambda ax: FixedEffectsDisplay.from_estimator(estimator, ax=ax)
    effects = random_effects(model)
    if effects:
        group = min(effects, key=lambda name: len(effects[name]) > _FEW_LEVELS)
        kind = "labelled" if len(effects[group]) <= _FEW_LEVELS else "ranked"
        parts["standard deviations"] = lambda ax: VarianceComponentsDisplay.from_estimator(
            estimator, ax=ax
        )
        parts[f"effects of {group}"] = lambda ax: RandomEffectsDisplay.from_estimator(
            estimator, group, kind=kind, ax=ax
        )
    return parts
