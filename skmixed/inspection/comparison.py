"""Models fitted on the same data next to each other: criteria and likelihood-ratio tests."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import chdtrc

from skmixed.exceptions import warn_user
from skmixed.fitted_model import FittedModel, named_models
from skmixed.inspection.criteria import InformationCriteria, information_criteria
from skmixed.inspection.nesting import outside_column_space
from skmixed.inspection.report import Account, Report
from skmixed.inspection.structure import ModelStructure, structure_of

_FORMATS = {
    "n_parameters": "{:.0f}", "log_likelihood": "{:.4f}", "aic": "{:.4f}", "bic": "{:.4f}",
    "chi_square": "{:.4f}", "df": "{:.0f}", "p_value": "{:.4g}", "p_corrected": "{:.4g}",
}  # fmt: skip


_LOOSER_BOUND = 20.0
"""Chi-square below 0 that bounds of different looseness explain."""


@dataclass(frozen=True, eq=False, repr=False)
class ModelComparison(Report):
    """Fitted models in a table; prints as text, shows as HTML in notebooks.

    Attributes
    ----------
    table : DataFrame
        One row per model, from few parameters to many: see `compare_models`.
    descriptions : dict of {str: str}
        Description of each model, by name.
    notes : tuple of str
        How to read the numbers.
    """

    table: pd.DataFrame
    descriptions: dict[str, str]
    notes: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """The table, a copy.

        Returns
        -------
        DataFrame
        """
        return self.table.copy()

    def _account(self) -> Account:
        """Numbers as text, nothing for what does not apply."""
        shown = {
            column: ["" if value != value else pattern.format(value) for value in values]
            for column, pattern in _FORMATS.items()
            for values in [self.table[column]]
        }
        table = pd.DataFrame(shown, index=self.table.index)
        tables = [("", table)]
        return Account("Comparison of models", self.descriptions, tables, self.notes, aligned=False)


@dataclass(frozen=True)
class _Candidate:
    """One of the models to compare."""

    name: str
    model: FittedModel
    criteria: InformationCriteria
    structure: ModelStructure


@dataclass(frozen=True)
class _Test:
    """A likelihood-ratio test; NaN where there is none."""

    chi_square: float = np.nan
    df: float = np.nan
    p_value: float = np.nan
    p_corrected: float = np.nan


def compare_models(
    *models: Any, names: Sequence[str] | None = None, X: Any = None, nested: bool = False
) -> ModelComparison:
    r"""Compare models fitted to the same data by AIC, BIC and likelihood-ratio tests.

    Models are sorted by their number of parameters. Each is tested against the one before it, like
    ``anova(m1, m2)`` in lme4.

    Parameters
    ----------
    *models : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        Fitted models of the same rows and the same response. A single model shows its criteria.
    names : sequence of str, default=None
        Names of the models, in the order they are passed; None: "model 1", "model 2", ...
    X : DataFrame or array-like of shape (n_samples, n_features), default=None
        The rows of the fits, with the columns of all models. Nesting is then decided by comparing
        column spaces, not names.
    nested : bool, default=False
        True: treat every model as nested in the next larger one, without a check.

    Returns
    -------
    comparison : ModelComparison
        Prints as text, shows as HTML in notebooks, and has ``.to_frame()`` with the columns

        n_parameters : float
            Fixed effects, covariance entries, noise and other estimated parameters.
        log_likelihood, aic, bic : float
            The ELBO; AIC = -2 ELBO + 2k; BIC = -2 ELBO + k log(rows), with k parameters.
        chi_square, df, p_value : float
            Twice the difference of the log likelihoods from the row above, the difference of the
            numbers of parameters, and the p-value of the chi-squared distribution. NaN for models
            that are not nested.
        p_corrected : float
            The p-value under the distribution at the boundary, if it is known: see the notes. NaN
            if it is not known.

    Raises
    ------
    NotFittedError
        If a model is not fitted.
    ValueError
        If models differ in the number of rows, the response (also by a transformation) or the
        criterion ("reml" and "ml"), if likelihoods of their families cannot be compared, or if
        "reml" fits differ in their fixed effects.

    Warns
    -----
    UserWarning
        If the larger of two nested models has the lower log likelihood; there is no test then.

    See Also
    --------
    skmixed.parametric_bootstrap : Distribution of a statistic by simulation.

    Notes
    -----
    Responses are compared by their number, mean and root mean square. Differences in other columns
    or in the order of values are not detected. AIC and BIC can be compared for different offsets
    and precision weights, which are parts of the model, and for different families of the same kind
    of response (counts or amounts): the likelihood includes all constants.

    Without `X`, nesting is decided by comparing names of fixed effects and random terms; ``a:b`` is
    ``b:a``. Names do not show that ``x`` is nested in ``scale(x)`` or ``C(x)``, or that another
    base level gives the same model; `X` does. "poisson" is nested in "negative_binomial", at the
    boundary of dispersion 0.

    Testing a variance against 0 is a test on the boundary. The statistic then has a mixture of
    chi-squared distributions, and the ordinary p-value is too large [1]_. With one additional
    variance, and its covariances with effects of both models, the mixture is half
    :math:`\chi^2_{d-1}` and half :math:`\chi^2_d`, with d the difference of the numbers of
    parameters [2]_; this gives `p_corrected`. For one variance alone it is half of the ordinary
    p-value. With several additional variances the weights depend on the data; the p-value is then
    an upper bound.

    For responses that are not normal and for ``posterior="mean_field"`` the ELBO is a lower bound.
    Test statistics are then differences of bounds, and p-values are approximate. ``model.diagnose``
    gives the log likelihoods.

    References
    ----------
    .. [1] Self and Liang (1987), "Asymptotic properties of maximum likelihood estimators
       and likelihood ratio tests under nonstandard conditions", Journal of the American
       Statistical Association 82(398).
    .. [2] Stram and Lee (1994), "Variance components testing in the longitudinal mixed
       effects model", Biometrics 50(4).

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor, compare_models
    >>> from skmixed.datasets import load_insteval
    >>> X, y = load_insteval(return_X_y=True)
    >>> groups = ["s", "d", "dept"]
    >>> small = MixedEffectsVIRegressor(groups, method="ml").fit(X[groups], y)
    >>> large = MixedEffectsVIRegressor(groups, method="ml").fit(X[["service", *groups]], y)
    >>> table = compare_models(small, large, names=["without", "with"]).to_frame()
    >>> table.loc["with", ["chi_square", "df"]].round(2).tolist()
    [47.8, 1.0]
    """
    candidates = [
        _Candidate(name, model, information_criteria(model), structure_of(model))
        for name, model in named_models(models, names).items()
    ]
    _refuse_other_data(candidates)
    _refuse_other_criteria(candidates)
    candidates.sort(key=lambda candidate: candidate.criteria.n_parameters)
    tests, notes = [_Test()], _notes_on_all(candidates)
    for smaller, larger in itertools.pairwise(candidates):
        test, said = _test(smaller, larger, "" if nested else _not_nested(smaller, larger, X))
        tests.append(test)
        notes += said
    if nested:
        notes.append("Models are treated as nested, without a check (nested=True).")
    return ModelComparison(
        _table(candidates, tests),
        {candidate.name: candidate.structure.describe() for candidate in candidates},
        tuple(notes),
    )


# What cannot be compared ---------------------------------------------------------------------


def _refuse_other_data(candidates: list[_Candidate]) -> None:
    first = candidates[0]
    for other in candidates[1:]:
        mine, yours = first.model.result.n_observations, other.model.result.n_observations
        if not np.isclose(mine, yours, rtol=1e-9, atol=0.0):
            raise ValueError(
                f"{first.name!r} was fitted on {mine:.10g} rows and {other.name!r} on "
                f"{yours:.10g}: likelihoods of different data cannot be compared. Fit both on the "
                "rows that are complete for both, with the same sample_weight."
            )
        likelihoods = first.model.likelihood, other.model.likelihood
        if not likelihoods[0].is_comparable(likelihoods[1]):
            raise ValueError(
                f"{first.name!r} has the response distribution {likelihoods[0]} and "
                f"{other.name!r} has {likelihoods[1]}: pass models of one family and the same "
                "classes, or of families of the same kind of response. To choose between other "
                "families, compare predictions by cross-validation."
            )
        _refuse_other_response(first, other)


def _refuse_other_response(first: _Candidate, other: _Candidate) -> None:
    """Refuse responses that differ; fits of parts and older files keep no moments to compare."""
    constants = first.model.response.log_coefficients, other.model.response.log_coefficients
    if not np.isclose(*constants, rtol=1e-9, atol=1e-9):
        raise ValueError(
            f"{first.name!r} has the response {first.model.response.label} and {other.name!r} "
            f"{other.model.response.label}: their log likelihoods contain different binomial "
            "coefficients. Fit both to the same sets of trials."
        )
    mine, yours = first.model.response_moments, other.model.response_moments
    if mine is None or yours is None or np.allclose(mine, yours, rtol=1e-9, atol=1e-9 * mine[1]):
        return
    raise ValueError(
        f"{first.name!r} was fitted to a response with mean {mine[0]:.6g} and root mean square "
        f"{mine[1]:.6g}, {other.name!r} to one with {yours[0]:.6g} and {yours[1]:.6g}. Their rows, "
        "sample_weight or responses differ, so their likelihoods cannot be compared. Fit "
        "both to the same data. For log(y) against y, subtract the sum of log(y) from the log "
        "likelihood of the model of log(y), and compare AIC yourself."
    )


def _refuse_other_criteria(candidates: list[_Candidate]) -> None:
    for each in candidates:
        if each.model.settings.variance_prior is not None:
            raise ValueError(
                f"{each.name!r} was fitted with variance_prior="
                f"{each.model.settings.variance_prior!r}: its variances do not maximise the "
                "likelihood, so likelihoods cannot be compared. Refit without it."
            )
    first = candidates[0]
    for other in candidates[1:]:
        methods = first.model.settings.method, other.model.settings.method
        if methods[0] != methods[1]:
            raise ValueError(
                f"{first.name!r} was fitted with method={methods[0]!r} and "
                f"{other.name!r} with method={methods[1]!r}: a restricted likelihood and "
                "a likelihood cannot be compared. Refit both with method='ml'."
            )
        if first.criteria.restricted and first.structure.fixed != other.structure.fixed:
            differing = ", ".join(sorted(map(repr, first.structure.fixed ^ other.structure.fixed)))
            raise ValueError(
                f"{first.name!r} and {other.name!r} were fitted with method='reml' and have "
                f"different fixed effects ({differing}): their restricted likelihoods cannot "
                "be compared. Refit both with method='ml'."
            )


# Tests ---------------------------------------------------------------------------------------


def _not_nested(smaller: _Candidate, larger: _Candidate, X: Any) -> str:
    """The reason against a test of two models; empty if the first is nested in the second."""
    families = smaller.model.likelihood, larger.model.likelihood
    if not families[1].includes(families[0]):
        return f"family is {families[0].name!r} in the one and {families[1].name!r} in the other"
    reason = smaller.structure.differs_from(larger.structure)
    if reason:
        return reason
    if X is not None:
        outside = outside_column_space(smaller.model, larger.model, X)
        return f"they are not nested, {outside}" if outside else ""
    reason = smaller.structure.not_nested_in(larger.structure)
    if not reason:
        return ""
    return f"{reason} (if they are nested, pass X, the rows of the fits, or nested=True)"


def _test(smaller: _Candidate, larger: _Candidate, reason: str) -> tuple[_Test, list[str]]:
    """The likelihood-ratio test of two models, unless there is a reason against it, and notes."""
    pair = f"{smaller.name!r} and {larger.name!r}"
    df = larger.criteria.n_parameters - smaller.criteria.n_parameters
    if not reason and df == 0:
        reason = "they have the same number of parameters"
    if reason:
        return _Test(), [f"No test of {pair}: {reason}. Compare their AIC or BIC."]
    chi_square = 2.0 * (larger.criteria.log_likelihood - smaller.criteria.log_likelihood)
    if not np.isfinite(chi_square):
        return _Test(), [f"No test of {pair}: a likelihood is infinite."]
    notes = []
    error = 2.0 * float(np.hypot(smaller.model.result.elbo_std, larger.model.result.elbo_std))
    if error > 0.0:
        notes.append(
            f"The chi-square of {pair} has a Monte Carlo error of up to about {error:.2g}: the "
            "iterative solver estimates log determinants. Raise n_probes, or use "
            "solver='direct', if a decision depends on it."
        )
    if chi_square < -max(1e-6 * abs(larger.criteria.log_likelihood), 2.0 * error):
        lower = _lower_likelihood(smaller, larger, chi_square)
        warn_user(lower, UserWarning)
        return _Test(), [*notes, lower]
    p_value = float(chdtrc(df, max(chi_square, 0.0)))
    p_corrected, said = _boundary(smaller, larger, chi_square, df, p_value)
    return _Test(chi_square, float(df), p_value, p_corrected), notes + said


def _lower_likelihood(smaller: _Candidate, larger: _Candidate, chi_square: float) -> str:
    """The likeliest reason why the larger model has the lower log likelihood."""
    unconverged = [c.name for c in (smaller, larger) if not c.model.result.converged]
    if unconverged:
        reason = f"{' and '.join(map(repr, unconverged))} did not converge"
    elif larger.criteria.is_bound and chi_square > -_LOOSER_BOUND:
        reason = "the bound is probably looser in the larger model; diagnose gives the likelihoods"
    else:
        reason = (
            "most likely the models were fitted on different rows, or on different values of y or "
            "of a column; fit both on the same data"
        )
    return (
        f"No test of {smaller.name!r} and {larger.name!r}: the larger model has the lower log "
        f"likelihood (chi-square {chi_square:.4g}), which is impossible if they are nested: "
        f"{reason}."
    )


def _boundary(
    smaller: _Candidate, larger: _Candidate, chi_square: float, df: int, p_value: float
) -> tuple[float, list[str]]:
    """The p-value where variances may be 0, and its explanation."""
    dispersion = not smaller.model.likelihood.includes(larger.model.likelihood)
    added = larger.structure.n_variances - smaller.structure.n_variances + int(dispersion)
    if added == 0:
        return p_value, []
    pair = f"{larger.name!r} against {smaller.name!r}"
    if added > 1:
        counted = "variances and dispersions" if dispersion else "variances"
        return np.nan, [
            f"{pair}: {added} {counted} are tested at their boundary 0, where the distribution is "
            "a mixture of chi-squares with weights that depend on the data. The p-value is too "
            "large (conservative); parametric_bootstrap with others= simulates the distribution."
        ]
    # chi-square with 0 degrees of freedom is 0 for certain
    lower = float(chdtrc(df - 1, chi_square)) if df > 1 and chi_square > 0 else 0.0
    corrected = 0.5 * (lower + p_value) if chi_square > 0 else 1.0
    text = (
        "the p-value is halved"
        if df == 1
        else f"p_corrected is from half chi-square({df - 1}) and half chi-square({df})"
    )
    tested = "the dispersion" if dispersion else "one variance"
    return corrected, [
        f"{pair}: {tested} is tested at its boundary 0, so the p-value is too large; {text}."
    ]


# The table and its notes ---------------------------------------------------------------------


def _notes_on_all(candidates: list[_Candidate]) -> list[str]:
    """Notes that apply to all numbers of the table."""
    notes = []
    if any(candidate.criteria.is_bound for candidate in candidates):
        notes.append(
            "log_likelihood is a lower bound (the ELBO) here: AIC and BIC are upper bounds, and "
            "chi-squares are differences of bounds, with approximate p-values. "
            "model.diagnose(X, y) gives the log likelihoods."
        )
    if candidates[0].criteria.restricted:
        notes.append("log_likelihood is restricted (method='reml'): compare random effects only.")
    for candidate in candidates:
        if not candidate.model.result.converged:
            notes.append(f"{candidate.name!r} did not converge: its numbers are provisional.")
    return notes


def _table(candidates: list[_Candidate], tests: list[_Test]) -> pd.DataFrame:
    rows = [
        (
            float(candidate.criteria.n_parameters), candidate.criteria.log_likelihood,
            candidate.criteria.aic, candidate.criteria.bic,
            test.chi_square, test.df, test.p_value, test.p_corrected,
        )
        for candidate, test in zip(candidates, tests, strict=True)
    ]  # fmt: skip
    index = pd.Index([candidate.name for candidate in candidates])
    return pd.DataFrame(rows, columns=list(_FORMATS), index=index, dtype=float)
