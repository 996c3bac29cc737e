"""Checks of parameters and targets, with errors that say what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from skmixed.covariances import Relation
from skmixed.design import as_vector
from skmixed.design.checks import LARGEST

_OF_DEPENDENT_ROWS = ("relations", "dispersion")
"""Parameters of models that need all rows at once and a posterior with all its correlations."""

_OF_ALL_ROWS = (*_OF_DEPENDENT_ROWS, "variance_prior")
"""Parameters of models that need all rows at once."""


def check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise unless `value` is one of the words in `choices`."""
    if not isinstance(value, str) or value not in choices:
        known = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name}={value!r} is not known; choose one of {known}.")


def check_column(name: str, value: Any) -> None:
    """Raise where `value` holds numbers of rows rather than the name of a column."""
    is_list = isinstance(value, (list, tuple)) and len(value) > 0
    if not (hasattr(value, "__array__") or (is_list and all(isinstance(v, Real) for v in value))):
        return
    if np.ndim(value) == 0:
        return
    raise TypeError(
        f"{name} names a column of X and cannot hold values (a {type(value).__name__} was "
        f"passed): add them to X, X.assign(column=...), and write {name}='column'."
    )


def check_flag(name: str, value: Any) -> None:
    """Raise unless `value` is True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"{name}={value!r} must be True or False.")


def check_integer(name: str, value: Any, smallest: int) -> None:
    """Raise unless `value` is an integer of at least `smallest`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < smallest:
        raise ValueError(f"{name}={value!r} must be an integer of at least {smallest}.")


def check_positive(name: str, value: Any) -> None:
    """Raise unless `value` is a positive, finite number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < np.inf:
        raise ValueError(f"{name}={value!r} must be a positive number.")


def check_scale(name: str, value: Any) -> None:
    """Raise unless `value` is a positive number whose square does not overflow, and is not 0."""
    check_positive(name, value)
    if not 1.0 / LARGEST <= value <= LARGEST:
        raise ValueError(
            f"{name}={value!r}: its square overflows or vanishes; change the unit of y."
        )


def check_level(level: Any) -> None:
    """Raise unless `level` is a probability strictly between 0 and 1."""
    if isinstance(level, bool) or not isinstance(level, Real) or not 0 < float(level) < 1:
        raise ValueError(f"level={level!r} must lie between 0 and 1, as in level=0.95.")


def check_response(y: Any, n_rows: int) -> np.ndarray:
    """The response as float64 (n_rows,).

    Raises
    ------
    ValueError
        If y is missing, not numeric, of another length, or holds NaN or
        infinity; the message names the first row.
    """
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None.")
    y = _numbers(as_vector(y))
    if not (type(y) is np.ndarray and y.ndim == 1 and y.size and y.dtype.kind in "fiu"):
        y = column_or_1d(_array(y, "y", dtype="numeric", ensure_all_finite=False), warn=True)
    if y.dtype.kind not in "fiub":
        raise ValueError(f"y has dtype {y.dtype}; a regression needs numbers.")
    if len(y) != n_rows:
        check_consistent_length(range(n_rows), y)
    y = y.astype(np.float64, copy=False)
    _refuse(np.isnan(y), "Input y contains NaN.")
    _refuse(np.isinf(y), "Input y contains infinity or a value too large for dtype('float64').")
    largest = max(y.max(initial=0.0), -y.min(initial=0.0))
    if largest > LARGEST:
        raise ValueError(
            f"y is too large: the square of its largest absolute value, {largest:.3g}, overflows; "
            "change the unit of y."
        )
    return y


def _numbers(y: Any) -> Any:
    """The array of a series of plain numbers, for which scikit-learn's checks take long."""
    if type(y) is pd.Series and isinstance(y.dtype, np.dtype) and y.dtype.kind in "fiu":
        return y.to_numpy()
    return y


def _array(values: Any, name: str, **options: Any) -> np.ndarray:
    """Values as an array of one or two dimensions; an error says which values they were."""
    try:
        return check_array(values, ensure_2d=False, input_name=name, **options)
    except TypeError as error:
        raise TypeError(f"{name} cannot be read as an array of numbers: {error}") from None
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as an array of numbers: {error}") from None


def check_labels(y: Any, n_rows: int, *, ordered: bool) -> np.ndarray:
    """Class labels (n_rows,) of any kind.

    Labels in an order may be any numbers, as in ratings by halves, if they recur.

    Raises
    ------
    ValueError
        If y is missing, of another length, holds NaN, or numbers that are not
        classes.
    """
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None.")
    labels = _numbers(as_vector(y))
    if _are_recurring_numbers(labels) and len(labels) == n_rows:
        return np.asarray(labels)
    labels = column_or_1d(labels, warn=True)
    check_consistent_length(range(n_rows), labels)
    missing = np.asarray(pd.isna(labels))
    _refuse(missing, "Input y contains NaN.")
    if labels.dtype.kind == "f":
        _refuse(
            np.isinf(labels),
            "Input y contains infinity or a value too large for dtype('float64').",
        )
    if labels.dtype.kind == "O":
        _refuse_without_order(labels)
    _refuse_proportions(labels, ordered)
    recurring = labels.dtype.kind == "f" and 2 * len(np.unique(labels)) <= len(labels)
    if not (ordered and recurring):
        check_classification_targets(labels)
    return labels


def _are_recurring_numbers(labels: Any) -> bool:
    """Whether labels are integers of so narrow a range that each occurs twice on average."""
    if not (type(labels) is np.ndarray and labels.ndim == 1 and labels.dtype.kind in "iu"):
        return False
    return bool(labels.size) and int(labels.max()) - int(labels.min()) < labels.size // 2


