"""GPBoost's grouped random effects (PyPI `gpboost`)."""

from __future__ import annotations

import time
from importlib.metadata import version

import numpy as np
import pandas as pd

from peers.base import GROUPS, NotInstalled, Outcome, Peer, silent_output


class GPBoost(Peer):
    """Maximum likelihood (it has no REML), by Cholesky factors or iteratively."""

    method = "ml"

    def __init__(self, frame: pd.DataFrame, inversion: str) -> None:
        try:
            with silent_output():
                import gpboost
        except ImportError as error:
            raise NotInstalled("pip install gpboost") from error
        self._gpboost = gpboost
        self._inversion = inversion
        self.version = f"gpboost {version('gpboost')}"
        self._groups = frame[list(GROUPS)].astype(np.int64).to_numpy()
        self._X = np.column_stack([np.ones(len(frame)), frame["service"].to_numpy(np.float64)])
        self._y = frame["y"].to_numpy(np.float64)

    def fit(self) -> Outcome:
        with silent_output():
            start = time.perf_counter()
            model = self._gpboost.GPModel(
                group_data=self._groups,
                likelihood="gaussian",
                matrix_inversion_method=self._inversion,
            )
            model.fit(y=self._y, X=self._X)
            seconds = time.perf_counter() - start
            variances = model.get_cov_pars().iloc[0].to_numpy()
            coefficients = model.get_coef().iloc[0].to_numpy()
            by_row = model.predict_training_data_random_effects().iloc[:, -1].to_numpy()
            log_likelihood = -float(model.get_current_neg_log_likelihood())
        levels, first_rows = np.unique(self._groups[:, -1], return_index=True)
        return Outcome(
            seconds=seconds,
            log_likelihood=log_likelihood,
            intercept=float(coefficients[0]),
            service=float(coefficients[1]),
            variances=dict(zip(("noise", *GROUPS), map(float, variances), strict=True)),
            department_effects=pd.Series(by_row[first_rows], index=levels),
        )
