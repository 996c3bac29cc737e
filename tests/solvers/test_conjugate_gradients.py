"""Solves and functions of matrices against dense eigendecompositions."""

from __future__ import annotations

import numpy as np
import pytest

from skmixed.solvers.base import SingularSystemError
from skmixed.solvers.conjugate_gradients import NotConvergedError, solve

N = 12


def make_matrix(eigenvalues, seed=0):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((len(eigenvalues), len(eigenvalues))))[0]
    return (basis * eigenvalues) @ basis.T


def function_of(matrix, function):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * function(values)) @ vectors.T


def run(matrix, right, tolerance=1e-12, max_iter=100, **options):
    """Solve with one matrix for all columns."""
    tolerances = np.broadcast_to(tolerance, right.shape[1])
    return solve(lambda vectors, _: matrix @ vectors, right, tolerances, max_iter, **options)


@pytest.fixture(scope="module")
def matrix():
    return make_matrix(np.geomspace(0.5, 20.0, N))


@pytest.fixture(scope="module")
def right():
    return np.random.default_rng(1).standard_normal((N, 4))


def test_solution_and_residual(matrix, right):
    solution = run(matrix, right)
    np.testing.assert_allclose(solution.x, np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-10)
    rough = run(matrix, right, tolerance=1e-2)
    assert rough.n_products < solution.n_products
    np.testing.assert_allclose(rough.residual, right - matrix @ rough.x, atol=1e-12)
    relative = np.linalg.norm(rough.residual, axis=0) / np.linalg.norm(right, axis=0)
    assert (relative <= 1e-2).all()
    assert (relative > 1e-6).all()


def test_input_is_left_alone(matrix, right):
    before = right.copy()
    run(matrix, right)
    np.testing.assert_array_equal(right, before)


def test_columns_leave_the_batch(matrix, right):
    """Each column gets its own system, tolerance and number of products."""
    matrices = [make_matrix(np.linspace(1.0, 1.0 + k, N), seed=k) for k in range(4)]
    tolerance = np.array([1e-12, 1e-3, 1e-12, 1e-1])
    batches = []

    def multiply(vectors, numbers):
        batches.append(numbers.tolist())
        columns = zip(numbers, vectors.T, strict=True)
        return np.column_stack([matrices[j] @ column for j, column in columns])

    solution = solve(multiply, right, tolerance, 100)
    for j, matrix in enumerate(matrices):
        bound = tolerance[j] * np.linalg.norm(right[:, j])
        assert np.linalg.norm(right[:, j] - matrix @ solution.x[:, j]) < 1.01 * bound + 1e-13
        alone = run(matrix, right[:, [j]], tolerance[j])
        np.testing.assert_allclose(solution.x[:, j], alone.x[:, 0], rtol=1e-12, atol=1e-14)
        assert sum(j in numbers for numbers in batches) == alone.n_products
        assert len(solution.runs[j].diagonal) == alone.n_products
    assert len(batches) == solution.n_products
    assert [len(numbers) for numbers in batches] == sorted(map(len, batches), reverse=True)


def test_early_bounds(matrix, right):
    """A column leaves by the looser bound as long as there were few products, or by its own."""
    m, exact = right.shape[1], np.linalg.solve(matrix, right)

    def errors(last):
        early = np.full(m, 0.3), last
        solution = solve(lambda v, _: matrix @ v, right, np.full(m, 1e-10), 100, early=early)
        left = np.linalg.norm(right - matrix @ solution.x, axis=0) / np.linalg.norm(right, axis=0)
        np.testing.assert_allclose(matrix @ solution.x + solution.residual, right, atol=1e-12)
        return left, np.abs(solution.x - exact).max()

    loose, _ = errors(100)
    assert (loose < 0.3).all()
    assert (loose > 1e-6).any()
    _, most = errors(0)
    assert most < 1e-8


