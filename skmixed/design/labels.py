"""The distinct labels of one column, and codes for any column that holds them.

Labels match by value: the integer 3 of any width, the float 3.0, the category 3 and
the text "3" are one label, and so are a date and the midnight at which it begins. A
column that was learnt may still hold 3 beside "3": then each matches its own type.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skmixed.design.hashing import factorize
from skmixed.design.integers import CodeArray, IntegerLookup, learn_integers
from skmixed.design.same_value import in_type_of, keyed, value_key

_NUMBERS = "biuf"
_PIECE = 65536


@dataclass(frozen=True, eq=False)
class Declared:
    """The categories a column declared, whose order is the order of its labels.

    Attributes
    ----------
    categories : Index
        All of them, whether they occur or not.
    positions : ndarray of shape (n_levels,) and dtype int32
        Which of them occur, ascending.
    """

    categories: pd.Index
    positions: CodeArray

    def labels(self) -> Any:
        """The categories that occur, in the plainest type that holds them.

        Returns
        -------
        ndarray or pandas ExtensionArray of shape (n_levels,)
            The labels.
        """
        return canonical(_array_of(self.categories)[self.positions])


@dataclass(frozen=True, eq=False)
class ColumnLabels:
    """Distinct labels in order; a label's position is its code.

    Attributes
    ----------
    values : ndarray or pandas ExtensionArray of shape (n_levels,)
        The labels: numbers ascending, text by code point, categories in
        their order, labels without an order by first appearance.
    declared : Declared or None
        The categories of the column, where it had any.
    seen : ndarray of shape (n_levels,), dtype int32, or None
        Codes in the order in which the labels first appeared; None where this
        is not known. Only labels in objects can turn out to have no order
        once those of other data are added, so only they remember it.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.design.labels import learn_labels
    >>> labels, codes = learn_labels(np.array(["b", "a", "b"], dtype=object))
    >>> codes.tolist()
    [1, 0, 1]
    >>> labels.codes(np.array(["a", "z"], dtype=object)).tolist()
    [0, -1]
    """

    values: Any
    declared: Declared | None = None
    seen: CodeArray | None = None

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def index(self) -> pd.Index:
        """The labels as a pandas Index."""
        return pd.Index(self.values)

    def codes(self, values: Any) -> CodeArray:
        """Code of every value.

        Parameters
        ----------
        values : ndarray or pandas ExtensionArray of shape (n_rows,)
            Values of any type.

        Returns
        -------
        ndarray of shape (n_rows,) and dtype int32
            The codes; -1 for values that are missing or are none of the labels.
        """
        if isinstance(values.dtype, pd.CategoricalDtype):
            of_category = np.append(self.codes(_array_of(values.categories)), np.int32(-1))
            return of_category[values.codes]
        values, missing = _plain(values)
        if _is_numbers(values):
            codes = self._codes_of_numbers(values)
        else:
            appearance, found = factorize(values)
            codes = np.append(self._codes_of_distinct(canonical(found)), np.int32(-1))[appearance]
        if missing is not None:
            codes[missing] = -1
        return codes

    @cached_property
    def _holds_numbers(self) -> bool:
        return _is_numbers(self.values)

    @cached_property
    def _lookup(self) -> IntegerLookup | None:
        """Table for labels that are integers close to each other."""
        # Categories of numbers need not ascend.
        if not self._holds_numbers or not np.all(self.values[1:] > self.values[:-1]):
            return None
        if self.values.dtype.kind == "f" and not _all_integral(self.values):
            return None
        return IntegerLookup.of(self.values)

    @cached_property
    def _hashed(self) -> pd.Index:
        """Labels in the type in which they are compared."""
        if self._holds_numbers:
            return pd.Index(self.values.astype(np.int64) if _is_bool(self.values) else self.values)
        if isinstance(self.values, np.ndarray) and self.values.dtype.kind == "O":
            return pd.Index(self.values, dtype=object)
        return self.index

    def _codes_of_numbers(self, values: npt.NDArray[Any]) -> CodeArray:
        if not self._holds_numbers:
            appearance, found = factorize(values)
            found = np.asarray(found, dtype=object)
            positions = self._in_another_type(self._hashed.get_indexer(pd.Index(found)), found)
            return np.append(positions, np.int32(-1))[appearance]
        if self._lookup is not None:
            return self._lookup.codes(values)
        with np.errstate(invalid="ignore"):
            same: npt.NDArray[Any] = values.astype(np.asarray(self._hashed).dtype)
        codes = self._hashed.get_indexer(pd.Index(same)).astype(np.int32)
        # Values that the labels' type cannot hold changed, or wrapped to the other sign.
        codes[(same != values) | ((same < 0) != (values < 0))] = -1
        return codes

    def _codes_of_distinct(self, found: Any) -> CodeArray:
        if _is_numbers(found):
            return self._codes_of_numbers(found)
        labels = self._hashed
        if "M" in (labels.dtype.kind, found.dtype.kind):
            labels, found = midnights(labels), midnights(found)
        if self._holds_numbers or labels.dtype != found.dtype:
            both_dates = labels.dtype.kind == "M" and found.dtype.kind == "M"
            if not both_dates:
                labels = pd.Index(as_objects(self.values), dtype=object)
                found = as_objects(found)
        wanted = pd.Index(found, dtype=object) if found.dtype == object else pd.Index(found)
        return self._in_another_type(labels.get_indexer(wanted), found)

    def _in_another_type(self, positions: npt.NDArray[np.intp], found: Any) -> CodeArray:
        """Codes of distinct values; those found nowhere may be a label's value in another type."""
        codes = positions.astype(np.int32)
        absent = np.flatnonzero(codes < 0)
        may_match = _is_numbers(found) or found.dtype == object
        if absent.size and may_match and not (self._holds_numbers and _is_bool(self.values)):
            for position in absent:
                key = value_key(found[position])
                if key is not None and isinstance(found[position], str) != self._all_text:
                    codes[position] = self._keyed.get(key, -1)
        return codes

    @cached_property
    def _keyed(self) -> dict[int | float, int]:
        return keyed(self.values)

    @cached_property
    def _all_text(self) -> bool:
        """Whether all labels are text, which text matches letter by letter alone."""
        return not self._holds_numbers and all(isinstance(label, str) for label in self.values)

    def in_my_type(self, values: Any) -> Any:
        """New rows of the column, ids of another type turned into that of the labels.

        Parameters
        ----------
        values : ndarray or pandas ExtensionArray of shape (n_rows,)
            Values of any type.

        Returns
        -------
        ndarray or pandas ExtensionArray of shape (n_rows,)
            `values` itself where nothing has to be turned.
        """
        of_numbers = self._holds_numbers and not _is_bool(self.values)
        if not (of_numbers or self._all_text):
            return values
        plain = np.asarray(values, dtype=object) if _is_category(values) else _plain(values)[0]
        if _is_numbers(plain) and of_numbers:
            return values
        appearance, distinct = factorize(plain)
        found = as_objects(canonical(distinct))
        turned = in_type_of(found, self.values)
        if all(a is b for a, b in zip(found, turned, strict=True)):
            return values
        return canonical_rows(np.append(turned, np.array([None]))[appearance])

    def __getstate__(self) -> dict[str, Any]:
        # What is looked up is built again on first use, and so are labels from categories.
        if self.declared is not None:
            declared = self.declared
            return {
                "categories": _stored(declared.categories),
                "positions": _packed(declared.positions),
            }
        return {"values": _packed(self.values), "seen": _packed(self.seen)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        declared = None
        if "categories" in state:
            positions = _unpacked(state["positions"], np.int32)
            declared = Declared(_restored(state["categories"]), positions)
        values = _unpacked(state["values"], np.int64) if declared is None else declared.labels()
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "declared", declared)
        object.__setattr__(self, "seen", _unpacked(state.get("seen"), np.int32))


