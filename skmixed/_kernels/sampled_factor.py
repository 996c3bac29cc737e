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

_BEFORE, _AFTER, _QUEUED, _DEGREE, _HEAD, _PLACE, _GROUND, _VERTEX_WORDS = 0, 1, 2, 3, 4, 5, 3, 4
"""Columns of vertices: neighbours in a queue, the degree that the queue is for, degree, first
half-edge, place among the neighbours that are collected (n: eliminated); of the same memory as
floats: edge to the ground, and their number."""

_NEAR, _SAMPLES, _SIZE, _REACH = 0, 1, 0, 1
"""Columns of neighbours: vertex, and samples that its edge stands for; of their sizes: the edge,
and the sum of it and all lighter ones."""

_TARGET, _COUNT, _NEXT, _WEIGHT, _WORDS = 0, 1, 2, 2, 3
"""Columns of half-edges: vertex, samples that it stands for, next of the same vertex; of the same
memory as floats: weight, and their number."""


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
    grounds, weights = np.empty((n, _VERTEX_WORDS)), np.empty((2 * rows.shape[0], _WORDS))
    vertices, edges = grounds.view(np.int32), weights.view(np.int32)
    free = _read_graph(matrix, copies, vertices, grounds, edges, weights)
    queue = np.full(n * (copies + 1) + 1, -1, np.int64)
    for i in range(n):
        _enqueue(i, vertices, queue)
    near, sizes = np.empty((n, 2), np.int32), np.empty((n, 2))
    n_entries, lowest, state = 0, 0, seed
    for k in range(n):
        v, lowest = _of_low_degree(lowest, vertices, queue)
        order[k], first[k] = v, n_entries
        n_near, free = _collect(v, vertices, free, edges, weights, near, sizes)
        ground = grounds[v, _GROUND]
        total = ground
        for a in range(n_near):
            total += sizes[a, _SIZE]
        if not total > 0.0:
            return -2
        if n_entries + n_near > rows.shape[0]:
            return -1
        diagonal[k] = total
        _sort(near, sizes, n_near)
        for a in range(n_near):
            u, size = near[a, _NEAR], sizes[a, _SIZE]
            rows[n_entries + a], lower[n_entries + a] = u, -size / total
            grounds[u, _GROUND] += size * ground / total
            vertices[u, _DEGREE] = max(vertices[u, _DEGREE] - near[a, _SAMPLES], 0)
            near[a, _SAMPLES] = min(near[a, _SAMPLES], copies)
        n_entries += n_near
        if n_near > 1:
            state, free = _join_near(
                near, sizes, n_near, total, (state, free), vertices, edges, weights
            )
        for a in range(n_near):
            u = near[a, _NEAR]
            # a queue is left once the degree has halved; that it has grown is seen in its turn
            if 2 * vertices[u, _DEGREE] <= vertices[u, _QUEUED]:
                _dequeue(u, vertices, queue)
                _enqueue(u, vertices, queue)
                lowest = min(lowest, vertices[u, _QUEUED])
        vertices[v, _PLACE] = n
    first[n] = n_entries
    return n_entries


@kernel
def _read_graph(matrix, copies, vertices, grounds, edges, weights):
    """Fill the lists of half-edges and the edges to the ground; the first free half-edge."""
    start, columns, values = matrix
    n, n_used = start.shape[0] - 1, 0
    for i in range(n):
        vertices[i, _DEGREE], vertices[i, _HEAD], vertices[i, _PLACE] = 0, -1, -1
        ground = 0.0
        for p in range(start[i], start[i + 1]):
            j = columns[p]
            if j == i:
                ground += values[p]
            elif values[p] < 0.0:
                ground += values[p]
                edges[n_used, _TARGET], edges[n_used, _COUNT] = j, copies
                edges[n_used, _NEXT], vertices[i, _HEAD] = vertices[i, _HEAD], n_used
                weights[n_used, _WEIGHT] = -values[p]
                vertices[i, _DEGREE] += copies
                n_used += 1
        grounds[i, _GROUND] = max(ground, 0.0)
    # free half-edges are a list as well, whose last one begins those that were never used
    edges[n_used, _NEXT] = -1
    return n_used


@kernel
def _collect(v, vertices, free, edges, weights, near, sizes):
    """Fill neighbours that are left, their edges to v, and how many samples these stand for.

    Returns their number and the first free half-edge.
    """
    n = vertices.shape[0]
    n_near, h = 0, vertices[v, _HEAD]
    while h >= 0:
        u, following = edges[h, _TARGET], edges[h, _NEXT]
        place = vertices[u, _PLACE]
        if place < n:
            if place < 0:
                place = n_near
                near[place, _NEAR], near[place, _SAMPLES], sizes[place, _SIZE] = u, 0, 0.0
                vertices[u, _PLACE] = place
                n_near += 1
            sizes[place, _SIZE] += weights[h, _WEIGHT]
            near[place, _SAMPLES] += edges[h, _COUNT]
        # a half-edge that is done makes room for another
        edges[h, _NEXT], free = free, h
        h = following
    for a in range(n_near):
        vertices[near[a, _NEAR], _PLACE] = -1
    return n_near, free


