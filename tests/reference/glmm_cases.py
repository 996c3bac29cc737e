"""Published models of classes and counts with checked targets: how to read and fit them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from cases import DATA
from scipy.special import gammaln

from skmixed import mixed

FAMILY = {"binomial": "bernoulli", "poisson": "poisson"}


@dataclass(frozen=True)
class CaseData:
    """A case as the estimators take it.

    Attributes
    ----------
    frame : DataFrame
    formula : str
    weights : ndarray or None
        Case weights.
    constant : float
        Log binomial coefficients, which a model of single trials does not have.
    """

    frame: pd.DataFrame
    formula: str
    weights: np.ndarray | None
    constant: float


def load_json(name: str) -> dict[str, dict[str, Any]]:
    """Entries of a file beside the data, by id."""
    return {entry["id"]: entry for entry in json.loads((DATA / name).read_text())}


def load_glmm_cases() -> dict[str, dict[str, Any]]:
    """All cases of classes and counts by id."""
    return load_json("glmm_cases.json")


def case_groups(case: dict[str, Any]) -> list[str]:
    """Groups of the random terms as the formula has them, ``"lattice:plot"`` in one piece."""
    return [group.strip() for group in re.findall(r"\|([^)]+)\)", case["formula_lme4"])]


def load_case(case: dict[str, Any]) -> CaseData:
    """Data of a case: factors as categories in R's order, group labels as text."""
    columns = {column for group in case_groups(case) for column in group.split(":")}
    frame = pd.read_csv(DATA / case["dataset"], dtype={column: str for column in columns})
    for name, levels in case.get("factor_levels", {}).items():
        frame[name] = pd.Categorical(frame[name].astype(str), categories=levels)
    formula = case["formula_lme4"]
    if case["dataset"] == "cbpp.csv.gz":
        frame["prop"] = frame["incidence"] / frame["size"]
    response = formula.split("~")[0].strip()
    if isinstance(frame[response].dtype, pd.CategoricalDtype):
        # the first level of R's factor is a failure
        frame[response] = frame[response].cat.codes
    if "weights" not in case:
        return CaseData(frame, formula, None, 0.0)
    weights = frame[case["weights"]].to_numpy(float)
    if case["family"] == "poisson":
        return CaseData(frame, formula, weights, 0.0)
    return _single_trials(frame, formula, response, weights)


def _single_trials(
    frame: pd.DataFrame, formula: str, response: str, trials: np.ndarray
) -> CaseData:
    """A share of trials as a row of successes and a row of failures, weighted by their numbers."""
    successes = (frame[response] * trials).round().to_numpy()
    failures = trials - successes
    constant = gammaln(trials + 1) - gammaln(successes + 1) - gammaln(failures + 1)
    both = pd.concat([frame.assign(**{response: 1}), frame.assign(**{response: 0})])
    weights = np.concatenate([successes, failures])
    return CaseData(both.reset_index(drop=True), formula, weights, float(constant.sum()))


def fit_glmm(case: dict[str, Any], data: CaseData | None = None, **parameters: Any) -> Any:
    """Fit a case; by default its fixed effects are points, as in the targets."""
    data = load_case(case) if data is None else data
    if case["family"] == "binomial":
        parameters = {"link": case["link"]} | parameters
    return mixed(
        data.formula,
        data.frame,
        sample_weight=data.weights,
        offset=case.get("offset"),
        family=FAMILY[case["family"]],
        **({"method": "ml"} | parameters),
    )


def coefficients(model: Any) -> pd.Series:
    """Estimates of the fixed effects, the intercept first, by our names."""
    names = list(model.coef_names_)
    if len(model.coef_cov_) == len(names):
        return pd.Series(model.coef_, index=names)
    return pd.Series([model.intercept_, *model.coef_], index=["Intercept", *names])


def standard_errors(model: Any) -> pd.Series:
    """Their standard errors."""
    return pd.Series(np.sqrt(np.diagonal(model.coef_cov_)), index=coefficients(model).index)


def by_our_names(values: dict[str, float], columns: pd.DataFrame) -> pd.Series:
    """R's coefficients under our names; `columns` has the data of the model."""
    return pd.Series({_our_name(name, columns): value for name, value in values.items()})


def _our_name(name: str, columns: pd.DataFrame) -> str:
    if name == "(Intercept)":
        return "Intercept"
    factors = [c for c in columns if not pd.api.types.is_numeric_dtype(columns[c])]
    parts = []
    for part in name.split(":"):
        # a numeric column may be called like a factor and one of its levels
        named = [] if part in columns else [f for f in factors if part.startswith(f)]
        factor = next(iter(named), None)
        parts.append(part if factor is None else f"{factor}[{part[len(factor) :]}]")
    return ":".join(parts)


def target_sds(optimum: dict[str, Any], case: dict[str, Any]) -> dict[str, float]:
    """Standard deviations of the random intercepts of a variational target, by group."""
    if "sd_group" in optimum:
        return {case_groups(case)[0]: optimum["sd_group"]}
    return dict(optimum["sd"])


def sd_of(model: Any, group: str) -> float:
    """Our standard deviation of a random intercept."""
    return float(np.sqrt(model.random_effects_cov_[group].iloc[0, 0]))
