"""The formula language: lme4's notation as text, to a `ModelSpec`. Nothing is evaluated.

::

    y ~ 1 + x*f + log(z) + (1 + x | g) + (1 | a/b)

* ``+`` adds and ``-`` removes terms; ``1`` is the intercept (there unless ``0`` or ``-1``).
* ``a:b`` is an interaction, ``a*b`` is ``a + b + a:b``, ``a/b`` is ``a + a:b``,
  ``(a + b + c)^2`` has all interactions of two.
* ``C(x)``, in R's words ``factor(x)``, makes a column categorical; ``C(x, Treatment("b"))``
  names the reference level, ``C(x, Sum)`` compares with the mean of the levels.
* ``I(...)`` computes with ``+ - * / ^``, comparisons and functions; so do the arguments of
  functions, ``log(x + 1)``, and the left side of ``~``.
* Functions are ``log``, ``exp``, ``sqrt`` and others of one argument (`functions`), ``pmin`` and
  ``pmax``, and those that learn from the training data: ``scale``, ``center``, ``ave(x, g)``
  (means of groups) and ``poly(x, 2)`` (orthogonal polynomials). Nothing else can be called.
* ``offset(x)`` is added to the linear predictor as it is.
* ``cbind(successes, failures)`` is a response.
* ``(effects | group)`` varies between the levels of the group with any covariance,
  ``(effects || group)`` without correlations.
* A name that is not made of letters, digits, dots and underscores goes in backticks; a
  backtick inside such a name is doubled.

Text goes through `scanner` (tokens), `parser` (`syntax` tree) and `expand` (terms). The parser
has a layer for `arithmetic`, whose result is a flat list of steps, and one for `calls`.
"""

from __future__ import annotations

from functools import lru_cache

from skmixed.formula.errors import FormulaError
from skmixed.formula.expand import Expander
from skmixed.formula.parser import Parser
from skmixed.spec import ModelSpec, RandomTerm

__all__ = ["FormulaError", "parse_formula", "parse_random_terms"]


def parse_formula(text: str) -> ModelSpec:
    """Read a model formula in lme4's notation.

    Terms are sorted as in R, by degree of interaction and then by writing; a term
    written twice counts once. The variables of an interaction stay in the order of
    their first writing: ``b + a:b`` keeps ``a:b`` (R would rename it ``b:a``).

    Parameters
    ----------
    text : str
        ``"y ~ x + (1 | g)"``, or the right side alone, with or without ``~``.

    Returns
    -------
    ModelSpec
        Fixed effects, bar terms, and the response if one was named.

    Raises
    ------
    FormulaError
        If the text cannot be read, is too long or expands to too many terms.

    Examples
    --------
    >>> from skmixed.formula import parse_formula
    >>> spec = parse_formula("log(y) ~ a*b + (days | school/pupil)")
    >>> [":".join(variable.label for variable in term) for term in spec.fixed.terms]
    ['a', 'b', 'a:b']
    >>> [term.group_label for term in spec.random]
    ['school', 'school:pupil']
    >>> spec.response.label
    'log(y)'
    """
    # the parser refuses what is no text, and what is kept has to be hashable
    read = _model if isinstance(text, str) else _model.__wrapped__
    try:
        return read(text)
    except FormulaError as error:
        # where the parser stood is of no interest to who wrote the formula
        raise error.with_traceback(None) from None


@lru_cache(maxsize=64)
def _model(text: str) -> ModelSpec:
    """What a formula says; a model is fitted again and again with the same."""
    return Expander(text).model(Parser(text).formula())


def parse_random_terms(text: str) -> tuple[RandomTerm, ...]:
    """Read bar terms alone, as `random_effects` takes them.

    Parameters
    ----------
    text : str
        ``"(1 | a) + (x | b)"``; a single bar needs no parentheses: ``"1 + x | b"``.

    Returns
    -------
    tuple of RandomTerm
        In order of writing; ``a/b`` gives two.

    Raises
    ------
    FormulaError
        If the text cannot be read, or holds anything but bar terms.

    Examples
    --------
    >>> from skmixed.formula import parse_random_terms
    >>> (term,) = parse_random_terms("days || subject")
    >>> term.effects.intercept, term.group, term.structure
    (True, ('subject',), 'diagonal')
    """
    read = _random_terms if isinstance(text, str) else _random_terms.__wrapped__
    try:
        return read(text)
    except FormulaError as error:
        raise error.with_traceback(None) from None


@lru_cache(maxsize=64)
def _random_terms(text: str) -> tuple[RandomTerm, ...]:
    """What bar terms say; they are kept as those of `_model`."""
    return Expander(text).random_terms(Parser(text).random_terms())
