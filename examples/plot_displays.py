"""
=======================================
Pictures of a fitted model
=======================================

A fitted model is more than a table: which instructors stand out, how far effects were drawn
towards 0, whether the residuals look like noise. `skmixed.inspection` has a display for each
of these questions. They work as the displays of scikit-learn do: ``from_estimator`` computes
and plots, ``ax=`` takes axes, and ``plot`` draws again what a display holds.

The data are the InstEval ratings: 73,421 marks from 1 to 5 that students (``s``) gave to
instructors (``d``) of departments (``dept``).
"""

# %%
# A model
# -------

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
# How much do groups vary?
# ------------------------
#
# On the left standard deviations, in marks; on the right shares of the variance. Most of a
# mark is noise, and departments hardly differ once instructors are in the model.

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
VarianceComponentsDisplay.from_estimator(model, ax=left)
VarianceComponentsDisplay.from_estimator(model, kind="share", ax=right)
plt.show()

# %%
# Which levels stand out?
# -----------------------
#
# Every effect has an interval. Of the 1,128 instructors the lowest and the highest are shown;
# a gap marks where the others are.

RandomEffectsDisplay.from_estimator(model, "d", n_levels=24)
plt.show()

# %%
# ``kind="ranked"`` shows all of them, without labels. For most students the interval holds 0:
# some 25 marks do not tell a student from the average.

RandomEffectsDisplay.from_estimator(model, "s", kind="ranked")
plt.show()

# %%
# How far are effects drawn towards 0?
# ------------------------------------
#
# Every point is an instructor: to the right the mean of what the other effects leave of the
# marks, upwards the effect. Without shrinkage all points would lie on the line. Instructors
# with few marks, small points, are drawn to 0 the most.

ShrinkageDisplay.from_estimator(model, X, y, "d")
plt.show()

# %%
# What is left over?
# ------------------
#
# Marks are whole numbers, which normal noise is not: the residuals lie on five slanted
# bands, one a mark. In the normal quantile plot the lower end is shorter than the
# normal distribution's, since no mark is below 1, and so is the upper one.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
ResidualsDisplay.from_estimator(model, X, y, ax=left)
ResidualsDisplay.from_estimator(model, X, y, kind="quantile", ax=right)
plt.show()

# %%
# Did the fit converge?
# ---------------------
#
# Each step brings the ELBO some digits nearer to where it ends, until rounding is all that
# is left, and the scaled gradient below ``tol``.

ConvergenceDisplay.from_estimator(model)
plt.show()

# %%
# What does a change of the model do to the effects?
# --------------------------------------------------
#
# Without students in the model, an instructor answers for the students' habits too. The
# level that changes the most is named. A table of effects, of other software say, can take
# the place of the second model.

without_students = MixedEffectsVIRegressor(random_effects=["d", "dept"])
without_students.fit(X[["service", "d", "dept"]], y)
EffectsComparisonDisplay.from_estimators(
    model, without_students, "d", names=("with students", "without students")
)
plt.show()

# %%
# In any style
# ------------
#
# Colours come from the style that is set, so that dark ones work as well.

with plt.style.context("dark_background"):
    RandomEffectsDisplay.from_estimator(model, "dept")
    plt.show()
