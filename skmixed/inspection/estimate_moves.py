"""The table of how far estimates are from the maximum of the likelihood."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from skmixed.fit.collapsed_estimate import jackknife_error
from skmixed.fit.result import FitResult
from skmixed.fitted_model import FittedModel
from skmixed.inspection.attributes import (
    coefficients_of,
    log_sd_errors,
    published,
    published_errors,
)
from skmixed.results.parameter_moves import LikelihoodStep

_COLUMNS = ["estimate", "likelihood", "std_errors", "percent", "mc_error"]


def estimate_moves(model: FittedModel, step: LikelihoodStep | None) -> pd.DataFrame:
    """A row per parameter, the furthest first; empty where the step is not known.

    Parameters
    ----------
    model : FittedModel
    step : LikelihoodStep or None

    Returns
    -------
    DataFrame
        Columns as for ``Diagnosis.moves``. Standard errors are those of the fit; parameters that
        have none have no row.
    """
    if step is None:
        return pd.DataFrame(columns=_COLUMNS, dtype=float)
    names, n_sds, here = _estimates(model)
    errors = _errors(model)
    there = _estimates(replace(model, result=step.result))[2]
    moves = _distance(here, there, errors, n_sds)
    mc_errors = np.zeros(len(here))
    if step.without:
        others = np.array([_after(model, result, errors, n_sds) for result in step.without])
        mc_errors = jackknife_error(others)
    percent = np.full(len(here), np.nan)
    with np.errstate(all="ignore"):
        percent[:n_sds] = 100.0 * (there[:n_sds] / here[:n_sds] - 1.0)
    columns = (here, there, moves, percent, mc_errors)
    table = pd.DataFrame(dict(zip(_COLUMNS, columns, strict=True)), index=names)
    table = table[np.isfinite(table["std_errors"])]
    order = np.argsort(-table["std_errors"].abs().to_numpy(), kind="stable")
    return table.iloc[order]


def furthest(moves: pd.DataFrame) -> str:
    """A sentence with the largest move of a standard deviation and of another parameter.

    Parameters
    ----------
    moves : DataFrame
        Not empty; see `estimate_moves`.
    """
    said = []
    is_sd = moves["percent"].notna()
    for part in (moves[is_sd], moves[~is_sd]):
        if len(part):
            row = part.iloc[0]
            percent = "" if np.isnan(row["percent"]) else f", {row['percent']:+.2g} %"
            said.append(f"{part.index[0]} by {row['std_errors']:+.2g} standard errors{percent}")
    error = float(moves["mc_error"].max())
    known = f" (Monte Carlo error {error:.1g})" if error > 0.0 else ""
    return f"Towards the maximum of the likelihood the furthest moves are {'; '.join(said)}{known}."


def _after(model: FittedModel, result: FitResult, errors: np.ndarray, n_sds: int) -> np.ndarray:
    """Moves (P,) to another result, in standard errors."""
    here, there = _estimates(model)[2], _estimates(replace(model, result=result))[2]
    return _distance(here, there, errors, n_sds)


def _distance(here: np.ndarray, there: np.ndarray, errors: np.ndarray, n_sds: int) -> np.ndarray:
    """Moves (P,) in standard errors, of standard deviations relative to them."""
    moves = there - here
    with np.errstate(all="ignore"):
        moves[:n_sds] /= here[:n_sds]
        return moves / errors


def _estimates(model: FittedModel) -> tuple[list[str], int, np.ndarray]:
    """Names of all parameters, number of standard deviations, and values (P,)."""
    names, values = [], []
    for factor, fitted in zip(model.encoder.factors, model.result.factors, strict=True):
        names += [f"sd({term} | {factor.name})" for term in factor.term_names]
        values.append(np.sqrt(np.diagonal(fitted.covariance)))
    n_sds = len(names)
    for name in published_errors(model):
        value = np.atleast_1d(published(model)[name])
        names += [name] if len(value) == 1 else [f"{name}[{k}]" for k in range(len(value))]
        values.append(value)
    fixed = coefficients_of(model)
    return [*names, *fixed.names], n_sds, np.concatenate([*values, fixed.estimates])


def _errors(model: FittedModel) -> np.ndarray:
    """Their standard errors (P,), of standard deviations those of the logarithms."""
    own = [np.atleast_1d(error) for error in published_errors(model).values()]
    fixed = coefficients_of(model)
    of_fixed = np.sqrt(np.maximum(np.diagonal(fixed.covariance), 0.0))
    return np.concatenate([log_sd_errors(model), *own, of_fixed])
