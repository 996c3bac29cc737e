"""Variances of the linear predictor of every row against dense posterior covariances."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from covering import covering
from dense import DESIGNS, make_model, scales_of, theta_of
from probed import CASES, STRATEGIES, exact_solver, exactly
from scipy.linalg import block_diag, solve_triangular
from test_direct import SCALES, close
from test_working import in_working_order, linear_predictor_design, make_rows, working_model

from skmixed.posteriors import POSTERIORS, EffectsPrior, Solved
from skmixed.solvers import direct
from skmixed.solvers.direct import DirectSolver
from skmixed.solvers.iterative import IterativeSolver


class Case:
    """A working model whose weights are not those that ranked the levels."""

    def __init__(self, model, n_threads=1):
        self.rows = make_rows(model, n_threads)
        weights, linear = working_model(np.random.default_rng(11), model.n)
        self.cross = self.rows.cross_products(weights, linear)
        self.dense = in_working_order(model, self.rows, weights, linear)
        self.scales = scales_of(model.scales)

    def expected(self, integrate_fixed):
        """diag(A C A'), in coordinates in which C^-1 is A'WA + I.

        `DenseModel.posterior_covariance` loses half of the digits where variances are
        large and only sums of effects are known.
        """
        model = self.dense
        p = model.fixed.shape[1]
        A = linear_predictor_design(model)
        roots = [np.kron(np.eye(m), T) for m, T in zip(model.n_levels, model.scales, strict=True)]
        A = A @ block_diag(np.eye(p), *roots)
        prior = np.repeat([0.0, 1.0], [p, A.shape[1] - p])
        if not integrate_fixed:
            A, prior = A[:, p:], prior[p:]
        lower = np.linalg.cholesky(A.T @ (A * model.weights[:, None]) + np.diag(prior))
        return (solve_triangular(lower, A.T, lower=True) ** 2).sum(axis=0)

    def direct(self, integrate_fixed, coarse=False):
        system = DirectSolver(self.cross).system(self.scales)
        return system.covariance(integrate_fixed, coarse).row_variances(self.rows)

    def iterative(self, integrate_fixed, n_probes, seed=0):
        solver = IterativeSolver(self.cross, integrate_fixed, n_probes, seed)
        return self.of_solver(solver, integrate_fixed)

    def of_solver(self, solver, integrate_fixed):
        # a covariance does not keep its system alive
        system = solver.system(self.scales)
        return system.covariance(integrate_fixed).row_variances(self.rows)

    def with_errors(self, solver, integrate_fixed):
        system = solver.system(self.scales)
        covariance = system.covariance(integrate_fixed)
        return covariance.row_variances(self.rows), covariance.row_variance_errors(self.rows)

    def of_posterior(self, name, integrate_fixed):
        parameters = EffectsPrior.of(self.cross.factors)
        system = DirectSolver(self.cross).system(self.scales)
        theta = theta_of(parameters, [scale.matrix for scale in self.scales])
        place = Solved(system, parameters, theta, integrate_fixed)
        return POSTERIORS[name].row_variances(place, self.rows, False)


@pytest.fixture(params=[True, False], ids=["integrated", "point"])
def integrate_fixed(request):
    return request.param


# Factorised -----------------------------------------------------------------------------


@covering(name=DESIGNS, p=[0, 1, 3], integrate_fixed=[True, False], kind=SCALES)
def test_direct(name, p, integrate_fixed, kind):
    case = Case(make_model(name, p=p, **SCALES[kind]))
    close(case.direct(integrate_fixed), case.expected(integrate_fixed))


def test_direct_without_fixed_or_random_effects():
    """Nothing is uncertain."""
    for name, options in (("no_factor", {"p": 0}), ("crossed", {"p": 0, "size": 0.0})):
        case = Case(make_model(name, **options))
        np.testing.assert_array_equal(case.direct(True), np.zeros(case.rows.n_rows))


def test_direct_with_four_factors(monkeypatch, integrate_fixed):
    """Rows that share a level of every factor, slopes on both sides."""
    wide = [
        (5, None, ((0, 1),)), (9, 3, ((0, 2), (2, 3))), (4, 2, ((0, 2),)), (3, 2, ((0, 1), (1, 2))),
    ]  # fmt: skip
    monkeypatch.setitem(DESIGNS, "wide", wide)
    case = Case(make_model("wide", n=150))
    close(case.direct(integrate_fixed), case.expected(integrate_fixed))


@pytest.mark.parametrize("name", ["no_factor", "one_factor", "slopes_eliminated", "slopes_in_tail"])
def test_direct_threads_change_no_bit(name, integrate_fixed):
    one, several = Case(make_model(name)), Case(make_model(name), n_threads=3)
    expected = one.direct(integrate_fixed)
    system = DirectSolver(several.cross).system(several.scales)
    # a system this small would use one
    system.n_parts = 3
    found = system.covariance(integrate_fixed).row_variances(several.rows)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["crossed", "slopes_in_tail"])
def test_direct_coarse_has_six_digits(monkeypatch, name, integrate_fixed):
    monkeypatch.setattr(direct, "_LARGE_TAIL", 0)
    case = Case(make_model(name))
    found, expected = case.direct(integrate_fixed, coarse=True), case.expected(integrate_fixed)
    close(found, expected, rtol=1e-4)
    # it was rounded, which is what the case is about
    assert np.abs(found / expected - 1.0).max() > 1e-10


@pytest.mark.parametrize("name", ["one_factor", "crossed", "slopes_in_tail"])
def test_levels_without_rows(name, integrate_fixed):
    """A level of every factor that no row is of changes nothing."""
    model = make_model(name)
    more = Case(replace(model, n_levels=tuple(m + 1 for m in model.n_levels)))
    expected = Case(make_model(name)).direct(integrate_fixed)
    close(more.direct(integrate_fixed), expected, rtol=1e-12)
    with exactly(0):
        solver = exact_solver(more.cross, integrate_fixed)
        close(more.of_solver(solver, integrate_fixed), expected)


@pytest.mark.parametrize("name", DESIGNS)
def test_full_posterior_asks_the_system(name, integrate_fixed):
    case = Case(make_model(name))
    np.testing.assert_array_equal(
        case.of_posterior("full", integrate_fixed), case.direct(integrate_fixed)
    )


# Factorised normals ---------------------------------------------------------------------


@covering(
    name=DESIGNS, kind=["moderate", "small", "large"], p=[0, 2], integrate_fixed=[True, False]
)
def test_mean_field(name, kind, p, integrate_fixed):
    """Sums over a row's effects of squared bases over (Z'WZ + Omega^-1)_jj."""
    case = Case(make_model(name, p=p, **SCALES[kind]))
    dense = case.dense
    expected = np.zeros(dense.n)
    if integrate_fixed:
        C = np.linalg.inv(dense.X.T @ dense.X)
        expected += np.einsum("ij,jk,ik->i", dense.fixed, C, dense.fixed)
    for Z, omega in zip(dense.Z, dense.Omega, strict=True):
        precision = (Z**2).sum(axis=0) + np.diagonal(np.linalg.inv(omega))
        expected += (Z / dense.root) ** 2 @ (1.0 / precision)
    close(case.of_posterior("mean_field", integrate_fixed), expected)


def test_mean_field_without_variance():
    """What is left are the fixed effects."""
    for name in DESIGNS:
        case = Case(make_model(name, size=0.0))
        close(case.of_posterior("mean_field", False), np.zeros(case.dense.n), rtol=1e-12)
        close(case.of_posterior("mean_field", True), case.expected(True))


def test_mean_field_of_a_singular_covariance(integrate_fixed):
    """Effects of a level that determine each other cannot be independent and uncertain."""
    singular = Case(make_model("correlated_slopes", rank=1)).of_posterior(
        "mean_field", integrate_fixed
    )
    certain = Case(make_model("correlated_slopes", size=0.0)).of_posterior(
        "mean_field", integrate_fixed
    )
    np.testing.assert_allclose(singular, certain, rtol=0, atol=1e-9)


# Iterated -------------------------------------------------------------------------------


@covering(
    name_and_small=CASES,
    p=[0, 2],
    integrate_fixed=[True, False],
    kind=SCALES,
    strategy=[name for name in STRATEGIES if name != "polynomials"],
)
def test_iterative_with_exact_probes(name, small, p, integrate_fixed, kind, strategy):
    case = Case(make_model(name, p=p, **SCALES[kind]))
    with exactly(small, strategy):
        found = case.of_solver(exact_solver(case.cross, integrate_fixed), integrate_fixed)
    close(found, case.expected(integrate_fixed))


@covering(
    name_and_small=[("crossed", 0), ("crossed", 4), ("equal_sizes", 0), ("nested", 0)],
    p=[0, 2],
    integrate_fixed=[True, False],
    kind=["moderate", "small", "large"],
)
def test_polynomials_know_their_error(name, small, p, integrate_fixed, kind):
    """Rows have a polynomial for the inverse. Its error is at most three times what it claims."""
    case = Case(make_model(name, p=p, **SCALES[kind]))
    with exactly(small, "polynomials"):
        found, squared_errors = case.with_errors(
            exact_solver(case.cross, integrate_fixed), integrate_fixed
        )
    expected = case.expected(integrate_fixed)
    claimed = np.sqrt(squared_errors)
    np.testing.assert_array_less(np.abs(found - expected), 3.0 * claimed + 1e-11 * expected.max())
    assert claimed.max() < 0.01 * expected.max()


@pytest.mark.parametrize("name", DESIGNS)
def test_iterative_is_exact_without_large_tail_factors(name, integrate_fixed):
    """Two probes, or none, where there is nothing to estimate."""
    case = Case(make_model(name))
    expected = case.expected(integrate_fixed)
    with exactly(200):
        for n_probes in (0, 2):
            close(case.iterative(integrate_fixed, n_probes), expected)


ESTIMATED = [("crossed", 0), ("crossed", 4), ("slopes_in_tail", 0), ("slopes_in_tail", 8)]
"""Designs and sizes up to which factors are dense, a large factor of the tail in each."""


@pytest.mark.compiled
@pytest.mark.parametrize(("name", "small"), ESTIMATED)
def test_iterative_is_right_on_average(name, small, integrate_fixed):
    """Over seeds no row's estimate is off, and all together are right to few per cent."""
    case = Case(make_model(name))
    expected = case.expected(integrate_fixed)
    n_seeds, n_probes = 60, 8
    with exactly(small):
        found = np.array(
            [case.iterative(integrate_fixed, n_probes, seed) for seed in range(n_seeds)]
        )
    error = found.std(axis=0, ddof=1) / np.sqrt(n_seeds)
    # 48 rows: a standard normal exceeds 4.5 in one of 3,000 such tests
    np.testing.assert_array_less(np.abs(found.mean(axis=0) - expected), 4.5 * error + 1e-9)
    assert error.max() > 0.0
    assert found.mean() == pytest.approx(expected.mean(), rel=0.02)


