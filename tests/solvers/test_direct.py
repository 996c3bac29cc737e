"""The factorised equations against dense inverses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from covering import covering
from dense import DESIGNS, level_blocks, make_model, scales_of

from skmixed.solvers import direct
from skmixed.solvers.base import SingularSystemError
from skmixed.solvers.direct import DirectSystem

WITH_FACTORS = [name for name in DESIGNS if name != "no_factor"]
SCALES = {
    "moderate": {"size": 0.8},
    "small": {"size": 1e-3},
    "large": {"size": 50.0},
    "zero": {"size": 0.0},
    "singular": {"rank": 1},
}
"""Kinds of variance parameters: the boundary and both ways to compute an information."""

LARGE = [0, 500]
"""Values of `_LARGE_TAIL`: with the first every tail here is large, with the second none."""


def close(found, expected, rtol=1e-8):
    """Equal relative to the largest entry."""
    size = np.abs(expected).max(initial=0.0) or 1.0
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * size)


@covering(name=DESIGNS, p=[0, 2], kind=SCALES)
def test_scalars(name, p, kind):
    model = make_model(name, p=p, **SCALES[kind])
    system = model.system()
    assert system.log_det(False) == pytest.approx(model.log_det, rel=1e-9, abs=1e-9)
    assert system.log_det_fixed == pytest.approx(model.log_det_fixed, rel=1e-9, abs=1e-9)
    assert system.penalised_rss == pytest.approx(model.rss, rel=1e-8)


@covering(name=DESIGNS, p=[0, 2], kind=SCALES, large=LARGE)
def test_means(monkeypatch, name, p, kind, large):
    monkeypatch.setattr(direct, "_LARGE_TAIL", large)
    model = make_model(name, p=p, **SCALES[kind])
    system = model.system()
    close(system.fixed_effects, model.beta)
    close(system.fixed_covariance(), model.fixed_covariance)
    for found, expected in zip(system.random_effects, model.random_effects, strict=True):
        close(found, expected)
    for found, Z in zip(system.residual_products, model.Z, strict=True):
        close(found.ravel(), Z.T @ model.P @ model.y, rtol=1e-7)


@covering(name=WITH_FACTORS, integrate_fixed=[True, False], kind=SCALES)
def test_information(name, integrate_fixed, kind):
    model = make_model(name, **SCALES[kind])
    system = model.system()
    projector = model.projector(integrate_fixed)
    for factor, Z in zip(system.cross.factors, model.Z, strict=True):
        expected = level_blocks(Z.T @ projector @ Z, factor.n_effects).sum(axis=0)
        found = system.covariance(integrate_fixed).information(factor)
        close(found, expected, rtol=1e-6)
        np.testing.assert_allclose(found, found.T, rtol=1e-6, atol=1e-9 * np.abs(found).max())


@covering(name=WITH_FACTORS, kind=SCALES)
def test_projected_gram(name, kind):
    model = make_model(name, **SCALES[kind])
    system = model.system()
    rng = np.random.default_rng(3)
    directions, vectors = [], []
    for factor, Z in zip(system.cross.factors, model.Z, strict=True):
        for _ in range(2):
            effects = rng.standard_normal((factor.n_levels, factor.n_effects))
            directions.append((factor, effects))
            vectors.append(Z @ effects.ravel())
    F = np.column_stack(vectors)
    close(system.projected_gram(directions), F.T @ model.P @ F, rtol=1e-7)


@covering(name=WITH_FACTORS, integrate_fixed=[True, False], kind=SCALES, large=LARGE)
def test_projected_products(monkeypatch, name, integrate_fixed, kind, large):
    """Z'P f of all factors. The eliminated factor has it only for its own directions."""
    monkeypatch.setattr(direct, "_LARGE_TAIL", large)
    model = make_model(name, **SCALES[kind])
    system = model.system()
    rng = np.random.default_rng(3)
    factors = system.cross.factors
    directions = [
        (factor, rng.standard_normal((factor.n_levels, factor.n_effects))) for factor in factors
    ]
    products = system.projected_products(directions, integrate_fixed)
    for of_factor, factor, Z in zip(products, factors, model.Z, strict=True):
        eliminated = factor is system.cross.eliminated
        assert set(of_factor) == ({factor.position} if eliminated else set(range(len(factors))))
        for j, found in of_factor.items():
            f = model.Z[j] @ directions[j][1].ravel()
            close(found.ravel(), Z.T @ model.projector(integrate_fixed) @ f, rtol=1e-6)


