"""Parts of the data learnt on their own and merged equal all data learnt at once."""

import itertools
import pickle
import time
from functools import reduce

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skmixed.design import LevelEncoder, Table
from skmixed.design.labels import learn_labels
from skmixed.design.merging import merge_labels

CATEGORIES = ["none", "low", "mid", "high", "a", "Z"]
INSTANTS = pd.date_range("2020-01-01", periods=30, freq="7h")
SMALL = st.integers(-5, 5)
WIDE = SMALL | st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False) | SMALL.map(float)
# The strings of pandas 2 end at a character of code zero.
CHARACTERS = st.characters(codec="utf-8", exclude_characters="\0")
TEXT = st.text(CHARACTERS, max_size=2) | st.sampled_from(["a", "A", "b", "é", "1"])


def typed(dtype):
    return lambda values: pd.Series(values, dtype=dtype)


def objects(values):
    return pd.Series(list(values), dtype=object)


def dated(dates):
    return lambda values: pd.Series(dates[list(values)])


# What values a column holds, and how a list of them becomes a column.
KINDS = {
    "int64": (WIDE, typed("int64")),
    "int8": (SMALL, typed("int8")),
    "uint8": (st.integers(0, 255), typed("uint8")),
    "uint64": (st.integers(0, 2**64 - 1) | st.integers(0, 5), typed("uint64")),
    "float64": (FLOATS, typed("float64")),
    "float_ids": (SMALL.map(float), typed("float64")),
    "float32": (st.floats(width=32, allow_nan=False), typed("float32")),
    "float16": (st.floats(-9, 9, width=16), typed("float16")),
    "bool": (st.booleans(), typed("bool")),
    "text": (TEXT, objects),
    "string": (TEXT, typed("string")),
    "inferred": (TEXT, lambda values: pd.Series(list(values))),
    "mixed": (TEXT | SMALL, objects),
    "mixed_numbers": (st.sampled_from([True, 2, 1.5, -1, 2**64, 2**60 + 1]), objects),
    "Int64": (WIDE, typed("Int64")),
    "UInt16": (st.integers(0, 9), typed("UInt16")),
    "Float64": (FLOATS, typed("Float64")),
    "boolean": (st.booleans(), typed("boolean")),
    "datetime": (st.integers(0, 29), dated(INSTANTS)),
    "timezone": (st.integers(0, 29), dated(INSTANTS.tz_localize("Europe/Paris"))),
    "timedelta": (st.integers(0, 29), dated(INSTANTS - INSTANTS[3])),
    "period": (st.integers(0, 29), dated(pd.period_range("2020", periods=30, freq="D"))),
    "interval": (st.integers(0, 29), dated(pd.interval_range(0, 30))),
    "date": (st.integers(0, 29), lambda values: objects(INSTANTS[list(values)].date)),
    "category": (
        st.sampled_from(CATEGORIES),
        lambda values: pd.Series(pd.Categorical(values, categories=CATEGORIES)),
    ),
    "category_of_numbers": (
        SMALL,
        lambda values: pd.Series(pd.Categorical(values, categories=range(5, -6, -1))),
    ),
    "category_of_mixed": (
        st.sampled_from(["x", 1, 2]),
        lambda values: pd.Series(pd.Categorical(values, categories=["x", 2, 1])),
    ),
}


def learn(*columns, complete=False):
    frame = pd.DataFrame(dict(zip("abc", columns, strict=False)))
    return LevelEncoder.learn(Table.from_input(frame), tuple(frame.columns), complete=complete)


def labels_of(encoder):
    return encoder.labels.tolist()


def assert_merged_equals_whole(parts, whole):
    """Merge parts in both extreme trees and compare with learning all rows at once."""
    expected, codes = learn(*whole)
    learnt = [learn(*part) for part in parts]
    trees = (
        reduce(lambda left, right: left.merge(right)[0], [e for e, _ in learnt]),
        reduce(lambda right, left: left.merge(right)[0], [e for e, _ in learnt][::-1]),
    )
    for merged in trees:
        assert labels_of(merged) == labels_of(expected)
        assert merged.all_unique == expected.all_unique
        for kept in (merged, pickle.loads(pickle.dumps(merged))):
            assert labels_of(kept) == labels_of(expected)
            frame = pd.DataFrame(dict(zip("abc", whole, strict=False)))
            np.testing.assert_array_equal(kept.codes(Table.from_input(frame)), codes)
    assert_codes_follow(learnt, codes)


def assert_codes_follow(learnt, codes):
    encoder, found = learnt[0]
    for part, fresh in learnt[1:]:
        encoder, here, there = encoder.merge(part)
        assert here.dtype == there.dtype == np.int32
        found = np.concatenate([here[found], there[fresh]])
    np.testing.assert_array_equal(found, codes)


