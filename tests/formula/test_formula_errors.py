"""Messages: what is wrong, where, and what to do next."""

from __future__ import annotations

import pickle

import pytest

from skmixed.formula import FormulaError, parse_formula
from skmixed.formula.function_names import FUNCTIONS


def error_of(text: str) -> FormulaError:
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    return caught.value


def test_whole_message() -> None:
    assert str(error_of("y ~ x + bs(z, 2)")) == (
        "'bs' is followed by '(' but is not a function of formulas\n"
        "    y ~ x + bs(z, 2)\n"
        "            ^\n"
        "Compute the column first and use its name. The functions of a formula are "
        "log, log1p, exp, sqrt, abs, scale, center, log10, log2, expm1, sin, cos, tan, tanh, "
        "round, floor, ceiling, sign, I, pmin, pmax, ave, poly, offset and C."
    )


# The text from the caret on, and a piece of the explanation.
POINTED = [
    ("y ~ I(f(x)^2)", "f(x)^2)", "not a function"),
    ("y ~ np.log(x)", "np.log(x)", "not a function"),
    ("y ~ x(1)", "x(1)", "not a function"),
    ("y ~ `log`(x)", "`log`(x)", "not a function"),
    ("y ~ log3(x)", "log3(x)", "not a function"),
    ("y ~ ordered(x)", "ordered(x)", "Write C(x)"),
    ("y ~ cbind(x, z)", "cbind(x, z)", "left side"),
    ("y ~ weights(x)", "weights(x)", "parameter precision_weights"),
    ("y ~ log(x + )", ")", "where a column is expected"),
    ("y ~ log(x + 1 z)", "z)", "operator is missing"),
    ("y ~ log(x, 2)", ", 2)", "cannot have this argument"),
    ("y ~ log()", ")", "where a column is expected"),
    ("y ~ log(1)", "log(1)", "is given no column"),
    ("y ~ log(x", "log(x", "never closed"),
    ("y ~ C(a, Helmert)", "Helmert)", "not a coding of categories"),
    ("y ~ C(a, Sum(b))", "(b))", "operator is missing"),
    ("y ~ C(a, Treatment(b))", "b))", "text in quotes or a number"),
    ("y ~ C(a, Treatment('b)", "'b)", "never closed"),
    ("y ~ C(a, Treatment('b'", "Treatment('b'", "never closed"),
    ("y ~ C()", ")", "cannot have this argument"),
    ("y ~ C(1)", "1)", "cannot have this argument"),
    ("y ~ factor(x, levels)", ", levels)", "cannot have this argument"),
    ("y ~ relevel(x)", ")", "cannot have this argument"),
    ("y ~ log(C(x))", "C(x))", "cannot be combined"),
    ("y ~ I(factor(x))", "factor(x))", "cannot be combined"),
    ("y ~ I(x:z)", ":z)", "cannot stand inside arithmetic"),
    ("y ~ I(x | z)", "| z)", "a bar cannot stand inside"),
    ("y ~ exp(0 + x | g)", "| g)", "a bar cannot stand inside"),
    ("y ~ I(x ~ z)", "~ z)", "cannot stand"),
    ("y ~ I(1 < x < 2)", "< 2)", "cannot be chained"),
    ("y ~ I(x == 'a')", "'a')", "not with text"),
    ("y ~ I(x + 2y)", "2y)", "is not a number"),
    ("y ~ I(x + 1e999)", "1e999)", "is not a number"),
    ("y ~ I(x", "I(x", "never closed"),
    ("y ~ I((x + 1)", "I((x + 1)", "never closed"),
    ("y ~ I(2)", "I(2)", "is given no column"),
    ("y ~ I()", ")", "where a column is expected"),
    ("y ~ I(poly(x, 2))", "I(poly(x, 2))", "a term of its own"),
    ("y ~ poly(x, 0)", "0)", "from 1 to 20"),
    ("y ~ poly(x, 1.5)", "1.5)", "from 1 to 20"),
    ("y ~ poly(x, 21)", "21)", "from 1 to 20"),
    ("y ~ poly(x, z)", "z)", "cannot have this argument"),
    ("y ~ ave(x)", ")", "cannot have this argument"),
    ("y ~ ave(x, 2)", "2)", "cannot have this argument"),
    ("y ~ ave(x, g + h)", "g + h)", "cannot have this argument"),
    ("y ~ offset(1)", "offset(1)", "no column"),
    ("y ~ offset(x):z", "offset(x):z", "part of an interaction"),
    ("y ~ z - offset(x)", "offset(x)", "be subtracted"),
    ("y ~ (offset(x) | g)", "offset(x) | g)", "vary between"),
    ("y ~ x > 2", "> 2", "only inside I()"),
    ("poly(y, 2) ~ x", "poly(y, 2) ~ x", "a term of its own"),
    ("cbind(a) ~ x", ") ~ x", "cannot have this argument"),
    ("cbind(a, b, c) ~ x", ", c) ~ x", "cannot have this argument"),
    ("I(cbind(a, b)) ~ x", "cbind(a, b)) ~ x", "not a function"),
    ("factor(y) ~ x", "factor(y) ~ x", "cannot be marked"),
    ("2 ~ x", "2 ~ x", "no column"),
    ("y ~ C(log(x))", "C(log(x))", "cannot be combined"),
    ("y ~ C(C(x))", "C(C(x))", "cannot be combined"),
    ("y ~ 2", "2", "only 0 and 1"),
    ("y ~ 1.5*x", "1.5*x", "only 0 and 1"),
    ("y ~ x + .5", ".5", "only 0 and 1"),
    ("y ~ 2x", "2x", "only 0 and 1"),
    ("y ~ 01", "01", "only 0 and 1"),
    ("y ~ x:1", "1", "cannot be part of an interaction"),
    ("y ~ (1 + x)*z", "1 + x)*z", "cannot be part of an interaction"),
    ("y ~ (0 + a + b)^2", "0 + a + b)^2", "cannot be part of an interaction"),
    ("y ~ (a - a):b", "a - a):b", "this operand is empty"),
    ("y ~ x^2", "x^2", "does not raise a column to a power"),
    ("y ~ (a + b)^0", "0", "from 1 to 9"),
    ("y ~ (a + b)^10", "10", "from 1 to 9"),
    ("y ~ (a + b)^k", "k", "from 1 to 9"),
    ("y ~ (a + b)^-1", "-1", "from 1 to 9"),
    ("y ~ (a + b)^2^2", "^2", "comes where"),
    ("y ~ Time**2", "Time**2", "Write I(Time^2)"),
    ("y ~ log(x)^3", "log(x)^3", "Write I(log(x)^3)"),
    ("y ~ I(x + 1)^2", "I(x + 1)^2", "Write I((x + 1)^2)"),
    ("y ~ (a:b)^2", "(a:b)^2", "Write I(x^2)"),
    ("y ~ (a + b)**k", "k", "from 1 to 9"),
    ("y ~ a %in% b", "%in% b", "Write a:b"),
    ("y ~ x[0]", "[0]", "indexing"),
    ("y ~ 'x'", "'x'", "quotes"),
    ('y ~ "x"', '"x"', "quotes"),
    ("y ~ {x}", "{x}", "braces"),
    ("y = x", "= x", "Write y ~ x"),
    ("y ~ x, z", ", z", "cannot stand here"),
    ("y ~ d$x", "$x", "Name the column alone"),
    ("y ~ x @ z", "@ z", "backticks"),
    ("y ~ x \N{MINUS SIGN} 1", "\N{MINUS SIGN} 1", "typographic minus"),
    ("y ~ .", ".", "Name the columns"),
    ("y ~ . - x", ". - x", "Name the columns"),
    ("y ~ ...", "...", "Name the columns"),
    ("y ~ lambda: x", "lambda: x", "Python code"),
    ("y ~ x.__class__", "x.__class__", "Python code"),
    ("y ~ (x).real", ".real", "operator is missing"),
    ("y ~ a b", "b", "operator is missing"),
    ("y ~ a (b)", "a (b)", "not a function"),
    ("y ~ (a) (b)", "(b)", "operator is missing"),
    ("y ~ a `b`", "`b`", "operator is missing"),
    ("y ~ a + + b", "+ b", "comes where a column is expected"),
    ("y ~ a - - b", "- b", "comes where a column is expected"),
    ("y ~ a + -b", "-b", "comes where a column is expected"),
    ("y ~ a * / b", "/ b", "comes where a column is expected"),
    ("y ~ a:-b", "-b", "comes where a column is expected"),
    ("y ~ *a", "*a", "comes where a column is expected"),
    ("y ~ a +", "", "stops too early"),
    ("y ~ (a", "(a", "never closed"),
    ("y ~ a)", ")", "closes nothing"),
    ("y ~ ()", ")", "expected"),
    ("y ~ `a", "`a", "never closed"),
    ("y ~ ``", "``", "empty"),
    ("", "", "empty"),
    (" \n", "", "empty"),
]


