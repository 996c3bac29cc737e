"""Contracts on data frames: the library they are of does not change a fit."""

from __future__ import annotations

import datetime
from functools import cache

import dask.dataframe
import narwhals
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from frame_data import (
    CODES,
    DAYS,
    N_LEVELS,
    N_ROWS,
    NUMBERS,
    QUARTERS,
    ROW,
    TEXT,
    TEXT_DTYPES,
    TIMES,
    Y,
    assert_equal_fits,
    assert_same_group,
    fit,
    frames_of,
    objects,
    pandas_frame,
    plain_fit,
    polars_frame,
    rows,
    with_hole,
)
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, mixed


@cache
def frames_across():
    text, times = frames_of(TEXT), pd.Series(rows(TIMES))
    text["categories"] = pandas_frame(pd.Categorical(rows(TEXT), ["last", *TEXT]))
    text["Enum"] = polars_frame(pl.Series(rows(TEXT)).cast(pl.Enum(["last", *TEXT])))
    text["dictionary"] = pandas_frame(objects(TEXT).astype(TEXT_DTYPES[-1]))
    dates = {f"time {name}": frame for name, frame in frames_of(TIMES).items()}
    dates |= {f"date {name}": frame for name, frame in frames_of(DAYS).items()}
    dates["arrow date"] = pandas_frame(times.astype(pd.ArrowDtype(pa.date32())))
    dates["categories"] = pandas_frame(times.astype("category"))
    zoned = frames_of([time.replace(tzinfo=datetime.UTC) for time in TIMES])
    zoned["elsewhere"] = polars_frame(
        pl.Series(rows(TIMES)).dt.replace_time_zone("UTC").dt.convert_time_zone("America/Lima")
    )
    numbers = frames_of(list(range(N_LEVELS)))
    numbers["floats"] = polars_frame(pl.Series(CODES).cast(pl.Float32))
    numbers["nullable"] = pandas_frame(pd.Series(CODES, dtype="UInt16"))
    wide = frames_of([2**62 + level for level in range(N_LEVELS)])
    quarters = frames_of(QUARTERS)
    quarters["floats"] = pandas_frame(CODES / 4)
    return {
        "text": text, "dates": dates, "times with zone": zoned, "integers": numbers,
        "wide integers": wide, "quarters": quarters,
    }  # fmt: skip


