"""Satterthwaite's degrees of freedom against numerical derivatives of a dense likelihood."""

import numpy as np
import pandas as pd
import pytest
from covering import covering
from scipy.optimize import approx_fprime

from skmixed import MixedEffectsVIRegressor


def make_frame(seed=1, n=90):
    rng = np.random.default_rng(seed)
    g, h = rng.integers(0, 8, n), rng.integers(0, 5, n)
    x, z = rng.normal(size=n) + 0.5, rng.integers(0, 2, n)
    y = (rng.normal(size=8)[g] + (0.5 + 0.6 * rng.normal(size=8)[g]) * x
         + 0.7 * rng.normal(size=5)[h] + z + rng.normal(size=n))  # fmt: skip
    return pd.DataFrame({"x": x, "z": z, "g": g, "h": h, "w": rng.uniform(0.5, 2, n), "y": y})


class Dense:
    """Deviance and covariance of the coefficients, from V and its inverse."""

    def __init__(self, frame, repeats, weighted, reml, noise):
        frame = frame.loc[frame.index.repeat(repeats)]
        one = np.ones(len(frame))
        self.X = np.column_stack([one, frame["x"], frame["z"]])
        self.y = frame["y"].to_numpy()
        G, H = (np.eye(k)[frame[name]] for name, k in (("g", 8), ("h", 5)))
        x = frame["x"].to_numpy()[:, None]
        self.blocks = [G, x * G, H]
        self.R = np.diag(1.0 / frame["w"]) if weighted else np.eye(len(frame))
        self.reml, self.noise = reml, noise

    def V(self, parameters):
        a, b, c, d = parameters[:4]
        noise = self.noise if self.noise is not None else np.exp(parameters[4])
        G, S, H = self.blocks
        cross = a * b * (G @ S.T)
        return (a * a * G @ G.T + cross + cross.T + (b * b + c * c) * S @ S.T + d * d * H @ H.T
                + noise * self.R)  # fmt: skip

    def covariance(self, parameters):
        return np.linalg.inv(self.X.T @ np.linalg.solve(self.V(parameters), self.X))

    def deviance(self, parameters):
        V, C = self.V(parameters), self.covariance(parameters)
        beta = C @ self.X.T @ np.linalg.solve(V, self.y)
        rest = self.y - self.X @ beta
        value = np.linalg.slogdet(V)[1] + rest @ np.linalg.solve(V, rest)
        return value - (np.linalg.slogdet(C)[1] if self.reml else 0.0)

    def degrees_of_freedom(self, parameters):
        def gradient(p):
            return np.array([
                (self.deviance(p + h) - self.deviance(p - h)) / 4e-4
                for h in 2e-4 * np.eye(len(p))
            ])  # fmt: skip

        hessian = np.array([
            (gradient(parameters + h) - gradient(parameters - h)) / 4e-4
            for h in 2e-4 * np.eye(len(parameters))
        ])  # fmt: skip
        variance = 2.0 * np.linalg.inv(hessian)
        out = []
        for j in range(3):
            slope = approx_fprime(parameters, lambda p, j=j: self.covariance(p)[j, j], 1e-7)
            q = self.covariance(parameters)[j, j]
            out.append(2 * q**2 / (slope @ variance @ slope))
        return np.array(out)


@pytest.mark.compiled
@covering(
    method=["reml", "ml"], noise_scale=[None, 1.1], weighted=[False, True], repeated=[False, True]
)
def test_dense(method, noise_scale, weighted, repeated):
    frame = make_frame()
    repeats = np.where(np.arange(len(frame)) % 3 == 0, 2, 1) if repeated else np.ones(90, int)
    X = frame[["x", "z", "g", "h", "w"]]
    model = MixedEffectsVIRegressor(
        formula="x + z + (1 + x | g) + (1 | h)", method=method, noise_scale=noise_scale,
        precision_weights="w" if weighted else None, tol=1e-9,
    ).fit(X, frame["y"], sample_weight=repeats)  # fmt: skip
    table = model.summary(X, frame["y"], repeats, test="t").to_frame()

    dense = Dense(frame, repeats, weighted, method == "reml", noise_scale and noise_scale**2)
    lower = np.linalg.cholesky(model.random_effects_cov_["g"].to_numpy())
    sd = np.sqrt(model.random_effects_cov_["h"].to_numpy()[0, 0])
    parameters = [lower[0, 0], lower[1, 0], lower[1, 1], sd]
    if noise_scale is None:
        parameters.append(np.log(model.noise_variance_))
    expected = dense.degrees_of_freedom(np.array(parameters))
    np.testing.assert_allclose(table["df"], expected, rtol=2e-3)
    np.testing.assert_allclose(
        table["std_error"] ** 2, np.diagonal(dense.covariance(np.array(parameters))), rtol=1e-5
    )


