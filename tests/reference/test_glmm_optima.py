"""Every family, posterior and method against the dense bound, maximised without the engine."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cases import DATA
from covering import covering
from dense_elbo import FAMILIES, DenseModel, Term, thresholds
from glmm_cases import coefficients, load_json, standard_errors

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor

FRAME = pd.read_csv(DATA / "glmm_simulated.csv.gz")
GLMER = load_json("glmer.json")

BARS = {"crossed": "(1 | a)", "correlated": "(1 + x | a)", "uncorrelated": "(1 + x || a)"}
OFFSETS = {"poisson": "o", "ordinal-probit": "o"}
WEIGHTS = {"bernoulli-probit": "w", "gamma": "w", "ordinal-logit": "w"}


def solve_densely(family, structure, posterior, method):
    """The optimum of the dense bound."""
    ones = np.ones((len(FRAME), 1))
    both = np.column_stack([ones, FRAME["x"]])
    terms = [
        Term(
            FRAME["a"].to_numpy(),
            ones if structure == "crossed" else both,
            correlated=structure != "uncorrelated",
        ),
        Term(FRAME["b"].to_numpy(), ones),
    ]
    weights = FRAME[WEIGHTS[family]].to_numpy(float) if family in WEIGHTS else ones[:, 0]
    offset = FRAME[OFFSETS[family]].to_numpy() if family in OFFSETS else 0.0 * ones[:, 0]
    response = FRAME[family.replace("-", "_")].to_numpy(float)
    return DenseModel(
        family, response, weights, offset, both, terms,
        mean_field=posterior == "mean_field", integrate_fixed=method == "reml",
    ).maximise()  # fmt: skip


def fit(family, structure, posterior="full", method="ml", **parameters):
    """The same model by the package."""
    name, _, link = family.partition("-")
    estimator = MixedEffectsVIClassifier if link else MixedEffectsVIRegressor
    if link:
        parameters["link"] = link
    model = estimator(
        formula=f"x + {BARS[structure]} + (1 | b)", family=name, posterior=posterior,
        method=method, offset=OFFSETS.get(family), **parameters,
    )  # fmt: skip
    weights = FRAME[WEIGHTS[family]] if family in WEIGHTS else None
    return model.fit(FRAME[["a", "b", "x", "o"]], FRAME[family.replace("-", "_")], weights)


def check_family_parameters(family, model, optimum):
    """Thresholds and dispersion; the engine's intercept is part of the thresholds."""
    if family.startswith("ordinal"):
        assert model.intercept_ == 0.0
        expected = thresholds(optimum.own)[1:-1] - optimum.coefficients[0]
        np.testing.assert_allclose(model.thresholds_, expected, rtol=0, atol=1e-4)
    elif len(optimum.own):
        # the own parameter is log(size) or log(shape)
        assert model.dispersion_ == pytest.approx(np.exp(-optimum.own[0]), rel=1e-4)


def check_uncertainty(family, model, optimum):
    """Variances of the fixed effects; an ordinal intercept is part of the thresholds."""
    expected = np.diagonal(optimum.coefficient_uncertainty())
    if family.startswith("ordinal"):
        expected = expected[1:]
    found = np.diagonal(model.coef_cov_)[-len(expected) :]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@covering(family=FAMILIES, structure=BARS, posterior=["full", "mean_field"], method=["ml", "reml"])
def test_same_optimum(family, structure, posterior, method):
    optimum = solve_densely(family, structure, posterior, method)
    assert optimum.max_gradient < 1e-3
    model = fit(family, structure, posterior, method)
    assert model.converged_
    assert model.elbo_ == pytest.approx(optimum.elbo, rel=0, abs=1e-6)
    check_family_parameters(family, model, optimum)
    slope_error = standard_errors(model)["x"]
    assert abs(model.coef_[0] - optimum.coefficients[1]) < 1e-3 * slope_error
    if not family.startswith("ordinal"):
        assert model.intercept_ == pytest.approx(optimum.coefficients[0], rel=0, abs=1e-4)
    if structure == "crossed" or (structure, posterior, method) == ("correlated", "full", "reml"):
        check_uncertainty(family, model, optimum)
    for position, group in enumerate(("a", "b")):
        covariance = optimum.covariances[position]
        scale = np.sqrt(np.outer(np.diagonal(covariance), np.diagonal(covariance)))
        found = model.random_effects_cov_[group].to_numpy()
        np.testing.assert_allclose(found / scale, covariance / scale, rtol=0, atol=1e-3)
        for frames, expected in (
            (model.random_effects_, optimum.means[position]),
            (model.random_effects_std_, optimum.standard_deviations[position]),
        ):
            effects = frames[group].sort_index().to_numpy()
            np.testing.assert_allclose(effects, expected, rtol=0, atol=3e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("structure", ["crossed", "correlated"])
def test_full_posterior_is_the_better_bound(family, structure):
    full = fit(family, structure)
    assert full.elbo_ > fit(family, structure, posterior="mean_field").elbo_ + 1e-3


GLMER_NAMES = {"bernoulli-logit", "bernoulli-probit", "poisson", "negative_binomial"}


@pytest.mark.parametrize("structure", BARS)
@pytest.mark.parametrize("family", sorted(GLMER_NAMES))
def test_near_glmer(family, structure):
    """lme4 with the Laplace approximation; offsets, weights and links mean the same there."""
    target = GLMER[f"{family.replace('-', '_')}_{structure}"]
    model = fit(family, structure)
    assert model.elbo_ == pytest.approx(target["loglik"], rel=0, abs=2.0)
    ours, errors = coefficients(model), standard_errors(model)
    for theirs, name in (("(Intercept)", "Intercept"), ("x", "x")):
        assert abs(ours[name] - target["fixef"][theirs]) < 0.2 * target["se"][theirs]
        assert errors[name] == pytest.approx(target["se"][theirs], rel=0.15)
    if "dispersion" in target:
        assert model.dispersion_ == pytest.approx(target["dispersion"], rel=0.1)
    components = model.variance_components_
    own = components[components["term_2"].isna()]
    theirs = [row["sdcor"] for row in target["varcomp"] if row["var2"] is None]
    np.testing.assert_allclose(own["sd"], theirs, rtol=0.1)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_ordinal_regression_without_random_effects(link):
    """R's MASS::polr: thresholds, coefficients, standard errors and log likelihood."""
    target = GLMER[f"polr_{link}"]
    model = MixedEffectsVIClassifier(None, family="ordinal", link=link, method="ml")
    model.fit(FRAME[["x", "o"]], FRAME[f"ordinal_{link}"], FRAME["w"])
    assert model.elbo_ == pytest.approx(target["loglik"], rel=0, abs=1e-6)
    np.testing.assert_allclose(model.coef_, list(target["fixef"].values()), rtol=0, atol=1e-4)
    np.testing.assert_allclose(model.thresholds_, target["thresholds"], rtol=0, atol=1e-4)
    # they know that the thresholds are estimates too
    np.testing.assert_allclose(
        standard_errors(model)[["x", "o"]], list(target["se"].values()), rtol=1e-3
    )
