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
    r"""Mixed-effects model of numbers, counts or amounts, fitted by variational inference.

    Row i has the linear predictor

    .. math::

        \eta_i = o_i + x_i^\top \beta + \sum_k z_{ik}^\top u_k[g_k(i)],
        \qquad u_k[l] \sim N(0, \Sigma_k),

    with fixed effects :math:`\beta`, random effects :math:`u_k` of the levels of
    grouping factor k, and a known offset :math:`o`. The response is normal,

    .. math:: y_i \mid \eta_i \sim N(\eta_i, \sigma^2 / w_i)

    with known weights :math:`w`, or has the mean :math:`\mu_i = \exp(\eta_i)`: see
    `family`. Grouping columns are ordinary columns of X, so pipelines,
    cross-validation and grid search need nothing special.

    For normal responses and ``posterior="full"`` the variational posterior is the exact
    one and the ELBO is the log likelihood (``method="ml"``) or the restricted log
    likelihood (``method="reml"``) of the model, all constants included [1]_. For the
    other families it is a lower bound: see the notes.

    Parameters
    ----------
    random_effects : "from_dtype", None, str, int, RandomEffect, dict or list of these, \
            default="from_dtype"
        Which columns group the rows. ``"from_dtype"``: every pandas category, and every
        column of text or other labels with at least five of them, gets a random
        intercept; a bare numeric array has none and the model is a regression without
        groups. A column name or position gets a random intercept; text with a bar is a
        term in lme4's notation, such as ``"(1 + days | subject)"``, ``"(1 | a/b)"``,
        ``"(x || g)"``; a dict has slopes, or the left side of a bar term, by group:
        ``{"subject": ["days"]}``. None: no random effects. All other columns of X are
        fixed effects, see `fixed_effects`.
    fixed_effects : list of str or int, or None, default=None
        Columns of X that are fixed effects; columns of labels are coded by treatment
        contrasts, against their first label. None: all columns of X without another role.
    reference : dict or None, default=None
        Level that the others are compared with, by column of labels:
        ``{"treatment": "placebo"}``. In formulas ``C(treatment, Treatment("placebo"))``.
    formula : str or None, default=None
        The right-hand side of a formula in lme4's notation,
        ``"1 + service + (1 | s)"``. It picks the columns it names out of X and
        excludes `random_effects` and `fixed_effects`.
    family : {"gaussian", "poisson", "negative_binomial", "gamma"}, default="gaussian"
        Distribution of the response: any number; a count whose variance is its mean
        :math:`\mu`; a count of variance :math:`\mu + d \mu^2`; a positive amount of
        variance :math:`d \mu^2`. The dispersion d is estimated. All but the first
        have a logarithmic link.
    posterior : {"full", "mean_field"}, default="full"
        Variational family: one Gaussian over all effects, or independent normals.
        The second is there for comparison: it can shrink the variance of crossed
        or nested factors to zero and its standard deviations are too small.
    method : {"auto", "reml", "ml"}, default="auto"
        Whether the fixed effects are integrated out under a flat prior ("reml")
        or are a point that maximises the ELBO ("ml"). "auto" is "reml" for normal
        responses and "ml" for counts and amounts, as in other programs; `method_`
        tells.
    approximation : {"variational", "corrected"}, default="variational"
        What is maximised of counts and amounts. "variational": a lower bound of
        the likelihood, by the best Gaussian posterior. "corrected": the likelihood itself, by
        adaptive quadrature within the levels of the largest grouping factor, of up to three
        effects each. It is exact to six digits and more with one factor, two of which one is
        nested in the other, or two of which one has three levels at most. Effects of other
        crossed factors, up to 10,000, are drawn, with a Monte Carlo error that `loglik_std_`
        tells. With ``method="reml"`` the coefficients are integrated out as well.
    noise_scale : float or None, default=None
        Standard deviation of the noise. None: estimated. Normal responses only.
    offset : str, int or None, default=None
        Column of X added to the linear predictor with coefficient 1; for counts the
        logarithm of the exposure.
    precision_weights : str, int or None, default=None
        Column of X with positive weights; the noise variance of a row is
        `noise_variance_` over its weight, as with lme4's ``weights``. Normal
        responses only.
    dispersion : str, int or None, default=None
        Column of labels of X whose rows have a noise variance each, as nlme's ``varIdent``
        has it; ``"C(month)"`` where the labels are numbers. `noise_variance_` is that of the
        first label, `noise_` has all. Normal responses, ``posterior="full"`` and the direct
        solver only.
    relations : mapping or None, default=None
        How the levels of a group are related, by grouping column:
        ``{"line": Relationship(K, labels)}``; see `skmixed.Relationship`. All levels of the
        relation get effects; a level of the data that it does not have is an error. Needs
        ``posterior="full"`` and the direct solver.
    variance_prior : str or None, default=None
        Prior density of the standard deviation of every effect, "gamma", "half-cauchy",
        "half-normal", "exponential" or "flat": its logarithm is added to what is maximised, so that
        variances are at their posterior mode. "gamma" (shape 2, rate 0, as in R's blme) keeps them
        from 0. "half-normal", "half-cauchy" and "exponential" (the penalised-complexity prior) keep
        them from growing. Their scale is the standard deviation of y (of counts and
        amounts 1), for a slope that over the standard deviation of its column.
        Correlations and coefficients have flat priors. `elbo_` is at these variances, the prior
        left out; such likelihoods are not compared. A mode is a point: for intervals see
        `skmixed.variance_posterior`.
    fit_intercept : bool, default=True
        Whether there is a fixed intercept.
    solver : {"auto", "direct", "iterative"}, default="auto"
        How the mixed-model equations are solved. "direct" factorises them, which
        is exact; its cost grows with the cube of the number of levels outside the
        largest factor. "iterative" solves them by conjugate gradients and
        estimates traces and determinants from random vectors: see `n_probes`.
        It is exact where elimination keeps the equations sparse. "auto" takes "direct"
        up to 2,500 such levels, where memory allows and no sparse factor costs less,
        and says what it took in `solver_`.
    handle_unknown : {"population", "warn", "error"}, default="population"
        What `predict` does with a level that `fit` has not seen, a missing label
        included: predict for the population (an effect of mean 0 and the variance
        between levels), do so and warn of every unknown label, or raise.
    max_iter : int, default=100
        Most Newton steps on the variance parameters.
    tol : float, default=1e-6
        The fit stops when the scaled gradient of the variance parameters, their
        distance to the optimum in units of their standard errors, falls below it.
        Estimates of the iterative solver have a Monte Carlo error of some hundredths
        of a standard error; there up to 1e-3 is enough.
    n_probes : int or "auto", default="auto"
        Random vectors of the iterative solver. The Monte Carlo errors of variances
        and of the ELBO fall with their square root, time grows about linearly.
        "auto": between 64 (few levels) and 5 (more than 20,000), which keeps the
        error of a variance at some hundredths of its standard error.
    warm_start : bool, default=False
        Whether `fit` starts from the variance parameters of the previous fit.
    random_state : int, RandomState instance or None, default=None
        Seed of the iterative solver's random vectors; None is a fixed seed, so that
        equal data give equal fits. Not used by the direct solver.
    n_jobs : int or None, default=None
        Threads of the compiled kernels; results do not depend on it. None: all
        cores the process may use, or ``OMP_NUM_THREADS``. The linear algebra
        library takes half as many.
    verbose : int, default=0
        1 prints a line an iteration: ELBO, scaled gradient and seconds.
    keep_data : bool, default=False
        Whether `fit` keeps X, y and the case weights, so that `diagnose`,
        ``summary(test="t")``, displays and the bootstrap need not be given them again.
        They are not copied, and not stored in pickles. `skmixed.mixed` keeps them.

    Attributes
    ----------
    intercept_ : float
        Fixed intercept, 0 when there is none.
    coef_ : ndarray of shape (n_fixed,)
        Fixed effects in the order of `coef_names_`, which is not that of the columns of X:
        tools that select columns by ``coef_`` are to use `feature_importances_`. 0 for a
        column that others span.
    coef_names_ : list of str
        What each entry of `coef_` multiplies.
    coef_cov_ : ndarray of shape (n_fixed + 1, n_fixed + 1)
        Covariance of the intercept and the coefficients, the intercept first
        (without its row and column when there is none): posterior for "reml",
        sampling for "ml". For families other than normal it knows that variances and
        dispersions are estimates too; see the user guide, "Standard errors".
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
        Standard deviations of the noise, a row per label of `dispersion`, or one. Columns
        ``group``, ``term``, ``parameter`` and ``estimate``. Normal responses only.
    dispersion_ : float
        The d of `family`. Only with "negative_binomial" and "gamma".
    dispersion_std_ : float
        Its standard error; NaN where the dispersion is 0 or infinite.
    variance_components_ : DataFrame
        Columns group, term_1, term_2, variance, sd, corr and log_sd_std_error; the noise, where
        there is one, comes last. The last column is the standard error of the logarithm of a
        standard deviation, from the curvature in all parameters; it is NaN for normal
        responses, see `variance_intervals`.
    elbo_ : float
        Evidence lower bound with all constants.
        With ``approximation="corrected"`` the log likelihood itself, as `loglik_` always is
        what was maximised; `approximation_` says what that is.
    elbo_std_ : float
        Its Monte Carlo standard error, for random vectors of other seeds; 0 where
        nothing is estimated: with the direct solver, and with sparse factors, unless
        ``approximation="corrected"`` draws effects of crossed factors.
    elbo_path_ : ndarray of shape (n_steps + 1,)
        The ELBO at the start and after every step.
    gradient_path_ : ndarray of shape (n_steps + 1,)
        The scaled gradient at the same points.
    n_iter_ : int
        Newton steps taken; 1 where none was needed.
    converged_ : bool
        Whether no better variances are to be found: the scaled gradient fell to `tol` or below
        (to 1e-3 or less where random vectors estimate it), or rounding keeps it above. The
        latter holds where it is below 1e-4 and did not halve in three iterations, or where five
        iterations gained less than the rounding error of the ELBO and its square promises no
        more. A point with a direction of negative curvature
        counts only if no step along it leads down. `gradient_path_` ends with the scaled
        gradient reached; where variances next to 0 were set to 0 afterwards, it is that of the
        point published.
    response_moments_ : ndarray of shape (2,)
        Weighted mean and root mean square of the response, by
        which `compare_models` tells responses apart. Not there after sums of parts.
    offset_range_ : ndarray of shape (2,)
        Least and largest offset of the fit, where there is one; `predict` warns of others.
    method_ : {"reml", "ml"}
        The method that was used.
    solver_ : str
        The solver that was used.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, when X has names that are all strings.

    See Also
    --------
    skmixed.MixedEffectsVIClassifier : Classes, two or in an order.
    skmixed.mixed : Fit a model from a formula and a data frame.
    skmixed.RandomEffect : A random effect described by its parts.

    Notes
    -----
    For counts and amounts the posterior of the effects is not normal, and the fit finds
    the normal distribution that is nearest to it in the sense of the ELBO [2]_. The
    ELBO is then below the log likelihood, and variances maximise the bound;
    ``model.diagnose(X, y)`` measures what that costs on the data at hand. Such fits need
    their rows in every iteration: `partial_fit` and Dask are for normal responses.

    `coef_`, `random_effects_` and all other attributes are in the units of X and
    y. The training data are not kept unless `keep_data` says so.

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
            Fixed-effect and grouping columns. A Dask data frame (normal responses
            only) is summed partition by partition where it lies, on the current
            ``dask.distributed`` client if there is one, and need not fit into memory.
        y : array-like of shape (n_samples,)
            Response: numbers, counts from 0 on, or positive amounts, as `family` has
            it; with a Dask data frame, a Dask series of the same partitions.
        sample_weight : array-like of shape (n_samples,), default=None
            Case weights: weight 2 counts as the row twice, weight 0 as absent.

        Returns
        -------
        self : MixedEffectsVIRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            When a parameter, a column or a value cannot be used; the message
            names it and says what to do.

        Warns
        -----
        ConvergenceWarning
            When the variance parameters did not converge.
        UserWarning
            When a part of the model is not determined by the data.
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
        """Fit the model on the rows of this call and of all calls before.

        For normal responses only. The estimates equal those of one `fit` on all the
        rows: chunks are reduced to sums over cells of levels, which add up. New levels
        may arrive with any chunk; rows are not kept, cells and levels are.

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
            The fitted estimator; not fitted yet while a grouping column has shown
            a single level.

        Raises
        ------
        ValueError
            As `fit`; also when the model has a function that is computed from all
            rows, such as ``scale(x)``, or when a categorical fixed effect shows a
            label that the first chunk did not declare.

        Notes
        -----
        A call of `fit` forgets the chunks; `partial_fit` after it goes on from the rows of
        `fit`, whose sums are kept up to 64 MB (not in pickles), or says that it cannot.
        Every call costs one fit on the sums so far, which does not depend on the number of
        rows.

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
        """Standard deviations of the noise of normal responses, a row per stratum."""
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
            Rows to predict. A level that `fit` has not seen, or a missing label, has
            an effect of mean 0 (see `handle_unknown`). With a Dask data frame the
            results are Dask series.
        return_std : bool or "mean", default=False
            Whether to return the standard deviation of a new observation: noise, or
            the spread of the counts or amounts at their mean; posterior variance of the
            effects; uncertainty of what the posterior holds fixed, coefficients with
            ``method="ml"``; and for unseen levels their prior variance. "mean": the standard
            error of the mean alone, without noise.
        include : "all", "none" or list of str, default="all"
            Groups whose random effects enter; the others are left out of the mean
            and the standard deviation alike. "none" leaves the fixed part, for counts
            and amounts averaged over the coefficients where they have a posterior
            (``method="reml"``), else at them.
        type : {None, "link", "response"}, default=None
            None: what is modelled, which after ``mixed("log(y) ~ ...")`` is log(y).
            "response": the column itself, where what is modelled is a function of it;
            the mean of y is then that of a log-normal number, above exp(mean of log(y)).
            "link": the linear predictor, with its own standard deviation.

        Returns
        -------
        mean : ndarray of shape (n_samples,)
            Posterior predictive mean of the response. For counts and amounts that is
            E[exp(eta)] over the posterior, which is above exp(E[eta]); for unseen levels
            eta has the variance of the prior as well.
        std : ndarray of shape (n_samples,)
            Only with ``return_std=True``.

        Notes
        -----
        The posterior covariance between levels of two different large factors is
        approximated by what they owe to fixed effects and small factors; see
        ``skmixed.results.prediction``. It is exact for models with up to some 280
        effects in all. After an iterative fit the variances of single effects are
        exact given the other effects, plus an estimate from posterior draws.
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
        """Coefficient of determination of the predictions, on the scale that is modelled.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows to predict.
        y : array-like of shape (n_samples,)
            Their response as it is: after ``mixed("log(y) ~ ...")`` y, not log(y).
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
        """Predict a central interval for a new observation of every row.

        For counts and amounts its ends are quantiles of the predictive distribution:
        the family's, averaged over the posterior of the linear predictor. Intervals of
        counts, whole numbers at both ends, contain at least the probability asked for.

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
            Lower and upper end; of a Dask data frame one with the columns "lower" and "upper".
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
        """Predict quantiles of a new observation of every row.

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
            A column per entry of a sequence; of a Dask data frame a Dask series, or data
            frame with the probabilities as names.

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

        In one draw all rows share the fixed effects and the effects of their
        levels, also of levels that `fit` has not seen; noise, or the draw of a count
        or an amount, is each row's own.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_rows, n_features)
            Rows to draw for.
        n_samples : int, default=1
            Number of draws.
        random_state : int, RandomState instance or None, default=None
            Source of randomness; equal seeds give equal draws.

        Returns
        -------
        samples : ndarray of shape (n_rows, n_samples)
            One draw a column.
        """
        return self._draw(X, n_samples, random_state)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = not traits(self.family).is_quadratic
        return tags
