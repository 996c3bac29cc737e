"""Time skmixed and gpboost side by side on two large crossed factors.

    python benchmarks/crossed.py
    python benchmarks/crossed.py --rows 100000 --levels 4000 800 --repeats 1

Gaussian response, one covariate, heavy-tailed factors with integer identifiers in a data
frame. Every system is fitted once untimed, then the systems take turns. The estimates
are printed next to what the data were drawn from, to show that all solve the same
problem; skmixed fits by REML, gpboost has maximum likelihood only, and with so many
levels the two agree to more digits than either variance is known.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack

import pandas as pd
from fits import OUR_NAME, WARM_UP_LEVELS, WARM_UP_ROWS, load_compiled_code
from options import crossed_options, peer_names
from peers import PEERS, Opener, Skmixed
from simulated import simulate
from tables import compare_estimates, show
from turns import describe_missing, describe_run, open_systems, take_turns, timing_rows

ROWS = 1_000_000
LEVELS = (40_000, 8_000)


def crossed_parser(description: str) -> argparse.ArgumentParser:
    """Options of a comparison on simulated crossed data."""
    parser = crossed_options(description, ROWS, LEVELS, repeats=3)
    parser.add_argument(
        "--peers",
        type=peer_names,
        default=["gpboost-iterative"],
        help="comma-separated; '' for none; lme4 and numpyro know InstEval only",
    )
    return parser


def compare(
    arguments: argparse.Namespace, family: str = "gaussian", peer_repeats: int | None = None
) -> None:
    """Fit side by side and print the tables.

    With `peer_repeats` the peers leave after so many turns, and their warm-up is a fit of
    less data: for systems that take minutes.
    """
    openers: dict[str, Opener] = {
        OUR_NAME: lambda task: Skmixed(task, method="reml", solver=arguments.solver)
    }
    for name in arguments.peers:
        openers |= PEERS[name]
    task, truth = simulate(arguments.rows, arguments.levels, seed=arguments.seed, family=family)
    load_compiled_code(len(arguments.levels), slopes=False, family=family)
    small, fewer = None, {}
    if peer_repeats is not None:
        levels = [WARM_UP_LEVELS] * len(arguments.levels)
        small, _ = simulate(WARM_UP_ROWS, levels, family=family)
        fewer = {name: peer_repeats for name in openers if name != OUR_NAME}

    with ExitStack() as stack:
        systems, missing = open_systems(openers, task, stack, small)
        outcomes = take_turns(systems, arguments.repeats, fewer)

    levels = " x ".join(f"{n:,}" for n in arguments.levels)
    print(f"{arguments.rows:,} rows, {levels} levels; {describe_run(systems, arguments.repeats)}")
    rows = timing_rows(systems, outcomes, OUR_NAME)
    table = pd.DataFrame(
        [row | {"solver": outcomes[row["system"]][-1].details.get("solver", "")} for row in rows]
    )
    print(show(table))
    last = {name: found[-1].estimates() for name, found in outcomes.items()}
    print(show(compare_estimates(truth, last)))
    if missing:
        print(describe_missing(missing))


def main() -> None:
    """Run the benchmark."""
    compare(crossed_parser(__doc__.splitlines()[0]).parse_args())


if __name__ == "__main__":
    main()
