"""Weakly connected designs: chains, and workers who seldom change firms."""

from __future__ import annotations

import numpy as np
import pandas as pd


def chain(n_levels: int, ratio: float, repeats: int = 1, seed: int = 0):
    """Levels i of a, which meet i and i + 1 of b; variances of both over that of the noise."""
    rng = np.random.default_rng(seed)
    a = np.tile(np.repeat(np.arange(n_levels), 2), repeats)
    b = a + np.tile([0, 1], n_levels * repeats)
    effects = np.sqrt(ratio) * rng.standard_normal((2, n_levels + 1))
    y = 1.0 + effects[0, a] + effects[1, b] + rng.standard_normal(len(a))
    return pd.DataFrame({"a": a, "b": b}), y


def workers(
    n_workers: int, n_firms: int, moves: float, noise: float, seed: int = 0, local: int = 0
):
    """Six years of workers, a share of whom moves every year: anywhere, or to near firms."""
    rng = np.random.default_rng(seed)
    firm = np.empty((n_workers, 6), int)
    firm[:, 0] = rng.integers(n_firms, size=n_workers)
    for year in range(1, 6):
        to = rng.integers(n_firms, size=n_workers)
        if local:
            to = (firm[:, year - 1] + rng.integers(-local, local + 1, n_workers)) % n_firms
        firm[:, year] = np.where(rng.random(n_workers) < moves, to, firm[:, year - 1])
    a, b = np.repeat(np.arange(n_workers), 6), firm.ravel()
    effects = rng.standard_normal(n_workers)[a] + rng.standard_normal(n_firms)[b]
    y = 1.0 + effects + np.sqrt(noise) * rng.standard_normal(len(a))
    return pd.DataFrame({"a": a, "b": b}), y
