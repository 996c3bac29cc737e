"""approximation="corrected": the likelihood itself, beside fine grids over all effects."""

import pickle
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logsumexp
from scipy.stats import norm
from sklearn.exceptions import ConvergenceWarning

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, RandomEffect
from skmixed.exceptions import SingularFitWarning
from skmixed.inspection import compare_models, parametric_bootstrap
from tests.fit.dense_likelihood import Nested, OneFactor, curvature, gradient

FAMILIES = [
    ("bernoulli", "logit"), ("bernoulli", "probit"), ("ordinal", "logit"), ("ordinal", "probit"),
    ("poisson", None), ("negative_binomial", None), ("gamma", None),
]  # fmt: skip
CLASSES = ("bernoulli", "ordinal")

pytestmark = pytest.mark.compiled


def simulated(family, q, seed=0, n_levels=24, n_each=8):
    """Columns x, z, w, group and a response of a family, with q effects per level."""
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(n_levels), n_each)
    n = len(g)
    frame = pd.DataFrame({"x": rng.normal(size=n), "z": rng.normal(size=n), "g": g})
    basis = np.column_stack([np.ones(n), frame["x"], frame["z"]])[:, :q]
    effects = rng.normal(size=(n_levels, q)) * [1.2, 0.7, 0.6][:q]
    eta = 0.3 + 0.5 * frame["x"].to_numpy() + (basis * effects[g]).sum(axis=1)
    if family == "bernoulli":
        y = (rng.random(n) < expit(eta)).astype(int)
    elif family == "ordinal":
        y = np.searchsorted([-1.0, 0.5, 1.5], eta + rng.logistic(size=n))
    elif family == "gamma":
        y = rng.gamma(2.0, np.exp(eta) / 2.0)
    else:
        spread = rng.gamma(2.0, 0.5, size=n) if family == "negative_binomial" else 1.0
        y = rng.poisson(np.exp(eta) * spread)
    return frame, y


def fitted(family, link, frame, y, q=1, weights=None, **options):
    terms = " + ".join(["1", "x", "z"][:q])
    kind = MixedEffectsVIClassifier if family in CLASSES else MixedEffectsVIRegressor
    if link is not None:
        options["link"] = link
    model = kind(
        formula=f"x + ({terms} | g)", family=family, approximation="corrected", tol=1e-8, **options
    )
    if family == "ordinal":
        y = pd.Categorical(y, ordered=True)
    return model.fit(frame, y, sample_weight=weights)


def oracle_of(family, link, frame, y, q, **rest):
    n = len(y)
    basis = np.column_stack([np.ones(n), frame["x"], frame["z"]])[:, :q]
    x = np.column_stack([np.ones(n), frame["x"]])
    return OneFactor(family, link, np.asarray(y), x, basis, frame["g"].to_numpy(), **rest)


def parameters_of(model):
    """(beta, T by rows, own) in the units of the data, the intercept at the origin."""
    covariance = next(iter(model.random_effects_cov_.values())).to_numpy()
    root = np.linalg.cholesky(covariance)
    result = model.fit_result_
    intercept = result.coefficients[0] - result.center @ result.coefficients
    beta = np.concatenate([[intercept], result.coefficients[1:]])
    return np.concatenate([beta, root[np.tril_indices(len(root))], result.parameters])


@cache
def one_effect(family, link):
    """A model with one effect per level; its oracle, estimates and their covariance by that."""
    frame, y = simulated(family, 1)
    model = fitted(family, link, frame, y)
    oracle, at = oracle_of(family, link, frame, y, 1), parameters_of(model)
    return model, oracle, at, np.linalg.inv(curvature(oracle, at))


@pytest.mark.parametrize(("family", "link"), FAMILIES)
def test_estimates_maximise_the_likelihood_itself(family, link):
    model, oracle, at, covariance = one_effect(family, link)
    assert model.approximation_ == "corrected"
    assert model.converged_
    assert model.loglik_ == pytest.approx(oracle(at), abs=1e-7)
    assert model.loglik_std_ == 0.0
    errors = np.sqrt(np.diagonal(covariance))
    np.testing.assert_allclose(gradient(oracle, at) * errors, 0.0, atol=1e-4)
    result = model.fit_result_
    of_slope = np.sqrt(result.coefficient_covariance[1, 1])
    assert of_slope == pytest.approx(errors[1], rel=1e-4)
    # logarithm of the standard deviation, and own parameters
    estimated = np.sqrt(np.diagonal(result.estimate_covariance))
    assert estimated[0] == pytest.approx(errors[2] / at[2], rel=1e-4)
    np.testing.assert_allclose(estimated[1 : 1 + len(at) - 3], errors[3:], rtol=1e-4)


