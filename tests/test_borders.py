"""What newcomers met at the borders to pandas, scikit-learn and habit: nothing is silent there.

Data sets are the bundled ones, in the types in which a CSV file gives them.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_selection import SelectFromModel
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import cross_val_predict, cross_val_score

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, RandomEffect, mixed
from skmixed.datasets import load_sleepstudy, make_mixed_regression
from skmixed.exceptions import (
    ClassOrderWarning,
    ColumnRoleWarning,
    SingularFitWarning,
    UnknownLevelsWarning,
)

SLEEP = load_sleepstudy(as_frame=True).frame.rename(columns=str.capitalize)
SLEEP["Subject"] = SLEEP["Subject"].astype("int64")


@contextmanager
def silent():
    """Every warning is an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture
def no_warnings():
    with silent():
        yield


# 1. Roles of columns -----------------------------------------------------------------------


def test_an_integer_id_among_numbers_is_named():
    model = MixedEffectsVIRegressor()
    expected = r"No column groups.*'Days', 'Subject'.*random_effects=\['Subject'\].*=None"
    with pytest.warns(ColumnRoleWarning, match=expected):
        model.fit(SLEEP[["Days", "Subject"]], SLEEP["Reaction"])
    assert model.summary().title == "Linear model"


def test_an_integer_id_beside_a_group_is_named():
    frame = SLEEP.assign(site=np.array(list("abcdef"))[np.arange(180) % 6])
    expected = r"'Subject' looks like an id.*random_effects=\['site', 'Subject'\].*fixed_effects="
    with pytest.warns(ColumnRoleWarning, match=expected):
        MixedEffectsVIRegressor().fit(frame[["Days", "Subject", "site"]], SLEEP["Reaction"])
    with pytest.warns(ColumnRoleWarning, match=expected):
        MixedEffectsVIRegressor(["site"]).fit(frame[["Days", "Subject", "site"]], SLEEP["Reaction"])


@pytest.mark.parametrize(
    "parameters",
    [
        {"random_effects": ["Subject"]},
        {"random_effects": None},
        {"random_effects": ["Subject"], "fixed_effects": ["Days"]},
        {"formula": "Days + (1 | Subject)"},
    ],
)
@pytest.mark.usefixtures("no_warnings")
def test_a_role_that_was_said_is_no_question(parameters):
    MixedEffectsVIRegressor(**parameters).fit(SLEEP[["Days", "Subject"]], SLEEP["Reaction"])


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("age", 18 + np.arange(180) % 60),
        ("dose", 5 * (np.arange(180) % 15)),
        ("year", 1990 + np.arange(180) % 12),
        ("score", np.arange(180.0) % 13 + 0.5),
        ("income", 2 * np.arange(180)),
        ("done", np.arange(180) % 2 == 0),
    ],
)
@pytest.mark.usefixtures("no_warnings")
def test_covariates_are_not_taken_for_ids(name, values):
    frame = SLEEP[["Days", "Subject"]].assign(**{name: values})
    MixedEffectsVIRegressor(["Subject"]).fit(frame, SLEEP["Reaction"])


@pytest.mark.parametrize("name", ["patient_id", "PatientID", "subject", "ID", "zip"])
def test_a_column_named_like_an_id_is_a_question_without_gaps_too(name):
    frame = SLEEP[["Days", "Subject"]].assign(**{name: np.arange(180) % 20})
    with pytest.warns(ColumnRoleWarning, match=f"{name!r} looks like an id"):
        MixedEffectsVIRegressor(["Subject"]).fit(frame, SLEEP["Reaction"])


def test_text_of_few_labels_is_a_fixed_effect():
    """A two-level treatment is no random effect, and its coding is that of a formula."""
    drug = np.where(np.arange(180) % 3 == 0, "placebo", "drug")
    frame = SLEEP[["Days"]].assign(Subject=SLEEP["Subject"].astype(str), drug=drug)
    with silent():
        model = MixedEffectsVIRegressor().fit(frame, SLEEP["Reaction"])
        expected = mixed("y ~ Days + drug + (1 | Subject)", frame.assign(y=SLEEP["Reaction"]))
    assert list(model.random_effects_) == ["Subject"]
    assert model.coef_names_ == ["Days", "drug[placebo]"]
    np.testing.assert_allclose(model.coef_, expected.coef_)
    (note,) = (text for text in model.summary().notes if "from_dtype" in text)
    assert "'Subject'" in note
    assert "'drug'" in note


