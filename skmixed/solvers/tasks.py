"""Tasks that write to a few places each, done by any thread as soon as they can be.

Buttari, Langou, Kurzak and Dongarra (2009), Parallel Computing 35, 38-53. What a task reads
and overwrites is done in the order of the list, so results do not depend on the threads.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable
from threading import Condition
from typing import Generic, TypeVar

from skmixed.threads import share

Task = TypeVar("Task")


class TaskList(Generic[Task]):
    """Tasks in an order in which they can be done, and what each has to wait for.

    Parameters
    ----------
    tasks : iterable of (task, reads, writes)
        What a task reads and the places that it writes to; what it writes it may read.

    Examples
    --------
    >>> from skmixed.solvers.tasks import TaskList
    >>> tasks = TaskList([("a", [], ["x"]), ("b", [], ["y"]), ("c", ["x", "y"], ["z"])])
    >>> tasks.run(print)
    a
    b
    c
    """

    def __init__(self, tasks: Iterable[tuple[Task, Iterable[Hashable], Iterable[Hashable]]]):
        self._tasks: list[Task] = []
        self._next: list[list[int]] = []
        self._n_before: list[int] = []
        writer: dict[Hashable, int] = {}
        readers: dict[Hashable, list[int]] = {}
        for number, (task, reads, writes) in enumerate(tasks):
            before: set[int] = set()
            for place in reads:
                if place in writer:
                    before.add(writer[place])
                readers.setdefault(place, []).append(number)
            for place in writes:
                if place in writer:
                    before.add(writer[place])
                before.update(readers.pop(place, ()))
                writer[place] = number
            before.discard(number)
            self._tasks.append(task)
            self._next.append([])
            self._n_before.append(len(before))
            for earlier in before:
                self._next[earlier].append(number)

    def run(self, perform: Callable[[Task], object], n_threads: int = 1) -> None:
        """Call `perform` with every task, in `n_threads` threads at once."""
        if n_threads <= 1:
            for task in self._tasks:
                perform(task)
            return
        n_before = self._n_before.copy()
        ready = [number for number, n in enumerate(n_before) if n == 0]
        n_left = len(self._tasks)
        news = Condition()

        def work() -> None:
            nonlocal n_left
            done = None
            while True:
                with news:
                    if done is not None:
                        n_left -= 1
                        n_new = 0
                        for number in self._next[done]:
                            n_before[number] -= 1
                            if n_before[number] == 0:
                                heapq.heappush(ready, number)
                                n_new += 1
                        if n_new > 1 or n_left <= 0:
                            news.notify_all()
                    while not ready and n_left > 0:
                        news.wait()
                    if n_left <= 0:
                        return
                    done = heapq.heappop(ready)
                perform(self._tasks[done])

        def end() -> None:
            nonlocal n_left
            with news:
                n_left = 0
                news.notify_all()

        share(work, n_threads, end)
