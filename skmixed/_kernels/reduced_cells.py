"""Passes over the reduced cross-products of a tail, kept as a sparse matrix by rows.

Every eliminated level joins the columns of its cells: `pairs` has the place in the matrix of
each ordered pair of them, (sum of squared numbers of cells,), level after level.
"""

import numpy as np

from skmixed._kernels.compile import kernel
from skmixed._kernels.working import _lead_level, _load_row


@kernel
def find_places(start, columns, rows_wanted, columns_wanted, out):
    """Place of every wanted entry of a matrix by rows, columns ascending; it has to be there."""
    for k in range(rows_wanted.shape[0]):
        a, b = start[rows_wanted[k]], start[rows_wanted[k] + 1]
        while b - a > 1:
            middle = (a + b) // 2
            if columns[middle] <= columns_wanted[k]:
                a = middle
            else:
                b = middle
        out[k] = a


@kernel
def find_pairs(cell_start, cell_columns, start, columns, pairs):
    """Fill `pairs` for all eliminated levels."""
    n = 0
    for l in range(cell_start.shape[0] - 1):
        for k in range(cell_start[l], cell_start[l + 1]):
            row = cell_columns[k]
            p, end = start[row], start[row + 1]
            for other in range(cell_start[l], cell_start[l + 1]):
                a, b = p, end
                while b - a > 1:
                    middle = (a + b) // 2
                    if columns[middle] <= cell_columns[other]:
                        a = middle
                    else:
                        b = middle
                pairs[n] = p = a
                n += 1


@kernel
def subtract_pairs(cell_start, cell_values, middle, pairs, out):
    """Subtract C_l' middle_l C_l of every eliminated level from the entries of a matrix."""
    n_effects = middle.shape[1]
    mixed = np.empty(n_effects)
    n = 0
    for l in range(cell_start.shape[0] - 1):
        for k in range(cell_start[l], cell_start[l + 1]):
            for q in range(n_effects):
                mixed[q] = 0.0
                for s in range(n_effects):
                    mixed[q] += middle[l, q, s] * cell_values[k, s]
            for other in range(cell_start[l], cell_start[l + 1]):
                for q in range(n_effects):
                    out[pairs[n]] -= mixed[q] * cell_values[other, q]
                n += 1


@kernel
def mix_entries(start, columns, values, tail, left, right, out):
    """Fill the entries of A' M B of a matrix M by rows, A and B block diagonal by level.

    Levels of the tail (TailColumns) have rows of the same pattern, and all effects of a level
    as neighbours among the columns. left[i, a] is what effect a of the level contributes to
    row i, `right` the same for columns.
    """
    effect, n_siblings = tail
    for i in range(start.shape[0] - 1):
        for p in range(start[i], start[i + 1]):
            j = columns[p]
            place = p - start[i] - effect[j]
            total = 0.0
            for a in range(n_siblings[i]):
                row = start[i - effect[i] + a]
                inner = 0.0
                for b in range(n_siblings[j]):
                    inner += values[row + place + b] * right[j, b]
                total += left[i, a] * inner
            out[p] = total


@kernel
def sum_row_products(start, first, second, first_row, out):
    """Add the level blocks (q, q) of A B', of matrices of one pattern by rows, over a factor.

    `first_row` has the first row of every level.
    """
    q = out.shape[0]
    for l in range(first_row.shape[0]):
        row = first_row[l]
        for a in range(q):
            for b in range(q):
                total, moved = 0.0, start[row + b] - start[row + a]
                for p in range(start[row + a], start[row + a + 1]):
                    total += first[p] * second[p + moved]
                out[a, b] += total


@kernel
def multiply_rows(start, columns, values, vectors, first_row, last_row, out):
    """Fill rows of out (n, m) with those of a matrix by rows times vectors."""
    m = vectors.shape[1]
    for i in range(first_row, last_row):
        j = 0
        # sums of a few columns at a time stay in registers
        while j + 4 <= m:
            a, b, c, d = 0.0, 0.0, 0.0, 0.0
            for k in range(start[i], start[i + 1]):
                row, amount = columns[k], values[k]
                a += amount * vectors[row, j]
                b += amount * vectors[row, j + 1]
                c += amount * vectors[row, j + 2]
                d += amount * vectors[row, j + 3]
            out[i, j], out[i, j + 1], out[i, j + 2], out[i, j + 3] = a, b, c, d
            j += 4
        while j + 2 <= m:
            a, b = 0.0, 0.0
            for k in range(start[i], start[i + 1]):
                row, amount = columns[k], values[k]
                a += amount * vectors[row, j]
                b += amount * vectors[row, j + 1]
            out[i, j], out[i, j + 1] = a, b
            j += 2
        while j < m:
            total = 0.0
            for k in range(start[i], start[i + 1]):
                total += values[k] * vectors[columns[k], j]
            out[i, j] = total
            j += 1


@kernel
def level_forms(cell_start, cell_values, pairs, covariance, out):
    """Fill C_l covariance C_l' (L, Q, Q), of a covariance with the entries of the matrix."""
    n_effects = cell_values.shape[1]
    n = 0
    for l in range(cell_start.shape[0] - 1):
        out[l] = 0.0
        for k in range(cell_start[l], cell_start[l + 1]):
            for other in range(cell_start[l], cell_start[l + 1]):
                for q in range(n_effects):
                    amount = cell_values[k, q] * covariance[pairs[n]]
                    for s in range(n_effects):
                        out[l, q, s] += amount * cell_values[other, s]
                n += 1


