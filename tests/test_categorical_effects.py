"""Categorical columns as random effects without correlations, and as a part of their group."""

import warnings

import numpy as np
import pandas as pd
import pytest

from skmixed import mixed
from skmixed.formula import FormulaError


@pytest.fixture(scope="module")
def frame():
    """900 rows; effects of 25 groups have the standard deviations 0.5, 1 and 2 at p, q and r."""
    rng = np.random.default_rng(0)
    c, g = rng.choice(list("pqr"), 900), rng.integers(0, 25, 900)
    effects = {
        level: sd * rng.standard_normal(25) for level, sd in zip("pqr", (0.5, 1, 2), strict=True)
    }
    made = pd.DataFrame({"c": c, "g": g, "x": rng.standard_normal(900)})
    made["y"] = [effects[level][group] for level, group in zip(c, g, strict=True)]
    made["y"] += made["x"] * (1.0 + 0.5 * rng.standard_normal(25)[g]) + rng.standard_normal(900)
    for level in "pqr":
        made[f"c_{level}"] = (c == level).astype(float)
        made[f"xc_{level}"] = made["x"] * made[f"c_{level}"]
    return made.assign(gc=made["g"].astype(str) + made["c"])


def variances(model):
    table = model.variance_components_
    return table.loc[table["term_2"].isna(), "variance"].tolist()


def assert_same_fit(model, other):
    assert model.converged_
    assert other.converged_
    assert model.elbo_ == pytest.approx(other.elbo_, abs=1e-6)
    assert variances(model) == pytest.approx(variances(other), rel=1e-4, abs=1e-7)


# Without correlations ------------------------------------------------------------------------


def based_on(frame, base):
    others = [level for level in "pqr" if level != base]
    return frame.assign(c=pd.Categorical(frame["c"], categories=[base, *others]))


def test_effects_of_all_levels_are_independent_whatever_the_base(frame):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_hand = mixed("y ~ x + (0 + c_p + c_q + c_r || g)", frame, method="ml")
        fits = {b: mixed("y ~ x + (0 + c || g)", based_on(frame, b), method="ml") for b in "pqr"}
    assert_same_fit(fits["p"], by_hand)
    assert (fits["p"].variance_components_["term_2"].notna()).sum() == 0
    for fit in fits.values():
        assert fit.elbo_ == pytest.approx(by_hand.elbo_, abs=1e-6)


@pytest.mark.parametrize("base", ["p", "q", "r"])
def test_contrasts_are_independent_and_depend_on_the_base(frame, base):
    with pytest.warns(UserWarning, match=r"base level of 'c' .* \(0 \+ c \|\| g\)") as caught:
        model = mixed("y ~ x + (c || g)", based_on(frame, base), method="ml")
    assert len(caught) == 1
    others = [f"c_{level}" for level in "pqr" if level != base]
    by_hand = mixed(f"y ~ x + (1 + {' + '.join(others)} || g)", frame, method="ml")
    assert_same_fit(model, by_hand)


@pytest.mark.parametrize("term", ["(c | g)", "(x || g)", "(0 + x:c || g)"])
def test_no_warning_where_the_base_does_not_matter(frame, term):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mixed(f"y ~ x + {term}", frame)


# As a part of the group ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("formula", "by_hand"),
    [
        ("y ~ x + (0 + c || g:c)", "y ~ x + (0 + c_p + c_q + c_r || gc)"),
        ("y ~ x + (0 + c || g:c)", "y ~ x + (0 + c_p || gc) + (0 + c_q || gc) + (0 + c_r || gc)"),
        ("y ~ x + (0 + x:c || g:c)", "y ~ x + (0 + xc_p + xc_q + xc_r || gc)"),
        ("y ~ x + (0 + x:c || g:c) + (1 | g)", "y ~ x + (0 + xc_p + xc_q + xc_r || gc) + (1 | g)"),
    ],
)
def test_one_variance_of_g_per_level_of_c(frame, formula, by_hand):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = mixed(formula, frame, method="ml")
    assert_same_fit(model, mixed(by_hand, frame, method="ml"))


def test_it_is_the_model_of_independent_effects_by_group(frame):
    """A level of g:c has one effect, and effects of one g are independent."""
    model = mixed("y ~ x + (0 + c || g:c)", frame, method="ml")
    assert_same_fit(model, mixed("y ~ x + (0 + c || g)", frame, method="ml"))
    np.testing.assert_allclose(
        model.predict(frame.head(50)),
        mixed("y ~ x + (0 + c || g)", frame, method="ml").predict(frame.head(50)),
        atol=1e-4,
    )


def test_slopes_in_nested_groups(frame):
    """(x:c | g/c) is (1 + x:c | g) + (1 + x:c | g:c)."""
    by_hand = "y ~ x + (xc_p + xc_q + xc_r | g) + (xc_p + xc_q + xc_r | gc)"
    with pytest.warns(UserWarning, match=r"one of the random effects of 'x:c'.*without correlat"):
        model = mixed("y ~ x + (x:c | g/c)", frame, method="ml")
    assert model.elbo_ == pytest.approx(mixed(by_hand, frame, method="ml").elbo_, abs=1e-6)


def test_a_column_that_is_all_of_the_group_is_refused(frame):
    with pytest.raises(FormulaError, match=r"such an effect has a single level"):
        mixed("y ~ x + (0 + c || c)", frame)
