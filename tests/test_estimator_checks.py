"""scikit-learn's own checks, for every posterior, method, kind of noise and solver."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skmixed import MixedEffectsVIRegressor
from skmixed.linalg.solvers import SOLVERS

ESTIMATORS = [
    MixedEffectsVIRegressor(
        posterior=posterior, method=method, noise_scale=noise_scale, solver=solver
    )
    for posterior in ("full", "mean_field")
    for method in ("reml", "ml")
    for noise_scale in (None, 1.0)
    for solver in SOLVERS
]


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)
