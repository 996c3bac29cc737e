"""Successes out of trials: one row a set."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import binom, norm
from sklearn.base import clone

from skmixed import compare_models, mixed, parametric_bootstrap
from skmixed.datasets import load_cbpp
from skmixed.inspection import ResidualsDisplay

HERDS = load_cbpp().frame
COUNTS = np.column_stack([HERDS["incidence"], HERDS["size"] - HERDS["incidence"]])
CBIND = "cbind(incidence, size - incidence) ~ period + (1 | herd)"


def rows_of_classes() -> pd.DataFrame:
    return pd.concat(
        [
            HERDS.assign(ill=1, animals=HERDS["incidence"]),
            HERDS.assign(ill=0, animals=HERDS["size"] - HERDS["incidence"]),
        ],
        ignore_index=True,
    )


@pytest.fixture(scope="module")
def model():
    return mixed(CBIND, HERDS, family="binomial", method="ml")


@pytest.fixture(scope="module")
def by_class():
    rows = rows_of_classes()
    return mixed(
        "ill ~ period + (1 | herd)",
        rows,
        family="binomial",
        method="ml",
        sample_weight=rows["animals"],
    )


def log_likelihood(model) -> float:
    """Of the binomial data, by quadrature over the effect of each herd."""
    sd = np.sqrt(model.random_effects_cov_["herd"].iloc[0, 0])
    fixed = model.intercept_ + np.append(0.0, model.coef_)
    total = 0.0
    for _, herd in HERDS.groupby("herd", observed=True):
        eta = fixed[herd["period"].astype(int) - 1]

        def density(u, herd=herd, eta=eta):
            masses = binom.pmf(herd["incidence"], herd["size"], expit(eta + u))
            return masses.prod() * norm.pdf(u, scale=sd)

        total += np.log(quad(density, -8 * sd, 8 * sd, epsabs=0, epsrel=1e-10)[0])
    return total


def test_the_fit_is_that_of_two_rows_a_set(model, by_class) -> None:
    np.testing.assert_allclose(model.coef_, by_class.coef_, rtol=1e-6)
    constant = binom.logpmf(HERDS["incidence"], HERDS["size"], 0.5).sum() + HERDS[
        "size"
    ].sum() * np.log(2.0)
    assert model.elbo_ - by_class.elbo_ == pytest.approx(constant, abs=1e-8)
    assert model.elbo_path_[-1] == pytest.approx(model.elbo_, abs=1e-6)


def test_the_log_likelihood_is_that_of_binomial_data(model) -> None:
    exact = log_likelihood(model)
    assert 0.0 < exact - model.elbo_ < 0.05
    # lme4, help page of cbpp: AIC 194.1, BIC 204.2 (56 rows), logLik -92.0
    facts = model.summary().facts
    assert float(facts["AIC"].split()[0]) == pytest.approx(194.0531, abs=0.05)
    assert float(facts["BIC"].split()[0]) == pytest.approx(204.1799, abs=0.05)
    assert facts["Rows"] == "56, 842 trials"
    assert facts["Modelled"] == "P(success)"
    diagnosis = model.diagnose(HERDS, COUNTS)
    assert diagnosis.log_likelihood == pytest.approx(exact, abs=1e-3)
    assert diagnosis.elbo == pytest.approx(model.elbo_, abs=1e-4)


@pytest.mark.parametrize(
    ("formula", "weights"),
    [
        ("incidence/size ~ period + (1 | herd)", None),
        ("I(incidence/size) ~ period + (1 | herd)", None),
        ("incidence/size ~ period + (1 | herd)", "size"),
        ("share ~ period + (1 | herd)", "size"),
        ("share ~ period + (1 | herd)", HERDS["size"]),
        ("I(percent/100) ~ period + (1 | herd)", HERDS["size"].to_numpy()),
    ],
)
def test_other_ways_to_write_it(model, formula, weights) -> None:
    share = HERDS["incidence"] / HERDS["size"]
    other = mixed(
        formula,
        HERDS.assign(share=share, percent=100 * share),
        family="binomial",
        method="ml",
        weights=weights,
    )
    assert other.elbo_ == pytest.approx(model.elbo_, abs=1e-8)
    np.testing.assert_allclose(other.coef_, model.coef_, rtol=1e-6)


def test_predictions_are_of_a_success(model) -> None:
    probabilities = model.predict_proba(HERDS)
    assert probabilities.shape == (56, 2)
    np.testing.assert_array_equal(model.predict(HERDS), probabilities[:, 1])
    assert model.classes_.tolist() == [0, 1]
    link = model.predict(HERDS, type="link")
    assert np.corrcoef(link, model.predict(HERDS))[0, 1] > 0.95
    with pytest.raises(ValueError, match="have no accuracy"):
        model.score(HERDS, COUNTS)


def test_residuals_are_those_of_the_sets(model, by_class) -> None:
    shown = ResidualsDisplay.from_estimator(model, HERDS, COUNTS)
    rows = rows_of_classes()
    other = ResidualsDisplay.from_estimator(
        by_class, rows, rows["ill"], sample_weight=rows["animals"]
    )
    assert len(shown.residuals) == len(other.residuals) == 56
    np.testing.assert_allclose(np.sort(shown.fitted), np.sort(other.fitted), rtol=1e-5)
    assert 0.7 < shown.residuals.std() < 1.4


def test_tests_of_the_fixed_effects_take_counts(model) -> None:
    with pytest.raises(ValueError, match="y must have two columns"):
        model.diagnose(HERDS, HERDS["incidence"])


def test_stored_models(model) -> None:
    again = pickle.loads(pickle.dumps(model))
    assert again.elbo_ == model.elbo_
    assert again.summary().facts == model.summary().facts
    np.testing.assert_array_equal(again.predict(HERDS), model.predict(HERDS))


def test_a_clone_says_that_it_needs_mixed(model) -> None:
    with pytest.raises(ValueError, match=r"names the response 'cbind\(incidence, size"):
        clone(model).fit(HERDS, HERDS["incidence"])


def test_models_of_the_same_sets_are_compared(model, by_class) -> None:
    small = mixed(CBIND.replace("period", "1"), HERDS, family="binomial", method="ml")
    table = compare_models(small, model).to_frame()
    assert len(table) == 2
    with pytest.raises(ValueError, match="different binomial coefficients"):
        compare_models(by_class, model)


def test_sets_without_trials_say_nothing(model) -> None:
    empty = HERDS.iloc[:3].assign(size=0, incidence=0)
    more = pd.concat([HERDS, empty], ignore_index=True)
    for formula, weights in ((CBIND, None), ("incidence/size ~ period + (1 | herd)", "size")):
        other = mixed(formula, more, family="binomial", method="ml", weights=weights)
        assert other.elbo_ == pytest.approx(model.elbo_, abs=1e-8)
        assert other.summary().facts["Rows"] == "56, 842 trials"


def test_sets_with_missing_values_are_dropped(model) -> None:
    gaps = HERDS.astype({"size": float}).reset_index(drop=True)
    gaps.loc[4, "size"] = np.nan
    left = mixed(CBIND, gaps, family="binomial", method="ml", missing="drop")
    rest = mixed(CBIND, HERDS.drop(index=HERDS.index[4]), family="binomial", method="ml")
    assert left.elbo_ == pytest.approx(rest.elbo_, abs=1e-8)


def test_case_weights_count_sets(model) -> None:
    twice = mixed(
        CBIND, HERDS, family="binomial", method="ml", sample_weight=np.full(len(HERDS), 2.0)
    )
    copies = mixed(CBIND, pd.concat([HERDS, HERDS]), family="binomial", method="ml")
    assert twice.elbo_ == pytest.approx(copies.elbo_, abs=1e-8)
    assert twice.summary().facts["Rows"] == "112, 1684 trials"


def test_learnt_functions_see_a_set_once() -> None:
    frame = HERDS.assign(z=np.arange(56.0) ** 1.5)
    computed = mixed(
        "cbind(incidence, size - incidence) ~ ave(z, herd) + (1 | herd)", frame, family="binomial"
    )
    means = frame.groupby("herd", observed=True)["z"].transform("mean")
    plain = mixed(
        "cbind(incidence, size - incidence) ~ m + (1 | herd)",
        frame.assign(m=means.to_numpy()),
        family="binomial",
    )
    np.testing.assert_allclose(computed.coef_, plain.coef_, rtol=1e-6)


def test_probit_is_a_model_of_the_same_sets() -> None:
    rows = rows_of_classes()
    sets = mixed(CBIND, HERDS, family="binomial", link="probit")
    classes = mixed(
        "ill ~ period + (1 | herd)",
        rows,
        family="binomial",
        link="probit",
        sample_weight=rows["animals"],
    )
    np.testing.assert_allclose(sets.coef_, classes.coef_, rtol=1e-6)


@pytest.mark.parametrize(
    ("formula", "arguments", "message"),
    [
        (CBIND, {}, "use family='binomial'"),
        (CBIND, {"family": "poisson"}, "use family='binomial'"),
        (CBIND, {"family": "binomial", "weights": "size"}, "leave out weights="),
        ("incidence ~ period", {"weights": "size"}, "precision_weights='w'"),
        ("incidence ~ 1", {"family": "binomial", "weights": "size"}, "ranges from 0 to 12"),
        ("incidence/2 ~ 1", {"family": "binomial"}, "successes and -?[0-9.]+ failures in row"),
        ("cbind(incidence, size/7) ~ 1", {"family": "binomial"}, "must be whole numbers"),
        ("cbind(size - size, size) ~ 1", {"family": "binomial"}, "no successes in any row"),
        ("cbind(size, size - size) ~ 1", {"family": "binomial"}, "no failures in any row"),
        (CBIND, {"family": "binomial", "positive_class": 0}, "already counts successes"),
        ("share ~ 1", {"family": "binomial", "weights": [1, 2]}, "56 numbers, one per row"),
    ],
)
def test_what_cannot_be_read_as_trials(formula, arguments, message) -> None:
    frame = HERDS.assign(share=HERDS["incidence"] / HERDS["size"])
    with pytest.raises(ValueError, match=message):
        mixed(formula, frame, **arguments)


def test_the_bootstrap_says_what_to_do_instead(model) -> None:
    with pytest.raises(ValueError, match="two rows per set"):
        parametric_bootstrap(model, lambda fitted: fitted.coef_, HERDS, n_resamples=2)
