"""Predictions of levels that lie in those of another large factor."""

import pickle

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.fit import corrected_result, publish
from skmixed.results import prediction

FAMILIES = ["gaussian", "bernoulli", "poisson"]


def simulated(family, n_outer=12, n_inner=4, n_each=5, seed=0):
    """x, labels of two factors of which one lies in the other, and a response."""
    rng = np.random.default_rng(seed)
    inner = rng.permutation(np.repeat(np.arange(n_outer * n_inner), n_each))
    outer = (n_outer - 1 - inner // n_inner) * 3
    x = rng.normal(size=len(inner))
    slopes = (
        0.8 * rng.normal(size=n_outer)[outer // 3] + 0.6 * rng.normal(size=inner.max() + 1)[inner]
    )
    eta = 0.5 * x + slopes * x + rng.normal(size=inner.max() + 1)[inner]
    eta = eta + 1.2 * rng.normal(size=n_outer)[outer // 3]
    draws = {
        "gaussian": lambda: eta + rng.normal(size=len(x)),
        "bernoulli": lambda: (eta + rng.logistic(size=len(x)) > 0.0).astype(int),
        "poisson": lambda: rng.poisson(np.exp(0.5 * eta)),
    }
    return pd.DataFrame({"x": x, "inner": inner, "outer": outer}), draws[family]()


def fit_apart(monkeypatch, family, X, y, formula, **options):
    """A fit that keeps the covariances of all effects, and one that keeps those of large factors
    by level."""
    kind = MixedEffectsVIClassifier if family == "bernoulli" else MixedEffectsVIRegressor
    whole = kind(formula=formula, family=family, **options).fit(X, y)
    monkeypatch.setattr(publish, "JOINT_LIMIT", 0)
    monkeypatch.setattr(corrected_result, "JOINT_LIMIT", 0)
    return whole, kind(formula=formula, family=family, **options).fit(X, y)


def variances(model, X, include="all"):
    return model._fitted_model.encode(X, include, with_weights=False).variance(further=False)


@pytest.mark.compiled
@pytest.mark.parametrize("method", ["ml", "reml"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "formula", ["x + (1 | inner) + (1 | outer)", "x + (x | inner) + (1 + x || outer)"]
)
def test_variances_are_those_of_the_whole_covariance(family, method, formula, monkeypatch):
    X, y = simulated(family)
    whole, apart = fit_apart(monkeypatch, family, X, y, formula, method=method)
    assert any(whole.fit_result_.coupled)
    assert not any(apart.fit_result_.coupled)
    expected = variances(whole, X)
    np.testing.assert_allclose(variances(apart, X), expected, rtol=1e-7)
    # as independent effects they would be far off
    alone = sum(variances(apart, X, [name]) for name in ("inner", "outer"))
    assert (alone > 1.2 * expected).mean() > 0.8
    # rows of other designs: unknown levels, labels that do not lie in each other, few rows
    other = X.iloc[:40].copy()
    other.loc[other.index[:10], "inner"] = -7
    other.loc[other.index[10:20], "outer"] = -7
    other.loc[other.index[20:30], "outer"] = X["outer"].iloc[0]
    np.testing.assert_allclose(
        variances(apart, other)[30:], variances(whole, other)[30:], rtol=1e-7
    )
    for name in ("inner", "outer"):
        found, expected = (variances(model, other, [name]) for model in (apart, whole))
        np.testing.assert_allclose(found, expected, rtol=1e-7)
    together = variances(apart, other)
    monkeypatch.setattr(prediction, "_FEW_LEVELS", -1_000_000)
    np.testing.assert_allclose(variances(apart, other), together, rtol=1e-12)


@pytest.mark.compiled
@pytest.mark.parametrize("method", ["ml", "reml"])
def test_corrected_fits_know_it_too(method, monkeypatch):
    X, y = simulated("bernoulli", n_outer=8)
    formula = "x + (1 | inner) + (1 | outer)"
    whole, apart = fit_apart(
        monkeypatch, "bernoulli", X, y, formula, approximation="corrected", method=method
    )
    assert apart.fit_result_.factors[0].within is not None
    np.testing.assert_allclose(variances(apart, X), variances(whole, X), rtol=1e-6)


@pytest.mark.compiled
def test_draws_have_these_variances(monkeypatch):
    X, y = simulated("gaussian")
    _, apart = fit_apart(monkeypatch, "gaussian", X, y, "x + (1 | inner) + (1 | outer)")
    rows = X.drop_duplicates("inner")
    encoded = apart._fitted_model.encode(rows, "all")
    drawing = prediction.draw_predictors(
        encoded.result, encoded.design, encoded.positions, np.random.default_rng(0)
    )
    drawn = np.array([next(drawing) for _ in range(6000)])
    # 6,000 draws know a variance to 2 %
    np.testing.assert_allclose(drawn.var(axis=0), encoded.variance(further=True), rtol=0.08)


@pytest.mark.compiled
def test_it_is_stored(monkeypatch):
    X, y = simulated("gaussian")
    _, apart = fit_apart(monkeypatch, "gaussian", X, y, "x + (1 | inner) + (1 | outer)")
    again = pickle.loads(pickle.dumps(apart))
    np.testing.assert_array_equal(variances(again, X), variances(apart, X))


@pytest.mark.compiled
def test_levels_of_three_large_factors_stay_apart(monkeypatch):
    """Which of two outer levels a covariance comes from is not known."""
    X, y = simulated("gaussian")
    X["third"] = np.arange(len(X)) % 11
    formula = "x + (1 | inner) + (1 | outer) + (1 | third)"
    _, apart = fit_apart(monkeypatch, "gaussian", X, y, formula)
    assert all(factor.within is None for factor in apart.fit_result_.factors)
