"""Looking at fitted models: tables, diagnoses and pictures."""

from typing import TYPE_CHECKING

from skmixed.lazy_names import lazy_names

if TYPE_CHECKING:
    from skmixed.inspection.average_effects import marginal_effects
    from skmixed.inspection.bootstrap import parametric_bootstrap
    from skmixed.inspection.comparison import compare_models
    from skmixed.inspection.displays.average_effect_rows import AverageEffectsDisplay
    from skmixed.inspection.displays.contrast_rows import ContrastsDisplay
    from skmixed.inspection.displays.convergence import ConvergenceDisplay
    from skmixed.inspection.displays.effect_comparison import EffectsComparisonDisplay
    from skmixed.inspection.displays.effect_curves import EffectCurvesDisplay
    from skmixed.inspection.displays.fixed_effect_rows import FixedEffectsDisplay
    from skmixed.inspection.displays.influential_levels import InfluenceDisplay
    from skmixed.inspection.displays.mean_points import MarginalMeansDisplay
    from skmixed.inspection.displays.overview import OverviewDisplay
    from skmixed.inspection.displays.random_effects import RandomEffectsDisplay
    from skmixed.inspection.displays.residuals import ResidualsDisplay
    from skmixed.inspection.displays.shrinkage import ShrinkageDisplay
    from skmixed.inspection.displays.variance_components import VarianceComponentsDisplay
    from skmixed.inspection.influence_table import influence
    from skmixed.inspection.mean_contrasts import contrasts
    from skmixed.inspection.mean_estimates import marginal_means
    from skmixed.inspection.model_table import model_table
    from skmixed.inspection.profiles import profile
    from skmixed.inspection.residual_checks import check_residuals
    from skmixed.inspection.robust import robust_covariance
    from skmixed.inspection.term_drops import drop_terms
    from skmixed.inspection.term_tests import anova
    from skmixed.inspection.variance_posteriors import variance_posterior
    from skmixed.inspection.variance_shares import icc, r2

__all__ = [
    "AverageEffectsDisplay",
    "ContrastsDisplay",
    "ConvergenceDisplay",
    "EffectCurvesDisplay",
    "EffectsComparisonDisplay",
    "FixedEffectsDisplay",
    "InfluenceDisplay",
    "MarginalMeansDisplay",
    "OverviewDisplay",
    "RandomEffectsDisplay",
    "ResidualsDisplay",
    "ShrinkageDisplay",
    "VarianceComponentsDisplay",
    "anova",
    "check_residuals",
    "compare_models",
    "contrasts",
    "drop_terms",
    "icc",
    "influence",
    "marginal_effects",
    "marginal_means",
    "model_table",
    "parametric_bootstrap",
    "profile",
    "r2",
    "robust_covariance",
    "variance_posterior",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "AverageEffectsDisplay": "skmixed.inspection.displays.average_effect_rows",
        "ContrastsDisplay": "skmixed.inspection.displays.contrast_rows",
        "ConvergenceDisplay": "skmixed.inspection.displays.convergence",
        "EffectCurvesDisplay": "skmixed.inspection.displays.effect_curves",
        "EffectsComparisonDisplay": "skmixed.inspection.displays.effect_comparison",
        "FixedEffectsDisplay": "skmixed.inspection.displays.fixed_effect_rows",
        "InfluenceDisplay": "skmixed.inspection.displays.influential_levels",
        "MarginalMeansDisplay": "skmixed.inspection.displays.mean_points",
        "OverviewDisplay": "skmixed.inspection.displays.overview",
        "RandomEffectsDisplay": "skmixed.inspection.displays.random_effects",
        "ResidualsDisplay": "skmixed.inspection.displays.residuals",
        "ShrinkageDisplay": "skmixed.inspection.displays.shrinkage",
        "VarianceComponentsDisplay": "skmixed.inspection.displays.variance_components",
        "anova": "skmixed.inspection.term_tests",
        "check_residuals": "skmixed.inspection.residual_checks",
        "compare_models": "skmixed.inspection.comparison",
        "contrasts": "skmixed.inspection.mean_contrasts",
        "drop_terms": "skmixed.inspection.term_drops",
        "icc": "skmixed.inspection.variance_shares",
        "influence": "skmixed.inspection.influence_table",
        "marginal_effects": "skmixed.inspection.average_effects",
        "marginal_means": "skmixed.inspection.mean_estimates",
        "model_table": "skmixed.inspection.model_table",
        "parametric_bootstrap": "skmixed.inspection.bootstrap",
        "profile": "skmixed.inspection.profiles",
        "r2": "skmixed.inspection.variance_shares",
        "robust_covariance": "skmixed.inspection.robust",
        "variance_posterior": "skmixed.inspection.variance_posteriors",
    },
)
