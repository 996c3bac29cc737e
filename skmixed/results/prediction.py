"""Means and variances of the linear predictor from a fit.

The posterior covariance of all effects has too many entries to keep. Kept are,
exactly, the covariance of every level's effects and the covariance of all
effects with the fixed effects and the small factors (`FitResult.coupling`, B).
Given those, levels of different large factors are taken as independent:

    var(a' coefficients) = |B' a|^2 + sum_levels a_l' (C_ll - B_l B_l') a_l,

which is exact wherever all factors are small, and positive always. Where levels lie in those of
another large factor, their covariance with it is known too (`WithinFactor`). To it comes |F' a|^2
for what the posterior holds fixed, with F `FitResult.further`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

import numpy as np

from skmixed._kernels.row_effects import (
    add_coupled,
    add_effects,
    add_intercept_effects,
    add_level_thirds,
    add_level_variances,
    add_squared_norms,
)
from skmixed.design import Design
from skmixed.design.factors import Factor
from skmixed.fit.result import FactorResult, FitResult, WithinFactor

_CHUNK = 65_536
"""Rows whose coupling is held at a time."""

_NOT_KEPT = -2
"""Number of an outer level that no row has; -1 is the code of unknown ones."""

_FEW_LEVELS = 5_000
"""Levels that are worked out sooner than those of a few rows are found."""


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
    result: FitResult, design: Design, positions: Collection[int], *, further: bool = False
) -> np.ndarray:
    """Variance of the linear predictor, (n,); unknown levels have their prior's.

    Parameters
    ----------
    result : FitResult
    design : Design
    positions : collection of int
        As for `predict_mean`.
    further : bool, default=False
        Whether what the posterior holds fixed is uncertain too. Means of responses average
        over the posterior alone: those of a regression without random effects are then at its
        maximum likelihood estimates.
    """
    result, design = _used_levels(result, design, positions)
    n = len(design.fixed)
    p = len(result.coefficients)
    coupling = _by_factor(result, result.coupling)
    columns = _further(result)
    if not further:
        columns = columns[:, :0]
    beyond = _by_factor(result, columns)
    rest = [_uncoupled(result, coupling, position) for position in positions]
    variance = np.zeros(n)
    for begin in range(0, n, _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        centred = design.fixed[rows] - result.center
        shared, moved = centred @ result.coupling[:p], centred @ columns[:p]
        for factor, position, own in zip(design.factors, positions, rest, strict=True):
            codes, basis = factor.codes[rows], factor.loadings(rows)
            prior = result.factors[position].covariance
            add_level_variances(codes, basis, own, prior, variance[rows])
            add_coupled(codes, basis, coupling[position], shared)
            add_coupled(codes, basis, beyond[position], moved)
        add_squared_norms(shared, variance[rows])
        add_squared_norms(moved, variance[rows])
    for inner, (outer, within) in _nested(result, positions).items():
        factor = design.factors[outer]
        known, loads = _pairs(design.factors[inner], factor, within)
        moved = np.einsum("ir,irs->is", loads, rest[outer][factor.codes[known]])
        variance[known] += 2.0 * np.einsum("is,is->i", moved, factor.loadings(known))
    return np.maximum(variance, 0.0)


def _nested(result: FitResult, positions: Collection[int]) -> dict[int, tuple[int, WithinFactor]]:
    """Factors that lie in another one, which follows; both by their places in `positions`."""
    places = {position: k for k, position in enumerate(positions)}
    found = {}
    for position, k in places.items():
        within = result.factors[position].within
        if within is not None and within.position in places:
            found[k] = places[within.position], within
    return found


def _pairs(inner: Factor, outer: Factor, within: WithinFactor) -> tuple[np.ndarray, np.ndarray]:
    """Rows with a known inner level that lies in their outer one, and loads (rows, r).

    The loads are what multiplies outer effects in the conditional means of the inner ones.
    """
    known = (inner.codes >= 0) & (inner.codes < len(within.levels))
    lies = within.levels[np.where(known, inner.codes, 0)] == outer.codes
    rows = np.flatnonzero(known & lies)
    return rows, np.einsum("iq,iqr->ir", inner.loadings(rows), within.slopes[inner.codes[rows]])


def predict_skewness(
    result: FitResult, design: Design, positions: Collection[int], variance: np.ndarray
) -> np.ndarray | float:
    """Skewness of the linear predictor of this variance, (n,); 0 where all effects are normal.

    Third central moments of independent terms add up. Coefficients and effects of unknown levels
    are symmetric.

    Parameters
    ----------
    result : FitResult
    design : Design
    positions : collection of int
        As for `predict_mean`.
    variance : ndarray (n,)
    """
    known = [result.factors[position].thirds for position in positions]
    if all(thirds is None for thirds in known):
        return 0.0
    third = np.zeros(len(design.fixed))
    for factor, thirds in zip(design.factors, known, strict=True):
        if thirds is not None:
            add_level_thirds(factor.codes, factor.loadings(), thirds, third)
    return third / np.where(variance > 0.0, variance, np.inf) ** 1.5


def _used_levels(
    result: FitResult, design: Design, positions: Collection[int]
) -> tuple[FitResult, Design]:
    """The fit with the levels of few rows alone, so that a row costs the same for any number."""
    n_levels = sum(len(fitted.means) for fitted in result.factors)
    if n_levels <= _FEW_LEVELS + 8 * len(design.fixed):
        return result, design
    of_rows = dict(zip(positions, design.factors, strict=True))
    kept = [np.arange(len(result.coefficients))]
    offset = len(result.coefficients)
    fits, recoded = [], {}
    levels_of: dict[int, np.ndarray] = {}
    for position, fitted in enumerate(result.factors):
        used = np.empty(0, dtype=np.int64)
        if position in of_rows:
            factor = of_rows[position]
            used = np.unique(factor.codes[factor.codes >= 0])
            codes = np.where(factor.codes >= 0, np.searchsorted(used, factor.codes), -1)
            recoded[position] = replace(factor, codes=codes.astype(np.int32), n_levels=len(used))
        levels_of[position] = used
        fits.append(
            replace(
                fitted,
                means=fitted.means[used],
                covariances=fitted.covariances[used],
                thirds=None if fitted.thirds is None else fitted.thirds[used],
            )
        )
        q = fitted.means.shape[1]
        kept.append((offset + q * used.astype(np.int64)[:, None] + np.arange(q)).ravel())
        offset += fitted.means.size
    rows = np.concatenate(kept)
    result = replace(
        result,
        factors=tuple(_with_outer_of(fitted, levels_of, k) for k, fitted in enumerate(fits)),
        coupling=result.coupling[rows],
        further=None if result.further is None else result.further[rows],
    )
    return result, replace(design, factors=tuple(recoded[position] for position in positions))


def _with_outer_of(
    fitted: FactorResult, levels_of: dict[int, np.ndarray], position: int
) -> FactorResult:
    """A factor of some levels, with the numbers of its outer levels among those that are kept."""
    within = fitted.within
    if within is None:
        return fitted
    used, outer = levels_of[position], levels_of[within.position]
    numbers = np.full(len(used), _NOT_KEPT)
    if len(outer):
        places = np.minimum(np.searchsorted(outer, within.levels[used]), len(outer) - 1)
        numbers = np.where(outer[places] == within.levels[used], places, _NOT_KEPT)
    return replace(fitted, within=replace(within, levels=numbers, slopes=within.slopes[used]))


def _uncoupled(result: FitResult, coupling: list[np.ndarray], position: int) -> np.ndarray:
    """Level covariances C_ll less B_l B_l', (levels, q, q)."""
    covariances = result.factors[position].covariances
    if result.coupled[position]:
        return np.zeros_like(covariances)
    own = coupling[position]
    return covariances - own @ own.transpose(0, 2, 1)


