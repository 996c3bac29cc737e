"""Coefficients with their intervals: a forest plot."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import pandas as pd

from skmixed.design.basis import INTERCEPT, Basis
from skmixed.fitted_model import FittedModel
from skmixed.inspection.coefficient_questions import ASYMPTOTIC, CoefficientQuestions
from skmixed.inspection.displays.common import split_pipeline, with_transformed_data
from skmixed.inspection.displays.interval_rows import IntervalRowsDisplay, Panel
from skmixed.inspection.fixed_effects import fixed_effects_table
from skmixed.validation import check_choice, check_level

_TRANSFORMS = ("exp",)


class FixedEffectsDisplay(IntervalRowsDisplay):
    """Forest plot: coefficients with intervals.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    panels : sequence of Panel
        One per unit: differences between levels share a panel, and each numeric column has its own
        panel. Ratios (``transform="exp"``) have no unit and share a panel.
    reference : float, default=0.0
        Position of the line of no effect: 0, or 1 for ratios.
    log_scale : bool, default=False
        Whether the axis is logarithmic.

    Attributes
    ----------
    panels, reference, log_scale
        As given.
    ax_ : matplotlib Axes, or ndarray of them
        One per unit.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    AverageEffectsDisplay : Effects on the scale of the response.

    Examples
    --------
    >>> from skmixed import mixed
    >>> from skmixed.datasets import load_cbpp
    >>> from skmixed.inspection import FixedEffectsDisplay
    >>> frame = load_cbpp().frame.eval("healthy = size - incidence")
    >>> model = mixed("cbind(incidence, healthy) ~ period + (1 | herd)", frame, family="binomial")
    >>> display = FixedEffectsDisplay.from_estimator(model, transform="exp")
    >>> display.panels[0].table.index.tolist()
    ['period[2]', 'period[3]', 'period[4]']
    >>> display.panels[0].xlabel
    'odds ratio, 95 % interval'
    """

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        transform: str | None = None,
        intercept: bool = False,
        ddf: str = ASYMPTOTIC,
        level: float = 0.95,
        ax: Any = None,
        point_kwargs: Mapping[str, Any] | None = None,
        interval_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Plot the coefficients of a fitted model.

        Parameters
        ----------
        estimator : estimator
            Fitted mixed model, or a pipeline that ends in one.
        X, y : array-like, default=None
            The data of the fit, if the model did not keep them and `ddf` is not "asymptotic".
        transform : {None, "exp"}, default=None
            "exp": exponentials of the coefficients on a logarithmic axis, such as odds ratios.
        intercept : bool, default=False
            Whether the intercept is shown.
        ddf : {"asymptotic", "satterthwaite", "kenward-roger"}, default="asymptotic"
            Degrees of freedom of the intervals.
        level : float, default=0.95
            Probability of the intervals.
        ax, point_kwargs, interval_kwargs, line_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : FixedEffectsDisplay
            With the plot.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If there is no coefficient to show.
        """
        if transform is not None:
            check_choice("transform", transform, _TRANSFORMS)
        check_level(level)
        model, data = _model_and_data(estimator, X, y, ddf)
        tests = CoefficientQuestions.of(model, data, ddf, f"ddf={ddf!r}").tests
        is_ratio = transform == "exp"
        t = None if ddf == ASYMPTOTIC else tests
        table = fixed_effects_table(model, level, None, t, exponentiate=is_ratio)
        units = units_of_coefficients(model.encoder.fixed)
        shown = [name for name in table.index if intercept or name != INTERCEPT]
        if not shown:
            raise ValueError("The model has no coefficient to show except the intercept.")
        name = model.likelihood.ratio if is_ratio else "coefficient"
        xlabel = f"{name}, {100 * level:g} % interval"
        panels = _panels(table.loc[shown], {} if is_ratio else units, xlabel)
        display = cls(panels, reference=float(is_ratio), log_scale=is_ratio)
        return display.plot(
            ax, point_kwargs=point_kwargs, interval_kwargs=interval_kwargs, line_kwargs=line_kwargs
        )


def _model_and_data(estimator: Any, X: Any, y: Any, ddf: str) -> tuple[FittedModel, Any]:
    """The mixed model, and its training data where degrees of freedom need them."""
    if ddf == ASYMPTOTIC:
        return split_pipeline(estimator)[0], None
    model, _, data = with_transformed_data(estimator, X, y)
    return model, data


def units_of_coefficients(basis: Basis) -> dict[str, str]:
    """The numeric columns of every coefficient, ``"age x dose"``; empty for levels alone."""
    units = {INTERCEPT: ""}
    for term, (first, stop) in zip(basis.terms, basis.slices[int(basis.intercept) :], strict=True):
        numeric = [basis.variables[coded.position] for coded in term]
        unit = " x ".join(v.variable.label for v in numeric if not v.categorical)
        units |= {name: unit for name in basis.names[first:stop]}
    return units


def _panels(table: pd.DataFrame, units: Mapping[str, str], xlabel: str) -> list[Panel]:
    """Panels by unit: differences between levels first, then in the order of the model."""
    found: dict[str, list[str]] = {"": []}
    for name in table.index:
        found.setdefault(units.get(name, ""), []).append(name)
    return [
        Panel(table.loc[names], f"{xlabel}, per unit of {unit}" if unit else xlabel)
        for unit, names in found.items()
        if names
    ]
