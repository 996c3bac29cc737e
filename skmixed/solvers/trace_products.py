"""Traces of products of projected covariances, from the inverse of the tail.

With A the tail's columns and those of the fixed effects, R their reduced cross-products, C the
inverse of the system, F = Z_1'V_1^-1 A of the eliminated factor and S_l its blocks Z'V_1^-1 Z,

    K = I - C R,   Z_t'P Z_t = R K,   Z_1'P Z_t = F K,   Z_1'P Z_1 = S - F C F',

so that all traces are sums over products of matrices of the size of the tail. C is the inverse of
R + W, with W the precision of the tail's effects and zero for the rest: K = C W and R K = W - W C W
save all products but those with F, where W is not so large that digits cancel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skmixed.solvers.eliminated_levels import subtract_eliminated
from skmixed.sums.cross_products import FactorLayout, symmetric
from skmixed.threads import run_parts, threads_of_fit

if TYPE_CHECKING:
    from skmixed.solvers.direct import DirectSystem

_WORTH_THREADS = 256
"""Rows of a product from which threads share them."""

Parameter = tuple[FactorLayout, np.ndarray]
"""A factor and a symmetric matrix B (q, q): the direction Z (I x B) Z' of V."""


def trace_products(system: DirectSystem, parameters: list[Parameter]) -> np.ndarray:
    """tr(P V_i P V_j) of directions of V, (m, m); levels of all factors are independent."""
    cross = system.cross
    size = cross.size - 1
    covariance = system.covariance(True)
    C = symmetric(covariance.tail)
    by_precision = all(system.is_moderate(factor) for factor in cross.tail_factors)
    if by_precision:
        K = _times_precision(system, C)
        N = -_times_precision(system, K[: cross.n_tail].T)
        for factor in cross.tail_factors:
            first = np.arange(factor.start, factor.columns.stop, factor.n_effects)
            for (a, b), amount in np.ndenumerate(_precision(system, factor)):
                N[first + a, first + b] += amount
    else:
        R = symmetric(system.reduced[:size, :size])
        K = (np.eye(size) - C @ R)[:, : cross.n_tail]
        N = R[: cross.n_tail] @ K
    m = len(parameters)
    out = np.zeros((m, m))
    of_tail = [i for i, (factor, _) in enumerate(parameters) if factor is not cross.eliminated]
    _among_tail(N, parameters, of_tail, out)
    eliminated = [i for i in range(m) if i not in of_tail]
    spread: dict[int, np.ndarray] = {}
    for i in eliminated:
        M = _through_levels(system, parameters[i][1])
        spread[i] = _product(C, M)
        moved = _times_precision(system, spread[i].T) if by_precision else M @ K
        for j in of_tail:
            factor, B = parameters[j]
            columns = moved[:, factor.columns].reshape(size, factor.n_levels, -1) @ B
            own = K[:, factor.columns].reshape(size, factor.n_levels, -1)
            out[i, j] = out[j, i] = float((columns * own).sum())
    if eliminated:
        S, U = system.levels.precision_shrunk, covariance.forms
        for i in eliminated:
            for j in eliminated:
                Bi, Bj = parameters[i][1], parameters[j][1]
                left, right = Bi @ S @ Bj, Bi @ U @ Bj
                # block diagonal parts, and those between levels
                apart = (left * (S - U)).sum() - (right * S).sum()
                out[i, j] = float(apart + (spread[i] * spread[j].T).sum())
    return out


def _precision(system: DirectSystem, factor: FactorLayout) -> np.ndarray:
    """Inverse (q, q) of the covariance of the effects of a level."""
    inverse = system.scales[factor.position].inverse
    return inverse.T @ inverse


def _times_precision(system: DirectSystem, matrix: np.ndarray) -> np.ndarray:
    """Tail columns (m, n_tail) of a matrix (m, N) times the precision of the tail's effects."""
    out = np.empty((len(matrix), system.cross.n_tail))
    for factor in system.cross.tail_factors:
        precision, columns = _precision(system, factor), matrix[:, factor.columns]
        if factor.n_effects == 1:
            np.multiply(columns, precision[0, 0], out=out[:, factor.columns])
            continue
        moved = columns.reshape(len(matrix), factor.n_levels, -1) @ precision
        out[:, factor.columns] = moved.reshape(len(matrix), factor.size)
    return out


def _product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """left @ right, rows shared by the threads of the fit."""
    out = np.empty((len(left), right.shape[1]))

    def fill(first: int, last: int) -> None:
        np.matmul(left[first:last], right, out=out[first:last])

    shares = np.linspace(0, len(left), threads_of_fit() + 1).astype(int).tolist()
    run_parts(fill, shares if len(left) > _WORTH_THREADS else [0, len(left)])
    return out


def _among_tail(
    N: np.ndarray, parameters: list[Parameter], of_tail: list[int], out: np.ndarray
) -> None:
    """Fill the traces between tail factors from Z_t'P Z_t (N, n_tail)."""
    for i in of_tail:
        for j in of_tail:
            (first, Bi), (second, Bj) = parameters[i], parameters[j]
            block = N[first.columns, second.columns]
            shape = (first.n_levels, first.n_effects, second.n_levels, second.n_effects)
            block = block.reshape(shape)
            left = np.einsum("ab,lbmc->lamc", Bi, block) if len(Bi) > 1 else Bi[0, 0] * block
            out[i, j] = float(np.vdot(left, block @ Bj))


def _through_levels(system: DirectSystem, B: np.ndarray) -> np.ndarray:
    """F'(I x B) F of the eliminated levels, (N, N)."""
    cross, shrink = system.cross, system.levels.shrink
    out = np.zeros((cross.size, cross.size))
    middle = -(shrink.swapaxes(1, 2) @ B @ shrink)
    subtract_eliminated([cross], middle, out)
    return symmetric(out[:-1, :-1])
