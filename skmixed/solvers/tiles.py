"""Products and factors of tiles of a triangular matrix, in place.

LAPACK factorises and inverts at a third of the speed of a matrix product, and on threads that
spin. Products of whole rows of tiles run at full speed, and threads of ours can share them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import cython_blas, cython_lapack

_SMALL = 48
"""Rows up to which LAPACK inverts a triangle: it is slow, but any call takes its time."""

_PLACES = 2
"""Inverses of diagonal tiles that are kept at a time."""


class NotPositiveDefiniteError(Exception):
    """A pivot of a factorisation is not positive."""


class Tiles:
    """Tiles of the lower triangle of a row-major matrix.

    A tile is named by its row and column of tiles. Nothing above the diagonal is read or
    written. No method checks its arguments.

    Parameters
    ----------
    matrix : ndarray (n, n)
        In double or single precision, with contiguous rows.
    size : int
        Rows of a tile; the last row of tiles may have fewer.
    """

    def __init__(self, matrix: np.ndarray, size: int) -> None:
        kind = "s" if matrix.dtype == np.float32 else "d"
        self._bounds = [*range(0, len(matrix), size), len(matrix)]
        self.n_tiles = len(self._bounds) - 1
        self._matrix = matrix
        self._begin, self._stride = matrix.ctypes.data, matrix.strides[0]
        self._inverses: list[np.ndarray] = []
        self._gemm, self._syrk, self._trmm = (_blas(kind + name) for name in _BLAS_NAMES)
        self._potrf, self._trtri, self._lauum = (_lapack(kind + name) for name in _LAPACK_NAMES)
        self._plus, self._minus = _real(kind, 1.0), _real(kind, -1.0)
        self._ld = _integer(self._stride // matrix.itemsize)

    def _at(self, i: int, j: int) -> int:
        column = self._bounds[j] * self._matrix.itemsize
        return self._begin + self._bounds[i] * self._stride + column

    def _rows(self, first: int, end: int) -> int:
        """Address of the number of rows of some tiles."""
        return _integer(self._bounds[end] - self._bounds[first])

    # BLAS is column-major: it sees transposed tiles in another order, and an upper triangle.

    def subtract(self, i: int, j: int, first: int, end: int) -> None:
        """Subtract the product of rows i and j from tile (i, j), over some columns of tiles.

        Columns are those from `first` to `end`, exclusive.
        """
        rows, columns, inner = self._rows(i, i + 1), self._rows(j, j + 1), self._rows(first, end)
        row_i, row_j, ld, out = self._at(i, first), self._at(j, first), self._ld, self._at(i, j)
        if i == j:
            self._syrk(b"U", b"T", rows, inner, self._minus, row_i, ld, self._plus, out, ld)
        else:
            self._gemm(
                b"T", b"N", columns, rows, inner, self._minus, row_j, ld, row_i, ld,
                self._plus, out, ld,
            )  # fmt: skip

    def factorise(self, i: int) -> None:
        """Overwrite tile (i, i) with its Cholesky factor, and keep the inverse of that.

        Raises
        ------
        NotPositiveDefiniteError
        """
        begin, end = self._bounds[i], self._bounds[i + 1]
        info = ctypes.c_int64(0)
        self._potrf(b"U", self._rows(i, i + 1), self._at(i, i), self._ld, ctypes.addressof(info))
        if info.value:
            raise NotPositiveDefiniteError
        if i + 1 == self.n_tiles:
            return
        if not self._inverses:
            self._inverses = [np.empty_like(self._matrix, shape=(end, end)) for _ in range(_PLACES)]
        kept = self._inverses[i % _PLACES]
        kept[:] = self._matrix[begin:end, begin:end]
        self._invert(kept.ctypes.data, end - begin, kept.strides[0])

    def times_kept(self, i: int, j: int) -> None:
        """Multiply tile (i, j) by the transposed inverse that `factorise` kept of tile (j, j)."""
        kept = self._inverses[j % _PLACES].ctypes.data
        rows, columns = self._rows(i, i + 1), self._rows(j, j + 1)
        self._trmm(
            b"L", b"U", b"T", b"N", columns, rows, self._plus, kept, columns,
            self._at(i, j), self._ld,
        )  # fmt: skip

    def invert(self, i: int) -> None:
        """Overwrite the triangle in tile (i, i) with its inverse."""
        self._invert(self._at(i, i), self._bounds[i + 1] - self._bounds[i], self._stride)

    def _invert(self, begin: int, n: int, stride: int) -> None:
        item = self._matrix.itemsize
        ld = _integer(stride // item)
        if n <= _SMALL:
            info = ctypes.c_int64(0)
            self._trtri(b"U", b"N", _integer(n), begin, ld, ctypes.addressof(info))
            return
        half = n // 2
        first, second = _integer(half), _integer(n - half)
        left = begin + half * stride
        last = left + half * item
        self._invert(begin, half, stride)
        self._invert(last, n - half, stride)
        self._trmm(b"L", b"U", b"N", b"N", first, second, self._plus, begin, ld, left, ld)
        self._trmm(b"R", b"U", b"N", b"N", first, second, self._minus, last, ld, left, ld)

    def join_inverses(self, i: int, j: int) -> None:
        """Overwrite tile (i, j) with that of the inverse of the triangle.

        Tile (i, i) and all above row i in column j are inverses already, and what is right of
        the tile in row i is not.
        """
        rows, columns = self._rows(i, i + 1), self._rows(j, j + 1)
        out, ld = self._at(i, j), self._ld
        above, own = self._at(j, j), self._at(i, i)
        self._trmm(b"L", b"U", b"N", b"N", columns, rows, self._plus, above, ld, out, ld)
        if j + 1 < i:
            self._gemm(
                b"N", b"N", columns, rows, self._rows(j + 1, i), self._plus,
                self._at(j + 1, j), ld, self._at(i, j + 1), ld, self._plus, out, ld,
            )  # fmt: skip
        self._trmm(b"R", b"U", b"N", b"N", columns, rows, self._minus, own, ld, out, ld)

    def square(self, i: int, j: int) -> None:
        """Overwrite tile (i, j) with that of B'B, where B is the triangle, from row i on."""
        rows, columns = self._rows(i, i + 1), self._rows(j, j + 1)
        out, ld = self._at(i, j), self._ld
        below = self._rows(i + 1, self.n_tiles) if i + 1 < self.n_tiles else None
        if i == j:
            info = ctypes.c_int64(0)
            self._lauum(b"U", rows, out, ld, ctypes.addressof(info))
            if below:
                column = self._at(i + 1, i)
                self._syrk(b"U", b"N", rows, below, self._plus, column, ld, self._plus, out, ld)
            return
        self._trmm(b"R", b"U", b"T", b"N", columns, rows, self._plus, self._at(i, i), ld, out, ld)
        if below:
            self._gemm(
                b"N", b"T", columns, rows, below, self._plus, self._at(i + 1, j), ld,
                self._at(i + 1, i), ld, self._plus, out, ld,
            )  # fmt: skip