def test_a_category_of_few_levels_groups_with_a_warning():
    frame = SLEEP[["Days"]].assign(site=pd.Categorical(np.array(list("abc"))[np.arange(180) % 3]))
    with pytest.warns(ColumnRoleWarning, match=r"'site'.*3 levels.*random_effects=\[\].*'site'"):
        model = MixedEffectsVIRegressor().fit(frame, SLEEP["Reaction"])
    assert list(model.random_effects_) == ["site"]


def test_columns_that_a_list_leaves_out_are_coded_or_questioned():
    frame = SLEEP[["Days", "Subject"]].assign(name=[f"n{i % 30}" for i in range(180)])
    with pytest.warns(ColumnRoleWarning, match=r"'name' is a fixed effect.*more than 20 labels"):
        MixedEffectsVIRegressor(["Subject"]).fit(frame, SLEEP["Reaction"])
    model = MixedEffectsVIRegressor(["Subject"], fixed_effects=["Days"])
    with silent():
        assert model.fit(frame, SLEEP["Reaction"]).coef_names_ == ["Days"]


def test_a_first_chunk_does_not_decide_over_text():
    frame = SLEEP.assign(site=np.array(list("abcdefg"))[np.arange(180) % 7])
    with pytest.raises(ValueError, match=r"'site' has 3 labels in the first part.*random_effects"):
        MixedEffectsVIRegressor().partial_fit(
            frame[["Days", "site"]].iloc[:3], SLEEP["Reaction"].iloc[:3]
        )


# 2. Classes in an order ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def pain():
    """Three classes whose order is not that of the alphabet."""
    rng = np.random.default_rng(0)
    g, x = rng.integers(0, 30, 900), rng.normal(size=900)
    latent = 1.5 * x + rng.normal(size=30)[g] + rng.logistic(size=900)
    labels = np.array(["low", "mid", "high"])[np.digitize(latent, [-1.0, 1.2])]
    ordered = pd.Categorical(labels, categories=["low", "mid", "high"], ordered=True)
    return pd.DataFrame({"x": x, "g": g}), pd.Series(ordered, name="pain")


ORDER = ["low", "mid", "high"]


@pytest.mark.usefixtures("no_warnings")
def test_columns_of_probabilities_are_those_of_the_metrics(pain):
    X, y = pain
    model = MixedEffectsVIClassifier(["g"], family="ordinal").fit(X, y)
    assert model.classes_.tolist() == ["high", "low", "mid"]
    assert model.ordered_classes_.tolist() == ORDER
    probabilities = model.predict_proba(X)
    by_hand = -np.log(probabilities[np.arange(900), np.searchsorted(model.classes_, y)]).mean()
    assert log_loss(y, probabilities) == pytest.approx(by_hand)
    assert by_hand < 0.85
    assert roc_auc_score(y, probabilities, multi_class="ovr") > 0.75
    assert model.coef_[0] > 1.0
    assert model.thresholds_[0] < model.thresholds_[1]
    np.testing.assert_array_equal(
        model.predict(X), model.classes_[model.decision_function(X).argmax(axis=1)]
    )


@pytest.mark.usefixtures("no_warnings")
@pytest.mark.parametrize("kind", ["categorical", "text"])
def test_scikit_learns_tools_with_the_order_as_a_parameter(pain, kind):
    X, y = pain
    y = y if kind == "categorical" else y.astype(str)
    model = MixedEffectsVIClassifier(["g"], family="ordinal", class_order=ORDER)
    out_of_fold = cross_val_predict(model, X, y, method="predict_proba", cv=3)
    # the tool that does not number the classes scores the same folds
    expected = -cross_val_score(model, X, y, scoring="neg_log_loss", cv=3).mean()
    assert log_loss(y, out_of_fold) == pytest.approx(expected)
    assert roc_auc_score(y, out_of_fold, multi_class="ovr") > 0.75
    calibrated = CalibratedClassifierCV(model, cv=3).fit(X, y)
    assert log_loss(y, calibrated.predict_proba(X)) < 0.85