def test_zero_columns(matrix, right):
    with_zero = right.copy()
    with_zero[:, [0, 2]] = 0.0
    solution = run(matrix, with_zero, keep_basis=True)
    np.testing.assert_allclose(
        solution.x, np.linalg.solve(matrix, with_zero), rtol=1e-9, atol=1e-10
    )
    assert solution.runs[0].quadratic_form(np.log) == 0.0
    assert len(solution.runs[2].diagonal) == 0
    root = function_of(matrix, np.sqrt) @ with_zero
    np.testing.assert_allclose(solution.apply(np.sqrt), root, atol=1e-9)
    np.testing.assert_allclose(solution.product(), matrix @ with_zero, atol=1e-9)


def test_product_of_a_column_that_needs_one_step(right):
    solution = run(2.0 * np.eye(N), right, keep_basis=True)
    assert solution.n_products == 1
    np.testing.assert_allclose(solution.product(), 2.0 * right, rtol=1e-14)


@pytest.mark.parametrize("shape", [(N, 0), (0, 3), (0, 0)])
def test_nothing_to_solve(shape):
    solution = run(np.eye(shape[0]), np.zeros(shape), keep_basis=True)
    assert solution.x.shape == solution.residual.shape == solution.apply(np.sqrt).shape == shape
    assert solution.n_products == 0
    assert len(solution.runs) == shape[1]


FUNCTIONS = {
    "log": np.log,
    "inverse": lambda values: 1.0 / values,
    "root": np.sqrt,
    "inverse_root": lambda values: values**-0.5,
    "itself": lambda values: values,
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_functions_of_the_matrix(matrix, right, function):
    solution = run(matrix, right, keep_basis=True)
    exact = function_of(matrix, function)
    np.testing.assert_allclose(solution.apply(function), exact @ right, rtol=1e-8, atol=1e-8)
    forms = [lanczos.quadratic_form(function) for lanczos in solution.runs]
    np.testing.assert_allclose(forms, np.einsum("ij,ij->j", right, exact @ right), rtol=1e-10)


def test_functions_after_few_steps(matrix, right):
    """Quadratic forms are Gauss quadratures: far more exact than the solution."""
    few = run(matrix, right, tolerance=0.05)
    for function in (np.log, lambda values: 1.0 / values):
        exact = np.einsum("ij,ij->j", right, function_of(matrix, function) @ right)
        forms = [lanczos.quadratic_form(function) for lanczos in few.runs]
        np.testing.assert_allclose(forms, exact, rtol=5e-3)
    for lanczos, column in zip(few.runs, right.T, strict=True):
        assert lanczos.quadratic_form(lambda values: values) == pytest.approx(
            column @ matrix @ column, rel=1e-12
        )


def test_convergence_in_as_many_steps_as_eigenvalues(right):
    identity = run(np.eye(N), right, keep_basis=True)
    assert identity.n_products == 1
    np.testing.assert_array_equal(identity.x, right)
    np.testing.assert_allclose(identity.apply(np.log), 0.0, atol=1e-15)
    two = make_matrix(np.where(np.arange(N) < 5, 1.0, 9.0))
    solution = run(two, right, keep_basis=True)
    assert solution.n_products == 2
    root = function_of(two, lambda values: values**-0.5) @ right
    np.testing.assert_allclose(solution.apply(lambda values: values**-0.5), root, atol=1e-12)
    one = run(np.array([[4.0]]), np.array([[2.0, 0.0, -6.0]]), keep_basis=True)
    np.testing.assert_allclose(one.x, [[0.5, 0.0, -1.5]])
    np.testing.assert_allclose(one.apply(np.sqrt), [[4.0, 0.0, -12.0]])


def test_not_converged(matrix, right):
    with pytest.raises(NotConvergedError, match="after 3 products at a relative residual"):
        run(matrix, right, max_iter=3)
    assert issubclass(NotConvergedError, SingularSystemError)


@pytest.mark.parametrize("bad", [-1.0, np.nan])
def test_matrix_that_is_not_positive_definite(right, bad):
    """No solution is better than a wrong one."""
    matrix = np.diag(np.append(np.linspace(1.0, 2.0, N - 1), bad))
    with pytest.raises(SingularSystemError):
        run(matrix, right)
