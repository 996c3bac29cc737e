"""Means of the response at levels of some columns, over equal weights of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skmixed.fitted_model import FittedModel, fitted_model
from skmixed.inspection.answer import Answer
from skmixed.inspection.coefficient_questions import DDF, CoefficientQuestions
from skmixed.inspection.displays.effect_curves import EffectCurvesDisplay
from skmixed.inspection.displays.mean_points import MarginalMeansDisplay
from skmixed.inspection.reference_grid import ReferenceGrid
from skmixed.inspection.structure import modelled_class
from skmixed.validation import check_choice, check_level

_WEIGHTS = ("equal", "proportional")
_SCALES = ("response", "link")
_RANDOM_EFFECTS = ("averaged", "zero")
_INTERVAL = ("estimate", "std_error", "df", "lower", "upper")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class MarginalMeans(Answer):
    """Marginal means, and what contrasts of them need.

    Attributes
    ----------
    questions : CoefficientQuestions
    L : ndarray (k, p)
        The coefficients' weights of every mean, on the scale of the linear predictor.
    cells : DataFrame
        Values of the columns of every mean, k rows.
    terms, by : tuple
        Columns whose values are compared, and within whose values.
    level : float
        Probability of the intervals.
    estimable : ndarray (k,)
        Whether the data tell about a mean.
    constant : float
        What is added to every linear predictor: the mean offset.
    label : str
        What an estimate is, for an axis.
    numeric : tuple
        Those of `terms` and `by` that are columns of numbers.
    """

    questions: CoefficientQuestions
    L: np.ndarray
    cells: pd.DataFrame
    terms: tuple[Any, ...]
    by: tuple[Any, ...]
    level: float
    estimable: np.ndarray
    constant: float
    label: str
    numeric: tuple[Any, ...]

    @property
    def contrast_label(self) -> str:
        """What a contrast is, for an axis; contrasts are on the scale of the linear predictor."""
        return f"contrast, {'linear predictor' if 'Scale' in self.facts else self.label}"

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw means with intervals, or curves with bands along a numeric column.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        **options
            Of `~skmixed.inspection.MarginalMeansDisplay.plot`, or of
            `~skmixed.inspection.EffectCurvesDisplay.plot` where the first term is a column of
            numbers at several values.

        Returns
        -------
        display : MarginalMeansDisplay or EffectCurvesDisplay
            With `ax_` and `figure_`.
        """
        first = self.terms[0]
        if first in self.numeric and self.cells[first].nunique() > 1:
            return EffectCurvesDisplay.from_means(self, ax=ax, **options)
        return MarginalMeansDisplay.from_means(self, ax=ax, **options)


