"""What is known exactly of an estimated log determinant, and takes variance off its estimate.

With H the system in the solver's coordinates and z random signs, z'f(H)z has the expectation
tr f(H). Where tr p(H) of a function p next to f is known, z'(f - p)(H)z is left to estimate
(control variates; for traces: Adams et al. 2018, arXiv:1802.03451).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Protocol

import numpy as np

from skmixed._kernels.reduced_cells import power_entries
from skmixed.solvers.conjugate_gradients import LanczosRun, Solution
from skmixed.solvers.low_rank import LowRankChange
from skmixed.solvers.reduced_matrix import ReducedPattern
from skmixed.threads import enough_parts, even_bounds, run_parts

DEGREE = 4
"""Of the polynomial next to the logarithm; next to the inverse it is one less."""

_FLOOR = 1e-4
"""Weight of the ends of the spectrum in fits of polynomials, of a whole of 1."""


_PRODUCTS = 8
"""Random signs that take a product, for each that takes a solve."""

_AT_ONCE = 16
"""Products at a time."""


class Control(Protocol):
    """A function next to the logarithm, of which the trace is known."""

    n_products: int
    """Products with the system that this takes, for each probe."""

    def samples(self, runs: Sequence[LanczosRun]) -> np.ndarray:
        """What every probe says of the rest, (m,)."""
        ...

    def constant(self, runs: Sequence[LanczosRun]) -> float:
        """The known trace."""
        ...

    def error(self, runs: Sequence[LanczosRun]) -> float:
        """Standard error of the mean of `samples`."""
        ...

    def rest(self, probes: Solution) -> np.ndarray:
        """H^-1 z, less what is known of the inverse, times z (N, m)."""
        ...


class NoControl:
    """Nothing is known but the logarithm of the identity."""

    n_products = 0

    def samples(self, runs: Sequence[LanczosRun]) -> np.ndarray:
        """z' log(H) z."""
        return np.array([run.quadratic_form(np.log) for run in runs])

    def constant(self, runs: Sequence[LanczosRun]) -> float:
        """Zero."""
        return 0.0

    def error(self, runs: Sequence[LanczosRun]) -> float:
        """From the spread of the samples."""
        return standard_error(self.samples(runs))

    def rest(self, probes: Solution) -> np.ndarray:
        """H^-1 z."""
        return probes.x


class LinearControl:
    """log H is about H - I, of which the trace is known.

    Parameters
    ----------
    trace : float
        Of H.
    """

    n_products = 0

    def __init__(self, trace: float) -> None:
        self._trace = trace

    def samples(self, runs: Sequence[LanczosRun]) -> np.ndarray:
        """z' (log(H) - H) z."""
        return np.array(
            [run.quadratic_form(np.log) - run.quadratic_form(lambda values: values) for run in runs]
        )

    def constant(self, runs: Sequence[LanczosRun]) -> float:
        """The trace of H."""
        return self._trace

    def error(self, runs: Sequence[LanczosRun]) -> float:
        """From the spread of the samples."""
        return standard_error(self.samples(runs))

    def rest(self, probes: Solution) -> np.ndarray:
        """H^-1 z."""
        return probes.x


