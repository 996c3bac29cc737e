"""The move from the bound's maximum to the likelihood's that an expansion foretells."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.exceptions import ApproximationWarning
from skmixed.fit.bound_moves import _slopes
from skmixed.fit.result import FactorResult


def simulate(family, n_levels, n_rows, sd, slope_sd=0.0):
    """A frame with the columns x, g and y of one family."""
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(n_levels), n_rows)
    x = rng.standard_normal(len(group))
    predictor = 0.2 + 0.5 * x + sd * rng.standard_normal(n_levels)[group]
    predictor += slope_sd * x * rng.standard_normal(n_levels)[group]
    latent = predictor + rng.logistic(size=len(x))
    mean = np.exp(predictor - 1.0)
    draws = {
        "bernoulli": lambda: latent > 0.0,
        "ordinal": lambda: np.digitize(latent, [-1.0, 0.0, 1.5]),
        "poisson": lambda: rng.poisson(mean),
        "negative_binomial": lambda: rng.poisson(mean * rng.gamma(2.0, 0.5, len(x))),
        "gamma": lambda: mean * rng.gamma(2.0, 0.5, len(x)) + 1e-12,
    }
    return pd.DataFrame({"x": x, "g": group}), np.asarray(draws[family](), float)


def fit(family, X, y, formula, **parameters):
    is_classes = family in ("bernoulli", "ordinal")
    kind = MixedEffectsVIClassifier if is_classes else MixedEffectsVIRegressor
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ApproximationWarning)
        return kind(formula=formula, family=family, **parameters).fit(X, y)


def sds(model):
    return np.concatenate([np.diag(c) ** 0.5 for c in model.random_effects_cov_.values()])


@pytest.mark.parametrize("q", [1, 2, 3])
def test_slopes_are_those_of_the_sums_over_pairs_of_rows(q):
    rng = np.random.default_rng(q)
    n_levels, n = 4, 30
    codes, basis = rng.integers(n_levels, size=n), rng.standard_normal((n, q))
    third, fourth = rng.standard_normal((2, n))
    omega = np.cov(rng.standard_normal((q, 9))).reshape(q, q)
    data = np.array([np.diag(rng.uniform(0.5, 2.0, q)) for _ in range(n_levels)])

    def gap(scaled):
        """Of all pairs of rows, posterior covariances from what the rows say, `data`."""
        covariances = np.linalg.inv(np.linalg.inv(scaled) + data)
        between = np.einsum("ik,ikl,jl->ij", basis, covariances[codes], basis)
        between[codes[:, None] != codes] = 0.0
        return third @ between**3 @ third / 12.0 + fourth @ between**4 @ fourth / 48.0

    covariances = np.linalg.inv(np.linalg.inv(omega) + data)
    factor = FactorResult(omega, np.zeros((n_levels, q)), covariances, np.eye(q))
    expected = []
    for k in range(q):
        by, step = np.ones(q), 1e-5
        by[k] = np.exp(step)
        above, below = (gap(omega * np.outer(b, b)) for b in (by, 1.0 / by))
        expected.append((above - below) / (2.0 * step))
    slopes = _slopes(factor, codes, basis, (third, fourth))
    np.testing.assert_allclose(slopes, expected, rtol=1e-6)


DESIGNS = [
    ("bernoulli", 200, 4, 2.0, 0.0),
    ("bernoulli", 100, 8, 1.0, 1.0),
    ("ordinal", 100, 6, 1.0, 1.0),
    ("poisson", 200, 3, 1.0, 0.0),
    ("poisson", 100, 5, 0.7, 0.7),
    ("negative_binomial", 200, 4, 1.0, 0.0),
    ("gamma", 100, 5, 0.7, 0.5),
]


@pytest.mark.compiled
@pytest.mark.parametrize("design", DESIGNS, ids=lambda d: f"{d[0]} {d[2]} rows, slope {d[4]}")
def test_moves_are_near_those_to_the_maximum_of_the_likelihood(design):
    X, y = simulate(*design)
    formula = "x + (x | g)" if design[-1] else "x + (1 | g)"
    model = fit(design[0], X, y, formula)
    exact = fit(design[0], X, y, formula, approximation="corrected")
    found = np.expm1(model.fit_result_.bound_moves)
    true = sds(exact) / sds(model) - 1.0
    assert (true > 0.004).all()
    np.testing.assert_allclose(found, true, rtol=0.75)
    assert exact.fit_result_.bound_moves is None


@pytest.mark.compiled
@pytest.mark.parametrize("is_nested", [False, True])
def test_effects_that_are_told_apart_badly_raise_no_alarm(is_nested):
    """Three levels beside an intercept that is integrated, and few levels within others.

    Their effects are far more uncertain than their sums. Exact moves with the three levels are
    1.4 and 0.2 %, by `approximation="corrected"`, which takes half a minute for them.
    """
    rng = np.random.default_rng(3)
    inner = rng.integers(40, size=120)
    outer = inner // 4 if is_nested else rng.integers(3, size=120)
    X = pd.DataFrame({"x": rng.standard_normal(120), "g": inner, "h": outer})
    predictor = 0.2 + 0.5 * X["x"] + rng.standard_normal(40)[inner]
    y = rng.poisson(np.exp(predictor + 0.7 * rng.standard_normal(10)[outer] - 1.0)).astype(float)
    formula, method = "x + (1 | g) + (1 | h)", "ml" if is_nested else "reml"
    model = fit("poisson", X, y, formula, method=method)
    true = np.array([0.014, 0.002])
    if is_nested:
        exact = fit("poisson", X, y, formula, method=method, approximation="corrected")
        true = sds(exact) / sds(model) - 1.0
    found = np.expm1(model.fit_result_.bound_moves)
    assert (np.abs(found - true) < 0.03).all()


@pytest.mark.compiled
def test_units_of_columns_do_not_matter():
    X, y = simulate("bernoulli", 100, 8, 1.0, 1.0)
    moves = fit("bernoulli", X, y, "x + (x | g)").fit_result_.bound_moves
    scaled = fit("bernoulli", X.assign(x=1e3 * X["x"]), y, "x + (x | g)").fit_result_.bound_moves
    np.testing.assert_allclose(scaled, moves, rtol=1e-4)


def test_a_normal_response_has_no_bound_to_leave():
    X, y = simulate("gamma", 20, 5, 0.5)
    assert fit("gaussian", X, y, "x + (1 | g)").fit_result_.bound_moves is None
    mean_field = fit("gamma", X, y, "x + (1 | g)", posterior="mean_field")
    assert mean_field.fit_result_.bound_moves is None


def test_counts_are_warned_of_where_they_say_little():
    X, y = simulate("poisson", 100, 2, 1.5)
    with pytest.warns(ApproximationWarning, match=r"sd\(Intercept \| g\) by some \d+ %\. Levels"):
        MixedEffectsVIRegressor(formula="x + (1 | g)", family="poisson").fit(X, y)


def test_an_effect_of_no_variance_does_not_move():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"g": np.repeat(np.arange(40), 10)})
    model = fit("bernoulli", X, rng.permutation(np.tile([0, 1], 200)), "(1 | g)")
    assert sds(model)[0] == 0.0
    assert model.fit_result_.bound_moves[0] == 0.0
