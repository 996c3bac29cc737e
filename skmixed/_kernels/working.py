"""Passes over the rows of a working Gaussian model, whose weights change.

The values of an effect on row i are as in `skmixed._kernels.cells`. Rows come in
the order of the levels of the eliminated factor; codes are those of ranked levels.
"""

from typing import Any

import numpy as np

from skmixed._kernels.arguments import LevelCells, LevelInverses, RowPlaces
from skmixed._kernels.compile import kernel
from skmixed._kernels.elimination import place_cells, widest_level


@kernel
def find_cells(first_codes, second_codes, start, levels, out):
    """Fill the cell of every row (n,), of cells compressed by level of the first factor."""
    for i in range(first_codes.shape[0]):
        low = start[first_codes[i]]
        high = start[first_codes[i] + 1]
        while high - low > 1:
            middle = (low + high) // 2
            if levels[middle] <= second_codes[i]:
                low = middle
            else:
                high = middle
        out[i] = low


@kernel
def add_working_cells(cells, weights, slopes, first_effects, second_effects, values):
    """Add weight * effect of the first factor * effect of the second one to `values`."""
    n_first = first_effects.shape[0]
    n_second = second_effects.shape[0]
    if n_first == 1 and n_second == 1 and first_effects[0] < 0 and second_effects[0] < 0:
        for i in range(cells.shape[0]):
            values[cells[i], 0, 0] += weights[i]
        return
    for i in range(cells.shape[0]):
        for q in range(n_first):
            amount = weights[i]
            if first_effects[q] >= 0:
                amount *= slopes[i, first_effects[q]]
            for s in range(n_second):
                if second_effects[s] >= 0:
                    values[cells[i], q, s] += amount * slopes[i, second_effects[s]]
                else:
                    values[cells[i], q, s] += amount


@kernel
def add_working_blocks(codes, weights, linear, slopes, effects, fixed, own, with_dense):
    """Add rows to `own` (L, Q, Q) and `with_dense` (L, Q, P + 1) of one factor.

    The last dense column is the response, of which `linear` (n,) is the product
    with the weight.
    """
    n_effects = effects.shape[0]
    n_fixed = fixed.shape[1]
    if n_effects == 1 and effects[0] < 0:
        for i in range(codes.shape[0]):
            level, weight = np.uint64(codes[i]), weights[i]
            own[level, 0, 0] += weight
            for x in range(n_fixed):
                with_dense[level, 0, x] += weight * fixed[i, x]
            with_dense[level, 0, n_fixed] += linear[i]
        return
    for i in range(codes.shape[0]):
        l = codes[i]
        for q in range(n_effects):
            effect = 1.0
            if effects[q] >= 0:
                effect = slopes[i, effects[q]]
            amount = weights[i] * effect
            for s in range(n_effects):
                if effects[s] >= 0:
                    own[l, q, s] += amount * slopes[i, effects[s]]
                else:
                    own[l, q, s] += amount
            for x in range(n_fixed):
                with_dense[l, q, x] += amount * fixed[i, x]
            with_dense[l, q, n_fixed] += linear[i] * effect


@kernel
def add_dense_products(weights, linear, fixed, out):
    """Add the dense columns with each other to `out` (P + 1, P + 1), response last."""
    n_fixed = fixed.shape[1]
    for i in range(fixed.shape[0]):
        for x in range(n_fixed):
            amount = weights[i] * fixed[i, x]
            for z in range(x + 1):
                out[x, z] += amount * fixed[i, z]
            out[n_fixed, x] += linear[i] * fixed[i, x]
        if weights[i] > 0.0:
            out[n_fixed, n_fixed] += linear[i] * (linear[i] / weights[i])


@kernel
def add_fixed_effects(fixed, coefficients, out):
    """Add fixed[i] @ coefficients to out[i]."""
    for i in range(fixed.shape[0]):
        for x in range(fixed.shape[1]):
            out[i] += fixed[i, x] * coefficients[x]


