"""What estimates would be without the rows of one level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from skmixed.fit.result import FitResult
from skmixed.fitted_model import FittedModel, fitted_model
from skmixed.inspection.answer import Answer
from skmixed.inspection.attributes import coefficients_of
from skmixed.inspection.displays.drawing import axes_and_figure
from skmixed.inspection.refits import Refit
from skmixed.inspection.robust import cluster_labels
from skmixed.results.reopened import ReopenedFit
from skmixed.threads import restrained_blas
from skmixed.validation import check_choice

VARIANCES = ("estimated", "held")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Influence(Answer):
    """Estimates without each level, and how far they move.

    Attributes
    ----------
    coef : DataFrame (levels, p)
        Intercept and coefficients without the rows of a level.
    dfbetas : DataFrame (levels, p)
        Their distances from those of all rows, in standard errors without the level.
    """

    coef: pd.DataFrame
    dfbetas: pd.DataFrame

    def plot(self, ax: Any = None, n_largest: int = 20) -> Any:
        """Draw the largest of Cook's distances.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: those of a new figure.
        n_largest : int, default=20
            Levels that are shown.

        Returns
        -------
        ax : matplotlib Axes
        """
        ax, _ = axes_and_figure(ax)
        shown = self.table["cooks_distance"].sort_values().tail(n_largest)
        places = np.arange(len(shown))
        ax.hlines(places, 0.0, shown, color="C0", linewidth=1.0)
        ax.plot(shown, places, "o", color="C0")
        ax.set_yticks(places, [str(level) for level in shown.index])
        ax.set(xlabel="Cook's distance", ylabel=self.facts["Left out"], xlim=(0.0, None))
        return ax


def influence(
    model: Any,
    by: Any,
    X: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    *,
    variances: str = "estimated",
) -> Influence:
    """Leave out the rows of every level of a column, one after the other.

    Parameters
    ----------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        A fitted model.
    by : column or array-like of shape (n_samples,)
        The column whose levels are left out, or labels of the rows.
    X, y, sample_weight : array-like, default=None
        The data of the fit, where the model did not keep them.
    variances : {"estimated", "held"}, default="estimated"
        Whether variances are estimated again without each level, from the estimates of all
        rows on, or held at these: the coefficients then follow from one solution. Held is for
        normal responses.

    Returns
    -------
    influence : Influence
        Prints as text, shows as HTML, and has ``.to_frame()``: a row per level with
        cooks_distance and mdffits (squared distances of the coefficients over their number,
        by the covariance of all rows and by that without the level), covariance_ratio
        (determinant of the covariance without the level, over that with it) and sigma (the noise
        standard deviation without it). ``.coef``, ``.dfbetas`` and ``.plot()``.

    Raises
    ------
    ValueError
        When the column does not exist, has one level, or data are missing.

    References
    ----------
    .. [1] Demidenko and Stukel (2005), "Influence analysis for linear mixed-effects models",
       Statistics in Medicine 24.

    Examples
    --------
    >>> from skmixed import influence, mixed
    >>> from skmixed.datasets import load_sleepstudy
    >>> model = mixed("Reaction ~ Days + (Days | Subject)", load_sleepstudy().frame)
    >>> table = influence(model, "Subject").to_frame()
    >>> table["cooks_distance"].idxmax()
    np.int64(309)
    """
    check_choice("variances", variances, VARIANCES)
    fitted = fitted_model(model)
    if variances == "held" and not fitted.likelihood.is_quadratic:
        raise ValueError("variances='held' is for normal responses; use variances='estimated'.")
    data = fitted.training_data(X, y, sample_weight, "influence()")
    refit = Refit.of(fitted, data)
    labels = cluster_labels(data, by, "by=")
    codes, levels = pd.factorize(labels, sort=True)
    without = _held if variances == "held" else _estimated
    found = [_published(fitted, without(fitted, refit, codes == k)) for k in range(len(levels))]
    names = coefficients_of(fitted).names
    index = pd.Index(levels, name=by if isinstance(by, str) else None)
    whole = _published(fitted, fitted.result)
    table = pd.DataFrame([_row(whole, part) for part in found], index=index)
    coef = pd.DataFrame([part.coef for part in found], index=index, columns=names)
    moves = [(whole.coef - part.coef) / np.sqrt(np.diagonal(part.covariance)) for part in found]
    dfbetas = pd.DataFrame(moves, index=index, columns=names)
    facts = {"Left out": str(by) if isinstance(by, str) else "level", "Variances": variances}
    return Influence("Influence of levels", table, facts, coef=coef, dfbetas=dfbetas)


@dataclass(frozen=True)
class _Estimates:
    """Published coefficients (p,), their covariance, and the noise standard deviation."""

    coef: np.ndarray
    covariance: np.ndarray
    sigma: float


def _estimated(model: FittedModel, refit: Refit, left_out: np.ndarray) -> FitResult:
    """The fit without some rows."""
    return refit.without_rows(left_out).fit()


def _held(model: FittedModel, refit: Refit, left_out: np.ndarray) -> FitResult:
    """The coefficients without some rows, at the variances of all."""
    part = refit.without_rows(left_out)
    with restrained_blas(part.options.n_threads):
        fit = ReopenedFit.at_variances(
            part.design, part.response, part.weights, model.result, part.options
        )
    return fit.with_coefficients()


def _published(model: FittedModel, result: FitResult) -> _Estimates:
    fixed = coefficients_of(replace(model, result=result))
    return _Estimates(fixed.estimates, fixed.covariance, float(np.sqrt(result.noise_variance)))


def _row(whole: _Estimates, part: _Estimates) -> dict[str, float]:
    move = whole.coef - part.coef
    known = np.diagonal(whole.covariance) > 0.0
    move, inner = move[known], whole.covariance[np.ix_(known, known)]
    other = part.covariance[np.ix_(known, known)]
    p = len(move)
    return {
        "cooks_distance": float(move @ np.linalg.solve(inner, move)) / p,
        "mdffits": float(move @ np.linalg.solve(other, move)) / p,
        "covariance_ratio": float(np.exp(_log_det(other) - _log_det(inner))),
        "sigma": part.sigma,
    }


def _log_det(matrix: np.ndarray) -> float:
    return float(np.linalg.slogdet(matrix)[1])
