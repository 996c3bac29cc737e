"""Typed code of a user. It is not run: mypy reads it, and every `ignore` has to be an error."""

from __future__ import annotations

import pandas as pd

from skmixed import (
    MixedEffectsEncoder,
    MixedEffectsVIClassifier,
    MixedEffectsVIRegressor,
    mixed,
)


def misspelt() -> None:
    MixedEffectsVIRegressor(["g"], family="poison")  # type: ignore[arg-type]
    MixedEffectsVIRegressor(["g"], method="REML")  # type: ignore[arg-type]
    MixedEffectsVIRegressor(["g"], solver="cholesky")  # type: ignore[arg-type]
    MixedEffectsVIRegressor(["g"], n_probes="many")  # type: ignore[arg-type]
    MixedEffectsVIClassifier(["g"], family="poisson")  # type: ignore[arg-type]
    MixedEffectsVIClassifier(["g"], link="cauchit")  # type: ignore[arg-type]
    MixedEffectsEncoder(target_type="numbers")  # type: ignore[arg-type]


def fitted(data: pd.DataFrame) -> float:
    counts: MixedEffectsVIRegressor = mixed("y ~ x + (1 | g)", data, family="nb")
    classes: MixedEffectsVIClassifier = mixed("y ~ x + (1 | g)", data, family="binomial")
    mixed("y ~ x + (1 | g)", data, family="poison")  # type: ignore[call-overload]
    labels: list[str] = [*counts.coef_names_, *map(str, classes.classes_)]
    return counts.intercept_ + classes.elbo_ + len(labels)
