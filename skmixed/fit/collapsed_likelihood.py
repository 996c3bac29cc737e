"""The likelihood given the effects of the tail: eliminated levels are integrated by quadrature.

Given the effects of all other factors the levels of the eliminated one are independent, and each
is an integral over its own few effects. What remains is an integral over the tail alone, far
nearer to normal than the whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from queue import SimpleQueue
from typing import Any

import numpy as np

from skmixed._kernels.level_integrals import Lattice, LevelRows
from skmixed._kernels.level_scores import (
    LevelSlopes,
    SlopeScratch,
    add_level_slopes,
    integrate_all_slopes,
)
from skmixed._kernels.row_effects import add_effects
from skmixed.families.base import Likelihood, ResponseRows
from skmixed.families.density import RowDensity
from skmixed.fit.marginal_likelihood import lattice_memory, lattice_of
from skmixed.fit.quadrature_plan import FactorPart, root_derivatives
from skmixed.fit.sites import Responses
from skmixed.posteriors.prior import EffectsPrior
from skmixed.threads import run_parts

_DIGITS = 0.6
"""Digits of the quadrature, relative to integrals without Monte Carlo error: an error of 1e-7 per
level is left."""


@dataclass(frozen=True)
class GivenTail:
    """Log likelihoods of all rows at several values of the tail, and derivatives.

    Attributes
    ----------
    values : ndarray (S,)
    tail : ndarray (S, N)
        Derivatives by the whitened effects of the tail, and by the coefficients where they are a
        part of it.
    parameters : ndarray (S, P)
        By (theta, own), and by beta where it is not a part of the tail, the tail held.
    means : ndarray (S, L, q)
        Posterior means of the whitened effects of the eliminated levels.
    covariances : ndarray (S, L, q, q)
    """

    values: np.ndarray
    tail: np.ndarray
    parameters: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


class CollapsedLikelihood:
    """The likelihood of a model whose eliminated levels are integrated out.

    Parameters
    ----------
    responses : Responses
    likelihood : Likelihood
    prior : EffectsPrior
    integrate_fixed : bool
        Whether the coefficients are a part of the tail.
    n_threads : int
    """

    def __init__(
        self,
        responses: Responses,
        likelihood: Likelihood,
        prior: EffectsPrior,
        integrate_fixed: bool,
        n_threads: int,
    ) -> None:
        self.responses, self.likelihood, self.prior = responses, likelihood, prior
        self.integrate_fixed, self.n_threads = integrate_fixed, n_threads
        rows = responses.rows
        self.cross = rows.arrangement
        assert self.cross.eliminated is not None
        self.eliminated = self.cross.eliminated
        self.bases = [rows.basis(f) for f in range(len(rows.factors))]
        counts = np.bincount(
            rows.codes[self.eliminated.position], minlength=self.eliminated.n_levels
        )
        self.row_start = np.concatenate([[0], np.cumsum(counts)])
        self._centres: dict[int, np.ndarray] = {}

    @property
    def n_fixed(self) -> int:
        """Number of coefficients."""
        return self.responses.rows.fixed.shape[1]

    @property
    def n_tail(self) -> int:
        """Effects of the tail, and coefficients where they are a part of it."""
        return self.cross.n_tail + (self.n_fixed if self.integrate_fixed else 0)

    @property
    def n_own(self) -> int:
        """Number of the likelihood's own parameters."""
        return len(self.likelihood.start_parameters(self.responses.as_family_rows()))

    def at(self, parameters: np.ndarray, tails: np.ndarray) -> GivenTail:
        """Log likelihoods with their derivatives at values of the tail (S, N).

        Parameters
        ----------
        parameters : ndarray (P,)
            (theta, own), and beta where it is not a part of the tail.
        tails : ndarray (S, N)
        """
        return _Pass(self, parameters, tails).run()

    def centres(self, number: int) -> np.ndarray:
        """Where the modes of the levels are looked for in one of the draws, (L, q)."""
        if number not in self._centres:
            shape = self.eliminated.n_levels, self.eliminated.n_effects
            self._centres[number] = np.zeros(shape)
        return self._centres[number]

    @cached_property
    def _free(self) -> SimpleQueue[tuple[Any, ...]]:
        """Memory of one pass over all rows, for one thread each; made where none is free."""
        return SimpleQueue()

    @contextmanager
    def memory(self, pole: float) -> Iterator[tuple[Lattice, SlopeScratch]]:
        """Nodes, and numbers of rows, which no other thread has."""
        n, q = self.responses.rows.n_rows, self.eliminated.n_effects
        if self._free.empty():
            scratch = SlopeScratch(np.zeros((2, n)), np.zeros((3, n)), np.zeros(n), np.zeros(n))
            kept = lattice_memory(q - 1), scratch
        else:
            kept = self._free.get()
        yield lattice_of(q - 1, pole, _DIGITS, kept[0]), kept[1]
        self._free.put(kept)


