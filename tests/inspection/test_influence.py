"""Influence beside refits without the rows: real ones, and dense ones at held variances."""

import json
from functools import cache

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIRegressor, Relationship, influence, mixed
from skmixed.datasets import load_insteval, load_sleepstudy
from skmixed.exceptions import SingularFitWarning
from skmixed.fitted_model import fitted_model
from skmixed.results.deletion_surface import Grid, minima
from skmixed.results.left_out import RowDeletions
from tests.reference.cases import DATA

BOOK = json.loads((DATA / "inference" / "cases.json").read_text())["models"]


def data_of(name):
    """Formula, data and options of a model of the reference data."""
    spec = BOOK[name]
    path = DATA / "inference" / spec["data"].split("/")[-1]
    texts = dict.fromkeys(spec["factors"], str)
    frame = pd.read_csv(path, dtype=texts, keep_default_na=False)
    for column, levels in spec["factors"].items():
        frame[column] = pd.Categorical(frame[column], categories=list(map(str, levels)))
    options = {"precision_weights": spec["weights"]} if spec["weights"] else {}
    return spec["formula"], frame, options


def students():
    """Ratings by the first students of InstEval: crossed, most cells empty."""
    frame = load_insteval().frame
    frame = frame[frame["s"].isin(frame["s"].unique()[:25])].reset_index(drop=True)
    return "y ~ service + (1 | s) + (1 | d)", frame, {}


def growth():
    return "Reaction ~ Days + (Days | Subject)", load_sleepstudy().frame, {}


SETS = {
    "sleepstudy": (growth, "Subject"),
    "sleepstudy by a column": (growth, "Days"),
    "students": (students, "s"),
    "lecturers": (students, "d"),
    "machines": (lambda: data_of("machines_unbalanced"), "Worker"),
    "oats": (lambda: data_of("oats"), "Block"),
    "pups": (lambda: data_of("ratpup"), "Litter"),
    "melanoma": (lambda: data_of("melanoma_weights"), "nation"),
    "schools": (lambda: data_of("scots_crossed"), "primary"),
}


pytestmark = pytest.mark.filterwarnings("ignore::skmixed.exceptions.SingularFitWarning")


