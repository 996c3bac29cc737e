"""Counts with a Poisson distribution."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import gammaincc, pdtr

from skmixed._kernels.densities import POISSON
from skmixed.families.base import LogLinkLikelihood, ResponseRows, RowFunction, RowTerms
from skmixed.families.density import RowDensity
from skmixed.families.row_terms import (
    bounded_exp,
    draw_counts,
    refuse_no_counts,
)


@dataclass(frozen=True)
class Poisson(LogLinkLikelihood):
    """log P(y | eta) = y eta - exp(eta) - log y!, the mean being exp(eta).

    Expectations are those of a log-normal variable: E[exp(eta)] = exp(mean + variance / 2).
    """

    name: ClassVar[str] = "poisson"
    aliases: ClassVar[tuple[str, ...]] = ("pois",)
    is_discrete: ClassVar[bool] = True
    raw_label: ClassVar[str | None] = "log(observed / expected) of a level"

    link: str = "log"

    def refuse_targets(self, y: np.ndarray) -> None:
        """Raise ValueError unless all responses are counts."""
        refuse_no_counts(y, self.name)

    def start(self, rows: ResponseRows, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log(y + 1/2), which half a count keeps finite, and the information there."""
        return np.log(rows.y + 0.5), rows.y + 0.5

    def row_function(self, parameters: np.ndarray) -> RowFunction:
        """Expectations but for -log y!; a rate that overflows has value -inf."""
        return _terms

    def row_terms(
        self, rows: ResponseRows, mean: np.ndarray, variance: np.ndarray, parameters: np.ndarray
    ) -> RowTerms:
        """Expectations under eta ~ N(mean, variance), with log y! computed once."""
        terms = super().row_terms(rows, mean, variance, parameters)
        np.subtract(terms.value, rows.log_factorials, out=terms.value)
        return terms

    def higher_derivatives(
        self,
        rows: ResponseRows,
        mean: np.ndarray,
        variance: np.ndarray,
        precision: np.ndarray,
        parameters: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Every derivative of exp(eta) is exp(eta), which enters with a minus."""
        return -precision, -precision

    def density(self, rows: ResponseRows, parameters: np.ndarray) -> RowDensity:
        """exp(-exp(eta)) grows without bound from the distance pi / 2 of the real axis on."""
        constant = -float(np.sum(rows.weights * rows.log_factorials))
        return RowDensity.without_parameters(POISSON, 0.5 * np.pi, rows.y, constant)

    def cdf(self, y: np.ndarray, predictor: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """P(response <= y) at given linear predictors; arrays broadcast."""
        y = np.floor(y)
        return np.where(y < 0, 0.0, pdtr(np.maximum(y, 0.0), bounded_exp(predictor)))

    def smooth_cdf(
        self, y: np.ndarray, predictor: np.ndarray, parameters: np.ndarray
    ) -> np.ndarray:
        """The upper incomplete gamma function, for any y above -1."""
        return gammaincc(y + 1.0, bounded_exp(predictor))

    def residual_variance(self, log_mean: float, parameters: np.ndarray) -> float:
        """ln(1 + 1 / mean): counts taken for log-normal ones of their mean and variance."""
        return float(np.logaddexp(0.0, -log_mean))

    def sample(
        self, predictor: np.ndarray, parameters: np.ndarray, rng: np.random.Generator
    ) -> np.ndarray:
        """New counts at given linear predictors."""
        return draw_counts(bounded_exp(predictor), rng)


def _terms(
    y: np.ndarray, mean: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.errstate(over="ignore"):
        rate = np.exp(mean + 0.5 * variance)
    return y * mean - rate, y - rate, rate
