"""Case weights are repeated rows, and rows that arrive in parts are rows."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from property_data import (
    Problem,
    assert_same,
    close,
    doubts_of,
    estimates,
    examples,
    problems,
)

SEEDS = st.integers(0, 2**32 - 1)


@given(problems(), SEEDS)
@examples(8)
def test_weights_are_repetitions(problem: Problem, seed: int):
    weights = np.random.default_rng(seed).integers(1, 4, problem.n)
    weighted = problem.fit(sample_weight=weights)
    repeated = problem.rows(np.repeat(np.arange(problem.n), weights)).refit()
    assert_same(estimates(weighted), estimates(repeated))
    assert weighted.n_observations_ == repeated.n_observations_ == weights.sum()


@given(problems(), SEEDS)
@examples(6)
def test_rows_of_weight_zero_are_absent(problem: Problem, seed: int):
    """Whatever they hold, new levels and extreme values included."""
    rng = np.random.default_rng(seed)
    weights = (rng.random(problem.n) < 0.9).astype(float)
    strange = problem.frame.copy()
    strange.loc[weights == 0.0, "x"] = 1e12
    strange.loc[weights == 0.0, problem.groups[0]] = 99
    kept = problem.rows(np.flatnonzero(weights)).fit()
    model = replace(problem, frame=strange).refit(sample_weight=weights)
    assert_same(estimates(model), estimates(kept))


@given(problems(("gaussian",)), SEEDS, st.integers(2, 6), st.booleans())
@examples(15)
def test_rows_in_parts(problem: Problem, seed: int, n_parts: int, weighted: bool):
    """Parts of any size, in any order; the first one may lack levels and columns that vary."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.5, 2.0, problem.n) if weighted else np.ones(problem.n)
    whole = problem.fit(sample_weight=weights)
    order = rng.permutation(problem.n)
    cuts = np.sort(rng.choice(np.arange(1, problem.n), n_parts - 1, replace=False))
    model = problem.estimator()
    for rows in np.split(order, cuts):
        part = problem.rows(rows)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            # a fit on few rows may well be undetermined; what counts is the last one
            model.partial_fit(part.frame, part.y, weights[rows])
    assert not doubts_of(caught)
    assert model.converged_
    assert_same(estimates(model), estimates(whole))
    for include in ("all", "none"):
        mean, std = model.predict(problem.frame, return_std=True, include=include)
        expected, expected_std = whole.predict(problem.frame, return_std=True, include=include)
        slack = 1e-6 + 10.0 * (model.gradient_path_[-1] + whole.gradient_path_[-1])
        close(mean, expected, slack * expected_std)
        close(std, expected_std, slack * expected_std)


@given(problems(), SEEDS)
@examples(6)
def test_a_row_in_pieces(problem: Problem, seed: int):
    """Weights are numbers: two copies of a row share its weight in any proportion."""
    rng = np.random.default_rng(seed)
    weights, share = rng.uniform(0.6, 1.8, problem.n), rng.uniform(0.1, 0.9, problem.n)
    whole = problem.fit(sample_weight=weights)
    twice = problem.rows(np.tile(np.arange(problem.n), 2))
    pieces = twice.refit(sample_weight=np.concatenate([share * weights, (1.0 - share) * weights]))
    assert_same(estimates(pieces), estimates(whole))
