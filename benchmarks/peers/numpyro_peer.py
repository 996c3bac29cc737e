"""Mean-field stochastic variational inference in NumPyro.

A stand-in for Edward, whose InstEval tutorial made this model known and which no longer
installs (it needs TensorFlow 1): independent normals on the effects of students,
instructors and departments, point estimates of fixed effects and standard deviations,
noise scale 1, Adam on the evidence lower bound.
"""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from peers.base import NotInstalled, Outcome, Peer, Task, choose_by_family

NOISE_SCALE = 1.0
START_SCALE = 0.1
BOUND_DRAWS = 20


class NumPyroMeanField(Peer):
    """`steps` Adam steps of a constant `learning_rate`; InstEval only."""

    method = "ml"

    def __init__(self, task: Task, steps: int, learning_rate: float, seed: int) -> None:
        try:
            import jax
            import jax.numpy as jnp
            import numpyro
            import numpyro.distributions as distributions
            from numpyro.infer import SVI, TraceMeanField_ELBO
        except ImportError as error:
            raise NotInstalled("pip install numpyro") from error
        choose_by_family(task, {"gaussian": "Normal"})
        self._jax = jax
        self._steps = steps
        self._seed = seed
        self.version = f"numpyro {version('numpyro')}, jax {version('jax')}"

        positive = distributions.constraints.positive
        codes = {g: jnp.asarray(task.X[g].cat.codes.to_numpy(np.int32)) for g in task.groups}
        self._levels = {g: task.X[g].cat.categories for g in task.groups}
        service = jnp.asarray(task.X["service"].to_numpy(np.float32))
        ratings = jnp.asarray(task.y.to_numpy(np.float32))

        def model() -> None:
            mean = numpyro.param("intercept", 0.0) + numpyro.param("service", 0.0) * service
            for group, levels in self._levels.items():
                scale = numpyro.param(f"sd_{group}", 1.0, constraint=positive)
                prior = distributions.Normal(jnp.zeros(len(levels)), scale)
                mean = mean + numpyro.sample(group, prior.to_event(1))[codes[group]]
            noise = distributions.Normal(mean, NOISE_SCALE)
            numpyro.sample("y", noise.to_event(1), obs=ratings)

        def guide() -> None:
            for group, levels in self._levels.items():
                mean = numpyro.param(f"mean_{group}", jnp.zeros(len(levels)))
                start = jnp.full(len(levels), START_SCALE)
                scale = numpyro.param(f"scale_{group}", start, constraint=positive)
                numpyro.sample(group, distributions.Normal(mean, scale).to_event(1))

        optimizer = numpyro.optim.Adam(learning_rate)
        self._svi = SVI(model, guide, optimizer, TraceMeanField_ELBO())
        self._run = jax.jit(
            lambda state, steps: jax.lax.fori_loop(
                0, steps, lambda _, now: self._svi.update(now)[0], state
            )
        )
        key = jax.random.PRNGKey(seed)
        self._loss = lambda found: TraceMeanField_ELBO(BOUND_DRAWS).loss(key, found, model, guide)

    def fit(self) -> Outcome:
        start = time.perf_counter()
        state: Any = self._svi.init(self._jax.random.PRNGKey(self._seed))
        state = self._jax.block_until_ready(self._run(state, self._steps))
        seconds = time.perf_counter() - start
        found = self._svi.get_params(state)
        effects = np.asarray(found["mean_dept"], dtype=np.float64)
        return Outcome(
            seconds=seconds,
            log_likelihood=-float(self._loss(found)),
            coefficients={name: float(found[name]) for name in ("intercept", "service")},
            variances={g: float(found[f"sd_{g}"]) ** 2 for g in self._levels}
            | {"noise": NOISE_SCALE**2},
            effects=pd.Series(effects, index=self._levels["dept"]),
        )
