"""Compiled passes over the levels of an eliminated factor and its tail against dense matrices."""

from __future__ import annotations

import numpy as np
import pytest
from cell_data import Cells, Rows, cells, rows
from hypothesis import given
from hypothesis import strategies as st
from property_data import examples
from scipy.linalg import block_diag
from test_properties_kernels_rows import as_matrix, filled, same, some_ranks

from skmixed._kernels import cell_passes as sparse_tail
from skmixed._kernels import dense_tail as tail
from skmixed._kernels import elimination, working
from skmixed._kernels.arguments import (
    FactorCells,
    LevelCells,
    LevelInverses,
    RowPlaces,
    TailColumns,
)

SEEDS = st.integers(0, 2**32 - 1)
CUTS = st.integers(0, 6)


def near(found: np.ndarray, expected: np.ndarray, size: float = 1.0) -> None:
    """Equal but for rounding of the inverses of matrices of moderate condition."""
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10 * size)


def parts(cut: int, last: int) -> list[tuple[int, int]]:
    """A range in two pieces, of which one may be empty."""
    return [(0, min(cut, last)), (min(cut, last), last)]


def symmetric(rng: np.random.Generator, size: int) -> np.ndarray:
    root = rng.standard_normal((size, size))
    return root @ root.T


def lower(matrix: np.ndarray) -> np.ndarray:
    """The lower triangle, with numbers above it that must not be read."""
    return np.where(np.tri(len(matrix), dtype=bool), matrix, np.nan)


# Elimination -----------------------------------------------------------------------------------


@given(cells())
@examples(60)
def test_shrink_levels(data: Cells):
    shrink, omega_shrunk, precision_shrunk = (np.empty_like(data.own) for _ in range(3))
    log_det = elimination.shrink_levels(
        data.own, data.scale, shrink, omega_shrunk, precision_shrunk
    )
    inner = np.eye(len(data.scale)) + data.own @ data.omega
    assert log_det == pytest.approx(np.linalg.slogdet(inner)[1].sum(), rel=1e-9, abs=1e-10)
    near(shrink, data.shrink)
    near(omega_shrunk, data.middle)
    near(precision_shrunk, data.shrink @ data.own)


@given(cells(), CUTS)
@examples(60)
def test_subtract_cells(data: Cells, cut: int):
    """Rows in two parts; nothing above the diagonal is touched."""
    of_tail = data.full[:, :, : data.full.shape[2] - data.with_dense.shape[2]]
    size = of_tail.shape[2]
    before = symmetric(np.random.default_rng(cut), size)
    out = before.copy()
    for bounds in parts(cut, size):
        elimination.subtract_cells(*data.compressed, data.middle, bounds, out)
    taken = np.einsum("lqt,lqs,lsu->tu", of_tail, data.middle, of_tail)
    near(out, before - np.tril(taken), 1.0 + np.abs(taken).max(initial=0.0))


@given(cells(), SEEDS, CUTS)
@examples(60)
def test_tail_quadratic_forms(data: Cells, seed: int, cut: int):
    covariance = symmetric(np.random.default_rng(seed), data.full.shape[2])
    out = np.full_like(data.own, np.nan)
    for first, last in parts(cut, data.n_levels):
        elimination.tail_quadratic_forms(
            LevelCells(*data.compressed, data.with_dense),
            data.shrink, lower(covariance), first, last, out,
        )  # fmt: skip
    expected = data.reduced @ covariance @ data.reduced.transpose(0, 2, 1)
    near(out, expected, 1.0 + np.abs(expected).max(initial=0.0))


# The dense tail ----------------------------------------------------------------------------------


