"""Starting values of the variance parameters, from one look at the cross-products."""

from __future__ import annotations

import numpy as np

from skmixed.posteriors.prior import EffectsPrior
from skmixed.sums.cross_products import CrossProducts, FactorLayout


def moment_estimates(
    cross: CrossProducts,
    prior: EffectsPrior,
    noise_variance: float | None,
    least: float = 1e-3,
) -> np.ndarray:
    """theta by the method of moments.

    For every random intercept the sum of squares within its levels is matched
    with its expectation, which is linear in all variance components (Henderson
    1953, Biometrics 9, method 1; the response enters as residuals of least
    squares). Slopes start at half the noise. The estimates of moments are
    bounded from below, as a start at zero could not leave it.
    """
    present = {block.factor.position for block in prior.blocks}
    intercepts = [
        factor for factor in prior.factors
        if factor.n_effects == 1
        and factor.position in present
        and (cross.effect_precisions(factor) > 0.0).all()
    ]  # fmt: skip
    relative = dict.fromkeys((f.position for f in prior.factors), 0.25)
    estimates = _solve_moments(cross, intercepts)
    if estimates is not None:
        noise = estimates[-1] if noise_variance is None else noise_variance
        for factor, variance in zip(intercepts, estimates, strict=False):
            relative[factor.position] = float(np.clip(variance / noise, least, 1e6))
    covariances = [relative[factor.position] * np.eye(factor.n_effects) for factor in prior.factors]
    return prior.nearest(covariances)


def _solve_moments(cross: CrossProducts, factors: list[FactorLayout]) -> np.ndarray | None:
    """Variance components of scalar factors and of the noise; None if not positive."""
    if not factors:
        return None
    weights = [cross.effect_precisions(factor)[:, 0] for factor in factors]
    sums = [cross.dense_products(factor)[-1] for factor in factors]
    total = weights[0].sum()
    response_squares = cross.response_squares
    k = len(factors)
    matrix = np.zeros((k + 1, k + 1))
    right = np.zeros(k + 1)
    for a in range(k):
        right[a] = response_squares - (sums[a] ** 2 / weights[a]).sum()
        matrix[a, k] = total - len(weights[a])
        for b in range(k):
            if a != b:
                matrix[a, b] = total - _shared_squares(cross, factors[a], factors[b], weights[a])
        matrix[k, a] = total - (weights[a] ** 2).sum() / total
    right[k] = response_squares
    matrix[k, k] = total - 1.0 - cross.n_fixed
    try:
        estimates = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(estimates).all() or estimates[-1] <= 1e-6 * response_squares / total:
        return None
    return estimates


def _shared_squares(
    cross: CrossProducts, a: FactorLayout, b: FactorLayout, weights: np.ndarray
) -> float:
    """sum over levels l of a of (sum over levels m of b of w_lm^2) / w_l."""
    pair = next(p for p in cross.sums.pairs if {p.first, p.second} == {a.position, b.position})
    levels = pair.first_levels if pair.first == a.position else pair.levels
    squares = np.bincount(levels, pair.values[:, 0, 0] ** 2, minlength=len(weights))
    return float((squares / weights).sum())
