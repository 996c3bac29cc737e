"""From the rows of a design to sums in standard units; after this the rows are gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from skmixed.covariances import BasisChange
from skmixed.design import Design
from skmixed.sums.cell_sums import CellSums, FactorShape, LevelMaps, accumulate, sum_chunks
from skmixed.sums.standard_units import (
    BasisTransform,
    FixedTransform,
    Units,
    learn_fixed_transform,
    transform_basis,
)

_SMALLEST = 1e-140
"""Spread of y whose square, or the square of whose inverse, is still a number."""

PERFECT = 1e-12
"""Relative size of the least-squares residuals at which nothing is left to model."""


@dataclass(frozen=True)
class Extent:
    """Number of rows summed, and ranges of their values.

    Attributes
    ----------
    n_rows : int
    spread, size : float
        Largest distance of the response from its center, and from 0.
    precisions : tuple of (float, float)
        Smallest and largest precision weight, in their unit.
    """

    n_rows: int
    spread: float
    size: float
    precisions: tuple[float, float]


@dataclass(frozen=True)
class Strata:
    """Sums over the rows of each stratum, by the cells of all rows; none without strata.

    Attributes
    ----------
    sums : tuple of CellSums
    n_rows : ndarray (s,)
        Sums of case weights.
    """

    sums: tuple[CellSums, ...] = ()
    n_rows: np.ndarray = field(default_factory=lambda: np.empty(0))


@dataclass(frozen=True)
class RowSums:
    """All that a fit needs of the rows.

    Attributes
    ----------
    sums : CellSums or None
        In standard units; None when the fixed effects reproduce the response.
    units : Units
        What these are.
    dependent : tuple of tuple of int
        By factor, effects that others of their covariance block determine.
    rows_alone : tuple of bool
        Factors with one level per row, where all rows have the
        same precision: their intercept is the noise again.
    extent : Extent
    strata : Strata
        The rows of each stratum apart.
    scales : tuple of ndarray (q,)
        By factor, standard deviation of the response over that of what multiplies each effect.
        Empty where sums do not tell it.
    """

    sums: CellSums | None
    units: Units
    dependent: tuple[tuple[int, ...], ...]
    rows_alone: tuple[bool, ...]
    extent: Extent
    strata: Strata = field(default_factory=Strata)
    scales: tuple[np.ndarray, ...] = ()

    @property
    def n_bytes(self) -> int:
        """Memory of the sums."""
        if self.sums is None:
            return 0
        arrays = [self.sums.dense, *self.sums.own, *self.sums.with_dense]
        for pair in self.sums.pairs:
            arrays += [pair.start, pair.levels, pair.values]
        return sum(array.nbytes for array in arrays)


def sum_rows(
    design: Design,
    response: np.ndarray,
    case_weights: np.ndarray,
    *,
    integrate_fixed: bool,
    basis_may: tuple[tuple[BasisChange, ...], ...],
    noise_variance: float | None,
    n_threads: int,
) -> RowSums:
    """Standardise the rows exactly and sum them.

    Parameters
    ----------
    design : Design
    response, case_weights : ndarray (n,)
    integrate_fixed : bool
        True for REML.
    basis_may : tuple of tuple of str
        What may be done to the basis, by factor and block.
    noise_variance : float or None
        Where the noise is held.
    n_threads : int
    """
    columns = StandardColumns.of(
        design, case_weights, integrate_fixed, basis_may, noise_variance, n_threads
    )
    fixed, weights = columns.fixed, columns.weights

    def take_off(rest: np.ndarray) -> np.ndarray:
        return _take_off_least_squares(fixed, design.fixed, rest, weights, n_threads)

    standard = columns.standardise(response, take_off)
    sums, strata = None, Strata()
    if standard.values is not None:
        rows = columns.rows(standard.values)
        sums = rows.sums(weights)
        strata = rows.strata(weights, case_weights, sums)
    return columns.row_sums(standard, sums, strata)


@dataclass(frozen=True)
class StandardResponse:
    """A response in standard units.

    Attributes
    ----------
    values : ndarray (n,) or None
        None when the fixed effects reproduce it.
    units : Units
    extent : Extent
    sd : float
        Standard deviation of the response, by case weights.
    """

    values: np.ndarray | None
    units: Units
    extent: Extent
    sd: float


@dataclass(frozen=True)
class StandardColumns:
    """The weights of rows and their columns in standard units, whatever the response.

    Attributes
    ----------
    design : Design
    case_weights, weights : ndarray (n,)
        The latter with the precision weights, in their unit.
    weight_scale, log_weights : float
        That unit, and the sum of the logarithms of the precision weights in it.
    fixed : FixedTransform
    transforms : tuple of BasisTransform
        By factor.
    integrate_fixed : bool
        True for REML.
    noise_variance : float or None
        Where the noise is held.
    n_threads : int
    loading_sds : tuple of ndarray (q,)
        See `loading_sds`.
    """

    design: Design
    case_weights: np.ndarray
    weights: np.ndarray
    weight_scale: float
    log_weights: float
    fixed: FixedTransform
    transforms: tuple[BasisTransform, ...]
    integrate_fixed: bool
    noise_variance: float | None
    n_threads: int
    loading_sds: tuple[np.ndarray, ...]

    @classmethod
    def of(
        cls,
        design: Design,
        case_weights: np.ndarray,
        integrate_fixed: bool,
        basis_may: tuple[tuple[BasisChange, ...], ...],
        noise_variance: float | None,
        n_threads: int,
    ) -> StandardColumns:
        """Learn the transforms of the columns of a design; arguments as `sum_rows`."""
        weights, weight_scale, log_weights = combine_weights(design, case_weights)
        fixed = learn_fixed_transform(design.fixed, design.has_intercept, weights)
        transforms = tuple(
            transform_basis(factor.basis, factor.blocks, weights, may)
            for factor, may in zip(design.factors, basis_may, strict=True)
        )
        return cls(
            design, case_weights, weights, weight_scale, log_weights, fixed, transforms,
            integrate_fixed, noise_variance, n_threads, loading_sds(design),
        )  # fmt: skip

    def standardise(
        self, response: np.ndarray, take_off: Callable[[np.ndarray], np.ndarray]
    ) -> StandardResponse:
        """The response (n,) less its least-squares fit, over its standard deviation.

        `take_off` subtracts that fit in place, and returns its coefficients.
        """
        design, weights, fixed = self.design, self.weights, self.fixed
        n_observations = float(self.case_weights.sum())
        rest = response if design.offset is None else response - design.offset
        total = weights.sum()
        center = float(weights @ rest / total) if design.has_intercept else 0.0
        rest = rest - center
        spread, size = largest(rest), largest(response)
        refuse_range(spread)
        least_squares = take_off(rest)
        scale = float(np.sqrt(np.einsum("i,i,i->", weights, rest, rest) / total))
        refuse_too_few(n_observations, fixed.rank, len(response))
        extent = Extent(len(rest), spread, size, self._precisions)
        scale, modelled = scale_of_response(
            scale, extent, n_observations - fixed.rank, self.noise_variance
        )
        units = Units(
            fixed,
            tuple(transform.matrix for transform in self.transforms),
            tuple(transform.moments for transform in self.transforms),
            least_squares,
            center,
            scale if modelled else 1.0,
            self.weight_scale,
            self.log_weights,
            n_observations,
            n_observations - (fixed.rank if self.integrate_fixed else 0),
            self.integrate_fixed,
        )
        if modelled:
            rest /= scale
        sd = weighted_sd(response, self.case_weights, self.n_threads)
        return StandardResponse(rest if modelled else None, units, extent, sd)

    @property
    def _precisions(self) -> tuple[float, float]:
        precision = self.design.precision_weights
        if precision is None:
            return 1.0, 1.0
        unit = self.weight_scale
        return float(precision.min()) / unit, float(precision.max()) / unit

    def rows(self, response: np.ndarray) -> SummedRows:
        """The rows with a response in standard units."""
        bases = tuple(transform.basis for transform in self.transforms)
        return SummedRows(self.design, self.fixed, bases, response, self.n_threads)

    def row_sums(
        self, standard: StandardResponse, sums: CellSums | None, strata: Strata
    ) -> RowSums:
        """All that a fit needs, given the sums."""
        precisions = standard.extent.precisions
        alike = precisions[0] == precisions[1]
        # a row of another case weight than 1 is several, or a part of one
        alike = alike and bool((self.case_weights == 1.0).all())
        n, factors = len(self.weights), self.design.factors
        return RowSums(
            sums,
            standard.units,
            tuple(transform.dependent for transform in self.transforms),
            tuple(alike and f.basis is None and f.n_levels == n for f in factors),
            standard.extent,
            strata,
            tuple((standard.sd or 1.0) / sds for sds in self.loading_sds),
        )


@dataclass(frozen=True)
class SummedRows:
    """Rows in standard units, to be summed."""

    design: Design
    fixed: FixedTransform
    bases: tuple[np.ndarray | None, ...]
    response: np.ndarray
    n_threads: int

    def sums(self, weights: np.ndarray, ranked: bool | LevelMaps = True) -> CellSums:
        """The sums of all rows, each times its weight."""
        columns, fixed, response = self.design.fixed, self.fixed, self.response

        def dense(rows: slice) -> np.ndarray:
            out = np.empty((fixed.rank + 1, len(response[rows])))
            fixed.fill(columns[rows], out[:-1])
            out[-1] = response[rows]
            return out

        return accumulate(
            tuple(factor.codes for factor in self.design.factors),
            factor_shapes(self.design),
            self.bases,
            dense,
            weights,
            self.n_threads,
            ranked,
        )

    def strata(self, weights: np.ndarray, case_weights: np.ndarray, sums: CellSums) -> Strata:
        """The sums of the rows of each stratum, by the cells and ranks of the sums of all."""
        codes = self.design.strata
        if codes is None:
            return Strata()
        assert sums.ranks is not None
        parts = [
            self.sums(np.where(codes == stratum, weights, 0.0), sums.ranks)
            for stratum in range(codes.max() + 1)
        ]
        return Strata(tuple(parts), np.bincount(codes, case_weights))


def factor_shapes(design: Design) -> tuple[FactorShape, ...]:
    """Size of every grouping factor."""
    return tuple(
        FactorShape(factor.n_levels, len(factor.term_names), factor.blocks)
        for factor in design.factors
    )


def combine_weights(design: Design, case_weights: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Weights of the rows, the unit of the precision weights, and sum of their logarithms."""
    precision = design.precision_weights
    if precision is None:
        return case_weights, 1.0, 0.0
    scale = float(np.average(precision, weights=case_weights))
    relative = precision / scale
    return case_weights * relative, scale, float(case_weights @ np.log(relative))


