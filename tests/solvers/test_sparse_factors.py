"""Exact and approximate factors of sparse matrices beside dense ones."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array

from skmixed.solvers import approximate_factor, exact_factor
from skmixed.solvers.approximate_factor import ApproximateFactor
from skmixed.solvers.conjugate_gradients import solve
from skmixed.solvers.controls import QuadraticControl
from skmixed.solvers.eliminated_levels import SingularSystemError
from skmixed.solvers.exact_factor import EliminationOrder, ExactFactor
from skmixed.solvers.triangular_root import SplitPattern, TriangularRoot


def edges_of(name, rng):
    """Ends of edges of a graph, and how many vertices it has."""
    if name == "chain":
        return np.arange(59), np.arange(1, 60), 60
    if name == "star":
        return np.zeros(59, int), np.arange(1, 60), 60
    if name == "tree":
        children = np.arange(1, 60)
        return (children * rng.random(59)).astype(int), children, 60
    if name == "lattice":
        cells = np.arange(64).reshape(8, 8)
        pairs = [(cells[:, 1:], cells[:, :-1]), (cells[1:], cells[:-1])]
        return *(np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1)), 64
    if name == "alone":
        return np.zeros(0, int), np.zeros(0, int), 5
    n, m = {"sparse": (80, 90), "dense": (60, 700), "many": (90, 3000)}[name]
    first, second = rng.integers(n, size=(2, m))
    return first[first != second], second[first != second], n


GRAPHS = ("chain", "star", "tree", "lattice", "alone", "sparse", "dense", "many")
TREES = ("chain", "star", "tree", "alone")


def matrix_of(name, seed=0, ground=0.3):
    """A diagonally dominant matrix: sparse, its arrays by rows, and dense."""
    rng = np.random.default_rng(seed)
    first, second, n = edges_of(name, rng)
    dense = np.zeros((n, n))
    np.add.at(dense, (first, second), -rng.uniform(0.1, 2.0, len(first)))
    dense += dense.T
    np.fill_diagonal(dense, -dense.sum(axis=1) + ground * rng.random(n) + 1e-3)
    sparse = csr_array(dense)
    return (sparse.indptr.astype(np.int64), sparse.indices.astype(np.int32), sparse.data), dense


def assert_is_root(factor, dense):
    """The four maps belong together, S'MS = I, and the log determinant is that of M."""
    unit = np.eye(len(dense))
    S = factor.apply(unit)
    np.testing.assert_allclose(S.T @ dense @ S, unit, atol=1e-10)
    np.testing.assert_allclose(factor.apply_transposed(unit), S.T, atol=1e-10)
    np.testing.assert_allclose(factor.apply_inverse(S), unit, atol=1e-10)
    np.testing.assert_allclose(factor.apply_transposed_inverse(S.T), unit, atol=1e-10)
    assert factor.log_det == pytest.approx(np.linalg.slogdet(dense)[1], rel=1e-12, abs=1e-10)


@pytest.fixture
def any_core(monkeypatch):
    monkeypatch.setattr(exact_factor, "_LEAST_SPARSE", 1)


@pytest.mark.usefixtures("any_core")
@pytest.mark.parametrize("most_neighbours", [0, 2, 250])
@pytest.mark.parametrize("name", GRAPHS)
def test_exact_factor(monkeypatch, name, most_neighbours):
    """Whatever part is left as a dense matrix."""
    monkeypatch.setattr(exact_factor, "_MOST_NEIGHBOURS", most_neighbours)
    (start, columns, values), dense = matrix_of(name)
    order = EliminationOrder.of(start, columns)
    np.testing.assert_array_equal(np.sort(order.order), np.arange(len(dense)))
    factor = ExactFactor(order, start, columns, values)
    assert_is_root(factor, dense)
    rows = np.repeat(np.arange(len(dense)), np.diff(start))
    np.testing.assert_allclose(factor.inverse(), np.linalg.inv(dense)[rows, columns], rtol=1e-9)


@pytest.mark.usefixtures("any_core")
def test_one_order_serves_all_matrices_of_a_pattern():
    (start, columns, values), dense = matrix_of("lattice")
    order = EliminationOrder.of(start, columns)
    for size in (1e-6, 1.0, 1e6):
        factor = ExactFactor(order, start, columns, size * values)
        assert_is_root(factor, size * dense)


@pytest.mark.parametrize("name", TREES)
def test_trees_have_no_fill(name):
    (start, columns, _), dense = matrix_of(name)
    order = EliminationOrder.of(start, columns)
    assert order.n_core == 0
    assert len(order.rows) == (len(columns) - len(dense)) // 2


def test_full_graphs_are_left_alone():
    (start, columns, _), _ = matrix_of("dense")
    assert EliminationOrder.of(start, columns) is None


@pytest.mark.usefixtures("any_core")
@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
@pytest.mark.parametrize("name", ["chain", "dense"])
def test_singular_matrices_are_refused(name, value):
    (start, columns, values), _ = matrix_of(name)
    values[columns == np.repeat(np.arange(len(start) - 1), np.diff(start))] = value
    with pytest.raises(SingularSystemError):
        ExactFactor(EliminationOrder.of(start, columns), start, columns, values)


# Approximate factors -----------------------------------------------------------------------------


