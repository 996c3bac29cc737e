"""Hard settings: changes of a published problem, and ways to fit it, that must not matter."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from published import Expected, Problem, found_by, mean_field_target

# Changes of problems --------------------------------------------------------------------


def _powers(names: Any, columns: list[str]) -> np.ndarray:
    """How many of the scaled columns every term multiplies."""
    return np.array([float(sum(p in columns for p in str(name).split(":"))) for name in names])


def with_scaled_columns(problem: Problem, factor: float) -> Problem | None:
    """Numeric columns in other units."""
    columns = problem.measured
    if not columns:
        return None
    X = problem.X.assign(**{column: problem.X[column] * factor for column in columns})
    expected = problem.expected
    if expected is not None:
        powers = _powers(expected.coefficients.index, columns)
        units = factor**powers
        blocks = tuple(
            replace(block, units=factor ** _powers(block.terms, columns) if block.terms else 1.0)
            for block in expected.covariances
        )
        reml = problem.parameters["method"] == "reml"
        expected = replace(
            expected,
            deviance=expected.deviance + reml * 2.0 * np.log(factor) * powers.sum(),
            coefficients=expected.coefficients / units,
            errors=expected.errors / units,
            covariances=blocks,
        )
    return replace(problem, X=X, expected=expected)


def with_scaled_response(problem: Problem, factor: float, shift: float = 0.0) -> Problem | None:
    """The response in other units, or from another origin; the offset goes with the units."""
    if not problem.is_gaussian or (shift and not problem.has_intercept):
        return None
    X, offset = problem.X, problem.parameters.get("offset")
    if offset is not None:
        X = X.assign(**{offset: X[offset] * factor})
    y = problem.y * factor + shift
    expected = None
    if problem.expected is not None:
        expected = _in_units(problem, problem.expected, factor, shift)
    return replace(problem, X=X, y=y, expected=expected)


def _in_units(problem: Problem, expected: Expected, factor: float, shift: float) -> Expected:
    reml = problem.parameters["method"] == "reml"
    df = len(problem.y) - reml * len(expected.coefficients)
    coefficients = expected.coefficients * factor
    if shift:
        coefficients["Intercept"] += shift
    return replace(
        expected,
        deviance=expected.deviance + 2.0 * df * np.log(factor),
        coefficients=coefficients,
        errors=expected.errors * factor,
        noise_unit=1.0 / factor,
        covariances=tuple(replace(b, units=1.0 / factor) for b in expected.covariances),
    )


def expected_of_rounded(
    problem: Problem, changed: Problem, factor: float = 1.0, shift: float = 0.0
) -> Expected | None:
    """What the defaults find in plain units of the data that a change of y rounded."""
    anchor = float(changed.y[0]) if problem.has_intercept else 0.0
    # the difference of two near numbers is exact
    y = (np.asarray(changed.y, float) - anchor) / factor
    X = problem.X
    model = replace(problem, X=X, y=y).fit()
    expected = _in_units(problem, found_by(model), factor, 0.0)
    if anchor:
        expected.coefficients["Intercept"] += anchor
    return expected


def in_single_precision(problem: Problem) -> Problem:
    """All numbers cast to float32."""
    used = [problem.parameters.get(key) for key in ("offset", "precision_weights")]
    columns = [*problem.measured, *(column for column in used if column is not None)]
    X = problem.X.astype({column: np.float32 for column in columns})
    y = problem.y.astype(np.float32)
    if not np.isfinite(y).all():
        raise OverflowError("y is not a number in single precision")
    double = X.astype({column: float for column in columns})
    expected = problem.expected
    if expected is not None:
        again = replace(problem, X=double, y=y.astype(float)).fit()
        expected = replace(found_by(again), determined=expected.determined)
    return replace(problem, X=X, y=y, expected=expected)


def shuffled(problem: Problem) -> Problem:
    """The same rows in another order."""
    order = np.random.default_rng(1).permutation(len(problem.y))
    weights = None if problem.weights is None else problem.weights[order]
    X = problem.X.iloc[order].reset_index(drop=True)
    return replace(problem, X=X, y=problem.y[order], weights=weights)


# Ways to fit ----------------------------------------------------------------------------


def fit_in_chunks(problem: Problem, parameters: dict[str, Any]) -> Any:
    """`partial_fit` on five parts of the rows."""
    model = problem.estimator(**parameters)
    for rows in np.array_split(np.arange(len(problem.y)), 5):
        with warnings.catch_warnings():
            if rows[-1] + 1 < len(problem.y):
                warnings.simplefilter("ignore")
            model.partial_fit(problem.X.iloc[rows], problem.y[rows])
    return model


def fit_after_nothing(problem: Problem, parameters: dict[str, Any]) -> Any:
    """`warm_start` from a response in which the groups mean nothing."""
    return _fit_after(problem, parameters, np.random.default_rng(2).permutation(problem.y))


def fit_after_groups(problem: Problem, parameters: dict[str, Any]) -> Any:
    """`warm_start` from a response in which they mean everything."""
    group = problem.formula.split("|")[-1].strip(" )").split(":")[0]
    codes = pd.factorize(problem.X[group])[0]
    if problem.is_gaussian:
        y = 1e3 * codes + np.random.default_rng(2).standard_normal(len(codes))
    elif problem.parameters["family"] == "poisson":
        y = 1.0 + 50.0 * (codes % 2)
    else:
        y = codes % 2
    return _fit_after(problem, parameters, y)


def _fit_after(problem: Problem, parameters: dict[str, Any], response: np.ndarray) -> Any:
    model = problem.estimator(warm_start=True, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(problem.X, response, sample_weight=problem.weights)
    return model.fit(problem.X, problem.y, sample_weight=problem.weights)


def fit_from_anywhere(problem: Problem, parameters: dict[str, Any], seed: int = 0) -> Any:
    """`warm_start` from covariances of any size, every second one singular."""
    model = problem.estimator(warm_start=True, **parameters)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(problem.X, problem.y, sample_weight=problem.weights)
    rng = np.random.default_rng([seed, len(problem.y)])
    result = model.fit_result_
    for group, frame in model.random_effects_cov_.items():
        n = len(frame)
        root = rng.standard_normal((n, n)) * 10.0 ** rng.uniform(-2.0, 2.0, n)
        root[:, : int(rng.integers(2)) * (n - 1)] = 0.0
        # blocks that are uncorrelated in the model stay so
        covariance = (root @ root.T) * (frame.to_numpy() != 0.0)
        if n > 1 and not covariance.any():
            covariance = root @ root.T * np.eye(n)
        model.random_effects_cov_[group] = frame * 0.0 + result.residual_variance * covariance
    return model.fit(problem.X, problem.y, sample_weight=problem.weights)


def fit_once(problem: Problem, parameters: dict[str, Any]) -> Any:
    """`fit`."""
    return problem.fit(**parameters)


# Settings -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """A hard way to fit.

    Attributes
    ----------
    parameters : dict
        Of the estimator.
    change : callable
        Problem to changed problem; None where it does not apply.
    fit : callable
        Of the changed problem and the parameters.
    units : (float, float) or None
        Scale and shift of y, where these round.
    allowed : float
        What the setting allows; see the top of this file.
    """

    parameters: dict[str, Any]
    change: Callable[[Problem], Problem | None] = lambda problem: problem
    fit: Callable[[Problem, dict[str, Any]], Any] = fit_once
    units: tuple[float, float] | None = None
    allowed: float = 0.0


def _normal(problem: Problem) -> Problem | None:
    return problem if problem.is_gaussian else None


def _mean_field(problem: Problem) -> Problem | None:
    expected = mean_field_target(problem, problem.name)
    return None if expected is None else replace(problem, expected=expected)


SETTINGS = {
    "defaults": Setting({}),
    **{f"max_iter={n}": Setting({"max_iter": n}) for n in (1, 2, 3)},
    "tol=1e-14": Setting({"tol": 1e-14}),
    "tol=0.1": Setting({"tol": 0.1}, allowed=0.1),
    **{
        f"iterative, 2 probes, seed {seed}": Setting(
            {"solver": "iterative", "n_probes": 2, "random_state": seed}
        )
        for seed in (0, 1, 2)
    },
    **{
        f"iterative, 5 probes, seed {seed}": Setting(
            {"solver": "iterative", "n_probes": 5, "random_state": seed}
        )
        for seed in (0, 1, 2)
    },
    "iterative, default probes": Setting({"solver": "iterative"}),
    "float32": Setting({}, in_single_precision),
    "X times 1e9": Setting({}, lambda problem: with_scaled_columns(problem, 1e9)),
    "X times 1e-9": Setting({}, lambda problem: with_scaled_columns(problem, 1e-9)),
    "y times 1e8": Setting(
        {}, lambda problem: with_scaled_response(problem, 1e8), units=(1e8, 0.0)
    ),
    "y times 1e-8": Setting(
        {}, lambda problem: with_scaled_response(problem, 1e-8), units=(1e-8, 0.0)
    ),
    "y plus 1e9": Setting(
        {}, lambda problem: with_scaled_response(problem, 1.0, 1e9), units=(1.0, 1e9)
    ),
    "mean_field": Setting({"posterior": "mean_field"}, _mean_field),
    "warm_start from nothing": Setting({}, fit=fit_after_nothing),
    "warm_start from groups": Setting({}, fit=fit_after_groups),
    **{
        f"warm_start from anywhere, seed {seed}": Setting(
            {}, fit=partial(fit_from_anywhere, seed=seed)
        )
        for seed in (0, 1, 2)
    },
    "rows shuffled": Setting({}, shuffled),
    "partial_fit": Setting({}, _normal, fit_in_chunks),
    "n_jobs=1": Setting({"n_jobs": 1}),
    "n_jobs=2": Setting({"n_jobs": 2}),
}
