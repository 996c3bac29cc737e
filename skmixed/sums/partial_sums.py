"""Sums over parts of the rows: chunks that follow each other, or partitions side by side.

Parts add up only in common units, and no part knows the units of the whole. So the
first part sets *working* units, close to standard ones, in which all parts are
summed; once all are in, linear algebra on the sums leads to standard units.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from skmixed.covariances import BasisChange
from skmixed.design import Design, DesignEncoder, Factor, Table
from skmixed.spec import ColumnKey, ModelSpec
from skmixed.sums.cell_sums import CellSums, accumulate
from skmixed.sums.row_sums import (
    Extent,
    RowSums,
    combine_weights,
    factor_shapes,
    largest,
    refuse_range,
    refuse_too_few,
    scale_of_response,
)
from skmixed.sums.standard_units import (
    Units,
    common_unit,
    parts_of,
    transform_from_gram,
)


@dataclass(frozen=True)
class WorkingUnits:
    """Units in which the parts are summed.

    Attributes
    ----------
    center, scale : ndarray (p,)
        Of the fixed-effect columns; 0 and 1 for the intercept.
    response_center, response_scale : float
    least_squares : ndarray (p,)
        Coefficients of the working columns, taken off the response with its center.
    bases : tuple of ndarray (q, q)
        By factor: the working basis is the basis times this.
    weight_scale : float
        Unit of the precision weights.
    """

    center: np.ndarray
    scale: np.ndarray
    response_center: float
    response_scale: float
    least_squares: np.ndarray
    bases: tuple[np.ndarray, ...]
    weight_scale: float

    @classmethod
    def learn(
        cls,
        design: Design,
        response: np.ndarray,
        case_weights: np.ndarray,
        basis_may: tuple[tuple[BasisChange, ...], ...],
    ) -> WorkingUnits:
        """From the first part; the last argument is as for `sum_rows`."""
        weights, weight_scale, _ = combine_weights(design, case_weights)
        shares = weights / weights.sum()
        first = int(design.has_intercept)
        center = shares @ design.fixed if first else np.zeros(design.fixed.shape[1])
        center[:first] = 0.0
        scale = _positive(np.sqrt(shares @ (design.fixed - center) ** 2))
        columns = (design.fixed - center) / scale
        rest = response if design.offset is None else response - design.offset
        response_center = float(shares @ rest) if first else 0.0
        rest = rest - response_center
        root = np.sqrt(shares)
        # rcond is large on purpose: nearly collinear columns of the first part would get huge
        # coefficients. Coefficients of columns that only these
        # few rows cannot tell apart would cost all: they explode on other rows.
        least_squares = np.linalg.lstsq(columns * root[:, None], rest * root, rcond=1e-3)[0]
        left = float(np.sqrt(shares @ (rest - columns @ least_squares) ** 2))
        spread = largest(rest)
        bases = []
        for factor, may in zip(design.factors, basis_may, strict=True):
            basis = factor.basis
            q = len(factor.term_names)
            matrix = np.eye(q)
            for (begin, stop), change in zip(factor.blocks, may, strict=True):
                intercept = factor.term_names[begin] == "Intercept"
                for j in range(begin + intercept, stop):
                    assert basis is not None
                    centred = intercept and change == "rotate"
                    middle = float(shares @ basis[:, j]) if centred else 0.0
                    size = float(_positive(np.sqrt(shares @ (basis[:, j] - middle) ** 2)))
                    matrix[j, j] = 1.0 / size
                    if centred:
                        matrix[begin, j] = -middle / size
            bases.append(matrix)
        return cls(
            center, scale, response_center,
            left if left > 1e-6 * spread else spread or 1.0,
            least_squares, tuple(bases), weight_scale,
        )  # fmt: skip


def _positive(scale: np.ndarray) -> np.ndarray:
    """Scales, 1 where a column does not vary."""
    return np.where(scale > 0.0, scale, 1.0)


@dataclass(frozen=True)
class PartialSums:
    """The sums of one or more parts in working units.

    Attributes
    ----------
    units : WorkingUnits
    sums : CellSums
    n_rows : int
    n_observations : float
        Sum of the case weights.
    total_weight : float
        Sum of case weight times precision weight in its unit.
    log_weights : float
        Sum of case weight times log precision weight in its unit.
    spread, size : float
        Largest distance of the response from its working center, and from 0.
    precisions : tuple of (float, float)
        Smallest and largest precision weight.
    """

    units: WorkingUnits
    sums: CellSums
    n_rows: int
    n_observations: float
    total_weight: float
    log_weights: float
    spread: float
    size: float
    precisions: tuple[float, float]

    @classmethod
    def of(
        cls,
        units: WorkingUnits,
        design: Design,
        response: np.ndarray,
        case_weights: np.ndarray,
        n_threads: int,
    ) -> PartialSums:
        """Sum the rows of one part."""
        weights, log_weights, precisions = case_weights, 0.0, (1.0, 1.0)
        if design.precision_weights is not None:
            relative = design.precision_weights / units.weight_scale
            weights = case_weights * relative
            log_weights = float(case_weights @ np.log(relative))
            precisions = float(relative.min()), float(relative.max())
        rest = response if design.offset is None else response - design.offset
        rest = rest - units.response_center

        def dense(rows: slice) -> np.ndarray:
            columns = (design.fixed[rows] - units.center) / units.scale
            left = (rest[rows] - columns @ units.least_squares) / units.response_scale
            return np.vstack([columns.T, left])

        sums = accumulate(
            tuple(factor.codes for factor in design.factors),
            factor_shapes(design),
            tuple(
                None if factor.basis is None else factor.basis @ matrix
                for factor, matrix in zip(design.factors, units.bases, strict=True)
            ),
            dense,
            weights,
            n_threads,
        )
        return cls(
            units, sums, len(rest), float(case_weights.sum()), float(weights.sum()),
            log_weights, largest(rest), largest(response), precisions,
        )  # fmt: skip

    def merge(
        self,
        other: PartialSums,
        n_levels: tuple[int, ...],
        maps: tuple[tuple[np.ndarray, np.ndarray], ...],
    ) -> PartialSums:
        """The sums of the rows of both, which are in the same units.

        Factors have `n_levels` in the result; `maps` holds by factor the codes there of
        the levels of `self` and of `other`.
        """
        sums = self.sums.merge(
            other.sums, n_levels, tuple(own for own, _ in maps), tuple(new for _, new in maps)
        )
        return replace(
            self,
            sums=sums,
            n_rows=self.n_rows + other.n_rows,
            n_observations=self.n_observations + other.n_observations,
            total_weight=self.total_weight + other.total_weight,
            log_weights=self.log_weights + other.log_weights,
            spread=max(self.spread, other.spread),
            size=max(self.size, other.size),
            precisions=(
                min(self.precisions[0], other.precisions[0]),
                max(self.precisions[1], other.precisions[1]),
            ),
        )

    def standardised(
        self,
        has_intercept: bool,
        intercepts: tuple[tuple[bool, ...], ...],
        *,
        integrate_fixed: bool,
        basis_may: tuple[tuple[BasisChange, ...], ...],
        noise_variance: float | None,
    ) -> RowSums:
        """Sums in standard units, as `skmixed.sums.row_sums.sum_rows` has them.

        `has_intercept` is of the dense columns, `intercepts` tells which effects of each
        factor are intercepts; the rest is as for `sum_rows`.
        """
        working, total = self.units, self.total_weight
        first = int(has_intercept)
        refuse_range(self.spread)
        gram = self.sums.dense[:-1, :-1]
        fixed = transform_from_gram(gram / total, has_intercept)
        refuse_too_few(self.n_observations, fixed.rank, self.n_rows)
        # weights are in units of their mean over all rows
        weight_unit = total / self.n_observations
        # working columns to standard ones, and back
        there = fixed.to_raw()
        back = there.T @ gram / total
        coefficients, left = self._least_squares(there)
        # a difference is what rounding leaves of it; where it cancels, nothing is left
        scale, modelled = scale_of_response(
            working.response_scale * left, self.extent, self.n_observations - fixed.rank,
            noise_variance,
        )  # fmt: skip
        centred = replace(
            fixed,
            center=working.center[first:] + working.scale[first:] * fixed.center,
            mapping=fixed.mapping / working.scale[first:, None],
            log_det=fixed.log_det - float(np.log(working.scale[first:][fixed.kept]).sum()),
        )
        bases = self._standard_bases(intercepts, basis_may)
        units = Units(
            centred,
            tuple(basis.matrix for basis in bases),
            tuple(basis.moments for basis in bases),
            back @ working.least_squares + working.response_scale * coefficients,
            working.response_center,
            scale if modelled else 1.0,
            working.weight_scale * weight_unit,
            self.log_weights - self.n_observations * float(np.log(weight_unit)),
            self.n_observations,
            self.n_observations - (fixed.rank if integrate_fixed else 0),
            integrate_fixed,
        )
        sums = None
        if modelled:
            relative = scale / working.response_scale
            dense = np.zeros((len(gram) + 1, fixed.rank + 1))
            dense[:-1, :-1] = there
            dense[:-1, -1] = -there @ coefficients / relative
            dense[-1, -1] = 1.0 / relative
            root = 1.0 / np.sqrt(weight_unit)
            sums = self.sums.transformed(
                root * dense, tuple(root * basis.turn for basis in bases)
            ).ranked()
        alike = self.precisions[0] == self.precisions[1] and self.n_observations == self.n_rows
        return RowSums(
            sums,
            units,
            tuple(basis.dependent for basis in bases),
            tuple(
                alike and effects == (True,) and shape.n_levels == self.n_rows
                for shape, effects in zip(self.sums.factors, intercepts, strict=True)
            ),
            self.extent,
        )

    @property
    def extent(self) -> Extent:
        """Number of rows and ranges of their values."""
        return Extent(self.n_rows, self.spread, self.size, self.precisions)

    def _least_squares(self, there: np.ndarray) -> tuple[np.ndarray, float]:
        """Coefficients (r,) of the columns that `there` (p, r) makes, and what they leave.

        The latter is the root of the mean square, in working units; 0 where it is rounding.
        """
        gram, right = self.sums.dense[:-1, :-1], there.T @ self.sums.dense[:-1, -1]
        coefficients = np.linalg.solve(there.T @ gram @ there, right)
        squares = self.sums.dense[-1, -1]
        left = squares - coefficients @ right
        left = 0.0 if left <= 1e-14 * squares else left
        return coefficients, float(np.sqrt(left / self.total_weight))

    def _standard_bases(
        self,
        intercepts: tuple[tuple[bool, ...], ...],
        basis_may: tuple[tuple[BasisChange, ...], ...],
    ) -> list[_StandardBasis]:
        """The standard basis of every factor, from its mean cross-products."""
        out = []
        for shape, sums, effects, basis, may in zip(
            self.sums.factors, self.sums.own, intercepts, self.units.bases, basis_may, strict=True
        ):
            mean = sums.sum(axis=0) / self.total_weight
            turn, lost = _turn(mean, basis, shape.blocks, effects, may)
            undo = np.linalg.inv(basis)
            out.append(_StandardBasis(basis @ turn, undo.T @ mean @ undo, turn, lost))
        return out


@dataclass(frozen=True)
class _StandardBasis:
    """The standard basis of a factor: `BasisTransform`, and the map from the working one."""

    matrix: np.ndarray
    moments: np.ndarray
    turn: np.ndarray
    dependent: tuple[int, ...]


def _turn(
    gram: np.ndarray,
    basis: np.ndarray,
    blocks: tuple[tuple[int, int], ...],
    intercepts: tuple[bool, ...],
    may: tuple[BasisChange, ...],
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Map (q, q) from the working basis of a factor to its standard one, and dependent effects."""
    if gram.shape == (1, 1) and intercepts[0]:
        return np.eye(1), ()
    back = np.eye(len(gram))
    if any(change != "rotate" for change in may):
        # the parts may have been summed for a model that allows to mix effects
        back = np.linalg.inv(basis)
        gram = back.T @ gram @ back
    matrix = np.zeros(gram.shape)
    dependent: list[int] = []
    for (begin, stop), change in zip(blocks, may, strict=True):
        if change == "resize":
            here = slice(begin, stop)
            matrix[here, here] = np.eye(stop - begin) / common_unit(np.diagonal(gram)[here])
            continue
        for first, last in parts_of(begin, stop, change):
            here = slice(first, last)
            transform = transform_from_gram(gram[here, here], bool(intercepts[first]))
            places = first + transform.places
            dependent += sorted({*range(first, last)} - {*places.tolist()})
            matrix[here, places] = transform.to_raw()
    return back @ matrix, tuple(dependent)


