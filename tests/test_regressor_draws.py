"""Draws for levels that the fit has not seen."""

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import make_mixed_regression


@pytest.fixture(scope="module")
def model():
    X, y, _ = make_mixed_regression(
        n_samples=600, groups=(30, 12), group_sd=2.0, noise_sd=0.01, random_state=0
    )
    return MixedEffectsVIRegressor(random_effects=["g0", "(1 | g0:g1)"]).fit(X, y), X


def test_rows_share_the_draw_of_their_unknown_level(model):
    model, X = model
    new = pd.concat([X.head(1)] * 4, ignore_index=True).assign(g0=[90, 90, 91, 92])
    draws = model.sample_y(new, n_samples=400, random_state=1)
    correlation = np.corrcoef(draws)
    assert correlation[0, 1] > 0.99
    assert abs(correlation[0, 2]) < 0.2
    assert abs(correlation[2, 3]) < 0.2


def test_rows_without_a_label_draw_on_their_own(model):
    model, X = model
    new = pd.concat([X.head(1)] * 2, ignore_index=True).assign(g0=[np.nan, np.nan])
    draws = model.sample_y(new, n_samples=400, random_state=1)
    assert abs(np.corrcoef(draws)[0, 1]) < 0.2
    std = model.predict(new, return_std=True)[1]
    assert np.allclose(draws.std(axis=1), std, rtol=0.15)