class PolynomialControl:
    """Polynomials of the system where level blocks are single effects and R is sparse.

    In coordinates S = S_0 B, S_0 diagonal and B = I + W there W' a change of low rank, the system
    is I + E + U C U' with E sparse and zero on the diagonal: traces of its powers are those of
    powers of E and of products of few columns, as

        M^k = E^k + sum_(a + b = k - 1) (M^a U) C (E^b U)',    M = E + U C U'.

    Parameters
    ----------
    pattern : ReducedPattern
    matrix : ndarray
        Entries of T'RT + I.
    half : ndarray (N, P)
        What the dense part explains of T'RT.
    change : LowRankChange
        B.
    n_threads : int
    """

    n_products = 0

    def __init__(
        self,
        pattern: ReducedPattern,
        matrix: np.ndarray,
        half: np.ndarray,
        change: LowRankChange,
        n_threads: int,
    ) -> None:
        self.pattern, self.change, self._n_threads = pattern, change, n_threads
        self.sizes = 1.0 / np.sqrt(matrix[pattern.diagonal])
        rows = np.repeat(self.sizes, np.diff(pattern.start))
        self.entries = matrix * rows * self.sizes[pattern.columns]
        self.entries[pattern.diagonal] = 0.0
        W, F = change.directions, self.sizes[:, None] * half
        moved = self.multiply(W)
        self.columns = np.hstack([W, moved, F])
        k, there = W.shape[1], change.there
        explained = there @ (W.T @ F)
        C = np.zeros(2 * (self.columns.shape[1],))
        C[:k, :k] = change.added + there @ (W.T @ moved) @ there - explained @ explained.T
        C[:k, k : 2 * k] = there
        C[k : 2 * k, :k] = there
        C[:k, 2 * k :] = -explained
        C[2 * k :, :k] = -explained.T
        C[2 * k :, 2 * k :] = -np.eye(F.shape[1])
        self.coefficients = C

    def multiply(self, vectors: np.ndarray) -> np.ndarray:
        """E times vectors (N, m)."""
        return self.pattern.multiply(self.entries, vectors, self._n_threads)

    def multiply_system(self, vectors: np.ndarray) -> np.ndarray:
        """The system less the identity, times vectors (N, m)."""
        U = self.columns
        return self.multiply(vectors) + U @ (self.coefficients @ (U.T @ vectors))

    @cached_property
    def powers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Entries of E^2 and E^3 where E has them, and the diagonal of E^4."""
        pattern = self.pattern
        out = np.empty(len(pattern.columns)), np.empty(len(pattern.columns))
        fourth = np.empty(pattern.n_rows)
        counts = np.diff(pattern.start).astype(float)
        parts = enough_parts(int(counts @ counts), self._n_threads)
        run_parts(
            lambda first, last: power_entries(
                pattern.start, pattern.columns, self.entries, first, last, (*out, fourth)
            ),
            even_bounds(counts**2, parts),
            self._n_threads,
        )
        return (*out, fourth)

    @cached_property
    def krylov(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """(E + U C U')^a U C and E^b U for a and b below `DEGREE`."""
        left, right = [self.columns @ self.coefficients], [self.columns]
        for _ in range(DEGREE - 1):
            left.append(self.multiply_system(left[-1]))
            right.append(self.multiply(right[-1]))
        return left, right

    @cached_property
    def traces(self) -> np.ndarray:
        """Traces of the powers 0 to `DEGREE` of the system less the identity."""
        _, third, fourth = self.powers
        squares = float(self.entries @ self.entries)
        cubes = float(third[self.pattern.diagonal].sum())
        out = np.array([float(self.pattern.n_rows), 0.0, squares, cubes, float(fourth.sum())])
        left, right = self.krylov
        for power in range(1, DEGREE + 1):
            for a in range(power):
                out[power] += np.vdot(left[a], right[power - 1 - a])
        return out

    def fit(self, runs: Sequence[LanczosRun], degree: int, inverse: bool) -> np.ndarray:
        """Coefficients of a polynomial in H - I next to log H, or the inverse of H.

        Least squares over the spectrum that the Lanczos runs have found; 0 without any.
        """
        return fit_polynomial(runs, degree, np.reciprocal if inverse else np.log)

    def samples(self, runs: Sequence[LanczosRun]) -> np.ndarray:
        """z' (log - p)(H) z."""
        if not runs:
            return np.zeros(0)
        return samples_beside(self.fit(runs, DEGREE, False), runs)

    def constant(self, runs: Sequence[LanczosRun]) -> float:
        """The trace of p(H)."""
        return float(self.fit(runs, DEGREE, False) @ self.traces)

    def error(self, runs: Sequence[LanczosRun]) -> float:
        """That of z' (log - p)(H) z."""
        return error_beside(self.fit(runs, DEGREE, False), runs)

    def rest(self, probes: Solution) -> np.ndarray:
        """(H^-1 - p(H)) z."""
        fitted = self.fit(probes.runs, DEGREE - 1, True)
        return probes.apply(lambda values: 1.0 / values - at(fitted, values))


class QuadraticControl:
    """log H is about a polynomial p of degree 2, of which the trace is estimated on its own.

    A single product Hz tells both z'Hz and z'H^2 z, so that p takes many more random signs than
    the solves that estimate what is left (multilevel Monte Carlo: Giles 2015, Acta Numerica 24).

    Parameters
    ----------
    multiply : callable
        H times vectors (N, m).
    probes : ndarray (N, m)
        Signs of the solves; others are drawn anew.
    """

    n_products = _PRODUCTS

    def __init__(self, multiply: Callable[[np.ndarray], np.ndarray], probes: np.ndarray) -> None:
        self._multiply, self._probes = multiply, probes

    def signs(self) -> Iterator[np.ndarray]:
        """Other random signs than those of the probes, (N, `_AT_ONCE`) or fewer each."""
        n, m = self._probes.shape
        drawn = further_signs(self._probes)
        for first in range(0, _PRODUCTS * m, _AT_ONCE):
            size = n, min(_AT_ONCE, _PRODUCTS * m - first)
            yield random_signs(drawn, size)

    @cached_property
    def moments(self) -> np.ndarray:
        """z'(H - I)^k z for powers 0 to 2 of these signs, (3, `_PRODUCTS` m)."""
        found = []
        for z in self.signs():
            moved = self._multiply(z) - z
            pairs = (z, z), (z, moved), (moved, moved)
            found.append([np.einsum("ij,ij->j", *pair) for pair in pairs])
        return np.concatenate(found, axis=1)

    def samples(self, runs: Sequence[LanczosRun]) -> np.ndarray:
        """z' (log - p)(H) z."""
        return samples_beside(fit_polynomial(runs, 2, np.log), runs)

    def constant(self, runs: Sequence[LanczosRun]) -> float:
        """The estimated trace of p(H)."""
        return float((fit_polynomial(runs, 2, np.log) @ self.moments).mean())

    def error(self, runs: Sequence[LanczosRun]) -> float:
        """Of both estimates together."""
        fitted = fit_polynomial(runs, 2, np.log)
        return float(np.hypot(error_beside(fitted, runs), standard_error(fitted @ self.moments)))

    def rest(self, probes: Solution) -> np.ndarray:
        """H^-1 z."""
        return probes.x


def further_signs(probes: np.ndarray) -> np.random.Generator:
    """Random numbers that other probes would change."""
    return np.random.default_rng(np.packbits(probes[:64] > 0.0))


def random_signs(generator: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """Numbers 1 and -1 with equal probability."""
    return 2.0 * generator.integers(2, size=shape, dtype=np.int8) - 1.0


def fit_polynomial(
    runs: Sequence[LanczosRun], degree: int, function: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Coefficients (degree + 1,) of a polynomial in H - I next to f(H).

    Least squares over the spectrum that Lanczos runs have found; 0 without any.
    """
    if not runs:
        return np.zeros(degree + 1)
    found = [run.spectrum() for run in runs]
    nodes = np.concatenate([nodes for nodes, _ in found])
    weights = np.concatenate([weights for _, weights in found])
    weights = np.sqrt(weights / weights.sum() + _FLOOR / len(nodes))
    basis = np.vander(nodes - 1.0, degree + 1, increasing=True)
    target = function(nodes)
    return np.asarray(np.linalg.lstsq(basis * weights[:, None], target * weights, rcond=None)[0])


def samples_beside(fitted: np.ndarray, runs: Sequence[LanczosRun]) -> np.ndarray:
    """z'(log - p)(H) z of every probe, (m,), of a polynomial p."""
    return np.array([run.quadratic_form(lambda v: np.log(v) - at(fitted, v)) for run in runs])


def error_beside(fitted: np.ndarray, runs: Sequence[LanczosRun]) -> float:
    """Standard error of the mean of z'(log - p)(H) z, of a polynomial p.

    With A = (log - p)(H) the variance of z'Az is twice the sum of the squares of A off the
    diagonal, of which z'A^2 z has the expectation if squares on the diagonal count as well: known
    far better than a spread of few samples.
    """
    squares = [run.quadratic_form(lambda v: (np.log(v) - at(fitted, v)) ** 2) for run in runs]
    return float(np.sqrt(2.0 * np.mean(squares) / len(runs)))


def standard_error(samples: np.ndarray) -> float:
    """Standard error of the mean of samples; 0 where there are too few to tell."""
    return float(samples.std(ddof=1) / np.sqrt(len(samples))) if len(samples) > 1 else 0.0


def at(coefficients: np.ndarray, values: np.ndarray) -> np.ndarray:
    """A polynomial in H - I at eigenvalues of H."""
    return np.asarray(np.polynomial.polynomial.polyval(values - 1.0, coefficients))
