"""
=======================================
Pictures of a fitted model
=======================================

A fitted model is more than a table: which lecturers stand out, how far effects were shrunk,
whether the residuals look like noise. ``skmixed.inspection`` has a display for each of these
questions. They work as the displays of scikit-learn do: ``from_estimator`` computes and plots,
``ax=`` takes axes, and ``plot`` draws again what a display holds.

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
# lectures for students of another department, and the year of study as a label
X = X.assign(
    service=X["service"].map({0: "own", 1: "other"}), year=X["studage"].map("year {}".format)
)
X = X[["service", "year", "student", "lecturer", "department"]]
groups = ["student", "lecturer", "department"]
model = MixedEffectsVIRegressor(groups, reference={"service": "own"}).fit(X, y)

# %%
# The four pictures to begin with
# -------------------------------
#
# Coefficients, standard deviations, effects of a group and residuals, in one call.

model.plot(X, y)
plt.show()

# %%
# How much do groups vary?
# ------------------------
#
# Left: standard deviations, in marks. Right: shares of the variance. Most of the variance of a
# mark is noise, and departments hardly differ once lecturers are in the model.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
VarianceComponentsDisplay.from_estimator(model, ax=left)
VarianceComponentsDisplay.from_estimator(model, kind="share", ax=right)
plt.show()

# %%
# What do the coefficients say?
# -----------------------------
#
# Coefficients of labels are differences from the reference. Hollow points mark those whose
# interval holds 0.

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
# Each effect has an interval. The lowest and the highest of the 1,128 lecturers are shown; a
# gap marks where the others are.

RandomEffectsDisplay.from_estimator(model, "lecturer", n_levels=24)
plt.show()

# %%
# ``kind="ranked"`` shows all of them, without labels. For most students the interval holds 0:
# some 25 marks do not tell a student from the average.

RandomEffectsDisplay.from_estimator(model, "student", kind="ranked")
plt.show()

# %%
# How far are effects shrunk?
# ---------------------------
#
# One point per lecturer. x: mean residual after the other effects; y: estimated effect. Without
# shrinkage all points would lie on the line. Lecturers with few marks, small points, are shrunk
# most.

ShrinkageDisplay.from_estimator(model, X, y, "lecturer")
plt.show()

# %%
# What is left over?
# ------------------
#
# Marks are whole numbers, and normal noise is not: the residuals lie on five slanted bands, one
# per mark. In the normal quantile plot both ends are shorter than those of the normal
# distribution, because no mark is below 1 or above 5.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
ResidualsDisplay.from_estimator(model, X, y, ax=left)
ResidualsDisplay.from_estimator(model, X, y, kind="quantile", ax=right)
plt.show()

# %%
# Did the fit converge?
# ---------------------
#
# Each step brings the ELBO some digits nearer to its end, until only rounding is left, and the
# scaled gradient below ``tol``.

ConvergenceDisplay.from_estimator(model)
plt.show()

# %%
# What does a change of the model do to the effects?
# --------------------------------------------------
#
# Without students in the model, a lecturer answers for the students' habits too. The level that
# changes most is named. A table of effects, of other software for instance, can take the place
# of the second model.

without_students = MixedEffectsVIRegressor(["lecturer", "department"])
without_students.fit(X.drop(columns="student"), y)
EffectsComparisonDisplay.from_estimators(
    model, without_students, "lecturer", names=("with students", "without students")
)
plt.show()

# %%
# In any style
# ------------
#
# Colours come from the style that is set, so that dark ones work as well.

with plt.style.context("dark_background"):
    RandomEffectsDisplay.from_estimator(model, "department")
    plt.show()
