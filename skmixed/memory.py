"""How much memory there is, and refusals of what would not fit."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from time import monotonic

_SHARE = 0.8
"""Part of the memory that one allocation may take."""

_LIMITS_OF_CONTAINERS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def available_memory() -> int | None:
    """Bytes that this process may use; None where the system does not say.

    That is the least of the machine's memory, the limit of the container and the
    process's own limit (``ulimit -v``).

    Examples
    --------
    >>> from skmixed.memory import available_memory
    >>> memory = available_memory()
    >>> memory is None or memory > 0
    True
    """
    # fits ask again and again, and the limit of a container changes rarely
    containers = _containers(_LIMITS_OF_CONTAINERS, int(monotonic()))
    limits = [_machine(), _address_space(), *containers]
    return min((limit for limit in limits if limit is not None), default=None)


def refuse_what_does_not_fit(what: str, needed: int, instead: str) -> None:
    """Raise MemoryError before the system is asked for more than it has.

    Parameters
    ----------
    what : str
        What the memory is for, as the beginning of a sentence.
    needed : int
        Bytes.
    instead : str
        What to do, as a sentence.

    Raises
    ------
    MemoryError

    Examples
    --------
    >>> from skmixed.memory import refuse_what_does_not_fit
    >>> refuse_what_does_not_fit("A number", 8, "Use no number.")
    """
    available = available_memory()
    if available is not None and needed > _SHARE * available:
        raise MemoryError(
            f"{what} needs {needed:,} bytes, but only {available:,} are available. {instead}"
        )


@cache
def _machine() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _address_space() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft


@lru_cache(maxsize=1)
def _containers(files: tuple[Path, ...], second: int) -> list[int | None]:
    """What the files say in this second."""
    return [_container(file) for file in files]


def _container(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


_COPIES_OF_COLUMNS = 4
"""Arrays of the size of the fixed-effect columns that a fit holds at least (measured: 5.4)."""

_COPIES_OF_LEVELS = 20
"""Arrays with a small matrix per level that a fit holds at least (measured: 27)."""


def refuse_large_model(
    n_rows: int, n_columns: int, factors: Iterable[tuple[str, int, int]]
) -> None:
    """Raise MemoryError where the arrays of a fit cannot fit, whatever the solver.

    Parameters
    ----------
    n_rows : int
        Rows in memory.
    n_columns : int
        Columns of the fixed effects.
    factors : iterable of (name, levels, effects)
        Grouping factors, with the number of effects per level.

    Raises
    ------
    MemoryError

    Examples
    --------
    >>> from skmixed.memory import refuse_large_model
    >>> refuse_large_model(1000, 3, [("g", 20, 2)])
    """
    refuse_what_does_not_fit(
        f"A fit of {n_rows:,} rows and {n_columns:,} columns of fixed effects",
        8 * _COPIES_OF_COLUMNS * (n_rows * n_columns + n_columns**2),
        "Use columns with many levels as grouping factors instead of fixed effects, or "
        "use fewer columns; with family='gaussian', partial_fit takes rows in chunks.",
    )
    for name, n_levels, n_effects in factors:
        refuse_what_does_not_fit(
            f"A fit of group {name!r} with {n_levels:,} levels of {n_effects:,} effects each",
            8 * _COPIES_OF_LEVELS * n_levels * n_effects**2,
            "Use fewer slopes: the memory grows with the square of their number.",
        )
