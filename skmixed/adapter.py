"""A model whose `predict` is another of its methods, for tools that call only `predict`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)
from sklearn.utils.validation import check_is_fitted


class PredictorAdapter(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """An estimator whose `predict` calls another method of a model.

    Made by ``model.as_predictor("predict_interval", level=0.9)``. As the last step of a pipeline,
    it returns intervals, quantiles or probabilities from ``pipeline.predict`` and
    `cross_val_predict`.

    Parameters
    ----------
    estimator : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        The model; it is cloned before it is fitted.
    method : str, default="predict_interval"
        The method to call.
    options : mapping or None, default=None
        Keyword arguments of the method.

    Attributes
    ----------
    estimator_ : estimator
        The fitted model.

    Examples
    --------
    >>> from sklearn.model_selection import cross_val_predict
    >>> from skmixed import MixedEffectsVIRegressor
    >>> from skmixed.datasets import make_mixed_regression
    >>> X, y, _ = make_mixed_regression(n_samples=300, groups=(10,), random_state=0)
    >>> model = MixedEffectsVIRegressor(["g0"])
    >>> intervals = cross_val_predict(model.as_predictor("predict_interval", level=0.9), X, y)
    >>> intervals.shape
    (300, 2)
    """

    def __init__(
        self,
        estimator: Any,
        method: str = "predict_interval",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.options = options

    def fit(self, X: Any, y: Any, **fit_params: Any) -> PredictorAdapter:
        """Fit a clone of the model.

        Parameters
        ----------
        X, y : array-like
            The data, as for the model.
        **fit_params
            Passed to its `fit`: ``sample_weight``.

        Returns
        -------
        self : PredictorAdapter
        """
        if not callable(getattr(type(self.estimator), self.method, None)):
            raise ValueError(
                f"{type(self.estimator).__name__} has no method {self.method!r}; use "
                "method='predict_interval', 'predict_quantile' or another method that takes X."
            )
        if fit_params:
            fit_params = dict(process_routing(self, "fit", **fit_params).estimator.fit)
        self.estimator_ = clone(self.estimator).fit(X, y, **fit_params)
        self.n_features_in_ = self.estimator_.n_features_in_
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Call the method on rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        found : ndarray
            What the method returns.
        """
        check_is_fitted(self, "estimator_")
        found: np.ndarray = getattr(self.estimator_, self.method)(X, **(self.options or {}))
        return found

    def get_metadata_routing(self) -> MetadataRouter:
        """Metadata go to the model."""
        return MetadataRouter(owner=type(self).__name__).add(
            estimator=self.estimator,
            method_mapping=MethodMapping().add(caller="fit", callee="fit"),
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags = self.estimator.__sklearn_tags__().input_tags
        return tags
