"""A change of coordinates that makes few directions of a system the identity."""

from __future__ import annotations

import numpy as np


class LowRankChange:
    """I + Q (A^(-1/2) - I) Q' with Q an orthonormal basis of some directions and A = Q'HQ.

    Parameters
    ----------
    directions : ndarray (N, k)
    projected : ndarray (k, k)
        directions' H directions.

    Attributes
    ----------
    there, back, added : ndarray (k, k)
        Coefficients of the directions in the change, its inverse and its square.
    log_det : float
        log |A|.
    trace : float
        What the change adds to the trace of the system.

    Raises
    ------
    numpy.linalg.LinAlgError
        Where A is not positive definite.
    """

    def __init__(self, directions: np.ndarray, projected: np.ndarray) -> None:
        self.directions = directions
        values, vectors = np.linalg.eigh(directions.T @ directions)
        used = values > 1e-10 * values.max(initial=0.0)
        basis = vectors[:, used] / np.sqrt(values[used])
        pivots, turn = np.linalg.eigh(basis.T @ projected @ basis)
        if not pivots.min(initial=1.0) > 0.0:
            raise np.linalg.LinAlgError("the coarse system is not positive definite")
        basis = basis @ turn
        self.there = (basis * (pivots**-0.5 - 1.0)) @ basis.T
        self.back = (basis * (pivots**0.5 - 1.0)) @ basis.T
        self.added = (basis * (1.0 / pivots - 1.0)) @ basis.T
        self.log_det = float(np.log(pivots).sum())
        self.trace = float((1.0 - pivots).sum())

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """The change of vectors (N, m)."""
        return self._change(vectors, self.there)

    def apply_inverse(self, vectors: np.ndarray) -> np.ndarray:
        """Its inverse."""
        return self._change(vectors, self.back)

    def _change(self, vectors: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        return vectors + self.directions @ (coefficients @ (self.directions.T @ vectors))
