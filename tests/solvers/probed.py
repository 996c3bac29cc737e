"""The iterative solver with random vectors that leave nothing to chance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from dense import DESIGNS

from skmixed.fit import newton
from skmixed.solvers import exact_factor, iterative, reduced_matrix, sparse_tail
from skmixed.solvers.controls import QuadraticControl
from skmixed.solvers.exact_factor import EliminationOrder
from skmixed.solvers.iterative import IterativeSolver
from skmixed.solvers.preconditioners import ApproximateCholesky, ExactCholesky, LevelBlocks
from skmixed.solvers.sampled_covariance import SampledCovariance
from skmixed.sums.cross_products import CrossProducts

CASES = [
    (name, small)
    for name, factors in DESIGNS.items()
    for small in (0, 4, 9, 200)
    if small in (0, 200) or len(factors) > 2
]
"""Designs, and up to how many effects factors go to the dense part: none, some, all."""

CASES_WITH_FACTORS = [(name, small) for name, small in CASES if DESIGNS[name]]


STRATEGIES = {
    "level blocks": lambda tail, pattern: LevelBlocks(tail, None),
    "polynomials": LevelBlocks,
    "approximate Cholesky": lambda tail, pattern: (
        ApproximateCholesky(pattern)
        if ApproximateCholesky.suits(tail, pattern)
        else LevelBlocks(tail, pattern)
    ),
    "sparse Cholesky": lambda tail, pattern: (
        LevelBlocks(tail, pattern)
        if pattern is None
        else ExactCholesky(pattern, EliminationOrder.of(pattern.start, pattern.columns))
    ),
}
"""Ways to make systems the identity, or close to it."""


def unit_vectors(covariance: SampledCovariance, n_draws: int) -> Iterator[np.ndarray]:
    yield np.eye(covariance.system.tail.n_large)


def unit_signs(control: QuadraticControl) -> Iterator[np.ndarray]:
    n = len(control._probes)
    yield np.sqrt(n) * np.eye(n)


@contextmanager
def exactly(small_effects: int, strategy: str = "level blocks") -> Iterator[None]:
    """Solves to the last digits; factors up to `small_effects` effects go to the dense part."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iterative, "choose", STRATEGIES[strategy])
        patch.setattr(exact_factor, "_LEAST_SPARSE", 1)
        patch.setattr(reduced_matrix, "_MOST_PAIRS", 1000)
        patch.setattr(SampledCovariance, "_signs_of_draws", unit_vectors)
        patch.setattr(QuadraticControl, "signs", unit_signs)
        patch.setattr(sparse_tail, "_SMALL_EFFECTS", small_effects)
        patch.setattr(iterative, "_MEAN_TOLERANCE", 1e-13)
        patch.setattr(iterative, "_PROBE_TOLERANCE", 1e-12)
        patch.setattr(iterative, "_FIXED_TOLERANCE", 1e-12)
        patch.setattr(iterative, "_INFORMATION_TOLERANCE", 1e-12)
        patch.setattr(iterative, "_COVARIANCE_TOLERANCE", 1e-12)
        # vectors that vary, but whose mean is exact
        patch.setattr(newton, "_ARRIVED_ESTIMATE", 0.0)
        yield


def exact_solver(cross: CrossProducts, integrate_fixed: bool, n_threads: int = 1):
    """Probes sqrt(N) e_j: the mean of their outer products is the identity."""
    solver = IterativeSolver(cross, integrate_fixed, 0, 0, n_threads)
    n = solver.tail.n_large
    if not solver.preconditioner.is_exact:
        solver.probes = np.sqrt(n) * np.eye(n)
    return solver
