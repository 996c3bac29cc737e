"""Passes over the sites of rows: how far those that follow are from those that were.

Rows count by their case weights. A step is measured in standard deviations: its change of
precision and of `linear` (weight times working response) by the precision and the variance
of a row.
"""

import math

from skmixed._kernels.compile import kernel

LEAST_PRECISION = 1e-10
"""Weight of a row below which it says nothing: rows predicted with certainty."""


@kernel
def fill_site_step(weights, precision, variance, change, linear_change, mean, out):
    """Fill out (2, n) with slope and bending of the step of every row."""
    for i in range(mean.shape[0]):
        held = precision[i]
        if held < LEAST_PRECISION:
            held = LEAST_PRECISION
        unit = math.sqrt(weights[i] / held)
        out[0, i] = unit * (linear_change[i] - change[i] * mean[i])
        out[1, i] = unit * math.sqrt(0.5 * variance[i]) * change[i]


@kernel
def judge_sites(weights, precision, variance, change, linear_change, mean, out):
    """Add to out (3,) the squared steps, and sums of weight * variance, (weight * mean)^2."""
    moved, effective, size = 0.0, 0.0, 0.0
    for i in range(mean.shape[0]):
        held = precision[i]
        if held < LEAST_PRECISION:
            held = LEAST_PRECISION
        slope = linear_change[i] - change[i] * mean[i]
        moved += weights[i] / held * (slope * slope + 0.5 * variance[i] * change[i] * change[i])
        weight = weights[i] * held
        effective += weight * variance[i]
        size += weight * mean[i] * weight * mean[i]
    out[0] += moved
    out[1] += effective
    out[2] += size
