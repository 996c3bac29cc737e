"""Posterior covariances between the rows of a group, from one factorisation of all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from skmixed.sums.cross_products import symmetric
from skmixed.sums.grouped_rows import GroupedRows

if TYPE_CHECKING:
    from skmixed.solvers.direct import DirectSystem

_FEW_COLUMNS = 300
"""Columns of the tail that a group touches up to which dense products are faster."""

MOST_LOADINGS = 40_000_000
"""Numbers that map the tail to rows which are too many to hold."""


def n_loadings(system: DirectSystem, rows: GroupedRows) -> int:
    """The number of numbers that `RowCovariances` holds."""
    cross, n = system.cross, len(rows.weights)
    total = n * sum(factor.n_effects for factor in cross.tail_factors)
    if cross.eliminated is not None:
        total += int(np.diff(cross.start)[rows.levels[cross.eliminated.position]].sum())
    return total


class RowCovariances:
    """Covariances of the linear predictors of rows, relative to the noise variance.

    Given the tail t (coefficients included), the eliminated effects of a level have the mean
    -Omega (I + D Omega)^-1 C t, and a covariance of their own. So the linear predictor of a row is
    a linear function of t, of few columns, plus a part that it shares with the rows of its level.

    Parameters
    ----------
    system : DirectSystem
    rows : GroupedRows
        Those of the system.
    """

    def __init__(self, system: DirectSystem, rows: GroupedRows) -> None:
        cross = system.cross
        self._covariance = symmetric(system.covariance(True).tail)
        self._rows, self._n_tail = rows, cross.n_tail
        self._fixed = rows.dense[:, :-1].copy()
        self._levels = np.zeros(len(self._fixed), int)
        self._basis = np.zeros((len(self._fixed), 0))
        self._own = np.zeros((len(self._fixed), 0))
        parts = [self._of_tail(system)]
        if cross.eliminated is not None:
            parts.append(self._of_eliminated(system))
        data, numbers, columns = (np.concatenate(each) for each in zip(*parts, strict=True))
        shape = (len(self._fixed), cross.n_tail)
        self._tail = sparse.coo_array((data, (numbers, columns)), shape=shape).tocsr()

    def _of_tail(self, system: DirectSystem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loadings of the rows on tail effects: numbers, rows and columns."""
        rows, n = self._rows, len(self._fixed)
        data, numbers, columns = [np.empty(0)], [np.empty(0, int)], [np.empty(0, int)]
        for factor in system.cross.tail_factors:
            levels, basis = rows.levels[factor.position], rows.bases[factor.position]
            for effect in range(factor.n_effects):
                data.append(basis[:, effect])
                numbers.append(np.arange(n))
                columns.append(factor.start + factor.n_effects * levels.astype(int) + effect)
        return np.concatenate(data), np.concatenate(numbers), np.concatenate(columns)

    def _of_eliminated(self, system: DirectSystem) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Loadings that go through the eliminated effects; those on fixed effects are added."""
        cross, solved = system.cross, system.levels
        assert cross.eliminated is not None
        position = cross.eliminated.position
        levels, basis = self._rows.levels[position], self._rows.bases[position]
        omega = system.scales[position].omega
        through = np.einsum("nq,nqs->ns", basis @ omega, solved.shrink[levels])
        self._fixed -= np.einsum("nq,nqp->np", through, cross.with_dense[levels][:, :, :-1])
        self._levels, self._basis = levels, basis
        self._own = np.einsum("nq,nqs->ns", basis, solved.omega_shrunk[levels])
        counts = np.diff(cross.start)[levels]
        numbers = np.repeat(np.arange(len(levels)), counts)
        ends = np.cumsum(counts)
        cells = np.arange(len(numbers)) - np.repeat(ends - counts, counts)
        cells += np.repeat(cross.start[:-1][levels], counts)
        data = -np.einsum("nq,nq->n", through[numbers], cross.values[cells])
        return data, numbers, cross.columns[cells].astype(int)

    def of(self, group: int) -> tuple[np.ndarray, np.ndarray]:
        """Covariance of the rows of a group (m, m), and of them with the coefficients (m, p)."""
        here = self._rows.rows_of(group)
        fixed, places = self._fixed[here], slice(self._n_tail, None)
        with_fixed = fixed @ self._covariance[places, places]
        loadings = self._tail[here]
        among = np.zeros((len(fixed), len(fixed)))
        if loadings.nnz:
            with_fixed += loadings @ self._covariance[: self._n_tail, places]
            among = self._among(loadings, fixed)
        among += with_fixed @ fixed.T
        if self._basis.shape[1]:
            levels = self._levels[here]
            shared = self._own[here] @ self._basis[here].T
            among += np.where(levels[:, None] == levels, shared, 0.0)
        return among, with_fixed

    def _among(self, loadings: sparse.csr_array, fixed: np.ndarray) -> np.ndarray:
        """Covariances (m, m) of rows through tail effects, and of these with fixed ones."""
        covariance, n_tail = self._covariance, self._n_tail
        touched, places = np.unique(loadings.indices, return_inverse=True)
        if len(touched) > _FEW_COLUMNS:
            moved = loadings @ covariance[:n_tail, :n_tail] + fixed @ covariance[n_tail:, :n_tail]
            found: np.ndarray = (loadings @ moved.T).T
            return found
        dense = np.zeros((len(fixed), len(touched)))
        numbers = np.repeat(np.arange(len(fixed)), np.diff(loadings.indptr))
        dense[numbers, places] = loadings.data
        moved = dense @ covariance[touched[:, None], touched]
        moved += fixed @ covariance[n_tail:, touched]
        return moved @ dense.T
