"""Order of elimination of a sparse symmetric matrix: always a row with the fewest neighbours.

Every elimination joins the neighbours of its row (Rose 1972, in Read, Graph Theory and
Computing; minimum degree by Tinney and Walker 1967, Proc. IEEE 55). Edges are kept in lists
by row and in a hash table, so that a joined pair costs one look-up however long the lists.
"""

import numpy as np

from skmixed._kernels.compile import kernel


@kernel
def order_by_degree(start, columns, limits, order, first, rows):
    """Eliminate rows of fewest neighbours until what is left is dense, small or too large.

    Parameters
    ----------
    start, columns : (n + 1,), (n_entries,)
        The pattern of the matrix by rows, both triangles; the diagonal is ignored.
    limits : (3,)
        Largest number of neighbours of a row that is eliminated, largest sum of their squares,
        and most edges, those that joins add included.
    order : (n,)
        Receives the rows in the order of elimination, then those that are left.
    first : (n + 1,)
        Receives where the neighbours of every eliminated row begin in `rows`.
    rows : (most edges,)
        Receives the neighbours that a row has when it is eliminated.

    Returns
    -------
    int
        Number of eliminated rows.
    """
    n = start.shape[0] - 1
    most_neighbours, most_work, most_edges = limits[0], limits[1], limits[2]
    head, degree = np.full(n, -1, np.int64), np.zeros(n, np.int64)
    link, target = np.empty(2 * most_edges, np.int64), np.empty(2 * most_edges, np.int32)
    size = 16
    while size < 2 * most_edges:
        size *= 2
    table = np.full(size, -1, np.int64)
    n_links = 0
    for i in range(n):
        for k in range(start[i], start[i + 1]):
            if columns[k] < i and _is_new(table, columns[k], i, n):
                n_links = _join(columns[k], i, head, link, target, degree, n_links)
    before, after, queue = np.empty(n, np.int64), np.empty(n, np.int64), np.full(n, -1, np.int64)
    for i in range(n):
        _enqueue(n - 1 - i, degree, queue, before, after)
    done, n_rows, work, lowest = 0, 0, 0, 0
    first[0] = 0
    alive = np.ones(n, np.bool_)
    while done < n:
        while queue[lowest] < 0:
            lowest += 1
        left = n - done
        work += lowest * lowest
        if lowest > most_neighbours or work > most_work or 4 * lowest >= left > 16:
            break
        if n_links // 2 + lowest * (lowest - 1) // 2 > most_edges:
            break
        v = queue[lowest]
        _dequeue(v, degree, queue, before, after)
        alive[v] = False
        order[done] = v
        k = head[v]
        while k >= 0:
            if alive[target[k]]:
                rows[n_rows] = target[k]
                n_rows += 1
            k = link[k]
        for a in range(first[done], n_rows):
            u = rows[a]
            _dequeue(u, degree, queue, before, after)
            degree[u] -= 1
            for b in range(first[done], a):
                if _is_new(table, min(u, rows[b]), max(u, rows[b]), n):
                    _dequeue(rows[b], degree, queue, before, after)
                    n_links = _join(u, rows[b], head, link, target, degree, n_links)
                    _enqueue(rows[b], degree, queue, before, after)
            _enqueue(u, degree, queue, before, after)
        done += 1
        first[done] = n_rows
        lowest = max(lowest - 1, 0)
    place = done
    for v in range(n):
        if alive[v]:
            order[place] = v
            place += 1
    return done


@kernel
def _is_new(table, i, j, n):
    """Put the edge of i < j into the table; False where it is there."""
    key = np.int64(i) * np.int64(n) + np.int64(j)
    mask = table.shape[0] - 1
    slot = ((key ^ (key >> 17)) * 40503 ^ (key >> 7)) & mask
    while table[slot] >= 0:
        if table[slot] == key:
            return False
        slot = (slot + 1) & mask
    table[slot] = key
    return True


@kernel
def _join(i, j, head, link, target, degree, n_links):
    """Add an edge to the lists of both ends."""
    target[n_links], link[n_links], head[i] = j, head[i], n_links
    target[n_links + 1], link[n_links + 1], head[j] = i, head[j], n_links + 1
    degree[i] += 1
    degree[j] += 1
    return n_links + 2


@kernel
def _enqueue(i, degree, queue, before, after):
    """Put a row at the head of the queue of its degree."""
    d = degree[i]
    before[i], after[i] = -1, queue[d]
    if queue[d] >= 0:
        before[queue[d]] = i
    queue[d] = i


@kernel
def _dequeue(i, degree, queue, before, after):
    if before[i] >= 0:
        after[before[i]] = after[i]
    else:
        queue[degree[i]] = after[i]
    if after[i] >= 0:
        before[after[i]] = before[i]
