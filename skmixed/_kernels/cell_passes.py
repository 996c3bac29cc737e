"""Passes over cells for a tail that is never made dense.

Words: one factor is *eliminated* (L levels, Q effects each), the columns are the
N effects of the large factors of the tail, with cells compressed by eliminated
level as in `CrossProducts.join_cells`. `middle` (L, Q, Q) is the symmetric
Omega (I + D Omega)^-1 of every eliminated level. Vectors are (N, m), row-major:
all right-hand sides of a column lie side by side.
"""

import numpy as np

from skmixed._kernels.compile import kernel, lane_kernel

LANES = 8
"""Columns of vectors that are worked on at a time where all effects are intercepts: as long as two
registers of most processors, and no slower than one column."""


@lane_kernel
def subtract_product(start, columns, values, middle, vectors, first_level, last_level, out):
    """out -= sum_l C_l' middle_l C_l vectors over a range of levels."""
    if middle.shape[1] == 1:
        _subtract_of_intercepts(
            start, columns, values, middle, vectors, (first_level, last_level), out
        )
        return
    n_effects = middle.shape[1]
    m = vectors.shape[1]
    total = np.empty((n_effects, m))
    amounts = np.empty((n_effects, m))
    for l in range(first_level, last_level):
        total[:] = 0.0
        for k in range(start[l], start[l + 1]):
            column = columns[k]
            for q in range(n_effects):
                value = values[k, q]
                for j in range(m):
                    total[q, j] += value * vectors[column, j]
        amounts[:] = 0.0
        for q in range(n_effects):
            for s in range(n_effects):
                scale = middle[l, q, s]
                for j in range(m):
                    amounts[q, j] += scale * total[s, j]
        for k in range(start[l], start[l + 1]):
            column = columns[k]
            for q in range(n_effects):
                value = values[k, q]
                for j in range(m):
                    out[column, j] -= value * amounts[q, j]


@lane_kernel
def _subtract_of_intercepts(start, columns, values, middle, vectors, levels, out):
    m = vectors.shape[1]
    for l in range(levels[0], levels[1]):
        begin, end, scale = start[l], start[l + 1], -middle[l, 0, 0]
        j = 0
        while j + LANES <= m:
            sums = _sum_cells(begin, end, columns, values, vectors, j)
            _add_cells(begin, end, columns, values, scale, sums, j, out)
            j += LANES
        while j < m:
            total = 0.0
            for k in range(begin, end):
                total += values[k, 0] * vectors[columns[k], j]
            total *= scale
            for k in range(begin, end):
                out[columns[k], j] += values[k, 0] * total
            j += 1


@lane_kernel
def _sum_cells(begin, end, columns, values, vectors, j):
    """Sums of values times vectors, over cells of intercepts, for `LANES` columns from j on."""
    a, b, c, d, e, f, g, h = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(begin, end):
        i, value = np.uint64(columns[k]), values[k, 0]
        a += value * vectors[i, j]
        b += value * vectors[i, j + 1]
        c += value * vectors[i, j + 2]
        d += value * vectors[i, j + 3]
        e += value * vectors[i, j + 4]
        f += value * vectors[i, j + 5]
        g += value * vectors[i, j + 6]
        h += value * vectors[i, j + 7]
    return a, b, c, d, e, f, g, h


@lane_kernel
def _add_cells(begin, end, columns, values, scale, amounts, j, out):
    """Add values times scaled amounts, of cells of intercepts, to `LANES` columns from j on."""
    a, b, c, d, e, f, g, h = amounts
    a, b, c, d = scale * a, scale * b, scale * c, scale * d
    e, f, g, h = scale * e, scale * f, scale * g, scale * h
    for k in range(begin, end):
        i, value = np.uint64(columns[k]), values[k, 0]
        out[i, j] += value * a
        out[i, j + 1] += value * b
        out[i, j + 2] += value * c
        out[i, j + 3] += value * d
        out[i, j + 4] += value * e
        out[i, j + 5] += value * f
        out[i, j + 6] += value * g
        out[i, j + 7] += value * h


@kernel
def reduce_tail(cells, middle, tail, first_level, last_level, with_dense, blocks):
    """Subtract C_l' middle_l (dense_l, C_l), of the latter only the level blocks.

    C and the products with the dense columns are those of `cells` (LevelCells), and
    `with_dense` (N, P) receives the part of the latter. A column c is effect `effect[c]` of a
    level with `n_siblings[c]` effects (TailColumns), whose cells are neighbours; `blocks`
    (N, widest) receives its row of the level's block.
    """
    start, columns, values, dense = cells
    effect, n_siblings = tail
    n_effects = middle.shape[1]
    n_dense = dense.shape[2]
    mixed = np.empty((n_effects, n_dense))
    own = np.empty(n_effects)
    for l in range(first_level, last_level):
        for q in range(n_effects):
            for x in range(n_dense):
                total = 0.0
                for s in range(n_effects):
                    total += middle[l, q, s] * dense[l, s, x]
                mixed[q, x] = total
        for k in range(start[l], start[l + 1]):
            column = columns[k]
            for q in range(n_effects):
                value = values[k, q]
                for x in range(n_dense):
                    with_dense[column, x] -= value * mixed[q, x]
                total = 0.0
                for s in range(n_effects):
                    total += middle[l, q, s] * values[k, s]
                own[q] = total
            first = k - effect[column]
            for e in range(n_siblings[column]):
                total = 0.0
                for q in range(n_effects):
                    total += own[q] * values[first + e, q]
                blocks[column, e] -= total