def fill_row_variances(
    rows: RowPlaces,
    cells: LevelCells,
    levels: LevelInverses,
    fixed: Any,
    tail: Any,
    first_level: int,
    last_level: int,
    out: Any,
) -> None:
    """Fill the posterior variance of every row's linear predictor, exactly.

    Given the tail a level's effects have covariance `omega_shrunk` and mean
    -Omega reduced_l tail (+ what the data say), so that with a the row of the
    tail's design and z that of the eliminated factor

        variance = z' omega_shrunk z + b' tail b,    b = a - reduced_l' Omega z.

    Parameters
    ----------
    rows : RowPlaces
    cells : LevelCells
        With the fixed effects that have a posterior as dense columns.
    levels : LevelInverses
    fixed : (n, P)
        Fixed effects with a posterior; none where they are a point.
    tail : (T + P, T + P)
        Posterior covariance of the tail, lower triangle. Where there are no such fixed
        effects it may have rows and columns more.
    """
    single = levels.omega.shape[0] == 1
    fill = _variances_of_one_effect if single else _variances_of_effects
    fill(rows, cells, levels, fixed, tail, first_level, last_level, out)


@kernel
def _variances_of_one_effect(rows, cells, levels, fixed, tail, first_level, last_level, out):
    n_fixed = fixed.shape[1]
    widest = n_fixed + widest_level(cells.start, first_level, last_level)
    where, lead, through = np.empty(widest, np.uint64), np.empty(widest), np.empty(widest)
    n_entries = n_fixed + rows.tail_sizes.sum()
    entry, amount = np.empty(n_entries, np.uint64), np.empty(n_entries)
    loading = np.empty(1)
    for l in range(first_level, last_level):
        begin, end = cells.start[l], cells.start[l + 1]
        size = place_cells(begin, end, cells.columns, cells.values, where, lead)
        for x in range(n_fixed):
            where[size + x] = tail.shape[0] - n_fixed + x
            lead[size + x] = cells.with_dense[l, 0, x]
        scale = levels.shrink[l, 0, 0] * levels.omega[0, 0]
        base = levels.omega_shrunk[l, 0, 0]
        for a in range(size + n_fixed):
            row = tail[where[a]]
            lead[a] *= scale
            through[a] = row[where[a]] * lead[a]
            for b in range(a):
                through[a] += row[where[b]] * lead[b]
                through[b] += row[where[b]] * lead[a]
        for a in range(size + n_fixed):
            base += lead[a] * through[a]
        for i in range(rows.row_start[l], rows.row_start[l + 1]):
            _load_row(i, size, rows, fixed, loading, entry, amount)
            z = loading[0]
            total = z * base * z
            for e in range(n_entries):
                row = tail[where[entry[e]]]
                inner = 0.5 * row[where[entry[e]]] * amount[e] - through[entry[e]] * z
                for f in range(e):
                    # entries come in the order of the tail
                    inner += row[where[entry[f]]] * amount[f]
                total += 2.0 * amount[e] * inner
            out[i] = max(total, 0.0)


@kernel
def _variances_of_effects(rows, cells, levels, fixed, tail, first_level, last_level, out):
    n_effects, n_fixed = rows.level_effects.shape[0], fixed.shape[1]
    widest = n_fixed + widest_level(cells.start, first_level, last_level)
    where = np.empty(widest, np.int64)
    lead = np.empty((widest, n_effects))
    through = np.empty((widest, n_effects))
    base = np.empty((n_effects, n_effects))
    n_entries = n_fixed + rows.tail_sizes.sum()
    entry = np.empty(n_entries, np.int64)
    amount = np.empty(n_entries)
    loading = np.empty(n_effects)
    for l in range(first_level, last_level):
        if rows.row_start[l] == rows.row_start[l + 1]:
            continue
        size = _lead_level(l, cells, levels, tail.shape[0] - n_fixed, where, lead)
        _spread_level(l, size, levels, tail, where, lead, through, base)
        for i in range(rows.row_start[l], rows.row_start[l + 1]):
            _load_row(i, size - n_fixed, rows, fixed, loading, entry, amount)
            total = 0.0
            for q in range(n_effects):
                for s in range(n_effects):
                    total += loading[q] * base[q, s] * loading[s]
            for e in range(n_entries):
                row = where[entry[e]]
                inner = 0.5 * tail[row, row] * amount[e]
                for f in range(e):
                    # entries come in the order of the tail
                    inner += tail[row, where[entry[f]]] * amount[f]
                for q in range(n_effects):
                    inner -= through[entry[e], q] * loading[q]
                total += 2.0 * amount[e] * inner
            out[i] = max(total, 0.0)


