"""Fits of responses that are not normal: the way to the optimum, and rows that are merged."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from covering import covering
from test_variational import FAMILIES, Case, assert_falls

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.fit import generalized_fit as generalized
from skmixed.fit.newton import minimise
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.posteriors import POSTERIORS

pytestmark = pytest.mark.compiled


@pytest.fixture(params=POSTERIORS)
def posterior(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["reml", "ml"])
def integrate_fixed(request):
    return request.param


# The optimum --------------------------------------------------------------------------------


def optimum(case, start=None):
    with np.errstate(all="ignore"):
        theta = case.theta if start is None else start
        return minimise(case.objective, theta, tol=1e-7, max_iter=300)


@covering(family=FAMILIES, posterior=POSTERIORS, integrate_fixed=[True, False])
def test_path_falls(family, posterior, integrate_fixed):
    case = Case("crossed", family, posterior, integrate_fixed, n=120)
    for factor in (0.2, 1.0, 5.0):
        state = optimum(case, np.concatenate([factor * case.variances, case.own]))
        assert state.converged
        assert_falls(np.array(state.deviances))


@pytest.mark.parametrize("family", FAMILIES)
def test_acceleration_changes_the_way_only(monkeypatch, family):
    """Extrapolated and plain steps meet, the plain ones later."""
    case = Case("crossed", family, n=120)
    accelerated = optimum(case)
    monkeypatch.setattr(VariationalObjective, "accelerated", lambda *args, **options: None)
    plain = optimum(case)
    assert accelerated.converged
    assert accelerated.point.deviance == pytest.approx(plain.point.deviance, rel=1e-9)
    np.testing.assert_allclose(accelerated.point.theta, plain.point.theta, rtol=1e-3, atol=1e-3)
    assert accelerated.n_iter <= plain.n_iter


@pytest.mark.parametrize("n_remembered", [2, 3, 8])
def test_memory_changes_the_way_only(monkeypatch, n_remembered):
    case = Case("slopes_in_tail", "negative_binomial", n=120)
    expected = optimum(case)
    monkeypatch.setattr(VariationalObjective, "n_remembered", n_remembered)
    found = optimum(case)
    assert found.converged
    assert found.point.deviance == pytest.approx(expected.point.deviance, rel=1e-9)
    np.testing.assert_allclose(found.point.theta, expected.point.theta, rtol=1e-3, atol=1e-3)


def test_optimum_does_not_depend_on_the_start():
    case = Case("slopes_eliminated", "gamma", n=150)
    found = [
        optimum(case, np.concatenate([size * case.variances, own + case.own]))
        for size, own in ((1.0, 0.0), (0.1, 2.0), (10.0, -2.0))
    ]
    for one, other in pairwise(found):
        assert one.converged
        assert one.point.deviance == pytest.approx(other.point.deviance, rel=1e-9)


# Rows that are merged, repeated and in another order ----------------------------------------


def repeated_data(family, n=300, seed=4):
    """Few different rows, of which many are equal."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "x": rng.integers(3, size=n) - 1.0,
            "g": rng.integers(8, size=n),
            "h": rng.integers(5, size=n),
        }
    )
    effects = rng.normal(scale=0.7, size=8)[X["g"]] + rng.normal(scale=0.5, size=5)[X["h"]]
    eta = (0.3 + 0.5 * X["x"] + effects).to_numpy()
    y = FAMILIES[family].sample(eta, np.array([0.5, 0.1])[: 2 if "ordinal" in family else 1], rng)
    return X, np.round(y, 1) + 0.1 * (family == "gamma")


def estimator(family, **options):
    name, _, link = family.partition("-")
    terms = ["(1 + x | g)", "(1 | h)"]
    if FAMILIES[family].is_classifier:
        return MixedEffectsVIClassifier(terms, family=name, link=link, **options)
    return MixedEffectsVIRegressor(terms, family=name, **options)


def assert_same(one, other):
    assert one.elbo_ == pytest.approx(other.elbo_, rel=1e-9)
    error = np.sqrt(np.diagonal(one.coef_cov_)).max()
    np.testing.assert_allclose(one.coef_, other.coef_, atol=1e-5 * error)
    np.testing.assert_allclose(one.coef_cov_, other.coef_cov_, rtol=1e-4)
    for group, effects in one.random_effects_.items():
        expected = other.random_effects_[group].loc[effects.index]
        np.testing.assert_allclose(effects, expected, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_merged_rows(monkeypatch, family):
    """Rows that were merged, and the same rows one by one."""
    X, y = repeated_data(family)
    merged = estimator(family).fit(X, y)
    counts = []

    def apart(columns):
        counts.append(len(columns[0]))
        return np.arange(len(columns[0]))

    monkeypatch.setattr(generalized, "merge_equal_rows", apart)
    assert_same(merged, estimator(family).fit(X, y))
    assert counts == [300]


@pytest.mark.parametrize("family", ["bernoulli-logit", "negative_binomial"])
def test_rows_repeated_or_weighted(family):
    """Case weights of equal rows add up; the order of rows does not matter."""
    X, y = repeated_data(family)
    weights = np.random.default_rng(0).integers(1, 4, size=len(y))
    weighted = estimator(family).fit(X, y, sample_weight=weights)
    order = np.random.default_rng(1).permutation(np.repeat(np.arange(len(y)), weights))
    repeated = estimator(family).fit(X.iloc[order].reset_index(drop=True), y[order])
    assert_same(weighted, repeated)


@covering(family=FAMILIES, method=["reml", "ml"], posterior=POSTERIORS)
def test_elbo_path_rises(family, method, posterior):
    X, y = repeated_data(family, n=150)
    with warnings.catch_warnings():
        # independent normals can collapse a variance, and say so
        warnings.filterwarnings("ignore", "The mean-field posterior", UserWarning)
        model = estimator(family, method=method, posterior=posterior).fit(X, y)
    assert model.converged_
    path = np.asarray(model.elbo_path_)
    assert len(path) == model.n_iter_ + 1
    np.testing.assert_array_less(-np.diff(path), 1e-9 * np.abs(path[:-1]))
    assert path[-1] == pytest.approx(model.elbo_, rel=1e-12)
