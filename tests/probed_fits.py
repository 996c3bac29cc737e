"""Fits by random vectors against the exact one."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from skmixed.solvers import iterative
from skmixed.solvers.preconditioners import LevelBlocks


def errors_of_the_bound(model, X, y, n_seeds=6):
    """Root mean squares over seeds: by how much the ELBO is off, and what `elbo_std_` says.

    By random vectors alone: with polynomials as control hardly any error is left.
    """
    direct = clone(model).set_params(solver="direct").fit(X, y)
    probed = clone(model).set_params(solver="iterative", n_probes=5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(iterative, "choose", lambda tail, pattern: LevelBlocks(tail, None))
        fits = [clone(probed).set_params(random_state=seed).fit(X, y) for seed in range(n_seeds)]
    found = [fit.elbo_ - direct.elbo_ for fit in fits]
    claimed = [fit.elbo_std_ for fit in fits]
    return tuple(np.sqrt(np.mean(np.square(errors))) for errors in (found, claimed))
