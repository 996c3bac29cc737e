"""Passes over the rows of a prediction."""

from skmixed._kernels.compile import kernel


@kernel
def add_intercept_effects(codes, means, out):
    """Add means[codes[i], 0] to out[i]; a code of -1 (unknown) adds nothing."""
    for i in range(codes.shape[0]):
        if codes[i] >= 0:
            out[i] += means[codes[i], 0]


@kernel
def add_effects(codes, basis, means, out):
    """Add basis[i] @ means[codes[i]] to out[i]; a code of -1 adds nothing."""
    for i in range(codes.shape[0]):
        if codes[i] >= 0:
            for q in range(basis.shape[1]):
                out[i] += basis[i, q] * means[codes[i], q]


@kernel
def add_level_variances(codes, basis, covariances, prior, out):
    """Add basis[i] @ covariance of the row's level @ basis[i] to out[i].

    Rows of an unknown level (-1) take the `prior` covariance (Q, Q).
    """
    n_effects = basis.shape[1]
    for i in range(codes.shape[0]):
        for q in range(n_effects):
            for s in range(n_effects):
                if codes[i] >= 0:
                    out[i] += basis[i, q] * covariances[codes[i], q, s] * basis[i, s]
                else:
                    out[i] += basis[i, q] * prior[q, s] * basis[i, s]


@kernel
def add_level_thirds(codes, basis, thirds, out):
    """Add the third moment of basis[i] @ effects of the row's level; unknown ones (-1) have 0."""
    n_effects = basis.shape[1]
    for i in range(codes.shape[0]):
        if codes[i] >= 0:
            for q in range(n_effects):
                for s in range(n_effects):
                    product = basis[i, q] * basis[i, s]
                    for t in range(n_effects):
                        out[i] += product * basis[i, t] * thirds[codes[i], q, s, t]


@kernel
def add_coupled(codes, basis, coupling, out):
    """Add basis[i] @ coupling of the row's level (L, Q, J) to out[i] (J,)."""
    for i in range(codes.shape[0]):
        if codes[i] >= 0:
            for q in range(basis.shape[1]):
                for j in range(coupling.shape[2]):
                    out[i, j] += basis[i, q] * coupling[codes[i], q, j]


@kernel
def add_squared_norms(rows, out):
    """Add the squared length of rows[i] to out[i]."""
    for i in range(rows.shape[0]):
        total = 0.0
        for j in range(rows.shape[1]):
            total += rows[i, j] * rows[i, j]
        out[i] += total
