"""Iterative solution of the mixed-model equations of a large tail.

The equations are those of `skmixed.solvers.direct`. The eliminated factor and the
dense part of the tail (small factors, fixed effects) are eliminated exactly; on
the effects of the large factors that are left,

    H = T' (R - half half') T + I,

with R their reduced cross-products and `half` what the dense part explains,
conjugate gradients run in the coordinates of `skmixed.solvers.coarse_space`. Traces and
the log determinant come from solves with fixed random signs z: z'H^-1 z and
quadratures of z' log(H) z have the traces as expectations (Hutchinson 1990,
Communications in Statistics 19).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property

import numpy as np

from skmixed.covariances import Scale
from skmixed.solvers.base import Direction, SingularSystemError
from skmixed.solvers.conjugate_gradients import NotConvergedError, Solution, solve
from skmixed.solvers.dense_part import DensePart
from skmixed.solvers.eliminated_levels import EliminatedLevels
from skmixed.solvers.preconditioners import (
    ApproximateCholesky,
    Preconditioner,
    ReducedSystem,
    choose,
)
from skmixed.solvers.probed_covariance import ProbedCovariance
from skmixed.solvers.reduced_matrix import ReducedPattern
from skmixed.solvers.sparse_tail import SparseTail
from skmixed.sums.cross_products import CrossProducts, FactorLayout

_MEAN_TOLERANCE = 1e-9
_PROBE_TOLERANCE = 1e-5
"""Relative residuals; errors of what probes tell are quadratic in theirs."""

_EARLY_TOLERANCE = 1e-5, 1e-3, 1e-3
"""Of the mean, fixed effects and probes of the first system of a fit, which only the first step
comes from, as far as no more than the following number of products is needed."""

_EARLY_PRODUCTS = 8

_FIXED_TOLERANCE = 1e-6
"""For covariances with the fixed effects."""

_FEW_FIXED = 4
"""Fixed effects up to which their covariance is solved for along with the mean."""

_INFORMATION_TOLERANCE = 1e-3
"""For what only steers the steps."""

_MOST_PRODUCTS = 2000
"""Products after which a solve is given up."""


_SLOW = 40
"""Products of the first solve from which on another strategy is tried."""

_MOST_TRIED = 200
"""Products of the first solve after which another strategy takes over."""

_CLEARLY = 0.5
"""Share of the effort of level blocks up to which another strategy is worth its while."""

_PROJECTION_TOLERANCE = 1e-8
"""For products with projected vectors, which tests are made of."""

_COVARIANCE_TOLERANCE = 1e-6
"""For covariances that are solved for."""

_EXACT_COLUMNS = 64
"""Columns of the dense part up to which its covariance is solved for, not estimated."""


class IterativeSolver:
    """Makes systems at different variance parameters and sums over the same cells.

    Parameters
    ----------
    cross : CrossProducts
    integrate_fixed : bool
        True for REML.
    n_probes : int
        Random vectors for traces and log determinants; 0 where none are needed.
    seed : int
        Of the signs of the probes.
    n_threads : int, default=1
    """

    name = "iterative"

    def __init__(
        self,
        cross: CrossProducts,
        integrate_fixed: bool,
        n_probes: int,
        seed: int,
        n_threads: int = 1,
    ) -> None:
        self.integrate_fixed = integrate_fixed
        self._n_threads = n_threads
        self.cross = cross
        self.tail = SparseTail(cross, n_threads)
        self.pattern = ReducedPattern.of(self.tail)
        self.preconditioner: Preconditioner = choose(self.tail, self.pattern)
        self._n_probes = 0 if self.preconditioner.is_exact else n_probes
        self._settled = False
        self.probes = self._draw_probes(seed)

    def _draw_probes(self, seed: int) -> np.ndarray:
        signs = np.random.default_rng(seed)
        return signs.choice([-1.0, 1.0], size=(self._n_probes, self.tail.n_large)).T.copy()

    def keep(self, scales: list[Scale]) -> None:
        """Nothing: solves are those of a response."""

    def with_response(self, cross: CrossProducts, seed: Callable[[], int]) -> IterativeSolver:
        """The solver of the same cells with another response, and other probes."""
        other = self.with_sums(cross)
        other.probes = other._draw_probes(seed())
        return other

    def with_sums(self, cross: CrossProducts) -> IterativeSolver:
        """The solver of other sums over the same cells, with the same probes."""
        other = copy.copy(self)
        other.cross, other.tail = cross, SparseTail(cross, self._n_threads)
        # what it has found out at some variances stays with this one
        other.preconditioner = copy.copy(self.preconditioner)
        other.preconditioner.use(other.tail)
        return other

    def system(
        self, scales: list[Scale], cross: CrossProducts | None = None, coarse: bool = False
    ) -> IterativeSystem:
        """The equations at the given scales, mean and probes solved."""
        if cross is not None and cross is not self.cross:
            self.cross = cross
            self.tail = SparseTail(cross, self._n_threads)
            self.preconditioner.use(self.tail)
        if self._settled:
            return IterativeSystem(self, scales, coarse=coarse)
        system = self._settle(scales, coarse)
        self._settled = True
        return system

    def _settle(self, scales: list[Scale], coarse: bool) -> IterativeSystem:
        """The first system, by the strategy that turns out to be better at it.

        Level blocks are replaced where their rate is slow: an approximate factor takes fewer
        products that cost more. What counts is the time to a given error of the log determinant.
        """
        suits = ApproximateCholesky.suits(self.tail, self.pattern)
        if self.pattern is None or self.preconditioner.is_exact or not suits:
            return IterativeSystem(self, scales, coarse=coarse)
        first = None
        with suppress(NotConvergedError):
            first = IterativeSystem(self, scales, _MOST_TRIED, coarse)
        if first is not None:
            first.most_products = _MOST_PRODUCTS
            if first.n_products <= _SLOW:
                return first
        blocks, self.preconditioner = self.preconditioner, ApproximateCholesky(self.pattern)
        second = IterativeSystem(self, scales, coarse=coarse)
        if first is None or second.effort() < _CLEARLY * first.effort():
            return second
        self.preconditioner = blocks
        return first


class IterativeSystem:
    """The equations at one value of the variance parameters.

    Parameters
    ----------
    solver : IterativeSolver
    scales : list of Scale
        Of every factor in design order; all levels are independent.
    most_products : int, optional
        Products after which a solve is given up.
    coarse : bool, default=False
        Whether three digits suffice where the others take longer.

    Attributes
    ----------
    penalised_rss : float
        min over beta of (y - X beta)' V^-1 (y - X beta).
    n_products : int
        Products that the solve of mean and probes took.

    Raises
    ------
    SingularSystemError
        When the equations are not positive definite at working precision.
    NotConvergedError
        When conjugate gradients do not converge.
    """

    name = "iterative"
    rounds = False
    exact = None

    def __init__(
        self,
        solver: IterativeSolver,
        scales: list[Scale],
        most_products: int | None = None,
        coarse: bool = False,
    ) -> None:
        self.solver, self.probes = solver, solver.probes
        self.most_products = most_products or _MOST_PRODUCTS
        self.preconditioner, self.pattern = solver.preconditioner, solver.pattern
        self.is_exact = self.preconditioner.is_exact
        self.is_coarse = coarse and bool(self.probes.size)
        self.cross, self.tail = solver.cross, solver.tail
        self.integrate_fixed = solver.integrate_fixed
        self.scales = scales
        self._reduce()
        self._precondition()
        self._solve()

    def _reduce(self) -> None:
        cross = self.cross
        scale = np.zeros((1, 1))
        if cross.eliminated is not None:
            scale = self.scales[cross.eliminated.position].matrix
        self.levels = EliminatedLevels.of(cross.own, scale)
        reduced = self.tail.reduce(self.levels.omega_shrunk)
        self.with_dense, self.dense, self.reduced_blocks = reduced
        self.n_dense = len(self.dense) - 1
        self.part = DensePart.eliminate(self.tail, self.scales, self.with_dense, self.dense)

    @property
    def n_posterior(self) -> int:
        """Columns of the dense part that are random: without beta where it is a point."""
        return self.n_dense if self.integrate_fixed else self.tail.n_small

    def _precondition(self) -> None:
        half = self.part.half[:, : self.n_posterior]
        middle = self.levels.omega_shrunk
        self.entries = None if self.pattern is None else self.pattern.reduce(self.tail, middle)
        self.reduced = ReducedSystem(
            self.tail, self.scales, middle, self.reduced_blocks, half, self.entries
        )
        try:
            self.coordinates = self.preconditioner.coordinates(self.reduced, self.project)
        except np.linalg.LinAlgError:
            raise SingularSystemError(
                "the system is singular at these variance parameters"
            ) from None
        self.control = self.preconditioner.control(
            self.reduced, self.coordinates, self.multiply_probes, self.probes
        )

    def multiply_probes(self, vectors: np.ndarray) -> np.ndarray:
        """The system that probes are solved for, times vectors (N, m)."""
        return self.coordinates.multiply(vectors, self.project)

    def solve(
        self,
        right: np.ndarray,
        tolerance: float | np.ndarray,
        integrate_fixed: np.ndarray | bool,
        keep_basis: bool = False,
        early: tuple[np.ndarray, int] | None = None,
    ) -> Solution:
        """Solve in the solver's coordinates.

        Parameters
        ----------
        right : ndarray (N, m)
        tolerance : float or ndarray (m,)
        integrate_fixed : bool or ndarray (m,)
            Whether the system has the fixed effects eliminated, by column, or
            given.
        keep_basis, early
            As `conjugate_gradients.solve`.
        """
        m = right.shape[1]
        given = ~np.broadcast_to(integrate_fixed, m)

        def multiply(vectors: np.ndarray, numbers: np.ndarray) -> np.ndarray:
            return self.coordinates.multiply(
                vectors, lambda effects: self.project(effects, given[numbers])
            )

        most = self.most_products
        return solve(multiply, right, np.broadcast_to(tolerance, m), most, keep_basis, early)

    def project(self, effects: np.ndarray, given: np.ndarray | None = None) -> np.ndarray:
        """(R - half half') times effects (N, m); without beta's part for `given` columns.

        None: for all columns, where beta is a point.
        """
        if given is None:
            given = np.full(effects.shape[1], not self.integrate_fixed)
        products = self.multiply_reduced(effects)
        explained = self.part.half.T @ effects
        explained[self.tail.n_small :, given] = 0.0
        products -= self.part.half @ explained
        return products

    def multiply_reduced(self, effects: np.ndarray) -> np.ndarray:
        """R times effects (N, m), by cells or by entries of R, whichever are fewer."""
        if self.pattern is None or self.entries is None or not self.pattern.is_short(self.tail):
            return self.tail.multiply(effects, self.levels.omega_shrunk)
        return self.pattern.multiply(self.entries, effects, self.tail.n_threads)

    def _solve(self) -> None:
        """The mean, all probes and, if they are few, the fixed effects in one batch."""
        probes = self.probes
        mean = self.with_dense[:, -1:] - self.part.half @ self.part.response_half[:, None]
        fixed = self._fixed_right
        if fixed.shape[1] > _FEW_FIXED or not probes.size:
            fixed = fixed[:, :0]
        parts = [self.coordinates.from_products(mean), fixed, probes]
        sizes = [part.shape[1] for part in parts]
        right = np.column_stack(parts)
        solution = self.solve(
            right,
            np.repeat([_MEAN_TOLERANCE, _FIXED_TOLERANCE, _PROBE_TOLERANCE], sizes),
            np.repeat([True, True, self.integrate_fixed], sizes),
            keep_basis=sizes[-1] > 0,
            early=(np.repeat(_EARLY_TOLERANCE, sizes), _EARLY_PRODUCTS) if self.is_coarse else None,
        )
        self.n_products = solution.n_products
        self._probe_solution = solution.columns(1 + fixed.shape[1])
        if fixed.shape[1]:
            self.fixed_solution = solution.x[:, 1 : 1 + fixed.shape[1]]
        self._scaled_mean = self.coordinates.to_scaled(solution.x[:, :1])
        self.effects = self.coordinates.to_effects(solution.x[:, :1])[:, 0]
        self.dense_effects = self.part.root @ (
            self.part.response_half - self.part.half.T @ self.effects
        )
        # twice the linear less the quadratic form: an error of second order
        explained = float(
            solution.x[:, 0] @ (right[:, 0] + solution.residual[:, 0])
            + self.part.response_half @ self.part.response_half
        )
        self.penalised_rss = max(float(self.dense[-1, -1]) - explained, 0.0)

    @property
    def method(self) -> str:
        """How the system was brought close to the identity; empty where there was none."""
        return self.preconditioner.name if self.tail.n_large else ""

    def effort(self) -> float:
        """Products of the solve by the cost of each, times the variance of log determinants."""
        n_products = self.n_products + self.control.n_products
        cost = n_products * self.preconditioner.product_cost(self.coordinates)
        error = self.log_det_error
        return cost * error**2 if error else cost

    # The log determinant ----------------------------------------------------------

    @cached_property
    def log_det_samples(self) -> np.ndarray:
        """Estimate (m,) of the log determinant by every probe, without the constant part."""
        return self.control.samples(self._probe_solution.runs)

    @property
    def log_det_error(self) -> float:
        """Standard error of the log determinant."""
        runs = self._probe_solution.runs
        return self.control.error(runs) if len(runs) > 1 else 0.0

    def log_det(self, integrate_fixed: bool) -> float:
        """log |V|, or log |V| + log |X' V^-1 X|; estimated."""
        assert integrate_fixed == self.integrate_fixed
        exact = self.levels.log_det + self.part.log_det_small + self.coordinates.log_det
        if integrate_fixed:
            exact += self.part.log_det_fixed
        if self.is_exact:
            return exact
        samples = self.log_det_samples
        if not len(samples):
            return exact
        return exact + self.control.constant(self._probe_solution.runs) + float(samples.mean())

    # The solution -----------------------------------------------------------------

    @property
    def fixed_effects(self) -> np.ndarray:
        """Generalised least squares estimate of beta, (p,)."""
        return self.dense_effects[self.tail.n_small :]

    @cached_property
    def residual_products(self) -> list[np.ndarray]:
        """Z' V^-1 (y - X beta) of every factor in design order, (levels, effects) each."""
        large, dense = self._residual_maker
        tail = None
        if not all(self.is_regular(factor) for factor in self.tail.large):
            tail = self.multiply_reduced(large) + self.with_dense @ dense
        small = self.with_dense.T @ large + self.dense @ dense
        products = []
        for factor in self.cross.factors:
            shape = (factor.n_levels, factor.n_effects)
            if factor is self.cross.eliminated:
                products.append(self.gathered_residuals)
            elif factor not in self.tail.large:
                products.append(small[self.tail.dense_columns(factor), 0].reshape(shape))
            elif tail is not None:
                products.append(tail[factor.columns, 0].reshape(shape))
            else:
                # T' times the products is what the solver finds
                scaled = self._scaled_mean[factor.columns].reshape(shape)
                products.append(scaled @ self.scales[factor.position].inverse)
        return products

    def is_regular(self, factor: FactorLayout) -> bool:
        """Whether T of a tail factor can be divided by without loss."""
        sizes = np.linalg.svd(self.scales[factor.position].matrix, compute_uv=False)
        return bool(self.is_large_enough(factor, sizes).all())

    def is_large_enough(self, factor: FactorLayout, sizes: np.ndarray) -> np.ndarray:
        """Which singular values of T of a tail factor can be divided by without loss."""
        return self.typical_products(factor) * sizes**2 > 1e-2

    def typical_products(self, factor: FactorLayout) -> float:
        """Mean of the reduced cross-products of a tail factor's effects with themselves."""
        if factor in self.tail.large:
            block = self.reduced_blocks[self.tail.large.index(factor)]
            return float(np.diagonal(block, axis1=1, axis2=2).mean())
        return float(np.diagonal(self.dense)[self.tail.dense_columns(factor)].mean())

    def solve_for_covariance(self, right: np.ndarray) -> Solution:
        """Solve for covariances; as `solve`."""
        return self.solve(right, _COVARIANCE_TOLERANCE, self.integrate_fixed)

    @property
    def exact_columns(self) -> int:
        """Columns of the dense part up to which its covariance is solved for, not estimated."""
        return _EXACT_COLUMNS

    @property
    def _residual_maker(self) -> tuple[np.ndarray, np.ndarray]:
        """Negated tail effects and 1 for the response: large (N, 1) and dense (P + 1, 1)."""
        return -self.effects[:, None], np.append(-self.dense_effects, 1.0)[:, None]

    def gather(self, large: np.ndarray, dense: np.ndarray) -> np.ndarray:
        """reduced_l times tail vectors of every eliminated level, (L, Q, m).

        As for `SparseTail.gather`, over which it multiplies with (I + D Omega)^-1.
        """
        gathered = self.tail.gather(large, dense)
        if gathered.shape[1] > 1:
            return np.matmul(self.levels.shrink, gathered)
        # the largest array of a fit with millions of levels, made once
        gathered *= self.levels.shrink
        return gathered

    def follow(self, large: np.ndarray) -> np.ndarray:
        """Conditional means (P, m) of the dense effects given the large ones."""
        used = self.n_posterior
        return -self.part.root[:, :used] @ (self.part.half[:, :used].T @ large)

    @cached_property
    def rest(self) -> np.ndarray:
        """H^-1 z for all probes, less what is known of it, (N, m)."""
        return self.control.rest(self._probe_solution)

    @cached_property
    def gathered_residuals(self) -> np.ndarray:
        """reduced_l times the residual maker, (L, Q)."""
        return self.gather(*self._residual_maker)[:, :, 0]

    @cached_property
    def gathered(self) -> np.ndarray:
        """reduced_l times all z and all of `rest`, (L, Q, 2 m).

        Scaled to effects, of which the dense part takes its conditional mean.
        """
        vectors = np.column_stack([self.probes, self.rest])
        probed = self.coordinates.to_effects(vectors)
        return self.gather(probed, self.follow(probed))

    @cached_property
    def random_effects(self) -> list[np.ndarray]:
        """Posterior means Omega Z' V^-1 (y - X beta), (levels, effects) each."""
        return [
            products @ scale.omega
            for products, scale in zip(self.residual_products, self.scales, strict=True)
        ]

    # Second-order quantities --------------------------------------------------------

    def projected_gram(self, directions: list[Direction]) -> np.ndarray:
        """Gram matrix f_j' P f_k of working vectors f = Z v, (m, m); steers steps only."""
        m = len(directions)
        large = np.zeros((self.tail.n_large, m))
        dense = np.zeros((self.n_dense + 1, m))
        own = np.zeros((*self.cross.own.shape[:2], m))
        for j, (factor, effects) in enumerate(directions):
            if factor is self.cross.eliminated:
                own[:, :, j] = effects
            elif factor in self.tail.large:
                large[factor.columns, j] = effects.ravel()
            else:
                dense[self.tail.dense_columns(factor), j] = effects.ravel()
        known, known_dense = self._scatter_used(
            np.matmul(np.swapaxes(self.levels.shrink, 1, 2), own)
        )
        through = self.with_dense @ dense
        used = np.flatnonzero(large.any(axis=0))
        through[:, used] += self.multiply_reduced(large[:, used])
        through_dense = self.with_dense.T @ large + self.dense @ dense
        inner = np.matmul(self.levels.precision_shrunk, own).reshape(-1, m)
        gram = (
            large.T @ through + dense.T @ through_dense
            + large.T @ known + dense.T @ known_dense
            + known.T @ large + known_dense.T @ dense
            + own.reshape(-1, m).T @ inner
        )  # fmt: skip
        half = self.part.root.T @ (through_dense + known_dense)[:-1]
        right = self.coordinates.from_products(through + known - self.part.half @ half)
        solution = self.solve(right, _INFORMATION_TOLERANCE, True)
        explained = solution.x.T @ (right + solution.residual)
        return gram - half.T @ half - 0.5 * (explained + explained.T)

    def _scatter_used(self, amounts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `SparseTail.scatter` of amounts (L, Q, m), of which some columns are 0."""
        m = amounts.shape[2]
        out = np.zeros((self.tail.n_large, m)), np.zeros((self.n_dense + 1, m))
        used = np.flatnonzero(amounts.any(axis=(0, 1)))
        for part, found in zip(out, self.tail.scatter(amounts[:, :, used]), strict=True):
            part[:, used] = found
        return out

    def fixed_products(self) -> list[np.ndarray]:
        """Z' V^-1 X of every factor in design order, (levels, effects, p) each."""
        p = self.cross.n_fixed
        dense = np.zeros((self.n_dense, p))
        dense[self.tail.n_small :] = np.eye(p)
        large, own = np.zeros((self.tail.n_large, p)), np.zeros((*self.cross.own.shape[:2], p))
        return self._products(large, dense, own, False)

    def projected_products(
        self, directions: list[Direction], integrate_fixed: bool
    ) -> list[dict[int, np.ndarray]]:
        """Z' P f of every factor for f as in `projected_gram`, by number of the direction."""
        m = len(directions)
        large, dense = np.zeros((self.tail.n_large, m)), np.zeros((self.n_dense, m))
        own = np.zeros((*self.cross.own.shape[:2], m))
        for j, (factor, effects) in enumerate(directions):
            if factor is self.cross.eliminated:
                own[:, :, j] = effects
            elif factor in self.tail.large:
                large[factor.columns, j] = effects.ravel()
            else:
                dense[self.tail.dense_columns(factor), j] = effects.ravel()
        products = self._products(large, dense, own, integrate_fixed)
        return [{j: found[:, :, j] for j in range(m)} for found in products]

    def _products(
        self, large: np.ndarray, dense: np.ndarray, own: np.ndarray, integrate_fixed: bool
    ) -> list[np.ndarray]:
        """Z' P f of every factor, (levels, effects, m), for f of effects and fixed effects.

        Parameters
        ----------
        large : ndarray (N, m)
        dense : ndarray (P, m)
        own : ndarray (L, Q, m)
            Of the eliminated factor.
        integrate_fixed : bool
            False: V^-1 takes the place of P.
        """
        used = self.n_dense if integrate_fixed else self.tail.n_small
        root, half = self.part.root[:, :used], self.part.half[:, :used]
        reduced, with_dense = self.dense[:-1, :-1], self.with_dense[:, :-1]
        known, known_dense = self.tail.scatter(
            np.matmul(np.swapaxes(self.levels.shrink, 1, 2), own)
        )
        known_dense = known_dense[:-1]
        right = self.multiply_reduced(large) + with_dense @ dense + known
        explained = root.T @ (with_dense.T @ large + reduced @ dense + known_dense)
        scaled = self.coordinates.from_products(right - half @ explained)
        solution = self.solve(scaled, _PROJECTION_TOLERANCE, integrate_fixed)
        effects = self.coordinates.to_effects(solution.x)
        large = large - effects
        dense = dense - root @ (explained - half.T @ effects)
        tail = self.multiply_reduced(large) + with_dense @ dense + known
        small = with_dense.T @ large + reduced @ dense + known_dense
        products = []
        for factor in self.cross.factors:
            shape = (factor.n_levels, factor.n_effects, large.shape[1])
            if factor is self.cross.eliminated:
                products.append(
                    self.gather(large, dense) + np.matmul(self.levels.precision_shrunk, own)
                )
            elif factor in self.tail.large:
                products.append(tail[factor.columns].reshape(shape))
            else:
                products.append(small[self.tail.dense_columns(factor)].reshape(shape))
        return products

    def projected(self, factor: FactorLayout, signs: np.ndarray) -> np.ndarray:
        """Z' P Z times effects (levels * q, m) of a tail factor, the factor's own part."""
        large = np.zeros((self.tail.n_large, signs.shape[1]))
        dense = np.zeros((self.n_dense, signs.shape[1]))
        if factor in self.tail.large:
            large[factor.columns] = signs
        else:
            dense[self.tail.dense_columns(factor)] = signs
        used = self.n_posterior
        root, half = self.part.root[:, :used], self.part.half[:, :used]
        reduced, with_dense = self.dense[:-1, :-1], self.with_dense[:, :-1]
        explained = root.T @ (with_dense.T @ large + reduced @ dense)
        right = self.multiply_reduced(large) + with_dense @ dense
        right = self.coordinates.from_products(right - half @ explained)
        solution = self.solve(right, _PROBE_TOLERANCE, self.integrate_fixed)
        effects = self.coordinates.to_effects(solution.x)
        large -= effects
        dense -= root @ (explained - half.T @ effects)
        if factor in self.tail.large:
            products = self.multiply_reduced(large) + with_dense @ dense
            return products[factor.columns]
        return (with_dense.T @ large + reduced @ dense)[self.tail.dense_columns(factor)]

    def covariance(self, integrate_fixed: bool, coarse: bool = False) -> ProbedCovariance:
        """The posterior covariance."""
        assert integrate_fixed == self.integrate_fixed
        return self.preconditioner.covariance(self, self._probe_solution)

    def fixed_covariance(self) -> np.ndarray:
        """(X' V^-1 X)^-1, relative, (p, p)."""
        root = self.part.root[self.tail.n_small :]
        right, solution = self._fixed_right, self.fixed_solution
        rest = right.T @ solution
        return root @ root.T + 0.5 * (rest + rest.T)

    def fixed_with_effects(self) -> np.ndarray:
        """Rows of beta of the inverse of the mixed-model equations, (p, p + n_effects)."""
        root = self.part.root[self.tail.n_small :]
        large = -self.coordinates.to_effects(self.fixed_solution)
        dense = self.part.root @ (root.T - self.part.half.T @ large)
        return self.effects_by_factor(large, dense)

    def effects_by_factor(self, large: np.ndarray, dense: np.ndarray) -> np.ndarray:
        """Vectors of all coefficients from their tail parts, (m, p + n_effects).

        Parameters
        ----------
        large : ndarray (N, m)
            Effects of the large factors.
        dense : ndarray (P, m)
            Effects of the small factors and fixed effects.
        """
        m = large.shape[1]
        out = [dense[self.tail.n_small :].T]
        for factor in self.cross.factors:
            if factor is self.cross.eliminated:
                gathered = self.gather(large, dense)
                omega = self.scales[factor.position].omega
                effects = np.einsum("lqr,qs->rls", gathered, omega)
                out.append(-effects.reshape(m, factor.size))
            elif factor in self.tail.large:
                out.append(large[factor.columns].T)
            else:
                out.append(dense[self.tail.dense_columns(factor)].T)
        return np.concatenate(out, axis=1)

    @cached_property
    def _fixed_right(self) -> np.ndarray:
        """Right-hand sides that stand for the fixed effects, (N, p)."""
        root = self.part.root[self.tail.n_small :]
        return self.coordinates.from_products(self.part.half @ root.T)

    @cached_property
    def fixed_solution(self) -> np.ndarray:
        """Solutions (N, p) for these right-hand sides, the fixed effects eliminated."""
        return self.solve(self._fixed_right, _FIXED_TOLERANCE, True).x
