"""Fitted effects and predictions against the dense posterior in the units of the data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.linalg import block_diag

from skmixed import MixedEffectsVIRegressor, mixed
from skmixed.datasets import make_mixed_regression
from skmixed.fit import publish
from skmixed.results import prediction

RANDOM_PARTS = {
    "intercepts": "(1 | a) + (1 | b)",
    "slope": "(1 + x | a) + (1 | b)",
    "uncorrelated": "(1 + x || b) + (1 | a)",
    "interaction": "(1 | a / b)",
    "slope_only": "(0 + z | b)",
}


def make_frame(n=70, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": 20.0 + 3.0 * rng.standard_normal(n),
            "z": rng.standard_normal(n),
            "w": rng.uniform(0.5, 2.0, n),
            "o": rng.standard_normal(n),
            "a": rng.choice(list("pqrst"), n),
            "b": rng.choice([10, 20, 30, 40], n),
        }
    )
    a = frame["a"].map(dict(zip("pqrst", rng.standard_normal((5, 2)), strict=True)))
    b = frame["b"].map(dict(zip((10, 20, 30, 40), rng.standard_normal(4), strict=True)))
    frame["y"] = (
        50.0 + 2.0 * frame["x"] - frame["z"] + 3.0 * frame["o"] + 2.0 * b
        + np.array([u[0] + 0.3 * (x - 20.0) * u[1] for u, x in zip(a, frame["x"], strict=True)])
        + rng.standard_normal(n) / np.sqrt(frame["w"])
    )  # fmt: skip
    return frame


def group_ids(frame, group):
    columns = group.split(":")
    return pd.Series(list(zip(*(frame[c] for c in columns), strict=True)), index=frame.index)


def term_column(frame, term):
    return np.ones(len(frame)) if term == "Intercept" else frame[term].to_numpy()


class DensePosterior:
    """The posterior at a model's estimates, from matrices of n x n."""

    def __init__(self, model, frame):
        self.model = model
        X = self.fixed(frame)
        Z = self.random(frame)
        root = np.sqrt(frame["w"].to_numpy())[:, None]
        X, Z, y = X * root, Z * root, (frame["y"] - frame["o"]).to_numpy() * root[:, 0]
        self.noise = model.noise_variance_
        self.omega = block_diag(
            *[np.kron(np.eye(len(model.random_effects_[g])), cov.to_numpy())
              for g, cov in model.random_effects_cov_.items()]
        )  # fmt: skip
        V_inverse = np.linalg.inv(Z @ self.omega @ Z.T + self.noise * np.eye(len(y)))
        C = np.linalg.inv(X.T @ V_inverse @ X)
        self.beta = C @ X.T @ V_inverse @ y
        self.coef_cov = C
        ZO = Z @ self.omega
        self.u = ZO.T @ V_inverse @ (y - X @ self.beta)
        p = X.shape[1]
        size = p + len(self.u)
        self.covariance = np.zeros((size, size))
        P = V_inverse - V_inverse @ X @ C @ X.T @ V_inverse
        self.covariance[p:, p:] = self.omega - ZO.T @ P @ ZO
        self.covariance[:p, :p] = C
        self.covariance[:p, p:] = -C @ X.T @ V_inverse @ ZO
        self.covariance[p:, :p] = self.covariance[:p, p:].T
        self.effect_covariance = self.covariance[p:, p:]
        if model.method == "ml":
            # given the coefficients; what is predicted knows that they are estimates
            self.effect_covariance = self.omega - ZO.T @ V_inverse @ ZO

    def fixed(self, frame):
        return np.column_stack(
            [term_column(frame, c) for c in self.model.summary().to_frame().index]
        )

    def random(self, frame, groups=None):
        parts = []
        for group, effects in self.model.random_effects_.items():
            ids = group_ids(frame, group)
            for level in effects.index:
                level = level if isinstance(level, tuple) else (level,)
                here = np.array([i == level for i in ids], dtype=float)
                here *= groups is None or group in groups
                parts += [here * term_column(frame, term) for term in effects.columns]
        return np.column_stack(parts)

    def predict(self, frame, groups=None):
        X, Z = self.fixed(frame), self.random(frame, groups)
        A = np.column_stack([X, Z])
        mean = X @ self.beta + Z @ self.u + frame["o"]
        variance = np.einsum("ij,jk,ik->i", A, self.covariance, A)
        for group, effects in self.model.random_effects_.items():
            known = {i if isinstance(i, tuple) else (i,) for i in effects.index}
            unknown = np.array([i not in known for i in group_ids(frame, group)])
            basis = np.column_stack([term_column(frame, term) for term in effects.columns])
            prior = np.einsum(
                "ij,jk,ik->i", basis, self.model.random_effects_cov_[group].to_numpy(), basis
            )
            if groups is None or group in groups:
                variance = variance + unknown * prior
        return mean.to_numpy(), np.sqrt(variance + self.noise / frame["w"])


