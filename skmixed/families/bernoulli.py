"""Two classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import ndtri

from skmixed._kernels.densities import LOGIT, PROBIT
from skmixed.families.base import ClassLikelihood, ResponseRows, RowFunction
from skmixed.families.density import RowDensity
from skmixed.families.links import LINKS
from skmixed.families.row_terms import by_parts, refuse_rows
from skmixed.families.skewed import standard_quantiles


@dataclass(frozen=True)
class Bernoulli(ClassLikelihood):
    """P(y = 1 | eta) = F(eta), with F the logistic or the normal distribution function.

    F is symmetric, hence log P(y | eta) = log F(eta) for y = 1 and log F(-eta) for y = 0.

    Parameters
    ----------
    link : {"logit", "probit"}
    """

    name: ClassVar[str] = "bernoulli"
    aliases: ClassVar[tuple[str, ...]] = ("binomial", "binary", "logistic")
    takes_trials: ClassVar[bool] = True

    link: str = "logit"

    def refuse_targets(self, y: np.ndarray) -> None:
        """Raise ValueError unless all responses are 0 or 1."""
        refuse_rows(
            y,
            (y == 0) | (y == 1),
            "family='bernoulli' needs two classes, numbered 0 and 1",
            "choose family='ordinal' for more, ordered classes",
        )

    def start(self, rows: ResponseRows, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The predictor at a probability of 3/4 for the observed class, and the precision there."""
        distribution = LINKS[self.link]
        quarter = distribution.quantile(np.array([0.75]))
        _, _, precision = distribution.log_expectations(quarter, np.zeros(1))
        return np.where(rows.y > 0, quarter, -quarter), np.full(len(rows.y), precision[0])

    def row_function(self, parameters: np.ndarray) -> RowFunction:
        """Expectations of log F(eta) or log F(-eta)."""
        log_expectations = LINKS[self.link].log_expectations

        def terms(
            y: np.ndarray, mean: np.ndarray, variance: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            sign = 2.0 * y - 1.0
            value, first, second = log_expectations(sign * mean, variance)
            return value, sign * first, second

        return terms

    def higher_derivatives(
        self,
        rows: ResponseRows,
        mean: np.ndarray,
        variance: np.ndarray,
        precision: np.ndarray,
        parameters: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Expected derivatives of log F(eta) or log F(-eta)."""
        higher, sign = LINKS[self.link].higher_expectations, 2.0 * rows.y - 1.0
        third, fourth = by_parts(higher, (sign * mean, variance, precision), 2, rows.n_threads)
        return sign * third, fourth

    def density(self, rows: ResponseRows, parameters: np.ndarray) -> RowDensity:
        """log F(eta) or log F(-eta)."""
        kind = LOGIT if self.link == "logit" else PROBIT
        return RowDensity.without_parameters(kind, LINKS[self.link].pole, rows.y)

    def probabilities(
        self, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> np.ndarray:
        """P(class) averaged over the linear predictor's distribution, (n, 2)."""
        averaged = LINKS[self.link].averaged
        return np.column_stack([averaged(-mean, variance), averaged(mean, variance)])

    def probability_quantiles(
        self,
        share: float,
        mean: np.ndarray,
        variance: np.ndarray,
        parameters: np.ndarray,
        skewness: np.ndarray | float = 0.0,
    ) -> np.ndarray:
        """Quantile of each P(class | eta) for eta of these moments, (n, 2); normal by default."""
        cdf, sd, z = LINKS[self.link].cdf, np.sqrt(variance), ndtri(share)
        low, high = (mean + sd * standard_quantiles(side, skewness) for side in (-z, z))
        return np.column_stack([cdf(-low), cdf(high)])

    def sample(
        self, predictor: np.ndarray, parameters: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """New classes at given linear predictors, as floats."""
        return (rng.random(predictor.shape) < LINKS[self.link].cdf(predictor)).astype(float)
