"""Fitted models for other packages, which are loaded when they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from skmixed.design.sources import take_rows
from skmixed.design.variables import CategoricalVariable
from skmixed.fitted_model import FittedModel, fitted_model
from skmixed.inspection.attributes import coefficients_of
from skmixed.inspection.average_effects import (
    RANDOM_EFFECTS,
    named_columns,
    population_rows,
)
from skmixed.inspection.mean_estimates import response_mean
from skmixed.validation import check_choice

__all__ = ["marginaleffects_model"]


def marginaleffects_model(
    model: Any, X: Any = None, y: Any = None, *, random_effects: str = "averaged"
) -> Any:
    """Wrap a fitted model for the functions of the package marginaleffects.

    ``avg_predictions``, ``avg_comparisons``, ``avg_slopes``, ``predictions``, ``comparisons``,
    ``slopes`` and ``datagrid`` of marginaleffects take what this returns. Its estimates are
    expected responses of new groups, and its standard errors come from the covariance of the
    coefficients by the delta method, with the variances known.

    Parameters
    ----------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        A fitted model. A classifier must have two classes.
    X : DataFrame of shape (n_samples, n_features), default=None
        The rows of the fit, if the model did not keep them.
    y : array-like of shape (n_samples,), default=None
        Their response.
    random_effects : {"averaged", "zero"}, default="averaged"
        "averaged": average over new groups, with effects from their estimated distribution. "zero":
        a group with effects 0 (``re.form = NA``).

    Returns
    -------
    adapter : marginaleffects.classes.ModelAbstract
        For the functions of marginaleffects. Labels become Enum columns, with levels in the order
        of the model.

    Raises
    ------
    ImportError
        If marginaleffects is not installed. It is licensed under the GPL, is not a dependency of
        this package, and is loaded by this function only.
    ValueError
        If the classes are ordered, X has no column names, or data are missing.

    See Also
    --------
    skmixed.marginal_effects : Average effects without another package.

    Examples
    --------
    With ``pip install "scikit-mixed[interop]"``::

        import marginaleffects

        adapter = marginaleffects_model(model)
        marginaleffects.avg_slopes(adapter, variables="age", by="sex")
        marginaleffects.avg_comparisons(adapter, variables={"dose": "pairwise"})

    What can be asked without the package:

    >>> from skmixed import marginal_effects, mixed
    >>> from skmixed.datasets import load_sleepstudy
    >>> model = mixed("Reaction ~ Days + (Days | Subject)", load_sleepstudy().frame)
    >>> marginal_effects(model, "Days").to_frame()["estimate"].round(2).tolist()
    [10.47]
    """
    check_choice("random_effects", random_effects, RANDOM_EFFECTS)
    fitted = fitted_model(model)
    if fitted.likelihood.is_ordered:
        raise ValueError(
            "marginaleffects_model() describes one expected response, but ordered classes have one "
            "probability per class. Compare predict_proba at two values instead."
        )
    classes = _load("marginaleffects.classes")
    frame = _frame(fitted, X, y)
    levels = _levels(fitted)
    fixed = coefficients_of(fitted)
    builder = _Rows(fitted, levels, random_effects)
    vault = classes.ModelVault(
        coef=np.asarray(fixed.estimates, dtype=float),
        coefnames=np.asarray(fixed.names),
        formula=builder.formula,
        modeldata=_polars(frame, levels),
        package="skmixed",
        vcov=np.asarray(fixed.covariance, dtype=float),
        variable_names=[fitted.response.label, *map(str, fitted.encoder.fixed.data_columns)],
    )

    class Adapter(classes.ModelAbstract):  # type: ignore[misc, name-defined]
        """A fitted model of skmixed with the methods that marginaleffects calls."""

        def get_exog(self, newdata: Any) -> np.ndarray:
            return builder.rows(newdata)

        def get_predict(self, params: np.ndarray, newdata: Any) -> Any:
            rows = newdata if isinstance(newdata, np.ndarray) else builder.rows(newdata)
            estimates = builder.expected(np.asarray(params, dtype=float), rows)
            polars = _load("polars")
            number = polars.Series("rowid", range(len(estimates)), dtype=polars.Int32)
            return polars.DataFrame({"rowid": number, "estimate": estimates})

        def get_vcov(self, vcov: Any = True) -> np.ndarray | None:
            if vcov is None or vcov is False:
                return None
            if vcov is not True:
                raise ValueError(
                    f"vcov={vcov!r} is not known; pass True, False, or a matrix, such as "
                    "robust_covariance(model, groups).cov.to_numpy()."
                )
            return self.vault.vcov  # type: ignore[no-any-return]

    return Adapter(model, vault)


class _Rows:
    """Rows of marginaleffects' data frames in the columns of a fit.

    Parameters
    ----------
    model : FittedModel
    levels : mapping of {str: dict}
        By column of labels, the label for each text.
    random_effects : {"averaged", "zero"}
    """

    def __init__(
        self, model: FittedModel, levels: Mapping[str, dict[str, Any]], random_effects: str
    ) -> None:
        self.model = model
        self.levels = levels
        self.random_effects = random_effects

    def rows(self, newdata: Any) -> np.ndarray:
        """Columns of the fixed effects, offset and variance of the groups, (n, p + 2).

        A row with a missing value is NaN: marginaleffects pads frames with such rows.
        """
        names = getattr(self.model.columns, "feature_names_in_", ())
        frame = newdata.select([name for name in newdata.columns if name in names]).to_pandas()
        complete = frame.notna().all(axis=1).to_numpy()
        used = frame[complete].reset_index(drop=True)
        for name, labels in self.levels.items():
            if name in used:
                used[name] = [labels.get(text, text) for text in used[name].astype(str)]
        p = len(coefficients_of(self.model).names)
        out = np.full((len(frame), p + 2), np.nan)
        if complete.any():
            columns, offset, variance = population_rows(self.model, used, self.random_effects)
            out[complete] = np.column_stack([columns, offset, variance])
        return out

    def expected(self, coefficients: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Expected responses (n,) of rows that `rows` made."""
        predictor = rows[:, :-2] @ coefficients + rows[:, -2]
        out = np.full(len(rows), np.nan)
        known = np.isfinite(predictor)
        out[known] = response_mean(self.model, predictor[known], rows[known, -1])
        return out

    def formula(self, newdata: Any) -> tuple[None, np.ndarray]:
        """What marginaleffects takes in place of a formula: no response, and the rows."""
        return None, self.rows(newdata)


