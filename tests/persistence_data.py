"""Fitted models, and what they are when parts of them are altered."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, RandomEffect


def frame(n=160, seed=0):
    """Two crossed groups, of text and of categories, and two columns of numbers."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 9, n), rng.integers(0, 5, n)
    X = pd.DataFrame(
        {
            "x1": rng.standard_normal(n),
            "x2": rng.uniform(size=n),
            "a": [f"a{code}" for code in a],
            "b": pd.Categorical.from_codes(b, ["v", "w", "x", "y", "z"]),
        }
    )
    y = X["x1"].to_numpy() + rng.standard_normal(9)[a] + rng.standard_normal(5)[b]
    return X, y + 0.5 * rng.standard_normal(n)


X, Y = frame()
EFFECTS = [RandomEffect("a", slopes=["x1"]), "b"]


def fitted(kind):
    """A fitted estimator, and what it says."""
    if kind == "gaussian":
        return MixedEffectsVIRegressor(EFFECTS).fit(X, Y)
    if kind == "iterative":
        return MixedEffectsVIRegressor(["a", "b"], solver="iterative", n_probes=20).fit(X, Y)
    if kind == "formula":
        return MixedEffectsVIRegressor(formula="scale(x1) * b + (1 | a:b) + (x2 || a)").fit(X, Y)
    if kind == "parts":
        return MixedEffectsVIRegressor(["a", "b"]).partial_fit(X, Y)
    if kind in ("poisson", "negative_binomial", "gamma"):
        y = np.exp(0.3 * Y) if kind == "gamma" else np.floor(np.exp(0.5 * Y))
        return MixedEffectsVIRegressor(["a", "b"], family=kind).fit(X, y)
    if kind == "ordinal":
        return MixedEffectsVIClassifier(["a", "b"], family=kind).fit(X, np.clip(Y, -1, 1) // 1)
    return MixedEffectsVIClassifier(["a", "b"]).fit(X, Y > 0)


LEFT_OUT = object()


def with_state(model, **changes):
    """A copy of a model as if it had been stored with other entries, in format 1.

    That has no checksum, which would tell before anything else is looked at.
    """
    without = {"_skmixed_format": 1, "_skmixed_checksum": LEFT_OUT}
    state = model.__getstate__() | without | changes
    empty = type(model).__new__(type(model))
    empty.__setstate__({name: value for name, value in state.items() if value is not LEFT_OUT})
    return empty
