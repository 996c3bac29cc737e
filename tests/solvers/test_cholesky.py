"""Factor and inverse, at once and in blocks, against NumPy's."""

import numpy as np
import pytest

from skmixed.solvers import cholesky
from skmixed.threads import restrained_blas

NOT_READ = 1e300


def positive_definite(n, dtype=np.float64):
    """A matrix, and the same with nonsense above the diagonal."""
    rng = np.random.default_rng(n)
    half = rng.standard_normal((n, n + 5))
    matrix = (half @ half.T).astype(dtype)
    return matrix, np.tril(matrix) + np.triu(np.full((n, n), NOT_READ, np.float64), 1).astype(dtype)


@pytest.fixture(params=["at_once", "in_tiles", "in_threads"])
def way(request, monkeypatch):
    if request.param != "at_once":
        monkeypatch.setattr(cholesky, "_AT_ONCE", 3)
        monkeypatch.setattr(cholesky, "_tile_size", lambda n: 4)
    if request.param == "in_threads":
        monkeypatch.setattr(cholesky, "_WORTH_THREADS", 0)
        monkeypatch.setattr(cholesky, "threads_of_fit", lambda: 3)


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


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.filterwarnings("error")
def test_sizes_in_use(dtype):
    """What is above the diagonal stays, and threads change nothing."""
    matrix, given = positive_definite(700)
    assert cholesky.factorise(given)
    np.testing.assert_allclose(np.tril(given), np.linalg.cholesky(matrix), rtol=1e-9, atol=1e-11)
    upper = np.triu_indices(700, 1)
    assert (given[upper] == NOT_READ).all()
    alone = given.astype(dtype) if dtype == np.float64 else np.tril(given).astype(dtype)
    shared = alone.copy()
    cholesky.invert(alone)
    with restrained_blas(3):
        cholesky.invert(shared)
    np.testing.assert_array_equal(alone, shared)
    expected = np.tril(np.linalg.inv(matrix))
    atol = (1e-10 if dtype == np.float64 else 1e-3) * np.abs(expected).max()
    np.testing.assert_allclose(np.tril(alone), expected, atol=atol)


def test_tiles_of_part_of_a_matrix():
    """Rows need not follow one another without a gap."""
    matrix, given = positive_definite(300)
    wide = np.full((300, 310), NOT_READ)
    wide[:, :300] = given
    part = wide[:, :300]
    assert cholesky.factorise(part)
    cholesky.invert(part)
    np.testing.assert_allclose(np.tril(part), np.tril(np.linalg.inv(matrix)), rtol=1e-5, atol=1e-8)
    assert (wide[:, 300:] == NOT_READ).all()
