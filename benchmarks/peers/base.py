"""What a system under test is: something that fits a mixed model and tells what it found."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pandas as pd


class NotInstalled(Exception):
    """The system is missing on this machine; the message says what to install."""


@dataclass(frozen=True)
class Task:
    """Data and model: ``y ~ 1 + covariates`` and random effects of every group.

    Attributes
    ----------
    X : DataFrame
        Covariates, which are all numbers, and grouping columns.
    y : Series
        Response; 0 and 1 of the Bernoulli family.
    groups : tuple of str
        Grouping columns; all others are covariates.
    slopes : tuple of str
        Covariates with a random slope in every group.
    correlated : bool
        Whether slopes are correlated with the intercept.
    effects_of : str or None
        The group whose effects are to be read out.
    family : str
        ``"gaussian"``, ``"bernoulli"`` with logit link or ``"poisson"``.
    """

    X: pd.DataFrame
    y: pd.Series
    groups: tuple[str, ...]
    slopes: tuple[str, ...] = ()
    correlated: bool = False
    effects_of: str | None = None
    family: str = "gaussian"

    @property
    def noise(self) -> tuple[str, ...]:
        """The name of the noise variance, where the family has one."""
        return ("noise",) if self.family == "gaussian" else ()

    @property
    def covariates(self) -> list[str]:
        """Columns of the fixed effects."""
        return [column for column in self.X.columns if column not in self.groups]

    @property
    def bars(self) -> list[str]:
        """The random effects in lme4's notation."""
        if not self.slopes:
            return [f"(1 | {group})" for group in self.groups]
        bar = "|" if self.correlated else "||"
        return [f"(1 + {' + '.join(self.slopes)} {bar} {group})" for group in self.groups]

    @property
    def formula(self) -> str:
        """The model in lme4's notation."""
        return "y ~ " + " + ".join(["1", *self.covariates, *self.bars])

    def joined(self) -> pd.DataFrame:
        """X and the response, as column ``y``, in one frame."""
        return self.X.assign(y=self.y)


@dataclass(frozen=True)
class Outcome:
    """One timed fit.

    Attributes
    ----------
    seconds : float
        Wall time from data in memory to estimates; reading them out is not timed.
    log_likelihood : float
        Maximum of the objective: log-likelihood, REML criterion or lower bound.
    coefficients : dict of str to float
        ``"intercept"`` and the covariates.
    variances : dict of str to float
        Keys are the groups, ``"group:covariate"`` for slopes, and ``"noise"`` of normal
        responses.
    effects : Series or None
        Effects of `Task.effects_of` by level (integers).
    details : dict of str to object
        What else the system says of its fit: numbers and words.
    """

    seconds: float
    log_likelihood: float
    coefficients: dict[str, float]
    variances: dict[str, float]
    effects: pd.Series | None = None
    details: dict[str, object] = field(default_factory=dict)

    def estimates(self) -> dict[str, float]:
        """Coefficients and variances, these as ``"var group"``."""
        return self.coefficients | {f"var {key}": value for key, value in self.variances.items()}


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


def choose_by_family(task: Task, known: Mapping[str, Any]) -> Any:
    """What a system has for the family of the task."""
    if task.family not in known:
        raise ValueError(
            f"This peer has no {task.family} family here, only {', '.join(known)}; "
            "leave it out of --peers."
        )
    return known[task.family]


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
