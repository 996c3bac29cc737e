"""`diagnose`: likelihoods and Pareto shapes of whole models."""

from __future__ import annotations

import sys
import warnings
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.polynomial.hermite_e import hermegauss
from scipy.special import expit, gammaln, log_expit, logsumexp
from scipy.stats import norm
from sklearn.exceptions import NotFittedError

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, mixed
from skmixed.datasets import make_mixed_classification, make_mixed_regression
from skmixed.exceptions import ApproximationWarning

sys.path.insert(0, str(Path(__file__).parent / "reference"))

from cases import DATA
from glmm_cases import fit_glmm, load_case, load_glmm_cases

NODES, SHARES = hermegauss(25)
LOG_SHARES = np.log(SHARES / SHARES.sum())


def diagnose(model, data, response, **parameters):
    frame = data.frame.drop(columns=[response])
    return model.diagnose(frame, data.frame[response], data.weights, **parameters)


def assert_agrees(diagnosis, log_likelihood):
    """Within four standard errors, and a log likelihood that bounds the ELBO."""
    error = abs(diagnosis.log_likelihood - log_likelihood)
    assert error < max(4.0 * diagnosis.log_likelihood_std, 1e-6)
    assert diagnosis.elbo <= diagnosis.log_likelihood + 4.0 * diagnosis.log_likelihood_std
    assert diagnosis.gap == diagnosis.log_likelihood - diagnosis.elbo


# One group: published likelihoods ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "response", "verdict"),
    [("cbpp", "prop", "Good"), ("toenail", "y", "Not close"), ("thailand", "rgi", "Acceptable")],
)
def test_one_group_against_quadrature(name, response, verdict):
    close = verdict == "Good"
    case = load_glmm_cases()[name]
    data = load_case(case)
    model = fit_glmm(case, data)
    diagnosis = diagnose(model, data, response, random_state=0)
    target = case["gaussian_vi"]["full_covariance"]
    assert diagnosis.log_likelihood + data.constant == pytest.approx(
        target["loglik_exact_at_gva_params"], abs=0.02
    )
    assert diagnosis.elbo == pytest.approx(model.elbo_, abs=1e-6)
    assert diagnosis.gap == pytest.approx(target["gap_at_gva_params"], abs=0.02)
    assert (diagnosis.pareto_k < 0.7) == close
    assert diagnosis.log_likelihood_std < 0.02
    assert ("comparisons of models" in diagnosis.advice) != close
    assert diagnosis.advice.startswith(verdict)


def test_levels_of_few_binary_rows_are_off():
    case = load_glmm_cases()["toenail"]
    data = load_case(case)
    diagnosis = diagnose(fit_glmm(case, data), data, "y", random_state=0)
    assert 0.3 < diagnosis.share_of_levels_off < 0.8
    assert "MCMC" in diagnosis.advice
    assert "rough" not in diagnosis.advice
    assert "patientID" in diagnosis.advice


def test_many_effects_a_level_have_scattered_nodes(monkeypatch):
    monkeypatch.setattr("skmixed.results.level_evidence._MOST_NODES", 8)
    case = load_glmm_cases()["cbpp"]
    data = load_case(case)
    diagnosis = diagnose(fit_glmm(case, data), data, "prop", random_state=0)
    exact = case["gaussian_vi"]["full_covariance"]["loglik_exact_at_gva_params"]
    assert diagnosis.log_likelihood + data.constant == pytest.approx(exact, abs=0.01)


# Several groups against nested quadrature ---------------------------------------------------


def small_crossed(seed=3):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(product("abcdef", "xyz", range(4)), columns=["g", "h", "replicate"])
    frame["x"] = rng.standard_normal(len(frame))
    effects = rng.standard_normal(6), 0.8 * rng.standard_normal(3)
    eta = 0.3 + 0.5 * frame["x"] + effects[0][frame["g"].map("abcdef".index)]
    eta = eta + effects[1][frame["h"].map("xyz".index)]
    y = (rng.random(len(frame)) < expit(eta)).astype(int)
    return frame[["x", "g", "h"]], y.to_numpy()


