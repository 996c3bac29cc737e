"""Responses, labels and weights of every library are read alike."""

import datetime
from decimal import Decimal

import narwhals
import numpy as np
import pandas as pd
import polars
import pyarrow
import pytest

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor

N = 120
RNG = np.random.default_rng(4)
COLUMNS = {"g": RNG.integers(0, 8, N), "x": RNG.normal(size=N)}
X = pd.DataFrame(COLUMNS)
Y = np.round(RNG.normal(size=8)[COLUMNS["g"]] + RNG.normal(size=N), 3)
WEIGHTS = (np.arange(N) % 3 > 0).astype(float)
ORDER = ["low", "mid", "high"]


def regression(y, X=X, weights=None):
    return MixedEffectsVIRegressor(["g"]).fit(X, y, sample_weight=weights)


@pytest.mark.parametrize("y", [
    polars.Series(Y), pd.Series(Y, dtype="Float64"), pd.Series(Y, dtype="double[pyarrow]"),
    narwhals.from_native(polars.Series(Y), series_only=True),
    polars.Series([Decimal(str(value)) for value in Y]),
    pd.Series([Decimal(str(value)) for value in Y],
              dtype=pd.ArrowDtype(pyarrow.decimal128(10, 3))),
])  # fmt: skip
def test_numbers(y):
    assert regression(y).elbo_ == regression(Y).elbo_


@pytest.mark.parametrize("dtype", ["Int64", "int64[pyarrow]"])
def test_missing_numbers_are_named(dtype):
    y = pd.Series([1, None] * (N // 2), dtype=dtype)
    with pytest.raises(ValueError, match=r"NaN.*row 1"):
        regression(y)


@pytest.mark.parametrize("weights", [polars.Series(WEIGHTS), pd.Series(WEIGHTS, dtype="Float64")])
def test_weights(weights):
    assert regression(Y, weights=weights).elbo_ == regression(Y, weights=WEIGHTS).elbo_


@pytest.mark.parametrize("frame", [
    polars.DataFrame(COLUMNS), pyarrow.table(COLUMNS),
    narwhals.from_native(polars.DataFrame(COLUMNS)),
])  # fmt: skip
def test_weights_of_zero_in_every_frame(frame):
    model = regression(Y, frame, WEIGHTS)
    expected = regression(Y, X, WEIGHTS)
    assert model.elbo_ == expected.elbo_
    pd.testing.assert_frame_equal(
        model.summary(frame, Y, WEIGHTS, test="t").to_frame(),
        expected.summary(X, Y, WEIGHTS, test="t").to_frame(),
    )


def test_a_dictionary_is_no_data_frame():
    with pytest.raises(TypeError, match=r"dict.*DataFrame"):
        regression(Y, COLUMNS)


@pytest.mark.parametrize("y", [
    pd.Series(Y > 0, dtype="boolean"), pd.Series(Y > 0, dtype="bool[pyarrow]"),
    polars.Series(Y > 0),
])  # fmt: skip
def test_truth_values_stay_truth_values(y):
    classes = MixedEffectsVIClassifier(["g"]).fit(X, y).classes_
    assert classes.dtype == bool


@pytest.mark.parametrize("y", [
    pd.Series(Y > 0).astype("Int64"), pd.Series(Y > 0).astype("int64[pyarrow]"),
    polars.Series((Y > 0).astype(int)),
])  # fmt: skip
def test_whole_numbers_stay_whole_numbers(y):
    classes = MixedEffectsVIClassifier(["g"]).fit(X, y).classes_
    assert classes.dtype.kind == "i"


def test_the_order_of_an_enumeration_is_that_of_its_classes():
    labels = pd.cut(pd.Series(Y), 3, labels=ORDER)
    in_pandas = MixedEffectsVIClassifier(["g"], family="ordinal").fit(X, labels)
    y = polars.Series(labels.astype(str).tolist(), dtype=polars.Enum(ORDER))
    in_polars = MixedEffectsVIClassifier(["g"], family="ordinal").fit(X, y)
    assert list(in_polars.ordered_classes_) == list(in_pandas.ordered_classes_) == ORDER
    np.testing.assert_array_equal(in_polars.thresholds_, in_pandas.thresholds_)


def test_dates_and_times_of_two_chunks_are_the_same_levels():
    days = [datetime.date(2020, 1, 1) + datetime.timedelta(days=int(k)) for k in COLUMNS["g"]]
    model = MixedEffectsVIRegressor(["g"]).partial_fit(X.assign(g=days), Y)
    model = model.partial_fit(X.assign(g=pd.to_datetime(days)), Y)
    assert model.random_effects_["g"].shape == (8, 1)
