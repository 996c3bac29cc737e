"""The common form of what is printed about a model: facts, tables and notes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd


@dataclass(frozen=True, eq=False)
class Account:
    """The parts of a report.

    Attributes
    ----------
    title : str
    facts : dict of {str: str}
        Values by name; the value of an empty name stands alone.
    tables : list of (str, DataFrame)
        Headings, perhaps empty, and tables as they are shown.
    notes : sequence of str
    aligned : bool
        Whether values stand below one another.
    """

    title: str
    facts: Mapping[str, str]
    tables: Sequence[tuple[str, pd.DataFrame]] = ()
    notes: Sequence[str] = ()
    aligned: bool = True


class Report(ABC):
    """A result that prints as text and shows as HTML in notebooks."""

    @abstractmethod
    def _account(self) -> Account:
        """The parts of the report."""

    def __str__(self) -> str:
        account = self._account()
        width = max(map(len, account.facts)) + 1 if account.aligned else 0
        lines = [account.title, "=" * len(account.title)]
        for name, value in account.facts.items():
            lines.append(f"{name + ':':<{width}} {value}" if name else value)
        for heading, frame in account.tables:
            lines += ["", heading, "-" * len(heading)] if heading else [""]
            lines.append("(none)" if frame.empty else frame.to_string())
        return "\n".join([*lines, *(["", *account.notes] if account.notes else [])])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        account = self._account()
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in account.facts.items()
        )
        parts = [f"<h3>{escape(account.title)}</h3><table>{rows}</table>"]
        for heading, frame in account.tables:
            parts.append(f"<h4>{escape(heading)}</h4>" if heading else "")
            parts.append("<p>(none)</p>" if frame.empty else frame.to_html(border=0))
        parts += [f"<p>{escape(note)}</p>" for note in account.notes]
        return f"<div>{''.join(parts)}</div>"
