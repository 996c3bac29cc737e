"""Average effects of columns on the response, over the rows and the random effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skmixed.design.sources import readable, take_rows
from skmixed.design.variables import CategoricalVariable
from skmixed.fitted_model import FittedModel, fitted_model
from skmixed.inspection.answer import Answer
from skmixed.inspection.attributes import coefficients_of
from skmixed.inspection.displays.average_effect_rows import AverageEffectsDisplay
from skmixed.inspection.fixed_effects import interval_and_test
from skmixed.inspection.mean_estimates import as_columns, response_mean
from skmixed.validation import check_choice, check_level

RANDOM_EFFECTS = ("averaged", "zero")
_STEP = 1e-3
"""Step of a numeric derivative, in standard deviations of the column."""

_PREDICTOR_STEP = 1e-4


@dataclass(frozen=True, eq=False, repr=False)
class AverageEffects(Answer):
    """Average effects of columns on the expected response."""

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw the effects with intervals, one axis per unit.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        **options
            Of `~skmixed.inspection.AverageEffectsDisplay.plot`.

        Returns
        -------
        display : AverageEffectsDisplay
            With `ax_` and `figure_`.
        """
        return AverageEffectsDisplay.from_effects(self, ax=ax, **options)


@dataclass(frozen=True)
class _Comparison:
    """Two versions of a column, of whose mean responses the difference is taken.

    Attributes
    ----------
    column : object
    label : str
    upper, lower : object
        Values, or arrays (n,).
    distance : float
        What the difference is divided by.
    """

    column: Any
    label: str
    upper: Any
    lower: Any
    distance: float = 1.0


def marginal_effects(
    model: Any,
    columns: Any,
    X: Any = None,
    sample_weight: Any = None,
    *,
    random_effects: str = "averaged",
    level: float = 0.95,
) -> AverageEffects:
    r"""Average effects of columns on the expected response, over all rows.

    For a numeric column this is the mean derivative, for a column of 0 and 1 the mean difference
    between 1 and 0, and for labels the mean differences from the reference level. All other columns
    stay as they are.

    Parameters
    ----------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        A fitted model. A classifier must have two classes; the result is about the modelled class.
    columns : column or list of columns
        Columns of the fixed effects.
    X : DataFrame or array-like of shape (n_samples, n_features), default=None
        Rows to average over; None: those of the fit, if the model kept them.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of these rows.
    random_effects : {"averaged", "zero"}, default="averaged"
        "averaged": average over new groups, with effects from their estimated distribution. "zero":
        a group with effects 0.
    level : float, default=0.95
        Probability of the intervals.

    Returns
    -------
    answer : AverageEffects
        Prints as text, shows as HTML, and has ``.plot()`` and ``.to_frame()``: column, contrast,
        estimate, std_error (delta method, with the variances known), lower, upper, statistic and
        p_value.

    Raises
    ------
    ValueError
        If a column is not a fixed effect, or the classes are ordered.

    Examples
    --------
    >>> from skmixed import MixedEffectsVIClassifier, marginal_effects
    >>> from skmixed.datasets import make_mixed_classification
    >>> X, y, _ = make_mixed_classification(n_samples=500, groups=(20,), random_state=0)
    >>> model = MixedEffectsVIClassifier("g0").fit(X, y)
    >>> marginal_effects(model, "x0", X).to_frame()["contrast"].tolist()
    ['derivative']
    """
    check_choice("random_effects", random_effects, RANDOM_EFFECTS)
    check_level(level)
    fitted = fitted_model(model)
    if fitted.likelihood.is_ordered:
        raise ValueError(
            "marginal_effects() describes one expected response, but ordered classes have one "
            "probability per class. Compare predict_proba at two values instead."
        )
    rows, weights = _rows(fitted, X, sample_weight)
    coefficients = coefficients_of(fitted)
    found, gradients, comparisons = [], [], []
    for column in as_columns(columns):
        for comparison in _comparisons(fitted, rows, column, weights):
            estimate, gradient = _compare(fitted, rows, weights, comparison, random_effects)
            found.append(estimate)
            gradients.append(gradient)
            comparisons.append(comparison)
    G = np.array(gradients)
    errors = np.sqrt(np.maximum(np.einsum("kp,pq,kq->k", G, coefficients.covariance, G), 0.0))
    table = interval_and_test(np.array(found), errors, np.full(len(found), np.inf), level)
    del table["df"]
    named = {
        "column": [c.column for c in comparisons], "contrast": [c.label for c in comparisons],
    }  # fmt: skip
    facts = {"Random effects": random_effects, "Interval": f"{level:.0%}"}
    return AverageEffects("Average effects on the response", pd.DataFrame(named | table), facts)


