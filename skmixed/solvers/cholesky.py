"""Cholesky factor and inverse of a dense matrix of any size, without long calls.

Matrices are symmetric positive definite, row-major, and only their lower triangle
counts. LAPACK does small ones at once. Larger ones are worked on tile by tile, by the
threads of the fit: Golub and Van Loan (2013), Matrix Computations, sections 3.1.4 and
4.2.9. Between tiles Python acts on interrupts; LAPACK would take minutes for 20,000 rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import lapack

from skmixed.solvers.tasks import TaskList
from skmixed.solvers.tiles import NotPositiveDefiniteError, Tiles
from skmixed.threads import single_blas_thread, threads_of_fit

_AT_ONCE = 128
"""Rows up to which LAPACK takes less time than the calls for tiles."""

_SMALLEST_TILE, _LARGEST_TILE = 96, 512

_WORTH_THREADS = 256
"""Rows from which threads share the tiles."""


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
        # a row-major lower triangle is a column-major upper one
        factor, info = lapack.dpotrf(matrix.T, lower=0, clean=0, overwrite_a=1)
        _overwrite(matrix, factor.T)
        return bool(info == 0)
    try:
        _run(matrix, _factor_tasks)
    except NotPositiveDefiniteError:
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
    _run(factor, _inverse_tasks)


def _overwrite(matrix: np.ndarray, result: np.ndarray) -> None:
    """Copy what LAPACK could not write in place."""
    if not np.may_share_memory(matrix, result):
        matrix[:] = result


Step = tuple[str, tuple[int, ...]]
"""A method of `Tiles` and the tile, or its place on the diagonal."""


def _run(matrix: np.ndarray, tasks: Callable[[int], TaskList[Step]]) -> None:
    n = len(matrix)
    tiles = Tiles(matrix, _tile_size(n))

    def perform(step: Step) -> None:
        name, tile = step
        getattr(tiles, name)(*tile)

    with single_blas_thread():
        tasks(tiles.n_tiles).run(perform, threads_of_fit() if n >= _WORTH_THREADS else 1)


def _tile_size(n: int) -> int:
    """Rows of a tile: six in a column keep two threads busy, unless products would be slow."""
    size = min(max(-(-n // 6), _SMALLEST_TILE), _LARGEST_TILE)
    return -(-n // -(-n // size))


@cache
def _factor_tasks(n: int) -> TaskList[Step]:
    """Column by column: its products with those on the left are subtracted, then it is divided.

    A column waits only for the one before it: products with all earlier ones are subtracted while
    that one is made.
    """

    def subtract(i: int, j: int, left: range) -> Iterator[tuple[Step, list[Any], list[Any]]]:
        if left:
            read = [(row, k) for row in {i, j} for k in left]
            yield ("subtract", (i, j, left.start, left.stop)), read, [(i, j)]

    def tasks() -> Iterator[tuple[Step, list[Any], list[Any]]]:
        for j in range(n):
            kept = "kept", j % 2
            yield from subtract(j, j, range(j)[-1:])
            yield ("factorise", (j,)), [], [(j, j), kept]
            for i in range(j + 1, n):
                yield from subtract(i, j, range(j)[-1:])
                yield ("times_kept", (i, j)), [kept], [(i, j)]
            for i in range(j + 1, n):
                yield from subtract(i, j + 1, range(j))

    return TaskList(tasks())


@cache
def _inverse_tasks(n: int) -> TaskList[Step]:
    """The inverse B of the triangle, row by row, and then B'B row by row."""

    def tasks() -> Iterator[tuple[Step, list[Any], list[Any]]]:
        for i in range(n):
            yield ("invert", (i,)), [], [(i, i)]
        for i in range(n):
            for j in range(i):
                read = [(i, k) for k in range(j + 1, i + 1)] + [(k, j) for k in range(j, i)]
                yield ("join_inverses", (i, j)), read, [(i, j)]
        for i in range(n):
            for j in range(i + 1):
                read = [(k, m) for k in range(i, n) for m in (i, j)]
                yield ("square", (i, j)), read, [(i, j)]

    return TaskList(tasks())
