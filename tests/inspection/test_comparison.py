"""Comparisons of models, against lme4's `anova` and the mixtures of Stram and Lee."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2
from sklearn.exceptions import NotFittedError

from skmixed import (
    MixedEffectsVIClassifier,
    MixedEffectsVIRegressor,
    RandomEffect,
    compare_models,
    mixed,
)
from skmixed.datasets import load_insteval, load_sleepstudy, make_mixed_regression


@pytest.fixture(scope="module")
def sleep():
    """Maximum-likelihood fits of sleepstudy by their random and fixed effects."""
    frame = load_sleepstudy().frame
    made = {}

    def fit(formula, method="ml"):
        if (formula, method) not in made:
            made[formula, method] = mixed(f"Reaction ~ {formula}", frame, method=method)
        return made[formula, method]

    return fit


@pytest.fixture(scope="module")
def rows():
    X, y, _ = make_mixed_regression(150, 2, (10, 6), n_slopes=(2, 0), random_state=0)
    return X, np.asarray(y)


# lme4 1.1: anova(m0, m1) and anova(r0, r1, refit = FALSE)
@pytest.mark.parametrize(
    ("method", "chi_square", "p_value"),
    [
        ("ml", 42.1392985162349, 7.07241263839854e-10),
        ("reml", 42.8368134349691, 4.99004143060735e-10),
    ],
)
def test_sleepstudy_as_anova(sleep, method, chi_square, p_value):
    small = sleep("Days + (1|Subject)", method)
    large = sleep("Days + (Days|Subject)", method)
    comparison = compare_models(large, small, names=["large", "small"])
    table = comparison.to_frame()
    assert table.index.tolist() == ["small", "large"]
    assert table.loc["small", ["chi_square", "df", "p_value", "p_corrected"]].isna().all()
    assert table.loc["large", "chi_square"] == pytest.approx(chi_square, abs=2e-6)
    assert table.loc["large", "df"] == 2
    assert table.loc["large", "p_value"] == pytest.approx(p_value, rel=1e-5)
    # Stram and Lee (1994), case 3: a slope and its covariance
    mixture = 0.5 * (chi2.sf(chi_square, 1) + chi2.sf(chi_square, 2))
    assert table.loc["large", "p_corrected"] == pytest.approx(mixture, rel=1e-5)
    assert "half chi-square(1) and half chi-square(2)" in str(comparison)


def test_insteval_as_anova():
    frame = load_insteval().frame
    groups = "(1|s) + (1|d) + (1|dept)"
    small, large = (mixed(f"y ~ {f} + {groups}", frame, method="ml") for f in ("1", "service"))
    row = compare_models(small, large).to_frame().loc["model 2"]
    assert row["chi_square"] == pytest.approx(47.8036343396234, abs=1e-4)
    assert row["df"] == 1
    assert row["p_value"] == pytest.approx(4.71117895721208e-12, rel=1e-4)
    assert row["p_corrected"] == row["p_value"]


def test_four_models_in_a_row(sleep):
    models = {
        "slope": sleep("Days + (Days|Subject)"),
        "mean": sleep("1 + (1|Subject)"),
        "diagonal": sleep("Days + (Days||Subject)"),
        "line": sleep("Days + (1|Subject)"),
    }
    comparison = compare_models(*models.values(), names=list(models))
    table = comparison.to_frame()
    assert table.index.tolist() == ["mean", "line", "diagonal", "slope"]
    assert table["n_parameters"].tolist() == [3, 4, 5, 6]
    for before, name in zip(table.index, table.index[1:], strict=False):
        gain = 2.0 * (models[name].elbo_ - models[before].elbo_)
        assert table.loc[name, "chi_square"] == pytest.approx(gain, rel=1e-12)
        assert table.loc[name, "p_value"] == pytest.approx(chi2.sf(gain, 1), rel=1e-9)
    # a fixed effect and a covariance are no boundary, a variance is
    p_value, corrected = table["p_value"], table["p_corrected"]
    assert corrected["line"] == p_value["line"]
    assert corrected["diagonal"] == pytest.approx(0.5 * p_value["diagonal"], rel=1e-12)
    assert corrected["slope"] == p_value["slope"]
    assert "the p-value is halved" in str(comparison)


def test_text_and_html(sleep):
    small, large = sleep("Days + (1|Subject)"), sleep("Days + (Days|Subject)")
    comparison = compare_models(small, large, names=["<a>", "b"])
    text, html = str(comparison), comparison._repr_html_()
    assert repr(comparison) == text
    assert "b: 1 + Days + (1 + Days | Subject)" in text
    for number in ("-897.0393", "1763.9393", "1783.0971", "42.1393", "7.072e-10"):
        assert number in text
        assert number in html
    assert "&lt;a&gt;" in html
    assert "<a>" not in html
    assert "nan" not in text + html
    copied = comparison.to_frame()
    copied["df"] = 0.0
    assert comparison.table["df"].iloc[1] == 2


def test_chi_square_of_nothing_gained():
    X, y, _ = make_mixed_regression(60, 1, (6,), group_sd=0.0, random_state=1)
    small = MixedEffectsVIRegressor(None, method="ml").fit(X[["x0"]], y)
    large = MixedEffectsVIRegressor("g0", method="ml").fit(X, y)
    row = compare_models(small, large).to_frame().iloc[1]
    assert abs(row["chi_square"]) < 1e-9
    assert row["p_value"] == pytest.approx(1.0, abs=1e-4)
    assert 0.49 < row["p_corrected"] <= 1.0


def test_two_variances_at_once_are_conservative(rows):
    X, y = rows
    small = MixedEffectsVIRegressor("g0", method="ml").fit(X[["x0", "x1", "g0"]], y)
    slopes = RandomEffect("g0", ["x0", "x1"])
    large = MixedEffectsVIRegressor([slopes], method="ml").fit(X[["x0", "x1", "g0"]], y)
    comparison = compare_models(small, large)
    row = comparison.to_frame().iloc[1]
    assert row["df"] == 5
    assert np.isnan(row["p_corrected"])
    assert row["p_value"] < 1.0
    assert "2 variances are tested at their boundary 0" in str(comparison)
    assert "conservative" in str(comparison)


def test_the_corrected_p_value_has_its_level():
    """Where the variance is 0, it is below 20 % in 20 % of data sets, the ordinary one in 10 %."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"g": np.repeat(np.arange(40), 4)})
    found = []
    for _ in range(200):
        y = rng.standard_normal(len(X))
        small = MixedEffectsVIRegressor(formula="1").fit(X, y)
        large = MixedEffectsVIRegressor(formula="1 + (1 | g)").fit(X, y)
        found.append(compare_models(small, large).table.iloc[1])
    rejected = pd.DataFrame(found)[["p_value", "p_corrected"]].lt(0.2).mean()
    # 200 data sets: standard errors of 0.021 and 0.028
    assert abs(rejected["p_value"] - 0.1) < 0.06
    assert abs(rejected["p_corrected"] - 0.2) < 0.06


