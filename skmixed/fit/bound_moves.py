"""How much the bound shrinks standard deviations of effects, from its optimum alone.

With q the best normal posterior, the log likelihood exceeds the ELBO by KL(q, p). The log density
of the rows is a sum of Hermite polynomials of their predictors. At the optimum q has all of the
first two orders. To second order the gap is half the variance of the others under q,

    gap = sum over i, j of a_i a_j C_ij^3 / 12 + b_i b_j C_ij^4 / 48,

with a and b the expected third and fourth derivatives of the rows and C the posterior covariance
of their predictors. Rows of a level share that of its effects, and sums over them become products
of small tensors: no quadrature, no draws, whatever the design. The derivative of the gap by the
logarithms of the standard deviations is the gradient of the likelihood there, and times the
covariance of their estimates it is a Newton step.

Data may hardly tell effects of several factors, or coefficients, apart. Then the effects of a level
are more uncertain than the predictors of its rows. The rows of the level alone bound the
uncertainty of the predictors, and C is held to that bound.
"""

from __future__ import annotations

from functools import reduce
from itertools import product

import numpy as np

from skmixed.fit.result import FactorResult, FitResult
from skmixed.fit.sites import VariationalPoint
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.sums.standard_units import Units

_MOST_NUMBERS = 20_000_000
"""Of a tensor of fourth order of all levels of a factor; beyond it nothing is said."""

_ORDERS = (3, 12.0), (4, 48.0)
"""Orders of the expansion and what their squares are divided by, k! times 2."""


def bound_moves(
    objective: VariationalObjective, point: VariationalPoint, units: Units, result: FitResult
) -> np.ndarray | None:
    """Change of the logarithms of standard deviations from the bound's maximum to the likelihood's.

    Parameters
    ----------
    objective : VariationalObjective
    point : VariationalPoint
        The optimum.
    units : Units
    result : FitResult
        Published there.

    Returns
    -------
    ndarray (s,) or None
        Of all effects of all factors, in design order, estimated; None where it is not known.
    """
    covariance = result.estimate_covariance
    if covariance is None or not objective.posterior.needs_determinant or not result.factors:
        return None
    derivatives = objective.higher_derivatives(point)
    rows = objective.responses.rows
    ranks = point.system.cross.sums.ranks
    precisions = objective.responses.weights * point.following.precision
    slopes = []
    with np.errstate(all="ignore"):
        for f, factor in enumerate(result.factors):
            codes = rows.codes[f] if ranks is None else np.argsort(ranks[f])[rows.codes[f]]
            basis = rows.basis(f) @ _pinv(units.bases[f])
            share = _known_share(factor, codes, basis, precisions)
            slopes.append(_slopes(factor, codes, share[:, None] * basis, derivatives))
        slope = np.concatenate(slopes)
        moves = covariance[: len(slope), : len(slope)] @ slope
    return moves if np.isfinite(moves).all() else None


def _pinv(matrix: np.ndarray) -> np.ndarray:
    """NumPy's pseudoinverse, at once for a single effect."""
    if matrix.size > 1:
        return np.linalg.pinv(matrix)
    return np.divide(1.0, matrix, out=np.zeros_like(matrix), where=matrix != 0.0)


def _known_share(
    factor: FactorResult, codes: np.ndarray, basis: np.ndarray, precisions: np.ndarray
) -> np.ndarray:
    """Root of the part of a level's posterior covariance that counts for its rows, (n,).

    With D what the rows of the level say of its effects, and S their covariance, S D has a trace
    of at most q where nothing else is uncertain.
    """
    S = factor.covariances
    n_levels, q = S.shape[:2]
    data = _level_tensor(codes, basis, precisions, 2, n_levels)
    excess = np.einsum("lab,lab->l", S, data) / q
    share: np.ndarray = 1.0 / np.sqrt(np.maximum(excess, 1.0))
    return share[codes]


def _slopes(
    factor: FactorResult,
    codes: np.ndarray,
    basis: np.ndarray,
    derivatives: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Derivatives of the gap by the logarithms of a factor's standard deviations, (q,).

    With S the posterior covariance of a level and Omega the estimated one, S moves by
    S Omega^-1 K S and its transpose with the k-th of them, K zero but for K_kk = 1.
    """
    S = factor.covariances
    n_levels, q = S.shape[:2]
    if n_levels * q**4 > _MOST_NUMBERS:
        return np.full(q, np.nan)
    back = S @ _pinv(factor.covariance)
    slopes = np.zeros(q)
    for (order, divisor), of_rows in zip(_ORDERS, derivatives, strict=True):
        tensor = _level_tensor(codes, basis, of_rows, order, n_levels)
        spread = tensor
        for _ in range(order - 1):
            # S times one index after the other, all but the first
            moved = (spread.reshape(n_levels, -1, q) @ S).reshape(tensor.shape)
            spread = moved.transpose(0, 1, order, *range(2, order))
        left, right = (each.reshape(n_levels, q, -1) for each in (tensor, spread))
        inner = S @ left @ right.swapaxes(1, 2) @ back
        slopes += 2.0 * order / divisor * inner.diagonal(axis1=1, axis2=2).sum(axis=0)
    return slopes


def _level_tensor(
    codes: np.ndarray, basis: np.ndarray, of_rows: np.ndarray, order: int, n_levels: int
) -> np.ndarray:
    """Sums over the rows of each level of what they say times z x z x ..., (L, q, ..., q)."""
    q = basis.shape[1]
    made: dict[tuple[int, ...], np.ndarray] = {}
    numbers = []
    for effects in product(range(q), repeat=order):
        key = tuple(sorted(effects))
        if key not in made:
            terms = reduce(np.multiply, (basis[:, k] for k in key), of_rows)
            made[key] = np.bincount(codes, terms, n_levels)
        numbers.append(made[key])
    return np.stack(numbers, axis=1).reshape(n_levels, *(q,) * order)
