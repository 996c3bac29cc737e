"""Limits on the threads of the linear algebra library, which the whole process shares."""

from __future__ import annotations

import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from skmixed.threads import restrained_blas, run_parts, single_blas_thread, threads_of_fit


def blas_threads():
    """Of every linear algebra library in this process."""
    return [
        library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"
    ]


@pytest.fixture
def two():
    """Two threads to begin with, whatever the machine has."""
    with threadpool_limits(2, user_api="blas"):
        assert set(blas_threads()) <= {2}
        yield [2] * len(blas_threads())


def test_half_of_the_threads(two):
    one = [1] * len(two)
    for n_threads, expected in ((1, one), (2, one), (3, one), (4, two), (9, two)):
        with restrained_blas(n_threads):
            assert blas_threads() == expected
            with single_blas_thread():
                assert blas_threads() == one
            assert blas_threads() == expected
        assert blas_threads() == two


def test_a_lower_limit_of_the_user_holds(two):
    with threadpool_limits(1, user_api="blas"):
        with restrained_blas(8):
            assert blas_threads() == [1] * len(two)
        assert blas_threads() == [1] * len(two)
    assert blas_threads() == two


def within(n_threads):
    with restrained_blas(n_threads):
        return blas_threads()


def test_every_thread_sets_it(two):
    """Also after another one did."""
    one = [1] * len(two)
    assert within(2) == one
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(within, 2).result() == one
        assert pool.submit(within, 4).result() == two
        assert within(2) == one
        assert pool.submit(within, 2).result() == one
    assert blas_threads() == two


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_the_last_to_end_restores(two, first_to_end):
    """Two fits that overlap, in threads that both live on."""
    one = [1] * len(two)
    with ThreadPoolExecutor(1) as a, ThreadPoolExecutor(1) as b:
        pools, held = (a, b), (ExitStack(), ExitStack())
        for pool, stack in zip(pools, held, strict=True):
            pool.submit(stack.enter_context, restrained_blas(2)).result()
            assert blas_threads() == one
        pools[first_to_end].submit(held[first_to_end].close).result()
        assert blas_threads() == one
        pools[1 - first_to_end].submit(held[1 - first_to_end].close).result()
        assert blas_threads() == two
        assert within(2) == one
    assert blas_threads() == two


def test_threads_of_a_fit():
    """Those of the fit that runs in this thread; one where none does."""
    assert threads_of_fit() == 1
    with restrained_blas(3), ThreadPoolExecutor(1) as pool:
        assert threads_of_fit() == 3
        assert pool.submit(threads_of_fit).result() == 1
        with restrained_blas(2):
            assert threads_of_fit() == 2
        assert threads_of_fit() == 3
    assert threads_of_fit() == 1


def meet(n_threads):
    """Names of the threads in which parts run that wait for one another."""
    barrier, names = threading.Barrier(n_threads, timeout=60), []

    def kernel(first, last):
        barrier.wait()
        names.append(threading.current_thread().name)

    run_parts(kernel, range(n_threads + 1), n_threads)
    return sorted(names)


def test_threads_stay():
    assert len(set(meet(3))) == 3
    before = threading.active_count()
    for _ in range(20):
        meet(3)
    assert threading.active_count() == before


def test_parts_within_parts():
    done = []

    def outer(first, last):
        run_parts(lambda a, b: done.append((first, a)), range(5), 4)

    run_parts(outer, range(9), 4)
    assert sorted(done) == [(i, j) for i in range(8) for j in range(4)]


@pytest.mark.parametrize("n_threads", [1, 3])
def test_errors_end_all_parts(n_threads):
    running, begun = [], []

    def kernel(first, last):
        begun.append(first)
        if first == 2:
            raise KeyboardInterrupt
        running.append(first)
        time.sleep(0.005)
        running.remove(first)

    with pytest.raises(KeyboardInterrupt):
        run_parts(kernel, range(1000), n_threads)
    assert not running
    assert len(begun) < 100


def test_a_process_forks_without_threads():
    assert len(meet(2)) == 2
    others = [thread for thread in threading.enumerate() if thread.name.startswith("skmixed")]
    assert others
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert not any(thread.is_alive() for thread in others)
        assert len(pool.apply(meet, (2,))) == 2
    assert len(meet(2)) == 2
