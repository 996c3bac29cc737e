"""approximation="corrected" with crossed factors: draws of the tail beside exact integrals."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_t, norm

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, icc
from skmixed.fit import corrected_fit, generalized_fit
from skmixed.fit.collapsed_estimate import WeighedTail
from skmixed.fit.collapsed_likelihood import CollapsedLikelihood
from skmixed.fit.collapsed_objective import curvature_at, weigh
from skmixed.fit.quadrature_plan import NotIntegrableError
from skmixed.fit.tail_draws import CIRCLE, WorkingTail, circles
from skmixed.inspection import compare_models, parametric_bootstrap
from tests.fit.dense_likelihood import log_density

CLASSES = ("bernoulli", "ordinal")
FAMILIES = [
    ("bernoulli", "logit"), ("bernoulli", "probit"), ("ordinal", "logit"), ("poisson", None),
    ("negative_binomial", None), ("gamma", None),
]  # fmt: skip

pytestmark = pytest.mark.compiled


def crossed(family="bernoulli", seed=8, n_rows=160, n_levels=(24, 2)):
    """Columns x, a, b and a response of a family with effects of two crossed factors."""
    rng = np.random.default_rng(seed)
    n_first, n_second = n_levels
    frame = pd.DataFrame({
        "x": rng.normal(size=n_rows),
        "a": np.concatenate([np.arange(n_first), rng.integers(0, n_first, n_rows - n_first)]),
        "b": rng.permutation(np.arange(n_rows) % n_second),
    })  # fmt: skip
    eta = 0.5 * frame["x"] + 1.2 * rng.normal(size=n_first)[frame["a"]]
    eta = (eta + np.linspace(-1.2, 1.0, n_second)[frame["b"]]).to_numpy()
    if family == "bernoulli":
        return frame, (rng.random(n_rows) < expit(eta)).astype(int)
    if family == "ordinal":
        return frame, np.searchsorted([-1.0, 0.5, 1.5], eta + rng.logistic(size=n_rows))
    if family == "gamma":
        return frame, rng.gamma(2.0, np.exp(eta) / 2.0)
    spread = rng.gamma(2.0, 0.5, size=n_rows) if family == "negative_binomial" else 1.0
    return frame, rng.poisson(np.exp(eta) * spread)


def fitted(family, link, frame, y, effects=("a", "b"), weights=None, **options):
    kind = MixedEffectsVIClassifier if family in CLASSES else MixedEffectsVIRegressor
    if link is not None:
        options["link"] = link
    if family == "ordinal":
        y = pd.Categorical(y, ordered=True)
    options = {"approximation": "corrected", "family": family, **options}
    return kind(list(effects), **options).fit(frame, y, sample_weight=weights)


@pytest.fixture
def draws_only(monkeypatch):
    """Models that quadrature alone could fit are fitted with draws."""

    def refuse(*arguments):
        raise NotIntegrableError("draws are what is tested")

    def switch(on):
        monkeypatch.undo()
        if on:
            monkeypatch.setattr(corrected_fit, "plan_of", refuse)

    return switch


def both_ways(draws_only, family, link, frame, y, **options):
    """A model by quadrature over all levels of the smaller factor, and by draws of them."""
    draws_only(False)
    exact = fitted(family, link, frame, y, **options)
    draws_only(True)
    return exact, fitted(family, link, frame, y, **options)


def sds(model):
    return np.array([cov.iloc[0, 0] ** 0.5 for cov in model.random_effects_cov_.values()])


# Beside quadrature over everything -----------------------------------------------------------


@pytest.mark.parametrize(("family", "link"), FAMILIES)
def test_a_factor_of_two_levels_is_as_its_quadrature(draws_only, family, link):
    """The smallest tail is the hardest: it is the furthest from normal."""
    frame, y = crossed(family)
    exact, drawn = both_ways(draws_only, family, link, frame, y)
    assert exact.loglik_std_ == 0.0
    assert 0.0 < drawn.loglik_std_ < 0.01
    assert drawn.loglik_ == pytest.approx(exact.loglik_, abs=4 * drawn.loglik_std_ + 2e-3)
    log_errors = exact.variance_components_["log_sd_std_error"].to_numpy()
    np.testing.assert_allclose(np.log(sds(drawn) / sds(exact)) / log_errors, 0.0, atol=0.05)
    found = drawn.variance_components_["log_sd_std_error"].to_numpy()
    np.testing.assert_allclose(found, log_errors, rtol=0.06)
    np.testing.assert_allclose((drawn.params - exact.params) / exact.bse, 0.0, atol=0.05)
    np.testing.assert_allclose(drawn.bse, exact.bse, rtol=0.02)
    own = exact.fit_result_.parameters
    np.testing.assert_allclose(drawn.fit_result_.parameters, own, atol=5e-3)
    for group in ("a", "b"):
        errors = exact.random_effects_std_[group]
        moved = (drawn.random_effects_[group] - exact.random_effects_[group]) / errors
        np.testing.assert_allclose(moved, 0.0, atol=0.04)
        np.testing.assert_allclose(drawn.random_effects_std_[group], errors, rtol=0.02)


def test_vector_effects_weights_and_offsets(draws_only):
    frame, y = crossed("poisson", n_levels=(8, 2), n_rows=80)
    frame["exposure"] = np.random.default_rng(1).normal(size=80)
    weights = 1.0 + np.arange(80) % 3

    def fit():
        model = MixedEffectsVIRegressor(
            formula="x + (x | a) + (1 | b)", family="poisson", approximation="corrected",
            offset="exposure",
        )  # fmt: skip
        return model.fit(frame, y, sample_weight=weights)

    draws_only(False)
    exact = fit()
    draws_only(True)
    drawn = fit()
    assert drawn.loglik_ == pytest.approx(exact.loglik_, abs=4 * drawn.loglik_std_ + 3e-3)
    np.testing.assert_allclose(
        drawn.random_effects_cov_["a"], exact.random_effects_cov_["a"], atol=0.01
    )
    np.testing.assert_allclose((drawn.params - exact.params) / exact.bse, 0.0, atol=0.05)
    std = exact.random_effects_std_["a"]
    moved = (drawn.random_effects_["a"] - exact.random_effects_["a"]) / std
    np.testing.assert_allclose(moved, 0.0, atol=0.06)


def test_restricted_likelihood_draws_the_coefficients(draws_only):
    """Quadrature takes Laplace's method for them, which is off by some thousandths."""
    frame, y = crossed(n_levels=(9, 2), n_rows=80)
    exact, drawn = both_ways(draws_only, "bernoulli", "logit", frame, y, method="reml")
    assert drawn.loglik_ == pytest.approx(exact.loglik_, abs=0.02)
    log_errors = exact.variance_components_["log_sd_std_error"].to_numpy()
    np.testing.assert_allclose(np.log(sds(drawn) / sds(exact)) / log_errors, 0.0, atol=0.1)
    np.testing.assert_allclose((drawn.params - exact.params) / exact.bse, 0.0, atol=0.05)
    # the curvature at the maximum is not quite the inverse of the posterior covariance
    np.testing.assert_allclose(drawn.bse, exact.bse, rtol=0.04)
    ml = fitted("bernoulli", "logit", frame, y)
    assert (sds(drawn) > sds(ml)).all()


