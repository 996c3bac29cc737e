"""Labels, weights and parameters that `MixedEffectsVIClassifier` takes, and those it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIClassifier, mixed
from skmixed.datasets import make_mixed_classification

GROUPS = ["g0", "g1"]
DATA = Path(__file__).parent / "reference" / "data"


@pytest.fixture(scope="module")
def data():
    X, y, _ = make_mixed_classification(
        300, 1, (15, 6), coef=[1.0], group_sd=(0.9, 0.7), random_state=0
    )
    return X, y.to_numpy()


@pytest.fixture(scope="module")
def ordered():
    X, y, _ = make_mixed_classification(
        400, 1, (15, 6), n_classes=4, coef=[1.0], group_sd=(0.9, 0.7), random_state=1
    )
    return X, y.to_numpy()


# Labels --------------------------------------------------------------------------------

TWO_LABELS = {
    "text": (np.array(["no", "yes"]), ["no", "yes"]),
    "objects": (np.array(["no", "yes"], object), ["no", "yes"]),
    "bool": (np.array([False, True]), [False, True]),
    "signs": (np.array([-1, 1]), [-1, 1]),
    "large": (np.array([7, 2**62]), [7, 2**62]),
    "whole floats": (np.array([0.0, 2.0]), [0.0, 2.0]),
    "series": (pd.Series(["a", "b"]), ["a", "b"]),
    "nullable": (pd.array([3, 4], dtype="Int64"), [3, 4]),
    "string": (pd.array(["down", "up"], dtype="string"), ["down", "up"]),
    "categorical": (pd.Categorical(["out", "in"], categories=["in", "out"]), None),
}


@pytest.mark.parametrize("kind", TWO_LABELS)
def test_any_two_labels(data, kind):
    """The second in sorted order is what the linear predictor speaks for."""
    X, y = data
    labels, expected = TWO_LABELS[kind]
    if expected is None:
        expected, labels = ["in", "out"], labels[::-1]
    model = MixedEffectsVIClassifier(GROUPS).fit(X, labels[y])
    reference = MixedEffectsVIClassifier(GROUPS).fit(X, y)
    assert list(model.classes_) == expected
    assert model.elbo_ == reference.elbo_
    np.testing.assert_array_equal(model.coef_, reference.coef_)
    np.testing.assert_array_equal(model.predict_proba(X), reference.predict_proba(X))
    predicted = model.predict(X)
    np.testing.assert_array_equal(predicted, np.array(expected)[reference.predict(X)])
    assert model.score(X, np.asarray(labels[y])) == reference.score(X, y)
    assert set(model.sample_y(X[:50], 3, random_state=0).ravel()) == set(expected)


def test_ordered_categorical_of_two(data):
    """Its own order says what is modelled; categories that no row has are no classes."""
    X, y = data
    labels = pd.Categorical.from_codes(y + 1, ["never", "yes", "no", "maybe"], ordered=True)
    model = MixedEffectsVIClassifier(GROUPS).fit(X, labels)
    assert list(model.classes_) == ["no", "yes"]
    assert list(model.ordered_classes_) == ["yes", "no"]
    reference = MixedEffectsVIClassifier(GROUPS).fit(X, y)
    np.testing.assert_array_equal(model.coef_, reference.coef_)


ORDERED_LABELS = {
    "numbers": np.array([1, 3, 7, 20]),
    "negative": np.array([-2, -1, 0, 5]),
    "halves": pd.Categorical([0.5, 1.0, 1.5, 2.0], ordered=True),
    "words": pd.Categorical(
        ["poor", "fair", "good", "best"], ["none", "poor", "fair", "good", "best"], ordered=True
    ),
    "series": pd.Series(
        pd.Categorical(["d", "c", "b", "a"], categories=["d", "c", "b", "a"], ordered=True)
    ),
}


@pytest.mark.parametrize("kind", ORDERED_LABELS)
def test_ordered_labels(ordered, kind):
    X, y = ordered
    labels = ORDERED_LABELS[kind]
    target = labels.iloc[y].reset_index(drop=True) if kind == "series" else labels[y]
    model = MixedEffectsVIClassifier(GROUPS, family="ordinal").fit(X, target)
    reference = MixedEffectsVIClassifier(GROUPS, family="ordinal").fit(X, y)
    assert list(model.ordered_classes_) == list(labels)
    assert list(model.classes_) == sorted(labels)
    np.testing.assert_array_equal(model.thresholds_, reference.thresholds_)
    order = [list(model.classes_).index(label) for label in labels]
    np.testing.assert_array_equal(model.predict_proba(X)[:, order], reference.predict_proba(X))
    assert model.predict_proba(X).shape == (400, 4)


def test_reversed_order_of_classes(ordered):
    """With a symmetric link the model read from the other end is the same model."""
    X, y = ordered
    one = MixedEffectsVIClassifier(GROUPS, family="ordinal").fit(X, y)
    other = MixedEffectsVIClassifier(GROUPS, family="ordinal").fit(X, 3 - y)
    assert other.elbo_ == pytest.approx(one.elbo_, rel=1e-8)
    np.testing.assert_allclose(other.coef_, -one.coef_, rtol=1e-5)
    np.testing.assert_allclose(other.thresholds_, -one.thresholds_[::-1], atol=1e-5)
    np.testing.assert_allclose(
        other.predict_proba(X), one.predict_proba(X)[:, ::-1], rtol=0, atol=1e-6
    )


def test_a_rare_class(ordered):
    """One row of a class at the end, one of a class in the middle."""
    X, y = ordered
    for rare in (4.0, 1.5):
        labels = y.astype(float)
        labels[7] = rare
        codes = np.unique(labels, return_inverse=True)[1]
        model = MixedEffectsVIClassifier(GROUPS, family="ordinal").fit(X, codes)
        probabilities = model.predict_proba(X)
        assert probabilities.shape == (400, 5)
        assert probabilities[:, codes[7]].sum() == pytest.approx(1.0, abs=0.3)
        assert (np.diff(model.thresholds_) > 0).all()


@pytest.mark.parametrize(
    ("labels", "family", "message"),
    [
        (["a"], "bernoulli", "one class.*'a' in every row"),
        ([0], "bernoulli", "one class.*0 in every row"),
        ([1], "ordinal", "one class"),
        ([0, 1, 2], "bernoulli", "3 classes.*family='ordinal'"),
        (["a", "b", "c"], "bernoulli", "3 classes.*family='ordinal'"),
        (["a", "b", "c"], "ordinal", "'a', 'b'.*numbers, or an ordered categorical"),
        ([0.5, 1.5], "bernoulli", "continuous"),
        ([0, 1, np.nan], "bernoulli", "NaN.*row 2"),
        (["a", "b", None], "bernoulli", "NaN.*row 2"),
        ([0.0, 1.0, np.inf], "bernoulli", "infinity.*row 2"),
    ],
)
def test_labels_that_are_no_classes(data, labels, family, message):
    X, _ = data
    y = np.resize(np.array(labels, dtype=object if None in labels else None), len(X))
    with pytest.raises(ValueError, match=message):
        MixedEffectsVIClassifier(GROUPS, family=family).fit(X, y)


def test_an_unordered_categorical_of_three(data):
    X, y = data
    labels = pd.Categorical(np.resize(["a", "b", "c"], len(y)))
    with pytest.raises(ValueError, match="ordered=True"):
        MixedEffectsVIClassifier(GROUPS, family="ordinal").fit(X, labels)


def test_mixed_kinds_of_labels(data):
    X, y = data
    with pytest.raises((ValueError, TypeError), match=r"label|type|str"):
        MixedEffectsVIClassifier(GROUPS).fit(X, np.array([0, "a"], object)[y])


def test_shape_of_the_target(data):
    X, y = data
    model = MixedEffectsVIClassifier(GROUPS)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(X, y[:-1])
    with pytest.raises(ValueError, match="requires y to be passed"):
        model.fit(X, None)
    with pytest.raises(ValueError, match=r"1d array|multioutput|multilabel"):
        model.fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="minimum of 2"):
        model.fit(X[:1], y[:1])


def test_a_failed_fit_is_no_fit(data):
    X, y = data
    model = MixedEffectsVIClassifier(GROUPS)
    with pytest.raises(ValueError, match="one class"):
        model.fit(X, 0 * y)
    with pytest.raises(ValueError, match="not fitted"):
        model.predict(X)


def test_a_failed_fit_leaves_the_earlier_one(data):
    X, y = data
    model = MixedEffectsVIClassifier(GROUPS).fit(X, np.array(["no", "yes"])[y])
    before = model.predict(X)
    with pytest.raises(ValueError, match="3 classes"):
        model.fit(X, X["g0"] % 3)
    assert list(model.classes_) == ["no", "yes"]
    np.testing.assert_array_equal(model.predict(X), before)


def test_nothing_ever_happens():
    """cbpp without a case: the rows that count are of one class."""
    herds = pd.read_csv(DATA / "cbpp.csv.gz").assign(incidence=0)
    both = pd.concat([herds.assign(y=1), herds.assign(y=0)])
    weights = np.concatenate([herds["incidence"], herds["size"] - herds["incidence"]])
    with pytest.raises(ValueError, match=r"one class.*0 in every row"):
        MixedEffectsVIClassifier(formula="(1 | herd)").fit(both, both["y"], weights)


def test_a_level_of_one_class(data):
    """A herd without a case has a finite effect: its prior holds it."""
    X, y = data
    y = np.where(X["g0"] == X["g0"].iloc[0], 0, y)
    model = MixedEffectsVIClassifier(GROUPS).fit(X, y)
    effect = model.random_effects_["g0"].loc[X["g0"].iloc[0], "Intercept"]
    assert -5.0 < effect < -0.5
    assert model.converged_


# Weights and other parameters ----------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (-np.ones(300), "negative"),
        (np.zeros(300), "non-zero"),
        (np.ones(299), "sample_weight"),
        (np.full(300, np.nan), "NaN"),
        (np.ones((300, 2)), "1D"),
    ],
)
def test_weights_that_do_not_count(data, weights, message):
    X, y = data
    with pytest.raises(ValueError, match=message):
        MixedEffectsVIClassifier(GROUPS).fit(X, y, sample_weight=weights)


def test_fractional_weights(data):
    """Weights are multiples of a row's log likelihood, whole or not."""
    X, y = data
    half = MixedEffectsVIClassifier(GROUPS).fit(X, y, sample_weight=np.full(300, 0.5))
    twice = pd.concat([X, X])
    one = MixedEffectsVIClassifier(GROUPS).fit(twice, np.tile(y, 2), np.full(600, 0.25))
    assert half.elbo_ == pytest.approx(one.elbo_, rel=1e-9)
    assert half.n_observations_ == pytest.approx(150.0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"family": "gaussian"}, r"family='gaussian'.*'bernoulli'"),
        ({"family": "poisson"}, r"family='poisson'.*'bernoulli'"),
        ({"family": "binomial"}, r"family='binomial'"),
        ({"link": "cloglog"}, r"link='cloglog'.*'logit', 'probit'"),
        ({"link": None}, "link=None"),
        ({"posterior": "half"}, "posterior='half'"),
        ({"method": "ML"}, "method='ML'"),
        ({"solver": "magic"}, "solver='magic'"),
        ({"handle_unknown": None}, "handle_unknown=None"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"tol": 0}, "tol=0"),
        ({"n_probes": 1}, "n_probes=1"),
        ({"offset": "nothing"}, "'nothing' is not in X"),
        ({"random_effects": ["nothing"]}, "'nothing' is not in X"),
        ({"family": "ordinal", "fit_intercept": False}, "thresholds.*fit_intercept"),
        ({"family": "ordinal", "random_effects": "from_dtype", "formula": "0 + x0 + (1 | g0)"},
         "thresholds.*intercept"),
    ],
)  # fmt: skip
def test_errors_name_what_is_wrong(data, parameters, message):
    X, y = data
    with pytest.raises(ValueError, match=message):
        MixedEffectsVIClassifier(**{"random_effects": GROUPS, **parameters}).fit(X, y)


