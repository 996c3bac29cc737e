"""The integral of a level's likelihood over its random effects, with derivatives.

With effects u = T v, v ~ N(0, I), and linear predictors eta_i = x_i' beta + z_i' T v of the rows
of a level, the level's likelihood is the integral of exp(sum_i w_i log p(y_i | eta_i)) over v.
The product of trapezoidal rules, in coordinates in which the integrand has unit curvature at its
mode, converges exponentially (Trefethen and Weideman 2014, SIAM Review 56), also for the skewed
integrands of levels whose rows are all of one class, of which Gauss-Hermite rules need very many
nodes. Nodes are visited from the mode outwards until the integrand has vanished; it is
log-concave.

Given v, all parameters but the natural ones of a family enter by eta, which is linear in them.
With s(v) the gradient of the log density of all rows, Fisher's identity says that the gradient
of the log integral is E s(v), and Louis (1982, J. R. Stat. Soc. B 44) that its Hessian is
E ds(v) + Cov s(v), under the posterior of v. The same nodes give all.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from skmixed._kernels.compile import inlined_kernel, kernel
from skmixed._kernels.densities import (
    LOGIT,
    ORDERED_LOGIT,
    density_terms,
    natural_terms,
    weighted_parts,
)

_LOG_TWO_PI = math.log(2.0 * math.pi)
_LARGE = 1e280
_MODE_STEPS = 60
_NEAR_MODE = 1e-3
"""Squared Newton decrement within which a point serves as the mode."""


class LevelRows(NamedTuple):
    """Rows in the order of levels.

    Attributes
    ----------
    kind : int
        See `densities.py`.
    y, weights, low, high : (n,)
    natural : (n, 2) int
        Natural parameters that `low` and `high` are, -1 for none.
    dense : (n, E)
        Derivatives of eta by parameters that do not depend on v.
    basis : (n, q)
        z; what T v is multiplied with.
    loads : (n, q)
        T' z.
    predictor : (n,)
        eta at v = 0.
    n_natural : int
    """

    kind: int
    y: np.ndarray
    weights: np.ndarray
    low: np.ndarray
    high: np.ndarray
    natural: np.ndarray
    dense: np.ndarray
    basis: np.ndarray
    loads: np.ndarray
    predictor: np.ndarray
    n_natural: int


class Lattice(NamedTuple):
    """Nodes of an integral, or lines of them, in d directions, and how far apart they are.

    Attributes
    ----------
    pole : float
        Distance from the real axis up to which the density may be continued, in units of eta.
    accuracy : float
        Minus the logarithm of the error of a step that the pole limits.
    widest : float
        Step for a normal integrand, in its standard deviations.
    drop : float
        Fall of the logarithm of the integrand at which it has vanished.
    half : int
        Steps from the mode that a node may be away in each direction.
    seen : ((2 half + 1) ** d,) bool
    stack : (m, d + 1) int
        Nodes to visit, each with a hint.
    touched : (m,) int
    """

    pole: float
    accuracy: float
    widest: float
    drop: float
    half: int
    seen: np.ndarray
    stack: np.ndarray
    touched: np.ndarray


class RowScratch(NamedTuple):
    """Numbers of every row during an integral.

    Attributes
    ----------
    line : (n, 2)
        eta along a line of nodes: where it starts, and its slope per node.
    curve : (n, 3)
        At one node: the weighted precision, and derivatives by (eta, low) and (eta, high).
    sums : (n, 3, 1 + q + q (q + 1) / 2)
        Integrals of these times 1, v, and the first also times v v'.
    """

    line: np.ndarray
    curve: np.ndarray
    sums: np.ndarray


class LevelIntegral(NamedTuple):
    """What an integral over the effects of a level gives; P = E + q q + natural parameters.

    Attributes
    ----------
    mean : (q,)
        E v.
    square : (q, q)
        E v v'.
    cube : (q, q, q)
        E v_a v_b v_c.
    score : (P,)
        Gradient of the logarithm of the integral by dense parameters, T by rows, natural ones.
    with_score : (q, P)
        Cov(v, s).
    hessian : (P, P)
    node : (P,)
        The gradient at one node.
    v : (q,)
        The node.
    """

    mean: np.ndarray
    square: np.ndarray
    cube: np.ndarray
    score: np.ndarray
    with_score: np.ndarray
    hessian: np.ndarray
    node: np.ndarray
    v: np.ndarray


@kernel
def invert_root(curvature, root):
    """Fill root (q, q) with L^-T, of the Cholesky factor L of a curvature; return log|L^-T|."""
    q = curvature.shape[0]
    lower = np.empty((q, q))
    log_det = 0.0
    for a in range(q):
        for b in range(a + 1):
            rest = curvature[a, b]
            for k in range(b):
                rest -= lower[a, k] * lower[b, k]
            if a == b:
                lower[a, a] = math.sqrt(max(rest, 1e-300))
                log_det -= math.log(lower[a, a])
            else:
                lower[a, b] = rest / lower[b, b]
    for b in range(q):
        for a in range(b + 1, q):
            root[a, b] = 0.0
        root[b, b] = 1.0 / lower[b, b]
        for a in range(b - 1, -1, -1):
            rest = 0.0
            for k in range(a + 1, b + 1):
                rest += lower[k, a] * root[k, b]
            root[a, b] = -rest / lower[a, a]
    return log_det


@kernel
def newton_step(root, gradient, step):
    """Fill step (q,) with root root' gradient; return its squared Newton decrement."""
    q = root.shape[0]
    decrement = 0.0
    for a in range(q):
        step[a] = 0.0
    for b in range(q):
        along = 0.0
        for a in range(q):
            along += root[a, b] * gradient[a]
        decrement += along * along
        for a in range(q):
            step[a] += root[a, b] * along
    return decrement


