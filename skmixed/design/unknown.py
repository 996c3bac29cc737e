"""Rows of new data whose level was not there during fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from skmixed.design.design import Design, DesignEncoder
from skmixed.design.table import Table


def number_unknown_levels(design: Design, table: Table, encoder: DesignEncoder) -> Design:
    """The design with a code of its own for every level that was not there during fit.

    Rows of one unknown label share a code from the number of levels on; a row
    without a label has a code to itself.

    Parameters
    ----------
    design : Design
        With all factors of the encoder.
    table : Table
        What it was made from.
    encoder : DesignEncoder
        The encoder that made it.

    Returns
    -------
    Design
        The same with other codes.
    """
    factors = []
    for factor, fitted in zip(design.factors, encoder.factors, strict=True):
        unknown = np.flatnonzero(factor.codes < 0)
        if len(unknown):
            for column in fitted.levels.columns:
                table.is_categorical(column)  # refuses containers, which are no labels
            labels = [pd.Series(table.ids(c)).iloc[unknown] for c in fitted.levels.columns]
            frame = pd.concat([part.reset_index(drop=True) for part in labels], axis=1)
            frame.columns = pd.RangeIndex(len(labels))
            number = frame.astype(object).groupby(list(frame.columns), dropna=True).ngroup()
            fresh = number.fillna(-1).to_numpy(dtype=np.int64, copy=True)
            alone = np.flatnonzero(fresh < 0)
            fresh[alone] = fresh.max() + 1 + np.arange(len(alone))
            codes = factor.codes.copy()
            codes[unknown] = factor.n_levels + fresh
            factor = replace(factor, codes=codes)
        factors.append(factor)
    return replace(design, factors=tuple(factors))


def refuse_unknown_levels(design: Design, table: Table, encoder: DesignEncoder) -> None:
    """Raise where the design has a row whose level was not there during fit.

    Parameters
    ----------
    design : Design
        With any of the encoder's factors.
    table : Table
        What it was made from.
    encoder : DesignEncoder
        The encoder that made it.

    Raises
    ------
    ValueError
        Names the group, the first such level and its row.
    """
    for factor in design.factors:
        unknown = factor.codes < 0
        if not unknown.any():
            continue
        row = int(unknown.argmax())
        position = encoder.factor_names.index(factor.name)
        columns = encoder.factors[position].levels.columns
        value = ", ".join(str(np.asarray(table.ids(column))[row]) for column in columns)
        raise ValueError(
            f"Group {factor.name!r} has the level {value!r} in row {row}, which was not there "
            f"during fit ({int(unknown.sum())} such rows); set handle_unknown='population' to "
            "predict for the population, or fit with this level."
        )
