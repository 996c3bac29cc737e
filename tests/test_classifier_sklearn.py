"""`MixedEffectsVIClassifier` among scikit-learn's tools, in formulas and in reports."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from class_data import GROUPS, simulate, simulate_ordered
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmixed import MixedEffectsVIClassifier, RandomEffect, mixed


@pytest.fixture(scope="module")
def data():
    return simulate()


@pytest.fixture(scope="module")
def model(data):
    return MixedEffectsVIClassifier(GROUPS).fit(*data)


@pytest.fixture(scope="module")
def ordered():
    return simulate_ordered()


def test_pipeline_and_search(data):
    X, y = data
    scale = ColumnTransformer(
        [("numbers", StandardScaler(), ["x0", "x1"]), ("ids", "passthrough", GROUPS)],
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    pipeline = make_pipeline(scale, MixedEffectsVIClassifier(GROUPS))
    plain = MixedEffectsVIClassifier(GROUPS).fit(X, y)
    pipeline.fit(X, y)
    np.testing.assert_allclose(pipeline.predict_proba(X), plain.predict_proba(X), rtol=1e-5)
    search = GridSearchCV(
        MixedEffectsVIClassifier(),
        {"random_effects": [GROUPS, [RandomEffect("g0", slopes=["x0"]), "g1"]],
         "link": ["logit", "probit"]},
        cv=3, scoring="neg_log_loss", error_score="raise",
    ).fit(X, y)  # fmt: skip
    assert -0.7 < search.best_score_ < -0.3
    np.testing.assert_array_equal(search.classes_, [0, 1])


def test_cross_validation(data):
    X, y = data
    model = MixedEffectsVIClassifier(GROUPS)
    scores = cross_val_score(model, X, y, cv=3, scoring="roc_auc")
    fixed = cross_val_score(LogisticRegression(), X[["x0", "x1"]], y, cv=3, scoring="roc_auc")
    assert scores.mean() > fixed.mean() + 0.02
    folds = GroupKFold(4)
    unseen = cross_val_predict(model, X, y, groups=X["g0"], cv=folds, method="predict_proba")
    np.testing.assert_allclose(unseen.sum(axis=1), 1.0, rtol=1e-12)
    calibrated = CalibratedClassifierCV(model, cv=2).fit(X, y)
    assert calibrated.predict_proba(X).shape == (600, 2)


def test_clone_and_pickle(data, model):
    X, y = data
    again = clone(model)
    assert again.get_params() == model.get_params()
    assert not hasattr(again, "classes_")
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(restored.classes_, model.classes_)
    # what is kept does not grow with the rows
    size = len(pickle.dumps(model))
    bigger = MixedEffectsVIClassifier(GROUPS).fit(pd.concat([X] * 20), pd.concat([y] * 20))
    assert len(pickle.dumps(bigger)) < 1.2 * size


def test_formula(data, model):
    X, y = data
    fitted = mixed("y ~ x0 + x1 + (1 | g0) + (1 | g1)", X.assign(y=y), family="bernoulli")
    assert type(fitted) is MixedEffectsVIClassifier
    assert fitted.elbo_ == pytest.approx(model.elbo_, rel=1e-10)
    np.testing.assert_allclose(fitted.predict_proba(X), model.predict_proba(X), rtol=1e-7)
    probit = mixed(
        "y ~ x0 + (1 + x0 | g0)", X.assign(y=y), family="bernoulli", link="probit", method="ml"
    )
    assert list(probit.random_effects_["g0"].columns) == ["Intercept", "x0"]


def test_formula_with_labels(data, ordered):
    """The response of a formula may be text or an ordered categorical."""
    X, y = data
    text = mixed(
        "answer ~ x0 + (1 | g0)", X.assign(answer=np.where(y, "yes", "no")), family="bernoulli"
    )
    np.testing.assert_array_equal(text.classes_, ["no", "yes"])
    X, y = ordered
    levels = ["bad", "fair", "good", "best"]
    answer = pd.Categorical.from_codes(y, levels, ordered=True)
    model = mixed("answer ~ x0 + (1 | g0)", X.assign(answer=answer), family="ordinal")
    np.testing.assert_array_equal(model.ordered_classes_, levels)
    numbers = mixed("y ~ x0 + (1 | g0)", X.assign(y=y), family="ordinal")
    np.testing.assert_allclose(model.thresholds_, numbers.thresholds_, rtol=1e-6)


def test_summary(data, model, ordered):
    text = str(model.summary())
    for word in ("bernoulli", "logit", "g0", "x1", "Intercept"):
        assert word in text
    assert "Residual" not in text
    assert list(model.variance_components_["group"]) == GROUPS
    frame = model.summary().to_frame()
    np.testing.assert_allclose(frame.loc["x0", "estimate"], model.coef_[0])
    ordinal = MixedEffectsVIClassifier(GROUPS, family="ordinal").fit(*ordered)
    assert "x1" in str(ordinal.summary())
