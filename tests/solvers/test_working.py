"""Rows of a working Gaussian model against dense products of their design matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dense import DESIGNS, DenseModel, make_model
from test_crossproducts import ordered_columns, reassembled
from test_direct import close

from skmixed._kernels.working import match_rows
from skmixed.sums import working_rows as working
from skmixed.sums.cell_sums import FactorShape
from skmixed.sums.cross_products import CrossProducts
from skmixed.sums.working_rows import Loadings, WorkingRows, merge_equal_rows


def make_rows(model: DenseModel, n_threads: int = 1) -> WorkingRows:
    """The rows of a dense model, its weights being those that rank the levels."""
    shapes = [
        FactorShape(levels, 1 if basis is None else basis.shape[1], blocks)
        for levels, basis, blocks in zip(model.n_levels, model.bases, model.blocks, strict=True)
    ]
    return WorkingRows.of(
        model.codes, tuple(shapes), model.bases, model.fixed, model.response, model.weights,
        n_threads,
    )  # fmt: skip


def in_working_order(
    model: DenseModel, rows: WorkingRows, weights: np.ndarray, linear: np.ndarray
) -> DenseModel:
    """The dense model of a working response; rows and levels are those of `rows`."""
    ranks = rows.template.ranks
    moved = model.permuted(rows.order)
    return replace(
        moved,
        codes=tuple(rank[code] for rank, code in zip(ranks, moved.codes, strict=True)),
        weights=weights,
        response=linear / np.where(weights > 0.0, weights, 1.0),
    )


def working_model(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights over some orders of magnitude, and products with responses."""
    weights = np.exp(rng.normal(scale=2.0, size=n))
    return weights, weights * rng.standard_normal(n)


def linear_predictor_design(model: DenseModel) -> np.ndarray:
    """Rows of fixed effects and of all effects in design order, without weights."""
    return np.column_stack([model.X, *model.Z]) / model.root


# Order ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DESIGNS)
def test_rows_and_levels_keep_their_identity(name):
    model = make_model(name)
    rows = make_rows(model)
    assert rows.n_rows == model.n
    np.testing.assert_array_equal(np.sort(rows.order), np.arange(model.n))
    np.testing.assert_array_equal(rows.fixed, model.fixed[rows.order])
    for rank, found, code in zip(rows.template.ranks, rows.codes, model.codes, strict=True):
        np.testing.assert_array_equal(np.sort(rank), np.arange(len(rank)))
        np.testing.assert_array_equal(found, rank[code[rows.order]])
    for found, basis in zip(rows.bases, model.bases, strict=True):
        if basis is None:
            assert found is None
        else:
            np.testing.assert_array_equal(found, basis[rows.order])


@pytest.mark.parametrize("name", DESIGNS)
def test_rows_stand_by_level_of_the_eliminated_factor(name):
    rows = make_rows(make_model(name))
    eliminated = rows.arrangement.eliminated
    if eliminated is None:
        np.testing.assert_array_equal(rows.order, np.arange(rows.n_rows))
        return
    codes = rows.codes[eliminated.position]
    assert (np.diff(codes) >= 0).all()
    start = rows.by_level.row_start
    for level in range(eliminated.n_levels):
        assert (codes[start[level] : start[level + 1]] == level).all()
    assert start[-1] == rows.n_rows


@pytest.mark.parametrize("name", DESIGNS)
def test_cells_of_rows(name):
    rows = make_rows(make_model(name))
    for pair, cells in zip(rows.template.pairs, rows.cells, strict=True):
        np.testing.assert_array_equal(pair.first_levels[cells], rows.codes[pair.first])
        np.testing.assert_array_equal(pair.levels[cells], rows.codes[pair.second])


# Sums -----------------------------------------------------------------------------------


@pytest.mark.parametrize("p", [0, 1, 3])
@pytest.mark.parametrize("name", DESIGNS)
def test_cross_products(name, p):
    """A'WA, A'r and r'W^-1 r at weights other than those that ranked the levels."""
    model = make_model(name, p=p)
    rows = make_rows(model)
    rng = np.random.default_rng(4)
    for _ in range(2):
        weights, linear = working_model(rng, model.n)
        cross = rows.cross_products(weights, linear)
        A = ordered_columns(in_working_order(model, rows, weights, linear), cross)
        close(reassembled(cross), A.T @ A, rtol=1e-12)


@pytest.mark.parametrize("name", DESIGNS)
def test_rows_without_weight(name):
    """What a row of weight zero says of the mean counts, and makes nothing infinite."""
    model = make_model(name)
    rows = make_rows(model)
    rng = np.random.default_rng(5)
    weights, linear = working_model(rng, model.n)
    none = rng.random(model.n) < 0.4
    weights[none] = 0.0
    cross = rows.cross_products(weights, linear)
    dense = in_working_order(model, rows, weights, np.where(none, 0.0, linear))
    A = ordered_columns(dense, cross)
    expected = A.T @ A
    bare = replace(dense, weights=np.ones(model.n))
    pull = ordered_columns(bare, cross)[:, :-1].T @ np.where(none, linear, 0.0)
    expected[:-1, -1] += pull
    expected[-1, :-1] += pull
    close(reassembled(cross), expected, rtol=1e-12)


