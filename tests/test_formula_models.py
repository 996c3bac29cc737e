"""Models whose formulas compute: fits, predictions, files, and the checks of stored ones."""

from __future__ import annotations

import traceback
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import skops.io

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor, mixed
from skmixed.datasets import load_sleepstudy
from skmixed.formula import FormulaError
from skmixed.inspection import ResidualsDisplay
from skmixed.persistence.encoders import check_encoder

SLEEP = load_sleepstudy().frame
GENERATOR = np.random.default_rng(5)
FRAME = SLEEP.assign(
    x=GENERATOR.gamma(2.0, size=len(SLEEP)), f=GENERATOR.choice(list("abc"), len(SLEEP))
)
EVERYTHING = (
    "I(Reaction - x) ~ poly(Days, 2) + ave(x, Subject) + C(f, Sum) + offset(log(x)) "
    "+ I(scale(x)^2) + (poly(Days, 1) | Subject)"
)


@pytest.fixture(scope="module")
def model():
    return mixed(EVERYTHING, FRAME)


def by_hand() -> pd.DataFrame:
    days = FRAME["Days"] - FRAME["Days"].mean()
    square = days**2 - (days**2).mean()
    scaled = (FRAME["x"] - FRAME["x"].mean()) / FRAME["x"].std()
    last = FRAME["f"] == "c"
    return pd.DataFrame(
        {
            "y": FRAME["Reaction"] - FRAME["x"],
            "p1": days / np.sqrt((days**2).sum()),
            "p2": square / np.sqrt((square**2).sum()),
            "mean": FRAME.groupby("Subject", observed=True)["x"].transform("mean"),
            "a": (FRAME["f"] == "a").astype(float) - last,
            "b": (FRAME["f"] == "b").astype(float) - last,
            "square": scaled**2,
            "log_x": np.log(FRAME["x"]),
            "Subject": FRAME["Subject"],
        }
    )


def test_a_fit_is_that_of_columns_made_by_hand(model) -> None:
    plain = mixed("y ~ p1 + p2 + mean + a + b + square + (p1 | Subject)", by_hand(), offset="log_x")
    np.testing.assert_allclose(model.coef_, plain.coef_, rtol=1e-6)
    assert abs(model.elbo_ - plain.elbo_) < 1e-8
    np.testing.assert_allclose(model.predict(FRAME), plain.predict(by_hand()), rtol=1e-7)
    assert set(model.feature_names_in_) == {"Days", "x", "Subject", "f"}
    assert model.coef_names_[:2] == ["poly(Days, 2)[1]", "poly(Days, 2)[2]"]


def test_rows_are_predicted_with_what_the_fit_learnt(model) -> None:
    whole = model.predict(FRAME)
    np.testing.assert_allclose(model.predict(FRAME.iloc[[7]]), whole[[7]], rtol=1e-12)
    unknown = model.predict(FRAME.iloc[[7]].assign(Subject="new"), include="none")
    shift = (
        FRAME["x"].mean()
        - FRAME.groupby("Subject", observed=True)["x"].mean()[FRAME["Subject"].iloc[7]]
    )
    known = model.predict(FRAME.iloc[[7]], include="none")
    np.testing.assert_allclose(unknown - known, shift * model.coef_[2], rtol=1e-9)


def test_methods_that_take_y_take_the_response_or_its_columns(model) -> None:
    y = FRAME["Reaction"] - FRAME["x"]
    columns = FRAME[["Reaction", "x"]]
    assert model.score(FRAME, y) == model.score(FRAME, columns) > 0.8
    tables = [model.summary(FRAME, given, test="t").to_frame() for given in (y, columns)]
    pd.testing.assert_frame_equal(*tables)
    shown = ResidualsDisplay.from_estimator(model, FRAME, columns)
    residuals = (y - model.predict(FRAME)) / np.sqrt(model.noise_variance_)
    np.testing.assert_allclose(shown.residuals, residuals, rtol=1e-7)


