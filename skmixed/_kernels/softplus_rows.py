"""Expectations of log(1 + exp(eta)) for many rows, some of them at a time.

Rows side by side, *lanes*, take the same operations without branches, which a processor
does for several of them at once. Only the logarithm and the hyperbolic cosine have to be
written out for that. Where variances are small a few nodes of Gauss and Hermite suffice;
else the rule is that of `expectations.py`.

With U = exp(mean + x) and L = exp(mean - x) at a pair of nodes, functions of both together
depend on S = U + L = 2 exp(mean) cosh(x) and P = U L = exp(2 mean) alone:

    log(1 + U) + log(1 + L)              = log(1 + S + P)
    U / (1 + U) + L / (1 + L)            = (S + 2 P) / (1 + S + P)
    U / (1 + U)^2 + L / (1 + L)^2        = (S (1 + P) + 4 P) / (1 + S + P)^2
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
    _TOTAL, _VALUE, _FIRST, _SECOND, _ARGUMENT, _CORRECTION, _EXPONENT, _DEVIATION, _N_COLUMNS,
) = (_LANES * column for column in range(16))  # fmt: skip
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


_LARGEST_DEVIATIONS = np.array([0.1, 0.205, 0.3, 0.385, 0.46, 0.53])
"""Up to which rules of 5, 7, ... nodes have errors below 3e-13."""


def _hermite_rules() -> tuple[np.ndarray, np.ndarray]:
    """Nodes from the centre on, over 4, and weights of pairs, of which that of the centre is one.

    Both (rule, node).
    """
    n_rules = len(_LARGEST_DEVIATIONS)
    nodes, weights = np.zeros((n_rules, n_rules + 2)), np.zeros((n_rules, n_rules + 2))
    for rule in range(n_rules):
        half = rule + 2
        at, weight = np.polynomial.hermite_e.hermegauss(2 * half + 1)
        weight /= weight.sum()
        nodes[rule, : half + 1], weights[rule, : half + 1] = at[half:] / 4.0, weight[half:]
        weights[rule, 0] *= 0.5
    return nodes, weights


_QUARTER_NODES, _NODE_WEIGHTS = _hermite_rules()

_COSH = np.array([1.0 / math.factorial(2 * k) for k in range(10)])
"""Series of cosh(x) in x^2, for x up to 1: to the last digit."""


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
        if not (0.0 < variance[i] <= _WIDEST_VARIANCE and abs(mean[i]) < math.inf):
            return False
    return True


@kernel
def _differences(mean, variance):
    """Third and fourth derivative, by central differences of the second one."""
    step = 1e-4 * math.sqrt(1.0 + max(variance, 0.0))
    below = expected_softplus(mean - step, variance)[2]
    here = expected_softplus(mean, variance)[2]
    above = expected_softplus(mean + step, variance)[2]
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
        # on to the next nodes, as in `_sum_nodes`: a pass of its own would take half as long again
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
    rule = _hermite_rule(scratch)
    if rule < len(_LARGEST_DEVIATIONS):
        _sum_hermite_nodes(scratch, rule)
    else:
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
    """Place means, mirrored to be negative, and deviations of rows in lanes."""
    for k in range(_LANES):
        # lanes without a row do what the last row's lane does
        i = min(rows[0] + k, rows[1] - 1)
        scratch[_UPPER + k] = -abs(mean[i])
        scratch[_DEVIATION + k] = math.sqrt(variance[i])


@kernel
def _hermite_rule(scratch):
    """The first rule that suffices for the deviations of all lanes."""
    largest = 0.0
    for k in range(_LANES):
        largest = max(largest, scratch[_DEVIATION + k])
    rule = 0
    while rule < len(_LARGEST_DEVIATIONS) and largest > _LARGEST_DEVIATIONS[rule]:
        rule += 1
    return rule


@kernel
def _sum_hermite_nodes(scratch, rule):
    """Fill the sums in `scratch` by a rule of Gauss and Hermite."""
    for k in range(_LANES):
        scratch[_UPPER + k] = math.exp(scratch[_UPPER + k])
    for k in range(_LANES):
        # expectations are sums over pairs
        scratch[_TOTAL + k] = 0.5
        scratch[_VALUE + k] = 0.0
        scratch[_FIRST + k] = 0.0
        scratch[_SECOND + k] = 0.0
    for node in range(rule + 3):
        quarter, weight = _QUARTER_NODES[rule, node], _NODE_WEIGHTS[rule, node]
        for k in range(_LANES):
            centre, x = scratch[_UPPER + k], quarter * scratch[_DEVIATION + k]
            square, cosh = x * x, _COSH[9]
            cosh = _COSH[7] + square * (_COSH[8] + square * cosh)
            cosh = _COSH[5] + square * (_COSH[6] + square * cosh)
            cosh = _COSH[3] + square * (_COSH[4] + square * cosh)
            cosh = _COSH[1] + square * (_COSH[2] + square * cosh)
            cosh = 1.0 + square * cosh
            cosh = 2.0 * cosh * cosh - 1.0
            cosh = 2.0 * cosh * cosh - 1.0
            both, product = 2.0 * centre * cosh, centre * centre
            more = both + product
            argument = 1.0 + more
            reciprocal = 1.0 / argument
            scratch[_FIRST + k] += weight * (more + product) * reciprocal
            second = (both + 4.0 * product + both * product) * reciprocal
            scratch[_SECOND + k] += weight * second * reciprocal
            scratch[_ARGUMENT + k] = argument
            # what rounding took from 1 + more, which matters where that is near 1
            scratch[_CORRECTION + k] = (more - (argument - 1.0)) * reciprocal
            scratch[_WEIGHT + k] = weight
        _add_logarithms(scratch)


@kernel
def _start_lanes(scratch):
    """Set up lanes from the mean at `_UPPER` and `_DEVIATION`; the nodes they need."""
    for k in range(_LANES):
        deviation = scratch[_DEVIATION + k]
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
        _add_logarithms(scratch)
        for k in range(_LANES):
            weight = scratch[_WEIGHT + k]
            if node == 0:
                weight = 1.0
            scratch[_WEIGHT + k] = weight * scratch[_FACTOR + k]
            scratch[_FACTOR + k] *= scratch[_DECAY + k]


@kernel
def _add_logarithms(scratch):
    """Add weights times logarithms of the arguments to the values; arguments change."""
    bits = scratch.view(np.int64)
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
        scratch[_VALUE + k] += scratch[_WEIGHT + k] * logarithm
