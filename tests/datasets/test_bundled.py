"""The bundled data: values, types, forms and speed."""

import time

import numpy as np
import pandas as pd
import pytest

from skmixed import mixed
from skmixed.datasets import load_cbpp, load_grouseticks, load_insteval, load_sleepstudy

FEATURES = ["s", "d", "studage", "lectage", "service", "dept"]


def compare_forms(load, bunch):
    """Arrays, frames and pairs of a table of integers have the values of the default form."""
    data, target = load(as_frame=False, return_X_y=True)
    np.testing.assert_array_equal(data, bunch.data.astype("int64").to_numpy())
    np.testing.assert_array_equal(target, bunch.target.to_numpy())
    assert load(as_frame=False).frame is None
    X, y = load(return_X_y=True)
    pd.testing.assert_frame_equal(X, bunch.data)
    pd.testing.assert_series_equal(y, bunch.target)


@pytest.fixture(scope="module")
def insteval():
    return load_insteval()


def test_bunch_describes_itself(insteval):
    assert insteval.feature_names == FEATURES
    assert insteval.target_names == ["y"]
    assert insteval.data.columns.tolist() == FEATURES
    assert insteval.frame.columns.tolist() == [*FEATURES, "y"]
    assert insteval.target.name == "y"
    assert "GPL >= 2" in insteval.DESCR
    assert "10.18637/jss.v067.i01" in insteval.DESCR


def test_values_are_those_of_lme4(insteval):
    frame = insteval.frame.astype("int64")
    assert frame.shape == (73421, 7)
    expected_sums = {
        "s": 108853382,
        "d": 76413371,
        "studage": 383166,
        "lectage": 218182,
        "service": 31783,
        "dept": 591805,
        "y": 235369,
    }
    assert frame.sum().to_dict() == expected_sums
    assert frame.iloc[0].tolist() == [1, 1002, 2, 2, 0, 2, 5]
    assert frame.iloc[1].tolist() == [1, 1050, 2, 1, 1, 6, 2]
    assert frame.iloc[-1].tolist() == [2972, 2121, 4, 2, 1, 2, 3]
    assert frame["s"].is_monotonic_increasing


def test_identifiers_are_categories_and_the_rest_integers(insteval):
    data = insteval.data
    levels = {"s": 2972, "d": 1128, "dept": 14}
    for name, n_levels in levels.items():
        assert isinstance(data[name].dtype, pd.CategoricalDtype)
        categories = data[name].cat.categories
        assert len(categories) == n_levels == data[name].nunique()
        assert categories.dtype == np.int64
        assert categories.is_monotonic_increasing
    for name in ("studage", "lectage", "service"):
        assert data[name].dtype == np.int64


def test_arrays_hold_the_same_values(insteval):
    data, target = load_insteval(as_frame=False, return_X_y=True)
    assert isinstance(data, np.ndarray)
    np.testing.assert_array_equal(data, insteval.data.astype("int64").to_numpy())
    np.testing.assert_array_equal(target, insteval.target.to_numpy())
    assert load_insteval(as_frame=False).frame is None


def test_return_X_y_gives_frame_and_series(insteval):
    X, y = load_insteval(return_X_y=True)
    pd.testing.assert_frame_equal(X, insteval.data)
    pd.testing.assert_series_equal(y, insteval.target)


def test_each_call_gives_data_of_its_own(insteval):
    X, _ = load_insteval(return_X_y=True)
    X.loc[0, "service"] = 7
    assert load_insteval().data.loc[0, "service"] == insteval.data.loc[0, "service"] == 0


def test_loads_quickly():
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        load_insteval()
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1


@pytest.fixture(scope="module")
def cbpp():
    return load_cbpp()


def test_cbpp_describes_itself(cbpp):
    assert cbpp.feature_names == ["herd", "period", "size"]
    assert cbpp.target_names == ["incidence"]
    assert cbpp.data.columns.tolist() == cbpp.feature_names
    assert cbpp.frame.columns.tolist() == ["herd", "period", "size", "incidence"]
    assert cbpp.target.name == "incidence"
    assert "GPL >= 2" in cbpp.DESCR
    assert "Lesnoff" in cbpp.DESCR


def test_cbpp_values_are_those_of_lme4(cbpp):
    frame = cbpp.frame.astype("int64")
    assert frame.sum().to_dict() == {"herd": 454, "period": 137, "size": 842, "incidence": 99}
    assert frame.iloc[0].tolist() == [1, 1, 14, 2]
    assert frame.iloc[-1].tolist() == [15, 4, 15, 0]
    cases = frame.groupby("period")["incidence"].sum()
    assert cases.tolist() == [61, 17, 14, 7]
    assert (frame["incidence"] <= frame["size"]).all()
    assert not frame.duplicated(["herd", "period"]).any()


def test_cbpp_types(cbpp):
    for name, n_levels in {"herd": 15, "period": 4}.items():
        assert isinstance(cbpp.data[name].dtype, pd.CategoricalDtype)
        assert cbpp.data[name].cat.categories.tolist() == list(range(1, n_levels + 1))
    assert cbpp.data["size"].dtype == cbpp.target.dtype == np.int64


def test_cbpp_forms_hold_the_same_values(cbpp):
    compare_forms(load_cbpp, cbpp)


@pytest.fixture(scope="module")
def grouseticks():
    return load_grouseticks()


