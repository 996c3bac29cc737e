"""What a column of X is for where the user did not say: group, fixed effect, or a question.

The rules of `random_effects="from_dtype"` are all here:

* A pandas category groups the rows, however few levels it has.
* Text and other labels group the rows from five levels on; with fewer they are a fixed
  effect, coded by treatment contrasts.
* Numbers and booleans are fixed effects.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from skmixed.design.checks import shortened
from skmixed.design.table import Table
from skmixed.design.variables import refuse_typos
from skmixed.exceptions import ColumnRoleWarning, warn_user
from skmixed.spec import ColumnKey

FEW_LEVELS = 5
"""A variance is hardly determined by fewer levels."""

_FEWEST_IDS = 11
"""Distinct whole numbers from which on a column may be an id rather than a dose or a day."""

_DENSE = 0.75
"""Share of a range that a counted or measured quantity fills and an id leaves empty."""

_MANY_INDICATORS = 20
_FIRST_ROWS = 10_000
_NAMES_SHOWN = 5

_ID_NAME = re.compile(
    r"""(^|[\W_])(id|ids|uid|key|code|no|nr)$ | ^(id|uid)([\W_]|$) | [a-z]I[dD]$ |
    ^(subj|subject|participant|patient|person|student|pupil|teacher|child|animal|school|class|
      classroom|clinic|hospital|site|store|shop|user|customer|client|firm|company|worker|family|
      household|herd|plot|block|batch|item|product|movie|film|rater|county|zip|zipcode|zip_code|
      postcode)$""",
    re.VERBOSE,
)


def groups_from_dtype(
    table: Table, positions: Sequence[int], *, complete: bool = True
) -> list[ColumnKey]:
    """The columns that group the rows by ``random_effects="from_dtype"``.

    Parameters
    ----------
    table : Table
        Training data.
    positions : sequence of int
        Columns that may be groups.
    complete : bool, default=True
        Whether the table is all the data.

    Returns
    -------
    list of str or int
        Their labels.

    Raises
    ------
    ValueError
        If a part of the data does not tell whether a column of text groups the rows.

    Warns
    -----
    ColumnRoleWarning
        If a group has fewer than five levels, and when nothing groups the rows.
    """
    groups, few = [], []
    for position in positions:
        if not table.is_categorical(position):
            continue
        name, values = table.names[position], table.ids(position)
        if not isinstance(values.dtype, pd.CategoricalDtype):
            first = pd.Series(np.asarray(values[:_FIRST_ROWS], dtype=object)).dropna()
            # ids repeat; a measured quantity hardly does
            if 2 * first.nunique() > len(first):
                refuse_typos(table, name, first.unique())
        n_levels = _count_up_to(values, FEW_LEVELS)
        if isinstance(values.dtype, pd.CategoricalDtype):
            groups.append(name)
            few += [(name, n_levels)] if n_levels < FEW_LEVELS else []
        elif n_levels >= FEW_LEVELS:
            groups.append(name)
        elif not complete:
            raise ValueError(
                f"Column {name!r} has {n_levels} labels in the first part of the data, so its role "
                "is not clear: it would group the rows from five labels on, and be a fixed effect "
                f"below. Name the groups: random_effects=[{name!r}, ...], or a list without it."
            )
    for name, n_levels in few:
        warn_user(
            f"The category {name!r} groups the rows (random_effects='from_dtype') but has only "
            f"{n_levels} levels, too few to estimate a variance well. To make it a fixed effect, "
            f"name the groups without it: random_effects={[g for g in groups if g != name]!r}. "
            f"To keep it as a group: random_effects={groups!r}.",
            ColumnRoleWarning,
        )
    return groups


def warn_of_doubtful_columns(
    table: Table, fixed: Sequence[ColumnKey], groups: Sequence[ColumnKey], *, by_dtype: bool
) -> None:
    """Warn of fixed effects that look like groups, and of a model without any group.

    Parameters
    ----------
    table : Table
        Training data.
    fixed : sequence of str or int
        Columns that are fixed effects because nobody said anything else.
    groups : sequence of str or int
        Columns that group the rows.
    by_dtype : bool
        Whether groups were found by the types of columns.
    """
    ids = [name for name in fixed if _looks_like_id(table, name)]
    named = [*groups, *ids] or ["name of the column"]
    remedy = f"random_effects={named!r}"
    if by_dtype and not groups:
        shown = ", ".join(shortened(name) for name in fixed[:_NAMES_SHOWN])
        more = f" and {len(fixed) - _NAMES_SHOWN} more" if len(fixed) > _NAMES_SHOWN else ""
        looks = f"; {', '.join(map(shortened, ids))} may be an id" if ids else ""
        warn_user(
            f"No column groups the rows, so this is a regression without random effects: {shown}"
            f"{more} are fixed effects by their type (random_effects='from_dtype'){looks}. Name "
            f"the columns that group the rows, {remedy}, or say that there are none: "
            "random_effects=None.",
            ColumnRoleWarning,
        )
    elif ids:
        which, verb = ("it", "looks like an id") if len(ids) == 1 else ("they", "look like ids")
        warn_user(
            f"{_listed(ids)} {verb} (whole numbers that repeat) but would be a slope, as a fixed "
            f"effect. If {which} group{'s' if which == 'it' else ''} the rows: {remedy}. If not, "
            f"list the fixed effects: fixed_effects={list(fixed)!r}; columns that are left out of "
            "it are not in the model.",
            ColumnRoleWarning,
        )
    many = [name for name in fixed if _has_many_labels(table, name)]
    if many:
        warn_user(
            f"{_listed(many)} is a fixed effect with an indicator for each of its more than "
            f"{_MANY_INDICATORS} labels, because it is text and not among random_effects. If it "
            f"groups the rows: random_effects={[*groups, *many]!r}; to leave it out: "
            f"fixed_effects={[name for name in fixed if name not in many]!r}.",
            ColumnRoleWarning,
        )


def _listed(names: Sequence[ColumnKey]) -> str:
    columns = "Column" if len(names) == 1 else "Columns"
    return f"{columns} {', '.join(shortened(name) for name in names)}"


def _count_up_to(values: Any, enough: int) -> int:
    """Number of distinct labels; counting stops once there are `enough` of them."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.codes
        return int((np.bincount(codes[codes >= 0], minlength=1) > 0).sum())
    n_distinct = 0
    for rows in (slice(_FIRST_ROWS), slice(None)):
        n_distinct = int(pd.Series(values[rows]).nunique())
        if n_distinct >= enough:
            break
    return n_distinct


