"""Sort rows by their pairs of levels: first into buckets, and then each bucket, in the cache.

A bucket has the rows of neighbouring levels of the first factor. Within it rows are sorted by
digits of their level of the second factor, and then by level of the first one. No step changes
the order of rows that are equal to it.
"""

import numpy as np

from skmixed._kernels.compile import kernel

_DIGIT_BITS = 9
_DIGITS = 1 << _DIGIT_BITS
_ALL_BITS = (1 << 31) - 1


@kernel
def place_by_bucket(first_codes, second_codes, first, second_ranks, first_row, free, rows, levels):
    """Put rows into buckets.

    The codes are those of consecutive rows from number `first_row` on. `first` (L, 2) has the
    rank and the bucket of every code of the first factor, side by side; `free` holds the next
    free place of every bucket and is moved on. `rows` (n, 2) receives the row's number and its
    level of the second factor, `levels` (n,) its level of the first factor.
    """
    for i in range(first_codes.shape[0]):
        code, second = np.uint64(first_codes[i]), np.uint64(second_codes[i])
        bucket = np.uint64(first[code, 1])
        place = np.uint64(free[bucket])
        free[bucket] += 1
        rows[place, 0] = first_row + i
        rows[place, 1] = second_ranks[second]
        levels[place] = first[code, 0]


@kernel
def sort_buckets(start, bounds, n_second, buckets, rows, levels):
    """Sort `rows` in a range of buckets (first, end), from what `place_by_bucket` left.

    `start` (L + 1,) has the first row of every level of the first factor, `bounds` the first
    level of every bucket.
    """
    most, widest, n_digits = 0, _DIGITS, 0
    for b in range(buckets[0], buckets[1]):
        most = max(most, start[bounds[b + 1]] - start[bounds[b]])
        widest = max(widest, bounds[b + 1] - bounds[b])
    while (n_second - 1) >> (n_digits * _DIGIT_BITS) > 0:
        n_digits += 1
    # two sides that rows go between: number, level of the second factor, level of the first
    sides, free = np.empty((2, most, 3), np.int32), np.empty(widest, np.int64)
    for b in range(buckets[0], buckets[1]):
        n_levels, begin = bounds[b + 1] - bounds[b], start[bounds[b]]
        size = start[bounds[b + 1]] - begin
        for r in range(size):
            sides[0, r, 0], sides[0, r, 1] = rows[begin + r, 0], rows[begin + r, 1]
            sides[0, r, 2] = levels[begin + r] - bounds[b]
        # typed numbers: of plain ones Numba compiles a version for every constant
        side = np.int64(0)
        for digit in range(n_digits):
            key = np.int64(1), np.int64(digit * _DIGIT_BITS), np.int64(_DIGITS - 1)
            _sort_side(sides, side, size, key, free[:_DIGITS])
            side = 1 - side
        if n_levels > 1:
            key = np.int64(2), np.int64(0), np.int64(_ALL_BITS)
            _sort_side(sides, side, size, key, free[:n_levels])
            side = 1 - side
        for r in range(size):
            rows[begin + r, 0], rows[begin + r, 1] = sides[side, r, 0], sides[side, r, 1]


@kernel
def _sort_side(sides, side, size, key, free):
    """Put the rows of a side on the other one, in order of some bits of a column.

    `key` says which: the column, by how much to shift it, and a mask. There is a place of `free`
    for each of their values.
    """
    here, there = sides[side], sides[1 - side]
    column, shift, mask = key
    for d in range(free.shape[0]):
        free[d] = 0
    for r in range(size):
        free[(here[r, column] >> shift) & mask] += 1
    total = np.int64(0)
    for d in range(free.shape[0]):
        count = free[d]
        free[d] = total
        total += count
    for r in range(size):
        digit = (here[r, column] >> shift) & mask
        place = np.uint64(free[digit])
        there[place, 0], there[place, 1], there[place, 2] = here[r, 0], here[r, 1], here[r, 2]
        free[digit] += 1
