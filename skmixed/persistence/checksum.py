"""A checksum over what a stored model predicts from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from hashlib import blake2b
from numbers import Integral, Real
from typing import Any

import numpy as np


def checksum_of(state: dict[str, Any], number: int | None = None) -> str:
    """Checksum of parameters, encoder, estimates and sums.

    It is the same before and after a way through any format of files, and on any supported
    version of the dependencies: numbers count by value, labels by their text. What belongs to
    other libraries (indexes of pandas, other estimators, functions) does not count.

    Parameters
    ----------
    state : dict
        Attributes by name.
    number : int, optional
        Format of the state: fields that came later do not count. By default all do.

    Returns
    -------
    str
        32 hexadecimal digits.

    Examples
    --------
    >>> import numpy as np
    >>> from skmixed.persistence.checksum import checksum_of
    >>> one = checksum_of({"means_": np.array([1.0, 2.0]), "names_": ("a", 3)})
    >>> one == checksum_of({"names_": ["a", np.int64(3)], "means_": np.array([1.0, 2.0])})
    True
    >>> one == checksum_of({"means_": np.array([1.0, 2.5]), "names_": ("a", 3)})
    False
    """
    digest = blake2b(digest_size=16)
    for piece in _pieces(state, np.inf if number is None else number):
        digest.update(len(piece).to_bytes(8, "little"))
        digest.update(piece)
    return digest.hexdigest()


def _pieces(value: Any, number: float) -> Iterator[bytes | memoryview]:
    """All that counts, in an order that depends on nothing but the content."""
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OUS":
        yield f"{value.dtype.str} {value.shape}".encode()
        yield np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
    elif isinstance(value, np.ndarray):
        yield "\0".join(map(str, value.ravel().tolist())).encode("utf-8", "surrogatepass")
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield str(key).encode("utf-8", "surrogatepass")
            yield from _pieces(value[key], number)
    elif isinstance(value, (list, tuple)):
        yield str(len(value)).encode()
        for entry in value:
            yield from _pieces(entry, number)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            if field.metadata.get("since", 0) > number:
                continue
            yield field.name.encode()
            yield from _pieces(getattr(value, field.name, None), number)
    elif value is None or isinstance(value, str):
        yield str(value).encode("utf-8", "surrogatepass")
    elif isinstance(value, Integral):
        yield str(int(value)).encode()
    elif isinstance(value, Real):
        yield float(value).hex().encode()
