"""A known covariance between the levels of a factor: kinship, phylogeny, any kernel."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

_ROUNDING = 1e-8
"""Negative eigenvalue, and asymmetry, over the largest number, that rounding explains."""


class Relationship:
    """A known covariance matrix of the levels of a grouping factor.

    With ``relations={"line": Relationship(K, labels)}`` the effects of two levels l and m of
    ``line`` have the covariance K[l, m] times the estimated variance, which is that of a level with
    K[l, l] = 1.

    Parameters
    ----------
    matrix : array-like or sparse matrix of shape (n_levels, n_levels)
        K: symmetric and positive semi-definite.
    labels : sequence of length n_levels
        The level of each row of the matrix, as in the grouping column. Levels without rows in the
        data get effects and predictions too.

    Raises
    ------
    ValueError
        If the matrix is not square, finite, symmetric or positive semi-definite, or the
        labels are not one per row, all different.

    Notes
    -----
    Related levels are solved for together, in time that grows with the cube of their number.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skmixed import MixedEffectsVIRegressor, Relationship
    >>> rng = np.random.default_rng(0)
    >>> labels = [f"line{k}" for k in range(30)]
    >>> distance = np.abs(np.subtract.outer(np.arange(30), np.arange(30)))
    >>> kinship = Relationship(0.8**distance, labels)
    >>> effects = np.linalg.cholesky(kinship.matrix) @ rng.standard_normal(30)
    >>> codes = rng.integers(25, size=200)
    >>> X = pd.DataFrame({"line": np.array(labels)[codes]})
    >>> y = effects[codes] + 0.5 * rng.standard_normal(200)
    >>> model = MixedEffectsVIRegressor(["line"], relations={"line": kinship}).fit(X, y)
    >>> model.random_effects_["line"].shape
    (30, 1)
    """

    def __init__(self, matrix: Any, labels: Sequence[Any]) -> None:
        dense = getattr(matrix, "toarray", lambda: matrix)()
        self.matrix = np.array(dense, dtype=float)
        self.labels = list(labels)
        self._check()
        self.root()

    def _check(self) -> None:
        """Refuse matrices that are not covariances, and labels that do not match their rows."""
        shape = self.matrix.shape
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(
                f"Relationship: matrix has shape {shape}; it needs a row and a column per level."
            )
        if len(self.labels) != len(self.matrix):
            raise ValueError(
                f"Relationship: there are {len(self.labels)} labels for {len(self.matrix)} rows of "
                "matrix; give one per row."
            )
        seen: set[Any] = set()
        for label in self.labels:
            if label in seen:
                raise ValueError(
                    f"Relationship: the label {label!r} occurs twice; list each level once."
                )
            seen.add(label)
        if not np.isfinite(self.matrix).all():
            row = int(np.flatnonzero(~np.isfinite(self.matrix).all(axis=1))[0])
            raise ValueError(
                f"Relationship: the row of {self.labels[row]!r} holds NaN or infinity; drop the "
                "level or complete its row."
            )
        largest = np.abs(self.matrix).max(initial=0.0)
        skew = np.abs(self.matrix - self.matrix.T)
        if skew.max(initial=0.0) > _ROUNDING * largest:
            one, other = np.unravel_index(int(skew.argmax()), skew.shape)
            raise ValueError(
                f"Relationship: matrix is not symmetric: row {self.labels[int(one)]!r}, column "
                f"{self.labels[int(other)]!r} is {self.matrix[one, other]:.6g}, but the transposed "
                f"entry is {self.matrix[other, one]:.6g}."
            )

    def root(self) -> np.ndarray:
        """A matrix W with W W' = K, (n_levels, n_levels); made once."""
        return self._root

    @cached_property
    def _root(self) -> np.ndarray:
        symmetric = 0.5 * (self.matrix + self.matrix.T)
        try:
            return np.linalg.cholesky(symmetric)
        except np.linalg.LinAlgError:
            # singular, or no covariance
            values, vectors = np.linalg.eigh(symmetric)
        if values.min(initial=0.0) < -_ROUNDING * values.max(initial=0.0):
            raise ValueError(
                f"Relationship: matrix is not positive semi-definite: its smallest eigenvalue is "
                f"{values[0]:.3g}, its largest {values[-1]:.3g}. Add a small number to the "
                "diagonal, or compute the matrix from complete data."
            )
        return vectors * np.sqrt(np.maximum(values, 0.0))

    def __repr__(self) -> str:
        return f"Relationship(<{len(self.labels)} x {len(self.labels)} matrix>, labels)"
