"""Offsets to predict with that are far from those of the fit."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.exceptions import SingularFitWarning


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "x": rng.standard_normal(300),
            "g": rng.integers(0, 10, 300),
            "log_years": np.log(rng.uniform(1.0, 20.0, 300)),
        }
    )
    return X, rng.poisson(np.exp(0.3 * X["x"] + X["log_years"] - 1.0))


@pytest.fixture(scope="module")
def model(rows):
    made = MixedEffectsVIRegressor(formula="x + (1 | g)", family="poisson", offset="log_years")
    return made.fit(*rows)


@pytest.mark.parametrize(
    "ask",
    [
        lambda m, X: m.predict(X),
        lambda m, X: m.predict(X, return_std=True),
        lambda m, X: m.predict_interval(X),
        lambda m, X: pickle.loads(pickle.dumps(m)).predict(X),
    ],
)
def test_a_far_offset_is_named(rows, model, ask):
    X = rows[0].copy()
    X.loc[7, "log_years"] = 50.0
    with pytest.warns(UserWarning, match=r"'log_years' \(offset\) is 50 in row 7 .* \(1 such rows"):
        ask(model, X)


def test_infinite_predictions_do_not_come_without_a_word(rows, model):
    X = rows[0].assign(log_years=900.0)
    with pytest.warns(UserWarning, match=r"was between 0\.11\d+ and 2\.99\d+ in the fit"):
        assert np.isinf(model.predict(X)).all()
    with pytest.warns(UserWarning, match="is -60 in row 0"):
        model.predict(X.assign(log_years=-60.0))


def test_classes(rows):
    X, y = rows
    model = MixedEffectsVIClassifier(formula="x + (1 | g)", offset="log_years").fit(X, y > 1)
    with pytest.warns(UserWarning, match="'log_years'"):
        model.predict_proba(X.assign(log_years=30.0))


def test_longer_exposures_and_normal_responses_are_no_news(rows, model):
    X, y = rows
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", SingularFitWarning)
        model.predict(X)
        model.predict(X.assign(log_years=X["log_years"] + np.log(500.0)))
        normal = MixedEffectsVIRegressor(formula="x + (1 | g)", offset="log_years").fit(X, y)
        normal.predict(X.assign(log_years=900.0))
    # a fit without an offset does not keep the range of an earlier one
    normal.set_params(offset=None).fit(X, y)
    assert not hasattr(normal, "offset_range_")
