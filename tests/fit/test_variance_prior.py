"""Variances at their posterior mode: the dense likelihood plus log prior, and blme."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize
from sklearn.base import clone

from skmixed import (
    MixedEffectsVIClassifier,
    MixedEffectsVIRegressor,
    RandomEffect,
    compare_models,
    drop_terms,
    influence,
    mixed,
    parametric_bootstrap,
    profile,
)
from skmixed.datasets import load_sleepstudy
from skmixed.exceptions import SingularFitWarning
from skmixed.fit.gaussian_fit import gaussian_objective, sums_of
from skmixed.fit.variance_priors import VARIANCE_PRIORS
from skmixed.fitted_model import fitted_model
from skmixed.inspection.refits import Refit

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.filterwarnings("ignore::skmixed.exceptions.SingularFitWarning"),
]

PRIORS = ("half-cauchy", "half-normal", "exponential", "gamma")


@pytest.fixture(scope="module")
def frame():
    """Five groups with slopes, crossed with seven: variances are hardly known."""
    rng = np.random.default_rng(0)
    n = 100
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=n), "g": rng.integers(0, 5, n), "h": rng.integers(0, 7, n),
            "w": rng.uniform(0.5, 2.0, n),
        }
    )  # fmt: skip
    frame["y"] = 1.0 + frame["x"] * (1.0 + rng.normal(size=5)[frame["g"]])
    frame["y"] += rng.normal(size=5)[frame["g"]] + 0.3 * rng.normal(size=7)[frame["h"]]
    frame["y"] += rng.normal(size=n)
    return frame


class Dense:
    """-2 (log likelihood + log prior) of logarithms of sds and arctanh of correlations."""

    def __init__(self, frame, terms, prior, method="reml", weights=None):
        self.frame, self.terms, self.method = frame, terms, method
        self.density = VARIANCE_PRIORS[prior]
        self.X = np.column_stack([np.ones(len(frame)), frame["x"]])
        self.weights = np.ones(len(frame)) if weights is None else frame[weights].to_numpy()
        self.spread = frame["y"].std()

    def parts(self, psi):
        """Covariances of all terms, their sds over scales, and the noise variance."""
        begin, found, ratios = 0, [], []
        for _, columns in self.terms:
            q = len(columns)
            sds = np.exp(psi[begin : begin + q])
            begin += q
            R = np.eye(q)
            if q == 2:
                R[0, 1] = R[1, 0] = np.tanh(psi[begin])
                begin += 1
            found.append(np.outer(sds, sds) * R)
            for column, sd in zip(columns, sds, strict=True):
                of_column = 1.0 if column == "1" else self.frame[column].std(ddof=0)
                ratios.append(sd / (self.spread / of_column))
        return found, np.array(ratios), np.exp(2.0 * psi[begin])

    def log_likelihood(self, covariances, noise):
        frame, X, y = self.frame, self.X, self.frame["y"].to_numpy()
        V = np.diag(noise / self.weights)
        for (group, columns), covariance in zip(self.terms, covariances, strict=True):
            Z = np.column_stack([np.ones(len(frame)) if c == "1" else frame[c] for c in columns])
            same = np.equal.outer(frame[group].to_numpy(), frame[group].to_numpy())
            V = V + same * (Z @ covariance @ Z.T)
        inverse = np.linalg.inv(V)
        information = X.T @ inverse @ X
        rest = y - X @ np.linalg.solve(information, X.T @ inverse @ y)
        value = np.linalg.slogdet(V)[1] + rest @ inverse @ rest
        df = len(y)
        if self.method == "reml":
            value += np.linalg.slogdet(information)[1]
            df -= X.shape[1]
        return -0.5 * (value + df * np.log(2.0 * np.pi))

    def __call__(self, psi):
        covariances, ratios, noise = self.parts(psi)
        log_prior = float(self.density(ratios).sum())
        return -2.0 * (self.log_likelihood(covariances, noise) + log_prior)

    def minimum(self, start):
        found = minimize(self, start, method="Nelder-Mead", options={"maxiter": 4000})
        return minimize(self, found.x, method="BFGS", options={"gtol": 1e-8})


CASES = {
    "intercepts": ("y ~ x + (1 | g) + (1 | h)", [("g", ["1"]), ("h", ["1"])], {}),
    "slopes": ("y ~ x + (x | g)", [("g", ["1", "x"])], {}),
    "apart, by ml": ("y ~ x + (x || g)", [("g", ["1"]), ("g", ["x"])], {"method": "ml"}),
    "weights": ("y ~ x + (1 | g)", [("g", ["1"])], {"precision_weights": "w"}),
}


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("name", CASES)
def test_as_the_dense_mode(frame, name, prior):
    formula, terms, options = CASES[name]
    model = mixed(formula, frame, variance_prior=prior, **options)
    dense = Dense(
        frame, terms, prior, options.get("method", "reml"), options.get("precision_weights")
    )
    table = model.variance_components_
    sds = np.log(np.maximum(table["sd"].dropna().to_numpy(), 1e-12))
    psi = sds
    if name == "slopes":
        psi = np.concatenate([sds[:2], [np.arctanh(table["corr"].dropna().iloc[0])], sds[2:]])
    # a variance of 0 is looked for from above
    best = dense.minimum(np.maximum(psi, -3.0) + 0.2)
    assert dense(psi) <= best.fun + 1e-6
    if prior != "exponential" or name != "intercepts":
        np.testing.assert_allclose(psi, best.x, atol=2e-3)
    covariances, _, noise = dense.parts(psi)
    # elbo_ leaves the prior out
    assert model.elbo_ == pytest.approx(dense.log_likelihood(covariances, noise), abs=1e-6)
    assert model.elbo_path_[-1] == pytest.approx(model.elbo_, abs=1e-9)
    assert model.converged_


def test_as_blme():
    sleep = load_sleepstudy().frame
    # blme 1.0-5, lme4 1.1-31: blmer(..., cov.prior = gamma(shape = 2, rate = 0,
    # common.scale = FALSE, posterior.scale = "sd")), bobyqa to 1e-12
    for method, sd, sigma in (
        ("reml", 38.4284637170, 30.9849786052), ("ml", 37.2130511574, 30.8888659753),
    ):  # fmt: skip
        model = mixed(
            "Reaction ~ Days + (1 | Subject)", sleep, method=method, variance_prior="gamma"
        )
        assert model.variance_components_["sd"].tolist() == pytest.approx([sd, sigma], rel=2e-6)
        assert model.intercept_ == pytest.approx(251.4051048485)
    y = [1.2, 0.8, 1.1, 0.9, 1.05, 1.0, 0.7, 1.3, 0.95, 1.15, 0.85, 1.25]
    few = pd.DataFrame({"y": y, "g": np.repeat(list("abcd"), 3)})
    with pytest.warns(SingularFitWarning):
        assert mixed("y ~ 1 + (1 | g)", few).random_effects_cov_["g"].iloc[0, 0] == 0.0
    model = mixed("y ~ 1 + (1 | g)", few, variance_prior="gamma")
    assert model.variance_components_["sd"].tolist() == pytest.approx(
        [0.0872786958841, 0.1948179328056], rel=1e-5
    )


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("noise", [None, 0.7])
def test_derivatives(frame, prior, noise):
    model = mixed("y ~ x + (x | g) + (1 | h)", frame, variance_prior=prior)
    refit = Refit.of(fitted_model(model), model._kept)
    rows = sums_of(refit.design, refit.response, refit.weights, refit.options)
    objective, _ = gaussian_objective(rows, refit.options)
    theta = np.array([0.7, 0.2, 0.4, 0.3])
    if noise is not None:
        objective = type(objective)(**{**vars(objective), "noise_variance": noise})
    found = objective.derivatives(objective.at(theta))
    for j, step in enumerate(1e-5 * np.eye(4)):
        ahead, behind = objective.at(theta + step), objective.at(theta - step)
        slope = (ahead.deviance - behind.deviance) / 2e-5
        assert found.gradient[j] == pytest.approx(slope, rel=1e-5, abs=1e-6)
    terms = objective.penalty.at(objective.prior, theta, 0.8)
    value = objective.penalty.value
    squares = objective.penalty.squares

    def penalty(at, noise):
        return value(noise * squares(objective.prior, at))

    for j, step in enumerate(1e-4 * np.eye(4)):
        ahead, behind = (objective.penalty.at(objective.prior, theta + s, 0.8)
                         for s in (step, -step))  # fmt: skip
        np.testing.assert_allclose(
            terms.hessian[j], (ahead.gradient - behind.gradient) / 2e-4, rtol=1e-4, atol=1e-6
        )
        assert terms.across[j] == pytest.approx(
            (ahead.by_noise - behind.by_noise) / 2e-4, rel=1e-4, abs=1e-6
        )
    h = 1e-4
    up, down = penalty(theta, 0.8 * np.exp(h)), penalty(theta, 0.8 * np.exp(-h))
    assert terms.by_noise == pytest.approx((up - down) / (2 * h), rel=1e-5, abs=1e-7)
    bend = (up + down - 2.0 * penalty(theta, 0.8)) / h**2
    assert terms.bend_by_noise == pytest.approx(bend, rel=1e-3, abs=1e-5)


def test_only_gamma_keeps_a_variance_from_zero():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"g": np.repeat(np.arange(6), 10), "y": rng.normal(size=60)})
    frame["y"] -= frame.groupby("g")["y"].transform("mean")
    for prior in ("half-cauchy", "half-normal", "exponential", "flat"):
        with pytest.warns(SingularFitWarning):
            model = mixed("y ~ 1 + (1 | g)", frame, variance_prior=prior)
        assert model.random_effects_cov_["g"].iloc[0, 0] == 0.0
        assert model.converged_
    model = mixed("y ~ 1 + (1 | g)", frame, variance_prior="gamma")
    assert 0.1 < model.random_effects_cov_["g"].iloc[0, 0] ** 0.5 < 0.5
    assert model.converged_


# Other responses -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def binary():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"g": np.repeat(np.arange(8), 12), "x": rng.normal(size=96)})
    predictor = 0.5 * frame["x"] + 0.7 * rng.normal(size=8)[frame["g"]]
    frame["y"] = (rng.uniform(size=96) < 1.0 / (1.0 + np.exp(-predictor))).astype(int)
    return frame


@pytest.mark.parametrize("prior", PRIORS)
def test_corrected_as_the_dense_mode(binary, prior):
    model = MixedEffectsVIClassifier(
        formula="x + (1 | g)", approximation="corrected", variance_prior=prior
    ).fit(binary[["x", "g"]], binary["y"])
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()

    def log_likelihood(beta, sd):
        total = 0.0
        for _, rows in binary.groupby("g"):
            eta = beta[0] + beta[1] * rows["x"].to_numpy()[:, None] + sd * nodes
            signs = 2.0 * rows["y"].to_numpy()[:, None] - 1.0
            total += np.log(weights @ np.exp(-np.logaddexp(0.0, -signs * eta).sum(axis=0)))
        return total

    def negative(psi):
        sd = np.exp(psi[2])
        return -log_likelihood(psi[:2], sd) - float(VARIANCE_PRIORS[prior](np.array([sd]))[0])

    best = minimize(negative, [0.0, 0.0, -0.5], method="BFGS", options={"gtol": 1e-7})
    sd = model.random_effects_cov_["g"].iloc[0, 0] ** 0.5
    np.testing.assert_allclose(
        [model.intercept_, *model.coef_, sd], [*best.x[:2], np.exp(best.x[2])], rtol=2e-4
    )
    expected = log_likelihood([model.intercept_, *model.coef_], sd)
    assert model.loglik_ == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("prior", ["half-cauchy", "gamma"])
def test_variational_at_the_mode_of_the_bound(prior):
    """One group of Poisson counts: the bound is a function of four numbers."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"g": np.repeat(np.arange(6), 5)})
    frame["y"] = rng.poisson(np.exp(1.0 + 0.6 * rng.normal(size=6))[frame["g"]])
    model = MixedEffectsVIRegressor("g", family="poisson", variance_prior=prior, tol=1e-8).fit(
        frame[["g"]], frame["y"]
    )
    sums, counts = frame.groupby("g")["y"].sum().to_numpy(), 5.0

    def bound(beta, sd):
        """ELBO but for a constant, the posterior of every effect at its best."""
        total = 0.0
        for y in sums:

            def negative(q, y=y):
                m, log_s = q
                s = np.exp(2.0 * log_s)
                fit = y * (beta + m) - counts * np.exp(beta + m + 0.5 * s)
                return -(fit - 0.5 * (m**2 + s) / sd**2 + log_s - np.log(sd))

            total -= minimize(negative, [0.0, -1.0], method="BFGS").fun
        return total

    def negative(psi):
        sd = np.exp(psi[1])
        return -bound(psi[0], sd) - float(VARIANCE_PRIORS[prior](np.array([sd]))[0])

    best = minimize(negative, [1.0, -0.5], method="Nelder-Mead", options={"xatol": 1e-7})
    found = [model.intercept_, np.log(model.random_effects_cov_["g"].iloc[0, 0]) / 2.0]
    np.testing.assert_allclose(found, best.x, atol=2e-4)


