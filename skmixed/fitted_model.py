"""A fitted model as a value, which predictions, tables, displays and the bootstrap read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import _num_samples, check_is_fitted, validate_data

from skmixed.class_scale import codes_of
from skmixed.covariances import Relation
from skmixed.design import (
    Design,
    DesignEncoder,
    Response,
    Table,
    add_spare_columns,
    check_counts,
    number_unknown_levels,
    pick_columns,
    readable,
    refuse_unknown_levels,
    spread,
    take_rows,
    unknown_labels,
)
from skmixed.exceptions import UnknownLevelsWarning, warn_user
from skmixed.families.base import Likelihood
from skmixed.fit.result import FitResult
from skmixed.spec import Variable
from skmixed.threads import available_threads
from skmixed.validation import check_case_weights, check_include, check_labels, check_response

if TYPE_CHECKING:
    from skmixed.fit.outer import FitOptions, Start
    from skmixed.sums.row_sums import RowSums

_FAR_OFFSET = float(np.log(1000.0))
"""Distance from the offsets of a fit that is more than a longer exposure: a factor of 1000."""


def _silent(*progress: Any) -> bool:
    return False


@dataclass(frozen=True)
class FitSettings:
    """Parameters of an estimator that a fit, or what is computed from it later, depends on.

    Attributes
    ----------
    posterior : {"full", "mean_field"}
    method : {"reml", "ml"}
        The method that was chosen.
    noise_scale : float or None
        Standard deviation at which the noise is held.
    formula : str or None
    finds_groups : bool
        Whether columns group the rows by their type.
    class_weight : dict, "balanced" or None
    handle_unknown : {"population", "warn", "error"}
    solver, n_probes, max_iter, tol, n_jobs, random_state, relations, approximation
    variance_prior
        As the estimators have them.
    """

    posterior: str
    method: str
    noise_scale: float | None
    formula: str | None
    finds_groups: bool
    class_weight: Any
    handle_unknown: str
    solver: str
    n_probes: int | str
    max_iter: int
    tol: float
    n_jobs: int | None
    random_state: Any
    relations: Mapping[Any, Relation] | None = None
    approximation: str = "variational"
    variance_prior: str | None = None

    def options(
        self,
        encoder: DesignEncoder,
        start: Start | None = None,
        report: Callable[..., bool] = _silent,
    ) -> FitOptions:
        """The options of the fit of encoded rows, with a start and a callback."""
        from skmixed.fit.outer import FitOptions
        from skmixed.posteriors import POSTERIORS

        return FitOptions(
            posterior=POSTERIORS[self.posterior],
            integrate_fixed=self.method == "reml",
            noise_variance=None if self.noise_scale is None else float(self.noise_scale) ** 2,
            max_iter=self.max_iter,
            tol=self.tol,
            n_threads=available_threads(self.n_jobs),
            solver=self.solver,
            n_probes=self.n_probes,
            seed=self.seed_of(self.random_state),
            structures=tuple(factor.block_structures for factor in encoder.factors),
            across=self._relation_roots(encoder),
            noise="constant" if encoder.strata is None else "strata",
            approximation=self.approximation,
            variance_prior=self.variance_prior,
            start=start,
            report=report,
        )

    @staticmethod
    def seed_of(random_state: Any) -> int:
        """The seed of the random vectors of a solver; 0 for None."""
        if random_state is None:
            return 0
        return int(check_random_state(random_state).randint(2**31 - 1))

    def _relation_roots(self, encoder: DesignEncoder) -> tuple[np.ndarray | None, ...]:
        """By factor, a root of how its levels are related, in their order; None for no relation."""
        related = {str(column): relation for column, relation in (self.relations or {}).items()}
        roots: list[np.ndarray | None] = []
        for factor in encoder.factors:
            relation = related.get(factor.name)
            if relation is None:
                roots.append(None)
                continue
            root = np.empty((factor.levels.n_levels,) * 2)
            root[factor.levels.codes_of(relation.labels)] = relation.root()
            roots.append(root)
        return tuple(roots) if related else ()


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The arguments of `fit`.

    Attributes
    ----------
    X : DataFrame or array-like of shape (n_samples, n_features)
    y : array-like of shape (n_samples,)
    sample_weight : array-like of shape (n_samples,) or None
    answers : dict
        What was computed from them for a question, for further ones: by kind of answer.
    """

    X: Any
    y: Any
    sample_weight: Any = None
    answers: dict[Any, Any] = field(default_factory=dict, repr=False)

    @property
    def used(self) -> np.ndarray:
        """Positions of the rows of positive weight."""
        return np.flatnonzero(check_case_weights(self.sample_weight, _num_samples(self.X)))

    @property
    def rows(self) -> pd.Index:
        """Rows of positive weight, by their labels in a pandas data frame, else by position."""
        is_frame = isinstance(self.X, pd.DataFrame)
        index = self.X.index if is_frame else pd.RangeIndex(_num_samples(self.X))
        return index[self.used]


