"""How often 95 % intervals of coefficients contain the truth, beside what is estimated with them.

    python benchmarks/coefficient_coverage.py
    python benchmarks/coefficient_coverage.py --designs ordinal --simulations 1000 --jobs 2

Intervals are estimate +- 1.96 standard errors from `coef_cov_`. In these designs the variance
of the groups, thresholds or a dispersion move with the coefficients: standard errors that hold
them are too small. Every simulation draws covariate, random effects and responses anew.

Beside the coverage and its Monte Carlo error stand the ratio of the mean standard error to the
standard deviation of the estimates, which is 1 for honest standard errors, and the bias over
that standard deviation: where the bound is not tight, estimates are biased, and intervals miss
the truth for that reason too.
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
from options import count
from scipy import special
from tables import show

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor

# The 97.5 % point of the standard normal distribution.
INTERVAL = 1.959964
THRESHOLDS = (-2.0, 0.0, 2.0)
DISPERSION = 0.5


@dataclass(frozen=True)
class Design:
    """A model with one covariate that varies from row to row, and a random intercept or none.

    Attributes
    ----------
    family, link : str
    levels, rows : int
        Levels, and rows of each.
    coefficients : tuple of float
        Intercept and slope; the intercept of classes in an order is 0.
    sd : float
        Of the random intercept; 0 for none.
    """

    family: str
    link: str | None
    levels: int
    rows: int
    coefficients: tuple[float, float]
    sd: float


DESIGNS = {
    "logit": Design("bernoulli", "logit", 200, 10, (-2.0, 2.0), 1.5),
    "probit": Design("bernoulli", "probit", 100, 8, (-1.0, 1.0), 1.0),
    "ordinal": Design("ordinal", "logit", 1, 400, (0.0, 3.0), 0.0),
    "poisson": Design("poisson", None, 40, 10, (0.5, 0.5), 0.7),
    "negative_binomial": Design("negative_binomial", None, 40, 10, (0.5, 0.5), 0.7),
    "gamma": Design("gamma", None, 40, 10, (0.5, 0.5), 0.7),
}

# `special.expit`, not `expit`: a ufunc that is a global of the script does not travel to
# other processes.
DRAWS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "logit": lambda eta, rng: rng.binomial(1, special.expit(eta)),
    "probit": lambda eta, rng: rng.binomial(1, special.ndtr(eta)),
    "ordinal": lambda eta, rng: np.digitize(eta + rng.logistic(size=len(eta)), THRESHOLDS),
    "poisson": lambda eta, rng: rng.poisson(np.exp(eta)),
    "negative_binomial": lambda eta, rng: rng.poisson(_amounts(eta, rng)),
    "gamma": lambda eta, rng: np.maximum(_amounts(eta, rng), 1e-300),
}


def _amounts(eta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.exp(eta) * rng.gamma(1.0 / DISPERSION, DISPERSION, len(eta))


def parse_arguments() -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=count, default=200)
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS))
    parser.add_argument("--method", choices=["reml", "ml"], default="ml")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    return parser.parse_args()


def fit_once(name: str, method: str, seed: tuple[int, int]) -> list[dict[str, Any]]:
    """Estimates and standard errors of one simulation, one row per coefficient."""
    design, rng = DESIGNS[name], np.random.default_rng(seed)
    group = np.repeat(np.arange(design.levels), design.rows)
    x = rng.standard_normal(len(group))
    effects = rng.normal(0.0, design.sd, design.levels)
    y = DRAWS[name](design.coefficients[0] + design.coefficients[1] * x + effects[group], rng)
    classes = design.family in ("bernoulli", "ordinal")
    options = {"link": design.link} if classes else {}
    model = (MixedEffectsVIClassifier if classes else MixedEffectsVIRegressor)(
        formula="x + (1 | g)" if design.sd else "x",
        family=design.family,
        method=method,
        **options,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(pd.DataFrame({"x": x, "g": group}) if design.sd else pd.DataFrame({"x": x}), y)
    errors = np.sqrt(np.diagonal(model.coef_cov_))
    estimates = np.append(model.intercept_, model.coef_)[-len(errors) :]
    truth = design.coefficients[-len(errors) :]
    names = ["Intercept", "x"][-len(errors) :]
    return [
        {
            "design": name,
            "coefficient": coefficient,
            "distance": estimate - true,
            "error": error,
            "converged": bool(model.converged_),
        }
        for coefficient, estimate, true, error in zip(names, estimates, truth, errors, strict=True)
    ]


def summarise(fits: pd.DataFrame) -> pd.DataFrame:
    """Coverage, its Monte Carlo error, and what it is made of."""
    rows = []
    for (design, name), part in fits.groupby(["design", "coefficient"], sort=False):
        covered = (part["distance"].abs() <= INTERVAL * part["error"]).mean()
        deviation = part["distance"].std()
        rows.append(
            {
                "design": design,
                "coefficient": name,
                "coverage": covered,
                "its error": np.sqrt(covered * (1.0 - covered) / len(part)),
                "SE / SD": part["error"].mean() / deviation,
                "bias / SD": part["distance"].mean() / deviation,
                "unconverged": int((~part["converged"]).sum()),
            }
        )
    return pd.DataFrame(rows)


def main() -> None:
    """Simulate and print."""
    arguments = parse_arguments()
    found: list[dict[str, Any]] = []
    with Parallel(n_jobs=arguments.jobs) as parallel:
        for name in arguments.designs:
            start = time.perf_counter()
            repeated = parallel(
                delayed(fit_once)(name, arguments.method, (arguments.seed, simulation))
                for simulation in range(arguments.simulations)
            )
            found += [row for rows in repeated for row in rows]
            print(f"{name}: {time.perf_counter() - start:.1f} s", file=sys.stderr)
    print(f"method {arguments.method}; {arguments.simulations:,} simulations")
    print(show(summarise(pd.DataFrame(found))))


if __name__ == "__main__":
    main()
