"""Contracts on invariance: the same model in other words has the same fit."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from contract_data import FORMULA, assert_same_fit, crossed, sleepstudy
from sklearn.linear_model import LinearRegression

from skmixed import MixedEffectsVIRegressor, mixed

FORMULAS = [FORMULA, "Reaction ~ Days + (Days || Subject)", "Reaction ~ Days + (1 | Subject)"]
CROSSED = "y ~ x1 + x2 + (1 | a) + (1 | b)"


@pytest.mark.parametrize("formula", FORMULAS)
def test_subset_levels_predict(formula):
    data = sleepstudy()
    model = mixed(formula, data)
    everything, std = model.predict(data, return_std=True)
    for rows in ([7], [0, 20, 21], np.flatnonzero(data["Subject"].isin(["S310", "S372"]))):
        part, part_std = model.predict(data.iloc[rows], return_std=True)
        np.testing.assert_allclose(part, everything[rows], rtol=1e-14)
        np.testing.assert_allclose(part_std, std[rows], rtol=1e-12)


@pytest.mark.parametrize("formula", FORMULAS)
def test_train_predict_equal(formula):
    """Predictions on the training data are fixed plus random part, as published."""
    data = sleepstudy()
    model = mixed(formula, data)
    effects = model.random_effects_["Subject"].loc[data["Subject"]]
    fitted = model.intercept_ + model.coef_[0] * data["Days"].to_numpy()
    for term in effects.columns:
        column = 1.0 if term == "Intercept" else data[term].to_numpy()
        fitted = fitted + column * effects[term].to_numpy()
    np.testing.assert_allclose(model.predict(data), fitted, rtol=1e-12)


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_row_permutation(method, posterior):
    for formula, data in ((FORMULA, sleepstudy()), (CROSSED, crossed())):
        order = np.random.default_rng(1).permutation(len(data))
        one = mixed(formula, data, method=method, posterior=posterior)
        other = mixed(formula, data.iloc[order], method=method, posterior=posterior)
        assert_same_fit(one, other, rtol=1e-6)
        assert one.elbo_ == pytest.approx(other.elbo_, rel=1e-10)


SUBJECT_NAMES = {
    "int": lambda codes: codes + 300,
    "str": lambda codes: codes.astype(str).astype(object),
    "category": lambda codes: pd.Categorical.from_codes(codes, [f"s{i}" for i in range(18)]),
    "reversed": lambda codes: pd.Categorical.from_codes(
        codes, [f"s{i}" for i in range(17, -1, -1)]
    ),
    "huge": lambda codes: 2**62 - codes.astype(np.int64) * 3,
    "mixed_case": lambda codes: np.array(["aBc" + "xX"[i % 2] * (i + 1) for i in codes], object),
    "float": lambda codes: codes / 8.0,
    "negative": lambda codes: -codes.astype(np.int16),
    "bytes_and_numbers": lambda codes: np.array([i if i % 2 else f"n{i}" for i in codes], object),
    "dates": lambda codes: pd.Timestamp("2020-01-01") + pd.to_timedelta(codes, unit="D"),
    "unsigned": lambda codes: np.uint64(2**63) + codes.astype(np.uint64),
}


@pytest.mark.parametrize("kind", SUBJECT_NAMES)
def test_level_relabel(kind):
    data = sleepstudy()
    codes = pd.factorize(data["Subject"])[0].astype(np.int64)
    labels = pd.Series(SUBJECT_NAMES[kind](codes), index=data.index)
    reference = mixed(FORMULA, data)
    renamed = data.assign(Subject=labels)
    model = mixed(FORMULA, renamed)
    np.testing.assert_allclose(model.coef_, reference.coef_, rtol=1e-9)
    assert model.elbo_ == pytest.approx(reference.elbo_, rel=1e-10)
    # keyed by label: the effects of a label are those of its subject
    mine = model.random_effects_["Subject"].loc[labels.tolist()].to_numpy()
    expected = reference.random_effects_["Subject"].loc[data["Subject"]].to_numpy()
    np.testing.assert_allclose(mine, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(model.predict(renamed), reference.predict(data), rtol=1e-8)


def test_unused_categories():
    data = sleepstudy()
    reference = mixed(FORMULA, data)
    levels = ["aaa", *sorted(data["Subject"].unique()), *[f"unused{i}" for i in range(300)]]
    model = mixed(FORMULA, data.assign(Subject=pd.Categorical(data["Subject"], levels)))
    assert len(model.random_effects_["Subject"]) == 18
    assert_same_fit(model, reference, rtol=1e-10)


@pytest.mark.parametrize("n_levels", [127, 128, 200, 32767, 32800])
def test_many_levels(n_levels):
    """Codes of categories are int8 up to 127 levels and int16 up to 32767."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(n_levels), 3)
    labels = pd.Categorical.from_codes(codes, np.arange(n_levels) * 7)
    effects = rng.standard_normal(n_levels)
    x = rng.standard_normal(len(codes))
    frame = pd.DataFrame({"x": x, "g": labels})
    y = x + effects[codes] * (1 + x) + 0.1 * rng.standard_normal(len(codes))
    term = "(1 + x | g)" if n_levels < 1000 else "(1 | g)"
    model = MixedEffectsVIRegressor([term]).fit(frame, y)
    numbers = MixedEffectsVIRegressor([term]).fit(frame.assign(g=codes * 7), y)
    assert len(model.random_effects_["g"]) == n_levels
    assert np.corrcoef(model.random_effects_["g"]["Intercept"], effects)[0, 1] > 0.6
    assert model.elbo_ == pytest.approx(numbers.elbo_, rel=1e-12)
    np.testing.assert_allclose(model.predict(frame[-5:]), numbers.predict(
        frame.assign(g=codes * 7)[-5:]), rtol=1e-9)  # fmt: skip


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x1 + x2 + (1 | b) + (1 | a)",
        "y ~ x2 + x1 + (1 | a) + (1 | b)",
        "y ~ (1 | b) + x2 + (1 | a) + x1",
    ],
)
def test_term_order(formula):
    data = crossed()
    assert_same_fit(mixed(CROSSED, data), mixed(formula, data), rtol=1e-7)


