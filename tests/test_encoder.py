"""The encoder: effects of the models, folds, columns, targets and weights."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    StratifiedKFold,
    cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator

from skmixed import MixedEffectsEncoder, MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.datasets import make_mixed_classification, make_mixed_regression

COLUMNS = ["g0", "g1"]


def regression(n_samples=400, groups=(25, 10), seed=0):
    """Labels as text in one column and numbers in the other."""
    X, y, _ = make_mixed_regression(
        n_samples, n_features=1, groups=groups, group_sd=1.0, random_state=seed
    )
    X["g0"] = ("level " + X["g0"].astype(str)).astype(object)
    return X[["g0", "x0", "g1"]], y.to_numpy()


def classification(n_samples=600, seed=0):
    X, y, _ = make_mixed_classification(n_samples, groups=(20, 10), group_sd=1.0, random_state=seed)
    return X[COLUMNS], np.where(y == 1, "yes", "no")


def effects_of(model, group):
    return model.random_effects_[group]["Intercept"]


@pytest.mark.parametrize("joint", [True, False])
def test_encodings_are_the_effects_of_the_models(joint):
    X, y = regression()
    encoder = MixedEffectsEncoder(COLUMNS, joint=joint, tol=1e-8).fit(X, y)
    for groups in [COLUMNS] if joint else [["g0"], ["g1"]]:
        model = MixedEffectsVIRegressor(groups, tol=1e-8).fit(X[groups], y)
        for group in groups:
            found = encoder.encodings_[group]
            expected = effects_of(model, group)
            assert found.index.equals(expected.index)
            np.testing.assert_allclose(found, expected, atol=1e-7)
            by_row = encoder.transform(X)[:, list(X.columns).index(group)]
            np.testing.assert_allclose(by_row, X[group].map(expected), atol=1e-7)
    assert (encoder.models_["g0"] is encoder.models_["g1"]) == joint


def test_one_column_is_shrunken_as_the_formula_says():
    X, y = regression()
    encoder = MixedEffectsEncoder("g1", tol=1e-10).fit(X, y)
    model = encoder.models_["g1"]
    ratio = model.noise_variance_ / model.random_effects_cov_["g1"].iloc[0, 0]
    rows = pd.Series(y).groupby(X["g1"].to_numpy())
    expected = (rows.mean() - model.intercept_) * rows.size() / (rows.size() + ratio)
    np.testing.assert_allclose(encoder.encodings_["g1"], expected, atol=1e-10)


@pytest.mark.parametrize("joint", [True, False])
def test_folds_are_those_of_a_loop_by_hand(joint):
    X, y = regression()
    encoder = MixedEffectsEncoder(COLUMNS, joint=joint, random_state=3, tol=1e-8)
    found = encoder.fit_transform(X, y)
    expected = X.to_numpy(dtype=object, copy=True)
    for train, test in KFold(5, shuffle=True, random_state=3).split(X):
        for groups in [COLUMNS] if joint else [["g0"], ["g1"]]:
            model = MixedEffectsVIRegressor(groups, tol=1e-8).fit(X[groups].iloc[train], y[train])
            for group in groups:
                position = list(X.columns).index(group)
                values = X[group].iloc[test].map(effects_of(model, group)).fillna(0.0)
                expected[test, position] = values
    np.testing.assert_allclose(found, expected.astype(float), atol=1e-6)
    assert np.abs(found - encoder.transform(X)).max() > 0.01


def test_folds_of_two_classes_by_hand():
    X, y = classification()
    encoder = MixedEffectsEncoder(COLUMNS, cv=3, random_state=1, tol=1e-8)
    found = encoder.fit_transform(X, y)
    assert encoder.target_type_ == "binary"
    assert encoder.classes_.tolist() == ["no", "yes"]
    expected = np.empty((len(X), 2))
    for train, test in StratifiedKFold(3, shuffle=True, random_state=1).split(X, y):
        model = MixedEffectsVIClassifier(COLUMNS, tol=1e-8).fit(X.iloc[train], y[train])
        for position, group in enumerate(COLUMNS):
            values = X[group].iloc[test].map(effects_of(model, group)).fillna(0.0)
            expected[test, position] = values
    np.testing.assert_allclose(found, expected, atol=1e-5)
    probability = LogisticRegression().fit(found, y).predict_proba(found)[:, 1]
    assert probability[y == "yes"].mean() > probability[y == "no"].mean() + 0.1


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("seed", [0, 2])
def test_noise_does_not_leak(binary, seed):
    """With labels that mean nothing, of four rows each, a row must not see its own y."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({"id": rng.integers(500, size=2000).astype(str)})
    y = rng.normal(size=2000)
    y = y > 0 if binary else y
    encoder = MixedEffectsEncoder(random_state=0)
    seen = encoder.fit(X, y).transform(X)[:, 0]
    unseen = encoder.fit_transform(X, y)[:, 0]
    assert np.corrcoef(seen, y)[0, 1] > 0.4
    assert abs(np.corrcoef(unseen, y)[0, 1]) < 3 / np.sqrt(len(y))


