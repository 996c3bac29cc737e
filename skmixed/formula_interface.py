"""`mixed`: a model from a formula and a data frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, overload

import numpy as np
import pandas as pd

from skmixed.callbacks import with_callbacks
from skmixed.choices import FamilyOfClasses, FamilyOfNumbers, Missing
from skmixed.classifier import MixedEffectsVIClassifier
from skmixed.design import ComputedVariable, Table, learn_variable, strata_column, take_rows
from skmixed.distributed import is_distributed, refuse_distributed
from skmixed.families import family_names, known_as, traits
from skmixed.formula import FormulaError, parse_formula
from skmixed.formula.errors import quoted
from skmixed.mixed_arguments import (
    BY_ROW,
    by_row,
    check_order,
    refuse_foreign,
    weights_by_row,
)
from skmixed.persistence import unchanged_on_error
from skmixed.regressor import MixedEffectsVIRegressor
from skmixed.spec import ColumnKey, ModelSpec, Step, Variable
from skmixed.validation import check_choice


@overload
def mixed(
    formula: str,
    data: Any,
    *,
    family: FamilyOfNumbers = ...,
    missing: Missing = ...,
    sample_weight: Any = ...,
    weights: Any = ...,
    **parameters: Any,
) -> MixedEffectsVIRegressor: ...
@overload
def mixed(
    formula: str,
    data: Any,
    *,
    family: FamilyOfClasses,
    missing: Missing = ...,
    sample_weight: Any = ...,
    weights: Any = ...,
    **parameters: Any,
) -> MixedEffectsVIClassifier: ...
def mixed(
    formula: str,
    data: Any,
    *,
    missing: Missing = "raise",
    sample_weight: Any = None,
    weights: Any = None,
    **parameters: Any,
) -> MixedEffectsVIRegressor | MixedEffectsVIClassifier:
    """Fit a mixed-effects model given as a formula.

    Parameters
    ----------
    formula : str
        Response, ``~`` and right-hand side in lme4's notation: ``"y ~ 1 + service + (1 | s) + (1 |
        d)"``. It is parsed, never evaluated. Put names that are not plain words in backticks. With
        ``family="binomial"`` the response may be ``cbind(successes, failures)`` or
        ``successes/trials``.
    data : DataFrame
        The data, with the columns of the formula.
    missing : {"raise", "drop"}, default="raise"
        What to do with rows with missing values in columns of the model: raise an error, or drop
        them, as lme4 does.
    sample_weight : str, array-like of shape (n_rows,) or None, default=None
        Case weights, or the name of their column.
    weights : str, array-like of shape (n_rows,) or None, default=None
        For a binomial response that is a proportion: the numbers of trials, as in R. A column of
        `data` or an array.
    **parameters
        Parameters of the estimator, such as ``method="ml"``; ``offset`` and ``precision_weights``
        are columns or arrays. ``family`` chooses the estimator: "bernoulli" and "ordinal" are
        families of the classifier. Names of other software are understood: "binomial", "nb",
        "normal".

    Returns
    -------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        The fitted estimator. `predict` takes data frames with the columns of the model.

    Raises
    ------
    FormulaError
        If the formula is not valid; the message points at the place.
    ValueError
        If a column is not in `data` or cannot be used.

    Notes
    -----
    Successes out of trials are modelled as rows of two classes. `predict` then gives the
    probability of a success, and the log likelihood includes the binomial coefficients. Methods
    that take y, such as `diagnose`, take two columns, successes and failures.

    Examples
    --------
    >>> from skmixed import mixed
    >>> from skmixed.datasets import make_mixed_regression
    >>> X, y, _ = make_mixed_regression(n_samples=500, groups=(20, 10), random_state=0)
    >>> model = mixed("y ~ x0 + (1 | g0) + (1 | g1)", X.assign(y=y))
    >>> model.coef_names_
    ['x0']
    """
    check_order(formula, data)
    refuse_foreign(parameters)
    check_choice("missing", missing, ("raise", "drop"))
    try:
        spec = parse_formula(formula)
    except FormulaError as error:
        # without the frames of the parser: the message shows the place
        raise error.with_traceback(None) from None
    _refuse_distributed(data, formula, spec, parameters)
    asked = spec.response
    if asked is None:
        raise FormulaError("the formula names no response; write it as 'y ~ ...'", formula, 0)
    table = Table.from_input(data)
    if "family" in parameters:
        parameters["family"] = known_as(parameters["family"]) or parameters["family"]
    frame = _columns_of_model(table, spec, parameters)
    if isinstance(data, pd.DataFrame):
        # rows_ names the rows that were used as the user's frame does
        frame.index = data.index
    sample_weight = weights_by_row(table, sample_weight)
    weights = _numbers_of_trials(table, weights)
    if missing == "drop":
        kept = _complete_rows(table, frame, asked, weights)
        if not kept.all():
            frame, table = frame[kept], Table.from_input(take_rows(data, np.flatnonzero(kept)))
            weights = None if weights is None else weights[kept]
            sample_weight = None if sample_weight is None else sample_weight[kept]
    classes = parameters.get("family") in family_names(is_classifier=True)
    takes_trials = traits(parameters.get("family")).takes_trials
    trials = _trials_of(table, asked, weights, takes_trials=takes_trials)
    response = _response_of(table, asked, classes) if trials is None else trials
    if trials is not None:
        spec = replace(spec, is_trials=True)
        # a set without trials says nothing
        kept = np.asarray(trials.any(axis=1))
        if not kept.all():
            frame, response = frame[kept], trials[kept]
            sample_weight = None if sample_weight is None else sample_weight[kept]
    estimator = MixedEffectsVIClassifier if classes else MixedEffectsVIRegressor
    # without its left side the model of a clone would silently be one of another response
    is_column = not (asked.functions or asked.steps or trials is not None)
    right = formula.split("~", 1)[1] if is_column else formula
    parameters.setdefault("keep_data", True)
    model = estimator(formula=right.strip(), **parameters)
    with unchanged_on_error(model):
        # as `fit` does, whose traces a stored model must not have
        return with_callbacks(estimator._fit)(model, frame, response, sample_weight, spec)  # type: ignore[no-any-return]


def _complete_rows(
    table: Table, frame: pd.DataFrame, response: Variable, weights: np.ndarray | None
) -> np.ndarray:
    """Rows that miss nothing the model needs."""
    absent: dict[ColumnKey, np.ndarray] = {
        column: frame[column].isna().to_numpy() for column in frame.columns
    }
    for column in map(table.label, response.columns):
        absent[column] = np.asarray(pd.isna(table.ids(column)))
    if weights is not None:
        absent["weights"] = np.isnan(weights)
    complete = ~np.logical_or.reduce(list(absent.values()))
    if not complete.any():
        column = max(absent, key=lambda name: absent[name].sum())
        raise ValueError(
            f"missing='drop' leaves no row (0 non-NA cases): column {column!r} has "
            f"{int(absent[column].sum())} missing values in {table.n_rows} rows; fill it, or "
            "remove it from the formula."
        )
    return np.asarray(complete)


def _columns_of_model(table: Table, spec: ModelSpec, parameters: dict[str, Any]) -> pd.DataFrame:
    """The columns of the right side, of offset and of precision weights."""
    variables = [v for term in spec.fixed.terms for v in term]
    variables += [v for bar in spec.random for term in bar.effects.terms for v in term]
    variables += spec.offsets
    used = [column for variable in variables for column in variable.columns]
    used += [column for bar in spec.random for column in bar.group]
    arrays = {}
    for key in BY_ROW:
        if parameters.get(key) is not None:
            # the estimator sees other columns, where a position would mean another one
            parameters[key], values = by_row(table, key, parameters[key])
            if values is None:
                used.append(parameters[key])
            else:
                arrays[parameters[key]] = values
    if parameters.get("dispersion") is not None:
        used.append(strata_column(table, parameters["dispersion"]))
    columns = list(dict.fromkeys(table.label(name) for name in used))
    frame = pd.DataFrame({column: table.ids(column) for column in columns} | arrays)
    frame.index = pd.RangeIndex(table.n_rows)
    return frame


def _response_of(table: Table, variable: Variable, classes: bool) -> Any:
    """What `fit` takes as y: a column, classes, or a frame of the columns that are computed."""
    if not classes:
        values = [table.numeric(column) for column in variable.columns]
        if len(values) == 1:
            return values[0]
        labels = [table.label(column) for column in variable.columns]
        return pd.DataFrame(dict(zip(labels, values, strict=True)))
    if variable.functions or variable.steps:
        return _computed(table, variable)
    return table.ids(table.label(variable.name))


def _trials_of(
    table: Table, variable: Variable, weights: np.ndarray | None, *, takes_trials: bool
) -> np.ndarray | None:
    """Successes and failures (n_rows, 2); None for other responses."""
    last = next((step.name for step in variable.steps[::-1] if step.name != "I"), "")
    if not takes_trials:
        if weights is not None:
            raise ValueError(
                "weights= are the numbers of trials of proportions, with family='binomial'. Use "
                "precision_weights='w' for weights that divide the noise variance (as in lmer), "
                "or sample_weight= for weights that count rows."
            )
        if last == "cbind":
            raise ValueError(
                f"The response {quoted(variable.label)} counts successes and failures; use "
                "family='binomial', or name one column before '~'."
            )
        return None
    if weights is not None:
        if last == "cbind":
            raise ValueError(
                f"The response {quoted(variable.label)} already has the numbers of trials; leave "
                "out weights=. Use sample_weight= for weights that count rows."
            )
        values = _proportions(table, variable, weights > 0.0)
        if bool(((values < 0.0) | (values > 1.0)).any()):
            raise ValueError(
                f"With weights= the response {quoted(variable.label)} must be a share of "
                f"successes, but it ranges from {values.min():.6g} to {values.max():.6g}. For "
                "numbers of successes write cbind(successes, failures) ~ ..."
            )
        return np.column_stack([values * weights, (1.0 - values) * weights])
    if last == "cbind":
        return np.column_stack(_stack(table, variable.steps)[-1])
    if last != "/":
        return None
    stop = max(i for i, step in enumerate(variable.steps) if step.name == "/")
    (successes,), (trials,) = _stack(table, variable.steps[:stop])
    return np.column_stack([successes, trials - successes])


def _stack(table: Table, steps: tuple[Step, ...]) -> list[list[np.ndarray]]:
    """What a computation leaves on the stack."""
    return ComputedVariable.learn(Variable("", steps=steps), table).stack(table)


def _computed(table: Table, variable: Variable) -> np.ndarray:
    """Values of a variable that is a number."""
    return learn_variable(variable, table).columns(table, full=False)[0]


def _proportions(table: Table, variable: Variable, has_trials: np.ndarray) -> np.ndarray:
    """Shares of successes; 0 where there are no trials."""
    columns = {name: table.numeric(name)[has_trials] for name in variable.columns}
    shares = np.zeros(len(has_trials))
    if has_trials.any():
        shares[has_trials] = _computed(Table.from_input(pd.DataFrame(columns)), variable)
    return shares


def _numbers_of_trials(table: Table, weights: Any) -> np.ndarray | None:
    """What `weights` names or holds, as numbers (n_rows,)."""
    if weights is None:
        return None
    if isinstance(weights, (str, int)):
        return table.numeric(weights)
    numbers = np.asarray(weights)
    if numbers.shape != (table.n_rows,) or numbers.dtype.kind not in "iuf":
        raise ValueError(
            f"weights must be the name of a column or {table.n_rows} numbers, one per row; its "
            f"shape is {numbers.shape} and its type {numbers.dtype}."
        )
    return numbers.astype(np.float64)


def _refuse_distributed(
    data: Any, formula: str, spec: ModelSpec, parameters: Mapping[str, Any]
) -> None:
    """Raise for a Dask data frame, with the call that fits it."""
    if not is_distributed(data):
        return
    family = parameters.get("family", "gaussian")
    family = known_as(family) or family
    if not traits(family).is_quadratic:
        refuse_distributed(data, family)
    y, function = "data['y']", ""
    if spec.response is not None:
        y = f"data[{spec.response.name!r}]"
        if spec.response.functions:
            function = f", with the values of {spec.response.label} in the place of {y}"
    right = formula.split("~", 1)[-1].strip()
    raise TypeError(
        "mixed needs a data frame in memory, but data is a Dask data frame. The estimator reads "
        f"its partitions: MixedEffectsVIRegressor(formula={right!r}).fit(data, {y})"
        f"{function}. Or pass data.compute(), if it fits into memory."
    )
