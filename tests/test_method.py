"""`method="auto"`: REML for normal responses, maximum likelihood for the others."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from skmixed import (
    MixedEffectsEncoder,
    MixedEffectsVIClassifier,
    MixedEffectsVIRegressor,
    compare_models,
    mixed,
)
from skmixed.datasets import load_sleepstudy
from skmixed.families import FAMILIES
from skmixed.inspection.criteria import information_criteria

DATA = Path(__file__).parent / "data"


def simulate(family, n=300):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.standard_normal(n), "g": rng.integers(20, size=n)})
    predictor = 0.5 * frame["x"].to_numpy() + rng.normal(0.0, 0.7, 20)[frame["g"]]
    draws = {
        "gaussian": lambda: rng.normal(predictor),
        "bernoulli": lambda: rng.binomial(1, expit(predictor)),
        "ordinal": lambda: np.digitize(predictor + rng.logistic(size=n), [-1.0, 1.0]),
        "gamma": lambda: np.exp(predictor) * rng.gamma(2.0, 0.5, n),
    }
    counts = lambda: rng.poisson(np.exp(predictor) * rng.gamma(2.0, 0.5, n))  # noqa: E731
    return frame.assign(y=draws.get(family, counts)())


@pytest.mark.compiled
@pytest.mark.parametrize("family", FAMILIES)
def test_default_of_every_family(family):
    frame = simulate(family)
    expected, other = ("reml", "ml") if family == "gaussian" else ("ml", "reml")
    model = mixed("y ~ x + (1 | g)", frame, family=family)
    assert (model.method, model.method_) == ("auto", expected)
    assert f"{expected}, posterior full" in str(model.summary())
    named = mixed("y ~ x + (1 | g)", frame, family=family, method=expected)
    assert named.elbo_ == model.elbo_
    np.testing.assert_array_equal(named.coef_cov_, model.coef_cov_)
    assert information_criteria(model).restricted == (family == "gaussian")
    with pytest.raises(ValueError, match=f"method='{expected}'.*method='{other}'"):
        compare_models(model, mixed("y ~ x + (1 | g)", frame, family=family, method=other))


@pytest.mark.parametrize("method", ["REML", "mle", None])
def test_unknown_methods_are_refused(method):
    frame = simulate("gaussian")
    with pytest.raises(ValueError, match=r"method=.*'auto'.*'reml'.*'ml'"):
        MixedEffectsVIRegressor(method=method).fit(frame[["x"]], frame["y"])


def test_one_event_in_a_hundred_rows():
    """The linear predictor is where the data are; integrated out it is its posterior mean."""
    X = pd.DataFrame({"x": np.zeros(100)})
    y = (np.arange(100) == 50).astype(int)
    for kind, family in (
        (MixedEffectsVIRegressor, "poisson"),
        (MixedEffectsVIClassifier, "bernoulli"),
    ):
        with pytest.warns(UserWarning, match="were left out"):
            model = kind(None, family=family).fit(X, y)
        inverse = np.exp if family == "poisson" else expit
        assert inverse(model.intercept_) == pytest.approx(0.01, rel=1e-6)
        with pytest.warns(UserWarning, match="were left out"):
            integrated = kind(None, family=family, method="reml").fit(X, y)
        assert inverse(integrated.intercept_) < 0.0065


def test_parts_are_fitted_as_whole_data():
    frame = simulate("gaussian")
    X, y = frame[["x", "g"]], frame["y"]
    model = MixedEffectsVIRegressor("g")
    for rows in np.array_split(np.arange(len(y)), 2):
        model.partial_fit(X.iloc[rows], y.iloc[rows])
    assert model.method_ == "reml"
    assert model.elbo_ == pytest.approx(MixedEffectsVIRegressor("g").fit(X, y).elbo_, rel=1e-10)


def test_stored_with_the_fit():
    frame = simulate("bernoulli")
    model = mixed("y ~ x + (1 | g)", frame, family="bernoulli").set_params(method="reml")
    assert pickle.loads(pickle.dumps(model)).method_ == "ml"


@pytest.mark.parametrize("number", [1, 2])
def test_earlier_fits_were_reml(number):
    models = pickle.loads((DATA / f"models_format_{number}.pkl").read_bytes())
    assert {model.method_ for model in models.values()} == {"reml"}
    assert "reml, posterior full" in str(models["classes"].summary())


def test_encoder_takes_the_defaults():
    frame = simulate("bernoulli").astype({"g": str})
    # its own default stops earlier
    encoder = MixedEffectsEncoder(["g"], tol=1e-6).fit(frame[["g"]], frame["y"])
    found = encoder.transform(frame[["g"]])
    model = MixedEffectsVIClassifier(["g"]).fit(frame[["g"]], frame["y"])
    effects = model.random_effects_["g"]["Intercept"][frame["g"]].to_numpy()
    np.testing.assert_allclose(np.asarray(found)[:, 0] - effects, 0.0, atol=1e-6)


def test_predictions_by_maximum_likelihood_know_the_coefficients():
    """Ninety days on, most of the uncertainty is that of the slope; without it the SD is 30.9."""
    frame = load_sleepstudy().frame
    far = frame.head(1).assign(Days=90)
    stds = {
        method: mixed("Reaction ~ Days + (1 | Subject)", frame, method=method).predict(
            far, return_std=True
        )[1][0]
        for method in ("ml", "reml")
    }
    assert stds["ml"] == pytest.approx(75.780, abs=1e-3)
    assert stds["reml"] == pytest.approx(76.017, abs=1e-3)
