"""`MixedEffectsVIRegressor` with counts and positive amounts."""

from __future__ import annotations

import pickle
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.base import clone, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmixed import MixedEffectsVIRegressor, mixed
from skmixed.datasets import make_mixed_regression

GROUPS = ["g0", "g1"]
FAMILIES = ["poisson", "negative_binomial", "gamma"]
DATA = Path(__file__).parent / "reference" / "data"


def simulate(family, n=600, groups=(25, 8), seed=0):
    """Rows whose log mean has two crossed effects; dispersions of 0.5."""
    X, eta, _ = make_mixed_regression(
        n, 2, groups, coef=[0.5, -0.3], group_sd=(0.6, 0.4), noise_sd=0.0, intercept=0.8,
        random_state=seed,
    )  # fmt: skip
    mean = np.exp(np.asarray(eta))
    rng = np.random.default_rng(seed)
    if family == "poisson":
        return X, rng.poisson(mean)
    noise = rng.gamma(2.0, 0.5, n)
    return X, rng.poisson(mean * noise) if family == "negative_binomial" else mean * noise


@pytest.fixture(scope="module")
def fitted():
    """Data and model by family, each fitted once."""
    made = {}

    def get(family):
        if family not in made:
            X, y = simulate(family)
            made[family] = X, y, MixedEffectsVIRegressor(GROUPS, family=family).fit(X, y)
        return made[family]

    return get


def assert_same_fit(one, other, rtol=1e-6):
    """Bound, fixed effects, variances, dispersion and posterior are equal."""
    assert one.elbo_ == pytest.approx(other.elbo_, rel=1e-8)
    error = np.sqrt(np.diagonal(one.coef_cov_)).max()
    np.testing.assert_allclose(one.coef_, other.coef_, rtol=0, atol=rtol * error)
    if hasattr(one, "dispersion_"):
        assert one.dispersion_ == pytest.approx(other.dispersion_, rel=10 * rtol)
    for group, covariance in one.random_effects_cov_.items():
        np.testing.assert_allclose(covariance, other.random_effects_cov_[group], rtol=10 * rtol)
        for attribute in ("random_effects_", "random_effects_std_"):
            expected = getattr(one, attribute)[group]
            found = getattr(other, attribute)[group].loc[expected.index]
            np.testing.assert_allclose(found, expected, rtol=0, atol=10 * rtol)


def rows_with_unknown(X):
    """Sixty rows, every third of a level that was not fitted."""
    rows = X[:60].copy()
    rows.loc[rows.index[::3], "g0"] = 999
    return rows


# Predictions ---------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_estimates_are_near_the_truth(family):
    X, y = simulate(family, n=6000, groups=(60, 40), seed=3)
    model = MixedEffectsVIRegressor(GROUPS, family=family).fit(X, y)
    assert is_regressor(model)
    errors = np.sqrt(np.diagonal(model.coef_cov_))
    estimates = np.array([model.intercept_, *model.coef_])
    assert (np.abs(estimates - [0.8, 0.5, -0.3]) < 4 * errors).all()
    assert np.sqrt(model.random_effects_cov_["g0"].iloc[0, 0]) == pytest.approx(0.6, abs=0.2)
    assert hasattr(model, "dispersion_") == (family != "poisson")
    if family != "poisson":
        assert model.dispersion_ == pytest.approx(0.5, rel=0.15)
    assert not hasattr(model, "noise_variance_")
    assert list(model.variance_components_["group"]) == GROUPS


@pytest.mark.parametrize("family", FAMILIES)
def test_predictions_average_over_the_posterior(family, fitted):
    """Means and standard deviations are those of draws; an unseen level has its prior."""
    X, _, model = fitted(family)
    rows = rows_with_unknown(X)
    mean, std = model.predict(rows, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(rows))
    n_draws = 20_000
    draws = model.sample_y(rows, n_draws, random_state=1)
    np.testing.assert_array_equal(draws[:, :2], model.sample_y(rows, 2, random_state=1))
    error = draws.std(axis=1) / np.sqrt(n_draws)
    assert (np.abs(draws.mean(axis=1) - mean) < 5 * error).all()
    np.testing.assert_allclose(draws.std(axis=1), std, rtol=0.15)


