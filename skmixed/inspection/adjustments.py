"""p-values and limits of several contrasts together; a new adjustment is a line in the registry.

Tukey (1953) and Kramer (1956) for all pairs by the studentized range; Dunnett (1955, J. American
Statistical Association 50) for comparisons with one reference by the exact distribution of the
largest of correlated t variables; Bonferroni and Holm (1979, Scandinavian Journal of
Statistics 6) for any.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri, stdtr, stdtrit
from scipy.stats import chi, multivariate_normal, studentized_range

_NODES = 80
_LARGEST_DF = 1e6
"""Degrees of freedom from which a t variable is taken for normal."""


@dataclass(frozen=True)
class Family:
    """Contrasts that are tested together.

    Attributes
    ----------
    statistics, df : ndarray (k,)
    correlation : ndarray (k, k)
    n_means : int
        How many means are compared.
    """

    statistics: np.ndarray
    df: np.ndarray
    correlation: np.ndarray
    n_means: int

    @property
    def unadjusted(self) -> np.ndarray:
        """Two-sided p-values, (k,)."""
        return two_sided(self.statistics, self.df)


@dataclass(frozen=True)
class Adjustment:
    """How p-values and limits of a family follow from its statistics.

    Attributes
    ----------
    p_values : callable
        Of a `Family`, (k,).
    critical : callable
        Of a `Family` and a level: half the width of limits in standard errors, (k,).
    """

    p_values: Callable[[Family], np.ndarray]
    critical: Callable[[Family, float], np.ndarray]


def two_sided(statistics: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Two-sided p-values of t statistics, of infinite degrees of freedom normal, (k,)."""
    finite = np.minimum(df, 1e300)
    with np.errstate(invalid="ignore"):
        tails = np.where(
            np.isinf(df), ndtr(-np.abs(statistics)), stdtr(finite, -np.abs(statistics))
        )
    return 2.0 * tails


def quantile(probability: np.ndarray | float, df: np.ndarray) -> np.ndarray:
    """Quantiles of t variables, (k,)."""
    return np.where(np.isinf(df), ndtri(probability), stdtrit(np.minimum(df, 1e300), probability))


def _alone(family: Family) -> np.ndarray:
    return family.unadjusted


def _alone_critical(family: Family, level: float) -> np.ndarray:
    return quantile(0.5 + 0.5 * level, family.df)


def _bonferroni(family: Family) -> np.ndarray:
    return np.minimum(family.unadjusted * _count(family), 1.0)


def _bonferroni_critical(family: Family, level: float) -> np.ndarray:
    return quantile(1.0 - 0.5 * (1.0 - level) / _count(family), family.df)


def _holm(family: Family) -> np.ndarray:
    raw = family.unadjusted
    order = np.argsort(np.where(np.isnan(raw), np.inf, raw), kind="stable")
    factors = _count(family) - np.arange(len(raw))
    out = np.empty(len(raw))
    out[order] = np.minimum(np.maximum.accumulate(raw[order] * factors), 1.0)
    return out


def _tukey(family: Family) -> np.ndarray:
    ranges = np.abs(family.statistics) * np.sqrt(2.0)
    return np.array(
        [
            studentized_range.sf(r, family.n_means, min(df, _LARGEST_DF)) if r == r else np.nan
            for r, df in zip(ranges, family.df, strict=True)
        ]
    )


def _tukey_critical(family: Family, level: float) -> np.ndarray:
    points = {
        df: float(studentized_range.ppf(level, family.n_means, min(df, _LARGEST_DF)))
        for df in {*family.df.tolist()}
        if df == df
    }
    return np.array([points.get(df, np.nan) for df in family.df.tolist()]) / np.sqrt(2.0)


def _dunnett(family: Family) -> np.ndarray:
    return np.array(
        [
            1.0 - _largest_below(abs(t), family, df) if t == t else np.nan
            for t, df in zip(family.statistics, family.df, strict=True)
        ]
    )


