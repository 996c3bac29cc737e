"""Classes that the tests of `MixedEffectsVIClassifier` share."""

from __future__ import annotations

from skmixed.datasets import make_mixed_classification

GROUPS = ["g0", "g1"]


def simulate():
    """Two classes with two crossed effects."""
    X, y, _ = make_mixed_classification(
        600, 2, (25, 8), coef=[1.0, -0.5], group_sd=(1.0, 0.7), intercept=0.3, random_state=0
    )
    return X, y


def simulate_ordered():
    """Four classes in an order."""
    X, y, _ = make_mixed_classification(
        600, 2, (25, 8), n_classes=4, thresholds=[-1.5, 0.0, 1.5], coef=[1.0, -0.5],
        group_sd=(1.0, 0.7), random_state=1,
    )  # fmt: skip
    return X, y
