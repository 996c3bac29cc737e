"""How often 95 % intervals of the fixed effects contain the truth.

A crossed design is drawn once; every repetition draws new random effects and responses.
One covariate varies from row to row, the others are constant within the levels of a
factor: there a posterior that ignores correlations shows, as its standard errors leave
out what random effects could have explained.
"""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from scipy.stats import binom, norm, t

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor

ROWS, LEVELS, REPETITIONS = 400, (40, 30), 60
GROUP_SDS = (0.7, 0.5)
TRUTH = np.array([0.3, 0.5, -0.4, 0.3])
"""Intercept, and coefficients of `within`, `of_g0` and `of_g1`."""

FAMILIES = {
    "gaussian": (MixedEffectsVIRegressor, lambda eta, rng: rng.normal(eta, 1.0)),
    "bernoulli": (MixedEffectsVIClassifier, lambda eta, rng: rng.binomial(1, expit(eta))),
    "poisson": (MixedEffectsVIRegressor, lambda eta, rng: rng.poisson(np.exp(eta))),
}
POSTERIORS = ("full", "mean_field")


def make_design(rng):
    columns = {"within": rng.standard_normal(ROWS)}
    codes = [rng.permutation(np.arange(ROWS) % n) for n in LEVELS]
    for name, code, n in zip(("of_g0", "of_g1"), codes, LEVELS, strict=True):
        of_level = rng.standard_normal(n)
        columns[name] = ((of_level - of_level.mean()) / of_level.std())[code]
    return pd.DataFrame({**columns, "g0": codes[0], "g1": codes[1]})


def draw_predictor(X, rng):
    predictor = TRUTH[0] + X[["within", "of_g0", "of_g1"]].to_numpy() @ TRUTH[1:]
    for name, n, sd in zip(("g0", "g1"), LEVELS, GROUP_SDS, strict=True):
        predictor += rng.normal(0.0, sd, n)[X[name]]
    return predictor


def standardised_errors(family):
    """(estimate - truth) / standard error, by posterior (repetitions, coefficients)."""
    make, draw = FAMILIES[family]
    X = make_design(np.random.default_rng(0))
    found = {posterior: [] for posterior in POSTERIORS}
    for repetition in range(REPETITIONS):
        rng = np.random.default_rng([1, repetition])
        y = draw(draw_predictor(X, rng), rng)
        for posterior in POSTERIORS:
            # variances to a thousandth of their standard errors: intervals are the same
            model = make(["g0", "g1"], family=family, posterior=posterior, method="reml", tol=1e-3)
            with warnings.catch_warnings():
                # independent normals can collapse a variance, and say so
                warnings.filterwarnings("ignore", "The mean-field posterior", UserWarning)
                model.fit(X, y)
            estimates = np.append(model.intercept_, model.coef_)
            errors = np.sqrt(np.diagonal(model.coef_cov_))
            found[posterior].append((estimates - TRUTH) / errors)
    return {posterior: np.array(errors) for posterior, errors in found.items()}


@pytest.fixture(scope="module", params=FAMILIES)
def errors(request):
    return standardised_errors(request.param)


LIMIT = norm.ppf(0.975)


def test_full_covers(errors):
    """Pooled over coefficients, which are all but uncorrelated on this design.

    The number of intervals that cover is binomial. Its probability is 95 % for a known
    variance, and that of Student's t with the fewest levels for an estimated one; the
    count may leave the range of one time in a thousand on either side.
    """
    covered = np.abs(errors["full"]) < LIMIT
    estimated = 1.0 - 2.0 * t.sf(LIMIT, min(LEVELS) - 2)
    assert estimated > 0.935
    least = binom.ppf(1e-3, covered.size, estimated)
    most = binom.isf(1e-3, covered.size, 0.95)
    assert least <= covered.sum() <= most


def test_full_standard_errors_are_honest(errors):
    """Mean squares of standardised errors are 1 but for chance: a chi-squared over its df."""
    squares = (errors["full"] ** 2).mean()
    spread = np.sqrt(2.0 / errors["full"].size)
    assert abs(squares - 1.0) < 0.07 + 3.0 * spread


def test_full_is_centred(errors):
    """No coefficient is off by more than chance; 3.5 errors of a mean of 60."""
    bias = errors["full"].mean(axis=0)
    assert (np.abs(bias) < 3.5 / np.sqrt(REPETITIONS)).all()


def test_mean_field_does_not_cover_between_levels(errors):
    """Intervals of the intercept and of covariates of levels are too short."""
    full, independent = (np.abs(errors[name]) < LIMIT for name in POSTERIORS)
    # 95 % would be below this in one of ten thousand such tests
    assert independent.sum() < binom.ppf(1e-4, independent.size, 0.95)
    assert independent[:, 0].mean() <= full[:, 0].mean() - 0.1
    squares = {name: (errors[name] ** 2).mean(axis=0) for name in POSTERIORS}
    between = [0, 2, 3]
    assert (squares["mean_field"] > 1.5 * squares["full"])[between].all()


def test_mean_field_covers_within_levels(errors):
    """What varies from row to row hardly depends on the random effects."""
    covered = np.abs(errors["mean_field"][:, 1]) < LIMIT
    assert covered.sum() >= binom.ppf(1e-3, REPETITIONS, 0.93)
