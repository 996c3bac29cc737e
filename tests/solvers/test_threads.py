"""Limits on the threads of the linear algebra library, which the whole process shares."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from skmixed.threads import restrained_blas, single_blas_thread


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