@pytest.mark.parametrize("parameter", ["noise_scale", "precision_weights"])
def test_parameters_of_normal_responses(data, parameter):
    """A model of classes has no noise, so these are no parameters of it."""
    assert parameter not in MixedEffectsVIClassifier().get_params()
    X, y = data
    frame = X.assign(y=y, w=1.0)
    with pytest.raises((TypeError, ValueError), match=parameter):
        mixed("y ~ x0 + (1 | g0)", frame, family="bernoulli", **{parameter: "w"})


def test_regressors_families_are_not_the_classifiers(data):
    X, y = data
    with pytest.raises(ValueError, match="family='bernoullli'"):
        mixed("y ~ x0 + (1 | g0)", X.assign(y=y), family="bernoullli")


def test_no_gaussian_leftovers(data):
    model = MixedEffectsVIClassifier(GROUPS).fit(*data)
    for name in ("noise_variance_", "dispersion_", "thresholds_", "predict_interval"):
        assert not hasattr(model, name)
    assert not hasattr(model, "partial_fit")


def test_arrays_and_positions(data):
    X, y = data
    named = MixedEffectsVIClassifier(GROUPS).fit(X, y)
    array = MixedEffectsVIClassifier([1, 2]).fit(X.to_numpy(float), y)
    assert array.elbo_ == pytest.approx(named.elbo_, rel=1e-10)
    np.testing.assert_allclose(
        array.predict_proba(X.to_numpy(float)), named.predict_proba(X), rtol=1e-7
    )


