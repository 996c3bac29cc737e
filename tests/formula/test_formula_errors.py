"""Messages: what is wrong, where, and what to do next."""

from __future__ import annotations

import pickle

import pytest

from skmixed.formula import FormulaError, parse_formula
from skmixed.formula.functions import FUNCTIONS


def error_of(text: str) -> FormulaError:
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    return caught.value


def test_whole_message() -> None:
    assert str(error_of("y ~ x + poly(z, 2)")) == (
        "'poly' is followed by '(' but is not a function of formulas\n"
        "    y ~ x + poly(z, 2)\n"
        "            ^\n"
        "Compute the column before and name it. The functions of a formula are "
        "log, log1p, exp, sqrt, abs, scale, center and C."
    )


# The text from the caret on, and a piece of the explanation.
POINTED = [
    ("y ~ I(x^2)", "I(x^2)", "not a function"),
    ("y ~ np.log(x)", "np.log(x)", "not a function"),
    ("y ~ x(1)", "x(1)", "not a function"),
    ("y ~ `log`(x)", "`log`(x)", "not a function"),
    ("y ~ log2(x)", "log2(x)", "not a function"),
    ("y ~ factor(x)", "factor(x)", "Write C(x)"),
    ("y ~ offset(x)", "offset(x)", "parameter offset"),
    ("y ~ log(x + 1)", "+ 1)", "takes the name of one column"),
    ("y ~ log(x, 2)", ", 2)", "takes the name of one column"),
    ("y ~ log()", ")", "takes the name of one column"),
    ("y ~ log(1)", "1)", "takes the name of one column"),
    ("y ~ log((x))", "(x))", "takes the name of one column"),
    ("y ~ log(x", "", "takes the name of one column"),
    ("y ~ C(a, Sum)", ", Sum)", "takes the name of one column"),
    ("y ~ log(C(x))", "log(C(x))", "cannot be combined"),
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
    ("y ~ (a - a):b", "a - a):b", "nothing is left"),
    ("y ~ x^2", "x^2", "does not raise a column to a power"),
    ("y ~ (a + b)^0", "0", "from 1 to 9"),
    ("y ~ (a + b)^10", "10", "from 1 to 9"),
    ("y ~ (a + b)^k", "k", "from 1 to 9"),
    ("y ~ (a + b)^-1", "-1", "from 1 to 9"),
    ("y ~ (a + b)^2^2", "^2", "comes where"),
    ("y ~ (a + b)**2", "**2", "Write (a + b)^2"),
    ("y ~ a %in% b", "%in% b", "Write a:b"),
    ("y ~ x[0]", "[0]", "indexing"),
    ("y ~ 'x'", "'x'", "quotes"),
    ('y ~ "x"', '"x"', "quotes"),
    ("y ~ {x}", "{x}", "braces"),
    ("y = x", "= x", "Write y ~ x"),
    ("y ~ x, z", ", z", "one column"),
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
    text = "y ~ " + " + ".join(f"x{i}" for i in range(200)) + " + poly(z) + " + "w" * 200
    shown, caret = str(error_of(text)).splitlines()[1:3]
    assert len(shown) < 100
    assert shown[caret.index("^") :].startswith("poly(z)")


def test_line_breaks_do_not_move_the_caret() -> None:
    shown, caret = str(error_of("y ~ x\n  + poly(z)")).splitlines()[1:3]
    assert shown[caret.index("^") :] == "poly(z)"


def test_wide_letters_do_not_move_the_caret() -> None:
    caret = str(error_of("年齢 ~ poly(z)")).splitlines()[2]
    # Two letters of two cells each, " ~ " and the indentation.
    assert caret.index("^") == 4 + 4 + 3


def test_control_characters_stay_out_of_the_message() -> None:
    message = str(error_of("y ~ `\x1b[31m` + poly(`\x07`) + \x1b"))
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
    error = error_of("y ~ poly(x)")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, ValueError)
    assert (str(copy), copy.formula, copy.position) == (str(error), error.formula, error.position)
