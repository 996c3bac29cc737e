"""Time from a fresh Python to the first fit, in units of imports that users make anyway.

    python benchmarks/startup.py [--repeats 9] [--cold-repeats 3]

Every process imports sklearn.linear_model, sklearn.pipeline and pandas, then skmixed with an
estimator, and fits InstEval; every number is the median over fresh processes of its ratio to the
first. Compiled code is found in Numba's cache, or the cache is empty.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile

from fresh import run_fresh

FIRST_FIT = """
import time
clock = time.perf_counter
start = clock()
import sklearn.linear_model, sklearn.pipeline, pandas
plain = clock()
import skmixed
bare = clock()
from skmixed import MixedEffectsVIRegressor
ready = clock()
from skmixed.datasets import load_insteval
X, y = load_insteval(return_X_y=True)
model = MixedEffectsVIRegressor(random_effects=["s", "d", "dept"])
loaded = clock()
model.fit(X[["service", "s", "d", "dept"]], y)
end = clock()
report = {
    "plain imports, seconds": plain - start,
    "import skmixed": (bare - plain) / (plain - start),
    "the same and an estimator": (ready - plain) / (plain - start),
    "the same and the first fit": (ready - plain + end - loaded) / (plain - start),
    "all of it without the data, seconds": end - loaded + ready - start,
}
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="processes per number")
    parser.add_argument("--cold-repeats", type=int, default=3, help="the same, empty cache")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as cache:
        run_fresh(FIRST_FIT, cache)
        warm = [run_fresh(FIRST_FIT, cache) for _ in range(arguments.repeats)]
    cold = []
    for _ in range(arguments.cold_repeats):
        with tempfile.TemporaryDirectory() as empty:
            cold.append(run_fresh(FIRST_FIT, empty))
    for title, reports in (("compiled code on disk", warm), ("empty cache", cold)):
        print(title)
        for name in reports[0]:
            values = [report[name] for report in reports]
            spread = f"{min(values):.3f} to {max(values):.3f}"
            print(f"  {name:38s} {statistics.median(values):8.3f}   ({spread})")


if __name__ == "__main__":
    main()
