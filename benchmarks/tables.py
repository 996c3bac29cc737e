"""How the benchmarks print."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

DIGITS = {
    "median s": 3,
    "min s": 3,
    "times ours": 1,
    "log-lik.": 3,
    "seconds": 2,
    "longest wait": 2,
    "peak MiB": 0,
}
DEFAULT_DIGITS = 5


def show(table: pd.DataFrame) -> str:
    """The table as text, each column with the digits it deserves."""
    formatters = {
        column: f"{{:.{DIGITS.get(column, DEFAULT_DIGITS)}f}}".format
        for column in table.select_dtypes("float").columns
    }
    return table.to_string(index=False, formatters=formatters)


def show_facts(facts: Mapping[str, Any]) -> str:
    """Names and values below each other."""
    width = max(map(len, facts))
    return "\n".join(f"{name:{width}s}  {value}" for name, value in facts.items())


def compare_estimates(
    truth: Mapping[str, float], found: Mapping[str, Mapping[str, float]], label: str = "truth"
) -> pd.DataFrame:
    """One row per parameter: the true value and the estimate of each system."""
    columns: dict[str, Any] = {"parameter": list(truth), label: list(truth.values())}
    for system, estimates in found.items():
        columns[system] = [estimates[parameter] for parameter in truth]
    return pd.DataFrame(columns)
