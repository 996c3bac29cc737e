"""Coefficients without a finite estimate are named, and no others."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.exceptions import ConvergenceWarning

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.fit.identification import separated_columns, typical_steps
from skmixed.fit.variational_objective import VariationalObjective
from skmixed.sums.standard_units import learn_fixed_transform

pytestmark = pytest.mark.compiled
METHODS = ["ml", "reml"]
N = 200


class Data:
    """Two classes and counts that depend on x and on ten groups."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.x = self.rng.standard_normal(N)
        self.g = np.arange(N) % 10
        effects = self.rng.normal(scale=0.7, size=10)
        self.eta = 0.2 + 0.8 * self.x + effects[self.g]
        self.classes = (self.rng.random(N) < expit(self.eta)).astype(int)
        self.counts = self.rng.poisson(np.exp(self.eta)).astype(float)

    def columns(self, **more):
        return pd.DataFrame({"x": self.x, "g": self.g, **more})


@pytest.fixture
def data():
    return Data()


@pytest.fixture(autouse=True)
def few_evaluations(monkeypatch):
    """A fit ends after a few evaluations of the ELBO, however flat the ELBO is."""
    evaluate, counted = VariationalObjective.at_sites, []

    def counting(self, *arguments):
        counted.append(None)
        assert len(counted) < 1_000, "the fit does not end"
        return evaluate(self, *arguments)

    monkeypatch.setattr(VariationalObjective, "at_sites", counting)


def separated(model):
    """Names of the columns that a fitted model calls separated."""
    names = ["Intercept", *model.coef_names_]
    return [names[j] for j in model.fit_result_.doubts.separated]