def nested_log_likelihood(frame, y, fixed, sd_g, sd_h):
    """log p(y) given fixed predictors (n,) or (n, m): g integrated within every node of h."""
    fixed = fixed.reshape(len(y), -1)
    shares = np.add.outer(np.add.outer(LOG_SHARES, LOG_SHARES), LOG_SHARES)
    sign = 2.0 * y - 1.0
    h = frame["h"].map("xyz".index).to_numpy()
    out = []
    for column in fixed.T:
        # given the three h and one level of g, sums separate over (g, h) cells
        total = np.zeros(shares.shape)
        for level in "abcdef":
            rows = (frame["g"] == level).to_numpy()
            cells = np.zeros((3, len(NODES), len(NODES)))
            for i in np.flatnonzero(rows):
                eta = column[i] + sd_g * NODES[:, None] + sd_h * NODES
                cells[h[i]] += log_expit(sign[i] * eta)
            with np.errstate(divide="ignore"):
                # at the outermost nodes of all three h the likelihood is 0 in double precision
                first, second, third = np.exp(cells)
                pairs = np.exp(LOG_SHARES)[:, None, None] * first[:, :, None] * second[:, None]
                total += np.log(np.tensordot(pairs, third, axes=(0, 0)))
        out.append(logsumexp(total + shares))
    return np.array(out)


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
def test_crossed_against_nested_quadrature(posterior):
    X, y = small_crossed()
    model = MixedEffectsVIClassifier(["g", "h"], posterior=posterior, method="ml").fit(X, y)
    sds = [float(np.sqrt(model.random_effects_cov_[g].iloc[0, 0])) for g in ("g", "h")]
    fixed = model.intercept_ + model.coef_[0] * X["x"].to_numpy()
    exact = nested_log_likelihood(X, y, fixed, *sds)[0]
    diagnosis = model.diagnose(X, y, random_state=0)
    assert_agrees(diagnosis, exact)
    assert diagnosis.log_likelihood_std < 0.05
    assert diagnosis.advice.startswith("Good") == (posterior == "full")


def test_crossed_with_integrated_fixed_effects():
    X, y = small_crossed()
    model = MixedEffectsVIClassifier(["g", "h"], method="reml").fit(X, y)
    sds = [float(np.sqrt(model.random_effects_cov_[g].iloc[0, 0])) for g in ("g", "h")]
    diagnosis = model.diagnose(X, y, n_draws=2000, random_state=0)
    # a flat prior on intercept and slope: a product rule around their posterior
    nodes, weights = hermegauss(5)
    root = np.linalg.cholesky(1.2 * model.coef_cov_)
    grid = np.array(list(product(nodes, repeat=2)))
    points = np.array([model.intercept_, model.coef_[0]]) + grid @ root.T
    columns = np.column_stack([np.ones(len(y)), X["x"]])
    found = nested_log_likelihood(X, y, columns @ points.T, *sds)
    shares = np.log([np.prod(w) for w in product(weights, repeat=2)])
    log_root = np.log(np.diagonal(root)).sum()
    exact = logsumexp(found + shares + 0.5 * (grid**2).sum(axis=1)) + log_root
    assert diagnosis.log_likelihood == pytest.approx(
        exact, abs=4.0 * diagnosis.log_likelihood_std + 0.01
    )
    assert diagnosis.log_likelihood_std < 0.03


# Families and posteriors ---------------------------------------------------------------------


def counts(scale, seed=0):
    X, eta, _ = make_mixed_regression(
        400, 1, (20, 6), coef=[0.3], group_sd=(0.5, 0.3), noise_sd=0.0, random_state=seed
    )
    return X, np.random.default_rng(seed).poisson(scale * np.exp(np.asarray(eta)))


