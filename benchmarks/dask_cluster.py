"""Fit a Dask data frame on a cluster, whole and while a worker is killed.

    python benchmarks/dask_cluster.py
    python benchmarks/dask_cluster.py --rows 2e5 --levels 1500 600 --partition-rows 20000

The rows lie in Parquet files, a partition each; two worker processes of 2 GiB fit them.
All estimates are compared with those of a fit of the same rows in memory. Then the fit
is repeated, and when half as many tasks are done as the undisturbed fit took, one worker
gets SIGKILL: its work has to be done again, with the same result.

(Not called distributed.py, which would hide Dask's package of that name.)
"""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import dask
import dask.dataframe
import numpy as np
import pandas as pd
from distributed import Client, LocalCluster
from distributed.diagnostics.plugin import SchedulerPlugin
from fits import load_compiled_code, size_of
from options import count, crossed_options
from peak import highest_memory
from peers import Task
from simulated import simulate
from tables import show_facts

from skmixed import MixedEffectsVIRegressor

ROWS = 8_000_000
LEVELS = (50_000, 20_000)
PARTITION_ROWS = 500_000
N_WORKERS = 2
MEMORY_LIMIT = "2GiB"
# Few enough to be quick, enough that both workers load the compiled code.
WARM_UP_PARTITIONS = 2 * N_WORKERS


class TaskWatch(SchedulerPlugin):
    """Counts finished tasks, and kills a process when so many are done.

    Parameters
    ----------
    kill_at : int or None, default=None
        Number of tasks. None: nobody is killed.
    victim : int or None, default=None
        Process id of the worker.
    """

    name = "task-watch"

    def __init__(self, kill_at: int | None = None, victim: int | None = None) -> None:
        self.finished = 0
        self.killed = False
        self._kill_at = kill_at
        self._victim = victim

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if (start, finish) != ("processing", "memory"):
            return
        self.finished += 1
        if self.finished == self._kill_at and self._victim is not None:
            os.kill(self._victim, signal.SIGKILL)
            self.killed = True


def write_partitions(task: Task, partition_rows: int, folder: Path) -> int:
    """Write a Parquet file for every partition; how many there are."""
    rows = task.joined()
    starts = range(0, len(rows), partition_rows)
    for i, start in enumerate(starts):
        part = rows.iloc[start : start + partition_rows]
        part.to_parquet(folder / f"part-{i:05d}.parquet", index=False)
    return len(starts)


def estimates_of(model: MixedEffectsVIRegressor) -> dict[str, Any]:
    """All estimates, by name: numbers, arrays and frames."""
    found: dict[str, Any] = {
        "intercept": model.intercept_,
        "coef": model.coef_,
        "coef_cov": model.coef_cov_,
        "noise_variance": model.noise_variance_,
        "elbo": model.elbo_,
    }
    for attribute in ("random_effects_cov", "random_effects", "random_effects_std"):
        for group, frame in getattr(model, f"{attribute}_").items():
            found[f"{attribute} {group}"] = frame
    return found


def differences(found: dict[str, Any], reference: dict[str, Any]) -> dict[str, float]:
    """Largest difference of each estimate, relative to the largest entry of the reference.

    NaN where a level is missing.
    """
    largest = {}
    for name, expected in reference.items():
        value = found[name]
        if isinstance(expected, pd.DataFrame):
            value = value.reindex(index=expected.index, columns=expected.columns)
        distance = np.abs(np.asarray(value) - np.asarray(expected))
        largest[name] = float(np.max(distance) / np.max(np.abs(np.asarray(expected))))
    return largest


def worst(found: dict[str, float]) -> float:
    """The largest difference of all; NaN if there is one."""
    return float(np.max(list(found.values())))


