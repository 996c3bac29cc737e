"""Looking at fitted models: tables, diagnoses and pictures."""

from skmixed.inspection.bootstrap import parametric_bootstrap
from skmixed.inspection.comparison import compare_models
from skmixed.inspection.displays import (
    ConvergenceDisplay,
    EffectsComparisonDisplay,
    RandomEffectsDisplay,
    ResidualsDisplay,
    ShrinkageDisplay,
    VarianceComponentsDisplay,
)
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
    "parametric_bootstrap",
    "r2",
]
