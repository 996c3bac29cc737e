"""What a single term can be, and the left side of a formula: names and calls."""

from __future__ import annotations

from skmixed.formula.arithmetic import ArithmeticParser, Steps, usage, variable_of
from skmixed.formula.errors import quoted
from skmixed.formula.function_names import (
    CATEGORICAL_MARKS,
    CONTRASTS,
    FUNCTIONS,
    RESPONSES,
    SPECIAL,
    advice_for_call,
)
from skmixed.formula.scanner import NAME, NUMBER, QUOTED, STRAY, TEXT, Token
from skmixed.formula.syntax import Column, Offset
from skmixed.spec import Contrast, Step, Variable

_POLYNOMIALS = ("poly", "poly_raw")


class CallParser(ArithmeticParser):
    """Reads terms that are one column or one call, and responses."""

    def _term(self) -> Column | Offset:
        """A name, or a call."""
        start = self._token
        if self._peek.kind != "(":
            return Column(start.position, Variable(self._column_name()))
        if start.kind == QUOTED or start.text in RESPONSES or not _is_known(start.text):
            raise self._error(
                start.position,
                f"{quoted(start.text)} is followed by '(' but is not a function of formulas",
                advice_for_call("" if start.kind == QUOTED else start.text),
            )
        if start.text in CATEGORICAL_MARKS:
            return Column(start.position, self._category())
        if start.text == "offset":
            return Offset(start.position, self._offset())
        steps: Steps = []
        self._call(steps)
        self._refuse_polynomials(steps[:-1], start)
        return Column(start.position, variable_of(steps))

    def _offset(self) -> Variable:
        start = self._advance()
        steps: Steps = []
        self._deepen(self._advance())
        self._arithmetic(steps)
        self._close(start)
        self._refuse_polynomials(steps, start)
        self._refuse_constants(steps, start)
        return variable_of(steps)

    # Categories.

    def _category(self) -> Variable:
        """A call that marks a column as categorical, and says how it is coded."""
        mark = self._advance()
        self._deepen(self._advance())
        if self._token.kind in (NAME, QUOTED) and self._peek.kind == "(":
            raise self._error(
                mark.position,
                f"{mark.text}() marks a column and cannot be combined with functions or arithmetic",
                "Write C(x); compute any other category first and use the name of its column.",
            )
        if self._token.kind not in (NAME, QUOTED):
            raise self._argument_error(mark)
        column = self._column_name()
        contrast = None
        if mark.text == "relevel":
            contrast = self._reference_after(",", mark, ("ref",))
        elif mark.text == "C" and self._token.kind == ",":
            self._advance()
            contrast = self._contrast(mark)
        self._close(mark)
        return Variable(column, categorical=True, contrast=contrast)

    def _contrast(self, mark: Token) -> Contrast | None:
        """``Treatment``, ``Treatment("a")`` or ``Sum``; None for what every column has."""
        if self._token.kind == NAME and self._peek.kind == "=":
            if self._token.text not in ("contr", "contrasts"):
                raise self._argument_error(mark)
            self._advance()
            self._advance()
        word = self._token
        if word.kind != NAME or word.text not in CONTRASTS:
            raise self._error(
                word.position,
                f"{quoted(word.text)} is not a coding of categories",
                'Write C(x, Treatment("a")) with the reference level, or C(x, Sum).',
            )
        self._advance()
        kind = CONTRASTS[word.text]
        if kind == "sum" or self._token.kind != "(":
            return Contrast(kind) if kind == "sum" else None
        self._deepen(self._token)
        contrast = self._reference_after("(", word, ("reference", "base", "ref"))
        self._close(word)
        return contrast

    def _reference_after(self, opening: str, call: Token, words: tuple[str, ...]) -> Contrast:
        """A reference level, with or without the word for it."""
        if self._token.kind != opening:
            raise self._argument_error(call)
        self._advance()
        if self._token.kind == NAME and self._peek.kind == "=" and self._token.text in words:
            self._advance()
            self._advance()
        level = self._token
        if level.kind == STRAY:
            raise self._unexpected()
        if level.kind not in (TEXT, NUMBER):
            raise self._error(
                level.position,
                "the reference level must be text in quotes or a number",
                'Write for example C(x, Treatment("a")) or C(x, Treatment(2)).',
            )
        self._advance()
        return Contrast("treatment", level.text if level.kind == TEXT else self._number(level))

    # The left side.

    def _response(self) -> Variable:
        """What stands before ``~``: a column, arithmetic, or successes and failures."""
        start = self._token
        if start.kind == "~":
            raise self._unexpected()
        if start.kind == NAME and self._peek.kind == "(" and start.text in CATEGORICAL_MARKS:
            raise self._error(
                start.position,
                f"the response cannot be marked {start.text}()",
                "Name the column alone; the classifier takes classes as they are.",
            )
        steps: Steps = []
        if start.kind == NAME and start.text in RESPONSES and self._peek.kind == "(":
            self._cbind(steps)
        else:
            self._arithmetic(steps)
        if self._token.kind != "~":
            raise self._unexpected()
        self._refuse_polynomials(steps, start)
        self._refuse_constants(steps, start)
        return variable_of(steps)

    def _cbind(self, steps: Steps) -> None:
        name = self._advance()
        self._deepen(self._advance())
        self._arithmetic(steps)
        if self._token.kind != ",":
            raise self._argument_error(name)
        self._advance()
        self._arithmetic(steps)
        self._close(name)
        steps.append(Step("cbind", 2))

    # What arithmetic alone does not refuse.

    def _refuse_polynomials(self, steps: Steps, start: Token) -> None:
        if any(step.name in _POLYNOMIALS for step in steps):
            raise self._error(
                start.position,
                "poly() makes several columns and must be a term of its own",
                "Write y ~ poly(x, 2) + z.",
            )

    def _refuse_constants(self, steps: Steps, start: Token) -> None:
        if not any(step.column is not None for step in steps):
            raise self._error(
                start.position,
                "no column is named here",
                f"Write for example {usage(start.text)}."
                if start.text == "offset"
                else "Name one column before '~', as in y ~ x or log(y) ~ x.",
            )


def _is_known(name: str) -> bool:
    return name in (*FUNCTIONS, *SPECIAL, *CATEGORICAL_MARKS, "offset")
