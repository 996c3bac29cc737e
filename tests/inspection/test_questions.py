"""Questions about fitted models: dense computations, other families, and refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2

from skmixed import (
    MixedEffectsVIClassifier,
    MixedEffectsVIRegressor,
    RandomEffect,
    anova,
    check_residuals,
    contrasts,
    drop_terms,
    influence,
    marginal_effects,
    marginal_means,
    mixed,
    profile,
    robust_covariance,
)
from skmixed.datasets import load_sleepstudy, make_mixed_classification
from skmixed.fitted_model import fitted_model
from skmixed.inspection.adjustments import ADJUSTMENTS, Family
from skmixed.inspection.coefficient_questions import CoefficientQuestions
from skmixed.results import reopened


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(5)
    n = 160
    g, h = rng.integers(14, size=n), rng.integers(6, size=n)
    kind = rng.choice(list("abc"), size=n, p=[0.5, 0.3, 0.2])
    x = rng.standard_normal(n)
    effects = rng.standard_normal((14, 2)) * 0.8
    eta = 0.4 * x + (kind == "b") + effects[g, 0] + effects[g, 1] * x
    eta += 0.5 * rng.standard_normal(6)[h]
    return pd.DataFrame(
        {
            "x": x, "kind": kind, "g": [f"g{k}" for k in g], "h": [f"h{k}" for k in h],
            "y": eta + rng.standard_normal(n), "count": rng.poisson(np.exp(0.4 * eta)),
            "good": (eta + rng.logistic(size=n) > 0.3).astype(int),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def counts(frame):
    return mixed("count ~ kind + x + (1 | g)", frame, family="poisson")


def dense_kenward_roger(model, frame, pieces, columns):
    """Adjusted covariance and degrees of freedom of coefficients, from matrices of all rows.

    `pieces` are the derivatives of V by its parameters, the noise's first.
    """
    X = np.column_stack([np.ones(len(frame)), *columns])
    amounts = pieces["amounts"]
    matrices = pieces["matrices"]
    V = sum(a * M for a, M in zip(amounts, matrices, strict=True))
    inverse = np.linalg.inv(V)
    Phi = np.linalg.inv(X.T @ inverse @ X)
    P = [-X.T @ inverse @ M @ inverse @ X for M in matrices]
    projector = inverse - inverse @ X @ Phi @ X.T @ inverse
    m = len(matrices)
    information = np.array(
        [[np.trace(projector @ A @ projector @ B) for B in matrices] for A in matrices]
    )
    W = 2.0 * np.linalg.inv(information)
    inner = sum(
        W[i, j]
        * (X.T @ inverse @ matrices[i] @ inverse @ matrices[j] @ inverse @ X - P[i] @ Phi @ P[j])
        for i in range(m)
        for j in range(m)
    )
    adjusted = Phi + 2.0 * Phi @ inner @ Phi
    df = []
    for k in range(len(Phi)):
        traces = np.array([(Phi @ part @ Phi)[k, k] / Phi[k, k] for part in P])
        A = traces @ W @ traces
        # one contrast: the approximation has no more to it
        g = (2 * A - 5 * A) / (3 * A)
        base = 3 + 2 * (1 - g)
        B = 3.5 * A
        V0, V1, V2 = 1 + g / base * B, 1 - (1 - g) / base * B, 1 - (3 - g) / base * B
        rho = ((1 - A) / V1) ** 2 * V0 / V2
        df.append(4 + 3 / (rho - 1))
    return adjusted, np.array(df)


@pytest.mark.parametrize("covariance", ["unstructured", "isotropic"])
def test_kenward_roger_of_crossed_slopes(frame, covariance):
    model = MixedEffectsVIRegressor(
        [RandomEffect("g", slopes=["x"], covariance=covariance), "h"], keep_data=True
    ).fit(frame[["x", "g", "h"]], frame["y"])
    fitted = fitted_model(model)
    Z = pd.get_dummies(frame["g"]).to_numpy(float)
    Zx, Zh = Z * frame["x"].to_numpy()[:, None], pd.get_dummies(frame["h"]).to_numpy(float)
    sigma, of_h = (factor.covariance for factor in fitted.result.factors)
    noise, eye = fitted.result.noise_variance, np.eye(len(frame))
    if covariance == "isotropic":
        matrices, amounts = [Z @ Z.T + Zx @ Zx.T], [sigma[0, 0]]
    else:
        matrices = [Z @ Z.T, Z @ Zx.T + Zx @ Z.T, Zx @ Zx.T]
        amounts = [sigma[0, 0], sigma[0, 1], sigma[1, 1]]
    pieces = {
        "matrices": [eye, *matrices, Zh @ Zh.T], "amounts": [noise, *amounts, of_h[0, 0]],
    }  # fmt: skip
    expected, df = dense_kenward_roger(fitted, frame, pieces, [frame["x"]])
    found = CoefficientQuestions.of(fitted, fitted.data, "kenward-roger", "test")
    np.testing.assert_allclose(found.covariance, expected, rtol=1e-6)
    np.testing.assert_allclose(found.estimates(np.eye(2), 0.95)["df"], df, rtol=1e-5)


def test_wald_tests_of_other_responses(frame, counts):
    table = anova(counts).to_frame()
    summary = counts.summary(test="z").to_frame()
    assert table.loc["x", "chi_square"] == pytest.approx(summary.loc["x", "statistic"] ** 2)
    covariance = counts.cov_params().to_numpy()[1:3, 1:3]
    b = counts.coef_[:2]
    chi_square = b @ np.linalg.solve(covariance, b)
    assert table.loc["kind", "chi_square"] == pytest.approx(chi_square, rel=1e-6)
    assert table.loc["kind", "p_value"] == pytest.approx(chi2.sf(chi_square, 2), rel=1e-6)
    assert "asymptotic" in str(anova(counts))


def test_terms_of_other_responses(frame, counts):
    table = drop_terms(counts).to_frame()
    without = mixed("count ~ x + (1 | g)", frame, family="poisson")
    assert table.loc["kind", "log_likelihood"] == pytest.approx(without.elbo_, abs=1e-6)
    assert table.loc["kind", "n_parameters"] == without.n_parameters_
    random = drop_terms(counts, kind="random").to_frame()
    fixed_alone = mixed("count ~ kind + x", frame, family="poisson")
    assert random.loc["(1 | g)", "log_likelihood"] == pytest.approx(fixed_alone.elbo_, abs=1e-6)
    assert random.loc["(1 | g)", "p_corrected"] == random.loc["(1 | g)", "p_value"] / 2


def test_random_terms_of_one_group(frame):
    """A term beside others of its group leaves alone."""
    model = mixed("y ~ x + (1 | g) + (0 + x | g) + (1 | h)", frame)
    table = drop_terms(model, kind="random").to_frame()
    for term, formula in {
        "(1 | g)": "y ~ x + (0 + x | g) + (1 | h)", "(0 + x | g)": "y ~ x + (1 | g) + (1 | h)",
        "(1 | h)": "y ~ x + (1 | g) + (0 + x | g)",
    }.items():  # fmt: skip
        without = mixed(formula, frame)
        assert table.loc[term, "log_likelihood"] == pytest.approx(without.elbo_, abs=1e-5)


def test_means_of_counts(frame, counts):
    """Population means of a log link: half the variance of the groups on top."""
    means = marginal_means(counts, "kind").to_frame().set_index("kind")
    variance = counts.random_effects_cov_["g"].iloc[0, 0]
    predictor = counts.intercept_ + counts.coef_[2] * frame["x"].mean()
    assert means.loc["a", "estimate"] == pytest.approx(np.exp(predictor + variance / 2))
    zero = marginal_means(counts, "kind", random_effects="zero").to_frame().set_index("kind")
    assert zero.loc["a", "estimate"] == pytest.approx(np.exp(predictor))
    link = marginal_means(counts, "kind", scale="link").to_frame().set_index("kind")
    assert link.loc["a", "estimate"] == pytest.approx(predictor)
    pairs = contrasts(marginal_means(counts, "kind")).to_frame()
    assert pairs.loc["a - b", "estimate"] == pytest.approx(-counts.coef_[0])


def test_marginal_effects_of_a_logarithmic_link(frame, counts):
    """The mean derivative is the coefficient times the mean response."""
    found = marginal_effects(counts, "x").to_frame().iloc[0]
    variance = counts.random_effects_cov_["g"].iloc[0, 0]
    shift = np.select([frame["kind"] == "b", frame["kind"] == "c"], counts.coef_[:2], 0.0)
    eta = counts.intercept_ + counts.coef_[2] * frame["x"] + shift
    expected = counts.coef_[2] * np.exp(eta + variance / 2).mean()
    assert found["estimate"] == pytest.approx(expected, rel=1e-5)
    labels = marginal_effects(counts, "kind").to_frame()["contrast"].tolist()
    assert labels == ["b - a", "c - a"]


def test_effects_on_a_probability_are_found_again():
    """Average effects of a large sample are differences of its expected shares."""
    X, y, _ = make_mixed_classification(4000, 1, (50,), coef=[0.8], random_state=0)
    model = MixedEffectsVIClassifier("g0").fit(X, y)
    effect = marginal_effects(model, "x0", X).to_frame().iloc[0]
    step = 1e-3
    above, below = (
        model.predict_proba(X.assign(x0=X["x0"] + s, g0=-1))[:, 1] for s in (step, -step)
    )
    expected = (above - below).mean() / (2 * step)
    assert effect["estimate"] == pytest.approx(expected, rel=0.02)
    assert effect["lower"] < expected < effect["upper"]


def test_other_data_frames(frame, counts):
    polars = pytest.importorskip("polars")
    X = polars.from_pandas(frame[["x", "kind", "g"]])
    model = MixedEffectsVIRegressor("g", family="poisson", keep_data=True)
    model.fit(X, frame["count"].to_numpy())
    for ask in (
        lambda m: marginal_effects(m, ["x", "kind"]), lambda m: marginal_means(m, "kind"), anova,
    ):  # fmt: skip
        found, expected = ask(model).to_frame(), ask(counts).to_frame()
        numbers = [name for name in expected if expected[name].dtype == float]
        np.testing.assert_allclose(
            found[numbers].sort_values(numbers[0]),
            expected[numbers].sort_values(numbers[0]),
            rtol=1e-5,
        )


def test_variances_held(frame):
    model = mixed("y ~ x + (x | g) + (1 | h)", frame)
    found = influence(model, "g", variances="held")
    fitted = fitted_model(model)
    sigma, of_h = (factor.covariance for factor in fitted.result.factors)
    X = np.column_stack([np.ones(len(frame)), frame["x"]])
    Z = pd.get_dummies(frame["g"]).to_numpy(float)
    Zx, Zh = Z * X[:, [1]], pd.get_dummies(frame["h"]).to_numpy(float)
    V = fitted.result.noise_variance * np.eye(len(frame)) + of_h[0, 0] * Zh @ Zh.T
    V += sigma[0, 0] * Z @ Z.T + sigma[1, 1] * Zx @ Zx.T + sigma[0, 1] * (Z @ Zx.T + Zx @ Z.T)
    for level in ("g0", "g5"):
        kept = np.flatnonzero(frame["g"] != level)
        inverse = np.linalg.inv(V[np.ix_(kept, kept)])
        expected = np.linalg.solve(
            X[kept].T @ inverse @ X[kept], X[kept].T @ inverse @ frame["y"].to_numpy()[kept]
        )
        np.testing.assert_allclose(found.coef.loc[level], expected, rtol=1e-7)
    again = influence(model, "g")
    assert np.abs(again.coef - found.coef).to_numpy().max() < 0.1


def test_two_ways_of_clusters(frame):
    model = mixed("y ~ x + (1 | g)", frame)
    one, other, both = (
        robust_covariance(model, groups, kind="CR0").cov
        for groups in ("g", frame["h"], frame["g"] + frame["h"])
    )
    np.testing.assert_allclose(robust_covariance(model, ["g", frame["h"]]).cov, one + other - both)
    with pytest.raises(ValueError, match="needs one-way clusters"):
        robust_covariance(model, ["g", frame["h"]], kind="CR2")
    with pytest.raises(ValueError, match="has rows in several clusters"):
        robust_covariance(model, frame["h"], kind="CR2")


def test_a_true_model_passes_and_a_false_one_does_not(frame):
    rng = np.random.default_rng(0)
    rows = frame.assign(count=rng.negative_binomial(0.5, 0.1, len(frame)))
    false = check_residuals(
        mixed("count ~ x + (1 | g)", rows, family="poisson"), n_samples=250, random_state=1
    ).to_frame()
    assert false.loc["uniformity", "p_value"] < 1e-6
    assert false.loc["zeros", "statistic"] > 2.0
    true = mixed("count ~ x + (1 | g)", rows, family="negative_binomial")
    first, second = (check_residuals(true, n_samples=250, random_state=1) for _ in range(2))
    np.testing.assert_array_equal(first.residuals, second.residuals)
    assert (first.to_frame()["p_value"] > 0.01).all()


def test_the_largest_of_correlated_variables():
    """The quadrature over a common factor against the distribution of many variables."""
    loadings = np.array([0.6, 0.7, 0.5])
    correlation = np.outer(loadings, loadings)
    np.fill_diagonal(correlation, 1.0)
    statistics, df = np.array([1.5, 2.4, 3.0]), np.full(3, 17.0)
    exact = ADJUSTMENTS["dunnett"].p_values(Family(statistics, df, correlation, 4))
    draws = np.random.default_rng(0)
    z = draws.multivariate_normal(np.zeros(3), correlation, 400_000)
    largest = np.abs(z / np.sqrt(draws.chisquare(17, 400_000) / 17)[:, None]).max(axis=1)
    shares = [(largest > t).mean() for t in statistics]
    np.testing.assert_allclose(exact, shares, atol=3e-3)
    # correlations that no common factor gives
    correlation[0, 1] = correlation[1, 0] = -0.3
    general = ADJUSTMENTS["dunnett"].p_values(Family(statistics, df, correlation, 4))
    assert (general >= exact - 0.02).all()


def test_plots(frame):
    pytest.importorskip("matplotlib")
    model = mixed("y ~ x + (1 | g)", frame)
    assert check_residuals(model, n_samples=20, random_state=0).plot().get_xlabel()
    assert influence(model, "g").plot(n_largest=5).get_xlabel() == "Cook's distance"
    assert profile(model, parameters=["x"]).plot()[0].get_xlabel() == "x"


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda m: anova(m, type=4), "type=4 is not known"),
        (lambda m: anova(m, ddf="barlett"), "ddf='barlett' is not known"),
        (lambda m: anova(m, hypothesis=[[1.0, 0.0]]), "needs 4 numbers per row"),
        (lambda m: anova(m, hypothesis=np.zeros((1, 4))), "does not restrict the coefficients"),
        (lambda m: marginal_means(m, "g"), "not a column of the fixed effects"),
        (lambda m: marginal_means(m, "kind", at={"kind": "z"}), "whose levels are 'a', 'b', 'c'"),
        (lambda m: marginal_means(m, "x", slope_of="kind"), "which has no slope"),
        (
            lambda m: contrasts(marginal_means(m, "kind"), "polynomial", adjust="tukey"),
            "needs method",
        ),
        (lambda m: contrasts(marginal_means(m, "kind"), [[1.0, -1.0]]), "there are 3 means"),
        (lambda m: contrasts(m), "result of marginal_means"),
        (lambda m: contrasts(marginal_means(m, "kind"), interaction=True), "two or more columns"),
        (lambda m: drop_terms(m, kind="all"), "kind='all' is not known"),
        (lambda m: robust_covariance(m, "nobody"), "not a column of X"),
        (lambda m: influence(m, np.zeros(160)), "a single label"),
        (lambda m: check_residuals(m, n_samples=3), "too small"),
        (lambda m: marginal_effects(m, "g"), "not a column of the fixed effects"),
        (lambda m: profile(m, parameters=["sd[nobody]"]), "which is not one of"),
    ],
)
def test_refusals(frame, ask, words):
    with pytest.raises((ValueError, TypeError), match=words):
        ask(mixed("y ~ kind + x + (1 | g)", frame))


def test_what_kenward_roger_does_not_know(frame):
    asked = {"ddf": "kenward-roger"}
    with pytest.raises(ValueError, match="needs restricted likelihood"):
        anova(mixed("y ~ x + (1 | g)", frame, method="ml"), **asked)
    with pytest.raises(ValueError, match="dispersion="):
        anova(mixed("y ~ x + (1 | g)", frame, dispersion="kind"), **asked)


def test_kenward_roger_takes_the_direct_solver(monkeypatch):
    """Where a model leaves the choice, and a sparse factor was cheaper for the fit."""
    rng = np.random.default_rng(0)
    machine = np.repeat(np.arange(700), 2)
    frame = pd.DataFrame({"a": machine, "b": machine + np.tile([0, 1], 700)})
    frame["x"] = rng.standard_normal(1400)
    frame["y"] = rng.standard_normal(701)[frame["a"]] + rng.standard_normal(1400)
    formula = "y ~ x + (1 | a) + (1 | b)"
    chosen, direct = mixed(formula, frame), mixed(formula, frame, solver="direct")
    assert chosen.solver_ == "iterative"
    tables = [anova(model, ddf="kenward-roger").to_frame() for model in (chosen, direct)]
    np.testing.assert_allclose(*tables, rtol=1e-4)
    monkeypatch.setattr(reopened, "_MOST_OPERATIONS", 1e6)
    again = mixed(formula, frame, solver="direct")
    assert "Monte Carlo" in str(anova(again, ddf="kenward-roger"))
    # what was computed once is not computed again
    assert "Monte Carlo" not in str(anova(direct, ddf="kenward-roger"))


def test_models_without_their_data():
    frame = load_sleepstudy().frame
    model = MixedEffectsVIRegressor("(Days | Subject)")
    model.fit(frame[["Days", "Subject"]], frame["Reaction"])
    with pytest.raises(ValueError, match="keep_data=True"):
        anova(model)
    table = anova(model, frame[["Days", "Subject"]], frame["Reaction"]).to_frame()
    assert table.loc["Days", "F"] == pytest.approx(45.853, abs=1e-3)


def test_empty_cells_are_told():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"a": rng.choice(list("uv"), 120), "b": rng.choice(list("xyz"), 120),
         "g": rng.integers(10, size=120).astype(str), "y": rng.standard_normal(120)}
    )  # fmt: skip
    frame = frame[(frame["a"] != "v") | (frame["b"] != "z")]
    with pytest.warns(UserWarning, match="were left out"):
        model = mixed("y ~ a * b + (1 | g)", frame)
    means = marginal_means(model, ["a", "b"])
    table = means.to_frame().set_index(["a", "b"])
    assert np.isnan(table.loc[("v", "z"), "estimate"])
    assert table.drop(("v", "z")).notna().all(axis=None)
    assert "cannot be estimated" in str(means)
    assert np.isnan(marginal_means(model, "b").to_frame().set_index("b").loc["z", "estimate"])
    with pytest.raises(ValueError, match="Type 3 tests"):
        anova(model)
    assert anova(model, type=2).to_frame().loc["a:b", "num_df"] == 1.0