def test_large_counts_are_nearly_normal():
    X, y = counts(200.0)
    model = MixedEffectsVIRegressor(["g0", "g1"], family="poisson").fit(X, y)
    diagnosis = model.diagnose(X, y, random_state=0)
    assert diagnosis.pareto_k < 0.5
    assert diagnosis.effective_share > 0.98
    assert abs(diagnosis.gap) < 0.05
    assert diagnosis.share_of_levels_off == 0.0
    assert diagnosis.advice.startswith("Good")


@pytest.mark.parametrize("family", ["negative_binomial", "gamma"])
def test_families_with_dispersions(family):
    X, y = counts(3.0)
    model = MixedEffectsVIRegressor(["g0", "g1"], family=family).fit(
        X, y + 0.5 * (family == "gamma")
    )
    diagnosis = model.diagnose(X, y + 0.5 * (family == "gamma"), n_draws=300, random_state=0)
    assert -4.0 * diagnosis.log_likelihood_std < diagnosis.gap < 1.0


def test_ordered_classes_leave_the_classifier_as_it_is():
    X, y, _ = make_mixed_classification(
        300, 1, (20, 6), n_classes=3, thresholds=[-1.0, 1.0], coef=[1.0], random_state=0
    )
    model = MixedEffectsVIClassifier(["g0", "g1"], family="ordinal").fit(X, y)
    before = {name: id(value) for name, value in vars(model).items()}
    diagnosis = model.diagnose(X, y, n_draws=300, random_state=0)
    assert -4.0 * diagnosis.log_likelihood_std < diagnosis.gap < 1.0
    assert {name: id(value) for name, value in vars(model).items()} == before


def slopes_log_likelihood(X, y, model):
    """One group with an intercept and a slope: a wide product rule for every level."""
    covariance = model.random_effects_cov_["g0"].to_numpy()
    root = np.linalg.cholesky(covariance)
    steps = np.linspace(-6.0, 6.0, 121)
    grid = np.array(list(product(steps, repeat=2)))
    shares = norm.logpdf(grid).sum(axis=1) + 2.0 * np.log(steps[1] - steps[0])
    effects = grid @ root.T
    x = X["x0"].to_numpy()
    total = 0.0
    for level in X["g0"].unique():
        rows = np.flatnonzero(X["g0"] == level)
        eta = model.intercept_ + model.coef_[0] * x[rows]
        eta = eta + effects[:, :1] + effects[:, 1:] * x[rows]
        log_rows = y[rows] * eta - np.exp(eta) - gammaln(y[rows] + 1.0)
        total += logsumexp(log_rows.sum(axis=1) + shares)
    return total


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
def test_slopes_against_quadrature(posterior):
    X, y = counts(2.0)
    X = X.drop(columns="g1")
    model = MixedEffectsVIRegressor(
        ["(1 + x0 | g0)"], family="poisson", method="ml", posterior=posterior
    ).fit(X, y)
    assert np.linalg.eigvalsh(model.random_effects_cov_["g0"]).min() > 1e-6
    diagnosis = model.diagnose(X, y, random_state=0)
    exact = slopes_log_likelihood(X, y, model)
    assert diagnosis.log_likelihood == pytest.approx(exact, abs=5e-3)
    assert diagnosis.gap > 0.0


def test_a_variance_of_zero_and_no_random_effects():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.standard_normal(200), "g": np.tile(list("abcde"), 40)})
    y = np.tile([0, 1], 100)
    model = MixedEffectsVIClassifier(["g"], method="ml").fit(X, y)
    assert model.random_effects_cov_["g"].iloc[0, 0] == 0.0
    diagnosis = model.diagnose(X, y)
    assert diagnosis.pareto_k == 0.0
    assert diagnosis.gap == pytest.approx(0.0, abs=1e-6)
    plain = MixedEffectsVIClassifier(None, method="ml").fit(X[["x"]], y)
    assert plain.diagnose(X[["x"]], y).gap == pytest.approx(0.0, abs=1e-6)


