"""Formula text to tokens. Never fails: what is not understood becomes a stray token."""

from __future__ import annotations

import re
from dataclasses import dataclass

NAME = "name"
QUOTED = "quoted name"
NUMBER = "number"
TEXT = "text"
STRAY = "stray"
END = "end"

COMPARISONS = ("<=", ">=", "==", "!=", "<", ">")

# An operator's kind is its own text; the longer ones come first.
_OPERATORS = (
    "||", "|", "<=", ">=", "==", "!=", "**", "<", ">", "+", "-", "*", ":", "/", "^", "(", ")", "~",
    ",", "=",
)  # fmt: skip
_NUMBER = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)[eE][+-]?[0-9]+")

_STRAY_ADVICE = {
    "%": ("'%' is not an operator of formulas", "Write a:b for b within a, or a/b for a + a:b."),
    "[": ("indexing is not part of formulas", "Compute the column before and name it."),
    "]": ("indexing is not part of formulas", "Compute the column before and name it."),
    "{": ("braces are not part of formulas", "Compute the column before and name it."),
    "}": ("braces are not part of formulas", "Compute the column before and name it."),
    '"': ("this quote is never closed", "Put an unusual column name in backticks."),
    "'": ("this quote is never closed", "Put an unusual column name in backticks."),
    TEXT: (
        "text in quotes cannot stand here",
        'Put an unusual column name in backticks; a level is named in C(x, Treatment("a")).',
    ),
    ",": ("',' cannot stand here", "Join terms with '+'; arguments stand inside a function."),
    "=": ("'=' cannot stand here", "Write y ~ x for 'y depends on x'."),
    "$": ("'$' is not part of formulas", "Name the column alone."),
    "`": ("this backtick is never closed", "Close the name with a second backtick."),
    "``": ("the name in backticks is empty", "Put a column name between the backticks."),
    "\N{MINUS SIGN}": ("this is a typographic minus sign", "Write the plain '-'."),
}


@dataclass(frozen=True)
class Token:
    """One piece of a formula.

    Attributes
    ----------
    kind : str
        ``NAME``, ``QUOTED``, ``NUMBER``, ``TEXT``, ``STRAY``, ``END`` or the text of an operator.
    text : str
        The piece as a column name, as text without its quotes, or as written.
    position : int
        Index of its first character.
    """

    kind: str
    text: str
    position: int


def scan(text: str) -> tuple[Token, ...]:
    """Split a formula into tokens, the last of kind ``END``.

    Parameters
    ----------
    text : str
        The formula.

    Returns
    -------
    tuple of Token
        In order of writing, without white space.
    """
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        if text[position].isspace():
            position += 1
            continue
        token, position = _next_token(text, position)
        tokens.append(token)
    tokens.append(Token(END, "", len(text)))
    return tuple(tokens)


def stray_explanation(token: Token) -> tuple[str, str]:
    """What is wrong with a token that has no place among terms, and the next step."""
    if token.kind in COMPARISONS:
        return (
            f"{token.text!r} compares columns, which is allowed only inside I()",
            "Write I(x > 2) for a column of 0 and 1.",
        )
    fallback = (
        "this character is not part of formulas",
        "Put a column name that holds it in backticks, as in `a b`.",
    )
    return _STRAY_ADVICE.get(TEXT if token.kind == TEXT else token.text, fallback)


def _next_token(text: str, position: int) -> tuple[Token, int]:
    """The token that begins at `position`, and where it ends."""
    character = text[position]
    if character == "`":
        return _quoted_name(text, position)
    if _is_digit(text, position) or (character == "." and _is_digit(text, position + 1)):
        # 1e-3 is one number; all else that begins with a digit is one run
        if (scientific := _NUMBER.match(text, position)) is not None:
            return Token(NUMBER, scientific[0], position), scientific.end()
        return _run(NUMBER, text, position)
    if character == "." or character.isidentifier():
        return _run(NAME, text, position)
    if character in "\"'":
        stop = text.find(character, position + 1)
        if stop >= 0:
            return Token(TEXT, text[position + 1 : stop], position), stop + 1
    for operator in _OPERATORS:
        if text.startswith(operator, position):
            return Token(operator, operator, position), position + len(operator)
    return Token(STRAY, character, position), position + 1


def _is_digit(text: str, position: int) -> bool:
    return text[position : position + 1] in tuple("0123456789")


def _run(kind: str, text: str, position: int) -> tuple[Token, int]:
    """A run of letters of any script, digits, dots and underscores."""
    stop = position + 1
    while stop < len(text) and (text[stop] == "." or ("a" + text[stop]).isidentifier()):
        stop += 1
    return Token(kind, text[position:stop], position), stop


def _quoted_name(text: str, position: int) -> tuple[Token, int]:
    """A name in backticks; two backticks inside stand for one."""
    pieces: list[str] = []
    start = position + 1
    while (stop := text.find("`", start)) >= 0:
        pieces.append(text[start:stop])
        if not text.startswith("``", stop):
            name = "".join(pieces)
            if not name:
                return Token(STRAY, "``", position), stop + 1
            return Token(QUOTED, name, position), stop + 1
        pieces.append("`")
        start = stop + 2
    return Token(STRAY, "`", position), len(text)