def test_numbered_classes_without_their_order_are_a_question(pain):
    X, y = pain
    model = MixedEffectsVIClassifier(["g"], family="ordinal")
    with pytest.warns(ClassOrderWarning, match=r"integers 0 to 2.*class_order="):
        cross_val_predict(model, X, y, method="predict_proba", cv=2)
    numbers = y.cat.codes.to_numpy().astype(int)
    with silent():
        model.set_params(class_order=[0, 1, 2]).fit(X, numbers)
        model.set_params(class_order=None).fit(X, pd.Series(numbers))
        model.fit(X, numbers + 1)


@pytest.mark.parametrize(
    ("order", "error", "message"),
    [
        (["low", "mid"], ValueError, "'high', which is not in class_order"),
        (["low", "mid", "mid", "high"], ValueError, "'mid' twice"),
        ({"low", "mid", "high"}, TypeError, "must be a list"),
        ("low", TypeError, "must be a list"),
    ],
)
def test_orders_that_do_not_fit(pain, order, error, message):
    X, y = pain
    with pytest.raises(error, match=message):
        MixedEffectsVIClassifier(["g"], family="ordinal", class_order=order).fit(X, y)


def test_numbers_in_place_of_labels_need_all_of_them(pain):
    X, y = pain
    two = (y != "high").to_numpy()
    model = MixedEffectsVIClassifier(["g"], family="ordinal", class_order=ORDER)
    with pytest.raises(ValueError, match="only if all classes of class_order occur"):
        model.fit(X[two], (y[two] == "mid").to_numpy().astype(int))


# 3 to 5. Ids that change type ------------------------------------------------------------------


def as_types(ids):
    text = ids.astype(str)
    return {
        "int32": ids.astype("int32"),
        "float": ids.astype(float),
        "text": text,
        "text of floats": ids.astype(float).astype(str),
        "category of numbers": ids.astype("category"),
        "category of text": text.astype("category"),
        "nullable": ids.astype("Int64"),
        "string": text.astype("string"),
        "object": ids.astype(object),
    }


PAIRS = [
    (fitted, new)
    for fitted in ("int32", "float", "text", "category of text", "nullable")
    for new in as_types(SLEEP["Subject"])
    # "308.0" is another text than "308"
    if not (new == "text of floats" and "text" in fitted)
]


@pytest.mark.parametrize(("fitted", "new"), PAIRS)
@pytest.mark.usefixtures("no_warnings")
def test_ids_match_in_any_type(fitted, new):
    types = as_types(SLEEP["Subject"])
    model = MixedEffectsVIRegressor(["Subject"])
    model.fit(SLEEP[["Days"]].assign(Subject=types[fitted]), SLEEP["Reaction"])
    expected = model.predict(SLEEP[["Days"]].assign(Subject=types[fitted]))
    np.testing.assert_array_equal(
        model.predict(SLEEP[["Days"]].assign(Subject=types[new])), expected
    )


def test_most_labels_unknown_are_told_once():
    model = MixedEffectsVIRegressor(["Subject"]).fit(SLEEP[["Days", "Subject"]], SLEEP["Reaction"])
    new = SLEEP[["Days"]].assign(Subject="S" + SLEEP["Subject"].astype(str))
    expected = "all 18 labels of 'Subject' are unknown.*fit saw integers such as 308"
    with pytest.warns(UnknownLevelsWarning, match=expected) as caught:
        model.predict(new, return_std=True)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with silent():
        model.predict(new.iloc[:10])  # one new subject is nothing to speak of
        model.predict(new, include="none")


BIG = 2**53 + 2 * np.arange(400, dtype=np.int64)


