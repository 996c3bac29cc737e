"""Sums over rows whose response changes and nothing else: columns and cells are summed once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skmixed.covariances import BasisChange
from skmixed.design import Design
from skmixed.sums.cell_sums import CellSums
from skmixed.sums.row_sums import RowSums, StandardColumns, StandardResponse, Strata


@dataclass(frozen=True)
class RepeatedRows:
    """Rows that wait for responses.

    Attributes
    ----------
    columns : StandardColumns
    fixed : ndarray (n, r)
        Fixed effects in standard units.
    gram : ndarray (r, r)
        Their weighted cross-products.
    sums : CellSums
        With a response of zeros.
    strata : Strata
        Likewise.
    """

    columns: StandardColumns
    fixed: np.ndarray
    gram: np.ndarray
    sums: CellSums
    strata: Strata

    @classmethod
    def of(
        cls,
        design: Design,
        case_weights: np.ndarray,
        *,
        integrate_fixed: bool,
        basis_may: tuple[tuple[BasisChange, ...], ...],
        noise_variance: float | None,
        n_threads: int,
    ) -> RepeatedRows:
        """Sum all columns but the response; arguments as `sum_rows`."""
        columns = StandardColumns.of(
            design, case_weights, integrate_fixed, basis_may, noise_variance, n_threads
        )
        fixed = columns.fixed.apply(design.fixed)
        rows = columns.rows(np.zeros(len(fixed)))
        sums = rows.sums(columns.weights)
        strata = rows.strata(columns.weights, case_weights, sums)
        return cls(columns, fixed, fixed.T @ (fixed * columns.weights[:, None]), sums, strata)

    @cached_property
    def blank(self) -> RowSums:
        """The sums with a response of zeros, in units of 1."""
        zeros = np.zeros(len(self.fixed))
        units = self.columns.standardise(zeros, lambda rest: np.zeros(self.fixed.shape[1]))
        return self.columns.row_sums(units, self.sums, self.strata)

    def standardise(self, response: np.ndarray) -> StandardResponse:
        """A response (n,) in standard units."""
        return self.columns.standardise(response, self._take_off)

    def with_response(self, response: np.ndarray) -> RowSums:
        """The sums with a response (n,), as `sum_rows` makes them."""
        standard = self.standardise(response)
        if standard.values is None:
            return self.columns.row_sums(standard, None, Strata())
        weighted = self.columns.weights * standard.values
        codes = self.columns.design.strata
        strata = self.strata
        if codes is not None:
            parts = [
                self._filled(part, np.where(codes == stratum, weighted, 0.0), standard)
                for stratum, part in enumerate(self.strata.sums)
            ]
            strata = Strata(tuple(parts), self.strata.n_rows)
        return self.columns.row_sums(standard, self._filled(self.sums, weighted, standard), strata)

    def _filled(self, sums: CellSums, weighted: np.ndarray, standard: StandardResponse) -> CellSums:
        """Sums with a response, given it times the weights of their rows, (n,)."""
        levels = []
        for factor, transform in zip(
            self.columns.design.factors, self.columns.transforms, strict=True
        ):
            basis, n = transform.basis, factor.n_levels
            parts = (
                [np.bincount(factor.codes, weighted, n)]
                if basis is None
                else [np.bincount(factor.codes, weighted * column, n) for column in basis.T]
            )
            levels.append(np.stack(parts, axis=1))
        dense = np.append(weighted @ self.fixed, weighted @ standard.values)
        return sums.with_response(dense, levels)

    def _take_off(self, rest: np.ndarray) -> np.ndarray:
        """Subtract the least-squares fit from `rest` in place; return its coefficients, (r,)."""
        total = np.zeros(len(self.gram))
        if not len(total):
            return total
        for _ in range(2):
            # the second round takes off what rounding left of the first
            found = np.linalg.solve(self.gram, (self.columns.weights * rest) @ self.fixed)
            rest -= self.fixed @ found
            total += found
        return total
