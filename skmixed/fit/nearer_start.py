"""A start next to the optimum, for models that are small and fitted by the thousand.

Newton's iterations judge it as any other start; they have little left to do.
"""

from __future__ import annotations

import numpy as np

from skmixed._kernels.arguments import OneFactorModel
from skmixed._kernels.one_factor import approach
from skmixed.fit.gaussian_objective import GaussianObjective

_CLOSER = 0.1
"""Part of the tolerance that is left to rounding."""

_MOST_STEPS = 30


def nearer_start(objective: GaussianObjective, theta: np.ndarray, tol: float) -> np.ndarray:
    """Parameters of the prior next to the optimum of a model of one factor; else `theta`.

    Parameters
    ----------
    objective : GaussianObjective
    theta : ndarray (m,)
    tol : float
        Of the iterations that follow.
    """
    places = _places(objective)
    if places is None:
        return theta
    cross, held = objective.cross, objective.noise_variance
    model = OneFactorModel(
        cross.own, cross.with_dense, cross.sums.dense, places, objective.degrees_of_freedom,
        0.0 if held is None else held, objective.integrate_fixed,
    )  # fmt: skip
    return approach(model, theta, _CLOSER * tol, _MOST_STEPS)[0]


def _places(objective: GaussianObjective) -> np.ndarray | None:
    """Row and column in T of every parameter, (m, 2); None where the model is another one."""
    cross, prior = objective.cross, objective.prior
    is_plain = objective.noise_enters_plainly and objective.posterior.needs_determinant
    if not is_plain or cross.n_tail or cross.eliminated is None or prior.across[0] is not None:
        return None
    places = []
    for block in prior.blocks:
        entries = block.covariance.entries
        if entries is None:
            return None
        places.append(np.stack(entries, axis=1) + block.effects.start)
    return np.concatenate(places) if places else None
