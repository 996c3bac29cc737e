"""Quantiles of responses against scipy, fine quadrature and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from scipy import stats

from skmixed.families import make_family
from skmixed.results import quantile_table, quantiles
from skmixed.results.quantiles import mixture_quantiles

SHARES = [0.001, 0.025, 0.1, 0.5, 0.9, 0.975, 0.999]
NONE = np.empty(0)
FAMILIES = {
    "poisson": (make_family("poisson"), NONE),
    "negative_binomial": (make_family("negative_binomial"), np.array([0.4])),
    "gamma": (make_family("gamma"), np.array([0.7])),
    "gamma_of_small_shape": (make_family("gamma"), np.array([-1.5])),
}
COUNTS = ["poisson", "negative_binomial"]


@pytest.fixture(params=FAMILIES)
def family(request):
    return FAMILIES[request.param]


def quantile(family, share, mean, variance=0.0):
    """Of one row."""
    likelihood, own = family
    return mixture_quantiles(likelihood, share, np.array([mean]), np.array([variance]), own)[0]


def distribution(likelihood, own, mean):
    """The response's distribution as scipy knows it, given its expected value."""
    if likelihood.name == "poisson":
        return stats.poisson(mean)
    size = np.exp(own[0])
    if likelihood.name == "negative_binomial":
        return stats.nbinom(size, size / (size + mean))
    return stats.gamma(size, scale=mean / size)


def probability(family, y, mean, variance):
    """P(response <= y) by the trapezoidal rule with 6,001 nodes."""
    nodes = np.linspace(-9.0, 9.0, 6001)
    weights = np.exp(-0.5 * nodes**2)
    expected = np.exp(mean + np.sqrt(variance) * nodes)
    return distribution(*family, expected).cdf(y) @ (weights / weights.sum())


# Known predictors -------------------------------------------------------------------------


@covering(name=FAMILIES, mean=[-20.0, -3.0, 0.0, 1.0, 4.0, 12.0], share=SHARES)
def test_known_predictor(name, mean, share):
    """Without variance they are the distribution's own."""
    family = FAMILIES[name]
    expected = distribution(*family, np.exp(mean)).ppf(share)
    found = quantile(family, share, mean)
    if family[0].is_discrete:
        assert found == expected
    else:
        assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("log_size", [-6.0, -3.0, 6.0])
@pytest.mark.parametrize("name", ["negative_binomial", "gamma"])
def test_known_predictor_of_extreme_size(name, log_size):
    """Almost all zeros, amounts of 1e-300, and nearly a Poisson or a normal distribution."""
    family = make_family(name), np.array([log_size])
    for mean in (-1.0, 5.0):
        for share in SHARES:
            expected = distribution(*family, np.exp(mean)).ppf(share)
            found = quantile(family, share, mean)
            assert found == pytest.approx(expected, rel=1e-7, abs=1e-300)


@pytest.mark.parametrize("name", COUNTS)
def test_whole_numbers_where_they_are_large(name):
    likelihood, own = FAMILIES[name]
    found = quantile((likelihood, own), 0.3, 21.0)
    assert found == np.floor(found)
    assert found == pytest.approx(distribution(likelihood, own, np.exp(21.0)).ppf(0.3), rel=2e-9)


# Uncertain predictors -----------------------------------------------------------------------


def assert_quantile(family, share, mean, variance, error):
    """The probability to be at or below it is at least the share; less, below it.

    `error` is that of the share, as a part of the smaller tail.
    """
    found = quantile(family, share, mean, variance)
    error *= min(share, 1.0 - share)
    if family[0].is_discrete:
        assert probability(family, found, mean, variance) >= share - error
        below = probability(family, found - 1.0, mean, variance) if found > 0 else 0.0
        assert below < share + error
    else:
        assert probability(family, found, mean, variance) == pytest.approx(share, abs=error)


@covering(name=FAMILIES, share=SHARES, mean=[-4.0, -1.0, 1.0], variance=[0.01, 0.3, 2.0])
def test_uncertain_predictor(name, share, mean, variance):
    assert_quantile(FAMILIES[name], share, mean, variance, 0.01)


@pytest.mark.parametrize("share", [0.025, 0.1, 0.9, 0.975])
@pytest.mark.parametrize("variance", [2.0, 9.0])
def test_very_uncertain_predictor(family, share, variance):
    assert_quantile(family, share, 2.0, variance, 0.05)


@pytest.mark.parametrize(("mean", "variance"), [(3.0, 1.0), (5.0, 0.5), (8.0, 1.0), (10.0, 0.04)])
@pytest.mark.parametrize("share", [0.025, 0.1, 0.9, 0.975])
def test_counts_that_are_known_better_than_their_predictor(share, mean, variance):
    """The distribution given the predictor is narrow on the scale of the predictor."""
    assert_quantile(FAMILIES["poisson"], share, mean, variance, 0.05)


@pytest.mark.parametrize("share", [0.025, 0.1, 0.9, 0.975])
@pytest.mark.parametrize("name", ["poisson", "gamma"])
def test_hardly_any_noise(name, share):
    """Large counts and large shapes: what is left is the log-normal distribution."""
    family = make_family(name), np.full(int(name == "gamma"), 12.0)
    expected = np.exp(20.0 + 2.0 * stats.norm.ppf(share))
    assert quantile(family, share, 20.0, 4.0) == pytest.approx(expected, rel=1e-2)