@pytest.mark.parametrize("kind", list(KINDS))
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_merged_labels_are_those_of_all_rows(kind, data):
    values, column = KINDS[kind]
    parts = data.draw(st.lists(st.lists(values, min_size=1, max_size=8), min_size=2, max_size=4))
    whole = [column(list(itertools.chain(*parts)))]
    assert_merged_equals_whole([[column(part)] for part in parts], whole)


@settings(max_examples=30, deadline=None)
@given(
    kinds=st.tuples(*[st.sampled_from(["int64", "mixed", "text", "category", "float64"])] * 3),
    data=st.data(),
)
def test_merged_interactions_are_those_of_all_rows(kinds, data):
    chosen = [KINDS[kind] for kind in kinds]
    row = st.tuples(*(values for values, _ in chosen))
    parts = data.draw(st.lists(st.lists(row, min_size=1, max_size=6), min_size=2, max_size=4))

    def columns(rows):
        cells = zip(*rows, strict=True)
        return [column(list(c)) for (_, column), c in zip(chosen, cells, strict=True)]

    whole = columns(list(itertools.chain(*parts)))
    assert_merged_equals_whole([columns(part) for part in parts], whole)


LEFT_AND_RIGHT = {
    "int_float": ([3, 1], [1.0, 2.5], [1, 2.5, 3]),
    "bool_int": ([True, False], [1, 2], [0, 1, 2]),
    "bool_float": ([True, False], [1.0, 0.5], [0, 0.5, 1]),
    "int_uint": ([2, 1], np.array([3, 2], dtype=np.uint64), [1, 2, 3]),
    "int_large_uint": ([5, 1], np.array([2**64 - 1], dtype=np.uint64), [1, 5, 2**64 - 1]),
    "negative_and_large": ([-1], np.array([2**64 - 1], dtype=np.uint64), [-1, 2**64 - 1]),
    "float_beside_wide_int": ([0.5, 2.0], [2**60 + 1, 2**60], [0.5, 2, 2**60, 2**60 + 1]),
    "float_beside_largest_int": ([0.5], [2**63 - 1], [0.5, 2**63 - 1]),
    "int_nullable": ([2, 1], pd.array([3, 2], dtype="Int64"), [1, 2, 3]),
    "text_string": (["b", "a"], pd.array(["c", "b"], dtype="string"), ["a", "b", "c"]),
    "category_text": (pd.Categorical(["b"], categories=["b", "a"]), ["a"], ["a", "b"]),
    "category_int": (pd.Categorical([7, 3]), [3, 5], [3, 5, 7]),
    "categories_differ": (
        pd.Categorical(["z", "b"], categories=["z", "b"]),
        pd.Categorical(["a", "b"], categories=["b", "a"]),
        ["a", "b", "z"],
    ),
    "nanoseconds_seconds": (
        INSTANTS[:2].as_unit("s"),
        INSTANTS[1:3].as_unit("ns"),
        INSTANTS[:3].tolist(),
    ),
    "seconds_beyond_nanoseconds": (
        pd.DatetimeIndex(np.array(["9999-01-01"], dtype="M8[s]")),
        INSTANTS[:1].as_unit("ns"),
        [INSTANTS[0], pd.Timestamp(np.datetime64("9999-01-01", "s"))],
    ),
    "numbers_text": ([2, 1], objects(["b", "a"]), [1, 2, "a", "b"]),
    "text_numbers": (objects(["b", "a"]), [2, 1], [1, 2, "a", "b"]),
    "days_months": (
        pd.period_range("2020", periods=2, freq="D"),
        pd.period_range("2020", periods=1, freq="M"),
        [pd.Period("2020-01-01", "D"), pd.Period("2020-01-02", "D"), pd.Period("2020-01", "M")],
    ),
    "dates_numbers": (INSTANTS[:2], [5, 3], [3, 5, *INSTANTS[:2]]),
}


@pytest.mark.parametrize("case", list(LEFT_AND_RIGHT))
def test_parts_of_different_types_match_by_value(case):
    left, right, expected = LEFT_AND_RIGHT[case]
    first, second = learn(left), learn(right)
    merged, here, there = first[0].merge(second[0])
    assert labels_of(merged) == expected
    values = [*pd.Series(left).tolist(), *pd.Series(right).tolist()]
    codes = [*here[first[1]].tolist(), *there[second[1]].tolist()]
    assert [expected[code] for code in codes] == values
    for part, found in ((left, here[first[1]]), (right, there[second[1]])):
        table = Table.from_input(pd.DataFrame({"a": part}))
        for kept in (merged, pickle.loads(pickle.dumps(merged))):
            np.testing.assert_array_equal(kept.codes(table), found)


ANY_COLUMN = st.sampled_from(
    ["int64", "uint64", "float64", "bool", "text", "mixed", "category", "category_of_numbers"]
).flatmap(
    lambda kind: st.lists(KINDS[kind][0], min_size=1, max_size=5).map(lambda v: KINDS[kind][1](v))
)


