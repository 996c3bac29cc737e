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

The posterior covariance is exact in everything that concerns the dense part, and in all
variances given the large factors. The rest are expectations over the signs z, of which
x = H^-1 z and u = H^(-1/2) z are known in the solver's coordinates: E x z' = E u u' = H^-1.
Single entries come from u, as positive squares on top of the exact conditional variance
(Siden, Lindgren, Bolin and Villani 2018, J. Comput. Graph. Stat. 27, "simple
Rao-Blackwellised Monte Carlo"), sums of entries from x, whose errors average out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from skmixed.covariances import Scale
from skmixed.solvers.base import Direction, SingularSystemError
from skmixed.solvers.coarse_space import CoarseSpace, Coordinates
from skmixed.solvers.conjugate_gradients import Solution, solve
from skmixed.solvers.dense_part import DensePart
from skmixed.solvers.eliminated_levels import EliminatedLevels
from skmixed.solvers.sparse_tail import SparseTail
from skmixed.sums.cross_products import CrossProducts, FactorLayout
from skmixed.sums.working_rows import Loadings, WorkingRows

_MEAN_TOLERANCE = 1e-9
_PROBE_TOLERANCE = 1e-5
"""Relative residuals; errors of what probes tell are quadratic in theirs."""

_FIXED_TOLERANCE = 1e-6
"""For covariances with the fixed effects."""

_FEW_FIXED = 4
"""Fixed effects up to which their covariance is solved for along with the mean."""

_INFORMATION_TOLERANCE = 1e-3
"""For what only steers the steps."""

_MOST_PRODUCTS = 2000
"""Products after which a solve is given up."""


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
        self._use(cross)
        signs = np.random.default_rng(seed)
        self.probes = signs.choice([-1.0, 1.0], size=(n_probes, self.tail.n_large)).T.copy()

    def _use(self, cross: CrossProducts) -> None:
        self.cross = cross
        self.tail = SparseTail(cross, self._n_threads)
        self.coarse = CoarseSpace(self.tail)

    def system(self, scales: list[Scale], cross: CrossProducts | None = None) -> IterativeSystem:
        """The equations at the given scales, mean and probes solved."""
        if cross is not None and cross is not self.cross:
            self._use(cross)
        return IterativeSystem(self, scales)


class IterativeSystem:
    """The equations at one value of the variance parameters.

    Parameters
    ----------
    solver : IterativeSolver
    scales : list of Scale
        Of every factor in design order; all levels are independent.

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
    is_exact = False
    rounds = False
    exact = None

    def __init__(self, solver: IterativeSolver, scales: list[Scale]) -> None:
        self.solver, self.probes = solver, solver.probes
        self.cross, self.tail, self.coarse = solver.cross, solver.tail, solver.coarse
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
        projected = self.coarse.projected(self.levels.omega_shrunk, half, self.scales)
        try:
            self.coordinates = Coordinates(
                self.tail, self.reduced_blocks, self.scales, self.coarse, projected
            )
        except np.linalg.LinAlgError:
            raise SingularSystemError(
                "the system is singular at these variance parameters"
            ) from None
        explained = self.coordinates.from_products_by_level(half)
        self._trace = self.tail.n_large - float((explained**2).sum())
        self._trace += self.coordinates.coarse_trace

    def solve(
        self,
        right: np.ndarray,
        tolerance: float | np.ndarray,
        integrate_fixed: np.ndarray | bool,
        keep_basis: bool = False,
    ) -> Solution:
        """Solve in the solver's coordinates.

        Parameters
        ----------
        right : ndarray (N, m)
        tolerance : float or ndarray (m,)
        integrate_fixed : bool or ndarray (m,)
            Whether the system has the fixed effects eliminated, by column, or
            given.
        """
        m = right.shape[1]
        given = ~np.broadcast_to(integrate_fixed, m)

        def multiply(vectors: np.ndarray, numbers: np.ndarray) -> np.ndarray:
            return self.coordinates.multiply(
                vectors, lambda effects: self.project(effects, given[numbers])
            )

        return solve(multiply, right, np.broadcast_to(tolerance, m), _MOST_PRODUCTS, keep_basis)

    def project(self, effects: np.ndarray, given: np.ndarray | None = None) -> np.ndarray:
        """(R - half half') times effects (N, m); without beta's part for `given` columns.

        None: for all columns, where beta is a point.
        """
        if given is None:
            given = np.full(effects.shape[1], not self.integrate_fixed)
        products = self.tail.multiply(effects, self.levels.omega_shrunk)
        explained = self.part.half.T @ effects
        explained[self.tail.n_small :, given] = 0.0
        products -= self.part.half @ explained
        return products

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

    # The log determinant ----------------------------------------------------------

    @cached_property
    def log_det_samples(self) -> np.ndarray:
        """Estimate (m,) of the log determinant by every probe, without the constant part.

        z'Hz, whose expectation is known, takes most of the variance away.
        """
        runs = self._probe_solution.runs
        return np.array(
            [run.quadratic_form(np.log) - run.quadratic_form(lambda values: values) for run in runs]
        )

    def log_det(self, integrate_fixed: bool) -> float:
        """log |V|, or log |V| + log |X' V^-1 X|; estimated."""
        assert integrate_fixed == self.integrate_fixed
        exact = (
            self.levels.log_det + self.part.log_det_small + self.coordinates.log_det + self._trace
        )
        if integrate_fixed:
            exact += self.part.log_det_fixed
        samples = self.log_det_samples
        return exact + (float(samples.mean()) if len(samples) else 0.0)

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
            tail = self.tail.multiply(large, self.levels.omega_shrunk) + self.with_dense @ dense
        small = self.with_dense.T @ large + self.dense @ dense
        products = []
        for factor in self.cross.factors:
            shape = (factor.n_levels, factor.n_effects)
            if factor is self.cross.eliminated:
                products.append(self.gathered[:, :, 0])
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
        if factor in self.tail.large:
            block = self.reduced_blocks[self.tail.large.index(factor)]
            rows = np.diagonal(block, axis1=1, axis2=2).mean()
        else:
            rows = np.diagonal(self.dense)[self.tail.dense_columns(factor)].mean()
        return rows * sizes**2 > 1e-2

    @cached_property
    def raw_coarse_products(self) -> np.ndarray:
        """(R - half half') T times the coarse directions, (N, k)."""
        return self.project(self.coordinates.scale(self.coarse.directions))

    @property
    def coarse_products(self) -> np.ndarray:
        """H times the coarse directions, (N, k)."""
        directions = self.coarse.directions
        return self.coordinates.scale_transposed(self.raw_coarse_products) + directions

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
    def gathered(self) -> np.ndarray:
        """reduced_l times the residual maker, all z and all x = H^-1 z, (L, Q, 1 + 2 m).

        One pass over the cells for all of them. Of z and x, scaled to effects, the
        dense part takes its conditional mean.
        """
        vectors = np.column_stack([self.probes, self._probe_solution.x])
        probed = self.coordinates.to_effects(vectors)
        large, dense = self._residual_maker
        followed = np.vstack([self.follow(probed), np.zeros((1, probed.shape[1]))])
        return self.gather(np.hstack([large, probed]), np.hstack([dense, followed]))

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
        known, known_dense = self.tail.scatter(
            np.matmul(np.swapaxes(self.levels.shrink, 1, 2), own)
        )
        through = self.tail.multiply(large, self.levels.omega_shrunk) + self.with_dense @ dense
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
        right = self.tail.multiply(large, self.levels.omega_shrunk) + with_dense @ dense
        right = self.coordinates.from_products(right - half @ explained)
        solution = self.solve(right, _PROBE_TOLERANCE, self.integrate_fixed)
        effects = self.coordinates.to_effects(solution.x)
        large -= effects
        dense -= root @ (explained - half.T @ effects)
        if factor in self.tail.large:
            products = self.tail.multiply(large, self.levels.omega_shrunk) + with_dense @ dense
            return products[factor.columns]
        return (with_dense.T @ large + reduced @ dense)[self.tail.dense_columns(factor)]

    def covariance(self, integrate_fixed: bool, coarse: bool = False) -> ProbedCovariance:
        """The posterior covariance."""
        assert integrate_fixed == self.integrate_fixed
        return ProbedCovariance(self, self._probe_solution)

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


class ProbedCovariance:
    """Covariances of the posterior relative to the noise variance, in part estimated.

    Parameters
    ----------
    system : IterativeSystem
    probes : Solution
        Of the probes.
    """

    def __init__(self, system: IterativeSystem, probes: Solution) -> None:
        self.system = system
        self._probes = probes
        self._n = system.probes.shape[1]
        self._root = system.part.root[:, : system.n_posterior]
        self._half = system.part.half[:, : system.n_posterior]

    # Pieces -----------------------------------------------------------------------

    @cached_property
    def _pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """S z and S x, (N, m) each."""
        to_scaled = self.system.coordinates.to_scaled
        return to_scaled(self.system.probes), to_scaled(self._probes.x)

    @cached_property
    def _forward(self) -> np.ndarray:
        """S (S'HS) z, (N, m)."""
        return self.system.coordinates.to_scaled(self._probes.product())

    @cached_property
    def _draws(self) -> np.ndarray:
        """S u (N, m): in expectation of outer products H^-1."""
        return self.system.coordinates.to_scaled(self._apply(lambda values: values**-0.5))

    @cached_property
    def _drawn(self) -> tuple[np.ndarray, np.ndarray]:
        """Draws of the large factors' effects, and the dense part's conditional means."""
        large = self.system.coordinates.scale(self._draws)
        return large, self.system.follow(large)

    @cached_property
    def _gathered_draws(self) -> np.ndarray:
        """reduced_l times the draws, (L, Q, m)."""
        return self.system.gather(*self._drawn)

    def _apply(self, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        return self._probes.apply(function)

    @cached_property
    def _given_large(self) -> np.ndarray:
        """reduced_l (covariance of the dense part given the large factors) reduced_l'."""
        system = self.system
        n_dense = len(self._root)
        reduced = np.matmul(system.levels.shrink, system.tail.eliminated_dense[:, :, :n_dense])
        half = np.matmul(reduced, self._root)
        return np.matmul(half, np.swapaxes(half, 1, 2))

    @cached_property
    def _dense_response(self) -> np.ndarray:
        """Covariance of the large effects times `half`, by solves, (N, n_posterior)."""
        coordinates = self.system.coordinates
        right = coordinates.from_products(self._half)
        solution = self.system.solve(right, _COVARIANCE_TOLERANCE, self.system.integrate_fixed)
        return coordinates.to_effects(solution.x)

    @property
    def _solves(self) -> bool:
        """Whether the covariance of the dense part is solved for."""
        n_large, n_columns = self._half.shape
        return n_columns <= _EXACT_COLUMNS or not n_large

    @cached_property
    def dense(self) -> np.ndarray:
        """Covariance of the dense part with itself, (n_dense, n_dense)."""
        if self._solves:
            inner = self._half.T @ self._dense_response
        else:
            z, x = (self._half.T @ self.system.coordinates.scale(v) for v in self._pairs)
            inner = x @ z.T / self._n
        inner = 0.5 * (inner + inner.T) + np.eye(len(inner))
        return self._root @ inner @ self._root.T

    # Answers ---------------------------------------------------------------------

    def information(self, factor: FactorLayout) -> np.ndarray:
        """sum_l Z_l' P Z_l of a factor (Q, Q); V^-1 for P when beta is a point."""
        system = self.system
        if factor is system.cross.eliminated:
            sums = self._given_large.sum(axis=0)
            if system.tail.n_large:
                z, x = np.split(system.gathered[:, :, 1:], 2, axis=2)
                sums = sums + np.einsum("lqm,lsm->qs", x, z) / self._n
            return system.levels.precision_shrunk.sum(axis=0) - 0.5 * (sums + sums.T)
        if factor in system.tail.large:
            return self._large_information(factor)
        if not system.is_regular(factor):
            return self._projected_information(factor)
        inverse = system.scales[factor.position].inverse
        inner = inverse @ self._dense_blocks(factor).sum(axis=0) @ inverse.T
        inner = factor.n_levels * np.eye(factor.n_effects) - 0.5 * (inner + inner.T)
        return inverse.T @ inner @ inverse

    def _large_information(self, factor: FactorLayout) -> np.ndarray:
        """Information G of a large factor, by the directions in which its effects vary.

        With T = U s V' and K = sum_l (R T H^-1)_ll, as G = T'^-1 (I - H^-1) T^-1 and G T = K:
        V'(I - H^-1)V / s s' among those directions U, U'K V / s between the others and
        them, and a projection among the others.
        """
        left, sizes, right = np.linalg.svd(self.system.scales[factor.position].matrix)
        n_varying = int(self.system.is_large_enough(factor, sizes).sum())
        varying, others = np.split(left, [n_varying], axis=1)
        basis = right[:n_varying].T / sizes[:n_varying]
        out = np.zeros((factor.n_effects, factor.n_effects))
        if n_varying:
            inner = factor.n_levels * np.eye(factor.n_effects) - self._summed_inverse(factor)
            out += varying @ (basis.T @ inner @ basis) @ varying.T
        if n_varying < factor.n_effects:
            projected = self._projected_information(factor)
            out += others @ (others.T @ projected @ others) @ others.T
            if n_varying:
                between = others @ (others.T @ self._summed_products(factor) @ basis) @ varying.T
                out += between + between.T
        return out

    def _summed_inverse(self, factor: FactorLayout) -> np.ndarray:
        """Level blocks of H^-1 summed over a large factor, (Q, Q).

        (S'HS)^-1 is about 2 I - S'HS, of which the blocks are known exactly.
        """
        system = self.system
        shape = (factor.n_levels, factor.n_effects, -1)
        z, x = (v[factor.columns].reshape(shape) for v in self._pairs)
        rest = x - 2.0 * z + self._forward[factor.columns].reshape(shape)
        out = np.einsum("lqm,lsm->qs", rest, z) / self._n
        number = system.tail.large.index(factor)
        out += 2.0 * system.coordinates.squared_blocks(number)
        out -= system.coordinates.system_blocks(number, self._half, system.coarse_products)
        return 0.5 * (out + out.T)

    def _summed_products(self, factor: FactorLayout) -> np.ndarray:
        """Level blocks of R T H^-1 summed over a large factor, (Q, Q).

        (S'HS)^-1 is about I, of which the blocks are known exactly.
        """
        system = self.system
        shape = (factor.n_levels, factor.n_effects, -1)
        z = self._pairs[0][factor.columns].reshape(shape)
        rest = self._rest_products[factor.columns].reshape(shape)
        out = np.einsum("lqm,lsm->qs", rest, z) / self._n
        number = system.tail.large.index(factor)
        blocks = system.reduced_blocks[number]
        half = self._half[factor.columns].reshape(shape)
        blocks = blocks - np.matmul(half, np.swapaxes(half, 1, 2))
        raw = system.raw_coarse_products[factor.columns].reshape(shape)
        return out + system.coordinates.multiplied_blocks(
            number, blocks, system.scales[factor.position].matrix, raw
        )

    @cached_property
    def _rest_products(self) -> np.ndarray:
        """R T S (x - z), (N, m)."""
        z, x = self._pairs
        return self.system.project(self.system.coordinates.scale(x - z))

    def _projected_information(self, factor: FactorLayout) -> np.ndarray:
        """Information of any tail factor from its products with signs."""
        shape = (factor.n_levels, factor.n_effects, -1)
        signs = self._signs(factor)
        products = self.system.projected(factor, signs)
        weight = 1.0 if factor in self.system.tail.small else signs.shape[1]
        sums = np.einsum("lqm,lsm->qs", products.reshape(shape), signs.reshape(shape)) / weight
        return 0.5 * (sums + sums.T)

    def _signs(self, factor: FactorLayout) -> np.ndarray:
        """Probes of one factor: unit vectors where it is small."""
        if factor in self.system.tail.small:
            return np.eye(factor.size)
        return self.system.probes[factor.columns]

    def _dense_blocks(self, factor: FactorLayout) -> np.ndarray:
        here = self.system.tail.dense_columns(factor)
        shape = (factor.n_levels, factor.n_effects, factor.n_levels, factor.n_effects)
        blocks = self.dense[here, here].reshape(shape)
        return np.einsum("lqls->lqs", blocks)

    def level_covariances(self, factor: FactorLayout) -> np.ndarray:
        """Posterior covariance of each level's effects, (L, Q, Q)."""
        system = self.system
        if factor is system.cross.eliminated:
            omega = system.scales[factor.position].omega
            forms = self._given_large
            if system.tail.n_large:
                means = self._gathered_draws
                forms = forms + np.matmul(means, np.swapaxes(means, 1, 2)) / self._n
            return system.levels.omega_shrunk + omega @ forms @ omega
        if factor in system.tail.small:
            return self._dense_blocks(factor)
        return self._large_covariances(factor)

    def _large_covariances(self, factor: FactorLayout) -> np.ndarray:
        """Given all other effects exactly, plus squares of conditional means."""
        system = self.system
        coordinates = system.coordinates
        k = system.tail.large.index(factor)
        scale = system.scales[factor.position].matrix
        shape = (factor.n_levels, factor.n_effects, -1)
        inverse = np.linalg.inv(coordinates.own_blocks(k, self._half))
        draws = self._draws[factor.columns].reshape(shape)
        pulled = coordinates.transposed_inverse(self._apply(np.sqrt))[factor.columns]
        means = draws - np.matmul(inverse, pulled.reshape(shape))
        rest = np.matmul(means, np.swapaxes(means, 1, 2)) / self._n
        return scale @ (inverse + rest) @ scale.T

    def row_variances(self, rows: WorkingRows) -> np.ndarray:
        """Variance of every row's linear predictor (n,): exact given the large factors.

        What the large factors add is the mean square of the draws.
        """
        fixed, levels, own = self._given_large_factors()
        if self.system.tail.n_large:
            further, drawn = self._row_draws(1.0 / np.sqrt(self._n))
            fixed = np.hstack([fixed, further])
            levels = [np.concatenate(pair, axis=2) for pair in zip(levels, drawn, strict=True)]
        return rows.loaded_variances(Loadings(fixed, tuple(levels), tuple(own)))

    def row_variance_errors(self, rows: WorkingRows) -> np.ndarray:
        """Squared standard errors of `row_variances`, (n,); 0 where one draw tells nothing."""
        if not self.system.tail.n_large or self._n < 2:
            return np.zeros(rows.n_rows)
        return rows.spreads(*self._row_draws(1.0)) / self._n

    def _given_large_factors(self) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
        """`Loadings` of the covariance of all effects given those of the large factors."""
        system, tail = self.system, self.system.tail
        levels, own = [], []
        for factor in system.cross.factors:
            shape = (factor.n_levels, factor.n_effects, -1)
            block = np.zeros((factor.n_levels, factor.n_effects, factor.n_effects))
            if factor is system.cross.eliminated:
                block = system.levels.omega_shrunk
                dense = tail.eliminated_dense[:, :, : len(self._root)]
                reduced = np.matmul(system.levels.shrink, dense)
                omega = system.scales[factor.position].omega
                columns = -np.matmul(omega, np.matmul(reduced, self._root))
            elif factor in tail.large:
                columns = np.zeros((factor.size, self._root.shape[1]))
            else:
                columns = self._root[tail.dense_columns(factor)]
            levels.append(columns.reshape(shape))
            own.append(block)
        return self._root[tail.n_small :], levels, own

    def _row_draws(self, size: float) -> tuple[np.ndarray, list[np.ndarray]]:
        """Draws of the large factors, and the means of all else given them, times `size`."""
        system, tail = self.system, self.system.tail
        large, dense = (size * drawn for drawn in self._drawn)
        levels = []
        for factor in system.cross.factors:
            if factor is system.cross.eliminated:
                omega = system.scales[factor.position].omega
                columns = -np.matmul(size * omega, self._gathered_draws)
            elif factor in tail.large:
                columns = large[factor.columns]
            else:
                columns = dense[tail.dense_columns(factor)]
            levels.append(columns.reshape(factor.n_levels, factor.n_effects, -1))
        return dense[tail.n_small :], levels

    def by_weight(self, part: CrossProducts, noise: float) -> float:
        """Not known: weights that are parameters need an exact system; see `make_solver`."""
        raise NotImplementedError

    def can_join(self, factor: FactorLayout) -> bool:
        """Whether `joint` can have the factor's rows: small factors, if not too many."""
        return factor in self.system.tail.small and self._solves

    def joint(self, kept: tuple[int, ...]) -> np.ndarray:
        """Covariance of beta and the `kept` small factors with all effects; exact."""
        system, cross, tail = self.system, self.system.cross, self.system.tail
        n_dense = len(self._root)
        fixed = np.arange(tail.n_small, n_dense)
        columns = [np.arange(n_dense)[tail.dense_columns(cross.factors[f])] for f in kept]
        rows = np.concatenate([fixed, *columns]).astype(int)
        root = self._root[rows]
        coordinates = system.coordinates
        if kept or not system.integrate_fixed:
            right = coordinates.from_products(self._half @ root.T)
            solution = system.solve(right, _COVARIANCE_TOLERANCE, system.integrate_fixed).x
        else:
            solution = system.fixed_solution
        large = -coordinates.to_effects(solution)
        dense = self._root @ (root.T - self._half.T @ large)
        return system.effects_by_factor(large, dense)