def test_simulated(family):
    """Draws of the predictor, and of the response given it."""
    likelihood, own = family
    rng = np.random.default_rng(0)
    mean, variance, n = 1.2, 0.6, 400_000
    y = likelihood.sample(rng.normal(mean, np.sqrt(variance), n), own, rng)
    for share in SHARES:
        found = quantile(family, share, mean, variance)
        error = 4.0 * np.sqrt(share * (1.0 - share) / n)
        assert (y <= found).mean() >= share - error
        assert (y < found).mean() <= share + error


def test_huge_variance(family):
    """Finite and in order where the linear predictor is as good as unknown."""
    found = [quantile(family, share, 0.0, 400.0) for share in SHARES]
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0.0).all()
    assert found[-1] > 1e10
    assert found[0] < 1e-10


# Properties -----------------------------------------------------------------------------


@pytest.mark.parametrize("variance", [0.0, 0.2, 4.0])
def test_rises_with_the_share(family, variance):
    found = [quantile(family, share, 1.0, variance) for share in np.linspace(0.005, 0.995, 100)]
    assert (np.diff(found) >= 0.0).all()
    assert found[-1] > found[0]


def test_rises_with_the_mean(family):
    likelihood, own = family
    means = np.linspace(-3.0, 6.0, 181)
    found = mixture_quantiles(likelihood, 0.8, means, np.full(181, 0.5), own)
    assert (np.diff(found) >= 0.0).all()
    assert found[-1] > found[0]


@pytest.mark.parametrize("name", COUNTS)
def test_smallest_count_that_reaches_the_share(name):
    """On either side of the probability of at most y the quantile is y, and y + 1."""
    family = FAMILIES[name]
    for y in range(6):
        reached = distribution(*family, np.exp(0.7)).cdf(y)
        assert quantile(family, reached * (1.0 - 1e-10), 0.7) == y
        assert quantile(family, reached * (1.0 + 1e-10), 0.7) == y + 1
        reached = probability(family, y, 0.7, 0.3)
        assert quantile(family, reached * (1.0 - 1e-5), 0.7, 0.3) == y
        assert quantile(family, reached * (1.0 + 1e-5), 0.7, 0.3) == y + 1


@pytest.mark.parametrize("name", COUNTS)
def test_zero_where_zero_is_likely_enough(name):
    likelihood, own = FAMILIES[name]
    means = np.array([-30.0, -3.0])
    found = mixture_quantiles(likelihood, 0.6, means, np.array([0.5, 0.01]), own)
    np.testing.assert_array_equal(found, [0.0, 0.0])


def test_rows_do_not_depend_on_one_another(family, monkeypatch):
    """Nor on the chunks that they are worked on in."""
    likelihood, own = family
    rng = np.random.default_rng(2)
    mean, variance = rng.normal(size=23), rng.gamma(1.0, size=23)
    alone = [quantile(family, 0.9, m, v) for m, v in zip(mean, variance, strict=True)]
    together = mixture_quantiles(likelihood, 0.9, mean, variance, own)
    np.testing.assert_allclose(together, alone, rtol=1e-12)
    monkeypatch.setattr(quantiles, "_CHUNK", 5)
    chunked = mixture_quantiles(likelihood, 0.9, mean, variance, own)
    np.testing.assert_allclose(chunked, alone, rtol=1e-12)
    assert len(mixture_quantiles(likelihood, 0.9, mean[:0], variance[:0], own)) == 0


# Many rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["poisson", "negative_binomial", "gamma"])
@pytest.mark.parametrize("share", [0.025, 0.5, 0.975])
def test_many_rows_are_interpolated_and_the_quantiles_are_the_same(name, share, monkeypatch):
    """Of counts every single one: next to an integer the distribution function decides."""
    likelihood, own = FAMILIES[name]
    rng = np.random.default_rng(3)
    mean, variance = rng.uniform(-1.0, 3.0, 4000), rng.uniform(0.05, 0.6, 4000) ** 2
    calls = []
    monkeypatch.setattr(
        quantiles, "interpolated",
        lambda *args: calls.append(quantile_table.interpolated(*args)) or calls[-1],
    )  # fmt: skip
    found = mixture_quantiles(likelihood, share, mean, variance, own)
    assert calls[0] is not None
    assert 0.0 < calls[0].error < 2e-4
    monkeypatch.setattr(quantiles, "interpolated", lambda *args: None)
    computed = mixture_quantiles(likelihood, share, mean, variance, own)
    if likelihood.is_discrete:
        np.testing.assert_array_equal(found, computed)
    else:
        np.testing.assert_allclose(found, computed, rtol=5e-6)


def test_a_function_that_is_not_smooth_is_not_interpolated():
    table = quantile_table.Table(0.2, 0.1, 1e-3)
    rng = np.random.default_rng(4)
    mean, sd = rng.uniform(0.0, 2.0, 5000), rng.uniform(0.2, 1.0, 5000)
    smooth = quantile_table.interpolated(lambda m, s, k: np.sin(m) * s + k, mean, sd, 0 * sd, table)
    np.testing.assert_allclose(smooth.values, np.sin(mean) * sd, atol=smooth.error)
    rough = quantile_table.interpolated(lambda m, s, k: np.rint(3 * m), mean, sd, 0 * sd, table)
    assert rough is None
    some = slice(0, 50)
    few = quantile_table.interpolated(lambda m, s, k: m, mean[some], sd[some], 0 * sd[some], table)
    assert few is None