@kernel
def empty_integral(found):
    """Set all sums of a `LevelIntegral` to zero."""
    n = found.score.shape[0]
    for a in range(found.mean.shape[0]):
        found.mean[a] = 0.0
        for b in range(found.mean.shape[0]):
            found.square[a, b] = 0.0
            for c in range(found.mean.shape[0]):
                found.cube[a, b, c] = 0.0
        for j in range(n):
            found.with_score[a, j] = 0.0
    for j in range(n):
        found.score[j] = 0.0
        for k in range(n):
            found.hessian[j, k] = 0.0


@kernel
def add_powers(v, share, found):
    """Add the share of a node v (q,) to the first three moments."""
    q = v.shape[0]
    for a in range(q):
        found.mean[a] += share * v[a]
        for b in range(q):
            found.square[a, b] += share * v[a] * v[b]
            for c in range(q):
                found.cube[a, b, c] += share * v[a] * v[b] * v[c]


@kernel
def finish_integral(found, total):
    """Turn sums over nodes into posterior means, and these into derivatives."""
    q, n = found.mean.shape[0], found.score.shape[0]
    for j in range(n):
        found.score[j] /= total
    for a in range(q):
        found.mean[a] /= total
        for b in range(q):
            found.square[a, b] /= total
            for c in range(q):
                found.cube[a, b, c] /= total
        for j in range(n):
            found.with_score[a, j] = found.with_score[a, j] / total - found.mean[a] * found.score[j]
    for j in range(n):
        for k in range(n):
            found.hessian[j, k] = found.hessian[j, k] / total - found.score[j] * found.score[k]


@kernel
def _log_integrand(rows, first, last, v, gradient, curvature):
    """Logarithm of the integrand at v, less a constant, with gradient and negated Hessian."""
    q = v.shape[0]
    value = 0.0
    for a in range(q):
        value -= 0.5 * v[a] * v[a]
        gradient[a] = -v[a]
        for b in range(q):
            curvature[a, b] = 1.0 if a == b else 0.0
    for i in range(first, last):
        eta = rows.predictor[i]
        for a in range(q):
            eta += rows.loads[i, a] * v[a]
        of_row, slope, bend = density_terms(rows.kind, rows.y[i], eta, rows.low[i], rows.high[i])
        weight = rows.weights[i]
        value += weight * of_row
        for a in range(q):
            gradient[a] += weight * slope * rows.loads[i, a]
            for b in range(a + 1):
                curvature[a, b] += weight * bend * rows.loads[i, a] * rows.loads[i, b]
    for a in range(q):
        for b in range(a):
            curvature[b, a] = curvature[a, b]
    return value


