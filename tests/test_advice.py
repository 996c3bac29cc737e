"""Errors about columns that other tools of scikit-learn hand over, and that their advice works."""

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.compose import make_column_transformer
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.feature_selection import RFE, SequentialFeatureSelector
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skmixed import (
    MixedEffectsEncoder,
    MixedEffectsVIClassifier,
    MixedEffectsVIRegressor,
    mixed,
)
from skmixed.datasets import make_mixed_regression


@pytest.fixture(scope="module")
def data():
    X, y, _ = make_mixed_regression(n_samples=300, n_features=3, groups=(10,), random_state=0)
    X = X.rename(columns={"g0": "store"})
    return X.assign(kind=np.where(X["x1"] > 0, "a", "b")), y


def one_hot(**options):
    return make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["kind"]), remainder="passthrough", **options
    )


BY_NAME = MixedEffectsVIRegressor(["store"])


def test_sparse_data_name_the_options_that_make_them_dense(data):
    X, y = data
    sparse = make_column_transformer(
        (OneHotEncoder(), ["kind"]), remainder="passthrough", sparse_threshold=1.0
    )
    for pipeline in (
        make_pipeline(sparse, MixedEffectsVIRegressor([4])),
        make_pipeline(OneHotEncoder(), BY_NAME),
    ):
        with pytest.raises(
            TypeError, match=r"Sparse data .*sparse_output=False.*sparse_threshold=0"
        ):
            pipeline.fit(X, y)
    with pytest.raises(TypeError, match=r"sparse_output=False"):
        MixedEffectsEncoder([0]).fit(csr_matrix(np.eye(4)), np.arange(4.0))
    make_pipeline(one_hot(), MixedEffectsVIRegressor([5])).fit(X, y)
    sparse.set_params(sparse_threshold=0)
    make_pipeline(sparse, MixedEffectsVIRegressor([5])).fit(X, y)


def test_arrays_from_a_pipeline_lead_to_data_frames(data):
    X, y = data
    with pytest.raises(
        ValueError, match=r"'store' is not in X, which is an array of 6 column"
    ) as e:
        make_pipeline(one_hot(), BY_NAME).fit(X, y)
    for word in ("0 to 5", "set_output(transform='pandas')", "verbose_feature_names_out=False"):
        assert word in str(e.value)
    # one piece of advice after the other
    with pytest.raises(ValueError, match=r"Did you mean 'remainder__store'\?.*feature_names_out=F"):
        make_pipeline(one_hot().set_output(transform="pandas"), BY_NAME).fit(X, y)
    named = one_hot(verbose_feature_names_out=False).set_output(transform="pandas")
    model = make_pipeline(named, BY_NAME).fit(X, y)
    assert list(model[-1].random_effects_) == ["store"]


@pytest.mark.parametrize(
    "model",
    [
        MixedEffectsVIRegressor(formula="x0 + (1 | store)"),
        MixedEffectsVIRegressor(["(1 + x0 | store)"]),
        MixedEffectsVIRegressor(["g"], offset="store"),
        MixedEffectsEncoder(["store"]),
    ],
)
def test_every_way_to_name_a_column_gives_the_advice(data, model):
    X, y = data
    X = X.drop(columns="kind")
    # what an encoder is given as a name goes the same way
    with pytest.raises(ValueError, match="without names"):
        model.fit(X.to_numpy(), y)
    with pytest.raises(ValueError, match="a data frame of 4 column"):
        model.fit(pd.DataFrame(X.to_numpy()), y)


def test_bagging_hands_over_arrays_and_positions_work(data):
    X, y = data
    X = X.drop(columns="kind")
    with pytest.raises(ValueError, match="BaggingClassifier passes all columns"):
        BaggingRegressor(BY_NAME, n_estimators=2).fit(X, y)
    bag = BaggingRegressor(MixedEffectsVIRegressor([3]), n_estimators=3, random_state=0).fit(X, y)
    assert bag.score(X, y) > 0.5
    classifier = MixedEffectsVIClassifier([3])
    bag = BaggingClassifier(classifier, n_estimators=2, random_state=0).fit(X, y > np.median(y))
    assert bag.predict_proba(X).shape == (300, 2)


def test_selectors_hand_over_a_part_and_a_grid_of_fixed_effects_works(data):
    X, y = data
    X = X.drop(columns="kind")
    ranking = RFE(BY_NAME, importance_getter="feature_importances_")
    for selector in (ranking, SequentialFeatureSelector(BY_NAME, n_features_to_select=2)):
        with pytest.raises(ValueError, match=r"RFE and Seq.*lists of fixed_effects="):
            selector.fit(X, y)
    grid = GridSearchCV(BY_NAME, {"fixed_effects": [["x0"], ["x0", "x1"], ["x0", "x1", "x2"]]})
    assert "store" in grid.fit(X, y).best_estimator_.random_effects_


# One row -----------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA])
def test_a_missing_number_of_a_single_row_is_told_as_that(data, missing):
    X, y = data
    X = X.drop(columns="kind")
    model = BY_NAME.fit(X, y)
    row = pd.DataFrame([X.iloc[0].to_dict() | {"x1": missing}], dtype=object)
    with pytest.raises(
        ValueError, match=r"NaN in column 'x1': the number in row 0 is missing"
    ) as e:
        model.predict(row)
    assert "remove the column" not in str(e.value)
    # of several rows it is the column that is empty
    with pytest.raises(ValueError, match="all 2 values are missing"):
        model.predict(X.head(2).assign(x1=np.nan))


# mixed and Dask ------------------------------------------------------------------------------


def test_mixed_on_a_dask_frame_names_the_call_that_works(data):
    X, y = data
    frame = dd.from_pandas(X.assign(y=y), npartitions=3)
    with pytest.raises(TypeError) as error:
        mixed("y ~ x0 + (1 | store)", frame)
    call = "MixedEffectsVIRegressor(formula='x0 + (1 | store)').fit(data, data['y'])"
    assert call in str(error.value)
    model = MixedEffectsVIRegressor(formula="x0 + (1 | store)").fit(frame, frame["y"])
    in_memory = mixed("y ~ x0 + (1 | store)", X.assign(y=y))
    np.testing.assert_allclose(model.coef_, in_memory.coef_, rtol=1e-8)
    with pytest.raises(TypeError, match=r"values of exp\(y\) in the place of data\['y'\]"):
        mixed("exp(y) ~ x0 + (1 | store)", frame)
    with pytest.raises(ValueError, match="family='bernoulli' needs its rows in every iteration"):
        mixed("y ~ x0 + (1 | store)", frame, family="binomial")
