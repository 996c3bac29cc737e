"""Linear functions of the coefficients: estimates, standard errors and tests by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skmixed.inspection.coefficient_questions import CoefficientQuestions


def as_matrix(L: Any, names: Sequence[str]) -> pd.DataFrame:
    """Weights of the coefficients, a row per function.

    Parameters
    ----------
    L : mapping, DataFrame, or array-like of shape (n_coefficients,) or (k, n_coefficients)
        Weights by name (the others are 0), a frame with names as columns, or numbers in the
        order of `names`. A mapping of mappings has labelled rows.
    names : sequence of str
        Coefficients, the intercept first.

    Raises
    ------
    ValueError
        If a name is no coefficient, or the number of columns is another one.
    """
    if isinstance(L, pd.Series):
        L = L.to_dict()
    if isinstance(L, Mapping):
        nested = all(isinstance(row, Mapping) for row in L.values())
        rows: dict[str, Any] = dict(L) if nested else {"contrast": L}
        L = pd.DataFrame(list(rows.values()), index=list(rows)).fillna(0.0)
    if isinstance(L, pd.DataFrame):
        unknown = [name for name in L.columns if name not in names]
        if unknown:
            known = ", ".join(map(repr, names))
            raise ValueError(f"contrast names {unknown[0]!r}, which is not one of {known}.")
        return L.reindex(columns=list(names), fill_value=0.0).astype(float)
    matrix = np.atleast_2d(np.asarray(L, dtype=float))
    if matrix.ndim != 2 or matrix.shape[1] != len(names):
        raise ValueError(
            f"contrast needs {len(names)} numbers per row, one per coefficient "
            f"({', '.join(map(repr, names))}), but its shape is {np.shape(L)}."
        )
    return pd.DataFrame(matrix, columns=list(names))


def contrast_table(questions: CoefficientQuestions, L: Any, level: float) -> pd.DataFrame:
    """Estimates and tests of linear functions of the coefficients, a row each.

    Parameters
    ----------
    questions : CoefficientQuestions
    L : object
        See `as_matrix`.
    level : float
        Probability of the intervals.
    """
    weights = as_matrix(L, questions.coefficients.names)
    return pd.DataFrame(questions.estimates(weights.to_numpy(), level), index=weights.index)
