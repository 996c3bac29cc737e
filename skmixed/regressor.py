"""`MixedEffectsVIRegressor`: mixed-effects models of numbers, counts and amounts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from sklearn.base import RegressorMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _num_samples, check_is_fitted

from skmixed.base import BaseMixedEffects, Target
from skmixed.callbacks import with_callbacks
from skmixed.choices import (
    Approximation,
    HandleUnknown,
    Method,
    NumberFamily,
    PosteriorName,
    SolverName,
    VariancePriorName,
)
from skmixed.covariances import Relation
from skmixed.design import Response
from skmixed.distributed import (
    fit_distributed,
    is_distributed,
    predict_distributed,
    refuse_distributed,
)
from skmixed.families import make_family, traits
from skmixed.fitted_model import columns_of_response
from skmixed.inspection.attributes import noise_frame
from skmixed.persistence import unchanged_on_error
from skmixed.validation import check_choice, check_level, check_response

TYPES = ("link", "response")


def _adds_up(estimator: MixedEffectsVIRegressor) -> bool:
    """Whether rows can be summed: for `hasattr(estimator, "partial_fit")`."""
    if not traits(estimator.family).is_quadratic:
        raise AttributeError(
            f"family={estimator.family!r} has no partial_fit: every iteration needs all rows. "
            "Use fit on all rows at once."
        )
    return True


class MixedEffectsVIRegressor(RegressorMixin, BaseMixedEffects):
    r"""Mixed-effects regression for normal responses, counts and positive amounts.

    Row i has the linear predictor

    .. math::

        \eta_i = o_i + x_i^\top \beta + \sum_k z_{ik}^\top u_k[g_k(i)],
        \qquad u_k[l] \sim N(0, \Sigma_k),

    with fixed effects :math:`\beta`, random effects :math:`u_k` of the levels of
    grouping factor k, and a known offset :math:`o`. The response is normal,

    .. math:: y_i \mid \eta_i \sim N(\eta_i, \sigma^2 / w_i)

    with known weights :math:`w`, or has the mean :math:`\mu_i = \exp(\eta_i)`: see `family`.
    Grouping columns are ordinary columns of X, so pipelines, cross-validation and grid search work
    as usual.

    For normal responses and ``posterior="full"`` the posterior is exact, and the ELBO is the log
    likelihood (``method="ml"``) or the restricted log likelihood (``method="reml"``), all constants
    included [1]_. For other families the ELBO is a lower bound: see the notes.

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
    family : {"gaussian", "poisson", "negative_binomial", "gamma"}, default="gaussian"
        Distribution of the response. "gaussian": any number. "poisson": counts with variance
        :math:`\mu`, the mean. "negative_binomial": counts with variance :math:`\mu + d \mu^2`.
        "gamma": positive amounts with variance :math:`d \mu^2`. The dispersion d is estimated. All
        except "gaussian" have a log link.
    posterior : {"full", "mean_field"}, default="full"
        Variational family: one Gaussian over all effects, or independent normal distributions. Use
        "mean_field" for comparison only: it can set variances of crossed or nested factors to 0,
        and its standard deviations are too small.
    method : {"auto", "reml", "ml"}, default="auto"
        "reml": fixed effects are integrated out under a flat prior. "ml": they maximise the ELBO as
        point estimates. "auto" is "reml" for normal responses and "ml" for counts and amounts, as
        in other programs; `method_` has the choice.
    approximation : {"variational", "corrected"}, default="variational"
        Objective for counts and amounts. "variational": a lower bound of the likelihood, by the
        best Gaussian posterior. "corrected": the likelihood itself, by adaptive quadrature within
        the levels of the largest grouping factor, with up to three effects per level. It is exact
        to at least six digits with one factor, with one factor nested in another, and with two
        factors of which one has at most three levels. Effects of other crossed factors, up to
        10,000, are drawn; `loglik_std_` is their Monte Carlo error. With ``method="reml"`` the
        coefficients are integrated out as well.
    noise_scale : float or None, default=None
        Standard deviation of the noise. None: estimated. Normal responses only.
    offset : str, int or None, default=None
        Column of X added to the linear predictor with coefficient 1; for counts the
        logarithm of the exposure.
    precision_weights : str, int or None, default=None
        Column of X with positive weights. The noise variance of a row is `noise_variance_` divided
        by its weight, as with lme4's ``weights``. Normal responses only.
    dispersion : str, int or None, default=None
        Column of labels with one noise variance per label, like nlme's ``varIdent``. If the labels
        are numbers, write ``"C(month)"``. `noise_variance_` is that of the first label, `noise_`
        has all. Needs normal responses, ``posterior="full"`` and the direct solver.
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
        variances. Their scale is the standard deviation of y (1 for counts and amounts), for a
        slope divided by the standard deviation of its column. Correlations and coefficients have
        flat priors. `elbo_` does not include the prior, and such fits cannot be compared by
        likelihood. The mode is a point estimate: for intervals see `skmixed.variance_posterior`.
    fit_intercept : bool, default=True
        Whether there is a fixed intercept.
    solver : {"auto", "direct", "iterative"}, default="auto"
        How the mixed-model equations are solved. "direct" factorises them, which is exact; its cost
        grows with the cube of the number of levels outside the largest factor. "iterative" solves
        them by conjugate gradients and estimates traces and determinants from random vectors: see
        `n_probes`. It is exact where elimination keeps the equations sparse. "auto" chooses
        "direct" up to 2,500 such levels, if memory allows and no sparse factor is faster; `solver_`
        has the choice.
    handle_unknown : {"population", "warn", "error"}, default="population"
        What to do with unseen levels and missing labels in `predict`. "population": predict for the
        population, with effect 0 and the variance between levels. "warn": do the same and warn
        about every unknown label. "error": raise an error.
    max_iter : int, default=100
        Maximum number of Newton steps on the variance parameters.
    tol : float, default=1e-6
        The fit stops when the scaled gradient of the variance parameters, their
        distance to the optimum in units of their standard errors, falls below it.
        With the iterative solver up to 1e-3 is enough, because its Monte Carlo error is a few
        percent of a standard error.
    n_probes : int or "auto", default="auto"
        Number of random vectors of the iterative solver. Monte Carlo errors of variances and of the
        ELBO fall with its square root; time grows about linearly. "auto": between 64 (few levels)
        and 5 (more than 20,000), so that the error of a variance is a few percent of its standard
        error.
    warm_start : bool, default=False
        Whether `fit` starts from the variance parameters of the previous fit.
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
    intercept_ : float
        Fixed intercept, 0 when there is none.
    coef_ : ndarray of shape (n_fixed,)
        Fixed effects in the order of `coef_names_`, which differs from that of the columns of X: to
        select columns use `feature_importances_` instead. 0 if the column is collinear and was
        dropped.
    coef_names_ : list of str
        Name of each entry of `coef_`.
    coef_cov_ : ndarray of shape (n_fixed + 1, n_fixed + 1)
        Covariance of the intercept and the coefficients, the intercept first (if there is one):
        posterior covariance for "reml", sampling covariance for "ml". For families other than
        "gaussian" it includes the uncertainty of variances and dispersions; see the user guide,
        "Standard errors".
    random_effects_ : dict of {str: DataFrame}
        Posterior means, levels x terms, by group; an interaction of columns is
        keyed ``"a:b"``.
    random_effects_std_ : dict of {str: DataFrame}
        Posterior standard deviations, of the same shape.
    random_effects_cov_ : dict of {str: DataFrame}
        Estimated covariance of the effects of a level, terms x terms, by group.
    noise_variance_ : float
        Variance of the noise of a row of weight 1. Normal responses only.
    noise_ : DataFrame
        Standard deviations of the noise, one row per label of `dispersion`, or one row. Columns
        ``group``, ``term``, ``parameter`` and ``estimate``. Normal responses only.
    dispersion_ : float
        The d of `family`. Only with "negative_binomial" and "gamma".
    dispersion_std_ : float
        Its standard error; NaN if the dispersion is 0 or infinite.
    variance_components_ : DataFrame
        Columns group, term_1, term_2, variance, sd, corr and log_sd_std_error; the noise, if there
        is one, comes last. The last column is the standard error of the logarithm of a standard
        deviation, from the curvature in all parameters; it is NaN for normal responses, see
        `variance_intervals`.
    elbo_ : float
        Evidence lower bound with all constants; with ``approximation="corrected"`` the log
        likelihood. `loglik_` is the same number, and `approximation_` says which it is.
    elbo_std_ : float
        Its Monte Carlo standard error over seeds. 0 with the direct solver and with sparse factors,
        unless ``approximation="corrected"`` draws effects of crossed factors.
    elbo_path_ : ndarray of shape (n_steps + 1,)
        The ELBO at the start and after every step.
    gradient_path_ : ndarray of shape (n_steps + 1,)
        The scaled gradient at the same points.
    n_iter_ : int
        Number of Newton steps; 1 if none was needed.
    converged_ : bool
        Whether the fit converged: the scaled gradient is at most `tol` (with random vectors at most
        1e-3), or as small as rounding allows. The latter means that it is below 1e-4 and did not
        halve in three iterations, or that five iterations gained less than the rounding error of
        the ELBO and the square of the gradient promises no more. At a point with negative
        curvature, no step along this direction may improve the objective. `gradient_path_` ends
        with the scaled gradient of the published estimates, after variances close to 0 were set
        to 0.
    response_moments_ : ndarray of shape (2,)
        Weighted mean and root mean square of the response, by which `compare_models` distinguishes
        responses. Not available after `partial_fit` and Dask fits.
    offset_range_ : ndarray of shape (2,)
        Smallest and largest offset of the fit, if there is one; `predict` warns about offsets far
        outside.
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
    skmixed.MixedEffectsVIClassifier : Two classes, or ordered classes.
    skmixed.mixed : Fit a model from a formula and a data frame.
    skmixed.RandomEffect : A random effect, described without a formula.

    Notes
    -----
    For counts and amounts the posterior is approximated by the normal distribution with the largest
    ELBO [2]_. The ELBO is then below the log likelihood, and variances maximise the bound.
    ``model.diagnose(X, y)`` measures the error on your data. Such fits need all rows in every
    iteration, so `partial_fit` and Dask need normal responses.

    `coef_`, `random_effects_` and all other attributes are in the units of X and y. The training
    data are kept only with ``keep_data=True``.

    References
    ----------
    .. [1] Bates, Maechler, Bolker and Walker (2015), "Fitting linear mixed-effects
       models using lme4", Journal of Statistical Software 67(1).
    .. [2] Opper and Archambeau (2009), "The variational Gaussian approximation
       revisited", Neural Computation 21(3).

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor
    >>> from skmixed.datasets import make_mixed_regression
    >>> X, y, _ = make_mixed_regression(n_samples=500, groups=(20, 10), random_state=0)
    >>> model = MixedEffectsVIRegressor(random_effects=["g0", "g1"]).fit(X, y)
    >>> model.random_effects_["g0"].shape
    (20, 1)
    >>> mean, std = model.predict(X, return_std=True)

    Counts:

    >>> X, y, _ = make_mixed_regression(n_samples=500, family="poisson", random_state=0)
    >>> model = MixedEffectsVIRegressor(["g0", "g1"], family="poisson").fit(X, y)
    >>> model.predict_interval(X, level=0.9).shape
    (500, 2)
    """

    noise_variance_: float

    def __init__(
        self,
        random_effects: Any = "from_dtype",
        *,
        fixed_effects: Any = None,
        reference: Any = None,
        formula: str | None = None,
        family: NumberFamily = "gaussian",
        posterior: PosteriorName = "full",
        method: Method = "auto",
        approximation: Approximation = "variational",
        noise_scale: float | None = None,
        offset: str | int | None = None,
        precision_weights: str | int | None = None,
        dispersion: str | int | None = None,
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
        self.posterior = posterior
        self.method = method
        self.approximation = approximation
        self.noise_scale = noise_scale
        self.offset = offset
        self.precision_weights = precision_weights
        self.dispersion = dispersion
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

    def _target(
        self, y: Any, weights: np.ndarray, used: np.ndarray | slice, asked: Response
    ) -> Target:
        likelihood = make_family(self.family)
        columns = columns_of_response(y, len(weights), used, asked.variable)
        meaning, response = Response.learn(asked.variable, columns)
        if meaning.computed is not None:
            response = check_response(response, len(response))
        likelihood.refuse_targets(response)
        return Target(response, likelihood, meaning=meaning)

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MixedEffectsVIRegressor:
        """Fit the model.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Fixed-effect and grouping columns. A Dask data frame (normal responses only) is summed
            by partition, on the current ``dask.distributed`` client if there is one, and need not
            fit into memory.
        y : array-like of shape (n_samples,)
            Response: numbers, counts or positive amounts, depending on `family`. With a Dask data
            frame, a Dask series with the same partitions.
        sample_weight : array-like of shape (n_samples,), default=None
            Case weights: weight 2 counts as the row twice, weight 0 as absent.

        Returns
        -------
        self : MixedEffectsVIRegressor
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
            If the data do not determine a part of the model.
        """
        if not traits(self.family).is_quadratic:
            refuse_distributed(X, self.family)
        if is_distributed(X):
            with unchanged_on_error(self):
                return fit_distributed(self, X, y, sample_weight)
        with unchanged_on_error(self):
            return self._fit(X, y, sample_weight)

    @available_if(_adds_up)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MixedEffectsVIRegressor:
        """Fit the model on the rows of this call and of all earlier calls.

        For normal responses only. The estimates equal those of one `fit` on all rows, because
        chunks are reduced to sums over cells of levels, which add up. Any chunk may bring new
        levels. Cells and levels are kept, rows are not.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Further rows of the same columns. Every chunk needs at least one row.
        y : array-like of shape (n_samples,)
            Their response.
        sample_weight : array-like of shape (n_samples,), default=None
            Case weights, as in `fit`.

        Returns
        -------
        self : MixedEffectsVIRegressor
            The estimator; it stays unfitted while a grouping column has shown a single level.

        Raises
        ------
        ValueError
            As `fit`; also if the model has a function that is computed from all rows, such as
            ``scale(x)``, or if a categorical fixed effect has a label that the first chunk did not
            declare.

        Notes
        -----
        `fit` discards the chunks. `partial_fit` after `fit` continues from the rows of `fit` if
        their sums were kept: up to 64 MB, and not in pickles. Every call costs one fit on the sums
        so far, whose time does not depend on the number of rows.

        Examples
        --------
        >>> import numpy as np
        >>> from skmixed import MixedEffectsVIRegressor
        >>> from skmixed.datasets import make_mixed_regression
        >>> X, y, _ = make_mixed_regression(n_samples=600, groups=(20, 10), random_state=0)
        >>> model = MixedEffectsVIRegressor(["g0", "g1"])
        >>> for rows in np.array_split(np.arange(600), 3):
        ...     model = model.partial_fit(X.iloc[rows], y[rows])
        >>> float(model.n_observations_)
        600.0
        """
        with unchanged_on_error(self):
            return self._partial_fit(X, y, sample_weight)

    @property
    def noise_(self) -> pd.DataFrame:
        """Standard deviations of the noise of normal responses, one row per stratum."""
        model = self._fitted_model
        if not model.likelihood.has_noise:
            raise AttributeError("noise_ exists for normal responses only; see dispersion_.")
        return noise_frame(model)

    def predict(
        self,
        X: Any,
        return_std: bool | str = False,
        include: str | Sequence[str] = "all",
        type: str | None = None,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Predict the response.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to predict. Unseen levels and missing labels have effect 0 (see `handle_unknown`).
            For a Dask data frame the results are Dask series.
        return_std : bool or "mean", default=False
            True: also return the standard deviation of a new observation. It contains the noise (or
            the variance of counts or amounts at their mean), the posterior variance of the effects,
            the uncertainty of coefficients also with ``method="ml"``, and for unseen levels the
            variance between levels. "mean": return the standard error of the mean, without noise.
        include : "all", "none" or list of str, default="all"
            Groups whose random effects are used; the others are left out of the mean and the
            standard deviation. "none": fixed effects only. For counts and amounts with
            ``method="reml"`` this averages over the coefficients.
        type : {None, "link", "response"}, default=None
            None: the modelled response, which is log(y) after ``mixed("log(y) ~ ...")``.
            "response": y itself, if a function of y is modelled; for log(y) this is the mean of a
            log-normal variable, above exp(mean of log(y)). "link": the linear predictor and its
            standard deviation.

        Returns
        -------
        mean : ndarray of shape (n_samples,)
            Posterior predictive mean of the response. For counts and amounts this is E[exp(eta)]
            over the posterior, which is above exp(E[eta]). For unseen levels eta includes the
            variance between levels.
        std : ndarray of shape (n_samples,)
            Only with ``return_std=True``.

        Notes
        -----
        Given fixed effects and small factors, levels of two different large factors are treated as
        independent; see ``skmixed.results.prediction``. The standard deviation is exact for models
        with up to about 280 effects. After an iterative fit the variance of an effect is exact
        given the other effects, plus an estimate from posterior draws.
        """
        if type is not None:
            check_choice("type", type, TYPES)
        if isinstance(return_std, str):
            check_choice("return_std", return_std, ("mean",))
        if is_distributed(X):
            columns = ["mean", "std"] if return_std else ["mean"]
            frame = predict_distributed(
                self, X, "predict", columns, return_std=return_std, include=include, type=type
            )
            return (frame["mean"], frame["std"]) if return_std else frame["mean"]
        transforms = type == "response" and self._fitted_model.response.is_transformed
        if transforms and return_std == "mean":
            raise ValueError(
                f"return_std='mean' is the standard error of the mean of {self.response_.label}; "
                "leave type='response' out."
            )
        rows = self._fitted_model.encode(
            X, include, with_weights=bool(return_std) or type == "response"
        )
        mean, likelihood = rows.mean(), rows.result.likelihood
        plain = not transforms and likelihood.is_quadratic
        if not return_std and (type == "link" or plain):
            return mean
        variance = rows.variance(further=True)
        if type == "link":
            return mean, np.sqrt(variance)
        if return_std == "mean":
            std = likelihood.mean_moments(mean, variance)[1]
        else:
            std = likelihood.predictive_moments(mean, variance, rows.parameters)[1]
        if transforms:
            expected, std = self.response_.moments(mean, std**2)
        else:
            expected = likelihood.mean_moments(mean, rows.variance(further=False))[0]
        return (expected, std) if return_std else expected

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Coefficient of determination (R squared) of the predictions, on the scale of the model.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to predict.
        y : array-like of shape (n_samples,)
            Their response: after ``mixed("log(y) ~ ...")`` pass y, not log(y).
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            R squared, of log(y) in the example above.
        """
        check_is_fitted(self)
        if self.response_.is_transformed:
            y = self._fitted_model.numbers(y, _num_samples(X), np.arange(_num_samples(X)))
        return super().score(X, y, sample_weight)

    def predict_interval(
        self,
        X: Any,
        level: float = 0.95,
        type: str | None = None,
        include: str | Sequence[str] = "all",
    ) -> np.ndarray:
        """Predict a central interval for a new observation per row.

        For counts and amounts the limits are quantiles of the predictive distribution, the family's
        distribution averaged over the posterior of the linear predictor. Limits of counts are whole
        numbers, and such intervals have at least the requested probability.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to predict.
        level : float, default=0.95
            Probability of the interval, between 0 and 1.
        type : {None, "response"}, default=None
            None: of what is modelled; "response": of the column itself, see `predict`.
        include : "all", "none" or list of str, default="all"
            Groups whose random effects enter, as for `predict`.

        Returns
        -------
        interval : ndarray of shape (n_samples, 2)
            Lower and upper limits. For a Dask data frame, a Dask data frame with the columns
            "lower" and "upper".
        """
        check_level(level)
        if is_distributed(X):
            return predict_distributed(
                self, X, "predict_interval", ["lower", "upper"],
                level=level, type=type, include=include,
            )  # fmt: skip
        tail = 0.5 * (1.0 - level)
        return self.predict_quantile(X, [tail, 1.0 - tail], type, include)

    def predict_quantile(
        self,
        X: Any,
        q: float | Sequence[float],
        type: str | None = None,
        include: str | Sequence[str] = "all",
    ) -> np.ndarray:
        """Predict quantiles of a new observation per row.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to predict.
        q : float or sequence of float
            Probabilities, between 0 and 1.
        type : {None, "response"}, default=None
            None: of what is modelled; "response": of the column itself, see `predict`.
        include : "all", "none" or list of str, default="all"
            Groups whose random effects enter, as for `predict`.

        Returns
        -------
        quantiles : ndarray of shape (n_samples,) or (n_samples, n_quantiles)
            One column per entry of a sequence. For a Dask data frame, a Dask series, or a Dask data
            frame whose columns are the probabilities.

        Examples
        --------
        >>> from skmixed import MixedEffectsVIRegressor
        >>> from skmixed.datasets import make_mixed_regression
        >>> X, y, _ = make_mixed_regression(n_samples=200, groups=(10,), random_state=0)
        >>> model = MixedEffectsVIRegressor(["g0"]).fit(X, y)
        >>> model.predict_quantile(X, [0.1, 0.5, 0.9]).shape
        (200, 3)
        """
        shares = np.atleast_1d(np.asarray(q, dtype=np.float64))
        if shares.ndim != 1 or not ((shares > 0.0) & (shares < 1.0)).all():
            raise ValueError(f"q={q!r} must hold probabilities between 0 and 1, as in q=0.5.")
        if type is not None:
            check_choice("type", type, ("response",))
        if is_distributed(X):
            columns = shares.tolist()
            frame = predict_distributed(
                self, X, "predict_quantile", columns, q=columns, type=type, include=include
            )
            return frame if np.ndim(q) else frame[columns[0]]
        from skmixed.results.quantiles import predictive_quantiles

        rows = self._fitted_model.encode(X, include)
        variance = rows.variance(further=True)
        quantiles = predictive_quantiles(
            rows.result.likelihood, shares, rows.mean(), variance, rows.parameters,
            rows.skewness(variance),
        )  # fmt: skip
        if type == "response":
            quantiles = self.response_.quantiles(quantiles)
        return quantiles if np.ndim(q) else quantiles[:, 0]

    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draw responses from the posterior predictive distribution.

        In one draw all rows share the fixed effects, and rows of a level, also an unseen one, share
        its effects. Noise, or the draw of a count or an amount, is independent between rows.

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
            One draw per column.
        """
        return self._draw(X, n_samples, random_state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = not traits(self.family).is_quadratic
        return tags
