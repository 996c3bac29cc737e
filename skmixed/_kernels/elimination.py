"""Passes over the levels of the eliminated factor.

Words as in `skmixed._kernels.cells`. With D_l (Q, Q) a level's own
cross-products, C_l (Q, T + P) its cross-products with the tail and Omega
(Q, Q) the covariance of the effects relative to the noise variance,

    reduced_l = (I + D_l Omega)^-1 C_l        (Q, T + P)

is what all passes need. It is never stored: `shrink` (L, Q, Q) holds
(I + D_l Omega)^-1, and a pass multiplies the cells of a level as it meets them.

A level with one effect has passes of its own: they are faster, and a fit compiles only
those that it needs.
"""

from typing import Any

import numpy as np

from skmixed._kernels.arguments import LevelCells
from skmixed._kernels.compile import kernel

_BLOCK = 1024
"""Levels summed on their own before they are added to the rest."""


def shrink_levels(
    own: Any, factor: Any, shrink: Any, omega_shrunk: Any, precision_shrunk: Any
) -> float:
    """Fill the small inverses of every level; return sum_l log|I + D_l Omega|.

    `factor` (Q, Q) is T with Omega = T T'. Filled are
    `shrink` = (I + D Omega)^-1, `omega_shrunk` = Omega (I + D Omega)^-1 (the
    covariance of the level's effects given the tail) and `precision_shrunk` =
    D (I + Omega D)^-1 (what the level's rows say about its effects), all
    (L, Q, Q). Computed through the Cholesky factor of I + T' D T, which is
    well conditioned also where T is singular.
    """
    if own.shape[1] > 1:
        return float(shrink_effects(own, factor, shrink, omega_shrunk, precision_shrunk))
    # what is not finite is not silent: the log determinant tells
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        omega = factor[0, 0] * factor[0, 0]
        np.divide(1.0, 1.0 + own * omega, out=shrink)
        np.multiply(omega, shrink, out=omega_shrunk)
        np.multiply(own, shrink, out=precision_shrunk)
        return -float(np.log(shrink).sum())


@kernel
def shrink_effects(own, factor, shrink, omega_shrunk, precision_shrunk):
    """`shrink_levels` for any number of effects per level."""
    n_levels, n_effects = own.shape[0], own.shape[1]
    log_det = 0.0
    total_log_det = 0.0
    inner = np.empty((n_effects, n_effects))
    half = np.empty((n_effects, n_effects))
    for l in range(n_levels):
        if l % _BLOCK == 0:
            total_log_det += log_det
            log_det = 0.0
        _fill_inner(own[l], factor, inner)
        log_det += factorise(inner, n_effects)
        # half = inner^-1 T', so that half' half = Omega (I + D Omega)^-1
        for s in range(n_effects):
            for q in range(n_effects):
                total = factor[s, q]
                for r in range(q):
                    total -= inner[q, r] * half[r, s]
                half[q, s] = total / inner[q, q]
        for q in range(n_effects):
            for s in range(n_effects):
                total = 0.0
                for r in range(n_effects):
                    total += half[r, q] * half[r, s]
                omega_shrunk[l, q, s] = total
        for q in range(n_effects):
            for s in range(n_effects):
                total = 1.0 if q == s else 0.0
                for r in range(n_effects):
                    total -= own[l, q, r] * omega_shrunk[l, r, s]
                shrink[l, q, s] = total
        for q in range(n_effects):
            for s in range(n_effects):
                total = 0.0
                for r in range(n_effects):
                    total += shrink[l, q, r] * own[l, r, s]
                precision_shrunk[l, q, s] = total
    return total_log_det + log_det


@kernel
def _fill_inner(own, factor, inner):
    """Fill inner = I + T' D T."""
    n = inner.shape[0]
    for q in range(n):
        for s in range(n):
            total = 1.0 if q == s else 0.0
            for a in range(n):
                for b in range(n):
                    total += factor[a, q] * own[a, b] * factor[b, s]
            inner[q, s] = total


@kernel
def factorise(matrix, size):
    """Overwrite the lower triangle of the first rows with its Cholesky factor.

    Returns the log determinant of these `size` rows and columns; it is not finite where they are
    not positive definite.
    """
    log_det = 0.0
    for q in range(size):
        for s in range(q + 1):
            total = matrix[q, s]
            for r in range(s):
                total -= matrix[q, r] * matrix[s, r]
            if q == s:
                matrix[q, q] = np.sqrt(total)
                log_det += np.log(total)
            else:
                matrix[q, s] = total / matrix[s, s]
    return log_det


def subtract_cells(
    start: Any, columns: Any, values: Any, middle: Any, rows: tuple[int, int], out: Any
) -> None:
    """Subtract sum_l C_l' middle_l C_l from the lower triangle of `out`, tail with tail.

    Only its rows from the first of `rows` to the second (exclusive) are written.
    """
    if middle.shape[1] == 1:
        _subtract_one_effect(start, columns, values, middle, rows, *_room(start), out)
    else:
        _subtract_effects(start, columns, values, middle, rows, out)