@pytest.mark.parametrize("name", DESIGNS)
def test_template_has_the_sums_that_ranked_the_levels(name):
    model = make_model(name)
    rows = make_rows(model)
    dense = model.permuted(rows.order)
    found = rows.cross_products(dense.weights, dense.weights * dense.response)
    close(reassembled(found), reassembled(rows.arrangement), rtol=1e-12)


def same_arrays(one: object, other: object) -> None:
    """Fields of two objects are equal, to the last bit."""
    for name, expected in vars(other).items():
        found = getattr(one, name)
        if hasattr(expected, "__dataclass_fields__"):
            same_arrays(found, expected)
        elif isinstance(expected, tuple) and any(hasattr(e, "__dict__") for e in expected):
            for a, b in zip(found, expected, strict=True):
                same_arrays(a, b)
        elif isinstance(expected, tuple):
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", DESIGNS)
def test_refilled_is_arranged_anew(name):
    """The arrangement does not depend on the sums, hence is kept."""
    rows = make_rows(make_model(name))
    found = rows.cross_products(*working_model(np.random.default_rng(6), rows.n_rows))
    expected = CrossProducts.of(found.sums)
    same_arrays(found, expected)
    np.testing.assert_array_equal(np.tril(found.dense_tail()), np.tril(expected.dense_tail()))
    for attribute in ("start", "columns", "values", "fixed_products"):
        np.testing.assert_array_equal(getattr(found, attribute), getattr(expected, attribute))


def test_refilled_leaves_the_arrangement_alone():
    rows = make_rows(make_model("slopes_in_tail"))
    before = reassembled(rows.arrangement).copy()
    rows.cross_products(*working_model(np.random.default_rng(6), rows.n_rows))
    np.testing.assert_array_equal(reassembled(rows.arrangement), before)


