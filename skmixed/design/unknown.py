"""Rows of new data whose level was not there during fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from skmixed.design.design import Design, DesignEncoder
from skmixed.design.factors import Factor
from skmixed.design.levels import LevelEncoder
from skmixed.design.table import Table

FEWEST_UNKNOWN = 3
"""Unknown labels from which on they are worth a word: one or two may well be new."""


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
            fresh = _numbers_of_unknown(table, fitted.levels, unknown)
            alone = np.flatnonzero(fresh < 0)
            fresh[alone] = fresh.max() + 1 + np.arange(len(alone))
            codes = factor.codes.copy()
            codes[unknown] = factor.n_levels + fresh
            factor = replace(factor, codes=codes)
        factors.append(factor)
    return replace(design, factors=tuple(factors))


def _numbers_of_unknown(table: Table, levels: LevelEncoder, unknown: np.ndarray) -> np.ndarray:
    """Number of the label of rows that are not in the fit; -1 for a missing label."""
    labels = [pd.Series(table.ids(column)).iloc[unknown] for column in levels.columns]
    frame = pd.concat([part.reset_index(drop=True) for part in labels], axis=1)
    frame.columns = pd.RangeIndex(len(labels))
    number = frame.astype(object).groupby(list(frame.columns), dropna=True).ngroup()
    return number.fillna(-1).to_numpy(dtype=np.int64, copy=True)


def unknown_labels(
    design: Design, table: Table, encoder: DesignEncoder, *, every: bool
) -> list[str]:
    """Say of which factors most labels, or some, were not there during fit.

    Parameters
    ----------
    design : Design
        With any of the encoder's factors.
    table : Table
        What it was made from.
    encoder : DesignEncoder
        The encoder that made it.
    every : bool
        Whether a single unknown label is worth a sentence.

    Returns
    -------
    list of str
        A sentence per such factor, with the kind of labels that the fit saw.
    """
    sentences = []
    for factor in design.factors:
        unknown = np.flatnonzero(factor.codes < 0)
        if len(unknown) < (1 if every else FEWEST_UNKNOWN):
            continue
        fitted = encoder.factors[encoder.factor_names.index(factor.name)].levels
        n_unknown = int(_numbers_of_unknown(table, fitted, unknown).max()) + 1
        n_known = _n_known(factor)
        if n_unknown >= (1 if every else max(FEWEST_UNKNOWN, n_known + 1)):
            row = unknown[0]
            first = ", ".join(repr(_plain(table.ids(column)[row])) for column in fitted.columns)
            which = "all" if n_known == 0 else f"{n_unknown} of"
            labels = f"{which} {n_known + n_unknown} labels of {factor.name!r} are unknown, such as"
            if n_unknown == 1:
                labels = f"a label of {factor.name!r} is unknown:"
            sentences.append(f"{labels} {first}; fit saw {kind_of_labels(fitted)}")
    return sentences


def _n_known(factor: Factor) -> int:
    known = factor.codes[factor.codes >= 0]
    if factor.n_levels > len(known):
        # counting by level would take as long as there are levels
        return len(np.unique(known))
    return int(np.count_nonzero(np.bincount(known))) if len(known) else 0


def kind_of_labels(levels: LevelEncoder) -> str:
    """What the labels of a factor are, with an example: ``"integers such as 308"``."""
    if levels.pairs:
        return f"pairs such as {tuple(map(_plain, levels.labels[0]))!r}"
    values = levels.parts[0].values
    kinds = {"i": "integers", "u": "integers", "f": "numbers", "b": "booleans", "M": "dates"}
    all_text = values.dtype == object and all(isinstance(label, str) for label in values)
    kind = "text" if all_text else kinds.get(values.dtype.kind, "labels")
    return f"{kind} such as {_plain(values[0])!r}"


def _plain(label: Any) -> Any:
    """A label as Python writes it, without the type that NumPy gives numbers."""
    return label.item() if isinstance(label, np.generic) else label


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
            f"Group {factor.name!r} has the level {value!r} in row {row}, which was not seen "
            f"during fit ({int(unknown.sum())} such rows); set handle_unknown='population' to "
            "predict for the population, or fit with this level."
        )
