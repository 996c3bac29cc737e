"""Integrals of levels with slopes alone, beside those with second derivatives."""

import numpy as np
import pytest
from scipy.special import expit, logsumexp
from test_properties_kernels_integrals import KINDS, POLES, arguments

from skmixed._kernels.densities import (
    GAMMA,
    LOGIT,
    NEGATIVE_BINOMIAL,
    ORDERED_LOGIT,
    ORDERED_PROBIT,
    PROBIT,
)
from skmixed._kernels.level_integrals import LevelRows, RowScratch, integrate_level
from skmixed._kernels.level_scores import (
    LevelSlopes,
    SlopeScratch,
    add_level_slopes,
    integrate_all_slopes,
)
from skmixed._kernels.nested_integrals import new_integral
from skmixed.fit.marginal_likelihood import lattice_memory, lattice_of


def some_rows(kind, q, n, sd, weighted, seed=1):
    """Rows of one response distribution, with q effects."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, n) + (0.0 if kind in (LOGIT, PROBIT) else 1.0)
    if kind in (ORDERED_LOGIT, ORDERED_PROBIT):
        y = rng.integers(0, 3, n).astype(float)
    triples = [arguments(kind, value) for value in y]
    low, high = (np.array([t[k] for t in triples]) for k in (1, 2))
    natural, n_natural = np.full((n, 2), -1), 0
    if kind in (ORDERED_LOGIT, ORDERED_PROBIT):
        classes = y.astype(int)
        natural = np.column_stack([classes - 1, np.where(classes < 2, classes, -1)])
        n_natural = 2
    elif kind in (NEGATIVE_BINOMIAL, GAMMA):
        natural, n_natural = np.column_stack([np.zeros(n, int), np.full(n, -1)]), 1
    weights = rng.uniform(0.5, 2.0, n) if weighted else np.ones(n)
    basis = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
    root = sd * (np.eye(q) + 0.3 * np.tril(np.ones((q, q)), -1))
    return LevelRows(
        kind, np.array([t[0] for t in triples]), weights, low, high, natural,
        np.zeros((n, 0)), basis, basis @ root, rng.normal(size=n), n_natural,
    )  # fmt: skip


def slopes_of(rows, row_start, digits=1.0):
    """Value, slopes of rows, and what else there is, of all levels."""
    n, q = rows.basis.shape
    n_levels = len(row_start) - 1
    lattice = lattice_of(q - 1, POLES.get(rows.kind, np.pi / 2), digits, lattice_memory(q - 1))
    scratch = SlopeScratch(np.zeros((2, n)), np.zeros((3, n)), np.zeros(n), np.zeros(n))
    found = LevelSlopes(
        np.zeros((n_levels, q)), np.zeros((n_levels, q, q)), np.zeros((q, q)),
        np.zeros(rows.n_natural),
    )  # fmt: skip
    value = integrate_all_slopes(
        rows, np.array(row_start), np.zeros((n_levels, q)), lattice, scratch, found
    )
    return value, scratch.mean, found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("q", "sd", "weighted"), [(1, 0.0, True), (1, 4.0, False), (2, 0.8, True)])
def test_slopes_are_those_of_integrals_with_second_derivatives(kind, q, sd, weighted):
    rows = some_rows(kind, q, 7, sd, weighted)
    row_start = [0, 3, 3, 7]
    value, by_eta, found = slopes_of(rows, row_start)
    # a dense parameter per row has the slope of that row
    rows = rows._replace(dense=np.eye(7))
    pole = POLES.get(kind, np.pi / 2)
    lattice = lattice_of(q - 1, pole, 1.0, lattice_memory(q - 1))
    n_sums = 1 + q * (q + 3) // 2
    scratch = RowScratch(np.zeros((7, 2)), np.zeros((7, 3)), np.zeros((7, 3, n_sums)))
    score = np.zeros(7 + q * q + rows.n_natural)
    total = 0.0
    for level in range(3):
        integral = new_integral(q, len(score))
        bounds = row_start[level], row_start[level + 1]
        total += integrate_level(rows, *bounds, np.zeros(q), lattice, scratch, integral)[0]
        score += integral.score
        np.testing.assert_allclose(found.means[level], integral.mean, atol=1e-8)
        covariance = integral.square - np.outer(integral.mean, integral.mean)
        np.testing.assert_allclose(found.covariances[level], covariance, atol=1e-8)
    assert value == pytest.approx(total, abs=1e-9)
    np.testing.assert_allclose(by_eta, score[:7], atol=1e-8)
    np.testing.assert_allclose(found.root.ravel(), score[7 : 7 + q * q], atol=1e-8)
    np.testing.assert_allclose(found.natural, score[7 + q * q :], atol=1e-8)


def test_predictors_whose_exponential_is_no_number():
    """A fine grid over the effect, of predictors up to a thousand."""
    rows = some_rows(LOGIT, 1, 5, 2.0, False)
    rows = rows._replace(
        predictor=np.array([-900.0, 1000.0, 0.3, 350.0, -0.5]), y=np.array([0.0, 1, 1, 1, 0])
    )
    value, by_eta, _ = slopes_of(rows, [0, 5])
    line = np.arange(-12.0, 12.0, 0.01)
    eta = rows.predictor[:, None] + 2.0 * line
    signs = 2.0 * rows.y[:, None] - 1.0
    terms = -np.logaddexp(0.0, -signs * eta).sum(axis=0) - 0.5 * line**2
    assert value == pytest.approx(logsumexp(terms) + np.log(0.01 / np.sqrt(2 * np.pi)), abs=1e-9)
    shares = np.exp(terms - logsumexp(terms))
    np.testing.assert_allclose(by_eta, (rows.y[:, None] - expit(eta)) @ shares, atol=1e-9)


def test_coarse_digits_leave_a_millionth_per_level():
    rows = some_rows(LOGIT, 1, 400, 0.7, False)
    row_start = np.arange(0, 401, 20)
    fine, coarse = (slopes_of(rows, row_start, digits)[0] for digits in (1.0, 0.6))
    assert coarse == pytest.approx(fine, abs=20e-6)


def test_sums_of_slopes_by_level():
    rng = np.random.default_rng(0)
    codes, basis, slopes = rng.integers(0, 4, 30), rng.normal(size=(30, 2)), rng.normal(size=30)
    out = np.zeros((4, 2))
    add_level_slopes(codes, basis, slopes, out)
    expected = np.zeros((4, 2))
    np.add.at(expected, codes, basis * slopes[:, None])
    np.testing.assert_allclose(out, expected)