def fit(random_part, method="reml", **parameters):
    frame = make_frame()
    model = mixed(
        f"y ~ x + z + {random_part}", frame, method=method, offset="o",
        precision_weights="w", **parameters,
    )  # fmt: skip
    assert model.converged_
    return model, frame, DensePosterior(model, frame)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("random_part", RANDOM_PARTS.values(), ids=RANDOM_PARTS)
def test_estimates(random_part, method):
    model, _, dense = fit(random_part, method)
    np.testing.assert_allclose(np.append(model.intercept_, model.coef_), dense.beta, rtol=1e-7)
    np.testing.assert_allclose(model.coef_cov_, dense.coef_cov, rtol=1e-6, atol=1e-10)
    effects = [frame.to_numpy().ravel() for frame in model.random_effects_.values()]
    np.testing.assert_allclose(np.concatenate(effects), dense.u, rtol=1e-6, atol=1e-7)
    stds = [frame.to_numpy().ravel() for frame in model.random_effects_std_.values()]
    expected = np.sqrt(np.diagonal(dense.effect_covariance))
    np.testing.assert_allclose(np.concatenate(stds), expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("random_part", RANDOM_PARTS.values(), ids=RANDOM_PARTS)
def test_predictions(random_part, method):
    """Rows of the training data, new rows, unknown levels, far away ones."""
    model, frame, dense = fit(random_part, method)
    new = make_frame(seed=1).iloc[:40].reset_index(drop=True)
    new.loc[::5, "a"] = "unknown"
    new.loc[::7, "b"] = 99
    new["x"] += 100.0 * (np.arange(40) > 30)
    for rows in (frame, new):
        mean, std = model.predict(rows, return_std=True)
        expected_mean, expected_std = dense.predict(rows)
        np.testing.assert_allclose(mean, expected_mean, rtol=1e-8)
        np.testing.assert_allclose(std, expected_std, rtol=1e-6)
        np.testing.assert_array_equal(model.predict(rows), mean)


@pytest.mark.parametrize("include", ["none", [], ["a"], ["b"], ["b", "a"]])
def test_predictions_of_some_groups(include):
    model, frame, dense = fit(RANDOM_PARTS["slope"])
    mean, std = model.predict(frame, return_std=True, include=include)
    groups = [] if include == "none" else include
    expected_mean, expected_std = dense.predict(frame, groups)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-8)
    np.testing.assert_allclose(std, expected_std, rtol=1e-6)


@pytest.mark.compiled
@pytest.mark.filterwarnings("ignore:The mean-field posterior estimates")
@pytest.mark.parametrize("posterior", ["full", "mean_field"])
@pytest.mark.parametrize("limit", [0, 100, 400])
def test_little_memory_for_covariances(limit, posterior, monkeypatch):
    """Covariances of large factors that are not kept cost accuracy, nothing else."""
    frame = make_frame()
    formula = "y ~ x + z + (1 + x | a) + (1 | b)"
    exact = mixed(formula, frame, posterior=posterior)
    monkeypatch.setattr(publish, "JOINT_LIMIT", limit)
    model = mixed(formula, frame, posterior=posterior)
    mean, std = model.predict(frame, return_std=True)
    expected_mean, expected_std = exact.predict(frame, return_std=True)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-12)
    assert (std > np.sqrt(model.noise_variance_)).all()
    np.testing.assert_allclose(std, expected_std, rtol=0.15)
    # sampling uses the same approximation
    draws = model.sample_y(frame.iloc[:5], n_samples=4000, random_state=0)
    np.testing.assert_allclose(draws.std(axis=1), std[:5], rtol=0.06)


def test_joint_posterior_is_not_factorised():
    """The square root kept for predictions holds the whole covariance of small models."""
    model, _, dense = fit(RANDOM_PARTS["slope"])
    result = model.fit_result_
    assert all(result.coupled)
    centred = result.coupling @ result.coupling.T
    p = len(dense.beta)
    from_centre = np.eye(len(centred))
    from_centre[0, :p] -= result.center
    found = from_centre @ centred @ from_centre.T
    np.testing.assert_allclose(found, dense.covariance, rtol=1e-6, atol=1e-8)
    scale = 1.0 / np.sqrt(np.diagonal(dense.covariance))
    ratio = np.linalg.eigvals(
        np.linalg.solve(dense.covariance * scale[:, None] * scale, found * scale[:, None] * scale)
    ).real
    np.testing.assert_allclose(ratio, 1.0, rtol=1e-5)


