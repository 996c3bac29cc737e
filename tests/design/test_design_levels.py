"""Grouping factors: labels of every kind, matched by value."""

import copy
import pickle
import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skmixed.design import levels
from skmixed.design.integers import IntegerLookup, learn_integers
from skmixed.design.labels import ColumnLabels, learn_labels
from skmixed.design.levels import LevelEncoder
from skmixed.design.table import Table


def learn(values, name="g"):
    return LevelEncoder.learn(Table.from_input(pd.DataFrame({name: values})), (name,))


def codes(encoder, values, name="g"):
    return encoder.codes(Table.from_input(pd.DataFrame({name: values}))).tolist()


LABELS = {
    "int": [30, 10, 20],
    "negative": [-3, 0, -10],
    "huge": [2**62, 2**62 + 1, -(2**62)],
    "extreme": [np.iinfo(np.int64).min, np.iinfo(np.int64).max, 0],
    "uint64": np.array([2**64 - 1, 1, 2**63], dtype=np.uint64),
    "int8": np.array([-128, 127, 0], dtype=np.int8),
    "float": [1.5, -0.5, 2.0],
    "float_ids": [3.0, 1.0, 2.0],
    "large_floats": [1e300, -1e300, 2.0**63],
    "bool": [True, False, True],
    "text": ["b", "A", "a"],
    "object_int": np.array([3, 1, 2], dtype=object),
    "datetime": pd.to_datetime(["2021-01-01", "2020-01-01", "2022-01-01"]),
    "timezone": pd.to_datetime(["2021-01-01", "2020-01-01", "2022-01-01"]).tz_localize("UTC"),
    "timedelta": pd.to_timedelta([3, 1, 2], unit="h"),
    "Int64": pd.array([3, 1, 2**60], dtype="Int64"),
    "UInt64": pd.array([3, 1, 2**64 - 1], dtype="UInt64"),
    "Float64": pd.array([3.0, 1.5, 2.0], dtype="Float64"),
    "boolean": pd.array([True, False, True], dtype="boolean"),
    "string": pd.array(["b", "a", "c"], dtype="string"),
    "category": pd.Categorical(["b", "a", "b"]),
    "interval": pd.cut([1.0, 5.0, 9.0], [0, 4, 8, 12]),
    "period": pd.period_range("2020-01", periods=3, freq="M"),
    "bytes": np.array([b"b", b"a", b"c"], dtype=object),
}


@pytest.mark.parametrize("kind", list(LABELS))
def test_labels_are_sorted_and_codes_point_to_them(kind):
    values = LABELS[kind]
    encoder, found = learn(values)
    assert found.dtype == np.int32
    expected = sorted(set(values))
    assert list(encoder.labels) == expected
    assert encoder.n_levels == len(expected)
    assert [encoder.labels[code] for code in found] == list(values)
    assert codes(encoder, values) == found.tolist()
    copied = pickle.loads(pickle.dumps(encoder))
    assert codes(copied, values) == found.tolist()
    assert list(copied.labels) == expected
    assert encoder.all_unique == (len(expected) == 3)


INTEGER_TYPES = ["int8", "uint8", "int16", "int32", "int64", "uint64", "float32", "float64"]
INTEGER_TYPES += ["Int8", "Int64", "UInt16", "Float64", "object", "category"]


@pytest.mark.parametrize("fitted", INTEGER_TYPES)
@pytest.mark.parametrize("new", INTEGER_TYPES)
def test_integers_match_by_value_whatever_their_type(fitted, new):
    encoder, found = learn(pd.Series([7, 3, 100, 3]).astype(fitted))
    assert found.tolist() == [1, 0, 2, 0]
    assert codes(encoder, pd.Series([100, 50, 7, 0, 127]).astype(new)) == [2, -1, 1, -1, -1]


@pytest.mark.parametrize("new", ["int64", "uint64", "Int64", "UInt64", "object", "category"])
@pytest.mark.parametrize("fitted", ["int64", "uint64", "Int64", "object", "category"])
def test_wide_integers_match_exactly(fitted, new):
    known = [2**62 + 1, 2**62 + 3, 5]
    encoder, _ = learn(pd.Series(known).astype(fitted))
    assert codes(encoder, pd.Series([2**62 + 3, 2**62 + 2, 2**62 + 1]).astype(new)) == [2, -1, 1]


