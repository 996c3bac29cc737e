"""Stored models that were damaged or altered: a clear error before a kernel reads them."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from persistence_data import LEFT_OUT, X, Y, fitted, with_state

from skmixed import MixedEffectsEncoder, MixedEffectsVIRegressor
from skmixed.design.labels import ColumnLabels


@pytest.fixture(scope="module")
def model():
    """Fitted once."""
    return fitted("gaussian")


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
    ("fixed_covariance",): [with_nan, shorter, single],
    ("coupling",): [with_nan, shorter, single, np.ravel],
    ("further",): [shorter, single, np.ravel],
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
def test_missing_parts_are_refused(model, changes):
    with pytest.raises(ValueError, match="damaged or was altered"):
        with_state(model, **changes)


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

    def load():
        labels.__setstate__(state | {"positions": np.array(positions, np.int32)})
        path = ("factors", 0, "levels", "parts", 0)
        with_state(model, design_encoder_=altered(model.design_encoder_, path, lambda _: labels))

    with pytest.raises((ValueError, IndexError)):
        load()


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
def test_a_torn_pickle_is_refused(model, share):
    stored = pickle.dumps(model)
    with pytest.raises((EOFError, pickle.UnpicklingError, ValueError)):
        pickle.loads(stored[: int(share * len(stored))])


@pytest.fixture
def little_memory():
    """A gigabyte more than is in use: a wrong bit in a length asks for many, all zeroed."""
    used = Path("/proc/self/statm")
    if not used.exists():
        yield
        return
    import resource

    limits = resource.getrlimit(resource.RLIMIT_AS)
    size = int(used.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**30, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("kind", ["gaussian", "parts", "ordinal"])
def test_no_flipped_bit_goes_unnoticed(kind):
    """A file with a wrong bit does not load, or the bit was of no consequence."""
    model = fitted(kind)
    stored = pickle.dumps(model, protocol=4)
    expected = model.predict(X), model.sample_y(X, random_state=0)
    # with other bits NumPy itself may crash: it believes the flags of a stored dtype
    rng = np.random.default_rng(2)
    n_refused = 0
    for position in rng.choice(len(stored), 400, replace=False):
        damaged = bytearray(stored)
        damaged[position] ^= 1 << int(rng.integers(8))
        try:
            loaded = pickle.loads(bytes(damaged))
            found = loaded.predict(X), loaded.sample_y(X, random_state=0)
        except Exception:
            n_refused += 1
            continue
        for numbers, right in zip(found, expected, strict=True):
            np.testing.assert_array_equal(numbers, right)
    assert n_refused > 300


@pytest.mark.parametrize("name", ["intercept_", "coef_"])
def test_a_number_that_is_wrong(model, name):
    """It has the right shape and type, and only the checksum tells."""
    state = model.__getstate__() | {name: getattr(model, name) + 1e-12}
    empty = type(model).__new__(type(model))
    with pytest.raises(ValueError, match="its checksum does not match"):
        empty.__setstate__(state)


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
