"""Displays of rows, raw effects and residuals, against dense computations and lme4."""

from __future__ import annotations

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binom, gamma, kstest, nbinom, norm, poisson

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, mixed
from skmixed.datasets import make_mixed_classification, make_mixed_regression
from skmixed.inspection import ResidualsDisplay, ShrinkageDisplay

SLEEPSTUDY = Path(__file__).parents[1] / "reference" / "data" / "sleepstudy.csv.gz"


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def normal():
    X, y, _ = make_mixed_regression(n_samples=400, groups=(15, 6), random_state=0)
    X["w"] = np.random.default_rng(0).uniform(0.5, 2.0, len(X))
    return MixedEffectsVIRegressor(["g0", "g1"], precision_weights="w").fit(X, y), X, y


@pytest.fixture(scope="module")
def counts():
    X, y, _ = make_mixed_regression(
        n_samples=900, groups=(60, 6), family="poisson", heavy_tailed=True, random_state=1
    )
    y[X["g0"] == 3] = 0
    return MixedEffectsVIRegressor(["g0", "g1"], family="poisson").fit(X, y), X, y


def fixed_part(model, X):
    return model.intercept_ + X["x0"].to_numpy() * model.coef_[0]


def effect_of(model, X, group):
    return model.random_effects_[group]["Intercept"].reindex(X[group]).to_numpy()


# Shrinkage -------------------------------------------------------------------------------


