"""Fuzz the formula language: `python fuzz/formulas.py --count 1000000 --seed 0`.

A third of the formulas are drawn from a grammar and have to mean what plain set algebra says
(`grammar.py`); a third are such formulas after random edits; a third are hostile. Every one
has to be read or to be refused with a `ValueError` that says something, soon, and without a
trace in the process.
"""

from __future__ import annotations

import os
import pickle
import resource
import sys
import tempfile
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parent))

import grammar
import hostile
from harness import Fault, World, examine, main

from skmixed.design import DesignEncoder, Table, resolve_spec
from skmixed.formula import FormulaError, parse_formula, parse_random_terms
from skmixed.spec import ModelSpec

_TABLES = 200
_LONGEST_MESSAGE = 4_000
_LONGEST_FORMULA = 10_000
_MEGABYTES_A_FORMULA = 100
_FORBIDDEN_EVENTS = ("os.", "subprocess.", "socket.", "shutil.", "ctypes.", "exec", "compile")

_events: list[str] = []
_armed = False


def watch(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook: note what reading a formula must never do."""
    if not _armed or not (event in ("open", "import") or event.startswith(_FORBIDDEN_EVENTS)):
        return
    # how much memory there is, which is asked before a large design is made
    if (
        event == "open"
        and str(arguments[0]).startswith(("/sys/", "/proc/"))
        and arguments[1] == "r"
    ):
        return
    _events.append(f"{event} {str(arguments)[:200]}")


@lru_cache(maxsize=_TABLES)
def table_of(number: int) -> tuple[Table, tuple[str, ...], dict[str, Any]]:
    """A small table, the names a formula can write, and the label that each stands for."""
    random = Random(number)
    labels = hostile.draw_columns(random)
    generator = np.random.default_rng(number)
    columns = [generator.integers(1, 4, 12) + (0.5 if k % 2 else 0.0) for k in range(len(labels))]
    frame = pd.DataFrame(dict(enumerate(columns)))
    # pandas would turn text into Arrow strings, which cannot hold a lone surrogate
    frame.columns = pd.Index(labels, dtype=object, tupleize_cols=False)
    table = Table.from_input(frame)
    return table, tuple(str(label) for label in labels), {str(label): label for label in labels}


def check(seed: int, case: int) -> str:
    """Try one formula."""
    random = Random(seed * 2**40 + case)
    table, names, labels = table_of(random.randrange(_TABLES))
    world = World.now() if case % 200 == 0 else None
    peak = _peak()
    kind = random.random()
    if kind < 0.34:
        outcome = _check_drawn(random, table, names, labels)
    elif kind < 0.67:
        text = grammar.write(random, grammar.draw_formula(random, list(names)))
        outcome = _check_any(random, hostile.mutate(random, text), table)
    else:
        outcome = _check_any(random, hostile.draw(random), table)
    if _events:
        events = ", ".join(_events)
        _events.clear()
        raise Fault("side effect seen by the audit hook", events)
    if _peak() - peak > _MEGABYTES_A_FORMULA:
        raise Fault("memory", f"{_peak() - peak} MB more at the peak")
    if world is not None:
        world.refuse_changes()
    return outcome


def _check_drawn(
    random: Random, table: Table, names: tuple[str, ...], labels: dict[str, Any]
) -> str:
    """A formula of the grammar means what set algebra says, and is stable when printed."""
    tree = grammar.draw_formula(random, list(names))
    text = grammar.write(random, tree)
    expected: ModelSpec | None = None
    try:
        expected = grammar.meaning(tree)
    except grammar.Unfollowed:
        return _check_any(random, text, table)
    except grammar.Refused as reason:
        error = _refusal(lambda: parse_formula(text), text)
        if error is None:
            raise Fault("accepted what has no meaning", f"{text!r}: {reason}") from None
        return "refused, as set algebra does"
    if len(text) > _LONGEST_FORMULA:
        return _check_any(random, text, table)
    try:
        spec = parse_formula(text)
    except ValueError as error:
        raise Fault("refused a formula of the grammar", f"{text!r}: {error}") from None
    if spec != expected:
        raise Fault("wrong meaning", f"{text!r}: {spec} instead of {expected}")
    normal = grammar.printed(spec)
    if len(normal) > _LONGEST_FORMULA:
        return "accepted, as set algebra does"
    if parse_formula(normal) != spec or grammar.printed(parse_formula(normal)) != normal:
        raise Fault("unstable when printed", f"{text!r}: {normal!r}")
    if _resolved(spec, labels) != resolve_spec(table, formula=text):
        raise Fault("wrong columns", f"{text!r}")
    if random.random() < 0.05:
        _refusal(lambda: _build(spec, labels, table), text)
    return "accepted, as set algebra does"


def _check_any(random: Random, text: Any, table: Table) -> str:
    """Anything at all is read or refused in words."""
    kind = random.random()
    if kind < 0.4 or not isinstance(text, str):
        refused = _refusal(lambda: parse_formula(text), text)
    elif kind < 0.6:
        refused = _refusal(lambda: parse_random_terms(text), text)
    elif kind < 0.8:
        refused = _refusal(lambda: resolve_spec(table, formula=text), text)
    else:
        refused = _refusal(lambda: resolve_spec(table, random_effects=[text]), text)
    return "read" if refused is None else "refused"


def _resolved(spec: ModelSpec, labels: dict[str, Any]) -> ModelSpec:
    """The spec with every column under its label."""

    def terms(before: Any) -> Any:
        return replace(
            before,
            terms=tuple(
                tuple(variable.relabelled(labels.__getitem__) for variable in term)
                for term in before.terms
            ),
        )

    random = tuple(
        replace(bar, effects=terms(bar.effects), group=tuple(labels[name] for name in bar.group))
        for bar in spec.random
    )
    offsets = tuple(variable.relabelled(labels.__getitem__) for variable in spec.offsets)
    return replace(spec, fixed=terms(spec.fixed), random=random, offsets=offsets)


def _build(spec: ModelSpec, labels: dict[str, Any], table: Table) -> None:
    """Arrays of the model; `ValueError` is fine."""
    encoder, design = DesignEncoder.learn(_resolved(spec, labels), table)
    if len(design.fixed) != table.n_rows or design.fixed.shape[1] != len(encoder.fixed.names):
        raise Fault("design of the wrong shape", f"{design.fixed.shape}")


def _refusal(call: Any, text: Any) -> ValueError | None:
    """The error of a call, which must be a helpful `ValueError`; None without one."""
    global _armed
    _armed = True
    try:
        call()
    except ValueError as error:
        _armed = False
        _check_message(error, text)
        return error
    except Fault:
        raise
    except Exception as error:
        raise Fault(
            f"{type(error).__name__} instead of ValueError", f"{text!r}: {error}"
        ) from error
    finally:
        _armed = False
    return None


def _check_message(error: ValueError, text: Any) -> None:
    message = str(error)
    shown = f"{text!r}"[:500]
    if type(error) not in (FormulaError, ValueError):
        raise Fault(f"{type(error).__name__} leaks", f"{shown}: {message}")
    if not 20 <= len(message) <= _LONGEST_MESSAGE:
        raise Fault("message of the wrong length", f"{shown}: {len(message)}: {message[:500]}")
    if any(not (letter.isprintable() or letter == "\n") for letter in message):
        raise Fault("unprintable message", f"{shown}: {message!r}")
    if isinstance(error, FormulaError):
        again = pickle.loads(pickle.dumps(error))
        if (str(again), again.position, again.formula) != (message, error.position, error.formula):
            raise Fault("error changes when pickled", shown)
        if not 0 <= error.position <= len(error.formula):
            raise Fault("error points outside of the formula", shown)


def _peak() -> int:
    """Peak memory of the process in megabytes; the unit of the system is a kilobyte on Linux."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // unit


if __name__ == "__main__":
    # A file that a formula creates would be seen in an empty folder.
    with tempfile.TemporaryDirectory() as folder:
        began_in = os.getcwd()
        arguments = sys.argv[1:]
        for index, argument in enumerate(arguments):
            if argument == "--output":
                sys.argv[index + 2] = str(Path(arguments[index + 1]).resolve())
        os.chdir(folder)
        for number in range(300):  # modules that are loaded late, and all tables
            examine(check, 0, number)
            table_of(number % _TABLES)
        sys.addaudithook(watch)
        code = main(check, __doc__ or "", 1_000_000)
        os.chdir(began_in)
    sys.exit(code)
