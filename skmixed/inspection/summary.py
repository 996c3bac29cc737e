"""The printed account of a fitted model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from skmixed.fitted_model import FittedModel
from skmixed.inspection.attributes import components, published
from skmixed.inspection.criteria import information_criteria
from skmixed.inspection.fixed_effects import DROPPED, SEPARATED
from skmixed.inspection.report import Account, Report
from skmixed.inspection.rounding import rounded_to_errors
from skmixed.inspection.singular import singular_note, singular_terms
from skmixed.inspection.structure import formula_of, modelled_class


@dataclass(frozen=True, repr=False)
class Summary(Report):
    """A fitted model in tables; prints as text, shows as HTML in notebooks.

    Attributes
    ----------
    title : str
    facts : dict
        Rows, criteria, solver and convergence in words, in order.
    fixed_effects : DataFrame
        Estimate, standard error and interval of every fixed effect; with a test its
        degrees of freedom, statistic and p-value.
    variance_components : DataFrame
        Group, term, variance, standard deviation and correlations, one row per random effect.
        ``variance_components_`` of the model has the same numbers in long format.
    groups : DataFrame
        Levels and terms of every grouping factor.
    notes : tuple of str
        Explanations: columns of the fixed effects, missing tests, a singular fit, an approximation,
        roles of columns that were found by their type.
    numbers : dict of {str: float}
        The numbers behind `facts`: rows, log_likelihood, aic, bic, n_parameters, iterations,
        scaled_gradient, and dispersion if there is one.
    level : float
        Probability of the intervals.

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor
    >>> from skmixed.datasets import make_mixed_regression
    >>> X, y, _ = make_mixed_regression(n_samples=200, groups=(10,), random_state=0)
    >>> summary = MixedEffectsVIRegressor(random_effects="g0").fit(X, y).summary()
    >>> summary.groups.loc["g0", "levels"]
    np.int64(10)
    >>> summary.to_frame().index.tolist()[0]
    'Intercept'
    """

    title: str
    facts: dict[str, str]
    fixed_effects: pd.DataFrame
    variance_components: pd.DataFrame
    groups: pd.DataFrame
    notes: tuple[str, ...] = ()
    numbers: dict[str, float] = field(default_factory=dict)
    level: float = 0.95

    def to_frame(self) -> pd.DataFrame:
        """The fixed effects by name.

        Returns
        -------
        DataFrame
            Columns estimate, std_error, lower and upper; with a test also statistic and p_value,
            with ``test="t"`` df before them. If a column separates responses or was dropped, also
            note, and its interval and test are NaN: see `notes`.
        """
        return self.fixed_effects.copy()

    @property
    def params(self) -> pd.Series:
        """Coefficients by name, the intercept first, as statsmodels calls them."""
        return self._column("estimate")

    @property
    def bse(self) -> pd.Series:
        """Standard errors by name, as statsmodels calls them."""
        return self._column("std_error")

    @property
    def tvalues(self) -> pd.Series:
        """Coefficients divided by their standard errors, if the summary has tests."""
        return self._column("statistic")

    @property
    def pvalues(self) -> pd.Series:
        """P-values by name, if the summary has tests: ``summary(test="t")``."""
        return self._column("p_value")

    def conf_int(self) -> pd.DataFrame:
        """Intervals of the coefficients by name.

        Returns
        -------
        DataFrame
            Columns lower and upper, with the probability `level`.
        """
        return self.fixed_effects[["lower", "upper"]].copy()

    def _column(self, name: str) -> pd.Series:
        if name not in self.fixed_effects:
            raise AttributeError(
                f"This summary has no column {name!r}, because it was made without tests; ask for "
                'summary(test="t") or summary(test="z").'
            )
        return self.fixed_effects[name].rename(None)

    def _account(self) -> Account:
        heading = f"Fixed effects ({100 * self.level:g} % intervals)"
        tables = [
            (heading, rounded_to_errors(self.fixed_effects)),
            ("Variance components", _shown(self.variance_components)),
            ("Groups", _shown(self.groups)),
        ]
        return Account(self.title, self.facts, tables, self.notes)


def summarise(model: FittedModel, fixed_effects: pd.DataFrame, level: float = 0.95) -> Summary:
    """The tables of a fitted model.

    Parameters
    ----------
    model : FittedModel
    fixed_effects : DataFrame
        Of `skmixed.inspection.fixed_effects.fixed_effects_table`.
    level : float, default=0.95
        Probability of its intervals.
    """
    groups = pd.DataFrame(
        [
            {"group": factor.name, "levels": factor.levels.n_levels,
             "terms": ", ".join(factor.term_names)}
            for factor in model.encoder.factors
        ],
        columns=["group", "levels", "terms"],
    ).set_index("group")  # fmt: skip
    return Summary(
        _title(model),
        _facts(model),
        fixed_effects,
        _by_term(components(model)),
        groups,
        _notes(model, fixed_effects),
        _numbers(model),
        level,
    )


# What was fitted, and how --------------------------------------------------------------------


def _facts(model: FittedModel) -> dict[str, str]:
    criteria = information_criteria(model)
    facts = {"Formula": formula_of(model)}
    if chosen := modelled_class(model):
        facts["Modelled"] = chosen
    facts["Rows"] = f"{model.result.n_observations:.10g}"
    if model.response.is_trials:
        facts["Rows"] = f"{model.response.n_sets:.10g}, {model.result.n_observations:.10g} trials"
    if not model.likelihood.has_noise:
        facts |= _family_facts(model)
    error = float(model.result.elbo_std)
    aside = f" (standard error {error:.2g})" if error else ""
    prior = model.settings.variance_prior
    prior = "" if prior is None else f", variance prior {prior} (not in the values below)"
    bound = " (of the bound)" if criteria.is_bound else ""
    return facts | {
        "Method": f"{model.settings.method}, posterior {model.settings.posterior}{prior}",
        _name_of_value(model): f"{model.elbo:.4f}{aside}{_what_the_value_is(model, criteria)}",
        "AIC": f"{criteria.aic:.4f}{bound}, {criteria.n_parameters} parameters",
        "BIC": f"{criteria.bic:.4f}{bound}",
        "Solver": model.result.solver + _what_is_estimated(model),
        "Iterations": _convergence(model),
    }


def _what_is_estimated(model: FittedModel) -> str:
    """Monte Carlo error of the standard deviations of random effects, where they have one."""
    error = max(model.result.level_errors, default=0.0)
    if not error:
        return ""
    return f" (standard deviations of effects: Monte Carlo error {100.0 * error:.2g} %)"


def _numbers(model: FittedModel) -> dict[str, float]:
    criteria = information_criteria(model)
    numbers = {
        "rows": float(model.result.n_observations),
        "log_likelihood": criteria.log_likelihood,
        "aic": criteria.aic,
        "bic": criteria.bic,
        "n_parameters": float(criteria.n_parameters),
        "iterations": float(model.n_iter),
        "scaled_gradient": float(model.result.gradient_path[-1]),
    }
    if not model.likelihood.has_noise:
        numbers |= {k: float(value) for k, value in published(model).items() if not np.ndim(value)}
    return numbers


def _family_facts(model: FittedModel) -> dict[str, str]:
    """Response distribution, weights of classes, and the family's own parameters."""
    likelihood = model.likelihood
    facts = {"Family": f"{likelihood.name}, {likelihood.link} link"}
    if model.has_class_weights:
        assert model.classes is not None
        assert model.class_weights is not None
        order = np.argsort(model.classes)
        pairs = zip(model.classes[order].tolist(), model.class_weights[order], strict=True)
        facts["Class weights"] = ", ".join(f"{label}: {weight:.4g}" for label, weight in pairs)
    for name, values in published(model).items():
        facts[name.capitalize()] = ", ".join(f"{value:.6g}" for value in np.atleast_1d(values))
    return facts