def plain_likelihood(model, frame, y, groups, n_draws, seed=0):
    """Log likelihood by plain importance sampling: t draws at the mode of all effects.

    All effects are drawn at once, from a t distribution with the curvature at the mode.
    """
    rng = np.random.default_rng(seed)
    columns = [pd.get_dummies(frame[group]).to_numpy(float) * sd for group, sd in groups.items()]
    z = np.hstack(columns)
    base = model.intercept_ + frame["x"].to_numpy() * model.coef_[0]
    sign = 2.0 * y - 1.0
    mode = np.zeros(z.shape[1])
    for _ in range(50):
        p = expit(base + z @ mode)
        precision = z.T @ (z * (p * (1 - p))[:, None]) + np.eye(len(mode))
        mode = mode + np.linalg.solve(precision, z.T @ (y - p) - mode)
    root = np.linalg.cholesky(np.linalg.inv(precision))
    df, n = 8.0, len(mode)
    normal = rng.standard_normal((n_draws, n))
    t = normal / np.sqrt(rng.chisquare(df, n_draws) / df)[:, None]
    log_q = multivariate_t(np.zeros(n), np.eye(n), df).logpdf(t) - np.log(np.diag(root)).sum()
    v = mode + t @ root.T
    eta = base + v @ z.T
    log_f = -np.logaddexp(0.0, -sign * eta).sum(axis=1) + norm.logpdf(v).sum(axis=1)
    w = log_f - log_q
    relative = np.exp(w - w.max())
    return logsumexp(w) - np.log(n_draws), relative.std() / relative.mean() / n_draws**0.5


