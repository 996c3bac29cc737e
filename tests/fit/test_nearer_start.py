"""The start next to the optimum of models of one factor, against a dense likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import approx_fprime, minimize

from skmixed._kernels.arguments import OneFactorModel
from skmixed._kernels.one_factor import approach, evaluate

LEVELS = 30
KINDS = [(q, held, integrate) for q in (1, 2, 3) for held in (0.0, 0.7) for integrate in (0, 1)]


def rows_of(q, seed):
    """Levels, Z's columns, X and y of rows whose levels differ in number."""
    rng = np.random.default_rng(seed)
    codes = np.repeat(np.arange(LEVELS), rng.integers(3, 9, LEVELS))
    X = np.column_stack([np.ones(len(codes)), rng.standard_normal((len(codes), q))])
    Z = X[:, :q]
    effects = rng.standard_normal((LEVELS, q)) @ (np.eye(q) + 0.2)
    y = X.sum(axis=1) + (Z * effects[codes]).sum(axis=1) + rng.standard_normal(len(codes))
    return codes, Z, X, y


def model_of(codes, Z, X, y, held, integrate):
    q, p = Z.shape[1], X.shape[1]
    data = np.column_stack([X, y])
    own = np.array([Z[codes == l].T @ Z[codes == l] for l in range(LEVELS)])
    with_dense = np.array([Z[codes == l].T @ data[codes == l] for l in range(LEVELS)])
    rows, columns = np.tril_indices(q)
    df = len(y) - (p if integrate else 0)
    places = np.column_stack([rows, columns])
    return OneFactorModel(own, with_dense, data.T @ data, places, float(df), held, bool(integrate))


def dense(codes, Z, X, y, held, integrate, theta):
    """-2 log likelihood but for constants."""
    q = Z.shape[1]
    T = np.zeros((q, q))
    T[np.tril_indices(q)] = theta
    V = Z @ T @ T.T @ Z.T * (codes[:, None] == codes) + np.eye(len(y))
    inverse = np.linalg.inv(V)
    gram = X.T @ inverse @ X
    rest = y - X @ np.linalg.solve(gram, X.T @ inverse @ y)
    rss = rest @ inverse @ rest
    value = np.linalg.slogdet(V)[1] + (np.linalg.slogdet(gram)[1] if integrate else 0.0)
    df = len(y) - (X.shape[1] if integrate else 0)
    return value + (rss / held if held else df * np.log(rss))


@pytest.mark.parametrize(("q", "held", "integrate"), KINDS)
def test_value_and_gradient_are_those_of_the_dense_likelihood(q, held, integrate):
    data = rows_of(q, q)
    model = model_of(*data, held, integrate)
    theta = np.random.default_rng(3).uniform(0.3, 1.0, q * (q + 1) // 2)
    value, gradient = evaluate(model, theta)
    assert value == pytest.approx(dense(*data, held, integrate, theta), abs=1e-9)
    expected = approx_fprime(theta, lambda at: dense(*data, held, integrate, at), 1e-6)
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("q", "held", "integrate"), KINDS)
def test_steps_lead_to_the_optimum(q, held, integrate):
    data = rows_of(q, 10 + q)
    root = np.eye(q) + 0.2
    start = np.linalg.cholesky(root @ root)[np.tril_indices(q)]
    theta, distance = approach(model_of(*data, held, integrate), start, 1e-8, 30)

    def value(at):
        return dense(*data, held, integrate, at)

    best = minimize(value, 0.9 * start, method="BFGS")
    assert value(theta) <= best.fun + 1e-6
    assert distance < 1e-8


def test_steps_stop_before_zero():
    """A variance that the data do not know of is left to iterations that judge it."""
    codes, Z, X, _ = rows_of(1, 0)
    y = np.random.default_rng(1).permutation(np.arange(len(codes)) % 2).astype(float)
    for level in range(LEVELS):
        y[codes == level] -= y[codes == level].mean()
    model = model_of(codes, Z, X, y, 0.0, 1)
    theta, distance = approach(model, np.ones(1), 1e-8, 30)
    assert 0.0 < theta[0] <= 1.0
    assert not distance <= 1e-8
    assert np.isfinite(dense(codes, Z, X, y, 0.0, 1, theta))
