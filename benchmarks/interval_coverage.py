"""How often 95 % intervals of the fixed effects contain the truth.

    python benchmarks/interval_coverage.py
    python benchmarks/interval_coverage.py --families poisson --repetitions 1000 --jobs 2

Intervals are estimate +- 1.96 standard errors from `coef_cov_`. One crossed design is drawn
and kept, with three covariates: `within` varies from row to row, `of_g0` is constant in
every level of the first factor and `of_g1` in those of the second. Every repetition draws
new random effects and new responses, equal ones for both posteriors. Covariates that are
constant in a level are where a posterior that ignores correlation between effects and
coefficients shows: its standard errors leave out what the effects could have explained.

Beside the coverage and its Monte Carlo error stand the mean length of the intervals and
the ratio of the mean standard error to the standard deviation of the estimates, which is 1
for honest standard errors.

(Not called coverage.py, which would hide the package of that name from Numba.)
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from options import N_FACTORS, count
from scipy import special
from tables import show

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.datasets import make_mixed_regression

ROWS = 1000
LEVELS = (60, 40)
GROUP_SDS = (0.7, 0.5)
TRUTH = {"Intercept": 0.3, "within": 0.5, "of_g0": -0.4, "of_g1": 0.3}
NOISE_SD = 1.0
# The 97.5 % point of the standard normal distribution.
INTERVAL = 1.959964


@dataclass(frozen=True)
class Family:
    """A response distribution and the estimator for it."""

    estimator: type
    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray]


# `special.expit`, not `expit`: a ufunc that is a global of the script does not travel to
# other processes.
FAMILIES = {
    "gaussian": Family(
        MixedEffectsVIRegressor, lambda eta, rng: rng.normal(eta, NOISE_SD)
    ),
    "bernoulli": Family(
        MixedEffectsVIClassifier, lambda eta, rng: rng.binomial(1, special.expit(eta))
    ),
    "poisson": Family(MixedEffectsVIRegressor, lambda eta, rng: rng.poisson(np.exp(eta))),
}  # fmt: skip
POSTERIORS = ("full", "mean_field")


def parse_arguments() -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=count, default=200)
    parser.add_argument("--rows", type=count, default=ROWS)
    parser.add_argument("--levels", type=count, nargs=N_FACTORS, default=list(LEVELS))
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--posteriors", nargs="+", choices=POSTERIORS, default=list(POSTERIORS))
    parser.add_argument("--method", choices=["reml", "ml"], default="reml")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    return parser.parse_args()


def draw_design(rows: int, levels: list[int], seed: int) -> pd.DataFrame:
    """Covariates and levels, kept over all repetitions."""
    X, _, _ = make_mixed_regression(rows, 1, tuple(levels), random_state=seed)
    rng = np.random.default_rng(seed)
    of_levels = [_standard(rng.standard_normal(n)) for n in levels]
    return pd.DataFrame(
        {
            "within": X["x0"],
            "of_g0": of_levels[0][X["g0"]],
            "of_g1": of_levels[1][X["g1"]],
            "g0": X["g0"],
            "g1": X["g1"],
        }
    )


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def draw_response(X: pd.DataFrame, family: str, rng: np.random.Generator) -> np.ndarray:
    """New random effects and responses of the true model."""
    predictor = np.full(len(X), TRUTH["Intercept"])
    for name, coefficient in TRUTH.items():
        if name != "Intercept":
            predictor += coefficient * X[name].to_numpy()
    for group, sd in zip(("g0", "g1"), GROUP_SDS, strict=True):
        codes = X[group].to_numpy()
        predictor += rng.normal(0.0, sd, codes.max() + 1)[codes]
    return FAMILIES[family].draw(predictor, rng)


def fit_once(
    X: pd.DataFrame, family: str, posteriors: list[str], method: str, seed: tuple[int, int]
) -> list[dict[str, Any]]:
    """Estimates and standard errors of one repetition, one row per coefficient and posterior."""
    # The second number is never 0: [seed, 0] would repeat the draws of the design.
    y = draw_response(X, family, np.random.default_rng(seed))
    rows = []
    for posterior in posteriors:
        model = FAMILIES[family].estimator(
            random_effects=["g0", "g1"], family=family, posterior=posterior, method=method
        )
        with warnings.catch_warnings():
            # Mean field warns of variances that it estimates as zero, the subject here.
            warnings.simplefilter("ignore")
            model.fit(X, y)
        estimates = np.append(model.intercept_, model.coef_)
        errors = np.sqrt(np.diagonal(model.coef_cov_))
        for name, estimate, error in zip(
            ["Intercept", *model.coef_names_], estimates, errors, strict=True
        ):
            rows.append(
                {
                    "family": family,
                    "posterior": posterior,
                    "coefficient": name,
                    "estimate": estimate,
                    "error": error,
                    "converged": bool(model.converged_),
                }
            )
    return rows


def summarise(fits: pd.DataFrame) -> pd.DataFrame:
    """Coverage, its Monte Carlo error and the length of the intervals."""
    rows = []
    for (family, posterior, name), part in fits.groupby(
        ["family", "posterior", "coefficient"], sort=False
    ):
        distance = (part["estimate"] - TRUTH[name]).abs()
        covered = (distance <= INTERVAL * part["error"]).mean()
        rows.append(
            {
                "family": family,
                "posterior": posterior,
                "coefficient": name,
                "coverage": covered,
                "its error": np.sqrt(covered * (1.0 - covered) / len(part)),
                "length": 2.0 * INTERVAL * part["error"].mean(),
                "SE / SD": part["error"].mean() / part["estimate"].std(),
                "bias": part["estimate"].mean() - TRUTH[name],
                "unconverged": int((~part["converged"]).sum()),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Repeat and print."""
    arguments = parse_arguments()
    X = draw_design(arguments.rows, arguments.levels, arguments.seed)
    found: list[dict[str, Any]] = []
    with Parallel(n_jobs=arguments.jobs) as parallel:
        for family in arguments.families:
            start = time.perf_counter()
            repeated = parallel(
                delayed(fit_once)(
                    X,
                    family,
                    arguments.posteriors,
                    arguments.method,
                    (arguments.seed, 1 + repetition),
                )
                for repetition in range(arguments.repetitions)
            )
            found += [row for rows in repeated for row in rows]
            print(f"{family}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    levels = " x ".join(map(str, arguments.levels))
    sds = " and ".join(map(str, GROUP_SDS))
    print(
        f"{arguments.rows:,} rows, {levels} levels, standard deviations {sds}; method "
        f"{arguments.method}; {arguments.repetitions:,} repetitions"
    )
    print(show(summarise(pd.DataFrame(found))))


if __name__ == "__main__":
    main()
