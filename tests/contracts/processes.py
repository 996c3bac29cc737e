"""Programs that run in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import skmixed

PACKAGE = Path(skmixed.__file__).parent


def variables(site=PACKAGE.parent, **environment):
    """The environment of a program, with and without variables (None)."""
    joined = {**os.environ, "PYTHONPATH": str(site), **environment}
    return {name: value for name, value in joined.items() if value is not None}


def run_python(code, *arguments, site=PACKAGE.parent, **environment):
    """What a program prints; it has to end well."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=site,
        env=variables(site, **environment), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def start_python(code, *arguments, **environment):
    """A program that talks: its output can be read line by line while it runs."""
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code, *map(str, arguments)], cwd=PACKAGE.parent,
        env=variables(**environment), stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
