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


def run_parts(kernel: Callable[[int, int], object], bounds: Sequence[int]) -> None:
    """Call ``kernel(bounds[i], bounds[i + 1])`` for every part, one thread each."""
    errors: list[BaseException] = []

    def guarded(first: int, last: int) -> None:
        try:
            kernel(first, last)
        except BaseException as error:
            errors.append(error)

    parts = [(a, b) for a, b in pairwise(bounds) if b > a]
    threads = [Thread(target=guarded, args=part) for part in parts[1:]]
    for thread in threads:
        thread.start()
    if parts:
        guarded(*parts[0])
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


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