def test_integers_beyond_int64_never_wrap_onto_others():
    small, _ = learn([-1, 5, -2])
    assert codes(small, np.array([2**64 - 1, 5], dtype=np.uint64)) == [-1, 2]
    wide, _ = learn([-1, 5, 2**62])
    assert codes(wide, np.array([2**64 - 1, 5, 2**62], dtype=np.uint64)) == [-1, 1, 2]
    unsigned, _ = learn(np.array([2**64 - 1, 5], dtype=np.uint64))
    assert codes(unsigned, [-1, 5]) == [-1, 0]
    assert codes(small, np.array([2**63 - 1, -(2**63), 5])) == [-1, -1, 2]


def test_floats_match_integers_only_where_they_are_equal():
    encoder, _ = learn([1, 2, 3])
    new = [2.0, 2.5, np.nan, np.inf, -np.inf, 1e300, 3.0]
    assert codes(encoder, new) == [1, -1, -1, -1, -1, -1, 2]
    wide, _ = learn([1, 2, 2**60])
    assert codes(wide, [*new, 2.0**60]) == [1, -1, -1, -1, -1, -1, -1, 2]
    floats, _ = learn([0.5, 2.0, -0.0])
    assert codes(floats, [2, 0, 1]) == [2, 0, -1]


def test_booleans_match_zero_and_one():
    encoder, _ = learn([True, False])
    assert codes(encoder, [0, 1, 2]) == [0, 1, -1]
    assert codes(encoder, pd.array([True, None], dtype="boolean")) == [1, -1]


def test_text_differs_by_case_and_matches_the_numbers_it_spells():
    encoder, found = learn(["a", "A", "a", "1"])
    assert list(encoder.labels) == ["1", "A", "a"]
    assert found.tolist() == [2, 1, 2, 0]
    assert codes(encoder, [1, 2]) == [0, -1]
    assert codes(encoder, ["1.0"]) == [-1]
    numbers, _ = learn([1, 2])
    assert codes(numbers, ["1", "2"]) == [0, 1]
    assert codes(numbers, ["01", " 1", "1e0", "1.0", "one"]) == [-1, -1, -1, 0, -1]
    assert codes(numbers, pd.Series(["1", 2, None], dtype=object)) == [0, 1, -1]


@pytest.mark.parametrize("new", ["object", "string", "category"])
@pytest.mark.parametrize("fitted", ["object", "string", "category"])
def test_text_matches_whatever_its_type(fitted, new):
    encoder, found = learn(pd.Series(["b", "a", "b"]).astype(fitted))
    assert found.tolist() == [1, 0, 1]
    assert codes(encoder, pd.Series(["b", "c", None, "a"]).astype(new)) == [1, -1, -1, 0]


def test_dates_match_whatever_their_resolution():
    days = pd.date_range("2020", periods=3)
    encoder, _ = learn(days[::-1])
    assert codes(encoder, days.as_unit("s")) == [0, 1, 2]
    assert codes(encoder, days.astype(object)) == [0, 1, 2]
    assert codes(encoder, [1, 2]) == [-1, -1]


def test_labels_without_an_order_keep_the_order_of_appearance():
    encoder, found = learn(pd.Series(["b", 3, "a", 3], dtype=object))
    assert list(encoder.labels) == ["b", 3, "a"]
    assert found.tolist() == [0, 1, 2, 1]
    assert codes(encoder, [3, 4]) == [1, -1]


def test_categories_keep_their_order_and_unused_ones_are_no_levels():
    values = pd.Categorical(["low", "high", "low"], categories=["none", "low", "mid", "high"])
    encoder, found = learn(values)
    assert list(encoder.labels) == ["low", "high"]
    assert found.tolist() == [0, 1, 0]
    assert codes(encoder, ["high", "mid", "none"]) == [1, -1, -1]
    numbers, found = learn(pd.Categorical([1, 3, 2], categories=[3, 2, 1]))
    assert list(numbers.labels) == [3, 2, 1]
    assert found.tolist() == [2, 0, 1]
    assert codes(numbers, [1, 2, 3, 4]) == [2, 1, 0, -1]


