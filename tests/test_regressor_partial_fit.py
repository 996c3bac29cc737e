"""Chunks by `partial_fit` against one fit of all rows."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skmixed import MixedEffectsVIRegressor, RandomEffect
from skmixed.datasets import make_mixed_regression

N = 400


@pytest.fixture(scope="module")
def data():
    X, y, _ = make_mixed_regression(n_samples=N, groups=(30, 8, 5), random_state=0)
    rng = np.random.default_rng(1)
    X = X.assign(z=rng.normal(5.0, 2.0, N), o=rng.normal(size=N), w=rng.uniform(0.5, 2.0, N))
    return X, np.asarray(y) + X["o"].to_numpy()


def feed(model, X, y, chunks, sample_weight=None):
    """The model after all chunks; what it says of the first ones is not of interest."""
    for rows in chunks:
        weights = None if sample_weight is None else sample_weight[rows]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.partial_fit(X.iloc[rows], y[rows], weights)
    return model


def in_chunks(*cuts, n=N):
    return np.split(np.arange(n), cuts)


def assert_same_fit(found, expected, rtol=1e-9, exact_order=True):
    def close(a, b, name):
        size = np.abs(b).max(initial=0.0)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * size, err_msg=name)

    for name in ("intercept_", "coef_", "coef_cov_", "noise_variance_", "elbo_", "elbo_std_",
                 "n_observations_"):  # fmt: skip
        close(np.asarray(getattr(found, name)), np.asarray(getattr(expected, name)), name)
    assert found.coef_names_ == expected.coef_names_
    assert found.solver_ == expected.solver_
    assert found.converged_
    for name in ("random_effects_", "random_effects_std_", "random_effects_cov_"):
        a, b = getattr(found, name), getattr(expected, name)
        assert list(a) == list(b)
        for group, frame in b.items():
            if not exact_order:
                assert set(a[group].index) == set(frame.index)
                frame = frame.reindex(a[group].index)
            pd.testing.assert_index_equal(a[group].index, frame.index)
            pd.testing.assert_index_equal(a[group].columns, frame.columns)
            close(a[group].to_numpy(), frame.to_numpy(), f"{name} {group}")


MODELS = {
    "three_factors": {"random_effects": ["g0", "g1", "g2"]},
    "interaction": {"random_effects": ["g0", "(1 | g0:g1)"]},
    "nested": {"random_effects": "(1 | g2 / g1)"},
    "slopes": {"random_effects": ["(1 + z | g0)", "(x0 || g1)"]},
    "spelt_out": {"random_effects": [RandomEffect("g0", slopes=["z", "x0"]), "g1"]},
    "formula": {"formula": "x0 * z + log(w) + (1 + z | g0) + (1 | g1)"},
    "offset": {"formula": "x0 + (1 | g0) + (1 | g1)", "offset": "o"},
    "weights": {"random_effects": ["g0", "g1"], "precision_weights": "w", "offset": "o"},
    "no_intercept": {"random_effects": ["g0", "g1"], "fit_intercept": False},
    "noise_held": {"random_effects": ["g0", "g1"], "noise_scale": 0.9},
    "no_random": {"random_effects": None},
}


@pytest.mark.parametrize("sizes", [(130, 260), (1, 2, 3, 4, 300), (399,)])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_equals_one_fit(data, model, sizes):
    expected = MixedEffectsVIRegressor(**model).fit(*data)
    found = feed(MixedEffectsVIRegressor(**model), *data, in_chunks(*sizes))
    assert_same_fit(found, expected)
    mean, std = found.predict(data[0], return_std=True)
    expected_mean, expected_std = expected.predict(data[0], return_std=True)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-9)
    np.testing.assert_allclose(std, expected_std, rtol=1e-9)


@pytest.mark.parametrize("solver", ["direct", "iterative"])
@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize("method", ["ml", "reml"])
def test_methods_posteriors_solvers(data, method, posterior, solver):
    options = {"method": method, "posterior": posterior, "solver": solver}
    model = MixedEffectsVIRegressor(["g0", "g1", "g2"], **options)
    expected = clone(model).fit(*data)
    found = feed(model, *data, in_chunks(100, 200, 300))
    # conjugate gradients stop at a residual of 1e-9
    assert_same_fit(found, expected, rtol=1e-9 if solver == "direct" else 1e-7)


def test_a_row_at_a_time(data):
    X, y = data[0][:60], data[1][:60]
    model = MixedEffectsVIRegressor("g1")
    assert_same_fit(feed(model, X, y, in_chunks(*range(1, 60), n=60)), clone(model).fit(X, y))


@pytest.mark.parametrize("random_effects", ["from_dtype", ["g0", "(1 | g0:g1)"]])
@pytest.mark.parametrize("kind", ["string", "object", "category", "int64", "datetime"])
def test_kinds_of_labels(data, kind, random_effects):
    X, y = data[0].drop(columns="g2"), data[1]
    for column in ("g0", "g1"):
        X[column] = {
            "string": X[column].map("level {}".format).astype("string"),
            "object": X[column].map("level {}".format).astype(object),
            "category": X[column].astype("category"),
            "int64": X[column].astype("int64") * 10**12 - 5,
            "datetime": pd.Timestamp("2020-01-01") + pd.to_timedelta(X[column], unit="D"),
        }[kind]
    if random_effects == "from_dtype" and kind in ("int64", "datetime"):
        random_effects = ["g1", "g0"]
    # all levels of g0 above 15 are new in the second chunk
    order = np.argsort(data[0]["g0"].to_numpy() > 15, kind="stable")
    X, y = X.iloc[order], y[order]
    model = MixedEffectsVIRegressor(random_effects)
    chunks = in_chunks(int((data[0]["g0"] <= 15).sum()), 350)
    assert_same_fit(feed(model, X, y, chunks), clone(model).fit(X, y))


def test_case_weights(data):
    weights = np.random.default_rng(2).integers(0, 4, N).astype(float)
    model = MixedEffectsVIRegressor(["g0", "g1"], precision_weights="w")
    expected = clone(model).fit(*data, sample_weight=weights)
    found = feed(model, *data, in_chunks(50, 200), weights)
    assert found.n_observations_ == weights.sum()
    assert_same_fit(found, expected)


def test_order_of_chunks(data):
    """Chunks may come in any order; labels without a common order by appearance."""
    X, y = data
    mixed = X["g0"].map(lambda level: f"text {level}" if level % 2 else level).astype(object)
    for g0, exact_order in ((X["g0"], True), (mixed, False)):
        X = X.assign(g0=g0)
        model = MixedEffectsVIRegressor(["g0", "g1"])
        chunks = in_chunks(90, 240)
        forth = feed(clone(model), X, y, chunks)
        assert_same_fit(forth, clone(model).fit(X, y))
        back = feed(clone(model), X, y, chunks[::-1])
        # levels in another order: other random signs, which steer the steps
        rtol = 1e-9 if exact_order else 1e-6
        assert_same_fit(back, forth, rtol=rtol, exact_order=exact_order)


def test_the_eliminated_factor_changes(data):
    """The largest factor, which is eliminated, is another one after the second chunk."""
    X, y = data[0].drop(columns="g2"), data[1]
    first = np.flatnonzero(X["g0"] < 3)
    rest = np.flatnonzero(X["g0"] >= 3)
    model = MixedEffectsVIRegressor(["g1", "g0"])
    feed(model, X, y, [first])
    assert len(model.random_effects_["g0"]) < len(model.random_effects_["g1"])
    feed(model, X, y, [rest])
    order = np.concatenate([first, rest])
    assert_same_fit(model, clone(model).fit(X.iloc[order], y[order]))


@pytest.mark.filterwarnings("ignore:The mean-field posterior")
def test_posterior_and_method_may_change_between_chunks(data):
    X, y = data
    options = {"posterior": "mean_field", "method": "ml", "tol": 1e-9}
    model = feed(MixedEffectsVIRegressor("(1 + z | g0)"), X, y, in_chunks(200)[:1])
    feed(model.set_params(**options), X, y, in_chunks(200)[1:])
    expected = MixedEffectsVIRegressor("(1 + z | g0)", **options).fit(X, y)
    assert_same_fit(model, expected, rtol=1e-7)


def test_every_chunk_fits(data):
    """After each chunk the model is that of the rows so far."""
    X, y = data
    model = MixedEffectsVIRegressor(["g0", "g1"])
    for stop, rows in zip((150, 280, N), in_chunks(150, 280), strict=True):
        feed(model, X, y, [rows])
        assert_same_fit(model, MixedEffectsVIRegressor(["g0", "g1"]).fit(X[:stop], y[:stop]))


def test_fit_forgets_the_chunks(data):
    X, y = data
    model = feed(MixedEffectsVIRegressor(["g0", "g1"]), X, y, in_chunks(100))
    model.fit(X[:200], y[:200])
    expected = MixedEffectsVIRegressor(["g0", "g1"]).fit(X[:200], y[:200])
    assert_same_fit(model, expected)


@pytest.mark.parametrize(
    "parameters",
    [
        {"random_effects": ["g0", "g1"]},
        {"random_effects": ["g0"], "method": "ml", "offset": "o", "precision_weights": "w"},
        {"formula": "0 + x0 + (1 + x0 | g0) + (1 | g1)"},
        {"formula": "x0 + (x0 || g0)", "posterior": "mean_field"},
        {"random_effects": ["g0"], "noise_scale": 1.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("weighted", [False, True])
def test_after_a_fit_it_goes_on(data, parameters, weighted):
    """The sums of `fit` are those of its rows as a chunk."""
    X, y = data
    w = np.random.default_rng(0).uniform(0.5, 2.0, N) if weighted else None
    part = (lambda rows: None) if w is None else (lambda rows: w[rows])
    model = MixedEffectsVIRegressor(**parameters)
    model.fit(X[:200], y[:200], part(slice(200)))
    for rows in (slice(200, 300), slice(300, N)):
        model.partial_fit(X[rows], y[rows], part(rows))
    assert_same_fit(model, MixedEffectsVIRegressor(**parameters).fit(X, y, w))


def test_after_a_fit_without_sums_it_says_so(data):
    X, y = data
    model = MixedEffectsVIRegressor(["g0"]).fit(X, y)
    loaded = pickle.loads(pickle.dumps(model))
    with pytest.raises(ValueError, match=r"cannot continue this fit.*keep_data=True"):
        loaded.partial_fit(X, y)
    dependent = X.assign(twice=2.0 * X["x0"])
    for keep_data in (False, True):
        model = MixedEffectsVIRegressor(formula="x0 + twice + (1 | g0)", keep_data=keep_data)
        with pytest.warns(UserWarning, match="left out"):
            model.fit(dependent[:200], y[:200])
        rest = dependent[200:].assign(twice=0.0)
        if keep_data:
            model.partial_fit(rest, y[200:])
            whole = pd.concat([dependent[:200], rest])
            expected = MixedEffectsVIRegressor(formula=model.formula).fit(whole, y)
            assert_same_fit(model, expected)
        else:
            with pytest.raises(ValueError, match="cannot continue this fit"):
                model.partial_fit(rest, y[200:])


def test_a_clone_has_seen_nothing(data):
    X, y = data
    model = feed(MixedEffectsVIRegressor(["g0", "g1"]), X, y, in_chunks(200)[:1])
    fresh = feed(clone(model), X, y, in_chunks(200)[1:])
    assert fresh.n_observations_ == 200


def test_scikit_learn_conventions(data):
    X, y = data
    model = MixedEffectsVIRegressor(["g0", "g1"])
    assert model.partial_fit(X, y) is model
    assert model.n_features_in_ == X.shape[1]
    assert model.feature_names_in_.tolist() == list(X)
    assert model.get_params()["random_effects"] == ["g0", "g1"]
    arrays = MixedEffectsVIRegressor([1]).partial_fit(X[["x0", "g1"]].to_numpy(), y)
    assert arrays.n_features_in_ == 2


def test_a_single_level_so_far(data):
    """Nothing can be fitted yet, which is no error; a chunk later it can."""
    X, y = data
    order = np.argsort(X["g2"].to_numpy(), kind="stable")
    X, y = X.iloc[order], y[order]
    first = int((X["g2"] == X["g2"].iloc[0]).sum())
    model = MixedEffectsVIRegressor(["g0", "g2"])
    assert model.partial_fit(X[:first], y[:first]) is model
    with pytest.raises(NotFittedError):
        check_is_fitted(model)
    with pytest.raises(NotFittedError):
        model.predict(X)
    feed(model, X, y, [np.arange(first, N)])
    assert_same_fit(model, MixedEffectsVIRegressor(["g0", "g2"]).fit(X, y))


def test_categorical_fixed_effects(data):
    """Declared categories are columns, whether the first chunk holds them or not."""
    X, y = data
    X = X.assign(kind=pd.Categorical.from_codes(X["g2"] % 3, ["c", "a", "b"]))
    order = np.argsort(X["kind"].cat.codes.to_numpy(), kind="stable")
    X, y = X.iloc[order], y[order]
    model = MixedEffectsVIRegressor(formula="x0 + kind + (1 | g0)")
    found = feed(model, X, y, in_chunks(60, 200))
    assert_same_fit(found, clone(model).fit(X, y))
    text = X.assign(kind=X["kind"].astype(str))
    model = feed(clone(model), text, y, [np.arange(200)])
    with pytest.raises(ValueError, match=r"kind.*first part of the data did not have"):
        model.partial_fit(text, y)


BAD_CHUNKS = {
    "columns": (lambda X: X.drop(columns="z"), lambda y: y, "feature names"),
    "order": (lambda X: X[list(X)[::-1]], lambda y: y, "feature names"),
    "nan": (lambda X: X.assign(x0=np.nan), lambda y: y, "x0"),
    "label": (lambda X: X.assign(g0=np.nan), lambda y: y, "g0"),
    "weight": (lambda X: X.assign(w=-1.0), lambda y: y, "must be positive"),
    "response": (lambda X: X, lambda y: y * np.nan, "y contains NaN"),
    "length": (lambda X: X, lambda y: y[1:], "inconsistent numbers of samples"),
    "no_rows": (lambda X: X[:0], lambda y: y[:0], "sample"),
}


@pytest.mark.parametrize(("of_X", "of_y", "message"), BAD_CHUNKS.values(), ids=BAD_CHUNKS)
def test_bad_chunks_leave_the_model_as_it_was(data, of_X, of_y, message):
    X, y = data
    model = MixedEffectsVIRegressor(["g0", "g1"], precision_weights="w")
    chunks = in_chunks(100, 200)
    feed(model, X, y, chunks[:2])
    with pytest.raises(ValueError, match=message):
        model.partial_fit(of_X(X[200:]), of_y(y[200:]))
    assert model.n_observations_ == 200
    feed(model, X, y, chunks[2:])
    assert_same_fit(model, clone(model).fit(X, y))


@pytest.mark.parametrize("units", [(1.0, 1e200), (1e200, 1.0), (1e-200, 1e-200)])
def test_range_of_the_response(data, units):
    X, y = data
    with pytest.raises(ValueError, match="change the unit of y"), np.errstate(all="ignore"):
        feed(MixedEffectsVIRegressor("g0"), X, y * np.repeat(units, N // 2), in_chunks(200))


def test_functions_of_all_rows_are_refused(data):
    X, y = data
    for formula in ("scale(z) + (1 | g0)", "(1 + center(z) | g0)"):
        with pytest.raises(ValueError, match="is computed from all rows"):
            MixedEffectsVIRegressor(formula=formula).partial_fit(X, y)


def test_precision_does_not_depend_on_the_first_chunk(data):
    """A first chunk far from the others, whose columns it cannot tell apart."""
    X, y = data
    near = np.arange(N) < 5
    X = X.assign(u=X["x0"] + np.where(near, 1e-9, 1.0) * X["z"], t=1.7e9 + np.arange(N))
    y = 1e3 * (y + X["x0"].to_numpy()) + 1e6
    model = MixedEffectsVIRegressor(["(1 + x0 | g0)", "g1"])
    assert_same_fit(feed(model, X, y, in_chunks(5, 30)), clone(model).fit(X, y))


def test_another_model_is_refused(data):
    X, y = data
    model = MixedEffectsVIRegressor(["g0", "g1"]).partial_fit(X[:200], y[:200])
    with pytest.raises(ValueError, match=r"random_effects was .* call fit, or partial_fit"):
        model.set_params(random_effects=["g0"]).partial_fit(X[200:], y[200:])
