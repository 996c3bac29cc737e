"""Approximate Cholesky factor of a symmetric diagonally dominant matrix without positive edges.

Such a matrix is the Laplacian of a graph plus a nonnegative diagonal, edges to a *ground*.
Eliminating a vertex with edges w_i joins its neighbours by edges w_i w_j / W, W the sum of its
edges. Here each neighbour keeps a sample of these edges instead, chosen with probabilities
in proportion to w_j and of the expected total weight: the factor is that of a matrix whose
expectation is the given one (Kyng and Sachdeva 2016, FOCS; Gao, Kyng and Spielman 2025, SIAM J.
Sci. Comput., "AC(k)"). Edges to the ground need no sample, since they stay one edge.
"""

from typing import NamedTuple

import numpy as np

from skmixed._kernels.compile import kernel

_BEFORE, _AFTER, _QUEUED, _DEGREE, _HEAD, _GROUND, _VERTEX_WORDS = 0, 1, 2, 3, 4, 3, 4
"""Columns of vertices: neighbours in a queue, the degree that the queue is for, degree, last
half-edge (-1: none); of the same memory as floats: edge to the ground, and their number."""

_NEAR, _SAMPLES, _SIZE, _REACH = 0, 1, 0, 1
"""Columns of neighbours: vertex, and samples that its edge stands for; of their sizes: the edge,
and the sum of it and all lighter ones."""

_SHIFT, _LAST, _TARGET, _COUNT, _BEFORE_IT, _BLOCK_WORDS = 2, 3, 8, 24, 14, 8
"""Half-edges of a vertex lie in blocks of four, which are a line of the cache each. Columns of a
block: as floats, weights; as 32 bits, vertices from `_TARGET` on and the block before; as 16 bits,
samples that the edges stand for from `_COUNT` on. The last one is the number of floats."""

_RANDOM, _FREE, _UNUSED, _ENTRIES, _DONE = 0, 1, 2, 3, 4
"""Where an elimination is: state of the random numbers, first block that is free again (-1:
none), first that was never used, entries of the factor, vertices that are eliminated."""

_FEW, _SIZES = 32, 256
"""Neighbours up to which these are sorted by insertion, and sizes that others are sorted by."""


class Graph(NamedTuple):
    """What is left of a graph: edges of the matrix where they are, and blocks of sampled ones.

    Attributes
    ----------
    start, columns, values : (n + 1,), (n_entries,), (n_entries,)
        The matrix by rows, both triangles; what is positive off the diagonal is ignored.
    vertices, grounds : (n, 8), (n, 4)
        The same memory as numbers of 32 bits and as floats.
    place : (n,)
        Place among the neighbours that are collected (-1: none, n: eliminated).
    weights, blocks, counts : (capacity, 8), (capacity, 16), (capacity, 32)
        The same memory as floats, and as numbers of 32 and 16 bits.
    """

    start: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    vertices: np.ndarray
    grounds: np.ndarray
    place: np.ndarray
    weights: np.ndarray
    blocks: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(
        cls, start: np.ndarray, columns: np.ndarray, values: np.ndarray, capacity: int
    ) -> "Graph":
        """Room for a number of blocks. NumPy asks for large pages of memory, kernels do not."""
        n = len(start) - 1
        grounds, place = np.empty((n, _VERTEX_WORDS)), np.empty(n, np.int32)
        weights = np.empty((capacity, _BLOCK_WORDS))
        blocks, counts = weights.view(np.int32), weights.view(np.int16)
        vertices = grounds.view(np.int32)
        return cls(start, columns, values, vertices, grounds, place, weights, blocks, counts)


class Neighbours(NamedTuple):
    """Neighbours of the vertex that is eliminated.

    Attributes
    ----------
    near, sizes : (2 n, 2)
        Their second half is for sorting.
    guide : (n,)
        The first neighbour that a part of all edges may meet.
    buckets : (`_SIZES` + 2,)
    """

    near: np.ndarray
    sizes: np.ndarray
    guide: np.ndarray
    buckets: np.ndarray


class Sampled(NamedTuple):
    """A factor L D L' in the order of elimination.

    Attributes
    ----------
    order, diagonal : (n,)
        The vertices, and D.
    first : (n + 1,)
        Where columns of L begin.
    rows, lower : (capacity,)
        The vertices and the entries below the diagonal.
    """

    order: np.ndarray
    diagonal: np.ndarray
    first: np.ndarray
    rows: np.ndarray
    lower: np.ndarray


