"""What estimates beside the coefficients add to their covariance, and to predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from test_variational import Case

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, mixed
from skmixed.datasets import load_sleepstudy
from skmixed.fit import implicit
from skmixed.fit.posterior_response import LevelResponse, PosteriorResponse, is_level_by_level


def simulate(family, n_levels=40, n_rows=10, seed=0):
    """A frame with the columns x, g and y of one family; b = -0.5, 1, a level's sd 0.7."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(n_levels), n_rows)
    x = rng.standard_normal(len(group))
    predictor = -0.5 + x + 0.7 * rng.standard_normal(n_levels)[group]
    draws = {
        "bernoulli": lambda: rng.random(len(x)) < expit(predictor),
        "ordinal": lambda: np.digitize(predictor + rng.logistic(size=len(x)), [-1.0, 0.0, 1.0]),
        "poisson": lambda: rng.poisson(np.exp(predictor)),
        "negative_binomial": lambda: rng.poisson(np.exp(predictor) * rng.gamma(2.0, 0.5, len(x))),
        "gamma": lambda: np.exp(predictor) * rng.gamma(2.0, 0.5, len(x)) + 1e-12,
    }
    return pd.DataFrame({"x": x, "g": group, "y": np.asarray(draws[family](), float)})


def fit(family, frame, formula="x + (1 | g)", sample_weight=None, **parameters):
    kind = MixedEffectsVIClassifier if family in ("bernoulli", "ordinal") else None
    kind = kind or MixedEffectsVIRegressor
    model = kind(formula=formula, family=family, **parameters)
    return model.fit(frame.drop(columns="y"), frame["y"], sample_weight)


def hessian(function, place, step=1e-4):
    """Central differences."""
    n = len(place)
    unit = step * np.eye(n)
    out = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            signs = [(s, t, function(place + s * unit[i] + t * unit[j]))
                     for s in (1, -1) for t in (1, -1)]  # fmt: skip
            out[i, j] = sum(s * t * value for s, t, value in signs) / (4.0 * step**2)
    return out