def test_large_ids_as_floats_are_refused():
    rng = np.random.default_rng(0)
    ids = np.repeat(BIG // 2 * 2 + 1, 5)  # odd: floats cannot hold them
    X, y = pd.DataFrame({"x": rng.normal(size=2000), "g": ids}), rng.normal(size=2000)
    with silent():
        model = MixedEffectsVIRegressor(["g"], noise_scale=1.0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SingularFitWarning)
            model.fit(X, y)
    assert len(model.random_effects_["g"]) == 400
    rounded = X.assign(g=X["g"].astype(float))
    with pytest.raises(ValueError, match=r"'g' holds the label 9.* as a float.*2\*\*53.*Int64"):
        model.predict(rounded)
    with pytest.raises(ValueError, match=r"2\*\*53"):
        MixedEffectsVIRegressor(["g"]).fit(rounded, y)
    with pytest.raises(ValueError, match=r"2\*\*53"):
        MixedEffectsVIRegressor(["g"]).fit(rounded.astype({"g": object}), y)
    with pytest.raises(ValueError, match=r"2\*\*24"):
        MixedEffectsVIRegressor(["g"]).fit(
            X.assign(g=(2.0**24 + X["g"] % 100).astype("float32")), y
        )


@pytest.fixture(scope="module")
def thirty():
    return make_mixed_regression(n_samples=600, groups=(30,), random_state=0)[:2]


@pytest.mark.parametrize("turn", [str, float], ids=["text", "float"])
@pytest.mark.usefixtures("no_warnings")
def test_chunks_with_ids_of_another_type_are_the_same_levels(thirty, turn):
    X, y = thirty
    X = X.assign(g0=X["g0"].astype(int))
    whole = MixedEffectsVIRegressor(["g0"]).fit(X, y)
    for first, second in (("int64", turn), (turn, "int64")):
        model = MixedEffectsVIRegressor(["g0"])
        model.partial_fit(X[:300].astype({"g0": first}), y[:300])
        model.partial_fit(X[300:].astype({"g0": second}), y[300:])
        assert len(model.random_effects_["g0"]) == X["g0"].nunique()
        assert model.elbo_ == pytest.approx(whole.elbo_, rel=1e-9)


def test_a_chunk_of_mostly_new_levels_is_told(thirty):
    X, y = thirty
    model = MixedEffectsVIRegressor(["g0"]).partial_fit(X[:300], y[:300])
    other = X[300:].assign(g0="u" + X["g0"][300:].astype(str))
    with pytest.warns(UnknownLevelsWarning, match=r"30 of the 30 labels of 'g0' are new.*integers"):
        model.partial_fit(other, y[300:])


def test_one_column_with_ids_of_two_types_is_refused():
    ids = SLEEP["Subject"].astype(object)
    ids.iloc[:90] = ids.iloc[:90].astype(str)
    ids.iloc[90] = 308
    with pytest.raises(ValueError, match=r"'Subject' holds 308 as a number and '308' as text"):
        MixedEffectsVIRegressor(["Subject"]).fit(
            SLEEP[["Days"]].assign(Subject=ids), SLEEP["Reaction"]
        )


def test_partial_fit_after_fit_goes_on(thirty):
    X, y = thirty
    with silent():
        model = MixedEffectsVIRegressor(["g0"]).fit(X[:500], y[:500])
        model.partial_fit(X[500:], y[500:])
    assert model.n_observations_ == 600
    whole = MixedEffectsVIRegressor(["g0"]).fit(X, y)
    assert model.elbo_ == pytest.approx(whole.elbo_, rel=1e-10)


# 6 and 7. What is modelled ---------------------------------------------------------------------


def test_a_function_of_the_response_is_remembered():
    model = mixed("log(Reaction) ~ Days + (Days | Subject)", SLEEP)
    by_hand = mixed("y ~ Days + (Days | Subject)", SLEEP.assign(y=np.log(SLEEP["Reaction"])))
    assert model.score(SLEEP, SLEEP["Reaction"]) == pytest.approx(
        by_hand.score(SLEEP, np.log(SLEEP["Reaction"]))
    )
    test = model.summary(SLEEP, SLEEP["Reaction"], test="t").to_frame()
    expected = by_hand.summary(SLEEP, np.log(SLEEP["Reaction"]), test="t").to_frame()
    pd.testing.assert_frame_equal(test, expected)
    assert model.diagnose(SLEEP, SLEEP["Reaction"]).gap == pytest.approx(0.0, abs=1e-6)
    with pytest.raises(ValueError, match=r"log\(\) of column 'Reaction'"):
        model.score(SLEEP, -SLEEP["Reaction"])


def test_the_response_itself_is_log_normal():
    model = mixed("log(Reaction) ~ Days + (Days | Subject)", SLEEP)
    mean, std = model.predict(SLEEP, return_std=True)
    there, spread = model.predict(SLEEP, return_std=True, type="response")
    np.testing.assert_allclose(there, np.exp(mean + 0.5 * std**2))
    np.testing.assert_allclose(spread, there * np.sqrt(np.expm1(std**2)))
    np.testing.assert_allclose(model.predict(SLEEP, type="response"), there)
    np.testing.assert_allclose(
        model.predict_interval(SLEEP, type="response"), np.exp(model.predict_interval(SLEEP))
    )
    draws = np.exp(model.sample_y(SLEEP.iloc[:5], 20_000, random_state=0))
    np.testing.assert_allclose(draws.mean(axis=1), there[:5], rtol=0.01)
    np.testing.assert_allclose(draws.std(axis=1), spread[:5], rtol=0.05)


@pytest.mark.parametrize("function", ["sqrt", "log1p", "scale", "center"])
def test_other_functions_of_the_response(function):
    model = mixed(f"{function}(Reaction) ~ Days + (1 | Subject)", SLEEP)
    draws = model.sample_y(SLEEP.iloc[:5], 20_000, random_state=0)
    back = {
        "sqrt": np.square,
        "log1p": np.expm1,
        "scale": lambda z: z * SLEEP["Reaction"].std() + SLEEP["Reaction"].mean(),
        "center": lambda z: z + SLEEP["Reaction"].mean(),
    }[function](draws)
    mean, std = model.predict(SLEEP.iloc[:5], return_std=True, type="response")
    np.testing.assert_allclose(mean, back.mean(axis=1), rtol=0.01)
    np.testing.assert_allclose(std, back.std(axis=1), rtol=0.05)


def test_what_has_no_inverse_is_refused():
    model = mixed("exp(z) ~ Days + (1 | Subject)", SLEEP.assign(z=SLEEP["Reaction"] / 1000))
    with pytest.raises(ValueError, match=r"cannot transform the mean of 'exp\(z\)'"):
        model.predict(SLEEP, type="response")


def test_a_clone_does_not_forget_the_function():
    model = mixed("log(Reaction) ~ Days + (1 | Subject)", SLEEP)
    with pytest.raises(ValueError, match=r"names the response 'log\(Reaction\)'.*Transformed"):
        clone(model).fit(SLEEP[["Days", "Subject"]], SLEEP["Reaction"])


@pytest.mark.parametrize("show", [repr, str, lambda m: m._repr_html_(), lambda m: str(m.summary())])
def test_the_model_is_named(show):
    model = mixed("log(Reaction) ~ Days + (1 | Subject)", SLEEP)
    assert "log(Reaction) ~ Days + (1 | Subject)" in show(model)
    plain = MixedEffectsVIRegressor(["Subject"]).fit(SLEEP[["Days", "Subject"]], SLEEP["Reaction"])
    assert "Reaction ~ 1 + Days + (1 | Subject)" in show(plain)


@pytest.fixture(scope="module")
def credit():
    X, y, _ = make_mixed_regression(n_samples=400, groups=(20,), random_state=1)
    return X, pd.Series(np.where(y > np.median(y), "good", "poor"), name="status")


@pytest.mark.parametrize(
    ("parameters", "declare", "modelled"),
    [
        ({}, None, "poor"),
        ({"positive_class": "good"}, None, "good"),
        ({}, ["poor", "good"], "good"),
        ({"positive_class": "poor"}, ["poor", "good"], "poor"),
    ],
)
def test_which_class_is_modelled(credit, parameters, declare, modelled):
    X, y = credit
    usual = MixedEffectsVIClassifier(["g0"]).fit(X, y)
    y = y if declare is None else y.astype(pd.CategoricalDtype(declare))
    model = MixedEffectsVIClassifier(["g0"], **parameters).fit(X, y)
    sign = 1.0 if modelled == "poor" else -1.0
    np.testing.assert_allclose(model.coef_, sign * usual.coef_, rtol=1e-6)
    assert model.classes_.tolist() == ["good", "poor"]
    np.testing.assert_allclose(model.predict_proba(X), usual.predict_proba(X), rtol=1e-6)
    np.testing.assert_allclose(model.decision_function(X), usual.decision_function(X), rtol=1e-4)
    for text in (repr(model), str(model.summary()), model._repr_html_().replace("&#x27;", "'")):
        assert f"P(status = '{modelled}')" in text


def test_a_positive_class_survives_numbering(credit):
    X, y = credit
    model = MixedEffectsVIClassifier(["g0"], positive_class="good")
    out_of_fold = cross_val_predict(model, X, y, method="predict_proba", cv=3)
    usual = cross_val_predict(MixedEffectsVIClassifier(["g0"]), X, y, method="predict_proba", cv=3)
    np.testing.assert_allclose(out_of_fold, usual)
    assert log_loss(y, out_of_fold) < np.log(2.0)
    with pytest.raises(ValueError, match=r"'bad' is not a class of y; choose 'good' or 'poor'"):
        model.set_params(positive_class="bad").fit(X, y)


# 8. Singular fits ----------------------------------------------------------------------------


def test_a_variance_of_zero_is_told_once(credit):
    X, _ = credit
    y = np.random.default_rng(0).normal(size=len(X))
    y -= pd.Series(y).groupby(X["g0"].to_numpy()).transform("mean").to_numpy()
    with pytest.warns(SingularFitWarning, match="variance of 'g0' is 0") as caught:
        model = MixedEffectsVIRegressor(["g0"]).fit(X, y)
    assert len(caught) == 1
    summary = model.summary()
    assert any("the variance of 'g0' is 0" in note for note in summary.notes)
    assert "Singular fit" in summary._repr_html_()
    with silent(), warnings.catch_warnings():
        warnings.simplefilter("ignore", SingularFitWarning)
        model.fit(X, y)


def test_a_correlation_of_one_is_told():
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(8), 6), rng.normal(size=48)
    effect = rng.normal(size=8)
    y = effect[g] * (1.0 + x) + rng.normal(size=48)
    with pytest.warns(SingularFitWarning, match="correlation of 'Intercept' and 'x' by 'g' is 1"):
        mixed("y ~ x + (x | g)", pd.DataFrame({"y": y, "x": x, "g": g}))
    with silent():
        mixed("Reaction ~ Days + (Days | Subject)", SLEEP)


