"""What is particular to one family."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from skmixed.families import Ordinal, make_family
from skmixed.families.base import ResponseRows

BOUNDARIES = [
    ("bernoulli", 2, [0.0, 1.0], [-1.0, 0.5, 2.0], "two classes, numbered 0 and 1"),
    ("ordinal", 4, [0.0, 3.0], [-1.0, 0.5, 4.0], "classes numbered 0 to 3"),
    ("poisson", None, [0.0, 1e12], [-1.0, 2.5, -1e-9], "counts"),
    ("negative_binomial", None, [0.0, 1e12], [-1.0, 2.5], "counts"),
    ("gamma", None, [1e-300, 1e12, 0.5], [0.0, -1e-300], "positive amounts"),
]


@pytest.mark.parametrize(("name", "n_classes", "valid", "invalid", "needs"), BOUNDARIES)
def test_boundaries_of_valid_targets(name, n_classes, valid, invalid, needs):
    family = make_family(name, n_classes=n_classes)
    family.refuse_targets(np.array(valid))
    for value in invalid:
        y = np.array([*valid, value, *valid, value])
        with pytest.raises(
            ValueError, match=rf"needs {needs}.*: y is {value} in row {len(valid)} "
        ):
            family.refuse_targets(y)


def test_poisson_log_probabilities():
    y, eta = np.array([0.0, 3.0, 400.0]), np.array([-2.0, 1.5, 6.2])
    value = make_family("poisson").row_terms(ResponseRows(y), eta, np.zeros(3), np.empty(0)).value
    np.testing.assert_allclose(value, stats.poisson.logpmf(y, np.exp(eta)), rtol=1e-12)


def test_poisson_rate_that_overflows_has_no_probability():
    terms = make_family("poisson").row_terms(
        ResponseRows(np.array([0.0, 5.0])), np.array([800.0, 1e6]), np.zeros(2), np.empty(0)
    )
    np.testing.assert_array_equal(terms.value, -np.inf)


@pytest.mark.parametrize("name", ["poisson", "negative_binomial"])
def test_rates_too_large_for_integers_can_be_drawn(name):
    family = make_family(name)
    parameters = family.start_parameters(ResponseRows(np.array([1.0, 2.0, 9.0]), np.ones(3)))
    drawn = family.sample(np.array([0.0, 100.0]), parameters, np.random.default_rng(0))
    assert np.all(np.isfinite(drawn))
    assert drawn[1] > 1e30


@pytest.mark.parametrize("size", [1e-3, 0.7, 14.9, 15.1, 400.0])
def test_negative_binomial_log_probabilities(size):
    y, eta = np.array([0.0, 1.0, 3.0, 400.0]), np.array([-2.0, 0.0, 1.5, 6.2])
    value = (
        make_family("negative_binomial")
        .row_terms(ResponseRows(y), eta, np.zeros(4), [np.log(size)])
        .value
    )
    expected = stats.nbinom.logpmf(y, size, size / (size + np.exp(eta)))
    np.testing.assert_allclose(value, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("log_size", [14.0, 20.0, 30.0])
def test_negative_binomial_of_a_large_size_is_poisson(log_size):
    """To first order, by (y - (y - mu)^2) / 2 / size less; nothing cancels."""
    y, eta = np.array([0.0, 3.0, 60.0]), np.array([-2.0, 1.5, 4.0])
    variance = np.array([0.0, 0.3, 1.2])
    family, poisson = make_family("negative_binomial"), make_family("poisson")
    parameters = np.array([log_size])
    near = family.row_terms(ResponseRows(y), eta, variance, parameters)
    limit = poisson.row_terms(ResponseRows(y), eta, variance, np.empty(0))
    atol = 1e5 * np.exp(-log_size) + 1e-10
    np.testing.assert_allclose(near.value, limit.value, rtol=0, atol=atol)
    np.testing.assert_allclose(near.gradient, limit.gradient, rtol=0, atol=atol)
    np.testing.assert_allclose(near.precision, limit.precision, rtol=0, atol=atol)
    ones = np.ones(3)
    derivatives = family.parameter_derivatives(ResponseRows(y, ones), eta, variance, parameters)
    assert abs(derivatives.gradient[0]) < atol
    assert abs(derivatives.hessian[0, 0]) < atol


@pytest.mark.parametrize("shape", [0.01, 1.0, 14.9, 15.1, 1e6])
def test_gamma_log_densities(shape):
    eta = np.array([-2.0, 1.5, 6.2])
    y = np.exp(eta) * np.array([0.999, 1.002, 1.0])
    value = make_family("gamma").row_terms(ResponseRows(y), eta, np.zeros(3), [np.log(shape)]).value
    expected = stats.gamma.logpdf(y, shape, scale=np.exp(eta) / shape)
    np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_two_classes_in_an_order_are_bernoulli(link):
    rng = np.random.default_rng(0)
    y, mean, variance = rng.integers(0, 2, 50) * 1.0, rng.normal(size=50), rng.uniform(0, 2, 50)
    ordinal = make_family("ordinal", link, 2).row_terms(
        ResponseRows(y), mean, variance, np.empty(0)
    )
    binary = make_family("bernoulli", link).row_terms(ResponseRows(y), mean, variance, np.empty(0))
    for field in ("value", "gradient", "precision"):
        np.testing.assert_allclose(getattr(ordinal, field), getattr(binary, field), rtol=1e-12)


def test_thresholds_start_at_zero_and_increase():
    family = make_family("ordinal", n_classes=4)
    thresholds = family.thresholds(np.array([0.0, np.log(2.0)]))
    np.testing.assert_allclose(thresholds, [0.0, 1.0, 3.0])
    np.testing.assert_array_equal(
        make_family("ordinal", n_classes=2).thresholds(np.empty(0)), [0.0]
    )


@pytest.mark.parametrize(
    ("link", "distribution"), [("logit", stats.logistic), ("probit", stats.norm)]
)
def test_ordinal_starts_at_the_proportions(link, distribution):
    family = make_family("ordinal", link, 4)
    y = np.repeat([0.0, 1.0, 2.0], [300, 500, 200])
    weights = np.repeat([1.0, 2.0, 1.0], [300, 500, 200])
    thresholds = family.thresholds(family.start_parameters(ResponseRows(y, weights)))
    below = np.array([300.5, 1301.0, 1501.5]) / 1502
    expected = distribution.ppf(below)
    np.testing.assert_allclose(thresholds, expected - expected[0], rtol=1e-10)


def test_small_probabilities_of_the_last_class_are_accurate():
    family = make_family("ordinal", n_classes=3)
    probabilities = family.probabilities(np.array([-40.0]), np.zeros(1), np.zeros(1))
    np.testing.assert_allclose(probabilities[0, 2], np.exp(-41.0), rtol=1e-12)
    np.testing.assert_allclose(probabilities[0, 1], np.exp(-40.0) - np.exp(-41.0), rtol=1e-12)


def test_narrow_classes_keep_their_precision():
    """The precision of a class without width is that of the latent density."""
    for link, expected in (("logit", 2 * 0.25), ("probit", 1.0)):
        family = make_family("ordinal", link, 3)
        terms = family.row_terms(
            ResponseRows(np.ones(1)), np.full(1, 5e-6), np.zeros(1), [np.log(1e-5)]
        )
        np.testing.assert_allclose(terms.precision, expected, rtol=1e-4)


@pytest.mark.parametrize("n_classes", [None, 1])
def test_ordinal_needs_classes(n_classes):
    with pytest.raises(ValueError, match=f"n_classes is {n_classes}"):
        Ordinal(n_classes=n_classes)


@pytest.mark.parametrize("name", ["gamma", "negative_binomial"])
def test_start_of_constant_responses_is_finite(name):
    family = make_family(name)
    parameters = family.start_parameters(ResponseRows(np.ones(5), np.ones(5)))
    assert np.all(np.isfinite(parameters))


def test_weights_count_as_repeated_rows():
    rng = np.random.default_rng(0)
    for name in ("gamma", "negative_binomial"):
        family = make_family(name)
        y = rng.integers(1, 9, 30) * 1.0
        weights = rng.integers(1, 4, 30)
        np.testing.assert_allclose(
            family.start_parameters(ResponseRows(y, weights * 1.0)),
            family.start_parameters(ResponseRows(np.repeat(y, weights), np.ones(weights.sum()))),
            rtol=1e-12,
        )
