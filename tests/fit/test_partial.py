"""Sums of parts in standard units against `sum_rows` of all rows.

Standard units are only determined up to a rotation of the fixed effects within the
space that they span, so what is compared does not depend on it.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import pytest

from skmixed.design import DesignEncoder, Table, resolve_spec
from skmixed.posteriors import POSTERIORS, basis_changes
from skmixed.sums.partial_sums import Accumulation, Reference
from skmixed.sums.row_sums import RowSums, sum_rows

N = 160
SIZES = (40, 1, 70, 49)


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "x": rng.normal(3.0, 2.0, N),
            "z": rng.normal(-1.0, 0.1, N),
            "o": rng.normal(size=N),
            # the mean differs between the parts
            "w": rng.uniform(0.5, 2.0, N) * np.repeat([1.0, 1.0, 30.0, 0.2], SIZES),
            "g": rng.integers(0, 15, N),
            "h": rng.integers(0, 6, N),
        }
    )


def response(X: pd.DataFrame) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=N)
    effects = np.random.default_rng(2).normal(size=15)
    return 20.0 + 2.0 * X["x"].to_numpy() + effects[X["g"]] + noise


def both(
    X,
    y,
    formula,
    *,
    sizes=SIZES,
    case_weights=None,
    offset=None,
    precision_weights=None,
    integrate_fixed=True,
    rotates_bases=True,
    noise_variance=None,
    order=None,
) -> tuple[RowSums, RowSums, Accumulation]:
    """Sums of parts, sums of all rows, and the parts put together."""
    case_weights = np.ones(len(X)) if case_weights is None else case_weights
    columns = {"offset": offset, "precision_weights": precision_weights}
    options = {
        "integrate_fixed": integrate_fixed,
        "noise_variance": noise_variance,
    }
    table = Table.from_input(X)
    spec = resolve_spec(table, random_effects=None, formula=formula, fit_intercept=True)
    _, design = DesignEncoder.learn(spec, table, **columns)
    allowed = partial(basis_changes, POSTERIORS["full" if rotates_bases else "mean_field"])
    options["basis_may"] = allowed(design.factors)
    expected = sum_rows(design, y, case_weights, n_threads=1, **options)
    parts = np.split(np.arange(len(X)), np.cumsum(sizes)[:-1])
    rows = [(Table.from_input(X.iloc[part]), y[part], case_weights[part]) for part in parts]
    reference = Reference.learn(spec, *rows[0], basis_may=allowed, **columns)
    sums = [reference.part(*part, 1) for part in rows]
    total = sums[0]
    for part in sums[1:]:
        total = total.merge(part)
    return total.standardised(**options), expected, total


def units_of(rows: RowSums) -> dict[str, object]:
    """What units mean in the data, whatever the rotation of the fixed effects."""
    units, fixed = rows.units, rows.units.fixed
    mapping = fixed.to_centred()
    coefficients = mapping @ units.least_squares
    first = int(fixed.has_intercept)
    if first:
        # at the origin: the centers are where each way of summing left them
        coefficients[0] += units.response_center - fixed.center @ coefficients[1:]
    inverse = np.linalg.pinv(mapping[first:, first:])
    return {
        "kept": fixed.kept,
        "spanned": inverse.T @ inverse,
        "log_det": fixed.log_det,
        "coefficients": coefficients,
        "scale": units.response_scale,
        "bases": [basis @ basis.T for basis in units.bases],
        "noise": units.noise,
        "elbo": units.elbo(1.0),
        "n": (units.n_observations, units.degrees_of_freedom),
    }


def sums_of(rows: RowSums) -> list[np.ndarray]:
    """Sums over cells in units of the data and of the residuals' spread."""
    sums = rows.sums
    inverses = [np.linalg.pinv(basis) for basis in rows.units.bases]
    out = [sums.dense[-1:, -1:]]
    for own, with_dense, inverse in zip(sums.own, sums.with_dense, inverses, strict=True):
        out.append(inverse.T @ own @ inverse)
        out.append(np.einsum("lqp,qr->lrp", with_dense[:, :, -1:], inverse))
        projected = with_dense[:, :, :-1] @ np.swapaxes(with_dense[:, :, :-1], 1, 2)
        out.append(inverse.T @ projected @ inverse)
    for pair in sums.pairs:
        out.append(inverses[pair.first].T @ pair.values @ inverses[pair.second])
        out += [pair.start, pair.levels]
    return out


