"""The posterior covariance where the system of the large factors has an exact sparse factor.

With K = T'RT + I, F = T'half and C = F'K^-1 F the effects of the large factors and of the dense
part have, relative to the noise, the covariance (block inverse, Woodbury's formula)

    blockdiag(T K^-1 T', 0) + Y Y',    Y = [T K^-1 F; -root] (I - C)^(-1/2):

a matrix of which the entries are known where K has them (Takahashi, Fagan and Chin 1973), and
a product of few columns. Whatever shares a level with others needs no other entries.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from skmixed._kernels.reduced_cells import level_forms
from skmixed.solvers.exact_factor import ExactFactor
from skmixed.solvers.factored_space import FactoredCoordinates
from skmixed.solvers.probed_covariance import ProbedCovariance
from skmixed.solvers.reduced_matrix import ReducedPattern
from skmixed.sums.cross_products import FactorLayout
from skmixed.sums.working_rows import Loadings, WorkingRows

if TYPE_CHECKING:
    from skmixed.solvers.conjugate_gradients import Solution
    from skmixed.solvers.iterative import IterativeSystem

_LEAST_SCALE = 1e-6
"""Smallest square of a singular value of T, times cross-products, that may be divided by."""

_SIGNS = 16
"""Random vectors for the information of effects that hardly vary."""

_FEW_EFFECTS = 64
"""Effects of a factor up to which unit vectors take their place."""


class FactoredCovariance(ProbedCovariance):
    """Covariances of the posterior relative to the noise variance, exact.

    Parameters
    ----------
    system : IterativeSystem
    probes : Solution
        Of no probes.
    """

    def __init__(self, system: IterativeSystem, probes: Solution) -> None:
        super().__init__(system, probes)
        assert isinstance(system.coordinates, FactoredCoordinates)
        assert system.pattern is not None
        assert system.entries is not None
        self._coordinates: FactoredCoordinates = system.coordinates
        self._pattern: ReducedPattern = system.pattern
        self._reduced: np.ndarray = system.entries
        assert isinstance(system.coordinates.factor, ExactFactor)
        self._factor = system.coordinates.factor
        large = system.tail.large
        self._matrices = [system.scales[factor.position].matrix for factor in large]

    # Pieces -----------------------------------------------------------------------

    @cached_property
    def _inverse(self) -> np.ndarray:
        """Entries of K^-1."""
        return self._factor.inverse()

    @cached_property
    def _entries(self) -> np.ndarray:
        """Entries of T K^-1 T'."""
        transposed = [matrix.T for matrix in self._matrices]
        return self._pattern.mixed(self._inverse, transposed, transposed)

    @cached_property
    def _low_rank(self) -> tuple[np.ndarray, np.ndarray]:
        """Y before T: rows of the large factors (N, P), and of the dense part (n_dense, P)."""
        explained = self._coordinates.explained
        values, vectors = np.linalg.eigh(np.eye(explained.shape[1]) - explained.T @ explained)
        half = vectors / np.sqrt(values)
        return self._coordinates.apply_root(explained @ half), -self._root @ half

    @cached_property
    def _loadings(self) -> tuple[np.ndarray, np.ndarray]:
        """Y: rows of the large factors (N, P), and of the dense part (n_dense, P)."""
        scaled, dense = self._low_rank
        return self._coordinates.scale(scaled), dense

    @cached_property
    def _gathered_loadings(self) -> np.ndarray:
        """reduced_l Y of every eliminated level, (L, Q, P)."""
        return self.system.gather(*self._loadings)

    @cached_property
    def _forms(self) -> np.ndarray:
        """reduced_l times the covariance times reduced_l', (L, Q, Q)."""
        system, tail = self.system, self.system.tail
        forms = np.empty_like(system.cross.own)
        level_forms(tail.start, tail.values, self._pattern.pairs, self._entries, forms)
        shrink = system.levels.shrink
        forms = shrink @ forms @ np.swapaxes(shrink, 1, 2)
        gathered = self._gathered_loadings
        return forms + np.matmul(gathered, np.swapaxes(gathered, 1, 2))

    @cached_property
    def dense(self) -> np.ndarray:
        """Covariance of the dense part with itself, (n_dense, n_dense)."""
        loadings = self._loadings[1]
        return np.asarray(loadings @ loadings.T)

    # Answers ----------------------------------------------------------------------

    def information(self, factor: FactorLayout) -> np.ndarray:
        """sum_l Z_l' P Z_l of a factor (Q, Q); V^-1 for P when beta is a point."""
        if factor is self.system.cross.eliminated:
            return self.system.levels.precision_shrunk.sum(axis=0) - self._forms.sum(axis=0)
        large = self.system.tail.large
        if factor in large and len(large) == 1 and factor.n_effects == 1:
            # T is a number, and commutes
            return self._summed_products(factor)
        return super().information(factor)

    def _summed_inverse(self, factor: FactorLayout) -> np.ndarray:
        number = self.system.tail.large.index(factor)
        scaled = self._low_rank[0][factor.columns]
        scaled = scaled.reshape(factor.n_levels, factor.n_effects, -1)
        blocks = self._pattern.level_blocks(self._inverse)[number].sum(axis=0)
        return np.asarray(blocks + np.einsum("lqk,lsk->qs", scaled, scaled))

    def _summed_products(self, factor: FactorLayout) -> np.ndarray:
        """Level blocks of (R - half half') T H^-1 summed, divided by T where it is a number."""
        system, number = self.system, self.system.tail.large.index(factor)
        shape = (factor.n_levels, factor.n_effects, -1)
        scalar = len(self._matrices) == 1 and factor.n_effects == 1
        identity = [None] * len(self._matrices)
        # the transposed entries of T K^-1
        right = identity if scalar else [matrix.T for matrix in self._matrices]
        moved = self._pattern.mixed(self._inverse, identity, right)
        out = self._pattern.summed_products(self._reduced, moved, number)
        scaled = self._low_rank[0]
        effects = scaled if scalar else self._loadings[0]
        products = self._pattern.multiply(self._reduced, effects, system.tail.n_threads)
        target = self._half if scalar else self._coordinates.scale_transposed(self._half)
        solved = self._coordinates.solve_sparse(target)
        solved += scaled @ (scaled.T @ target)
        for first, second in (products, scaled), (-self._half, solved):
            pair = (part[factor.columns].reshape(shape) for part in (first, second))
            out += np.einsum("lqk,lsk->qs", *pair)
        return np.asarray(out)

    def _signs(self, factor: FactorLayout) -> np.ndarray:
        if factor.size <= _FEW_EFFECTS or factor in self.system.tail.small:
            return np.eye(factor.size)
        signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(factor.size, _SIGNS))
        return np.asarray(signs / np.sqrt(_SIGNS))

    def _is_large_enough(self, factor: FactorLayout, sizes: np.ndarray) -> np.ndarray:
        return self.system.typical_products(factor) * sizes**2 > _LEAST_SCALE

    def level_covariances(self, factor: FactorLayout) -> np.ndarray:
        """Posterior covariance of each level's effects, (L, Q, Q)."""
        system = self.system
        if factor is system.cross.eliminated:
            omega = system.scales[factor.position].omega
            return system.levels.omega_shrunk + omega @ self._forms @ omega
        if factor in system.tail.small:
            return self._dense_blocks(factor)
        number = system.tail.large.index(factor)
        loadings = self._loadings[0][factor.columns]
        loadings = loadings.reshape(factor.n_levels, factor.n_effects, -1)
        own = self._pattern.level_blocks(self._entries)[number]
        return np.asarray(own + np.matmul(loadings, np.swapaxes(loadings, 1, 2)))

    def level_error(self, factor: FactorLayout) -> float:
        """Zero: level covariances are exact."""
        return 0.0

    def row_variances(self, rows: WorkingRows) -> np.ndarray:
        """Variance of every row's linear predictor, exactly, (n,)."""
        system, tail = self.system, self.system.tail
        eliminated = system.cross.eliminated
        assert eliminated is not None
        omega = system.scales[eliminated.position].omega
        levels, own = [], []
        for factor in system.cross.factors:
            block = np.zeros((factor.n_levels, factor.n_effects, factor.n_effects))
            if factor is eliminated:
                block = system.levels.omega_shrunk
                columns = -np.matmul(omega, self._gathered_loadings)
            elif factor in tail.large:
                columns = self._loadings[0][factor.columns]
            else:
                columns = self._loadings[1][tail.dense_columns(factor)]
            levels.append(columns.reshape(factor.n_levels, factor.n_effects, -1))
            own.append(block)
        fixed = self._loadings[1][tail.n_small :]
        if not system.integrate_fixed:
            fixed = np.zeros((system.cross.n_fixed, self._root.shape[1]))
        out = rows.loaded_variances(Loadings(fixed, tuple(levels), tuple(own)))
        self._pattern.add_row_variances(system, rows, self._entries, out)
        return np.asarray(out)

    def row_variance_errors(self, rows: WorkingRows) -> np.ndarray:
        """Zero: they are exact."""
        return np.zeros(rows.n_rows)

    def can_join(self, factor: FactorLayout) -> bool:
        """Whether `joint` can have the factor's rows: small factors."""
        return factor in self.system.tail.small
