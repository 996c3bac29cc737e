"""The integral of a level's likelihood over its random effects, with its gradient alone.

As `level_integrals.py`, for where many integrals of the same level are asked for, at other values
of the effects of other factors: by Fisher's identity the derivatives of the logarithm of the
integral by the linear predictors of the rows are the expectations of the slopes of their
densities, and all other derivatives follow from these. Second derivatives, which would cost
several times as much, are left out.
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
from skmixed._kernels.level_integrals import (
    clear_nodes,
    fill_steps,
    find_mode,
    invert_root,
    newton_step,
    put_neighbours,
    put_node,
    take_node,
)

_LOG_TWO_PI = math.log(2.0 * math.pi)
_LARGE = 1e150
_FAR = 300.0
"""Largest predictor whose exponential is taken as a number: products of two are numbers as well."""

_MOST_STEPS = 60.0
"""Nodes of a line on either side; the integrand has vanished long before."""

_NEAR_MODE, _SMALL_STEP = 1e-3, 0.5
"""Squared Newton decrements: within the first a point serves as the mode, and within the second
a whole step leads nearer to it."""


class SlopeScratch(NamedTuple):
    """Numbers of every row during an integral.

    Attributes
    ----------
    line : (2, n)
        eta along a line of nodes: where it starts, and its slope per node.
    powers : (3, n)
        exp(eta) at a node, by how much it grows to the next one, and its value at the first node
        of a line: nodes are evenly apart, so that their exponentials are a geometric sequence.
    slope : (n,)
        Weighted derivative of the log density by eta at one node.
    mean : (n,)
        Its integral; divided by that of 1, the expectation.
    """

    line: np.ndarray
    powers: np.ndarray
    slope: np.ndarray
    mean: np.ndarray


class LevelSlopes(NamedTuple):
    """What integrals over the effects of levels give, all levels together or one by one.

    Attributes
    ----------
    means : (L, q)
        E v.
    covariances : (L, q, q)
        Of v.
    root : (q, q)
        Derivative of the sum of the logarithms of all integrals by the entries of T.
    natural : (m,)
        By the natural parameters.
    """

    means: np.ndarray
    covariances: np.ndarray
    root: np.ndarray
    natural: np.ndarray


@kernel
def _curvature(rows, bounds, v, gradient, curvature):
    """Fill the gradient of the log integrand at v and its negated Hessian.

    Returns the weight of logistic factors beyond those that the curvature is of, as `find_steps`
    counts them.
    """
    q = v.shape[0]
    factors = 1.0 if rows.kind == LOGIT else 2.0 if rows.kind == ORDERED_LOGIT else 0.0
    for a in range(q):
        gradient[a] = -v[a]
        for b in range(q):
            curvature[a, b] = 1.0 if a == b else 0.0
    saturated = 0.0
    for i in range(bounds[0], bounds[1]):
        eta = rows.predictor[i]
        for a in range(q):
            eta += rows.loads[i, a] * v[a]
        if rows.kind == LOGIT:
            small = math.exp(-abs(eta))
            below = 1.0 / (1.0 + small) if eta < 0.0 else small / (1.0 + small)
            slope, bend = rows.y[i] - 1.0 + below, below * (1.0 - below)
        else:
            _, slope, bend = density_terms(rows.kind, rows.y[i], eta, rows.low[i], rows.high[i])
        slope, bend = rows.weights[i] * slope, rows.weights[i] * bend
        saturated += factors * rows.weights[i] - 4.0 * bend
        for a in range(q):
            gradient[a] += slope * rows.loads[i, a]
            for b in range(a + 1):
                curvature[a, b] += bend * rows.loads[i, a] * rows.loads[i, b]
    for a in range(q):
        for b in range(a):
            curvature[b, a] = curvature[a, b]
    return saturated if factors > 0.0 else 0.0


@kernel
def _place_nodes(rows, bounds, centre, lattice, root, steps):
    """Move the centre near the mode; fill the root and the steps of nodes along its columns.

    A few plain Newton steps where the centre is good, else those of `find_mode`. Returns the
    logarithm of the volume of a cell of nodes.
    """
    q = centre.shape[0]
    gradient, curvature, step = np.empty(q), np.empty((q, q)), np.empty(q)
    for trial in range(4):
        saturated = _curvature(rows, bounds, centre, gradient, curvature)
        log_unit = invert_root(curvature, root)
        decrement = newton_step(root, gradient, step)
        if decrement < _NEAR_MODE:
            break
        if trial < 2 and decrement < _SMALL_STEP:
            for a in range(q):
                centre[a] += step[a]
        else:
            find_mode(rows, bounds[0], bounds[1], centre, root)
    first, last = bounds
    return log_unit + fill_steps(
        rows.loads, first, last, root, lattice, lattice.pole, saturated, steps
    )


@kernel
def _start_line(rows, bounds, v, direction, k, scratch):
    """Fill the line of nodes v + k direction of rows with logistic densities, and its powers at k.

    Returns the sum of the weights of positive rows times eta at k = 0 and its slope, how many
    nodes from k on powers may be taken, and whether all weights are 1.
    """
    line, powers = scratch.line, scratch.powers
    at_zero, along, span, plain = 0.0, 0.0, 1e9, True
    before, growth = 0.0, 1.0
    for i in range(bounds[0], bounds[1]):
        start, slope = rows.predictor[i], 0.0
        for a in range(v.shape[0]):
            start += rows.loads[i, a] * v[a]
            slope += rows.loads[i, a] * direction[a]
        line[0, i], line[1, i] = start, slope
        if rows.kind == LOGIT:
            at_zero += rows.weights[i] * rows.y[i] * start
            along += rows.weights[i] * rows.y[i] * slope
            first = start + k * slope
            span = min(span, (_FAR - abs(first)) / max(abs(slope), 1e-9))
            # rows of a level often share their slope
            if slope != before and abs(slope) < _FAR:
                before, growth = slope, math.exp(slope)
            powers[1, i] = growth
            powers[2, i] = math.exp(first) if abs(first) < _FAR else 1.0
            powers[0, i] = powers[2, i]
            plain = plain and rows.weights[i] == 1.0
    return at_zero, along, span if rows.kind == LOGIT else -1.0, plain


@kernel
def _turn_line(bounds, scratch):
    """Powers of the node before the first one of a line, and how they shrink from there."""
    power, growth, first = scratch.powers[0], scratch.powers[1], scratch.powers[2]
    for i in range(bounds[0], bounds[1]):
        growth[i] = 1.0 / growth[i]
        power[i] = first[i] * growth[i]


@kernel
def _any_node(rows, bounds, k, scratch):
    """Log density of all rows at node k of a line; fill slopes."""
    value, factors = 0.0, 1.0
    for i in range(bounds[0], bounds[1]):
        eta = scratch.line[0, i] + k * scratch.line[1, i]
        of_row, factor, scratch.slope[i], _ = weighted_parts(
            rows.kind, rows.y[i], eta, rows.low[i], rows.high[i], rows.weights[i]
        )
        value += of_row
        factors *= factor
        if factors > _LARGE:
            value, factors = value - math.log(factors), 1.0
    return value - math.log(factors)


@kernel
def _walk_slopes(rows, bounds, ray, lattice, scratch, sums, state):
    """Add the nodes v + k direction to the integrals, from a first k on to both ends.

    Parameters
    ----------
    rows : LevelRows
    bounds : (2,)
        First row, and past the last.
    ray : tuple of (q,), (q,) and int
        v, direction, first k.
    lattice : Lattice
    scratch : SlopeScratch
        Whose line is that of the ray.
    sums : tuple of (q,), (q, q), (m,), (q, q) and (q,)
        Integrals of v, v v', slopes by natural parameters, and by T; the node.
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
    v, q = sums[4], start.shape[0]
    side, previous, at_first, first_k = 1, -math.inf, 0.0, k
    largest, where = -math.inf, k
    while True:
        value = _any_node(rows, bounds, k, scratch)
        for a in range(q):
            v[a] = start[a] + k * direction[a]
            value -= 0.5 * v[a] * v[a]
        if state[3] == 0.0:
            state[2] = value
        state[3] += 1.0
        share = math.exp(value - state[2])
        if share > 1e-250:
            _add_share(rows, bounds, k, share, scratch, sums)
            state[0] += share
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
def _walk_logistic(rows, bounds, ray, lattice, scratch, sums, state):
    """As `_walk_slopes` of a logistic density, exponentials of predictors being powers.

    `ray` has more: the sum over rows of weight times y times eta at k = 0 and its slope, and
    whether all weights are 1. All is in one loop: calls with so many arrays would take most of
    the time.
    """
    start, direction, k, at_zero, along, plain = ray
    mean, square, by_root, v, q = sums[0], sums[1], sums[3], sums[4], start.shape[0]
    power, growth, slope = scratch.powers[0], scratch.powers[1], scratch.slope
    of_rows, weights, y, basis = scratch.mean, rows.weights, rows.y, rows.basis
    first, last, drop = bounds[0], bounds[1], lattice.drop
    side, previous, at_first, first_k = 1, -math.inf, 0.0, k
    largest, where = -math.inf, k
    while True:
        value, product = at_zero + k * along, 1.0
        for i in range(first, last):
            slope[i] = weights[i] * (y[i] - 1.0 + 1.0 / (1.0 + power[i]))
        for i in range(first, last):
            factor = 1.0 + power[i]
            if plain:
                product *= factor
            else:
                value -= weights[i] * math.log(factor)
            if product > _LARGE:
                value, product = value - math.log(product), 1.0
        value -= math.log(product)
        for i in range(first, last):
            power[i] *= growth[i]
        for a in range(q):
            v[a] = start[a] + k * direction[a]
            value -= 0.5 * v[a] * v[a]
        state[2] = value if state[3] == 0.0 else state[2]
        state[3] += 1.0
        share = math.exp(value - state[2])
        if share > 1e-250:
            state[0] += share
            for i in range(first, last):
                of_rows[i] += share * slope[i]
            for a in range(q):
                total = 0.0
                for i in range(first, last):
                    total += basis[i, a] * slope[i]
                mean[a] += share * v[a]
                for b in range(q):
                    square[a, b] += share * v[a] * v[b]
                    by_root[a, b] += share * total * v[b]
        at_first = value if k == first_k else at_first
        if value > largest:
            largest, where = value, k
            state[1] = max(state[1], value)
        if not (value > state[1] - drop or value > previous):
            if side < 0:
                return largest, where
            side, value, k = -1, at_first, first_k
            _turn_line(bounds, scratch)
        previous = value
        k += side


