"""scikit-learn's own checks, for every two of posterior, method, solver, kind of noise and link.

Their targets are real numbers, positive ones where an estimator asks for it, or classes
without an order; families of counts and of ordered classes refuse those.
"""

from itertools import combinations, product

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from skmixed import MixedEffectsEncoder, MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.solvers.choice import SOLVERS

CASES = [
    # every two values of two columns meet
    ("full", "reml", "auto", 0),
    ("full", "ml", "direct", 0),
    ("mean_field", "reml", "iterative", 0),
    ("full", "ml", "iterative", 1),
    ("mean_field", "reml", "direct", 1),
    ("mean_field", "ml", "auto", 1),
]


def estimators(kind, parameter, values, **others):
    """Of every case, the last parameter with one of two values."""
    return [
        kind(
            posterior=posterior,
            method=method,
            solver=solver,
            **{parameter: values[which]},
            **others,
        )
        for posterior, method, solver, which in CASES
    ]


def test_every_two_values_meet():
    columns = ("full", "mean_field"), ("reml", "ml"), SOLVERS, (0, 1)
    for one, other in combinations(range(4), 2):
        found = {(case[one], case[other]) for case in CASES}
        assert found == set(product(columns[one], columns[other]))


ESTIMATORS = [
    *estimators(MixedEffectsVIRegressor, "noise_scale", [None, 1.0]),
    # pairs of other parameters met above
    MixedEffectsVIRegressor(family="gamma", method="reml"),
    MixedEffectsVIRegressor(family="gamma", method="ml", posterior="mean_field", solver="direct"),
    MixedEffectsVIRegressor(family="gamma", method="ml", solver="iterative"),
    # fits of classes that can be separated, as those of many checks, do not converge
    *estimators(MixedEffectsVIClassifier, "link", ["logit", "probit"], max_iter=20),
    MixedEffectsVIClassifier(class_weight="balanced"),
    # All columns of the checks are numbers, which pass through; test_encoder.py encodes one.
    MixedEffectsEncoder(joint=True),
    MixedEffectsEncoder(joint=False),
]


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_estimator_checks(estimator, check):
    check(estimator)
