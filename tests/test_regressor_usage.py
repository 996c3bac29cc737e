"""Fitting, predicting and reporting as users do it."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from skmixed import MixedEffectsVIRegressor, RandomEffect, mixed
from skmixed.datasets import make_mixed_regression


@pytest.fixture(scope="module")
def data():
    X, y, _ = make_mixed_regression(n_samples=500, groups=(25, 8), random_state=1)
    return X, y


@pytest.fixture(scope="module")
def model(data):
    return MixedEffectsVIRegressor(["g0", RandomEffect("g1", slopes=["x0"])]).fit(*data)


def with_unknown(X, every=4):
    """Every fourth row of a level that is not in the training data."""
    new = X.copy()
    new.loc[new.index[::every], "g0"] = 10_000
    return new


# Predictions -------------------------------------------------------------------------


def test_unknown_levels(data, model):
    X, _ = data
    new = with_unknown(X)
    mean, std = model.predict(new, return_std=True)
    without, std_without = model.predict(X, return_std=True, include=["g1"])
    np.testing.assert_allclose(mean[::4], without[::4], rtol=1e-12)
    prior = model.random_effects_cov_["g0"].iloc[0, 0]
    np.testing.assert_allclose(std[::4] ** 2, std_without[::4] ** 2 + prior, rtol=1e-10)
    strict = MixedEffectsVIRegressor(["g0", "g1"], handle_unknown="error").fit(X, data[1])
    with pytest.raises(ValueError, match=r"'g0' has the level '10000' in row 0.*\(125 such rows\)"):
        strict.predict(new)
    # a group that is left out needs no known levels
    assert strict.predict(new, include=["g1"]).shape == mean.shape


def test_handle_unknown_can_be_changed_after_the_fit(data):
    X, y = data
    model = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y)
    model.set_params(handle_unknown="error")
    with pytest.raises(ValueError, match="fit with this level"):
        model.predict(with_unknown(X))


def test_include(data, model):
    X, _ = data
    everything = model.predict(X)
    np.testing.assert_array_equal(everything, model.predict(X, include=["g1", "g0"]))
    np.testing.assert_array_equal(model.predict(X, include="g0"), model.predict(X, include=["g0"]))
    none = model.predict(X, include="none")
    np.testing.assert_array_equal(none, model.predict(X, include=[]))
    parts = model.predict(X, include="g0") + model.predict(X, include="g1") - none
    np.testing.assert_allclose(parts, everything, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match=r"'g2', which is not a group.*\(groups: 'g0', 'g1'\)"):
        model.predict(X, include=["g2"])


def test_interval(data, model):
    X, y = data
    mean, std = model.predict(X, return_std=True)
    interval = model.predict_interval(X, level=0.9)
    assert interval.shape == (500, 2)
    np.testing.assert_allclose(interval.mean(axis=1), mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(np.ptp(interval, axis=1), 2 * 1.6448536269514722 * std, rtol=1e-9)
    covered = ((interval[:, 0] <= y) & (y <= interval[:, 1])).mean()
    assert 0.86 < covered < 0.97
    for level in (0, 1, -0.5, 95):
        with pytest.raises(ValueError, match="must lie between 0 and 1"):
            model.predict_interval(X, level=level)


def test_coverage_of_new_groups():
    """Intervals for rows of new levels are as wide as their prior asks for."""
    X, y, _ = make_mixed_regression(n_samples=4000, groups=(200, 5), random_state=3)
    known = (X["g0"] < 150).to_numpy()
    model = MixedEffectsVIRegressor(["g0", "g1"]).fit(X[known], y[known])
    interval = model.predict_interval(X[~known], level=0.8)
    covered = ((interval[:, 0] <= y[~known]) & (y[~known] <= interval[:, 1])).mean()
    assert covered == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_sample_y(data, method, posterior):
    """Draws have the moments that predict reports, unknown levels included."""
    X, y = data
    model = MixedEffectsVIRegressor(
        ["g0", RandomEffect("g1", slopes=["x0"])], method=method, posterior=posterior
    ).fit(X, y)
    rows = with_unknown(X.iloc[:12])
    mean, std = model.predict(rows, return_std=True)
    draws = model.sample_y(rows, n_samples=6000, random_state=0)
    assert draws.shape == (12, 6000)
    np.testing.assert_allclose(draws.mean(axis=1), mean, atol=4.5 * std.max() / np.sqrt(6000))
    np.testing.assert_allclose(draws.std(axis=1), std, rtol=0.045)


def test_sample_y_shares_effects_within_a_draw(data, model):
    X, _ = data
    same_level = X.iloc[[0]].assign(g0=99_999)
    twice = model.sample_y(same_level.loc[[same_level.index[0]] * 2], 4000, 0)
    mean, std = model.predict(same_level, return_std=True)
    shared = (std[0] ** 2 - model.noise_variance_) / std[0] ** 2
    assert np.corrcoef(twice)[0, 1] == pytest.approx(shared, abs=0.06)
    assert twice.mean() == pytest.approx(mean[0], abs=0.1)


def test_sample_y_is_reproducible(data, model):
    X, _ = data
    one = model.sample_y(X, 3, random_state=7)
    np.testing.assert_array_equal(one, model.sample_y(X, 3, random_state=7))
    assert (one != model.sample_y(X, 3, random_state=8)).any()
    state = np.random.RandomState(7)
    np.testing.assert_array_equal(one, model.sample_y(X, 3, random_state=state))
    assert (one != model.sample_y(X, 3, random_state=state)).any()
    with pytest.raises(ValueError, match="n_samples=0"):
        model.sample_y(X, 0)


# Fitting -----------------------------------------------------------------------------


def test_sample_weight_is_repetition(data):
    X, y = data
    weights = np.random.default_rng(0).integers(0, 3, len(y))
    rows = np.repeat(np.arange(len(y)), weights)
    one = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y, sample_weight=weights)
    other = MixedEffectsVIRegressor(["g0", "g1"]).fit(X.iloc[rows], y[rows])
    assert one.elbo_ == pytest.approx(other.elbo_, rel=1e-11)
    np.testing.assert_allclose(one.predict(X), other.predict(X), rtol=1e-8)
    np.testing.assert_allclose(one.coef_cov_, other.coef_cov_, rtol=1e-6)
    assert one.n_observations_ == weights.sum()


def test_fractional_sample_weight(data):
    """Halving all weights halves the information: ELBO and standard errors follow."""
    X, y = data
    model = MixedEffectsVIRegressor(None, method="ml")
    whole = model.fit(X, y).elbo_
    half = model.fit(X, y, sample_weight=np.full(len(y), 0.5)).elbo_
    assert half == pytest.approx(0.5 * whole, rel=1e-12)


@pytest.mark.parametrize(
    ("weights", "message"),
    [(-1.0, "cannot be negative"), (np.nan, "NaN"), (np.inf, "infinity"), ("a", "could not")],
)
def test_bad_sample_weight(data, weights, message):
    X, y = data
    bad = np.ones(len(y), dtype=object)
    bad[3] = weights
    with pytest.raises(ValueError, match=message):
        MixedEffectsVIRegressor(["g0"]).fit(X, y, sample_weight=bad)


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
def test_warm_start(data, posterior):
    X, y = data
    model = MixedEffectsVIRegressor(["g0", "g1"], posterior=posterior, warm_start=True)
    cold = model.fit(X, y)
    steps, elbo = cold.n_iter_, cold.elbo_
    warm = model.fit(X, y)
    assert warm.n_iter_ <= max(1, steps - 1)
    assert warm.elbo_ == pytest.approx(elbo, abs=1e-8)
    # other random effects begin anew
    changed = model.set_params(random_effects=["g0"]).fit(X, y)
    fresh = MixedEffectsVIRegressor(["g0"], posterior=posterior).fit(X, y)
    assert changed.elbo_ == pytest.approx(fresh.elbo_, abs=1e-8)


def test_warm_start_from_zero_variance():
    """A variance of zero in an earlier fit can grow again on other data."""
    X, y, _ = make_mixed_regression(n_samples=400, groups=(20, 6), random_state=4)
    noise = np.random.default_rng(0).standard_normal(len(y))
    model = MixedEffectsVIRegressor(["g0", "g1"], warm_start=True).fit(X, noise)
    assert model.variance_components_["variance"].iloc[:-1].min() == 0.0
    model.fit(X, y)
    cold = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y)
    assert model.elbo_ == pytest.approx(cold.elbo_, abs=1e-7)


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
def test_noise_scale(data, posterior):
    X, y = data
    model = MixedEffectsVIRegressor(["g0", "g1"], noise_scale=1.0, posterior=posterior).fit(X, y)
    assert model.noise_variance_ == 1.0
    assert model.converged_
    free = MixedEffectsVIRegressor(["g0", "g1"], posterior=posterior).fit(X, y)
    assert free.elbo_ >= model.elbo_
    held = MixedEffectsVIRegressor(
        ["g0", "g1"], noise_scale=np.sqrt(free.noise_variance_), posterior=posterior
    ).fit(X, y)
    np.testing.assert_allclose(held.coef_, free.coef_, rtol=1e-5, atol=1e-8)
    # REML takes its noise from n - p, the bound at that noise is the same
    assert held.elbo_ == pytest.approx(free.elbo_, abs=1e-6)


def test_recovers_the_truth():
    X, y, truth = make_mixed_regression(n_samples=20_000, groups=(500, 100), random_state=0)
    model = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y)
    errors = np.sqrt(np.diagonal(model.coef_cov_))[1:]
    assert (np.abs(model.coef_ - np.asarray(truth.coef)) < 4.5 * errors).all()


def test_verbose(data, capsys):
    X, y = data
    MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y)
    quiet = capsys.readouterr()
    assert quiet.out == ""
    assert quiet.err == ""
    model = MixedEffectsVIRegressor(["g0", "g1"], verbose=1).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(model.elbo_path_)
    assert all("ELBO" in line and "scaled gradient" in line for line in lines)


def test_callbacks(data):
    """Where scikit-learn has callbacks they see every iteration; elsewhere nothing breaks."""
    X, y = data
    model = MixedEffectsVIRegressor(["g0", "g1"])
    if not hasattr(model, "set_callbacks"):
        assert model.fit(X, y).converged_
        return
    from sklearn.callback import ProgressBar, ScoringMonitor

    monitor = ScoringMonitor(scoring="r2")
    model.set_callbacks(monitor).fit(X, y)
    rows = monitor.get_logs(select="most_recent").data
    scores = [row["r2"] for row in rows if row["task_name"] == "iteration"]
    assert len(scores) == model.n_iter_
    assert scores[-1] == pytest.approx(model.score(X, y), abs=1e-3)
    with contextlib.suppress(ImportError):
        # the bar is drawn with the optional library rich
        assert model.set_callbacks(ProgressBar()).fit(X, y).converged_


# Reports -----------------------------------------------------------------------------


def test_summary(model):
    summary = model.summary()
    text, html = str(summary), summary._repr_html_()
    assert repr(summary) == text
    for part in ("Fixed effects", "Variance components", "g0", "g1", "x0", "Residual",
                 "restricted log likelihood", f"{model.elbo_:.4f}"):  # fmt: skip
        assert part in text
        assert part in html
    assert "nan" not in text.lower()
    frame = summary.to_frame()
    assert list(frame.columns) == ["estimate", "std_error", "lower", "upper"]
    assert list(frame.index) == ["Intercept", *model.coef_names_]
    frame["estimate"] = 0.0
    assert (model.summary().to_frame()["estimate"] != 0.0).all()
    ends = frame[["lower", "upper"]].mean(axis=1)
    np.testing.assert_allclose(ends, [model.intercept_, *model.coef_])


def test_summary_escapes_names(data):
    X, y = data
    hostile = "<script>alert(1)</script>"
    model = MixedEffectsVIRegressor(["g0"]).fit(X.rename(columns={"x0": hostile}), y)
    assert "<script>" not in model.summary()._repr_html_()


@pytest.mark.parametrize("formula", ["y ~ 0 + (1 | g0)", "y ~ x0", "y ~ 1", "y ~ 0 + x0"])
def test_summary_of_little(data, formula):
    X, y = data
    assert "Fixed effects" in str(mixed(formula, X.assign(y=y)).summary())


def test_attributes_agree(model):
    components = model.variance_components_
    for group, covariance in model.random_effects_cov_.items():
        assert list(covariance.index) == list(covariance.columns)
        for term in covariance:
            rows = components[(components["group"] == group) & (components["term_1"] == term)]
            variances = rows.loc[rows["term_2"].isna(), "variance"]
            assert variances.tolist() == [covariance.loc[term, term]]
        effects, std = model.random_effects_[group], model.random_effects_std_[group]
        assert effects.index.equals(std.index)
        assert list(effects.columns) == list(std.columns) == list(covariance.columns)
        assert (std.to_numpy() <= np.sqrt(np.diagonal(covariance)) * 2).all()
    assert model.elbo_std_ == 0.0
    assert model.coef_cov_.shape == (len(model.coef_) + 1,) * 2
    assert np.linalg.eigvalsh(model.coef_cov_).min() > 0
