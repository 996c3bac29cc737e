"""Shares of variance, against the R package performance and dense sums over the rows."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.special import polygamma
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, icc, mixed, r2
from skmixed.datasets import load_cbpp, load_insteval, load_sleepstudy, make_mixed_regression
from skmixed.families import make_family
from skmixed.families.links import LINKS
from skmixed.fitted_model import fitted_model
from skmixed.inspection.variance_shares import ALL_GROUPS, variance_parts

# performance 0.10.2: icc(m), r2_nakagawa(m) and insight::get_variance(m) of lme4 fits


def check_performance(model, fixed, random, residual, tolerance):
    """Compare variances; R divides that of the fixed part by one row less."""
    n_rows = model.n_observations_
    parts = variance_parts(fitted_model(model))
    assert parts.fixed * n_rows / (n_rows - 1.0) == pytest.approx(fixed, rel=tolerance, abs=1e-12)
    assert parts.random == pytest.approx(random, rel=tolerance)
    assert parts.residual == pytest.approx(residual, rel=tolerance)


def test_sleepstudy_as_performance():
    model = mixed("Reaction ~ Days + (Days|Subject)", load_sleepstudy().frame)
    check_performance(model, 908.953362623, 1698.083700437, 654.940008260, 2e-5)
    shares = icc(model)
    assert shares.loc["Subject", "adjusted"] == pytest.approx(0.721660259589, abs=5e-6)
    # 180 rows instead of 179 below the line of the fixed variance
    assert shares.loc["Subject", "unadjusted"] == pytest.approx(0.520568864621, abs=1e-3)
    assert r2(model)["marginal"] == pytest.approx(0.278651058162, abs=1.2e-3)
    assert r2(model)["conditional"] == pytest.approx(0.799219922783, abs=5e-4)


def test_insteval_as_performance():
    model = mixed("y ~ service + (1|s) + (1|d) + (1|dept)", load_insteval().frame)
    check_performance(model, 0.00210699359823, 0.37813056302344, 1.38650039549074, 2e-4)
    shares = icc(model)
    assert shares.index.tolist() == ["s", "d", "dept", ALL_GROUPS]
    variances = [0.10599796564726, 0.26522066534866, 0.00691193202752]
    assert shares["variance"].tolist()[:3] == pytest.approx(variances, rel=3e-3)
    assert shares.loc[ALL_GROUPS, "adjusted"] == pytest.approx(0.214283083496, abs=2e-5)
    assert shares.loc[ALL_GROUPS, "unadjusted"] == pytest.approx(0.214027531684, abs=2e-5)
    assert shares["adjusted"].iloc[:3].sum() == pytest.approx(shares["adjusted"].iloc[3])
    expected = [0.00119258976449, 0.21522012144870]
    assert r2(model).tolist() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize(
    ("link", "fixed", "random", "residual", "adjusted"),
    [
        ("logit", 0.358113845471, 0.412253551965, 3.289868133696, 0.111356024185),
        ("probit", 0.0969148206324, 0.1139400171605, 1.0, 0.1022855947405),
    ],
)
def test_cbpp_as_performance(link, fixed, random, residual, adjusted):
    """The bound and lme4's Laplace approximation differ by some per cent of the variance."""
    X, incidence = load_cbpp(return_X_y=True)
    rows = pd.concat([X[["herd", "period"]]] * 2, ignore_index=True)
    labels = np.repeat([1, 0], len(X))
    weights = np.concatenate([incidence, X["size"] - incidence])
    model = MixedEffectsVIClassifier(formula="period + (1 | herd)", link=link, method="ml").fit(
        rows, labels, sample_weight=weights
    )
    check_performance(model, fixed, random, residual, 0.06)
    assert variance_parts(fitted_model(model)).residual == pytest.approx(residual, rel=1e-12)
    assert icc(model).loc["herd", "adjusted"] == pytest.approx(adjusted, abs=0.006)


# Dense sums over the rows --------------------------------------------------------------------


