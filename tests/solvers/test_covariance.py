"""The map between variance parameters and covariance matrices."""

from __future__ import annotations

import numpy as np
import pytest
from dense import DESIGNS, make_model, theta_of

from skmixed.covariances import STRUCTURES
from skmixed.posteriors import EffectsPrior

MATRICES = {name: known for name, known in STRUCTURES.items() if known.is_one_block}


def prior_of(name):
    return EffectsPrior.of(make_model(name).cross().factors)


def covariances(prior, theta):
    return [scale.omega for scale in prior.scales(theta)]


def draw_theta(prior, seed=0):
    return np.random.default_rng(seed).standard_normal(prior.n_parameters)


@pytest.mark.parametrize("name", DESIGNS)
def test_round_trips(name):
    prior = prior_of(name)
    theta = draw_theta(prior)
    matrices = [scale.matrix for scale in prior.scales(theta)]
    np.testing.assert_array_equal(theta_of(prior, matrices), theta)
    canonical = prior.canonical(theta)
    assert all((np.diagonal(scale.matrix) >= 0).all() for scale in prior.scales(canonical))
    for a, b in zip(covariances(prior, canonical), covariances(prior, theta), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-14)
    again = prior.nearest(covariances(prior, theta))
    np.testing.assert_allclose(again, canonical, atol=1e-12)


@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("name", DESIGNS)
def test_singular_covariances(name, rank):
    """A singular covariance has a factor, too; it is found without NaN."""
    prior = prior_of(name)
    matrices = [scale.matrix for scale in prior.scales(draw_theta(prior))]
    omegas = [matrix[:, :rank] @ matrix[:, :rank].T for matrix in matrices]
    theta = prior.nearest(omegas)
    assert np.isfinite(theta).all()
    blocks = [factor.blocks for factor in prior.factors]
    for found, omega, ranges in zip(covariances(prior, theta), omegas, blocks, strict=True):
        for begin, stop in ranges:
            here = slice(begin, stop)
            np.testing.assert_allclose(found[here, here], omega[here, here], atol=1e-12)


@pytest.mark.parametrize("name", DESIGNS)
def test_covariance_blocks_stay_apart(name):
    prior = prior_of(name)
    theta = draw_theta(prior)
    for factor, omega in zip(prior.factors, covariances(prior, theta), strict=True):
        together = np.zeros_like(omega, dtype=bool)
        for begin, stop in factor.blocks:
            together[begin:stop, begin:stop] = True
        assert (omega[~together] == 0).all()


@pytest.mark.parametrize("name", DESIGNS)
def test_tangents_and_chain_rule(name):
    """For the linear function tr(G Omega) of all Omega = T T'."""
    prior = prior_of(name)
    theta = draw_theta(prior)
    rng = np.random.default_rng(4)
    weights = []
    for factor in prior.factors:
        square = rng.standard_normal((factor.n_effects, factor.n_effects))
        weights.append(square + square.T)

    def value(point):
        omegas = covariances(prior, point)
        return sum(np.sum(g * omega) for g, omega in zip(weights, omegas, strict=True))

    gradient = prior.gradient(theta, weights)
    curvature = prior.curvature(theta, weights)
    for j, (factor, tangent) in enumerate(prior.tangents(theta)):
        step = np.zeros_like(theta)
        step[j] = 1e-5
        numeric = (value(theta + step) - value(theta - step)) / 2e-5
        assert gradient[j] == pytest.approx(numeric, rel=1e-7, abs=1e-9)
        assert np.sum(weights[factor.position] * tangent) == pytest.approx(numeric, abs=1e-8)
        change = (prior.gradient(theta + step, weights) - prior.gradient(theta - step, weights)) / (
            2e-5
        )
        np.testing.assert_allclose(curvature[j], change, atol=1e-8)


def test_absent_factors_have_no_parameters():
    factors = make_model("crossed").cross().factors
    prior = EffectsPrior.of(factors, absent=frozenset({1}))
    assert set(prior.factor_of) == {0, 2}
    scales = prior.scales(np.array([2.0, 3.0]))
    assert [float(scale.matrix[0, 0]) for scale in scales] == [2.0, 0.0, 3.0]
    omegas = [np.array([[4.0]]), np.array([[5.0]]), np.array([[9.0]])]
    np.testing.assert_allclose(prior.nearest(omegas), [2.0, 3.0])


class TestEveryStructure:
    """What holds for the covariance of one level, whatever its structure."""

    @pytest.fixture(params=[(name, q) for name in MATRICES for q in (1, 2, 4)])
    def structure(self, request):
        name, q = request.param
        return MATRICES[name](q)

    @pytest.fixture
    def theta(self, structure):
        return np.random.default_rng(3).standard_normal(structure.n_parameters)

    def test_scale_is_a_root_that_canonical_parameters_share(self, structure, theta):
        omega = structure.scale(theta) @ structure.scale(theta).T
        canonical = structure.canonical(theta)
        same = structure.scale(canonical) @ structure.scale(canonical).T
        np.testing.assert_allclose(same, omega, atol=1e-13)
        np.testing.assert_allclose(structure.canonical(canonical), canonical, atol=1e-14)
        again = structure.scale(structure.nearest(omega))
        np.testing.assert_allclose(again @ again.T, omega, atol=1e-10)

    def test_derivatives(self, structure, theta):
        square = np.random.default_rng(5).standard_normal((structure.n_effects,) * 2)
        weights = square + square.T
        step = 1e-5

        def omega(at):
            return structure.scale(at) @ structure.scale(at).T

        for j, unit in enumerate(np.eye(len(theta))):
            above, below = theta + step * unit, theta - step * unit
            slope = (omega(above) - omega(below)) / (2 * step)
            np.testing.assert_allclose(structure.tangents(theta)[j], slope, atol=1e-8)
            found = structure.gradient(theta, weights)[j]
            assert found == pytest.approx(np.sum(weights * slope), rel=1e-6, abs=1e-8)
            change = structure.gradient(above, weights) - structure.gradient(below, weights)
            bend = structure.curvature(theta, weights)[j]
            np.testing.assert_allclose(bend, change / (2 * step), atol=1e-7)

    def test_reflected_parameters_mean_the_same(self, structure, theta):
        for j in np.flatnonzero(structure.reflects):
            mirrored = theta.copy()
            mirrored[j] *= -1.0
            one, other = structure.scale(theta), structure.scale(mirrored)
            np.testing.assert_allclose(other @ other.T, one @ one.T, atol=1e-13)

    def test_ends_of_ranges_are_ordinary_points(self, structure, theta):
        """The gradient vanishes there, and parameters next to them are found."""
        assert not structure.moves(np.zeros_like(theta)).any()
        ends = list(structure.ends(1e-6 * np.sign(theta)))
        assert ends
        for positions, end in ends:
            at = theta.copy()
            at[positions] = end
            slopes = structure.gradient(at, np.eye(structure.n_effects))[positions]
            np.testing.assert_allclose(slopes, 0.0, atol=1e-12)
