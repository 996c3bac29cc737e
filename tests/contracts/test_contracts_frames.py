"""Contracts on columns: their type does not change a fit, and labels stay as they are."""

from __future__ import annotations

import datetime
import decimal
import uuid
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from frame_data import (
    CODES,
    DAYS,
    FLOAT_DTYPES,
    INTEGER_DTYPES,
    N_LEVELS,
    NUMBERS,
    POLARS_INTEGERS,
    QUARTERS,
    ROW,
    TEXT,
    TEXT_DTYPES,
    TIMES,
    Y,
    assert_equal_fits,
    assert_same_group,
    fit,
    frame_with,
    objects,
    pandas_frame,
    plain_fit,
    polars_frame,
    rows,
    with_hole,
)

from skmixed import mixed


@cache
def pandas_groups():
    """Grouping columns of pandas: the values of the rows, and the labels in their order."""
    numbers = pd.Series(CODES)
    integers, text = list(range(N_LEVELS)), objects(TEXT)
    cases = {dtype: (numbers.astype(dtype), integers) for dtype in INTEGER_DTYPES}
    floats = [float(level) for level in integers]
    cases |= {dtype: (numbers.astype(dtype), floats) for dtype in FLOAT_DTYPES}
    cases |= {f"text {dtype}": (text.astype(dtype), TEXT) for dtype in TEXT_DTYPES}
    times = pd.Series(rows(TIMES))
    stamps = [pd.Timestamp(time) for time in TIMES]
    for unit in ("s", "ms", "us", "ns"):
        cases[f"datetime64[{unit}]"] = (times.astype(f"datetime64[{unit}]"), stamps)
    zoned = times.dt.tz_localize("Europe/Vienna")
    cases["datetime with zone"] = (zoned, [stamp.tz_localize("Europe/Vienna") for stamp in stamps])
    cases["arrow timestamp"] = (times.astype(pd.ArrowDtype(pa.timestamp("us"))), stamps)
    cases["arrow date"] = (times.astype(pd.ArrowDtype(pa.date32())), DAYS)
    cases["arrow decimal"] = (
        objects(QUARTERS).astype(pd.ArrowDtype(pa.decimal128(6, 2))), QUARTERS
    )  # fmt: skip
    periods = pd.period_range("2024-01", periods=N_LEVELS, freq="M")
    cases["period"] = (pd.Series(periods[CODES]), list(periods))
    spans = pd.to_timedelta(range(N_LEVELS), unit="D")
    cases["timedelta"] = (pd.Series(spans[CODES]), list(spans))
    intervals = pd.interval_range(0, N_LEVELS)
    cases["interval"] = (pd.Series(intervals[CODES]), list(intervals))
    for ordered in (False, True):
        categories = pd.Categorical(text, ["unused", *TEXT, "last"], ordered=ordered)
        cases[f"categories, ordered={ordered}"] = (categories, TEXT)
    cases["categories of numbers"] = (pd.Categorical(numbers), integers)
    for name, levels in object_levels().items():
        cases[f"objects, {name}"] = (objects(levels), levels)
    return cases


@cache
def object_levels():
    return {
        "integers": list(range(N_LEVELS)),
        "wide integers": [2**70 + level for level in range(N_LEVELS)],
        "bytes": [label.encode() for label in TEXT],
        "decimals": QUARTERS,
        "dates": DAYS,
        "times": [datetime.time(level) for level in range(N_LEVELS)],
        "uuids": [uuid.UUID(int=level) for level in range(N_LEVELS)],
        "numbers and text": [0, 1, 2, "s3", "s4", "s5"],
    }


