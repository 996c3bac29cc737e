"""Series of the gamma function against scipy's functions, and where they meet."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import digamma, gammaln, polygamma

from skmixed.families.stirling import digamma_excess, log_gamma_excess, trigamma_excess


@pytest.mark.parametrize("x", [1e-6, 0.3, 2.0, 14.999, 15.0, 40.0, 300.0])
def test_excess_completes_the_leading_terms(x):
    leading = (x - 0.5) * np.log(x) - x + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(leading + log_gamma_excess(x), gammaln(x), rtol=1e-14, atol=1e-13)
    np.testing.assert_allclose(np.log(x) + digamma_excess(x), digamma(x), rtol=1e-14)
    np.testing.assert_allclose(1 / x + trigamma_excess(x), polygamma(1, x), rtol=1e-14)


@pytest.mark.parametrize("x", [1e8, 1e12])
def test_excess_of_large_arguments(x):
    np.testing.assert_allclose(log_gamma_excess(x), 1 / (12 * x), rtol=1e-15)
    np.testing.assert_allclose(digamma_excess(x), -0.5 / x, rtol=1e-8)
    np.testing.assert_allclose(trigamma_excess(x), 0.5 / x**2, rtol=1e-8)
