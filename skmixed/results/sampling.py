"""Quality of a Gaussian posterior by importance sampling of its draws.

Weights of thousands of effects at once are hopeless, but most effects need none:
given the *rest* (the effects of the tail, and the fixed effects where they are
integrated out) the levels of the eliminated factor are independent, and each is an
integral over its own few effects (`skmixed.results.level_evidence`). Draws of the rest from
the posterior q have weights

    log w = log prior(rest) - log q(rest) + sum_levels log integral,

whose average is the likelihood. Effects are whitened, u = T b with b ~ N(0, I), so
that a variance of zero is no special case.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import solve_triangular

from skmixed.fit.sites import VariationalPoint
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.results.importance import smooth_weights
from skmixed.results.level_evidence import Levels, independent_roots, whitened_means

_REST_AT_A_TIME = 32
"""Draws of the rest whose conditional means are held at a time."""


@dataclass(frozen=True)
class SampledLikelihood:
    """Results of importance sampling.

    Attributes
    ----------
    log_likelihood, std : float
        Of the standardised problem, and its standard error.
    shape, effective_share : float
        Pareto shape of the weights, and effective draws over draws: of the rest, or, where
        there is no factor but the eliminated one, of all effects together.
    mean_shifts, sd_ratios : ndarray (L,)
        How far the exact levels are from the posterior's; see `Levels.deviations`.
    """

    log_likelihood: float
    std: float
    shape: float
    effective_share: float
    mean_shifts: np.ndarray
    sd_ratios: np.ndarray


def sample_likelihood(
    objective: VariationalObjective,
    point: VariationalPoint,
    independent: bool,
    n_draws: int,
    rng: np.random.Generator,
) -> SampledLikelihood:
    """Estimate the log likelihood and judge the posterior by its importance weights.

    The shape of a single level's weights says little: where the posterior is nearly
    right, their logarithm is a small cubic in one normal variable, whose tail looks
    heavy however small it is. Levels are judged by their moments instead.

    Parameters
    ----------
    objective : VariationalObjective
    point : VariationalPoint
        The best posterior at its theta; of a direct solver unless `independent`.
    independent : bool
        Whether the posterior is a product over single effects (and the fixed effects).
    n_draws : int
    rng : numpy.random.Generator
    """
    levels = Levels(objective, point)
    rule, error = levels.choose_rule(rng)
    mean_shifts, sd_ratios = levels.deviations(rule, independent)
    make_rest = _independent_rest if independent else _joint_rest
    rest = make_rest(point, objective)
    # without another factor the levels themselves are what the weights should judge
    alone = not point.system.cross.n_tail
    n_integrals = n_draws if rest.size else 1
    log_weights = np.empty(n_integrals)
    together = np.empty(n_draws)
    for begin in range(0, n_draws, _REST_AT_A_TIME):
        shifts, log_ratios = rest.draw(min(_REST_AT_A_TIME, n_draws - begin), rng)
        given = levels.conditional_shifts(shifts)
        for k, log_ratio in enumerate(log_ratios):
            if begin + k < n_integrals:
                found = levels.log_integral(shifts[:, k], rule, given[:, :, k])
                log_weights[begin + k] = log_ratio + found
            if alone:
                found = levels.log_weight(shifts[:, k], given[:, :, k], independent, rng)
                together[begin + k] = log_ratio + found
    judged = smooth_weights(together if alone else log_weights)
    value, std = float(log_weights[0]), 0.0
    if rest.size:
        smoothed = smooth_weights(log_weights)
        value, std = smoothed.log_mean(), smoothed.log_mean_std()
    return SampledLikelihood(
        value,
        float(np.hypot(std, error)),
        judged.shape,
        judged.effective_share(),
        mean_shifts,
        sd_ratios,
    )


def judge_levels(
    objective: VariationalObjective,
    point: VariationalPoint,
    independent: bool,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """`mean_shifts` and `sd_ratios` of `SampledLikelihood`, without draws."""
    levels = Levels(objective, point)
    return levels.deviations(levels.choose_rule(rng)[0], independent)


@dataclass(frozen=True)
class Rest:
    """Draws of the whitened tail and the fixed effects, as shifts from their means.

    Attributes
    ----------
    point : VariationalPoint
    n_fixed : int
        Fixed effects that are drawn; 0 where they are a point.
    joint : ndarray (r, r) or None
        Upper triangle U with U'U the precision of tail and fixed effects.
    roots : list of ndarray (L, Q, Q)
        Without `joint`: by tail factor, roots of the covariances of levels.
    fixed_root : ndarray (p, p)
        Without `joint`: root of the covariance of the fixed effects.
    """

    point: VariationalPoint
    n_fixed: int
    joint: np.ndarray | None
    roots: list[np.ndarray]
    fixed_root: np.ndarray

    @property
    def size(self) -> int:
        """Number of effects and coefficients drawn."""
        return self.point.system.cross.n_tail + self.n_fixed

    @cached_property
    def _log_root(self) -> float:
        """Log determinant of the root of the covariance."""
        if self.joint is not None:
            return -float(np.log(np.diagonal(self.joint)).sum())
        logs = [np.linalg.slogdet(roots)[1].sum() for roots in self.roots]
        return float(sum(logs) + np.linalg.slogdet(self.fixed_root)[1])

    @cached_property
    def _means(self) -> np.ndarray:
        """Posterior means of the whitened tail effects, (n_tail,)."""
        system = self.point.system
        parts = [whitened_means(self.point, f).ravel() for f in system.cross.tail_factors]
        return np.concatenate([*parts, np.empty(0)])

    def draw(self, n_draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Shifts of tail vectors (T + P + 1, m), and log prior - log q of each draw, (m,)."""
        cross = self.point.system.cross
        signs = rng.standard_normal((self.size, n_draws))
        whitened = self._scaled(signs)
        effects = whitened[: cross.n_tail] + self._means[:, None]
        log_ratios = 0.5 * ((signs**2).sum(axis=0) - (effects**2).sum(axis=0))
        log_ratios += self._log_root + 0.5 * self.n_fixed * np.log(2.0 * np.pi)
        shifts = np.zeros((cross.n_tail + cross.n_fixed + 1, n_draws))
        shifts[: self.size] = whitened
        for factor in cross.tail_factors:
            scale = self.point.system.scales[factor.position]
            shifts[factor.columns] = scale.to_effects(scale.apply(whitened[factor.columns]))
        return shifts, log_ratios

    def _scaled(self, normals: np.ndarray) -> np.ndarray:
        if self.joint is not None:
            return solve_triangular(self.joint, normals)
        out = np.empty_like(normals)
        for factor, roots in zip(self.point.system.cross.tail_factors, self.roots, strict=True):
            part = normals[factor.columns].reshape(factor.n_levels, factor.n_effects, -1)
            out[factor.columns] = np.matmul(roots, part).reshape(factor.size, -1)
        n_tail = self.point.system.cross.n_tail
        out[n_tail:] = self.fixed_root @ normals[n_tail:]
        return out


def _joint_rest(point: VariationalPoint, objective: VariationalObjective) -> Rest:
    """The rest under one Gaussian over all effects."""
    system = point.system.exact
    assert system is not None
    n_fixed = system.cross.n_fixed if objective.integrate_fixed else 0
    return Rest(point, n_fixed, system.precision_root(n_fixed), [], np.empty((0, 0)))


def _independent_rest(point: VariationalPoint, objective: VariationalObjective) -> Rest:
    """The rest under a product over single effects and the fixed effects."""
    cross = point.system.cross
    roots = [independent_roots(point, factor) for factor in cross.tail_factors]
    fixed_root = np.empty((0, 0))
    if objective.integrate_fixed and cross.n_fixed:
        fixed_root = np.linalg.inv(np.linalg.cholesky(cross.fixed_products)).T
    return Rest(point, len(fixed_root), None, roots, fixed_root)
