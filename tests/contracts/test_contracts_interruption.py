"""Contracts on fits that are interrupted or killed: a whole model, or none."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import time

import numpy as np
import pytest
from contract_data import crossed
from processes import start_python

from skmixed import MixedEffectsEncoder, MixedEffectsVIClassifier, MixedEffectsVIRegressor

INTERRUPTED = """
import json, os, signal, sys, time, warnings
import numpy as np
import pandas as pd
from sklearn.base import clone
from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
kind, n_times = sys.argv[1], int(sys.argv[2])
n = 10_000 if kind == "classes" else 200_000
rng = np.random.default_rng(0)
codes = rng.integers(0, n // 20, n), rng.integers(0, n // 100, n)
X = pd.DataFrame({"x": rng.standard_normal(n), "a": codes[0], "b": codes[1]})
eta = X["x"].to_numpy() + 0.5 * sum(rng.standard_normal(n)[code] for code in codes)
y = eta + rng.standard_normal(n)
base = MixedEffectsVIRegressor(["a", "b"], solver="iterative", n_probes=10)
if kind == "classes":
    base, y = MixedEffectsVIClassifier(["a", "b"], solver="iterative", n_probes=10), y > 0
call = "partial_fit" if kind == "parts" else "fit"
small = slice(0, n // 20)
warnings.simplefilter("ignore")
# of all rows: kernels are compiled then, within which nothing stops
complete = vars(getattr(clone(base), call)(X, y)).keys()
MADE_ANEW = "fit_result_", "design_encoder_", "coef_", "elbo_path_"

def is_whole(model, before):
    # nothing is new, or everything is: the interrupt may come when a call has just ended
    now = vars(model)
    new = [name for name in now if now[name] is not before.get(name)]
    if not new:
        return now.keys() == before.keys()
    return now.keys() == complete and set(MADE_ANEW) <= set(new)

for _ in range(n_times):
    # what is interrupted first is a new model, later one that has been fitted before
    model = clone(base)
    print("ready", flush=True)
    try:
        while True:
            before = dict(vars(model))
            getattr(model, call)(X, y)
    except KeyboardInterrupt:
        ended = time.monotonic()
    print(json.dumps([ended, is_whole(model, before)]), flush=True)
again = getattr(clone(base), call)(X[small], y[small])
print(json.dumps(bool(np.isfinite(again.predict(X[small])).all())), flush=True)
"""


@pytest.mark.parametrize("kind", ["rows", "parts", "classes"])
def test_sigint(kind):
    """Control is back within a second; the estimator is as before the call, and works."""
    moments = random.Random(kind)
    n_times = 3
    with start_python(INTERRUPTED, kind, n_times) as program:
        delays = []
        for _ in range(n_times):
            assert program.stdout.readline() == "ready\n"
            time.sleep(moments.uniform(0.05, 1.0))
            sent = time.monotonic()
            program.send_signal(signal.SIGINT)
            ended, whole = json.loads(program.stdout.readline())
            assert whole
            delays.append(ended - sent)
        assert json.loads(program.stdout.readline()) is True
    assert program.returncode == 0
    assert max(delays) < 1.0


class Interrupted(BaseException):
    """Stands for KeyboardInterrupt, which the test runner would take for itself."""


def interrupt(*arguments, **options):
    raise Interrupted


MODELS = {
    "rows": (lambda: MixedEffectsVIRegressor(["a", "b"]), "fit"),
    "parts": (lambda: MixedEffectsVIRegressor(["a", "b"]), "partial_fit"),
    "classes": (lambda: MixedEffectsVIClassifier(["a", "b"]), "fit"),
    "encoder": (lambda: MixedEffectsEncoder(["a", "b"]), "fit"),
}
PLACES = [
    "skmixed.fit.outer.minimise",
    "skmixed.base.restrained_blas",
    "skmixed.inspection.messages.warn_about_fit",
    "skmixed.inspection.attributes.coefficients_of",
]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", MODELS)
def test_sigint_leaves_nothing_half_done(kind, place, monkeypatch):
    """Interrupted at any step, a new model is unfitted and an old one has its old fit."""
    make, call = MODELS[kind]
    data = crossed()
    y = data["y"] > 0 if kind == "classes" else data["y"]
    narrow, wide = data[["a", "b"]], data[["x1", "a", "b"]]
    new, old = make(), getattr(make(), call)(narrow, y)
    before = dict(vars(old))
    rows = narrow if kind == "parts" else wide
    with monkeypatch.context() as patched:
        patched.setattr(place, interrupt)
        for model in (new, old):
            with pytest.raises(Interrupted):
                getattr(model, call)(rows, y)
    assert vars(new) == vars(make())
    assert vars(old).keys() == before.keys()
    assert all(vars(old)[name] is value for name, value in before.items())
    getattr(new, call)(rows, y)
    getattr(old, call)(rows, y)


# Killed, and resumed -------------------------------------------------------------------

CHUNKS = 8

KILLED = """
import os, pickle, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[2])
from contract_data import crossed
from skmixed import MixedEffectsVIRegressor
file = Path(sys.argv[1])
data = crossed(800)
model, done = MixedEffectsVIRegressor(["a", "b"]), 0
if file.exists():
    model, done = pickle.loads(file.read_bytes())
chunks = np.array_split(np.arange(len(data)), int(sys.argv[3]))
print("resumed", done, flush=True)
for rows in chunks[done:]:
    part = data.iloc[rows]
    model.partial_fit(part[["x1", "x2", "a", "b"]], part["y"])
    done += 1
    # written beside the good file, and moved over it in one step
    new = file.with_suffix(".new")
    new.write_bytes(pickle.dumps((model, done)))
    os.replace(new, file)
    print("stored", done, flush=True)
"""


def test_kill9_checkpoint(tmp_path):
    """Killed between and within chunks, and resumed from the last file: the same optimum."""
    data = crossed(800)
    columns = ["x1", "x2", "a", "b"]
    reference = MixedEffectsVIRegressor(["a", "b"])
    for rows in np.array_split(np.arange(len(data)), CHUNKS):
        reference.partial_fit(data.iloc[rows][columns], data["y"].iloc[rows])
    file = tmp_path / "model.pkl"
    folder = os.path.dirname(__file__)
    for kill_after in (2, 5, CHUNKS):
        with start_python(KILLED, file, folder, CHUNKS) as program:
            for line in program.stdout:
                if line == f"stored {kill_after}\n" and kill_after < CHUNKS:
                    program.send_signal(signal.SIGKILL)
                    break
        assert program.returncode == (-signal.SIGKILL if kill_after < CHUNKS else 0)
    resumed, done = pickle.loads(file.read_bytes())
    assert done == CHUNKS
    assert resumed.elbo_ == reference.elbo_
    np.testing.assert_array_equal(resumed.predict(data[columns]), reference.predict(data[columns]))
    # a file that was not written to its end is no model, nor one with a page that was not
    whole = file.read_bytes()
    for share in (0.01, 0.5, 0.999):
        with pytest.raises((EOFError, pickle.UnpicklingError)):
            pickle.loads(whole[: int(share * len(whole))])
    numbers = resumed.fit_result_.coupling.tobytes()
    place = whole.index(numbers)
    torn = whole[:place] + bytes(len(numbers)) + whole[place + len(numbers) :]
    with pytest.raises(ValueError, match="its checksum does not match"):
        pickle.loads(torn)
