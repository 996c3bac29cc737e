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

_BEFORE, _AFTER, _DEGREE, _HEAD = 0, 1, 2, 3
"""Columns of vertices: neighbours in the queue of their degree, degree, first half-edge."""

_TARGET, _COUNT, _NEXT = 0, 1, 2
"""Columns of half-edges: vertex, samples that it stands for, next of the same vertex."""


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
    # what is used together lies together: a vertex or a half-edge is one line of the cache
    vertices, ground = np.full((n, 4), -1, np.int32), np.zeros(n)
    edges, weight = np.empty((2 * rows.shape[0], 4), np.int32), np.empty(2 * rows.shape[0])
    free = _read_graph(matrix, copies, vertices, ground, edges, weight)
    queue = np.full(n * (copies + 1) + 1, -1, np.int64)
    for i in range(n):
        vertices[i, _DEGREE] = min(vertices[i, _DEGREE], queue.shape[0] - 1)
        _enqueue(i, vertices, queue)
    mark = np.full(n, -1, np.int32)
    near, held, samples = np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32)
    sizes, reach = np.empty(n), np.empty(n)
    n_entries, lowest, state = 0, 0, seed
    for k in range(n):
        while queue[lowest] < 0:
            lowest += 1
        v = queue[lowest]
        _dequeue(v, lowest, vertices, queue)
        order[k], first[k] = v, n_entries
        n_near, free = _collect(v, vertices, mark, free, edges, weight, (near, sizes, samples))
        total = ground[v]
        for a in range(n_near):
            total += sizes[a]
        if not total > 0.0:
            return -2
        if n_entries + n_near > rows.shape[0]:
            return -1
        diagonal[k] = total
        _sort(near, sizes, samples, n_near)
        for a in range(n_near):
            u = near[a]
            rows[n_entries + a], lower[n_entries + a] = u, -sizes[a] / total
            ground[u] += sizes[a] * ground[v] / total
            held[a] = vertices[u, _DEGREE]
            vertices[u, _DEGREE] = max(held[a] - samples[a], 0)
            samples[a] = min(samples[a], copies)
        n_entries += n_near
        if n_near > 1:
            found = near, sizes, samples, reach
            state, free = _join_near(found, n_near, total, (state, free), vertices, edges, weight)
        for a in range(n_near):
            u = near[a]
            now = min(vertices[u, _DEGREE], queue.shape[0] - 1)
            if now != held[a]:
                _dequeue(u, held[a], vertices, queue)
                vertices[u, _DEGREE] = now
                _enqueue(u, vertices, queue)
                lowest = min(lowest, now)
        mark[v] = n
    first[n] = n_entries
    return n_entries


@kernel
def _read_graph(matrix, copies, vertices, ground, edges, weight):
    """Fill the lists of half-edges and the edges to the ground; the first free half-edge."""
    start, columns, values = matrix
    n, n_used = start.shape[0] - 1, 0
    for i in range(n):
        vertices[i, _DEGREE] = 0
        for p in range(start[i], start[i + 1]):
            j = columns[p]
            if j == i:
                ground[i] += values[p]
            elif values[p] < 0.0:
                ground[i] += values[p]
                edges[n_used, _TARGET], edges[n_used, _COUNT] = j, copies
                edges[n_used, _NEXT], vertices[i, _HEAD] = vertices[i, _HEAD], n_used
                weight[n_used] = -values[p]
                vertices[i, _DEGREE] += copies
                n_used += 1
        ground[i] = max(ground[i], 0.0)
    for h in range(n_used, edges.shape[0]):
        edges[h, _NEXT] = h + 1
    edges[edges.shape[0] - 1, _NEXT] = -1
    return n_used