def test_a_response_of_one_column_takes_the_column() -> None:
    small = mixed("I(Reaction/100) ~ Days + (Days | Subject)", SLEEP)
    plain = mixed("Reaction ~ Days + (Days | Subject)", SLEEP)
    np.testing.assert_allclose(100 * small.coef_, plain.coef_, rtol=1e-6)
    assert small.score(SLEEP, SLEEP["Reaction"]) == pytest.approx(
        plain.score(SLEEP, SLEEP["Reaction"]), rel=1e-6
    )
    with pytest.raises(ValueError, match=r"cannot transform the mean of 'I\(Reaction/100\)'"):
        small.predict(SLEEP, type="response")


def test_a_clone_cannot_forget_the_response(model) -> None:
    with pytest.raises(ValueError, match=r"'I\(Reaction - x\)'.*'Reaction' and 'x'"):
        MixedEffectsVIRegressor(formula=model.formula).fit(FRAME, FRAME["Reaction"])


def test_estimators_take_offsets_in_their_formula() -> None:
    counts = GENERATOR.poisson(FRAME["x"])
    term = MixedEffectsVIRegressor(
        formula="Days + offset(log(x)) + (1 | Subject)", family="poisson"
    )
    column = MixedEffectsVIRegressor(
        formula="Days + (1 | Subject)", family="poisson", offset="log_x"
    )
    frame = FRAME.assign(log_x=np.log(FRAME["x"]))
    term.fit(frame, counts)
    column.fit(frame, counts)
    np.testing.assert_allclose(term.coef_, column.coef_, rtol=1e-6)
    np.testing.assert_array_equal(term.offset_range_, column.offset_range_)
    with pytest.warns(UserWarning, match=r"'log\(x\)' \(offset\)"):
        term.predict(frame.assign(x=1e30))


def test_offsets_of_both_kinds_add_up() -> None:
    both = mixed("Reaction ~ Days + offset(2*x) + (1 | Subject)", FRAME, offset="x")
    whole = mixed("Reaction ~ Days + offset(3*x) + (1 | Subject)", FRAME)
    np.testing.assert_allclose(both.coef_, whole.coef_, rtol=1e-7)
    np.testing.assert_allclose(both.predict(FRAME), whole.predict(FRAME), rtol=1e-9)


def test_classes_may_be_computed() -> None:
    computed = mixed("I(Reaction > 300) ~ Days + (1 | Subject)", SLEEP, family="binomial")
    column = MixedEffectsVIClassifier(formula="Days + (1 | Subject)").fit(
        SLEEP[["Days", "Subject"]], (SLEEP["Reaction"] > 300).astype(float)
    )
    np.testing.assert_allclose(computed.coef_, column.coef_, rtol=1e-6)
    assert computed.classes_.tolist() == [0.0, 1.0]


def test_rows_that_miss_a_column_of_a_computation_are_dropped() -> None:
    frame = FRAME.copy()
    frame.loc[3, "x"] = np.nan
    frame.loc[5, "Reaction"] = np.nan
    frame["Subject"] = frame["Subject"].where(frame.index != 9)
    left = mixed(EVERYTHING, frame, missing="drop")
    complete = mixed(EVERYTHING, FRAME.drop(index=[3, 5, 9]))
    assert left.n_observations_ == 177
    np.testing.assert_allclose(left.coef_, complete.coef_, rtol=1e-6)
    with pytest.raises(ValueError, match="NaN in column 'x'"):
        mixed(EVERYTHING, frame.drop(index=[5, 9]))


def test_what_is_learnt_from_all_rows_is_refused_in_parts() -> None:
    part = MixedEffectsVIRegressor(formula="poly(Days, 2) + ave(x, Subject) + (1 | Subject)")
    with pytest.raises(ValueError, match=r"poly\(Days, 2\)"):
        part.partial_fit(FRAME.iloc[:90], FRAME["Reaction"][:90])


def test_parts_of_a_computation_that_learns_nothing_add_up() -> None:
    formula = "I(Days^2) + Days + offset(2 * x) + (1 | Subject)"
    parts = MixedEffectsVIRegressor(formula=formula)
    for rows in (slice(0, 70), slice(70, 180)):
        parts.partial_fit(FRAME.iloc[rows], FRAME["Reaction"].iloc[rows])
    whole = MixedEffectsVIRegressor(formula=formula).fit(FRAME, FRAME["Reaction"])
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-6)


