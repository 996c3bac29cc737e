"""The posterior of the variances beside a dense grid, and what it refuses."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from skmixed import MixedEffectsVIClassifier, mixed, variance_posterior
from skmixed.fit.variance_priors import VARIANCE_PRIORS
from skmixed.inspection.variance_posteriors import normal_mixture_quantiles
from skmixed.results.variance_points import _from_partial, _partial


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(6), 12)
    w = rng.standard_normal(6)[g]
    x = rng.standard_normal(72)
    y = 1.0 + 0.5 * w + 0.8 * rng.standard_normal(6)[g] + 0.5 * x + rng.standard_normal(72)
    return pd.DataFrame({"w": w, "x": x, "g": [f"g{k}" for k in g], "y": y})


@pytest.fixture(scope="module")
def model(frame):
    return mixed("y ~ w + (1 | g)", frame)


@pytest.fixture(scope="module")
def grid(frame):
    """At every (sd of groups, sd of noise): log likelihood, coefficients and their variances."""
    X = np.column_stack([np.ones(len(frame)), frame["w"]])
    Z, y = pd.get_dummies(frame["g"]).to_numpy(float), frame["y"].to_numpy()
    logs, means, variances, sds = [], [], [], []
    for a in np.linspace(-7.0, 3.0, 140):
        for b in np.linspace(-0.5, 0.5, 41):
            V = np.exp(2 * a) * Z @ Z.T + np.exp(2 * b) * np.eye(len(y))
            inverse = np.linalg.inv(V)
            C = np.linalg.inv(X.T @ inverse @ X)
            beta = C @ X.T @ inverse @ y
            rest = y - X @ beta
            log = -0.5 * (np.linalg.slogdet(V)[1] - np.linalg.slogdet(C)[1])
            logs.append(log - 0.5 * rest @ inverse @ rest)
            means.append(beta)
            variances.append(np.diagonal(C))
            sds.append(np.exp([a, b]))
    return np.array(logs), np.array(means), np.array(variances), np.array(sds)


def weights_of(logs, sds, density, scale):
    """Of the nodes of the grid, which is even in the logarithms; noise has a flat density."""
    logs = logs + np.array([density(sd / scale) for sd in sds[:, 0]]) + np.log(sds[:, 0])
    weights = np.exp(logs - logs.max())
    return weights / weights.sum()


@pytest.mark.parametrize("prior", VARIANCE_PRIORS)
def test_against_a_dense_grid(frame, model, grid, prior):
    # some densities have no end on the right, where six groups say little
    rtol = 0.25 if prior in ("flat", "gamma") else 0.06
    logs, means, variances, sds = grid
    weights = weights_of(logs, sds, VARIANCE_PRIORS[prior], frame["y"].std(ddof=1))
    posterior = variance_posterior(model, prior=prior, n_points=512, random_state=0)
    table = posterior.intervals().to_frame()
    for k, name in enumerate(["Intercept", "w"]):
        lower, median, upper = normal_mixture_quantiles(
            means[:, [k]], variances[:, [k]], weights, np.array([0.025, 0.5, 0.975])
        )[0]
        width = upper - lower
        assert table.loc[name, "estimate"] == pytest.approx(median, abs=0.02 * width)
        assert table.loc[name, "upper"] - table.loc[name, "lower"] == pytest.approx(width, rel=rtol)
    order = np.argsort(sds[:, 0])
    below = np.cumsum(weights[order])
    median = sds[order, 0][np.searchsorted(below, 0.5)]
    found = table.loc["sd[g, Intercept]", "estimate"]
    assert found == pytest.approx(median, rel=rtol)
    noise = table.loc["sd[Residual]", "estimate"]
    assert noise == pytest.approx(weights @ sds[:, 1], rel=0.02)


def test_longer_than_the_plug_in(frame, model):
    """Intervals that know that the variance of six groups is an estimate."""
    posterior = variance_posterior(model, random_state=0)
    table = posterior.intervals().to_frame()
    plain = model.conf_int()
    widths = table["upper"] - table["lower"]
    assert widths["w"] > 1.1 * (plain.loc["w", "upper"] - plain.loc["w", "lower"])
    new = pd.DataFrame({"w": [0.0], "g": ["another"]})
    wide, narrow = posterior.predict_interval(new)[0], model.predict_interval(new)[0]
    assert wide[0] < narrow[0]
    assert wide[1] > narrow[1]
    effects = posterior.effects("g")
    assert effects["level"].tolist() == [f"g{k}" for k in range(6)]
    assert (effects["lower"] < effects["estimate"]).all()


def test_slopes_and_seeds(frame):
    model = mixed("y ~ w + (x | g)", frame)
    first, second = (variance_posterior(model, random_state=3) for _ in range(2))
    pd.testing.assert_frame_equal(first.intervals().to_frame(), second.intervals().to_frame())
    correlation = first.intervals().to_frame().loc["corr[g, Intercept, x]"]
    assert -1.0 < correlation["lower"] < correlation["upper"] < 1.0
    draws = first.sample(4000, random_state=0)
    table = first.intervals().to_frame()
    assert draws["w"].std() == pytest.approx(table.loc["w", "std_error"], rel=0.06)
    assert draws["sd[g, x]"].median() == pytest.approx(table.loc["sd[g, x]", "estimate"], rel=0.06)


def test_partial_correlations():
    half = np.random.default_rng(0).standard_normal((4, 6))
    covariance = half @ half.T
    sds = np.sqrt(np.diagonal(covariance))
    root = np.linalg.cholesky(covariance / np.outer(sds, sds))
    np.testing.assert_allclose(_from_partial(_partial(root), 4), root, atol=1e-12)


def test_quantiles_of_mixtures():
    means, weights = np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([0.5, 0.5])
    found = normal_mixture_quantiles(means, np.ones((2, 2)), weights, np.array([0.25, 0.5]))
    assert found[0, 1] == pytest.approx(1.0)
    assert found[1, 0] == pytest.approx(1.0 + norm.ppf(0.25))


def test_refusals(frame, model):
    with pytest.raises(ValueError, match="prior='jeffreys' is not known"):
        variance_posterior(model, prior="jeffreys")
    with pytest.raises(ValueError, match="does not support a covariance structure"):
        variance_posterior(mixed("y ~ w + cs(1 + x | g)", frame))
    classes = frame.assign(y=frame["y"] > 1.0)
    binary = MixedEffectsVIClassifier("g", keep_data=True).fit(classes[["w", "g"]], classes["y"])
    with pytest.raises(ValueError, match="needs a normal response"):
        variance_posterior(binary)


@pytest.mark.parametrize("is_old", [True, False])
def test_for_arviz(model, monkeypatch, is_old):
    """The calls that both generations of arviz take."""
    taken = {}

    def from_dict(data=None, **groups):
        taken.update(groups if is_old else data)
        return "data"

    parts = {"from_dict": from_dict} | ({"InferenceData": object} if is_old else {})
    monkeypatch.setitem(sys.modules, "arviz", SimpleNamespace(**parts))
    posterior = variance_posterior(model, random_state=0)
    assert posterior.to_inferencedata(50, random_state=0) == "data"
    assert taken["posterior"]["w"].shape == (1, 50)
    monkeypatch.setitem(sys.modules, "arviz", None)
    with pytest.raises(ImportError, match="pip install arviz"):
        posterior.to_inferencedata()