def test_normal_responses():
    X, y, _ = make_mixed_regression(300, 1, (20, 6), coef=[1.0], random_state=0)
    y = 100.0 * np.asarray(y)
    full = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y)
    diagnosis = full.diagnose(X, y)
    assert (diagnosis.pareto_k, diagnosis.gap, diagnosis.log_likelihood_std) == (0.0, 0.0, 0.0)
    assert diagnosis.log_likelihood == full.elbo_
    factorised = MixedEffectsVIRegressor(["g0", "g1"], posterior="mean_field").fit(X, y)
    sampled = factorised.diagnose(X, y, random_state=0)
    assert sampled.elbo == pytest.approx(factorised.elbo_, abs=1e-5)
    # the restricted likelihood is largest at the estimates of posterior="full"
    assert sampled.log_likelihood < full.elbo_ + 4.0 * sampled.log_likelihood_std
    assert sampled.gap > -4.0 * sampled.log_likelihood_std


# Arguments -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    X, y = small_crossed()
    return X, y, MixedEffectsVIClassifier(["g", "h"]).fit(X, y)


def test_equal_seeds_equal_results(fitted):
    X, y, model = fitted
    one, other = (model.diagnose(X, y, n_draws=200, random_state=5) for _ in range(2))
    assert one == other
    assert one != model.diagnose(X, y, n_draws=200, random_state=6)


def test_weights_count_rows(fitted):
    X, y, model = fitted
    padded = pd.concat([X, X.iloc[:1]])
    weights = np.append(np.ones(len(y)), 0.0)
    with_nothing = model.diagnose(padded, np.append(y, y[0]), weights, 200, 5)
    assert with_nothing == model.diagnose(X, y, n_draws=200, random_state=5)


def test_order_of_rows_does_not_matter_to_the_bound(fitted):
    X, y, model = fitted
    diagnosis = model.diagnose(X[::-1], y[::-1], n_draws=200, random_state=5)
    assert diagnosis.elbo == pytest.approx(model.elbo_, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (X[:-1], y[:-1]), "fitted on 72 rows .* these are 71"),
        (lambda X, y: (X, 1 - y), "not the data of the fit"),
        (lambda X, y: (X.assign(g="a"), y), "not the data of the fit"),
        (lambda X, y: (X.assign(h="new"), y), "Row 0 .* not fitted on"),
        (lambda X, y: (X, y + 7), "y is 7 in row|y is 8 in row"),
    ],
)
def test_other_data_are_refused(fitted, change, message):
    X, y, model = fitted
    classes = model.classes_
    with pytest.raises(ValueError, match=message):
        model.diagnose(*change(X, y))
    assert model.classes_ is classes


def test_too_few_draws(fitted):
    X, y, model = fitted
    with pytest.raises(ValueError, match="n_draws"):
        model.diagnose(X, y, n_draws=10)


def test_a_tail_too_large_has_its_levels_judged_alone(monkeypatch):
    X, y = counts(5.0)
    X = X.assign(a=np.sin(np.arange(400.0)), b=np.cos(np.arange(400.0)))
    # four effects per level are too many to integrate
    model = MixedEffectsVIRegressor(["(1 + x0 + a + b || g0)", "g1"], family="poisson").fit(X, y)
    whole = model.diagnose(X, y, n_draws=100, random_state=0)
    assert whole.moves.empty
    monkeypatch.setattr("skmixed.results.examination._LARGEST_TAIL", 4)
    diagnosis = model.diagnose(X, y, random_state=0)
    assert np.isnan(diagnosis.log_likelihood)
    assert diagnosis.elbo == pytest.approx(model.elbo_, abs=1e-4)
    assert diagnosis.share_of_levels_off == pytest.approx(whole.share_of_levels_off, abs=0.1)
    assert diagnosis.advice.startswith("Not judged: there are too many effects")
    assert "all rows of a sample of the levels" in diagnosis.advice
    assert "Gap:            not known" in str(diagnosis)


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
def test_fits_of_the_iterative_solver(posterior):
    X, y = counts(5.0)
    model = MixedEffectsVIRegressor(["g0", "g1"], family="poisson", posterior=posterior)
    one = model.fit(X, y).diagnose(X, y, n_draws=300, random_state=0)
    model = model.set_params(solver="iterative").fit(X, y)
    assert model.solver_ == "iterative"
    other = model.diagnose(X, y, n_draws=300, random_state=0)
    assert other.log_likelihood == pytest.approx(one.log_likelihood, abs=0.1)


