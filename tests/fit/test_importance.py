"""Pareto smoothing of importance weights against what theory says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import genpareto

from skmixed.results.importance import (
    fit_pareto,
    pareto_quantiles,
    smooth_weights,
    tail_length,
)


@pytest.mark.parametrize("shape", [-0.4, 0.0, 0.3, 0.7, 1.2])
def test_shape_of_pareto_samples(shape):
    rng = np.random.default_rng(0)
    samples = np.sort(genpareto.rvs(shape, scale=2.0, size=(400, 300), random_state=rng), axis=0)
    found, scale = np.transpose([fit_pareto(column) for column in samples.T])
    # the prior draws the shape to 0.5 with the weight of 10 of 410 draws
    expected = (400 * shape + 10 * 0.5) / 410
    assert found.mean() == pytest.approx(expected, abs=0.03)
    assert scale.mean() == pytest.approx(2.0, rel=0.03)
    assert found.std() == pytest.approx((1 + shape) / 20.0, rel=0.3)


@pytest.mark.parametrize("shape", [-0.5, 0.0, 1e-12, 0.4, 1.5])
def test_quantiles(shape):
    levels = np.array([0.01, 0.5, 0.99, 0.9999])
    np.testing.assert_allclose(
        pareto_quantiles(levels, shape, 3.0),
        genpareto.ppf(levels, shape, scale=3.0),
        rtol=1e-8,
    )


@pytest.mark.parametrize("shape", [0.2, 0.5, 0.9])
def test_shape_of_the_tail_of_weights(shape):
    """Weights U^-k have a Pareto tail of shape k."""
    log_weights = -shape * np.log(np.random.default_rng(1).random((4000, 50)))
    found = np.array([smooth_weights(column).shape for column in log_weights.T])
    assert found.mean() == pytest.approx(shape, abs=0.05)


def test_a_narrow_proposal_has_the_shape_of_theory():
    """N(0, 1) weighted by N(0, s^2 > 1): weights exp(c z^2 / 2) have shape c = 1 - 1 / s^2."""
    normals = np.random.default_rng(2).standard_normal((20_000, 20))
    ratio = 1.0 - 1.0 / 3.0**2
    weights = 0.5 * ratio * normals**2
    found = np.array([smooth_weights(column).shape for column in weights.T])
    assert found.mean() == pytest.approx(ratio, abs=0.1)


def test_averages_of_log_normal_weights():
    normals = np.random.default_rng(3).standard_normal((1000, 200))
    smoothed = [smooth_weights(0.8 * column) for column in normals.T]
    errors = np.array([each.log_mean() for each in smoothed]) - 0.5 * 0.8**2
    assert abs(errors.mean()) < 0.01
    stds = [each.log_mean_std() for each in smoothed]
    assert errors.std() == pytest.approx(np.mean(stds), rel=0.25)
    assert all(each.shape < 0.7 for each in smoothed)


def test_effective_share():
    normals = np.random.default_rng(7).standard_normal(100_000)
    share = smooth_weights(0.3 * normals).effective_share()
    # the squared coefficient of variation of log-normal weights is exp(s^2) - 1
    np.testing.assert_allclose(share, np.exp(-(0.3**2)), rtol=0.01)


def test_smoothing_keeps_order_body_and_largest_weight():
    log_weights = 3.0 * np.random.default_rng(4).standard_normal(500) - 1000.0
    smoothed = smooth_weights(log_weights).log_weights
    order = np.argsort(log_weights)
    body, tail = order[: -tail_length(500)], order[-tail_length(500) :]
    np.testing.assert_array_equal(smoothed[body], log_weights[body])
    assert (np.diff(smoothed[tail]) >= 0).all()
    assert smoothed.max() <= log_weights.max()
    assert smooth_weights(log_weights + 1e4).shape == pytest.approx(
        smooth_weights(log_weights).shape, rel=1e-6
    )


def test_equal_weights_and_lone_weights():
    assert smooth_weights(np.full(100, -7.0)).shape == 0.0
    spread = 1e4 * np.random.default_rng(6).standard_normal((100, 1))[:, 0]
    lone = smooth_weights(spread)
    assert lone.shape == np.inf
    assert lone.log_mean() == pytest.approx(spread.max() - np.log(100))


def test_few_draws_are_left_alone():
    log_weights = np.arange(10.0)
    few = smooth_weights(log_weights)
    assert tail_length(10) < 5
    np.testing.assert_array_equal(few.log_weights, log_weights)
    assert few.shape == 0.0
