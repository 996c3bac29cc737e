"""Which solver: factorise the tail, or iterate on it."""

from __future__ import annotations

from dataclasses import dataclass

from skmixed.memory import available_memory
from skmixed.solvers.base import Solver
from skmixed.solvers.direct import DirectSolver
from skmixed.solvers.iterative import IterativeSolver
from skmixed.sums.cross_products import (
    CrossProducts,
    dense_tail_bytes,
    refuse_what_does_not_fit,
)

SOLVERS = ("auto", "direct", "iterative")

_LARGEST_DIRECT = 2500
"""Effects and coefficients of a tail up to which factorising it is as fast as iterating."""

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
    """The solver that is asked for; "auto" chooses by size."""
    if options.direct_for and options.name == "iterative":
        raise ValueError(
            f"solver='iterative' does not know {options.direct_for}=; use solver='direct', or "
            "'auto'."
        )
    direct = options.name == "direct" or bool(options.direct_for)
    if direct or (options.name == "auto" and _prefers_direct(cross)):
        refuse_what_does_not_fit(cross.n_tail + cross.n_fixed + 1)
        return DirectSolver(cross, options.n_threads)
    n_probes = options.n_probes
    if not options.needs_determinant:
        n_probes = 0
    elif n_probes == "auto":
        n_probes = _default_probes(cross)
    return IterativeSolver(
        cross, options.integrate_fixed, int(n_probes), options.seed, options.n_threads
    )


def _prefers_direct(cross: CrossProducts) -> bool:
    size = cross.n_tail + cross.n_fixed + 1
    memory = available_memory()
    fits = memory is None or dense_tail_bytes(size) < _MEMORY_SHARE * memory
    return fits and (size <= _LARGEST_DIRECT or cross.n_tail == 0)


def _default_probes(cross: CrossProducts) -> int:
    wanted = -(-_PROBED_EFFECTS // max(cross.n_tail, 1))
    return min(max(wanted, _LEAST_PROBES), _MOST_PROBES)
