"""Posterior covariances between the rows of a group, from one factorisation of all rows."""

from __future__ import annotations

from functools import cached_property
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
        # sparse products copy what does not lie in one piece
        self._of_tails = self._covariance[: cross.n_tail, : cross.n_tail].copy()
        self._with_fixed = self._covariance[: cross.n_tail, cross.n_tail :].copy()
        self._rows, self._n_tail, self._cross = rows, cross.n_tail, cross
        self._fixed = rows.dense[:, :-1].copy()
        self._levels = np.zeros(len(self._fixed), int)
        self._basis = np.zeros((len(self._fixed), 0))
        self._own = self._through = np.zeros((len(self._fixed), 0))
        parts = [self._of_tail(system)]
        self._direct = self._as_matrix(parts)
        if cross.eliminated is not None:
            parts.append(self._of_eliminated(system))
        self._tail = self._as_matrix(parts)

    def _as_matrix(
        self, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
    ) -> sparse.csr_array:
        """Loadings of all rows on the tail's effects, (n, n_tail)."""
        data, numbers, columns = (np.concatenate(each) for each in zip(*parts, strict=True))
        shape = (len(self._fixed), self._n_tail)
        return sparse.coo_array((data, (numbers, columns)), shape=shape).tocsr()

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
        self._levels, self._basis, self._through = levels, basis, through
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
            with_fixed += loadings @ self._with_fixed
            among = self._among(here, loadings, fixed)
        among += with_fixed @ fixed.T
        if self._basis.shape[1]:
            levels = self._levels[here]
            shared = self._own[here] @ self._basis[here].T
            among += np.where(levels[:, None] == levels, shared, 0.0)
        return among, with_fixed

    def _among(self, here: slice, loadings: sparse.csr_array, fixed: np.ndarray) -> np.ndarray:
        """Covariances (m, m) of rows through tail effects, and of these with fixed ones."""
        covariance, n_tail = self._covariance, self._n_tail
        touched, places = np.unique(loadings.indices, return_inverse=True)
        if len(touched) > _FEW_COLUMNS:
            moved = self._times_covariance(here, loadings) + fixed @ covariance[n_tail:, :n_tail]
            found: np.ndarray = (loadings @ moved.T).T
            return found
        dense = np.zeros((len(fixed), len(touched)))
        numbers = np.repeat(np.arange(len(fixed)), np.diff(loadings.indptr))
        dense[numbers, places] = loadings.data
        moved = dense @ covariance[touched[:, None], touched]
        moved += fixed @ covariance[n_tail:, touched]
        return moved @ dense.T

    def _times_covariance(self, here: slice, loadings: sparse.csr_array) -> np.ndarray:
        """Loadings of rows times the covariance of the tail's effects, (m, n_tail)."""
        of_levels = self._of_levels
        if of_levels is None:
            return loadings @ self._of_tails
        # rows of a level go through the same effects of the tail
        moved = self._direct[here] @ self._of_tails
        for q, weights in enumerate(self._through[here].T):
            moved -= weights[:, None] * of_levels[self._levels[here], q]
        return moved

    @cached_property
    def _of_levels(self) -> np.ndarray | None:
        """Cells of all eliminated levels times the tail's covariance, (L, Q, n_tail).

        None where nothing is eliminated, or where they are too many numbers to hold.
        """
        cross, n_tail = self._cross, self._n_tail
        n_levels, n_effects = cross.with_dense.shape[:2]
        if cross.eliminated is None or n_levels * n_effects * n_tail > MOST_LOADINGS:
            return None
        out = np.empty((n_levels, n_effects, n_tail))
        for q in range(n_effects):
            cells = (cross.values[:, q], cross.columns, cross.start)
            matrix = sparse.csr_array(cells, shape=(n_levels, n_tail))
            out[:, q] = matrix @ self._of_tails
        return out
