"""Degrees of freedom against lmerTest (data/satterthwaite.json, make_satterthwaite.R)."""

import json

import numpy as np
import pytest
from cases import DATA, fit_case, load_cases, load_frame, our_name

from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import load_insteval

LMER_TEST = json.loads((DATA / "satterthwaite.json").read_text())
CASES = load_cases()

# Balanced one-way layouts have exactly one degree of freedom less than levels (REML), or as many
# (ML). lmerTest's numerical second derivatives lose them at extreme ratios of the variances.
BALANCED = {
    f"nist_{name}_{method}": levels - (method == "REML")
    for name, levels in [
        ("AtmWtAg", 2), ("SmLs06", 9), ("SmLs07", 9), ("SmLs08", 9), ("SmLs09", 9)
    ]
    for method in ("ML", "REML")
}  # fmt: skip
# The same model as sleepstudy_slope with days in millions, at which lmerTest differentiates badly.
RESCALED = {f"sleep_scaled_x1e6_{m}": f"sleepstudy_slope_{m}" for m in ("ML", "REML")}
# A singular covariance: lmerTest differentiates across the edge, with one-sided steps.
SINGULAR = {"kb07_max4_ML": 0.011}
# Balanced but for few levels and a large ratio of variances: lmerTest has five digits less.
ROUGH = {"fewlevels_REML": 3e-4}


def degrees_of_freedom(case):
    frame = load_frame(case)
    names = [*frame.columns.intersection(_words(case))]
    frame = frame.dropna(subset=names)
    response = case["formula_lme4"].split("~")[0].strip()
    table = fit_case(case).summary(frame, frame[response], test="t").to_frame()
    return table["df"]


def _words(case):
    text = case["formula_lme4"]
    for symbol in "~+|()*:/":
        text = text.replace(symbol, " ")
    return [*text.split(), case.get("weights"), case.get("offset")]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", [name for name in LMER_TEST if name in CASES])
def test_lmer_test(name):
    case = CASES[name]
    df = degrees_of_freedom(case)
    if name in BALANCED:
        np.testing.assert_allclose(df, BALANCED[name], rtol=1e-5)
        return
    expected = LMER_TEST[RESCALED.get(name, name)]["df"]
    values = {our_name(key, case): value for key, value in expected.items()}
    if name in RESCALED:
        values = dict(zip(df.index, values.values(), strict=True))
    tolerance = SINGULAR.get(name, ROUGH.get(name, 1e-4))
    for key, value in values.items():
        np.testing.assert_allclose(df[key], value, rtol=tolerance, err_msg=key)


@pytest.mark.parametrize(
    ("solver", "tolerance"), [("direct", 5e-6), ("iterative", 1e-4)]
)  # four digits are published
def test_insteval(solver, tolerance):
    X, y = load_insteval(return_X_y=True)
    X = X[["service", "s", "d", "dept"]]
    model = MixedEffectsVIRegressor(["s", "d", "dept"], solver=solver).fit(X, y)
    table = model.summary(X, y, test="t").to_frame()
    for ours, theirs in (("df", "df"), ("statistic", "t")):
        expected = [*LMER_TEST["insteval_REML"][theirs].values()]
        np.testing.assert_allclose(table[ours], expected, rtol=tolerance)
    np.testing.assert_allclose(table["df"], [15.3595, 37613.97], rtol=2e-5)
    assert table.loc["service", "p_value"] == pytest.approx(4.62e-12, rel=1e-2)