@kernel
def find_mode(rows, first, last, centre, root):
    """Move centre (q,) near the mode of the integrand; root (q, q) as of `invert_root`.

    Newton's method, halved where the integrand would fall; it is log-concave.
    """
    q = centre.shape[0]
    gradient, curvature = np.empty(q), np.empty((q, q))
    step, trial = np.empty(q), np.empty(q)
    value = _log_integrand(rows, first, last, centre, gradient, curvature)
    if not value > -math.inf:
        for a in range(q):
            centre[a] = 0.0
        value = _log_integrand(rows, first, last, centre, gradient, curvature)
    for _ in range(_MODE_STEPS):
        log_det = invert_root(curvature, root)
        decrement = newton_step(root, gradient, step)
        if not decrement > _NEAR_MODE:
            return log_det
        length = 1.0
        for _ in range(30):
            for a in range(q):
                trial[a] = centre[a] + length * step[a]
            following = _log_integrand(rows, first, last, trial, gradient, curvature)
            if following >= value + 1e-4 * length * decrement:
                break
            length *= 0.5
        for a in range(q):
            centre[a] = trial[a]
        value = following
    return invert_root(curvature, root)


@kernel
def best_step(lattice, reach, of_prior, pole, saturated):
    """Step of a trapezoidal rule whose integrand has unit curvature at its mode.

    Moving the path of integration by t into the complex plane says that the error is at most
    exp(G(t) - 2 pi t / step), with G the logarithm by which the integrand grows (Trefethen and
    Weideman 2014, theorem 5.1); the best t gives the step. The prior, whose share of the
    curvature is `of_prior`, grows as a normal density does, and the likelihood as
    -log cos(pi b / (2 pole)) at the distance b = reach t, the growth of a logistic function or of
    exp(-exp(x)). Rows of nearly certain classes, `saturated` in number, have hardly any
    curvature at the mode, but grow where they are uncertain, from cos(b / 2) = 1/2 on.

    Parameters
    ----------
    lattice : Lattice
    reach : float
        Largest change of a predictor per unit.
    of_prior, pole, saturated : float
    """
    if reach == 0.0:
        return lattice.widest
    furthest = min(0.97 * pole / reach, 8.0)
    best = 0.0
    for k in range(2, 13):
        t = furthest * k / 12.0
        angle = 0.5 * math.pi * reach * t / pole
        growth = -math.log(math.cos(angle))
        growth = 0.5 * t * t * (of_prior + (1.0 - of_prior) * growth / (0.5 * angle * angle))
        half = math.cos(0.5 * reach * t)
        if saturated > 0.0 and half < 0.5:
            growth -= saturated * math.log(2.0 * max(half, 1e-9))
        best = max(best, 2.0 * math.pi * t / (lattice.accuracy + growth))
    return min(best, lattice.widest)


@kernel
def _saturated_rows(rows, first, last, v):
    """Weight of logistic factors of a level's rows beyond those that its curvature is of."""
    if rows.kind != LOGIT and rows.kind != ORDERED_LOGIT:
        return 0.0
    factors = 1.0 if rows.kind == LOGIT else 2.0
    total = 0.0
    for i in range(first, last):
        eta = rows.predictor[i]
        for a in range(v.shape[0]):
            eta += rows.loads[i, a] * v[a]
        _, _, bend = density_terms(rows.kind, rows.y[i], eta, rows.low[i], rows.high[i])
        total += rows.weights[i] * (factors - 4.0 * bend)
    return total


@kernel
def find_steps(rows, first, last, centre, root, lattice, steps):
    """Fill steps (q,), of the nodes along the columns of root; return the sum of logarithms."""
    saturated = _saturated_rows(rows, first, last, centre)
    return fill_steps(rows.loads, first, last, root, lattice, lattice.pole, saturated, steps)


