"""The span of powers of an operator, as a basis for the solution of a linear system."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skmixed.fit.posterior_response import Answer

_DEPENDENT = 1e-9
"""Eigenvalue of a scaled basis below which a direction adds nothing."""


@dataclass(frozen=True)
class Powers:
    """(I - R L)^-1 U in the span of powers.

    Attributes
    ----------
    images : list of Answer
        R (L R)^i L U.
    shares : ndarray (powers, m, m)
        Of the images in (I - R L)^-1 U - U.
    missing : ndarray (m, m)
        E.
    """

    images: list[Answer]
    shares: np.ndarray
    missing: np.ndarray

    @property
    def means(self) -> np.ndarray:
        """Answers of the means to weights that follow, (p + n_effects, m)."""
        pairs = zip(self.images, self.shares, strict=True)
        return np.sum([image.means @ shares for image, shares in pairs], axis=0)


def sum_of_products(moments: list[np.ndarray], shares: np.ndarray) -> np.ndarray:
    """Sum that the powers add to E; the first moments are their adjoints."""
    return np.sum([moment @ share for moment, share in zip(moments, shares, strict=False)], axis=0)


def galerkin(moments: list[np.ndarray]) -> np.ndarray:
    """Shares of the powers in (I - L R)^-1 L U, (powers, m, m).

    With Y = L U and the moments M_k = Y' R (L R)^k Y, the basis (L R)^i Y has the products
    M_{i+j} in the metric R, and M_{i+j+1} with L R between.
    """
    n, m = len(moments) // 2, len(moments[0])
    symmetric = [0.5 * (moment + moment.T) for moment in moments]
    products = np.block([[symmetric[i + j] for j in range(n)] for i in range(n)])
    inside = products - np.block([[symmetric[i + j + 1] for j in range(n)] for i in range(n)])
    diagonal = np.maximum(np.diagonal(products), 0.0)
    scale = np.where(diagonal > 0.0, 1.0 / np.sqrt(np.where(diagonal > 0.0, diagonal, 1.0)), 0.0)
    values, vectors = np.linalg.eigh(inside * np.outer(scale, scale))
    used = values > _DEPENDENT * values.max(initial=0.0)
    basis = scale[:, None] * vectors[:, used]
    shares = basis @ ((basis.T @ products[:, :m]) / values[used][:, None])
    return shares.reshape(n, m, m)
