"""Every published Gaussian model, fitted with the library's defaults."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cases import (
    estimates,
    fit_case,
    group_of,
    load_cases,
    target_coefficients,
    target_covariances,
)

from skmixed.exceptions import SingularFitWarning

CASES = load_cases()

DEPENDENT_COLUMN = {"rank_dup": "'y'", "sleep_rankdef": "'days2'", "sleep_zerocol": "'zero'"}
UNIDENTIFIED = {"one_obs_per_level_REML": "'obs'", "lagoon_confounded_REML": "'habitat'"}
DETERMINED = [name for name in CASES if name not in UNIDENTIFIED]
WITH_VARIATIONAL_OPTIMA = [name for name, case in CASES.items() if "gaussian_vi" in case]


def fit_quietly(name):
    """Fit a case; a warning is an error, unless the case is known to deserve it."""
    column = DEPENDENT_COLUMN.get(name.rsplit("_", 1)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", SingularFitWarning)
        if column is None:
            return fit_case(CASES[name])
        with pytest.warns(UserWarning, match=f"left out: {column}"):
            return fit_case(CASES[name])


def check_deviance(model, case):
    target = case["target"]["m2ll"]
    tolerance = max(1e-5, 1e-9 * abs(target), case["tolerance_target"]["m2ll_abs"])
    assert -2.0 * model.elbo_ == pytest.approx(target, rel=0, abs=tolerance)


def target_noise_sd(case):
    target = case["target"]
    return target["sigma"] if target.get("sigma") else np.sqrt(target["sigma2"])


def sd_tolerance(sd, noise_sd):
    return 1e-3 * (sd if sd >= 0.01 * noise_sd else noise_sd)


@pytest.mark.parametrize("name", DETERMINED)
def test_published_optimum(name):
    case = CASES[name]
    model = fit_quietly(name)
    assert model.converged_
    check_deviance(model, case)

    target = target_coefficients(case)
    found = estimates(model).loc[target.index]
    distance = np.abs(found["estimate"] - target["estimate"]) / target["std_error"]
    assert distance.max() < 1e-5
    np.testing.assert_allclose(found["std_error"], target["std_error"], rtol=1e-4)

    noise_sd = target_noise_sd(case)
    assert np.sqrt(model.noise_variance_) == pytest.approx(noise_sd, rel=1e-5)
    for group, names, covariance in target_covariances(case):
        mine = model.random_effects_cov_[group_of(model, group)].loc[names, names].to_numpy()
        sds = np.sqrt(np.diagonal(mine))
        for sd, expected in zip(sds, np.sqrt(np.diagonal(covariance)), strict=True):
            assert sd == pytest.approx(expected, rel=0, abs=sd_tolerance(expected, noise_sd))
        # a correlation is known where both of its standard deviations are
        scale = np.outer(sds, sds) + noise_sd**2 * 1e-2
        np.testing.assert_allclose(mine / scale, covariance / scale, rtol=0, atol=5e-3)


@pytest.mark.parametrize("name", UNIDENTIFIED)
def test_unidentified_variance_is_told(name):
    """Only sums of variances are known: the fit says so, and the sums are right."""
    case = CASES[name]
    with pytest.warns(UserWarning, match=f"do not determine the variance of {UNIDENTIFIED[name]}"):
        model = fit_case(case)
    check_deviance(model, case)
    target = target_coefficients(case)
    found = estimates(model).loc[target.index]
    np.testing.assert_allclose(found["estimate"], target["estimate"], rtol=1e-8)
    assert np.isfinite(found["std_error"]).all()


def test_unidentified_level_a_row_equals_least_squares():
    case = CASES["one_obs_per_level_REML"]
    with pytest.warns(UserWarning, match="'obs'"):
        model = fit_case(case)
    [(_, _, covariance)] = target_covariances(case)
    total = target_noise_sd(case) ** 2 + covariance[0, 0]
    mine = model.random_effects_cov_["obs"].iloc[0, 0] + model.noise_variance_
    assert mine == pytest.approx(total, rel=1e-6)
    np.testing.assert_allclose(
        estimates(model)["std_error"], target_coefficients(case)["std_error"], rtol=1e-6
    )


def test_unidentified_fixed_and_random_keeps_the_noise():
    case = CASES["lagoon_confounded_REML"]
    with pytest.warns(UserWarning, match="'habitat'"):
        model = fit_case(case)
    assert np.sqrt(model.noise_variance_) == pytest.approx(target_noise_sd(case), rel=1e-6)


@pytest.mark.parametrize("posterior", ["full_covariance", "mean_field"])
@pytest.mark.parametrize("name", WITH_VARIATIONAL_OPTIMA)
@pytest.mark.filterwarnings("ignore:The mean-field posterior estimates:UserWarning")
def test_variational_optimum(name, posterior):
    """Both families reach the optima that a general-purpose optimiser found."""
    case = CASES[name]
    target = case["gaussian_vi"][posterior]
    model = fit_case(case, posterior=posterior.removesuffix("_covariance"))
    assert model.elbo_ == pytest.approx(target["elbo"], rel=1e-9, abs=1e-5)
    assert np.sqrt(model.noise_variance_) == pytest.approx(target["sigma"], rel=1e-4)
    for group, expected in target["sd"].items():
        sd = np.sqrt(model.random_effects_cov_[group_of(model, group)].iloc[0, 0])
        tolerance = sd_tolerance(expected, target["sigma"])
        assert sd == pytest.approx(expected, rel=0, abs=tolerance)


def test_meanfield_collapse():
    with pytest.warns(UserWarning, match="'Part', 'Operator'.*posterior='full'"):
        model = fit_case(CASES["lsdat_ML"], posterior="mean_field")
    assert model.random_effects_cov_["Part"].iloc[0, 0] == 0.0
    assert model.random_effects_cov_["Operator"].iloc[0, 0] == 0.0