def dense_parts(model, columns, bases, weights):
    """Variance of the fixed part and of each group's effects, mean of the fixed part."""
    shares = weights / weights.sum()
    fixed = model.intercept_ + columns @ model.coef_
    mean = shares @ fixed
    groups = {}
    for group, basis in bases.items():
        covariance = model.random_effects_cov_[group].to_numpy()
        groups[group] = shares @ np.einsum("ij,jk,ik->i", basis, covariance, basis)
    return mean, shares @ (fixed - mean) ** 2, groups


@pytest.fixture(scope="module")
def rows():
    X, y, _ = make_mixed_regression(300, 2, (20, 8), n_slopes=(1, 0), intercept=1.0, random_state=4)
    rng = np.random.default_rng(0)
    X["x0"] += 3.0
    X["w"] = rng.uniform(0.5, 8.0, len(X))
    X["o"] = rng.normal(2.0, 1.0, len(X))
    return X, np.asarray(y), rng.integers(1, 4, len(X)).astype(float)


def bases_of(X):
    ones = np.ones(len(X))
    return {"g0": np.column_stack([ones, X["x0"]]), "g1": ones[:, None]}


@pytest.mark.parametrize("case_weights", [False, True])
@pytest.mark.parametrize("extra", ["", "w", "o", "wo"])
@pytest.mark.parametrize("fixed", ["x0 + x1", "0 + x0 + x1"])
@pytest.mark.parametrize("random", ["(x0 | g0)", "(x0 || g0)"])
def test_gaussian_parts_are_weighted_sums_over_rows(rows, case_weights, extra, fixed, random):
    X, y, weights = rows
    model = MixedEffectsVIRegressor(
        formula=f"{fixed} + {random} + (1 | g1)",
        precision_weights="w" if "w" in extra else None,
        offset="o" if "o" in extra else None,
    ).fit(X, y, sample_weight=weights if case_weights else None)
    case = weights if case_weights else np.ones(len(y))
    precision = X["w"].to_numpy() if "w" in extra else np.ones(len(y))
    mean, variance, groups = dense_parts(
        model, X[["x0", "x1"]].to_numpy(), bases_of(X), case * precision
    )
    result = model.fit_result_
    assert result.fixed_mean == pytest.approx(mean, rel=1e-9)
    assert result.fixed_variance == pytest.approx(variance, rel=1e-9)
    parts = variance_parts(fitted_model(model))
    assert parts.groups == pytest.approx(groups, rel=1e-9)
    assert parts.residual == pytest.approx(
        model.noise_variance_ / np.average(precision, weights=case), rel=1e-9
    )
    # lone intercepts and slopes alike; the moments are those of the raw columns
    shares = case * precision / (case * precision).sum()
    for basis, fitted in zip(bases_of(X).values(), result.factors, strict=True):
        moments = basis.T @ (basis * shares[:, None])
        assert fitted.moments == pytest.approx(moments, rel=1e-12)


