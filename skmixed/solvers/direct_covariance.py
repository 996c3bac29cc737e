"""The posterior covariance at one value of the variance parameters.

Kept is the dense covariance of the tail; what concerns the eliminated factor is
conditional on it: given the tail, a level's effects have covariance
Omega (I + D_l Omega)^-1 and mean Omega reduced_l (data - tail).
"""

from __future__ import annotations

from contextlib import nullcontext
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import proxy

import numpy as np
from scipy.linalg import block_diag

from skmixed._kernels.elimination import tail_quadratic_forms
from skmixed._kernels.working import fill_row_variances
from skmixed.solvers.base import SingularSystemError
from skmixed.solvers.cholesky import invert
from skmixed.sums.cross_products import FactorLayout
from skmixed.sums.working_rows import Loadings, WorkingRows
from skmixed.threads import even_bounds, run_parts, single_blas_thread

if TYPE_CHECKING:
    from skmixed.solvers.direct import DirectSystem

_WORTH_ROUNDING = 500
"""Size of a tail from which single precision saves time."""


class TailCovariance:
    """Covariances of the posterior relative to the noise variance.

    Parameters
    ----------
    system : DirectSystem
    integrate_fixed : bool
        False where beta is a point: its rows and columns are zero, and the
        others are conditional on it.
    coarse : bool, default=False
        Whether a large matrix may be inverted in single precision, in half the
        time: six digits are plenty far from the optimum.

    Attributes
    ----------
    tail : ndarray (N - 1, N - 1)
        Of the tail's effects and beta, lower triangle.
    scaled : dict of {int: ndarray (q, q)}
        By position of a tail factor, the blocks of (S'RS + I)^-1 of its independent levels,
        summed.
    """

    def __init__(self, system: DirectSystem, integrate_fixed: bool, coarse: bool = False) -> None:
        # the system keeps this object: a strong reference back would keep both alive
        self.system: DirectSystem = proxy(system)
        self.integrate_fixed = integrate_fixed
        self.coarse = coarse
        cross = system.cross
        size = len(system.upper)
        self._used = size if integrate_fixed else cross.n_tail
        self.tail = np.zeros((size, size))
        self.scaled: dict[int, np.ndarray] = {}
        if self._used:
            used = slice(0, self._used)
            single = coarse and self._used >= _WORTH_ROUNDING
            precision = np.float32 if single else np.float64
            with np.errstate(over="ignore", invalid="ignore"):
                # the other triangle was never filled and is never read
                inverse = np.array(system.upper.T[used, used], dtype=precision, order="C")
            with single_blas_thread() if single else nullcontext():
                invert(inverse)
            self.scaled = {f.position: _summed_blocks(inverse, f) for f in cross.tail_factors}
            nothing = np.zeros(self._used)
            system.mix_rows(inverse, system.mix_transposed, nothing, self.tail[used, used])
            if system.is_related:
                full = np.tril(self.tail) + np.tril(self.tail, -1).T
                self.tail = system.to_effects(system.to_effects(full).T)

    @cached_property
    def forms(self) -> np.ndarray:
        """reduced_l tail reduced_l' of every eliminated level, (L, Q, Q)."""
        cross = self.system.cross
        assert cross.eliminated is not None
        forms = np.empty_like(cross.own)
        with_fixed = np.ascontiguousarray(cross.with_dense[:, :, :-1])

        def fill(first: int, last: int) -> None:
            tail_quadratic_forms(
                cross.start, cross.columns, cross.values, with_fixed,
                self.system.levels.shrink, self.tail, first, last, forms,
            )  # fmt: skip

        run_parts(fill, cross.level_bounds(self.system.n_parts))
        return forms

    def information(self, factor: FactorLayout) -> np.ndarray:
        """sum_l Z_l' P Z_l of a factor (Q, Q); V^-1 for P when beta is a point.

        For a tail factor there are two ways: from the inverse of the system, as
        T' Z'PZ T = I - (S'RS + I)^-1, which loses all digits where T is nearly singular,
        or by projection, which loses some where the variance is huge. The size of T decides.
        """
        if factor is self.system.cross.eliminated:
            forms = self.forms
            return self.system.levels.precision_shrunk.sum(axis=0) - forms.sum(axis=0)
        scale = self.system.scales[factor.position]
        rows = np.diagonal(self.system.reduced)[factor.columns].mean()
        if rows * scale.smallest**2 > 1e-3:
            inner = factor.n_levels * np.eye(factor.n_effects) - self.scaled[factor.position]
            return scale.inverse.T @ inner @ scale.inverse
        return self._projected_information(factor)

    def _projected_information(self, factor: FactorLayout) -> np.ndarray:
        used = self._used
        own = _summed_blocks(self.system.reduced, factor)
        columns = np.ascontiguousarray(_symmetric_rows(self.system.reduced, factor.columns).T)
        scaled = self.system.apply_scale_transposed(columns)[: len(self.tail)]
        half = self.system.forward_solve(scaled)[:used]
        half = half.reshape(used, factor.n_levels, factor.n_effects)
        return own - np.einsum("ulq,uls->qs", half, half)

    def level_covariances(self, factor: FactorLayout) -> np.ndarray:
        """Relative posterior covariance of each level's effects, (L, Q, Q)."""
        if factor is self.system.cross.eliminated:
            omega = self.system.scales[factor.position].omega
            forms = self.forms
            return self.system.levels.omega_shrunk + omega @ forms @ omega
        blocks = np.empty((factor.n_levels, factor.n_effects, factor.n_effects))
        for q in range(factor.n_effects):
            for s in range(q + 1):
                rows = np.arange(factor.start + q, factor.columns.stop, factor.n_effects)
                blocks[:, q, s] = blocks[:, s, q] = self.tail[rows, rows - q + s]
        return blocks

    def row_variances(self, rows: WorkingRows) -> np.ndarray:
        """Variance of every row's linear predictor, exactly, (n,)."""
        cross = self.system.cross
        used = slice(0, self._used)
        n_fixed = cross.n_fixed if self.integrate_fixed else 0
        fixed = rows.fixed if self.integrate_fixed else rows.fixed[:, :0].copy()
        tail = np.ascontiguousarray(self.tail[used, used])
        if cross.eliminated is None:
            return rows.loaded_variances(self._loadings(np.tril(tail) + np.tril(tail, -1).T))
        omega = self.system.scales[cross.eliminated.position].omega
        places, levels = rows.by_level, self.system.levels
        with_fixed = np.ascontiguousarray(cross.with_dense[:, :, :n_fixed])
        out = np.empty(rows.n_rows)

        def fill(first: int, last: int) -> None:
            fill_row_variances(
                places.row_start, places.places, places.slopes, places.own_effects,
                places.tail_effects, places.tail_sizes, fixed,
                cross.start, cross.columns, cross.values, with_fixed,
                levels.shrink, omega, levels.omega_shrunk, tail, first, last, out,
            )  # fmt: skip

        work = (np.diff(cross.start) + n_fixed + 1.0) ** 2 + 4.0 * np.diff(places.row_start)
        run_parts(fill, even_bounds(work, self.system.n_parts))
        return out

    def _loadings(self, covariance: np.ndarray) -> Loadings:
        """The covariance of the tail (u, u) as products of columns, nothing eliminated."""
        cross = self.system.cross
        values, vectors = np.linalg.eigh(covariance)
        if len(values) and not values[0] > -1e-8 * values[-1]:
            raise SingularSystemError("the fixed effects are dependent")
        root = np.zeros((cross.n_tail + cross.n_fixed, len(values)))
        root[: len(values)] = vectors * np.sqrt(np.maximum(values, 0.0))
        levels = [
            np.ascontiguousarray(root[f.columns]).reshape(f.n_levels, f.n_effects, -1)
            for f in cross.factors
        ]
        nothing = [np.zeros((f.n_levels, f.n_effects, f.n_effects)) for f in cross.factors]
        return Loadings(root[cross.n_tail :], tuple(levels), tuple(nothing))

    def row_variance_errors(self, rows: WorkingRows) -> np.ndarray:
        """Zero: they are exact."""
        return np.zeros(rows.n_rows)

    def can_join(self, factor: FactorLayout) -> bool:
        """Whether `joint` can have the factor's rows: any factor's."""
        return True

    def joint(self, kept: tuple[int, ...]) -> np.ndarray:
        """Relative covariance of beta and the `kept` factors with all effects.

        Rows: fixed effects, then the effects of the factors at the positions
        `kept`; columns: fixed effects, then the effects of all factors.
        """
        cross = self.system.cross
        lower = self.tail
        rows = [_symmetric_rows(lower, slice(cross.n_tail, len(lower)))]
        for position in kept:
            factor = cross.factors[position]
            if factor is cross.eliminated:
                everything = _symmetric_rows(lower, slice(0, len(lower)))
                rows.append(self._covariance_with_eliminated(everything).T)
            else:
                rows.append(_symmetric_rows(lower, factor.columns))
        with_tail = np.concatenate(rows)
        columns = [with_tail[:, cross.n_tail :]]
        for factor in cross.factors:
            if factor is not cross.eliminated:
                columns.append(with_tail[:, factor.columns])
                continue
            covariance = self._covariance_with_eliminated(with_tail)
            if factor.position in kept:
                before = sum(cross.factors[k].size for k in kept if k < factor.position)
                begin = cross.n_fixed + before
                covariance[begin : begin + factor.size] += block_diag(
                    *self.system.levels.omega_shrunk
                )
            columns.append(covariance)
        return np.concatenate(columns, axis=1)

    def _covariance_with_eliminated(self, with_tail: np.ndarray) -> np.ndarray:
        """Covariance with the eliminated effects (r, L Q) of what covaries so with the tail.

        Given the tail, the eliminated effects have mean Omega reduced_l (data - tail).
        """
        cross = self.system.cross
        assert cross.eliminated is not None
        omega = self.system.scales[cross.eliminated.position].omega
        padded = np.concatenate([with_tail.T, np.zeros((1, len(with_tail)))])
        effects = np.einsum("lqr,qs->rls", self.system.gather(padded), omega)
        return -effects.reshape(len(with_tail), cross.eliminated.size)


def _summed_blocks(matrix: np.ndarray, factor: FactorLayout) -> np.ndarray:
    """Diagonal blocks (q, q) of a factor's levels, summed, of a lower triangle."""
    out = np.empty((factor.n_effects, factor.n_effects))
    for q in range(factor.n_effects):
        rows = np.arange(factor.start + q, factor.columns.stop, factor.n_effects)
        for s in range(q + 1):
            out[q, s] = out[s, q] = matrix[rows, rows - q + s].sum(dtype=float)
    return out


def _symmetric_rows(lower: np.ndarray, rows: slice) -> np.ndarray:
    """Rows of a symmetric matrix of which the lower triangle is filled."""
    start, stop = rows.start, rows.stop
    out = np.empty((stop - start, len(lower)))
    block = lower[rows, rows]
    out[:, :start] = lower[rows, :start]
    out[:, rows] = np.tril(block) + np.tril(block, -1).T
    out[:, stop:] = lower[stop:, rows].T
    return out