def _has_many_labels(table: Table, name: ColumnKey) -> bool:
    if not table.is_categorical(name):
        return False
    return _count_up_to(table.ids(name), _MANY_INDICATORS + 1) > _MANY_INDICATORS


def _looks_like_id(table: Table, name: ColumnKey) -> bool:
    """Whether a column of whole numbers repeats them and names things rather than counts them."""
    if table.is_categorical(name):
        return False
    values = table.ids(name)
    if not pd.api.types.is_numeric_dtype(values.dtype) or pd.api.types.is_bool_dtype(values.dtype):
        return False
    first = _whole_numbers(values[:_FIRST_ROWS])
    if first is None or (len(values) > _FIRST_ROWS and 2 * len(first) > _FIRST_ROWS):
        return False
    distinct = first if len(values) <= _FIRST_ROWS else _whole_numbers(values)
    if distinct is None or not _FEWEST_IDS <= len(distinct) <= len(values) // 2:
        return False
    if _ID_NAME.search(str(name)) or _ID_NAME.search(str(name).lower()):
        return True
    # doses by fives or incomes by thousands leave no gaps in their own unit
    steps = np.diff(distinct)
    return len(distinct) <= _DENSE * (int(steps.sum()) // int(np.gcd.reduce(steps)) + 1)


def _whole_numbers(values: Any) -> npt.NDArray[np.int64] | None:
    """The distinct values, ascending; None unless all are whole numbers."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        numbers = values[~np.isnan(values)] if values.dtype.kind == "f" else values
    else:
        numbers = pd.Series(values).dropna().to_numpy(dtype=np.float64)
    # measurements are found out before they are sorted
    if np.any(np.abs(numbers) >= 2.0**53) or np.any(np.floor(numbers) != numbers):
        return None
    distinct = np.unique(numbers).astype(np.int64)
    return distinct if len(distinct) > 1 else None