@kernel
def _sort(near, sizes, n_near):
    """Sort neighbours by their edges, lightest first: Shell's method, most of them are few."""
    gap = 1
    while gap < n_near // 4:
        gap = 3 * gap + 1
    while gap > 0:
        for a in range(gap, n_near):
            u, n, size = near[a, _NEAR], near[a, _SAMPLES], sizes[a, _SIZE]
            b = a - gap
            while b >= 0 and sizes[b, _SIZE] > size:
                near[b + gap, _NEAR], near[b + gap, _SAMPLES] = near[b, _NEAR], near[b, _SAMPLES]
                sizes[b + gap, _SIZE] = sizes[b, _SIZE]
                b -= gap
            near[b + gap, _NEAR], near[b + gap, _SAMPLES], sizes[b + gap, _SIZE] = u, n, size
        gap //= 3


@kernel
def _join_near(near, sizes, n_near, total, random_and_free, vertices, edges, weights):
    """Join neighbours, lightest first, by samples of the edges of an elimination.

    A clique of few edges is joined as it is. Takes and returns the state of the random numbers
    and the first free half-edge.
    """
    state, free = random_and_free
    wanted, last = 0, n_near - 1
    for a in range(last):
        wanted += near[a, _SAMPLES]
    if n_near * last // 2 <= wanted:
        for a in range(last):
            n = max(1, near[a, _SAMPLES] // (last - a))
            for b in range(a + 1, n_near):
                amount = sizes[a, _SIZE] * sizes[b, _SIZE] / total
                i, j = near[a, _NEAR], near[b, _NEAR]
                free = _add_edge(i, j, amount, n, free, vertices, edges, weights)
        return state, free
    sizes[0, _REACH] = sizes[0, _SIZE]
    for a in range(1, n_near):
        sizes[a, _REACH] = sizes[a - 1, _REACH] + sizes[a, _SIZE]
    for a in range(last):
        left = sizes[last, _REACH] - sizes[a, _REACH]
        amount = sizes[a, _SIZE] * left / total / near[a, _SAMPLES]
        for _ in range(near[a, _SAMPLES]):
            state = (state * 48271) % 2147483647
            wanted_reach = sizes[a, _REACH] + left * (state / 2147483647.0)
            low, high = a + 1, last
            while low < high:
                middle = (low + high) // 2
                if sizes[middle, _REACH] < wanted_reach:
                    low = middle + 1
                else:
                    high = middle
            i, j = near[a, _NEAR], near[low, _NEAR]
            free = _add_edge(i, j, amount, 1, free, vertices, edges, weights)
    return state, free


@kernel
def _add_edge(i, j, amount, n, free, vertices, edges, weights):
    """Put an edge that stands for n samples into the lists of both ends; the next free one."""
    for _ in range(2):
        h = free
        free = edges[h, _NEXT]
        if free < 0:
            free = h + 1
            edges[free, _NEXT] = -1
        edges[h, _TARGET], edges[h, _COUNT] = j, n
        edges[h, _NEXT], vertices[i, _HEAD] = vertices[i, _HEAD], h
        weights[h, _WEIGHT] = amount
        vertices[i, _DEGREE] += n
        i, j = j, i
    return free


@kernel
def _of_low_degree(lowest, vertices, queue):
    """Take a vertex of low degree out of the queues; it and the first queue that may hold any."""
    while True:
        while queue[lowest] < 0:
            lowest += 1
        v = queue[lowest]
        _dequeue(v, vertices, queue)
        if vertices[v, _DEGREE] <= lowest:
            return v, lowest
        _enqueue(v, vertices, queue)


@kernel
def _enqueue(i, vertices, queue):
    """Put a vertex at the head of the queue of its degree."""
    d = min(vertices[i, _DEGREE], queue.shape[0] - 1)
    vertices[i, _QUEUED], vertices[i, _DEGREE] = d, d
    vertices[i, _BEFORE], vertices[i, _AFTER] = -1, queue[d]
    if queue[d] >= 0:
        vertices[queue[d], _BEFORE] = i
    queue[d] = i


@kernel
def _dequeue(i, vertices, queue):
    """Take a vertex out of its queue."""
    before, after = vertices[i, _BEFORE], vertices[i, _AFTER]
    if before >= 0:
        vertices[before, _AFTER] = after
    else:
        queue[vertices[i, _QUEUED]] = after
    if after >= 0:
        vertices[after, _BEFORE] = before
