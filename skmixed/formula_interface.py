"""`mixed`: a model from a formula and a data frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from skmixed.classifier import MixedEffectsVIClassifier
from skmixed.design import Table
from skmixed.distributed import is_distributed, refuse_distributed
from skmixed.formula import FormulaError, parse_formula
from skmixed.likelihoods import family_names, known_as
from skmixed.persistence import unchanged_on_error
from skmixed.regressor import MixedEffectsVIRegressor
from skmixed.spec import ModelSpec
from skmixed.validation import check_case_weights, check_choice


def mixed(
    formula: str,
    data: Any,
    *,
    missing: str = "raise",
    sample_weight: Any = None,
    **parameters: Any,
) -> MixedEffectsVIRegressor | MixedEffectsVIClassifier:
    """Fit a mixed-effects model given as a formula.

    Parameters
    ----------
    formula : str
        Response, ``~`` and right-hand side in lme4's notation:
        ``"y ~ 1 + service + (1 | s) + (1 | d)"``. It is parsed, never evaluated;
        a name that is not a plain word goes into backticks.
    data : DataFrame
        Has the columns that the formula names.
    missing : {"raise", "drop"}, default="raise"
        What to do with rows that miss a value the model needs: raise an error,
        or fit without them, as lme4 does.
    sample_weight : array-like of shape (n_rows,) or None, default=None
        Case weights.
    **parameters
        Parameters of the estimator, such as ``method="ml"``. ``family`` decides which
        one it is: "bernoulli" and "ordinal" are families of the classifier. Names from
        elsewhere are understood: "binomial", "nb", "normal".

    Returns
    -------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        The fitted estimator; `predict` picks the columns it needs out of a data
        frame.

    Raises
    ------
    FormulaError
        When the formula is not in the language; the message points at the place.
    ValueError
        When a column is not in `data` or cannot be used.

    Examples
    --------
    >>> from skmixed import mixed
    >>> from skmixed.datasets import make_mixed_regression
    >>> X, y, _ = make_mixed_regression(n_samples=500, groups=(20, 10), random_state=0)
    >>> model = mixed("y ~ x0 + (1 | g0) + (1 | g1)", X.assign(y=y))
    >>> model.coef_names_
    ['x0']
    """
    check_choice("missing", missing, ("raise", "drop"))
    spec = parse_formula(formula)
    _refuse_distributed(data, formula, spec, parameters)
    if spec.response is None:
        raise FormulaError("the formula names no response; write it as 'y ~ ...'", formula, 0)
    table = Table.from_input(data)
    response_column = table.label(spec.response.name)
    variables = [v for term in spec.fixed.terms for v in term]
    variables += [v for bar in spec.random for term in bar.effects.terms for v in term]
    used = [variable.name for variable in variables]
    used += [column for bar in spec.random for column in bar.group]
    for key in ("offset", "precision_weights"):
        if parameters.get(key) is not None:
            # the estimator sees other columns, where a position would mean another one
            parameters[key] = table.label(parameters[key])
            used.append(parameters[key])
    columns = list(dict.fromkeys(table.label(name) for name in used))
    frame = pd.DataFrame({column: table.ids(column) for column in columns})
    # rows_ names the rows that were used as the user's frame does
    frame.index = data.index if isinstance(data, pd.DataFrame) else pd.RangeIndex(table.n_rows)
    if "family" in parameters:
        parameters["family"] = known_as(parameters["family"]) or parameters["family"]
    classes = parameters.get("family") in family_names(is_classifier=True)
    response = table.ids(response_column) if classes else table.numeric(response_column)
    if missing == "drop":
        absent = np.asarray(pd.isna(response))
        complete = ~(frame.isna().any(axis=1).to_numpy() | absent)
        if not complete.any():
            emptiest = frame.isna().sum().to_dict() | {response_column: absent.sum()}
            column = max(emptiest, key=lambda name: emptiest[name])
            raise ValueError(
                f"missing='drop' leaves no row (0 non-NA cases): column {column!r} misses "
                f"{emptiest[column]} of {table.n_rows} values; fill it or take it out of the "
                "formula."
            )
        frame, response = frame[complete], response[complete]
        if sample_weight is not None:
            sample_weight = check_case_weights(sample_weight, table.n_rows)[complete]
    parameters.setdefault("keep_data", True)
    estimator = MixedEffectsVIClassifier if classes else MixedEffectsVIRegressor
    # without its function the model of a clone would silently be one of another response
    transformed = bool(spec.response.functions) and not classes
    right = formula if transformed else formula.split("~", 1)[1]
    model = estimator(formula=right.strip(), **parameters)
    with unchanged_on_error(model):
        return model._fit(frame, response, sample_weight, spec)


def _refuse_distributed(
    data: Any, formula: str, spec: ModelSpec, parameters: Mapping[str, Any]
) -> None:
    """Raise for a Dask data frame, with the call that fits it."""
    if not is_distributed(data):
        return
    family = parameters.get("family", "gaussian")
    family = known_as(family) or family
    if family != "gaussian":
        refuse_distributed(data, family)
    y, function = "data['y']", ""
    if spec.response is not None:
        y = f"data[{spec.response.name!r}]"
        if spec.response.functions:
            function = f", with the numbers of {spec.response.label} in the place of {y}"
    right = formula.split("~", 1)[-1].strip()
    raise TypeError(
        "mixed needs a data frame in memory, and data is one of Dask. The estimator reads it "
        f"partition by partition: MixedEffectsVIRegressor(formula={right!r}).fit(data, {y})"
        f"{function}. Or pass data.compute(), where it fits into memory."
    )
