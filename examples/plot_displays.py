"""
=======================================
Displays of a fitted model
=======================================

This example shows the displays of ``skmixed.inspection``: effects of lecturers, shrinkage,
residuals and more. They work like scikit-learn's displays: ``from_estimator`` computes and plots,
``ax=`` takes axes, and ``plot`` draws a display again.

The data are the InstEval ratings: 73,421 marks from 1 to 5 that students gave to lecturers of
14 departments.
"""

# %%
# A model
# -------

import matplotlib.pyplot as plt

from skmixed import MixedEffectsVIRegressor, contrasts, marginal_means
from skmixed.datasets import load_insteval
from skmixed.inspection import (
    ConvergenceDisplay,
    EffectsComparisonDisplay,
    FixedEffectsDisplay,
    RandomEffectsDisplay,
    ResidualsDisplay,
    ShrinkageDisplay,
    VarianceComponentsDisplay,
)

X, y = load_insteval(return_X_y=True)
X = X.rename(columns={"s": "student", "d": "lecturer", "dept": "department"})
# fixed effects: lectures for students of another department, and the year of study as a label
X = X.assign(
    service=X["service"].map({0: "own", 1: "other"}), year=X["studage"].map("year {}".format)
)
X = X[["service", "year", "student", "lecturer", "department"]]
groups = ["student", "lecturer", "department"]
model = MixedEffectsVIRegressor(groups, reference={"service": "own"}).fit(X, y)

# %%
# Overview: four displays in one figure
# -------------------------------------
#
# Coefficients, standard deviations, effects of a group and residuals, in one call.

model.plot(X, y)
plt.show()

# %%
# How much do groups vary?
# ------------------------
#
# Left: standard deviations, in marks. Right: shares of the variance. Most of the variance of a mark
# is noise. Departments hardly differ if lecturers are in the model.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
VarianceComponentsDisplay.from_estimator(model, ax=left)
VarianceComponentsDisplay.from_estimator(model, kind="share", ax=right)
plt.show()

# %%
# Coefficients with intervals
# ---------------------------
#
# Coefficients of labels are differences from the reference level. Hollow points mark coefficients
# whose interval contains 0.

FixedEffectsDisplay.from_estimator(model)
plt.show()

# %%
# Which means differ?
# -------------------
#
# Marginal means per year of study, and the differences between all pairs with Tukey's
# intervals.

means = marginal_means(model, "year", X, y, ddf="asymptotic")
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
means.plot(left)
contrasts(means).plot(right)
plt.show()

# %%
# Which levels stand out?
# -----------------------
#
# Each effect has an interval. The plot shows the lowest and the highest of the 1,128 lecturers,
# with a gap for the others.

RandomEffectsDisplay.from_estimator(model, "lecturer", n_levels=24)
plt.show()

# %%
# ``kind="ranked"`` shows all levels, without labels. For most students the interval contains 0:
# about 25 marks are not enough to tell a student from the average.

RandomEffectsDisplay.from_estimator(model, "student", kind="ranked")
plt.show()

# %%
# How much are effects shrunk?
# ----------------------------
#
# One point per lecturer. x: mean residual after the other effects; y: estimated effect. Without
# shrinkage all points would lie on the line. Lecturers with few marks, small points, are shrunk
# most.

ShrinkageDisplay.from_estimator(model, X, y, "lecturer")
plt.show()

# %%
# Do the residuals look like noise?
# ---------------------------------
#
# Marks are whole numbers, so the residuals lie on five slanted bands, one per mark. In the normal
# quantile plot both tails are shorter than those of the normal distribution, because no mark is
# below 1 or above 5.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
ResidualsDisplay.from_estimator(model, X, y, ax=left)
ResidualsDisplay.from_estimator(model, X, y, kind="quantile", ax=right)
plt.show()

# %%
# Did the fit converge?
# ---------------------
#
# Each step brings the ELBO some digits closer to its maximum, until only rounding error is left and
# the scaled gradient is below ``tol``.

ConvergenceDisplay.from_estimator(model)
plt.show()

# %%
# How do effects change with the model?
# -------------------------------------
#
# Without students in the model, the effect of a lecturer contains the habits of the students. The
# plot labels the level that changes most. The second model can also be a table of effects, for
# instance from other software.

without_students = MixedEffectsVIRegressor(["lecturer", "department"])
without_students.fit(X.drop(columns="student"), y)
EffectsComparisonDisplay.from_estimators(
    model, without_students, "lecturer", names=("with students", "without students")
)
plt.show()

# %%
# Dark and other styles
# ---------------------
#
# Colours follow the matplotlib style, so dark styles work as well.

with plt.style.context("dark_background"):
    RandomEffectsDisplay.from_estimator(model, "department")
    plt.show()
