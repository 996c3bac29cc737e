"""Checks of columns that are used as numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def require_finite(values: npt.NDArray[np.float64], name: Any, *, first_row: int = 0) -> None:
    """Refuse missing and infinite values in a column that is used.

    Parameters
    ----------
    values : ndarray of shape (n_rows,)
        The values.
    name : str or int
        How the column is called in the error.
    first_row : int, default=0
        Position of the first value in the user's data.

    Raises
    ------
    ValueError
        When a value is NaN or infinite.

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
    if missing.all():
        raise ValueError(
            f"Input X contains NaN in column {name!r}: all {values.size} values are missing "
            "(0 non-NA cases); remove the column from the model or fill it."
        )
    if missing.any():
        raise ValueError(
            f"Input X contains NaN in column {name!r}: {int(missing.sum())} missing value(s), the "
            f"first in row {first_row + int(missing.argmax())}; drop these rows or fill them, for "
            "instance with sklearn.impute.SimpleImputer in a Pipeline."
        )
    row = int(bad.argmax())
    raise ValueError(
        f"Input X contains infinity in column {name!r}: the first is {values[row]} in row "
        f"{first_row + row}; correct or drop these rows."
    )
