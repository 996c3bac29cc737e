"""Kenward and Roger's approximation with estimated traces, and of structures not linear."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIRegressor, RandomEffect, anova, mixed
from skmixed.covariances import STRUCTURES
from skmixed.datasets import load_insteval
from skmixed.fitted_model import fitted_model
from skmixed.inspection.coefficient_questions import CoefficientQuestions
from skmixed.inspection.refits import Refit
from skmixed.results import kenward_roger as module
from skmixed.results import reopened
from skmixed.results.kenward_roger import kenward_roger
from skmixed.results.reopened import ReopenedFit
from skmixed.results.satterthwaite import _by_differences, _exactly
from skmixed.solvers import direct


@pytest.fixture(scope="module")
def students():
    frame = load_insteval().frame
    frame = frame[frame["s"].isin(frame["s"].unique()[:250])].reset_index(drop=True)
    return frame.assign(x=np.sin(np.arange(len(frame))))


pytestmark = [
    pytest.mark.compiled,
    pytest.mark.filterwarnings("ignore::skmixed.exceptions.SingularFitWarning"),
]

FORMULAS = ["y ~ service + x + (1 | s) + (1 | d)", "y ~ service + (x | s) + (1 | d) + (1 | dept)"]


def opened(model, solver):
    """The fit of a model at its estimates, with a solver."""
    refit = Refit.of(fitted_model(model), model._kept)
    options = replace(refit.options, solver=solver)
    return ReopenedFit.at_variances(
        refit.design, refit.response, refit.weights, model.fit_result_, options
    )


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("solver", ["direct", "iterative"])
def test_estimated_traces_are_within_their_error(students, formula, solver, monkeypatch):
    model = mixed(formula, students, solver="direct")
    exact = kenward_roger(opened(model, "direct"))
    monkeypatch.setattr(reopened, "_MOST_OPERATIONS", 0.0)
    found = kenward_roger(opened(model, solver))
    assert exact.trace_error == 0.0
    assert 0.0 < found.trace_error < 0.02
    np.testing.assert_allclose(found.plain, exact.plain, rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(found.shapes, exact.shapes, rtol=1e-4, atol=1e-7)
    p = len(exact.plain)
    df = [each.degrees_of_freedom(np.eye(p)) for each in (exact, found)]
    np.testing.assert_allclose(df[1], df[0], rtol=5.0 * found.trace_error)
    # what is added to the plain covariance is as exact as the traces
    added = [np.diagonal(each.covariance - each.plain) for each in (exact, found)]
    np.testing.assert_allclose(added[1], added[0], rtol=8.0 * found.trace_error, atol=1e-9)


def test_the_error_that_is_stated_is_the_error_that_is_seen(students, monkeypatch):
    model = mixed(FORMULAS[0], students, solver="direct")
    fit = opened(model, "direct")
    parameters = module._Parameters.of(fit).directions
    exact = np.diagonal(module._information(fit, parameters)[0])
    seen, stated = [], []
    generator = np.random.default_rng
    for seed in range(30):
        with monkeypatch.context() as patch:
            patch.setattr(module.np.random, "default_rng", lambda _, seed=seed: generator(seed))
            information, error = module._probed_information(fit.point.system, parameters)
        seen.append(np.diagonal(information) / exact - 1.0)
        stated.append(error)
    largest = np.sqrt(np.mean(np.square(seen), axis=0)).max()
    # thirty draws know a standard deviation to 13 %
    assert np.mean(stated) == pytest.approx(largest, rel=0.45)
    assert np.abs(np.mean(seen, axis=0)).max() < 4.0 * largest / np.sqrt(30)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("integrate_fixed", [True, False])
def test_products_of_the_iterative_solver(students, formula, integrate_fixed):
    model = mixed(formula, students, solver="direct")
    direct, iterative = (opened(model, s).point.system for s in ("direct", "iterative"))
    for mine, other in zip(iterative.fixed_products(), direct.fixed_products(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6, atol=1e-6)
    rng = np.random.default_rng(0)
    effects = [rng.standard_normal((f.n_levels, f.n_effects)) for f in direct.cross.factors]
    found, expected = (
        system.projected_products(
            list(zip(system.cross.factors, effects, strict=True)), integrate_fixed
        )
        for system in (iterative, direct)
    )
    n_compared = 0
    for mine, other in zip(found, expected, strict=True):
        for number, products in other.items():
            np.testing.assert_allclose(mine[number], products, rtol=1e-5, atol=1e-6)
            n_compared += 1
    assert n_compared >= len(effects)


def test_an_iterative_fit_states_its_error(students):
    model = mixed(FORMULAS[0], students, solver="iterative")
    assert "kenward-roger, traces with a Monte Carlo error of" in str(
        anova(model, ddf="kenward-roger")
    )
    exact = mixed(FORMULAS[0], students, solver="direct")
    assert "Monte Carlo" not in str(anova(exact, ddf="kenward-roger"))
    found, expected = (m.summary(test="t", ddf="kenward-roger").to_frame() for m in (model, exact))
    np.testing.assert_allclose(found["df"], expected["df"], rtol=0.02)


# Covariances that are not linear in their parameters -----------------------------------------


@pytest.fixture(scope="module")
def trial():
    """Three treatments per subject, some rows missing, a covariate."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"g": np.repeat(np.arange(9), 9), "kind": np.tile(list("abc"), 27),
         "x": rng.standard_normal(81)}
    )  # fmt: skip
    sds = np.array([0.6, 1.0, 1.6])
    covariance = np.outer(sds, sds) * (0.4 + 0.6 * np.eye(3))
    effects = rng.multivariate_normal(np.zeros(3), covariance, 9)
    of_row = effects[frame["g"], frame["kind"].map({"a": 0, "b": 1, "c": 2})]
    frame["y"] = 0.5 * frame["x"] + of_row + 0.7 * rng.standard_normal(81)
    return frame.drop(index=[3, 10, 30, 31, 55, 70]).reset_index(drop=True)


