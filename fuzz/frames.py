"""Fuzz the estimators with small data: `python fuzz/frames.py --count 100000 --seed 0`.

Every case draws data and settings (`frame_cases.py`), fits, predicts, sums up and pickles.
It ends in a `ValueError` or `TypeError` that the package or scikit-learn raised in words, or in
a fit whose numbers are finite, or in one that comes with a warning. Nothing passed in and
nothing in the process may have changed.
"""

from __future__ import annotations

import contextlib
import io
import linecache
import os
import pickle
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pandas as pd
from frame_cases import FrameCase, draw_case
from harness import Fault, World, main

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.results.prediction import predict_mean

_OUR_SOURCES = (f"{os.sep}skmixed{os.sep}", f"{os.sep}sklearn{os.sep}")
_LARGEST_PREDICTOR = 350.0
_ALLOWED = (ValueError, TypeError, MemoryError)
_NUMBERS = ("intercept_", "coef_", "coef_cov_", "noise_variance_", "dispersion_", "thresholds_")
_FRAMES = ("random_effects_", "random_effects_std_", "random_effects_cov_")
_PATHS = ("elbo_", "elbo_std_", "elbo_path_", "gradient_path_")


class Refusal(Exception):
    """The estimator refused in words."""


def check(seed: int, case: int) -> str:
    """Run one case."""
    random = np.random.default_rng([seed, case])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        data = draw_case(random)
    try:
        return _check(data, random)
    except Fault as fault:
        raise Fault(fault.kind, f"{fault.detail}\n{data.describe()}") from None


def _check(data: FrameCase, random: np.random.Generator) -> str:
    before = [_fingerprint(value) for value in (data.X, data.y, data.sample_weight)]
    world = World.now()
    estimator_class = MixedEffectsVIClassifier if data.classifier else MixedEffectsVIRegressor
    model = estimator_class(**data.settings)
    try:
        told = _fit(model, data)
        outcome = "fitted with a warning" if told else "fitted"
        _check_numbers(model, told)
        _check_use(model, data, told, random)
    except Refusal as refusal:
        outcome = f"refused: {refusal}"
    after = [_fingerprint(value) for value in (data.X, data.y, data.sample_weight)]
    for name, old, new in zip(("X", "y", "sample_weight"), before, after, strict=True):
        if old != new:
            raise Fault(f"{name} was changed", f"{old}\nbecame\n{new}")
    world.refuse_changes()
    return outcome


def _fit(model: Any, data: FrameCase) -> list[str]:
    """Fit; the warnings."""
    if not data.partial:
        return _call("fit", model.fit, data.X, data.y, sample_weight=data.sample_weight)[1]
    half = None
    with contextlib.suppress(Exception):
        half = len(data.y) // 2
    if not half or data.sample_weight is not None or not isinstance(data.X, pd.DataFrame):
        return _call("fit", model.fit, data.X, data.y)[1]
    told = _call("partial_fit", model.partial_fit, data.X.iloc[:half], data.y[:half])[1]
    told += _call("partial_fit", model.partial_fit, data.X.iloc[half:], data.y[half:])[1]
    if not hasattr(model, "fit_result_"):
        raise Refusal("more rows are needed")
    return told


def _call(what: str, function: Any, *arguments: Any, **options: Any) -> tuple[Any, list[str]]:
    """The value of a call and the texts of its warnings; `Refusal` if it was refused in words."""
    printed = io.StringIO()
    with (
        warnings.catch_warnings(record=True) as caught,
        contextlib.redirect_stdout(printed),
        np.errstate(divide="warn", over="warn", invalid="warn", under="ignore"),
    ):
        warnings.simplefilter("always")
        try:
            value = function(*arguments, **options)
        except Exception as error:
            _check_error(what, error)
            raise Refusal(f"{what}, {type(error).__name__}") from None
    if printed.getvalue():
        raise Fault(f"{what} prints", printed.getvalue())
    for warning in caught:
        if not issubclass(warning.category, UserWarning):
            place = f"{Path(warning.filename).name}"
            kind = f"{what}: {warning.category.__name__} in {place}: {str(warning.message)[:80]}"
            raise Fault(kind, f"{warning.filename}:{warning.lineno}")
    return value, [str(warning.message) for warning in caught]


