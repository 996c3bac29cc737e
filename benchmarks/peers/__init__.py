"""The systems that are compared, one file each."""

from __future__ import annotations

from collections.abc import Callable

from peers.base import NotInstalled, Outcome, Peer, Task
from peers.glmm_peer import Glmm
from peers.gpboost_peer import GPBoost
from peers.lme4_peer import Lme4
from peers.numpyro_peer import NumPyroMeanField
from peers.ours import Skmixed

# Of 0.001, 0.01, 0.03 and 0.1 the nearest to convergence after 10,000 steps.
LEARNING_RATE = 0.1
SEED = 0

Opener = Callable[[Task], Peer]

OURS: dict[str, Opener] = {
    "skmixed reml": lambda task: Skmixed(task, method="reml"),
    "skmixed ml": lambda task: Skmixed(task, method="ml"),
    "skmixed mean_field, noise 1": lambda task: Skmixed(
        task, method="ml", posterior="mean_field", noise_scale=1.0
    ),
}

OURS_BINARY: dict[str, Opener] = {
    "skmixed reml": OURS["skmixed reml"],
    "skmixed ml": OURS["skmixed ml"],
    "skmixed reml, mean_field": lambda task: Skmixed(task, method="reml", posterior="mean_field"),
}

PEERS: dict[str, dict[str, Opener]] = {
    "glmm": {"glmm": Glmm},
    "gpboost-cholesky": {"gpboost cholesky": lambda task: GPBoost(task, "cholesky")},
    "gpboost-iterative": {"gpboost iterative": lambda task: GPBoost(task, "iterative")},
    "lme4": {
        "lme4": lambda task: Lme4(task, derivative_checks=True),
        "lme4, no derivative checks": lambda task: Lme4(task, derivative_checks=False),
    },
    "numpyro": {
        f"numpyro, {steps:,} steps": lambda task, steps=steps: NumPyroMeanField(
            task, steps, LEARNING_RATE, SEED
        )
        for steps in (2_000, 10_000)
    },
}

__all__ = [
    "OURS",
    "OURS_BINARY",
    "PEERS",
    "NotInstalled",
    "Opener",
    "Outcome",
    "Peer",
    "Skmixed",
    "Task",
]
