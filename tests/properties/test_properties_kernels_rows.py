"""Compiled passes over rows and pairs of levels against products of dense matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cell_data import Rows, rows
from hypothesis import given
from hypothesis import strategies as st
from property_data import examples

from skmixed._kernels import cells, expectations, normal_links, pair_order, working
from skmixed._kernels import row_effects as prediction
from skmixed._kernels import row_responses as response
from skmixed._kernels.row_loadings import add_squared_loadings
from skmixed._kernels.softplus_rows import expected_softplus_rows
from skmixed.sums import cell_sums
from skmixed.sums.cell_sums import order_by_pairs

SEEDS = st.integers(0, 2**32 - 1)


def same(found: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for rounding of sums of some dozen numbers near one."""
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def some_ranks(data: Rows, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.permutation(levels).astype(np.int32) for levels in data.n_levels]


def ranked(data: Rows, ranks: list[np.ndarray]) -> Rows:
    """The same rows with the numbers of levels that they are ranked by."""
    codes = tuple(rank[code] for rank, code in zip(ranks, data.codes, strict=True))
    return replace(data, codes=codes)


def sorted_pairs(
    data: Rows, ranks: list[np.ndarray], number_bits: int = 32
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First row of every level, words in order of pairs by two buckets, and the first cells."""
    n, levels = len(data.weights), data.n_levels[0]
    start, parts = np.zeros(levels + 1, np.int64), ((0, n // 3), (n // 3, n))
    for begin, end in parts:
        counts = np.zeros(levels, np.int64)
        cells.count_codes(data.codes[0][begin:end], counts)
        start[1 + ranks[0]] += counts
    np.cumsum(start, out=start)
    bounds = np.unique([0, levels // 2, levels])
    bits = int(data.n_levels[1]).bit_length(), number_bits
    bucket = np.repeat(np.arange(len(bounds) - 1, dtype=np.int32), np.diff(bounds))
    keys = np.arange(levels, dtype=np.int32) - bounds[bucket].astype(np.int32) << bits[0]
    first, free = np.column_stack([keys, bucket])[ranks[0]], start[bounds[:-1]].copy()
    words = np.empty(n, np.int64 if number_bits else np.int32)
    for begin, end in parts:
        codes = data.codes[0][begin:end], data.codes[1][begin:end]
        pair_order.place_by_bucket(codes, first, ranks[1], number_bits, begin, free, words)
    cell_start = np.zeros(levels + 1, np.int64)
    for number in range(len(bounds) - 1):
        part = number, number + 1
        pair_order.sort_buckets(start, bounds, bits, part, words, cell_start[1:])
    return start, words, np.cumsum(cell_start)


def numbers_and_levels(words: np.ndarray) -> np.ndarray:
    """Rows (n, 2) as `fill_cells` takes them."""
    return np.column_stack([words & (2**32 - 1), words >> 32]).astype(np.int32)


@pytest.mark.parametrize("levels", [(1, 1), (1, 600), (700, 300_000), (3000, 1), (90, 2**27)])
def test_sort_buckets_of_many_levels(levels: tuple[int, int]):
    """Keys of one to three digits, and of as many bits as there are."""
    rng = np.random.default_rng(0)
    codes = [rng.integers(n, size=4000).astype(np.int32) for n in levels]
    ranks = [rng.permutation(n).astype(np.int32) for n in levels]
    start, order, cell_start = order_by_pairs(codes[0], ranks[0], codes[1], ranks[1])
    first, second = (rank[code] for rank, code in zip(ranks, codes, strict=True))
    expected = np.lexsort([np.arange(4000), second, first])
    np.testing.assert_array_equal(order, np.column_stack([expected, second[expected]]))
    same = order_by_pairs(codes[0], ranks[0], codes[1], ranks[1], numbered=False)
    for found, known in zip(same, (start, second[expected], cell_start), strict=True):
        np.testing.assert_array_equal(found, known)
    np.testing.assert_array_equal(np.diff(start), np.bincount(first, minlength=levels[0]))


@pytest.mark.parametrize("n_threads", [1, 3])
def test_order_by_pairs_in_parts(monkeypatch, n_threads: int):
    for name, size in (("_MOMENT", 100), ("_BUCKET", 150), ("_CHUNK", 70)):
        monkeypatch.setattr(cell_sums, name, size)
    rng = np.random.default_rng(1)
    first, second = (rng.integers(n, size=1000).astype(np.int32) for n in (40, 30))
    ranks = [np.arange(n, dtype=np.int32) for n in (40, 30)]
    _, order, _ = order_by_pairs(first, ranks[0], second, ranks[1], n_threads)
    np.testing.assert_array_equal(order[:, 0], np.lexsort([np.arange(1000), second, first]))


def filled(data: Rows, ranks: list[np.ndarray], cut: int) -> tuple[np.ndarray, ...]:
    """Cells of the two factors, filled in two parts."""
    counts = data.uniform > 0.0 and all(len(e) == 1 and e[0] < 0 for e in data.effects)
    start, words, cell_start = sorted_pairs(data, ranks, 0 if counts else 32)
    levels = np.empty(cell_start[-1], np.int32)
    values = np.full((cell_start[-1], *(len(e) for e in data.effects)), np.nan)
    for first, last in ((0, cut), (cut, data.n_levels[0])):
        part, out = (first, last), (levels, values)
        if counts:
            cells.fill_counts((start, words), cell_start, data.uniform, part, out)
        else:
            effects, order = tuple(data.effects), (start, numbers_and_levels(words))
            cells.fill_cells(order, cell_start, data.weights, data.slopes, effects, part, out)
    return cell_start, levels, values


def as_matrix(
    cell_start: np.ndarray, levels: np.ndarray, values: np.ndarray, n_second: int
) -> np.ndarray:
    """Cells as a matrix (L1 Q1, L2 Q2)."""
    n_first = len(cell_start) - 1
    out = np.zeros((n_first, n_second, *values.shape[1:]))
    out[np.repeat(np.arange(n_first), np.diff(cell_start)), levels] = values
    return out.transpose(0, 2, 1, 3).reshape(n_first * values.shape[1], -1)


# Cells ----------------------------------------------------------------------------------------


@given(rows(), SEEDS)
@examples(40)
def test_sort_by_pairs_and_count_cells(data: Rows, seed: int):
    ranks = some_ranks(data, seed)
    first, second = ranked(data, ranks).codes
    start, words, cell_start = sorted_pairs(data, ranks)
    order = numbers_and_levels(words)
    expected = np.lexsort([np.arange(len(first)), second, first])
    np.testing.assert_array_equal(order[:, 0], expected)
    np.testing.assert_array_equal(order[:, 1], second[expected])
    counts = np.bincount(first, minlength=data.n_levels[0])
    np.testing.assert_array_equal(np.diff(start), counts)
    met = {(int(a), int(b)) for a, b in zip(first, second, strict=True)}
    numbers = [sum(a == level for a, _ in met) for level in range(data.n_levels[0])]
    np.testing.assert_array_equal(cell_start, np.cumsum([0, *numbers]))
    np.testing.assert_array_equal(sorted_pairs(data, ranks, 0)[1], order[:, 1])


@given(rows(), SEEDS, st.integers(0, 6))
@examples(60)
def test_fill_cells(data: Rows, seed: int, cut: int):
    ranks = some_ranks(data, seed)
    found = filled(data, ranks, min(cut, data.n_levels[0]))
    moved = ranked(data, ranks)
    expected = moved.Z(0).T @ (moved.Z(1) * data.weights[:, None])
    same(as_matrix(*found, data.n_levels[1]), expected)


@given(rows(), SEEDS, st.integers(0, 6))
@examples(40)
def test_combine_cells(data: Rows, seed: int, cut: int):
    ranks = some_ranks(data, seed)
    start, words, cell_start = sorted_pairs(data, ranks)
    order = numbers_and_levels(words)
    given_values = np.random.default_rng(seed).standard_normal((len(data.weights), 2, 3))
    levels, values = np.empty(cell_start[-1], np.int32), np.empty((cell_start[-1], 2, 3))
    cut = min(cut, data.n_levels[0])
    for part in ((0, cut), (cut, data.n_levels[0])):
        cells.combine_cells(start, order, cell_start, given_values, *part, levels, values)
    expected = np.zeros((*data.n_levels, 2, 3))
    np.add.at(expected, ranked(data, ranks).codes, given_values)
    expected = expected.transpose(0, 2, 1, 3).reshape(2 * data.n_levels[0], -1)
    same(as_matrix(cell_start, levels, values, data.n_levels[1]), expected)


@given(rows(), SEEDS)
@examples(40)
def test_add_level_blocks(data: Rows, seed: int):
    """Sums are added to what was there."""
    L, Q, P = data.n_levels[0], len(data.effects[0]), data.dense.shape[1]
    rng = np.random.default_rng(seed)
    own, with_dense = rng.standard_normal((L, Q, Q)), rng.standard_normal((L, Q, P))
    expected = own.copy(), with_dense.copy()
    dense = data.dense.T.copy()
    cells.add_level_blocks(
        data.codes[0], data.weights, data.slopes, data.effects[0], dense, own, with_dense
    )
    Z = data.Z(0).reshape(-1, L, Q)
    same(own, expected[0] + np.einsum("i,ilq,ils->lqs", data.weights, Z, Z))
    same(with_dense, expected[1] + np.einsum("i,ilq,ip->lqp", data.weights, Z, data.dense))


@given(rows(), SEEDS)
@examples(25)
def test_add_intercept_sums(data: Rows, seed: int):
    """The sums of `add_level_blocks` of an intercept, side by side."""
    L, P = data.n_levels[0], data.dense.shape[1]
    sums = np.random.default_rng(seed).standard_normal((L, 1 + P))
    own, with_dense = sums[:, :1, None].copy(), sums[:, None, 1:].copy()
    dense = data.dense.T.copy()
    cells.add_level_blocks(
        data.codes[0], data.weights, data.slopes, np.array([-1]), dense, own, with_dense
    )
    cells.add_intercept_sums(data.codes[0], data.weights, dense, sums)
    same(sums, np.column_stack([own[:, 0], with_dense[:, 0]]))


@given(rows(), st.integers(0, 3))
@examples(40)
def test_spread_cells(data: Rows, first_column: int):
    """Cells of two pairs stand side by side in the rows of the first factor."""
    pair = filled(data, some_ranks(data, 0), 0)
    pairs = [pair, pair]
    L, Q, width = len(pair[0]) - 1, pair[2].shape[1], pair[2].shape[2]
    places = first_column, first_column + data.n_levels[1] * width
    start = np.zeros(L + 1, np.int64) + 2 * width * pair[0]
    cursor = start[:-1].copy()
    columns, out = np.empty(start[-1], np.int32), np.empty((start[-1], Q))
    for (cell_start, levels, values), place in zip(pairs, places, strict=True):
        cells.spread_cells(cell_start, levels, values, place, cursor, columns, out)
    np.testing.assert_array_equal(cursor, start[1:])
    dense = np.zeros((L, Q, places[1] + data.n_levels[1] * width))
    level = np.repeat(np.arange(L), np.diff(start))
    dense[level, :, columns] = out
    matrix = as_matrix(*pair, data.n_levels[1]).reshape(L, Q, -1)
    empty = np.zeros((L, Q, first_column))
    np.testing.assert_array_equal(dense, np.concatenate([empty, matrix, matrix], axis=2))


@given(rows())
@examples(20)
def test_add_squared_cells(data: Rows):
    pair = filled(data, some_ranks(data, 0), 0)
    first, second = np.ones(data.n_levels[0]), np.ones(data.n_levels[1])
    cells.add_squared_cells(*pair, first, second)
    width = pair[2].shape[2]
    squares = as_matrix(*pair, data.n_levels[1])[:: pair[2].shape[1], ::width] ** 2
    same(first, 1.0 + squares.sum(axis=1))
    same(second, 1.0 + squares.sum(axis=0))


@given(rows())
@examples(6)
def test_rows_that_are_read_only(data: Rows):
    """Memory-mapped columns."""
    expected = filled(data, some_ranks(data, 0), 0)
    L, Q, P = data.n_levels[0], len(data.effects[0]), data.dense.shape[1]
    dense = data.dense.T.copy()
    frozen = (*data.codes, data.weights, data.slopes, dense)
    sums = []
    for _ in range(2):
        sums.append((np.zeros((L, Q, Q)), np.zeros((L, Q, P))))
        cells.add_level_blocks(
            data.codes[0], data.weights, data.slopes, data.effects[0], dense, *sums[-1]
        )
        for array in frozen:
            array.flags.writeable = False
    for one, other in zip(*sums, strict=True):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(filled(data, some_ranks(data, 0), 0), expected, strict=True):
        np.testing.assert_array_equal(one, other)


# Working models ----------------------------------------------------------------------------------


@given(rows(), SEEDS)
@examples(40)
def test_working_cells(data: Rows, seed: int):
    """`find_cells` finds a row's cell; `add_working_cells` has the sums of `fill_cells`."""
    data = ranked(data, some_ranks(data, seed))
    identity = [np.arange(levels, dtype=np.int32) for levels in data.n_levels]
    cell_start, levels, values = filled(data, identity, 0)
    found = np.empty(len(data.weights), np.int32)
    working.find_cells(*data.codes, cell_start, levels, found)
    first = np.repeat(np.arange(data.n_levels[0]), np.diff(cell_start))
    np.testing.assert_array_equal(first[found], data.codes[0])
    np.testing.assert_array_equal(levels[found], data.codes[1])
    sums = np.zeros_like(values)
    working.add_working_cells(found, data.weights, data.slopes, *data.effects, sums)
    expected = data.Z(0).T @ (data.Z(1) * data.weights[:, None])
    same(as_matrix(cell_start, levels, sums, data.n_levels[1]), expected)


@given(rows(), SEEDS)
@examples(40)
def test_working_blocks(data: Rows, seed: int):
    L, Q, P = data.n_levels[0], len(data.effects[0]), data.dense.shape[1]
    rng = np.random.default_rng(seed)
    own, with_dense = rng.standard_normal((L, Q, Q)), rng.standard_normal((L, Q, P + 1))
    expected = own.copy(), with_dense.copy()
    working.add_working_blocks(
        data.codes[0], data.weights, data.linear, data.slopes, data.effects[0], data.dense,
        own, with_dense,
    )  # fmt: skip
    Z = data.Z(0).reshape(-1, L, Q)
    weighted = np.column_stack([data.weights[:, None] * data.dense, data.linear])
    same(own, expected[0] + np.einsum("i,ilq,ils->lqs", data.weights, Z, Z))
    same(with_dense, expected[1] + np.einsum("ilq,ip->lqp", Z, weighted))


@given(rows(), SEEDS)
@examples(40)
def test_dense_products(data: Rows, seed: int):
    """Lower triangle; the square of a response whose weight is zero is left out."""
    weights = data.weights * (np.random.default_rng(seed).random(len(data.weights)) < 0.8)
    P = data.dense.shape[1]
    out = np.zeros((P + 1, P + 1))
    working.add_dense_products(weights, data.linear, data.dense, out)
    expected = np.zeros_like(out)
    expected[:P, :P] = np.tril(data.dense.T @ (data.dense * weights[:, None]))
    expected[P, :P] = data.linear @ data.dense
    used = weights > 0.0
    expected[P, P] = (data.linear[used] ** 2 / weights[used]).sum()
    same(out, expected)


@given(rows(), SEEDS)
@examples(25)
def test_fixed_effects(data: Rows, seed: int):
    coefficients = np.random.default_rng(seed).standard_normal(data.dense.shape[1])
    out = data.linear.copy()
    working.add_fixed_effects(data.dense, coefficients, out)
    same(out, data.linear + data.dense @ coefficients)


# Predictions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("read_only", [False, True])
@given(data=rows(), seed=SEEDS)
@examples(20)
def test_effects_of_rows(data: Rows, seed: int, read_only: bool):
    """Rows of an unknown level add nothing to means, and the prior to variances."""
    rng = np.random.default_rng(seed)
    L, Q, J, n = data.n_levels[0], len(data.effects[0]), 3, len(data.weights)
    known = rng.random(n) < 0.8
    codes = np.where(known, data.codes[0], -1).astype(np.int32)
    basis, means = data.basis(0), rng.standard_normal((L, Q))
    roots, root = rng.standard_normal((L, Q, Q)), rng.standard_normal((Q, Q))
    covariances, prior = roots @ roots.transpose(0, 2, 1), root @ root.T
    coupling, shared = rng.standard_normal((L, Q, J)), rng.standard_normal((n, J))
    if read_only:
        for array in (codes, basis):
            array.flags.writeable = False
    own = np.where(known[:, None], means[codes], 0.0)
    out = data.linear.copy()
    prediction.add_intercept_effects(codes, means, out)
    same(out, data.linear + own[:, 0])
    out = data.linear.copy()
    prediction.add_effects(codes, basis, means, out)
    same(out, data.linear + (basis * own).sum(axis=1))
    out = data.linear.copy()
    prediction.add_level_variances(codes, basis, covariances, prior, out)
    matrices = np.where(known[:, None, None], covariances[codes], prior)
    same(out, data.linear + np.einsum("iq,iqs,is->i", basis, matrices, basis))
    out = shared.copy()
    prediction.add_coupled(codes, basis, coupling, out)
    loadings = np.where(known[:, None, None], coupling[codes], 0.0)
    same(out, shared + np.einsum("iq,iqj->ij", basis, loadings))
    out = data.linear.copy()
    prediction.add_squared_norms(shared, out)
    same(out, data.linear + (shared**2).sum(axis=1))


@pytest.mark.parametrize("n_terms", [0, 1, 3])
@pytest.mark.parametrize("width", [0, 8, 16])
def test_squared_loadings(n_terms: int, width: int):
    rng = np.random.default_rng(n_terms)
    places = rng.integers(20, size=(50, n_terms)).astype(np.int32)
    amounts, columns = rng.standard_normal((50, n_terms)), rng.standard_normal((20, width))
    squares = np.einsum("ik,ikj->ij", amounts, columns[places]) ** 2
    before = rng.standard_normal(50)
    for fourths in (np.empty(0), np.full(50, np.nan)):
        out = before.copy()
        add_squared_loadings(places, amounts, columns, out, fourths)
        same(out, before + squares.sum(axis=1))
    same(fourths, (squares**2).sum(axis=1))


@given(data=rows(), seed=SEEDS)
@examples(30)
def test_columns_by_level(data: Rows, seed: int):
    rng = np.random.default_rng(seed)
    L, Q, J, n = data.n_levels[0], len(data.effects[0]), 3, len(data.weights)
    codes, basis, levels = data.codes[0], data.basis(0), np.eye(L)[data.codes[0]]
    values = rng.standard_normal((n, J))
    sums, start = rng.standard_normal((L, Q, J)), rng.standard_normal((L, Q, Q, J))
    out = sums.copy()
    response.add_level_sums(codes, basis, values, out)
    same(out, sums + np.einsum("il,iq,ij->lqj", levels, basis, values))
    out = start.copy()
    response.add_level_moments(codes, basis, values, out)
    same(out, start + np.einsum("il,iq,is,ij->lqsj", levels, basis, basis, values))
    out = values.copy()
    response.add_level_forms(codes, basis, start, out)
    same(out, values + np.einsum("iq,iqsj,is->ij", basis, start[codes], basis))


# Expectations by rows ----------------------------------------------------------------------------


@given(st.integers(0, 12), SEEDS)
@examples(15)
def test_expectations_of_rows_are_those_of_each(n: int, seed: int):
    """Those of one row are compared with long sums among the tests of likelihoods."""
    rng = np.random.default_rng(seed)
    mean = 6.0 * rng.standard_normal(n)
    variance = np.exp(3.0 * rng.standard_normal(n)) * (rng.random(n) < 0.9)
    # rows side by side have nodes enough for the widest of them, which moves the last digits
    for one, many, tolerance in (
        (expectations.expected_softplus, expected_softplus_rows, 1e-12),
        (normal_links.expected_log_normal_cdf, normal_links.expected_log_normal_cdf_rows, 0.0),
    ):
        found = np.full((3, n), np.nan)
        many(mean, variance, *found)
        expected = [one(m, v) for m, v in zip(mean, variance, strict=True)]
        np.testing.assert_allclose(found.T, np.reshape(expected, (n, 3)), rtol=tolerance)
    upper = mean + np.where(rng.random(n) < 0.2, np.inf, rng.uniform(0.1, 3.0, n))
    found, row = np.full((n, 7), np.nan), np.empty(7)
    normal_links.expected_log_normal_interval_rows(mean, upper, variance, found)
    for i in range(n):
        normal_links.expected_log_normal_interval(mean[i], upper[i], variance[i], row)
        np.testing.assert_array_equal(found[i], row)
