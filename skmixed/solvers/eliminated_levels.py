"""The eliminated levels: inverses of their small matrices, and what they explain of the tail."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skmixed._kernels.elimination import shrink_levels, subtract_cells
from skmixed.sums.cross_products import CrossProducts
from skmixed.threads import run_parts


class SingularSystemError(ArithmeticError):
    """The mixed-model equations are not positive definite at working precision."""


@dataclass(frozen=True)
class EliminatedLevels:
    """Small matrices of every eliminated level at one Omega; D is `own`.

    Attributes
    ----------
    shrink : ndarray (L, Q, Q)
        (I + D Omega)^-1.
    omega_shrunk : ndarray (L, Q, Q)
        Omega (I + D Omega)^-1, the covariance of the effects given the tail.
    precision_shrunk : ndarray (L, Q, Q)
        D (I + Omega D)^-1, what the level's rows say about its effects.
    log_det : float
        sum_l log |I + D_l Omega|.
    """

    shrink: np.ndarray
    omega_shrunk: np.ndarray
    precision_shrunk: np.ndarray
    log_det: float

    @classmethod
    def of(cls, own: np.ndarray, scale: np.ndarray) -> EliminatedLevels:
        """From a factor's cross-products (L, Q, Q) and its T (Q, Q).

        Raises
        ------
        SingularSystemError
            When T is so large that nothing is left of the identity.
        """
        shrink, omega, precision = (np.empty_like(own) for _ in range(3))
        log_det = shrink_levels(own, scale, shrink, omega, precision)
        if not np.isfinite(log_det):
            raise SingularSystemError("the levels are singular at these variance parameters")
        return cls(shrink, omega, precision, log_det)


def subtract_eliminated(
    parts: list[CrossProducts], middle: np.ndarray, out: np.ndarray, n_threads: int = 1
) -> None:
    """Subtract sum_l C_l' middle_l C_l from the lower triangle of `out` (T + P, T + P).

    C_l (sum of Q, T + P) are a level's cross-products of all `parts`, one above the other, which
    have the same cells; `middle` (L, sum of Q, sum of Q) is symmetric.
    """
    cross, with_dense, values = parts[0], parts[0].with_dense, parts[0].values
    if len(parts) > 1:
        with_dense = np.concatenate([part.with_dense for part in parts], axis=1)
        values = np.concatenate([part.values for part in parts], axis=1)

    def subtract(first_row: int, last_row: int) -> None:
        subtract_cells(cross.start, cross.columns, values, middle, (first_row, last_row), out)

    if cross.n_tail:
        run_parts(subtract, cross.row_bounds(n_threads))
    products, q = times_levels(middle, with_dense), 0
    for part in parts:
        n_effects = part.with_dense.shape[1]
        out[cross.n_tail :] -= part.scatter(products[:, q : q + n_effects]).T
        q += n_effects


def times_levels(matrices: np.ndarray, effects: np.ndarray) -> np.ndarray:
    """Every level's matrix, of (L, Q, Q), times its effects, of (L, Q, m)."""
    return matrices * effects if matrices.shape[1] == 1 else np.matmul(matrices, effects)
