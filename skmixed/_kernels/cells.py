"""Accumulate rows into weighted cross-products, one cell per pair of levels.

Words used by every kernel here. One grouping factor is *eliminated*: it has
L levels and Q effects per level. The *tail* is everything else: the other
factors' effects (T columns, column number = start of the factor + level * its
number of effects + effect), then the *dense* columns (fixed effects and the
response, P of them).

The values of an effect on row i are 1 for an intercept and ``slopes[i, s]``
for a slope; integer maps hold s, or -1 for an intercept.
"""

import numpy as np

from skmixed._kernels.compile import kernel


@kernel
def sort_rows_by_level(codes, n_levels):
    """Row numbers grouped by level: ``order[start[l]:start[l + 1]]`` is level l."""
    start = np.zeros(n_levels + 1, np.int64)
    for i in range(codes.shape[0]):
        start[codes[i] + 1] += 1
    for l in range(n_levels):
        start[l + 1] += start[l]
    position = start[:-1].copy()
    order = np.empty(codes.shape[0], np.int64)
    for i in range(codes.shape[0]):
        l = codes[i]
        order[position[l]] = i
        position[l] += 1
    return start, order


@kernel
def accumulate_level_cells(
    row_start, row_order, weights, slopes, effects, tail_codes, tail_starts, tail_effect_counts,
    tail_effects, n_tail,
):  # fmt: skip
    """Cells of the eliminated factor with the tail factors, levels as rows (CSR).

    Parameters: `row_start`, `row_order` from `sort_rows_by_level`; `weights`
    (n,); `slopes` (n, n_slopes); `effects` (Q,) slope map of the eliminated
    factor; `tail_codes` (n, F) level codes; `tail_starts`,
    `tail_effect_counts` (F,); `tail_effects` the concatenated slope maps.

    Returns `start` (L + 1,), `columns` (n_cells,) ascending within a level and
    `values` (n_cells, Q): the sums of weight * effect * tail effect.
    """
    n_levels = row_start.shape[0] - 1
    n_effects = effects.shape[0]
    n_factors = tail_starts.shape[0]
    widest = 0
    for f in range(n_factors):
        widest += tail_effect_counts[f]
    capacity = row_order.shape[0] * widest
    columns = np.empty(capacity, np.int32)
    values = np.empty((capacity, n_effects))
    start = np.zeros(n_levels + 1, np.int64)
    last_level = np.full(n_tail, -1, np.int64)
    place = np.empty(n_tail, np.int64)
    count = 0
    for l in range(n_levels):
        for r in range(row_start[l], row_start[l + 1]):
            i = row_order[r]
            e = 0
            for f in range(n_factors):
                first = tail_starts[f] + tail_codes[i, f] * tail_effect_counts[f]
                for c in range(tail_effect_counts[f]):
                    column = first + c
                    if last_level[column] != l:
                        last_level[column] = l
                        place[column] = count
                        columns[count] = column
                        for q in range(n_effects):
                            values[count, q] = 0.0
                        count += 1
                    amount = weights[i]
                    if tail_effects[e] >= 0:
                        amount *= slopes[i, tail_effects[e]]
                    e += 1
                    for q in range(n_effects):
                        if effects[q] >= 0:
                            values[place[column], q] += amount * slopes[i, effects[q]]
                        else:
                            values[place[column], q] += amount
        start[l + 1] = count
    return start, columns[:count].copy(), values[:count].copy()


@kernel
def sort_cells(start, columns, values, n_tail):
    """Order the cells of every level by column, by transposing twice."""
    n_levels = start.shape[0] - 1
    n_cells = columns.shape[0]
    column_start = np.zeros(n_tail + 1, np.int64)
    for k in range(n_cells):
        column_start[columns[k] + 1] += 1
    for j in range(n_tail):
        column_start[j + 1] += column_start[j]
    position = column_start[:-1].copy()
    source = np.empty(n_cells, np.int64)
    level = np.empty(n_cells, np.int32)
    for l in range(n_levels):
        for k in range(start[l], start[l + 1]):
            j = columns[k]
            source[position[j]] = k
            level[position[j]] = l
            position[j] += 1
    target = start[:-1].copy()
    sorted_columns = np.empty_like(columns)
    sorted_values = np.empty_like(values)
    for j in range(n_tail):
        for s in range(column_start[j], column_start[j + 1]):
            l = level[s]
            sorted_columns[target[l]] = j
            sorted_values[target[l]] = values[source[s]]
            target[l] += 1
    return sorted_columns, sorted_values


@kernel
def accumulate_level_blocks(codes, weights, slopes, effects, dense, n_levels):
    """Per level of one factor: effects x effects and effects x dense columns.

    Returns `own` (L, Q, Q) and `with_dense` (L, Q, P).
    """
    n_effects = effects.shape[0]
    n_dense = dense.shape[1]
    own = np.zeros((n_levels, n_effects, n_effects))
    with_dense = np.zeros((n_levels, n_effects, n_dense))
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
                with_dense[l, q, x] += amount * dense[i, x]
    return own, with_dense


@kernel
def accumulate_factor_pair(
    codes_a, effects_a, start_a, codes_b, effects_b, start_b, weights, slopes, out
):
    """Add the cross-products of two tail factors to the lower triangle of `out`.

    Factor a must not start before factor b.
    """
    n_a = effects_a.shape[0]
    n_b = effects_b.shape[0]
    for i in range(weights.shape[0]):
        row = start_a + codes_a[i] * n_a
        column = start_b + codes_b[i] * n_b
        for a in range(n_a):
            amount = weights[i]
            if effects_a[a] >= 0:
                amount *= slopes[i, effects_a[a]]
            for b in range(n_b):
                if effects_b[b] >= 0:
                    out[row + a, column + b] += amount * slopes[i, effects_b[b]]
                else:
                    out[row + a, column + b] += amount
