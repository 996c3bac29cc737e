"""GPBoost's grouped random effects (PyPI `gpboost`)."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from peers.base import NotInstalled, Outcome, Peer, Task, choose_by_family, silent_output

LIKELIHOODS = {"gaussian": "gaussian", "bernoulli": "bernoulli_logit", "poisson": "poisson"}


class GPBoost(Peer):
    """Random intercepts by maximum likelihood (it has no REML).

    By Cholesky factors or iteratively, everything else as it comes: Laplace's approximation
    for responses that are not normal.
    """

    method = "ml"

    def __init__(self, task: Task, inversion: str) -> None:
        try:
            with silent_output():
                import gpboost
        except ImportError as error:
            raise NotInstalled("pip install gpboost") from error
        if task.slopes:
            raise ValueError("This peer fits random intercepts only; leave the slopes out.")
        self._gpboost = gpboost
        self._likelihood = choose_by_family(task, LIKELIHOODS)
        self._inversion = inversion
        self.version = f"gpboost {version('gpboost')}"
        self._task = task
        self._groups = task.X[list(task.groups)].astype(np.int64).to_numpy()
        covariates = task.X[task.covariates].to_numpy(np.float64)
        self._X = np.column_stack([np.ones(len(covariates)), covariates])
        self._y = task.y.to_numpy(np.float64)

    def fit(self) -> Outcome:
        with silent_output():
            start = time.perf_counter()
            model = self._gpboost.GPModel(
                group_data=self._groups,
                likelihood=self._likelihood,
                matrix_inversion_method=self._inversion,
            )
            model.fit(y=self._y, X=self._X)
            seconds = time.perf_counter() - start
            variances = model.get_cov_pars().iloc[0].to_numpy()
            coefficients = model.get_coef().iloc[0].to_numpy()
            log_likelihood = -float(model.get_current_neg_log_likelihood())
            effects = None if self._task.effects_of is None else self._read_effects(model)
        names = ("intercept", *self._task.covariates)
        # The noise comes first there and last here.
        ordered = (*self._task.noise, *self._task.groups)
        by_name = dict(zip(ordered, map(float, variances), strict=True))
        return Outcome(
            seconds=seconds,
            log_likelihood=log_likelihood,
            coefficients=dict(zip(names, map(float, coefficients), strict=True)),
            variances={name: by_name[name] for name in (*self._task.groups, *self._task.noise)},
            effects=effects,
        )

    def _read_effects(self, model: Any) -> pd.Series:
        position = self._task.groups.index(self._task.effects_of)
        by_row = model.predict_training_data_random_effects().iloc[:, position].to_numpy()
        levels, first_rows = np.unique(self._groups[:, position], return_index=True)
        return pd.Series(by_row[first_rows], index=levels)
