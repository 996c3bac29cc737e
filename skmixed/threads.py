"""Threads of the kernels, and of the linear algebra library.

Kernels release the interpreter lock, so plain threads suffice. They stay and wait for
work, since to start one takes as long as a small pass; a process that forks has none
meanwhile. Parts never overlap, hence results do not depend on the number of threads.

The linear algebra library's own threads wait for one another by spinning. Where
one of their cores is taken by another process, a factorisation of a hundredth
of a second can take a second; half of the cores is as fast where two "cores"
are one with hyper-threading, and leaves room.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from itertools import pairwise
from threading import Lock
from time import monotonic
from typing import Any

import joblib
import numpy as np
from threadpoolctl import OpenBLASController, ThreadpoolController

_WORTH_THREADS = 131_072
"""Rows or cells from which threads share a pass over them."""

_MOMENT = 2_000_000
"""Rows or cells that a pass takes some hundredths of a second for."""


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
        cores = _cores(int(monotonic()))
        return max(1, min(cores, int(limit))) if limit.isdigit() else cores
    if n_jobs < 0:
        return max(1, _cores(int(monotonic())) + 1 + n_jobs)
    return n_jobs


@lru_cache(maxsize=1)
def _cores(second: int) -> int:
    """How many cores there are in this second: joblib reads files to find out."""
    return joblib.cpu_count()


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
    if len(bounds) == 2:
        if bounds[1] > bounds[0]:
            kernel(bounds[0], bounds[1])
        return
    parts = [(a, b) for a, b in pairwise(bounds) if b > a]
    n_threads = min(len(parts), len(parts) if n_threads is None else n_threads)
    if n_threads <= 1:
        for part in parts:
            kernel(*part)
        return
    stop = False
    waiting = iter(parts)
    lock = Lock()

    def work() -> None:
        while not stop:
            with lock:
                part = next(waiting, None)
            if part is None:
                return
            kernel(*part)

    def end() -> None:
        nonlocal stop
        stop = True

    share(work, n_threads, end)


def share(work: Callable[[], None], n_threads: int, end: Callable[[], None]) -> None:
    """Call `work` in this thread and in others at once, and wait for all.

    Parameters
    ----------
    work : callable
        Takes its share of what there is to do, until nothing is left. It has to return
        at once where another thread has done everything.
    n_threads : int
        Threads at most, this one included.
    end : callable
        Makes all calls of `work` return soon; called where one of them failed.
    """

    def guarded() -> None:
        try:
            work()
        except BaseException:
            end()
            raise

    helpers = _helpers.call(guarded, n_threads - 1)
    try:
        guarded()
        # those that have not begun by now have nothing to do
        begun = [helper for helper in helpers if not helper.cancel()]
        for helper in begun:
            helper.result()
    except BaseException:
        end()
        # what they write to must not change after this call
        wait([helper for helper in helpers if not helper.cancel()])
        raise


class _Helpers:
    """Threads that stay for the life of the process; made where they are first needed."""

    _pool: ThreadPoolExecutor | None

    def __init__(self) -> None:
        self.forget()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(before=self.dismiss, after_in_child=self.forget)

    def call(self, work: Callable[[], None], n_calls: int) -> list[Future[None]]:
        """Calls of `work`, begun as soon as there is a thread for each."""
        if n_calls < 1:
            return []
        with self._lock:
            if self._pool is None:
                # it starts a thread only where none is idle
                self._pool = ThreadPoolExecutor(_MOST_THREADS, "skmixed")
            try:
                calls = [self._pool.submit(work) for _ in range(n_calls)]
            except RuntimeError:  # the interpreter is about to end, or there can be no thread
                return []
            self._calls.update(calls)
        for call in calls:
            call.add_done_callback(self._calls.discard)
        return calls

    def dismiss(self) -> None:
        """End the threads if they are idle: a process should fork without any."""
        with self._lock:
            if self._pool is not None and not self._calls:
                self._pool.shutdown()
                self._pool = None

    def forget(self) -> None:
        """Begin anew, without threads."""
        self._lock = Lock()
        self._pool = None
        self._calls: set[Future[None]] = set()


_MOST_THREADS = 1024

_helpers = _Helpers()


def enough_parts(work: int, n_threads: int = 1) -> int:
    """Into how many parts to cut a pass over `work` rows or cells.

    A thread costs more than it brings where there is little to do, and Python acts on an
    interrupt between parts only: none should take longer than a moment.
    """
    return max(n_threads if work > _WORTH_THREADS else 1, -(-work // _MOMENT))


def even_bounds(work: np.ndarray, n_parts: int) -> list[int]:
    """Bounds that cut `work` into parts of about the same sum."""
    if n_parts == 1 or not len(work):
        return [0, len(work)]
    done = np.cumsum(work)
    shares = done[-1] * np.arange(1, n_parts) / n_parts
    return [0, *(np.searchsorted(done, shares) + 1).tolist(), len(work)]


class _BlasLimit:
    """A limit on the threads of the linear algebra library, which fits that run at once share.

    The first one to ask for it sets it; the last one to end restores what was before.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._limiter: Any = None

    @contextmanager
    def held(self, n_threads: int) -> Iterator[None]:
        """Keep to `n_threads`, or to less where less was allowed, while the block runs."""
        with self._lock:
            if self._users == 0:
                controller = _controller()
                allowed = {library.num_threads for library in controller.lib_controllers}
                least = min([n_threads, *allowed])
                # to change a limit takes longer than to find that it holds
                if allowed != {least}:
                    with _in_control():
                        self._limiter = controller.limit(limits=least)
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0 and self._limiter is not None:
                    with _in_control():
                        self._limiter.restore_original_limits()
                    self._limiter = None