@pytest.mark.parametrize(("family", "link"), FAMILIES)
def test_vector_effects(family, link):
    frame, y = simulated(family, 2, seed=1)
    model = fitted(family, link, frame, y, q=2)
    oracle, at = oracle_of(family, link, frame, y, 2), parameters_of(model)
    assert model.loglik_ == pytest.approx(oracle(at), abs=1e-6)
    # standard errors are a tenth or so
    np.testing.assert_allclose(gradient(oracle, at), 0.0, atol=5e-3)


def test_three_effects():
    frame, y = simulated("poisson", 3, seed=2, n_levels=12, n_each=12)
    model = fitted("poisson", None, frame, y, q=3)
    oracle, at = oracle_of("poisson", None, frame, y, 3), parameters_of(model)
    # the grid of the oracle ends where one of a few levels still has some mass
    assert model.loglik_ == pytest.approx(oracle(at), abs=2e-5)
    # a derivative along one line through all parameters, as each value takes a while
    along = 1e-4 * np.random.default_rng(0).standard_normal(len(at))
    assert (oracle(at + along) - oracle(at - along)) / 2e-4 == pytest.approx(0.0, abs=1e-2)


@pytest.mark.parametrize(("family", "link"), FAMILIES)
def test_posterior_of_effects(family, link):
    frame, y = simulated(family, 1, seed=3)
    model = fitted(family, link, frame, y)
    mean, std = oracle_of(family, link, frame, y, 1).effects(parameters_of(model))
    np.testing.assert_allclose(model.random_effects_["g"], mean, atol=1e-6)
    np.testing.assert_allclose(model.random_effects_std_["g"], std, atol=1e-6)


def test_weights_and_offsets():
    frame, y = simulated("poisson", 1, seed=4)
    rng = np.random.default_rng(5)
    frame["exposure"] = rng.normal(size=len(y))
    weights = rng.integers(1, 4, len(y)).astype(float)
    model = fitted("poisson", None, frame, y, weights=weights, offset="exposure")
    oracle = oracle_of(
        "poisson", None, frame, y, 1, weights=weights, offset=frame["exposure"].to_numpy()
    )
    at = parameters_of(model)
    assert model.loglik_ == pytest.approx(oracle(at), abs=1e-6)
    np.testing.assert_allclose(gradient(oracle, at), 0.0, atol=1e-3)
    assert at[1] != pytest.approx(parameters_of(fitted("poisson", None, frame, y))[1], abs=1e-3)


def nested(seed=6, n_outer=15, n_inner=5, n_each=3):
    rng = np.random.default_rng(seed)
    inner = np.repeat(np.arange(n_outer * n_inner), n_each)
    outer = inner // n_inner
    x = rng.normal(size=len(inner))
    eta = 0.5 + x + rng.normal(size=n_outer)[outer] + 1.5 * rng.normal(size=inner.max() + 1)[inner]
    y = (rng.random(len(inner)) < expit(eta)).astype(int)
    order = rng.permutation(len(y))
    frame = pd.DataFrame({"x": x, "inner": inner, "outer": outer}).iloc[order]
    return frame.reset_index(drop=True), y[order]


def test_nested_factors():
    frame, y = nested(n_outer=8)
    model, swapped = (
        MixedEffectsVIClassifier(groups, approximation="corrected", tol=1e-8).fit(frame, y)
        for groups in (["inner", "outer"], ["outer", "inner"])
    )
    assert swapped.loglik_ == pytest.approx(model.loglik_, abs=1e-9)
    np.testing.assert_allclose(swapped.bse, model.bse, rtol=1e-7)
    x = np.column_stack([np.ones(len(y)), frame["x"]])
    oracle = Nested(y, x, frame["inner"].to_numpy(), frame["outer"].to_numpy())
    sds = [np.sqrt(model.random_effects_cov_[name].iloc[0, 0]) for name in ("inner", "outer")]
    at = np.array([model.intercept_, *model.coef_, *sds])
    assert model.loglik_ == pytest.approx(oracle(at), abs=1e-6)
    errors = np.sqrt(np.diagonal(np.linalg.inv(curvature(oracle, at))))
    np.testing.assert_allclose(gradient(oracle, at) * errors, 0.0, atol=1e-4)
    np.testing.assert_allclose(model.bse, errors[:2], rtol=1e-4)