def test_the_unit_of_precision_weights_does_not_matter(rows):
    X, y, _ = rows
    model = MixedEffectsVIRegressor(formula="x0 + (1 | g0)", precision_weights="w")
    shares = r2(clone(model).fit(X, y))
    other = r2(clone(model).fit(X.assign(w=1000.0 * X["w"]), y))
    assert other.tolist() == pytest.approx(shares.tolist(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:The mean-field posterior")
@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize("weights_column", [None, "w"])
def test_partial_fit_knows_the_same_parts(rows, posterior, weights_column):
    X, y, weights = rows
    model = MixedEffectsVIRegressor(
        formula="x0 + x1 + (x0 | g0) + (1 | g1)",
        posterior=posterior,
        precision_weights=weights_column,
    )
    whole = clone(model).fit(X, y, sample_weight=weights)
    for part in np.array_split(np.arange(len(y)), 3):
        model.partial_fit(X.iloc[part], y[part], weights[part])
    expected, found = variance_parts(fitted_model(whole)), variance_parts(fitted_model(model))
    assert found.fixed == pytest.approx(expected.fixed, rel=1e-5)
    assert found.groups == pytest.approx(expected.groups, rel=1e-4)
    assert found.residual == pytest.approx(expected.residual, rel=1e-5)
    for mine, theirs in zip(model.fit_result_.factors, whole.fit_result_.factors, strict=True):
        assert mine.moments == pytest.approx(theirs.moments, rel=1e-9)


def test_partial_fit_without_intercept_says_what_it_does_not_know(rows):
    X, y, _ = rows
    model = MixedEffectsVIRegressor(formula="0 + x0 + (1 | g0)").partial_fit(X, y)
    assert icc(model)["unadjusted"].isna().all()
    assert 0.0 < icc(model).loc["g0", "adjusted"] < 1.0
    with pytest.raises(ValueError, match=r"partial_fit.*Use fit on all rows"):
        r2(model)


# Responses that are not normal ---------------------------------------------------------------


@pytest.mark.parametrize("family", ["poisson", "negative_binomial", "gamma"])
@pytest.mark.parametrize("offset", [None, "o"])
@pytest.mark.parametrize("fixed", ["x0 + x1", "0 + x0 + x1"])
def test_parts_of_counts_and_amounts(rows, family, offset, fixed):
    X, _, weights = rows
    rng = np.random.default_rng(1)
    rate = np.exp(0.3 * X["x0"] + (X["o"] if offset else 0.0) + rng.normal(0, 0.5, 20)[X["g0"]])
    amount = rng.gamma(2.0, rate / 2.0)
    y = amount if family == "gamma" else rng.poisson(amount).astype(float)
    model = MixedEffectsVIRegressor(
        formula=f"{fixed} + (x0 | g0) + (1 | g1)", family=family, offset=offset
    ).fit(X, y, sample_weight=weights)
    _, variance, groups = dense_parts(model, X[["x0", "x1"]].to_numpy(), bases_of(X), weights)
    eta = (model.intercept_ if fixed[0] != "0" else 0.0) + X[["x0", "x1"]] @ model.coef_
    for group, basis in bases_of(X).items():
        covariance = model.random_effects_cov_[group].to_numpy()
        eta = eta + 0.5 * np.einsum("ij,jk,ik->i", basis, covariance, basis)
    count = np.average(np.exp(eta + (X["o"] if offset else 0.0)), weights=weights)
    # Nakagawa, Johnson and Schielzeth (2017), table 1
    dispersion = getattr(model, "dispersion_", 0.0)
    residual = {
        "poisson": np.log(1.0 + 1.0 / count),
        "negative_binomial": np.log(1.0 + 1.0 / count + dispersion),
        "gamma": polygamma(1, 1.0 / dispersion) if dispersion else np.nan,
    }[family]
    parts = variance_parts(fitted_model(model))
    assert parts.fixed == pytest.approx(variance, rel=1e-8)
    assert parts.groups == pytest.approx(groups, rel=1e-8)
    assert parts.residual == pytest.approx(residual, rel=1e-8)
    total = variance + sum(groups.values()) + residual
    assert r2(model)["marginal"] == pytest.approx(variance / total, rel=1e-7)
    assert r2(model)["conditional"] == pytest.approx(1.0 - residual / total, rel=1e-7)


def test_the_mean_count_of_a_category_is_that_of_its_rows():
    """Four fifths of the rows are of one category, as the predictor is not normal."""
    rng = np.random.default_rng(0)
    category, group = rng.choice(3, 1000, p=[0.8, 0.15, 0.05]), rng.integers(0, 30, 1000)
    rate = np.exp(-1.0 + np.array([0.0, 1.5, 3.0])[category] + 0.1 * rng.normal(size=30)[group])
    X = pd.DataFrame({"c": category.astype(str), "g": group})
    counts = rng.poisson(rate)
    model = MixedEffectsVIRegressor(formula="c + (1 | g)", family="poisson", method="ml")
    residual = variance_parts(fitted_model(model.fit(X, counts))).residual
    # the fit reproduces the mean count, 0.857 where a normal predictor would have 0.710
    assert 1.0 / np.expm1(residual) == pytest.approx(counts.mean(), rel=0.02)


def test_ordinal_classes_are_cut_from_a_latent_variable(rows):
    X, y, _ = rows
    classes = np.digitize(y, np.quantile(y, [0.3, 0.6]))
    model = MixedEffectsVIClassifier(formula="x0 + (1 | g0)", family="ordinal").fit(X, classes)
    fixed = X["x0"].var(ddof=0) * model.coef_[0] ** 2
    random = model.random_effects_cov_["g0"].iloc[0, 0]
    total = fixed + random + np.pi**2 / 3.0
    assert r2(model)["marginal"] == pytest.approx(fixed / total, rel=1e-8)
    assert icc(model).loc["g0", "unadjusted"] == pytest.approx(random / total, rel=1e-8)


@pytest.mark.parametrize(
    ("family", "parameters"),
    [("gamma", [np.log(1.7)]), ("poisson", []), ("negative_binomial", [5.0])],
)
def test_residual_variance_is_that_of_the_logarithm(family, parameters):
    """Of draws: exact for amounts, close for counts that are large."""
    likelihood = make_family(family)
    own = np.array(parameters)
    log_mean = np.full(100_000, np.log(400.0))
    draws = likelihood.sample(log_mean, own, np.random.default_rng(0))
    found = likelihood.residual_variance(log_mean[0], own)
    assert found == pytest.approx(np.log(draws).var(), rel=0.05)


def test_latent_variance_is_that_of_the_link():
    uniform = (np.arange(200_000) + 0.5) / 200_000
    for link in ("logit", "probit"):
        variance = LINKS[link].quantile(uniform).var()
        found = make_family("bernoulli", link).residual_variance(0.0, np.empty(0))
        assert found == pytest.approx(variance, rel=1e-3)
        assert make_family("ordinal", link, 3).residual_variance(0.0, np.zeros(1)) == found


# The edges -----------------------------------------------------------------------------------


def test_no_random_effects(rows):
    X, y, _ = rows
    model = MixedEffectsVIRegressor(formula="x0 + x1", method="ml").fit(X, y)
    shares = r2(model)
    assert shares["marginal"] == shares["conditional"]
    # with maximum likelihood that is the ordinary R-squared
    assert shares["marginal"] == pytest.approx(model.score(X, y), rel=1e-9)
    with pytest.raises(ValueError, match="no random effects"):
        icc(model)


def test_no_fixed_effects(rows):
    X, y, _ = rows
    model = MixedEffectsVIRegressor(formula="1 + (1 | g0)").fit(X, y)
    assert r2(model)["marginal"] == 0.0
    assert r2(model)["conditional"] == icc(model).loc["g0", "adjusted"]


@pytest.mark.filterwarnings("ignore:The fixed effects reproduce")
def test_a_response_without_noise(rows):
    X, _, _ = rows
    model = MixedEffectsVIRegressor(formula="x0 + (1 | g0)")
    exact = clone(model).fit(X, 2.0 * X["x0"] + 1.0)
    assert r2(exact).tolist() == pytest.approx([1.0, 1.0], abs=1e-12)
    constant = clone(model).fit(X, np.ones(len(X)))
    with pytest.raises(ValueError, match="All variances are 0"):
        r2(constant)


def test_columns_that_others_span_change_nothing(rows):
    X, y, _ = rows
    model = MixedEffectsVIRegressor(formula="x0 + (x0 | g0)").fit(X, y)
    with pytest.warns(UserWarning, match="left out"):
        spanned = MixedEffectsVIRegressor(formula="x0 + x2 + (x0 | g0)").fit(
            X.assign(x2=1.0 - X["x0"]), y
        )
    assert r2(spanned).tolist() == pytest.approx(r2(model).tolist(), rel=1e-6)


def test_shares_do_not_depend_on_units(rows):
    X, y, _ = rows
    model = MixedEffectsVIRegressor(formula="x0 + (x0 | g0)")
    expected = r2(clone(model).fit(X, y))
    moved = clone(model).fit(X.assign(x0=2000.0 + 0.001 * X["x0"]), 1e4 * y - 7.0)
    assert r2(moved).tolist() == pytest.approx(expected.tolist(), rel=1e-3)


def test_survives_pickling_and_refuses_unfitted_models(rows):
    X, y, _ = rows
    model = MixedEffectsVIRegressor(formula="x0 + (x0 | g0)").fit(X, y)
    again = pickle.loads(pickle.dumps(model))
    pd.testing.assert_frame_equal(icc(again), icc(model))
    pd.testing.assert_series_equal(r2(again), r2(model))
    for function in (icc, r2):
        with pytest.raises(NotFittedError):
            function(MixedEffectsVIRegressor())