@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize("name", TREES)
def test_trees_are_factorised_exactly(name, copies):
    """There is nothing to sample but in stars, whose centre is eliminated last."""
    matrix, dense = matrix_of(name)
    assert_is_root(ApproximateFactor(*matrix, copies), dense)


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_approximate_factor_is_a_root_of_its_matrix(name, copies):
    matrix, dense = matrix_of(name)
    factor = ApproximateFactor(*matrix, copies)
    inverse_root = factor.apply_inverse(np.eye(len(dense)))
    M = inverse_root.T @ inverse_root
    assert_is_root(factor, M)
    # eliminated rows keep the sums of a diagonally dominant matrix
    np.testing.assert_allclose(M.sum(axis=1), dense.sum(axis=1), atol=1e-9)


@pytest.mark.compiled
@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("name", ["dense", "many"])
def test_expectation_of_the_approximate_matrix(name, copies):
    matrix, dense = matrix_of(name)
    samples = []
    for seed in range(1, 401):
        root = ApproximateFactor(*matrix, copies, seed).apply_inverse(np.eye(len(dense)))
        samples.append(root.T @ root)
    mean, spread = np.mean(samples, axis=0), np.std(samples, axis=0, ddof=1)
    z = ((mean - dense) / (spread / 20.0 + 1e-9))[spread > 1e-6]
    assert len(z) > 1000
    assert 0.8 < np.sqrt((z**2).mean()) < 1.2


@pytest.mark.compiled
def test_more_copies_make_better_factors():
    matrix, dense = matrix_of("dense", ground=0.01)
    errors = []
    for copies in (1, 4, 16):
        spectra = []
        for seed in range(1, 21):
            S = ApproximateFactor(*matrix, copies, seed).apply(np.eye(len(dense)))
            spectra.append(np.linalg.eigvalsh(S.T @ dense @ S))
        errors.append(np.sqrt((np.log(spectra) ** 2).mean()))
    assert errors[1] < 0.75 * errors[0]
    assert errors[2] < 0.75 * errors[1]


@pytest.mark.parametrize("name", ["star", "many"])
def test_too_little_room_changes_nothing(monkeypatch, name):
    matrix, dense = matrix_of(name)
    expected = ApproximateFactor(*matrix, 2).apply(np.eye(len(dense)))
    monkeypatch.setattr(approximate_factor, "_CAPACITY", 0)
    found = ApproximateFactor(*matrix, 2).apply(np.eye(len(dense)))
    np.testing.assert_array_equal(found, expected)


def test_equal_seeds_make_equal_factors():
    matrix, dense = matrix_of("dense")
    one, same, other = (
        ApproximateFactor(*matrix, 1, seed).apply(np.eye(len(dense))) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_a_matrix_without_ground_is_refused():
    (start, columns, values), dense = matrix_of("chain")
    rows = np.repeat(np.arange(len(dense)), np.diff(start))
    off = dense - np.diag(np.diagonal(dense))
    values[rows == columns] = -2.0 * np.abs(off.sum(axis=1))
    with pytest.raises(SingularSystemError):
        ApproximateFactor(start, columns, np.where(rows == columns, values, 0.0), 1)


# Several groups of rows --------------------------------------------------------------------------


@pytest.mark.parametrize("n_groups", [2, 3])
def test_triangular_root(n_groups):
    """Groups that are trees by themselves are factorised exactly; the first leaves nothing."""
    rng = np.random.default_rng(0)
    n = 30
    group = rng.permutation(np.repeat(np.arange(n_groups), n))
    dense = np.zeros((n * n_groups, n * n_groups))
    for number in range(n_groups):
        rows = np.flatnonzero(group == number)
        dense[rows[:-1], rows[1:]] = -rng.uniform(0.1, 2.0, n - 1)
    dense += dense.T
    np.fill_diagonal(dense, -dense.sum(axis=1) + rng.uniform(1.0, 2.0, len(dense)))
    across = np.where(rng.random(dense.shape) < 0.03, rng.uniform(-0.3, 0.3, dense.shape), 0.0)
    across[group[:, None] == group] = 0.0
    dense += across + across.T
    sparse = csr_array(dense)
    start, columns = sparse.indptr.astype(np.int64), sparse.indices.astype(np.int32)
    root = TriangularRoot(SplitPattern.of(start, columns, group), sparse.data, 1, 1)
    first = group == 0
    M = np.where((group[:, None] == group) | first[:, None] | first, dense, 0.0)
    B = dense[np.ix_(first, ~first)]
    M[np.ix_(~first, ~first)] += B.T @ np.linalg.solve(dense[np.ix_(first, first)], B)
    assert_is_root(root, M)
    S = root.apply(np.eye(len(dense)))
    H = S.T @ dense @ S
    np.testing.assert_allclose(H[first], np.eye(len(H))[first], atol=1e-10)


def test_trace_of_a_polynomial_from_single_products():
    """Determinants from few solves and many products are as far off as they say."""
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.standard_normal((200, 200)))[0]
    H = (vectors * rng.uniform(0.3, 1.5, 200)) @ vectors.T
    scaled = []
    for seed in range(40):
        probes = np.random.default_rng(seed).choice([-1.0, 1.0], size=(200, 4))
        control = QuadraticControl(lambda v: H @ v, probes)
        runs = solve(lambda v, _: H @ v, probes, np.full(4, 1e-8), 500, True).runs
        found = control.constant(runs) + control.samples(runs).mean()
        scaled.append((found - np.linalg.slogdet(H)[1]) / control.error(runs))
    assert 0.7 < np.sqrt(np.mean(np.square(scaled))) < 1.3
