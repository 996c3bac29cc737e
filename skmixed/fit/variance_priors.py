"""Prior densities of standard deviations; a new one is a line in the registry.

Half-Cauchy (Gelman 2006, Bayesian Analysis 1; Polson and Scott 2012, Bayesian Analysis 7),
half-normal, exponential (Simpson et al. 2017, Statistical Science 32: the penalised-complexity
prior), gamma of shape 2 (Chung et al. 2013, Psychometrika 78, as in R's blme), flat.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Function = Callable[[np.ndarray], np.ndarray]

_CORNER = 1e-3
"""Standard deviation, over its scale, below which the exponential density is flat: else it would
have a corner at 0, where steps cannot arrive."""


@dataclass(frozen=True)
class VariancePrior:
    """The density of a standard deviation over its scale.

    Attributes
    ----------
    of_square : callable
        Its logarithm, but for a constant, as a function of the squared ratio.
    slope, bend : callable
        First and second derivative of that function.
    """

    of_square: Function
    slope: Function
    bend: Function

    def __call__(self, ratio: np.ndarray) -> np.ndarray:
        """Logarithm of the density at standard deviations over their scale."""
        return self.of_square(np.square(ratio))


def _smooth(squares: np.ndarray) -> np.ndarray:
    found: np.ndarray = np.sqrt(squares + _CORNER**2)
    return found


VARIANCE_PRIORS: dict[str, VariancePrior] = {
    "half-cauchy": VariancePrior(
        lambda v: -np.log1p(v), lambda v: -1.0 / (1.0 + v), lambda v: 1.0 / (1.0 + v) ** 2
    ),
    "half-normal": VariancePrior(
        lambda v: -0.5 * v, lambda v: np.full_like(v, -0.5), lambda v: np.zeros_like(v)
    ),
    "exponential": VariancePrior(
        lambda v: -_smooth(v), lambda v: -0.5 / _smooth(v), lambda v: 0.25 / _smooth(v) ** 3
    ),
    "gamma": VariancePrior(lambda v: 0.5 * np.log(v), lambda v: 0.5 / v, lambda v: -0.5 / v**2),
    "flat": VariancePrior(
        lambda v: np.zeros_like(v), lambda v: np.zeros_like(v), lambda v: np.zeros_like(v)
    ),
}
"""By the value of ``prior`` and of ``variance_prior``."""