@pytest.mark.parametrize("transposed", [False, True])
@given(
    sizes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), max_size=3),
    seed=SEEDS, cut=CUTS,
)  # fmt: skip
@examples(25)
def test_mix_tail(sizes: list[tuple[int, int]], seed: int, cut: int, transposed: bool):
    """T' raw T + diagonal, and T raw T' + diagonal, with T of blocks by level."""
    rng = np.random.default_rng(seed)
    width = max([q for _, q in sizes], default=1)
    scales = [np.tril(rng.standard_normal((q, q))) for _, q in sizes]
    blocks = [np.kron(np.eye(n), T) for (n, _), T in zip(sizes, scales, strict=True)]
    Mix = block_diag(np.zeros((0, 0)), *blocks)
    Mix = Mix.T if transposed else Mix
    size = len(Mix)
    first, mix, begin = np.arange(size), np.zeros((size, width)), 0
    for n, q in sizes:
        for column in range(begin, begin + n * q):
            level = begin + (column - begin) // q * q
            first[column] = level
            mix[column, :q] = Mix[level : level + q, column]
        begin += n * q
    raw, diagonal = symmetric(rng, size + 2), rng.uniform(size=size)
    out = np.zeros((size, size))
    for begin, stop in parts(cut, size):
        tail.mix_tail(lower(raw), first, mix, diagonal, begin, stop, out)
    expected = Mix.T @ raw[:size, :size] @ Mix + np.diag(diagonal)
    near(out, np.tril(expected), 1.0 + np.abs(expected).max(initial=0.0))


# The sparse tail ----------------------------------------------------------------------------------


@given(cells(), SEEDS, CUTS, st.sampled_from([0, 1, 3, 8, 17]))
@examples(50)
def test_products_with_cells(data: Cells, seed: int, cut: int, m: int):
    rng = np.random.default_rng(seed)
    C = data.full[:, :, : data.n_tail]
    vectors = rng.standard_normal((data.n_tail, m))
    amounts = rng.standard_normal((*data.own.shape[:2], m))
    product, spread = (rng.standard_normal((data.n_tail, m)) for _ in range(2))
    gathered = rng.standard_normal(amounts.shape)
    expected = (
        product - np.einsum("lqt,lqs,lsu->tu", C, data.middle, C) @ vectors,
        gathered + C @ vectors,
        spread + np.einsum("lqt,lqj->tj", C, amounts),
    )
    for first, last in parts(cut, data.n_levels):
        sparse_tail.subtract_product(*data.compressed, data.middle, vectors, first, last, product)
        sparse_tail.gather_cells(*data.compressed, vectors, first, last, gathered)
        sparse_tail.scatter_cells(*data.compressed, amounts, first, last, spread)
    for found, wanted in zip((product, gathered, spread), expected, strict=True):
        near(found, wanted, 1.0 + np.abs(wanted).max(initial=0.0))


@given(cells(), SEEDS, CUTS, st.integers(0, 3))
@examples(20)
def test_gather_dense(data: Cells, seed: int, cut: int, m: int):
    """The first columns of the dense part."""
    used = min(2, data.with_dense.shape[2])
    dense = np.random.default_rng(seed).standard_normal((used, m))
    out = np.full((*data.own.shape[:2], m), np.nan)
    for first, last in parts(cut, data.n_levels):
        sparse_tail.gather_dense(data.with_dense, dense, first, last, out)
    near(out, data.with_dense[:, :, :used] @ dense)


