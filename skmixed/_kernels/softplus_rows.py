"""Expectations of log(1 + exp(eta)) for many rows, some of them at a time.

The rule is that of `expectations.py`. Rows side by side, *lanes*, take the same
operations without branches, which a processor does for several of them at once. Only
the logarithm has to be written out for that.
"""

from __future__ import annotations

import math

import numpy as np

from skmixed._kernels.compile import kernel
from skmixed._kernels.expectations import expected_softplus, trapezoidal_nodes

_LANES = 16

_WIDEST_VARIANCE = 9.0
"""The largest variance of lanes: rows with a larger one take many nodes, and come alone."""

(
    _UPPER, _LOWER, _RATIO, _INVERSE, _WEIGHT, _FACTOR, _DECAY,
    _TOTAL, _VALUE, _FIRST, _SECOND, _ARGUMENT, _CORRECTION, _EXPONENT, _N_COLUMNS,
) = (_LANES * column for column in range(15))  # fmt: skip
"""Where the columns of a scratch array begin, which has an entry a lane."""

_LEAST_MANTISSA = 0x3FE6A09E667F3BCD
"""The bits of sqrt(1/2): mantissas are taken between it and sqrt(2)."""

_WHOLE_BITS, _WHOLE = 0x4338000000000000, 1.5 * 2.0**52
"""Bits that whole numbers are added to so that they are, but for this summand, floats."""

_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_SERIES = (
    6.666666666666735130e-01, 3.999999999940941908e-01, 2.857142874366239149e-01,
    2.222219843214978396e-01, 1.818357216161805012e-01, 1.531383769920937332e-01,
    1.479819860511658591e-01,
)  # fmt: skip
"""log(1 + f) = 2 artanh(t), t = f / (2 + f): a minimax polynomial in t^2 to the last digit.

Coefficients as in FreeBSD's msun library, e_log.c.
"""


@kernel
def expected_softplus_rows(mean, variance, value, first, second):
    """Fill (n,) arrays with `expected_softplus` of every row."""
    scratch = np.empty(_N_COLUMNS)
    for begin in range(0, mean.shape[0], _LANES):
        end = min(begin + _LANES, mean.shape[0])
        if _are_regular(mean, variance, begin, end):
            _fill_lanes(mean, variance, (begin, end), scratch, (value, first, second))
            continue
        for i in range(begin, end):
            value[i], first[i], second[i] = expected_softplus(mean[i], variance[i])


@kernel
def expected_softplus_higher_rows(mean, variance, third, fourth):
    """Fill (n,) arrays with the third and fourth derivative of `expected_softplus` of every row.

    They are E[p q (q - p)] and E[p q (1 - 6 p q)], with p = logistic(eta) and q = 1 - p.
    Errors are below 1e-10, and below 1e-7 by the differences that wide and certain rows take.
    """
    scratch = np.empty(_N_COLUMNS)
    for begin in range(0, mean.shape[0], _LANES):
        end = min(begin + _LANES, mean.shape[0])
        if _are_regular(mean, variance, begin, end):
            _place_lanes(mean, variance, (begin, end), scratch)
            for _ in range(_start_lanes(scratch) + 1):
                _add_higher(scratch)
            for i in range(begin, end):
                k = i - begin
                scale = 0.5 / scratch[_TOTAL + k]
                mirrored = scale * scratch[_FIRST + k]
                third[i] = -mirrored if mean[i] > 0.0 else mirrored
                fourth[i] = scale * scratch[_SECOND + k]
            continue
        for i in range(begin, end):
            third[i], fourth[i] = _differences(mean[i], variance[i])


@kernel
def _are_regular(mean, variance, begin, end):
    """Whether lanes can take these rows."""
    for i in range(begin, end):
        # false for a NaN
        if not (0.0 < variance[i] <= _WIDEST_VARIANCE and mean[i] * 0.0 == 0.0):
            return False
    return True


@kernel
def _differences(mean, variance):
    """Third and fourth derivative, by central differences of the second one."""
    step = 1e-4 * math.sqrt(1.0 + max(variance, 0.0))
    here = expected_softplus(mean, variance)[2]
    below, above = (
        expected_softplus(mean - step, variance)[2],
        expected_softplus(mean + step, variance)[2],
    )
    return 0.5 * (above - below) / step, (above - 2.0 * here + below) / (step * step)


@kernel
def _add_higher(scratch):
    """Add the next pair of nodes of all lanes to sums of third and fourth derivatives."""
    for k in range(_LANES):
        upper, lower = scratch[_UPPER + k], scratch[_LOWER + k]
        weight = scratch[_WEIGHT + k]
        reciprocal = 1.0 / (1.0 + upper + lower + upper * lower)
        above = (1.0 + lower) * reciprocal
        below = (1.0 + upper) * reciprocal
        over, under = upper * above, lower * below
        high, low = over * above, under * below
        scratch[_TOTAL + k] += weight
        scratch[_FIRST + k] += weight * (high * (above - over) + low * (below - under))
        scratch[_SECOND + k] += weight * (high * (1.0 - 6.0 * high) + low * (1.0 - 6.0 * low))
        scratch[_UPPER + k] = upper * scratch[_RATIO + k]
        scratch[_LOWER + k] = lower * scratch[_INVERSE + k]
        # the node at the centre was half of a pair
        scratch[_WEIGHT + k] = (1.0 if weight == 0.5 else weight) * scratch[_FACTOR + k]
        scratch[_FACTOR + k] *= scratch[_DECAY + k]