def test_levels_that_were_not_there_and_missing_ones_are_zero():
    X, y = regression()
    X.loc[:19, "g0"] = None
    encoder = MixedEffectsEncoder(COLUMNS, random_state=0)
    found = encoder.fit_transform(X, y)
    assert (found[:20, 0] == 0).all()
    assert (found[20:, 0] != 0).all()
    assert not encoder.encodings_["g0"].index.isna().any()
    new = X.head(3).assign(g0=["never seen", None, np.nan])
    assert (encoder.transform(new)[:, 0] == 0).all()


def test_missing_labels_leave_the_effects_of_others_alone():
    """A missing label is a level of its own in the fit."""
    X, y = regression()
    labelled = X.copy()
    labelled.loc[:39, "g0"] = "nobody knows"
    X.loc[:39, "g0"] = None
    shifted = y + 5.0 * (np.arange(len(y)) < 40)
    found = MixedEffectsEncoder(COLUMNS).fit(X, shifted)
    expected = MixedEffectsEncoder(COLUMNS).fit(labelled, shifted)
    np.testing.assert_allclose(found.encodings_["g1"], expected.encodings_["g1"], atol=1e-7)
    kept = expected.encodings_["g0"].drop("nobody knows")
    np.testing.assert_allclose(found.encodings_["g0"], kept, atol=1e-7)


def test_levels_of_one_fold_are_zero_there():
    X, y = regression()
    X.loc[:1, "g0"] = "rare"
    folds = [(np.arange(200, 400), np.arange(200)), (np.arange(200), np.arange(200, 400))]
    encoder = MixedEffectsEncoder("g0", cv=folds, handle_unknown="error")
    assert (encoder.fit_transform(X, y)[:2, 0] == 0).all()
    assert (encoder.transform(X)[:2, 0] != 0).all()


def test_columns_without_groups_are_zero():
    X, y = regression()
    X = X.assign(constant="a", row=[f"row {i}" for i in range(len(X))])
    for joint in (True, False):
        encoder = MixedEffectsEncoder(["g0", "constant", "row"], joint=joint).fit(X, y)
        assert (encoder.transform(X)[:, 3:] == 0).all()
        assert set(encoder.models_) == {"g0"}
        assert encoder.encodings_["constant"].to_dict() == {"a": 0.0}


@pytest.mark.parametrize("frame", ["categories", "polars", "array"])
def test_kinds_of_input_agree(frame):
    X, y = regression()
    expected = MixedEffectsEncoder(COLUMNS, random_state=0)
    values = expected.fit_transform(X, y)
    if frame == "polars":
        other = polars.DataFrame({name: X[name].tolist() for name in X})
    else:
        other = X.astype({"g0": "category"}) if frame == "categories" else X.to_numpy(dtype=object)
    columns = [0, 2] if frame == "array" else COLUMNS
    encoder = MixedEffectsEncoder(columns, random_state=0)
    np.testing.assert_allclose(encoder.fit_transform(other, y), values, atol=1e-9)
    np.testing.assert_allclose(encoder.transform(other), expected.transform(X), atol=1e-9)


