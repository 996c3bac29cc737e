"""Fit weakly connected designs: chains, and workers who seldom change firms, or places as well.

    python benchmarks/weakly_connected.py
    python benchmarks/weakly_connected.py --designs chain-30 workers-local --repeats 5
    python benchmarks/weakly_connected.py --designs workers-60M --repeats 1

Every design in a fresh process: a fit that loads compiled code, then `--repeats` fits. Seconds
are the least of these; processor seconds beside them tell how busy the machine was.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from fresh import call_fresh

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor

Data = tuple[pd.DataFrame, np.ndarray]


def chain(n_levels: int, repeats: int, ratio: float) -> Data:
    """Levels i of a, which meet i and i + 1 of b."""
    rng = np.random.default_rng(0)
    a = np.tile(np.repeat(np.arange(n_levels), 2), repeats)
    b = a + np.tile([0, 1], n_levels * repeats)
    effects = np.sqrt(ratio) * rng.standard_normal((2, n_levels + 1))
    return pd.DataFrame({"a": a, "b": b}), effects[0, a] + effects[1, b] + rng.standard_normal(
        len(a)
    )


def stays(rng: np.random.Generator, n: int, n_levels: int, moves: float, local: int) -> np.ndarray:
    """Where n units are in six years: a share moves every year, anywhere or to near levels."""
    at = np.empty((n, 6), np.int32)
    at[:, 0] = rng.integers(n_levels, size=n)
    for year in range(1, 6):
        to = rng.integers(n_levels, size=n)
        if local:
            step = rng.integers(1, local + 1, n) * rng.choice([-1, 1], n)
            to = (at[:, year - 1] + step) % n_levels
        at[:, year] = np.where(rng.random(n) < moves, to, at[:, year - 1])
    return at.ravel()


def workers(n_workers: int, n_firms: int, moves: float, noise: float, local: int = 0) -> Data:
    """Six years of workers, a share of whom moves every year: anywhere, or to near firms."""
    rng = np.random.default_rng(0)
    a = np.repeat(np.arange(n_workers, dtype=np.int32), 6)
    b = stays(rng, n_workers, n_firms, moves, local)
    y = rng.standard_normal(n_workers)[a] + rng.standard_normal(n_firms)[b]
    y += np.sqrt(noise) * rng.standard_normal(len(a))
    return pd.DataFrame({"a": a, "b": b}), y


def three_factors(
    n_levels: tuple[int, int, int], moves: float, noise: float, local: int = 0
) -> Data:
    """Six years of workers, who change firms and places independently of each other."""
    n, n_firms, n_places = n_levels
    X, y = workers(n, n_firms, moves, noise, local)
    # the draws of places are other ones
    rng = np.random.default_rng(1)
    X["c"] = stays(rng, n, n_places, moves, local)
    return X, y + rng.standard_normal(n_places)[X["c"]]


LEVELS = 100_000, 30_000, 15_000

DESIGNS: dict[str, tuple[Callable[[], Data], str, bool]] = {
    "chain-800": (lambda: chain(800, 1, 30.0), "iterative", False),
    "chain-30": (lambda: chain(4000, 3, 30.0), "auto", False),
    "chain-1000": (lambda: chain(4000, 3, 1000.0), "auto", False),
    "workers-local": (lambda: workers(200_000, 60_000, 0.01, 0.02, local=5), "auto", False),
    "workers-5%": (lambda: workers(200_000, 60_000, 0.05, 0.33), "auto", False),
    "workers-6M": (lambda: workers(1_000_000, 100_000, 0.10, 0.5), "auto", False),
    "workers-6M-logit": (lambda: workers(1_000_000, 100_000, 0.10, 0.5), "auto", True),
    "three-local": (lambda: three_factors(LEVELS, 0.02, 0.02, local=5), "auto", False),
    "three-3%": (lambda: three_factors(LEVELS, 0.03, 0.1, local=5), "auto", False),
    "three-10%": (lambda: three_factors(LEVELS, 0.10, 0.02), "auto", False),
    "workers-60M": (lambda: workers(10_000_000, 1_000_000, 0.10, 0.5), "auto", False),
}
"""Data, solver, and whether the response is y > 0."""


def peak_gib() -> float:
    """Most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(design: str, repeats: int) -> dict[str, str]:
    """A row of the table."""
    make, solver, binary = DESIGNS[design]
    X, y = make()
    held = peak_gib()
    kind = MixedEffectsVIClassifier if binary else MixedEffectsVIRegressor
    small, response = chain(800, 1, 30.0)
    kind(["a", "b"], solver=solver).fit(small, response > 0 if binary else response)
    seconds, processor = [], []
    for _ in range(repeats):
        began, used = time.perf_counter(), time.process_time()
        model = kind(list(X), solver=solver).fit(X, y > 0 if binary else y)
        seconds.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    row = (
        f"{design:18s} {len(y):11,d} {min(seconds):8.2f} {min(processor):8.2f} {model.n_iter_:5d} "
        f"{model.elbo_:18.4f} {model.elbo_std_:10.2g} {peak_gib() - held:6.2f}"
    )
    return {"row": row}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = [name for name in DESIGNS if name not in ("workers-60M", "workers-6M-logit")]
    parser.add_argument("--designs", nargs="+", choices=list(DESIGNS), default=default)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print(f"{'design':18s} {'rows':>11s} {'seconds':>8s} {'of CPU':>8s} {'steps':>5s} "
          f"{'ELBO':>18s} {'elbo_std_':>10s} {'GiB':>6s}")  # fmt: skip
    import weakly_connected

    for design in arguments.designs:
        measured = call_fresh(
            weakly_connected.measure, design=design, repeats=arguments.repeats
        )  # fmt: skip
        print(measured["row"], flush=True)


if __name__ == "__main__":
    main()