@cache
def polars_groups():
    """Grouping columns of polars: the values of the rows, and the labels in their order."""
    numbers, text = pl.Series(CODES), pl.Series(rows(TEXT))
    integers = list(range(N_LEVELS))
    cases = {str(dtype): (numbers.cast(dtype), integers) for dtype in POLARS_INTEGERS}
    floats = [float(level) for level in integers]
    cases |= {str(dtype): (numbers.cast(dtype), floats) for dtype in (pl.Float32, pl.Float64)}
    cases["Decimal"] = (pl.Series(rows(QUARTERS)).cast(pl.Decimal(10, 2)), QUARTERS)
    text_dtypes = {"String": pl.String, "Categorical": pl.Categorical}
    text_dtypes["Enum"] = pl.Enum(["unused", *TEXT, "last"])
    cases |= {name: (text.cast(dtype), TEXT) for name, dtype in text_dtypes.items()}
    times = pl.Series(rows(TIMES))
    stamps = [pd.Timestamp(time) for time in TIMES]
    for unit in ("ms", "us", "ns"):
        cases[f"Datetime {unit}"] = (times.cast(pl.Datetime(unit)), stamps)
    for zone in ("UTC", "Europe/Vienna"):
        zoned = [stamp.tz_localize(zone) for stamp in stamps]
        cases[f"Datetime in {zone}"] = (times.dt.replace_time_zone(zone), zoned)
    cases["Date"] = (pl.Series(rows(DAYS)), DAYS)
    cases["Duration"] = (
        pl.Series(rows([datetime.timedelta(days=level) for level in range(N_LEVELS)])),
        list(pd.to_timedelta(range(N_LEVELS), unit="D")),
    )
    for name in ("bytes", "times"):
        cases[name] = (pl.Series(rows(object_levels()[name])), object_levels()[name])
    cases["Object"] = (
        pl.Series(rows(object_levels()["uuids"]), dtype=pl.Object), object_levels()["uuids"]
    )  # fmt: skip
    return cases


@pytest.mark.parametrize("kind", list(pandas_groups()))
def test_a_group_of_any_pandas_type(kind):
    g, labels = pandas_groups()[kind]
    assert_same_group(pandas_frame(g), labels)


@pytest.mark.parametrize("kind", list(polars_groups()))
def test_a_group_of_any_polars_type(kind):
    g, labels = polars_groups()[kind]
    assert_same_group(polars_frame(g), labels)


@pytest.mark.parametrize(
    "dtype", ["bool", "boolean", "bool[pyarrow]", object, "category", "polars"]
)
def test_a_group_of_booleans(dtype):
    flags = CODES < 3
    frame = (
        polars_frame(flags) if dtype == "polars" else pandas_frame(pd.Series(flags, dtype=dtype))
    )
    model = fit(frame)
    assert_equal_fits(model, fit(pandas_frame(flags.astype(int))))
    assert model.random_effects_["g"].index.tolist() == [False, True]


@pytest.mark.parametrize(
    "dtype", [*INTEGER_DTYPES, *FLOAT_DTYPES, object, "Sparse[int]", pd.ArrowDtype(pa.float32())]
)
def test_numbers_of_any_pandas_type(dtype):
    assert_equal_fits(fit(pandas_frame(x=pd.Series(NUMBERS).astype(dtype))), plain_fit())


@pytest.mark.parametrize("dtype", [object, pd.ArrowDtype(pa.decimal128(8, 2))])
def test_decimal_numbers(dtype):
    values = pd.Series([decimal.Decimal(int(value)) for value in NUMBERS], dtype=dtype)
    assert_equal_fits(fit(pandas_frame(x=values)), plain_fit())


@pytest.mark.parametrize(
    "dtype", [*POLARS_INTEGERS, pl.Float32, pl.Float64, pl.Decimal(10, 2), "Int128", "Object"]
)
def test_numbers_of_any_polars_type(dtype):
    values = pl.Series(NUMBERS)
    if dtype == "Object":
        values = pl.Series(NUMBERS.tolist(), dtype=pl.Object)
    elif dtype == "Int128":
        # older versions have no such type; there 64 bits are the widest
        values = values.cast(getattr(pl, "Int128", pl.Int64))
    else:
        values = values.cast(dtype)
    assert_equal_fits(fit(polars_frame(x=values)), plain_fit())


