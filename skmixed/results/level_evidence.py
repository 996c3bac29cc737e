"""The levels of the eliminated factor given the rest: integrals, moments and weights.

Given the tail and the fixed effects a level's whitened effects b, with u = T b and
b ~ N(0, I), have covariance (I + T' D_l T)^-1 under the working posterior. Centred and
scaled by it, Gauss-Hermite rules solve the integral of likelihood times prior to many
digits (Liu and Pierce 1994, Biometrika 81; Pinheiro and Bates 1995, J. Comput. Graph.
Stat. 4).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import logsumexp, ndtri
from scipy.stats import qmc

from skmixed.families.base import ResponseRows
from skmixed.fit.sites import VariationalPoint
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.solvers.eliminated_levels import EliminatedLevels, times_levels
from skmixed.sums.cross_products import FactorLayout

_ROWS_AT_A_TIME = 1 << 17
"""Predictors that a family is called with at a time, and nodes times rows of a step."""

_NODES = (3, 5, 7, 9, 13, 19, 27)
"""Gauss-Hermite nodes an effect, tried in turn until a finer rule changes nothing."""

_MOST_NODES = 750
"""Nodes of a level above which no product rule is used."""

_RESOLVED = 1e-3
"""Change of the log likelihood below which a rule is fine enough."""

_LEAST_SCALE = 1e-7
"""Least diagonal of T of a block of several effects: as in the ELBO of `MeanFieldPosterior`."""


def whitened_means(point: VariationalPoint, factor: FactorLayout) -> np.ndarray:
    """Posterior means T' Z' V^-1 (y - X beta) of the whitened effects, (L, Q)."""
    system = point.system
    return system.residual_products[factor.position] @ system.scales[factor.position].matrix


def independent_roots(point: VariationalPoint, factor: FactorLayout) -> np.ndarray:
    """Roots (L, Q, Q) of the whitened covariance of effects that are independent as they are.

    An effect's variance is 1 / (d + (Omega^-1)_jj), as `MeanFieldPosterior` has it.
    """
    scale = point.system.scales[factor.position].matrix.copy()
    diagonal = np.diagonal(scale)
    np.fill_diagonal(scale, np.maximum(np.abs(diagonal), _LEAST_SCALE))
    inverse = np.linalg.inv(scale)
    precisions = point.system.cross.effect_precisions(factor) + (inverse**2).sum(axis=0)
    return inverse / np.sqrt(precisions)[:, None, :]


@dataclass(frozen=True)
class Rule:
    """Nodes (R, Q) of standard normals, and the logarithms (R,) of their shares."""

    nodes: np.ndarray
    log_shares: np.ndarray

    @classmethod
    def product(cls, n_nodes: int, n_effects: int) -> Rule:
        """The Gauss-Hermite rule in every effect."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(n_nodes)
        grids = np.meshgrid(*[nodes] * n_effects, indexing="ij")
        shares = np.meshgrid(*[np.log(weights / weights.sum())] * n_effects, indexing="ij")
        return cls(
            np.column_stack([grid.ravel() for grid in grids]),
            np.sum([share.ravel() for share in shares], axis=0),
        )

    @classmethod
    def scattered(cls, n_nodes: int, n_effects: int, rng: np.random.Generator) -> Rule:
        """Quasi-random normals, for more effects than a product rule can have."""
        points = qmc.Sobol(n_effects, rng=rng).random(n_nodes)
        nodes = ndtri(np.clip(points, 1e-12, 1.0 - 1e-12))
        return cls(nodes, np.full(n_nodes, -np.log(n_nodes)))


