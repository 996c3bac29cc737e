"""Simulated crossed and nested data, with the truth they were drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import logit, ndtri

from skmixed.datasets.truth import (
    Layout,
    Spread,
    TrueModel,
    check_choice,
    check_count,
    check_sd,
    draw_model,
)
from skmixed.families import traits


def make_mixed_regression(
    n_samples: int = 1000,
    n_features: int = 1,
    groups: Sequence[int] = (50, 20),
    *,
    family: str = "gaussian",
    nested: bool = False,
    n_slopes: int | Sequence[int] = 0,
    intercept: float = 0.0,
    coef: ArrayLike | None = None,
    group_sd: float | Sequence[float] = 0.5,
    slope_sd: float | Sequence[float] = 0.3,
    correlation: float = 0.0,
    noise_sd: float = 1.0,
    heavy_tailed: bool = False,
    shuffle: bool = True,
    as_frame: bool = True,
    return_truth: bool = True,
    random_state: int | np.random.RandomState | None = None,
) -> Any:
    """Simulate a regression with crossed or nested random effects.

    Features are independent standard normals. The linear predictor is the fixed
    part ``intercept + x @ coef``, plus a random intercept and random slopes of
    the levels of every grouping factor. The response adds normal noise to it, or
    is a count whose mean is the exponential of it.

    Parameters
    ----------
    n_samples : int, default=1000
        Number of rows.
    n_features : int, default=1
        Number of feature columns ``x0``, ``x1``, ...; may be 0.
    groups : sequence of int, default=(50, 20)
        Number of levels of the grouping factors ``g0``, ``g1``, ... If nested,
        a number after the first counts the levels within each level of the
        factor before: ``(50, 20)`` is 50 levels of ``g0`` and 1,000 of ``g1``.
    family : {"gaussian", "poisson"}, default="gaussian"
        The response: normal, or a Poisson count with logarithmic link.
    nested : bool, default=False
        Whether each factor is nested in the one before; else they are crossed.
        Levels of a nested factor are numbered through, so ``(1 | g0) + (1 | g1)``
        is the model in both cases.
    n_slopes : int or sequence of int, default=0
        Number of features, the first ones, whose slope varies between levels: for all factors, or
        one number per factor.
    intercept : float, default=0.0
        Intercept of the fixed effects.
    coef : float or array-like of shape (n_features,), default=None
        Fixed coefficients; standard normal draws if None.
    group_sd : float or sequence of float, default=0.5
        Standard deviation of the random intercepts, for all the factors or one
        number per factor.
    slope_sd : float or sequence of float, default=0.3
        The same for the random slopes.
    correlation : float, default=0.0
        Correlation of every two effects of the same level.
    noise_sd : float, default=1.0
        Standard deviation of the noise; counts have none.
    heavy_tailed : bool, default=False
        False: levels of a factor occur equally often, up to one row. True: the activity of the
        first factor is log-normal, and the popularity of the others falls like a power of the rank
        (Zipf-Mandelbrot), as in ratings of films by users.
    shuffle : bool, default=True
        If False the rows stay in the order of the levels of ``g0`` (of the
        innermost factor if nested).
    as_frame : bool, default=True
        X as a DataFrame with integer (int32) identifier columns and y as a
        Series. If False: float arrays, X with the features first and then the
        identifiers.
    return_truth : bool, default=True
        Whether to return the truth as well.
    random_state : int, RandomState instance or None, default=None
        Source of all draws; pass an int for reproducible data.

    Returns
    -------
    X : DataFrame or ndarray of shape (n_samples, n_features + n_groups)
        Columns ``x0``, ..., then ``g0``, ... Every level occurs at least once
        when `n_samples` allows it.
    y : Series or ndarray of shape (n_samples,)
        The response; integers if they are counts.
    truth : :class:`~sklearn.utils.Bunch`
        Only with ``return_truth=True``. What was simulated, named as the fitted
        attributes of the estimators are: `intercept`, `coef`, `random_effects`
        ({group: DataFrame, levels x terms}), `random_effects_cov`
        ({group: DataFrame, terms x terms}) and, of normal responses, `noise_sd`;
        and `formula`, the model in lme4's notation.

    Raises
    ------
    ValueError
        If a size, a standard deviation, the correlation or the family is
        impossible, a sequence has the wrong length, or counts would be too large
        for integers.

    Examples
    --------
    >>> from skmixed.datasets import make_mixed_regression
    >>> X, y, truth = make_mixed_regression(
    ...     n_samples=600, groups=(30, 12), n_slopes=(1, 0), random_state=0)
    >>> X.columns.tolist()
    ['x0', 'g0', 'g1']
    >>> truth.formula
    'y ~ 1 + x0 + (1 + x0 | g0) + (1 | g1)'
    >>> truth.random_effects["g0"].shape
    (30, 2)

    Classes within schools:

    >>> X, y, truth = make_mixed_regression(groups=(10, 5), nested=True, random_state=0)
    >>> int(X.groupby("g1")["g0"].nunique().max()), X["g1"].nunique()
    (1, 50)
    """
    check_choice("family", family, ("gaussian", "poisson"))
    noise_sd = check_sd("noise_sd", noise_sd)
    layout = Layout(n_samples, groups, nested, heavy_tailed, shuffle)
    spread = Spread(n_slopes, group_sd, slope_sd, correlation)
    model = draw_model(
        layout, spread, n_features, intercept=intercept, coef=coef, random_state=random_state
    )
    counts = traits(family).is_discrete
    X, y = model.pack(_draw_counts(model) if counts else _draw_normal(model, noise_sd), as_frame)
    told = {} if counts else {"noise_sd": noise_sd}
    return (X, y, model.tell(**told)) if return_truth else (X, y)


def make_mixed_classification(
    n_samples: int = 1000,
    n_features: int = 1,
    groups: Sequence[int] = (50, 20),
    *,
    n_classes: int = 2,
    link: str = "logit",
    thresholds: ArrayLike | None = None,
    nested: bool = False,
    n_slopes: int | Sequence[int] = 0,
    intercept: float = 0.0,
    coef: ArrayLike | None = None,
    group_sd: float | Sequence[float] = 0.5,
    slope_sd: float | Sequence[float] = 0.3,
    correlation: float = 0.0,
    heavy_tailed: bool = False,
    shuffle: bool = True,
    as_frame: bool = True,
    return_truth: bool = True,
    random_state: int | np.random.RandomState | None = None,
) -> Any:
    """Simulate binary or ordered classes with crossed or nested random effects.

    The linear predictor is that of :func:`make_mixed_regression`. Of two classes,
    1 has the probability ``F(linear predictor)``, where F is the logistic or the
    standard normal distribution function. More classes are ordered:
    ``P(y <= k) = F(thresholds[k] - linear predictor)``, the cumulative model [1]_.

    Parameters
    ----------
    n_samples, n_features, groups
        As in :func:`make_mixed_regression`.
    n_classes : int, default=2
        Number of classes; from 3 on they are ordered categories.
    link : {"logit", "probit"}, default="logit"
        The distribution function F: logistic or standard normal.
    thresholds : array-like of shape (n_classes - 1,), default=None
        Boundaries between ordered categories, ascending. None: all categories are equally probable
        at a linear predictor of 0. Two classes have `intercept` instead.
    nested, n_slopes
        As in :func:`make_mixed_regression`.
    intercept : float, default=0.0
        Intercept of the fixed effects. For ordered categories it is subtracted from all thresholds,
        also in `truth`.
    coef, group_sd, slope_sd, correlation, heavy_tailed, shuffle, as_frame
        As in :func:`make_mixed_regression`.
    return_truth : bool, default=True
        Whether to return the truth as well.
    random_state : int, RandomState instance or None, default=None
        Source of all draws; pass an int for reproducible data.

    Returns
    -------
    X : DataFrame or ndarray of shape (n_samples, n_features + n_groups)
        Columns ``x0``, ..., then ``g0``, ...
    y : Series or ndarray of shape (n_samples,)
        The classes, integers from 0 to ``n_classes - 1``.
    truth : :class:`~sklearn.utils.Bunch`
        Only with ``return_truth=True``: `intercept`, `coef`, `random_effects`,
        `random_effects_cov` and `formula` as in :func:`make_mixed_regression`, and
        `thresholds` of ordered categories, whose `intercept` is 0.

    Raises
    ------
    ValueError
        If a size, a standard deviation, the correlation or the link is not valid, thresholds are
        not ascending, or a sequence has the wrong length.

    References
    ----------
    .. [1] McCullagh (1980). Regression Models for Ordinal Data. Journal of the
       Royal Statistical Society B 42(2).

    Examples
    --------
    >>> from skmixed.datasets import make_mixed_classification
    >>> X, y, truth = make_mixed_classification(n_samples=600, random_state=0)
    >>> X.columns.tolist(), sorted(y.unique().tolist())
    (['x0', 'g0', 'g1'], [0, 1])

    Answers on a scale of four:

    >>> X, y, truth = make_mixed_classification(n_samples=600, n_classes=4, random_state=0)
    >>> truth.thresholds.round(2).tolist()
    [-1.1, 0.0, 1.1]
    """
    n_classes = check_count("n_classes", n_classes, least=2)
    check_choice("link", link, ("logit", "probit"))
    cuts = _check_thresholds(thresholds, n_classes, link)
    layout = Layout(n_samples, groups, nested, heavy_tailed, shuffle)
    spread = Spread(n_slopes, group_sd, slope_sd, correlation)
    model = draw_model(
        layout,
        spread,
        n_features,
        intercept=intercept if n_classes == 2 else 0.0,
        coef=coef,
        random_state=random_state,
    )  # fmt: skip
    told = {}
    if n_classes > 2:
        cuts = cuts - intercept
        told["thresholds"] = cuts
    X, y = model.pack(_draw_classes(model, cuts, link), as_frame)
    return (X, y, model.tell(**told)) if return_truth else (X, y)


def _check_thresholds(thresholds: ArrayLike | None, n_classes: int, link: str) -> NDArray:
    """Thresholds as given, or quantiles of F at equal probabilities."""
    if thresholds is None:
        quantile = logit if link == "logit" else ndtri
        return quantile(np.arange(1, n_classes) / n_classes)
    values = np.asarray(thresholds, dtype=np.float64)
    if n_classes == 2:
        raise ValueError("thresholds= is for ordered categories; for two classes use intercept=.")
    if values.shape != (n_classes - 1,):
        raise ValueError(
            f"thresholds has shape {values.shape}, but n_classes={n_classes} needs "
            f"{n_classes - 1} thresholds."
        )
    if not (np.isfinite(values).all() and (np.diff(values) > 0).all()):
        raise ValueError(f"thresholds={values.tolist()} must be finite and increasing.")
    return values


def _draw_normal(model: TrueModel, noise_sd: float) -> NDArray[np.float64]:
    """Linear predictor and noise, built in place."""
    response = model.generator.standard_normal(model.n_samples)
    for rows in model.chunks():
        part = response[rows]
        part *= noise_sd
        model.add_predictor(part, rows)
    return response


def _draw_counts(model: TrueModel) -> NDArray[np.int64]:
    """Poisson counts with logarithmic link."""
    response = np.empty(model.n_samples, dtype=np.int64)
    for rows in model.chunks():
        predictor = np.zeros(rows.stop - rows.start)
        model.add_predictor(predictor, rows)
        # Beyond 2^62, near the largest integer, no count can be drawn.
        if predictor.max() > np.log(2.0**62):
            raise ValueError(
                f"The largest linear predictor is {predictor.max():.3g}, and a count with mean "
                f"exp({predictor.max():.3g}) exceeds 64-bit integers; lower intercept, coef, "
                "group_sd or slope_sd."
            )
        response[rows] = model.generator.poisson(np.exp(predictor))
    return response


def _draw_classes(model: TrueModel, cuts: NDArray[np.float64], link: str) -> NDArray[np.int64]:
    """How many cuts lie below linear predictor + noise, whose distribution is F."""
    generator = model.generator
    draw_noise = generator.logistic if link == "logit" else generator.normal
    response = np.empty(model.n_samples, dtype=np.int64)
    for rows in model.chunks():
        latent = draw_noise(size=rows.stop - rows.start)
        model.add_predictor(latent, rows)
        response[rows] = np.searchsorted(cuts, latent)
    return response
