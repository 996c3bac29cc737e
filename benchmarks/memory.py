"""Memory of the InstEval fit, size of the pickled model, speed of prediction.

    python benchmarks/memory.py [--rows 10000000]

Memory is the highest resident size during `fit` above the resident size just before
it, in a fresh process that has imported everything and holds the data. The first fit
also loads the compiled code.
"""

from __future__ import annotations

import argparse
import tempfile

from fresh import run_fresh

SETUP = """
import pickle, time
import numpy as np
from peak import PeakMemory
from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import load_insteval

X, y = load_insteval(return_X_y=True)
X = X[["service", "s", "d", "dept"]]
model = MixedEffectsVIRegressor(random_effects=["s", "d", "dept"])
"""

FIT = (
    SETUP
    + """
with PeakMemory() as first:
    model.fit(X, y)
with PeakMemory() as second:
    model.fit(X, y)
report = {"first": first.mebibytes, "second": second.mebibytes}
report["pickle"] = len(pickle.dumps(model)) / 1024
report["data"] = (X.memory_usage(index=False).sum() + y.nbytes) / 1024**2
"""
)

PREDICT = (
    SETUP
    + """
model.fit(X, y)
model.predict(X)
rows = np.random.default_rng(0).integers(0, len(X), ROWS)
many = X.take(rows).reset_index(drop=True)
report = {"seconds": []}
for _ in range(3):
    start = time.perf_counter()
    model.predict(many)
    report["seconds"].append(time.perf_counter() - start)
with PeakMemory() as memory:
    model.predict(many)
report["peak"] = memory.mebibytes
start = time.perf_counter()
model.predict(X, return_std=True)
report["std_insteval"] = time.perf_counter() - start
"""
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows to predict")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as cache:
        # The first process compiles; its memory is the compiler's.
        run_fresh(FIT, cache)
        fit = run_fresh(FIT, cache)
        prediction = run_fresh(PREDICT.replace("ROWS", str(arguments.rows)), cache)

    print(f"data in memory                        {fit['data']:9.1f} MiB")
    print(f"peak of the first fit                 {fit['first']:9.1f} MiB")
    print(f"peak of the second fit                {fit['second']:9.1f} MiB")
    print(f"pickled model                         {fit['pickle']:9.1f} KiB")
    print(f"predict {arguments.rows:>12,} rows             {min(prediction['seconds']):9.3f} s")
    print(f"peak of that prediction               {prediction['peak']:9.1f} MiB")
    print(f"predict InstEval, return_std=True     {prediction['std_insteval']:9.3f} s")


if __name__ == "__main__":
    main()
