"""Passes over the dense matrix of the tail."""

from typing import Any

import numpy as np

from skmixed._kernels.compile import kernel


def mix_tail(
    raw: Any, first: Any, mix: Any, diagonal: Any, first_row: int, last_row: int, out: Any
) -> None:
    """Fill the lower triangle of out = Mix' raw Mix + diagonal.

    `raw` is symmetric, lower triangle read; it may be larger than `out` (N, N),
    then its leading part is meant. Column j of Mix combines
    the raw columns ``first[j] .. first[j] + width - 1`` with the coefficients
    ``mix[j, :]``; the columns of one level share ``first``. Only the rows from
    `first_row` to `last_row` (exclusive) are written.
    """
    fill = _scale_tail if mix.shape[1] == 1 else _mix_tail
    fill(raw, first, mix, diagonal, first_row, last_row, out)


@kernel
def _scale_tail(raw, first, mix, diagonal, first_row, last_row, out):
    scale = np.empty(mix.shape[0])
    for i in range(mix.shape[0]):
        scale[i] = mix[i, 0]
    for i in range(first_row, last_row):
        for j in range(i + 1):
            out[i, j] = scale[i] * raw[i, j] * scale[j]
        out[i, i] += diagonal[i]


@kernel
def _mix_tail(raw, first, mix, diagonal, first_row, last_row, out):
    width = mix.shape[1]
    for i in range(first_row, last_row):
        for j in range(i + 1):
            total = 0.0
            for a in range(width):
                if mix[i, a] == 0.0:
                    continue
                row = first[i] + a
                inner = 0.0
                for b in range(width):
                    if mix[j, b] != 0.0:
                        column = first[j] + b
                        if row >= column:
                            inner += raw[row, column] * mix[j, b]
                        else:
                            inner += raw[column, row] * mix[j, b]
                total += mix[i, a] * inner
            out[i, j] = total
        out[i, i] += diagonal[i]


@kernel
def mirror_lower(matrix):
    """Copy the lower triangle of a matrix (n, n) to the upper one."""
    for i in range(matrix.shape[0]):
        for j in range(i):
            matrix[j, i] = matrix[i, j]
