"""Run a piece of Python in a fresh process and read back what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def run_fresh(code: str, cache_folder: str | Path | None = None) -> dict[str, Any]:
    """Run `code`, which leaves its numbers in a dict called ``report``.

    Parameters
    ----------
    code : str
        Python source; the modules of this folder can be imported.
    cache_folder : str, Path or None, default=None
        Where Numba keeps compiled code (``NUMBA_CACHE_DIR``). None: where it does for
        the user.

    Returns
    -------
    report : dict
        The dict that the code left behind.

    Raises
    ------
    RuntimeError
        When the process failed; the message ends in its error.
    """
    folders = [str(HERE), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders))}
    if cache_folder is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache_folder)
    program = code + "\nimport json as _json\nprint('report:' + _json.dumps(report))\n"
    finished = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    if finished.returncode != 0:
        raise RuntimeError(
            f"the measured process failed with code {finished.returncode}:\n{finished.stderr}"
        )
    lines = [line for line in finished.stdout.splitlines() if line.startswith("report:")]
    return json.loads(lines[-1].removeprefix("report:"))


def call_fresh(function: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """What `function`, of a module in this folder, returns in a fresh process.

    Arguments pass as their `repr`, the answer as JSON.
    """
    module, name = function.__module__, function.__name__
    return run_fresh(f"from {module} import {name}\nreport = {name}(**{arguments!r})")
