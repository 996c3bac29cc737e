"""Which solver: factorise the tail, or iterate on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skmixed.memory import available_memory
from skmixed.solvers.base import Solver
from skmixed.sums.cross_products import (
    CrossProducts,
    dense_tail_bytes,
    refuse_what_does_not_fit,
)

if TYPE_CHECKING:
    from skmixed.solvers.iterative import IterativeSolver

SOLVERS = ("auto", "direct", "iterative")

_LARGEST_DIRECT = 2500
"""Effects and coefficients of a tail up to which a dense factor is as fast as iterating."""

_LEAST_SPARSE = 500
"""Effects of a tail from which on a sparse factor is looked for: below, a dense one is as fast."""

_DENSE_RATE = 30.0
"""Multiplications of dense factors and inverses in the time of one of sparse ones."""

_MEMORY_SHARE = 0.25
"""Part of the machine's memory that "auto" lets dense matrices take."""

_LEAST_PROBES, _MOST_PROBES = 5, 64
_PROBED_EFFECTS = 100_000
"""Signs that all probes together should have: errors fall with their square root."""


@dataclass(frozen=True)
class SolverOptions:
    """Options of a solver.

    Attributes
    ----------
    name : {"auto", "direct", "iterative"}
    integrate_fixed : bool
        True for REML.
    needs_determinant : bool
        Whether the posterior asks for log determinants and traces.
    n_probes : int or "auto"
    seed : int
        Of the random vectors of the iterative solver.
    n_threads : int
    direct_for : str
        The parameter of the model that the direct solver knows alone; empty where both will do.
    """

    name: str
    integrate_fixed: bool
    needs_determinant: bool
    n_probes: int | str
    seed: int
    n_threads: int
    direct_for: str = ""


def make_solver(cross: CrossProducts, options: SolverOptions) -> Solver:
    """The solver that is asked for; "auto" chooses by predicted cost, and exact before estimated.

    A sparse factor with little fill is exact whatever the size. Without one, a dense factor of
    a small tail is exact at a cost that is known, and a large tail is iterated on.
    """
    if options.direct_for and options.name == "iterative":
        raise ValueError(
            f"solver='iterative' does not support {options.direct_for}=; use solver='direct' or "
            "'auto'."
        )
    direct = options.name == "direct" or bool(options.direct_for)
    prepared = None
    if options.name == "auto" and not direct:
        direct = _may_be_direct(cross)
        if direct and cross.n_tail >= _LEAST_SPARSE:
            prepared = _iterative(cross, options)
            direct = not _is_cheaper(prepared, cross)
    if direct:
        refuse_what_does_not_fit(cross.n_tail + cross.n_fixed + 1)
        from skmixed.solvers.direct import DirectSolver

        return DirectSolver(cross, options.n_threads)
    return prepared or _iterative(cross, options)


def _iterative(cross: CrossProducts, options: SolverOptions) -> IterativeSolver:
    from skmixed.solvers.iterative import IterativeSolver

    n_probes = options.n_probes
    if not options.needs_determinant:
        n_probes = 0
    elif n_probes == "auto":
        n_probes = _default_probes(cross)
    return IterativeSolver(
        cross, options.integrate_fixed, int(n_probes), options.seed, options.n_threads
    )


def _is_cheaper(solver: IterativeSolver, cross: CrossProducts) -> bool:
    """Whether the iterative solver has an exact factor that costs less than a dense one."""
    return solver.preconditioner.is_exact and (
        _DENSE_RATE * solver.preconditioner.work < float(cross.n_tail) ** 3
    )


def _may_be_direct(cross: CrossProducts) -> bool:
    """Whether a dense tail is small enough to be factorised in no time."""
    size = cross.n_tail + cross.n_fixed + 1
    memory = available_memory()
    fits = memory is None or dense_tail_bytes(size) < _MEMORY_SHARE * memory
    return fits and (size <= _LARGEST_DIRECT or cross.n_tail == 0)


def _default_probes(cross: CrossProducts) -> int:
    wanted = -(-_PROBED_EFFECTS // max(cross.n_tail, 1))
    return min(max(wanted, _LEAST_PROBES), _MOST_PROBES)
