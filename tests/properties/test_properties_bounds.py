"""The ELBO: it never falls, is below the log likelihood, and is it where responses are normal."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from property_data import FAMILIES, Problem, examples, problems
from scipy.special import gammaln, log_expit, log_ndtr, logsumexp

# The way ------------------------------------------------------------------------------------


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize("family", FAMILIES)
def test_elbo_never_falls(family: str, posterior: str):
    @given(problems((family,), (posterior,)))
    @examples(2)
    def never_falls(problem: Problem):
        with warnings.catch_warnings():
            # what the data do not determine does not make a bound fall
            warnings.simplefilter("ignore")
            model = problem.estimator().fit(problem.frame, problem.y)
        path = np.asarray(model.elbo_path_)
        assert np.isfinite(path).all()
        # a sum over rows in double precision has errors of some 1e-12 of its size
        assert np.diff(path).min(initial=0.0) >= -1e-11 * max(1.0, np.abs(path).max())
        # to set a variance that is next to nothing to 0 may cost 1e-8 of -2 ELBO, for each
        assert model.elbo_ == pytest.approx(path[-1], abs=1e-7)

    never_falls()


# Normal responses: the log likelihood in dense matrices ----------------------------------------


def fixed_columns(model: Any, problem: Problem) -> np.ndarray:
    """Fixed-effect columns, intercept first."""
    columns = [problem.frame[name].to_numpy(float) for name in model.coef_names_]
    if problem.options.get("fit_intercept", True):
        columns = [np.ones(problem.n), *columns]
    return np.column_stack(columns)


def random_design(problem: Problem, group: str, terms: list[str], codes: np.ndarray) -> np.ndarray:
    """Columns of all effects of a group, level after level."""
    basis = np.column_stack(
        [np.ones(problem.n) if t == "Intercept" else problem.frame[t] for t in terms]
    )
    return np.hstack([basis * (codes == level)[:, None] for level in np.unique(codes)])


def offset_of(problem: Problem) -> np.ndarray:
    return problem.frame["o"].to_numpy() if "o" in problem.frame else np.zeros(problem.n)


def covariance_of_responses(model: Any, problem: Problem) -> np.ndarray:
    """Of the responses given the variances of a fit, (n, n)."""
    weights = problem.frame["w"].to_numpy() if "w" in problem.frame else np.ones(problem.n)
    V = np.diag(model.noise_variance_ / weights)
    for group, covariance in model.random_effects_cov_.items():
        codes = problem.frame[group].to_numpy()
        Z = random_design(problem, group, list(covariance.index), codes)
        V += Z @ np.kron(np.eye(len(np.unique(codes))), covariance.to_numpy()) @ Z.T
    return V


def log_likelihood(model: Any, problem: Problem) -> float:
    """Of the variances of a fit; coefficients at their best (ML) or integrated out (REML).

    Patterson and Thompson (1971, Biometrika 58), with all constants: the integral of the
    density over the coefficients under a flat prior.
    """
    V, X = covariance_of_responses(model, problem), fixed_columns(model, problem)
    y = problem.y - offset_of(problem)
    VX = np.linalg.solve(V, X)
    information = X.T @ VX
    residual = y - X @ np.linalg.solve(information, VX.T @ y)
    value = np.linalg.slogdet(V)[1] + residual @ np.linalg.solve(V, residual)
    df = problem.n
    if problem.options["method"] == "reml":
        value += np.linalg.slogdet(information)[1]
        df -= X.shape[1]
    return float(-0.5 * (value + df * np.log(2.0 * np.pi)))


@given(problems(("gaussian",), ("full",)))
@examples(15)
def test_full_is_the_log_likelihood(problem: Problem):
    model = problem.fit()
    assert model.elbo_ == pytest.approx(log_likelihood(model, problem), rel=1e-9, abs=1e-7)


@given(problems(("gaussian",), ("full",)))
@examples(15)
def test_full_estimates_are_those_of_dense_matrices(problem: Problem):
    """Generalised least squares, and E[u | y] and Var[u | y] of a joint normal."""
    model = problem.fit()
    V, X = covariance_of_responses(model, problem), fixed_columns(model, problem)
    y = problem.y - offset_of(problem)
    precision = np.linalg.inv(V)
    covariance = np.linalg.inv(X.T @ precision @ X)
    beta = covariance @ X.T @ precision @ y
    P = precision - precision @ X @ covariance @ X.T @ precision
    found = np.concatenate([[model.intercept_] * (X.shape[1] > 2), model.coef_])
    errors = np.sqrt(np.diagonal(covariance))
    np.testing.assert_array_less(np.abs(found - beta), 1e-7 * errors)
    inner = P if problem.options["method"] == "reml" else precision
    for group, prior in model.random_effects_cov_.items():
        codes = problem.frame[group].to_numpy()
        Z = random_design(problem, group, list(prior.index), codes)
        prior_all = np.kron(np.eye(len(np.unique(codes))), prior.to_numpy())
        ZO = Z @ prior_all
        means = (ZO.T @ P @ y).reshape(-1, len(prior))
        variances = np.diagonal(prior_all - ZO.T @ inner @ ZO).reshape(-1, len(prior))
        size = np.sqrt(np.diagonal(prior))
        assert (np.abs(model.random_effects_[group] - means) <= 1e-6 * size + 1e-12).all(axis=None)
        squares = model.random_effects_std_[group] ** 2
        assert (np.abs(squares - variances) <= 1e-6 * size**2 + 1e-12).all(axis=None)


@given(problems(("gaussian",), ("mean_field",)))
@examples(13)
def test_mean_field_is_below_full_and_exact(problem: Problem):
    mean_field, full = problem.fit(), problem.fit(posterior="full")
    rounding = 1e-8 + 1e-10 * abs(full.elbo_)
    assert mean_field.elbo_ <= log_likelihood(mean_field, problem) + rounding
    assert log_likelihood(mean_field, problem) <= full.elbo_ + rounding


# Other responses -----------------------------------------------------------------------------


@given(problems(FAMILIES[1:], ("mean_field",)))
@examples(10)
def test_mean_field_is_below_full(problem: Problem):
    """A normal with independent effects is a normal."""
    mean_field, full = problem.fit(), problem.fit(posterior="full")
    assert mean_field.elbo_ <= full.elbo_ + 1e-8 + 1e-10 * abs(full.elbo_)


LOG_DENSITIES = {
    "poisson": lambda y, eta: y * eta - np.exp(eta) - gammaln(y + 1.0),
    "bernoulli-logit": lambda y, eta: log_expit((2.0 * y - 1.0) * eta),
    "bernoulli-probit": lambda y, eta: log_ndtr((2.0 * y - 1.0) * eta),
}


def bound_and_log_likelihood(model: Any, problem: Problem) -> tuple[float, float]:
    """ELBO and log p(y) of one random effect a level, at the parameters of the fit.

    Gauss-Hermite quadrature with 60 nodes a level: for the bound under the normal posterior
    that was found, for the likelihood two of its standard deviations wide (adaptive
    quadrature), so that the tails are covered.
    """
    (group,) = model.random_effects_
    means, deviations = model.random_effects_[group], model.random_effects_std_[group]
    (term,) = means.columns
    prior = model.random_effects_cov_[group].iloc[0, 0]
    frame = problem.frame
    loading = np.ones(problem.n) if term == "Intercept" else frame[term].to_numpy()
    fixed = offset_of(problem) + model.intercept_ + frame[["x", "z"]].to_numpy() @ model.coef_
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    shares = weights / weights.sum()
    log_weights = np.log(weights) + 0.5 * nodes**2
    bound, total = 0.0, 0.0
    for level in means.index:
        rows = (frame[group] == level).to_numpy()
        mean, spread = means.loc[level, term], deviations.loc[level, term]

        def joint(effects: np.ndarray, rows: np.ndarray = rows) -> np.ndarray:
            eta = fixed[rows, None] + loading[rows, None] * effects
            value = LOG_DENSITIES[problem.family](problem.y[rows, None], eta).sum(axis=0)
            return value - 0.5 * effects**2 / prior - 0.5 * np.log(2.0 * np.pi * prior)

        bound += shares @ joint(mean + spread * nodes)
        bound += 0.5 * np.log(2.0 * np.pi * np.e * spread**2)
        wide = 2.0 * spread
        total += logsumexp(joint(mean + wide * nodes) + log_weights) + np.log(wide)
    return float(bound), float(total)


SINGLE = problems(
    tuple(LOG_DENSITIES), methods=("ml",), max_groups=1, shapes=("intercept", "slope")
)


@given(SINGLE)
@examples(10)
def test_elbo_is_the_bound_and_below_the_marginal_likelihood(problem: Problem):
    """With one effect a level the best posterior has independent levels, whatever its family."""
    model = problem.fit()
    assume(model.variance_components_["variance"].min() > 0.0)
    bound, exact = bound_and_log_likelihood(model, problem)
    assert model.elbo_ == pytest.approx(bound, rel=1e-8, abs=1e-7)
    assert bound <= exact