def test_absent_terms_are_none_in_every_table():
    for effects in (["Subject"], ["(Days | Subject)"], None):
        model = MixedEffectsVIRegressor(effects, fixed_effects=["Days"])
        table = model.fit(SLEEP[["Days", "Subject"]], SLEEP["Reaction"]).variance_components_
        absent = [v for name in ("term_1", "term_2") for v in table[name] if v != v or v is None]
        assert absent
        assert all(v is None for v in absent)


# 9 to 12. Parameters -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effects", "equal"),
    [
        ({"Subject": ["Days"]}, [RandomEffect("Subject", slopes=["Days"])]),
        ({"Subject": "1 + Days"}, ["(1 + Days | Subject)"]),
        ({"Subject": "0 + Days"}, ["(0 + Days | Subject)"]),
        ({"Subject": None}, ["Subject"]),
        ({"Subject": []}, ["Subject"]),
    ],
)
def test_random_effects_as_a_dict(effects, equal):
    X, y = SLEEP[["Days", "Subject"]], SLEEP["Reaction"]
    expected = MixedEffectsVIRegressor(equal).fit(X, y)
    assert MixedEffectsVIRegressor(effects).fit(X, y).elbo_ == expected.elbo_


@pytest.mark.parametrize(
    ("effects", "error"),
    [
        ({"Subject"}, TypeError),
        ({"Subject": {"Days"}}, TypeError),
        ({"Subject": 3}, TypeError),
        ({"Subject": "1 + | x"}, ValueError),
        ({"nobody": ["Days"]}, ValueError),
    ],
)
def test_random_effects_that_cannot_be_read(effects, error):
    with pytest.raises(error, match=r"set|random_effects|nobody"):
        MixedEffectsVIRegressor(effects).fit(SLEEP[["Days", "Subject"]], SLEEP["Reaction"])


