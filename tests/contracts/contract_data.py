"""Data and comparisons that the contracts share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

DATA = Path(__file__).parents[1] / "reference" / "data"
FORMULA = "Reaction ~ Days + (Days | Subject)"


def sleepstudy() -> pd.DataFrame:
    """180 reaction times of 18 subjects on 10 days; subjects as text."""
    frame = pd.read_csv(DATA / "sleepstudy.csv.gz")
    return frame.assign(Subject="S" + frame["Subject"].astype(str))


def crossed(n: int = 200, seed: int = 0) -> pd.DataFrame:
    """Two crossed groups of 12 and 5 levels, two numeric columns, weights."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x1": rng.standard_normal(n),
            "x2": rng.uniform(size=n),
            "a": rng.choice([f"a{i:02d}" for i in range(12)], n),
            "b": rng.choice([f"b{i}" for i in range(5)], n),
        }
    )
    effects = {label: rng.standard_normal() for label in sorted({*frame["a"], *frame["b"]})}
    frame["y"] = (
        1.0 + frame["x1"] - 2.0 * frame["x2"]
        + frame["a"].map(effects) + 0.7 * frame["b"].map(effects) + rng.standard_normal(n)
    )  # fmt: skip
    return frame


def assert_same_fit(one, other, rtol=1e-8):
    """All estimates are equal, whatever the order of terms and levels."""
    assert one.elbo_ == other.elbo_ or abs(one.elbo_ / other.elbo_ - 1.0) < rtol
    std_error = np.sqrt(np.diagonal(one.coef_cov_))
    for a, b in (
        (one.coef_, other.coef_[[other.coef_names_.index(name) for name in one.coef_names_]]),
        (one.intercept_, other.intercept_),
    ):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * std_error.max(initial=0.0))
    np.testing.assert_allclose(one.noise_variance_, other.noise_variance_, rtol=rtol)
    assert set(one.random_effects_) == set(other.random_effects_)
    for attribute in ("random_effects_cov_", "random_effects_", "random_effects_std_"):
        for group, a in getattr(one, attribute).items():
            b = getattr(other, attribute)[group]
            a, b = a[sorted(a.columns)], b[sorted(b.columns)]
            if attribute == "random_effects_cov_":
                a, b = a.loc[sorted(a.index)], b.loc[sorted(b.index)]
            else:
                b = b.loc[a.index]
            scale = np.abs(a.to_numpy()).max()
            np.testing.assert_allclose(a.to_numpy(), b.to_numpy(), rtol=0, atol=rtol * scale)
