"""What estimates would be without the rows of one level."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from skmixed.fit.result import FitResult
from skmixed.fitted_model import FittedModel, TrainingData, fitted_model
from skmixed.inspection.answer import Answer
from skmixed.inspection.attributes import coefficients_of
from skmixed.inspection.displays.influential_levels import InfluenceDisplay
from skmixed.inspection.refits import Refit
from skmixed.inspection.robust import cluster_labels
from skmixed.results.left_out import RowDeletions, WithoutGroup
from skmixed.results.reopened import ReopenedFit
from skmixed.threads import restrained_blas
from skmixed.validation import check_choice

VARIANCES = ("estimated", "held")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Influence(Answer):
    """Estimates without each level, and their changes.

    Attributes
    ----------
    coef : DataFrame (levels, p)
        Intercept and coefficients without the rows of a level.
    dfbetas : DataFrame (levels, p)
        Their differences from the estimates of all rows, in standard errors without the level.
    """

    coef: pd.DataFrame
    dfbetas: pd.DataFrame

    def plot(self, ax: Any = None, n_largest: int = 20) -> Any:
        """Draw the largest of Cook's distances.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None: a new figure.
        n_largest : int, default=20
            Number of levels to show.

        Returns
        -------
        ax : matplotlib Axes
        """
        return InfluenceDisplay.from_influence(self, n_levels=n_largest, ax=ax).ax_


def influence(
    model: Any,
    by: Any,
    X: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    *,
    variances: str = "estimated",
) -> Influence:
    """Measure the influence of each level of a column by leaving out its rows.

    Parameters
    ----------
    model : MixedEffectsVIRegressor or MixedEffectsVIClassifier
        A fitted model.
    by : column or array-like of shape (n_samples,)
        The column whose levels are left out: any column of X, a combination of columns that the
        model groups by, ``"Block:Variety"``, or labels of the rows.
    X, y, sample_weight : array-like, default=None
        The data of the fit, if the model did not keep them.
    variances : {"estimated", "held"}, default="estimated"
        "estimated": estimate variances again without each level, starting from those of all rows.
        "held": keep the variances of all rows; then one factorisation serves all levels, in less
        than a millisecond each. "held" needs normal responses.

    Returns
    -------
    influence : Influence
        Prints as text, shows as HTML, and has ``.to_frame()``: one row per level with
        cooks_distance and mdffits (squared distance of the coefficients divided by their number, by
        the covariance of all rows and by that without the level), covariance_ratio (determinant of
        the covariance without the level, divided by that with it) and sigma (the standard deviation
        of the noise without it). Also has ``.coef``, ``.dfbetas`` and ``.plot()``.

    Raises
    ------
    ValueError
        If the column does not exist, has one level, or data are missing.

    Notes
    -----
    For normal responses the sums over the rows of a level are subtracted from those of all rows, so
    no row is encoded again. Fits use the rows if a coefficient depends on the level alone, with
    ``dispersion=``, and for other families.

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
    codes, levels = pd.factorize(_labels(fitted, refit, data, by), sort=True)
    coef, covariances, sigma = _without(fitted, refit, codes, len(levels), variances == "held")
    names = coefficients_of(fitted).names
    index = pd.Index(levels, name=by if isinstance(by, str) else None)
    whole = _published(fitted, fitted.result)
    table = pd.DataFrame(_distances(whole, coef, covariances), index=index)
    table["sigma"] = sigma
    with np.errstate(divide="ignore", invalid="ignore"):
        moves = (whole.coef - coef) / np.sqrt(np.diagonal(covariances, axis1=1, axis2=2))
    facts = {"Left out": str(by) if isinstance(by, str) else "level", "Variances": variances}
    return Influence(
        "Influence of levels", table, facts,
        coef=pd.DataFrame(coef, index=index, columns=names),
        dfbetas=pd.DataFrame(moves, index=index, columns=names),
    )  # fmt: skip


