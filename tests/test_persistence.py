"""Models that are stored and come back: the same, or a clear error."""

from __future__ import annotations

import copy
import io
import json
import pickle
import re
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io

from skmixed import (
    MixedEffectsEncoder,
    MixedEffectsVIClassifier,
    MixedEffectsVIRegressor,
    RandomEffect,
)
from skmixed.design.labels import ColumnLabels
from skmixed.persistence import FORMAT

DATA = Path(__file__).parent / "data"
STORED = sorted(DATA.glob("models_format_*.pkl"))


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


KINDS = [
    "gaussian", "iterative", "formula", "parts", "poisson", "negative_binomial", "gamma",
    "bernoulli", "ordinal",
]  # fmt: skip


@pytest.fixture(scope="module")
def model(request):
    """Fitted once for all tests of a kind."""
    return fitted(request.param)


every_kind = pytest.mark.parametrize("model", KINDS, indirect=True)
gaussian = pytest.mark.parametrize("model", ["gaussian"], indirect=True)


def answers(model):
    """All that a fitted model says of rows, unknown levels among them."""
    new = X.head(40).assign(a=["unseen", *X["a"][1:40]])
    if hasattr(model, "classes_"):
        parts = [model.predict_proba(new), model.decision_function(new)]
    else:
        parts = [*model.predict(new, return_std=True), model.predict_interval(new)]
    return [*parts, model.sample_y(new, random_state=0), model.coef_, model.coef_cov_]


