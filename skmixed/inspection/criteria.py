"""Log likelihood, number of parameters and information criteria of a fitted model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from skmixed.covariances import STRUCTURES
from skmixed.fitted_model import FittedModel, fitted_model


@dataclass(frozen=True)
class InformationCriteria:
    """Log likelihood, number of parameters and information criteria of a fit.

    Attributes
    ----------
    log_likelihood : float
        The model's ``elbo_``: the log likelihood, the restricted one, or a bound of it.
    n_parameters : int
        Fixed effects that are estimated, entries of the covariances, noise variance and
        parameters of the response distribution.
    aic : float
        -2 log likelihood + 2 parameters (Akaike 1974).
    bic : float
        -2 log likelihood + log(rows) parameters (Schwarz 1978); rows count by case weight, and
        a set of trials is one row.
    is_bound : bool
        Whether `log_likelihood` is no more than a lower bound.
    restricted : bool
        Whether it is the restricted one, ``method="reml"``: comparable between models of
        equal fixed effects only.
    """

    log_likelihood: float
    n_parameters: int
    aic: float
    bic: float
    is_bound: bool
    restricted: bool


def information_criteria(model: Any) -> InformationCriteria:
    """Compute AIC and BIC of a fitted model.

    Parameters
    ----------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        Fitted.

    Returns
    -------
    criteria : InformationCriteria
        AIC and BIC are those of lme4 where `is_bound` is False. Where it is True they are
        upper bounds of them, of the model at these estimates.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    TypeError
        If it is not a model of this package.

    Notes
    -----
    Parameters are counted as lme4 does: also those estimated at the boundary, such as a
    variance of 0, and also the fixed effects of a restricted likelihood. A column that
    others span is not counted, nor is a noise that `noise_scale` holds.

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor
    >>> from skmixed.datasets import make_mixed_regression
    >>> from skmixed.inspection.criteria import information_criteria
    >>> X, y, _ = make_mixed_regression(n_samples=100, groups=(8,), random_state=0)
    >>> model = MixedEffectsVIRegressor("g0", method="ml").fit(X[["x0", "g0"]], y)
    >>> information_criteria(model).n_parameters  # intercept, slope, variance, noise
    4
    """
    model = fitted_model(model)
    result, log_likelihood = model.result, model.elbo
    n_fixed = len(result.coefficients) - len(result.dropped)
    n_noise = int(model.likelihood.has_noise and model.settings.noise_scale is None)
    n_parameters = n_fixed + covariance_entries(model) + n_noise + len(result.parameters)
    return InformationCriteria(
        log_likelihood=log_likelihood,
        n_parameters=n_parameters,
        aic=-2.0 * log_likelihood + 2.0 * n_parameters,
        bic=-2.0 * log_likelihood + float(np.log(model.n_rows)) * n_parameters,
        is_bound=elbo_is_bound(model),
        restricted=model.settings.method == "reml",
    )


def covariance_entries(model: FittedModel) -> int:
    """Number of parameters of all covariances: q (q + 1) / 2 for q effects without structure."""
    return sum(
        STRUCTURES[structure](stop - begin).n_parameters
        for factor in model.encoder.factors
        for (begin, stop), structure in zip(factor.blocks, factor.block_structures, strict=True)
    )


def elbo_is_bound(model: FittedModel) -> bool:
    """Whether the ELBO may lie below the (restricted) log likelihood.

    It does where the posterior of what is integrated out is approximated.
    """
    return model.approximation == "variational"
