"""Labels that are one value in two types: the integer 308, the float 308.0 and the text "308"."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

# "007" and "1e3" are text that somebody wrote, not an integer or a float that became text
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?", re.ASCII)
_LARGEST = 2**63 - 1


def value_key(label: Any) -> int | float | None:
    """The number that a label is or spells.

    Parameters
    ----------
    label : object
        A number, or any other label.

    Returns
    -------
    int, float or None
        Whole numbers as int; None for text that spells no number, and for other labels.

    Examples
    --------
    >>> from skmixed.design.same_value import value_key
    >>> value_key("308"), value_key(308.0), value_key("1.5"), value_key("007")
    (308, 308, 1.5, None)
    """
    if isinstance(label, str):
        if not _NUMBER.fullmatch(label):
            return None
        if "." not in label:
            number: int | float = int(label)
            return number if abs(number) <= _LARGEST else None
        label = float(label)
    elif isinstance(label, (bool, np.bool_)) or not isinstance(
        label, (int, float, np.integer, np.floating)
    ):
        return None
    if isinstance(label, (int, np.integer)):
        return int(label)
    number = float(label)
    whole = np.isfinite(number) and number == np.floor(number)
    return int(number) if whole else number


def number_with_typos(labels: Any) -> Any:
    """The first label that spells no number among labels of which most do.

    Parameters
    ----------
    labels : array-like of shape (n_levels,)
        Distinct labels of a column of text or objects.

    Returns
    -------
    object
        The label; None where all of them spell numbers, or fewer than half do.
    """
    others = [label for label in labels if not _spells_number(label)]
    return others[0] if 0 < 2 * len(others) < len(labels) else None


def _spells_number(label: Any) -> bool:
    if isinstance(label, str):
        try:
            float(label)
        except ValueError:
            return False
        return True
    return value_key(label) is not None


def keyed(labels: Any) -> dict[int | float, int]:
    """Position of each label by the number that it is or spells.

    Parameters
    ----------
    labels : array-like of shape (n_levels,)
        Distinct labels.

    Returns
    -------
    dict
        Numbers that several labels spell, such as "3" and "3.0", are left out.
    """
    found: dict[int | float, int] = {}
    twice: set[int | float] = set()
    for position, label in enumerate(labels):
        key = value_key(label)
        if key is None:
            continue
        if key in found:
            twice.add(key)
        found[key] = position
    return {key: position for key, position in found.items() if key not in twice}


def one_value_in_two_types(labels: npt.NDArray[Any]) -> tuple[Any, Any] | None:
    """Two labels of different types that are one value, such as 3 and "3".

    Parameters
    ----------
    labels : ndarray of shape (n_levels,) and dtype object
        Distinct labels.

    Returns
    -------
    tuple or None
        The first such pair, the number first.
    """
    is_text = np.array([isinstance(label, str) for label in labels], dtype=np.bool_)
    if is_text.all() or not is_text.any():
        return None
    numbers = keyed(labels[~is_text])
    for text in labels[is_text]:
        key = value_key(text)
        if key is not None and key in numbers:
            return labels[~is_text][numbers[key]], text
    return None


def in_type_of(found: npt.NDArray[Any], labels: Any) -> npt.NDArray[Any]:
    """Distinct values, those in another type than the labels turned into their type.

    Parameters
    ----------
    found : ndarray of shape (n_values,) and dtype object
        Distinct values of new rows.
    labels : ndarray of shape (n_levels,)
        The labels that are known, all numbers or all text.

    Returns
    -------
    ndarray of shape (n_values,) and dtype object
        Text that spells a number as that number, where labels are numbers; numbers as text
        where all labels spell numbers. Everything else as it is.
    """
    result = found.copy()
    if labels.dtype.kind in "iuf":
        for position, value in enumerate(found):
            key = value_key(value)
            if isinstance(value, str) and key is not None:
                result[position] = key
        return result
    spelt = keyed(labels)
    if len(spelt) < len(labels):
        return result
    for position, value in enumerate(found):
        key = None if isinstance(value, str) else value_key(value)
        if key is not None:
            result[position] = labels[spelt[key]] if key in spelt else str(key)
    return result


def refuse_rounded(values: Any, column: Any) -> None:
    """Refuse labels that are floats beyond the whole numbers that floats can tell apart.

    Parameters
    ----------
    values : ndarray or pandas ExtensionArray of shape (n_rows,)
        A grouping or categorical column.
    column : str or int
        Its name, for the error.

    Raises
    ------
    ValueError
        If a label is a float of at least 2**53 (2**24 in single precision).
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = np.asarray(values.categories)
    elif pd.api.types.is_float_dtype(values.dtype) and not isinstance(values.dtype, np.dtype):
        values = values.to_numpy(dtype=np.float64, na_value=np.nan)
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fO" or not values.size:
        return
    if values.dtype.kind == "O":
        floats = [v for v in pd.unique(values) if isinstance(v, (float, np.floating))]
        values = np.array(floats, dtype=np.float64)
    limit = 2.0 ** (np.finfo(values.dtype).nmant + 1)
    largest = max(np.fmax.reduce(values, initial=0.0), -np.fmin.reduce(values, initial=0.0))
    if np.isinf(largest):
        largest = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    if largest >= limit:
        digits = int(np.log2(limit))
        raise ValueError(
            f"Column {column!r} holds the label {largest:.17g} as a float, and beyond 2**{digits} "
            "floats cannot tell neighbouring whole numbers apart: different ids would become one. "
            "Integers become floats where a value is missing, or in an array with floats. Read "
            f"the column as integers or text: X[{column!r}].astype('Int64') before anything "
            "rounds it, or dtype=str where the file is read."
        )
