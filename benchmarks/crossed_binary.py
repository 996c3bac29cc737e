"""Time skmixed and gpboost on binary responses of two large crossed factors.

    python benchmarks/crossed_binary.py
    python benchmarks/crossed_binary.py --rows 100000 --levels 4000 800
    python benchmarks/crossed_binary.py --peers '' --rows 1e7 --levels 400000 80000

The data of crossed.py with a Bernoulli response and logit link. gpboost takes minutes, so
it has one turn only, and the warm-up of both is a fit of 20,000 rows. skmixed finds the
best Gaussian posterior with the fixed effects integrated, gpboost maximises Laplace's
approximation of the likelihood: estimates of the variances differ by the approximation.

Without peers skmixed is measured alone in a fresh process, with its peak memory above
what the process held before, the data frame included.
"""

from __future__ import annotations

import argparse

from crossed import compare, crossed_parser
from fits import measure_fit, print_report
from fresh import call_fresh
from options import count

FAMILY = "bernoulli"


def measure_alone(arguments: argparse.Namespace) -> None:
    """Seconds and memory of skmixed in a fresh process."""
    report = call_fresh(
        measure_fit,
        rows=arguments.rows,
        levels=arguments.levels,
        repeats=arguments.repeats,
        solver=arguments.solver,
        seed=arguments.seed,
        family=FAMILY,
    )
    print_report(report)


def main() -> None:
    """Run the benchmark."""
    parser = crossed_parser(__doc__.splitlines()[0])
    parser.add_argument("--peer-repeats", type=count, default=1, help="timed fits of peers")
    arguments = parser.parse_args()
    if arguments.peers:
        compare(arguments, FAMILY, arguments.peer_repeats)
    else:
        measure_alone(arguments)


if __name__ == "__main__":
    main()
