"""Simulated data with many levels, and what they were drawn from."""

from __future__ import annotations

from collections.abc import Sequence

from peers import Task

from skmixed.datasets import make_mixed_regression

# Roughly what models of film ratings find.
INTERCEPT = 3.5
COEFFICIENT = 0.2
GROUP_SDS = (0.45, 0.5)
SLOPE_SD = 0.15
NOISE_SD = 0.85


def simulate(
    rows: int,
    levels: Sequence[int],
    slopes: bool = False,
    heavy_tailed: bool = True,
    seed: int = 0,
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

    Returns
    -------
    task : Task
        Data and model.
    truth : dict of str to float
        What was simulated, named as `Outcome.estimates` names it.
    """
    X, y, truth = make_mixed_regression(
        rows,
        n_features=1,
        groups=tuple(levels),
        n_slopes=int(slopes),
        intercept=INTERCEPT,
        coef=COEFFICIENT,
        group_sd=GROUP_SDS[: len(levels)],
        slope_sd=SLOPE_SD,
        noise_sd=NOISE_SD,
        heavy_tailed=heavy_tailed,
        random_state=seed,
    )
    groups = tuple(truth.random_effects_cov)
    task = Task(X=X, y=y, groups=groups, slopes=("x0",) if slopes else ())
    parameters = {"intercept": truth.intercept, "x0": float(truth.coef[0])}
    for group, covariance in truth.random_effects_cov.items():
        for term in covariance.index:
            name = group if term == "Intercept" else f"{group}:{term}"
            parameters[f"var {name}"] = float(covariance.loc[term, term])
    return task, parameters | {"var noise": truth.noise_sd**2}
