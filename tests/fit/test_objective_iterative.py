"""The objective and its optimum with iterated equations against factorised ones."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from dense import DESIGNS, INTERCEPT, make_model, theta_of
from probed import exact_solver, exactly
from test_objective import make_objective

from skmixed.fit.gaussian_objective import GaussianObjective
from skmixed.fit.newton import minimise
from skmixed.fit.starting import moment_estimates
from skmixed.fit.steps import EstimatedSteps
from skmixed.noise import ConstantNoise
from skmixed.posteriors import POSTERIORS, EffectsPrior
from skmixed.solvers.iterative import IterativeSolver

WITH_FACTORS = [name for name in DESIGNS if name != "no_factor"]
WITH_TAIL = [name for name in WITH_FACTORS if len(DESIGNS[name]) > 1]


def make_iterative(model, posterior="full", integrate_fixed=True, noise=None, n_probes=None):
    """With probes that leave nothing to chance unless their number is given."""
    cross = model.cross()
    if posterior == "mean_field":
        n_probes = 0
    if n_probes is None:
        solver = exact_solver(cross, integrate_fixed)
    else:
        solver = IterativeSolver(cross, integrate_fixed, n_probes, 0)
    parameters = EffectsPrior.of(cross.factors)
    noise_model = ConstantNoise(solver.cross)
    return GaussianObjective(
        solver, noise_model, parameters, POSTERIORS[posterior], integrate_fixed, model.n, noise
    )


@covering(
    name=DESIGNS,
    small=[0, 8],
    posterior=POSTERIORS,
    integrate_fixed=[True, False],
    noise=[None, 1.7],
)
def test_same_objective_and_derivatives(name, small, posterior, integrate_fixed, noise):
    model = make_model(name)
    direct = make_objective(model, posterior, integrate_fixed, noise)
    start = theta_of(direct.prior, model.scales)
    with exactly(small):
        iterative = make_iterative(model, posterior, integrate_fixed, noise)
        for size in (0.0, 0.3, 5.0):
            one, other = iterative.at(size * start), direct.at(size * start)
            assert one.deviance == pytest.approx(other.deviance, rel=1e-9)
            assert one.noise_variance == pytest.approx(other.noise_variance, rel=1e-9)
            found, expected = iterative.derivatives(one), direct.derivatives(other)
            for attribute in ("gradient", "hessian", "average_information"):
                a, b = getattr(found, attribute), getattr(expected, attribute)
                np.testing.assert_allclose(a, b, atol=1e-7 * np.abs(b).max(initial=1.0))
            assert one.doubt(iterative.at(0.9 * size * start)) >= 0.0


@pytest.mark.compiled
@covering(name=WITH_FACTORS, posterior=POSTERIORS, integrate_fixed=[True, False])
def test_same_optimum(name, posterior, integrate_fixed):
    """From afar, boundaries and saddles included."""
    model = make_model(name, seed=1)
    direct = make_objective(model, posterior, integrate_fixed)
    start = moment_estimates(direct.cross, direct.prior, None, direct.n_observations)
    with exactly(0):
        iterative = make_iterative(model, posterior, integrate_fixed)
        found = minimise(iterative, start, tol=1e-6, max_iter=100)
    expected = minimise(direct, start, tol=1e-6, max_iter=100)
    assert found.converged
    assert found.point.deviance == pytest.approx(expected.point.deviance, abs=1e-6)
    scales = zip(found.point.system.scales, expected.point.system.scales, strict=True)
    if posterior == "full":
        for a, b in ((one.matrix, other.matrix) for one, other in scales):
            np.testing.assert_allclose(a @ a.T, b @ b.T, atol=1e-4)


@pytest.mark.parametrize("integrate_fixed", [True, False])
@pytest.mark.parametrize("name", WITH_TAIL)
def test_same_covariances(name, integrate_fixed):
    """What a fit publishes of its posterior."""
    model = make_model(name)
    direct = make_objective(model, "full", integrate_fixed)
    theta = theta_of(direct.prior, model.scales)
    expected = direct.posterior_covariance(direct.at(theta), 10**6)
    with exactly(8):
        iterative = make_iterative(model, "full", integrate_fixed)
        point = iterative.at(theta)
        found = iterative.posterior_covariance(point, 10**6)
        assert iterative.posterior_covariance(point, 0).joint_factors == ()
    if name != "equal_sizes":
        assert set(found.joint_factors) == {factor.position for factor in point.system.tail.small}
    np.testing.assert_allclose(found.fixed, expected.fixed, atol=1e-9)
    for a, b in zip(found.levels, expected.levels, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-8)


@pytest.mark.compiled
@pytest.mark.parametrize("n_probes", [8, 32])
def test_newton_with_random_probes(monkeypatch, n_probes):
    """An estimated objective has an optimum, too, near the exact one in its own doubt."""
    monkeypatch.setitem(DESIGNS, "wide", [(levels, None, INTERCEPT) for levels in (40, 30, 20)])
    model = make_model("wide", n=160)
    direct = make_objective(model)
    start = moment_estimates(direct.cross, direct.prior, None, direct.n_observations)
    with exactly(0):
        iterative = make_iterative(model, n_probes=n_probes)
        found = minimise(iterative, start, tol=1e-6, max_iter=100)
    assert found.converged
    assert found.n_iter < 20
    expected = minimise(direct, start, tol=1e-6, max_iter=100)
    assert found.point.noise_variance == pytest.approx(expected.point.noise_variance, rel=0.05)
    # in -2 log likelihood: a distance of a fifth of a standard error with 8 probes
    lost = direct.at(found.point.theta).deviance - expected.point.deviance
    assert -1e-8 < lost < 0.3 / n_probes


def test_information_is_moved(monkeypatch):
    """Average information of the point before, moved, is nearer to the one here than it was."""
    monkeypatch.setitem(DESIGNS, "wide", [(levels, None, INTERCEPT) for levels in (60, 50)])
    model = make_model("wide", n=900)
    with exactly(0):
        objective = make_iterative(model, n_probes=8)
        start = moment_estimates(objective.cross, objective.prior, None, model.n)
        first, second, far = (objective.at(size * start) for size in (1.0, 1.08, 1.5))
        steps = EstimatedSteps(objective)
        assert steps.kept_information(first, None, []) is None
        before = objective.derivatives(first)
        moved = steps.kept_information(second, before, [4.0])
        expected = objective.derivatives(second).average_information
        assert steps.kept_information(far, before, [4.0]) is None
    left = np.abs(moved - expected)
    assert left.max() < 0.4 * np.abs(before.average_information - expected).max()
    assert left.max() < 0.1 * expected.max()
