"""Tests of the terms of the fixed effects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from skmixed.fitted_model import FittedModel, TrainingData, fitted_model
from skmixed.inspection.answer import Answer
from skmixed.inspection.coefficient_questions import DDF, CoefficientQuestions
from skmixed.inspection.hypotheses import hypotheses
from skmixed.inspection.linear_functions import as_matrix
from skmixed.results.coefficient_tests import JointTest
from skmixed.validation import check_choice

TYPES = (1, 2, 3)
_JOINT = "hypothesis"


def anova(
    model: Any,
    X: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    *,
    type: int = 3,
    ddf: str = "satterthwaite",
    hypothesis: Any = None,
) -> Answer:
    r"""Test every term of the fixed effects.

    Parameters
    ----------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        A fitted model.
    X, y, sample_weight : array-like, default=None
        The data of the fit, if the model did not keep them (``keep_data=True``; `mixed`
        keeps them).
    type : {1, 2, 3}, default=3
        1: each term after the terms before it. 2: after all terms that do not contain it (a:b
        contains a and b). 3: with equal weights for the levels of all other variables, numeric
        variables at 0, for any coding of the columns.
    ddf : {"satterthwaite", "kenward-roger", "asymptotic"}, default="satterthwaite"
        Denominator degrees of freedom for normal responses [1]_, [2]_. "asymptotic" treats the
        variances as known. Other responses have Wald's chi-square tests.
    hypothesis : array-like of shape (k, n_coefficients), mapping or DataFrame, default=None
        Functions of the coefficients to test jointly against 0, instead of the terms: in the order
        of the intercept and `coef_`, or by name as in ``model.contrast``.

    Returns
    -------
    answer : Answer
        Prints as text, shows as HTML, and has ``.to_frame()``: one row per term with sum_sq,
        mean_sq, num_df, den_df, F and p_value; for responses that are not normal chi_square, num_df
        and p_value.

    Raises
    ------
    ValueError
        If the data are missing or not those of the fit, or a test is not defined for the
        model.

    See Also
    --------
    compare_models : Likelihood-ratio tests between fitted models.

    Notes
    -----
    Sums of squares are F times the noise variance times the numerator degrees of freedom: those of
    a model without random effects with the same F.

    References
    ----------
    .. [1] Kuznetsova, Brockhoff and Christensen (2017), "lmerTest package: tests in linear
       mixed effects models", Journal of Statistical Software 82(13).
    .. [2] Kenward and Roger (1997), "Small sample inference for fixed effects from restricted
       maximum likelihood", Biometrics 53.

    Examples
    --------
    >>> from skmixed import anova, mixed
    >>> from skmixed.datasets import load_sleepstudy
    >>> model = mixed("Reaction ~ Days + (Days | Subject)", load_sleepstudy().frame)
    >>> table = anova(model, ddf="kenward-roger").to_frame()
    >>> table.loc["Days", ["num_df", "den_df", "F"]].round(2).tolist()
    [1.0, 17.0, 45.85]
    """
    if type not in TYPES:
        raise ValueError(f"type={type!r} is not known; choose 1, 2 or 3.")
    check_choice("ddf", ddf, DDF)
    fitted = fitted_model(model)
    data = fitted.training_data(X, y, sample_weight, "anova()")
    questions = CoefficientQuestions.of(fitted, data, ddf, "anova()")
    names = questions.coefficients.names
    if hypothesis is None:
        of_terms, kind = _of_terms(fitted, data, type), f"type {type}"
    else:
        of_terms, kind = {_JOINT: as_matrix(hypothesis, names).to_numpy(float)}, "one hypothesis"
    tests = {label: questions.joint_test(L) for label, L in of_terms.items() if len(L)}
    facts = {"Tests": kind, "Degrees of freedom": questions.note or questions.ddf}
    if not fitted.likelihood.is_quadratic:
        return Answer("Wald tests of the fixed effects", _chi_squares(tests), facts)
    table = _f_tests(tests, fitted.result.noise_variance)
    return Answer("Analysis of variance of the fixed effects", table, facts)


def _of_terms(model: FittedModel, data: TrainingData, kind: int) -> dict[str, np.ndarray]:
    """Functions of the published coefficients that the terms test."""
    basis = model.encoder.fixed
    found = hypotheses(basis, *model.table_of_fit(data), kind)
    # thresholds stand for the intercept of classes in an order
    first = int(basis.intercept and model.likelihood.is_ordered)
    return {label: L[:, first:] for label, L in found.items()}


def _f_tests(tests: dict[str, JointTest], noise: float) -> pd.DataFrame:
    rows = [
        (t.F * noise * t.num_df, t.F * noise, float(t.num_df), t.den_df, t.F, t.p_value)
        for t in tests.values()
    ]
    columns = ["sum_sq", "mean_sq", "num_df", "den_df", "F", "p_value"]
    return pd.DataFrame(rows, index=list(tests), columns=columns)


def _chi_squares(tests: dict[str, JointTest]) -> pd.DataFrame:
    rows = [(t.F * t.num_df, float(t.num_df), t.p_value) for t in tests.values()]
    return pd.DataFrame(rows, index=list(tests), columns=["chi_square", "num_df", "p_value"])
