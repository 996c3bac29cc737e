"""What is public has a page in the API reference, and a docstring that says it all."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from pathlib import Path
from typing import Any, get_args

import pytest

import skmixed
from skmixed import choices
from skmixed.base import APPROXIMATIONS, METHODS
from skmixed.families import FAMILIES, family_names
from skmixed.fit.variance_priors import VARIANCE_PRIORS
from skmixed.posteriors import POSTERIORS
from skmixed.solvers.choice import SOLVERS

PUBLIC_MODULES = (
    "skmixed",
    "skmixed.inspection",
    "skmixed.datasets",
    "skmixed.formula",
    "skmixed.interop",
    "skmixed.exceptions",
)
API_PAGE = Path(__file__).parents[1] / "docs" / "api.rst"


def public_names() -> list[tuple[str, str]]:
    """Module and name of everything that a public module exports."""
    return [
        (module, name)
        for module in PUBLIC_MODULES
        for name in importlib.import_module(module).__all__
        if not name.startswith("__")
    ]


def names_on_page() -> list[tuple[str, str]]:
    """Module and name of all entries of the tables of the API page."""
    module, in_table, found = "", False, []
    for line in API_PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith(".. currentmodule::"):
            module = line.split("::")[1].strip()
        elif line and not line.startswith(" "):
            in_table = line.startswith(".. autosummary::")
        elif in_table and re.fullmatch(r"   \w+", line):
            found.append((module, line.strip()))
    return found


def look_up(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def sections(documented: Any) -> dict[str, list[str]]:
    """The lines of a numpydoc docstring by section."""
    lines = (inspect.getdoc(documented) or "").splitlines()
    heading, found = "", {"": []}
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if re.fullmatch(r"-{3,}", following) and len(following) == len(line):
            heading = line
            found[heading] = []
        elif not re.fullmatch(r"-{3,}", line):
            found[heading].append(line)
    return found


def documented_parameters(documented: Any) -> list[str]:
    """Names in the section Parameters, in order."""
    entries = [line for line in sections(documented).get("Parameters", []) if re.match(r"\S", line)]
    return [
        name.strip(" *")
        for entry in entries
        for name in entry.split(" :")[0].split(",")
        if re.fullmatch(r"\*{0,2}\w+", name.strip())
    ]


def signature_parameters(function: Any) -> list[str]:
    if inspect.isclass(function) and issubclass(function, Warning):
        return []  # a message, as all warnings
    return [name for name in inspect.signature(function).parameters if name != "self"]


def public_methods() -> list[tuple[type, str]]:
    """Methods of the exported classes that are written in this package."""
    classes = {look_up(*pair) for pair in public_names()}
    return sorted(
        (
            (cls, name)
            for cls in classes
            if inspect.isclass(cls)
            for name, method in inspect.getmembers(cls, callable)
            if not name.startswith("_")
            and getattr(method, "__module__", "").startswith("skmixed")
            and not inspect.isclass(method)
        ),
        key=lambda pair: (pair[0].__name__, pair[1]),
    )


def method_name(value: Any) -> str:
    return value.__name__ if inspect.isclass(value) else str(value)


@pytest.mark.parametrize(("module", "name"), public_names())
class TestName:
    def test_is_on_the_api_page(self, module, name):
        on_page = [look_up(*pair) for pair in names_on_page()]
        assert any(look_up(module, name) is listed for listed in on_page), (
            f"{module}.{name} is exported, but docs/api.rst does not list it"
        )

    def test_has_examples_that_are_doctests(self, module, name):
        written = "\n".join(sections(look_up(module, name)).get("Examples", []))
        assert doctest.DocTestParser().get_examples(written)

    def test_documents_its_parameters(self, module, name):
        exported = look_up(module, name)
        assert documented_parameters(exported) == signature_parameters(exported)


@pytest.mark.parametrize(("cls", "name"), public_methods(), ids=method_name)
class TestMethod:
    def test_documents_its_parameters(self, cls, name):
        method = getattr(cls, name)
        assert documented_parameters(method) == signature_parameters(method)

    def test_documents_what_it_returns(self, cls, name):
        method = getattr(cls, name)
        described = sections(method)
        # a method without parameters, such as `to_frame`, may say it in one sentence
        assert "Returns" in described or (not signature_parameters(method) and any(described[""]))


def test_every_entry_of_the_page_exists():
    missing = [
        f"{module}.{name}"
        for module, name in names_on_page()
        if not hasattr(importlib.import_module(module), name)
    ]
    assert missing == []


def test_what_the_page_reader_sees():
    listed = names_on_page()
    assert ("skmixed", "MixedEffectsVIRegressor") in listed
    assert len(listed) == len(set(listed)) >= len(skmixed.__all__) - 1


def test_the_parameter_reader_finds_a_gap():
    def function(a, b):
        """Do something.

        Parameters
        ----------
        a : int
            One.
        """

    assert documented_parameters(function) == ["a"] != signature_parameters(function)


def test_types_of_parameters_are_the_words_of_the_registries():
    by_kind = {kind: set(family_names(kind)) for kind in (False, True)}
    assert set(get_args(choices.NumberFamily)) == by_kind[False]
    assert set(get_args(choices.ClassFamily)) == by_kind[True]
    for written, kind in ((choices.FamilyOfNumbers, False), (choices.FamilyOfClasses, True)):
        families = [FAMILIES[name] for name in by_kind[kind]]
        aliases = {alias for family in families for alias in family.aliases}
        assert set(get_args(written)) == by_kind[kind] | aliases
    links = {link for family in FAMILIES.values() if family.is_classifier for link in family.links}
    assert set(get_args(choices.Link)) == links
    assert set(get_args(choices.PosteriorName)) == set(POSTERIORS)
    assert set(get_args(choices.VariancePriorName)) == set(VARIANCE_PRIORS)
    assert set(get_args(choices.Method)) == set(METHODS)
    assert set(get_args(choices.Approximation)) == set(APPROXIMATIONS)
    assert set(get_args(choices.SolverName)) == set(SOLVERS)


def test_dir_shows_public_names():
    shown = {name for name in dir(skmixed) if not name.startswith("__")}
    modules = {module.partition(".")[2] for module in PUBLIC_MODULES} - {""}
    assert shown == {name for name in skmixed.__all__ if not name.startswith("__")} | modules