def test_columns_from_dtype_and_those_that_pass():
    X, y = regression()
    encoder = MixedEffectsEncoder().fit(X, y)
    assert list(encoder.encodings_) == ["g0"]
    encoded = encoder.transform(X)
    assert encoded.dtype == np.float64
    np.testing.assert_array_equal(encoded[:, 1:], X[["x0", "g1"]])
    with_text = encoder.set_params(columns=["g1"]).fit(X, y).transform(X)
    assert with_text.dtype == object
    assert with_text[:, 0].tolist() == X["g0"].tolist()
    assert encoder.get_feature_names_out().tolist() == ["g0", "x0", "g1"]
    with pytest.warns(UserWarning, match="name the columns"):
        MixedEffectsEncoder().fit(X[["x0"]], y)


def test_names_and_positions_with_numbers_for_names():
    X, y = regression()
    X.columns = [7, 1, 0]
    encoder = MixedEffectsEncoder([7, 0]).fit(X, y)
    assert list(encoder.encodings_) == [7, 0]
    assert encoder.encodings_[7].index.dtype != np.int64
    np.testing.assert_array_equal(encoder.transform(X)[:, 1], X[1])


def test_output_containers():
    X, y = regression()
    X.index = np.arange(len(X)) + 1000
    encoder = MixedEffectsEncoder(COLUMNS, random_state=0)
    array = encoder.fit_transform(X, y)
    frame = encoder.set_output(transform="pandas").fit_transform(X, y)
    assert isinstance(frame, pd.DataFrame)
    assert frame.index.equals(X.index)
    assert list(frame.columns) == list(X.columns)
    np.testing.assert_array_equal(frame.to_numpy(), array)
    mixed = encoder.set_params(columns="g0").fit(X, y).transform(X)
    assert mixed["g1"].dtype == X["g1"].dtype
    text = encoder.set_params(columns="g1").fit(X, y).transform(X)
    assert text["g0"].tolist() == X["g0"].tolist()
    assert text["g1"].dtype == np.float64
    for source in (X, polars.DataFrame({name: X[name].tolist() for name in X})):
        out = clone(encoder).set_output(transform="polars").fit(source, y).transform(source)
        assert isinstance(out, polars.DataFrame)
        assert out["g0"].to_list() == X["g0"].tolist()
        np.testing.assert_allclose(out["g1"].to_numpy(), text["g1"], atol=1e-12)


def test_weights_count_rows():
    X, y = regression()
    weights = np.random.default_rng(0).integers(0, 4, size=len(X))
    repeated = np.repeat(np.arange(len(X)), weights)
    found = MixedEffectsEncoder(COLUMNS, tol=1e-8).fit(X, y, sample_weight=weights)
    expected = MixedEffectsEncoder(COLUMNS, tol=1e-8).fit(X.iloc[repeated], y[repeated])
    for column in COLUMNS:
        assert found.encodings_[column].index.equals(expected.encodings_[column].index)
        np.testing.assert_allclose(found.encodings_[column], expected.encodings_[column], atol=1e-6)


def test_weights_of_folds():
    X, y = regression()
    weights = np.arange(len(X)) % 3
    folds = list(KFold(4).split(X))
    encoder = MixedEffectsEncoder(COLUMNS, cv=folds, tol=1e-8)
    found = encoder.fit_transform(X, y, sample_weight=weights)
    for train, test in folds:
        part = MixedEffectsEncoder(COLUMNS, tol=1e-8)
        part.fit(X.iloc[train], y[train], sample_weight=weights[train])
        np.testing.assert_allclose(found[test], part.transform(X.iloc[test]), atol=1e-6)


def test_in_pipelines_and_searches():
    X, y = regression()
    columns = ColumnTransformer(
        [("effects", MixedEffectsEncoder(COLUMNS, random_state=0), COLUMNS)],
        remainder="passthrough",
    )
    search = GridSearchCV(
        make_pipeline(columns, LinearRegression()),
        {"columntransformer__effects__joint": [True, False]},
        cv=2,
    ).fit(X, y)
    assert search.best_score_ > 0.3
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict(X), search.predict(X))


def test_a_second_fit_forgets_the_first():
    X, y = regression()
    encoder = MixedEffectsEncoder(COLUMNS, random_state=0)
    first = encoder.fit_transform(X, y)
    encoder.fit(X.head(50), -y[:50])
    np.testing.assert_array_equal(encoder.fit_transform(X, y), first)


