"""X again with some of its columns replaced by numbers."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from skmixed.design.table import Table
from skmixed.spec import ColumnKey


def replace_columns(
    X: Any,
    table: Table,
    numbers: Mapping[ColumnKey, np.ndarray],
    container: str,
    further: Mapping[str, np.ndarray] | None = None,
) -> Any:
    """Put numbers in place of columns, and further columns behind them.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n_rows, n_columns)
        What the user passed.
    table : Table
        The same as a table.
    numbers : dict of {column: ndarray of shape (n_rows,)}
        What takes the place of a column, by its label.
    container : {"default", "pandas", "polars"}
        What to return: an array, or a data frame of that library.
    further : dict of {str: ndarray of shape (n_rows,)} or None, default=None
        Columns to add, by name.

    Returns
    -------
    ndarray or DataFrame of shape (n_rows, n_columns + n_further)
        Columns in the order of X, then the further ones. An array has floats, or objects
        where a column that stays is not numeric; in a data frame such columns keep their type.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmixed.design import Table
    >>> from skmixed.design.replaced import replace_columns
    >>> X = pd.DataFrame({"g": ["a", "b"], "x": [1, 2]})
    >>> replace_columns(X, Table.from_input(X), {"g": np.array([0.5, -0.5])}, "default")
    array([[ 0.5,  1. ],
           [-0.5,  2. ]])
    """
    further = further or {}
    if container == "default":
        array = _array(table, numbers)
        return np.column_stack([array, *further.values()]) if further else array
    columns = {
        str(name): numbers[name] if name in numbers else _as_it_came(X, table, name, container)
        for name in table.names
    } | dict(further)
    # Whoever asks for a library's data frames has it; the package itself loads none.
    frame = importlib.import_module(container).DataFrame(columns)
    if container == "pandas" and isinstance(X, pd.DataFrame):
        frame.index = X.index
    return frame


def _array(table: Table, numbers: Mapping[ColumnKey, np.ndarray]) -> np.ndarray:
    numeric = all(name in numbers or _is_numeric(table, name) for name in table.names)
    out = np.empty((table.n_rows, len(table.names)), np.float64 if numeric else object)
    for position, name in enumerate(table.names):
        if name in numbers:
            out[:, position] = numbers[name]
        else:
            out[:, position] = table.numeric(name) if numeric else table.ids(name)
    return out


def _is_numeric(table: Table, name: ColumnKey) -> bool:
    is_date = getattr(table.ids(name).dtype, "kind", "O") in "mM"
    return not is_date and not table.is_categorical(name)


def _as_it_came(X: Any, table: Table, name: ColumnKey, container: str) -> Any:
    """A column in its own type if X is of the library, or else as a plain array."""
    if type(X).__module__.partition(".")[0] != container:
        return np.asarray(table.ids(name))
    return X[name].array if isinstance(X, pd.DataFrame) else X[name]
