"""From what a user wrote about columns to one ModelSpec."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

from skmixed.design.checks import shortened
from skmixed.design.roles import groups_from_dtype, warn_of_doubtful_columns
from skmixed.design.table import Table
from skmixed.formula import FormulaError, parse_formula, parse_random_terms
from skmixed.spec import (
    ColumnKey,
    Contrast,
    ModelSpec,
    RandomEffect,
    RandomTerm,
    TermList,
    Variable,
)

FROM_DTYPE = "from_dtype"


def resolve_spec(
    table: Table,
    *,
    random_effects: Any = FROM_DTYPE,
    fixed_effects: Any = None,
    reference: Any = None,
    formula: str | ModelSpec | None = None,
    fit_intercept: bool = True,
    reserved: Sequence[ColumnKey] = (),
    complete: bool = True,
) -> ModelSpec:
    """Describe the model that the parameters of an estimator ask for.

    Parameters
    ----------
    table : Table
        Training data.
    random_effects : str, int, RandomEffect, mapping, sequence of these or None, \
            default="from_dtype"
        ``"from_dtype"``: groups are found by the types of columns, see `roles`.
        Otherwise column names or positions (random intercepts), text with
        bars such as ``"(1 + days | subject)"``, and `RandomEffect` objects.
        Text that is the name of a column is that column. A mapping has slopes or
        the left side of a bar term by group: ``{"subject": ["days"]}``.
    fixed_effects : sequence of str or int, or None, default=None
        The columns that are fixed effects; None: all others of X.
    reference : mapping or None, default=None
        Level of a column of labels that the others are compared with, by column.
    formula : str, ModelSpec or None, default=None
        The whole right-hand side, as text or read already; excludes `random_effects` and
        `fixed_effects`.
    fit_intercept : bool, default=True
        False removes the fixed intercept, also of a formula that does not write it.
    reserved : sequence of str or int, default=()
        Columns that have another role: the offset, precision weights.
    complete : bool, default=True
        Whether the table is all the data.

    Returns
    -------
    ModelSpec
        The description, with every column under its label in X.

    Raises
    ------
    ValueError
        If parameters contradict each other, a column is unknown or cannot
        be what it is asked to be.
    TypeError
        If an entry of `random_effects` or `fixed_effects` is of another type.

    Warns
    -----
    ColumnRoleWarning
        If the role of a column was guessed and may well be another.

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
        _refuse_beside_formula(formula, random_effects, fixed_effects, reference)
        return _from_formula(table, formula, fit_intercept)
    others = {table.position(column) for column in reserved}
    listed = None if fixed_effects is None else _columns(table, fixed_effects)
    taken = others if listed is None else others | {table.position(c) for c in listed}
    random = tuple(
        _with_labels(term, table) for term in _random_terms(table, random_effects, taken, complete)
    )
    _refuse_repeated(random)
    grouping = list(dict.fromkeys(column for term in random for column in term.group))
    taken = others | {table.position(column) for column in grouping}
    if listed is None:
        fixed = [name for position, name in enumerate(table.names) if position not in taken]
        if random_effects is not None:
            by_dtype = _is_from_dtype(random_effects)
            warn_of_doubtful_columns(table, fixed, grouping, by_dtype=by_dtype)
    else:
        fixed = listed
    contrasts = _contrasts(table, reference, fixed)
    variables = tuple((Variable(name, contrast=contrasts.get(name)),) for name in fixed)
    return ModelSpec(TermList(fit_intercept, variables), random)


def _contrasts(table: Table, reference: Any, fixed: list[ColumnKey]) -> dict[ColumnKey, Contrast]:
    """Contrasts of columns whose level of comparison the user names."""
    if reference is None:
        return {}
    if not isinstance(reference, Mapping):
        raise TypeError(
            f"reference={shortened(reference)} must be a mapping from columns to levels, "
            "{'treatment': 'placebo'}."
        )
    contrasts = {}
    for column, level in reference.items():
        label = table.label(column)
        if label not in fixed or not table.is_categorical(label):
            raise ValueError(
                f"reference names {shortened(label)}, which is not a categorical fixed effect; "
                "numeric columns and groups have no reference level."
            )
        contrasts[label] = Contrast("treatment", level)
    return contrasts


def _columns(table: Table, fixed_effects: Any) -> list[ColumnKey]:
    """The columns that `fixed_effects` lists."""
    if isinstance(fixed_effects, (str, int)):
        fixed_effects = [fixed_effects]
    if isinstance(fixed_effects, (Set, Mapping)) or not isinstance(fixed_effects, Iterable):
        raise TypeError(
            f"fixed_effects={shortened(fixed_effects)} must be a list of column names or "
            "positions, or None for all columns that have no other role."
        )
    return list(dict.fromkeys(table.label(column) for column in fixed_effects))


def _refuse_beside_formula(
    formula: Any, random_effects: Any, fixed_effects: Any, reference: Any
) -> None:
    """A formula is the whole right-hand side."""
    given = []
    if random_effects is not None and not _is_from_dtype(random_effects):
        given.append(f"random_effects={shortened(random_effects)}")
    if fixed_effects is not None:
        given.append(f"fixed_effects={shortened(fixed_effects)}")
    if reference is not None:
        given.append(f"reference={shortened(reference)}")
    if given:
        raise ValueError(
            f"Both formula={shortened(formula)} and {' and '.join(given)} were given; write all "
            "effects into the formula, as in '1 + x + (1 | g)', or drop the formula."
        )


