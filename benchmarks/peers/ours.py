"""skmixed itself."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd

from peers.base import NotInstalled, Outcome, Peer, Task, choose_by_family

ESTIMATORS = {
    "gaussian": "MixedEffectsVIRegressor",
    "bernoulli": "MixedEffectsVIClassifier",
    "poisson": "MixedEffectsVIRegressor",
}


class Skmixed(Peer):
    """The estimator of the family with the given parameters."""

    def __init__(self, task: Task, **parameters: Any) -> None:
        try:
            import skmixed
        except ImportError as error:
            raise NotInstalled(f"skmixed: pip install -e . ({error})") from error
        self.version = f"skmixed {getattr(skmixed, '__version__', '')}".strip()
        self.method = parameters["method"]
        self._task = task
        estimator = getattr(skmixed, choose_by_family(task, ESTIMATORS))
        self._make = lambda: estimator(random_effects=task.bars, family=task.family, **parameters)

    def fit(self) -> Outcome:
        model = self._make()
        start = time.perf_counter()
        model.fit(self._task.X, self._task.y)
        seconds = time.perf_counter() - start
        coefficients = dict(zip(model.coef_names_, map(float, model.coef_), strict=True))
        effects = None
        if self._task.effects_of is not None:
            effects = model.random_effects_[self._task.effects_of].iloc[:, 0]
            effects = effects.set_axis(effects.index.astype(int))
        return Outcome(
            seconds=seconds,
            log_likelihood=float(model.elbo_),
            coefficients={"intercept": float(model.intercept_)} | coefficients,
            variances=_variances(model.random_effects_cov_)
            | {name: float(model.noise_variance_) for name in self._task.noise},
            effects=effects,
            details={
                "solver": model.solver_,
                "steps": int(model.n_iter_),
                "converged": bool(model.converged_),
            },
        )


def _variances(covariances: dict[str, pd.DataFrame]) -> dict[str, float]:
    return {
        group if term == "Intercept" else f"{group}:{term}": float(covariance.loc[term, term])
        for group, covariance in covariances.items()
        for term in covariance.index
    }
