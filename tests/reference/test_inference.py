"""Questions about fitted models against R's answers (data/inference, see README there).

lmerTest, pbkrtest, emmeans, clubSandwich and influence.ME where they are right, dense
computations where these programs are loose.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from cases import DATA

from skmixed import (
    anova,
    check_residuals,
    contrasts,
    drop_terms,
    influence,
    marginal_means,
    mixed,
    profile,
    robust_covariance,
)
from skmixed.fitted_model import fitted_model
from skmixed.inspection import average_effects

FOLDER = DATA / "inference"
BOOK = json.loads((FOLDER / "cases.json").read_text())
DDF = {"Kenward-Roger": "kenward-roger", "Satterthwaite": "satterthwaite"}
METHODS = {"pairwise": "pairwise", "trt.vs.ctrl": "reference", "poly": "polynomial"}
ADJUST = {"none": None, "mvt": "dunnett", "dunnettx": "dunnett"}


def cases(kind):
    return [pytest.param(c, id=c["id"]) for c in BOOK["cases"] if c["kind"] == kind]


@cache
def model_of(name, method="reml"):
    spec = BOOK["models"][name]
    texts = dict.fromkeys(spec["factors"], str)
    frame = pd.read_csv(FOLDER / spec["data"].split("/")[-1], dtype=texts, keep_default_na=False)
    for column, levels in spec["factors"].items():
        frame[column] = pd.Categorical(frame[column], categories=list(map(str, levels)))
    weights = {"precision_weights": spec["weights"]} if spec["weights"] else {}
    return mixed(spec["formula"], frame, method=method, **weights)


def plain(name):
    """A coefficient's name without brackets: R's."""
    return {"Intercept": "(Intercept)"}.get(name, re.sub(r"[\[\]]", "", str(name)))


def in_our_order(L, columns, model):
    names = [plain(name) for name in model.summary().to_frame().index]
    out = np.zeros((len(L), len(names)))
    out[:, [names.index(column) for column in columns]] = L
    return out


def close(found, rows, key, rtol, atol=0.0):
    expected = np.array([np.nan if row[key] is None else row[key] for row in rows], float)
    np.testing.assert_allclose(np.asarray(found, float), expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("case", cases("coefficients"))
@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
def test_coefficients(case, ddf):
    rows = case["target"][ddf.replace("-", "_")]
    table = model_of(case["model"]).summary(test="t", ddf=ddf).to_frame()
    table = table.set_axis([plain(name) for name in table.index]).loc[[r["term"] for r in rows]]
    close(table["std_error"], rows, "se", 1e-5)
    close(table["df"], rows, "df", 1e-4)
    close(table["p_value"], rows, "p", 1e-3, 1e-12)


@pytest.mark.parametrize("case", cases("anova"))
def test_anova(case):
    target = case["target"]
    kind = {"I": 1, "II": 2, "III": 3}[target["type"]]
    table = anova(model_of(case["model"]), type=kind, ddf=DDF[target["ddf"]]).to_frame()
    table = table.loc[[row["term"] for row in target["table"]]]
    for key, tolerance in (
        ("F", 1e-5), ("num_df", 1e-12), ("den_df", 1e-4), ("sum_sq", 1e-4), ("mean_sq", 1e-4),
    ):  # fmt: skip
        close(table[key], target["table"], key, tolerance)
    close(table["p_value"], target["table"], "p", 1e-3, 1e-10)


@pytest.mark.parametrize("case", cases("joint_test"))
@pytest.mark.parametrize("ddf", ["satterthwaite", "kenward-roger"])
def test_hypotheses(case, ddf):
    target, model = case["target"], model_of(case["model"])
    L = in_our_order(target["L"], target["columns"], model)
    found = anova(model, hypothesis=L, ddf=ddf).to_frame().iloc[0]
    expected = target[ddf.replace("-", "_")]
    assert found["F"] == pytest.approx(expected["F"], rel=1e-5)
    assert found["den_df"] == pytest.approx(expected["den_df"], rel=1e-4)
    assert found["num_df"] == expected["num_df"]


def means_of(case, **options):
    target = case["target"]
    for key in ("by", "at", "weights", "level"):
        if target.get(key) is not None:
            options[key] = target[key]
    return marginal_means(model_of(case["model"]), target["specs"], ddf=target["ddf"], **options)


def of_cells(table, rows, columns):
    """Rows of a table in the order of R's cells."""
    keys = table[columns].astype(str).apply(tuple, axis=1)
    order = [keys.tolist().index(tuple(str(row[c]) for c in columns)) for row in rows]
    return table.iloc[order]


