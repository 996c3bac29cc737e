"""-2 times the log prior density of the standard deviations of effects, by theta and the noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skmixed.fit.variance_priors import VARIANCE_PRIORS, VariancePrior
from skmixed.posteriors import EffectsPrior
from skmixed.sums.cross_products import FactorLayout
from skmixed.sums.standard_units import Units

_MOST_STEPS = 60
"""Newton steps on the noise variance, of a convex function of its logarithm."""


@dataclass(frozen=True)
class PenaltyTerms:
    """The penalty at parameters theta and a noise variance.

    Attributes
    ----------
    gradient, hessian : ndarray (m,), (m, m)
        By theta.
    by_noise, bend_by_noise : float
        First and second derivative by the logarithm of the noise variance.
    across : ndarray (m,)
        Derivative by that and theta.
    """

    gradient: np.ndarray
    hessian: np.ndarray
    by_noise: float
    bend_by_noise: float
    across: np.ndarray


@dataclass(frozen=True)
class VariancePenalty:
    """Sum over effects of -2 log p(sd / scale).

    Attributes
    ----------
    density : VariancePrior
    effects : tuple of (int, ndarray (q,))
        For every effect the position of its factor and a vector b: b'Omega b times the noise
        variance is the squared ratio of its standard deviation to its scale.
    """

    density: VariancePrior
    effects: tuple[tuple[int, np.ndarray], ...]

    @classmethod
    def of(
        cls, name: str, prior: EffectsPrior, units: Units, scales: Sequence[np.ndarray]
    ) -> VariancePenalty:
        """The penalty of a prior in the units of a fit.

        Parameters
        ----------
        name : str
            A key of `VARIANCE_PRIORS`.
        prior : EffectsPrior
        units : Units
        scales : sequence of ndarray (q,)
            By factor, the scale of the standard deviation of each effect, in units of the data.

        Raises
        ------
        ValueError
            When effects share a standard deviation.
        """
        effects = []
        for block in prior.blocks:
            if not block.covariance.has_sds:
                raise ValueError(
                    "variance_prior= is a density of the standard deviation of every effect, but "
                    f"with covariance={block.covariance.name!r} the effects share one. "
                    "Use covariance='unstructured' or 'diagonal', or leave variance_prior at None."
                )
            position = block.factor.position
            for effect in range(block.effects.start, block.effects.stop):
                row = units.bases[position][effect]
                # an effect that others determine has none
                if row.any():
                    b = row * (units.response_scale / scales[position][effect])
                    effects.append((position, b))
        return cls(VARIANCE_PRIORS[name], tuple(effects))

    def squares(self, prior: EffectsPrior, theta: np.ndarray) -> np.ndarray:
        """Squared ratios of standard deviations to their scales where the noise is 1, (k,)."""
        scales = prior.scales(theta)
        found = [float(((b @ scales[position].matrix) ** 2).sum()) for position, b in self.effects]
        return np.array(found)

    def value(self, squares: np.ndarray) -> float:
        """-2 log density of squared ratios (k,); infinite where the density is 0."""
        with np.errstate(divide="ignore"):
            return float(-2.0 * self.density.of_square(squares).sum())

    def best_noise(self, squares: np.ndarray, rss: float, df: float) -> float:
        """The noise variance s that minimises df log s + rss / s + value(s * squares)."""
        log_noise = np.log(rss / df)
        for _ in range(_MOST_STEPS):
            noise = np.exp(log_noise)
            slope, bend = self._by_noise(noise * squares)
            step = (df - rss / noise + slope) / (rss / noise + bend)
            log_noise -= float(np.clip(step, -1.0, 1.0))
            if abs(step) < 1e-14:
                break
        return float(np.exp(log_noise))

    def _by_noise(self, squares: np.ndarray) -> tuple[float, float]:
        """First and second derivative by the logarithm of the noise, of ratios that have it."""
        slope = self.density.slope(squares) * squares
        bend = self.density.bend(squares) * squares**2 + slope
        return float(-2.0 * slope.sum()), float(-2.0 * bend.sum())

    def at(self, prior: EffectsPrior, theta: np.ndarray, noise: float) -> PenaltyTerms:
        """Derivatives at parameters and a noise variance."""
        squares = noise * self.squares(prior, theta)
        slope, bend = self.density.slope(squares), self.density.bend(squares)
        moves = np.zeros((len(squares), len(theta)))
        of_factor: list[np.ndarray] = prior.of_factors(_zeros)
        total = [matrix.copy() for matrix in of_factor]
        for k, (position, b) in enumerate(self.effects):
            here = [matrix * 0.0 for matrix in of_factor]
            here[position] = noise * np.outer(b, b)
            moves[k] = prior.gradient(theta, here)
            total[position] += -2.0 * slope[k] * here[position]
        by_noise, bend_by_noise = self._by_noise(squares)
        return PenaltyTerms(
            -2.0 * slope @ moves,
            prior.curvature(theta, total) - 2.0 * (moves.T * bend) @ moves,
            by_noise,
            bend_by_noise,
            -2.0 * (bend * squares + slope) @ moves,
        )


def _zeros(factor: FactorLayout) -> np.ndarray:
    return np.zeros((factor.n_effects, factor.n_effects))
