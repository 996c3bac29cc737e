"""Fits by random vectors against the exact one."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone


def errors_of_the_bound(model, X, y, n_seeds=6):
    """Root mean squares over seeds: by how much the ELBO is off, and what `elbo_std_` says."""
    direct = clone(model).set_params(solver="direct").fit(X, y)
    probed = clone(model).set_params(solver="iterative", n_probes=5)
    fits = [clone(probed).set_params(random_state=seed).fit(X, y) for seed in range(n_seeds)]
    found = [fit.elbo_ - direct.elbo_ for fit in fits]
    claimed = [fit.elbo_std_ for fit in fits]
    return tuple(np.sqrt(np.mean(np.square(errors))) for errors in (found, claimed))
