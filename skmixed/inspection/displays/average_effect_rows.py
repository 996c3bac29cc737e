"""Average effects of columns on the response, with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from skmixed.inspection.displays.interval_rows import IntervalRowsDisplay, Panel

if TYPE_CHECKING:
    from skmixed.inspection.average_effects import AverageEffects


class AverageEffectsDisplay(IntervalRowsDisplay):
    """Average effects with intervals; differences share a panel, each slope has its own.

    Use :meth:`from_effects`, or ``marginal_effects(model, columns).plot()``.

    Parameters
    ----------
    panels : sequence of Panel
        One per unit.
    reference, log_scale
        As for all displays of rows.

    Attributes
    ----------
    panels, reference, log_scale
        As given.
    ax_ : matplotlib Axes, or ndarray of them
        One per unit.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> from skmixed import MixedEffectsVIClassifier, marginal_effects
    >>> from skmixed.datasets import make_mixed_classification
    >>> from skmixed.inspection import AverageEffectsDisplay
    >>> X, y, _ = make_mixed_classification(n_samples=500, groups=(20,), random_state=0)
    >>> model = MixedEffectsVIClassifier("g0").fit(X, y)
    >>> display = AverageEffectsDisplay.from_effects(marginal_effects(model, "x0", X))
    >>> display.panels[0].xlabel
    'slope of the mean response, per unit of x0'
    """

    @classmethod
    def from_effects(
        cls,
        effects: AverageEffects,
        *,
        ax: Any = None,
        point_kwargs: Mapping[str, Any] | None = None,
        interval_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Plot average effects.

        Parameters
        ----------
        effects : AverageEffects
            From `skmixed.marginal_effects`.
        ax, point_kwargs, interval_kwargs, line_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : AverageEffectsDisplay
            With the plot.
        """
        table = effects.table
        is_slope = table["contrast"] == "derivative"
        panels = []
        if not is_slope.all():
            rows = table[~is_slope]
            labels = rows["column"].astype(str) + ": " + rows["contrast"]
            panels.append(Panel(rows.set_axis(labels), "difference of mean responses"))
        for position in range(len(table)):
            if is_slope.iloc[position]:
                row = table.iloc[[position]]
                column = str(row["column"].iloc[0])
                label = f"slope of the mean response, per unit of {column}"
                panels.append(Panel(row.set_axis([column]), label))
        return cls(panels).plot(
            ax, point_kwargs=point_kwargs, interval_kwargs=interval_kwargs, line_kwargs=line_kwargs
        )
