"""What long runs of the fuzzers found, each as the smallest data that show it."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, mixed
from skmixed.design import DesignEncoder, Table, resolve_spec
from skmixed.families import make_family
from skmixed.fit.quadratic_model import quadratic_model

RNG = np.random.default_rng(0)
X = pd.DataFrame({"x": RNG.standard_normal(12), "g": np.arange(12) % 3})
Y = RNG.standard_normal(12)


def objects(values):
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


# Errors in words, and of the right type -------------------------------------------------


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (np.arange(12) + 1j, "Column 'x' cannot be read as numbers"),
        (pd.Series(objects([10**400] * 12), dtype=object), "Column 'x' cannot be read as numbers"),
        (np.full(12, 1.7e308) * np.sign(Y), "Column 'x' has a largest absolute value of 1.7e"),
        (np.full(12, 1e-250) * Y, "Column 'x' has a largest absolute value of .*e-250"),
    ],
)
def test_columns_that_are_no_numbers_of_double_precision(column, words):
    with pytest.raises(ValueError, match=words):
        MixedEffectsVIRegressor(["g"]).fit(X.assign(x=column), Y)


def test_huge_values_to_predict():
    model = MixedEffectsVIRegressor(["g"]).fit(X, Y)
    with pytest.raises(ValueError, match="Column 'x' has a largest absolute value of 1e\\+200"):
        model.predict(X.assign(x=1e200), return_std=True)
    assert np.isfinite(model.predict(X.assign(x=1e-200), return_std=True)).all()


@pytest.mark.parametrize("formula", ["scale(x)", "center(x)"])
def test_functions_whose_moments_overflow(formula):
    values = np.where(np.arange(12) % 2 == 0, 1.7e308, 1.6e308)
    with pytest.raises(ValueError, match=r"of column 'x' has mean .* change the unit"):
        MixedEffectsVIRegressor(formula=formula).fit(X.assign(x=values), Y)


@pytest.mark.parametrize("bad", [{"x": Y}, pd.DataFrame(np.ones((12, 2)), columns=["x", "x"])])
def test_what_is_no_table_is_refused_before_its_names_are_read(bad):
    with pytest.raises((ValueError, TypeError), match=r"not a data frame|one column named"):
        MixedEffectsVIRegressor().fit(bad, Y)


def test_a_list_with_containers():
    with pytest.raises(ValueError, match="X is not a table of numbers and labels"):
        MixedEffectsVIRegressor().fit([[[1], 2.0], [{1}, 3.0], [[2, 3], 4.0]], Y[:3])


@pytest.mark.parametrize("formula", ["C(x) + (1 | g)", "1 + (1 | x)", "1 + (1 | x:g)"])
@pytest.mark.parametrize("value", [[1], (1, 2)], ids=["list", "tuple"])
def test_containers_are_no_labels(formula, value):
    column = objects([None] * 12)
    for row in range(12):
        column[row] = value if row % 2 else "a"
    with pytest.raises(TypeError, match=r"Column 'x' holds a (list|tuple) in row 1"):
        MixedEffectsVIRegressor(formula=formula).fit(X.assign(x=column), Y)


def test_containers_in_rows_that_were_not_fitted():
    """Rows of weight 0 are new to the model, and draws number their levels."""
    column = objects([None] * 12)
    for row in range(12):
        column[row] = "ab"[row % 2] if row else (1, 2)
    model = MixedEffectsVIRegressor(["g"]).fit(
        X.assign(g=column), Y, sample_weight=np.arange(12) > 0
    )
    with pytest.raises(TypeError, match="Column 'g' holds a tuple in row 0"):
        model.sample_y(X.assign(g=column), 2, random_state=0)


def test_y_that_is_no_vector_of_numbers():
    with pytest.raises(ValueError, match="y cannot be read as an array of numbers"):
        MixedEffectsVIRegressor(["g"]).fit(X, objects(["a", 2.5, 1] * 4))
    with pytest.raises(ValueError, match="sample_weight cannot be read as an array of numbers"):
        MixedEffectsVIRegressor(["g"]).fit(X, Y, sample_weight=["a"] * 12)


def test_classes_without_an_order():
    with pytest.raises(ValueError, match="y mixes labels of the types float, str"):
        MixedEffectsVIClassifier(["g"]).fit(X, objects(["a", 2.5] * 6))


@pytest.mark.parametrize("family", ["gaussian", "negative_binomial", "gamma"])
def test_y_whose_square_overflows(family):
    with pytest.raises(ValueError, match="change the unit of y"):
        MixedEffectsVIRegressor(["g"], family=family).fit(X, np.full(12, 1e298))


@pytest.mark.parametrize("size", [4e298, 1e-200])
def test_weights_whose_square_is_no_number(size):
    with pytest.raises(ValueError, match=r"sample_weight runs from .* squares overflow"):
        MixedEffectsVIRegressor(["g"]).fit(X, Y, sample_weight=np.full(12, size))
    with pytest.raises(ValueError, match=r"Column 'w' runs from .* squares overflow"):
        MixedEffectsVIRegressor(["g"], precision_weights="w").fit(X.assign(w=size), Y)


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_noise_scale_whose_square_is_no_number(scale):
    with pytest.raises(ValueError, match=r"noise_scale=.* change the unit of y"):
        MixedEffectsVIRegressor(["g"], noise_scale=scale).fit(X, Y)


def test_an_offset_beyond_all_bounds():
    model = MixedEffectsVIRegressor(["g"], family="poisson", offset="o")
    with pytest.raises(ValueError, match="Column 'o' has a largest absolute value"):
        model.fit(X.assign(o=1e300 * Y), np.arange(12))
    with pytest.raises(ValueError, match="not finite at any starting value"):
        model.fit(X.assign(o=1e100 * Y), np.arange(12))


@pytest.mark.parametrize("name", ["offset", "precision_weights"])
@pytest.mark.parametrize("value", [[], {}, ("x", []), 1.5])
def test_a_column_that_is_no_name(name, value):
    with pytest.raises(ValueError, match=r"Column .* is not in X\. X has the columns: 'x', 'g'"):
        MixedEffectsVIRegressor(["g"], **{name: value}).fit(X, Y)


# Messages that can be read --------------------------------------------------------------


def test_a_formula_in_place_of_a_name():
    """The message does not repeat ten thousand letters."""
    with pytest.raises(ValueError, match=r"Column 'x \+ .*\.\.\. is not in X") as caught:
        resolve_spec(Table.from_input(X), random_effects=["x + " * 2_000])
    assert len(str(caught.value)) < 400


def test_control_characters_of_a_group_stay_out_of_the_message():
    name = "\x1b[31m"
    text = f"1 + (1 | `{name}`) + (1 + x || `{name}`)"
    table = Table.from_input(pd.DataFrame({name: X["g"], "x": X["x"]}))
    with pytest.raises(ValueError, match=r"varies by .* in two terms") as caught:
        DesignEncoder.learn(resolve_spec(table, formula=text), table)
    assert str(caught.value).isprintable()


# Memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("formula", ["C(a):C(b):C(c):C(d)", "1 + (C(a):C(b):C(c):C(d) | g)"])
def test_interactions_that_no_memory_could_hold(formula):
    rng = np.random.default_rng(1)
    data = pd.DataFrame({name: rng.integers(0, 40, 200) for name in "abcdg"})
    table = Table.from_input(data)
    with pytest.raises(
        ValueError, match=r"C\(a\):C\(b\):C\(c\):C\(d\)' needs \d+ indicator columns"
    ):
        DesignEncoder.learn(resolve_spec(table, formula=formula), table)


# Numbers at the edge --------------------------------------------------------------------


@pytest.mark.parametrize("family", ["poisson", "negative_binomial", "gamma"])
def test_moments_of_responses_at_the_edge(family):
    """As by definition; NaN nowhere, also where one factor overflows and another vanishes."""
    likelihood = make_family(family)
    mean = np.array([0.3, -2.0, 2.0, -1.6e6, -1.0, 1e4, 100.0])
    variance = np.array([0.5, 1e-9, 0.0, 5e5, 2e3, 1.0, 400.0])
    parameters = np.array([0.4])[: 0 if family == "poisson" else 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = likelihood.predictive_moments(mean, variance, parameters)
        draws = likelihood.sample(mean, parameters, np.random.default_rng(0))
    rate = np.exp(mean[:3] + 0.5 * variance[:3])
    factor = np.expm1(variance[:3])
    if family != "poisson":
        factor = factor + np.exp(-0.4) * np.exp(variance[:3])
    expected = np.sqrt(rate**2 * factor + (rate if family != "gamma" else 0.0))
    np.testing.assert_allclose(first[:3], rate, rtol=1e-12)
    np.testing.assert_allclose(second[:3], expected, rtol=1e-9)
    assert (first[3], second[3]) == (0.0, 0.0)
    assert (first[5], second[5]) == (np.inf, np.inf)
    # the square of the deviation overflows, not the deviation
    assert np.isfinite(first[6])
    assert np.isfinite(second[6])
    assert np.log(second[6]) == pytest.approx(100.0 + 400.0, abs=0.5)
    assert np.isfinite(draws).all()


def test_mean_field_with_weights_of_all_sizes():
    """Dependent only in the working weights: a step that is shortened, no LinAlgError."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"x": rng.standard_normal(6), "z": [0.0, 0.0, 0.0, 0.2, 0.0, 0.3]})
    y = np.array([2e84, 4.0, 5.0, 2.0, 0.0, 25.0])
    model = MixedEffectsVIRegressor(
        None, family="negative_binomial", posterior="mean_field", method="ml"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(data, y.round())
    assert np.isfinite(model.coef_cov_).all()


def test_separated_counts_end_in_a_warning_and_numbers():
    data = pd.DataFrame({"x": [0.2, -1.2, 0.5, 0.9], "g": [1, 4, 3, 0], "y": [2, 0, 0, 2]})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = mixed("y ~ x + C(g)", data, family="poisson")
    assert caught
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moments = model.predict(data, return_std=True)
        intervals = model.predict_interval(data)
    assert not np.isnan(moments).any()
    assert not np.isnan(intervals).any()


def test_counts_of_very_different_sizes():
    """The first working model is singular in double precision."""
    data = pd.DataFrame(
        {"x": [1.1, -0.9, 0.4], "z": [-1.4, 0.6, -0.2], "g": [3, 3, 4], "y": [5.2e37, 3.0, 1.0]}
    )
    with pytest.raises(ValueError, match=r"y runs from 1 to 5.2e\+37"):
        mixed("y ~ x + z + (1 | g)", data, family="poisson", method="ml")


def test_counts_beyond_all_precision():
    """The posterior of the fixed effects is not positive definite to rounding: no LinAlgError."""
    columns = np.array(
        [
            [-0.33564859286487925, 2.032042519194076, 1.0],
            [-1.3695387215203665, 1.7176320320397302, 3.0],
            [0.2788784171171068, 0.8873025010979478, 0.0],
            [-0.9180159764520177, 0.513741527681329, 2.0],
        ]
    )
    y = [
        9.207084316916564e136,
        2.1952123324905719e136,
        8.415427527008428e136,
        1.989635527348826e136,
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = MixedEffectsVIRegressor(None, family="poisson", fit_intercept=False).fit(columns, y)
    assert caught
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.coef_cov_).all()


@pytest.mark.parametrize("family", ["bernoulli", "ordinal"])
def test_ordered_categories_that_are_booleans(family):
    truth = np.arange(12) % 3 == 0
    ordered = pd.Series(pd.Categorical(truth, categories=[False, True], ordered=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MixedEffectsVIClassifier(["g"], family=family).fit(X[["x", "g"]], ordered)
        plain = MixedEffectsVIClassifier(["g"], family=family).fit(X[["x", "g"]], truth)
    assert model.classes_.tolist() == [False, True]
    np.testing.assert_allclose(model.predict_proba(X), plain.predict_proba(X), rtol=1e-10)


def test_derivatives_that_are_not_finite():
    """As where a dispersion runs to 0, on the way there or not by rounding: an error in words."""
    with pytest.raises(ValueError, match="reproduces the response without error"):
        quadratic_model(np.array([1.0]), np.array([[np.inf]]))


def test_covariance_at_the_origin():
    """Row by row, which many columns need, equals the product of matrices."""
    data = X.assign(z=X["x"] ** 2 + 5.0)
    model = MixedEffectsVIRegressor(["g"]).fit(data, Y)
    result = model.fit_result_
    matrix = np.eye(3)
    matrix[0] -= result.center
    np.testing.assert_allclose(
        model.coef_cov_, matrix @ result.coefficient_covariance @ matrix.T, rtol=1e-10
    )


@pytest.mark.parametrize("solver", ["direct", "iterative"])
@pytest.mark.parametrize("distance", [1e-5, 1e-9])
def test_variances_that_leave_nothing_of_the_noise(solver, distance):
    """Steps to where a level's equations are singular are taken back without a word of NumPy."""
    y = np.array([0.17837053765308816, 0.4885197726816657, 0.7348589547197624])
    data = pd.DataFrame(
        {
            "x": y + distance * np.array([1.0, -1.0, 0.5]),
            "g": [0, 0, 1],
            "h": [0, 0, 1],
            "k": np.array(["a", 1.0, 1.0], object),
        }
    )
    model = MixedEffectsVIRegressor(
        formula="1 + x + (x || g) + (1 || h) + (x || k)", solver=solver, n_probes=3, max_iter=30
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(data, y)
    assert caught
    # kernels that are not compiled warn where compiled ones do not
    outside = [warning for warning in caught if "_kernels" not in warning.filename]
    assert not any(issubclass(warning.category, RuntimeWarning) for warning in outside)
    assert np.isfinite(model.predict(data)).all()
