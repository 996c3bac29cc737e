"""Classes of a response: which there are, and in which order the model has them."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import compute_class_weight

from skmixed.exceptions import ClassOrderWarning, warn_user

_SHOWN = 10


@dataclass(frozen=True)
class ClassScale:
    """The classes that occur in a response, and what it says of their order.

    Attributes
    ----------
    classes : ndarray (K,)
        Ascending.
    declared : ndarray (K,) or None
        In the order of the categories of a categorical response.
    ordered : bool
        Whether the response declared that this is an order.
    numbered : bool
        Whether the response is an array of the integers 0 to K - 1, which is what
        scikit-learn's tools make of any labels: the first in the alphabet becomes 0.
    """

    classes: np.ndarray
    declared: np.ndarray | None
    ordered: bool
    numbered: bool

    @classmethod
    def of(cls, y: Any, labels: np.ndarray) -> ClassScale:
        """Read the classes.

        Parameters
        ----------
        y : array-like
            The response as it was passed, of the type that says most.
        labels : ndarray (n,)
            Its labels in the rows that count.
        """
        classes = np.unique(labels)
        dtype = getattr(y, "dtype", None)
        declared = None
        if isinstance(dtype, pd.CategoricalDtype):
            present = set(classes.tolist())
            declared = np.array([c for c in dtype.categories if c in present], dtype=classes.dtype)
        return cls(
            classes,
            declared,
            bool(getattr(dtype, "ordered", False)),
            isinstance(y, np.ndarray)
            and classes.dtype.kind in "iu"
            and np.array_equal(classes, np.arange(len(classes))),
        )

    def in_order(self, class_order: Any) -> np.ndarray:
        """The classes from the lowest to the highest.

        Parameters
        ----------
        class_order : list of labels or None
            What the user says the order is.

        Raises
        ------
        ValueError
            If the order is not known, or `class_order` lacks a class.

        Warns
        -----
        ClassOrderWarning
            If the classes were numbered, perhaps in another order.
        """
        if class_order is not None:
            return self._as_listed(_checked_order(class_order))
        if self.ordered and self.declared is not None:
            return self.declared
        n_classes, labels = len(self.classes), self.classes.tolist()
        if n_classes > 2 and self.classes.dtype.kind not in "iufb":
            raise ValueError(
                f"y has {n_classes} labels that are not numbers ({labels[0]!r}, {labels[1]!r}, "
                "...), so family='ordinal' cannot know their order: pass class_order=[...], "
                "numbers, or an ordered categorical, pandas.Categorical(y, categories=[...], "
                "ordered=True). Unordered classes are not supported."
            )
        if self.numbered and n_classes > 2:
            warn_user(
                f"y contains the integers 0 to {n_classes - 1}, which are read as an ordered "
                "scale. If they are codes of labels, from LabelEncoder or "
                "cross_val_predict(method='predict_proba'), their order is alphabetical: pass "
                "class_order=[...] with the labels, lowest first. If they are the scale itself, "
                f"pass class_order={labels!r}.",
                ClassOrderWarning,
            )
        return self.classes

    def _as_listed(self, order: list[Any]) -> np.ndarray:
        """The classes in the order of `order`, which may hold more than occur."""
        position = {label: k for k, label in enumerate(order)}
        labels = self.classes.tolist()
        if all(label in position for label in labels):
            ranks = np.argsort([position[label] for label in labels], kind="stable")
            return self.classes[ranks]
        if self.numbered and len(labels) == len(order):
            # number j is the j-th label in sorted order
            numbers = np.argsort(np.argsort(np.array(order)))
            return self.classes[numbers]
        missing = next(label for label in labels if label not in position)
        shown = ", ".join(map(repr, order[:_SHOWN]))
        raise ValueError(
            f"y contains the class {missing!r}, which is not in class_order ({shown}): list every "
            "class, lowest first. Codes 0, 1, ... instead of labels are understood only if all "
            "classes of class_order occur."
        )

    def with_last(self, positive_class: Any) -> np.ndarray:
        """The two classes, that which is modelled last.

        Parameters
        ----------
        positive_class : label or None
            What the user wants to be modelled.

        Raises
        ------
        ValueError
            If it is not a class of the response.
        """
        if positive_class is None:
            return self.classes if self.declared is None else self.declared
        chosen = np.array([label == positive_class for label in self.classes.tolist()])
        if chosen.any():
            return np.append(self.classes[~chosen], self.classes[chosen])
        if self.numbered:
            # the probabilities of two classes do not depend on which of them is modelled
            return self.classes
        first, second = self.classes.tolist()
        raise ValueError(
            f"positive_class={positive_class!r} is not a class of y; choose {first!r} or "
            f"{second!r}."
        )


def _checked_order(class_order: Any) -> list[Any]:
    if isinstance(class_order, (str, Set, Mapping)) or not hasattr(class_order, "__iter__"):
        raise TypeError(f"class_order={class_order!r} must be a list of the classes, lowest first.")
    order = np.asarray(class_order).tolist()
    if len(set(order)) < len(order):
        twice = next(label for label in order if order.count(label) > 1)
        raise ValueError(f"class_order lists {twice!r} twice; list every class once.")
    return order


def codes_of(classes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Number of the class of every label; -1 if it is not one of them."""
    if len(classes) == 2 and classes.dtype == labels.dtype and labels.dtype.kind in "iu":
        first, second = labels == classes[0], labels == classes[1]
        return np.where(first, 0, np.where(second, 1, -1))
    if classes.dtype != labels.dtype:
        # booleans are no objects to pandas, nor is text of NumPy
        classes, labels = classes.astype(object), labels.astype(object)
    return pd.Index(classes, dtype=classes.dtype).get_indexer(labels)


