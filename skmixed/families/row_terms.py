"""Helpers of the families: passes over rows in parts, moments, refusals of responses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import gammaln

from skmixed._kernels.softplus_rows import expected_softplus_higher_rows, expected_softplus_rows
from skmixed.threads import run_parts

_PART = 8192
"""Rows of a part: its temporary arrays stay in the processor's cache."""

_MEAN_STEP = 1e-5
"""Change of a row's mean that tells a slope by it."""

_VARIANCE_STEP = 1e-4
"""Relative change of a row's variance that tells a slope by it."""

_LARGEST_RATE = 1e18
_LARGEST_PREDICTOR = 650.0


def by_parts(
    function: Callable[..., tuple[np.ndarray, ...]],
    arrays: tuple[np.ndarray, ...],
    n_results: int,
    n_threads: int = 1,
) -> tuple[np.ndarray, ...]:
    """Call a function of rows on parts of the rows, in threads.

    Parameters
    ----------
    function : callable
        Takes parts of `arrays` and returns `n_results` arrays of the same length.
        Its rows must not depend on one another.
    arrays : tuple of ndarray (n,)
    n_results : int
    n_threads : int

    Returns
    -------
    tuple of ndarray (n,)
        They do not depend on the number of threads.
    """
    n = len(arrays[0])
    if n <= _PART:
        return tuple(map(np.ascontiguousarray, function(*arrays)))
    results = tuple(np.empty(n) for _ in range(n_results))

    def part(begin: int, end: int) -> None:
        values = function(*(array[begin:end] for array in arrays))
        for result, value in zip(results, values, strict=True):
            result[begin:end] = value

    run_parts(part, [*range(0, n, _PART), n], n_threads)
    return results


def bounded_exp(predictor: np.ndarray) -> np.ndarray:
    """exp(predictor), held where products with moderate numbers stay finite."""
    return np.exp(np.minimum(predictor, _LARGEST_PREDICTOR))


def log_normal_moments(
    mean: np.ndarray, variance: np.ndarray, dispersion: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of exp(eta) for a normal eta, and the standard deviation that it gives a response.

    Its square is mean^2 (exp(v) - 1 + dispersion exp(v)), computed by the logarithm: where
    coefficients grow without bound one factor is 0 and another infinite, or the square is.

    Parameters
    ----------
    mean, variance : ndarray (n,)
        Of eta.
    dispersion : float, default=0
        What the squared rate is multiplied by in the variance of a response at that rate.
    """
    log_mean = mean + 0.5 * variance
    with np.errstate(over="ignore", divide="ignore"):
        log_share = np.log(dispersion - np.expm1(-variance))
        return np.exp(log_mean), np.exp(log_mean + 0.5 * (variance + log_share))


def softplus_expectations(
    mean: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """E[log(1 + exp(eta))] and its first and second derivative by the mean, (n,) each."""
    value, first, second = np.empty_like(mean), np.empty_like(mean), np.empty_like(mean)
    expected_softplus_rows(mean, variance, value, first, second)
    return value, first, second


def softplus_higher(mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Third and fourth derivative of E[log(1 + exp(eta))] by the mean, (n,) each."""
    third, fourth = np.empty_like(mean), np.empty_like(mean)
    expected_softplus_higher_rows(mean, variance, third, fourth)
    return third, fourth


def higher_by_differences(
    precision_at: Callable[[np.ndarray, np.ndarray], np.ndarray],
    mean: np.ndarray,
    variance: np.ndarray,
    precision: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Third and fourth derivative of expected log densities by the mean, (n,) each.

    A variance moves an expectation by half of that of its second derivative.

    Parameters
    ----------
    precision_at : callable
        Minus the second derivatives at mean and variance, (n,).
    mean, variance : ndarray (n,)
    precision : ndarray (n,)
        There.
    """
    step = _VARIANCE_STEP * variance
    by_mean = precision - precision_at(mean + _MEAN_STEP, variance)
    by_variance = precision - precision_at(mean, variance + step)
    return by_mean / _MEAN_STEP, 2.0 * by_variance / np.where(step > 0.0, step, np.inf)


def by_count(function: Callable[[np.ndarray], np.ndarray], y: np.ndarray) -> np.ndarray:
    """A function of counts, called once for each value where the values are few."""
    largest = y.max(initial=0.0)
    if largest < 0.5 * len(y):
        return function(np.arange(largest + 1.0))[y.astype(np.intp)]
    return function(y)


def log_factorial(y: np.ndarray) -> np.ndarray:
    """log y! of counts."""
    return gammaln(y + 1.0)


def draw_counts(rate: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Poisson counts as floats; a rate too large for integers stands for its count."""
    drawn = rng.poisson(np.minimum(rate, _LARGEST_RATE)).astype(float)
    return np.where(rate > _LARGEST_RATE, rate, drawn)


def weighted_moments(y: np.ndarray, weights: np.ndarray | float) -> tuple[float, float]:
    """Mean and variance of all responses."""
    weights = np.broadcast_to(weights, y.shape)
    mean = float(np.average(y, weights=weights))
    return mean, float(np.average((y - mean) ** 2, weights=weights))


def start_size(squared_mean: float, spread: float) -> np.ndarray:
    """log(squared_mean / spread), (1,), within the sizes and shapes that data tell apart."""
    least, most = 0.05, 1e3
    size = squared_mean / spread if spread > 0.0 else most
    return np.log(np.clip([size], least, most))


def refuse_rows(y: np.ndarray, allowed: np.ndarray, needs: str, advice: str) -> None:
    """Raise ValueError that names the first response that is not allowed.

    Parameters
    ----------
    y : ndarray (n,)
    allowed : ndarray (n,) of bool
    needs : str
        What the family needs, such as "family='poisson' needs counts".
    advice : str
        What to do.

    Raises
    ------
    ValueError
        If a row is not allowed.
    """
    if not allowed.all():
        row = int(np.argmin(allowed))
        raise ValueError(f"{needs}: y is {y[row]!s} in row {row} (counted from 0); {advice}")


def refuse_no_counts(y: np.ndarray, family: str) -> None:
    """Raise ValueError unless all responses are counts, and some of them positive."""
    refuse_rows(
        y,
        is_whole(y) & (y >= 0),
        f"family={family!r} needs counts",
        "give whole numbers from 0 on, or choose family='gamma' for positive amounts "
        "or family='gaussian' for any number",
    )
    if not y.any():
        raise ValueError(
            "y is 0 in every row, so the expected count is 0 and its logarithm infinite: "
            "there is nothing to learn. Check how y was made, or add rows with positive counts."
        )


def is_whole(y: np.ndarray) -> np.ndarray:
    """Whether numbers are finite and whole."""
    return np.isfinite(y) & (y == np.rint(y))
