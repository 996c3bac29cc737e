"""Warnings that can be filtered by class."""

from __future__ import annotations

__all__ = ["ApproximationWarning"]


class ApproximationWarning(UserWarning):
    """Estimates are likely off because the Gaussian posterior is far from the exact one.

    `fit` warns so where classes have few rows per level of a group whose variance is large.

    Examples
    --------
    >>> import warnings
    >>> from skmixed.exceptions import ApproximationWarning
    >>> warnings.simplefilter("ignore", ApproximationWarning)
    """