class Levels:
    """The eliminated levels given the rest; without random effects, the rows alone.

    Parameters
    ----------
    objective : VariationalObjective
    point : VariationalPoint
    """

    def __init__(self, objective: VariationalObjective, point: VariationalPoint) -> None:
        self.responses = objective.responses
        self.likelihood = objective.likelihood
        self.own = objective.split(point.theta)[1]
        self.n_threads = objective.n_threads
        self.point = point
        self.cross = point.system.cross
        self.n_tail_vector = self.cross.n_tail + self.cross.n_fixed + 1
        if self.cross.eliminated is not None:
            self._prepare(self.cross.eliminated)

    def _prepare(self, factor: FactorLayout) -> None:
        """Conditional covariances (I + T' D_l T)^-1 and what they mean for the rows."""
        rows, own = self.responses.rows, self.cross.own
        self.scale = self.point.system.scales[factor.position].matrix
        self.shrink = EliminatedLevels.of(own, self.scale).shrink
        self.means = whitened_means(self.point, factor)
        lower = np.linalg.cholesky(np.eye(factor.n_effects) + self.scale.T @ own @ self.scale)
        self.roots = np.linalg.inv(lower).transpose(0, 2, 1)
        self.codes = rows.codes[factor.position]
        counts = np.bincount(self.codes, minlength=factor.n_levels)
        self.row_start = np.concatenate([[0], np.cumsum(counts)])
        basis = rows.bases[factor.position]
        # what multiplies the whitened effects
        self.loadings = (np.ones((rows.n_rows, 1)) if basis is None else basis) @ self.scale

    def conditional_shifts(self, shifts: np.ndarray) -> np.ndarray:
        """Shifts (L, Q, m) of the whitened conditional means for shifts of tail vectors (N, m)."""
        if self.cross.eliminated is None:
            return np.zeros((0, 1, shifts.shape[1]))
        gathered = times_levels(self.shrink, self.cross.gather(shifts))
        return -np.matmul(self.scale.T, gathered)

    def _predictor(self, shift: np.ndarray) -> np.ndarray:
        """The linear predictor (n,) without the eliminated factor, at a shift of the rest (N,)."""
        system, cross = self.point.system, self.cross
        effects = list(system.random_effects)
        for factor in cross.tail_factors:
            part = shift[factor.columns].reshape(factor.n_levels, factor.n_effects)
            effects[factor.position] = effects[factor.position] + part
        if cross.eliminated is not None:
            own = cross.eliminated.position
            effects[own] = np.zeros_like(effects[own])
        fixed = system.fixed_effects + shift[cross.n_tail : -1]
        return self.responses.rows.predictor(fixed, effects) + self.responses.offset

    def _log_densities(self, predictors: np.ndarray) -> np.ndarray:
        """Weighted log p(y | eta) of all rows at several predictors, (m, n)."""
        y = np.tile(self.responses.y, len(predictors))
        flat = predictors.ravel()
        with np.errstate(over="ignore"):
            terms = self.likelihood.row_terms(
                ResponseRows(y, n_threads=self.n_threads), flat, np.zeros_like(flat), self.own
            )
        return self.responses.weights * terms.value.reshape(predictors.shape)

    def _log_weights(
        self, base: np.ndarray, centres: np.ndarray, roots: np.ndarray, normals: np.ndarray
    ) -> np.ndarray:
        """Log of likelihood times prior over the density of effects, (m, L).

        Parameters
        ----------
        base : ndarray (n,)
            Predictors without the levels.
        centres, roots : ndarray (L, Q) and (L, Q, Q)
            The effects are N(centre, root root').
        normals : ndarray (m, L, Q) or (m, 1, Q)
            What they are made of.
        """
        out = np.empty((len(normals), len(centres)))
        filled = np.flatnonzero(np.diff(self.row_start))
        step = max(_ROWS_AT_A_TIME // len(base), 1)
        for begin in range(0, len(normals), step):
            part = normals[begin : begin + step]
            here = out[begin : begin + step]
            effects = centres + np.matmul(roots, part[..., None])[..., 0]
            here[:] = 0.5 * ((part**2).sum(axis=2) - (effects**2).sum(axis=2))
            predictors = base + np.einsum("nq,mnq->mn", self.loadings, effects[:, self.codes])
            densities = self._log_densities(predictors)
            here[:, filled] += np.add.reduceat(densities, self.row_start[filled], axis=1)
        return out + np.linalg.slogdet(roots)[1]

    def log_integral(self, shift: np.ndarray, rule: Rule, given: np.ndarray) -> float:
        """Log likelihood of all rows at a shift of the rest (N,), the levels integrated out.

        `given` (L, Q) are the shifts of the levels' conditional means.
        """
        base = self._predictor(shift)
        if self.cross.eliminated is None:
            return float(self._log_densities(base[None]).sum())
        found = self._log_weights(base, self.means + given, self.roots, rule.nodes[:, None])
        return float(logsumexp(found + rule.log_shares[:, None], axis=0).sum())

    def log_weight(
        self, shift: np.ndarray, given: np.ndarray, independent: bool, rng: np.random.Generator
    ) -> float:
        """Log weight of a draw of all levels from the posterior, at a shift of the rest (N,)."""
        base = self._predictor(shift)
        factor = self.cross.eliminated
        if factor is None:
            return float(self._log_densities(base[None]).sum())
        normals = rng.standard_normal((1, factor.n_levels, factor.n_effects))
        if independent:
            roots = independent_roots(self.point, factor)
            return float(self._log_weights(base, self.means, roots, normals).sum())
        return float(self._log_weights(base, self.means + given, self.roots, normals).sum())

    def choose_rule(self, rng: np.random.Generator) -> tuple[Rule, float]:
        """The smallest rule that a finer one agrees with, and by how much they differ."""
        if self.cross.eliminated is None:
            return Rule.product(1, 1), 0.0
        n_effects = self.scale.shape[0]
        rules = [Rule.product(n, n_effects) for n in _NODES if n**n_effects <= _MOST_NODES]
        if len(rules) < 3:
            rules = [Rule.scattered(256, n_effects, rng), Rule.scattered(512, n_effects, rng)]
        nothing = np.zeros(self.n_tail_vector), np.zeros_like(self.means)
        before = self.log_integral(nothing[0], rules[0], nothing[1])
        error = np.inf
        for coarse, fine in pairwise(rules):
            found = self.log_integral(nothing[0], fine, nothing[1])
            error = abs(found - before)
            if error < _RESOLVED:
                return coarse, error
            before = found
        return rules[-1], error

    def deviations(self, rule: Rule, independent: bool) -> tuple[np.ndarray, np.ndarray]:
        """Distances of the exact levels from the posterior's, all else at its mean.

        Returns
        -------
        shifts : ndarray (L,)
            Distance of the means, in standard deviations of the posterior.
        ratios : ndarray (L,)
            Exact standard deviation over the posterior's, in the direction where the
            two differ most.
        """
        factor = self.cross.eliminated
        if factor is None:
            return np.empty(0), np.empty(0)
        base = self._predictor(np.zeros(self.n_tail_vector))
        found = self._log_weights(base, self.means, self.roots, rule.nodes[:, None])
        found += rule.log_shares[:, None]
        shares = np.exp(found - logsumexp(found, axis=0))
        means = shares.T @ rule.nodes
        squares = np.einsum("rl,rq,rs->lqs", shares, rule.nodes, rule.nodes)
        covariances = squares - means[:, :, None] * means[:, None, :]
        if independent:
            change = np.linalg.solve(independent_roots(self.point, factor), self.roots)
            means = np.matmul(change, means[:, :, None])[:, :, 0]
            covariances = change @ covariances @ change.transpose(0, 2, 1)
        ratios = np.sqrt(np.maximum(np.linalg.eigvalsh(covariances), 1e-300))
        furthest = np.abs(np.log(ratios)).argmax(axis=1)
        return np.linalg.norm(means, axis=1), ratios[np.arange(len(ratios)), furthest]