def fit_separated(model, X, y):
    """Fit, which must warn of it and may end before it has converged."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(X, y)
    assert any("complete separation" in str(warning.message) for warning in caught)
    assert not any(warning.category is ConvergenceWarning for warning in caught)
    assert np.isfinite([model.elbo_, *model.coef_, *model.coef_cov_.ravel()]).all()
    return model


def classifier(**options):
    return MixedEffectsVIClassifier(["g"], **options)


# Separation -------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", [0, 1])
@pytest.mark.parametrize("method", METHODS)
def test_by_a_dummy(data, method, outcome):
    """All rows of a category are of one class; the other coefficients are told apart from it."""
    d = (np.arange(N) < 15).astype(float)
    y = np.where(d > 0, outcome, data.classes)
    model = fit_separated(classifier(method=method), data.columns(d=d), y)
    assert separated(model) == ["d"]
    assert (2 * outcome - 1) * model.coef_[1] > 5.0
    rest = classifier(method=method).fit(data.columns()[15:], y[15:])
    assert model.coef_[0] == pytest.approx(rest.coef_[0], abs=1e-2)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_by_a_single_row(data, link):
    d = (np.arange(N) == 3).astype(float)
    model = fit_separated(classifier(link=link), data.columns(d=d), data.classes)
    assert separated(model) == ["d"]


def test_by_a_level_of_a_category(data):
    c = pd.Categorical(data.rng.choice(list("pqr"), N))
    y = np.where(np.asarray(c) == "q", 1, data.classes)
    model = MixedEffectsVIClassifier(formula="x + c + (1 | g)", method="ml")
    assert separated(fit_separated(model, data.columns(c=c), y)) == ["c[q]"]


@pytest.mark.parametrize("method", METHODS)
def test_by_a_continuous_column(data, method):
    """Whatever else there is has nothing left to explain."""
    z = np.where(data.classes > 0, 1.0, -1.0) * data.rng.uniform(0.1, 2.0, N)
    model = fit_separated(classifier(method=method), data.columns(z=z), data.classes)
    assert "z" in separated(model)
    assert model.coef_[1] > 5.0


def test_by_a_combination_of_columns(data):
    """Neither column separates by itself."""
    z = 2.0 * data.classes - 1.0 + data.x
    model = fit_separated(classifier(method="ml"), data.columns(z=z), data.classes)
    assert separated(model)[-2:] == ["x", "z"]
    assert model.coef_[1] > 5.0
    assert model.coef_[0] < -5.0


def test_in_part(data):
    """Quasi-complete: rows with z = 0 are of both classes."""
    z = (2.0 * data.classes - 1.0) * data.rng.uniform(0.1, 2.0, N)
    z[data.rng.random(N) < 0.4] = 0.0
    model = fit_separated(classifier(method="ml"), data.columns(z=z), data.classes)
    assert separated(model) == ["z"]
    rest = z == 0.0
    alone = classifier(method="ml").fit(data.columns()[rest], data.classes[rest])
    assert model.coef_[0] == pytest.approx(alone.coef_[0], abs=0.05)


@pytest.mark.parametrize("method", METHODS)
def test_of_all_other_categories(data, method):
    """The baseline is without error: intercept and coefficient run away from each other."""
    d = (np.arange(N) < 100).astype(float)
    y = np.where(d > 0, data.classes, 1)
    model = fit_separated(classifier(method=method), data.columns(d=d), y)
    assert "d" in separated(model)
    assert "x" not in separated(model)


def test_of_ordered_classes(data):
    """All rows of a category are of the highest class, or of one in between."""
    d = (np.arange(N) < 15).astype(float)
    middle = np.digitize(data.eta + data.rng.logistic(size=N), [-1.0, 0.0, 1.0])
    top = np.where(d > 0, 3, middle)
    model = fit_separated(classifier(family="ordinal", method="ml"), data.columns(d=d), top)
    assert separated(model) == ["d"]
    between = np.where(d > 0, 1, middle)
    model = classifier(family="ordinal", method="ml").fit(data.columns(d=d), between)
    assert separated(model) == []


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("family", ["poisson", "negative_binomial"])
def test_of_counts(data, family, method):
    """A category without a single count has a rate of zero."""
    d = (np.arange(N) < 15).astype(float)
    y = np.where(d > 0, 0.0, data.counts)
    model = MixedEffectsVIRegressor(["g"], family=family, method=method)
    assert separated(fit_separated(model, data.columns(d=d), y)) == ["d"]
    assert model.coef_[1] < -5.0


# No separation ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_not_of_a_single_event(data, method):
    """One row in 200: the estimate is far out, and finite."""
    y = (np.arange(N) == 5).astype(int)
    model = MixedEffectsVIClassifier(formula="1 + (1 | g)", method=method).fit(data.columns(), y)
    assert separated(model) == []
    assert model.intercept_ < -4.0
    model = classifier(method=method).fit(data.columns(), y)
    assert separated(model) == []


@pytest.mark.parametrize("method", METHODS)
def test_not_of_a_single_count(data, method):
    y = (np.arange(N) == 5).astype(float)
    model = MixedEffectsVIRegressor(["g"], family="poisson", method=method)
    assert separated(model.fit(data.columns(), y)) == []


def test_not_of_a_category_with_one_exception(data):
    d = (np.arange(N) < 60).astype(float)
    y = np.where(d > 0, 1, data.classes)
    y[7] = 0
    assert separated(classifier().fit(data.columns(d=d), y)) == []


@pytest.mark.parametrize("unit", [1e-8, 1e-3, 1e6])
def test_not_of_large_coefficients(data, unit):
    """Coefficients are large where the unit of a column is."""
    model = classifier().fit(data.columns(z=unit * data.rng.standard_normal(N)), data.classes)
    assert separated(model) == []
    X = pd.DataFrame({"x": unit * data.x, "g": data.g})
    model = classifier().fit(X, data.classes)
    assert separated(model) == []
    assert unit * model.coef_[0] == pytest.approx(0.8, abs=0.5)


def test_not_of_a_strong_effect(data):
    """Most rows are predicted with certainty, and some are not."""
    y = (data.rng.random(N) < expit(8.0 * data.x)).astype(int)
    model = classifier().fit(data.columns(), y)
    assert separated(model) == []
    assert model.coef_[0] > 4.0


@pytest.mark.parametrize("outcome", [0, 1])
@pytest.mark.parametrize("size", [30.0, 1e3, 1e4])
def test_not_of_outliers(data, size, outcome):
    """A row far out has nearly all of the column's variance, and the others determine it still."""
    data.x[7] = size
    data.classes[7] = outcome
    assert separated(classifier(method="ml").fit(data.columns(), data.classes)) == []


