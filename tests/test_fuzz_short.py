"""A few cases of each fuzzer in every test run; long runs are started by hand (fuzz/README.md)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "fuzz"


@pytest.fixture(autouse=True)
def fuzzers(monkeypatch, tmp_path):
    """The fuzzers can be imported, and a file that a case created would be noticed."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.chdir(tmp_path)
    yield
    for name in (
        "formulas",
        "frames",
        "frame_cases",
        "frame_settings",
        "grammar",
        "hostile",
        "harness",
    ):
        sys.modules.pop(name, None)


def test_formulas():
    import formulas
    from harness import run

    report = run(formulas.check, seed=20, first=1, count=1_500)
    assert not report.findings, report.text()
    # the grammar, its refusals and hostile text all had their turn
    for outcome in ("accepted, as set algebra does", "refused, as set algebra does", "refused"):
        assert report.outcomes[outcome] > 100, report.text()


def test_frames():
    import frames
    from harness import run

    report = run(frames.check, seed=20, first=0, count=100)
    assert not report.findings, report.text()
    assert report.outcomes["fitted"] + report.outcomes["fitted with a warning"] > 20, report.text()


def test_a_fault_is_reported():
    """The loop itself: a fault, a broken fuzzer and a side effect are all seen."""
    import random

    from harness import Fault, World, run

    def check(seed: int, case: int) -> str:
        world = World.now()
        if case == 0:
            raise Fault("kind", "detail")
        if case == 1:
            raise KeyError("broken")
        if case == 2:
            random.random()
        if case == 3:
            Path("pwned").write_text("")
        world.refuse_changes()
        return "fine"

    report = run(check, seed=0, first=0, count=5)
    assert report.outcomes == {"fault": 4, "fine": 1}
    assert [finding.kind for finding in report.findings] == [
        "kind",
        "fuzzer broke: KeyError",
        "side effect on python_random",
        "side effect on files",
    ]


def test_what_takes_too_long_is_stopped():
    from harness import OverTime, clock

    def endless() -> None:
        while True:
            pass

    with pytest.raises(OverTime), clock(0.05):
        endless()


def test_set_algebra_itself():
    """The yardstick of the grammar, on an expansion that R's terms() gives as well."""
    import grammar

    a, b, c = (("name", name, (), False) for name in "abc")
    tree = ("sum", (("+", ("chain", "/", (("sum", (("+", a), ("+", b))), c))), ("-", b)))
    spec = grammar.meaning(tree)
    assert [[v.name for v in term] for term in spec.fixed.terms] == [["a"], ["a", "b", "c"]]
    assert grammar.printed(spec) == "1 + `a` + `a`:`b`:`c`"
