"""
===========================================
Plot a fitted model: effects and residuals
===========================================

This example shows the displays of `skmixed.inspection`: variance components, random effects with
intervals, shrinkage, residuals, convergence, and two models compared. They work like the displays
of scikit-learn: ``from_estimator`` computes and plots, ``ax=`` takes axes, and ``plot`` draws a
display again.

The data are the InstEval ratings: 73,421 ratings from 1 to 5 that students (``s``) gave to
instructors (``d``) of departments (``dept``).
"""

# %%
# Fit a model
# -----------

import matplotlib.pyplot as plt

from skmixed import MixedEffectsVIRegressor
from skmixed.datasets import load_insteval
from skmixed.inspection import (
    ConvergenceDisplay,
    EffectsComparisonDisplay,
    RandomEffectsDisplay,
    ResidualsDisplay,
    ShrinkageDisplay,
    VarianceComponentsDisplay,
)

X, y = load_insteval(return_X_y=True)
X = X[["service", "s", "d", "dept"]]
model = MixedEffectsVIRegressor(random_effects=["s", "d", "dept"]).fit(X, y)

# %%
# Variance components
# -------------------
#
# Left: standard deviations, in rating points. Right: shares of the variance. Most of the variance
# of a rating is noise, and departments hardly differ once instructors are in the model.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
VarianceComponentsDisplay.from_estimator(model, ax=left)
VarianceComponentsDisplay.from_estimator(model, kind="share", ax=right)
plt.show()

# %%
# Random effects with intervals
# -----------------------------
#
# Every effect has an interval. The plot shows the lowest and the highest of the 1,128 instructors;
# a gap marks where the others are.

RandomEffectsDisplay.from_estimator(model, "d", n_levels=24)
plt.show()

# %%
# ``kind="ranked"`` shows all levels, without labels. For most students the interval contains 0: 25
# ratings or so are too few to tell a student from the average.

RandomEffectsDisplay.from_estimator(model, "s", kind="ranked")
plt.show()

# %%
# Shrinkage
# ---------
#
# One point per instructor. x: mean residual after the other effects; y: estimated effect. Without
# shrinkage all points would lie on the line. Instructors with few ratings (small points) are
# shrunk more.

ShrinkageDisplay.from_estimator(model, X, y, "d")
plt.show()

# %%
# Residuals
# ---------
#
# Ratings are whole numbers, so the residuals are not exactly normal: they lie on five slanted
# bands, one per rating. In the normal quantile plot both tails are shorter than those of the
# normal distribution, because no rating is below 1 or above 5.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
ResidualsDisplay.from_estimator(model, X, y, ax=left)
ResidualsDisplay.from_estimator(model, X, y, kind="quantile", ax=right)
plt.show()

# %%
# Convergence
# -----------
#
# Each step brings the ELBO some digits closer to its final value, until only rounding error is
# left and the scaled gradient is below ``tol``.

ConvergenceDisplay.from_estimator(model)
plt.show()

# %%
# Compare the effects of two models
# ---------------------------------
#
# Without students in the model, the effect of an instructor also contains the habits of the
# students. The plot names the level that changes most. Instead of the second model you can pass a
# table of effects, for example from other software.

without_students = MixedEffectsVIRegressor(random_effects=["d", "dept"])
without_students.fit(X[["service", "d", "dept"]], y)
EffectsComparisonDisplay.from_estimators(
    model, without_students, "d", names=("with students", "without students")
)
plt.show()

# %%
# Use any matplotlib style
# ------------------------
#
# Colours come from the current matplotlib style, so dark styles work as well.

with plt.style.context("dark_background"):
    RandomEffectsDisplay.from_estimator(model, "dept")
    plt.show()
