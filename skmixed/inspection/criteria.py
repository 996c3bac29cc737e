"""Log likelihood, number of parameters and information criteria of a fitted model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted


@dataclass(frozen=True)
class InformationCriteria:
    """What a model is charged for its parameters.

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
        When the model is not fitted.
    TypeError
        When it is no model of this package.

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
    check_fitted_model(model)
    log_likelihood = float(model.elbo_)
    n_parameters = count_parameters(model)
    n_rows = model.response_.n_sets if model.response_.is_trials else model.n_observations_
    return InformationCriteria(
        log_likelihood=log_likelihood,
        n_parameters=n_parameters,
        aic=-2.0 * log_likelihood + 2.0 * n_parameters,
        bic=-2.0 * log_likelihood + float(np.log(n_rows)) * n_parameters,
        is_bound=elbo_is_bound(model),
        restricted=model.method_ == "reml",
    )


def check_fitted_model(model: Any) -> None:
    """Raise unless `model` is a fitted estimator of this package."""
    check_is_fitted(model)
    if not hasattr(model, "fit_result_"):
        raise TypeError(
            f"{type(model).__name__} is no mixed-effects model; pass a fitted "
            "MixedEffectsVIRegressor or MixedEffectsVIClassifier, of a pipeline its last step: "
            "pipeline[-1]."
        )


def count_parameters(model: Any) -> int:
    """How many numbers a fit has estimated, the fixed effects included."""
    result = model.fit_result_
    n_fixed = len(result.coefficients) - len(result.dropped)
    n_noise = int(model.family == "gaussian" and model.noise_scale is None)
    return n_fixed + count_covariance_entries(model) + n_noise + len(result.parameters)


def count_covariance_entries(model: Any) -> int:
    """Free entries of the covariances of all groups: q (q + 1) / 2 a block of q effects."""
    sizes = (
        stop - begin for factor in model.design_encoder_.factors for begin, stop in factor.blocks
    )
    return sum(size * (size + 1) // 2 for size in sizes)


def elbo_is_bound(model: Any) -> bool:
    """Whether the ELBO may lie below the (restricted) log likelihood.

    It does where the posterior of what is integrated out is approximated.
    """
    has_random = bool(model.design_encoder_.factors)
    if model.family != "gaussian":
        return has_random or model.method_ == "reml"
    return has_random and model.posterior != "full"
