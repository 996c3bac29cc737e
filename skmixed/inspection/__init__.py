"""Looking at fitted models: tables, diagnoses and pictures."""

from skmixed.inspection.bootstrap import parametric_bootstrap
from skmixed.inspection.comparison import compare_models
from skmixed.inspection.displays.convergence import ConvergenceDisplay
from skmixed.inspection.displays.effect_comparison import EffectsComparisonDisplay
from skmixed.inspection.displays.random_effects import RandomEffectsDisplay
from skmixed.inspection.displays.residuals import ResidualsDisplay
from skmixed.inspection.displays.shrinkage import ShrinkageDisplay
from skmixed.inspection.displays.variance_components import VarianceComponentsDisplay
from skmixed.inspection.model_table import model_table
from skmixed.inspection.variance_shares import icc, r2

__all__ = [
    "ConvergenceDisplay",
    "EffectsComparisonDisplay",
    "RandomEffectsDisplay",
    "ResidualsDisplay",
    "ShrinkageDisplay",
    "VarianceComponentsDisplay",
    "compare_models",
    "icc",
    "model_table",
    "parametric_bootstrap",
    "r2",
]