def _name_of_value(model: FittedModel) -> str:
    return "Log likelihood" if model.approximation == "corrected" else "ELBO"


def _what_the_value_is(model: FittedModel, criteria: Any) -> str:
    name = "restricted log likelihood" if criteria.restricted else "log likelihood"
    if model.approximation == "corrected":
        if model.result.elbo_std > 0.0:
            return f" (the {name} itself, by quadrature and draws)"
        integrals = ", fixed effects by Laplace's method" if criteria.restricted else ""
        return f" (the {name} itself, by quadrature{integrals})"
    return f" (a lower bound of the {name})" if criteria.is_bound else f" (the {name})"


def _convergence(model: FittedModel) -> str:
    gradient, tol = float(model.result.gradient_path[-1]), model.settings.tol
    reached = f"scaled gradient {gradient:.1e}, tol {tol:g}"
    if model.result.converged and gradient > tol and model.result.elbo_std > 0.0:
        return (
            f"{model.n_iter} (converged: scaled gradient {gradient:.1e}, far below the Monte Carlo "
            "error of the solver)"
        )
    if model.result.converged and gradient > tol:
        # see `converged_`: steps ended because they gained no more than rounding
        return (
            f"{model.n_iter} (converged within rounding: scaled gradient {gradient:.1e} is above "
            f"tol {tol:g}, but further steps gain nothing)"
        )
    state = "converged" if model.result.converged else "NOT converged"
    return f"{model.n_iter} ({state}: {reached})"