@dataclass(frozen=True, eq=False)
class EncodedRows:
    """Rows of data in the columns and levels of a fit.

    Attributes
    ----------
    result : FitResult
    design : Design
    positions : list of int
        Factors of the fit that the design holds.
    """

    result: FitResult
    design: Design
    positions: list[int]

    @property
    def parameters(self) -> np.ndarray:
        """The family's parameters, (k,); a noise variance by row where rows differ, (n,)."""
        result, design = self.result, self.design
        if not result.likelihood.has_noise:
            return result.parameters
        noise = np.array([result.noise_variance])
        if design.strata is not None:
            noise = noise * np.exp(2.0 * np.append(0.0, result.parameters))[design.strata]
        return noise if design.precision_weights is None else noise / design.precision_weights

    def mean(self) -> np.ndarray:
        """Posterior mean of the linear predictor, (n,)."""
        from skmixed.results.prediction import predict_mean

        return predict_mean(self.result, self.design, self.positions)

    def variance(self, *, further: bool) -> np.ndarray:
        """Posterior variance of the linear predictor, (n,).

        `further` adds the uncertainty of what the posterior holds fixed.
        """
        from skmixed.results.prediction import predict_variance

        return predict_variance(self.result, self.design, self.positions, further=further)

    def skewness(self, variance: np.ndarray) -> np.ndarray | float:
        """Skewness of the linear predictor of a variance, (n,); 0 where all effects are normal."""
        from skmixed.results.prediction import predict_skewness

        return predict_skewness(self.result, self.design, self.positions, variance)

    def without(self, position: int) -> EncodedRows:
        """The same rows without a factor of the fit, by its position."""
        kept = [k for k in self.positions if k != position]
        factors = zip(self.design.factors, self.positions, strict=True)
        design = replace(self.design, factors=tuple(f for f, k in factors if k != position))
        return EncodedRows(self.result, design, kept)


@dataclass(frozen=True, eq=False)
class ObservedRows(EncodedRows):
    """Encoded rows with responses and weights; rows of weight 0 are left out.

    Attributes
    ----------
    response : ndarray (n,)
        Numbers; of classes their codes.
    weights : ndarray (n,)
        Case weights, those of classes included.
    total_weight : float
        Sum of the weights of all rows, those included that a subsample leaves out.
    """

    response: np.ndarray
    weights: np.ndarray
    total_weight: float

    def take(self, rows: np.ndarray) -> Self:
        """Some of the rows; `total_weight` stays that of all."""
        return replace(
            self,
            design=self.design.take(rows),
            response=self.response[rows],
            weights=self.weights[rows],
        )


