"""Sort rows by their pairs of levels: first into buckets, and then each bucket, in the cache.

A bucket has the rows of neighbouring levels of the first factor. Within it rows are sorted by
digits of their level of the second factor, and then by level of the first one. No step changes
the order of rows that are equal to it.
"""

import numpy as np

from skmixed._kernels.compile import kernel

_DIGIT_BITS = 9
_DIGITS = 1 << _DIGIT_BITS


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
    """Sort the rows of a range of buckets (first, end).

    `start` (L + 1,) has the first row of every level of the first factor, `bounds` the first
    level of every bucket.
    """
    most, widest = 0, _DIGITS
    for b in range(buckets[0], buckets[1]):
        most = max(most, start[bounds[b + 1]] - start[bounds[b]])
        widest = max(widest, bounds[b + 1] - bounds[b])
    other, other_levels = np.empty((most, 2), np.int32), np.empty(most, np.int32)
    free = np.empty(widest, np.int64)
    for b in range(buckets[0], buckets[1]):
        first_level, n_levels = bounds[b], bounds[b + 1] - bounds[b]
        begin = start[first_level]
        size = start[bounds[b + 1]] - begin
        here, there = (rows, levels, begin), (other, other_levels, 0)
        shift, is_home = 0, True
        while (n_second - 1) >> shift > 0:
            _sort_by_digit(here, there, size, shift, free)
            here, there, is_home = there, here, not is_home
            shift += _DIGIT_BITS
        if n_levels > 1:
            _sort_by_level(here, there, size, first_level, n_levels, free)
            is_home = not is_home
        if not is_home:
            for r in range(size):
                rows[begin + r, 0], rows[begin + r, 1] = other[r, 0], other[r, 1]


@kernel
def _sort_by_digit(here, there, size, shift, free):
    rows, levels, begin = here
    free[:_DIGITS] = 0
    for r in range(begin, begin + size):
        free[(rows[r, 1] >> shift) & (_DIGITS - 1)] += 1
    _first_places(free[:_DIGITS], there[2])
    for r in range(begin, begin + size):
        digit = (rows[r, 1] >> shift) & (_DIGITS - 1)
        _move(rows, levels, r, there, free[digit])
        free[digit] += 1


@kernel
def _sort_by_level(here, there, size, first_level, n_levels, free):
    rows, levels, begin = here
    free[:n_levels] = 0
    for r in range(begin, begin + size):
        free[levels[r] - first_level] += 1
    _first_places(free[:n_levels], there[2])
    for r in range(begin, begin + size):
        level = levels[r] - first_level
        _move(rows, levels, r, there, free[level])
        free[level] += 1


@kernel
def _first_places(counts, first):
    """Replace counts by where what they count begins."""
    for d in range(counts.shape[0]):
        count = counts[d]
        counts[d] = first
        first += count


@kernel
def _move(rows, levels, r, there, to):
    r, place = np.uint64(r), np.uint64(to)
    there[0][place, 0], there[0][place, 1] = rows[r, 0], rows[r, 1]
    there[1][place] = levels[r]
