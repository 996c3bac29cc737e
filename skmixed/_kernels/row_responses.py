"""Passes over rows by level: sums of many columns, and what they say of every row."""

from skmixed._kernels.compile import kernel


@kernel
def add_level_sums(codes, basis, values, out):
    """Add basis[i, q] * values[i, j] to out[codes[i], q, j]."""
    for i in range(codes.shape[0]):
        for q in range(basis.shape[1]):
            for j in range(values.shape[1]):
                out[codes[i], q, j] += basis[i, q] * values[i, j]


@kernel
def add_level_moments(codes, basis, values, out):
    """Add basis[i, q] * basis[i, s] * values[i, j] to out[codes[i], q, s, j]."""
    for i in range(codes.shape[0]):
        for q in range(basis.shape[1]):
            for s in range(basis.shape[1]):
                product = basis[i, q] * basis[i, s]
                for j in range(values.shape[1]):
                    out[codes[i], q, s, j] += product * values[i, j]


@kernel
def add_level_forms(codes, basis, matrices, out):
    """Add basis[i] @ matrices[codes[i], :, :, j] @ basis[i] to out[i, j]."""
    for i in range(codes.shape[0]):
        for q in range(basis.shape[1]):
            for s in range(basis.shape[1]):
                product = basis[i, q] * basis[i, s]
                for j in range(out.shape[1]):
                    out[i, j] += product * matrices[codes[i], q, s, j]
