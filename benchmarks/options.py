"""Command line options that several benchmarks share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from peers import PEERS

# A --levels option wants so many numbers.
N_FACTORS = 2


def count(text: str) -> int:
    """A number of rows or levels, also in the form ``32e6``."""
    number = float(text)
    if number < 1 or number != int(number):
        raise argparse.ArgumentTypeError(f"{text} must be a whole number of at least 1")
    return int(number)


def peer_names(text: str) -> list[str]:
    """Names of peers separated by commas; all must be known."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in PEERS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"{','.join(unknown)} is not known; choose from {','.join(PEERS)}"
        )
    return names


def crossed_options(
    description: str, rows: int, levels: Sequence[int], repeats: int | None
) -> argparse.ArgumentParser:
    """A parser of the options of a fit of simulated crossed data, with these defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rows", type=count, default=rows, help=f"default {rows:,}")
    parser.add_argument(
        "--levels",
        type=count,
        nargs=N_FACTORS,
        default=list(levels),
        metavar=("A", "B"),
        help=f"levels of the two factors, default {' '.join(map(str, levels))}",
    )
    add_fit_options(parser, repeats)
    return parser


def add_fit_options(parser: argparse.ArgumentParser, repeats: int | None) -> None:
    """Options of every fit of simulated data; None for `repeats`: always one."""
    if repeats is not None:
        parser.add_argument("--repeats", type=count, default=repeats, help="timed fits")
    parser.add_argument("--solver", default="auto", help="skmixed's solver")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated data")
