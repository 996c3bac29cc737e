"""Checks of single arrays and numbers of a stored model."""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np


def refuse(name: str, found: str, expected: str) -> NoReturn:
    """Raise the error of all checks here.

    Parameters
    ----------
    name : str
        Which part of the stored model.
    found, expected : str
        What it is, and what it should be.

    Raises
    ------
    ValueError
    """
    raise ValueError(
        f"The stored model is damaged or was altered: {name} is {found}, but should be "
        f"{expected}. Load it from an intact copy, or fit the model again."
    )


def require(holds: bool, name: str, found: str, expected: str) -> None:
    """Raise ValueError unless a statement about a part of the model holds.

    Parameters
    ----------
    holds : bool
    name, found, expected : str
        As for `refuse`.

    Examples
    --------
    >>> from skmixed.persistence.arrays import require
    >>> require(True, "n_levels", "3", "3")
    """
    if not holds:
        refuse(name, found, expected)


def require_array(
    name: str, values: Any, shape: tuple[int | None, ...], dtype: type = np.float64
) -> None:
    """Raise ValueError unless `values` is an array that a kernel can read without looking.

    Parameters
    ----------
    name : str
        Which part of the stored model.
    values : object
        What was stored.
    shape : tuple of int or None
        None allows any length.
    dtype : type, default=numpy.float64
        Exact type of the entries; of floats none may be NaN.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.persistence.arrays import require_array
    >>> require_array("center", np.zeros(2), (2,))
    >>> require_array("center", np.zeros(3), (2,))
    Traceback (most recent call last):
    ...
    ValueError: The stored model is damaged or was altered: center is float64 of shape (3,), ...
    """
    expected = f"{np.dtype(dtype)} of shape {shape}".replace("None", "any")
    if not isinstance(values, np.ndarray):
        refuse(name, f"of type {type(values).__name__}", f"an array, {expected}")
    fits = len(values.shape) == len(shape) and all(
        wanted is None or length == wanted
        for length, wanted in zip(values.shape, shape, strict=True)
    )
    found = f"{values.dtype} of shape {values.shape}"
    require(fits and values.dtype == np.dtype(dtype), name, found, expected)
    if values.dtype.kind == "f":
        require(not np.isnan(values).any(), name, "in part NaN", "free of NaN")


def require_indices(name: str, values: np.ndarray, stop: int) -> None:
    """Raise ValueError unless all integers are at least 0 and below `stop`.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.persistence.arrays import require_indices
    >>> require_indices("levels", np.array([0, 2]), 3)
    """
    if values.size:
        low, high = int(values.min()), int(values.max())
        found = f"from {low} to {high}"
        require(low >= 0 and high < stop, name, found, f"from 0 to {stop - 1}")


def require_number(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is one real number; NaN and infinity are numbers here.

    Examples
    --------
    >>> from skmixed.persistence.arrays import require_number
    >>> require_number("noise_variance", 1.5)
    """
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    require(real, name, repr(value)[:60], "a number")