# The linear predictor -------------------------------------------------------------------


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of seven rows, so that a few rows make several, the last one shorter."""
    monkeypatch.setattr(working, "_CHUNK", 7)


@pytest.mark.parametrize("p", [0, 2])
@pytest.mark.parametrize("name", DESIGNS)
def test_predictor(name, p, small_chunks):
    model = make_model(name, p=p)
    rows = make_rows(model)
    rng = np.random.default_rng(7)
    weights, linear = working_model(rng, model.n)
    beta = rng.standard_normal(p)
    effects = [rng.standard_normal((f.n_levels, f.n_effects)) for f in rows.factors]
    A = linear_predictor_design(in_working_order(model, rows, weights, linear))
    expected = A @ np.concatenate([beta, *(u.ravel() for u in effects)])
    close(rows.predictor(beta, effects), expected, rtol=1e-12)


@pytest.mark.parametrize("name", DESIGNS)
def test_loaded_variances(name, small_chunks):
    """diag(A (B B' + blocks) A'), some factors without a part in B."""
    model = make_model(name)
    rows = make_rows(model)
    rng = np.random.default_rng(8)
    fixed = rng.standard_normal((2, 3))
    levels, own, loadings, covariance = [], [], [fixed], [np.zeros((2, 2))]
    for k, factor in enumerate(rows.factors):
        shape = (factor.n_levels, factor.n_effects, 3)
        load = None if k == 1 else rng.standard_normal(shape)
        root = rng.standard_normal((factor.n_levels, factor.n_effects, factor.n_effects))
        levels.append(load)
        own.append(root @ np.swapaxes(root, 1, 2))
        loadings.append(np.zeros(shape) if load is None else load)
        covariance += [*own[-1]]
    B = np.concatenate([part.reshape(-1, 3) for part in loadings])
    C = B @ B.T
    place = 0
    for block in covariance:
        here = slice(place, place + len(block))
        C[here, here] += block
        place = here.stop
    weights, linear = working_model(rng, model.n)
    A = linear_predictor_design(in_working_order(model, rows, weights, linear))
    found = rows.loaded_variances(Loadings(fixed, tuple(levels), tuple(own)))
    close(found, np.einsum("ij,jk,ik->i", A, C, A), rtol=1e-12)


@pytest.mark.parametrize("name", DESIGNS)
def test_spreads(name, small_chunks):
    """The variance between squares of A B."""
    model = make_model(name)
    rows = make_rows(model)
    rng = np.random.default_rng(10)
    fixed = rng.standard_normal((2, 5))
    levels = [rng.standard_normal((f.n_levels, f.n_effects, 5)) for f in rows.factors]
    weights, linear = working_model(rng, model.n)
    A = linear_predictor_design(in_working_order(model, rows, weights, linear))
    draws = A @ np.concatenate([fixed, *(part.reshape(-1, 5) for part in levels)])
    close(rows.spreads(fixed, levels), np.var(draws**2, axis=1, ddof=1), rtol=1e-12)


@pytest.mark.parametrize("n_threads", [1, 3])
def test_chunks_cover_all_rows_in_order(small_chunks, n_threads):
    rows = make_rows(make_model("crossed"), n_threads)
    parts = rows.by_chunks(lambda chunk: np.arange(rows.n_rows)[chunk])
    assert len(parts) == 7
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(48))


# Threads --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["no_factor", "crossed", "slopes_eliminated", "slopes_in_tail"])
def test_threads_change_no_bit(name, small_chunks):
    model = make_model(name)
    one, several = make_rows(model, 1), make_rows(model, 3)
    np.testing.assert_array_equal(one.order, several.order)
    rng = np.random.default_rng(9)
    sites = working_model(rng, model.n)
    same_arrays(several.cross_products(*sites), one.cross_products(*sites))
    effects = [rng.standard_normal((f.n_levels, f.n_effects)) for f in one.factors]
    beta = rng.standard_normal(2)
    np.testing.assert_array_equal(several.predictor(beta, effects), one.predictor(beta, effects))
    loadings = Loadings(
        rng.standard_normal((2, 4)),
        tuple(rng.standard_normal((f.n_levels, f.n_effects, 4)) for f in one.factors),
        tuple(np.zeros((f.n_levels, f.n_effects, f.n_effects)) for f in one.factors),
    )
    np.testing.assert_array_equal(
        several.loaded_variances(loadings), one.loaded_variances(loadings)
    )


# Equal rows -----------------------------------------------------------------------------


def assert_groups(columns: list[np.ndarray]) -> None:
    """Groups are those of numpy.unique, numbered in order of appearance."""
    groups = merge_equal_rows(columns)
    keys = np.column_stack(columns)
    _, inverse = np.unique(keys, axis=0, return_inverse=True)
    _, first = np.unique(inverse.ravel(), return_index=True)
    appearance = np.argsort(np.argsort(first))
    np.testing.assert_array_equal(groups, appearance[inverse.ravel()])


@pytest.mark.parametrize("n", [1, 2, 3, 64, 65, 5000])
def test_equal_rows(n):
    rng = np.random.default_rng(n)
    assert_groups(
        [rng.integers(4, size=n), rng.choice([0.1, 0.2, -0.1], n), rng.integers(2, size=n)]
    )
    assert_groups([rng.standard_normal(n)])


@pytest.mark.parametrize("n_columns", [1, 3])
def test_all_rows_equal(n_columns):
    columns = [np.full(3000, 0.25)] * n_columns
    np.testing.assert_array_equal(merge_equal_rows(columns), np.zeros(3000))


def test_rows_equal_but_for_one_number():
    """The last bit of one column, and the same numbers in another order, tell rows apart."""
    one = np.array([1.0, np.nextafter(1.0, 2.0), 1.0])
    np.testing.assert_array_equal(merge_equal_rows([one, np.zeros(3)]), [0, 1, 0])
    first, second = np.array([1.0, 2.0, 1.0]), np.array([2.0, 1.0, 2.0])
    np.testing.assert_array_equal(merge_equal_rows([first, second]), [0, 1, 0])


def test_numbers_of_every_size_and_kind():
    """Integers, booleans and the extremes of floats."""
    values = np.array([0.0, 5e-324, 1e-300, 1.0, 1e300, np.inf, -np.inf, -1.0])
    rng = np.random.default_rng(0)
    assert_groups([rng.choice(values, 500), rng.integers(2, size=500).astype(bool)])
    codes = np.array([2**31 - 1, 0, 2**31 - 1], np.int32)
    np.testing.assert_array_equal(merge_equal_rows([codes]), [0, 1, 0])


def test_zero_of_either_sign_joins_no_other_row():
    """-0.0 equals 0.0; rows that differ in it alone may or may not be one group."""
    signed = np.array([0.0, -0.0, 1.0, -0.0, 0.0])
    groups = merge_equal_rows([signed, np.array([3.0, 3.0, 3.0, 3.0, 3.0])])
    assert groups[0] == groups[4]
    assert groups[1] == groups[3]
    assert (groups == groups[2]).sum() == 1


@pytest.mark.parametrize("n_hashes", [1, 2, 5])
def test_different_rows_with_equal_hashes(n_hashes):
    """Rows of one hash, or of one slot of the table, are told apart by their numbers."""
    rng = np.random.default_rng(1)
    keys = rng.integers(6, size=(200, 2)).astype(float)
    expected = merge_equal_rows([*keys.T])
    for stride in (1, 512):
        # equal rows have equal hashes; with a stride of the table's size so have all slots
        hashes = (keys[:, 0] % n_hashes).astype(np.int64) * stride
        groups = np.empty(200, np.int32)
        n_groups = match_rows(keys, hashes, np.full(512, -1, np.int32), groups)
        assert n_groups == groups.max() + 1
        np.testing.assert_array_equal(groups, expected)


def test_sequential_numbers_do_not_crowd():
    """Codes 0, 1, 2, ... of two factors: the table is searched in no time."""
    first, second = np.divmod(np.arange(200_000), 447)
    groups = merge_equal_rows([first, second, np.ones(200_000)])
    np.testing.assert_array_equal(groups, np.arange(200_000))
