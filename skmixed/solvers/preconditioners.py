"""Strategies that bring the system of the large factors close to the identity.

A strategy is prepared for a tail, makes coordinates at every value of the variance parameters,
and knows what covariance these coordinates allow.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from skmixed.covariances import Scale
from skmixed.solvers.approximate_factor import ApproximateFactor
from skmixed.solvers.coarse_space import CoarseSpace, Coordinates
from skmixed.solvers.controlled_covariance import ControlledCovariance
from skmixed.solvers.controls import (
    Control,
    LinearControl,
    NoControl,
    PolynomialControl,
    QuadraticControl,
)
from skmixed.solvers.exact_factor import EliminationOrder, ExactFactor
from skmixed.solvers.factored_covariance import FactoredCovariance
from skmixed.solvers.factored_space import FactoredCoordinates, Root, multiply_by_factor
from skmixed.solvers.probed_covariance import ProbedCovariance
from skmixed.solvers.reduced_matrix import ReducedPattern
from skmixed.solvers.sampled_covariance import SampledCovariance
from skmixed.solvers.sparse_tail import SparseTail
from skmixed.solvers.triangular_root import SplitPattern, TriangularRoot

if TYPE_CHECKING:
    from skmixed.solvers.conjugate_gradients import Solution
    from skmixed.solvers.iterative import IterativeSystem


_COPIES = 4
"""Samples for an edge in approximate factors: twice the entries of one, a tenth of the variance of
log determinants."""

_SAME_FACTOR = 0.2
"""Relative change of any entry of a matrix up to which its approximate factor is kept."""

Products = Callable[[np.ndarray], np.ndarray]

_FEW_COLUMNS = 12
"""Coarse directions and columns of the dense part up to which polynomials are worth their while."""


@dataclass(frozen=True)
class ReducedSystem:
    """What is left of the equations after eliminated levels and dense part are taken off.

    Attributes
    ----------
    tail : SparseTail
    scales : list of Scale
        Of every factor in design order.
    middle : ndarray (L, Q, Q)
        Omega (I + D Omega)^-1 of the eliminated levels.
    blocks : list of ndarray (levels, q, q)
        Level blocks of the reduced cross-products R of the large factors.
    half : ndarray (N, P)
        What the dense part explains.
    entries : ndarray or None
        Of R, where it is sparse.
    """

    tail: SparseTail
    scales: list[Scale]
    middle: np.ndarray
    blocks: list[np.ndarray]
    half: np.ndarray
    entries: np.ndarray | None

    def scaled(self, pattern: ReducedPattern) -> tuple[np.ndarray, np.ndarray]:
        """Entries of K = T'RT + I, and F = T'half (N, P), so that H = K - F F'."""
        assert self.entries is not None
        matrices = [self.scales[factor.position].matrix for factor in self.tail.large]
        entries = pattern.mixed(self.entries, matrices, matrices)
        entries[pattern.diagonal] += 1.0
        transposed = [matrix.T for matrix in matrices]
        return entries, multiply_by_factor(self.tail.large, transposed, self.half)


class Preconditioner(Protocol):
    """A strategy for one arrangement of cells."""

    name: str
    is_exact: bool
    """Whether coordinates make the system the identity, so that nothing is estimated."""
    work: float
    """Multiplications of a factorisation, about."""

    def use(self, tail: SparseTail) -> None:
        """Take a tail with the same cells."""
        ...

    def coordinates(self, system: ReducedSystem, products: Products) -> Any:
        """Coordinates in which the system is close to the identity; see `Coordinates`.

        `products` maps effects (N, m) to (R - half half') times these.
        """
        ...

    def control(
        self, system: ReducedSystem, coordinates: Any, multiply: Products, probes: np.ndarray
    ) -> Control:
        """What is known of the log determinant of the system in these coordinates.

        `multiply` maps vectors (N, m) in these coordinates to the system times them.
        """
        ...

    def covariance(self, system: IterativeSystem, probes: Solution) -> ProbedCovariance:
        """The posterior covariance of a solved system."""
        ...

    def product_cost(self, coordinates: Any) -> float:
        """Cost of a product in these coordinates over that of a product with the system."""
        ...


class LevelBlocks:
    """Level blocks and common shifts become the identity."""

    name = "level blocks"
    is_exact = False
    work = 0.0

    def __init__(self, tail: SparseTail, pattern: ReducedPattern | None) -> None:
        self._pattern = pattern
        self.use(tail)

    def use(self, tail: SparseTail) -> None:
        """Take a tail with the same cells."""
        self._tail = tail
        self.__dict__.pop("_coarse", None)

    @cached_property
    def _coarse(self) -> CoarseSpace:
        # made where it is used: "auto" may prepare this solver and choose the other one
        return CoarseSpace(self._tail)

    def coordinates(self, system: ReducedSystem, products: Products) -> Coordinates:
        """Block Jacobi with a coarse space."""
        projected = self._coarse.projected(system.middle, system.half, system.scales)
        return Coordinates(system.tail, system.blocks, system.scales, self._coarse, projected)

    def control(
        self,
        system: ReducedSystem,
        coordinates: Coordinates,
        multiply: Products,
        probes: np.ndarray,
    ) -> Control:
        """Polynomials of the system where it is sparse; else its trace."""
        pattern, columns = self._pattern, coordinates.directions.shape[1] + system.half.shape[1]
        intercepts = pattern is not None and pattern.is_scalar and system.middle.shape[1] == 1
        if pattern is None or not intercepts or columns > _FEW_COLUMNS:
            return LinearControl(coordinates.system_trace(system.half))
        matrix, half = system.scaled(pattern)
        n_threads = system.tail.n_threads
        return PolynomialControl(pattern, matrix, half, coordinates.change, n_threads)

    def covariance(self, system: IterativeSystem, probes: Solution) -> ProbedCovariance:
        """Estimated from the probes, and polynomials where these are known."""
        if isinstance(system.control, PolynomialControl):
            return ControlledCovariance(system, probes, system.control)
        return ProbedCovariance(system, probes)

    def product_cost(self, coordinates: Coordinates) -> float:
        """Blocks cost little."""
        return 1.0


