"""A read-only view of the X a user passes, one column at a time.

Data frames of pandas and polars, arrays and lists of lists all answer the
same few questions here; nothing below this module knows which of them it was.
"""

from __future__ import annotations

import difflib
import operator
from collections.abc import Sequence
from numbers import Number
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import issparse

from skmixed.design.checks import LETTERS_SHOWN, plain, shortened
from skmixed.design.sources import (
    NUMERIC_KINDS,
    as_array,
    foreign_column,
    is_foreign_frame,
    is_numeric_dtype,
    readable,
    refuse_duplicates,
)
from skmixed.spec import ColumnKey
from skmixed.threads import share_rows

FloatArray = npt.NDArray[np.float64]

_NAMES_SHOWN = 20
_PIECE = 8192
# What pandas calls object columns whose values are all numbers or missing.
_NUMERIC_CONTENT = ("integer", "floating", "mixed-integer-float", "decimal", "boolean", "empty")
_CALENDAR_CONTENT = ("date", "datetime", "datetime64", "timedelta", "timedelta64")


class Table:
    """The columns of X, addressed by label or by position.

    Build it with `Table.from_input`; nothing is copied until a column is
    asked for, and numeric columns not even then where memory allows.

    Parameters
    ----------
    source : DataFrame or ndarray of shape (n_rows, n_columns)
        The data: a pandas data frame, another data frame whose columns have
        ``to_numpy``, or an array.
    names : sequence
        Label of each column.
    n_rows : int
        Number of rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmixed.design.table import Table
    >>> table = Table.from_input(pd.DataFrame({"x": [1, 2], "g": ["a", "b"]}))
    >>> table.numeric("x")
    array([1., 2.])
    >>> table.is_categorical("g")
    True
    """

    def __init__(self, source: Any, names: Sequence[Any], n_rows: int) -> None:
        self._source = source
        self.names: tuple[Any, ...] = tuple(names)
        self.n_rows = n_rows
        self._positions = {name: position for position, name in enumerate(self.names)}
        self._converted: dict[int, Any] = {}
        self._categorical: dict[int, bool] = {}

    @classmethod
    def from_input(cls, X: Any) -> Table:
        """View X as a table.

        Parameters
        ----------
        X : DataFrame, array-like of shape (n_rows, n_columns)
            Data frame of pandas, polars or narwhals, table of pyarrow, numeric or
            object array, list of lists.

        Returns
        -------
        Table
            The view.

        Raises
        ------
        ValueError
            If X has no rows, is not two-dimensional, is complex or has two
            columns of one name.
        TypeError
            If X is sparse, or is data whose rows have not been read.
        """
        if issparse(X):
            raise TypeError(
                "Sparse data was passed for X, but dense data is required; use X.toarray(), or "
                "OneHotEncoder(sparse_output=False) and ColumnTransformer(sparse_threshold=0) "
                "where one of these made X."
            )
        X = readable(X)
        if isinstance(X, pd.DataFrame):
            refuse_duplicates(X.columns)
            # faster than `tolist` where the labels are text
            table = cls(X, list(X.columns), len(X))
        elif is_foreign_frame(X):
            refuse_duplicates(pd.Index(X.columns))
            table = cls(X, list(X.columns), int(X.shape[0]))
        else:
            array = as_array(X)
            table = cls(array, range(array.shape[1]), array.shape[0])
        if table.n_rows == 0:
            raise ValueError(
                f"Found array with 0 sample(s) (shape=(0, {len(table.names)})) "
                "while a minimum of 1 is required."
            )
        return table

    @property
    def is_array(self) -> bool:
        """Whether X is one numeric array, so that `block` takes columns at once."""
        return isinstance(self._source, np.ndarray) and self._source.dtype.kind in NUMERIC_KINDS

    def position(self, key: Any) -> int:
        """Find a column.

        Parameters
        ----------
        key : str or int
            Label, or position where no label is equal; negative positions
            count from the end.

        Returns
        -------
        int
            Its position, 0-based.

        Raises
        ------
        ValueError
            If there is no such column, naming similar ones.
        """
        try:
            if key in self._positions:
                return self._positions[key]
            position = None if isinstance(key, str) else operator.index(key)
        except TypeError:
            raise self._unknown(key) from None
        if position is None:
            # A formula can only write text: `3` in backticks is the column 3.
            same_text = [i for i, name in enumerate(self.names) if str(name) == key]
            if len(same_text) == 1:
                return same_text[0]
            raise self._unknown(key)
        if not -len(self.names) <= position < len(self.names):
            raise ValueError(
                f"Column {key!r} does not exist: X has {len(self.names)} column(s), "
                f"so positions run from 0 to {len(self.names) - 1}; check the number."
            )
        return position % len(self.names)

    def label(self, key: Any) -> ColumnKey:
        """Label of the column that `key` addresses.

        Parameters
        ----------
        key : str or int
            Label or position.

        Returns
        -------
        str or int
            The label; two keys of one column give the same.
        """
        label: ColumnKey = self.names[self.position(key)]
        return label

    def is_categorical(self, key: Any) -> bool:
        """Whether a column holds labels rather than numbers.

        Text, pandas categories and object columns with anything but numbers
        are categorical; booleans are the numbers 0 and 1, dates are neither.

        Parameters
        ----------
        key : str or int
            Label or position of the column.

        Returns
        -------
        bool
            True for labels.

        Raises
        ------
        TypeError
            If an object column holds containers such as dicts.
        """
        position = self.position(key)
        if position not in self._categorical:
            self._categorical[position] = self._holds_labels(position)
        return self._categorical[position]

    def ids(self, key: Any) -> Any:
        """Values of a column as they are, to be encoded as levels.

        Parameters
        ----------
        key : str or int
            Label or position of the column.

        Returns
        -------
        ndarray or pandas ExtensionArray of shape (n_rows,)
            The values; not to be written to.
        """
        return self._column(self.position(key))

    def numeric(self, key: Any) -> FloatArray:
        """Values of a column as numbers.

        Parameters
        ----------
        key : str or int
            Label or position of the column.

        Returns
        -------
        ndarray of shape (n_rows,) and dtype float64
            The values, missing ones as NaN; not to be written to.

        Raises
        ------
        ValueError
            If a value is not a number, naming the column and the value.
        """
        position = self.position(key)
        values = self._column(position)
        if isinstance(values, np.ndarray):
            if values.dtype.kind in NUMERIC_KINDS:
                return np.asarray(values, dtype=np.float64)
        elif is_numeric_dtype(values.dtype):
            return np.asarray(values.to_numpy(dtype=np.float64, na_value=np.nan))
        if self.is_categorical(position) or _is_calendar(values):
            row, value = self.first_non_number(position)
            raise ValueError(
                f"Column {self.names[position]!r} cannot be read as numbers: row {row} holds "
                f"{plain(value)!r}; convert the column to numbers, or use it as a grouping column "
                "in random_effects or as a categorical column C(...) in formula."
            )
        missing = pd.isna(values)
        numbers = np.full(self.n_rows, np.nan)
        try:
            numbers[~missing] = np.asarray(values, dtype=object)[~missing].astype(np.float64)
        except (TypeError, OverflowError) as error:
            raise ValueError(
                f"Column {self.names[position]!r} cannot be read as numbers of double precision: "
                f"{error}; convert or drop the column."
            ) from None
        return numbers

    def block(self, keys: Sequence[Any], *, out: FloatArray | None = None) -> FloatArray:
        """Several numeric columns at once.

        Parameters
        ----------
        keys : sequence of str or int
            Labels or positions of the columns.
        out : ndarray of shape (n_rows, len(keys)) and dtype float64, optional
            Where to write the values.

        Returns
        -------
        ndarray of shape (n_rows, len(keys)) and dtype float64
            `out`, or else a view of X where possible, not to be written to.

        Raises
        ------
        ValueError
            If a value is not a number.
        """
        positions = [self.position(key) for key in keys]
        if out is None:
            everything = positions == list(range(len(self.names)))
            source = self._source
            if self.is_array:
                return np.asarray(source if everything else source[:, positions], dtype=np.float64)
            if isinstance(source, pd.DataFrame) and positions:
                dtypes = source.dtypes.iloc[positions]
                if all(isinstance(d, np.dtype) and d.kind in NUMERIC_KINDS for d in dtypes):
                    part = source if everything else source.iloc[:, positions]
                    return part.to_numpy(dtype=np.float64)
            out = np.empty((self.n_rows, len(positions)))
        columns = [self._numbers(position) for position in positions]

        # A piece of all columns stays in the cache until its rows are complete.
        def fill(first: int, end: int) -> None:
            for start in range(first, end, _PIECE):
                rows = slice(start, min(start + _PIECE, end))
                for position, column in enumerate(columns):
                    out[rows, position] = column[rows]

        share_rows(fill, self.n_rows)
        return out

    def _numbers(self, position: int) -> npt.NDArray[Any]:
        """Values of one column in any type of numbers that NumPy has."""
        values = self._column(position)
        if isinstance(values, np.ndarray) and values.dtype.kind in NUMERIC_KINDS:
            return values
        return self.numeric(position)

    def _column(self, position: int) -> Any:
        """Values of one column: ndarray, or a pandas array where numpy has no such type."""
        source = self._source
        if isinstance(source, np.ndarray):
            return source[:, position]
        if position not in self._converted:
            is_pandas = isinstance(source, pd.DataFrame)
            name = self.names[position]
            # names are unique, and pandas finds text faster than positions
            by_name = not is_pandas or type(name) is str
            column = source[name] if by_name else source.iloc[:, position]
            read = _pandas_column if is_pandas else foreign_column
            self._converted[position] = read(column)
        return self._converted[position]

    def _holds_labels(self, position: int) -> bool:
        values = self._column(position)
        if isinstance(values.dtype, pd.CategoricalDtype):
            return True
        if not isinstance(values.dtype, np.dtype):
            return not is_numeric_dtype(values.dtype) and values.dtype.kind not in "mM"
        if values.dtype.kind != "O":
            return values.dtype.kind in "US"
        content = pd.api.types.infer_dtype(values, skipna=True)
        if content in _NUMERIC_CONTENT + _CALENDAR_CONTENT:
            return False
        if content in ("string", "categorical"):
            return True
        for row, value in enumerate(values):
            if isinstance(value, (dict, list, set, tuple, np.ndarray)):
                raise TypeError(
                    f"Column {self.names[position]!r} holds a {type(value).__name__} in row "
                    f"{row}, but its argument must be a string or a number; "
                    "drop the column, or split its content into several columns."
                )
        return any(not _is_number(value) for value in values[~pd.isna(values)])

    def first_non_number(self, key: Any) -> tuple[int, Any]:
        """Row and value of the first entry of a column that is not a number.

        Parameters
        ----------
        key : str or int
            Label or position of a column that has one.

        Returns
        -------
        row : int
            Its position in the data the user passed.
        value : object
            The entry.
        """
        values = self._column(self.position(key))
        present = np.flatnonzero(~np.asarray(pd.isna(values))).tolist() or [0]
        # In a pandas category of numbers the first value stands for all of them.
        found = next((row for row in present if not _is_number(values[row])), present[0])
        return found, values[found]

    def _unknown(self, key: Any) -> ValueError:
        if not any(isinstance(name, str) for name in self.names):
            return self._without_names(key)
        texts = [str(name) for name in self.names]
        # whole formulas arrive here where a name was expected
        written = str(key)[:LETTERS_SHOWN]
        close = difflib.get_close_matches(written, texts, n=3)
        hint = f" Did you mean {', '.join(map(shortened, close))}?" if close else ""
        prefixed = [name for name in texts if name.endswith(f"__{written}")]
        if prefixed:
            hint = (
                f" Did you mean {', '.join(map(shortened, prefixed))}? A ColumnTransformer or "
                "FeatureUnion put the names of its steps in front: "
                "verbose_feature_names_out=False leaves the names as they were."
            )
        shown = ", ".join(shortened(name) for name in self.names[:_NAMES_SHOWN])
        more = len(self.names) - _NAMES_SHOWN
        shown += f" and {more} more" if more > 0 else ""
        return ValueError(
            f"Column {shortened(key)} is not in X.{hint} X has the columns: {shown or 'none'}."
        )

    def _without_names(self, key: Any) -> ValueError:
        """What to do where a name was written and columns have positions alone."""
        n_columns = len(self.names)
        kind = "an array" if isinstance(self._source, np.ndarray) else "a data frame"
        return ValueError(
            f"Column {shortened(key)} is not in X, which is {kind} of {n_columns} column(s) "
            f"without names. Write positions, 0 to {n_columns - 1} (in a formula in backticks), "
            "if a tool such as BaggingClassifier passes all columns as an array. A step of "
            "a Pipeline keeps names with set_output(transform='pandas'): ColumnTransformer(..., "
            "verbose_feature_names_out=False), OneHotEncoder(sparse_output=False). RFE and "
            "SequentialFeatureSelector pass a subset of the columns, so names and "
            "positions are lost: compare lists of fixed_effects= with GridSearchCV instead."
        )


def _pandas_column(series: pd.Series) -> Any:
    if isinstance(series.dtype, np.dtype):
        return series.to_numpy()
    if isinstance(series.dtype, pd.ArrowDtype) and not is_numeric_dtype(series.dtype):
        # text, dates and dictionaries of Arrow are read as plain arrays of values
        return np.asarray(series)
    return series.array


def _is_number(value: Any) -> bool:
    return isinstance(value, (Number, np.bool_)) and not isinstance(value, complex)


def _is_calendar(values: Any) -> bool:
    """Whether a column holds dates or durations, as a type of its own or as objects."""
    kind = getattr(values.dtype, "kind", "O")
    return kind in "mM" or (kind == "O" and pd.api.types.infer_dtype(values) in _CALENDAR_CONTENT)