class _Pass:
    """One evaluation: arrays for the kernels, and results by draw."""

    def __init__(
        self, model: CollapsedLikelihood, parameters: np.ndarray, tails: np.ndarray
    ) -> None:
        self.model, self.tails = model, tails
        responses, m = model.responses, model.prior.n_parameters
        n_held = 0 if model.integrate_fixed else model.n_fixed
        theta, own = parameters[:m], parameters[m : len(parameters) - n_held]
        self.beta = parameters[len(parameters) - n_held :]
        rows = ResponseRows(responses.y, responses.weights, model.n_threads)
        density = model.likelihood.density(rows, own)
        assert density is not None
        self.density: RowDensity = density
        factors = model.cross.factors
        parts = tuple(FactorPart(factor.position, 1) for factor in factors)
        self.roots = root_derivatives(model.prior, parts, theta)
        root = self.roots.roots[model.eliminated.position]
        basis = model.bases[model.eliminated.position]
        nothing = np.zeros((len(basis), 0))
        self.rows = LevelRows(
            density.kind, density.y, responses.weights, density.low, density.high,
            np.ascontiguousarray(density.natural, dtype=np.int64), nothing, basis, basis @ root,
            np.zeros(len(basis)), len(density.jacobian),
        )  # fmt: skip
        n, shape = len(tails), (model.eliminated.n_levels, model.eliminated.n_effects)
        self.found = GivenTail(
            np.zeros(n), np.zeros_like(tails), np.zeros((n, len(parameters))),
            np.zeros((n, *shape)), np.zeros((n, *shape, shape[1])),
        )  # fmt: skip

    def run(self) -> GivenTail:
        model = self.model

        def work(first: int, last: int) -> None:
            for number in range(first, last):
                with model.memory(self.density.pole) as (lattice, scratch):
                    self._draw(number, lattice, scratch)

        run_parts(work, range(len(self.tails) + 1), model.n_threads)
        return self.found

    def _predictor(self, number: int) -> np.ndarray:
        """Predictors of the rows without the eliminated levels."""
        model, tail = self.model, self.tails[number]
        rows = model.responses.rows
        beta = tail[model.cross.n_tail :] if model.integrate_fixed else self.beta
        out = rows.fixed @ beta + model.responses.offset
        for factor in model.cross.tail_factors:
            f = factor.position
            effects = self._effects(number, factor) @ self.roots.roots[f].T
            add_effects(rows.codes[f], model.bases[f], effects, out)
        return out

    def _effects(self, number: int, factor: Any) -> np.ndarray:
        """Whitened effects (L, q) of a factor of the tail."""
        return self.tails[number, factor.columns].reshape(factor.n_levels, factor.n_effects)

    def _draw(self, number: int, lattice: Lattice, scratch: SlopeScratch) -> None:
        """Fill the results of one draw."""
        model, found, density = self.model, self.found, self.density
        rows = model.responses.rows
        q = model.eliminated.n_effects
        levels = LevelSlopes(
            found.means[number], found.covariances[number], np.zeros((q, q)),
            np.zeros(len(density.jacobian)),
        )  # fmt: skip
        value = integrate_all_slopes(
            self.rows._replace(predictor=self._predictor(number)), model.row_start,
            model.centres(number), lattice, scratch, levels,
        )  # fmt: skip
        found.values[number] = value + density.constant
        slopes = scratch.mean
        by_root = [np.zeros((0, 0))] * len(model.cross.factors)
        by_root[model.eliminated.position] = levels.root
        for factor in model.cross.tail_factors:
            f = factor.position
            by_effect = np.zeros((factor.n_levels, factor.n_effects))
            add_level_slopes(rows.codes[f], model.bases[f], slopes, by_effect)
            by_root[f] = by_effect.T @ self._effects(number, factor)
            found.tail[number, factor.columns] = (by_effect @ self.roots.roots[f]).ravel()
        by_beta = rows.fixed.T @ slopes
        m, k = self.roots.first.shape[1], density.jacobian.shape[1]
        of_theta = np.concatenate([part.ravel() for part in by_root]) @ self.roots.first
        of_own = (levels.natural + density.gradient) @ density.jacobian
        found.parameters[number, :m] = of_theta
        found.parameters[number, m : m + k] = of_own
        if model.integrate_fixed:
            found.tail[number, model.cross.n_tail :] = by_beta
        else:
            found.parameters[number, m + k :] = by_beta
