"""The log likelihood and the posterior of the effects from weighed draws.

With xi the normal numbers of a draw, w is a sum of Hermite polynomials in xi, w_1 + w_2 + ..., of
variances V_1, V_2, ... . For two draws whose numbers have the correlation c the gradients by xi
have the mean product

    h(c) = sum_k k V_k c^(k - 1),        so that  var w = V_1 + V_2 + ... = integral of h over 0..1.

A gradient has as many entries as there are effects, and their products hardly vary from draw to
draw, as squares of w do: the variance is known from few draws. On a circle of eight there are
pairs with c = 1, sqrt(1/2), 0, -sqrt(1/2) and -1, which tell V_1 to V_6 but for V_5 + V_7 + ...
and the like. The gradient also gives posterior means and variances (Stein's identity): with p the
posterior, E_p xi = E_p dw/dxi and E_p xi xi' = I + E_p xi (dw/dxi)'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skmixed.fit.collapsed_likelihood import CollapsedLikelihood
from skmixed.fit.collapsed_objective import Weighing, shares_of
from skmixed.fit.tail_draws import CIRCLE, TailDraws
from skmixed.posteriors import Solved
from skmixed.solvers.direct import DirectSystem


@dataclass(frozen=True)
class WeighedTail:
    """Draws of the tail at the estimates, weighed.

    Attributes
    ----------
    log_weights : ndarray (S,)
    deviations : ndarray (S, N)
        Of draws from their mean.
    gradients : ndarray (S, N)
        Derivatives of the log weights by the normal numbers.
    pulls : ndarray (S, N)
        The root of the covariance of the draws times these.
    level_means : ndarray (S, L, q)
        Of the whitened effects of the eliminated levels.
    level_covariances : ndarray (S, L, q, q)
    """

    log_weights: np.ndarray
    deviations: np.ndarray
    gradients: np.ndarray
    pulls: np.ndarray
    level_means: np.ndarray
    level_covariances: np.ndarray

    @classmethod
    def of(cls, draws: TailDraws, found: Weighing) -> WeighedTail:
        """From a weighing at the base of the draws."""
        gradients = draws.by_normals(found.tail) + draws.normals
        return cls(
            found.log_weights, found.tails - draws.centre, gradients,
            draws.from_normals(gradients), found.given.means, found.given.covariances,
        )  # fmt: skip

    @classmethod
    def joined(cls, parts: Sequence[WeighedTail]) -> WeighedTail:
        """All draws of several sets."""
        names = cls.__dataclass_fields__
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @property
    def shares(self) -> np.ndarray:
        """See `shares_of`."""
        return shares_of(self.log_weights)

    def only(self, kept: np.ndarray) -> WeighedTail:
        """Some of the draws, by their numbers."""
        return WeighedTail(*(getattr(self, name)[kept] for name in self.__dataclass_fields__))

    def log_likelihood(self) -> tuple[float, float]:
        """The log likelihood, and its Monte Carlo standard error by leaving circles out."""
        n = len(self.log_weights) // CIRCLE
        products = self.gradients @ self.gradients.T
        weights = self.log_weights.reshape(n, CIRCLE)
        blocks = products.reshape(n, CIRCLE, n, CIRCLE).transpose(0, 2, 1, 3)
        value = _log_likelihood(weights, blocks)
        others = [np.delete(np.arange(n), k) for k in range(n)]
        without = np.array([_log_likelihood(weights[o], blocks[np.ix_(o, o)]) for o in others])
        return value, float(jackknife_error(without))


def jackknife_error(without: np.ndarray) -> np.ndarray:
    """Standard errors (...) of estimates, given those (n, ...) without one of n parts each."""
    n = len(without)
    return np.asarray(np.sqrt((n - 1.0) / n * ((without - without.mean(axis=0)) ** 2).sum(axis=0)))


def _log_likelihood(weights: np.ndarray, blocks: np.ndarray) -> float:
    """The sum of the first four cumulants of the log weights over factorials.

    Parameters
    ----------
    weights : ndarray (n, 8)
        Log weights by circle.
    blocks : ndarray (n, n, 8, 8)
        Products of gradients.
    """
    third, fourth = _further_cumulants(weights, blocks)
    return float(weights.mean() + 0.5 * _variance(blocks) + third / 6.0 + fourth / 24.0)


def _further_cumulants(weights: np.ndarray, blocks: np.ndarray) -> tuple[float, float]:
    """The third and the fourth cumulant of the log weights.

    With G the product of the gradient of w with that of sum_k w_k / k, they are 2 cov(w, G) and
    3 cov(w^2, G) (Nourdin and Peccati 2010, Journal of Functional Analysis 258, theorem 4.3). The
    odd part of w, which points across a circle tell, is nearly w_3 and the even one w_4.
    """
    n, half = len(weights), CIRCLE // 2
    own = blocks[np.arange(n), np.arange(n)]
    here = np.arange(half)
    one, other = own[:, here, here], own[:, here + half, here + half]
    across = own[:, here, here + half]
    odd, even, both = one + other + 2.0 * across, one + other - 2.0 * across, one - other
    same, turned = (odd / 3.0 + even / 4.0) / 4.0, both * (7.0 / 48.0)
    products = np.concatenate([same + turned, same - turned], axis=1)
    products -= products.mean()
    deviations = weights - weights.mean()
    third = 2.0 * (deviations * products).mean()
    return float(third), float(3.0 * (deviations**2 * products).mean())


def _variance(blocks: np.ndarray) -> float:
    """The variance of the log weights by the integral of h: see the top of the file."""
    n = len(blocks)
    turns = np.subtract.outer(np.arange(CIRCLE), np.arange(CIRCLE)) % CIRCLE
    same = blocks[np.arange(n), np.arange(n)].mean(axis=0)
    one, near, apart, far, across = (same[turns == k].mean() for k in range(5))
    if n > 1:
        # numbers of different circles are not correlated either
        elsewhere = (blocks.mean(axis=(2, 3)).sum() - np.trace(blocks.mean(axis=(2, 3)))) / n
        apart = (2.0 * apart + CIRCLE * elsewhere) / (2.0 + CIRCLE * (n - 1))
    # h is a + b c^2 + e c^4 in its even part, and d c + f c^3 in its odd one
    at_one, at_half = 0.5 * (one + across) - apart, 0.5 * (near + far) - apart
    b, e = 4.0 * at_half - at_one, 2.0 * at_one - 4.0 * at_half
    odd_one, odd_half = 0.5 * (one - across), np.sqrt(2.0) * 0.5 * (near - far)
    f = 2.0 * (odd_one - odd_half)
    d = odd_one - f
    return float(apart + b / 3.0 + e / 5.0 + d / 2.0 + f / 4.0)


@dataclass(frozen=True)
class EffectMoments:
    """Posterior of the whitened effects of a factor's levels, at given parameters.

    Attributes
    ----------
    means : ndarray (L, q)
    covariance_changes : ndarray (L, q, q)
        Covariances, less those of the normal that draws are from.
    """

    means: np.ndarray
    covariance_changes: np.ndarray


def tail_moments(found: WeighedTail, centre: np.ndarray, columns: slice, q: int) -> EffectMoments:
    """The posterior of a part of the tail.

    Parameters
    ----------
    found : WeighedTail
    centre : ndarray (N,)
        Mean of the draws.
    columns : slice
        Of a factor of q effects per level, or of the coefficients as one level.
    q : int
    """
    shares = found.shares
    shift = (shares @ found.pulls[:, columns]).reshape(-1, q)
    deviations = found.deviations[:, columns].reshape(len(shares), -1, q)
    pulls = found.pulls[:, columns].reshape(len(shares), -1, q)
    return EffectMoments(
        centre[columns].reshape(-1, q) + shift, _changes(shares, deviations, pulls, shift)
    )


def _changes(
    shares: np.ndarray, deviations: np.ndarray, pulls: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """E_p of deviations times pulls (L, q, q), made symmetric, less the shift squared."""
    across = np.einsum("s,sla,slb->lab", shares, deviations, pulls)
    across = 0.5 * (across + across.transpose(0, 2, 1))
    return across - shift[:, :, None] * shift[:, None, :]


def level_moments(model: CollapsedLikelihood, found: WeighedTail, solved: Solved) -> EffectMoments:
    """The posterior of the eliminated levels.

    Their means given the tail are linear in it but for a rest. Means and covariances of the
    linear part are known as the tail's are; the rest is an average over the draws.

    Parameters
    ----------
    model : CollapsedLikelihood
    found : WeighedTail
    solved : Solved
        The working model at the estimates.
    """
    system = solved.system.exact
    assert isinstance(system, DirectSystem)
    scale = system.scales[model.eliminated.position].matrix
    shares = found.shares
    linear = _through_levels(model, system, found.deviations)
    pulls = _through_levels(model, system, found.pulls)
    rest = found.level_means - linear
    shift = np.einsum("s,slq->lq", shares, pulls)
    mean_rest = np.einsum("s,slq->lq", shares, rest)
    centred = rest - mean_rest
    given = np.einsum("s,slab->lab", shares, found.level_covariances)
    given -= np.linalg.inv(np.eye(len(scale)) + scale.T @ system.cross.own @ scale)
    both = np.einsum("s,sla,slb->lab", shares, linear - shift, centred)
    changes = given + both + both.transpose(0, 2, 1)
    changes += np.einsum("s,sla,slb->lab", shares, centred, centred)
    changes += _changes(shares, linear, pulls, shift)
    return EffectMoments(mean_rest + shift, changes)


def _through_levels(
    model: CollapsedLikelihood, system: DirectSystem, vectors: np.ndarray
) -> np.ndarray:
    """Changes (S, L, q) of the whitened means of the levels with deviations (S, N) of the tail."""
    cross = system.cross
    columns = np.zeros((cross.size, len(vectors)))
    columns[: vectors.shape[1]] = vectors.T
    moved = -system.gather(system.apply_scale(columns))
    scale = system.scales[model.eliminated.position].matrix
    return np.einsum("ab,las->slb", scale, moved)