def _from_formula(table: Table, formula: str | ModelSpec, fit_intercept: bool) -> ModelSpec:
    spec = formula if isinstance(formula, ModelSpec) else right_side(formula)
    if spec.fixed.intercept_written and not fit_intercept:
        raise ValueError(
            "fit_intercept=False contradicts the formula, which has the intercept '1 +'; write "
            "'0 +' to drop it, or leave fit_intercept at True."
        )
    fixed = _terms_with_labels(spec.fixed, table)
    return ModelSpec(
        fixed if fit_intercept else replace(fixed, intercept=False),
        tuple(_with_labels(term, table) for term in spec.random),
        offsets=tuple(variable.relabelled(table.label) for variable in spec.offsets),
    )


def right_side(formula: str) -> ModelSpec:
    """Read the formula of an estimator, whose `fit` is given the response.

    Parameters
    ----------
    formula : str

    Returns
    -------
    ModelSpec

    Raises
    ------
    ValueError
        If it cannot be read or names a response.
    """
    spec = parse_formula(formula)
    if spec.response is None:
        return spec
    names = f"formula={shortened(formula)} names the response {shortened(spec.response.label)}"
    if spec.response.functions or spec.response.steps:
        column = " and ".join(map(shortened, spec.response.columns[:3]))
        raise ValueError(
            f"{names}, but fit takes y as it is, and scoring would compare predictions with "
            f"{column} itself. Drop the left side and pass the transformed y, "
            "wrap the estimator in sklearn.compose.TransformedTargetRegressor, or use "
            "skmixed.mixed(formula, data)."
        )
    raise ValueError(
        f"{names}, but an estimator takes it from y; drop the left side and '~', or use "
        "skmixed.mixed(formula, data)."
    )


def _random_terms(
    table: Table, random_effects: Any, taken: set[int], complete: bool
) -> list[RandomTerm]:
    if random_effects is None:
        return []
    if _is_from_dtype(random_effects):
        free = [position for position in range(len(table.names)) if position not in taken]
        groups = groups_from_dtype(table, free, complete=complete)
        return [_random_intercept(name) for name in groups]
    if isinstance(random_effects, Set):
        raise TypeError(
            f"random_effects={shortened(random_effects)} is a set, whose order is not defined; "
            "pass a list."
        )
    if isinstance(random_effects, Mapping):
        return [
            term
            for group, effects in random_effects.items()
            for term in _terms_of_group(group, effects)
        ]
    if isinstance(random_effects, (str, int, RandomEffect)) or not isinstance(
        random_effects, Iterable
    ):
        random_effects = [random_effects]
    terms: list[RandomTerm] = []
    for entry in random_effects:
        terms += _terms_of_entry(table, entry)
    return terms


def _terms_of_group(group: Any, effects: Any) -> list[RandomTerm]:
    """Terms of one item of a mapping: slopes, or the left side of a bar term."""
    columns = group if isinstance(group, tuple) else (group,)
    if effects is None:
        return [RandomTerm(TermList(intercept=True), columns)]
    if isinstance(effects, str):
        try:
            terms = parse_random_terms(f"({effects} | g)")
        except FormulaError as error:
            raise ValueError(
                f"random_effects={{{group!r}: {shortened(effects)}}}: the text must be the left "
                f"side of a bar term, such as '1 + x' ({str(error).splitlines()[0]})."
            ) from None
        return [replace(term, group=columns) for term in terms]
    if isinstance(effects, Sequence) and all(isinstance(name, (str, int)) for name in effects):
        return [RandomEffect(group, slopes=tuple(effects)).to_term()]
    raise TypeError(
        f"random_effects={{{group!r}: {shortened(effects)}}}: a group takes a list of "
        "slopes, ['x'], the left side of a bar term, '1 + x', or None for an intercept alone."
    )


def _terms_of_entry(table: Table, entry: Any) -> list[RandomTerm]:
    if isinstance(entry, RandomEffect):
        return [entry.to_term()]
    if isinstance(entry, RandomTerm):
        return [entry]
    if isinstance(entry, str) and "~" in entry and entry not in table.names:
        raise ValueError(
            f"random_effects={shortened(entry)} is a formula: pass its right-hand side as "
            "formula=, or use skmixed.mixed(formula, data)."
        )
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
            tuple(variable.relabelled(table.label) for variable in term) for term in terms.terms
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


def strata_column(table: Table, dispersion: Any) -> ColumnKey:
    """The column whose labels have a noise variance each, as `dispersion` asks for it.

    Parameters
    ----------
    table : Table
        Training data.
    dispersion : str or int
        The column, or text such as ``"C(month)"`` where its labels are numbers.

    Returns
    -------
    str or int
        Its label in X.

    Raises
    ------
    ValueError
        If it is no single column of labels.
    """
    column, marked = dispersion, False
    if isinstance(dispersion, str) and dispersion not in table.names:
        terms = parse_formula(dispersion).fixed.terms
        variables = [variable for term in terms for variable in term]
        if len(terms) != 1 or len(variables) != 1 or variables[0].functions or variables[0].steps:
            raise ValueError(
                f"dispersion={shortened(dispersion)} must be one column of labels, with one noise "
                "variance per label; for combinations, make a column of them first."
            )
        column, marked = variables[0].name, variables[0].categorical
    label = table.label(column)
    if not (marked or table.is_categorical(label)):
        raise ValueError(
            f"dispersion={shortened(dispersion)} names a numeric column; for one noise variance "
            f"per value write dispersion='C({label})'."
        )
    return label
