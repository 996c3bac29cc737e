"""Log densities of a response at a linear predictor, with derivatives, by the number of a kind.

Terms that do not depend on the linear predictor are left out; families have them
(`Likelihood.density`). Two numbers of a row, `low` and `high`, are what a kind makes of the
family's natural parameters: the ends of a class, or the logarithm of a size and the size.
"""

from __future__ import annotations

import math

from skmixed._kernels.compile import kernel
from skmixed._kernels.expectations import softplus_at
from skmixed._kernels.normal_links import log_normal_cdf, log_normal_interval

LOGIT, PROBIT, ORDERED_LOGIT, ORDERED_PROBIT, POISSON, NEGATIVE_BINOMIAL, GAMMA = range(7)


@kernel
def density_terms(kind, y, eta, low, high):
    """The log density, its derivative by eta and the negated second one.

    Parameters
    ----------
    kind : int
    y : float
        0 or 1; a count; of `GAMMA` the logarithm of the amount. Not read of ordered classes.
    eta : float
    low, high : float
        Ends of the row's class, or log(size) and size.
    """
    if kind == LOGIT:
        if y > 0.5:
            value, first, second = softplus_at(-eta)
            return -value, first, second
        value, first, second = softplus_at(eta)
        return -value, -first, second
    if kind == PROBIT:
        sign = 1.0 if y > 0.5 else -1.0
        value, hazard, excess = log_normal_cdf(sign * eta)
        return value, sign * hazard, hazard * excess
    if kind == ORDERED_LOGIT:
        below, below_first, below_second = softplus_at(low - eta)
        above, above_first, above_second = softplus_at(eta - high)
        return -below - above, below_first - above_first, below_second + above_second
    if kind == ORDERED_PROBIT:
        value, by_low, by_high, precision = log_normal_interval(low - eta, high - eta)
        return value, -by_low - by_high, precision
    if kind == POISSON:
        rate = math.exp(eta)
        return y * eta - rate, y - rate, rate
    if kind == NEGATIVE_BINOMIAL:
        value, first, second = softplus_at(eta - low)
        both = y + high
        return y * eta - both * value, y - both * first, both * second
    ratio = math.exp(y - eta)
    return high * (y - eta + 1.0 - ratio), high * (ratio - 1.0), high * ratio


@kernel
def density_parts(kind, y, eta, low, high):
    """As `density_terms`, the log density as a number less the logarithm of another one.

    Logarithms of logistic functions are so put off: a product of rows has one logarithm.

    Returns
    -------
    linear, factor, first, second : float
        The log density is linear - log(factor), with 1 <= factor <= 4.
    """
    if kind == LOGIT:
        x = -eta if y > 0.5 else eta
        small = math.exp(-abs(x))
        reciprocal = 1.0 / (1.0 + small)
        below = small * reciprocal
        first = 1.0 - below if x > 0.0 else below
        return -max(x, 0.0), 1.0 + small, first if y > 0.5 else -first, below * reciprocal
    if kind == ORDERED_LOGIT:
        small = math.exp(-abs(low - eta))
        other = math.exp(-abs(eta - high))
        reciprocal, another = 1.0 / (1.0 + small), 1.0 / (1.0 + other)
        below, above = small * reciprocal, other * another
        second = below * reciprocal + above * another
        below = 1.0 - below if low > eta else below
        above = 1.0 - above if eta > high else above
        linear = -max(low - eta, 0.0) - max(eta - high, 0.0)
        return linear, (1.0 + small) * (1.0 + other), below - above, second
    value, first, second = density_terms(kind, y, eta, low, high)
    return value, 1.0, first, second


@kernel
def weighted_parts(kind, y, eta, low, high, weight):
    """`density_parts` of a row that counts `weight` times."""
    linear, factor, first, second = density_parts(kind, y, eta, low, high)
    if weight == 1.0:
        return linear, factor, first, second
    return weight * (linear - math.log(factor)), 1.0, weight * first, weight * second


@kernel
def natural_terms(kind, y, eta, low, high):
    """Derivatives of the log density by natural parameters.

    Returns
    -------
    tuple of float
        By low, by high, by (eta, low), (eta, high), (low, low), (low, high), (high, high). Of
        kinds with a size `low` is the parameter, and derivatives by `high` are 0.
    """
    if kind == ORDERED_LOGIT:
        _, by_low, low_low = softplus_at(low - eta)
        _, by_high, high_high = softplus_at(eta - high)
        return -by_low, by_high, low_low, high_high, -low_low, 0.0, -high_high
    if kind == ORDERED_PROBIT:
        a, b = low - eta, high - eta
        _, by_low, by_high, _ = log_normal_interval(a, b)
        low_low = -(a * by_low + by_low * by_low) if a > -math.inf else 0.0
        high_high = -(b * by_high + by_high * by_high) if b < math.inf else 0.0
        across = -by_low * by_high
        return by_low, by_high, -low_low - across, -high_high - across, low_low, across, high_high
    if kind == NEGATIVE_BINOMIAL:
        value, first, second = softplus_at(eta - low)
        both = y + high
        by_size = both * first - high * value
        bend = 2.0 * high * first - high * value - both * second
        return by_size, 0.0, both * second - high * first, 0.0, bend, 0.0, 0.0
    ratio = math.exp(y - eta)
    deviance = high * (y - eta + 1.0 - ratio)
    return deviance, 0.0, high * (ratio - 1.0), 0.0, deviance, 0.0, 0.0
