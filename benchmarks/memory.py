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
import pickle, resource, sys, time
import numpy as np
from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import load_insteval

def status(field):
    with open("/proc/self/status") as lines:
        for line in lines:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024

def highest():
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / 1024**2 if sys.platform == "darwin" else size / 1024

def peak_above(action):
    # Linux resets its high-water mark on request; elsewhere the mark of the whole
    # process is the starting point, which can only hide memory below it.
    try:
        with open("/proc/self/clear_refs", "w") as marks:
            marks.write("5")
        before, peak = status("VmRSS"), lambda: status("VmHWM")
    except OSError:
        before, peak = highest(), highest
    action()
    return peak() - before

X, y = load_insteval(return_X_y=True)
X = X[["service", "s", "d", "dept"]]
model = MixedEffectsVIRegressor(random_effects=["s", "d", "dept"])
"""

FIT = (
    SETUP
    + """
report = {"first": peak_above(lambda: model.fit(X, y))}
report["second"] = peak_above(lambda: model.fit(X, y))
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
report["peak"] = peak_above(lambda: model.predict(many))
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