def _labels(model: FittedModel, refit: Refit, data: TrainingData, by: Any) -> np.ndarray:
    """Labels of the rows: of a column, of a combination that the model groups by, or as given."""
    names = model.encoder.factor_names
    if isinstance(by, str) and by in names and by not in getattr(data.X, "columns", ()):
        position = names.index(by)
        known = model.encoder.factors[position].levels.labels
        labels = np.array([":".join(map(str, label)) for label in known], dtype=object)
        found: np.ndarray = labels[refit.design.factors[position].codes]
        return found
    return cluster_labels(data, by, "by=")


@dataclass(frozen=True)
class _Estimates:
    """Published coefficients (p,), their covariance, and the noise standard deviation."""

    coef: np.ndarray
    covariance: np.ndarray
    sigma: float


def _without(
    model: FittedModel, refit: Refit, codes: np.ndarray, n_levels: int, held: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients (L, p), covariances (L, p, p) and noise sds (L,) without each level."""
    found: list[WithoutGroup | None] = [None] * n_levels
    options = refit.options
    plain = options.noise == "constant" and options.variance_prior is None
    if refit.likelihood.is_quadratic and plain:
        arguments = (refit.design, refit.response, refit.weights, codes)
        with restrained_blas(refit.options.n_threads):
            deletions = RowDeletions.of(*arguments, model.result, refit.options)
            found = deletions.held() if held else deletions.estimated()
            base = _Published.of(model, deletions.fit)
    again = _held if held else _estimated
    parts = [
        _published(model, again(model, refit, codes == k)) if part is None else base.of_part(part)
        for k, part in enumerate(found)
    ]
    return (
        np.array([part.coef for part in parts]),
        np.array([part.covariance for part in parts]),
        np.array([part.sigma for part in parts]),
    )


@dataclass(frozen=True)
class _Published:
    """The way from coefficients in standard units to published ones.

    Attributes
    ----------
    coef : ndarray (p,)
        Published coefficients where those in standard units are 0.
    matrix : ndarray (p, r)
    unit : float
        Of the noise variance.
    """

    coef: np.ndarray
    matrix: np.ndarray
    unit: float

    @classmethod
    def of(cls, model: FittedModel, fit: ReopenedFit) -> _Published:
        here = fit.with_coefficients()
        fixed = coefficients_of(replace(model, result=here))
        matrix = fixed.from_centred @ fit.to_centred
        coef = fixed.estimates - matrix @ fit.point.system.fixed_effects
        return cls(coef, matrix, fit.units.noise)

    def of_part(self, part: WithoutGroup) -> _Estimates:
        return _Estimates(
            self.coef + self.matrix @ part.coefficients,
            part.noise * (self.matrix @ part.covariance @ self.matrix.T),
            float(np.sqrt(part.noise * self.unit)),
        )


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


def _distances(
    whole: _Estimates, coef: np.ndarray, covariances: np.ndarray
) -> dict[str, np.ndarray]:
    """The columns of the table, (L,) each, from coefficients (L, p) and covariances (L, p, p)."""
    known = np.flatnonzero(np.diagonal(whole.covariance) > 0.0)
    moves = (whole.coef - coef)[:, known, None]
    inner = whole.covariance[np.ix_(known, known)]
    others = covariances[:, known[:, None], known]
    p = len(known)
    with np.errstate(divide="ignore"):
        ratio = np.linalg.slogdet(others)[1] - np.linalg.slogdet(inner)[1]
    return {
        "cooks_distance": (moves * np.linalg.solve(inner, moves)).sum(axis=(1, 2)) / p,
        "mdffits": (moves * _solved(others, moves)).sum(axis=(1, 2)) / p,
        "covariance_ratio": np.exp(ratio),
    }


def _solved(matrices: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Solutions (L, p, 1) of many systems; NaN for a singular one."""
    try:
        return np.linalg.solve(matrices, columns)
    except np.linalg.LinAlgError:
        out = np.full(columns.shape, np.nan)
        for k, (matrix, column) in enumerate(zip(matrices, columns, strict=True)):
            if np.linalg.matrix_rank(matrix, hermitian=True) == len(matrix):
                out[k] = np.linalg.solve(matrix, column)
        return out
