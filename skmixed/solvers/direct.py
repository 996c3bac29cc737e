"""Exact solution of the mixed-model equations at given variance parameters.

Everything is relative to the noise variance. With V = I + Z Omega Z' the
covariance of the response over the noise variance, eliminating one factor
leaves the tail's cross-products in the metric of that factor's own covariance,

    reduced = A' V_1^-1 A = A'A - sum_l C_l' Omega (I + D_l Omega)^-1 C_l,

a dense matrix over the tail's effects, the fixed effects and the response. With
T the lower-triangular factor of a tail covariance (Omega = T T'), one Cholesky
factorisation L L' = T' reduced T + I (without the response; identity on random
effects only) gives the log determinants, the solution and the penalised residual
sum of squares: Bates, Maechler, Bolker and Walker (2015), J. Stat. Softw. 67(1),
equations 18 to 33.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from weakref import ref

import numpy as np
from scipy.linalg import blas, lapack

from skmixed._kernels.arguments import LevelInverses
from skmixed._kernels.dense_tail import mix_tail
from skmixed._kernels.elimination import tail_quadratic_forms
from skmixed._kernels.working import fill_row_variances
from skmixed.covariances import Scale
from skmixed.solvers.base import Direction, SingularSystemError
from skmixed.solvers.cholesky import factorise, invert
from skmixed.solvers.eliminated_levels import EliminatedLevels, subtract_eliminated, times_levels
from skmixed.solvers.row_covariances import MOST_LOADINGS, RowCovariances, n_loadings
from skmixed.solvers.trace_products import trace_products
from skmixed.sums.cross_products import CrossProducts, FactorLayout, symmetric
from skmixed.sums.grouped_rows import GroupedRows
from skmixed.sums.working_rows import Loadings, WorkingRows
from skmixed.threads import even_bounds, run_parts, single_blas_thread

_MODERATE = 1e-3
"""Precision of rows, over that of effects, from which the latter is moderate."""

_COLUMNS_ALONE = 8
"""Columns up to which products with a symmetric matrix take less time one by one."""

_LARGE_TAIL = 500
"""Size of a tail from which single precision saves time, and so does one product less."""


class DirectSolver:
    """Makes systems at different variance parameters and sums over the same cells.

    Parameters
    ----------
    cross : CrossProducts
    n_threads : int, default=1
    """

    name = "direct"

    def __init__(self, cross: CrossProducts, n_threads: int = 1) -> None:
        self.cross = cross
        self.n_threads = n_threads
        self._kept: DirectSystem | None = None

    def system(
        self, scales: list[Scale], cross: CrossProducts | None = None, coarse: bool = False
    ) -> DirectSystem:
        """The equations at the given scales, factorised; all digits take no longer than a few."""
        kept, cross = self._kept, cross or self.cross
        if kept is not None and cross is self.cross and _same_scales(kept.scales, scales):
            return kept.with_response(cross)
        return DirectSystem(cross, scales, self.n_threads)

    def keep(self, scales: list[Scale]) -> None:
        """Factorise at some scales, for all responses."""
        system = DirectSystem(self.cross, scales, self.n_threads)
        if not system.is_related:
            self._kept = system

    def with_response(self, cross: CrossProducts, seed: Callable[[], int]) -> DirectSolver:
        """The solver of the same cells with another response."""
        other = DirectSolver(cross, self.n_threads)
        other._kept = self._kept
        return other

    def with_sums(self, cross: CrossProducts) -> DirectSolver:
        """The solver of other sums over the same cells."""
        return DirectSolver(cross, self.n_threads)


def _same_scales(scales: list[Scale], others: list[Scale]) -> bool:
    return all(np.array_equal(a.matrix, b.matrix) for a, b in zip(scales, others, strict=True))


class DirectSystem:
    """The equations at one value of the variance parameters, factorised.

    Parameters
    ----------
    cross : CrossProducts
    scales : list of Scale
        Of every factor in design order.
    n_threads : int, default=1

    Attributes
    ----------
    log_det_random : float
        log |V|.
    log_det_fixed : float
        log |X' V^-1 X|.
    penalised_rss : float
        min over beta of (y - X beta)' V^-1 (y - X beta).

    Raises
    ------
    SingularSystemError
        When the equations are not positive definite at working precision.
    """

    name = "direct"
    is_exact = True
    is_coarse = False
    n_products = 0
    log_det_samples = np.zeros(0)
    log_det_error = 0.0
    method = ""

    def __init__(self, cross: CrossProducts, scales: list[Scale], n_threads: int = 1) -> None:
        self.cross = cross
        # a thread costs more than it brings where there is little to do
        self.n_parts = n_threads if len(cross.columns) > 20_000 else 1
        self.scales = scales
        self._related = [f for f in cross.tail_factors if not scales[f.position].by_level]
        self._n = cross.size
        self._covariances: dict[tuple[bool, bool], TailCovariance] = {}
        self._like: DirectSystem | None = None
        self._reduce()
        self._factorise()
        self._explain_response()

    def with_response(self, cross: CrossProducts) -> DirectSystem:
        """The equations of another response at the same scales; levels are independent.

        They share their factor and their covariances with these.
        """
        other = type(self).__new__(type(self))
        shared = vars(self).copy()
        for name in ("residual_maker", "fixed_effects", "residual_products", "random_effects"):
            shared.pop(name, None)
        vars(other).update(shared)
        other.cross, other._like, last = cross, self, self._n - 1
        other.reduced = self.reduced.copy()
        other.reduced[last] = np.concatenate(
            [*(cross.dense_products(f)[-1] for f in cross.tail_factors), cross.sums.dense[-1]]
        )
        if cross.eliminated is not None:
            response = times_levels(self.levels.omega_shrunk, cross.with_dense[:, :, -1:])
            other.reduced[last] -= cross.scatter(response)[:, 0]
        other._explain_response()
        return other

    def _reduce(self) -> None:
        cross = self.cross
        self.reduced = cross.dense_tail()
        scale = np.zeros((1, 1))
        if cross.eliminated is not None:
            scale = self.scales[cross.eliminated.position].matrix
        self.levels = EliminatedLevels.of(cross.own, scale)
        self.log_det_random = self.levels.log_det
        if cross.eliminated is not None:
            subtract_eliminated([cross], self.levels.omega_shrunk, self.reduced, self.n_parts)
        if self._related:
            full = symmetric(self.reduced)
            for _ in range(2):
                # from either side
                full = self._by_factor(full, Scale.to_independent).T
            self.reduced = np.ascontiguousarray(full)

    def _factorise(self) -> None:
        n_tail, size = self.cross.n_tail, self._n - 1
        identity = np.zeros(size)
        identity[:n_tail] = 1.0
        system = np.empty((size, size))
        self.mix(self.reduced, identity, system)
        if not factorise(system):
            raise SingularSystemError("the system is singular at these variance parameters")
        # column-major, as BLAS wants it
        self.upper = system.T
        pivots = self.upper.diagonal()
        self.log_det_random += 2.0 * np.log(pivots[:n_tail]).sum()
        self.log_det_fixed = 2.0 * np.log(pivots[n_tail:]).sum()

    def _explain_response(self) -> None:
        """Solve for the response as far as the sum of squares needs."""
        size = self._n - 1
        right = self.apply_scale_transposed(self.reduced[size])[:size]
        self._response_half = self.forward_solve(right)
        explained = float(self._response_half @ self._response_half)
        self.penalised_rss = max(float(self.reduced[size, size]) - explained, 0.0)

    def mix(
        self, raw: np.ndarray, diagonal: np.ndarray, out: np.ndarray, transposed: bool = False
    ) -> None:
        """Fill the lower triangle of `out` with T' raw T + diagonal; T raw T' if `transposed`."""
        if not self.cross.n_tail:
            out[:] = raw[: len(out), : len(out)]
            return
        first, *mixes = self._mixing
        # triangles of equal area
        shares = np.sqrt(np.arange(1, self.n_parts) / self.n_parts)
        bounds = [0, *(shares * len(out)).astype(int).tolist(), len(out)]

        def fill(begin: int, end: int) -> None:
            mix_tail(raw, first, mixes[transposed], diagonal, begin, end, out)

        run_parts(fill, bounds)

    @property
    def mixes_in_place(self) -> bool:
        """Whether `mix` may overwrite what it reads: levels have one effect each."""
        return all(factor.n_effects == 1 for factor in self.cross.tail_factors)

    @cached_property
    def _mixing(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coefficients of T (and of T') by column, as `mix_tail` wants them."""
        cross = self.cross
        width = max([factor.n_effects for factor in cross.tail_factors], default=1)
        first = np.arange(self._n)
        mix = np.zeros((self._n, width))
        mix[:, 0] = 1.0
        mix_transposed = mix.copy()
        for factor in cross.tail_factors:
            scale = self.scales[factor.position].matrix
            q = factor.n_effects
            first[factor.columns] = factor.start + q * np.repeat(np.arange(factor.n_levels), q)
            mix[factor.columns, :q] = np.tile(scale.T, (factor.n_levels, 1))
            mix_transposed[factor.columns, :q] = np.tile(scale, (factor.n_levels, 1))
        return first, mix, mix_transposed

    def apply_scale_transposed(self, vectors: np.ndarray) -> np.ndarray:
        """T' times tail vectors (N, m) or (N,), identity on the dense columns."""
        return self._by_factor(vectors, Scale.apply_transposed)

    def apply_scale(self, vectors: np.ndarray) -> np.ndarray:
        """T times tail vectors (N, m) or (N,), identity on the dense columns."""
        return self._by_factor(vectors, Scale.apply)

    def _by_factor(
        self, vectors: np.ndarray, change: Callable[[Scale, np.ndarray], np.ndarray]
    ) -> np.ndarray:
        out = vectors.copy()
        for factor in self.cross.tail_factors:
            here = factor.columns
            out[here] = change(self.scales[factor.position], vectors[here])
        return out

    @property
    def is_related(self) -> bool:
        """Whether levels of a factor are related, so that effects are not independent levels."""
        return bool(self._related)

    def to_effects(self, vectors: np.ndarray) -> np.ndarray:
        """Tail vectors (N, m) of effects from those of independent levels; see `Scale`."""
        return self._by_factor(vectors, Scale.to_effects) if self._related else vectors

    def forward_solve(self, vectors: np.ndarray) -> np.ndarray:
        """L^-1 times columns over random tail and fixed effects (without response)."""
        if not len(vectors):
            return vectors
        if vectors.ndim == 1:
            return blas.dtrsv(self.upper, vectors, lower=0, trans=1)
        return blas.dtrsm(1.0, self.upper, np.asfortranarray(vectors), lower=0, trans_a=1)

    def is_moderate(self, factor: FactorLayout) -> bool:
        """Whether the precision of a tail factor's effects is moderate beside that of the rows.

        Then products with it keep their digits.
        """
        rows = np.diagonal(self.reduced)[factor.columns].mean()
        return bool(rows * self.scales[factor.position].smallest ** 2 > _MODERATE)

    @property
    def rounds(self) -> bool:
        """Whether the inverse takes long enough to be rounded to six digits."""
        return self._n > _LARGE_TAIL

    @cached_property
    def _divides(self) -> bool:
        """Whether `_tail_products` divides: T must not be too small, and the tail large."""
        return self._n > _LARGE_TAIL and all(map(self.is_moderate, self.cross.tail_factors))

    def _tail_products(
        self, solution: np.ndarray, rest: np.ndarray, known: np.ndarray | float = 0.0
    ) -> np.ndarray:
        """Z' V^-1 f of the tail's effects for columns f; other rows must not be used.

        With R the reduced cross-products, this is R times `rest`, plus `known`. `solution` solves
        (T'RT + I) v = T' (R f + known). It equals T' Z'V^-1 f, so T'^-1 v gives the same.
        """
        if self._divides:
            return self._by_factor(solution, Scale.solve_transposed)
        return known + self._times_reduced(rest)

    @property
    def exact(self) -> DirectSystem:
        """Itself."""
        return self

    def precision_root(self, n_fixed: int) -> np.ndarray:
        """Upper triangle of U, with U'U the precision of whitened tail effects and coefficients."""
        used = slice(0, self.cross.n_tail + n_fixed)
        # below its diagonal the factor holds whatever was in memory, which may be no number
        return np.triu(self.upper[used, used])

    def log_det(self, integrate_fixed: bool) -> float:
        """log |V|, plus log |X' V^-1 X| when the fixed effects are integrated out."""
        return self.log_det_random + (self.log_det_fixed if integrate_fixed else 0.0)

    # The solution -------------------------------------------------------------

    @cached_property
    def solution(self) -> np.ndarray:
        """Posterior means of the whitened tail effects, and the fixed effects, (n_tail + p,)."""
        scaled = self._response_half
        return blas.dtrsv(self.upper, scaled, lower=0, trans=0) if len(scaled) else scaled

    @cached_property
    def residual_maker(self) -> np.ndarray:
        """Tail effects and fixed effects, and -1 for the response, negated: the residual maker."""
        return -self.apply_scale(np.append(self.solution, -1.0))

    @cached_property
    def fixed_effects(self) -> np.ndarray:
        """Generalised least squares estimate of beta, (p,)."""
        return -self.residual_maker[self.cross.n_tail : -1]

    @cached_property
    def residual_products(self) -> list[np.ndarray]:
        """Z' V^-1 (y - X beta) of every factor in design order, (levels, effects) each."""
        cross = self.cross
        tail = self._tail_products(self.solution[:, None], self.residual_maker[:, None])[:, 0]
        products: list[np.ndarray] = []
        for factor in cross.factors:
            if factor is cross.eliminated:
                solution = self.to_effects(self.residual_maker[:, None])
                products.append(self.gather(solution)[:, :, 0])
            else:
                products.append(tail[factor.columns].reshape(factor.n_levels, factor.n_effects))
        return products

    @cached_property
    def random_effects(self) -> list[np.ndarray]:
        """Posterior means Omega Z' V^-1 (y - X beta), (levels, effects) each."""
        return [
            scale.to_effects(products @ scale.omega)
            for products, scale in zip(self.residual_products, self.scales, strict=True)
        ]

    def fixed_products(self) -> list[np.ndarray]:
        """Z' V^-1 X of every factor in design order, (levels, effects, p) each.

        The columns of X take the place of the response, without fixed effects.
        """
        cross, n_tail, size = self.cross, self.cross.n_tail, self._n - 1
        columns = np.zeros((self._n, cross.n_fixed), order="F")
        columns[n_tail:size] = np.eye(cross.n_fixed)
        if n_tail and cross.n_fixed:
            right = np.zeros((self._n, cross.n_fixed))
            right[:n_tail] = self.reduced[n_tail:size, :n_tail].T
            right = self.apply_scale_transposed(right)[:n_tail]
            upper = self.upper[:n_tail, :n_tail]
            right = blas.dtrsm(1.0, upper, right, lower=0, trans_a=1)
            effects = np.zeros((self._n, cross.n_fixed))
            effects[:n_tail] = blas.dtrsm(1.0, upper, right, lower=0)
            columns -= self.apply_scale(effects)
        tail = self._times_reduced(columns)
        products = []
        for factor in cross.factors:
            if factor is cross.eliminated:
                products.append(self.gather(self.to_effects(columns)))
                continue
            shape = (factor.n_levels, factor.n_effects, cross.n_fixed)
            products.append(tail[factor.columns].reshape(shape))
        return products

    # Second-order quantities ------------------------------------------------------

    def projected_gram(self, directions: list[Direction]) -> np.ndarray:
        """Gram matrix f_j' P f_k of working vectors f = Z v, (m, m).

        P = V^-1 - V^-1 X (X'V^-1X)^-1 X'V^-1; a direction is a factor and the
        level effects v (levels, effects).
        """
        spread = self._spread(directions)
        direct, right = spread.direct, spread.known
        gram = np.zeros((len(directions), len(directions)))
        if self.cross.n_tail:
            through = self._times_reduced(direct)
            across = direct.T @ right
            gram = direct.T @ through + across + across.T
            right = right + through
        half = self.forward_solve(self.apply_scale_transposed(right)[: self._n - 1])
        gram -= half.T @ half
        k = len(spread.numbers)
        if k:
            own = spread.own.reshape(-1, k).T @ spread.effects.reshape(-1, k)
            gram[spread.numbers[:, None], spread.numbers] += own
        return gram

    def projected_products(
        self, directions: list[Direction], integrate_fixed: bool
    ) -> list[dict[int, np.ndarray]]:
        """Z' P f of every factor for f as in `projected_gram`, by number of the direction.

        With ``integrate_fixed=False`` V^-1 takes the place of P. A product with
        the eliminated factor costs a pass over the cells, and is only made for
        the directions of that factor.

        Returns
        -------
        list of dict of {int: ndarray (levels, effects)}
            In design order.
        """
        cross = self.cross
        size, m = self._n - 1, len(directions)
        spread = self._spread(directions)
        direct, known = spread.direct, spread.known
        right = known + self._times_reduced(direct)
        solution = self.forward_solve(self.apply_scale_transposed(right)[:size])
        if not integrate_fixed:
            solution[cross.n_tail :] = 0.0
        rest = direct
        if size:
            solution = blas.dtrsm(1.0, self.upper, solution, lower=0, overwrite_b=1)
            padded = np.concatenate([solution, np.zeros((1, m))])
            rest = np.asfortranarray(direct - self.apply_scale(padded))
        tail = self._tail_products(solution, rest, known)
        products: list[dict[int, np.ndarray]] = []
        for factor in cross.factors:
            shape = (factor.n_levels, factor.n_effects)
            if factor is not cross.eliminated:
                columns = tail[factor.columns]
                products.append({j: columns[:, j].reshape(shape) for j in range(m)})
                continue
            gathered = self.gather(self.to_effects(rest[:, spread.numbers])) + spread.own
            products.append({j: gathered[:, :, k] for k, j in enumerate(spread.numbers.tolist())})
        return products

    def expected_information(
        self, tangents: list[Direction], integrate_fixed: bool
    ) -> np.ndarray | None:
        """tr(P V_i P V_j) (m, m) of derivatives (q, q) of Omega; None where that takes long.

        V^-1 takes the place of P with ``integrate_fixed=False``. One factor without a tail has
        blocks S_l of Z'V^-1 Z by level, and Z'PZ is these less F C F', F = Z'V^-1 X.
        """
        cross = self.cross
        if cross.n_tail or cross.eliminated is None:
            return None
        moved = np.array([tangent for _, tangent in tangents])
        S = self.levels.precision_shrunk
        if not (integrate_fixed and cross.n_fixed):
            return _traces(S, moved)
        C = self.fixed_covariance()
        F = np.matmul(self.levels.shrink, cross.with_dense[:, :, :-1])
        own = np.matmul(F @ C, F.swapaxes(1, 2))
        q, p = F.shape[1:]
        rows = F.reshape(-1, q * p)
        pairs = (rows.T @ rows).reshape(q, p, q, p)
        pairs = pairs.transpose(0, 2, 1, 3).reshape(q * q, p * p)
        between = (moved.reshape(-1, q * q) @ pairs).reshape(-1, p, p) @ C
        across = between.reshape(-1, p * p) @ between.swapaxes(1, 2).reshape(-1, p * p).T
        return _traces(S - own, moved) - _traces(own, moved) + across

    def trace_products(self, directions: list[Direction]) -> np.ndarray | None:
        """tr(P V_i P V_j) of matrices of Omega, (m, m); None where levels are related."""
        return None if self._related else trace_products(self, directions)

    def row_covariances(self, rows: GroupedRows) -> RowCovariances | None:
        """Covariances between rows of a group; None where they would not fit into memory."""
        return RowCovariances(self, rows) if n_loadings(self, rows) <= MOST_LOADINGS else None

    def gather(self, vectors: np.ndarray) -> np.ndarray:
        """reduced_l times tail vectors (N, m) of effects for every eliminated level, (L, Q, m)."""
        return times_levels(self.levels.shrink, self.cross.gather(vectors))

    def _spread(self, directions: list[Direction]) -> _Spread:
        """Directions seen from the tail, with the eliminated factor's covariance in V."""
        cross = self.cross
        direct = np.zeros((self._n, len(directions)), order="F")
        known = np.zeros((self._n, len(directions)), order="F")
        numbers, by_level = [], []
        for j, (factor, effects) in enumerate(directions):
            if factor is cross.eliminated:
                numbers.append(j)
                by_level.append(effects)
            else:
                direct[factor.columns, j] = effects.ravel()
        places = np.array(numbers, int)
        if not numbers:
            nothing = np.zeros((*cross.own.shape[:2], 0))
            return _Spread(direct, known, places, nothing, nothing)
        of_levels = np.stack(by_level, axis=2)
        shrunk = times_levels(self.levels.shrink.swapaxes(1, 2), of_levels)
        known[:, places] = cross.scatter(shrunk)
        if self._related:
            known = np.asfortranarray(self._by_factor(known, Scale.to_independent))
        own = np.matmul(self.levels.precision_shrunk, of_levels)
        return _Spread(direct, known, places, of_levels, own)

    def _times_reduced(self, vectors: np.ndarray) -> np.ndarray:
        """The reduced cross-products times columns (N, m)."""
        used = np.flatnonzero(vectors.any(axis=0))
        out = np.zeros(vectors.shape, order="F")
        if len(used) > _COLUMNS_ALONE:
            out[:, used] = blas.dsymm(1.0, self.reduced.T, vectors[:, used], lower=0)
            return out
        for j in used:
            out[:, j] = blas.dsymv(1.0, self.reduced.T, vectors[:, j], lower=0)
        return out

    def covariance(self, integrate_fixed: bool, coarse: bool = False) -> TailCovariance:
        """The posterior covariance; six digits suffice where `coarse`."""
        owner = self._like or self
        made = owner._covariances
        if (integrate_fixed, coarse) not in made:
            made[integrate_fixed, coarse] = TailCovariance(owner, integrate_fixed, coarse)
        return made[integrate_fixed, coarse]

    def fixed_covariance(self) -> np.ndarray:
        """(X' V^-1 X)^-1, relative, (p, p)."""
        n_tail, p = self.cross.n_tail, self.cross.n_fixed
        if not p:
            return np.zeros((0, 0))
        half = np.triu(self.upper[n_tail : n_tail + p, n_tail : n_tail + p])
        inverse, _ = lapack.dtrtri(half)
        return inverse @ inverse.T

    def fixed_with_effects(self) -> np.ndarray:
        """Rows of beta of the inverse of the mixed-model equations, (p, p + n_effects)."""
        cross = self.cross
        p, size = cross.n_fixed, self._n - 1
        columns = np.zeros((self._n, p))
        columns[cross.n_tail : size] = np.eye(p)
        if p:
            half = self.forward_solve(columns[:size])
            columns[:size] = blas.dtrsm(1.0, self.upper, half, lower=0)
        with_tail = self.to_effects(self.apply_scale(columns))
        parts = [with_tail[cross.n_tail : size]]
        for factor in cross.factors:
            if factor is not cross.eliminated:
                parts.append(with_tail[factor.columns])
                continue
            # given the tail, their mean is Omega reduced_l (data - tail)
            omega = self.scales[factor.position].omega
            effects = np.matmul(omega, self.gather(with_tail))
            parts.append(-effects.reshape(factor.size, p))
        return np.concatenate(parts).T


