"""Fitted attributes of an estimator, in the units of the data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skmixed.fitted_model import FittedModel
from skmixed.inspection.tables import covariance_frame, effects_frame, variance_components

_SLOPE_STEP = 1e-5
"""Of differences of functions of the parameters: its square is lost."""


@dataclass(frozen=True)
class Coefficients:
    """Fixed effects of the columns as they are; the fit works with centred ones.

    Attributes
    ----------
    names : list of str
        The intercept first, where one is published.
    estimates : ndarray (p,)
    covariance : ndarray (p, p)
    from_centred : ndarray (p, p')
        What makes them of the coefficients of centred columns.
    has_intercept : bool
    """

    names: list[str]
    estimates: np.ndarray
    covariance: np.ndarray
    from_centred: np.ndarray
    has_intercept: bool


def coefficients_of(model: FittedModel) -> Coefficients:
    """Fixed effects without an intercept where thresholds take its place."""
    encoder, result = model.encoder, model.result
    names, first = list(encoder.fixed.names), int(encoder.fixed.intercept)
    coefficients = result.coefficients.copy()
    covariance = result.coefficient_covariance.copy()
    matrix = np.eye(len(coefficients))
    if first:
        # the intercept at the origin is that at the centre less what the slopes make of it
        coefficients[0] -= result.center @ coefficients
        covariance[0] -= result.center @ covariance
        covariance[:, 0] -= covariance @ result.center
        matrix[0] -= result.center
    begin = first if model.likelihood.is_ordered else 0
    return Coefficients(
        names[begin:], coefficients[begin:], covariance[begin:, begin:], matrix[begin:],
        bool(first) and not begin,
    )  # fmt: skip


def random_effects(model: FittedModel) -> dict[str, pd.DataFrame]:
    """Posterior means of all groups, levels x terms."""
    parts = zip(model.encoder.factors, model.result.factors, strict=True)
    return {
        factor.name: effects_frame(factor.levels.labels, factor.term_names, fitted.means)
        for factor, fitted in parts
    }


def random_effects_std(model: FittedModel) -> dict[str, pd.DataFrame]:
    """Posterior standard deviations of all groups, levels x terms."""
    found = {}
    for factor, fitted in zip(model.encoder.factors, model.result.factors, strict=True):
        variances = np.diagonal(fitted.covariances, axis1=1, axis2=2)
        values = np.sqrt(np.maximum(variances, 0.0))
        found[factor.name] = effects_frame(factor.levels.labels, factor.term_names, values)
    return found


def random_effects_cov(model: FittedModel) -> dict[str, pd.DataFrame]:
    """Covariance of the effects of a level of all groups, terms x terms."""
    return {
        factor.name: covariance_frame(factor.term_names, fitted.covariance)
        for factor, fitted in zip(model.encoder.factors, model.result.factors, strict=True)
    }


def components(model: FittedModel) -> pd.DataFrame:
    """Variances and covariances of the random effects and the noise, a row each."""
    factors, result = model.encoder.factors, model.result
    return variance_components(
        [factor.name for factor in factors],
        [factor.term_names for factor in factors],
        [factor.blocks for factor in factors],
        result.factors,
        noise_variances(model),
        log_sd_errors(model),
    )


def log_sd_errors(model: FittedModel) -> np.ndarray:
    """Standard errors of the logarithms of the standard deviations of all effects, (s,).

    Those of every factor, in design order; NaN for standard deviations of 0, and where a fit
    has not computed them.
    """
    n = sum(len(factor.term_names) for factor in model.encoder.factors)
    covariance = model.result.estimate_covariance
    if covariance is None:
        return np.full(n, np.nan)
    return _errors(covariance[:n, :n])


def _errors(covariance: np.ndarray) -> np.ndarray:
    """Standard errors, (n,); NaN where a variance is 0."""
    variances = np.diagonal(covariance)
    return np.sqrt(np.where(variances > 0.0, variances, np.nan))


def published_errors(model: FittedModel) -> dict[str, Any]:
    """Standard errors of what the family publishes of its own parameters, by name.

    By the delta method: thresholds take in the intercept.
    """
    result, covariance = model.result, model.result.estimate_covariance
    if covariance is None or model.likelihood.has_noise or not len(result.parameters):
        return {}
    k, first = len(result.parameters), int(model.encoder.fixed.intercept)
    own = covariance[-k - len(result.coefficients) :, -k - len(result.coefficients) :]
    at_end = np.diagonal(own)[:k] == 0.0

    def values(at: np.ndarray) -> dict[str, Any]:
        coefficients = at[k:]
        intercept = first * (coefficients[:1].sum() - result.center @ coefficients)
        return model.likelihood.published(at[:k], float(intercept))

    here = np.concatenate([result.parameters, result.coefficients])
    steps = _SLOPE_STEP * np.eye(len(here))
    ahead, behind = [values(here + s) for s in steps], [values(here - s) for s in steps]
    found: dict[str, Any] = {}
    for name, value in values(here).items():
        pairs = zip(ahead, behind, strict=True)
        slopes = np.array([np.atleast_1d(a[name] - b[name]) for a, b in pairs])
        slopes /= 2.0 * _SLOPE_STEP
        errors = _errors(slopes.T @ own @ slopes)
        errors[(slopes[:k][at_end] != 0.0).any(axis=0)] = np.nan
        found[name] = errors if np.ndim(value) else float(errors[0])
    return found


def noise_variances(model: FittedModel) -> list[tuple[str | None, float]]:
    """Strata of the noise as they are written (None where there are none), with their variances."""
    result, strata = model.result, model.encoder.strata
    if not model.likelihood.has_noise:
        return []
    if strata is None:
        return [(None, result.noise_variance)]
    ratios = np.exp(2.0 * np.append(0.0, result.parameters))
    names = [f"{strata.name}[{label}]" for label in strata.labels]
    return [(n, float(result.noise_variance * r)) for n, r in zip(names, ratios, strict=True)]


def noise_frame(model: FittedModel) -> pd.DataFrame:
    """Standard deviations of the noise, a row per stratum."""
    strata = model.encoder.strata
    labels = [None] if strata is None else strata.labels
    parameters = ["sd" if label is None else f"sd[{label}]" for label in labels]
    sds = [float(np.sqrt(variance)) for _, variance in noise_variances(model)]
    term = "1" if strata is None else strata.name
    return pd.DataFrame(
        {"group": "Residual", "term": term, "parameter": parameters, "estimate": sds}
    )


def published(model: FittedModel) -> dict[str, Any]:
    """What the family publishes of its own parameters, by name."""
    result = model.result
    noise = np.array([result.noise_variance])
    parameters = noise if model.likelihood.has_noise else result.parameters
    return model.likelihood.published(parameters, model.intercept)


def fitted_attributes(model: FittedModel) -> dict[str, Any]:
    """All attributes that a fit sets, by name; data frames are made of these when asked for."""
    result, fixed = model.result, coefficients_of(model)
    first = int(fixed.has_intercept)
    found = {
        "intercept_": float(fixed.estimates[0]) if first else 0.0,
        "coef_": fixed.estimates[first:],
        "coef_names_": fixed.names[first:],
        "coef_cov_": fixed.covariance,
        "elbo_": model.elbo,
        "elbo_std_": float(result.elbo_std),
        "elbo_path_": model.elbo_path,
        "gradient_path_": result.gradient_path,
        "n_iter_": model.n_iter,
        "converged_": result.converged,
        "solver_": result.solver,
        "n_observations_": result.n_observations,
        "design_encoder_": model.encoder,
        "fit_result_": result,
        "response_": model.response,
        "method_": model.settings.method,
    }
    if model.classes is not None:
        order = np.argsort(model.classes)
        weights = model.class_weights
        found |= {
            "classes_": model.classes[order],
            "ordered_classes_": model.classes,
            "class_weight_": np.ones(len(order)) if weights is None else weights[order],
        }
    errors = {f"{name}_std_": value for name, value in published_errors(model).items()}
    return found | errors | {f"{name}_": value for name, value in published(model).items()}
