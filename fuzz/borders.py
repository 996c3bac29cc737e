"""Try the borders to pandas, scikit-learn and habit, and count what is wrong without a word.

Run as ``python fuzz/borders.py``. A row of the table is a border: ids in another type between
`fit` and `predict` or between chunks, containers, classes and their order under scikit-learn's
tools, weights, and defaults. Every combination of a border is one case, and its outcome one of

* right: the numbers of the same model in plain types, to 1e-8, and nothing is said;
* right, warned; wrong, warned; refused: somebody is told;
* WRONG AND SILENT, which makes the exit code 1.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor

VERDICTS = ("right", "right, warned", "wrong, warned", "refused", "WRONG AND SILENT")

Case = tuple[str, Callable[[], np.ndarray], np.ndarray]
"""Name, what is tried, and the numbers it should give."""

ID_TYPES: dict[str, Callable[[pd.Series], Any]] = {
    "int64": lambda ids: ids,
    "int16": lambda ids: ids.astype("int16"),
    "uint64": lambda ids: ids.astype("uint64"),
    "float64": lambda ids: ids.astype(float),
    "float32": lambda ids: ids.astype("float32"),
    "Int64": lambda ids: ids.astype("Int64"),
    "text": lambda ids: ids.astype(str).astype(object),
    "string": lambda ids: ids.astype("string"),
    "objects": lambda ids: ids.astype(object),
    "category": lambda ids: ids.astype("category"),
    "category of text": lambda ids: ids.astype(str).astype("category"),
    "category of floats": lambda ids: ids.astype(float).astype("category"),
    "arrow": lambda ids: ids.astype("int64[pyarrow]"),
}

CONTAINERS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "pandas": lambda frame: frame,
    "polars": lambda frame: pl.DataFrame(
        {name: frame[name].to_numpy(na_value=None) for name in frame}
    ),
    "array of objects": lambda frame: frame.to_numpy(dtype=object),
    "list of lists": lambda frame: frame.to_numpy(dtype=object).tolist(),
}


def _data(seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Rows of 24 groups with ids from 101 on, a response, and three classes made of it."""
    rng = np.random.default_rng(seed)
    g, x = np.tile(np.arange(24), 15), rng.normal(size=360)
    y = 1.5 * x + rng.normal(size=24)[g] + rng.logistic(size=360)
    return pd.DataFrame({"x": x, "g": 101 + 3 * g}), y, np.digitize(y, [-1.0, 1.0])


X, Y, CODES = _data()
SCALE = ["low", "mid", "high"]


def ids_in_predict() -> Iterator[Case]:
    """Types of ids in `fit` x in `predict`, of a regressor and a classifier."""
    models = {
        "regressor": (MixedEffectsVIRegressor(["g"]), Y, "predict"),
        "classifier": (MixedEffectsVIClassifier(["g"]), Y > 0, "predict_proba"),
    }
    for kind, (model, y, method) in models.items():
        expected = getattr(model.fit(X, y), method)(X)
        for fitted, new in itertools.product(ID_TYPES, ID_TYPES):

            def attempt(fitted=fitted, new=new, model=model, y=y, method=method) -> np.ndarray:
                model.fit(X.assign(g=ID_TYPES[fitted](X["g"])), y)
                return getattr(model, method)(X.assign(g=ID_TYPES[new](X["g"])))

            yield f"{kind}, {fitted}, {new}", attempt, expected


def ids_in_chunks() -> Iterator[Case]:
    """Types of ids in two calls of `partial_fit`."""
    expected = MixedEffectsVIRegressor(["g"]).fit(X, Y).predict(X)
    for first, second in itertools.product(ID_TYPES, ID_TYPES):

        def attempt(first=first, second=second) -> np.ndarray:
            model = MixedEffectsVIRegressor(["g"])
            for rows, kind in ((slice(0, 120), first), (slice(120, None), second)):
                model.partial_fit(X[rows].assign(g=ID_TYPES[kind](X["g"][rows])), Y[rows])
            return model.predict(X)

        yield f"{first}, {second}", attempt, expected


def containers() -> Iterator[Case]:
    """Kinds of data frames in `fit` x in `predict`, with ids as numbers and as text."""
    expected = MixedEffectsVIRegressor([1]).fit(X, Y).predict(X)
    for ids, fitted, new in itertools.product(("int64", "text"), CONTAINERS, CONTAINERS):

        def attempt(ids=ids, fitted=fitted, new=new) -> np.ndarray:
            frame = X.assign(g=ID_TYPES[ids](X["g"]))
            model = MixedEffectsVIRegressor([1]).fit(CONTAINERS[fitted](frame), Y)
            return model.predict(CONTAINERS[new](frame))

        yield f"{ids}, {fitted}, {new}", attempt, expected


