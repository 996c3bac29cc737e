"""`MixedEffectsVIClassifier`: mixed-effects models for classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from skmixed.base import BaseMixedEffects
from skmixed.callbacks import with_callbacks
from skmixed.design import DesignEncoder, Table
from skmixed.inference.prediction import predict_mean, predict_variance
from skmixed.inference.result import FitResult
from skmixed.inspection.summary import Summary, summarise
from skmixed.likelihoods import make_family
from skmixed.likelihoods.base import Likelihood
from skmixed.spec import ModelSpec
from skmixed.validation import check_choice, check_labels


class MixedEffectsVIClassifier(ClassifierMixin, BaseMixedEffects):
    """DOC"""

    def __init__(
        self,
        random_effects: Any = "from_dtype",
        *,
        formula: str | None = None,
        family: str = "bernoulli",
        link: str = "logit",
        posterior: str = "full",
        method: str = "reml",
        offset: str | int | None = None,
        fit_intercept: bool = True,
        solver: str = "auto",
        handle_unknown: str = "population",
        max_iter: int = 100,
        tol: float = 1e-6,
        n_probes: int | str = "auto",
        warm_start: bool = False,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.random_effects = random_effects
        self.formula = formula
        self.family = family
        self.link = link
        self.posterior = posterior
        self.method = method
        self.offset = offset
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

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> MixedEffectsVIClassifier:
        return self._fit(X, y, sample_weight)

    def predict_proba(self, X: Any, include: str | Sequence[str] = "all") -> np.ndarray:
        design, positions = self._design(X, include, with_weights=False)
        result = self.fit_result_
        mean = predict_mean(result, design, positions)
        variance = predict_variance(result, design, positions)
        return result.likelihood.probabilities(mean, variance, result.parameters)

    def predict(self, X: Any, include: str | Sequence[str] = "all") -> np.ndarray:
        return self.classes_[self.predict_proba(X, include).argmax(axis=1)]

    def decision_function(self, X: Any, include: str | Sequence[str] = "all") -> np.ndarray:
        design, positions = self._design(X, include, with_weights=False)
        mean = predict_mean(self.fit_result_, design, positions)
        return mean - self._location if self.family == "ordinal" else mean

    def sample_y(self, X: Any, n_samples: int = 1, random_state: Any = None) -> np.ndarray:
        draws = self._draw(X, n_samples, random_state)
        return self.classes_[draws.astype(np.int64)]

    def summary(self) -> Summary:
        check_is_fitted(self)
        return summarise(self)

    # What makes classes of labels --------------------------------------------------

    def _target(self, y: Any, n_rows: int, used: np.ndarray | slice) -> np.ndarray:
        ordered = getattr(getattr(y, "dtype", None), "ordered", False)
        order = y.dtype.categories if ordered else None
        labels = check_labels(y, n_rows)[used]
        if order is None:
            self.classes_ = np.unique(labels)
        else:
            present = set(pd.unique(labels))
            self.classes_ = np.array([label for label in order if label in present])
        self._refuse_classes(ordered)
        codes = pd.Index(self.classes_).get_indexer(labels)
        return codes.astype(np.float64)

    def _refuse_classes(self, ordered: bool) -> None:
        n_classes = len(self.classes_)
        if n_classes < 2:
            raise ValueError(
                f"Classifier can't train when only one class is present: y is "
                f"{self.classes_[0]!r} in every row, which leaves nothing to learn. Add rows of "
                "another class, or check how y was made."
            )
        if self.family == "bernoulli" and n_classes > 2:
            raise ValueError(
                f"Only binary classification is supported with family='bernoulli'. The type of "
                f"the target is multiclass: y has {n_classes} classes. Use family='ordinal' if "
                "they have an order, or fit one class against the rest."
            )
        if n_classes > 2 and not ordered and self.classes_.dtype.kind not in "iufb":
            raise ValueError(
                f"y has {n_classes} labels that are no numbers ({self.classes_[0]!r}, "
                f"{self.classes_[1]!r}, ...), so family='ordinal' cannot know their order: pass "
                "numbers, or an ordered categorical, pandas.Categorical(y, categories=[...], "
                "ordered=True). Classes without an order are not supported."
            )

    def _likelihood(self, response: np.ndarray) -> Likelihood:
        return make_family(self.family, self.link, len(self.classes_))

    def _spec(self, table: Table) -> ModelSpec:
        spec = super()._spec(table)
        if self.family == "ordinal" and not spec.fixed.intercept:
            raise ValueError(
                "The thresholds of family='ordinal' take the place of the intercept: leave "
                "'0 +' out of the formula, and fit_intercept at True."
            )
        return spec

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_choice("link", self.link, ("logit", "probit"))

    @property
    def _location(self) -> float:
        """What the engine calls the intercept of an ordinal model."""
        result = self.fit_result_
        return float(result.coefficients[0] - result.center @ result.coefficients)

    def _attributes(self, encoder: DesignEncoder, result: FitResult) -> dict[str, Any]:
        attributes = super()._attributes(encoder, result)
        if self.family == "ordinal":
            thresholds = result.likelihood.thresholds(result.parameters)
            attributes["thresholds_"] = thresholds - attributes["intercept_"]
            attributes["intercept_"] = 0.0
            attributes["coef_cov_"] = attributes["coef_cov_"][1:, 1:]
        return attributes

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = self.family == "ordinal"
        return tags
