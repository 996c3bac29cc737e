"""Fit random intercepts and slopes of two crossed factors.

    python benchmarks/slopes.py
    python benchmarks/slopes.py --rows 1e5 --levels 2000 400

``y ~ 1 + x0 + (1 + x0 || g0) + (1 + x0 || g1)`` on 1.6 million heavy-tailed rows, in a
fresh process. The best published time for a problem of this kind is quoted as such: its
data, numbers of levels included, are not these.
"""

from __future__ import annotations

from fits import measure_fit, print_report
from fresh import call_fresh
from options import crossed_options
from published import SLOPES

ROWS = 1_600_000
LEVELS = (40_000, 8_000)


def main() -> None:
    """Measure and print."""
    arguments = crossed_options(__doc__.splitlines()[0], ROWS, LEVELS, repeats=3).parse_args()
    print_report(call_fresh(measure_fit, slopes=True, **vars(arguments)))
    print(SLOPES)


if __name__ == "__main__":
    main()