@dataclass(frozen=True)
class Reference:
    """Encoder and working units that all parts share; the first part sets them."""

    encoder: DesignEncoder
    units: WorkingUnits

    @classmethod
    def learn(
        cls,
        spec: ModelSpec,
        table: Table,
        response: np.ndarray,
        case_weights: np.ndarray,
        *,
        offset: ColumnKey | None,
        precision_weights: ColumnKey | None,
        basis_may: Callable[[Sequence[Factor]], tuple[tuple[BasisChange, ...], ...]],
    ) -> Reference:
        """From the first part.

        Raises
        ------
        ValueError
            If the model has a function that learns from all rows.
        """
        encoder, design = DesignEncoder.learn(
            spec, table, offset=offset, precision_weights=precision_weights, complete=False
        )
        for label in encoder.learnt_functions:
            raise ValueError(
                f"{label} is computed from all rows, but here only a part of them is known; "
                "compute the column first, with fixed constants."
            )
        return cls(
            encoder, WorkingUnits.learn(design, response, case_weights, basis_may(design.factors))
        )

    def part(
        self, table: Table, response: np.ndarray, case_weights: np.ndarray, n_threads: int
    ) -> Accumulation:
        """Sum the rows of one part."""
        encoder, design = self.encoder.learn_part(table)
        sums = PartialSums.of(self.units, design, response, case_weights, n_threads)
        return Accumulation(encoder, sums)


