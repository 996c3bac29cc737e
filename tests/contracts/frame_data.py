"""Rows, frames of several libraries and comparisons for the contracts on data frames."""

from __future__ import annotations

import datetime
import decimal
from functools import cache

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa

from skmixed import MixedEffectsVIRegressor

N_ROWS, N_LEVELS = 96, 6
ROW = 7
"""The row where a value goes missing."""

_RNG = np.random.default_rng(0)
CODES = np.concatenate([np.arange(N_LEVELS), _RNG.integers(N_LEVELS, size=N_ROWS - N_LEVELS)])
NUMBERS = _RNG.integers(0, 40, size=N_ROWS)
_EFFECTS = 8.0 * _RNG.standard_normal(N_LEVELS)
Y = np.round(60.0 + NUMBERS + _EFFECTS[CODES] + 5.0 * _RNG.standard_normal(N_ROWS)).astype(int)
TEXT = [f"s{level}" for level in range(N_LEVELS)]
DAYS = [datetime.date(2024, 2, 27 + level) for level in range(3)] + [
    datetime.date(2024, 3, 1 + level) for level in range(3)
]
TIMES = [datetime.datetime(day.year, day.month, day.day) for day in DAYS]
QUARTERS = [decimal.Decimal(level) / 4 for level in range(N_LEVELS)]
TEXT_DTYPES = [
    object, "str", "string", "string[python]", "string[pyarrow]", "category",
    pd.ArrowDtype(pa.string()), pd.ArrowDtype(pa.large_string()),
    pd.ArrowDtype(pa.dictionary(pa.int32(), pa.string())),
]  # fmt: skip
INTEGER_DTYPES = [
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "Int8", "Int64", "UInt8", "UInt64", "int8[pyarrow]", "uint64[pyarrow]",
]  # fmt: skip
FLOAT_DTYPES = ["float16", "float32", "float64", "Float32", "Float64", "double[pyarrow]"]
POLARS_INTEGERS = [
    pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64,
]  # fmt: skip


def rows(levels):
    """The label of every row."""
    return [levels[code] for code in CODES]


def objects(levels):
    """The label of every row as plain objects."""
    column = pd.Series([None] * N_ROWS, dtype=object)
    for row, code in enumerate(CODES):
        column.at[row] = levels[code]
    return column


def fit(X, y=Y, sample_weight=None, **parameters):
    parameters = {"random_effects": ["g"], **parameters}
    return MixedEffectsVIRegressor(**parameters).fit(X, y, sample_weight=sample_weight)


def pandas_frame(g=None, x=NUMBERS):
    return pd.DataFrame({"x": x, "g": CODES if g is None else g})


def polars_frame(g=None, x=NUMBERS):
    g = pl.Series("g", CODES if g is None else g)
    return pl.DataFrame([pl.Series("x", x), g])


@cache
def plain_fit():
    """The fit on plain int64 columns."""
    return fit(pandas_frame())


def assert_equal_fits(model, expected):
    """All estimates agree to 1e-12, levels in their order."""
    pairs = [(model.elbo_, expected.elbo_), (model.intercept_, expected.intercept_)]
    pairs += [(model.coef_, expected.coef_), (model.coef_cov_, expected.coef_cov_)]
    pairs += [(model.noise_variance_, expected.noise_variance_)]
    for attribute in ("random_effects_", "random_effects_std_", "random_effects_cov_"):
        ours, theirs = getattr(model, attribute), getattr(expected, attribute)
        assert list(ours) == list(theirs)
        pairs += [(ours[name].to_numpy(), theirs[name].to_numpy()) for name in theirs]
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def assert_same_group(X, labels):
    model = fit(X)
    assert_equal_fits(model, plain_fit())
    found = model.random_effects_["g"].index.tolist()
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]
    np.testing.assert_allclose(
        model.predict(X), plain_fit().predict(pandas_frame()), rtol=1e-12, atol=1e-12
    )


def with_hole(values, dtype):
    """A column of pandas or polars without the value of one row."""
    values = [None if row == ROW else value for row, value in enumerate(values)]
    if isinstance(dtype, (str, pd.ArrowDtype)) or dtype is object:
        return pd.Series(values, dtype=object).astype(dtype)
    return pl.Series(values).cast(dtype)


def frame_with(**columns):
    """A frame of polars where a column is of polars, else one of pandas."""
    if any(isinstance(column, pl.Series) for column in columns.values()):
        return pl.DataFrame([pl.Series(name, column) for name, column in columns.items()])
    return pd.DataFrame(columns)


def frames_of(levels):
    """The same rows as frames of three libraries."""
    values = rows(levels)
    return {
        "pandas": pandas_frame(pd.Series(values)),
        "objects": pandas_frame(objects(levels)),
        "polars": polars_frame(values),
        "pyarrow": pa.table({"x": NUMBERS, "g": pa.array(values)}),
    }
