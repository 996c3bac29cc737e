"""Peak memory of a piece of work, above what the process held before it."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from types import TracebackType

KIB_PER_MIB = 1024


class PeakMemory:
    """Context that measures; `mebibytes` holds the answer afterwards.

    Linux resets its high-water mark on request. Elsewhere the mark of the whole process
    is the starting point, which can only hide memory below it.
    """

    def __init__(self) -> None:
        self.mebibytes = float("nan")

    def __enter__(self) -> PeakMemory:
        _return_free_memory()
        self._before = _status("VmRSS") if _reset_high_water_mark() else highest_memory()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.mebibytes = highest_memory() - self._before


def highest_memory() -> float:
    """The highest resident size of this process so far, or since the mark was reset, in MiB."""
    try:
        # The usage that `getrusage` tells includes, in a child, its parent's before exec.
        return _status("VmHWM")
    except OSError:
        pass
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return size / KIB_PER_MIB**2 if sys.platform == "darwin" else size / KIB_PER_MIB


def _return_free_memory() -> None:
    """Without this, memory freed before and used again would not be counted."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def _reset_high_water_mark() -> bool:
    try:
        with open("/proc/self/clear_refs", "w") as marks:
            marks.write("5")
    except OSError:
        return False
    return True


def _status(field: str) -> float:
    with open("/proc/self/status") as lines:
        for line in lines:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / KIB_PER_MIB
    raise OSError(f"/proc/self/status has no line {field}.")
