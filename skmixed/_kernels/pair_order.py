"""Sort rows by their pairs of levels: first into buckets, and then each bucket, in the cache.

A bucket has the rows of neighbouring levels of the first factor. A row is a *word*. Its *key* is
its level of the first factor within the bucket, followed by its level of the second one; below the
key stands the row's number where that is wanted. No step changes the order of rows of one key.
"""

import numpy as np

from skmixed._kernels.compile import kernel

KEY_BITS = 31
"""Most bits of a key: a word without a number has 32 bits, and no sign."""

NUMBER_BITS = 32
"""Bits of a row's number."""

_DIGIT_BITS = 10


@kernel
def place_by_bucket(codes, first, second_ranks, number_bits, first_row, free, words):
    """Put rows into buckets, as words (n,).

    `codes` are those of both factors of consecutive rows from number `first_row` on. `first` (L, 2)
    has for every code of the first factor its part of the key and the bucket, side by side, and
    `second_ranks` the level of every code of the second factor; `free` holds the next free place
    of every bucket and is moved on. Numbers have `number_bits` bits, which may be none.
    """
    first_codes, second_codes = codes
    for i in range(first_codes.shape[0]):
        code, second = np.uint64(first_codes[i]), np.uint64(second_codes[i])
        bucket = np.uint64(first[code, 1])
        place = np.uint64(free[bucket])
        free[bucket] += 1
        word = np.int64(first[code, 0] + second_ranks[second])
        if number_bits > 0:
            word = (word << number_bits) + first_row + i
        words[place] = word


@kernel
def sort_buckets(start, bounds, bits, buckets, words, cell_counts):
    """Sort words in a range of buckets (first, end), and count the keys of every level (L,).

    `start` (L + 1,) has the first row of every level of the first factor, and `bounds` the first
    level of every bucket. `bits` are those of levels of the second factor and of numbers; nothing
    else is left of the words.
    """
    level_bits, number_bits = bits
    most = 0
    for b in range(buckets[0], buckets[1]):
        most = max(most, start[bounds[b + 1]] - start[bounds[b]])
    beside, free = np.empty(most, words.dtype), np.empty(1 << _DIGIT_BITS, np.int64)
    for b in range(buckets[0], buckets[1]):
        begin, end = start[bounds[b]], start[bounds[b + 1]]
        here, there = words[begin:end], beside[: end - begin]
        key_bits = level_bits
        while (bounds[b + 1] - bounds[b] - 1) >> (key_bits - level_bits) > 0:
            key_bits += 1
        n_digits = (key_bits + _DIGIT_BITS - 1) // _DIGIT_BITS
        width = (key_bits + n_digits - 1) // max(n_digits, 1)
        for digit in range(n_digits):
            _sort_digit(here, there, number_bits + digit * width, free[: 1 << width])
            here, there = there, here
        previous, mask = np.int64(-1), (np.int64(1) << (level_bits + number_bits)) - 1
        for r in range(end - begin):
            word = np.int64(here[r])
            key = word >> number_bits
            if key != previous:
                previous = key
                cell_counts[bounds[b] + (key >> level_bits)] += 1
            words[begin + r] = word & mask


@kernel
def _sort_digit(here, there, shift, free):
    """Put words in the order of a digit, which begins `shift` bits from their end.

    There is a place of `free` for each of its values.
    """
    mask = np.int64(free.shape[0] - 1)
    for d in range(free.shape[0]):
        free[d] = 0
    for r in range(here.shape[0]):
        free[(np.int64(here[r]) >> shift) & mask] += 1
    total = np.int64(0)
    for d in range(free.shape[0]):
        count = free[d]
        free[d] = total
        total += count
    for r in range(here.shape[0]):
        digit = (np.int64(here[r]) >> shift) & mask
        there[np.uint64(free[digit])] = here[r]
        free[digit] += 1
