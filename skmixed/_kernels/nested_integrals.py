"""Integrals over the effects of all levels: of one factor, or of levels nested in larger ones.

The integral over the effects of an outer level is that of the product of the integrals of its
inner levels, which are independent given its effects. Given outer effects v, inner levels have
gradients S_m and Hessians H_m of their own; with S = sum_m S_m the Hessian of the whole is
E sum_m H_m + Cov S (the law of total covariance).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from skmixed._kernels.compile import inlined_kernel, kernel
from skmixed._kernels.densities import density_terms
from skmixed._kernels.level_integrals import (
    LevelIntegral,
    LevelRows,
    add_powers,
    clear_nodes,
    empty_integral,
    fill_steps,
    find_mode,
    finish_integral,
    integrate_level,
    invert_root,
    newton_step,
    put_neighbours,
    put_node,
    take_node,
)

_LOG_TWO_PI = math.log(2.0 * math.pi)
_MODE_STEPS = 60
_NEAR_MODE = 1e-3


class LevelMoments(NamedTuple):
    """Posterior of the effects of the levels of a factor, in coordinates v.

    Attributes
    ----------
    centre : (L, q)
        Modes, from which the next integrals start.
    mean : (L, q)
    square : (L, q, q)
        E v v'.
    cube : (L, q, q, q)
        E v_a v_b v_c.
    with_score : (L, q, P) or (0, q, P)
        Cov(v, s), s the gradient of the log density of all rows; empty where not asked for.
    with_outer : (L, q, r)
        E v w', w the effects of the outer level.
    value : (L,)
        Logarithms of the integrals, of inner levels 0.
    """

    centre: np.ndarray
    mean: np.ndarray
    square: np.ndarray
    cube: np.ndarray
    with_score: np.ndarray
    with_outer: np.ndarray
    value: np.ndarray


class OuterRows(NamedTuple):
    """What rows and levels say of the outer factor.

    Attributes
    ----------
    basis, loads : (n, r)
        As of `LevelRows`.
    predictor : (n,)
        eta without random effects.
    first_dense : int
        Where, among the dense columns, basis times effects stands.
    inner_start : (L + 1,)
        First inner level of every outer one.
    row_start : (M + 1,)
        First row of every inner level.
    """

    basis: np.ndarray
    loads: np.ndarray
    predictor: np.ndarray
    first_dense: int
    inner_start: np.ndarray
    row_start: np.ndarray


@kernel
def _keep(level, found, moments, gradient, hessian):
    """Keep the moments of a level, and add to gradient (P,) and Hessian (P, P) of all."""
    q, n = found.mean.shape[0], found.score.shape[0]
    for a in range(q):
        moments.mean[level, a] = found.mean[a]
        for b in range(q):
            moments.square[level, a, b] = found.square[a, b]
            for c in range(q):
                moments.cube[level, a, b, c] = found.cube[a, b, c]
        if moments.with_score.shape[0] > 0:
            for j in range(n):
                moments.with_score[level, a, j] = found.with_score[a, j]
    for j in range(n):
        gradient[j] += found.score[j]
        for k in range(n):
            hessian[j, k] += found.hessian[j, k]


@kernel
def integrate_levels(rows, row_start, levels, lattice, scratch, found, moments, totals):
    """Add the integrals of consecutive levels of one factor.

    Parameters
    ----------
    rows : LevelRows
    row_start : (L + 1,)
    levels : (2,)
        First level, and past the last.
    lattice : Lattice
    scratch : RowScratch
    found : LevelIntegral
        For one level at a time.
    moments : LevelMoments
        Filled.
    totals : tuple of (P,) and (P, P)
        Gradient and Hessian are added.

    Returns
    -------
    value : float
        NaN where nodes have run out.
    n_nodes : int
    """
    total, n_nodes = 0.0, 0
    for level in range(levels[0], levels[1]):
        value, n = integrate_level(
            rows, row_start[level], row_start[level + 1], moments.centre[level], lattice,
            scratch, found,
        )  # fmt: skip
        total += value
        n_nodes += n
        moments.value[level] = value
        _keep(level, found, moments, totals[0], totals[1])
    return total, n_nodes


@kernel
def set_outer_effects(rows, outer, first, last, v):
    """Set predictors of rows, and their derivatives by the outer factor's T, at its effects v."""
    r = v.shape[0]
    for i in range(first, last):
        eta = outer.predictor[i]
        for a in range(r):
            eta += outer.loads[i, a] * v[a]
            for b in range(r):
                rows.dense[i, outer.first_dense + a * r + b] = outer.basis[i, a] * v[b]
        rows.predictor[i] = eta