@pytest.mark.parametrize("case", cases("emmeans"))
def test_marginal_means(case):
    target, means = case["target"], means_of(case)
    specs = target["specs"] if isinstance(target["specs"], list) else [target["specs"]]
    columns = [*specs, *([target["by"]] if target["by"] else [])]
    table = of_cells(means.to_frame(), target["means"], columns)
    close(table["estimate"], target["means"], "emmean", 1e-6)
    for key, name in (("std_error", "se"), ("df", "df"), ("lower", "lower"), ("upper", "upper")):
        close(table[key], target["means"], name, 1e-4)


@pytest.mark.parametrize("case", cases("emmeans"))
def test_contrasts(case):
    target = case["target"]
    adjust = ADJUST.get(target["adjust"], target["adjust"])
    table = contrasts(means_of(case), METHODS[target["contrast"]], adjust=adjust).to_frame()
    rows = target["contrasts"]
    # R writes a number behind the name of its column, and families in another order
    found, stem = [], target["specs"]
    for row in rows:
        label = row["contrast"].replace(stem, "").replace("(", "").replace(")", "")
        names = [name.replace(stem, "") for name in table.index]
        here = np.array([name == label for name in names])
        if target["by"]:
            here &= (table[target["by"]].astype(str) == str(row[target["by"]])).to_numpy()
        assert here.sum() == 1, label
        found.append(np.flatnonzero(here)[0])
    table = table.iloc[found]
    close(table["estimate"], rows, "estimate", 1e-6, 1e-8)
    close(table["std_error"], rows, "se", 1e-5)
    close(table["df"], rows, "df", 1e-4)
    close(table["p_unadjusted"], rows, "p_unadjusted", 1e-3, 1e-8)
    if adjust != "dunnett":
        close(table["p_value"], rows, "p", 1e-3, 1e-8)
        close(table["lower"], rows, "lower", 1e-4, 1e-6)
    elif "p_dunnett_exact" in rows[0]:
        close(table["p_value"], rows, "p_dunnett_exact", 1e-4, 1e-9)
    else:
        # R's own are random or approximate
        close(table["p_value"], rows, "p", 0.05, 1e-3)


@pytest.mark.parametrize("case", cases("emtrends"))
def test_slopes(case):
    target = case["target"]
    slopes = means_of(case, slope_of=target["var"])
    table = of_cells(slopes.to_frame(), target["trends"], [target["specs"]])
    close(table["estimate"], target["trends"], target["var"] + ".trend", 1e-6)
    close(table["std_error"], target["trends"], "se", 1e-5)
    close(table["p_value"], target["trends"], "p", 1e-3, 1e-12)
    pairs = contrasts(slopes, "pairwise", adjust=target["adjust"]).to_frame()
    close(pairs["estimate"], target["contrasts"], "estimate", 1e-6)
    close(pairs["df"], target["contrasts"], "df", 1e-4)


@pytest.mark.parametrize("case", cases("interaction_contrasts"))
def test_interaction_contrasts(case):
    rows = case["target"]["contrasts"]
    table = contrasts(means_of(case), "pairwise", interaction=True, adjust=None).to_frame()
    first, second = case["target"]["specs"]
    labels = [f"{row[f'{first}_pairwise']} : {row[f'{second}_pairwise']}" for row in rows]
    table = table.loc[[label.replace(f"{second}0", "0") for label in labels]]
    close(table["estimate"], rows, "estimate", 1e-6, 1e-8)
    close(table["std_error"], rows, "se", 1e-5)
    close(table["p_value"], rows, "p", 1e-3)


@pytest.mark.parametrize("case", [*cases("drop1"), *cases("ranova")])
def test_terms_left_out(case):
    kind = "fixed" if case["kind"] == "drop1" else "random"
    rows = [row for row in case["target"]["table"] if row["term"] != "<none>"]
    table = drop_terms(model_of(case["model"]), kind=kind).to_frame()
    written = [row["term"] if kind == "fixed" else row["term"].strip("()") for row in rows]
    table = table.set_axis([name.strip("()") for name in table.index]).loc[written]
    close(table["log_likelihood"], rows, "loglik", 0.0, 1e-4)
    close(table["chi_square"], rows, "chi_square", 0.0, 1e-3)
    close(table["p_value"], rows, "p", 1e-2)


def profiled_name(parameter):
    what, _, group = parameter.partition("|")
    if what == "sigma":
        return "sd[Residual]"
    if not group:
        return parameter
    effects = re.sub(r"\(Intercept\)", "Intercept", what)
    if effects.startswith("sd_"):
        return f"sd[{group}, {effects[3:]}]"
    second, first = effects[4:].split(".")
    return f"corr[{group}, {first}, {second}]"


@pytest.mark.parametrize("case", cases("profile"))
def test_profiles(case):
    table = profile(model_of(case["model"], "ml")).intervals().to_frame()
    table = table.set_axis([n if (n[-1] == "]" and ", " in n) or n == "sd[Residual]" else plain(n)
                            for n in table.index])  # fmt: skip
    for row in case["target"]["table"]:
        found = table.loc[profiled_name(row["parameter"])]
        spread = row.get("two_programs_differ_by") or [0.0, 0.0]
        width = row["upper"] - row["lower"]
        for end, doubt in zip(("lower", "upper"), spread, strict=True):
            tolerance = max(1e-4, doubt or 0.0) * width
            assert found[end] == pytest.approx(row[end], abs=tolerance)


