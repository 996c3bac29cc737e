"""Comparisons of marginal means, with p-values and limits of several together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import numpy as np
import pandas as pd

from skmixed.inspection.adjustments import ADJUSTMENTS, Family
from skmixed.inspection.answer import Answer
from skmixed.inspection.displays.contrast_rows import ContrastsDisplay
from skmixed.inspection.mean_estimates import MarginalMeans, as_columns
from skmixed.validation import check_choice

Rows = list[tuple[str, np.ndarray]]
"""Contrasts by label: weights of the means of a family, (k,)."""


def _pairwise(labels: list[str], values: list[Any]) -> Rows:
    unit = np.eye(len(labels))
    return [
        (f"{labels[i]} - {labels[j]}", unit[i] - unit[j])
        for i, j in combinations(range(len(labels)), 2)
    ]


def _reference(labels: list[str], values: list[Any]) -> Rows:
    unit = np.eye(len(labels))
    return [
        (f"{label} - {labels[0]}", unit[i] - unit[0]) for i, label in enumerate(labels) if i > 0
    ]


_POLYNOMIALS = ("linear", "quadratic", "cubic", "quartic")


def _polynomial(labels: list[str], values: list[Any]) -> Rows:
    """Orthogonal polynomials of equally spaced places, in the smallest whole numbers."""
    k = len(labels)
    places = np.arange(k) - (k - 1) / 2.0
    columns = np.linalg.qr(np.vander(places, k, increasing=True))[0].T
    rows = []
    for degree in range(1, min(k, len(_POLYNOMIALS) + 1)):
        weights = columns[degree] * np.sign(columns[degree, -1])
        rows.append((_POLYNOMIALS[degree - 1], _whole(weights)))
    return rows


def _whole(weights: np.ndarray) -> np.ndarray:
    """The smallest whole numbers in the ratios of some weights; else the weights."""
    smallest = np.abs(weights[np.abs(weights) > 1e-10 * np.abs(weights).max()]).min()
    for factor in range(1, 200):
        scaled = weights / smallest * factor
        if np.abs(scaled - np.rint(scaled)).max() < 1e-7 * factor:
            return np.rint(scaled)
    return weights


METHODS: dict[str, Callable[[list[str], list[Any]], Rows]] = {
    "pairwise": _pairwise,
    "reference": _reference,
    "polynomial": _polynomial,
}
"""By the value of ``method``."""

_DEFAULT = object()


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Contrasts(Answer):
    """Contrasts of marginal means.

    Attributes
    ----------
    by : tuple
        Columns within whose levels means are compared.
    level : float
        Probability of the intervals.
    label : str
        Label of an estimate, for an axis.
    """

    by: tuple[Any, ...]
    level: float
    label: str

    def plot(self, ax: Any = None, **options: Any) -> Any:
        """Draw the contrasts with intervals, p-values and a line at zero.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        **options
            Of `~skmixed.inspection.ContrastsDisplay.plot`.

        Returns
        -------
        display : ContrastsDisplay
            With `ax_` and `figure_`.
        """
        return ContrastsDisplay.from_contrasts(self, ax=ax, **options)


def contrasts(
    means: MarginalMeans,
    method: Any = "pairwise",
    *,
    by: Any = None,
    interaction: bool = False,
    adjust: Any = _DEFAULT,
) -> Contrasts:
    r"""Compare marginal means.

    Parameters
    ----------
    means : MarginalMeans
        From `marginal_means`.
    method : {"pairwise", "reference", "polynomial"} or array-like of shape (m, k), \
            default="pairwise"
        "pairwise": the first minus the second of every pair. "reference": each level minus the
        first. "polynomial": linear, quadratic, ... trends over ordered levels. A matrix, or a dict
        from labels to weights: weights of the means of a family, in their order.
    by : column or list of columns, default=None
        Columns within whose levels means are compared; None: as in `marginal_means`.
    interaction : bool, default=False
        Whether contrasts of all terms are multiplied: differences of differences.
    adjust : {"tukey", "dunnett", "holm", "bonferroni", None}, optional
        Adjustment of p-values and limits for the number of contrasts in a family (one family per
        value of `by`). "tukey" is for all pairs. "dunnett" is for comparisons with one reference,
        by the exact distribution of the largest of correlated t variables. The default is "tukey"
        for pairs, "dunnett" for a reference, and no adjustment for others.

    Returns
    -------
    answer : Contrasts
        Prints as text, shows as HTML, and has ``.plot()`` and ``.to_frame()``: one row per contrast
        with estimate, std_error, df, lower, upper, statistic, p_value and p_unadjusted, on the
        scale of the linear predictor. Limits of "holm" are those of "bonferroni".

    Raises
    ------
    ValueError
        If an adjustment does not match the method, or weights do not match the means.

    Examples
    --------
    >>> from skmixed import contrasts, marginal_means, mixed
    >>> from skmixed.datasets import load_insteval
    >>> frame = load_insteval().frame.head(2000).astype({"service": str})
    >>> model = mixed("y ~ service + (1 | d)", frame)
    >>> contrasts(marginal_means(model, "service")).to_frame().index.tolist()
    ['0 - 1']
    """
    if not isinstance(means, MarginalMeans):
        raise TypeError(
            f"contrasts() needs the result of marginal_means(), but got a {type(means).__name__}."
        )
    if adjust is _DEFAULT:
        adjust = (
            {"pairwise": "tukey", "reference": "dunnett"}.get(method)
            if (isinstance(method, str) and not interaction)
            else None
        )
    if adjust not in ADJUSTMENTS:
        known = ", ".join(map(repr, ADJUSTMENTS))
        raise ValueError(f"adjust={adjust!r} is not known; choose one of {known}.")
    within = as_columns(by) if by is not None else list(means.by)
    unknown = [column for column in within if column not in means.cells.columns]
    if unknown:
        raise ValueError(f"by={unknown[0]!r} is not a column of these means.")
    tables = []
    for values, rows in _families(means.cells, within):
        named = _contrasts_of(means, rows, within, method, interaction)
        _refuse_misuse(adjust, method, interaction)
        table = _table(means, named, rows, adjust)
        for column, value in zip(within, values, strict=True):
            table.insert(0, column, [value] * len(table))
        tables.append(table)
    facts = dict(means.facts)
    facts["Adjustment"] = "none" if adjust is None else str(adjust)
    if "Scale" in facts:
        facts["Scale"] = "linear predictor"
    return Contrasts(
        "Contrasts of marginal means", pd.concat(tables), facts, means.notes,
        by=tuple(within), level=means.level, label=means.contrast_label,
    )  # fmt: skip


def _families(cells: pd.DataFrame, within: list[Any]) -> list[tuple[tuple[Any, ...], np.ndarray]]:
    """Values of `within`, and rows of the means that have them, in order."""
    if not within:
        return [((), np.arange(len(cells)))]
    keys = list(cells[within].itertuples(index=False, name=None))
    return [
        (key, np.array([i for i, other in enumerate(keys) if other == key]))
        for key in dict.fromkeys(keys)
    ]


def _contrasts_of(
    means: MarginalMeans, rows: np.ndarray, within: list[Any], method: Any, interaction: bool
) -> Rows:
    """Labelled weights of the means of one family."""
    cells = means.cells.iloc[rows]
    compared = [column for column in cells.columns if column not in within]
    if interaction:
        return _interactions(cells, compared, method)
    labels = [" ".join(map(str, cell)) for cell in cells[compared].itertuples(index=False)]
    if isinstance(method, str):
        check_choice("method", method, tuple(METHODS))
        return METHODS[method](labels, cells[compared[0]].tolist())
    if isinstance(method, dict):
        names, matrix = [str(name) for name in method], np.array(list(method.values()), float)
    else:
        matrix = np.atleast_2d(np.asarray(method, dtype=float))
        names = [f"contrast {number + 1}" for number in range(len(matrix))]
    if matrix.ndim != 2 or matrix.shape[1] != len(rows):
        raise ValueError(
            f"method= has {matrix.shape[-1]} weights per contrast, but there are {len(rows)} "
            f"means: {', '.join(labels[:8])}."
        )
    return list(zip(names, matrix, strict=True))


def _interactions(cells: pd.DataFrame, compared: list[Any], method: Any) -> Rows:
    """Products of the contrasts of every column, the first column varying fastest."""
    if not isinstance(method, str) or len(compared) < 2:
        raise ValueError(
            "interaction=True needs means by two or more columns and a named method: call "
            "marginal_means(model, ['a', 'b']), then contrasts with method='pairwise'."
        )
    check_choice("method", method, tuple(METHODS))
    parts = []
    for column in reversed(compared):
        levels = cells[column].unique().tolist()
        parts.append(METHODS[method]([str(level) for level in levels], levels))
    rows: Rows = []
    for chosen in product(*parts):
        weights: np.ndarray = np.ones(1)
        for _, part in chosen:
            weights = np.kron(weights, part)
        rows.append((" : ".join(label for label, _ in reversed(chosen)), weights))
    return rows


def _refuse_misuse(adjust: str | None, method: Any, interaction: bool) -> None:
    """Refuse adjustments by the distribution of other contrasts."""
    suits = {"tukey": "pairwise", "dunnett": "reference"}.get(adjust or "")
    if suits is None or (isinstance(method, str) and method == suits and not interaction):
        return
    raise ValueError(
        f"adjust={adjust!r} needs method={suits!r}; use 'holm' or 'bonferroni' for other methods."
    )


def _table(means: MarginalMeans, named: Rows, rows: np.ndarray, adjust: str | None) -> pd.DataFrame:
    """One family of contrasts, adjusted."""
    weights = np.array([part for _, part in named])
    L = weights @ means.L[rows]
    known = np.array([means.estimable[rows][part != 0.0].all() for part in weights], bool)
    found = means.questions.estimates(L, means.level)
    table = pd.DataFrame(found, index=[label for label, _ in named])
    covariance = L @ means.questions.covariance @ L.T
    deviations = np.sqrt(np.diagonal(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = covariance / np.outer(deviations, deviations)
    table.loc[~known] = np.nan
    family = Family(table["statistic"].to_numpy(), table["df"].to_numpy(), correlation, len(rows))
    adjustment = ADJUSTMENTS[adjust]
    half = adjustment.critical(family, means.level) * table["std_error"]
    return pd.DataFrame(
        {
            "estimate": table["estimate"], "std_error": table["std_error"], "df": table["df"],
            "lower": table["estimate"] - half, "upper": table["estimate"] + half,
            "statistic": table["statistic"], "p_value": adjustment.p_values(family),
            "p_unadjusted": family.unadjusted,
        }
    )  # fmt: skip
