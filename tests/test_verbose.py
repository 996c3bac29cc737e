"""What is printed: a line an iteration when asked for, and nothing otherwise."""

from __future__ import annotations

import re

import numpy as np
import pytest
from covering import covering
from sklearn.base import clone

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, mixed
from skmixed.datasets import make_mixed_classification, make_mixed_regression

X, Y, _ = make_mixed_regression(n_samples=150, groups=(10, 5), random_state=0)
COUNTS = make_mixed_regression(
    n_samples=150, groups=(10, 5), family="poisson", random_state=0
)[1]  # fmt: skip
X_OF_CLASSES, CLASSES, _ = make_mixed_classification(n_samples=150, groups=(10, 5), random_state=0)
RATINGS = CLASSES + (np.arange(150) % 3 == 0)
GROUPS = ["g0", "g1"]
RESPONSES = {
    "gaussian": (X, Y),
    "poisson": (X, COUNTS),
    "negative_binomial": (X, COUNTS),
    "gamma": (X, np.exp(Y / 4)),
    "bernoulli": (X_OF_CLASSES, CLASSES),
    "ordinal": (X_OF_CLASSES, RATINGS),
}
LINE = re.compile(
    r"\[(?P<name>\w+)\] iteration +(?P<iteration>\d+)  ELBO (?P<elbo>-?\d+\.\d+)  "
    r"scaled gradient (?P<gradient>\d\.\d+e[+-]\d+)  (?P<seconds>\d+\.\d+) s"
)


def estimator_of(family, **parameters):
    is_classifier = family in ("bernoulli", "ordinal")
    kind = MixedEffectsVIClassifier if is_classifier else MixedEffectsVIRegressor
    return kind(GROUPS, family=family, **parameters)


def lines_of(printed):
    """The lines that were printed, each of which has to be of the form that is documented."""
    matches = [LINE.fullmatch(line) for line in printed.splitlines()]
    assert all(matches), printed
    return [match.groupdict() for match in matches]


def assert_tells(printed, model):
    """A line for the start and one for every iteration, with the numbers of the fit."""
    lines = lines_of(printed)
    assert {line["name"] for line in lines} == {type(model).__name__}
    assert [int(line["iteration"]) for line in lines] == list(range(model.n_iter_ + 1))
    elbos = [float(line["elbo"]) for line in lines]
    np.testing.assert_allclose(elbos, model.elbo_path_, rtol=0, atol=5.1e-7)
    gradients = [float(line["gradient"]) for line in lines]
    np.testing.assert_allclose(gradients, model.gradient_path_, rtol=6e-3)
    seconds = [float(line["seconds"]) for line in lines]
    assert seconds == sorted(seconds)


@pytest.mark.parametrize("solver", ["direct", "iterative"])
@pytest.mark.parametrize("family", list(RESPONSES))
def test_a_line_an_iteration(family, solver, capfd):
    model = estimator_of(family, solver=solver, verbose=1).fit(*RESPONSES[family])
    printed = capfd.readouterr()
    assert_tells(printed.out, model)
    assert printed.err == ""


def test_lines_of_partial_fit(capfd):
    model = estimator_of("gaussian", verbose=1)
    for rows in (slice(0, 80), slice(80, 150)):
        model.partial_fit(X[rows], Y[rows])
        assert_tells(capfd.readouterr().out, model)


def test_lines_of_a_formula(capfd):
    model = mixed("y ~ x0 + (1 | g0)", X.assign(y=Y), verbose=1)
    assert_tells(capfd.readouterr().out, model)


@covering(family=RESPONSES, solver=["direct", "iterative"], posterior=["full", "mean_field"])
def test_nothing_is_printed_unasked(family, solver, posterior, capfd):
    X, y = RESPONSES[family]
    model = estimator_of(family, solver=solver, posterior=posterior).fit(X, y)
    model.predict(X)
    model.score(X, y)
    clone(model).set_params(warm_start=True).fit(X, y)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("family", ["gaussian", "poisson", "bernoulli"])
def test_inspection_prints_nothing(family, capfd):
    """Tables are returned, and shown by whoever asked for them."""
    X, y = RESPONSES[family]
    model = estimator_of(family).fit(X, y)
    str(model.summary())
    model.diagnose(X, y, n_draws=100)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("family", ["gaussian", "gamma"])
def test_draws_and_intervals_print_nothing(family, capfd):
    X, y = RESPONSES[family]
    model = estimator_of(family).fit(X, y)
    model.predict(X, return_std=True)
    model.predict_interval(X)
    model.sample_y(X, random_state=0)
    assert capfd.readouterr() == ("", "")


def test_partial_fit_prints_nothing(capfd):
    model = estimator_of("gaussian")
    for rows in (slice(0, 80), slice(80, 150)):
        model.partial_fit(X[rows], Y[rows])
    assert capfd.readouterr() == ("", "")
