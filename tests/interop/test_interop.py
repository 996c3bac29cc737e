"""Models handed to marginaleffects, ArviZ and great_tables, as they are installed."""

from __future__ import annotations

import arviz
import great_tables
import marginaleffects
import numpy as np
import pandas as pd
import polars as pl
import pytest

from skmixed import (
    MixedEffectsVIClassifier,
    anova,
    check_residuals,
    compare_models,
    contrasts,
    drop_terms,
    influence,
    marginal_effects,
    marginal_means,
    mixed,
    parametric_bootstrap,
    profile,
    robust_covariance,
    variance_posterior,
)
from skmixed.datasets import load_cbpp, load_sleepstudy
from skmixed.interop import marginaleffects_model


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    n = 300
    g = rng.integers(15, size=n)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n), "sex": rng.choice(["m", "f"], n),
            "dose": rng.choice([1, 2, 3], n), "treated": rng.integers(2, size=n),
            "hours": rng.uniform(1.0, 4.0, n), "g": [f"g{k}" for k in g],
        }
    )  # fmt: skip
    eta = 0.5 * frame["x"] + (frame["sex"] == "m") + 0.3 * frame["treated"]
    eta += rng.normal(size=15)[g] * 0.7
    frame["y"] = eta + rng.normal(size=n)
    frame["good"] = (eta + rng.logistic(size=n) > 0.5).astype(int)
    frame["count"] = rng.poisson(np.exp(0.3 * eta) * frame["hours"])
    return frame


@pytest.fixture(scope="module")
def logistic(frame):
    return mixed("good ~ x * sex + C(dose) + treated + (1 + x | g)", frame, family="bernoulli")


# marginaleffects -------------------------------------------------------------------------


@pytest.mark.parametrize("random_effects", ["averaged", "zero"])
def test_average_effects_are_ours(logistic, random_effects):
    adapter = marginaleffects_model(logistic, random_effects=random_effects)
    columns = ["x", "sex", "dose", "treated"]
    ours = marginal_effects(logistic, columns, random_effects=random_effects).to_frame()
    theirs = [
        marginaleffects.avg_slopes(adapter, variables="x"),
        *(marginaleffects.avg_comparisons(adapter, variables=name) for name in columns[1:]),
    ]
    for column, rtol in {"estimate": 1e-4, "std_error": 2e-3}.items():
        found = np.concatenate([part[column].to_numpy() for part in theirs])
        np.testing.assert_allclose(found, ours[column], rtol=rtol)


def test_offsets_are_part_of_the_predictor(frame):
    model = mixed("count ~ x + sex + offset(log(hours)) + (1 | g)", frame, family="poisson")
    adapter = marginaleffects_model(model)
    theirs = marginaleffects.avg_comparisons(adapter, variables="sex")
    ours = marginal_effects(model, "sex").to_frame()
    assert theirs["estimate"][0] == pytest.approx(ours["estimate"].iloc[0], rel=1e-6)
    predictions = marginaleffects.predictions(adapter)["estimate"].to_numpy()
    new_groups = model.predict(frame.assign(g="new"))
    # `predict` also averages over the coefficients, which here are nearly known
    np.testing.assert_allclose(predictions, new_groups, rtol=0.03)


def test_slopes_within_levels_are_our_marginal_slopes(frame):
    model = mixed("y ~ x * sex + dose + (1 | g)", frame)
    theirs = marginaleffects.avg_slopes(marginaleffects_model(model), variables="x", by="sex")
    ours = marginal_means(model, "sex", slope_of="x", ddf="asymptotic").to_frame()
    assert theirs["sex"].to_list() == ours["sex"].tolist()
    np.testing.assert_allclose(theirs["estimate"].to_numpy(), ours["estimate"], rtol=1e-5)
    np.testing.assert_allclose(theirs["std_error"].to_numpy(), ours["std_error"], rtol=1e-4)


def test_predictions_on_a_grid(frame):
    model = mixed("y ~ x * sex + (1 | g)", frame)
    adapter = marginaleffects_model(model)
    grid = marginaleffects.datagrid(model=adapter, sex=["m", "f"], x=[-1.0, 1.0])
    found = marginaleffects.predictions(adapter, newdata=grid)
    rows = pd.DataFrame({"x": found["x"].to_numpy(), "sex": found["sex"].to_list(), "g": "new"})
    np.testing.assert_allclose(found["estimate"].to_numpy(), model.predict(rows, include="none"))


