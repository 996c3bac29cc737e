"""`MixedEffectsEncoder`: categorical columns as shrunken random effects."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import ClassifierTags, column_or_1d
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from skmixed.choices import HandleUnknown, SolverName, TargetType
from skmixed.classifier import MixedEffectsVIClassifier
from skmixed.design import Table
from skmixed.design.replaced import replace_columns
from skmixed.encoding import (
    Codes,
    Effects,
    LabelledRows,
    encodings,
    folds,
    learn_column,
    refuse_other_than_two,
)
from skmixed.exceptions import warn_user
from skmixed.persistence import PersistentMixin, check_encodings, unchanged_on_error
from skmixed.regressor import MixedEffectsVIRegressor
from skmixed.spec import ColumnKey
from skmixed.validation import (
    check_case_weights,
    check_choice,
    check_flag,
    check_labels,
    check_response,
)

FROM_DTYPE = "from_dtype"


_EFFECT = "effect"

_EXTRA = ("std", "count")

_MODELS = {
    "continuous": (MixedEffectsVIRegressor, "gaussian"),
    "binary": (MixedEffectsVIClassifier, "bernoulli"),
    "poisson": (MixedEffectsVIRegressor, "poisson"),
}
"""Estimator and family by type of target."""

_MANY = 100
"""Iterations after which more of them are no remedy."""


class MixedEffectsEncoder(PersistentMixin, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Encode categorical columns by the random effects of their levels.

    The encoder fits a mixed model of the target y with an intercept and one random intercept per
    encoded column,

    .. math::

        \eta_i = \mu + \sum_k u_k[g_k(i)], \qquad u_k[l] \sim N(0, \sigma_k^2),

    and replaces each label by the posterior mean of its effect :math:`u_k[l]`. With a single column
    and a numeric target this is the difference between the mean of the level and that of the
    population, times :math:`n / (n + \sigma^2 / \sigma_k^2)` for a level with n rows [1]_. The data
    determine the shrinkage. With several columns the effects of each are adjusted for the others.

    Like :class:`~sklearn.preprocessing.TargetEncoder`, `fit_transform` encodes each row by a model
    that was fitted without it, so that the next model does not overfit. So ``fit(X,
    y).transform(X)`` differs from ``fit_transform(X, y)``. Use `fit_transform`, or a pipeline, for
    rows that train another model.

    Parameters
    ----------
    columns : "from_dtype", str, int or list of str or int, default="from_dtype"
        Columns to encode, by name or position. ``"from_dtype"``: every categorical,
        string or object column. All other columns pass through unchanged.
    joint : bool, default=True
        True: one model with crossed random effects of all columns. False: one model per column,
        which is faster but counts twice what columns have in common.
    target_type : {"auto", "continuous", "binary", "poisson"}, default="auto"
        "continuous": a normal model (`MixedEffectsVIRegressor`); encodings are in the units of y.
        "binary": a logistic one (`MixedEffectsVIClassifier`); encodings are log odds of the second
        of `classes_`. "poisson": counts with a logarithmic link; encodings are logarithms of ratios
        of means. "auto" uses :func:`~sklearn.utils.multiclass.type_of_target`, which treats whole
        numbers with more than two values as classes: for ratings set "continuous", for counts
        "poisson".
    extra : None, "std", "count" or sequence of these, default=None
        Additional columns after those of X, per encoded column. "std": posterior standard
        deviations of the effects, named ``"city_std"``; for unknown labels the standard deviation
        between levels, 0 if a column has no model. "count": sums of case weights from which the
        effects were learnt; 0 for unknown labels. `fit_transform` takes both from models that were
        fitted without the row.
    cv : int, splitter, iterable or None, default=5
        Folds of `fit_transform`. An integer: the number of folds, stratified for two classes. None:
        five folds. A splitter or an iterable of (train, test) positions must test every row exactly
        once. Pass groups for ``GroupKFold()`` to `fit_transform`.
    shuffle : bool, default=True
        Whether rows are shuffled before they are split into an integer number of folds.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffling; pass an int for reproducible encodings.
    handle_unknown : {"population", "error"}, default="population"
        What to do with unseen and missing labels. "population": effect 0, the mean of the
        population. "error": raise an error.
    solver : {"auto", "direct", "iterative"}, default="auto"
        Solver of the models.
    max_iter : int, default=100
        Maximum number of steps per model.
    tol : float, default=1e-4
        Models stop when their variance parameters are this close to the optimum, in standard
        errors.
    n_jobs : int or None, default=None
        Threads of the compiled kernels; results do not depend on it. None: all
        cores the process may use.

    Attributes
    ----------
    encodings_ : dict of {column: Series}
        Effects by level, learnt from all rows; used by `transform`.
    models_ : dict of {column: estimator}
        The fitted model with the effects of the column; with `joint` the same for all columns. It
        numbers the levels: level k of its grouping factor is ``encodings_[column].index[k]``, and
        -1 stands for rows without a label. A column with a single level, or with one level per row,
        has no model; its effects are 0.
    target_type_ : {"continuous", "binary", "poisson"}
        The type of target.
    classes_ : ndarray of shape (2,) or None
        The sorted classes of a binary target.
    n_iter_ : int
        Steps of the model on all rows; with several models, the maximum.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if all names in X are strings.

    See Also
    --------
    sklearn.preprocessing.TargetEncoder : Means of levels, one column at a time.
    skmixed.MixedEffectsVIRegressor : The model of a numeric target.
    skmixed.MixedEffectsVIClassifier : The model of two classes.

    Notes
    -----
    Encodings do not contain the intercept :math:`\mu`. So unseen levels are encoded as 0 in all
    folds. A mean of the target would differ between folds and show which fold a row was in. Linear
    models with an intercept and trees do not need the intercept. To add it, use
    ``models_[column].intercept_``.

    Rows without a label form a level of their own in the fit, whose effect is not used. If a
    missing label may be informative, give it a name first: ``X["g"].fillna("missing")``.

    `fit_transform` fits the model on all rows first. The models of the folds start from its
    variances, but converge to their own optimum.

    References
    ----------
    .. [1] Robinson (1991), "That BLUP is a good thing: the estimation of random effects",
       Statistical Science 6(1).

    Examples
    --------
    >>> from skmixed import MixedEffectsEncoder
    >>> from skmixed.datasets import make_mixed_regression
    >>> X, y, _ = make_mixed_regression(n_samples=500, groups=(20, 10), random_state=0)
    >>> encoder = MixedEffectsEncoder(columns=["g0", "g1"], random_state=0)
    >>> encoder.fit_transform(X, y).shape
    (500, 3)
    >>> encoder.encodings_["g0"].shape
    (20,)

    In front of any model, with data frames:

    >>> from sklearn.ensemble import HistGradientBoostingRegressor
    >>> from sklearn.pipeline import make_pipeline
    >>> encoder = encoder.set_output(transform="pandas")
    >>> pipeline = make_pipeline(encoder, HistGradientBoostingRegressor(max_iter=10))
    >>> pipeline.fit(X, y).predict(X.head(2)).shape
    (2,)
    """

    def __init__(
        self,
        columns: Any = FROM_DTYPE,
        *,
        joint: bool = True,
        target_type: TargetType = "auto",
        extra: Any = None,
        cv: Any = 5,
        shuffle: bool = True,
        random_state: Any = None,
        handle_unknown: HandleUnknown = "population",
        solver: SolverName = "auto",
        max_iter: int = 100,
        tol: float = 1e-4,
        n_jobs: int | None = None,
    ) -> None:
        self.columns = columns
        self.joint = joint
        self.target_type = target_type
        self.extra = extra
        self.cv = cv
        self.shuffle = shuffle
        self.random_state = random_state
        self.handle_unknown = handle_unknown
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MixedEffectsEncoder:
        """Learn the effects from all rows.

        `transform` of the same rows gives effects that contain the rows' own y. Use `fit_transform`
        for rows that train another model.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Columns to encode, and others.
        y : array-like of shape (n_samples,)
            Target: numbers, or two classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Case weights: weight 2 counts as the row twice, weight 0 as absent.

        Returns
        -------
        self : MixedEffectsEncoder
            The fitted encoder.

        Raises
        ------
        ValueError
            If a parameter, a column or a value cannot be used; the message
            names it and says what to do.
        """
        with unchanged_on_error(self):
            self._learn(X, y, sample_weight)
        return self

    def fit_transform(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Any:
        """Learn the effects, and encode each row by a model that was fitted without it.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            Columns to encode, and others.
        y : array-like of shape (n_samples,)
            Target: numbers, or two classes.
        sample_weight : array-like of shape (n_samples,), default=None
            Case weights in every model; rows of weight 0 are encoded as well.
        groups : array-like of shape (n_samples,), default=None
            Groups for a splitter such as ``cv=GroupKFold()``. In a pipeline, pass them by the name
            of the step, ``pipeline.fit(X, y, encoder__groups=groups)``, or by metadata routing,
            ``pipeline.fit(X, y, groups=groups)``.

        Returns
        -------
        X_encoded : ndarray, or DataFrame by `set_output`, of shape (n_samples, n_features_out)
            As for `transform`. A level whose rows are all in one fold is encoded as 0 there, also
            with ``handle_unknown="error"``.

        Raises
        ------
        ValueError
            As `fit`; also when `cv` does not test every row exactly once, or leaves
            a fold with one class.
        """
        with unchanged_on_error(self):
            table, rows = self._learn(X, y, sample_weight)
        kinds = (_EFFECT, *self._further)
        encoded = {kind: {name: np.zeros(table.n_rows) for name in rows.codes} for kind in kinds}
        unfinished = 0
        splits = self._folds(X, rows.y, groups) if rows.codes else []
        for number, (train, test) in enumerate(splits):
            part = rows.take(train)
            self._refuse_one_class(part.y, number)
            with warnings.catch_warnings():
                # what there is to say has been said of all rows; convergence is counted
                warnings.simplefilter("ignore", UserWarning)
                learnt, models = self._fit_models(part, self.models_)
            unfinished += not all(model.converged_ for model in models.values())
            for kind, columns in encoded.items():
                for column, values in columns.items():
                    values[test] = learnt[kind][column][rows.codes[column][test]]
        if unfinished:
            more = f", a larger max_iter than {self.max_iter}" if self.max_iter < _MANY else ""
            warn_user(
                f"The models of {unfinished} of {len(splits)} folds did not converge, so the "
                "effects of their rows are inaccurate. Usually a column does not predict y, and "
                "its variance is close to 0: see variance_components_ of models_[column], and "
                f"leave such columns out. Otherwise use solver='direct'{more} or a tol above "
                f"{self.tol:g}.",
                ConvergenceWarning,
            )
        return self._replaced(X, table, encoded)

    def transform(self, X: Any) -> Any:
        """Replace labels by the effects learnt from all rows of `fit`.

        Parameters
        ----------
        X : DataFrame or array-like of shape (n_samples, n_features)
            The columns of `fit`.

        Returns
        -------
        X_encoded : ndarray, or DataFrame by `set_output`, of shape (n_samples, n_features_out)
            Columns in the order of X, with effects instead of labels, then those of `extra`. The
            array has floats, or objects if a column that is not encoded is not numeric.

        Raises
        ------
        ValueError
            If columns differ from those of `fit`; with ``handle_unknown="error"``
            also when a label is unknown or missing.
        """
        check_is_fitted(self)
        table = Table.from_input(X)
        validate_data(self, X, reset=False, skip_check_array=True)
        encoded: dict[str, dict[ColumnKey, np.ndarray]] = {
            kind: {} for kind in (_EFFECT, *self._further)
        }
        for (fitted, labels), position in zip(self._labels.items(), self._positions, strict=True):
            column = table.names[position]
            codes = labels.codes(table.ids(column))
            self._refuse_unknown(table, column, codes)
            encoded[_EFFECT][column] = self._effects[fitted][codes]
            for kind, learnt in self._further.items():
                encoded[kind][column] = learnt[fitted][codes]
        return self._replaced(X, table, encoded)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str or None, default=None
            Names of the columns of X, if `fit` had none.

        Returns
        -------
        names : ndarray of str
            Those of X, then those of `extra`, such as ``"city_std"``.
        """
        names: np.ndarray = super().get_feature_names_out(input_features)
        encoded = [names[position] for position in self._positions]
        further = [f"{name}_{kind}" for name in encoded for kind in self._further]
        return np.append(names, np.array(further, dtype=object))

    def get_metadata_routing(self) -> MetadataRouter:
        """Weights go to the models of this encoder, groups to the splitter in `cv`."""
        router = MetadataRouter(owner=type(self).__name__).add_self_request(self)
        return router.add(
            splitter=self.cv,
            method_mapping=MethodMapping().add(caller="fit_transform", callee="split"),
        )

    def _replaced(
        self, X: Any, table: Table, encoded: Mapping[str, Mapping[ColumnKey, np.ndarray]]
    ) -> Any:
        """X with effects instead of labels, and the columns of `extra`."""
        effects = encoded[_EFFECT]
        further = {f"{name}_{kind}": encoded[kind][name] for name in effects for kind in encoded}
        for name in effects:
            del further[f"{name}_{_EFFECT}"]
        return replace_columns(X, table, effects, self._container, further)

    # From X and y to effects ---------------------------------------------------------

    def _learn(self, X: Any, y: Any, sample_weight: Any) -> tuple[Table, LabelledRows]:
        """Fit on all rows, and return them for the folds."""
        self._check_parameters()
        validate_data(self, X, skip_check_array=True)
        table = Table.from_input(X)
        weights = check_case_weights(sample_weight, table.n_rows)
        target_type, target = self._target(y, table.n_rows)
        used = np.flatnonzero(weights)
        classes = np.unique(target[used]) if target_type == "binary" else None
        refuse_other_than_two(classes)
        positions = self._encoded_positions(table)
        self._refuse_taken_names(table, positions)
        columns = [table.names[position] for position in positions]
        learnt = {column: learn_column(table, column, used) for column in columns}
        codes = {column: of_rows for column, (_, of_rows) in learnt.items()}
        for column, of_rows in codes.items():
            self._refuse_unknown(table, column, of_rows, used)
        labels = {column: known for column, (known, _) in learnt.items()}
        n_levels = {column: len(known) for column, known in labels.items()}
        self.target_type_, self.classes_ = target_type, classes
        rows = LabelledRows(codes, n_levels, target, weights)
        learnt_effects, models = self._fit_models(rows.take(used), {})
        effects = learnt_effects.pop(_EFFECT)
        self._positions, self._labels, self._effects = positions, labels, effects
        self._further = learnt_effects
        self.models_ = models
        self.n_iter_ = max((model.n_iter_ for model in models.values()), default=1)
        self.encodings_ = encodings(labels, effects)
        return table, rows

    def _fit_models(
        self, rows: LabelledRows, start: Mapping[ColumnKey, Any]
    ) -> tuple[dict[str, dict[ColumnKey, Effects]], dict[ColumnKey, Any]]:
        """Effects, and what `extra` names, by column and code, and the models.

        The last entry of each column is that of unknown labels. `start` has the models whose
        variances are those to start from.
        """
        effects = {column: np.zeros(n_levels + 1) for column, n_levels in rows.n_levels.items()}
        deviations = {column: np.zeros_like(of_column) for column, of_column in effects.items()}
        models: dict[ColumnKey, Any] = {}
        grouping = [column for column in rows.codes if rows.groups_by(column)]
        for columns in [grouping] if self.joint and grouping else [[name] for name in grouping]:
            model = self._model(columns, start.get(columns[0]))
            frame = pd.DataFrame({column: rows.codes[column] for column in columns})
            model.fit(frame, rows.y, sample_weight=rows.weights)
            for column in columns:
                models[column] = model
                found = model.random_effects_[str(column)]
                levels = found.index.to_numpy()
                labelled = levels >= 0
                effects[column][levels[labelled]] = found["Intercept"].to_numpy()[labelled]
                between = model.random_effects_cov_[str(column)].to_numpy()[0, 0]
                deviations[column][:] = np.sqrt(between)
                stds = model.random_effects_std_[str(column)]["Intercept"].to_numpy()
                deviations[column][levels[labelled]] = stds[labelled]
        learnt = {_EFFECT: effects}
        for kind in self._kinds():
            learnt[kind] = deviations if kind == "std" else rows.counts()
        return learnt, models

    def _model(self, columns: list[ColumnKey], start: Any) -> Any:
        """An estimator with random intercepts of the columns."""
        if start is not None:
            model = copy.copy(start)
            return model.set_params(random_effects=columns, warm_start=True)
        estimator, family = _MODELS[self.target_type_]
        return estimator(
            columns, family=family, solver=self.solver, max_iter=self.max_iter, tol=self.tol,
            n_jobs=self.n_jobs,
        )  # fmt: skip

    # Checks of parameters and target ---------------------------------------------------------

    def _check_parameters(self) -> None:
        check_choice("target_type", self.target_type, ("auto", *_MODELS))
        self._kinds()
        check_choice("handle_unknown", self.handle_unknown, ("population", "error"))
        check_flag("joint", self.joint)
        check_flag("shuffle", self.shuffle)

    def _kinds(self) -> tuple[str, ...]:
        """What `extra` names, checked."""
        extra = () if self.extra is None else self.extra
        kinds = (extra,) if isinstance(extra, str) else tuple(extra)
        for kind in kinds:
            check_choice("extra", kind, _EXTRA)
        if len(set(kinds)) < len(kinds):
            raise ValueError(f"extra={self.extra!r} names a kind twice.")
        return kinds

    def _refuse_taken_names(self, table: Table, positions: list[int]) -> None:
        for position in positions:
            for kind in self._kinds():
                name = f"{table.names[position]}_{kind}"
                if name in table.names:
                    raise ValueError(
                        f"extra={self.extra!r} adds a column {name!r}, but X already has one; "
                        "rename it in X."
                    )

    def _encoded_positions(self, table: Table) -> list[int]:
        """Positions of the columns to encode, in the order in which they were named."""
        columns = self.columns
        if isinstance(columns, str) and columns == FROM_DTYPE:
            found = [p for p, name in enumerate(table.names) if table.is_categorical(name)]
            if not found:
                warn_user(
                    "No column of X is categorical, so nothing is encoded; name the columns, as "
                    "in columns=['city'], or give them a categorical type.",
                    UserWarning,
                )
            return found
        if isinstance(columns, (str, Integral)) or not isinstance(columns, Iterable):
            columns = [columns]
        positions = [table.position(column) for column in columns]
        for k, position in enumerate(positions):
            if position in positions[:k]:
                raise ValueError(
                    f"columns lists {table.names[position]!r} twice; list every column once."
                )
        return positions

    def _target(self, y: Any, n_rows: int) -> tuple[str, np.ndarray]:
        """What kind of target y is, and its values."""
        target_type = self.target_type
        if target_type == "auto":
            if y is None:
                check_response(y, n_rows)
            target_type = type_of_target(column_or_1d(y, warn=True), input_name="y")
        if target_type == "binary":
            return target_type, check_labels(y, n_rows, ordered=False)
        if target_type == "continuous":
            return target_type, check_response(y, n_rows)
        if target_type == "poisson":
            return target_type, _checked_counts(check_response(y, n_rows))
        raise ValueError(
            f"Unknown label type: y looks {target_type!r}, but this encoder supports "
            "'continuous' and 'binary' targets, and counts. Set target_type='continuous' for "
            "numbers such as ratings, and 'poisson' for counts; with several classes, encode one "
            "against the rest."
        )

    def _folds(self, X: Any, y: np.ndarray, groups: Any) -> list[tuple[np.ndarray, np.ndarray]]:
        return folds(
            X, y, self.cv, groups, shuffle=self.shuffle, random_state=self.random_state,
            stratified=self.target_type_ == "binary",
        )  # fmt: skip

    def _refuse_one_class(self, y: np.ndarray, fold: int) -> None:
        if self.classes_ is not None and (y == y[0]).all():
            raise ValueError(
                f"Fold {fold} of cv trains on class {y[:1].tolist()[0]!r} alone, so there is "
                "nothing to learn; use fewer folds, or folds stratified by y."
            )

    def _refuse_unknown(
        self, table: Table, column: ColumnKey, codes: Codes, rows: np.ndarray | slice = slice(None)
    ) -> None:
        """Raise where one of the `rows` that count has no known label."""
        unknown = np.zeros(len(codes), dtype=bool)
        unknown[rows] = codes[rows] < 0
        if self.handle_unknown != "error" or not unknown.any():
            return
        row = int(unknown.argmax())
        value = np.asarray(table.ids(column), dtype=object)[row]
        raise ValueError(
            f"Column {column!r} has the label {value!r} in row {row}, which is missing or was not "
            f"seen during fit ({int(unknown.sum())} such rows); set "
            "handle_unknown='population' to encode it as 0, or fit with this label."
        )

    @property
    def _container(self) -> str:
        """What `set_output` asked for."""
        container: str = _get_output_config("transform", self)["dense"]
        return container

    _derived = ("encodings_",)
    _fitted_marker = "_labels"
    _private_state = ("_positions", "_labels", "_effects", "_further")
    _further: Mapping[str, dict[ColumnKey, Effects]] = {}
    """What `extra` named, by column and code; encoders of earlier versions have none."""

    def _restore(self) -> None:
        if hasattr(self, "_labels"):
            for learnt in (self._effects, *self._further.values()):
                check_encodings(self._labels, learnt)
            self.encodings_ = encodings(self._labels, self._effects)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "encodings_")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        # numbers or two classes, but not more
        tags.classifier_tags = ClassifierTags(multi_class=False)
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.input_tags.allow_nan = True
        return tags


def _checked_counts(y: np.ndarray) -> np.ndarray:
    """Raise unless all targets are whole numbers from 0 on."""
    odd = (y < 0) | (y != np.floor(y))
    if odd.any():
        row = int(odd.argmax())
        raise ValueError(
            f"target_type='poisson' needs counts, whole numbers from 0 on, but y is {y[row]:g} in "
            f"row {row} (counted from 0); use target_type='continuous' for other numbers."
        )
    return y
