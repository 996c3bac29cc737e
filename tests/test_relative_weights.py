"""Case weights that are relative, as other estimators take them: told of, with what to do."""

import warnings

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.datasets import make_mixed_classification, make_mixed_regression
from skmixed.exceptions import SingularFitWarning


@pytest.fixture(scope="module")
def numbers():
    X, y, _ = make_mixed_regression(n_samples=2000, groups=(100, 20), random_state=0)
    return X, y


@pytest.fixture(scope="module")
def classes():
    X, y, _ = make_mixed_classification(n_samples=2000, groups=(100, 20), random_state=0)
    return X, y


def messages(model, X, y, weights):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter("ignore", SingularFitWarning)
        model.fit(X, y, sample_weight=weights)
    return [str(w.message) for w in caught]


def test_numbers(numbers):
    model = MixedEffectsVIRegressor(["g0", "g1"])
    (said,) = messages(model, *numbers, np.full(2000, 0.02))
    assert "sum to 40 for 2000 rows" in said
    assert "precision_weights" in said
    assert "sample_weight / sample_weight.mean()" in said
    assert model.random_effects_cov_["g0"].iloc[0, 0] == 0.0


@pytest.mark.parametrize("weight", [0.02, 0.005])
def test_classes(classes, weight):
    (said,) = messages(MixedEffectsVIClassifier(["g0", "g1"]), *classes, np.full(2000, weight))
    assert f"sum to {2000 * weight:g} for 2000 rows" in said
    # a family without precision weights, and no row has a level of its own
    assert "precision_weights" not in said
    assert "of its own" not in said


def test_parts(numbers):
    X, y = numbers
    with pytest.warns(UserWarning, match="sum to 10 for 1000 rows"):
        MixedEffectsVIRegressor(["g0", "g1"]).partial_fit(X[:1000], y[:1000], np.full(1000, 0.01))


@pytest.mark.parametrize(
    "weights",
    [np.full(2000, 0.5), np.tile([0.0, 1.0], 1000), np.tile([0.1, 1.9], 1000), np.full(2000, 3)],
)
def test_weights_that_count_rows(numbers, weights):
    assert messages(MixedEffectsVIRegressor(["g0", "g1"]), *numbers, weights) == []


def test_scaling_to_mean_1_brings_variances_back(numbers):
    X, y = numbers
    plain = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y)
    weights = np.full(2000, 0.02)
    scaled = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y, weights / weights.mean())
    pd.testing.assert_frame_equal(plain.variance_components_, scaled.variance_components_)


def test_few_rows_for_the_fixed_effects(numbers):
    with pytest.raises(ValueError, match="Scale relative weights to mean 1"):
        MixedEffectsVIRegressor(["g0"]).fit(*numbers, sample_weight=np.full(2000, 1e-4))