def loading_sds(design: Design) -> tuple[np.ndarray, ...]:
    """By factor, the standard deviation of what multiplies each effect, (q,); 1 of a constant."""
    found = []
    for factor in design.factors:
        sds = np.zeros(1) if factor.basis is None else factor.basis.std(axis=0)
        found.append(np.where(sds > 0.0, sds, 1.0))
    return tuple(found)


def weighted_sd(values: np.ndarray, weights: np.ndarray, n_threads: int = 1) -> float:
    """Standard deviation of values (n,) with case weights."""

    def products(rows: slice, sums: list[np.ndarray]) -> None:
        sums[0] += weights[rows].sum(), weights[rows] @ values[rows]

    def squares(rows: slice, sums: list[np.ndarray]) -> None:
        sums[0] += weights[rows] @ (values[rows] - mean) ** 2

    n = len(values)
    ((total, moment),) = sum_chunks(products, lambda: [np.zeros(2)], n, n_threads)
    mean = float(moment / total)
    ((found,),) = sum_chunks(squares, lambda: [np.zeros(1)], n, n_threads)
    return float(np.sqrt(found / (total - 1.0))) if total > 1.0 else 0.0


def largest(values: np.ndarray) -> float:
    """Largest absolute value."""
    return float(max(values.max(initial=0.0), -values.min(initial=0.0)))


