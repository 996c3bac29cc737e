"""From what a user wrote about columns to one ModelSpec."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from skmixed.design.basis import refuse_categorical
from skmixed.design.checks import shortened
from skmixed.design.table import Table
from skmixed.formula import parse_formula, parse_random_terms
from skmixed.spec import ColumnKey, ModelSpec, RandomEffect, RandomTerm, TermList, Variable

FROM_DTYPE = "from_dtype"


def resolve_spec(
    table: Table,
    *,
    random_effects: Any = FROM_DTYPE,
    formula: str | None = None,
    fit_intercept: bool = True,
    offset: ColumnKey | None = None,
    precision_weights: ColumnKey | None = None,
) -> ModelSpec:
    """Describe the model that the parameters of an estimator ask for.

    Parameters
    ----------
    table : Table
        Training data.
    random_effects : str, int, RandomEffect, sequence of these or None, default="from_dtype"
        ``"from_dtype"``: every column of labels gets a random intercept.
        Otherwise column names or positions (random intercepts), text with
        bars such as ``"(1 + days | subject)"``, and `RandomEffect` objects.
        Text that is the name of a column is that column. All other columns
        are fixed effects.
    formula : str or None, default=None
        The whole right-hand side; excludes `random_effects`.
    fit_intercept : bool, default=True
        False removes the fixed intercept, from a formula as well.
    offset, precision_weights : str, int or None, default=None
        Columns that are no fixed effects for being in X.

    Returns
    -------
    ModelSpec
        The description, with every column under its label in X.

    Raises
    ------
    ValueError
        When parameters contradict each other, a column is unknown or cannot
        be what it is asked to be.
    TypeError
        When an entry of `random_effects` is of another type.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmixed.design.resolve import resolve_spec
    >>> from skmixed.design.table import Table
    >>> table = Table.from_input(pd.DataFrame({"x": [1.0, 2.0], "s": [1, 2]}))
    >>> spec = resolve_spec(table, random_effects=["s"])
    >>> [term[0].name for term in spec.fixed.terms], spec.random[0].group
    (['x'], ('s',))
    """
    if formula is not None:
        return _from_formula(table, formula, random_effects, fit_intercept)
    reserved = {
        table.position(column) for column in (offset, precision_weights) if column is not None
    }
    random = tuple(
        _with_labels(term, table) for term in _random_terms(table, random_effects, reserved)
    )
    _refuse_repeated(random)
    taken = reserved | {table.position(column) for term in random for column in term.group}
    fixed = [name for position, name in enumerate(table.names) if position not in taken]
    refuse_categorical(table, fixed)
    return ModelSpec(TermList(fit_intercept, tuple((Variable(name),) for name in fixed)), random)


def _from_formula(
    table: Table, formula: str, random_effects: Any, fit_intercept: bool
) -> ModelSpec:
    if random_effects is not None and not _is_from_dtype(random_effects):
        raise ValueError(
            f"Both formula={shortened(formula)} and random_effects={shortened(random_effects)} "
            "were given; write the random effects into the formula, as in '1 + x + (1 | g)', or "
            "drop the formula."
        )
    spec = parse_formula(formula)
    if spec.response is not None:
        raise ValueError(
            f"formula={shortened(formula)} names the response {shortened(spec.response.label)}, "
            "but an estimator takes it from y; drop the left side and '~', or use "
            "skmixed.mixed(formula, data)."
        )
    fixed = _terms_with_labels(spec.fixed, table)
    return ModelSpec(
        fixed if fit_intercept else replace(fixed, intercept=False),
        tuple(_with_labels(term, table) for term in spec.random),
    )


def _random_terms(table: Table, random_effects: Any, reserved: set[int]) -> list[RandomTerm]:
    if random_effects is None:
        return []
    if _is_from_dtype(random_effects):
        return [
            _random_intercept(name)
            for position, name in enumerate(table.names)
            if position not in reserved and table.is_categorical(position)
        ]
    if isinstance(random_effects, (str, int, RandomEffect)) or not isinstance(
        random_effects, Iterable
    ):
        random_effects = [random_effects]
    terms: list[RandomTerm] = []
    for entry in random_effects:
        terms += _terms_of_entry(table, entry)
    return terms


def _terms_of_entry(table: Table, entry: Any) -> list[RandomTerm]:
    if isinstance(entry, RandomEffect):
        return [entry.to_term()]
    if isinstance(entry, RandomTerm):
        return [entry]
    if isinstance(entry, str) and "|" in entry and entry not in table.names:
        return list(parse_random_terms(entry))
    if isinstance(entry, str) or (hasattr(entry, "__index__") and not isinstance(entry, bool)):
        return [_random_intercept(table.label(entry))]
    raise TypeError(
        f"random_effects holds {entry!r} of type {type(entry).__name__}; use column names or "
        "positions, text such as '(1 + x | g)', or RandomEffect(group, slopes). For an "
        "interaction of columns write RandomEffect(('a', 'b')) or '(1 | a:b)'."
    )


def _random_intercept(column: ColumnKey) -> RandomTerm:
    return RandomTerm(TermList(intercept=True), (column,))


def _is_from_dtype(random_effects: Any) -> bool:
    return isinstance(random_effects, str) and random_effects == FROM_DTYPE


def _with_labels(term: RandomTerm, table: Table) -> RandomTerm:
    """The same term with columns by label, whether they were given by label or position."""
    if not term.group:
        raise ValueError("A RandomEffect has an empty group; name at least one column.")
    return replace(
        term,
        effects=_terms_with_labels(term.effects, table),
        group=tuple(table.label(column) for column in term.group),
    )


def _terms_with_labels(terms: TermList, table: Table) -> TermList:
    return replace(
        terms,
        terms=tuple(
            tuple(replace(variable, name=table.label(variable.name)) for variable in term)
            for term in terms.terms
        ),
    )


def _refuse_repeated(terms: tuple[RandomTerm, ...]) -> None:
    """Two random intercepts of one factor cannot be told apart."""
    seen: set[frozenset[ColumnKey]] = set()
    for term in terms:
        if not term.effects.intercept:
            continue
        group = frozenset(term.group)
        if group in seen:
            raise ValueError(
                f"random_effects lists {term.group_label!r} as a grouping factor twice; name it "
                "once, with its slopes in the same RandomEffect or bar term."
            )
        seen.add(group)