@lane_kernel
def reduce_intercepts(cells, middle, n_dense, first_level, last_level, out):
    """As `reduce_tail` where all effects are intercepts, into one array (N, a multiple of lanes).

    The first `n_dense` columns are those with the dense part, and the next one is the diagonal.
    """
    start, columns, values, dense = cells
    mixed = np.zeros(out.shape[1])
    for l in range(first_level, last_level):
        begin, end, scale = start[l], start[l + 1], -middle[l, 0, 0]
        for x in range(n_dense):
            mixed[x] = dense[l, 0, x]
        for j in range(0, n_dense, LANES):
            amounts = (
                mixed[j], mixed[j + 1], mixed[j + 2], mixed[j + 3],
                mixed[j + 4], mixed[j + 5], mixed[j + 6], mixed[j + 7],
            )  # fmt: skip
            _add_cells(begin, end, columns, values, scale, amounts, j, out)
        for k in range(begin, end):
            out[columns[k], n_dense] += scale * values[k, 0] * values[k, 0]


@kernel
def gather_dense(with_dense, dense, first_level, last_level, out):
    """out[l] (Q, m) = with_dense[l] @ dense for a range of levels; the first columns (k, m)."""
    m = dense.shape[1]
    for l in range(first_level, last_level):
        for q in range(with_dense.shape[1]):
            for j in range(m):
                out[l, q, j] = 0.0
            for x in range(dense.shape[0]):
                amount = with_dense[l, q, x]
                for j in range(m):
                    out[l, q, j] += amount * dense[x, j]


@lane_kernel
def gather_cells(start, columns, values, vectors, first_level, last_level, out):
    """out[l] (Q, m) += C_l vectors for a range of levels."""
    n_effects = values.shape[1]
    m = vectors.shape[1]
    if n_effects == 1 and m == 1:
        for l in range(first_level, last_level):
            total = 0.0
            for k in range(start[l], start[l + 1]):
                total += values[k, 0] * vectors[np.uint64(columns[k]), 0]
            out[l, 0, 0] += total
        return
    in_lanes = n_effects == 1 and m % LANES == 0
    for l in range(first_level, last_level):
        begin, end = start[l], start[l + 1]
        if in_lanes:
            for j in range(0, m, LANES):
                a, b, c, d, e, f, g, h = _sum_cells(begin, end, columns, values, vectors, j)
                out[l, 0, j] += a
                out[l, 0, j + 1] += b
                out[l, 0, j + 2] += c
                out[l, 0, j + 3] += d
                out[l, 0, j + 4] += e
                out[l, 0, j + 5] += f
                out[l, 0, j + 6] += g
                out[l, 0, j + 7] += h
            continue
        for k in range(begin, end):
            column = columns[k]
            for q in range(n_effects):
                value = values[k, q]
                for j in range(m):
                    out[l, q, j] += value * vectors[column, j]


@kernel
def scatter_cells(start, columns, values, amounts, first_level, last_level, out):
    """out (N, m) += sum_l C_l' amounts[l] (Q, m) over a range of levels."""
    n_effects = values.shape[1]
    m = amounts.shape[2]
    for l in range(first_level, last_level):
        for k in range(start[l], start[l + 1]):
            column = columns[k]
            for q in range(n_effects):
                value = values[k, q]
                for j in range(m):
                    out[column, j] += value * amounts[l, q, j]


@kernel
def multiply_levels(blocks, vectors, out):
    """out[l] = blocks[l] @ vectors[l]: (L, Q, Q) times (L * Q, m), level by level."""
    n_levels, n_effects = blocks.shape[0], blocks.shape[1]
    m = vectors.shape[1]
    for l in range(n_levels):
        base = l * n_effects
        for q in range(n_effects):
            for j in range(m):
                out[base + q, j] = blocks[l, q, 0] * vectors[base, j]
            for s in range(1, n_effects):
                amount = blocks[l, q, s]
                for j in range(m):
                    out[base + q, j] += amount * vectors[base + s, j]


@kernel
def add_pair_product(pair, vectors, first_row, first_column, first_level, last_level, out):
    """Add a pair of tail factors with each other to a product, both triangles.

    The first factor's columns of the tail begin at `first_row`, the second
    one's at `first_column`; `pair` has their cells (FactorCells).
    """
    start, levels, values = pair
    n_first, n_second = values.shape[1], values.shape[2]
    m = vectors.shape[1]
    for l in range(first_level, last_level):
        for k in range(start[l], start[l + 1]):
            for q in range(n_first):
                row = first_row + l * n_first + q
                for s in range(n_second):
                    column = first_column + levels[k] * n_second + s
                    value = values[k, q, s]
                    for j in range(m):
                        out[row, j] += value * vectors[column, j]
                        out[column, j] += value * vectors[row, j]
