"""Expectations of log(1 + exp(eta)) and its derivatives under eta ~ N(mean, variance).

The trapezoidal rule converges exponentially for such integrals (Trefethen and
Weideman 2014, SIAM Review 56). Its equally spaced nodes make exp(eta) a geometric
sequence, so that a row needs two exponentials, whatever the number of nodes.
"""

from __future__ import annotations

import math

import numpy as np

from skmixed._kernels.compile import kernel

_ACCURACY = 32.0
"""Minus the logarithm of the error due to the logistic function's poles at +-i pi."""

_FURTHEST = math.sqrt(2.0 * _ACCURACY)
"""The distance at which the step is largest, a quarter of pi."""

_RANGE = 7.8
"""In standard deviations: the normal density beyond it is below 3e-14."""

_TINY = 1e-4
"""Below it log(1 + x) loses relative accuracy, and log1p, twice as slow, is used."""

_WIDE = 16.0
"""The standard deviation from which the moments of the logistic density are enough."""

_LOGISTIC_MOMENTS = np.array(
    [
        1.0,
        math.pi**2 / 6,
        7 * math.pi**4 / 360,
        31 * math.pi**6 / 15120,
        127 * math.pi**8 / 604800,
        *(2.0 * (1.0 - 0.5 ** (2 * k) + 3.0 ** (-2 * k)) for k in range(5, 11)),
    ]
)
"""E[x^(2k)] / (2k)! of the standard logistic distribution, twice Dirichlet's eta(2k)."""

_SQRT_HALF = math.sqrt(0.5)
_DENSITY_AT_ZERO = 1.0 / math.sqrt(2.0 * math.pi)


@kernel
def softplus_at(x):
    """log(1 + exp(x)) with its first and second derivative."""
    small = math.exp(-abs(x))
    value = math.log1p(small)
    share = small / (1.0 + small)
    second = share / (1.0 + small)
    if x > 0.0:
        return x + value, 1.0 - share, second
    return value, share, second


@kernel
def _step(pole):
    """Step for a weight exp(-t^2 / 2) and a function with poles at the distance `pole`.

    They add an error of exp(pole^2 / 2 - 2 pi pole / step), here exp(-32). Poles further
    away than `_FURTHEST` matter less than the weight, whose own error that distance gives.
    """
    pole = min(pole, _FURTHEST)
    return 2.0 * math.pi * pole / (_ACCURACY + 0.5 * pole * pole)


@kernel
def trapezoidal_nodes(mean, deviation):
    """Step between nodes, in standard deviations, and nodes on either side, a float; mean <= 0.

    Where the linear predictor is far from zero the integrand's peak is off the
    centre, by `deviation` at most; the range follows it, which keeps the
    relative accuracy of small results.
    """
    step = _step(math.pi / deviation)
    return step, (_RANGE + min(deviation, -mean / deviation)) / step


@kernel
def _medium(mean, deviation):
    """Expectations for mean <= 0 by the trapezoidal rule."""
    step, n_nodes = trapezoidal_nodes(mean, deviation)
    centre = math.exp(mean)
    tiny = centre < _TINY
    ratio = math.exp(step * deviation)
    inverse = 1.0 / ratio
    decay = math.exp(-step * step)
    factor = math.exp(-0.5 * step * step)
    upper, lower = centre, centre
    once = 1.0 / (1.0 + centre)
    weight = 1.0
    total = 0.5
    value = math.log1p(centre)
    first = centre * once
    second = first * once
    for _ in range(int(n_nodes)):
        weight *= factor
        factor *= decay
        upper *= ratio
        lower *= inverse
        product = upper + lower + upper * lower
        reciprocal = 1.0 / (1.0 + product)
        above = (1.0 + lower) * reciprocal
        below = (1.0 + upper) * reciprocal
        total += weight
        value += weight * (math.log1p(product) if tiny else math.log(1.0 + product))
        first += weight * (upper * above + lower * below)
        second += weight * (upper * above * above + lower * below * below)
    scale = 0.5 / total
    return scale * value, scale * first, scale * second


@kernel
def _wide(mean, deviation):
    """Expectations for mean <= 0 and a density of eta that hardly bends near zero.

    The second derivative of log(1 + exp(x)) is the logistic density. Taylor's
    series of the normal density at zero asks for its moments, and for Hermite
    polynomials: the n-th derivative is He_n(mean / deviation) / deviation^n times
    the density itself.
    """
    x = mean / deviation
    if x < -38.0:
        return 0.0, 0.0, 0.0
    derivative = _DENSITY_AT_ZERO * math.exp(-0.5 * x * x) / deviation
    first = 0.5 * math.erfc(-x * _SQRT_HALF)
    value = mean * first + deviation * deviation * derivative
    second = derivative
    previous = 0.0
    for k in range(1, len(_LOGISTIC_MOMENTS)):
        moment = _LOGISTIC_MOMENTS[k]
        value += moment * derivative
        inner = (x * derivative - (2 * k - 2) * previous / deviation) / deviation
        outer = (x * inner - (2 * k - 1) * derivative / deviation) / deviation
        first -= moment * inner
        second += moment * outer
        previous, derivative = inner, outer
    return value, first, second


@kernel
def expected_softplus(mean, variance):
    """E[log(1 + exp(eta))] and its first and second derivative by the mean.

    They are E[logistic(eta)] and E[logistic(eta) logistic(-eta)]. Absolute errors
    are below 1e-12; small first and second derivatives are accurate relatively.

    Parameters
    ----------
    mean, variance : float
        Of eta; a variance of zero (or below, by rounding) is exact.
    """
    if variance <= 0.0 or mean == -math.inf:
        return softplus_at(mean)
    deviation = math.sqrt(variance)
    mirrored = -abs(mean)
    if deviation < _WIDE:
        value, first, second = _medium(mirrored, deviation)
    else:
        value, first, second = _wide(mirrored, deviation)
    if mean > 0.0:
        return mean + value, 1.0 - first, second
    return value, first, second