def test_unfitted():
    X, y = small_crossed()
    with pytest.raises(NotFittedError):
        MixedEffectsVIClassifier(["g", "h"]).diagnose(X, y)


def test_precision_weights_of_a_sampled_posterior_are_refused():
    X, y, _ = make_mixed_regression(100, 1, (10, 4), random_state=0)
    X["w"] = np.linspace(1.0, 2.0, 100)
    model = MixedEffectsVIRegressor(["g0"], posterior="mean_field", precision_weights="w")
    with pytest.raises(ValueError, match="precision_weights"):
        model.fit(X.drop(columns="g1"), y).diagnose(X.drop(columns="g1"), y)


def test_text_and_html(fitted):
    X, y, model = fitted
    diagnosis = model.diagnose(X, y, n_draws=200, random_state=5)
    text, page = str(diagnosis), diagnosis._repr_html_()
    assert repr(diagnosis) == text
    for word in ("Pareto k", "Log likelihood", "ELBO", "Gap", diagnosis.advice.splitlines()[0]):
        assert word in text
    assert page.startswith("<div>")
    assert f"{diagnosis.elbo:.4f}" in page


# A loose bound ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def nested_pairs():
    """150 communities of 10 mothers of 2 rows; exact estimates in the README of the data."""
    frame = pd.read_csv(DATA / "sim_nested_pairs.csv.gz")
    with pytest.warns(ApproximationWarning, match=r"sd\(Intercept \| m\) by some 66 %"):
        model = mixed("y ~ x + z + (1 | m) + (1 | c)", frame, family="bernoulli", method="ml")
    return frame, model


def test_a_large_gap_overrules_pareto_k(nested_pairs):
    frame, model = nested_pairs
    diagnosis = model.diagnose(frame[["x", "z", "m", "c"]], frame["y"], n_draws=300, random_state=0)
    # the exact standard deviation of m is 6.03, its log likelihood -1492.86
    assert model.random_effects_cov_["m"].iloc[0, 0] ** 0.5 < 0.61 * 6.028
    assert diagnosis.pareto_k < 0.5
    assert 45.0 < diagnosis.gap < 50.0
    assert diagnosis.advice.startswith("Estimates off: the log likelihood exceeds the ELBO by 47")
    assert "variances are probably too small, and coefficients too close to 0" in diagnosis.advice
    assert "can be used" not in diagnosis.advice
    assert "0 % (given the estimates)" in str(diagnosis)


@pytest.mark.parametrize(
    ("name", "verdict"),
    [("viechtbauer47", "Not close"), ("respiratory", "Acceptable"), ("cbpp", "Good")],
)
def test_the_gap_counts_per_level(name, verdict):
    case = load_glmm_cases()[name]
    data = load_case(case)
    response = case["formula_lme4"].split("~")[0].strip()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ApproximationWarning)
        model = fit_glmm(case, data)
    diagnosis = diagnose(model, data, response, random_state=0)
    assert diagnosis.advice.startswith(verdict)
    assert ("at the estimated variances" in diagnosis.advice) == (verdict == "Good")


def exact_binary_cases():
    """Binary models with one variance whose exact estimate is known."""
    cases = load_glmm_cases()
    named = "cbpp contra viechtbauer47 radinger hessianfly respiratory culcita toenail thailand"
    return {name: cases[name] for name in named.split()}


