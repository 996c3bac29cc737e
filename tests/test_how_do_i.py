"""The page "How do I ...?": sixty questions or more, and each call in it exists."""

from __future__ import annotations

import re
from pathlib import Path

import skmixed
from skmixed import MixedEffectsVIRegressor, inspection, interop
from skmixed.inspection.answer import Answer
from skmixed.inspection.variance_posteriors import VariancePosterior

PAGE = (Path(__file__).parents[1] / "docs" / "user_guide" / "how_do_i.rst").read_text()
ROWS = re.findall(r"^   \* - (.*)\n     - (.*)$", PAGE, re.MULTILINE)
SEARCHED = [
    "p-values", "confidence intervals", "odds ratios", "reference level", "contrasts",
    "save and load", "warning", "unseen groups", "cross-validate by group",
    "overdispersion", "autocorrelation",
    "nested", "repeated measures", "panel data", "AUC", "calibrated", "SHAP", "LaTeX",
    "meta-analysis", "marginal means", "R²", "ICC", "Kenward-Roger", "shrunk", "forest plot",
]  # fmt: skip


def test_sixty_questions_with_one_link_and_one_line_each():
    assert len(ROWS) >= 60
    assert f"{len(ROWS)} questions" in PAGE
    for question, line in ROWS:
        assert re.fullmatch(r":\w+:`[^`]+\? <[^`]+>`", question), question
        assert line, question
    assert len({question for question, _ in ROWS}) == len(ROWS)


def test_what_people_search_for_is_there():
    missing = [word for word in SEARCHED if word.lower() not in PAGE.lower()]
    assert not missing


def test_calls_exist():
    """Functions are public, and methods belong to the estimators or to what questions return."""
    formula = {"C", "ave", "Treatment", "poly", "I", "cs", "homdiag", "log"}
    known = {*skmixed.__all__, *inspection.__all__, *interop.__all__} | formula
    methods = {*dir(MixedEffectsVIRegressor), *dir(VariancePosterior)}
    lines = " ".join(line for _, line in ROWS)
    called = set(re.findall(r"(?<![.\w])([A-Za-z_]\w*)\((?=[^ ])", lines))
    assert len(called) > 20
    assert called <= known | methods
    assert {*re.findall(r"model\.(\w+)", lines)} <= methods
    assert {*re.findall(r"``\.(\w+)\(\)``", lines)} <= {*dir(Answer)}
