"""What a bootstrap found."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import pandas as pd

KINDS = ("percentile", "basic")


@dataclass(frozen=True, eq=False)
class BootstrapResult:
    """Values of a statistic in refits; prints as text, shows as HTML in notebooks.

    Attributes
    ----------
    observed : Series
        The statistic of the fitted model.
    values : DataFrame
        A row a refit that could be made, a column an entry of the statistic. NaN entries
        do not enter standard errors, bias and intervals.
    n_failed : int
        Fits that could not be made; they are not in `values`.
    n_unconverged : int
        Fits that did not converge; they are in `values`.
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
        """Mean of the values less the observed one."""
        return self.values.mean() - self.observed

    def confidence_interval(self, level: float = 0.95, kind: str = "percentile") -> pd.DataFrame:
        """Confidence interval of every entry.

        Parameters
        ----------
        level : float, default=0.95
            Probability of the interval, between 0 and 1.
        kind : {"percentile", "basic"}, default="percentile"
            Quantiles of the values; or those of their distance to the observed value, turned
            round, which corrects a bias once (Davison and Hinkley 1997, "Bootstrap Methods and
            their Application", chapter 5).

        Returns
        -------
        interval : DataFrame
            Columns ``lower`` and ``upper``.

        Raises
        ------
        ValueError
            When `level` is no probability or `kind` is not one of the two words.
        """
        if isinstance(level, bool) or not 0.0 < level < 1.0:
            raise ValueError(f"level={level!r} must lie between 0 and 1, as in level=0.95.")
        if kind not in KINDS:
            raise ValueError(f"kind={kind!r} is not known; choose 'percentile' or 'basic'.")
        tail = 0.5 * (1.0 - level)
        lower, upper = self.values.quantile(tail), self.values.quantile(1.0 - tail)
        if kind == "basic":
            lower, upper = 2.0 * self.observed - upper, 2.0 * self.observed - lower
        return pd.DataFrame({"lower": lower, "upper": upper})

    def to_frame(self, level: float = 0.95, kind: str = "percentile") -> pd.DataFrame:
        """Everything in a table.

        Parameters
        ----------
        level : float, default=0.95
            Probability of the intervals.
        kind : {"percentile", "basic"}, default="percentile"
            As for `confidence_interval`.

        Returns
        -------
        DataFrame
            Columns observed, bias, std_error, lower and upper, a row an entry.
        """
        frame = pd.DataFrame(
            {"observed": self.observed, "bias": self.bias, "std_error": self.standard_error}
        )
        return frame.join(self.confidence_interval(level, kind))

    def __str__(self) -> str:
        lines = [_TITLE, "=" * len(_TITLE), self._fits(), "", self._shown().to_string()]
        return "\n".join([*lines, "", _INTERVAL])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        table = self._shown().to_html(border=0)
        return (
            f"<div><h3>{_TITLE}</h3><p>{escape(self._fits())}</p>{table}"
            f"<p>{escape(_INTERVAL)}</p></div>"
        )

    def _fits(self) -> str:
        failed = f", {self.n_failed} failed" if self.n_failed else ""
        rough = f", {self.n_unconverged} of them not converged" if self.n_unconverged else ""
        return f"{len(self.values)} fits{rough}{failed}"

    def _shown(self) -> pd.DataFrame:
        return self.to_frame().map(lambda value: f"{value:.6g}")


_TITLE = "Parametric bootstrap"
_INTERVAL = "lower, upper: 95 % percentile interval."
