"""Prior densities of standard deviations; a new one is a line in the registry.

Half-Cauchy (Gelman 2006, Bayesian Analysis 1; Polson and Scott 2012, Bayesian Analysis 7),
half-normal, exponential (Simpson et al. 2017, Statistical Science 32: the penalised-complexity
prior), gamma of shape 2 (Chung et al. 2013, Psychometrika 78, as in R's blme), flat.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LogDensity = Callable[[np.ndarray], np.ndarray]
"""Of standard deviations over their scale, but for a constant."""

VARIANCE_PRIORS: dict[str, LogDensity] = {
    "half-cauchy": lambda ratio: -np.log1p(ratio**2),
    "half-normal": lambda ratio: -0.5 * ratio**2,
    "exponential": lambda ratio: -ratio,
    "gamma": lambda ratio: np.log(ratio),
    "flat": lambda ratio: np.zeros_like(ratio),
}
"""By the value of ``prior``."""
