"""Structured covariances, related levels and noise by stratum, beside the dense likelihood."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from skmixed import (
    MixedEffectsVIClassifier,
    MixedEffectsVIRegressor,
    RandomEffect,
    Relationship,
    compare_models,
    mixed,
)
from skmixed.fitted_model import fitted_model
from skmixed.inspection.simulation import ResponseSimulator

N, LEVELS, OTHERS = 240, 18, 9
LABELS = [f"g{k}" for k in range(LEVELS + 3)]


def kinship(seed=4):
    """A relation of more levels than have rows, one of them twice: it is singular."""
    half = np.random.default_rng(seed).standard_normal((LEVELS + 3, 40))
    half[-1] = half[0]
    return Relationship(half @ half.T / 40.0, LABELS)


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    g, h = rng.integers(LEVELS, size=N), rng.integers(OTHERS, size=N)
    x, kind = rng.standard_normal(N), rng.integers(3, size=N)
    effects = rng.standard_normal((LEVELS, 3)) @ np.linalg.cholesky(0.5 * np.eye(3) + 0.3).T
    y = 1.0 + 0.5 * x + effects[g, kind] + 0.6 * rng.standard_normal(OTHERS)[h]
    y += np.array([0.4, 0.8, 1.5])[kind] * rng.standard_normal(N)
    return pd.DataFrame(
        {
            "y": y, "x": x, "kind": np.array(["a", "b", "c"])[kind],
            "g": np.array(LABELS)[g], "h": [f"h{k}" for k in h],
        }
    )  # fmt: skip


class Dense:
    """The (restricted) log likelihood of a marginal covariance, and its best parameters.

    `covariance` makes an (n, n) matrix of the parameters.
    """

    def __init__(self, frame, covariance, method="reml", fixed=("x",)):
        self.y = frame["y"].to_numpy()
        self.X = np.column_stack([np.ones(len(frame)), *(frame[name] for name in fixed)])
        self.covariance, self.method = covariance, method

    def loglik(self, parameters):
        lower = np.linalg.cholesky(self.covariance(parameters))
        both = solve_triangular(lower, np.column_stack([self.X, self.y]), lower=True)
        X, y = both[:, :-1], both[:, -1]
        gram = X.T @ X
        rest = y - X @ np.linalg.solve(gram, X.T @ y)
        deviance = 2.0 * np.log(np.diagonal(lower)).sum() + rest @ rest
        df = len(y)
        if self.method == "reml":
            deviance += np.linalg.slogdet(gram)[1]
            df -= X.shape[1]
        return -0.5 * (deviance + df * np.log(2.0 * np.pi))

    def best(self, start):
        return minimize(lambda p: -self.loglik(p), start, method="BFGS", options={"gtol": 1e-7})


def indicators(frame, column, labels=None):
    labels = sorted(set(frame[column])) if labels is None else labels
    return (frame[column].to_numpy()[:, None] == np.array(labels)).astype(float)


def by_kind(frame):
    """Design (n, L, 3) of an effect per kind of the levels of g."""
    return indicators(frame, "g")[:, :, None] * indicators(frame, "kind")[:, None]


def compound(sds, rho):
    correlation = np.full((3, 3), rho)
    np.fill_diagonal(correlation, 1.0)
    return np.outer(sds, sds) * correlation


STRUCTURED = {
    # formula: parameters to Omega, and where to start
    "homdiag": (lambda p: p[0] ** 2 * np.eye(3), [0.7]),
    "homcs": (lambda p: compound(np.full(3, p[0]), np.tanh(p[1])), [0.7, 0.4]),
    "cs": (lambda p: compound(p[:3], np.tanh(p[3])), [0.7, 0.7, 0.7, 0.4]),
}


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("word", STRUCTURED)
def test_structures_reach_the_best_likelihood(frame, word, method):
    omega, start = STRUCTURED[word]
    Z = by_kind(frame)

    def covariance(p):
        effects = (Z @ omega(p)).reshape(N, -1) @ Z.reshape(N, -1).T
        return effects + p[-1] ** 2 * np.eye(N)

    best = Dense(frame, covariance, method).best([*start, 0.9])
    formula = f"x + {word}(0 + kind | g)"
    model = MixedEffectsVIRegressor(formula=formula, method=method).fit(frame, frame["y"])
    assert model.elbo_ == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose(model.random_effects_cov_["g"], omega(best.x), atol=2e-4)


@pytest.mark.parametrize(
    ("effect", "formula"),
    [
        (RandomEffect("g", ["kind"], False, "isotropic"), "homdiag(0 + kind | g)"),
        (RandomEffect("g", ["kind"], False, "diagonal", True), "diag(0 + kind | g, hom=TRUE)"),
        (RandomEffect("g", ["kind"], False, "compound_symmetry"), "cs(0 + kind | g)"),
        (
            RandomEffect("g", ["kind"], False, "compound_symmetry", homogeneous=True),
            "cs(0 + kind | g, hom=TRUE)",
        ),
        (RandomEffect("g", ["x"]), "us(1 + x | g)"),
        (RandomEffect("g", ["x"], covariance="diagonal"), "(1 + x || g)"),
    ],
)
def test_objects_and_formulas_say_the_same(frame, effect, formula):
    X = frame[["x", "kind", "g"]]
    asked = MixedEffectsVIRegressor([effect], fixed_effects=["x"]).fit(X, frame["y"])
    written = MixedEffectsVIRegressor(formula=f"x + {formula}").fit(X, frame["y"])
    assert asked.elbo_ == written.elbo_


@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize("word", STRUCTURED)
def test_levels_of_large_factors(frame, word, posterior):
    """The structure in the tail, beside a larger factor; both solvers, and both posteriors."""
    data = frame.assign(id=[f"i{k // 2}" for k in range(N)])
    formula = f"x + {word}(0 + kind | g) + (1 | id)"
    direct, iterative = (
        MixedEffectsVIRegressor(formula=formula, solver=solver, posterior=posterior).fit(
            data, data["y"]
        )
        for solver in ("direct", "iterative")
    )
    assert direct.converged_
    assert iterative.converged_
    assert iterative.elbo_ == pytest.approx(direct.elbo_, abs=0.02 + 4.0 * iterative.elbo_std_)


@pytest.mark.parametrize("word", STRUCTURED)
def test_structures_of_other_responses(frame, word):
    """At the variational optimum no structure does better than any matrix."""
    late = frame["y"] > frame["y"].median()
    fits = [
        MixedEffectsVIClassifier(formula=f"x + {w}(0 + kind | g)").fit(frame, late)
        for w in (word, "us")
    ]
    assert fits[0].converged_
    assert fits[0].elbo_ <= fits[1].elbo_ + 1e-6


def test_structures_are_counted(frame):
    model = MixedEffectsVIRegressor(formula="x + homcs(0 + kind | g)").fit(frame, frame["y"])
    assert "AIC" in str(model.summary())
    assert "5 parameters" in str(model.summary())


def test_special_cases_are_nested(frame):
    fits = {
        word: MixedEffectsVIRegressor(formula=f"x + {word}(0 + kind | g)", method="ml").fit(
            frame, frame["y"]
        )
        for word in ("homdiag", "homcs", "cs", "us")
    }
    for smaller, larger in pairwise(fits):
        table = compare_models(fits[smaller], fits[larger])
        assert table.to_frame()["p_value"].notna().any()
        assert f"{smaller}(kind[a] + kind[b] + kind[c] | g)" in str(table)
        with_rows = compare_models(fits[smaller], fits[larger], X=frame)
        assert with_rows.to_frame().equals(table.to_frame())
    strata = MixedEffectsVIRegressor(
        formula="x + us(0 + kind | g)", method="ml", dispersion="kind"
    ).fit(frame, frame["y"])
    assert compare_models(fits["us"], strata).to_frame()["df"].iloc[-1] == 2


def test_refused_structures():
    with pytest.raises(ValueError, match=r"covariance='band'.*is not known; use 'unstructured'"):
        RandomEffect("g", covariance="band")
    with pytest.raises(ValueError, match=r"homogeneous=True.*means nothing"):
        RandomEffect("g", homogeneous=True)
    with pytest.raises(ValueError, match=r"cs\(\) .*needs a bar term"):
        MixedEffectsVIRegressor(formula="cs(x)").fit([[1.0], [2.0]], [1.0, 2.0])
    with pytest.raises(ValueError, match="takes no such argument"):
        mixed("y ~ us(1 + x | g, hom=TRUE)", pd.DataFrame({"y": [1.0], "x": [1.0], "g": ["a"]}))


# Related levels ---------------------------------------------------------------------------


@pytest.mark.parametrize("beside", ["", " + (1 | h)", " + (1 | id)"])
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_related_levels_reach_the_best_likelihood(frame, method, beside):
    """Alone, and with a smaller and a larger factor beside it; slopes too."""
    relation, data = kinship(), frame.assign(id=[f"i{k // 3}" for k in range(N)])
    Zg = indicators(data, "g", LABELS)
    Z = np.stack([Zg, Zg * data[["x"]].to_numpy()], axis=2).reshape(N, -1)
    other = None
    if beside:
        other = indicators(data, "h" if "h" in beside else "id")

    def covariance(p):
        root = np.array([[p[0], 0.0], [p[1], p[2]]])
        out = Z @ np.kron(relation.matrix, root @ root.T) @ Z.T + p[3] ** 2 * np.eye(N)
        return out if other is None else out + p[4] ** 2 * other @ other.T

    dense = Dense(data, covariance, method)
    best = dense.best([0.7, 0.1, 0.3, 0.9, 0.5][: 5 if beside else 4])
    model = MixedEffectsVIRegressor(
        formula=f"x + (x | g){beside}", relations={"g": relation}, method=method
    ).fit(data, data["y"])
    assert model.elbo_ == pytest.approx(-best.fun, abs=1e-6)

    effects = np.kron(relation.matrix, model.random_effects_cov_["g"])
    V = covariance(best.x)
    within = np.linalg.solve(V, dense.X)
    inverse = np.linalg.inv(V)
    projector = inverse - within @ np.linalg.solve(dense.X.T @ within, within.T)
    means = (effects @ Z.T @ projector @ dense.y).reshape(-1, 2)
    np.testing.assert_allclose(model.random_effects_["g"].loc[LABELS], means, atol=2e-3)
    if method == "reml":
        posterior = effects - effects @ Z.T @ projector @ Z @ effects
        sds = np.sqrt(np.diagonal(posterior)).reshape(-1, 2)
        np.testing.assert_allclose(model.random_effects_std_["g"].loc[LABELS], sds, atol=2e-3)


@pytest.mark.parametrize("family", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("formula", ["x + (1 | g)", "x + (x | g) + (1 | h)"])
def test_unrelated_levels_are_independent(frame, formula, family):
    """An identity is no relation, on a path of its own."""
    unrelated = Relationship(np.eye(LEVELS), LABELS[:LEVELS])
    y = frame["y"] if family == "gaussian" else frame["y"] > frame["y"].median()
    kind = MixedEffectsVIRegressor if family == "gaussian" else MixedEffectsVIClassifier
    plain = kind(formula=formula).fit(frame, y)
    model = kind(formula=formula, relations={"g": unrelated}).fit(frame, y)
    assert model.elbo_ == pytest.approx(plain.elbo_, abs=1e-7)
    np.testing.assert_allclose(model.coef_cov_, plain.coef_cov_, rtol=1e-4)
    for name, effects in plain.random_effects_std_.items():
        np.testing.assert_allclose(model.random_effects_std_[name], effects, rtol=1e-4)


def test_levels_without_rows_are_predicted_from_their_relatives(frame):
    model = MixedEffectsVIRegressor(formula="x + (1 | g)", relations={"g": kinship()})
    model.fit(frame, frame["y"])
    rows = frame[:2].assign(g=["g0", LABELS[-1]], x=0.0)
    # the last one is the double of the first one
    means, sds = model.predict(rows, return_std=True)
    assert means[0] == pytest.approx(means[1], rel=1e-9)
    assert sds[0] == pytest.approx(sds[1], rel=1e-6)
    assert model.predict(rows.assign(g="stranger"))[0] == pytest.approx(model.intercept_)


def test_related_levels_in_what_follows_a_fit(frame):
    relation = kinship()
    late = frame["y"] > frame["y"].median()
    classifier = MixedEffectsVIClassifier(formula="x + (1 | g)", relations={"g": relation})
    found = classifier.fit(frame, late).diagnose(frame, late, n_draws=400)
    assert 0.0 < found.log_likelihood - classifier.elbo_ < 1.0
    model = MixedEffectsVIRegressor(formula="x + (1 | g)", relations={"g": relation})
    model.fit(frame, frame["y"])
    assert model.summary(frame, frame["y"], test="t").to_frame()["df"].between(2.0, N).all()
    simulator = ResponseSimulator(
        fitted_model(model), frame[:2].assign(g=["g0", LABELS[-1]], x=0.0)
    )
    draws = np.array([simulator.draw(np.random.default_rng(k)) for k in range(400)])
    # the last level is the double of the first one: draws differ by noise alone
    expected = 2.0 * model.noise_variance_
    assert np.var(draws[:, 0] - draws[:, 1]) == pytest.approx(expected, rel=0.3)


def test_refused_relations(frame):
    X, y = frame[["x", "g"]], frame["y"]

    def fit(relations, **parameters):
        MixedEffectsVIRegressor(["g"], relations=relations, **parameters).fit(X, y)

    short = Relationship(np.eye(LEVELS - 1), LABELS[1:LEVELS])
    with pytest.raises(ValueError, match=r"'g' holds 'g0', which its relation does not"):
        fit({"g": short})
    with pytest.raises(ValueError, match="relations names 'x', which is not a grouping factor"):
        fit({"x": short})
    with pytest.raises(TypeError, match=r"relations\['g'\] is of type ndarray"):
        fit({"g": np.eye(3)})
    with pytest.raises(TypeError, match="must be a mapping"):
        fit([kinship()])
    with pytest.raises(ValueError, match=r"mean_field.*does not support relations="):
        fit({"g": kinship()}, posterior="mean_field")
    with pytest.raises(ValueError, match=r"iterative.*does not support relations="):
        fit({"g": kinship()}, solver="iterative")
    with pytest.raises(ValueError, match="needs all rows at once"):
        MixedEffectsVIRegressor(["g"], relations={"g": kinship()}).partial_fit(X, y)


@pytest.mark.parametrize(
    ("matrix", "labels", "words"),
    [
        (np.ones((2, 3)), "ab", "needs a row and a column per level"),
        (np.eye(3), "ab", "2 labels for 3 rows"),
        (np.eye(2), "aa", "'a' occurs twice"),
        (np.diag([1.0, np.nan]), "ab", "row of 'b' holds NaN"),
        (np.array([[1.0, 0.5], [0.2, 1.0]]), "ab", "not symmetric: row 'a', column 'b' is 0.5"),
        (np.array([[1.0, 2.0], [2.0, 1.0]]), "ab", "not positive semi-definite"),
    ],
)
def test_matrices_that_are_no_relations(matrix, labels, words):
    with pytest.raises(ValueError, match=words):
        Relationship(matrix, list(labels))


# Noise by stratum -------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("formula", ["x", "x + (1 | g)", "x + (1 | g) + (1 | h)", "x + (x | g)"])
def test_strata_reach_the_best_likelihood(frame, formula, method):
    Zg, x = indicators(frame, "g"), frame["x"].to_numpy()
    codes = pd.Categorical(frame["kind"]).codes

    def covariance(p):
        out = np.diag(np.exp(2.0 * p[:3])[codes])
        if "h" in formula:
            out = out + p[4] ** 2 * indicators(frame, "h") @ indicators(frame, "h").T
        if "x |" in formula:
            out = out + p[4] ** 2 * np.outer(x, x) * (Zg @ Zg.T)
            out = out + p[4] * p[5] * (x[:, None] + x) * (Zg @ Zg.T)
            return out + (p[3] ** 2 + p[5] ** 2) * Zg @ Zg.T
        return out + p[3] ** 2 * Zg @ Zg.T if "g" in formula else out

    best = Dense(frame, covariance, method).best([-0.5, 0.0, 0.5, 0.7, 0.4, 0.1])
    model = MixedEffectsVIRegressor(formula=formula, method=method, dispersion="kind")
    model.fit(frame, frame["y"])
    assert model.converged_
    assert model.elbo_ == pytest.approx(-best.fun, abs=1e-6)
    np.testing.assert_allclose(model.noise_["estimate"], np.exp(best.x[:3]), rtol=1e-3)
    assert model.noise_variance_ == pytest.approx(np.exp(2 * best.x[0]), rel=2e-3)


def test_strata_with_weights_and_related_levels(frame):
    """Strata that differ by a known factor are precision weights."""
    data = frame.assign(w=np.where(frame["kind"] == "c", 0.25, 1.0), all="one")
    data.loc[:5, "all"] = "two"
    fits = [
        MixedEffectsVIRegressor(
            formula="x + (1 | g)", precision_weights="w", relations={"g": kinship()}, dispersion=d
        ).fit(data, data["y"])
        for d in (None, "all")
    ]
    assert fits[1].elbo_ > fits[0].elbo_
    assert fits[1].elbo_ - fits[0].elbo_ < 5.0


def test_noise_of_rows_follows_their_stratum(frame):
    model = MixedEffectsVIRegressor(["g"], fixed_effects=["x"], dispersion="kind")
    model.fit(frame, frame["y"])
    rows = pd.concat([frame[:1]] * 3).assign(kind=["a", "b", "c"])
    _, sds = model.predict(rows, return_std=True)
    spread = sds**2 - sds[0] ** 2
    noise = model.noise_["estimate"].to_numpy() ** 2
    np.testing.assert_allclose(spread, noise - noise[0], rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match=r"'kind' holds 'z' in row 0.*strata of the fit are 'a'"):
        model.predict(rows.assign(kind="z"), return_std=True)
    assert np.isfinite(model.predict(rows.assign(kind="z"))).all()
    table = model.variance_components_
    assert table[table["group"] == "Residual"]["term_1"].tolist() == [
        "kind[a]", "kind[b]", "kind[c]",
    ]  # fmt: skip
    summary = model.summary(frame, frame["y"], test="t")
    assert np.isfinite(summary.to_frame()["df"]).all()
    by_formula = mixed("y ~ x + (1 | g)", frame, dispersion="kind")
    assert by_formula.elbo_ == pytest.approx(model.elbo_, rel=1e-12)


def test_refused_dispersions(frame):
    X, y = frame[["x", "kind", "g"]], frame["y"]

    def fit(dispersion, **parameters):
        MixedEffectsVIRegressor(["g"], dispersion=dispersion, **parameters).fit(X, y)

    with pytest.raises(ValueError, match=r"numeric column.*dispersion='C\(x\)'"):
        fit("x")
    with pytest.raises(ValueError, match="must be one column of labels"):
        fit("kind + g")
    with pytest.raises(ValueError, match="needs family='gaussian'"):
        MixedEffectsVIRegressor(["g"], family="poisson", dispersion="kind").fit(X, y.abs().round())
    with pytest.raises(ValueError, match=r"mean_field.*does not support dispersion="):
        fit("kind", posterior="mean_field")
    with pytest.raises(ValueError, match=r"iterative.*does not support dispersion="):
        fit("kind", solver="iterative")
    with pytest.raises(ValueError, match="needs all rows at once"):
        MixedEffectsVIRegressor(["g"], dispersion="kind").partial_fit(X, y)