def marginal_means(
    model: Any,
    terms: Any,
    X: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    *,
    by: Any = None,
    at: Mapping[Any, Any] | None = None,
    weights: str = "equal",
    ddf: str = "satterthwaite",
    level: float = 0.95,
    scale: str = "response",
    slope_of: Any = None,
    random_effects: str = "averaged",
) -> MarginalMeans:
    """Estimate marginal means at levels of some columns.

    These are predictions of the fixed effects on a grid of all levels, with numeric columns at
    their means, averaged over all other columns. They do not depend on the numbers of rows per
    cell, and are also called estimated marginal means or least squares means [1]_.

    Parameters
    ----------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        A fitted model. A classifier must have two classes; means are probabilities of the modelled
        class.
    terms : column or list of columns
        Columns with one mean per level; several columns: all combinations.
    X, y, sample_weight : array-like, default=None
        The data of the fit, if the model did not keep them.
    by : column or list of columns, default=None
        Further columns, within whose levels `contrasts` compares.
    at : dict of {column: value or list of values}, default=None
        Values of columns in the grid, instead of all levels or the mean of a numeric column.
    weights : {"equal", "proportional"}, default="equal"
        Weights of the levels of other columns: equal, or by their frequency.
    ddf : {"satterthwaite", "kenward-roger", "asymptotic"}, default="satterthwaite"
        Degrees of freedom; see `anova`.
    level : float, default=0.95
        Probability of the intervals.
    scale : {"response", "link"}, default="response"
        Scale of the means if the response is not normal: the response, or the linear predictor.
    slope_of : column, default=None
        A numeric column. Estimate its slope per cell instead of means.
    random_effects : {"averaged", "zero"}, default="averaged"
        For responses that are not normal. "averaged": average over groups, whose effects have the
        mean variance of the rows. "zero": a group with effects 0.

    Returns
    -------
    means : MarginalMeans
        Prints as text, shows as HTML, and has ``.to_frame()``: one row per cell with the columns
        `terms` and `by`, estimate, std_error, df, lower and upper; for slopes also statistic and
        p_value. NaN if a mean cannot be estimated, because cells have no rows.

    Raises
    ------
    ValueError
        If a column is not a fixed effect, a level does not exist, or the data are
        missing or not those of the fit.

    See Also
    --------
    contrasts : Compare these means.

    References
    ----------
    .. [1] Searle, Speed and Milliken (1980), "Population marginal means in the linear model:
       an alternative to least squares means", The American Statistician 34.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmixed import marginal_means, mixed
    >>> from skmixed.datasets import load_insteval
    >>> frame = load_insteval().frame.head(2000).astype({"service": str})
    >>> model = mixed("y ~ service + (1 | d)", frame)
    >>> marginal_means(model, "service").to_frame()["service"].tolist()
    ['0', '1']
    """
    check_level(level)
    check_choice("weights", weights, _WEIGHTS)
    check_choice("ddf", ddf, DDF)
    check_choice("scale", scale, _SCALES)
    check_choice("random_effects", random_effects, _RANDOM_EFFECTS)
    fitted = fitted_model(model)
    _refuse_ordered(fitted)
    named, within = as_columns(terms), as_columns(by)
    data = fitted.training_data(X, y, sample_weight, "marginal_means()")
    table, case_weights = fitted.table_of_fit(data)
    grid = ReferenceGrid.of(fitted.encoder.fixed, table, case_weights, at)
    grid.check(named, "terms=")
    grid.check(within, "by=")
    columns = [*named, *within]
    if slope_of is None:
        L = grid.means(columns, weights)
    else:
        grid.check([slope_of], "slope_of=")
        L = grid.slopes(columns, weights, slope_of)
    cells = pd.DataFrame(grid.cells(columns), columns=columns, index=range(len(L)))
    questions = CoefficientQuestions.of(fitted, data, ddf, "marginal_means()")
    constant = 0.0
    if slope_of is None and fitted.encoder.offset_label is not None:
        offset = fitted.observe(data).design.offset
        constant = 0.0 if offset is None else float(np.average(offset, weights=case_weights))
    found = pd.DataFrame(questions.estimates(L, level))
    found[["estimate", "lower", "upper"]] += constant
    if slope_of is None:
        found = found[list(_INTERVAL)]
    facts = {"Degrees of freedom": questions.note or questions.ddf, "Interval": f"{level:.0%}"}
    if not fitted.likelihood.is_quadratic:
        on_link = scale == "link" or slope_of is not None
        facts["Scale"] = (
            "linear predictor" if on_link else f"response, random effects {random_effects}"
        )
        if not on_link:
            found = _on_response(fitted, found, random_effects)
    estimable = grid.is_estimable(L)
    found.loc[~estimable] = np.nan
    title = "Marginal means" if slope_of is None else f"Slopes of {slope_of}"
    notes = () if estimable.all() else ("Some cannot be estimated, because cells have no rows.",)
    return MarginalMeans(
        title, pd.concat([cells, found], axis=1), facts, notes,
        questions=questions, L=L, cells=cells, terms=tuple(named), by=tuple(within), level=level,
        estimable=estimable, constant=constant, label=_label(fitted, slope_of, facts),
        numeric=tuple(column for column in columns if not grid.is_categorical(column)),
    )  # fmt: skip


def _label(model: FittedModel, slope_of: Any, facts: Mapping[str, str]) -> str:
    """What a mean or a slope is."""
    if slope_of is not None:
        return f"slope of {slope_of}"
    if facts.get("Scale") == "linear predictor":
        return "linear predictor"
    return modelled_class(model) or f"mean of {model.response.label}"


def as_columns(columns: Any) -> list[Any]:
    """A column or several as a list; None is none."""
    if columns is None:
        return []
    if isinstance(columns, str) or not isinstance(columns, Sequence):
        return [columns]
    return list(columns)


def _refuse_ordered(model: FittedModel) -> None:
    if model.likelihood.is_ordered:
        raise ValueError(
            "marginal_means() describes one mean per cell, but ordered classes have one "
            "probability per class. Average predict_proba over the rows of a grid instead."
        )


def response_mean(model: FittedModel, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Expected response (k,) where the linear predictor has these means and variances."""
    return model.likelihood.expected_response(mean, variance, model.result.parameters)


def variance_between_groups(model: FittedModel) -> float:
    """Mean variance over the rows that random effects give the linear predictor."""
    return sum(float((f.covariance * f.moments).sum()) for f in model.result.factors)


def _on_response(model: FittedModel, found: pd.DataFrame, random_effects: str) -> pd.DataFrame:
    """Means and limits of linear predictors as responses; standard errors by the delta method."""
    between = variance_between_groups(model) if random_effects == "averaged" else 0.0
    variance = np.full(len(found), between)

    def response(column: str, shift: float = 0.0) -> np.ndarray:
        return response_mean(model, found[column].to_numpy() + shift, variance)

    step = 1e-5
    slope = (response("estimate", step) - response("estimate", -step)) / (2.0 * step)
    return found.assign(
        estimate=response("estimate"),
        std_error=np.abs(slope) * found["std_error"],
        lower=response("lower"),
        upper=response("upper"),
    )