@kernel
def _lead_level(l, cells, levels, n_tail, where, lead):
    """Fill lead = reduced_l' Omega by column of the tail, and `where` these are; their number."""
    n_effects, n_fixed = levels.omega.shape[0], cells.with_dense.shape[2]
    n_cells = cells.start[l + 1] - cells.start[l]
    mixed = np.empty((n_effects, n_effects))
    # shrink' Omega, of which a row of cells takes a combination
    for r in range(n_effects):
        for s in range(n_effects):
            total = 0.0
            for q in range(n_effects):
                total += levels.shrink[l, q, r] * levels.omega[q, s]
            mixed[r, s] = total
    for a in range(n_cells + n_fixed):
        if a < n_cells:
            where[a] = cells.columns[cells.start[l] + a]
        else:
            where[a] = n_tail + a - n_cells
        for s in range(n_effects):
            total = 0.0
            for r in range(n_effects):
                if a < n_cells:
                    total += cells.values[cells.start[l] + a, r] * mixed[r, s]
                else:
                    total += cells.with_dense[l, r, a - n_cells] * mixed[r, s]
            lead[a, s] = total
    return n_cells + n_fixed


@kernel
def _spread_level(l, size, levels, tail, where, lead, through, base):
    """Fill through = tail lead and base = omega_shrunk + lead' through, of one level."""
    n_effects = base.shape[0]
    for a in range(size):
        for s in range(n_effects):
            through[a, s] = 0.0
    for a in range(size):
        row = where[a]
        for b in range(a):
            covariance = tail[row, where[b]]
            for s in range(n_effects):
                through[a, s] += covariance * lead[b, s]
                through[b, s] += covariance * lead[a, s]
        for s in range(n_effects):
            through[a, s] += tail[row, row] * lead[a, s]
    for q in range(n_effects):
        for s in range(n_effects):
            total = levels.omega_shrunk[l, q, s]
            for a in range(size):
                total += lead[a, q] * through[a, s]
            base[q, s] = total


@kernel
def _load_row(i, n_cells, rows, fixed, loading, entry, amount):
    """Fill what a row multiplies its level's effects with, and its entries of the tail."""
    for q in range(loading.shape[0]):
        loading[q] = 1.0
        if rows.level_effects[q] >= 0:
            loading[q] = rows.slopes[i, rows.level_effects[q]]
    n = 0
    for k in range(rows.places.shape[1]):
        for q in range(rows.tail_sizes[k]):
            entry[n] = rows.places[i, k] + q
            amount[n] = 1.0
            if rows.tail_effects[k, q] >= 0:
                amount[n] = rows.slopes[i, rows.tail_effects[k, q]]
            n += 1
    for x in range(fixed.shape[1]):
        entry[n] = n_cells + x
        amount[n] = fixed[i, x]
        n += 1


@kernel
def hash_rows(bits, hashes):
    """Fill `hashes` (n,) with one of every row of `bits` (n, m)."""
    for i in range(bits.shape[0]):
        # the mixing steps of SplitMix64 (Steele, Lea and Flood 2014, OOPSLA)
        mixed = np.uint64(0)
        for j in range(bits.shape[1]):
            mixed += np.uint64(0x9E3779B97F4A7C15) + bits[i, j]
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed ^= mixed >> np.uint64(31)
        hashes[i] = np.int64(mixed >> np.uint64(2))


@kernel
def match_rows(keys, hashes, table, first):
    """Number equal rows of `keys` (n, m) alike; return how many different ones there are.

    `first` (n,) is filled with the number of each row's group, in order of
    appearance. `hashes` (n,) holds a hash of every row, `table` (a power of two)
    is filled with -1.
    """
    mask = table.shape[0] - 1
    # the row that a group was first seen in
    n_groups = 0
    for i in range(keys.shape[0]):
        slot = hashes[i] & mask
        while True:
            other = table[slot]
            if other < 0:
                table[slot] = i
                first[i] = n_groups
                n_groups += 1
                break
            same = hashes[i] == hashes[other]
            if same:
                for j in range(keys.shape[1]):
                    if keys[i, j] != keys[other, j]:
                        same = False
                        break
            if same:
                first[i] = first[other]
                break
            slot = (slot + 1) & mask
    return n_groups
