"""The state of a pickled estimator, and its checks on the way back.

A pickle holds parameters, the encoder, the fit and sums of `partial_fit`: arrays,
strings and numbers. Data frames among the fitted attributes are made from these
again, because the insides of a data frame differ between versions of pandas.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from inspect import signature
from typing import Any, ClassVar

import numpy as np

from skmixed.formula import FormulaError
from skmixed.persistence.checksum import checksum_of

FORMAT = 7
"""Number of the layout of the state; to be raised when an older version could not read it.

Format 1 had no checksum; format 2 had arrays of objects where 3 has lists, and fewer fields of
`FitResult`: a field that came later has a default, and does not count in checksums of older files.
"""

_OBJECTS_KEY = "_skmixed_objects"
_FORMAT_KEY = "_skmixed_format"
_CHECKSUM_KEY = "_skmixed_checksum"


class PersistentMixin(ABC):
    """Stores an estimator as plain parts, and checks them when they come back.

    Subclasses name the attributes that are derived from others, derive them, and check the others.
    """

    _derived: ClassVar[tuple[str, ...]] = ()
    """Attributes that are not stored, because `_restore` makes them again."""

    _fitted_marker: ClassVar[str] = ""
    """The attribute that only fitted estimators have."""

    _private_state: ClassVar[tuple[str, ...]] = ()
    """Attributes that a fit sets and whose names do not end with an underscore."""

    _not_stored: ClassVar[tuple[str, ...]] = ()
    """Attributes of fitted estimators that are None after the way."""

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in vars(self).items() if name not in self._not_stored}
        if self._fitted_marker in state:
            for name in self._derived:
                state.pop(name, None)
        lists = {name: _as_list(value) for name, value in state.items()}
        return {**lists, _CHECKSUM_KEY: checksum_of(state), _FORMAT_KEY: FORMAT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = {name: _as_array(value) for name, value in state.items()}
        number, checksum = state.pop(_FORMAT_KEY, None), state.pop(_CHECKSUM_KEY, None)
        _refuse_format(type(self).__name__, number)
        if number > 1 and checksum != checksum_of(state):
            raise self._damaged("its checksum does not match")
        super().__setstate__(state)  # type: ignore[misc]
        # a parameter that came later has the value that leaves an older model as it was
        for name, parameter in signature(type(self).__init__).parameters.items():
            if parameter.default is not parameter.empty:
                self.__dict__.setdefault(name, parameter.default)
        if self._fitted_marker in state:
            self.__dict__.update(dict.fromkeys(self._not_stored))
        try:
            self._restore()
        except (AttributeError, KeyError, IndexError, TypeError, OverflowError) as error:
            raise self._damaged(repr(error)) from error

    def _damaged(self, what: str) -> ValueError:
        return ValueError(
            f"The stored {type(self).__name__} is damaged or was altered: {what}. Load it "
            "from an intact copy, or fit the model again."
        )

    @abstractmethod
    def _restore(self) -> None:
        """Check what was loaded, and make the attributes that were not stored."""


def _as_list(value: Any) -> Any:
    """Arrays of objects as lists: a damaged file of such an array can crash NumPy."""
    if isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1:
        return {_OBJECTS_KEY: value.tolist()}
    return value


def _as_array(value: Any) -> Any:
    """Inverse of `_as_list`."""
    if not (isinstance(value, dict) and set(value) == {_OBJECTS_KEY}):
        return value
    array = np.empty(len(value[_OBJECTS_KEY]), dtype=object)
    array[:] = value[_OBJECTS_KEY]
    return array


def _refuse_format(name: str, number: Any) -> None:
    """Refuse states that this version cannot read."""
    if type(number) is int and 1 <= number <= FORMAT:
        return
    if type(number) is int and number > FORMAT:
        raise ValueError(
            f"The stored {name} has format {number}, and this version of skmixed reads formats up "
            f"to {FORMAT}: a newer version wrote it. Upgrade skmixed, or fit the model again."
        )
    found = "no format number" if number is None else f"the format {number!r}"
    raise ValueError(
        f"The stored {name} has {found}, and this version of skmixed reads formats up to "
        f"{FORMAT}: it was written by a development version, or altered. Fit the model again."
    )


class unchanged_on_error:
    """Give an estimator back the fit that it had, if a new one fails or is interrupted.

    Parameters
    ----------
    estimator : estimator

    Examples
    --------
    >>> from skmixed import MixedEffectsVIRegressor
    >>> from skmixed.persistence import unchanged_on_error
    >>> model = MixedEffectsVIRegressor()
    >>> try:
    ...     with unchanged_on_error(model):
    ...         model.n_features_in_ = 3
    ...         raise KeyboardInterrupt
    ... except KeyboardInterrupt:
    ...     hasattr(model, "n_features_in_")
    False
    """

    def __init__(self, estimator: PersistentMixin) -> None:
        self._estimator = estimator

    def __enter__(self) -> None:
        self._before = _fitted_attributes(self._estimator)

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is None:
            return
        for name in _fitted_attributes(self._estimator):
            del self._estimator.__dict__[name]
        self._estimator.__dict__.update(self._before)
        if isinstance(error, FormulaError):
            # the message shows the place in the formula; that in the package is no news
            error.__traceback__ = None


def _fitted_attributes(estimator: PersistentMixin) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(estimator).items()
        if (name.endswith("_") and not name.startswith("_")) or name in estimator._private_state
    }