def _check_error(what: str, error: Exception) -> None:
    """The error was raised on purpose, in words, where a user can read it."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame.f_code.co_filename, trace.tb_lineno))
        trace = trace.tb_next
    filename, line_number = frames[-1]
    name = type(error).__name__
    ours = next((f for f in reversed(frames) if _OUR_SOURCES[0] in f[0]), frames[-1])
    place = f"{Path(ours[0]).name}:{ours[1]}"
    story = "\n".join(f"  {file}:{number}" for file, number in frames[1:])
    detail = f"{name}: {str(error)[:600]}\n{story}"
    if not isinstance(error, _ALLOWED):
        raise Fault(f"{what}: {name} at {place}", detail)
    raised = linecache.getline(filename, line_number).strip().startswith("raise")
    if not raised or not any(source in filename for source in _OUR_SOURCES):
        raise Fault(f"{what}: {name} leaks at {place}", detail)
    message = str(error)
    if len(message) < 20 or " " not in message:
        raise Fault(f"{what}: {name} without help at {place}", detail)


def _check_numbers(model: Any, told: list[str]) -> None:
    """Finite, or told."""
    values = {name: getattr(model, name) for name in (*_NUMBERS, *_PATHS) if hasattr(model, name)}
    for name in _FRAMES:
        values |= {f"{name}{key}": frame for key, frame in getattr(model, name).items()}
    values["variance"] = model.variance_components_["variance"]
    for name, value in values.items():
        numbers = np.asarray(value, dtype=float)
        if not np.isfinite(numbers).all():
            attribute = name.split("_")[0] if name.startswith("random") else name
            if not told:
                raise Fault(f"{attribute} is not finite and nothing was said", f"{name}: {value}")
            if name not in _PATHS:
                raise Fault(
                    f"{attribute} is not finite, with a warning", f"{name}: {value}\n{told}"
                )
    if not told and not model.converged_:
        raise Fault("did not converge and nothing was said", str(model.gradient_path_))


def _check_use(model: Any, data: FrameCase, told: list[str], random: np.random.Generator) -> None:
    """Predictions, summary, pickle."""
    predict = model.predict_proba if data.classifier else model.predict
    options = {} if data.classifier else {"return_std": True}
    value, _ = _call("predict", predict, data.X, **options)
    predictions = (value,) if data.classifier else value
    used = _fitted_rows(model, data, len(predictions[0]))
    for prediction in predictions:
        bad = ~np.isfinite(prediction[used])
        if bad.any() and not told:
            raise Fault("prediction is not finite and nothing was said", str(predictions))
        if np.isnan(prediction).any():
            raise Fault("prediction is NaN, with a warning", f"{predictions}\n{told}")
    if data.classifier and np.abs(value.sum(axis=1) - 1.0).max() > 1e-6:
        raise Fault("probabilities do not add up to 1", str(value))
    if not data.classifier and (predictions[1] < 0).any():
        raise Fault("negative standard deviation", str(predictions[1]))
    if random.random() < 0.3:
        summary, _ = _call("summary", model.summary)
        _call("summary", str, summary)
        _call("summary", summary._repr_html_)
        _call("sample_y", model.sample_y, data.X, 2, random_state=0)
        _call("predict", model.predict, data.X, include="none")
        if not data.classifier:
            _call("predict_interval", model.predict_interval, data.X)
    copy = pickle.loads(pickle.dumps(model))
    again = (copy.predict_proba if data.classifier else copy.predict)(data.X, **options)
    again = (again,) if data.classifier else again
    for one, other in zip(predictions, again, strict=True):
        if not np.array_equal(one, other, equal_nan=True):
            raise Fault("a pickled model predicts something else", f"{one}\n{other}")


def _fitted_rows(model: Any, data: FrameCase, n_rows: int) -> np.ndarray:
    """Rows whose predictions are numbers, if anything is: fitted ones, whose mean can be written.

    A row of weight 0 was not fitted, and the square of exp(eta) overflows at eta = 355.
    """
    weighted = data.sample_weight is not None and not data.partial
    weights = np.asarray(data.sample_weight, dtype=float) if weighted else 1.0
    used = np.broadcast_to(weights, n_rows) > 0.0
    if data.classifier or model.family == "gaussian":
        return used
    rows = model._fitted_model.encode(data.X, "all", with_weights=False)
    design, positions = rows.design, rows.positions
    return used & (predict_mean(model.fit_result_, design, positions) < _LARGEST_PREDICTOR)


def _fingerprint(value: Any) -> str:
    """Everything in a value, as text."""
    if isinstance(value, pd.DataFrame):
        columns = [_fingerprint(value.iloc[:, k]) for k in range(value.shape[1])]
        return f"{list(value.columns)} {value.index.tolist()} {columns}"
    if isinstance(value, pd.Series):
        return f"{value.index.tolist()} {value.dtype} {value.tolist()!r}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {value.flags.writeable} {value.tolist()!r}"
    return repr(value)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for index, argument in enumerate(sys.argv):
            if argument == "--output":
                sys.argv[index + 1] = str(Path(sys.argv[index + 1]).resolve())
        began_in = os.getcwd()
        os.chdir(folder)
        code = main(check, __doc__ or "", 100_000)
        os.chdir(began_in)
    sys.exit(code)
