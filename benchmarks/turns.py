"""Systems side by side: everyone warm, then in turns, then a table."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from peers import NotInstalled, Opener, Outcome, Peer, Task


def open_systems(
    openers: dict[str, Opener], task: Task, stack: ExitStack, warm_up: Task | None = None
) -> tuple[dict[str, Peer], dict[str, str]]:
    """Load every system and fit it once; the second part says what is missing.

    The stack closes them. The first fit is of `warm_up`, less data of the same kind, where
    it is given.
    """
    ready: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name, open_system in openers.items():
        try:
            system = open_system(task)
            first = system if warm_up is None else open_system(warm_up)
        except NotInstalled as error:
            missing[name] = str(error)
            continue
        stack.callback(system.close)
        start = time.perf_counter()
        first.fit()
        print(f"warm-up  {name}: {time.perf_counter() - start:.2f} s", file=sys.stderr)
        if first is not system:
            first.close()
        ready[name] = system
    return ready, missing


def take_turns(
    systems: dict[str, Peer], repeats: int, fewer: Mapping[str, int] | None = None
) -> dict[str, list[Outcome]]:
    """Fit all systems in turn, `repeats` times over.

    A machine that slows down then slows all of them. `fewer` names systems that leave
    after so many turns.
    """
    outcomes: dict[str, list[Outcome]] = {name: [] for name in systems}
    last = fewer or {}
    for turn in range(repeats):
        for name, system in systems.items():
            if turn < last.get(name, repeats):
                outcomes[name].append(system.fit())
        print(f"turn {turn + 1} of {repeats} done", file=sys.stderr)
    return outcomes


def timing_rows(
    systems: dict[str, Peer], outcomes: dict[str, list[Outcome]], baseline: str
) -> list[dict[str, Any]]:
    """A row a system, in the order they ran: times and the objective."""
    medians = {
        name: statistics.median(outcome.seconds for outcome in found)
        for name, found in outcomes.items()
    }
    return [
        {
            "system": name,
            "method": systems[name].method,
            "median s": medians[name],
            "min s": min(outcome.seconds for outcome in found),
            "times ours": medians[name] / medians.get(baseline, float("nan")),
            "log-lik.": found[-1].log_likelihood,
        }
        for name, found in outcomes.items()
    ]


def describe_run(systems: dict[str, Peer], repeats: int) -> str:
    """Machine, turns and versions, for the record."""
    versions = "; ".join(dict.fromkeys(system.version for system in systems.values()))
    return (
        f"{os.cpu_count()} cores; Python {platform.python_version()}; {repeats} turns after a "
        f"warm-up\nversions: {versions}"
    )


def describe_missing(missing: dict[str, str]) -> str:
    """A line for every system that is not installed."""
    return "\n".join(f"{name}: not installed ({remedy})" for name, remedy in missing.items())
