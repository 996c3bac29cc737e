"""Simulated data: shapes, designs, the truth and reproducibility."""

import tracemalloc
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, ndtr

from skmixed.datasets import make_mixed_classification, make_mixed_regression


def linear_predictor(X, truth):
    """The noise-free response that the truth implies."""
    features = X.filter(regex="^x")
    total = truth.intercept + features.to_numpy() @ truth.coef
    for group, effects in truth.random_effects.items():
        of_rows = effects.loc[X[group]]
        for term in effects.columns:
            values = 1.0 if term == "Intercept" else X[term].to_numpy()
            total = total + of_rows[term].to_numpy() * values
    return total


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("heavy_tailed", [False, True])
@pytest.mark.parametrize("n_slopes", [0, 2, (1, 0)])
def test_without_noise_y_is_the_truth(nested, heavy_tailed, n_slopes):
    X, y, truth = make_mixed_regression(
        500,
        3,
        (12, 5),
        nested=nested,
        n_slopes=n_slopes,
        intercept=3.0,
        correlation=0.4,
        noise_sd=0.0,
        heavy_tailed=heavy_tailed,
        random_state=1,
    )
    np.testing.assert_allclose(y, linear_predictor(X, truth), rtol=1e-12, atol=1e-12)


def test_columns_types_and_names():
    X, y, truth = make_mixed_regression(300, 2, (10, 4, 3), random_state=0)
    assert X.columns.tolist() == ["x0", "x1", "g0", "g1", "g2"]
    assert [str(dtype) for dtype in X.dtypes] == ["float64"] * 2 + ["int32"] * 3
    assert isinstance(y, pd.Series)
    assert y.name == "y"
    assert truth.coef.shape == (2,)
    assert list(truth.random_effects) == ["g0", "g1", "g2"]
    assert truth.formula == "y ~ 1 + x0 + x1 + (1 | g0) + (1 | g1) + (1 | g2)"


def test_truth_is_labelled_like_fitted_attributes():
    _, _, truth = make_mixed_regression(
        300,
        2,
        (10, 4),
        n_slopes=(2, 0),
        group_sd=(2.0, 1.0),
        slope_sd=(0.5, 9.0),
        correlation=0.2,
        random_state=0,
    )
    effects = truth.random_effects["g0"]
    assert effects.columns.tolist() == ["Intercept", "x0", "x1"]
    assert effects.index.tolist() == list(range(10))
    expected = [[4.0, 0.2, 0.2], [0.2, 0.25, 0.05], [0.2, 0.05, 0.25]]
    np.testing.assert_allclose(truth.random_effects_cov["g0"], expected)
    assert truth.random_effects_cov["g0"].index.tolist() == ["Intercept", "x0", "x1"]
    np.testing.assert_allclose(truth.random_effects_cov["g1"], [[1.0]])
    assert truth.formula == "y ~ 1 + x0 + x1 + (1 + x0 + x1 | g0) + (1 | g1)"


