"""Factor and inverse, at once and in blocks, against NumPy's."""

import numpy as np
import pytest

from skmixed.solvers import cholesky

NOT_READ = 1e300


def positive_definite(n, dtype=np.float64):
    """A matrix, and the same with nonsense above the diagonal."""
    rng = np.random.default_rng(n)
    half = rng.standard_normal((n, n + 5))
    matrix = (half @ half.T).astype(dtype)
    return matrix, np.tril(matrix) + np.triu(np.full((n, n), NOT_READ, np.float64), 1).astype(dtype)


@pytest.fixture(params=["at_once", "in_blocks"])
def way(request, monkeypatch):
    if request.param == "in_blocks":
        monkeypatch.setattr(cholesky, "_AT_ONCE", 3)
        monkeypatch.setattr(cholesky, "_BLOCK", 4)


@pytest.mark.parametrize("n", [0, 1, 4, 7, 16, 18])
@pytest.mark.filterwarnings("error")
def test_factor_and_inverse(n, way):
    matrix, given = positive_definite(n)
    assert cholesky.factorise(given)
    np.testing.assert_allclose(np.tril(given), np.linalg.cholesky(matrix), rtol=1e-11, atol=1e-12)
    cholesky.invert(given)
    np.testing.assert_allclose(np.tril(given), np.tril(np.linalg.inv(matrix)), rtol=1e-9)


@pytest.mark.filterwarnings("error")
def test_single_precision(way):
    matrix, _ = positive_definite(18)
    factor = np.linalg.cholesky(matrix).astype(np.float32)
    cholesky.invert(factor)
    assert factor.dtype == np.float32
    expected = np.tril(np.linalg.inv(matrix))
    np.testing.assert_allclose(np.tril(factor), expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("place", [0, 5, 17])
def test_not_positive_definite(place, way):
    _, given = positive_definite(18)
    given[place, place] = -1.0
    assert not cholesky.factorise(given)


@pytest.mark.compiled
@pytest.mark.filterwarnings("error")
def test_blocks_as_at_once_where_both_are_used():
    """With the sizes that are in use, just above and just below the limit."""
    matrix, given = positive_definite(cholesky._AT_ONCE + 1)
    assert cholesky.factorise(given)
    at_once = matrix[:-1, :-1].copy()
    assert cholesky.factorise(at_once)
    np.testing.assert_allclose(np.tril(given[:-1, :-1]), np.tril(at_once), rtol=1e-8, atol=1e-9)
    cholesky.invert(given)
    lower = np.tril(given)
    inverse = lower + np.tril(lower, -1).T
    error = np.abs(inverse[:5] @ matrix - np.eye(5, len(matrix))).max()
    assert error < 1e-7
