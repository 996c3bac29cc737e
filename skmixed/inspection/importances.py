"""Contributions of the columns of X to the linear predictor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skmixed.fitted_model import FittedModel
from skmixed.spec import ColumnKey


def column_importances(columns: Sequence[ColumnKey], model: FittedModel) -> np.ndarray | None:
    """Standard deviation over the training rows of what each column contributes.

    A column contributes the fixed effects of all terms that it is part of, with their
    estimated coefficients, and the random effects that it groups or that vary with it,
    with their estimated variance. The offset counts for nothing.

    Parameters
    ----------
    columns : sequence of str or int
        Columns of X by label, in order.
    model : FittedModel

    Returns
    -------
    ndarray (n_columns,) or None
        In the units of the linear predictor; None where the fit did not keep what it takes.
    """
    encoder, result = model.encoder, model.result
    if result.fixed_covariance is None:
        return None
    variances = np.zeros(len(columns))
    for position, column in enumerate(columns):
        used = _columns_with(encoder.fixed, column)
        slopes = result.coefficients * used
        variances[position] = slopes @ result.fixed_covariance @ slopes
        for factor, fitted in zip(encoder.factors, result.factors, strict=True):
            parts = [_columns_with(basis, column) for basis in factor.bases]
            moved = np.concatenate(parts) | (column in factor.levels.columns)
            chosen = np.ix_(moved, moved)
            variances[position] += float(np.sum(fitted.covariance[chosen] * fitted.moments[chosen]))
    return np.sqrt(np.maximum(variances, 0.0))


def _columns_with(basis: Any, column: ColumnKey) -> np.ndarray:
    """Whether each column of a linear part is computed from a column of X, (p,) of bool."""
    used = np.zeros(len(basis.names), dtype=np.bool_)
    slices = basis.slices[int(basis.intercept) :]
    for term, (begin, stop) in zip(basis.terms, slices, strict=True):
        used[begin:stop] = any(column in basis.variables[v.position].variable.columns for v in term)
    return used