@kernel
def _add_profile(rows, outer, first, last, inner_v, parts):
    """Add an inner level's part to gradient (r,) and curvature (r, r) by outer effects.

    The inner effects are at their mode and follow: the curvature is the Schur complement.
    """
    gradient, curvature = parts
    r, q = gradient.shape[0], inner_v.shape[0]
    within, across = np.zeros((q, q)), np.zeros((q, r))
    for a in range(q):
        within[a, a] = 1.0
    for i in range(first, last):
        eta = rows.predictor[i]
        for a in range(q):
            eta += rows.loads[i, a] * inner_v[a]
        _, slope, bend = density_terms(rows.kind, rows.y[i], eta, rows.low[i], rows.high[i])
        slope *= rows.weights[i]
        bend *= rows.weights[i]
        for a in range(r):
            gradient[a] += slope * outer.loads[i, a]
            for b in range(r):
                curvature[a, b] += bend * outer.loads[i, a] * outer.loads[i, b]
        for a in range(q):
            for b in range(q):
                within[a, b] += bend * rows.loads[i, a] * rows.loads[i, b]
            for b in range(r):
                across[a, b] += bend * rows.loads[i, a] * outer.loads[i, b]
    root = np.empty((q, q))
    invert_root(within, root)
    for k in range(q):
        for a in range(r):
            left = 0.0
            for c in range(q):
                left += root[c, k] * across[c, a]
            for b in range(r):
                right = 0.0
                for c in range(q):
                    right += root[c, k] * across[c, b]
                curvature[a, b] -= left * right


@kernel
def find_outer_mode(rows, outer, level, centre, root, centres):
    """Move centre (r,) near the joint mode of outer and inner effects.

    Newton's method on the profile over inner effects, whose modes `centres` (M, q) follow.
    Fills root (r, r) as `invert_root` does for the curvature of the profile, and returns the
    logarithm of its determinant.
    """
    r, q = centre.shape[0], centres.shape[1]
    gradient, curvature, step = np.empty(r), np.empty((r, r)), np.empty(r)
    inner_root = np.empty((q, q))
    begin, stop = outer.inner_start[level], outer.inner_start[level + 1]
    first, last = outer.row_start[begin], outer.row_start[stop]
    log_det, longest = 0.0, 4.0
    for _ in range(_MODE_STEPS):
        set_outer_effects(rows, outer, first, last, centre)
        for a in range(r):
            gradient[a] = -centre[a]
            for b in range(r):
                curvature[a, b] = 1.0 if a == b else 0.0
        for m in range(begin, stop):
            rows_of = outer.row_start[m], outer.row_start[m + 1]
            find_mode(rows, rows_of[0], rows_of[1], centres[m], inner_root)
            _add_profile(rows, outer, rows_of[0], rows_of[1], centres[m], (gradient, curvature))
        log_det = invert_root(curvature, root)
        decrement = newton_step(root, gradient, step)
        if not decrement > _NEAR_MODE:
            break
        # bounded steps, ever shorter: the mode need not be found, only its neighbourhood
        size = math.sqrt(decrement)
        length = min(1.0, longest / size)
        for a in range(r):
            centre[a] += length * step[a]
        longest = max(0.9 * longest, 0.1)
    return log_det


@kernel
def find_outer_steps(rows, outer, bounds, root, lattice, steps):
    """Fill steps (r,) as `find_steps`, for rows from bounds[0] to bounds[1].

    An inner integral is a convolution with a normal density, which moves the pole away: shifting
    the path of integration by c standard deviations costs a factor of exp(c^2 / 2).
    """
    q, least = rows.loads.shape[1], math.inf
    for i in range(bounds[0], bounds[1]):
        variance = 0.0
        for a in range(q):
            variance += rows.loads[i, a] * rows.loads[i, a]
        least = min(least, variance)
    pole = lattice.pole + math.sqrt(least)
    return fill_steps(outer.loads, bounds[0], bounds[1], root, lattice, pole, 0.0, steps)