@settings(max_examples=100, deadline=None)
@given(st.tuples(ANY_COLUMN, ANY_COLUMN, ANY_COLUMN))
def test_merging_is_associative_whatever_the_types(columns):
    (a, _), (b, _), (c, _) = (learn(column) for column in columns)
    ab, a1, b1 = a.merge(b)
    left, ab2, c2 = ab.merge(c)
    bc, b3, c3 = b.merge(c)
    right, a4, bc4 = a.merge(bc)
    assert labels_of(left) == labels_of(right)
    np.testing.assert_array_equal(ab2[a1], a4)
    np.testing.assert_array_equal(ab2[b1], bc4[b3])
    np.testing.assert_array_equal(c2, bc4[c3])
    # Every label of a part is the label of the whole that its code says.
    for part, codes in ((a, a4), (b, bc4[b3]), (c, c2)):
        assert labels_of(part) == [labels_of(left)[code] for code in codes]


def test_labels_that_turn_out_to_have_no_order_come_by_first_appearance():
    merged = reduce(
        lambda left, right: left.merge(right)[0],
        [learn(objects(part))[0] for part in (["b", "a", "c"], [9, 3], ["A", 3, "a"])],
    )
    assert labels_of(merged) == ["b", "a", "c", 9, 3, "A"]
    assert labels_of(merged.merge(merged)[0]) == labels_of(merged)


def test_labels_of_types_that_cannot_be_ordered_at_all():
    imaginary, _ = learn_labels(objects([2j, 1j]))
    numbers, _ = learn_labels(np.array([4, 3]))
    labels, here, there = merge_labels(imaginary, numbers)
    assert list(labels.values) == [3, 4, 1j, 2j]
    assert (here.tolist(), there.tolist()) == ([3, 2], [0, 1])


def test_categories_keep_their_order_where_no_part_has_all_of_them():
    dtype = pd.CategoricalDtype(["none", "low", "mid", "high"])
    parts = [learn(pd.Series(part, dtype=dtype))[0] for part in (["high"], ["low", "high"])]
    parts += [learn(pd.Series(["mid"], dtype=dtype))[0]]
    merged = parts[0].merge(parts[1])[0].merge(pickle.loads(pickle.dumps(parts[2])))[0]
    assert labels_of(merged) == ["low", "mid", "high"]
    other, _ = learn(["high", "aaa"])
    assert labels_of(merged.merge(other)[0]) == ["aaa", "high", "low", "mid"]
    assert labels_of(other.merge(merged)[0]) == ["aaa", "high", "low", "mid"]


def test_equal_parts_are_not_searched():
    encoder, codes = learn(np.arange(7, 1007))
    merged, here, there = encoder.merge(pickle.loads(pickle.dumps(encoder)))
    assert merged.parts[0] is encoder.parts[0]
    np.testing.assert_array_equal(here, codes)
    np.testing.assert_array_equal(there, codes)
    assert encoder.all_unique
    assert not merged.all_unique


def test_every_row_of_its_own_in_parts_and_in_all():
    left, right = learn([3, 1])[0], learn([2])[0]
    assert left.merge(right)[0].all_unique
    assert not left.merge(learn([1])[0])[0].all_unique
    assert not left.merge(learn([2, 2])[0])[0].all_unique


def test_encoders_of_different_columns_are_not_merged():
    left, _ = LevelEncoder.learn(Table.from_input(pd.DataFrame({"g": [1, 2]})), ("g",))
    right, _ = LevelEncoder.learn(Table.from_input(pd.DataFrame({"h": [1, 2]})), ("h",))
    with pytest.raises(ValueError, match="levels of 'g' cannot be merged with those of 'h'"):
        left.merge(right)


def test_a_single_level_in_a_part_is_refused_only_where_it_is_all():
    one, _ = learn(["x", "x"])
    assert one.n_levels == 1
    message = r"'a' has a single level \('x'\) in all rows.*at least two levels; remove it"
    with pytest.raises(ValueError, match=message):
        one.refuse_single_level()
    with pytest.raises(ValueError, match=message):
        learn(["x", "x"], complete=True)
    one.merge(learn(["y"])[0])[0].refuse_single_level()


@pytest.mark.parametrize("kind", ["int", "text", "pairs"])
def test_200_000_levels_are_merged_in_a_moment(kind):
    rng = np.random.default_rng(0)
    ids = [rng.permutation(400_000)[:200_000] for _ in range(2)]
    columns = {
        "int": lambda i: (i,),
        "text": lambda i: (pd.Series(np.char.mod("id%06d", i)),),
        "pairs": lambda i: (i // 600, i % 600),
    }
    left, right = (learn(*columns[kind](part))[0] for part in ids)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        merged, here, there = left.merge(right)
        seconds.append(time.perf_counter() - start)
    assert merged.n_levels == len(np.union1d(*ids))
    assert (len(here), len(there)) == (200_000, 200_000)
    # Numbers take a few hundredths of a second and text a tenth; a margin for loaded machines.
    assert min(seconds) < 1
