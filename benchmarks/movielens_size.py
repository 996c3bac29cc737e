"""Fit data of the size of MovieLens ml-32m: time and peak memory.

    python benchmarks/movielens_size.py
    python benchmarks/movielens_size.py --rows 1e5 --levels 2000 800

32,000,204 simulated ratings, 200,948 users, 84,432 films and one covariate, in a fresh
process. Memory is the peak of the process during a fit above what it held before it,
the data frame included. The peers do not get there on a machine of ordinary size; what
is published is quoted as such.
"""

from __future__ import annotations

from fits import measure_fit, median_seconds, print_report
from fresh import call_fresh
from options import crossed_options
from published import MOVIELENS

ROWS = 32_000_204
LEVELS = (200_948, 84_432)


def main() -> None:
    """Measure and print."""
    arguments = crossed_options(__doc__.splitlines()[0], ROWS, LEVELS, repeats=3).parse_args()
    report = call_fresh(measure_fit, **vars(arguments))
    print_report(report)
    print(MOVIELENS)
    if arguments.rows == MOVIELENS.rows:
        ratio = MOVIELENS.seconds / median_seconds(report)
        print(f"published seconds over ours: {ratio:,.0f} (different machines)")


if __name__ == "__main__":
    main()
