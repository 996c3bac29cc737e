"""Fixed effects: expansions worked out by hand and equal to R's `terms()`."""

from __future__ import annotations

import pytest

from skmixed.formula import FormulaError, parse_formula
from skmixed.formula.function_names import FUNCTIONS
from skmixed.spec import ModelSpec, TermList, Variable


def labels(terms: TermList) -> str:
    """Write a term list as one line: ``"1 a b a:b"``."""
    written = [":".join(variable.label for variable in term) for term in terms.terms]
    return " ".join([str(int(terms.intercept)), *written])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # The intercept is there unless it is removed; the last word counts.
        ("x", "1 x"),
        ("1", "1"),
        ("1 + x", "1 x"),
        ("0 + x", "0 x"),
        ("x + 0", "0 x"),
        ("x - 1", "0 x"),
        ("-1 + x", "0 x"),
        ("x + -1", "0 x"),
        ("x + -0", "1 x"),
        ("x - 0", "1 x"),
        ("0 + x + 1", "1 x"),
        ("1 + x + 0", "0 x"),
        ("+x", "1 x"),
        ("a + (b + 0)", "0 a b"),
        ("a - (b - 1) + 0 - (b - 1)", "1 a"),
        # Duplicates collapse, the first writing names the term.
        ("a + b + a", "1 a b"),
        ("a:b + b:a", "1 a:b"),
        ("b:a + a:b", "1 b:a"),
        ("a:a", "1 a"),
        ("b + a + a:b", "1 b a a:b"),
        # Sorted by degree, then by writing.
        ("a:b + c", "1 c a:b"),
        ("a:b:c + d:e + f", "1 f d:e a:b:c"),
        ("a*b", "1 a b a:b"),
        ("a*b + c", "1 a b c a:b"),
        ("a*b*c", "1 a b c a:b a:c b:c a:b:c"),
        ("(a + b)*c", "1 a b c a:c b:c"),
        ("a*(b + c)", "1 a b c a:b a:c"),
        ("a:(b + c)", "1 a:b a:c"),
        ("(a + b):(c + d)", "1 a:c a:d b:c b:d"),
        ("a + b:c*d", "1 a d b:c b:c:d"),
        # Nesting.
        ("a/b", "1 a a:b"),
        ("a/b/c", "1 a a:b a:b:c"),
        ("a/(b + c)", "1 a a:b a:c"),
        ("(a + b)/c", "1 a b a:b:c"),
        ("a/b*c", "1 a c a:b a:c a:b:c"),
        # Powers.
        ("(a + b)^2", "1 a b a:b"),
        ("(a + b + c)^2", "1 a b c a:b a:c b:c"),
        ("(a + b + c)^3", "1 a b c a:b a:c b:c a:b:c"),
        ("(a + b + c + d)^3", "1 a b c d a:b a:c a:d b:c b:d c:d a:b:c a:b:d a:c:d b:c:d"),
        ("(a + b + c)^9", "1 a b c a:b a:c b:c a:b:c"),
        ("(a + b)^1", "1 a b"),
        ("(a + b*c)^2", "1 a b c a:b a:c b:c a:b:c"),
        ("(a + b + c)^2 - a:b", "1 a b c a:c b:c"),
        # Removal; removing what is not there changes nothing, as in R.
        ("a*b - a:b", "1 a b"),
        ("a*b - b:a", "1 a b"),
        ("a*b*c - a:b:c", "1 a b c a:b a:c b:c"),
        ("a + b - (a + b)", "1"),
        ("a - b", "1 a"),
        ("a - a + a", "1 a"),
        # Binding: '^' before ':' before '*' and '/' before '+' and '-'.
        ("a + b:c", "1 a b:c"),
        ("a:(b + c)^2", "1 a:b a:c a:b:c"),
        # Variables.
        ("C(x)*z", "1 C(x) z C(x):z"),
        ("C(x) + x", "1 C(x) x"),
        ("log(x) + x", "1 log(x) x"),
        ("log(abs(x)):z", "1 log(abs(x)):z"),
        ("log + C + scale", "1 log C scale"),
        # Layout.
        ("~ x", "1 x"),
        ("  a\n  + b\t*c ", "1 a b c b:c"),
        ("a+b-1", "0 a b"),
    ],
)
def test_expansion_equals_r(text: str, expected: str) -> None:
    assert labels(parse_formula(text).fixed) == expected


