"""What the package declares, and what is tested, agree."""

import re
import tomllib
from pathlib import Path

import jinja2
import pytest
import yaml

import skmixed

ROOT = Path(__file__).parent.parent
CONTRIBUTING = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text()
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


def jobs():
    """Names of the jobs of .ci/run."""
    return set(re.findall(r"^job_(\w+)\(\)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE))


def test_workflows_call_every_job():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    called = set(re.findall(r"\.ci/run (\w+)", workflow))
    called |= set(re.search(r"job: \[([\w, ]+)\]", workflow)[1].split(", "))
    assert called == jobs()
    assert jobs() == set(
        re.findall(r"`(\w+)`", re.search(r"single jobs: (.*?)\. The", CONTRIBUTING, re.DOTALL)[1])
    )


def test_versions_of_python_are_tested_and_declared():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    tested = re.search(r'python: \["3\.11", .*\]', workflow)[0]
    declared = [each.split(" :: ")[-1] for each in PROJECT["classifiers"] if ":: 3." in each]
    assert re.findall(r'"([\d.]+)"', tested) == declared
    assert PROJECT["requires-python"] == f">={declared[0]}"


def test_licences_have_their_text():
    named = set(PROJECT["license"].split(" AND "))
    texts = {path.stem for path in (ROOT / "LICENSES").iterdir()}
    assert named == {"BSD-3-Clause"} | texts
    citation = (ROOT / "CITATION.cff").read_text()
    assert all(f"  - {name}\n" in citation for name in named)
    assert f"version: {PROJECT['version']}\n" in citation


def test_versions_agree():
    """The version of the package heads the changelog, undated while in development."""
    version = PROJECT["version"]
    assert skmixed.__version__ == version
    released, _, development = version.partition(".dev")
    text = (ROOT / "CHANGELOG.md").read_text()
    sections = re.findall(r"^## ([\d.]+) \((unreleased|\d{4}-\d\d-\d\d)\)$", text, re.MULTILINE)
    assert len(sections) == text.count("\n## ")
    assert sections[0][0] == released
    assert (sections[0][1] == "unreleased") == bool(development)
    assert all(date != "unreleased" for _, date in sections[1:])


def test_conda_recipe_says_what_the_project_says():
    text = (ROOT / "conda" / "meta.yaml").read_text()
    recipe = yaml.safe_load(jinja2.Template(text).render(PYTHON="python"))
    python, *required = recipe["requirements"]["run"]
    assert python == "python " + PROJECT["requires-python"]
    assert [each.replace(" ", "") for each in required] == PROJECT["dependencies"]
    assert recipe["package"]["name"] == PROJECT["name"]
    assert PROJECT["version"].startswith(recipe["package"]["version"])
    assert recipe["about"]["summary"] == PROJECT["description"]
    assert recipe["about"]["license"] == PROJECT["license"]
    assert all((ROOT / name).is_file() for name in recipe["about"]["license_file"])
    setuptools = recipe["requirements"]["host"][-1].replace(" ", "")
    build_system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]
    assert build_system["requires"] == [setuptools]


def test_the_first_lines_of_the_readme_print_what_they_say(capsys):
    code, output = re.search(
        r"```python\n(.*?)```\n\n```text\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    ).groups()
    exec(code, {})
    assert capsys.readouterr().out == output


def test_slow_files_exist():
    files = {path.stem.removeprefix("test_") for path in (ROOT / "tests").rglob("test_*.py")}
    text = (ROOT / "tests" / "conftest.py").read_text()
    slow = re.search(r'SLOW_FILES = """(.*?)"""', text, re.DOTALL)[1].split()
    assert len(slow) > 20
    assert files >= set(slow)
