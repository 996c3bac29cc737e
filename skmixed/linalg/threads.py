"""Run a kernel on disjoint parts of its output in several threads.

Kernels release the interpreter lock, so plain threads suffice; they are made
for the call and gone after it, which leaves nothing to break when a process
forks. Parts never overlap, hence results do not depend on the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from threading import Thread

import joblib


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
