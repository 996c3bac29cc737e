"""The result of a parametric bootstrap."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from skmixed.inspection.report import Account, Report
from skmixed.validation import check_choice, check_level

KINDS = ("percentile", "basic")


@dataclass(frozen=True, eq=False, repr=False)
class BootstrapResult(Report):
    """Values of a statistic in refits; prints as text, shows as HTML in notebooks.

    Attributes
    ----------
    observed : Series
        The statistic of the fitted model.
    values : DataFrame
        One row per successful refit, one column per entry of the statistic. Standard errors, bias
        and intervals ignore NaN.
    n_failed : int
        Number of failed fits, which are not in `values`.
    n_unconverged : int
        Number of fits that did not converge, which are in `values`.
    """

    observed: pd.Series
    values: pd.DataFrame
    n_failed: int = 0
    n_unconverged: int = 0

    @property
    def standard_error(self) -> pd.Series:
        """Standard deviation of the values."""
        return self.values.std(ddof=1)

    @property
    def bias(self) -> pd.Series:
        """Mean of the values minus the observed value."""
        return self.values.mean() - self.observed

    def confidence_interval(self, level: float = 0.95, kind: str = "percentile") -> pd.DataFrame:
        """Confidence intervals of all entries.

        Parameters
        ----------
        level : float, default=0.95
            Probability of the interval, between 0 and 1.
        kind : {"percentile", "basic"}, default="percentile"
            "percentile": quantiles of the values. "basic": 2 times the observed value minus the
            quantiles, which corrects the bias (Davison and Hinkley 1997, "Bootstrap Methods and
            their Application", chapter 5).

        Returns
        -------
        interval : DataFrame
            Columns ``lower`` and ``upper``.

        Raises
        ------
        ValueError
            If `level` is not a probability or `kind` is not known.
        """
        check_level(level)
        check_choice("kind", kind, KINDS)
        tail = 0.5 * (1.0 - level)
        lower, upper = self.values.quantile(tail), self.values.quantile(1.0 - tail)
        if kind == "basic":
            lower, upper = 2.0 * self.observed - upper, 2.0 * self.observed - lower
        return pd.DataFrame({"lower": lower, "upper": upper})

    def to_frame(self, level: float = 0.95, kind: str = "percentile") -> pd.DataFrame:
        """All results in a table.

        Parameters
        ----------
        level : float, default=0.95
            Probability of the intervals.
        kind : {"percentile", "basic"}, default="percentile"
            As for `confidence_interval`.

        Returns
        -------
        DataFrame
            Columns observed, bias, std_error, lower and upper, one row per entry.
        """
        frame = pd.DataFrame(
            {"observed": self.observed, "bias": self.bias, "std_error": self.standard_error}
        )
        return frame.join(self.confidence_interval(level, kind))

    def _account(self) -> Account:
        failed = f", {self.n_failed} failed" if self.n_failed else ""
        rough = f", {self.n_unconverged} of them not converged" if self.n_unconverged else ""
        fits = f"{len(self.values)} fits{rough}{failed}"
        table = self.to_frame().map(lambda value: f"{value:.6g}")
        note = "lower, upper: 95 % percentile interval."
        return Account("Parametric bootstrap", {"": fits}, [("", table)], [note])
