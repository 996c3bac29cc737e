"""Predictions are a row's own, and sums of their parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st
from property_data import FAMILIES, Problem, examples, problems

from skmixed.results.prediction import predict_mean, predict_variance

SEEDS = st.integers(0, 2**32 - 1)


def new_rows(problem: Problem, rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Rows with other columns and some levels that the fit has not seen, or that are missing."""
    frame = problem.frame.iloc[rng.integers(problem.n, size=n)].reset_index(drop=True)
    frame["x"] = rng.standard_normal(n)
    for group in problem.groups:
        frame[group] = frame[group].astype(float)
        frame.loc[rng.random(n) < 0.2, group] = 77.0
        frame.loc[rng.random(n) < 0.1, group] = np.nan
    return frame


def shown(model: Any, frame: pd.DataFrame, include: Any = "all") -> np.ndarray:
    """All that a model says of rows, a row each."""
    if hasattr(model, "predict_proba"):
        return np.column_stack(
            [model.predict_proba(frame, include), model.decision_function(frame, include)]
        )
    return np.column_stack(model.predict(frame, return_std=True, include=include))


@given(problems(), SEEDS)
@examples(6)
def test_a_row_alone_is_predicted_as_in_the_batch(problem: Problem, seed: int):
    rng = np.random.default_rng(seed)
    model = problem.fit(tol=1e-6)
    frame = new_rows(problem, rng, 12)
    include = [group for group in problem.groups if rng.random() < 0.6] or "none"
    for groups in ("all", include):
        batch = shown(model, frame, groups)
        alone = np.vstack([shown(model, frame.iloc[[row]], groups) for row in range(12)])
        np.testing.assert_allclose(alone, batch, rtol=1e-12, atol=1e-12)
    if hasattr(model, "predict_interval"):
        ends = model.predict_interval(frame)
        alone = np.vstack([model.predict_interval(frame.iloc[[row]]) for row in (0, 5, 11)])
        np.testing.assert_allclose(alone, ends[[0, 5, 11]], rtol=1e-9, atol=1e-12)


def linear(model: Any, frame: pd.DataFrame, include: Any) -> np.ndarray:
    """Posterior mean of the linear predictor."""
    rows = model._fitted_model.encode(frame, include, with_weights=False)
    design, positions = rows.design, rows.positions
    return predict_mean(model.fit_result_, design, positions)


@given(problems(), SEEDS)
@examples(6)
def test_parts_add_up(problem: Problem, seed: int):
    """The linear predictor is the fixed part plus what each group adds, as published."""
    model = problem.fit(tol=1e-6)
    frame = new_rows(problem, np.random.default_rng(seed), 40)
    fixed = linear(model, frame, "none")
    total = fixed.copy()
    for group in problem.groups:
        part = linear(model, frame, [group]) - fixed
        effects = model.random_effects_[group].reindex(frame[group]).fillna(0.0)
        basis = [1.0 if term == "Intercept" else frame[term] for term in effects.columns]
        expected = sum(
            np.asarray(b) * effects[term].to_numpy()
            for b, term in zip(basis, effects.columns, strict=True)
        )
        np.testing.assert_allclose(part, expected, rtol=1e-10, atol=1e-10)
        total += part
    np.testing.assert_allclose(linear(model, frame, "all"), total, rtol=1e-10, atol=1e-10)
    columns = frame[list(model.coef_names_)].to_numpy() @ model.coef_
    offset = frame["o"].to_numpy() if "o" in frame else 0.0
    location = getattr(model, "_location", 0.0) if "ordinal" in problem.family else 0.0
    expected = columns + model.intercept_ + offset + location
    np.testing.assert_allclose(fixed, expected, rtol=1e-10, atol=1e-10)


@given(problems(("gaussian",)), SEEDS)
@examples(6)
def test_predictions_of_normal_responses_add_up(problem: Problem, seed: int):
    model = problem.fit(tol=1e-6)
    frame = new_rows(problem, np.random.default_rng(seed), 40)
    fixed = model.predict(frame, include="none")
    parts = [model.predict(frame, include=[group]) - fixed for group in problem.groups]
    np.testing.assert_allclose(model.predict(frame), fixed + sum(parts), rtol=1e-10, atol=1e-10)
    mean, std = model.predict(frame, return_std=True)
    interval = model.predict_interval(frame, level=0.5)
    np.testing.assert_allclose(interval.mean(axis=1), mean, rtol=1e-12, atol=1e-12)
    # the upper quartile of a normal
    np.testing.assert_allclose(interval[:, 1] - mean, 0.6744897501960817 * std, rtol=1e-10)


@given(problems(), SEEDS)
@examples(6)
def test_unseen_levels_add_their_prior_variance(problem: Problem, seed: int):
    """And nothing else: no mean, no covariance with what was seen."""
    rng = np.random.default_rng(seed)
    model = problem.fit(tol=1e-6)
    frame = problem.frame.iloc[rng.integers(problem.n, size=10)].reset_index(drop=True)
    group = problem.groups[rng.integers(len(problem.groups))]
    frame[group] = 77
    others = [other for other in problem.groups if other != group] or "none"
    spread = []
    for include in ("all", others):
        rows = model._fitted_model.encode(frame, include, with_weights=False)
        design, positions = rows.design, rows.positions
        spread.append(predict_variance(model.fit_result_, design, positions))
    prior = model.random_effects_cov_[group]
    basis = np.column_stack([np.ones(10) if t == "Intercept" else frame[t] for t in prior.index])
    expected = np.einsum("iq,qs,is->i", basis, prior.to_numpy(), basis)
    np.testing.assert_allclose(spread[0] - spread[1], expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(
        linear(model, frame, "all"), linear(model, frame, others), rtol=1e-12, atol=1e-12
    )


@given(problems(FAMILIES[-4:]))
@examples(5)
def test_probabilities_are_some(problem: Problem):
    model = problem.fit(tol=1e-6)
    chances = model.predict_proba(problem.frame)
    assert (chances >= 0.0).all()
    np.testing.assert_allclose(chances.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(
        model.predict(problem.frame), model.classes_[chances.argmax(axis=1)]
    )
