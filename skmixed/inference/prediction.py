"""Means and variances of the linear predictor from a fit.

The posterior covariance of all effects has too many entries to keep. Kept are,
exactly, the covariance of every level's effects and the covariance of all
effects with the fixed effects and the small factors (`FitResult.coupling`, B).
Given those, levels of different large factors are taken as independent:

    var(a' coefficients) = |B' a|^2 + sum_levels a_l' (C_ll - B_l B_l') a_l,

which is exact wherever all factors are small, and positive always.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from skmixed._kernels.prediction import (
    add_coupled,
    add_effects,
    add_intercept_effects,
    add_level_variances,
    add_squared_norms,
    ones_basis,
)
from skmixed.design.design import Design
from skmixed.inference.result import FitResult

_CHUNK = 65_536
"""Rows whose coupling is held at a time."""


def predict_mean(result: FitResult, design: Design, positions: Collection[int]) -> np.ndarray:
    """Posterior mean of the linear predictor, offset included, (n,).

    Parameters
    ----------
    result : FitResult
    design : Design
        With the factors at `positions` of the fit, in their order.
    positions : collection of int
    """
    columns = design.fixed
    first = int(design.has_intercept)
    mean = (columns[:, first:] - result.center[first:]) @ result.coefficients[first:]
    if first:
        mean += result.coefficients[0]
    if design.offset is not None:
        mean += design.offset
    for factor, position in zip(design.factors, positions, strict=True):
        means = result.factors[position].means
        if factor.basis is None:
            add_intercept_effects(factor.codes, means, mean)
        else:
            add_effects(factor.codes, factor.basis, means, mean)
    return mean


def predict_variance(
    result: FitResult, design: Design, positions: Collection[int]
) -> np.ndarray:
    """Posterior variance of the linear predictor, (n,); unknown levels have their prior's."""
    n = len(design.fixed)
    p = len(result.coefficients)
    coupling = _coupling_by_factor(result)
    variance = np.zeros(n)
    for factor, position in zip(design.factors, positions, strict=True):
        fitted = result.factors[position]
        rest = np.zeros_like(fitted.covariances)
        if not result.coupled[position]:
            own = coupling[position]
            rest = fitted.covariances - own @ own.transpose(0, 2, 1)
        basis = ones_basis(n) if factor.basis is None else factor.basis
        add_level_variances(factor.codes, basis, rest, fitted.covariance, variance)
    for begin in range(0, n, _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        shared = (design.fixed[rows] - result.center) @ result.coupling[:p]
        for factor, position in zip(design.factors, positions, strict=True):
            codes = factor.codes[rows]
            basis = ones_basis(len(codes)) if factor.basis is None else factor.basis[rows]
            add_coupled(codes, basis, coupling[position], shared)
        add_squared_norms(shared, variance[rows])
    return np.maximum(variance, 0.0)


def _coupling_by_factor(result: FitResult) -> list[np.ndarray]:
    """The rows of B of each factor, (levels, q, j)."""
    parts = []
    offset = len(result.coefficients)
    for factor in result.factors:
        size = factor.means.size
        part = result.coupling[offset : offset + size]
        parts.append(np.ascontiguousarray(part).reshape(*factor.means.shape, part.shape[1]))
        offset += size
    return parts


def draw_coefficients(
    result: FitResult, rng: np.random.Generator, positions: Collection[int]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """One draw of the (centred) fixed effects and of the effects of the chosen factors."""
    p = len(result.coefficients)
    shared = rng.standard_normal(result.coupling.shape[1])
    fixed = result.coefficients + result.coupling[:p] @ shared
    coupling = _coupling_by_factor(result)
    effects = []
    for position in positions:
        fitted = result.factors[position]
        draw = fitted.means + coupling[position] @ shared
        if not result.coupled[position]:
            own = coupling[position]
            rest = fitted.covariances - own @ own.transpose(0, 2, 1)
            draw = draw + _draw_levels(rest, rng)
        effects.append(draw)
    return fixed, effects


def _draw_levels(covariances: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariances)
    noise = rng.standard_normal(covariances.shape[:2])
    return np.einsum("lqs,ls->lq", vectors, np.sqrt(np.maximum(values, 0.0)) * noise)
