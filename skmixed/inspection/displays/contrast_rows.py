"""Contrasts of marginal means with their intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from skmixed.inspection.displays.interval_rows import IntervalRowsDisplay, Panel

if TYPE_CHECKING:
    from skmixed.inspection.mean_contrasts import Contrasts


class ContrastsDisplay(IntervalRowsDisplay):
    """Contrasts with simultaneous intervals, their p-values and a line at zero.

    Use :meth:`from_contrasts`, or ``contrasts(means).plot()``.

    Parameters
    ----------
    panels : sequence of Panel
        One per family of contrasts: one panel per value of ``by``.
    reference, log_scale
        As for all displays of rows.

    Attributes
    ----------
    panels, reference, log_scale
        As given.
    ax_ : matplotlib Axes, or ndarray of them
        One per family.
    figure_ : matplotlib Figure
        Their figure.

    See Also
    --------
    MarginalMeansDisplay : The means that are compared.

    Examples
    --------
    >>> from skmixed import contrasts, marginal_means, mixed
    >>> from skmixed.datasets import load_cbpp
    >>> from skmixed.inspection import ContrastsDisplay
    >>> frame = load_cbpp().frame
    >>> frame["rate"] = frame["incidence"] / frame["size"]
    >>> model = mixed("rate ~ period + (1 | herd)", frame)
    >>> display = ContrastsDisplay.from_contrasts(contrasts(marginal_means(model, "period")))
    >>> len(display.panels[0].table)
    6
    """

    @classmethod
    def from_contrasts(
        cls,
        contrasts: Contrasts,
        *,
        ax: Any = None,
        point_kwargs: Mapping[str, Any] | None = None,
        interval_kwargs: Mapping[str, Any] | None = None,
        line_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Plot contrasts.

        Parameters
        ----------
        contrasts : Contrasts
            From `skmixed.contrasts`.
        ax, point_kwargs, interval_kwargs, line_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : ContrastsDisplay
            With the plot.
        """
        table, by = contrasts.table, list(contrasts.by)
        xlabel = f"{contrasts.label}, {100 * contrasts.level:g} % interval"
        if not by:
            panels = [Panel(table, xlabel)]
        else:
            panels = [
                Panel(
                    rows.drop(columns=by), xlabel,
                    ", ".join(f"{name} = {value}" for name, value in zip(by, values, strict=True)),
                )
                for values, rows in table.groupby(by, sort=False)
            ]  # fmt: skip
        return cls(panels).plot(
            ax, point_kwargs=point_kwargs, interval_kwargs=interval_kwargs, line_kwargs=line_kwargs
        )
