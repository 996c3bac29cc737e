"""Numbers of a table as text: as many digits as are known, in line."""

from __future__ import annotations

import numpy as np
import pandas as pd

_DIGITS_OF_ERRORS = 3
"""Digits shown of a standard error; an estimate has as many decimals."""

_MOST_DECIMALS = 12


def rounded_to_errors(frame: pd.DataFrame) -> pd.DataFrame:
    """Estimates, standard errors and intervals with the decimals that the error leaves.

    Parameters
    ----------
    frame : DataFrame
        With the columns estimate and std_error, and perhaps lower, upper, df, statistic and
        p_value.

    Returns
    -------
    DataFrame of str
        Decimal points stand in line; what is smaller than the last decimal is 0.

    Examples
    --------
    >>> import pandas as pd
    >>> from skmixed.inspection.rounding import rounded_to_errors
    >>> table = pd.DataFrame({"estimate": [3.28259, 1e-17], "std_error": [0.0293458, 12.3]})
    >>> rounded_to_errors(table)["estimate"].tolist()
    ['3.2826', '0.0   ']
    """
    decimals = [_decimals(error) for error in frame["std_error"]]
    shown = {}
    for column in frame:
        values = frame[column].tolist()
        if column in ("estimate", "std_error", "lower", "upper"):
            texts = [_fixed(value, d) for value, d in zip(values, decimals, strict=True)]
        elif column in ("p_value", "p_unadjusted"):
            texts = ["" if p != p else "<1e-16" if p < 1e-16 else f"{p:.3g}" for p in values]
        elif column == "df":
            texts = [_fixed(value, 2) for value in values]
        elif column == "statistic":
            texts = [_fixed(value, 3) for value in values]
        else:
            texts = [str(value) for value in values]
        shown[column] = texts if column in ("p_value", "p_unadjusted", "note") else _in_line(texts)
    return pd.DataFrame(shown, index=frame.index)


def _decimals(error: float) -> int | None:
    """Decimals that show three digits of a standard error; None where there is none."""
    if not np.isfinite(error) or error <= 0.0:
        return None
    return int(np.clip(_DIGITS_OF_ERRORS - 1 - np.floor(np.log10(error)), 0, _MOST_DECIMALS))


def _fixed(value: float, decimals: int | None) -> str:
    if value != value:
        return ""
    if decimals is None or not np.isfinite(value) or abs(value) >= 1e12:
        return f"{value:.6g}"
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0.0 else text


def _in_line(texts: list[str]) -> list[str]:
    """Texts padded on the right, so that decimal points of a right-aligned column meet."""
    after = [len(text) - text.find(".") if "." in text else 0 for text in texts]
    widest = max(after, default=0)
    return [text + " " * (widest - n) for text, n in zip(texts, after, strict=True)]
