"""`MixedEffectsVIClassifier`: mixed-effects models for classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skmixed.base import BaseMixedEffects, Target
from skmixed.callbacks import with_callbacks
from skmixed.choices import (
    Approximation,
    ClassFamily,
    HandleUnknown,
    Link,
    Method,
    PosteriorName,
    SolverName,
    VariancePriorName,
)
from skmixed.class_scale import ClassScale, check_class_weight, codes_of, weights_of_classes
from skmixed.covariances import Relation
from skmixed.design import (
    Response,
    Table,
    as_vector,
    check_counts,
    log_coefficients,
)
from skmixed.distributed import is_distributed, predict_distributed, refuse_distributed
from skmixed.families import make_family, traits
from skmixed.formula.errors import quoted
from skmixed.persistence import unchanged_on_error
from skmixed.spec import ModelSpec
from skmixed.validation import check_choice, check_labels, check_level


class MixedEffectsVIClassifier(ClassifierMixin, BaseMixedEffects):
    r"""Mixed-effects classification of two classes or ordered classes.

    Row i has the linear predictor

    .. math::

        \eta_i = o_i + x_i^\top \beta + \sum_k z_{ik}^\top u_k[g_k(i)],
        \qquad u_k[l] \sim N(0, \Sigma_k),

    with fixed effects :math:`\beta`, random effects :math:`u_k` of the levels of
    grouping factor k, and a known offset :math:`o`. With F the logistic ("logit") or
    the standard normal ("probit") distribution function, one of two classes (see
    `positive_class`) has the probability

    .. math:: P(y_i = c_1 \mid \eta_i) = F(\eta_i),

    and ordered classes, :math:`c_0 < c_1 < \dots`, follow the cumulative model with thresholds
    :math:`t_0 < t_1 < \dots` [1]_

    .. math:: P(y_i \le c_j \mid \eta_i) = F(t_j - \eta_i).

    Grouping columns are ordinary columns of X, so pipelines, cross-validation and grid search work
    as usual. Pass successes out of trials as two rows with weights: see `fit`.

    Parameters
    ----------
    random_effects : "from_dtype", None, str, int, RandomEffect, dict or list of these, \
            default="from_dtype"
        Which columns group the rows. ``"from_dtype"``: every pandas category, and every column of
        text or other labels with at least five of them, gets a random intercept; a numeric array
        has no groups. A column name or position gets a random intercept. Text with a bar is a term
        in lme4's notation, such as ``"(1 + days | subject)"``, ``"(1 | a/b)"``, ``"(x || g)"``. A
        dict has the slopes, or the left side of a bar term, of each group: ``{"subject":
        ["days"]}``. None: no random effects. All other columns of X are fixed effects, see
        `fixed_effects`.
    fixed_effects : list of str or int, or None, default=None
        Columns of X that are fixed effects. Columns of labels have treatment contrasts with the
        first label as reference level. None: all columns of X without another role.
    reference : dict or None, default=None
        Reference level of columns of labels: ``{"treatment": "placebo"}``. In formulas write
        ``C(treatment, Treatment("placebo"))``.
    formula : str or None, default=None
        The right-hand side of a formula in lme4's notation, ``"1 + service + (1 | s)"``. It uses
        the columns of X that it names, and cannot be combined with `random_effects` and
        `fixed_effects`.
    family : {"bernoulli", "ordinal"}, default="bernoulli"
        Two classes, or ordered classes.
    link : {"logit", "probit"}, default="logit"
        The distribution function F.
    positive_class : label or None, default=None
        The class, of two, that positive coefficients make more probable. None: the last category if
        y is a pandas categorical, else the last of `classes_`. The choice changes only signs.
    class_order : list of labels or None, default=None
        Ordered classes, lowest first. None: the order of the categories of an ordered categorical,
        or of numbers. scikit-learn tools such as ``cross_val_predict(method="predict_proba")``
        replace the classes by numbers in alphabetical order before `fit`; with `class_order` such
        numbers are understood.
    class_weight : dict, "balanced" or None, default=None
        Factors of the case weights by class: ``{label: weight}``, with 1 for labels that are left
        out. "balanced": the number of rows divided by the number of classes and by the number of
        rows of the class, all by case weights. All results are then for the reweighted data:
        predicted probabilities and standard errors are those of classes with the reweighted
        frequencies. If errors in one class cost more, leave this at None and move the threshold on
        `predict_proba`.
    posterior : {"full", "mean_field"}, default="full"
        Variational family: one Gaussian over all effects, or independent normal distributions. Use
        "mean_field" for comparison only: it can set variances of crossed or nested factors to 0,
        and its standard deviations are too small.
    method : {"auto", "reml", "ml"}, default="auto"
        "reml": fixed effects have a flat prior and belong to the posterior. "ml": they maximise the
        ELBO as point estimates. "auto" is "ml", as in other programs. Thresholds are always point
        estimates.
    approximation : {"variational", "corrected"}, default="variational"
        Objective. "variational": a lower bound of the likelihood, by the best Gaussian posterior.
        "corrected": the likelihood itself, by adaptive quadrature within the levels of the largest
        grouping factor, with up to three effects per level. It is exact to at least six digits with
        one factor, with one factor nested in another, and with two factors of which one has at most
        three levels. Effects of other crossed factors, up to 10,000, are drawn; `loglik_std_` is
        their Monte Carlo error. With ``method="reml"`` the coefficients are integrated out as well.
    offset : str, int or None, default=None
        Column of X added to the linear predictor with coefficient 1.
    relations : mapping or None, default=None
        Known covariances between the levels of grouping columns: ``{"line": Relationship(K,
        labels)}``; see `skmixed.Relationship`. All levels of the relation get effects. A level of
        the data that the relation lacks is an error. Needs ``posterior="full"`` and the direct
        solver.
    variance_prior : str or None, default=None
        Prior of the standard deviation of every effect: "gamma", "half-cauchy", "half-normal",
        "exponential" or "flat". The log density is added to the objective, so variances are at
        their posterior mode. "gamma" (shape 2, rate 0, as in R's blme) avoids variances of 0.
        "half-normal", "half-cauchy" and "exponential" (the penalised-complexity prior) shrink large
        variances. Their scale is 1 on the linear predictor, for a slope divided by the standard
        deviation of its column. Correlations and coefficients have flat priors. `elbo_` does not
        include the prior, and such fits cannot be compared by likelihood. The mode is a point
        estimate: for intervals see `skmixed.variance_posterior`.
    fit_intercept : bool, default=True
        Whether there is a fixed intercept. Must be True for ordered classes, whose thresholds
        replace it.
    solver : {"auto", "direct", "iterative"}, default="auto"
        How the mixed-model equations of every step are solved. "direct" factorises them, which is
        exact; its cost grows with the cube of the number of levels outside the largest factor.
        "iterative" solves them by conjugate gradients and estimates variances and determinants from
        random vectors: see `n_probes`. It is exact where elimination keeps the equations sparse.
        "auto" chooses "direct" up to 2,500 such levels, if memory allows and no sparse factor is
        faster; `solver_` has the choice.
    handle_unknown : {"population", "warn", "error"}, default="population"
        What to do with unseen levels and missing labels in predictions. "population": average over
        the distribution between levels. "warn": do the same and warn about every unknown label.
        "error": raise an error.
    max_iter : int, default=100
        Maximum number of steps on variances and posterior.
    tol : float, default=1e-6
        The fit stops when the scaled gradient of the variance parameters and
        thresholds, their distance to the optimum in units of their standard errors,
        and the distance of the posterior from its own optimum are below it.
        With the iterative solver up to 1e-3 is enough, because its Monte Carlo error is a few
        percent of a standard error.
    n_probes : int or "auto", default="auto"
        Number of random vectors of the iterative solver. Monte Carlo errors fall with its square
        root; time grows about linearly. "auto": between 64 (few levels) and 5 (more than 20,000).
    warm_start : bool, default=False
        Whether `fit` starts from the variance parameters and thresholds of the
        previous fit.
    random_state : int, RandomState instance or None, default=None
        Seed of the random vectors of the iterative solver. None is a fixed seed, so equal data give
        equal fits. The direct solver does not use it.
    n_jobs : int or None, default=None
        Threads of the compiled kernels; results do not depend on it. None: all
        cores the process may use, or ``OMP_NUM_THREADS``. The linear algebra
        library takes half as many.
    verbose : int, default=0
        1 prints one line per iteration: ELBO, scaled gradient and seconds.
    keep_data : bool, default=False
        Whether `fit` keeps X, y and the case weights for `diagnose`, ``summary(test="t")``,
        displays and the bootstrap. They are not copied, and not stored in pickles. `skmixed.mixed`
        keeps them.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The sorted classes: the order of the columns of `predict_proba`, as scikit-learn's metrics
        expect it.
    ordered_classes_ : ndarray of shape (n_classes,)
        The classes from the lowest to the highest of the scale; with two classes, the modelled
        class is last.
    class_weight_ : ndarray of shape (n_classes,)
        Factors of the case weights, in the order of `classes_`.
    intercept_ : float
        Fixed intercept; 0 if there is none, and for ordered classes.
    thresholds_ : ndarray of shape (n_classes - 1,)
        Only with ``family="ordinal"``: P(y <= class j) = F(thresholds_[j] - eta).
    thresholds_std_ : ndarray of shape (n_classes - 1,)
        Their standard errors. Only with ``family="ordinal"``.
    coef_ : ndarray of shape (n_fixed,)
        Fixed effects in the order of `coef_names_`, which differs from that of the columns of X: to
        select columns use `feature_importances_` instead. 0 if the column is collinear and was
        dropped. Positive values make the last of `ordered_classes_` more probable.
    coef_names_ : list of str
        Name of each entry of `coef_`.
    coef_cov_ : ndarray of shape (n_fixed + 1, n_fixed + 1)
        Covariance of the intercept and the coefficients, the intercept first: posterior covariance
        for "reml", sampling covariance for "ml", including the uncertainty of variances and
        thresholds (see the user guide, "Standard errors"). Without the row and column of the
        intercept if there is none, and for ordered classes.
    random_effects_ : dict of {str: DataFrame}
        Posterior means, levels x terms, by group; an interaction of columns is
        keyed ``"a:b"``.
    random_effects_std_ : dict of {str: DataFrame}
        Posterior standard deviations, of the same shape.
    random_effects_cov_ : dict of {str: DataFrame}
        Estimated covariance of the effects of a level, terms x terms, by group.
    variance_components_ : DataFrame
        Columns group, term_1, term_2, variance, sd, corr and log_sd_std_error, the standard
        error of the logarithm of a standard deviation (that of a logarithmic variance is twice
        it), from the curvature in all parameters.
    elbo_ : float
        Evidence lower bound with all constants, see the notes; with ``approximation="corrected"``
        the log likelihood. `loglik_` is the same number, and `approximation_` says which it is.
    elbo_std_ : float
        Its Monte Carlo standard error over seeds. 0 with the direct solver and with sparse factors,
        unless ``approximation="corrected"`` draws effects of crossed factors.
    elbo_path_ : ndarray of shape (n_steps + 1,)
        The ELBO at the start and after every step.
    gradient_path_ : ndarray of shape (n_steps + 1,)
        The scaled gradient at the same points.
    n_iter_ : int
        Number of steps; 1 if none was needed.
    converged_ : bool
        Whether the fit converged: the scaled gradient is at most `tol` (with random vectors at most
        1e-3), or as small as rounding allows. The latter means that it is below 1e-4 and did not
        halve in three iterations, or that five iterations gained less than the rounding error of
        the ELBO and the square of the gradient promises no more. At a point with negative
        curvature, no step along this direction may improve the objective. `gradient_path_` ends
        with the scaled gradient of the published estimates, after variances close to 0 were set
        to 0.
    n_observations_ : float
        Sum of the case weights, after `class_weight`.
    response_moments_ : ndarray of shape (2,)
        Weighted mean and root mean square of the class numbers, by which `compare_models`
        distinguishes responses.
    offset_range_ : ndarray of shape (2,)
        Smallest and largest offset of the fit, if there is one; `predict_proba` warns about offsets
        far outside.
    method_ : {"reml", "ml"}
        The method that was used.
    solver_ : str
        The solver that was used.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if all names in X are strings.

    See Also
    --------
    skmixed.MixedEffectsVIRegressor : Numbers, counts and positive amounts.
    skmixed.mixed : Fit a model from a formula and a data frame.
    skmixed.RandomEffect : A random effect, described without a formula.

    Notes
    -----
    The posterior is approximated by the normal distribution with the largest ELBO [2]_ [3]_. The
    ELBO is always *below* the log likelihood (the restricted one with ``"reml"``), and variances
    maximise the bound. They are too small if levels have few rows and differ much. With a few dozen
    rows per level, or moderate variances, the gap is negligible. ``model.diagnose(X, y)`` measures
    it on your data. For successes out of trials in `mixed`, ``cbind(k, n - k) ~ ...``, the ELBO
    includes the binomial coefficients; for rows with case weights it does not.

    All expectations of a row are one-dimensional and computed to rounding error. `coef_`,
    `random_effects_` and all other attributes are in the units of X. The training data are kept
    only with ``keep_data=True``.

    References
    ----------
    .. [1] McCullagh (1980), "Regression models for ordinal data", Journal of the
       Royal Statistical Society B 42(2).
    .. [2] Opper and Archambeau (2009), "The variational Gaussian approximation
       revisited", Neural Computation 21(3).
    .. [3] Ormerod and Wand (2012), "Gaussian variational approximate inference for
       generalized linear mixed models", Journal of Computational and Graphical
       Statistics 21(1).

    Examples
    --------
    >>> from skmixed import MixedEffectsVIClassifier
    >>> from skmixed.datasets import make_mixed_classification
    >>> X, y, _ = make_mixed_classification(n_samples=600, groups=(20, 10), random_state=0)
    >>> model = MixedEffectsVIClassifier(random_effects=["g0", "g1"]).fit(X, y)
    >>> model.random_effects_["g0"].shape
    (20, 1)
    >>> model.predict_proba(X).shape
    (600, 2)

    Answers on a scale of four:

    >>> X, y, _ = make_mixed_classification(n_samples=600, n_classes=4, random_state=0)
    >>> model = MixedEffectsVIClassifier(["g0", "g1"], family="ordinal").fit(X, y)
    >>> model.thresholds_.shape
    (3,)
    """

    classes_: np.ndarray
    ordered_classes_: np.ndarray
    class_weight_: np.ndarray

    def __init__(
        self,
        random_effects: Any = "from_dtype",
        *,
        fixed_effects: Any = None,
        reference: Any = None,
        formula: str | None = None,
        family: ClassFamily = "bernoulli",
        link: Link = "logit",
        positive_class: Any = None,
        class_order: Any = None,
        class_weight: Any = None,
        posterior: PosteriorName = "full",
        method: Method = "auto",
        approximation: Approximation = "variational",
        offset: str | int | None = None,
        relations: Mapping[Any, Relation] | None = None,
        variance_prior: VariancePriorName | None = None,
        fit_intercept: bool = True,
        solver: SolverName = "auto",
        handle_unknown: HandleUnknown = "population",
        max_iter: int = 100,
        tol: float = 1e-6,
        n_probes: int | Literal["auto"] = "auto",
        warm_start: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
        keep_data: bool = False,
    ) -> None:
        self.random_effects = random_effects
        self.fixed_effects = fixed_effects
        self.reference = reference
        self.formula = formula
        self.family = family
        self.link = link
        self.positive_class = positive_class
        self.class_order = class_order
        self.class_weight = class_weight
        self.posterior = posterior
        self.method = method
        self.approximation = approximation
        self.offset = offset
        self.relations = relations
        self.variance_prior = variance_prior
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.handle_unknown = handle_unknown
        self.max_iter = max_iter
        self.tol = tol
        self.n_probes = n_probes
        self.warm_start = warm_start
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose
        self.keep_data = keep_data

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MixedEffectsVIClassifier:
        """Fit the model.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Fixed-effect and grouping columns.
        y : array-like of shape (n_samples,)
            Classes: numbers, text or a categorical. Text has no order: more than two text classes
            must be an ordered categorical, or `class_order` must list them.
        sample_weight : array-like of shape (n_samples,), default=None
            Case weights: weight 2 counts as the row twice, weight 0 as absent. So k
            successes out of n trials are a row of the one class with weight k and a
            row of the other with weight n - k.

        Returns
        -------
        self : MixedEffectsVIClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter, a column or a value cannot be used; the message names it and says what
            to do.

        Warns
        -----
        ConvergenceWarning
            If the variance parameters did not converge.
        UserWarning
            If the data do not determine a part of the model, or a column separates the classes.
        """
        refuse_distributed(X, self.family)
        with unchanged_on_error(self):
            return self._fit(X, y, sample_weight)

    def predict_proba(self, X: Any, include: str | Sequence[str] = "all") -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to predict.
        include : "all", "none" or list of str, default="all"
            Groups whose random effects are used; mean and variance of the others are left out.
            "none": fixed effects only; with ``method="reml"`` this averages over the coefficients.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`. For a Dask data frame, a Dask data frame with the classes as
            columns.

        Notes
        -----
        These are predictive probabilities: averages over the posterior of the linear predictor, and
        for unseen levels over the distribution between levels. They are less extreme than
        probabilities at the posterior mean.
        """
        if is_distributed(X):
            check_is_fitted(self)
            return predict_distributed(
                self, X, "predict_proba", self.classes_.tolist(), include=include
            )
        rows = self._fitted_model.encode(X, include, with_weights=False)
        probabilities = rows.result.likelihood.probabilities(
            rows.mean(), rows.variance(further=False), rows.parameters
        )
        return probabilities[:, codes_of(self.ordered_classes_, self.classes_)]

    def predict_log_proba(self, X: Any, include: str | Sequence[str] = "all") -> np.ndarray:
        """Predict the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to predict.
        include : "all", "none" or list of str, default="all"
            As for `predict_proba`.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            In the order of `classes_`; at least -708.4, where `predict_proba` is 0.
        """
        return np.log(np.maximum(self.predict_proba(X, include), np.finfo(float).tiny))

    def predict_proba_interval(
        self, X: Any, level: float = 0.95, include: str | Sequence[str] = "all"
    ) -> np.ndarray:
        """Predict central intervals for the probabilities of the classes.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to predict.
        level : float, default=0.95
            Posterior probability of each interval, between 0 and 1.
        include : "all", "none" or list of str, default="all"
            As for `predict_proba`.

        Returns
        -------
        intervals : ndarray of shape (n_samples, n_classes, 2)
            Lower and upper limits, with the classes in the order of `classes_`.

        Notes
        -----
        The limits are quantiles of P(class | eta) over the posterior of the linear predictor eta,
        and for unseen levels over the distribution between levels. They are exact for a normal
        posterior, also for middle classes, whose probability is not monotone in eta. With
        ``approximation="corrected"`` and quadrature the posterior of a level's effects is skewed,
        and eta is treated as a shifted lognormal variable with its mean, variance and skewness.
        Limits of all classes do not add up to 1. Thresholds count as known. With ``method="reml"``
        `predict_proba` is the mean of the same distribution. With "ml" coefficients are uncertain
        here, but fixed in `predict_proba`.

        Examples
        --------
        >>> from skmixed import MixedEffectsVIClassifier
        >>> from skmixed.datasets import make_mixed_classification
        >>> X, y, _ = make_mixed_classification(n_samples=600, groups=(20,), random_state=0)
        >>> model = MixedEffectsVIClassifier(["g0"]).fit(X, y)
        >>> model.predict_proba_interval(X, level=0.9).shape
        (600, 2, 2)
        """
        check_level(level)
        rows = self._fitted_model.encode(X, include, with_weights=False)
        mean, variance = rows.mean(), rows.variance(further=True)
        skewness, quantiles = rows.skewness(variance), rows.result.likelihood.probability_quantiles
        tail = 0.5 * (1.0 - float(level))
        ends = [
            quantiles(share, mean, variance, rows.parameters, skewness)
            for share in (tail, 1.0 - tail)
        ]
        return np.stack(ends, axis=2)[:, codes_of(self.ordered_classes_, self.classes_)]

    def predict(
        self, X: Any, include: str | Sequence[str] = "all", type: str | None = None
    ) -> np.ndarray:
        """Predict the most probable class.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to predict.
        include : "all", "none" or list of str, default="all"
            As for `predict_proba`.
        type : {None, "link"}, default=None
            "link": return the posterior mean of the linear predictor instead of a class. Large
            values mean that the last of `ordered_classes_` is probable. For ordered classes it is
            on the scale of `thresholds_`.

        Returns
        -------
        classes : ndarray of shape (n_samples,)
            Elements of `classes_`; numbers with ``type="link"``. After `mixed` with successes out
            of trials, the probability of a success. For a Dask data frame, a Dask series.
        """
        if type is not None:
            check_choice("type", type, ("link",))
        if is_distributed(X):
            check_is_fitted(self)
            dtype = np.float64 if type else pd.Series(self.classes_).dtype
            name = "link" if type else "class"
            return predict_distributed(
                self, X, "predict", [name], dtype, include=include, type=type
            )[name]
        if type is not None:
            model = self._fitted_model
            mean = model.encode(X, include, with_weights=False).mean()
            return mean - model.location
        probabilities = self.predict_proba(X, include)
        if self.response_.is_trials:
            return probabilities[:, 1]
        return self.classes_[probabilities.argmax(axis=1)]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Accuracy: the share of rows whose class is predicted.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to predict.
        y : array-like of shape (n_samples,)
            Their classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            Accuracy.
        """
        check_is_fitted(self)
        if self.response_.is_trials:
            raise ValueError(
                f"The response {quoted(self.response_.label)} counts successes out of trials, and "
                "the model predicts probabilities, which have no accuracy. Compare predict(X) with "
                "the observed shares, or compare models with compare_models."
            )
        return float(super().score(X, y, sample_weight))

    def decision_function(self, X: Any, include: str | Sequence[str] = "all") -> np.ndarray:
        """Scores of the rows, for scikit-learn's tools.

        The linear predictor itself is ``predict(X, type="link")``.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to score.
        include : "all", "none" or list of str, default="all"
            As for `predict_proba`.

        Returns
        -------
        scores : ndarray of shape (n_samples,) or (n_samples, n_classes)
            Two classes: the log odds of the second of `classes_` by `predict_proba`. More classes:
            the logarithms of the probabilities, one column per class.
        """
        scores = self.predict_log_proba(X, include)
        return scores if len(self.classes_) > 2 else scores[:, 1] - scores[:, 0]

    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw classes from the posterior predictive distribution.

        In one draw all rows share the fixed effects, and rows of a level, also an unseen one, share
        its effects.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            Rows to draw for.
        n_samples : int, default=1
            Number of draws.
        random_state : int, RandomState instance or None, default=None
            Seed; equal seeds give equal draws.

        Returns
        -------
        samples : ndarray of shape (n_rows, n_samples)
            One draw per column, elements of `classes_`.
        """
        draws = self._draw(X, n_samples, random_state)
        return self.ordered_classes_[draws.astype(np.int64)]

    # What makes classes of labels --------------------------------------------------

    def _target(
        self, y: Any, weights: np.ndarray, used: np.ndarray | slice, asked: Response
    ) -> Target:
        if asked.is_trials:
            return self._trials(y, weights, used, asked)
        y, n_rows = as_vector(y), len(weights)
        labels = check_labels(y, n_rows, ordered=traits(self.family).is_ordered)[used]
        found = ClassScale.of(y, labels)
        self._refuse_classes(found)
        if traits(self.family).is_ordered:
            classes = found.in_order(self.class_order)
        else:
            classes = found.with_last(self.positive_class)
        response = codes_of(classes, labels).astype(np.float64)
        likelihood = make_family(self.family, self.link, len(classes))
        by_class = weights_of_classes(
            self.class_weight, classes, response, weights[used], numbered=found.numbered
        )
        return Target(response, likelihood, classes, asked, by_class)

    def _trials(
        self, y: Any, weights: np.ndarray, used: np.ndarray | slice, asked: Response
    ) -> Target:
        """The response where rows are successes out of trials."""
        if self.positive_class is not None:
            raise ValueError(
                f"positive_class={self.positive_class!r}: {quoted(asked.label)} already counts "
                "successes; leave it at None."
            )
        if self.class_weight is not None:
            raise ValueError(
                f"class_weight={self.class_weight!r}: {quoted(asked.label)} counts successes out "
                "of trials, which are weighted by their number; leave it at None."
            )
        counts = check_counts(y, len(weights), asked.label)[used]
        for column, what in ((0, "no successes"), (1, "no failures")):
            if not counts[:, column].any():
                raise ValueError(
                    f"{quoted(asked.label)} has {what} in any row, so there is nothing to learn. "
                    "Check how the counts were made."
                )
        meaning = replace(
            asked,
            n_sets=float(weights[used][counts.any(axis=1)].sum()),
            log_coefficients=log_coefficients(counts, weights[used]),
        )
        return Target(counts, make_family(self.family, self.link, 2), np.array([0, 1]), meaning)

    def _refuse_classes(self, found: ClassScale) -> None:
        n_classes, labels = len(found.classes), found.classes.tolist()
        if n_classes < 2:
            raise ValueError(
                f"Classifier can't train when only one class is present: y is {labels[0]!r} in "
                "every row, so there is nothing to learn. Add rows of another class, or check "
                "how y was made."
            )
        if n_classes > 2 and not traits(self.family).is_ordered:
            raise ValueError(
                f"Only binary classification is supported with family={self.family!r}. The type of "
                f"the target is multiclass: y has {n_classes} classes. Use family='ordinal' if "
                "they have an order, or fit one class against the rest."
            )

    def _spec(
        self, table: Table, formula: ModelSpec | None = None, *, complete: bool = True
    ) -> ModelSpec:
        spec = super()._spec(table, formula, complete=complete)
        if traits(self.family).is_ordered and not spec.fixed.intercept:
            raise ValueError(
                f"The thresholds of family={self.family!r} replace the intercept: remove "
                "'0 +' from the formula, and leave fit_intercept at True."
            )
        return spec

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("link", self.link, ("logit", "probit"))
        check_class_weight(self.class_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = traits(self.family).is_ordered
        return tags