@pytest.mark.parametrize("n_levels", [126, 127, 128, 129, 32_767, 32_769])
def test_codes_of_categories_never_overflow(n_levels):
    values = pd.Categorical(np.repeat(np.arange(n_levels), 2))
    table = Table.from_input(pd.DataFrame({"g": values, "h": values}))
    encoder, found = LevelEncoder.learn(table, ("g",))
    np.testing.assert_array_equal(found, np.repeat(np.arange(n_levels), 2))
    pairs, found = LevelEncoder.learn(table, ("g", "h"))
    assert (encoder.n_levels, pairs.n_levels) == (n_levels, n_levels)
    np.testing.assert_array_equal(found, np.repeat(np.arange(n_levels), 2))


def test_all_relabellings_give_the_same_partition():
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 50, 500)
    names = {
        "text": np.char.add("id", ids.astype(str)),
        "category": pd.Categorical(ids),
        "reversed": -ids,
        "huge": ids + 2**62,
        "case": np.where(ids % 2, "a", "A").astype(object) + (ids // 2).astype(str).astype(object),
    }
    _, reference = learn(ids)
    for values in names.values():
        _, found = learn(values)
        table = pd.crosstab(reference, found)
        assert (table > 0).sum(axis=0).max() == (table > 0).sum(axis=1).max() == 1


@pytest.mark.parametrize(
    "values",
    [
        [1.0, np.nan, 2.0],
        ["a", None, "b"],
        pd.Categorical(["a", None, "b"]),
        pd.array([1, None, 2], dtype="Int64"),
        pd.to_datetime(["2020-01-01", None, "2021-01-01"]),
    ],
)
def test_missing_labels_in_fit_are_refused(values):
    with pytest.raises(
        ValueError,
        match=r"'g' contains NaN or None: 1 missing label\(s\), the first in row 1; drop",
    ):
        learn(values)


def test_all_labels_missing():
    with pytest.raises(ValueError, match="'g' contains NaN or None: 2 missing"):
        learn([np.nan, np.nan])
    with pytest.raises(ValueError, match="'g' contains NaN or None: 2 missing"):
        learn(pd.array([None, None], dtype="Int64"))


def test_a_single_level_is_refused():
    with pytest.raises(ValueError, match=r"'g' has a single level \('x'\).*at least two levels"):
        learn(["x", "x"])
    table = Table.from_input(pd.DataFrame({"a": [1, 1], "b": ["u", "u"]}))
    with pytest.raises(ValueError, match=r"'a:b' has a single level"):
        LevelEncoder.learn(table, ("a", "b"))


def test_values_that_cannot_be_labels():
    with pytest.raises(TypeError, match=r"Grouping column 'g'.*unhashable"):
        learn(pd.Series([[1], [2]], dtype=object))


def test_interactions_have_the_combinations_that_occur():
    frame = pd.DataFrame({"a": ["y", "x", "y", "x"], "b": [2, 1, 1, 1], "c": [0.5, 0.5, 1, 0.5]})
    encoder, found = LevelEncoder.learn(Table.from_input(frame), ("a", "b", "c"))
    assert encoder.name == "a:b:c"
    assert list(encoder.labels) == [("x", 1, 0.5), ("y", 1, 1.0), ("y", 2, 0.5)]
    assert encoder.labels.names == ["a", "b", "c"]
    assert found.tolist() == [2, 0, 1, 0]
    new = pd.DataFrame({"c": [1, 1, 0.5, np.nan], "b": [1, 1, 9, 1], "a": ["y", "x", "y", "y"]})
    copied = pickle.loads(pickle.dumps(encoder))
    assert copied.codes(Table.from_input(new)).tolist() == [1, -1, -1, -1]
    assert not encoder.all_unique


def test_interactions_of_many_levels_need_64_bits():
    n = 60_000
    ids = np.arange(n)
    table = Table.from_input(pd.DataFrame({"a": ids, "b": ids[::-1], "c": ids}))
    encoder, found = LevelEncoder.learn(table, ("a", "b", "c"))
    np.testing.assert_array_equal(found, ids)
    np.testing.assert_array_equal(encoder.codes(table), ids)
    assert int(encoder.pairs[0].values.max()) > 2**31
    assert encoder.labels[-1] == (n - 1, 0, n - 1)
    assert encoder.all_unique


def test_slices_and_single_rows_give_the_same_codes():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"a": rng.integers(0, 9, 100), "b": rng.choice(["u", "v"], 100)})
    table, part = Table.from_input(frame), Table.from_input(frame.iloc[20:50])
    for columns in (("a",), ("b",), ("a", "b")):
        encoder, found = LevelEncoder.learn(table, columns)
        np.testing.assert_array_equal(encoder.codes(part), found[20:50])
        alone = [encoder.codes(Table.from_input(frame.iloc[[row]]))[0] for row in range(5)]
        np.testing.assert_array_equal(alone, found[:5])


