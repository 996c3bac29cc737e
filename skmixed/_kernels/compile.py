"""The one place that says how kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import update_wrapper
from typing import Any

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
"""Kernels run without the interpreter lock, and only Python and other kernels call them.
Fast-math stays off: it would let the compiler assume that NaN never occurs."""


class Kernel:
    """A function that is compiled on its first call; the result is kept on disk.

    Numba is imported then, because that takes as long as all else that this package imports.
    Where no directory can be written to, kernels are compiled in every process anew.

    Parameters
    ----------
    function : callable
    inlined, in_lanes : bool, default=False
        As `inlined_kernel` and `lane_kernel`.

    Attributes
    ----------
    py_func : callable
        The function as it was written.
    """

    def __init__(
        self, function: Callable[..., Any], inlined: bool = False, in_lanes: bool = False
    ) -> None:
        update_wrapper(self, function)
        self.py_func = function
        self._inlined, self._in_lanes = inlined, in_lanes
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:
        """Call the compiled function."""
        compiled = self._compiled
        if compiled is None:
            compiled = self.compiled()
        return compiled(*arguments)

    def compiled(self) -> Callable[..., Any]:
        """Numba's dispatcher, or the function where compilation is switched off."""
        if self._compiled is None:
            self._compiled = _dispatcher(self.py_func, self._inlined, self._in_lanes)
        return self._compiled


def _dispatcher(function: Callable[..., Any], inlined: bool, in_lanes: bool) -> Callable[..., Any]:
    from numba import njit

    from skmixed._kernels.cache import KernelCache

    compiled: Any = njit(**_OPTIONS, inline="always" if inlined else "never")(function)
    if compiled is function:
        return function
    with suppress(RuntimeError):
        compiled._cache = KernelCache(function)
    if in_lanes:
        compiled.compile = _joining_lanes(compiled.compile)
    # Numba knows its own dispatchers, and looks names up where the function was written
    names = function.__globals__
    for name in function.__code__.co_names:
        if isinstance(names.get(name), Kernel):
            names[name] = names[name].compiled()
    return compiled


def _joining_lanes(compile_for: Callable[..., Any]) -> Callable[..., Any]:
    """Compile as before, but with LLVM's superword-level vectoriser.

    Numba has it off for all functions, or on for all.
    """

    def compile_in_lanes(signature: Any) -> Any:
        from numba.core import config as numba_config
        from numba.core.compiler_lock import global_compiler_lock

        config: Any = numba_config
        with global_compiler_lock:
            before = config.SLP_VECTORIZE
            config.SLP_VECTORIZE = 1
            try:
                return compile_for(signature)
            finally:
                config.SLP_VECTORIZE = before

    return compile_in_lanes


def kernel(function: Callable[..., Any]) -> Any:
    """Compile a function on its first call."""
    return Kernel(function)


def inlined_kernel(function: Callable[..., Any]) -> Any:
    """Compile a function as a part of each kernel that calls it.

    For long functions that call many others. LLVM optimises what a kernel calls once more with
    the kernel: a chain of three long kernels would be optimised three times.
    """
    return Kernel(function, inlined=True)


def lane_kernel(function: Callable[..., Any]) -> Any:
    """Compile a function on its first call; equal statements side by side become one.

    Processors take four or eight numbers at once. Where the numbers of a loop are few, the loop
    itself takes longer than they do, and statements for *lanes* a, b, c, ... replace it. Results
    are those of the statements one by one.
    """
    return Kernel(function, in_lanes=True)