@dataclass(frozen=True, eq=False)
class FittedModel:
    """A fit with what encodes rows for it.

    Attributes
    ----------
    encoder : DesignEncoder
    result : FitResult
    response : Response
        Name of the response, and its functions.
    settings : FitSettings
    columns : estimator
        One of the same class that has no fit but the names and the number of columns of X, for
        scikit-learn's checks.
    classes : ndarray (K,) or None
        Classes by their codes, in the order of the model.
    class_weights : ndarray (K,) or None
        What case weights of rows of a class were multiplied with, by code.
    response_moments : ndarray (2,) or None
        Weighted mean and root mean square of the response.
    offset_range : ndarray (2,) or None
        Least and largest offset of the fit.
    data : TrainingData or None
        The training data, if they were kept.
    sums : RowSums or None
        The sums over these of a normal response, if they are small.
    """

    encoder: DesignEncoder
    result: FitResult
    response: Response
    settings: FitSettings
    columns: Any
    classes: np.ndarray | None = None
    class_weights: np.ndarray | None = None
    response_moments: np.ndarray | None = None
    offset_range: np.ndarray | None = None
    data: TrainingData | None = None
    sums: RowSums | None = None

    @property
    def likelihood(self) -> Likelihood:
        """The response distribution."""
        return self.result.likelihood  # type: ignore[no-any-return]

    @property
    def elbo(self) -> float:
        """The ELBO with all constants of the data."""
        return float(self.result.elbo + self.response.log_coefficients)

    @property
    def approximation(self) -> str:
        """What was maximised: the "exact" log likelihood of normal responses, or of a model

        without random effects; the "corrected" one, integrated by quadrature and draws; or a
        bound of it, "variational".
        """
        if self.result.approximation == "corrected":
            return "corrected"
        has_random, quadratic = bool(self.encoder.factors), self.likelihood.is_quadratic
        is_bound = has_random if quadratic else has_random or self.settings.method == "reml"
        if quadratic and self.settings.posterior == "full":
            is_bound = False
        return "variational" if is_bound else "exact"

    @property
    def elbo_path(self) -> np.ndarray:
        """The ELBO at the start and after every iteration, (n_iter + 1,)."""
        return self.result.elbo_path + self.response.log_coefficients

    @property
    def n_iter(self) -> int:
        """Number of iterations; 1 where none was needed."""
        return max(self.result.n_iter, 1)

    @property
    def n_rows(self) -> float:
        """Number of observations: the sum of the case weights, or the sets of trials."""
        return self.response.n_sets if self.response.is_trials else self.result.n_observations

    @property
    def has_class_weights(self) -> bool:
        """Whether classes have weights other than 1."""
        return self.class_weights is not None and bool((self.class_weights != 1.0).any())

    @property
    def intercept(self) -> float:
        """The fixed intercept where all columns are 0, that of the engine; 0 if there is none."""
        if not self.encoder.fixed.intercept:
            return 0.0
        result = self.result
        return float(result.coefficients[0] - result.center @ result.coefficients)

    @property
    def location(self) -> float:
        """Distance of the engine's thresholds from the published ones: the intercept; else 0."""
        return self.intercept if self.likelihood.is_ordered else 0.0

    # From rows to arrays -----------------------------------------------------------------

    def encode(
        self,
        X: Any,
        include: str | Sequence[str] = "all",
        *,
        with_weights: bool = True,
        number_unknown: bool = False,
    ) -> EncodedRows:
        """Rows to predict in the columns and levels of the fit.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
        include : "all", "none" or list of str, default="all"
            Groups whose effects enter.
        with_weights : bool, default=True
            Whether precision weights are read.
        number_unknown : bool, default=False
            Whether every level that is not in the fit has a separate code.

        Raises
        ------
        ValueError
            If rows do not suit the model, or a level is unknown and must not be.

        Warns
        -----
        UnknownLevelsWarning
            If labels are unknown that may be known ones of another type.
        """
        encoder = self.encoder
        names = check_include(include, encoder.factor_names)
        table, design = self.table_and_design(X, names, with_weights)
        if self.likelihood.link != "identity" and design.offset is not None:
            _warn_about_offset(encoder.offset_label, design.offset, self.offset_range)
        if self.settings.handle_unknown == "error":
            refuse_unknown_levels(design, table, encoder)
        every = self.settings.handle_unknown == "warn"
        for sentence in unknown_labels(design, table, encoder, every=every):
            warn_user(
                f"{sentence}. They are predicted for the population, which is right for new "
                "groups, as in cross-validation by group (to silence this, filter "
                "skmixed.exceptions.UnknownLevelsWarning). If the groups are not new, give the "
                "column the type it had in fit.",
                UnknownLevelsWarning,
            )
        if number_unknown:
            design = number_unknown_levels(design, table, encoder)
        positions = [p for p, name in enumerate(encoder.factor_names) if name in names]
        return EncodedRows(self.result, design, positions)

    def table_and_design(
        self, X: Any, factors: tuple[str, ...], with_weights: bool
    ) -> tuple[Table, Design]:
        """Columns and design of rows, with some of the grouping factors."""
        X = readable(X)
        names = getattr(self.columns, "feature_names_in_", None)
        if names is not None:
            if self.settings.formula is not None:
                X = pick_columns(X, names)
            spare = self.encoder.spare_columns(factors, with_weights=with_weights)
            X = add_spare_columns(X, names, spare)
        table = Table.from_input(X)
        validate_data(self.columns, X, reset=False, skip_check_array=True)
        return table, self.encoder.transform(table, factors=factors, with_weights=with_weights)

    def numbers(self, y: Any, n_rows: int, used: np.ndarray) -> np.ndarray:
        """The response of the rows `used`, checked as `fit` does; of classes their codes."""
        if self.classes is None:
            columns = columns_of_response(y, n_rows, used, self.response.variable)
            response = self.response.transform(columns)
            self.likelihood.refuse_targets(response)
            return response
        if self.response.is_trials:
            return check_counts(y, n_rows, self.response.label)[used]
        labels = check_labels(y, n_rows, ordered=self.likelihood.is_ordered)[used]
        codes = codes_of(self.classes, labels)
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            label = labels[row : row + 1].tolist()[0]
            raise ValueError(
                f"y is {label!r} in row {int(used[row])} (counted from 0), a class that was not "
                "seen during fit. Pass the X, y and sample_weight of fit."
            )
        return codes.astype(np.float64)

    def observe(
        self,
        data: TrainingData,
        include: str | Sequence[str] = "all",
        *,
        subsample: int | None = None,
        rng: np.random.Generator | None = None,
        steps: Any = None,
    ) -> ObservedRows:
        """Encode rows with their responses, as the fit had them.

        Parameters
        ----------
        data : TrainingData
        include : "all", "none" or list of str, default="all"
        subsample : int or None, default=None
            Most rows, drawn at random.
        rng : Generator or None, default=None
            Source of the subsample.
        steps : Pipeline or None, default=None
            What transforms X before the model.
        """
        X = readable(data.X) if steps is None else data.X
        n_rows = _num_samples(X)
        weights = check_case_weights(data.sample_weight, n_rows)
        used = np.flatnonzero(weights)
        response = self.numbers(data.y, n_rows, used)
        weights = weights[used]
        if self.class_weights is not None and response.ndim == 1:
            weights = weights * self.class_weights[response.astype(np.int64)]
        total = weights if response.ndim == 1 else weights * response.sum(axis=1)
        if subsample is not None and subsample < len(used):
            generator = np.random.default_rng(0) if rng is None else rng
            kept = np.sort(generator.choice(len(used), subsample, replace=False))
            used, response, weights = used[kept], response[kept], weights[kept]
        if len(used) < n_rows:
            X = take_rows(X, used)
        if steps is not None:
            X = steps.transform(X)
        encoded = self.encode(X, include)
        design, response, weights = spread(encoded.design, response, weights)
        return ObservedRows(
            self.result, design, encoded.positions, response, weights, float(total.sum())
        )

    def table_of_fit(self, data: TrainingData) -> tuple[Table, np.ndarray]:
        """Columns and case weights (n,) of the rows that counted."""
        X = readable(data.X)
        n_rows = _num_samples(X)
        weights = check_case_weights(data.sample_weight, n_rows)
        used = np.flatnonzero(weights)
        if len(used) < n_rows:
            X = take_rows(X, used)
        return self.table_and_design(X, (), False)[0], weights[used]

    def training_data(self, X: Any, y: Any, sample_weight: Any, asks: str) -> TrainingData:
        """The data that were passed, else those that the fit kept.

        `asks` is the call that needs them, for the error.
        """
        if X is not None and y is not None:
            return TrainingData(X, y, sample_weight)
        if self.data is None:
            raise ValueError(
                f"{asks} needs the training data, which this model did not keep: pass the X, y "
                "(and sample_weight) of fit, or fit with keep_data=True. Pickles do not contain "
                "the data."
            )
        if X is not None or y is not None:
            raise ValueError(f"{asks} was given X or y alone; pass both, or neither.")
        return self.data


