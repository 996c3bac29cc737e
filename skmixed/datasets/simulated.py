"""Simulated crossed and nested data, with the truth they were drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch, check_random_state

from skmixed.datasets.draws import (
    draw_coefficients,
    draw_crossed_levels,
    draw_effects,
    draw_nested_levels,
)

# Rows handled at a time, so that temporaries stay small beside the result.
CHUNK_ROWS = 1_000_000


@dataclass(frozen=True)
class _Group:
    """One grouping factor: its name, its terms and their true covariance.

    Attributes
    ----------
    name : str
        The identifier column.
    n_levels : int
        Levels over the whole data.
    terms : tuple of str
        ``"Intercept"`` and the features whose slope varies.
    covariance : ndarray of shape (n_terms, n_terms)
        Covariance of the effects of one level.
    """

    name: str
    n_levels: int
    terms: tuple[str, ...]
    covariance: NDArray[np.float64]


def make_mixed_regression(
    n_samples: int = 1000,
    n_features: int = 1,
    groups: Sequence[int] = (50, 20),
    *,
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

    Features are independent standard normals. The response is the fixed part
    ``intercept + x @ coef``, plus a random intercept and random slopes of the
    levels of every grouping factor, plus normal noise.

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
    nested : bool, default=False
        Whether each factor is nested in the one before; else they are crossed.
        Levels of a nested factor are numbered through, so ``(1 | g0) + (1 | g1)``
        is the model in both cases.
    n_slopes : int or sequence of int, default=0
        How many of the first features have a slope that varies between the
        levels, for all the factors or one number a factor.
    intercept : float, default=0.0
        Intercept of the fixed effects.
    coef : float or array-like of shape (n_features,), default=None
        Fixed coefficients; standard normal draws if None.
    group_sd : float or sequence of float, default=0.5
        Standard deviation of the random intercepts, for all the factors or one
        number a factor.
    slope_sd : float or sequence of float, default=0.3
        The same for the random slopes.
    correlation : float, default=0.0
        Correlation of every two effects of the same level.
    noise_sd : float, default=1.0
        Standard deviation of the noise.
    heavy_tailed : bool, default=False
        If False the levels of a factor occur equally often, to one row. If True
        the activity of the first factor is log-normal and the popularity of
        the others falls like a power of the rank (Zipf-Mandelbrot), as in ratings
        of films by users.
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
        The response.
    truth : :class:`~sklearn.utils.Bunch`
        Only with ``return_truth=True``. What was simulated, named as the fitted
        attributes of the estimators are: `intercept`, `coef`, `random_effects`
        ({group: DataFrame, levels x terms}), `random_effects_cov`
        ({group: DataFrame, terms x terms}) and `noise_sd`; and `formula`, the
        model in lme4's notation.

    Raises
    ------
    ValueError
        When a size, a standard deviation or the correlation is impossible, or
        a sequence has the wrong length.

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
    n_samples = _check_count("n_samples", n_samples, least=1)
    n_features = _check_count("n_features", n_features, least=0)
    if isinstance(groups, Integral):
        groups = (int(groups),)
    level_counts = [_check_count(f"groups[{i}]", n, least=1) for i, n in enumerate(groups)]
    if not level_counts:
        raise ValueError("groups=() names no grouping factor; give the levels of at least one.")
    described = _describe_groups(
        level_counts, nested, n_features, n_slopes, group_sd, slope_sd, correlation
    )
    noise_sd = _check_sd("noise_sd", noise_sd)

    # A Generator draws several times faster than RandomState; its seed comes from it.
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=4)
    generator = np.random.default_rng(seed)

    coefficients = draw_coefficients(coef, n_features, generator)
    effects = [draw_effects(group.n_levels, group.covariance, generator) for group in described]
    draw_levels = draw_nested_levels if nested else draw_crossed_levels
    codes = draw_levels(n_samples, level_counts, heavy_tailed, shuffle, generator)
    features = [generator.standard_normal(n_samples) for _ in range(n_features)]
    response = _respond(
        n_samples, features, codes, intercept, coefficients, effects, noise_sd, generator
    )

    X, y = _pack(features, codes, response, as_frame)
    if not return_truth:
        return X, y
    return X, y, _tell_truth(described, effects, intercept, coefficients, noise_sd)


def _check_count(name: str, value: Any, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{name}={value!r} must be an integer of at least {least}.")
    return int(value)


def _check_sd(name: str, value: Any) -> float:
    if not isinstance(value, Real) or not np.isfinite(float(value)) or float(value) < 0:
        raise ValueError(f"{name}={value!r} must be a finite number of at least 0.")
    return float(value)


def _one_per_group(name: str, value: Any, n_groups: int) -> list[Any]:
    """Repeat a number for every factor; check the length of a sequence."""
    if isinstance(value, Real):
        return [value] * n_groups
    values = list(value)
    if len(values) != n_groups:
        raise ValueError(
            f"{name}={value!r} has {len(values)} values for {n_groups} grouping factors; "
            "give one number for all of them or one each."
        )
    return values


def _describe_groups(
    level_counts: list[int],
    nested: bool,
    n_features: int,
    n_slopes: Any,
    group_sd: Any,
    slope_sd: Any,
    correlation: float,
) -> list[_Group]:
    """Names, sizes, terms and covariances of the grouping factors."""
    n_groups = len(level_counts)
    slope_counts = _one_per_group("n_slopes", n_slopes, n_groups)
    intercept_sds = _one_per_group("group_sd", group_sd, n_groups)
    slope_sds = _one_per_group("slope_sd", slope_sd, n_groups)
    totals = np.cumprod(level_counts, dtype=np.int64) if nested else np.asarray(level_counts)
    described = []
    for i in range(n_groups):
        count = _check_count(f"n_slopes of g{i}", slope_counts[i], least=0)
        if count > n_features:
            raise ValueError(
                f"n_slopes of g{i} is {count}, but n_features={n_features}: a slope needs a "
                "feature; raise n_features or lower n_slopes."
            )
        if totals[i] > np.iinfo(np.int32).max:
            raise ValueError(
                f"g{i} would have {totals[i]} levels, more than int32 identifiers can count; "
                "lower groups=."
            )
        sds = np.full(count + 1, _check_sd(f"slope_sd of g{i}", slope_sds[i]))
        sds[0] = _check_sd(f"group_sd of g{i}", intercept_sds[i])
        described.append(
            _Group(
                name=f"g{i}",
                n_levels=int(totals[i]),
                terms=("Intercept", *(f"x{j}" for j in range(count))),
                covariance=_equal_correlation(count + 1, correlation) * np.outer(sds, sds),
            )
        )
    return described


def _equal_correlation(n_terms: int, correlation: float) -> NDArray[np.float64]:
    """Correlation matrix with the same correlation everywhere off the diagonal."""
    lowest = -1.0 if n_terms < 3 else -1.0 / (n_terms - 1)
    if not lowest <= correlation <= 1.0:
        raise ValueError(
            f"correlation={correlation!r} is impossible between {n_terms} effects of one level; "
            f"it must lie between {lowest:.3g} and 1."
        )
    matrix = np.full((n_terms, n_terms), float(correlation))
    np.fill_diagonal(matrix, 1.0)
    return matrix


def _respond(
    n_samples: int,
    features: list[NDArray[np.float64]],
    codes: list[NDArray[np.int32]],
    intercept: float,
    coefficients: NDArray[np.float64],
    effects: list[NDArray[np.float64]],
    noise_sd: float,
    generator: np.random.Generator,
) -> NDArray[np.float64]:
    """The response, built in place and by chunks of rows."""
    response = generator.standard_normal(n_samples)
    for start in range(0, n_samples, CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        part = response[rows]
        part *= noise_sd
        part += intercept
        for feature, coefficient in zip(features, coefficients, strict=True):
            part += coefficient * feature[rows]
        for column, effect in zip(codes, effects, strict=True):
            levels = column[rows]
            part += effect[:, 0].take(levels)
            for j in range(1, effect.shape[1]):
                part += effect[:, j].take(levels) * features[j - 1][rows]
    return response


def _pack(
    features: list[NDArray[np.float64]],
    codes: list[NDArray[np.int32]],
    response: NDArray[np.float64],
    as_frame: bool,
) -> tuple[Any, Any]:
    if not as_frame:
        return np.column_stack([*features, *codes]).astype(np.float64, copy=False), response
    columns: dict[str, NDArray] = {f"x{j}": feature for j, feature in enumerate(features)}
    columns |= {f"g{i}": column for i, column in enumerate(codes)}
    # copy=False keeps one block a column: no second copy of large data.
    frame = pd.DataFrame(columns, copy=False)
    return frame, pd.Series(response, name="y", index=frame.index, copy=False)


def _tell_truth(
    described: list[_Group],
    effects: list[NDArray[np.float64]],
    intercept: float,
    coefficients: NDArray[np.float64],
    noise_sd: float,
) -> Bunch:
    """What the data were drawn from, labelled as fitted attributes are."""
    parts = ["1", *(f"x{j}" for j in range(coefficients.size))]
    for group in described:
        parts.append(f"({' + '.join(('1', *group.terms[1:]))} | {group.name})")
    return Bunch(
        intercept=float(intercept),
        coef=coefficients,
        random_effects={
            group.name: pd.DataFrame(
                effect,
                columns=list(group.terms),
                index=pd.RangeIndex(group.n_levels, name=group.name),
            )
            for group, effect in zip(described, effects, strict=True)
        },
        random_effects_cov={
            group.name: pd.DataFrame(
                group.covariance, index=list(group.terms), columns=list(group.terms)
            )
            for group in described
        },
        noise_sd=noise_sd,
        formula="y ~ " + " + ".join(parts),
    )