@kernel
def fill_steps(loads, first, last, root, lattice, pole, saturated, steps):
    """Fill steps (q,) with those of `best_step` along each column of root, for rows with loads.

    Returns the sum of their logarithms.
    """
    q = root.shape[0]
    total = 0.0
    for b in range(q):
        reach, of_prior = 0.0, 0.0
        for a in range(q):
            of_prior += root[a, b] * root[a, b]
        for i in range(first, last):
            along = 0.0
            for a in range(q):
                along += loads[i, a] * root[a, b]
            reach = max(reach, abs(along))
        steps[b] = best_step(lattice, reach, min(of_prior, 1.0), pole, saturated)
        total += math.log(steps[b])
    return total


@kernel
def put_node(lattice, place, hint, counts):
    """Add a node (d,) of integers to the stack unless it was there; False where none is left.

    `counts` (2,) are the numbers of nodes on the stack and of all nodes touched.
    """
    index = 0
    for a in range(place.shape[0]):
        if abs(place[a]) > lattice.half:
            return False
        index = index * (2 * lattice.half + 1) + place[a] + lattice.half
    if lattice.seen[index]:
        return True
    if counts[1] >= lattice.touched.shape[0]:
        return False
    lattice.seen[index] = True
    lattice.touched[counts[1]] = index
    for a in range(place.shape[0]):
        lattice.stack[counts[0], a] = place[a]
    lattice.stack[counts[0], place.shape[0]] = hint
    counts[0] += 1
    counts[1] += 1
    return True


@kernel
def put_neighbours(lattice, place, hint, counts):
    """Add the nodes beside one; False where none is left."""
    enough = True
    for a in range(place.shape[0]):
        for side in (-1, 1):
            place[a] += side
            enough = put_node(lattice, place, hint, counts) and enough
            place[a] -= side
    return enough


@kernel
def take_node(lattice, place, counts):
    """Set place (d,) to the node that was added last, and return its hint."""
    counts[0] -= 1
    for a in range(place.shape[0]):
        place[a] = lattice.stack[counts[0], a]
    return lattice.stack[counts[0], place.shape[0]]


@kernel
def clear_nodes(lattice, counts):
    """Forget all touched nodes."""
    for k in range(counts[1]):
        lattice.seen[lattice.touched[k]] = False
    counts[0] = counts[1] = 0


@kernel
def _add_natural_slopes(rows, bounds, k, scratch, node):
    """Add derivatives by natural parameters at node k of a line to a gradient (P,)."""
    natural = node.shape[0] - rows.n_natural
    for i in range(bounds[0], bounds[1]):
        eta = scratch.line[i, 0] + k * scratch.line[i, 1]
        terms = natural_terms(rows.kind, rows.y[i], eta, rows.low[i], rows.high[i])
        weight = rows.weights[i]
        scratch.curve[i, 1], scratch.curve[i, 2] = weight * terms[2], weight * terms[3]
        if rows.natural[i, 0] >= 0:
            node[natural + rows.natural[i, 0]] += weight * terms[0]
        if rows.natural[i, 1] >= 0:
            node[natural + rows.natural[i, 1]] += weight * terms[1]


@kernel
def _add_natural_bends(rows, bounds, k, scratch, share, found):
    """Add second derivatives by natural parameters at node k of a line, times its share."""
    natural, q = found.score.shape[0] - rows.n_natural, found.mean.shape[0]
    for i in range(bounds[0], bounds[1]):
        eta = scratch.line[i, 0] + k * scratch.line[i, 1]
        terms = natural_terms(rows.kind, rows.y[i], eta, rows.low[i], rows.high[i])
        weight = share * rows.weights[i]
        low, high = rows.natural[i, 0], rows.natural[i, 1]
        if low >= 0:
            found.hessian[natural + low, natural + low] += weight * terms[4]
        if high >= 0:
            found.hessian[natural + high, natural + high] += weight * terms[6]
        if low >= 0 and high >= 0:
            found.hessian[natural + low, natural + high] += weight * terms[5]
            found.hessian[natural + high, natural + low] += weight * terms[5]
        for c in range(1, 3):
            part = share * scratch.curve[i, c]
            scratch.sums[i, c, 0] += part
            for a in range(q):
                scratch.sums[i, c, 1 + a] += part * found.v[a]


