"""No wrong number without a word: published models under hard settings, and what that found.

The whole audit is ``fuzz/silent_errors.py``; here a few models run under all of its settings.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import make_mixed_regression
from skmixed.exceptions import SingularFitWarning

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "fuzz"))
audit = importlib.import_module("silent_errors")
hard = importlib.import_module("hard_settings")
borders = importlib.import_module("borders")

SAMPLE = (
    "sleepstudy_slope_REML",
    "dyestuff2_REML",
    "weights194_ML",
    "priorweights_slope2_ML",
    "offset_lmer_REML",
    "lsdat_ML",
    "nist_SmLs07_REML",
    "sleep_rankdef_REML",
    "dietox_slope_ML",
    "one_obs_per_level_REML",
    "gopher_year_raw",
    "contra_slope",
    "separation",
)
ALSO = ("sleep_scaled_x1e6_ML",)
PROBLEMS = {problem.name: problem for problem in audit.load_problems({*SAMPLE, *ALSO}.__contains__)}


# The audit -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAMPLE)
def test_nothing_is_wrong_and_silent(name):
    problem = PROBLEMS[name]
    usual = audit.usual_messages(problem)
    verdicts = {}
    for setting, how in hard.SETTINGS.items():
        outcome = audit.try_setting(problem, how, usual)
        if outcome is not None:
            verdicts[setting] = outcome
    silent = {k: v.faults for k, v in verdicts.items() if v.verdict == audit.VERDICTS[-1]}
    assert not silent
    assert len(verdicts) >= 18


@pytest.mark.parametrize(("n_iter", "verdict"), [(1, "wrong, warned"), (2, "right, warned")])
def test_too_few_iterations_are_warned(n_iter, verdict):
    problem = PROBLEMS["sleepstudy_slope_REML"]
    outcome = audit.try_setting(problem, hard.SETTINGS[f"max_iter={n_iter}"], frozenset())
    assert outcome.verdict == verdict
    assert "did not converge" in outcome.messages[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda e: replace(e, deviance=e.deviance - 1e-3),
        lambda e: replace(e, deviance=e.deviance + 1e-3),
        lambda e: replace(e, coefficients=e.coefficients + 1e-4 * e.errors),
        lambda e: replace(e, errors=e.errors * 1.001),
        lambda e: replace(e, noise_sd=e.noise_sd * 1.0001),
        lambda e: replace(
            e, covariances=tuple(replace(b, covariance=1.01 * b.covariance) for b in e.covariances)
        ),
    ],
)
def test_the_audit_sees_what_is_off(change):
    """A target that is moved by little is a fit that is wrong and silent."""
    problem = PROBLEMS["sleepstudy_slope_REML"]
    defaults = hard.SETTINGS["defaults"]
    assert audit.try_setting(problem, defaults, frozenset()).verdict == "right"
    moved = replace(problem, expected=change(problem.expected))
    assert audit.try_setting(moved, defaults, frozenset()).verdict == "WRONG AND SILENT"


def test_a_warning_of_the_model_is_no_warning_of_the_setting():
    problem = PROBLEMS["sleep_rankdef_REML"]
    usual = audit.usual_messages(problem)
    assert len(usual) == 1
    moved = replace(problem, expected=replace(problem.expected, deviance=0.0))
    outcome = audit.try_setting(moved, hard.SETTINGS["defaults"], usual)
    assert outcome.verdict == "WRONG AND SILENT"


# What it found ---------------------------------------------------------------------------


def test_a_saddle_behind_a_false_one_is_left():
    """From a covariance of rank one the Hessian shows a direction down that does not lead down.

    The one that does, along the variance that is zero, was hidden behind it: the fit stopped
    140 above the published deviance and called that converged.
    """
    problem = PROBLEMS["dietox_slope_ML"]
    model = hard.fit_after_nothing(problem, {})
    assert model.converged_
    assert audit.faults(model, problem.expected) == []


def test_warm_start_from_far_away():
    """Variances in the units of another column are bounded before they hide the noise."""
    problem = PROBLEMS["sleep_scaled_x1e6_ML"]
    model = hard.fit_from_anywhere(problem, {}, seed=0)
    assert model.converged_
    assert audit.faults(model, problem.expected) == []


def test_zero_variance_is_not_called_undetermined():
    """With a loose tol it is small before it is zero, and the data know it well."""
    problem = PROBLEMS["dyestuff2_REML"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", SingularFitWarning)
        model = problem.fit(tol=0.1)
    assert model.random_effects_cov_["Batch"].iloc[0, 0] == 0.0


def two_factors():
    return make_mixed_regression(n_samples=3000, groups=(400, 300), random_state=0)[:2]


@pytest.mark.parametrize("n_probes", [2, 3])
def test_few_random_vectors_are_told(n_probes):
    X, y = two_factors()
    model = MixedEffectsVIRegressor(["g0", "g1"], solver="iterative", n_probes=n_probes)
    with pytest.warns(UserWarning, match=f"n_probes={n_probes} .*elbo_std_ .*n_probes=4 or more"):
        model.fit(X, y)


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_probes": 4},
        {},
        {"n_probes": 2, "posterior": "mean_field"},
        {"n_probes": 2, "solver": "direct"},
    ],
)
def test_enough_random_vectors_or_none_are_not(parameters):
    X, y = two_factors()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = MixedEffectsVIRegressor(["g0", "g1"], **({"solver": "iterative"} | parameters))
        model.fit(X, y)
    assert model.converged_


@pytest.mark.parametrize("solver", ["direct", "iterative"])
def test_standard_errors_of_point_estimates_know_the_random_effects(solver):
    """With "ml" they are those of generalised least squares, also for the mean field."""
    X, y, _ = make_mixed_regression(n_samples=300, groups=(20, 15), random_state=1)
    model = MixedEffectsVIRegressor(
        ["g0", "g1"], method="ml", posterior="mean_field", solver=solver
    ).fit(X, y)
    fixed = X.drop(columns=["g0", "g1"]).to_numpy(float)
    columns = np.column_stack([np.ones(len(y)), fixed])
    covariance = model.noise_variance_ * np.eye(len(y))
    for group in ("g0", "g1"):
        same = X[group].to_numpy()[:, None] == X[group].to_numpy()
        covariance += model.random_effects_cov_[group].iloc[0, 0] * same
    expected = np.linalg.inv(columns.T @ np.linalg.solve(covariance, columns))
    np.testing.assert_allclose(model.coef_cov_, expected, rtol=1e-5, atol=1e-10)


# Borders -----------------------------------------------------------------------------------

STEPS = {"ids_in_predict": 11, "ids_in_chunks": 7, "containers": 3}
"""Of borders with many combinations every so many are tried; ``fuzz/borders.py`` tries all."""


@pytest.mark.parametrize("name", borders.BORDERS)
def test_no_border_is_crossed_in_silence(name):
    cases = list(borders.BORDERS[name]())[:: STEPS.get(name, 1)]
    verdicts = {case: borders.verdict(attempt, expected) for case, attempt, expected in cases}
    assert [case for case, found in verdicts.items() if found == borders.VERDICTS[-1]] == []
    assert "right" in verdicts.values()


def test_the_audit_of_borders_sees_what_is_off():
    _, attempt, expected = next(iter(borders.weights()))
    assert borders.verdict(attempt, expected) == "right"
    assert borders.verdict(attempt, expected + 1e-6) == "WRONG AND SILENT"