@kernel
def _add_outer_node(v, share, node, node_hessian, found):
    """Add an outer node's share to the integrals; `node` is the gradient (P,) there."""
    add_powers(v, share, found)
    for a in range(v.shape[0]):
        for j in range(node.shape[0]):
            found.with_score[a, j] += share * v[a] * node[j]
    for j in range(node.shape[0]):
        part = share * node[j]
        found.score[j] += part
        for k in range(node.shape[0]):
            found.hessian[j, k] += part * node[k] + share * node_hessian[j, k]


@inlined_kernel
def _at_outer_node(rows, outer, level, lattice, scratch, inner, moments, sums):
    """Product of the inner integrals given outer effects, which the rows hold by now.

    Fills sums[0] (P,) with the gradient of its logarithm and sums[1] (P, P) with the Hessian;
    means, squares, cubes and, in the last of `sums`, products of the inner levels.
    """
    score, hessian, means, with_scores = sums
    for j in range(score.shape[0]):
        score[j] = 0.0
        for k in range(score.shape[0]):
            hessian[j, k] = 0.0
    value, n_nodes = 0.0, 0
    begin, stop = outer.inner_start[level], outer.inner_start[level + 1]
    for m in range(begin, stop):
        of_level, n = integrate_level(
            rows, outer.row_start[m], outer.row_start[m + 1], moments.centre[m], lattice,
            scratch, inner,
        )  # fmt: skip
        value += of_level
        n_nodes += n
        for j in range(score.shape[0]):
            score[j] += inner.score[j]
            for k in range(score.shape[0]):
                hessian[j, k] += inner.hessian[j, k]
        q = inner.mean.shape[0]
        for a in range(q):
            means[m - begin, a] = inner.mean[a]
            for b in range(q):
                means[m - begin, q + a * q + b] = inner.square[a, b]
                for c in range(q):
                    means[m - begin, q + (q + a * q + b) * q + c] = inner.cube[a, b, c]
            if with_scores.shape[0] > 0:
                for j in range(score.shape[0]):
                    with_scores[m - begin, a, j] = inner.with_score[a, j]
    return value, n_nodes


@kernel
def _add_inner(begin, stop, v, share, sums, moments):
    """Add an outer node's share to the moments of its inner levels."""
    score, _, means, with_scores = sums
    q, r = moments.mean.shape[1], v.shape[0]
    for m in range(begin, stop):
        for a in range(q):
            mean = share * means[m - begin, a]
            moments.mean[m, a] += mean
            for b in range(q):
                moments.square[m, a, b] += share * means[m - begin, q + a * q + b]
                for c in range(q):
                    cube = means[m - begin, q + (q + a * q + b) * q + c]
                    moments.cube[m, a, b, c] += share * cube
            for b in range(r):
                moments.with_outer[m, a, b] += mean * v[b]
            if with_scores.shape[0] > 0:
                for j in range(score.shape[0]):
                    moments.with_score[m, a, j] += (
                        share * with_scores[m - begin, a, j] + mean * score[j]
                    )


@kernel
def _finish_inner(begin, stop, total, score, moments):
    """Turn sums over outer nodes into posterior moments of inner levels."""
    q, r = moments.mean.shape[1], moments.with_outer.shape[2]
    for m in range(begin, stop):
        for a in range(q):
            moments.mean[m, a] /= total
            for b in range(q):
                moments.square[m, a, b] /= total
                for c in range(q):
                    moments.cube[m, a, b, c] /= total
            for b in range(r):
                moments.with_outer[m, a, b] /= total
            if moments.with_score.shape[0] > 0:
                for j in range(score.shape[0]):
                    raw = moments.with_score[m, a, j] / total
                    moments.with_score[m, a, j] = raw - moments.mean[m, a] * score[j]


@kernel
def _empty_inner(moments, begin, stop):
    """Set all that is summed over outer nodes for inner levels to zero."""
    for m in range(begin, stop):
        for a in range(moments.mean.shape[1]):
            moments.mean[m, a] = 0.0
            for b in range(moments.mean.shape[1]):
                moments.square[m, a, b] = 0.0
                for c in range(moments.mean.shape[1]):
                    moments.cube[m, a, b, c] = 0.0
            for b in range(moments.with_outer.shape[2]):
                moments.with_outer[m, a, b] = 0.0
            if moments.with_score.shape[0] > 0:
                for j in range(moments.with_score.shape[2]):
                    moments.with_score[m, a, j] = 0.0


