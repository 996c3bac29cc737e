"""Exact elimination of the dense part of a large tail: small factors and fixed effects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag

from skmixed.covariances import Scale
from skmixed.solvers.base import SingularSystemError
from skmixed.solvers.sparse_tail import SparseTail


@dataclass(frozen=True)
class DensePart:
    """The dense part, solved for given the large factors.

    With B the reduced cross-products of the dense part, T its factor of the
    covariance (an identity for the fixed effects), J the identity on its random
    effects and L L' = T'BT + J, the dense part's effects given effects u of the large
    factors are root (response_half - half' u), with root = T L'^-1.

    Attributes
    ----------
    root : ndarray (P, P)
    half : ndarray (N, P)
        Reduced cross-products of the large factors with the dense part, times `root`.
    response_half : ndarray (P,)
        root' times those with the response.
    log_det_small, log_det_fixed : float
        Of the random part of L L', and of what is left of the fixed effects.
    """

    root: np.ndarray
    half: np.ndarray
    response_half: np.ndarray
    log_det_small: float
    log_det_fixed: float

    @classmethod
    def eliminate(
        cls,
        tail: SparseTail,
        scales: list[Scale],
        with_dense: np.ndarray,
        dense: np.ndarray,
    ) -> DensePart:
        """From the reduced cross-products that `SparseTail.reduce` returns.

        Raises
        ------
        SingularSystemError
            When fixed effects are linearly dependent.
        """
        n_small, n_columns = tail.n_small, len(dense) - 1
        small = [
            np.kron(np.eye(factor.n_levels), scales[factor.position].matrix)
            for factor in tail.small
        ]
        scale = block_diag(*small, np.eye(n_columns - n_small))
        identity = np.zeros(n_columns)
        identity[:n_small] = 1.0
        try:
            lower = np.linalg.cholesky(scale.T @ dense[:-1, :-1] @ scale + np.diag(identity))
        except np.linalg.LinAlgError:
            raise SingularSystemError(
                "the system is singular at these variance parameters"
            ) from None
        pivots = 2.0 * np.log(np.diagonal(lower))
        root = scale @ np.linalg.inv(lower).T
        return cls(
            root,
            with_dense[:, :-1] @ root,
            root.T @ dense[:-1, -1],
            float(pivots[:n_small].sum()),
            float(pivots[n_small:].sum()),
        )
