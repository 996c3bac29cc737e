"""The map between variance parameters and covariance matrices."""

from __future__ import annotations

import numpy as np
import pytest
from dense import DESIGNS, make_model

from skmixed.covariances.parameters import CovarianceParameters


def parameters_of(name):
    return CovarianceParameters.of(make_model(name).cross().factors)


def covariances(parameters, theta):
    return [scale @ scale.T for scale in parameters.to_scale_factors(theta)]


def draw_theta(parameters, seed=0):
    return np.random.default_rng(seed).standard_normal(len(parameters.entries))


@pytest.mark.parametrize("name", DESIGNS)
def test_round_trips(name):
    parameters = parameters_of(name)
    theta = draw_theta(parameters)
    scales = parameters.to_scale_factors(theta)
    np.testing.assert_array_equal(parameters.from_scale_factors(scales), theta)
    canonical = parameters.canonical(theta)
    diagonal = [row == column for _, row, column in parameters.entries]
    assert (canonical[diagonal] >= 0).all()
    pairs = zip(covariances(parameters, canonical), covariances(parameters, theta), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, atol=1e-14)
    again = parameters.from_covariances(covariances(parameters, theta))
    np.testing.assert_allclose(again, canonical, atol=1e-12)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("name", DESIGNS)
def test_singular_covariances(name, rank):
    """A singular covariance has a factor, too; it is found without NaN."""
    parameters = parameters_of(name)
    scales = parameters.to_scale_factors(draw_theta(parameters))
    omegas = [scale[:, :rank] @ scale[:, :rank].T for scale in scales]
    theta = parameters.from_covariances(omegas)
    assert np.isfinite(theta).all()
    blocks = [factor.blocks for factor in parameters.factors]
    for found, omega, ranges in zip(covariances(parameters, theta), omegas, blocks, strict=True):
        for begin, stop in ranges:
            here = slice(begin, stop)
            np.testing.assert_allclose(found[here, here], omega[here, here], atol=1e-12)


@pytest.mark.parametrize("name", DESIGNS)
def test_covariance_blocks_stay_apart(name):
    parameters = parameters_of(name)
    theta = draw_theta(parameters)
    for factor, omega in zip(parameters.factors, covariances(parameters, theta), strict=True):
        together = np.zeros_like(omega, dtype=bool)
        for begin, stop in factor.blocks:
            together[begin:stop, begin:stop] = True
        assert (omega[~together] == 0).all()


@pytest.mark.parametrize("name", DESIGNS)
def test_tangents_and_chain_rule(name):
    """For the linear function tr(G Omega) of all Omega = T T'."""
    parameters = parameters_of(name)
    theta = draw_theta(parameters)
    rng = np.random.default_rng(4)
    weights = []
    for factor in parameters.factors:
        square = rng.standard_normal((factor.n_effects, factor.n_effects))
        weights.append(square + square.T)

    def value(point):
        omegas = covariances(parameters, point)
        return sum(np.sum(g * omega) for g, omega in zip(weights, omegas, strict=True))

    gradient = parameters.gradient(theta, weights)
    tangents = parameters.tangents(theta)
    curvature = parameters.curvature(weights)
    for j, (factor, tangent) in enumerate(tangents):
        step = np.zeros_like(theta)
        step[j] = 1e-5
        numeric = (value(theta + step) - value(theta - step)) / 2e-5
        assert gradient[j] == pytest.approx(numeric, rel=1e-7, abs=1e-9)
        assert np.sum(weights[factor.position] * tangent) == pytest.approx(numeric, abs=1e-8)
        change = (
            parameters.gradient(theta + step, weights) - parameters.gradient(theta - step, weights)
        ) / 2e-5
        np.testing.assert_allclose(curvature[j], change, atol=1e-8)


def test_absent_factors_have_no_parameters():
    factors = make_model("crossed").cross().factors
    parameters = CovarianceParameters.of(factors, frozenset({1}))
    assert {factor for factor, _, _ in parameters.entries} == {0, 2}
    scales = parameters.to_scale_factors(np.array([2.0, 3.0]))
    assert [float(scale[0, 0]) for scale in scales] == [2.0, 0.0, 3.0]
    omegas = [np.array([[4.0]]), np.array([[5.0]]), np.array([[9.0]])]
    np.testing.assert_allclose(parameters.from_covariances(omegas), [2.0, 3.0])
