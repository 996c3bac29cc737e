"""Arithmetic, calls of several arguments, contrasts, offsets and responses, as they are read."""

from __future__ import annotations

import math
import traceback

import pytest

from skmixed.formula import FormulaError, parse_formula, parse_random_terms
from skmixed.spec import Contrast, Step, Variable, written


def variable(text: str) -> Variable:
    """The only term of a right side."""
    ((found,),) = parse_formula(text).fixed.terms
    return found


def column(name: str) -> Step:
    return Step("column", value=name)


def number(value: float) -> Step:
    return Step("number", value=value)


# What is written, and how R would write it.
LABELS = [
    ("I((age - 12)^2)", "I((age - 12)^2)"),
    ("I( ( ( age-12 ) )**2 )", "I((age - 12)^2)"),
    ("I(week>2)", "I(week > 2)"),
    ("I(x*z)", "I(x * z)"),
    ("I(Days/10)", "I(Days/10)"),
    ("I(-x^2)", "I(-x^2)"),
    ("I((-x)^2)", "I((-x)^2)"),
    ("I(2^-x)", "I(2^-x)"),
    ("I(a - b - c)", "I(a - b - c)"),
    ("I(a - (b - c))", "I(a - (b - c))"),
    ("I(a/b/c)", "I(a/b/c)"),
    ("I(a/(b/c))", "I(a/(b/c))"),
    ("I(a^b^c)", "I(a^b^c)"),
    ("I((a^b)^c)", "I((a^b)^c)"),
    ("I(- - a)", "I(--a)"),
    ("I(+a)", "I(a)"),
    ("I(1e-3*x + .5)", "I(0.001 * x + 0.5)"),
    ("I(x^2L)", "I(x^2)"),
    ("I((a > 1) * (b != 2))", "I((a > 1) * (b != 2))"),
    ("I((a > 1) == b)", "I((a > 1) == b)"),
    ("log(x + 1)", "log(x + 1)"),
    ("sqrt(a/b)", "sqrt(a/b)"),
    ("exp(-x)", "exp(-x)"),
    ("sin(2*pi*t)", "sin(2 * pi * t)"),
    ("I(`pi` + `a b` + `...`)", "I(`pi` + `a b` + `...`)"),
    ("pmax(x, 0, z)", "pmax(x, 0, z)"),
    ("pmin(x)", "pmin(x)"),
    ("ave(log(x), `my g`)", "ave(log(x), `my g`)"),
    ("poly(x, 2)", "poly(x, 2)"),
    ("poly(x)", "poly(x, 1)"),
    ("poly(log(x), degree=3, raw = TRUE)", "poly(log(x), 3, raw=TRUE)"),
    ("poly(x, 2, raw=FALSE)", "poly(x, 2)"),
    ("log10(scale(x))", "log10(scale(x))"),
    ("C(x)", "C(x)"),
    ("factor(x)", "C(x)"),
    ("as.factor(x)", "C(x)"),
    ("as.character(x)", "C(x)"),
    ("C(x, Treatment)", "C(x)"),
    ("C(x, Treatment('b'))", 'C(x, Treatment("b"))'),
    ('C(x, Treatment(reference="b"))', 'C(x, Treatment("b"))'),
    ("C(x, contr.treatment(base = 2))", "C(x, Treatment(2))"),
    ('relevel(x, ref = "b")', 'C(x, Treatment("b"))'),
    ("C(x, Sum)", "C(x, Sum)"),
    ("C(x, contr.sum)", "C(x, Sum)"),
]


@pytest.mark.parametrize(("text", "label"), LABELS)
def test_labels_are_read_again(text: str, label: str) -> None:
    assert variable(text).label == label
    assert variable(label) == variable(text)


def test_steps_are_in_the_order_of_computation() -> None:
    assert variable("I((a - 2)^b)").steps == (
        column("a"),
        number(2.0),
        Step("-", 2),
        column("b"),
        Step("^", 2),
        Step("I", 1),
    )
    assert variable("I(sin(2*pi*t))").steps[1] == number(math.pi)


def test_functions_of_one_column_keep_their_form() -> None:
    assert variable("log(abs(x))") == Variable("x", ("abs", "log"))
    assert variable("log((x))") == Variable("x", ("log",))


def test_columns_of_a_computation() -> None:
    assert variable("I(a + ave(b, g) * a)").columns == ("a", "b", "g")
    assert variable("I(a + b)").relabelled({"a": 0, "b": 1}.__getitem__).columns == (0, 1)


def test_contrasts() -> None:
    assert variable("C(x, Sum)").contrast == Contrast("sum")
    assert variable("C(x, Treatment(2))").contrast == Contrast("treatment", 2.0)


def test_offsets_add_up_and_count_once() -> None:
    spec = parse_formula("y ~ x + offset(log(t)) + (1 | g) + offset(2 * z) + offset(log(t))")
    assert [offset.label for offset in spec.offsets] == ["log(t)", "2 * z"]
    assert [term[0].label for term in spec.fixed.terms] == ["x"]


def test_terms_of_computations_are_crossed_like_columns() -> None:
    spec = parse_formula("I(x^2)*f + poly(z, 2):f")
    labels = [":".join(v.label for v in term) for term in spec.fixed.terms]
    assert labels == ["I(x^2)", "f", "I(x^2):f", "poly(z, 2):f"]


def test_double_star_is_the_power_of_terms() -> None:
    assert parse_formula("(a + b)**2") == parse_formula("(a + b)^2")


def test_random_terms() -> None:
    terms = parse_random_terms("(I(Days^2) | S) + (poly(age, 2) || id) + (1 | factor(g):h)")
    assert [term.group for term in terms] == [("S",), ("id",), ("g", "h")]
    assert [term.effects.terms[0][0].label for term in terms[:2]] == ["I(Days^2)", "poly(age, 2)"]
    with pytest.raises(FormulaError, match="cannot group rows"):
        parse_formula("y ~ (1 | I(a > 2))")


@pytest.mark.parametrize(
    ("text", "label", "columns"),
    [
        ("I(y/100) ~ x", "I(y/100)", ("y",)),
        ("y/n ~ x", "y/n", ("y", "n")),
        ("I(after - before) ~ before", "I(after - before)", ("after", "before")),
        ("cbind(k, n - k) ~ n", "cbind(k, n - k)", ("k", "n")),
        ("log(y + 1) ~ x", "log(y + 1)", ("y",)),
        ("(y) ~ x", "y", ("y",)),
        ("-y ~ x", "-y", ("y",)),
    ],
)
def test_responses(text: str, label: str, columns: tuple[str, ...]) -> None:
    response = parse_formula(text).response
    assert response is not None
    assert (response.label, response.columns) == (label, columns)


def test_a_response_of_one_column_does_not_explain_itself() -> None:
    with pytest.raises(FormulaError, match="also stands on the right"):
        parse_formula("I(y/100) ~ ave(y, g)")


def test_long_and_deep_arithmetic() -> None:
    long = variable(f"I({'+'.join(['x'] * 4000)})")
    assert len(long.steps) == 8000
    assert written(long.steps).count("x") == 4000
    signs = variable(f"I({'-' * 5000}x)")
    assert len(signs.steps) == 5002
    powers = variable(f"I({'^'.join(['x'] * 4000)})")
    assert powers.steps[-2:] == (Step("^", 2), Step("I", 1))
    with pytest.raises(FormulaError, match="nested more than 50"):
        parse_formula(f"{'log(' * 51}x{')' * 51}")


def test_errors_come_without_the_frames_of_the_parser() -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula("y ~ log(exp(sqrt((x +)))")
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert names[1:] == ["parse_formula"]
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
