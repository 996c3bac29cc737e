"""-2 ELBO of responses that are not normal against dense formulas and finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from covering import covering
from dense import DESIGNS, make_model, theta_of
from scipy.linalg import block_diag
from test_working import linear_predictor_design, make_rows

from skmixed.families import make_family
from skmixed.families.base import ResponseRows
from skmixed.fit.sites import Responses, Sites
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.posteriors import POSTERIORS, EffectsPrior
from skmixed.solvers.direct import DirectSolver

FAMILIES = {
    "bernoulli-logit": make_family("bernoulli", "logit"),
    "bernoulli-probit": make_family("bernoulli", "probit"),
    "ordinal-logit": make_family("ordinal", "logit", 4),
    "ordinal-probit": make_family("ordinal", "probit", 4),
    "poisson": make_family("poisson"),
    "negative_binomial": make_family("negative_binomial"),
    "gamma": make_family("gamma"),
}
WITH_OWN = ["ordinal-logit", "ordinal-probit", "negative_binomial", "gamma"]
WITH_FACTORS = [name for name in DESIGNS if name != "no_factor"]


class Case:
    """Responses of a family on one of the `DESIGNS`, with case weights and an offset."""

    def __init__(self, name, family="poisson", posterior="full", integrate_fixed=True, **options):
        self.model = make_model(name, **{"size": 0.6, **options})
        rows = make_rows(self.model)
        rng = np.random.default_rng(21)
        likelihood = FAMILIES[family]
        own = likelihood.start_parameters(ResponseRows(np.arange(4.0) % 4 + 1.0, np.ones(4)))
        if family.startswith("bernoulli"):
            own = np.empty(0)
        if family.startswith("ordinal"):
            own = np.array([0.1, -0.3])
        self.offset = rng.normal(scale=0.3, size=rows.n_rows)
        predictor = 0.5 + 0.6 * rng.standard_normal(rows.n_rows) + self.offset
        self.y = likelihood.sample(predictor, own, rng)
        self.own = own
        self.weights = rng.uniform(0.5, 2.0, rows.n_rows)
        self.rows = rows
        self.posterior = posterior
        self.integrate_fixed = integrate_fixed
        parameters = EffectsPrior.of(rows.arrangement.factors)
        self.objective = VariationalObjective(
            Responses(rows, self.y, self.weights, self.offset, np.zeros((0, rows.fixed.shape[1]))),
            likelihood,
            parameters,
            POSTERIORS[posterior],
            integrate_fixed,
            DirectSolver(rows.arrangement),
            1,
        )
        self.variances = theta_of(parameters, self.model.scales)
        self.theta = np.concatenate([self.variances, own])

    def converged(self, theta, near=None, within=1e-8):
        """The best posterior at a theta, by plain steps from a near point."""
        point = self.objective.at(theta, near)
        for _ in range(200):
            if point.distance < within:
                return point
            point = self.objective._step(theta, point, False)
        raise AssertionError(f"{point.distance} from the best posterior after 200 steps")

    # The same in dense matrices ---------------------------------------------------------

    @property
    def A(self):
        ranks = self.rows.template.ranks
        moved = self.model.permuted(self.rows.order)
        codes = tuple(rank[code] for rank, code in zip(ranks, moved.codes, strict=True))
        return linear_predictor_design(replace(moved, codes=codes))

    def prior_covariance(self, theta):
        scales = self.objective.prior.scales(self.objective.split(theta)[0])
        levels = [factor.n_levels for factor in self.rows.factors]
        blocks = [np.kron(np.eye(n), scale.omega) for n, scale in zip(levels, scales, strict=True)]
        return block_diag(np.zeros((0, 0)), *blocks)

    def gaussian(self, theta, sites):
        """Mean and covariance of the posterior of a working model; zero for what is a point."""
        A, p = self.A, self.model.fixed.shape[1]
        weights = self.weights * sites.precision
        precision = A.T @ (A * weights[:, None])
        precision[p:, p:] += np.linalg.inv(self.prior_covariance(theta))
        mean = np.linalg.solve(precision, A.T @ (self.weights * sites.linear))
        covariance = np.zeros_like(precision)
        if self.posterior == "full":
            if self.integrate_fixed:
                covariance = np.linalg.inv(precision)
            else:
                covariance[p:, p:] = np.linalg.inv(precision[p:, p:])
            return mean, covariance
        covariance[p:, p:] = np.diag(1.0 / np.diagonal(precision)[p:])
        if self.integrate_fixed:
            covariance[:p, :p] = np.linalg.inv(precision[:p, :p])
        return mean, covariance

    def deviance(self, theta, mean, covariance):
        """-2 (E log p(y | eta) + E log p(u) + entropy), the expectation by quadrature."""
        A, p = self.A, self.model.fixed.shape[1]
        omega = self.prior_covariance(theta)
        nodes, weights = np.polynomial.hermite_e.hermegauss(64)
        deviations = np.sqrt(np.einsum("ij,jk,ik->i", A, covariance, A))
        eta = (A @ mean + self.offset)[:, None] + deviations[:, None] * nodes
        y = np.repeat(self.y, len(nodes))
        own = self.objective.split(theta)[1]
        terms = self.objective.likelihood.row_terms(
            ResponseRows(y), eta.ravel(), np.zeros(eta.size), own
        )
        value = terms.value.reshape(eta.shape) @ weights / weights.sum()
        elbo = self.weights @ value
        if len(omega):
            second = np.outer(mean[p:], mean[p:]) + covariance[p:, p:]
            elbo -= 0.5 * (np.trace(np.linalg.solve(omega, second)) + log_det_2pi(omega))
        random = covariance if self.integrate_fixed else covariance[p:, p:]
        return -2.0 * (elbo + 0.5 * (log_det_2pi(random) + len(random)))


def log_det_2pi(matrix):
    """log |2 pi M|."""
    return np.linalg.slogdet(matrix)[1] + len(matrix) * np.log(2.0 * np.pi)


def random_sites(case, seed=0):
    """Sites that are not those of any posterior."""
    rng = np.random.default_rng(seed)
    precision = rng.gamma(2.0, 0.5, case.rows.n_rows)
    return Sites(precision, precision * rng.normal(scale=0.5, size=case.rows.n_rows))


@pytest.fixture(params=POSTERIORS)
def posterior(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["reml", "ml"])
def integrate_fixed(request):
    return request.param


# The deviance -----------------------------------------------------------------------------


def assert_deviance(case):
    """At sites that are no optimum: what is checked is the bound itself."""
    sites = random_sites(case)
    point = case.objective.at_sites(case.theta, sites)
    mean, covariance = case.gaussian(case.theta, sites)
    np.testing.assert_allclose(point.mean, case.A @ mean, rtol=1e-9, atol=1e-9)
    expected = np.einsum("ij,jk,ik->i", case.A, covariance, case.A)
    np.testing.assert_allclose(point.variance, expected, rtol=1e-9, atol=1e-12)
    dense = case.deviance(case.theta, mean, covariance)
    assert point.deviance == pytest.approx(dense, rel=1e-9)


@covering(family=FAMILIES, posterior=POSTERIORS, integrate_fixed=[True, False])
def test_deviance_of_every_family(family, posterior, integrate_fixed):
    for name in ("crossed", "slopes_in_tail"):
        assert_deviance(Case(name, family, posterior, integrate_fixed))


@covering(name=DESIGNS, p=[0, 2], posterior=POSTERIORS, integrate_fixed=[True, False])
def test_deviance_of_every_design(name, p, posterior, integrate_fixed):
    assert_deviance(Case(name, "gamma", posterior, integrate_fixed, p=p))


@pytest.mark.parametrize("options", [{"size": 0.0}, {"rank": 1}], ids=["zero", "singular"])
def test_deviance_at_the_boundary(options, integrate_fixed):
    """Zero and singular covariances are limits of small ones."""
    case = Case("slopes_in_tail", "poisson", "full", integrate_fixed, **options)
    sites = random_sites(case)
    limit = case.objective.at_sites(case.theta, sites)
    near = case.objective.at_sites(case.theta + 1e-7, sites)
    assert limit.deviance == pytest.approx(near.deviance, rel=1e-5)


def test_deviance_without_variance(integrate_fixed):
    """Of independent normals, whose bound depends on correlations however small they are."""
    case = Case("slopes_in_tail", "poisson", "mean_field", integrate_fixed, size=0.0)
    sites = random_sites(case)
    limit = case.objective.at_sites(case.theta, sites)
    diagonal = case.objective.prior.nearest([np.eye(len(scale)) for scale in case.model.scales])
    near = case.objective.at_sites(case.theta + 1e-7 * diagonal, sites)
    assert limit.deviance == pytest.approx(near.deviance, rel=1e-5)


def test_sites_of_no_weight():
    """Precisions of zero leave the prior, and nothing is divided by them."""
    case = Case("crossed", p=0)
    nothing = np.zeros(case.rows.n_rows)
    point = case.objective.at_sites(case.theta, Sites(nothing, nothing))
    A = case.A
    prior = np.einsum("ij,jk,ik->i", A, case.prior_covariance(case.theta), A)
    np.testing.assert_allclose(point.mean, 0.0, atol=1e-12)
    np.testing.assert_allclose(point.variance, prior, rtol=1e-6)
    dense = case.deviance(case.theta, np.zeros(A.shape[1]), case.prior_covariance(case.theta))
    assert point.deviance == pytest.approx(dense, rel=1e-6)


# The best posterior -----------------------------------------------------------------------


@covering(
    family=FAMILIES,
    name=["one_factor", "crossed"],
    posterior=POSTERIORS,
    integrate_fixed=[True, False],
)
def test_fixed_point(family, name, posterior, integrate_fixed):
    """Sites repeat themselves, and the dense bound has no slope by the means."""
    case = Case(name, family, posterior, integrate_fixed)
    point = case.converged(case.theta)
    scale = np.abs(point.following.linear).max()
    np.testing.assert_allclose(point.following.precision, point.sites.precision, rtol=1e-6)
    np.testing.assert_allclose(
        point.following.linear, point.sites.linear, rtol=1e-6, atol=1e-7 * scale
    )
    mean, covariance = case.gaussian(case.theta, point.sites)
    value = case.deviance(case.theta, mean, covariance)
    assert point.deviance == pytest.approx(value, rel=1e-9)
    rng = np.random.default_rng(3)
    p = case.model.fixed.shape[1]
    for _ in range(3):
        step = 1e-4 * rng.standard_normal(len(mean))
        up, down = (case.deviance(case.theta, mean + s * step, covariance) for s in (1, -1))
        assert min(up, down) > value - 1e-9 * abs(value)
        assert abs(up - down) < 1e-2 * (up + down - 2.0 * value) + 1e-9 * abs(value)
        # nor by the covariance of the random effects, within the family
        factor = np.exp(1e-4 * rng.standard_normal(len(mean)))
        factor[:p] = 1.0
        wider = covariance * np.outer(factor, factor)
        assert case.deviance(case.theta, mean, wider) > value - 1e-9 * abs(value)


def test_distance_is_zero_at_the_fixed_point_only():
    case = Case("crossed")
    assert case.converged(case.theta).distance < 1e-8
    assert case.objective.at_sites(case.theta, random_sites(case)).distance > 1e-2


def steps(case, theta, point, most=100):
    """Deviances of repeated steps at a fixed theta, until they have arrived and three more."""
    found = [point.deviance]
    left = 3
    while left and len(found) < most:
        point = case.objective._step(theta, point, False)
        found.append(point.deviance)
        left -= point.distance < 1e-3
    assert left == 0
    return np.array(found)


def assert_falls(deviances):
    size = np.maximum(np.abs(deviances[:-1]), 1.0)
    np.testing.assert_array_less(np.diff(deviances), 1e-9 * size)


@pytest.mark.compiled
@covering(
    family=FAMILIES,
    factor=[1e-3, 1.0, 10.0],
    precision_and_size=[(1e-2, 1.0), (1.0, 3.0), (1e3, 2.0)],
)
def test_steps_never_raise_the_deviance(family, factor, precision, size):
    """From bad sites, at variances that are tiny, right and huge."""
    case = Case("slopes_in_tail", family, "full", precision < 10.0)
    theta = np.concatenate([factor * case.variances, case.own])
    rng = np.random.default_rng(5)
    n = case.rows.n_rows
    sites = Sites(np.full(n, precision), precision * size * rng.standard_normal(n))
    with np.errstate(over="ignore"):
        start = case.objective.at_sites(theta, sites)
        assert_falls(steps(case, theta, start))


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_of_independent_normals(family, integrate_fixed):
    case = Case("crossed", family, "mean_field", integrate_fixed)
    start = case.objective.at_sites(case.theta, random_sites(case))
    assert_falls(steps(case, case.theta, start))


@pytest.mark.compiled
@pytest.mark.parametrize("factor", [1e-2, 1.0, 30.0])
def test_steps_with_huge_counts(factor, posterior, integrate_fixed):
    """A full step from a log rate that is too low by one overshoots by orders of magnitude."""
    case = Case("crossed", "poisson", posterior, integrate_fixed)
    rng = np.random.default_rng(6)
    y = rng.poisson(10.0 ** rng.uniform(0.0, 7.0, case.rows.n_rows)).astype(float)
    objective = replace(case.objective, responses=replace(case.objective.responses, y=y))
    case.objective = objective
    theta = factor * case.theta
    n = case.rows.n_rows
    for sites in (objective.start_sites(case.own), Sites(np.ones(n), np.log(y + 0.5))):
        with np.errstate(over="ignore", invalid="ignore"):
            start = objective.at_sites(theta, sites)
            assert_falls(steps(case, theta, start))


@pytest.mark.compiled
@pytest.mark.parametrize("family", FAMILIES)
def test_at_improves_on_a_near_point(family):
    """At the same theta, and from a point of another one."""
    case = Case("crossed", family)
    near = case.objective.at(case.theta)
    there = case.objective.at(case.theta, near)
    assert there.deviance <= near.deviance + 1e-9 * abs(near.deviance)
    far = np.concatenate([3.0 * case.variances, case.own])
    best = case.converged(far)
    for start in (near, case.converged(case.theta)):
        found = case.objective.at(far, start)
        assert found.deviance >= best.deviance - 1e-9 * abs(best.deviance)
        np.testing.assert_array_equal(found.theta, far)
        assert case.converged(far, found).deviance == pytest.approx(best.deviance, rel=1e-10)


# Derivatives ------------------------------------------------------------------------------


def assert_gradient(case):
    """Of converged posteriors; central differences, extrapolated once.

    The deviance is stationary: at a distance of 1e-6 it is right to twice as many digits.
    """
    point = case.converged(case.theta)
    found = case.objective.derivatives(point)
    for j in range(len(case.theta)):
        slopes = []
        for step in (2e-3, 1e-3):
            unit = step * np.eye(len(case.theta))[j]
            up, down = (
                case.converged(theta, point, 1e-6).deviance
                for theta in (case.theta + unit, case.theta - unit)
            )
            slopes.append((up - down) / (2.0 * step))
        expected = (4.0 * slopes[1] - slopes[0]) / 3.0
        size = np.abs(found.gradient).max()
        assert found.gradient[j] == pytest.approx(expected, rel=1e-5, abs=1e-6 * size)


@pytest.mark.compiled
@covering(family=FAMILIES, posterior=POSTERIORS, integrate_fixed=[True, False])
def test_gradient_of_every_family(family, posterior, integrate_fixed):
    assert_gradient(Case("crossed", family, posterior, integrate_fixed))


@pytest.mark.compiled
@pytest.mark.parametrize("name", [name for name in WITH_FACTORS if name != "crossed"])
def test_gradient_of_every_design(name, posterior):
    assert_gradient(Case(name, "negative_binomial", posterior, True))


@pytest.mark.parametrize("family", WITH_OWN)
def test_hessian_by_the_own_parameters(family):
    """With the posterior held: differences of the sums over rows."""
    case = Case("crossed", family)
    point = case.converged(case.theta)
    n = len(case.variances)
    found = case.objective.derivatives(point).hessian
    np.testing.assert_array_equal(found[:n, n:], 0.0)
    np.testing.assert_array_equal(found[n:, :n], 0.0)
    responses, likelihood = case.objective.responses, case.objective.likelihood

    def slope(own):
        return likelihood.parameter_derivatives(
            case.objective.family_rows, responses.shifted(point.mean), point.variance, own
        ).gradient

    for j, unit in enumerate(np.eye(len(case.own))):
        expected = -2.0 * (slope(case.own + 1e-5 * unit) - slope(case.own - 1e-5 * unit)) / 2e-5
        np.testing.assert_allclose(found[n:, n + j], expected, rtol=1e-6, atol=1e-6)
