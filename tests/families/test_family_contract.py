"""What the engine relies on, for every family of the registry.

A new family is covered by its line in the registry.
"""

from __future__ import annotations

import warnings
from dataclasses import fields

import numpy as np
import pytest
from scipy.integrate import quad

from skmixed.families import FAMILIES, make_family
from skmixed.families.base import ResponseRows


def _cases():
    for name, family in FAMILIES.items():
        counts = (2, 5) if "n_classes" in {field.name for field in fields(family)} else (2,)
        for link in family.links:
            for n_classes in counts:
                suffix = f"-{n_classes}" * (len(counts) > 1)
                yield pytest.param((name, link, n_classes), id=f"{name}-{link}{suffix}")


@pytest.fixture(params=_cases())
def choice(request):
    return request.param


class Rows:
    """A family with parameters, and responses that belong to it."""

    def __init__(self, name, link, n_classes, n=40, seed=0):
        self.family = make_family(name, link, n_classes)
        rng = np.random.default_rng(seed)
        plain = np.arange(float(n_classes)) if self.family.is_classifier else np.r_[1.0, 2, 4, 9]
        first = self.family.start_parameters(ResponseRows(plain, np.ones(len(plain))))
        self.parameters = first + np.linspace(-0.4, 0.5, len(first))
        self.mean = rng.normal(scale=1.5, size=n)
        self.variance = rng.choice([0.01, 0.3, 1.0, 4.0], size=n)
        self.y = self.family.sample(self.mean, self.parameters, rng)
        self.weights = rng.uniform(0.5, 3.0, size=n)
        self.rng = rng

    def terms(self, mean=None, variance=None, parameters=None, n_threads=1):
        return self.family.row_terms(
            ResponseRows(self.y, self.weights, n_threads),
            self.mean if mean is None else mean,
            self.variance if variance is None else variance,
            self.parameters if parameters is None else parameters,
        )

    def higher(self, n_threads=1):
        return self.family.higher_derivatives(
            ResponseRows(self.y, self.weights, n_threads),
            self.mean,
            self.variance,
            self.terms().precision,
            self.parameters,
        )

    def derivatives(self, n_threads=1):
        return self.family.parameter_derivatives(
            ResponseRows(self.y, self.weights, n_threads),
            self.mean,
            self.variance,
            self.parameters,
        )


@pytest.fixture
def rows(choice):
    return Rows(*choice)


def test_names_of_the_registry():
    assert {name: family.name for name, family in FAMILIES.items()} == {n: n for n in FAMILIES}


def test_gradient_is_the_derivative_of_the_value(rows):
    step = 1e-5
    up, down = rows.terms(rows.mean + step), rows.terms(rows.mean - step)
    numerical = (up.value - down.value) / (2 * step)
    np.testing.assert_allclose(rows.terms().gradient, numerical, rtol=1e-6, atol=1e-7)


def test_precision_is_the_negated_derivative_of_the_gradient(rows):
    step = 1e-5
    up, down = rows.terms(rows.mean + step), rows.terms(rows.mean - step)
    numerical = -(up.gradient - down.gradient) / (2 * step)
    precision = rows.terms().precision
    assert np.all(precision >= 0)
    np.testing.assert_allclose(precision, numerical, rtol=1e-6, atol=1e-7)


def test_higher_derivatives_are_those_of_the_precision(rows):
    third, fourth = rows.higher()
    step = 1e-4
    up, down = rows.terms(rows.mean + step).precision, rows.terms(rows.mean - step).precision
    np.testing.assert_allclose(third, (down - up) / (2 * step), rtol=1e-3, atol=1e-5)
    step = 1e-3 * rows.variance
    up = rows.terms(variance=rows.variance + step).precision
    down = rows.terms(variance=rows.variance - step).precision
    np.testing.assert_allclose(fourth, (down - up) / step, rtol=1e-3, atol=1e-5)


