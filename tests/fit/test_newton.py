"""The iterations: saddles, boundaries, noise of rounding, and no false optima."""

from __future__ import annotations

import numpy as np
import pytest
from dense import DESIGNS, make_model
from test_objective import make_objective

from skmixed.fit.newton import minimise
from skmixed.fit.starting import moment_estimates

WITH_FACTORS = [name for name in DESIGNS if name != "no_factor"]


def make_hard_model(name, seed):
    """Responses without any group effect, of little and of much."""
    rng = np.random.default_rng(7 * seed + 1)
    model = make_model(name, seed=seed, n=30 + 5 * (seed % 5))
    if seed % 3 == 0:
        model.response[:] = rng.standard_normal(model.n)
    if seed % 3 == 1:
        groups = 5.0 * rng.standard_normal(model.n_levels[0])
        model.response[:] = 0.2 * model.response + groups[model.codes[0]]
    return model


def fit(objective, start=None, **options):
    if start is None:
        start = moment_estimates(
            objective.cross, objective.prior, objective.noise_variance, objective.n_observations
        )
    return minimise(objective, start, tol=1e-6, max_iter=100, **options)


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("name", "seed", "integrate_fixed"),
    [
        (name, seed, (i + j) % 2 == 0)
        for i, name in enumerate(WITH_FACTORS)
        for j, seed in enumerate(([0, 1, 2], [3, 4, 34])[i % 4 // 2])
    ],
)
def test_no_better_optimum_elsewhere(name, seed, integrate_fixed):
    """Random starts, small and large, find nothing better."""
    objective = make_objective(make_hard_model(name, seed), "full", integrate_fixed)
    state = fit(objective)
    assert state.converged
    rng = np.random.default_rng(seed)
    for size in (0.1, 1.0, 10.0):
        start = size * rng.standard_normal(len(state.point.theta))
        other = fit(objective, objective.prior.canonical(start))
        assert state.point.deviance <= other.point.deviance + 1e-6


def test_steps_too_short_to_move():
    """Where rounding stops the line search the iterations end, without NaN."""
    with np.errstate(all="raise"):
        state = fit(make_objective(make_hard_model("slopes_eliminated", 34)))
    assert np.isfinite(state.point.deviance)
    assert state.gradients[-1] < 1e-4


@pytest.mark.compiled
@pytest.mark.parametrize("name", WITH_FACTORS)
def test_start_at_zero(name):
    """Zero is a stationary point in theta; a variance that wants to grow leaves it."""
    model = make_model(name, seed=3)
    objective = make_objective(model)
    state = fit(objective, np.zeros(objective.prior.n_parameters))
    assert state.converged
    assert state.point.deviance == pytest.approx(fit(objective).point.deviance, abs=1e-6)


@pytest.mark.compiled
@pytest.mark.parametrize("size", [1e-8, 1e-3, 1e3, 1e6])
def test_starts_far_away(size):
    objective = make_objective(make_model("crossed", seed=3))
    start = np.full(objective.prior.n_parameters, size)
    state = fit(objective, start)
    assert state.converged
    assert state.point.deviance == pytest.approx(fit(objective).point.deviance, abs=1e-6)


def test_report_and_limits():
    objective = make_objective(make_model("crossed"))
    seen = []
    complete = fit(objective, report=lambda state: seen.append(state.n_iter))
    assert seen == list(range(complete.n_iter + 1))
    assert len(complete.deviances) == len(complete.gradients) == complete.n_iter + 1
    stopped = fit(objective, report=lambda state: state.n_iter == 1)
    assert stopped.n_iter == 1
    assert not stopped.converged


@pytest.mark.parametrize("name", ["one_factor", "crossed", "nested", "equal_sizes"])
@pytest.mark.parametrize("noise", [None, 1.0])
def test_moment_estimates_are_close(name, noise):
    """In large balanced data the method of moments is near the optimum."""
    model = make_model(name, n=400, weighted=False)
    # the response comes as the residuals of least squares
    model.response[:] -= model.fixed @ np.linalg.lstsq(model.fixed, model.response)[0]
    objective = make_objective(model, noise=noise)
    start = moment_estimates(objective.cross, objective.prior, noise, objective.n_observations)
    assert (start > 0).all()
    assert np.isfinite(start).all()
    begin, end = objective.at(start).deviance, fit(objective).point.deviance
    far = objective.at(np.full(len(start), 3.0)).deviance
    assert begin - end < 0.5 * (far - end) + 0.5