@pytest.mark.parametrize("kind", list(frames_across()))
def test_predict_on_the_frame_of_another_library(kind):
    frames = frames_across()[kind]
    expected = plain_fit().predict(pandas_frame())
    for learnt in frames.values():
        model = fit(learnt)
        for name, frame in frames.items():
            np.testing.assert_allclose(model.predict(frame), expected, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("learnt", [DAYS, TIMES])
def test_a_time_of_day_is_no_date(learnt):
    """Only midnight is its day, and only where no time zone moves it."""
    model = fit(polars_frame(rows(learnt)))
    population = model.predict(polars_frame(rows(learnt)), include="none")
    noon = pd.Series(rows(TIMES)) + pd.Timedelta(hours=12)
    for other in (noon, pd.Series(rows(TIMES)).dt.tz_localize("UTC"), pd.Series(rows(TEXT))):
        np.testing.assert_array_equal(model.predict(pandas_frame(other)), population)


@pytest.mark.parametrize("kind", ["pandas", "objects", "polars", "pyarrow"])
@pytest.mark.parametrize("levels", [DAYS, TIMES])
def test_dates_are_neither_numbers_nor_categories(kind, levels):
    frame = frames_of(levels)[kind]
    with pytest.raises(ValueError, match=r"'g' cannot be read as numbers.*in random_effects"):
        fit(frame, random_effects="from_dtype")


def test_tuples_are_no_labels():
    with pytest.raises(TypeError, match=r"'g' holds a tuple in row 0"):
        fit(pandas_frame(objects([(level, "a") for level in range(N_LEVELS)])))


@cache
def frames_of_crossed():
    sections = [TEXT[code] for code in (NUMBERS + CODES) % 4]
    columns = {"z": Y, "s": sections, "x": NUMBERS / 8, "g": CODES, "y": Y}
    return {
        "pandas": pd.DataFrame(columns),
        "polars": pl.DataFrame(columns),
        "pyarrow": pa.table(columns),
        "narwhals": narwhals.from_native(pl.DataFrame(columns)),
    }


@pytest.mark.parametrize("library", list(frames_of_crossed()))
def test_interactions_and_slopes(library):
    """Further columns may be there, in any order, in prediction too."""
    frames = frames_of_crossed()
    formula = "y ~ x + (1 + x | g) + (1 | s:g)"
    expected, model = mixed(formula, frames["pandas"]), mixed(formula, frames[library])
    assert_equal_fits(model, expected)
    pd.testing.assert_index_equal(
        model.random_effects_["s:g"].index, expected.random_effects_["s:g"].index
    )
    for frame in frames.values():
        np.testing.assert_allclose(
            model.predict(frame), expected.predict(frames["pandas"]), rtol=1e-12
        )


def test_pieces_of_a_column():
    frame = polars_frame(rows(TEXT))
    pieces = pl.concat([frame[:40], frame[40:]], rechunk=False)
    assert pieces["g"].n_chunks() == 2
    assert_same_group(pieces, TEXT)
    table = pa.concat_tables([frame[:40].to_arrow(), frame[40:].to_arrow()])
    assert table.column("g").num_chunks == 2
    assert_same_group(table, TEXT)


def test_partial_fit_on_frames_of_two_libraries():
    model = MixedEffectsVIRegressor(["g"])
    model.partial_fit(polars_frame(rows(TEXT))[:50], pl.Series(Y[:50]))
    model.partial_fit(pandas_frame(objects(TEXT))[50:], pd.Series(Y[50:], dtype="Int64"))
    np.testing.assert_allclose(model.elbo_, plain_fit().elbo_, rtol=1e-10)
    np.testing.assert_allclose(
        model.predict(pandas_frame(rows(TEXT))), plain_fit().predict(pandas_frame()), rtol=1e-8
    )


@cache
def responses():
    """The response in every type; whole numbers, so that nothing is rounded."""
    series = pd.Series(Y)
    dtypes = ["int16", "uint8", "float32", "Int16", "UInt8", "Float32", "int64[pyarrow]"]
    dtypes += ["double[pyarrow]", object]
    cases = {f"pandas {dtype}": series.astype(dtype) for dtype in dtypes}
    for dtype in (pl.Int16, pl.UInt8, pl.Int64, pl.Float32, pl.Float64):
        cases[f"polars {dtype}"] = pl.Series(Y).cast(dtype)
    cases["pyarrow"] = pa.array(Y)
    cases["pieces"] = pa.chunked_array([Y[:40], Y[40:]])
    return cases


@pytest.mark.parametrize("kind", list(responses()))
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_response_of_any_type(library, kind):
    frame = pandas_frame() if library == "pandas" else polars_frame()
    assert Y.min() >= 0
    assert Y.max() < 256
    assert_equal_fits(fit(frame, responses()[kind]), plain_fit())


@pytest.mark.parametrize("dtype", ["Int64", "Float64", pl.Int64, pl.Float64])
def test_a_missing_response_is_named(dtype):
    with pytest.raises(ValueError, match=f"y contains NaN.*row {ROW}.*drop these rows"):
        fit(pandas_frame(), with_hole(Y.tolist(), dtype))


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize(
    "dtype", ["int8", "float32", "Int64", "Float64", "int8[pyarrow]", object, pl.Int8, pl.Float64]
)
def test_case_weights_of_any_type(library, dtype):
    """Some weights are 0, so rows are taken out of a frame of any library too."""
    weights = np.arange(N_ROWS) % 3
    expected = fit(pandas_frame(), Y, weights)
    is_polars = dtype in (pl.Int8, pl.Float64)
    column = pl.Series(weights).cast(dtype) if is_polars else pd.Series(weights).astype(dtype)
    frames = frames_of(list(range(N_LEVELS)))
    assert_equal_fits(fit(frames[library], Y, column), expected)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_offset_and_precision_weights_of_any_type(library):
    offset, weights = NUMBERS[::-1] / 8, 1 + CODES
    expected = fit(pandas_frame().assign(o=offset, w=weights), offset="o", precision_weights="w")
    if library == "pandas":
        frame = pandas_frame().assign(
            o=pd.Series(offset, dtype="double[pyarrow]"), w=pd.Series(weights, dtype="UInt8")
        )
    else:
        frame = polars_frame().with_columns(
            pl.Series("o", offset), pl.Series("w", weights).cast(pl.UInt8)
        )
    assert_equal_fits(fit(frame, offset="o", precision_weights="w"), expected)


@pytest.mark.parametrize("dtype", ["object", "string", "string[pyarrow]", "category", "polars"])
def test_classes_of_any_type(dtype):
    labels = np.where(np.median(Y) < Y, "high", "low")
    y = pl.Series(labels.tolist()) if dtype == "polars" else pd.Series(labels).astype(dtype)
    model = MixedEffectsVIClassifier(["g"]).fit(pandas_frame(x=NUMBERS / 40), y)
    expected = MixedEffectsVIClassifier(["g"]).fit(pandas_frame(x=NUMBERS / 40), labels)
    assert model.classes_.tolist() == ["high", "low"]
    assert model.elbo_ == pytest.approx(expected.elbo_, rel=1e-12)
    predicted = model.predict(polars_frame(x=NUMBERS / 40))
    assert predicted.tolist() == expected.predict(pandas_frame(x=NUMBERS / 40)).tolist()


def test_an_unknown_level_is_named():
    model = fit(pandas_frame(rows(TEXT)), handle_unknown="error")
    frame = polars_frame(["s9", *rows(TEXT)[1:]])
    with pytest.raises(ValueError, match="'s9'"):
        model.predict(frame)


@pytest.mark.parametrize("native", ["pandas", "polars", "pyarrow"])
def test_a_frame_of_narwhals_is_the_frame_inside(native):
    frame = narwhals.from_native(frames_of(TEXT)[native])
    assert_same_group(frame, TEXT)


def test_a_record_batch():
    batch = pa.RecordBatch.from_pydict({"x": NUMBERS, "g": pa.array(rows(TEXT))})
    assert_same_group(batch, TEXT)


class Elsewhere:
    """A frame of a library of its own, with a way to pandas."""

    def __init__(self, frame):
        self._frame = frame
        self.columns, self.shape = frame.columns, frame.shape

    def __len__(self):
        return len(self._frame)

    def to_pandas(self):
        return self._frame


def test_a_frame_with_a_way_to_pandas():
    g = pd.Categorical(rows(TEXT), TEXT[::-1])
    assert fit(Elsewhere(pandas_frame(g))).random_effects_["g"].index.tolist() == TEXT[::-1]


class Stream:
    """Data that only speaks Arrow's interface."""

    shape = (N_ROWS, 2)

    def __init__(self, table):
        self._table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self._table.__arrow_c_stream__(requested_schema)


@pytest.mark.filterwarnings("ignore:.*LazyFrame")
@pytest.mark.parametrize(
    ("make", "call"),
    [
        (lambda: polars_frame().lazy(), r"polars LazyFrame.*X\.collect\(\)"),
        (lambda: narwhals.from_native(polars_frame().lazy()), r"polars LazyFrame.*X\.collect\(\)"),
        (lambda: frames_of(TEXT)["pyarrow"].to_reader(), r"RecordBatchReader.*X\.read_all\(\)"),
        (lambda: Stream(frames_of(TEXT)["pyarrow"]), r"Stream.*pyarrow\.table\(X\)"),
    ],
)
def test_data_that_are_no_frame_say_what_to_call(make, call):
    with pytest.raises(TypeError, match=call):
        fit(make())
    with pytest.raises(TypeError, match=call):
        plain_fit().predict(make())


def test_partitions_that_cannot_be_summed_say_what_to_call():
    partitions = dask.dataframe.from_pandas(pandas_frame(), npartitions=2)
    with pytest.raises(TypeError, match=r"dask DataFrame.*X\.compute\(\)"):
        plain_fit().sample_y(partitions)


def test_a_dictionary_is_no_frame():
    with pytest.raises(TypeError, match=r"X is a dict.*pandas\.DataFrame"):
        plain_fit().predict({"x": NUMBERS, "g": CODES})


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}])
def test_a_nested_column_is_named(value):
    frame = polars_frame([value] * N_ROWS)
    with pytest.raises(TypeError, match=r"'g' holds a (list|dict) in row 0.*string or a number"):
        fit(frame)
    with pytest.raises(TypeError, match=r"Column 'g' holds a .* in row 0"):
        fit(frame, random_effects="from_dtype")


