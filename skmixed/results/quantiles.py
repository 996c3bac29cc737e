"""Quantiles of a response whose linear predictor is uncertain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from scipy.special import ndtri

from skmixed.families.base import ResponseLikelihood
from skmixed.families.row_terms import bounded_exp
from skmixed.families.skewed import standard_quantiles
from skmixed.results.quantile_table import Interpolated, Table, interpolated

_REACH = 6.0
"""Standard deviations of the predictor that are integrated over, to either side."""

_NODES = {0.8: 25, 0.4: 41, 0.16: 81, 0.04: 241}
"""Nodes by the width of the distribution given the predictor, relative to that of the predictor,
down to which so many see no steps in it."""

_NODES_OF_TABLES = _NODES | {0.01: 801}
"""The same in tables, which few nodes would bend."""

_OF_COUNTS = Table(mean_step=0.2, log_sd_step=0.1, tolerance=2e-4)
_OF_AMOUNTS = Table(mean_step=2.0, log_sd_step=0.03, tolerance=1e-6)
"""Logarithms of amounts are proportional to the mean where only their scale depends on it."""

_MODERATE = 300.0
"""Largest predictor whose exponential can be squared, and smallest."""

_CHUNK = 8_192
"""Rows worked on at a time: a row takes as many numbers as there are nodes."""

_MOST_STEPS = 100
_SETTLED, _SETTLED_IN_TABLES = 1e-13, 1e-9
"""Change of the logarithm of a quantile that ends its search; in tables, which err by more."""

_LEAST_LOGARITHM = -745.0
"""Of a quantile: its exponential is the least number."""

_LARGEST_SLOPE = 1e4


def predictive_quantiles(
    likelihood: ResponseLikelihood,
    shares: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    parameters: np.ndarray,
    skewness: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Quantiles of new responses for eta of these moments, (n, k) for shares (k,)."""
    if likelihood.is_quadratic:
        # the predictive distribution is normal
        _, std = likelihood.predictive_moments(mean, variance, parameters)
        return mean[:, None] + std[:, None] * ndtri(shares)
    found = (
        mixture_quantiles(likelihood, share, mean, variance, parameters, skewness)
        for share in shares.tolist()
    )
    return np.column_stack(list(found))


