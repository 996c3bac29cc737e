"""glmm: mixed models in Rust (PyPI `glmm`)."""

from __future__ import annotations

import time
from importlib.metadata import version

import pandas as pd

from peers.base import FORMULA, GROUPS, NotInstalled, Outcome, Peer


class Glmm(Peer):
    """REML, without the degrees of freedom of t tests: its quickest setting."""

    def __init__(self, frame: pd.DataFrame) -> None:
        try:
            import glmm
        except ImportError as error:
            raise NotInstalled("pip install glmm") from error
        self._glmm = glmm
        self.version = f"glmm {version('glmm')}"
        self._frame = frame

    def fit(self) -> Outcome:
        start = time.perf_counter()
        fit = self._glmm.fit(
            self._frame, FORMULA, reml=True, satterthwaite=False, wald_se="rx", anova_test="Wald"
        )
        seconds = time.perf_counter() - start
        by_group = dict(zip((group for group, _ in fit.re_groups), fit.tau2, strict=True))
        blocks = {block["group"]: block for block in fit.ranef_blocks}
        departments = blocks["dept"]
        coefficients = dict(zip(fit.names, fit.beta, strict=True))
        return Outcome(
            seconds=seconds,
            log_likelihood=float(fit.loglik),
            intercept=float(coefficients["(Intercept)"]),
            service=float(coefficients["service"]),
            variances={g: float(by_group[g]) for g in GROUPS} | {"noise": float(fit.dispersion)},
            department_effects=pd.Series(
                departments["values"][:, 0], index=[int(x) for x in departments["levels"]]
            ),
        )
