"""Models of R's help pages, written as they stand there, and the numbers that R prints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmixed import mixed
from skmixed.datasets import load_cbpp

DATA = Path(__file__).parent / "data"

# datasets::cars
SPEED = np.repeat(
    [4, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22, 23, 24, 25],
    [2, 2, 1, 1, 3, 2, 4, 4, 4, 3, 2, 3, 4, 3, 5, 1, 1, 4, 1],
)
DIST = [
    2, 10, 4, 22, 16, 10, 18, 26, 34, 17, 28, 14, 20, 24, 28, 26, 34, 34, 46, 26,
    36, 60, 80, 20, 26, 54, 32, 40, 32, 40, 50, 42, 56, 76, 84, 36, 46, 68, 32, 48,
    52, 56, 64, 66, 54, 70, 92, 93, 120, 85,
]  # fmt: skip
CARS = pd.DataFrame({"speed": SPEED, "dist": DIST})

# MASS, the tobacco budworm of chapter 7.2
BUDWORM = pd.DataFrame(
    {
        "ldose": [0, 1, 2, 3, 4, 5] * 2,
        "sex": ["M"] * 6 + ["F"] * 6,
        "numdead": [1, 4, 9, 13, 18, 20, 0, 2, 6, 10, 12, 16],
    }
)


def coefficients(model) -> np.ndarray:
    return np.append(model.intercept_, model.coef_)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("dist ~ poly(speed, degree=3)", [42.98, 145.55, 23.00, 13.80]),
        ("dist ~ speed + I(speed^2)", [2.47014, 0.91329, 0.09996]),
        ("dist ~ poly(speed, 2, raw = TRUE)", [2.47014, 0.91329, 0.09996]),
    ],
)
def test_cars(formula, expected) -> None:
    np.testing.assert_allclose(coefficients(mixed(formula, CARS)), expected, atol=6e-3)


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("sex*ldose", [-2.9935, 0.1750, 0.9060, 0.3529]),
        ("sex*I(ldose - 3)", [-0.2754, 1.2337, 0.9060, 0.3529]),
    ],
)
def test_budworm(terms, expected) -> None:
    model = mixed(
        f"cbind(numdead, 20 - numdead) ~ {terms}",
        BUDWORM,
        family="binomial",
        method="ml",
    )
    np.testing.assert_allclose(coefficients(model), expected, atol=6e-5)
    # glm: residual deviance 4.9937, AIC 43.104
    assert float(model.summary().facts["AIC"].split()[0].rstrip(",")) == pytest.approx(
        43.104, abs=5e-4
    )


def test_cbpp() -> None:
    # ?cbpp of lme4: glmer, Laplace's approximation
    model = mixed(
        "cbind(incidence, size - incidence) ~ period + (1 | herd)",
        load_cbpp().frame,
        family="binomial",
        method="ml",
    )
    np.testing.assert_allclose(coefficients(model), [-1.3983, -0.9919, -1.1282, -1.5797], atol=2e-3)
    assert model.elbo_ == pytest.approx(-92.0266, abs=0.02)


def test_contraception() -> None:
    frame = pd.read_csv(DATA / "contra.csv.gz")
    square = mixed(
        "y ~ age + I(age^2) + urban + factor(livch) + (1 | district:urban)",
        frame,
        family="binomial",
        method="ml",
    )
    # MixedModels.jl and lme4 on this model, by quadrature (glmm_cases.json, "contra")
    expected = [-1.060351, 0.003263, -0.004474, 0.771322, 0.834892, 0.913694, 0.928022]
    np.testing.assert_allclose(coefficients(square), expected, atol=6e-4)
    assert square.elbo_ == pytest.approx(-1180.4621037763372, abs=1e-4)