@pytest.mark.parametrize("heavy_tailed", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_every_level_occurs_when_rows_suffice(heavy_tailed, nested):
    X, _, truth = make_mixed_regression(
        60, 0, (12, 5), nested=nested, heavy_tailed=heavy_tailed, random_state=3
    )
    for group, effects in truth.random_effects.items():
        assert np.bincount(X[group], minlength=len(effects)).min() >= 1


@pytest.mark.parametrize("heavy_tailed", [False, True])
def test_fewer_rows_than_levels(heavy_tailed):
    X, y, truth = make_mixed_regression(20, 1, (50, 7), heavy_tailed=heavy_tailed, random_state=3)
    assert len(X) == len(y) == 20
    assert len(truth.random_effects["g0"]) == 50
    assert X["g0"].max() < 50


def test_nested_levels_have_one_parent():
    X, _, truth = make_mixed_regression(2000, 1, (6, 4, 3), nested=True, random_state=0)
    assert [len(effects) for effects in truth.random_effects.values()] == [6, 24, 72]
    assert X.groupby("g1")["g0"].nunique().max() == 1
    assert X.groupby("g2")["g1"].nunique().max() == 1
    assert (X.groupby("g0")["g1"].nunique() == 4).all()


def test_balanced_levels_differ_by_one_row_at_most():
    X, _, _ = make_mixed_regression(1003, 1, (50, 20), random_state=0)
    for group in ("g0", "g1"):
        assert np.ptp(np.bincount(X[group])) <= 1


def test_crossed_factors_are_independent():
    X, _, _ = make_mixed_regression(40_000, 1, (4, 5), random_state=0)
    table = pd.crosstab(X["g0"], X["g1"])
    np.testing.assert_allclose(table, 2000, atol=5 * np.sqrt(2000))


def test_heavy_tails():
    X, _, _ = make_mixed_regression(400_000, 0, (2000, 1000), heavy_tailed=True, random_state=0)
    for group in ("g0", "g1"):
        counts = np.bincount(X[group])
        assert counts.max() > 10 * np.median(counts)
        assert counts.mean() > 1.3 * np.median(counts)
    log_activity = np.log(np.bincount(X["g0"]))
    assert 1.0 < log_activity.std() < 1.4
    # Identifiers tell nothing about popularity.
    popularity = np.bincount(X["g1"])
    assert abs(np.corrcoef(np.arange(1000), np.log(popularity))[0, 1]) < 0.15


def test_shuffle_false_keeps_rows_in_order_of_the_first_factor():
    X, _, _ = make_mixed_regression(200, 1, (10, 4), shuffle=False, random_state=0)
    assert X["g0"].is_monotonic_increasing
    assert not X["g1"].is_monotonic_increasing
    shuffled, _, _ = make_mixed_regression(200, 1, (10, 4), random_state=0)
    assert not shuffled["g0"].is_monotonic_increasing


def test_moments_of_effects_and_noise():
    X, y, truth = make_mixed_regression(
        40_000,
        1,
        (20_000, 10),
        n_slopes=(1, 0),
        group_sd=(0.7, 0.2),
        slope_sd=0.4,
        correlation=-0.5,
        noise_sd=2.0,
        random_state=0,
    )
    sample = np.cov(truth.random_effects["g0"].to_numpy().T)
    np.testing.assert_allclose(sample, truth.random_effects_cov["g0"], rtol=0.05)
    residual = y.to_numpy() - linear_predictor(X, truth)
    assert residual.std() == pytest.approx(2.0, rel=0.02)
    assert residual.mean() == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("correlation", [-1.0, 1.0])
def test_perfect_correlation(correlation):
    _, _, truth = make_mixed_regression(
        n_slopes=1, group_sd=1.0, slope_sd=2.0, correlation=correlation, random_state=0
    )
    effects = truth.random_effects["g0"]
    np.testing.assert_allclose(effects["x0"], 2.0 * correlation * effects["Intercept"], atol=1e-7)


def test_zero_standard_deviation_gives_zero_effects():
    _, _, truth = make_mixed_regression(group_sd=(0.0, 1.0), random_state=0)
    assert (truth.random_effects["g0"] == 0).all(axis=None)
    assert (truth.random_effects["g1"] != 0).all(axis=None)


@pytest.mark.parametrize("make", [make_mixed_regression, make_mixed_classification])
@pytest.mark.parametrize("heavy_tailed", [False, True])
def test_equal_seeds_give_equal_data(make, heavy_tailed):
    first = make(heavy_tailed=heavy_tailed, random_state=4)
    again = make(heavy_tailed=heavy_tailed, random_state=np.random.RandomState(4))
    other = make(heavy_tailed=heavy_tailed, random_state=5)
    pd.testing.assert_frame_equal(first[0], again[0])
    pd.testing.assert_series_equal(first[1], again[1])
    assert not first[1].equals(other[1])


def test_random_state_advances():
    source = np.random.RandomState(0)
    first = make_mixed_regression(random_state=source)[1]
    second = make_mixed_regression(random_state=source)[1]
    assert not first.equals(second)


@pytest.mark.parametrize("make", [make_mixed_regression, make_mixed_classification])
def test_arrays_and_no_truth(make):
    X, y = make(100, 2, (5,), as_frame=False, return_truth=False, random_state=0)
    frame, series = make(100, 2, (5,), return_truth=False, random_state=0)
    assert isinstance(X, np.ndarray)
    assert X.dtype == np.float64
    np.testing.assert_array_equal(X, frame.to_numpy())
    np.testing.assert_array_equal(y, series.to_numpy())


def test_coefficients_as_given():
    _, _, truth = make_mixed_regression(n_features=2, coef=[1.5, -2.0], random_state=0)
    np.testing.assert_array_equal(truth.coef, [1.5, -2.0])
    _, _, truth = make_mixed_regression(n_features=3, coef=2.0, random_state=0)
    np.testing.assert_array_equal(truth.coef, [2.0, 2.0, 2.0])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_samples": 0}, "n_samples=0"),
        ({"n_samples": 2.5}, r"n_samples=2\.5"),
        ({"n_features": -1}, "n_features=-1"),
        ({"groups": ()}, "no grouping factor"),
        ({"groups": (5, 0)}, r"groups\[1\]=0"),
        ({"groups": (100_000, 100_000), "nested": True}, "int32"),
        ({"n_slopes": 2}, "n_slopes of g0 is 2, but n_features=1"),
        ({"n_slopes": (0, 1, 0)}, "3 values for 2 grouping factors"),
        ({"group_sd": -0.5}, r"group_sd of g0=-0\.5"),
        ({"group_sd": (1.0, float("nan"))}, "group_sd of g1=nan"),
        ({"slope_sd": "wide"}, "slope_sd"),
        ({"noise_sd": float("inf")}, "noise_sd=inf"),
        ({"correlation": 1.5, "n_slopes": 1}, r"correlation=1\.5"),
        ({"correlation": -0.9, "n_slopes": 2, "n_features": 2}, "for 3 effects"),
        ({"coef": [1.0, 2.0]}, "coef has shape"),
        ({"family": "binomial"}, "family='binomial'"),
        ({"family": "poisson", "intercept": 50.0}, "largest linear predictor"),
    ],
)
def test_impossible_requests(arguments, words):
    with pytest.raises(ValueError, match=words):
        make_mixed_regression(**arguments, random_state=0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_classes": 1}, "n_classes=1"),
        ({"link": "cloglog"}, "link='cloglog'"),
        ({"thresholds": [0.5]}, "intercept="),
        ({"n_classes": 4, "thresholds": [0.0, 1.0]}, "needs 3 thresholds"),
        ({"n_classes": 3, "thresholds": [1.0, 1.0]}, "increasing"),
        ({"n_classes": 3, "thresholds": [0.0, float("inf")]}, "finite"),
        ({"group_sd": -1.0}, r"group_sd of g0=-1\.0"),
    ],
)
def test_impossible_classes(arguments, words):
    with pytest.raises(ValueError, match=words):
        make_mixed_classification(**arguments, random_state=0)


