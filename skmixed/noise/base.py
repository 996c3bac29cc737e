"""How rows vary around their mean: what every noise model has."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from skmixed.sums.cell_sums import CellSums
from skmixed.sums.cross_products import CrossProducts


class Noise(Protocol):
    """The noise variance of rows as a function of a few parameters psi (k,).

    All is relative to the noise variance of a reference row, which is profiled out: a row of
    weight w has that variance over w. The cross-products of the data are sums of `parts`, each
    with a weight of its own.
    """

    @classmethod
    def of(
        cls, cross: CrossProducts, strata: tuple[CrossProducts, ...], n_rows: np.ndarray
    ) -> Noise:
        """From the cross-products of all rows and of each stratum's, and the rows of each (s,)."""
        ...

    def with_response(self, cross: CrossProducts, strata: tuple[CellSums, ...]) -> Noise:
        """The noise of another response: cross-products of all rows, and sums of each stratum."""
        ...

    @property
    def n_parameters(self) -> int:
        """k."""
        ...

    @property
    def parts(self) -> tuple[CrossProducts, ...]:
        """Cross-products of the rows of every weight."""
        ...

    def cross_products(self, psi: np.ndarray) -> CrossProducts:
        """The data under the weights at psi."""
        ...

    def log_weights(self, psi: np.ndarray) -> float:
        """Sum of the logarithms of the weights over all rows."""
        ...

    def gradient(self, psi: np.ndarray, by_weight: np.ndarray) -> np.ndarray:
        """Derivative by psi (k,) of f(weights) - `log_weights`, from that of f by weight."""
        ...

    def mean_variance(self, psi: np.ndarray) -> float:
        """Mean over the rows of the noise variance, over that of a reference row."""
        ...

    def start(self) -> np.ndarray:
        """Where to start psi, (k,)."""
        ...

    def canonical(self, psi: np.ndarray) -> np.ndarray:
        """psi within what numbers can hold, (k,)."""
        ...
