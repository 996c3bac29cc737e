"""Newton steps on everything in a model of one factor, against dense formulas and plain fits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import block_diag
from test_uncertainty import fit, simulate
from test_variational import Case

from skmixed import MixedEffectsVIRegressor
from skmixed.families import make_family
from skmixed.fit import generalized_fit, implicit
from skmixed.fit.generalized_fit import fit_generalized
from skmixed.fit.level_system import LevelState, LevelSystem, state_of

FAMILIES = ["bernoulli-logit", "bernoulli-probit", "poisson", "ordinal-logit", "gamma"]
DESIGNS = ["one_factor", "correlated_slopes"]


def random_state(case, seed=0):
    """A state that nothing has solved for."""
    rng = np.random.default_rng(seed)
    levels, q = case.rows.factors[0].n_levels, case.rows.factors[0].n_effects
    roots = 0.3 * rng.standard_normal((levels, q, q))
    return LevelState(
        case.theta,
        0.3 * rng.standard_normal(case.rows.fixed.shape[1]),
        0.4 * rng.standard_normal((levels, q)),
        roots @ roots.transpose(0, 2, 1) + 0.2 * np.eye(q),
    )


def flat(state):
    """All numbers of a state: beta, theta, and by level u and the triangle of V."""
    triangles = state.covariances[:, *np.triu_indices(state.means.shape[1])]
    levels = np.concatenate([state.means, triangles], axis=1)
    return np.concatenate([state.fixed, state.theta, levels.ravel()])


def state_at(like, numbers):
    """The inverse of `flat`."""
    p, n, q = len(like.fixed), len(like.fixed) + len(like.theta), like.means.shape[1]
    levels = numbers[n:].reshape(len(like.means), -1)
    return LevelState(numbers[p:n], numbers[:p], levels[:, :q].copy(), matrices(levels[:, q:], q))


def matrices(triangles, q):
    """Symmetric matrices (L, q, q) of upper triangles."""
    (rows, columns), out = np.triu_indices(q), np.empty((len(triangles), q, q))
    out[:, rows, columns] = out[:, columns, rows] = triangles
    return out


def differences(system, state, step=1e-3):
    """Gradient and Hessian of the ELBO by all numbers, by central differences."""
    place, unit = flat(state), step * np.eye(len(flat(state)))

    def elbo(numbers):
        return -0.5 * system.at(state_at(state, numbers)).deviance

    here, n = elbo(place), len(place)
    up, down = (np.array([elbo(place + s * u) for u in unit]) for s in (1.0, -1.0))
    hessian = np.diag((up + down - 2.0 * here) / step**2)
    for i in range(n):
        for j in range(i):
            both = elbo(place + unit[i] + unit[j]) + elbo(place - unit[i] - unit[j])
            across = both - up[i] - down[i] - up[j] - down[j] + 2.0 * here
            hessian[i, j] = hessian[j, i] = 0.5 * across / step**2
    return (up - down) / (2.0 * step), hessian


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("family", FAMILIES)
def test_elbo_is_the_dense_one(design, family):
    case = Case(design, family, integrate_fixed=False)
    state = random_state(case)
    p = len(state.fixed)
    mean = np.concatenate([state.fixed, state.means.ravel()])
    covariance = block_diag(np.zeros((p, p)), *state.covariances)
    found = LevelSystem(case.objective).at(state).deviance
    assert found == pytest.approx(case.deviance(case.theta, mean, covariance), rel=1e-9)


@pytest.mark.compiled
@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("family", ["bernoulli-logit", "ordinal-logit", "gamma"])
def test_derivatives_are_the_limit_of_differences(design, family):
    """The whole Hessian by differences, and the levels taken out of it in one dense block."""
    case = Case(design, family, integrate_fixed=False)
    system, state = LevelSystem(case.objective), random_state(case)
    gradient, hessian = differences(system, state)
    n = len(state.fixed) + len(state.theta)
    point = system.at(state)
    found = system.derivatives(point, system.higher_derivatives(point))
    moves = -np.linalg.solve(hessian[n:, n:], np.column_stack([gradient[n:], hessian[n:, :n]]))
    scale = np.abs(hessian).max()
    np.testing.assert_allclose(found.solved.reshape(-1, 1 + n), moves, rtol=1e-2, atol=2e-3)
    expected = hessian[:n, :n] + hessian[:n, n:] @ moves[:, 1:]
    np.testing.assert_allclose(-found.information, expected, rtol=5e-3, atol=2e-4 * scale)
    along = gradient[:n] + hessian[:n, n:] @ moves[:, 0]
    np.testing.assert_allclose(found.gradient, along, rtol=5e-3, atol=2e-4 * scale)


@pytest.mark.parametrize("design", DESIGNS)
@pytest.mark.parametrize("family", ["bernoulli-logit", "poisson", "ordinal-logit"])
def test_curvature_is_the_limit_of_the_series(design, family, monkeypatch):
    case = Case(design, family, integrate_fixed=False)
    point = case.converged(case.theta)
    exact = implicit._Implicit(case.objective, point)._by_level()
    monkeypatch.setattr(implicit, "_TOLERANCE", 1e-10)
    monkeypatch.setattr(implicit, "_MOST_POWERS", 40)
    monkeypatch.setattr(implicit._Implicit, "_by_level", lambda self: None)
    series = implicit._Implicit(case.objective, point).curvatures()
    for name in ("given", "parameters", "moves"):
        expected = getattr(series, name)
        tolerance = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(getattr(exact, name), expected, rtol=1e-3, atol=tolerance)


@pytest.mark.compiled
@pytest.mark.parametrize("structure", ["g", "x | g"])
@pytest.mark.parametrize(
    "family", ["bernoulli", "ordinal", "poisson", "negative_binomial", "gamma"]
)
def test_the_optimum_is_that_of_the_outer_iterations(family, structure, monkeypatch):
    frame = simulate(family, n_levels=60, seed=4)
    rng = np.random.default_rng(0)
    frame["x"] = frame["x"] + 0.1 * rng.standard_normal(len(frame))
    formula = "x + (1 | g)" if structure == "g" else "x + (x | g)"
    leads = []

    def recorded(*arguments):
        leads.append(lead_to(*arguments))
        return leads[-1]

    lead_to = generalized_fit.lead_to
    monkeypatch.setattr(generalized_fit, "lead_to", recorded)
    found = fit(family, frame, formula, method="ml", tol=1e-8)
    monkeypatch.setattr(generalized_fit, "lead_to", lambda *arguments: None)
    expected = fit(family, frame, formula, method="ml", tol=1e-8)
    if structure == "g" and family in ("bernoulli", "ordinal", "poisson"):
        assert leads[0] is not None
    assert found.converged_
    assert found.elbo_ == pytest.approx(expected.elbo_, abs=1e-8)
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=1e-5)
    assert len(found.elbo_path_) == len(found.gradient_path_) == found.n_iter_ + 1
    assert np.diff(found.elbo_path_).min() >= -1e-7


@pytest.mark.compiled
@pytest.mark.parametrize("seed", range(4))
def test_large_effects_and_many_thresholds(seed):
    """Alternating steps take more than a hundred; for one seed Newton's fail from the start."""
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(80), 6), rng.standard_normal(480)
    eta = 2.0 * x + 20.0 * rng.standard_normal(80)[g] + rng.logistic(size=480)
    y = np.digitize(eta, np.arange(-30.0, 31.0, 10.0))
    frame = pd.DataFrame({"x": x, "g": g, "y": pd.Categorical(y, ordered=True)})
    model = fit("ordinal", frame, method="ml")
    assert model.converged_
    assert model.n_iter_ <= 40
    assert len(model.elbo_path_) == model.n_iter_ + 1


