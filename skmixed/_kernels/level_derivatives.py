"""Derivatives of the ELBO of a model of one factor, by the posteriors N(u, V) of its levels.

A row has the mean z'u + x'beta and the variance z'Vz, linear in u and in the upper triangle
of V: its features are z, and z_a z_b, twice that for a != b. Derivatives by (u, V) of a level
come as *systems*: matrices (L, r, r), minus the Hessian by (u, V), and right-hand sides
(L, r, 1 + p + m + k), the gradient and its derivatives by coefficients, entries of T and the
likelihood's own parameters.
"""

import math

import numpy as np

from skmixed._kernels.compile import kernel


@kernel
def fill_level_point(rows, coefficients, posteriors, out):
    """Fill what the ELBO needs of rows and levels; the sum of log |V|.

    Parameters
    ----------
    rows : LevelRows
    coefficients : (p,)
    posteriors : (means, covariances)
        (L, q) and (L, q, q).
    out : (mean, variance, precisions, moments)
        Of the rows' linear predictors, (n,) each; the inverses of the covariances, (L, q, q);
        the sum of u u' + V, (q, q).
    """
    (codes, basis, fixed), (means, covariances) = rows, posteriors
    mean, variance, precisions, moments = out
    for i in range(codes.shape[0]):
        level = codes[i]
        total, square = 0.0, 0.0
        for x in range(fixed.shape[1]):
            total += fixed[i, x] * coefficients[x]
        for a in range(basis.shape[1]):
            total += basis[i, a] * means[level, a]
            along = 0.0
            for b in range(basis.shape[1]):
                along += covariances[level, a, b] * basis[i, b]
            square += basis[i, a] * along
        mean[i], variance[i] = total, square
    for a in range(means.shape[1]):
        for b in range(means.shape[1]):
            total = 0.0
            for level in range(means.shape[0]):
                total += means[level, a] * means[level, b] + covariances[level, a, b]
            moments[a, b] = total
    return _invert_levels(covariances, precisions)


@kernel
def move_levels(posteriors, precisions, solved, along, out):
    """Fill the posteriors that a step leads to; covariances stay positive definite.

    Parameters
    ----------
    posteriors : (means, covariances)
        (L, q) and (L, q, q).
    precisions : (L, q, q)
        Inverses of the covariances.
    solved : (L, r, 1 + p + m + k)
        Solutions of `solve_level_systems`.
    along : (1 + p + m + k,)
        Amounts of these.
    out : (means, covariances)
    """
    (means, covariances), (new_means, new_covariances) = posteriors, out
    n_effects = means.shape[1]
    change, half = np.empty((n_effects, n_effects)), np.empty(n_effects)
    for level in range(means.shape[0]):
        row = n_effects
        for a in range(n_effects):
            total = 0.0
            for x in range(along.shape[0]):
                total += solved[level, a, x] * along[x]
            new_means[level, a] = means[level, a] + total
            for b in range(a, n_effects):
                total = 0.0
                for x in range(along.shape[0]):
                    total += solved[level, row, x] * along[x]
                change[a, b] = change[b, a] = total
                row += 1
        # to second order exp along the geodesic of positive definite matrices
        for a in range(n_effects):
            for c in range(n_effects):
                total = 0.0
                for b in range(n_effects):
                    total += change[a, b] * precisions[level, b, c]
                half[c] = 0.5 * total
            for b in range(n_effects):
                total = covariances[level, a, b] + change[a, b]
                for c in range(n_effects):
                    total += half[c] * change[c, b]
                new_covariances[level, a, b] = total


@kernel
def solve_level_systems(rows, terms, own, posteriors, omega, out):
    """Fill the systems of all levels and their solutions; False where one is singular.

    Parameters
    ----------
    rows : LevelRows
    terms : LevelTerms
    own : (2, n, k)
        What the likelihood's own parameters change of derivatives by mean and by variance.
    posteriors : (means, precisions)
        (L, q), and the inverses of V, (L, q, q).
    omega : (inverse, around)
        Of the covariance of effects, (q, q), and Omega^-1 D Omega^-1, (m, q, q), for the
        derivatives D of Omega by the entries of T.
    out : (matrices, right, solved)
        The matrices are overwritten.
    """
    matrices, right, solved = out
    _start_systems(posteriors, omega, 1 + rows[2].shape[1], matrices, right)
    _add_rows(rows, terms, own, matrices, right)
    for level in range(right.shape[0]):
        for a in range(right.shape[1]):
            for x in range(right.shape[2]):
                solved[level, a, x] = right[level, a, x]
    return _solve_levels(matrices, solved)


@kernel
def _start_systems(posteriors, omega, first_entry, matrices, right):
    """Set the systems to what the prior and the entropy add.

    Column `first_entry` of the right-hand sides is that of the first entry of T.
    """
    (means, precisions), (inverse, around) = posteriors, omega
    n_effects = means.shape[1]
    matrices[:] = 0.0
    right[:] = 0.0
    for level in range(matrices.shape[0]):
        precision = precisions[level]
        for a in range(n_effects):
            for b in range(n_effects):
                matrices[level, a, b] = inverse[a, b]
                right[level, a, 0] -= inverse[a, b] * means[level, b]
                for j in range(around.shape[0]):
                    right[level, a, first_entry + j] += around[j, a, b] * means[level, b]
        row = n_effects
        for a in range(n_effects):
            for b in range(a, n_effects):
                times = 1.0 if a == b else 2.0
                right[level, row, 0] = 0.5 * times * (precision[a, b] - inverse[a, b])
                for j in range(around.shape[0]):
                    right[level, row, first_entry + j] = 0.5 * times * around[j, a, b]
                column = n_effects
                for c in range(n_effects):
                    for d in range(c, n_effects):
                        # half of tr(V^-1 E V^-1 F), for the derivatives E and F of V
                        both = precision[a, c] * precision[b, d] + precision[a, d] * precision[b, c]
                        matrices[level, row, column] = (
                            0.25 * times * (1.0 if c == d else 2.0) * both
                        )
                        column += 1
                row += 1