def test_not_nested_gets_no_test(rows):
    X, y = rows
    first = MixedEffectsVIRegressor("g0", method="ml").fit(X[["x0", "g0"]], y)
    second = MixedEffectsVIRegressor(["g0", "g1"], method="ml").fit(X[["x1", "g0", "g1"]], y)
    comparison = compare_models(first, second)
    assert comparison.to_frame()["chi_square"].isna().all()
    assert "fixed effects 'x0'" in str(comparison)
    other = MixedEffectsVIRegressor(["g1"], method="ml").fit(X[["x0", "g1"]], y)
    both = MixedEffectsVIRegressor("(x0|g0)", method="ml").fit(X[["x0", "g0"]], y)
    assert "random term (Intercept | g1)" in str(compare_models(other, both))
    same = compare_models(first, other)
    assert same.to_frame()["p_value"].isna().all()


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"offset": "x1"}, "offset is None in the one and 'x1'"),
        ({"precision_weights": "w"}, "precision_weights is None in the one and 'w'"),
        ({"posterior": "mean_field"}, "posterior is 'full' in the one and 'mean_field'"),
    ],
)
def test_other_settings_are_not_nested(rows, parameters, reason):
    X, y = rows
    X = X.assign(w=np.linspace(0.5, 2.0, len(y)))
    small = mixed("y ~ x0 + (1|g0)", X.assign(y=y), method="ml")
    large = mixed("y ~ x0 + (1|g0) + (1|g1)", X.assign(y=y), method="ml", **parameters)
    comparison = compare_models(small, large)
    assert reason in str(comparison)
    assert comparison.to_frame()["p_value"].isna().all()


