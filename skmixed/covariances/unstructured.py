"""Any covariance: T is lower triangular, and its entries are the parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import ClassVar

import numpy as np

from skmixed.covariances.base import NEXT_TO_THE_END, BasisChange, LevelCovariance


@cache
def _entries(n_effects: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of every entry of a lower triangle, column by column."""
    columns, rows = np.triu_indices(n_effects)
    return rows, columns


@dataclass(frozen=True)
class Unstructured(LevelCovariance):
    """Omega = T T' with T lower triangular; theta has its entries, column by column.

    With G the derivative by Omega, the gradient by T is 2 G T and vanishes where a column of
    T is zero, while the curvature 2 G does not.
    """

    name: ClassVar[str] = "unstructured"
    formula_words: ClassVar[tuple[str, ...]] = ("us",)
    includes_all: ClassVar[bool] = True
    basis_may: ClassVar[BasisChange] = "rotate"

    @property
    def entries(self) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of T of every parameter, (m,) each."""
        return _entries(self.n_effects)

    @property
    def n_parameters(self) -> int:
        """Number of entries of a lower triangle."""
        return self.n_effects * (self.n_effects + 1) // 2

    def scale(self, theta: np.ndarray) -> np.ndarray:
        """T, (q, q)."""
        out = np.zeros((self.n_effects, self.n_effects))
        out[self.entries] = theta
        return out

    def tangents(self, theta: np.ndarray) -> np.ndarray:
        """dT T' + T dT' of every entry, (m, q, q)."""
        rows, columns = self.entries
        every = np.arange(len(rows))
        half = np.zeros((len(rows), self.n_effects, self.n_effects))
        half[every, rows] = self.scale(theta).T[columns]
        return half + half.swapaxes(1, 2)

    def second(self, theta: np.ndarray) -> np.ndarray:
        """dT dT' + its transpose of entries of one column of T, (m, m, q, q)."""
        rows, columns = self.entries
        first, other = np.nonzero(columns[:, None] == columns)
        half = np.zeros((len(rows), len(rows), self.n_effects, self.n_effects))
        half[first, other, rows[first], rows[other]] = 1.0
        return half + half.swapaxes(2, 3)

    def linear_basis(self) -> np.ndarray:
        """A unit matrix for every variance and covariance, (m, q, q)."""
        rows, columns = self.entries
        every = np.arange(len(rows))
        out = np.zeros((len(rows), self.n_effects, self.n_effects))
        out[every, rows, columns] = out[every, columns, rows] = 1.0
        return out

    def nearest(self, omega: np.ndarray) -> np.ndarray:
        """The entries of a Cholesky factor, singular ones included."""
        values, vectors = np.linalg.eigh(omega)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        # the R of a QR decomposition is the transposed Cholesky factor
        return self.canonical(np.linalg.qr(root.T)[1].T[self.entries])

    def gradient(self, theta: np.ndarray, by_omega: np.ndarray) -> np.ndarray:
        """2 G T, of which the lower triangle."""
        return 2.0 * (by_omega @ self.scale(theta))[self.entries]

    def curvature(self, theta: np.ndarray, by_omega: np.ndarray) -> np.ndarray:
        """2 G between entries of one column of T."""
        rows, columns = self.entries
        return 2.0 * by_omega[rows[:, None], rows] * (columns[:, None] == columns)

    def canonical(self, theta: np.ndarray) -> np.ndarray:
        """Columns of T turned so that its diagonal is not negative."""
        rows, columns = self.entries
        signs = np.where(theta[rows == columns] < 0.0, -1.0, 1.0)
        return theta * signs[columns]

    @property
    def reflects(self) -> np.ndarray:
        """The entries that are alone in their column of T: the last one."""
        _, columns = self.entries
        return columns == self.n_effects - 1

    def moves(self, theta: np.ndarray) -> np.ndarray:
        """The entries of columns that are not zero; a function of Omega is symmetric about 0."""
        _, columns = self.entries
        return np.isin(columns, columns[theta != 0.0])

    def ends(self, theta: np.ndarray) -> Iterator[tuple[np.ndarray, float]]:
        """Columns and rows of T that are next to zero."""
        seen = set()
        for numbers in self.entries[::-1]:
            for number in range(self.n_effects):
                line = np.flatnonzero(numbers == number)
                largest = np.abs(theta[line]).max()
                if 0.0 < largest < NEXT_TO_THE_END and tuple(line) not in seen:
                    seen.add(tuple(line))
                    yield line, 0.0