def test_derivative_by_the_variance_is_half_the_curvature(rows):
    """Price's theorem (1958, IRE Transactions on Information Theory 4)."""
    step = 1e-4 * rows.variance
    up = rows.terms(variance=rows.variance + step)
    down = rows.terms(variance=rows.variance - step)
    numerical = (up.value - down.value) / (2 * step)
    np.testing.assert_allclose(-0.5 * rows.terms().precision, numerical, rtol=1e-5, atol=1e-7)


def test_value_is_the_integral_of_the_log_density(choice):
    rows = Rows(*choice, n=12, seed=1)
    terms = rows.terms()
    for i in range(len(rows.y)):
        deviation = np.sqrt(rows.variance[i])
        row = ResponseRows(rows.y[i : i + 1])

        def integrand(t, row=row, mean=rows.mean[i], deviation=deviation):
            at = np.array([mean + deviation * t])
            log_density = rows.family.row_terms(row, at, np.zeros(1), rows.parameters).value[0]
            return log_density * np.exp(-0.5 * t * t) / np.sqrt(2 * np.pi)

        exact = quad(integrand, -12, 12, points=[-4, 0, 4], epsabs=1e-11, epsrel=1e-11, limit=200)
        np.testing.assert_allclose(terms.value[i], exact[0], rtol=1e-9, atol=1e-9)


def test_value_without_variance_is_the_log_density(rows):
    """Constants included: probabilities, or differences of the distribution function."""
    value = rows.terms(variance=np.zeros_like(rows.mean)).value
    family = rows.family
    if family.is_classifier:
        probabilities = family.probabilities(rows.mean, np.zeros_like(rows.mean), rows.parameters)
        density = probabilities[np.arange(len(rows.y)), rows.y.astype(int)]
    elif family.is_discrete:
        density = family.cdf(rows.y, rows.mean, rows.parameters) - family.cdf(
            rows.y - 1, rows.mean, rows.parameters
        )
    else:
        step = 1e-5 * rows.y
        density = (
            family.cdf(rows.y + step, rows.mean, rows.parameters)
            - family.cdf(rows.y - step, rows.mean, rows.parameters)
        ) / (2 * step)
    np.testing.assert_allclose(np.exp(value), density, rtol=1e-6, atol=1e-10)


def test_parameter_derivatives(rows):
    k = len(rows.parameters)
    result = rows.derivatives()
    assert result.gradient.shape == (k,)
    assert result.hessian.shape == (k, k)
    step = 1e-4
    sums = {}
    for i in range(k):
        for sign in (-1, 1):
            moved = rows.parameters + sign * step * np.eye(k)[i]
            sums[i, sign] = rows.weights @ rows.terms(parameters=moved).value
            sums[i, sign, "gradient"] = rows.family.parameter_derivatives(
                ResponseRows(rows.y, rows.weights), rows.mean, rows.variance, moved
            ).gradient
    gradient = np.array([sums[i, 1] - sums[i, -1] for i in range(k)]) / (2 * step)
    hessian = np.array([sums[i, 1, "gradient"] - sums[i, -1, "gradient"] for i in range(k)])
    np.testing.assert_allclose(result.gradient, gradient, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        result.hessian, hessian.reshape(k, k) / (2 * step), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("strange", [np.nan, np.inf, -np.inf])
def test_refused_targets_are_named(rows, strange):
    rows.family.refuse_targets(rows.y)
    if rows.family.is_quadratic:
        return  # any number can be normal; the estimators refuse what is not finite
    y = rows.y.copy()
    y[[2, 5]] = strange
    message = rf"family='{rows.family.name}' needs .*: y is {strange} in row 2 \(counted from 0\); "
    with pytest.raises(ValueError, match=message):
        rows.family.refuse_targets(y)


def test_start_is_where_a_row_wants_to_be(rows):
    predictor, precision = rows.family.start(ResponseRows(rows.y), rows.parameters)
    assert np.all(np.isfinite(predictor))
    assert np.all(np.isfinite(precision) & (precision > 0))
    at_start = rows.terms(predictor, np.zeros_like(predictor)).value
    elsewhere = rows.terms(np.full_like(predictor, predictor.mean() + 3), 0 * predictor).value
    assert at_start.sum() > elsewhere.sum()


def _simulated(rows, mean, variance, n=100_000):
    predictor = mean + np.sqrt(variance) * rows.rng.standard_normal(n)
    return rows.family.sample(predictor, rows.parameters, rows.rng)


@pytest.mark.parametrize(("mean", "variance"), [(-0.7, 0.3), (0.8, 0.0), (0.4, 0.6)])
def test_predictions_agree_with_samples(rows, mean, variance):
    draws = _simulated(rows, mean, variance)
    rows.family.refuse_targets(draws)
    n = len(draws)
    means, variances = np.array([mean]), np.array([variance])
    if rows.family.is_classifier:
        (expected,) = rows.family.probabilities(means, variances, rows.parameters)
        shares = np.bincount(draws.astype(int), minlength=len(expected)) / n
        assert np.all(abs(shares - expected) < 4 * np.sqrt(expected * (1 - expected) / n))
        return
    expected, spread = rows.family.predictive_moments(means, variances, rows.parameters)
    assert abs(draws.mean() - expected[0]) < 4 * draws.std() / np.sqrt(n)
    squares = (draws - expected[0]) ** 2
    assert abs(squares.mean() - spread[0] ** 2) < 4 * squares.std() / np.sqrt(n)


def test_distribution_function_agrees_with_samples(rows):
    if rows.family.is_classifier:
        probabilities = rows.family.probabilities(rows.mean, rows.variance, rows.parameters)
        assert np.all(probabilities >= 0)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-14)
        return
    draws = _simulated(rows, 0.6, 0.0)
    points = np.quantile(draws, [0.1, 0.5, 0.9])
    expected = rows.family.cdf(points, np.array(0.6), rows.parameters)
    shares = (draws[:, None] <= points).mean(axis=0)
    error = np.sqrt(expected * (1 - expected) / len(draws))
    assert np.all(abs(shares - expected) < 4 * error)
    if not rows.family.is_quadratic:
        assert rows.family.cdf(np.array(-0.5), np.array(0.6), rows.parameters) == 0