def test_raw_means_of_normal_responses(normal):
    model, X, y = normal
    case = np.tile([1.0, 2.0], len(X) // 2)
    levels = ShrinkageDisplay.from_estimator(model, X, y, "g0", sample_weight=case).levels
    residual = y - fixed_part(model, X) - effect_of(model, X, "g1")
    for level, row in levels.iterrows():
        here = X["g0"] == level
        weight = (case * X["w"])[here]
        assert row["raw"] == pytest.approx(np.average(residual[here], weights=weight))
        assert row["size"] == case[here].sum()
    means = model.random_effects_["g0"]["Intercept"]
    np.testing.assert_allclose(levels["effect"], means, rtol=1e-10, atol=1e-12)


def test_shrinkage_is_the_formula_of_one_factor():
    # Robinson (1991): with known fixed effects an effect is n / (n + noise / variance) times
    # the mean residual of its level; method="ml" has them as known
    X, y, _ = make_mixed_regression(n_samples=300, groups=(20,), heavy_tailed=True, random_state=2)
    model = MixedEffectsVIRegressor(["g0"], method="ml", tol=1e-9).fit(X, y)
    levels = ShrinkageDisplay.from_estimator(model, X, y, "g0").levels
    ratio = model.noise_variance_ / model.random_effects_cov_["g0"].iloc[0, 0]
    shrunken = levels["raw"] * levels["size"] / (levels["size"] + ratio)
    np.testing.assert_allclose(levels["effect"], shrunken, rtol=1e-8)


def test_slopes_are_averaged_over_rows():
    X, y, _ = make_mixed_regression(n_samples=300, groups=(10,), n_slopes=1, random_state=3)
    model = MixedEffectsVIRegressor(["(1 + x0 | g0)"]).fit(X, y)
    levels = ShrinkageDisplay.from_estimator(model, X, y, "g0").levels
    for level, row in levels.iterrows():
        here = X["g0"] == level
        u = model.random_effects_["g0"].loc[level]
        assert row["effect"] == pytest.approx(u["Intercept"] + u["x0"] * X["x0"][here].mean())


def test_raw_effects_of_counts(counts):
    model, X, y = counts
    display = ShrinkageDisplay.from_estimator(model, X, y, "g0")
    expected = model.predict(X, include=["g1"])
    for level, row in display.levels.iterrows():
        here = X["g0"] == level
        with np.errstate(divide="ignore"):
            assert row["raw"] == pytest.approx(np.log(y[here].sum() / expected[here].sum()))
    assert display.levels.loc[3, "raw"] == -np.inf
    n_infinite = int(np.isinf(display.levels["raw"]).sum())
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert f"{n_infinite} levels with a sum of 0" in labels


def test_raw_effects_of_amounts_maximise_the_likelihood():
    rng = np.random.default_rng(4)
    X, eta, _ = make_mixed_regression(n_samples=300, groups=(10,), noise_sd=0.0, random_state=4)
    y = rng.gamma(3.0, np.exp(eta) / 3.0)
    model = MixedEffectsVIRegressor(["g0"], family="gamma", method="ml").fit(X, y)
    levels = ShrinkageDisplay.from_estimator(model, X, y, "g0").levels
    here = (X["g0"] == 2).to_numpy()
    mean = np.exp(fixed_part(model, X))[here]

    def log_likelihood(effect):
        shape = 1.0 / model.dispersion_
        return gamma.logpdf(y[here], shape, scale=mean * np.exp(effect) / shape).sum()

    best = log_likelihood(levels.loc[2, "raw"])
    assert best > log_likelihood(levels.loc[2, "raw"] + 1e-3)
    assert best > log_likelihood(levels.loc[2, "raw"] - 1e-3)


def test_held_out_rows_and_unknown_levels(normal):
    model, X, y = normal
    levels = ShrinkageDisplay.from_estimator(model, X[:50].assign(g0=[99, 1] * 25), y[:50], "g0")
    assert levels.levels.index.tolist() == [1]
    with pytest.raises(ValueError, match=r"No row has a level of group 'g0'"):
        ShrinkageDisplay.from_estimator(model, X.assign(g0=99), y, "g0")


def test_classes_have_no_raw_effects():
    X, y, _ = make_mixed_classification(n_samples=200, groups=(8, 4), random_state=0)
    model = MixedEffectsVIClassifier(["g0"]).fit(X, y)
    with pytest.raises(ValueError, match=r"family='bernoulli' has no raw effect.*'gaussian'"):
        ShrinkageDisplay.from_estimator(model, X, y, "g0")


def test_areas_grow_with_rows():
    levels = pd.DataFrame({"raw": [1.0, 2.0, 3.0], "effect": 1.0, "size": [1.0, 10.0, 100.0]})
    points = ShrinkageDisplay(levels, group="g").plot().ax_.collections[0]
    assert np.all(np.diff(points.get_sizes()) > 0)


# Residuals -------------------------------------------------------------------------------


def test_residuals_are_those_of_lme4():
    # lme4 1.1: residuals(lmer(Reaction ~ Days + (Days | Subject), sleepstudy),
    #                     type = "pearson", scaled = TRUE), whose quantiles its summary prints
    frame = pd.read_csv(SLEEPSTUDY)
    model = mixed("Reaction ~ Days + (Days | Subject)", frame)
    display = ResidualsDisplay.from_estimator(model, frame, frame["Reaction"])
    quartiles = [-3.95356734537, -0.46339768313, 0.02311766478, 0.46340207815, 5.17926037341]
    first = [-0.1603504437, -0.5714807074, -1.6487932190, 0.3429755036, 0.9582444924]
    np.testing.assert_allclose(
        np.quantile(display.residuals, np.linspace(0, 1, 5)), quartiles, atol=2e-5
    )
    np.testing.assert_allclose(display.residuals[:5], first, atol=2e-5)
    np.testing.assert_array_equal(display.fitted, model.predict(frame))


def test_precision_weights_scale_residuals_as_in_lme4():
    # the same with weights = rep(c(1, 2), 90) and (1 | Subject)
    frame = pd.read_csv(SLEEPSTUDY).assign(w=np.tile([1.0, 2.0], 90))
    model = MixedEffectsVIRegressor(formula="Days + (1 | Subject)", precision_weights="w")
    X, y = frame[["Days", "Subject", "w"]], frame["Reaction"]
    display = ResidualsDisplay.from_estimator(model.fit(X, y), X, y)
    first = [-1.1704127542, -1.7054326361, -1.6976461631, -0.1238995677, 0.5797752437]
    np.testing.assert_allclose(display.residuals[:5], first, atol=2e-5)


def test_residuals_of_held_out_rows_by_prediction(normal):
    model, X, y = normal
    new = X.assign(g0=99)
    display = ResidualsDisplay.from_estimator(model, new, y, spread="prediction")
    mean, std = model.predict(new, return_std=True)
    np.testing.assert_allclose(display.residuals, (y - mean) / std)


def distribution(model, mean):
    """The response given its mean, as scipy has it."""
    if model.family == "poisson":
        return poisson(mean)
    if model.family == "negative_binomial":
        size = 1.0 / model.dispersion_
        return nbinom(size, size / (size + mean))
    shape = 1.0 / model.dispersion_
    return gamma(shape, scale=mean / shape)


@pytest.mark.parametrize("family", ["poisson", "negative_binomial", "gamma"])
def test_quantile_residuals_lie_in_their_interval(family, counts):
    _, X, y = counts
    y = y + 0.5 if family == "gamma" else y
    model = MixedEffectsVIRegressor(["g0", "g1"], family=family).fit(X, y)
    eta = fixed_part(model, X) + effect_of(model, X, "g0") + effect_of(model, X, "g1")
    given = distribution(model, np.exp(eta))
    u = norm.cdf(ResidualsDisplay.from_estimator(model, X, y).residuals)
    below = given.cdf(y) if family == "gamma" else given.cdf(y - 1)
    assert np.all(u >= below - 1e-9)
    assert np.all(u <= given.cdf(y) + 1e-9)
    if family != "gamma":
        shares = (u - below) / (given.cdf(y) - below)
        assert kstest(shares, "uniform").pvalue > 0.01


def test_predictive_residuals_average_over_the_predictor(counts):
    model, X, y = counts
    new = X.assign(g0=-1)
    display = ResidualsDisplay.from_estimator(model, new, y, spread="prediction", random_state=3)
    _, std = model.predict(new, return_std=True)
    mean = fixed_part(model, X) + effect_of(model, X, "g1")

    def surplus(variance, row):
        # a Poisson rate exp(eta) has the mean exp(m + v / 2) and the variance mean^2 (exp(v) - 1)
        rate = np.exp(mean[row] + 0.5 * variance)
        return rate + rate**2 * np.expm1(variance) - std[row] ** 2

    variance = np.array([brentq(surplus, 0.0, 20.0, args=(row,)) for row in range(len(std))])
    nodes, weights = hermegauss(60)
    predictors = np.exp(mean[:, None] + np.sqrt(variance)[:, None] * nodes)
    weights = weights / weights.sum()
    y = y.to_numpy()
    upto = poisson.cdf(y[:, None], predictors) @ weights
    below = poisson.cdf(y[:, None] - 1, predictors) @ weights
    u = norm.cdf(display.residuals)
    assert np.all(u >= below - 1e-6)
    assert np.all(u <= upto + 1e-6)
    np.testing.assert_allclose(display.fitted, mean, atol=1e-9)


def test_residuals_of_classes():
    X, y, _ = make_mixed_classification(n_samples=400, groups=(10, 4), random_state=0)
    labels = np.where(y == 1, "yes", "no")
    model = MixedEffectsVIClassifier(["g0"]).fit(X, labels)
    display = ResidualsDisplay.from_estimator(model, X, labels)
    eta = model.intercept_ + X[["x0", "g1"]] @ model.coef_ + effect_of(model, X, "g0")
    np.testing.assert_allclose(display.fitted, eta)
    u = norm.cdf(display.residuals)
    assert np.all((u > expit(-eta)) == (labels == "yes"))


def test_residuals_of_ordered_classes():
    X, y, _ = make_mixed_classification(n_samples=600, groups=(10, 4), n_classes=4, random_state=0)
    model = MixedEffectsVIClassifier(["g0", "g1"], family="ordinal").fit(X, y)
    display = ResidualsDisplay.from_estimator(model, X, y)
    np.testing.assert_allclose(display.fitted, model.predict(X, type="link"))
    ends = np.concatenate([[-np.inf], model.thresholds_, [np.inf]])
    classes, u = np.searchsorted(model.classes_, y), norm.cdf(display.residuals)
    assert np.all(u >= expit(ends[classes] - display.fitted) - 1e-9)
    assert np.all(u <= expit(ends[classes + 1] - display.fitted) + 1e-9)


def test_residuals_of_a_true_model_are_standard_normal(counts):
    model, X, y = counts
    used = X["g0"] != 3
    with pytest.warns(UserWarning, match="spread='prediction'"):
        display = ResidualsDisplay.from_estimator(model, X[used], y[used], kind="quantile")
    assert kstest(display.residuals, "norm").pvalue > 0.01
    points = display.ax_.collections[0].get_offsets()
    n = len(display.residuals)
    np.testing.assert_allclose(points[:, 0], norm.ppf((np.arange(n) + 0.5) / n), atol=1e-9)
    np.testing.assert_array_equal(points[:, 1], np.sort(display.residuals))


def test_residuals_of_other_rows_and_weights_are_told_of(counts):
    model, X, y = counts
    n = len(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ResidualsDisplay.from_estimator(model, X, y, subsample=10)
        ResidualsDisplay.from_estimator(model, X[:20], y[:20], spread="prediction")
    with pytest.warns(UserWarning, match=rf"fitted on {n} rows .* these are 20\. Residuals"):
        ResidualsDisplay.from_estimator(model, X[:20], y[:20])
    with pytest.warns(UserWarning, match=rf"fitted on {n} rows .* these are {2 * n}"):
        ResidualsDisplay.from_estimator(model, X, y, sample_weight=np.full(n, 2))
    with pytest.warns(UserWarning, match="has a level of grouping factor number 0"):
        ResidualsDisplay.from_estimator(model, X.assign(g0=-1), y)


def test_residuals_far_out_are_finite(counts):
    model, X, _ = counts
    far = np.full(len(X), 1e6)
    assert np.isfinite(ResidualsDisplay.from_estimator(model, X, far).residuals).all()


def test_case_weights_count_rows_in_quantiles(normal):
    model, X, y = normal
    case = np.tile([0, 1, 3, 2], len(X) // 4)
    weighted = ResidualsDisplay.from_estimator(model, X, y, sample_weight=case, kind="quantile")
    assert len(weighted.residuals) == 300
    rows = np.repeat(np.arange(len(X)), case)
    repeated = ResidualsDisplay.from_estimator(model, X.iloc[rows], y.iloc[rows], kind="quantile")
    points = weighted.ax_.collections[0].get_offsets()
    # equal rows stand side by side among all; their one point stands at the middle of them
    values = np.sort(repeated.residuals)
    first = np.searchsorted(values, points[:, 1], "left")
    last = np.searchsorted(values, points[:, 1], "right")
    np.testing.assert_allclose(norm.cdf(points[:, 0]), 0.5 * (first + last) / len(rows), atol=1e-9)


def test_subsamples_and_seeds(counts):
    model, X, y = counts
    few = ResidualsDisplay.from_estimator(model, X, y, subsample=100)
    again = ResidualsDisplay.from_estimator(model, X, y, subsample=100)
    other = ResidualsDisplay.from_estimator(model, X, y, subsample=100, random_state=1)
    assert len(few.residuals) == 100
    np.testing.assert_array_equal(few.residuals, again.residuals)
    assert not np.array_equal(few.fitted, other.fitted)
    everything = ResidualsDisplay.from_estimator(model, X, y, subsample=None)
    assert np.isin(few.fitted, everything.fitted).all()


@pytest.mark.parametrize(("n", "binned"), [(2_000, False), (2_001, True)])
@pytest.mark.parametrize("weighted", [False, True])
def test_many_rows_are_counted_in_bins(n, binned, weighted):
    rng = np.random.default_rng(0)
    weights = rng.integers(1, 4, n) if weighted else None
    display = ResidualsDisplay(rng.random(n), rng.standard_normal(n), weights=weights).plot()
    drawn = display.ax_.collections[0].get_array()
    assert (drawn is not None) == binned
    if binned:
        assert drawn.sum() == (weights.sum() if weighted else n)


@pytest.mark.parametrize("kind", ["residual_vs_fitted", "scale_location"])
def test_means_are_those_of_the_rows(kind):
    fitted = np.repeat([0.0, 1.0, 2.0, 5.0], 400)
    residuals = np.random.default_rng(0).standard_normal(1_600)
    ax = ResidualsDisplay(fitted, residuals).plot(kind=kind).ax_
    reference, trend = ax.lines
    values = residuals if kind == "residual_vs_fitted" else np.sqrt(np.abs(residuals))
    np.testing.assert_array_equal(trend.get_xdata(), [0.0, 1.0, 2.0, 5.0])
    np.testing.assert_allclose(trend.get_ydata(), values.reshape(4, 400).mean(axis=1))
    z = np.sqrt(np.abs(norm.ppf((np.arange(100_000) + 0.5) / 100_000))).mean()
    assert reference.get_ydata()[0] == pytest.approx(
        z if kind == "scale_location" else 0.0, abs=1e-3
    )


def test_rows_that_are_refused(normal):
    model, X, y = normal
    with pytest.raises(ValueError, match=r"kind='histogram' is not known"):
        ResidualsDisplay.from_estimator(model, X, y, kind="histogram")
    with pytest.raises(ValueError, match=r"spread='all' is not known.*'noise', 'prediction'"):
        ResidualsDisplay.from_estimator(model, X, y, spread="all")
    with pytest.raises(ValueError, match=r"subsample == 0"):
        ResidualsDisplay.from_estimator(model, X, y, subsample=0)
    with pytest.raises(ValueError, match=r"(?i)sample.?weight"):
        ResidualsDisplay.from_estimator(model, X, y, sample_weight=np.zeros(len(X)))
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples"):
        ResidualsDisplay.from_estimator(model, X, y[:-1])


@pytest.mark.filterwarnings("ignore")
def test_a_model_without_noise_has_no_residuals():
    X = pd.DataFrame({"x": np.arange(20.0), "g": np.tile(["a", "b"], 10)})
    model = MixedEffectsVIRegressor(["g"]).fit(X, 2.0 * X["x"])
    with pytest.raises(ValueError, match=r"noise variance of the model is 0"):
        ResidualsDisplay.from_estimator(model, X, 2.0 * X["x"])


# Successes out of trials -----------------------------------------------------------------------


def aggregated(extra, seed=0):
    """A fit of 300 sets of 10 to 39 trials, two rows each; `extra` is what the model misses."""
    rng = np.random.default_rng(seed)
    sets = pd.DataFrame({"x": rng.standard_normal(300), "g": rng.integers(0, 20, 300)})
    size = rng.integers(10, 40, 300)
    eta = 0.5 * sets["x"] + 0.5 * rng.standard_normal(20)[sets["g"]] + extra * rng.normal(size=300)
    successes = rng.binomial(size, expit(eta))
    X = pd.concat([sets, sets], ignore_index=True)
    y, weights = np.repeat([1, 0], 300), np.concatenate([successes, size - successes])
    model = MixedEffectsVIClassifier(formula="x + (1 | g)").fit(X, y, sample_weight=weights)
    return model, X, y, weights


def pearson_ratio(model, X, weights):
    """Sum of squared Pearson residuals of the sets, over their number."""
    successes, size = weights[:300], weights[:300] + weights[300:]
    eta = model.intercept_ + model.coef_[0] * X["x"] + effect_of(model, X, "g")
    p = expit(np.asarray(eta)[:300])
    return np.mean((successes - size * p) ** 2 / (size * p * (1 - p)))


@pytest.mark.parametrize("extra", [0.0, 1.0])
def test_trial_sets_show_overdispersion(extra):
    model, X, y, weights = aggregated(extra)
    display = ResidualsDisplay.from_estimator(model, X, y, sample_weight=weights)
    assert len(display.residuals) == 300
    squares = np.mean(display.residuals**2)
    # four and more where sets differ by more than x and g say
    assert (pearson_ratio(model, X, weights) > 3.5) == (extra > 0)
    assert squares == pytest.approx(pearson_ratio(model, X, weights), rel=0.1)
    u = norm.cdf(display.residuals)
    # in order of appearance: a set without success appears with its failures
    order = np.argsort(weights[:300] == 0, kind="stable")
    successes, size = weights[:300][order], (weights[:300] + weights[300:])[order]
    eta = model.intercept_ + model.coef_[0] * X["x"] + effect_of(model, X, "g")
    p = expit(np.asarray(eta)[:300])[order]
    below, upto = (binom.cdf(successes - k, size, p) for k in (1, 0))
    assert ((u >= below - 1e-9) & (u <= upto + 1e-9)).all()


def test_trial_sets_of_other_levels_are_averaged_over_the_predictor():
    model, X, y, weights = aggregated(0.0)
    new, far = X.assign(g=99), norm.cdf(-8.0)
    display = ResidualsDisplay.from_estimator(
        model, new, y, sample_weight=weights, spread="prediction"
    )
    assert 0.7 < np.mean(display.residuals**2) < 1.5
    assert (norm.cdf(display.residuals) > far).all()


def test_trial_sets_whole_or_in_part():
    model, X, y, weights = aggregated(0.5)
    few = ResidualsDisplay.from_estimator(model, X, y, sample_weight=weights, subsample=50)
    assert len(few.residuals) == 50
    assert few.weights is None
    one = np.ones(600)
    single = MixedEffectsVIClassifier(formula="x + (1 | g)").fit(X, y)
    assert len(ResidualsDisplay.from_estimator(single, X, y, sample_weight=one).residuals) == 600


def test_weights_that_are_no_trials_are_told_of():
    model, X, y, weights = aggregated(0.0)
    with pytest.warns(UserWarning, match="cannot show overdispersion"):
        ResidualsDisplay.from_estimator(
            model, X, y, sample_weight=weights + 0.5, spread="prediction"
        )
