"""Targets and parameters of `MixedEffectsVIRegressor` for counts, and tools around it."""

from __future__ import annotations

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from count_data import FAMILIES, GROUPS, fit_each
from sklearn.base import clone
from sklearn.linear_model import PoissonRegressor
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmixed import MixedEffectsVIRegressor, mixed


@pytest.fixture(scope="module")
def fitted():
    return fit_each()


@pytest.mark.parametrize(
    ("family", "value", "message"),
    [
        ("poisson", -1.0, r"-1.*row 17"),
        ("poisson", 2.5, r"2\.5.*row 17"),
        ("poisson", np.nan, r"NaN.*row 17"),
        ("poisson", np.inf, r"infinity.*row 17"),
        ("negative_binomial", -3.0, r"-3.*row 17"),
        ("negative_binomial", 0.1, r"0\.1.*row 17"),
        ("gamma", 0.0, r"0.*row 17"),
        ("gamma", -0.5, r"-0\.5.*row 17"),
    ],
)
def test_invalid_targets(family, value, message, fitted):
    X, y, model = fitted(family)
    y = y.astype(float)
    y[17] = value
    with pytest.raises(ValueError, match=message):
        clone(model).fit(X, y)


@pytest.mark.parametrize("family", ["poisson", "negative_binomial"])
def test_counts_of_zero_only(family, fitted):
    """No count says how small the mean is."""
    X, _, model = fitted(family)
    with pytest.raises(ValueError, match=r"0 in every row.*rows with positive counts"):
        clone(model).fit(X, np.zeros(len(X)))


def test_a_level_of_zeros_and_huge_counts(fitted):
    X, y, model = fitted("poisson")
    first = X["g0"].to_numpy() == X["g0"].iloc[0]
    quiet = clone(model).fit(X, np.where(first, 0, y))
    assert -8.0 < quiet.random_effects_["g0"].loc[X["g0"].iloc[0], "Intercept"] < -1.0
    assert quiet.converged_
    loud = clone(model).fit(X, np.where(first, 1_000_000 + y, y))
    assert loud.converged_
    assert 8.0 < loud.random_effects_["g0"].loc[X["g0"].iloc[0], "Intercept"] < 15.0


@pytest.mark.parametrize("parameter", [{"precision_weights": "w"}, {"noise_scale": 1.0}])
@pytest.mark.parametrize("family", FAMILIES)
def test_parameters_of_normal_responses(family, parameter, fitted):
    X, y, _ = fitted(family)
    [name] = parameter
    with pytest.raises(ValueError, match=f"{name}.*{family}|{family}.*{name}"):
        MixedEffectsVIRegressor(GROUPS, family=family, **parameter).fit(X.assign(w=1.0), y)


@pytest.mark.parametrize("family", ["bernoulli", "ordinal", "binomial", "Poisson", None])
def test_families_that_are_none(family, fitted):
    X, y, _ = fitted("poisson")
    with pytest.raises(ValueError, match=f"family={family!r}"):
        MixedEffectsVIRegressor(GROUPS, family=family).fit(X, y)


def test_rows_are_needed_at_once(fitted):
    X, y, model = fitted("poisson")
    assert not hasattr(model, "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit") as caught:
        clone(model).partial_fit(X, y)
    assert "family='poisson'" in str(caught.value.__cause__)
    frame = dd.from_pandas(X.assign(y=y), npartitions=2)
    with pytest.raises(ValueError, match="family='poisson'"):
        clone(model).fit(frame[list(X)], frame["y"])


# Among other tools ---------------------------------------------------------------------


def test_scikit_learn(fitted):
    X, y, model = fitted("poisson")
    scores = cross_val_score(model, X, y, cv=3, scoring="neg_mean_poisson_deviance")
    fixed = cross_val_score(
        PoissonRegressor(), X[["x0", "x1"]], y, cv=3, scoring="neg_mean_poisson_deviance"
    )
    assert scores.mean() > fixed.mean()
    search = GridSearchCV(
        MixedEffectsVIRegressor(GROUPS), {"family": ["gaussian", "poisson", "negative_binomial"]},
        cv=3, error_score="raise",
    ).fit(X, y)  # fmt: skip
    assert search.best_params_["family"] != "gaussian"
    pipeline = make_pipeline(FunctionTransformer(lambda frame: frame), clone(model)).fit(X, y)
    np.testing.assert_array_equal(pipeline.predict(X), model.predict(X))


@pytest.mark.parametrize("family", FAMILIES)
def test_formula_and_summary(family, fitted):
    X, y, model = fitted(family)
    formula = "y ~ x0 + x1 + (1 | g0) + (1 | g1)"
    other = mixed(formula, X.assign(y=y), family=family)
    assert other.elbo_ == pytest.approx(model.elbo_, rel=1e-10)
    np.testing.assert_allclose(other.predict(X), model.predict(X), rtol=1e-7)
    text = str(model.summary())
    assert family in text
    assert "Residual" not in text
    slopes = mixed("y ~ x0 + (1 + x0 | g0)", X.assign(y=y), family=family)
    assert list(slopes.random_effects_["g0"].columns) == ["Intercept", "x0"]


def test_nullable_and_narrow_counts(fitted):
    """Counts of any integer kind; eight bits do not overflow."""
    X, y, model = fitted("poisson")
    for kind in (np.uint8, np.int16, bool):
        values = (y > 0) if kind is bool else np.minimum(y, 255)
        one = clone(model).fit(X, values.astype(kind))
        other = clone(model).fit(X, values.astype(float))
        assert one.elbo_ == other.elbo_
    series = pd.Series(y, dtype="Int64")
    assert clone(model).fit(X, series).elbo_ == model.elbo_
