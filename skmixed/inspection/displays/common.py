"""What the displays share: fitted models and their rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import _num_samples, check_is_fitted

from skmixed.design import Design, spread, take_rows
from skmixed.validation import check_case_weights

_LONGEST_LABEL = 30

NODES = np.linspace(-6.0, 6.0, 121)
SHARES = np.exp(-0.5 * NODES**2) / np.exp(-0.5 * NODES**2).sum()
"""Points of the trapezoidal rule for a standard normal variable."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of data as a fitted model sees them; rows of weight 0 are left out.

    Attributes
    ----------
    design : Design
    positions : list of int
        Which factors of the fit the design holds.
    response : ndarray (n,)
        Numbers; of classes their number.
    weights : ndarray (n,)
        Case weights.
    total_weight : float
        Sum of the case weights of all rows, those included that a subsample leaves out.
    """

    design: Design
    positions: list[int]
    response: np.ndarray
    weights: np.ndarray
    total_weight: float

    def take(self, rows: np.ndarray) -> Rows:
        """Some of the rows; `total_weight` stays that of all."""
        part = self.design.take(rows)
        return replace(self, design=part, response=self.response[rows], weights=self.weights[rows])


def fitted_model(estimator: Any) -> Any:
    """The mixed model itself, out of a pipeline where there is one.

    Raises
    ------
    NotFittedError
        When the estimator is not fitted.
    TypeError
        When it is no mixed model.
    """
    check_is_fitted(estimator)
    model = estimator[-1] if hasattr(estimator, "named_steps") else estimator
    if not hasattr(model, "random_effects_"):
        raise TypeError(
            f"{type(model).__name__} has no random effects to show; pass a fitted "
            "MixedEffectsVIRegressor or MixedEffectsVIClassifier, or a pipeline that ends in one."
        )
    return model


def with_training_data(
    estimator: Any, X: Any, y: Any, sample_weight: Any
) -> tuple[Any, Any, Any, Any]:
    """Estimator and rows to show: those that were passed, else those that the fit kept.

    Rows that the fit kept have gone through the steps of a pipeline before the model, so
    the model alone is returned with them.
    """
    model = fitted_model(estimator)
    data = model._training_data(X, y, sample_weight, "This display")
    return (model if X is None else estimator), data.X, data.y, data.sample_weight


def rows_of(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    subsample: int | None = None,
    rng: np.random.Generator | None = None,
    include: str | Sequence[str] = "all",
) -> Rows:
    """Check rows and encode them, a random part of them where `subsample` says so.

    Raises
    ------
    NotFittedError, TypeError, ValueError
        When the estimator is of no use, or the rows do not suit it.
    """
    model = fitted_model(estimator)
    n_rows = _num_samples(X)
    weights = check_case_weights(sample_weight, n_rows)
    used = np.flatnonzero(weights)
    response = model._fitted_target(y, n_rows, used)
    weights = weights[used] * model._weights_of_classes(response)
    total = weights if response.ndim == 1 else weights * response.sum(axis=1)
    if subsample is not None and subsample < len(used):
        generator = np.random.default_rng(0) if rng is None else rng
        kept = np.sort(generator.choice(len(used), subsample, replace=False))
        used, response, weights = used[kept], response[kept], weights[kept]
    if len(used) < n_rows:
        X = take_rows(X, used)
    if hasattr(estimator, "named_steps") and len(estimator) > 1:
        X = estimator[:-1].transform(X)
    design, positions = model._design(X, include, with_weights=True)
    return Rows(*_spread(design, positions, response, weights), float(total.sum()))


def _spread(
    design: Design, positions: list[int], response: np.ndarray, weights: np.ndarray
) -> tuple[Design, list[int], np.ndarray, np.ndarray]:
    """Rows of two classes in place of sets of trials."""
    design, response, weights = spread(design, response, weights)
    return design, positions, response, weights


def check_group(model: Any, group: Any) -> None:
    """Raise ValueError unless the model has the group."""
    if group not in model.random_effects_:
        known = ", ".join(repr(name) for name in model.random_effects_) or "none"
        raise ValueError(f"group={group!r} is no group of this model; choose one of: {known}.")


def choose_term(frame: pd.DataFrame, group: Any, term: Any) -> Any:
    """The term to show: the one asked for, or the first one, an intercept where there is one.

    Raises
    ------
    ValueError
        When the group has no such term.
    """
    if term is None:
        return frame.columns[0]
    if term not in frame.columns:
        known = ", ".join(repr(name) for name in frame.columns)
        raise ValueError(f"term={term!r} is no effect of group {group!r}; choose one of: {known}.")
    return term


def level_labels(levels: Iterable[Any]) -> list[str]:
    """Levels as text, those of interactions with colons, long ones without their middle."""
    texts = [":".join(map(str, level)) if type(level) is tuple else str(level) for level in levels]
    half = _LONGEST_LABEL // 2
    # labels of one kind often differ at the end
    return [
        text if len(text) <= _LONGEST_LABEL else f"{text[:half]}…{text[-half + 1 :]}"
        for text in texts
    ]


def effect_name(group: Any, term: Any) -> str:
    """How an effect is called on an axis, as in a formula: ``"Days | Subject"``."""
    return f"{term} | {group}"