# Thresholds and weights --------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["ml", "reml"])
def test_thresholds_are_estimates(method):
    """The whole Fisher information of an ordinal regression, by differences of its likelihood."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(400)
    y = np.digitize(3.0 * x + rng.logistic(size=400), [-2.0, 0.0, 2.0])
    frame = pd.DataFrame({"x": x, "y": y})

    def negative(parameters):
        cuts = np.concatenate([[-np.inf], parameters[1:], [np.inf]])
        predictor = parameters[0] * x
        return -np.log(expit(cuts[y + 1] - predictor) - expit(cuts[y] - predictor)).sum()

    best = minimize(negative, [3.0, -2.0, 0.0, 2.0], options={"gtol": 1e-7}).x
    expected = np.sqrt(np.linalg.inv(hessian(negative, best))[0, 0])
    model = fit("ordinal", frame, "x", method=method)
    found = np.sqrt(model.coef_cov_[0, 0])
    # thresholds that are held make it 36 % too small
    assert found == pytest.approx(expected, rel=1e-4 if method == "ml" else 5e-3)


@pytest.mark.compiled
@pytest.mark.parametrize("family", ["bernoulli", "ordinal", "negative_binomial"])
def test_weights_are_repetitions(family):
    frame = simulate(family)
    weights = np.random.default_rng(1).integers(1, 4, len(frame))
    weighted = fit(family, frame, sample_weight=weights, method="ml")
    repeated = fit(family, frame.loc[frame.index.repeat(weights)], method="ml")
    np.testing.assert_allclose(weighted.coef_cov_, repeated.coef_cov_, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Fixed-effect columns that other:UserWarning")
@pytest.mark.parametrize("method", ["ml", "reml"])
def test_dropped_columns_have_no_error(method):
    frame = simulate("bernoulli")
    expected = fit("bernoulli", frame, method=method).coef_cov_
    found = fit("bernoulli", frame.assign(z=2.0 * frame["x"]), "x + z + (1 | g)", method=method)
    np.testing.assert_allclose(found.coef_cov_[:2, :2], expected, rtol=1e-6)
    assert not found.coef_cov_[2].any()


def test_a_variance_of_zero_stays_there():
    """What is left is logistic regression with its own information."""
    rng = np.random.default_rng(3)
    n = 300
    frame = pd.DataFrame({"x": rng.standard_normal(n), "g": np.arange(n) % 30})
    # every level has as many successes as the others: less than chance gives
    frame["y"] = ((np.arange(n) // 30 + np.arange(n) % 2) % 2).astype(float)
    model = fit("bernoulli", frame, method="ml")
    assert model.random_effects_cov_["g"].iloc[0, 0] == 0.0
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(frame[["x"]], frame["y"])
    chance = reference.predict_proba(frame[["x"]])[:, 1]
    columns = np.column_stack([np.ones(n), frame["x"]])
    information = columns.T @ (columns * (chance * (1.0 - chance))[:, None])
    np.testing.assert_allclose(model.coef_cov_, np.linalg.inv(information), rtol=1e-5)


@pytest.mark.compiled
def test_a_dispersion_of_zero_has_no_error():
    """Counts that are Poisson: the flat direction says nothing about coefficients."""
    frame = simulate("poisson")
    found, expected = (
        fit("negative_binomial", frame, method="ml"),
        fit("poisson", frame, method="ml"),
    )
    if found.dispersion_ < 1e-6:
        np.testing.assert_allclose(found.coef_cov_, expected.coef_cov_, rtol=1e-3)
    assert np.isfinite(found.coef_cov_).all()


# How it is computed ------------------------------------------------------------------------------


@pytest.mark.parametrize("design", ["one_factor", "correlated_slopes", "no_factor"])
@pytest.mark.parametrize("family", ["bernoulli-logit", "poisson", "ordinal-logit"])
def test_closed_form_is_the_limit_of_differences(design, family):
    case = Case(design, family, integrate_fixed=False)
    point = case.converged(case.theta)
    assert is_level_by_level(case.objective, point)
    changes = np.random.default_rng(0).standard_normal((2, case.rows.n_rows, 3))
    found = LevelResponse(case.objective, point).to_rows(changes)
    expected = PosteriorResponse(case.objective, point).to_rows(changes)
    for one, other in ((found.rows, expected.rows), (found.means, expected.means)):
        np.testing.assert_allclose(one, other, rtol=0, atol=3e-4 * max(np.abs(other).max(), 1e-3))


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize("integrate_fixed", [True, False])
def test_answers_are_those_of_the_dense_posterior(posterior, integrate_fixed):
    """d mean = A C A' e and d variance = 2 (A S A')^2 h, and so they are symmetric."""
    case = Case("crossed", "poisson", posterior, integrate_fixed)
    point = case.converged(case.theta)
    A, p, n = case.A, case.model.fixed.shape[1], case.rows.n_rows
    weights = case.weights * point.sites.precision
    precision = A.T @ (A * weights[:, None])
    precision[p:, p:] += np.linalg.inv(case.prior_covariance(case.theta))
    _, covariance = case.gaussian(case.theta, point.sites)
    changes = np.random.default_rng(0).standard_normal((2, n, 2))
    found = PosteriorResponse(case.objective, point).to_rows(changes)
    expected = A @ np.linalg.solve(precision, A.T @ changes[0])
    if posterior == "mean_field":
        # effects have a variance each, coefficients a block
        parts = [A[:, [j]] @ covariance[[j]][:, [j]] @ A[:, [j]].T for j in range(p, A.shape[1])]
        parts.append(A[:, :p] @ covariance[:p, :p] @ A[:, :p].T)
    else:
        parts = [A @ covariance @ A.T]
    squares = sum(part**2 for part in parts)
    # a weight that rises by d changes the mean too: the gradient at fixed weights does not
    np.testing.assert_allclose(found.rows[0], expected, rtol=0, atol=1e-4 * np.abs(expected).max())
    expected = 2.0 * squares @ changes[1]
    np.testing.assert_allclose(found.rows[1], expected, rtol=0, atol=3e-4 * np.abs(expected).max())


@pytest.mark.compiled
@pytest.mark.parametrize("method", ["ml", "reml"])
@pytest.mark.parametrize("family", ["poisson", "negative_binomial", "ordinal"])
def test_row_variances_held(family, method, monkeypatch):
    """In large models they stay: near the truth where levels have many rows."""
    frame = simulate(family, n_levels=15, n_rows=80)
    exact = fit(family, frame, method=method)
    monkeypatch.setattr(implicit, "_MOST_NUMBERS", 0)
    held = fit(family, frame, method=method)
    np.testing.assert_allclose(held.coef_cov_, exact.coef_cov_, rtol=0.02)
    assert not np.array_equal(held.coef_cov_, exact.coef_cov_)


@pytest.mark.compiled
@pytest.mark.parametrize("method", ["ml", "reml"])
def test_of_an_iterative_fit(method):
    frame = simulate("ordinal", n_levels=15, n_rows=80).assign(h=np.tile(np.arange(12), 100))
    formula = "x + (1 | g) + (1 | h)"
    exact = fit("ordinal", frame, formula, method=method, solver="direct")
    found = fit("ordinal", frame, formula, method=method, solver="iterative")
    np.testing.assert_allclose(found.coef_cov_, exact.coef_cov_, rtol=0.02)


@pytest.mark.parametrize("power", [1, 2])
def test_few_powers_are_enough(power, monkeypatch):
    """Errors of a Galerkin method are squared."""
    frame = simulate("bernoulli")
    monkeypatch.setattr(implicit, "_TOLERANCE", 1e-12)
    exact = fit("bernoulli", frame, method="ml").coef_cov_
    monkeypatch.setattr(implicit, "_MOST_POWERS", power)
    found = fit("bernoulli", frame, method="ml").coef_cov_
    np.testing.assert_allclose(found, exact, rtol=0, atol=10.0 ** (-2 * power) * exact.max())


# Predictions -------------------------------------------------------------------------------------


@pytest.mark.compiled
@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize("method", ["ml", "reml"])
@pytest.mark.parametrize("family", ["bernoulli", "ordinal", "poisson", "gamma", "gaussian"])
def test_predictions_have_the_covariance_of_coefficients(family, method, posterior):
    """Coupling and what comes to it add up to `coef_cov_`, at the centre of the columns."""
    frame = simulate("poisson" if family == "gaussian" else family)
    result = fit(family, frame, method=method, posterior=posterior).fit_result_
    p = len(result.coefficients)
    both = np.hstack([result.coupling, result.further])[:p]
    np.testing.assert_allclose(both @ both.T, result.coefficient_covariance, rtol=1e-6, atol=1e-12)


def test_coefficients_are_uncertain_far_away():
    """Variances are those of `reml` at `ml`'s estimates: what the equations' inverse says."""
    frame = load_sleepstudy().frame[["Reaction", "Days", "Subject"]]
    model = mixed("Reaction ~ Days + (Days | Subject)", frame, method="ml")
    rows = pd.DataFrame({"Days": [0.0, 9.0, 90.0]})
    columns = np.column_stack([np.ones(3), rows["Days"]])
    _, std = model.predict(rows.assign(Subject="308"), return_std=True, include="none")
    expected = np.einsum("ij,jk,ik->i", columns, model.coef_cov_, columns)
    np.testing.assert_allclose(std**2, expected + model.noise_variance_, rtol=1e-9)
    draws = model.sample_y(rows.assign(Subject="new"), n_samples=20_000, random_state=0)
    _, std = model.predict(rows.assign(Subject="new"), return_std=True)
    np.testing.assert_allclose(draws.std(axis=1), std, rtol=0.03)


def test_means_average_over_the_posterior_alone():
    """Under `ml` those of a regression are at its estimates, and intervals know their errors."""
    frame = simulate("poisson")
    model = fit("poisson", frame[["x", "y"]], "x", method="ml")
    rows = pd.DataFrame({"x": [0.0, 40.0]})
    predictor = model.intercept_ + model.coef_[0] * rows["x"]
    mean, std = model.predict(rows, return_std=True)
    np.testing.assert_allclose(mean, np.exp(predictor), rtol=1e-12)
    assert std[1] > 1.5 * mean[1]
    low, high = model.predict_interval(rows)[1]
    error = np.sqrt(np.array([1.0, 40.0]) @ model.coef_cov_ @ np.array([1.0, 40.0]))
    np.testing.assert_allclose(
        np.log([low, high]), predictor[1] + 1.96 * error * np.array([-1.0, 1.0]), rtol=1e-3
    )


def test_fits_of_earlier_versions_predict_as_they_did():
    """They lack what comes to the posterior."""
    frame = simulate("poisson")
    model = fit("poisson", frame, method="ml")
    before = model.predict(frame)
    model.fit_result_ = replace(model.fit_result_, further=None)
    np.testing.assert_array_equal(model.predict(frame), before)
    assert np.isfinite(model.predict(frame, return_std=True)[1]).all()


def test_derivatives_beyond_floating_point_hold_the_variances(monkeypatch):
    """Eight rows in three levels: powers of an operator overflowed, and the fit failed."""

    def overflow(moments):
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    frame = simulate("bernoulli")
    expected = fit("bernoulli", frame, method="ml").coef_cov_
    monkeypatch.setattr(implicit._Implicit, "_by_level", lambda self: None)
    monkeypatch.setattr(implicit, "galerkin", overflow)
    found = fit("bernoulli", frame, method="ml").coef_cov_
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=0.2, atol=0.01)
