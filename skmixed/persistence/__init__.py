"""Fitted estimators as arrays, strings and numbers, checked before they are used again."""

from skmixed.persistence.encoders import check_encodings
from skmixed.persistence.fits import PersistentFitMixin
from skmixed.persistence.state import FORMAT, PersistentMixin, unchanged_on_error

__all__ = [
    "FORMAT",
    "PersistentFitMixin",
    "PersistentMixin",
    "check_encodings",
    "unchanged_on_error",
]