def test_not_of_heavy_tails(data):
    X = data.columns(z=data.rng.standard_cauchy(N))
    assert separated(classifier().fit(X, data.classes)) == []


def test_not_of_large_or_few_counts(data):
    for factor in (1e-2, 1e5):
        y = data.rng.poisson(factor * np.exp(data.eta)).astype(float)
        model = MixedEffectsVIRegressor(["g"], family="poisson", method="ml")
        assert separated(model.fit(data.columns(), y)) == []


# The criterion itself -----------------------------------------------------------------------


def columns_at(information, raw, has_intercept):
    """Separated columns of raw fixed effects at an information about the standardised ones."""
    transform = learn_fixed_transform(raw, has_intercept, np.ones(len(raw)))
    steps = typical_steps(raw)[:, None] * transform.to_centred()
    return separated_columns(information(transform), steps, has_intercept)


def test_intercept_alone():
    """Nothing but an intercept: all responses are as good as certain."""
    ones = np.ones((50, 1))
    assert columns_at(lambda _: np.array([[1e-4]]), ones, True) == (0,)
    assert columns_at(lambda _: np.array([[1.0]]), ones, True) == ()


def test_no_columns():
    nothing = np.empty((50, 0))
    assert columns_at(lambda _: np.empty((0, 0)), nothing, False) == ()


@pytest.mark.parametrize("has_intercept", [True, False])
def test_directions_are_those_of_the_raw_columns(has_intercept):
    """Units, correlated columns and columns that are left out."""
    rng = np.random.default_rng(1)
    raw = rng.standard_normal((100, 4)) * [1.0, 1e5, 1e-4, 1.0]
    # correlated with its neighbour, and a copy that is dropped
    raw[:, 1] += 5e4 * raw[:, 0]
    raw[:, 3] = 2.0 * raw[:, 1]
    if has_intercept:
        raw = np.column_stack([np.ones(100), raw])
    first = int(has_intercept)
    for column in range(3):

        def information(transform, column=column):
            # all directions are known but the one in which this coefficient moves alone
            direction = np.zeros(transform.rank)
            direction[first:] = np.linalg.inv(transform.mapping[transform.kept])[:, column]
            direction /= np.linalg.norm(direction)
            return 20.0 * (np.eye(transform.rank) - (1.0 - 1e-8) * np.outer(direction, direction))

        assert columns_at(information, raw, has_intercept) == (first + column,)


def test_typical_steps():
    """Of the values that differ from the usual one; an outlier is not one of them."""
    columns = np.column_stack(
        [np.ones(7), [0, 0, 0, 1, 0, 0, 0], [-1, 0, 1, 2, 3, 1e9, 1], [0, 0, 0, 1, 1, 1, 1]]
    )
    np.testing.assert_array_equal(typical_steps(columns), [1.0, 1.0, 2.0, 1.0])
    assert typical_steps(np.empty((5, 0))).shape == (0,)


def test_every_column_where_nothing_is_known():
    """The intercept is named where it is the only one: slopes take it along."""
    rng = np.random.default_rng(2)
    raw = np.column_stack([np.ones(60), rng.standard_normal((60, 2))])
    assert columns_at(lambda _: 1e-6 * np.diag([1.0, 2.0, 3.0]), raw, True) == (1, 2)
    assert columns_at(lambda _: np.diag([1e-6, 2.0, 3.0]), raw, True) == (0,)
