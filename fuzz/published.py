"""Published models as problems that can be changed: data, parameters, and what is expected.

A change of units, of precision or of the origin of a problem changes what is expected of its
fit by laws that are known, so one published target serves all of them.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.datasets import load_insteval

REFERENCE = Path(__file__).resolve().parent.parent / "tests" / "reference"
sys.path.insert(0, str(REFERENCE))
gaussian = importlib.import_module("cases")
generalized = importlib.import_module("glmm_cases")

UNDETERMINED = ("one_obs_per_level_REML", "lagoon_confounded_REML")
"""Cases of which only sums of variances are known."""

NO_OPTIMUM = ("separation",)
"""Cases whose coefficients have no finite estimate."""


@dataclass(frozen=True)
class Block:
    """The covariance of a group's effects.

    Attributes
    ----------
    group : str
    terms : list of str
        Empty: all terms of the group in their order.
    covariance : ndarray (q, q)
        In the units of the publication.
    units : ndarray (q,) or float
        What effects of a fit are multiplied with to have these units.
    """

    group: str
    terms: list[str]
    covariance: np.ndarray
    units: Any = 1.0


@dataclass(frozen=True)
class Expected:
    """What a fit is to find.

    Attributes
    ----------
    deviance : float
        -2 ELBO with all constants, or that of REML.
    coefficients, errors : Series
        Estimates and standard errors of the fixed effects, by our names.
    noise_sd : float or None
        In the units of the publication, as `covariances`; None where the response is not normal.
    noise_unit : float
        What the noise of a fit is multiplied with to have these units.
    covariances : tuple of Block
    determined : bool
        Whether the data determine every variance.
    deviance_tolerance, sd_tolerance, noise_tolerance : float
        Absolute, relative, relative.
    coefficient_tolerance : float
        In standard errors.
    error_tolerance : float or None
        Relative; None where standard errors are not published.
    """

    deviance: float
    coefficients: pd.Series
    errors: pd.Series
    noise_sd: float | None
    covariances: tuple[Block, ...]
    noise_unit: float = 1.0
    determined: bool = True
    deviance_tolerance: float = 1e-5
    sd_tolerance: float = 1e-3
    noise_tolerance: float = 1e-5
    coefficient_tolerance: float = 1e-5
    error_tolerance: float | None = 1e-4


@dataclass(frozen=True)
class Problem:
    """A model and its data.

    Attributes
    ----------
    name : str
    formula : str
        Right-hand side.
    X : DataFrame
        The columns that the model names, complete.
    y : ndarray (n,)
    weights : ndarray (n,) or None
        Case weights.
    parameters : dict
        Of the estimator, besides the formula.
    expected : Expected or None
        None where there is no optimum, so that any numbers need a warning.
    """

    name: str
    formula: str
    X: pd.DataFrame
    y: np.ndarray
    weights: np.ndarray | None
    parameters: dict[str, Any]
    expected: Expected | None

    @property
    def is_gaussian(self) -> bool:
        """Whether the response is normal."""
        return "family" not in self.parameters

    @property
    def is_large(self) -> bool:
        """Whether a fit takes seconds."""
        return len(self.y) > 20_000

    @property
    def has_intercept(self) -> bool:
        """Whether the fixed effects have an intercept."""
        return not self.fixed_part.lstrip().startswith("0")

    @property
    def fixed_part(self) -> str:
        """The formula without its random terms."""
        return re.sub(r"\+\s*\([^)]*\|[^)]*\)", "", self.formula)

    @property
    def scalar_groups(self) -> list[str] | None:
        """Groups with a random intercept each; None where there is anything else."""
        bars = re.findall(r"\(([^|()]*)\|([^)]*)\)", self.formula)
        if any(effects.strip() != "1" for effects, _ in bars):
            return None
        return [group.strip() for _, group in bars]

    @property
    def measured(self) -> list[str]:
        """Numeric columns that are multiplied with coefficients or effects."""
        terms = re.sub(r"\|[^)]*\)", ")", self.formula)
        named = set(re.findall(r"\w+", terms))
        return [c for c in self.X if c in named and pd.api.types.is_numeric_dtype(self.X[c])]

    def estimator(self, **parameters: Any) -> Any:
        """The unfitted estimator."""
        both = self.parameters | parameters
        classes = both.get("family") == "bernoulli"
        made = MixedEffectsVIClassifier if classes else MixedEffectsVIRegressor
        return made(formula=self.formula, **both)

    def fit(self, **parameters: Any) -> Any:
        """The fitted estimator."""
        return self.estimator(**parameters).fit(self.X, self.y, sample_weight=self.weights)


def load_problems(wanted: Callable[[str], bool] = lambda name: True) -> Iterator[Problem]:
    """Published models with numbers to compare with, those whose name is wanted."""
    for name, case in gaussian.load_cases().items():
        if not wanted(name):
            continue
        frame = gaussian.load_frame(case)
        keys = {"precision_weights": case.get("weights"), "offset": case.get("offset")}
        yield _problem(
            name, case["formula_lme4"], frame, None,
            {"method": case["method"].lower()} | keys, _expected_gaussian(case),
        )  # fmt: skip
    for fit in json.loads((REFERENCE / "data" / "lme4.json").read_text()):
        name = "lme4_" + fit["id"]
        # InstEval with "ml" is among the cases above
        if fit["family"] == "gaussian" and name != "lme4_insteval_ml" and wanted(name):
            path = REFERENCE / "data" / fit["data"]
            frame = load_insteval().frame if fit["data"] == "insteval" else pd.read_csv(path)
            parameters = {"method": fit["method"].lower()}
            formula = fit["formula"].replace("((1", "(1").replace("Subject))", "Subject)")
            yield _problem(name, formula, frame, None, parameters, _of_lme4(fit))
    published, optima = generalized.load_glmm_cases(), generalized.load_json("glmm_optima.json")
    for name, case in published.items():
        if not wanted(name):
            continue
        data = generalized.load_case(case)
        parameters = {"method": "ml", "family": generalized.FAMILY[case["family"]]}
        parameters |= {"offset": case.get("offset")}
        if case["family"] == "binomial":
            parameters |= {"link": case["link"]}
        expected = None
        if name not in NO_OPTIMUM:
            expected = _expected_generalized(name, published, optima, data)
        yield _problem(name, data.formula, data.frame, data.weights, parameters, expected)


def _problem(
    name: str,
    formula: str,
    frame: pd.DataFrame,
    weights: np.ndarray | None,
    parameters: dict[str, Any],
    expected: Expected | None,
) -> Problem:
    parameters = {key: value for key, value in parameters.items() if value is not None}
    response, _, rest = (part.strip() for part in formula.partition("~"))
    named = set(re.findall(r"\w+", rest)) | {str(value) for value in parameters.values()}
    columns = [column for column in frame if column in named]
    complete = frame[[response, *columns]].notna().all(axis=1).to_numpy()
    X = frame.loc[complete, columns].reset_index(drop=True)
    for column in columns:
        if not pd.api.types.is_numeric_dtype(X[column]) and f"| {column}" not in rest:
            # labels of a fixed effect that all chunks of rows are to know
            X[column] = pd.Categorical(X[column])
    y = frame.loc[complete, response].to_numpy()
    y = y.astype(int if parameters.get("family") == "bernoulli" else float)
    weights = None if weights is None else weights[complete]
    return Problem(name, rest, X, y, weights, parameters, expected)


# What is expected -----------------------------------------------------------------------


def _expected_gaussian(case: dict[str, Any]) -> Expected:
    target = case["target"]
    coefficients = gaussian.target_coefficients(case)
    noise_sd = target["sigma"] if target.get("sigma") else np.sqrt(target["sigma2"])
    known = max(1e-9 * abs(target["m2ll"]), case["tolerance_target"]["m2ll_abs"])
    return Expected(
        target["m2ll"],
        coefficients["estimate"],
        coefficients["std_error"],
        float(noise_sd),
        tuple(Block(*block) for block in gaussian.target_covariances(case)),
        determined=case["id"] not in UNDETERMINED,
        deviance_tolerance=max(1e-5, known),
    )


def _of_lme4(fit: dict[str, Any]) -> Expected:
    case: dict[str, Any] = {"factor_levels": {}}
    series = (
        pd.Series({gaussian.our_name(name, case): value for name, value in fit[key].items()})
        for key in ("fixef", "fixef_se")
    )
    noise = next(row["vcov"] for row in fit["varcomp"] if row["grp"] == "Residual")
    blocks: dict[str, dict[tuple[str, str], float]] = {}
    for row in fit["varcomp"]:
        if row["grp"] != "Residual":
            first, second = row["var1"], row["var2"] or row["var1"]
            names = (gaussian.our_name(first, case), gaussian.our_name(second, case))
            blocks.setdefault(row["grp"], {})[names] = row["vcov"]
    covariances = []
    for group, entries in blocks.items():
        names = list(dict.fromkeys(first for first, second in entries if first == second))
        matrix = np.zeros((len(names), len(names)))
        for (first, second), value in entries.items():
            i, j = names.index(first), names.index(second)
            matrix[i, j] = matrix[j, i] = value
        covariances.append(Block(group.removesuffix(".1"), names, matrix))
    return Expected(
        -2.0 * fit["logLik"], *series, float(np.sqrt(noise)), tuple(covariances),
        noise_tolerance=5e-5, coefficient_tolerance=1e-4,
    )  # fmt: skip


def _expected_generalized(
    name: str,
    published: dict[str, dict[str, Any]],
    optima: dict[str, dict[str, Any]],
    data: Any,
) -> Expected:
    # the same model in other words: rows instead of frequencies, years from another origin
    twin = {"freqweights_ind": "freqweights_agg", "gopher_year_raw": "gopher_year_centered"}
    source = twin.get(name, name)
    case = published[source]
    if source in optima:
        optimum = optima[source]
        coefficients = pd.Series(optimum["fixef"])
        blocks = [
            Block(group, _slope_terms(case, group, data.frame), np.array(matrix))
            for group, matrix in optimum["cov"].items()
        ]
        deviance, near = -2.0 * optimum["elbo"], optimum["max_abs_grad"] < 1e-4
        tolerances = {"deviance_tolerance": 2e-5 if near else 2e-4, "sd_tolerance": 5e-3}
    else:
        optimum = case["gaussian_vi"]["full_covariance"]
        coefficients = generalized.by_our_names(optimum["fixef"], data.frame)
        sds = generalized.target_sds(optimum, case)
        blocks = [Block(group, ["Intercept"], np.array([[sd * sd]])) for group, sd in sds.items()]
        deviance = -2.0 * (optimum["elbo"] - data.constant)
        tolerances = {"deviance_tolerance": 2e-5, "sd_tolerance": 1e-3}
    if name == "gopher_year_raw":
        moved = float((data.frame["year"] - data.frame["yearc"]).iloc[0])
        coefficients = coefficients.rename({"yearc": "year"})
        coefficients["Intercept"] -= moved * coefficients["year"]
    return Expected(
        deviance,
        coefficients,
        pd.Series(np.nan, index=coefficients.index),
        None,
        tuple(blocks),
        coefficient_tolerance=1e-3,
        error_tolerance=None,
        **tolerances,
    )


def _slope_terms(case: dict[str, Any], group: str, frame: pd.DataFrame) -> list[str]:
    """Terms of a group; none where one of them is the level of a factor."""
    bar = re.search(rf"\(([^|()]*)\| {group}\)", case["formula_lme4"])
    names = [] if bar is None else re.findall(r"[A-Za-z]\w*", bar.group(1))
    if not all(pd.api.types.is_numeric_dtype(frame[name]) for name in names):
        return []
    return ["Intercept", *names]


def mean_field_target(problem: Problem, name: str) -> Expected | None:
    """What is expected of ``posterior="mean_field"``; None where nothing is published.

    With levels of one random intercept and coefficients that are points, the full posterior is
    a product over levels: both posteriors are the same.
    """
    expected = problem.expected
    if expected is None or not expected.determined:
        return None
    case = gaussian.load_cases().get(name) or generalized.load_glmm_cases().get(name) or {}
    target = case.get("gaussian_vi", {}).get("mean_field")
    if target is not None:
        sds = target["sd"]
        # the bounds of data/gaussian_cases.json are without coefficients
        constant = 0.0 if problem.is_gaussian else generalized.load_case(case).constant
        coefficients = expected.coefficients.iloc[:0]
        if "fixef" in target:
            frame = generalized.load_case(case).frame if not problem.is_gaussian else problem.X
            coefficients = generalized.by_our_names(target["fixef"], frame)
        return replace(
            expected,
            deviance=-2.0 * (target["elbo"] - constant),
            deviance_tolerance=max(2e-5, 2e-9 * abs(target["elbo"])),
            coefficients=coefficients,
            errors=expected.errors.reindex(coefficients.index),
            error_tolerance=None,
            noise_sd=target.get("sigma"),
            noise_tolerance=1e-4,
            covariances=tuple(
                Block(group, ["Intercept"], np.array([[sd**2]])) for group, sd in sds.items()
            ),
        )
    groups = problem.scalar_groups
    alone = groups is not None and len(groups) == 1 and problem.parameters["method"] == "ml"
    return expected if alone else None


def found_by(model: Any) -> Expected:
    """What a fit found, as what another is to find."""
    coefficients = generalized.coefficients(model)
    covariances = tuple(
        Block(group, list(block.index), block.to_numpy())
        for group, block in model.random_effects_cov_.items()
    )
    noise = getattr(model, "noise_variance_", None)
    dropped = set(model.fit_result_.dropped.tolist())
    kept = [name for j, name in enumerate(coefficients.index) if j not in dropped]
    return Expected(
        -2.0 * model.elbo_,
        coefficients[kept],
        generalized.standard_errors(model)[kept],
        None if noise is None else float(np.sqrt(noise)),
        covariances,
    )
