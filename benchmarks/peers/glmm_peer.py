"""glmm: mixed models in Rust (PyPI `glmm`)."""

from __future__ import annotations

import time
from importlib.metadata import version

import pandas as pd

from peers.base import NotInstalled, Outcome, Peer, Task, choose_by_family

FAMILIES = {"gaussian": "gaussian", "bernoulli": "binomial", "poisson": "poisson"}


class Glmm(Peer):
    """Without degrees of freedom and likelihood ratio tests: its quickest setting.

    REML of normal responses; of others maximum likelihood by Laplace's approximation, as it
    comes.
    """

    def __init__(self, task: Task) -> None:
        try:
            import glmm
        except ImportError as error:
            raise NotInstalled("pip install glmm") from error
        self._glmm = glmm
        self.version = f"glmm {version('glmm')}"
        self._family = choose_by_family(task, FAMILIES)
        self._reml = True if task.noise else None
        self.method = "reml" if self._reml else "ml"
        self._task = task
        self._frame = task.joined()

    def fit(self) -> Outcome:
        start = time.perf_counter()
        fit = self._glmm.fit(
            self._frame,
            self._task.formula,
            family=self._family,
            reml=self._reml,
            satterthwaite=False,
            wald_se="rx",
            anova_test="Wald",
        )
        seconds = time.perf_counter() - start
        # with slopes there are further entries, which nobody reads
        groups = (group for group, _ in fit.re_groups)
        by_group = dict(zip(groups, fit.tau2, strict=not self._task.slopes))
        coefficients = dict(zip(fit.names, map(float, fit.beta), strict=True))
        intercept = coefficients.pop("(Intercept)")
        effects = None
        if self._task.effects_of is not None:
            blocks = {block["group"]: block for block in fit.ranef_blocks}
            block = blocks[self._task.effects_of]
            levels = [int(level) for level in block["levels"]]
            effects = pd.Series(block["values"][:, 0], index=levels)
        return Outcome(
            seconds=seconds,
            log_likelihood=float(fit.loglik),
            coefficients={"intercept": intercept} | coefficients,
            variances={group: float(by_group[group]) for group in self._task.groups}
            | {name: float(fit.dispersion) for name in self._task.noise},
            effects=effects,
        )
