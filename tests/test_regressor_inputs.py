"""What X and y may be, and how the columns of a model are named."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from skmixed import MixedEffectsVIRegressor, RandomEffect, mixed
from skmixed.exceptions import ColumnRoleWarning
from skmixed.formula import FormulaError


def make_frame(n=150, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "x": rng.standard_normal(n),
            "school": rng.choice(["north", "south", "east", "west"], n),
            "pupil": rng.integers(0, 15, n),
        }
    )
    school = frame["school"].map({"north": 1.0, "south": -1.0, "east": 0.3, "west": 0.0})
    y = 2.0 + frame["x"] + school + rng.standard_normal(15)[frame["pupil"]]
    return frame, y + rng.standard_normal(n)


class OtherColumn:
    """The part of another library's column that is used."""

    def __init__(self, values):
        self.values = values
        self.dtype = "Utf8" if values.dtype.kind in "OU" else "Float64"

    def to_numpy(self):
        return self.values

    def to_list(self):
        return self.values.tolist()


class OtherFrame:
    """The part of another library's data frame that is used."""

    def __init__(self, frame):
        self.frame = frame
        self.columns = list(frame.columns)
        self.shape = frame.shape

    def __len__(self):
        return len(self.frame)

    def __getitem__(self, name):
        return OtherColumn(self.frame[name].to_numpy())


KINDS = {
    "pandas": lambda frame: frame,
    "categories": lambda frame: frame.astype({"school": "category", "pupil": "category"}),
    "nullable": lambda frame: frame.convert_dtypes(),
    "objects": lambda frame: frame.to_numpy(dtype=object),
    "list": lambda frame: frame.to_numpy(dtype=object).tolist(),
    "other_library": OtherFrame,
    "float32": lambda frame: frame.assign(x=frame["x"].astype(np.float32)),
    "other_index": lambda frame: frame.set_axis(frame.index[::-1] * 10, axis=0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_X(kind):
    frame, y = make_frame()
    reference = MixedEffectsVIRegressor([1, 2]).fit(frame, y)
    X = KINDS[kind](frame)
    model = MixedEffectsVIRegressor([1, 2]).fit(X, y)
    tolerance = 1e-6 if kind == "float32" else 1e-10
    assert model.elbo_ == pytest.approx(reference.elbo_, rel=tolerance)
    np.testing.assert_allclose(model.predict(X), reference.predict(frame), rtol=1e-5)
    assert len(model.random_effects_) == 2
    for effects in model.random_effects_.values():
        assert effects.shape[1] == 1
    names = {"school", "pupil"} if hasattr(X, "columns") else {"1", "2"}
    assert set(model.random_effects_) == names


@pytest.mark.parametrize(
    "y_of",
    [lambda y: y.to_numpy(), lambda y: y.tolist(), lambda y: y.to_numpy().astype(np.float32),
     lambda y: y.convert_dtypes(), lambda y: y.set_axis(y.index[::-1])],
    ids=["array", "list", "float32", "nullable", "other_index"],
)  # fmt: skip
def test_kinds_of_y(y_of):
    frame, y = make_frame()
    reference = MixedEffectsVIRegressor([1, 2]).fit(frame, y)
    model = MixedEffectsVIRegressor([1, 2]).fit(frame, y_of(y))
    np.testing.assert_allclose(model.coef_, reference.coef_, rtol=1e-5)
    assert model.noise_variance_ == pytest.approx(reference.noise_variance_, rel=1e-5)


def test_integer_and_boolean_y():
    frame, y = make_frame()
    whole = np.round(3 * y).astype(int)
    model = MixedEffectsVIRegressor([1, 2])
    expected = model.fit(frame, whole.astype(float)).elbo_
    assert model.fit(frame, whole.astype(np.int8)).elbo_ == expected
    assert np.isfinite(model.fit(frame, whole > 5).elbo_)


@pytest.mark.parametrize("order", ["C", "F", "strided", "read_only"])
def test_memory_layouts(order):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal((90, 2)), rng.integers(0, 6, 90)])
    y = rng.standard_normal(90) + X[:, 0]
    expected = MixedEffectsVIRegressor(2).fit(X, y)
    changed = {
        "C": np.ascontiguousarray(X),
        "F": np.asfortranarray(X),
        "strided": np.repeat(X, 2, axis=1)[:, ::2],
        "read_only": X.copy(),
    }[order]
    changed.flags.writeable = order != "read_only"
    model = MixedEffectsVIRegressor(2).fit(changed, y)
    assert model.elbo_ == pytest.approx(expected.elbo_, rel=1e-12)
    np.testing.assert_allclose(model.predict(changed), expected.predict(X), rtol=1e-11)


