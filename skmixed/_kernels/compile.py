"""The one place that says how kernels are compiled."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from numba import njit

from skmixed._kernels.cache import KernelCache

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
"""Kernels run without the interpreter lock. Fast-math stays off: it would let the
compiler assume that NaN never occurs."""


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function on its first call and keep the result on disk.

    Where no directory can be written to, it is compiled in every process anew.
    """
    compiled: Any = njit(**_OPTIONS)(function)
    if compiled is not function:  # as it is where compilation is switched off
        with suppress(RuntimeError):
            compiled._cache = KernelCache(function)
    return compiled
