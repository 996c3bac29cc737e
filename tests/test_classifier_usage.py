"""Probabilities, predictions and fits of `MixedEffectsVIClassifier`."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from class_data import GROUPS, simulate, simulate_ordered
from probed_fits import errors_of_the_bound
from scipy.integrate import quad
from scipy.special import expit, ndtr
from scipy.stats import norm
from sklearn.base import clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score

from skmixed import MixedEffectsVIClassifier
from skmixed.datasets import make_mixed_classification

CDF = {"logit": expit, "probit": ndtr}


@pytest.fixture(scope="module")
def data():
    return simulate()


@pytest.fixture(scope="module")
def model(data):
    return MixedEffectsVIClassifier(GROUPS).fit(*data)


@pytest.fixture(scope="module")
def ordered():
    return simulate_ordered()


def assert_same_fit(one, other, rtol=1e-6):
    """Bound, fixed effects, variances and posterior are equal, whatever the order of levels."""
    assert one.elbo_ == pytest.approx(other.elbo_, rel=1e-8)
    error = np.sqrt(np.diagonal(one.coef_cov_)).max()
    np.testing.assert_allclose(one.coef_, other.coef_, rtol=0, atol=rtol * error)
    assert one.intercept_ == pytest.approx(other.intercept_, rel=0, abs=rtol * error)
    for group, covariance in one.random_effects_cov_.items():
        np.testing.assert_allclose(covariance, other.random_effects_cov_[group], rtol=10 * rtol)
        for attribute in ("random_effects_", "random_effects_std_"):
            expected = getattr(one, attribute)[group]
            found = getattr(other, attribute)[group].loc[expected.index]
            np.testing.assert_allclose(found, expected, rtol=0, atol=10 * rtol)


# Probabilities -------------------------------------------------------------------------


def test_probabilities_predictions_and_score(data, model):
    X, y = data
    probabilities = model.predict_proba(X)
    assert is_classifier(model)
    assert probabilities.shape == (600, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-14)
    predicted = model.predict(X)
    np.testing.assert_array_equal(predicted, model.classes_[probabilities.argmax(axis=1)])
    assert model.score(X, y) == accuracy_score(y, predicted)
    assert model.score(X, y) > max(np.mean(y), 1 - np.mean(y)) + 0.1


def predictor(model, X):
    """The linear predictor at the posterior means; an unseen level has an effect of 0."""
    total = model.intercept_ + X[["x0", "x1"]].to_numpy() @ model.coef_
    for group in GROUPS:
        effects = model.random_effects_[group]["Intercept"]
        total += effects.reindex(X[group]).fillna(0.0).to_numpy()
    return total


def test_decision_function_ranks_like_the_probabilities(data, model):
    """It is the log odds of the probabilities, positive where class 1 is predicted."""
    X, _ = data
    decision = model.decision_function(X)
    assert decision.shape == (600,)
    np.testing.assert_allclose(expit(decision), model.predict_proba(X)[:, 1], rtol=1e-12)
    np.testing.assert_array_equal(model.predict(X) == 1, decision > 0)
    # uncertainty pulls it towards zero
    mean = predictor(model, X)
    np.testing.assert_array_equal(np.sign(decision), np.sign(mean))
    assert (np.abs(decision) < np.abs(mean)).all()


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_probabilities_average_over_the_posterior(data, link):
    """They are shares of draws, not the link at the posterior mean."""
    X, y = data
    model = MixedEffectsVIClassifier(GROUPS, link=link).fit(X, y)
    rows = X[:60].copy()
    rows.loc[rows.index[::3], "g0"] = 999
    n_draws = 20_000
    shares = model.sample_y(rows, n_draws, random_state=0).mean(axis=1)
    probability = model.predict_proba(rows)[:, 1]
    error = np.sqrt(probability * (1 - probability) / n_draws)
    assert (np.abs(shares - probability) < 5 * error).all()
    plug_in = CDF[link](predictor(model, rows))
    assert (np.abs(plug_in - 0.5) > np.abs(probability - 0.5)).all()
    assert np.abs(plug_in - probability).max() > 10 * error.max()


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_unseen_levels_have_the_prior_variance(data, link):
    """Fixed effects are points here, so that the integral can be written out."""
    X, y = data
    model = MixedEffectsVIClassifier(["g0"], link=link, method="ml").fit(X.drop(columns="g1"), y)
    rows = X.drop(columns="g1")[:5].assign(g0=999)
    fixed = model.intercept_ + rows[["x0", "x1"]].to_numpy() @ model.coef_
    sd = np.sqrt(model.random_effects_cov_["g0"].iloc[0, 0])
    expected = [
        quad(lambda u, m=m: CDF[link](m + sd * u) * norm.pdf(u), -12, 12, epsabs=1e-13)[0]
        for m in fixed
    ]
    np.testing.assert_allclose(model.predict_proba(rows)[:, 1], expected, rtol=1e-9)
    without = model.predict_proba(rows, include="none")[:, 1]
    np.testing.assert_allclose(without, CDF[link](fixed), rtol=1e-9)
    assert (np.abs(np.array(expected) - 0.5) < np.abs(without - 0.5)).all()
    np.testing.assert_array_equal(model.predict(rows), model.predict(rows, include="none"))


def test_missing_labels_and_unknown_levels(data, model):
    X, y = data
    rows = X[:6].astype({"g0": object})
    unknown = model.predict_proba(rows.assign(g0="new"))
    np.testing.assert_array_equal(model.predict_proba(rows.assign(g0=None)), unknown)
    strict = MixedEffectsVIClassifier(GROUPS, handle_unknown="error").fit(X, y)
    with pytest.raises(ValueError, match="'g0' has the level 'new' in row 0"):
        strict.predict_proba(rows.assign(g0="new"))
    assert strict.predict_proba(rows.assign(g0="new"), include=["g1"]).shape == (6, 2)


def test_include(data):
    """Groups that are left out add neither a mean nor a variance."""
    X, y = data
    model = MixedEffectsVIClassifier(GROUPS, method="ml").fit(X, y)
    fixed = model.intercept_ + X[["x0", "x1"]].to_numpy() @ model.coef_
    decision = model.decision_function(X, include="none")
    np.testing.assert_allclose(decision, fixed, rtol=0, atol=1e-9)
    everything = model.predict_proba(X, include=["g0", "g1"])
    np.testing.assert_array_equal(everything, model.predict_proba(X))
    one = model.predict_proba(X, include=["g1"])[:, 1]
    for level, rows in X.groupby("g1").groups.items():
        effect = model.random_effects_["g1"].loc[level, "Intercept"]
        plug_in = expit(fixed[rows] + effect)
        np.testing.assert_allclose(one[rows], plug_in, atol=0.03)
        assert (np.abs(one[rows] - 0.5) <= np.abs(plug_in - 0.5)).all()
    with pytest.raises(ValueError, match=r"'school'.*not a group of this model"):
        model.predict_proba(X, include=["school"])


def test_ordinal_probabilities(ordered):
    X, y = ordered
    for link in ("logit", "probit"):
        model = MixedEffectsVIClassifier(GROUPS, family="ordinal", link=link).fit(X, y)
        assert model.intercept_ == 0.0
        assert model.coef_names_ == ["x0", "x1"]
        assert model.coef_cov_.shape == (2, 2)
        assert (np.diff(model.thresholds_) > 0).all()
        probabilities = model.predict_proba(X)
        assert probabilities.shape == (600, 4)
        assert (probabilities > 0).all()
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-12)
        predicted = model.predict(X)
        np.testing.assert_array_equal(predicted, model.classes_[probabilities.argmax(axis=1)])
        assert set(predicted) == {0, 1, 2, 3}
        draws = model.sample_y(X[:20], 5_000, random_state=0)
        for j in range(4):
            error = np.sqrt(probabilities[:20, j] * (1 - probabilities[:20, j]) / 5_000)
            shares = (draws == j).mean(axis=1)
            assert (np.abs(shares - probabilities[:20, j]) < 5 * error).all()


def test_ordinal_predictor_and_thresholds(ordered):
    """P(y <= class j) = F(thresholds_[j] - predictor) where nothing is uncertain."""
    X, y = ordered
    model = MixedEffectsVIClassifier(GROUPS, family="ordinal", method="ml").fit(X, y)
    predictor = model.predict(X, include="none", type="link")
    np.testing.assert_allclose(predictor, X[["x0", "x1"]].to_numpy() @ model.coef_, atol=1e-10)
    below = expit(model.thresholds_ - predictor[:, None])
    cumulative = model.predict_proba(X, include="none").cumsum(axis=1)[:, :3]
    np.testing.assert_allclose(cumulative, below, rtol=1e-9)
    # a larger predictor moves probability to higher classes
    order = np.argsort(predictor)
    assert (np.diff(cumulative[order], axis=0) <= 1e-12).all()


def test_two_ordered_classes_are_the_bernoulli_model(data):
    """P(y <= 0) = F(t - eta) says P(y = 1) = F(eta - t)."""
    X, y = data
    bernoulli = MixedEffectsVIClassifier(GROUPS).fit(X, y)
    ordinal = MixedEffectsVIClassifier(GROUPS, family="ordinal").fit(X, y)
    assert ordinal.elbo_ == pytest.approx(bernoulli.elbo_, rel=1e-8)
    np.testing.assert_allclose(ordinal.coef_, bernoulli.coef_, rtol=1e-5)
    np.testing.assert_allclose(ordinal.thresholds_, [-bernoulli.intercept_], rtol=1e-5)
    np.testing.assert_allclose(ordinal.predict_proba(X), bernoulli.predict_proba(X), rtol=1e-5)


def test_without_random_effects_it_is_logistic_regression(data):
    X, y = data
    model = MixedEffectsVIClassifier(None, method="ml").fit(X[["x0", "x1"]], y)
    reference = LogisticRegression(C=np.inf, tol=1e-10).fit(X[["x0", "x1"]], y)
    np.testing.assert_allclose(model.coef_, reference.coef_[0], rtol=1e-5)
    assert model.intercept_ == pytest.approx(reference.intercept_[0], rel=1e-5)
    probabilities = reference.predict_proba(X[["x0", "x1"]])
    np.testing.assert_allclose(model.predict_proba(X[["x0", "x1"]]), probabilities, rtol=1e-5)
    assert model.elbo_ == pytest.approx(np.log(probabilities[np.arange(600), y]).sum(), rel=1e-9)


# Fits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize("method", ["ml", "reml"])
@pytest.mark.parametrize("family", ["bernoulli", "ordinal"])
def test_the_bound_rises(ordered, family, method, posterior):
    X, y = ordered
    y = y if family == "ordinal" else (y > 1).astype(int)
    model = MixedEffectsVIClassifier(GROUPS, family=family, method=method, posterior=posterior)
    model.fit(X, y)
    assert model.converged_
    assert model.elbo_std_ == 0.0
    assert len(model.elbo_path_) == model.n_iter_ + 1
    assert np.diff(model.elbo_path_).min() >= -1e-7
    assert model.elbo_path_[-1] == pytest.approx(model.elbo_, rel=1e-10)


def test_reml_variances_are_larger(data):
    """Maximum likelihood forgets the uncertainty of the fixed effects."""
    X, y = data
    reml = MixedEffectsVIClassifier(GROUPS, method="reml").fit(X, y)
    ml = MixedEffectsVIClassifier(GROUPS, method="ml").fit(X, y)
    for group in GROUPS:
        larger = reml.random_effects_cov_[group].iloc[0, 0]
        assert ml.random_effects_cov_[group].iloc[0, 0] < larger
    assert (reml.random_effects_std_["g1"] > ml.random_effects_std_["g1"]).all().all()
    assert reml.elbo_ < ml.elbo_


def test_mean_field_is_the_smaller_family(data):
    X, y = data
    full = MixedEffectsVIClassifier(GROUPS).fit(X, y)
    mean_field = MixedEffectsVIClassifier(GROUPS, posterior="mean_field").fit(X, y)
    assert mean_field.elbo_ < full.elbo_ - 0.1
    assert (mean_field.random_effects_std_["g1"] < full.random_effects_std_["g1"]).all().all()


def test_swapped_labels_swap_signs(data, model):
    X, y = data
    swapped = MixedEffectsVIClassifier(GROUPS).fit(X, 1 - y)
    assert swapped.elbo_ == pytest.approx(model.elbo_, rel=1e-9)
    np.testing.assert_allclose(swapped.coef_, -model.coef_, rtol=1e-5)
    np.testing.assert_allclose(swapped.predict_proba(X)[:, ::-1], model.predict_proba(X), rtol=1e-5)


def test_offset_is_a_coefficient_of_one(data):
    X, y = data
    with_offset = X.assign(o=0.7 * X["x0"])
    model = MixedEffectsVIClassifier(GROUPS, method="ml").fit(X, y)
    shifted = MixedEffectsVIClassifier(GROUPS, method="ml", offset="o").fit(with_offset, y)
    assert shifted.coef_names_ == ["x0", "x1"]
    assert shifted.elbo_ == pytest.approx(model.elbo_, rel=1e-9)
    np.testing.assert_allclose(shifted.coef_, model.coef_ - [0.7, 0.0], rtol=1e-5)
    np.testing.assert_allclose(
        shifted.decision_function(with_offset), model.decision_function(X), atol=1e-5
    )
    np.testing.assert_allclose(
        shifted.predict_proba(with_offset), model.predict_proba(X), atol=1e-6
    )


def test_equal_seeds_equal_fits(data):
    X, y = data
    for solver in ("direct", "iterative"):
        model = MixedEffectsVIClassifier(GROUPS, solver=solver, random_state=3)
        one, other = clone(model).fit(X, y), clone(model).fit(X, y)
        assert one.solver_ == solver
        assert one.elbo_ == other.elbo_
        np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("family", ["bernoulli", "ordinal"])
def test_solvers_agree(family):
    """Both factors have too many levels for the iterative solver to treat one exactly."""
    X, y, _ = make_mixed_classification(
        12_000, 1, (700, 500), n_classes=2 if family == "bernoulli" else 4, random_state=5
    )
    direct, iterative = (
        MixedEffectsVIClassifier(GROUPS, family=family, solver=solver).fit(X, y)
        for solver in ("direct", "iterative")
    )
    assert iterative.elbo_std_ > 0.0
    assert iterative.elbo_ == pytest.approx(direct.elbo_, rel=0, abs=0.05)
    for group in GROUPS:
        expected = direct.random_effects_cov_[group].iloc[0, 0]
        assert iterative.random_effects_cov_[group].iloc[0, 0] == pytest.approx(expected, rel=0.01)
        effects = direct.random_effects_[group]
        np.testing.assert_allclose(iterative.random_effects_[group], effects, rtol=0, atol=0.01)
    np.testing.assert_allclose(iterative.coef_, direct.coef_, rtol=0.01)
    np.testing.assert_allclose(iterative.predict_proba(X), direct.predict_proba(X), atol=2e-3)


@pytest.mark.parametrize("family", ["bernoulli", "ordinal"])
def test_the_error_of_the_bound_is_as_claimed(family):
    """Few random vectors bend it: what they say of row variances is off, too."""
    X, y, _ = make_mixed_classification(
        6_000, 1, (800, 600), n_classes=2 if family == "bernoulli" else 4, random_state=5
    )
    found, claimed = errors_of_the_bound(MixedEffectsVIClassifier(GROUPS, family=family), X, y)
    assert 0.5 < found / claimed < 1.5


def test_warm_start(data, model):
    X, y = data
    warm = MixedEffectsVIClassifier(GROUPS, warm_start=True).fit(X, y)
    first = warm.n_iter_
    warm.fit(X, y)
    assert warm.n_iter_ <= first
    assert warm.elbo_ == pytest.approx(model.elbo_, rel=1e-9)
    np.testing.assert_allclose(warm.coef_, model.coef_, rtol=1e-5)


def test_max_iter(data):
    X, y = data
    with pytest.warns(ConvergenceWarning, match="Raise max_iter"):
        model = MixedEffectsVIClassifier(GROUPS, max_iter=1).fit(X, y)
    assert not model.converged_
    assert model.n_iter_ == 1
    assert np.isfinite(model.predict_proba(X)).all()


def test_prints_only_when_asked(data, capsys):
    X, y = data
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MixedEffectsVIClassifier(GROUPS).fit(X, y)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    MixedEffectsVIClassifier(GROUPS, verbose=1).fit(X, y)
    assert "MixedEffectsVIClassifier" in capsys.readouterr().out