@pytest.mark.parametrize("name", exact_binary_cases())
def test_fit_warns_where_the_bound_is_short_of_the_exact_estimate(name):
    case = exact_binary_cases()[name]
    exact = case["exact_ml"]["sd_group"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = fit_glmm(case)
    warned = [w for w in caught if issubclass(w.category, ApproximationWarning)]
    (covariance,) = model.random_effects_cov_.values()
    short = 1.0 - np.sqrt(covariance.iloc[0, 0]) / exact
    if short > 0.065:
        assert len(warned) == 1
        assert "diagnose" in str(warned[0].message)
    if short < 0.03:
        assert not warned


# Moves of the estimates ----------------------------------------------------------------------


def test_pairs_within_communities_are_judged_by_their_moves(nested_pairs):
    _, model = nested_pairs
    diagnosis = model.diagnose(n_draws=100, random_state=0)
    assert "The bound is short here. Towards the maximum" in diagnosis.advice
    assert "approximation='corrected'" in diagnosis.advice
    moves = diagnosis.moves
    assert moves.index[0] == "sd(Intercept | m)"
    assert "sd(Intercept | m) by +5.3 standard errors, +32 %" in diagnosis.advice
    assert moves.loc["sd(Intercept | m)", "estimate"] == pytest.approx(3.61, abs=0.01)
    # a step from 3.6 towards 6.0, from 0.66 towards 1.00: short of it, but far
    assert 4.5 < moves.loc["sd(Intercept | m)", "likelihood"] < 6.1
    assert moves.loc["x", "std_errors"] > 1.0
    assert np.isnan(moves.loc["x", "percent"])
    assert (moves["mc_error"] == 0.0).all()
    assert "sd(Intercept | m)" in str(diagnosis)


def test_many_rows_within_nested_levels_are_judged_good():
    rng = np.random.default_rng(0)
    inner = np.repeat(np.arange(60), 60)
    X = pd.DataFrame({"x": rng.standard_normal(len(inner)), "outer": inner // 4, "inner": inner})
    eta = X["x"] + 0.5 * rng.standard_normal(60)[inner] + 0.5 * rng.standard_normal(15)[inner // 4]
    y = (rng.random(len(X)) < expit(eta)).astype(int).to_numpy()
    model = MixedEffectsVIClassifier(["outer", "inner"]).fit(X, y)
    diagnosis = model.diagnose(X, y, n_draws=200, random_state=0)
    assert diagnosis.advice.startswith("Good")
    assert (diagnosis.moves["std_errors"].abs() < 0.1).all()
    assert "Towards the maximum of the likelihood the furthest moves are" in diagnosis.advice


@pytest.mark.parametrize("name", ["cbpp", "respiratory", "thailand"])
def test_a_step_leads_to_the_exact_estimate(name):
    case = load_glmm_cases()[name]
    data = load_case(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ApproximationWarning)
        model = fit_glmm(case, data)
    response = case["formula_lme4"].split("~")[0].strip()
    moves = diagnose(model, data, response, n_draws=100, random_state=0).moves
    (row,) = moves[moves["percent"].notna()].to_dict("records")
    exact = case["exact_ml"]["sd_group"]
    left = abs(row["likelihood"] - exact) / abs(row["estimate"] - exact)
    assert left < 0.25
    assert row["percent"] == pytest.approx(100.0 * (row["likelihood"] / row["estimate"] - 1.0))


@pytest.fixture(scope="module", params=["ml", "reml"])
def wide_crossed(request):
    """200 x 25 levels, the former of 4 or 5 binary rows, with standard deviations of 2 and 1."""
    rng = np.random.default_rng(1)
    X = pd.DataFrame({"x": rng.standard_normal(900), "g": rng.integers(0, 200, 900)})
    X["h"] = rng.integers(0, 25, 900)
    effects = 2.0 * rng.standard_normal(200), rng.standard_normal(25)
    y = (rng.random(900) < expit(X["x"] + effects[0][X["g"]] + effects[1][X["h"]])).astype(int)
    model = MixedEffectsVIClassifier(["g", "h"], method=request.param)
    return X, y.to_numpy(), model.fit(X, y)


def test_a_step_of_crossed_factors_leads_to_the_corrected_estimates(wide_crossed):
    X, y, model = wide_crossed
    moves = model.diagnose(X, y, n_draws=100, random_state=0).moves
    corrected = MixedEffectsVIClassifier(
        ["g", "h"], method=model.method_, approximation="corrected"
    ).fit(X, y)
    exact = {f"sd(Intercept | {f})": corrected.random_effects_cov_[f].iloc[0, 0] for f in "gh"}
    exact = {name: np.sqrt(variance) for name, variance in exact.items()}
    exact |= {"Intercept": corrected.intercept_, "x": corrected.coef_[0]}
    assert moves.loc["sd(Intercept | g)", "std_errors"] > 0.2
    assert (moves["mc_error"] < 0.03).all()
    for name, row in moves.iterrows():
        per_error = row["std_errors"] / (row["likelihood"] - row["estimate"])
        off = (row["likelihood"] - exact[name]) * per_error
        assert abs(off) < 0.05 + 3.0 * row["mc_error"]


def test_few_draws_agree_with_many(wide_crossed, monkeypatch):
    X, y, model = wide_crossed
    many = model.diagnose(X, y, n_draws=1000, random_state=0)
    monkeypatch.setattr("skmixed.results.examination._MOST_WORK", 1.0)
    few = model.diagnose(X, y, random_state=0)
    assert (many.n_draws, few.n_draws) == (1000, 256)
    assert few.log_likelihood_std < 0.1
    error = np.hypot(few.log_likelihood_std, many.log_likelihood_std)
    assert few.log_likelihood == pytest.approx(many.log_likelihood, abs=4.0 * error)
    assert np.isnan(few.pareto_k)
    assert 0.0 < few.effective_share < 1.0
    assert few.share_of_levels_off == many.share_of_levels_off
    assert "The log likelihood is from 256 draws with derivatives" in few.advice
    assert "not known from 256 draws" in str(few)
    assert few == model.diagnose(X, y, random_state=0)


def test_without_crossed_factors_quadrature_takes_the_place_of_many_draws(monkeypatch):
    case = load_glmm_cases()["thailand"]
    data = load_case(case)
    monkeypatch.setattr("skmixed.results.examination._MOST_WORK", 1.0)
    diagnosis = diagnose(fit_glmm(case, data), data, "rgi", random_state=0)
    exact = case["gaussian_vi"]["full_covariance"]["loglik_exact_at_gva_params"]
    assert diagnosis.log_likelihood + data.constant == pytest.approx(exact, abs=1e-3)
    assert (diagnosis.n_draws, diagnosis.log_likelihood_std) == (0, 0.0)
    assert diagnosis.advice.startswith("Acceptable")
    assert "by quadrature" in diagnosis.advice
    assert "Effective draws" not in str(diagnosis)


def test_own_parameters_move_as_well():
    X, y = counts(3.0)
    model = MixedEffectsVIRegressor(["g0"], family="negative_binomial").fit(X, y)
    moves = model.diagnose(X, y, n_draws=100, random_state=0).moves
    assert set(moves.index) == {"sd(Intercept | g0)", "dispersion", "Intercept", "x0", "g1"}


def test_lines_are_printed_where_asked_for(fitted, capsys):
    X, y, model = fitted
    model.diagnose(X, y, n_draws=100, random_state=0)
    assert capsys.readouterr().out == ""
    loud = MixedEffectsVIClassifier(["g", "h"]).fit(X, y).set_params(verbose=1)
    loud.diagnose(X, y, n_draws=100, random_state=0)
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("[diagnose]") for line in lines)
    assert "posterior, step 1" in lines[0]
    assert "by quadrature" in lines[-1]