def test_folds_that_did_not_converge_are_counted():
    X, y = regression()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        MixedEffectsEncoder("g0", max_iter=1, tol=1e-12).fit_transform(X, y)
    messages = [str(w.message) for w in caught if issubclass(w.category, ConvergenceWarning)]
    assert len(messages) == 2
    assert "5 of 5 folds" in messages[-1]
    # iterations are few here, and otherwise no remedy
    assert "a larger max_iter than 1 or a tol" in messages[-1]
    assert "does not predict y" in messages[-1]


@pytest.mark.parametrize(
    ("parameters", "change", "match"),
    [
        ({"target_type": "multiclass"}, {}, "target_type='multiclass' is not known"),
        ({"handle_unknown": "zero"}, {}, "handle_unknown='zero'"),
        ({"joint": "yes"}, {}, "joint='yes' must be True or False"),
        ({"columns": ["g0", 0]}, {}, "columns lists 'g0' twice"),
        ({"columns": ["g9"]}, {}, "Column 'g9' is not in X"),
        ({}, {"y": np.arange(400) % 3}, "target_type='continuous' for numbers"),
        ({"target_type": "binary"}, {"y": np.arange(400) % 3}, "y has 3 classes: 0, 1, 2"),
        ({"target_type": "binary"}, {"y": np.zeros(400, int)}, "only one class: 0"),
        ({}, {"y": None}, "requires y"),
        ({}, {"y": np.full(400, np.nan)}, "Input y contains NaN|Input contains NaN"),
        ({"cv": [(np.arange(200), np.arange(200, 400))]}, {}, "tests row 0 0 times"),
        (
            {"cv": [(np.arange(1, 400), [0, 0]), ([0, 1, 2], np.arange(1, 400))]},
            {},
            "tests row 0 2 times",
        ),
        (
            {"cv": [(np.arange(200), np.arange(200, 400)), (np.arange(200, 400), np.arange(200))]},
            {"y": np.repeat(["a", "b"], 200)},
            "Fold 0 of cv trains on class 'a' alone",
        ),
    ],
)
def test_errors_say_what_to_do(parameters, change, match):
    X, y = regression()
    encoder = MixedEffectsEncoder(**{"columns": COLUMNS, **parameters})
    with pytest.raises(ValueError, match=match):
        encoder.fit_transform(X, change.get("y", y))


def test_labels_that_cannot_be_labels():
    X, y = regression()
    X["g0"] = [[1]] * len(X)
    with pytest.raises(TypeError, match="Column 'g0' holds a value that cannot be a label"):
        MixedEffectsEncoder(["g0"]).fit(X, y)


def test_unknown_labels_can_be_refused():
    X, y = regression()
    encoder = MixedEffectsEncoder(COLUMNS, handle_unknown="error").fit(X, y)
    with pytest.raises(ValueError, match="Column 'g0' has the label 'new' in row 0"):
        encoder.transform(X.head(2).assign(g0="new"))
    with pytest.raises(ValueError, match=r"Column 'g0' has the label (None|nan) in row 1"):
        encoder.fit(X.assign(g0=[*X["g0"][:1], None, *X["g0"][2:]]), y)


# Rows that are repeated with equal y, as the check of weights has them for numbers that
# do not recur, leave no noise and so no optimum; test_weights_count_rows has noise.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("extra", [None, "std"])
def test_scikit_learns_checks_with_numbers_for_labels(extra):
    encoder = MixedEffectsEncoder(columns=[0], target_type="continuous", extra=extra, cv=2)
    names = set()
    for estimator, check in estimator_checks_generator(encoder):
        name = getattr(check, "func", check).__name__
        if name != "check_sample_weight_equivalence_on_dense_data":
            check(estimator)
            names.add(name)
    assert {"check_transformer_general", "check_fit2d_predict1d"} <= names


# Groups of the folds -------------------------------------------------------------------------


def test_groups_keep_rows_together():
    X, y = regression()
    groups = np.random.default_rng(0).integers(0, 30, len(y))
    encoder = MixedEffectsEncoder(COLUMNS, cv=GroupKFold(4))
    found = encoder.fit_transform(X, y, groups=groups)
    folds = list(GroupKFold(4).split(X, y, groups))
    by_hand = MixedEffectsEncoder(COLUMNS, cv=folds).fit_transform(X, y)
    np.testing.assert_array_equal(found, by_hand)
    assert np.abs(found - MixedEffectsEncoder(COLUMNS, cv=4).fit_transform(X, y)).max() > 0.01