def test_the_densities_are_those_they_are_named_after():
    sds = np.array([0.3, 1.0, 2.5])
    for name, density in {
        "half-cauchy": lambda s: 1.0 / (1.0 + s**2),
        "half-normal": lambda s: np.exp(-0.5 * s**2),
        "exponential": lambda s: np.exp(-s),
    }.items():
        total = quad(density, 0.0, np.inf)[0]
        mine = quad(lambda s, n=name: np.exp(VARIANCE_PRIORS[n](np.array([s]))[0]), 0, np.inf)[0]
        found = np.exp(VARIANCE_PRIORS[name](sds)) / mine
        np.testing.assert_allclose(found, density(sds) / total, rtol=1e-5)
    ratio = np.exp(VARIANCE_PRIORS["gamma"](sds)) / sds
    np.testing.assert_allclose(ratio, ratio[0])


# Around it -----------------------------------------------------------------------------------


def test_parameter_of_scikit_learn(frame):
    X, y = frame[["x", "g"]], frame["y"]
    model = MixedEffectsVIRegressor("g", variance_prior="gamma", keep_data=True).fit(X, y)
    again = clone(model).set_params(variance_prior=None)
    assert again.variance_prior is None
    assert again.fit(X, y).elbo_ > model.elbo_
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.variance_prior == "gamma"
    assert (loaded.predict(X) == model.predict(X)).all()
    assert "variance prior gamma" in str(model.summary())
    assert model.summary(test="t").to_frame()["df"].notna().all()
    with pytest.raises(ValueError, match="variance_prior='normal'"):
        MixedEffectsVIRegressor("g", variance_prior="normal").fit(X, y)


