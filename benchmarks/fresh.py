"""Run a piece of Python in a fresh process and read back what it measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def run_fresh(code: str, cache_folder: str | Path) -> dict[str, Any]:
    """Run `code`, which leaves its numbers in a dict called ``report``.

    Parameters
    ----------
    code : str
        Python source.
    cache_folder : str or Path
        Where Numba keeps compiled code (``NUMBA_CACHE_DIR``).

    Returns
    -------
    report : dict
        The dict that the code left behind.

    Raises
    ------
    RuntimeError
        When the process failed; the message ends in its error.
    """
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache_folder)}
    program = code + "\nimport json as _json\nprint('report:' + _json.dumps(report))\n"
    finished = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    if finished.returncode != 0:
        raise RuntimeError(f"the measured process failed:\n{finished.stderr}")
    lines = [line for line in finished.stdout.splitlines() if line.startswith("report:")]
    return json.loads(lines[-1].removeprefix("report:"))
