"""Displays of answers: means, curves, contrasts, coefficients, average effects, influence."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmixed import (
    MixedEffectsVIRegressor,
    contrasts,
    influence,
    marginal_effects,
    marginal_means,
    mixed,
)
from skmixed.datasets import load_cbpp
from skmixed.inspection import (
    AverageEffectsDisplay,
    ContrastsDisplay,
    EffectCurvesDisplay,
    FixedEffectsDisplay,
    InfluenceDisplay,
    MarginalMeansDisplay,
    OverviewDisplay,
)


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(3)
    n = 240
    g = rng.integers(12, size=n)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(20.0, 60.0, n), "dose": rng.normal(size=n),
            "sex": rng.choice(["f", "m"], n), "diet": rng.choice(["a", "b", "c"], n),
            "g": [f"g{k}" for k in g],
        }
    )  # fmt: skip
    eta = 0.05 * frame["age"] + (frame["sex"] == "m") + (frame["diet"] == "c")
    frame["y"] = eta + rng.normal(size=12)[g] + rng.normal(size=n)
    frame["good"] = (frame["y"] > 3.0).astype(int)
    return frame


@pytest.fixture(scope="module")
def model(frame):
    return mixed("y ~ age * sex + diet + dose + (1 | g)", frame)


@pytest.fixture(scope="module")
def logistic(frame):
    return mixed("good ~ age + sex + diet + (1 | g)", frame, family="bernoulli")


def drawn_points(ax):
    """Coordinates of everything that is drawn as single points."""
    lines = [line for line in ax.lines if line.get_linestyle() == "None"]
    return np.concatenate([np.column_stack(line.get_data()) for line in lines])


def drawn_intervals(ax, axis):
    """Ends of all intervals along an axis, in the order drawn."""
    return np.array([part[:, axis] for c in ax.collections for part in c.get_segments()])


# Means -----------------------------------------------------------------------------------


def test_means_are_drawn_with_their_intervals(model):
    means = marginal_means(model, "diet")
    display = means.plot()
    assert type(display) is MarginalMeansDisplay
    table = means.to_frame()
    np.testing.assert_allclose(drawn_points(display.ax_)[:, 1], table["estimate"])
    np.testing.assert_allclose(drawn_intervals(display.ax_, 1), table[["lower", "upper"]])
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["a", "b", "c"]
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("diet", "mean of y")
    assert display.ax_.get_legend() is None


def test_means_of_two_columns_are_told_apart(model):
    display = marginal_means(model, "diet", by="sex").plot()
    legend = display.ax_.get_legend()
    assert legend.get_title().get_text() == "sex"
    assert [text.get_text() for text in legend.get_texts()] == ["f", "m"]
    colours = {line.get_color() for line in display.ax_.lines}
    places = drawn_points(display.ax_)[:, 0]
    assert len(colours) == 2
    assert len(np.unique(places)) == 6


@pytest.mark.parametrize("layout", ["constrained", None])
@pytest.mark.parametrize("first", ["diet", "age"])
def test_a_legend_is_beside_the_axes_where_there_is_room(model, first, layout):
    """A layout engine makes room; without one the legend would be cut off."""
    figure, axes = plt.subplots(layout=layout)
    at = {"age": [20.0, 60.0]} if first == "age" else None
    marginal_means(model, first, by="sex", at=at).plot(axes)
    figure.draw_without_rendering()
    legend, panel = (each.get_window_extent() for each in (axes.get_legend(), axes))
    assert legend.x1 <= figure.bbox.x1
    assert (legend.x0 >= panel.x1) == (layout is not None)


def test_unknown_means_are_left_out(frame):
    rows = frame[~((frame["diet"] == "c") & (frame["sex"] == "m"))]
    display = marginal_means(mixed("y ~ diet * sex + (1 | g)", rows), "diet", by="sex").plot()
    assert np.isnan(drawn_points(display.ax_)[:, 1]).sum() == 1
    display.figure_.canvas.draw()


def test_labels_name_the_scale(logistic, model):
    assert marginal_means(logistic, "diet").plot().ax_.get_ylabel() == "P(good = 1)"
    link = marginal_means(logistic, "diet", scale="link").plot()
    assert link.ax_.get_ylabel() == "linear predictor"
    slopes = marginal_means(model, "sex", slope_of="age").plot()
    assert slopes.ax_.get_ylabel() == "slope of age"


# Curves ----------------------------------------------------------------------------------


def test_a_curve_is_the_population_prediction(frame, model):
    """At one diet and dose the mean is what `predict` says without the groups."""
    at = {"diet": "b", "dose": 0.5}
    display = EffectCurvesDisplay.from_estimator(model, "age", by="sex", at=at, n_points=7)
    assert display.means["age"].min() == frame["age"].min()
    assert display.means["age"].max() == frame["age"].max()
    for line, sex in zip(display.ax_.lines, ["f", "m"], strict=True):
        ages, drawn = line.get_data()
        rows = pd.DataFrame({"age": ages, "sex": sex, "g": "new", **at})
        expected = model.predict(rows.assign(diet="b"), include="none")
        np.testing.assert_allclose(drawn, expected, rtol=1e-10)


def test_bands_are_the_intervals(model):
    at = {"age": [20, 30, 40]}
    means = marginal_means(model, "age", at=at, ddf="kenward-roger", level=0.8)
    display = means.plot()
    assert type(display) is EffectCurvesDisplay
    path = display.ax_.collections[0].get_paths()[0].vertices[:, 1]
    for end in ("lower", "upper"):
        assert np.isin(means.to_frame()[end].round(9), path.round(9)).all()


def test_a_number_at_one_value_is_a_point(model):
    assert type(marginal_means(model, "age").plot()) is MarginalMeansDisplay


def test_curves_refuse_other_columns(model):
    with pytest.raises(ValueError, match=r"'g' is not a column of the fixed effects.*'age'"):
        EffectCurvesDisplay.from_estimator(model, "g")


# Contrasts -------------------------------------------------------------------------------


def test_contrasts_have_intervals_and_p_values(model):
    found = contrasts(marginal_means(model, "diet"))
    display = found.plot()
    assert type(display) is ContrastsDisplay
    table, ax = found.to_frame(), display.ax_
    np.testing.assert_allclose(drawn_intervals(ax, 0), table[["lower", "upper"]])
    assert sorted(drawn_points(ax)[:, 0]) == pytest.approx(sorted(table["estimate"]))
    assert [text.get_text() for text in ax.get_yticklabels()] == table.index.tolist()
    assert [text.get_text() for text in ax.texts] == [
        "p < 0.001" if p < 0.001 else f"p = {p:.3f}" for p in table["p_value"]
    ]
    assert ax.get_xlabel() == "contrast, mean of y, 95 % interval"


def test_hollow_points_are_those_whose_interval_holds_zero(model):
    found = contrasts(marginal_means(model, "diet"))
    table = found.to_frame()
    line, beyond, hollow = found.plot().ax_.lines
    holds = (table["lower"] <= 0.0) & (table["upper"] >= 0.0)
    assert 0 < holds.sum() < len(holds)
    np.testing.assert_allclose(hollow.get_xdata(), table["estimate"][holds])
    np.testing.assert_allclose(beyond.get_xdata(), table["estimate"][~holds])
    assert hollow.get_markerfacecolor() != beyond.get_markerfacecolor()
    assert list(line.get_xdata()) == [0.0, 0.0]


def test_families_have_a_panel_each(model):
    display = contrasts(marginal_means(model, "diet", by="sex")).plot()
    assert [ax.get_title(loc="left") for ax in display.ax_] == ["sex = f", "sex = m"]
    assert len({ax.get_xlim() for ax in display.ax_}) == 1
    assert display.ax_[0].get_xlabel() == ""
    _, ax = plt.subplots()
    again = display.plot(ax)
    assert all(panel in ax.child_axes for panel in again.ax_)


# Coefficients ----------------------------------------------------------------------------


def test_coefficients_of_one_unit_share_an_axis(model):
    display = FixedEffectsDisplay.from_estimator(model, ddf="satterthwaite", level=0.9)
    assert [panel.table.index.tolist() for panel in display.panels] == [
        ["sex[m]", "diet[b]", "diet[c]"], ["age", "age:sex[m]"], ["dose"],
    ]  # fmt: skip
    assert display.ax_[1].get_xlabel() == "coefficient, 90 % interval, per unit of age"
    table = model.summary(test="t", level=0.9).to_frame()
    shown = pd.concat([panel.table for panel in display.panels])
    np.testing.assert_allclose(shown["lower"], table.loc[shown.index, "lower"])
    assert "Intercept" not in shown.index


def test_ratios_are_on_a_logarithmic_axis(logistic):
    display = FixedEffectsDisplay.from_estimator(logistic, transform="exp", intercept=True)
    table = logistic.summary(exponentiate=True).to_frame()
    assert display.ax_.get_xscale() == "log"
    assert display.ax_.get_xlabel() == "odds ratio, 95 % interval"
    np.testing.assert_allclose(drawn_intervals(display.ax_, 0), table[["lower", "upper"]])
    assert display.ax_.lines[0].get_xdata()[0] == 1.0


@pytest.mark.parametrize(
    ("family", "response", "name"),
    [
        ("poisson", "count", "ratio of means"),
        ("gaussian", "y", "exp(coefficient)"),
        ("bernoulli", "good", "odds ratio"),
    ],
)
def test_families_name_their_ratios(frame, family, response, name):
    data = frame.assign(count=frame["good"] + 1)
    model = mixed(f"{response} ~ sex + (1 | g)", data, family=family)
    display = FixedEffectsDisplay.from_estimator(model, transform="exp")
    assert display.panels[0].xlabel == f"{name}, 95 % interval"


def test_probit_coefficients_are_no_odds_ratios(frame):
    model = mixed("good ~ sex + (1 | g)", frame, family="bernoulli", link="probit")
    display = FixedEffectsDisplay.from_estimator(model, transform="exp")
    assert display.panels[0].xlabel.startswith("exp(coefficient)")


def test_coefficients_refuse(frame, model):
    with pytest.raises(ValueError, match=r"transform='log' is not known.*'exp'"):
        FixedEffectsDisplay.from_estimator(model, transform="log")
    with pytest.raises(ValueError, match="no coefficient to show"):
        FixedEffectsDisplay.from_estimator(mixed("y ~ 1 + (1 | g)", frame))


# Average effects -------------------------------------------------------------------------


def test_slopes_have_axes_of_their_own(logistic):
    effects = marginal_effects(logistic, ["age", "sex", "diet"])
    display = effects.plot()
    assert type(display) is AverageEffectsDisplay
    assert [panel.table.index.tolist() for panel in display.panels] == [
        ["sex: m - f", "diet: b - a", "diet: c - a"], ["age"],
    ]  # fmt: skip
    assert display.ax_[1].get_xlabel() == "slope of the mean response, per unit of age"
    ends = effects.to_frame().set_index("contrast")[["lower", "upper"]]
    np.testing.assert_allclose(drawn_intervals(display.ax_[1], 0)[0], ends.loc["derivative"])


# Influence -------------------------------------------------------------------------------


def test_influence_shows_the_largest_first(model):
    found = influence(model, "g", variances="held")
    display = InfluenceDisplay.from_influence(found, n_levels=5)
    largest = found.to_frame()["cooks_distance"].nlargest(5)
    np.testing.assert_allclose(drawn_points(display.ax_)[:, 0], largest)
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == largest.index.tolist()
    assert display.ax_.lines[-1].get_xdata()[0] == pytest.approx(4.0 / 12.0)
    assert display.ax_.get_ylabel() == "g"


def test_moves_have_a_panel_per_coefficient(model):
    found = influence(model, "g", variances="held")
    _, ax = plt.subplots()
    display = InfluenceDisplay.from_influence(found, kind="dfbetas", ax=ax)
    assert len(display.ax_) == found.dfbetas.shape[1]
    order = found.to_frame()["cooks_distance"].sort_values(ascending=False).index
    np.testing.assert_allclose(
        drawn_points(display.ax_[1])[:, 0], found.dfbetas.iloc[:, 1].loc[order]
    )
    with pytest.raises(ValueError, match=r"kind='hat' is not known"):
        display.plot(kind="hat")


@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_nothing_overlaps_in_any_style(style, model):
    with plt.style.context(style):
        display = contrasts(marginal_means(model, "diet", by="sex")).plot()
        display.figure_.canvas.draw()
        boxes = [ax.get_tightbbox() for ax in display.ax_]
        assert boxes[0].y0 >= boxes[1].y1 - 1.0
        assert max(box.x1 for box in boxes) <= display.figure_.bbox.x1 + 1.0


def test_the_odds_ratios_of_the_cattle_disease():
    """Odds ratios of the periods as in lme4's vignette, 0.37, 0.32 and 0.21 (glmer, Laplace)."""
    frame = load_cbpp().frame.eval("healthy = size - incidence")
    model = mixed("cbind(incidence, healthy) ~ period + (1 | herd)", frame, family="binomial")
    table = FixedEffectsDisplay.from_estimator(model, transform="exp").panels[0].table
    np.testing.assert_allclose(table["estimate"], [0.371, 0.324, 0.206], atol=0.005)


