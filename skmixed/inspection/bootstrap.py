"""The parametric bootstrap: refits to responses that the fitted model itself has drawn."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from joblib import effective_n_jobs
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import _num_samples

from skmixed.design import take_rows
from skmixed.exceptions import warn_user
from skmixed.fit.repeated_fit import RepeatedFit
from skmixed.fitted_model import FittedModel, fitted_model
from skmixed.formula.errors import quoted
from skmixed.inspection.bootstrap_result import BootstrapResult
from skmixed.inspection.progress import progress_bar
from skmixed.inspection.refits import Refit
from skmixed.inspection.simulation import ResponseSimulator
from skmixed.results.same_data import refuse_other_fixed_part, refuse_other_rows
from skmixed.threads import restrained_blas

_FAILURES = (ValueError, np.linalg.LinAlgError, FloatingPointError)
"""What a fit raises that cannot be made."""


def parametric_bootstrap(
    model: Any,
    statistic: Callable[..., Any],
    X: Any = None,
    *,
    others: Sequence[Any] = (),
    n_resamples: int = 200,
    sample_weight: Any = None,
    random_state: Any = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> BootstrapResult:
    """Estimate the sampling distribution of a statistic by simulation and refits.

    Each resample draws responses from the fitted model with new random effects, fits a copy of the
    model to them, and computes the statistic, like ``bootMer(use.u = FALSE)`` in lme4 [1]_.

    Parameters
    ----------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        A fitted model, which is not changed.
    statistic : callable
        Takes a fitted model, followed by those of `others`. Returns a number, a one-dimensional
        array, a dict or a Series of numbers, always with the same length or keys.
    X : DataFrame or array-like of shape (n_samples, n_features)
        The rows of `fit`. None: those that the model kept with their weights, with
        ``keep_data=True``. After ``mixed(..., missing="drop")`` only the rows that it kept.
    others : sequence of fitted models, default=()
        Further models of the same X to fit to the responses that `model` draws, for statistics that
        compare models, such as a likelihood ratio.
    n_resamples : int, default=200
        Number of simulated data sets, at least 2. Standard errors need a few hundred, the limits of
        a 95 % interval at least a thousand.
    sample_weight : array-like of shape (n_samples,), default=None
        Case weights of the fit, whole numbers: a row of weight 2 is drawn twice.
    random_state : int, RandomState instance or None, default=None
        Seed; equal seeds give equal results, whatever `n_jobs` is.
    n_jobs : int or None, default=None
        Number of processes (joblib) for the refits; None is 1. With more than one, each fit uses a
        single thread.
    progress : bool, default=False
        Whether to show a progress bar on stderr, by tqdm if it is installed.

    Returns
    -------
    result : BootstrapResult
        Standard errors, bias, confidence intervals and the values themselves.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    TypeError
        If `statistic` is not callable or returns something else than numbers.
    ValueError
        If a parameter or weight cannot be used, rows or weights are visibly not those of the fit,
        or fewer than two fits succeed.

    Warns
    -----
    UserWarning
        Once, if some fits failed or did not converge.

    See Also
    --------
    skmixed.compare_models : Likelihood-ratio tests.

    Notes
    -----
    Refits start from the variances of the fit, which saves iterations and does not change the
    result. For normal responses only y changes: columns, cells, solver and the first factorisation
    are prepared once. Values of fits that did not converge are kept. Fits that failed are left out,
    for instance if a class does not occur.

    If an estimate is at a boundary, such as a variance of 0, its bootstrap distribution is not that
    of its error. If the posterior is an approximation, simulated responses are exact but refits are
    approximate; the bias then contains the error of the approximation.

    References
    ----------
    .. [1] Efron and Tibshirani (1993), "An Introduction to the Bootstrap", Chapman & Hall,
       section 6.5.

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor, parametric_bootstrap
    >>> from skmixed.datasets import make_mixed_regression
    >>> X, y, _ = make_mixed_regression(n_samples=200, groups=(20,), random_state=0)
    >>> model = MixedEffectsVIRegressor("g0").fit(X, y)
    >>> def sd(model):
    ...     return {"sd": model.variance_components_["sd"].iloc[0]}
    >>> result = parametric_bootstrap(model, sd, X, n_resamples=20, random_state=0)
    >>> bool(0.0 < result.standard_error["sd"] < 0.3)
    True

    A likelihood-ratio test by simulation from the smaller model:

    >>> none = MixedEffectsVIRegressor(formula="x0").fit(X, y)
    >>> def chi_square(small, large):
    ...     return 2 * (large.elbo_ - small.elbo_)
    >>> result = parametric_bootstrap(
    ...     none, chi_square, X, others=[model], n_resamples=19, random_state=0
    ... )
    >>> n_above = int((result.values >= result.observed)["statistic"].sum())
    >>> (1 + n_above) / (1 + len(result.values))
    0.05
    """
    _check((model, *others), statistic, n_resamples)
    labels, observed = labelled(statistic(model, *others))
    fits = [fitted_model(each) for each in (model, *others)]
    if X is None:
        kept = fits[0].training_data(None, None, None, "parametric_bootstrap()")
        X, sample_weight = kept.X, kept.sample_weight
    X = _repeated(X, sample_weight)
    for fit in fits:
        _refuse_other_rows(fit, X)
    simulator = ResponseSimulator(fits[0], X)
    n_workers = effective_n_jobs(n_jobs)
    one_thread = n_workers > 1
    starts = [_Start.of(each, X, one_thread=one_thread) for each in (model, *others)]
    seeds = _seeds(random_state, n_resamples)
    outcomes: list[_Outcome] = []
    with progress_bar(n_resamples, shown=progress) as advance:
        for batch in _batches(seeds, n_workers, progress):
            # a task a worker: each gets the rows once
            parts = [part for part in np.array_split(np.array(batch), n_workers) if len(part)]
            tasks = (delayed(_refits)(starts, statistic, simulator, part) for part in parts)
            outcomes += itertools.chain.from_iterable(Parallel(n_jobs=n_jobs)(tasks))
            advance(len(batch))
    return _result(labels, observed, outcomes)


def labelled(value: Any) -> tuple[tuple[Any, ...], np.ndarray]:
    """Names and values of the entries that a statistic returned."""
    if hasattr(value, "items") and not hasattr(value, "columns"):
        pairs = list(value.items())
        names, numbers = tuple(name for name, _ in pairs), [number for _, number in pairs]
    else:
        names, numbers = (), value
    try:
        array = np.asarray(numbers, dtype=float)
    except (TypeError, ValueError):
        array = np.empty((0, 0))
    if array.ndim > 1:
        raise TypeError(
            f"statistic returned {type(value).__name__}, but must return a number, a "
            "one-dimensional array, a dict or a Series of numbers; return the entries of a table "
            "as a dict."
        )
    if array.ndim == 0:
        return ("statistic",), array.reshape(1)
    return names or tuple(range(len(array))), array


# One resample --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Outcome:
    """Names and values of the statistic of one refit, or the error."""

    values: tuple[tuple[Any, ...], np.ndarray] | None
    converged: bool
    error: str


@dataclass(frozen=True, eq=False)
class _Start:
    """A model to be fitted to many responses of the same rows.

    Attributes
    ----------
    estimator : estimator
        Starts from the variances of its fit, and reports nothing.
    model : FittedModel
    refit : Refit or None
        The encoded rows; None where the fit has to see the rows themselves.
    repeated : RepeatedFit or None
        The fit of these rows, prepared for any response; None where it cannot be.
    X : object
    """

    estimator: Any
    model: FittedModel
    refit: Refit | None
    repeated: RepeatedFit | None
    X: Any

    @classmethod
    def of(cls, fitted: Any, X: Any, one_thread: bool) -> _Start:
        """Encode the rows of a fitted model once."""
        estimator = _copied(fitted)
        for name in ("_seen", "_kept", "_sums", "_skl_callbacks"):
            estimator.__dict__.pop(name, None)
        is_transformed = estimator.response_.is_transformed
        if is_transformed:
            # what is drawn is the response of the model, log(y) itself
            estimator.formula = estimator.formula.split("~", 1)[1]
        estimator.warm_start = True
        estimator.keep_data = False
        estimator.verbose = 0
        if one_thread:
            estimator.n_jobs = 1
        model = fitted_model(estimator)
        refit = repeated = None
        if not is_transformed:
            refit = Refit.of_rows(model, model.encode(X).design)
            repeated = refit.repeated()
        return cls(estimator, model, refit, repeated, X)

    def fit(
        self, response: Any, numbers: np.ndarray, classes: np.ndarray | None, probes: int
    ) -> Any:
        """A copy of the estimator, fitted to a drawn response with a seed for its solver.

        `numbers` has the response by the codes of `classes`.
        """
        estimator = _copied(self.estimator)
        estimator.random_state = probes
        if self.refit is None:
            return estimator.fit(self.X, response)
        model = self.model
        same = classes is not None and np.array_equal(classes, np.asarray(model.classes))
        if model.classes is not None and not same:
            n = len(self.refit.weights)
            numbers = model.numbers(response, n, np.arange(n))
        seed = partial(model.settings.seed_of, probes)
        if self.repeated is not None:
            with restrained_blas(self.refit.options.n_threads):
                result = self.repeated.fit(numbers, seed)
        else:
            options = replace(self.refit.options, seed=seed())
            result = replace(self.refit, response=numbers, options=options).fit()
        estimator._take_result(replace(model, result=result))
        return estimator


def _copied(estimator: Any) -> Any:
    """A shallow copy, without the checks of a stored estimator that `copy.copy` makes."""
    copied = object.__new__(type(estimator))
    copied.__dict__.update(vars(estimator))
    return copied


def _refits(
    starts: list[_Start],
    statistic: Callable[..., Any],
    simulator: ResponseSimulator,
    seeds: Iterable[np.random.SeedSequence],
) -> list[_Outcome]:
    """Refit once for each seed."""
    return [_refit(starts, statistic, simulator, seed) for seed in seeds]


def _refit(
    starts: list[_Start],
    statistic: Callable[..., Any],
    simulator: ResponseSimulator,
    seed: np.random.SeedSequence,
) -> _Outcome:
    """Draw a response, fit all models to it and compute the statistic."""
    rng = np.random.default_rng(seed)
    probes = int(rng.integers(2**31 - 1))
    with warnings.catch_warnings():
        # counted, and told of once
        warnings.simplefilter("ignore")
        try:
            drawn = simulator.draw_numbers(rng)
            response = simulator.labelled(drawn)
            models = [start.fit(response, drawn, simulator.classes, probes) for start in starts]
        except _FAILURES as error:
            return _Outcome(None, False, str(error))
    converged = all(model.converged_ for model in models)
    return _Outcome(labelled(statistic(*models)), converged, "")


def _seeds(random_state: Any, n_resamples: int) -> list[np.random.SeedSequence]:
    """One seed per resample, the same for any number of processes."""
    entropy = check_random_state(random_state).randint(2**31 - 1, size=4)
    return np.random.SeedSequence(entropy.tolist()).spawn(n_resamples)


def _batches(
    seeds: list[np.random.SeedSequence], n_workers: int, progress: bool
) -> list[list[np.random.SeedSequence]]:
    """All seeds in one batch; with a progress bar some 50 batches."""
    size = len(seeds)
    if progress:
        size = max(n_workers * -(-len(seeds) // (50 * n_workers)), 1)
    return [seeds[first : first + size] for first in range(0, len(seeds), size)]


# What comes in and what goes out -------------------------------------------------------------


def _check(models: Sequence[Any], statistic: Any, n_resamples: Any) -> None:
    for model in models:
        fit = fitted_model(model)
        if fit.response.is_trials:
            raise ValueError(
                f"parametric_bootstrap cannot simulate {quoted(fit.response.label)}: a fitted "
                "model keeps no numbers of trials. Fit the same model to two rows per set, class 1 "
                "with the successes and class 0 with the failures as sample_weight, and pass these "
                "weights."
            )
        if fit.has_class_weights:
            raise ValueError(
                "parametric_bootstrap simulates responses from the model, but with class_weight "
                "its probabilities are not those of the classes in y. Fit it without class_weight."
            )
    if not callable(statistic):
        raise TypeError(
            f"statistic={statistic!r} must be a function of a fitted model, such as "
            "lambda model: model.coef_."
        )
    is_count = isinstance(n_resamples, Integral) and not isinstance(n_resamples, bool)
    if not is_count or n_resamples < 2:
        raise ValueError(f"n_resamples={n_resamples!r} must be an integer of at least 2.")


def _refuse_other_rows(model: FittedModel, X: Any) -> None:
    """Refuse rows that the model was not fitted on."""
    design = model.encode(X).design
    weights = np.ones(len(design.fixed))
    refuse_other_rows(design, weights, model.result)
    refuse_other_fixed_part(design, weights, model.result)


def _repeated(X: Any, sample_weight: Any) -> Any:
    """Rows as often as their case weight says."""
    if sample_weight is None:
        return X
    weights = np.asarray(sample_weight, dtype=float)
    n_rows = _num_samples(X)
    if weights.shape != (n_rows,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}, but X has {n_rows} rows; pass one weight "
            "per row."
        )
    odd = np.flatnonzero(~((weights >= 0) & (weights == np.round(weights)) & (weights < np.inf)))
    if len(odd):
        raise ValueError(
            f"sample_weight is {weights[odd[0]]} in row {odd[0]}, but a part of a row cannot be "
            "simulated: use whole numbers, which repeat rows, or leave sample_weight out."
        )
    return take_rows(X, np.repeat(np.arange(n_rows), weights.astype(np.int64)))


def _result(
    labels: tuple[Any, ...], observed: np.ndarray, outcomes: list[_Outcome]
) -> BootstrapResult:
    """All values in a table, failures counted."""
    made = [outcome.values for outcome in outcomes if outcome.values is not None]
    for names, _ in made:
        if names != labels:
            raise TypeError(
                f"statistic returned the entries {list(names)} for a refit and {list(labels)} for "
                "the model itself; return the same entries every time."
            )
    n_failed = len(outcomes) - len(made)
    n_unconverged = sum(o.values is not None and not o.converged for o in outcomes)
    first_error = next((o.error for o in outcomes if o.values is None), "")
    if len(made) < 2:
        raise ValueError(
            f"{n_failed} of {len(outcomes)} fits failed, the first one with: {first_error}"
        )
    _warn(len(outcomes), n_failed, n_unconverged, first_error)
    return BootstrapResult(
        observed=pd.Series(observed, index=pd.Index(labels)),
        values=pd.DataFrame(np.array([values for _, values in made]), columns=pd.Index(labels)),
        n_failed=n_failed,
        n_unconverged=n_unconverged,
    )


def _warn(n_resamples: int, n_failed: int, n_unconverged: int, first_error: str) -> None:
    parts = []
    if n_failed:
        parts.append(f"{n_failed} failed and are left out (the first with: {first_error})")
    if n_unconverged:
        parts.append(f"{n_unconverged} did not converge and are kept")
    if parts:
        warn_user(
            f"Of {n_resamples} bootstrap fits, {', and '.join(parts)}. If this is a large part, "
            "the model is too complex for the data: use fewer random effects.",
            UserWarning,
        )
