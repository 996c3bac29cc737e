"""Checks of a stored design encoder: the codes it will make, and the columns."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from math import isfinite, prod
from typing import Any

import numpy as np
import pandas as pd

from skmixed.design import DesignEncoder
from skmixed.design.basis import INTERCEPT, Basis
from skmixed.design.computation import ComputedVariable, GroupMeans, learnt_kind
from skmixed.design.factors import FactorEncoder
from skmixed.design.functions import FittedFunction
from skmixed.design.labels import ColumnLabels
from skmixed.design.levels import LevelEncoder
from skmixed.design.polynomial import Polynomial
from skmixed.design.variables import CategoricalVariable, LearntVariable, level_position
from skmixed.persistence.arrays import require, require_array, require_indices, require_number
from skmixed.spec import ColumnKey


def check_encoder(encoder: DesignEncoder) -> None:
    """Raise ValueError unless an encoder makes arrays of the sizes that it states.

    Parameters
    ----------
    encoder : DesignEncoder
        As it was loaded.

    Raises
    ------
    ValueError
        If levels, terms and names contradict each other.
    """
    check_basis("fixed effects", encoder.fixed)
    for variable in encoder.offset_terms:
        check_variable("offset", variable)
    for factor in encoder.factors:
        _check_factor(factor)


def check_basis(name: str, basis: Basis) -> None:
    """Raise ValueError unless the terms of a linear part make the columns that it names.

    Parameters
    ----------
    name : str
        Which linear part.
    basis : Basis
    """
    variables = basis.variables
    for variable in variables:
        check_variable(name, variable)
    names = [INTERCEPT] if basis.intercept else []
    for term in basis.terms:
        require_indices(
            f"{name}: variables", np.array([coded.position for coded in term]), len(variables)
        )
        of_each = [variables[coded.position].names(coded.full) for coded in term]
        size = len(names) + prod(len(parts) for parts in of_each)
        require(size <= len(basis.names), name, f"{size} columns or more", f"{len(basis.names)}")
        names += [":".join(parts[::-1]) for parts in product(*of_each[::-1])]
    require(names == list(basis.names), name, f"{len(names)} columns", "the columns it names")


def check_variable(name: str, variable: LearntVariable) -> None:
    """Raise ValueError unless a variable has learnt what it needs.

    Parameters
    ----------
    name : str
        Which linear part.
    variable : LearntVariable
    """
    if isinstance(variable, CategoricalVariable):
        where, contrast = f"{name}: labels of {variable.column!r}", variable.variable.contrast
        check_labels(where, variable.labels)
        if contrast is not None:
            position = level_position(variable.labels.index, contrast.reference)
            require(position is not None, where, "without their reference level", "complete")
    elif isinstance(variable, ComputedVariable):
        check_computation(f"{name}: {variable.variable.name!r}", variable)


def check_computation(name: str, computed: ComputedVariable) -> None:
    """Raise ValueError unless the steps of a computation end in one result.

    Parameters
    ----------
    name : str
    computed : ComputedVariable
    """
    steps, depth = computed.variable.steps, 0
    require(len(computed.learnt) == len(steps) > 0, name, "incomplete", "as long as its steps")
    for step, learnt in zip(steps, computed.learnt, strict=True):
        require(0 <= step.n_arguments <= depth, name, "short of arguments", "a computation")
        depth += 1 - step.n_arguments
        require(
            learnt_kind(step.name) is type(learnt),
            name,
            f"{step.name} of another kind",
            "as learnt",
        )
        if isinstance(learnt, GroupMeans):
            check_labels(f"{name}: groups", learnt.labels)
            require_array(f"{name}: means", learnt.means, (len(learnt.labels),))
            require_number(f"{name}: overall mean", learnt.overall)
        elif isinstance(learnt, Polynomial):
            for part in ("shifts", "ratios", "sizes"):
                require_array(f"{name}: {part}", getattr(learnt, part), (step.value,))  # type: ignore[arg-type]
            for part in ("center", "scale"):
                number = getattr(learnt, part)
                require_number(f"{name}: {part}", number)
                require(isfinite(number), f"{name}: {part}", str(number), "finite")
        elif isinstance(learnt, FittedFunction):
            require(learnt.name == step.name, name, f"with {learnt.name}", step.name)
    require(depth == 1, name, f"with {depth} results", "one")


def check_labels(name: str, labels: ColumnLabels) -> None:
    """Raise ValueError unless labels are distinct and none is missing.

    Parameters
    ----------
    name : str
        Which column.
    labels : ColumnLabels
    """
    index = labels.index
    require(len(index) > 0, name, "empty", "one label or more")
    require(index.is_unique, name, "with repetitions", "distinct")
    require(not bool(pd.isna(index).any()), name, "in part missing", "complete")
    if labels.declared is not None:
        positions, n_categories = labels.declared.positions, len(labels.declared.categories)
        require_array(f"{name}, categories", positions, (len(index),), np.int32)
        require_indices(f"{name}, categories", positions, n_categories)
        ascends = bool((np.diff(positions) > 0).all())
        require(ascends, f"{name}, categories", "out of order", "ascending")
    if labels.seen is not None:
        require_array(f"{name}, order", labels.seen, (len(index),), np.int32)
        require_indices(f"{name}, order", labels.seen, len(index))


def check_encodings(
    labels: Mapping[ColumnKey, ColumnLabels], effects: Mapping[ColumnKey, np.ndarray]
) -> None:
    """Raise ValueError unless every label of `MixedEffectsEncoder` has an effect.

    Parameters
    ----------
    labels : dict of {column: ColumnLabels}
    effects : dict of {column: ndarray (n_levels + 1,)}
        The last one is that of unknown labels.
    """
    require(list(labels) == list(effects), "columns", str(list(effects)), str(list(labels)))
    for column, known in labels.items():
        check_labels(f"labels of {column!r}", known)
        require_array(f"effects of {column!r}", effects[column], (len(known) + 1,))


def _check_factor(factor: FactorEncoder) -> None:
    name = f"group {factor.name!r}"
    _check_levels(name, factor.levels)
    require(len(factor.bases) > 0, name, "without effects", "one effect or more")
    effects: list[str] = []
    for basis in factor.bases:
        check_basis(name, basis)
        effects += basis.names
    require(effects == list(factor.term_names), name, f"of effects {effects}", "as it names them")
    bounds = [edge for block in factor.blocks for edge in block]
    adjoin = bounds[:1] == [0] and bounds[-1] == len(effects) and bounds[1:-1:2] == bounds[2::2]
    ascends = all(first < stop for first, stop in factor.blocks)
    require(adjoin and ascends, f"{name}: blocks", str(factor.blocks), "a partition of the effects")


def _check_levels(name: str, levels: LevelEncoder) -> None:
    counts = len(levels.columns), len(levels.parts), len(levels.pairs) + 1
    require(len(set(counts)) == 1 and counts[0] > 0, name, f"of {counts} parts", "as many columns")
    for column, part in zip(levels.columns, levels.parts, strict=True):
        check_labels(f"{name}: labels of {column!r}", part)
    n_left = len(levels.parts[0])
    for pair, part in zip(levels.pairs, levels.parts[1:], strict=True):
        _check_pairs(f"{name}: combinations", pair.values, n_left * len(part))
        n_left = len(pair)


def _check_pairs(name: str, pairs: Any, stop: int) -> None:
    require_array(name, pairs, (None,), np.int64)
    require_indices(name, pairs, stop)
    require(bool((np.diff(pairs) > 0).all()), name, "out of order", "ascending")
