"""scikit-learn's own checks, for every posterior, method, family, kind of noise and solver.

Their targets are real numbers, positive ones where an estimator asks for it, or classes
without an order; families of counts and of ordered classes refuse those.
"""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skmixed import MixedEffectsEncoder, MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.solvers.choice import SOLVERS

ESTIMATORS = [
    MixedEffectsVIRegressor(
        posterior=posterior, method=method, noise_scale=noise_scale, solver=solver
    )
    for posterior in ("full", "mean_field")
    for method in ("reml", "ml")
    for noise_scale in (None, 1.0)
    for solver in SOLVERS
]
ESTIMATORS += [
    MixedEffectsVIClassifier(link=link, posterior=posterior, method=method, solver=solver)
    for link in ("logit", "probit")
    for posterior in ("full", "mean_field")
    for method in ("reml", "ml")
    for solver in SOLVERS
]
ESTIMATORS += [MixedEffectsVIClassifier(class_weight="balanced")]
ESTIMATORS += [
    MixedEffectsVIRegressor(family="gamma", posterior=posterior, method=method, solver=solver)
    for posterior in ("full", "mean_field")
    for method in ("reml", "ml")
    for solver in SOLVERS
]
# All columns of the checks are numbers, which pass through; test_encoder.py encodes one.
ESTIMATORS += [MixedEffectsEncoder(joint=joint) for joint in (True, False)]


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)
