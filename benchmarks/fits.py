"""One measured fit of simulated data, made for a fresh process (`fresh.call_fresh`)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from typing import Any

from peak import PeakMemory
from peers import PEERS, NotInstalled, Skmixed, Task
from simulated import simulate
from tables import compare_estimates, show

from skmixed.solvers.choice import SOLVERS

OUR_NAME = "skmixed reml"
WARM_UP_ROWS = 20_000
WARM_UP_LEVELS = 500
BYTES_PER_MIB = 1024**2


def measure_fit(
    rows: int,
    levels: Sequence[int],
    slopes: bool = False,
    heavy_tailed: bool = True,
    repeats: int = 1,
    solver: str = "auto",
    seed: int = 0,
    peer: str | None = None,
    family: str = "gaussian",
) -> dict[str, Any]:
    """Simulate, load compiled code, then fit `repeats` times.

    Parameters
    ----------
    rows, levels, slopes, heavy_tailed, seed, family
        See `simulate`.
    repeats : int, default=1
        Timed fits.
    solver : str, default="auto"
        Ours.
    peer : str or None, default=None
        A key of `PEERS` to measure instead of skmixed.

    Returns
    -------
    report : dict
        Numbers for `print_report`, or ``missing`` alone: what to install.
    """
    start = time.perf_counter()
    task, truth = simulate(rows, levels, slopes, heavy_tailed, seed, family)
    generated = time.perf_counter() - start
    name, open_system = OUR_NAME, lambda task: Skmixed(task, method="reml", solver=solver)
    if peer is None:
        load_compiled_code(len(levels), slopes, family)
    else:
        name, open_system = next(iter(PEERS[peer].items()))
    try:
        system = open_system(task)
    except NotInstalled as error:
        return {"missing": str(error)}
    seconds, peaks = [], []
    for _ in range(repeats):
        with PeakMemory() as memory:
            outcome = system.fit()
        seconds.append(outcome.seconds)
        peaks.append(memory.mebibytes)
    system.close()
    return {
        "system": name,
        "version": system.version,
        "rows": rows,
        "levels": list(levels),
        "generated": generated,
        "data": size_of(task),
        "seconds": seconds,
        "peaks": peaks,
        "details": outcome.details,
        "truth": truth,
        "estimates": outcome.estimates(),
    }


def load_compiled_code(n_factors: int, slopes: bool, family: str = "gaussian") -> None:
    """Fit a little data with every solver, so that no timed fit compiles or loads."""
    task, _ = simulate(WARM_UP_ROWS, [WARM_UP_LEVELS] * n_factors, slopes, family=family)
    # One factor leaves no equations to choose a solver for.
    solvers = [s for s in SOLVERS if s != "auto"] if n_factors > 1 else ["auto"]
    for solver in solvers:
        Skmixed(task, method="reml", solver=solver).fit()


def size_of(task: Task) -> float:
    """MiB of the data."""
    return float(task.X.memory_usage(index=False).sum() + task.y.nbytes) / BYTES_PER_MIB


def median_seconds(report: dict[str, Any]) -> float:
    """Of the timed fits."""
    return statistics.median(report["seconds"])


def print_report(report: dict[str, Any]) -> None:
    """All that was measured, as text."""
    levels = " x ".join(f"{n:,}" for n in report["levels"])
    print(f"{report['version']}: {report['rows']:,} rows, {levels} levels, in a fresh process")
    print(f"generating the data        {report['generated']:10.2f} s")
    print(f"data in memory             {report['data']:10.0f} MiB")
    for turn, (seconds, peak) in enumerate(zip(report["seconds"], report["peaks"], strict=True)):
        print(f"fit {turn + 1:<3d}                    {seconds:10.2f} s")
        print(f"  its peak above the data  {peak:10.0f} MiB")
    print(f"median of the fits         {median_seconds(report):10.2f} s")
    print("; ".join(f"{name} {value}" for name, value in report["details"].items()))
    print(show(compare_estimates(report["truth"], {report["system"]: report["estimates"]})))