class ExactCholesky:
    """The sparse matrix is factorised: the system becomes the identity."""

    name = "sparse Cholesky"
    is_exact = True

    def __init__(self, pattern: ReducedPattern, order: EliminationOrder) -> None:
        self._pattern, self._order, self.work = pattern, order, order.work

    def use(self, tail: SparseTail) -> None:
        """Take a tail with the same cells."""

    def coordinates(self, system: ReducedSystem, products: Products) -> FactoredCoordinates:
        """Coordinates of the factor, and of the dense part."""
        pattern, large = self._pattern, system.tail.large
        entries, _ = system.scaled(pattern)
        factor = ExactFactor(self._order, pattern.start, pattern.columns, entries)
        return FactoredCoordinates(factor, large, system.scales, system.half, products)

    def control(
        self, system: ReducedSystem, coordinates: Any, multiply: Products, probes: np.ndarray
    ) -> Control:
        """Nothing is left to estimate."""
        return NoControl()

    def covariance(self, system: IterativeSystem, probes: Solution) -> ProbedCovariance:
        """Exact, from the entries of the inverse."""
        return FactoredCovariance(system, probes)

    def product_cost(self, coordinates: FactoredCoordinates) -> float:
        """That of two solves with the factor."""
        return _cost_of_two_solves(coordinates, self._pattern)


class ApproximateCholesky:
    """The sparse matrix of intercepts is about factorised.

    That of one large factor is diagonally dominant. With several, the largest one is eliminated
    about, and of the others each is factorised by itself. A factor is kept while the matrix is
    close to the one that it was made of. It depends on the random edges that were chosen, so that
    only with one factor an objective is smooth.
    """

    name = "approximate Cholesky"
    is_exact = False
    work = 0.0

    def __init__(self, pattern: ReducedPattern) -> None:
        self._pattern = pattern
        self._made: tuple[np.ndarray, Root] | None = None
        self._split: SplitPattern | None = None
        sizes = [len(own) for own in pattern.own]
        if len(sizes) > 1:
            largest_first = np.argsort(np.argsort(-np.array(sizes), kind="stable"))
            group = np.repeat(largest_first, sizes)
            self._split = SplitPattern.of(pattern.start, pattern.columns, group)

    @staticmethod
    def suits(tail: SparseTail, pattern: ReducedPattern | None) -> bool:
        """Whether levels of a factor have nothing positive off the diagonal: intercepts."""
        return pattern is not None and pattern.is_scalar and tail.values.shape[1] == 1

    def use(self, tail: SparseTail) -> None:
        """Take a tail with the same cells."""

    def coordinates(self, system: ReducedSystem, products: Products) -> FactoredCoordinates:
        """Coordinates of the factor, and of the dense part."""
        entries, _ = system.scaled(self._pattern)
        if self._made is None or not _are_close(self._made[0], entries):
            self._made = entries, self._factorise(entries, system.tail.n_threads)
        factor = self._made[1]
        return FactoredCoordinates(factor, system.tail.large, system.scales, system.half, products)

    def _factorise(self, entries: np.ndarray, n_threads: int) -> Root:
        if self._split is not None:
            return TriangularRoot(self._split, entries, _COPIES, n_threads)
        return ApproximateFactor(self._pattern.start, self._pattern.columns, entries, _COPIES)

    def control(
        self, system: ReducedSystem, coordinates: Any, multiply: Products, probes: np.ndarray
    ) -> Control:
        """A polynomial, of which single products estimate the trace."""
        return QuadraticControl(multiply, probes)

    def covariance(self, system: IterativeSystem, probes: Solution) -> ProbedCovariance:
        """Estimated from the probes, and draws of the factor."""
        return SampledCovariance(system, probes)

    def product_cost(self, coordinates: FactoredCoordinates) -> float:
        """That of two solves with the factor."""
        return _cost_of_two_solves(coordinates, self._pattern)


def _cost_of_two_solves(coordinates: FactoredCoordinates, pattern: ReducedPattern) -> float:
    """Cost of a product between two solves with a factor, over that of the product alone."""
    return 1.0 + 2.0 * coordinates.factor.n_entries / len(pattern.columns)


def _are_close(first: np.ndarray, second: np.ndarray) -> bool:
    """Whether no entry of a matrix has moved much."""
    return bool((np.abs(second - first) <= _SAME_FACTOR * np.abs(first)).all())


def choose(tail: SparseTail, pattern: ReducedPattern | None) -> Preconditioner:
    """The strategy for a tail: a factor where it is exact at little cost."""
    order = None if pattern is None else EliminationOrder.of(pattern.start, pattern.columns)
    if pattern is not None and order is not None:
        return ExactCholesky(pattern, order)
    return LevelBlocks(tail, pattern)