def learn_labels(values: Any, *, unseen: bool = False) -> tuple[ColumnLabels, CodeArray]:
    """Find the labels that occur in a column.

    Parameters
    ----------
    values : ndarray or pandas ExtensionArray of shape (n_rows,)
        Values of any hashable type.
    unseen : bool, default=False
        Whether categories that do not occur are labels too.

    Returns
    -------
    labels : ColumnLabels
        The distinct labels.
    codes : ndarray of shape (n_rows,) and dtype int32
        Their code in every row, -1 for missing values.

    Raises
    ------
    TypeError
        If a value cannot be hashed.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        if unseen:
            present, codes = np.arange(len(values.categories)), values.codes.astype(np.int32)
        else:
            present, codes = learn_integers(values.codes)
            if present.size and present[0] == -1:
                present = present[1:]
                codes -= 1
        declared = Declared(values.categories, present.astype(np.int32))
        return ColumnLabels(declared.labels(), declared), codes
    values, missing = _plain(values)
    if missing is not None and missing.any():
        codes = np.full(len(values), -1, dtype=np.int32)
        labels, codes[~missing] = learn_labels(values[~missing])
        return labels, codes
    if not _is_numbers(values):
        return _learn_by_hash(values)
    if values.dtype.kind != "f":
        levels, codes = learn_integers(values)
        return ColumnLabels(levels.astype(np.bool_) if _is_bool(values) else levels), codes
    # Floats that are whole numbers (ids in an array of floats) take the integers' path.
    if _all_integral(values):
        levels, codes = learn_integers(values)
        return ColumnLabels(levels.astype(values.dtype)), codes
    return _learn_by_hash(values)


def _learn_by_hash(values: Any) -> tuple[ColumnLabels, CodeArray]:
    appearance, found = factorize(values)
    labels = canonical(found)
    remembers = "O" in (getattr(values.dtype, "kind", "O"), getattr(labels.dtype, "kind", "O"))
    try:
        order = np.asarray(labels.argsort(kind="stable"))
    except (TypeError, ValueError):
        # Labels of several types have no common order, nor have periods of several lengths.
        seen = np.arange(len(labels), dtype=np.int32)
        return ColumnLabels(labels, seen=seen), appearance.astype(np.int32)
    rank = np.full(order.size + 1, -1, dtype=np.int32)
    rank[order] = np.arange(order.size, dtype=np.int32)
    return ColumnLabels(labels[order], seen=rank[:-1] if remembers else None), rank[appearance]


def _plain(values: Any) -> tuple[Any, npt.NDArray[np.bool_] | None]:
    """Nullable and Arrow numbers as a NumPy array and a mask of what is missing."""
    dtype = values.dtype
    if dtype == np.float16:
        # pandas has no index of these.
        return values.astype(np.float32), None
    if isinstance(dtype, np.dtype):
        return (values.astype(object) if dtype.kind in "USc" else np.asarray(values)), None
    missing = np.asarray(values.isna())
    if pd.api.types.is_bool_dtype(dtype):
        return values.to_numpy(dtype=np.bool_, na_value=False), missing
    if pd.api.types.is_unsigned_integer_dtype(dtype):
        return values.to_numpy(dtype=np.uint64, na_value=0), missing
    if pd.api.types.is_integer_dtype(dtype):
        return values.to_numpy(dtype=np.int64, na_value=0), missing
    if pd.api.types.is_float_dtype(dtype):
        return values.to_numpy(dtype=np.float64, na_value=np.nan), None
    return values, None


def _array_of(index: pd.Index) -> Any:
    return index.to_numpy() if isinstance(index.dtype, np.dtype) else index.array


def canonical(found: Any) -> Any:
    """Distinct labels in the plainest type that holds them.

    Parameters
    ----------
    found : ndarray or pandas ExtensionArray of shape (n_levels,)
        The labels.

    Returns
    -------
    ndarray or pandas ExtensionArray of shape (n_levels,)
        The same labels; integers as int64 where it holds them, text as objects.
    """
    plain, _ = _plain(found)
    if isinstance(plain.dtype, (pd.StringDtype, pd.ArrowDtype)):
        return np.asarray(plain, dtype=object)
    if isinstance(plain.dtype, np.dtype):
        if plain.dtype.kind == "O":
            inferred = pd.Series(plain, dtype=object).infer_objects().to_numpy()
            # Text stays a plain array of objects on every version of pandas.
            # Integers among floats may be too wide to become floats themselves.
            rounded = inferred.dtype.kind == "f" and not np.all(inferred == plain)
            plain = inferred if inferred.dtype.kind in _NUMBERS + "mM" and not rounded else plain
        if plain.dtype.kind in "iu" and plain.dtype != np.uint64:
            return plain.astype(np.int64)
    return plain


def canonical_rows(values: npt.NDArray[Any]) -> Any:
    """Values of rows as integers where all of them are, else as they are."""
    inferred = pd.api.types.infer_dtype(values, skipna=False)
    return values.astype(np.int64) if inferred == "integer" else values


def midnights(values: Any) -> Any:
    """Dates as the times at which they begin, anything else as it is.

    Parameters
    ----------
    values : ndarray, pandas ExtensionArray or Index of shape (n_levels,)
        Labels.

    Returns
    -------
    ndarray, ExtensionArray or Index of shape (n_levels,)
        `values`, or times in seconds where all of them are dates.
    """
    if values.dtype != object or pd.api.types.infer_dtype(values) != "date":
        return values
    return pd.DatetimeIndex(np.asarray(values).astype("datetime64[D]").astype("datetime64[s]"))


def as_objects(values: Any) -> npt.NDArray[Any]:
    """Labels as objects; dates stay dates, whose NumPy form would become integers.

    Parameters
    ----------
    values : ndarray or pandas ExtensionArray of shape (n_levels,)
        The labels.

    Returns
    -------
    ndarray of shape (n_levels,) and dtype object
        The same labels.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind not in "mM":
        return values.astype(object)
    return np.asarray(pd.Index(values).astype(object), dtype=object)


