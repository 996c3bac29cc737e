"""The hypotheses of an analysis of variance: which functions of the coefficients a term tests.

Type 1 tests every term after those before it, type 2 after all terms that do not contain it,
type 3 at equal weights of the levels of all other variables. The first two are rows of the
factorisation X'X = L U in an order of the columns (Goodnight 1980, Communications in Statistics
- Theory and Methods 9; so in R's lmerTest), type 3 the coefficients of a term where all
categorical variables are coded by differences from the mean of the levels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skmixed.design.basis import Basis, CodedVariable
from skmixed.design.table import Table
from skmixed.design.variables import CategoricalVariable
from skmixed.spec import Contrast

_INDEPENDENT = 1e-8
"""Relative size of what is left of a column, below which others determine it."""


def term_labels(basis: Basis) -> list[str]:
    """The terms as they are written, the intercept left out."""
    return [basis.label(term) for term in basis.terms]


def term_columns(basis: Basis) -> list[slice]:
    """Columns of every term, the intercept left out."""
    return [slice(*ends) for ends in basis.slices[int(basis.intercept) :]]


def hypotheses(basis: Basis, table: Table, weights: np.ndarray, kind: int) -> dict[str, np.ndarray]:
    """Functions of the coefficients (k, p) that each term tests, by label.

    Parameters
    ----------
    basis : Basis
        The fixed effects.
    table : Table
        The rows of the fit.
    weights : ndarray (n,)
        Case weights.
    kind : {1, 2, 3}
        Type of the tests.
    """
    X = basis.matrix(table)
    if kind == 3:
        return _at_equal_weights(basis, table, X)
    columns = term_columns(basis)
    gram = X.T @ (X * weights[:, None])
    out = {}
    for number, label in enumerate(term_labels(basis)):
        here = columns[number]
        if kind == 1:
            out[label] = _after(gram, list(range(here.start)), here)
            continue
        larger = [k for k in range(len(columns)) if _contains(basis, k, number)]
        leave = {j for k in [number, *larger] for j in range(columns[k].start, columns[k].stop)}
        rows = _after(gram, [j for j in range(len(gram)) if j not in leave], here)
        # where no term contains it these are its coefficients, one by one
        out[label] = rows if larger else np.eye(len(gram))[here][_leads(rows, here)]
    return out


def _leads(rows: np.ndarray, term: slice) -> list[int]:
    """Columns within a term that the rows of `_after` stand for."""
    return [int(np.flatnonzero(row[term])[0]) for row in rows]


def contained_terms(basis: Basis) -> set[int]:
    """Numbers of the terms that another term contains: a and b where there is a:b."""
    variables = [frozenset(coded.position for coded in term) for term in basis.terms]
    return {
        number
        for number, inner in enumerate(variables)
        if any(inner < outer for outer in variables)
    }


def _after(gram: np.ndarray, before: list[int], term: slice) -> np.ndarray:
    """Rows x' X of the columns x of a term, less what all columns before explain of them.

    Each is divided by its own product with x: the unit upper triangle of a factorisation.
    Columns that others determine have no row.
    """
    rows = []
    for column in range(term.start, term.stop):
        row = gram[column]
        if before:
            inner = gram[np.ix_(before, before)]
            row = row - gram[column, before] @ np.linalg.pinv(inner, 1e-12) @ gram[before]
        if row[column] > _INDEPENDENT * gram[column, column]:
            row = row / row[column]
            row[before] = 0.0
            rows.append(row)
        before = [*before, column]
    return np.array(rows).reshape(-1, len(gram))


def _contains(basis: Basis, larger: int, smaller: int) -> bool:
    """Whether a term has the same numbers as another, and its labels and more of them."""
    if larger == smaller:
        return False
    (of_larger, labels), (of_smaller, fewer) = (
        _parts(basis, basis.terms[k]) for k in (larger, smaller)
    )
    return of_larger == of_smaller and fewer < labels


def _parts(basis: Basis, term: tuple[CodedVariable, ...]) -> tuple[frozenset[int], frozenset[int]]:
    """Numeric and categorical variables of a term."""
    positions = frozenset(coded.position for coded in term)
    labels = frozenset(k for k in positions if basis.variables[k].categorical)
    return positions - labels, labels


def _at_equal_weights(basis: Basis, table: Table, X: np.ndarray) -> dict[str, np.ndarray]:
    """The coefficients of every term in a basis with sum contrasts, as functions of the fit's."""
    variables = tuple(
        replace(v, variable=replace(v.variable, contrast=Contrast("sum")))
        if isinstance(v, CategoricalVariable)
        else v
        for v in basis.variables
    )
    centred = replace(basis, variables=variables).matrix(table)
    if np.linalg.matrix_rank(centred) < centred.shape[1]:
        raise ValueError(
            "Type 3 tests compare means with equal weights for all cells. These means cannot be "
            "estimated, because some columns of the fixed effects depend on others (usually "
            "cells without rows). Use type=2, or marginal_means and contrasts, which report what "
            "can be estimated."
        )
    change = np.linalg.lstsq(centred, X, rcond=None)[0]
    change[np.abs(change) < 1e-10 * np.abs(change).max()] = 0.0
    parts = zip(basis.terms, term_columns(basis), term_labels(basis), strict=True)
    return {label: _to_differences(basis, term) @ change[here] for term, here, label in parts}


def _to_differences(basis: Basis, term: tuple[CodedVariable, ...]) -> np.ndarray:
    """Differences from reference levels (k, k), from coefficients of sum contrasts.

    They say the same together, but degrees of freedom of an F test depend a little on which
    of them are tested.
    """
    change: np.ndarray = np.eye(1)
    for coded in term:
        variable = basis.variables[coded.position]
        part: np.ndarray = np.eye(len(variable.names(coded.full)))
        if isinstance(variable, CategoricalVariable) and not coded.full:
            # coefficients of all levels but the last, whose effects sum to zero
            effects = np.vstack([part, -np.ones(len(part))])
            part = np.delete(effects - effects[variable.reference], variable.reference, axis=0)
        # levels of the first variable vary fastest
        change = np.kron(part, change)
    return change
