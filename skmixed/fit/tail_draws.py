"""Draws of the tail's effects from the posterior of a working model, as functions of parameters.

The variational posterior of the effects of all factors but the eliminated one is the posterior of
a Gaussian working model. Its mean is the right centre for draws of them: means of skewed effects
differ from their mode. With the weights of the rows held, mean and covariance are functions of
the parameters phi of the model, and a draw t = m + L xi with fixed normal numbers xi follows
them. It is developed about a base, to first or second order:

    t(phi) = m + L xi + sum_j d_j (m_j + L_j xi) + sum_jk d_j d_k (m_jk + L_jk xi) / 2,

with d = phi - base, is a linear function of xi with a triangular matrix, so that its density is
known exactly.

Draws come in circles of eight: cos(a) x + sin(a) y for two normal vectors x and y and angles a in
steps of 45 degrees. Each point is a normal vector, and the point across is its negative.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.linalg import blas

from skmixed.fit.sites import VariationalPoint
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.posteriors import Solved
from skmixed.solvers.direct import DirectSolver, DirectSystem

CIRCLE = 8
"""Draws per circle."""

_STEP, _LEAST_SCALE = 1e-2, 0.05
"""Step of differences, times the size of a parameter or this. Any would do, as the density of the
draws is that of what the differences give."""

_FEW_EFFECTS, _SMALL_TAIL = 500, 2500
"""Effects of a factor, and of a tail, up to which draws are developed to second order."""

_LARGEST_LOG = 0.25
"""Change of a draw's scale, a logarithm, up to which draws are linear in the parameters."""