def _room(start: Any, n_dense: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Room for the columns and values of one level: its cells, and dense columns."""
    widest = int(np.diff(start).max(initial=0)) + n_dense
    return np.empty(widest, np.uint64), np.empty(widest)


@kernel
def place_cells(begin, end, columns, values, where, amount):
    """Fill columns and values of one effect's cells; their number.

    Columns become unsigned, because numbers that may be negative take a check each time.
    """
    for k in range(end - begin):
        where[k] = columns[begin + k]
        amount[k] = values[begin + k, 0]
    return end - begin


@kernel
def _subtract_one_effect(start, columns, values, middle, rows, where, amount, out):
    first_row, last_row = rows
    for l in range(start.shape[0] - 1):
        size = place_cells(start[l], start[l + 1], columns, values, where, amount)
        # cells are sorted by column
        for a in range(size):
            if where[a] >= last_row:
                break
            if where[a] < first_row:
                continue
            row, weighted = out[where[a]], middle[l, 0, 0] * amount[a]
            for b in range(a + 1):
                row[where[b]] -= weighted * amount[b]


@kernel
def _subtract_effects(start, columns, values, middle, rows, out):
    n_effects = middle.shape[1]
    first_row, last_row = rows
    weighted = np.empty(n_effects)
    for l in range(start.shape[0] - 1):
        # cells are sorted by column
        for a in range(start[l], start[l + 1]):
            row = columns[a]
            if row >= last_row:
                break
            if row < first_row:
                continue
            for q in range(n_effects):
                total = 0.0
                for s in range(n_effects):
                    total += middle[l, q, s] * values[a, s]
                weighted[q] = total
            for b in range(start[l], a + 1):
                total = 0.0
                for q in range(n_effects):
                    total += weighted[q] * values[b, q]
                out[row, columns[b]] -= total


def tail_quadratic_forms(
    cells: LevelCells, shrink: Any, tail: Any, first_level: int, last_level: int, out: Any
) -> None:
    """Fill out[l] = reduced_l @ tail @ reduced_l' (Q, Q) for the given levels.

    `tail` is symmetric, (T + P, T + P), of which the lower triangle is read.
    """
    levels = first_level, last_level
    if cells.with_dense.shape[1] == 1:
        where, amount = _room(cells.start, cells.with_dense.shape[2])
        _forms_of_one_effect(cells, shrink, tail, levels, where, amount, out)
    else:
        _forms_of_effects(*cells, shrink, tail, levels, out)


@kernel
def _forms_of_one_effect(cells, shrink, tail, level_range, where, amount, out):
    n_dense = cells.with_dense.shape[2]
    for l in range(level_range[0], level_range[1]):
        begin, end = cells.start[l], cells.start[l + 1]
        size = place_cells(begin, end, cells.columns, cells.values, where, amount)
        for x in range(n_dense):
            where[size] = tail.shape[0] - n_dense + x
            amount[size] = cells.with_dense[l, 0, x]
            size += 1
        form = 0.0
        for a in range(size):
            row = tail[where[a]]
            total = 0.5 * row[where[a]] * amount[a]
            for b in range(a):
                total += row[where[b]] * amount[b]
            form += 2.0 * amount[a] * total
        out[l, 0, 0] = shrink[l, 0, 0] * form * shrink[l, 0, 0]


@kernel
def widest_level(start, first, last):
    """The most cells of one level, of the levels from `first` to `last`."""
    widest = 0
    for l in range(first, last):
        widest = max(widest, start[l + 1] - start[l])
    return widest


@kernel
def _forms_of_effects(start, columns, values, with_dense, shrink, tail, level_range, out):
    n_effects = with_dense.shape[1]
    n_dense = with_dense.shape[2]
    n_tail = tail.shape[0] - n_dense
    widest = widest_level(start, level_range[0], level_range[1])
    cell = np.empty((widest + n_dense, n_effects))
    where = np.empty(widest + n_dense, np.int64)
    raw = np.empty((n_effects, n_effects))
    half = np.empty((n_effects, n_effects))
    for l in range(level_range[0], level_range[1]):
        size = 0
        for k in range(start[l], start[l + 1]):
            where[size] = columns[k]
            for q in range(n_effects):
                cell[size, q] = values[k, q]
            size += 1
        for x in range(n_dense):
            where[size] = n_tail + x
            for q in range(n_effects):
                cell[size, q] = with_dense[l, q, x]
            size += 1
        for q in range(n_effects):
            for s in range(n_effects):
                raw[q, s] = 0.0
        for a in range(size):
            row = where[a]
            for q in range(n_effects):
                total = 0.0
                for b in range(a):
                    total += tail[row, where[b]] * cell[b, q]
                for s in range(n_effects):
                    # each pair a > b counts twice, once for either order
                    raw[s, q] += cell[a, s] * total
                    raw[q, s] += cell[a, s] * total
            for q in range(n_effects):
                for s in range(n_effects):
                    raw[q, s] += tail[row, row] * cell[a, q] * cell[a, s]
        for q in range(n_effects):
            for s in range(n_effects):
                half[q, s] = 0.0
                for r in range(n_effects):
                    half[q, s] += shrink[l, q, r] * raw[r, s]
        for q in range(n_effects):
            for s in range(n_effects):
                out[l, q, s] = 0.0
                for r in range(n_effects):
                    out[l, q, s] += half[q, r] * shrink[l, s, r]