def test_columns_of_new_data(data):
    X, y = data
    model = MixedEffectsVIClassifier(GROUPS).fit(X, y)
    with pytest.raises(ValueError, match="feature names"):
        model.predict_proba(X[["g0", "x0", "g1"]])
    with pytest.raises(ValueError, match="NaN in column 'x0'"):
        model.predict_proba(X.assign(x0=np.nan))
    with pytest.raises(ValueError, match="infinity"):
        MixedEffectsVIClassifier(GROUPS).fit(X.assign(x0=np.inf), y)


def test_dependent_columns(data):
    X, y = data
    with pytest.warns(UserWarning, match="left out: 'twice'"):
        model = MixedEffectsVIClassifier(GROUPS).fit(X.assign(twice=2.0 * X["x0"]), y)
    reference = MixedEffectsVIClassifier(GROUPS).fit(X, y)
    np.testing.assert_allclose(
        model.predict_proba(X.assign(twice=2.0 * X["x0"])), reference.predict_proba(X), rtol=1e-6
    )


def test_units_of_a_column(data):
    """Six orders of magnitude and a shift change the coefficient and nothing else."""
    X, y = data
    reference = MixedEffectsVIClassifier(GROUPS, method="ml").fit(X, y)
    for factor, shift in ((1e6, 0.0), (1e-6, 0.0), (1.0, 1e4)):
        moved = X.assign(x0=factor * X["x0"] + shift)
        model = MixedEffectsVIClassifier(GROUPS, method="ml").fit(moved, y)
        assert model.elbo_ == pytest.approx(reference.elbo_, rel=1e-9)
        np.testing.assert_allclose(model.coef_ * factor, reference.coef_, rtol=1e-5)
        np.testing.assert_allclose(
            model.predict_proba(moved), reference.predict_proba(X), rtol=1e-5
        )


