"""Inverses of the small matrices of the eliminated levels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skmixed._kernels.elimination import shrink_levels


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