@pytest.mark.parametrize("include", [{"Subject"}, {"Subject": 1}, 3])
def test_include_has_an_order(include):
    model = MixedEffectsVIRegressor(["Subject"]).fit(SLEEP[["Days", "Subject"]], SLEEP["Reaction"])
    with pytest.raises(TypeError, match=r"include=.*list of groups"):
        model.predict(SLEEP[["Days", "Subject"]], include=include)


def test_an_intercept_that_is_written_and_forbidden():
    model = MixedEffectsVIRegressor(formula="1 + Days + (1 | Subject)", fit_intercept=False)
    with pytest.raises(ValueError, match=r"fit_intercept=False contradicts.*'1 \+'"):
        model.fit(SLEEP[["Days", "Subject"]], SLEEP["Reaction"])
    with pytest.raises(ValueError, match="fit_intercept=False contradicts"):
        mixed("Reaction ~ 1 + Days + (1 | Subject)", SLEEP, fit_intercept=False)
    model.set_params(formula="Days + (1 | Subject)")
    assert model.fit(SLEEP[["Days", "Subject"]], SLEEP["Reaction"]).intercept_ == 0.0


@pytest.mark.parametrize(
    ("family", "advice"),
    [
        ("binomial", r"MixedEffectsVIClassifier\(family='bernoulli'\)"),
        ("bernoulli", r"MixedEffectsVIClassifier\(family='bernoulli'\)"),
        ("nb", "family='negative_binomial'"),
        ("Poisson", "family='poisson'"),
        ("weibull", "choose one of 'gaussian'"),
    ],
)
def test_unknown_families_list_those_of_both_estimators(family, advice):
    expected = f"{advice}.*'negative_binomial'.*Classifier: 'bernoulli', 'ordinal'"
    with pytest.raises(ValueError, match=expected):
        MixedEffectsVIRegressor(["Subject"], family=family).fit(SLEEP, SLEEP["Reaction"])


