"""Contracts on processes, threads, signals and storage."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import joblib
import numpy as np
import pytest
from contract_data import FORMULA, crossed, sleepstudy
from numba import cloudpickle
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

import skmixed
from skmixed import MixedEffectsVIRegressor, RandomEffect, mixed

PACKAGE = Path(skmixed.__file__).parent

SMALL_FIT = """
import json, sys
import numpy as np
import pandas as pd
from skmixed import MixedEffectsVIRegressor
rng = np.random.default_rng(0)
codes = np.tile(np.arange(6), 10)
X = pd.DataFrame({"x": rng.standard_normal(60), "g": codes})
y = X["x"] + rng.standard_normal(6)[codes] + rng.standard_normal(60)
model = MixedEffectsVIRegressor(["g"]).fit(X, y)
print(json.dumps([model.elbo_, model.predict(X).tolist()]))
"""


def run_python(code, *arguments, site=PACKAGE.parent, **environment):
    """Output of a program in a process of its own, with and without variables."""
    variables = {**os.environ, "PYTHONPATH": str(site), **environment}
    variables = {name: value for name, value in variables.items() if value is not None}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=site, env=variables, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def pickled(model):
    return pickle.loads(pickle.dumps(model))


def joblibbed(model):
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    buffer.seek(0)
    return joblib.load(buffer)


def cloudpickled(model):
    return pickle.loads(cloudpickle.dumps(model))


@pytest.mark.parametrize("copied", [pickled, joblibbed, cloudpickled, copy.deepcopy])
def test_pickle_roundtrip(copied):
    data = crossed()
    X, y = data[["x1", "x2", "a", "b"]], data["y"]
    model = MixedEffectsVIRegressor([RandomEffect("a", slopes=["x1"]), "b"])
    before = copied(model)
    assert before.get_params() == model.get_params()
    before.fit(X, y)
    after = copied(model.fit(X, y))
    for ours in (before, after):
        for found, expected in zip(
            ours.predict(X, return_std=True), model.predict(X, return_std=True), strict=True
        ):
            np.testing.assert_array_equal(found, expected)
    assert str(after.summary()) == str(model.summary())
    np.testing.assert_array_equal(
        after.sample_y(X, random_state=0), model.sample_y(X, random_state=0)
    )


def test_pickle_roundtrip_without_compiler(tmp_path):
    data = crossed()
    model = mixed("y ~ x1 + (1 + x1 | b) + (1 | a)", data)
    joblib.dump((model, data), tmp_path / "model.joblib")
    code = """
import sys, joblib, numpy as np
model, data = joblib.load(sys.argv[1])
np.save(sys.argv[2], np.array(model.predict(data, return_std=True)))
"""
    for disable, rtol in (("0", 0.0), ("1", 1e-13)):
        run_python(code, tmp_path / "model.joblib", tmp_path / "out.npy", NUMBA_DISABLE_JIT=disable)
        expected = np.array(model.predict(data, return_std=True))
        np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=rtol)


def test_fit_without_compiler():
    elbo, means = json.loads(run_python(SMALL_FIT, NUMBA_DISABLE_JIT="1"))
    expected_elbo, expected_means = json.loads(run_python(SMALL_FIT))
    assert elbo == pytest.approx(expected_elbo, rel=1e-12)
    np.testing.assert_allclose(means, expected_means, rtol=1e-10)


@pytest.mark.parametrize("backend", ["loky", "threading", "multiprocessing"])
def test_clone_gridsearch_loky(backend):
    """After a fit in this process; no abort, no deadlock, the same scores."""
    data = crossed()
    X, y = data[["x1", "x2", "a", "b"]], data["y"]
    model = MixedEffectsVIRegressor(formula="x1 + (1 | a)").fit(X, y)
    grid = {"formula": ["x1 + (1 | a)", "x1 + x2 + (1 | a) + (1 | b)"]}
    serial = GridSearchCV(clone(model), grid, cv=3).fit(X, y)
    with joblib.parallel_backend(backend, n_jobs=2):
        search = GridSearchCV(clone(model), grid, cv=3, n_jobs=2).fit(X, y)
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"], serial.cv_results_["mean_test_score"], rtol=1e-10
    )
    assert search.best_params_ == serial.best_params_


def test_threads_two_models():
    jobs = [
        (FORMULA, sleepstudy()),
        ("y ~ x1 + x2 + (1 | a) + (1 + x1 | b)", crossed()),
        ("y ~ x1 + (1 | a)", crossed(seed=2)),
        ("Reaction ~ Days + (Days || Subject)", sleepstudy()),
    ] * 3
    serial = [mixed(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda job: mixed(*job), jobs))
    for one, other in zip(serial, parallel, strict=True):
        np.testing.assert_allclose(one.elbo_, other.elbo_, rtol=1e-13)
        np.testing.assert_allclose(one.coef_, other.coef_, rtol=1e-13)


def test_threads_one_model():
    """Predictions of a fitted model do not disturb each other."""
    data = crossed()
    model = mixed("y ~ x1 + (1 | a) + (1 | b)", data)
    expected = model.predict(data, return_std=True)
    fresh = pickled(model)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fresh.predict(data, return_std=True), range(8)))
    for pair in found:
        np.testing.assert_array_equal(pair, expected)


def test_readonly_site(tmp_path):
    """Nowhere to keep compiled kernels: slower, not broken."""
    site = tmp_path / "site"
    shutil.copytree(PACKAGE, site / "skmixed", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [*(site / "skmixed").rglob("*"), site / "skmixed"]:
        if folder.is_dir():
            # not even the superuser can make a folder where there is a file
            (folder / "__pycache__").touch()
            folder.chmod(0o555)
    environment = dict.fromkeys(["NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "IPYTHONDIR"])
    output = run_python(
        SMALL_FIT, site=site, HOME="/dev/null", PYTHONDONTWRITEBYTECODE="1", **environment
    )
    for folder in (site / "skmixed").rglob("*"):
        if folder.is_dir():
            folder.chmod(0o755)
    assert json.loads(output)[0] == pytest.approx(json.loads(run_python(SMALL_FIT))[0], rel=1e-12)


def test_determinism_threads():
    """Bit for bit equal for one number of threads, to rounding for others."""
    code = """
