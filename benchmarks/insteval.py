"""Time skmixed and its peers side by side on the InstEval ratings.

    python benchmarks/insteval.py
    python benchmarks/insteval.py --repeats 3 --peers glmm,lme4 --csv insteval.csv

Every system has its data in memory and is fitted once untimed; then the systems take
turns, so that a machine that slows down slows all of them. Times compare within one run
only. A system that is missing is listed as such.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
from options import count, peer_names
from peers import OURS, PEERS, Outcome, Peer, Task
from tables import show
from turns import describe_missing, describe_run, open_systems, take_turns, timing_rows

from skmixed.datasets import load_insteval

# lme4 1.1-31 by maximum likelihood; its department effects are in examples/.
LME4_INTERCEPT = 3.28258118257538
LME4_EFFECTS = Path(__file__).parents[1] / "examples" / "insteval_lme4_effects.csv.gz"
GROUPS = ("s", "d", "dept")
BASELINE = next(iter(OURS))


def parse_arguments() -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=count, default=5, help="timed fits of every system")
    parser.add_argument(
        "--peers", type=peer_names, default=list(PEERS), help="comma-separated; '' for none"
    )
    parser.add_argument("--csv", type=Path, help="write the table to this file as well")
    return parser.parse_args()


def department_error(outcome: Outcome, reference: pd.Series) -> float:
    """Largest distance of intercept + department effect from lme4's."""
    assert outcome.effects is not None
    found = outcome.coefficients["intercept"] + outcome.effects.reindex(reference.index)
    return float((found - reference).abs().max())


def read_reference() -> pd.Series:
    """Intercept + department effect of lme4, by department."""
    effects = pd.read_csv(LME4_EFFECTS)
    departments = effects[effects["group"] == "dept"]
    return LME4_INTERCEPT + departments.set_index("level")["effect"]


def tabulate(systems: dict[str, Peer], outcomes: dict[str, list[Outcome]]) -> pd.DataFrame:
    """One row a system, in the order they ran."""
    reference = read_reference()
    timings = timing_rows(systems, outcomes, BASELINE)
    rows = []
    for timing, found in zip(timings, outcomes.values(), strict=True):
        error = department_error(found[-1], reference)
        rows.append(timing | found[-1].estimates() | {"dept error": error})
    return pd.DataFrame(rows)


def main() -> None:
    """Run the benchmark and print its table."""
    arguments = parse_arguments()
    X, y = load_insteval(return_X_y=True)
    task = Task(X=X[["service", *GROUPS]], y=y, groups=GROUPS, effects_of="dept")
    openers = dict(OURS)
    for name in arguments.peers:
        openers |= PEERS[name]

    with ExitStack() as stack:
        systems, missing = open_systems(openers, task, stack)
        outcomes = take_turns(systems, arguments.repeats)

    table = tabulate(systems, outcomes)
    print(f"InstEval, {len(y):,} rows; {describe_run(systems, arguments.repeats)}")
    if len(table):
        print(show(table))
    if missing:
        print(describe_missing(missing))
    print("log-lik.: log-likelihood (ml), REML criterion (reml) or lower bound (mean field)")
    print("dept error: largest |intercept + department - lme4's|, by maximum likelihood")
    if arguments.csv is not None:
        absent = pd.DataFrame({"system": list(missing), "method": "not installed"})
        pd.concat([table, absent]).to_csv(arguments.csv, index=False)


if __name__ == "__main__":
    main()
