"""Fitted attributes of an estimator, in the units of the data."""

from __future__ import annotations

from typing import Any

import numpy as np

from skmixed.design import DesignEncoder
from skmixed.fit.result import FitResult
from skmixed.inspection.tables import covariance_frame, effects_frame, variance_components


def fitted_attributes(encoder: DesignEncoder, result: FitResult) -> dict[str, Any]:
    """All attributes that a fit sets, by name.

    The fit works with centred columns; intercept and coefficients are moved to
    the origin here.
    """
    names = [factor.name for factor in encoder.factors]
    terms = [factor.term_names for factor in encoder.factors]
    labels = [factor.levels.labels for factor in encoder.factors]
    parts = list(zip(names, terms, labels, result.factors, strict=True))
    first = int(encoder.fixed.intercept)
    coefficients = result.coefficients.copy()
    covariance = result.coefficient_covariance.copy()
    if first:
        # the intercept at the origin is that at the centre less what the slopes make of it
        coefficients[0] -= result.center @ coefficients
        covariance[0] -= result.center @ covariance
        covariance[:, 0] -= covariance @ result.center
    return {
        "intercept_": float(coefficients[0]) if first else 0.0,
        "coef_": coefficients[first:],
        "coef_names_": list(encoder.fixed.names[first:]),
        "coef_cov_": covariance,
        "random_effects_": {
            name: effects_frame(label, term, factor.means) for name, term, label, factor in parts
        },
        "random_effects_std_": {
            name: effects_frame(
                label,
                term,
                np.sqrt(np.maximum(np.diagonal(factor.covariances, axis1=1, axis2=2), 0.0)),
            )
            for name, term, label, factor in parts
        },
        "random_effects_cov_": {
            name: covariance_frame(term, factor.covariance) for name, term, _, factor in parts
        },
        "variance_components_": variance_components(
            names,
            terms,
            [factor.blocks for factor in encoder.factors],
            result.factors,
            result.noise_variance if result.likelihood.name == "gaussian" else None,
        ),
        "elbo_": float(result.elbo),
        "elbo_std_": float(result.elbo_std),
        "elbo_path_": result.elbo_path,
        "gradient_path_": result.gradient_path,
        "n_iter_": max(result.n_iter, 1),
        "converged_": result.converged,
        "solver_": result.solver,
        "n_observations_": result.n_observations,
        "design_encoder_": encoder,
        "fit_result_": result,
    }


def from_centre(encoder: DesignEncoder, result: FitResult) -> np.ndarray:
    """Matrix from coefficients of centred columns to those of the columns themselves, (p, p)."""
    matrix = np.eye(len(result.center))
    if encoder.fixed.intercept:
        matrix[0] -= result.center
    return matrix