@kernel
def _add_row_shares(curve, sums, bounds, v, share):
    """Add a node's share of the precisions of rows, times 1, v and v v', to `sums`."""
    q = v.shape[0]
    for i in range(bounds[0], bounds[1]):
        part, place = share * curve[i, 0], 1 + q
        sums[i, 0, 0] += part
        for a in range(q):
            sums[i, 0, 1 + a] += part * v[a]
            for b in range(a + 1):
                sums[i, 0, place] += part * v[a] * v[b]
                place += 1


@kernel
def _set_line(rows, bounds, v, direction, line):
    """Fill line (n, 2) with the predictors of rows at v, and their slopes along a direction."""
    for i in range(bounds[0], bounds[1]):
        start, slope = rows.predictor[i], 0.0
        for a in range(v.shape[0]):
            start += rows.loads[i, a] * v[a]
            slope += rows.loads[i, a] * direction[a]
        line[i, 0], line[i, 1] = start, slope


@kernel
def _walk_line(rows, bounds, ray, lattice, scratch, found, state):
    """Add the nodes v + k direction to the integrals, from a first k on to both ends.

    Parameters
    ----------
    rows : LevelRows
    bounds : (2,)
        First row, and past the last.
    ray : tuple of (q,), (q,) and int
        v, direction, first k.
    lattice : Lattice
    scratch : RowScratch
        Whose `line` is that of the ray.
    found : LevelIntegral
    state : (4,)
        Sum of the integrand over that of the first node of all; the largest logarithm of it, that
        of the first node (NaN before), and the number of nodes.

    Returns
    -------
    largest : float
        Logarithm of the integrand on the line.
    where : int
        Its k.
    """
    start, direction, k = ray
    q, n_dense, n_all = start.shape[0], rows.dense.shape[1], found.score.shape[0]
    node, score, hessian, v = found.node, found.score, found.hessian, found.v
    line, curve, sums = scratch.line, scratch.curve, scratch.sums
    side, previous, at_first, first_k = 1, -math.inf, 0.0, k
    largest, where = -math.inf, k
    while True:
        value, factors = 0.0, 1.0
        for j in range(n_all):
            node[j] = 0.0
        for a in range(q):
            v[a] = start[a] + k * direction[a]
            value -= 0.5 * v[a] * v[a]
        for i in range(bounds[0], bounds[1]):
            eta = line[i, 0] + k * line[i, 1]
            of_row, factor, slope, curve[i, 0] = weighted_parts(
                rows.kind, rows.y[i], eta, rows.low[i], rows.high[i], rows.weights[i]
            )
            value += of_row
            factors *= factor
            if factors > _LARGE:
                value, factors = value - math.log(factors), 1.0
            for e in range(n_dense):
                node[e] += slope * rows.dense[i, e]
            for a in range(q):
                node[n_dense + a * q] += slope * rows.basis[i, a]
        value -= math.log(factors)
        if state[3] == 0.0:
            state[2] = value
        state[3] += 1.0
        share = math.exp(value - state[2])
        if share > 1e-250:
            if rows.n_natural > 0:
                _add_natural_slopes(rows, bounds, k, scratch, node)
                _add_natural_bends(rows, bounds, k, scratch, share, found)
            state[0] += share
            add_powers(v, share, found)
            for a in range(q):
                for b in range(q - 1, -1, -1):
                    node[n_dense + a * q + b] = node[n_dense + a * q] * v[b]
            for j in range(n_all):
                part = share * node[j]
                score[j] += part
                for m in range(j + 1):
                    hessian[j, m] += part * node[m]
                for a in range(q):
                    found.with_score[a, j] += part * v[a]
            _add_row_shares(curve, sums, bounds, v, share)
        at_first = value if k == first_k else at_first
        if value > largest:
            largest, where = value, k
            state[1] = max(state[1], value)
        if not (value > state[1] - lattice.drop or value > previous):
            if side < 0:
                return largest, where
            side, value, k = -1, at_first, first_k
        previous = value
        k += side


