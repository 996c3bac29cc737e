"""Parametrisations in which all pairs of values meet, in place of all combinations."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations, product

import pytest


def covering(**values: Iterable):
    """Mark a test to run so often that every two values of two parameters meet.

    A parameter named ``a_and_b`` has tuples for the arguments ``a`` and ``b``.

    >>> sorted(covering_cases([[0, 1], "ab", "xy"]))
    [(0, 'a', 'x'), (0, 'b', 'y'), (1, 'a', 'y'), (1, 'b', 'x')]
    """
    names = [name for joint in values for name in joint.split("_and_")]
    cases = []
    for case in covering_cases(values.values()):
        parts = zip(values, case, strict=True)
        cases.append(
            [part for joint, value in parts for part in (value if "_and_" in joint else (value,))]
        )
    return pytest.mark.parametrize(names, cases)


def covering_cases(values: Iterable[Iterable]) -> list[tuple]:
    """Few tuples in which every pair of values of two parameters occurs, the same every time."""
    lists = [list(each) for each in values]
    numbered = list(product(*(range(len(each)) for each in lists)))
    pairs_of = [set(combinations(enumerate(case), 2)) for case in numbered]
    missing = set().union(*pairs_of)
    chosen = []
    while missing:
        # the first of those that add most
        best = max(range(len(numbered)), key=lambda k: len(pairs_of[k] & missing))
        chosen.append(numbered[best])
        missing -= pairs_of[best]
    if len(lists) < 2:
        chosen = numbered
    return [tuple(each[k] for each, k in zip(lists, case, strict=True)) for case in sorted(chosen)]
