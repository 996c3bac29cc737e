"""The one exception of the formula language, with a caret under the culprit."""

from __future__ import annotations

import unicodedata

# A formula may be 10,000 characters long; the message shows this many around the caret.
_SHOWN_BEFORE = 50
_SHOWN_AFTER = 30
_INDENT = "    "


class FormulaError(ValueError):
    """A formula that cannot be read.

    Parameters
    ----------
    message : str
        The whole text of the error.
    formula : str, default=""
        The formula as it was given.
    position : int, default=0
        Index of the character in `formula` at which reading stopped.

    Examples
    --------
    >>> from skmixed.formula import FormulaError, parse_formula
    >>> try:
    ...     parse_formula("y ~ bs(x)")
    ... except FormulaError as error:
    ...     print(error.position)
    4
    """

    # The last two have defaults so that the exception survives pickling, which rebuilds it
    # from the message alone and restores the attributes afterwards.
    def __init__(self, message: str, formula: str = "", position: int = 0) -> None:
        super().__init__(message)
        self.formula = formula
        self.position = position


def formula_error(formula: str, position: int, problem: str, advice: str) -> FormulaError:
    """Build the exception: what is wrong, the formula with a caret, the next step.

    Parameters
    ----------
    formula : str
        The whole formula.
    position : int
        Index of the character to point at; may be one past the end.
    problem, advice : str
        A clause that says what is wrong, and a sentence that says what to do.

    Returns
    -------
    FormulaError
        Ready to be raised.
    """
    start = max(0, position - _SHOWN_BEFORE)
    stop = min(len(formula), position + _SHOWN_AFTER)
    before, after = printable(formula[start:position]), printable(formula[position:stop])
    if start > 0:
        before = "..." + before
    if stop < len(formula):
        after += "..."
    caret = " " * _cells(before) + "^"
    message = f"{problem}\n{_INDENT}{before}{after}\n{_INDENT}{caret}\n{advice}"
    return FormulaError(message, formula, position)


def printable(text: str) -> str:
    """Replace what would break a line of output (or reach a terminal) one for one."""
    spaced = (" " if character.isspace() else character for character in text)
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}"
        for character in spaced
    )


def quoted(text: str) -> str:
    """A piece of the formula, safe and short enough to stand in a sentence."""
    return f"'{printable(text[:40])}{'...' if len(text) > 40 else ''}'"


def _cells(text: str) -> int:
    """Columns the text takes in a terminal; East Asian letters take two."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    combining = sum(unicodedata.combining(character) > 0 for character in text)
    return len(text) + wide - combining
