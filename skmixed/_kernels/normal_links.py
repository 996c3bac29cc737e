"""Expectations of log Phi(eta) and log(Phi(b - eta) - Phi(a - eta)), Phi normal.

By the trapezoidal rule, as in `expectations.py`; there are no shortcuts for nodes,
which costs about a microsecond a row.
"""

from __future__ import annotations

import math

from skmixed._kernels.compile import kernel

_WIDEST_STEP = 0.79
_ACCURACY = 32.0
_RANGE = 7.8
_MOST_NODES = 2000
"""Of a half; enough up to standard deviations of 100."""

_POLE = 2.5
"""The complex zeros of Phi and of all Phi(x + d) - Phi(x) are further from the real axis."""

_SQRT_HALF = math.sqrt(0.5)
_LOG_SQRT_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_TAIL = -5.0
_FRACTIONS = 24


@kernel
def log_normal_cdf(x):
    """log Phi(x), its derivative phi / Phi, and the derivative plus x.

    The last one is what cancels in the lower tail, where the continued fraction
    of Mills' ratio gives it at once (Abramowitz and Stegun 1964, 26.2.14).
    """
    if x < _TAIL:
        fraction = 0.0
        for k in range(_FRACTIONS, 0, -1):
            fraction = k / (fraction - x)
        hazard = fraction - x
        return -0.5 * x * x - _LOG_SQRT_TWO_PI - math.log(hazard), hazard, fraction
    density = math.exp(-0.5 * x * x - _LOG_SQRT_TWO_PI)
    if x > 0.0:
        above = 0.5 * math.erfc(x * _SQRT_HALF)
        value = math.log1p(-above)
        hazard = density / (1.0 - above)
    else:
        below = 0.5 * math.erfc(-x * _SQRT_HALF)
        value = math.log(below)
        hazard = density / below
    return value, hazard, hazard + x


@kernel
def _nodes(deviation):
    """Step and number of nodes on either side."""
    pole = _POLE / deviation
    step = min(_WIDEST_STEP, 2.0 * math.pi * pole / (_ACCURACY + 0.5 * pole * pole))
    step = max(step, _RANGE / _MOST_NODES)
    return step, int(_RANGE / step)


@kernel
def expected_log_normal_cdf(mean, variance):
    """E[log Phi(eta)], its first derivative by the mean and the negated second one.

    Parameters
    ----------
    mean, variance : float
        Of eta.
    """
    if variance <= 0.0:
        value, hazard, excess = log_normal_cdf(mean)
        return value, hazard, hazard * excess
    deviation = math.sqrt(variance)
    if not deviation < math.inf:
        return -deviation, deviation, 0.0 * deviation
    step, n_nodes = _nodes(deviation)
    total, value, first, second = 0.0, 0.0, 0.0, 0.0
    for j in range(-n_nodes, n_nodes + 1):
        node = j * step
        weight = math.exp(-0.5 * node * node)
        at, hazard, excess = log_normal_cdf(mean + deviation * node)
        total += weight
        value += weight * at
        first += weight * hazard
        second += weight * hazard * excess
    return value / total, first / total, second / total


@kernel
def expected_log_normal_cdf_rows(mean, variance, value, first, second):
    """Fill (n,) arrays with `expected_log_normal_cdf` of every row."""
    for i in range(mean.shape[0]):
        value[i], first[i], second[i] = expected_log_normal_cdf(mean[i], variance[i])


@kernel
def log_normal_interval(lower, upper):
    """log(Phi(upper) - Phi(lower)) and its derivatives by `lower` and by `upper`.

    The interval is mirrored to the lower tail, where the difference of logarithms
    of Phi does not cancel. One end may be infinite.
    """
    if lower + upper > 0.0:
        value, by_upper, by_lower = _left_interval(-upper, -lower)
        return value, -by_lower, -by_upper
    value, by_lower, by_upper = _left_interval(lower, upper)
    return value, by_lower, by_upper


@kernel
def _left_interval(lower, upper):
    value, hazard, _ = log_normal_cdf(upper)
    if lower == -math.inf:
        return value, 0.0, hazard
    below, lower_hazard, _ = log_normal_cdf(lower)
    share = -math.expm1(below - value)
    return value + math.log(share), -lower_hazard * (1.0 - share) / share, hazard / share


@kernel
def expected_log_normal_interval(lower, upper, variance, out):
    """Expectations for ends of means `lower` and `upper` that move together.

    Parameters
    ----------
    lower, upper : float
        Either may be infinite.
    variance : float
        Of both ends.
    out : array (7,)
        Filled with the value, its derivatives by the lower and upper end, the
        second derivatives (lower, lower), (lower, upper), (upper, upper), and the
        negated second derivative by a shift of both.
    """
    deviation = math.sqrt(max(variance, 0.0))
    step, n_nodes = _nodes(deviation) if deviation > 0.0 else (0.0, 0)
    out[:] = 0.0
    total = 0.0
    for j in range(-n_nodes, n_nodes + 1):
        node = j * step
        weight = math.exp(-0.5 * node * node)
        shift = deviation * node
        a, b = lower + shift, upper + shift
        value, by_lower, by_upper = log_normal_interval(a, b)
        a_term = a * by_lower if a > -math.inf else 0.0
        b_term = b * by_upper if b < math.inf else 0.0
        both = by_lower + by_upper
        total += weight
        out[0] += weight * value
        out[1] += weight * by_lower
        out[2] += weight * by_upper
        out[3] -= weight * (a_term + by_lower * by_lower)
        out[4] -= weight * by_lower * by_upper
        out[5] -= weight * (b_term + by_upper * by_upper)
        out[6] += weight * (a_term + b_term + both * both)
    out /= total


@kernel
def expected_log_normal_interval_rows(lower, upper, variance, out):
    """Fill out (n, 7) with `expected_log_normal_interval` of every row."""
    for i in range(lower.shape[0]):
        expected_log_normal_interval(lower[i], upper[i], variance[i], out[i])