# Structures, boundaries, REML ----------------------------------------------------------------


def test_a_small_crossed_factor_is_integrated_with_all_its_levels():
    """Three levels are one vector of effects of a single outer level."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({"a": rng.integers(0, 12, 150), "b": rng.integers(0, 3, 150)})
    eta = rng.normal(size=12)[frame["a"]] + rng.normal(size=3)[frame["b"]]
    y = (rng.random(150) < expit(eta)).astype(int)
    model = MixedEffectsVIClassifier(["a", "b"], approximation="corrected").fit(frame, y)
    of_a, of_b = (np.sqrt(model.random_effects_cov_[name].iloc[0, 0]) for name in ("a", "b"))
    line, fine = np.arange(-4.0, 4.1, 0.25), np.arange(-7.0, 7.1, 0.5)
    at = model.intercept_ + of_b * line[:, None] + of_a * fine
    of_rows = np.log(expit(-at)), np.log(expit(at))
    normal = norm.logpdf(line) + np.log(0.25)
    total = normal[:, None, None] + normal[:, None] + normal
    for level in range(12):
        # each row is of one level of b: the likelihood of a level of a is a product of three
        parts = np.zeros((3, len(line), len(fine)))
        for i in np.flatnonzero(frame["a"] == level):
            parts[frame["b"][i]] += of_rows[y[i]]
        first, second, third = np.exp(parts)
        pairs = first[:, None] * second * norm.pdf(fine) * 0.5
        total += np.log(np.einsum("jkf,lf->jkl", pairs, third))
    exact = logsumexp(total)
    assert model.loglik_ == pytest.approx(exact, abs=1e-6)


@pytest.mark.parametrize("structure", ["diagonal", "isotropic", "compound_symmetry"])
def test_structures_of_covariance(structure):
    frame, y = simulated("bernoulli", 2, seed=9, n_levels=40)
    term = RandomEffect("g", ["x"], covariance=structure)
    model = MixedEffectsVIClassifier(term, approximation="corrected", tol=1e-8).fit(frame, y)
    oracle = OneFactor(
        "bernoulli", "logit", y, np.column_stack([np.ones(len(y)), frame[["x", "z"]]]),
        np.column_stack([np.ones(len(y)), frame["x"]]), frame["g"].to_numpy(),
    )  # fmt: skip
    at = parameters_of(model)
    assert model.loglik_ == pytest.approx(oracle(at), abs=1e-6)
    # stationary in the coefficients, and along the standard deviations that are free together
    slopes = gradient(oracle, at)
    np.testing.assert_allclose(slopes[:3], 0.0, atol=1e-3)
    sds = np.exp(np.array([0.0, 1e-4, -1e-4]))
    scaled = [oracle(np.concatenate([at[:3], s * at[3:]])) for s in sds]
    assert (scaled[1] - scaled[2]) / 2e-4 == pytest.approx(0.0, abs=1e-3)


def test_a_variance_of_zero_is_found_and_has_no_standard_error():
    rng = np.random.default_rng(12)
    frame = pd.DataFrame({"x": rng.normal(size=300), "g": np.arange(300) % 60})
    y = (rng.random(300) < expit(frame["x"])).astype(int)
    with pytest.warns(SingularFitWarning):
        model = MixedEffectsVIClassifier(["g"], approximation="corrected").fit(frame, y)
    assert model.random_effects_cov_["g"].iloc[0, 0] == 0.0
    assert model.converged_
    eta = model.intercept_ + frame["x"] * model.coef_[0]
    expected = np.log(expit(np.where(y > 0, eta, -eta))).sum()
    assert model.loglik_ == pytest.approx(expected, abs=1e-8)
    assert model.fit_result_.estimate_covariance[0, 0] == 0.0


def test_restricted_likelihood_integrates_the_coefficients():
    """Laplace's method for the coefficients, of the likelihood on a fine grid."""
    frame, y = simulated("poisson", 1, seed=11, n_levels=8, n_each=4)
    model = fitted("poisson", None, frame, y, method="reml")
    oracle, at = oracle_of("poisson", None, frame, y, 1), parameters_of(model)

    def restricted(sd):
        beta = at[:2].copy()
        for _ in range(30):
            everything = np.concatenate([beta, [sd]])
            bend = curvature(lambda b: oracle(np.append(b, sd)), beta)
            step = np.linalg.solve(bend, gradient(oracle, everything)[:2])
            beta = beta + step
            if np.abs(step).max() < 1e-7:
                break
        value = oracle(np.append(beta, sd)) - 0.5 * np.linalg.slogdet(bend)[1]
        return value + np.log(2.0 * np.pi)

    assert model.loglik_ == pytest.approx(restricted(at[2]), abs=1e-5)
    slope = (restricted(at[2] + 1e-2) - restricted(at[2] - 1e-2)) / 2e-2
    assert slope == pytest.approx(0.0, abs=1e-2)
    assert at[2] > parameters_of(fitted("poisson", None, frame, y))[2] + 0.02


