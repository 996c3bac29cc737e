"""Columns that formulas compute, against columns made by hand and R's values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from skmixed.design import DesignEncoder, Table, resolve_spec
from skmixed.design.polynomial import Polynomial

RNG = np.random.default_rng(3)
FRAME = pd.DataFrame(
    {
        "a": RNG.normal(size=40),
        "b": RNG.gamma(2.0, size=40),
        "n": RNG.integers(1, 5, size=40),
        "flag": RNG.random(40) < 0.5,
        "g": RNG.choice(["p", "q", "r"], 40),
        "f": RNG.choice(["u", "v", "w"], 40),
    }
)
A, B, N, FLAG = (FRAME[name].to_numpy() for name in ("a", "b", "n", "flag"))


def learn(formula: str, frame: pd.DataFrame = FRAME):
    table = Table.from_input(frame)
    return DesignEncoder.learn(resolve_spec(table, formula=formula), table)


def columns_of(formula: str) -> np.ndarray:
    return learn(f"0 + {formula}")[1].fixed


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("I((a - 12)^2)", (A - 12) ** 2),
        ("I(n > 2)", (N > 2).astype(float)),
        ("I(n >= 2)", (N >= 2).astype(float)),
        ("I(n == 2)", (N == 2).astype(float)),
        ("I(n != 2)", (N != 2).astype(float)),
        ("I((n < 3) * (a <= 0))", ((N < 3) & (A <= 0)).astype(float)),
        ("I(flag + 1)", FLAG + 1.0),
        ("I(a * b)", A * B),
        ("I(a/10)", A / 10),
        ("I(-a^2)", -(A**2)),
        ("I((-a)^2)", A**2),
        ("I(2^-a)", 2.0**-A),
        ("I(2^n^2)", 2.0 ** (N**2)),
        ("I(a - b - n)", A - B - N),
        ("I(a - (b - n))", A - (B - N)),
        ("I(b/n/2)", B / N / 2),
        ("log(b + 1)", np.log(B + 1)),
        ("sqrt(b/n)", np.sqrt(B / N)),
        ("exp(-a)", np.exp(-A)),
        ("sin(2*pi*a)", np.sin(2 * np.pi * A)),
        ("log10(b)", np.log10(B)),
        ("log2(b)", np.log2(B)),
        ("cos(a)", np.cos(A)),
        ("round(b)", np.round(B)),
        ("floor(b)", np.floor(B)),
        ("ceiling(b)", np.ceil(B)),
        ("sign(a)", np.sign(A)),
        ("pmax(a, 0)", np.maximum(A, 0.0)),
        ("pmin(a, b, 1)", np.minimum(np.minimum(A, B), 1.0)),
        ("I(scale(a)^2)", ((A - A.mean()) / A.std(ddof=1)) ** 2),
        ("center(a * b)", A * B - (A * B).mean()),
        ("ave(a, g)", FRAME.groupby("g")["a"].transform("mean").to_numpy()),
        ("I(a - ave(a, g))", A - FRAME.groupby("g")["a"].transform("mean").to_numpy()),
    ],
)
def test_one_column(formula: str, expected: np.ndarray) -> None:
    np.testing.assert_allclose(columns_of(formula)[:, 0], expected, rtol=1e-13, atol=1e-13)


def test_poly_has_the_values_of_r() -> None:
    # R: poly(1:10, 2)
    linear = [-0.49543369, -0.38533732, -0.27524094, -0.16514456, -0.05504819]
    square = [0.52223297, 0.17407766, -0.08703883, -0.26111648, -0.34815531]
    frame = pd.DataFrame({"x": np.arange(1.0, 11.0)})
    encoder, design = learn("0 + poly(x, 2)", frame)
    assert encoder.fixed.names == ("poly(x, 2)[1]", "poly(x, 2)[2]")
    np.testing.assert_allclose(design.fixed[:5], np.column_stack([linear, square]), atol=5e-9)
    np.testing.assert_allclose(design.fixed.T @ design.fixed, np.eye(2), atol=1e-12)
    # R: predict(poly(1:10, 2), 11) continues the same polynomials
    new = encoder.transform(Table.from_input(pd.DataFrame({"x": [11.0]}))).fixed
    np.testing.assert_allclose(new, [[0.60553007, 0.95742711]], atol=5e-9)


def test_poly_of_a_high_degree_is_orthonormal_and_spans_the_powers() -> None:
    x = np.linspace(1990.0, 2020.0, 61)
    found = np.column_stack(Polynomial.learn(x, 8, "poly").columns(x))
    np.testing.assert_allclose(found.T @ found, np.eye(8), atol=1e-10)
    powers = np.vander((x - x.mean()) / 15.0, 9)
    basis = np.column_stack([np.ones_like(x), found])
    rest = powers - basis @ np.linalg.lstsq(basis, powers, rcond=None)[0]
    assert np.abs(rest).max() < 1e-9


def test_raw_poly() -> None:
    np.testing.assert_allclose(
        columns_of("poly(a, 3, raw=TRUE)"), np.column_stack([A, A**2, A**3]), rtol=1e-13
    )


def test_poly_in_an_interaction_and_in_a_random_term() -> None:
    encoder, design = learn("0 + poly(a, 2):f + (poly(b, 2) | g)")
    assert encoder.fixed.names[:3] == (
        "poly(a, 2)[1]:f[u]",
        "poly(a, 2)[2]:f[u]",
        "poly(a, 2)[1]:f[v]",
    )
    basis = design.factors[0].basis
    assert basis is not None
    np.testing.assert_allclose(basis[:, 1:], columns_of("poly(b, 2)"), rtol=1e-13)
    assert encoder.learnt_functions == ("poly(a, 2)", "poly(b, 2)")


def test_poly_needs_enough_values() -> None:
    with pytest.raises(ValueError, match=r"'poly\(flag, 2\)' needs a column with more than 2"):
        learn("poly(flag, 2)")


def test_group_means_are_kept_for_new_data() -> None:
    encoder, _ = learn("0 + ave(a, g)")
    new = pd.DataFrame({"a": [100.0, 100.0, 100.0], "g": ["q", "new", None]})
    means = FRAME.groupby("g")["a"].mean()
    found = encoder.transform(Table.from_input(new)).fixed[:, 0]
    np.testing.assert_allclose(found, [means["q"], A.mean(), A.mean()], rtol=1e-13)


def test_group_means_of_a_missing_label_cannot_be_learnt() -> None:
    with pytest.raises(ValueError, match=r"column 'g': the first missing label is in row 4"):
        learn("ave(a, g)", FRAME.assign(g=FRAME["g"].where(FRAME.index != 4)))


def test_sum_contrasts_are_those_of_r() -> None:
    encoder, design = learn("C(f, Sum)")
    assert encoder.fixed.names == ("Intercept", "C(f)[S.u]", "C(f)[S.v]")
    # R: contr.sum(3)
    rows = {"u": [1.0, 1.0, 0.0], "v": [1.0, 0.0, 1.0], "w": [1.0, -1.0, -1.0]}
    np.testing.assert_array_equal(design.fixed, [rows[level] for level in FRAME["f"]])


def test_sum_contrasts_in_an_interaction() -> None:
    encoder, design = learn("C(f, Sum)*C(g, Sum)")
    parts = design.fixed
    assert encoder.fixed.names[5] == "C(f)[S.u]:C(g)[S.p]"
    np.testing.assert_array_equal(parts[:, 5], parts[:, 1] * parts[:, 3])


def test_without_an_intercept_all_levels_have_indicators() -> None:
    encoder, _ = learn("0 + C(f, Sum)")
    assert encoder.fixed.names == ("C(f)[u]", "C(f)[v]", "C(f)[w]")


@pytest.mark.parametrize("formula", ['C(f, Treatment("v"))', 'relevel(f, ref="v")'])
def test_reference_level(formula: str) -> None:
    encoder, design = learn(formula)
    assert encoder.fixed.names == ("Intercept", "C(f)[u]", "C(f)[w]")
    np.testing.assert_array_equal(design.fixed[:, 1], FRAME["f"] == "u")
    np.testing.assert_array_equal(design.fixed[:, 2], FRAME["f"] == "w")


@pytest.mark.parametrize("reference", ["2", '"2"', "2.0"])
def test_reference_level_that_is_a_number(reference: str) -> None:
    encoder, _ = learn(f"C(n, Treatment({reference}))")
    assert encoder.fixed.names == ("Intercept", "C(n)[1]", "C(n)[3]", "C(n)[4]")


def test_unknown_reference_level() -> None:
    with pytest.raises(ValueError, match=r"no level 'z' .* its levels are 'u', 'v', 'w'\."):
        learn('C(f, Treatment("z"))')


def test_offsets_of_terms_and_of_a_column_add_up() -> None:
    table = Table.from_input(FRAME)
    spec = resolve_spec(table, formula="a + offset(log(b)) + offset(2*n) + (1 | g)")
    encoder, design = DesignEncoder.learn(spec, table, offset="b")
    assert encoder.fixed.names == ("Intercept", "a")
    assert encoder.offset_label == "b + log(b) + 2 * n"
    np.testing.assert_allclose(design.offset, B + np.log(B) + 2 * N, rtol=1e-13)


def test_offset_of_labels() -> None:
    with pytest.raises(ValueError, match="column 'f' holds labels"):
        learn("a + offset(f)")


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("log(a - 100)", r"'log\(a - 100\)' is nan in row 0, where 'a' is "),
        ("I(a/(n - n))", r"'a/\(n - n\)' is -?inf in row 0, where 'a' is .*, 'n' is "),
        ("exp(1000*b)", r"'exp\(1000 \* b\)' is inf in row"),
        ("I(f + 1)", r"Column 'f' cannot be read as numbers"),
        ("I(a + h)", r"'h'"),
    ],
)
def test_what_cannot_be_computed_is_named(formula: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learn(formula)


def test_missing_values_are_named() -> None:
    with pytest.raises(ValueError, match=r"NaN in column 'a'.*first in row 2"):
        learn("I(a + b)", FRAME.assign(a=FRAME["a"].where(FRAME.index != 2)))


def test_parts_agree_where_nothing_is_learnt() -> None:
    first, second = Table.from_input(FRAME[:20]), Table.from_input(FRAME[20:])
    spec = resolve_spec(first, formula="I(a^2) + offset(log(b)) + (1 | g)")
    encoder, _ = DesignEncoder.learn(spec, first, complete=False)
    part, design = encoder.learn_part(second)
    encoder.merge(part)
    np.testing.assert_allclose(design.fixed[:, 1], A[20:] ** 2)
    other = resolve_spec(first, formula="I(a^2) + offset(log(b + 1)) + (1 | g)")
    with pytest.raises(ValueError, match="different models"):
        encoder.merge(DesignEncoder.learn(other, first, complete=False)[0])


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("C(k)", "single level 3,"),
        ("a + (1 | k)", r"single level \(3\)"),
        ("log(c)", "row 0 holds 1;"),
        ("log(d)", "row 0 holds '2020-01-01T"),
        ("C(n, Treatment(9))", r"no level 9\.0 .* its levels are 1, 2, 3, 4\."),
    ],
)
def test_values_in_messages_are_written_as_python_does(formula: str, message: str) -> None:
    frame = FRAME.assign(k=3, c=pd.Categorical(np.arange(40) % 3 + 1), d=pd.Timestamp("2020-01-01"))
    with pytest.raises(ValueError, match=message):
        learn(formula, frame)


def test_an_unknown_number_is_written_as_python_does() -> None:
    encoder, _ = learn("C(n)")
    with pytest.raises(ValueError, match="'n' holds 9 in row 0"):
        encoder.transform(Table.from_input(FRAME.assign(n=9)))
