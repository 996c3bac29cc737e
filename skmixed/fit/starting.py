"""Starting values of the variance parameters, from one look at the cross-products."""

from __future__ import annotations

import numpy as np

from skmixed._kernels.cells import add_squared_cells
from skmixed.posteriors.prior import EffectsPrior
from skmixed.sums.cross_products import CrossProducts, FactorLayout

_FEW_EFFECTS = 8
"""Effects of a level whose covariance is found from moments: they take q^2 equations."""

_LEAST_SLOPE = 1e-2
"""Least variance over the noise, in any direction, of effects that start from moments."""


def moment_estimates(
    cross: CrossProducts,
    prior: EffectsPrior,
    noise_variance: float | None,
    n_observations: float,
    least: float = 1e-3,
) -> np.ndarray:
    """theta by the method of moments.

    For every random intercept the sum of squares within its levels is matched
    with its expectation, which is linear in all variance components (Henderson
    1953, Biometrics 9, method 1; the response enters as residuals of least
    squares). Slopes start at half the noise, or, in a model of one factor, from the
    same for all its effects. The estimates of moments are bounded from below, as a
    start at zero could not leave it.
    """
    present = {block.factor.position for block in prior.blocks}
    intercepts = [
        factor for factor in prior.factors
        if factor.n_effects == 1
        and factor.position in present
        and (cross.effect_precisions(factor) > 0.0).all()
    ]  # fmt: skip
    relative = dict.fromkeys((f.position for f in prior.factors), 0.25)
    estimates = _solve_moments(cross, intercepts, n_observations)
    if estimates is not None:
        noise = estimates[-1] if noise_variance is None else noise_variance
        for factor, variance in zip(intercepts, estimates, strict=False):
            relative[factor.position] = float(np.clip(variance / noise, least, 1e6))
    covariances = [relative[factor.position] * np.eye(factor.n_effects) for factor in prior.factors]
    if [1 < factor.n_effects <= _FEW_EFFECTS for factor in prior.factors] == [True]:
        found = _of_one_factor(cross, n_observations, noise_variance)
        if found is not None:
            values, vectors = np.linalg.eigh(found)
            covariances = [(vectors * np.clip(values, max(least, _LEAST_SLOPE), 1e6)) @ vectors.T]
    return prior.nearest(covariances)


def _of_one_factor(
    cross: CrossProducts, n: float, noise_variance: float | None
) -> np.ndarray | None:
    """Covariance (q, q) over the noise of the effects of the only factor; None where none fits.

    With c = Z'y of a level and D = Z'Z, the expectation of sum c c' is
    sum D Omega D + noise sum D, and that of y'y is sum tr(D Omega) + noise (n - p).
    """
    own, products = cross.sums.own[0], cross.sums.with_dense[0][:, :, -1]
    q = own.shape[1]
    rows = own.reshape(-1, q * q)
    matrix = np.empty((q * q + 1, q * q + 1))
    # (a, b), (c, d) from D_ab Omega_bc D_cd
    pairs = (rows.T @ rows).reshape(q, q, q, q)
    matrix[:-1, :-1] = pairs.transpose(0, 3, 1, 2).reshape(q * q, q * q)
    matrix[-1, :-1] = matrix[:-1, -1] = rows.sum(axis=0)
    matrix[-1, -1] = n - cross.n_fixed
    right = np.append((products.T @ products).ravel(), cross.response_squares)
    found = np.linalg.lstsq(matrix, right, rcond=None)[0]
    noise = found[-1] if noise_variance is None else noise_variance
    if not np.isfinite(found).all() or noise <= 1e-6 * cross.response_squares / n:
        return None
    omega = found[:-1].reshape(q, q) / noise
    return 0.5 * (omega + omega.T)


def _solve_moments(
    cross: CrossProducts, factors: list[FactorLayout], n: float
) -> np.ndarray | None:
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
        matrix[a, k] = n - len(weights[a])
        for b in range(a):
            squares = _squared_cells(cross, factors[a], factors[b])
            matrix[a, b] = total - (squares[0] / weights[a]).sum()
            matrix[b, a] = total - (squares[1] / weights[b]).sum()
        matrix[k, a] = total - (weights[a] ** 2).sum() / total
    right[k] = response_squares
    matrix[k, k] = n - 1.0 - cross.n_fixed
    try:
        estimates = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return None
    if not np.isfinite(estimates).all() or estimates[-1] <= 1e-6 * response_squares / total:
        return None
    return estimates


def _squared_cells(
    cross: CrossProducts, a: FactorLayout, b: FactorLayout
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the squared cells of two factors over every level of one, and of the other."""
    pair = next(p for p in cross.sums.pairs if {p.first, p.second} == {a.position, b.position})
    sizes = (a.n_levels, b.n_levels) if pair.first == a.position else (b.n_levels, a.n_levels)
    first, second = np.zeros(sizes[0]), np.zeros(sizes[1])
    add_squared_cells(pair.start, pair.levels, pair.values, first, second)
    return (first, second) if pair.first == a.position else (second, first)
