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
        # one column of an unpacked lower triangle after the other; the noise may come last
        names = [
            group if row == "(Intercept)" == column else f"{group}:{row},{column}"
            for group, terms in fit.re_groups
            for k, column in enumerate(terms)
            for row in terms[k:]
        ]
        by_group = dict(zip(names, fit.tau2, strict=False))
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
