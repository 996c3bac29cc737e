"""Passes over the cells of a tail, and the coordinates it is solved in, in dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from covering import covering
from dense import DESIGNS, INTERCEPT, level_blocks, make_model, scales_of
from probed import CASES, CASES_WITH_FACTORS, exact_solver, exactly
from scipy.linalg import block_diag
from test_direct import SCALES, close

from skmixed.solvers import sparse_tail
from skmixed.solvers.eliminated_levels import EliminatedLevels
from skmixed.solvers.sparse_tail import SparseTail


class DenseTail:
    """What a `SparseTail` stands for: designs of its parts and what is left of the noise."""

    def __init__(self, model, tail: SparseTail) -> None:
        self.model = model
        n = model.n
        nothing = np.zeros((n, 0))
        self.large = np.column_stack([nothing, *(model.Z[f.position] for f in tail.large)])
        small = [model.Z[f.position] for f in tail.small]
        self.dense = np.column_stack([nothing, *small, model.X, model.y])
        self.eliminated = nothing
        self.V1_inverse = np.eye(n)
        self.middle = np.zeros((0, 1, 1))
        eliminated = tail.cross.eliminated
        if eliminated is not None:
            Z, omega = model.Z[eliminated.position], model.Omega[eliminated.position]
            self.eliminated = Z
            self.V1_inverse = np.linalg.inv(np.eye(n) + Z @ omega @ Z.T)
            scale = model.scales[eliminated.position]
            self.middle = EliminatedLevels.of(tail.cross.own, scale).omega_shrunk
        self.scale = block_diag(
            np.zeros((0, 0)),
            *(np.kron(np.eye(f.n_levels), model.scales[f.position]) for f in tail.large),
        )

    def system(self, tail: SparseTail, integrate_fixed: bool) -> np.ndarray:
        """H = I + T' Z' P Z T with P that of all that is not large."""
        model = self.model
        V = np.eye(model.n)
        for factor in model.cross().factors:
            if factor.position not in {large.position for large in tail.large}:
                Z = model.Z[factor.position]
                V = V + Z @ model.Omega[factor.position] @ Z.T
        P = np.linalg.inv(V)
        if integrate_fixed:
            VX = P @ model.X
            P = P - VX @ np.linalg.inv(model.X.T @ VX) @ VX.T
        ZT = self.large @ self.scale
        return np.eye(ZT.shape[1]) + ZT.T @ P @ ZT


def assert_passes(model, tail: SparseTail) -> None:
    expected = DenseTail(model, tail)
    large, dense, Z = expected.large, expected.dense, expected.eliminated
    rng = np.random.default_rng(0)
    v = rng.standard_normal((tail.n_large, 3))
    close(tail.with_dense, large.T @ dense, rtol=1e-12)
    close(tail.dense, dense.T @ dense, rtol=1e-12)
    close(tail.multiply_unreduced(v), large.T @ (large @ v), rtol=1e-11)
    close(tail.multiply(v, expected.middle), large.T @ expected.V1_inverse @ (large @ v))
    for used in (0, dense.shape[1] - 1, dense.shape[1]):
        d = rng.standard_normal((used, 3))
        gathered = tail.gather(v, d)
        assert gathered.shape == (*tail.cross.own.shape[:2], 3)
        total = large @ v + dense[:, :used] @ d
        close(gathered.reshape(-1, 3) if gathered.size else Z.T @ total, Z.T @ total, rtol=1e-11)
    amounts = rng.standard_normal((*tail.cross.own.shape[:2], 2))
    over_large, over_dense = tail.scatter(amounts)
    spread = Z @ amounts.reshape(Z.shape[1], 2)
    close(over_large, large.T @ spread, rtol=1e-11)
    close(over_dense, dense.T @ spread, rtol=1e-11)
    with_dense, dense_dense, blocks = tail.reduce(expected.middle)
    close(with_dense, large.T @ expected.V1_inverse @ dense)
    close(dense_dense, dense.T @ expected.V1_inverse @ dense)
    for factor, found in zip(tail.large, blocks, strict=True):
        here = large[:, factor.columns]
        close(found, level_blocks(here.T @ expected.V1_inverse @ here, factor.n_effects))


@pytest.mark.parametrize("p", [0, 2])
@pytest.mark.parametrize(("name", "small"), CASES)
def test_passes(name, small, p):
    model = make_model(name, p=p)
    with exactly(small):
        assert_passes(model, SparseTail(model.cross()))


@pytest.mark.parametrize("n_threads", [1, 2])
@pytest.mark.parametrize(("name", "small"), CASES_WITH_FACTORS)
def test_passes_in_parts(monkeypatch, name, small, n_threads):
    monkeypatch.setattr(sparse_tail, "_WORTH_PARTS", 0)
    model = make_model(name)
    with exactly(small):
        assert_passes(model, SparseTail(model.cross(), n_threads))


@pytest.mark.parametrize("name", ["crossed", "slopes_in_tail"])
def test_results_do_not_depend_on_threads(monkeypatch, name):
    monkeypatch.setattr(sparse_tail, "_WORTH_PARTS", 0)
    model = make_model(name)
    found = []
    with exactly(0):
        for n_threads in (1, 2, 3):
            solver = exact_solver(model.cross(), True, n_threads)
            assert len(solver.tail._bounds) > 2
            system = solver.system(scales_of(model.scales))
            covariance = system.covariance(True)
            blocks = [covariance.level_covariances(factor) for factor in system.cross.factors]
            found.append([np.array(system.log_det(True)), *system.random_effects, *blocks])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_vectors_of_any_layout():
    """Columns in Fortran order, read-only or a part of a larger array."""
    model = make_model("slopes_in_tail")
    with exactly(0):
        tail = SparseTail(model.cross())
        middle = DenseTail(model, tail).middle
        v = np.random.default_rng(0).standard_normal((tail.n_large, 4))
        expected = tail.multiply(v, middle)
        dense = np.ones((1, 4))
        gathered = tail.gather(v, dense)
        wide = np.repeat(v, 2, axis=1)
        frozen = v.copy()
        frozen.flags.writeable = False
        for other in (np.asfortranarray(v), wide[:, ::2], frozen):
            np.testing.assert_array_equal(tail.multiply(other, middle), expected)
            np.testing.assert_array_equal(tail.gather(other, dense), gathered)


@pytest.mark.parametrize("small", [4, 9])
def test_main_levels(small):
    """The level of a small factor that a large level meets with the most weight."""
    model = make_model("crossed")
    with exactly(small):
        tail = SparseTail(model.cross())
    assert len(tail.main_levels) == len(tail.small)
    for factor, main in zip(tail.small, tail.main_levels, strict=True):
        weights = [model.Z[large.position].T @ model.Z[factor.position] for large in tail.large]
        met = np.concatenate([np.zeros((0, factor.n_levels)), *weights])
        np.testing.assert_array_equal(main, met.argmax(axis=1))


@pytest.mark.parametrize("limit", [0, 100, 140, 10**6])
def test_dense_part_is_limited(monkeypatch, limit):
    """So many numbers may stand beside the eliminated factor of 12 effects."""
    monkeypatch.setattr(sparse_tail, "_DENSE_NUMBERS", limit)
    model = make_model("slopes_in_tail")
    tail = SparseTail(model.cross())
    assert [f.n_levels for f in tail.small] == {0: [], 100: [], 140: [4], 10**6: [3, 4]}[limit]
    assert_passes(model, tail)


# Coordinates -------------------------------------------------------------------------


@covering(
    name_and_small=CASES_WITH_FACTORS,
    kind=SCALES,
    integrate_fixed=[True, False],
    clusters=[0, 64],
)
def test_coordinates(monkeypatch, name, small, kind, integrate_fixed, clusters):
    monkeypatch.setattr("skmixed.solvers.coarse_space._MOST_CLUSTERS", clusters)
    model = make_model(name, **SCALES[kind])
    with exactly(small):
        solver = exact_solver(model.cross(), integrate_fixed)
        system = solver.system(scales_of(model.scales))
    tail, coordinates = solver.tail, system.coordinates
    dense = DenseTail(model, tail)
    H, T, W = dense.system(tail, integrate_fixed), dense.scale, coordinates.directions
    unit = np.eye(tail.n_large)
    S = coordinates.to_scaled(unit)

    # S S' = M^-1 + B ((B'HB)^-1 - I) B' with M the level blocks without the dense part,
    # B'MB = I and B a basis of the coarse directions
    R = dense.large.T @ dense.V1_inverse @ dense.large
    M = block_diag(
        np.zeros((0, 0)),
        *(
            block
            for factor in tail.large
            for block in level_blocks((T.T @ R @ T + unit)[factor.columns, factor.columns],
                                      factor.n_effects)
        ),
    )  # fmt: skip
    values, vectors = np.linalg.eigh(W.T @ M @ W)
    used = values > 1e-9 * values.max(initial=0.0)
    B = W @ (vectors[:, used] / np.sqrt(values[used]))
    square = np.linalg.inv(M) + B @ (np.linalg.inv(B.T @ H @ B) - np.eye(B.shape[1])) @ B.T
    close(S @ S.T, square, rtol=1e-6)
    assert coordinates.log_det == pytest.approx(-np.linalg.slogdet(square)[1], rel=1e-6, abs=1e-6)
    for number, factor in enumerate(tail.large):
        here = factor.columns
        expected = level_blocks((S @ S.T)[here, here], factor.n_effects).sum(axis=0)
        close(coordinates.squared_blocks(number), expected)
    trace = coordinates.system_trace(system.reduced.half)
    assert trace == pytest.approx(np.trace(S @ S.T @ H), rel=1e-6, abs=1e-6)

    # maps there and back
    close(coordinates.from_scaled(S), unit)
    close(S.T @ coordinates.transposed_inverse(unit), unit)
    close(coordinates.to_effects(unit), T @ S)
    close(coordinates.from_products(unit), (T @ S).T)
    inner = system.tail.multiply
    product = coordinates.multiply(unit, lambda effects: inner(effects, dense.middle))
    close(product, S.T @ (T.T @ R @ T + unit) @ S, rtol=1e-7)


def test_coarse_directions_help(monkeypatch):
    """Shifts against the intercept and a small factor, the worst of all directions, are gone."""
    monkeypatch.setitem(DESIGNS, "wide", [(levels, None, INTERCEPT) for levels in (40, 20, 10, 3)])
    model = make_model("wide", n=200, size=20.0)
    with exactly(4):
        solver = exact_solver(model.cross(), True)
        system = solver.system(scales_of(model.scales))
    H = DenseTail(model, solver.tail).system(solver.tail, True)
    unit = np.eye(len(H))
    S, blocks = system.coordinates.to_scaled(unit), system.coordinates.matrices
    S_0 = np.linalg.inv(np.linalg.cholesky(block_diag(*(block for b in blocks for block in b)))).T
    condition, without = np.linalg.cond(S.T @ H @ S), np.linalg.cond(S_0.T @ H @ S_0)
    assert condition < 20.0
    assert without > 100.0 * condition
