"""Contracts on processes, threads, signals and storage."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import joblib
import numpy as np
import pytest
from contract_data import FORMULA, crossed, sleepstudy
from processes import PACKAGE, run_python
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_limits

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, mixed
from skmixed.datasets import load_insteval, make_mixed_regression

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


@pytest.fixture(scope="module")
def small_fit():
    """What the program prints where nothing is special but that there is no network."""
    return run_python(NO_NETWORK, NUMBA_CACHE_DIR=None)


@pytest.fixture(scope="module", params=["0", "1"], ids=["compiled", "python"])
def elsewhere(request, tmp_path_factory):
    """What another process, compiler or not, prints of a fit and predicts with a stored model.

    With the model, its data and whether kernels were compiled.
    """
    data = crossed()
    model = mixed("y ~ x1 + (1 + x1 | b) + (1 | a)", data)
    folder = tmp_path_factory.mktemp("stored")
    joblib.dump((model, data), folder / "model.joblib")
    code = (
        SMALL_FIT
        + """
import joblib
model, data = joblib.load(sys.argv[1])
np.save(sys.argv[2], np.array(model.predict(data, return_std=True)))
"""
    )
    arguments = folder / "model.joblib", folder / "out.npy"
    printed = run_python(code, *arguments, NUMBA_DISABLE_JIT=request.param)
    return printed, np.load(folder / "out.npy"), model, data, request.param == "0"


def test_pickle_roundtrip_without_compiler(elsewhere):
    _, found, model, data, is_compiled = elsewhere
    expected = np.array(model.predict(data, return_std=True))
    np.testing.assert_allclose(found, expected, rtol=0.0 if is_compiled else 1e-13)


def test_fit_without_compiler(elsewhere, small_fit):
    elbo, means = json.loads(elsewhere[0])
    expected_elbo, expected_means = json.loads(small_fit)
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
    fresh = pickle.loads(pickle.dumps(model))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: fresh.predict(data, return_std=True), range(8)))
    for pair in found:
        np.testing.assert_array_equal(pair, expected)


READ_ONLY = dict.fromkeys(["NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "IPYTHONDIR"])
READ_ONLY |= {"HOME": "/dev/null", "PYTHONDONTWRITEBYTECODE": "1"}


@contextmanager
def read_only(folder):
    """Folders without permission to write, until the end."""
    folders = [path for path in (folder, *folder.rglob("*")) if path.is_dir()]
    for path in folders:
        path.chmod(0o555)
    yield
    for path in folders:
        path.chmod(0o755)


def test_readonly_site(tmp_path, small_fit):
    """Nowhere to keep compiled kernels: slower, not broken."""
    copy = tmp_path / "skmixed"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for folder in [path for path in (copy, *copy.rglob("*")) if path.is_dir()]:
        # not even the superuser can make a folder where there is a file
        (folder / "__pycache__").touch()
    with read_only(copy):
        output = run_python(SMALL_FIT, site=tmp_path, **READ_ONLY)
    assert json.loads(output)[0] == pytest.approx(json.loads(small_fit)[0], rel=1e-12)


def test_readonly_site_with_compiled_kernels(tmp_path, small_fit):
    """An installation that has been run before it was protected: the kernels are only read."""
    copy = tmp_path / "skmixed"
    shutil.copytree(PACKAGE, copy)
    code = (
        SMALL_FIT
        + """
from skmixed._kernels.cells import add_intercept_sums
from skmixed._kernels.row_effects import add_intercept_effects
for kernel in (add_intercept_sums, add_intercept_effects):
    stats = kernel.compiled().stats
    print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
