"""Tables: every kind of X answers the same questions."""

import decimal

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from skmixed.design.checks import require_finite
from skmixed.design.table import Table


class ForeignColumn:
    """The part of a polars Series that is used."""

    def __init__(self, values, dtype):
        self._values, self.dtype = values, dtype

    def __getitem__(self, rows):
        return ForeignColumn(self._values[rows], self.dtype)

    def null_count(self):
        return sum(value is None for value in self._values)

    def to_list(self):
        return list(self._values)

    def to_numpy(self):
        if str(self.dtype).startswith(("Int", "Float", "UInt")):
            return np.array([np.nan if v is None else v for v in self._values])
        return np.array(self._values, dtype=object)


class ForeignEnum:
    """The part of a polars Enum type that is used."""

    def __init__(self, categories):
        self.categories = categories

    def __str__(self):
        return f"Enum(categories={self.categories})"


class ForeignFrame:
    """The part of a polars DataFrame that is used."""

    def __init__(self, columns):
        self._columns = columns
        self.columns = list(columns)

    @property
    def shape(self):
        return len(next(iter(self._columns.values())).to_list()), len(self.columns)

    def __getitem__(self, key):
        if isinstance(key, slice):
            return ForeignFrame({name: column[key] for name, column in self._columns.items()})
        return self._columns[key]


def numeric_columns():
    nullable = pd.Series([1, None, 3], dtype="Int64")
    return {
        "int8": pd.Series([1, 2, 3], dtype="int8"),
        "bool": pd.Series([True, False, True]),
        "float32": pd.Series([1.5, np.nan, 3], dtype="float32"),
        "Int64": nullable,
        "Float64": pd.Series([1.5, None, 3], dtype="Float64"),
        "boolean": pd.Series([True, None, False], dtype="boolean"),
        "object": pd.Series([1, 2.5, None], dtype=object),
        "object_bool": pd.Series([True, 2, None], dtype=object),
        "decimal": pd.Series([decimal.Decimal("1.5"), None, decimal.Decimal(2)], dtype=object),
        "sparse": pd.Series(pd.arrays.SparseArray([0.0, 0.0, 2.0])),
        "empty": pd.Series([None, None, None], dtype=object),
    }


@pytest.mark.parametrize("kind", list(numeric_columns()))
def test_numeric_columns_become_floats(kind):
    series = numeric_columns()[kind]
    table = Table.from_input(pd.DataFrame({"x": series}))
    expected = [np.nan if pd.isna(value) else float(value) for value in series]
    values = table.numeric("x")
    assert values.dtype == np.float64
    np.testing.assert_array_equal(values, expected)
    assert not table.is_categorical("x")


@pytest.mark.parametrize(
    "series",
    [
        pd.Series(["a", "b"]),
        pd.Series(["a", None], dtype=object),
        pd.Series(["a", 1], dtype=object),
        pd.Series([1, 2], dtype="category"),
        pd.Series(["1", "2"], dtype="string"),
    ],
)
def test_labels_are_categorical(series):
    assert Table.from_input(pd.DataFrame({"g": series})).is_categorical("g")


@pytest.mark.parametrize(
    ("series", "shown"),
    [
        (pd.Series([None, 1, "two"], dtype=object), "row 2 holds 'two'"),
        (pd.Series(["x", "y", "z"]), "row 0 holds 'x'"),
        (pd.Series(["x", "y", "z"], dtype="category"), "row 0 holds 'x'"),
        (pd.to_datetime(pd.Series(["2020-01-01"] * 3)), "row 0 holds"),
    ],
)
def test_what_is_no_number_is_named(series, shown):
    table = Table.from_input(pd.DataFrame({"speed": series}))
    with pytest.raises(ValueError, match=f"Column 'speed'.*{shown}"):
        table.numeric("speed")


def test_dates_are_neither_numbers_nor_categories():
    frame = pd.DataFrame({"day": pd.date_range("2020", periods=2, tz="UTC")})
    assert not Table.from_input(frame).is_categorical("day")


def test_lists_of_numbers_and_text_keep_their_types():
    table = Table.from_input([[1, "a"], [2, "b"]])
    assert table.names == (0, 1)
    assert not table.is_categorical(0)
    assert table.is_categorical(1)
    np.testing.assert_array_equal(table.numeric(0), [1.0, 2.0])
    assert Table.from_input([[1, 2], [3, 4]]).is_array


def test_arrays_of_text_and_objects():
    assert Table.from_input(np.array([["a", "b"]])).is_categorical(0)
    table = Table.from_input(np.array([[1.0, 2], [3, 4]], dtype=object))
    np.testing.assert_array_equal(table.block([0, 1]), [[1, 2], [3, 4]])