# Overview --------------------------------------------------------------------------------


def test_four_pictures_in_one_figure(model):
    display = model.plot()
    kinds = {heading: type(part).__name__ for heading, part in display.displays_.items()}
    assert kinds == {
        "coefficients": "FixedEffectsDisplay",
        "standard deviations": "VarianceComponentsDisplay",
        "effects of g": "RandomEffectsDisplay",
        "residuals": "ResidualsDisplay",
    }
    assert len(plt.get_fignums()) == 1
    first = display.figure_
    assert display.plot().figure_ is not first
    display.figure_.canvas.draw()


def test_pictures_that_a_model_does_not_have_are_left_out(frame):
    X = frame[["age", "g"]]
    without_data = MixedEffectsVIRegressor(["g"]).fit(X, frame["y"])
    assert "residuals" not in without_data.plot().displays_
    assert "residuals" in without_data.plot(X, frame["y"]).displays_
    means = mixed("y ~ 1 + (1 | g)", frame)
    assert "coefficients" not in means.plot().displays_
    line = mixed("y ~ age", frame)
    assert list(line.plot().displays_) == ["coefficients", "residuals"]
    constant = MixedEffectsVIRegressor(formula="1").fit(X, frame["y"])
    with pytest.raises(
        ValueError, match=r"no coefficients and no random effects.*pass the X and y"
    ):
        constant.plot()


def test_a_pipeline_has_an_overview(frame):
    double = FunctionTransformer(lambda X: X.assign(age=2.0 * X["age"]))
    X = frame[["age", "g"]]
    pipeline = make_pipeline(double, MixedEffectsVIRegressor(["g"])).fit(X, frame["y"])
    inside = OverviewDisplay.from_estimator(pipeline, X, frame["y"]).displays_["residuals"]
    alone = pipeline[-1].plot(double.transform(X), frame["y"]).displays_["residuals"]
    np.testing.assert_array_equal(inside.residuals, alone.residuals)
