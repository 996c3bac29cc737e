"""Where reading a formula stands, and what is wrong there."""

from __future__ import annotations

from skmixed.formula.errors import FormulaError, formula_error, quoted
from skmixed.formula.scanner import (
    COMPARISONS,
    END,
    NAME,
    NUMBER,
    QUOTED,
    STRAY,
    TEXT,
    Token,
    scan,
    stray_explanation,
)

MAX_LENGTH = 10_000
MAX_DEPTH = 50

BARS = ("|", "||")


class Cursor:
    """Moves along the tokens of one formula.

    Parameters
    ----------
    text : str
        The formula.

    Raises
    ------
    FormulaError
        If the text is no text, or too long.
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

    def _unexpected(self) -> FormulaError:
        """The error for a token that cannot stand where it stands."""
        token = self._token
        if token.kind in (STRAY, TEXT, ",", "=", *COMPARISONS):
            return self._error(token.position, *stray_explanation(token))
        follows_operand = self._index > 0 and self._tokens[self._index - 1].kind in (
            NAME,
            QUOTED,
            NUMBER,
            TEXT,
            ")",
        )
        if token.kind == END:
            problem = "the formula is empty" if self._index == 0 else "the formula stops too early"
            return self._error(token.position, problem, "Write for example y ~ 1 + x + (1 | g).")
        if token.kind in BARS:
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
