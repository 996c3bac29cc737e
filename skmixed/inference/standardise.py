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

from dataclasses import dataclass

import numpy as np

_DEPENDENT = 1e-7
"""A column is dependent when this little of it is left after projection (as in R's qr)."""

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
    """

    has_intercept: bool
    center: np.ndarray
    mapping: np.ndarray
    kept: np.ndarray
    log_det: float

    @property
    def rank(self) -> int:
        """Number of transformed columns, the intercept included."""
        return len(self.kept) + self.has_intercept

    def apply(self, columns: np.ndarray) -> np.ndarray:
        """Transform raw columns (n, p + has_intercept)."""
        slopes = (columns[:, int(self.has_intercept) :] - self.center) @ self.mapping
        if not self.has_intercept:
            return slopes
        return np.column_stack([np.ones(len(columns)), slopes])

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
    size = np.abs(raw).max(axis=0, initial=0.0)
    center = weights @ raw / total if has_intercept else np.zeros(p)
    centred = raw - center
    if has_intercept:
        # the mean of large numbers is only known to rounding: centre what is left
        rest = weights @ centred / total
        center = center + rest
        centred = centred - rest
    scale = np.sqrt(weights @ centred**2 / total)
    candidates = np.flatnonzero(scale > _CONSTANT * size)
    scaled = centred[:, candidates] / scale[candidates]
    kept, triangle = _orthonormalise(scaled, weights / total, int(has_intercept))
    mapping = np.zeros((p, len(kept)))
    columns_kept = candidates[kept]
    mapping[columns_kept] = triangle / scale[columns_kept][:, None]
    log_det = float(np.log(np.abs(np.diagonal(triangle))).sum() - np.log(scale[columns_kept]).sum())
    return FixedTransform(has_intercept, center, mapping, columns_kept, log_det)


def _orthonormalise(
    columns: np.ndarray, weights: np.ndarray, n_before: int
) -> tuple[np.ndarray, np.ndarray]:
    """Independent columns and the upper triangle that makes them orthonormal.

    Cross-products decide where they can; a column they cannot tell from a
    dependent one goes through explicit orthogonalisation of all columns.
    """
    p = columns.shape[1]
    gram = columns.T @ (columns * weights[:, None])
    if p + n_before <= len(columns):
        try:
            lower = np.linalg.cholesky(gram)
        except np.linalg.LinAlgError:
            lower = None
        if lower is not None and (np.diagonal(lower) > 1e-4).all():
            return np.arange(p), np.linalg.inv(lower).T
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


def transform_basis(
    basis: np.ndarray | None,
    blocks: tuple[tuple[int, int], ...],
    weights: np.ndarray,
    rotate: bool,
) -> tuple[np.ndarray | None, np.ndarray]:
    """Scale (and rotate within blocks) the basis of a random factor.

    Returns the new basis and the matrix A with new = old @ A, so that effects
    on the old basis are A times those on the new one.
    """
    if basis is None:
        return None, np.eye(1)
    total = weights.sum()
    size = np.sqrt(weights @ basis**2 / total)
    size[size == 0.0] = 1.0
    matrix = np.diag(1.0 / size)
    if rotate:
        for begin, stop in blocks:
            if stop - begin == 1:
                continue
            scaled = basis[:, begin:stop] / size[begin:stop]
            upper = np.linalg.qr(scaled * np.sqrt(weights / total)[:, None], mode="r")
            if np.abs(np.diagonal(upper)).min() > 1e-8 * np.abs(np.diagonal(upper)).max():
                inverse = np.linalg.inv(upper)
                matrix[begin:stop, begin:stop] = inverse / size[begin:stop][:, None]
    return basis @ matrix, matrix