def _rows(model: FittedModel, X: Any, sample_weight: Any) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows to average over as a frame, and their weights."""
    if X is None:
        data = model.training_data(None, None, None, "marginal_effects()")
        X, used = data.X, data.used
        all_weights = data.sample_weight
        X = take_rows(X, used)
        weights = np.ones(len(used)) if all_weights is None else np.asarray(all_weights)[used]
    else:
        weights = None if sample_weight is None else np.asarray(sample_weight, dtype=float)
    X = named_columns(X, "marginal_effects()")
    if isinstance(X, pd.DataFrame):
        frame = X.copy()
    else:
        frame = pd.DataFrame({name: np.asarray(X[name]) for name in X.columns})
    return frame, np.ones(len(frame)) if weights is None else weights


def named_columns(X: Any, asks: str) -> Any:
    """Rows with names of columns, for a function that changes columns by name."""
    rows = readable(X)
    if isinstance(rows, np.ndarray):
        raise ValueError(f"{asks} changes columns by name; fit and pass a data frame with names.")
    return rows


def _comparisons(
    model: FittedModel, rows: pd.DataFrame, column: Any, weights: np.ndarray
) -> Sequence[_Comparison]:
    """What the effect of a column compares."""
    basis = model.encoder.fixed
    basis.refuse_other_column(column)
    variables = [v for v in basis.variables if column in v.variable.columns]
    for variable in variables:
        if isinstance(variable, CategoricalVariable):
            levels = variable.labels.index.tolist()
            base = levels[variable.reference]
            return [
                _Comparison(column, f"{level} - {base}", level, base)
                for level in levels
                if level != base
            ]
    numbers = rows[column].to_numpy(dtype=float)
    if np.isin(numbers, (0.0, 1.0)).all():
        return [_Comparison(column, "1 - 0", 1.0, 0.0)]
    mean = np.average(numbers, weights=weights)
    step = _STEP * (float(np.sqrt(np.average((numbers - mean) ** 2, weights=weights))) or 1.0)
    return [_Comparison(column, "derivative", numbers + step, numbers - step, 2.0 * step)]


def _compare(
    model: FittedModel,
    rows: pd.DataFrame,
    weights: np.ndarray,
    comparison: _Comparison,
    random_effects: str,
) -> tuple[float, np.ndarray]:
    """The average difference, and its derivative by the published coefficients (p,)."""
    above = _mean_response(model, rows, weights, comparison, "upper", random_effects)
    below = _mean_response(model, rows, weights, comparison, "lower", random_effects)
    return (
        (above[0] - below[0]) / comparison.distance,
        (above[1] - below[1]) / comparison.distance,
    )


def _mean_response(
    model: FittedModel,
    rows: pd.DataFrame,
    weights: np.ndarray,
    comparison: _Comparison,
    end: str,
    random_effects: str,
) -> tuple[float, np.ndarray]:
    """Mean expected response with a column changed, and its derivative (p,)."""
    value = getattr(comparison, end)
    frame = rows.copy()
    if isinstance(frame[comparison.column].dtype, pd.CategoricalDtype):
        kind = frame[comparison.column].dtype
        frame[comparison.column] = pd.Categorical([value] * len(frame), dtype=kind)
    else:
        frame[comparison.column] = value
    columns, offset, variance = population_rows(model, frame, random_effects)
    predictor = columns @ coefficients_of(model).estimates + offset
    shares = weights / weights.sum()
    slope = response_mean(model, predictor + _PREDICTOR_STEP, variance)
    slope = (slope - response_mean(model, predictor - _PREDICTOR_STEP, variance)) / (
        2.0 * _PREDICTOR_STEP
    )
    value_at = float(shares @ response_mean(model, predictor, variance))
    return value_at, (shares * slope) @ columns


def population_rows(
    model: FittedModel, X: Any, random_effects: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns of the fixed effects, offsets, and the variance that new groups add, by row.

    Parameters
    ----------
    model : FittedModel
    X : DataFrame
        Rows (n). Of "zero" the grouping columns are not looked at, and the variance is 0.
    random_effects : {"averaged", "zero"}

    Returns
    -------
    columns, offset, variance : ndarray (n, p), (n,), (n,)
    """
    groups = model.encoder.factor_names if random_effects == "averaged" else ()
    design = model.table_and_design(X, groups, False)[1]
    offset = np.zeros(len(design.fixed)) if design.offset is None else design.offset
    variance = np.zeros(len(design.fixed))
    if random_effects == "averaged":
        for factor, fit in zip(design.factors, model.result.factors, strict=True):
            z = factor.loadings()
            variance += np.einsum("ij,jk,ik->i", z, fit.covariance, z)
    return design.fixed, offset, variance
