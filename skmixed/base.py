"""The common part of the estimators: checks, the path from X and y to a fit, and questions."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from html import escape
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, is_classifier
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from skmixed.adapter import PredictorAdapter
from skmixed.callbacks import CallbackSupportMixin, IterationCallbacks, progress_reporter
from skmixed.class_scale import codes_of
from skmixed.covariances import Relation
from skmixed.design import (
    FEWEST_UNKNOWN,
    Design,
    DesignEncoder,
    Response,
    Table,
    kind_of_labels,
    name_of,
    readable,
    resolve_spec,
    right_side,
    spread,
    strata_column,
    take_rows,
)
from skmixed.exceptions import UnknownLevelsWarning, warn_user
from skmixed.families import check_family, traits
from skmixed.fit.engine import fit_rows, fit_sums
from skmixed.fitted_model import FitSettings, FittedModel, TrainingData
from skmixed.inspection.attributes import (
    components,
    fitted_attributes,
    random_effects,
    random_effects_cov,
    random_effects_std,
)
from skmixed.inspection.methods import InspectionMixin
from skmixed.memory import refuse_large_model, refuse_what_does_not_fit
from skmixed.persistence import PersistentFitMixin
from skmixed.results.same_data import response_moments
from skmixed.spec import ModelSpec, Variable
from skmixed.threads import available_threads, restrained_blas, using_threads
from skmixed.validation import (
    check_case_weights,
    check_choice,
    check_column,
    check_flag,
    check_integer,
    check_positive,
    check_relations,
    check_scale,
    check_weight_range,
    refuse_in_parts,
    refuse_mean_field,
)

if TYPE_CHECKING:
    from skmixed.fit.outer import FitOptions, Start
    from skmixed.fit.result import FitResult
    from skmixed.sums.partial_sums import Accumulation, Reference
    from skmixed.sums.row_sums import RowSums

METHODS = ("auto", "reml", "ml")

APPROXIMATIONS = ("variational", "corrected")

_SUMS_KEPT = 64_000_000
"""Bytes of sums that a fit keeps for `partial_fit` to go on from."""

_RANGES = ("response_moments_", "offset_range_")
"""Attributes that only fits of rows have."""

_OF_COLUMNS = ("n_features_in_", "feature_names_in_")
"""Attributes that scikit-learn checks columns by."""

_MODEL_PARAMETERS = (
    "random_effects", "fixed_effects", "reference", "formula", "offset", "precision_weights",
    "fit_intercept", "family",
)  # fmt: skip
"""Parameters that chunks of data have to agree on."""


_UNNAMED = Response(Variable("y"))


@dataclass(frozen=True)
class Target:
    """The response as the engine models it.

    Attributes
    ----------
    response : ndarray (n,) or (n, 2)
        Numbers; of classes their number; of trials successes and failures.
    likelihood : Likelihood
    classes : ndarray (K,) or None
        Labels by class code, in the order of the model.
    meaning : Response
        Name of the response, and its functions.
    class_weights : ndarray (K,) or None
        Factors of the case weights by class code.
    """

    response: np.ndarray
    likelihood: Any
    classes: np.ndarray | None = None
    meaning: Response = _UNNAMED
    class_weights: np.ndarray | None = None


class BaseMixedEffects(PersistentFitMixin, InspectionMixin, CallbackSupportMixin, BaseEstimator):
    """The machinery behind a mixed-effects estimator; subclasses have the parameters.

    They also have `_target`, which validates y and returns it with its likelihood.
    """

    intercept_: float
    coef_: np.ndarray
    coef_names_: list[str]
    coef_cov_: np.ndarray
    elbo_: float
    elbo_std_: float
    elbo_path_: np.ndarray
    gradient_path_: np.ndarray
    n_iter_: int
    converged_: bool
    n_observations_: float
    method_: Literal["reml", "ml"]
    solver_: str
    response_moments_: np.ndarray
    offset_range_: np.ndarray
    n_features_in_: int
    feature_names_in_: np.ndarray

    noise_scale: float | None = None
    precision_weights: str | int | None = None
    link: str | None = None
    relations: Mapping[Any, Relation] | None = None
    dispersion: str | int | None = None
    variance_prior: str | None = None
    _kept: TrainingData | None = None
    _sums: tuple[RowSums, dict[str, str]] | None = None

    def _fit(self, X: Any, y: Any, sample_weight: Any, formula: ModelSpec | None = None) -> Self:
        """Fit on rows in memory; `formula` is one that was read already, with its response."""
        self._check_parameters()
        X = readable(X)
        asked = None
        if formula is None and isinstance(self.formula, str):
            right_side(self.formula)
        elif formula is not None and formula.response is not None:
            asked = Response(formula.response, is_trials=formula.is_trials)
        table, target, weights = self._data(X, y, sample_weight, asked, at_least=2)
        self._note_columns(X, table)
        self.__dict__.pop("_seen", None)
        callbacks = IterationCallbacks(self, X, y, sample_weight, self.max_iter)
        relations = self.relations or {}
        with using_threads(available_threads(self.n_jobs)):
            encoder, design = DesignEncoder.learn(
                self._spec(table, formula),
                table,
                offset=self.offset,
                precision_weights=self.precision_weights,
                strata=None if self.dispersion is None else strata_column(table, self.dispersion),
                levels={column: relation.labels for column, relation in relations.items()},
            )
        if formula is None and self.formula is None:
            refuse_response_as_column(table, y, target.response, encoder)
        if design.precision_weights is not None:
            check_weight_range(f"Column {self.precision_weights!r}", design.precision_weights)

        def attributes(result: FitResult) -> dict[str, Any]:
            return fitted_attributes(self._model_of(encoder, result, target))

        refuse_large_model(table.n_rows, len(encoder.fixed.names), encoder.sizes)
        design, response, weights = spread(design, target.response, weights)
        options = self._options(encoder, progress_reporter(self, callbacks, attributes))
        with restrained_blas(options.n_threads):
            result, sums = fit_rows(design, response, weights, target.likelihood, options)
        model = self._model_of(encoder, result, target)
        self._publish(fitted_attributes(model))
        self._keep_ranges(design, response, weights)
        self._keep(X, y, sample_weight, sums)
        callbacks.fit_done(lambda: attributes(result))
        self._warn(model, table.n_rows)
        return self

    def _note_columns(self, X: Any, table: Table) -> None:
        """Store number and names of the columns, as scikit-learn does.

        Its function takes long to find out what a data frame is.
        """
        names = table.names if isinstance(X, pd.DataFrame) else ()
        if names and all(type(name) is str for name in names):
            self.n_features_in_, self.feature_names_in_ = len(names), np.array(names, dtype=object)
        else:
            validate_data(self, X, skip_check_array=True)

    def _warn(self, model: FittedModel, n_rows: int) -> None:
        """Warn of what is doubtful about the fit of so many rows."""
        from skmixed.inspection.messages import warn_about_fit

        warn_about_fit(model, n_rows)

    def _partial_fit(self, X: Any, y: Any, sample_weight: Any) -> Self:
        """Add rows to those seen, and fit on all."""
        self._check_parameters()
        X = readable(X)
        seen: Accumulation | None = None
        if hasattr(self, "_seen") or hasattr(self, "fit_result_"):
            seen, model = self._seen if hasattr(self, "_seen") else self._fit_as_part()
            for name, value in self._model().items():
                if value != model[name]:
                    raise ValueError(
                        f"{name} was {model[name]} for the earlier chunks and is now {value}, but "
                        "all chunks must fit one model; call fit, or partial_fit on a clone."
                    )
        rows = self._rows(X, y, sample_weight)
        validate_data(self, X, reset=seen is None, skip_check_array=True)
        reference = self._reference(*rows) if seen is None else seen.reference
        part = reference.part(*rows, available_threads(self.n_jobs))
        if seen is not None:
            _warn_of_new_levels(seen.encoder, part.encoder)
        return self._fit_accumulation(part if seen is None else seen.merge(part))

    def _keep(self, X: Any, y: Any, sample_weight: Any, sums: RowSums | None) -> None:
        """Keep training data and sums that are small, and forget those of an earlier fit."""
        self._kept = TrainingData(X, y, sample_weight) if self.keep_data else None
        self._sums = None
        if sums is not None and sums.n_bytes <= _SUMS_KEPT:
            self._sums = sums, self._model()

    def _fit_as_part(self) -> tuple[Accumulation, dict[str, str]]:
        """The rows of `fit` as a first part, for `partial_fit` to go on from, and their model."""
        if self._sums is not None:
            sums, model = self._sums
            from skmixed.sums.partial_sums import Accumulation

            part = Accumulation.of_fit(self.design_encoder_, sums)
            if part is not None:
                return part, model
        kept = self._kept
        if kept is None:
            raise ValueError(
                "partial_fit cannot continue this fit, because the model kept no sums of its rows: "
                "they were too large, dependent columns were dropped, or the model was loaded from "
                "a file. Fit with keep_data=True, or pass all rows to partial_fit, starting from "
                "sklearn.base.clone(model)."
            )
        rows = self._rows(kept.X, kept.y, kept.sample_weight)
        part = self._reference(*rows).part(*rows, available_threads(self.n_jobs))
        return part, self._model()

    @property
    def rows_(self) -> pd.Index:
        """The rows used by the fit: the index of the data frame, or positions.

        Rows of weight 0 and rows dropped by ``mixed(..., missing="drop")`` are not included. Only
        with ``keep_data=True``.
        """
        check_is_fitted(self)
        kept = self._kept
        if kept is None:
            raise AttributeError("rows_ needs the data of the fit; fit with keep_data=True.")
        return kept.rows

    @cached_property
    def random_effects_(self) -> dict[str, pd.DataFrame]:
        """Posterior means of the effects of all groups, levels x terms."""
        return random_effects(self._fitted_model)

    @cached_property
    def random_effects_std_(self) -> dict[str, pd.DataFrame]:
        """Posterior standard deviations of the effects of all groups, levels x terms."""
        return random_effects_std(self._fitted_model)

    @cached_property
    def random_effects_cov_(self) -> dict[str, pd.DataFrame]:
        """Covariance of the effects of a level, for all groups, terms x terms."""
        return random_effects_cov(self._fitted_model)

    @cached_property
    def variance_components_(self) -> pd.DataFrame:
        """Variances and covariances of the random effects and the noise, one per row."""
        return components(self._fitted_model)

    def _model(self) -> dict[str, str]:
        """The parameters that chunks of data have to agree on."""
        return {name: repr(getattr(self, name)) for name in _MODEL_PARAMETERS}

    def _reference(self, table: Table, response: np.ndarray, weights: np.ndarray) -> Reference:
        """Columns and units that all parts will have, from the first one."""
        from skmixed.posteriors import POSTERIORS, basis_changes
        from skmixed.sums.partial_sums import Reference

        refuse_in_parts(self)
        return Reference.learn(
            self._spec(table, complete=False), table, response, weights,
            offset=self.offset, precision_weights=self.precision_weights,
            basis_may=partial(basis_changes, POSTERIORS[self.posterior]),
        )  # fmt: skip

    def _fit_accumulation(self, accumulation: Accumulation) -> Self:
        """Fit on the sums of all parts; keep them for more to come."""
        encoder = accumulation.encoder
        options = self._options(encoder, progress_reporter(self))
        if self.precision_weights is not None:
            check_weight_range(
                f"Column {self.precision_weights!r}", np.array(accumulation.sums.precisions)
            )
        if accumulation.sums.n_rows < 2 or any(f.levels.n_levels < 2 for f in encoder.factors):
            self._seen = accumulation, self._model()
            self.__dict__.pop("fit_result_", None)
            return self
        refuse_large_model(0, len(encoder.fixed.names), encoder.sizes)
        rows = accumulation.standardised(
            integrate_fixed=options.integrate_fixed,
            basis_may=options.basis_may(encoder.factors),
            noise_variance=options.noise_variance,
        )
        with restrained_blas(options.n_threads):
            n_levels = tuple(factor.levels.n_levels for factor in encoder.factors)
            result = fit_sums(rows, n_levels, options)
        self._seen = accumulation, self._model()
        self._kept = self._sums = None
        for name in _RANGES:
            self.__dict__.pop(name, None)
        model = self._model_of(encoder, result, Target(np.empty(0), result.likelihood))
        self._publish(fitted_attributes(model))
        self._warn(model, accumulation.sums.n_rows)
        return self

    def _rows(self, X: Any, y: Any, sample_weight: Any) -> tuple[Table, np.ndarray, np.ndarray]:
        """Columns, response and case weights of the rows that count."""
        table, target, weights = self._data(X, y, sample_weight)
        return table, target.response, weights

    def _data(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        asked: Response | None = None,
        at_least: int = 1,
    ) -> tuple[Table, Target, np.ndarray]:
        """Columns, target and case weights of the rows that count."""
        table = Table.from_input(X)
        if table.n_rows < at_least:
            raise ValueError(
                f"Found array with {table.n_rows} sample(s) while a minimum of {at_least} is "
                "required: one row cannot determine a variance."
            )
        weights = check_case_weights(sample_weight, table.n_rows)
        used: np.ndarray | slice = slice(None)
        if not weights.all():
            used = np.flatnonzero(weights)
            table = Table.from_input(take_rows(X, used))
        if asked is None:
            asked = Response(Variable(name_of(y)))
        target = self._target(y, weights, used, asked)
        weights = weights[used]
        if target.class_weights is not None:
            weights = weights * target.class_weights[target.response.astype(np.int64)]
        return table, target, weights

    @abstractmethod
    def _target(
        self, y: Any, weights: np.ndarray, used: np.ndarray | slice, asked: Response
    ) -> Target:
        """The response of the rows that are used, checked; `asked` says what it is.

        The weights are those of all rows.
        """

    def _spec(
        self, table: Table, formula: ModelSpec | None = None, *, complete: bool = True
    ) -> ModelSpec:
        return resolve_spec(
            table,
            random_effects=self.random_effects,
            fixed_effects=self.fixed_effects,
            reference=self.reference,
            formula=self.formula if formula is None else formula,
            fit_intercept=bool(self.fit_intercept),
            reserved=[c for c in (self.offset, self.precision_weights) if c is not None],
            complete=complete,
        )

    def _options(self, encoder: DesignEncoder, report: Callable[..., bool]) -> FitOptions:
        return self._settings(self._chosen_method()).options(
            encoder, self._previous_variances(encoder), report
        )

    def _settings(self, method: str) -> FitSettings:
        finds = isinstance(self.random_effects, str) and self.random_effects == "from_dtype"
        given: dict[str, Any] = {
            name: getattr(self, name, None) for name in FitSettings.__dataclass_fields__
        }
        given |= {"method": method, "finds_groups": finds and self.formula is None}
        return FitSettings(**given)

    def _model_of(self, encoder: DesignEncoder, result: FitResult, target: Target) -> FittedModel:
        """The value of a fit that is not published yet."""
        return FittedModel(
            encoder, result, target.meaning, self._settings(self._chosen_method()),
            columns=None, classes=target.classes, class_weights=target.class_weights,
        )  # fmt: skip

    def _attributes(self) -> dict[str, Any]:
        """All attributes that a fit sets, by name."""
        return fitted_attributes(self._fitted_model)

    @property
    def _fitted_model(self) -> FittedModel:
        """The fit as a value, for all that reads it; parameters have their present values."""
        check_is_fitted(self)
        state, classes, weights = vars(self), None, None
        columns = type(self).__new__(type(self))
        for name, value in state.items():
            if not name.startswith("_") and (name in _OF_COLUMNS or not name.endswith("_")):
                columns.__dict__[name] = value
        if is_classifier(self):
            classes = self.ordered_classes_
            if "class_weight_" in state:
                weights = self.class_weight_[codes_of(self.classes_, classes)]
        return FittedModel(
            encoder=self.design_encoder_,
            result=self.fit_result_,
            response=self.response_,
            settings=self._settings(state.get("method_", self._chosen_method())),
            columns=columns,
            classes=classes,
            class_weights=weights,
            response_moments=state.get("response_moments_"),
            offset_range=state.get("offset_range_"),
            data=self._kept,
            sums=None if self._sums is None else self._sums[0],
        )

    def _keep_ranges(self, design: Design, response: np.ndarray, weights: np.ndarray) -> None:
        """Store moments of the response and the range of the offset."""
        self.response_moments_ = response_moments(response, weights)
        self.__dict__.pop("offset_range_", None)
        if design.offset is not None:
            self.offset_range_ = np.array([design.offset.min(), design.offset.max()])

    def _chosen_method(self) -> str:
        """The method that is asked for, or that of the family."""
        return traits(self.family).default_method if self.method == "auto" else self.method

    def _take_result(self, model: FittedModel) -> None:
        """Take the estimates of another fit of the same model for its own, as `fit` does."""
        self._publish(fitted_attributes(model))

    def _publish(self, attributes: dict[str, Any]) -> None:
        for name in self._derived:
            # that of an earlier fit, if it was asked for
            self.__dict__.pop(name, None)
        for name, value in attributes.items():
            setattr(self, name, value)

    def _check_parameters(self) -> None:
        from skmixed.posteriors import POSTERIORS
        from skmixed.solvers.choice import SOLVERS

        check_family(self.family, is_classifier(self))
        check_choice("posterior", self.posterior, tuple(POSTERIORS))
        check_choice("method", self.method, METHODS)
        check_choice("approximation", self.approximation, APPROXIMATIONS)
        check_choice("solver", self.solver, SOLVERS)
        check_relations(self.relations)
        if self.variance_prior is not None:
            from skmixed.fit.variance_priors import VARIANCE_PRIORS

            check_choice("variance_prior", self.variance_prior, tuple(VARIANCE_PRIORS))
        refuse_mean_field(self)
        if self.approximation == "corrected" and self.posterior == "mean_field":
            raise ValueError(
                "approximation='corrected' integrates over the effects and cannot use "
                "posterior='mean_field'; leave posterior at 'full'."
            )
        check_choice("handle_unknown", self.handle_unknown, ("population", "warn", "error"))
        check_flag("fit_intercept", self.fit_intercept)
        check_flag("warm_start", self.warm_start)
        check_flag("keep_data", self.keep_data)
        check_integer("max_iter", self.max_iter, 1)
        check_positive("tol", self.tol)
        if self.n_probes != "auto":
            check_integer("n_probes", self.n_probes, 2)
        if self.n_jobs is not None:
            check_integer("n_jobs", self.n_jobs, -(2**31))
            if self.n_jobs == 0:
                raise ValueError("n_jobs=0 means no thread at all; use None, 1 or -1.")
        for name in ("offset", "precision_weights", "dispersion"):
            check_column(name, getattr(self, name))
        if self.noise_scale is not None:
            check_scale("noise_scale", self.noise_scale)
        if not traits(self.family).has_noise:
            for name in ("noise_scale", "precision_weights", "dispersion"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} needs family='gaussian': a "
                        f"{self.family} response has no separate noise variance. Leave it at None; "
                        "pass weights that count rows as sample_weight."
                    )

    def _previous_variances(self, encoder: DesignEncoder) -> Start | None:
        """Variance parameters of the previous fit, if they fit this model."""
        if not self.warm_start or not hasattr(self, "fit_result_"):
            return None
        before = self.fit_result_
        names = [(factor.name, list(factor.term_names)) for factor in encoder.factors]
        known = [(f.name, list(f.term_names)) for f in self.design_encoder_.factors]
        if sorted(names) != sorted(known) or not before.noise_variance > 0:
            return None
        covariances = [before.factors[known.index(name)].covariance for name in names]
        numbers = (*covariances, before.noise_variance, before.parameters)
        if not isinstance(before.likelihood, traits(self.family)) or not all(
            np.isfinite(values).all() for values in numbers
        ):
            return None
        from skmixed.fit.outer import Start

        return Start(covariances, before.noise_variance, before.parameters)

    def _draw(self, X: Any, n_samples: int, random_state: Any) -> np.ndarray:
        """Draws of new responses (n, n_samples), one draw of all effects per column."""
        check_integer("n_samples", n_samples, 1)
        from skmixed.results.prediction import draw_predictors

        rows = self._fitted_model.encode(X, number_unknown=True)
        seed = check_random_state(random_state).randint(2**31 - 1, size=4)
        rng = np.random.default_rng(seed)
        design, parameters = rows.design, rows.parameters
        refuse_what_does_not_fit(
            f"{n_samples:,} draws of {len(design.fixed):,} rows",
            8 * n_samples * len(design.fixed),
            "Draw fewer at a time.",
        )
        draws = np.empty((len(design.fixed), n_samples))
        predictors = draw_predictors(rows.result, design, rows.positions, rng)
        for k, predictor in zip(range(n_samples), predictors, strict=False):
            draws[:, k] = rows.result.likelihood.sample(predictor, parameters, rng)
        return draws

    @property
    def feature_importances_(self) -> np.ndarray:
        """Standard deviation of the contribution of each column of X to the linear predictor.

        Over the training rows, of shape (n_features_in_,). `coef_` has one entry per coefficient,
        not per column. To select columns use ``SelectFromModel(model,
        importance_getter="feature_importances_")``.
        """
        check_is_fitted(self)
        columns = getattr(self, "feature_names_in_", range(self.n_features_in_))
        from skmixed.inspection.importances import column_importances

        found = column_importances(list(columns), self._fitted_model)
        if found is None:
            raise AttributeError(
                "feature_importances_ is not available, because this fit kept no covariance of its "
                "columns (it is from an earlier version, or of parts without an intercept)."
            )
        return found

    def known_levels(self, X: Any) -> pd.DataFrame:
        """Which rows have levels that the model was fitted on.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows, as for `predict`.

        Returns
        -------
        known : DataFrame of bool, of shape (n_samples, n_groups)
            One column per group. Its mean is the share of known rows; monitor it in production.

        Examples
        --------
        >>> from skmixed import MixedEffectsVIRegressor
        >>> from skmixed.datasets import make_mixed_regression
        >>> X, y, _ = make_mixed_regression(n_samples=200, groups=(10,), random_state=0)
        >>> model = MixedEffectsVIRegressor(["g0"]).fit(X, y)
        >>> bool(model.known_levels(X.assign(g0=-1))["g0"].any())
        False
        """
        model = self._fitted_model
        _, design = model.table_and_design(X, model.encoder.factor_names, False)
        index = X.index if isinstance(X, pd.DataFrame) else None
        known = {factor.name: factor.codes >= 0 for factor in design.factors}
        return pd.DataFrame(known, index=index)

    def design_matrix(self, X: Any) -> pd.DataFrame:
        """The columns of the fixed effects, by name.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Rows; columns of groups are not needed.

        Returns
        -------
        matrix : DataFrame of shape (n_samples, n_coefficients)
            The intercept first, if there is one. Its product with `params` is the fixed part of the
            linear predictor, without the offset.
        """
        _, design = self._fitted_model.table_and_design(X, (), with_weights=False)
        index = X.index if isinstance(X, pd.DataFrame) else None
        return pd.DataFrame(design.fixed, columns=list(design.fixed_names), index=index)

    def as_predictor(self, method: str = "predict_interval", **options: Any) -> PredictorAdapter:
        """Make an estimator whose `predict` calls another method of this model.

        Parameters
        ----------
        method : str, default="predict_interval"
            The method, for example "predict_quantile".
        **options
            Its keyword arguments.

        Returns
        -------
        predictor : PredictorAdapter
            Fit it like this model: in a pipeline, or with `cross_val_predict`.
        """
        return PredictorAdapter(self, method, options or None)

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text = super().__repr__(N_CHAR_MAX)
        if not hasattr(self, "fit_result_"):
            return text
        return f"{text}\n# {self._modelled()}"

    def _html_repr(self) -> str:
        text = super()._html_repr()
        if not hasattr(self, "fit_result_"):
            return text
        return f"{text}<p><code>{escape(self._modelled())}</code></p>"

    def _modelled(self) -> str:
        """The model as a formula, with its family."""
        from skmixed.inspection.structure import what_is_modelled

        return what_is_modelled(self._fitted_model)

    def __sklearn_is_fitted__(self) -> bool:
        # a fit that failed, or `partial_fit` of too little, leaves n_features_in_ behind
        return hasattr(self, "fit_result_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        return tags


def refuse_response_as_column(
    table: Table, y: Any, response: np.ndarray, encoder: DesignEncoder
) -> None:
    """Raise where the response itself is among the fixed effects."""
    name = getattr(y, "name", None)
    fixed = {learnt.variable.name for learnt in encoder.fixed.variables}
    if name is None or name not in fixed or table.is_categorical(name):
        return
    if np.array_equal(table.numeric(name), response):
        raise ValueError(
            f"X contains the response {name!r} as a fixed effect, which explains it without "
            f"error. Drop it: X.drop(columns={name!r})."
        )


def _warn_of_new_levels(seen: DesignEncoder, part: DesignEncoder) -> None:
    """Warn where most levels of a part of the data are not those of the parts before."""
    for before, now in zip(seen.factors, part.factors, strict=True):
        n_levels = now.levels.n_levels
        n_new = n_levels - before.levels.n_shared(now.levels)
        if n_new >= FEWEST_UNKNOWN and 2 * n_new > n_levels:
            warn_user(
                f"{n_new} of the {n_levels} labels of {now.name!r} are new in this call of "
                f"partial_fit: earlier calls had {kind_of_labels(before.levels)}, this one has "
                f"{kind_of_labels(now.levels)}. They become new levels, which is right for "
                "new groups. If the groups are not new, give the column the type it had before.",
                UnknownLevelsWarning,
            )
