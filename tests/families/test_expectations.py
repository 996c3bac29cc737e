"""Expectations under a normal variable against sums over many nodes in long double."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import erfcx, log_ndtr

from skmixed._kernels.expectations import expected_softplus
from skmixed._kernels.normal_links import (
    expected_log_normal_cdf,
    expected_log_normal_interval,
    log_normal_cdf,
    log_normal_interval,
)
from skmixed._kernels.softplus_rows import (
    expected_softplus_higher_rows,
    expected_softplus_rows,
)

DEVIATIONS = [1e-8, 0.01, 0.1, 0.3, 0.4199, 0.4201, 0.6, 0.8, 1, 1.5, 2, 4, 8, 15.99, 16.01, 30, 50]


def _nodes(mean, deviation, reach=13.0):
    """Values of eta, and weights that are far more than enough."""
    step = min(0.05, 0.05 / deviation)
    t = np.arange(-reach - 16, reach + 16, step).astype(np.longdouble)
    weights = np.exp(-t * t / 2)
    return mean + deviation * t, weights / weights.sum()


def _means(deviation):
    return np.concatenate(
        [np.linspace(-6, 6, 13) * max(deviation, 0.3), [-40, -20, -9.3, -9.1, -5, 3, 10, 30]]
    )


def _softplus_reference(mean, deviation):
    eta, weights = _nodes(mean, deviation)
    small = np.exp(-abs(eta))
    value = np.maximum(eta, 0) + np.log1p(small)
    share = small / (1 + small)
    logistic = np.where(eta > 0, 1 - share, share)
    return [float(weights @ f) for f in (value, logistic, share / (1 + small))]


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_expected_softplus(deviation):
    for mean in _means(deviation):
        result = expected_softplus(mean, deviation**2)
        np.testing.assert_allclose(
            result, _softplus_reference(mean, deviation), rtol=1e-14, atol=1e-12
        )


@pytest.mark.parametrize("deviation", [0.01, 0.4, 0.8, 2.0, 4.0])
@pytest.mark.parametrize("mean", [-12.0, -30.0, -100.0])
def test_small_derivatives_are_accurate_relatively(mean, deviation):
    result = expected_softplus(mean, deviation**2)
    np.testing.assert_allclose(result, _softplus_reference(mean, deviation), rtol=3e-11)
    mirrored = expected_softplus(-mean, deviation**2)
    assert mirrored[2] == result[2]


@pytest.mark.parametrize("mean", [-800.0, -30.0, -1.0, 0.0, 2.5, 30.0, 800.0])
def test_softplus_without_variance_is_exact(mean):
    value, first, second = expected_softplus(mean, 0.0)
    assert value == max(mean, 0.0) + math.log1p(math.exp(-abs(mean)))
    logistic = 1.0 / (1.0 + math.exp(-mean)) if mean > -700 else 0.0
    assert first == pytest.approx(logistic, rel=1e-15, abs=1e-300)
    assert second == pytest.approx(logistic / (1.0 + math.exp(min(mean, 700.0))), rel=1e-12)
    assert expected_softplus(mean, -1e-18) == (value, first, second)


@pytest.mark.parametrize("variance", [0.0, 1e-300, 1e-4, 1.0, 100.0, 2500.0, 1e300])
def test_softplus_of_extreme_means(variance):
    for mean in (-math.inf, -1e6, -745.2, 745.2, 1e6):
        value, first, second = expected_softplus(mean, variance)
        assert value >= max(mean, 0.0)
        assert 0.0 <= first <= 1.0
        assert second >= 0.0


def test_not_a_number_stays_one():
    for arguments in ((np.nan, 0.1), (np.nan, 9.0), (0.0, np.nan), (np.nan, 0.0)):
        assert np.all(np.isnan(expected_softplus(*arguments)))


def test_softplus_without_compilation():
    plain = getattr(expected_softplus_rows, "py_func", expected_softplus_rows)
    mean, variance = np.array([-3.0, 0.2, 7.0, -800.0]), np.array([0.1, 1.0, 400.0, 30.0])
    for rows in (slice(0, 2), slice(0, 4)):
        results = np.empty((3, len(mean[rows])))
        plain(mean[rows], variance[rows], *results)
        expected = [
            expected_softplus(m, v) for m, v in zip(mean[rows], variance[rows], strict=True)
        ]
        np.testing.assert_allclose(results.T, expected, rtol=1e-13)


@pytest.mark.parametrize("deviation", [1e-9, 0.1, 0.1001, 0.205, 0.3, 0.385, 0.46, 0.53, 0.5301])
def test_softplus_of_rows_of_small_variance(deviation):
    """Every rule at the largest deviation that it is for."""
    mean = _means(deviation)
    results = np.empty((3, len(mean)))
    expected_softplus_rows(mean, np.full(len(mean), deviation**2), *results)
    expected = np.array([_softplus_reference(m, deviation) for m in mean]).T
    np.testing.assert_allclose(results, expected, rtol=1e-14, atol=1e-12)
    small = mean < 0.0
    np.testing.assert_allclose(results[:, small], expected[:, small], rtol=1e-11)


def test_softplus_of_rows_side_by_side():
    """Rows share operations, and each has what it would have alone."""
    rng = np.random.default_rng(1)
    mean, variance = rng.normal(0.0, 8.0, 1000), 10.0 ** rng.uniform(-8.0, 1.1, 1000)
    mean[::50], variance[7::90] = -600.0, 0.0
    results = np.empty((3, 1000))
    expected_softplus_rows(mean, variance, *results)
    expected = [expected_softplus(m, v) for m, v in zip(mean, variance, strict=True)]
    np.testing.assert_allclose(results.T, expected, rtol=2e-12)


def _hazard(x):
    return np.sqrt(2 / np.pi) / erfcx(-np.asarray(x, dtype=float) / np.sqrt(2))


def test_log_normal_cdf():
    x = np.concatenate([np.linspace(-60, 12, 2881), [-1e3, -1e6, 1e6]])
    value, hazard, excess = np.array([log_normal_cdf(point) for point in x]).T
    np.testing.assert_allclose(value, log_ndtr(x), rtol=1e-13)
    np.testing.assert_allclose(hazard, _hazard(x), rtol=1e-13)
    np.testing.assert_allclose(excess, _hazard(x) + x, rtol=1e-13, atol=1e-12 * 60)
    # The hazard exceeds -x by 1 / -x, less 2 / -x^3, and so on.
    assert log_normal_cdf(-1e4)[2] == pytest.approx(1e-4 - 2e-12, rel=1e-14)


@pytest.mark.parametrize("deviation", [0.01, 0.3, 0.5, 0.8, 1.0, 2.0, 4.0, 16.0, 50.0])
def test_expected_log_normal_cdf(deviation):
    for mean in np.linspace(-6, 6, 13) * max(deviation, 0.5):
        eta, weights = (a.astype(float) for a in _nodes(mean, deviation))
        hazard = _hazard(eta)
        # The difference cancels in the tail, where Mills' ratio gives a series.
        square = np.where(eta < -50, eta, 50.0) ** -2.0
        series = 1 - square + 6 * square**2 - 50 * square**3
        bend = np.where(eta < -50, series, hazard * (hazard + eta))
        expected = [float(weights @ f) for f in (log_ndtr(eta), hazard, bend)]
        result = expected_log_normal_cdf(mean, deviation**2)
        np.testing.assert_allclose(result, expected, rtol=1e-10, atol=2e-12)


@pytest.mark.parametrize("width", [1e-4, 0.1, 1.0, 3.5, 6.0, 40.0])
def test_log_normal_interval(width):
    for lower in (-30.0, -8.1, -3.0, -0.5 * width, 0.4, 5.0, 20.0):
        upper = lower + width
        value, by_lower, by_upper, precision = log_normal_interval(lower, upper)
        lo, up = (lower, upper) if lower + upper < 0 else (-upper, -lower)
        expected = log_ndtr(up) + np.log(-np.expm1(log_ndtr(lo) - log_ndtr(up)))
        assert value == pytest.approx(expected, rel=1e-8)
        density = [
            math.exp(-0.5 * x * x - expected) / math.sqrt(2 * math.pi) for x in (lower, upper)
        ]
        assert by_lower == pytest.approx(-density[0], rel=1e-6)
        assert by_upper == pytest.approx(density[1], rel=1e-6)
        assert 0.0 <= precision <= 1.0 + 1e-6


@pytest.mark.parametrize("deviation", [0.05, 0.5, 0.8, 1.0, 2.0])
@pytest.mark.parametrize("width", [0.3, 2.0, 3.5, 5.0, math.inf])
def test_expected_log_normal_interval(deviation, width):
    for lower in (-6.0, -2.0, -0.3, 1.5):
        eta, weights = (a.astype(float) for a in _nodes(0.0, deviation))
        kept = weights > 1e-30
        points = np.array([log_normal_interval(lower + x, lower + x + width) for x in eta[kept]])
        out = np.empty(7)
        expected_log_normal_interval(lower, lower + width, deviation**2, out)
        np.testing.assert_allclose(
            out[[0, 1, 2, 6]], weights[kept] @ points, rtol=1e-11, atol=2e-12
        )
        np.testing.assert_allclose(out[6], -out[3] - 2 * out[4] - out[5], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("deviation", [0.0, *DEVIATIONS])
def test_higher_derivatives_of_softplus(deviation):
    mean = _means(deviation)
    third, fourth = np.empty_like(mean), np.empty_like(mean)
    expected_softplus_higher_rows(mean, np.full_like(mean, deviation**2), third, fourth)
    exact = []
    for centre in mean:
        eta, weights = (centre, np.ones(1)) if deviation == 0.0 else _nodes(centre, deviation)
        p = 1 / (1 + np.exp(-np.atleast_1d(eta).astype(np.longdouble)))
        slope = p * (1 - p)
        exact.append([weights @ (slope * (1 - 2 * p)), weights @ (slope * (1 - 6 * slope))])
    # by differences for certain and for wide rows
    tolerance = 1e-10 if 0.0 < deviation < 3.0 else 1e-7
    np.testing.assert_allclose(third, np.array(exact, float)[:, 0], atol=tolerance)
    np.testing.assert_allclose(fourth, np.array(exact, float)[:, 1], atol=tolerance)