def assert_same(found: RowSums, expected: RowSums, rtol=1e-10):
    of_units = units_of(expected)
    for name, value in units_of(found).items():
        pairs = zip(value, of_units[name], strict=True) if name == "bases" else None
        for a, b in pairs or [(value, of_units[name])]:
            size = np.abs(b).max(initial=0.0) if isinstance(b, np.ndarray) else 0.0
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * size, err_msg=name)
    assert found.dependent == expected.dependent
    assert found.rows_alone == expected.rows_alone
    assert (found.sums is None) == (expected.sums is None)
    if expected.sums is None:
        return
    n = expected.units.n_observations
    gram = found.sums.dense[:-1, :-1]
    np.testing.assert_allclose(gram, n * np.eye(len(gram)), atol=rtol * n)
    np.testing.assert_allclose(found.sums.dense[-1, :-1], 0.0, atol=rtol * n)
    for a, b in zip(sums_of(found), sums_of(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.abs(b).max(initial=1.0))


FORMULAS = {
    "intercepts": "x + z + (1 | g) + (1 | h)",
    "correlated": "x + (1 + x + z | g) + (1 | h)",
    "uncorrelated": "x + (x + z || g) + (1 | h)",
    "slopes_alone": "x + (0 + x + z | g)",
    "mixed_blocks": "x + (1 + x | g) + (0 + z | g)",
    "nested": "x + (1 | h / g)",
    "no_intercept": "0 + x + z + (1 + x | g)",
    "no_fixed": "0 + (1 | g) + (1 | h)",
    "no_factor": "x + z",
    "one_unit": "x + homdiag(0 + x + z | g) + cs(1 + x | h)",
    "quick": "x * z + (1 + x | g:h)",
}


@pytest.mark.parametrize("rotates_bases", [True, False])
@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_equals_sums_over_all_rows(formula, rotates_bases):
    X = frame()
    rng = np.random.default_rng(3)
    found, expected, _ = both(
        X, response(X), formula,
        offset="o", precision_weights="w", case_weights=rng.uniform(0.5, 3.0, N),
        rotates_bases=rotates_bases,
    )  # fmt: skip
    assert_same(found, expected)


@pytest.mark.parametrize("integrate_fixed", [True, False])
@pytest.mark.parametrize(
    "sizes", [(N,), (1, N - 1), (2, 1, 1, N - 4), (N - 1, 1), (4,) * 40, (1,) * N]
)
def test_sizes_of_parts(sizes, integrate_fixed):
    """The first part sets the units: also when it has fewer rows than columns."""
    X = frame()
    found, expected, total = both(
        X, response(X), "x * z * o + (1 + x + z | g) + (1 | h)",
        sizes=sizes, precision_weights="w", integrate_fixed=integrate_fixed,
    )  # fmt: skip
    assert total.sums.n_rows == N
    assert_same(found, expected, rtol=1e-9)


@pytest.mark.parametrize("rotates_bases", [True, False])
@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6 + 0.1])
@pytest.mark.parametrize("n_constant", [3, 40])
def test_columns_that_do_not_vary_in_the_first_part(constant, n_constant, rotates_bases):
    X = frame()
    X["z"] = 1e-3 * X["z"] + constant
    X.loc[: n_constant - 1, "z"] = constant
    sizes = (n_constant, N - n_constant)
    found, expected, _ = both(
        X, response(X), "x + z + (1 + z | g)", sizes=sizes, rotates_bases=rotates_bases
    )
    # far from 0 by 1e9 times its spread, the column itself has fewer digits
    assert_same(found, expected, rtol=1e-10 if constant < 1 else 1e-7)


def test_columns_that_depend_in_the_first_part_only():
    """The first rows cannot tell the columns apart: their coefficients must not explode."""
    X = frame()
    X["u"] = X["x"] + np.where(np.arange(N) < 10, 1e-8, 1.0) * X["o"]
    assert_same(*both(X, response(X), "x + u + (1 | g)", sizes=(10, N - 10))[:2])


