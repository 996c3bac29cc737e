"""-2 ELBO and its derivatives against dense formulas and finite differences."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from covering import covering
from dense import DESIGNS, make_model, theta_of

from skmixed.fit.gaussian_objective import GaussianObjective
from skmixed.fit.newton import minimise
from skmixed.fit.starting import moment_estimates
from skmixed.noise import ConstantNoise
from skmixed.posteriors import POSTERIORS, EffectsPrior
from skmixed.solvers.direct import DirectSolver

WITH_FACTORS = [name for name in DESIGNS if name != "no_factor"]


def make_objective(model, posterior="full", integrate_fixed=True, noise=None):
    solver = DirectSolver(model.cross())
    parameters = EffectsPrior.of(solver.cross.factors)
    noise_model = ConstantNoise(solver.cross)
    return GaussianObjective(
        solver, noise_model, parameters, POSTERIORS[posterior], integrate_fixed, model.n, noise
    )


def numeric_gradient(objective, theta, step=1e-3):
    """Central differences, extrapolated twice."""

    def value(point):
        return objective.at(point).deviance

    gradient = np.empty_like(theta)
    for j in range(len(theta)):
        unit = np.zeros_like(theta)
        unit[j] = 1.0
        table = [
            (value(theta + h * unit) - value(theta - h * unit)) / (2 * h)
            for h in (step, step / 2, step / 4)
        ]
        once = [(4 * fine - coarse) / 3 for coarse, fine in pairwise(table)]
        gradient[j] = (16 * once[1] - once[0]) / 15
    return gradient


@covering(name=DESIGNS, noise=[None, 1.7], integrate_fixed=[True, False])
def test_full_elbo_is_the_log_likelihood(name, integrate_fixed, noise):
    """-2 log N(y; X beta, noise V), beta at its best or integrated out."""
    model = make_model(name)
    objective = make_objective(model, "full", integrate_fixed, noise)
    theta = theta_of(objective.prior, model.scales)
    point = objective.at(theta)
    df = model.n - (model.X.shape[1] if integrate_fixed else 0)
    variance = model.rss / df if noise is None else noise
    expected = df * np.log(2 * np.pi * variance) + model.log_det + model.rss / variance
    if integrate_fixed:
        expected += model.log_det_fixed
    assert point.deviance == pytest.approx(expected, rel=1e-10)
    assert point.noise_variance == pytest.approx(variance, rel=1e-10)


@pytest.mark.parametrize("integrate_fixed", [True, False])
@pytest.mark.parametrize("name", WITH_FACTORS)
def test_mean_field_elbo(name, integrate_fixed):
    """Term by term: expected log densities and the entropy of independent normals."""
    model = make_model(name)
    noise = 1.7
    objective = make_objective(model, "mean_field", integrate_fixed, noise)
    point = objective.at(theta_of(objective.prior, model.scales))
    p = model.X.shape[1]
    residual = model.y - model.X @ model.beta
    elbo = 0.0
    if integrate_fixed:
        # an own block of the posterior: its trace cancels against its entropy
        elbo += 0.5 * p * np.log(2 * np.pi * noise)
        elbo -= 0.5 * np.linalg.slogdet(model.X.T @ model.X)[1]
    elbo -= 0.5 * model.n * np.log(2 * np.pi * noise)
    for Z, omega, means in zip(model.Z, model.Omega, model.random_effects, strict=True):
        residual = residual - Z @ means.ravel()
        inverse = np.linalg.inv(omega) / noise
        variance = 1.0 / ((Z**2).sum(axis=0) / noise + np.diagonal(inverse))
        elbo -= 0.5 * ((Z**2).sum(axis=0) * variance).sum() / noise
        elbo -= 0.5 * (means.ravel() @ inverse @ means.ravel() + np.diagonal(inverse) @ variance)
        elbo += 0.5 * np.linalg.slogdet(inverse)[1] + 0.5 * (1.0 + np.log(variance)).sum()
    elbo -= 0.5 * residual @ residual / noise
    assert -0.5 * point.deviance == pytest.approx(elbo, rel=1e-9)


@covering(name=WITH_FACTORS, posterior=POSTERIORS, integrate_fixed=[True, False], noise=[None, 0.6])
def test_elbo_gradient(name, posterior, integrate_fixed, noise):
    model = make_model(name)
    objective = make_objective(model, posterior, integrate_fixed, noise)
    start = theta_of(objective.prior, model.scales)
    for size in (0.3, 1.0, 5.0):
        theta = size * start
        gradient = objective.derivatives(objective.at(theta)).gradient
        expected = numeric_gradient(objective, theta, step=1e-3 * min(size, 1.0))
        tolerance = 1e-6 * np.abs(expected).max()
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=tolerance)


@covering(name=WITH_FACTORS, rank=[0, 1], integrate_fixed=[True, False])
def test_elbo_gradient_at_singular_covariances(name, rank, integrate_fixed):
    model = make_model(name, rank=rank)
    objective = make_objective(model, "full", integrate_fixed)
    theta = theta_of(objective.prior, model.scales)
    derivatives = objective.derivatives(objective.at(theta))
    expected = numeric_gradient(objective, theta)
    np.testing.assert_allclose(derivatives.gradient, expected, rtol=1e-6, atol=1e-6)
    # the derivative by Omega at the boundary, one-sided, which the curvature tells
    if rank == 0:
        by_omega = []
        for factor in objective.prior.factors:
            Z = model.Z[factor.position].reshape(model.n, factor.n_levels, factor.n_effects)
            projector = model.projector(integrate_fixed)
            products = np.einsum("nlq,n->lq", Z, model.P @ model.y)
            noise = objective.at(theta).noise_variance
            trace = np.einsum("nlq,nm,mls->qs", Z, projector, Z)
            by_omega.append(trace - products.T @ products / noise)
        expected = objective.prior.curvature(theta, by_omega)
        np.testing.assert_allclose(derivatives.hessian, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("integrate_fixed", [True, False])
@pytest.mark.parametrize("name", WITH_FACTORS)
def test_average_information(name, integrate_fixed):
    """The Hessian is exact up to tr(P V_i P V_j) -> y'P V_i P V_j P y / noise."""
    model = make_model(name)
    objective = make_objective(model, "full", integrate_fixed, 1.0)
    theta = theta_of(objective.prior, model.scales)
    derivatives = objective.derivatives(objective.at(theta))
    projector = model.projector(integrate_fixed)
    tangents = []
    for factor, tangent in objective.prior.tangents(theta):
        Z = model.Z[factor.position]
        tangents.append(Z @ np.kron(np.eye(factor.n_levels), tangent) @ Z.T)
    exact = np.empty_like(derivatives.hessian)
    for j in range(len(theta)):
        step = np.zeros_like(theta)
        step[j] = 1e-4
        above = objective.derivatives(objective.at(theta + step)).gradient
        below = objective.derivatives(objective.at(theta - step)).gradient
        exact[j] = (above - below) / 2e-4
    Py = model.P @ model.y
    for j, first in enumerate(tangents):
        for k, second in enumerate(tangents):
            average = Py @ first @ model.P @ second @ Py
            exact[j, k] += np.trace(projector @ first @ projector @ second) - average
    np.testing.assert_allclose(
        derivatives.hessian, exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max()
    )


