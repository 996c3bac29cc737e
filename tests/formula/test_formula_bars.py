"""Bar terms: effects, groups, and what cannot be identified."""

from __future__ import annotations

import pytest

from skmixed.formula import FormulaError, parse_formula, parse_random_terms
from skmixed.spec import RandomTerm, TermList, Variable


def written(terms: tuple[RandomTerm, ...]) -> str:
    """Write random terms out in full: ``"(1 + x | g) (1 | a:b)"``."""
    pieces = []
    for term in terms:
        effects = [str(int(term.effects.intercept))]
        effects += [":".join(v.label for v in effect) for effect in term.effects.terms]
        bar = "||" if term.structure == "diagonal" else "|"
        pieces.append(f"({' + '.join(effects)} {bar} {term.group_label})")
    return " ".join(pieces)


BARS = [
    ("(1 | g)", "(1 | g)"),
    ("(x | g)", "(1 + x | g)"),
    ("(1 + x | g)", "(1 + x | g)"),
    ("(0 + x | g)", "(0 + x | g)"),
    ("(-1 + x|g)", "(0 + x | g)"),
    ("(x - 1 | g)", "(0 + x | g)"),
    ("(x || g)", "(1 + x || g)"),
    ("(0 + x + z || g)", "(0 + x + z || g)"),
    ("((1 + x) | g)", "(1 + x | g)"),
    ("((1 | g))", "(1 | g)"),
    # Slopes may be anything the fixed part knows.
    ("(1 + f:x | g)", "(1 + f:x | g)"),
    ("(C(f) | g)", "(1 + C(f) | g)"),
    ("(0 + C(f) | g)", "(0 + C(f) | g)"),
    ("(a*b | g)", "(1 + a + b + a:b | g)"),
    ("(a:b + c | g)", "(1 + c + a:b | g)"),
    ("((a + b)^2 || g)", "(1 + a + b + a:b || g)"),
    ("(log(abs(x)) | g)", "(1 + log(abs(x)) | g)"),
    # Groups.
    ("(1 | a:b)", "(1 | a:b)"),
    ("(1 | b:a)", "(1 | b:a)"),
    ("(1 | (a:b))", "(1 | a:b)"),
    ("(1 | a:b:c)", "(1 | a:b:c)"),
    ("(1 | a:a)", "(1 | a)"),
    ("(1 | a/b)", "(1 | a) (1 | a:b)"),
    ("(x || a/b)", "(1 + x || a) (1 + x || a:b)"),
    ("(1 | a/b/c)", "(1 | a) (1 | a:b) (1 | a:b:c)"),
    ("(1 | a/(b:c))", "(1 | a) (1 | a:b:c)"),
    ("(1 | a*b)", "(1 | a) (1 | b) (1 | a:b)"),
    ("(1 | C(g))", "(1 | g)"),
    ("(0 + c || g:c)", "(0 + c || g:c)"),
    ("(x:c | g/c)", "(1 + x:c | g) (1 + x:c | g:c)"),
    ("(1 | C(a):b)", "(1 | a:b)"),
    ("(1 | C(a)/C(b))", "(1 | a) (1 | a:b)"),
    # More than one.
    ("(1 | b) + (1 | a)", "(1 | b) (1 | a)"),
    ("(1 | g) + (0 + x | g)", "(1 | g) (0 + x | g)"),
    ("(1 | g) + (0 + x | g) + (0 + z | g)", "(1 | g) (0 + x | g) (0 + z | g)"),
    ("((1 | a) + (1 | b))", "(1 | a) (1 | b)"),
    ("(1 | a) + (1 | a:b)", "(1 | a) (1 | a:b)"),
]


@pytest.mark.parametrize(("text", "expected"), BARS)
def test_bar_terms(text: str, expected: str) -> None:
    assert written(parse_random_terms(text)) == expected
    spec = parse_formula(f"y ~ {text}")
    assert written(spec.random) == expected
    assert spec.fixed == TermList(True)


def test_bars_among_fixed_effects() -> None:
    spec = parse_formula("y ~ 0 + (1 | a) + x + (0 + x | b) + a")
    assert spec.fixed == TermList(False, ((Variable("x"),), (Variable("a"),)))
    assert written(spec.random) == "(1 | a) (0 + x | b)"