def _is_numbers(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind in _NUMBERS


def _is_category(values: Any) -> bool:
    return isinstance(values.dtype, pd.CategoricalDtype)


def _is_bool(values: npt.NDArray[Any]) -> bool:
    return values.dtype.kind == "b"


def _all_integral(values: npt.NDArray[Any]) -> bool:
    """Whether all floats are whole numbers that int64 holds (false with any NaN)."""
    largest = 2.0**62
    # In pieces, because the temporary arrays would cost more than the comparisons.
    for start in range(0, values.size, _PIECE):
        piece = values[start : start + _PIECE]
        if not (np.all(piece == np.floor(piece)) and np.all(np.abs(piece) < largest)):
            return False
    return True


def _packed(values: Any) -> Any:
    """Integers m, m + 1, ..., n as [m, n], objects as a list, times with a zone as plain ones.

    NumPy reads beyond the end of its memory where a damaged file states a wrong shape of an array
    of objects, and pandas' own types differ between its versions.
    """
    if isinstance(values, np.ndarray) and values.dtype == object:
        return {"objects": values.tolist()}
    if _is_numbers(values) and values.dtype in (np.int64, np.int32) and values.size > 1:
        first, last = int(values[0]), int(values[-1])
        if last - first == values.size - 1 and np.all(np.diff(values) == 1):
            return [first, last]
    dtype = getattr(values, "dtype", None)
    if isinstance(dtype, pd.DatetimeTZDtype) and _is_name(dtype):
        times = pd.DatetimeIndex(values).tz_convert("UTC").tz_localize(None)
        return {"utc": times.to_numpy(), "zone": str(dtype.tz)}
    return values


def _unpacked(values: Any, dtype: type) -> Any:
    if isinstance(values, list):
        return np.arange(values[0], values[1] + 1, dtype=dtype)
    if isinstance(values, dict) and "objects" in values:
        return _array_of_objects(values["objects"])
    if isinstance(values, dict):
        return pd.DatetimeIndex(values["utc"], tz="UTC").tz_convert(values["zone"]).array
    return values


def _is_name(dtype: pd.DatetimeTZDtype) -> bool:
    """Whether the text of a time zone is its name."""
    try:
        return bool(pd.DatetimeTZDtype(dtype.unit, str(dtype.tz)) == dtype)
    except (TypeError, ValueError, KeyError):
        return False


def _stored(index: pd.Index) -> Any:
    """An index as an array where NumPy has its type: pickles of pandas depend on its version."""
    if isinstance(index.dtype, pd.StringDtype):
        return {"text": np.asarray(index, dtype=object).tolist()}
    if not isinstance(index.dtype, np.dtype):
        return {"index": _packed(index)}
    return {"array": index.to_numpy() if index.dtype != object else _packed(index.to_numpy())}


def _restored(stored: dict[str, Any]) -> pd.Index:
    if "text" in stored:
        # in the type that this version of pandas has for text
        return pd.Index(_array_of_objects(stored["text"]))
    values = stored["array"] if "array" in stored else stored["index"]
    if isinstance(values, (dict, list)):
        values = _unpacked(values, np.int64)
    return pd.Index(values, dtype=values.dtype)


def _array_of_objects(values: Any) -> npt.NDArray[Any]:
    """One object per entry, also of entries that NumPy would take for rows."""
    array = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):
        array[position] = value
    return array
