"""Published models with checked targets: how to read them and fit them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skmixed import MixedEffectsVIRegressor, mixed
from skmixed.datasets import load_insteval

DATA = Path(__file__).parent / "data"


def load_cases() -> dict[str, dict[str, Any]]:
    """All Gaussian cases by id."""
    cases = json.loads((DATA / "gaussian_cases.json").read_text())
    return {case["id"]: case for case in cases}


def load_frame(case: dict[str, Any]) -> pd.DataFrame:
    """The data of a case, factors as categories in R's level order."""
    if case["dataset"] == "insteval":
        frame = load_insteval().frame
    else:
        frame = pd.read_csv(DATA / case["dataset"])
    for name, levels in case.get("factor_levels", {}).items():
        frame[name] = pd.Categorical(frame[name].astype(str), categories=levels)
    if case["id"].startswith("lagoon_confounded"):
        frame["habitat"] = pd.Categorical(frame["habitat"])
    return frame


def fit_case(case: dict[str, Any], **parameters: Any) -> MixedEffectsVIRegressor:
    """Fit a case with the library's defaults."""
    return mixed(
        case["formula_lme4"],
        load_frame(case),
        missing="drop",
        method=case["method"].lower(),
        precision_weights=case.get("weights"),
        offset=case.get("offset"),
        **parameters,
    )


def our_name(name: str, case: dict[str, Any]) -> str:
    """Our name of a coefficient that R calls `name`."""
    if name == "(Intercept)":
        return "Intercept"
    factors = set(case.get("factor_levels", {})) | {"rep", "service", "seq", "per", "trt"}
    factors |= {"formulation", "sequence", "period", "lagoon", "habitat"}
    for factor in sorted(factors, key=len, reverse=True):
        if name.startswith(factor) and len(name) > len(factor):
            return f"{factor}[{name[len(factor) :]}]"
    return name


def estimates(model: MixedEffectsVIRegressor) -> pd.DataFrame:
    """Estimate and standard error of every fixed effect."""
    return model.summary().to_frame()[["estimate", "std_error"]]


def target_coefficients(case: dict[str, Any]) -> pd.DataFrame:
    """Target estimate and standard error of every fixed effect, under our names."""
    target = case["target"]
    if not isinstance(target["fixef"], dict):
        return pd.DataFrame(
            {"estimate": [target["fixef"]], "std_error": [target["se"]]}, index=["Intercept"]
        )
    frame = pd.DataFrame({"estimate": target["fixef"], "std_error": target["se"]})
    frame.index = [our_name(name, case) for name in frame.index]
    return frame


def target_covariances(case: dict[str, Any]) -> list[tuple[str, list[str], np.ndarray]]:
    """Group, terms and covariance matrix of every covariance block of the target."""
    target = case["target"]
    if "var_group" in target:
        return [("treatment", ["Intercept"], np.array([[target["var_group"]]]))]
    blocks = []
    components = target["vc"]
    if isinstance(components, dict):
        components = [{"group": group, **block} for group, block in components.items()]
    for block in components:
        sd = np.array(block["sd"], float)
        if "cov" in block:
            covariance = np.array(block["cov"], float)
        else:
            corr = np.eye(len(sd)) if block["corr"] is None else np.array(block["corr"], float)
            covariance = sd[:, None] * np.nan_to_num(corr) * sd
        group, _, number = block["group"].partition(".")
        if number and not number.isdigit():
            group = block["group"]
        names = ["Intercept" if name == "(Intercept)" else name for name in block["names"]]
        blocks.append((group, names, covariance))
    return blocks


def group_of(model: MixedEffectsVIRegressor, name: str) -> str:
    """Our key of a group; lme4 may write an interaction the other way round."""
    if name in model.random_effects_cov_:
        return name
    return ":".join(reversed(name.split(":")))
