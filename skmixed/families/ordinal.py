"""Classes in an order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from scipy.special import ndtri

from skmixed._kernels.densities import ORDERED_LOGIT, ORDERED_PROBIT
from skmixed.families.base import (
    ClassLikelihood,
    Likelihood,
    ParameterDerivatives,
    ResponseRows,
    RowFunction,
)
from skmixed.families.density import RowDensity
from skmixed.families.folded import distance_quantiles
from skmixed.families.links import LINKS, IntervalExpectations
from skmixed.families.row_terms import by_parts, is_whole, refuse_rows
from skmixed.families.skewed import standard_quantiles


@dataclass(frozen=True)
class Ordinal(ClassLikelihood):
    """P(y <= j | eta) = F(t_j - eta) for classes 0, ..., K - 1 and thresholds t_0 < t_1 < ...

    The linear predictor has an intercept, hence t_0 = 0 is fixed. The own parameters
    are log(t_j - t_(j-1)), j = 1, ..., K - 2 (McCullagh 1980, J. R. Stat. Soc. B 42).

    Parameters
    ----------
    link : {"logit", "probit"}
    n_classes : int
        K, at least 2.

    Raises
    ------
    ValueError
        If `n_classes` is not given or below 2.
    """

    name: ClassVar[str] = "ordinal"
    aliases: ClassVar[tuple[str, ...]] = ("cumulative", "ordered")
    is_ordered: ClassVar[bool] = True

    link: str = "logit"
    n_classes: int | None = None

    def __post_init__(self) -> None:
        if self.n_classes is None or self.n_classes < 2:
            raise ValueError(
                f"family='ordinal' needs 2 classes or more; n_classes is {self.n_classes}"
            )

    def refuse_targets(self, y: np.ndarray) -> None:
        """Raise ValueError unless all responses are numbers of classes."""
        last = self._n_classes - 1
        refuse_rows(
            y,
            is_whole(y) & (y >= 0) & (y <= last),
            f"family='ordinal' needs classes numbered 0 to {last} in their order",
            "number the classes without gaps",
        )

    def is_comparable(self, other: Likelihood) -> bool:
        """Whether the other family has as many classes in an order."""
        return isinstance(other, Ordinal) and self.n_classes == other.n_classes

    def thresholds(self, parameters: np.ndarray) -> np.ndarray:
        """Where the classes meet on the scale of the linear predictor.

        Parameters
        ----------
        parameters : ndarray (K - 2,)
            Logarithms of the gaps.

        Returns
        -------
        ndarray (K - 1,)
            They start with 0 and increase.
        """
        with np.errstate(over="ignore"):
            return np.concatenate([[0.0], np.cumsum(np.exp(parameters))])

    def published(self, parameters: np.ndarray, intercept: float) -> dict[str, Any]:
        """The thresholds, which take in the intercept."""
        return {"thresholds": self.thresholds(parameters) - intercept}

    def start_parameters(self, rows: ResponseRows) -> np.ndarray:
        """Those that fit the proportions of the classes; half a row more keeps them positive."""
        weights = np.broadcast_to(rows.weights, rows.y.shape)
        counts = np.bincount(_classes(rows.y), weights, self._n_classes) + 0.5
        below = np.cumsum(counts)[:-1] / counts.sum()
        return np.log(np.diff(LINKS[self.link].quantile(below)))

    def start(self, rows: ResponseRows, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The centre of the row's class, and the precision there.

        The first and the last class have one end; there it is the linear predictor
        that gives them a probability of 3/4.
        """
        edges = self._edges(parameters)
        quarter = LINKS[self.link].quantile(np.array([0.75]))[0]
        centres = 0.5 * (edges[:-1] + edges[1:])
        centres[0] = edges[1] - quarter
        centres[-1] = edges[-2] + quarter
        every = ResponseRows(np.arange(self._n_classes, dtype=float))
        terms = self.row_terms(every, centres, np.zeros_like(centres), parameters)
        classes = _classes(rows.y)
        return centres[classes], terms.precision[classes]

    def row_function(self, parameters: np.ndarray) -> RowFunction:
        """Expectations of the logarithm of the probability of the row's class."""
        edges = self._edges(parameters)

        def terms(
            y: np.ndarray, mean: np.ndarray, variance: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            at = self._expectations(y, mean, variance, edges)
            return at.value, -at.by_lower - at.by_upper, np.maximum(at.precision, 0.0)

        return terms

    def parameter_derivatives(
        self, rows: ResponseRows, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> ParameterDerivatives:
        """By the logarithms of the gaps, at fixed mean and variance of eta."""
        edges = self._edges(parameters)

        def derivatives(
            y: np.ndarray, mean: np.ndarray, variance: np.ndarray
        ) -> tuple[np.ndarray, ...]:
            at = self._expectations(y, mean, variance, edges)
            return at.by_lower, at.by_upper, at.lower_lower, at.lower_upper, at.upper_upper

        of_rows = by_parts(derivatives, (rows.y, mean, variance), 5, rows.n_threads)
        classes = _classes(rows.y)
        by_lower, by_upper, lower_lower, lower_upper, upper_upper = (
            np.bincount(classes, rows.weights * row, self._n_classes) for row in of_rows
        )
        gradient = by_upper[:-1] + by_lower[1:]
        between = np.diag(lower_upper[1:-1], 1)
        hessian = np.diag(upper_upper[:-1] + lower_lower[1:]) + between + between.T
        return _by_gaps(gradient, hessian, np.exp(parameters))

    def density(self, rows: ResponseRows, parameters: np.ndarray) -> RowDensity:
        """log(F(t_j - eta) - F(t_(j-1) - eta)); natural parameters are all thresholds."""
        classes, last = _classes(rows.y), self._n_classes - 1
        edges, gaps = self._edges(parameters), np.exp(parameters)
        low, high = edges[classes], edges[classes + 1]
        natural = np.column_stack([classes - 1, np.where(classes < last, classes, -1)])
        constant, gradient, hessian = 0.0, np.zeros(last), np.zeros((last, last))
        if self.link == "logit":
            weights = np.broadcast_to(rows.weights, rows.y.shape)
            counts = np.bincount(classes, weights, self._n_classes)[1:-1]
            constant, gradient, hessian = _of_widths(gaps, counts)
        jacobian = _by_logarithms(gaps)
        bends = np.einsum("jk,kl->jkl", jacobian, np.eye(len(gaps)))
        return RowDensity(
            ORDERED_LOGIT if self.link == "logit" else ORDERED_PROBIT, LINKS[self.link].pole,
            rows.y, low, high, natural, constant, gradient, hessian, jacobian, bends,
        )  # fmt: skip

    def probabilities(
        self, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> np.ndarray:
        """P(class) averaged over the linear predictor's distribution, (n, K)."""
        averaged = LINKS[self.link].averaged
        thresholds = self.thresholds(parameters)
        n = len(mean)
        below, above = np.zeros((n, self._n_classes + 1)), np.zeros((n, self._n_classes + 1))
        below[:, -1] = above[:, 0] = 1.0
        for j, threshold in enumerate(thresholds, start=1):
            below[:, j] = averaged(threshold - mean, variance)
            above[:, j] = averaged(mean - threshold, variance)
        # Differences of the smaller tail keep small probabilities accurate.
        classes = np.where(below[:, :-1] > 0.5, -np.diff(above), np.diff(below))
        classes = np.maximum(classes, 0.0)
        return classes / classes.sum(axis=1, keepdims=True)

    def probability_quantiles(
        self,
        share: float,
        mean: np.ndarray,
        variance: np.ndarray,
        parameters: np.ndarray,
        skewness: np.ndarray | float = 0.0,
    ) -> np.ndarray:
        """Quantile of each P(class | eta) for eta of these moments, (n, K); normal by default.

        The first and the last class are monotone in eta. The others fall with the distance of
        eta from the centre of the class, as F has a symmetric density with one mode.
        """
        cdf, edges, sd = LINKS[self.link].cdf, self._edges(parameters), np.sqrt(variance)
        low, high = (mean + sd * standard_quantiles(z, skewness) for z in ndtri([1 - share, share]))
        columns = [cdf(edges[1] - low)]
        for lower, upper in pairwise(edges[1:-1]):
            centre = 0.5 * (lower + upper)
            distance = distance_quantiles(1.0 - share, mean - centre, sd, skewness)
            half = 0.5 * (upper - lower)
            # the difference of the tails that are small
            columns.append(cdf(half - distance) - cdf(-half - distance))
        return np.column_stack([*columns, cdf(high - edges[-2])])

    def sample(
        self, predictor: np.ndarray, parameters: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """New classes at given linear predictors, as floats."""
        latent = predictor + LINKS[self.link].quantile(rng.random(predictor.shape))
        return np.searchsorted(self.thresholds(parameters), latent).astype(float)

    @property
    def _n_classes(self) -> int:
        assert self.n_classes is not None
        return self.n_classes

    def _edges(self, parameters: np.ndarray) -> np.ndarray:
        """Ends of the classes, (K + 1,), the outer ones infinite."""
        return np.concatenate([[-np.inf], self.thresholds(parameters), [np.inf]])

    def _expectations(
        self, y: np.ndarray, mean: np.ndarray, variance: np.ndarray, edges: np.ndarray
    ) -> IntervalExpectations:
        classes = _classes(y)
        lower, upper = edges[classes] - mean, edges[classes + 1] - mean
        return LINKS[self.link].interval_expectations(lower, upper, variance)


def _classes(y: np.ndarray) -> np.ndarray:
    return y.astype(np.intp)


def _by_gaps(gradient: np.ndarray, hessian: np.ndarray, gaps: np.ndarray) -> ParameterDerivatives:
    """Chain rule from thresholds to logarithms of gaps: every later threshold moves."""
    jacobian = _by_logarithms(gaps)
    by_gap = jacobian.T @ gradient
    return ParameterDerivatives(by_gap, jacobian.T @ hessian @ jacobian + np.diag(by_gap))


def _by_logarithms(gaps: np.ndarray) -> np.ndarray:
    """Derivatives (K - 1, K - 2) of thresholds by logarithms of gaps."""
    return np.tril(np.ones((len(gaps) + 1, len(gaps))), -1) * gaps


def _of_widths(gaps: np.ndarray, counts: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Weighted sum of log(1 - exp(-width)) of inner classes, and derivatives by thresholds.

    What F(b - eta) - F(a - eta) = (1 - exp(a - b)) F(b - eta) F(eta - a) has without eta, of
    the logistic F.
    """
    odds = np.exp(-gaps) / -np.expm1(-gaps)
    ends = np.eye(len(gaps) + 1)
    differences = ends[1:] - ends[:-1]
    bends = -counts * odds * (1.0 + odds)
    value = float(counts @ np.log(-np.expm1(-gaps)))
    return value, differences.T @ (counts * odds), (differences.T * bends) @ differences
