"""How often 95 % intervals contain the truth with few groups, by method.

    python benchmarks/coverage_small_groups.py --jobs 2
    python benchmarks/coverage_small_groups.py --groups 5 --simulations 500 --resamples 200

One-way designs of 5, 10 and 20 groups: all of 10 rows, or of 2 to 18. The model has a covariate
of rows, one of groups, and a random intercept; standard deviations of groups and noise are 1. Every
simulation draws all of it anew. Bootstrap intervals are percentiles. They and the posterior of the
variances take most of the time: the first `--bootstrapped` and `--averaged` simulations have them.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from options import count
from scipy.stats import norm
from tables import show

from skmixed import MixedEffectsVIRegressor, parametric_bootstrap, variance_posterior
from skmixed.fitted_model import fitted_model
from skmixed.inspection.attributes import coefficients_of
from skmixed.inspection.coefficient_questions import CoefficientQuestions, reopened
from skmixed.results.degrees_of_freedom import METHODS

ROWS, LEVEL = 10, 0.95
TRUTH = {"x": 1.0, "z": 1.0, "sd of groups": 1.0, "sd of noise": 1.0}
"""Slope of the covariate of rows, and of that of groups, and standard deviations."""

TERMS = ["sd[g, Intercept]", "sd[Residual]"]


def parse_arguments() -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=count, default=2000)
    parser.add_argument("--averaged", type=int, default=2000)
    parser.add_argument("--bootstrapped", type=int, default=2000)
    parser.add_argument("--resamples", type=count, default=200)
    parser.add_argument("--groups", nargs="+", type=count, default=[5, 10, 20])
    parser.add_argument("--points", type=count, default=256, help="of the posterior of variances")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    return parser.parse_args()


def simulate(n_groups: int, balanced: bool, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of one data set."""
    sizes = np.full(n_groups, ROWS)
    if not balanced:
        sizes = np.round(np.linspace(2, 2 * ROWS - 2, n_groups)).astype(int)
    group = np.repeat(np.arange(n_groups), sizes)
    frame = pd.DataFrame({"g": group, "x": rng.standard_normal(len(group))})
    frame["z"] = rng.standard_normal(n_groups)[group]
    effects = TRUTH["sd of groups"] * rng.standard_normal(n_groups)[group]
    noise = TRUTH["sd of noise"] * rng.standard_normal(len(group))
    return frame.assign(y=TRUTH["x"] * frame["x"] + TRUTH["z"] * frame["z"] + effects + noise)


def estimates(model: Any) -> list[float]:
    """Slopes and standard deviations of a fit."""
    result = model.fit_result_
    variances = result.factors[0].covariance[0, 0], result.noise_variance
    return [*model.coef_, *np.sqrt(variances)]


def intervals(frame: pd.DataFrame, seed: int, resamples: int, points: int) -> dict[str, Any]:
    """Lower and upper ends (4, 2), by method; NaN where a method has none.

    Methods of no `resamples` or `points` are left out.
    """
    model = MixedEffectsVIRegressor(formula="x + z + (1 | g)", n_jobs=1, keep_data=True)
    model.fit(frame[["x", "z", "g"]], frame["y"])
    # the fit is opened once for all methods; `summary` and `variance_intervals` do it each
    fitted, ends = fitted_model(model), ["lower", "upper"]
    fit, coefficients = reopened(fitted, fitted.data), coefficients_of(fitted)
    found = {}
    for name, method in METHODS.items():
        tests = method(fit)
        table = CoefficientQuestions(coefficients, tests, name).estimates(np.eye(3)[1:], LEVEL)
        of_sds = np.full((2, 2), np.nan)
        if name == "satterthwaite":
            # Wald intervals of logarithms; there is none of a variance of 0
            z = norm.isf(0.5 - 0.5 * LEVEL) * np.array([-1.0, 1.0])
            of_sds = np.exp(tests.log_sds[:, None] + tests.log_sd_errors[:, None] * z)
            errors = np.sqrt(np.diagonal(model.coef_cov_))[1:, None]
            found["plug-in"] = np.vstack([model.coef_[:, None] + errors * z, of_sds])
        slopes = np.column_stack([table[end] for end in ends])
        found[name] = np.vstack([slopes, np.full((2, 2), np.nan)])
    if points:
        table = variance_posterior(model, n_points=points, random_state=seed).intervals()
        found["variance_posterior"] = table.to_frame().loc[["x", "z", *TERMS], ends]
    if resamples:
        drawn = parametric_bootstrap(model, estimates, n_resamples=resamples, random_state=seed)
        found["bootstrap"] = drawn.confidence_interval().to_numpy()
    return {name: np.asarray(each, float) for name, each in found.items()}


def one(
    n_groups: int, balanced: bool, seed: tuple[int, int], resamples: int, points: int
) -> list[dict[str, Any]]:
    """Whether intervals of one simulation contain the truth, a row per method and parameter."""
    frame = simulate(n_groups, balanced, np.random.default_rng((*seed, n_groups, balanced)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = intervals(frame, seed[1], resamples, points)
    rows = []
    for method, ends in found.items():
        for (parameter, truth), (lower, upper) in zip(TRUTH.items(), ends, strict=True):
            if parameter in ("x", "z") or method not in METHODS:
                inside = bool(lower <= truth <= upper)
                rows.append({"method": method, "parameter": parameter, "inside": inside})
    return rows


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """Coverage by design and method, a column per parameter."""
    keys = ["groups", "rows", "method"]
    counts = rows.groupby([*keys, "parameter"], sort=False)["inside"].agg(["mean", "size"])
    table = counts["mean"].unstack("parameter")[list(TRUTH)]
    return table.assign(data_sets=counts["size"].groupby(keys, sort=False).first()).reset_index()


def main() -> None:
    """Simulate and print."""
    arguments = parse_arguments()
    found = []
    with Parallel(n_jobs=arguments.jobs) as parallel:
        for n_groups in arguments.groups:
            for balanced in (True, False):
                start = time.perf_counter()
                repeated = parallel(
                    delayed(one)(
                        n_groups, balanced, (arguments.seed, k),
                        arguments.resamples if k < arguments.bootstrapped else 0,
                        arguments.points if k < arguments.averaged else 0,
                    )
                    for k in range(arguments.simulations)
                )  # fmt: skip
                part = pd.DataFrame([row for rows in repeated for row in rows])
                rows = "10 each" if balanced else "2 to 18"
                found.append(part.assign(groups=n_groups, rows=rows))
                seconds = time.perf_counter() - start
                print(f"{n_groups} groups, {rows}: {seconds:.0f} s", file=sys.stderr)
                print(show(summarise(found[-1])), file=sys.stderr, flush=True)
    print(show(summarise(pd.concat(found))))


if __name__ == "__main__":
    main()
