"""Warnings of this package, each a class of its own so that one can be filtered alone."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

__all__ = [
    "ApproximationWarning",
    "ClassOrderWarning",
    "ColumnRoleWarning",
    "SingularFitWarning",
    "UnknownLevelsWarning",
]

_PACKAGE = str(Path(__file__).parent)
_WRAPPERS = (str(Path("sklearn", "callback")), "contextlib.py")
"""Files between a method of this package and whoever called it."""


class ColumnRoleWarning(UserWarning):
    """A column got its role (group or fixed effect) by its type, perhaps wrongly.

    The message names the column and the parameter that sets its role.

    Examples
    --------
    >>> import warnings
    >>> from skmixed.exceptions import ColumnRoleWarning
    >>> warnings.simplefilter("ignore", ColumnRoleWarning)
    """


class UnknownLevelsWarning(UserWarning):
    """Most labels of a grouping column were not seen during fit.

    This is right if you predict new groups on purpose, as in cross-validation by group. Otherwise
    the labels may have another type or come from another table.

    Examples
    --------
    >>> import warnings
    >>> from skmixed.exceptions import UnknownLevelsWarning
    >>> warnings.simplefilter("ignore", UnknownLevelsWarning)
    """


class ClassOrderWarning(UserWarning):
    """Ordered classes were replaced by numbers before `fit`, perhaps in another order.

    Examples
    --------
    >>> import warnings
    >>> from skmixed.exceptions import ClassOrderWarning
    >>> warnings.simplefilter("ignore", ClassOrderWarning)
    """


class SingularFitWarning(UserWarning):
    """A variance is estimated as 0, or a correlation as 1 or -1.

    Examples
    --------
    >>> import warnings
    >>> from skmixed.exceptions import SingularFitWarning
    >>> warnings.simplefilter("ignore", SingularFitWarning)
    """


class ApproximationWarning(UserWarning):
    """Estimates are probably inaccurate, because the Gaussian posterior is far from the exact one.

    `fit` gives this warning for classes, counts and amounts if standard deviations of effects would
    be more than 5 % larger at the maximum of the likelihood, as estimated at the optimum of the
    bound.

    Examples
    --------
    >>> import warnings
    >>> from skmixed.exceptions import ApproximationWarning
    >>> warnings.simplefilter("ignore", ApproximationWarning)
    """


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn at the line outside this package that led here.

    Parameters
    ----------
    message : str
    category : type
        A warning class.
    """
    level, frame = 1, sys._getframe(0)
    while frame.f_back is not None and _is_inside(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_inside(file: str) -> bool:
    return file.startswith(_PACKAGE) or any(wrapper in file for wrapper in _WRAPPERS)
