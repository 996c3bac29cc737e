"""Expectations of log Phi(eta) and log(Phi(b - eta) - Phi(a - eta)), Phi normal.

By the trapezoidal rule, as in `expectations.py`; log Phi at the nodes comes from
Taylor expansions around the nearest of many centres.
"""

from __future__ import annotations

import math

import numpy as np

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
_EDGE = 8.0
_PER_UNIT = 32
"""Expansions of log Phi between -8 and 8, so that they are used within 1/64 of their centre."""

_ORDER = 9
_FRACTIONS = 1000.0
"""Over x^2: terms of the continued fraction that leave rounding errors only."""


def _expansions() -> tuple[np.ndarray, np.ndarray]:
    """Centres' log Phi, and Taylor coefficients (centres, order) of the hazard phi / Phi.

    The hazard solves h' = -h (h + x), which gives a coefficient from those before.
    """
    centres = np.arange(-_EDGE * _PER_UNIT, _EDGE * _PER_UNIT + 1) / _PER_UNIT
    below = np.array([0.5 * math.erfc(-x * _SQRT_HALF) for x in centres])
    above = np.array([0.5 * math.erfc(x * _SQRT_HALF) for x in centres])
    hazard = np.zeros((len(centres), _ORDER))
    hazard[:, 0] = np.exp(-0.5 * centres**2 - _LOG_SQRT_TWO_PI) / below
    for n in range(_ORDER - 1):
        square = (hazard[:, : n + 1] * hazard[:, n::-1]).sum(axis=1)
        before = hazard[:, n - 1] if n > 0 else 0.0
        hazard[:, n + 1] = -(square + centres * hazard[:, n] + before) / (n + 1)
    return np.where(centres < 0, np.log(below), np.log1p(-above)), hazard


_LOG_CDF, _HAZARD = _expansions()
_INTEGRAL = _HAZARD / np.arange(1, _ORDER + 1)


@kernel
def log_normal_cdf(x):
    """log Phi(x), its derivative phi / Phi, and the derivative plus x.

    The last one is what cancels in the lower tail, where the continued fraction
    of Mills' ratio gives it at once (Abramowitz and Stegun 1964, 26.2.14).
    """
    if x < -_EDGE:
        fraction = 0.0
        for k in range(int(_FRACTIONS / (x * x)) + 6, 0, -1):
            fraction = k / (fraction - x)
        hazard = fraction - x
        return -0.5 * x * x - _LOG_SQRT_TWO_PI - math.log(hazard), hazard, fraction
    if x <= _EDGE:
        centre = int((x + _EDGE) * _PER_UNIT + 0.5)
        d = x + _EDGE - centre * (1.0 / _PER_UNIT)
        hazard, integral = 0.0, 0.0
        for n in range(_ORDER - 1, -1, -1):
            hazard = hazard * d + _HAZARD[centre, n]
            integral = integral * d + _INTEGRAL[centre, n]
        return _LOG_CDF[centre] + integral * d, hazard, hazard + x
    hazard = math.exp(-0.5 * x * x - _LOG_SQRT_TWO_PI)
    return -0.5 * math.erfc(x * _SQRT_HALF), hazard, hazard + x


@kernel
def _nodes(deviation):
    """Step and number of nodes on either side."""
    pole = _POLE / deviation
    step = min(_WIDEST_STEP, 2.0 * math.pi * pole / (_ACCURACY + 0.5 * pole * pole))
    step = max(step, _RANGE / _MOST_NODES)
    # log Phi falls with the square: what a wide distribution has outside counts more.
    return step, int((_RANGE + min(1.0, deviation / 16.0)) / step)


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
    """log(Phi(upper) - Phi(lower)) and derivatives.

    They are those by `lower` and by `upper`, and the negated second derivative by a
    shift of both. The interval is mirrored to the lower tail, where the difference of logarithms
    of Phi does not cancel. One end may be infinite.
    """
    if lower + upper > 0.0:
        value, by_upper, by_lower, precision = _left_interval(-upper, -lower)
        return value, -by_lower, -by_upper, precision
    return _left_interval(lower, upper)


@kernel
def _left_interval(lower, upper):
    """The same, for an upper end that is nearer to zero.

    With L' the derivative by a shift, the last result is L' (L' + upper) less
    (upper - lower) times the derivative by `lower`; the excess over -upper is kept
    apart from the start.
    """
    value, hazard, excess = log_normal_cdf(upper)
    if lower == -math.inf:
        return value, 0.0, hazard, hazard * excess
    below, lower_hazard, _ = log_normal_cdf(lower)
    share = -math.expm1(below - value)
    odds = (1.0 - share) / share
    by_lower = -lower_hazard * odds
    rise = odds * (hazard - lower_hazard)
    precision = (hazard + rise) * (excess + rise) - (upper - lower) * by_lower
    return value + math.log(share), by_lower, hazard / share, precision


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
        value, by_lower, by_upper, precision = log_normal_interval(a, b)
        a_term = a * by_lower if a > -math.inf else 0.0
        b_term = b * by_upper if b < math.inf else 0.0
        total += weight
        out[0] += weight * value
        out[1] += weight * by_lower
        out[2] += weight * by_upper
        out[3] -= weight * (a_term + by_lower * by_lower)
        out[4] -= weight * by_lower * by_upper
        out[5] -= weight * (b_term + by_upper * by_upper)
        out[6] += weight * precision
    out /= total


@kernel
def expected_log_normal_interval_rows(lower, upper, variance, out):
    """Fill out (n, 7) with `expected_log_normal_interval` of every row."""
    for i in range(lower.shape[0]):
        expected_log_normal_interval(lower[i], upper[i], variance[i], out[i])
