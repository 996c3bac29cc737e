"""What `summary` says, in tables, text and HTML."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, mixed
from skmixed.datasets import load_sleepstudy, make_mixed_classification, make_mixed_regression
from skmixed.inspection import ConvergenceDisplay
from skmixed.inspection.rounding import rounded_to_errors
from skmixed.interop import marginaleffects_model


@pytest.fixture(scope="module")
def data():
    X, y, _ = make_mixed_regression(
        n_samples=400, groups=(20, 8), n_features=2, n_slopes=(2, 0), random_state=1
    )
    return X, y


@pytest.fixture(scope="module")
def model(data):
    return MixedEffectsVIRegressor(["(1 + x0 + x1 | g0)", "g1"]).fit(*data)


def test_unfitted():
    with pytest.raises(NotFittedError):
        MixedEffectsVIRegressor().summary()


def test_z(model):
    table = model.summary(test="z").to_frame()
    z = table["estimate"] / table["std_error"]
    np.testing.assert_allclose(table["statistic"], z)
    np.testing.assert_allclose(table["p_value"], 2 * stats.norm.sf(np.abs(z)))
    np.testing.assert_allclose(table["upper"], table["estimate"] + 1.959964 * table["std_error"])
    assert "df" not in table


def test_t(model, data):
    table = model.summary(*data, test="t").to_frame()
    t, df = table["estimate"] / table["std_error"], table["df"]
    np.testing.assert_allclose(table["p_value"], 2 * stats.t.sf(np.abs(t), df))
    half = stats.t.ppf(0.975, df) * table["std_error"]
    np.testing.assert_allclose(table["lower"], table["estimate"] - half)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.999])
def test_level(model, level):
    table = model.summary(level=level).to_frame()
    half = stats.norm.ppf(0.5 + level / 2) * table["std_error"]
    np.testing.assert_allclose(table["upper"] - table["estimate"], half)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"test": "F"}, "test='F' is not known"), ({"level": 95}, "level=95 must lie"),
     ({"test": True}, "test=True is not known")],
)  # fmt: skip
def test_refused(model, arguments, message):
    with pytest.raises(ValueError, match=message):
        model.summary(**arguments)


def test_correlations_stand_beside_their_term(model):
    shown = model.summary().variance_components.reset_index()
    covariance = model.random_effects_cov_["g0"]
    sd = np.sqrt(np.diagonal(covariance))
    correlation = covariance / np.outer(sd, sd)
    assert list(shown["group"]) == ["g0", "g0", "g0", "g1", "Residual"]
    np.testing.assert_allclose(shown["sd"][:3], sd)
    np.testing.assert_allclose(shown.iloc[1, 4], correlation.loc["x0", "Intercept"])
    np.testing.assert_allclose(
        shown.iloc[2, 4:6].astype(float), correlation.loc["x1", ["Intercept", "x0"]]
    )
    assert shown.iloc[[0, 3, 4], 4:].isna().all(axis=None)


def test_facts(model):
    facts = model.summary().facts
    # intercept, two slopes; six covariances and a variance; the noise
    assert f"{-2 * model.elbo_ + 2 * 11:.4f}, 11 parameters" in facts["AIC"]
    assert f"{-2 * model.elbo_ + np.log(400) * 11:.4f}" in facts["BIC"]
    assert "restricted log likelihood" in facts["ELBO"]
    assert facts["Solver"] == "direct"
    assert facts["Iterations"].startswith(f"{model.n_iter_} (converged")


def test_bounds_are_called_bounds():
    X, y, _ = make_mixed_classification(n_samples=300, groups=(15, 5), random_state=0)
    model = MixedEffectsVIClassifier(["g0", "g1"]).fit(X, y)
    summary = model.summary(test="z")
    assert "lower bound" in summary.facts["ELBO"]
    assert "of the bound" in summary.facts["AIC"]
    assert "statistic: z." in summary.notes
    assert "the variances are taken for known" not in str(summary)


def test_an_estimated_elbo_has_an_error():
    X, y, _ = make_mixed_regression(n_samples=3000, groups=(400, 300), random_state=1)
    model = MixedEffectsVIRegressor(["g0", "g1"], solver="iterative").fit(X, y)
    assert model.elbo_std_ > 0.0
    assert f"standard error {model.elbo_std_:.2g}" in model.summary().facts["ELBO"]


def test_convergence_within_rounding_is_said(data):
    # no gradient of sums in double precision is as small as this
    model = MixedEffectsVIRegressor(["(1 + x0 + x1 | g0)", "g1"], tol=1e-300).fit(*data)
    gradient = model.gradient_path_[-1]
    assert model.converged_
    assert 0.0 < gradient < 1e-4
    said = model.summary().facts["Iterations"]
    assert f"(converged within rounding: scaled gradient {gradient:.1e} is above" in said
    display = ConvergenceDisplay(model.elbo_path_, model.gradient_path_, tol=model.tol).plot()
    assert display.ax_[0].get_title().startswith("converged within rounding")
    plt.close(display.figure_)


def test_convergence_by_the_gradient_is_said(model):
    assert model.gradient_path_[-1] <= model.tol
    assert "(converged: scaled gradient" in model.summary().facts["Iterations"]


def test_no_convergence_is_said(data):
    with pytest.warns(ConvergenceWarning):
        model = MixedEffectsVIRegressor(["g0", "g1"], max_iter=1).fit(*data)
    assert "NOT converged" in str(model.summary())


def test_small_p_values_are_readable(data):
    X, y = data
    frame = X.assign(x0=y + 0.01 * np.arange(400) % 3)
    model = MixedEffectsVIRegressor(["g1"]).fit(frame[["x0", "g1"]], y)
    assert "<1e-16" in str(model.summary(test="z"))
    assert "&lt;1e-16" in model.summary(test="z")._repr_html_()


def test_html_is_well_formed(model, data):
    from xml.etree import ElementTree

    summary = model.summary(*data, test="t")
    tree = ElementTree.fromstring(summary._repr_html_())
    cells = ["".join(cell.itertext()).strip() for cell in tree.iter("td")]
    assert f"{summary.fixed_effects['df'].iloc[1]:.2f}" in cells
    assert "Satterthwaite" in str(summary)


def test_tables_are_copies(model):
    frame = model.summary().to_frame()
    frame.loc[:] = 0.0
    assert isinstance(frame, pd.DataFrame)
    assert (model.summary().fixed_effects["std_error"] > 0).all()


@pytest.fixture(scope="module")
def separated_rows():
    """600 rows; no row with t = 1 is of class 1."""
    rng = np.random.default_rng(0)
    t = rng.integers(0, 2, 600).astype(float)
    x = rng.standard_normal(600)
    X = pd.DataFrame({"x": x, "t": t, "g": rng.integers(0, 30, 600).astype(str)})
    return X, rng


def of_kind(kind, X, rng):
    """A model whose column t is separated, and its response."""
    on = X["t"] == 1
    if kind == "bernoulli":
        return MixedEffectsVIClassifier(["g"]), ((rng.random(600) < 0.5) & ~on).astype(int)
    if kind == "ordinal":
        return MixedEffectsVIClassifier(["g"], family=kind), np.where(
            on, 2, rng.integers(0, 3, 600)
        )
    return MixedEffectsVIRegressor(["g"], family=kind), np.where(on, 0, rng.poisson(2.0, 600))


@pytest.mark.parametrize("kind", ["bernoulli", "ordinal", "poisson"])
def test_a_separated_column_has_no_test(separated_rows, kind):
    X, rng = separated_rows
    model, y = of_kind(kind, X, rng)
    with pytest.warns(UserWarning, match="without error: 't'"):
        model.fit(X, y)
    summary = model.summary(test="z")
    table = summary.to_frame()
    assert abs(table.loc["t", "estimate"]) > 5.0
    assert table.loc["t", ["lower", "upper", "statistic", "p_value"]].isna().all()
    assert table["note"].to_dict() == {name: "separated" * (name == "t") for name in table.index}
    assert table.drop(index="t").notna().all(axis=None)
    assert "'t' predict a part of the responses without error" in " ".join(summary.notes)
    assert "separated" in str(summary)
    assert "separated" in summary._repr_html_()
    assert model.summary().to_frame().columns[-1] == "note"


def test_no_note_without_separation(model):
    assert "note" not in model.summary(test="z").to_frame()


def test_statsmodels_names():
    frame = load_sleepstudy().frame
    model = mixed("Reaction ~ Days + (Days | Subject)", frame)
    summary = model.summary(test="t", level=0.9)
    table = summary.to_frame()
    pd.testing.assert_series_equal(summary.params, table["estimate"], check_names=False)
    pd.testing.assert_series_equal(summary.bse, table["std_error"], check_names=False)
    pd.testing.assert_series_equal(summary.tvalues, table["statistic"], check_names=False)
    pd.testing.assert_series_equal(summary.pvalues, table["p_value"], check_names=False)
    pd.testing.assert_frame_equal(summary.conf_int(), table[["lower", "upper"]])
    # Kuznetsova, Brockhoff and Christensen (2017): 17 degrees of freedom, t = 6.77
    assert summary.pvalues["Days"] == pytest.approx(3.264e-06, rel=1e-3)


def test_a_summary_without_tests_has_no_p_values():
    model = mixed("Reaction ~ Days + (1 | Subject)", load_sleepstudy().frame)
    assert not hasattr(model.summary(), "pvalues")
    with pytest.raises(AttributeError, match=r'without tests.*summary\(test="t"\)'):
        _ = model.summary().pvalues


@pytest.mark.parametrize("package", ["great_tables", "marginaleffects"])
def test_packages_that_are_not_there_are_named(package, monkeypatch):
    model = mixed("Reaction ~ Days + (1 | Subject)", load_sleepstudy().frame)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.classes", None)
    call = {
        "great_tables": model.summary().to_great_table,
        "marginaleffects": lambda: marginaleffects_model(model),
    }[package]
    message = rf'needs {package}.*pip install "scikit-mixed\[interop\]"'
    with pytest.raises(ImportError, match=message):
        call()


def test_unadjusted_p_values_are_rounded_as_others_are():
    table = pd.DataFrame(
        {"estimate": [1.0], "std_error": [0.5], "p_value": [0.0123456], "p_unadjusted": [1e-5 / 3]}
    )
    assert rounded_to_errors(table)["p_unadjusted"].tolist() == ["3.33e-06"]
