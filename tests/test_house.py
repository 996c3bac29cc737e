"""Rules of the source that no linter checks: file names, sizes of functions, families."""

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from skmixed.families import FAMILIES

PACKAGE = Path(__file__).parent.parent / "skmixed"
FILES = sorted(PACKAGE.rglob("*.py"))
MOST_LINES, MOST_PARAMETERS = 60, 8

PUBLIC_PARAMETERS = {
    "classifier.py: MixedEffectsVIClassifier.__init__",
    "datasets/simulated.py: make_mixed_classification",
    "datasets/simulated.py: make_mixed_regression",
    "encoder.py: MixedEffectsEncoder.__init__",
    "inspection/bootstrap.py: parametric_bootstrap",
    "inspection/displays/effect_comparison.py: EffectsComparisonDisplay.from_estimators",
    "inspection/displays/effect_comparison.py: EffectsComparisonDisplay.from_frames",
    "inspection/displays/effect_curves.py: EffectCurvesDisplay.from_estimator",
    "inspection/displays/fixed_effect_rows.py: FixedEffectsDisplay.from_estimator",
    "inspection/displays/random_effects.py: RandomEffectsDisplay.from_estimator",
    "inspection/displays/residuals.py: ResidualsDisplay.from_estimator",
    "inspection/mean_estimates.py: marginal_means",
    "regressor.py: MixedEffectsVIRegressor.__init__",
}
"""Signatures that users type, whose parameters are fixed."""


@cache
def parsed(path):
    return path.read_text(), ast.parse(path.read_text())


@cache
def functions():
    """Name, definition and source of every function of the package."""
    return list(find_functions())


def find_functions():
    for path in FILES:
        text, tree = parsed(path)
        lines = text.splitlines()
        inside = {
            child: node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            for child in node.body
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                owner = f"{inside[node]}." if node in inside else ""
                where = path.relative_to(PACKAGE).as_posix()
                yield f"{where}: {owner}{node.name}", node, lines


def n_lines(node, source):
    """Lines of code of a function's body, without docstring, comments and blank lines."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    lines = (line.strip() for line in source[body[0].lineno - 1 : node.end_lineno])
    return sum(bool(line) and not line.startswith("#") for line in lines)


def n_parameters(node):
    arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
    return sum(argument.arg not in ("self", "cls") for argument in arguments)


def test_file_names_are_unique():
    names = Counter(path.name for path in FILES)
    assert {name for name, count in names.items() if count > 1} <= {"__init__.py", "base.py"}


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_that_documents_name_exist(document):
    root = PACKAGE.parent
    named = re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", (root / document).read_text())
    assert named
    missing = [name for name in named if not any((top / name).exists() for top in (root, PACKAGE))]
    assert not missing, missing


def test_functions_fit_a_screen():
    sizes = {name: n_lines(node, source) for name, node, source in functions()}
    too_long = {name: size for name, size in sizes.items() if size > MOST_LINES}
    assert not too_long, too_long


def test_functions_take_few_parameters():
    sizes = {name: n_parameters(node) for name, node, _ in functions()}
    too_many = {name: size for name, size in sizes.items() if size > MOST_PARAMETERS}
    assert set(too_many) <= PUBLIC_PARAMETERS, too_many


def names_of_families(node):
    """Whether an operand of a comparison is a family's name, or what holds one."""
    if isinstance(node, ast.Attribute) and node.attr == "name":
        return "likelihood" in ast.unparse(node.value)
    if isinstance(node, ast.Attribute | ast.Name):
        return (node.attr if isinstance(node, ast.Attribute) else node.id) == "family"
    return isinstance(node, ast.Constant) and node.value in FAMILIES


def test_lists_of_exceptions_hold_nothing_that_keeps_the_rules():
    large = {
        name
        for name, node, source in functions()
        if n_lines(node, source) > MOST_LINES or n_parameters(node) > MOST_PARAMETERS
    }
    assert large >= PUBLIC_PARAMETERS


def test_families_are_asked_not_compared():
    for path in FILES:
        if path.parent.name == "families":
            continue
        for node in ast.walk(parsed(path)[1]):
            if isinstance(node, ast.Compare):
                operands = [node.left, *node.comparators]
                if any(map(names_of_families, operands)):
                    # the encoder calls a kind of target "poisson"
                    texts = map(ast.unparse, operands)
                    of_target = any(text.endswith("target_type") for text in texts)
                    assert of_target, f"{path}: {ast.unparse(node)}"
