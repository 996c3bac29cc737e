"""Shares of variance: intraclass correlations and R^2 of a fitted model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skmixed.fitted_model import FittedModel, fitted_model

ALL_GROUPS = "(all groups)"
"""Index of the row that adds up the groups."""


@dataclass(frozen=True)
class VarianceParts:
    """Variances on the scale of the linear predictor, averaged over the rows of the fit.

    Attributes
    ----------
    fixed : float
        Of the fixed part; NaN where the fit does not know it.
    groups : dict of {str: float}
        Of the random effects of each group.
    residual : float
        What neither explains: noise, or the variance of the response distribution.
    """

    fixed: float
    groups: dict[str, float]
    residual: float

    @property
    def random(self) -> float:
        """Of all groups together."""
        return sum(self.groups.values())


def variance_parts(model: FittedModel) -> VarianceParts:
    """Variances that `icc` and `r2` compare.

    Parameters
    ----------
    model : FittedModel

    Returns
    -------
    VarianceParts
    """
    result, likelihood = model.result, model.likelihood
    # E[z' Sigma z] over the rows (Johnson 2014); Sigma itself for an intercept
    groups = {
        factor.name: float(np.einsum("jk,kj->", fitted.covariance, fitted.moments))
        for factor, fitted in zip(model.encoder.factors, result.factors, strict=True)
    }
    # mean response over the rows: that of a log-normal variable, and what rows add to it
    spread = sum(groups.values()) + result.fixed_variance
    log_mean = result.fixed_mean + result.log_exposure + 0.5 * spread
    noise = np.array([result.residual_variance])
    parameters = noise if likelihood.has_noise else result.parameters
    residual = float(likelihood.residual_variance(log_mean, parameters))
    return VarianceParts(result.fixed_variance, groups, residual)


def icc(model: Any) -> pd.DataFrame:
    r"""Intraclass correlation: the share of each group in the variance.

    With :math:`\sigma^2_k` the variance of the random effects of group k, averaged over
    the rows, and :math:`\sigma^2_f`, :math:`\sigma^2_e` the variances of the fixed part and
    of the residual, the adjusted form is
    :math:`\sigma^2_k / (\sum_j \sigma^2_j + \sigma^2_e)` and the unadjusted one
    :math:`\sigma^2_k / (\sigma^2_f + \sum_j \sigma^2_j + \sigma^2_e)` [1]_.

    Parameters
    ----------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        Fitted.

    Returns
    -------
    shares : DataFrame
        One row per group, in the order of the model, and ``"(all groups)"`` last. Columns:
        ``variance`` (in squared units of the linear predictor), ``adjusted`` and ``unadjusted``
        (between 0 and 1). The last is NaN after `partial_fit` without an intercept, because the
        variance of the fixed part is not known.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    ValueError
        If there are no random effects, or nothing varies.

    See Also
    --------
    skmixed.r2 : Share of the fixed effects, and of fixed and random ones together.

    Notes
    -----
    With random slopes the variance of a group differs between rows; we take its mean over the rows
    [2]_. Rows are weighted by case weight times precision weight, and the residual variance is that
    of a row of mean precision weight, so the unit of the weights does not matter.

    For responses that are not normal, shares are on the scale of the linear predictor, and the
    residual is the variance that the response distribution adds [1]_: :math:`\pi^2 / 3` (logit) or
    1 (probit) for binary and ordinal classes; :math:`\ln(1 + 1/\lambda + d)` for counts, with d = 0
    for "poisson"; :math:`\psi_1(1/d)`, the trigamma function, for "gamma". :math:`\lambda` is the
    mean count of the fitted model: the mean over the rows of :math:`E[e^{\eta}]`, with fixed
    effects and offset, averaged over random effects. The R package performance takes
    :math:`\lambda` from a model without fixed effects, so its shares for counts differ.

    References
    ----------
    .. [1] Nakagawa, Johnson and Schielzeth (2017), "The coefficient of determination R2 and
       intra-class correlation coefficient from generalized linear mixed-effects models
       revisited and expanded", Journal of the Royal Society Interface 14(134).
    .. [2] Johnson (2014), "Extension of Nakagawa & Schielzeth's R2GLMM to random slopes
       models", Methods in Ecology and Evolution 5(9).

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor, icc
    >>> from skmixed.datasets import load_insteval
    >>> X, y = load_insteval(return_X_y=True)
    >>> model = MixedEffectsVIRegressor(["s", "d", "dept"])
    >>> model = model.fit(X[["service", "s", "d", "dept"]], y)
    >>> icc(model)["adjusted"].round(3)
    s               0.060
    d               0.150
    dept            0.004
    (all groups)    0.214
    Name: adjusted, dtype: float64
    """
    parts = variance_parts(fitted_model(model))
    if not parts.groups:
        raise ValueError(
            "The model has no random effects, so no group has a share of the variance; "
            "name grouping columns in random_effects."
        )
    variances = pd.Series({**parts.groups, ALL_GROUPS: parts.random}, dtype=float)
    adjusted = _positive_total(parts.random + parts.residual)
    return pd.DataFrame(
        {
            "variance": variances,
            "adjusted": variances / adjusted,
            "unadjusted": variances / (parts.fixed + adjusted),
        }
    )


def r2(model: Any) -> pd.Series:
    r"""Share of the variance that a model explains, R-squared.

    With the variances of `icc`, the marginal share is that of the fixed effects,
    :math:`\sigma^2_f / (\sigma^2_f + \sum_j \sigma^2_j + \sigma^2_e)`. The conditional share is
    that of fixed and random effects,
    :math:`(\sigma^2_f + \sum_j \sigma^2_j) / (\sigma^2_f + \sum_j \sigma^2_j + \sigma^2_e)` [1]_
    [2]_.

    Parameters
    ----------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        Fitted.

    Returns
    -------
    shares : Series
        ``marginal`` and ``conditional``, between 0 and 1.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    ValueError
        After `partial_fit` of a model without an intercept, which does not know the variance of the
        fixed part; and if all variances are 0.

    See Also
    --------
    skmixed.icc : Share of each group; its notes say how variances are computed.

    Notes
    -----
    The variance of the fixed part is over the rows of the fit, weighted, and divided by n (not n -
    1). It does not include the offset. ``model.score`` differs: it is the share explained in the
    rows that you pass.

    References
    ----------
    .. [1] Nakagawa and Schielzeth (2013), "A general and simple method for obtaining R2
       from generalized linear mixed-effects models", Methods in Ecology and Evolution 4(2).
    .. [2] Johnson (2014), "Extension of Nakagawa & Schielzeth's R2GLMM to random slopes
       models", Methods in Ecology and Evolution 5(9).

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor, r2
    >>> from skmixed.datasets import make_mixed_regression
    >>> X, y, _ = make_mixed_regression(n_samples=500, groups=(20, 10), random_state=0)
    >>> model = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y)
    >>> shares = r2(model)
    >>> bool(0 < shares["marginal"] < shares["conditional"] < 1)
    True
    """
    parts = variance_parts(fitted_model(model))
    if np.isnan(parts.fixed):
        raise ValueError(
            "The variance of the fixed part is not known: partial_fit and Dask fits of a model "
            "without an intercept do not keep it. Use fit on all rows at once, "
            "or fit with an intercept."
        )
    total = _positive_total(parts.fixed + parts.random + parts.residual)
    return pd.Series(
        {
            "marginal": parts.fixed / total,
            "conditional": (parts.fixed + parts.random) / total,
        }
    )


def _positive_total(variance: float) -> float:
    """The variance to divide by."""
    if variance == 0.0:
        raise ValueError(
            "All variances are 0 (the response does not vary, or the fixed effects reproduce "
            "it), so there are no shares; check y."
        )
    return variance
