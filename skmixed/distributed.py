"""Fits on Dask data frames: partitions become sums where they lie, and sums are merged.

Dask does the scheduling, on the current ``dask.distributed`` client or in threads;
what it runs are the functions of this module. Rows never leave their partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from functools import reduce
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted, validate_data

from skmixed.threads import available_threads
from skmixed.validation import check_include

if TYPE_CHECKING:
    from skmixed.base import BaseMixedEffects
    from skmixed.sums.partial_sums import Accumulation, Reference

Estimator = TypeVar("Estimator", bound="BaseMixedEffects")

Part = tuple[Any, Any, Any]
"""X, y and sample_weight of a partition."""

_BRANCHES = 4
"""Sums merged at a time: enough to keep the tree low, few enough to keep memory small."""


def is_distributed(X: Any) -> bool:
    """Whether X is a Dask data frame, without loading Dask."""
    return type(X).__module__.split(".")[0].startswith("dask") and hasattr(X, "map_partitions")


def refuse_distributed(X: Any, family: str) -> None:
    """Raise ValueError for a Dask data frame, which `family` cannot be fitted on."""
    if is_distributed(X):
        raise ValueError(
            f"family={family!r} needs its rows in every iteration and cannot be fitted from "
            "Dask partitions; pass a pandas data frame, as in X.compute()."
        )


def fit_distributed(estimator: Estimator, X: Any, y: Any, sample_weight: Any) -> Estimator:
    """Fit on a Dask data frame.

    Parameters
    ----------
    estimator : estimator
    X : dask.dataframe.DataFrame
    y : dask.dataframe.Series
        Of the same partitions.
    sample_weight : dask.dataframe.Series or None
        Of the same partitions.

    Raises
    ------
    ValueError
        If X, y and the weights do not have the same number of partitions, or
        when no partition has a row that counts.
    """
    import dask

    estimator._check_parameters()
    validate_data(estimator, X._meta, skip_check_array=True)
    parts = _partitions(X, y, sample_weight)
    blank = clone(estimator)
    reference = None
    for part in parts:
        # units and columns come from the first partition with rows, mostly the very first
        (reference,) = dask.compute(dask.delayed(_learn_reference)(blank, part))
        if reference is not None:
            break
    else:
        raise ValueError(
            "X has no rows in any partition, or all have weight 0; check the query that made it."
        )
    shared = dask.delayed(reference)
    sums = [dask.delayed(_sum_part)(blank, shared, part) for part in parts]
    while len(sums) > 1:
        sums = [
            dask.delayed(_merge)(sums[k : k + _BRANCHES]) for k in range(0, len(sums), _BRANCHES)
        ]
    (total,) = dask.compute(sums[0])
    total.encoder.refuse_single_levels()
    if total.sums.n_rows < 2:
        raise ValueError("X has a single row, which cannot determine a variance.")
    return estimator._fit_accumulation(total)


def _partitions(X: Any, y: Any, sample_weight: Any) -> list[Any]:
    """Every partition as a delayed `Part`."""
    from dask.dataframe import map_partitions

    for name, column in (("y", y), ("sample_weight", sample_weight)):
        if column is None and name == "sample_weight":
            continue
        if not hasattr(column, "npartitions"):
            raise ValueError(
                f"X is a Dask data frame and {name} a {type(column).__name__}; pass a Dask "
                f"series with the partitions of X, as in {name}=frame['column']."
            )
        if column.npartitions != X.npartitions:
            raise ValueError(
                f"X has {X.npartitions} partitions and {name} has {column.npartitions}; make them "
                "columns of one Dask data frame, or repartition."
            )
    # One expression: the columns of one frame are read once, and from the same partitions.
    # X and y on their own may not have as many: Dask joins small files by how many of their
    # columns are used. What `meta` says is never looked at.
    joined = map_partitions(
        _together, X, y, sample_weight,
        meta=X._meta, enforce_metadata=False, align_dataframes=False,
    )  # fmt: skip
    return list(joined.to_delayed())


def _together(X: Any, y: Any, sample_weight: Any) -> Part | None:
    """The rows of a partition; None where no row counts."""
    if len(X) == 0 == len(y) or (sample_weight is not None and not np.any(sample_weight)):
        return None
    return X, y, sample_weight


def _learn_reference(estimator: BaseMixedEffects, part: Part | None) -> Reference | None:
    return None if part is None else estimator._reference(*estimator._rows(*part))


def _sum_part(
    estimator: BaseMixedEffects, reference: Reference, part: Part | None
) -> Accumulation | None:
    """The sums of one partition."""
    if part is None:
        return None
    return reference.part(*estimator._rows(*part), available_threads(estimator.n_jobs))


def _merge(parts: list[Accumulation | None]) -> Accumulation | None:
    """The sums of neighbouring partitions, in their order."""
    present = [part for part in parts if part is not None]
    if not present:
        return None
    return reduce(lambda sums, part: sums.merge(part), present)


def predict_distributed(
    estimator: BaseMixedEffects,
    X: Any,
    method: str,
    columns: Sequence[Any],
    dtype: Any = np.float64,
    **options: Any,
) -> Any:
    """Call a method that predicts on every partition where it lies.

    Parameters
    ----------
    estimator : estimator
    X : dask.dataframe.DataFrame
    method : str
        Returns an array of shape (n_samples,) or (n_samples, n_columns), or a tuple of columns.
    columns : sequence
        Names of the columns that it returns.
    dtype : dtype, default=float64
        Their type.
    **options
        Keyword arguments of the method.

    Returns
    -------
    dask.dataframe.DataFrame
        With the index of X; nothing has been computed.
    """
    import dask

    check_is_fitted(estimator)
    check_include(options.get("include", "all"), estimator.design_encoder_.factor_names)
    columns = list(columns)
    empty = pd.Series([], dtype=dtype)
    meta = pd.DataFrame(dict.fromkeys(range(len(columns)), empty))
    meta.columns, meta.index = pd.Index(columns), X._meta.index
    fitted = copy(estimator)
    for name in ("_seen", "_kept", "_sums"):
        fitted.__dict__.pop(name, None)
    model = dask.delayed(fitted)
    return X.map_partitions(_predict_part, model, method, options, meta, meta=meta)


def _predict_part(
    X: pd.DataFrame, estimator: Any, method: str, options: dict[str, Any], meta: pd.DataFrame
) -> pd.DataFrame:
    if not len(X):
        return meta.set_axis(X.index)
    found = getattr(estimator, method)(X, **options)
    parts = np.column_stack(found) if isinstance(found, tuple) else found
    return pd.DataFrame(parts, columns=meta.columns, index=X.index).astype(meta.dtypes.iloc[0])