@kernel
def _row_direction(rows, i, direction):
    """Numbers of a row's derivatives of eta: dense ones, then z by place of T's rows."""
    n_dense, q = rows.dense.shape[1], rows.basis.shape[1]
    for e in range(n_dense):
        direction[e] = rows.dense[i, e]
    for a in range(q):
        for b in range(q):
            direction[n_dense + a * q + b] = rows.basis[i, a]


@kernel
def _add_row_bends(rows, first, last, sums, hessian):
    """Add -E w d d' to the lower triangle of a Hessian, d the derivatives of eta of each row.

    d is the row's `direction` times a column of v for the entries of T.
    """
    q, n_dense = rows.basis.shape[1], rows.dense.shape[1]
    n_eta = n_dense + q * q
    direction = np.empty(n_eta)
    for i in range(first, last):
        _row_direction(rows, i, direction)
        for j in range(n_eta):
            power = 0 if j < n_dense else 1 + (j - n_dense) % q
            for k in range(min(j + 1, n_dense)):
                hessian[j, k] -= direction[j] * direction[k] * sums[i, 0, power]
            for k in range(n_dense, j + 1):
                b, d = power - 1, (k - n_dense) % q
                high, low = max(b, d), min(b, d)
                moment = sums[i, 0, 1 + q + high * (high + 1) // 2 + low]
                hessian[j, k] -= direction[j] * direction[k] * moment
        for end in range(2 if rows.n_natural > 0 else 0):
            number = rows.natural[i, end]
            if number >= 0:
                for j in range(n_eta):
                    power = 0 if j < n_dense else 1 + (j - n_dense) % q
                    hessian[n_eta + number, j] += direction[j] * sums[i, 1 + end, power]


@kernel
def _finish(rows, first, last, total, scratch, found):
    """Posterior means, gradient and Hessian from sums over nodes."""
    n_sums = scratch.sums.shape[2]
    finish_integral(found, total)
    for i in range(first, last):
        for c in range(3):
            for k in range(n_sums):
                scratch.sums[i, c, k] /= total
    _add_row_bends(rows, first, last, scratch.sums, found.hessian)
    for j in range(found.score.shape[0]):
        for k in range(j):
            found.hessian[k, j] = found.hessian[j, k]


@inlined_kernel
def integrate_level(rows, first, last, centre, lattice, scratch, found):
    """Logarithm of the integral over the effects of the level of rows first to last.

    Parameters
    ----------
    rows : LevelRows
    first, last : int
    centre : (q,)
        Where to look for the mode; moved there.
    lattice : Lattice
    scratch : RowScratch
    found : LevelIntegral
        Filled.

    Returns
    -------
    value : float
        NaN where nodes have run out.
    n_nodes : int
    """
    q, bounds = centre.shape[0], (first, last)
    root, steps, v, direction = np.empty((q, q)), np.empty(q), np.empty(q), np.empty(q)
    place, counts = np.zeros(q - 1, np.int64), np.zeros(2, np.int64)
    log_unit = find_mode(rows, first, last, centre, root)
    log_unit += find_steps(rows, first, last, centre, root, lattice, steps)
    empty_integral(found)
    for i in range(first, last):
        for c in range(3):
            for k in range(scratch.sums.shape[2]):
                scratch.sums[i, c, k] = 0.0
    state = np.zeros(4)
    state[1] = -math.inf
    for a in range(q):
        direction[a] = root[a, q - 1] * steps[q - 1]
    enough = put_node(lattice, place, 0, counts)
    while counts[0] > 0 and enough:
        hint = take_node(lattice, place, counts)
        for a in range(q):
            v[a] = centre[a]
            for b in range(q - 1):
                v[a] += root[a, b] * steps[b] * place[b]
        _set_line(rows, bounds, v, direction, scratch.line)
        ray = v, direction, hint
        largest, where = _walk_line(rows, bounds, ray, lattice, scratch, found, state)
        if largest > state[1] - lattice.drop:
            enough = put_neighbours(lattice, place, where, counts)
    clear_nodes(lattice, counts)
    if not enough:
        return math.nan, int(state[3])
    _finish(rows, first, last, state[0], scratch, found)
    value = state[2] + math.log(state[0]) + log_unit - 0.5 * q * _LOG_TWO_PI
    return value, int(state[3])