def test_from_dtype():
    """Columns of at least five labels are groups, also of four if declared; others are fixed."""
    frame, y = make_frame()
    town = np.array(list("abcdef"))[np.arange(len(y)) % 6]
    model = MixedEffectsVIRegressor().fit(frame.assign(town=town), y)
    assert list(model.random_effects_) == ["town"]
    assert model.coef_names_ == ["x", "school[north]", "school[south]", "school[west]", "pupil"]
    both = frame.astype({"school": "category", "pupil": "category"})
    with pytest.warns(ColumnRoleWarning, match="'school' groups the rows"):
        assert set(MixedEffectsVIRegressor().fit(both, y).random_effects_) == {"school", "pupil"}
    with pytest.warns(ColumnRoleWarning, match="No column groups the rows.*: 0, 1 are"):
        bare = MixedEffectsVIRegressor().fit(frame[["x", "pupil"]].to_numpy(), y)
    assert bare.random_effects_ == {}


@pytest.mark.parametrize(
    "random_effects",
    [
        ["school", "(1 + x | pupil)"],
        ["school", RandomEffect("pupil", slopes=["x"])],
        ["(1 | school)", "(x | pupil)"],
        (1, RandomEffect(2, slopes=0)),
        [-2, "(1 + x | pupil)"],
        "(1 | school) + (x | pupil)",
    ],
    ids=repr,
)
def test_ways_to_write_a_model(random_effects):
    frame, y = make_frame()
    formula = MixedEffectsVIRegressor(formula="1 + x + (1 | school) + (1 + x | pupil)")
    expected = formula.fit(frame, y)
    model = MixedEffectsVIRegressor(random_effects).fit(frame, y)
    assert model.elbo_ == pytest.approx(expected.elbo_, rel=1e-11)
    assert list(model.random_effects_["pupil"].columns) == ["Intercept", "x"]
    assert set(model.random_effects_) == {"school", "pupil"}


def test_uncorrelated_and_nested():
    frame, y = make_frame()
    bars = MixedEffectsVIRegressor(["(1 + x || school)", "(1 | school:pupil)"]).fit(frame, y)
    objects = MixedEffectsVIRegressor(
        [RandomEffect("school", ["x"], covariance="diagonal"), RandomEffect(("school", "pupil"))]
    ).fit(frame, y)
    assert bars.elbo_ == pytest.approx(objects.elbo_, rel=1e-12)
    assert bars.random_effects_cov_["school"].loc["Intercept", "x"] == 0.0
    slash = mixed("y ~ x + (1 | school / pupil)", frame.assign(y=y))
    assert set(slash.random_effects_) == {"school", "school:pupil"}
    index = slash.random_effects_["school:pupil"].index
    assert index.names == ["school", "pupil"]
    components = slash.variance_components_
    assert list(components["group"]) == ["school", "school:pupil", "Residual"]
    assert components["sd"].iloc[-1] ** 2 == pytest.approx(slash.noise_variance_)


@pytest.mark.parametrize("offset", ["o", 3, -2])
def test_offset_and_weights_by_name_and_position(offset):
    """In `mixed` too, where the estimator sees other columns than the user."""
    frame, y = make_frame()
    rng = np.random.default_rng(1)
    frame = frame.assign(o=10 * rng.standard_normal(150), w=rng.uniform(0.5, 2.0, 150))
    shifted = y + frame["o"]
    reference = MixedEffectsVIRegressor(["school", "pupil"], precision_weights="w").fit(
        frame.drop(columns="o"), y
    )
    model = MixedEffectsVIRegressor(["school", "pupil"], offset=offset, precision_weights=-1)
    model.fit(frame, shifted)
    assert model.coef_names_ == ["x"]
    assert model.elbo_ == pytest.approx(reference.elbo_, rel=1e-10)
    expected = reference.predict(frame.drop(columns="o")) + frame["o"]
    np.testing.assert_allclose(model.predict(frame), expected, rtol=1e-8)
    data = frame.assign(y=shifted)
    # a column before the others, so that no position agrees by chance
    formula = mixed(
        "y ~ x + (1 | school) + (1 | pupil)", data,
        offset=offset if offset != -2 else -3, precision_weights="w",
    )  # fmt: skip
    assert formula.elbo_ == pytest.approx(reference.elbo_, rel=1e-10)


