"""Compiled kernels on disk: what is read is what was written, by whom- and whenever it was."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import numba
import pytest
from processes import PACKAGE, run_python

from skmixed._kernels import cache
from skmixed._kernels.cache import KernelCache, KernelFiles

FLOATS = ((numba.float64[:], numba.int32), "x86_64")
INTEGERS = ((numba.int64[:], numba.int32), "x86_64")

CALL = """
import json
import numpy as np
from skmixed._kernels.row_effects import add_intercept_effects
codes, means, out = np.arange(6) % 3, np.array([[1.5], [2.5], [4.0]]), np.zeros(6)
for code_type in (np.int32, np.int64):
    add_intercept_effects(codes.astype(code_type), means, out)
print(json.dumps([out.tolist(), sum(add_intercept_effects.compiled().stats.cache_hits.values())]))
"""
RIGHT = [3.0, 5.0, 8.0] * 2


@pytest.fixture
def compiled(tmp_path):
    return KernelFiles(tmp_path, "module.function-1.py311")


def test_types_have_files_of_their_own(compiled, tmp_path):
    assert compiled.load(FLOATS) is None
    compiled.save(FLOATS, "of floats")
    assert compiled.load(INTEGERS) is None
    compiled.save(INTEGERS, "of integers")
    compiled.save(FLOATS, "of floats again")
    assert compiled.load(FLOATS) == "of floats again"
    assert compiled.load(INTEGERS) == "of integers"
    assert len(list(tmp_path.iterdir())) == 2


def test_other_sources_are_replaced(compiled, tmp_path, monkeypatch):
    compiled.save(FLOATS, "old")
    monkeypatch.setattr(cache, "_digest_of_sources", lambda: b"those of the next version")
    upgraded = KernelFiles(tmp_path, "module.function-1.py311")
    assert upgraded.load(FLOATS) is None
    upgraded.save(FLOATS, "new")
    assert upgraded.load(FLOATS) == "new"
    assert compiled.load(FLOATS) is None
    assert len(list(tmp_path.iterdir())) == 1


def test_versions_of_numba_do_not_meet(compiled, monkeypatch):
    compiled.save(FLOATS, "of this one")
    with monkeypatch.context() as patch:
        patch.setattr(numba, "__version__", "0.0")
        assert compiled.load(FLOATS) is None
        compiled.save(FLOATS, "of another one")
        assert compiled.load(FLOATS) == "of another one"
    assert compiled.load(FLOATS) == "of this one"


def test_damaged_files_are_not_read(compiled, tmp_path):
    compiled.save(FLOATS, list(range(50)))
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place])
        assert compiled.load(FLOATS) is None
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert compiled.load(FLOATS) is None
    compiled.save(FLOATS, "mended")
    assert compiled.load(FLOATS) == "mended"


def test_readers_and_writers_at_once(compiled, tmp_path):
    def work(worker):
        key = (FLOATS, INTEGERS)[worker % 2]
        for _ in range(100):
            compiled.save(key, [worker % 2] * 10_000)
            assert set(compiled.load(key)) == {worker % 2}

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("broken", ["read_bytes", "write_bytes"])
def test_a_disk_that_fails_costs_time_only(broken, tmp_path, monkeypatch):
    def fail(*_arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(cache.Path, broken, fail)
    function = numba.njit(lambda x: x + 1)
    function._cache = KernelCache(function.py_func)
    assert function(1) == 2


def test_an_interrupted_write_leaves_nothing(compiled, tmp_path, monkeypatch):
    def interrupt(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        compiled.save(FLOATS, "half")
    assert list(tmp_path.iterdir()) == []


def test_processes_beside_damaged_and_outdated_files(tmp_path):
    """Processes that start together, after another version was used and a disk was full."""
    copy = tmp_path / "skmixed"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def call(_=None):
        return json.loads(run_python(CALL, site=tmp_path, NUMBA_CACHE_DIR=None))

    assert call() == [RIGHT, 0]
    assert call() == [RIGHT, 2]

    written = sorted(copy.rglob("*.nbc"))
    assert len(written) == 2
    for number, path in enumerate(written):
        content = path.read_bytes()
        path.write_bytes(content[: len(content) * number // 2])
    with ThreadPoolExecutor(2) as pool:
        assert [found for found, _ in pool.map(call, range(2))] == [RIGHT] * 2
    assert call() == [RIGHT, 2]

    options = copy / "_kernels" / "compile.py"
    options.write_text(options.read_text() + "\n# another version\n")
    assert call() == [RIGHT, 0]
    assert sorted(copy.rglob("*.nbc")) == written


COMPILE_AFTER_LOADING = """
import json
import numpy as np
from skmixed._kernels.compile import kernel
from skmixed._kernels.row_effects import add_intercept_effects
codes, means, out = np.arange(6) % 3, np.array([[1.5], [2.5], [4.0]]), np.zeros(6)
add_intercept_effects(codes.astype(np.int32), means, out)

@kernel
def twice(codes, means, out):
    add_intercept_effects(codes, means, out)
    add_intercept_effects(codes, means, out)

twice(codes.astype(np.int32), means, out)
# Numba's dispatcher took the place of the kernel
print(json.dumps([out.tolist(), sum(add_intercept_effects.stats.cache_hits.values())]))
"""


def test_kernels_are_compiled_beside_loaded_ones(tmp_path):
    # what Numba compiles with is not imported for kernels that are read
    run_python(CALL, NUMBA_CACHE_DIR=str(tmp_path))
    out, hits = json.loads(run_python(COMPILE_AFTER_LOADING, NUMBA_CACHE_DIR=str(tmp_path)))
    assert out == [4.5, 7.5, 12.0] * 2
    assert hits > 0


def test_an_interrupt_that_was_dropped_is_raised(tmp_path, monkeypatch):
    # LLVM hands compiled code over in a callback, in which Python drops interrupts
    def nothing_handed_over(self, sig, data):
        raise RuntimeError("no compiled object yet for <Library>")

    monkeypatch.setattr(cache.FunctionCache, "save_overload", nothing_handed_over)
    kernel_cache = KernelCache.__new__(KernelCache)
    with pytest.raises(KeyboardInterrupt):
        kernel_cache.save_overload(None, None)

    def broken(self, sig, data):
        raise RuntimeError("another one")

    monkeypatch.setattr(cache.FunctionCache, "save_overload", broken)
    with pytest.raises(RuntimeError, match="another one"):
        kernel_cache.save_overload(None, None)
