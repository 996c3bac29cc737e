"""Derivatives of the ELBO of a model of one factor, by the posteriors N(u, V) of its levels.

A row has the mean z'u + x'beta and the variance z'Vz, linear in u and in the upper triangle
of V: its features are z, and z_a z_b, twice that for a != b. Derivatives by (u, V) of a level
come as one array (L, r, r + 1 + p + m + k): minus the Hessian by (u, V), the gradient, and
derivatives of the gradient by coefficients, entries of T and the likelihood's own parameters.
"""

import math

import numpy as np

from skmixed._kernels.compile import kernel


@kernel
def fill_row_moments(rows, coefficients, means, covariances, mean, variance):
    """Fill mean and variance (n,) of the rows' linear predictors.

    Parameters
    ----------
    rows : LevelRows
    coefficients : (p,)
    means, covariances : (L, q), (L, q, q)
    mean, variance : (n,)
    """
    codes, basis, fixed = rows
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


@kernel
def start_derivatives(means, precisions, inverse, around, first_entry, out):
    """Set `out` to what the prior and the entropy add.

    Parameters
    ----------
    means : (L, q)
    precisions : (L, q, q)
        Inverses of V.
    inverse : (q, q)
        Of the covariance Omega of effects.
    around : (m, q, q)
        Omega^-1 D Omega^-1, for the derivatives D of Omega by the entries of T.
    first_entry : int
        Column of `out` where derivatives by the entries of T begin.
    out : (L, r, r + 1 + p + m + k)
    """
    n_effects, width = means.shape[1], out.shape[1]
    out[:] = 0.0
    for level in range(out.shape[0]):
        precision = precisions[level]
        for a in range(n_effects):
            for b in range(n_effects):
                out[level, a, b] = inverse[a, b]
                out[level, a, width] -= inverse[a, b] * means[level, b]
                for j in range(around.shape[0]):
                    out[level, a, first_entry + j] += around[j, a, b] * means[level, b]
        row = n_effects
        for a in range(n_effects):
            for b in range(a, n_effects):
                times = 1.0 if a == b else 2.0
                out[level, row, width] = 0.5 * times * (precision[a, b] - inverse[a, b])
                for j in range(around.shape[0]):
                    out[level, row, first_entry + j] = 0.5 * times * around[j, a, b]
                column = n_effects
                for c in range(n_effects):
                    for d in range(c, n_effects):
                        # half of tr(V^-1 E V^-1 F), for the derivatives E and F of V
                        both = precision[a, c] * precision[b, d] + precision[a, d] * precision[b, c]
                        out[level, row, column] = 0.25 * times * (1.0 if c == d else 2.0) * both
                        column += 1
                row += 1


@kernel
def add_row_derivatives(rows, terms, own, out):
    """Add the rows to `out`.

    Parameters
    ----------
    rows : LevelRows
    terms : LevelTerms
    own : (2, n, k)
        What the likelihood's own parameters change of derivatives by mean and by variance.
    out : (L, r, r + 1 + p + m + k)
    """
    codes, basis, fixed = rows
    n_effects, width, n_fixed, n_own = basis.shape[1], out.shape[1], fixed.shape[1], own.shape[2]
    features = np.empty(width)
    first_fixed, first_own = width + 1, out.shape[2] - n_own
    for i in range(codes.shape[0]):
        _fill_features(basis, i, features)
        of_level = out[codes[i]]
        mixed, fourth = 0.5 * terms.third[i], 0.25 * terms.fourth[i]
        for a in range(width):
            of_mean = a < n_effects
            feature = features[a]
            by_mean = feature * (-terms.precision[i] if of_mean else mixed)
            by_variance = feature * (mixed if of_mean else fourth)
            once = terms.gradient[i] if of_mean else -0.5 * terms.precision[i]
            for b in range(n_effects):
                of_level[a, b] -= by_mean * features[b]
            for b in range(n_effects, width):
                of_level[a, b] -= by_variance * features[b]
            of_level[a, width] += feature * once
            for x in range(n_fixed):
                of_level[a, first_fixed + x] += by_mean * fixed[i, x]
            for j in range(n_own):
                of_level[a, first_own + j] += feature * own[0 if of_mean else 1, i, j]


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
def invert_levels(matrices, out):
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
def solve_levels(systems):
    """Solve systems (L, r, r + c), of matrices with right-hand sides beside them, in place.

    The solutions replace the right-hand sides. By elimination with partial pivoting; False where
    a matrix is singular.
    """
    n, width = systems.shape[1], systems.shape[2]
    for level in range(systems.shape[0]):
        rows = systems[level]
        for k in range(n):
            largest = k
            for i in range(k + 1, n):
                if abs(rows[i, k]) > abs(rows[largest, k]):
                    largest = i
            if rows[largest, k] == 0.0:
                return False
            for j in range(k, width):
                rows[k, j], rows[largest, j] = rows[largest, j], rows[k, j]
            for i in range(k + 1, n):
                share = rows[i, k] / rows[k, k]
                for j in range(k + 1, width):
                    rows[i, j] -= share * rows[k, j]
        for k in range(n - 1, -1, -1):
            for j in range(n, width):
                total = rows[k, j]
                for i in range(k + 1, n):
                    total -= rows[k, i] * rows[i, j]
                rows[k, j] = total / rows[k, k]
    return True