@cache
def _controller() -> ThreadpoolController:
    """The libraries of this process; to look for them takes longer than a small fit."""
    return ThreadpoolController().select(user_api="blas")


@contextmanager
def _in_control() -> Iterator[None]:
    """Let this thread change limits, and any other one afterwards.

    From version 3.8 on threadpoolctl ignores all threads but the first that set one, until that
    says that it is done; but the fit that sets a limit need not be the one that restores it.
    """
    release = getattr(OpenBLASController, "clear_controlling_thread", None)
    if release is None:
        yield
        return
    release(force=True)
    try:
        yield
    finally:
        release(force=True)


_during_fits = _BlasLimit()
_during_rounded_steps = _BlasLimit()


_threads_of_fit: ContextVar[int] = ContextVar("_threads_of_fit", default=1)


@contextmanager
def restrained_blas(n_threads: int) -> Iterator[None]:
    """Run the linear algebra library on half of `n_threads` threads, at least one.

    Inside, `threads_of_fit` is `n_threads`.
    """
    with using_threads(n_threads), _during_fits.held(max(1, n_threads // 2)):
        yield


@contextmanager
def using_threads(n_threads: int) -> Iterator[None]:
    """Let what runs here use `n_threads`: inside, `threads_of_fit` says so."""
    token = _threads_of_fit.set(n_threads)
    try:
        yield
    finally:
        _threads_of_fit.reset(token)


def share_rows(work: Callable[[int, int], object], n_rows: int) -> None:
    """Call ``work(first, end)`` for ranges of all rows, in the threads of the fit."""
    n_threads = threads_of_fit()
    bounds = np.linspace(0, n_rows, enough_parts(n_rows, n_threads) + 1).astype(int)
    run_parts(work, bounds.tolist(), n_threads)


def threads_of_fit() -> int:
    """How many threads what runs here may use; one where nothing was said."""
    return _threads_of_fit.get()


def single_blas_thread() -> AbstractContextManager[None]:
    """Run the linear algebra library on one thread.

    For what is shared between threads of ours, or computed in single precision: how it rounds
    depends on the number of the library's threads, and a fit that should not depend on it
    cannot have that in its seventh digit.
    """
    return _during_rounded_steps.held(1)