def _title(model: FittedModel) -> str:
    kind = "linear mixed-effects model" if model.encoder.factors else "linear model"
    return kind.capitalize() if model.likelihood.is_quadratic else f"Generalized {kind}"


def _notes(model: FittedModel, fixed_effects: pd.DataFrame) -> tuple[str, ...]:
    notes = []
    if "df" in fixed_effects:
        notes.append("df: degrees of freedom by Satterthwaite's method; statistic: t.")
    elif "statistic" in fixed_effects:
        known = "; the variances are taken for known" if model.likelihood.has_noise else ""
        notes.append(f"statistic: z{known}.")
    noted = fixed_effects.get("note", pd.Series("", index=fixed_effects.index))
    if "exponentiated" in fixed_effects.attrs:
        notes.append(
            "estimate, lower, upper: exponentials of the coefficients (odds ratios, rate ratios); "
            "std_error, statistic and p_value are those of the coefficients."
        )
    if (noted == DROPPED).any():
        names = ", ".join(map(repr, fixed_effects.index[noted == DROPPED]))
        notes.append(f"{DROPPED}: other columns determine {names}.")
    if (noted == SEPARATED).any():
        names = ", ".join(map(repr, fixed_effects.index[noted == SEPARATED]))
        notes.append(
            f"{SEPARATED}: the columns {names} predict a part of the responses without error, so "
            "that their coefficients grow without bound. Only their sign means something; size and "
            "standard error depend on where the iterations stopped, and there is no interval and "
            "no test of this kind. For a test, leave the column out and compare with "
            "compare_models."
        )
    if singular := singular_terms(model.result, model.encoder):
        notes.append(singular_note(singular))
    if model.settings.finds_groups:
        notes.append(_roles(model))
    if not model.likelihood.is_quadratic and model.encoder.factors:
        notes.append(_approximation(model))
    return tuple(notes)


def _roles(model: FittedModel) -> str:
    """Note on the columns that group the rows because of their type."""
    encoder = model.encoder
    groups = ", ".join(map(repr, encoder.factor_names)) or "none"
    labels = [repr(v.variable.name) for v in encoder.fixed.variables if v.categorical]
    fixed = f"; fixed effects with fewer than five labels: {', '.join(labels)}" if labels else ""
    return f"Groups found by the types of columns (random_effects='from_dtype'): {groups}{fixed}."


def _approximation(model: FittedModel) -> str:
    """Note on how estimates of a model that is not normal differ from those of R."""
    if model.approximation == "corrected":
        text = (
            "Estimates maximise the likelihood itself (approximation='corrected'); glmer with one "
            "scalar effect and a large nAGQ does too, otherwise glmer and glmmTMB maximise "
            "Laplace's approximation of it."
        )
    else:
        text = (
            "Estimates maximise a lower bound of the likelihood (a Gaussian posterior); glmer and "
            "glmmTMB maximise Laplace's approximation of it."
        )
    if model.settings.method == "reml":
        text += (
            " The fixed effects are integrated out here (method='reml'), but not there: compare "
            "with method='ml'."
        )
    return text


# Tables --------------------------------------------------------------------------------------


def _by_term(components: pd.DataFrame) -> pd.DataFrame:
    """One row per random effect; its correlations with the effects before it are to the right."""
    correlations: dict[tuple[str, str], list[float]] = {}
    pairs = components[components["term_2"].notna()]
    for group, _, second, corr in pairs[["group", "term_1", "term_2", "corr"]].itertuples(
        index=False
    ):
        correlations.setdefault((group, second), []).append(corr)
    variances = components[components["term_2"].isna()]
    table = pd.DataFrame(
        {
            "term": ["" if term is None else term for term in variances["term_1"]],
            "variance": variances["variance"].to_numpy(),
            "sd": variances["sd"].to_numpy(),
        },
        index=pd.Index(variances["group"], name="group"),
    )
    for k in range(max(map(len, correlations.values()), default=0)):
        table["corr" if k == 0 else ""] = [
            correlations[key][k] if len(correlations.get(key, ())) > k else float("nan")
            for key in zip(variances["group"], variances["term_1"], strict=True)
        ]
    return table


def _shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Numbers as text with six digits; empty for values that do not apply."""
    return frame.map(
        lambda value: (
            ""
            if value is None or (isinstance(value, float) and value != value)
            else f"{value:.6g}"
            if isinstance(value, float)
            else str(value)
        )
    )
