"""A fit that cannot fit into memory is refused before it asks for any."""

import resource

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIRegressor


def test_oom_guard():
    n = 300_000
    X = pd.DataFrame({"a": np.arange(n) // 2, "b": np.arange(n) % 149_999})
    y = np.random.default_rng(0).standard_normal(n)
    MixedEffectsVIRegressor(["a", "b"]).fit(X.head(1000) // 50, y[:1000])  # compiled code loads
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MemoryError, match=r"1\d\d,\d+ effects .* need [\d,]+ bytes.*iterative"):
        MixedEffectsVIRegressor(["a", "b"], solver="direct").fit(X, y)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100 * 1024


def test_one_factor_of_any_size():
    n = 400_000
    X = pd.DataFrame({"g": np.arange(n) // 2})
    rng = np.random.default_rng(0)
    y = rng.standard_normal(n // 2).repeat(2) + rng.standard_normal(n)
    model = MixedEffectsVIRegressor(["g"]).fit(X, y)
    assert model.noise_variance_ == pytest.approx(1.0, rel=0.02)
    assert model.random_effects_cov_["g"].iloc[0, 0] == pytest.approx(1.0, rel=0.02)