@pytest.mark.parametrize("wrapped", [False, True])
def test_groups_come_through_pipelines(wrapped):
    X, y = regression()
    groups = np.random.default_rng(0).integers(0, 30, len(y))
    encoder = MixedEffectsEncoder(COLUMNS, cv=GroupKFold(4), tol=1e-8)
    alone = encoder.fit_transform(X, y, groups=groups)
    expected = LinearRegression().fit(alone, y).coef_
    step = ColumnTransformer([("encode", encoder, ["g0", "x0", "g1"])]) if wrapped else encoder
    pipeline = Pipeline([("first", step), ("line", LinearRegression())])
    with config_context(enable_metadata_routing=True):
        found = clone(pipeline).fit(X, y, groups=groups)[-1].coef_
        np.testing.assert_allclose(found, expected)
        scores = cross_validate(
            pipeline, X, y, cv=GroupKFold(3), params={"groups": groups}, error_score="raise"
        )
        assert np.isfinite(scores["test_score"]).all()
        # folds that take no groups say so, as everywhere in scikit-learn
        plain = MixedEffectsEncoder(COLUMNS)
        with pytest.raises(TypeError, match="groups"):
            make_pipeline(plain, LinearRegression()).fit(X, y, groups=groups)
    if not wrapped:
        named = clone(pipeline).fit(X, y, first__groups=groups)
        np.testing.assert_allclose(named[-1].coef_, expected)


def test_weights_are_routed_beside_groups():
    X, y = regression()
    rng = np.random.default_rng(0)
    groups, weights = rng.integers(0, 30, len(y)), rng.integers(0, 3, len(y))
    encoder = MixedEffectsEncoder(COLUMNS, cv=GroupKFold(4))
    expected = encoder.fit_transform(X, y, sample_weight=weights, groups=groups)
    with config_context(enable_metadata_routing=True):
        encoder = clone(encoder).set_fit_request(sample_weight=True)
        line = LinearRegression().set_fit_request(sample_weight=True)
        fitted = make_pipeline(encoder, line).fit(X, y, sample_weight=weights, groups=groups)
    line = LinearRegression().fit(expected, y, weights)
    np.testing.assert_allclose(fitted[-1].coef_, line.coef_)


def test_groups_that_are_missing_are_asked_for():
    X, y = regression()
    encoder = MixedEffectsEncoder(COLUMNS, cv=GroupKFold(4))
    with pytest.raises(ValueError, match=r"fit_transform\(X, y, groups=\.\.\.\).*enable_metadata"):
        encoder.fit_transform(X, y)
    with pytest.raises(ValueError, match="groups has 3 entries and X has 400 rows"):
        encoder.fit_transform(X, y, groups=[1, 2, 3])
    # the model of all rows has no folds
    assert encoder.fit(X, y).transform(X).shape == X.shape


# Further columns -----------------------------------------------------------------------------


@pytest.mark.parametrize("joint", [True, False])
def test_further_columns_are_those_of_the_models(joint):
    X, y = regression()
    encoder = MixedEffectsEncoder(COLUMNS, joint=joint, extra=("std", "count"), cv=3, tol=1e-8)
    encoder.set_output(transform="pandas").fit(X, y)
    new = pd.concat([X.head(5), X.head(1).assign(g0="unknown", g1=None)])
    found = encoder.transform(new)
    names = ["g0", "x0", "g1", "g0_std", "g0_count", "g1_std", "g1_count"]
    assert found.columns.tolist() == encoder.get_feature_names_out().tolist() == names
    plain = MixedEffectsEncoder(COLUMNS, joint=joint, tol=1e-8).fit(X, y)
    np.testing.assert_array_equal(found[["g0", "x0", "g1"]], plain.transform(new).astype(float))
    for column in COLUMNS:
        model = encoder.models_[column]
        stds = model.random_effects_std_[column]["Intercept"].to_numpy()
        codes = encoder.encodings_[column].index.get_indexer(X[column].head(5))
        np.testing.assert_allclose(found[f"{column}_std"].head(5), stds[codes])
        between = np.sqrt(model.random_effects_cov_[column].iloc[0, 0])
        assert found[f"{column}_std"].iloc[5] == pytest.approx(between)
        counts = X[column].map(X[column].value_counts()).head(5)
        np.testing.assert_array_equal(found[f"{column}_count"].head(5), counts)
        assert found[f"{column}_count"].iloc[5] == 0.0