def test_grouseticks_describes_itself(grouseticks):
    assert grouseticks.feature_names == ["INDEX", "BROOD", "HEIGHT", "YEAR", "LOCATION"]
    assert grouseticks.target_names == ["TICKS"]
    assert grouseticks.frame.columns.tolist() == [*grouseticks.feature_names, "TICKS"]
    assert grouseticks.data.columns.tolist() == grouseticks.feature_names
    assert grouseticks.target.name == "TICKS"
    assert "GPL >= 2" in grouseticks.DESCR
    assert "Elston" in grouseticks.DESCR


def test_grouseticks_values_are_those_of_lme4(grouseticks):
    frame = grouseticks.frame.astype("int64")
    assert frame.shape == (403, 6)
    assert frame.sum().to_dict() == {
        "INDEX": 81406, "BROOD": 251962, "HEIGHT": 186283, "YEAR": 38702, "LOCATION": 12364,
        "TICKS": 2567,
    }  # fmt: skip
    assert frame.iloc[0].tolist() == [1, 501, 465, 95, 32, 0]
    assert frame.iloc[-1].tolist() == [403, 743, 450, 97, 25, 0]
    places = frame.groupby("BROOD")[["LOCATION", "YEAR"]].nunique()
    assert (places == 1).all(axis=None)


def test_grouseticks_types(grouseticks):
    levels = {"INDEX": 403, "BROOD": 118, "YEAR": 3, "LOCATION": 63}
    for name, n_levels in levels.items():
        assert isinstance(grouseticks.data[name].dtype, pd.CategoricalDtype)
        assert len(grouseticks.data[name].cat.categories) == n_levels
    assert grouseticks.data["HEIGHT"].dtype == grouseticks.target.dtype == np.int64


def test_grouseticks_forms_hold_the_same_values(grouseticks):
    compare_forms(load_grouseticks, grouseticks)


@pytest.fixture(scope="module")
def sleepstudy():
    return load_sleepstudy()


def test_sleepstudy_describes_itself(sleepstudy):
    assert sleepstudy.feature_names == ["Days", "Subject"]
    assert sleepstudy.target_names == ["Reaction"]
    assert sleepstudy.data.columns.tolist() == sleepstudy.feature_names
    assert sleepstudy.frame.columns.tolist() == ["Days", "Subject", "Reaction"]
    assert sleepstudy.target.name == "Reaction"
    assert "GPL >= 2" in sleepstudy.DESCR
    assert "Belenky" in sleepstudy.DESCR


def test_sleepstudy_values_are_those_of_lme4(sleepstudy):
    frame = sleepstudy.frame.astype({"Subject": "int64"})
    assert frame.shape == (180, 3)
    assert frame.iloc[0].tolist() == [0, 308, 249.56]
    assert frame.iloc[-1].tolist() == [9, 372, 364.1236]
    # The values have at most four decimals; lme4's add up to 53731.4205.
    assert sum(round(10_000 * value) for value in frame["Reaction"]) == 537_314_205
    assert frame.groupby("Subject")["Days"].apply(list).tolist() == [list(range(10))] * 18


def test_sleepstudy_types(sleepstudy):
    assert isinstance(sleepstudy.data["Subject"].dtype, pd.CategoricalDtype)
    levels = sleepstudy.data["Subject"].cat.categories
    assert levels.dtype == np.int64
    assert levels[:4].tolist() == [308, 309, 310, 330]
    assert levels[-1] == 372
    assert sleepstudy.data["Days"].dtype == np.int64
    assert sleepstudy.target.dtype == np.float64


def test_sleepstudy_forms_hold_the_same_values(sleepstudy):
    data, target = load_sleepstudy(as_frame=False, return_X_y=True)
    assert data.dtype == np.int64
    assert target.dtype == np.float64
    np.testing.assert_array_equal(data, sleepstudy.data.astype("int64").to_numpy())
    np.testing.assert_array_equal(target, sleepstudy.target.to_numpy())
    assert load_sleepstudy(as_frame=False).frame is None
    X, y = load_sleepstudy(return_X_y=True)
    pd.testing.assert_frame_equal(X, sleepstudy.data)
    pd.testing.assert_series_equal(y, sleepstudy.target)


def test_sleepstudy_model_is_that_of_lme4(sleepstudy):
    """The REML fit printed in Bates and others (2015) and in lme4's help pages."""
    model = mixed("Reaction ~ Days + (1 + Days | Subject)", sleepstudy.frame)
    covariance = model.random_effects_cov_["Subject"].to_numpy()
    sd = np.sqrt(np.diag(covariance))
    assert model.intercept_ == pytest.approx(251.405, abs=5e-4)
    assert model.coef_[0] == pytest.approx(10.467, abs=5e-4)
    assert sd == pytest.approx([24.741, 5.922], abs=1e-3)
    assert covariance[0, 1] / sd.prod() == pytest.approx(0.066, abs=5e-4)
    assert np.sqrt(model.noise_variance_) == pytest.approx(25.592, abs=5e-4)
    assert -2.0 * model.elbo_ == pytest.approx(1743.628, abs=5e-4)


def test_insteval_with_plain_names(insteval):
    plain = load_insteval(names="plain")
    assert plain.feature_names == [
        "student", "lecturer", "student_age", "lecture_age", "service", "department"
    ]  # fmt: skip
    assert plain.target.name == "rating"
    assert plain.target_names == ["rating"]
    np.testing.assert_array_equal(plain.frame.to_numpy(), insteval.frame.to_numpy())
    with pytest.raises(ValueError, match="'lme4' or 'plain'"):
        load_insteval(names="German")
