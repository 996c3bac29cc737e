"""The mixed model that simulated data are drawn from, without its response distribution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
class Group:
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


@dataclass(frozen=True)
class TrueModel:
    """Everything that was drawn before the response.

    Attributes
    ----------
    groups : list of Group
    effects : list of ndarray of shape (n_levels, n_terms)
        One array per grouping factor.
    codes : list of ndarray of shape (n_samples,)
        Levels of the rows, one array per grouping factor.
    features : list of ndarray of shape (n_samples,)
    intercept : float
    coefficients : ndarray of shape (n_features,)
    generator : numpy Generator
        Where further draws come from.
    """

    groups: list[Group]
    effects: list[NDArray[np.float64]]
    codes: list[NDArray[np.int32]]
    features: list[NDArray[np.float64]]
    intercept: float
    coefficients: NDArray[np.float64]
    generator: np.random.Generator

    @property
    def n_samples(self) -> int:
        """Number of rows."""
        return int(self.codes[0].size)

    def chunks(self) -> Iterator[slice]:
        """All rows, a part at a time."""
        for start in range(0, self.n_samples, CHUNK_ROWS):
            yield slice(start, min(start + CHUNK_ROWS, self.n_samples))

    def add_predictor(self, values: NDArray[np.float64], rows: slice) -> None:
        """Add the linear predictor of these rows to `values`, in place."""
        values += self.intercept
        for feature, coefficient in zip(self.features, self.coefficients, strict=True):
            values += coefficient * feature[rows]
        for column, effect in zip(self.codes, self.effects, strict=True):
            levels = column[rows]
            values += effect[:, 0].take(levels)
            for j in range(1, effect.shape[1]):
                values += effect[:, j].take(levels) * self.features[j - 1][rows]

    def pack(self, response: NDArray, as_frame: bool) -> tuple[Any, Any]:
        """X and y as they are returned."""
        if not as_frame:
            columns = np.column_stack([*self.features, *self.codes])
            return columns.astype(np.float64, copy=False), response
        named: dict[str, NDArray] = {f"x{j}": x for j, x in enumerate(self.features)}
        named |= {group.name: x for group, x in zip(self.groups, self.codes, strict=True)}
        # copy=False keeps one block a column: no second copy of large data.
        frame = pd.DataFrame(named, copy=False)
        return frame, pd.Series(response, name="y", index=frame.index, copy=False)

    def tell(self, **of_response: Any) -> Bunch:
        """The truth, labelled as fitted attributes are.

        `of_response` adds to it what belongs to the response distribution.
        """
        parts = ["1", *(f"x{j}" for j in range(self.coefficients.size))]
        for group in self.groups:
            parts.append(f"({' + '.join(('1', *group.terms[1:]))} | {group.name})")
        told = Bunch(
            intercept=float(self.intercept),
            coef=self.coefficients,
            random_effects={
                group.name: pd.DataFrame(
                    effect,
                    columns=list(group.terms),
                    index=pd.RangeIndex(group.n_levels, name=group.name),
                )
                for group, effect in zip(self.groups, self.effects, strict=True)
            },
            random_effects_cov={
                group.name: pd.DataFrame(
                    group.covariance, index=list(group.terms), columns=list(group.terms)
                )
                for group in self.groups
            },
            formula="y ~ " + " + ".join(parts),
        )
        told.update(of_response)
        return told


@dataclass(frozen=True)
class Spread:
    """How the effects of the levels vary; attributes are parameters of `make_mixed_regression`."""

    n_slopes: int | Sequence[int]
    group_sd: float | Sequence[float]
    slope_sd: float | Sequence[float]
    correlation: float


@dataclass(frozen=True)
class Layout:
    """Which levels the rows have; attributes are parameters of `make_mixed_regression`."""

    n_samples: int
    groups: Sequence[int]
    nested: bool
    heavy_tailed: bool
    shuffle: bool

    def level_counts(self) -> list[int]:
        """Levels of every factor, checked."""
        groups = (int(self.groups),) if isinstance(self.groups, Integral) else self.groups
        counts = [check_count(f"groups[{i}]", n, least=1) for i, n in enumerate(groups)]
        if not counts:
            raise ValueError(
                "groups=() has no grouping factor; give the number of levels of at least one."
            )
        return counts


def draw_model(
    layout: Layout,
    spread: Spread,
    n_features: int,
    *,
    intercept: float,
    coef: ArrayLike | None,
    random_state: int | np.random.RandomState | None,
) -> TrueModel:
    """A model with drawn coefficients, effects, levels and features; sizes are checked first."""
    n_samples = check_count("n_samples", layout.n_samples, least=1)
    n_features = check_count("n_features", n_features, least=0)
    level_counts = layout.level_counts()
    described = _describe_groups(level_counts, layout.nested, n_features, spread)

    # A Generator draws several times faster than RandomState; its seed comes from it.
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max, size=4)
    generator = np.random.default_rng(seed)

    coefficients = draw_coefficients(coef, n_features, generator)
    effects = [draw_effects(group.n_levels, group.covariance, generator) for group in described]
    draw_levels = draw_nested_levels if layout.nested else draw_crossed_levels
    codes = draw_levels(n_samples, level_counts, layout.heavy_tailed, layout.shuffle, generator)
    features = [generator.standard_normal(n_samples) for _ in range(n_features)]
    return TrueModel(described, effects, codes, features, intercept, coefficients, generator)


def check_count(name: str, value: Any, *, least: int) -> int:
    """An integer that is large enough."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{name}={value!r} must be an integer of at least {least}.")
    return int(value)


