"""Data at the edge of what a mixed model can be asked: right, or told."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIRegressor, RandomEffect, mixed
from skmixed.exceptions import SingularFitWarning

COMBINATIONS = [
    {"method": method, "posterior": posterior}
    for method in ("reml", "ml")
    for posterior in ("full", "mean_field")
]


@pytest.fixture(params=COMBINATIONS, ids=lambda options: "-".join(options.values()))
def options(request):
    return request.param


def make_data(n=60, n_levels=6, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.tile(np.arange(n_levels), n // n_levels + 1)[:n]
    X = pd.DataFrame({"x": rng.standard_normal(n), "g": codes})
    groups = rng.standard_normal(n_levels)[codes]
    return X, groups, rng.standard_normal(n)


def check_finite_or_told(model, X, caught):
    """Every number is finite; an infinite ELBO comes with a warning."""
    arrays = [model.coef_, model.intercept_, model.coef_cov_, model.noise_variance_]
    for attribute in ("random_effects_", "random_effects_std_", "random_effects_cov_"):
        arrays += list(getattr(model, attribute).values())
    arrays += list(model.predict(X, return_std=True))
    arrays.append(model.sample_y(X, 2, random_state=0))
    assert all(np.isfinite(np.asarray(array, dtype=float)).all() for array in arrays)
    assert np.isfinite(model.elbo_) or caught
    assert model.converged_ or caught
    assert not [w for w in caught if issubclass(w.category, RuntimeWarning)]
    assert "nan" not in str(model.summary()).lower()


def fit_and_check(model, X, y, **fit_options):
    """Fit, and return what was said besides that a true covariance is singular."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y, **fit_options)
    check_finite_or_told(model, X, caught)
    return [str(w.message) for w in caught if w.category is not SingularFitWarning]


def test_no_noise_within_groups(options):
    X, groups, _ = make_data()
    messages = fit_and_check(MixedEffectsVIRegressor(["g"], **options), X, groups + 2 * X["x"])
    assert any("without noise" in message or "without error" in message for message in messages)


def test_outlier(options):
    X, _, noise = make_data()
    noise[7] = 1e12
    fit_and_check(MixedEffectsVIRegressor(["g"], **options), X, noise)


def test_slope_constant_within_groups(options):
    X, groups, noise = make_data()
    X = X.assign(z=1.5 * X["g"])
    model = MixedEffectsVIRegressor([RandomEffect("g", ["z"])], **options)
    fit_and_check(model, X, groups + noise)


@pytest.mark.parametrize("z", [0.0, 1.0])
def test_slope_without_variation(z):
    """A slope that is 0, or the intercept again, has no variance that data could tell."""
    X, groups, noise = make_data()
    data = X.assign(z=z, y=groups + noise)
    reference = mixed("y ~ x + (1 | g)", data)
    with pytest.warns(UserWarning, match="z"):
        model = mixed("y ~ x + (1 + z | g)", data)
    assert model.elbo_ == pytest.approx(reference.elbo_, abs=1e-7)
    np.testing.assert_allclose(model.predict(data), reference.predict(data), rtol=1e-5)


def test_one_factor_under_two_names(options):
    X, groups, noise = make_data()
    X = X.assign(h="L" + X["g"].astype(str))
    messages = fit_and_check(MixedEffectsVIRegressor(["g", "h"], **options), X, 3 * groups + noise)
    # which of the two the mean field keeps is a matter of rounding
    assert any("'g'" in message or "'h'" in message for message in messages)


def test_nearly_singular_covariance(options):
    X, groups, noise = make_data()
    model = MixedEffectsVIRegressor([RandomEffect("g", ["x"])], **options)
    assert fit_and_check(model, X, groups * (1 + 2 * X["x"]) + 0.01 * noise) == []


def test_more_columns_than_rows(options):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((20, 30))).add_prefix("c").assign(g=np.arange(20) % 4)
    messages = fit_and_check(MixedEffectsVIRegressor(["g"], **options), X, rng.standard_normal(20))
    assert any("reproduce the response" in message for message in messages)
    assert any("left out: 'c19'" in message for message in messages)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_few_rows(n, options):
    X = pd.DataFrame({"g": np.arange(n) % 2})
    y = np.array([1.0, 2.0, 4.0, 3.0])[:n]
    fit_and_check(MixedEffectsVIRegressor(["g"], **options), X, y)
    fit_and_check(MixedEffectsVIRegressor(["g"], **options), X.assign(x=np.arange(n) ** 2.0), y)


