"""Random small data and settings: mostly sensible, often at the edge, sometimes absurd."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from frame_settings import CLASSES, Random, draw_settings, pick

Column = Any

_MISSING = ("a", "b", None, np.nan, pd.NA, pd.NaT)
_BAD = (np.nan, np.inf, -np.inf)


@dataclass(frozen=True)
class FrameCase:
    """Everything that one case passes to an estimator."""

    classifier: bool
    settings: dict[str, Any]
    X: Any
    y: Any
    sample_weight: Any
    partial: bool

    def describe(self) -> str:
        """The case in words."""
        kind = "Classifier" if self.classifier else "Regressor"
        y = self.y.tolist() if isinstance(self.y, (np.ndarray, pd.Series)) else self.y
        return (
            f"MixedEffectsVI{kind}(**{self.settings}), partial={self.partial}\n"
            f"X ({type(self.X).__name__}):\n{self.X}\ny ({type(self.y).__name__}): {y}\n"
            f"sample_weight: {self.sample_weight!r}"
        )


def draw_case(random: Random) -> FrameCase:
    """All of one case."""
    n = int(random.choice((0, 1, 2, 3, 4, 6, 10, 20, 40), p=_ROWS))
    wild = float(random.choice((0.0, 0.05, 0.3), p=(0.45, 0.4, 0.15)))
    classifier = bool(random.random() < 0.3)
    numbers = {f"x{k}": _numbers(random, n, wild) for k in range(random.integers(0, 4))}
    groups = {f"g{k}": _groups(random, n, wild) for k in range(random.integers(0, 4))}
    columns = {**numbers, **groups}
    _relate(random, columns, n)
    settings = draw_settings(random, classifier, list(numbers), list(groups), wild)
    for name in ("offset", "precision_weights"):
        if isinstance(settings.get(name), str) and random.random() < 0.9:
            positive = name == "precision_weights"
            columns[settings[name]] = _known(random, n, wild, positive)
    y = _response(random, n, settings["family"], columns, wild)
    X = _container(random, columns, n, wild)
    weights = _weights(random, n, wild)
    partial = not classifier and settings["family"] == "gaussian" and random.random() < 0.1
    return FrameCase(classifier, settings, X, y, weights, partial)


_ROWS = (0.01, 0.04, 0.07, 0.08, 0.1, 0.15, 0.2, 0.2, 0.15)


# Columns of X.


def _numbers(random: Random, n: int, wild: float) -> Column:
    """A column that is more or less of numbers."""
    normal = random.standard_normal(n)
    if random.random() >= wild + 0.15:
        return normal
    size = 10.0 ** random.uniform(-300, 300)
    makers: tuple[Callable[[], Column], ...] = (
        lambda: np.full(n, float(random.integers(-1, 3))),
        lambda: random.integers(0, 3, n),
        lambda: random.integers(0, 2, n).astype(bool),
        lambda: normal * size,
        lambda: normal * 10.0 ** random.uniform(-300, 300, n),
        lambda: normal + 10.0 ** random.uniform(0, 18),
        lambda: normal.astype(np.float32),
        lambda: np.where(random.random(n) < 0.3, pick(random, _BAD), normal),
        lambda: np.full(n, np.nan),
        lambda: np.where(np.arange(n) == 0, 1.0, 0.0),
        lambda: np.where(np.arange(n) == 0, size, normal),
        lambda: np.full(n, 5e-324),
        lambda: np.full(n, 1.7e308) * np.sign(normal),
        lambda: pd.array(random.integers(0, 9, n), dtype="Int64"),
        lambda: _masked(random, pd.array(random.integers(0, 9, n), dtype="Int64")),
        lambda: _masked(random, pd.array(normal, dtype="Float64")),
        lambda: _masked(random, pd.array(normal > 0, dtype="boolean")),
        lambda: _objects([pick(random, (1, 2.5, None, True, np.nan)) for _ in range(n)]),
        lambda: _objects([decimal.Decimal(str(round(v, 3))) for v in normal]),
        lambda: _objects([str(round(v, 2)) for v in normal]),
        lambda: normal.astype("datetime64[s]"),
        lambda: (normal * 1e9).astype("timedelta64[ns]"),
        lambda: normal + 1j,
        lambda: _objects([pick(random, ({}, [1], (1, 2), {1})) for _ in range(n)]),
        lambda: random.integers(-(2**62), 2**62, n),
        lambda: pd.Series(_objects([10**400 + k for k in range(n)]), dtype=object),
        lambda: pd.arrays.SparseArray(np.where(normal > 0, normal, 0.0)),
        lambda: pd.Categorical(random.integers(0, 3, n)),
    )
    return pick(random, makers)()


def _groups(random: Random, n: int, wild: float) -> Column:
    """A column that is more or less of labels."""
    codes = random.integers(0, max(1, int(random.choice((2, 3, 5, 8)))), n)
    if random.random() >= wild + 0.3:
        return codes
    words = np.array(
        ["", " ", "a", "b", "A", "\u00e9", "e\u0301", "nan", "None", "1", "0"], dtype=object
    )
    makers: tuple[Callable[[], Column], ...] = (
        lambda: words[codes],
        lambda: pd.Categorical(words[codes], categories=words),
        lambda: pd.Categorical(codes, categories=range(12), ordered=True),
        lambda: _masked(random, pd.Categorical(codes)),
        lambda: pd.Categorical([None] * n, categories=["a"]),
        lambda: np.zeros(n, dtype=int),
        lambda: np.full(n, "only", dtype=object),
        lambda: np.arange(n),
        lambda: codes / 2.0,
        lambda: np.where(random.random(n) < 0.3, pick(random, _BAD), codes),
        lambda: np.full(n, np.nan),
        lambda: _objects([None] * n),
        lambda: _objects([pick(random, _MISSING) for _ in range(n)]),
        lambda: _objects([pick(random, ("a", 1, 1.0, True, None, "1")) for _ in range(n)]),
        lambda: _objects([pick(random, ((1, 2), "a", b"a", frozenset())) for _ in range(n)]),
        lambda: _objects([pick(random, ([1], {}, "a")) for _ in range(n)]),
        lambda: _objects([datetime.date(2020, 1, 1 + int(code)) for code in codes]),
        lambda: pd.to_datetime(codes, unit="D"),
        lambda: pd.to_datetime(codes, unit="D", utc=True),
        lambda: pd.to_timedelta(codes, unit="D"),
        lambda: pd.period_range("2020", periods=n, freq="D"),
        lambda: codes.astype(bool),
        lambda: codes * 2**60,
        lambda: codes.astype(np.uint64) + np.uint64(2**63),
        lambda: codes + np.iinfo(np.int64).min,
        lambda: pd.array(words[codes], dtype="string"),
        lambda: _masked(random, pd.array(words[codes], dtype="string")),
        lambda: _masked(random, pd.array(codes, dtype="Int64")),
        lambda: words[codes].astype("U"),
        lambda: np.array([b"a", b"b"])[codes % 2],
        lambda: pd.interval_range(0, n) if n else codes,
        lambda: _objects(["x" * 10_000 + str(code) for code in codes]),
        lambda: 10.0 ** random.uniform(-300, 300, 8)[codes],
        lambda: np.where(codes > 0, -0.0, 0.0),
    )
    return pick(random, makers)()


def _is_float(values: Any) -> bool:
    return bool(getattr(values, "dtype", None) == np.float64)


def _masked(random: Random, values: Any) -> Any:
    if len(values):
        values[np.flatnonzero(random.random(len(values)) < 0.3)] = None
    return values


def _objects(values: list[Any]) -> np.ndarray:
    array = np.empty(len(values), dtype=object)
    for position, value in enumerate(values):
        array[position] = value
    return array


def _relate(random: Random, columns: dict[str, Column], n: int) -> None:
    """Make a column a copy or a function of others."""
    names = [name for name, values in columns.items() if _is_float(values)]
    if len(names) > 1 and random.random() < 0.15:
        factor = pick(random, (1.0, -2.0, 1e-8, 1e8))
        with np.errstate(all="ignore"):
            columns[names[-1]] = factor * columns[names[0]] + pick(random, (0.0, 1.0))
    labels = [name for name in columns if name.startswith("g")]
    if len(labels) > 1 and random.random() < 0.15:
        columns[labels[-1]] = columns[labels[0]]
    if labels and names and random.random() < 0.05:
        columns[names[0]] = np.asarray(
            pd.factorize(_objects(list(map(repr, columns[labels[0]]))))[0] * 1.0
        )


def _known(random: Random, n: int, wild: float, positive: bool) -> Column:
    """An offset or weights."""
    values = random.standard_normal(n)
    if random.random() < wild:
        values = values * 10.0 ** random.uniform(-300, 300)
    if random.random() < wild:
        values = np.where(random.random(n) < 0.3, pick(random, (*_BAD, 0.0)), values)
    return np.abs(values) if positive and random.random() < 0.95 else values


# The response, and weights.


def _response(random: Random, n: int, family: str, columns: dict[str, Column], wild: float) -> Any:
    usable = [np.asarray(values) for values in columns.values() if _is_float(values)]
    with np.errstate(all="ignore"):
        predictor = np.clip(np.nan_to_num(sum(usable, np.zeros(n))), -3, 3)
    noise = random.standard_normal(n) * pick(random, (1.0, 1.0, 1.0, 0.0, 1e-6))
    eta = predictor + noise
    if family in CLASSES:
        y: Any = (eta > 0).astype(int)
        if family == "ordinal" or random.random() < 0.05:
            y = np.digitize(eta, (-1.0, 0.5, 1.0))
        forms = (
            lambda: y,
            lambda: y,
            lambda: np.array(["no", "yes", "so", "who"])[y],
            lambda: y > 0,
        )
        y = pick(random, forms)()
    elif family == "gaussian":
        y = eta
    elif family == "gamma":
        y = np.exp(eta) + 1e-9
    else:
        y = random.poisson(np.exp(eta))
    if random.random() >= wild + 0.1:
        return y
    size = 10.0 ** random.uniform(-300, 300)
    makers: tuple[Callable[[], Any], ...] = (
        lambda: np.zeros(n),
        lambda: np.full(n, size),
        lambda: predictor,
        lambda: eta * size,
        lambda: eta + 10.0 ** random.uniform(0, 17),
        lambda: np.exp(eta) * size,
        lambda: np.where(np.arange(n) == 0, size, y) if np.asarray(y).dtype.kind in "if" else y,
        lambda: random.poisson(3, n) * int(10.0 ** random.uniform(0, 17)),
        lambda: np.where(random.random(n) < 0.3, pick(random, _BAD), eta),
        lambda: _objects([pick(random, (1, 0, None, 2.5, "a")) for _ in range(n)]),
        lambda: _objects(list(np.asarray(y).tolist())),
        lambda: [str(value) for value in y],
        lambda: list(y),
        lambda: y[:-1],
        lambda: np.asarray(y)[:, None],
        lambda: np.column_stack([y, y]),
        lambda: None,
        lambda: eta.astype("datetime64[s]"),
        lambda: eta + 1j,
        lambda: pd.Series(y, index=np.arange(n)[::-1] * 2),
        lambda: pd.Categorical(y),
        lambda: pd.Series(pd.Categorical(y, ordered=True)),
        lambda: _masked(random, pd.array(np.asarray(eta), dtype="Float64")),
        lambda: pd.Series(np.asarray(y)).astype("string"),
        lambda: pd.DataFrame({"y": y}),
        lambda: np.asarray(y).astype(np.float32) if np.asarray(y).dtype.kind in "ifb" else y,
        lambda: 1.0,
        lambda: np.full(n, 1.7e308),
        lambda: np.full(n, 5e-324) * random.integers(0, 3, n),
    )
    return pick(random, makers)()


def _weights(random: Random, n: int, wild: float) -> Any:
    if random.random() < 0.75:
        return None
    if random.random() >= wild:
        return random.integers(0, 4, n)
    makers: tuple[Callable[[], Any], ...] = (
        lambda: random.random(n),
        lambda: 10.0 ** random.uniform(-300, 300, n),
        lambda: 10.0 ** random.uniform(-10, 10, n),
        lambda: np.full(n, 10.0 ** random.uniform(-300, 300)),
        lambda: np.zeros(n),
        lambda: -random.random(n),
        lambda: np.where(random.random(n) < 0.3, pick(random, _BAD), 1.0),
        lambda: np.ones(n + 1),
        lambda: np.ones((n, 1)),
        lambda: 2.0,
        lambda: ["a"] * n,
        lambda: (np.arange(n) == 0) * 1.0,
        lambda: (np.arange(n) < 2) * 1.0,
        lambda: pd.Series(random.random(n), index=np.arange(n)[::-1]),
    )
    return pick(random, makers)()


# The container.


def _container(random: Random, columns: dict[str, Column], n: int, wild: float) -> Any:
    frame = pd.DataFrame(dict(columns), index=range(n))
    if random.random() >= wild + 0.05:
        return frame
    names = list(columns)
    makers: tuple[Callable[[], Any], ...] = (
        lambda: frame.set_axis(random.permutation(n), axis=0),
        lambda: frame.set_axis(["i"] * n, axis=0),
        lambda: frame.set_axis(range(len(names)), axis=1),
        lambda: frame.set_axis([0, *names[1:]][: len(names)], axis=1),
        lambda: frame.set_axis(["x0"] * len(names), axis=1),
        lambda: (
            frame.set_axis(pd.MultiIndex.from_product([["a"], names]), axis=1) if names else frame
        ),
        lambda: frame.to_numpy(),
        lambda: frame.to_numpy(dtype=object),
        lambda: frame.to_numpy().tolist(),
        lambda: frame.select_dtypes("number").to_numpy(dtype=float),
        lambda: np.asfortranarray(random.standard_normal((n, 3))),
        lambda: random.standard_normal((n, 60)),
        lambda: random.standard_normal(n),
        lambda: frame.iloc[:, :0],
        lambda: np.empty((n, 0)),
        lambda: _read_only(random.standard_normal((n, 2))),
        lambda: frame.convert_dtypes(),
        lambda: frame.astype(object),
        lambda: frame.astype(str),
        lambda: _polars(frame),
        lambda: frame.iloc[::-1],
        lambda: dict(columns),
        lambda: None,
        lambda: frame.iloc[:, 0] if names else frame,
    )
    try:
        return pick(random, makers)()
    except (TypeError, ValueError, OverflowError):
        return frame


def _two_levels(frame: pd.DataFrame) -> pd.DataFrame:
    if frame.columns.empty:
        return frame
    return frame.set_axis(pd.MultiIndex.from_product([["a"], frame.columns]), axis=1)


def _read_only(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values


def _polars(frame: pd.DataFrame) -> Any:
    try:
        import polars
    except ImportError:
        return frame
    try:
        return polars.DataFrame({name: frame[name].tolist() for name in frame}, strict=False)
    except Exception:
        return frame