@pytest.mark.compiled
def test_callbacks_may_stop_on_the_way():
    """And find the attributes of the step at which they are called."""
    frame = simulate("poisson", n_levels=60, seed=4)
    case = MixedEffectsVIRegressor(formula="x + (1 | g)", family="poisson")
    whole = case.fit(frame, frame["y"])
    design, response = whole._fitted_model.encode(frame).design, frame["y"].to_numpy(float)
    seen = []

    def report(n_iter, elbo, gradient, publish, method):
        seen.append((n_iter, elbo, publish()))
        return n_iter == 2

    options = whole._options(whole.design_encoder_, report)
    result = fit_generalized(design, response, np.ones(len(frame)), make_family("poisson"), options)
    assert [n_iter for n_iter, _, _ in seen] == [0, 1, 2]
    assert result.n_iter == 2
    assert not result.converged
    np.testing.assert_allclose([elbo for _, elbo, _ in seen], whole.elbo_path_[:3], rtol=1e-9)
    assert seen[2][2].elbo == pytest.approx(whole.elbo_, abs=5.0)


def test_variances_of_zero_are_left_to_the_outer_iterations():
    """A state whose covariance of effects has no inverse has no level system."""
    case = Case("one_factor", "poisson", integrate_fixed=False)
    state = random_state(case)
    nothing = replace(state, theta=np.zeros_like(state.theta))
    assert LevelSystem(case.objective).at(nothing) is None


def test_the_state_of_a_point_is_its_posterior():
    case = Case("correlated_slopes", "bernoulli-logit", integrate_fixed=False)
    point = case.converged(case.theta)
    found = LevelSystem(case.objective).at(state_of(point))
    assert found.deviance == pytest.approx(point.deviance, rel=1e-11)
    np.testing.assert_allclose(found.mean, point.mean, atol=1e-12)
    np.testing.assert_allclose(found.variance, point.variance, rtol=1e-10)


@pytest.mark.parametrize("design", DESIGNS)
def test_levels_move_along_the_geodesic_of_their_covariances(design):
    """V becomes V + D + D V^-1 D / 2 with D the change of V to first order."""
    case = Case(design, "poisson", integrate_fixed=False)
    system, state = LevelSystem(case.objective), random_state(case)
    point, q = system.at(state), state.means.shape[1]
    found = system.derivatives(point, system.higher_derivatives(point))
    step = 0.1 * np.random.default_rng(1).standard_normal(len(found.gradient))
    moved = system.moved(point, found, step, 0.5)
    levels = found.solved @ (0.5 * np.append(1.0, step))
    change = matrices(levels[:, q:], q)
    second = change @ np.linalg.inv(state.covariances) @ change
    np.testing.assert_allclose(moved.means, state.means + levels[:, :q])
    expected = state.covariances + change + 0.5 * second
    np.testing.assert_allclose(moved.covariances, expected, atol=1e-12)
    p = len(state.fixed)
    np.testing.assert_allclose(moved.fixed, state.fixed + 0.5 * step[:p])
    np.testing.assert_allclose(moved.theta, state.theta + 0.5 * step[p:])


def test_a_point_whose_rows_are_known_is_that_of_its_state():
    case = Case("correlated_slopes", "bernoulli-logit", integrate_fixed=False)
    point, system = case.converged(case.theta), LevelSystem(case.objective)
    found, expected = system.at_point(point), system.at(state_of(point))
    assert found.deviance == pytest.approx(expected.deviance, rel=1e-11)
    for name in ("mean", "variance", "gradient", "precision", "precisions"):
        values = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(*values, rtol=1e-9, atol=1e-12)