@pytest.mark.parametrize("case", cases("cluster_robust"))
@pytest.mark.parametrize("kind", ["CR0", "CR1", "CR1S", "CR2"])
def test_robust_covariances(case, kind):
    target, model = case["target"], model_of(case["model"])
    robust = robust_covariance(model, target["cluster"], kind=kind)
    names = [plain(name) for name in robust.cov.index]
    order = [names.index(row["term"]) for row in target["tables"][kind]]
    expected = np.array(target["vcov"][kind], float)
    scale = np.sqrt(np.outer(np.diagonal(expected), np.diagonal(expected)))
    found = robust.cov.to_numpy()[np.ix_(order, order)]
    assert np.abs((found - expected) / scale).max() < 1e-5
    if kind == "CR2":
        close(robust.to_frame()["df"].iloc[order], target["tables"][kind], "df", 1e-5)
        L = in_our_order(np.eye(len(order))[1:], [names[k] for k in order], model)
        wald = next(row for row in target["wald_all_but_first"] if row["test"] == "HTZ")
        test = robust.test(L).to_frame().iloc[0]
        assert test["F"] == pytest.approx(wald["Fstat"], rel=1e-5)
        assert test["den_df"] == pytest.approx(wald["df_denom"], rel=1e-5)


@pytest.mark.parametrize("case", cases("influence"))
def test_influence(case):
    target = case["target"]
    found = influence(model_of(case["model"]), target["group"])
    levels = [str(level) for level in found.table.index]
    order = [levels.index(str(row["level"])) for row in target["rows"]]
    table = found.to_frame().iloc[order]
    for key, name in (
        ("cooks_distance", "cooks_distance"), ("mdffits", "mdffits"), ("sigma", "sigma"),
    ):  # fmt: skip
        close(table[key], target["rows"], name, 1e-3, 1e-9)
    close(table["covariance_ratio"], target["rows"], "covratio", 5e-3)
    names = [plain(name) for name in found.dfbetas.columns]
    columns = [names.index(column) for column in target["columns"]]
    expected = np.array([row["dfbetas"] for row in target["rows"]], float)
    np.testing.assert_allclose(
        found.dfbetas.to_numpy()[order][:, columns], expected, rtol=1e-3, atol=3e-4
    )


@pytest.mark.parametrize("case", cases("quantile_residuals"))
@pytest.mark.parametrize("effects", ["new", "fitted"])
def test_simulated_residuals(case, effects):
    n = 4000
    expected = np.array(case["target"]["unconditional" if effects == "new" else "conditional"])
    checks = check_residuals(model_of(case["model"]), effects=effects, n_samples=n, random_state=0)
    errors = np.abs(checks.residuals - expected)
    bound = np.sqrt(expected * (1.0 - expected) / n)
    assert (errors < 5.5 * bound + 2.0 / n).all()
    if effects == "new":
        statistic = checks.to_frame().loc["uniformity", "statistic"]
        assert statistic == pytest.approx(case["target"]["ks_statistic"], abs=0.015)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", cases("average_effects"))
@pytest.mark.parametrize("random_effects", ["zero", "averaged"])
def test_average_effects(case, random_effects):
    """Of a model with R's estimates in the place of its own."""
    target = case["target"]
    frame = pd.read_csv(FOLDER / case["data"].split("/")[-1])
    names, is_binary = target["columns"][1:], "logit" in case["data"]
    rows = np.arange(len(frame))
    frame = frame.assign(any=rows * 7919 % (2 if is_binary else 5), group=rows // 5)
    family = "bernoulli" if is_binary else "poisson"
    model = fitted_model(mixed(f"any ~ {' + '.join(names)} + (1 | group)", frame, family=family))
    coefficients = np.array(list(target["coef"].values()))
    result = model.result
    centred = coefficients.copy()
    centred[0] += result.center @ coefficients
    factor = replace(result.factors[0], covariance=np.full((1, 1), target["random_sd"] ** 2))
    model = replace(model, result=replace(result, coefficients=centred, factors=(factor,)))
    data, weights = average_effects._rows(model, None, None)
    for row in target["rows"]:
        (comparison,) = average_effects._comparisons(model, data, row["column"], weights)
        found = average_effects._compare(model, data, weights, comparison, random_effects)
        expected = row["at_zero" if random_effects == "zero" else "averaged"]
        assert found[0] == pytest.approx(expected["estimate"], abs=1e-6)
        np.testing.assert_allclose(found[1], expected["gradient"], atol=1e-5)