def scale_of_response(
    scale: float, extent: Extent, n_free: float, noise_variance: float | None
) -> tuple[float, bool]:
    """The unit of the response, and whether anything is left to model.

    Parameters
    ----------
    scale : float
        Root of the mean square of the least-squares residuals.
    extent : Extent
    n_free : float
        Observations less fixed effects.
    noise_variance : float or None
        Where the noise is held: then it is the unit of what fixed effects reproduce.
    """
    perfect = n_free <= 0 or scale <= max(PERFECT * extent.spread, 1e-15 * extent.size)
    if perfect and noise_variance is not None:
        scale = float(np.sqrt(noise_variance))
    return scale, not perfect or (noise_variance is not None and n_free > 0)


def refuse_range(spread: float) -> None:
    """Raise when a variance of so spread a response is not a number."""
    if not (spread == 0.0 or _SMALLEST < spread < 1.0 / _SMALLEST):
        raise ValueError(
            f"y varies by {spread:.3g}: its variance cannot be computed in floating "
            "point; change the unit of y."
        )


def refuse_too_few(n_observations: float, rank: int, n_rows: int) -> None:
    """Raise when case weights sum to less than the fixed effects take."""
    if n_observations <= rank < n_rows:
        raise ValueError(
            f"The case weights sum to {n_observations:g}, no more than the number of fixed "
            f"effects ({rank}); sample_weight counts rows: weight 2 is the row twice. Scale "
            "relative weights to mean 1."
        )


def _take_off_least_squares(
    fixed: FixedTransform,
    columns: np.ndarray,
    rest: np.ndarray,
    weights: np.ndarray,
    n_threads: int,
) -> np.ndarray:
    """Subtract the least-squares fit from `rest` in place; return its coefficients, (rank,)."""
    rank = fixed.rank
    if not rank:
        return np.zeros(0)
    coefficients = np.zeros(rank)

    def transformed(rows: slice) -> np.ndarray:
        out = np.empty((rank, len(rest[rows])))
        fixed.fill(columns[rows], out)
        return out

    def products(rows: slice, sums: list[np.ndarray]) -> None:
        sums[0] += transformed(rows) @ (weights[rows] * rest[rows])

    def take_off(rows: slice, sums: list[np.ndarray]) -> None:
        part = transformed(rows)
        rest[rows] -= coefficients @ part
        sums[0] += part @ (weights[rows] * rest[rows])

    def summed(add: Callable[[slice, list[np.ndarray]], None]) -> np.ndarray:
        (sums,) = sum_chunks(add, lambda: [np.zeros(rank)], len(rest), n_threads)
        return sums

    total, right, size = np.zeros(rank), summed(products), weights.sum()
    for _ in range(2):
        # the columns are orthonormal; the second round takes off what rounding left of the first
        coefficients = right / size
        total += coefficients
        right = summed(take_off)
    return total