def assert_same_answers(one, other):
    for a, b in zip(answers(one), answers(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert str(one.summary()) == str(other.summary())
    for name in ("random_effects_", "random_effects_std_", "random_effects_cov_"):
        assert list(getattr(one, name)) == list(getattr(other, name))
        for group, table in getattr(one, name).items():
            pd.testing.assert_frame_equal(table, getattr(other, name)[group])
    pd.testing.assert_frame_equal(one.variance_components_, other.variance_components_)
    assert vars(one).keys() == vars(other).keys()


def joblibbed(model, compress):
    buffer = io.BytesIO()
    joblib.dump(model, buffer, compress=compress)
    buffer.seek(0)
    return joblib.load(buffer)


def skopsed(model):
    stored = skops.io.dumps(model)
    return skops.io.loads(stored, trusted=skops.io.get_untrusted_types(data=stored))


WAYS = {
    "pickle 2": lambda model: pickle.loads(pickle.dumps(model, protocol=2)),
    "pickle 3": lambda model: pickle.loads(pickle.dumps(model, protocol=3)),
    "pickle 4": lambda model: pickle.loads(pickle.dumps(model, protocol=4)),
    "pickle 5": lambda model: pickle.loads(pickle.dumps(model, protocol=5)),
    "joblib": lambda model: joblibbed(model, 0),
    "joblib, compressed": lambda model: joblibbed(model, 3),
    "cloudpickle": lambda model: pickle.loads(cloudpickle.dumps(model)),
    "skops": skopsed,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


# There and back ------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
@gaussian
def test_every_way(model, way):
    assert_same_answers(WAYS[way](model), model)


@pytest.mark.parametrize("way", ["pickle 5", "skops"])
@every_kind
def test_every_kind(model, way):
    assert_same_answers(WAYS[way](model), model)


@gaussian
def test_memory_mapped(model, tmp_path):
    """Arrays stay on disk and cannot be written to; the kernels read them there."""
    joblib.dump(model, tmp_path / "model.joblib")
    mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
    assert not mapped.fit_result_.coupling.flags.writeable
    assert_same_answers(mapped, model)


@pytest.mark.parametrize("way", WAYS)
def test_encoder(way):
    encoder = MixedEffectsEncoder(["a", "b"], random_state=0).fit(X, Y)
    other = WAYS[way](encoder)
    np.testing.assert_array_equal(other.transform(X), encoder.transform(X))
    for column, effects in encoder.encodings_.items():
        pd.testing.assert_series_equal(other.encodings_[column], effects)
    assert other.models_["a"].elbo_ == encoder.models_["a"].elbo_
    assert WAYS[way](MixedEffectsEncoder(cv=3)).get_params() == MixedEffectsEncoder(cv=3).get_params()


@pytest.mark.parametrize("way", ["pickle 5", "skops"])
def test_partial_fit_goes_on(way):
    """The sums of earlier parts are stored too."""
    whole = MixedEffectsVIRegressor(EFFECTS)
    for rows in (slice(0, 100), slice(100, 160)):
        whole.partial_fit(X[rows], Y[rows])
    begun = MixedEffectsVIRegressor(EFFECTS).partial_fit(X[:100], Y[:100])
    assert_same_answers(WAYS[way](begun).partial_fit(X[100:], Y[100:]), whole)


def test_a_single_level_so_far():
    """Sums without a fit are state too."""
    one = X.assign(b="v")
    begun = MixedEffectsVIRegressor(["a", "b"]).partial_fit(one[:100], Y[:100])
    assert not hasattr(begun, "coef_")
    resumed = pickle.loads(pickle.dumps(begun)).partial_fit(one[100:].assign(b="w"), Y[100:])
    reference = begun.partial_fit(one[100:].assign(b="w"), Y[100:])
    assert resumed.elbo_ == reference.elbo_


def test_skops_asks_to_trust_only_our_types():
    for kind in ("gaussian", "parts", "bernoulli", "ordinal"):
        untrusted = skops.io.get_untrusted_types(data=skops.io.dumps(fitted(kind)))
        assert all(name.startswith("skmixed.") for name in untrusted), untrusted


@pytest.mark.parametrize("labels", ["text", "numbers", "declared", "times", "zoned times"])
def test_state_is_free_of_pandas(labels):
    """A pickle of ours does not depend on what data frames look like inside."""
    times = pd.Timestamp("2024-02-29") + pd.to_timedelta(np.arange(160) % 9, unit="D")
    column = {
        "text": X["a"],
        "numbers": np.arange(160) % 9 * 1000,
        "declared": pd.Categorical(X["a"]),
        "times": times,
        "zoned times": times.tz_localize("Europe/Vienna"),
    }[labels]
    frame = pd.DataFrame({"x1": X["x1"], "g": column})
    model = MixedEffectsVIRegressor(["g"]).fit(frame, Y)
    stored = pickle.dumps(model)
    assert b"pandas" not in stored
    other = pickle.loads(stored)
    np.testing.assert_array_equal(other.predict(frame), model.predict(frame))
    assert list(other.random_effects_["g"].index) == list(model.random_effects_["g"].index)


@every_kind
def test_state_is_plain(model):
    """Arrays, text and numbers, in classes of ours; no function and no compiled object."""
    plain = (np.ndarray, np.generic, str, int, float, bool, type(None))

    def visit(value, where):
        if isinstance(value, (tuple, list)):
            for k, item in enumerate(value):
                visit(item, f"{where}[{k}]")
        elif isinstance(value, dict):
            for key, item in value.items():
                visit(item, f"{where}[{key!r}]")
        elif is_dataclass(value) or type(value).__module__.startswith("skmixed."):
            visit(value.__reduce_ex__(4)[2] or {}, where)
        else:
            assert isinstance(value, plain), f"{where} is a {type(value)}"

    visit(model.__getstate__(), type(model).__name__)


# Formats -------------------------------------------------------------------------------


def test_the_current_format_is_stored():
    assert f"models_format_{FORMAT}.pkl" in [path.name for path in STORED]


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_stored_models_are_read(path):
    """Files that earlier versions wrote, or this one; see data/make_stored_models.py."""
    models = pickle.loads(path.read_bytes())
    expected = json.loads(path.with_suffix(".json").read_text())
    rows = pd.DataFrame(expected["rows"])
    for name in ("fit", "parts"):
        mean, std = models[name].predict(rows, return_std=True)
        np.testing.assert_allclose(mean, expected[name]["mean"], rtol=1e-10)
        np.testing.assert_allclose(std, expected[name]["std"], rtol=1e-10)
    chances = models["classes"].predict_proba(rows)[:, 1]
    np.testing.assert_allclose(chances, expected["classes"]["chances"], rtol=1e-10)
    # lme4's fit of these data, as published
    assert models["fit"].intercept_ == pytest.approx(251.405, abs=1e-3)
    assert models["fit"].coef_[0] == pytest.approx(10.467, abs=1e-3)
    assert models["parts"].elbo_ == pytest.approx(models["fit"].elbo_, abs=1e-6)
    assert "Subject" in str(models["fit"].summary())


def with_state(model, **changes):
    """A copy of a model as if it had been stored with other entries."""
    state = model.__getstate__() | changes
    empty = type(model).__new__(type(model))
    empty.__setstate__({name: value for name, value in state.items() if value is not LEFT_OUT})
    return empty


LEFT_OUT = object()


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (FORMAT + 1, r"has format 2, .*reads formats up to 1: a newer version.*Upgrade"),
        (LEFT_OUT, "has no format number.*development version.*Fit the model again"),
        (0, "has the format 0"),
        ("1", "has the format '1'"),
        (True, "has the format True"),
    ],
)
@gaussian
def test_other_formats_are_refused(model, number, message):
    with pytest.raises(ValueError, match=message):
        with_state(model, _skmixed_format=number)


# Altered state -------------------------------------------------------------------------


def altered(value, path, change):
    """A copy of nested dataclasses with one entry changed."""
    if not path:
        return change(value)
    first, rest = path[0], path[1:]
    if isinstance(first, int):
        return (*value[:first], altered(value[first], rest, change), *value[first + 1 :])
    return replace(value, **{first: altered(getattr(value, first), rest, change)})


def with_nan(values):
    values = values.copy()
    values.flat[-1] = np.nan
    return values


def shorter(values):
    return values[:-1]


def single(values):
    return values.astype(np.float32)


def as_list(values):
    return values.tolist()


ARRAYS = {
    ("coefficients",): [with_nan, shorter, single, as_list],
    ("center",): [with_nan, shorter, single],
    ("coefficient_covariance",): [with_nan, shorter],
    ("coupling",): [with_nan, shorter, single, np.ravel],
    ("factors", 0, "means"): [with_nan, shorter, single, as_list, lambda values: values[:, :1]],
    ("factors", 0, "covariances"): [with_nan, shorter, single, lambda values: values[:, :1]],
    ("factors", 0, "covariance"): [with_nan, shorter, single],
    ("factors",): [shorter, lambda factors: factors[::-1]],
    ("coupled",): [shorter],
    ("dropped",): [lambda values: np.array([7])],
    ("noise_variance",): [lambda value: "1.0", lambda value: None, lambda value: np.ones(3)],
    ("elbo",): [lambda value: [1.0]],
}
CHANGES = [(path, change) for path, changes in ARRAYS.items() for change in changes]


@pytest.mark.parametrize(("path", "change"), CHANGES)
@gaussian
def test_altered_fit_is_refused(model, path, change):
    broken = altered(model.fit_result_, path, change)
    with pytest.raises(ValueError, match="damaged or was altered"):
        with_state(model, fit_result_=broken)


def relabelled(values):
    """A label more than the fit has effects for: codes would point behind the last."""
    return np.append(values, ["zzz"])


ENCODERS = {
    ("factors", 0, "levels", "parts", 0, "values"): [
        relabelled, shorter, lambda values: values[[0, 0, *range(2, len(values))]],
        lambda values: values[:0], lambda values: np.append(values[:-1], [None]),
    ],
    ("factors", 0, "levels", "parts"): [lambda parts: parts * 2, lambda parts: ()],
    ("factors", 0, "levels", "columns"): [lambda columns: (*columns, "x2")],
    ("factors", 0, "term_names"): [shorter, lambda names: (*names, "x2")],
    ("factors", 0, "blocks"): [lambda blocks: ((0, 9),), lambda blocks: ((1, 2), (0, 1))],
    ("factors", 0, "bases"): [lambda bases: (), lambda bases: bases * 2],
    ("factors", 0, "bases", 0, "terms"): [lambda terms: terms * 2],
    ("factors", 0): [lambda factor: None],
    ("fixed", "names"): [shorter, lambda names: (*names, "more")],
    ("fixed", "terms"): [shorter],
    ("fixed", "intercept"): [lambda intercept: False],
    ("fixed", "variables"): [lambda variables: variables[:1]],
}  # fmt: skip
ENCODER_CHANGES = [(path, change) for path, changes in ENCODERS.items() for change in changes]


@pytest.mark.parametrize(("path", "change"), ENCODER_CHANGES)
@gaussian
def test_altered_encoder_is_refused(model, path, change):
    broken = altered(model.design_encoder_, path, change)
    with pytest.raises(ValueError, match="damaged or was altered"):
        with_state(model, design_encoder_=broken)


@pytest.mark.parametrize("values", [[3, 1, 2], [0, 99], [-1, 0], [0.0, 1.0]])
def test_altered_combinations_are_refused(values):
    model = MixedEffectsVIRegressor(["(1 | a:b)"]).fit(X, Y)
    path = ("factors", 0, "levels", "pairs", 0, "values")
    broken = altered(model.design_encoder_, path, lambda _: np.array(values))
    with pytest.raises(ValueError, match="damaged or was altered"):
        with_state(model, design_encoder_=broken)


@pytest.mark.parametrize(
    ("path", "change"),
    [
        (("encoder", "factors", 0, "levels", "parts", 0, "values"), relabelled),
        (("sums", "sums", "dense"), with_nan),
        (("sums", "sums", "own", 0), shorter),
        (("sums", "sums", "with_dense", 1), single),
        (("sums", "sums", "pairs"), lambda pairs: ()),
        (("sums", "sums", "pairs", 0, "first"), lambda first: 5),
        (("sums", "sums", "pairs", 0, "levels"), lambda levels: levels + 7),
        (("sums", "sums", "pairs", 0, "levels"), lambda levels: levels - 1),
        (("sums", "sums", "pairs", 0, "start"), lambda start: start[::-1].copy()),
        (("sums", "sums", "pairs", 0, "start"), lambda start: start * 1000),
        (("sums", "sums", "pairs", 0, "values"), with_nan),
        (("sums", "sums", "factors", 0, "n_levels"), lambda n_levels: 10**9),
        (("sums", "sums", "factors", 0, "blocks"), lambda blocks: ((0, 2),)),
        (("sums", "sums", "ranks"), lambda ranks: (np.arange(9), np.arange(5))),
        (("sums", "units", "center"), shorter),
        (("sums", "units", "bases"), shorter),
        (("sums", "units", "weight_scale"), lambda scale: "one"),
        (("sums", "n_rows"), lambda n_rows: None),
    ],
)
def test_altered_sums_are_refused(path, change):
    """Or the next part would be added to what is not there."""
    model = fitted("parts")
    seen, parameters = model._seen
    with pytest.raises(ValueError, match="damaged or was altered"):
        with_state(model, _seen=(altered(seen, path, change), parameters))


@pytest.mark.parametrize(
    "changes",
    [{"fit_result_": None}, {"design_encoder_": LEFT_OUT}, {"design_encoder_": "text"}],
)
@gaussian
def test_missing_parts_are_refused(model, changes):
    with pytest.raises(ValueError, match="damaged or was altered"):
        with_state(model, **changes)


@gaussian
def test_a_field_that_the_fit_does_not_have(model):
    """A file of a development version, from before a field was added."""
    older = copy.copy(model.fit_result_)
    del older.__dict__["coupled"]
    with pytest.raises(ValueError, match=re.escape("without ['coupled']")):
        with_state(model, fit_result_=older)


@pytest.mark.parametrize("positions", [[0, 1, 2, 3, 77], [0, 1, 2, 3, -1], [0, 0, 1, 2, 3], [0]])
def test_altered_categories_are_refused(positions):
    model = MixedEffectsVIRegressor(["b"]).fit(X[["x1", "b"]], Y)
    state = model.design_encoder_.factors[0].levels.parts[0].__getstate__()
    labels = ColumnLabels.__new__(ColumnLabels)
    with pytest.raises((ValueError, IndexError)):
        labels.__setstate__(state | {"positions": np.array(positions, np.int32)})
        path = ("factors", 0, "levels", "parts", 0)
        with_state(model, design_encoder_=altered(model.design_encoder_, path, lambda _: labels))


@pytest.mark.parametrize(
    "change",
    [
        {"_effects": {"a": np.zeros(3), "b": np.zeros(6)}},
        {"_effects": {"a": np.zeros(10)}},
        {"_effects": LEFT_OUT},
        {"_labels": {"a": None}},
    ],
)
def test_altered_encodings_are_refused(change):
    encoder = MixedEffectsEncoder(["a", "b"], random_state=0).fit(X, Y)
    with pytest.raises(ValueError, match="damaged or was altered"):
        with_state(encoder, **change)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9, 0.999])
@gaussian
def test_a_torn_pickle_is_refused(model, share):
    stored = pickle.dumps(model)
    with pytest.raises((EOFError, pickle.UnpicklingError, ValueError)):
        pickle.loads(stored[: int(share * len(stored))])


@gaussian
def test_every_array_of_the_fit_is_checked(model):
    """A field added later has to be thought of here, or be known not to matter to kernels."""
    unchecked = {"elbo_path", "gradient_path", "parameters", "moments"}
    arrays = {
        field.name
        for part in (model.fit_result_, *model.fit_result_.factors)
        for field in fields(part)
        if isinstance(getattr(part, field.name), np.ndarray)
    }
    assert arrays - unchecked == {path[-1] for path in ARRAYS} & arrays