def test_mean_field_variances():
    """One over the diagonal of the posterior's precision; means as those of the full posterior."""
    frame = make_frame()
    model = mixed("y ~ x + z + (1 | a) + (1 | b)", frame, posterior="mean_field", noise_scale=2.0)
    for group in ("a", "b"):
        count = frame[group].value_counts().sort_index().to_numpy()
        prior = model.random_effects_cov_[group].iloc[0, 0]
        expected = 1.0 / (count / model.noise_variance_ + 1.0 / prior)
        found = model.random_effects_std_[group]["Intercept"].to_numpy()
        np.testing.assert_allclose(found**2, expected, rtol=1e-10)
    assert not any(model.fit_result_.coupled)


def test_predictions_do_not_depend_on_other_rows():
    model, frame, _ = fit(RANDOM_PARTS["slope"])
    mean, std = model.predict(frame, return_std=True)
    for rows in (slice(3, 4), slice(10, 30)):
        part_mean, part_std = model.predict(frame.iloc[rows], return_std=True)
        np.testing.assert_allclose(part_mean, mean[rows], rtol=1e-13)
        np.testing.assert_allclose(part_std, std[rows], rtol=1e-12)


def test_linear_regression_without_groups():
    """REML without random effects is least squares with its usual standard errors."""
    frame = make_frame()
    X, y = frame[["x", "z"]].to_numpy(), frame["y"].to_numpy()
    model = MixedEffectsVIRegressor().fit(X, y)
    A = np.column_stack([np.ones(len(X)), X])
    beta, rss, *_ = np.linalg.lstsq(A, y, rcond=None)
    noise = rss[0] / (len(y) - 3)
    np.testing.assert_allclose(np.append(model.intercept_, model.coef_), beta, rtol=1e-9)
    assert model.noise_variance_ == pytest.approx(noise, rel=1e-10)
    np.testing.assert_allclose(model.coef_cov_, noise * np.linalg.inv(A.T @ A), rtol=1e-8)
    _, std = model.predict(X, return_std=True)
    leverage = np.einsum("ij,jk,ik->i", A, np.linalg.inv(A.T @ A), A)
    np.testing.assert_allclose(std, np.sqrt(noise * (1 + leverage)), rtol=1e-8)


# Rows that have few of the levels ----------------------------------------------------------


@pytest.mark.parametrize("family", ["gaussian", "poisson"])
def test_a_row_alone_has_the_variance_that_it_has_among_others(family, monkeypatch):
    frame = make_frame(n=400)
    if family == "poisson":
        frame["y"] = np.random.default_rng(0).poisson(3.0, len(frame))
    model = mixed("y ~ x + z + (1 + x | a) + (1 | b) + (1 | a:b)", frame, family=family, tol=1e-2)
    new = pd.concat([frame.head(5), frame.head(3).assign(a="unknown"), frame.head(1).assign(b=99)])
    for include in ("all", ["b"], ["a:b", "a"], "none"):
        together = model.predict(new, return_std="mean", include=include)[1]
        assert prediction._FEW_LEVELS > 0
        with monkeypatch.context() as patch:
            patch.setattr(prediction, "_FEW_LEVELS", -8 * len(new) - 1)
            used = model.predict(new, return_std="mean", include=include)[1]
            alone = [
                model.predict(new.iloc[[row]], return_std="mean", include=include)[1][0]
                for row in range(len(new))
            ]
        np.testing.assert_array_equal(used, together)
        np.testing.assert_allclose(alone, together, rtol=1e-13)


@pytest.mark.compiled
def test_a_row_looks_at_its_own_levels_alone(monkeypatch):
    X, y, _ = make_mixed_regression(n_samples=20_000, groups=(8_000, 5), random_state=0)
    model = MixedEffectsVIRegressor(["g0", "g1"], tol=1e-2).fit(X, y)
    sizes = []
    uncoupled = prediction._uncoupled

    def watched(result, coupling, position):
        sizes.append(len(result.factors[position].covariances))
        return uncoupled(result, coupling, position)

    monkeypatch.setattr(prediction, "_uncoupled", watched)
    _, std = model.predict(X.head(2), return_std=True)
    assert max(sizes) <= 2
    sizes.clear()
    _, everywhere = model.predict(X, return_std=True)
    assert max(sizes) > 5_000
    np.testing.assert_allclose(std, everywhere[:2], rtol=1e-13)
