"""Refusals of data that a model was not fitted on, where its training data are asked for."""

from __future__ import annotations

import numpy as np

from skmixed.design import Design
from skmixed.inference.result import FitResult

_SAME_ELBO = 0.01
"""Difference of two ELBO beyond which they cannot come from the same data."""

_SAME_COEFFICIENTS = 0.1
"""Difference of two coefficients, in standard errors, of which the same holds."""

_PASS = "pass the X, y and sample_weight that fit was called with."


def refuse_other_rows(design: Design, case_weights: np.ndarray, result: FitResult) -> None:
    """Refuse rows that are more, fewer or of other levels than those of the fit.

    Parameters
    ----------
    design : Design
        Of the rows, with the encoder of the fit.
    case_weights : ndarray (n,)
    result : FitResult

    Raises
    ------
    ValueError
    """
    total, fitted = float(case_weights.sum()), result.n_observations
    if abs(total - fitted) > 1e-9 * fitted:
        raise ValueError(
            f"The model was fitted on {fitted:.10g} rows (the sum of their weights) and these are "
            f"{total:.10g}. The training data are not kept: {_PASS}"
        )
    for k, factor in enumerate(design.factors):
        if (factor.codes < 0).any():
            row = int((factor.codes < 0).argmax())
            raise ValueError(
                f"Row {row} (counted from 0) has a level of grouping factor number {k} that the "
                f"model was not fitted on: {_PASS}"
            )


def refuse_other_elbo(elbo: float, result: FitResult) -> None:
    """Refuse data at which the ELBO is another one; a fit that stopped early was below it."""
    slack = _SAME_ELBO + 1e-6 * abs(result.elbo) + 6.0 * result.elbo_std
    too_low = elbo < result.elbo - slack
    if too_low or (result.converged and elbo > result.elbo + slack):
        raise ValueError(
            f"The ELBO of these data at the fitted parameters is {elbo:.6g}, that of the fit was "
            f"{result.elbo:.6g}: these are not the data of the fit; {_PASS}"
        )


def refuse_other_coefficients(coefficients: np.ndarray, result: FitResult) -> None:
    """Refuse data whose ELBO is the same by symmetry, such as classes interchanged.

    Parameters
    ----------
    coefficients : ndarray (p,)
        What these data have for `FitResult.coefficients`.
    result : FitResult

    Raises
    ------
    ValueError
    """
    errors = np.sqrt(np.diagonal(result.coefficient_covariance))
    shifts = np.abs(coefficients - result.coefficients)
    if result.converged and (shifts > _SAME_COEFFICIENTS * errors + 1e-6).any():
        raise ValueError(
            "The coefficients of these data at the fitted variances are not those of the fit: "
            f"these are not the data of the fit; {_PASS}"
        )
