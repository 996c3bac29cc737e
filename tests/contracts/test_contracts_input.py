"""Contracts on bad input: an error or a documented answer, never a silent number."""

from __future__ import annotations

import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from contract_data import FORMULA, assert_same_fit, crossed, sleepstudy
from sklearn.exceptions import ConvergenceWarning

from skmixed import MixedEffectsVIRegressor, mixed
from skmixed.formula.errors import FormulaError


def everything_finite(model):
    frames = [
        *model.random_effects_.values(),
        *model.random_effects_std_.values(),
        *model.random_effects_cov_.values(),
    ]
    values = [model.coef_, model.intercept_, model.coef_cov_, model.noise_variance_, *frames]
    return all(np.isfinite(np.asarray(value)).all() for value in values)


def test_one_level():
    data = sleepstudy().query("Subject == 'S308'")
    with pytest.raises(ValueError, match=r"'Subject' has a single level \('S308'\)"):
        mixed("Reaction ~ Days + (1 | Subject)", data)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_nobs_eq_nre():
    """As many random effects as rows: told, and the log likelihood is finite and right."""
    data = sleepstudy().query("Days in (1, 9)")
    with pytest.warns(UserWarning, match=r"'Subject' has 18 levels with 2 effects.*\(36\)"):
        model = mixed(FORMULA, data, method="ml")
    assert everything_finite(model)
    assert np.isfinite(model.elbo_)
    assert model.noise_variance_ > 0
    # the two rows of a subject have a covariance of any shape: the sums are identified
    pairs = data.pivot(index="Subject", columns="Days", values="Reaction").to_numpy()
    empirical = np.cov(pairs.T, bias=True)
    Z = np.array([[1.0, 1.0], [1.0, 9.0]])
    covariance = model.random_effects_cov_["Subject"].to_numpy()
    total = Z @ covariance @ Z.T + model.noise_variance_ * np.eye(2)
    np.testing.assert_allclose(total, empirical, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 7.5, -1e9])
def test_constant_y_gaussian(value):
    data = sleepstudy().assign(Reaction=value)
    with pytest.warns(UserWarning, match="constant y"):
        model = mixed(FORMULA, data)
    assert model.noise_variance_ == 0.0
    assert everything_finite(model)
    np.testing.assert_allclose(model.predict(data), value)
    mean, std = model.predict(data, return_std=True)
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_inf_y(value):
    data = sleepstudy()
    data.loc[data["Reaction"] > 400, "Reaction"] = value
    with pytest.raises(ValueError, match="y contains infinity"):
        mixed(FORMULA, data)


def test_nan_y():
    """Refused by default; dropped on request, equal to a fit without the rows bit for bit."""
    data = sleepstudy()
    complete = data.drop(index=[5, 80, 81])
    data.loc[[5, 80, 81], "Reaction"] = np.nan
    with pytest.raises(ValueError, match=r"y contains NaN.*row 5"):
        mixed(FORMULA, data)
    dropped = mixed(FORMULA, data, missing="drop")
    reference = mixed(FORMULA, complete)
    assert dropped.elbo_ == reference.elbo_
    np.testing.assert_array_equal(dropped.coef_, reference.coef_)
    np.testing.assert_array_equal(dropped.predict(complete), reference.predict(complete))


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_nan_group(missing):
    """Refused in fit, the population in predict."""
    data = sleepstudy()
    model = mixed(FORMULA, data)
    broken = data.astype({"Subject": object})
    broken.loc[3, "Subject"] = missing
    with pytest.raises(ValueError, match=r"'Subject' contains NaN or None.*row 3"):
        mixed(FORMULA, broken)
    predicted = model.predict(broken)
    assert predicted[3] == model.predict(data, include="none")[3]
    keep = np.arange(len(data)) != 3
    np.testing.assert_array_equal(predicted[keep], model.predict(data)[keep])
    strict = mixed(FORMULA, data, handle_unknown="error")
    with pytest.raises(ValueError, match=r"'Subject' has the level.*row 3"):
        strict.predict(broken)


@pytest.mark.parametrize("missing", ["raise", "drop"])
def test_all_nan_x(missing):
    data = sleepstudy().assign(Days=np.nan)
    with pytest.raises(ValueError, match=r"0 non-NA cases.*Days|Days.*0 non-NA cases"):
        mixed(FORMULA, data, missing=missing)


def test_missing_unused():
    data = sleepstudy()
    reference = mixed(FORMULA, data)
    unused = data.assign(other=np.nan, label=None)
    for missing in ("raise", "drop"):
        model = mixed(FORMULA, unused, missing=missing)
        assert model.elbo_ == reference.elbo_
        np.testing.assert_array_equal(model.predict(unused), reference.predict(data))


def test_unseen_level():
    data = sleepstudy()
    model = mixed(FORMULA, data)
    new = data.assign(Subject="stranger")
    mean, std = model.predict(new, return_std=True)
    population = model.intercept_ + model.coef_[0] * data["Days"]
    np.testing.assert_allclose(mean, population, rtol=1e-13)
    _, around_mean = model.predict(new, return_std=True, include="none")
    z = np.column_stack([np.ones(len(data)), data["Days"]])
    prior = np.einsum("ij,jk,ik->i", z, model.random_effects_cov_["Subject"].to_numpy(), z)
    np.testing.assert_allclose(std**2, around_mean**2 + prior, rtol=1e-12)
    strict = MixedEffectsVIRegressor(formula="Days + (Days | Subject)", handle_unknown="error").fit(
        data[["Days", "Subject"]], data["Reaction"]
    )
    with pytest.raises(ValueError, match=r"'stranger' in row 0.*handle_unknown='population'"):
        strict.predict(new[["Days", "Subject"]])