def _refuse_proportions(labels: np.ndarray, ordered: bool) -> None:
    """Raise for shares of successes, which are no classes."""
    if ordered or labels.dtype.kind != "f" or len(labels) == 0:
        return
    if labels.min() >= 0.0 and labels.max() <= 1.0 and (labels % 1.0).any():
        row = int(np.argmax(labels % 1.0 > 0.0))
        raise ValueError(
            f"Unknown label type: y is the share {labels[row]:.4g} in row {row}, not a class. For "
            "successes out of trials use mixed('cbind(successes, failures) ~ ...', data, "
            "family='binomial'), or pass two rows: 1 with sample_weight=successes and 0 with "
            "sample_weight=failures."
        )


def _refuse_without_order(labels: np.ndarray) -> None:
    """Raise unless labels can be sorted."""
    try:
        np.unique(labels)
    except TypeError:
        kinds = ", ".join(sorted({type(label).__name__ for label in labels.tolist()}))
        raise ValueError(
            f"Unknown label type: y mixes labels of the types {kinds}, which have no common order; "
            "make all of them text or all of them numbers."
        ) from None


def _refuse(bad: np.ndarray, message: str) -> None:
    if bad.any():
        raise ValueError(
            f"{message} The first of {int(bad.sum())} such rows is row {int(bad.argmax())} "
            "(counted from 0); drop these rows from X and y, or fill y, before fitting."
        )


def check_case_weights(sample_weight: Any, n_rows: int) -> np.ndarray:
    """Case weights as float64 (n_rows,), ones when none were given.

    Raises
    ------
    ValueError
        If weights are negative, not finite, of another length or all zero.
    """
    if sample_weight is None:
        return np.ones(n_rows)
    if isinstance(sample_weight, Real):
        weights = np.full(n_rows, float(sample_weight))
    else:
        weights = _array(as_vector(sample_weight), "sample_weight", dtype=np.float64)
    if weights.ndim != 1:
        raise ValueError("Sample weights must be 1D array or scalar.")
    if len(weights) != n_rows:
        raise ValueError(
            f"sample_weight.shape == {weights.shape}, expected {(n_rows,)}: one weight per row of "
            "X."
        )
    if (weights < 0).any():
        row = int((weights < 0).argmax())
        raise ValueError(
            f"sample_weight is {float(weights[row])!r} in row {row}; case weights count rows "
            "and cannot be negative."
        )
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    check_weight_range("sample_weight", weights)
    return weights


_WIDEST = 1e30


def check_weight_range(name: str, weights: np.ndarray) -> None:
    """Raise when the ratio of two positive weights is beyond what sums can hold."""
    used = weights[weights > 0]
    if len(used) == 0:
        return
    if used.max() > LARGEST or used.min() < 1.0 / LARGEST:
        raise ValueError(
            f"{name} runs from {used.min():.3g} to {used.max():.3g}: their squares overflow or "
            "vanish; divide all weights by a typical one."
        )
    if used.max() > _WIDEST * used.min():
        raise ValueError(
            f"{name} runs from {used.min():.3g} to {used.max():.3g}; sums over rows lose the small "
            f"ones when the ratio exceeds {_WIDEST:g}. Set negligible weights to a common value."
        )


def check_include(include: str | Sequence[str], names: tuple[str, ...]) -> tuple[str, ...]:
    """The groups that `include` names, out of all `names`."""
    if isinstance(include, str):
        if include == "all":
            return names
        if include == "none":
            return ()
        include = [include]
    if include is None or include is False:
        raise TypeError(f"include={include!r}: write include='none' to leave all groups out.")
    if isinstance(include, (Set, Mapping)) or not isinstance(include, Iterable):
        raise TypeError(
            f"include={include!r} must be 'all', 'none' or a list of groups"
            f"{' (a set has no order)' if isinstance(include, Set) else ''}."
        )
    include = list(include)
    unknown = [name for name in include if name not in names]
    if unknown:
        known = ", ".join(repr(name) for name in names) or "none"
        raise ValueError(
            f"include names {unknown[0]!r}, which is not a group of this model (groups: {known}); "
            "use 'all', 'none' or a list of groups."
        )
    return tuple(include)


def check_relations(relations: Any) -> None:
    """Raise unless `relations` says how levels are related.

    Parameters
    ----------
    relations : object
        Value of the parameter.

    Raises
    ------
    TypeError
        If it is not a mapping from columns to relations.
    """
    if relations is None:
        return
    if not isinstance(relations, Mapping):
        raise TypeError(
            f"relations={relations!r} must be a mapping from a grouping column to how its levels "
            "are related: {'line': Relationship(K, labels)}."
        )
    for column, relation in relations.items():
        if not isinstance(relation, Relation):
            raise TypeError(
                f"relations[{column!r}] is of type {type(relation).__name__}; use "
                "Relationship(matrix, labels)."
            )


def refuse_mean_field(model: Any) -> None:
    """Raise where a parameter needs a posterior that knows how effects depend on each other."""
    for name in _OF_DEPENDENT_ROWS:
        if getattr(model, name, None) is not None and model.posterior == "mean_field":
            raise ValueError(
                f"posterior='mean_field' assumes independent effects and does not support {name}=; "
                "use posterior='full'."
            )


def refuse_in_parts(model: Any) -> None:
    """Raise where a parameter needs all rows at once, in `partial_fit` and distributed fits."""
    for name in _OF_ALL_ROWS:
        if getattr(model, name, None) is not None:
            raise ValueError(
                f"{name}={getattr(model, name)!r} needs all rows at once; call fit on rows in "
                "memory, or leave it at None."
            )