def test_further_columns_of_folds_have_not_seen_the_row():
    X, y = regression()
    weights = np.random.default_rng(1).integers(0, 3, len(y)).astype(float)
    folds = list(KFold(3, shuffle=True, random_state=0).split(X))
    encoder = MixedEffectsEncoder("g0", extra=["count", "std"], cv=folds, tol=1e-8)
    found = encoder.fit_transform(X, y, sample_weight=weights)
    assert encoder.get_feature_names_out().tolist() == [*X.columns, "g0_count", "g0_std"]
    for train, test in folds:
        part = MixedEffectsEncoder("g0", extra=["count", "std"], tol=1e-8)
        part.fit(X.iloc[train], y[train], weights[train])
        expected = part.transform(X.iloc[test])
        np.testing.assert_allclose(
            found[test][:, [0, 3, 4]].astype(float), expected[:, [0, 3, 4]].astype(float), atol=1e-5
        )
        seen = pd.Series(weights[train]).groupby(X["g0"].to_numpy()[train]).sum()
        counts = X["g0"].iloc[test].map(seen).fillna(0.0)
        np.testing.assert_array_equal(found[test][:, 3].astype(float), counts)


def test_further_columns_of_arrays_stored_encoders_and_later_fits():
    X, y = regression()
    codes = X.assign(g0=X["g0"].factorize()[0]).to_numpy(dtype=float)
    encoder = MixedEffectsEncoder([0, 2], extra="std").fit(codes, y)
    assert encoder.get_feature_names_out().tolist() == ["x0", "x1", "x2", "x0_std", "x2_std"]
    found = encoder.transform(codes)
    assert found.shape == (400, 5)
    loaded = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(loaded.transform(codes), found)
    # what transform returns is what was fitted
    assert encoder.set_params(extra=None).transform(codes).shape == (400, 5)
    assert encoder.fit(codes, y).transform(codes).shape == (400, 3)
    frame = MixedEffectsEncoder("g1", extra="count").set_output(transform="polars")
    assert frame.fit_transform(polars.from_pandas(X), y).columns == ["g0", "x0", "g1", "g1_count"]


@pytest.mark.parametrize(
    ("extra", "match"),
    [("sd", "extra='sd' is not known"), (["std", "std"], "twice"), ("std", "a column 'g0_std'")],
)
def test_further_columns_are_refused(extra, match):
    X, y = regression()
    with pytest.raises(ValueError, match=match):
        MixedEffectsEncoder("g0", extra=extra).fit(X.rename(columns={"x0": "g0_std"}), y)


# Counts --------------------------------------------------------------------------------------


def test_counts_have_a_logarithmic_link():
    X, y, _ = make_mixed_regression(
        500, n_features=1, groups=(25, 10), group_sd=0.7, family="poisson", random_state=0
    )
    X, y = X[COLUMNS], y.to_numpy()
    encoder = MixedEffectsEncoder(COLUMNS, target_type="poisson", extra="std", tol=1e-8, cv=4)
    encoder.fit(X, y)
    model = MixedEffectsVIRegressor(COLUMNS, family="poisson", tol=1e-8).fit(X, y)
    for place, column in enumerate(COLUMNS):
        by_row = encoder.transform(X)
        np.testing.assert_allclose(
            by_row[:, place], X[column].map(effects_of(model, column)), atol=1e-6
        )
        stds = model.random_effects_std_[column]["Intercept"]
        np.testing.assert_allclose(by_row[:, 2 + place], X[column].map(stds), atol=1e-6)
    assert encoder.target_type_ == "poisson"
    assert encoder.classes_ is None
    assert encoder.fit_transform(X, y).shape == (500, 4)
    with pytest.raises(ValueError, match=r"needs counts.* y is -1 in row 7 .*'continuous'"):
        encoder.fit(X, np.where(np.arange(500) == 7, -1.0, y))
    with pytest.raises(ValueError, match=r"y is 0\.5 in row 0"):
        encoder.fit(X, y + 0.5)
    with pytest.raises(ValueError, match="and 'poisson' for counts"):
        MixedEffectsEncoder(COLUMNS).fit(X, y)
