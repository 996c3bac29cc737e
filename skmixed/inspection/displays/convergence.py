"""How a fit came to its end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from skmixed.inspection.displays.common import split_pipeline
from skmixed.inspection.displays.drawing import load_pyplot, reference_style, styled


class ConvergenceDisplay:
    """The ELBO and the scaled gradient, iteration by iteration.

    Use :meth:`from_estimator` to make one.

    Parameters
    ----------
    elbo_path : ndarray of shape (n_steps + 1,)
        The ELBO at the start and after every step.
    gradient_path : ndarray of shape (n_steps + 1,)
        The scaled gradient at the same points: the distance to the optimum in standard errors of
        the variance parameters.
    tol : float, default=None
        Scaled gradient below which the fit stops.
    converged : bool, default=True
        Whether the fit converged.

    Attributes
    ----------
    elbo_path, gradient_path, tol, converged
        As given.
    distances : ndarray of shape (n_steps + 1,)
        ``abs(elbo_path - elbo_path[-1])``; the last one is 0 and is not shown on the logarithmic
        axis.
    ax_ : ndarray of shape (2,) of matplotlib Axes
        The axes of the ELBO, and those of the gradient.
    figure_ : matplotlib Figure
        Their figure.

    Notes
    -----
    With ``solver="iterative"`` the ELBO and the distances are estimated from random vectors;
    ``elbo_std_`` is their Monte Carlo error.

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor
    >>> from skmixed.datasets import make_mixed_regression
    >>> from skmixed.inspection import ConvergenceDisplay
    >>> X, y, _ = make_mixed_regression(n_samples=500, groups=(20, 10), random_state=0)
    >>> model = MixedEffectsVIRegressor(random_effects=["g0", "g1"]).fit(X, y)
    >>> display = ConvergenceDisplay.from_estimator(model)
    >>> bool(display.gradient_path[-1] < display.tol)
    True
    """

    def __init__(
        self,
        elbo_path: np.ndarray,
        gradient_path: np.ndarray,
        *,
        tol: float | None = None,
        converged: bool = True,
    ) -> None:
        self.elbo_path = np.asarray(elbo_path, dtype=float)
        self.gradient_path = np.asarray(gradient_path, dtype=float)
        self.tol = tol
        self.converged = converged
        with np.errstate(invalid="ignore"):
            self.distances = np.abs(self.elbo_path - self.elbo_path[-1])

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Any = None,
        line_kwargs: Mapping[str, Any] | None = None,
        tol_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Plot the paths of a fitted model.

        Parameters
        ----------
        estimator : estimator
            Fitted mixed model, or a pipeline that ends in one.
        ax, line_kwargs, tol_kwargs
            As for :meth:`plot`.

        Returns
        -------
        display : ConvergenceDisplay
            With the plot.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        """
        model, _ = split_pipeline(estimator)
        result, tol = model.result, model.settings.tol
        return cls(model.elbo_path, result.gradient_path, tol=tol, converged=result.converged).plot(
            ax, line_kwargs=line_kwargs, tol_kwargs=tol_kwargs
        )

    def plot(
        self,
        ax: Any = None,
        *,
        line_kwargs: Mapping[str, Any] | None = None,
        tol_kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Draw both paths, one above the other.

        Parameters
        ----------
        ax : matplotlib Axes or array-like of two of them, default=None
            Axes to draw on: two, or one that is split into two. None makes a figure.
        line_kwargs : dict, default=None
            Keywords of `Axes.plot` for the paths.
        tol_kwargs : dict, default=None
            Keywords of `Axes.axhline` for the line at `tol`.

        Returns
        -------
        self : ConvergenceDisplay
            With `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If `ax` has neither one nor two axes.
        """
        self.ax_, self.figure_ = _two_axes(ax)
        upper, lower = self.ax_
        line = styled(line_kwargs, color="C0", marker="o", markersize=4, linewidth=1.5)
        _draw_path(upper, self.distances, line)
        _draw_path(lower, self.gradient_path, line)
        if self.tol is not None:
            lower.axhline(self.tol, **reference_style(tol_kwargs, label=f"tol = {self.tol:g}"))
            lower.legend(loc="upper right")
        upper.set_ylabel("ELBO: distance\nto the final one")
        lower.set(ylabel="scaled gradient", xlabel="iteration")
        upper.tick_params(labelbottom=False)
        final = f"final ELBO {self.elbo_path[-1]:,.3f}"
        upper.set_title(f"{self._reservation()}{final}", fontsize="medium")
        lower.xaxis.get_major_locator().set_params(integer=True)
        return self

    def _reservation(self) -> str:
        """What the end of the paths does not show by itself."""
        if not self.converged:
            return "not converged, "
        above = self.tol is not None and self.gradient_path[-1] > self.tol
        return "converged within rounding, " if above else ""


def _two_axes(ax: Any) -> tuple[np.ndarray, Any]:
    """Axes for the ELBO and for the gradient, and their figure."""
    pyplot = load_pyplot()
    if ax is None:
        figure, axes = pyplot.subplots(2, 1, sharex=True, layout="constrained")
        return axes, figure
    given = np.atleast_1d(np.asarray(ax, dtype=object)).ravel()
    if len(given) == 2:
        return given, given[0].figure
    if len(given) != 1:
        raise ValueError(f"ax holds {len(given)} axes; pass one, or two as from plt.subplots(2).")
    outer = given[0]
    outer.set_axis_off()
    upper = outer.inset_axes((0.0, 0.55, 1.0, 0.45))
    lower = outer.inset_axes((0.0, 0.0, 1.0, 0.45), sharex=upper)
    return np.array([upper, lower]), outer.figure


def _draw_path(ax: Any, path: np.ndarray, line: dict[str, Any]) -> None:
    """A path, on a logarithmic axis where it has positive values to show."""
    positive = np.isfinite(path) & (path > 0)
    if positive.any():
        ax.set_yscale("log")
    ax.plot(
        np.arange(len(path)), np.where(positive, path, np.nan if positive.any() else 0.0), **line
    )
    ax.set_xlim(-0.5, len(path) - 0.5)
