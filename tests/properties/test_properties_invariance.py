"""The same model in other words or other units has the same fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from property_data import (
    COVARIATES,
    Estimates,
    Problem,
    assert_same,
    close,
    estimates,
    examples,
    problems,
)

SEEDS = st.integers(0, 2**32 - 1)

LABELS = {
    "int": lambda codes: 5 * codes - 40,
    "float": lambda codes: codes / 8.0,
    "str": lambda codes: np.array([f"level {code}" for code in codes], object),
    "category": lambda codes: pd.Categorical.from_codes(codes, [f"c{i}" for i in range(40)]),
    "dates": lambda codes: pd.Timestamp("2021-03-01") + pd.to_timedelta(codes, unit="D"),
}
"""Names of levels, by dtype, from numbers below 40."""


@given(problems(), SEEDS)
@examples(8)
def test_order_of_rows(problem: Problem, seed: int):
    order = np.random.default_rng(seed).permutation(problem.n)
    model, other = problem.fit(), problem.rows(order).refit()
    assert_same(estimates(other), estimates(model))


@given(problems(), st.lists(st.sampled_from(sorted(LABELS)), min_size=3, max_size=3), SEEDS)
@examples(8)
def test_names_of_levels(problem: Problem, kinds: list[str], seed: int):
    """Levels are renamed at random, which changes their order too."""
    rng = np.random.default_rng(seed)
    renamed, names = problem.frame.copy(), {}
    for group, kind in zip(problem.groups, kinds, strict=False):
        numbers = rng.permutation(40)
        renamed[group] = LABELS[kind](numbers[problem.frame[group]])
        names[group] = pd.Index(LABELS[kind](numbers)).astype(object)
    model, other = problem.fit(), replace(problem, frame=renamed).refit()
    expected = estimates(model)
    for tables in (expected.effects, expected.deviations):
        for group, table in tables.items():
            tables[group] = table.set_axis(names[group][table.index.to_numpy(int)])
    assert_same(by_object(estimates(other)), expected)
    noise = np.sqrt(expected.noise_variance)
    slack = (1e-6 + 10.0 * (model.gradient_path_[-1] + other.gradient_path_[-1])) * noise
    if not problem.family.startswith(("bernoulli", "ordinal")):
        shown = model.predict(problem.frame)
        close(other.predict(renamed), shown, slack * np.maximum(1.0, np.abs(shown)))


def by_object(found: Estimates) -> Estimates:
    """The same with labels of any dtype as Python objects."""
    for tables in (found.effects, found.deviations):
        for group, table in tables.items():
            tables[group] = table.set_axis(pd.Index(table.index).astype(object))
    return found


@given(problems(), SEEDS)
@examples(8)
def test_order_of_terms_and_columns(problem: Problem, seed: int):
    rng = np.random.default_rng(seed)
    other = replace(
        problem,
        frame=problem.frame[rng.permutation(problem.frame.columns)],
        terms=tuple(problem.terms[k] for k in rng.permutation(len(problem.terms))),
    )
    model = problem.fit()
    assert_same(estimates(other.refit()), estimates(model))


@given(problems(("gaussian",), ("full",)), SEEDS)
@examples(8)
def test_order_of_slopes(problem: Problem, seed: int):
    """Which of two correlated slopes comes first."""
    first = replace(problem.terms[0], slopes=COVARIATES)
    second = replace(problem.terms[0], slopes=COVARIATES[::-1])
    one, other = (replace(problem, terms=(t, *problem.terms[1:])) for t in (first, second))
    model = one.fit()
    assert_same(estimates(other.refit()), estimates(model))


SCALES = st.sampled_from([-1.0, 1e-6, 0.02, 30.0, -1e5])


@given(problems(("gaussian",)), SCALES, st.sampled_from([0.0, -3.0, 400.0]))
@examples(12)
def test_units_of_a_normal_response(problem: Problem, scale: float, shift: float):
    """The density of scale y is that of y over |scale|, for every degree of freedom."""
    frame, options = problem.frame.copy(), dict(problem.options)
    if "o" in frame:
        frame["o"] *= scale
    if options["noise_scale"] is not None:
        options["noise_scale"] *= abs(scale)
    if not options["fit_intercept"]:
        shift = 0.0
    y = scale * (problem.y + shift)
    model = problem.fit()
    other = replace(problem, frame=frame, y=y, options=options).refit()
    before, found = estimates(model), estimates(other)
    df = problem.n - (model.method_ == "reml") * len(before.coefficients)
    shifted = before.coefficients.copy()
    if options["fit_intercept"]:
        shifted["Intercept"] += shift
    expected = replace(before, elbo=before.elbo - df * np.log(abs(scale)), coefficients=shifted)
    assert_same(divided(found, scale), expected)


def divided(found: Estimates, scale: float) -> Estimates:
    """Estimates in units of `scale`."""
    return replace(
        found,
        coefficients=found.coefficients / scale,
        coefficient_covariance=found.coefficient_covariance / scale**2,
        effects={group: table / scale for group, table in found.effects.items()},
        deviations={group: table / abs(scale) for group, table in found.deviations.items()},
        covariances={group: table / scale**2 for group, table in found.covariances.items()},
        noise_variance=found.noise_variance / scale**2,
    )


@given(problems(("gamma",)), st.sampled_from([1e-4, 0.3, 50.0, 1e6]))
@examples(4)
def test_units_of_amounts(problem: Problem, scale: float):
    """A factor of the amounts is a term of their linear predictor."""
    problem = replace(problem, options={**problem.options, "fit_intercept": True})
    model, other = problem.fit(), replace(problem, y=scale * problem.y).refit()
    expected = estimates(model)
    expected.coefficients["Intercept"] += np.log(scale)
    elbo = expected.elbo - problem.n * np.log(scale)
    assert_same(estimates(other), replace(expected, elbo=elbo))


@given(problems(), SCALES, st.sampled_from([0.0, -2.0, 50.0]))
@examples(12)
def test_units_of_columns(problem: Problem, scale: float, shift: float):
    """Coefficients of scale (x + shift), and the flat prior's density, change by scale."""
    if not may_shift(problem):
        shift = 0.0
    frame = problem.frame.assign(x=scale * (problem.frame["x"] + shift))
    model, other = problem.fit(), replace(problem, frame=frame).refit()
    before, found = estimates(model), estimates(other)
    change = np.log(abs(scale)) if problem.options["method"] == "reml" else 0.0
    found = with_columns(found, scale, shift)
    kept = {group: table[found.deviations[group].columns]
            for group, table in before.deviations.items()}  # fmt: skip
    assert_same(found, replace(before, elbo=before.elbo - change, deviations=kept))