def test_three_crossed_factors_beside_plain_importance_sampling():
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.integers(0, [8, 6, 5], (400, 3)), columns=["a", "b", "c"])
    frame["x"] = rng.normal(size=400)
    eta = 0.5 * frame["x"].to_numpy() + 1.5 * rng.normal(size=8)[frame["a"]]
    eta = eta + rng.normal(size=6)[frame["b"]] + 0.7 * rng.normal(size=5)[frame["c"]]
    y = (rng.random(400) < expit(eta)).astype(int)
    model = fitted("bernoulli", "logit", frame, y, effects=("a", "b", "c"))
    groups = dict(zip(("a", "b", "c"), sds(model), strict=True))
    expected, error = plain_likelihood(model, frame, y, groups, 25_000)
    assert error < 0.01
    error = 4.0 * np.hypot(error, model.loglik_std_)
    assert model.loglik_ == pytest.approx(expected, abs=error)
    near, _ = plain_likelihood(model, frame, y, groups, 6_000)
    # no parameter can be changed for a better likelihood, by as much as the draws can tell
    for scale in (0.85, 1.15):
        for group in groups:
            moved = {**groups, group: scale * groups[group]}
            assert plain_likelihood(model, frame, y, moved, 6_000)[0] < near + 0.005


# The parts -----------------------------------------------------------------------------------


class _CapturedError(Exception):
    pass


@pytest.fixture
def variational(monkeypatch):
    """The variational fit from which a corrected one starts."""
    kept = []

    def keep(before, options):
        kept.append(before)
        raise _CapturedError

    def fit(frame, y, **options):
        monkeypatch.setattr(generalized_fit, "corrected_way", lambda *arguments: keep)
        with pytest.raises(_CapturedError):
            fitted(frame=frame, y=y, **{"family": "bernoulli", "link": "logit", **options})
        return kept[-1]

    return fit


def collapsed(before, n_circles=2, order=1, integrate_fixed=False):
    objective, point = before.objective, before.state.point
    model = CollapsedLikelihood(
        objective.responses, objective.likelihood, objective.prior, integrate_fixed, 1
    )
    working = WorkingTail(objective, point, circles(n_circles, model.n_tail, 5))
    held = [] if integrate_fixed else [point.system.fixed_effects]
    parameters = np.concatenate([point.theta, *held])
    return model, working.draws(parameters, integrate_fixed, order), parameters


def test_likelihood_given_the_tail_is_a_product_of_one_dimensional_integrals(variational):
    frame, y = crossed("ordinal", n_levels=(12, 4), n_rows=80)
    before = variational(frame, y, family="ordinal")
    model, draws, parameters = collapsed(before)
    tails = draws.at(parameters)
    found = model.at(parameters, tails)
    rows = before.objective.responses
    first, second = model.eliminated.position, model.cross.tail_factors[0].position
    theta, own = parameters[:2], parameters[2:4]
    line = np.arange(-9.0, 9.0, 0.1)
    total = 0.0
    for level in range(12):
        here = rows.rows.codes[first] == level
        eta = rows.rows.fixed[here] @ parameters[4:]
        eta = eta + theta[second] * tails[0, rows.rows.codes[second][here]]
        values = log_density(
            "ordinal", "logit", rows.y[here].astype(int)[:, None],
            eta[:, None] + theta[first] * line, own,
        )  # fmt: skip
        total += logsumexp(rows.weights[here] @ values + norm.logpdf(line)) + np.log(0.1)
    assert found.values[0] == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize(("family", "link"), FAMILIES)
