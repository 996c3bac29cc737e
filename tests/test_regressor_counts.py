"""Predictions and fits of `MixedEffectsVIRegressor` for counts and positive amounts."""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pytest
from count_data import FAMILIES, GROUPS, fit_each, simulate
from probed_fits import errors_of_the_bound
from scipy.stats import binom
from sklearn.base import clone, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import PoissonRegressor
from sklearn.metrics import r2_score

from skmixed import MixedEffectsVIRegressor


@pytest.fixture(scope="module")
def fitted():
    return fit_each()


N_DRAWS = 8_000


@pytest.fixture(scope="module")
def drawn(fitted):
    """A function from a family to draws for `rows_with_unknown`, made once."""

    @cache
    def get(family):
        X, _, model = fitted(family)
        return model.sample_y(rows_with_unknown(X), N_DRAWS, random_state=1)

    return get


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
def test_predictions_average_over_the_posterior(family, fitted, drawn):
    """Means and standard deviations are those of draws; an unseen level has its prior."""
    X, _, model = fitted(family)
    rows = rows_with_unknown(X)
    mean, std = model.predict(rows, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(rows))
    draws = drawn(family)
    np.testing.assert_array_equal(draws[:, :2], model.sample_y(rows, 2, random_state=1))
    error = draws.std(axis=1) / np.sqrt(N_DRAWS)
    assert (np.abs(draws.mean(axis=1) - mean) < 5 * error).all()
    np.testing.assert_allclose(draws.std(axis=1), std, rtol=0.15)


@pytest.mark.parametrize("family", FAMILIES)
def test_unseen_levels_have_the_prior_variance(family):
    """E exp(eta) = exp(m + v / 2): v is the prior's, and coefficients add to the spread."""
    X, y = simulate(family)
    X = X.drop(columns="g1")
    model = MixedEffectsVIRegressor(["g0"], family=family, method="ml").fit(X, y)
    rows = X[:10].assign(g0=999)
    fixed = model.intercept_ + rows[["x0", "x1"]].to_numpy() @ model.coef_
    prior = model.random_effects_cov_["g0"].iloc[0, 0]
    mean, std = model.predict(rows, return_std=True)
    expected = np.exp(fixed + prior / 2)
    np.testing.assert_allclose(mean, expected, rtol=1e-10)
    columns = np.column_stack([np.ones(10), rows[["x0", "x1"]]])
    variance = prior + np.einsum("ij,jk,ik->i", columns, model.coef_cov_, columns)
    expected = np.exp(fixed + variance / 2)
    between = expected**2 * np.expm1(variance)
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
    X, y = simulate(family, n=3000, groups=(120, 30), seed=7)
    train = np.random.default_rng(0).random(3000) < 0.7
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
def test_ends_of_intervals_are_quantiles_of_draws(family, fitted, drawn):
    X, _, model = fitted(family)
    rows = rows_with_unknown(X)[:15]
    lower, upper = model.predict_interval(rows, level=0.8).T
    draws = drawn(family)[:15]
    below = binom.ppf([1e-6, 1 - 1e-6], N_DRAWS, 0.1) / N_DRAWS
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


@pytest.mark.parametrize("family", FAMILIES)
def test_the_error_of_the_bound_is_as_claimed(family):
    X, y = simulate(family, n=6000, groups=(800, 600))
    found, claimed = errors_of_the_bound(MixedEffectsVIRegressor(GROUPS, family=family), X, y)
    assert 0.5 < found / claimed < 1.5


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
