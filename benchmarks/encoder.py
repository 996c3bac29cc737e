"""Time MixedEffectsEncoder against GLMMEncoder, and compare what models make of encodings.

    python benchmarks/encoder.py
    python benchmarks/encoder.py --repeats 5 --seeds 5 --csv encoder.csv

First the seconds of `fit` and of cross-fitting on InstEval, in turns. Then the error on
held-out rows of the same two models, a linear one and gradient boosting, on the columns of
scikit-learn's TargetEncoder, of category_encoders' GLMMEncoder (plain, as its `fit_transform`
is, and cross-fitted by its NestedCVWrapper) and of MixedEffectsEncoder, one model for all
columns or one for each. All folds are the same five. Encoders are fitted on the training
rows alone. Errors are root mean squares; for two classes the log loss.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from options import count
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss, root_mean_squared_error
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
from sklearn.preprocessing import TargetEncoder
from tables import show

from skmixed import MixedEffectsEncoder
from skmixed.datasets import load_insteval

try:
    from category_encoders import GLMMEncoder
    from category_encoders.wrapper import NestedCVWrapper
except ImportError:
    GLMMEncoder = NestedCVWrapper = None

GROUPS = ["s", "d", "dept"]
SIMULATED = ("crossed", "clustered", "sorted")
N_ROWS, LEVELS = 12_000, (1_500, 600)
HELD_OUT = 1 / 3


def parse_arguments() -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=count, default=3, help="timed turns of every encoder")
    parser.add_argument("--seeds", type=count, default=3, help="splits and simulated data sets")
    parser.add_argument(
        "--binary-glmm", action="store_true",
        help="GLMMEncoder for two classes too: many minutes a fit",
    )  # fmt: skip
    parser.add_argument("--csv", type=Path, help="write the table of errors to this file as well")
    return parser.parse_args()


# Encoders --------------------------------------------------------------------------

CROSS_FITTED = {
    "TargetEncoder": lambda binary: target_encoder(binary),
    "GLMMEncoder": lambda binary: glmm_encoder(binary),
    "GLMMEncoder, folds": lambda binary: NestedCVWrapper(glmm_encoder(binary), folds(binary)),
    "skmixed, one by one": lambda binary: our_encoder(binary, joint=False),
    "skmixed, joint": lambda binary: our_encoder(binary),
}
"""What makes an encoder for two classes or for numbers, by name."""


def folds(binary: bool) -> Any:
    """The five folds of everybody's cross-fitting."""
    return (StratifiedKFold if binary else KFold)(5, shuffle=True, random_state=0)


def our_encoder(binary: bool, joint: bool = True) -> MixedEffectsEncoder:
    """Our encoder of all categorical columns."""
    target_type = "binary" if binary else "continuous"
    return MixedEffectsEncoder(joint=joint, target_type=target_type, cv=folds(binary))


def target_encoder(binary: bool) -> TargetEncoder:
    """scikit-learn's, which takes a splitter from version 1.9 on."""
    target_type = "binary" if binary else "continuous"
    version = tuple(int(part) for part in sklearn.__version__.split(".")[:2])
    if version >= (1, 9):
        return TargetEncoder(target_type=target_type, cv=folds(binary))
    return TargetEncoder(target_type=target_type, cv=5, random_state=0)


def glmm_encoder(binary: bool) -> Any:
    """The one of category_encoders."""
    return GLMMEncoder(binomial_target=binary)


def takes_part(name: str, binary: bool, binary_glmm: bool) -> bool:
    """Whether an encoder is compared: its library is there, and it is not too slow."""
    if not name.startswith("GLMM"):
        return True
    return GLMMEncoder is not None and (binary_glmm or not binary)


# Seconds ---------------------------------------------------------------------------


def timed_calls() -> dict[tuple[str, str], Callable[[], Any]]:
    """What is timed on InstEval, by task and system."""
    X, y = load_insteval(return_X_y=True)
    y = y.astype(float)
    calls: dict[tuple[str, str], Callable[[], Any]] = {}
    for what, columns in {"d": ["d"], "s, d, dept": GROUPS}.items():
        part = X[columns]
        tasks = {"fit": lambda e, X=part: e.fit(X, y)}
        if what == "d":
            tasks["cross-fit"] = lambda e, X=part: e.fit_transform(X, y)
        for task, run in tasks.items():
            ours = {"skmixed, joint": our_encoder(False)}
            if len(columns) > 1:
                ours["skmixed, one by one"] = our_encoder(False, joint=False)
            peers = {}
            if GLMMEncoder is not None:
                plain = glmm_encoder(False)
                peer = NestedCVWrapper(plain, folds(False)) if task == "cross-fit" else plain
                peers["GLMMEncoder"] = peer
            for system, encoder in (ours | peers).items():
                calls[f"{task} of {what}", system] = lambda run=run, e=encoder: run(e)
    part = X[GROUPS]
    calls["cross-fit of s, d, dept", "skmixed, joint"] = lambda: our_encoder(False).fit_transform(
        part, y
    )
    return calls


def time_in_turns(repeats: int) -> pd.DataFrame:
    """Median seconds by task and system, and as multiples of ours."""
    calls = timed_calls()
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for turn in range(-1, repeats):
        for (task, system), call in calls.items():
            if turn < 0 and system == "GLMMEncoder":
                continue  # nothing of it is compiled, and it takes long
            start = time.perf_counter()
            call()
            if turn >= 0:
                seconds[task, system].append(time.perf_counter() - start)
        print(f"turn {turn + 1} of {repeats} done", file=sys.stderr)
    rows = []
    for (task, system), found in seconds.items():
        median = statistics.median(found)
        ours = statistics.median(seconds[task, "skmixed, joint"])
        ratio = median / ours
        rows.append({"task": task, "system": system, "median s": median, "times ours": ratio})
    return pd.DataFrame(rows)