@pytest.mark.parametrize("size", [1e-120, 1e-30, 1e30, 1e120])
def test_units_of_the_response(size):
    X, groups, noise = make_data()
    y = X["x"] + groups + noise
    reference = MixedEffectsVIRegressor(["g"]).fit(X, y)
    model = MixedEffectsVIRegressor(["g"])
    assert fit_and_check(model, X, size * y) == []
    np.testing.assert_allclose(model.coef_ / size, reference.coef_, rtol=1e-6)
    assert model.elbo_ == pytest.approx(reference.elbo_ - 58 * np.log(size), rel=1e-9)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_units_beyond_the_range_of_variances(size):
    """An error that says what to do; no silent zero."""
    X, groups, noise = make_data()
    with pytest.raises(ValueError, match="change the unit of y"):
        MixedEffectsVIRegressor(["g"]).fit(X, size * (groups + noise))


@pytest.mark.parametrize("size", [1e-120, 1e-9, 1e9, 1e120])
@pytest.mark.parametrize("random_effects", [["g"], ["(1 + x | g)"]], ids=["fixed", "slope"])
def test_units_of_a_column(size, random_effects):
    X, groups, noise = make_data()
    y = X["x"] * (1 + groups) + groups + noise
    reference = MixedEffectsVIRegressor(random_effects).fit(X, y)
    model = MixedEffectsVIRegressor(random_effects)
    assert fit_and_check(model, X.assign(x=size * X["x"]), y) == []
    assert model.coef_[0] * size == pytest.approx(reference.coef_[0], rel=1e-6)
    np.testing.assert_allclose(
        model.predict(X.assign(x=size * X["x"])), reference.predict(X), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("shift", [1e3, 1e6, 1e8, 1e10])
def test_origin_of_a_slope(shift):
    """Correlated intercept and slope: where zero is does not matter."""
    X, groups, noise = make_data(200, 12)
    y = 2 * X["x"] + groups * (1 + X["x"]) + noise
    reference = MixedEffectsVIRegressor(["(1 + x | g)"]).fit(X, y)
    moved = X.assign(x=X["x"] + shift)
    model = MixedEffectsVIRegressor(["(1 + x | g)"])
    assert fit_and_check(model, moved, y) == []
    assert model.elbo_ == pytest.approx(reference.elbo_, abs=1e-4)
    slopes = model.random_effects_["g"]["x"]
    np.testing.assert_allclose(slopes, reference.random_effects_["g"]["x"], atol=1e-3)
    np.testing.assert_allclose(model.predict(moved), reference.predict(X), atol=1e-3)


@pytest.mark.parametrize("spread", [1e3, 1e10])
def test_uneven_weights(spread, options):
    X, groups, noise = make_data()
    rng = np.random.default_rng(1)
    weights = np.exp(rng.uniform(-np.log(spread), np.log(spread), 60))
    y = groups + noise / np.sqrt(weights)
    model = MixedEffectsVIRegressor(["g"], precision_weights="w", **options)
    fit_and_check(model, X.assign(w=weights), y)
    fit_and_check(MixedEffectsVIRegressor(["g"], **options), X, y, sample_weight=weights)


def test_absurd_weights():
    """A range that no arithmetic can hold is refused, naming the weights."""
    X, groups, noise = make_data()
    weights = np.geomspace(1e-300, 1e300, 60)
    with pytest.raises(ValueError, match="'w'"):
        MixedEffectsVIRegressor(["g"], precision_weights="w").fit(
            X.assign(w=weights), groups + noise
        )
    with pytest.raises(ValueError, match="sample_weight"):
        MixedEffectsVIRegressor(["g"]).fit(X, groups + noise, sample_weight=weights)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_absurd_noise_scale(scale, options):
    X, groups, noise = make_data()
    model = MixedEffectsVIRegressor(["g"], noise_scale=scale, **options)
    fit_and_check(model, X, groups + noise)
    assert model.noise_variance_ == scale**2


def test_level_for_every_row():
    X, groups, noise = make_data()
    X = X.assign(row=np.arange(60))
    model = MixedEffectsVIRegressor(["g", "row"])
    messages = fit_and_check(model, X, groups + noise)
    assert any("variance of 'row'" in message for message in messages)
    without = MixedEffectsVIRegressor(["g"]).fit(X.drop(columns="row"), groups + noise)
    assert model.elbo_ == pytest.approx(without.elbo_, abs=1e-7)


@pytest.mark.parametrize("noise_size", [0.0, 1e-13, 1e-9])
def test_nearly_perfect_line(noise_size):
    X, _, noise = make_data()
    y = 3 + 2 * X["x"] + noise_size * noise
    model = MixedEffectsVIRegressor(["g"])
    messages = fit_and_check(model, X, y)
    assert (noise_size < 1e-12) == any("reproduce the response" in m for m in messages)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-7)
    assert model.coef_[0] == pytest.approx(2.0, abs=1e-6)


