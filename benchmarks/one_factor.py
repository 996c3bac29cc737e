"""Fit one factor with a million levels: time and peak memory.

    python benchmarks/one_factor.py
    python benchmarks/one_factor.py --levels 100000 --rows-per-level 2

Every level has the same few rows. Memory is the peak of a fresh process during a fit
above what it held before it, the data frame included.
"""

from __future__ import annotations

import argparse

from fits import measure_fit, print_report
from fresh import call_fresh
from options import add_fit_options, count

LEVELS = 1_000_000
ROWS_PER_LEVEL = 2


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--levels", type=count, default=LEVELS)
    parser.add_argument("--rows-per-level", type=count, default=ROWS_PER_LEVEL)
    add_fit_options(parser, repeats=3)
    arguments = parser.parse_args()
    report = call_fresh(
        measure_fit,
        rows=arguments.levels * arguments.rows_per_level,
        levels=[arguments.levels],
        heavy_tailed=False,
        repeats=arguments.repeats,
        solver=arguments.solver,
        seed=arguments.seed,
    )
    print_report(report)


if __name__ == "__main__":
    main()