def test_complete_separation_is_told(data):
    X, y = data
    with pytest.warns(UserWarning, match="'x0'"):
        model = MixedEffectsVIClassifier(GROUPS).fit(X.assign(x0=2.0 * y - 1.0), y)
    assert np.isfinite(model.coef_).all()
    assert model.coef_[0] > 3.0
    assert model.score(X.assign(x0=2.0 * y - 1.0), y) == 1.0


@pytest.mark.filterwarnings("ignore:.*did not converge:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["two classes", "classes in an order"])
def test_a_level_a_row_is_named(data, ordered, kind):
    X, y = data if kind == "two classes" else ordered
    family = "bernoulli" if kind == "two classes" else "ordinal"
    rows = X.assign(row=np.arange(len(X)))
    model = MixedEffectsVIClassifier(["g0", "row"], family=family, max_iter=3)
    with pytest.warns(UserWarning, match="own level of 'row'"):
        model.fit(rows, y)


def test_a_level_for_some_trials_is_not(data, recwarn):
    """Variation between groups of trials beyond chance: a model that means something."""
    X, _ = data
    weights = np.random.default_rng(0).integers(1, 12, size=len(X))
    rows = pd.concat([X.assign(row=np.arange(len(X)))] * 2)
    model = MixedEffectsVIClassifier(["g0", "row"], max_iter=3)
    model.fit(rows, np.repeat([0, 1], len(X)), sample_weight=np.concatenate([weights, weights]))
    assert not [w for w in recwarn if "of its own" in str(w.message)]