@pytest.mark.parametrize("family", FAMILIES)
def test_unseen_levels_have_the_prior_variance(family):
    """E exp(eta) = exp(m + v / 2); fixed effects are points here, so v is the prior's."""
    X, y = simulate(family)
    X = X.drop(columns="g1")
    model = MixedEffectsVIRegressor(["g0"], family=family, method="ml").fit(X, y)
    rows = X[:10].assign(g0=999)
    fixed = model.intercept_ + rows[["x0", "x1"]].to_numpy() @ model.coef_
    prior = model.random_effects_cov_["g0"].iloc[0, 0]
    mean, std = model.predict(rows, return_std=True)
    expected = np.exp(fixed + prior / 2)
    np.testing.assert_allclose(mean, expected, rtol=1e-10)
    between = expected**2 * np.expm1(prior)
    squares = expected**2 + between
    within = {
        "poisson": lambda: expected,
        "negative_binomial": lambda: expected + squares * model.dispersion_,
        "gamma": lambda: squares * model.dispersion_,
    }[family]()
    np.testing.assert_allclose(std**2, between + within, rtol=1e-9)
    np.testing.assert_allclose(model.predict(rows, include="none"), np.exp(fixed), rtol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_score_and_include(family, fitted):
    X, y, model = fitted(family)
    assert model.score(X, y) == pytest.approx(r2_score(y, model.predict(X)))
    assert model.score(X, y) > 0.2
    for include in ("none", ["g1"], "all"):
        mean, std = model.predict(X, return_std=True, include=include)
        assert (mean > 0).all()
        assert np.isfinite(std).all()
    known = X["g0"].to_numpy() == X["g0"].iloc[0]
    strict = clone(model).set_params(handle_unknown="error").fit(X, y)
    with pytest.raises(ValueError, match="'g0' has the level '999'"):
        strict.predict(X[known].assign(g0=999))


@pytest.mark.parametrize("family", FAMILIES)
def test_intervals_cover_new_rows(family):
    """Half of the rows are new, and some of their levels; counts may be covered more often."""
    X, y = simulate(family, n=4000, groups=(120, 30), seed=7)
    train = np.random.default_rng(0).random(4000) < 0.5
    train &= (X["g0"] % 12 != 0).to_numpy()
    model = MixedEffectsVIRegressor(GROUPS, family=family).fit(X[train], y[train])
    for level in (0.5, 0.95):
        interval = model.predict_interval(X[~train], level=level)
        assert interval.shape == ((~train).sum(), 2)
        assert (interval[:, 0] <= interval[:, 1]).all()
        assert (interval[:, 0] >= 0).all()
        covered = ((y[~train] >= interval[:, 0]) & (y[~train] <= interval[:, 1])).mean()
        # rows share effects of levels: four standard errors of a tenth as many independent ones
        error = 4 * np.sqrt(level * (1 - level) / ((~train).sum() / 10))
        assert covered > level - error
        if family == "gamma":
            assert covered < level + error


@pytest.mark.parametrize("family", FAMILIES)
def test_ends_of_intervals_are_quantiles_of_draws(family, fitted):
    X, _, model = fitted(family)
    rows = rows_with_unknown(X)[:15]
    lower, upper = model.predict_interval(rows, level=0.8).T
    draws = model.sample_y(rows, 20_000, random_state=2)
    below = binom.ppf([1e-6, 1 - 1e-6], 20_000, 0.1) / 20_000
    for end, share in ((lower, 0.1), (upper, 0.9)):
        at_most = (draws <= end[:, None]).mean(axis=1)
        less = (draws < end[:, None]).mean(axis=1)
        slack = below[1] - 0.1
        # the smallest number that at least this share of the draws does not exceed
        assert (at_most >= share - slack).all()
        assert (less <= share + slack).all()
    if family != "gamma":
        np.testing.assert_array_equal(lower, np.round(lower))
        np.testing.assert_array_equal(upper, np.round(upper))
    for level in (0.0, 1.0, -1, 2):
        with pytest.raises(ValueError, match="level="):
            model.predict_interval(rows, level=level)


# Fits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ml", "reml"])
@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_bound_rises(family, posterior, method, fitted):
    X, y, _ = fitted(family)
    model = MixedEffectsVIRegressor(GROUPS, family=family, posterior=posterior, method=method).fit(
        X, y
    )
    assert model.converged_
    assert len(model.elbo_path_) == model.n_iter_ + 1
    assert np.diff(model.elbo_path_).min() >= -1e-7
    assert model.elbo_path_[-1] == pytest.approx(model.elbo_, rel=1e-10)


def test_poisson_regression_without_random_effects():
    X, y = simulate("poisson")
    model = MixedEffectsVIRegressor(None, family="poisson", method="ml").fit(X[["x0", "x1"]], y)
    reference = PoissonRegressor(alpha=0.0, tol=1e-10, solver="newton-cholesky")
    reference.fit(X[["x0", "x1"]], y)
    np.testing.assert_allclose(model.coef_, reference.coef_, rtol=1e-6)
    np.testing.assert_allclose(
        model.predict(X[["x0", "x1"]]), reference.predict(X[["x0", "x1"]]), rtol=1e-6
    )


def test_exposure_is_an_offset(fitted):
    """Counts over ten times the time have the same rates."""
    X, _, _ = fitted("poisson")
    rng = np.random.default_rng(5)
    hours = rng.uniform(0.5, 20.0, len(X))
    y = rng.poisson(0.7 * hours * np.exp(0.3 * X["x0"]))
    frame = X.assign(log_hours=np.log(hours))
    model = MixedEffectsVIRegressor(["g0"], family="poisson", offset="log_hours", method="ml")
    model.fit(frame.drop(columns="g1"), y)
    assert model.coef_names_ == ["x0", "x1"]
    assert model.intercept_ == pytest.approx(np.log(0.7), abs=0.1)
    minutes = frame.assign(log_hours=np.log(60 * hours)).drop(columns="g1")
    other = clone(model).fit(minutes, y)
    assert other.elbo_ == pytest.approx(model.elbo_, rel=1e-9)
    assert other.intercept_ == pytest.approx(model.intercept_ - np.log(60), abs=1e-6)
    predicted = model.predict(frame.drop(columns="g1"))
    np.testing.assert_allclose(other.predict(minutes), predicted, rtol=1e-6)
    tenfold = frame.assign(log_hours=np.log(10 * hours)).drop(columns="g1")
    np.testing.assert_allclose(model.predict(tenfold), 10 * predicted, rtol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_repeated_rows(family, fitted):
    X, y, model = fitted(family)
    weights = np.random.default_rng(0).integers(0, 4, len(y))
    weighted = clone(model).fit(X, y, sample_weight=weights)
    rows = np.repeat(np.arange(len(y)), weights)
    assert_same_fit(weighted, clone(model).fit(X.iloc[rows], y[rows]))
    assert weighted.n_observations_ == weights.sum()
    # what a row of weight 0 holds is not looked at
    other = np.where(weights > 0, y, -1)
    assert_same_fit(weighted, clone(model).fit(X, other, sample_weight=weights))


@pytest.mark.parametrize("family", FAMILIES)
def test_order_of_rows_and_names_of_levels(family, fitted):
    X, y, model = fitted(family)
    order = np.random.default_rng(2).permutation(len(y))
    assert_same_fit(model, clone(model).fit(X.iloc[order], y[order]))
    renamed = X.assign(g0="level " + (1000 - X["g0"]).astype(str))
    other = clone(model).fit(renamed, y)
    assert other.elbo_ == pytest.approx(model.elbo_, rel=1e-10)
    np.testing.assert_allclose(other.predict(renamed), model.predict(X), rtol=1e-6)


def test_units_of_amounts(fitted):
    """Cents instead of euros: the intercept moves, and the bound by the Jacobian."""
    X, y, model = fitted("gamma")
    cents = clone(model).fit(X, 100.0 * y)
    assert cents.elbo_ == pytest.approx(model.elbo_ - len(y) * np.log(100.0), rel=1e-9)
    assert cents.intercept_ == pytest.approx(model.intercept_ + np.log(100.0), abs=1e-5)
    np.testing.assert_allclose(cents.coef_, model.coef_, rtol=1e-5)
    assert cents.dispersion_ == pytest.approx(model.dispersion_, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_solvers_agree(family):
    """Both factors have too many levels for the iterative solver to treat one exactly."""
    X, y = simulate(family, n=9000, groups=(600, 400))
    direct, iterative = (
        MixedEffectsVIRegressor(GROUPS, family=family, solver=solver).fit(X, y)
        for solver in ("direct", "iterative")
    )
    assert iterative.elbo_std_ > 0.0
    assert iterative.elbo_ == pytest.approx(direct.elbo_, rel=0, abs=0.05)
    for group in GROUPS:
        expected = direct.random_effects_cov_[group].iloc[0, 0]
        assert iterative.random_effects_cov_[group].iloc[0, 0] == pytest.approx(expected, rel=0.01)
    np.testing.assert_allclose(iterative.coef_, direct.coef_, rtol=0.01)
    np.testing.assert_allclose(iterative.predict(X), direct.predict(X), rtol=0.01)
    again = clone(iterative).fit(X, y)
    assert again.elbo_ == iterative.elbo_
    np.testing.assert_array_equal(again.coef_, iterative.coef_)


def test_negative_binomial_of_poisson_counts_has_no_dispersion():
    """Counts without overdispersion: the fit ends near Poisson's, finite."""
    X, y = simulate("poisson", n=1000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MixedEffectsVIRegressor(GROUPS, family="negative_binomial").fit(X, y)
    poisson = MixedEffectsVIRegressor(GROUPS, family="poisson").fit(X, y)
    assert 0.0 <= model.dispersion_ < 0.05
    assert model.elbo_ == pytest.approx(poisson.elbo_, abs=2.0)
    np.testing.assert_allclose(model.predict(X), poisson.predict(X), rtol=0.1)


def test_max_iter_and_verbose(fitted, capsys):
    X, y, model = fitted("poisson")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(model).fit(X, y)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    with pytest.warns(ConvergenceWarning, match="Raise max_iter"):
        short = clone(model).set_params(max_iter=1, verbose=1).fit(X, y)
    assert "iteration" in capsys.readouterr().out
    assert not short.converged_
    assert short.n_iter_ == 1
    assert np.isfinite(short.predict(X)).all()


# Targets and parameters ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "value", "message"),
    [
        ("poisson", -1.0, r"-1.*row 17"),
        ("poisson", 2.5, r"2\.5.*row 17"),
        ("poisson", np.nan, r"NaN.*row 17"),
        ("poisson", np.inf, r"infinity.*row 17"),
        ("negative_binomial", -3.0, r"-3.*row 17"),
        ("negative_binomial", 0.1, r"0\.1.*row 17"),
        ("gamma", 0.0, r"0.*row 17"),
        ("gamma", -0.5, r"-0\.5.*row 17"),
    ],
)
def test_invalid_targets(family, value, message, fitted):
    X, y, model = fitted(family)
    y = y.astype(float)
    y[17] = value
    with pytest.raises(ValueError, match=message):
        clone(model).fit(X, y)


@pytest.mark.parametrize("family", ["poisson", "negative_binomial"])
def test_counts_of_zero_only(family, fitted):
    """No count says how small the mean is: the fit must end, finite and with a word."""
    X, _, model = fitted(family)
    with pytest.warns(UserWarning):
        zero = clone(model).fit(X, np.zeros(len(X)))
    assert np.isfinite([zero.elbo_, zero.intercept_, *zero.coef_]).all()
    assert (zero.predict(X, include="none") < 0.05).all()


def test_a_level_of_zeros_and_huge_counts(fitted):
    X, y, model = fitted("poisson")
    first = X["g0"].to_numpy() == X["g0"].iloc[0]
    quiet = clone(model).fit(X, np.where(first, 0, y))
    assert -8.0 < quiet.random_effects_["g0"].loc[X["g0"].iloc[0], "Intercept"] < -1.0
    assert quiet.converged_
    loud = clone(model).fit(X, np.where(first, 1_000_000 + y, y))
    assert loud.converged_
    assert 8.0 < loud.random_effects_["g0"].loc[X["g0"].iloc[0], "Intercept"] < 15.0


@pytest.mark.parametrize("parameter", [{"precision_weights": "w"}, {"noise_scale": 1.0}])
@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_of_normal_responses(family, parameter, fitted):
    X, y, _ = fitted(family)
    [name] = parameter
    with pytest.raises(ValueError, match=f"{name}.*{family}|{family}.*{name}"):
        MixedEffectsVIRegressor(GROUPS, family=family, **parameter).fit(X.assign(w=1.0), y)


@pytest.mark.parametrize("family", ["bernoulli", "ordinal", "binomial", "Poisson", None])
def test_families_that_are_none(family, fitted):
    X, y, _ = fitted("poisson")
    with pytest.raises(ValueError, match=f"family={family!r}"):
        MixedEffectsVIRegressor(GROUPS, family=family).fit(X, y)


def test_rows_are_needed_at_once(fitted):
    X, y, model = fitted("poisson")
    with pytest.raises((AttributeError, ValueError), match="family='poisson'|partial_fit"):
        clone(model).partial_fit(X, y)
    frame = pytest.importorskip("dask.dataframe").from_pandas(X.assign(y=y), npartitions=2)
    with pytest.raises(ValueError, match="family='poisson'"):
        clone(model).fit(frame[list(X)], frame["y"])


# Among other tools ---------------------------------------------------------------------


def test_scikit_learn(fitted):
    X, y, model = fitted("poisson")
    scores = cross_val_score(model, X, y, cv=3, scoring="neg_mean_poisson_deviance")
    fixed = cross_val_score(
        PoissonRegressor(), X[["x0", "x1"]], y, cv=3, scoring="neg_mean_poisson_deviance"
    )
    assert scores.mean() > fixed.mean()
    search = GridSearchCV(
        MixedEffectsVIRegressor(GROUPS), {"family": ["gaussian", "poisson", "negative_binomial"]},
        cv=3, scoring="neg_mean_poisson_deviance", error_score=np.nan,
    ).fit(X, y)  # fmt: skip
    assert search.best_params_["family"] != "gaussian"
    pipeline = make_pipeline(FunctionTransformer(lambda frame: frame), clone(model)).fit(X, y)
    np.testing.assert_array_equal(pipeline.predict(X), model.predict(X))


@pytest.mark.parametrize("family", FAMILIES)
def test_pickle(family, fitted):
    X, _, model = fitted(family)
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.predict(X), model.predict(X))
    np.testing.assert_array_equal(restored.predict_interval(X), model.predict_interval(X))


@pytest.mark.parametrize("family", FAMILIES)
def test_formula_and_summary(family, fitted):
    X, y, model = fitted(family)
    formula = "y ~ x0 + x1 + (1 | g0) + (1 | g1)"
    other = mixed(formula, X.assign(y=y), family=family)
    assert other.elbo_ == pytest.approx(model.elbo_, rel=1e-10)
    np.testing.assert_allclose(other.predict(X), model.predict(X), rtol=1e-7)
    text = str(model.summary())
    assert family in text
    assert "Residual" not in text
    slopes = mixed("y ~ x0 + (1 + x0 | g0)", X.assign(y=y), family=family)
    assert list(slopes.random_effects_["g0"].columns) == ["Intercept", "x0"]


def test_nullable_and_narrow_counts(fitted):
    """Counts of any integer kind; eight bits do not overflow."""
    X, y, model = fitted("poisson")
    for kind in (np.uint8, np.int16, bool):
        values = (y > 0) if kind is bool else np.minimum(y, 255)
        one = clone(model).fit(X, values.astype(kind))
        other = clone(model).fit(X, values.astype(float))
        assert one.elbo_ == other.elbo_
    series = pd.Series(y, dtype="Int64")
    assert clone(model).fit(X, series).elbo_ == model.elbo_
