"""The same data in other words have the same fit: invariants by models.

Every model here is fitted once; every invariant says how to change its data or the way it is
fitted, and that nothing follows. `tests/properties/` has the same of random models.
"""

from __future__ import annotations

import copy
import pickle
import warnings
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, Relationship

N, LEVELS = 300, {"g": 18, "h": 7, "id": 90}


def make_frame() -> pd.DataFrame:
    """Columns, and responses of every family."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.permutation(np.arange(N) % k) for name, k in LEVELS.items()})
    frame["x"], frame["z"] = rng.standard_normal(N), rng.uniform(-1.5, 1.5, N)
    frame["kind"] = np.array(["a", "b", "c"])[rng.integers(3, size=N)]
    frame["o"], frame["w"] = 0.4 * rng.standard_normal(N), rng.uniform(0.4, 2.5, N)
    eta = 0.4 * frame["x"] - 0.3 * frame["z"] + frame["o"]
    for name, levels in LEVELS.items():
        eta += 0.6 * rng.standard_normal(levels)[frame[name]]
    eta += (rng.standard_normal((LEVELS["g"], 3)) * 0.5)[frame["g"], frame["kind"].map(ord) - 97]
    eta += (0.5 * rng.standard_normal(LEVELS["h"]))[frame["h"]] * frame["x"]
    noise = rng.standard_normal(N)
    mean = np.exp(0.4 + 0.6 * eta)
    amounts = rng.gamma(2.0, mean / 2.0)
    return frame.assign(
        gaussian=eta + 0.8 * noise, poisson=rng.poisson(mean), gamma=amounts,
        negative_binomial=rng.poisson(amounts), bernoulli=(eta + noise > 0.0).astype(int),
        ordinal=np.digitize(eta + noise, [-1.0, 0.0, 1.0]),
    )  # fmt: skip


def kinship() -> Relationship:
    """A relation of the levels of g."""
    half = np.random.default_rng(4).standard_normal((LEVELS["g"], 40))
    return Relationship(half @ half.T / 40.0, np.arange(LEVELS["g"]))


BOTH = "x + z + (1 | g) + (1 | h)"
MODELS = {
    # formula, and parameters of the estimator
    "reml": (BOTH, {}),
    "ml_offset_weights": (BOTH, {"method": "ml", "offset": "o", "precision_weights": "w"}),
    "known_noise": (BOTH, {"noise_scale": 0.8}),
    "mean_field": (BOTH, {"posterior": "mean_field"}),
    "slopes": ("x + z + (x | h) + (1 | g)", {}),
    "diagonal": ("x + z + (x || h) + (1 | g)", {"method": "ml"}),
    "interaction": ("x * kind + (1 | g:kind) + (1 | h)", {}),
    "iterative": ("x + z + (1 | id) + (1 | g) + (1 | h)", {"solver": "iterative"}),
    "iterative_slopes": ("x + z + (1 | id) + (x | h)", {"solver": "iterative", "method": "ml"}),
    "homdiag": ("x + homdiag(0 + kind | g)", {}),
    "homcs": ("x + homcs(0 + kind | g)", {"method": "ml"}),
    "cs": ("x + cs(0 + kind | g) + (1 | id)", {}),
    "relations": ("x + (1 | g) + (1 | h)", {"relations": {"g": kinship()}}),
    "dispersion": ("x + z + (1 | g)", {"dispersion": "kind"}),
    "poisson": (BOTH, {"family": "poisson", "offset": "o"}),
    "negative_binomial": (BOTH, {"family": "negative_binomial"}),
    "gamma": ("x + z + (x | h)", {"family": "gamma", "method": "reml"}),
    "mean_field_counts": (BOTH, {"family": "poisson", "posterior": "mean_field"}),
    "iterative_counts": (BOTH, {"family": "poisson", "solver": "iterative"}),
    "logit": (BOTH, {"family": "bernoulli"}),
    "probit": ("x + (x || h)", {"family": "bernoulli", "link": "probit", "offset": "o"}),
    "logit_structure": ("x + homdiag(0 + kind | g)", {"family": "bernoulli"}),
    "ordinal_logit": (BOTH, {"family": "ordinal"}),
    "ordinal_probit": (BOTH, {"family": "ordinal", "link": "probit", "posterior": "mean_field"}),
}
CLASSES = ("bernoulli", "ordinal")
IN_PARTS = [
    name
    for name, (formula, options) in MODELS.items()
    if not {"family", "relations", "dispersion"} & set(options) and options.get("solver") is None
]


@dataclass(frozen=True)
class Case:
    """An estimator with its data."""

    estimator: Any
    X: pd.DataFrame
    y: np.ndarray
    weights: np.ndarray | None = None

    def fit(self, **changes: Any) -> Any:
        with warnings.catch_warnings():
            # independent normals can collapse a variance, and say so
            warnings.filterwarnings("ignore", "The mean-field posterior", UserWarning)
            model = clone(self.estimator).set_params(**changes)
            return model.fit(self.X, self.y, sample_weight=self.weights)

    def rows(self, rows: np.ndarray) -> Case:
        weights = None if self.weights is None else self.weights[rows]
        return replace(self, X=self.X.iloc[rows], y=self.y[rows], weights=weights)


@cache
def case_of(name: str) -> Case:
    formula, options = MODELS[name]
    family = options.get("family", "gaussian")
    kind = MixedEffectsVIClassifier if family in CLASSES else MixedEffectsVIRegressor
    frame = make_frame()
    X = frame[[*LEVELS, "x", "z", "kind", "o", "w"]]
    return Case(kind(formula=formula, **options), X, frame[family].to_numpy())


@cache
def model_of(name: str) -> Any:
    return case_of(name).fit()


@pytest.fixture(params=MODELS)
def name(request: Any) -> str:
    return request.param


def assert_same_fit(found: Any, expected: Any, rtol: float = 1e-6) -> None:
    """Bound, fixed effects, variances, own parameters, posterior: equal by name.

    `rtol` is relative to standard errors and standard deviations.
    """
    assert found.elbo_ == pytest.approx(expected.elbo_, rel=1e-9, abs=1e-7)
    np.testing.assert_allclose(found.coef_cov_, expected.coef_cov_, rtol=10 * rtol, atol=1e-12)
    error = np.sqrt(np.diagonal(expected.coef_cov_)).max()
    assert found.coef_names_ == expected.coef_names_
    np.testing.assert_allclose(found.coef_, expected.coef_, rtol=0, atol=rtol * error)
    np.testing.assert_allclose(found.intercept_, expected.intercept_, rtol=0, atol=rtol * error)
    own = [model.fit_result_.parameters for model in (found, expected)]
    np.testing.assert_allclose(*own, rtol=10 * rtol, atol=10 * rtol)
    if hasattr(expected, "noise_variance_"):
        assert found.noise_variance_ == pytest.approx(expected.noise_variance_, rel=rtol)
    for group, covariance in expected.random_effects_cov_.items():
        size = max(np.diagonal(covariance).max(), 1e-3)
        np.testing.assert_allclose(
            found.random_effects_cov_[group], covariance, rtol=10 * rtol, atol=10 * rtol * size
        )
        for attribute in ("random_effects_", "random_effects_std_"):
            effects = getattr(expected, attribute)[group]
            others = getattr(found, attribute)[group].loc[effects.index]
            np.testing.assert_allclose(others, effects, rtol=0, atol=10 * rtol * np.sqrt(size))


def test_order_of_rows(name):
    order = np.random.default_rng(2).permutation(N)
    is_gaussian = "family" not in MODELS[name][1]
    rtol = 1e-8 if is_gaussian else 1e-6
    assert_same_fit(case_of(name).rows(order).fit(), model_of(name), rtol)


def test_order_of_columns(name):
    case = case_of(name)
    assert_same_fit(replace(case, X=case.X[case.X.columns[::-1]]).fit(), model_of(name), 1e-9)


def test_names_of_levels(name):
    """Text that sorts the other way round, and numbers with a gap."""
    case, expected = case_of(name), model_of(name)
    names = {
        "g": [f"level {1000 - k}" for k in range(LEVELS["g"])],
        "h": [7 * k - 20 for k in range(LEVELS["h"])],
    }
    renamed = case.X.assign(**{g: np.array(new)[case.X[g]] for g, new in names.items()})
    options = {}
    if getattr(case.estimator, "relations", None):
        options["relations"] = {"g": Relationship(kinship().matrix, names["g"])}
    model = replace(case, X=renamed).fit(**options)
    assert model.elbo_ == pytest.approx(expected.elbo_, rel=1e-10)
    error = np.sqrt(np.diagonal(expected.coef_cov_)).max()
    np.testing.assert_allclose(model.coef_, expected.coef_, rtol=0, atol=1e-6 * error)
    if isinstance(case.estimator, MixedEffectsVIClassifier):
        found, shown = model.predict_proba(renamed), expected.predict_proba(case.X)
    else:
        found, shown = model.predict(renamed), expected.predict(case.X)
    np.testing.assert_allclose(found, shown, rtol=1e-6, atol=1e-6)
    for group, new in names.items():
        if group in expected.random_effects_:
            old = expected.random_effects_[group]
            effects = model.random_effects_[group].loc[np.array(new)[old.index]]
            np.testing.assert_allclose(effects, old, rtol=1e-5, atol=1e-5)


def test_weights_are_repeated_rows(name):
    """Rows of weight zero are absent, whatever they hold."""
    case = case_of(name)
    weights = np.random.default_rng(0).integers(0, 4, N)
    X, y = case.X.copy(), np.where(weights > 0, case.y, -1)
    X.loc[weights == 0, "x"] = 1e12
    weighted = replace(case, X=X, y=y, weights=weights).fit()
    repeated = case.rows(np.repeat(np.arange(N), weights)).fit()
    assert_same_fit(weighted, repeated)
    assert weighted.n_observations_ == repeated.n_observations_ == weights.sum()
    if hasattr(repeated, "classes_"):
        np.testing.assert_array_equal(weighted.classes_, repeated.classes_)


@pytest.mark.parametrize("name", IN_PARTS)
def test_parts_are_the_whole(name):
    case = case_of(name)
    model = clone(case.estimator)
    with warnings.catch_warnings():
        # fits on few rows may not be determined; the last one counts
        warnings.simplefilter("ignore")
        for rows in np.split(np.random.default_rng(3).permutation(N), [120, 130, 250]):
            part = case.rows(rows)
            model.partial_fit(part.X, part.y)
    assert_same_fit(model, model_of(name))


def answers(model: Any, X: pd.DataFrame) -> list[np.ndarray]:
    """What a model says of rows, and of its variances."""
    if isinstance(model, MixedEffectsVIClassifier):
        found = [model.predict_proba(X), model.classes_]
    else:
        found = [*model.predict(X, return_std=True), model.predict_interval(X)]
    tables = model.variance_components_["variance"], model.summary().to_frame()
    return [*found, model.predict(X), *(t.to_numpy() for t in tables), np.array(model.elbo_)]


@cache
def answers_of(name: str) -> list[np.ndarray]:
    """Answers of the model of a name for its own rows."""
    return answers(model_of(name), case_of(name).X)


WAYS = {"pickle": lambda model: pickle.loads(pickle.dumps(model)), "deepcopy": copy.deepcopy}


@pytest.mark.parametrize("way", WAYS)
def test_stored_models_answer_the_same(name, way):
    """Bit for bit; they hold neither data nor probes."""
    model, X = model_of(name), case_of(name).X
    for found, expected in zip(answers(WAYS[way](model), X), answers_of(name), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_fits_repeat_themselves(name):
    """A clone's fit is the same, bit for bit, whatever the number of threads may be."""
    case, model = case_of(name), model_of(name)
    for n_jobs in (1, 2):
        again = replace(case, estimator=clone(model)).fit(n_jobs=n_jobs)
        for found, expected in zip(answers(again, case.X), answers_of(name), strict=True):
            np.testing.assert_array_equal(found, expected)