def test_a_level_a_row_of_weight_two_is_two_rows_a_level():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=30), "g": np.arange(30)})
    y, weights = rng.normal(size=30), rng.integers(1, 3, 30)
    rows = np.repeat(np.arange(30), weights)
    estimates = []
    for arguments in [(X, y, weights), (X.iloc[rows], y[rows])]:
        # equal rows leave no noise
        with pytest.warns(UserWarning, match="Fixed and random effects reproduce the response"):
            model = MixedEffectsVIRegressor(["g"]).fit(*arguments)
        estimates.append([*model.coef_, model.variance_components_["variance"][0]])
    np.testing.assert_allclose(*estimates, rtol=1e-5)
    # the levels are then rows of a linear regression
    columns = np.column_stack([np.ones(30), X["x"]])
    coefficients, squares, *_ = np.linalg.lstsq(columns, y)
    np.testing.assert_allclose(estimates[0], [coefficients[1], squares[0] / 28], rtol=1e-5)


def without_noise():
    """Rows whose response is a sum of effects of levels, of different numbers of rows."""
    rng = np.random.default_rng(0)
    g, h = rng.integers(0, 30, 400), rng.integers(0, 12, 400)
    X = pd.DataFrame({"x": rng.standard_normal(400), "g": g, "h": h})
    return X, rng.standard_normal((30, 2)), rng.standard_normal(12)


@pytest.mark.parametrize("solver", ["direct", "iterative"])
@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("unit", [1.0, 1e6])
def test_a_response_constant_within_groups(method, solver, unit):
    """The variance is that of the levels: the limit as the noise goes to 0."""
    X, effects, _ = without_noise()
    y = unit * (effects[X["g"], 0] + 3.0)
    model = MixedEffectsVIRegressor(formula="x + (1 | g)", method=method, solver=solver)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    (said,) = (str(w.message) for w in caught)
    assert said.startswith("Fixed and random effects reproduce the response")
    expected = unit**2 * effects[:, 0].var(ddof=int(method == "reml"))
    assert model.random_effects_cov_["g"].iloc[0, 0] == pytest.approx(expected, rel=3e-5)
    assert model.converged_
    assert (model.noise_variance_, model.elbo_) == (0.0, np.inf)
    assert model.coef_[0] == pytest.approx(0.0, abs=1e-6 * unit)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-5 * unit)


def test_crossed_effects_and_slopes_without_noise():
    X, effects, others = without_noise()
    y = effects[X["g"], 0] + others[X["h"]] + X["x"]
    with pytest.warns(UserWarning, match="Fixed and random effects reproduce"):
        model = MixedEffectsVIRegressor(formula="x + (1 | g) + (1 | h)").fit(X, y)
    assert model.random_effects_cov_["g"].iloc[0, 0] == pytest.approx(
        effects[:, 0].var(ddof=1), rel=3e-5
    )
    assert model.random_effects_cov_["h"].iloc[0, 0] == pytest.approx(others.var(ddof=1), rel=3e-5)
    assert model.coef_[0] == pytest.approx(1.0, abs=1e-5)
    y = effects[X["g"], 0] + effects[X["g"], 1] * X["x"]
    with pytest.warns(UserWarning, match="Fixed and random effects reproduce"):
        model = MixedEffectsVIRegressor(formula="x + (x | g)").fit(X, y)
    np.testing.assert_allclose(model.random_effects_cov_["g"], np.cov(effects.T), rtol=1e-4)
    with pytest.raises(ValueError, match="needs noise, but"):
        model.summary(X, y, test="t")