def test_intercept_of_a_bar_is_its_own() -> None:
    spec = parse_formula("1 + (0 + x | g)")
    assert spec.fixed.intercept
    assert not spec.random[0].effects.intercept


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 | a", "(1 | a)"),
        ("1 + days | subject", "(1 + days | subject)"),
        ("days || subject", "(1 + days || subject)"),
        ("1 | a/b", "(1 | a) (1 | a:b)"),
        ("0 + x | `a b`", "(0 + x | a b)"),
    ],
)
def test_single_bar_without_parentheses(text: str, expected: str) -> None:
    assert written(parse_random_terms(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "g",
        "1",
        "a + b",
        "(1 | a) + x",
        "1 + (1 | a)",
        "(1 | a) - 1",
        "~ (1 | a)",
        "y ~ (1 | a)",
    ],
)
def test_random_terms_are_bars_and_nothing_else(text: str) -> None:
    with pytest.raises(FormulaError):
        parse_random_terms(text)


REFUSED = [
    # No parentheses, or none that close.
    ("y ~ 1 | g", "cannot stand outside parentheses"),
    ("y ~ x + 1 || g", "cannot stand outside parentheses"),
    ("y ~ (1 | g", "never closed"),
    # A side is missing.
    ("y ~ ( | g)", "nothing stands before the bar"),
    ("y ~ (1 | )", "grouping column after the bar is missing"),
    ("y ~ (1 |", "grouping column after the bar is missing"),
    # Bars within bars, or combined with anything but '+'.
    ("y ~ (1 | a | b)", "one bar"),
    ("y ~ (1 ||| b)", "one bar"),
    ("y ~ (1 | | b)", "one bar"),
    ("y ~ ((1 | a) | b)", "cannot stand inside another"),
    ("y ~ (x + (1 | a) | b)", "cannot stand inside another"),
    ("y ~ (1 | (1 | g))", "must name grouping columns"),
    ("y ~ x*(1 | g)", "can only be added"),
    ("y ~ x:(1 | g)", "can only be added"),
    ("y ~ (1 | g)/x", "can only be added"),
    ("y ~ (x + (1 | g))^2", "can only be added"),
    ("y ~ x - (1 | g)", "cannot be subtracted"),
    ("y ~ x - (z + (1 | g))", "cannot be subtracted"),
    # Nothing varies.
    ("y ~ (0 | g)", "this bar term has no effects"),
    ("y ~ (-1 | g)", "this bar term has no effects"),
    ("y ~ (x - x - 1 | g)", "this bar term has no effects"),
    # Groups that are no groups.
    ("y ~ (1 | 1)", "must name grouping columns"),
    ("y ~ (1 | 0)", "must name grouping columns"),
    ("y ~ (1 | (a:b)^2)", "must name grouping columns"),
    ("y ~ (1 | a + b)", "cannot be added"),
    ("y ~ (1 | a:(b + c))", "cannot be added"),
    ("y ~ (1 | -a)", "cannot be added"),
    ("y ~ (1 | log(g))", "cannot group rows"),
    ("y ~ (1 | a:scale(g))", "cannot group rows"),
    # Effects that never vary within the group.
    ("y ~ (x | x)", "column 'x' is both an effect and a group"),
    ("y ~ (0 + x | x)", "column 'x' is both"),
    ("y ~ (log(x) | x)", "column 'x' is both"),
    ("y ~ (C(x) | x)", "column 'x' is both"),
    ("y ~ (z:x | x)", "column 'x' is both"),
    ("y ~ (g + x | x:g)", "column 'x' is both"),
    ("y ~ (a | a/b)", "column 'a' is both"),
    # The same bar twice.
    ("y ~ (1 | g) + (1 | g)", "'(1 | g)' occurs twice"),
    ("y ~ (1 | g) + (1 || g)", "'(1 || g)' occurs twice"),
    ("y ~ (x | g) + (1 + x | g)", "'(1 + x | g)' occurs twice"),
    ("y ~ (x:z | g) + (z:x | g)", "occurs twice"),
    ("y ~ (1 | a:b) + (1 | b:a)", "occurs twice"),
    ("y ~ (1 | a) + (1 | a/b)", "'(1 | a)' occurs twice"),
    ("y ~ (1 | g) + (1 | C(g))", "occurs twice"),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_refused_bars(text: str, problem: str) -> None:
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    assert problem in str(caught.value)
