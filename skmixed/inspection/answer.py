"""A table that answers a question about a model: it prints, shows as HTML and is a frame."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from skmixed.inspection.report import Account, Report
from skmixed.inspection.rounding import rounded_to_errors

_WHOLE = ("num_df", "n_parameters")
_DECIMALS = {"den_df": 2, "df": 2, "log_likelihood": 4, "aic": 4}


@dataclass(frozen=True, eq=False, repr=False)
class Answer(Report):
    """A table with what is to be said about it.

    Attributes
    ----------
    title : str
    table : DataFrame
    facts : dict of {str: str}
        What holds for the whole table, by name.
    notes : tuple of str
        How to read the numbers.
    """

    title: str
    table: pd.DataFrame
    facts: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """The table, a copy.

        Returns
        -------
        DataFrame
        """
        return self.table.copy()

    def _shown(self) -> pd.DataFrame:
        """The table in as many digits as are read."""
        if {"estimate", "std_error"} <= {*self.table.columns}:
            return rounded_to_errors(self.table)
        return pd.DataFrame(
            {name: [_text(str(name), value) for value in self.table[name]] for name in self.table},
            index=self.table.index,
        )

    def _account(self) -> Account:
        return Account(self.title, self.facts, [("", self._shown())], self.notes)


def _text(name: str, value: object) -> str:
    """One value of a column as text; nothing for NaN."""
    if not isinstance(value, float | np.floating):
        return str(value)
    if value != value:
        return ""
    if name == "p_value":
        return "<1e-16" if value < 1e-16 else f"{value:.3g}"
    if name in _WHOLE:
        return f"{value:.0f}"
    return f"{value:.{_DECIMALS[name]}f}" if name in _DECIMALS else f"{value:.5g}"
