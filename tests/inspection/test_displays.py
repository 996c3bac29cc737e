"""Displays: what they hold, and what is common to all of them."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from scipy.stats import norm
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmixed import MixedEffectsVIClassifier, MixedEffectsVIRegressor
from skmixed.datasets import make_mixed_classification, make_mixed_regression
from skmixed.inspection import (
    ConvergenceDisplay,
    EffectCurvesDisplay,
    EffectsComparisonDisplay,
    FixedEffectsDisplay,
    RandomEffectsDisplay,
    ResidualsDisplay,
    ShrinkageDisplay,
    VarianceComponentsDisplay,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def data():
    X, y, _ = make_mixed_regression(
        n_samples=600, groups=(40, 8), n_slopes=(1, 0), heavy_tailed=True, random_state=0
    )
    return X, y


@pytest.fixture(scope="module")
def model(data):
    return MixedEffectsVIRegressor(["(1 + x0 | g0)", "g1"]).fit(*data)


@pytest.fixture(scope="module")
def classifier():
    X, y, _ = make_mixed_classification(n_samples=300, groups=(12, 5), random_state=0)
    return MixedEffectsVIClassifier(["g0", "g1"]).fit(X, y), X, y


DRAW = {
    "random_effects": lambda m, X, y, **given: RandomEffectsDisplay.from_estimator(
        m, "g0", **given
    ),
    "ranked": lambda m, X, y, **given: RandomEffectsDisplay.from_estimator(
        m, "g0", kind="ranked", **given
    ),
    "shrinkage": lambda m, X, y, **given: ShrinkageDisplay.from_estimator(m, X, y, "g0", **given),
    "variances": lambda m, X, y, **given: VarianceComponentsDisplay.from_estimator(m, **given),
    "residuals": lambda m, X, y, **given: ResidualsDisplay.from_estimator(m, X, y, **given),
    "quantiles": lambda m, X, y, **given: ResidualsDisplay.from_estimator(
        m, X, y, kind="quantile", **given
    ),
    "convergence": lambda m, X, y, **given: ConvergenceDisplay.from_estimator(m, **given),
    "comparison": lambda m, X, y, **given: EffectsComparisonDisplay.from_estimators(
        m, m, "g0", **given
    ),
    "coefficients": lambda m, X, y, **given: FixedEffectsDisplay.from_estimator(
        m, X, y, ddf="satterthwaite", **given
    ),
    "curves": lambda m, X, y, **given: EffectCurvesDisplay.from_estimator(m, "x0", X, y, **given),
}


# Common to all ---------------------------------------------------------------------------


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
@pytest.mark.parametrize("style", ["default", "dark_background"])
def test_makes_a_figure(draw, style, model, data):
    with plt.style.context(style):
        display = draw(model, *data)
        first = np.atleast_1d(display.ax_)[0]
        assert display.figure_ is first.figure
        display.figure_.canvas.draw()
        # nothing is drawn in a colour that is near the background's
        background = np.array(first.get_facecolor())
        drawn = [line.get_color() for line in first.lines]
        drawn += [text.get_color() for text in [first.xaxis.label, *first.texts]]
        assert drawn
        assert all(np.abs(to_rgba(colour) - background).max() > 0.3 for colour in drawn)
    assert len(plt.get_fignums()) == 1


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_draws_on_given_axes(draw, model, data):
    figure, ax = plt.subplots()
    display = draw(model, *data, ax=ax)
    assert display.figure_ is figure
    assert len(plt.get_fignums()) == 1
    assert ax in {display.ax_} if not isinstance(display.ax_, np.ndarray) else ax.child_axes


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_plots_again(draw, model, data):
    display = draw(model, *data)
    before = display.figure_
    assert display.plot() is display
    assert display.figure_ is not before


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_refuses_what_is_not_fitted(draw, data):
    with pytest.raises(NotFittedError):
        draw(MixedEffectsVIRegressor(), *data)


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_refuses_other_estimators(draw, data):
    other = LinearRegression().fit(data[0][["x0"]], data[1])
    with pytest.raises(
        TypeError, match=r"LinearRegression is not a mixed-effects model.*pass a fitted"
    ):
        draw(other, *data)


@pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)
def test_takes_pipelines(draw, model, data):
    X, y = data
    double = FunctionTransformer(lambda X: X.assign(x0=2.0 * X["x0"]))
    pipeline = make_pipeline(double, MixedEffectsVIRegressor(["(1 + x0 | g0)", "g1"])).fit(X, y)
    in_pipeline, alone = draw(pipeline, X, y), draw(pipeline[-1], double.transform(X), y)
    held = [name for name in ("effects", "levels", "components", "means") if hasattr(alone, name)]
    for name in held:
        pd.testing.assert_frame_equal(getattr(in_pipeline, name), getattr(alone, name))
    for one, other in zip(*(getattr(d, "panels", []) for d in (in_pipeline, alone)), strict=True):
        held.append(other.xlabel)
        pd.testing.assert_frame_equal(one.table, other.table)
    for name in {"residuals", "distances"} & set(vars(alone)):
        held.append(name)
        np.testing.assert_array_equal(getattr(in_pipeline, name), getattr(alone, name))
    assert held


@pytest.mark.parametrize("name", ["random_effects", "shrinkage", "comparison"])
def test_names_the_known_groups(name, model, data):
    draw = {
        "random_effects": lambda: RandomEffectsDisplay.from_estimator(model, "g9"),
        "shrinkage": lambda: ShrinkageDisplay.from_estimator(model, *data, "g9"),
        "comparison": lambda: EffectsComparisonDisplay.from_estimators(model, model, "g9"),
    }[name]
    with pytest.raises(ValueError, match=r"group='g9' is not a group.*'g0', 'g1'"):
        draw()


def run(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_import_does_not_load_matplotlib():
    done = run("import sys, skmixed, skmixed.inspection; assert 'matplotlib' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_without_matplotlib_the_extra_is_named(monkeypatch, model):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "scikit-mixed\[plot\]"'):
        RandomEffectsDisplay.from_estimator(model, "g0")


# Random effects --------------------------------------------------------------------------


@pytest.mark.parametrize(("term", "shown"), [(None, "Intercept"), ("x0", "x0")])
def test_effects_are_those_of_the_model(model, term, shown):
    display = RandomEffectsDisplay.from_estimator(model, "g0", term=term, level=0.9)
    effects = display.effects
    assert display.term == shown
    assert effects["effect"].is_monotonic_increasing
    means = model.random_effects_["g0"][shown]
    stds = model.random_effects_std_["g0"][shown]
    pd.testing.assert_series_equal(effects["effect"].sort_index(), means, check_names=False)
    low, high = norm.interval(0.9, loc=means, scale=stds)
    np.testing.assert_allclose(effects["lower"].sort_index(), low, rtol=1e-12)
    np.testing.assert_allclose(effects["upper"].sort_index(), high, rtol=1e-12)


def test_all_levels_are_labelled_where_they_fit(model):
    display = RandomEffectsDisplay.from_estimator(model, "g1")
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels == [str(level) for level in display.effects.index]
    assert not display.ax_.texts


def test_many_levels_are_cut_in_the_middle(model):
    display = RandomEffectsDisplay.from_estimator(model, "g0", n_levels=7)
    levels = display.effects.index
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels == [str(level) for level in [*levels[:3], *levels[-4:]]]
    assert "33 levels between" in display.ax_.texts[0].get_text()
    # the gap is between the rows of the levels beside it, and nothing else is
    ticks = display.ax_.get_yticks()
    assert ticks[2] < display.ax_.texts[0].get_position()[1] < ticks[3]
    assert ticks[3] - ticks[2] > 1


def test_labels_do_not_touch(model):
    display = RandomEffectsDisplay.from_estimator(model, "g0")
    display.figure_.canvas.draw()
    boxes = [text.get_window_extent() for text in display.ax_.get_yticklabels()]
    assert len(boxes) == 30
    assert all(low.y1 <= high.y0 + 1 for low, high in pairwise(boxes))


def test_low_axes_have_fewer_levels(model):
    _, ax = plt.subplots(figsize=(4, 1.5))
    labels = RandomEffectsDisplay.from_estimator(model, "g0", ax=ax).ax_.get_yticklabels()
    assert 2 <= len(labels) < 12
    assert min(label.get_fontsize() for label in labels) > 5


def test_long_labels_keep_their_ends():
    X, y, _ = make_mixed_regression(n_samples=200, groups=(4,), random_state=0)
    X["g0"] = "a faculty of very many words, number " + X["g0"].astype(str)
    model = MixedEffectsVIRegressor(["g0"]).fit(X, y)
    display = RandomEffectsDisplay.from_estimator(model, "g0")
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert max(map(len, labels)) <= 30
    assert [label[-1] for label in labels] == [level[-1] for level in display.effects.index]


def test_interactions_are_labelled(data):
    model = MixedEffectsVIRegressor(["(1 | g0:g1)"]).fit(*data)
    display = RandomEffectsDisplay.from_estimator(model, "g0:g1", n_levels=4)
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels[0] == ":".join(str(part) for part in display.effects.index[0])


@pytest.mark.parametrize("n_levels", [40, 2_500])
def test_ranked_curve_averages_neighbours(n_levels):
    effect = np.sort(np.random.default_rng(0).standard_normal(n_levels))
    frame = pd.DataFrame({"effect": effect, "std": 0.1, "lower": effect - 0.2})
    frame["upper"] = effect + 0.2
    display = RandomEffectsDisplay(frame, group="g", term="Intercept", level=0.95)
    curve = display.plot(kind="ranked").ax_.lines[1]
    ranks, drawn = curve.get_data()
    assert len(ranks) <= 1_000
    np.testing.assert_allclose(
        drawn, np.interp(ranks, np.arange(1, n_levels + 1), effect), atol=0.2
    )
    if n_levels == 40:
        np.testing.assert_array_equal(ranks, np.arange(1, 41))
        np.testing.assert_allclose(drawn, effect)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"kind": "bars"}, r"kind='bars' is not known.*'labelled', 'ranked'"),
        ({"term": "x7"}, r"term='x7' is not an effect of group 'g0'.*'Intercept', 'x0'"),
        ({"level": 1.0}, r"level == 1.0"),
        ({"n_levels": 1}, r"n_levels == 1"),
    ],
)
def test_random_effects_refuse(model, given, message):
    with pytest.raises(ValueError, match=message):
        RandomEffectsDisplay.from_estimator(model, "g0", **given)


def test_styles_are_taken(model):
    display = RandomEffectsDisplay.from_estimator(
        model, "g1", point_kwargs={"c": "red", "marker": "s"}, line_kwargs={"lw": 3.0}
    )
    line, points = display.ax_.lines
    assert (points.get_color(), points.get_marker(), line.get_linewidth()) == ("red", "s", 3.0)


# Variance components ---------------------------------------------------------------------


def test_components_are_those_of_the_model(model):
    display = VarianceComponentsDisplay.from_estimator(model)
    covariance = model.random_effects_cov_["g0"].to_numpy()
    other = model.random_effects_cov_["g1"].iloc[0, 0]
    variances = [covariance[0, 0], covariance[1, 1], other, model.noise_variance_]
    np.testing.assert_allclose(display.components["variance"], variances)


def bars_and_labels(ax):
    return [bar.get_width() for bar in ax.patches], [t.get_text() for t in ax.get_yticklabels()]


@pytest.mark.parametrize("given", [False, True])
def test_components_of_different_units_are_on_different_axes(model, given):
    ax = plt.subplots()[1] if given else None
    display = VarianceComponentsDisplay.from_estimator(model, ax=ax)
    sds = display.components["sd"].tolist()
    above, below = display.ax_
    widths, labels = bars_and_labels(above)
    np.testing.assert_allclose(widths, [sds[0], sds[2], sds[3]])
    assert labels == ["g0", "g1", "noise"]
    assert above.get_xlabel() == "standard deviation"
    widths, labels = bars_and_labels(below)
    np.testing.assert_allclose(widths, sds[1:2])
    assert labels == ["g0: x0"]
    assert below.get_xlabel() == "standard deviation, per unit of x0"
    # nothing overlaps
    display.figure_.canvas.draw()
    top, bottom = (ax.get_tightbbox() for ax in display.ax_)
    assert top.y0 > bottom.y1


def test_a_slope_has_one_panel_for_all_groups(data):
    X, y = data
    X = X.assign(z=np.random.default_rng(0).normal(size=len(X)))
    model = MixedEffectsVIRegressor(["(1 + x0 + z || g0)", "(0 + x0 | g1)"]).fit(X, y)
    display = VarianceComponentsDisplay.from_estimator(model)
    names = [bars_and_labels(ax)[1] for ax in display.ax_]
    assert names == [["g0", "noise"], ["g0: x0", "g1: x0"], ["g0: z"]]


def test_intercepts_alone_have_one_axis(data):
    display = VarianceComponentsDisplay.from_estimator(MixedEffectsVIRegressor(["g0"]).fit(*data))
    assert bars_and_labels(display.ax_)[1] == ["g0", "noise"]


@pytest.mark.parametrize("term", ["Intercept", "x0"])
def test_effects_name_their_term(model, term):
    display = RandomEffectsDisplay.from_estimator(model, "g0", term=term)
    assert display.ax_.get_xlabel() == f"{term} | g0, with 95 % intervals"
    display.plot(kind="ranked")
    assert display.ax_.get_ylabel() == f"{term} | g0"


def test_shares_add_up(data):
    model = MixedEffectsVIRegressor(["g0", "g1"]).fit(*data)
    display = VarianceComponentsDisplay.from_estimator(model, kind="share")
    widths = [bar.get_width() for bar in display.ax_.patches]
    total = sum(float(c.iloc[0, 0]) for c in model.random_effects_cov_.values())
    assert sum(widths) == pytest.approx(1.0)
    assert widths[-1] == pytest.approx(model.noise_variance_ / (total + model.noise_variance_))


def test_shares_of_slopes_are_refused(model):
    with pytest.raises(ValueError, match=r"variance of 'x0' by 'g0'.*use kind='sd'"):
        VarianceComponentsDisplay.from_estimator(model, kind="share")


def test_classes_have_no_noise(classifier):
    display = VarianceComponentsDisplay.from_estimator(classifier[0], kind="share")
    assert display.components["group"].tolist() == ["g0", "g1"]
    assert "between levels" in display.ax_.get_xlabel()


# Convergence -----------------------------------------------------------------------------


def test_paths_are_those_of_the_model(model):
    display = ConvergenceDisplay.from_estimator(model)
    upper, lower = display.ax_
    np.testing.assert_array_equal(display.elbo_path, model.elbo_path_)
    np.testing.assert_allclose(display.distances, np.abs(model.elbo_path_ - model.elbo_))
    np.testing.assert_array_equal(lower.lines[0].get_ydata(), model.gradient_path_)
    assert (upper.get_yscale(), lower.get_yscale()) == ("log", "log")
    assert lower.lines[1].get_ydata()[0] == model.tol


def test_two_axes_are_taken(model):
    _, axes = plt.subplots(1, 2)
    display = ConvergenceDisplay.from_estimator(model, ax=axes)
    assert list(display.ax_) == list(axes)
    with pytest.raises(ValueError, match="ax holds 3 axes"):
        ConvergenceDisplay.from_estimator(model, ax=plt.subplots(3)[1])


def test_a_fit_without_steps_is_shown():
    display = ConvergenceDisplay(np.array([np.inf]), np.array([0.0]), converged=False).plot()
    display.figure_.canvas.draw()
    assert display.ax_[0].get_yscale() == "linear"
    assert "not converged" in display.ax_[0].get_title()


# Comparison ------------------------------------------------------------------------------


def test_effects_of_two_models(data):
    X, y = data
    both = MixedEffectsVIRegressor(["g0", "g1"]).fit(X, y)
    alone = MixedEffectsVIRegressor(["g0"]).fit(X[["x0", "g0"]], y)
    display = EffectsComparisonDisplay.from_estimators(both, alone, "g0", names=("both", "alone"))
    first, second = (m.random_effects_["g0"]["Intercept"] for m in (both, alone))
    np.testing.assert_array_equal(display.effects["first"], first)
    np.testing.assert_array_equal(display.effects["difference"], second - first)
    level = (second - first).abs().idxmax()
    assert f"g0 = {level}" in display.ax_.texts[0].get_text()
    assert display.ax_.get_ylabel().endswith("alone")


def test_tables_of_other_software(model):
    effects = model.random_effects_["g0"]
    other = effects.iloc[::-1].copy()
    other.loc[effects.index[3], "x0"] += 1.0
    other = pd.concat([other, pd.DataFrame({"Intercept": 0.0, "x0": 0.0}, index=[999])])
    other.loc[effects.index[7], "x0"] = np.nan
    display = EffectsComparisonDisplay.from_estimators(model, other, "g0", term="x0")
    assert len(display.effects) == len(effects) - 1
    assert display.n_unmatched == 2
    assert "2 levels of only one" in display.ax_.get_title()
    difference = display.effects["difference"]
    assert difference.idxmax() == effects.index[3]
    assert difference.sum() == pytest.approx(1.0)
    series = EffectsComparisonDisplay.from_frames(effects["x0"], other["x0"], group="g0")
    pd.testing.assert_frame_equal(series.effects, display.effects)
    assert series.term == "x0"


def test_comparisons_that_are_refused(model):
    effects = model.random_effects_["g0"]["Intercept"]
    renamed = effects.set_axis("level " + effects.index.astype(str))
    with pytest.raises(ValueError, match=r"no level of group 'g0' in common.*'level 0'.*astype"):
        EffectsComparisonDisplay.from_estimators(model, renamed, "g0")
    twice = pd.concat([effects, effects.iloc[:1]])
    with pytest.raises(ValueError, match=r"theirs: level 0 of group 'g0' occurs twice"):
        EffectsComparisonDisplay.from_estimators(model, twice, "g0", names=("ours", "theirs"))


def test_no_row_to_show():
    X, y, _ = make_mixed_regression(60, 1, (6,), random_state=0)
    model = MixedEffectsVIRegressor(["g0"]).fit(X, y)
    with pytest.raises(ValueError, match="at least one non-zero number"):
        ResidualsDisplay.from_estimator(model, X, y, sample_weight=np.zeros(60))