@kernel
def _add_share(rows, bounds, k, share, scratch, sums):
    """Add a node's share to all integrals."""
    mean, square, natural, by_root, v = sums
    q = v.shape[0]
    first, last = bounds
    for i in range(first, last):
        scratch.mean[i] += share * scratch.slope[i]
    for a in range(q):
        total = 0.0
        for i in range(first, last):
            total += rows.basis[i, a] * scratch.slope[i]
        mean[a] += share * v[a]
        for b in range(q):
            square[a, b] += share * v[a] * v[b]
            by_root[a, b] += share * total * v[b]
    if rows.n_natural > 0:
        for i in range(first, last):
            eta = scratch.line[0, i] + k * scratch.line[1, i]
            terms = natural_terms(rows.kind, rows.y[i], eta, rows.low[i], rows.high[i])
            part = share * rows.weights[i]
            if rows.natural[i, 0] >= 0:
                natural[rows.natural[i, 0]] += part * terms[0]
            if rows.natural[i, 1] >= 0:
                natural[rows.natural[i, 1]] += part * terms[1]


@kernel
def _multiply_sums(sums, scratch, bounds, share):
    """Multiply all integrals by a share; 0 empties them, also of what is not a number.

    Loops, as Numba compiles seconds of code for messages about shapes beside `array *= share`.
    """
    mean, square, natural, by_root, _ = sums
    for a in range(mean.shape[0]):
        mean[a] = share * mean[a] if share != 0.0 else 0.0
        for b in range(mean.shape[0]):
            square[a, b] = share * square[a, b] if share != 0.0 else 0.0
            by_root[a, b] = share * by_root[a, b] if share != 0.0 else 0.0
    for j in range(natural.shape[0]):
        natural[j] = share * natural[j] if share != 0.0 else 0.0
    for i in range(bounds[0], bounds[1]):
        scratch.mean[i] = share * scratch.mean[i] if share != 0.0 else 0.0