def fitted_model(model: Any) -> FittedModel:
    """The value of a fitted estimator.

    Parameters
    ----------
    model : MixedEffectsVIRegressor, MixedEffectsVIClassifier or FittedModel

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is not a model of this package.
    """
    if isinstance(model, FittedModel):
        return model
    check_is_fitted(model)
    if not hasattr(type(model), "_fitted_model"):
        raise TypeError(
            f"{type(model).__name__} is not a mixed-effects model and has no random effects; pass "
            "a fitted MixedEffectsVIRegressor or MixedEffectsVIClassifier. From a pipeline, pass "
            "its last step: pipeline[-1]."
        )
    return model._fitted_model  # type: ignore[no-any-return]


def named_models(models: Sequence[Any], names: Sequence[str] | None) -> dict[str, FittedModel]:
    """Fitted models by name: "model 1", "model 2", ... where `names` is None.

    Raises
    ------
    NotFittedError, TypeError
        As `fitted_model`.
    ValueError
        If there are no models, or names do not fit.
    """
    if not models:
        raise ValueError(
            "No model was passed, so there is nothing to compare. Pass fitted models, as in "
            "compare_models(small, large)."
        )
    if names is None:
        names = [f"model {position}" for position in range(1, len(models) + 1)]
    found = {str(name): fitted_model(model) for name, model in zip(names, models, strict=False)}
    if len(names) != len(models) or len(found) < len(models):
        raise ValueError(f"names={names!r} must be {len(models)} different names, one per model.")
    return found