@pytest.mark.parametrize("dtype", ["bool", "boolean", "bool[pyarrow]", object, "polars"])
def test_booleans_are_numbers(dtype):
    flags = NUMBERS > 20
    frame = (
        polars_frame(x=flags)
        if dtype == "polars"
        else pandas_frame(x=pd.Series(flags).astype(dtype))
    )
    assert_equal_fits(fit(frame), fit(pandas_frame(x=flags.astype(float))))


NUMBERS_WITH_HOLES = [
    "Int64", "Float64", "boolean", "int64[pyarrow]", "bool[pyarrow]", object,
    pl.Int64, pl.Float32, pl.Boolean,
]  # fmt: skip
LABELS_WITH_HOLES = [
    "category", "string", "string[python]", "string[pyarrow]", object, pd.ArrowDtype(pa.string()),
    pl.String, pl.Categorical, pl.Enum(TEXT),
]  # fmt: skip


@pytest.mark.parametrize("dtype", NUMBERS_WITH_HOLES, ids=str)
def test_a_missing_number_is_named(dtype):
    values = (NUMBERS > 20).tolist() if "bool" in str(dtype).lower() else NUMBERS.tolist()
    frame = frame_with(x=with_hole(values, dtype), g=CODES)
    with pytest.raises(ValueError, match=rf"NaN in column 'x'.*row {ROW}; .*SimpleImputer"):
        fit(frame)
    with pytest.raises(ValueError, match=rf"NaN in column 'x'.*row {ROW}"):
        plain_fit().predict(frame)


@pytest.mark.parametrize("dtype", LABELS_WITH_HOLES, ids=str)
def test_a_missing_label_is_named(dtype):
    frame = frame_with(x=NUMBERS, g=with_hole(rows(TEXT), dtype), y=Y)
    with pytest.raises(ValueError, match=rf"'g' contains NaN or None.*row {ROW}; drop these rows"):
        fit(frame[["x", "g"]])
    # as a categorical fixed effect the same column is named too
    with pytest.raises(ValueError, match=rf"NaN in column 'g'.*row {ROW}; drop these rows"):
        mixed("y ~ g + (1 | x)", frame)


@pytest.mark.parametrize("dtype", LABELS_WITH_HOLES, ids=str)
def test_a_missing_label_is_predicted_for_the_population(dtype):
    model = fit(pandas_frame(objects(TEXT)))
    predicted = model.predict(frame_with(x=NUMBERS, g=with_hole(rows(TEXT), dtype)))
    expected = model.predict(pandas_frame(objects(TEXT)))
    expected[ROW] = model.intercept_ + model.coef_[0] * NUMBERS[ROW]
    np.testing.assert_allclose(predicted, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "dtype", [*TEXT_DTYPES, pl.String, pl.Categorical, pl.Enum([*TEXT, "last"])], ids=str
)
def test_a_categorical_fixed_effect_of_any_type(dtype):
    formula = "y ~ x + f + (1 | g)"
    third = NUMBERS % 3
    labels = [TEXT[code] for code in third]
    is_polars = isinstance(dtype, pl.DataType) or dtype in (pl.String, pl.Categorical)
    f = pl.Series(labels).cast(dtype) if is_polars else pd.Series(labels).astype(dtype)
    frame = frame_with(y=Y, x=NUMBERS, f=f, g=CODES)
    expected = mixed(
        "y ~ x + a + b + (1 | g)",
        pd.DataFrame({"y": Y, "x": NUMBERS, "a": third == 1, "b": third == 2, "g": CODES}),
    )
    model = mixed(formula, frame)
    assert_equal_fits(model, expected)
    assert model.coef_names_ == ["x", "f[s1]", "f[s2]"]
    np.testing.assert_allclose(model.predict(frame), expected.predict(
        pd.DataFrame({"x": NUMBERS, "a": third == 1, "b": third == 2, "g": CODES})
    ), rtol=1e-12)  # fmt: skip