@covering(name=WITH_FACTORS, posterior=POSTERIORS, integrate_fixed=[True, False])
def test_newton_reaches_an_optimum(name, posterior, integrate_fixed):
    """elbo_monotone, and no random point nearby is better."""
    model = make_model(name, seed=1)
    objective = make_objective(model, posterior, integrate_fixed)
    start = moment_estimates(objective.cross, objective.prior, None, objective.n_observations)
    state = minimise(objective, start, tol=1e-6, max_iter=100)
    assert state.converged
    if posterior == "full":
        # where correlated effects collapse, the mean-field objective has a corner
        assert state.gradients[-1] <= 1e-6
    assert np.diff(state.deviances).max(initial=-1.0) <= 1e-8
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(5):
            near = state.point.theta + size * rng.standard_normal(len(start))
            assert objective.at(near).deviance >= state.point.deviance - 1e-9


@pytest.mark.parametrize("integrate_fixed", [True, False])
@pytest.mark.parametrize("name", WITH_FACTORS)
def test_mean_field_is_a_lower_bound(name, integrate_fixed):
    model = make_model(name)
    full = make_objective(model, "full", integrate_fixed)
    mean_field = make_objective(model, "mean_field", integrate_fixed)
    rng = np.random.default_rng(0)
    for _ in range(5):
        theta = rng.standard_normal(full.prior.n_parameters)
        assert mean_field.at(theta).deviance >= full.at(theta).deviance - 1e-9