@pytest.mark.parametrize(
    ("alias", "family"),
    [
        ("binomial", "bernoulli"),
        ("Binomial", "bernoulli"),
        ("nb", "negative_binomial"),
        ("negbin", "negative_binomial"),
        ("nbinom2", "negative_binomial"),
        ("Poisson", "poisson"),
        ("normal", "gaussian"),
        ("Gamma", "gamma"),
    ],
)
def test_mixed_takes_the_names_of_other_programs(alias, family):
    frame = SLEEP.assign(y=(SLEEP["Reaction"] > 280) * 1 if family == "bernoulli" else SLEEP.Days)
    frame["y"] = frame["y"] + (family == "gamma")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = mixed("y ~ Reaction + (1 | Subject)", frame, family=alias)
    assert model.family == family


def test_summaries_say_how_their_numbers_differ_from_those_of_r(credit):
    X, y = credit
    notes = " ".join(MixedEffectsVIClassifier(["g0"], method="reml").fit(X, y).summary().notes)
    assert "lower bound" in notes
    assert "method='ml'" in notes
    notes = " ".join(MixedEffectsVIClassifier(["g0"], method="ml").fit(X, y).summary().notes)
    assert "method='ml'" not in notes
    normal = MixedEffectsVIRegressor(["Subject"]).fit(SLEEP[["Days", "Subject"]], SLEEP["Reaction"])
    assert normal.summary().notes == ()


# 13. Importances by column ---------------------------------------------------------------------


def test_importances_are_by_column():
    frame = SLEEP.assign(noise=np.random.default_rng(0).normal(size=180))
    formula = "Days * noise + (1 + Days | Subject)"
    model = MixedEffectsVIRegressor(formula=formula).fit(
        frame[["noise", "Subject", "Days"]], frame["Reaction"]
    )
    noise, subject, days = model.feature_importances_
    slopes = dict(zip(model.coef_names_, model.coef_, strict=True))
    part = slopes["Days"] * frame["Days"] + slopes["Days:noise"] * frame["Days"] * frame["noise"]
    covariance = model.random_effects_cov_["Subject"].to_numpy()
    squares = (frame["Days"] ** 2).mean()
    assert days == pytest.approx(np.sqrt(part.var(ddof=0) + covariance[1, 1] * squares))
    part = slopes["noise"] * frame["noise"] + slopes["Days:noise"] * frame["Days"] * frame["noise"]
    assert noise == pytest.approx(part.std(ddof=0))
    basis = np.column_stack([np.ones(180), frame["Days"]])
    assert subject == pytest.approx(
        np.sqrt(np.einsum("ij,jk,ik->i", basis, covariance, basis).mean())
    )


@pytest.mark.parametrize("parts", [False, True])
def test_a_column_selector_can_use_them(parts):
    X, y, _ = make_mixed_regression(n_samples=900, groups=(30, 12), random_state=0)
    X = X.assign(useless=np.random.default_rng(1).normal(size=900))
    model = MixedEffectsVIRegressor(["g0", "g1"])
    if parts:
        expected = clone(model).fit(X, y).feature_importances_
        model.partial_fit(X[:400], y[:400]).partial_fit(X[400:], y[400:])
        np.testing.assert_allclose(model.feature_importances_, expected, rtol=1e-5)
        return
    selector = SelectFromModel(
        model, importance_getter="feature_importances_", max_features=3, threshold=-np.inf
    )
    kept = selector.set_output(transform="pandas").fit_transform(X, y)
    assert kept.columns.tolist() == ["x0", "g0", "g1"]
