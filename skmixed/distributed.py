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

from skmixed.inference.partial import Accumulation, Reference

if TYPE_CHECKING:
    from skmixed.base import BaseMixedEffects

Estimator = TypeVar("Estimator", bound="BaseMixedEffects")

_RESPONSE, _WEIGHT = "the response of skmixed", "the sample weight of skmixed"
"""Columns beside those of X."""

_BRANCHES = 4
"""Sums merged at a time: enough to keep the tree low, few enough to keep memory small."""


def is_distributed(X: Any) -> bool:
    """Whether X is a Dask data frame, without loading Dask."""
    return type(X).__module__.split(".")[0].startswith("dask") and hasattr(X, "map_partitions")


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
        When X, y and the weights do not have the same number of partitions, or
        when no partition has a row.
    """
    import dask

    estimator._check_parameters()
    validate_data(estimator, X._meta, skip_check_array=True)
    frame = X
    for place, name, column in ((_RESPONSE, "y", y), (_WEIGHT, "sample_weight", sample_weight)):
        if column is None and place == _WEIGHT:
            continue
        if not hasattr(column, "map_partitions"):
            raise ValueError(
                f"X is a Dask data frame and {name} a {type(column).__name__}; pass a Dask "
                f"series with the partitions of X, as in {name}=frame['column']."
            )
        if column.npartitions != X.npartitions:
            raise ValueError(
                f"X has {X.npartitions} partitions and {name} has {column.npartitions}; make "
                "them columns of one Dask data frame, or repartition."
            )
        # one frame, so that a file is read once for all its columns
        frame = frame.assign(**{place: column})
    parts = frame.to_delayed()
    blank = clone(estimator)
    reference = None
    for part in parts:
        # units and columns come from the first partition with rows, mostly the very first
        (reference,) = dask.compute(dask.delayed(_learn_reference)(blank, part))
        if reference is not None:
            break
    else:
        raise ValueError("X has no rows in any partition; check the query that made it.")
    shared = dask.delayed(reference)
    sums = [dask.delayed(_sum_part)(blank, shared, part) for part in parts]
    while len(sums) > 1:
        sums = [
            dask.delayed(_merge)(sums[k : k + _BRANCHES]) for k in range(0, len(sums), _BRANCHES)
        ]
    (total,) = dask.compute(sums[0])
    total.encoder.refuse_single_levels()
    return estimator._fit_accumulation(total)


def _learn_reference(estimator: BaseMixedEffects, part: pd.DataFrame) -> Reference | None:
    return estimator._reference(*_split(part)) if len(part) else None


def _sum_part(
    estimator: BaseMixedEffects, reference: Reference, part: pd.DataFrame
) -> Accumulation | None:
    """The sums of one partition; None where it has no rows."""
    return estimator._summed(*_split(part), reference) if len(part) else None


def _split(part: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series, pd.Series | None]:
    """X, y and weights of a partition."""
    extra = [name for name in (_RESPONSE, _WEIGHT) if name in part.columns]
    weights = part[_WEIGHT] if _WEIGHT in extra else None
    return part.drop(columns=extra), part[_RESPONSE], weights


def _merge(parts: list[Accumulation | None]) -> Accumulation | None:
    """The sums of neighbouring partitions, in their order."""
    present = [part for part in parts if part is not None]
    return reduce(Accumulation.merge, present) if present else None


def predict_distributed(
    estimator: BaseMixedEffects, X: Any, return_std: bool, include: str | Sequence[str]
) -> Any:
    """Predict every partition where it lies.

    Returns
    -------
    mean : dask.dataframe.Series
        With the index of X.
    std : dask.dataframe.Series
        Only with `return_std`.
    """
    import dask

    check_is_fitted(estimator)
    columns = ["mean", "std"] if return_std else ["mean"]
    meta = pd.DataFrame({name: np.empty(0) for name in columns}, index=X._meta.index)
    fitted = copy(estimator)
    fitted.__dict__.pop("_accumulation", None)
    model = dask.delayed(fitted)
    frame = X.map_partitions(_predict_part, model, return_std, include, meta=meta)
    if return_std:
        return frame["mean"], frame["std"]
    return frame["mean"]


def _predict_part(
    X: pd.DataFrame, estimator: Any, return_std: bool, include: str | Sequence[str]
) -> pd.DataFrame:
    if not len(X):
        columns = ["mean", "std"] if return_std else ["mean"]
        return pd.DataFrame({name: np.empty(0) for name in columns}, index=X.index)
    if return_std:
        mean, std = estimator.predict(X, return_std=True, include=include)
        return pd.DataFrame({"mean": mean, "std": std}, index=X.index)
    return pd.DataFrame({"mean": estimator.predict(X, include=include)}, index=X.index)