@pytest.mark.parametrize("output", ["pandas", "polars", "default"])
@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_set_output_in_a_pipeline(library, output):
    """Frames out of a ColumnTransformer have names; arrays have positions."""
    columns = {"x": NUMBERS / 8, "c": [TEXT[code] for code in NUMBERS % 2], "g": rows(TEXT)}
    frame = pd.DataFrame(columns) if library == "pandas" else pl.DataFrame(columns)
    transform = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["x"]),
            ("classes", OneHotEncoder(sparse_output=False, drop="first"), ["c"]),
            ("groups", "passthrough", ["g"]),
        ],
        verbose_feature_names_out=False,
    ).set_output(transform=output)
    group = 2 if output == "default" else "g"
    model = make_pipeline(transform, MixedEffectsVIRegressor([group])).fit(frame, Y)
    scaled = (columns["x"] - np.mean(columns["x"])) / np.std(columns["x"])
    direct = fit(pd.DataFrame({"x": scaled, "c": NUMBERS % 2, "g": rows(TEXT)}))
    assert model[-1].elbo_ == pytest.approx(direct.elbo_, rel=1e-12)
    assert model[-1].random_effects_[str(group)].index.tolist() == TEXT
    np.testing.assert_allclose(
        model.predict(frame),
        direct.predict(pd.DataFrame({"x": scaled, "c": NUMBERS % 2, "g": rows(TEXT)})),
        rtol=1e-10,
    )
    if output != "default":
        assert model[-1].feature_names_in_.tolist() == ["x", "c_s1", "g"]
