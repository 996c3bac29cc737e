"""A root of the inverse of a matrix from its sparse factor L D L'."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from skmixed._kernels.sparse_factor import (
    multiply_lower,
    multiply_upper,
    solve_lower,
    solve_upper,
)


class SparseColumns(NamedTuple):
    """Entries of L below the diagonal, by columns in the order of elimination.

    Attributes
    ----------
    first : ndarray (K + 1,)
        First entry of every column.
    rows, lower : ndarray (n_entries,)
        Places of the rows, and the entries.
    """

    first: np.ndarray
    rows: np.ndarray
    lower: np.ndarray


class SparseRoot:
    """S_0 = P' L'^-1 D^(-1/2) of the matrix P' L D L' P.

    The last rows may be a dense matrix, the *core*, with a Cholesky factor of its own.

    Parameters
    ----------
    order : ndarray (N,)
        Rows of the matrix in the order of elimination.
    columns : SparseColumns
    diagonal : ndarray (K,)
        D of the K eliminated rows.
    core : ndarray (N - K, N - K)
        Lower triangular factor of what is left.

    Attributes
    ----------
    log_det : float
        Log determinant of the matrix.
    n_entries : int
        Numbers that a product with S_0 takes.
    """

    def __init__(
        self, order: np.ndarray, columns: SparseColumns, diagonal: np.ndarray, core: np.ndarray
    ) -> None:
        self._order, self._columns, self._core = order, columns, core
        self._place = np.empty(len(order), np.int64)
        self._place[order] = np.arange(len(order))
        self._sizes = np.append(np.sqrt(diagonal), np.ones(len(core)))[:, None]
        self.n_entries = len(columns.rows) + len(order) + core.size // 2
        self.log_det = float(
            np.log(diagonal).sum() + 2.0 * np.log(np.diagonal(core)).sum()
        )  # fmt: skip

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """S_0 v, for vectors (N, m)."""
        out = vectors / self._sizes
        core = self._core_of(out)
        core[:] = self._solve_core(core, True)
        solve_upper(*self._columns, out)
        return out[self._place]

    def apply_transposed(self, vectors: np.ndarray) -> np.ndarray:
        """S_0' r."""
        out = vectors[self._order]
        solve_lower(*self._columns, out)
        core = self._core_of(out)
        core[:] = self._solve_core(core, False)
        out /= self._sizes
        return np.asarray(out)

    def apply_inverse(self, vectors: np.ndarray) -> np.ndarray:
        """S_0^-1 h."""
        out = vectors[self._order]
        multiply_upper(*self._columns, out)
        core = self._core_of(out)
        core[:] = self._core.T @ core
        out *= self._sizes
        return np.asarray(out)

    def apply_transposed_inverse(self, vectors: np.ndarray) -> np.ndarray:
        """S_0'^-1 v."""
        out = vectors * self._sizes
        core = self._core_of(out)
        core[:] = self._core @ core
        multiply_lower(*self._columns, out)
        return np.asarray(out[self._place])

    def _core_of(self, vectors: np.ndarray) -> np.ndarray:
        return vectors[len(vectors) - len(self._core) :]

    def _solve_core(self, vectors: np.ndarray, transposed: bool) -> np.ndarray:
        if not len(self._core):
            return vectors
        lower = self._core.T if transposed else self._core
        return np.asarray(solve_triangular(lower, vectors, lower=not transposed))