def test_without_random_effects():
    frame = make_frame()
    X = frame[["x", "z"]]
    model = MixedEffectsVIRegressor(random_effects=None).fit(X, frame["y"])
    table = model.summary(X, frame["y"], test="t").to_frame()
    np.testing.assert_allclose(table["df"], 87.0, rtol=1e-6)


def test_known_variances_are_infinitely_many():
    frame = make_frame()
    model = MixedEffectsVIRegressor(random_effects=None, noise_scale=1.0)
    model = model.fit(frame[["x"]], frame["y"])
    table = model.summary(frame[["x"]], frame["y"], test="t").to_frame()
    assert np.isinf(table["df"]).all()
    normal = model.summary(test="z").to_frame()
    pd.testing.assert_frame_equal(table.drop(columns="df"), normal)


def test_a_variance_of_zero():
    rng = np.random.default_rng(0)
    frame = make_frame().assign(y=lambda d: d["x"] + rng.permutation(90) / 90)
    X = frame[["x", "g", "h"]]
    model = MixedEffectsVIRegressor(["g", "h"]).fit(X, frame["y"])
    assert (model.variance_components_["variance"][:2] == 0.0).any()
    table = model.summary(X, frame["y"], test="t").to_frame()
    assert ((table["df"] > 1) & (table["df"] < 89)).all()


def test_a_dropped_column_has_no_test():
    frame = make_frame().assign(twice=lambda d: 2 * d["x"])
    X = frame[["x", "twice", "g"]]
    with pytest.warns(UserWarning, match="twice"):
        model = MixedEffectsVIRegressor(["g"]).fit(X, frame["y"])
    table = model.summary(X, frame["y"], test="t").to_frame()
    assert table.loc["twice", ["df", "statistic", "p_value"]].isna().all()
    assert table.drop(index="twice").notna().all(axis=None)


# Data that are asked for -----------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted():
    frame = make_frame()
    X = frame[["x", "g", "h"]]
    return MixedEffectsVIRegressor(["g", "h"]).fit(X, frame["y"]), X, frame["y"]


def test_other_data_are_refused(fitted):
    model, X, y = fitted
    with pytest.raises(ValueError, match="needs the training data"):
        model.summary(test="t")
    with pytest.raises(ValueError, match="fitted on 90 rows"):
        model.summary(X[:80], y[:80], test="t")
    with pytest.raises(ValueError, match="not the data of the fit"):
        model.summary(X, y[::-1].to_numpy(), test="t")
    with pytest.raises(ValueError, match="not fitted on"):
        model.summary(X.assign(g=X["g"] + 100), y, test="t")


def test_models_without_it_are_refused(fitted):
    _, X, y = fitted
    counts = MixedEffectsVIRegressor(["g"], family="poisson").fit(X, np.abs(y).round())
    with pytest.raises(ValueError, match="needs a normal response"):
        counts.summary(X, np.abs(y).round(), test="t")
    mean_field = MixedEffectsVIRegressor(["g"], posterior="mean_field").fit(X, y)
    with pytest.raises(ValueError, match="posterior='full'"):
        mean_field.summary(X, y, test="t")
    perfect = MixedEffectsVIRegressor(["g"])
    with pytest.warns(UserWarning, match="reproduce"):
        perfect.fit(X, 2.0 * X["x"])
    with pytest.raises(ValueError, match="needs noise"):
        perfect.summary(X, 2.0 * X["x"], test="t")


def test_the_estimator_stays_as_it_is(fitted):
    model, X, y = fitted
    before = str(model.summary())
    model.summary(X, y, test="t")
    assert str(model.summary()) == before
