"""Simulated data with many levels, and what they were drawn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from peers import Task

from skmixed.datasets import make_mixed_classification, make_mixed_regression

# Roughly what models of film ratings find.
INTERCEPT = 3.5
COEFFICIENT = 0.2
GROUP_SDS = (0.45, 0.5)
SLOPE_SD = 0.15
NOISE_SD = 0.85
# Log odds of a good rating vary more than ratings in units of the noise do.
BINARY_INTERCEPT = 0.3
BINARY_COEFFICIENT = 0.5
BINARY_GROUP_SDS = (0.7, 0.8)


def make_normal(rows: int, groups: Sequence[int], **arguments: Any) -> Any:
    """Ratings."""
    return make_mixed_regression(
        rows,
        groups=groups,
        intercept=INTERCEPT,
        coef=COEFFICIENT,
        group_sd=GROUP_SDS[: len(groups)],
        noise_sd=NOISE_SD,
        **arguments,
    )


def make_binary(rows: int, groups: Sequence[int], **arguments: Any) -> Any:
    """Good ratings."""
    return make_mixed_classification(
        rows,
        groups=groups,
        intercept=BINARY_INTERCEPT,
        coef=BINARY_COEFFICIENT,
        group_sd=BINARY_GROUP_SDS[: len(groups)],
        **arguments,
    )


MAKERS = {"gaussian": make_normal, "bernoulli": make_binary}


def simulate(
    rows: int,
    levels: Sequence[int],
    slopes: bool = False,
    heavy_tailed: bool = True,
    seed: int = 0,
    family: str = "gaussian",
) -> tuple[Task, dict[str, float]]:
    """Crossed factors ``g0``, ... with integer identifiers, and one covariate ``x0``.

    Parameters
    ----------
    rows : int
        Rows of the data.
    levels : sequence of int
        Levels of each factor.
    slopes : bool, default=False
        Whether every factor has a random slope of the covariate, uncorrelated with the
        intercept.
    heavy_tailed : bool, default=True
        Whether a few levels have most of the rows, as in ratings of films by users.
    seed : int, default=0
        Equal seeds give equal data.
    family : {"gaussian", "bernoulli"}, default="gaussian"
        Of the response; Bernoulli with logit link.

    Returns
    -------
    task : Task
        Data and model.
    truth : dict of str to float
        What was simulated, named as `Outcome.estimates` names it.
    """
    X, y, truth = MAKERS[family](
        rows,
        n_features=1,
        groups=tuple(levels),
        n_slopes=int(slopes),
        slope_sd=SLOPE_SD,
        heavy_tailed=heavy_tailed,
        random_state=seed,
    )
    groups = tuple(truth.random_effects_cov)
    task = Task(X=X, y=y, groups=groups, slopes=("x0",) if slopes else (), family=family)
    parameters = {"intercept": truth.intercept, "x0": float(truth.coef[0])}
    for group, covariance in truth.random_effects_cov.items():
        for term in covariance.index:
            name = group if term == "Intercept" else f"{group}:{term}"
            parameters[f"var {name}"] = float(covariance.loc[term, term])
    return task, parameters | {f"var {name}": truth.noise_sd**2 for name in task.noise}
