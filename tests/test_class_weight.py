"""`class_weight`, logarithms of probabilities, and intervals of probabilities."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from class_data import GROUPS, simulate, simulate_ordered
from scipy.special import expit
from scipy.stats import norm
from sklearn.base import clone
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.utils.class_weight import compute_sample_weight

from skmixed import MixedEffectsVIClassifier, mixed, parametric_bootstrap
from skmixed.families import make_family
from skmixed.fitted_model import TrainingData
from skmixed.inspection import ResidualsDisplay
from skmixed.results.prediction import predict_variance


@pytest.fixture(scope="module")
def data():
    X, y = simulate()
    return X, np.where(y == 1, "yes", "no")


@pytest.mark.parametrize("class_weight", ["balanced", {"no": 2.0, "yes": 0.5}, {"yes": 3.0}])
def test_weights_of_classes_are_those_of_scikit_learn(data, class_weight):
    X, y = data
    weighted = MixedEffectsVIClassifier(GROUPS, class_weight=class_weight).fit(X, y)
    by_hand = MixedEffectsVIClassifier(GROUPS).fit(
        X, y, sample_weight=compute_sample_weight(class_weight, y)
    )
    np.testing.assert_allclose(weighted.coef_, by_hand.coef_, rtol=1e-12)
    assert weighted.elbo_ == pytest.approx(by_hand.elbo_, rel=1e-12)
    assert weighted.n_observations_ == pytest.approx(by_hand.n_observations_)
    np.testing.assert_allclose(weighted.response_moments_, by_hand.response_moments_)
    np.testing.assert_allclose(weighted.predict_proba(X), by_hand.predict_proba(X), rtol=1e-10)
    found = compute_sample_weight(class_weight, y)
    assert weighted.class_weight_.tolist() == [found[y == "no"][0], found[y == "yes"][0]]
    assert "Class weights" in str(weighted.summary())
    assert "Class weights" not in str(by_hand.summary())


def test_they_multiply_case_weights_which_count_rows(data):
    X, y = data
    counts = np.random.default_rng(0).integers(0, 3, len(y))
    model = MixedEffectsVIClassifier(GROUPS, class_weight="balanced")
    weighted = clone(model).fit(X, y, sample_weight=counts)
    repeated = np.repeat(np.arange(len(y)), counts)
    repeated = clone(model).fit(X.iloc[repeated], y[repeated])
    np.testing.assert_allclose(weighted.class_weight_, repeated.class_weight_)
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6)


def test_whatever_reads_the_training_data_again_sees_the_same_weights(data):
    X, y = data
    counts = np.random.default_rng(1).integers(1, 3, len(y))
    weights = compute_sample_weight({"no": 2.0, "yes": 0.7}, y)
    model = MixedEffectsVIClassifier(GROUPS, class_weight={"no": 2.0, "yes": 0.7}, keep_data=True)
    model.fit(X, y, sample_weight=counts)
    by_hand = MixedEffectsVIClassifier(GROUPS).fit(X, y, sample_weight=weights * counts)
    mine = model.diagnose(random_state=0, n_draws=500)
    theirs = by_hand.diagnose(X, y, weights * counts, random_state=0, n_draws=500)
    assert mine.log_likelihood == pytest.approx(theirs.log_likelihood, rel=1e-6)
    rows = model._fitted_model.observe(TrainingData(X, y, counts)).weights
    np.testing.assert_allclose(rows, weights * counts)
    assert rows.sum() == pytest.approx(model.n_observations_)
    # weights that the model multiplied once are not to be passed multiplied
    with pytest.raises(ValueError, match="sample_weight"):
        model.diagnose(X, y, weights * counts)


def test_ordered_classes_and_the_order_of_the_attribute():
    X, y = simulate_ordered()
    names = np.array(["low", "fair", "good", "best"])[y]
    order = ["low", "fair", "good", "best"]
    by_name = {"low": 1.0, "fair": 2.0, "good": 0.5, "best": 3.0}
    model = MixedEffectsVIClassifier(
        GROUPS, family="ordinal", class_order=order, class_weight=by_name
    ).fit(X, names)
    assert model.class_weight_.tolist() == [by_name[label] for label in model.classes_]
    by_hand = MixedEffectsVIClassifier(GROUPS, family="ordinal", class_order=order)
    by_hand.fit(X, names, sample_weight=compute_sample_weight(by_name, names))
    np.testing.assert_allclose(model.thresholds_, by_hand.thresholds_, rtol=1e-10)
    # tools number labels by the alphabet before fit
    folds = cross_val_predict(model, X, names, method="predict_proba", cv=3)
    assert np.isfinite(folds).all()
    numbered = clone(model).fit(X, np.unique(names, return_inverse=True)[1])
    np.testing.assert_allclose(numbered.thresholds_, model.thresholds_, rtol=1e-10)


def test_probabilities_are_those_of_reweighted_data(data):
    X, y = data
    rare = np.random.default_rng(0).random(len(y)) < np.where(y == "yes", 0.15, 1.0)
    X, y = X[rare], y[rare]
    plain = MixedEffectsVIClassifier(GROUPS).fit(X, y)
    balanced = mixed(
        "y ~ x0 + x1 + (1 | g0) + (1 | g1)", X.assign(y=y), family="bernoulli",
        class_weight="balanced",
    )  # fmt: skip
    assert plain.predict_proba(X)[:, 1].mean() == pytest.approx((y == "yes").mean(), abs=0.01)
    shares = balanced.predict_proba(X)[:, 1]
    weights = compute_sample_weight("balanced", y)
    assert np.average(shares, weights=weights) == pytest.approx(0.5, abs=0.02)
    assert shares.mean() > 1.5 * (y == "yes").mean()


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ("even", "class_weight='even' is not known; choose 'balanced', None or a dict"),
        ([1.0, 2.0], "choose 'balanced', None or a dict"),
        ({"no": 0.0}, "gives class 'no' the weight 0.0, which must be a positive number"),
        ({"no": "2"}, "gives class 'no' the weight '2'"),
        ({"no": 1.0, "Yes": 2.0}, "but y has the class 'yes': use the labels of y as keys"),
    ],
)
def test_errors_name_the_class_and_the_weight(data, class_weight, message):
    X, y = data
    with pytest.raises(ValueError, match=message):
        MixedEffectsVIClassifier(GROUPS, class_weight=class_weight).fit(X, y)


def test_small_weights_and_simulations_are_told(data):
    X, y = data
    with pytest.warns(UserWarning, match="class_weight .* included"):
        model = MixedEffectsVIClassifier(["g0"], class_weight={"no": 0.1, "yes": 0.3}).fit(X, y)
    with pytest.raises(ValueError, match="without class_weight"):
        parametric_bootstrap(model, lambda m: m.coef_, X, n_resamples=2)
    with pytest.warns(UserWarning, match="Fit it without class_weight"):
        display = ResidualsDisplay.from_estimator(model, X, y)
    plt.close(display.figure_)


def test_log_probabilities(data):
    X, y = data
    model = MixedEffectsVIClassifier(GROUPS).fit(X, y)
    np.testing.assert_allclose(model.predict_log_proba(X), np.log(model.predict_proba(X)))
    far = X.assign(x0=1e6)
    assert np.isfinite(model.predict_log_proba(far)).all()
    none = model.predict_log_proba(X, include="none")
    np.testing.assert_allclose(none, np.log(model.predict_proba(X, include="none")))


# Intervals of probabilities --------------------------------------------------------------


@pytest.mark.parametrize("link", ["logit", "probit"])
@pytest.mark.parametrize("family", ["bernoulli", "ordinal"])
def test_quantiles_of_probabilities_against_even_draws(family, link):
    likelihood = make_family(family, link, 2 if family == "bernoulli" else 5)
    parameters = np.log([0.5, 1.5, 0.8]) if family == "ordinal" else np.zeros(0)
    # as exact as the squared number of random draws
    z = norm.ppf((np.arange(20_000) + 0.5) / 20_000)
    # means left of, within and right of the classes in the middle
    for mean, variance in [(-1.0, 0.5), (0.2, 1.0), (0.25, 0.01), (1.3, 4.0), (4.0, 0.3)]:
        eta = mean + np.sqrt(variance) * z
        given = likelihood.probabilities(eta, np.zeros_like(eta), parameters)
        for share in (0.025, 0.3, 0.975):
            found = likelihood.probability_quantiles(
                share, np.array([mean]), np.array([variance]), parameters
            )
            expected = np.quantile(given, share, axis=0)
            below = (given <= found).mean(axis=0)
            np.testing.assert_allclose(found[0], expected, atol=1e-3)
            np.testing.assert_allclose(below, share, atol=1e-3)


def test_intervals_without_uncertainty_are_points():
    likelihood = make_family("ordinal", "logit", 4)
    parameters, mean = np.log([1.0, 2.0]), np.array([-2.0, 0.3, 5.0])
    found = likelihood.probability_quantiles(0.1, mean, np.zeros(3), parameters)
    expected = likelihood.probabilities(mean, np.zeros(3), parameters)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_intervals_of_two_classes(data):
    X, y = data
    model = MixedEffectsVIClassifier(GROUPS, positive_class="no").fit(X, y)
    new = pd.concat([X.head(3), X.head(1).assign(g0=-1, g1=-1)])
    intervals = model.predict_proba_interval(new, level=0.9)
    assert intervals.shape == (4, 2, 2)
    # one class is as improbable as the other is probable
    np.testing.assert_allclose(intervals[:, 0, 0], 1.0 - intervals[:, 1, 1])
    mean = model.predict(new, type="link")
    rows = model._fitted_model.encode(new, "all", with_weights=False)
    design, positions = rows.design, rows.positions
    sd = np.sqrt(predict_variance(model.fit_result_, design, positions, further=True))
    np.testing.assert_allclose(intervals[:, 0, 1], expit(mean + 1.6448536269514722 * sd))
    # a new level is less certain
    width = intervals[:, 0, 1] - intervals[:, 0, 0]
    assert width[3] > width[0]
    proba = model.predict_proba(new)
    assert ((intervals[:, :, 0] < proba) & (proba < intervals[:, :, 1])).all()
    none = model.predict_proba_interval(new, include="none")
    np.testing.assert_allclose(none[0], none[3])
    with pytest.raises(ValueError, match=r"level=1\.5"):
        model.predict_proba_interval(new, level=1.5)


def test_intervals_of_ordered_classes_follow_the_columns_of_predict_proba():
    X, y = simulate_ordered()
    names = np.array(["low", "fair", "good", "best"])[y]
    model = MixedEffectsVIClassifier(
        GROUPS, family="ordinal", class_order=["low", "fair", "good", "best"]
    ).fit(X, names)
    narrow = model.predict_proba_interval(X, level=1e-9)
    # the median of a monotone function is the function of the median
    mean = model.predict(X, type="link")
    best, low = model.classes_.tolist().index("best"), model.classes_.tolist().index("low")
    np.testing.assert_allclose(narrow[:, low, 0], expit(model.thresholds_[0] - mean), rtol=1e-6)
    np.testing.assert_allclose(narrow[:, best, 0], expit(mean - model.thresholds_[-1]), rtol=1e-6)
    wide = model.predict_proba_interval(X)
    assert (wide[..., 0] <= narrow[..., 0]).all()
    assert (narrow[..., 1] <= wide[..., 1]).all()
    pipeline = make_pipeline(model.as_predictor("predict_proba_interval", level=0.8))
    assert cross_val_predict(pipeline, X, names, cv=3).shape == (len(X), 4, 2)
