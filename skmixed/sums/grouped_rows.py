"""Rows in groups, and the cross-products of all rows but those of a group."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skmixed.sums.cell_sums import PairCells
from skmixed.sums.cross_products import CrossProducts
from skmixed.sums.repeated_sums import RepeatedRows


@dataclass(frozen=True)
class GroupedRows:
    """Rows in standard units, sorted by group.

    Attributes
    ----------
    cross : CrossProducts
        Of all rows.
    start : ndarray (G + 1,)
        First row of every group.
    weights, case_weights : ndarray (n,)
    dense : ndarray (n, P)
        Fixed effects, and the response last.
    levels : tuple of ndarray (n,)
        Level of every factor, as they are numbered in `cross`.
    bases : tuple of ndarray (n, q)
        What multiplies the effects of every factor.
    """

    cross: CrossProducts
    start: np.ndarray
    weights: np.ndarray
    case_weights: np.ndarray
    dense: np.ndarray
    levels: tuple[np.ndarray, ...]
    bases: tuple[np.ndarray, ...]

    @classmethod
    def of(
        cls, rows: RepeatedRows, response: np.ndarray, cross: CrossProducts, groups: np.ndarray
    ) -> GroupedRows:
        """Sort rows by group.

        Parameters
        ----------
        rows : RepeatedRows
        response : ndarray (n,)
            In standard units.
        cross : CrossProducts
            Of these rows with this response.
        groups : ndarray (n,)
            Numbers from 0 on.
        """
        order = np.argsort(groups, kind="stable")
        columns, ranks = rows.columns, cross.sums.ranks
        levels, bases = [], []
        parts = zip(columns.design.factors, columns.transforms, strict=True)
        for f, (factor, transform) in enumerate(parts):
            codes = factor.codes[order]
            levels.append(codes if ranks is None else ranks[f][codes])
            basis = transform.basis
            bases.append(np.ones((len(order), 1)) if basis is None else basis[order])
        return cls(
            cross,
            np.append(0, np.cumsum(np.bincount(groups))),
            columns.weights[order],
            columns.case_weights[order],
            np.column_stack([rows.fixed, response])[order],
            tuple(levels),
            tuple(bases),
        )

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.start) - 1

    def rows_of(self, group: int) -> slice:
        """The rows of a group."""
        return slice(self.start[group], self.start[group + 1])

    def n_observations(self, group: int) -> float:
        """Sum of the case weights of a group."""
        return float(self.case_weights[self.rows_of(group)].sum())

    def without(self, group: int) -> CrossProducts:
        """The cross-products of all other rows, by the same cells."""
        rows, cross = self.rows_of(group), self.cross
        sums, weights = cross.sums, self.weights[rows, None]
        columns = self.dense[rows]
        own, with_dense = list(sums.own), list(sums.with_dense)
        for f, (levels, basis) in enumerate(zip(self.levels, self.bases, strict=True)):
            weighted = weights * basis[rows]
            own[f] = _less(own[f], levels[rows], weighted, basis[rows])
            with_dense[f] = _less(with_dense[f], levels[rows], weighted, columns)
        known = {id(pair): self._less_pair(pair, rows) for pair in self._pairs}
        other = replace(
            sums,
            dense=sums.dense - (weights * columns).T @ columns,
            own=tuple(own),
            with_dense=tuple(with_dense),
            pairs=tuple(known[id(pair)] for pair in sums.pairs),
        )
        eliminated = cross.eliminated
        return replace(
            cross,
            sums=other,
            own=cross.own if eliminated is None else own[eliminated.position],
            with_dense=cross.with_dense if eliminated is None else with_dense[eliminated.position],
            eliminated_pairs=tuple(known[id(pair)] for pair in cross.eliminated_pairs),
            tail_pairs=tuple(known[id(pair)] for pair in cross.tail_pairs),
        )

    @cached_property
    def _pairs(self) -> list[PairCells]:
        """All cells, as the sums have them and as they are arranged."""
        cross = self.cross
        every = [*cross.sums.pairs, *cross.eliminated_pairs, *cross.tail_pairs]
        return list({id(pair): pair for pair in every}.values())

    @cached_property
    def _cells(self) -> dict[int, np.ndarray]:
        """Cell of every row, (n,), by the identity of the pair."""
        found = {}
        for pair in self._pairs:
            width = int(pair.levels.max(initial=0)) + 1
            known = pair.first_levels.astype(np.int64) * width + pair.levels
            here = self.levels[pair.first].astype(np.int64) * width + self.levels[pair.second]
            found[id(pair)] = np.searchsorted(known, here)
        return found

    def _less_pair(self, pair: PairCells, rows: slice) -> PairCells:
        first, second = self.bases[pair.first][rows], self.bases[pair.second][rows]
        weighted = self.weights[rows, None] * first
        cells = self._cells[id(pair)][rows]
        return replace(pair, values=_less(pair.values, cells, weighted, second))


def _less(sums: np.ndarray, places: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Sums (L, q, s) less the products of rows (m, q) and (m, s) at their places (m,)."""
    out = sums.copy()
    np.subtract.at(out, places, left[:, :, None] * right[:, None, :])
    return out
