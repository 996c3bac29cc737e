"""Threads of the kernels, and of the linear algebra library.

Kernels release the interpreter lock, so plain threads suffice; they are made
for the call and gone after it, which leaves nothing to break when a process
forks. Parts never overlap, hence results do not depend on the number of threads.

The linear algebra library's own threads wait for one another by spinning. Where
one of their cores is taken by another process, a factorisation of a hundredth
of a second can take a second; half of the cores is as fast where two "cores"
are one with hyper-threading, and leaves room.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from threading import Lock, Thread
from typing import Any

import joblib
import numpy as np
from threadpoolctl import ThreadpoolController


def available_threads(n_jobs: int | None) -> int:
    """How many threads to use.

    Parameters
    ----------
    n_jobs : int or None
        None: as many as the process may use, which the environment variable
        ``OMP_NUM_THREADS`` can lower (joblib sets it in its workers); negative
        numbers count from the machine's cores, as in scikit-learn.
    """
    if n_jobs is None:
        limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
        cores = joblib.cpu_count()
        return max(1, min(cores, int(limit))) if limit.isdigit() else cores
    if n_jobs < 0:
        return max(1, joblib.cpu_count() + 1 + n_jobs)
    return n_jobs


def run_parts(
    kernel: Callable[[int, int], object], bounds: Sequence[int], n_threads: int | None = None
) -> None:
    """Call ``kernel(bounds[i], bounds[i + 1])`` for every part.

    Parameters
    ----------
    kernel : callable
    bounds : sequence of int
    n_threads : int, optional
        Threads that share the parts; None is one for every part.
    """
    parts = [(a, b) for a, b in pairwise(bounds) if b > a]
    n_threads = min(len(parts), len(parts) if n_threads is None else n_threads)
    errors: list[BaseException] = []
    waiting = iter(parts)
    lock = Lock()

    def work() -> None:
        try:
            while not errors:
                with lock:
                    part = next(waiting, None)
                if part is None:
                    return
                kernel(*part)
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=work) for _ in range(n_threads - 1)]
    for thread in threads:
        thread.start()
    work()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def even_bounds(work: np.ndarray, n_parts: int) -> list[int]:
    """Bounds that cut `work` into parts of about the same sum."""
    if n_parts == 1 or not len(work):
        return [0, len(work)]
    done = np.cumsum(work)
    shares = done[-1] * np.arange(1, n_parts) / n_parts
    return [0, *(np.searchsorted(done, shares) + 1).tolist(), len(work)]


_lock = Lock()
_limit: dict[str, Any] = {"users": 0}


@contextmanager
def restrained_blas(n_threads: int) -> Iterator[None]:
    """Run the linear algebra library on half of `n_threads` threads, at least one.

    Fits that run at once share the limit of the first; the last one to end
    restores what was before.
    """
    with _lock:
        if "controller" not in _limit:
            _limit["controller"] = ThreadpoolController()
        if _limit["users"] == 0:
            _limit["context"] = _limit["controller"].limit(
                limits=max(1, n_threads // 2), user_api="blas"
            )
        _limit["users"] += 1
    try:
        yield
    finally:
        with _lock:
            _limit["users"] -= 1
            if _limit["users"] == 0:
                _limit.pop("context").restore_original_limits()
