"""Fits to many responses of the same rows, beside whole fits of each."""

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIRegressor, Relationship, parametric_bootstrap
from skmixed.exceptions import SingularFitWarning
from skmixed.fit.gaussian_fit import fit_gaussian
from skmixed.fit.repeated_fit import RepeatedFit
from skmixed.fitted_model import fitted_model
from skmixed.inspection.refits import Refit
from skmixed.inspection.simulation import ResponseSimulator

pytestmark = pytest.mark.compiled


def crossed(n=240, seed=0):
    """Rows of three crossed factors, a covariate, weights, an offset and two strata."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "a": rng.integers(0, 15, n),
            "b": rng.integers(0, 9, n),
            "c": rng.integers(0, 4, n),
            "w": rng.uniform(0.5, 2.0, n),
            "o": rng.normal(size=n),
            "h": rng.choice(["f", "m"], n),
        }
    )
    effects = [rng.normal(size=k) for k in (15, 9, 4)]
    y = 1.0 + 0.5 * X["x"] + X["o"] + rng.normal(size=n) * np.where(X["h"] == "f", 1.0, 0.5)
    for name, levels in zip("abc", effects, strict=True):
        y += levels[X[name]]
    return X, y + 0.5 * rng.normal(size=15)[X["a"]] * X["x"]


RELATED = 0.5 * np.eye(9) + 0.5

MODELS = {
    "slopes": {"formula": "x + (x | a)"},
    "crossed": {"formula": "x + (x || a) + (1 | b) + (1 | c)"},
    "maximum likelihood": {"formula": "x + (1 | a) + (1 | b)", "method": "ml"},
    "weights and offset": {
        "formula": "x + (1 | a) + (1 | b)", "precision_weights": "w", "offset": "o"
    },
    "held noise": {"formula": "x + (1 | a) + (1 | b)", "noise_scale": 1.0},
    "strata": {"formula": "x + (1 | a) + (1 | b)", "dispersion": "h"},
    "relation": {
        "formula": "x + (1 | a) + (1 | b)", "relations": {"b": Relationship(RELATED, range(9))}
    },
    "mean field": {"formula": "x + (1 | a) + (1 | b)", "posterior": "mean_field"},
    "iterative": {
        "formula": "x + (1 | a) + (1 | b) + (1 | c)", "solver": "iterative", "random_state": 0
    },
    "no effects": {"formula": "x"},
    "no intercept": {"formula": "0 + x + (0 + x | a) + (1 | b)"},
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_as_whole_fits(name):
    X, y = crossed()
    model = MixedEffectsVIRegressor(**MODELS[name]).fit(X, y)
    fitted = fitted_model(model)
    refit = Refit.of_rows(fitted, fitted.encode(X).design)
    repeated = refit.repeated()
    simulator = ResponseSimulator(fitted, X)
    for seed in range(2):
        response = simulator.draw(np.random.default_rng(seed))
        found = repeated.fit(response, lambda: refit.options.seed)
        whole, _ = fit_gaussian(refit.design, response, refit.weights, refit.options)
        assert found.elbo == pytest.approx(whole.elbo, abs=1e-6)
        assert found.noise_variance == pytest.approx(whole.noise_variance, rel=1e-6)
        assert found.converged
        for field in ("coefficients", "coefficient_covariance", "parameters", "coupling"):
            mine, other = getattr(found, field), getattr(whole, field)
            if field == "coupling":
                mine, other = mine @ mine.T, other @ other.T
            np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
        for mine, other in zip(found.factors, whole.factors, strict=True):
            np.testing.assert_allclose(mine.covariance, other.covariance, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(mine.means, other.means, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(mine.covariances, other.covariances, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["slopes", "crossed", "iterative"])
def test_the_bootstrap_gives_what_the_estimator_does(name):
    X, y = crossed(seed=1)
    model = MixedEffectsVIRegressor(**MODELS[name]).fit(X, y)

    def statistic(fit):
        return np.concatenate(
            [[fit.elbo_, fit.intercept_, fit.noise_variance_], fit.coef_, fit.predict(X[:3])]
        )

    result = parametric_bootstrap(model, statistic, X, n_resamples=3, random_state=0)
    state = np.random.RandomState(0).randint(2**31 - 1, size=4).tolist()
    simulator = ResponseSimulator(fitted_model(model), X)
    for seed, values in zip(
        np.random.SeedSequence(state).spawn(3), result.values.to_numpy(), strict=True
    ):
        rng = np.random.default_rng(seed)
        probes = int(rng.integers(2**31 - 1))
        cold = MixedEffectsVIRegressor(**MODELS[name]).set_params(random_state=probes)
        cold.fit(X, simulator.draw(rng))
        assert statistic(cold).tolist() == pytest.approx(values.tolist(), rel=2e-6, abs=1e-6)


def test_a_response_without_a_variance_of_its_groups_starts_and_ends_at_zero():
    X, _ = crossed()
    noise = np.random.default_rng(3).normal(size=len(X))
    with pytest.warns(SingularFitWarning):
        model = MixedEffectsVIRegressor(formula="x + (1 | a) + (1 | c)").fit(X, noise)
    fitted = fitted_model(model)
    refit = Refit.of_rows(fitted, fitted.encode(X).design)
    repeated = refit.repeated()
    assert repeated.theta is None
    others = np.random.default_rng(4).normal(size=(6, len(X)))
    for response in others:
        whole, _ = fit_gaussian(refit.design, response, refit.weights, refit.options)
        found = repeated.fit(response, lambda: 0)
        for mine, other in zip(found.factors, whole.factors, strict=True):
            np.testing.assert_allclose(mine.covariance, other.covariance, rtol=1e-5, atol=1e-6)


def test_a_response_that_fixed_effects_reproduce():
    X, y = crossed()
    model = MixedEffectsVIRegressor(formula="x + (1 | a)").fit(X, y)
    fitted = fitted_model(model)
    refit = Refit.of_rows(fitted, fitted.encode(X).design)
    found = refit.repeated().fit(2.0 + 3.0 * X["x"].to_numpy(), lambda: 0)
    assert found.interpolates
    assert found.coefficients[1] == pytest.approx(3.0)


def test_responses_do_not_change_what_was_prepared():
    X, y = crossed()
    fitted = fitted_model(MixedEffectsVIRegressor(formula="x + (1 | a) + (1 | b)").fit(X, y))
    refit = Refit.of_rows(fitted, fitted.encode(X).design)
    repeated = RepeatedFit.of(refit.design, refit.weights, refit.options)
    first = repeated.fit(y.to_numpy(), lambda: 0)
    repeated.fit(y.to_numpy()[::-1].copy(), lambda: 0)
    again = repeated.fit(y.to_numpy(), lambda: 0)
    assert again.elbo == first.elbo
    assert (again.coefficients == first.coefficients).all()
    assert first.elbo == pytest.approx(fitted.result.elbo, abs=1e-7)
