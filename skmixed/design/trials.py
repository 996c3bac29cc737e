"""Successes out of trials: a row for a set of trials, and the rows of its two classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

from skmixed.design.design import Design
from skmixed.formula.errors import quoted

FloatArray = npt.NDArray[np.float64]

_ROUNDING = 1e-6


def check_counts(y: Any, n_rows: int, label: str) -> FloatArray:
    """Successes and failures as whole numbers.

    Parameters
    ----------
    y : array-like of shape (n_rows, 2)
    n_rows : int
    label : str
        The response as it is written.

    Returns
    -------
    ndarray of shape (n_rows, 2) and dtype float64
        Whole numbers; what rounding has left is gone.

    Raises
    ------
    ValueError
        If y has another shape, or an entry is not a number of trials.
    """
    label, counts = quoted(label), np.asarray(y)
    if counts.shape != (n_rows, 2) or counts.dtype.kind not in "iufb":
        raise ValueError(
            f"The response counts successes out of trials, {label}: y must have two columns of "
            f"numbers, successes and failures, and {n_rows} row(s), but its shape is "
            f"{counts.shape}."
        )
    counts = counts.astype(np.float64)
    whole = np.round(counts)
    with np.errstate(invalid="ignore"):
        exact = np.abs(counts - whole) <= _ROUNDING * np.maximum(counts.sum(axis=1), 1.0)[:, None]
    good = exact & (whole >= 0.0) & np.isfinite(counts)
    if not good.all():
        row = int(np.argmin(good.all(axis=1)))
        successes, failures = counts[row].tolist()
        raise ValueError(
            f"{label} has {successes:g} successes and {failures:g} failures in row {row} (counted "
            "from 0): both must be whole numbers from 0 on. Write the response as cbind(successes, "
            "failures), successes/trials, or a proportion with weights= the number of trials."
        )
    return whole


def log_coefficients(counts: FloatArray, weights: FloatArray) -> float:
    """Logarithm of the product of binomial coefficients, by case weight.

    Parameters
    ----------
    counts : ndarray (n, 2)
    weights : ndarray (n,)
    """
    each = gammaln(counts.sum(axis=1) + 1.0) - gammaln(counts + 1.0).sum(axis=1)
    return float(weights @ each)


def spread(
    design: Design, response: FloatArray, weights: FloatArray
) -> tuple[Design, FloatArray, FloatArray]:
    """Rows of two classes in place of sets of trials; other responses stay as they are.

    Parameters
    ----------
    design : Design
    response : ndarray (n,) or (n, 2)
        With two columns: successes and failures.
    weights : ndarray (n,)
        Case weights.

    Returns
    -------
    design : Design
    response : ndarray (m,)
        1 where a row stands for successes, else 0.
    weights : ndarray (m,)
        Case weights times the number of successes or failures.
    """
    if response.ndim == 1:
        return design, response, weights
    n_rows = len(response)
    rows = np.flatnonzero(response.T.ravel())
    counts = response.T.ravel()[rows]
    successes = (rows < n_rows).astype(np.float64)
    rows %= n_rows
    return design.take(rows), successes, weights[rows] * counts