def test_dependent_and_constant_columns():
    X = frame().assign(c=7.3)
    X["sum"] = X["x"] + 2.0 * X["z"]
    formula = "c + x + z + sum + (1 + x + z + sum | g)"
    found, expected, _ = both(X, response(X), formula)
    assert found.units.fixed.kept.tolist() == [1, 2]
    assert found.dependent == ((3,),)
    # effects that are left out have no unit of their own: compare those that are kept
    np.testing.assert_allclose(
        found.units.response_scale, expected.units.response_scale, rtol=1e-12
    )
    assert expected.dependent == found.dependent
    np.testing.assert_allclose(found.units.elbo(1.0), expected.units.elbo(1.0), rtol=1e-12)


def test_other_ranges_in_later_parts():
    """A trend: each part lies elsewhere, and only together do they show the spread."""
    X = frame()
    X["x"] = 2020.0 + np.arange(N) / 365.0
    y = response(X.assign(x=0.0)) + 50.0 * (X["x"] - 2020.0).to_numpy()
    assert_same(*both(X, y, "x + (1 + x | g)", sizes=(8,) * 20)[:2], rtol=1e-9)


def test_bases_of_another_posterior():
    """Parts summed for one posterior may be standardised for the other."""
    X = frame()
    formula = "x + (1 + x + z | g) + (1 | h)"
    for rotates in (True, False):
        _, _, total = both(X, response(X), formula, rotates_bases=rotates)
        _, expected, _ = both(X, response(X), formula, rotates_bases=not rotates)
        other = POSTERIORS["mean_field" if rotates else "full"]
        found = total.standardised(
            integrate_fixed=True,
            basis_may=basis_changes(other, total.encoder.factors),
            noise_variance=None,
        )
        assert_same(found, expected)


@pytest.mark.parametrize("sizes", [SIZES, (2, N - 2)])
@pytest.mark.parametrize("noise_variance", [None, 0.25])
@pytest.mark.parametrize("kind", ["constant", "columns", "offset", "far"])
def test_perfect_fits(kind, noise_variance, sizes):
    X = frame()
    y = {
        "constant": np.full(N, 0.1),
        "columns": 3.0 + X["x"].to_numpy() - X["z"].to_numpy(),
        "offset": X["o"].to_numpy() + 0.1,
        "far": 1e9 + X["o"].to_numpy() * 1e-30,
    }[kind]
    offset = "o" if kind == "offset" else None
    found, expected, _ = both(
        X, y, "x + z + (1 | g)", offset=offset, noise_variance=noise_variance, sizes=sizes
    )
    assert (found.sums is None) == (expected.sums is None) == (noise_variance is None)
    assert found.units.response_scale == pytest.approx(expected.units.response_scale)


def test_noise_held():
    """It has no say in the units unless the fit is perfect."""
    X = frame()
    assert_same(*both(X, response(X), FORMULAS["correlated"], noise_variance=0.5)[:2])


def test_rows_alone():
    """A level a row is the noise again, unless the rows differ in precision."""
    X = frame().assign(g=np.arange(N))
    for weights, alone in ((None, (True, False)), ("w", (False, False))):
        found, expected, _ = both(
            X, response(frame()), "x + (1 | g) + (1 + x | h)", precision_weights=weights
        )
        assert found.rows_alone == expected.rows_alone == alone


def test_a_column_called_intercept():
    """Only what is an intercept is taken for one."""
    X = frame()
    renamed = X.rename(columns={"z": "Intercept"})
    found = both(renamed, response(X), "x + (0 + Intercept | g)", rotates_bases=False)[0]
    assert_same(found, both(X, response(X), "x + (0 + z | g)", rotates_bases=False)[1])


def test_as_many_coefficients_as_observations():
    X = frame().iloc[:6]
    found, expected, _ = both(
        X, response(frame())[:6], "x + z + o + w + g + h + x:z + (1 | h)", sizes=(2, 4)
    )
    assert found.sums is None
    assert expected.sums is None
