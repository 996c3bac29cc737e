"""Sums of parts against the sums over all rows."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from dense import DESIGNS, make_model
from test_crossproducts import ordered_columns, reassembled

from skmixed.sums.cell_sums import CellSums, FactorShape, PairCells, accumulate, row_chunks
from skmixed.sums.cross_products import CrossProducts

WITH_FACTORS = [name for name in DESIGNS if name != "no_factor"]


def part_of(model, rows):
    """The sums over some rows, and the model's codes of their levels.

    As a partition that has not seen the others: levels are numbered anew, in
    an order of their own.
    """
    codes, maps = [], []
    for code in model.codes:
        known, own = np.unique(code[rows], return_inverse=True)
        known, own = known[::-1], len(known) - 1 - own
        codes.append(own.astype(np.int32))
        maps.append(known.astype(np.int64))
    part = replace(
        model,
        codes=tuple(codes),
        n_levels=tuple(len(known) for known in maps),
        bases=tuple(None if basis is None else basis[rows] for basis in model.bases),
        fixed=model.fixed[rows],
        response=model.response[rows],
        weights=model.weights[rows],
    )
    return part.sums(), tuple(maps)


def identity_maps(n_levels):
    return tuple(np.arange(levels) for levels in n_levels)


def assert_same(found: CellSums, expected: CellSums, rtol=1e-12):
    """The same numbers at the same cells, whichever factor of a pair comes first."""
    assert found.factors == expected.factors
    np.testing.assert_allclose(found.dense, expected.dense, rtol=rtol, atol=rtol)
    for name in ("own", "with_dense"):
        for a, b in zip(getattr(found, name), getattr(expected, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    for a, b in zip(found.pairs, expected.pairs, strict=True):
        if a.first != b.first:
            a = a.transposed(expected.factors[a.second].n_levels)
        assert (a.first, a.second) == (b.first, b.second)
        np.testing.assert_array_equal(a.start, b.start)
        np.testing.assert_array_equal(a.levels, b.levels)
        np.testing.assert_allclose(a.values, b.values, rtol=rtol, atol=rtol)


def arrays_of(sums: CellSums) -> list[np.ndarray]:
    cells = [getattr(pair, name) for pair in sums.pairs for name in ("start", "levels", "values")]
    return [sums.dense, *sums.own, *sums.with_dense, *cells]


@pytest.mark.parametrize("cut", [0, 1, 5, 24])
@pytest.mark.parametrize("name", DESIGNS)
def test_merge(name, cut):
    """Two parts that know different levels; one may have no rows at all."""
    model = make_model(name)
    one, one_maps = part_of(model, slice(0, cut))
    two, two_maps = part_of(model, slice(cut, None))
    assert_same(one.merge(two, model.n_levels, one_maps, two_maps), model.sums())
    assert_same(two.merge(one, model.n_levels, two_maps, one_maps), model.sums())


@pytest.mark.parametrize("name", DESIGNS)
def test_merge_is_associative(name):
    model = make_model(name)
    parts = [part_of(model, rows) for rows in (slice(0, 7), slice(7, 15), slice(15, None))]
    n_levels, everything = model.n_levels, identity_maps(model.n_levels)
    (a, a_maps), (b, b_maps), (c, c_maps) = parts
    left = a.merge(b, n_levels, a_maps, b_maps).merge(c, n_levels, everything, c_maps)
    right = a.merge(b.merge(c, n_levels, b_maps, c_maps), n_levels, a_maps, everything)
    assert_same(left, right)
    assert_same(left, model.sums())


def test_merge_when_the_larger_factor_changes():
    """Five levels by two in one part, two by seven in the other: pairs are stored crosswise."""
    rng = np.random.default_rng(0)
    model = make_model("equal_sizes", n=40)
    first = np.r_[rng.integers(5, size=20), rng.integers(2, size=20)].astype(np.int32)
    second = np.r_[rng.integers(2, size=20), rng.integers(7, size=20)].astype(np.int32)
    first[:5], second[20:27] = np.arange(5), np.arange(7)
    model = replace(model, codes=(first, second), n_levels=(5, 7))
    one, one_maps = part_of(model, slice(0, 20))
    two, two_maps = part_of(model, slice(20, None))
    assert one.pairs[0].first == 0
    assert two.pairs[0].first == 1
    for merged in (
        one.merge(two, (5, 7), one_maps, two_maps),
        two.merge(one, (5, 7), two_maps, one_maps),
    ):
        assert_same(merged, model.sums())
        cross = CrossProducts.of(merged)
        A = ordered_columns(model, cross)
        np.testing.assert_allclose(reassembled(cross), A.T @ A, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", DESIGNS)
def test_relabelled(name):
    """New numbers for all levels, and some levels without rows."""
    model = make_model(name)
    rng = np.random.default_rng(1)
    n_levels = tuple(levels + 3 for levels in model.n_levels)
    maps = tuple(
        rng.permutation(more)[:levels]
        for levels, more in zip(model.n_levels, n_levels, strict=True)
    )
    codes = (new[code].astype(np.int32) for new, code in zip(maps, model.codes, strict=True))
    renumbered = replace(model, codes=tuple(codes), n_levels=n_levels)
    assert_same(model.sums().relabelled(n_levels, maps), renumbered.sums())


@pytest.mark.parametrize("name", DESIGNS)
def test_transformed(name):
    """As if the columns had been transformed before they were summed."""
    model = make_model(name)
    rng = np.random.default_rng(2)
    dense = rng.standard_normal((3, 3))
    bases = [
        np.eye(1) if basis is None else rng.standard_normal((basis.shape[1],) * 2)
        for basis in model.bases
    ]
    columns = np.column_stack([model.fixed, model.response]) @ dense
    turned = replace(
        model,
        fixed=columns[:, :-1],
        response=columns[:, -1],
        bases=tuple(
            None if basis is None else basis @ b
            for basis, b in zip(model.bases, bases, strict=True)
        ),
    )
    assert_same(model.sums().transformed(dense, tuple(bases)), turned.sums(), rtol=1e-11)


def test_transformed_intercepts_are_scaled():
    model = make_model("crossed")
    bases = tuple(np.array([[scale]]) for scale in (2.0, 3.0, 1.0))
    scaled = model.sums().transformed(np.eye(3), bases)
    columns = tuple(np.full((model.n, 1), b.item()) for b in bases)
    assert_same(scaled, replace(model, bases=columns).sums())


def dense_pair(pair: PairCells, n_second: int) -> np.ndarray:
    q1, q2 = pair.values.shape[1:]
    out = np.zeros((len(pair.start) - 1, q1, n_second, q2))
    for l in range(len(out)):
        for k in range(pair.start[l], pair.start[l + 1]):
            out[l, :, pair.levels[k], :] = pair.values[k]
    return out.reshape(len(out) * q1, n_second * q2)


@pytest.mark.parametrize("name", [name for name in WITH_FACTORS if len(DESIGNS[name]) > 1])
def test_transposed_pairs(name):
    model = make_model(name)
    for pair in model.sums().pairs:
        n_first, n_second = model.n_levels[pair.first], model.n_levels[pair.second]
        expected = model.Z[pair.first].T @ model.Z[pair.second]
        np.testing.assert_allclose(dense_pair(pair, n_second), expected, atol=1e-13)
        turned = pair.transposed(n_second)
        assert (turned.first, turned.second) == (pair.second, pair.first)
        np.testing.assert_allclose(dense_pair(turned, n_first), expected.T, atol=1e-13)
        again = turned.transposed(n_first)
        for field in fields(pair):
            np.testing.assert_array_equal(getattr(again, field.name), getattr(pair, field.name))


@pytest.mark.parametrize("name", ["slopes_in_tail", "uncorrelated"])
def test_input_is_read_only(name):
    """Sums that came from another process or a memory map; nothing is written into them."""
    model = make_model(name)
    one, one_maps = part_of(model, slice(0, 20))
    two, two_maps = part_of(model, slice(20, None))
    for array in [*arrays_of(one), *arrays_of(two), *one_maps, *two_maps]:
        array.flags.writeable = False
    assert_same(one.merge(two, model.n_levels, one_maps, two_maps), model.sums())
    one.transformed(np.eye(3), tuple(2.0 * np.eye(f.n_effects) for f in one.factors))


def test_merge_shares_no_memory():
    model = make_model("slopes_in_tail")
    sums = model.sums()
    copy = sums.relabelled(model.n_levels, identity_maps(model.n_levels))
    for a, b in zip(arrays_of(sums), arrays_of(copy), strict=True):
        assert not np.shares_memory(a, b)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_rows_in_chunks(monkeypatch, n_threads):
    """Dense columns are asked for chunk by chunk."""
    monkeypatch.setattr("skmixed.sums.cell_sums._CHUNK", 10)
    assert [(rows.start, rows.stop) for rows in row_chunks(25)] == [(0, 10), (10, 20), (20, 25)]
    model = make_model("slopes_in_tail")
    columns = np.vstack([model.fixed.T, model.response])
    asked = []

    def dense(rows):
        asked.append(rows)
        return np.ascontiguousarray(columns[:, rows])

    shapes = tuple(
        FactorShape(levels, 1 if basis is None else basis.shape[1], blocks)
        for levels, basis, blocks in zip(model.n_levels, model.bases, model.blocks, strict=True)
    )
    sums = accumulate(model.codes, shapes, model.bases, dense, model.weights, n_threads)
    assert max(rows.stop - rows.start for rows in asked) == 10
    monkeypatch.undo()
    assert_same(sums, model.sums())
