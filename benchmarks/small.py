"""Time fits of small models, skmixed and glmm side by side.

    python benchmarks/small.py
    python benchmarks/small.py --repeats 5

One factor and one covariate, 300 to 20,000 rows, normal, binary and count responses, and the
sleepstudy data with slopes. Simulations, bootstraps and lessons consist of such fits. Every
system is fitted once untimed; then the systems take turns. Times compare within one run only.
"""

from __future__ import annotations

import argparse
import statistics
from contextlib import ExitStack
from functools import partial

import numpy as np
import pandas as pd
from options import count
from peers import PEERS, Task
from peers.ours import Skmixed
from tables import show
from turns import describe_missing, describe_run, open_systems, take_turns

from skmixed.datasets import load_sleepstudy

SIZES = ((300, 20), (2_000, 300), (20_000, 2_000))
FAMILIES = ("gaussian", "bernoulli", "poisson")


def simulated(n_rows: int, n_levels: int, family: str) -> Task:
    """One factor, one covariate."""
    rng = np.random.default_rng(n_rows)
    groups, x = rng.integers(n_levels, size=n_rows), rng.standard_normal(n_rows)
    predictor = 0.2 + 0.3 * x + 0.7 * rng.standard_normal(n_levels)[groups]
    y = {
        "gaussian": lambda: predictor + rng.standard_normal(n_rows),
        "bernoulli": lambda: (predictor + rng.logistic(size=n_rows) > 0.0).astype(np.int64),
        "poisson": lambda: rng.poisson(np.exp(predictor)),
    }[family]()
    X = pd.DataFrame({"x": x, "g": groups})
    return Task(X=X, y=pd.Series(y), groups=("g",), family=family)


def sleepstudy() -> Task:
    """Reaction times with a slope per subject."""
    frame = load_sleepstudy().frame
    X = frame[["Days", "Subject"]]
    return Task(X=X, y=frame["Reaction"], groups=("Subject",), slopes=("Days",), correlated=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=count, default=15, help="timed fits of every system")
    repeats = parser.parse_args().repeats
    tasks = {
        f"{family}, {n:,} rows, {m:,} levels": simulated(n, m, family)
        for family in FAMILIES
        for n, m in SIZES
    }
    tasks["sleepstudy with slopes"] = sleepstudy()
    rows = []
    for label, task in tasks.items():
        method = "reml" if task.family == "gaussian" else "ml"
        openers = {"skmixed": partial(Skmixed, method=method)} | PEERS["glmm"]
        with ExitStack() as stack:
            systems, missing = open_systems(openers, task, stack)
            outcomes = take_turns(systems, repeats)
        seconds = {k: statistics.median(o.seconds for o in v) for k, v in outcomes.items()}
        mine = seconds.pop("skmixed")
        rows += [
            {"model": label, "ms": 1e3 * mine, "peer": peer, "peer ms": 1e3 * other,
             "times the peer's": mine / other}
            for peer, other in seconds.items()
        ]  # fmt: skip
    print(describe_run(systems, repeats))
    print(show(pd.DataFrame(rows)))
    if missing:
        print(describe_missing(missing))


if __name__ == "__main__":
    main()
