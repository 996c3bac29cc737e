"""Whether one model is nested in another, from the columns that they make of the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from skmixed.covariances import STRUCTURES
from skmixed.design import Factor
from skmixed.fitted_model import FittedModel

_IN_SPAN = 1e-8
"""Part of a column, relative to it, that rounding may leave outside a space that holds it."""


def outside_column_space(smaller: FittedModel, larger: FittedModel, X: Any) -> str:
    """The term of the smaller model that the larger one cannot express; empty if there is none.

    Parameters
    ----------
    smaller, larger : FittedModel
    X : DataFrame or array-like of shape (n_rows, n_features)
        The rows of the fits, with the columns of both.
    """
    mine = smaller.encode(X, with_weights=False).design
    yours = larger.encode(X, with_weights=False).design
    outside = [
        name
        for name, column in zip(mine.fixed_names, mine.fixed.T, strict=True)
        if not _in_span(column[:, None], yours.fixed)
    ]
    if outside:
        named = ", ".join(map(repr, outside))
        return f"the larger one has no combination of columns for the fixed effects {named}"
    for factor, encoder in zip(mine.factors, smaller.encoder.factors, strict=True):
        for (begin, stop), structure in zip(encoder.blocks, encoder.block_structures, strict=True):
            columns = factor.loadings()[:, begin:stop]
            if not any(
                _same_partition(factor, theirs)
                and _holds(kind, structure, stop - begin)
                and _in_span(columns, theirs.loadings()[:, b:s])
                for theirs, other in zip(yours.factors, larger.encoder.factors, strict=True)
                for (b, s), kind in zip(other.blocks, other.block_structures, strict=True)
            ):
                terms = " + ".join(encoder.term_names[begin:stop])
                return f"the larger one has no random term that contains ({terms} | {encoder.name})"
    return ""


def _holds(larger: str, smaller: str, n_effects: int) -> bool:
    """Whether every covariance of one structure is one of the other; any of one effect is."""
    known = STRUCTURES[larger]
    return known.includes_all or n_effects == 1 or smaller in (larger, *known.includes)


def _in_span(columns: np.ndarray, space: np.ndarray) -> bool:
    """Whether all columns are combinations of those of `space`."""
    sizes = np.linalg.norm(space, axis=0)
    scaled = space / np.where(sizes > 0.0, sizes, 1.0)
    left = columns - scaled @ np.linalg.lstsq(scaled, columns, rcond=1e-12)[0]
    return bool((np.linalg.norm(left, axis=0) <= _IN_SPAN * np.linalg.norm(columns, axis=0)).all())


def _same_partition(one: Factor, other: Factor) -> bool:
    """Whether two factors group the rows alike, whatever their labels."""
    n_one, n_other = len(np.unique(one.codes)), len(np.unique(other.codes))
    if n_one != n_other:
        return False
    pairs = one.codes.astype(np.int64) * (int(other.codes.max()) + 2) + other.codes
    return len(np.unique(pairs)) == n_one