def columns_of_response(y: Any, n_rows: int, used: np.ndarray | slice, variable: Variable) -> Any:
    """The column of the response, checked, or a frame of those that it is computed from."""
    if not (variable.steps and hasattr(readable(y), "columns")):
        return check_response(y, n_rows)[used]
    check_consistent_length(range(n_rows), y)
    return take_rows(y, np.arange(n_rows)[used])


def _warn_about_offset(name: Any, offset: np.ndarray, fitted: np.ndarray | None) -> None:
    """Warn of an offset far outside the range that the fit had, of a link that is no identity."""
    if fitted is None or not len(offset):
        return
    beyond = np.maximum(fitted[0] - offset, offset - fitted[1])
    row = int(beyond.argmax())
    if beyond[row] > _FAR_OFFSET:
        warn_user(
            f"Column {name!r} (offset) is {offset[row]:.6g} in row {row} (counted from 0), but was "
            f"between {fitted[0]:.6g} and {fitted[1]:.6g} in the fit "
            f"({int((beyond > _FAR_OFFSET).sum())} such rows). An offset is added to the linear "
            "predictor, where 7 is a factor of 1000: predictions of these rows can be infinite or "
            "0, or probabilities 0 or 1. Pass the logarithm of the exposure, as in the fit.",
            UserWarning,
        )
