"""What people reach for: numbers with names, no data twice, grids, clear refusals."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmixed import (
    MixedEffectsVIClassifier,
    MixedEffectsVIRegressor,
    RandomEffect,
    compare_models,
    mixed,
    parametric_bootstrap,
)
from skmixed.datasets import (
    load_sleepstudy,
    make_mixed_classification,
    make_mixed_regression,
)
from skmixed.exceptions import UnknownLevelsWarning
from skmixed.inspection import (
    ResidualsDisplay,
    ShrinkageDisplay,
    VarianceComponentsDisplay,
    model_table,
)

SLEEP = load_sleepstudy().frame
X, Y = SLEEP[["Days", "Subject"]], SLEEP["Reaction"]


@pytest.fixture(scope="module")
def slopes():
    return mixed("Reaction ~ Days + (Days | Subject)", SLEEP)


@pytest.fixture(scope="module")
def classes():
    X, y, _ = make_mixed_classification(n_samples=600, groups=(20, 10), random_state=0)
    return X, y, MixedEffectsVIClassifier(["g0", "g1"]).fit(X, y)


# Numbers with names --------------------------------------------------------------------------


def test_criteria_are_numbers_of_lme4():
    """logLik, AIC and BIC of lmer(Reaction ~ Days + (Days | Subject), REML = FALSE)."""
    model = mixed("Reaction ~ Days + (Days | Subject)", SLEEP, method="ml")
    assert model.loglik_ == pytest.approx(-875.9697, abs=1e-4)
    assert model.aic_ == pytest.approx(1763.9393, abs=1e-4)
    assert model.bic_ == pytest.approx(1783.0971, abs=1e-4)
    assert model.n_parameters_ == 6
    numbers = model.summary().numbers
    assert (numbers["aic"], numbers["rows"]) == (model.aic_, 180.0)


def test_coefficients_with_names(slopes):
    names = ["Intercept", "Days"]
    assert slopes.params.index.tolist() == names
    np.testing.assert_allclose(slopes.params, [slopes.intercept_, *slopes.coef_])
    np.testing.assert_allclose(slopes.bse, np.sqrt(np.diagonal(slopes.coef_cov_)))
    assert slopes.cov_params().index.tolist() == slopes.cov_params().columns.tolist() == names
    np.testing.assert_array_equal(slopes.cov_params(), slopes.coef_cov_)
    table = slopes.coef_table("t", level=0.9)
    assert table.loc["Days", "df"] == pytest.approx(17.0, abs=1e-3)  # lmerTest
    np.testing.assert_allclose(
        slopes.conf_int(0.9)["upper"], slopes.params + 1.6448536 * slopes.bse
    )
    assert slopes.pvalues["Days"] < 1e-10


def test_ordinal_coefficients_have_no_intercept():
    X, y, _ = make_mixed_classification(n_samples=400, n_classes=3, random_state=0)
    model = MixedEffectsVIClassifier(["g0", "g1"], family="ordinal").fit(X, pd.Series(y))
    assert model.params.index.tolist() == model.coef_names_
    assert model.cov_params().shape == (1, 1)


def test_one_model_and_two_families_are_compared(slopes):
    (row,) = compare_models(slopes).to_frame().itertuples()
    assert row.aic == slopes.aic_
    X, y, _ = make_mixed_regression(n_samples=400, family="poisson", random_state=0)
    one, two = (
        MixedEffectsVIRegressor(["g0", "g1"], family=family).fit(X, y)
        for family in ("poisson", "negative_binomial")
    )
    table = compare_models(one, two, names=["poisson", "nb"]).to_frame()
    assert table.loc["nb", "aic"] - table.loc["poisson", "aic"] == pytest.approx(
        two.aic_ - one.aic_
    )


def test_exponentials(classes):
    model = classes[2]
    plain, ratios = model.summary(test="z"), model.summary(test="z", exponentiate=True, level=0.9)
    for column in ("estimate",):
        np.testing.assert_allclose(ratios.to_frame()[column], np.exp(plain.to_frame()[column]))
    np.testing.assert_allclose(ratios.to_frame()["lower"], np.exp(model.conf_int(0.9)["lower"]))
    pd.testing.assert_series_equal(
        ratios.to_frame()["p_value"], plain.to_frame()["p_value"], check_names=False
    )
    assert "90 % intervals" in str(ratios)
    assert "odds ratios" in " ".join(ratios.notes)


def test_printed_tables_have_the_digits_that_are_known(slopes):
    lines = str(slopes.summary(test="t")).splitlines()
    (days,) = (line.split() for line in lines if line.startswith("Days "))
    assert days[:5] == ["Days", "10.47", "1.55", "7.21", "13.73"]
    dropped = SLEEP.assign(twice=2.0 * SLEEP["Days"])
    with pytest.warns(UserWarning, match="left out: 'twice'"):
        model = mixed("Reaction ~ Days + twice + (1 | Subject)", dropped)
    assert "dropped: other columns determine 'twice'." in model.summary().notes
    assert np.isnan(model.coef_table().loc["twice", "std_error"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        centred = SLEEP.assign(y=SLEEP["Reaction"] - SLEEP["Reaction"].mean())
        balanced = mixed("y ~ 1 + (1 | Subject)", centred)
    assert " -0.0" not in str(balanced.summary()).replace("-0.0 ", "x")


def test_tables_for_papers(slopes):
    summary = slopes.summary(test="t")
    assert r"\begin{tabular}" in summary.to_latex()
    assert "| Days      | 10.47" in summary.to_markdown()


def test_models_side_by_side(slopes):
    one = mixed("Reaction ~ Days + (1 | Subject)", SLEEP)
    table = model_table(one, slopes, names=["one", "two"])
    assert table.loc[("fixed", "Days"), ("one", "std_error")] == pytest.approx(0.8042214, abs=1e-6)
    assert np.isnan(table.loc[("sd", "Days | Subject"), ("one", "estimate")])
    assert table.loc[("fit", "AIC"), ("two", "estimate")] == slopes.aic_
    assert table.loc[("fit", "levels of Subject")].dropna().tolist() == [18.0, 18.0]
    assert table.loc[("fit", "icc"), ("one", "estimate")] == pytest.approx(0.589309, abs=1e-6)
    with pytest.raises(ValueError, match="2 different names"):
        model_table(one, slopes, names=["a", "a"])


def test_a_contrast_by_hand(slopes):
    """lmerTest::contest1D(m, c(1, 9)): 345.6107, 14.62884, 17 degrees of freedom."""
    table = slopes.contrast({"day 9": {"Intercept": 1, "Days": 9}, "slope": {"Days": 1}})
    assert table.loc["day 9", "estimate"] == pytest.approx(slopes.intercept_ + 9 * slopes.coef_[0])
    variance = np.array([1.0, 9.0]) @ slopes.coef_cov_ @ np.array([1.0, 9.0])
    assert table.loc["day 9", "std_error"] == pytest.approx(np.sqrt(variance))
    pd.testing.assert_series_equal(
        table.loc["slope"], slopes.coef_table("t").loc["Days"], check_names=False, rtol=1e-6
    )
    assert slopes.contrast([[0, 1]], test="z")["df"].tolist() == [np.inf]
    with pytest.raises(ValueError, match="'Nights', which is not one of 'Intercept', 'Days'"):
        slopes.contrast({"Nights": 1})
    with pytest.raises(ValueError, match="2 numbers per row"):
        slopes.contrast([1.0, 2.0, 3.0])


def test_effects_in_one_table(slopes):
    table = slopes.effects_table(level=0.9)
    assert len(table) == 36
    row = table[(table["level"] == 308) & (table["term"] == "Days")].iloc[0]
    std = slopes.random_effects_std_["Subject"].loc[308, "Days"]
    assert row["estimate"] == slopes.random_effects_["Subject"].loc[308, "Days"]
    assert row["upper"] - row["estimate"] == pytest.approx(1.6448536 * std)
    nested = mixed("Reaction ~ 1 + (1 | Subject:w)", SLEEP.assign(w=np.arange(180) % 2))
    assert nested.effects_table()["level"].iloc[0] == (308, 0)


def test_intervals_of_standard_deviations(slopes):
    """nlme::intervals(lme(Reaction ~ Days, sleepstudy, ~Days | Subject)) for the noise."""
    table = slopes.variance_intervals().set_index("group")
    noise = table.loc["Residual"]
    np.testing.assert_allclose(noise[["lower", "upper"]].astype(float), [22.80, 28.73], rtol=1e-3)
    one = mixed("Reaction ~ Days + (1 | Subject)", SLEEP, method="ml")
    found = one.variance_intervals()
    # a numerical Hessian of the dense likelihood by the logarithms of both

    def deviance(log_sds):
        omega = np.exp(2 * log_sds)
        same = SLEEP["Subject"].to_numpy()[:, None] == SLEEP["Subject"].to_numpy()
        V = omega[0] * same + omega[1] * np.eye(180)
        F = np.column_stack([np.ones(180), SLEEP["Days"]])
        solved = np.linalg.solve(V, np.column_stack([F, Y]))
        beta = np.linalg.solve(F.T @ solved[:, :2], F.T @ solved[:, 2])
        r = Y.to_numpy() - F @ beta
        return np.linalg.slogdet(V)[1] + r @ np.linalg.solve(V, r)

    at, h = np.log(found["sd"].to_numpy()), 1e-3
    hessian = np.empty((2, 2))
    for i in range(2):
        for j in range(2):
            a, b = h * np.eye(2)[i], h * np.eye(2)[j]
            hessian[i, j] = (
                deviance(at + a + b) - deviance(at + a - b)
                - deviance(at - a + b) + deviance(at - a - b)
            ) / (4 * h * h)  # fmt: skip
    errors = np.sqrt(np.diagonal(2 * np.linalg.inv(hessian)))
    np.testing.assert_allclose(found["std_error"] / found["sd"], errors, rtol=1e-3)


def test_intervals_in_the_picture(slopes):
    display = VarianceComponentsDisplay.from_estimator(slopes, level=0.9)
    expected = slopes.variance_intervals(level=0.9)
    pd.testing.assert_frame_equal(
        display.components[["lower", "upper"]], expected[["lower", "upper"]]
    )
    assert display.ax_[0].get_xlim()[1] > expected["upper"][0]


def test_the_design_by_name(slopes):
    matrix = slopes.design_matrix(SLEEP[["Days"]].iloc[:3])
    assert matrix.columns.tolist() == ["Intercept", "Days"]
    np.testing.assert_allclose(
        matrix.to_numpy() @ slopes.params, slopes.predict(SLEEP.iloc[:3], include="none")
    )


# Data are not asked for twice -------------------------------------------------------------------


def test_kept_data_serve_all_questions(slopes):
    plain = MixedEffectsVIRegressor(formula="Days + (Days | Subject)").fit(X, Y)
    pd.testing.assert_frame_equal(
        slopes.summary(test="t").to_frame(), plain.summary(X, Y, test="t").to_frame()
    )
    assert slopes.diagnose().gap == plain.diagnose(X, Y).gap
    np.testing.assert_array_equal(
        ResidualsDisplay.from_estimator(slopes).residuals,
        ResidualsDisplay.from_estimator(plain, X, Y).residuals,
    )
    ShrinkageDisplay.from_estimator(slopes, group="Subject")
    draws = parametric_bootstrap(slopes, lambda m: m.coef_[0], n_resamples=3, random_state=0)
    again = parametric_bootstrap(plain, lambda m: m.coef_[0], X, n_resamples=3, random_state=0)
    np.testing.assert_array_equal(draws.values, again.values)


def test_who_kept_nothing_says_so():
    model = MixedEffectsVIRegressor(["Subject"]).fit(X, Y)
    for question in (model.diagnose, lambda: model.summary(test="t"), model.variance_intervals):
        with pytest.raises(ValueError, match=r"did not keep: pass the X, y.*keep_data=True"):
            question()
    with pytest.raises(ValueError, match="X or y alone"):
        model.set_params(keep_data=True).fit(X, Y).diagnose(X)
    assert not hasattr(MixedEffectsVIRegressor(["Subject"]).fit(X, Y), "rows_")


@pytest.mark.parametrize("way", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy])
def test_data_stay_out_of_files(slopes, way):
    other = way(slopes)
    np.testing.assert_array_equal(other.predict(X), slopes.predict(X))
    with pytest.raises(ValueError, match="Pickles do not contain"):
        other.summary(test="t")


def test_rows_that_were_used():
    gaps = SLEEP.copy()
    gaps.index = [f"r{i}" for i in range(180)]
    gaps.loc["r5", "Days"] = np.nan
    gaps.loc["r7", "Reaction"] = np.nan
    weights = np.ones(180)
    weights[0] = 0.0
    model = mixed("Reaction ~ Days + (1 | Subject)", gaps, missing="drop", sample_weight=weights)
    assert model.rows_.tolist() == [f"r{i}" for i in range(180) if i not in (0, 5, 7)]
    assert model.summary(test="t").numbers["rows"] == 177.0
    plain = MixedEffectsVIRegressor([1], keep_data=True).fit(X.astype(float).to_numpy(), Y)
    assert plain.rows_.tolist() == list(range(180))


def test_a_log_model_is_bootstrapped_on_its_own_scale():
    model = mixed("log(Reaction) ~ Days + (1 | Subject)", SLEEP)
    result = parametric_bootstrap(model, lambda m: m.coef_[0], n_resamples=20, random_state=0)
    assert result.standard_error.iloc[0] == pytest.approx(model.bse["Days"], rel=0.5)


# Predictions --------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [pd.DataFrame, pl.DataFrame])
def test_a_grid_needs_no_groups(slopes, frame):
    grid = frame({"Days": [0.0, 9.0]})
    expected = slopes.params["Intercept"] + slopes.params["Days"] * np.array([0.0, 9.0])
    listed = MixedEffectsVIRegressor([RandomEffect("Subject", ["Days"])]).fit(X, Y)
    for model in (slopes, listed):
        np.testing.assert_allclose(model.predict(grid, include="none"), expected)
        assert model.predict_interval(grid, include="none").shape == (2, 2)
        with pytest.raises(ValueError, match="Subject"):
            model.predict(grid)


def test_standard_errors_of_means(slopes):
    """predict(..., se.fit = TRUE) of the population: sqrt(x' V x)."""
    grid = pd.DataFrame({"Days": [0.0, 9.0]})
    mean, error = slopes.predict(grid, include="none", return_std="mean")
    rows = np.column_stack([np.ones(2), grid["Days"]])
    np.testing.assert_allclose(error, np.sqrt(np.diagonal(rows @ slopes.coef_cov_ @ rows.T)))
    np.testing.assert_allclose(mean, rows @ slopes.params)
    X, y, _ = make_mixed_regression(n_samples=500, family="poisson", random_state=0)
    counts = MixedEffectsVIRegressor(["g0", "g1"], family="poisson").fit(X, y)
    eta, std = counts.predict(X, return_std=True, type="link")
    _, error = counts.predict(X, return_std="mean")
    np.testing.assert_allclose(
        error, np.exp(eta + std**2 / 2) * np.sqrt(np.expm1(std**2)), rtol=1e-8
    )


def test_quantiles_of_one_model(slopes):
    three = slopes.predict_quantile(X, [0.1, 0.5, 0.9])
    np.testing.assert_allclose(three[:, [0, 2]], slopes.predict_interval(X, 0.8))
    np.testing.assert_allclose(three[:, 1], slopes.predict(X))
    np.testing.assert_array_equal(slopes.predict_quantile(X, 0.5), three[:, 1])
    for q in (0.0, [0.5, 1.0], [[0.5]]):
        with pytest.raises(ValueError, match="probabilities between 0 and 1"):
            slopes.predict_quantile(X, q)


def test_intervals_through_a_pipeline():
    scale = ColumnTransformer(
        [("scale", StandardScaler(), ["Days"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    model = MixedEffectsVIRegressor(["Subject"])
    pipeline = make_pipeline(scale, model.as_predictor("predict_interval", level=0.9))
    rows = np.random.default_rng(0).permutation(180)
    intervals = cross_val_predict(pipeline, X.iloc[rows], Y.iloc[rows], cv=3)
    inside = (intervals[:, 0] <= Y.iloc[rows]) & (Y.iloc[rows] <= intervals[:, 1])
    assert 0.82 < inside.mean() < 0.97
    np.testing.assert_allclose(
        pipeline.fit(X, Y).predict(X), model.fit(X, Y).predict_interval(X, 0.9), rtol=1e-6
    )
    with pytest.raises(ValueError, match="MixedEffectsVIRegressor has no method"):
        model.as_predictor("predict_everything").fit(X, Y)


def test_levels_that_drift(slopes):
    new = X.iloc[:4].assign(Subject=["308", "1", "309", "2"])
    assert slopes.known_levels(new)["Subject"].tolist() == [True, False, True, False]
    strict = MixedEffectsVIRegressor(["Subject"], handle_unknown="error").fit(X, Y)
    assert strict.known_levels(new)["Subject"].sum() == 2
    watching = MixedEffectsVIRegressor(["Subject"], handle_unknown="warn").fit(X, Y)
    with pytest.warns(UnknownLevelsWarning, match="a label of 'Subject' is unknown: '1'"):
        watching.predict(new.iloc[:2])


# Parameters ---------------------------------------------------------------------------------


def test_labels_are_coded_against_a_reference():
    frame = X.assign(dose=np.array(["low", "none", "high"])[np.arange(180) % 3])
    model = MixedEffectsVIRegressor(["Subject"], reference={"dose": "none"}).fit(frame, Y)
    assert model.coef_names_ == ["Days", "dose[high]", "dose[low]"]
    written = mixed(
        'Reaction ~ Days + C(dose, Treatment("none")) + (1 | Subject)',
        frame.assign(Reaction=Y),
    )
    np.testing.assert_allclose(model.coef_, written.coef_, rtol=1e-8)
    with pytest.raises(ValueError, match=r"'dose' holds 'huge'.*known levels are"):
        model.predict(frame.assign(dose="huge"))
    with pytest.raises(ValueError, match="'Days', which is not a categorical fixed effect"):
        MixedEffectsVIRegressor(["Subject"], reference={"Days": 0}).fit(frame, Y)
    with pytest.raises(ValueError, match="'gigantic'"):
        MixedEffectsVIRegressor(["Subject"], reference={"dose": "gigantic"}).fit(frame, Y)
    slopes = MixedEffectsVIRegressor([RandomEffect("Subject", slopes="dose")])
    assert slopes.fit(frame, Y).random_effects_["Subject"].columns.tolist() == [
        "Intercept", "dose[low]", "dose[none]",
    ]  # fmt: skip


def test_a_search_over_groups_and_fixed_effects():
    frame = X.assign(site=[f"s{i}" for i in np.arange(180) % 6], noise=np.arange(180) % 7)
    grid = [
        {"random_effects": [["Subject"], ["Subject", "site"]], "fixed_effects": [["Days"]]},
        {"formula": ["Days + (Days | Subject)", "Days + noise + (1 | Subject)"]},
    ]
    rows = np.random.default_rng(0).permutation(180)
    search = GridSearchCV(MixedEffectsVIRegressor(), grid, cv=3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(frame.iloc[rows], Y.iloc[rows])
    assert search.best_params_ == {"formula": "Days + (Days | Subject)"}
    assert not np.isnan(search.cv_results_["mean_test_score"]).any()


@pytest.mark.parametrize("name", ["precision_weights", "sample_weight", "offset"])
def test_columns_and_arrays_are_alike(name):
    w = np.linspace(1.0, 2.0, 180)
    frame = SLEEP.assign(w=w)
    formula = "Reaction ~ Days + (1 | Subject)"
    by_name = mixed(formula, frame, **{name: "w"})
    for values in (w, pd.Series(w, index=np.arange(180) + 5), w.tolist()):
        model = mixed(formula, SLEEP, **{name: values})
        assert model.elbo_ == pytest.approx(by_name.elbo_, rel=1e-12)
    with pytest.raises(ValueError, match="180"):
        mixed(formula, SLEEP, **{name: w[:3]})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: mixed("Reaction ~ Days", SLEEP, REML=False), TypeError, "method='ml'"),
        (lambda: mixed("Reaction ~ Days", SLEEP, groups="Subject"), TypeError, r"\(1 \| g\)"),
        (lambda: mixed(SLEEP, "Reaction ~ Days"), TypeError, r"mixed\(formula, data\)"),
        (lambda: mixed(3, SLEEP), TypeError, "must be text"),
        (
            lambda: mixed("Reaction ~ Days", SLEEP, weights=np.ones(180)),
            ValueError,
            "precision_weights.*sample_weight",
        ),
        (
            lambda: MixedEffectsVIRegressor("Reaction ~ Days + (1 | Subject)").fit(X, Y),
            ValueError,
            "pass its right-hand side as formula=",
        ),
        (
            lambda: MixedEffectsVIRegressor("Days + (1 | Subject)").fit(X, Y),
            ValueError,
            "formula=",
        ),
        (
            lambda: MixedEffectsVIRegressor(["Subject"], offset=X["Days"]).fit(X, Y),
            TypeError,
            r"offset names a column of X and cannot hold values \(a Series was passed\)",
        ),
        (
            lambda: MixedEffectsVIRegressor(["Subject"]).fit(SLEEP, Y),
            ValueError,
            r"X contains the response 'Reaction'.*drop",
        ),
        (
            lambda: MixedEffectsVIClassifier(["Subject"]).fit(X, X["Days"] / 10),
            ValueError,
            "the share 0.1 in row 1.*cbind",
        ),
    ],
)
def test_errors_say_what_to_write(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert "Name: " not in str(caught.value)
    assert "np." not in str(caught.value)


def test_population_residuals(slopes):
    display = ResidualsDisplay.from_estimator(slopes, include="none")
    fixed = slopes.predict(SLEEP, include="none")
    np.testing.assert_allclose(display.fitted, fixed)
    np.testing.assert_allclose(
        display.residuals, (Y - fixed) / np.sqrt(slopes.noise_variance_), rtol=1e-10
    )
