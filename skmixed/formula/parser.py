"""Tokens to syntax tree, by recursive descent: terms and how they are joined.

The binding of operators is R's, tightest first: ``^``, ``:``, ``*`` and ``/``, ``+`` and
``-``, the bars, ``~``. Nothing is looked up and nothing is called: a name is only a name.
"""

from __future__ import annotations

from dataclasses import replace

from skmixed.covariances import FORMULA_WORDS, STRUCTURES
from skmixed.formula.calls import CallParser
from skmixed.formula.cursor import BARS
from skmixed.formula.errors import quoted
from skmixed.formula.scanner import END, NAME, NUMBER, QUOTED, Token
from skmixed.formula.syntax import Bar, Chain, Constant, Formula, Node, Power, Sum

_EXPONENTS = tuple("123456789")
_POWERS = ("^", "**")


class Parser(CallParser):
    """Reads one formula; a fresh object for each text.

    Parameters
    ----------
    text : str
        The formula.

    Raises
    ------
    FormulaError
        If the text is no text, or too long.
    """

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
        if self._token.kind in BARS:
            node = self._bar(node)
        self._expect_end()
        return node

    # One method for each level of binding, loosest first.

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
        if self._token.kind not in _POWERS:
            return base
        self._advance()
        exponent = self._token
        if exponent.kind != NUMBER or exponent.text not in _EXPONENTS:
            raise self._error(
                exponent.position,
                "the exponent must be a whole number from 1 to 9",
                "Write (a + b)^2 for all two-way interactions, I(x^2) for the square of a column.",
            )
        self._advance()
        return Power(start, base, int(exponent.text))

    def _operand(self) -> Node:
        token = self._token
        if token.kind == NAME and token.text in FORMULA_WORDS and self._peek.kind == "(":
            return self._structured_bar()
        if token.kind in (NAME, QUOTED):
            return self._term()
        if token.kind == "(":
            return self._parenthesis()
        if token.kind == NUMBER:
            if token.text not in ("0", "1"):
                raise self._error(
                    token.position,
                    f"the number {quoted(token.text)} has no meaning in a formula; only 0 and 1 do",
                    "Write 1 for the intercept, 0 for none; put a column of that name in "
                    "backticks.",
                )
            self._advance()
            return Constant(token.position, token.text == "1")
        raise self._unexpected()

    def _parenthesis(self) -> Node:
        opening = self._advance()
        self._deepen(opening)
        if self._token.kind in BARS:
            raise self._error(
                self._token.position,
                "nothing stands before the bar",
                "Write (1 | g) for a random intercept.",
            )
        node = self._sum()
        if self._token.kind in BARS:
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

    def _bar(self, effects: Node) -> Bar:
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
        return Bar(
            bar.position,
            effects,
            group,
            structure="unstructured" if bar.kind == "|" else "diagonal",
        )

    def _structured_bar(self) -> Bar:
        """A bar term whose effects have a covariance of some structure, ``cs(1 + x | g)``."""
        word = self._advance()
        self._deepen(self._advance())
        effects = self._sum()
        if self._token.kind != "|":
            raise self._error(
                self._token.position,
                f"{word.text}() is a covariance of random effects and needs a bar term",
                f"Write {word.text}(1 + x | g), with one bar.",
            )
        bar = self._bar(effects)
        structure = FORMULA_WORDS[word.text]
        if self._token.kind == ",":
            structure = self._homogeneous(word, structure)
        self._close(word)
        return replace(bar, structure=structure)

    def _homogeneous(self, word: Token, structure: str) -> str:
        """Read ``, hom=TRUE``; the key of the structure that this means."""
        self._advance()
        wanted = ("hom", "=", ("TRUE", "T", "FALSE", "F"))
        homogeneous = STRUCTURES[structure].homogeneous
        read = [self._advance() for _ in wanted]
        is_other = [token.text not in text for token, text in zip(read, wanted, strict=True)]
        if homogeneous is None or any(is_other):
            raise self._error(
                read[0].position,
                f"{word.text}() takes no such argument",
                "Write cs(1 + x | g, hom=TRUE) for equal standard deviations of all effects.",
            )
        return homogeneous if read[2].text in ("TRUE", "T") else structure

    def _refuse_second_bar(self) -> None:
        if self._token.kind in BARS:
            raise self._error(
                self._token.position,
                "a bar term has one bar",
                "Write one term per group, as in (1 | a) + (1 | b).",
            )