def test_pickles_hold_labels_and_nothing_else():
    encoder, _ = learn(np.arange(5, 100_005))
    before = len(pickle.dumps(encoder))
    assert before < 1000
    codes(encoder, [7])
    assert list(encoder.labels[:2]) == [5, 6]
    assert len(pickle.dumps(encoder)) == before
    assert codes(copy.deepcopy(encoder), [7, 4]) == [2, -1]


def test_read_only_and_strided_columns():
    X = np.ascontiguousarray(np.random.default_rng(0).integers(0, 5, (1000, 3)).astype(float))
    X.setflags(write=False)
    encoder, found = LevelEncoder.learn(Table.from_input(X), (1,))
    np.testing.assert_array_equal(encoder.labels[found], X[:, 1])


def test_empty_columns_have_no_labels():
    labels, found = learn_labels(np.array([], dtype=np.int64))
    assert (len(labels), found.size) == (0, 0)
    assert labels.codes(np.array([1, 2])).tolist() == [-1, -1]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5), min_size=1, max_size=30),
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-6, 6), max_size=10),
)
def test_integers_agree_with_a_dictionary(known, new):
    levels, found = learn_integers(np.array(known, dtype=np.int64))
    rank = {value: code for code, value in enumerate(sorted(set(known)))}
    assert levels.tolist() == list(rank)
    assert found.tolist() == [rank[value] for value in known]
    expected = [rank.get(value, -1) for value in new]
    assert ColumnLabels(levels).codes(np.array(new, dtype=np.int64)).tolist() == expected


@pytest.mark.parametrize("kind", ["own", "frame", "memory", "every_second", "int64", "gap", "up"])
def test_ids_that_are_codes_are_not_copied(kind, tmp_path):
    ids = np.array([2, 0, 1, 2], np.int32)
    values = {
        "own": lambda: ids,
        "frame": lambda: pd.DataFrame({"g": ids})["g"].to_numpy(),
        "memory": lambda: np.memmap(tmp_path / "ids", np.int32, "r", shape=4),
        "every_second": lambda: np.repeat(ids, 2)[::2],
        "int64": lambda: ids.astype(np.int64),
        "gap": lambda: np.array([4, 0, 1, 4], np.int32),
        "up": lambda: ids + np.int32(1),
    }
    ids.tofile(tmp_path / "ids")
    given = values[kind]()
    levels, found = learn_integers(given)
    assert found.tolist() == ids.tolist()
    assert found.dtype == np.int32
    assert found.flags.c_contiguous
    assert found.flags.writeable
    assert levels.tolist() == {"gap": [0, 1, 4], "up": [1, 2, 3]}.get(kind, [0, 1, 2])
    assert np.shares_memory(found, given) == (kind in ("own", "frame"))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.text(max_size=3) | st.integers(-3, 3) | st.none(), min_size=1, max_size=20))
def test_mixed_labels_agree_with_a_dictionary(values):
    column = np.empty(len(values), dtype=object)
    column[:] = values
    labels, found = learn_labels(column)
    for value, code in zip(values, found, strict=True):
        assert (code == -1) if value is None else (labels.values[code] == value)
    np.testing.assert_array_equal(labels.codes(column), found)


def test_tables_are_built_only_over_narrow_ranges():
    assert IntegerLookup.of(np.array([0, 2**40])) is None
    assert IntegerLookup.of(np.array([], dtype=np.int64)) is None
    assert IntegerLookup.of(np.array([5, 9])).table.size == 7


def test_a_column_of_insteval_size_is_encoded_in_a_moment():
    values = np.random.default_rng(0).integers(1, 2973, 73_421)
    table = Table.from_input(pd.DataFrame({"s": values}))
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        LevelEncoder.learn(table, ("s",))
        seconds.append(time.perf_counter() - start)
    # It takes a quarter of a millisecond; a wide margin for loaded machines.
    assert min(seconds) < 0.01


def test_more_levels_than_codes_can_count(monkeypatch):
    monkeypatch.setattr(levels, "_MOST_LEVELS", 2)
    learn(["a", "b", "a"])
    with pytest.raises(ValueError, match="'g' has 3 levels, more than the 2 that int32"):
        learn(["a", "b", "c"])
