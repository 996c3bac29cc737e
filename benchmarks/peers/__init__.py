"""The systems that the InstEval benchmark compares, one file each."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from peers.base import NotInstalled, Outcome, Peer
from peers.glmm_peer import Glmm
from peers.gpboost_peer import GPBoost
from peers.lme4_peer import Lme4
from peers.numpyro_peer import NumPyroMeanField
from peers.ours import Skmixed

# Of 0.001, 0.01, 0.03 and 0.1 the nearest to convergence after 10,000 steps.
LEARNING_RATE = 0.1
SEED = 0

Opener = Callable[[pd.DataFrame], Peer]

OURS: dict[str, Opener] = {
    "skmixed reml": lambda frame: Skmixed(frame, method="reml"),
    "skmixed ml": lambda frame: Skmixed(frame, method="ml"),
    "skmixed mean_field, noise 1": lambda frame: Skmixed(
        frame, method="ml", posterior="mean_field", noise_scale=1.0
    ),
}

PEERS: dict[str, dict[str, Opener]] = {
    "glmm": {"glmm": Glmm},
    "gpboost-cholesky": {"gpboost cholesky": lambda frame: GPBoost(frame, "cholesky")},
    "gpboost-iterative": {"gpboost iterative": lambda frame: GPBoost(frame, "iterative")},
    "lme4": {
        "lme4": lambda frame: Lme4(frame, derivative_checks=True),
        "lme4, no derivative checks": lambda frame: Lme4(frame, derivative_checks=False),
    },
    "numpyro": {
        f"numpyro, {steps:,} steps": lambda frame, steps=steps: NumPyroMeanField(
            frame, steps, LEARNING_RATE, SEED
        )
        for steps in (2_000, 10_000)
    },
}

__all__ = ["OURS", "PEERS", "NotInstalled", "Opener", "Outcome", "Peer"]