def dense(X, V, first, second):
    """Kenward and Roger's covariance and degrees of freedom from their formulas.

    `first` has the derivatives of V by every parameter, `second` those by every two.
    """
    inverse = np.linalg.inv(V)
    Phi = np.linalg.inv(X.T @ inverse @ X)
    P = [-X.T @ inverse @ part @ inverse @ X for part in first]
    projector = inverse - inverse @ X @ Phi @ X.T @ inverse
    m = len(first)
    traces = [[np.trace(projector @ a @ projector @ b) for b in first] for a in first]
    W = 2.0 * np.linalg.inv(np.array(traces))
    inner = np.zeros_like(Phi)
    for i in range(m):
        for j in range(m):
            Q = X.T @ inverse @ first[i] @ inverse @ first[j] @ inverse @ X
            R = X.T @ inverse @ second[i][j] @ inverse @ X
            inner += W[i, j] * (Q - P[i] @ Phi @ P[j] - 0.25 * R)
    adjusted = Phi + 2.0 * Phi @ inner @ Phi
    df = []
    for k in range(len(Phi)):
        slopes = np.array([(Phi @ part @ Phi)[k, k] / Phi[k, k] for part in P])
        df.append(2.0 / (slopes @ W @ slopes))
    return adjusted, np.array(df)


@pytest.mark.parametrize("homogeneous", [False, True])
def test_compound_symmetry_as_dense(trial, homogeneous):
    structure = "homcs" if homogeneous else "cs"
    formula = f"y ~ x + {structure}(0 + C(kind) | g)"
    try:
        model = mixed(formula, trial)
    except ValueError:
        trial = trial.assign(**{k: (trial["kind"] == k).astype(float) for k in "abc"})
        model = mixed(f"y ~ x + {structure}(0 + a + b + c | g)", trial)
    fitted = fitted_model(model)
    sigma, noise = fitted.result.factors[0].covariance, fitted.result.noise_variance
    Z = np.column_stack([trial["kind"] == k for k in "abc"]).astype(float)
    same = np.equal.outer(trial["g"].to_numpy(), trial["g"].to_numpy())
    X = np.column_stack([np.ones(len(trial)), trial["x"]])
    sds = np.sqrt(np.diagonal(sigma))
    rho = sigma[0, 1] / (sds[0] * sds[1])
    natural = np.append([sds[0], rho, noise] if homogeneous else [*sds, rho, noise], [])

    def V(at):
        sds = np.repeat(at[0], 3) if homogeneous else at[:3]
        omega = np.outer(sds, sds) * (at[-2] + (1.0 - at[-2]) * np.eye(3))
        return at[-1] * np.eye(len(trial)) + same * (Z @ omega @ Z.T)

    steps = 1e-4 * np.eye(len(natural))
    first = [(V(natural + s) - V(natural - s)) / 2e-4 for s in steps]
    second = [
        [
            (V(natural + s + t) - V(natural + s - t) - V(natural - s + t) + V(natural - s - t))
            / 4e-8
            for t in steps
        ]
        for s in steps
    ]
    if homogeneous:
        # linear in its variance and covariance: there are no second derivatives
        diagonal, across = same * (Z @ Z.T), same * (Z @ (1.0 - np.eye(3)) @ Z.T)
        first = [diagonal, across, np.eye(len(trial))]
        second = [[np.zeros_like(diagonal)] * 3] * 3
    adjusted, df = dense(X, V(natural), first, second)
    found = CoefficientQuestions.of(fitted, fitted.data, "kenward-roger", "test")
    np.testing.assert_allclose(found.covariance, adjusted, rtol=2e-5, atol=1e-8)
    slopes = found.estimates(np.eye(2), 0.95)["df"]
    np.testing.assert_allclose(slopes, _one_contrast(df), rtol=2e-4)


