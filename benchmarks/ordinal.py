"""InstEval ratings as ordered categories: seconds, thresholds, held-out log score.

    python benchmarks/ordinal.py
    python benchmarks/ordinal.py --repeats 1 --link probit

The ratings 1 to 5 are fitted twice, by the cumulative model of ordered categories and by
the model for normal responses, on the same nine tenths of the rows. The log score is the
mean log probability that a model gives to the rating of a row that it has not seen. The
normal model predicts N(mean, std) for a new rating; its probability of rating k is that of
rounding to k, with all below 1.5 counted as 1 and all above 4.5 as 5, so that both models
give probabilities of the same five categories. The shares of the ratings among the rows
fitted are the score to beat.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import numpy as np
import pandas as pd
from options import count
from scipy.stats import norm
from sklearn.model_selection import train_test_split
from tables import show, show_facts

import skmixed
from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.datasets import load_insteval

GROUPS = ("s", "d", "dept")
CATEGORIES = np.arange(1, 6)
HELD_OUT = 0.1
# Below this a probability is rounding error; no log score is minus infinity.
LEAST_PROBABILITY = 1e-300


def parse_arguments() -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=count, default=3, help="timed fits of each model")
    parser.add_argument("--link", default="logit", help="of the cumulative model")
    parser.add_argument("--solver", default="auto")
    parser.add_argument("--seed", type=int, default=0, help="of the rows held out")
    return parser.parse_args()


def time_fits(model: Any, X: pd.DataFrame, y: pd.Series, repeats: int) -> float:
    """Median seconds, after a fit that loads the compiled code."""
    model.fit(X, y)
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        model.fit(X, y)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def normal_cells(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Probabilities that a normal number rounds to each category, the ends open."""
    boundaries = (CATEGORIES[1:] + CATEGORIES[:-1]) / 2.0
    below = norm.cdf(boundaries, loc=mean[:, None], scale=std[:, None])
    ends = np.zeros((mean.size, 1))
    return np.diff(below, axis=1, prepend=ends, append=ends + 1.0)


def log_scores(probabilities: np.ndarray, y: pd.Series) -> np.ndarray:
    """Log probability of what was observed, one number per row."""
    columns = np.searchsorted(CATEGORIES, y.to_numpy())
    observed = np.take_along_axis(probabilities, columns[:, None], axis=1)[:, 0]
    return np.log(np.maximum(observed, LEAST_PROBABILITY))


def score_row(name: str, scores: np.ndarray, against: np.ndarray, seconds: float) -> dict[str, Any]:
    """Mean log score, and the gain over another model with its standard error."""
    gain = scores - against
    return {
        "model": name,
        "seconds": seconds,
        "log score": scores.mean(),
        "gain over normal": gain.mean(),
        "its error": gain.std(ddof=1) / np.sqrt(gain.size),
    }


def describe(model: MixedEffectsVIClassifier) -> dict[str, Any]:
    """What the cumulative model found."""
    coefficients = zip(model.coef_names_, np.ravel(model.coef_), strict=True)
    variances = {
        f"var {group}": f"{covariance.to_numpy()[0, 0]:.5f}"
        for group, covariance in model.random_effects_cov_.items()
    }
    return {
        "thresholds": " ".join(f"{threshold:.5f}" for threshold in model.thresholds_),
        **{name: f"{value:.5f}" for name, value in coefficients},
        **variances,
        "ELBO": f"{model.elbo_:.3f}",
        "steps": model.n_iter_,
        "converged": model.converged_,
        "solver": model.solver_,
    }


def main() -> None:
    """Fit both models and print what they are worth on new rows."""
    arguments = parse_arguments()
    X, y = load_insteval(return_X_y=True)
    X = X[["service", *GROUPS]]
    X_fitted, X_new, y_fitted, y_new = train_test_split(
        X, y, test_size=HELD_OUT, random_state=arguments.seed
    )
    groups = list(GROUPS)
    ordinal = MixedEffectsVIClassifier(
        random_effects=groups, family="ordinal", link=arguments.link, solver=arguments.solver
    )
    normal = MixedEffectsVIRegressor(random_effects=groups, solver=arguments.solver)
    seconds = {
        "ordered": time_fits(ordinal, X_fitted, y_fitted, arguments.repeats),
        "normal": time_fits(normal, X_fitted, y_fitted, arguments.repeats),
    }
    shares = np.bincount(np.searchsorted(CATEGORIES, y_fitted)) / len(y_fitted)
    of_normal = log_scores(normal_cells(*normal.predict(X_new, return_std=True)), y_new)
    of_shares = log_scores(np.tile(shares, (len(y_new), 1)), y_new)
    of_ordinal = log_scores(ordinal.predict_proba(X_new), y_new)
    rows = [
        score_row(f"ordered, {arguments.link}", of_ordinal, of_normal, seconds["ordered"]),
        score_row("normal, rounded", of_normal, of_normal, seconds["normal"]),
        score_row("shares of the ratings", of_shares, of_normal, float("nan")),
    ]
    print(
        f"InstEval, {len(y_fitted):,} rows fitted, {len(y_new):,} held out; "
        f"skmixed {skmixed.__version__}; median of {arguments.repeats} fits"
    )
    print(show_facts(describe(ordinal)))
    print(show(pd.DataFrame(rows)))


if __name__ == "__main__":
    main()
