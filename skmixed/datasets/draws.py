"""Random draws of coefficients, effects and levels for simulated data."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Chosen to look like MovieLens' 32 million ratings: the median user gives some 75,
# the mean user 159, the busiest tens of thousands; one film in 84,432 draws 0.3 % of
# the ratings and the median film only a handful.
LOG_ACTIVITY_SD = 1.2
POPULARITY_EXPONENT = 2.0
POPULARITY_OFFSET = 10.0
POPULARITY_LEVELS_PER_OFFSET = 300.0


def draw_coefficients(
    coef: ArrayLike | None, n_features: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    if coef is None:
        return generator.standard_normal(n_features)
    values = np.asarray(coef, dtype=np.float64)
    if values.ndim == 0:
        return np.full(n_features, float(values))
    if values.shape != (n_features,):
        raise ValueError(
            f"coef has shape {values.shape}, but n_features={n_features}; give one number per "
            "feature, or one for all."
        )
    return values.copy()


def draw_effects(
    n_levels: int, covariance: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Effects of all levels of a factor, (n_levels, n_terms)."""
    # A symmetric root, unlike Cholesky's, also exists for sd 0 or correlation 1.
    eigenvalues, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.clip(eigenvalues, 0.0, None)) @ vectors.T
    return generator.standard_normal((n_levels, len(covariance))) @ root


def _spread_rows(n_samples: int, weights: NDArray, generator: np.random.Generator) -> NDArray:
    """How many rows each level gets: one at least (if they suffice), the rest by weight."""
    spare = n_samples - weights.size
    floor = 1 if spare >= 0 else 0
    draws = generator.multinomial(spare if floor else n_samples, weights / weights.sum())
    return draws + floor


def _equal_rows(n_samples: int, n_levels: int) -> NDArray:
    counts = np.full(n_levels, n_samples // n_levels, dtype=np.int64)
    counts[: n_samples % n_levels] += 1
    return counts


def _activity(n_levels: int, generator: np.random.Generator) -> NDArray[np.float64]:
    return generator.lognormal(sigma=LOG_ACTIVITY_SD, size=n_levels)


def _popularity(n_levels: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Zipf-Mandelbrot weights in random order, so that identifiers tell no rank."""
    offset = POPULARITY_OFFSET + n_levels / POPULARITY_LEVELS_PER_OFFSET
    ranks = np.arange(1.0, n_levels + 1.0)
    return generator.permutation((ranks + offset) ** -POPULARITY_EXPONENT)


def draw_crossed_levels(
    n_samples: int,
    level_counts: list[int],
    heavy_tailed: bool,
    shuffle: bool,
    generator: np.random.Generator,
) -> list[NDArray[np.int32]]:
    """Level codes of independent factors, one int32 array per factor."""
    codes = []
    for i, n_levels in enumerate(level_counts):
        if heavy_tailed:
            draw_weights = _activity if i == 0 else _popularity
            counts = _spread_rows(n_samples, draw_weights(n_levels, generator), generator)
        else:
            counts = _equal_rows(n_samples, n_levels)
        column = np.repeat(np.arange(n_levels, dtype=np.int32), counts)
        # Factors after the first are always shuffled: that is what crosses them.
        if shuffle or i > 0:
            generator.shuffle(column)
        codes.append(column)
    return codes


def draw_nested_levels(
    n_samples: int,
    level_counts: list[int],
    heavy_tailed: bool,
    shuffle: bool,
    generator: np.random.Generator,
) -> list[NDArray[np.int32]]:
    """Level codes of nested factors: the innermost is drawn and tells the others."""
    n_innermost = int(np.prod(level_counts, dtype=np.int64))
    if heavy_tailed:
        weights = np.ones(1)
        for i, n_within in enumerate(level_counts):
            draw_weights = _activity if i == 0 else _popularity
            shares = np.stack([draw_weights(n_within, generator) for _ in range(weights.size)])
            weights = (weights[:, None] * shares).ravel()
        counts = _spread_rows(n_samples, weights, generator)
    else:
        counts = _equal_rows(n_samples, n_innermost)
    innermost = np.repeat(np.arange(n_innermost, dtype=np.int32), counts)
    if shuffle:
        generator.shuffle(innermost)
    codes = [innermost]
    for n_within in reversed(level_counts[1:]):
        codes.insert(0, codes[0] // np.int32(n_within))
    return codes
