"""The factorised log determinant and its derivatives, by levels one by one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from skmixed import mixed
from skmixed.posteriors.mean_field import _Block

Q = (1, 2, 3, 5)


class Case:
    """A block of q correlated effects of some levels, one of them without data."""

    def __init__(self, q, smallest=None):
        rng = np.random.default_rng(q)
        self.precisions = rng.gamma(2.0, 3.0, (30, q))
        self.precisions[0] = 0.0
        self.rows, self.columns = np.array([(r, c) for c in range(q) for r in range(c, q)]).T
        self.scale = np.tril(rng.standard_normal((q, q)))
        if smallest is not None:
            self.scale[-1] = 0.0
            self.scale[-1, -1] = smallest
        self.theta = self.scale[self.rows, self.columns]

    def block(self, theta=None):
        scale = np.zeros_like(self.scale)
        scale[self.rows, self.columns] = self.theta if theta is None else theta
        return _Block(self.precisions, scale)

    def derivatives(self, theta=None):
        return self.block(theta).log_det_derivatives(self.rows, self.columns)

    def differences(self, function, step=1e-6):
        """Central differences of a function of theta, one row an entry."""
        steps = step * np.eye(len(self.theta))
        return np.array(
            [(function(self.theta + h) - function(self.theta - h)) / (2 * step) for h in steps]
        )


@pytest.mark.parametrize("q", Q)
def test_determinant_and_variances(q):
    case = Case(q)
    omega = case.scale @ case.scale.T
    prior = np.diagonal(np.linalg.inv(omega))
    expected = sum(
        np.linalg.slogdet(omega)[1] + np.log(level + prior).sum() for level in case.precisions
    )
    block = case.block()
    assert block.log_det() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(block.variances(), 1.0 / (case.precisions + prior), rtol=1e-10)


@pytest.mark.parametrize("q", Q)
def test_derivatives(q):
    case = Case(q)
    gradient, hessian = case.derivatives()
    slopes = case.differences(lambda theta: case.block(theta).log_det())
    np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-6)
    curvatures = case.differences(lambda theta: case.derivatives(theta)[0])
    largest = np.abs(curvatures).max()
    np.testing.assert_allclose(hessian, curvatures, rtol=1e-6, atol=1e-8 * largest)
    by_omega = case.block().log_det_by_omega()
    np.testing.assert_allclose(by_omega, by_omega.T, rtol=1e-9, atol=1e-9)
    chain = (2.0 * by_omega @ case.scale)[case.rows, case.columns]
    np.testing.assert_allclose(gradient, chain, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("smallest", [1e-3, 1e-5, 1e-7, 1e-10, 0.0])
@pytest.mark.parametrize("q", [2, 5])
def test_no_digit_is_lost_where_a_variance_vanishes(q, smallest):
    """An effect independent of the others: its part is known in closed form."""
    case = Case(q, smallest)
    d, t = case.precisions[:, -1], smallest
    alone = _Block(case.precisions[:, :-1], case.scale[:-1, :-1])
    part = np.log1p(d * t**2).sum()
    assert case.block().log_det() == pytest.approx(alone.log_det() + part, rel=1e-13)
    gradient, hessian = case.derivatives()
    shrunk = d / (1.0 + d * t**2)
    assert gradient[-1] == pytest.approx(2.0 * t * shrunk.sum(), rel=1e-12)
    assert hessian[-1, -1] == pytest.approx(2.0 * (shrunk - 2.0 * (t * shrunk) ** 2).sum())
    assert case.block().log_det_by_omega()[-1, -1] == pytest.approx(shrunk.sum(), rel=1e-9)
    np.testing.assert_allclose(case.block().variances()[:, -1], t**2 / (1.0 + d * t**2))
    kept = case.rows < q - 1
    expected = alone.log_det_derivatives(case.rows[kept], case.columns[kept])
    np.testing.assert_allclose(gradient[kept], expected[0], rtol=1e-12)
    np.testing.assert_allclose(hessian[np.ix_(kept, kept)], expected[1], rtol=1e-12)


@pytest.mark.filterwarnings("ignore:The mean-field posterior estimates a variance")
def test_a_collapsed_effect_is_exactly_zero():
    """Also where it was correlated with another: not some small number that rounding leaves."""
    rng = np.random.default_rng(2)
    groups = rng.integers(30, size=400)
    x = rng.standard_normal(400)
    response = rng.standard_normal(30)[groups] + x + rng.standard_normal(400)
    frame = pd.DataFrame({"x": x, "g": groups, "y": response})
    found = [
        mixed("y ~ x + (1 + x | g)", frame, posterior="mean_field", tol=tol)
        for tol in (1e-4, 1e-6, 1e-9)
    ]
    intercepts = mixed("y ~ x + (1 | g)", frame, posterior="mean_field")
    for model in found:
        covariance = model.random_effects_cov_["g"].to_numpy()
        np.testing.assert_array_equal(covariance[1], 0.0)
        np.testing.assert_array_equal(model.random_effects_std_["g"]["x"], 0.0)
        assert model.elbo_ == pytest.approx(intercepts.elbo_, rel=1e-9)
