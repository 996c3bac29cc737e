"""Time skmixed and its peers side by side on the InstEval ratings.

    python benchmarks/insteval.py
    python benchmarks/insteval.py --repeats 3 --peers glmm,lme4 --csv insteval.csv

Every system has its data in memory and is fitted once untimed; then the systems take
turns, so that a machine that slows down slows all of them. Times compare within one run
only. A system that is missing is listed as such.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
from peers import OURS, PEERS, NotInstalled, Opener, Outcome, Peer

from skmixed.datasets import load_insteval

# lme4 1.1-31 by maximum likelihood; its department effects are in examples/.
LME4_INTERCEPT = 3.28258118257538
LME4_EFFECTS = Path(__file__).parents[1] / "examples" / "insteval_lme4_effects.csv.gz"
BASELINE = next(iter(OURS))


def parse_arguments() -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="timed fits of every system")
    parser.add_argument("--peers", default=",".join(PEERS), help="comma-separated; '' for none")
    parser.add_argument("--csv", type=Path, help="write the table to this file as well")
    arguments = parser.parse_args()
    arguments.peers = [name.strip() for name in arguments.peers.split(",") if name.strip()]
    unknown = [name for name in arguments.peers if name not in PEERS]
    if unknown:
        parser.error(f"--peers {','.join(unknown)} is not known; choose from {','.join(PEERS)}")
    if arguments.repeats < 1:
        parser.error(f"--repeats {arguments.repeats} must be at least 1")
    return arguments


def open_systems(
    openers: dict[str, Opener], frame: pd.DataFrame, stack: ExitStack
) -> tuple[dict[str, Peer], dict[str, str]]:
    """Load every system and fit it once; the second part says what is missing.

    The stack closes them.
    """
    ready: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name, open_system in openers.items():
        try:
            system = open_system(frame)
        except NotInstalled as error:
            missing[name] = str(error)
            continue
        stack.callback(system.close)
        start = time.perf_counter()
        system.fit()
        print(f"warm-up  {name}: {time.perf_counter() - start:.2f} s", file=sys.stderr)
        ready[name] = system
    return ready, missing


def take_turns(systems: dict[str, Peer], repeats: int) -> dict[str, list[Outcome]]:
    """Fit all systems in turn, `repeats` times over."""
    outcomes: dict[str, list[Outcome]] = {name: [] for name in systems}
    for turn in range(repeats):
        for name, system in systems.items():
            outcomes[name].append(system.fit())
        print(f"turn {turn + 1} of {repeats} done", file=sys.stderr)
    return outcomes


def department_error(outcome: Outcome, reference: pd.Series) -> float:
    """Largest distance of intercept + department effect from lme4's."""
    found = outcome.intercept + outcome.department_effects.reindex(reference.index)
    return float((found - reference).abs().max())


def read_reference() -> pd.Series:
    """Intercept + department effect of lme4, by department."""
    effects = pd.read_csv(LME4_EFFECTS)
    departments = effects[effects["group"] == "dept"]
    return LME4_INTERCEPT + departments.set_index("level")["effect"]


def tabulate(systems: dict[str, Peer], outcomes: dict[str, list[Outcome]]) -> pd.DataFrame:
    """One row a system, in the order they ran."""
    reference = read_reference()
    medians = {
        name: statistics.median(outcome.seconds for outcome in found)
        for name, found in outcomes.items()
    }
    rows = []
    for name, found in outcomes.items():
        last = found[-1]
        rows.append(
            {
                "system": name,
                "method": systems[name].method,
                "median s": medians[name],
                "min s": min(outcome.seconds for outcome in found),
                "times ours": medians[name] / medians.get(BASELINE, float("nan")),
                "log-lik.": last.log_likelihood,
                "intercept": last.intercept,
                "service": last.service,
                **{f"var {key}": value for key, value in last.variances.items()},
                "dept error": department_error(last, reference),
            }
        )
    return pd.DataFrame(rows)


def show(table: pd.DataFrame) -> str:
    """The table as text, each column with the digits it deserves."""
    digits = {"median s": 3, "min s": 3, "times ours": 1, "log-lik.": 3}
    formatters = {
        column: f"{{:.{digits.get(column, 5)}f}}".format
        for column in table.select_dtypes("number").columns
    }
    return table.to_string(index=False, formatters=formatters)


def main() -> None:
    """Run the benchmark and print its table."""
    arguments = parse_arguments()
    frame = load_insteval().frame
    openers = dict(OURS)
    for name in arguments.peers:
        openers |= PEERS[name]

    with ExitStack() as stack:
        systems, missing = open_systems(openers, frame, stack)
        outcomes = take_turns(systems, arguments.repeats)

    table = tabulate(systems, outcomes)
    print(
        f"InstEval, {len(frame):,} rows; {os.cpu_count()} cores; Python "
        f"{platform.python_version()}; {arguments.repeats} turns after a warm-up"
    )
    print("versions: " + "; ".join(dict.fromkeys(s.version for s in systems.values())))
    if len(table):
        print(show(table))
    for name, remedy in missing.items():
        print(f"{name}: not installed ({remedy})")
    print("log-lik.: log-likelihood (ml), REML criterion (reml) or lower bound (mean field)")
    print("dept error: largest |intercept + department - lme4's|, by maximum likelihood")
    if arguments.csv is not None:
        absent = pd.DataFrame({"system": list(missing), "method": "not installed"})
        pd.concat([table, absent]).to_csv(arguments.csv, index=False)


if __name__ == "__main__":
    main()