def test_results_do_not_depend_on_threads(choice):
    rows = Rows(*choice, n=30_000)
    one, three = rows.terms(n_threads=1), rows.terms(n_threads=3)
    for field in ("value", "gradient", "precision"):
        np.testing.assert_array_equal(getattr(one, field), getattr(three, field))
    one, three = rows.derivatives(1), rows.derivatives(3)
    np.testing.assert_array_equal(one.gradient, three.gradient)
    np.testing.assert_array_equal(one.hessian, three.hessian)


def test_rows_do_not_depend_on_one_another(choice):
    rows = Rows(*choice, n=20_000)
    every = rows.terms()
    some = slice(11_111, 11_131)
    few = rows.family.row_terms(
        ResponseRows(rows.y[some]), rows.mean[some], rows.variance[some], rows.parameters
    )
    np.testing.assert_allclose(few.value, every.value[some], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("variance", [0.0, 1e-300, 0.5, 100.0, 2500.0])
def test_extreme_predictors_give_numbers(rows, variance):
    for mean in (-1e6, -800.0, -40.0, 0.0, 40.0, 800.0, 1e6):
        means, variances = np.full_like(rows.y, mean), np.full_like(rows.y, variance)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            terms = rows.terms(means, variances)
        assert not np.any(np.isnan(terms.value))
        assert np.all(terms.value <= 1e-9 + 40 * (not rows.family.is_classifier))
        assert not np.any(np.isnan(terms.gradient))
        assert np.all(terms.precision >= 0)


def test_empty_rows(rows):
    none = np.empty(0)
    terms = rows.family.row_terms(ResponseRows(none), none, none, rows.parameters)
    assert terms.value.shape == terms.gradient.shape == terms.precision.shape == (0,)


def test_unknown_link_is_refused(choice):
    name, _, n_classes = choice
    with pytest.raises(ValueError, match=rf"link='cloglog' is not known for family='{name}'"):
        make_family(name, "cloglog", n_classes)


def test_unknown_family_is_refused():
    with pytest.raises(ValueError, match="family='weibull' is not known; choose one of gaussian"):
        make_family("weibull")
