"""skmixed itself."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd

from peers.base import GROUPS, NotInstalled, Outcome, Peer


class Skmixed(Peer):
    """`MixedEffectsVIRegressor` with the given parameters."""

    def __init__(self, frame: pd.DataFrame, **parameters: Any) -> None:
        try:
            import skmixed
            from skmixed import MixedEffectsVIRegressor
        except ImportError as error:
            raise NotInstalled(f"skmixed: pip install -e . ({error})") from error
        self.version = f"skmixed {getattr(skmixed, '__version__', '')}".strip()
        self.method = parameters["method"]
        self._X = frame[["service", *GROUPS]]
        self._y = frame["y"]
        self._make = lambda: MixedEffectsVIRegressor(random_effects=list(GROUPS), **parameters)

    def fit(self) -> Outcome:
        model = self._make()
        start = time.perf_counter()
        model.fit(self._X, self._y)
        seconds = time.perf_counter() - start
        components = model.variance_components_
        own = components[components["sd"].notna()]
        variances = dict(zip(own["group"], own["variance"], strict=True))
        effects = model.random_effects_["dept"].iloc[:, 0]
        return Outcome(
            seconds=seconds,
            log_likelihood=float(model.elbo_),
            intercept=float(model.intercept_),
            service=float(model.coef_[0]),
            variances={g: float(variances[g]) for g in GROUPS}
            | {"noise": float(model.noise_variance_)},
            department_effects=effects.set_axis(effects.index.astype(int)),
        )
