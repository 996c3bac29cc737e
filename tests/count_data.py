"""Counts and amounts that the tests of `MixedEffectsVIRegressor` share."""

from __future__ import annotations

import numpy as np
import pytest

from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import make_mixed_regression

GROUPS = ["g0", "g1"]
FAMILIES = ["poisson", "negative_binomial", "gamma"]


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


def fit_each():
    """A function from a family to its data and model, each fitted once."""
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