def test_importances_count_every_column_of_a_computation() -> None:
    fitted = mixed("Reaction ~ I(Days * x) + (1 | Subject)", FRAME)
    importances = dict(zip(fitted.feature_names_in_, fitted.feature_importances_, strict=True))
    assert importances["Days"] == importances["x"] > 0.0


# Files.


def test_skops_gives_back_the_same_bits(model) -> None:
    stored = skops.io.dumps(model)
    types = skops.io.get_untrusted_types(data=stored)
    assert all(name.startswith("skmixed.") for name in types), types
    again = skops.io.loads(stored, trusted=types)
    np.testing.assert_array_equal(again.predict(FRAME), model.predict(FRAME))


def altered_encoder(model, position: int, change):
    """The encoder with one learnt step of a variable of the fixed effects changed."""
    encoder = model.design_encoder_
    variable = encoder.fixed.variables[position]
    learnt = tuple(step if step is None else change(step) for step in variable.learnt)
    variables = list(encoder.fixed.variables)
    variables[position] = replace(variable, learnt=learnt)
    return replace(encoder, fixed=replace(encoder.fixed, variables=tuple(variables)))


CHANGES = [
    (0, lambda step: replace(step, shifts=step.shifts[:-1])),
    (0, lambda step: replace(step, sizes=step.sizes * np.nan)),
    (0, lambda step: replace(step, center=float("nan"))),
    (0, lambda step: 3),
    (1, lambda step: replace(step, means=step.means[:-1])),
    (1, lambda step: replace(step, overall="x")),
    (3, lambda step: replace(step, name="log")),
]


@pytest.mark.parametrize(("position", "change"), CHANGES)
def test_altered_steps_are_refused(model, position, change) -> None:
    check_encoder(model.design_encoder_)
    with pytest.raises(ValueError, match="damaged or was altered"):
        check_encoder(altered_encoder(model, position, change))


def test_steps_that_do_not_fit_together_are_refused(model) -> None:
    encoder = model.design_encoder_
    offset = encoder.offset_terms[0]
    assert offset.variable.functions == ("log",)
    computed = mixed("Reaction ~ offset(x + Days) + (1 | Subject)", FRAME).design_encoder_
    (term,) = computed.offset_terms
    for steps in (term.variable.steps[:-1], term.variable.steps[1:], ()):
        broken = replace(
            term,
            variable=replace(term.variable, steps=steps),
            learnt=term.learnt[: len(steps)],
        )
        with pytest.raises(ValueError, match="damaged or was altered"):
            check_encoder(replace(computed, offset_terms=(broken,)))


def test_the_checksum_covers_what_was_learnt(model) -> None:
    changed = altered_encoder(model, 1, lambda step: replace(step, means=step.means + 1.0))
    state = model.__getstate__()
    MixedEffectsVIRegressor().__setstate__(state)
    with pytest.raises(ValueError, match="its checksum does not match"):
        MixedEffectsVIRegressor().__setstate__(state | {"design_encoder_": changed})


# Errors of the formula.


@pytest.mark.parametrize(
    "call",
    [
        lambda: mixed("Reaction ~ Days**2 + (1 | Subject)", SLEEP),
        lambda: MixedEffectsVIRegressor(formula="Days + ((1 | Subject").fit(SLEEP, SLEEP["Days"]),
        lambda: MixedEffectsVIRegressor("(1 | Subject").fit(SLEEP, SLEEP["Days"]),
    ],
)
def test_errors_of_a_formula_have_no_frames_of_the_parser(call) -> None:
    with pytest.raises(FormulaError) as caught:
        call()
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert sum("skmixed" in name and "tests" not in name for name in files) <= 1


def test_advice_on_powers() -> None:
    with pytest.raises(FormulaError, match=r"Write I\(Days\^2\)"):
        mixed("Reaction ~ Days**2 + (1 | Subject)", SLEEP)