def test_offset_in_the_first_column():
    frame, y = make_frame()
    data = pd.DataFrame({"o": 5.0 * frame["x"], **frame, "y": y + 5.0 * frame["x"]})
    model = mixed("y ~ x + (1 | school)", data, offset=0)
    assert model.coef_[0] == pytest.approx(mixed("y ~ x + (1 | school)", data).coef_[0] - 5.0)


def test_without_intercept():
    frame, y = make_frame()
    model = MixedEffectsVIRegressor(["school"], fit_intercept=False).fit(frame[["x", "school"]], y)
    formula = mixed("y ~ 0 + x + (1 | school)", frame.assign(y=y))
    assert model.intercept_ == 0.0
    assert model.elbo_ == pytest.approx(formula.elbo_, rel=1e-11)
    assert model.coef_names_ == ["x"]
    assert model.coef_cov_.shape == (1, 1)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"random_effects": ["nothing"]}, "Column 'nothing' is not in X"),
        ({"random_effects": ["schol"]}, "Did you mean 'school'"),
        ({"random_effects": [9]}, "9 does not exist"),
        ({"random_effects": ["school", "school"]}, "'school' as a grouping factor twice"),
        ({"formula": "x + nothing"}, "nothing"),
        ({"formula": "x", "random_effects": ["school"]}, "Both formula="),
        ({"formula": "y ~ x"}, "names the response 'y'"),
        ({"family": "poison"}, "family='poison'"),
        ({"posterior": "half"}, "posterior='half' is not known; choose one of 'full'"),
        ({"method": "REML"}, "method='REML'"),
        ({"solver": "magic"}, "solver='magic'"),
        ({"handle_unknown": None}, "handle_unknown=None"),
        ({"noise_scale": 0.0}, "noise_scale=0.0 must be a positive number"),
        ({"noise_scale": np.nan}, "noise_scale=nan"),
        ({"max_iter": 0}, "max_iter=0"),
        ({"n_jobs": 0}, "n_jobs=0 means no thread"),
        ({"tol": -1.0}, "tol=-1.0"),
        ({"fit_intercept": 1}, "fit_intercept=1 must be True or False"),
        ({"warm_start": "yes"}, "warm_start='yes'"),
        ({"offset": "nothing"}, "Column 'nothing' is not in X"),
        ({"precision_weights": "x", "random_effects": ["school"]}, "'x'"),
    ],
)
def test_errors_name_what_is_wrong(parameters, message):
    frame, y = make_frame()
    with pytest.raises(ValueError, match=message):
        MixedEffectsVIRegressor(**parameters).fit(frame, y)


def test_one_row_and_no_rows():
    frame, y = make_frame()
    model = MixedEffectsVIRegressor(["school"])
    with pytest.raises(ValueError, match="minimum of 2 is required"):
        model.fit(frame[:1], y[:1])
    with pytest.raises(ValueError, match="0 sample"):
        model.fit(frame[:0], y[:0])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        model.fit(frame, y[:-1])


def test_all_rows_dropped():
    frame, y = make_frame()
    data = frame.assign(y=y, x=np.nan)
    with pytest.raises(ValueError, match=r"leaves no row.*column 'x' has 150 missing values"):
        mixed("y ~ x + (1 | school)", data, missing="drop")


def test_text_in_a_fixed_column_of_new_data():
    frame, y = make_frame()
    model = MixedEffectsVIRegressor(["school", "pupil"]).fit(frame, y)
    with pytest.raises(ValueError, match=r"'x'.*row 0.*'many'"):
        model.predict(frame.assign(x="many"))
    with pytest.raises(ValueError, match="NaN in column 'x'"):
        model.predict(frame.assign(x=np.nan))


