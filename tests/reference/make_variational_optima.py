"""Compute data/glmm_optima.json: where the bound of five published models is largest.

Run as ``python tests/reference/make_variational_optima.py``; it takes about two minutes
and needs NumPy, SciPy and pandas, not the package. It also simulates
data/glmm_simulated.csv.gz when that file is missing.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from dense_elbo import DenseModel, Optimum, Term

DATA = Path(__file__).parent / "data"
ROWS = 240


def simulate() -> pd.DataFrame:
    """Two crossed factors of 12 and 8 levels, a slope that varies with one, all responses."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame(
        {
            "a": rng.permutation(np.arange(ROWS) % 12),
            "b": rng.permutation(np.arange(ROWS) % 8),
            "x": rng.standard_normal(ROWS).round(4),
            "o": rng.normal(0.0, 0.5, ROWS).round(4),
            "w": rng.integers(1, 4, ROWS),
        }
    )
    root = np.linalg.cholesky([[0.8, 0.25], [0.25, 0.5]])
    effects = rng.standard_normal((12, 2)) @ root.T
    eta = 0.5 * frame["x"] - 0.2 + 0.8 * rng.standard_normal(8)[frame["b"]]
    eta = (eta + effects[frame["a"], 0] + effects[frame["a"], 1] * frame["x"]).to_numpy()
    noise = rng.logistic(size=ROWS)
    frame["bernoulli_logit"] = (eta + noise > 0).astype(int)
    frame["ordinal_logit"] = np.digitize(eta + noise, [-1.0, 0.5, 2.0])
    noise = rng.standard_normal(ROWS)
    frame["bernoulli_probit"] = (eta + noise > 0).astype(int)
    frame["ordinal_probit"] = np.digitize(eta + frame["o"] + noise, [-0.5, 0.5, 1.5])
    frame["poisson"] = rng.poisson(np.exp(eta + frame["o"]))
    frame["negative_binomial"] = rng.poisson(np.exp(eta) * rng.gamma(2.0, 0.5, ROWS))
    frame["gamma"] = (np.exp(eta) * rng.gamma(3.0, 1.0 / 3.0, ROWS)).round(6)
    return frame


@dataclass(frozen=True)
class Published:
    """A model of one data frame: family, response, columns and random terms.

    Attributes
    ----------
    family : str
    fixed : list of str
        Columns of fixed effects besides the intercept.
    bars : list of (str, str or None)
        Grouping column and the column of its correlated slope.
    """

    family: str
    fixed: list[str]
    bars: list[tuple[str, str | None]]
    intercept: bool = True


SPECIES = ["spruce", "pine", "beech", "oak", "hardwood"]
CRABS = [
    "crab_speciesS", "crab_speciesW", "crab_sizeS", "crab_sizeM", "snail_sizeS",
    "crab_speciesS_crab_sizeS", "crab_speciesS_crab_sizeM", "crab_speciesS_snail_sizeS",
    "crab_speciesW_snail_sizeS", "crab_sizeS_snail_sizeS", "crab_sizeM_snail_sizeS",
    "crab_speciesS_crab_sizeS_snail_sizeS", "crab_speciesS_crab_sizeM_snail_sizeS",
]  # fmt: skip

PUBLISHED = {
    "contra_slope": Published("bernoulli-logit", ["urban[Y]"], [("district", "urban[Y]")]),
    "crabs": Published("bernoulli-logit", CRABS, [("plot", "snail_size[S]")]),
    "trees513": Published(
        "bernoulli-logit", [f"species[{s}]" for s in SPECIES],
        [("lattice", None), ("lattice:plot", None)], intercept=False,
    ),
    "freqweights_agg": Published("poisson", ["x"], [("i", "x")]),
    "glmmtmb399": Published(
        "bernoulli-logit", ["stdQlty", "stdLaying"],
        [("Year", None), ("Site", None), ("PairID", None)],
    ),
}  # fmt: skip
"""By the id of the case in glmm_cases.json."""


def read(name: str) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Columns (an indicator ``column[level]`` for factors), response and case weights."""
    groups = [group for group, _ in PUBLISHED[name].bars]
    frame = pd.read_csv(DATA / f"{name}.csv.gz", dtype={g: str for g in groups if ":" not in g})
    for column, levels in {"urban": ["Y"], "snail_size": ["S"], "species": SPECIES}.items():
        for level in levels if column in frame else ():
            frame[f"{column}[{level}]"] = (frame[column] == level).astype(float)
    weights = np.ones(len(frame))
    if name == "crabs":
        # a share of trials becomes a row of successes and a row of failures
        size = frame["initial_snail_density"].to_numpy(float)
        successes = (frame["surv"] * size).round().to_numpy()
        frame = pd.concat([frame, frame], ignore_index=True)
        return (
            frame,
            np.repeat([1.0, 0.0], len(size)),
            np.concatenate([successes, size - successes]),
        )
    if name == "freqweights_agg":
        weights = frame["Freq"].to_numpy(float)
    if name == "trees513":
        frame["lattice:plot"] = frame["plot"]
        return frame, (frame["damage"] == "no").to_numpy(float), weights
    return frame, frame["ProbDiv" if name == "glmmtmb399" else "y"].to_numpy(float), weights


def solve(name: str) -> dict[str, Any]:
    """The optimum with the full posterior and the fixed effects as points."""
    model = PUBLISHED[name]
    frame, y, weights = read(name)
    ones = np.ones((len(frame), 1))
    names = ["Intercept"] * model.intercept + model.fixed
    fixed = np.hstack([ones[:, : model.intercept], frame[model.fixed].to_numpy(float)])
    terms = [
        Term(
            pd.factorize(frame[group], sort=True)[0],
            ones if slope is None else np.column_stack([ones, frame[slope]]),
        )
        for group, slope in model.bars
    ]
    dense = DenseModel(model.family, y, weights, 0.0 * y, fixed, terms, False, False)
    return {"id": name} | describe(dense.maximise(), names, [group for group, _ in model.bars])


def describe(optimum: Optimum, names: list[str], groups: list[str]) -> dict[str, Any]:
    """An optimum as it is stored."""
    covariances = zip(groups, optimum.covariances, strict=True)
    return {
        "elbo": optimum.elbo,
        "max_abs_grad": optimum.max_gradient,
        "fixef": dict(zip(names, optimum.coefficients.tolist(), strict=True)),
        "cov": {group: covariance.tolist() for group, covariance in covariances},
    }


def main() -> None:
    """Write the file."""
    simulated = DATA / "glmm_simulated.csv.gz"
    if not simulated.exists():
        text = simulate().to_csv(index=False)
        simulated.write_bytes(gzip.compress(text.encode(), mtime=0))
    lines = ",\n".join(json.dumps(solve(name)) for name in PUBLISHED)
    (DATA / "glmm_optima.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
