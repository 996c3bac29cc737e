"""Arguments of `mixed` that are written otherwise elsewhere, and what to write here."""

from __future__ import annotations

from typing import Any

import numpy as np

from skmixed.design import Table, as_vector
from skmixed.validation import check_case_weights

_ELSEWHERE = {
    "REML": "method='ml' for REML=False, method='reml' for REML=True",
    "reml": "method='ml' or method='reml'",
    "groups": "the groups as bar terms of the formula, '(1 | g)'",
    "re_formula": "the effects that vary as bar terms of the formula, '(1 + x | g)'",
    "vc_formula": "every variance as a bar term of the formula, '(1 | a) + (1 | a:b)'",
    "na_action": "missing='drop' or missing='raise'",
    "subset": "the rows themselves, data[data['x'] > 0]",
    "nAGQ": "approximation='corrected' for the likelihood itself, by adaptive quadrature",
    "control": "max_iter=, tol= or solver=",
    "start": "nothing: starting values are automatic; see also warm_start=True",
}

BY_ROW = ("offset", "precision_weights")
"""Parameters that name a column, or hold a value per row."""


def check_order(formula: Any, data: Any) -> None:
    """Raise unless the formula is text and comes first.

    Parameters
    ----------
    formula, data : object
        The first two arguments.

    Raises
    ------
    TypeError
    """
    if isinstance(formula, str):
        return
    if isinstance(data, str):
        raise TypeError("mixed takes the formula first and the data second: mixed(formula, data).")
    raise TypeError(
        f"formula must be text such as 'y ~ x + (1 | g)', not a {type(formula).__name__}."
    )


def refuse_foreign(parameters: dict[str, Any]) -> None:
    """Raise for parameters of other programs, and say what to write.

    Parameters
    ----------
    parameters : dict
        Keyword arguments for the estimator.

    Raises
    ------
    TypeError
    """
    for name, instead in _ELSEWHERE.items():
        if name in parameters:
            raise TypeError(f"mixed has no parameter {name}: write {instead}.")


def by_row(table: Table, name: str, value: Any) -> tuple[Any, Any]:
    """Column and values of a parameter that names a column, or holds a value per row.

    Parameters
    ----------
    table : Table
        The data.
    name : str
        Of the parameter.
    value : object
        What was passed.

    Returns
    -------
    column : str or int
        Its label, that of a new column for an array.
    values : object or None
        Those of a new column.
    """
    if isinstance(value, (str, int, np.integer)):
        return table.label(value), None
    values = as_vector(value)
    if np.shape(values) != (table.n_rows,):
        raise ValueError(
            f"{name} has shape {np.shape(values)}, expected {(table.n_rows,)}: one value per "
            "row of data, or the name of a column."
        )
    return f"({name})", np.asarray(values)


def weights_by_row(table: Table, sample_weight: Any) -> Any:
    """Case weights by the name of a column, or as they were passed."""
    if isinstance(sample_weight, str):
        return table.numeric(sample_weight)
    return None if sample_weight is None else check_case_weights(sample_weight, table.n_rows)