@kernel
def _collect(v, vertices, mark, free, edges, weight, found):
    """Fill neighbours that are left, their edges to v, and how many samples these stand for.

    Returns their number and the first free half-edge. `mark` is n for vertices that are
    eliminated, and -1 for others.
    """
    near, sizes, samples = found
    n = mark.shape[0]
    n_near, h = 0, vertices[v, _HEAD]
    while h >= 0:
        u, following = edges[h, _TARGET], edges[h, _NEXT]
        place = mark[u]
        if place < n:
            if place < 0:
                place = n_near
                mark[u], near[place], sizes[place], samples[place] = place, u, 0.0, 0
                n_near += 1
            sizes[place] += weight[h]
            samples[place] += edges[h, _COUNT]
        # a half-edge that is done makes room for another
        edges[h, _NEXT], free = free, h
        h = following
    for a in range(n_near):
        mark[near[a]] = -1
    return n_near, free


@kernel
def _sort(near, sizes, samples, n_near):
    """Sort neighbours by their edges, lightest first."""
    if n_near > 24:
        ranks = np.argsort(sizes[:n_near])
        near[:n_near], sizes[:n_near] = near[:n_near][ranks], sizes[:n_near][ranks]
        samples[:n_near] = samples[:n_near][ranks]
        return
    for a in range(1, n_near):
        u, size, n = near[a], sizes[a], samples[a]
        b = a - 1
        while b >= 0 and sizes[b] > size:
            near[b + 1], sizes[b + 1], samples[b + 1] = near[b], sizes[b], samples[b]
            b -= 1
        near[b + 1], sizes[b + 1], samples[b + 1] = u, size, n


@kernel
def _join_near(found, n_near, total, random_and_free, vertices, edges, weight):
    """Join neighbours, lightest first, by samples of the edges of an elimination.

    A clique of few edges is joined as it is. Takes and returns the state of the random numbers
    and the first free half-edge.
    """
    near, sizes, samples, reach = found
    state, free = random_and_free
    wanted = 0
    for a in range(n_near - 1):
        wanted += samples[a]
    if n_near * (n_near - 1) // 2 <= wanted:
        for a in range(n_near - 1):
            n = max(1, samples[a] // (n_near - 1 - a))
            for b in range(a + 1, n_near):
                amount = sizes[a] * sizes[b] / total
                free = _add_edge(near[a], near[b], amount, n, free, vertices, edges, weight)
        return state, free
    reach[0] = sizes[0]
    for a in range(1, n_near):
        reach[a] = reach[a - 1] + sizes[a]
    for a in range(n_near - 1):
        left = reach[n_near - 1] - reach[a]
        amount = sizes[a] * left / total / samples[a]
        for _ in range(samples[a]):
            state = (state * 48271) % 2147483647
            wanted_reach = reach[a] + left * (state / 2147483647.0)
            low, high = a + 1, n_near - 1
            while low < high:
                middle = (low + high) // 2
                if reach[middle] < wanted_reach:
                    low = middle + 1
                else:
                    high = middle
            free = _add_edge(near[a], near[low], amount, 1, free, vertices, edges, weight)
    return state, free


@kernel
def _add_edge(i, j, amount, n, free, vertices, edges, weight):
    """Put an edge that stands for n samples into the lists of both ends; the next free one."""
    for _ in range(2):
        h = free
        free = edges[h, _NEXT]
        edges[h, _TARGET], edges[h, _COUNT] = j, n
        edges[h, _NEXT], vertices[i, _HEAD] = vertices[i, _HEAD], h
        weight[h] = amount
        vertices[i, _DEGREE] += n
        i, j = j, i
    return free


@kernel
def _enqueue(i, vertices, queue):
    """Put a vertex at the head of the queue of its degree."""
    d = vertices[i, _DEGREE]
    vertices[i, _BEFORE], vertices[i, _AFTER] = -1, queue[d]
    if queue[d] >= 0:
        vertices[queue[d], _BEFORE] = i
    queue[d] = i


@kernel
def _dequeue(i, d, vertices, queue):
    """Take a vertex out of the queue of degree d."""
    before, after = vertices[i, _BEFORE], vertices[i, _AFTER]
    if before >= 0:
        vertices[before, _AFTER] = after
    else:
        queue[d] = after
    if after >= 0:
        vertices[after, _BEFORE] = before