def test_text_among_numbers_in_training_data():
    """The first value that is no number is named, not the first of the column."""
    frame, y = make_frame()
    typo = frame["x"].astype(object)
    typo.iloc[7] = "1,5"
    for parameters in ({"random_effects": ["school", "pupil"]}, {"formula": "log(x)"}):
        with pytest.raises(ValueError, match=r"Column 'x'.*row 7 holds '1,5'"):
            MixedEffectsVIRegressor(**parameters).fit(frame.assign(x=typo), y)


def test_groups_of_another_type_in_new_data():
    """Numbers written as text, and whole floats, are the same labels."""
    frame, y = make_frame()
    model = MixedEffectsVIRegressor(["school", "pupil"]).fit(frame, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_float = model.predict(frame.assign(pupil=frame["pupil"].astype(float)))
        as_text = model.predict(frame.assign(pupil=frame["pupil"].astype(str)))
    np.testing.assert_array_equal(as_float, model.predict(frame))
    np.testing.assert_array_equal(as_text, model.predict(frame))


def test_functions_of_the_response_in_a_formula():
    frame, y = make_frame()
    positive = np.exp(y)
    found = mixed("log(y) ~ x + (1 | school)", frame.assign(y=positive))
    expected = mixed("y ~ x + (1 | school)", frame.assign(y=np.log(positive)))
    assert found.elbo_ == pytest.approx(expected.elbo_, rel=1e-12)
    with pytest.raises(FormulaError, match="names no response"):
        mixed("x + (1 | school)", frame)


@pytest.mark.parametrize("kind", ["array", "series", "scalar", "none"])
def test_weights_of_dropped_rows_are_dropped(kind):
    frame, y = make_frame()
    data = frame.assign(y=y)
    data.loc[[3, 70], "x"] = np.nan
    weights = np.random.default_rng(1).integers(1, 4, len(data)).astype(float)
    given = {"array": weights, "series": pd.Series(weights, index=data.index[::-1]), "scalar": 2.0}
    weight = given.get(kind)
    found = mixed("y ~ x + (1 | school)", data, missing="drop", sample_weight=weight)
    kept = data["x"].notna().to_numpy()
    expected = MixedEffectsVIRegressor(formula="x + (1 | school)").fit(
        data[kept],
        data["y"][kept],
        sample_weight=np.broadcast_to(1.0 if weight is None else weight, len(data))[kept],
    )
    assert found.elbo_ == expected.elbo_
    with pytest.raises(ValueError, match=r"expected \(150,\): one weight per row"):
        mixed("y ~ x + (1 | school)", data, missing="drop", sample_weight=weights[1:])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.full((150, 2), 1.0), "1D array or scalar"),
        (np.zeros(150), "at least one non-zero"),
        (np.linspace(-1.0, 1.0, 150), r"is -1.0.* in row 0"),
        (np.geomspace(1e-20, 1e20, 150), "lose the small ones"),
        (np.full(150, 1e200), "divide all weights"),
        (["a"] * 150, "sample_weight cannot be read as an array of numbers"),
    ],
)
def test_weights_that_are_none(weights, message):
    frame, y = make_frame()
    with pytest.raises(ValueError, match=message):
        MixedEffectsVIRegressor(["school", "pupil"]).fit(frame, y, sample_weight=weights)


def test_random_effects_that_are_none():
    with pytest.raises(ValueError, match="neither an intercept nor a slope"):
        RandomEffect("g", intercept=False)
    with pytest.raises(ValueError, match="covariance='full' of RandomEffect on 'g'"):
        RandomEffect("g", covariance="full")
    frame, y = make_frame()
    together = MixedEffectsVIRegressor([RandomEffect(["school", "pupil"])], formula=None)
    found = together.fit(frame[["school", "pupil"]], y)
    expected = MixedEffectsVIRegressor(["(1 | school:pupil)"]).fit(frame[["school", "pupil"]], y)
    assert found.elbo_ == expected.elbo_


def test_warm_start_of_another_model():
    """What an earlier fit found is of no use where the effects are others."""
    frame, y = make_frame()
    model = MixedEffectsVIRegressor(["school", "pupil"], warm_start=True).fit(frame, y)
    model.set_params(random_effects=["(1 + x | school)", "pupil"]).fit(frame, y)
    cold = MixedEffectsVIRegressor(["(1 + x | school)", "pupil"]).fit(frame, y)
    assert model.elbo_ == pytest.approx(cold.elbo_, rel=1e-10)
