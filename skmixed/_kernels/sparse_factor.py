"""L D L' of a sparse symmetric matrix, products with its parts, and entries of its inverse.

The matrix is in the order of elimination. Its first rows are eliminated by columns of L, of
which `first`, `rows`, `lower` hold those below the diagonal, ascending; the rows that are
left are the *core*, a dense matrix. Vectors are (n, m), row-major.
"""

import numpy as np

from skmixed._kernels.compile import kernel


@kernel
def factor_columns(matrix, order, place, first, rows, lower, diagonal, core):
    """Fill the columns of L, the diagonal D of eliminated rows, and what is left of the core.

    Column by column from the left (Davis 2006, Direct Methods for Sparse Linear Systems,
    section 4.8). `matrix` is (start, columns, values) by rows, both triangles, in the order of
    the effects; row v has the place `place[v]`. False where a pivot is not positive.
    """
    start, columns, values = matrix
    n, n_columns = order.shape[0], first.shape[0] - 1
    work = np.zeros(n)
    head, link = np.full(n, -1, np.int64), np.empty(n_columns, np.int64)
    cursor = np.empty(n_columns, np.int64)
    for k in range(n_columns):
        v = order[k]
        for p in range(start[v], start[v + 1]):
            if place[columns[p]] >= k:
                work[place[columns[p]]] = values[p]
        c = head[k]
        while c >= 0:
            following = link[c]
            here = cursor[c]
            amount = lower[here] * diagonal[c]
            for p in range(here, first[c + 1]):
                work[rows[p]] -= amount * lower[p]
            _wait(c, here + 1, first, rows, n_columns, head, link, cursor)
            c = following
        pivot = work[k]
        if not pivot > 0.0:
            return False
        diagonal[k] = pivot
        for p in range(first[k], first[k + 1]):
            lower[p] = work[rows[p]] / pivot
            work[rows[p]] = 0.0
        _wait(k, first[k], first, rows, n_columns, head, link, cursor)
    for k in range(n_columns, n):
        v = order[k]
        for p in range(start[v], start[v + 1]):
            if place[columns[p]] >= n_columns:
                core[k - n_columns, place[columns[p]] - n_columns] = values[p]
    for k in range(n_columns):
        for p in range(first[k + 1] - 1, first[k] - 1, -1):
            if rows[p] < n_columns:
                break
            amount = lower[p] * diagonal[k]
            for q in range(p, first[k + 1]):
                core[rows[q] - n_columns, rows[p] - n_columns] -= amount * lower[q]
    return True


@kernel
def _wait(c, here, first, rows, n_columns, head, link, cursor):
    """Let column c wait for the row of its entry `here`."""
    if here < first[c + 1] and rows[here] < n_columns:
        cursor[c] = here
        link[c] = head[rows[here]]
        head[rows[here]] = c


@kernel
def solve_lower(first, rows, lower, vectors):
    """Overwrite vectors with L^-1 vectors, as far as eliminated rows are concerned."""
    if vectors.shape[1] == 1:
        for k in range(first.shape[0] - 1):
            vector = vectors[k, 0]
            for p in range(first[k], first[k + 1]):
                vectors[rows[p], 0] -= lower[p] * vector
        return
    for k in range(first.shape[0] - 1):
        for p in range(first[k], first[k + 1]):
            amount = lower[p]
            for j in range(vectors.shape[1]):
                vectors[rows[p], j] -= amount * vectors[k, j]


@kernel
def solve_upper(first, rows, lower, vectors):
    """Overwrite vectors with L'^-1 vectors, those of the core being done."""
    if vectors.shape[1] == 1:
        for k in range(first.shape[0] - 2, -1, -1):
            vector = vectors[k, 0]
            for p in range(first[k], first[k + 1]):
                vector -= lower[p] * vectors[rows[p], 0]
            vectors[k, 0] = vector
        return
    for k in range(first.shape[0] - 2, -1, -1):
        for p in range(first[k], first[k + 1]):
            amount = lower[p]
            for j in range(vectors.shape[1]):
                vectors[k, j] -= amount * vectors[rows[p], j]


@kernel
def multiply_lower(first, rows, lower, vectors):
    """Overwrite vectors with L vectors, those of the core without L's block there."""
    for k in range(first.shape[0] - 2, -1, -1):
        for p in range(first[k], first[k + 1]):
            amount = lower[p]
            for j in range(vectors.shape[1]):
                vectors[rows[p], j] += amount * vectors[k, j]


@kernel
def multiply_upper(first, rows, lower, vectors):
    """Overwrite vectors with L' vectors of eliminated rows, before the core is multiplied."""
    for k in range(first.shape[0] - 1):
        for p in range(first[k], first[k + 1]):
            amount = lower[p]
            for j in range(vectors.shape[1]):
                vectors[k, j] += amount * vectors[rows[p], j]


@kernel
def invert_selected(first, rows, lower, diagonal, core, below, on_diagonal):
    """Fill the inverse where L has entries, `below` and `on_diagonal`, given that of the core.

    With Z the inverse, Z L = L'^-1 D^-1 is upper triangular (Takahashi, Fagan and Chin 1973,
    PICA Proceedings 8; Erisman and Tinney 1975, Comm. ACM 18). Pairs of rows of a column are
    in the pattern, since its elimination has joined them.
    """
    n_columns = first.shape[0] - 1
    mark = np.full(n_columns + core.shape[0], -1, np.int64)
    for k in range(n_columns - 1, -1, -1):
        begin, end = first[k], first[k + 1]
        for p in range(begin, end):
            mark[rows[p]] = p
            below[p] = 0.0
        for p in range(begin, end):
            s, amount = rows[p], lower[p]
            if s < n_columns:
                below[p] -= amount * on_diagonal[s]
                for q in range(first[s], first[s + 1]):
                    t = mark[rows[q]]
                    if t >= 0:
                        below[t] -= amount * below[q]
                        below[p] -= lower[t] * below[q]
                continue
            below[p] -= amount * core[s - n_columns, s - n_columns]
            for t in range(p + 1, end):
                entry = core[rows[t] - n_columns, s - n_columns]
                below[t] -= amount * entry
                below[p] -= lower[t] * entry
        total = 1.0 / diagonal[k]
        for p in range(begin, end):
            total -= lower[p] * below[p]
            mark[rows[p]] = -1
        on_diagonal[k] = total


@kernel
def find_entries(start, columns, place, first, rows, where):
    """Fill where entries of a matrix by rows are among those of the inverse.

    These are the entries below the diagonal of L, then the diagonal of eliminated rows, then
    the core row by row.
    """
    n, n_columns = place.shape[0], first.shape[0] - 1
    n_core = n - n_columns
    for v in range(n):
        for p in range(start[v], start[v + 1]):
            low = min(place[v], place[columns[p]])
            high = max(place[v], place[columns[p]])
            if low >= n_columns:
                where[p] = first[n_columns] + n_columns + (low - n_columns) * n_core
                where[p] += high - n_columns
            elif low == high:
                where[p] = first[n_columns] + low
            else:
                a, b = first[low], first[low + 1]
                while b - a > 1:
                    middle = (a + b) // 2
                    if rows[middle] <= high:
                        a = middle
                    else:
                        b = middle
                where[p] = a
