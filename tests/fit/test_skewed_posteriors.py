"""Skewness of effects under the corrected posterior, and quantiles from it."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit, logsumexp, ndtri
from scipy.stats import norm

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.families import make_family
from skmixed.families.folded import distance_quantiles
from skmixed.families.skewed import standard_cdf, standard_quantiles
from skmixed.results import quantiles
from skmixed.results.quantiles import mixture_quantiles
from tests.fit.test_corrected import fitted, nested, parameters_of, simulated

LINE = np.arange(-8.0, 8.05, 0.1)


# The variable itself ----------------------------------------------------------------------------


@pytest.mark.parametrize("skewness", [-2.0, -0.4, -1e-3, 0.0, 9e-4, 0.1, 1.0])
def test_moments_are_as_asked(skewness):
    def moment(power):
        def inside(z):
            return standard_quantiles(z, skewness) ** power * norm.pdf(z)

        return quad(inside, -12.0, 12.0, limit=200)[0]

    found = [moment(power) for power in (1, 2, 3)]
    np.testing.assert_allclose(found, [0.0, 1.0, skewness], atol=2e-6)


def test_distribution_function_is_the_inverse():
    skewness, z = np.linspace(-3.0, 3.0, 61)[:, None], np.linspace(-5.0, 5.0, 41)
    x = standard_quantiles(z, skewness)
    assert (np.diff(x, axis=1) > 0.0).all()
    np.testing.assert_allclose(
        ndtri(standard_cdf(x, skewness)), np.broadcast_to(z, x.shape), atol=1e-5
    )
    np.testing.assert_array_equal(standard_quantiles(z, 0.0), z)


@pytest.mark.parametrize("shift", [-1.5, -0.2, 0.0, 0.7])
def test_distances_of_skewed_variables(shift):
    share, sd, skewness = 0.9, 0.8, -0.9
    found = distance_quantiles(share, np.array([shift]), np.array([sd]), np.array([skewness]))
    ends = standard_cdf((np.append(found, -found) - shift) / sd, skewness)
    assert ends[0] - ends[1] == pytest.approx(share, abs=1e-9)


# What is known of effects -----------------------------------------------------------------------


def third_moments(mass, nodes):
    """Third central moments (q, q, q) of nodes (k, q) of these weights."""
    mass = mass / mass.sum()
    away = nodes - mass @ nodes
    return np.einsum("k,ka,kb,kc->abc", mass, away, away, away)


@pytest.mark.compiled
@pytest.mark.parametrize(("family", "q"), [("bernoulli", 1), ("poisson", 1), ("bernoulli", 2)])
def test_third_moments_are_those_of_a_grid(family, q):
    frame, y = simulated(family, q, seed=11 if q == 1 else 1)
    model = fitted(family, "logit" if family == "bernoulli" else None, frame, y, q)
    at = parameters_of(model)
    root = np.zeros((q, q))
    root[np.tril_indices(q)] = at[2:]
    line = LINE if q == 1 else np.arange(-7.0, 7.05, 0.2)
    grid = np.stack(np.meshgrid(*[line] * q, indexing="ij"), -1).reshape(-1, q)
    effects, prior = grid @ root.T, norm.logpdf(grid).sum(axis=1)
    x, z = frame["x"].to_numpy(), np.column_stack([np.ones(len(y)), frame["x"]])[:, :q]
    found = model.fit_result_.factors[0].thirds
    for level in range(5):
        rows = np.flatnonzero(frame["g"] == level)
        eta = (at[0] + at[1] * x[rows])[:, None] + z[rows] @ effects.T
        if family == "bernoulli":
            logs = np.log(expit(np.where(y[rows, None] > 0, eta, -eta)))
        else:
            logs = y[rows, None] * eta - np.exp(eta)
        logs = logs.sum(axis=0) + prior
        expected = third_moments(np.exp(logs - logs.max()), effects)
        np.testing.assert_allclose(found[level], expected, atol=2e-6)


@pytest.mark.compiled
def test_third_moments_of_nested_effects():
    frame, y = nested(n_outer=8)
    model = MixedEffectsVIClassifier(["inner", "outer"], approximation="corrected").fit(frame, y)
    sds = [np.sqrt(model.random_effects_cov_[name].iloc[0, 0]) for name in ("inner", "outer")]
    fixed = model.intercept_ + model.coef_[0] * frame["x"].to_numpy()
    eta = fixed[:, None, None] + sds[1] * LINE[:, None] + sds[0] * LINE
    logs = np.log(expit(np.where(y[:, None, None] > 0, eta, -eta)))
    of_inner = np.zeros((40, len(LINE), len(LINE)))
    np.add.at(of_inner, frame["inner"].to_numpy(), logs)
    of_inner += norm.logpdf(LINE)
    inside = logsumexp(of_inner, axis=2)
    of_outer = np.array([inside[5 * j : 5 * j + 5].sum(axis=0) for j in range(8)])
    of_outer += norm.logpdf(LINE)
    inner, outer = (factor.thirds[:, 0, 0, 0] for factor in model.fit_result_.factors)
    for j in range(8):
        mass = np.exp(of_outer[j] - of_outer[j].max())
        expected = third_moments(mass, sds[1] * LINE[:, None])
        assert outer[j] == pytest.approx(expected[0, 0, 0], abs=1e-6)
        # an inner level, given outer effects and averaged over them
        given = of_inner[5 * j] - inside[5 * j][:, None] + of_outer[j][:, None]
        mass = np.exp(given - given.max()).sum(axis=0)
        expected = third_moments(mass, sds[0] * LINE[:, None])
        assert inner[5 * j] == pytest.approx(expected[0, 0, 0], abs=1e-6)


# Quantiles --------------------------------------------------------------------------------------


@pytest.mark.compiled
def test_intervals_leave_the_same_out_on_both_sides():
    """Levels whose responses are all alike: a normal posterior leaves 4 % and 0.2 %."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(300), 6)
    frame = simulated("bernoulli", 1)[0].iloc[:0].reindex(range(len(g)))
    frame = frame.assign(x=rng.normal(size=len(g)), z=0.0, g=g)
    y = (rng.random(len(g)) < expit(-1.0 + 3.0 * rng.normal(size=300)[g])).astype(int)
    model = MixedEffectsVIClassifier(["g"], fixed_effects=["x"], approximation="corrected")
    model.fit(frame, y)
    sd = np.sqrt(model.random_effects_cov_["g"].iloc[0, 0])
    fixed = model.decision_function(frame, include="none")
    logs = norm.logpdf(LINE) + np.zeros((300, 1))
    np.add.at(
        logs, g, np.log(expit(np.where(y[:, None] > 0, 1, -1) * (fixed[:, None] + sd * LINE)))
    )
    mass = np.exp(logs - logs.max(axis=1, keepdims=True))
    below = np.cumsum(mass, axis=1) / mass.sum(axis=1, keepdims=True)
    ends = model.predict_proba_interval(frame)[:, 1]
    ends = (np.log(ends) - np.log1p(-ends) - fixed[:, None]) / sd
    alike = np.flatnonzero(np.bincount(g, y)[g] % 6 == 0)
    out = np.array([np.interp(ends[i], LINE + 0.05, below[g[i]]) for i in alike])
    # coefficients are a little uncertain as well
    assert out[:, 0].min() > 0.006
    assert out[:, 0].max() < 0.032
    assert (1.0 - out[:, 1]).min() > 0.006
    assert (1.0 - out[:, 1]).max() < 0.032
    unknown = frame.assign(g=-1).iloc[:3]
    encoded = model._fitted_model.encode(unknown, "all", with_weights=False)
    np.testing.assert_array_equal(encoded.skewness(encoded.variance(further=True)), 0.0)


