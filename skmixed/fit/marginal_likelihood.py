"""The log likelihood, random effects integrated out by quadrature, and its derivatives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from queue import SimpleQueue
from typing import Any

import numpy as np

from skmixed._kernels.level_integrals import Lattice, LevelRows, RowScratch
from skmixed._kernels.nested_integrals import (
    LevelMoments,
    OuterRows,
    integrate_levels,
    integrate_outer_levels,
    new_integral,
)
from skmixed.families.base import Likelihood, ResponseRows
from skmixed.families.density import RowDensity
from skmixed.fit.quadrature_plan import (
    FactorPart,
    QuadraturePlan,
    RootDerivatives,
    root_derivatives,
)
from skmixed.fit.sites import Responses
from skmixed.fit.variance_penalty import VariancePenalty
from skmixed.posteriors.prior import EffectsPrior
from skmixed.threads import even_bounds, run_parts

_ACCURACY = 24.0
_WIDEST = 0.9
_DROP = 24.0
"""Errors of steps and ends of the rules: exp(-23) or so of every level's likelihood."""

_HALF = {0: 0, 1: 3000, 2: 200, 3: 50}
"""Steps from the mode that nodes may be away, by number of directions."""

_MOST_NODES = 300_000
_WORTH_A_PART = 1_000
"""Rows from which on a part is worth a thread's while; parts do not depend on threads."""

_MOST_PARTS = 64


@dataclass(frozen=True)
class Evaluation:
    """The log likelihood at parameters (theta, own, beta), P in number.

    Attributes
    ----------
    value : float
        NaN where it cannot be computed.
    gradient : ndarray (P,)
    hessian : ndarray (P, P)
    n_nodes : int
        Nodes of all integrals.
    """

    value: float
    gradient: np.ndarray
    hessian: np.ndarray
    n_nodes: int


@dataclass(frozen=True)
class PartMoments:
    """Posterior of the effects u of a factor's levels, (L, q), given all parameters.

    Attributes
    ----------
    means : ndarray (L, q)
    covariances : ndarray (L, q, q)
    thirds : ndarray (L, q, q, q)
        Third central moments.
    moves : ndarray (L, q, P)
        Derivatives of the means by (theta, own, beta).
    with_outer : ndarray (L, q, r) or None
        Covariances with the effects of all levels' outer level; None for outer levels.
    outer : ndarray (L,) or None
        That level; 0 for all where the effects of all outer levels are integrated together.
    joint : ndarray (r, r) or None
        Covariance of the effects of all levels, where these are integrated together.
    """

    means: np.ndarray
    covariances: np.ndarray
    thirds: np.ndarray
    moves: np.ndarray
    with_outer: np.ndarray | None = None
    outer: np.ndarray | None = None
    joint: np.ndarray | None = None