def classes_in_order() -> Iterator[Case]:
    """Ways to write the classes of a scale x scikit-learn's tools that number them."""
    labels = np.array(SCALE)[CODES]
    written: dict[str, tuple[Any, Any]] = {
        "ordered categorical": (pd.Series(pd.Categorical(labels, SCALE, ordered=True)), None),
        "ordered categorical, class_order": (
            pd.Series(pd.Categorical(labels, SCALE, ordered=True)), SCALE
        ),
        "text, class_order": (pd.Series(labels), SCALE),
        "array of text, class_order": (labels, SCALE),
        "text": (pd.Series(labels), None),
        "numbers": (CODES, None),
        "numbers from 1": (CODES + 1, None),
        "numbers, class_order": (CODES, [0, 1, 2]),
    }  # fmt: skip
    folds = StratifiedKFold(3)
    tools: dict[str, Callable[[Any, Any], np.ndarray]] = {
        "predict_proba": lambda model, y: model.fit(X, y).predict_proba(X),
        "cross_val_predict": lambda model, y: cross_val_predict(
            model, X, y, method="predict_proba", cv=folds
        ),
        "calibrated": lambda model, y: (
            CalibratedClassifierCV(model, cv=folds).fit(X, y).predict_proba(X)
        ),
    }
    for tool, run in tools.items():
        plain = run(MixedEffectsVIClassifier(["g"], family="ordinal", class_order=[0, 1, 2]), CODES)
        for kind, (y, order) in written.items():
            # columns ascend: of numbers low, mid, high; of text high, low, mid
            expected = plain if "numbers" in kind else plain[:, [2, 0, 1]]
            model = MixedEffectsVIClassifier(["g"], family="ordinal", class_order=order)
            yield f"{tool}, {kind}", lambda run=run, model=model, y=y: run(model, y), expected


def two_classes() -> Iterator[Case]:
    """Ways to write two classes x which of them is modelled: probabilities do not depend on it."""
    plain = MixedEffectsVIClassifier(["g"]).fit(X, Y > 0).predict_proba(X)
    labels = np.where(Y > 0, "good", "bad")
    written = {
        "text": labels,
        "series": pd.Series(labels, name="y"),
        "categorical": pd.Series(pd.Categorical(labels, ["good", "bad"])),
        "ordered categorical": pd.Series(pd.Categorical(labels, ["good", "bad"], ordered=True)),
        "polars": pl.Series("y", labels),
    }
    for kind, positive in itertools.product(written, (None, "good", "bad")):

        def attempt(kind=kind, positive=positive) -> np.ndarray:
            model = MixedEffectsVIClassifier(["g"], positive_class=positive)
            return model.fit(X, written[kind]).predict_proba(X)

        yield f"{kind}, {positive}", attempt, plain


def weights() -> Iterator[Case]:
    """Case weights are the repeated rows, in any container; of 0, the rows left out."""
    counts = np.arange(360) % 3
    rows = np.repeat(np.arange(360), counts)
    expected = MixedEffectsVIRegressor(["g"]).fit(X.iloc[rows], Y[rows]).predict(X)
    written = {
        "array": counts,
        "floats": counts.astype(float),
        "list": counts.tolist(),
        "series": pd.Series(counts, index=np.arange(360) + 7),
        "arrow": pd.Series(counts, dtype="int64[pyarrow]"),
        "polars": pl.Series("w", counts),
        "column": counts[:, None],
    }
    for kind, w in written.items():
        yield kind, lambda w=w: MixedEffectsVIRegressor(["g"]).fit(X, Y, w).predict(X), expected


def defaults() -> Iterator[Case]:
    """What ``random_effects="from_dtype"`` makes of a grouping column in each type."""
    expected = MixedEffectsVIRegressor(["g"]).fit(X, Y).predict(X)
    for kind, turn in ID_TYPES.items():
        for n_groups in (3, 24):
            rows = X["g"] < 101 + 3 * n_groups
            part, y = X[rows], Y[rows]
            if n_groups == 3:
                expected = MixedEffectsVIRegressor(["g"]).fit(part, y).predict(part)
            else:
                expected = MixedEffectsVIRegressor(["g"]).fit(X, Y).predict(X)

            def attempt(part=part, y=y, turn=turn) -> np.ndarray:
                frame = part.assign(g=turn(part["g"]))
                return MixedEffectsVIRegressor().fit(frame, y).predict(frame)

            yield f"{kind}, {n_groups} groups", attempt, expected


BORDERS: dict[str, Callable[[], Iterator[Case]]] = {
    border.__name__: border
    for border in (
        ids_in_predict, ids_in_chunks, containers, classes_in_order, two_classes, weights, defaults,
    )
}  # fmt: skip


def verdict(attempt: Callable[[], np.ndarray], expected: np.ndarray) -> str:
    """Try one case."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = attempt()
        except (ValueError, TypeError):
            return "refused"
    right = found.shape == expected.shape and np.allclose(found, expected, rtol=1e-8, atol=1e-8)
    if right:
        return "right, warned" if caught else "right"
    return "wrong, warned" if caught else "WRONG AND SILENT"


def main() -> int:
    """Try everything; 1 where something was wrong and silent."""
    total: Counter[str] = Counter()
    for name, border in BORDERS.items():
        outcomes = {case: verdict(attempt, expected) for case, attempt, expected in border()}
        counts = Counter(outcomes.values())
        total += counts
        print(f"{name:18}" + "".join(f"{counts[v]:6} {v:17}" for v in VERDICTS))
        for case, outcome in outcomes.items():
            if outcome == VERDICTS[-1]:
                print(f"    {case}")
    print(f"{'all':18}" + "".join(f"{total[v]:6} {v:17}" for v in VERDICTS))
    return int(total[VERDICTS[-1]] > 0)


if __name__ == "__main__":
    sys.exit(main())
