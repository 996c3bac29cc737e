"""Models that are stored and come back: the same, or a clear error."""

from __future__ import annotations

import copy
import io
import json
import pickle
from dataclasses import is_dataclass
from pathlib import Path

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from persistence_data import EFFECTS, LEFT_OUT, X, Y, fitted, with_state

from skmixed import MixedEffectsEncoder, MixedEffectsVIRegressor
from skmixed.persistence import FORMAT

DATA = Path(__file__).parent / "data"
STORED = sorted(DATA.glob("models_format_*.pkl"))

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
    assert (
        WAYS[way](MixedEffectsEncoder(cv=3)).get_params() == MixedEffectsEncoder(cv=3).get_params()
    )


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


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (FORMAT + 1, r"has format 8, .*reads formats up to 7: a newer version.*Upgrade"),
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