def test_column_order():
    """By name where a formula picks columns, scikit-learn's error otherwise."""
    data = crossed()
    X, y = data[["x1", "x2", "a", "b"]], data["y"]
    turned = X[["b", "x2", "a", "x1"]]
    model = MixedEffectsVIRegressor(["a", "b"]).fit(X, y)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(turned)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X.drop(columns="x2"))
    by_formula = mixed("y ~ x1 + x2 + (1 | a) + (1 | b)", data)
    np.testing.assert_array_equal(by_formula.predict(turned), by_formula.predict(X))
    np.testing.assert_array_equal(by_formula.predict(data), by_formula.predict(X))


def test_zero_columns_X():
    data = crossed()
    for fixed in ("0", "1"):
        model = mixed(f"y ~ {fixed} + (1 | a)", data)
        assert model.converged_
        assert len(model.coef_) == 0
        assert (model.intercept_ == 0.0) is (fixed == "0")
        assert model.coef_cov_.shape == (int(fixed), int(fixed))
        assert "a" in str(model.summary())
    groups_only = MixedEffectsVIRegressor(["a", "b"]).fit(data[["a", "b"]], data["y"])
    assert groups_only.predict(data[["a", "b"]]).shape == (200,)


def test_same_var_both_sides():
    data = crossed()
    with pytest.raises(ValueError, match="'x1' is both an effect and a group"):
        mixed("y ~ (x1 | x1)", data)
    with pytest.warns(UserWarning, match="do not determine the variance of 'b'"):
        model = mixed("y ~ b + (1 | b)", data)
    assert model.random_effects_cov_["b"].iloc[0, 0] == 0.0
    assert everything_finite(model)


def test_max_iter_1():
    data = sleepstudy()
    with pytest.warns(ConvergenceWarning, match="Raise max_iter") as caught:
        model = mixed(FORMULA, data, max_iter=1)
    assert len(caught) == 1
    assert not model.converged_
    assert model.n_iter_ == 1
    assert model.elbo_ == model.elbo_path_.max()
    assert everything_finite(model)
    resumed = model.set_params(max_iter=100, warm_start=True).fit(
        data[["Days", "Subject"]], data["Reaction"]
    )
    assert resumed.converged_
    assert resumed.elbo_ == pytest.approx(mixed(FORMULA, data).elbo_, abs=1e-7)


@pytest.mark.parametrize("size", [1e-12, 1e-4, 1e4, 1e8])
def test_bad_start(size):
    """A warm start from variances many orders off finds the optimum again."""
    data = sleepstudy()
    X, y = data[["Days", "Subject"]], data["Reaction"]
    model = MixedEffectsVIRegressor(formula="Days + (Days | Subject)", warm_start=True).fit(X, y)
    optimum = model.elbo_
    model.random_effects_cov_["Subject"] *= size
    model.fit(X, y)
    assert model.converged_
    assert model.elbo_ == pytest.approx(optimum, abs=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_bad_start_not_a_number(value):
    data = sleepstudy()
    X, y = data[["Days", "Subject"]], data["Reaction"]
    model = MixedEffectsVIRegressor(formula="Days + (Days | Subject)", warm_start=True).fit(X, y)
    optimum = model.elbo_
    model.random_effects_cov_["Subject"] *= value
    model.fit(X, y)
    assert model.elbo_ == pytest.approx(optimum, abs=1e-6)


@pytest.mark.parametrize(
    "attack",
    [
        "I(__import__('os').system('touch pwned'))",
        "open('pwned', 'w')",
        "x1.__class__.__base__",
        "(lambda: open('pwned', 'w'))()",
        "`__import__('os').system('touch pwned')`",
        'exec(\'open("pwned", "w")\')',
        "(" * 5000 + "x1" + ")" * 5000,
        "x1 + " * 20000 + "x1 ~ x1",
    ],
    ids=lambda text: text[:20],
)
def test_formula_injection(attack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = crossed(50)
    begin = time.perf_counter()
    with pytest.raises((FormulaError, ValueError)):
        mixed(f"y ~ {attack}", data)
    assert time.perf_counter() - begin < 1.0
    assert list(Path(tmp_path).iterdir()) == []


@pytest.mark.parametrize("name", ["__class__", "a b", "1|g", "x)+(1", "größe", "y ~ x", "'", '"'])
def test_column_names_hostile(name):
    data = crossed(80)
    reference = mixed("y ~ x1 + (1 | b)", data)
    renamed = data.rename(columns={"x1": name})
    model = mixed(f"y ~ `{name}` + (1 | b)", renamed)
    assert model.coef_names_ == [name]
    assert_same_fit(model.set_params(), model)
    np.testing.assert_array_equal(model.coef_, reference.coef_)
    by_list = MixedEffectsVIRegressor(["b"]).fit(renamed[[name, "b"]], data["y"])
    np.testing.assert_allclose(by_list.coef_, reference.coef_, rtol=1e-10)
    as_group = mixed(f"y ~ x2 + (1 | `{name}`)", data.rename(columns={"a": name}))
    assert list(as_group.random_effects_) == [name]


def test_column_names_hostile_duplicated_and_integer():
    data = crossed(80)
    twice = pd.concat([data[["x1", "b"]], data[["x1"]]], axis=1)
    with pytest.raises(ValueError, match="x1"):
        MixedEffectsVIRegressor(["b"]).fit(twice, data["y"])
    numbered = data[["x1", "b"]].set_axis([7, 11], axis=1)
    model = MixedEffectsVIRegressor([11]).fit(numbered, data["y"])
    assert list(model.random_effects_) == ["11"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert model.predict(numbered).shape == (80,)
