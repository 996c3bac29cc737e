"""What a model is asked to be: frozen descriptions, free of data.

A formula, a list of column names and a list of `RandomEffect` objects all end
up as one `ModelSpec`; everything after this point reads only that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

ColumnKey = str | int


@dataclass(frozen=True)
class Variable:
    """One column, optionally passed through functions of the fixed table.

    Attributes
    ----------
    name : str or int
        The column, by label or (for unnamed arrays) by position.
    functions : tuple of str
        Function names, innermost first: ``log(abs(x))`` is ``("abs", "log")``.
    categorical : bool
        True where the formula wrote ``C(x)``.
    """

    name: ColumnKey
    functions: tuple[str, ...] = ()
    categorical: bool = False

    @property
    def label(self) -> str:
        """How the variable is written in names of coefficients."""
        text = f"C({self.name})" if self.categorical else str(self.name)
        for function in self.functions:
            text = f"{function}({text})"
        return text


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
    correlated : bool
        True for ``|`` (one covariance matrix of any shape), False for ``||``
        (every effect varies on its own).
    """

    effects: TermList
    group: tuple[ColumnKey, ...]
    correlated: bool = True

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
    """

    fixed: TermList
    random: tuple[RandomTerm, ...] = ()
    response: Variable | None = None


@dataclass(frozen=True)
class RandomEffect:
    """A random effect described by its parts instead of a formula.

    Parameters
    ----------
    group : str, int or tuple of these
        The column that groups the rows. A tuple of columns groups by their
        combinations, as ``a:b`` does in a formula.
    slopes : str, int or sequence of these, default=()
        Columns whose coefficient varies between the groups. A categorical
        column varies by treatment contrasts.
    intercept : bool, default=True
        Whether the groups also differ by a constant.
    covariance : {"unstructured", "diagonal"}, default="unstructured"
        Whether the effects of one group may be correlated.

    Raises
    ------
    ValueError
        When nothing varies (no slope and no intercept) or `covariance` is
        not one of the two words.

    Examples
    --------
    >>> from skmixed import RandomEffect
    >>> RandomEffect("subject", slopes=["days"])
    RandomEffect(group='subject', slopes=('days',), intercept=True, covariance='unstructured')
    """

    group: ColumnKey | tuple[ColumnKey, ...]
    slopes: tuple[ColumnKey, ...] = ()
    intercept: bool = True
    covariance: str = "unstructured"

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
        if self.covariance not in ("unstructured", "diagonal"):
            raise ValueError(
                f"covariance={self.covariance!r} of RandomEffect on {self.group!r} is not known; "
                "use 'unstructured' or 'diagonal'."
            )

    def to_term(self) -> RandomTerm:
        """The bar term this object stands for."""
        group = self.group if isinstance(self.group, tuple) else (self.group,)
        effects = TermList(self.intercept, tuple((Variable(name),) for name in self.slopes))
        return RandomTerm(effects, group, correlated=self.covariance == "unstructured")