@given(cells(), CUTS)
@examples(40)
def test_reduce_tail(data: Cells, cut: int):
    """Into columns of one array, which lie apart."""
    C, D = data.full[:, :, : data.n_tail], data.with_dense
    widest = int(data.n_siblings.max(initial=1))
    both = np.zeros((data.n_tail, D.shape[2] + widest))
    for first, last in parts(cut, data.n_levels):
        sparse_tail.reduce_tail(
            LevelCells(*data.compressed, D), data.middle,
            TailColumns(data.effect, data.n_siblings), first, last,
            both[:, : D.shape[2]], both[:, D.shape[2] :],
        )  # fmt: skip
    near(both[:, : D.shape[2]], -np.einsum("lqt,lqs,lsp->tp", C, data.middle, D))
    taken = np.einsum("lqt,lqs,lsu->tu", C, data.middle, C)
    expected = np.zeros((data.n_tail, widest))
    for column, (number, width) in enumerate(zip(data.effect, data.n_siblings, strict=True)):
        begin = column - number
        expected[column, :width] = -taken[column, begin : begin + width]
    near(both[:, D.shape[2] :], expected, 1.0 + np.abs(expected).max(initial=0.0))
    if widest == data.middle.shape[1] == 1:
        in_lanes = np.zeros((data.n_tail, 8 * (D.shape[2] // 8 + 1)))
        for first, last in parts(cut, data.n_levels):
            sparse_tail.reduce_intercepts(
                LevelCells(*data.compressed, D), data.middle, D.shape[2], first, last, in_lanes
            )
        near(in_lanes[:, : both.shape[1]], both, 1.0 + np.abs(both).max(initial=0.0))
        assert not in_lanes[:, both.shape[1] :].any()


@given(st.integers(0, 5), st.integers(1, 3), st.integers(0, 3), SEEDS)
@examples(25)
def test_multiply_levels(n_levels: int, n_effects: int, m: int, seed: int):
    rng = np.random.default_rng(seed)
    blocks = rng.standard_normal((n_levels, n_effects, n_effects))
    vectors = rng.standard_normal((n_levels * n_effects, m))
    out = np.full_like(vectors, np.nan)
    sparse_tail.multiply_levels(blocks, vectors, out)
    same(out, block_diag(np.zeros((0, 0)), *blocks) @ vectors)


@pytest.mark.parametrize("swapped", [False, True])
@given(data=rows(), seed=SEEDS, cut=CUTS)
@examples(20)
def test_add_pair_product(data: Rows, seed: int, cut: int, swapped: bool):
    pair = filled(data, some_ranks(data, seed), 0)
    matrix = as_matrix(*pair, data.n_levels[1])
    n_first, n_second = matrix.shape
    first, second = (n_second, 0) if swapped else (0, n_first)
    both = np.zeros((n_first + n_second, n_first + n_second))
    both[first : first + n_first, second : second + n_second] = matrix
    vectors = np.random.default_rng(seed).standard_normal((len(both), 2))
    out = vectors[::-1].copy()
    for begin, stop in parts(cut, data.n_levels[0]):
        sparse_tail.add_pair_product(FactorCells(*pair), vectors, first, second, begin, stop, out)
    same(out, vectors[::-1] + (both + both.T) @ vectors)


# Variances of rows -------------------------------------------------------------------------------


@given(cells(), SEEDS, CUTS, st.integers(0, 3))
@examples(50)
def test_fill_row_variances(data: Cells, seed: int, cut: int, rows_a_level: int):
    """Rows that load on the effects of their level and of one cell, if there is one."""
    rng = np.random.default_rng(seed)
    L, Q = data.own.shape[:2]
    P, T = data.with_dense.shape[2], data.n_tail
    counts = rng.integers(0, rows_a_level + 1, L)
    level = np.repeat(np.arange(L), counts)
    n = len(level)
    met = np.diff(data.start)
    # one tail factor to load on, where every level of a row has a cell of it
    has_tail = bool(T) and bool((met[level] > 0).all())
    sizes = np.array([data.n_siblings[0]] if has_tail else [], np.int64)
    places = np.zeros((n, len(sizes)), np.int32)
    if has_tail:
        for i, l in enumerate(level):
            here = data.columns[data.start[l] : data.start[l + 1]]
            first_of = np.flatnonzero(
                (data.effect[here] == 0) & (data.n_siblings[here] == sizes[0])
            )
            if not len(first_of):
                return
            places[i, 0] = rng.choice(first_of)
    slopes, fixed = rng.standard_normal((n, 3)), rng.standard_normal((n, P))
    own_effects = np.arange(Q) - 1
    tail_effects = np.arange(-1, 1)[None].repeat(len(sizes), axis=0)
    covariance = symmetric(rng, T + P)
    out = np.full(n, np.nan)
    for first, last in parts(cut, L):
        working.fill_row_variances(
            RowPlaces(
                np.concatenate([[0], np.cumsum(counts)]), places, slopes,
                own_effects, tail_effects, sizes,
            ),
            LevelCells(*data.compressed, data.with_dense),
            LevelInverses(data.shrink, data.omega, data.middle),
            fixed, lower(covariance), first, last, out,
        )  # fmt: skip
    loadings = np.column_stack([slopes, np.ones(n)])
    z = loadings[:, own_effects]
    a = np.column_stack([np.zeros((n, T)), fixed])
    for i, l in enumerate(level):
        for q in range(sizes[0] if has_tail else 0):
            a[i, data.columns[data.start[l] + places[i, 0] + q]] = loadings[i, tail_effects[0, q]]
    b = a - np.einsum("iqt,qs,is->it", data.reduced[level], data.omega, z)
    expected = np.einsum("iq,iqs,is->i", z, data.middle[level], z)
    expected += np.einsum("it,tu,iu->i", b, covariance, b)
    near(out, expected, 1.0 + np.abs(expected).max(initial=0.0))
