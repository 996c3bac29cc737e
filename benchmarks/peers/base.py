"""What a system under test is: something that fits InstEval and tells what it found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pandas as pd

FORMULA = "y ~ 1 + service + (1 | s) + (1 | d) + (1 | dept)"
GROUPS = ("s", "d", "dept")


class NotInstalled(Exception):
    """The system is missing on this machine; the message says what to install."""


@dataclass(frozen=True)
class Outcome:
    """One timed fit.

    Attributes
    ----------
    seconds : float
        Wall time from data in memory to estimates; reading them out is not timed.
    log_likelihood : float
        Maximum of the objective: log-likelihood, REML criterion or lower bound.
    intercept, service : float
        Fixed effects.
    variances : dict of str to float
        Keys ``"s"``, ``"d"``, ``"dept"`` and ``"noise"``.
    department_effects : Series
        Effects of the departments by level (integers).
    """

    seconds: float
    log_likelihood: float
    intercept: float
    service: float
    variances: dict[str, float]
    department_effects: pd.Series


class Peer:
    """A system with the data already in its memory.

    Attributes
    ----------
    method : str
        ``"reml"`` or ``"ml"``.
    version : str
        Name and version, for the record.
    """

    method: str = "reml"
    version: str = ""

    def fit(self) -> Outcome:
        """Fit once from scratch."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what is held, a child process for example."""


@contextmanager
def silent_output() -> Iterator[None]:
    """Silence what native code prints past `sys.stdout`."""
    sys.stdout.flush()
    saved = os.dup(1)
    with open(os.devnull, "w") as sink:
        os.dup2(sink.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(saved, 1)
            os.close(saved)