import json, numpy as np
from skmixed import mixed
from skmixed.datasets import load_insteval
data = load_insteval().frame
fits = [mixed("y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept)", data) for _ in range(2)]
print(json.dumps([[fit.elbo_, fit.noise_variance_, *fit.coef_,
                   *fit.random_effects_["d"].iloc[:50, 0]] for fit in fits]))
"""
    results = []
    for threads in ("1", "2"):
        limits = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
        fits = json.loads(run_python(code, **dict.fromkeys(limits, threads)))
        assert fits[0] == fits[1]
        results.append(fits[0])
    np.testing.assert_allclose(results[0], results[1], rtol=1e-10)


def test_sigint():
    """The interrupt ends the fit within a second; a fit from before stays whole."""
    code = """
import json, os, signal, threading, time
import numpy as np
from sklearn.base import clone
from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import load_insteval
X, y = load_insteval(return_X_y=True)
X = X[["service", "s", "d", "dept"]]
base = MixedEffectsVIRegressor(["s", "d", "dept"]).fit(X, y)
kept = base.elbo_
sent = []
def interrupt():
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
threading.Timer(0.3, interrupt).start()
model = clone(base)
try:
    while True:
        model = clone(base)
        model.fit(X, y)
except KeyboardInterrupt:
    delay = time.perf_counter() - sent[0]
half = bool(hasattr(model, "coef_") != hasattr(model, "fit_result_"))
finite = bool(np.isfinite(base.predict(X[:5])).all())
print(json.dumps([delay, half, bool(base.elbo_ == kept), finite]))
"""
    delay, half_fitted, kept, finite = json.loads(run_python(code))
    assert delay < 1.0
    assert not half_fitted
    assert kept
    assert finite


def test_int32_indices():
    """Pairs of 60,000 and 60,000 levels: the product of the numbers exceeds int32."""
    rng = np.random.default_rng(0)
    levels = np.arange(60_000)
    codes = np.concatenate([levels, levels])
    X = np.column_stack([codes, 7 * codes + 3, rng.standard_normal(len(codes))])
    effects = rng.standard_normal(len(levels))
    y = effects[codes] + 0.1 * rng.standard_normal(len(codes))
    model = MixedEffectsVIRegressor(["(1 | `0`:`1`)"]).fit(X, y)
    assert model.random_effects_["0:1"].shape == (60_000, 1)
    last = model.random_effects_["0:1"].loc[(59_999, 7 * 59_999 + 3), "Intercept"]
    assert last == pytest.approx(effects[-1], abs=0.5)
    never_together = np.array([[59_999, 3, 0.0], [0, 7 * 59_999 + 3, 0.0]])
    np.testing.assert_array_equal(
        model.predict(never_together), model.predict(never_together, include="none")
    )
