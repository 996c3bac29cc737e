"""The distinct labels of one column, and codes for any column that holds them.

Labels match by value: the integer 3 of any width, the float 3.0 and the
category 3 are one label. Text and numbers never match.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skmixed.design.integers import CodeArray, IntegerLookup, learn_integers

_NUMBERS = "biuf"


@dataclass(frozen=True, eq=False)
class ColumnLabels:
    """Distinct labels in order; a label's position is its code.

    Attributes
    ----------
    values : ndarray or pandas ExtensionArray of shape (n_levels,)
        The labels: numbers ascending, text by code point, categories in
        their order, labels without an order by first appearance.

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
            appearance, found = pd.factorize(values)
            codes = np.append(self._codes_of_distinct(_canonical(found)), np.int32(-1))[appearance]
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
            appearance, found = pd.factorize(values)
            positions = self._hashed.get_indexer(pd.Index(np.asarray(found, dtype=object)))
            return np.append(positions, -1).astype(np.int32)[appearance]
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
        if self._holds_numbers or labels.dtype != found.dtype:
            both_dates = labels.dtype.kind == "M" and found.dtype.kind == "M"
            if not both_dates:
                labels = pd.Index(np.asarray(self.values, dtype=object), dtype=object)
                found = np.asarray(found, dtype=object)
        wanted = pd.Index(found, dtype=object) if found.dtype == object else pd.Index(found)
        return labels.get_indexer(wanted).astype(np.int32)

    def __getstate__(self) -> dict[str, Any]:
        # What is looked up is built again on first use; 1, 2, ..., n needs no array at all.
        values = self.values
        if _is_numbers(values) and values.dtype == np.int64 and values.size > 1:
            first, last = int(values[0]), int(values[-1])
            if last - first == values.size - 1 and np.all(np.diff(values) == 1):
                return {"values": range(first, last + 1)}
        return {"values": values}

    def __setstate__(self, state: dict[str, Any]) -> None:
        values = state["values"]
        if isinstance(values, range):
            values = np.arange(values.start, values.stop, dtype=np.int64)
        object.__setattr__(self, "values", values)


def learn_labels(values: Any) -> tuple[ColumnLabels, CodeArray]:
    """Find the labels that occur in a column.

    Parameters
    ----------
    values : ndarray or pandas ExtensionArray of shape (n_rows,)
        Values of any hashable type.

    Returns
    -------
    labels : ColumnLabels
        The distinct labels; categories that do not occur are left out.
    codes : ndarray of shape (n_rows,) and dtype int32
        Their code in every row, -1 for missing values.

    Raises
    ------
    TypeError
        When a value cannot be hashed.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        present, codes = learn_integers(values.codes)
        if present.size and present[0] == -1:
            present = present[1:]
            codes -= 1
        return ColumnLabels(_canonical(_array_of(values.categories)[present])), codes
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
        levels, codes = learn_integers(values.astype(np.int64))
        return ColumnLabels(levels.astype(values.dtype)), codes
    return _learn_by_hash(values)


def _learn_by_hash(values: Any) -> tuple[ColumnLabels, CodeArray]:
    appearance, found = pd.factorize(values)
    labels = _canonical(found)
    try:
        order = np.asarray(labels.argsort(kind="stable"))
    except TypeError:
        # Labels of several types have no common order.
        return ColumnLabels(labels), appearance.astype(np.int32)
    rank = np.full(order.size + 1, -1, dtype=np.int32)
    rank[order] = np.arange(order.size, dtype=np.int32)
    return ColumnLabels(labels[order]), rank[appearance]


def _plain(values: Any) -> tuple[Any, npt.NDArray[np.bool_] | None]:
    """Nullable and Arrow numbers as a NumPy array and a mask of what is missing."""
    dtype = values.dtype
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


def _canonical(found: Any) -> Any:
    """Distinct labels in the plainest type that holds them."""
    plain, _ = _plain(found)
    if isinstance(plain.dtype, (pd.StringDtype, pd.ArrowDtype)):
        return np.asarray(plain, dtype=object)
    if isinstance(plain.dtype, np.dtype):
        if plain.dtype.kind == "O":
            inferred = pd.Series(plain, dtype=object).infer_objects().to_numpy()
            # Text stays a plain array of objects on every version of pandas.
            plain = inferred if inferred.dtype.kind in _NUMBERS + "mM" else plain
        if plain.dtype.kind in "iu" and plain.dtype != np.uint64:
            return plain.astype(np.int64)
    return plain


def _is_numbers(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind in _NUMBERS


def _is_bool(values: npt.NDArray[Any]) -> bool:
    return values.dtype.kind == "b"


def _all_integral(values: npt.NDArray[Any]) -> bool:
    """Whether all floats are whole numbers that int64 holds (false with any NaN)."""
    largest = 2.0**62
    return bool(
        np.all(values == np.floor(values))
        and np.all(values < largest)
        and np.all(values > -largest)
    )
