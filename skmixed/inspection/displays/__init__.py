"""Pictures of fitted models, in the manner of scikit-learn's displays.

A display holds data. ``from_estimator`` computes them and plots, ``plot`` draws them again.
matplotlib is loaded by ``plot`` alone.
"""

from skmixed.inspection.displays.comparison import EffectsComparisonDisplay
from skmixed.inspection.displays.convergence import ConvergenceDisplay
from skmixed.inspection.displays.random_effects import RandomEffectsDisplay
from skmixed.inspection.displays.residuals import ResidualsDisplay
from skmixed.inspection.displays.shrinkage import ShrinkageDisplay
from skmixed.inspection.displays.variance_components import VarianceComponentsDisplay

__all__ = [
    "ConvergenceDisplay",
    "EffectsComparisonDisplay",
    "RandomEffectsDisplay",
    "ResidualsDisplay",
    "ShrinkageDisplay",
    "VarianceComponentsDisplay",
]
