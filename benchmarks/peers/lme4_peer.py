"""lme4 in one R process that holds the data and times itself."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pandas as pd

from peers.base import NotInstalled, Outcome, Peer, Task, choose_by_family

SCRIPT = Path(__file__).with_name("lme4_insteval.R")


class Lme4(Peer):
    """REML by `lmer`, with or without its derivative checks at the end; InstEval only."""

    def __init__(self, task: Task, derivative_checks: bool) -> None:
        choose_by_family(task, {"gaussian": "lmer"})
        program = shutil.which("Rscript")
        if program is None:
            raise NotInstalled("install R and its package lme4 (Debian: apt install r-cran-lme4)")
        self._groups = task.groups
        self._folder = tempfile.TemporaryDirectory()
        path = Path(self._folder.name) / "insteval.csv"
        task.joined().to_csv(path, index=False)
        self._process = subprocess.Popen(
            [program, "--vanilla", str(SCRIPT), str(path), str(derivative_checks).upper()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        greeting = self._read_line()
        if not greeting.startswith("ready "):
            self.close()
            raise NotInstalled("R is here, its package lme4 is not: install.packages('lme4')")
        self.version = greeting.removeprefix("ready ")

    def _read_line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def fit(self) -> Outcome:
        assert self._process.stdin is not None
        self._process.stdin.write("fit\n")
        self._process.stdin.flush()
        line = self._read_line()
        if not line:
            raise RuntimeError(f"R ended without an answer; run {SCRIPT.name} by hand to see why.")
        answer = {name: float(value) for name, value in (pair.split("=") for pair in line.split())}
        departments = {
            int(name.removeprefix("dept.")): value
            for name, value in answer.items()
            if name.startswith("dept.")
        }
        return Outcome(
            seconds=answer["seconds"],
            log_likelihood=answer["log_likelihood"],
            coefficients={name: answer[name] for name in ("intercept", "service")},
            variances={g: answer[f"variance.{g}"] for g in self._groups}
            | {"noise": answer["variance.Residual"]},
            effects=pd.Series(departments),
        )

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._folder.cleanup()
