"""Contracts on responses of two classes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from skmixed import MixedEffectsVIClassifier, mixed
from skmixed.datasets import load_cbpp

DOCS = Path(__file__).parents[2] / "docs" / "user_guide"


@pytest.mark.parametrize("incidence", [0, 1])
@pytest.mark.parametrize("method", ["ml", "reml"])
def test_constant_y_binomial(incidence, method):
    """No animal is ill, or all are: nothing to learn, and said so."""
    X, y = load_cbpp(return_X_y=True)
    with pytest.raises(ValueError, match=r"only one class is present: y is .* in every row"):
        MixedEffectsVIClassifier(["herd"], method=method).fit(X, np.full(len(y), incidence))
    # a class that is there, but without weight, is not there
    two = np.arange(len(y)) == 0
    with pytest.raises(ValueError, match="only one class"):
        MixedEffectsVIClassifier(["herd"], method=method).fit(X, two, sample_weight=1.0 - two)


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_nearly_constant_y_binomial(link):
    """One animal is ill: bounded estimates, and a probability near the share of one."""
    X, _ = load_cbpp(return_X_y=True)
    data = X.assign(ill=np.arange(len(X)) == 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = mixed("ill ~ 1 + (1 | herd)", data, family="bernoulli", link=link)
    assert np.isfinite(model.coef_cov_).all()
    assert abs(model.intercept_) < 15.0
    chances = model.predict_proba(data)[:, 1]
    assert np.isfinite(chances).all()
    assert chances.mean() == pytest.approx(1.0 / len(data), rel=1.0)


def test_toenail_honesty():
    """The guide states by how much the standard deviation of the toenails is too small."""
    lines = [line.strip() for line in (DOCS / "generalized.rst").read_text().splitlines()]
    row = lines.index("* - toenail infection (binary)")
    rows, exact, variational = (float(line.removeprefix("- ")) for line in lines[row + 1 : row + 4])
    assert rows < 10
    assert exact == pytest.approx(4.01, abs=0.01)
    assert variational == pytest.approx(3.53, abs=0.01)
