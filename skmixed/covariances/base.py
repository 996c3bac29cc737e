"""How the random effects of one level covary: what every structure has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np

NEXT_TO_THE_END = 1e-4
"""Distance from the end of its range below which a parameter may be set to the end."""


BasisChange = Literal["rotate", "scale", "resize"]
"""What may be done to the columns that effects multiply: mix them, give each a unit of its
own, or give all of them one unit."""

_CHANGES: tuple[BasisChange, ...] = ("resize", "scale", "rotate")


def narrower(first: BasisChange, second: BasisChange) -> BasisChange:
    """What two parts of a model allow both."""
    return min(first, second, key=_CHANGES.index)


@runtime_checkable
class Relation(Protocol):
    """How the levels of a factor covary among each other."""

    @property
    def labels(self) -> Sequence[Any]:
        """All levels that have effects, with rows or without."""
        ...

    def root(self) -> np.ndarray:
        """W (L, L) with W W' the covariance of the levels, in the order of `labels`."""
        ...


@dataclass(frozen=True)
class LevelCovariance(ABC):
    """Covariance matrix of the q effects of one level, relative to the noise variance.

    A structure is a smooth map from m unrestricted numbers, `theta`, to Omega = T T'. A
    variance of zero and a correlation of one are ordinary points: there the gradient vanishes
    and the curvature tells whether the parameter wants to leave.

    Attributes
    ----------
    n_effects : int
        q.
    """

    n_effects: int

    name: ClassVar[str]
    """Its key in `STRUCTURES`."""

    formula_words: ClassVar[tuple[str, ...]] = ()
    """Functions that stand for it in formulas: ``cs(1 + x | g)``."""

    is_public: ClassVar[bool] = True
    """Whether ``RandomEffect(covariance=)`` has it; others are reached by ``homogeneous=``."""

    is_one_block: ClassVar[bool] = True
    """Whether the effects of a term share one matrix; False where each has its own variance."""

    includes_all: ClassVar[bool] = False
    """Whether every covariance is one of this structure, of more effects as well."""

    includes: ClassVar[tuple[str, ...]] = ()
    """Keys of structures that are special cases of this one, of the same effects."""

    homogeneous: ClassVar[str | None] = None
    """Key of the same structure with one standard deviation for all effects, if there is one."""

    has_sds: ClassVar[bool] = True
    """Whether every effect has a standard deviation of its own."""

    basis_may: ClassVar[BasisChange] = "resize"
    """Changes of the columns that effects multiply under which the structure stays of its kind."""

    @property
    def entries(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Row and column of a lower-triangular T of every parameter, where they are entries."""
        return None

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """Number of parameters, m."""
        ...

    @abstractmethod
    def scale(self, theta: np.ndarray) -> np.ndarray:
        """A matrix T (q, q) with T T' = Omega."""
        ...

    @abstractmethod
    def tangents(self, theta: np.ndarray) -> np.ndarray:
        """Derivatives of Omega by every parameter, (m, q, q)."""
        ...

    @abstractmethod
    def second(self, theta: np.ndarray) -> np.ndarray:
        """Second derivatives of Omega, (m, m, q, q)."""
        ...

    @abstractmethod
    def nearest(self, omega: np.ndarray) -> np.ndarray:
        """Parameters of a covariance of this structure near `omega` (q, q), (m,)."""
        ...

    def linear_basis(self) -> np.ndarray | None:
        """Symmetric matrices (k, q, q) whose combinations are all Omega of this structure.

        None where these are no linear space.
        """
        return None

    def natural(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First (m, q, q) and second (m, m, q, q) derivatives of Omega by what is reported.

        That is by standard deviations and correlations, where these are not `theta` itself.
        """
        return self.tangents(theta), self.second(theta)

    def gradient(self, theta: np.ndarray, by_omega: np.ndarray) -> np.ndarray:
        """Derivative of a function by theta (m,), from its symmetric one by Omega (q, q)."""
        return np.einsum("mab,ab->m", self.tangents(theta), by_omega)

    def curvature(self, theta: np.ndarray, by_omega: np.ndarray) -> np.ndarray:
        """Part (m, m) of a second derivative by theta that comes from the bend of Omega."""
        return np.einsum("mnab,ab->mn", self.second(theta), by_omega)

    def canonical(self, theta: np.ndarray) -> np.ndarray:
        """The equivalent parameters (m,) in the range that people use: signs that mean nothing
        are positive."""
        return np.abs(theta)

    @property
    def reflects(self) -> np.ndarray:
        """Which parameters mean the same with the other sign, (m,)."""
        return np.ones(self.n_parameters, bool)

    def moves(self, theta: np.ndarray) -> np.ndarray:
        """Which parameters are inside their range, (m,): at its end the gradient vanishes."""
        return theta != 0.0

    def ends(self, theta: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
        """Sets of parameters next to an end of their range: positions (k,), and the end."""
        for j in np.flatnonzero((theta != 0.0) & (np.abs(theta) < NEXT_TO_THE_END)):
            yield np.array([j]), 0.0