def test_a_million_rows_use_little_more_than_the_result():
    tracemalloc.start()
    X, y, _ = make_mixed_regression(1_000_000, 1, (40_000, 8_000), heavy_tailed=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    result = X.memory_usage(index=False).sum() + y.nbytes
    assert peak < 2.5 * result


def assert_as_probable(y, probabilities):
    """Counts of classes in tenths of the rows, sorted by probability, within 4.5 errors."""
    for k in range(probabilities.shape[1]):
        order = np.argsort(probabilities[:, k])
        for rows in np.array_split(order, 10):
            expected = probabilities[rows, k]
            error = np.sqrt((expected * (1.0 - expected)).sum())
            assert abs((y[rows] == k).sum() - expected.sum()) < 4.5 * error


@pytest.mark.parametrize(("link", "distribution"), [("logit", expit), ("probit", ndtr)])
def test_two_classes_have_the_probabilities_of_the_truth(link, distribution):
    X, y, truth = make_mixed_classification(
        40_000, 2, (300, 40), link=link, n_slopes=(1, 0), intercept=-0.5, random_state=2
    )
    assert y.dtype == np.int64
    assert truth.intercept == -0.5
    assert "thresholds" not in truth
    assert "noise_sd" not in truth
    assert truth.formula == "y ~ 1 + x0 + x1 + (1 + x0 | g0) + (1 | g1)"
    ones = distribution(linear_predictor(X, truth))
    assert_as_probable(y.to_numpy(), np.column_stack([1.0 - ones, ones]))


@pytest.mark.parametrize(("link", "distribution"), [("logit", expit), ("probit", ndtr)])
def test_ordered_classes_have_the_probabilities_of_the_truth(link, distribution):
    thresholds = np.array([-1.0, 0.2, 0.9])
    X, y, truth = make_mixed_classification(
        40_000,
        1,
        (300, 40),
        n_classes=4,
        link=link,
        thresholds=thresholds,
        intercept=0.3,
        random_state=2,
    )
    assert truth.intercept == 0.0
    np.testing.assert_allclose(truth.thresholds, thresholds - 0.3)
    predictor = linear_predictor(X, truth)
    below = distribution(truth.thresholds - predictor[:, None])
    ends = np.column_stack([np.zeros(len(X)), below, np.ones(len(X))])
    assert_as_probable(y.to_numpy(), np.diff(ends, axis=1))


@pytest.mark.parametrize("link", ["logit", "probit"])
def test_categories_are_equally_frequent_unless_told(link):
    _, y, _ = make_mixed_classification(
        30_000, 0, n_classes=5, link=link, group_sd=0.0, random_state=0
    )
    np.testing.assert_allclose(np.bincount(y), 6000, atol=4.5 * np.sqrt(6000 * 0.8))


def test_classes_share_design_and_truth_with_the_regression():
    arguments = {"n_slopes": (1, 0), "heavy_tailed": True, "random_state": 6}
    X, _, truth = make_mixed_regression(**arguments)
    of_classes, _, same = make_mixed_classification(**arguments)
    pd.testing.assert_frame_equal(X, of_classes)
    pd.testing.assert_frame_equal(truth.random_effects["g0"], same.random_effects["g0"])
    np.testing.assert_array_equal(truth.coef, same.coef)


def test_counts_have_the_mean_and_the_variance_of_the_truth():
    X, y, truth = make_mixed_regression(
        40_000, 1, (300, 40), family="poisson", intercept=0.5, coef=0.4, random_state=2
    )
    assert y.dtype == np.int64
    assert "noise_sd" not in truth
    mean = np.exp(linear_predictor(X, truth))
    for rows in np.array_split(np.argsort(mean), 10):
        assert abs((y - mean)[rows].sum()) < 4.5 * np.sqrt(mean[rows].sum())
    pearson = (y - mean) ** 2 / mean
    assert abs(pearson.mean() - 1.0) < 4.5 * pearson.std() / np.sqrt(len(y))


@pytest.mark.parametrize(
    "make",
    [
        make_mixed_regression,
        partial(make_mixed_regression, family="poisson"),
        partial(make_mixed_classification, n_classes=3),
    ],
)
def test_data_do_not_depend_on_the_size_of_the_chunks(make, monkeypatch):
    whole = make(random_state=1)[1]
    monkeypatch.setattr("skmixed.datasets.truth.CHUNK_ROWS", 64)
    pd.testing.assert_series_equal(make(random_state=1)[1], whole)


def test_a_single_factor_by_its_number_of_levels():
    one = make_mixed_regression(50, groups=5, random_state=0)
    other = make_mixed_regression(50, groups=(5,), random_state=0)
    pd.testing.assert_frame_equal(one[0], other[0])