def check_class_weight(class_weight: Any) -> None:
    """Raise unless `class_weight` is None, "balanced" or a dict of positive numbers."""
    if class_weight is None or (isinstance(class_weight, str) and class_weight == "balanced"):
        return
    if not isinstance(class_weight, Mapping):
        raise ValueError(
            f"class_weight={class_weight!r} is not known; choose 'balanced', None or a dict of "
            "weights by class, such as {'no': 1.0, 'yes': 3.0}."
        )
    for label, weight in class_weight.items():
        is_number = isinstance(weight, Real) and not isinstance(weight, bool)
        if not (is_number and 0.0 < float(weight) < np.inf):
            raise ValueError(
                f"class_weight gives class {label!r} the weight {weight!r}, which must be a "
                "positive number; to leave a class out, drop its rows."
            )


def weights_of_classes(
    class_weight: Any,
    classes: np.ndarray,
    codes: np.ndarray,
    weights: np.ndarray,
    *,
    numbered: bool,
) -> np.ndarray | None:
    """What the case weights of each class are multiplied with, (K,); None for nothing.

    Parameters
    ----------
    class_weight : dict, "balanced" or None
        Checked by `check_class_weight`.
    classes : ndarray (K,)
        In the order of their codes.
    codes : ndarray (n,)
        Class of each row that counts.
    weights : ndarray (n,)
        Case weights of these rows.
    numbered : bool
        Whether the classes may be numbers that a tool gave other labels, in the order of these.

    Raises
    ------
    ValueError
        If a dict has labels that are not classes, and lacks some that are.
    """
    if class_weight is None:
        return None
    if isinstance(class_weight, str):
        # weight 2 is the row twice here as well
        totals = np.bincount(codes.astype(np.int64), weights, len(classes))
        return np.asarray(totals.sum() / (len(classes) * totals))
    given = dict(class_weight)
    labels = classes.tolist()
    if numbered and len(given) == len(labels) and not any(label in given for label in labels):
        given = dict(enumerate(given[label] for label in sorted(given)))
    plain = np.empty(len(labels), dtype=object)
    plain[:] = labels
    try:
        return np.asarray(compute_class_weight(given, classes=plain, y=plain))
    except ValueError:
        missing = next(label for label in labels if label not in given)
        raise ValueError(
            f"class_weight has {', '.join(map(repr, class_weight))}, but y has the class "
            f"{missing!r}: use the labels of y as keys."
        ) from None