def test_coefficients_and_hypotheses(frame):
    model = mixed("y ~ x + treated + (1 | g)", frame)
    adapter = marginaleffects_model(model)
    found = marginaleffects.hypotheses(adapter, hypothesis="x - treated = 0")
    ours = model.contrast({"d": {"x": 1, "treated": -1}}, test="z")
    assert found["estimate"][0] == pytest.approx(ours["estimate"].iloc[0])
    assert found["std_error"][0] == pytest.approx(ours["std_error"].iloc[0], rel=1e-4)


def test_a_robust_covariance_is_taken(frame):
    model = mixed("y ~ x + treated + (1 | g)", frame)
    adapter = marginaleffects_model(model)
    covariance = robust_covariance(model, "g", kind="CR2").cov.to_numpy()
    found = marginaleffects.avg_slopes(adapter, variables="x", vcov=covariance)
    assert found["std_error"][0] == pytest.approx(np.sqrt(covariance[1, 1]), rel=1e-5)
    with pytest.raises(ValueError, match=r"vcov='HC3' is not known.*robust_covariance"):
        marginaleffects.avg_slopes(adapter, variables="x", vcov="HC3")


def test_polars_frames_and_data_that_are_passed(frame):
    X = pl.from_pandas(frame[["x", "sex", "g"]])
    X = X.with_columns(pl.col("sex").cast(pl.Categorical), pl.col("g").cast(pl.Categorical))
    y = frame["good"].to_numpy()
    model = MixedEffectsVIClassifier(["g"]).fit(X, y)
    found = marginaleffects.avg_comparisons(marginaleffects_model(model, X, y), variables="sex")
    expected = marginal_effects(model, "sex", X).to_frame()["estimate"].iloc[0]
    assert found["estimate"][0] == pytest.approx(expected, rel=1e-6)


# ArviZ -----------------------------------------------------------------------------------


def test_arviz_summarises_the_posterior():
    model = mixed("Reaction ~ Days + (Days | Subject)", load_sleepstudy().frame)
    posterior = variance_posterior(model, random_state=0)
    draws = posterior.sample(2000, random_state=0)
    data = posterior.to_inferencedata(2000, random_state=0)
    table = arviz.summary(data, kind="stats", round_to="none")
    assert set(table.index) == set(draws.columns)
    means = table["mean"].astype(float).reindex(draws.columns)
    np.testing.assert_allclose(means, draws.mean(), rtol=1e-10)


# Tables ----------------------------------------------------------------------------------


def reports():
    """Every kind of table that a model gives."""
    model = mixed("Reaction ~ Days + (Days | Subject)", load_sleepstudy().frame)
    less = mixed("Reaction ~ Days + (1 | Subject)", load_sleepstudy().frame)
    cattle = load_cbpp().frame.eval("rate = incidence / size")
    means = marginal_means(mixed("rate ~ period + (1 | herd)", cattle), "period")
    return {
        "summary": model.summary(test="t"),
        "anova": anova(model),
        "drops": drop_terms(model),
        "random drops": drop_terms(model, kind="random"),
        "means": means,
        "contrasts": contrasts(means),
        "effects": marginal_effects(model, "Days"),
        "profile": profile(model, parameters=["Days"]).intervals(),
        "robust": robust_covariance(model, "Subject"),
        "influence": influence(model, "Subject", variances="held"),
        "checks": check_residuals(model, n_samples=50, random_state=0),
        "posterior": variance_posterior(model, random_state=0).intervals(),
        "comparison": compare_models(less, model),
        "bootstrap": parametric_bootstrap(less, lambda m: m.params, n_resamples=5, random_state=0),
        "diagnosis": model.diagnose(n_draws=100, random_state=0),
    }


def test_every_table_in_every_form():
    for name, report in reports().items():
        table = report._main_table()
        great = report.to_great_table()
        assert isinstance(great, great_tables.GT), name
        html, latex, markdown = great.as_raw_html(), report.to_latex(), report.to_markdown()
        assert latex.count(r"\\") >= len(table) + 1, name
        assert len(markdown.splitlines()) == len(table) + 2, name
        for text in [str(table.index[0]), table.iloc[0, 0]]:
            assert text in html, name
            assert text in markdown, name