@inlined_kernel
def integrate_slopes(rows, bounds, centre, lattice, scratch, sums):
    """Logarithm of the integral over the effects of one level, and integrals of slopes.

    Parameters
    ----------
    rows : LevelRows
    bounds : (2,)
        First row, and past the last.
    centre : (q,)
        Where to look for the mode; moved there.
    lattice : Lattice
    scratch : SlopeScratch
        Its `mean` is filled.
    sums : tuple of (q,), (q, q), (m,), (q, q) and (q,)
        As `_walk_slopes`; filled with expectations.

    Returns
    -------
    value : float
        NaN where nodes have run out.
    """
    q = centre.shape[0]
    root, steps, v, direction = np.empty((q, q)), np.empty(q), np.empty(q), np.empty(q)
    place, counts = np.zeros(q - 1, np.int64), np.zeros(2, np.int64)
    log_unit = _place_nodes(rows, bounds, centre, lattice, root, steps)
    _multiply_sums(sums, scratch, bounds, 0.0)
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
        at_zero, along, span, plain = _start_line(rows, bounds, v, direction, hint, scratch)
        if span > _MOST_STEPS:
            ray = v, direction, hint, at_zero, along, plain
            largest, where = _walk_logistic(rows, bounds, ray, lattice, scratch, sums, state)
        else:
            largest, where = _walk_slopes(
                rows, bounds, (v, direction, hint), lattice, scratch, sums, state
            )
        if largest > state[1] - lattice.drop:
            enough = put_neighbours(lattice, place, where, counts)
    clear_nodes(lattice, counts)
    if not enough:
        return math.nan
    _multiply_sums(sums, scratch, bounds, 1.0 / state[0])
    return state[2] + math.log(state[0]) + log_unit - 0.5 * q * _LOG_TWO_PI


