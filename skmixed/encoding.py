"""What the encoder learns from and what it learns: rows as level numbers, folds, effects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils.metadata_routing import get_routing_for_object

from skmixed.design import Table
from skmixed.design.labels import ColumnLabels, learn_labels
from skmixed.spec import ColumnKey

Codes = npt.NDArray[np.int32]
Effects = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Rows to learn from.

    Attributes
    ----------
    codes : dict of {column: ndarray (n,)}
        Level of every row, by encoded column; -1 where there is no label.
    n_levels : dict of {column: int}
        Levels of the column, whether these rows have them or not.
    y : ndarray (n,)
        Numbers, or labels of two classes.
    weights : ndarray (n,)
        Case weights.
    """

    codes: dict[ColumnKey, Codes]
    n_levels: dict[ColumnKey, int]
    y: np.ndarray
    weights: np.ndarray

    def groups_by(self, column: ColumnKey) -> bool:
        """Whether a column says anything: not a level for all rows, nor one for each."""
        codes = self.codes[column]
        n_rows = np.bincount(codes + 1, minlength=2)
        alone = n_rows.max() == 1 and self.weights.max() <= 1.0
        return bool(not alone and n_rows.max() < len(codes))

    def counts(self) -> dict[ColumnKey, Effects]:
        """Sum of the case weights of each level, by column; the last one is 0."""
        return {
            column: np.bincount(codes + 1, self.weights, self.n_levels[column] + 2)[1:].astype(
                float
            )
            for column, codes in self.codes.items()
        }

    def take(self, rows: np.ndarray) -> LabelledRows:
        """Those of the rows that have a weight."""
        rows = rows[self.weights[rows] > 0]
        codes = {column: of_column[rows] for column, of_column in self.codes.items()}
        return replace(self, codes=codes, y=self.y[rows], weights=self.weights[rows])


def folds(
    X: Any,
    y: np.ndarray,
    cv: Any,
    groups: Any = None,
    *,
    shuffle: bool,
    random_state: Any,
    stratified: bool,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows to train on and to encode, by fold.

    Parameters
    ----------
    X : DataFrame or array-like of shape (n, p)
    y : ndarray (n,)
    cv : int, splitter, iterable or None
        As scikit-learn's `check_cv` takes it; None is five folds.
    groups : array-like of shape (n,) or None, default=None
        What a splitter such as GroupKFold keeps together.
    shuffle : bool
        Whether rows are shuffled before they are split into an integer number of folds.
    random_state : int, RandomState instance or None
        Source of that shuffling.
    stratified : bool
        Whether an integer number of folds keeps the shares of the classes of y.

    Raises
    ------
    ValueError
        If a row is not tested exactly once, or a splitter lacks its groups.
    """
    splitter = 5 if cv is None else cv
    if isinstance(splitter, Integral):
        kind = StratifiedKFold if stratified else KFold
        state = random_state if shuffle else None
        splitter = kind(int(splitter), shuffle=shuffle, random_state=state)
    splitter = check_cv(splitter, y, classifier=stratified)
    if groups is None and get_routing_for_object(splitter).consumes("split", ["groups"]):
        raise ValueError(
            f"cv={cv!r} needs groups: fit_transform(X, y, groups=...). In a pipeline, "
            "pipeline.fit(X, y, <name of the step>__groups=...), or, after "
            "sklearn.set_config(enable_metadata_routing=True), pipeline.fit(X, y, groups=...)."
        )
    if groups is not None and len(groups) != len(y):
        raise ValueError(
            f"groups has {len(groups)} entries and X has {len(y)} rows; pass one group per row."
        )
    splits = [(np.asarray(a), np.asarray(b)) for a, b in splitter.split(X, y, groups)]
    times = np.zeros(len(y), dtype=np.int64)
    for _, test in splits:
        np.add.at(times, np.arange(len(y))[test], 1)
    if (times != 1).any():
        row = int((times != 1).argmax())
        raise ValueError(
            f"cv tests row {row} {times[row]} times, but every row has to be encoded exactly "
            "once; pass folds that do not overlap and leave no row out, such as KFold's."
        )
    return splits


def encodings(
    labels: Mapping[ColumnKey, ColumnLabels], effects: Mapping[ColumnKey, Effects]
) -> dict[ColumnKey, pd.Series]:
    """Effects by label, of every column; the last effect is that of unknown labels."""
    return {
        column: pd.Series(effects[column][:-1], index=known.index.rename(column), name="effect")
        for column, known in labels.items()
    }


def learn_column(table: Table, column: ColumnKey, used: np.ndarray) -> tuple[ColumnLabels, Codes]:
    """Labels of the rows that count, and the level of every row."""
    values = table.ids(column)
    try:
        if len(used) == table.n_rows:
            return learn_labels(values)
        labels, _ = learn_labels(values[used])
    except TypeError as error:
        raise TypeError(
            f"Column {column!r} holds a value that cannot be a label ({error}); use text, "
            "numbers, dates or categories."
        ) from None
    return labels, labels.codes(values)


def refuse_other_than_two(classes: np.ndarray | None) -> None:
    """Raise unless a binary target has two classes; None is a target without classes."""
    if classes is not None and len(classes) != 2:
        shown = ", ".join(repr(label) for label in classes.tolist()[:4])
        found = "only one class" if len(classes) == 1 else f"{len(classes)} classes"
        raise ValueError(
            f"A binary target has two classes, but y has {found}: {shown}; check y, or set "
            "target_type='continuous' if it holds numbers."
        )
