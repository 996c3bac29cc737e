"""Log likelihood, parameters, AIC and BIC, against lme4's `logLik`, `AIC` and `BIC`."""

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, mixed
from skmixed.datasets import load_insteval, load_sleepstudy, make_mixed_regression
from skmixed.inspection.criteria import information_criteria

# lme4 1.1: c(logLik(m)), attr(logLik(m), "df"), AIC(m), BIC(m)
SLEEPSTUDY = [
    ("(1|Subject)", "ml", -897.039321502613, 4, 1802.07864300523, 1814.85047040879),
    ("(Days|Subject)", "ml", -875.969672244495, 6, 1763.93934448899, 1783.09708559433),
    ("(1|Subject)", "reml", -893.232542697461, 4, 1794.46508539492, 1807.23691279848),
    ("(Days|Subject)", "reml", -871.814135979976, 6, 1755.62827195995, 1774.78601306529),
]
INSTEVAL = [
    ("1", "ml", -118884.786205099, 5, 237779.572410199, 237825.592236585),
    ("service", "ml", -118860.884387929, 6, 237733.768775859, 237788.992567522),
    ("service", "reml", -118866.917063761, 6, 237745.834127522, 237801.057919185),
]


@pytest.mark.parametrize(("random", "method", "log_likelihood", "df", "aic", "bic"), SLEEPSTUDY)
def test_sleepstudy_as_lme4(random, method, log_likelihood, df, aic, bic):
    frame = load_sleepstudy().frame
    found = information_criteria(mixed(f"Reaction ~ Days + {random}", frame, method=method))
    assert found.n_parameters == df
    assert found.log_likelihood == pytest.approx(log_likelihood, abs=1e-6)
    assert found.aic == pytest.approx(aic, abs=2e-6)
    assert found.bic == pytest.approx(bic, abs=2e-6)
    assert not found.is_bound
    assert found.restricted == (method == "reml")


@pytest.mark.parametrize(("fixed", "method", "log_likelihood", "df", "aic", "bic"), INSTEVAL)
def test_insteval_as_lme4(fixed, method, log_likelihood, df, aic, bic):
    frame = load_insteval().frame
    model = mixed(f"y ~ {fixed} + (1|s) + (1|d) + (1|dept)", frame, method=method)
    found = information_criteria(model)
    assert found.n_parameters == df
    assert (found.aic, found.bic) == pytest.approx((aic, bic), rel=0, abs=1e-4)
    assert found.log_likelihood == pytest.approx(log_likelihood, rel=0, abs=5e-5)


@pytest.fixture(scope="module")
def rows():
    X, y, _ = make_mixed_regression(120, 2, (8, 5), n_slopes=(2, 0), random_state=0)
    return X, np.asarray(y)


@pytest.mark.parametrize(
    ("random", "n_covariances"),
    [
        (None, 0),
        (["g0", "g1"], 2),
        ("(1 + x0 + x1 | g0)", 6),
        ("(1 + x0 + x1 || g0)", 3),
        (["(1 + x0 | g0)", "(0 + x1 | g0)", "g1"], 5),
    ],
)
def test_covariances_are_counted(rows, random, n_covariances):
    X, y = rows
    if random is None or "g1" not in random:
        X = X.drop(columns="g1")
    X = X if random is not None else X.drop(columns="g0")
    model = MixedEffectsVIRegressor(random, method="ml").fit(X, y)
    assert information_criteria(model).n_parameters == 3 + n_covariances + 1


def test_what_is_not_estimated_is_not_counted(rows):
    X, y = rows
    X = X[["x0", "g0"]]
    held = MixedEffectsVIRegressor("g0", noise_scale=1.0).fit(X, y)
    assert information_criteria(held).n_parameters == 3
    with pytest.warns(UserWarning, match="left out"):
        spanned = MixedEffectsVIRegressor("g0").fit(X.assign(twice=2.0 * X["x0"]), y)
    assert information_criteria(spanned).n_parameters == 4
    no_intercept = MixedEffectsVIRegressor("g0", fit_intercept=False).fit(X, y)
    assert information_criteria(no_intercept).n_parameters == 3


def test_a_variance_at_zero_counts():
    X, y, _ = make_mixed_regression(60, 1, (6,), group_sd=0.0, random_state=1)
    model = MixedEffectsVIRegressor("g0").fit(X, y)
    assert model.random_effects_cov_["g0"].iloc[0, 0] == 0.0
    assert information_criteria(model).n_parameters == 4


def test_own_parameters_of_a_distribution_count(rows):
    X, y = rows
    X = X[["x0", "g0"]]
    counts = np.random.default_rng(0).poisson(np.exp(0.5 * X["x0"]) * 3.0)
    poisson = MixedEffectsVIRegressor("g0", family="poisson").fit(X, counts)
    assert information_criteria(poisson).n_parameters == 3
    overdispersed = MixedEffectsVIRegressor("g0", family="negative_binomial").fit(X, counts)
    assert information_criteria(overdispersed).n_parameters == 4
    classes = np.digitize(y, np.quantile(y, [0.3, 0.5, 0.8]))
    ordinal = MixedEffectsVIClassifier("g0", family="ordinal").fit(X, classes)
    assert len(ordinal.thresholds_) == 3  # with them, a slope and a variance
    assert information_criteria(ordinal).n_parameters == 5


def test_bounds_are_told_from_likelihoods(rows):
    X, y = rows
    classes = (y > np.median(y)).astype(int)
    alone = X[["x0"]]
    grouped = X[["x0", "g0"]]
    regressor, classifier = MixedEffectsVIRegressor, MixedEffectsVIClassifier
    assert not information_criteria(regressor("g0").fit(grouped, y)).is_bound
    mean_field = regressor("g0", posterior="mean_field").fit(grouped, y)
    assert information_criteria(mean_field).is_bound
    assert information_criteria(classifier("g0", method="ml").fit(grouped, classes)).is_bound
    # nothing is integrated out: the ELBO of a logistic regression is its log likelihood
    logistic = classifier(None, method="ml").fit(alone, classes)
    assert not information_criteria(logistic).is_bound
    probability = logistic.predict_proba(alone)[np.arange(len(classes)), classes]
    assert logistic.elbo_ == pytest.approx(np.log(probability).sum(), abs=1e-6)
    assert information_criteria(classifier(None, method="reml").fit(alone, classes)).is_bound


def test_rows_count_by_case_weight(rows):
    X, y = rows
    X = X[["x0", "g0"]]
    weights = np.random.default_rng(1).integers(1, 4, len(y))
    weighted = MixedEffectsVIRegressor("g0").fit(X, y, sample_weight=weights)
    index = np.repeat(np.arange(len(y)), weights)
    repeated = MixedEffectsVIRegressor("g0").fit(X.iloc[index], y[index])
    expected = information_criteria(repeated)
    assert information_criteria(weighted).bic == pytest.approx(expected.bic, abs=1e-6)


def test_refuses_what_is_no_fitted_model(rows):
    X, y = rows
    X = X[["x0", "g0"]]
    with pytest.raises(NotFittedError):
        information_criteria(MixedEffectsVIRegressor("g0"))
    pipeline = make_pipeline(FunctionTransformer(), MixedEffectsVIRegressor("g0")).fit(X, y)
    with pytest.raises(TypeError, match=r"Pipeline .*pipeline\[-1\]"):
        information_criteria(pipeline)
    assert isinstance(information_criteria(pipeline[-1]).aic, float)
    assert pd.notna(information_criteria(pipeline[-1]).bic)