def test_noise_that_is_held_is_nested_in_noise_that_is_not(rows):
    X, y = rows
    X = X[["x0", "g0"]]
    held = MixedEffectsVIRegressor("g0", noise_scale=1.0, method="ml").fit(X, y)
    free = MixedEffectsVIRegressor("g0", method="ml").fit(X, y)
    row = compare_models(held, free).to_frame().iloc[1]
    assert row["df"] == 1
    assert row["p_corrected"] == row["p_value"]
    more = MixedEffectsVIRegressor("(x0|g0)", noise_scale=2.0, method="ml").fit(X, y)
    assert "a fixed noise_scale" in str(compare_models(free, more))


def test_bounds_are_told_in_words(rows):
    X, y = rows
    labels = (y > 0).astype(int)
    small = MixedEffectsVIClassifier("g0", method="ml").fit(X[["g0"]], labels)
    large = MixedEffectsVIClassifier("g0", method="ml").fit(X[["x0", "g0"]], labels)
    comparison = compare_models(small, large)
    assert "lower bound (the ELBO)" in str(comparison)
    gain = 2.0 * (large.elbo_ - small.elbo_)
    assert comparison.to_frame()["chi_square"].iloc[1] == pytest.approx(gain)


def test_monte_carlo_error_is_told_in_words():
    X, y, _ = make_mixed_regression(2000, 1, (350, 250), random_state=0)
    groups = ["g0", "g1"]
    small, large = (
        MixedEffectsVIRegressor(groups, method="ml", solver="iterative", n_probes=8).fit(X[c], y)
        for c in (groups, ["x0", *groups])
    )
    assert small.elbo_std_ > 0
    error = 2.0 * np.hypot(small.elbo_std_, large.elbo_std_)
    assert f"Monte Carlo error of up to about {error:.2g}" in str(compare_models(small, large))


def test_models_that_did_not_converge_are_named(rows):
    X, y = rows
    large = MixedEffectsVIRegressor("(x0|g0)", method="ml", max_iter=1)
    with pytest.warns(match="did not converge"):
        large.fit(X[["x0", "g0"]], y)
    small = MixedEffectsVIRegressor("g0", method="ml").fit(X[["x0", "g0"]], y)
    assert "'model 2' did not converge" in str(compare_models(small, large))


def test_refuses_what_cannot_be_compared(sleep, rows):
    X, y = rows
    small, large = sleep("Days + (1|Subject)"), sleep("Days + (Days|Subject)")
    with pytest.raises(ValueError, match="nothing to compare"):
        compare_models()
    with pytest.raises(ValueError, match="2 different names"):
        compare_models(small, large, names=["a", "a"])
    with pytest.raises(NotFittedError):
        compare_models(small, MixedEffectsVIRegressor())
    with pytest.raises(ValueError, match=r"'model 1' was fitted on 180 rows .* on 150"):
        compare_models(small, MixedEffectsVIRegressor("g0", method="ml").fit(X[["x0", "g0"]], y))
    with pytest.raises(ValueError, match=r"method='reml'.*method='ml'"):
        compare_models(small, sleep("Days + (Days|Subject)", "reml"))
    with pytest.raises(ValueError, match=r"different fixed effects \('Days'\).*method='ml'"):
        compare_models(sleep("1 + (1|Subject)", "reml"), sleep("Days + (1|Subject)", "reml"))
    counts = np.random.default_rng(0).poisson(3.0, len(y))
    models = [
        MixedEffectsVIRegressor("g0", family=family, method="ml").fit(X[["x0", "g0"]], counts)
        for family in ("poisson", "gaussian")
    ]
    with pytest.raises(ValueError, match=r"Poisson.*Gaussian.*one family"):
        compare_models(*models)


