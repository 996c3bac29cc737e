"""How long Ctrl-C has to wait during fits of several kinds.

    python benchmarks/interrupts.py
    python benchmarks/interrupts.py --share 0.1 --kinds rows text

A timer sends a signal a hundred times a second, on which Python acts where it could act
on an interrupt. The longest time between two of them is what an interrupt waits at
most; the last column says where that was. Needs signals of Unix. `--share` takes a part of
the rows.
"""

from __future__ import annotations

import argparse
import signal
import time
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from simulated import make_binary, make_normal
from tables import show

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor

PERIOD = 0.01


@dataclass
class Waits:
    """The longest wait so far, and the line that Python was at after it."""

    longest: float = 0.0
    where: str = ""
    _last: float = field(default_factory=time.monotonic)

    def tick(self, number: int, frame: Any) -> None:
        """Take the time."""
        wait = time.monotonic() - self._last
        if wait > self.longest:
            file = frame.f_code.co_filename.rpartition("/")[2]
            self.longest, self.where = wait, f"{file}:{frame.f_lineno}"
        self._last = time.monotonic()


@contextmanager
def watched() -> Any:
    """Watch over the block."""
    waits = Waits()
    before = signal.signal(signal.SIGALRM, waits.tick)
    signal.setitimer(signal.ITIMER_REAL, PERIOD, PERIOD)
    try:
        yield waits
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def crossed(make: Callable[..., Any], rows: int, levels: tuple[int, ...], share: float) -> Any:
    """Rows and response of crossed factors."""
    rows, *levels = (max(int(share * number), 10) for number in (rows, *levels))
    X, y, _ = make(rows, levels, n_features=1, random_state=0)
    return X, y


def text(X: Any, y: Any) -> Any:
    """The same rows with names of levels."""
    return X.assign(**{name: name + " no. " + X[name].astype(str) for name in ("g0", "g1")}), y


def kinds(share: float) -> dict[str, tuple[Callable[[], Any], Any]]:
    """Data and model by name."""
    groups = ["g0", "g1"]
    return {
        "rows": (
            lambda: crossed(make_normal, 20_000_000, (200_000, 50_000), share),
            MixedEffectsVIRegressor(groups),
        ),
        "text": (
            lambda: text(*crossed(make_normal, 5_000_000, (100_000, 20_000), share)),
            MixedEffectsVIRegressor(groups),
        ),
        "levels": (
            lambda: crossed(make_normal, 5_000_000, (10_000, 2_000), share),
            MixedEffectsVIRegressor(["(1 | g0:g1)", "g0"]),
        ),
        "dense tail": (
            lambda: crossed(make_normal, 200_000, (20_000, 6_000), share),
            MixedEffectsVIRegressor(groups, solver="direct"),
        ),
        "classes": (
            lambda: crossed(make_binary, 3_000_000, (100_000, 20_000), share),
            MixedEffectsVIClassifier(groups, max_iter=6),
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="*", choices=list(kinds(1.0)), default=list(kinds(1.0)))
    parser.add_argument("--share", type=float, default=1.0, help="of the rows and levels")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    table = []
    for name in arguments.kinds:
        data, model = kinds(arguments.share)[name]
        # compile first: a call of the compiler is not what is measured
        model.fit(*kinds(0.001)[name][0]())
        X, y = data()
        began = time.monotonic()
        with watched() as waits:
            model.fit(X, y)
        seconds = time.monotonic() - began
        table.append(
            {
                "kind": name,
                "rows": f"{len(X):,}",
                "seconds": seconds,
                "longest wait": waits.longest,
                "where": waits.where,
            }
        )
    print(show(pd.DataFrame(table)))


if __name__ == "__main__":
    main()