def check_sd(name: str, value: Any) -> float:
    """A standard deviation, which may be zero."""
    if not isinstance(value, Real) or not np.isfinite(float(value)) or float(value) < 0:
        raise ValueError(f"{name}={value!r} must be a finite number of at least 0.")
    return float(value)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """One of several words."""
    if not isinstance(value, str) or value not in choices:
        known = ", ".join(map(repr, choices))
        raise ValueError(f"{name}={value!r} is not known here; choose from {known}.")
    return value


def _one_per_group(name: str, value: Any, n_groups: int) -> list[Any]:
    """Repeat a number for every factor; check the length of a sequence."""
    if isinstance(value, Real):
        return [value] * n_groups
    values = list(value)
    if len(values) != n_groups:
        raise ValueError(
            f"{name}={value!r} has {len(values)} values for {n_groups} grouping factors; "
            "give one number for all of them, or one per factor."
        )
    return values


def _describe_groups(
    level_counts: list[int], nested: bool, n_features: int, spread: Spread
) -> list[Group]:
    """Names, sizes, terms and covariances of the grouping factors."""
    n_groups = len(level_counts)
    slope_counts = _one_per_group("n_slopes", spread.n_slopes, n_groups)
    intercept_sds = _one_per_group("group_sd", spread.group_sd, n_groups)
    slope_sds = _one_per_group("slope_sd", spread.slope_sd, n_groups)
    totals = np.cumprod(level_counts, dtype=np.int64) if nested else np.asarray(level_counts)
    described = []
    for i in range(n_groups):
        count = check_count(f"n_slopes of g{i}", slope_counts[i], least=0)
        if count > n_features:
            raise ValueError(
                f"n_slopes of g{i} is {count}, but n_features={n_features}: a slope needs a "
                "feature; raise n_features or lower n_slopes."
            )
        if totals[i] > np.iinfo(np.int32).max:
            raise ValueError(
                f"g{i} would have {totals[i]} levels, more than int32 can count; lower groups=."
            )
        sds = np.full(count + 1, check_sd(f"slope_sd of g{i}", slope_sds[i]))
        sds[0] = check_sd(f"group_sd of g{i}", intercept_sds[i])
        described.append(
            Group(
                name=f"g{i}",
                n_levels=int(totals[i]),
                terms=("Intercept", *(f"x{j}" for j in range(count))),
                covariance=_equal_correlation(count + 1, spread.correlation) * np.outer(sds, sds),
            )
        )
    return described


def _equal_correlation(n_terms: int, correlation: float) -> NDArray[np.float64]:
    """Correlation matrix with the same correlation everywhere off the diagonal."""
    lowest = -1.0 if n_terms < 3 else -1.0 / (n_terms - 1)
    if not lowest <= correlation <= 1.0:
        raise ValueError(
            f"correlation={correlation!r} is impossible for {n_terms} effects per level; "
            f"it must lie between {lowest:.3g} and 1."
        )
    matrix = np.full((n_terms, n_terms), float(correlation))
    np.fill_diagonal(matrix, 1.0)
    return matrix
