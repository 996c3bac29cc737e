"""A bar on stderr for what takes long, where it was asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_WIDTH = 40


def stage_lines(name: str, *, shown: bool) -> Callable[[str], None]:
    """A function that prints what is done next, with the seconds so far.

    Parameters
    ----------
    name : str
        Of who does it.
    shown : bool
        If False, nothing is printed.
    """
    began = time.perf_counter()

    def tell(text: str) -> None:
        if shown:
            print(f"[{name}] {time.perf_counter() - began:6.2f} s  {text}")

    return tell


@contextmanager
def progress_bar(total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """Show how much of `total` is done: with tqdm where it is installed.

    Parameters
    ----------
    total : int
    shown : bool
        If False, nothing is written.

    Yields
    ------
    callable
        Takes the number of steps that were done since the last call.
    """
    bar = _make_bar(total) if shown else None
    try:
        yield (lambda n_steps: None) if bar is None else bar.update
    finally:
        if bar is not None:
            bar.close()


def _make_bar(total: int) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return TextBar(total)
    return tqdm(total=total, file=sys.stderr)


class TextBar:
    """The bar where tqdm is not installed.

    Parameters
    ----------
    total : int
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._write()

    def update(self, n_steps: int) -> None:
        """Go on by some steps."""
        self._done += n_steps
        self._write()

    def close(self) -> None:
        """End the line."""
        sys.stderr.write("\n")
        sys.stderr.flush()

    def _write(self) -> None:
        filled = _WIDTH * self._done // self._total
        bar = "#" * filled + "." * (_WIDTH - filled)
        sys.stderr.write(f"\r[{bar}] {self._done}/{self._total}")
        sys.stderr.flush()
