"""The posterior covariance of a large tail, in part estimated from random vectors.

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
from typing import TYPE_CHECKING

import numpy as np

from skmixed.sums.cross_products import CrossProducts, FactorLayout
from skmixed.sums.working_rows import Loadings, WorkingRows

if TYPE_CHECKING:
    from skmixed.solvers.conjugate_gradients import Solution
    from skmixed.solvers.iterative import IterativeSystem


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

    @cached_property
    def _raw_coarse_products(self) -> np.ndarray:
        """(R - half half') T times the coarse directions, (N, k)."""
        coordinates = self.system.coordinates
        return self.system.project(coordinates.scale(coordinates.directions))

    @property
    def _coarse_products(self) -> np.ndarray:
        """H times the coarse directions, (N, k)."""
        coordinates = self.system.coordinates
        scaled = coordinates.scale_transposed(self._raw_coarse_products)
        return scaled + coordinates.directions

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
        solution = self.system.solve_for_covariance(right)
        return coordinates.to_effects(solution.x)

    @property
    def _solves(self) -> bool:
        """Whether the covariance of the dense part is solved for."""
        n_large, n_columns = self._half.shape
        return n_columns <= self.system.exact_columns or not n_large

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
                z, x = np.split(system.gathered, 2, axis=2)
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
        n_varying = int(self._is_large_enough(factor, sizes).sum())
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
        out -= system.coordinates.system_blocks(number, self._half, self._coarse_products)
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
        raw = self._raw_coarse_products[factor.columns].reshape(shape)
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
        sums = np.einsum("lqm,lsm->qs", products.reshape(shape), signs.reshape(shape))
        return 0.5 * (sums + sums.T)

    def _is_large_enough(self, factor: FactorLayout, sizes: np.ndarray) -> np.ndarray:
        """Which singular values of T the information of a large factor may be divided by."""
        return self.system.is_large_enough(factor, sizes)

    def _signs(self, factor: FactorLayout) -> np.ndarray:
        """Columns of which the outer products have the identity of a factor as expectation."""
        if factor in self.system.tail.small:
            return np.eye(factor.size)
        return self.system.probes[factor.columns] / np.sqrt(self._n)

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
        inverse, means = self._conditional(factor)
        scale = self.system.scales[factor.position].matrix
        rest = np.matmul(means, np.swapaxes(means, 1, 2)) / self._n
        return scale @ (inverse + rest) @ scale.T

    def _conditional(self, factor: FactorLayout) -> tuple[np.ndarray, np.ndarray]:
        """Covariance (L, q, q) of scaled effects given all others, and means of draws (L, q, m)."""
        coordinates = self.system.coordinates
        k = self.system.tail.large.index(factor)
        shape = (factor.n_levels, factor.n_effects, -1)
        inverse = np.linalg.inv(coordinates.own_blocks(k, self._half))
        draws = self._draws[factor.columns].reshape(shape)
        pulled = coordinates.transposed_inverse(self._apply(np.sqrt))[factor.columns]
        return inverse, draws - np.matmul(inverse, pulled.reshape(shape))

    def level_error(self, factor: FactorLayout) -> float:
        """Monte Carlo standard error of standard deviations; see `Covariance.level_error`."""
        if factor in self.system.tail.small:
            return 0.0 if self._solves else float(1.0 / np.sqrt(2.0 * self._n))
        if not self.system.tail.n_large or self._n < 2:
            return 0.0
        spread = self._level_spreads(factor) / np.sqrt(self._n)
        return _relative_error(spread, self.level_covariances(factor))

    def _level_spreads(self, factor: FactorLayout) -> np.ndarray:
        """Standard deviation of what single probes say of the variances of effects, (L, q)."""
        matrix = self.system.scales[factor.position].matrix
        if factor is self.system.cross.eliminated:
            omega = self.system.scales[factor.position].omega
            effects = np.matmul(omega, self._gathered_draws)
        else:
            effects = np.matmul(matrix, self._conditional(factor)[1])
        return np.asarray((effects**2).std(axis=2, ddof=1))

    def row_variances(self, rows: WorkingRows) -> np.ndarray:
        """Variance of every row's linear predictor (n,): exact given the large factors.

        What the large factors add is the mean square of the draws.
        """
        fixed, levels, own = self._given_large_factors()
        given = Loadings(fixed, tuple(levels), tuple(own))
        if not self.system.tail.n_large:
            return rows.loaded_variances(given)
        return rows.loaded_variances(given, self._row_draws(1.0 / np.sqrt(self._n)))

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
                omega = -size * system.scales[factor.position].omega
                gathered = self._gathered_draws
                columns = omega * gathered if len(omega) == 1 else np.matmul(omega, gathered)
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
            solution = system.solve_for_covariance(right).x
        else:
            solution = system.fixed_solution
        large = -coordinates.to_effects(solution)
        dense = self._root @ (root.T - self._half.T @ large)
        return system.effects_by_factor(large, dense)


def _relative_error(errors: np.ndarray, covariances: np.ndarray) -> float:
    """Root mean square of errors (L, q) of standard deviations, given those of the variances."""
    variances = np.diagonal(covariances, axis1=1, axis2=2)
    known = variances > 0.0
    relative = 0.5 * errors[known] / variances[known]
    return float(np.sqrt(np.mean(relative**2))) if relative.size else 0.0