def test_long_models_are_shortened():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((80, 15)), columns=[f"x{i}" for i in range(15)])
    y = rng.standard_normal(80)
    large, small = (
        MixedEffectsVIRegressor(None, method="ml").fit(X.iloc[:, :k], y) for k in (15, 3)
    )
    text = str(compare_models(small, large))
    assert "more)" in text
    assert "x14" not in text


# What models are of --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def formulas():
    """Maximum-likelihood fits of one frame by formula; the base level of b is q or p."""
    rng = np.random.default_rng(1)
    n = 300
    frame = pd.DataFrame(
        {
            "x": rng.standard_normal(n),
            "z": rng.standard_normal(n),
            "i": rng.integers(0, 3, n),
            "a": rng.choice(list("pq"), n),
            "b": rng.choice(list("uvw"), n),
            "g": rng.integers(0, 15, n),
        }
    ).assign(
        a_from_q=lambda d: pd.Categorical(d["a"], categories=["q", "p"]),
        g_by_name=lambda d: "g" + d["g"].astype(str),
        y=lambda d: np.exp(0.3 * d["x"] + 0.5 * rng.standard_normal(15)[d["g"]] + 1.0),
    )
    frame["y"] += rng.exponential(size=n)
    frame["k"] = rng.negative_binomial(2.0, 2.0 / (2.0 + frame["y"]))

    def fit(formula, **parameters):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a:b is more than has full rank
            return mixed(formula, parameters.pop("data", frame), method="ml", **parameters)

    return fit, frame


@pytest.mark.parametrize("transformed", ["log(y)", "y2"])
def test_other_responses_are_refused(formulas, transformed):
    fit, frame = formulas
    one = fit("y ~ x + (1 | g)")
    other = fit(f"{transformed} ~ x + z + (1 | g)", data=frame.assign(y2=3.0 * frame["y"]))
    with pytest.raises(ValueError, match=r"response with mean .* to one with .* log\(y\)"):
        compare_models(one, other)


def test_other_weights_of_the_same_sum_are_refused(formulas):
    fit, frame = formulas
    ascending = frame["y"].rank().to_numpy()
    models = [
        fit(f"y ~ {terms} + (1 | g)", sample_weight=weights)
        for terms, weights in (("x", ascending), ("x + z", ascending[::-1].copy()))
    ]
    with pytest.raises(ValueError, match="sample_weight or responses differ"):
        compare_models(*models)


def test_parts_do_not_tell_their_response(formulas):
    fit, frame = formulas
    parts = MixedEffectsVIRegressor(formula="x + z + (1 | g)", method="ml")
    parts.partial_fit(frame, frame["y"])
    assert not hasattr(parts, "response_moments_")
    assert compare_models(fit("y ~ x + (1 | g)"), parts).to_frame()["df"].iloc[1] == 1


@pytest.mark.parametrize("nested", [False, True])
def test_a_larger_model_of_lower_likelihood_gets_no_test(formulas, nested):
    fit, frame = formulas
    # the same values of y in other rows have the same moments
    other = frame.assign(y=np.random.default_rng(0).permutation(frame["y"]))
    small, large = fit("y ~ x + (1 | g)"), fit("y ~ x + z + (1 | g)", data=other)
    chi_square = 2.0 * (large.elbo_ - small.elbo_)
    assert chi_square < -20.0
    with pytest.warns(UserWarning, match="most likely the models were fitted on different rows"):
        comparison = compare_models(small, large, nested=nested)
    row = comparison.to_frame().iloc[1]
    assert row[["chi_square", "df", "p_value", "p_corrected"]].isna().all()
    assert f"(chi-square {chi_square:.4g})" in str(comparison)


# Nesting by column spaces ----------------------------------------------------------------------

SAME_SPACES = [
    ("x", "scale(x) + z"),
    ("i", "C(i)"),
    ("a", "a_from_q + z"),
    ("a * b", "a_from_q * b + z"),
]


