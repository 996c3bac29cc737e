"""solver="iterative" through the public API, against solver="direct"."""

from __future__ import annotations

import copy
import pickle
import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skmixed import MixedEffectsVIRegressor, RandomEffect, mixed
from skmixed.datasets import make_mixed_regression
from skmixed.exceptions import SingularFitWarning

SLOPES = [RandomEffect("g0", slopes=["x0"]), RandomEffect("g1", slopes=["x0"])]
APART = [
    RandomEffect("g0", slopes=["x0"], covariance="diagonal"),
    RandomEffect("g1", slopes=["x0"], covariance="diagonal"),
]
ROWS = {"n_samples": 4000, "random_state": 0}
DATA = {
    "crossed": {"groups": (900, 250)},
    "nested": {"groups": (250, 3), "nested": True},
    "three": {"groups": (600, 300, 220), "random_state": 1},
    "with_small": {"groups": (600, 300, 12), "random_state": 1},
    "heavy_tailed": {"groups": (800, 400), "heavy_tailed": True},
    "one_slope": {"groups": (800, 220), "n_slopes": [0, 1], "slope_sd": 0.5},
    "slopes": {"groups": (350, 220), "n_slopes": 1, "correlation": 0.4, "slope_sd": 0.5},
}
CASES = {
    "crossed": ("crossed", ["g0", "g1"], {}),
    "ml": ("crossed", ["g0", "g1"], {"method": "ml"}),
    "noise_held": ("crossed", ["g0", "g1"], {"noise_scale": 1.1}),
    "noise_held_ml": ("crossed", ["g0", "g1"], {"noise_scale": 1.1, "method": "ml"}),
    "mean_field": ("crossed", ["g0", "g1"], {"posterior": "mean_field"}),
    "weights": ("crossed", ["g0", "g1"], {"precision_weights": "w", "offset": "o"}),
    "nested": ("nested", ["g0", "g1"], {}),
    "three": ("three", ["g0", "g1", "g2"], {}),
    "with_small": ("with_small", ["g0", "g1", "g2"], {}),
    "heavy_tailed": ("heavy_tailed", ["g0", "g1"], {}),
    "slopes": ("slopes", SLOPES, {}),
    "slopes_ml": ("slopes", SLOPES, {"method": "ml"}),
    "slopes_mean_field": ("slopes", SLOPES, {"posterior": "mean_field"}),
    "uncorrelated": ("slopes", APART, {}),
    "slopes_in_tail": ("one_slope", ["g0", RandomEffect("g1", slopes=["x0"])], {}),
}


@cache
def make_data(name):
    X, y, _ = make_mixed_regression(**{**ROWS, **DATA[name]})
    rng = np.random.default_rng(5)
    X["w"], X["o"] = rng.uniform(0.5, 2.0, len(X)), rng.standard_normal(len(X))
    return X, y


