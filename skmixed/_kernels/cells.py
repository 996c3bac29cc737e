"""Sum rows into weighted cross-products, one cell per pair of levels that meet.

The values of an effect on row i are 1 for an intercept and ``slopes[i, s]``
for a slope; integer maps hold s, or -1 for an intercept.
"""

import numpy as np

from skmixed._kernels.compile import kernel


@kernel
def count_codes(codes, counts):
    """Add the rows of every code to `counts` (L,)."""
    for i in range(codes.shape[0]):
        counts[np.uint64(codes[i])] += 1


@kernel
def fill_counts(order, cell_start, weight, level_range, out):
    """`fill_cells` for two intercepts and rows of one weight, of which only levels are looked at.

    `order` is `start` and the level of the second factor of every row, by pairs of levels.
    """
    start, rows = order
    levels, values = out
    for l in range(level_range[0], level_range[1]):
        r = start[l]
        for cell in range(cell_start[l], cell_start[l + 1]):
            level, total = rows[r], 0.0
            while r < start[l + 1] and rows[r] == level:
                total += weight
                r += 1
            levels[cell], values[cell, 0, 0] = level, total


@kernel
def fill_cells(order, cell_start, weights, slopes, effects, level_range, out):
    """Fill the cells of a range of levels (first, end).

    `order` is `start` (L + 1,), the first row of every level of the first factor, and `rows`
    (n, 2), the numbers of rows by pairs of levels beside their levels of the second factor.
    `effects` has the maps of both factors, and `out` are the levels (n_cells,) and values
    (n_cells, Q1, Q2) of all cells. Values are the sums of weight * effect of the first
    factor * effect of the second one.
    """
    start, rows = order
    first_effects, second_effects = effects
    levels, values = out
    n_first = first_effects.shape[0]
    n_second = second_effects.shape[0]
    for l in range(level_range[0], level_range[1]):
        cell = cell_start[l] - 1
        previous = -1
        for r in range(start[l], start[l + 1]):
            i = rows[r, 0]
            if rows[r, 1] != previous:
                previous = rows[r, 1]
                cell += 1
                levels[cell] = previous
                values[cell] = 0.0
            for q in range(n_first):
                amount = weights[i]
                if first_effects[q] >= 0:
                    amount *= slopes[i, first_effects[q]]
                for s in range(n_second):
                    if second_effects[s] >= 0:
                        values[cell, q, s] += amount * slopes[i, second_effects[s]]
                    else:
                        values[cell, q, s] += amount


@kernel
def combine_cells(start, rows, cell_start, given, first_level, last_level, levels, values):
    """As `fill_cells`, for rows that are cells of their own with values `given` (n, Q1, Q2)."""
    for l in range(first_level, last_level):
        cell = cell_start[l] - 1
        previous = -1
        for r in range(start[l], start[l + 1]):
            if rows[r, 1] != previous:
                previous = rows[r, 1]
                cell += 1
                levels[cell] = previous
                values[cell] = given[rows[r, 0]]
            else:
                values[cell] += given[rows[r, 0]]


@kernel
def add_level_blocks(codes, weights, slopes, effects, dense, own, with_dense):
    """Add rows to `own` (L, Q, Q) and `with_dense` (L, Q, P) of one factor; `dense` is (P, n)."""
    n_effects = effects.shape[0]
    n_dense = dense.shape[0]
    for i in range(codes.shape[0]):
        l = codes[i]
        for q in range(n_effects):
            amount = weights[i]
            if effects[q] >= 0:
                amount *= slopes[i, effects[q]]
            for s in range(n_effects):
                if effects[s] >= 0:
                    own[l, q, s] += amount * slopes[i, effects[s]]
                else:
                    own[l, q, s] += amount
            for x in range(n_dense):
                with_dense[l, q, x] += amount * dense[x, i]


@kernel
def add_intercept_sums(codes, weights, dense, sums):
    """As `add_level_blocks` for intercepts, into one array (L, 1 + P) with `own` first.

    What a row adds to lies side by side then: sums of many levels are not in the cache.
    """
    for i in range(codes.shape[0]):
        l, weight = np.uint64(codes[i]), weights[i]
        sums[l, 0] += weight
        for x in range(dense.shape[0]):
            sums[l, 1 + x] += weight * dense[x, i]


@kernel
def add_squared_cells(start, levels, values, first, second):
    """Add the squares of cells of two intercepts to `first` (L1,) and `second` (L2,)."""
    for l in range(start.shape[0] - 1):
        total = 0.0
        for k in range(start[l], start[l + 1]):
            square = values[k, 0, 0] * values[k, 0, 0]
            total += square
            second[levels[k]] += square
        first[l] += total


@kernel
def spread_cells(start, levels, values, first_column, cursor, columns, out):
    """Append a pair's cells to rows of a matrix with one column per effect.

    `values` (n_cells, Q1, Q2) of level k of the second factor become columns
    ``first_column + k * Q2 + effect`` of `columns` (m,) and `out` (m, Q1).
    `cursor` (L,) holds the next free place of every row and is moved on.
    """
    n_first = values.shape[1]
    n_second = values.shape[2]
    for l in range(start.shape[0] - 1):
        place = cursor[l]
        for k in range(start[l], start[l + 1]):
            column = first_column + levels[k] * n_second
            for s in range(n_second):
                columns[place] = column + s
                for q in range(n_first):
                    out[place, q] = values[k, q, s]
                place += 1
        cursor[l] = place
