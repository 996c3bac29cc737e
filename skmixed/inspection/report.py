"""The common form of what is printed about a model: facts, tables and notes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import import_module
from typing import Any

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

    def to_markdown(self, **options: Any) -> str:
        """The printed table in Markdown; with several tables, the first.

        Parameters
        ----------
        **options
            Of `pandas.DataFrame.to_markdown`, which needs the package tabulate.

        Returns
        -------
        str
        """
        return str(self._main_table().to_markdown(**({"disable_numparse": True} | options)))

    def to_latex(self, **options: Any) -> str:
        """The printed table in LaTeX; with several tables, the first.

        Parameters
        ----------
        **options
            Of `pandas.DataFrame.to_latex`, which needs the package jinja2.

        Returns
        -------
        str
        """
        return str(self._main_table().to_latex(**({"escape": True} | options)))

    def to_great_table(self) -> Any:
        """The printed table for the package great_tables; with several tables, the first.

        Returns
        -------
        great_tables.GT
            With the title, and the notes below the table; its methods change it further.

        Raises
        ------
        ImportError
            If great_tables is not installed.
        """
        try:
            great_tables = import_module("great_tables")
        except ImportError as error:
            raise ImportError(
                "to_great_table() needs great_tables, which is not installed; install it with: "
                'pip install "scikit-mixed[interop]"'
            ) from error
        account, table = self._account(), self._main_table()
        names = [str(name) if name is not None else " " for name in table.index.names]
        rows = table.rename_axis(names).reset_index()
        shown = great_tables.GT(rows, rowname_col=names[0]).tab_header(account.title)
        for note in account.notes:
            shown = shown.tab_source_note(note)
        return shown

    def _main_table(self) -> pd.DataFrame:
        """The first table, or the facts where there is none, as text."""
        account = self._account()
        if not account.tables:
            return pd.DataFrame({"value": account.facts})
        frame = account.tables[0][1]
        return frame.map(lambda value: str(value).strip())

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
