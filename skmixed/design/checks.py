"""Checks of columns that are used as numbers, and names in messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LETTERS_SHOWN = 100
# Beyond it the square of a number overflows, or is 0: no variance can be computed.
LARGEST = 1e150
_FIRST_ROWS = 1000


def shortened(name: Any) -> str:
    """Write a name for a message, cut where it would fill the screen.

    Parameters
    ----------
    name : object
        What a user passed as the name of a column.

    Returns
    -------
    str
        As Python writes it; after 100 letters three dots.

    Examples
    --------
    >>> from skmixed.design.checks import shortened
    >>> shortened("days"), len(shortened("x + " * 1000))
    ("'days'", 103)
    """
    text = repr(name)
    return text if len(text) <= LETTERS_SHOWN else f"{text[:LETTERS_SHOWN]}..."


def plain(value: Any) -> Any:
    """A value for a message, as Python writes it and not as NumPy does.

    Parameters
    ----------
    value : object
        An entry of a column.

    Returns
    -------
    object
        A number or text of Python; of a date its text.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.design.checks import plain
    >>> plain(np.int64(3)), plain(np.datetime64("2020-01-01"))
    (3, '2020-01-01')
    """
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return str(value)
    return value.item() if isinstance(value, np.generic) else value


def require_finite(values: npt.NDArray[np.float64], name: Any) -> None:
    """Refuse missing and infinite values in a column that is used.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
        The values.
    name : str or int
        How the column is called in the error.

    Raises
    ------
    ValueError
        If a value is NaN or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.design.checks import require_finite
    >>> require_finite(np.array([1.0, 2.0]), "x")
    """
    # The sum of finite numbers is finite unless it overflows, and costs no temporary array.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):
            return
    bad = ~np.isfinite(values)
    if not bad.any():
        return
    missing = np.isnan(values)
    if values.size == 1 and missing.all():
        raise ValueError(
            f"Input X contains NaN in column {name!r}: the number in row 0 is missing, "
            "but the model needs it; fill it, for instance with sklearn.impute.SimpleImputer in "
            "a Pipeline."
        )
    if missing.all():
        raise ValueError(
            f"Input X contains NaN in column {name!r}: all {values.size} values are missing "
            "(0 non-NA cases); remove the column from the model or fill it."
        )
    if missing.any():
        raise ValueError(
            f"Input X contains NaN in column {name!r}: {int(missing.sum())} missing value(s), the "
            f"first in row {int(missing.argmax())}; drop these rows or fill them, for "
            "instance with sklearn.impute.SimpleImputer in a Pipeline."
        )
    row = int(bad.argmax())
    raise ValueError(
        f"Input X contains infinity in column {name!r}: the first is {values[row]} in row "
        f"{row}; correct or drop these rows."
    )


def require_range(
    columns: npt.NDArray[np.float64], names: Sequence[str], *, smallest: float = 0.0
) -> None:
    """Refuse columns whose squares are not numbers of floating point.

    Parameters
    ----------
    columns : ndarray of shape (n_rows, n_columns)
        Finite values.
    names : sequence of str
        How the columns are called in the error.
    smallest : float, default=0
        Least size of the largest absolute value of a column that is not 0 throughout.

    Raises
    ------
    ValueError
        If a column has a value beyond 1e150, or all of its values are too small.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.design.checks import require_range
    >>> require_range(np.array([[1e120], [-1.0]]), ["x"])
    """
    if columns.size == 0:
        return
    # one pass over all columns at once is cheap; each by itself is looked at where that says so
    within = columns.min() >= -LARGEST and columns.max() <= LARGEST
    if within and (np.abs(columns[:_FIRST_ROWS]).max(axis=0) >= smallest).all():
        return
    sizes = np.maximum(columns.max(axis=0), -columns.min(axis=0))
    bad = (sizes > LARGEST) | ((sizes > 0.0) & (sizes < smallest))
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(
            f"Column {names[first]!r} has a largest absolute value of {sizes[first]:.3g}: its "
            "square overflows or vanishes; rescale the column."
        )