@pytest.mark.compiled
@pytest.mark.parametrize(("name", "small"), ESTIMATED)
def test_iterative_error_falls_with_the_number_of_probes(name, small, integrate_fixed):
    """Sixteen times the probes leave about a quarter of the error."""
    case = Case(make_model(name))
    expected = case.expected(integrate_fixed)
    with exactly(small):
        few, many = (
            np.mean(
                [
                    (case.iterative(integrate_fixed, n_probes, seed) - expected) ** 2
                    for seed in range(12)
                ]
            )
            for n_probes in (8, 128)
        )
    assert 0.0 < many < few / 6.0


@pytest.mark.compiled
@pytest.mark.parametrize(("name", "small"), ESTIMATED)
def test_iterative_bound_of_a_single_row(name, small, integrate_fixed):
    """A mean of m squares of which each has at most twice the squared variance as its own."""
    case = Case(make_model(name))
    expected = case.expected(integrate_fixed)
    n_probes = 400
    with exactly(small):
        found = case.iterative(integrate_fixed, n_probes, seed=3)
    # the exact part only helps: relative error below sqrt(2 / m) of the whole variance
    np.testing.assert_array_less(np.abs(found / expected - 1.0), 4.5 * np.sqrt(2.0 / n_probes))
    assert found.mean() == pytest.approx(expected.mean(), rel=np.sqrt(2.0 / n_probes))


@pytest.mark.compiled
@pytest.mark.parametrize(("name", "small"), ESTIMATED)
def test_iterative_knows_its_error(name, small, integrate_fixed):
    """Squared standard errors from the draws of one fit, against fits with other seeds."""
    case = Case(make_model(name))
    with exactly(small):
        solvers = [IterativeSolver(case.cross, integrate_fixed, 16, seed) for seed in range(60)]
        found = np.array([case.with_errors(solver, integrate_fixed) for solver in solvers])
    spread, claimed = found[:, 0].var(axis=0, ddof=1), found[:, 1].mean(axis=0)
    assert spread.sum() == pytest.approx(claimed.sum(), rel=0.2)
    assert np.corrcoef(spread, claimed)[0, 1] > 0.8


def test_exact_variances_have_no_error(integrate_fixed):
    case = Case(make_model("crossed"))
    direct = DirectSolver(case.cross)
    np.testing.assert_array_equal(case.with_errors(direct, integrate_fixed)[1], 0.0)
    with exactly(200):
        everything_dense = IterativeSolver(case.cross, integrate_fixed, 4, 0)
        np.testing.assert_array_equal(case.with_errors(everything_dense, integrate_fixed)[1], 0.0)
