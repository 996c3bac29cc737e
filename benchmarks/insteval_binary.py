"""Time skmixed and its peers side by side on binary InstEval ratings.

    python benchmarks/insteval_binary.py
    python benchmarks/insteval_binary.py --repeats 1 --peers glmm --csv binary.csv

The response is 1 for a rating of 4 or 5, with logit link. Every system has its data in
memory and is fitted once untimed; then the systems take turns. Times compare within one
run only.

skmixed finds the best Gaussian posterior (Opper and Archambeau 2009, Neural Computation
21), under `reml` with flat priors on the fixed effects; the peers maximise Laplace's
approximation of the likelihood. The two approximations differ by several per cent of a
variance, so the table of estimates has a reference for skmixed's.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from options import count, peer_names
from peers import OURS_BINARY, PEERS, Task
from tables import compare_estimates, show
from turns import describe_missing, describe_run, open_systems, take_turns, timing_rows

from skmixed.datasets import load_insteval

GROUPS = ("s", "d", "dept")
GOOD_RATING = 4
DEFAULT_PEERS = ("gpboost-iterative", "glmm")
BASELINE = next(iter(OURS_BINARY))

# The best Gaussian posterior with the fixed effects integrated, found once by a separate
# NumPy program that shares no code with skmixed.
REFERENCE = {
    "intercept": -0.15948,
    "service": -0.13986,
    "var s": 0.2342,
    "var d": 0.6290,
    "var dept": 0.01543,
}
REFERENCE_LABEL = "Gaussian VI"


def parse_arguments() -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=count, default=3, help="timed fits of every system")
    parser.add_argument(
        "--peers",
        type=peer_names,
        default=list(DEFAULT_PEERS),
        help="comma-separated; '' for none; lme4 and numpyro know normal responses only",
    )
    parser.add_argument("--csv", type=Path, help="write times and estimates to this file as well")
    return parser.parse_args()


def load_task() -> Task:
    """Ratings as 0 and 1."""
    X, y = load_insteval(return_X_y=True)
    good = (y >= GOOD_RATING).astype(np.int64)
    return Task(X=X[["service", *GROUPS]], y=good, groups=GROUPS, family="bernoulli")


def main() -> None:
    """Run the benchmark and print its tables."""
    arguments = parse_arguments()
    task = load_task()
    openers = dict(OURS_BINARY)
    for name in arguments.peers:
        openers |= PEERS[name]

    with ExitStack() as stack:
        systems, missing = open_systems(openers, task, stack)
        outcomes = take_turns(systems, arguments.repeats)

    last = {name: found[-1].estimates() for name, found in outcomes.items()}
    table = pd.DataFrame(timing_rows(systems, outcomes, BASELINE))
    print(f"InstEval, y >= {GOOD_RATING}; {describe_run(systems, arguments.repeats)}")
    print(show(table))
    print(show(compare_estimates(REFERENCE, last, REFERENCE_LABEL)))
    print("log-lik.: lower bound (skmixed) or Laplace's approximation (peers)")
    if missing:
        print(describe_missing(missing))
    if arguments.csv is not None:
        estimates = pd.DataFrame([last[name] for name in table["system"]])
        pd.concat([table, estimates], axis="columns").to_csv(arguments.csv, index=False)


if __name__ == "__main__":
    main()
