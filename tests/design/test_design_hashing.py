"""Distinct values in pieces against pandas on all rows at once."""

import datetime

import numpy as np
import pandas as pd
import pytest

from skmixed.design import hashing

VALUES = {
    "text": np.array(list("bacabdbe"), dtype=object),
    "missing": np.array(["b", None, "a", np.nan, None, "b", "c", "a"], dtype=object),
    "mixed": np.array([1, "1", True, 1.0, 2.5, "x", 2, "1"], dtype=object),
    "dates": np.array([datetime.date(2020, 1, 1 + d) for d in (3, 1, 3, 2, 1, 5, 4)], object),
    "integers": np.array([2**62, 5, 2**62, -7, 5, 11, 2**61]),
    "unsigned": np.array([2**64 - 1, 5, 2**63, 5, 2**64 - 1, 0, 1], dtype=np.uint64),
    "floats": np.array([0.5, np.nan, -0.5, 0.5, np.nan, 1e300, -0.5]),
    "times": np.array([3, 1, 3, 2, 1, 5, 4], dtype="datetime64[ns]"),
    "zoned": pd.date_range("2020-01-01", periods=5, tz="Europe/Rome").array[[3, 1, 3, 2, 1, 0, 4]],
    "periods": pd.period_range("2020-01", periods=5, freq="M").array[[3, 1, 3, 2, 1, 0, 4]],
    "string": pd.array(["b", pd.NA, "a", "b", "c", "a", "d", "b"], dtype="string"),
    "nothing": np.array([], dtype=object),
}


@pytest.mark.parametrize("at_once", [1, 2, 3, 100])
@pytest.mark.parametrize("kind", VALUES)
def test_pieces_are_as_the_whole(kind, at_once, monkeypatch):
    monkeypatch.setattr(hashing, "_AT_ONCE", at_once)
    codes, found = hashing.factorize(VALUES[kind])
    expected_codes, expected_found = pd.factorize(VALUES[kind])
    np.testing.assert_array_equal(codes, expected_codes)
    assert type(found) is type(expected_found)
    assert found.dtype == expected_found.dtype
    assert list(found) == list(expected_found)
    assert [type(value) for value in found] == [type(value) for value in expected_found]