def _load(name: str) -> Any:
    """A module of marginaleffects, or of what it depends on."""
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"marginaleffects_model() needs {name}, which is not installed; install "
            'it with: pip install "scikit-mixed[interop]"'
        ) from error


def _frame(model: FittedModel, X: Any, y: Any) -> pd.DataFrame:
    """The rows of the fit that counted, with the response."""
    data = model.training_data(X, y, None, "marginaleffects_model()")
    rows = named_columns(take_rows(data.X, data.used), "marginaleffects_model()")
    names = [name for name in rows.columns if isinstance(name, str)]
    frame = pd.DataFrame({name: np.asarray(rows[name]) for name in names})
    response = np.asarray(data.y)
    if response.ndim == 1:
        frame[model.response.label] = response[data.used]
    return frame


def _levels(model: FittedModel) -> dict[str, dict[str, Any]]:
    """By column of labels among the fixed effects, each label by its text, the reference first."""
    found: dict[str, dict[str, Any]] = {}
    for variable in model.encoder.fixed.variables:
        if isinstance(variable, CategoricalVariable):
            labels = variable.labels.index.tolist()
            labels.insert(0, labels.pop(variable.reference))
            found[str(variable.column)] = {str(label): label for label in labels}
    return found


def _polars(frame: pd.DataFrame, levels: Mapping[str, dict[str, Any]]) -> Any:
    """The frame in polars; labels, of groups too, as Enum columns."""
    polars = _load("polars")
    columns = {}
    for name in map(str, frame.columns):
        values = frame[name]
        if name in levels:
            kind = polars.Enum(list(levels[name]))
            columns[name] = polars.Series(name, values.astype(str).tolist(), dtype=kind)
        elif pd.api.types.is_numeric_dtype(values.dtype):
            columns[name] = polars.Series(name, values.to_numpy())
        else:
            texts = values.astype(str)
            kind = polars.Enum(list(dict.fromkeys(texts)))
            columns[name] = polars.Series(name, texts.tolist(), dtype=kind)
    return polars.DataFrame(columns)
