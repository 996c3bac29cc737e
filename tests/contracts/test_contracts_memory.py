"""A fit that cannot fit into memory is refused before it asks for any."""

import json
import resource

import numpy as np
import pandas as pd
import pytest
from contract_data import crossed
from processes import run_python

import skmixed.memory
from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.memory import available_memory


@pytest.fixture
def small_machine(monkeypatch):
    """A machine of 200 MB, to test refusals with data that fit into the real one."""
    monkeypatch.setattr(skmixed.memory, "available_memory", lambda: 200_000_000)


def test_oom_guard():
    n = 300_000
    X = pd.DataFrame({"a": np.arange(n) // 2, "b": np.arange(n) % 149_999})
    y = np.random.default_rng(0).standard_normal(n)
    MixedEffectsVIRegressor(["a", "b"]).fit(X.head(1000) // 50, y[:1000])  # compiled code loads
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(MemoryError, match=r"1\d\d,\d+ effects .* need [\d,]+ bytes.*iterative"):
        MixedEffectsVIRegressor(["a", "b"], solver="direct").fit(X, y)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100 * 1024


def test_one_factor_of_any_size():
    n = 400_000
    X = pd.DataFrame({"g": np.arange(n) // 2})
    rng = np.random.default_rng(0)
    y = rng.standard_normal(n // 2).repeat(2) + rng.standard_normal(n)
    model = MixedEffectsVIRegressor(["g"]).fit(X, y)
    assert model.noise_variance_ == pytest.approx(1.0, rel=0.02)
    assert model.random_effects_cov_["g"].iloc[0, 0] == pytest.approx(1.0, rel=0.02)


def test_fixed_effects_of_a_million_levels():
    """A coefficient a level would be a matrix of 8 TB."""
    n = 1_000_000
    X = pd.DataFrame({"c": np.arange(n), "g": np.arange(n) % 7})
    y = np.zeros(n)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=r"999999 indicator columns.*as grouping factors"):
        MixedEffectsVIRegressor(formula="C(c) + (1 | g)").fit(X, y)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 * 1024


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize("estimator", [MixedEffectsVIRegressor, MixedEffectsVIClassifier])
def test_fixed_effects_that_do_not_fit(estimator):
    n, n_levels = 20_000, 2_000
    X = pd.DataFrame({"c": np.arange(n) % n_levels, "g": np.arange(n) % 7})
    y = np.arange(n) % 2
    with pytest.raises(
        MemoryError, match=r"20,000 rows and 2,000 columns needs 320,000,000 bytes.*200,000,000"
    ):
        estimator(formula="C(c) + (1 | g)").fit(X, y)
    # the matrix alone would fit, what a fit makes of it would not
    with pytest.raises(
        MemoryError, match=r"5,000 rows and 2,000 columns of fixed.*as grouping factors"
    ):
        estimator(formula="C(c) + (1 | g)").fit(X[:5_000], y[:5_000])


@pytest.mark.usefixtures("small_machine")
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize("solver", ["direct", "iterative", "auto"])
def test_slopes_that_do_not_fit(call, solver):
    n, n_slopes = 6_000, 29
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((n, n_slopes))).rename(columns=str)
    X["g"] = np.arange(n) // 2
    slopes = " + ".join(f"`{k}`" for k in range(n_slopes))
    model = MixedEffectsVIRegressor(formula=f"1 + (1 + {slopes} | g)", solver=solver)
    with pytest.raises(
        MemoryError, match=r"'g' with 3,000 levels of 30 effects each needs [\d,]+ bytes.*fewer"
    ):
        getattr(model, call)(X, rng.standard_normal(n))


@pytest.mark.usefixtures("small_machine")
def test_draws_that_do_not_fit():
    data = crossed()
    model = MixedEffectsVIRegressor(["a", "b"]).fit(data[["x1", "a", "b"]], data["y"])
    with pytest.raises(MemoryError, match=r"1,000,000 draws of 200 rows needs 1,600,000,000 bytes"):
        model.sample_y(data[["x1", "a", "b"]], n_samples=1_000_000)


def test_limits_of_containers_and_processes(tmp_path, monkeypatch):
    """The least of all limits counts; "max" is none."""
    whole = available_memory()
    assert whole > 0
    limited, free = tmp_path / "memory.max", tmp_path / "memory.limit_in_bytes"
    free.write_text("max\n")
    limited.write_text("123456789\n")
    monkeypatch.setattr(skmixed.memory, "_LIMITS_OF_CONTAINERS", (free, tmp_path / "absent"))
    assert available_memory() >= whole
    monkeypatch.setattr(skmixed.memory, "_LIMITS_OF_CONTAINERS", (free, limited))
    assert available_memory() == 123456789


LIMITED = """
import json, resource
import numpy as np
import pandas as pd
from skmixed import MixedEffectsVIRegressor
from skmixed.memory import available_memory

def data(n):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.standard_normal(n), "a": np.arange(n) // 5, "b": np.arange(n) % 97})
    return X, rng.standard_normal(n)

model = MixedEffectsVIRegressor(["a", "b"], n_jobs=1)
X, y = data(1000)
model.fit(X, y)
big, big_y = data(600_000)
n_pages = int(open("/proc/self/statm").read().split()[0])
limit = n_pages * resource.getpagesize() + 40_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
errors = []
assert available_memory() == limit
elbo = model.elbo_
for call in (lambda: model.fit(big, big_y), lambda: model.sample_y(big, n_samples=100)):
    try:
        call()
    except MemoryError as error:
        errors.append(type(error).__name__)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
kept = model.elbo_ == elbo
again = model.fit(X, y).elbo_ == elbo
print(json.dumps([len(errors), bool(kept), bool(again)]))
"""


def test_a_process_with_little_memory_survives():
    """MemoryError, the earlier fit kept, and once there is memory all works again."""
    assert json.loads(run_python(LIMITED, OPENBLAS_NUM_THREADS="1")) == [2, True, True]
