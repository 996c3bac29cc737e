"""The working Gaussian model of a response that is not normal, and points of its objective."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from skmixed._kernels.site_steps import LEAST_PRECISION, fill_site_step
from skmixed.families.base import ResponseRows, RowTerms
from skmixed.fit.objective import Point
from skmixed.sums.working_rows import WorkingRows

__all__ = ["LEAST_PRECISION", "Responses", "Sites", "VariationalPoint", "combined"]


@dataclass(frozen=True)
class Sites:
    """The working model: what every row contributes to a posterior.

    Attributes
    ----------
    precision : ndarray (n,)
        Weight w.
    linear : ndarray (n,)
        Weight times working response, the offset taken off.
    """

    precision: np.ndarray
    linear: np.ndarray

    @classmethod
    def at(cls, terms: RowTerms, mean: np.ndarray) -> Sites:
        """The sites that the likelihood's terms make at means (n,) of the rows."""
        return cls(terms.precision, terms.gradient + terms.precision * mean)

    def toward(self, other: Sites, share: float) -> Sites:
        """A step of the given share on the way to `other`."""
        if share == 1.0:
            return other
        return Sites(
            self.precision + share * (other.precision - self.precision),
            self.linear + share * (other.linear - self.linear),
        )

    def since(self, before: Sites, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Changes of precision and linear part from earlier sites, (n,) each."""
        return (
            self.precision[rows] - before.precision[rows],
            self.linear[rows] - before.linear[rows],
        )


@dataclass(frozen=True)
class Responses:
    """The rows of a fit, in the order of its `WorkingRows`.

    Attributes
    ----------
    rows : WorkingRows
    y, weights : ndarray (n,)
        Response and case weights.
    offset : ndarray (n,) or float
    steps : ndarray (p, r)
        What typical steps of the raw fixed-effect columns make of the transformed
        coefficients.
    """

    rows: WorkingRows
    y: np.ndarray
    weights: np.ndarray
    offset: np.ndarray | float
    steps: np.ndarray

    @cached_property
    def has_unit_weights(self) -> bool:
        """Whether every row counts once."""
        return bool((self.weights == 1.0).all())

    def as_family_rows(self, n_threads: int = 1) -> ResponseRows:
        """Responses and case weights, as a family takes them."""
        return ResponseRows(self.y, self.weights, n_threads)

    def shifted(self, mean: np.ndarray) -> np.ndarray:
        """The linear predictor: what the effects say, plus the offset."""
        return mean + self.offset if np.ndim(self.offset) else mean


def combined(parts: Sequence[Sites], shares: np.ndarray, rows: WorkingRows) -> Sites:
    """The sum of sites times shares (k,); precisions are zero at least."""
    out = Sites(np.empty(rows.n_rows), np.empty(rows.n_rows))

    def fill(chunk: slice) -> None:
        for name in ("precision", "linear"):
            total = np.zeros(chunk.stop - chunk.start)
            for share, part in zip(shares, parts, strict=True):
                total += share * getattr(part, name)[chunk]
            getattr(out, name)[chunk] = total
        np.maximum(out.precision[chunk], 0.0, out=out.precision[chunk])

    rows.for_chunks(fill)
    return out


@dataclass(frozen=True)
class VariationalPoint(Point):
    """The objective at one theta, and the posterior that it belongs to.

    Attributes
    ----------
    sites : Sites
        The working model that the posterior solves.
    mean, variance : ndarray (n,)
        Of the linear predictor of every row, less the offset.
    following : Sites
        The working model at that mean and variance; equal to `sites` at the optimum.
    """

    sites: Sites = field(kw_only=True)
    mean: np.ndarray = field(kw_only=True)
    variance: np.ndarray = field(kw_only=True)
    following: Sites = field(kw_only=True)
    made: dict[str, tuple[np.ndarray, np.ndarray]] = field(
        default_factory=dict, kw_only=True, repr=False, compare=False
    )
    """What the objective found here and may be asked for again."""

    def fill_step(
        self, rows: slice, metric: VariationalPoint, weights: np.ndarray, out: np.ndarray
    ) -> None:
        """Fill out (2, n) with the step from `sites` to `following` in standard deviations.

        A change of sites moves the posterior mean as if it were a gradient, and its
        precision. The Newton decrements of both are bounded by sums of squares over
        rows, with the precision and the variance of the point `metric`.

        Parameters
        ----------
        rows : slice
        metric : VariationalPoint
        weights : ndarray
            Case weights of all rows.
        out : ndarray (2, n)
        """
        fill_site_step(
            weights[rows], metric.sites.precision[rows], metric.variance[rows],
            *self.following.since(self.sites, rows), self.mean[rows], out,
        )  # fmt: skip
