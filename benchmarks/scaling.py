"""Time and peak memory as the data grow, with the exponent of the growth.

    python benchmarks/scaling.py --output scaling
    python benchmarks/scaling.py --output scaling --rows 1e5 2e5 --repeats 1
    python benchmarks/scaling.py --output scaling --peers gpboost-iterative --peer-rows 1e6

From 1 to 32 million rows the two crossed factors have from some 9,400 to 300,000 levels
together, in proportion. Every size runs in a fresh process. The exponent is the slope of
the least squares line of log seconds on log rows: 1 is time in proportion to the data.
``scaling.csv`` and ``scaling.png`` go to the folder of --output.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from fits import measure_fit, median_seconds
from fresh import call_fresh
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter
from options import add_fit_options, count, peer_names
from published import MOVIELENS
from tables import show

ROWS = (1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000, 32_000_000)
# 210,000 and 90,000 levels at 32 million rows: the proportions of MovieLens.
LEVELS_PER_ROW = (210_000 / 32_000_000, 90_000 / 32_000_000)
PEER_ROWS = 4_000_000
DOTS_PER_INCH = 150


def parse_arguments() -> argparse.Namespace:
    """Command line options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=count, nargs="+", default=list(ROWS))
    parser.add_argument("--output", type=Path, required=True, help="folder of the results")
    parser.add_argument(
        "--peers", type=peer_names, default=[], help="comma-separated, to measure as well"
    )
    parser.add_argument(
        "--peer-rows", type=count, default=PEER_ROWS, help="the largest size for peers"
    )
    add_fit_options(parser, repeats=1)
    return parser.parse_args()


def levels_for(rows: int) -> list[int]:
    """Levels of the two factors for so many rows."""
    return [max(2, round(rows * share)) for share in LEVELS_PER_ROW]


def measure_all(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Reports of all sizes and systems; a line on standard error for each."""
    reports = []
    for rows in arguments.rows:
        peers = arguments.peers if rows <= arguments.peer_rows else []
        for peer in (None, *peers):
            report = call_fresh(
                measure_fit,
                rows=rows,
                levels=levels_for(rows),
                repeats=arguments.repeats,
                solver=arguments.solver,
                seed=arguments.seed,
                peer=peer,
            )
            if "missing" in report:
                print(f"{peer}: not installed ({report['missing']})", file=sys.stderr)
                continue
            print(
                f"{report['system']}, {rows:,} rows: {median_seconds(report):.2f} s",
                file=sys.stderr,
            )
            reports.append(report)
    return reports


def tabulate(reports: list[dict[str, Any]]) -> pd.DataFrame:
    """A row a report."""
    return pd.DataFrame(
        [
            {
                "system": report["system"],
                "rows": report["rows"],
                "levels 0": report["levels"][0],
                "levels 1": report["levels"][1],
                "seconds": median_seconds(report),
                "data MiB": round(report["data"], 1),
                "peak MiB": max(report["peaks"]),
                "solver": report["details"].get("solver", ""),
                "steps": report["details"].get("steps", ""),
            }
            for report in reports
        ]
    )


def fit_exponent(part: pd.DataFrame) -> tuple[float, float]:
    """Slope and intercept of log seconds on log rows; NaN for a single size."""
    if len(part) < 2:
        return float("nan"), float("nan")
    slope, intercept = np.polyfit(np.log(part["rows"]), np.log(part["seconds"]), 1)
    return float(slope), float(intercept)


def plot(table: pd.DataFrame, with_published: bool, path: Path) -> None:
    """Seconds against rows, both logarithmic, with the fitted lines."""
    figure = Figure(figsize=(7.5, 5.0), layout="constrained")
    axes = figure.add_subplot()
    for i, (system, part) in enumerate(table.groupby("system", sort=False)):
        slope, intercept = fit_exponent(part)
        known = np.isfinite(slope)
        label = f"{system}, exponent {slope:.2f}" if known else str(system)
        axes.plot(part["rows"], part["seconds"], "o", color=f"C{i}", label=label)
        if known:
            rows = part["rows"].to_numpy(float)
            axes.plot(rows, np.exp(intercept) * rows**slope, color=f"C{i}", linewidth=1)
    if with_published:
        label = f"{MOVIELENS.system}, published, another machine"
        axes.plot(MOVIELENS.rows, MOVIELENS.seconds, "k*", markersize=10, label=label)
    label_axes(axes, sorted(table["rows"].unique()))
    figure.savefig(path, dpi=DOTS_PER_INCH)


def label_axes(axes: Axes, sizes: list[int]) -> None:
    """Scales, words and numbers that can be read."""
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="rows",
        ylabel="seconds of a fit",
        title="Two crossed factors whose levels grow with the rows",
    )
    # Sizes double, so decades alone would leave the axis nearly empty.
    axes.set_xticks(sizes)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda rows, _: short_count(rows)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{seconds:g}"))
    axes.grid(alpha=0.3)
    axes.legend()


def short_count(rows: float) -> str:
    """2M for two million."""
    return f"{rows / 1e6:.3g}M" if rows >= 1e6 else f"{rows / 1e3:.3g}k"


def main() -> None:
    """Measure, print, and write the results."""
    arguments = parse_arguments()
    arguments.output.mkdir(parents=True, exist_ok=True)
    table = tabulate(measure_all(arguments))
    table.to_csv(arguments.output / "scaling.csv", index=False)
    plot(table, bool(arguments.peers), arguments.output / "scaling.png")
    print(show(table))
    for system, part in table.groupby("system", sort=False):
        print(f"{system}: exponent {fit_exponent(part)[0]:.3f}")
    if arguments.peers:
        print(MOVIELENS)


if __name__ == "__main__":
    main()