def _further(result: FitResult) -> np.ndarray:
    """`FitResult.further`, of which earlier versions had none."""
    return np.zeros((len(result.coupling), 0)) if result.further is None else result.further


def _by_factor(result: FitResult, columns: np.ndarray) -> list[np.ndarray]:
    """The rows of B, or of another matrix over all coefficients, by factor, (levels, q, j)."""
    parts = []
    offset = len(result.coefficients)
    for factor in result.factors:
        size = factor.means.size
        part = columns[offset : offset + size]
        parts.append(np.ascontiguousarray(part).reshape(*factor.means.shape, part.shape[1]))
        offset += size
    return parts


def draw_predictors(
    result: FitResult, design: Design, positions: Collection[int], rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Linear predictors (n,) without end, each under one draw of all coefficients.

    Codes from the number of levels on stand for levels that were not fitted;
    each draws its effects from the prior.
    """
    p = len(result.coefficients)
    further = _further(result)
    everything = np.hstack([result.coupling, further])
    coupling = _by_factor(result, result.coupling)
    moving = _by_factor(result, everything)
    centred = design.fixed - result.center
    nested = _nested(result, positions)
    parts = {}
    for k, (factor, position) in enumerate(zip(design.factors, positions, strict=True)):
        fitted = result.factors[position]
        n_new = max(int(factor.codes.max(initial=-1)) + 1 - len(fitted.means), 0)
        prior = np.broadcast_to(fitted.covariance, (n_new, *fitted.covariance.shape))
        own = None
        if not result.coupled[position]:
            own = _uncoupled(result, coupling, position)
            if k in nested:
                own = own - _through_outer(result, coupling, nested[k][1])
            own = roots(own)
        parts[k] = (factor.codes, factor.loadings(), fitted, moving[position], own, roots(prior))
    # outer levels first
    order = sorted(parts, key=lambda k: k in nested)
    while True:
        shared = rng.standard_normal(everything.shape[1])
        predictor = centred @ (result.coefficients + everything[:p] @ shared)
        if design.offset is not None:
            predictor += design.offset
        apart: dict[int, np.ndarray] = {}
        for k in order:
            codes, basis, fitted, coupled, own, prior = parts[k]
            drawn = fitted.means + coupled @ shared
            if own is not None:
                apart[k] = _draw_levels(own, rng)
                if k in nested:
                    outer, within = nested[k]
                    of_outer = apart[outer][within.levels]
                    apart[k] = apart[k] + np.einsum("lqr,lr->lq", within.slopes, of_outer)
                drawn = drawn + apart[k]
            if len(prior):
                drawn = np.concatenate([drawn, _draw_levels(prior, rng)])
            add_effects(codes, basis, drawn, predictor)
        yield predictor


def _through_outer(
    result: FitResult, coupling: list[np.ndarray], within: WithinFactor
) -> np.ndarray:
    """Covariance of inner effects that comes from those of their outer levels, (levels, q, q)."""
    outer = _uncoupled(result, coupling, within.position)[within.levels]
    return within.slopes @ outer @ within.slopes.transpose(0, 2, 1)


def roots(covariances: np.ndarray) -> np.ndarray:
    """Matrices R with R R' the covariances, singular ones included, (levels, q, q)."""
    values, vectors = np.linalg.eigh(covariances)
    return vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]


def _draw_levels(roots: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.einsum("lqs,ls->lq", roots, rng.standard_normal(roots.shape[:2]))