class MarginalLikelihood:
    """The log likelihood of a model whose random effects a plan integrates.

    Parameters
    ----------
    responses : Responses
    likelihood : Likelihood
    prior : EffectsPrior
    plan : QuadraturePlan
    n_threads : int
    penalty : VariancePenalty or None, default=None
        -2 log prior of the standard deviations of effects, half of which is taken off.
    """

    def __init__(
        self,
        responses: Responses,
        likelihood: Likelihood,
        prior: EffectsPrior,
        plan: QuadraturePlan,
        n_threads: int,
        penalty: VariancePenalty | None = None,
    ) -> None:
        self.penalty = penalty
        self.likelihood, self.prior, self.plan = likelihood, prior, plan
        self.n_threads = n_threads
        order = plan.order
        self.weights = np.ascontiguousarray(responses.weights[order])
        self.y = np.ascontiguousarray(responses.y[order])
        offset = responses.offset
        self.offset = offset[order] if isinstance(offset, np.ndarray) else np.zeros(len(order))
        self.fixed = np.ascontiguousarray(responses.rows.fixed[order])
        self.bases = [plan.basis(responses.rows, part) for part in plan.parts]
        self.sizes = [basis.shape[1] for basis in self.bases]
        self.centres = [np.zeros((n, q)) for n, q in zip(self._counts, self.sizes, strict=True)]

    @property
    def n_integrals(self) -> int:
        """Number of levels of the inner factor."""
        return len(self.plan.row_start) - 1

    @property
    def _counts(self) -> list[int]:
        """Numbers of integrals of all parts."""
        n_inner = len(self.plan.row_start) - 1
        return [n_inner] if self.plan.outer is None else [len(self.plan.inner_start) - 1, n_inner]

    @property
    def n_entries(self) -> int:
        """Entries of the roots T of all parts."""
        return sum(q * q for q in self.sizes)

    def split(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Parameters of the prior, the likelihood's own ones, and coefficients."""
        m, p = self.prior.n_parameters, self.fixed.shape[1]
        return parameters[:m], parameters[m : len(parameters) - p], parameters[-p or None :][:p]

    def at(self, parameters: np.ndarray, digits: float = 1.0) -> Evaluation:
        """The log likelihood with its derivatives by (theta, own, beta).

        `digits` is a factor of the digits of all rules.
        """
        task = _Task(self, parameters, digits, moments=False)
        value, n_nodes, gradient, hessian = task.run()
        density, roots = task.density, task.roots
        chain, bends = self._chain(density, roots, len(parameters))
        natural = slice(len(gradient) - len(density.jacobian), None)
        gradient[natural] += density.gradient
        hessian[natural, natural] += density.hessian
        by_parameters = chain.T @ hessian @ chain + np.einsum("j,jkl->kl", gradient, bends)
        found = Evaluation(value + density.constant, chain.T @ gradient, by_parameters, n_nodes)
        return found if self.penalty is None else self._penalised(found, parameters)

    def _penalised(self, found: Evaluation, parameters: np.ndarray) -> Evaluation:
        """The log likelihood plus the log prior of the variances."""
        assert self.penalty is not None
        m = self.prior.n_parameters
        theta = parameters[:m]
        with np.errstate(divide="ignore", invalid="ignore"):
            terms = self.penalty.at(self.prior, theta, 1.0)
        gradient, hessian = found.gradient.copy(), found.hessian.copy()
        gradient[:m] -= 0.5 * terms.gradient
        hessian[:m, :m] -= 0.5 * terms.hessian
        value = found.value - 0.5 * self.penalty_at(parameters)
        return Evaluation(value, gradient, hessian, found.n_nodes)

    def penalty_at(self, parameters: np.ndarray) -> float:
        """-2 log prior of the variances, which is in values; 0 without one."""
        if self.penalty is None:
            return 0.0
        theta = parameters[: self.prior.n_parameters]
        return self.penalty.value(self.penalty.squares(self.prior, theta))

    def _chain(
        self, density: RowDensity, roots: RootDerivatives, n: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """First and second derivatives of (beta, T of all parts, natural) by all parameters."""
        p, m, n_entries = self.fixed.shape[1], self.prior.n_parameters, self.n_entries
        n_natural, k = density.jacobian.shape
        chain = np.zeros((p + n_entries + n_natural, n))
        bends = np.zeros((len(chain), n, n))
        chain[:p, m + k :] = np.eye(p)
        chain[p : p + n_entries, :m] = roots.first
        bends[p : p + n_entries, :m, :m] = roots.second
        chain[p + n_entries :, m : m + k] = density.jacobian
        bends[p + n_entries :, m : m + k, m : m + k] = density.bends
        return chain, bends

    def moments(self, parameters: np.ndarray) -> list[PartMoments]:
        """Posteriors of the effects of all parts, with derivatives of their means."""
        task = _Task(self, parameters, 1.0, moments=True)
        task.run()
        chain, _ = self._chain(task.density, task.roots, len(parameters))
        found, entry = [], 0
        outer_of = None
        for number, (part, q) in enumerate(zip(self.plan.parts, self.sizes, strict=True)):
            raw, root = task.moments[number], task.roots.roots[number]
            of_root = task.roots.first[entry : entry + q * q].reshape(q, q, -1)
            entry += q * q
            centred = raw.square - raw.mean[:, :, None] * raw.mean[:, None, :]
            moves = np.einsum("ab,lbj->laj", root, raw.with_score @ chain)
            moves[:, :, : of_root.shape[2]] += np.einsum("abm,lb->lam", of_root, raw.mean)
            thirds = _third_central(raw.mean, centred, raw.cube)
            of_part = PartMoments(
                raw.mean @ root.T, root @ centred @ root.T, transformed_thirds(root, thirds), moves
            )
            if number == 1:
                outer = task.moments[0].mean[outer_of]
                across = raw.with_outer - raw.mean[:, :, None] * outer[:, None, :]
                across = root @ across @ task.roots.roots[0].T
                of_part = replace(of_part, with_outer=across, outer=outer_of)
            elif self.plan.outer is not None:
                outer_of = np.repeat(np.arange(len(raw.mean)), np.diff(self.plan.inner_start))
            found.append(self._by_level(part, of_part))
        return found

    def _by_level(self, part: FactorPart, found: PartMoments) -> PartMoments:
        """Moments in the order of the factor's levels, of each level alone."""
        if part is self.plan.inner:
            levels = np.argsort(self.plan.inner_levels)
            of_outer = (
                None if array is None else array[levels]
                for array in (found.with_outer, found.outer)
            )
            return PartMoments(
                found.means[levels], found.covariances[levels], found.thirds[levels],
                found.moves[levels], *of_outer,
            )  # fmt: skip
        if part.copies == 1:
            return found
        n, q = part.copies, found.means.shape[1] // part.copies
        blocks = found.covariances[0].reshape(n, q, n, q)
        cubes = found.thirds[0].reshape(n, q, n, q, n, q)
        return PartMoments(
            found.means.reshape(n, q),
            np.array([blocks[level, :, level] for level in range(n)]),
            np.array([cubes[level, :, level, :, level] for level in range(n)]),
            found.moves[0].reshape(n, q, -1),
            joint=found.covariances[0],
        )

    # What does not change --------------------------------------------------------------

    @cached_property
    def bounds(self) -> list[int]:
        """Bounds of the integrals that make one part of the work."""
        starts = self.plan.row_start
        if self.plan.outer is not None:
            starts = starts[self.plan.inner_start]
        n_parts = min(len(starts) - 1, max(1, len(self.y) // _WORTH_A_PART), _MOST_PARTS)
        return even_bounds(np.diff(starts), n_parts)

    @cached_property
    def _lattices(self) -> SimpleQueue[tuple[Any, ...]]:
        """Memory of the nodes, for one thread each; made where none is free."""
        return SimpleQueue()

    @property
    def _directions(self) -> list[int]:
        """Directions of the lattices: inner nodes stand in lines."""
        return [*self.sizes[:-1], self.sizes[-1] - 1]

    @contextmanager
    def lattices(self, pole: float, digits: float) -> Iterator[tuple[Lattice, ...]]:
        """Lattices of all parts, which no other thread has."""
        if self._lattices.empty():
            memory = tuple(lattice_memory(d) for d in self._directions)
        else:
            memory = self._lattices.get()
        yield tuple(
            lattice_of(d, pole, digits, arrays)
            for d, arrays in zip(self._directions, memory, strict=True)
        )
        self._lattices.put(memory)


def _third_central(mean: np.ndarray, covariance: np.ndarray, cube: np.ndarray) -> np.ndarray:
    """Third central moments (L, q, q, q) from raw ones, the means (L, q) and covariances."""
    once = np.einsum("la,lbc->labc", mean, covariance)
    every = once + once.transpose(0, 2, 1, 3) + once.transpose(0, 3, 2, 1)
    return cube - every - np.einsum("la,lb,lc->labc", mean, mean, mean)


def transformed_thirds(matrix: np.ndarray, thirds: np.ndarray) -> np.ndarray:
    """Third moments (L, q, q, q) of `matrix` times variables of third moments (L, r, r, r)."""
    return np.einsum("ai,bj,ck,lijk->labc", matrix, matrix, matrix, thirds, optimize=True)


def lattice_of(d: int, pole: float, digits: float, memory: tuple[np.ndarray, ...]) -> Lattice:
    """Nodes in d directions; `digits` is a factor of the digits of the rule."""
    return Lattice(
        pole, _ACCURACY * digits, _WIDEST / np.sqrt(digits), _DROP * digits, _HALF[d], *memory
    )


def lattice_memory(d: int) -> tuple[np.ndarray, ...]:
    """Arrays of a `Lattice`."""
    size = (2 * _HALF[d] + 1) ** d
    n = min(size, _MOST_NODES)
    return np.zeros(size, np.bool_), np.zeros((n, d + 1), np.int64), np.zeros(n, np.int64)


class _Task:
    """One evaluation: arrays for the kernels, and sums over parts."""

    def __init__(
        self, model: MarginalLikelihood, parameters: np.ndarray, digits: float, moments: bool
    ) -> None:
        self.model, self.digits = model, digits
        theta, own, beta = model.split(parameters)
        rows = ResponseRows(model.y, model.weights, model.n_threads)
        density = model.likelihood.density(rows, own)
        assert density is not None
        self.density = density
        self.roots = root_derivatives(model.prior, model.plan.parts, theta)
        self.predictor = model.fixed @ beta + model.offset
        self.n_all = len(beta) + model.n_entries + len(density.jacobian)
        n = len(model.y)
        n_sums = 1 + model.sizes[-1] * (model.sizes[-1] + 3) // 2
        self.scratch = RowScratch(
            np.zeros((n, 2)), np.zeros((n, 3)), np.zeros((n, 3, n_sums))
        )  # fmt: skip
        self.moments = [
            self._new_moments(number, moments) for number in range(len(model.sizes))
        ]  # fmt: skip
        self.rows = self._rows(density)

    def _new_moments(self, number: int, scores: bool) -> LevelMoments:
        centre, q = self.model.centres[number], self.model.sizes[number]
        n, r = len(centre), self.model.sizes[0] if number else 0
        return LevelMoments(
            centre, np.zeros((n, q)), np.zeros((n, q, q)), np.zeros((n, q, q, q)),
            np.zeros((n if scores else 0, q, self.n_all)), np.zeros((n, q, r)), np.zeros(n),
        )  # fmt: skip

    def _rows(self, density: RowDensity) -> LevelRows:
        model = self.model
        dense, predictor = model.fixed, self.predictor
        if model.plan.outer is not None:
            dense = np.column_stack([dense, np.zeros((len(dense), model.sizes[0] ** 2))])
            predictor = predictor.copy()
        return LevelRows(
            density.kind, density.y, model.weights, density.low, density.high,
            np.ascontiguousarray(density.natural, dtype=np.int64), np.ascontiguousarray(dense),
            model.bases[-1], model.bases[-1] @ self.roots.roots[-1], predictor,
            len(density.jacobian),
        )  # fmt: skip

    def run(self) -> tuple[float, int, np.ndarray, np.ndarray]:
        """The log likelihood but for constants, nodes, and derivatives by natural parameters."""
        part = self._levels() if self.model.plan.outer is None else self._outer_levels()
        bounds = self.model.bounds
        results: dict[int, tuple[float, int, np.ndarray, np.ndarray]] = {}

        def work(first: int, last: int) -> None:
            with self.model.lattices(self.density.pole, self.digits) as lattices:
                results[first] = part((first, last), lattices)

        run_parts(work, bounds, self.model.n_threads)
        ordered = [results[first] for first in sorted(results)]
        value = float(sum(result[0] for result in ordered))
        n_nodes = sum(result[1] for result in ordered)
        gradient = np.sum([result[2] for result in ordered], axis=0)
        return value, n_nodes, gradient, np.sum([result[3] for result in ordered], axis=0)

    def _levels(self) -> Callable[..., tuple[float, int, np.ndarray, np.ndarray]]:
        def part(
            levels: tuple[int, int], lattices: tuple[Lattice, ...]
        ) -> tuple[float, int, np.ndarray, np.ndarray]:
            totals = np.zeros(self.n_all), np.zeros((self.n_all, self.n_all))
            found = new_integral(self.model.sizes[0], self.n_all)
            value, n_nodes = integrate_levels(
                self.rows, self.model.plan.row_start, levels, lattices[0], self.scratch, found,
                self.moments[0], totals,
            )  # fmt: skip
            return value, n_nodes, *totals

        return part

    def _outer_levels(self) -> Callable[..., tuple[float, int, np.ndarray, np.ndarray]]:
        model, n_all = self.model, self.n_all
        plan, (r, q) = model.plan, model.sizes
        outer = OuterRows(
            model.bases[0], model.bases[0] @ self.roots.roots[0], self.predictor,
            model.fixed.shape[1], plan.inner_start, plan.row_start,
        )  # fmt: skip
        widest = int(np.diff(plan.inner_start).max())
        n_scores = widest if len(self.moments[0].with_score) else 0

        def part(
            levels: tuple[int, int], lattices: tuple[Lattice, ...]
        ) -> tuple[float, int, np.ndarray, np.ndarray]:
            totals = np.zeros(n_all), np.zeros((n_all, n_all))
            sums = (
                np.zeros(n_all), np.zeros((n_all, n_all)),
                np.zeros((widest, q + q**2 + q**3)), np.zeros((n_scores, q, n_all)),
            )  # fmt: skip
            found = new_integral(r, n_all), new_integral(q, n_all)
            value, n_nodes = integrate_outer_levels(
                self.rows, outer, levels, lattices, self.scratch, found,
                (self.moments[0], self.moments[1]), (sums, *totals),
            )  # fmt: skip
            return value, n_nodes, *totals

        return part