def fit(name, **options):
    """Fit a case; a warning is an error."""
    data, effects, fixed_options = CASES[name]
    X, y = make_data(data)
    used = [column for column in ("w", "o") if column not in fixed_options.values()]
    model = MixedEffectsVIRegressor(effects, **{**fixed_options, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return model.fit(X.drop(columns=used), y)


@cache
def fits(name):
    """The direct fit, and iterative ones of several seeds."""
    direct = fit(name, solver="direct")
    return direct, [fit(name, solver="iterative", random_state=seed) for seed in (0, 1, 2)]


def variances(model):
    parts = [cov.to_numpy().ravel() for cov in model.random_effects_cov_.values()]
    return np.concatenate([*parts, [model.noise_variance_]])


def scaled_errors(model, direct):
    """Errors of variances in units of the variances, of covariances in those of their parts."""
    errors = []
    for group, cov in direct.random_effects_cov_.items():
        sd = np.sqrt(np.diagonal(cov))
        difference = (model.random_effects_cov_[group] - cov).to_numpy()
        errors.append((difference / np.outer(sd, sd)).ravel())
    noise = model.noise_variance_ / direct.noise_variance_ - 1.0
    return np.concatenate([*errors, [noise]])


@pytest.mark.parametrize("name", CASES)
def test_same_fit_as_direct(name):
    direct, models = fits(name)
    errors = np.array([scaled_errors(model, direct) for model in models])
    assert np.abs(errors).max() < 5e-3
    # the mean of several seeds is nearer, up to its Monte Carlo error
    spread = errors.std(axis=0, ddof=1)
    assert (np.abs(errors.mean(axis=0)) < 1e-3 + 3.0 * spread).all()
    scale = np.sqrt(np.diagonal(direct.coef_cov_))
    for model in models:
        assert model.solver_ == "iterative"
        assert model.converged_
        assert model.n_iter_ < 15
        fixed = np.append(model.intercept_, model.coef_)
        expected = np.append(direct.intercept_, direct.coef_)
        assert (np.abs(fixed - expected) < 0.01 * scale).all()
        moved = (model.coef_cov_ - direct.coef_cov_) / np.outer(scale, scale)
        assert np.abs(moved).max() < 0.01
        assert abs(model.elbo_ - direct.elbo_) < 3.5 * model.elbo_std_ + 1e-6
        # levels of the inner factor meet one of the outer: the factor of a tree is exact
        nothing_estimated = model.posterior == "mean_field" or name == "nested"
        assert (model.elbo_std_ == 0.0) == nothing_estimated
        assert model.elbo_std_ < 0.5


@pytest.mark.parametrize("name", CASES)
def test_same_standard_deviations_as_direct(name):
    direct, models = fits(name)
    data, _, options = CASES[name]
    X = make_data(data)[0].iloc[::20].drop(columns=[] if "offset" in options else ["w", "o"])
    mean, std = direct.predict(X, return_std=True)
    for model in models:
        for group, expected in direct.random_effects_std_.items():
            ratios = model.random_effects_std_[group].to_numpy() / expected.to_numpy()
            assert np.abs(ratios - 1.0).max() < 0.06
            assert abs(ratios.mean() - 1.0) < 0.01
            moved = (model.random_effects_[group] - direct.random_effects_[group]).to_numpy()
            assert np.abs(moved / expected.to_numpy()).max() < 0.02
        found, found_std = model.predict(X, return_std=True)
        np.testing.assert_allclose(found, mean, atol=0.02 * std.min())
        np.testing.assert_allclose(found_std, std, rtol=0.02)
        assert abs((found_std / std).mean() - 1.0) < 2e-3


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_covariances_that_are_singular(seed):
    """Slopes that hardly vary: correlations of one, where products of signs alone go astray."""
    X, y, _ = make_mixed_regression(n_samples=20_000, groups=(400, 200), random_state=seed)
    effects = ["(1 + x0 | g0)", "(1 + x0 | g1)"]
    direct = MixedEffectsVIRegressor(effects, solver="direct").fit(X, y)
    correlations = direct.variance_components_["corr"].abs()
    assert correlations.max() == pytest.approx(1.0, abs=1e-6)
    model = MixedEffectsVIRegressor(effects, solver="iterative").fit(X, y)
    assert model.converged_
    assert model.n_iter_ < 20
    assert abs(model.elbo_ - direct.elbo_) < 3.5 * model.elbo_std_ + 1e-6
    for group, expected in direct.random_effects_cov_.items():
        moved = (model.random_effects_cov_[group] - expected).to_numpy()
        assert np.abs(moved).max() < 1e-3 * expected.loc["Intercept", "Intercept"]
    np.testing.assert_allclose(model.coef_, direct.coef_, atol=1e-5)


def test_sample_weights():
    X, y = make_data("crossed")
    X = X[["x0", "g0", "g1"]]
    weights = np.random.default_rng(0).integers(0, 3, len(X))
    model = MixedEffectsVIRegressor(["g0", "g1"], solver="iterative")
    weighted = clone(model).fit(X, y, sample_weight=weights)
    rows = np.repeat(np.arange(len(X)), weights)
    repeated = clone(model).fit(X.iloc[rows], y.iloc[rows])
    np.testing.assert_allclose(variances(weighted), variances(repeated), rtol=1e-6)
    assert weighted.elbo_ == pytest.approx(repeated.elbo_, rel=1e-9)


def test_formula_interface():
    X, y = make_data("crossed")
    frame = X.assign(y=y)
    found = mixed("y ~ x0 + (1 | g0) + (1 | g1)", frame, solver="iterative", random_state=0)
    expected = fits("crossed")[1][0]
    np.testing.assert_allclose(variances(found), variances(expected), rtol=1e-10)


@pytest.mark.parametrize("name", ["crossed", "slopes"])
def test_errors_fall_with_more_probes(name):
    """By about the square root of their number; those of the ELBO are as claimed."""
    direct = fits(name)[0]
    errors, claimed, found = [], [], []
    for n_probes in (4, 64):
        models = [
            fit(name, solver="iterative", n_probes=n_probes, random_state=seed)
            for seed in range(10)
        ]
        difference = np.array([scaled_errors(model, direct) for model in models])
        errors.append(np.sqrt((difference**2).mean()))
        claimed.append(np.sqrt(np.mean([model.elbo_std_**2 for model in models])))
        found.append(np.sqrt(np.mean([(model.elbo_ - direct.elbo_) ** 2 for model in models])))
    assert 0.1 < errors[1] / errors[0] < 0.5
    assert 0.15 < claimed[1] / claimed[0] < 0.45
    # solves leave an error below 1e-6
    assert 0.4 < (found[1] + 1e-6) / (claimed[1] + 1e-6) < 2.0


@pytest.mark.parametrize("seed", [None, 3])
def test_equal_seeds_equal_fits(seed):
    one, two = (fit("three", solver="iterative", random_state=seed) for _ in range(2))
    np.testing.assert_array_equal(variances(one), variances(two))
    np.testing.assert_array_equal(one.coef_, two.coef_)
    assert one.elbo_ == two.elbo_
    other = fit("three", solver="iterative", random_state=4)
    assert (variances(one) != variances(other)).all()


def test_names_of_levels_do_not_matter():
    """Not even to the random vectors: levels are numbered by what their rows say."""
    X, y, _ = make_mixed_regression(n_samples=5000, groups=(900, 400), random_state=2)
    names = {"g0": X["g0"].map(lambda k: f"user {k}"), "g1": -7 * X["g1"]}
    options = {"random_effects": ["g0", "g1"], "solver": "iterative"}
    model = MixedEffectsVIRegressor(**options).fit(X, y)
    renamed = MixedEffectsVIRegressor(**options).fit(X.assign(**names), y)
    np.testing.assert_allclose(variances(renamed), variances(model), rtol=1e-10)
    assert renamed.elbo_ == pytest.approx(model.elbo_, rel=1e-12)
    mine = renamed.random_effects_["g0"].loc[names["g0"]].to_numpy()
    expected = model.random_effects_["g0"].loc[X["g0"]].to_numpy()
    np.testing.assert_allclose(mine, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("group_sd", [[0.5, 0.0], [0.0, 0.5], [0.0, 0.0]])
@pytest.mark.parametrize("seed", range(4))
def test_variances_of_zero(group_sd, seed):
    """Zero or not, both solvers agree up to what a random vector can tell."""
    X, y, _ = make_mixed_regression(
        n_samples=4000, groups=(900, 300), group_sd=group_sd, random_state=seed
    )
    models = []
    for solver in ("direct", "iterative"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", SingularFitWarning)
            models.append(MixedEffectsVIRegressor(["g0", "g1"], solver=solver).fit(X, y))
    direct, iterative = models
    found, expected = variances(iterative), variances(direct)
    # the standard error of such a variance is about 0.01
    np.testing.assert_allclose(found, expected, atol=1e-3)
    zero = expected == 0.0
    assert (found[zero] < 1e-3).all()
    assert iterative.elbo_ == pytest.approx(direct.elbo_, abs=4.0 * iterative.elbo_std_ + 1e-4)


def test_some_variances_are_exactly_zero():
    """A variance far beyond the boundary ends on it."""
    X = make_data("crossed")[0].drop(columns=["w", "o"])
    y = pd.Series(np.random.default_rng(0).standard_normal(len(X)), X.index)
    y -= y.groupby(X["g1"]).transform("mean")
    model = MixedEffectsVIRegressor(["g0", "g1"], solver="iterative").fit(X, y)
    assert model.random_effects_cov_["g1"].to_numpy().item() == 0.0
    assert (model.random_effects_["g1"].to_numpy() == 0.0).all()
    assert (model.random_effects_std_["g1"].to_numpy() == 0.0).all()


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("effects", [["g0"], [RandomEffect("g0", slopes=["x0"])], []])
def test_nothing_to_iterate_on(effects, method):
    """With one factor, or none, nothing is estimated from random vectors."""
    X, y = make_data("slopes")
    X = X[["x0", "g0"]] if effects else X[["x0"]]
    direct, iterative = (
        MixedEffectsVIRegressor(effects or None, solver=solver, method=method).fit(X, y)
        for solver in ("direct", "iterative")
    )
    np.testing.assert_allclose(variances(iterative), variances(direct), rtol=1e-6)
    np.testing.assert_allclose(iterative.coef_, direct.coef_, rtol=1e-8)
    np.testing.assert_allclose(iterative.coef_cov_, direct.coef_cov_, rtol=1e-6)
    assert iterative.elbo_ == pytest.approx(direct.elbo_, rel=1e-11)
    assert iterative.elbo_std_ == 0.0
    for group, std in direct.random_effects_std_.items():
        np.testing.assert_allclose(iterative.random_effects_std_[group], std, rtol=1e-6)


def test_small_factors_leave_nothing_to_chance():
    X, y, _ = make_mixed_regression(n_samples=2000, groups=(400, 90, 60), random_state=2)
    direct, iterative = (
        MixedEffectsVIRegressor(["g0", "g1", "g2"], solver=solver).fit(X, y)
        for solver in ("direct", "iterative")
    )
    np.testing.assert_allclose(variances(iterative), variances(direct), rtol=1e-6)
    assert iterative.elbo_std_ == 0.0
    for group, std in direct.random_effects_std_.items():
        np.testing.assert_allclose(iterative.random_effects_std_[group], std, rtol=1e-6)


def test_auto():
    """Direct up to a tail of 2,500 effects, where a sparse factor would fill in."""
    chosen = []
    for n_levels in (2400, 2600):
        X, y, _ = make_mixed_regression(
            n_samples=20_000, groups=(n_levels + 100, n_levels), random_state=0
        )
        model = MixedEffectsVIRegressor(["g0", "g1"], posterior="mean_field").fit(X, y)
        chosen.append(model.solver_)
    assert chosen == ["direct", "iterative"]
    assert fits("crossed")[0].set_params(solver="auto").fit(*make_data("crossed")).solver_ == (
        "direct"
    )


@pytest.mark.parametrize("n_probes", [0, 1, -3, 2.5, "many", None, True])
def test_number_of_probes_is_checked(n_probes):
    X, y = make_data("crossed")
    model = MixedEffectsVIRegressor(["g0", "g1"], solver="iterative", n_probes=n_probes)
    with pytest.raises((ValueError, TypeError), match="n_probes"):
        model.fit(X, y)


def test_solver_is_checked():
    X, y = make_data("crossed")
    with pytest.raises(ValueError, match="solver='fast'"):
        MixedEffectsVIRegressor(["g0", "g1"], solver="fast").fit(X, y)


def test_pickled_models_predict():
    X = make_data("slopes")[0].drop(columns=["w", "o"]).head(50)
    model = fits("slopes")[1][0]
    again = pickle.loads(pickle.dumps(model))
    for a, b in zip(again.predict(X, return_std=True), model.predict(X, return_std=True),
                    strict=True):  # fmt: skip
        np.testing.assert_array_equal(a, b)
    # neither data nor probes are kept
    assert len(pickle.dumps(model)) < 400_000


def test_warm_start():
    X, y = make_data("crossed")
    X = X.drop(columns=["w", "o"])
    model = MixedEffectsVIRegressor(["g0", "g1"], solver="iterative", warm_start=True).fit(X, y)
    first = variances(model)
    model.fit(X, y)
    assert model.n_iter_ <= 2
    np.testing.assert_allclose(variances(model), first, rtol=1e-6)


# Warm starts ------------------------------------------------------------------------------------


def of_a_useless_column(seed):
    """A fit whose group b varies by nothing, and the rows of three folds of five."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"a": rng.integers(0, 400, 6000), "b": rng.integers(0, 300, 6000)})
    y = rng.standard_normal(400)[X["a"]] + 2.0 * rng.standard_normal(6000)
    model = MixedEffectsVIRegressor(["a", "b"], solver="iterative", tol=1e-4).fit(X, y)
    return model, [(X[kept], y[kept]) for k in range(3) if (kept := np.arange(6000) % 5 != k).any()]


@pytest.mark.parametrize("seed", [0, 5, 19, 34])
def test_a_warm_start_from_a_variance_of_zero_is_no_slower_than_a_cold_one(seed):
    model, folds = of_a_useless_column(seed)
    assert model.random_effects_cov_["b"].iloc[0, 0] == 0.0
    for X, y in folds:
        cold = clone(model).fit(X, y)
        warm = copy.copy(model).set_params(warm_start=True).fit(X, y)
        assert warm.converged_
        assert warm.n_iter_ <= cold.n_iter_ + 2
        assert warm.elbo_ == pytest.approx(cold.elbo_, abs=0.01)


def test_steps_from_next_to_zero_are_not_shortened_while_the_gradient_grows(monkeypatch):
    monkeypatch.setattr("skmixed.fit.outer._SMALL_START", 0.0)
    model, folds = of_a_useless_column(0)
    warm = copy.copy(model).set_params(warm_start=True)
    warm.random_effects_cov_ = model.random_effects_cov_ | {
        "b": model.random_effects_cov_["b"] + 1e-6 * model.noise_variance_
    }
    # halved steps grow from 0.001 to 0.01 in more than a hundred
    assert warm.fit(*folds[0]).converged_
    assert warm.n_iter_ <= 15
