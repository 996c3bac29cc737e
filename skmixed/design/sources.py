"""What counts as a data frame or an array, and how its columns are read.

The libraries a frame may come from are never imported: a frame is known by
what it can do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing

NUMERIC_KINDS = "biuf"

_READERS = ("toPandas", "collect", "execute", "read_all", "to_table", "df")
"""What reads the rows of data that are not in memory, in the order to be recommended."""

_NESTED_OR_WIDE = ("Struct", "List", "Array", "Int128", "UInt128")
"""Types of polars that NumPy cannot hold value by value."""


def refuse_duplicates(labels: pd.Index) -> None:
    """Refuse two columns of one name.

    Parameters
    ----------
    labels : Index
        The column labels.

    Raises
    ------
    ValueError
        If a label occurs more than once, naming all such.
    """
    if not labels.is_unique:
        twice = ", ".join(repr(name) for name in labels[labels.duplicated()].unique())
        raise ValueError(
            f"X has more than one column named {twice}; rename or drop columns so that each "
            "name occurs once."
        )


def readable(X: Any) -> Any:
    """X in the form in which its columns can be taken one by one.

    Parameters
    ----------
    X : object
        What the user passed.

    Returns
    -------
    object
        The frame inside one of narwhals, the pandas form of a table of pyarrow
        (or of another library that offers one), else X as it is.

    Raises
    ------
    TypeError
        If the rows are not in memory, or are there in a form that is no table,
        naming the call that makes one.
    """
    if isinstance(X, pd.DataFrame):
        return X
    if hasattr(X, "to_native"):
        X = X.to_native()
    if isinstance(X, (pd.DataFrame, np.ndarray, list, tuple)) or issparse(X):
        return X
    library = type(X).__module__.split(".")[0]
    kind = f"{library} {type(X).__name__}".removeprefix("builtins ")
    # Methods of the class: some frames have their columns as attributes.
    readers = (*_READERS, "compute") if hasattr(X, "map_partitions") else _READERS
    reader = next((name for name in readers if hasattr(type(X), name)), None)
    if reader is not None:
        raise TypeError(
            f"X is a {kind}, whose rows are not in memory; pass the data frame X.{reader}()."
        )
    if is_foreign_frame(X):
        return X
    if hasattr(X, "to_pandas"):
        return X.to_pandas()
    if hasattr(X, "__arrow_c_stream__") and not hasattr(X, "__array__"):
        raise TypeError(f"X is a {kind}, not a data frame; pass pyarrow.table(X).")
    if isinstance(X, (str, bytes, dict)):
        raise TypeError(f"X is a {kind}, not a data frame; pass pandas.DataFrame(X).")
    return X


def take_rows(X: Any, rows: npt.NDArray[np.integer[Any]]) -> Any:
    """Some rows of X, whatever it is.

    Parameters
    ----------
    X : object
        What the user passed.
    rows : ndarray of int
        Positions.
    """
    return _safe_indexing(readable(X), rows)


def is_foreign_frame(X: Any) -> bool:
    """Whether X is a data frame of another library, such as polars.

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
        and (not columns or hasattr(X[columns[0]], "to_numpy"))
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
        integers even where some are missing, dates stay dates and time zones are kept.
    """
    dtype = str(column.dtype)
    if dtype.startswith("Enum"):
        # The order of an enumeration is the order of its levels.
        return pd.Categorical(column.to_list(), categories=list(column.dtype.categories))
    if dtype.startswith(_NESTED_OR_WIDE):
        return _objects(column.to_list())
    null_count = getattr(column, "null_count", lambda: 0)()
    if null_count and dtype.lower().startswith(("int", "uint")):
        # Plain conversion would turn integers into floats, and large ids into others.
        return pd.array(column.to_list(), dtype="UInt64" if dtype[0] in "uU" else "Int64")
    values = np.asarray(column.to_numpy())
    if dtype.startswith("Categorical"):
        return pd.Categorical(values)
    if dtype == "Date":
        return values.astype("datetime64[D]").astype(object)
    if getattr(column.dtype, "time_zone", None) is not None:
        # The plain values are those of UTC.
        return pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(column.dtype.time_zone).array
    return values


def is_numeric_dtype(dtype: Any) -> bool:
    """Whether pandas holds numbers (booleans too) under this type of its own.

    Parameters
    ----------
    dtype : dtype
        Of a column.

    Returns
    -------
    bool
        False for categories, of numbers too, and for complex numbers.
    """
    return bool(
        not isinstance(dtype, pd.CategoricalDtype)
        and (pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_bool_dtype(dtype))
        and not pd.api.types.is_complex_dtype(dtype)
    )


def _objects(values: list[Any]) -> npt.NDArray[Any]:
    """One object a row, even where the objects are lists."""
    array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        array[row] = value
    return array


def as_vector(values: Any) -> Any:
    """A response or weights in a form whose type NumPy and scikit-learn read right.

    Parameters
    ----------
    values : object
        What the user passed: a column of any library, an array or a list.

    Returns
    -------
    object
        Numbers in nullable or Arrow types as plain ones, missing as NaN; an enumeration
        of polars as ordered categories; anything else as it is.
    """
    dtype = getattr(values, "dtype", None)
    if isinstance(values, pd.Series) and isinstance(dtype, np.dtype):
        return values
    if hasattr(values, "to_native"):
        return as_vector(values.to_native())
    if hasattr(values, "to_list") and hasattr(values, "to_numpy") and not _is_pandas(values):
        column = foreign_column(values)
        is_enum = str(dtype).startswith("Enum")
        return as_vector(column.as_ordered() if is_enum else column)
    if isinstance(dtype, np.dtype) or not _is_pandas(values):
        return values
    plain = getattr(dtype, "numpy_dtype", np.dtype(object))
    if plain.kind in NUMERIC_KINDS:
        complete = not values.isna().any()
        return np.asarray(values.to_numpy(plain if complete else np.float64, na_value=np.nan))
    if str(dtype).startswith("decimal"):
        return values.astype(np.float64)
    return values


def _is_pandas(values: Any) -> bool:
    return isinstance(values, (pd.Series, pd.Index, pd.api.extensions.ExtensionArray))


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
        If X is not two-dimensional, has no columns or is complex.
    """
    if isinstance(X, np.ndarray) or hasattr(X, "__array__"):
        array = np.asarray(X)
    else:
        try:
            array = np.asarray(X)
        except ValueError as error:
            raise ValueError(
                f"X is not a table of numbers and labels: {error} Pass rows of equal length with "
                "numbers or text."
            ) from None
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
    X = readable(X)
    columns = getattr(X, "columns", None)
    if columns is None or list(columns) == list(names):
        return X
    return X[list(names)] if set(names) <= set(columns) else X


def add_spare_columns(X: Any, names: npt.NDArray[Any], spare: frozenset[Any]) -> Any:
    """X with empty columns in the place of absent ones that a prediction does not look at.

    Parameters
    ----------
    X : object
        What the user passed.
    names : ndarray of str
        Columns of the fit, in order.
    spare : frozenset
        Those of them that are not looked at.

    Returns
    -------
    object
        X as it is where no such column is absent; else a pandas data frame.
    """
    columns = getattr(X, "columns", None)
    if columns is None:
        return X
    absent = [name for name in names if name not in set(columns)]
    if not absent or not spare.issuperset(absent):
        return X
    frame = (
        X
        if isinstance(X, pd.DataFrame)
        else pd.DataFrame({name: foreign_column(X[name]) for name in columns})
    )
    frame = frame.assign(**dict.fromkeys(absent, None))
    return frame[list(names)] if set(columns) <= set(names) else frame