@pytest.mark.parametrize("share", [0.025, 0.9])
@pytest.mark.parametrize("name", ["poisson", "gamma"])
def test_quantiles_of_responses_average_over_the_skewed_predictor(name, share):
    likelihood = make_family(name)
    own = np.empty(0) if name == "poisson" else np.array([1.0])
    mean, variance, skewness = np.array([1.2]), np.array([0.5]), np.array([-0.7])
    found = mixture_quantiles(likelihood, share, mean, variance, own, skewness)[0]

    def probability(y):
        def inside(z):
            eta = mean + np.sqrt(variance) * standard_quantiles(z, skewness)
            return float(likelihood.cdf(np.array([y]), eta, own)[0]) * norm.pdf(z)

        return quad(inside, -9.0, 9.0, limit=200)[0]

    if name == "poisson":
        assert probability(found) >= share
        assert found == 0 or probability(found - 1) < share
    else:
        assert probability(found) == pytest.approx(share, abs=1e-6)


@pytest.mark.compiled
@pytest.mark.parametrize("name", ["poisson", "gamma"])
def test_many_skewed_rows_are_interpolated(name, monkeypatch):
    likelihood = make_family(name)
    own = np.empty(0) if name == "poisson" else np.array([1.0])
    rng = np.random.default_rng(3)
    mean, variance = rng.uniform(-1.0, 2.0, 60_000), rng.uniform(0.3, 0.6, 60_000) ** 2
    skewness = rng.uniform(-0.6, 0.0, 60_000)
    calls, interpolated = [], quantiles.interpolated

    def recorded(*arguments):
        calls.append(interpolated(*arguments))
        return calls[-1]

    monkeypatch.setattr(quantiles, "interpolated", recorded)
    found = mixture_quantiles(likelihood, 0.975, mean, variance, own, skewness)
    assert calls[0] is not None
    some = slice(0, 2000)
    monkeypatch.setattr(quantiles, "interpolated", lambda *arguments: None)
    expected = mixture_quantiles(likelihood, 0.975, mean[some], variance[some], own, skewness[some])
    np.testing.assert_allclose(found[some], expected, rtol=5e-6)


@pytest.mark.compiled
def test_count_intervals_know_the_skewness():
    frame, y = simulated("poisson", 1, seed=12)
    model = fitted("poisson", None, frame, y)
    found = model.predict_quantile(frame, [0.025, 0.5, 0.975])
    assert (np.diff(found, axis=1) >= 0.0).all()
    # Poisson effects have a long left tail
    encoded = model._fitted_model.encode(frame, "all")
    assert (encoded.skewness(encoded.variance(further=True)) < 0.0).all()
    variational = MixedEffectsVIRegressor(formula="x + (1 | g)", family="poisson").fit(frame, y)
    encoded = variational._fitted_model.encode(frame, "all")
    assert encoded.skewness(encoded.variance(further=True)) == 0.0


def test_ordinal_classes_in_the_middle():
    """P(class | eta) of a middle class has the quantile that simulation gives."""
    likelihood = make_family("ordinal", "logit", 4)
    own = np.array([0.1, -0.3])
    mean, variance, skewness = np.array([0.4]), np.array([0.8]), np.array([0.8])
    found = likelihood.probability_quantiles(0.2, mean, variance, own, skewness)
    z = ndtri((np.arange(400_000) + 0.5) / 400_000)
    eta = mean + np.sqrt(variance) * standard_quantiles(z, skewness)
    shares = likelihood.probabilities(eta, np.zeros_like(eta), own)
    np.testing.assert_allclose(found[0], np.quantile(shares, 0.2, axis=0), atol=2e-5)