@pytest.mark.parametrize(("small", "large"), SAME_SPACES)
def test_column_spaces_decide_where_rows_are_at_hand(formulas, small, large):
    fit, frame = formulas
    one, other = fit(f"y ~ {small} + (1 | g)"), fit(f"y ~ {large} + (1 | g)")
    by_name = compare_models(one, other)
    assert by_name.to_frame()["p_value"].isna().all()
    assert "not seen to be nested" in str(by_name)
    assert "pass X" in str(by_name)
    row = compare_models(one, other, X=frame).to_frame().iloc[1]
    chi_square = 2.0 * (other.elbo_ - one.elbo_)
    assert row["chi_square"] == pytest.approx(chi_square)
    assert row["p_value"] == pytest.approx(chi2.sf(chi_square, row["df"]))
    insisted = compare_models(one, other, nested=True)
    assert insisted.to_frame().iloc[1].equals(row)
    assert "without a check" in str(insisted)


@pytest.mark.parametrize(
    ("small", "large", "reason"),
    [
        ("x + (1 | g)", "z + C(i) + (1 | g)", "fixed effects 'x'"),
        ("x + (0 + x | g)", "x + z + (1 | g)", r"\(x \| g\)"),
        ("x + (1 | g)", "x + z + (1 | b)", r"\(Intercept \| g\)"),
        ("x + (x | g)", "x + z + i + (x || g)", r"\(Intercept \+ x \| g\)"),
    ],
)
def test_other_column_spaces_are_not_nested(formulas, small, large, reason):
    fit, frame = formulas
    comparison = compare_models(fit(f"y ~ {small}"), fit(f"y ~ {large}"), X=frame)
    assert comparison.to_frame()["p_value"].isna().all()
    assert re.search(f"not nested, the larger one has no .*{reason}", str(comparison))


def test_random_terms_are_compared_by_their_columns_too(formulas):
    fit, frame = formulas
    small, large = fit("y ~ x + (1 | g)"), fit("y ~ x + (scale(x) | g_by_name)")
    assert compare_models(small, large, X=frame).to_frame()["df"].iloc[1] == 2
    smaller, larger = fit("y ~ x + (0 + x | g)"), fit("y ~ x + (scale(x) | g)")
    assert compare_models(smaller, larger, X=frame).to_frame()["df"].iloc[1] == 2


def test_interactions_are_the_same_in_any_order(formulas):
    fit, _ = formulas
    one, other = fit("y ~ a:b + (1 | g)"), fit("y ~ b:a + x + (1 | g)")
    assert compare_models(one, other).to_frame()["df"].iloc[1] == 1


# Families ------------------------------------------------------------------------------------


def test_poisson_is_the_boundary_of_negative_binomial(formulas):
    fit, _ = formulas
    poisson = fit("k ~ x + (1 | g)", family="poisson")
    binomial = fit("k ~ x + (1 | g)", family="negative_binomial")
    comparison = compare_models(poisson, binomial)
    row = comparison.to_frame().iloc[1]
    chi_square = 2.0 * (binomial.elbo_ - poisson.elbo_)
    assert row["df"] == 1
    assert row["p_value"] == pytest.approx(chi2.sf(chi_square, 1))
    assert row["p_corrected"] == pytest.approx(0.5 * chi2.sf(chi_square, 1))
    assert "the dispersion is tested at its boundary 0" in str(comparison)
    both = compare_models(fit("k ~ x", family="poisson"), binomial)
    assert both.to_frame()["p_corrected"].isna().iloc[1]
    assert "2 variances and dispersions are tested" in str(both)


def test_families_of_one_kind_of_response_have_comparable_aic(formulas):
    fit, _ = formulas
    models = fit("y ~ x + (1 | g)"), fit("y ~ x + z + (1 | g)", family="gamma")
    comparison = compare_models(*models)
    assert comparison.to_frame()["p_value"].isna().all()
    assert "family is 'gaussian' in the one and 'gamma' in the other" in str(comparison)
