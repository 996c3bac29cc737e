"""Fit rows or sums.

Each kind of fit is imported when it is first used: to import all of them takes as long as a fit of
a few thousand rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from skmixed.design import Design
    from skmixed.families.base import Likelihood
    from skmixed.fit.outer import FitOptions
    from skmixed.fit.result import FitResult
    from skmixed.sums.row_sums import RowSums


def fit_rows(
    design: Design,
    response: np.ndarray,
    weights: np.ndarray,
    likelihood: Likelihood,
    options: FitOptions,
) -> tuple[FitResult, RowSums | None]:
    """Fit encoded rows; return the fit and, where the response is normal, the sums of the rows.

    Parameters
    ----------
    design : Design
        Of n rows.
    response : ndarray (n,) or (n, 2)
    weights : ndarray (n,)
        Case weights.
    likelihood : Likelihood
    options : FitOptions
    """
    if likelihood.is_quadratic:
        from skmixed.fit.gaussian_fit import fit_gaussian

        return fit_gaussian(design, response, weights, options)
    from skmixed.fit.generalized_fit import fit_generalized

    return fit_generalized(design, response, weights, likelihood, options), None


def fit_sums(rows: RowSums, n_levels: tuple[int, ...], options: FitOptions) -> FitResult:
    """Fit sums of rows with a normal response; arguments as in `gaussian_fit`."""
    from skmixed.fit import gaussian_fit

    return gaussian_fit.fit_sums(rows, n_levels, options)
