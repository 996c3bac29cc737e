"""Distinct values of any type, found by hashing."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

_AT_ONCE = 1_000_000


def factorize(values: Any) -> tuple[npt.NDArray[np.intp], Any]:
    """`pandas.factorize`, a million values at a time.

    Within a call of pandas nothing else happens, not even an interrupt, and tens of
    millions of texts take it several seconds.

    Parameters
    ----------
    values : ndarray or pandas ExtensionArray of shape (n_rows,)
        Hashable values.

    Returns
    -------
    codes : ndarray of shape (n_rows,) and dtype intp
        Position of each value in `found`, -1 for missing ones.
    found : ndarray or pandas ExtensionArray of shape (n_levels,)
        The distinct values by first appearance.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.design.hashing import factorize
    >>> codes, found = factorize(np.array(["b", None, "a", "b"], dtype=object))
    >>> codes.tolist(), found.tolist()
    ([0, -1, 1, 0], ['b', 'a'])
    """
    if len(values) <= _AT_ONCE:
        return pd.factorize(values)
    codes = np.empty(len(values), dtype=np.intp)
    starts = range(0, len(values), _AT_ONCE)
    found = []
    for start in starts:
        piece = slice(start, start + _AT_ONCE)
        codes[piece], new = pd.factorize(values[piece])
        found.append(new)
    of_found, distinct = pd.factorize(_concatenated(found))
    begin = 0
    for start, new in zip(starts, found, strict=True):
        of_piece = np.append(of_found[begin : begin + len(new)], -1)
        codes[start : start + _AT_ONCE] = of_piece[codes[start : start + _AT_ONCE]]
        begin += len(new)
    return codes, distinct


def _concatenated(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return pd.concat([pd.Series(part, dtype=part.dtype) for part in parts]).array
