"""Approximate Cholesky factor of a symmetric diagonally dominant matrix without positive edges.

Such a matrix is the Laplacian of a graph plus a nonnegative diagonal, edges to a *ground*.
Eliminating a vertex with edges w_i joins its neighbours by edges w_i w_j / W, W the sum of its
edges. Here each neighbour keeps a sample of these edges instead, chosen with probabilities
in proportion to w_j and of the expected total weight: the factor is that of a matrix whose
expectation is the given one (Kyng and Sachdeva 2016, FOCS; Gao, Kyng and Spielman 2025, SIAM J.
Sci. Comput., "AC(k)"). Edges to the ground need no sample, since they stay one edge.
"""

import numpy as np

from skmixed._kernels.compile import kernel
from skmixed._kernels.ordering import _dequeue, _enqueue


@kernel
def sample_factor(matrix, copies, seed, order, first, rows, lower, diagonal):
    """Fill a factor L D L' in the order of elimination, of rows with few edges first.

    Parameters
    ----------
    matrix : tuple of (n + 1,), (n_entries,), (n_entries,)
        The matrix by rows, both triangles; what is positive off the diagonal is ignored.
    copies : int
        Samples that stand for one edge of the matrix: "k" of AC(k).
    seed : int
        Of the sampling, positive.
    order, diagonal : (n,)
        Receive the vertices in the order of elimination, and D.
    first : (n + 1,)
        Receives where columns of L begin.
    rows, lower : (capacity,)
        Receive the vertices and the entries below the diagonal.

    Returns
    -------
    int
        Number of entries; -1 where they are more than the capacity, -2 where a pivot is not
        positive.
    """
    n = matrix[0].shape[0] - 1
    # half-edges: vertex, weight, samples that it stands for, next of the same vertex
    size = 2 * rows.shape[0]
    target, count = np.empty(size, np.int32), np.empty(size, np.int32)
    link, weight = np.empty(size, np.int64), np.empty(size)
    head, degree, ground = np.full(n, -1, np.int64), np.zeros(n, np.int64), np.zeros(n)
    free = _read_graph(matrix, copies, head, degree, ground, (target, count, link, weight))
    before, after = np.empty(n, np.int64), np.empty(n, np.int64)
    queue = np.full(n * (copies + 1) + 1, -1, np.int64)
    for i in range(n):
        degree[i] = min(degree[i], queue.shape[0] - 1)
        _enqueue(i, degree, queue, before, after)
    alive, mark = np.ones(n, np.bool_), np.full(n, -1, np.int64)
    near, sizes = np.empty(n, np.int64), np.empty(n)
    samples = np.empty(n, np.int64)
    n_entries, lowest, state = 0, 0, seed
    for k in range(n):
        while queue[lowest] < 0:
            lowest += 1
        v = queue[lowest]
        _dequeue(v, degree, queue, before, after)
        alive[v] = False
        n_near, h = 0, head[v]
        while h >= 0:
            u, following = target[h], link[h]
            if alive[u]:
                if mark[u] < 0:
                    mark[u], near[n_near], sizes[n_near], samples[n_near] = n_near, u, 0.0, 0
                    n_near += 1
                sizes[mark[u]] += weight[h]
                samples[mark[u]] += count[h]
            # a half-edge that is done makes room for another
            link[h], free = free, h
            h = following
        total = ground[v]
        for a in range(n_near):
            total += sizes[a]
            mark[near[a]] = -1
        if not total > 0.0:
            return -2
        if n_entries + n_near > rows.shape[0]:
            return -1
        order[k], diagonal[k], first[k] = v, total, n_entries
        ranks = np.argsort(sizes[:n_near])
        for a in range(n_near):
            u = near[ranks[a]]
            rows[n_entries + a], lower[n_entries + a] = u, -sizes[ranks[a]] / total
            ground[u] += sizes[ranks[a]] * ground[v] / total
        n_entries += n_near
        lists = target, count, link, weight
        for a in range(n_near):
            u = near[a]
            _dequeue(u, degree, queue, before, after)
            degree[u] = max(degree[u] - samples[a], 0)
            samples[a] = min(samples[a], copies)
        found = near[ranks], sizes[ranks], samples[ranks]
        state, free = _join_near(found, total, state, free, head, degree, lists)
        for a in range(n_near):
            degree[near[a]] = min(degree[near[a]], queue.shape[0] - 1)
            lowest = min(lowest, degree[near[a]])
            _enqueue(near[a], degree, queue, before, after)
    first[n] = n_entries
    return n_entries


@kernel
def _read_graph(matrix, copies, head, degree, ground, lists):
    """Fill the lists of half-edges and the edges to the ground; the first free half-edge."""
    target, count, link, weight = lists
    start, columns, values = matrix
    n, n_used = start.shape[0] - 1, 0
    for i in range(n):
        for p in range(start[i], start[i + 1]):
            j = columns[p]
            if j == i:
                ground[i] += values[p]
            elif values[p] < 0.0:
                ground[i] += values[p]
                target[n_used], count[n_used], weight[n_used] = j, copies, -values[p]
                link[n_used], head[i] = head[i], n_used
                degree[i] += copies
                n_used += 1
    for i in range(n):
        ground[i] = max(ground[i], 0.0)
    for h in range(n_used, link.shape[0]):
        link[h] = h + 1
    link[link.shape[0] - 1] = -1
    return n_used


@kernel
def _join_near(found, total, state, free, head, degree, lists):
    """Join neighbours, lightest first, by samples of the edges of an elimination.

    A clique of few edges is joined as it is. Returns the state of the random numbers and the
    first free half-edge.
    """
    near, sizes, samples = found
    n_near = near.shape[0]
    wanted = 0
    for a in range(n_near - 1):
        wanted += samples[a]
    if n_near * (n_near - 1) // 2 <= wanted:
        for a in range(n_near):
            for b in range(a + 1, n_near):
                amount, n = sizes[a] * sizes[b] / total, min(samples[a], samples[b])
                n = max(1, n // max(1, n_near - 1 - a))
                free = _add_edge(near[a], near[b], amount, n, free, head, degree, lists)
        return state, free
    reach = np.cumsum(sizes)
    for a in range(n_near - 1):
        left = reach[n_near - 1] - reach[a]
        amount = sizes[a] * left / total / samples[a]
        for _ in range(samples[a]):
            state = (state * 48271) % 2147483647
            b = np.searchsorted(reach, reach[a] + left * (state / 2147483647.0))
            b = min(max(b, a + 1), n_near - 1)
            free = _add_edge(near[a], near[b], amount, 1, free, head, degree, lists)
    return state, free


@kernel
def _add_edge(i, j, amount, n, free, head, degree, lists):
    """Put an edge that stands for n samples into the lists of both ends."""
    target, count, link, weight = lists
    for _ in range(2):
        h = free
        free = link[h]
        target[h], count[h], weight[h] = j, n, amount
        link[h], head[i] = head[i], h
        degree[i] += n
        i, j = j, i
    return free