# Errors on new rows ----------------------------------------------------------------


def simulate(kind: str, seed: int, binary: bool = False) -> tuple[pd.DataFrame, np.ndarray]:
    """Two columns of labels with many rare ones, and two of numbers.

    Sizes of levels are draws from a Pareto distribution. "crossed": labels of the two columns
    are independent. "clustered": levels have places on a line, and a row takes of eight
    candidates the second label that is nearest to the first. "sorted": the places are the
    ranks of the effects, so that high effects meet high ones, against what a mixed
    model assumes.
    """
    rng = np.random.default_rng(seed)
    effects = [rng.normal(size=n_levels) for n_levels in LEVELS]
    sizes = [rng.pareto(1.2, n_levels) + 0.05 for n_levels in LEVELS]
    shares = [size / size.sum() for size in sizes]
    first = rng.choice(LEVELS[0], N_ROWS, p=shares[0])
    candidates = rng.choice(LEVELS[1], (N_ROWS, 8), p=shares[1])
    places = [rng.random(n_levels) for n_levels in LEVELS]
    if kind == "sorted":
        places = [np.argsort(np.argsort(values)) / len(values) for values in effects]
    distance = np.abs(places[0][first][:, None] - places[1][candidates])
    nearest = np.zeros(N_ROWS, dtype=int) if kind == "crossed" else distance.argmin(axis=1)
    second = candidates[np.arange(N_ROWS), nearest]
    x = rng.normal(size=(N_ROWS, 2))
    predictor = effects[0][first] + effects[1][second]
    predictor += np.sin(2 * x[:, 0]) + 0.5 * x[:, 1] * (x[:, 0] > 0)
    X = pd.DataFrame(
        {"a": pd.Categorical(first), "b": pd.Categorical(second), "x0": x[:, 0], "x1": x[:, 1]}
    )
    if binary:
        return X, (rng.random(N_ROWS) < 1 / (1 + np.exp(-predictor))).astype(int)
    return X, predictor + rng.normal(size=N_ROWS)


def encode(
    name: str, binary: bool, X: pd.DataFrame, y: np.ndarray, X_new: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """All columns as numbers: of the rows to train on, and of new rows."""
    labels = X.select_dtypes("category").columns
    numbers = X.columns.difference(labels)
    encoder = CROSS_FITTED[name](binary)
    target = pd.Series(y, index=X.index)
    encoded = np.asarray(encoder.fit_transform(X[labels], target))
    encoded_new = np.asarray(encoder.transform(X_new[labels]))
    return np.c_[encoded, X[numbers]], np.c_[encoded_new, X_new[numbers]]


def errors(
    X: pd.DataFrame, y: np.ndarray, binary: bool, seed: int, binary_glmm: bool = False
) -> dict[str, dict[str, float]]:
    """Error on held-out rows, by model and encoder."""
    X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=HELD_OUT, random_state=seed)
    regressors = {
        "linear": LinearRegression(),
        "boosting": HistGradientBoostingRegressor(random_state=0),
    }
    classifiers = {
        "linear": LogisticRegression(),
        "boosting": HistGradientBoostingClassifier(random_state=0),
    }
    found: dict[str, dict[str, float]] = {model: {} for model in regressors}
    for name in CROSS_FITTED:
        if not takes_part(name, binary, binary_glmm):
            continue
        train, test = encode(name, binary, X_train, y_train, X_test)
        for kind, model in (classifiers if binary else regressors).items():
            model.fit(train, y_train)
            found[kind][name] = (
                log_loss(y_test, model.predict_proba(test))
                if binary
                else root_mean_squared_error(y_test, model.predict(test))
            )
    return found


def tabulate_errors(seeds: int, binary_glmm: bool) -> pd.DataFrame:
    """A row for every kind of data and model, a column for every encoder."""
    X, y = load_insteval(return_X_y=True)
    tasks = {"InstEval": [(X, y.to_numpy(float), False)]}
    for kind in SIMULATED:
        tasks[kind] = [(*simulate(kind, seed), False) for seed in range(seeds)]
    tasks["crossed, two classes"] = [
        (*simulate("crossed", seed, binary=True), True) for seed in range(seeds)
    ]
    rows = []
    for data, sets in tasks.items():
        found = [errors(*part, seed, binary_glmm) for seed, part in enumerate(sets)]
        for model in found[0]:
            mean = pd.DataFrame([one[model] for one in found]).mean()
            rows.append({"data": data, "model": model, **mean})
        print(show(pd.DataFrame(rows[-2:])), file=sys.stderr)
    return pd.DataFrame(rows)


def main() -> None:
    """Print both tables."""
    arguments = parse_arguments()
    # GLMMEncoder and the peers of its libraries warn of their own internals.
    warnings.simplefilter("ignore")
    if GLMMEncoder is None:
        print("GLMMEncoder: not installed (pip install category_encoders)")
    print(show(time_in_turns(arguments.repeats)))
    table = tabulate_errors(arguments.seeds, arguments.binary_glmm)
    print(show(table))
    if arguments.csv is not None:
        table.to_csv(arguments.csv, index=False)


if __name__ == "__main__":
    main()