def test_resamples_and_rows_left_out_have_the_prior_too(frame):
    X = frame[["x", "g"]]
    model = MixedEffectsVIRegressor("g", variance_prior="gamma", keep_data=True)
    model.fit(X, frame["y"])
    fitted = fitted_model(model)
    refit = Refit.of_rows(fitted, fitted.encode(X).design)
    response = np.sin(np.arange(len(X)))
    found = refit.repeated().fit(response, lambda: 0)
    expected = clone(model).fit(X, response).fit_result_
    assert found.noise_variance == pytest.approx(expected.noise_variance, rel=1e-6)
    np.testing.assert_allclose(
        found.factors[0].covariance, expected.factors[0].covariance, rtol=1e-5
    )
    result = parametric_bootstrap(model, lambda m: m.coef_, n_resamples=2, random_state=0)
    assert len(result.values) == 2
    left = frame[frame["g"] != 2]
    again = clone(model).fit(left[["x", "g"]], left["y"])
    assert influence(model, "g").coef.loc[2].tolist() == pytest.approx(
        [again.intercept_, *again.coef_], rel=1e-5
    )


def test_what_compares_likelihoods_refuses(frame):
    model = mixed("y ~ x + (1 | g)", frame, variance_prior="gamma")
    other = mixed("y ~ x + (x | g)", frame)
    for question in (
        lambda: compare_models(model, other),
        lambda: profile(model),
        lambda: drop_terms(model),
    ):
        with pytest.raises(ValueError, match="variance_prior='gamma'"):
            question()


def test_sums_of_parts_and_shared_sds_are_refused(frame):
    X, y = frame[["x", "g"]], frame["y"]
    with pytest.raises(ValueError, match="variance_prior='gamma' needs all rows at once"):
        MixedEffectsVIRegressor("g", variance_prior="gamma").partial_fit(X, y)
    shared = RandomEffect("g", slopes=["x"], covariance="isotropic")
    with pytest.raises(ValueError, match="'isotropic' the effects share one"):
        MixedEffectsVIRegressor([shared], variance_prior="gamma").fit(X, y)