def mixture_quantiles(
    likelihood: ResponseLikelihood,
    share: float,
    mean: np.ndarray,
    variance: np.ndarray,
    parameters: np.ndarray,
    skewness: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Smallest response whose probability to be at or below it is at least `share`, (n,).

    The distribution is averaged over eta of this mean, variance and skewness (normal where that
    is 0) by the trapezoidal rule. Where a response hardly varies given eta, its logarithm is
    normal with the variances of both added. For counts the distribution function is continued
    between them, so that its root is a smooth function of the moments; the quantile is the next
    integer. Of many rows most are interpolated (`skmixed.results.quantile_table`).
    """
    mixture = Mixture(likelihood, share, parameters)
    sd, skewness = np.sqrt(variance), np.broadcast_to(skewness, mean.shape)
    # of counts a rough root will do where it is not near an integer
    table = _OF_COUNTS if likelihood.is_discrete else _OF_AMOUNTS
    in_tables = replace(mixture, nodes=_NODES_OF_TABLES, settled=_SETTLED_IN_TABLES)
    roots = interpolated(in_tables.roots, mean, sd, skewness, table)
    if roots is None:
        roots = Interpolated(mixture.roots(mean, sd, skewness), 0.0)
    if not likelihood.is_discrete:
        return bounded_exp(roots.values)
    counts = bounded_exp(roots.values) - 1.0
    out = np.maximum(np.ceil(counts), 0.0)
    # next to an integer the distribution function decides
    slack = (roots.error + 1e-9) * (counts + 1.0)
    near = np.flatnonzero((np.abs(counts - np.rint(counts)) <= slack) & (slack < 0.5))
    if len(near):
        whole = np.maximum(np.rint(counts[near]), 0.0)
        enough = mixture.reaches(whole, mean[near], sd[near], skewness[near])
        out[near] = np.where(enough, whole, whole + 1.0)
    return out


@dataclass(frozen=True)
class Mixture:
    """The distribution of a response for eta of some moments, and its quantile.

    Attributes
    ----------
    likelihood : ResponseLikelihood
    share : float
    parameters : ndarray (k,)
    nodes : dict of {float: int}
        See `_NODES`.
    settled : float
        See `_SETTLED`.
    """

    likelihood: ResponseLikelihood
    share: float
    parameters: np.ndarray
    nodes: dict[float, int] = field(default_factory=lambda: _NODES)
    settled: float = _SETTLED

    def roots(self, mean: np.ndarray, sd: np.ndarray, skewness: np.ndarray) -> np.ndarray:
        """Logarithms of quantiles, of counts those of the continued quantile plus one, (n,)."""
        z = float(ndtri(self.share))
        width, spread = self._widths(mean, sd, skewness)
        scale = np.hypot(sd, np.minimum(spread, 1.0))
        # the third moment is that of eta alone
        share_of_eta = (sd / np.where(scale > 0.0, scale, np.inf)) ** 3
        out = mean + scale * standard_quantiles(z, skewness * share_of_eta)
        if self.likelihood.is_discrete:
            out = np.logaddexp(0.0, out)
        for n_nodes, rows in self._by_width(width):
            for begin in range(0, len(rows), _CHUNK):
                part = rows[begin : begin + _CHUNK]
                nodes = self._nodes(mean[part], sd[part], skewness[part], n_nodes)
                probability = partial(self._probability, *nodes)
                out[part] = _search(probability, self.share, out[part], scale[part], self.settled)
        return out

    def reaches(
        self, y: np.ndarray, mean: np.ndarray, sd: np.ndarray, skewness: np.ndarray
    ) -> np.ndarray:
        """Whether P(response <= y) is at least the share, (n,)."""
        width, _ = self._widths(mean, sd, skewness)
        # where a response hardly varies given eta the next integer is as good as any
        out = np.ones(len(y), bool)
        for n_nodes, rows in self._by_width(width):
            for begin in range(0, len(rows), _CHUNK):
                part = rows[begin : begin + _CHUNK]
                every, log_y = np.arange(len(part)), np.log1p(y[part])
                nodes = self._nodes(mean[part], sd[part], skewness[part], n_nodes)
                found = self._probability(*nodes, every, log_y)
                out[part] = found >= self.share
        return out

    def _widths(
        self, mean: np.ndarray, sd: np.ndarray, skewness: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Relative deviations given eta, over the deviation of eta, and these themselves."""
        there = mean + sd * standard_quantiles(ndtri(self.share), skewness)
        # relative to its mean a response beyond these bounds varies as it does at them
        there = np.clip(there, -_MODERATE, _MODERATE)
        expected, noise = self.likelihood.predictive_moments(
            there, np.zeros_like(there), self.parameters
        )
        with np.errstate(all="ignore"):
            # relative deviations are deviations of the logarithm
            spread = noise / expected
            return np.where(sd > 0.0, spread / sd, np.inf), spread

    def _by_width(self, width: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Rows that need a number of nodes; those of hardly any width are left out."""
        parts, upper = [], np.inf
        for lower, n_nodes in self.nodes.items():
            rows = np.flatnonzero((width >= lower) & ((width < upper) | (upper == np.inf)))
            parts.append((n_nodes, rows))
            upper = lower
        return parts

    def _nodes(
        self, mean: np.ndarray, sd: np.ndarray, skewness: np.ndarray, n_nodes: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predictors (n, k) to average over, and their weights (k,)."""
        z = np.linspace(-_REACH, _REACH, n_nodes)
        weights = np.exp(-0.5 * z**2)
        standard = standard_quantiles(z, skewness[:, None])
        return mean[:, None] + sd[:, None] * standard, weights / weights.sum()

    def _probability(
        self, predictors: np.ndarray, weights: np.ndarray, rows: np.ndarray, log_y: np.ndarray
    ) -> np.ndarray:
        """P(response <= y) of some rows for logarithms of y, of counts of y + 1, continued."""
        y = bounded_exp(log_y) - float(self.likelihood.is_discrete)
        there = self.likelihood.smooth_cdf(y[:, None], predictors[rows], self.parameters)
        return there @ weights


def _search(
    probability: Callable[[np.ndarray, np.ndarray], np.ndarray],
    share: float,
    start: np.ndarray,
    scale: np.ndarray,
    settled: float,
) -> np.ndarray:
    """Where a probability, of rows by number, reaches the share: secants within bisected bounds.

    In units in which a normal distribution has a straight line, that of a response is nearly one.
    """
    target = ndtri(share)
    here, slope = start.copy(), scale + 1e-3
    low, high = np.full(len(start), -np.inf), np.full(len(start), np.inf)
    before, value_before = np.full(len(start), np.nan), np.full(len(start), np.nan)
    active = np.arange(len(start))
    for step in range(_MOST_STEPS):
        at = here[active]
        found = probability(active, at)
        enough = found >= share
        high[active] = np.where(enough, at, high[active])
        low[active] = np.where(enough, low[active], at)
        with np.errstate(all="ignore"):
            value = ndtri(found) - target
            secant = (at - before[active]) / (value - value_before[active])
            secant = np.where(np.isfinite(secant) & (secant > 0.0), secant, slope[active])
            ahead = at - np.minimum(secant, _LARGEST_SLOPE) * value
        slope[active], before[active], value_before[active] = secant, at, value
        least, most = low[active], high[active]
        bounded = np.isfinite(least) & np.isfinite(most)
        far = at + np.where(enough, -2.0, 2.0) * (1.0 + scale[active])
        # a quarter of the steps halve the bounds, should secants stay on one side
        halve = bounded & (step % 4 == 3) & (most - least > 0.1 * scale[active])
        usable = np.isfinite(ahead) & (ahead > least) & (ahead < most) & ~halve
        with np.errstate(invalid="ignore"):
            following = np.where(usable, ahead, np.where(bounded, 0.5 * (least + most), far))
        following = np.maximum(following, _LEAST_LOGARITHM)
        here[active] = following
        tolerance = settled * (1.0 + np.abs(at))
        with np.errstate(invalid="ignore"):
            done = (np.abs(following - at) <= tolerance) | (most - least <= tolerance)
        active = active[~done]
        if not len(active):
            break
    return here
