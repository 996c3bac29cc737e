"""Bring a design to unit scale, and the estimates back.

The likelihood does not care in which units or from which origin the columns are
measured; floating point does. The fit therefore runs on

* a response from which the least-squares fit on the fixed effects is taken off,
  over its standard deviation;
* fixed effects that are centred (when there is an intercept) and orthonormal,
  columns that depend on earlier ones left out;
* bases of random effects that are orthonormal within a covariance block, or of
  unit mean square where the posterior would notice a rotation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skmixed.covariances import BasisChange
from skmixed.sums.cell_sums import sum_chunks
from skmixed.threads import share_rows, threads_of_fit

_DEPENDENT = 1e-7
"""A column is dependent when this little of it is left after projection (as in R's qr)."""

_DEPENDENT_GRAM = 1e-12
"""A column is dependent when its square, from cross-products, is below this part of its size."""

_CONSTANT = 1e-13
"""A column is constant when it varies by less than this part of its size."""


@dataclass(frozen=True)
class FixedTransform:
    """Linear map from raw fixed-effect columns to orthonormal ones.

    Attributes
    ----------
    has_intercept : bool
        The first raw and the first transformed column are constant one.
    center : ndarray (p,)
        Subtracted from the raw columns without the intercept.
    mapping : ndarray (p, r)
        Transformed = centred @ mapping; rows of dropped columns are zero.
    kept : ndarray (r,)
        Raw columns (without the intercept) that span the rest.
    log_det : float
        Of `mapping` restricted to the kept columns.
    means : ndarray (r,)
        Weighted means of the transformed columns without the intercept: 0 where there is
        one, NaN where they are not known.
    """

    has_intercept: bool
    center: np.ndarray
    mapping: np.ndarray
    kept: np.ndarray
    log_det: float
    means: np.ndarray

    @property
    def rank(self) -> int:
        """Number of transformed columns, the intercept included."""
        return len(self.kept) + self.has_intercept

    def apply(self, columns: np.ndarray) -> np.ndarray:
        """Transform raw columns (n, p + has_intercept)."""
        out = np.empty((self.rank, len(columns)))
        self.fill(columns, out)
        return np.ascontiguousarray(out.T)

    def fill(self, columns: np.ndarray, out: np.ndarray) -> None:
        """Fill out (rank, n) with transformed raw columns (n, p + has_intercept)."""
        first = int(self.has_intercept)
        out[:first] = 1.0
        np.matmul(self.mapping.T, columns.T[first:] - self.center[:, None], out=out[first:])

    def to_centred(self) -> np.ndarray:
        """Matrix from transformed coefficients to coefficients of centred columns.

        The first row is the intercept at the centre, if there is one.
        """
        p, r = self.mapping.shape
        k = int(self.has_intercept)
        matrix = np.zeros((p + k, r + k))
        matrix[:k, :k] = 1.0
        matrix[k:, k:] = self.mapping
        return matrix

    def to_raw(self) -> np.ndarray:
        """Matrix from transformed coefficients to coefficients of the raw columns."""
        matrix = self.to_centred()
        if self.has_intercept:
            matrix[0] -= self.center @ matrix[1:]
        return matrix

    def mean_and_variance(self, coefficients: np.ndarray) -> tuple[float, float]:
        """Weighted mean and variance, over the rows, of the fixed part.

        Transformed columns are orthonormal under the weights, so their squared
        coefficients add up.

        Parameters
        ----------
        coefficients : ndarray (rank,)
            Of the transformed columns.
        """
        first = int(self.has_intercept)
        slopes = coefficients[first:]
        shift = float(self.means @ slopes)
        variance = max(float(slopes @ slopes) - shift**2, 0.0) if shift == shift else np.nan
        return float(coefficients[:first].sum()) + shift, variance

    def column_covariance(self) -> np.ndarray | None:
        """Weighted covariance of the raw columns over the rows, (p, p) with the intercept.

        0 for columns that were dropped; None where the means are not known.
        """
        if np.isnan(self.means).any():
            return None
        first = int(self.has_intercept)
        back = np.linalg.inv(self.mapping[self.kept])
        covariance = np.zeros((first + len(self.center),) * 2)
        places, shift = first + self.kept, self.means @ back
        covariance[places[:, None], places] = back.T @ back - shift[:, None] * shift
        return covariance

    @property
    def places(self) -> np.ndarray:
        """Raw columns, the intercept included, that the transformed ones stand for, (rank,)."""
        first = int(self.has_intercept)
        return np.concatenate([np.arange(first), first + self.kept]).astype(int)


def learn_fixed_transform(
    columns: np.ndarray, has_intercept: bool, weights: np.ndarray
) -> FixedTransform:
    """Find the transform of fixed-effect columns (n, p + has_intercept).

    Columns are taken from left to right; one that the earlier ones span is
    dropped, as lme4 does.
    """
    raw = columns[:, int(has_intercept) :]
    p = raw.shape[1]
    total = weights.sum()
    size = _largest(raw)
    unit = np.where(size > 0.0, size, 1.0)
    center = np.zeros(p)
    for _ in range(2 * has_intercept):
        # the mean of large numbers is only known to rounding: centre what is left
        center += _totals(raw, unit, center, weights) / total
    gram = _gram(raw, unit, center, weights) / total
    scale = np.sqrt(np.diagonal(gram))
    candidates = np.flatnonzero(scale > _CONSTANT)
    kept_scale = scale[candidates]
    gram = gram[candidates[:, None], candidates] / (kept_scale[:, None] * kept_scale)
    kept, triangle = np.arange(0), np.zeros((0, 0))
    if len(candidates):
        lower = _well_conditioned(gram, len(raw) - has_intercept)
        if lower is not None:
            kept, triangle = np.arange(len(candidates)), np.linalg.inv(lower).T
        else:
            scaled = (raw[:, candidates] / unit[candidates] - center[candidates]) / kept_scale
            kept, triangle = _orthonormalise(scaled, weights / total, int(has_intercept))
    columns_kept = candidates[kept]
    kept_scale = scale[columns_kept] * unit[columns_kept]
    mapping = np.zeros((p, len(kept)))
    mapping[columns_kept] = triangle / kept_scale[:, None]
    log_det = float(np.log(np.abs(np.diagonal(triangle))).sum() - np.log(kept_scale).sum())
    means = np.zeros(len(kept))
    if not has_intercept:
        means = (_totals(raw, unit, center, weights) / total * unit) @ mapping
    return FixedTransform(has_intercept, center * unit, mapping, columns_kept, log_det, means)


def _largest(raw):
    """Largest absolute value of every column."""
    found = [np.zeros(raw.shape[1])]

    def look(first: int, end: int) -> None:
        part = raw[first:end]
        found.append(np.maximum(part.max(axis=0), -part.min(axis=0)))

    share_rows(look, len(raw))
    return np.max(found, axis=0)


def _totals(raw, unit, center, weights):
    """Weighted sums of the columns, each in its unit and from its center, (p,)."""

    def add(rows: slice, sums: list[np.ndarray]) -> None:
        sums[0] += (raw[rows].T / unit[:, None] - center[:, None]) @ weights[rows]

    (total,) = sum_chunks(add, lambda: [np.zeros(raw.shape[1])], len(raw), threads_of_fit())
    return total


def _gram(raw, unit, center, weights):
    """Weighted cross-products of the columns, each in its unit and from its center, (p, p)."""

    def add(rows: slice, sums: list[np.ndarray]) -> None:
        part = raw[rows].T / unit[:, None] - center[:, None]
        sums[0] += part @ (part * weights[rows]).T

    p = raw.shape[1]
    (gram,) = sum_chunks(add, lambda: [np.zeros((p, p))], len(raw), threads_of_fit())
    return gram


def _well_conditioned(gram: np.ndarray, most: int) -> np.ndarray | None:
    """The Cholesky factor, if cross-products can tell the columns from dependent ones."""
    if len(gram) > most:
        return None
    try:
        lower = np.linalg.cholesky(gram)
    except np.linalg.LinAlgError:
        return None
    return lower if (np.diagonal(lower) > 1e-4).all() else None


def _orthonormalise(
    columns: np.ndarray, weights: np.ndarray, n_before: int
) -> tuple[np.ndarray, np.ndarray]:
    """Independent columns and the upper triangle that makes them orthonormal.

    By explicit orthogonalisation, which sees dependence that cross-products do not.
    """
    p = columns.shape[1]
    root = np.sqrt(weights)
    basis = np.empty((len(columns), min(p, len(columns))), order="F")
    coefficients: list[np.ndarray] = []
    kept: list[int] = []
    for j in range(p):
        if len(kept) + n_before == np.count_nonzero(weights):
            break
        rest = columns[:, j] * root
        total = np.linalg.norm(rest)
        combined = np.zeros(len(kept))
        for _ in range(2):
            part = basis[:, : len(kept)].T @ rest
            rest = rest - basis[:, : len(kept)] @ part
            combined += part
        left = np.linalg.norm(rest)
        if left <= _DEPENDENT * total:
            continue
        basis[:, len(kept)] = rest / left
        coefficients.append(np.append(combined, left))
        kept.append(j)
    upper = np.zeros((len(kept), len(kept)))
    for k, column in enumerate(coefficients):
        upper[: k + 1, k] = column
    return np.array(kept, dtype=np.int64), np.linalg.inv(upper)


def transform_from_gram(gram: np.ndarray, has_intercept: bool) -> FixedTransform:
    """Find the transform of columns known by their mean cross-products only.

    Parameters
    ----------
    gram : ndarray (p + has_intercept, p + has_intercept)
        Weighted mean of the products of columns of about unit scale; the first
        column is constant one when there is an intercept.
    has_intercept : bool
    """
    first = int(has_intercept)
    p = len(gram) - first
    center = gram[0, 1:].copy() if has_intercept else np.zeros(p)
    products = gram[first:, first:] - np.outer(center, center)
    kept: list[int] = []
    rows = np.zeros((p, p))
    for j in range(p):
        row = np.zeros(p)
        for k, other in enumerate(kept):
            row[k] = (products[j, other] - row[:k] @ rows[k, :k]) / rows[k, k]
        left = products[j, j] - row @ row
        if left <= _DEPENDENT_GRAM * max(products[j, j], gram[first + j, first + j]):
            continue
        row[len(kept)] = np.sqrt(left)
        rows[len(kept)] = row
        kept.append(j)
    lower = rows[: len(kept), : len(kept)]
    mapping = np.zeros((p, len(kept)))
    mapping[kept] = np.linalg.inv(lower).T
    log_det = -float(np.log(np.diagonal(lower)).sum())
    # cross-products without a column of ones do not hold the means
    means = np.full(len(kept), 0.0 if has_intercept else np.nan)
    columns_kept = np.array(kept, dtype=np.int64)
    return FixedTransform(has_intercept, center, mapping, columns_kept, log_det, means)


@dataclass(frozen=True)
class BasisTransform:
    """New basis of a random factor.

    Attributes
    ----------
    basis : ndarray (n, q) or None
        The new columns; None is an intercept alone.
    matrix : ndarray (q, q)
        Effects on the old basis are `matrix` times those on the new one. Columns
        of dependent effects are zero: their variance is estimated as 0.
    moments : ndarray (q, q)
        Weighted mean over the rows of z z', z a row of the old basis.
    dependent : tuple of int
        Effects that others of their covariance block determine.
    """

    basis: np.ndarray | None
    matrix: np.ndarray
    moments: np.ndarray
    dependent: tuple[int, ...] = ()


def transform_basis(
    basis: np.ndarray | None,
    blocks: tuple[tuple[int, int], ...],
    weights: np.ndarray,
    may: tuple[BasisChange, ...],
) -> BasisTransform:
    """Bring the basis (n, q) of a random factor to unit scale, as far as its blocks `may` change.

    A block with an intercept, whose covariance is free to absorb it, has its
    other columns centred as well.
    """
    if basis is None:
        return BasisTransform(None, np.eye(1), np.ones((1, 1)))
    new = np.zeros(basis.shape)
    matrix = np.zeros((basis.shape[1], basis.shape[1]))
    dependent: list[int] = []
    for (begin, stop), change in zip(blocks, may, strict=True):
        if change == "resize":
            here = slice(begin, stop)
            unit = common_unit(weights / weights.sum() @ basis[:, here] ** 2)
            new[:, here] = basis[:, here] / unit
            matrix[here, here] = np.eye(stop - begin) / unit
            continue
        for first, last in parts_of(begin, stop, change):
            columns = basis[:, first:last]
            intercept = bool((columns[:, 0] == 1.0).all())
            transform = learn_fixed_transform(columns, intercept, weights)
            places = first + transform.places
            dependent += sorted({*range(first, last)} - {*places.tolist()})
            new[:, places] = transform.apply(columns)
            matrix[first:last, places] = transform.to_raw()
    q = basis.shape[1]
    moments = _gram(basis, np.ones(q), np.zeros(q), weights) / weights.sum()
    return BasisTransform(new, matrix, moments, tuple(dependent))


def common_unit(squares: np.ndarray) -> float:
    """One unit for columns of the mean squares (q,); 1 where all are zero."""
    return float(np.sqrt(squares.mean())) or 1.0


def parts_of(begin: int, stop: int, change: BasisChange) -> list[tuple[int, int]]:
    """Columns of a block that are transformed together, first and past-the-end."""
    return [(begin, stop)] if change == "rotate" else [(j, j + 1) for j in range(begin, stop)]


@dataclass(frozen=True)
class Units:
    """Units of the standardised problem, to go back to those of the data."""

    fixed: FixedTransform
    bases: tuple[np.ndarray, ...]
    moments: tuple[np.ndarray, ...]
    least_squares: np.ndarray
    response_center: float
    response_scale: float
    weight_scale: float
    log_weights: float
    n_observations: float
    degrees_of_freedom: float
    integrate_fixed: bool

    @property
    def noise(self) -> float:
        """Unit of the noise variance."""
        return self.response_scale**2 * self.weight_scale

    def effect_variances(self, roots: Sequence[np.ndarray]) -> np.ndarray:
        """Variances of all effects, factor by factor, in the bases of the data.

        Parameters
        ----------
        roots : sequence of ndarray (q, q)
            A root of every factor's covariance in the standard basis.
        """
        in_data = (basis @ root for basis, root in zip(self.bases, roots, strict=True))
        return np.concatenate([np.zeros(0), *((moved**2).sum(axis=1) for moved in in_data)])

    def elbo(self, deviance: float) -> float:
        """ELBO of the data from -2 ELBO of the standardised problem."""
        deviance = deviance + 2.0 * self.degrees_of_freedom * np.log(self.response_scale)
        if self.integrate_fixed:
            deviance -= 2.0 * self.fixed.log_det
        return -0.5 * (deviance - self.log_weights)
