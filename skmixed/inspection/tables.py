"""Estimates as data frames, and facts as HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.special import ndtri

from skmixed.fit.result import FactorResult


def effects_frame(labels: pd.Index, terms: Sequence[str], values: np.ndarray) -> pd.DataFrame:
    """Levels x terms; the index carries the labels as the user wrote them."""
    return pd.DataFrame(values, index=labels, columns=list(terms))


def effects_in_rows(
    means: Mapping[str, pd.DataFrame], stds: Mapping[str, pd.DataFrame], level: float
) -> pd.DataFrame:
    """Random effects of all groups, a row per level and term, with normal intervals."""
    half = float(ndtri(0.5 + 0.5 * level))
    parts = []
    for group, frame in means.items():
        labels = frame.index.to_flat_index()
        for term in frame.columns:
            estimate, std = frame[term].to_numpy(), stds[group][term].to_numpy()
            columns = {
                "group": group, "level": labels, "term": term, "estimate": estimate, "std": std,
                "lower": estimate - half * std, "upper": estimate + half * std,
            }  # fmt: skip
            parts.append(pd.DataFrame(columns))
    names = ["group", "level", "term", "estimate", "std", "lower", "upper"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names)


def intervals_of_sds(
    components: pd.DataFrame, log_sds: np.ndarray, errors: np.ndarray, level: float
) -> pd.DataFrame:
    """Standard deviations of effects and noise with intervals about their logarithms."""
    variances = components[components["term_2"].isna()]
    half = float(ndtri(0.5 + 0.5 * level)) * errors
    sds = np.exp(log_sds)
    table = pd.DataFrame(
        {
            "group": variances["group"].tolist()[: len(sds)],
            "term": pd.Series(variances["term_1"].tolist()[: len(sds)], dtype=object),
            "sd": sds,
            "std_error": sds * errors,
            "lower": np.exp(log_sds - half),
            "upper": np.exp(log_sds + half),
        }
    )
    return table


def covariance_frame(terms: Sequence[str], covariance: np.ndarray) -> pd.DataFrame:
    """Terms x terms."""
    return pd.DataFrame(covariance, index=list(terms), columns=list(terms))


def variance_components(
    groups: Sequence[str],
    terms: Sequence[Sequence[str]],
    blocks: Sequence[Sequence[tuple[int, int]]],
    factors: Sequence[FactorResult],
    noise: Sequence[tuple[str | None, float]],
    log_sd_errors: np.ndarray,
) -> pd.DataFrame:
    """One row a variance or covariance, as lme4's ``as.data.frame(VarCorr(fit))``.

    Columns: ``group``, ``term_1``, ``term_2`` (None on a variance), ``variance``
    (or covariance), ``sd`` (NaN on a covariance), ``corr`` (NaN on a variance,
    and where one of the two variances is zero) and ``log_sd_std_error``, from the standard
    errors (s,) of the logarithms of the standard deviations of all factors' effects (NaN on a
    covariance and of the noise). The last rows are the noise, where there is any: its strata and
    variances.
    """
    rows: list[tuple[str, str | None, str | None, float, float, float, float]] = []
    errors = iter(np.asarray(log_sd_errors).tolist())
    for group, names, ranges, factor in zip(groups, terms, blocks, factors, strict=True):
        covariance = factor.covariance
        sds = np.sqrt(np.diagonal(covariance))
        of_terms = [next(errors) for _ in names]
        for begin, stop in ranges:
            for j in range(begin, stop):
                error = of_terms[j]
                rows.append((group, names[j], None, covariance[j, j], sds[j], np.nan, error))
            for j in range(begin, stop):
                for k in range(j + 1, stop):
                    scale = sds[j] * sds[k]
                    corr = covariance[j, k] / scale if scale > 0 else np.nan
                    both = covariance[j, k], np.nan, corr, np.nan
                    rows.append((group, names[j], names[k], *both))
    for stratum, variance in noise:
        of_noise = variance, float(np.sqrt(variance)), np.nan, np.nan
        rows.append(("Residual", stratum, None, *of_noise))
    columns = ["group", "term_1", "term_2", "variance", "sd", "corr", "log_sd_std_error"]
    table = pd.DataFrame(rows, columns=columns)
    for position, name in ((1, "term_1"), (2, "term_2")):
        # a column of text alone would have NaN for None, one of None alone would not
        table[name] = pd.Series([row[position] for row in rows], dtype=object)
    return table
