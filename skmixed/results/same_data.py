"""Refusals of data that a model was not fitted on, where its training data are asked for."""

from __future__ import annotations

import numpy as np

from skmixed.design import Design
from skmixed.fit.result import FitResult

_SAME_ELBO = 0.01
"""Difference of two ELBO beyond which they cannot come from the same data."""

_SAME_COEFFICIENTS = 0.1
"""Difference of two coefficients, in standard errors, of which the same holds."""

_SAME_MOMENTS = 1e-6
"""Relative difference of two means of the fixed part, of which the same holds."""

_PASS = (
    "pass the X, y and sample_weight of fit (with mixed(..., missing='drop') only the rows it "
    "kept: those without missing values in any column of the model, the response included)."
)


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
    difference = other_rows(design, float(case_weights.sum()), result)
    if difference:
        raise ValueError(f"{difference}. The training data are not kept: {_PASS}")


def other_rows(design: Design, total: float, result: FitResult) -> str:
    """How rows differ from those of the fit in their number or their levels; empty if not seen to.

    Parameters
    ----------
    design : Design
        Of the rows or of some of them, with the encoder of the fit.
    total : float
        Sum of the case weights of all.
    result : FitResult
    """
    fitted = result.n_observations
    if abs(total - fitted) > 1e-9 * fitted:
        return (
            f"The model was fitted on {fitted:.10g} rows (the sum of their weights), but these are "
            f"{total:.10g}"
        )
    for k, factor in enumerate(design.factors):
        if (factor.codes < 0).any():
            row = int((factor.codes < 0).argmax())
            return (
                f"Row {row} (counted from 0) has a level of grouping factor number {k} that the "
                "model was not fitted on"
            )
    return ""


def refuse_other_fixed_part(design: Design, case_weights: np.ndarray, result: FitResult) -> None:
    """Refuse rows whose fixed part has another mean or variance than that of the fit.

    For questions that have no response, such as a simulation; arguments as
    `refuse_other_rows`.

    Raises
    ------
    ValueError
    """
    precision = design.precision_weights
    weights = case_weights if precision is None else case_weights * precision
    # the intercept comes first, and its center is 0
    fixed = (design.fixed - result.center) @ result.coefficients
    mean = float(np.average(fixed, weights=weights))
    variance = float(np.average((fixed - mean) ** 2, weights=weights))
    spread = np.sqrt(result.fixed_variance)
    # not known after some fits of parts
    known = np.isfinite(spread) and np.isfinite(result.fixed_mean)
    slack = _SAME_MOMENTS * (spread + 1e-3 * abs(result.fixed_mean)) + 1e-12
    if known and (abs(mean - result.fixed_mean) > slack or abs(np.sqrt(variance) - spread) > slack):
        raise ValueError(
            f"The fixed part of these rows has mean {mean:.6g} and standard deviation "
            f"{np.sqrt(variance):.6g}, that of the fit had {result.fixed_mean:.6g} and "
            f"{spread:.6g}: these are not the rows of the fit; {_PASS}"
        )


def response_moments(response: np.ndarray, case_weights: np.ndarray) -> np.ndarray:
    """Weighted mean and root mean square of a response, by which others are told from it, (2,)."""
    total = case_weights.sum()
    # einsum, as a product of the linear algebra library leaves threads that wait busily
    mean = np.einsum("i,i->", case_weights, response) / total
    square = np.einsum("i,i,i->", case_weights, response, response) / total
    return np.array([mean, np.sqrt(square)])


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
