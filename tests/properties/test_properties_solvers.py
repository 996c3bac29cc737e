"""Both solvers find the same, and what has a seed is found again to the last bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from property_data import (
    Problem,
    assert_same,
    close,
    estimates,
    examples,
    problems,
)

from skmixed.design import DesignEncoder, Table
from skmixed.fit.gaussian_fit import gaussian_objective
from skmixed.fit.gaussian_objective import GaussianObjective
from skmixed.fit.outer import FitOptions
from skmixed.posteriors import POSTERIORS
from skmixed.solvers import sparse_tail
from skmixed.sums.row_sums import sum_rows

SEEDS = st.integers(0, 2**31 - 2)


@given(problems())
@examples(5)
def test_iterative_is_direct_for_small_factors(problem: Problem):
    """Factors of few effects are eliminated too: nothing is left to iterate or estimate."""
    direct, iterative = problem.fit(solver="direct"), problem.refit(solver="iterative")
    assert (direct.solver_, iterative.solver_) == ("direct", "iterative")
    assert iterative.elbo_std_ == 0.0
    assert_same(estimates(iterative), estimates(direct))


@pytest.fixture
def all_sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    """No factor but the eliminated one is small enough to be eliminated."""
    monkeypatch.setattr(sparse_tail, "_SMALL_EFFECTS", 0)


def objective(
    problem: Problem, solver: str, n_probes: int = 16, seed: int = 0
) -> GaussianObjective:
    """-2 ELBO of a problem by one of the solvers."""
    estimator = problem.estimator()
    table = Table.from_input(problem.frame)
    _, design = DesignEncoder.learn(
        estimator._spec(table), table,
        offset=estimator.offset, precision_weights=estimator.precision_weights,
    )  # fmt: skip
    options = FitOptions(
        posterior=POSTERIORS[estimator.posterior],
        integrate_fixed=estimator._chosen_method() == "reml",
        noise_variance=None if estimator.noise_scale is None else estimator.noise_scale**2,
        max_iter=100, tol=1e-6, solver=solver, n_probes=n_probes, seed=seed,
    )  # fmt: skip
    rows = sum_rows(
        design, problem.y, np.ones(problem.n),
        integrate_fixed=options.integrate_fixed, basis_may=options.basis_may(design.factors),
        noise_variance=options.noise_variance, n_threads=1,
    )  # fmt: skip
    return gaussian_objective(rows, options)[0]


def random_theta(objective: GaussianObjective, rng: np.random.Generator) -> np.ndarray:
    """Variances between none and many times the noise."""
    covariances = []
    for factor in objective.prior.factors:
        root = rng.standard_normal((factor.n_effects, factor.n_effects))
        covariances.append(np.exp(rng.uniform(-3.0, 3.0)) * root @ root.T)
    return objective.prior.nearest(covariances)


@pytest.mark.usefixtures("all_sparse")
def test_means_at_equal_variances():
    @given(problems(("gaussian",)), SEEDS)
    @examples(15)
    def equal_means(problem: Problem, seed: int):
        direct, iterative = objective(problem, "direct"), objective(problem, "iterative")
        theta = random_theta(direct, np.random.default_rng(seed))
        one, other = direct.at(theta), iterative.at(theta)
        assert one is not None
        assert other is not None
        errors = np.sqrt(np.diagonal(one.system.fixed_covariance()))
        close(other.system.fixed_effects, one.system.fixed_effects, 1e-6 * errors)
        assert other.noise_variance == pytest.approx(one.noise_variance, rel=1e-9)
        for found, expected in zip(
            other.system.random_effects, one.system.random_effects, strict=True
        ):
            close(found, expected, 1e-6 * max(1e-9, np.abs(expected).max()))
        covariance = one.system.fixed_covariance()
        close(other.system.fixed_covariance(), covariance, 1e-5 * np.outer(errors, errors))

    equal_means()


@pytest.mark.usefixtures("all_sparse")
def test_estimated_determinants_are_right_on_average():
    """Within five standard errors, of which the probes themselves tell."""

    @given(problems(("gaussian",), ("full",)), SEEDS)
    @examples(13)
    def near(problem: Problem, seed: int):
        direct = objective(problem, "direct")
        iterative = objective(problem, "iterative", n_probes=64, seed=seed)
        theta = random_theta(direct, np.random.default_rng(seed))
        one, other = direct.at(theta), iterative.at(theta)
        assert one is not None
        assert other is not None
        samples = other.system.log_det_samples
        spread = samples.std(ddof=1) / np.sqrt(len(samples)) if len(samples) else 0.0
        assert abs(other.deviance - one.deviance) <= 5.0 * spread + 1e-6 * abs(one.deviance)

    near()


@pytest.mark.usefixtures("all_sparse")
def test_estimated_variances_are_right_on_average():
    """Over 12 seeds; eight standard errors of Student's t with 11 degrees are 1 in 100 000."""

    @given(problems(("gaussian",), ("full",)), st.integers(0, 1000))
    @examples(3)
    def near(problem: Problem, seed: int):
        exact = variances(problem.fit(solver="direct"))
        options = {"solver": "iterative", "n_probes": 64, "tol": 1e-6}
        models = [problem.attempt(random_state=seed + k, **options)[0] for k in range(12)]
        # the probes of so few effects can err too much for the iterations to settle
        assume(all(model.converged_ for model in models))
        found = np.array([variances(model) for model in models])
        spread = found.std(axis=0, ddof=1) / np.sqrt(12)
        close(found.mean(axis=0), exact, 8.0 * spread + 1e-5 * np.abs(exact).max())

    near()


def variances(model: Any) -> np.ndarray:
    """All covariances of a fit, and the noise variance."""
    covariances = [table.to_numpy().ravel() for table in model.random_effects_cov_.values()]
    return np.concatenate([*covariances, [model.noise_variance_]])


# Equal fits ----------------------------------------------------------------------------------


def assert_equal(one: Any, other: Any) -> None:
    """To the last bit."""
    a, b = one.fit_result_, other.fit_result_
    assert a.elbo == b.elbo
    assert a.noise_variance == b.noise_variance
    assert a.n_iter == b.n_iter
    for name in ("coefficients", "coefficient_covariance", "elbo_path", "coupling", "parameters"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    for first, second in zip(a.factors, b.factors, strict=True):
        for name in ("covariance", "means", "covariances"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@given(problems(), SEEDS)
@examples(5)
def test_equal_data_equal_fits(problem: Problem, seed: int):
    one, other = (problem.fit(random_state=seed, n_jobs=1) for _ in range(2))
    assert_equal(one, other)
    draws = [model.sample_y(problem.frame, 3, random_state=seed) for model in (one, other)]
    np.testing.assert_array_equal(*draws)


@pytest.mark.usefixtures("all_sparse")
def test_equal_seeds_equal_fits():
    @given(problems(("gaussian", "poisson", "bernoulli-logit"), max_groups=3), SEEDS)
    @examples(5)
    def equal(problem: Problem, seed: int):
        options = {"solver": "iterative", "random_state": seed, "n_probes": 8, "tol": 1e-4}
        # few probes of few effects: fits that do not converge are to be equal too
        assert_equal(*(problem.attempt(**options)[0] for _ in range(2)))

    equal()
