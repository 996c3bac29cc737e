"""Fitted models side by side, all that a report shows in one table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from skmixed.fitted_model import FittedModel, named_models
from skmixed.inspection.attributes import components
from skmixed.inspection.criteria import information_criteria
from skmixed.inspection.fixed_effects import fixed_effects_table
from skmixed.inspection.variance_shares import icc


def model_table(*models: Any, names: Sequence[str] | None = None) -> pd.DataFrame:
    """Show coefficients, standard deviations and criteria of several models in one table.

    Parameters
    ----------
    *models : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        Fitted models, of any data.
    names : sequence of str, default=None
        Names of the models; None: "model 1", "model 2", ...

    Returns
    -------
    table : DataFrame
        Rows by part and name: coefficients ("fixed"), standard deviations ("sd") and correlations
        ("corr") of random effects and noise, and of the fit ("fit") the rows, levels of groups, the
        intraclass correlation, log likelihood, AIC and BIC. Columns by model: estimate and
        std_error. NaN if a model has no such row. Export it with ``to_latex`` and ``to_markdown``
        of pandas.

    Raises
    ------
    ValueError
        If no model is passed, or the number of names is wrong.

    Examples
    --------
    >>> from skmixed import mixed
    >>> from skmixed.datasets import load_sleepstudy
    >>> from skmixed.inspection import model_table
    >>> frame = load_sleepstudy().frame
    >>> one = mixed("Reaction ~ Days + (1 | Subject)", frame)
    >>> two = mixed("Reaction ~ Days + (Days | Subject)", frame)
    >>> table = model_table(one, two, names=["intercepts", "slopes"])
    >>> table.loc[("fixed", "Days"), ("slopes", "estimate")].round(2)
    np.float64(10.47)
    """
    parts = {name: _column(model) for name, model in named_models(models, names).items()}
    rows: dict[tuple[str, str], None] = {}
    for part in ("fixed", "sd", "corr", "fit"):
        for column in parts.values():
            rows |= {key: None for key in column.index if key[0] == part}
    index = pd.MultiIndex.from_tuples(list(rows), names=["part", "name"])
    return pd.concat({name: column.reindex(index) for name, column in parts.items()}, axis=1)


def _column(model: FittedModel) -> pd.DataFrame:
    """Estimate and standard error of everything, by part and name."""
    values: dict[tuple[str, str], tuple[float, float]] = {}
    coefficients = fixed_effects_table(model, 0.95, None, None)
    for name, estimate, error in coefficients[["estimate", "std_error"]].itertuples():
        values["fixed", name] = estimate, error
    row: Any
    for row in components(model).itertuples(index=False):
        if row.term_2 is None:
            label = row.group if row.term_1 is None else f"{row.term_1} | {row.group}"
            values["sd", label] = row.sd, np.nan
        else:
            values["corr", f"{row.term_1}, {row.term_2} | {row.group}"] = row.corr, np.nan
    criteria = information_criteria(model)
    values["fit", "rows"] = model.result.n_observations, np.nan
    for factor in model.encoder.factors:
        values["fit", f"levels of {factor.name}"] = float(factor.levels.n_levels), np.nan
    if model.encoder.factors and not model.result.interpolates:
        values["fit", "icc"] = float(icc(model)["adjusted"].iloc[-1]), np.nan
    values["fit", "log likelihood"] = criteria.log_likelihood, np.nan
    values["fit", "AIC"] = criteria.aic, np.nan
    values["fit", "BIC"] = criteria.bic, np.nan
    return pd.DataFrame.from_dict(values, orient="index", columns=["estimate", "std_error"])