def _one_contrast(plain):
    """The approximation for one contrast, of which A1 = A2 = 2 / `plain`."""
    A = 2.0 / plain
    g = ((2 * A) - (5 * A)) / (3 * A)
    base = 3 + 2 * (1 - g)
    B = 3.5 * A
    V0, V1, V2 = 1 + g / base * B, 1 - (1 - g) / base * B, 1 - (3 - g) / base * B
    rho = ((1 - A) / V1) ** 2 * V0 / V2
    return 4 + 3 / (rho - 1)


@pytest.mark.parametrize("name", ["compound_symmetry", "homogeneous_compound_symmetry"])
@pytest.mark.parametrize("q", [1, 2, 3, 4])
def test_natural_derivatives(name, q):
    covariance = STRUCTURES[name](q)
    sds = np.linspace(0.7, 1.4, q) if covariance.has_sds else np.full(q, 0.9)
    rho = 0.3

    def omega(at):
        sds = at[:q] if covariance.has_sds else np.repeat(at[0], q)
        r = at[-1] if q > 1 else 0.0
        return np.outer(sds, sds) * (r + (1.0 - r) * np.eye(q))

    at = np.append(sds if covariance.has_sds else sds[:1], [rho] * (q > 1))
    first, second = covariance.natural(covariance.nearest(omega(at)))
    steps = 1e-4 * np.eye(len(at))
    for i, s in enumerate(steps):
        slope = (omega(at + s) - omega(at - s)) / 2e-4
        np.testing.assert_allclose(first[i], slope, atol=1e-7)
        for j, t in enumerate(steps):
            bend = omega(at + s + t) - omega(at + s - t) - omega(at - s + t) + omega(at - s - t)
            np.testing.assert_allclose(second[i, j], bend / 4e-8, atol=1e-6)


def test_slopes_of_one_structure_beside_a_linear_one(trial):
    """A structure in one factor does not disturb what is linear in another."""
    frame = trial.assign(h=np.arange(len(trial)) % 7)
    random = [RandomEffect("g", slopes=["x"], covariance="compound_symmetry"), "h"]
    model = MixedEffectsVIRegressor(random, keep_data=True).fit(frame[["x", "g", "h"]], frame["y"])
    table = model.summary(test="t", ddf="kenward-roger").to_frame()
    assert (table["std_error"] > 0).all()
    assert (table["df"] > 1).all()


ALL_FORMULAS = [*FORMULAS, "y ~ x + (x | d) + (1 | s)", "y ~ x + (x | s)"]


@pytest.mark.parametrize("formula", ALL_FORMULAS)
@pytest.mark.parametrize(
    "moderate", [direct._MODERATE, np.inf], ids=["by precision", "by projection"]
)
def test_traces_from_the_inverse(students, formula, moderate, monkeypatch):
    fit = opened(mixed(formula, students, solver="direct"), "direct")
    monkeypatch.setattr(direct, "_MODERATE", moderate)
    parameters = module._Parameters.of(fit).directions
    expected = module._expected_information(fit.point.system, parameters)
    found = fit.point.system.trace_products([(k.factor, k.matrix) for k in parameters])
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())
    np.testing.assert_allclose(found, found.T, rtol=1e-9)


@pytest.mark.parametrize("formula", ALL_FORMULAS)
def test_second_derivatives_are_those_of_differences(students, formula):
    """Of the deviance, and first ones of the covariance, for Satterthwaite."""
    fit = opened(mixed(formula, students, solver="direct"), "direct")
    place = np.append(fit.theta, np.log(fit.noise))
    (hessian, changes), (expected, others) = _exactly(fit), _by_differences(fit, place)
    size = np.sqrt(np.outer(*[np.abs(np.diagonal(expected))] * 2))
    np.testing.assert_array_less(np.abs(hessian - expected), 1e-5 * size)
    np.testing.assert_allclose(changes, others, rtol=1e-5, atol=1e-7 * np.abs(others).max())
