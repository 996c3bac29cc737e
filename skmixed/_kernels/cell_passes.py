"""Passes over cells for a tail that is never made dense.

Words: one factor is *eliminated* (L levels, Q effects each), the columns are the
N effects of the large factors of the tail, with cells compressed by eliminated
level as in `CrossProducts.join_cells`. `middle` (L, Q, Q) is the symmetric
Omega (I + D Omega)^-1 of every eliminated level. Vectors are (N, m), row-major:
all right-hand sides of a column lie side by side.
"""

import numpy as np

from skmixed._kernels.compile import kernel


@kernel
def subtract_product(start, columns, values, middle, vectors, first_level, last_level, out):
    """out -= sum_l C_l' middle_l C_l vectors over a range of levels."""
    n_effects = middle.shape[1]
    m = vectors.shape[1]
    total = np.empty((n_effects, m))
    amounts = np.empty((n_effects, m))
    for l in range(first_level, last_level):
        total[:] = 0.0
        if n_effects == 1:
            for k in range(start[l], start[l + 1]):
                column = columns[k]
                value = values[k, 0]
                for j in range(m):
                    total[0, j] += value * vectors[column, j]
            scale = middle[l, 0, 0]
            for j in range(m):
                amounts[0, j] = scale * total[0, j]
            for k in range(start[l], start[l + 1]):
                column = columns[k]
                value = values[k, 0]
                for j in range(m):
                    out[column, j] -= value * amounts[0, j]
            continue
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


@kernel
def gather_cells(start, columns, values, vectors, first_level, last_level, out):
    """out[l] (Q, m) += C_l vectors for a range of levels."""
    n_effects = values.shape[1]
    m = vectors.shape[1]
    for l in range(first_level, last_level):
        for k in range(start[l], start[l + 1]):
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
