"""Writes the stored models of the tests of persistence.

Run it after a change of the stored state, together with raising
``skmixed.persistence.FORMAT``, and keep the files of earlier formats:

    python tests/data/make_stored_models.py
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, __version__
from skmixed.datasets import load_sleepstudy
from skmixed.persistence import FORMAT

HERE = Path(__file__).parent
ROWS = {"Days": [0.0, 4.0, 9.0, 2.0], "Subject": ["S308", "S372", "stranger", "S335"]}


def sleepstudy() -> tuple[pd.DataFrame, np.ndarray]:
    """Days and subject, and reaction times in milliseconds."""
    frame = load_sleepstudy().frame
    subjects = "S" + frame["Subject"].astype(str)
    X = pd.DataFrame({"Days": frame["Days"].astype(float), "Subject": subjects})
    return X, frame["Reaction"].to_numpy(dtype=float)


def models() -> dict[str, object]:
    """One of every estimator whose pickles are to stay readable."""
    X, y = sleepstudy()
    fit = MixedEffectsVIRegressor(formula="Days + (Days | Subject)").fit(X, y)
    parts = MixedEffectsVIRegressor(formula="Days + (Days | Subject)")
    for rows in np.array_split(np.arange(len(y)), 3):
        parts.partial_fit(X.iloc[rows], y[rows])
    classes = MixedEffectsVIClassifier(["Subject"]).fit(X, y > 300.0)
    return {"fit": fit, "parts": parts, "classes": classes}


def main() -> None:
    """Write models and what they predict."""
    made, rows = models(), pd.DataFrame(ROWS)
    expected: dict[str, object] = {"skmixed": __version__, "rows": ROWS}
    for name in ("fit", "parts"):
        mean, std = made[name].predict(rows, return_std=True)  # type: ignore[attr-defined]
        expected[name] = {"mean": mean.tolist(), "std": std.tolist()}
    chances = made["classes"].predict_proba(rows)[:, 1]  # type: ignore[attr-defined]
    expected["classes"] = {"chances": chances.tolist()}
    (HERE / f"models_format_{FORMAT}.pkl").write_bytes(pickle.dumps(made, protocol=4))
    (HERE / f"models_format_{FORMAT}.json").write_text(json.dumps(expected, indent=1) + "\n")


if __name__ == "__main__":
    main()
