"""The one place that says how kernels are compiled."""

from collections.abc import Callable
from typing import Any

from numba import njit

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
"""Kernels run without the interpreter lock. Fast-math stays off: it would let the
compiler assume that NaN never occurs."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function on its first call and keep the result on disk.

    Where no directory can be written to, it is compiled in every process anew.
    """
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        return njit(**_OPTIONS)(function)
