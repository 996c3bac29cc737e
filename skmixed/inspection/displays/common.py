"""What the displays share: fitted models and their rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from skmixed.fitted_model import FittedModel, TrainingData, fitted_model
from skmixed.inspection.attributes import random_effects

_LONGEST_LABEL = 30

NODES = np.linspace(-6.0, 6.0, 121)
SHARES = np.exp(-0.5 * NODES**2) / np.exp(-0.5 * NODES**2).sum()
"""Points of the trapezoidal rule for a standard normal variable."""


def split_pipeline(estimator: Any) -> tuple[FittedModel, Any]:
    """The mixed model, and the steps before it in a pipeline (else None).

    Raises
    ------
    NotFittedError
        If the estimator is not fitted.
    TypeError
        If it is no mixed model.
    """
    check_is_fitted(estimator)
    if not hasattr(estimator, "named_steps"):
        return fitted_model(estimator), None
    return fitted_model(estimator[-1]), estimator[:-1] if len(estimator) > 1 else None


def with_training_data(
    estimator: Any, X: Any, y: Any, sample_weight: Any
) -> tuple[FittedModel, TrainingData, Any]:
    """Model, rows to show, and the steps of a pipeline that these rows have to go through.

    The rows are those that were passed, else those that the fit kept, which have gone through
    the steps.
    """
    model, steps = split_pipeline(estimator)
    data = model.training_data(X, y, sample_weight, "This display")
    return model, data, None if X is None else steps


def with_transformed_data(estimator: Any, X: Any, y: Any) -> tuple[FittedModel, Any, TrainingData]:
    """Model, X as the model takes it (None where it kept the rows), and the training data."""
    model, steps = split_pipeline(estimator)
    if X is not None and steps is not None:
        X = steps.transform(X)
    return model, X, model.training_data(X, y, None, "This display")


def effects_of_group(model: FittedModel, group: Any) -> pd.DataFrame:
    """Posterior means of a group, levels x terms.

    Raises
    ------
    ValueError
        If the model has no such group.
    """
    effects = random_effects(model)
    if group not in effects:
        groups = ", ".join(map(repr, effects)) or "none"
        raise ValueError(f"group={group!r} is not a group of this model; choose one of: {groups}.")
    return effects[group]


def choose_term(frame: pd.DataFrame, group: Any, term: Any) -> Any:
    """The term to show: the one asked for, or the first one, an intercept where there is one.

    Raises
    ------
    ValueError
        If the group has no such term.
    """
    if term is None:
        return frame.columns[0]
    if term not in frame.columns:
        terms = ", ".join(map(repr, frame.columns))
        raise ValueError(
            f"term={term!r} is not an effect of group {group!r}; choose one of: {terms}."
        )
    return term


def level_labels(levels: Iterable[Any]) -> list[str]:
    """Levels as text: those of interactions with colons, long ones shortened inside."""
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
