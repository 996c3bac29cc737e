"""InstEval, sleepstudy and Dyestuff as lme4 fits them, random effects included."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from cases import DATA, estimates, our_name

from skmixed import mixed
from skmixed.datasets import load_insteval

FITS = {
    fit["id"]: fit
    for fit in json.loads((DATA / "lme4.json").read_text())
    if fit["family"] == "gaussian"
}
ONE_LEVEL_NAMES = {"Subject.1": "Subject"}


def fit_as_lme4(fit):
    data = load_insteval().frame if fit["data"] == "insteval" else pd.read_csv(DATA / fit["data"])
    return mixed(fit["formula"], data, method=fit["method"].lower())


@pytest.fixture(scope="module")
def fitted():
    """Fits by id, each made once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = fit_as_lme4(FITS[name])
        return made[name]

    return get


@pytest.mark.filterwarnings("error", "ignore::skmixed.exceptions.SingularFitWarning")
@pytest.mark.parametrize("name", FITS)
def test_same_fit(name, fitted):
    target = FITS[name]
    model = fitted(name)
    assert model.converged_
    assert model.n_observations_ == target["n_obs"]
    # lme4 stops up to some 1e-8 short of the optimum, never above it
    assert model.elbo_ == pytest.approx(target["logLik"], rel=0, abs=1e-6)
    found = estimates(model)
    case = {"factor_levels": {}}
    for coefficient, value in target["fixef"].items():
        row = found.loc[our_name(coefficient, case)]
        assert row["estimate"] == pytest.approx(value, rel=1e-9, abs=1e-6)
        error = target["fixef_se"][coefficient]
        assert row["std_error"] == pytest.approx(error, rel=1e-4)
    for component in target["varcomp"]:
        if component["grp"] == "Residual":
            assert model.noise_variance_ == pytest.approx(component["vcov"], rel=1e-4)
            continue
        group = ONE_LEVEL_NAMES.get(component["grp"], component["grp"])
        first = our_name(component["var1"], case)
        second = our_name(component["var2"] or component["var1"], case)
        value = model.random_effects_cov_[group].loc[first, second]
        assert value == pytest.approx(component["vcov"], rel=1e-3 if component["var2"] else 1e-4)


@pytest.mark.parametrize("method", ["ml", "reml"])
@pytest.mark.parametrize("group", ["s", "d", "dept"])
def test_insteval_effects(method, group, fitted):
    """All 4,114 effects and their standard deviations."""
    model = fitted(f"insteval_{method}")
    target = pd.read_csv(DATA / f"ranef_insteval_{method}_{group}.csv.gz").set_index("level")
    effects = model.random_effects_[group]
    assert len(effects) == len(target)
    order = pd.Index(target.index.astype(effects.index.dtype))
    mean = effects.loc[order, "Intercept"]
    np.testing.assert_allclose(mean, target["(Intercept)"], rtol=0, atol=1e-5)
    std = model.random_effects_std_[group].loc[order, "Intercept"]
    if method == "ml":
        # the conditional standard deviations of lme4 know the fixed effects, as ours with ML
        np.testing.assert_allclose(std, target["sd:(Intercept)"], rtol=0, atol=1e-4)
    else:
        assert (std.to_numpy() > target["sd:(Intercept)"].to_numpy() - 1e-4).all()


@pytest.mark.parametrize("method", ["ml", "reml"])
def test_insteval_gradient(method, fitted):
    model = fitted(f"insteval_{method}")
    assert model.gradient_path_[-1] <= 1e-6
    assert (np.diff(model.elbo_path_) >= -1e-7).all()
    assert len(model.gradient_path_) == len(model.elbo_path_) == model.n_iter_ + 1


@pytest.mark.parametrize("method", ["ml", "reml"])
def test_sleepstudy_effects(method, fitted):
    model = fitted(f"sleepstudy_{method}")
    target = pd.read_csv(DATA / f"ranef_sleepstudy_{method}_Subject.csv.gz").set_index("level")
    effects = model.random_effects_["Subject"].loc[target.index]
    deviations = model.random_effects_std_["Subject"].loc[target.index]
    for ours, theirs in (("Intercept", "(Intercept)"), ("Days", "Days")):
        np.testing.assert_allclose(effects[ours], target[theirs], rtol=0, atol=2e-3)
        if method == "ml":
            np.testing.assert_allclose(deviations[ours], target[f"sd:{theirs}"], rtol=1e-4)
