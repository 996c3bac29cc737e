"""Arithmetic on columns, as it stands inside ``I()``, in functions and before ``~``.

It becomes a flat list of steps (`skmixed.spec.Step`). The binding of operators is R's, tightest
first: ``^``, the sign, ``*`` and ``/``, ``+`` and ``-``, comparisons.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite, pi

from skmixed.formula.cursor import BARS, Cursor
from skmixed.formula.errors import FormulaError, quoted
from skmixed.formula.function_names import (
    CATEGORICAL_MARKS,
    EXTREMES,
    FUNCTIONS,
    RESPONSES,
    SPECIAL,
    advice_for_call,
)
from skmixed.formula.scanner import COMPARISONS, END, NAME, NUMBER, QUOTED, TEXT, Token
from skmixed.spec import Step, Variable

MAX_DEGREE = 20

_NUMBER = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?L?")
_TRUTHS = {"TRUE": True, "T": True, "True": True, "FALSE": False, "F": False, "False": False}

Steps = list[Step]


class ArithmeticParser(Cursor):
    """Reads arithmetic and calls of the table; every method appends to a list of steps."""

    # One method for each level of binding, loosest first.

    def _arithmetic(self, steps: Steps) -> None:
        """Read one argument: a comparison, or anything that binds tighter."""
        self._added(steps)
        if self._token.kind in COMPARISONS:
            operator = self._advance().text
            if self._token.kind == TEXT:
                raise self._error(
                    self._token.position,
                    "columns are compared with numbers and columns, not with text",
                    'Write C(x) for a categorical column, and C(x, Treatment("a")) to name the '
                    "level that the others are compared with.",
                )
            self._added(steps)
            steps.append(Step(operator, 2))
        if self._token.kind in COMPARISONS:
            raise self._error(
                self._token.position,
                "comparisons cannot be chained",
                "Write I((x > 1) * (x < 3)) for both.",
            )

    def _added(self, steps: Steps) -> None:
        self._joined(steps, ("+", "-"), self._multiplied)

    def _multiplied(self, steps: Steps) -> None:
        self._joined(steps, ("*", "/"), self._signed)

    def _joined(
        self, steps: Steps, operators: tuple[str, ...], operand: Callable[[Steps], None]
    ) -> None:
        operand(steps)
        while self._token.kind in operators:
            operator = self._advance().text
            operand(steps)
            steps.append(Step(operator, 2))

    def _signed(self, steps: Steps) -> None:
        n_minus = 0
        while self._token.kind in ("+", "-"):
            n_minus += self._advance().kind == "-"
        self._raised(steps)
        steps.extend([Step("-", 1)] * n_minus)

    def _raised(self, steps: Steps) -> None:
        """Read ``a^b^c``, which is ``a^(b^c)``; an exponent may have a sign."""
        signs: list[int] = []
        self._atom(steps)
        while self._token.kind in ("^", "**"):
            self._advance()
            n_minus = 0
            while self._token.kind in ("+", "-"):
                n_minus += self._advance().kind == "-"
            self._atom(steps)
            signs.append(n_minus)
        # the sign binds looser than the powers to its right: a^-b^c is a^(-(b^c))
        for n_minus in reversed(signs):
            steps.extend([Step("-", 1)] * n_minus)
            steps.append(Step("^", 2))

    def _atom(self, steps: Steps) -> None:
        token = self._token
        if token.kind == "(":
            self._deepen(self._advance())
            self._arithmetic(steps)
            self._close(token)
        elif token.kind == NUMBER:
            steps.append(Step("number", value=self._number(self._advance())))
        elif token.kind == NAME and self._peek.kind == "(":
            self._call(steps)
        elif token.kind == NAME and token.text == "pi":
            self._advance()
            steps.append(Step("number", value=pi))
        elif token.kind in (NAME, QUOTED):
            steps.append(Step("column", value=self._column_name()))
        else:
            raise self._no_operand()

    # Calls.

    def _call(self, steps: Steps) -> None:
        """Read a function of the table with its arguments."""
        name = self._advance()
        known = (*FUNCTIONS, *SPECIAL)
        if name.text in CATEGORICAL_MARKS:
            raise self._error(
                name.position,
                f"{name.text}() marks a column and cannot be combined with functions or arithmetic",
                "Write C(x); compute any other category first and use the name of its column.",
            )
        if name.text in RESPONSES or name.text not in known:
            raise self._error(
                name.position,
                f"{quoted(name.text)} is followed by '(' but is not a function of formulas",
                advice_for_call(name.text),
            )
        self._deepen(self._advance())
        first = len(steps)
        self._arithmetic(steps)
        n_arguments = 1
        if name.text in EXTREMES:
            while self._token.kind == ",":
                self._advance()
                self._arithmetic(steps)
                n_arguments += 1
        value: str | float | None = None
        function = name.text
        if function == "ave":
            value = self._grouping_column(name)
        elif function == "poly":
            value, is_raw = self._degree_and_kind(name)
            function = "poly_raw" if is_raw else "poly"
        self._close(name)
        if not any(step.column is not None for step in steps[first:]):
            raise self._error(
                name.position, f"{name.text}() is given no column", f"Write {usage(name.text)}."
            )
        steps.append(Step(function, n_arguments, value))

    def _grouping_column(self, call: Token) -> str:
        """The second argument of ``ave``."""
        if self._token.kind == ",":
            self._advance()
            if self._token.kind in (NAME, QUOTED) and self._peek.kind == ")":
                return self._column_name()
        raise self._argument_error(call)

    def _degree_and_kind(self, call: Token) -> tuple[int, bool]:
        """The degree of ``poly``, and whether its powers are raw."""
        degree, is_raw = 1, False
        while self._token.kind == ",":
            self._advance()
            word = ""
            if self._token.kind == NAME and self._peek.kind == "=":
                word = self._advance().text
                self._advance()
            value = self._advance()
            if word in ("", "degree") and value.kind == NUMBER:
                number = self._number(value)
                degree = int(min(number, MAX_DEGREE + 1.0))
                if not 1 <= number <= MAX_DEGREE or degree != number:
                    raise self._error(
                        value.position,
                        f"the degree of a polynomial is a whole number from 1 to {MAX_DEGREE}",
                        "Write poly(x, 2).",
                    )
            elif word == "raw" and value.text in _TRUTHS:
                is_raw = _TRUTHS[value.text]
            else:
                self._index -= 1
                raise self._argument_error(call)
        return degree, is_raw

    # Pieces.

    def _close(self, opening: Token) -> None:
        """Pass the parenthesis that ends a call or a group."""
        if self._token.kind == ")":
            self._advance()
            self._depth -= 1
            return
        if self._token.kind == END:
            raise self._error(
                opening.position, "this parenthesis is never closed", "Add the missing ')'."
            )
        if self._token.kind in BARS:
            raise self._error(
                self._token.position,
                "a bar cannot stand inside arithmetic or a function",
                "Write random effects as (1 + x | g).",
            )
        if self._token.kind in (",", "=") and opening.kind == NAME:
            raise self._argument_error(opening)
        if self._token.kind in (":", "~"):
            raise self._no_operand()
        raise self._unexpected()

    def _number(self, token: Token) -> float:
        """The value of a number."""
        if _NUMBER.fullmatch(token.text) and isfinite(value := float(token.text.rstrip("L"))):
            return value
        raise self._error(
            token.position,
            f"{quoted(token.text)} is not a number",
            "Write for example 0.5 or 1e-3.",
        )

    def _column_name(self) -> str:
        token = self._token
        if token.kind == QUOTED:
            return self._advance().text
        if token.kind != NAME:
            raise self._unexpected()
        if not token.text.strip("."):
            raise self._error(
                token.position,
                f"{quoted(token.text)} does not stand for 'all columns' here",
                "Name the columns; put a column of that name in backticks.",
            )
        # Both are letters a name may hold; a reader would take them for Python all the same.
        if token.text == "lambda" or ".__" in token.text:
            raise self._error(
                token.position,
                f"{quoted(token.text)} looks like Python code, which formulas never run",
                "Compute the column first and use its name; put a column of that name in "
                "backticks.",
            )
        return self._advance().text

    def _no_operand(self) -> FormulaError:
        """The error where a column or a number should stand."""
        token = self._token
        if token.kind in (":", "~", *BARS):
            return self._error(
                token.position,
                f"{quoted(token.text)} cannot stand inside arithmetic or a function",
                "Compute with + - * / ^ and comparisons; interactions stand outside, as in "
                "log(a):b.",
            )
        return self._unexpected()

    def _argument_error(self, call: Token) -> FormulaError:
        return self._error(
            self._token.position,
            f"{call.text}() cannot have this argument",
            f"Write {usage(call.text)}.",
        )


def usage(name: str) -> str:
    """How a function is called."""
    if name in EXTREMES:
        return f"{name}(x, 0)"
    usages = {
        "I": "I(x^2)",
        "log": "log(x), log2(x) or log10(x)",
        "ave": "ave(x, g), with the name of one grouping column",
        "poly": "poly(x, 2) or poly(x, 2, raw=TRUE)",
        "offset": "offset(log(x))",
        "cbind": "cbind(successes, failures)",
        "relevel": 'relevel(x, ref="a")',
        "C": 'C(x), C(x, Treatment("a")) or C(x, Sum)',
    }
    return usages.get(name, f"{name}(x)")


def variable_of(steps: Steps) -> Variable:
    """The variable that steps compute, functions of one column in the plain form."""
    first = next(step.column for step in steps if step.column is not None)
    names = tuple(step.name for step in steps[1:])
    if steps[0].name == "column" and set(names) <= set(FUNCTIONS):
        return Variable(first, names)
    return Variable(first, steps=tuple(steps))