@pytest.mark.parametrize(("text", "culprit", "problem"), POINTED)
def test_caret_points_at_the_culprit(text: str, culprit: str, problem: str) -> None:
    error = error_of(text)
    assert text[error.position :] == culprit
    assert error.formula == text
    assert problem in str(error)
    *_, shown, caret, advice = str(error).splitlines()
    assert caret.index("^") == shown.index(text.strip()[:1]) + error.position if text.strip() else 4
    assert advice.endswith(".")


def test_unknown_function_lists_the_known_ones() -> None:
    message = str(error_of("bs(x)"))
    assert all(function in message for function in FUNCTIONS)


def test_long_formula_is_shown_around_the_caret() -> None:
    text = "y ~ " + " + ".join(f"x{i}" for i in range(200)) + " + bs(z) + " + "w" * 200
    shown, caret = str(error_of(text)).splitlines()[1:3]
    assert len(shown) < 100
    assert shown[caret.index("^") :].startswith("bs(z)")


def test_line_breaks_do_not_move_the_caret() -> None:
    shown, caret = str(error_of("y ~ x\n  + bs(z)")).splitlines()[1:3]
    assert shown[caret.index("^") :] == "bs(z)"


def test_wide_letters_do_not_move_the_caret() -> None:
    caret = str(error_of("年齢 ~ bs(z)")).splitlines()[2]
    # Two letters of two cells each, " ~ " and the indentation.
    assert caret.index("^") == 4 + 4 + 3


def test_control_characters_stay_out_of_the_message() -> None:
    message = str(error_of("y ~ `\x1b[31m` + bs(`\x07`) + \x1b"))
    assert message.replace("\n", "").isprintable()


def test_lone_surrogates_can_be_printed() -> None:
    str(error_of("y ~ \ud800 + x")).encode()
    str(error_of("y ~ x + (`\ud800` | `\ud800`)")).encode()


@pytest.mark.parametrize("value", [None, 3, b"y ~ x", ["y ~ x"]])
def test_not_text(value: object) -> None:
    with pytest.raises(FormulaError, match=f"got {type(value).__name__}"):
        parse_formula(value)  # type: ignore[arg-type]


def test_is_a_value_error_and_survives_pickling() -> None:
    # Worker processes of joblib hand exceptions back by pickling.
    error = error_of("y ~ bs(x)")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, ValueError)
    assert (str(copy), copy.formula, copy.position) == (str(error), error.formula, error.position)