@kernel
def integrate_all_slopes(rows, row_start, centres, lattice, scratch, found):
    """Sum of the logarithms of the integrals of all levels, with their slopes.

    Parameters
    ----------
    rows : LevelRows
    row_start : (L + 1,)
    centres : (L, q)
        Where to look for the modes; moved there.
    lattice : Lattice
    scratch : SlopeScratch
        On return its `mean` has the derivatives by eta of every row.
    found : LevelSlopes
        Filled.
    """
    q = centres.shape[1]
    mean, square, by_root, v = np.empty(q), np.empty((q, q)), np.empty((q, q)), np.empty(q)
    natural = np.zeros(found.natural.shape[0])
    sums = mean, square, natural, by_root, v
    for a in range(q):
        for b in range(q):
            found.root[a, b] = 0.0
    for j in range(natural.shape[0]):
        found.natural[j] = 0.0
    total = 0.0
    for level in range(row_start.shape[0] - 1):
        bounds = row_start[level], row_start[level + 1]
        total += integrate_slopes(rows, bounds, centres[level], lattice, scratch, sums)
        for a in range(q):
            found.means[level, a] = mean[a]
            for b in range(q):
                found.covariances[level, a, b] = square[a, b] - mean[a] * mean[b]
                found.root[a, b] += by_root[a, b]
        for j in range(natural.shape[0]):
            found.natural[j] += natural[j]
    return total


@kernel
def add_level_slopes(codes, basis, slopes, out):
    """Add basis[i] * slopes[i] to the row of its level in out (L, q)."""
    for i in range(codes.shape[0]):
        for a in range(basis.shape[1]):
            out[codes[i], a] += basis[i, a] * slopes[i]