@covering(name=WITH_FACTORS, integrate_fixed=[True, False], kind=SCALES)
def test_level_covariances(name, integrate_fixed, kind):
    model = make_model(name, **SCALES[kind])
    system = model.system()
    covariance = model.posterior_covariance(integrate_fixed)
    for factor in system.cross.factors:
        here = model.effects_slice(factor.position)
        expected = level_blocks(covariance[here, here], factor.n_effects)
        close(system.covariance(integrate_fixed).level_covariances(factor), expected)


@covering(name=DESIGNS, p=[0, 2], integrate_fixed=[True, False], kind=SCALES)
def test_tail_covariance(name, p, integrate_fixed, kind):
    model = make_model(name, p=p, **SCALES[kind])
    system = model.system()
    covariance = model.posterior_covariance(integrate_fixed)
    parts = [model.effects_slice(factor.position) for factor in system.cross.tail_factors]
    where = np.concatenate([np.r_[part] for part in [*parts, slice(0, p)]]).astype(int)
    expected = np.tril(covariance[np.ix_(where, where)])
    close(np.tril(system.covariance(integrate_fixed).tail), expected)


@covering(name=WITH_FACTORS, integrate_fixed=[True, False], kind=SCALES)
def test_joint_covariance(name, integrate_fixed, kind):
    model = make_model(name, **SCALES[kind])
    system = model.system()
    covariance = model.posterior_covariance(integrate_fixed)
    positions = range(len(model.Z))
    for kept in [(), *((k,) for k in positions), tuple(positions)]:
        parts = [slice(0, model.X.shape[1]), *(model.effects_slice(k) for k in kept)]
        rows = np.concatenate([np.r_[part] for part in parts]).astype(int)
        close(system.covariance(integrate_fixed).joint(kept), covariance[rows])


@pytest.mark.parametrize("name", WITH_FACTORS)
def test_posterior_covariance_is_not_factorised(name):
    """Contract unfactorised: in no direction is the posterior narrower than the truth."""
    model = make_model(name)
    system = model.system()
    everything = tuple(range(len(model.Z)))
    found = system.covariance(True).joint(everything)
    precision = np.linalg.inv(model.posterior_covariance(True))
    ratios = np.linalg.eigvals(found @ precision).real
    np.testing.assert_allclose(ratios, 1.0, rtol=1e-7)


def test_dependent_fixed_effects_are_refused():
    model = make_model("one_factor", p=2)
    model.fixed[:, 1] = 0.0
    with pytest.raises(SingularSystemError):
        model.system()


def test_response_without_residual():
    """A response in the span of the fixed effects has no residual, not an error."""
    model = make_model("crossed")
    model.response[:] = 0.0
    system = DirectSystem(model.cross(), scales_of(model.scales))
    assert system.penalised_rss == pytest.approx(0.0, abs=1e-12)


def test_coarse_covariance_looks_at_one_triangle_only():
    """The other one holds whatever was in memory, which need not fit into single precision."""
    rng = np.random.default_rng(0)
    code = rng.permutation(np.repeat(np.arange(600), 4)).astype(np.int32)
    other = rng.permutation(np.repeat(np.arange(1200), 2)).astype(np.int32)
    model = replace(
        make_model("equal_sizes", n=2400),
        codes=(code, other),
        n_levels=(600, 1200),
    )
    system = model.system()
    exact = system.covariance(True).information(system.cross.factors[0])
    rough = model.system()
    rows, columns = np.tril_indices(len(rough.upper), -1)
    rough.upper[rows, columns] = 1e300
    found = rough.covariance(True, coarse=True).information(rough.cross.factors[0])
    assert rough.covariance(True, coarse=True).coarse
    np.testing.assert_allclose(found, exact, rtol=1e-4)
