"""Cholesky factor and inverse of a dense matrix of any size, without long calls.

Matrices are symmetric positive definite, row-major, and only their lower triangle
counts. Up to some thousand rows LAPACK does all at once. Larger ones are worked on
block by block, because nothing can interrupt LAPACK, which takes minutes for 20,000
rows: Golub and Van Loan (2013), Matrix Computations, sections 3.1.4 and 4.2.9.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.linalg import lapack, solve_triangular

_AT_ONCE = 3072
"""Rows that LAPACK takes well under a second for."""

_BLOCK = 512


def factorise(matrix: np.ndarray) -> bool:
    """Overwrite the lower triangle with its Cholesky factor L.

    Parameters
    ----------
    matrix : ndarray (n, n)
        In double precision.

    Returns
    -------
    bool
        False where the matrix is not positive definite; its content is then undefined.
    """
    if len(matrix) <= _AT_ONCE:
        return _factorise_at_once(matrix)
    for rows in _blocks(len(matrix)):
        left = matrix[rows, : rows.start]
        for columns in _blocks(rows.start):
            before, block = slice(0, columns.start), left[:, columns]
            block -= left[:, before] @ matrix[columns, before].T
            block[:] = solve_triangular(
                matrix[columns, columns], block.T, lower=True, check_finite=False
            ).T
        own = matrix[rows, rows]
        own[:] = np.tril(own) - left @ left.T
        if not _factorise_at_once(own):
            return False
    return True


def invert(factor: np.ndarray) -> None:
    """Overwrite the lower triangle L with that of (L L')^-1.

    Parameters
    ----------
    factor : ndarray (n, n)
        As `factorise` leaves it, in double or single precision.
    """
    if len(factor) <= _AT_ONCE:
        potri = lapack.spotri if factor.dtype == np.float32 else lapack.dpotri
        _overwrite(factor, potri(factor.T, lower=0, overwrite_c=1)[0].T)
        return
    # L^-1: a block needs those above it, which are done, and those on its right
    for rows in _blocks(len(factor)):
        left, identity = factor[rows, : rows.start], np.eye(rows.stop - rows.start)
        own = solve_triangular(factor[rows, rows], identity, lower=True, check_finite=False)
        for columns in _blocks(rows.start):
            between = slice(columns.start, rows.start)
            left[:, columns] = -own @ (left[:, between] @ factor[between, columns])
        factor[rows, rows] = own
    # its square: a block needs those below it and on its right, which are not yet done
    for rows in _blocks(len(factor)):
        below = slice(rows.start, len(factor))
        for columns in _blocks(rows.stop):
            factor[rows, columns] = factor[below, rows].T @ factor[below, columns]


def _factorise_at_once(matrix: np.ndarray) -> bool:
    # a row-major lower triangle is a column-major upper one
    factor, info = lapack.dpotrf(matrix.T, lower=0, clean=0, overwrite_a=1)
    _overwrite(matrix, factor.T)
    return bool(info == 0)


def _overwrite(matrix: np.ndarray, result: np.ndarray) -> None:
    """Copy what LAPACK could not write in place."""
    if not np.may_share_memory(matrix, result):
        matrix[:] = result


def _blocks(n: int) -> Iterator[slice]:
    for begin in range(0, n, _BLOCK):
        yield slice(begin, min(begin + _BLOCK, n))
