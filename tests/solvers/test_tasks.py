"""Tasks are done once each, after all that they read or overwrite."""

import threading

import numpy as np
import pytest

from skmixed.solvers.tasks import TaskList


def random_tasks(seed, n=60):
    rng = np.random.default_rng(seed)
    return [(k, rng.integers(0, 6, 2).tolist(), rng.integers(0, 6, 1).tolist()) for k in range(n)]


def values_after(tasks, run):
    """Every task makes a number of what it reads and of its own, as Python would in order."""
    values = [0] * 6
    of = {k: (reads, writes) for k, reads, writes in tasks}

    def perform(k):
        reads, writes = of[k]
        values[writes[0]] = hash((k, values[writes[0]], *(values[place] for place in reads)))

    run(perform)
    return values


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_threads", [1, 2, 5])
def test_as_in_order(seed, n_threads):
    tasks = random_tasks(seed)
    expected = values_after(tasks, lambda perform: [perform(k) for k, _, _ in tasks])
    listed = TaskList(tasks)
    for _ in range(2):  # a list can be run again
        assert values_after(tasks, lambda perform: listed.run(perform, n_threads)) == expected


@pytest.mark.parametrize("n_threads", [1, 4])
def test_an_error_ends_all(n_threads):
    done = []

    def perform(task):
        done.append(task)
        if task == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TaskList((k, [], [k]) for k in range(10_000)).run(perform, n_threads)
    assert len(done) < 10_000


def test_tasks_wait_for_others():
    """Two threads work at once, and the third task begins after both."""
    both = threading.Barrier(2, timeout=60)
    order = []

    def perform(task):
        if task < 2:
            both.wait()
        order.append(task)

    TaskList([(0, [], ["a"]), (1, [], ["b"]), (2, ["a", "b"], ["c"])]).run(perform, 2)
    assert order[-1] == 2
    assert len(order) == 3


def test_nothing_to_do():
    TaskList([]).run(print, 2)