def may_shift(problem: Problem) -> bool:
    """Whether an intercept takes up a shift of x, everywhere that x has a coefficient.

    Independent normals depend on the origin; so do variances of effects that must not
    correlate. Ordinal models take up a shift in their thresholds.
    """
    with_x = [term for term in problem.terms if "x" in term.slopes]
    if not problem.options.get("fit_intercept", True) or problem.family.startswith("ordinal"):
        return False
    free = all(term.intercept and term.covariance == "unstructured" for term in with_x)
    return not with_x or (free and problem.options["posterior"] == "full")


def with_columns(found: Estimates, scale: float, shift: float) -> Estimates:
    """Estimates for x from those for scale (x + shift)."""

    def changed(names: Any) -> pd.DataFrame:
        matrix = pd.DataFrame(np.eye(len(names)), list(names), list(names))
        if "x" in names:
            matrix.loc["x", "x"] = scale
            if "Intercept" in names and shift:
                matrix.loc["Intercept", "x"] = scale * shift
        return matrix

    change = changed(found.coefficients.index)
    effects, deviations, covariances = {}, {}, {}
    for group, covariance in found.covariances.items():
        inner = changed(covariance.index)
        covariances[group] = inner @ covariance @ inner.T
        effects[group] = found.effects[group] @ inner.T
        deviations[group] = found.deviations[group] @ np.abs(inner.T)
        if "x" in inner and shift and "Intercept" in inner:
            # a shift mixes what the standard deviations do not tell: those stay out
            deviations[group] = deviations[group][["x"]]
    return replace(
        found,
        coefficients=change @ found.coefficients,
        coefficient_covariance=change @ found.coefficient_covariance @ change.T,
        effects=effects, deviations=deviations, covariances=covariances,
    )  # fmt: skip


@pytest.mark.parametrize("scale", [0.01, 100.0])
@given(problem=problems(("gaussian",)))
@examples(4)
def test_units_of_precision_weights(problem: Problem, scale: float):
    """Only their ratios count where the noise is estimated."""
    options = {**problem.options, "precision_weights": "w", "noise_scale": None}
    frame = problem.frame
    if "w" not in frame:
        frame = frame.assign(w=np.linspace(0.5, 2.0, problem.n))
    one = replace(problem, frame=frame, options=options)
    other = replace(one, frame=frame.assign(w=scale * frame["w"]))
    expected, found = estimates(one.fit()), estimates(other.refit())
    assert_same(replace(found, noise_variance=found.noise_variance / scale), expected)
