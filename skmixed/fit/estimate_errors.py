"""Covariance of all estimates of a fit, variances by the logarithm of their roots."""

from __future__ import annotations

import numpy as np

from skmixed.posteriors.prior import EffectsPrior
from skmixed.sums.standard_units import Units


def estimate_covariance(
    joint: np.ndarray, theta: np.ndarray, prior: EffectsPrior, units: Units
) -> np.ndarray:
    """Covariance of (log sds, own parameters, coefficients at the centre), in units of the data.

    Standard deviations are those of all effects of all factors, in design order. By the delta
    method; 0 for standard deviations of 0 and own parameters at the end of their range.

    Parameters
    ----------
    joint : ndarray (m + k + p, m + k + p)
        Covariance of (theta, own, beta) in standard units; 0 for what is at the end of its range.
    theta : ndarray (m,)
    prior : EffectsPrior
    units : Units
    """
    variances = units.effect_variances([scale.matrix for scale in prior.scales(theta)])
    m, p = len(theta), units.fixed.rank
    k = len(joint) - m - p
    to_centred = units.fixed.to_centred()
    first = np.cumsum([0, *(factor.n_effects for factor in prior.factors)])
    slopes = np.zeros((len(variances), m))
    for j, (factor, tangent) in enumerate(prior.tangents(theta)):
        basis, position = units.bases[factor.position], factor.position
        slopes[first[position] : first[position + 1], j] = ((basis @ tangent) * basis).sum(axis=1)
    with np.errstate(all="ignore"):
        logs = np.log(variances)
        slopes *= 0.5 / variances[:, None]
    unknown = ~np.isfinite(logs) | ~np.isfinite(slopes).all(axis=1)
    slopes[unknown] = 0.0
    chain = np.zeros((len(logs) + k + len(to_centred), len(joint)))
    chain[: len(logs), :m] = slopes
    chain[len(logs) : len(logs) + k, m : m + k] = np.eye(k)
    chain[len(logs) + k :, m + k :] = to_centred
    covariance = chain @ joint @ chain.T
    at_end = np.zeros(len(covariance), bool)
    at_end[: len(logs)] = unknown
    at_end[len(logs) : len(logs) + k] = np.diagonal(joint)[m : m + k] == 0.0
    covariance[at_end] = 0.0
    covariance[:, at_end] = 0.0
    return covariance
