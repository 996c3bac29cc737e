"""Standard errors of the coefficients that hold where the model's covariance does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_consistent_length

from skmixed.fitted_model import TrainingData, fitted_model
from skmixed.inspection.answer import Answer
from skmixed.inspection.attributes import Coefficients, coefficients_of
from skmixed.inspection.fixed_effects import interval_and_test
from skmixed.inspection.linear_functions import as_matrix
from skmixed.results.cluster_scores import BiasReduced, RowModel, sandwich
from skmixed.results.coefficient_tests import JointTest, independent_parts
from skmixed.validation import check_choice, check_level

KINDS = ("CR0", "CR1", "CR1S", "CR2")


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class RobustCovariance(Answer):
    """Coefficients with robust standard errors, and tests of several together.

    Attributes
    ----------
    cov : DataFrame (p, p)
        Robust covariance of the intercept and the coefficients.
    coefficients : Coefficients
    n_clusters : int
    reduced : BiasReduced or None
        Arrays for the tests of CR2.
    change : ndarray (p, r)
        Maps the estimated, centred coefficients to the published ones.
    """

    cov: pd.DataFrame
    coefficients: Coefficients
    n_clusters: int
    reduced: BiasReduced | None
    change: np.ndarray

    def test(self, hypothesis: Any) -> Answer:
        """Test functions of the coefficients jointly against 0.

        Parameters
        ----------
        hypothesis : array-like of shape (k, n_coefficients), mapping or DataFrame
            In the order of the intercept and `coef_`, or by name.

        Returns
        -------
        answer : Answer
            One row with num_df, den_df, F and p_value: for CR2 the approximate Hotelling test HTZ
            of Pustejovsky and Tipton (2018), for others Wald's test with one degree of freedom
            fewer than clusters.
        """
        L = as_matrix(hypothesis, self.coefficients.names).to_numpy(float)
        values = L @ self.coefficients.estimates
        if self.reduced is not None:
            test = self.reduced.joint_test(L @ self.change, values)
        else:
            variances, vectors = independent_parts(L @ self.cov.to_numpy() @ L.T)
            squares = (vectors.T @ values) ** 2 / variances
            test = JointTest(float(squares.mean()), len(squares), self.n_clusters - 1.0)
        row = {"num_df": float(test.num_df), "den_df": test.den_df, "F": test.F}
        table = pd.DataFrame([{**row, "p_value": test.p_value}], index=["hypothesis"])
        return Answer("Robust test of a hypothesis", table, self.facts)


def robust_covariance(
    model: Any,
    groups: Any,
    X: Any = None,
    y: Any = None,
    sample_weight: Any = None,
    *,
    kind: str = "CR0",
    level: float = 0.95,
) -> RobustCovariance:
    """Standard errors of the coefficients from the scores of clusters of rows.

    With many clusters they are valid for any covariance of the rows within a cluster.

    Parameters
    ----------
    model : MixedEffectsVIRegressor
        A fitted model of a normal response.
    groups : column, list of two columns, or array-like of shape (n_samples,)
        The cluster of each row: a column of X, or labels. Two columns: two-way clusters (Cameron,
        Gelbach and Miller 2011, J. Business & Economic Statistics 29).
    X, y, sample_weight : array-like, default=None
        The data of the fit, if the model did not keep them.
    kind : {"CR0", "CR1", "CR1S", "CR2"}, default="CR0"
        "CR0": the scores as they are [1]_. "CR1": times m / (m - 1) for m clusters. "CR1S": that
        times (n - 1) / (n - p). "CR2": bias-reduced [2]_, with degrees of freedom; use it for few
        clusters. Each group of the model must then lie within one cluster.
    level : float, default=0.95
        Probability of the intervals.

    Returns
    -------
    robust : RobustCovariance
        Prints as text, shows as HTML, and has ``.to_frame()``, ``.cov`` and ``.test``.

    Raises
    ------
    ValueError
        If the response is not normal, groups have rows in several clusters with "CR2", or data are
        missing.

    References
    ----------
    .. [1] Liang and Zeger (1986), "Longitudinal data analysis using generalized linear models",
       Biometrika 73.
    .. [2] Pustejovsky and Tipton (2018), "Small-sample methods for cluster-robust variance
       estimation and hypothesis testing in fixed effects models", J. Business & Economic
       Statistics 36.

    Examples
    --------
    >>> from skmixed import mixed, robust_covariance
    >>> from skmixed.datasets import load_sleepstudy
    >>> model = mixed("Reaction ~ Days + (Days | Subject)", load_sleepstudy().frame)
    >>> table = robust_covariance(model, "Subject", kind="CR2").to_frame()
    >>> table["std_error"].round(3).tolist()
    [6.825, 1.546]
    """
    check_choice("kind", kind, KINDS)
    check_level(level)
    fitted = fitted_model(model)
    if not fitted.likelihood.is_quadratic:
        raise ValueError(
            f"robust_covariance() needs a normal response, but this one is "
            f"{fitted.likelihood.name}. Resample clusters, or use parametric_bootstrap."
        )
    data = fitted.training_data(X, y, sample_weight, "robust_covariance()")
    observed = fitted.observe(data)
    noise = np.broadcast_to(observed.parameters, observed.weights.shape) / observed.weights
    rows = RowModel.of(observed.design, observed.response, noise, fitted.result)
    clusters = _clusters(data, groups)
    coefficients = coefficients_of(fitted)
    change = coefficients.from_centred[:, rows.kept]
    n_clusters = min(int(codes.max()) + 1 for codes in clusters)
    reduced = None
    if kind == "CR2":
        _refuse_crossed(rows, clusters)
        reduced = BiasReduced.of(rows, clusters[0])
        covariance = reduced.covariance
        df = reduced.degrees_of_freedom(change)
    else:
        covariance = _summed(rows, clusters, kind)
        df = np.full(len(change), n_clusters - 1.0)
    published = change @ covariance @ change.T
    errors = np.sqrt(np.maximum(np.diagonal(published), 0.0))
    table = pd.DataFrame(
        interval_and_test(coefficients.estimates, errors, df, level), index=coefficients.names
    )
    facts = {"Kind": kind, "Clusters": f"{n_clusters:,}", "Interval": f"{level:.0%}"}
    return RobustCovariance(
        "Fixed effects with robust standard errors", table, facts, (),
        cov=pd.DataFrame(published, index=coefficients.names, columns=coefficients.names),
        coefficients=coefficients, n_clusters=n_clusters, reduced=reduced, change=change,
    )  # fmt: skip


def _summed(rows: RowModel, clusters: list[np.ndarray], kind: str) -> np.ndarray:
    """CR0, CR1 or CR1S; of two ways the sum of both less that of their combinations."""
    covariance = _scaled(rows, clusters[0], kind)
    if len(clusters) == 2:
        pairs = np.unique(np.column_stack(clusters), axis=0, return_inverse=True)[1].ravel()
        covariance = covariance + _scaled(rows, clusters[1], kind) - _scaled(rows, pairs, kind)
    return covariance


def _scaled(rows: RowModel, clusters: np.ndarray, kind: str) -> np.ndarray:
    m, (n, p) = int(clusters.max()) + 1, rows.X.shape
    factor = 1.0 if kind == "CR0" else m / (m - 1.0)
    if kind == "CR1S":
        factor *= (n - 1.0) / (n - p)
    return factor * sandwich(rows, clusters)


def _refuse_crossed(rows: RowModel, clusters: list[np.ndarray]) -> None:
    if len(clusters) > 1:
        raise ValueError(
            "kind='CR2' needs one-way clusters; use 'CR0' or 'CR1' for two-way clusters."
        )
    if rows.is_crossed(clusters[0]):
        raise ValueError(
            "kind='CR2' needs clusters that contain all rows of every group, but some group of the "
            "model has rows in several clusters. Cluster by the outermost group, or use 'CR1'."
        )


def _clusters(data: TrainingData, groups: Any) -> list[np.ndarray]:
    """Numbers of the clusters of the rows that count, one array for each way."""
    if isinstance(groups, list | tuple) and len(groups) == 2 and len(data.used) != 2:
        ways = [cluster_labels(data, column, "groups=") for column in groups]
    else:
        ways = [cluster_labels(data, groups, "groups=")]
    return [pd.factorize(labels)[0] for labels in ways]


def cluster_labels(data: TrainingData, groups: Any, argument: str) -> np.ndarray:
    """Labels of the rows that count: a column's, or those that were passed.

    Raises
    ------
    ValueError
        If there is no such column, a label is missing, or all are one.
    """
    if isinstance(groups, str) or np.ndim(groups) == 0:
        if not (hasattr(data.X, "columns") and groups in list(data.X.columns)):
            raise ValueError(
                f"{argument}{groups!r} is not a column of X; pass a column's name, or a label per "
                "row."
            )
        groups = data.X[groups]
    check_consistent_length(groups, data.y)
    labels = np.asarray(groups)[data.used]
    if pd.isna(labels).any():
        raise ValueError(f"{argument} has missing labels; give these rows a label of their own.")
    if len(pd.unique(labels)) < 2:
        raise ValueError(f"{argument} has a single label, but needs two or more.")
    return labels