def test_rows_in_any_order_and_any_number_of_threads():
    frame, y = nested()
    first = MixedEffectsVIClassifier(["inner", "outer"], approximation="corrected", n_jobs=1)
    first.fit(frame, y)
    order = np.random.default_rng(0).permutation(len(y))
    second = MixedEffectsVIClassifier(["inner", "outer"], approximation="corrected", n_jobs=2)
    second.fit(frame.iloc[order], y[order])
    assert first.loglik_ == pytest.approx(second.loglik_, abs=1e-9)
    np.testing.assert_allclose(first.coef_, second.coef_, rtol=1e-6)


def test_a_variance_without_a_maximum_ends_the_iterations():
    """Levels of one class each: the likelihood rises with the variance for ever."""
    frame = pd.DataFrame({"g": np.repeat(np.arange(30), 5)})
    y = frame["g"].to_numpy() % 2
    model = MixedEffectsVIClassifier(["g"], approximation="corrected")
    with pytest.warns(ConvergenceWarning):
        model.fit(frame, y)
    assert not model.converged_
    assert 10.0 < np.sqrt(model.random_effects_cov_["g"].iloc[0, 0]) < 300.0


# What cannot be integrated -------------------------------------------------------------------


def test_models_without_few_dimensions_are_refused():
    rng = np.random.default_rng(12)
    frame = pd.DataFrame(rng.integers(0, 9, (200, 3)), columns=["a", "b", "c"])
    frame["x"], frame["z"], frame["w"] = rng.normal(size=(3, 200))
    y = rng.integers(0, 2, 200)

    def fit(formula, **options):
        MixedEffectsVIClassifier(formula=formula, approximation="corrected", **options).fit(
            frame, y
        )

    with pytest.raises(ValueError, match=r"solver='iterative' cannot draw.*variational"):
        fit("(1 | a) + (1 | b)", solver="iterative")
    with pytest.raises(ValueError, match="'a' has 4 effects per level, more than 3"):
        fit("(x + z + w | a)")
    with pytest.raises(ValueError, match="posterior='mean_field'"):
        fit("(1 | a)", posterior="mean_field")
    with pytest.raises(ValueError, match="approximation='laplace'"):
        MixedEffectsVIClassifier(["a"], approximation="laplace").fit(frame, y)


# Questions about a fit -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def corrected():
    frame, y = simulated("bernoulli", 1, seed=13)
    return frame, y, fitted("bernoulli", "logit", frame, y, keep_data=True)


def test_what_was_maximised_is_said(corrected):
    frame, y, model = corrected
    text = str(model.summary())
    assert "the log likelihood itself, by quadrature" in text
    assert "lower bound" not in text
    assert len(model.elbo_path_) == len(model.gradient_path_) == model.n_iter_ + 1
    bound = MixedEffectsVIClassifier(formula="x + (1 | g)").fit(frame, y)
    assert bound.approximation_ == "variational"
    assert bound.loglik_ < model.loglik_
    linear = MixedEffectsVIRegressor(["g"]).fit(frame[["x", "g"]], frame["z"])
    assert linear.approximation_ == "exact"
    none = MixedEffectsVIClassifier(None, approximation="corrected").fit(frame[["x"]], y)
    assert none.approximation_ == "exact"


def test_diagnosis_and_storage(corrected):
    frame, _, model = corrected
    diagnosis = model.diagnose()
    assert diagnosis.gap == 0.0
    assert diagnosis.advice.startswith("Exact: the fit maximised the likelihood itself")
    again = pickle.loads(pickle.dumps(model))
    assert again.approximation_ == "corrected"
    assert again.loglik_ == model.loglik_
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))