def test_term_order_of_slopes():
    data = crossed()
    one = mixed("y ~ x1 + x2 + (1 + x1 + x2 | b)", data, max_iter=200)
    other = mixed("y ~ x2 + x1 + (1 + x2 + x1 | b)", data, max_iter=200)
    assert one.elbo_ == pytest.approx(other.elbo_, abs=1e-6)
    assert_same_fit(one, other, rtol=2e-3)


@pytest.mark.parametrize(
    ("column", "factor", "shift"),
    [("Days", 1e6, 0), ("Days", 1e-9, 0), ("Days", 1.0, 1e6), ("Reaction", 1.0, 1e9),
     ("Reaction", 1e-8, 0), ("Reaction", 1e8, -1e13)],
)  # fmt: skip
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_days_x_1e6(column, factor, shift, method):
    """Units and origins change nothing but the constants they must change."""
    data = sleepstudy()
    formula = "Reaction ~ Days + (1 | Subject)" if column == "Days" and shift else FORMULA
    reference = mixed(formula, data, method=method)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = mixed(
            formula, data.assign(**{column: data[column] * factor + shift}), method=method
        )
    jacobian = 0.0
    if column == "Reaction":
        jacobian = -(len(data) - 2 * (method == "reml")) * np.log(factor)
    elif method == "reml":
        jacobian = -np.log(factor)
    rough = 1e-4 if abs(shift) >= 1e9 else 1e-7
    assert model.elbo_ == pytest.approx(reference.elbo_ + jacobian, rel=1e-9, abs=rough)
    t = [fit.coef_[0] / np.sqrt(fit.coef_cov_[1, 1]) for fit in (model, reference)]
    assert t[0] == pytest.approx(t[1], rel=rough)
    scale = factor if column == "Reaction" else 1.0
    intercepts = model.random_effects_["Subject"]["Intercept"] / scale
    expected = reference.random_effects_["Subject"]["Intercept"]
    np.testing.assert_allclose(intercepts, expected, rtol=1e-3, atol=1e-3)
    assert model.noise_variance_ == pytest.approx(reference.noise_variance_ * scale**2, rel=rough)