def sample_factor(
    matrix: tuple[np.ndarray, np.ndarray, np.ndarray], copies: int, seed: int, capacity: int
) -> tuple[int, Sampled]:
    """Make a factor of a matrix; see `eliminate`, and `Graph` for the matrix.

    Parameters
    ----------
    matrix : tuple of ndarray
    copies : int
        Samples that stand for one edge of the matrix: "k" of AC(k).
    seed : int
        Of the sampling, positive.
    capacity : int
        Entries that there is room for.

    Returns
    -------
    int
        Number of entries; -1 where they are more than the capacity, -2 where a pivot is not
        positive.
    Sampled
    """
    n = len(matrix[0]) - 1
    graph = Graph.of(*matrix, capacity // 2 + 16)
    around = Neighbours(
        np.empty((2 * n, 2), np.int32), np.empty((2 * n, 2)),
        np.empty(n, np.int32), np.empty(_SIZES + 2, np.int64),
    )  # fmt: skip
    factor = Sampled(
        np.empty(n, np.int64), np.empty(n), np.empty(n + 1, np.int64),
        np.empty(capacity, np.int32), np.empty(capacity),
    )  # fmt: skip
    queue = np.full(n * (copies + 1) + 1, -1, np.int64)
    return int(eliminate(graph, around, queue, copies, seed, factor)), factor


@kernel
def eliminate(graph, around, queue, copies, seed, factor):
    """Fill a factor, rows with few edges first; see `sample_factor`.

    Rows with fewer edges than all of their neighbours are eliminated first, which takes a single
    pass over the matrix: none of them are neighbours.
    """
    n, near, vertices = graph.place.shape[0], around.near, graph.vertices
    now = np.array([seed, -1, 0, 0, 0])
    _read_vertices(copies, graph, queue)
    v, lowest, problem = -1, 0, 0
    while now[_DONE] < n and problem == 0:
        if v < n:
            v = _next_least(v + 1, graph.start, graph.columns)
        if v < n:
            i = v
            _dequeue(i, vertices, queue)
        else:
            lowest = _first_in_use(lowest, queue)
            i = queue[lowest]
            _dequeue(i, vertices, queue)
            if vertices[i, _DEGREE] > lowest:
                _enqueue(i, vertices, queue)
                continue
        n_near = _collect(i, copies, graph, around, now)
        problem = _find_problem(i, n_near, copies, graph, around, factor, now)
        if problem < 0:
            continue
        _sort(n_near, around.near, around.sizes, around.buckets)
        total = _write_column(i, n_near, copies, graph, around, factor, now)
        if n_near * (n_near - 1) // 2 <= _count_samples(n_near - 1, near):
            _join_all(n_near, total, graph, around, now)
        else:
            _join_samples(n_near, total, graph, around, now)
        lowest = min(lowest, _queue_again(n_near, near, vertices, queue))
    factor.first[n] = now[_ENTRIES]
    return now[_ENTRIES] if problem == 0 else problem


# None of the functions that the loop calls has several exits, or calls what is not inlined:
# else Numba would count references to all arrays that it takes out of a tuple, which takes
# longer than eliminating a vertex.


@kernel
def _read_vertices(copies, graph, queue):
    """Fill degrees and edges to the ground, and queue all vertices."""
    start, columns, values = graph.start, graph.columns, graph.values
    vertices, grounds, place = graph.vertices, graph.grounds, graph.place
    for i in range(start.shape[0] - 1):
        ground, degree = 0.0, 0
        for p in range(start[i], start[i + 1]):
            if columns[p] == i:
                ground += values[p]
            elif values[p] < 0.0:
                ground += values[p]
                degree += copies
        vertices[i, _DEGREE], vertices[i, _HEAD], place[i] = degree, -1, -1
        grounds[i, _GROUND] = max(ground, 0.0)
        _enqueue(i, vertices, queue)


@kernel
def _next_least(v, start, columns):
    """The first vertex from v on whose row is shorter than those of all its neighbours.

    Of equal rows the first counts as shorter. Where there is none, the number of vertices.
    """
    n, found = start.shape[0] - 1, False
    while v < n and not found:
        size, found = start[v + 1] - start[v], True
        for p in range(start[v], start[v + 1]):
            u = columns[p]
            there = start[u + 1] - start[u]
            if there < size or (there == size and u < v):
                found = False
                break
        if not found:
            v += 1
    return v


@kernel
def _find_problem(v, n_near, copies, graph, around, factor, now):
    """0, or what `sample_factor` returns where a vertex cannot be eliminated."""
    total, n_samples = graph.grounds[v, _GROUND], 0
    for a in range(n_near):
        total += around.sizes[a, _SIZE]
        n_samples += min(around.near[a, _SAMPLES], copies)
    full = now[_ENTRIES] + n_near > factor.rows.shape[0]
    full |= now[_UNUSED] + 2 * n_samples > graph.blocks.shape[0]
    return (-1 if full else 0) if total > 0.0 else -2


@kernel
def _count_samples(n_near, near):
    """Samples that the first of the neighbours keep."""
    found = 0
    for a in range(n_near):
        found += near[a, _SAMPLES]
    return found


@kernel
def _write_column(v, n_near, copies, graph, around, factor, now):
    """Write the column of a vertex, and take the vertex off its neighbours.

    Returns the sum of its edges.
    """
    vertices, grounds, near, sizes = graph.vertices, graph.grounds, around.near, around.sizes
    k, begin, rows, lower = now[_DONE], now[_ENTRIES], factor.rows, factor.lower
    ground = grounds[v, _GROUND]
    total = ground
    for a in range(n_near):
        total += sizes[a, _SIZE]
    factor.order[k], factor.first[k], factor.diagonal[k] = v, begin, total
    share = 1.0 / total
    for a in range(n_near):
        u, size = near[a, _NEAR], sizes[a, _SIZE]
        rows[begin + a], lower[begin + a] = u, -size * share
        grounds[u, _GROUND] += size * ground * share
        vertices[u, _DEGREE] = max(vertices[u, _DEGREE] - near[a, _SAMPLES], 0)
        near[a, _SAMPLES] = min(near[a, _SAMPLES], copies)
    graph.place[v] = vertices.shape[0]
    now[_DONE], now[_ENTRIES] = k + 1, begin + n_near
    return total


@kernel
def _collect(v, copies, graph, around, now):
    """Fill neighbours that are left, their edges to v, and how many samples these stand for.

    Returns their number.
    """
    near, sizes, place = around.near, around.sizes, graph.place
    blocks, weights, counts = graph.blocks, graph.weights, graph.counts
    n, n_near = place.shape[0], 0
    for p in range(graph.start[v], graph.start[v + 1]):
        u = graph.columns[p]
        if u != v and graph.values[p] < 0.0 and place[u] < n:
            near[n_near, _NEAR], near[n_near, _SAMPLES] = u, copies
            sizes[n_near, _SIZE] = -graph.values[p]
            place[u] = n_near
            n_near += 1
    head = graph.vertices[v, _HEAD]
    block, last = head >> _SHIFT, head & _LAST
    while block >= 0:
        for h in range(last + 1):
            u = blocks[block, _TARGET + h]
            if place[u] < n:
                if place[u] < 0:
                    near[n_near, _NEAR], near[n_near, _SAMPLES], sizes[n_near, _SIZE] = u, 0, 0.0
                    place[u] = n_near
                    n_near += 1
                sizes[place[u], _SIZE] += weights[block, h]
                near[place[u], _SAMPLES] += counts[block, _COUNT + h]
        # a block that is done makes room for another
        before = blocks[block, _BEFORE_IT]
        blocks[block, _BEFORE_IT], now[_FREE] = now[_FREE], block
        block, last = before, _LAST
    for a in range(n_near):
        place[near[a, _NEAR]] = -1
    return n_near


@kernel
def _sort(n_near, near, sizes, buckets):
    """Sort neighbours by their edges, lightest first; many of them up to a sixteenth of a size.

    Few are sorted by insertion, many by counting those of a size: 4 bits of its logarithm's
    fraction. The second halves of `near` and `sizes` are for the latter.
    """
    if n_near <= _FEW:
        for a in range(1, n_near):
            u, n, size = near[a, _NEAR], near[a, _SAMPLES], sizes[a, _SIZE]
            b = a - 1
            while b >= 0 and sizes[b, _SIZE] > size:
                near[b + 1, _NEAR], near[b + 1, _SAMPLES] = near[b, _NEAR], near[b, _SAMPLES]
                sizes[b + 1, _SIZE] = sizes[b, _SIZE]
                b -= 1
            near[b + 1, _NEAR], near[b + 1, _SAMPLES], sizes[b + 1, _SIZE] = u, n, size
    else:
        bits, half = sizes.view(np.int64), near.shape[0] // 2
        most = 0
        for a in range(n_near):
            most = max(most, bits[a, _SIZE] >> 48)
        least = most - buckets.shape[0] + 2
        buckets[:] = 0
        for a in range(n_near):
            buckets[max((bits[a, _SIZE] >> 48) - least, 0) + 1] += 1
            near[half + a, _NEAR], near[half + a, _SAMPLES] = near[a, _NEAR], near[a, _SAMPLES]
            sizes[half + a, _SIZE] = sizes[a, _SIZE]
        for k in range(1, buckets.shape[0]):
            buckets[k] += buckets[k - 1]
        for a in range(half, half + n_near):
            key = max((bits[a, _SIZE] >> 48) - least, 0)
            b = buckets[key]
            buckets[key] = b + 1
            near[b, _NEAR], near[b, _SAMPLES] = near[a, _NEAR], near[a, _SAMPLES]
            sizes[b, _SIZE] = sizes[a, _SIZE]


@kernel
def _join_all(n_near, total, graph, around, now):
    """Join neighbours by all edges of an elimination, where these are few."""
    near, sizes, last = around.near, around.sizes, n_near - 1
    for a in range(last):
        n = max(1, near[a, _SAMPLES] // (last - a))
        for b in range(a + 1, n_near):
            amount = sizes[a, _SIZE] * sizes[b, _SIZE] / total
            _add_edge(near[a, _NEAR], near[b, _NEAR], amount, n, graph, now)


@kernel
def _join_samples(n_near, total, graph, around, now):
    """Join neighbours, lightest first, by samples of the edges of an elimination."""
    near, sizes, guide = around.near, around.sizes, around.guide
    state, last = now[_RANDOM], n_near - 1
    reach = 0.0
    for a in range(n_near):
        reach += sizes[a, _SIZE]
        sizes[a, _REACH] = reach
    # the first that a part of the whole reach may meet
    parts, part = n_near / reach, 0
    for a in range(n_near):
        bound = sizes[a, _REACH] * parts
        while part < bound and part < n_near:
            guide[part] = a
            part += 1
    for a in range(last):
        left = reach - sizes[a, _REACH]
        amount = sizes[a, _SIZE] * left / total / near[a, _SAMPLES]
        for _ in range(near[a, _SAMPLES]):
            state = (state * 48271) % 2147483647
            wanted = sizes[a, _REACH] + left * (state / 2147483647.0)
            b = max(guide[min(int(wanted * parts), last)], a + 1)
            while b < last and sizes[b, _REACH] < wanted:
                b += 1
            _add_edge(near[a, _NEAR], near[b, _NEAR], amount, 1, graph, now)
    now[_RANDOM] = state


@kernel
def _add_edge(i, j, amount, n, graph, now):
    """Put an edge that stands for n samples into the blocks of both ends."""
    vertices, blocks = graph.vertices, graph.blocks
    for _ in range(2):
        head = vertices[i, _HEAD]
        if head & _LAST == _LAST:
            block = now[_FREE]
            if block >= 0:
                now[_FREE] = blocks[block, _BEFORE_IT]
            else:
                block = now[_UNUSED]
                now[_UNUSED] = block + 1
            blocks[block, _BEFORE_IT] = head >> _SHIFT
            head = block << _SHIFT
        else:
            head += 1
        block, h = head >> _SHIFT, head & _LAST
        blocks[block, _TARGET + h], graph.counts[block, _COUNT + h] = j, n
        graph.weights[block, h] = amount
        vertices[i, _HEAD] = head
        vertices[i, _DEGREE] += n
        i, j = j, i


@kernel
def _queue_again(n_near, near, vertices, queue):
    """Queue neighbours by their degrees where these have halved; the lowest degree of these.

    That a degree has grown is seen in its turn.
    """
    lowest = queue.shape[0] - 1
    for a in range(n_near):
        u = near[a, _NEAR]
        if 2 * vertices[u, _DEGREE] <= vertices[u, _QUEUED]:
            _dequeue(u, vertices, queue)
            _enqueue(u, vertices, queue)
            lowest = min(lowest, vertices[u, _QUEUED])
    return lowest


@kernel
def _first_in_use(lowest, queue):
    """The first queue from `lowest` on that holds any vertex."""
    while queue[lowest] < 0:
        lowest += 1
    return lowest


@kernel
def _enqueue(i, vertices, queue):
    """Put a vertex at the head of the queue of its degree."""
    d = min(vertices[i, _DEGREE], queue.shape[0] - 1)
    after = queue[d]
    vertices[i, _QUEUED], vertices[i, _DEGREE], vertices[i, _AFTER] = d, d, after
    vertices[after if after >= 0 else i, _BEFORE] = i
    vertices[i, _BEFORE] = -1
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