def _dunnett_critical(family: Family, level: float) -> np.ndarray:
    points: dict[float, float] = {}
    for df in family.df.tolist():
        if df == df and df not in points:
            low, high = (
                float(quantile(0.5 + 0.5 * level, np.array(df))),
                float(quantile(1.0 - 0.5 * (1.0 - level) / _count(family), np.array(df))),
            )
            points[df] = low
            if high > low:
                points[df] = brentq(
                    lambda t, df=df: _largest_below(t, family, df) - level, low, high + 1e-6
                )
    return np.array([points.get(df, np.nan) for df in family.df.tolist()])


def _count(family: Family) -> int:
    return len(family.statistics)


def _largest_below(bound: float, family: Family, df: float) -> float:
    """P(max |T_i| <= bound) for t variables with one denominator."""
    known = ~np.isnan(family.statistics)
    correlation = family.correlation[np.ix_(known, known)]
    loadings = _one_factor(correlation)
    scales, weights = _chi_nodes(df)
    if loadings is None:
        return float(weights @ [_in_box(bound * s, correlation) for s in scales])
    z, of_z = np.polynomial.hermite_e.hermegauss(_NODES)
    of_z = of_z / of_z.sum()
    rest = np.sqrt(np.maximum(1.0 - loadings**2, 1e-14))
    edge = bound * scales[:, None, None]
    centre = loadings * z[None, :, None]
    inside = ndtr((edge - centre) / rest) - ndtr((-edge - centre) / rest)
    return float(weights @ inside.prod(axis=2) @ of_z)


def _chi_nodes(df: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights for the root of a chi-square variable over its degrees of freedom."""
    if df > _LARGEST_DF:
        return np.ones(1), np.ones(1)
    x, w = np.polynomial.legendre.leggauss(2 * _NODES)
    low, high = chi.ppf(1e-14, df) / np.sqrt(df), chi.isf(1e-14, df) / np.sqrt(df)
    scales = 0.5 * (high - low) * x + 0.5 * (high + low)
    weights = chi.pdf(scales * np.sqrt(df), df) * np.sqrt(df) * w * 0.5 * (high - low)
    return scales, weights / weights.sum()


def _one_factor(correlation: np.ndarray) -> np.ndarray | None:
    """Loadings l with correlations l_i l_j, as comparisons with one reference have; or None."""
    k = len(correlation)
    if k == 1:
        return np.zeros(1)
    if k == 2:
        root = np.sqrt(abs(correlation[0, 1]))
        loadings = np.array([root, np.copysign(root, correlation[0, 1])])
    else:
        a, b, c = correlation[0, 1], correlation[0, 2], correlation[1, 2]
        if min(abs(a), abs(b), abs(c)) < 1e-12 or a * b * c < 0.0:
            return None
        first = np.sqrt(a * b / c)
        loadings = np.append(first, correlation[0, 1:] / first)
    product = np.outer(loadings, loadings)
    np.fill_diagonal(product, 1.0)
    fits = np.abs(product - correlation).max() < 1e-6 and np.abs(loadings).max() < 1.0 - 1e-9
    return loadings if fits else None


def _in_box(bound: float, correlation: np.ndarray) -> float:
    """P(all |Z_i| <= bound) for correlated normal variables."""
    edge = np.full(len(correlation), bound)
    law = multivariate_normal(np.zeros(len(edge)), correlation, allow_singular=True, seed=0)
    return float(law.cdf(edge, lower_limit=-edge))


ADJUSTMENTS: dict[str | None, Adjustment] = {
    None: Adjustment(_alone, _alone_critical),
    "tukey": Adjustment(_tukey, _tukey_critical),
    "dunnett": Adjustment(_dunnett, _dunnett_critical),
    "holm": Adjustment(_holm, _bonferroni_critical),
    "bonferroni": Adjustment(_bonferroni, _bonferroni_critical),
}
"""By the value of ``adjust``."""
