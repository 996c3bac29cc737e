"""Tokens to syntax tree, by recursive descent.

The binding of operators is R's, tightest first: ``^``, ``:``, ``*`` and ``/``, ``+`` and
``-``, the bars, ``~``. Nothing is looked up and nothing is called: a name is only a name.
"""

from __future__ import annotations

from skmixed.formula.errors import FormulaError, formula_error, quoted
from skmixed.formula.functions import CATEGORICAL_MARK, FUNCTIONS, advice_for_call
from skmixed.formula.scanner import END, NAME, NUMBER, QUOTED, STRAY, Token, scan, stray_explanation
from skmixed.formula.syntax import Bar, Chain, Column, Constant, Formula, Node, Power, Sum
from skmixed.spec import Variable

MAX_LENGTH = 10_000
MAX_DEPTH = 50

_EXPONENTS = tuple("123456789")
_BARS = ("|", "||")


class Parser:
    """Reads one formula; a fresh object for each text.

    Parameters
    ----------
    text : str
        The formula.

    Raises
    ------
    FormulaError
        When the text is no text, or too long.
    """

    def __init__(self, text: str) -> None:
        if not isinstance(text, str):
            raise FormulaError(
                f"a formula is text, but got {type(text).__name__}. "
                "Pass for example 'y ~ 1 + x + (1 | g)'."
            )
        self._text = text
        if len(text) > MAX_LENGTH:
            raise self._error(
                MAX_LENGTH,
                f"the formula has {len(text)} characters, more than the {MAX_LENGTH} allowed",
                "Pass the columns as X and the grouping columns in random_effects instead.",
            )
        self._tokens = scan(text)
        self._index = 0
        self._depth = 0

    def formula(self) -> Formula:
        """Read ``response ~ right``, ``~ right`` or ``right``."""
        response = None
        if any(token.kind == "~" for token in self._tokens):
            if self._token.kind != "~":
                response = self._response()
            self._advance()
        right = self._sum()
        self._expect_end()
        return Formula(response, right)

    def random_terms(self) -> Node:
        """Read bar terms joined by ``+``, or a single bar without its parentheses."""
        node = self._sum()
        if self._token.kind in _BARS:
            node = self._bar(node)
        self._expect_end()
        return node

    # One method for each level of binding, loosest first.

    def _response(self) -> Variable:
        start = self._token
        advice = "Name one column before '~', as in y ~ x or log(y) ~ x."
        if start.kind not in (NAME, QUOTED, STRAY):
            raise self._error(start.position, "the response must be one column", advice)
        variable = self._column().variable
        if variable.categorical:
            raise self._error(
                start.position,
                "the response cannot be marked C()",
                "Name the column alone; the classifier takes classes as they are.",
            )
        if self._token.kind == STRAY:
            raise self._unexpected()
        if self._token.kind != "~":
            raise self._error(self._token.position, "the response must be one column", advice)
        return variable

    def _sum(self) -> Node:
        start = self._token.position
        sign = self._advance().text if self._token.kind in ("+", "-") else "+"
        items = [(sign, self._product())]
        while self._token.kind in ("+", "-"):
            sign = self._advance().text
            # "x + -1" is common; any other sign after a sign is a slip.
            if sign == "+" and self._token.kind == "-" and self._peek.text in ("0", "1"):
                sign = self._advance().text
            items.append((sign, self._product()))
        if len(items) == 1 and items[0][0] == "+":
            return items[0][1]
        return Sum(start, tuple(items))

    def _product(self) -> Node:
        start = self._token.position
        first = self._interaction()
        rest = []
        while self._token.kind in ("*", "/"):
            operator = self._advance().text
            rest.append((operator, self._interaction()))
        return Chain(start, first, tuple(rest)) if rest else first

    def _interaction(self) -> Node:
        start = self._token.position
        first = self._power()
        rest = []
        while self._token.kind == ":":
            operator = self._advance().text
            rest.append((operator, self._power()))
        return Chain(start, first, tuple(rest)) if rest else first

    def _power(self) -> Node:
        start = self._token.position
        base = self._operand()
        if self._token.kind != "^":
            return base
        self._advance()
        exponent = self._token
        if exponent.kind != NUMBER or exponent.text not in _EXPONENTS:
            raise self._error(
                exponent.position,
                "the exponent must be a whole number from 1 to 9",
                "Write (a + b)^2 for all two-way interactions; compute powers of a column before.",
            )
        self._advance()
        return Power(start, base, int(exponent.text))

    def _operand(self) -> Node:
        token = self._token
        if token.kind in (NAME, QUOTED):
            return self._column()
        if token.kind == "(":
            return self._parenthesis()
        if token.kind == NUMBER:
            if token.text not in ("0", "1"):
                raise self._error(
                    token.position,
                    f"the number {quoted(token.text)} has no meaning in a formula; only 0 and 1 do",
                    "Write 1 for the intercept, 0 for none; put a column so named in backticks.",
                )
            self._advance()
            return Constant(token.position, token.text == "1")
        raise self._unexpected()

    def _parenthesis(self) -> Node:
        opening = self._advance()
        self._deepen(opening)
        if self._token.kind in _BARS:
            raise self._error(
                self._token.position,
                "nothing stands before the bar",
                "Write (1 | g) for a random intercept.",
            )
        node = self._sum()
        if self._token.kind in _BARS:
            node = self._bar(node)
        if self._token.kind == END:
            raise self._error(
                opening.position, "this parenthesis is never closed", "Add the missing ')'."
            )
        if self._token.kind != ")":
            raise self._unexpected()
        self._advance()
        self._depth -= 1
        return node

    def _bar(self, effects: Node) -> Node:
        bar = self._advance()
        self._refuse_second_bar()
        if self._token.kind in (")", END):
            raise self._error(
                self._token.position,
                "the grouping column after the bar is missing",
                "Write (1 | g) with the name of the grouping column for g.",
            )
        group = self._sum()
        self._refuse_second_bar()
        return Bar(bar.position, effects, group, correlated=bar.kind == "|")

    def _refuse_second_bar(self) -> None:
        if self._token.kind in _BARS:
            raise self._error(
                self._token.position,
                "a bar term has one bar",
                "Write one term for each group, as in (1 | a) + (1 | b).",
            )

    def _column(self) -> Column:
        """A name, or functions of the table around a name."""
        start = self._token
        calls: list[Token] = []
        while self._token.kind in (NAME, QUOTED) and self._peek.kind == "(":
            calls.append(self._function_name())
            self._deepen(self._advance())
        name = self._column_name(calls)
        for call in reversed(calls):
            if self._token.kind != ")":
                raise self._argument_error(call)
            self._advance()
            self._depth -= 1
        functions = tuple(call.text for call in reversed(calls))
        if CATEGORICAL_MARK not in functions:
            return Column(start.position, Variable(name, functions))
        if len(functions) > 1:
            raise self._error(
                start.position,
                "C() marks a column and cannot be combined with functions",
                "Write C(x); compute any other category before and name its column.",
            )
        return Column(start.position, Variable(name, categorical=True))

    def _function_name(self) -> Token:
        token = self._token
        if token.kind == QUOTED or token.text not in (*FUNCTIONS, CATEGORICAL_MARK):
            raise self._error(
                token.position,
                f"{quoted(token.text)} is followed by '(' but is not a function of formulas",
                advice_for_call(token.text),
            )
        return self._advance()

    def _column_name(self, calls: list[Token]) -> str:
        token = self._token
        if token.kind == QUOTED:
            return self._advance().text
        if token.kind != NAME:
            raise self._argument_error(calls[-1]) if calls else self._unexpected()
        if not token.text.strip("."):
            raise self._error(
                token.position,
                f"{quoted(token.text)} does not stand for 'all columns' here",
                "Name the columns; a column so named goes into backticks.",
            )
        # Both are letters a name may hold; a reader would take them for Python all the same.
        if token.text == "lambda" or ".__" in token.text:
            raise self._error(
                token.position,
                f"{quoted(token.text)} looks like Python code, which formulas never run",
                "Compute the column before and name it; a column so named goes into backticks.",
            )
        return self._advance().text

    # Moving along, and saying what is wrong.

    @property
    def _token(self) -> Token:
        return self._tokens[self._index]

    @property
    def _peek(self) -> Token:
        return self._tokens[min(self._index + 1, len(self._tokens) - 1)]

    def _advance(self) -> Token:
        token = self._token
        self._index = min(self._index + 1, len(self._tokens) - 1)
        return token

    def _deepen(self, opening: Token) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(
                opening.position,
                f"parentheses are nested more than {MAX_DEPTH} deep",
                "Write the terms as a plain sum.",
            )

    def _expect_end(self) -> None:
        if self._token.kind != END:
            raise self._unexpected()

    def _argument_error(self, call: Token) -> FormulaError:
        return self._error(
            self._token.position,
            f"{quoted(call.text)} takes the name of one column",
            f"Write {call.text}(x); compute anything else before and name its column.",
        )

    def _unexpected(self) -> FormulaError:
        """The error for a token that cannot stand where it stands."""
        token = self._token
        if token.kind == STRAY:
            return self._error(token.position, *stray_explanation(token))
        follows_operand = self._index > 0 and self._tokens[self._index - 1].kind in (
            NAME,
            QUOTED,
            NUMBER,
            ")",
        )
        if token.kind == END:
            problem = "the formula is empty" if self._index == 0 else "the formula stops too early"
            return self._error(token.position, problem, "Write for example y ~ 1 + x + (1 | g).")
        if token.kind in _BARS:
            problem = f"{quoted(token.text)} cannot stand outside parentheses"
            return self._error(token.position, problem, "Write bar terms as (1 + x | g).")
        if token.kind == "~":
            return self._error(
                token.position,
                "'~' cannot stand here",
                "Write it once, between the response and the terms: y ~ x.",
            )
        if token.kind == ")":
            problem = "')' comes where a column is expected"
            if follows_operand:
                problem = "this ')' closes nothing"
            return self._error(token.position, problem, "Check the parentheses.")
        if token.kind in (NAME, QUOTED, NUMBER, "(") and follows_operand:
            return self._error(
                token.position,
                "an operator is missing here",
                "Join terms with '+', ':' or '*'; put a name with blanks in backticks.",
            )
        return self._error(
            token.position,
            f"{quoted(token.text)} comes where a column is expected",
            "Put a column, 0, 1 or a parenthesis there.",
        )

    def _error(self, position: int, problem: str, advice: str) -> FormulaError:
        return formula_error(self._text, position, problem, advice)
