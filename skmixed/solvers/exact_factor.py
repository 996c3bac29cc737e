"""Exact sparse Cholesky factors, where they have little more entries than the matrix.

Chains, trees, and graphs that are nearly that: an order of elimination is found once for a
pattern, and every matrix with this pattern is factorised in it. The last rows, which have
become a dense matrix, are left to LAPACK.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skmixed._kernels.ordering import order_by_degree
from skmixed._kernels.sparse_factor import (
    factor_columns,
    find_entries,
    invert_selected,
)
from skmixed.solvers.cholesky import factorise, invert
from skmixed.solvers.eliminated_levels import SingularSystemError
from skmixed.solvers.sparse_root import SparseColumns, SparseRoot
from skmixed.sums.cross_products import symmetric

_MOST_NEIGHBOURS = 250
"""Neighbours of a row up to which its elimination is worth no dense matrix."""

_MOST_WORK = 60_000_000
"""Squared neighbours of all sparse eliminations: half a second."""

_MOST_CORE = 2500
"""Rows that may be left as a dense matrix."""

_LEAST_SPARSE = 4
"""Rows in all for one that may be left: what becomes dense at once was not sparse."""

_MOST_FILL, _FREE_FILL, _FURTHER_FILL = 8, 2_000_000, 0.5
"""Edges that elimination may add: by edges and rows of the graph, up to a number of edges, and
beyond that number by edges and rows again. To find out that it adds too many should not take long.
"""


@dataclass(frozen=True)
class EliminationOrder:
    """An order of elimination and the pattern of the factor that it leads to.

    Attributes
    ----------
    order, place : ndarray (N,)
        Rows of the matrix in the order of elimination, and the inverse permutation.
    first : ndarray (K + 1,)
        First entry of the columns of the first K eliminated rows; the others are the core.
    rows : ndarray (n_entries,)
        Places of the entries below the diagonal, ascending within a column.
    where : ndarray
        By entry of the matrix, which entry it is of the inverse; see `find_entries`.
    work : float
        Multiplications of a factorisation, about.
    """

    order: np.ndarray
    place: np.ndarray
    first: np.ndarray
    rows: np.ndarray
    where: np.ndarray
    work: float

    @classmethod
    def of(cls, start: np.ndarray, columns: np.ndarray) -> EliminationOrder | None:
        """The order for a pattern by rows, both triangles; None where its factor is too full."""
        n = len(start) - 1
        n_edges = len(columns) // 2
        size = n_edges + n
        most = n_edges + min(_MOST_FILL * size, _FREE_FILL + int(_FURTHER_FILL * size)) + 1000
        order, first = np.empty(n, np.int64), np.zeros(n + 1, np.int64)
        rows = np.empty(most, np.int32)
        limits = np.array([_MOST_NEIGHBOURS, _MOST_WORK, most], np.int64)
        n_columns = int(order_by_degree(start, columns, limits, order, first, rows))
        if n - n_columns > min(_MOST_CORE, n // _LEAST_SPARSE):
            return None
        first = first[: n_columns + 1].copy()
        place = np.empty(n, np.int64)
        place[order] = np.arange(n)
        rows = place[rows[: first[-1]]].astype(np.int32)
        # sorted within columns
        sizes = np.diff(first)
        rows = rows[np.lexsort((rows, np.repeat(np.arange(n_columns), sizes)))]
        where = np.empty(len(columns), np.int64)
        find_entries(start, columns, place, first, rows, where)
        work = float((sizes.astype(float) ** 2).sum()) + (n - n_columns) ** 3 / 10.0
        return cls(order, place, first, rows, where, work)

    @property
    def n_core(self) -> int:
        """Rows that are left as a dense matrix."""
        return len(self.order) - len(self.first) + 1


class ExactFactor(SparseRoot):
    """K = P' L D L' P of a sparse matrix K, and the root S_0 = P' L'^-1 D^(-1/2) of its inverse.

    Parameters
    ----------
    order : EliminationOrder
    start, columns, values : ndarray
        K by rows, both triangles.

    Raises
    ------
    SingularSystemError
        Where K is not positive definite at working precision.
    """

    def __init__(
        self, order: EliminationOrder, start: np.ndarray, columns: np.ndarray, values: np.ndarray
    ) -> None:
        self._found = order
        self._lower = np.empty(len(order.rows))
        self._diagonal = np.empty(len(order.first) - 1)
        self._full_core = np.zeros((order.n_core, order.n_core))
        done = factor_columns(
            (start, columns, values), order.order, order.place, order.first, order.rows,
            self._lower, self._diagonal, self._full_core,
        )  # fmt: skip
        if not done or (order.n_core and not factorise(self._full_core)):
            raise SingularSystemError("the system is singular at these variance parameters")
        factor = SparseColumns(order.first, order.rows, self._lower)
        super().__init__(order.order, factor, self._diagonal, np.tril(self._full_core))
        if not np.isfinite(self.log_det):
            raise SingularSystemError("the system is not finite at these variance parameters")

    def inverse(self) -> np.ndarray:
        """Entries of K^-1 where K has them, in their order."""
        order = self._found
        core = self._full_core.copy()
        if order.n_core:
            invert(core)
        core = symmetric(core)
        found = np.empty(len(order.rows) + len(self._diagonal) + core.size)
        below, rest = np.split(found, [len(order.rows)])
        on_diagonal = rest[: len(self._diagonal)]
        invert_selected(
            order.first, order.rows, self._lower, self._diagonal, core, below, on_diagonal
        )
        rest[len(self._diagonal) :] = core.ravel()
        return np.asarray(found[order.where])
