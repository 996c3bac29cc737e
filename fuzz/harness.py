"""What both fuzzers share: the loop, the clock, the record of faults, the state of the process.

A fuzzer is a function of (seed, case) that returns a word for what happened, or raises `Fault`.
Every case draws from a generator of its own, so any case can be run alone.
"""

from __future__ import annotations

import argparse
import builtins
import contextlib
import faulthandler
import json
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SECONDS_ALLOWED = 10.0
_DUMP_AFTER = 120.0
_LONGEST_DETAIL = 4000

Case = Callable[[int, int], str]


class Fault(Exception):
    """A promise that was broken: its kind, for grouping, and what was seen."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class OverTime(BaseException):
    """Raised by the clock; no `except Exception` can swallow it."""


@dataclass(frozen=True)
class Finding:
    """A fault with everything needed to see it again."""

    kind: str
    seed: int
    case: int
    detail: str


@dataclass
class Report:
    """What a run saw."""

    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)

    def kinds(self) -> Counter[str]:
        """How often each kind of fault was seen."""
        return Counter(finding.kind for finding in self.findings)

    def text(self) -> str:
        """The report as lines."""
        n_cases = sum(self.outcomes.values())
        lines = [f"{n_cases} cases: {dict(self.outcomes.most_common())}"]
        lines.append(f"slowest: {self.slowest[0]:.2f} s, case {self.slowest[1]}")
        for kind, count in self.kinds().most_common():
            first = next(finding for finding in self.findings if finding.kind == kind)
            detail = first.detail.strip().replace("\n", " / ")[:300]
            lines.append(f"FAULT {count:6d} x {kind}; first: --case {first.case}: {detail}")
        lines.append("no faults" if not self.findings else f"{len(self.findings)} faults")
        return "\n".join(lines)


@dataclass(frozen=True)
class World:
    """The state of the process that no call may change."""

    environment: dict[str, str]
    folder: str
    files: tuple[str, ...]
    filters: tuple[Any, ...]
    built_in: tuple[tuple[str, int], ...]
    python_random: Any
    numpy_random: tuple[Any, ...]
    float_errors: dict[str, str]
    limits: tuple[Any, ...]

    @classmethod
    def now(cls) -> World:
        """Look at the process."""
        generator = np.random.get_state()  # noqa: NPY002 - the global one is what is watched
        return cls(
            dict(os.environ),
            os.getcwd(),
            tuple(sorted(os.listdir())),
            tuple(warnings.filters),
            tuple((name, id(value)) for name, value in vars(builtins).items() if name != "_"),
            random.getstate(),
            tuple(part.tobytes() if isinstance(part, np.ndarray) else part for part in generator),
            dict(np.geterr()),
            (sys.getrecursionlimit(), tuple(sys.path), threading.active_count() < 100),
        )

    def refuse_changes(self) -> None:
        """Raise `Fault` when something is no longer as it was."""
        after = World.now()
        for name in self.__dataclass_fields__:
            before_value, after_value = getattr(self, name), getattr(after, name)
            if before_value != after_value:
                raise Fault(f"side effect on {name}", f"{before_value!r} became {after_value!r}")


@contextlib.contextmanager
def clock(seconds: float = SECONDS_ALLOWED) -> Iterator[None]:
    """Raise `OverTime` after so many seconds of processor time; where signals exist."""
    usable = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not usable:
        yield
        return

    def ring(number: int, frame: Any) -> None:
        raise OverTime

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def examine(check: Case, seed: int, case: int) -> tuple[str, Finding | None]:
    """Run one case."""
    try:
        with clock():
            return check(seed, case), None
    except Fault as fault:
        return "fault", Finding(fault.kind, seed, case, fault.detail[:_LONGEST_DETAIL])
    except OverTime:
        where = traceback.format_exc()
        return "fault", Finding("over time", seed, case, where[-_LONGEST_DETAIL:])
    except Exception as error:
        # The fuzzer itself went wrong; that has to be seen as well.
        where = traceback.format_exc()
        kind = f"fuzzer broke: {type(error).__name__}"
        return "fault", Finding(kind, seed, case, where[-_LONGEST_DETAIL:])


def run(
    check: Case, *, seed: int, first: int, count: int, output: Path | None = None, every: int = 0
) -> Report:
    """Run the cases from `first` on.

    Parameters
    ----------
    check : callable
        The fuzzer.
    seed, first, count : int
        Cases `first` to `first + count - 1` of this seed.
    output : Path, optional
        File that findings are appended to, a line of JSON each.
    every : int, default=0
        Print progress after so many cases; 0: never.

    Returns
    -------
    Report
        Outcomes and findings.
    """
    report = Report()
    began = time.perf_counter()
    for case in range(first, first + count):
        started = time.process_time()
        if case % 100 == 0:
            faulthandler.dump_traceback_later(_DUMP_AFTER + 100, exit=False)
        outcome, finding = examine(check, seed, case)
        report.outcomes[outcome] += 1
        report.slowest = max(report.slowest, (time.process_time() - started, case))
        if finding is not None:
            report.findings.append(finding)
            if output is not None:
                with output.open("a", encoding="utf-8", errors="backslashreplace") as file:
                    file.write(json.dumps(asdict(finding)) + "\n")
        if every and (case - first + 1) % every == 0:
            passed = time.perf_counter() - began
            print(f"{case - first + 1} cases, {passed:.0f} s, {report.kinds()}", flush=True)
    faulthandler.cancel_dump_traceback_later()
    return report


def main(check: Case, description: str, default_count: int) -> int:
    """The command line of a fuzzer; the exit code is 1 when there were faults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--count", type=int, default=default_count, help="number of cases")
    parser.add_argument("--seed", type=int, default=0, help="each seed has cases of its own")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--case", type=int, help="run this case alone and show its fault in full")
    parser.add_argument("--output", type=Path, help="file that faults are appended to, as JSON")
    options = parser.parse_args()
    faulthandler.enable()
    if options.case is not None:
        outcome, finding = examine(check, options.seed, options.case)
        print(outcome if finding is None else f"{finding.kind}\n{finding.detail}")
        return int(finding is not None)
    report = run(
        check,
        seed=options.seed,
        first=options.first,
        count=options.count,
        output=options.output.resolve() if options.output else None,
        every=max(1000, options.count // 50),
    )
    print(report.text())
    return int(bool(report.findings))
