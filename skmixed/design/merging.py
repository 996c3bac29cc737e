"""Labels of two parts of the data as the labels of all of it.

What two parts learnt on their own is put together so that the result does
not depend on where the data were cut: labels and their order are those that
`learn_labels` finds in all rows at once, and pieces may be merged in any tree.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skmixed.design.integers import CodeArray
from skmixed.design.labels import ColumnLabels, Declared, as_objects, midnights

Merged = tuple[ColumnLabels, CodeArray, CodeArray]

_SAMPLE = 64


def merge_labels(left: ColumnLabels, right: ColumnLabels) -> Merged:
    """The labels of both parts, and the new code of each old one.

    Labels of columns that declared the same categories keep the order of the
    categories. All others are merged by value: in ascending order where they
    have one, which is also how they are ordered where categories differ. Labels
    without a common order (text and numbers) come by first appearance where
    both parts remember it, else by type and within a type ascending.

    Parameters
    ----------
    left, right : ColumnLabels
        Labels of the earlier and of the later rows.

    Returns
    -------
    labels : ColumnLabels
        All labels.
    of_left, of_right : ndarray of dtype int32
        The new code of each label of either part.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.design.labels import learn_labels
    >>> from skmixed.design.merging import merge_labels
    >>> left, _ = learn_labels(np.array([1, 5]))
    >>> right, _ = learn_labels(np.array([5, 3]))
    >>> labels, of_left, of_right = merge_labels(left, right)
    >>> labels.values.tolist(), of_left.tolist(), of_right.tolist()
    ([1, 3, 5], [0, 2], [1, 2])
    """
    if left.declared is not None and right.declared is not None:
        categories = left.declared.categories
        if categories is right.declared.categories or _same(categories, right.declared.categories):
            return _merge_declared(left, left.declared, right.declared)
    elif left.declared is right.declared and _same_values(left.values, right.values):
        known = left.seen is None or right.seen is not None
        labels = left if known else ColumnLabels(left.values)
        return labels, _identity(len(left)), _identity(len(left))
    joined = _join(left.values, right.values)
    seen = _seen(left, right)
    try:
        values, codes = unique_ascending(joined)
    except (TypeError, ValueError):
        return _merge_unordered(joined, len(left), seen)
    appeared = None
    if seen is not None:
        first, second = np.split(codes[seen], [len(left)])
        is_new = np.ones(len(values), dtype=np.bool_)
        is_new[first] = False
        appeared = np.concatenate([first, second[is_new[second]]])
    return ColumnLabels(values, seen=appeared), codes[: len(left)], codes[len(left) :]


def unique_ascending(joined: Any) -> tuple[Any, CodeArray]:
    """Distinct values in ascending order, and the rank of every value.

    Parameters
    ----------
    joined : ndarray or pandas ExtensionArray of shape (n,)
        Values; fastest where they are two ascending sequences, one after the other.

    Returns
    -------
    values : ndarray or pandas ExtensionArray of shape (n_levels,)
        The distinct values.
    codes : ndarray of shape (n,) and dtype int32
        Position of each value among them.

    Raises
    ------
    TypeError, ValueError
        When the values have no common order.
    """
    # A stable sort finds the two ascending runs and merges them in linear time.
    order = np.asarray(joined.argsort(kind="stable"))
    ranked = joined[order]
    fresh = np.ones(len(order), dtype=np.bool_)
    fresh[1:] = ~np.asarray(ranked[1:] == ranked[:-1], dtype=np.bool_)
    codes = np.empty(len(order), dtype=np.int32)
    codes[order] = np.cumsum(fresh, dtype=np.int64) - 1
    return ranked[fresh], codes


def _merge_declared(left: ColumnLabels, here: Declared, there: Declared) -> Merged:
    if np.array_equal(here.positions, there.positions):
        return left, _identity(len(left)), _identity(len(left))
    positions, codes = unique_ascending(np.concatenate([here.positions, there.positions]))
    declared = Declared(here.categories, positions)
    return ColumnLabels(declared.labels(), declared), codes[: len(left)], codes[len(left) :]


def _merge_unordered(joined: Any, n_left: int, seen: npt.NDArray[np.intp] | None) -> Merged:
    """Merge labels that cannot be compared with each other."""
    codes = np.empty(len(joined), dtype=np.int32)
    if seen is not None:
        codes[seen], found = pd.factorize(joined[seen])
        labels = ColumnLabels(found, seen=_identity(len(found)))
    else:
        appearance, found = pd.factorize(joined)
        order = _order_by_type(found)
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = _identity(len(order))
        codes[:] = rank[appearance]
        labels = ColumnLabels(found[order])
    return labels, codes[:n_left], codes[n_left:]


def _order_by_type(found: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """An order of any labels that depends on nothing but the labels."""
    types = np.frompyfunc(_type_name, 1, 1)(found)
    order = []
    for name in sorted(set(types)):
        members = np.flatnonzero(types == name)
        try:
            within = found[members].argsort(kind="stable")
        except (TypeError, ValueError):
            within = np.frompyfunc(repr, 1, 1)(found[members]).argsort(kind="stable")
        order.append(members[within])
    return np.concatenate(order)


def _type_name(label: Any) -> str:
    # Numbers are one type: 1, 1.0 and True are the same label.
    is_number = isinstance(label, (bool, int, float, np.bool_, np.integer, np.floating))
    return "" if is_number else f"{type(label).__module__}.{type(label).__qualname__}"


def _seen(left: ColumnLabels, right: ColumnLabels) -> npt.NDArray[np.intp] | None:
    """Positions in the joined labels in order of appearance, where it is known."""
    if left.seen is None or right.seen is None:
        return None
    return np.concatenate([left.seen, right.seen.astype(np.intp) + len(left)])


def _identity(n: int) -> CodeArray:
    return np.arange(n, dtype=np.int32)


def _same(left: pd.Index, right: pd.Index) -> bool:
    return len(left) == len(right) and left.equals(right)


def _same_values(left: Any, right: Any) -> bool:
    if len(left) != len(right) or left.dtype != right.dtype:
        return False
    # Labels that differ mostly do so early on, which saves comparing all of them.
    return all(
        np.all(np.asarray(left[some] == right[some], dtype=np.bool_))
        for some in (slice(_SAMPLE), slice(_SAMPLE, None))
    )


def _join(left: Any, right: Any) -> Any:
    """Labels of both parts in a type that holds each of them exactly."""
    if "M" in (left.dtype.kind, right.dtype.kind):
        left, right = (_without_index(midnights(part)) for part in (left, right))
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        if left.dtype == right.dtype:
            return np.concatenate([left, right])
        if left.dtype.kind in "biuf" and right.dtype.kind in "biuf":
            for dtype in _common_types(left.dtype, right.dtype):
                if _is_exact(left, dtype) and _is_exact(right, dtype):
                    return np.concatenate([left.astype(dtype), right.astype(dtype)])
    if left.dtype == right.dtype or (left.dtype.kind in "mM" and right.dtype.kind in "mM"):
        try:
            joined = pd.Index(left).append(pd.Index(right))
            return joined.to_numpy() if isinstance(joined.dtype, np.dtype) else joined.array
        except (pd.errors.OutOfBoundsDatetime, pd.errors.OutOfBoundsTimedelta):
            # The finer of two units of time does not reach as far as the other.
            pass
    return np.concatenate([as_objects(left), as_objects(right)])


def _without_index(values: Any) -> Any:
    """The array behind an index, as labels are kept."""
    return np.asarray(values) if isinstance(values, pd.DatetimeIndex) else values


def _common_types(left: np.dtype[Any], right: np.dtype[Any]) -> list[np.dtype[Any]]:
    if "f" in (left.kind, right.kind):
        return [np.result_type(left, right)]
    return [np.dtype(np.int64), np.dtype(np.uint64)]


def _is_exact(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Whether a type of numbers holds all these numbers unchanged."""
    if values.size == 0 or values.dtype.kind in "bf":
        return True
    lowest, highest = int(values.min()), int(values.max())
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return bool(limits.min <= lowest and highest <= limits.max)
    # Beside a float an integer would be rounded before it is compared.
    cast = values.astype(dtype)
    within = float(highest) < 2.0 ** (64 if values.dtype == np.uint64 else 63)
    return within and bool(np.all(cast.astype(values.dtype) == values))
