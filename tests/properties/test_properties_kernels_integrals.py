"""Kernels of integrals over random effects, beside differences and SciPy's quadrature."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from skmixed._kernels.densities import (
    GAMMA,
    LOGIT,
    NEGATIVE_BINOMIAL,
    ORDERED_LOGIT,
    ORDERED_PROBIT,
    POISSON,
    PROBIT,
    density_terms,
    natural_terms,
    weighted_parts,
)
from skmixed._kernels.level_integrals import (
    Lattice,
    LevelRows,
    RowScratch,
    integrate_level,
    invert_root,
)
from skmixed._kernels.nested_integrals import new_integral
from tests.fit.dense_likelihood import log_density

KINDS = {
    LOGIT: ("bernoulli", "logit"), PROBIT: ("bernoulli", "probit"),
    ORDERED_LOGIT: ("ordinal", "logit"), ORDERED_PROBIT: ("ordinal", "probit"),
    POISSON: ("poisson", None), NEGATIVE_BINOMIAL: ("negative_binomial", None),
    GAMMA: ("gamma", None),
}  # fmt: skip
OWN = np.array([0.4])
EDGES = np.array([-np.inf, 0.0, np.exp(0.4), np.inf])
POLES = {LOGIT: np.pi, PROBIT: 2.5, ORDERED_LOGIT: np.pi, ORDERED_PROBIT: 2.5}


def arguments(kind, y):
    """What a kernel takes for a response: y, low, high."""
    if kind in (ORDERED_LOGIT, ORDERED_PROBIT):
        return 0.0, EDGES[int(y)], EDGES[int(y) + 1]
    return (math.log(y) if kind == GAMMA else float(y)), OWN[0], math.exp(OWN[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("y", [1.0, 2.0, 0.0])
@pytest.mark.parametrize("eta", [-3.0, 0.2, 4.0])
def test_densities(kind, y, eta):
    if (kind in (LOGIT, PROBIT) and y == 2.0) or (kind == GAMMA and y == 0.0):
        y += 1.0 if kind == GAMMA else -2.0
    family, link = KINDS[kind]
    at = arguments(kind, y)

    def dense(value):
        return float(log_density(family, link, np.array([int(y) if y % 1 == 0 else y]),
                                 np.array([value]), OWN)[0])  # fmt: skip

    value, slope, bend = density_terms(kind, at[0], eta, at[1], at[2])
    for weight in (1.0, 2.5):
        linear, factor, *rest = weighted_parts(kind, at[0], eta, at[1], at[2], weight)
        assert linear - math.log(factor) == pytest.approx(weight * value, rel=1e-12, abs=1e-14)
        np.testing.assert_allclose(rest, [weight * slope, weight * bend], rtol=1e-12, atol=1e-300)
    zero, _, _ = density_terms(kind, at[0], 0.0, at[1], at[2])
    assert value - zero == pytest.approx(dense(eta) - dense(0.0), abs=1e-10)
    step = 1e-4
    near, far = dense(eta + step), dense(eta - step)
    assert slope == pytest.approx((near - far) / (2 * step), rel=1e-6, abs=1e-7)
    assert bend == pytest.approx(-(near - 2 * dense(eta) + far) / step**2, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("kind", [ORDERED_LOGIT, ORDERED_PROBIT, NEGATIVE_BINOMIAL, GAMMA])
@pytest.mark.parametrize("y", [1.0, 2.0, 3.0])
def test_derivatives_by_natural_parameters(kind, y):
    y = y - 1.0 if kind in (ORDERED_LOGIT, ORDERED_PROBIT) else y
    response, low, high = arguments(kind, y)
    is_size = kind in (NEGATIVE_BINOMIAL, GAMMA)

    def terms(by_low, by_high):
        end = math.exp(low + by_low) if is_size else high + by_high
        return np.array(density_terms(kind, response, 0.3, low + by_low, end)[:2])

    found = natural_terms(kind, response, 0.3, low, high)
    step = 1e-5
    for place, end in enumerate((low, high)):
        if not math.isfinite(end) or (is_size and place == 1):
            continue
        move = np.eye(2)[place] * step
        ahead, behind, here = terms(*move), terms(*-move), terms(0.0, 0.0)
        assert found[place] == pytest.approx((ahead - behind)[0] / (2 * step), abs=1e-8)
        assert found[2 + place] == pytest.approx((ahead - behind)[1] / (2 * step), abs=1e-8)
        bend = (ahead - 2 * here + behind)[0] / step**2
        assert found[4 + 2 * place] == pytest.approx(bend, abs=1e-4)


def test_inverse_roots():
    rng = np.random.default_rng(0)
    for q in (1, 2, 3):
        half = rng.normal(size=(q, q + 2))
        curvature = half @ half.T
        root = np.empty((q, q))
        log_det = invert_root(curvature, root)
        np.testing.assert_allclose(root @ root.T, np.linalg.inv(curvature), rtol=1e-10)
        assert log_det == pytest.approx(-0.5 * np.linalg.slogdet(curvature)[1])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sd", [0.0, 0.7, 5.0])
def test_integral_of_a_level(kind, sd):
    rng = np.random.default_rng(1)
    n = 3
    y = np.array([1.0, 1.0, 2.0 if kind not in (LOGIT, PROBIT) else 0.0])
    x = rng.normal(size=n)
    family, link = KINDS[kind]
    triples = [arguments(kind, value) for value in y]
    low, high = (np.array([t[k] for t in triples]) for k in (1, 2))
    classes = y.astype(int)
    natural = np.column_stack([np.zeros(n, int), np.full(n, -1)])
    n_natural = 1
    if kind in (ORDERED_LOGIT, ORDERED_PROBIT):
        natural = np.column_stack([classes - 1, np.where(classes < 2, classes, -1)])
        n_natural = 2
    elif kind not in (NEGATIVE_BINOMIAL, GAMMA):
        natural, n_natural = np.full((n, 2), -1), 0
    rows = LevelRows(
        kind, np.array([t[0] for t in triples]), np.ones(n), low, high, natural, x[:, None],
        np.ones((n, 1)), np.full((n, 1), sd), 0.5 * x, n_natural,
    )  # fmt: skip
    lattice = Lattice(
        POLES.get(kind, np.pi / 2), 24.0, 0.9, 24.0, 0, np.zeros(1, np.bool_),
        np.zeros((9, 1), np.int64), np.zeros(9, np.int64),
    )  # fmt: skip
    scratch = RowScratch(np.zeros((n, 2)), np.zeros((n, 3)), np.zeros((n, 3, 3)))
    found = new_integral(1, 2 + n_natural)
    value, n_nodes = integrate_level(rows, 0, n, np.zeros(1), lattice, scratch, found)

    def density(v, shift=0.0):
        eta = (0.5 + shift) * x + sd * v
        values = log_density(family, link, classes if family != "gamma" else y, eta, OWN)
        return math.exp(values.sum() - 0.5 * v * v) / math.sqrt(2 * math.pi)

    def integral(function):
        return quad(function, -12.0, 12.0, points=[-2, 0, 2], limit=500, epsabs=1e-14)[0]

    total = integral(density)
    constants = log_density(family, link, classes if family != "gamma" else y, 0.0 * x, OWN).sum()
    constants -= sum(density_terms(kind, t[0], 0.0, t[1], t[2])[0] for t in triples)
    assert value + constants == pytest.approx(math.log(total), abs=1e-9)
    assert found.mean[0] == pytest.approx(integral(lambda v: v * density(v)) / total, abs=1e-8)
    step = 1e-4
    ahead, behind = (math.log(integral(lambda v: density(v, s))) for s in (step, -step))  # noqa: B023
    assert found.score[0] == pytest.approx((ahead - behind) / (2 * step), abs=1e-6)
    bend = (ahead - 2 * math.log(total) + behind) / step**2
    assert found.hessian[0, 0] == pytest.approx(bend, abs=1e-4)
    assert 10 < n_nodes < 400