def some(levels, n=4):
    return levels[:: max(1, len(levels) // n)][:n]


@pytest.mark.parametrize("name", SETS)
def test_as_fits_without_the_rows(name):
    (formula, frame, options), by = SETS[name][0](), SETS[name][1]
    if name == "lecturers":
        frame = frame[frame["d"].isin(frame["d"].value_counts().index[:25])]
    tight = {"tol": 1e-9, **options}
    model = mixed(formula, frame, **tight)
    found = influence(model, by)
    for level in some(found.table.index):
        left = frame[frame[by] != level]
        again = mixed(formula, left, **tight)
        errors = np.sqrt(np.diagonal(again.coef_cov_))
        expected = np.append(again.intercept_, again.coef_)
        assert np.abs((found.coef.loc[level] - expected) / errors).max() < 1e-6
        assert found.table.loc[level, "sigma"] ** 2 == pytest.approx(
            again.noise_variance_, rel=1e-6
        )
        whole = influence_of(model, expected, again.coef_cov_)
        for column, value in whole.items():
            assert found.table.loc[level, column] == pytest.approx(value, rel=2e-6, abs=1e-9)


def influence_of(model, coef, covariance):
    """Cook's distance, MDFFITS and the ratio of determinants, by their definitions."""
    move = np.append(model.intercept_, model.coef_) - coef
    return {
        "cooks_distance": move @ np.linalg.inv(model.coef_cov_) @ move / len(move),
        "mdffits": move @ np.linalg.inv(covariance) @ move / len(move),
        "covariance_ratio": np.linalg.det(covariance) / np.linalg.det(model.coef_cov_),
    }


def dense_without(model, frame, kept, weights=None):
    """Generalised least squares of some rows at the variances of a fit, and its covariance."""
    fitted = fitted_model(model)
    design = fitted.encode(frame).design
    V = np.diag(np.full(len(frame), model.noise_variance_))
    if design.precision_weights is not None:
        V /= design.precision_weights
    if weights is not None:
        V /= weights
    relations = fitted.settings.options(fitted.encoder).across or (None,) * len(design.factors)
    for factor, part, root in zip(design.factors, fitted.result.factors, relations, strict=True):
        across = np.eye(factor.n_levels) if root is None else root @ root.T
        z = factor.loadings()
        V += across[np.ix_(factor.codes, factor.codes)] * (z @ part.covariance @ z.T)
    inverse = np.linalg.inv(V[np.ix_(kept, kept)])
    X, y = design.fixed[kept], np.asarray(model._kept.y, float)[kept]
    covariance = np.linalg.inv(X.T @ inverse @ X)
    return covariance @ (X.T @ inverse @ y), covariance


def check_held(model, frame, found, labels, weights=None):
    for level in some(found.table.index, 3):
        kept = np.array([k for k, label in enumerate(labels) if label != level])
        coef, covariance = dense_without(model, frame, kept, weights)
        errors = np.sqrt(np.diagonal(covariance))
        np.testing.assert_allclose(found.coef.loc[level] / errors, coef / errors, atol=1e-6)
        whole = influence_of(model, coef, covariance)
        for column, value in whole.items():
            assert found.table.loc[level, column] == pytest.approx(value, rel=1e-6, abs=1e-10)
        assert found.table.loc[level, "sigma"] == pytest.approx(np.sqrt(model.noise_variance_))


@pytest.mark.parametrize("solver", ["direct", "iterative"])
@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("name", SETS)
def test_held_as_dense(name, method, solver):
    (formula, frame, options), by = SETS[name][0](), SETS[name][1]
    model = mixed(formula, frame, method=method, solver=solver, **options)
    found = influence(model, by, variances="held")
    check_held(model, frame, found, frame[by])


@pytest.mark.parametrize("name", ["students", "lecturers", "sleepstudy", "melanoma"])
def test_large_groups_are_left_out_of_sums(name, monkeypatch):
    (formula, frame, options), by = SETS[name][0](), SETS[name][1]
    model = mixed(formula, frame, **options)
    by_rows = influence(model, by, variances="held")
    monkeypatch.setattr("skmixed.results.left_out._MOST_ROWS", 0)
    by_sums = influence(model, by, variances="held")
    np.testing.assert_allclose(by_sums.coef, by_rows.coef, rtol=1e-8)
    np.testing.assert_allclose(by_sums.table, by_rows.table, rtol=1e-6, atol=1e-12)
    monkeypatch.setattr("skmixed.results.left_out._LARGEST_TAIL", 0)
    monkeypatch.setattr("skmixed.solvers.direct.MOST_LOADINGS", 0)
    np.testing.assert_allclose(influence(model, by, variances="held").coef, by_rows.coef, rtol=1e-8)


def test_case_weights_and_an_array_of_labels():
    _, frame, _ = growth()
    weights = np.tile([1.0, 2.0, 3.0], len(frame) // 3)
    X, y = frame[["Days", "Subject"]], frame["Reaction"]
    model = MixedEffectsVIRegressor("(Days | Subject)", keep_data=True).fit(X, y, weights)
    halves = np.where(np.arange(len(frame)) % 7 < 3, "first", "other")
    found = influence(model, halves, variances="held")
    check_held(model, X, found, halves, weights)
    estimated = influence(model, halves)
    kept = halves != "first"
    again = MixedEffectsVIRegressor("(Days | Subject)").fit(X[kept], y[kept], weights[kept])
    assert estimated.coef.loc["first"].tolist() == pytest.approx(
        [again.intercept_, *again.coef_], rel=1e-6
    )


def test_related_levels():
    _, frame, _ = growth()
    labels = frame["Subject"].unique()
    relation = Relationship(0.4 + 0.6 * np.eye(len(labels)), labels)
    model = mixed("Reaction ~ Days + (1 | Subject)", frame, relations={"Subject": relation})
    found = influence(model, "Subject", variances="held")
    check_held(model, frame, found, frame["Subject"])
    estimated = influence(model, "Subject")
    assert np.abs(estimated.coef - found.coef).to_numpy().max() < 2.0


def test_a_level_that_a_coefficient_depends_on():
    _, frame, _ = data_of("oats")
    model = mixed("yield ~ Variety + nitro + (1 | Block)", frame)
    for variances in ("held", "estimated"):
        found = influence(model, "Variety", variances=variances)
        left = frame[frame["Variety"] != "Victory"].copy()
        again = mixed("yield ~ Variety + nitro + (1 | Block)", left)
        for name, value in zip(again.coef_names_, again.coef_, strict=True):
            if variances == "estimated":
                assert found.coef.loc["Victory", name] == pytest.approx(value, rel=1e-6)
        lost = [c for c in found.coef.columns if "Victory" in c]
        assert lost
        assert (found.coef.loc["Victory", lost] == 0.0).all()


def test_combinations_that_the_model_groups_by():
    formula, frame, _ = data_of("oats")
    model = mixed(formula, frame)
    found = influence(model, "Block:Variety", variances="held")
    plots = frame["Block"].astype(str) + ":" + frame["Variety"].astype(str)
    assert len(found.table) == plots.nunique()
    check_held(model, frame, found, plots)


def test_strata_are_fitted_again():
    _, frame, _ = growth()
    frame = frame.assign(half=np.where(frame["Days"] < 5, "early", "late"))
    model = mixed("Reaction ~ Days + (1 | Subject)", frame, dispersion="half")
    found = influence(model, "Subject")
    left = frame[frame["Subject"] != 309]
    again = mixed("Reaction ~ Days + (1 | Subject)", left, dispersion="half")
    assert found.coef.loc[309].tolist() == pytest.approx([again.intercept_, *again.coef_], rel=1e-5)


def test_a_variance_at_zero():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"g": np.repeat(np.arange(12), 5), "x": rng.normal(size=60)})
    frame["y"] = frame["x"] + rng.normal(size=60)
    with pytest.warns(SingularFitWarning):
        model = mixed("y ~ x + (1 | g)", frame, tol=1e-9)
    found = influence(model, "g")
    for level in (0, 5, 11):
        again = MixedEffectsVIRegressor(formula="x + (1 | g)", tol=1e-9)
        left = frame[frame["g"] != level]
        again.fit(left[["x", "g"]], left["y"])
        assert found.coef.loc[level].tolist() == pytest.approx(
            [again.intercept_, *again.coef_], rel=1e-6
        )


def rings(n=1600):
    """Rows of 200 groups crossed with 40 others."""
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({"g": np.arange(n) % 200, "h": rng.integers(0, 40, n)})
    frame["x"] = rng.normal(size=n)
    frame["y"] = frame["x"] + rng.normal(size=200)[frame["g"]] + rng.normal(size=40)[frame["h"]]
    return frame.assign(y=frame["y"] + rng.normal(size=n))


@cache
def one_by_one_in_rings(**options):
    """A model of the rings, and the influence of its groups by a fit for each."""
    model = mixed("y ~ x + (1 | g) + (1 | h)", rings(), tol=1e-9, **options)
    return model, influence(model, "g")


@pytest.mark.parametrize("options", [{}, {"method": "ml"}, {"noise_scale": 1.0}])
def test_many_groups_by_polynomials(options, monkeypatch):
    model, one_by_one = one_by_one_in_rings(**options)
    monkeypatch.setattr("skmixed.results.left_out._SMALL_TAIL", 0)
    calls = []
    fit = RowDeletions._estimated
    monkeypatch.setattr(
        RowDeletions, "_estimated", lambda self, group: calls.append(group) or fit(self, group)
    )
    found = influence(model, "g")
    # a few are fitted to check the polynomials
    assert 0 < len(calls) < 15
    errors = np.sqrt(np.diagonal(model.coef_cov_))
    assert np.abs((found.coef - one_by_one.coef) / errors).to_numpy().max() < 1e-6
    np.testing.assert_allclose(found.table, one_by_one.table, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(found.table["sigma"], one_by_one.table["sigma"], rtol=1e-7)


def test_polynomials_that_fail_their_check_are_not_used(monkeypatch):
    model, one_by_one = one_by_one_in_rings()
    monkeypatch.setattr("skmixed.results.left_out._SMALL_TAIL", 0)
    monkeypatch.setattr("skmixed.results.left_out._REACH", 40.0)
    monkeypatch.setattr("skmixed.results.left_out._SAME", 1e-15)
    found = influence(model, "g")
    np.testing.assert_array_equal(found.coef, one_by_one.coef)


@pytest.mark.parametrize("degree", [4, 8])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_grid_of_nodes(m, degree):
    grid, rng = Grid.of(m, degree), np.random.default_rng(m)
    weights = rng.standard_normal((grid.size, 2))
    values = grid.monomials(grid.nodes) @ weights
    np.testing.assert_allclose(grid.coefficients(values), weights, atol=1e-7)
    at = rng.uniform(-1, 1, (5, m))
    for i, step in enumerate(1e-5 * np.eye(m)):
        slope = (grid.monomials(at + step) - grid.monomials(at - step)) / 2e-5
        np.testing.assert_allclose(grid.derivative(at, (i,)), slope, atol=1e-8)
        for j in range(m):
            bend = grid.derivative(at + step, (j,)) - grid.derivative(at - step, (j,))
            np.testing.assert_allclose(grid.derivative(at, (i, j)), bend / 2e-5, atol=1e-7)
    # a bowl with its bottom at 0.3, seen by its values alone
    bowls = ((grid.nodes - 0.3) ** 2).sum(axis=1)[:, None]
    places, found = minima(grid, grid.coefficients(bowls))
    assert found.all()
    np.testing.assert_allclose(places, 0.3, atol=1e-9)
