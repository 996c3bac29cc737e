"""The one place that says how kernels are compiled."""

from numba import njit

kernel = njit(cache=True, nogil=True, error_model="numpy")
"""Decorator of every kernel: cached on disk, runs without the interpreter lock.

Fast-math stays off: it would let the compiler assume that NaN never occurs.
"""
