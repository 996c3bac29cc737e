"""`MixedEffectsVIRegressor` among scikit-learn's tools."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, StackingRegressor
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skmixed import MixedEffectsVIRegressor, RandomEffect
from skmixed.datasets import make_mixed_regression


@pytest.fixture(scope="module")
def data():
    X, y, _ = make_mixed_regression(n_samples=400, groups=(20, 8), random_state=0)
    return X, y


def passing(columns):
    """A preprocessing step that scales the numbers and keeps the ids."""
    numbers = [name for name in columns if name.startswith("x")]
    groups = [name for name in columns if name.startswith("g")]
    return ColumnTransformer(
        [("numbers", StandardScaler(), numbers), ("ids", "passthrough", groups)],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")


def test_pipeline(data):
    X, y = data
    plain = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y)
    pipeline = make_pipeline(passing(X.columns), MixedEffectsVIRegressor(["g0", "g1"]))
    pipeline.fit(X, y)
    # the fit does not depend on the units of a column
    np.testing.assert_allclose(pipeline.predict(X), plain.predict(X), rtol=1e-7)
    mean, std = pipeline.predict(X, return_std=True)
    assert (std > 0).all()
    np.testing.assert_array_equal(mean, pipeline.predict(X))


def test_pipeline_of_arrays(data):
    """Columns by position behind a transformer that gives arrays."""
    X, y = data
    numbers = [name for name in X if name.startswith("x")]
    transform = ColumnTransformer(
        [("numbers", StandardScaler(), numbers), ("ids", "passthrough", ["g0", "g1"])]
    )
    first_group = len(numbers)
    pipeline = make_pipeline(transform, MixedEffectsVIRegressor([first_group, first_group + 1]))
    named = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y)
    np.testing.assert_allclose(pipeline.fit(X, y).predict(X), named.predict(X), rtol=1e-7)


def test_one_hot_fixed_effects(data):
    X, y = data
    transform = ColumnTransformer(
        [("hot", OneHotEncoder(drop="first", sparse_output=False), ["g1"])],
        remainder="passthrough", verbose_feature_names_out=False,
    ).set_output(transform="pandas")  # fmt: skip
    pipeline = make_pipeline(transform, MixedEffectsVIRegressor(["g0"])).fit(X, y)
    formula = MixedEffectsVIRegressor(formula=" + ".join([*(c for c in X if c[0] == "x"), "C(g1)"])
                                      + " + (1 | g0)").fit(X, y)  # fmt: skip
    assert pipeline[-1].elbo_ == pytest.approx(formula.elbo_, rel=1e-9)


def test_cross_validation(data):
    X, y = data
    scores = cross_validate(
        MixedEffectsVIRegressor(["g0", "g1"]), X, y, cv=4,
        scoring=["r2", "neg_mean_squared_error"], return_train_score=True,
    )  # fmt: skip
    assert np.isfinite(scores["test_r2"]).all()
    assert (scores["train_r2"] > scores["test_r2"] - 0.2).all()
    fixed_only = cross_val_score(LinearRegression(), X[[c for c in X if c[0] == "x"]], y, cv=4)
    assert scores["test_r2"].mean() > fixed_only.mean()


def test_unseen_groups_in_cross_validation(data):
    """Whole groups are left out: all test rows are of unknown levels."""
    X, y = data
    model = MixedEffectsVIRegressor(["g0", "g1"])
    predicted = cross_val_predict(model, X, y, groups=X["g0"], cv=GroupKFold(4))
    assert np.isfinite(predicted).all()


def test_grid_search_over_random_effects(data):
    X, y = data
    search = GridSearchCV(
        MixedEffectsVIRegressor(),
        {
            "random_effects": [
                ["g0"],
                ["g0", "g1"],
                [RandomEffect("g0", slopes=["x0"]), "g1"],
                ["(1 | g0)", "(0 + x0 | g1)"],
            ],
            "method": ["reml", "ml"],
        },
        cv=3,
        error_score="raise",
    )
    # a list without g1 makes it a fixed effect, numeric ids included
    search.fit(X, y)
    assert len(search.cv_results_["params"]) == 8
    assert search.best_estimator_.converged_
    assert "g0" in search.best_estimator_.random_effects_


def test_random_search_in_pipeline(data):
    X, y = data
    pipeline = make_pipeline(passing(X.columns), MixedEffectsVIRegressor())
    search = RandomizedSearchCV(
        pipeline, {"mixedeffectsviregressor__random_effects": [["g0"], ["g0", "g1"]]},
        n_iter=2, cv=3, random_state=0, error_score="raise",
    ).fit(X, y)  # fmt: skip
    assert search.best_params_["mixedeffectsviregressor__random_effects"] in (["g0"], ["g0", "g1"])


def test_clone_and_parameters():
    effects = [RandomEffect("a", slopes="x", covariance="diagonal"), "(1 | b)", "c"]
    model = MixedEffectsVIRegressor(effects, method="ml", noise_scale=2.0, tol=1e-8)
    copy = clone(model)
    assert copy.get_params() == model.get_params()
    assert copy.random_effects == effects
    assert model.set_params(method="reml", posterior="mean_field").method == "reml"
    with pytest.raises(ValueError, match="Invalid parameter 'nothing'"):
        model.set_params(nothing=1)
    assert "RandomEffect(group='a'" in repr(model)
    assert "MixedEffectsVIRegressor" in model._repr_html_()


def test_parameters_are_left_alone(data):
    X, y = data
    effects = ["g0", RandomEffect("g1")]
    model = MixedEffectsVIRegressor(effects, max_iter=50)
    before = {name: repr(value) for name, value in model.get_params().items()}
    frame = X.copy()
    model.fit(X, y)
    assert {name: repr(value) for name, value in model.get_params().items()} == before
    assert model.random_effects is effects
    pd.testing.assert_frame_equal(X, frame)


def test_fit_twice_forgets_the_first(data):
    X, y = data
    model = MixedEffectsVIRegressor(["g0", "g1"]).fit(X.iloc[:100], y[:100])
    again = model.fit(X, y)
    fresh = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y)
    assert again.elbo_ == fresh.elbo_
    np.testing.assert_array_equal(again.predict(X), fresh.predict(X))


def test_meta_estimators(data):
    X, y = data
    base = MixedEffectsVIRegressor(["g0", "g1"])
    logged = TransformedTargetRegressor(base, func=np.log1p, inverse_func=np.expm1)
    positive = y - y.min()
    assert logged.fit(X, positive).predict(X).shape == y.shape
    stack = StackingRegressor([("mixed", base), ("fixed", LinearRegression())], cv=3).fit(X, y)
    assert stack.score(X, y) > 0
    importance = permutation_importance(base.fit(X, y), X, y, n_repeats=2, random_state=0)
    assert importance.importances_mean[list(X.columns).index("g0")] > 0
    _, train, test = learning_curve(base, X, y, cv=3, train_sizes=[0.5, 1.0])
    assert np.isfinite(train).all()
    assert np.isfinite(test).all()


def test_bagging(data):
    """Bootstrap draws are case weights or repeated rows."""
    X, y = data
    bag = BaggingRegressor(MixedEffectsVIRegressor([len(X.columns) - 1]), 3, random_state=0)
    assert bag.fit(X.to_numpy(), y).score(X.to_numpy(), y) > 0


def test_sample_weight_in_scoring(data):
    X, y = data
    weights = np.random.default_rng(0).uniform(size=len(y))
    model = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y, sample_weight=weights)
    assert model.score(X, y, sample_weight=weights) != model.score(X, y)


def test_metadata_routing(data):
    X, y = data
    weights = np.random.default_rng(0).integers(0, 3, len(y)).astype(float)
    with sklearn.config_context(enable_metadata_routing=True):
        model = MixedEffectsVIRegressor(["g0", "g1"]).set_fit_request(sample_weight=True)
        model.set_score_request(sample_weight=False)
        routed = cross_validate(model, X, y, cv=3, params={"sample_weight": weights})
    assert np.isfinite(routed["test_score"]).all()


def test_column_names_become_attributes(data):
    X, y = data
    model = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y)
    assert list(model.feature_names_in_) == list(X.columns)
    assert model.n_features_in_ == X.shape[1]
    nameless = MixedEffectsVIRegressor([X.shape[1] - 1]).fit(X.to_numpy(), y)
    assert not hasattr(nameless, "feature_names_in_")
    with pytest.raises(ValueError, match="features"):
        nameless.predict(X.to_numpy()[:, :-1])


class _Intercepts(MixedEffectsVIRegressor):
    """A subclass with a parameter of its own and none of the others."""

    def __init__(self, columns=("g",)):
        self.columns = columns
        super().__init__(random_effects=list(columns))


def test_subclasses_with_other_parameters_predict():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=60), "g": rng.integers(0, 6, 60)})
    y = rng.normal(size=60)
    expected = MixedEffectsVIRegressor(["g"]).fit(X, y).predict(X)
    model = _Intercepts().fit(X, y)
    np.testing.assert_array_equal(model.predict(X), expected)
    with pytest.raises(ValueError, match=r"X has 1 features, but _Intercepts is expecting 2"):
        model.predict(X[["g"]].to_numpy())
