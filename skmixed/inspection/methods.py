"""Methods of the estimators that describe a fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from skmixed.inspection.attributes import (
    coefficients_of,
    components,
    random_effects,
    random_effects_std,
)
from skmixed.inspection.criteria import information_criteria
from skmixed.inspection.fixed_effects import TESTS, fixed_effects_table, why_no_t_test
from skmixed.inspection.tables import effects_in_rows, intervals_of_sds
from skmixed.threads import restrained_blas
from skmixed.validation import check_choice, check_level

if TYPE_CHECKING:
    from skmixed.fitted_model import FittedModel
    from skmixed.inspection.coefficient_questions import CoefficientQuestions
    from skmixed.inspection.diagnosis import Diagnosis
    from skmixed.inspection.summary import Summary
    from skmixed.results.satterthwaite import VarianceUncertainty


class InspectionMixin(ABC):
    """Tables, tests and criteria of an estimator that has a `FittedModel`."""

    @property
    @abstractmethod
    def _fitted_model(self) -> FittedModel:
        """The fit as a value."""

    def summary(
        self,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        test: str | None = None,
        ddf: str = "satterthwaite",
        level: float = 0.95,
        exponentiate: bool = False,
    ) -> Summary:
        """Describe the fitted model in tables.

        Fixed effects with standard errors and intervals, variance components with correlations,
        groups, log likelihood, AIC, BIC and convergence; with `test` also tests of the fixed
        effects.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features), default=None
            The rows of `fit`. Needed only for ``test="t"``, if the model did not keep them
            (``keep_data=True``).
        y : array-like of shape (n_samples,), default=None
            Their response.
        sample_weight : array-like of shape (n_samples,), default=None
            Their case weights.
        test : {None, "z", "t"}, default=None
            Test of each fixed effect against 0. "z" treats the variances as known. "t" has degrees
            of freedom; it needs normal responses and ``posterior="full"``. Intervals use the same
            distribution.
        ddf : {"satterthwaite", "kenward-roger", "asymptotic"}, default="satterthwaite"
            Degrees of freedom of ``test="t"``: Satterthwaite's [1]_, those of R's lmerTest;
            Kenward and Roger's [2]_, with their standard errors, for ``method="reml"``.
        level : float, default=0.95
            Probability of the intervals, between 0 and 1.
        exponentiate : bool, default=False
            Whether to show exponentials of coefficients and intervals: odds ratios with "logit",
            rate ratios with a log link, ratios after ``mixed("log(y) ~ ...")``.

        Returns
        -------
        summary : Summary
            Prints as text, shows as HTML in notebooks, and has ``.to_frame()``.

        Raises
        ------
        ValueError
            If ``test="t"`` has no data, data that are not those of the fit, or is not defined for
            the model.

        References
        ----------
        .. [1] Kuznetsova, Brockhoff and Christensen (2017), "lmerTest package: tests in
           linear mixed effects models", Journal of Statistical Software 82(13).
        .. [2] Kenward and Roger (1997), "Small sample inference for fixed effects from
           restricted maximum likelihood", Biometrics 53.

        Examples
        --------
        >>> from skmixed import MixedEffectsVIRegressor
        >>> from skmixed.datasets import make_mixed_regression
        >>> X, y, _ = make_mixed_regression(n_samples=200, groups=(10,), random_state=0)
        >>> model = MixedEffectsVIRegressor(random_effects="g0").fit(X, y)
        >>> table = model.summary(X, y, test="t").to_frame()
        >>> table.columns.tolist()
        ['estimate', 'std_error', 'lower', 'upper', 'df', 'statistic', 'p_value']
        >>> bool(table.loc["Intercept", "df"] < table.loc["x0", "df"])
        True
        """
        from skmixed.inspection.summary import summarise

        model = self._fitted_model
        check_level(level)
        if test is not None:
            check_choice("test", test, TESTS)
        tests = None
        if test == "t":
            tests = _questions(model, X, y, sample_weight, ddf).tests
        table = fixed_effects_table(model, level, test, tests, exponentiate)
        return summarise(model, table, level)

    def plot(self, X: Any = None, y: Any = None, sample_weight: Any = None) -> Any:
        """Draw coefficients, variances, effects and residuals, in one figure.

        Parameters
        ----------
        X, y, sample_weight : array-like, default=None
            The data of the fit, for the residuals if the model did not keep them.

        Returns
        -------
        display : OverviewDisplay
            With `figure_`, and the displays in `displays_`.
        """
        from skmixed.inspection.displays.overview import OverviewDisplay  # loads all displays

        return OverviewDisplay.from_estimator(self, X, y, sample_weight)

    @property
    def loglik_(self) -> float:
        """The maximised log likelihood, or its lower bound: see `approximation_`."""
        return information_criteria(self._fitted_model).log_likelihood

    @property
    def loglik_std_(self) -> float:
        """Monte Carlo standard error of `loglik_`; 0 without random numbers."""
        return float(self._fitted_model.result.elbo_std)

    @property
    def approximation_(self) -> str:
        """The objective of the fit, which `loglik_` is the maximum of.

        "exact": the log likelihood, for a normal response or without random effects. "corrected":
        the log likelihood, by quadrature (at least six digits) or, with crossed factors, by
        quadrature and draws (Monte Carlo error `loglik_std_`). "variational": a lower bound of the
        log likelihood.
        """
        return self._fitted_model.approximation

    @property
    def aic_(self) -> float:
        """Akaike's information criterion, -2 `loglik_` + 2 `n_parameters_`."""
        return information_criteria(self._fitted_model).aic

    @property
    def bic_(self) -> float:
        """Schwarz's criterion, -2 `loglik_` + log(rows) `n_parameters_`."""
        return information_criteria(self._fitted_model).bic

    @property
    def n_parameters_(self) -> int:
        """Number of estimated parameters: coefficients, variances, noise and the family's."""
        return information_criteria(self._fitted_model).n_parameters

    def coef_table(
        self, test: str | None = "z", level: float = 0.95, exponentiate: bool = False
    ) -> pd.DataFrame:
        """Coefficients by name, the intercept first.

        Parameters
        ----------
        test, level, exponentiate
            As for `summary`; ``test="t"`` needs ``keep_data=True``.

        Returns
        -------
        table : DataFrame
            Columns estimate, std_error, lower, upper, df, statistic, p_value, if they apply.
        """
        return self.summary(test=test, level=level, exponentiate=exponentiate).to_frame()

    @property
    def params(self) -> pd.Series:
        """Coefficients by name, the intercept first, as statsmodels calls them."""
        return self.coef_table(None)["estimate"].rename(None)

    @property
    def bse(self) -> pd.Series:
        """Standard errors by name, as statsmodels calls them."""
        return self.coef_table(None)["std_error"].rename(None)

    @property
    def pvalues(self) -> pd.Series:
        """P-values of z tests of each coefficient against 0, by name."""
        return self.coef_table("z")["p_value"].rename(None)

    def conf_int(self, level: float = 0.95) -> pd.DataFrame:
        """Intervals of the coefficients by name.

        Parameters
        ----------
        level : float, default=0.95
            Probability of the intervals.

        Returns
        -------
        intervals : DataFrame
            Columns lower and upper.
        """
        return self.coef_table(None, level)[["lower", "upper"]]

    def contrast(
        self,
        L: Any,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        test: str = "auto",
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Estimate and test linear functions of the coefficients.

        Parameters
        ----------
        L : mapping, DataFrame or array-like of shape (k, n_coefficients)
            Weights by name, ``{"Intercept": 1, "Days": 9}``, a mapping of such mappings, or
            numbers in the order of the intercept and `coef_`.
        X, y, sample_weight : array-like, default=None
            The data of the fit, for ``test="t"`` if the model did not keep them.
        test : {"auto", "t", "z"}, default="auto"
            "t": Satterthwaite's degrees of freedom. "auto": "t" if it is defined and the data are
            available, else "z".
        level : float, default=0.95
            Probability of the intervals.

        Returns
        -------
        table : DataFrame
            Columns estimate, std_error, lower, upper, df, statistic, p_value; one row per function.

        Examples
        --------
        >>> from skmixed import mixed
        >>> from skmixed.datasets import load_sleepstudy
        >>> model = mixed("Reaction ~ Days + (Days | Subject)", load_sleepstudy().frame)
        >>> table = model.contrast({"day 9": {"Intercept": 1, "Days": 9}})
        >>> round(float(table.loc["day 9", "estimate"]), 2)
        345.61
        """
        from skmixed.inspection.coefficient_questions import ASYMPTOTIC
        from skmixed.inspection.linear_functions import contrast_table

        model = self._fitted_model
        check_level(level)
        check_choice("test", test, ("auto", *TESTS))
        if test == "auto":
            has_data = X is not None or model.data is not None
            test = "t" if has_data and not why_no_t_test(model, "") else "z"
        ddf = "satterthwaite" if test == "t" else ASYMPTOTIC
        return contrast_table(_questions(model, X, y, sample_weight, ddf), L, level)

    def variance_intervals(
        self,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        *,
        level: float = 0.95,
    ) -> pd.DataFrame:
        """Intervals of the standard deviations of random effects and noise.

        These are Wald intervals on the log scale, with standard errors from the curvature of the
        objective in all parameters. With few levels `profile` or `parametric_bootstrap` is better.

        Parameters
        ----------
        X, y, sample_weight : array-like, default=None
            The data of the fit, if the response is normal and the model did not keep them.
        level : float, default=0.95
            Probability of the intervals.

        Returns
        -------
        table : DataFrame
            Columns group, term, sd, std_error (of the standard deviation), lower, upper; NaN
            for a variance of 0.

        Raises
        ------
        ValueError
            For normal responses with ``posterior="mean_field"`` or without data.

        Examples
        --------
        >>> from skmixed import mixed
        >>> from skmixed.datasets import load_sleepstudy
        >>> model = mixed("Reaction ~ Days + (1 | Subject)", load_sleepstudy().frame)
        >>> model.variance_intervals()["term"].tolist()
        ['Intercept', None]
        """
        model = self._fitted_model
        check_level(level)
        if not model.likelihood.is_quadratic:
            table = components(model)
            found = table[table["term_2"].isna()]
            with np.errstate(divide="ignore"):
                log_sds = np.log(found["sd"].to_numpy())
            return intervals_of_sds(table, log_sds, found["log_sd_std_error"].to_numpy(), level)
        uncertainty = _variance_uncertainty(model, X, y, sample_weight, "variance_intervals()")
        return intervals_of_sds(
            components(model), uncertainty.log_sds, uncertainty.log_sd_errors, level
        )

    def effects_table(self, level: float = 0.95) -> pd.DataFrame:
        """All random effects in one long table.

        Parameters
        ----------
        level : float, default=0.95
            Probability of the intervals.

        Returns
        -------
        table : DataFrame
            Columns group, level, term, estimate, std, lower and upper; one row per level and term.
            Levels of an interaction are tuples.
        """
        model = self._fitted_model
        check_level(level)
        return effects_in_rows(random_effects(model), random_effects_std(model), level)

    def cov_params(self) -> pd.DataFrame:
        """`coef_cov_` with names, the intercept first.

        Returns
        -------
        covariance : DataFrame of shape (n_coefficients, n_coefficients)
        """
        fixed = coefficients_of(self._fitted_model)
        return pd.DataFrame(fixed.covariance, index=fixed.names, columns=fixed.names)

    def diagnose(
        self,
        X: Any = None,
        y: Any = None,
        sample_weight: Any = None,
        n_draws: int = 1000,
        random_state: Any = None,
    ) -> Diagnosis:
        """Check how close the posterior and the estimates are to the exact ones, on the training
        data.

        For normal responses with ``posterior="full"`` the Gaussian posterior is exact. Otherwise
        the fit maximised the ELBO, a lower bound of the log likelihood. The verdict depends on one
        Newton step towards the maximum of the likelihood, in standard errors and in percent of
        standard deviations: moves below 0.1 standard errors and 2 % are "Good", below 0.5 and 10 %
        "Acceptable". Importance weights of draws from the posterior give the log likelihood, and
        the tail of the weights (Pareto k) shows how good the posterior is at the estimates.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            The rows of `fit`. None: those that the model kept, with ``keep_data=True``.
        y : array-like of shape (n_samples,)
            Their response, or labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Their case weights.
        n_draws : int, default=1000
            Number of draws from the posterior, at least 100. Each needs a few passes over the rows.
            If rows times draws exceed 4e7, 16 to 256 draws with derivatives replace them, or
            quadrature alone if factors are not crossed. ``Diagnosis.n_draws`` and the advice say
            so, and `log_likelihood_std` includes the error.
        random_state : int, RandomState instance or None, default=None
            Seed; equal seeds give equal results.

        Returns
        -------
        diagnosis : Diagnosis
            Prints as text, shows as HTML in notebooks.

        Raises
        ------
        ValueError
            If the data are not those of the fit.

        Notes
        -----
        Given the effects of all other groups (and the fixed effects with ``method="reml"``), the
        levels of the largest group are independent and integrated by quadrature; only the other
        effects are drawn. With a single group, `pareto_k` is that of all effects together.

        With one factor or nested factors the derivatives of the Newton step are exact. With crossed
        factors they are from weighted draws: the gradient, and its differences for the curvature.
        More than 8,000 other effects can be neither integrated nor drawn; then only the levels of
        the largest group are judged. ``verbose`` prints one line per stage.

        References
        ----------
        .. [1] Yao, Vehtari, Simpson and Gelman (2018), "Yes, but did it work? Evaluating
           variational inference", ICML.
        .. [2] Vehtari, Simpson, Gelman, Yao and Gabry (2024), "Pareto smoothed importance
           sampling", JMLR 25(72).

        Examples
        --------
        >>> from skmixed import MixedEffectsVIClassifier
        >>> from skmixed.datasets import make_mixed_classification
        >>> X, y, _ = make_mixed_classification(n_samples=400, groups=(20, 10), random_state=0)
        >>> model = MixedEffectsVIClassifier(["g0", "g1"]).fit(X, y)
        >>> diagnosis = model.diagnose(X, y, random_state=0)
        >>> bool(-0.1 < diagnosis.gap < 1.0)
        True
        """
        from skmixed.inspection.diagnosis import diagnose
        from skmixed.inspection.progress import stage_lines

        model = self._fitted_model
        data = model.training_data(X, y, sample_weight, "diagnose()")
        tell = stage_lines("diagnose", shown=bool(getattr(self, "verbose", 0)))
        return diagnose(model, data, n_draws, random_state, tell)


def _questions(
    model: FittedModel, X: Any, y: Any, sample_weight: Any, ddf: str
) -> CoefficientQuestions:
    """The coefficients with degrees of freedom, which need the training data."""
    from skmixed.inspection.coefficient_questions import ASYMPTOTIC, CoefficientQuestions

    data = None
    if ddf != ASYMPTOTIC:
        if reason := why_no_t_test(model, "test='t'"):
            raise ValueError(reason)
        data = model.training_data(X, y, sample_weight, "test='t'")
    return CoefficientQuestions.of(model, data, ddf, "test='t'")


def _variance_uncertainty(
    model: FittedModel, X: Any, y: Any, sample_weight: Any, asks: str
) -> VarianceUncertainty:
    """Uncertainty of the variances, from the training data."""
    from skmixed.inspection.coefficient_questions import reopened
    from skmixed.results.satterthwaite import variance_uncertainty

    if reason := why_no_t_test(model, asks):
        raise ValueError(reason)
    data = model.training_data(X, y, sample_weight, "test='t'")
    with restrained_blas(model.settings.options(model.encoder).n_threads):
        return variance_uncertainty(reopened(model, data))
