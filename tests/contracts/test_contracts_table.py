"""Every contract has a test."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path

import pandas as pd

TESTS = Path(__file__).parents[1]
TABLE = pd.read_csv(Path(__file__).with_name("contracts.csv"))
N_CONTRACTS = 42


@cache
def functions_of(file):
    """Names of the tests of a file, those that are skipped left out."""
    found = set()
    for node in ast.parse((TESTS / file).read_text()).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marks = [ast.unparse(mark) for mark in node.decorator_list]
            if not any("skip" in mark or "xfail" in mark for mark in marks):
                found.add(node.name)
    return found


def test_every_contract_has_a_test():
    tests = defaultdict(list)
    for contract, test in TABLE.itertuples(index=False):
        file, name = test.split("::")
        assert name in functions_of(file), test
        tests[contract].append(test)
    assert len(tests) == N_CONTRACTS
    assert not TABLE.duplicated().any()