_BLAS_NAMES, _LAPACK_NAMES = ("gemm", "syrk", "trmm"), ("potrf", "trtri", "lauum")


@cache
def _blas(name: str) -> Callable[..., None]:
    return _function(cython_blas, name)


@cache
def _lapack(name: str) -> Callable[..., None]:
    return _function(cython_lapack, name)


def _function(module: Any, name: str) -> Callable[..., None]:
    """A function of SciPy's interface for Cython, which runs without the interpreter lock."""
    capsule = module.__pyx_capi__[name]
    signature = _python_api("PyCapsule_GetName", ctypes.c_char_p, ctypes.py_object)(capsule)
    address = _python_api(
        "PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p
    )(capsule, signature)
    kinds = [
        ctypes.c_char_p if part.strip().startswith(b"char") else ctypes.c_void_p
        for part in signature.split(b",")
    ]
    # the first is behind the parenthesis
    kinds[0] = ctypes.c_char_p
    return ctypes.CFUNCTYPE(None, *kinds)(address)


def _python_api(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


_kept_numbers: dict[object, Any] = {}
"""Types of which BLAS takes addresses."""


def _integer(value: int) -> int:
    """Address of a number; of 64 bits, the first 32 of which are the number as well."""
    number = _kept_numbers.get(value)
    if number is None:
        number = _kept_numbers.setdefault(value, ctypes.c_int64(value))
    return ctypes.addressof(number)


def _real(kind: str, value: float) -> int:
    key = kind, value
    number = (ctypes.c_float if kind == "s" else ctypes.c_double)(value)
    return ctypes.addressof(_kept_numbers.setdefault(key, number))
