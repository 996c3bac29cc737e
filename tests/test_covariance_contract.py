"""What every structure of `STRUCTURES` has to keep: its derivatives are those of Omega."""

from __future__ import annotations

import numpy as np
import pytest

from skmixed.covariances import STRUCTURES
from skmixed.covariances.base import LevelCovariance

STEP = 1e-5


@pytest.fixture(params=STRUCTURES)
def covariance(request):
    return STRUCTURES[request.param](3)


@pytest.fixture
def theta(covariance):
    """A point inside the range of every parameter."""
    return np.random.default_rng(3).uniform(0.2, 0.8, covariance.n_parameters)


def omega(covariance, theta):
    root = covariance.scale(theta)
    return root @ root.T


def differences(function, theta):
    """Central differences by every parameter, (m, ...)."""
    steps = STEP * np.eye(len(theta))
    return np.array([(function(theta + s) - function(theta - s)) / (2 * STEP) for s in steps])


def test_tangents(covariance, theta):
    expected = differences(lambda point: omega(covariance, point), theta)
    np.testing.assert_allclose(covariance.tangents(theta), expected, atol=1e-8)


def test_second_derivatives(covariance, theta):
    expected = differences(covariance.tangents, theta)
    np.testing.assert_allclose(covariance.second(theta), expected, atol=1e-8)


def test_chains(covariance, theta):
    """A structure's short cuts are what the tangents give."""
    half = np.random.default_rng(4).standard_normal((3, 3))
    by_omega = half + half.T
    for short, whole in (
        (covariance.gradient, LevelCovariance.gradient),
        (covariance.curvature, LevelCovariance.curvature),
    ):
        expected = whole(covariance, theta, by_omega)
        np.testing.assert_allclose(short(theta, by_omega), expected, atol=1e-12)


def test_nearest_finds_itself(covariance, theta):
    here = omega(covariance, theta)
    found = covariance.nearest(here)
    np.testing.assert_allclose(omega(covariance, found), here, atol=1e-10)


def test_reflections_mean_the_same(covariance, theta):
    here = omega(covariance, theta)
    for j in np.flatnonzero(covariance.reflects):
        other = theta.copy()
        other[j] *= -1.0
        np.testing.assert_allclose(omega(covariance, other), here, atol=1e-12)
        np.testing.assert_allclose(omega(covariance, covariance.canonical(other)), here, atol=1e-12)