def timed_fit(task: Task, solver: str, X: Any, y: Any) -> tuple[float, MixedEffectsVIRegressor]:
    """Seconds of a fit of the model of `task` to X and y, and what came of it."""
    model = MixedEffectsVIRegressor(task.bars, solver=solver)
    start = time.perf_counter()
    model.fit(X, y)
    return time.perf_counter() - start, model


def fit_watched(
    cluster: LocalCluster, task: Task, solver: str, frame: Any, watch: TaskWatch
) -> tuple[float, dict[str, Any]]:
    """Fit on the cluster while `watch` looks on: seconds and estimates."""
    cluster.scheduler.add_plugin(watch)
    try:
        seconds, model = timed_fit(task, solver, frame[list(task.X.columns)], frame["y"])
    finally:
        cluster.scheduler.remove_plugin(watch.name)
    return seconds, estimates_of(model)


def run_on_cluster(task: Task, solver: str, folder: Path) -> dict[str, Any]:
    """Both fits on the cluster, and what was counted."""
    # Dask otherwise joins small files into partitions of its own size.
    dask.config.set({"dataframe.parquet.minimum-partition-size": 1})
    with (
        LocalCluster(
            n_workers=N_WORKERS,
            threads_per_worker=1,
            memory_limit=MEMORY_LIMIT,
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        frame = dask.dataframe.read_parquet(folder)
        few = frame.partitions[:WARM_UP_PARTITIONS]
        fit_watched(cluster, task, solver, few, TaskWatch())

        whole = TaskWatch()
        seconds, estimates = fit_watched(cluster, task, solver, frame, whole)
        memory = client.run(highest_memory)

        victim = next(iter(client.run(os.getpid).values()))
        disturbed = TaskWatch(kill_at=max(1, whole.finished // 2), victim=victim)
        seconds_killed, estimates_killed = fit_watched(cluster, task, solver, frame, disturbed)
    return {
        "seconds": (seconds, seconds_killed),
        "estimates": (estimates, estimates_killed),
        "tasks": (whole.finished, disturbed.finished),
        "killed": disturbed.killed,
        "worker memory": max(memory.values()),
    }


def main() -> None:
    """Run everything and print."""
    parser = crossed_options(__doc__.splitlines()[0], ROWS, LEVELS, repeats=None)
    parser.add_argument("--partition-rows", type=count, default=PARTITION_ROWS)
    arguments = parser.parse_args()
    task, _ = simulate(arguments.rows, arguments.levels, seed=arguments.seed)
    load_compiled_code(len(arguments.levels), slopes=False)
    seconds, model = timed_fit(task, arguments.solver, task.X, task.y)
    reference = estimates_of(model)

    with tempfile.TemporaryDirectory() as name:
        partitions = write_partitions(task, arguments.partition_rows, Path(name))
        measured = run_on_cluster(task, arguments.solver, Path(name))

    facts = {
        "data": f"{arguments.rows:,} rows, {partitions} partitions, {size_of(task):.0f} MiB",
        "levels": " x ".join(f"{n:,}" for n in arguments.levels),
        "workers": f"{N_WORKERS} of {MEMORY_LIMIT}, one thread each",
        "fit in memory": f"{seconds:.2f} s, solver {model.solver_}, {model.n_iter_} steps",
        "fit on the cluster": f"{measured['seconds'][0]:.2f} s, {measured['tasks'][0]} tasks",
        "highest memory of a worker": f"{measured['worker memory']:.0f} MiB",
        "fit with a worker killed": f"{measured['seconds'][1]:.2f} s, {measured['tasks'][1]} tasks",
        "was the worker killed": measured["killed"],
    }
    print(show_facts(facts))
    whole, killed = (differences(found, reference) for found in measured["estimates"])
    table = pd.DataFrame({"cluster": whole, "worker killed": killed})
    print("largest difference from the fit in memory, relative to the largest entry:")
    print(table.to_string(float_format="{:.1e}".format))
    print(f"largest of all: {worst(whole):.1e} and {worst(killed):.1e}")


if __name__ == "__main__":
    main()
