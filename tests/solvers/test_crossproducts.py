"""Sums over rows against dense products of design matrices."""

from __future__ import annotations

import numpy as np
import pytest
from dense import DESIGNS, level_blocks, make_model

from skmixed.solvers.eliminated_levels import subtract_eliminated
from skmixed.sums import cell_sums as cellsums
from skmixed.sums.cell_sums import order_by_pairs


def reassembled(cross):
    """All cross-products as one symmetric matrix: eliminated, tail, fixed, response."""
    lower = np.tril(cross.dense_tail())
    tail = lower + np.tril(lower, -1).T
    if cross.eliminated is None:
        return tail
    size = cross.eliminated.size
    levels, q = cross.eliminated.n_levels, cross.eliminated.n_effects
    matrix = np.zeros((size + len(tail), size + len(tail)))
    matrix[size:, size:] = tail
    for l in range(levels):
        here = slice(l * q, (l + 1) * q)
        matrix[here, here] = cross.own[l]
        for k in range(cross.start[l], cross.start[l + 1]):
            matrix[here, size + cross.columns[k]] += cross.values[k]
        matrix[here, size + cross.n_tail :] = cross.with_dense[l]
    matrix[size:, :size] = matrix[:size, size:].T
    return matrix


def ordered_columns(model, cross):
    """The whitened design, its columns in the order of `reassembled`."""
    eliminated = [] if cross.eliminated is None else [cross.eliminated]
    factors = [*eliminated, *cross.tail_factors]
    return np.column_stack([*(model.Z[f.position] for f in factors), model.X, model.y])


@pytest.mark.parametrize("p", [0, 1, 3])
@pytest.mark.parametrize("name", DESIGNS)
def test_accumulate(name, p):
    model = make_model(name, p=p)
    cross = model.cross()
    A = ordered_columns(model, cross)
    np.testing.assert_allclose(reassembled(cross), A.T @ A, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("p", [0, 3])
@pytest.mark.parametrize("name", DESIGNS)
def test_products_with_vectors(name, p):
    cross = make_model(name, p=p).cross()
    if cross.eliminated is None:
        return
    rng, size, (L, Q) = np.random.default_rng(0), cross.eliminated.size, cross.own.shape[:2]
    C = reassembled(cross)[:size, size:]
    vectors, effects = rng.standard_normal((cross.size, 2)), rng.standard_normal((L, Q, 3))
    near = {"rtol": 1e-10, "atol": 1e-9}
    np.testing.assert_allclose(cross.gather(vectors).reshape(size, 2), C @ vectors, **near)
    np.testing.assert_allclose(cross.scatter(effects), C.T @ effects.reshape(size, 3), **near)
    middle = rng.standard_normal((L, 2 * Q, 2 * Q))
    middle += middle.swapaxes(1, 2)
    twice, out = np.concatenate(2 * [C.reshape(L, Q, -1)], axis=1), np.zeros(2 * (cross.size,))
    subtract_eliminated([cross, cross], middle, out)
    explained = np.einsum("lqt,lqs,lsu->tu", twice, middle, twice)
    np.testing.assert_allclose(np.tril(out), -np.tril(explained), **near)


@pytest.mark.parametrize("name", DESIGNS)
def test_layout(name):
    model = make_model(name)
    cross = model.cross()
    assert [factor.position for factor in cross.factors] == list(range(len(model.Z)))
    assert [factor.size for factor in cross.factors] == [Z.shape[1] for Z in model.Z]
    assert cross.n_tail == sum(factor.size for factor in cross.tail_factors)
    if cross.eliminated is not None:
        assert cross.eliminated.size == max(Z.shape[1] for Z in model.Z)
    stop = 0
    for factor in cross.tail_factors:
        assert factor.start == stop
        stop = factor.columns.stop
    for begin, end in zip(cross.start[:-1], cross.start[1:], strict=True):
        assert (np.diff(cross.columns[begin:end]) > 0).all()


@pytest.mark.parametrize("name", DESIGNS)
def test_effect_precisions(name):
    model = make_model(name)
    cross = model.cross()
    for factor, Z in zip(cross.factors, model.Z, strict=True):
        blocks = level_blocks(Z.T @ Z, factor.n_effects)
        expected = np.diagonal(blocks, axis1=1, axis2=2)
        np.testing.assert_allclose(cross.effect_precisions(factor), expected, rtol=1e-12)


@pytest.mark.parametrize("name", DESIGNS)
def test_rows_in_another_order(name):
    model = make_model(name)
    order = np.random.default_rng(1).permutation(model.n)
    np.testing.assert_allclose(
        reassembled(model.permuted(order).cross()),
        reassembled(model.cross()),
        rtol=1e-12,
        atol=1e-12,
    )


def test_read_only_input():
    """Memory-mapped columns cannot be written to."""
    model = make_model("slopes_in_tail")
    expected = reassembled(model.cross())
    arrays = [*model.codes, model.fixed, model.response, model.weights]
    for array in arrays + [basis for basis in model.bases if basis is not None]:
        array.flags.writeable = False
    np.testing.assert_array_equal(reassembled(model.cross()), expected)


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_order_by_pairs(chunk, monkeypatch):
    monkeypatch.setattr(cellsums, "_CHUNK", chunk)
    first, second = np.array([2, 0, 2, 1, 0], np.int32), np.array([1, 1, 0, 0, 0], np.int32)
    ranks = np.arange(4, dtype=np.int32), np.arange(2, dtype=np.int32)
    start, rows, cell_start = order_by_pairs(first, ranks[0], second, ranks[1])
    assert start.tolist() == [0, 2, 3, 5, 5]
    assert rows.tolist() == [[4, 0], [1, 1], [3, 0], [2, 0], [0, 1]]
    assert cell_start.tolist() == [0, 2, 3, 5, 5]
    _, rows, _ = order_by_pairs(first, ranks[0][::-1].copy(), second, ranks[1])
    assert rows[:, 0].tolist() == [2, 0, 3, 4, 1]
