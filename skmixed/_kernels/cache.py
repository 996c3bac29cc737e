"""Compiled kernels on disk, safe for processes that start, stop and are upgraded at any time.

Numba's own files call the compiled code of a function by numbers, which an index assigns. Index
and code are written one after the other. In between, another process reads, under the number it
looked up, what another version of Numba or of the kernels left there, or code for other types of
arguments. Here there is no index: the name of a file says for what it is, and its content whether
it is whole and made of these sources. What is not, is compiled anew and replaced.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import uuid
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import FunctionCache
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

_CHECKSUM_BYTES = hashlib.sha256().digest_size


class KernelCache(FunctionCache):
    """The compiled code of one function; Numba says in which folder.

    Raises
    ------
    RuntimeError
        If no folder can be written to.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file: Any = KernelFiles(Path(self._cache_path), self._impl.filename_base)

    def load_overload(self, sig: Any, target_context: Any) -> Any | None:
        """Return the code for these types, if it can be read.

        Compiled code needs Numba's memory management alone. Numba's own method would import all
        that kernels could be compiled with, which takes as long as a small fit.
        """
        with suppress(OSError):
            rtsys.initialize(target_context)
            return self._load_overload(sig, target_context)
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code for these types, unless the disk is full or protected by now.

        Raises
        ------
        KeyboardInterrupt
            If one arrived while LLVM handed the code over: Python drops it there, and what is to be
            kept is missing.
        """
        try:
            with suppress(OSError):
                super().save_overload(sig, data)
        except RuntimeError as error:
            if "no compiled object" not in str(error):
                raise
            raise KeyboardInterrupt from error


class KernelFiles:
    """Files in a folder, one for each kind of arguments and processor."""

    def __init__(self, folder: Path, stem: str) -> None:
        self._folder = folder
        self._stem = stem
        self._sources = _digest_of_sources()

    def load(self, key: tuple[Any, ...]) -> Any | None:
        """Return what was saved, or None if it is absent, damaged or of other sources."""
        try:
            content = self._path(key).read_bytes()
        except FileNotFoundError:
            return None
        data = content[_CHECKSUM_BYTES:]
        return pickle.loads(data) if content == self._checksum(data) + data else None

    def save(self, key: tuple[Any, ...], compiled: Any) -> None:
        """Write a file that others see whole or not at all."""
        data = dumps(compiled)
        path = self._path(key)
        unfinished = path.with_name(f"{uuid.uuid4().hex}.tmp")
        try:
            unfinished.write_bytes(self._checksum(data) + data)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _path(self, key: tuple[Any, ...]) -> Path:
        identity = repr((numba.__version__, key)).encode()
        return self._folder / f"{self._stem}.{hashlib.sha256(identity).hexdigest()[:32]}.nbc"

    def _checksum(self, data: bytes) -> bytes:
        return hashlib.sha256(self._sources + data).digest()


@functools.cache
def _digest_of_sources() -> bytes:
    """Of all kernels, as one may call another, and of the options they are compiled with."""
    sources = [source for source in files(__package__).iterdir() if source.name.endswith(".py")]
    sources.sort(key=lambda source: source.name)
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).digest()