def test_spec_of_a_whole_formula() -> None:
    assert parse_formula("y ~ 0 + log(abs(x)):C(f)") == ModelSpec(
        fixed=TermList(False, ((Variable("x", ("abs", "log")), Variable("f", categorical=True)),)),
        random=(),
        response=Variable("y"),
    )


@pytest.mark.parametrize("function", FUNCTIONS)
def test_every_function_of_the_table(function: str) -> None:
    spec = parse_formula(f"{function}(y) ~ {function}( x )")
    assert spec.response == Variable("y", (function,))
    assert spec.fixed.terms == ((Variable("x", (function,)),),)


@pytest.mark.parametrize(
    ("text", "response"),
    [
        ("y ~ x", Variable("y")),
        ("log(y) ~ x", Variable("y", ("log",))),
        ("log1p(abs(y)) ~ x", Variable("y", ("abs", "log1p"))),
        ("`my y` ~ x", Variable("my y")),
        ("log(`my y`) ~ x", Variable("my y", ("log",))),
        ("y.1 ~ x", Variable("y.1")),
        ("x", None),
        ("~ x", None),
        ("y ~ 1", Variable("y")),
    ],
)
def test_response(text: str, response: Variable | None) -> None:
    assert parse_formula(text).response == response


@pytest.mark.parametrize(
    "text",
    [
        "1 ~ x",
        "y z ~ x",
        "y:z ~ x",
        "C(y) ~ x",
        "y ~ x ~ z",
        "y ~ (x ~ z)",
        "(y ~ x)",
        "y ~ ~ x",
        "y ~",
        "~",
        "'y' ~ x",
    ],
)
def test_response_that_is_not_one_column(text: str) -> None:
    with pytest.raises(FormulaError):
        parse_formula(text)


@pytest.mark.parametrize("text", ["y ~ x + y", "y ~ x + (1 | y)", "log(y) ~ y", "y ~ (y | g)"])
def test_response_cannot_explain_itself(text: str) -> None:
    with pytest.raises(FormulaError, match="response 'y' also stands on the right"):
        parse_formula(text)


@pytest.mark.parametrize("text", ["0", "y ~ 0", "x - x - 1"])
def test_empty_model(text: str) -> None:
    with pytest.raises(FormulaError, match="nothing is left to estimate"):
        parse_formula(text)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("x.1", "x.1"),
        ("_x", "_x"),
        (".x", ".x"),
        ("x_1.y", "x_1.y"),
        ("größe", "größe"),
        ("年齢", "年齢"),
        ("नाम", "नाम"),
        ("__class__", "__class__"),
        ("__import__", "__import__"),
        ("class", "class"),
        ("`lambda`", "lambda"),
        ("`a b`", "a b"),
        ("`1|g`", "1|g"),
        ("`x)+(1`", "x)+(1"),
        ("`a``b`", "a`b"),
        ("```a```", "`a`"),
        ("`1`", "1"),
        ("`.`", "."),
        ("`log(x)`", "log(x)"),
        ("`a\nb`", "a\nb"),
        ("`' \" \\`", "' \" \\"),
        ("`f(__import__('os'))`", "f(__import__('os'))"),
    ],
)
def test_names(written: str, name: str) -> None:
    assert parse_formula(f"1 + {written}").fixed.terms == ((Variable(name),),)
    (term,) = parse_formula(f"(1 | {written})").random
    assert term.group == (name,)


def test_names_are_not_normalised() -> None:
    # Python would fold the ligature to "fi" and then miss the column.
    assert parse_formula("\N{LATIN SMALL LIGATURE FI}").fixed.terms == (
        (Variable("\N{LATIN SMALL LIGATURE FI}"),),
    )
