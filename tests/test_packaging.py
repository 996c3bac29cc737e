"""What the package declares, and what is tested, agree."""

import doctest
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def lower_bounds():
    requirements = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dask"]
    found = [re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\d.]+)", each) for each in requirements]
    return {match[1]: match[2] for match in found}


def oldest_tested():
    """The first pin of every package in the constraints is the oldest."""
    pins = {}
    for line in (ROOT / ".ci" / "oldest.txt").read_text().splitlines():
        if match := re.match(r"([\w-]+)==([\d.]+)", line):
            pins.setdefault(match[1], match[2])
    return pins


@pytest.mark.parametrize("package", ["numpy", "scipy", "pandas", "scikit-learn", "numba",
                                     "dask", "distributed"])  # fmt: skip
def test_lower_bounds_are_what_is_tested(package):
    bound, tested = lower_bounds()[package].split("."), oldest_tested()[package].split(".")
    assert tested[: len(bound)] == bound
    assert not any(int(part) for part in tested[len(bound) :])


def test_five_dependencies():
    required = {re.match(r"[\w-]+", each)[0] for each in PROJECT["dependencies"]}
    assert required == {"numpy", "scipy", "pandas", "scikit-learn", "numba"}


def test_the_first_code_of_the_readme_prints_what_it_says():
    text = (ROOT / "README.md").read_text()
    block = re.search(r"^```pycon\n(.*?)^```", text, re.DOTALL | re.MULTILINE).group(1)
    example = doctest.DocTestParser().get_doctest(block, {}, "README.md", None, 0)
    assert len(example.examples) >= 6
    assert doctest.DocTestRunner().run(example).failed == 0
