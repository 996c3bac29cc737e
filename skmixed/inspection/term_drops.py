"""Likelihood-ratio tests of the terms of a model, each left out in turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from skmixed.covariances import STRUCTURES
from skmixed.fitted_model import FittedModel, fitted_model
from skmixed.inspection.answer import Answer
from skmixed.inspection.criteria import elbo_is_bound, information_criteria
from skmixed.inspection.fixed_effects import refuse_variance_prior
from skmixed.inspection.hypotheses import contained_terms, term_columns, term_labels
from skmixed.inspection.refits import Refit
from skmixed.validation import check_choice

KINDS = ("fixed", "random")


def drop_terms(
    model: Any,
    X: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    *,
    kind: str = "fixed",
) -> Answer:
    """Test each term by the likelihood ratio of the models with and without it.

    Parameters
    ----------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        A fitted model.
    X, y, sample_weight : array-like, default=None
        The data of the fit, if the model did not keep them.
    kind : {"fixed", "random"}, default="fixed"
        "fixed": terms of the fixed effects that no other term contains, always by maximum
        likelihood (R's ``drop1``). "random": every random term, by the method of the fit
        (``lmerTest::ranova`` without reduction of slopes).

    Returns
    -------
    answer : Answer
        Prints as text, shows as HTML, and has ``.to_frame()``: one row per term with n_parameters,
        log_likelihood and aic of the model without it, chi_square, df and p_value; for random terms
        also p_corrected.

    Raises
    ------
    ValueError
        If there are no such terms, or the data are missing or not those of the fit.

    Notes
    -----
    Testing a variance against 0 is a test on the boundary, and p_value is too large. For a term
    with one variance, p_corrected is from an equal mixture of 0 and chi-square with one degree of
    freedom (Self and Liang 1987, J. American Statistical Association 82). For other terms it is
    NaN.

    For responses that are not normal the bound replaces the likelihood.

    Examples
    --------
    >>> from skmixed import drop_terms, mixed
    >>> from skmixed.datasets import load_sleepstudy
    >>> model = mixed("Reaction ~ Days + (1 | Subject)", load_sleepstudy().frame)
    >>> drop_terms(model).to_frame().index.tolist()
    ['Days']
    >>> drop_terms(model, kind="random").to_frame().index.tolist()
    ['(1 | Subject)']
    """
    check_choice("kind", kind, KINDS)
    fitted = fitted_model(model)
    refuse_variance_prior(fitted, "drop_terms()")
    data = fitted.training_data(X, y, sample_weight, "drop_terms()")
    refit = Refit.of(fitted, data)
    smaller = _without_fixed(fitted, refit) if kind == "fixed" else _without_random(fitted, refit)
    if not smaller:
        raise ValueError(f"The model has no terms of kind={kind!r} that could be left out.")
    restricted = kind == "random" and fitted.settings.method == "reml"
    full = fitted.elbo
    if kind == "fixed" and fitted.settings.method == "reml":
        full = _log_likelihood(fitted, refit.by_maximum_likelihood())
    n_full = information_criteria(fitted).n_parameters
    rows = [
        _row(full, _log_likelihood(fitted, without), n_full - lost)
        for without, lost in smaller.values()
    ]
    table = pd.DataFrame(rows, index=list(smaller))
    table["df"] = [float(lost) for _, lost in smaller.values()]
    table["p_value"] = chdtrc(table["df"], table["chi_square"])
    if kind == "random":
        alone = (table["df"] == 1.0) & (table["chi_square"] > 0.0)
        table["p_corrected"] = np.where(alone, 0.5 * table["p_value"], np.nan)
        table.loc[(table["df"] == 1.0) & ~alone, "p_corrected"] = 1.0
    facts = {
        "Likelihood": "restricted" if restricted else "maximum",
        "Log likelihood of the model": f"{full:.4f}",
    }
    notes = ("The log likelihoods are lower bounds.",) if elbo_is_bound(fitted) else ()
    return Answer("Likelihood-ratio tests of terms", table, facts, notes)


Without = dict[str, tuple[Refit, int]]
"""By term the model without it, and the parameters it loses."""


def _without_fixed(model: FittedModel, refit: Refit) -> Without:
    basis, dropped = model.encoder.fixed, model.result.dropped
    inner = contained_terms(basis)
    out: Without = {}
    parts = zip(term_labels(basis), term_columns(basis), strict=True)
    for number, (label, here) in enumerate(parts):
        columns = np.arange(here.start, here.stop)
        lost = len(np.setdiff1d(columns, dropped))
        if number not in inner and lost:
            out[label] = refit.by_maximum_likelihood().without_columns(columns), lost
    return out


def _without_random(model: FittedModel, refit: Refit) -> Without:
    out: Without = {}
    for position, factor in enumerate(model.encoder.factors):
        begin = 0
        for basis in factor.bases:
            effects = range(begin, begin + len(basis.names))
            begin = effects.stop
            parts = ["1"] * basis.intercept + [basis.label(term) for term in basis.terms]
            written = " + ".join(parts if basis.intercept else ["0", *parts])
            blocks = zip(factor.blocks, factor.block_structures, strict=True)
            lost = sum(
                STRUCTURES[structure](stop - first).n_parameters
                for (first, stop), structure in blocks
                if first in effects
            )
            out[f"({written} | {factor.name})"] = refit.without_effects(position, effects), lost
    return out


def _log_likelihood(model: FittedModel, refit: Refit) -> float:
    return float(refit.fit().elbo + model.response.log_coefficients)


def _row(full: float, log_likelihood: float, n_parameters: int) -> dict[str, float]:
    return {
        "n_parameters": float(n_parameters),
        "log_likelihood": log_likelihood,
        "aic": -2.0 * log_likelihood + 2.0 * n_parameters,
        "chi_square": max(2.0 * (full - log_likelihood), 0.0),
    }