@dataclass(frozen=True)
class Accumulation:
    """Parts of the data that a model has seen: their sums, and what encodes them."""

    encoder: DesignEncoder
    sums: PartialSums

    @classmethod
    def of_fit(cls, encoder: DesignEncoder, rows: RowSums) -> Accumulation | None:
        """The sums that a fit was made of, as a first part for others to be added to.

        Their units are those of the fit but for the fixed effects, whose columns are only
        centred: orthonormal ones belong to the rows of the fit alone.

        Parameters
        ----------
        encoder : DesignEncoder
        rows : RowSums

        Returns
        -------
        Accumulation or None
            None where the sums have left out what other rows may tell: dependent columns or
            effects, or functions that learn from all rows.
        """
        units, fixed = rows.units, rows.units.fixed
        p = fixed.has_intercept + len(fixed.center)
        if rows.sums is None or fixed.rank < p or any(rows.dependent) or encoder.learnt_functions:
            return None
        to_centred = fixed.to_centred()
        dense = np.eye(p + 1)
        dense[:p, :p] = np.linalg.inv(to_centred)
        sums = rows.sums
        if sums.ranks is not None:
            n_levels = tuple(factor.n_levels for factor in sums.factors)
            sums = sums.relabelled(n_levels, tuple(np.argsort(rank) for rank in sums.ranks))
        working = WorkingUnits(
            np.concatenate([np.zeros(int(fixed.has_intercept)), fixed.center]),
            np.ones(p),
            units.response_center,
            units.response_scale,
            to_centred @ units.least_squares,
            units.bases,
            units.weight_scale,
        )
        partial = PartialSums(
            working,
            sums.transformed(dense, tuple(np.eye(len(basis)) for basis in units.bases)),
            rows.extent.n_rows,
            units.n_observations,
            units.n_observations,
            units.log_weights,
            rows.extent.spread,
            rows.extent.size,
            rows.extent.precisions,
        )
        return cls(encoder, partial)

    @property
    def reference(self) -> Reference:
        """For further parts."""
        return Reference(self.encoder, self.sums.units)

    def merge(self, other: Accumulation) -> Accumulation:
        """Both together."""
        encoder, maps = self.encoder.merge(other.encoder)
        n_levels = tuple(factor.levels.n_levels for factor in encoder.factors)
        return Accumulation(encoder, self.sums.merge(other.sums, n_levels, maps))

    def standardised(
        self,
        *,
        integrate_fixed: bool,
        basis_may: tuple[tuple[BasisChange, ...], ...],
        noise_variance: float | None,
    ) -> RowSums:
        """The sums in standard units."""
        return self.sums.standardised(
            self.encoder.fixed.intercept,
            tuple(
                tuple(b.intercept and j == 0 for b in f.bases for j in range(len(b.names)))
                for f in self.encoder.factors
            ),
            integrate_fixed=integrate_fixed,
            basis_may=basis_may,
            noise_variance=noise_variance,
        )
