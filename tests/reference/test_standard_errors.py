"""Standard errors of coefficients against the curvature of the bound in all parameters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from cases import DATA
from glmm_cases import coefficients, load_json, standard_errors

from skmixed import MixedEffectsVIClassifier

CASES = load_json("standard_errors.json")


@pytest.mark.parametrize("name", CASES)
def test_of_the_maximised_bound(name):
    """Variances and thresholds are estimates too: held, these errors are up to 28 % too small."""
    case = CASES[name]
    frame = pd.read_csv(DATA / case["dataset"], dtype=dict.fromkeys(case["groups"], str))
    model = MixedEffectsVIClassifier(
        formula=case["formula"], family=case["family"], link=case["link"], method="ml"
    ).fit(frame.drop(columns=case["response"]), frame[case["response"]])
    assert model.elbo_ == pytest.approx(case["elbo"], rel=0, abs=1e-6)
    expected = pd.Series(case["se"])
    distance = (coefficients(model)[expected.index] - pd.Series(case["coef"])) / expected
    assert distance.abs().max() < 1e-3
    np.testing.assert_allclose(standard_errors(model)[expected.index], expected, rtol=2e-4)