def test_likelihood_ratio_tests_of_corrected_fits(corrected):
    frame, y, model = corrected
    smaller = MixedEffectsVIClassifier(formula="(1 | g)", approximation="corrected").fit(frame, y)
    comparison = compare_models(smaller, model)
    expected = 2.0 * (model.loglik_ - smaller.loglik_)
    assert comparison.to_frame()["chi_square"].iloc[1] == pytest.approx(expected)
    assert not any("lower bound" in note for note in comparison.notes)


def test_bootstrap_refits_the_likelihood_itself(corrected):
    _, _, model = corrected
    found = parametric_bootstrap(
        model, lambda m: {"same": float(m.approximation_ == "corrected"), "sd": m.coef_[0]},
        n_resamples=3, random_state=0,
    )  # fmt: skip
    assert found.values["same"].tolist() == [1.0, 1.0, 1.0]


def test_predictions_of_nested_models_know_both_levels():
    """Variances of sums of inner and outer effects, by the covariance between them."""
    frame, y = nested()
    model = MixedEffectsVIClassifier(["inner", "outer"], approximation="corrected").fit(frame, y)
    rows = model._fitted_model.encode(frame)
    both = rows.variance(further=False)
    alone = sum(
        model.random_effects_std_[name].loc[frame[name], "Intercept"].to_numpy() ** 2
        for name in ("inner", "outer")
    )
    # the data know sums of effects better than each of them
    assert (both < alone).all()
    assert (both > 0.0).all()


# Standard errors of what is no coefficient ---------------------------------------------------


@pytest.mark.parametrize("family", ["ordinal", "gamma", "negative_binomial"])
def test_errors_of_thresholds_and_dispersions(family):
    """By the delta method from the curvature of the likelihood on a fine grid."""
    model, _, at, covariance = one_effect(family, "logit" if family == "ordinal" else None)
    log_sd = model.variance_components_["log_sd_std_error"].iloc[0]
    assert log_sd == pytest.approx(np.sqrt(covariance[2, 2]) / at[2], rel=1e-4)
    if family == "ordinal":
        slopes = np.zeros((len(model.thresholds_), len(at)))
        slopes[:, 0] = -1.0
        for j in range(len(at) - 3):
            slopes[j + 1 :, 3 + j] = np.exp(at[3 + j])
        expected = np.sqrt(np.diagonal(slopes @ covariance @ slopes.T))
        np.testing.assert_allclose(model.thresholds_std_, expected, rtol=1e-4)
    else:
        expected = model.dispersion_ * np.sqrt(covariance[3, 3])
        assert model.dispersion_std_ == pytest.approx(expected, rel=1e-4)
    table = model.variance_intervals()
    assert table["std_error"].iloc[0] == pytest.approx(log_sd * table["sd"].iloc[0])
    assert table["lower"].iloc[0] < table["sd"].iloc[0] < table["upper"].iloc[0]


@pytest.mark.parametrize(("family", "link"), FAMILIES)
def test_errors_of_the_bound_are_near_those_of_the_likelihood(family, link):
    """With eight rows per level and moderate variances both curvatures are alike."""
    frame, y = simulated(family, 1, n_each=20)
    model = fitted(family, link, frame, y)
    kind = MixedEffectsVIClassifier if family in CLASSES else MixedEffectsVIRegressor
    options = {} if link is None else {"link": link}
    bound = kind(formula="x + (1 | g)", family=family, **options)
    bound.fit(frame, pd.Categorical(y, ordered=True) if family == "ordinal" else y)
    exact, found = model.fit_result_.estimate_covariance, bound.fit_result_.estimate_covariance
    ratios = np.sqrt(np.diagonal(found) / np.diagonal(exact))
    np.testing.assert_allclose(ratios, 1.0, atol=0.03)
    scale = np.sqrt(np.outer(np.diagonal(exact), np.diagonal(exact)))
    np.testing.assert_allclose(found / scale, exact / scale, atol=0.05)


def test_the_end_of_a_range_has_no_standard_error():
    rng = np.random.default_rng(12)
    frame = pd.DataFrame({"x": rng.normal(size=300), "g": np.arange(300) % 60})
    y = (rng.random(300) < expit(frame["x"])).astype(int)
    model = MixedEffectsVIClassifier(["g"]).fit(frame, y)
    assert model.random_effects_cov_["g"].iloc[0, 0] == 0.0
    assert np.isnan(model.variance_components_["log_sd_std_error"].iloc[0])
    linear = MixedEffectsVIRegressor(["g"]).fit(frame, rng.normal(size=300))
    assert linear.variance_components_["log_sd_std_error"].isna().all()
