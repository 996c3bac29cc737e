"""What counts as a data frame or an array, and how its columns are read.

The libraries a frame may come from are never imported: a frame is known by
what it can do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

NUMERIC_KINDS = "biuf"


def refuse_duplicates(labels: pd.Index) -> None:
    """Refuse two columns of one name.

    Parameters
    ----------
    labels : Index
        The column labels.

    Raises
    ------
    ValueError
        When a label occurs more than once, naming all such.
    """
    if not labels.is_unique:
        twice = ", ".join(repr(name) for name in labels[labels.duplicated()].unique())
        raise ValueError(
            f"X has more than one column named {twice}; rename or drop columns so that each "
            "name occurs once."
        )


def is_foreign_frame(X: Any) -> bool:
    """Whether X is a data frame of another library (polars, narwhals, ...).

    Parameters
    ----------
    X : object
        What the user passed.

    Returns
    -------
    bool
        True for objects with named columns that can be taken one by one.
    """
    columns = getattr(X, "columns", None)
    return (
        isinstance(columns, (list, tuple))
        and all(isinstance(name, str) for name in columns)
        and hasattr(X, "__getitem__")
        and hasattr(X, "shape")
    )


def foreign_column(column: Any) -> Any:
    """One column of another library's data frame as an array this package reads.

    Parameters
    ----------
    column : object
        A column with ``dtype``, ``to_numpy`` and ``to_list``.

    Returns
    -------
    ndarray or pandas ExtensionArray
        Its values; enumerations and categories stay categorical, integers stay
        integers even where some are missing.
    """
    dtype = str(column.dtype)
    if dtype.startswith("Enum"):
        # The order of an enumeration is the order of its levels.
        return pd.Categorical(column.to_list(), categories=list(column.dtype.categories))
    null_count = getattr(column, "null_count", lambda: 0)()
    if null_count and dtype.lower().startswith(("int", "uint")):
        # Plain conversion would turn integers into floats, and large ids into others.
        return pd.array(column.to_list(), dtype="UInt64" if dtype[0] in "uU" else "Int64")
    values = np.asarray(column.to_numpy())
    if dtype.startswith("Categorical"):
        return pd.Categorical(values)
    return values


def as_array(X: Any) -> npt.NDArray[Any]:
    """X as a two-dimensional numeric or object array.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_columns)
        Array or list of lists.

    Returns
    -------
    ndarray of shape (n_rows, n_columns)
        The same array where it is numeric or of objects already.

    Raises
    ------
    ValueError
        When X is not two-dimensional, has no columns or is complex.
    """
    if isinstance(X, np.ndarray) or hasattr(X, "__array__"):
        array = np.asarray(X)
    else:
        array = np.asarray(X)
        if array.dtype.kind not in NUMERIC_KINDS + "c":
            # Lists of numbers and text: as one array the numbers would become text.
            array = np.asarray(X, dtype=object)
    if array.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {array.ndim}D array instead: X must have rows and columns. "
            "Reshape your data either using array.reshape(-1, 1) if your data has a single "
            "feature or array.reshape(1, -1) if it contains a single sample."
        )
    if array.dtype.kind == "c":
        raise ValueError("Complex data not supported: pass the real parts of X as columns.")
    if array.shape[1] == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    return array if array.dtype.kind in NUMERIC_KINDS + "O" else array.astype(object)


def pick_columns(X: Any, names: np.ndarray) -> Any:
    """The columns of a data frame that the formula's model was fitted on, if all are there."""
    columns = getattr(X, "columns", None)
    if columns is None or list(columns) == list(names):
        return X
    return X[list(names)] if set(names) <= set(columns) else X