@inlined_kernel
def integrate_outer_level(rows, outer, level, lattices, scratch, found, moments, sums):
    """Logarithm of the integral over the effects of an outer level and all levels inside.

    Parameters
    ----------
    rows : LevelRows
        Of all levels; predictors and outer dense columns are changed.
    outer : OuterRows
    level : int
    lattices : tuple of Lattice
        Of the outer and the inner effects.
    scratch : RowScratch
    found : tuple of LevelIntegral
        Of the outer level, filled, and of an inner one.
    moments : tuple of LevelMoments
        Of outer levels (their `centre` is read) and of inner ones.
    sums : tuple of arrays
        See `_at_outer_node`.

    Returns
    -------
    value : float
        NaN where nodes have run out.
    n_nodes : int
        Of inner integrals.
    """
    of_outer, centre, lattice = found[0], moments[0].centre[level], lattices[0]
    r = centre.shape[0]
    root, steps, v = np.empty((r, r)), np.empty(r), np.empty(r)
    place, counts = np.zeros(r, np.int64), np.zeros(2, np.int64)
    begin, stop = outer.inner_start[level], outer.inner_start[level + 1]
    bounds = outer.row_start[begin], outer.row_start[stop]
    log_unit = find_outer_mode(rows, outer, level, centre, root, moments[1].centre)
    log_unit += find_outer_steps(rows, outer, bounds, root, lattice, steps)
    empty_integral(of_outer)
    _empty_inner(moments[1], begin, stop)
    enough = put_node(lattice, place, 0, counts)
    total, best, reference, n_nodes = 0.0, -math.inf, math.nan, 0
    while counts[0] > 0 and enough:
        take_node(lattice, place, counts)
        value = 0.0
        for a in range(r):
            v[a] = centre[a]
            for b in range(r):
                v[a] += root[a, b] * steps[b] * place[b]
            value -= 0.5 * v[a] * v[a]
        set_outer_effects(rows, outer, bounds[0], bounds[1], v)
        inside, n = _at_outer_node(
            rows, outer, level, lattices[1], scratch, found[1], moments[1], sums
        )
        value += inside
        n_nodes += n
        if reference != reference:
            reference = value
        best = max(best, value)
        share = math.exp(value - reference)
        if not share > 1e-250:
            continue
        _add_outer_node(v, share, sums[0], sums[1], of_outer)
        _add_inner(begin, stop, v, share, sums, moments[1])
        total += share
        if value > best - lattice.drop:
            enough = put_neighbours(lattice, place, 0, counts)
    clear_nodes(lattice, counts)
    if not enough:
        return math.nan, n_nodes
    finish_integral(of_outer, total)
    _finish_inner(begin, stop, total, of_outer.score, moments[1])
    return reference + math.log(total) + log_unit - 0.5 * r * _LOG_TWO_PI, n_nodes


@kernel
def integrate_outer_levels(rows, outer, levels, lattices, scratch, found, moments, work):
    """Add the integrals of consecutive outer levels; see `integrate_outer_level`.

    Parameters
    ----------
    work : tuple
        `sums`, and the gradient (P,) and Hessian (P, P) to add to.
    """
    sums, gradient, hessian = work
    total, n_nodes = 0.0, 0
    for level in range(levels[0], levels[1]):
        value, n = integrate_outer_level(
            rows, outer, level, lattices, scratch, found, moments, sums
        )
        total += value
        n_nodes += n
        moments[0].value[level] = value
        _keep(level, found[0], moments[0], gradient, hessian)
    return total, n_nodes


def new_integral(n_effects: int, n_parameters: int) -> LevelIntegral:
    """Arrays of the integral over one level."""
    q, p = n_effects, n_parameters
    return LevelIntegral(
        np.zeros(q), np.zeros((q, q)), np.zeros((q, q, q)), np.zeros(p), np.zeros((q, p)),
        np.zeros((p, p)), np.zeros(p), np.zeros(q),
    )  # fmt: skip


__all__ = ["LevelIntegral", "LevelMoments", "LevelRows", "OuterRows", "new_integral"]