@kernel
def _add_rows(rows, terms, own, matrices, right):
    """Add the rows to the systems."""
    codes, basis, fixed = rows
    n_effects, width, n_fixed, n_own = basis.shape[1], right.shape[1], fixed.shape[1], own.shape[2]
    features = np.empty(width)
    first_own = right.shape[2] - n_own
    if n_effects == 1 and n_own == 0:
        for i in range(codes.shape[0]):
            level, z = np.uint64(codes[i]), basis[i, 0]
            by_mean, by_variance = -z * terms.precision[i], 0.5 * z * z * terms.third[i]
            matrices[level, 0, 0] -= by_mean * z
            matrices[level, 0, 1] -= by_variance * z
            matrices[level, 1, 0] -= by_variance * z
            matrices[level, 1, 1] -= 0.25 * terms.fourth[i] * (z * z) * (z * z)
            right[level, 0, 0] += z * terms.gradient[i]
            right[level, 1, 0] -= 0.5 * z * z * terms.precision[i]
            for x in range(n_fixed):
                right[level, 0, 1 + x] += by_mean * fixed[i, x]
                right[level, 1, 1 + x] += by_variance * fixed[i, x]
        return
    for i in range(codes.shape[0]):
        _fill_features(basis, i, features)
        level = np.uint64(codes[i])
        gradient, precision = terms.gradient[i], terms.precision[i]
        mixed, fourth = 0.5 * terms.third[i], 0.25 * terms.fourth[i]
        for a in range(width):
            of_mean = a < n_effects
            feature = features[a]
            by_mean = feature * (-precision if of_mean else mixed)
            by_variance = feature * (mixed if of_mean else fourth)
            right[level, a, 0] += feature * (gradient if of_mean else -0.5 * precision)
            for b in range(n_effects):
                matrices[level, a, b] -= by_mean * features[b]
            for b in range(n_effects, width):
                matrices[level, a, b] -= by_variance * features[b]
            for x in range(n_fixed):
                right[level, a, 1 + x] += by_mean * fixed[i, x]
            for j in range(n_own):
                right[level, a, first_own + j] += feature * own[0 if of_mean else 1, i, j]


@kernel
def _fill_features(basis, i, features):
    """Fill what multiplies u and the upper triangle of V in mean and variance of row i, (r,)."""
    n_effects = basis.shape[1]
    place = n_effects
    for a in range(n_effects):
        features[a] = basis[i, a]
        for b in range(a, n_effects):
            features[place] = basis[i, a] * basis[i, b] * (1.0 if a == b else 2.0)
            place += 1


@kernel
def _invert_levels(matrices, out):
    """Fill the inverses of positive definite matrices (L, q, q); the sum of their log determinants.

    By Gauss and Jordan's elimination, in place, which needs no pivots here.
    """
    n = matrices.shape[1]
    total = 0.0
    for level in range(matrices.shape[0]):
        inverse = out[level]
        for i in range(n):
            for j in range(n):
                inverse[i, j] = matrices[level, i, j]
        for k in range(n):
            pivot = inverse[k, k]
            total += math.log(pivot)
            inverse[k, k] = 1.0
            for j in range(n):
                inverse[k, j] /= pivot
            for i in range(n):
                if i != k:
                    share = inverse[i, k]
                    inverse[i, k] = 0.0
                    for j in range(n):
                        inverse[i, j] -= share * inverse[k, j]
    return total


@kernel
def _solve_levels(matrices, right):
    """Solve systems in place: solutions replace right-hand sides (L, r, c), the matrices are lost.

    By elimination with partial pivoting; False where a matrix is singular.
    """
    n, width = right.shape[1], right.shape[2]
    for level in range(right.shape[0]):
        matrix, sides = matrices[level], right[level]
        for k in range(n):
            largest = k
            for i in range(k + 1, n):
                if abs(matrix[i, k]) > abs(matrix[largest, k]):
                    largest = i
            if matrix[largest, k] == 0.0:
                return False
            for j in range(k, n):
                matrix[k, j], matrix[largest, j] = matrix[largest, j], matrix[k, j]
            for j in range(width):
                sides[k, j], sides[largest, j] = sides[largest, j], sides[k, j]
            for i in range(k + 1, n):
                share = matrix[i, k] / matrix[k, k]
                for j in range(k + 1, n):
                    matrix[i, j] -= share * matrix[k, j]
                for j in range(width):
                    sides[i, j] -= share * sides[k, j]
        for k in range(n - 1, -1, -1):
            for j in range(width):
                total = sides[k, j]
                for i in range(k + 1, n):
                    total -= matrix[k, i] * sides[i, j]
                sides[k, j] = total / matrix[k, k]
    return True
