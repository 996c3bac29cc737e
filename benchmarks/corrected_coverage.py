"""Coverage of 95 % intervals of coefficients where the variational bound is known to be loose.

    python benchmarks/corrected_coverage.py [design ...] [--data-sets 1000] [--variational]

Every design has a covariate x that varies within levels and a covariate z that is constant in
them. Prints the share of intervals that contain the truth, by coefficient, the median of the
estimates over the truth, and the time of a fit.
"""

from __future__ import annotations

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from scipy.special import expit, ndtr

from skmixed import MixedEffectsVIClassifier

Z = 1.959964


def levels(rng, n_levels, n_each, sd, slope):
    """x, z, level and the linear predictor without an intercept."""
    g = np.repeat(np.arange(n_levels), n_each)
    frame = pd.DataFrame({"x": rng.normal(size=len(g)), "z": rng.integers(0, 2, n_levels)[g]})
    frame["g"] = g
    return frame, slope * frame["x"] + frame["z"] + sd * rng.normal(size=n_levels)[g]


def logit(rng):
    frame, eta = levels(rng, 200, 10, 1.5, 2.0)
    return frame, (rng.random(len(frame)) < expit(eta - 2.0)).astype(int), [-2.0, 2.0, 1.0]


def probit(rng):
    frame, eta = levels(rng, 100, 8, 1.5, 2.0)
    return frame, (rng.random(len(frame)) < ndtr(eta - 1.0)).astype(int), [-1.0, 2.0, 1.0]


def ordinal(rng):
    frame, eta = levels(rng, 40, 10, 1.5, 3.0)
    latent = eta + rng.logistic(size=len(frame))
    y = pd.Categorical(np.searchsorted([-2.0, 0.0, 2.0, 4.0], latent), ordered=True)
    return frame, y, [3.0, 1.0]


def nested(rng):
    mothers = np.repeat(np.arange(1500), 2)
    communities = mothers // 10
    x, z = rng.normal(size=3000), rng.integers(0, 2, 150)[communities]
    eta = 1.0 + x + 2.0 * z + 6.0 * rng.normal(size=1500)[mothers]
    eta = eta + 3.0 * rng.normal(size=150)[communities]
    frame = pd.DataFrame({"x": x, "z": z, "g": mothers, "h": communities})
    return frame, (rng.random(3000) < expit(eta)).astype(int), [1.0, 1.0, 2.0]


def crossed(rng):
    a, b = (part.ravel() for part in np.indices((60, 40)))
    x, z = rng.normal(size=2400), rng.integers(0, 2, 60)[a]
    eta = -0.5 + x + z + 2.0 * rng.normal(size=60)[a] + rng.normal(size=40)[b]
    frame = pd.DataFrame({"x": x, "z": z, "g": a, "h": b})
    return frame, (rng.random(2400) < expit(eta)).astype(int), [-0.5, 1.0, 1.0]


DESIGNS = {
    "logit": (logit, ["g"], {}),
    "probit": (probit, ["g"], {"link": "probit"}),
    "ordinal": (ordinal, ["g"], {"family": "ordinal"}),
    "nested": (nested, ["g", "h"], {}),
    "crossed": (crossed, ["g", "h"], {}),
}


def run(name, n_sets, approximation):
    """Coverage of one design."""
    draw, groups, options = DESIGNS[name]
    inside, ratios, seconds, converged = [], [], [], 0
    for seed in range(n_sets):
        frame, y, truth = draw(np.random.default_rng(seed))
        model = MixedEffectsVIClassifier(groups, approximation=approximation, n_jobs=1, **options)
        start = time.perf_counter()
        model.fit(frame, y)
        seconds.append(time.perf_counter() - start)
        converged += model.converged_
        estimates, errors = model.params.to_numpy(), model.bse.to_numpy()
        inside.append(np.abs(estimates - truth) <= Z * errors)
        ratios.append(estimates / truth)
    shares = ", ".join(f"{share:.3f}" for share in np.mean(inside, axis=0))
    medians = ", ".join(f"{ratio:.3f}" for ratio in np.median(ratios, axis=0))
    print(
        f"{name} ({approximation}, {n_sets} data sets): coverage {shares}; estimate over truth "
        f"{medians}; {converged} converged; {np.median(seconds):.3f} s",
        flush=True,
    )


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("designs", nargs="*", default=list(DESIGNS))
    parser.add_argument("--data-sets", type=int, default=1000)
    parser.add_argument("--variational", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in given.designs:
        run(name, given.data_sets, "variational" if given.variational else "corrected")


if __name__ == "__main__":
    main()
