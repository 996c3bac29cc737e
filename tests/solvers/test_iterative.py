"""The iterated equations against dense inverses, with probes that make them exact."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from dense import DESIGNS, INTERCEPT, level_blocks, make_model, scales_of
from probed import CASES, CASES_WITH_FACTORS, STRATEGIES, exact_solver, exactly
from test_direct import SCALES, close

from skmixed.solvers import iterative
from skmixed.solvers.base import SingularSystemError
from skmixed.solvers.conjugate_gradients import NotConvergedError
from skmixed.solvers.iterative import IterativeSolver

UNCORRELATED = ((0, 1), (1, 2))


@pytest.fixture(params=[True, False], ids=["integrated", "point"])
def integrate_fixed(request):
    return request.param


def make_system(model, integrate_fixed):
    return exact_solver(model.cross(), integrate_fixed).system(scales_of(model.scales))


@covering(
    name_and_small=CASES,
    p=[0, 2],
    integrate_fixed=[True, False],
    kind=SCALES,
    strategy=STRATEGIES,
)
def test_scalars_and_means(name, small, p, integrate_fixed, kind, strategy):
    model = make_model(name, p=p, **SCALES[kind])
    assert_scalars_and_means(model, small, integrate_fixed, strategy)


def assert_scalars_and_means(model, small, integrate_fixed, strategy):
    with exactly(small, strategy):
        system = make_system(model, integrate_fixed)
        expected = model.log_det + (model.log_det_fixed if integrate_fixed else 0.0)
        assert system.log_det(integrate_fixed) == pytest.approx(expected, rel=1e-8, abs=1e-8)
        assert system.penalised_rss == pytest.approx(model.rss, rel=1e-8)
        close(system.fixed_effects, model.beta)
        close(system.fixed_covariance(), model.fixed_covariance)
        for found, expected in zip(system.random_effects, model.random_effects, strict=True):
            close(found, expected)
        for found, Z in zip(system.residual_products, model.Z, strict=True):
            close(found.ravel(), Z.T @ model.P @ model.y, rtol=1e-6)


@covering(
    name_and_small=CASES_WITH_FACTORS,
    integrate_fixed=[True, False],
    kind=SCALES,
    strategy=STRATEGIES,
)
def test_second_order(name, small, integrate_fixed, kind, strategy):
    assert_second_order(make_model(name, **SCALES[kind]), small, integrate_fixed, strategy)


def assert_second_order(model, small, integrate_fixed, strategy):
    rng = np.random.default_rng(3)
    with exactly(small, strategy):
        system = make_system(model, integrate_fixed)
        directions, vectors = [], []
        for factor, Z in zip(system.cross.factors, model.Z, strict=True):
            for _ in range(2):
                effects = rng.standard_normal((factor.n_levels, factor.n_effects))
                directions.append((factor, effects))
                vectors.append(Z @ effects.ravel())
        F = np.column_stack(vectors)
        close(system.projected_gram(directions), F.T @ model.P @ F, rtol=1e-7)

        projector = model.projector(integrate_fixed)
        covariance = system.covariance(integrate_fixed)
        posterior = model.posterior_covariance(integrate_fixed)
        for factor, Z in zip(system.cross.factors, model.Z, strict=True):
            expected = level_blocks(Z.T @ projector @ Z, factor.n_effects).sum(axis=0)
            close(covariance.information(factor), expected, rtol=1e-6)
            here = model.effects_slice(factor.position)
            expected = level_blocks(posterior[here, here], factor.n_effects)
            close(covariance.level_covariances(factor), expected)
            if factor in system.cross.tail_factors:
                signs = rng.choice([-1.0, 1.0], size=(factor.size, 2))
                close(system.projected(factor, signs), Z.T @ projector @ (Z @ signs), rtol=1e-7)
        kept = tuple(f.position for f in system.cross.factors if covariance.can_join(f))
        assert set(kept) == {f.position for f in system.tail.small}
        for joined in (), kept:
            parts = [slice(0, model.X.shape[1]), *(model.effects_slice(k) for k in joined)]
            rows = np.concatenate([np.r_[part] for part in parts]).astype(int)
            close(covariance.joint(joined), posterior[rows])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("small", [0, 4, 12])
def test_four_factors_with_slopes(monkeypatch, small, integrate_fixed, strategy):
    """Several factors on both sides, correlated slopes among them."""
    wide = [(16, None, INTERCEPT), (5, 2, ((0, 2),)), (4, 2, UNCORRELATED), (3, None, INTERCEPT)]
    monkeypatch.setitem(DESIGNS, "wide", wide)
    model = make_model("wide", n=60)
    assert_scalars_and_means(model, small, integrate_fixed, strategy)
    assert_second_order(model, small, integrate_fixed, strategy)


@pytest.mark.parametrize(("name", "small"), [("crossed", 4), ("slopes_in_tail", 8)])
def test_estimated_dense_part(monkeypatch, name, small, integrate_fixed):
    """Where it is too large for solves the covariance of the dense part comes from probes."""
    monkeypatch.setattr(iterative, "_EXACT_COLUMNS", 0)
    model = make_model(name)
    posterior = model.posterior_covariance(integrate_fixed)
    with exactly(small):
        system = make_system(model, integrate_fixed)
        covariance = system.covariance(integrate_fixed)
        for factor in system.tail.small:
            assert not covariance.can_join(factor)
            here = model.effects_slice(factor.position)
            blocks = level_blocks(posterior[here, here], factor.n_effects)
            close(covariance.level_covariances(factor), blocks)
            Z = model.Z[factor.position]
            products = Z.T @ model.projector(integrate_fixed) @ Z
            expected = level_blocks(products, factor.n_effects).sum(axis=0)
            close(covariance.information(factor), expected, rtol=1e-7)


@pytest.mark.parametrize("name", ["crossed", "slopes_in_tail"])
def test_tolerances(name):
    """The tolerances of real fits leave so many digits."""
    model = make_model(name)
    with exactly(0):
        fine = make_system(model, True)
    solver = fine.solver
    system = solver.system(scales_of(model.scales))
    assert system.n_products <= fine.n_products
    close(system.random_effects[1], fine.random_effects[1], rtol=1e-7)
    assert system.penalised_rss == pytest.approx(fine.penalised_rss, rel=1e-13)
    assert system.log_det(True) == pytest.approx(fine.log_det(True), abs=1e-8)
    close(system.fixed_covariance(), fine.fixed_covariance(), rtol=1e-8)
    directions = [(factor, system.random_effects[factor.position]) for factor in fine.cross.factors]
    close(system.projected_gram(directions), fine.projected_gram(directions), rtol=1e-5)
    for factor in fine.cross.factors:
        one, other = system.covariance(True), fine.covariance(True)
        close(one.information(factor), other.information(factor), rtol=1e-4)
        close(one.level_covariances(factor), other.level_covariances(factor), rtol=1e-4)


@pytest.mark.parametrize("name", ["crossed", "slopes_in_tail"])
def test_coarse_system(name):
    """The first system of a fit is good for a step, and only that."""
    model = make_model(name)
    with exactly(0):
        fine = make_system(model, True)
    system = fine.solver.system(scales_of(model.scales), coarse=True)
    assert system.is_coarse
    assert not fine.is_coarse
    assert not fine.solver.system(scales_of(model.scales)).is_coarse
    assert system.n_products <= fine.n_products
    close(system.random_effects[1], fine.random_effects[1], rtol=1e-3)
    assert system.log_det(True) == pytest.approx(fine.log_det(True), abs=1e-3)
    for factor in fine.cross.factors:
        one, other = system.covariance(True), fine.covariance(True)
        close(one.information(factor), other.information(factor), rtol=1e-3)


@pytest.mark.compiled
@pytest.mark.parametrize("kind", ["moderate", "small", "singular"])
@pytest.mark.parametrize("name", ["crossed", "slopes_in_tail"])
def test_random_probes(name, kind, integrate_fixed):
    """Estimates are right on average, and as uncertain as they say."""
    model = make_model(name, **SCALES[kind])
    scales = list(model.scales)
    with exactly(0):
        exact = make_system(model, integrate_fixed)
        solver = IterativeSolver(exact.cross, integrate_fixed, 225, 1)
        system = solver.system(scales_of(scales))
        samples = system.log_det_samples
        assert samples.shape == (225,)
        error = samples.std(ddof=1) / 15.0
        found, expected = system.log_det(integrate_fixed), exact.log_det(integrate_fixed)
        assert abs(found - expected) < 4.0 * error + 1e-9
        assert error < 0.15
        for factor in exact.cross.factors:
            one, other = system.covariance(integrate_fixed), exact.covariance(integrate_fixed)
            close(one.information(factor), other.information(factor), rtol=0.1)
            levels = one.level_covariances(factor)
            close(levels, other.level_covariances(factor), rtol=0.1)
            # whatever the probes, a covariance is one
            assert np.linalg.eigvalsh(levels).min() > -1e-12


def test_probes_are_signs_of_the_seed():
    cross = make_model("crossed").cross()
    with exactly(0):
        one, same, other = (IterativeSolver(cross, True, 5, seed) for seed in (1, 1, 2))
        fewer = IterativeSolver(cross, True, 3, 1)
    assert one.probes.shape == (7, 5)
    assert set(np.unique(one.probes)) == {-1.0, 1.0}
    np.testing.assert_array_equal(one.probes, same.probes)
    assert (one.probes != other.probes).any()
    # more probes are added to what there was
    np.testing.assert_array_equal(one.probes[:, :3], fewer.probes)


def test_no_probes(integrate_fixed):
    """Means and what steers the steps need none."""
    model = make_model("slopes_in_tail")
    with exactly(0):
        system = IterativeSolver(model.cross(), integrate_fixed, 0, 0).system(
            scales_of(model.scales)
        )
        assert system.log_det_samples.shape == (0,)
        for found, expected in zip(system.random_effects, model.random_effects, strict=True):
            close(found, expected)
        assert len(system._probe_solution.basis) == 0


@pytest.mark.parametrize("small", [0, 200])
def test_dependent_fixed_effects_are_refused(small):
    model = make_model("crossed")
    model.fixed[:, 1] = 0.0
    with exactly(small), pytest.raises(SingularSystemError):
        make_system(model, True)


def test_numbers_that_are_not_finite_are_refused():
    model = make_model("crossed")
    scales = [np.array([[value]]) for value in (np.nan, 1.0, 1.0)]
    with exactly(0), pytest.raises(SingularSystemError):
        exact_solver(model.cross(), True).system(scales_of(scales))


def test_too_many_products(monkeypatch):
    monkeypatch.setattr(iterative, "_MOST_PRODUCTS", 2)
    with exactly(0), pytest.raises(NotConvergedError, match="after 2 products"):
        make_system(make_model("slopes_in_tail"), True)


def test_response_without_residual():
    model = make_model("crossed")
    model.response[:] = 0.0
    with exactly(0):
        system = make_system(model, True)
    assert system.penalised_rss == pytest.approx(0.0, abs=1e-12)
    for effects in system.random_effects:
        np.testing.assert_allclose(effects, 0.0, atol=1e-12)