@kernel
def _fill_lanes(mean, variance, rows, scratch, out):
    """Fill `out`, three arrays, for the rows from ``rows[0]`` to ``rows[1]``."""
    begin, end = rows
    _place_lanes(mean, variance, rows, scratch)
    _sum_nodes(scratch, _start_lanes(scratch))
    value, first, second = out
    for i in range(begin, end):
        k = i - begin
        scale = 0.5 / scratch[_TOTAL + k]
        mirrored = scale * scratch[_FIRST + k]
        value[i] = max(mean[i], 0.0) + scale * scratch[_VALUE + k]
        first[i] = 1.0 - mirrored if mean[i] > 0.0 else mirrored
        second[i] = scale * scratch[_SECOND + k]


@kernel
def _place_lanes(mean, variance, rows, scratch):
    """Place means and variances of rows where `_start_lanes` takes them."""
    for k in range(_LANES):
        # lanes without a row do what the last row's lane does
        i = min(rows[0] + k, rows[1] - 1)
        scratch[_UPPER + k] = -abs(mean[i])
        scratch[_RATIO + k] = variance[i]


@kernel
def _start_lanes(scratch):
    """Set up lanes whose mean stands at `_UPPER` and variance at `_RATIO`; the nodes they need."""
    for k in range(_LANES):
        deviation = math.sqrt(scratch[_RATIO + k])
        step, n_nodes = trapezoidal_nodes(scratch[_UPPER + k], deviation)
        scratch[_RATIO + k] = step * deviation
        scratch[_FACTOR + k] = -0.5 * step * step
        scratch[_TOTAL + k] = n_nodes
    most_nodes = 0.0
    for k in range(_LANES):
        most_nodes = max(most_nodes, scratch[_TOTAL + k])
        scratch[_UPPER + k] = math.exp(scratch[_UPPER + k])
        scratch[_RATIO + k] = math.exp(scratch[_RATIO + k])
        scratch[_FACTOR + k] = math.exp(scratch[_FACTOR + k])
    for k in range(_LANES):
        scratch[_LOWER + k] = scratch[_UPPER + k]
        scratch[_INVERSE + k] = 1.0 / scratch[_RATIO + k]
        scratch[_DECAY + k] = scratch[_FACTOR + k] * scratch[_FACTOR + k]
        # the node at the centre is both the upper and the lower one
        scratch[_WEIGHT + k] = 0.5
        scratch[_TOTAL + k] = 0.0
        scratch[_VALUE + k] = 0.0
        scratch[_FIRST + k] = 0.0
        scratch[_SECOND + k] = 0.0
    return int(most_nodes)


@kernel
def _sum_nodes(scratch, n_nodes):
    """Add the centre and `n_nodes` pairs of nodes of all lanes to the sums in `scratch`."""
    bits = scratch.view(np.int64)
    for node in range(n_nodes + 1):
        for k in range(_LANES):
            upper, lower = scratch[_UPPER + k], scratch[_LOWER + k]
            weight = scratch[_WEIGHT + k]
            product = upper + lower + upper * lower
            argument = 1.0 + product
            reciprocal = 1.0 / argument
            above = (1.0 + lower) * reciprocal
            below = (1.0 + upper) * reciprocal
            over, under = upper * above, lower * below
            scratch[_TOTAL + k] += weight
            scratch[_FIRST + k] += weight * (over + under)
            scratch[_SECOND + k] += weight * (over * above + under * below)
            scratch[_ARGUMENT + k] = argument
            # what rounding took from 1 + product, which matters where that is near 1
            scratch[_CORRECTION + k] = (product - (argument - 1.0)) * reciprocal
            scratch[_UPPER + k] = upper * scratch[_RATIO + k]
            scratch[_LOWER + k] = lower * scratch[_INVERSE + k]
        for k in range(_LANES):
            # argument = mantissa 2^exponent
            exponent = (bits[_ARGUMENT + k] - _LEAST_MANTISSA) >> 52
            bits[_ARGUMENT + k] -= exponent << 52
            bits[_EXPONENT + k] = exponent + _WHOLE_BITS
        for k in range(_LANES):
            exponent = scratch[_EXPONENT + k] - _WHOLE
            f = scratch[_ARGUMENT + k] - 1.0
            t = f / (2.0 + f)
            z = t * t
            tail = _SERIES[5] + z * _SERIES[6]
            tail = _SERIES[3] + z * (_SERIES[4] + z * tail)
            tail = z * (_SERIES[0] + z * (_SERIES[1] + z * (_SERIES[2] + z * tail)))
            half = 0.5 * f * f
            small = exponent * _LN2_LOW + scratch[_CORRECTION + k]
            logarithm = exponent * _LN2_HIGH - ((half - (t * (half + tail) + small)) - f)
            weight = scratch[_WEIGHT + k]
            scratch[_VALUE + k] += weight * logarithm
            if node == 0:
                weight = 1.0
            scratch[_WEIGHT + k] = weight * scratch[_FACTOR + k]
            scratch[_FACTOR + k] *= scratch[_DECAY + k]
