"""Variances without each of many groups of rows, from a few factorisations for all of them.

Without a group the variance parameters move by a small part of a standard error, where the
deviance is a polynomial to many digits. At every node of a grid one factorisation tells the
deviance without each group, and all that follows. What all groups share, the deviance of all
rows, is interpolated on a finer grid, which takes no look at the groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

_NODES = (0.0, 1.0, -1.0, 0.5, -0.5, 0.75, -0.75, 0.25, -0.25)
"""Nodes of every coordinate: a polynomial of degree d uses the first d + 1 of them."""

_MOST_STEPS = 30


@dataclass(frozen=True)
class Grid:
    """Nodes that determine a polynomial of some degree in m coordinates.

    Those of a tensor grid whose numbers add up to the degree at most (lower sets determine
    polynomials: Dyn and Floater 2014, J. Approximation Theory 177).

    Attributes
    ----------
    powers : ndarray (k, m)
        Exponents of the monomials.
    nodes : ndarray (k, m)
    """

    powers: np.ndarray
    nodes: np.ndarray

    @classmethod
    def of(cls, m: int, degree: int) -> Grid:
        """The grid of m coordinates and a degree up to 8, of nodes between -1 and 1."""
        powers = [p for p in product(range(degree + 1), repeat=m) if sum(p) <= degree]
        numbers = np.array(powers, int).reshape(-1, m)
        return cls(numbers, np.array(_NODES)[numbers])

    @property
    def size(self) -> int:
        """k."""
        return len(self.powers)

    def places_in(self, larger: Grid) -> np.ndarray:
        """Positions (k,) of these nodes and monomials among those of a higher degree."""
        known = {tuple(p): k for k, p in enumerate(larger.powers.tolist())}
        return np.array([known[tuple(p)] for p in self.powers.tolist()])

    def monomials(self, at: np.ndarray) -> np.ndarray:
        """All monomials at places (n, m), (n, k)."""
        return np.prod(at[:, None, :] ** self.powers, axis=2)

    def coefficients(self, values: np.ndarray) -> np.ndarray:
        """Coefficients (k, ...) of the polynomials through values (k, ...) at the nodes."""
        flat = values.reshape(self.size, -1)
        found = np.linalg.solve(self.monomials(self.nodes), flat)
        return found.reshape(values.shape)

    def derivative(self, at: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
        """Derivatives of all monomials at places (n, m), by the coordinates in `order`, (n, k)."""
        powers, factors = self.powers.copy(), np.ones(self.size)
        for j in order:
            factors = factors * powers[:, j]
            powers[:, j] = np.maximum(powers[:, j] - 1, 0)
        return factors * np.prod(at[:, None, :] ** powers, axis=2)


def minima(grid: Grid, coefficients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minima (n, m) of polynomials of coefficients (k, n) next to 0, and whether they were found.

    Newton's method, for all polynomials at once.
    """
    m, n = grid.powers.shape[1], coefficients.shape[1]
    at = np.zeros((n, m))
    step = np.full((n, m), np.inf)
    for _ in range(_MOST_STEPS):
        gradient = np.stack(
            [(grid.derivative(at, (i,)) * coefficients.T).sum(axis=1) for i in range(m)], axis=1
        )
        hessian = np.empty((n, m, m))
        for i in range(m):
            for j in range(i + 1):
                bend = (grid.derivative(at, (i, j)) * coefficients.T).sum(axis=1)
                hessian[:, i, j] = hessian[:, j, i] = bend
        rises = np.linalg.eigvalsh(hessian)[:, 0] > 0.0
        hessian[~rises] = np.eye(m)
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        step[~rises] = np.inf
        at = np.where(np.isfinite(step), np.clip(at - step, -2.0, 2.0), at)
        if not (np.abs(step[rises]) > 1e-13).any():
            break
    found = (np.abs(step) < 1e-10).all(axis=1) & (np.abs(at) <= 1.0).all(axis=1)
    return at, found