def circles(n_circles: int, size: int, seed: int) -> np.ndarray:
    """Normal vectors (8 n_circles, size), in circles of eight one after another."""
    pairs = np.random.default_rng(seed).standard_normal((n_circles, 2, size))
    angles = 2.0 * np.pi * np.arange(CIRCLE) / CIRCLE
    turns = np.column_stack([np.cos(angles), np.sin(angles)])
    # the point across is exactly the negative
    turns[CIRCLE // 2 :] = -turns[: CIRCLE // 2]
    return np.einsum("ka,cas->cks", turns, pairs).reshape(-1, size)


@dataclass(frozen=True)
class Development:
    """An array (...) as a function of parameters, about a base.

    Attributes
    ----------
    value : ndarray (...)
    moves : ndarray (P, ...)
        First derivatives.
    bends : ndarray (m, m, ...)
        Second ones, by the first m parameters; m is 0 to first order.
    """

    value: np.ndarray
    moves: np.ndarray
    bends: np.ndarray

    def at(self, step: np.ndarray) -> np.ndarray:
        """The array (...) a step (P,) from the base."""
        return self.value + np.tensordot(step, self._mean_slopes(step), axes=1)

    def _mean_slopes(self, step: np.ndarray) -> np.ndarray:
        m = len(self.bends)
        if not m:
            return self.moves
        slopes = self.moves.copy()
        slopes[:m] += 0.5 * np.tensordot(step[:m], self.bends, axes=1)
        return slopes

    def slopes(self, step: np.ndarray) -> np.ndarray:
        """Derivatives (P, ...) there."""
        return 2.0 * self._mean_slopes(step) - self.moves


@dataclass(frozen=True)
class TailDraws:
    """Draws t of whitened tail effects, and of coefficients where these are integrated out.

    Attributes
    ----------
    base : ndarray (P,)
        Parameters about which draws are developed.
    draws : Development
        Of draws (S, N).
    diagonal : Development
        Of the diagonal (N,) of L.
    centre_moves : ndarray (P, N)
        Derivatives of m at the base.
    root : ndarray (N, N)
        Upper triangle: the inverse of L at the base. Entries below it have no meaning.
    normals : ndarray (S, N)
    """

    base: np.ndarray
    draws: Development
    diagonal: Development
    centre: np.ndarray
    centre_moves: np.ndarray
    root: np.ndarray
    normals: np.ndarray

    def reaches(self, parameters: np.ndarray) -> bool:
        """Whether the development is good at these parameters."""
        ratios = self.diagonal.at(parameters - self.base) / self.diagonal.value
        return bool((ratios > 0.0).all() and (np.abs(np.log(ratios)) < _LARGEST_LOG).all())

    def at(self, parameters: np.ndarray) -> np.ndarray:
        """Draws (S, N) at parameters."""
        return self.draws.at(parameters - self.base)

    def slopes(self, parameters: np.ndarray) -> np.ndarray:
        """Derivatives (P, S, N) of the draws."""
        return self.draws.slopes(parameters - self.base)

    def log_densities(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Minus the log density of the draws (S,), without log(2 pi), and its derivatives (P,)."""
        step = parameters - self.base
        diagonal, slopes = self.diagonal.at(step), self.diagonal.slopes(step)
        squares = (self.normals**2).sum(axis=1)
        return np.log(diagonal).sum() + 0.5 * squares, (slopes / diagonal).sum(axis=1)

    def by_normals(self, products: np.ndarray) -> np.ndarray:
        """Derivatives by xi (S, N), at the base, from those by draws (S, N)."""
        half = blas.dtrsm(1.0, self.root, np.asfortranarray(products.T), lower=0, trans_a=1)
        return np.ascontiguousarray(half.T)

    def anew(self, normals: np.ndarray) -> TailDraws:
        """Draws to order 0 from the same normal with other numbers (S, N)."""
        deviations = blas.dtrsm(1.0, self.root, np.asfortranarray(normals.T), lower=0)
        values = self.centre + deviations.T
        nothing = np.zeros((len(self.base), *values.shape))
        return replace(self, draws=Development(values, nothing, nothing[:0, None]), normals=normals)

    def from_normals(self, vectors: np.ndarray) -> np.ndarray:
        """L times vectors (S, N), at the base."""
        found = blas.dtrsm(1.0, self.root, np.asfortranarray(vectors.T), lower=0)
        return np.ascontiguousarray(found.T)


@dataclass(frozen=True)
class _Normal:
    """The posterior of a working model at given parameters: means, and a root of the precision."""

    centre: np.ndarray
    root: np.ndarray
    by_beta: np.ndarray
    """Derivatives (N, p) of the mean by coefficients that are held."""

    def draws(self, normals: np.ndarray) -> np.ndarray:
        """Deviations L xi (S, N) from the mean."""
        return blas.dtrsm(1.0, self.root, np.asfortranarray(normals.T), lower=0).T


class WorkingTail:
    """The tail of a working model whose rows keep the mean and variance of a variational fit.

    Parameters
    ----------
    objective : VariationalObjective
    point : VariationalPoint
        The best posterior at its parameters.
    normals : ndarray (S, N)
        See `circles`; N are the effects of the tail, and the coefficients where these are
        integrated out.
    """

    def __init__(
        self, objective: VariationalObjective, point: VariationalPoint, normals: np.ndarray
    ) -> None:
        self.objective, self.point, self.normals = objective, point, normals
        self._last: tuple[np.ndarray, DirectSystem] | None = None

    @cached_property
    def _solver(self) -> DirectSolver:
        rows = self.objective.responses.rows
        return DirectSolver(rows.arrangement, self.objective.n_threads)

    def _system(self, theta: np.ndarray, own: np.ndarray) -> DirectSystem:
        """The working model's equations; those of the last call are kept."""
        asked = np.concatenate([theta, own])
        if self._last is not None and np.array_equal(self._last[0], asked):
            return self._last[1]
        objective, point = self.objective, self.point
        sites = objective.sites_at(point, own)
        cross = objective.responses.rows.cross_products(*objective.working_model(sites))
        self._last = None
        self._last = asked, self._solver.system(objective.prior.scales(theta), cross)
        return self._last[1]

    def solved(self, parameters: np.ndarray) -> Solved:
        """The working model at (theta, own), solved."""
        theta, own = self.objective.split(parameters[: len(self.point.theta)])
        return self.objective.solved(self._system(theta, own), np.concatenate([theta, own]))

    def normal(self, theta: np.ndarray, own: np.ndarray, beta: np.ndarray | None) -> _Normal:
        """The working model's posterior, of which coefficients may be held."""
        system = self._system(theta, own)
        n, solution = system.cross.n_tail, system.solution
        if beta is None:
            return _Normal(solution, system.upper, np.zeros((len(solution), 0)))
        root = np.asfortranarray(system.upper[:n, :n])
        by_beta = -blas.dtrsm(1.0, root, np.asfortranarray(system.upper[:n, n:]), lower=0)
        return _Normal(solution[:n] + by_beta @ (beta - solution[n:]), root, by_beta)

    def draws(self, parameters: np.ndarray, integrate_fixed: bool, order: int = 1) -> TailDraws:
        """Draws about parameters (theta, own), and beta where it is not integrated out.

        Parameters
        ----------
        parameters : ndarray (P,)
        integrate_fixed : bool
        order : {0, 1, 2}
            Of the development; second derivatives are those by theta.
        """
        around = _Around(self, parameters, integrate_fixed)
        here = around.normal()
        values, diagonal = self.of(here)
        n = len(parameters)
        draws, scales = (
            Development(value, np.zeros((n, *value.shape)), np.zeros((0, 0, *value.shape)))
            for value in (values, diagonal)
        )
        centre_moves = np.zeros((n, values.shape[1]))
        k = len(self.point.theta)
        for j in range(k if order > 0 else 0):
            there = around.normal(j)
            centre_moves[j] = (there.centre - here.centre) / around.steps[j]
            for ahead, development in zip(self.of(there), (draws, scales), strict=True):
                development.moves[j] = (ahead - development.value) / around.steps[j]
        centre_moves[k:] = here.by_beta.T
        draws.moves[k:] = here.by_beta.T[:, None]
        found = TailDraws(
            parameters, draws, scales, here.centre, centre_moves, here.root, self.normals
        )
        return self.bent(found, integrate_fixed) if order > 1 else found

    def bent(self, draws: TailDraws, integrate_fixed: bool) -> TailDraws:
        """Draws to first order, to second order.

        Of a tail that takes long to factorise, by standard deviations of few levels alone: those
        are known least, so that a standard error is a long way.
        """
        around = _Around(self, draws.base, integrate_fixed)
        prior, steps = self.objective.prior, around.steps
        m = prior.n_parameters
        sizes = np.array([prior.factors[f].size for f in prior.factor_of], int)
        worth = (sizes < _FEW_EFFECTS) | (draws.normals.shape[1] <= _SMALL_TAIL)
        before = draws.draws, draws.diagonal
        after = [
            replace(part, moves=part.moves.copy(), bends=np.zeros((m, m, *part.value.shape)))
            for part in before
        ]
        for i in np.flatnonzero(worth).tolist():
            for j in np.flatnonzero(worth[: i + 1]).tolist():
                found = self.of(around.normal(i, j))
                for ahead, part, new in zip(found, before, after, strict=True):
                    rest = ahead - part.value - steps[i] * part.moves[i] - steps[j] * part.moves[j]
                    new.bends[i, j] = new.bends[j, i] = rest / (steps[i] * steps[j])
        for new in after:
            for i in range(m):
                # what was a forward difference becomes a derivative
                new.moves[i] -= 0.5 * steps[i] * new.bends[i, i]
        return replace(draws, draws=after[0], diagonal=after[1])

    def of(self, normal: _Normal) -> tuple[np.ndarray, np.ndarray]:
        """Draws (S, N), and the diagonal (N,) of L."""
        return normal.centre + normal.draws(self.normals), 1.0 / np.diagonal(normal.root)


class _Around:
    """Posteriors of a working model at parameters, and a step or two from them.

    Parameters
    ----------
    working : WorkingTail
    parameters : ndarray (P,)
    integrate_fixed : bool
    """

    def __init__(self, working: WorkingTail, parameters: np.ndarray, integrate_fixed: bool) -> None:
        self.working, k = working, len(working.point.theta)
        self.base = parameters[:k]
        self.beta = None if integrate_fixed else parameters[k:]
        self.steps = _STEP * np.maximum(np.abs(self.base), _LEAST_SCALE)

    def normal(self, *moved: int) -> _Normal:
        """The posterior, each of some parameters a step ahead."""
        ahead = self.base.copy()
        for j in moved:
            ahead[j] += self.steps[j]
        return self.working.normal(*self.working.objective.split(ahead), self.beta)
