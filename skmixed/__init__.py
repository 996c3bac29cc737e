"""Mixed-effects models as scikit-learn estimators.

Examples
--------
>>> from skmixed import MixedEffectsVIRegressor
>>> from skmixed.datasets import load_insteval
>>> X, y = load_insteval(return_X_y=True)
>>> model = MixedEffectsVIRegressor(random_effects=["s", "d", "dept"])
>>> model = model.fit(X[["service", "s", "d", "dept"]], y)
>>> round(float(model.intercept_), 3)
3.283
"""

from typing import TYPE_CHECKING

from skmixed import former_names
from skmixed.lazy_names import lazy_names

if TYPE_CHECKING:
    from skmixed.classifier import MixedEffectsVIClassifier
    from skmixed.covariances import Relationship
    from skmixed.encoder import MixedEffectsEncoder
    from skmixed.formula_interface import mixed
    from skmixed.inspection import (
        anova,
        check_residuals,
        compare_models,
        contrasts,
        drop_terms,
        icc,
        influence,
        marginal_effects,
        marginal_means,
        parametric_bootstrap,
        profile,
        r2,
        robust_covariance,
        variance_posterior,
    )
    from skmixed.regressor import MixedEffectsVIRegressor
    from skmixed.spec import RandomEffect

__version__ = "0.2.0.dev0"

former_names.install()

__all__ = [
    "MixedEffectsEncoder",
    "MixedEffectsVIClassifier",
    "MixedEffectsVIRegressor",
    "RandomEffect",
    "Relationship",
    "__version__",
    "anova",
    "check_residuals",
    "compare_models",
    "contrasts",
    "drop_terms",
    "icc",
    "influence",
    "marginal_effects",
    "marginal_means",
    "mixed",
    "parametric_bootstrap",
    "profile",
    "r2",
    "robust_covariance",
    "variance_posterior",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "MixedEffectsEncoder": "skmixed.encoder",
        "MixedEffectsVIClassifier": "skmixed.classifier",
        "MixedEffectsVIRegressor": "skmixed.regressor",
        "RandomEffect": "skmixed.spec",
        "Relationship": "skmixed.covariances",
        "anova": "skmixed.inspection.term_tests",
        "check_residuals": "skmixed.inspection.residual_checks",
        "compare_models": "skmixed.inspection.comparison",
        "contrasts": "skmixed.inspection.mean_contrasts",
        "drop_terms": "skmixed.inspection.term_drops",
        "icc": "skmixed.inspection.variance_shares",
        "influence": "skmixed.inspection.influence_table",
        "marginal_effects": "skmixed.inspection.average_effects",
        "marginal_means": "skmixed.inspection.mean_estimates",
        "mixed": "skmixed.formula_interface",
        "parametric_bootstrap": "skmixed.inspection.bootstrap",
        "profile": "skmixed.inspection.profiles",
        "r2": "skmixed.inspection.variance_shares",
        "robust_covariance": "skmixed.inspection.robust",
        "variance_posterior": "skmixed.inspection.variance_posteriors",
    },
    modules=("datasets", "exceptions", "formula", "inspection", "interop"),
)