"""
    )
    with read_only(copy):
        found, *counts = run_python(code, site=tmp_path, **READ_ONLY).splitlines()
    assert found == small_fit.strip()
    assert counts == ["1 0", "1 0"]


def results_of(model, X):
    """Numbers of a fit, to be compared bit for bit."""
    effects = [frame.to_numpy() for frame in model.random_effects_.values()]
    parts = [model.elbo_, model.coef_, model.coef_cov_, model.predict(X), *effects]
    return np.concatenate([np.ravel(part) for part in parts])


# enough rows for the kernels to share them between threads
ROWS = {
    "direct": (150_000, (3_000, 60)),
    "iterative": (150_000, (3_000, 60)),
    "classes": (8_000, (60, 20)),
    "classes_large_tail": (8_000, (800, 600)),
}


def determinism_data(kind):
    if kind.startswith("insteval"):
        # a tail whose first steps are rounded to single precision, and a small variance
        X, y = load_insteval(return_X_y=True)
        return X[["service", "s", "d", "dept"]], y, ["s", "d", "dept"]
    n, levels = ROWS[kind]
    X, y, _ = make_mixed_regression(n_samples=n, groups=levels, random_state=0)
    return X, y > y.mean() if kind.startswith("classes") else y, ["g0", "g1"]


@pytest.mark.filterwarnings("ignore:.*did not converge:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", [*ROWS, "insteval", "insteval_stopped"])
def test_determinism_threads(kind):
    """Bit for bit equal for one number of threads, to rounding for others."""
    X, y, groups = determinism_data(kind)

    def fit(n_jobs):
        if kind.startswith("classes"):
            return MixedEffectsVIClassifier(groups, n_jobs=n_jobs).fit(X, y)
        solver = "iterative" if kind == "iterative" else "direct"
        model = MixedEffectsVIRegressor(groups, solver=solver, n_probes=10, n_jobs=n_jobs)
        return model.set_params(max_iter=2 if kind == "insteval_stopped" else 100).fit(X, y)

    repeats = 3 if kind in ("direct", "iterative") else 2
    # a fit of four threads lets the linear algebra library have two
    with threadpool_limits(2, user_api="blas"):
        by_threads = {
            n_jobs: [results_of(fit(n_jobs), X) for _ in range(repeats)] for n_jobs in (1, 2, 4)
        }
    for fits in by_threads.values():
        for again in fits[1:]:
            np.testing.assert_array_equal(again, fits[0])
    for n_jobs in (2, 4):
        np.testing.assert_allclose(by_threads[n_jobs][0], by_threads[1][0], rtol=1e-10, atol=1e-10)


def test_determinism_in_another_thread():
    """Bit for bit what the first thread finds, before and after one did."""
    data = crossed(seed=5)

    def fit():
        return results_of(mixed("y ~ x1 + x2 + (1 | a) + (1 + x1 | b)", data, n_jobs=2), data)

    expected = fit()
    with ThreadPoolExecutor(2) as pool:
        for found in [pool.submit(fit) for _ in range(4)]:
            np.testing.assert_array_equal(found.result(), expected)
        np.testing.assert_array_equal(fit(), expected)


def test_determinism_threads_of_processes():
    """The variables that limit threads from outside give the same fits too."""
    limits = ("NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
    one, other = (json.loads(run_python(SMALL_FIT, **dict.fromkeys(limits, n)))[0] for n in "14")
    assert one == pytest.approx(other, rel=1e-10)


def fit_in_threads(seed):
    """Two different fits at once; their results."""
    jobs = [("y ~ x1 + x2 + (1 | a) + (1 + x1 | b)", seed), ("y ~ x1 + (1 | a)", seed + 1)]

    def fit(job):
        data = crossed(seed=job[1])
        return results_of(mixed(job[0], data, n_jobs=2), data)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(fit, jobs))


@pytest.mark.parametrize("workers", ["fork", "loky"])
def test_threads_in_processes(workers):
    """After fits in threads of this process, fits in threads of others: bit for bit the same."""
    seeds = [0, 5]
    here = [fit_in_threads(seed) for seed in seeds]
    if workers == "loky":
        there = joblib.Parallel(2, backend="loky")(
            joblib.delayed(fit_in_threads)(seed) for seed in seeds
        )
    else:
        with multiprocessing.get_context(workers).Pool(2) as pool:
            there = pool.map_async(fit_in_threads, seeds).get(timeout=100)
    for one, other in zip(here, there, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_fork_in_a_thread_that_is_not_the_first():
    """A web server that forks from a worker, while no fit is running."""
    expected = fit_in_threads(3)

    def forked():
        with multiprocessing.get_context("fork").Pool(1) as pool:
            return pool.map_async(fit_in_threads, [3]).get(timeout=100)[0]

    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(forked).result()
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_compiled_classes():
    """Instances of Numba's compiled classes can be neither pickled nor copied."""
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "jitclass" not in text, path
        if path.name not in ("cache.py", "compile.py"):
            assert "import numba" not in text, path
            assert "from numba" not in text, path


NO_NETWORK = (
    """
import socket

def refuse(*arguments, **options):
    raise OSError("a connection was asked for")

# a class that others inherit from stays a class, but makes no instances
socket.socket.__init__ = refuse
for name in ("create_connection", "getaddrinfo", "gethostbyname", "socketpair"):
    setattr(socket, name, refuse)
"""
    + SMALL_FIT
    + """
from skmixed import MixedEffectsVIClassifier, MixedEffectsEncoder
from skmixed.datasets import load_insteval, load_sleepstudy
MixedEffectsVIClassifier(["g"]).fit(X, y > 0).predict_proba(X)
MixedEffectsEncoder(["g"]).fit_transform(X, y)
str(model.summary())
model.diagnose(X, y)
load_insteval(), load_sleepstudy()
try:
    socket.create_connection(("localhost", 1))
except OSError as error:
    assert "was asked for" in str(error)
else:
    raise AssertionError("the guard is not in place")
"""
)


def test_no_network(small_fit):
    """Import, fits, predictions and data sets: nothing is looked up or sent."""
    assert small_fit


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


LOADED = """
import json, sys
from skmixed import MixedEffectsVIRegressor
print(json.dumps([name for name in sys.modules if name.partition(".")[0] in ("skmixed", "numba")]))
"""


def test_importing_an_estimator_loads_no_engine():
    # fits, solvers and what describes a fit are imported when they are asked for
    loaded = json.loads(run_python(LOADED))
    assert "skmixed.regressor" in loaded
    rooms = {name.split(".")[1] for name in loaded if name.count(".") > 1}
    assert rooms.isdisjoint({"solvers", "posteriors", "noise", "sums"}), loaded
    assert "numba" not in loaded
    assert "skmixed.inspection.summary" not in loaded


def test_a_fit_of_a_normal_response_loads_no_other_fit():
    loaded = json.loads(run_python(SMALL_FIT.replace("print(", "0 and print(") + LOADED))
    assert "skmixed.fit.gaussian_fit" in loaded
    assert "skmixed.fit.generalized_fit" not in loaded
    assert "skmixed.solvers.iterative" not in loaded