@dataclass(frozen=True)
class _Spread:
    """Working vectors f, seen from the tail.

    Attributes
    ----------
    direct : ndarray (N, m)
        Tail effects of directions of tail factors.
    known : ndarray (N, m)
        Products Z_t' V_1^-1 f of directions of the eliminated factor with the tail.
    numbers : ndarray (k,)
        Which directions are of the eliminated factor.
    effects, own : ndarray (L, Q, k)
        Their effects, and their products Z_1' V_1^-1 f with the factor itself.
    """

    direct: np.ndarray
    known: np.ndarray
    numbers: np.ndarray
    effects: np.ndarray
    own: np.ndarray


class TailCovariance:
    """Covariances of the posterior relative to the noise variance.

    Parameters
    ----------
    system : DirectSystem
        It keeps this object, which only refers to it weakly: matrices of a cycle would stay in
        memory until the garbage collector comes.
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
        self._system = ref(system)
        self.integrate_fixed = integrate_fixed
        self.coarse = coarse
        cross = system.cross
        size = len(system.upper)
        self._used = size if integrate_fixed else cross.n_tail
        self.tail: np.ndarray = np.zeros((size, size))
        self.scaled: dict[int, np.ndarray] = {}
        if self._used:
            used = slice(0, self._used)
            single = coarse and system.rounds
            precision = np.float32 if single else np.float64
            with np.errstate(over="ignore", invalid="ignore"):
                # the other triangle was never filled and is never read
                inverse = np.array(system.upper.T[used, used], dtype=precision, order="C")
            with single_blas_thread() if single else nullcontext():
                invert(inverse)
            self.scaled = {f.position: _summed_blocks(inverse, f) for f in cross.tail_factors}
            nothing = np.zeros(self._used)
            if self._used == size and not single and system.mixes_in_place:
                self.tail = inverse
            system.mix(inverse, nothing, self.tail[used, used], transposed=True)
            if system.is_related:
                full = symmetric(self.tail)
                self.tail = system.to_effects(system.to_effects(full).T)

    @property
    def system(self) -> DirectSystem:
        """The equations, as long as somebody keeps them."""
        system = self._system()
        assert system is not None
        return system

    @cached_property
    def forms(self) -> np.ndarray:
        """reduced_l tail reduced_l' of every eliminated level, (L, Q, Q)."""
        cross = self.system.cross
        assert cross.eliminated is not None
        if not self._used:
            return np.zeros_like(cross.own)
        forms = np.empty_like(cross.own)
        cells = cross.level_cells(cross.n_fixed)
        shrink = self.system.levels.shrink

        def fill(first: int, last: int) -> None:
            tail_quadratic_forms(cells, shrink, self.tail, first, last, forms)

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
        if self.system.is_moderate(factor):
            scale = self.system.scales[factor.position]
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

    def level_error(self, factor: FactorLayout) -> float:
        """Zero: level covariances are exact."""
        return 0.0

    def row_variances(self, rows: WorkingRows) -> np.ndarray:
        """Variance of every row's linear predictor, exactly, (n,)."""
        cross = self.system.cross
        n_fixed = cross.n_fixed if self.integrate_fixed else 0
        fixed = rows.fixed if self.integrate_fixed else rows.fixed[:, :0].copy()
        if cross.eliminated is None:
            used = slice(0, self._used)
            return rows.loaded_variances(self._loadings(symmetric(self.tail[used, used])))
        if not self._used:
            own = rows.level_variances(cross.eliminated.position, self.system.levels.omega_shrunk)
            return np.maximum(own, 0.0)
        omega = self.system.scales[cross.eliminated.position].omega
        places, levels = rows.by_level, self.system.levels
        cells = cross.level_cells(n_fixed)
        inverses = LevelInverses(levels.shrink, omega, levels.omega_shrunk)
        out = np.empty(rows.n_rows)

        def fill(first: int, last: int) -> None:
            fill_row_variances(places, cells, inverses, fixed, self.tail, first, last, out)

        bounds = [0, len(cross.own)]
        if self.system.n_parts > 1:
            work = (np.diff(cross.start) + n_fixed + 1.0) ** 2 + 4.0 * np.diff(places.row_start)
            bounds = even_bounds(work, self.system.n_parts)
        run_parts(fill, bounds)
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

    def by_weight(self, part: CrossProducts, noise: float) -> float:
        """Derivative of the log determinant plus `penalised_rss` / noise by a weight of rows.

        With N the derivative of the reduced cross-products it is tr(C N), and what the
        conditional covariance G of the eliminated effects adds to it, plus r'N r / noise with r
        the residual maker. For C_l the cells of a level and A_l those of the part,
        N = A'A - sum_l (A_l'G C_l + C_l'G A_l - C_l'G A_l A_l' G C_l).
        """
        system, moved, trace = self.system, part.dense_tail(), 0.0
        cross = system.cross
        if cross.eliminated is not None:
            G, own = system.levels.omega_shrunk, part.own
            q = G.shape[1]
            middle = np.zeros((len(G), 2 * q, 2 * q))
            middle[:, :q, q:] = middle[:, q:, :q] = G
            middle[:, q:, q:] = -(G @ own @ G)
            trace = float((G * own).sum())
            subtract_eliminated([part, cross], middle, moved)
        products = np.tril(self.tail) * moved[:-1, :-1]
        trace += 2.0 * float(products.sum()) - float(np.trace(products))
        maker = system.to_effects(system.residual_maker)
        return trace + float(maker @ blas.dsymv(1.0, moved.T, maker, lower=0)) / noise

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
                places = np.arange(factor.size).reshape(factor.n_levels, factor.n_effects)
                covariance[begin + places[:, :, None], places[:, None]] += (
                    self.system.levels.omega_shrunk
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


def _traces(blocks: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """sum_l tr(B_l D_i B_l D_j) (m, m) of symmetric blocks B (L, q, q) and matrices D (m, q, q)."""
    q = blocks.shape[1]
    rows = blocks.reshape(-1, q * q)
    # (a, b), (c, d) with D_i between b and c
    pairs = (rows.T @ rows).reshape(q, q, q, q).transpose(1, 2, 0, 3).reshape(q * q, q * q)
    return (moved.reshape(-1, q * q) @ pairs) @ moved.swapaxes(1, 2).reshape(-1, q * q).T


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
    out[:, rows] = symmetric(block)
    out[:, stop:] = lower[stop:, rows].T
    return out
