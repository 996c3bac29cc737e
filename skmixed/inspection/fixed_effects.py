"""The table of fixed effects: estimates, standard errors, intervals and tests."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from skmixed.fitted_model import FittedModel
from skmixed.inspection.attributes import coefficients_of
from skmixed.results.coefficient_tests import CoefficientTests

TESTS = ("z", "t")

DROPPED = "dropped"
"""Note of a coefficient whose column others determine."""

SEPARATED = "separated"
"""Note of a coefficient that grows without bound."""


def fixed_effects_table(
    model: FittedModel,
    level: float,
    test: str | None,
    tests: CoefficientTests | None,
    exponentiate: bool = False,
) -> pd.DataFrame:
    """One row a fixed effect, the intercept first.

    Parameters
    ----------
    model : FittedModel
    level : float
        Probability of the intervals.
    test : {None, "z", "t"}
    tests : CoefficientTests or None
        For "t".
    exponentiate : bool, default=False
        Whether estimates and ends of intervals are exponentials.

    Returns
    -------
    DataFrame
        Columns estimate, std_error, lower, upper and, with a test, statistic and
        p_value, for "t" with df before them. Where columns separate responses or were
        dropped, interval, statistic and p-value are NaN, and a column note says so.
    """
    fixed = coefficients_of(model)
    covariance = fixed.covariance
    df = np.full(len(fixed.estimates), np.inf)
    if tests is not None:
        df = tests.degrees_of_freedom(fixed.from_centred)
        covariance = fixed.from_centred @ tests.covariance @ fixed.from_centred.T
    std_error = np.sqrt(np.maximum(np.diagonal(covariance), 0.0))
    columns = interval_and_test(fixed.estimates, std_error, df, level)
    if test is None:
        columns = {name: columns[name] for name in ("estimate", "std_error", "lower", "upper")}
    elif test == "z":
        del columns["df"]
    table = pd.DataFrame(columns, index=fixed.names)
    names, result = model.encoder.fixed.names, model.result
    table = _with_notes(
        table,
        {
            **{names[j]: DROPPED for j in result.dropped.tolist()},
            **{names[j]: SEPARATED for j in result.doubts.separated},
        },
    )
    if exponentiate:
        ends = ["estimate", "lower", "upper"]
        with np.errstate(over="ignore"):
            table[ends] = np.exp(table[ends])
        table.attrs["exponentiated"] = True
    return table


def interval_and_test(
    estimates: np.ndarray, std_error: np.ndarray, df: np.ndarray, level: float
) -> dict[str, np.ndarray]:
    """Columns estimate, std_error, lower, upper, df, statistic, p_value, each (k,).

    Parameters
    ----------
    estimates, std_error, df : ndarray (k,)
        Infinite degrees of freedom: the normal distribution.
    level : float
        Probability of the intervals.
    """
    half = _quantile(0.5 + 0.5 * level, df) * std_error
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(std_error > 0.0, estimates / std_error, np.nan)
    return {
        "estimate": estimates,
        "std_error": std_error,
        "lower": estimates - half,
        "upper": estimates + half,
        "df": df,
        "statistic": statistic,
        "p_value": 2.0 * _lower_tail(-np.abs(statistic), df),
    }


def _with_notes(table: pd.DataFrame, notes: dict[str, str]) -> pd.DataFrame:
    """The table with no test and no interval of coefficients that have no finite estimate."""
    noted = [name for name in table.index if name in notes]
    if not noted:
        return table
    unknown = [column for column in table if column not in ("estimate", "std_error")]
    table.loc[noted, unknown] = np.nan
    table.loc[[name for name in noted if notes[name] == DROPPED], "std_error"] = np.nan
    return table.assign(note=[notes.get(name, "") for name in table.index])


def why_no_t_test(model: FittedModel, asks: str) -> str:
    """Why the uncertainty of the variances is not defined; empty if it is.

    `asks` is the call that needs it.
    """
    posterior = model.settings.posterior
    if not model.likelihood.is_quadratic:
        return (
            f"{asks} needs a normal response; a {model.likelihood.name} model has no noise "
            "variance to be unsure of. Use test='z'."
        )
    if posterior != "full":
        return (
            f"{asks} needs posterior='full'; the standard errors of {posterior!r} are "
            "known to be too small. Fit with posterior='full', or use test='z'."
        )
    if model.result.interpolates:
        return (
            f"{asks} needs noise, but the effects reproduce the response. Check that "
            "the response is not among the columns of X, and not constant within groups."
        )
    return ""


def refuse_variance_prior(model: FittedModel, asks: str) -> None:
    """Refuse fits whose variances do not maximise the likelihood, in the words of a call."""
    prior = model.settings.variance_prior
    if prior is not None:
        raise ValueError(
            f"{asks} compares maxima of the likelihood, but variance_prior={prior!r} moves the "
            "variances away from the maximum. Refit without it."
        )


def refuse_structures(model: FittedModel, asks: str, instead: str) -> None:
    """Refuse covariances with a structure, and several noise variances, in the words of a call."""
    for factor in model.encoder.factors:
        for structure in factor.block_structures:
            if structure not in ("unstructured", "diagonal"):
                raise ValueError(
                    f"{asks} does not support a covariance structure, but that of "
                    f"{factor.name!r} is {structure!r}. Use {instead}."
                )
    if model.encoder.strata is not None:
        raise ValueError(f"{asks} supports a single noise variance, but dispersion= gives several.")


def _quantile(probability: float, df: np.ndarray) -> np.ndarray:
    """Of Student's t; of the normal distribution where df is infinite or not defined."""
    finite = np.isfinite(df)
    return np.where(
        finite, stdtrit(np.where(finite, df, 1.0), probability), float(ndtri(probability))
    )


def _lower_tail(statistic: np.ndarray, df: np.ndarray) -> np.ndarray:
    """Distribution function of Student's t; of the normal where df is infinite."""
    finite = np.isfinite(df)
    return np.where(finite, stdtr(np.where(finite, df, 1.0), statistic), ndtr(statistic))
