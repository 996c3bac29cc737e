"""Residuals of single rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, Self

import numpy as np
import pandas as pd
from scipy.special import gamma, ndtri
from sklearn.utils import check_random_state, check_scalar
from sklearn.utils.validation import _num_samples

from skmixed.exceptions import warn_user
from skmixed.fitted_model import FittedModel, ObservedRows
from skmixed.inspection.displays.common import (
    NODES,
    SHARES,
    with_training_data,
)
from skmixed.inspection.displays.drawing import (
    MANY_POINTS,
    axes_and_figure,
    count_colours,
    point_style,
    reference_style,
    styled,
)
from skmixed.inspection.displays.trial_rows import TrialSets, are_trials
from skmixed.results.same_data import other_rows
from skmixed.validation import check_case_weights, check_choice

_KINDS = ("residual_vs_fitted", "scale_location", "quantile")
_SPREADS = ("noise", "prediction")

_CHUNK = 8_192

_EXPECTED_ROOT = float(2.0**0.25 * gamma(0.75) / np.sqrt(np.pi))
"""Mean of sqrt(abs(z)) for a standard normal z."""

_MOST_PARTS = 20
"""Parts whose means are shown."""


class ResidualsDisplay:
    r"""Standardised residuals against fitted values, or against normal quantiles.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    fitted : ndarray of shape (n,)
        Posterior mean of the linear predictor, which for normal responses is the prediction.
    residuals : ndarray of shape (n,)
        Residuals on the scale of a standard normal variable.
    weights : ndarray of shape (n,), default=None
        Case weights; None: ones.
    fitted_label : str, default="fitted value"
        Label of the axis of `fitted`.

    Attributes
    ----------
    fitted, residuals, weights, fitted_label
        As given.
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        Their figure.

    Notes
    -----
    For normal responses a residual is :math:`(y_i - \hat\eta_i) \sqrt{w_i} / \sigma`, with
    the posterior mean :math:`\hat\eta_i` of the linear predictor and precision weights w:
    lme4's ``residuals(fit, type = "pearson", scaled = TRUE)``.

    For classes, counts and amounts it is a randomised quantile residual [1]_: with F the
    distribution function of the response, u is drawn uniformly between :math:`F(y_i -)` and
    :math:`F(y_i)`, and the residual is :math:`\Phi^{-1}(u)`. If the model is right, it is standard
    normal, for discrete responses too. Randomisation removes the stripes of other residuals of
    counts and classes. Classes are numbered in the order of `ordered_classes_`.

    Single binary rows cannot show overdispersion. If `sample_weight` has whole numbers other than 1
    (successes out of trials), rows of two classes with equal covariates, offset and groups are
    pooled to one set of trials, whose residual is that of a binomial number of successes. Trials
    with one row each are not pooled; pass them as weights.

    ``spread="noise"`` treats :math:`\eta_i` as known, at its posterior mean. Residuals of training
    rows then have a standard deviation slightly below 1, because the model was fitted to them, and
    those of other rows slightly above 1. ``spread="prediction"`` adds the uncertainty of
    :math:`\eta_i`: if the model is right, residuals of new rows, also of unknown levels, are then
    standard normal.

    References
    ----------
    .. [1] Dunn and Smyth (1996), "Randomized quantile residuals", Journal of Computational
       and Graphical Statistics 5(3).

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor
    >>> from skmixed.datasets import make_mixed_regression
    >>> from skmixed.inspection import ResidualsDisplay
    >>> X, y, _ = make_mixed_regression(n_samples=500, groups=(20, 10), random_state=0)
    >>> model = MixedEffectsVIRegressor(random_effects=["g0", "g1"]).fit(X, y)
    >>> display = ResidualsDisplay.from_estimator(model, X, y, kind="quantile")
    >>> display.residuals.shape
    (500,)
    """

    def __init__(
        self,
        fitted: np.ndarray,
        residuals: np.ndarray,
        *,
        weights: np.ndarray | None = None,
        fitted_label: str = "fitted value",
    ) -> None:
        self.fitted = fitted
        self.residuals = residuals
        self.weights = weights
        self.fitted_label = fitted_label

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        y: Any = None,
        *,
        sample_weight: Any = None,
        include: str | Sequence[str] = "all",
        kind: str = "residual_vs_fitted",
        spread: str = "noise",
        subsample: int | None = 50_000,
        random_state: Any = None,
        ax: Any = None,
        scatter_kwargs: Mapping[str, Any] | None = None,
        hexbin_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
        trend_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Compute the residuals of rows and plot them.

        Parameters
        ----------
        estimator : estimator
            Fitted mixed model, or a pipeline that ends in one.
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows, of the fit or new ones. None: the rows that the model kept, with
            ``keep_data=True``.
        y : array-like of shape (n_samples,)
            Their response, or labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Case weights; rows of weight 0 are left out.
        include : "all", "none" or list of str, default="all"
            Groups whose effects are subtracted. "none": residuals around the population.
        kind : {"residual_vs_fitted", "scale_location", "quantile"}, \
                default="residual_vs_fitted"
            As for :meth:`plot`.
        spread : {"noise", "prediction"}, default="noise"
            Standard deviation of a residual: of the noise, or of a new observation, for rows that
            were not in the fit. See the notes.
        subsample : int or None, default=50_000
            Maximum number of rows or sets of trials, drawn at random; None uses all.
        random_state : int, RandomState instance or None, default=None
            Seed of the subsample and of randomised residuals. None is a fixed seed, so equal data
            give equal plots.
        ax, scatter_kwargs, hexbin_kwargs, line_kwargs, trend_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : ResidualsDisplay
            With the plot.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If rows do not match the model, or its noise variance is 0.

        Warns
        -----
        UserWarning
            If rows or weights are not those of the fit, with ``spread="noise"``; if weights of
            classes cannot be pooled to trials.
        """
        check_choice("kind", kind, _KINDS)
        check_choice("spread", spread, _SPREADS)
        if subsample is not None:
            check_scalar(subsample, "subsample", Integral, min_val=1)
        seed = 0 if random_state is None else random_state
        rng = np.random.default_rng(check_random_state(seed).randint(2**31 - 1, size=4))
        model, data, steps = with_training_data(estimator, X, y, sample_weight)
        weights = check_case_weights(data.sample_weight, _num_samples(data.X))
        trials = None
        if are_trials(model, weights[weights > 0]) and not model.has_class_weights:
            # sets are pooled before a part of them is drawn
            rows, trials = _pooled(model.observe(data, include, steps=steps), subsample, rng)
        else:
            rows = model.observe(data, include, subsample=subsample, rng=rng, steps=steps)
            _warn_of_weights_of_classes(model, rows)
        if spread == "noise":
            _warn_of_other_rows(rows)
        mean = rows.mean()
        variance = rows.variance(further=True) if spread == "prediction" else np.zeros_like(mean)
        if model.likelihood.has_noise:
            residuals = _scaled_residuals(rows, mean, variance)
        else:
            residuals = _quantile_residuals(rows, mean, variance, rng, trials)
        is_weighted = data.sample_weight is not None or model.has_class_weights
        return cls(
            mean - model.location,
            residuals,
            weights=rows.weights if trials is None and is_weighted else None,
            fitted_label="fitted value" if model.likelihood.is_quadratic else "linear predictor",
        ).plot(
            ax,
            kind=kind,
            scatter_kwargs=scatter_kwargs,
            hexbin_kwargs=hexbin_kwargs,
            line_kwargs=line_kwargs,
            trend_kwargs=trend_kwargs,
        )

    def plot(
        self,
        ax: Any = None,
        *,
        kind: str = "residual_vs_fitted",
        scatter_kwargs: Mapping[str, Any] | None = None,
        hexbin_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
        trend_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw the residuals.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Axes to draw on; None makes a figure.
        kind : {"residual_vs_fitted", "scale_location", "quantile"}, \
                default="residual_vs_fitted"
            Residuals against fitted values; square roots of absolute residuals against fitted
            values; or sorted residuals against standard normal quantiles. The first two have means
            in up to 20 parts of equal weight.
        scatter_kwargs : dict, default=None
            Keywords of `Axes.scatter`.
        hexbin_kwargs : dict, default=None
            Keywords of `Axes.hexbin`, which replaces points above 2,000 rows (not for "quantile").
        line_kwargs : dict, default=None
            Keywords of the line that a correct model would have.
        trend_kwargs : dict, default=None
            Keywords of `Axes.plot` for the means.

        Returns
        -------
        self : ResidualsDisplay
            With `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `kind` is not known.
        """
        check_choice("kind", kind, _KINDS)
        self.ax_, self.figure_ = axes_and_figure(ax)
        if kind == "quantile":
            self._draw_quantiles(scatter_kwargs, line_kwargs)
            return self
        values, expected, label = self.residuals, 0.0, "standardised residual"
        if kind == "scale_location":
            values, expected = np.sqrt(np.abs(values)), _EXPECTED_ROOT
            label = "square root of |standardised residual|"
        self._draw_cloud(values, scatter_kwargs, hexbin_kwargs)
        ax = self.ax_
        ax.axhline(expected, **reference_style(line_kwargs))
        centres, means = _trend(self.fitted, values, self._case_weights())
        trend = styled(trend_kwargs, color="C3", linewidth=2.0, marker="o", markersize=3)
        ax.plot(centres, means, **trend, label="mean")
        ax.set(xlabel=self.fitted_label, ylabel=label)
        ax.legend(loc="upper right")
        return self

    def _case_weights(self) -> np.ndarray:
        return np.ones(len(self.residuals)) if self.weights is None else self.weights

    def _draw_cloud(
        self,
        values: np.ndarray,
        scatter_kwargs: Mapping[str, Any] | None,
        hexbin_kwargs: Mapping[str, Any] | None,
    ) -> None:
        ax = self.ax_
        if len(values) <= MANY_POINTS:
            ax.scatter(self.fitted, values, **point_style(len(values), scatter_kwargs))
            return
        bins: dict[str, Any] = {
            "cmap": count_colours(ax),
            "gridsize": 60,
            "bins": "log",
            "mincnt": 1,
        }
        if self.weights is not None:
            bins |= {"C": self.weights, "reduce_C_function": np.sum}
        shown = ax.hexbin(self.fitted, values, **styled(hexbin_kwargs, linewidth=0.3, **bins))
        self.figure_.colorbar(shown, ax=ax, label="rows")

    def _draw_quantiles(
        self, scatter_kwargs: Mapping[str, Any] | None, line_kwargs: Mapping[str, Any] | None
    ) -> None:
        theoretical, sample = normal_quantiles(self.residuals, self._case_weights())
        ax = self.ax_
        style = point_style(len(sample), scatter_kwargs, alpha=0.8)
        ax.axline((0.0, 0.0), slope=1.0, **reference_style(line_kwargs))
        ax.scatter(theoretical, sample, **style)
        ax.set(xlabel="quantile of a standard normal variable", ylabel="standardised residual")


def normal_quantiles(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Normal quantiles of the ranks of values, and the values in ascending order.

    The rank of a value is the total weight below it plus half its weight, over the total weight:
    Hazen's plotting positions (i - 1/2) / n if all weights are 1.
    """
    order = np.argsort(values, kind="stable")
    weights = weights[order]
    return ndtri((np.cumsum(weights) - 0.5 * weights) / weights.sum()), values[order]


def _trend(
    fitted: np.ndarray, values: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Means of fitted values and of residuals, in parts of about equal weight, (k,) each."""
    order = np.argsort(fitted, kind="stable")
    ranks = np.empty(len(fitted))
    ranks[order] = (np.cumsum(weights[order]) - 0.5 * weights[order]) / weights.sum()
    rows = pd.DataFrame({"weight": weights, "fitted": weights * fitted, "value": weights * values})
    # rows with equal fitted values belong together
    n_parts = int(np.clip(0.5 * np.sqrt(len(fitted)), 2, _MOST_PARTS))
    part = pd.Series(ranks).groupby(fitted).transform("mean") * n_parts
    sums = rows.groupby(part.astype(int).to_numpy()).sum()
    weight = sums["weight"].to_numpy()
    return sums["fitted"].to_numpy() / weight, sums["value"].to_numpy() / weight


def _pooled(
    rows: ObservedRows, subsample: int | None, rng: np.random.Generator
) -> tuple[ObservedRows, TrialSets]:
    """One row per trial set, or per set of a random subsample, and the sets."""
    trials = TrialSets.of(rows)
    if subsample is not None and subsample < len(trials.first):
        trials = trials.sample(subsample, rng)
    return rows.take(trials.first), trials


def _warn_of_weights_of_classes(model: FittedModel, rows: ObservedRows) -> None:
    """Warn if weighted rows of classes cannot be pooled to trials."""
    if not model.likelihood.is_classifier or (rows.weights == 1.0).all():
        return
    if model.has_class_weights:
        warn_user(
            "The model was fitted with class_weight, so its probabilities are not those of the "
            "classes in y, and residuals are biased towards classes with small weights. Fit it "
            "without class_weight to check it.",
            UserWarning,
        )
        return
    warn_user(
        "With sample_weight a row counts several times but has one residual, so these residuals "
        "cannot show overdispersion between sets of trials. They can for two classes and whole "
        "weights: rows with equal covariates and groups are then pooled.",
        UserWarning,
    )


def _warn_of_other_rows(rows: ObservedRows) -> None:
    """Warn if the rows are not those of the fit."""
    difference = other_rows(rows.design, rows.total_weight, rows.result)
    if difference:
        warn_user(
            f"{difference}. Residuals of other rows spread more than the noise: use "
            "spread='prediction' for them. For the residuals of the fit, pass all its rows and "
            "their sample_weight.",
            UserWarning,
        )


def _scaled_residuals(rows: ObservedRows, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Residuals over the standard deviation of noise and mean together, (n,)."""
    total = variance + rows.parameters
    if not np.all(total > 0):
        raise ValueError(
            "The noise variance of the model is 0: it reproduces its rows, so residuals cannot be "
            "standardised. Fit a smaller model, or more rows."
        )
    return (rows.response - mean) / np.sqrt(total)


def _quantile_residuals(
    rows: ObservedRows,
    mean: np.ndarray,
    variance: np.ndarray,
    rng: np.random.Generator,
    trials: TrialSets | None = None,
) -> np.ndarray:
    """Randomised quantile residuals, (n,); probabilities are clipped so that all are finite."""
    likelihood, parameters = rows.result.likelihood, rows.parameters
    if trials is not None:
        below, upto = trials.interval(likelihood, mean, variance, parameters)
    else:
        interval = _class_interval if likelihood.is_classifier else _response_interval
        below, upto = interval(likelihood, rows.response, mean, variance, parameters)
    drawn = below + (upto - below) * rng.random(len(mean))
    limits = np.finfo(float)
    return ndtri(np.clip(drawn, limits.tiny, 1.0 - limits.epsneg))


def _class_interval(
    likelihood: Any,
    response: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    parameters: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """P(class < y) and P(class <= y)."""
    probabilities = likelihood.probabilities(mean, variance, parameters)
    upto = np.cumsum(probabilities, axis=1)
    rows, classes = np.arange(len(response)), response.astype(int)
    return np.where(classes > 0, upto[rows, classes - 1], 0.0), upto[rows, classes]


def _response_interval(
    likelihood: Any,
    response: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    parameters: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """P(response < y) and P(response <= y), averaged over the linear predictor."""
    upto = _averaged_cdf(likelihood, response, mean, variance, parameters)
    if not likelihood.is_discrete:
        return upto, upto
    return _averaged_cdf(likelihood, response - 1.0, mean, variance, parameters), upto


def _averaged_cdf(
    likelihood: Any,
    response: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    parameters: np.ndarray,
) -> np.ndarray:
    if not variance.any():
        return likelihood.cdf(response, mean, parameters)
    out = np.empty(len(mean))
    for begin in range(0, len(mean), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        predictors = mean[part, None] + np.sqrt(variance[part, None]) * NODES
        out[part] = likelihood.cdf(response[part, None], predictors, parameters) @ SHARES
    return out
