"""A family's log density as kernels take it: numbers of rows, and natural parameters."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class RowDensity:
    """The log density of every row as a function of its linear predictor.

    It is `density_terms` of `skmixed/_kernels/densities.py` plus what does not depend on the
    predictor. Natural parameters are those by which kernels differentiate: thresholds, or the
    logarithm of a size.

    Attributes
    ----------
    kind : int
        Number of the density.
    pole : float
        How far from the real axis, in units of the predictor, the density is analytic and of
        moderate size.
    y : ndarray (n,)
        What the kernel reads as the response.
    low, high : ndarray (n,)
    natural : ndarray (n, 2) of int
        Natural parameters that `low` and `high` are; -1 for none.
    constant : float
        Weighted sum of what does not depend on the predictor.
    gradient, hessian : ndarray (m,), (m, m)
        Its derivatives by the natural parameters.
    jacobian : ndarray (m, k)
        Derivatives of the natural parameters by the family's own.
    bends : ndarray (m, k, k)
        Second ones.
    """

    kind: int
    pole: float
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    natural: np.ndarray
    constant: float = 0.0
    gradient: np.ndarray = field(default_factory=lambda: np.zeros(0))
    hessian: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    jacobian: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    bends: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 0)))

    @classmethod
    def without_parameters(
        cls, kind: int, pole: float, y: np.ndarray, constant: float = 0.0
    ) -> RowDensity:
        """The density of a family that has no own parameters."""
        nothing = np.zeros(len(y))
        return cls(kind, pole, y, nothing, nothing, np.full((len(y), 2), -1), constant)

    @classmethod
    def with_log_size(
        cls, kind: int, pole: float, y: np.ndarray, log_size: float, constants: np.ndarray
    ) -> RowDensity:
        """The density of a family whose own parameter is the logarithm of a size.

        Parameters
        ----------
        kind : int
        pole : float
        y : ndarray (n,)
        log_size : float
        constants : ndarray (3,)
            Weighted sum of what does not depend on the predictor, and its two derivatives.
        """
        n = len(y)
        natural = np.column_stack([np.zeros(n, int), np.full(n, -1)])
        return cls(
            kind, pole, y, np.full(n, log_size), np.full(n, np.exp(log_size)), natural,
            float(constants[0]), constants[1:2], constants[2:, None], np.eye(1),
            np.zeros((1, 1, 1)),
        )  # fmt: skip
