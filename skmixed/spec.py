"""What a model is asked to be: frozen descriptions, free of data.

A formula, a list of column names and a list of `RandomEffect` objects all end
up as one `ModelSpec`; everything after this point reads only that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import pi
from typing import Any

from skmixed.covariances import STRUCTURES

ColumnKey = str | int


@dataclass(frozen=True)
class Step:
    """One step of a computation, whose columns lie on a stack.

    A computation is a flat list of steps: it cannot nest deeper than a stored file, or a
    stack of calls, can hold.

    Attributes
    ----------
    name : str
        ``"column"`` and ``"number"`` lay something on the stack; an operator or a function
        takes what lies on top, and lays down its result.
    n_arguments : int
        How many columns of the stack it takes.
    value : str, int, float or None
        The column; the number; of ``ave`` the grouping column; of ``poly`` the degree.
    """

    name: str
    n_arguments: int = 0
    value: ColumnKey | float | None = None

    @property
    def column(self) -> ColumnKey | None:
        """The column that the step reads."""
        if self.name in ("column", "ave") and isinstance(self.value, (str, int)):
            return self.value
        return None


@dataclass(frozen=True)
class Contrast:
    """How a categorical column is coded where not every level has an indicator.

    Attributes
    ----------
    kind : {"treatment", "sum"}
        Differences from a reference level, or from the mean of the levels.
    reference : str, float or None
        The reference level as it is written, or its number; None is the first level.
    """

    kind: str
    reference: str | float | None = None

    @property
    def label(self) -> str:
        """How it is written inside ``C()``."""
        if self.kind == "sum":
            return "Sum"
        if isinstance(self.reference, str):
            return f'Treatment("{self.reference}")'
        return "Treatment" if self.reference is None else f"Treatment({self.reference:.15g})"


@dataclass(frozen=True)
class Variable:
    """What a model computes of columns: one of them, or functions and arithmetic.

    Attributes
    ----------
    name : str or int
        The column, by label or (for unnamed arrays) by position; of a computation the first.
    functions : tuple of str
        Function names, innermost first: ``log(abs(x))`` is ``("abs", "log")``.
    categorical : bool
        True where the formula wrote ``C(x)``.
    contrast : Contrast or None
        How ``C(x, ...)`` codes the levels; None is by differences from the first.
    steps : tuple of Step
        A computation that is more than functions of one column, ``I(a - b)``.
    """

    name: ColumnKey
    functions: tuple[str, ...] = ()
    categorical: bool = False
    contrast: Contrast | None = None
    steps: tuple[Step, ...] = ()

    @property
    def label(self) -> str:
        """How the variable is written, and a term that it is."""
        if self.steps:
            return written(self.steps)
        text = str(self.name)
        if self.categorical:
            text = f"C({text}, {self.contrast.label})" if self.contrast else f"C({text})"
        for function in self.functions:
            text = f"{function}({text})"
        return text

    @property
    def stem(self) -> str:
        """What the names of its coefficients begin with."""
        return f"C({self.name})" if self.categorical else self.label

    @property
    def columns(self) -> tuple[ColumnKey, ...]:
        """All columns that it is computed from, in order of writing."""
        found = [step.column for step in self.steps if step.column is not None]
        return tuple(dict.fromkeys(found)) if self.steps else (self.name,)

    def relabelled(self, label: Callable[[ColumnKey], ColumnKey]) -> Variable:
        """The same of columns under other labels."""
        steps = tuple(
            step if step.column is None else replace(step, value=label(step.column))
            for step in self.steps
        )
        return replace(self, name=label(self.name), steps=steps)


_COMPARISONS = ("<", ">", "<=", ">=", "==", "!=")
_BINDING = dict.fromkeys(_COMPARISONS, 1) | {"+": 2, "-": 2, "*": 3, "/": 3, "^": 5}
_SIGN, _WHOLE = 4, 6
_LIKE_A_NUMBER = re.compile(r"\.[0-9]")


def written(steps: tuple[Step, ...]) -> str:
    """A computation in R's notation, with the parentheses that it needs.

    Parameters
    ----------
    steps : tuple of Step
        Its steps, or the first of them.

    Returns
    -------
    str
        What lies on top of the stack in the end.

    Examples
    --------
    >>> from skmixed.spec import Step, written
    >>> x, one = Step("column", value="x"), Step("number", value=1.0)
    >>> written((x, one, Step("+", 2), x, Step("*", 2)))
    '(x + 1) * x'
    """
    stack: list[tuple[str, int]] = []
    for step in steps:
        if step.name in ("column", "number"):
            text = _number(step.value) if step.name == "number" else _name(step.value)
            stack.append((text, _WHOLE))
            continue
        taken = [stack.pop() for _ in range(step.n_arguments)][::-1]
        stack.append(_joined(step, taken))
    return stack[-1][0]


def _joined(step: Step, taken: list[tuple[str, int]]) -> tuple[str, int]:
    """Text of one operator or call, and how tightly it binds."""
    if step.name == "-" and step.n_arguments == 1:
        return f"-{_within(taken[0], _SIGN)}", _SIGN
    if step.name in _BINDING:
        own = _BINDING[step.name]
        # a sum or product is read from the left, a power from the right
        left = _within(taken[0], own + (step.name == "^" or own == 1))
        right = _within(taken[1], _SIGN if step.name == "^" else own + 1)
        blank = "" if step.name in ("/", "^") else " "
        return f"{left}{blank}{step.name}{blank}{right}", own
    arguments = [text for text, _ in taken]
    if step.value is not None:
        arguments.append(_name(step.value) if step.name == "ave" else str(step.value))
    if step.name == "poly_raw":
        arguments.append("raw=TRUE")
    return f"{step.name.removesuffix('_raw')}({', '.join(arguments)})", _WHOLE


def _number(value: Any) -> str:
    return "pi" if value == pi else f"{value:.15g}"


def _name(column: ColumnKey | float | None) -> str:
    """A column, in backticks where its name alone would be read as something else."""
    text = str(column)
    is_word = text.replace(".", "_").isidentifier() and not _LIKE_A_NUMBER.match(text)
    if is_word and text.strip(".") and ".__" not in text and text not in ("lambda", "pi"):
        return text
    return f"`{text.replace('`', '``')}`"


def _within(operand: tuple[str, int], binding: int) -> str:
    text, own = operand
    return f"({text})" if own < binding else text


Term = tuple[Variable, ...]
"""An interaction of variables; one variable is a main effect."""


@dataclass(frozen=True)
class TermList:
    """A linear part: an optional intercept and terms in order of writing.

    Attributes
    ----------
    intercept : bool
        Whether there is an intercept.
    terms : tuple of Term
        The terms.
    intercept_written : bool
        Whether a formula wrote the intercept, ``1 +``, rather than leaving it in.
    """

    intercept: bool
    terms: tuple[Term, ...] = ()
    intercept_written: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class RandomTerm:
    """One bar term ``(effects | group)``.

    Attributes
    ----------
    effects : TermList
        What varies between the levels of the group.
    group : tuple of str or int
        The grouping columns; more than one is their interaction ``a:b``.
    structure : str
        Key of `skmixed.covariances.STRUCTURES`: ``"unstructured"`` for ``|``,
        ``"diagonal"`` for ``||``.
    """

    effects: TermList
    group: tuple[ColumnKey, ...]
    structure: str = "unstructured"

    @property
    def group_label(self) -> str:
        """The key of the group in fitted attributes: ``"a"`` or ``"a:b"``."""
        return ":".join(str(column) for column in self.group)


@dataclass(frozen=True)
class ModelSpec:
    """The whole right-hand side of a model, and the response if it was named.

    Attributes
    ----------
    fixed : TermList
        Fixed effects.
    random : tuple of RandomTerm
        Random effects in order of writing; a grouping factor may occur often.
    response : Variable or None
        The left-hand side of the formula, when there was one.
    offsets : tuple of Variable
        Added to the linear predictor with coefficient 1.
    is_trials : bool
        Whether the response is successes out of trials, and y their numbers.
    """

    fixed: TermList
    random: tuple[RandomTerm, ...] = ()
    response: Variable | None = None
    offsets: tuple[Variable, ...] = ()
    is_trials: bool = False


@dataclass(frozen=True)
class RandomEffect:
    """A random effect, described without a formula.

    Parameters
    ----------
    group : str, int or tuple of these
        The column that groups the rows. A tuple of columns groups by their
        combinations, as ``a:b`` does in a formula.
    slopes : str, int or sequence of these, default=()
        Columns whose coefficient varies between groups. A categorical column has treatment
        contrasts.
    intercept : bool, default=True
        Whether there is a random intercept.
    covariance : {"unstructured", "diagonal", "isotropic", "compound_symmetry"}, \
            default="unstructured"
        Covariance structure of the effects of one level. "unstructured": any covariance matrix.
        "diagonal": independent effects, each with its own variance. "isotropic": independent
        effects with one variance. "compound_symmetry": one correlation between any two effects.
    homogeneous : bool or None, default=None
        Whether all effects of a structure have the same standard deviation. None: the default of
        the structure.

    Raises
    ------
    ValueError
        If there is neither a slope nor an intercept, `covariance` is not known, or `homogeneous`
        does not apply to it.

    Examples
    --------
    >>> from skmixed import RandomEffect
    >>> RandomEffect("subject", slopes=["days"]).slopes
    ('days',)
    """

    group: ColumnKey | tuple[ColumnKey, ...]
    slopes: tuple[ColumnKey, ...] = ()
    intercept: bool = True
    covariance: str = "unstructured"
    homogeneous: bool | None = None

    def __post_init__(self) -> None:
        if isinstance(self.slopes, (str, int)):
            object.__setattr__(self, "slopes", (self.slopes,))
        else:
            object.__setattr__(self, "slopes", tuple(self.slopes))
        if isinstance(self.group, list):
            object.__setattr__(self, "group", tuple(self.group))
        if not self.slopes and not self.intercept:
            raise ValueError(
                f"RandomEffect on {self.group!r} has neither an intercept nor a slope; "
                "set intercept=True or name the columns that vary in slopes=."
            )
        known = [key for key, structure in STRUCTURES.items() if structure.is_public]
        if self.covariance not in known:
            words = " or ".join(filter(None, [", ".join(map(repr, known[:-1])), repr(known[-1])]))
            raise ValueError(
                f"covariance={self.covariance!r} of RandomEffect on {self.group!r} is not known; "
                f"use {words}."
            )
        if self.homogeneous and STRUCTURES[self.covariance].homogeneous is None:
            raise ValueError(
                f"homogeneous=True of RandomEffect on {self.group!r} means nothing for "
                f"covariance={self.covariance!r}; leave it at None."
            )

    def _structure(self) -> str:
        """The key in `STRUCTURES` of what `covariance` and `homogeneous` say together."""
        return (self.homogeneous and STRUCTURES[self.covariance].homogeneous) or self.covariance

    def to_term(self) -> RandomTerm:
        """The bar term of this object."""
        group = self.group if isinstance(self.group, tuple) else (self.group,)
        effects = TermList(self.intercept, tuple((Variable(name),) for name in self.slopes))
        return RandomTerm(effects, group, self._structure())
