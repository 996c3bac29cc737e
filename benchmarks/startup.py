"""Time from a fresh Python to the first fit.

    python benchmarks/startup.py [--repeats 5]

Every number is the median over fresh processes: the imports that users make anyway,
the same with skmixed, and the first fit of InstEval with compiled code found in
Numba's cache or with an empty cache.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile

from fresh import run_fresh

PLAIN_IMPORT = """
import time
start = time.perf_counter()
import sklearn, pandas
report = {"seconds": time.perf_counter() - start}
"""

OUR_IMPORT = """
import time
start = time.perf_counter()
import sklearn, pandas
import skmixed
report = {"seconds": time.perf_counter() - start}
"""

FIRST_FIT = """
import time
start = time.perf_counter()
import sklearn, pandas
from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import load_insteval
X, y = load_insteval(return_X_y=True)
ready = time.perf_counter()
model = MixedEffectsVIRegressor(random_effects=["s", "d", "dept"])
model.fit(X[["service", "s", "d", "dept"]], y)
end = time.perf_counter()
report = {"seconds": end - start, "fit": end - ready}
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="processes per number")
    parser.add_argument("--cold-repeats", type=int, default=3, help="the same, empty cache")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as cache:
        run_fresh(FIRST_FIT, cache)
        # In turns, so that a machine that slows down slows all of them.
        warm = [
            {
                name: run_fresh(code, cache)
                for name, code in (
                    ("plain", PLAIN_IMPORT),
                    ("ours", OUR_IMPORT),
                    ("fit", FIRST_FIT),
                )
            }
            for _ in range(arguments.repeats)
        ]
    cold = []
    for _ in range(arguments.cold_repeats):
        with tempfile.TemporaryDirectory() as empty:
            cold.append(run_fresh(FIRST_FIT, empty))

    plain = statistics.median(turn["plain"]["seconds"] for turn in warm)
    ours = statistics.median(turn["ours"]["seconds"] for turn in warm)
    rows = {
        "import sklearn, pandas": plain,
        "import sklearn, pandas, skmixed": ours,
        "  added by skmixed": ours - plain,
        "imports + data + first fit, warm cache": statistics.median(
            turn["fit"]["seconds"] for turn in warm
        ),
        "  the fit alone": statistics.median(turn["fit"]["fit"] for turn in warm),
        "imports + data + first fit, empty cache": statistics.median(
            report["seconds"] for report in cold
        ),
        "  the fit alone, with compilation": statistics.median(report["fit"] for report in cold),
    }
    for name, seconds in rows.items():
        print(f"{name:42s} {seconds:8.3f} s")


if __name__ == "__main__":
    main()
