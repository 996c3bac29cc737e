"""Approximate Cholesky factors of symmetric diagonally dominant matrices."""

from __future__ import annotations

import numpy as np

from skmixed._kernels.sampled_factor import sample_factor
from skmixed.solvers.eliminated_levels import SingularSystemError
from skmixed.solvers.sparse_root import SparseColumns, SparseRoot

_CAPACITY = 4
"""Entries of a factor to begin with, by entries of half the matrix and copies of each."""


class ApproximateFactor(SparseRoot):
    """M = P' L D L' P close to a matrix K, which is its expectation; see `sample_factor`.

    Parameters
    ----------
    start, columns, values : ndarray
        K by rows, both triangles; off the diagonal it is not positive.
    copies : int
        "k" of AC(k): more make a better factor with more entries.
    seed : int, default=1
        Equal seeds make equal factors.

    Raises
    ------
    SingularSystemError
        Where K is not positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.solvers.approximate_factor import ApproximateFactor
    >>> start, columns = np.array([0, 2, 4]), np.array([0, 1, 0, 1], np.int32)
    >>> factor = ApproximateFactor(start, columns, np.array([3.0, -1.0, -1.0, 2.0]), copies=1)
    >>> round(float(np.exp(factor.log_det)), 6)
    5.0
    """

    def __init__(
        self,
        start: np.ndarray,
        columns: np.ndarray,
        values: np.ndarray,
        copies: int,
        seed: int = 1,
    ) -> None:
        n = len(start) - 1
        capacity = _CAPACITY * copies * (len(columns) // 2 + n) + 16
        # neighbouring seeds of the kernel's generator begin alike
        state = int(np.random.default_rng(seed).integers(1, 2**31 - 1))
        n_entries = -1
        while n_entries == -1:
            n_entries, found = sample_factor((start, columns, values), copies, state, capacity)
            capacity *= 2
        if n_entries < 0:
            raise SingularSystemError("the system is singular at these variance parameters")
        place = np.empty(n, np.int32)
        place[found.order] = np.arange(n, dtype=np.int32)
        rows, lower = place[found.rows[:n_entries]], found.lower[:n_entries].copy()
        below = SparseColumns(found.first, rows, lower)
        super().__init__(found.order, below, found.diagonal, np.zeros((0, 0)))
