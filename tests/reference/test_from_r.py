"""The guide's page "From R": every call of ours gives the numbers of the R call beside it.

`data/from_r/lines.json` has the calls and to how many digits they agree, `numbers.R` runs those of
R, and `numbers.json` has what it wrote. The calls of ours are evaluated here.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from cases import DATA

import skmixed
from skmixed import inspection, mixed
from skmixed.datasets import load_cbpp, load_sleepstudy

FOLDER = DATA / "from_r"
LINES = json.loads((FOLDER / "lines.json").read_text())
NUMBERS = json.loads((FOLDER / "numbers.json").read_text())
PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "from_r.rst"


def read(name, **types):
    path = DATA / "inference" / f"{name}.csv.gz"
    return pd.read_csv(path, keep_default_na=False, dtype=types)


def ordered(frame, column, levels):
    return frame.assign(**{column: pd.Categorical(frame[column].astype(str), levels)})


@cache
def namespace():
    """The models of `numbers.R` under the names of the page, and the public functions."""
    frame = load_sleepstudy().frame
    cattle = load_cbpp().frame.eval("healthy = size - incidence")
    oats, fewer = read("oats", nitro=str), read("oats_missing", nitro=str)
    orthodont = ordered(read("orthodont"), "Sex", ["Male", "Female"])
    plots = "(1 | Block) + (1 | Block:Variety)"
    disease = mixed(
        "cbind(incidence, healthy) ~ period + (1 | herd)", cattle,
        family="binomial", approximation="corrected",
    )  # fmt: skip
    days = "Reaction ~ Days"
    return {
        **{name: getattr(skmixed, name) for name in skmixed.__all__},
        **{name: getattr(inspection, name) for name in inspection.__all__},
        "np": np, "frame": frame, "cattle": cattle, "oat_frame": oats, "orthodont": orthodont,
        "seizures": pd.read_csv(FOLDER / "epil.csv.gz"),
        "new": pd.DataFrame({"Days": [0, 10], "Subject": [308, 335]}),
        "model": mixed(f"{days} + (Days | Subject)", frame),
        "large": mixed(f"{days} + (Days | Subject)", frame, method="ml"),
        "small": mixed(f"{days} + (1 | Subject)", frame, method="ml"),
        "intercepts": mixed(f"{days} + (1 | Subject)", frame),
        "oats": mixed(f"yield ~ Variety * nitro + {plots}", oats),
        "unbalanced": mixed(f"yield ~ Variety + nitro + {plots}", fewer),
        "growth": mixed("distance ~ age * Sex + (age | Subject)", orthodont),
        "disease": disease,
    }  # fmt: skip


def ours(line):
    """Numbers of a line's call, rows first."""
    x = eval(line["ours"], namespace())
    value = eval(line["take"], {**namespace(), "x": x})
    plt.close("all")
    if hasattr(value, "to_frame") and not isinstance(value, pd.Series | pd.DataFrame):
        value = value.to_frame()
    return np.asarray(value, dtype=float).ravel()


@pytest.mark.parametrize("line", LINES, ids=[line["r"] for line in LINES])
def test_numbers(line):
    expected = np.atleast_1d(np.array(NUMBERS["numbers"][line["r"]], dtype=float))
    found = ours(line)
    assert found.shape == expected.shape
    assert np.isfinite(expected).all()
    rtol = line["rtol"] if "rtol" in line else 10.0 ** -line["digits"]
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=line.get("atol", 1e-9))


def test_digits_are_worth_their_name():
    """A line without digits is random, and says how near the numbers are."""
    for line in LINES:
        if "digits" in line:
            assert line["digits"] >= 2
        else:
            assert line["rtol"] + line.get("atol", 0.0) <= 0.25


@pytest.mark.parametrize("line", LINES, ids=[line["r"] for line in LINES])
def test_the_page_has_the_line(line):
    row = f"   * - ``{line['r']}``\n     - ``{line['ours']}``\n     - "
    cell = PAGE.read_text().split(row)[1].splitlines()[0]
    digits = str(line["digits"]) if "digits" in line else ""
    note = line.get("note", "")
    assert cell == digits + ("; " if digits and note else "") + note


def test_the_page_names_the_versions():
    text = PAGE.read_text()
    for package in {line["package"] for line in LINES} - {"DHARMa"}:
        version = NUMBERS["versions"][package]
        assert f"\n{package} {version}\n---" in text