@kernel
def add_row_variances(rows, cells, levels, covariance, first_level, last_level, out):
    """Add b' C b to the variance of every row, b its loading of the large effects.

    As in `fill_row_variances`, b = a - reduced_l' Omega z; `cells` (LevelCells) are those of
    the large factors, without dense columns. C is `covariance` (PairCovariance).
    """
    only_intercepts = rows.level_effects.shape[0] == 1 and rows.level_effects[0] < 0
    for k in range(rows.places.shape[1]):
        only_intercepts &= rows.tail_sizes[k] == 1 and rows.tail_effects[k, 0] < 0
    if only_intercepts:
        _add_variances_of_intercepts(rows, cells, levels, covariance, first_level, last_level, out)
    else:
        _add_variances_of_effects(rows, cells, levels, covariance, first_level, last_level, out)


@kernel
def _add_variances_of_intercepts(rows, cells, levels, covariance, first_level, last_level, out):
    pair_start, pairs, entries = covariance
    start, row_start, places = cells.start, rows.row_start, rows.places
    n_tail = places.shape[1]
    widest = 1
    for l in range(first_level, last_level):
        widest = max(widest, start[l + 1] - start[l])
    through = np.empty(widest)
    for l in range(first_level, last_level):
        # lead = reduced_l' Omega is a number times the cells; through = C lead, base = lead'C lead
        number, base = levels.shrink[l, 0, 0] * levels.omega[0, 0], 0.0
        size, first = start[l + 1] - start[l], pair_start[l]
        for a in range(size):
            total = 0.0
            for c in range(size):
                total += entries[pairs[first + a * size + c]] * cells.values[start[l] + c, 0]
            through[a] = number * total
            base += number * cells.values[start[l] + a, 0] * through[a]
        for i in range(row_start[l], row_start[l + 1]):
            total = base
            for e in range(n_tail):
                # cells of small factors come after those of the large ones
                if places[i, e] < size:
                    total -= 2.0 * through[places[i, e]]
                    for f in range(n_tail):
                        if places[i, f] < size:
                            total += entries[pairs[first + places[i, e] * size + places[i, f]]]
            out[i] += total


@kernel
def _add_variances_of_effects(rows, cells, levels, covariance, first_level, last_level, out):
    pair_start, pairs, entries = covariance
    n_effects, n_tail = rows.level_effects.shape[0], rows.places.shape[1]
    widest, n_entries = 1, 0
    for l in range(first_level, last_level):
        widest = max(widest, cells.start[l + 1] - cells.start[l])
    for k in range(n_tail):
        n_entries += rows.tail_sizes[k]
    where, lead = np.empty(widest, np.int64), np.empty((widest, n_effects))
    through, base = np.empty((widest, n_effects)), np.empty((n_effects, n_effects))
    entry, amount = np.empty(n_entries, np.int64), np.empty(n_entries)
    loading, nothing = np.empty(n_effects), np.empty((rows.slopes.shape[0], 0))
    for l in range(first_level, last_level):
        if rows.row_start[l] == rows.row_start[l + 1]:
            continue
        size = _lead_level(l, cells, levels, 0, where, lead)
        first = pair_start[l]
        # through = C lead and base = lead' C lead serve all rows of the level
        base[:] = 0.0
        for a in range(size):
            for q in range(n_effects):
                total = 0.0
                for c in range(size):
                    total += entries[pairs[first + a * size + c]] * lead[c, q]
                through[a, q] = total
                for s in range(n_effects):
                    base[s, q] += lead[a, s] * total
        for i in range(rows.row_start[l], rows.row_start[l + 1]):
            _load_row(i, size, rows, nothing, loading, entry, amount)
            total = 0.0
            for q in range(n_effects):
                for s in range(n_effects):
                    total += loading[q] * base[q, s] * loading[s]
            for e in range(n_entries):
                # cells of small factors come after those of the large ones
                if entry[e] < size:
                    inner = 0.0
                    for f in range(n_entries):
                        if entry[f] < size:
                            place = first + entry[e] * size + entry[f]
                            inner += entries[pairs[place]] * amount[f]
                    for q in range(n_effects):
                        inner -= 2.0 * through[entry[e], q] * loading[q]
                    total += amount[e] * inner
            out[i] += total


@kernel
def power_entries(start, columns, values, first_row, last_row, powers):
    """Fill entries of the powers of a symmetric matrix E by rows, for a range of rows.

    `powers` is (second, third, fourth): entries of E^2 and E^3 where E has them, and the diagonal
    of E^4 (n,).
    """
    second, third, fourth = powers
    n = start.shape[0] - 1
    square, seen, reached = np.zeros(n), np.zeros(n, np.bool_), np.empty(n, np.int64)
    for i in range(first_row, last_row):
        n_reached = 0
        for p in range(start[i], start[i + 1]):
            j, amount = columns[p], values[p]
            for r in range(start[j], start[j + 1]):
                k = columns[r]
                if not seen[k]:
                    seen[k], reached[n_reached] = True, k
                    n_reached += 1
                square[k] += amount * values[r]
        for p in range(start[i], start[i + 1]):
            j, total = columns[p], 0.0
            for r in range(start[j], start[j + 1]):
                total += square[columns[r]] * values[r]
            second[p], third[p] = square[j], total
        total = 0.0
        for a in range(n_reached):
            k = reached[a]
            total += square[k] * square[k]
            square[k], seen[k] = 0.0, False
        fourth[i] = total