def test_slopes_given_the_tail(variational, family, link):
    frame, y = crossed(family, n_levels=(12, 4), n_rows=80)
    model, draws, parameters = collapsed(variational(frame, y, family=family, link=link))
    tails = draws.at(parameters)[:1]
    found = model.at(parameters, tails)
    for j in range(len(parameters)):
        step = 1e-4 * np.eye(len(parameters))[j]
        values = [model.at(parameters + s * step, tails).values[0] for s in (1, -1)]
        expected = (values[0] - values[1]) / 2e-4
        assert found.parameters[0, j] == pytest.approx(expected, abs=2e-3)
    for k in range(tails.shape[1]):
        step = 1e-4 * np.eye(tails.shape[1])[k]
        values = [model.at(parameters, tails + s * step).values[0] for s in (1, -1)]
        assert found.tail[0, k] == pytest.approx((values[0] - values[1]) / 2e-4, abs=2e-3)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("integrate_fixed", [False, True])
def test_gradient_of_the_objective(variational, order, integrate_fixed):
    """Also away from the base of the draws."""
    frame, y = crossed("negative_binomial", n_levels=(12, 4), n_rows=80)
    before = variational(frame, y, family="negative_binomial", link=None)
    model, draws, parameters = collapsed(before, order=order, integrate_fixed=integrate_fixed)
    parameters = parameters + 0.03
    found = weigh(model, draws, parameters)
    for j in range(len(parameters)):
        step = 1e-4 * np.eye(len(parameters))[j]
        values = [weigh(model, draws, parameters + s * step).value for s in (1, -1)]
        assert found.gradient[j] == pytest.approx((values[0] - values[1]) / 2e-4, abs=5e-3)


def test_draws_have_the_density_that_they_are_said_to_have(variational):
    """Means and covariances of draws far from the base, from many circles."""
    frame, y = crossed(n_levels=(12, 4), n_rows=80)
    _, draws, parameters = collapsed(variational(frame, y), n_circles=4000, order=2)
    ahead = parameters + 0.1
    assert draws.reaches(ahead)
    values = draws.at(ahead)
    covariance = np.cov(values.T)
    densities, _ = draws.log_densities(ahead)
    deviations = values - values.mean(axis=0)
    expected = 0.5 * np.linalg.slogdet(covariance)[1]
    expected = expected + 0.5 * (deviations @ np.linalg.inv(covariance) * deviations).sum(axis=1)
    assert np.mean(densities - expected) == pytest.approx(0.0, abs=0.05)
    assert np.corrcoef(densities, expected)[0, 1] > 0.999


def test_circles():
    normals = circles(3, 7, 0).reshape(3, CIRCLE, 7)
    np.testing.assert_array_equal(normals[:, 4:], -normals[:, :4])
    np.testing.assert_allclose(normals[:, 1], (normals[:, 0] + normals[:, 2]) / np.sqrt(2.0))


def hermite_tail(n_circles, seed, cubic, quartic, n=60):
    """Log weights that are sums of Hermite polynomials of n independent normal numbers."""
    xi = circles(n_circles, n, seed)
    w = cubic * (xi**3 - 3 * xi) + quartic * (xi**4 - 6 * xi**2 + 3)
    slopes = cubic * (3 * xi**2 - 3) + quartic * (4 * xi**3 - 12 * xi)
    nothing = np.zeros((len(xi), 1, 1))
    return WeighedTail(w.sum(axis=1), xi, slopes, slopes, nothing, nothing[..., None])


def test_log_mean_of_weights_that_are_sums_of_hermite_polynomials():
    """Independent numbers: a product of one-dimensional integrals is the log of the mean weight."""
    cubic, quartic = 0.03, -0.004
    line = np.arange(-10.0, 10.0, 0.01)
    w = cubic * (line**3 - 3 * line) + quartic * (line**4 - 6 * line**2 + 3)
    exact = 60 * (logsumexp(w + norm.logpdf(line)) + np.log(0.01))
    variance = 60 * (6 * cubic**2 + 24 * quartic**2)
    assert exact == pytest.approx(0.5 * variance, abs=0.03)
    found = [hermite_tail(8, seed, cubic, quartic).log_likelihood() for seed in range(40)]
    values, errors = np.array(found).T
    seen = values.std(ddof=1)
    assert values.mean() == pytest.approx(exact, abs=4 * seen / 40**0.5 + 2e-3)
    # the error that is stated is the one that is seen
    assert 0.7 < np.sqrt((errors**2).mean()) / seen < 1.4
    # squares of the weights themselves tell their variance ten times worse
    plain = [hermite_tail(8, s, cubic, quartic).log_weights.var() / 2 for s in range(40)]
    assert seen < 0.4 * np.std(plain)