@pytest.mark.parametrize("extra", ["double", "zero", "constant", "sum"])
def test_dup_column(extra):
    """Left out with a warning that names it; predictions as without it."""
    data = crossed()
    columns = {
        "double": 2.0 * data["x1"],
        "zero": 0.0 * data["x1"],
        "constant": 3.0 + 0.0 * data["x1"],
        "sum": data["x1"] - 1e4 * data["x2"],
    }
    data = data.assign(extra=columns[extra])
    reference = mixed(CROSSED, data)
    with pytest.warns(UserWarning, match="left out: 'extra'"):
        model = mixed("y ~ x1 + x2 + extra + (1 | a) + (1 | b)", data)
    assert model.coef_[2] == 0.0
    assert model.elbo_ == pytest.approx(reference.elbo_, rel=1e-9)
    np.testing.assert_allclose(model.coef_[:2], reference.coef_, rtol=1e-8)
    np.testing.assert_allclose(model.predict(data), reference.predict(data), rtol=1e-8)
    np.testing.assert_allclose(
        model.predict(data, return_std=True)[1], reference.predict(data, return_std=True)[1],
        rtol=1e-7,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("posterior", ["full", "mean_field"])
def test_weights_dup(posterior, method):
    """Case weights are repetitions; precision weights are not."""
    data = crossed(120)
    weights = np.random.default_rng(0).integers(1, 4, len(data))
    repeated = data.loc[np.repeat(data.index, weights)]
    options = {"posterior": posterior, "method": method}
    one = mixed(CROSSED, data, sample_weight=weights, **options)
    other = mixed(CROSSED, repeated, **options)
    assert_same_fit(one, other, rtol=1e-6)
    assert one.n_observations_ == len(repeated)
    precise = mixed(CROSSED, data.assign(w=weights), precision_weights="w", **options)
    assert abs(precise.elbo_ - one.elbo_) > 1.0


def test_precision_weights_are_relative_to_the_noise():
    """Ten times the weights: ten times the noise variance, all else as it was."""
    data = crossed(120).assign(w=np.random.default_rng(0).uniform(0.5, 2.0, 120))
    one = mixed(CROSSED, data, precision_weights="w")
    other = mixed(CROSSED, data.assign(w=10.0 * data["w"]), precision_weights="w")
    assert other.noise_variance_ == pytest.approx(10.0 * one.noise_variance_, rel=1e-7)
    assert other.elbo_ == pytest.approx(one.elbo_, abs=1e-7)
    np.testing.assert_allclose(other.coef_, one.coef_, rtol=1e-7)


def test_weights_zero():
    data = crossed(150)
    weights = np.ones(150)
    weights[::4] = 0.0
    one = mixed(CROSSED, data, sample_weight=weights)
    other = mixed(CROSSED, data[weights > 0])
    assert_same_fit(one, other, rtol=1e-10)
    with pytest.raises(ValueError, match="at least one non-zero"):
        mixed(CROSSED, data, sample_weight=0.0 * weights)


@pytest.mark.parametrize("size", [1e-9, 1e-5, 1e-3])
def test_re_var_below_tol(size):
    """A between-group covariate keeps its effect however small the groups' variance."""
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(20), 10)
    between = rng.standard_normal(20)[codes]
    y = 3.0 + 2.0 * between + size * rng.standard_normal(20)[codes] + rng.standard_normal(200)
    frame = pd.DataFrame({"between": between, "g": codes})
    model = MixedEffectsVIRegressor(["g"]).fit(frame, y)
    least_squares = LinearRegression().fit(between[:, None], y)
    assert model.coef_[0] == pytest.approx(least_squares.coef_[0], rel=0.05)
    if model.random_effects_cov_["g"].iloc[0, 0] == 0.0:
        assert model.coef_[0] == pytest.approx(least_squares.coef_[0], rel=1e-10)


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_elbo_monotone(method, posterior):
    for formula, data in ((FORMULA, sleepstudy()), (CROSSED, crossed())):
        model = mixed(formula, data, method=method, posterior=posterior)
        assert np.diff(model.elbo_path_).min() >= -np.sqrt(np.finfo(float).eps)
        assert model.elbo_ == model.elbo_path_[-1]


def test_mean_field_bound():
    """The smaller family never has the larger bound."""
    for formula, data in ((FORMULA, sleepstudy()), (CROSSED, crossed())):
        for method in ("reml", "ml"):
            full = mixed(formula, data, method=method)
            mean_field = mixed(formula, data, method=method, posterior="mean_field")
            assert mean_field.elbo_ <= full.elbo_ + 1e-8