def test_containers_in_a_column_are_a_type_error():
    X = np.array([[1.0, 2.0], [3.0, 4.0]], dtype=object)
    X[0, 0] = {"foo": "bar"}
    with pytest.raises(TypeError, match="argument must be a string or a number"):
        Table.from_input(X).is_categorical(0)


def test_columns_are_found_by_label_and_by_position():
    table = Table.from_input(pd.DataFrame({"a": [1], "b": [2], "c": [3]}))
    assert [table.position(key) for key in ("b", 1, -1, np.int64(0))] == [1, 1, 2, 0]
    assert table.label(-1) == "c"
    numbered = Table.from_input(pd.DataFrame([[1, 2]], columns=[10, 0]))
    assert numbered.position(0) == 1
    assert numbered.position("10") == 0


def test_unknown_columns_name_close_matches():
    table = Table.from_input(pd.DataFrame({f"subject{i}": [1] for i in range(30)}))
    with pytest.raises(ValueError, match=r"'subjet3' is not in X.*'subject3'.*and 10 more"):
        table.position("subjet3")
    with pytest.raises(ValueError, match="30 column"):
        table.position(30)
    with pytest.raises(ValueError, match="not in X"):
        table.position(1.5)


@pytest.mark.parametrize("name", ["__class__", "a b", "1|g", "x)+(1", "ß→水", ""])
def test_hostile_names_are_only_names(name):
    table = Table.from_input(pd.DataFrame({name: [1.0, 2.0]}))
    assert table.label(name) == name
    np.testing.assert_array_equal(table.numeric(name), [1, 2])


def test_duplicated_names_are_refused():
    with pytest.raises(ValueError, match="more than one column named 'a'"):
        Table.from_input(pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]))


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        (csr_array(np.eye(2)), TypeError, "Sparse data"),
        (np.ones(3), ValueError, "Expected 2D array, got 1D"),
        (np.ones((2, 2, 2)), ValueError, "Expected 2D array, got 3D"),
        (np.ones((2, 0)), ValueError, r"0 feature\(s\) \(shape=\(2, 0\)\)"),
        (np.ones((0, 2)), ValueError, r"0 sample\(s\)"),
        (pd.DataFrame({"a": []}), ValueError, r"0 sample\(s\)"),
        (np.ones((2, 2), dtype=complex), ValueError, "Complex data not supported"),
    ],
)
def test_unusable_input_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        Table.from_input(X)


def test_blocks_of_arrays_are_views():
    X = np.arange(6.0).reshape(3, 2)
    assert np.shares_memory(Table.from_input(X).block([0, 1]), X)
    np.testing.assert_array_equal(Table.from_input(X).block([1]), X[:, [1]])


def test_blocks_of_frames_mix_types():
    frame = pd.DataFrame({"a": [1, 2], "b": [True, False], "c": pd.array([1.5, None], "Float64")})
    expected = [[1, 1, 1.5], [2, 0, np.nan]]
    np.testing.assert_array_equal(Table.from_input(frame).block(["a", "b", "c"]), expected)
    np.testing.assert_array_equal(Table.from_input(frame).block(["b", "a"]), [[1, 1], [0, 2]])


def test_frames_of_other_libraries():
    big = 2**62 + 1
    frame = ForeignFrame(
        {
            "x": ForeignColumn([1.5, None, 2.0], "Float64"),
            "id": ForeignColumn([big, None, big + 1], "Int64"),
            "g": ForeignColumn(["b", "a", None], "String"),
            "e": ForeignColumn(["low", "high", "low"], ForeignEnum(["low", "high"])),
            "c": ForeignColumn(["u", "v", "u"], "Categorical"),
        }
    )
    table = Table.from_input(frame)
    assert table.names == ("x", "id", "g", "e", "c")
    np.testing.assert_array_equal(table.numeric("x"), [1.5, np.nan, 2.0])
    assert table.ids("id")[2] == big + 1
    assert [table.is_categorical(name) for name in table.names] == [False, False, True, True, True]
    assert list(table.ids("e").categories) == ["low", "high"]


def test_finite_values_pass_even_when_their_sum_overflows():
    require_finite(np.array([1e308, 1e308, 1e308]), "x")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1, np.nan, np.nan], r"Input X contains NaN in column 'x': 2 missing.*row 1"),
        ([1, 2, -np.inf], r"contains infinity in column 'x': the first is -inf in row 2"),
        ([np.nan] * 3, r"Input X contains NaN.*0 non-NA cases"),
    ],
)
def test_values_that_are_not_finite_are_located(values, message):
    with pytest.raises(ValueError, match=message):
        require_finite(np.array(values), "x")


def test_arrow_tables_are_read_through_pandas():
    class ArrowTable:
        column_names = ("x", "g")

        def to_pandas(self):
            return pd.DataFrame({"x": [1.0, 2.0], "g": ["a", "b"]})

    table = Table.from_input(ArrowTable())
    assert table.names == ("x", "g")
    assert table.is_categorical("g")