def test_curvature_is_that_of_the_objective(variational):
    frame, y = crossed(n_levels=(12, 4), n_rows=120)
    model, draws, parameters = collapsed(variational(frame, y), order=2)
    here = weigh(model, draws, parameters)
    found = curvature_at(model, draws, here, np.full(len(parameters), 0.1))
    step = 1e-2
    for j in range(len(parameters)):
        move = step * np.eye(len(parameters))[j]
        values = [weigh(model, draws, parameters + s * move).value for s in (1, -1)]
        expected = -2.0 * (sum(values) - 2.0 * here.value) / step**2
        assert found.hessian[j, j] == pytest.approx(expected, rel=0.05)


# Questions about a fit -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def model():
    frame, y = crossed(n_levels=(20, 6), n_rows=300)
    return frame, y, fitted("bernoulli", "logit", frame, y, keep_data=True, random_state=0)


def test_fits_of_equal_seeds_are_equal_and_of_others_nearly(model):
    frame, y, first = model
    again = fitted("bernoulli", "logit", frame, y, random_state=0, n_jobs=1)
    assert again.loglik_ == first.loglik_
    np.testing.assert_array_equal(again.coef_, first.coef_)
    other = fitted("bernoulli", "logit", frame, y, random_state=1)
    assert other.loglik_ != first.loglik_
    error = np.hypot(other.loglik_std_, first.loglik_std_)
    assert other.loglik_ == pytest.approx(first.loglik_, abs=4 * error)
    np.testing.assert_allclose((other.params - first.params) / first.bse, 0.0, atol=0.05)
    order = np.random.default_rng(0).permutation(len(y))
    mixed = fitted("bernoulli", "logit", frame.iloc[order], y[order], random_state=0)
    assert mixed.loglik_ == pytest.approx(first.loglik_, abs=1e-5)


def test_what_a_fit_says(model):
    frame, y, fit = model
    assert fit.approximation_ == "corrected"
    assert fit.converged_
    text = str(fit.summary())
    assert "draws" in text
    assert "lower bound" not in text
    bound = fitted("bernoulli", "logit", frame, y, approximation="variational")
    assert bound.loglik_ < fit.loglik_
    assert len(fit.elbo_path_) == len(fit.gradient_path_) == fit.n_iter_ + 1
    again = pickle.loads(pickle.dumps(fit))
    assert again.loglik_std_ == fit.loglik_std_
    np.testing.assert_array_equal(again.predict_proba(frame), fit.predict_proba(frame))


def test_questions_about_a_fit(model):
    frame, y, fit = model
    smaller = fitted("bernoulli", "logit", frame[["a", "b"]], y, random_state=0)
    table = compare_models(smaller, fit).to_frame()
    assert table["chi_square"].iloc[1] == pytest.approx(2.0 * (fit.loglik_ - smaller.loglik_))
    assert 0.3 < icc(fit).loc["(all groups)", "adjusted"] < 0.7
    assert (fit.variance_intervals()["lower"] > 0.0).all()
    proba = fit.predict_proba(frame)
    bound = fitted("bernoulli", "logit", frame, y, approximation="variational")
    np.testing.assert_allclose(proba, bound.predict_proba(frame), atol=0.05)
    found = parametric_bootstrap(fit, lambda m: {"sd": m.coef_[0]}, n_resamples=2, random_state=0)
    assert np.isfinite(found.values["sd"]).all()


def test_iterations_are_reported(model, capsys):
    frame, y, _ = model
    fitted("bernoulli", "logit", frame, y, verbose=1)
    assert "draws" in capsys.readouterr().out


def test_priors_of_variances_are_refused():
    # the draws would leave the prior out
    frame, y = crossed(n_levels=(24, 8))
    with pytest.raises(ValueError, match="no draws are made with variance_prior="):
        fitted("bernoulli", "logit", frame, y, variance_prior="gamma")
